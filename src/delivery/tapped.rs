//! Telling those who want to know what became of events: the live tap, and evidence.

use std::sync::Arc;

use super::{errand::Answered, records::Completed};
use crate::{
    evidence::{EndSums, Evidence},
    journal::{LaneId, Tally},
    model::{Destination, Envelope, EnvelopeId, Outcome, Revision, Settled, WallTime},
    policy::Verdict,
    tap::Tap,
};

/// Those who want to know.
#[derive(Debug, Clone)]
pub(super) struct Watchers {
    /// Who looks at events as they pass.
    pub(super) tap: Arc<Tap>,
    /// What is known of events afterwards.
    pub(super) evidence: Arc<Evidence>,
}

impl Watchers {
    /// Whether anybody does. Whoever tells something asks before.
    pub(super) fn listen(&self) -> bool {
        self.tap.is_on() || self.evidence.follows()
    }

    /// Counts how the events of a record ended.
    pub(super) fn count(&self, lane: &LaneId, done: &Completed) {
        let Some(stamp) = done.stamp else { return };
        let Tally { delivered, quarantined, deduplicated, suppressed, expired, purged } = done.tally;
        let sums = EndSums {
            delivered: delivered.into(),
            quarantined: quarantined.into(),
            deduplicated: deduplicated.into(),
            suppressed: suppressed.into(),
            expired: expired.into(),
            purged: purged.into(),
        };
        let ends = crate::evidence::Ends { sums, is_again: done.position.quarantine_id().is_some() };
        self.evidence.end(&lane.source, lane.destination, stamp, &ends);
    }

    /// Tells what became of events.
    pub(super) fn settle(&self, ends: &[Settled], now: WallTime) {
        if self.tap.is_on() {
            self.tap.settle(ends.iter().copied());
        }
        if self.evidence.follows() {
            self.evidence.settle(ends.iter().copied(), now);
        }
    }
}

/// What a request carries, as watchers know it: one event of an envelope, or all of it that goes to the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Carried {
    envelope: EnvelopeId,
    /// How many events the envelope has.
    events: u32,
    /// Which one; None: all.
    index: Option<u32>,
    /// The revision and the time that the envelope came with.
    pub(super) stamp: (Revision, WallTime),
}

impl Carried {
    /// All of an envelope.
    pub(super) const fn whole(envelope: &Envelope) -> Self {
        Self { envelope: envelope.id, events: envelope.events, index: None, stamp: (envelope.plan.revision, envelope.received_at) }
    }

    /// A record's of no envelope.
    #[cfg(test)]
    pub(super) const fn nobody() -> Self {
        Self { envelope: EnvelopeId(0), events: 0, index: None, stamp: (Revision(0), WallTime::from_millis(0)) }
    }

    /// The event at `index` alone.
    pub(super) const fn event(self, index: u32) -> Self {
        Self { index: Some(index), ..self }
    }

    /// What became of it before anything was sent.
    pub(super) const fn unsent(self, destination: Destination, outcome: Outcome) -> Settled {
        let Self { envelope, events, index, .. } = self;
        Settled { envelope, events, index, destination, outcome, status: 0, took: std::time::Duration::ZERO }
    }

    /// What an answer to a request made of it, which carried `parts` of its kind.
    pub(super) const fn answered(self, destination: Destination, verdict: Verdict, answer: &Answered, parts: usize) -> Settled {
        let outcome = match verdict {
            Verdict::Delivered => Outcome::Delivered,
            Verdict::Retry(_) => Outcome::Retry,
            // It goes again in a smaller request.
            Verdict::Split | Verdict::Bisect if parts > 1 => Outcome::Retry,
            Verdict::Split | Verdict::Bisect | Verdict::Quarantine => Outcome::Quarantined,
            Verdict::Park => Outcome::Parked,
        };
        Settled { status: answer.status, took: answer.took, ..self.unsent(destination, outcome) }
    }
}
