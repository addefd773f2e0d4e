//! What evidence is told, and what it tells.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::model::{Destination, EnvelopeId, Revision, SourceId, WallTime};

/// Events of one envelope that are on their way, as ingress tells of them.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The envelope.
    pub envelope: EnvelopeId,
    /// Whose it is.
    pub source: &'a SourceId,
    /// Under which revision it was planned.
    pub revision: Revision,
    /// When it arrived.
    pub at: WallTime,
}

/// One event that is planned for both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Twin {
    /// Its place in its envelope.
    pub index: u32,
    /// What it is known by: the print of its messageId within its source.
    pub print: u128,
    /// Why Segment will drop it after its 200, by the published rules; None: it will not.
    pub predicted: Option<&'static str>,
}

/// How events ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ends {
    /// How many so, how many otherwise.
    pub sums: EndSums,
    /// Whether they were sent again from quarantine, where they had ended before.
    pub is_again: bool,
}

/// Events at their end, by how they ended (design promise 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndSums {
    /// Answered with 2xx.
    pub delivered: u64,
    /// Refused for good, and kept; those sent again not among them.
    pub quarantined: u64,
    /// Resends of events that went before.
    pub deduplicated: u64,
    /// Left out by a rule.
    pub suppressed: u64,
    /// Too old.
    pub expired: u64,
    /// Removed by an operator.
    pub purged: u64,
}

/// One row of the ledger: `planned = pending + ends`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sums {
    /// Journalled for the destination.
    pub planned: u64,
    /// How they ended.
    pub ends: EndSums,
}

impl EndSums {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.delivered + self.quarantined + self.deduplicated + self.suppressed + self.expired + self.purged
    }

    fn each(&mut self) -> [&mut u64; 6] {
        [&mut self.delivered, &mut self.quarantined, &mut self.deduplicated, &mut self.suppressed, &mut self.expired, &mut self.purged]
    }

    /// What these have more than others.
    pub(super) fn minus(mut self, other: &Self) -> Self {
        let mut other = *other;
        self.each().into_iter().zip(other.each()).for_each(|(mine, its)| *mine = mine.saturating_sub(*its));
        self
    }

    /// Takes so many off, and tells which.
    pub(super) fn take(&mut self, mut room: u64) -> Self {
        let mut taken = Self::default();
        for (from, to) in self.each().into_iter().zip(taken.each()) {
            *to = (*from).min(room);
            room -= *to;
            *from -= *to;
        }
        taken
    }
}

impl Sums {
    /// Those that have not ended.
    #[must_use]
    pub const fn pending(&self) -> u64 {
        self.planned.saturating_sub(self.ends.total())
    }
}

impl AddAssign for EndSums {
    fn add_assign(&mut self, mut other: Self) {
        self.each().into_iter().zip(other.each()).for_each(|(mine, its)| *mine += *its);
    }
}

/// One row of the ledger, as it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRow {
    /// Whose events.
    pub source: SourceId,
    /// Planned for whom.
    pub destination: Destination,
    /// The revision that they were planned under.
    pub revision: Revision,
    /// When the span begins in which they arrived.
    pub from: WallTime,
    /// How long it is, in minutes: 1, and for older ones 60 or 1,440.
    pub minutes: u32,
    /// How they ended.
    pub sums: Sums,
}

/// One event, as a vendor emitted it.
#[derive(Debug, Clone, Copy)]
pub struct Emission<'a> {
    /// Whose it is.
    pub source: &'a SourceId,
    /// Who emitted it.
    pub by: Destination,
    /// When it came.
    pub at: WallTime,
    /// Its JSON.
    pub event: &'a [u8],
}
