//! What delivery says about events that went, or did not.

use std::time::Duration;

use super::{Destination, EnvelopeId};

/// What became of events at one destination, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settled {
    /// The envelope that they came in.
    pub envelope: EnvelopeId,
    /// How many events the envelope that was sent has: an event that is sent again alone has the id of the envelope that it came in.
    pub events: u32,
    /// Which one of them; None: all that were planned for the destination.
    pub index: Option<u32>,
    /// Where they went.
    pub destination: Destination,
    /// What became of them.
    pub outcome: Outcome,
    /// The status of the answer; 0: there was none.
    pub status: u16,
    /// From the request that carried them to the answer; 0 when there was no request.
    pub took: Duration,
}

/// What can become of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered with 2xx.
    Delivered,
    /// It is sent again, alone or with others.
    Retry,
    /// Refused for good.
    Quarantined,
    /// Its lane stands until somebody puts a key or a URL right.
    Parked,
    /// A resend of one that went before: it was not sent.
    Deduplicated,
}

impl Outcome {
    /// One word, in small letters.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Quarantined => "quarantined",
            Self::Parked => "parked",
            Self::Deduplicated => "deduplicated",
        }
    }
}
