//! RudderStack's answers: the words, statuses and headers of its gateway (protocol.md 2.1, 2.3).

use http::{Method, StatusCode, header};

use super::exchange::{Answer, Arrived};

/// Why a request is refused, in the gateway's words since v1.46 (protocol.md 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoKeyInHeader,
    NoKeyInQuery,
    InvalidKey,
    SourceDisabled,
    BodyReadFailed,
    InvalidJson,
    NotRudderEvent,
    NonIdentifiable,
    TooManyRequests,
    TooLarge,
    EmptyBatch,
}

impl Refusal {
    pub const fn words(self) -> &'static str {
        match self {
            Self::NoKeyInHeader => "failed to read writekey from header",
            Self::NoKeyInQuery => "failed to read writekey from query params",
            Self::InvalidKey => "invalid write key",
            Self::SourceDisabled => "source is disabled",
            Self::BodyReadFailed => "failed to read body from request",
            Self::InvalidJson => "invalid json",
            Self::NotRudderEvent => "event is not a valid rudder event",
            Self::NonIdentifiable => "request neither has anonymousId nor userId",
            Self::TooManyRequests => "max requests limit reached",
            Self::TooLarge => "request size exceeds max limit",
            Self::EmptyBatch => "empty batch payload",
        }
    }

    const fn status(self) -> StatusCode {
        match self {
            Self::NoKeyInHeader | Self::NoKeyInQuery | Self::InvalidKey => StatusCode::UNAUTHORIZED,
            Self::SourceDisabled => StatusCode::NOT_FOUND,
            Self::BodyReadFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidJson | Self::NotRudderEvent | Self::NonIdentifiable | Self::EmptyBatch => StatusCode::BAD_REQUEST,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        }
    }

    pub fn answer(self) -> Answer {
        error(self.status(), self.words())
    }
}

/// How the gateway words that status.
pub(super) fn refusal(status: StatusCode, arrived: &Arrived) -> Answer {
    let words = match status.as_u16() {
        200 => return with_cors(ok(), arrived),
        400 => Refusal::NotRudderEvent.words(),
        401 => Refusal::InvalidKey.words(),
        404 => Refusal::SourceDisabled.words(),
        413 => Refusal::TooLarge.words(),
        429 => Refusal::TooManyRequests.words(),
        500 => Refusal::BodyReadFailed.words(),
        503 => "Service Unavailable",
        504 => "gateway timeout",
        _ => status.canonical_reason().unwrap_or("failed"),
    };
    with_cors(error(status, words), arrived)
}

/// Go's default for a body of text; no newline behind it.
pub(super) fn ok() -> Answer {
    Answer::typed(StatusCode::OK, TEXT, "ok")
}

/// Go's `http.Error`: text, nosniff, a newline behind the words.
pub(super) fn error(status: StatusCode, words: &str) -> Answer {
    Answer::typed(status, TEXT, format!("{words}\n")).with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

pub(super) fn is_preflight(arrived: &Arrived) -> bool {
    arrived.method == Method::OPTIONS && arrived.header(&header::ACCESS_CONTROL_REQUEST_METHOD).is_some_and(|method| !method.is_empty())
}

/// As rs/cors answers with any origin, credentials, all headers and 900 seconds: a method that is not simple gets no leave.
pub(super) fn preflight(arrived: &Arrived) -> Answer {
    let answer =
        Answer::new(StatusCode::NO_CONTENT, "").with(header::VARY, "Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    let method = arrived.header(&header::ACCESS_CONTROL_REQUEST_METHOD).unwrap_or_default();
    let Some(origin) = arrived.header(&header::ORIGIN).filter(|_| ["GET", "POST", "HEAD", "OPTIONS"].contains(&method)) else {
        return answer;
    };
    let answer = answer.with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin).with(header::ACCESS_CONTROL_ALLOW_METHODS, method);
    let answer = match arrived.header(&header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| !asked.is_empty()) {
        Some(asked) => answer.with(header::ACCESS_CONTROL_ALLOW_HEADERS, asked),
        None => answer,
    };
    answer.with(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true").with(header::ACCESS_CONTROL_MAX_AGE, "900")
}

pub(super) fn with_cors(answer: Answer, arrived: &Arrived) -> Answer {
    let answer = answer.with(header::VARY, "Origin");
    match arrived.header(&header::ORIGIN) {
        Some(origin) if [Method::GET, Method::POST, Method::HEAD].contains(&arrived.method) => {
            answer.with(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin).with(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, "true")
        }
        _ => answer,
    }
}

pub(super) const TEXT: &str = "text/plain; charset=utf-8";
