//! What both vendors passed on for one event, compared.

use std::collections::BTreeSet;

use super::{Mismatch, Noise, NoiseHit, walk::Walk};
use crate::model::json::Raw;

/// One event as both vendors passed it on.
#[derive(Debug, Clone, Copy)]
pub struct Pair<'a> {
    /// What Segment's tap got.
    pub segment: Raw<'a>,
    /// What RudderStack's tap got.
    pub rudderstack: Raw<'a>,
    /// How it reached the vendors.
    pub arrival: Arrival,
}

/// Which kind of call an event came by; says whose address `context.ip` is (protocol.md T13).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Arrival {
    /// By one that clients make: both vendors take the client's address from the connection.
    Client,
    /// By one that servers make: Segment takes no address from it.
    Server,
    /// Not known any more: Segment's own `channel` says it; without one, `context.ip` is compared.
    #[default]
    Unknown,
}

/// What came of comparing a pair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Comparison<'a> {
    /// Where the two differ, noise aside: by place, at most 1,000.
    pub mismatches: Vec<Mismatch<'a>>,
    /// How many more there were.
    pub left_out: u64,
    /// What was taken for noise, by reason and place, at most some 200.
    pub noise: Vec<NoiseHit>,
    /// How much later RudderStack dates the event than Segment, in milliseconds, negative when earlier: noise in one event, and a
    /// systematic shift when it is so in all. None when either states no readable `timestamp`.
    pub timestamp_shift_ms: Option<i64>,
    /// How many values were compared one by one: at most twice all of both.
    pub looked_at: u64,
}

impl<'a> Comparison<'a> {
    /// The first mismatch of each group: what an event adds to findings, each counted once.
    pub fn groups(&self) -> impl Iterator<Item = &Mismatch<'a>> {
        let mut seen = BTreeSet::new();
        self.mismatches.iter().filter(move |found| seen.insert((found.group.as_str(), found.kind)))
    }

    /// Whether both say the same, noise aside.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.mismatches.is_empty()
    }
}

/// Where what the vendors passed on for one event differs, and what of it is noise. Linear in the texts; what nests deeper than 64
/// levels, or has a path of more than a kilobyte, is told as one place.
#[must_use]
pub fn emitted<'a>(pair: Pair<'a>, noise: &Noise) -> Comparison<'a> {
    Walk::through(pair, noise)
}
