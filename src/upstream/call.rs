//! One request to an upstream and what came back.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};

/// One request. Framing and connection headers (`Host`, `Content-Length`, `Transfer-Encoding`, `Connection` and their
/// like) are the client's own: whatever the caller puts there is dropped.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: Method,
    /// Path and query, `/v1/batch`; it begins with a slash. A path in the upstream's URL goes before it.
    pub path: String,
    /// The headers to send.
    pub headers: HeaderMap,
    /// The whole body; empty for none.
    pub body: Bytes,
}

/// A well-formed answer, whatever its status: a redirect or a 500 is an answer, and never followed.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, as they came.
    pub headers: HeaderMap,
    /// The body as it came on the wire, never decompressed.
    pub body: Bytes,
    /// Whether `body` is all of it.
    pub extent: Extent,
    /// From the call to the end of the answer, connecting included.
    pub elapsed: Duration,
}

/// How much of an answer's body was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it, and its framing was right to the last byte.
    Whole,
    /// The first bytes, up to the limit; the rest was cut off together with the connection (h2: the stream). The status
    /// stands: an upstream that says 200 and then talks for too long has taken the events, and sending them again would
    /// end the same way.
    Cut,
}
