//! The handle that the rest of segue holds.

use std::{io, sync::Arc, time::Duration};

use super::{AppendError, Disk, Health, Lane, LaneId, Ledger, OpenError, Position, Quarantined, Record, RecoveryReport, Settings, Usage};
use crate::model::Revision;

/// The durable log. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal;

/// An opened journal, and what opening found.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// What was found.
    pub report: RecoveryReport,
}

impl Journal {
    /// Opens the journal in that directory, making it when there is none. Blocks while it reads the newest volume.
    ///
    /// # Errors
    /// When the format is newer than this segue, the settings contradict each other, or the disk refuses.
    pub fn open(disk: Arc<dyn Disk>, settings: &Settings) -> Result<Opened, OpenError> {
        todo!("{disk:?} {settings:?}")
    }

    /// Keeps a record, and returns only when it is on disk: its bytes and its file's name. Dropping the future does not
    /// take the record back.
    ///
    /// # Errors
    /// When the record was not kept; see [`AppendError`].
    pub async fn append(&self, record: Record) -> Result<Position, AppendError> {
        todo!("{record:?}")
    }

    /// Makes later appends under a lower revision [`AppendError::Stale`].
    pub fn raise_revision(&self, revision: Revision) {
        todo!("{revision}")
    }

    /// The newest revision that was raised or appended, restarts included.
    #[must_use]
    pub fn revision(&self) -> Revision {
        todo!()
    }

    /// The consumer of a lane. There is one per lane: taking it again starts at the oldest record that is not complete,
    /// and the older handle gets nothing more.
    #[must_use]
    pub fn lane(&self, id: &LaneId) -> Lane {
        todo!("{id:?}")
    }

    /// Every lane that ever had an event planned, with what became of them. Lanes of sources that are no longer configured
    /// are among them: they keep their records.
    #[must_use]
    pub fn ledger(&self) -> Vec<(LaneId, Ledger)> {
        todo!()
    }

    /// What a lane has in quarantine, oldest first.
    ///
    /// # Errors
    /// When the quarantine cannot be read.
    pub async fn quarantined(&self, id: &LaneId) -> io::Result<Vec<Quarantined>> {
        todo!("{id:?}")
    }

    /// How much disk is used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        todo!()
    }

    /// Whether records can be appended.
    #[must_use]
    pub fn health(&self) -> Health {
        todo!()
    }

    /// Has `observer` told how long each sync of a volume took. The first observer stays; it runs on the commit thread and must not block.
    pub fn observe_syncs(&self, observer: impl Fn(Duration) + Send + Sync + 'static) {
        let _ = observer;
        todo!()
    }

    /// Writes what is queued, makes the cursors durable and ends the threads. Appends after it are [`AppendError::Closed`].
    pub async fn close(&self) {
        todo!()
    }
}
