//! A lane's consumer.

use super::{Entry, Position, QuarantineError, Quarantined, Tally};
use crate::model::WallTime;

/// The consumer of one lane: takes its records in journal order and says how they ended.
#[derive(Debug)]
pub struct Lane;

impl Lane {
    /// The next record of this lane, in journal order, from the restored cursor; waits when there is none, and when
    /// more completions than [`UNSAVED_COMPLETIONS_MAX`](super::UNSAVED_COMPLETIONS_MAX) are not durable yet.
    /// May be dropped at any await without losing a record. Waits for ever once the journal is closed.
    pub async fn next(&mut self) -> Entry {
        todo!()
    }

    /// Notes that all events of that record came to their end. Once is enough; a position that was not handed out, or
    /// was completed before, is ignored.
    pub fn complete(&self, position: Position, tally: Tally) {
        todo!("{position} {tally:?}")
    }

    /// Keeps an event that the destination refuses for good: durable when it returns. To be called before
    /// [`Lane::complete`]; the same event of the same record is kept once.
    ///
    /// # Errors
    /// When it could not be made durable.
    pub async fn quarantine(&self, item: Quarantined) -> Result<(), QuarantineError> {
        todo!("{item:?}")
    }

    /// Remembers, across restarts, that the destination asked to be left alone until then; None: no longer.
    pub fn hold_until(&self, until: Option<WallTime>) {
        todo!("{until:?}")
    }

    /// What [`Lane::hold_until`] was told last.
    #[must_use]
    pub fn held_until(&self) -> Option<WallTime> {
        todo!()
    }
}
