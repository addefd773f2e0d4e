//! Answers: JSON, and how a no is said.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa::IntoResponses;

use crate::{
    journal::ChangeError,
    wire::{Problem, ProblemCode, schema},
};

/// A no, on its way out.
#[derive(Debug)]
pub(super) struct Refusal(Problem);

impl Refusal {
    pub(super) fn new(code: ProblemCode, what: impl Into<String>, fix: impl Into<String>) -> Self {
        let (schema, means) = (schema::PROBLEM.to_owned(), "Nothing was changed.".to_owned());
        Self(Problem { schema, code, what: what.into(), means, fix: fix.into() })
    }

    /// Says what it means for the data, where that is more than nothing.
    pub(super) fn meaning(mut self, means: impl Into<String>) -> Self {
        self.0.means = means.into();
        self
    }

    /// A change that the journal did not make durable.
    pub(super) fn undurable(error: &ChangeError, means: &str) -> Self {
        let (code, fix) = match error {
            ChangeError::Disk(_) => (ProblemCode::Disk, "See the log for what the disk says; free or mend it, and ask again."),
            ChangeError::Closed => (ProblemCode::Stopping, "The sidecar is stopping; ask again once it runs."),
        };
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Self::new(code, format!("{error}{cause}"), fix).meaning(means)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match self.0.code {
            ProblemCode::BadRequest => StatusCode::BAD_REQUEST,
            ProblemCode::NotFound | ProblemCode::NoEntry => StatusCode::NOT_FOUND,
            ProblemCode::Conflict => StatusCode::CONFLICT,
            ProblemCode::Refused | ProblemCode::Config => StatusCode::UNPROCESSABLE_ENTITY,
            ProblemCode::Denied => StatusCode::FORBIDDEN,
            ProblemCode::NotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            ProblemCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ProblemCode::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            ProblemCode::Disk | ProblemCode::Busy | ProblemCode::Stopping | ProblemCode::Other => StatusCode::SERVICE_UNAVAILABLE,
        };
        json(status, &self.0)
    }
}

/// The refusals that any request may meet, for the description.
#[derive(Debug, IntoResponses)]
#[expect(dead_code, reason = "it is only described")]
pub(super) enum Problems {
    /// The request cannot be understood.
    #[response(status = 400)]
    BadRequest(#[to_schema] Problem),
    /// The caller may not.
    #[response(status = 403)]
    Denied(#[to_schema] Problem),
    /// There is nothing of that name.
    #[response(status = 404)]
    NotFound(#[to_schema] Problem),
    /// Somebody else changed it since.
    #[response(status = 409)]
    Conflict(#[to_schema] Problem),
    /// The body is too large.
    #[response(status = 413)]
    TooLarge(#[to_schema] Problem),
    /// The configuration stands against it.
    #[response(status = 422)]
    Refused(#[to_schema] Problem),
    /// The disk refuses, or the sidecar is stopping.
    #[response(status = 503)]
    Unavailable(#[to_schema] Problem),
    /// It took too long.
    #[response(status = 504)]
    TimedOut(#[to_schema] Problem),
}

/// Answers 200.
pub(super) fn good(value: &impl Serialize) -> Response {
    json(StatusCode::OK, value)
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    // Plain structs of texts and numbers: writing them cannot fail, and an empty body would say so.
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
