//! What clients hear: Segment's own shape, whatever happened (protocol.md 1.6 to 1.8, T1).

use http::{HeaderMap, HeaderValue, StatusCode, header};

/// An answer to a client, before it is put on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// 200, 400 or 429, and 404 for a script that is nowhere: nothing else is ever ours to say, as any other 4xx makes SDKs delete data and anything but 200 loops
    /// some of them (clients.md 4.1 to 4.3).
    pub status: StatusCode,
    /// Of `body`.
    pub content_type: &'static str,
    /// What the SDK reads.
    pub body: &'static [u8],
    /// Seconds after which an SDK should come again; only with 429.
    pub retry_after_s: Option<u32>,
}

/// The event is on disk.
pub const ACCEPTED: Answer =
    Answer { status: StatusCode::OK, content_type: "application/json", body: br#"{"success":true}"#, retry_after_s: None };

/// Pixels get their picture whatever became of the event (protocol.md 1.6).
pub const PIXEL: Answer = Answer { status: StatusCode::OK, content_type: "image/gif", body: GIF, retry_after_s: None };

/// A transparent GIF of one pixel.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;";

/// No such page is kept, and Segment is not asked for it any more. Never said to an event.
pub const ABSENT: Answer = Answer {
    status: StatusCode::NOT_FOUND,
    content_type: "application/json",
    body: br#"{"success":false,"message":"not found","code":"not_found"}"#,
    retry_after_s: None,
};

/// The request can never be taken: Segment's own 400 (protocol.md 1.6).
#[must_use]
pub const fn bad_request(what: BadRequest) -> Answer {
    let body: &'static [u8] = match what {
        BadRequest::TooLarge => br#"{"success":false,"message":"Exceed payload limit","code":"invalid_request"}"#,
        BadRequest::CutOff => br#"{"success":false,"message":"the body ended early","code":"invalid_request"}"#,
        BadRequest::Unreadable => br#"{"success":false,"message":"malformed JSON","code":"invalid_request"}"#,
        BadRequest::Ambiguous => br#"{"success":false,"message":"malformed request","code":"invalid_request"}"#,
    };
    Answer { status: StatusCode::BAD_REQUEST, content_type: "application/json", body, retry_after_s: None }
}

/// Why a request can never be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRequest {
    /// Above every limit of both vendors.
    TooLarge,
    /// The client went away within its body, or framed it wrong; it will hardly read this.
    CutOff,
    /// It is no JSON, and there is no Segment to judge it.
    Unreadable,
    /// Two readers could take it for two different requests; no SDK sends such a one.
    Ambiguous,
}

/// Our own trouble: come again. Both headers, because SDKs read one or the other (protocol.md 1.7).
#[must_use]
pub const fn busy(retry_after_s: u32) -> Answer {
    Answer {
        status: StatusCode::TOO_MANY_REQUESTS,
        content_type: "application/json",
        body: br#"{"success":false,"message":"try again later","code":"too_many_requests"}"#,
        retry_after_s: Some(retry_after_s),
    }
}

/// Adds to an answer what lets a page read it (protocol.md 1.8): only where the answer does not say so itself, so that a relayed
/// answer stays the vendor's own.
/// `origin` is the request's `Origin`; None when no page asks.
pub fn cors(origin: Option<&HeaderValue>, answer: &mut HeaderMap) {
    let Some(origin) = origin else { return };
    if answer.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        return;
    }
    answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    answer.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After, X-RateLimit-Reset"));
    answer.append(header::VARY, HeaderValue::from_static("Origin"));
}

/// The headers that answer a preflight: what every SDK sends, and whatever else the page asks for.
#[must_use]
pub fn preflight(request: &HeaderMap) -> HeaderMap {
    let mut answer = HeaderMap::new();
    cors(request.get(header::ORIGIN), &mut answer);
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, OPTIONS"));
    let ours = "authorization, content-type, x-retry-count, x-requested-with";
    let asked = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS).and_then(|asked| asked.to_str().ok()).unwrap_or_default();
    let allowed = if asked.is_empty() { ours.to_owned() } else { format!("{ours}, {asked}") };
    answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::try_from(allowed).unwrap_or(HeaderValue::from_static(ours)));
    answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("7200"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_json_objects_or_the_picture() {
        for answer in
            [ACCEPTED, busy(7), bad_request(BadRequest::TooLarge), bad_request(BadRequest::CutOff), bad_request(BadRequest::Ambiguous)]
        {
            let body: serde_json::Value = serde_json::from_slice(answer.body).unwrap();
            let success = answer.status == StatusCode::OK;
            assert_eq!(body["success"], success);
            // Python up to 2.3.6 takes an error without `code` and `message` for a network error and resends it.
            assert_eq!(body.get("code").is_some() && body.get("message").is_some(), !success);
        }
        assert!(PIXEL.body.starts_with(b"GIF89a"));
    }

    #[test]
    fn a_page_may_read_the_answer_and_its_retry_headers() {
        let mut request = HeaderMap::new();
        request.insert(header::ORIGIN, HeaderValue::from_static("https://shop.example.com"));
        request.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("authorization,x-custom"));
        let answer = preflight(&request);
        assert_eq!(answer[header::ACCESS_CONTROL_ALLOW_ORIGIN], "https://shop.example.com");
        assert!(answer[header::ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap().ends_with("authorization,x-custom"));
        let mut own = HeaderMap::new();
        own.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        cors(request.get(header::ORIGIN), &mut own);
        assert_eq!(own.len(), 1, "a relayed answer keeps its own");
        let mut none = HeaderMap::new();
        cors(None, &mut none);
        assert!(none.is_empty(), "no page, no headers");
    }
}
