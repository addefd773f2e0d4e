//! What delivery can be told.

use std::time::Duration;

use crate::model::{ByteSize, PerDestination, RateLimit};

/// Settings of delivery, for each destination (`[segment]`, `[rudderstack]` in the configuration).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// Each destination's pace.
    pub pace: PerDestination<Pace>,
    /// How much of the RudderStack leg goes into one request.
    pub batch: Batch,
}

/// How fast and how often one destination is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Events per second over all sources; a source's own limit stands beside it.
    pub rate_limit: RateLimit,
    /// The first wait after a failure; it doubles, with full jitter.
    pub retry_first: Duration,
    /// The longest wait after a failure.
    pub retry_max: Duration,
    /// Requests of one lane in flight.
    pub in_flight_max: usize,
}

/// The bounds of one `/v1/batch` request to RudderStack (protocol.md T10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// Events in one request.
    pub events_max: usize,
    /// Bytes of one request, before compression.
    pub bytes_max: ByteSize,
}

impl Default for Pace {
    fn default() -> Self {
        Self { rate_limit: RateLimit::None, retry_first: Duration::from_millis(500), retry_max: Duration::from_mins(1), in_flight_max: 16 }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { events_max: 500, bytes_max: ByteSize(500_000) }
    }
}
