//! How much evidence is gathered, and how long it is waited for.

use std::{path::PathBuf, time::Duration};

use crate::{diff::Pattern, model::ByteSize};

/// The bounds of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it is kept; None: in memory alone, so that a restart forgets it.
    pub dir: Option<PathBuf>,
    /// Events that are followed at one time, until both sides have said what became of them: 350 bytes of memory each. When there
    /// are more, every second one is followed, then every fourth, and so on.
    pub events_max: usize,
    /// How long the second vendor may take to emit an event after both have taken it. Segment's webhook tries for four hours,
    /// RudderStack's for three (protocol.md 4.1, 4.5); most come within seconds.
    pub wait: Duration,
    /// How long after its answer a vendor may emit an event before that is a finding.
    pub late: Duration,
    /// Disk for what one vendor has emitted and the other not yet.
    pub bodies_max: ByteSize,
    /// Places in events that count for nothing, beside the built-in list (protocol.md 5).
    pub ignored: Vec<Pattern>,
    /// Whether both vendors' taps are configured: without, nothing is waited for but answers.
    pub is_tapped: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: None,
            events_max: 200_000,
            wait: Duration::from_mins(10),
            late: Duration::from_mins(1),
            bodies_max: ByteSize(256 << 20),
            ignored: Vec::new(),
            is_tapped: false,
        }
    }
}
