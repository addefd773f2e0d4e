//! The client itself.

use crate::upstream::{Answer, Call, CallError, Settings, UpstreamError};

/// A client of one upstream. Clones share its connections; they close when the last clone is gone.
#[derive(Debug, Clone)]
pub struct Upstream {}

impl Upstream {
    /// A client as `settings` say. Reads the roots from disk, so it blocks for a few milliseconds; opens no connection.
    ///
    /// # Errors
    ///
    /// When the URL is unusable or the roots that were asked for cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, UpstreamError> {
        let _ = settings;
        unimplemented!("comes with the next commit")
    }

    /// Sends `call` and reads at most 64 KiB of the answer's body; the rest is cut off ([`Extent::Cut`](crate::upstream::Extent)).
    /// Cancel-safe: dropping the future gives the request up.
    ///
    /// # Errors
    ///
    /// When there is no well-formed answer within the upstream's `timeout`.
    pub async fn send(&self, call: Call) -> Result<Answer, CallError> {
        let _ = call;
        unimplemented!("comes with the next commit")
    }

    /// As [`send`](Self::send), but an answer is taken whole or not at all: one longer than `body_max` bytes is an error.
    ///
    /// # Errors
    ///
    /// As `send`, and [`Fault::TooLarge`](crate::upstream::Fault).
    pub async fn relay(&self, call: Call, body_max: usize) -> Result<Answer, CallError> {
        let _ = (call, body_max);
        unimplemented!("comes with the next commit")
    }

    /// Scheme, host and port, `https://api.segment.io`, without a path: for logs and metrics.
    #[must_use]
    pub fn origin(&self) -> &str {
        unimplemented!("comes with the next commit")
    }

    /// Lets go of all pooled connections, so that the next call resolves the name anew (protocol.md 1.1: "on 5xx refresh
    /// the IP"). Requests in flight end on the connection they are on.
    pub fn refresh(&self) {
        unimplemented!("comes with the next commit")
    }
}
