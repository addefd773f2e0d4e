//! What delivery can be told.

use std::time::Duration;

use super::window::Window;
use crate::{
    dialect,
    model::{ByteSize, PerDestination, RateLimit},
};

/// Settings of delivery, for each destination (`[segment]`, `[rudderstack]` in the configuration).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Each destination's pace.
    pub pace: PerDestination<Pace>,
    /// How much of the RudderStack leg goes into one request.
    pub batch: Batch,
    /// How many messageIds, the newest over all sources, are remembered so that none of them goes to RudderStack again
    /// (protocol.md T26); 0: none, and what an SDK resends is sent again. After a restart as many are known as a 64th of the
    /// journal's quota holds, at 17 to 104 bytes each.
    pub dedup_window: usize,
    /// How the RudderStack copies are made.
    pub dialect: dialect::Settings,
    /// How often a parked lane tries one request, to see whether its configuration has been put right elsewhere.
    pub park_probe: Duration,
    /// How many bytes of events all lanes together keep in memory; each may keep 256 KiB whatever the others do.
    pub memory_max: ByteSize,
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
    /// Requests of one lane in flight. The RudderStack leg has 8 at most, one for each slot of its persons.
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

impl Settings {
    /// The largest [`Settings::dedup_window`]; it costs 2.6 GB of memory.
    pub const DEDUP_WINDOW_MAX: usize = Window::PRINTS_MAX;
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pace: PerDestination::default(),
            batch: Batch::default(),
            dedup_window: 1_000_000,
            dialect: dialect::Settings::default(),
            park_probe: Duration::from_mins(1),
            memory_max: ByteSize(48 << 20),
        }
    }
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
