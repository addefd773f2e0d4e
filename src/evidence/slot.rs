//! One event that is followed: what was sent of it, what was answered, what came back.

use super::bodies::BodyPlace;
use crate::model::{Destination, EnvelopeId, Outcome, PerDestination, Revision, SourceId, WallTime};

/// An event that is followed.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) source: SourceId,
    pub(super) print: u128,
    /// When it arrived; of one that only a vendor told of, when that came.
    pub(super) at: WallTime,
    /// What segue knows of it; None: only a vendor told of it.
    pub(super) sent: Option<Sent>,
    pub(super) emitted: PerDestination<Option<Emitted>>,
    /// Whether both vendors' were compared; then only an answer is waited for.
    pub(super) is_compared: bool,
    /// The second at which it is looked at; None: never, unless something happens.
    pub(super) due: Option<i64>,
}

/// What segue knows of an event.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) envelope: EnvelopeId,
    pub(super) index: u32,
    pub(super) revision: Revision,
    pub(super) predicted: Option<&'static str>,
    pub(super) answers: PerDestination<Option<SideAnswer>>,
}

/// How an event ended at one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SideAnswer {
    /// What became of it.
    pub outcome: Outcome,
    /// The status of the answer; 0: there was none.
    pub status: u16,
    /// From the request that carried it to the answer, in milliseconds.
    pub took_ms: u32,
    /// When the answer came.
    pub at: WallTime,
}

/// That a vendor has emitted it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Emitted {
    pub(super) at: WallTime,
    pub(super) place: BodyPlace,
}

impl Slot {
    /// Whether it was sent, and has not ended at both sides.
    pub(super) fn is_open(&self) -> bool {
        self.sent.as_ref().is_some_and(|sent| sent.ended_at().is_none())
    }

    /// Whether no vendor has emitted it yet.
    pub(super) fn is_unheard(&self) -> bool {
        Destination::ALL.iter().all(|side| self.emitted.of(*side).is_none())
    }

    /// Until when the other vendor is waited for; None: it is still on its way to one of them.
    pub(super) fn deadline(&self, wait_ms: i64) -> Option<WallTime> {
        let from = self.sent.as_ref().map_or(Some(self.at), Sent::ended_at)?;
        Some(from.plus_millis(wait_ms))
    }

    /// When segue had the answer of one side; None: it did not send it, or has no answer.
    pub(super) fn answered_at(&self, side: Destination) -> Option<WallTime> {
        self.sent.as_ref()?.answers.of(side).map(|answer| answer.at)
    }
}

impl Sent {
    /// When both sides had answered; None: one has not.
    pub(super) fn ended_at(&self) -> Option<WallTime> {
        Some(self.answers.segment?.at.max(self.answers.rudderstack?.at))
    }
}
