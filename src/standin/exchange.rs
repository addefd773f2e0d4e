//! One request and its answer, as the vendors' rules see them: whole, and without a socket.

use std::net::IpAddr;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::model::WallTime;

use super::{DropCode, Options, book::Judged, query};

/// A request whose body is complete.
#[derive(Debug)]
pub(super) struct Arrived {
    pub method: Method,
    pub path: String,
    pub query: Option<String>,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub peer: IpAddr,
    pub at: WallTime,
}

impl Arrived {
    /// The first value of a header, when it is text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The first value of a parameter of the query, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        query::pairs(self.query.as_deref().unwrap_or_default()).find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// What the vendor does with a request, unless a fault strikes.
#[derive(Debug)]
pub(super) struct Reply {
    pub answer: Answer,
    /// The write key the vendor read, known to it or not.
    pub write_key: Option<String>,
    /// What it takes, in order.
    pub events: Vec<Judged>,
    /// Why a 200 came to nothing as a whole.
    pub dropped: Option<DropCode>,
    /// Preflights are answered but not written down.
    pub record: Record,
}

/// How much is made of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Its JSON is kept, as received and as handed on.
    Whole,
    /// Neither is made, as the book would not keep them.
    Ids,
}

impl Detail {
    pub fn of(options: &Options) -> Self {
        let is_wanted = options.keep.json_bytes_max > 0 || options.emits || !options.webhooks.is_empty();
        if is_wanted { Self::Whole } else { Self::Ids }
    }
}

/// Whether a request goes into the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Kept,
    Passed,
}

impl Reply {
    /// An answer to a request of which nothing is taken.
    pub const fn only(answer: Answer) -> Self {
        Self { answer, write_key: None, events: Vec::new(), dropped: None, record: Record::Kept }
    }
}

/// What is said to the client.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn new(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.into() }
    }

    pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::new(status, body).with(header::CONTENT_TYPE, content_type)
    }

    /// The same with a header more (or another value of it). A text that cannot be a header's value is left out.
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}
