//! Giving up what waits of a source that is gone for good.

use std::sync::Arc;

use super::{FlipError, Switchboard, switchboard::whole};
use crate::{
    journal::{LaneId, Pick},
    model::{Destination, SourceId},
    routing::{Author, Change, Deed},
};

/// A purge, as it is asked for.
#[derive(Debug, Clone)]
pub struct PurgeAsked {
    /// The source.
    pub source: SourceId,
    /// The destination; None: both.
    pub destination: Option<Destination>,
    /// Who asks.
    pub by: Author,
    /// Why.
    pub reason: Option<String>,
}

/// What was given up, or would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Events that waited.
    pub waiting: u64,
    /// Events that stood in quarantine.
    pub quarantined: u64,
}

impl Switchboard {
    /// What a purge would give up; nothing is changed.
    ///
    /// # Errors
    /// When the source is configured.
    pub fn plan_purge(&self, source: &SourceId, destination: Option<Destination>) -> Result<Purged, FlipError> {
        self.inner.refuse_configured(source)?;
        let is_meant = |id: &LaneId| id.source == *source && destination.is_none_or(|destination| id.destination == destination);
        let ledgers = self.inner.journal.ledger().into_iter().filter(|(id, _)| is_meant(id));
        Ok(ledgers.fold(Purged::default(), |sum, (_, ledger)| Purged {
            waiting: sum.waiting + ledger.pending,
            quarantined: sum.quarantined + ledger.quarantined,
        }))
    }

    /// Gives up what waits of a source that is not configured, and what of it is in quarantine: it counts as purged. Kept in the history before it is done, and
    /// durable when it returns.
    ///
    /// # Errors
    /// When the source is configured, or the disk refuses: what was not given up by then still waits.
    pub async fn purge(&self, asked: PurgeAsked) -> Result<Purged, FlipError> {
        let switchboard = self.clone();
        let inner = Arc::clone(&self.inner);
        whole(async move {
            let PurgeAsked { source, destination, by, reason } = asked;
            let lanes: Vec<LaneId> = Destination::ALL
                .into_iter()
                .filter(|to| destination.is_none_or(|only| only == *to))
                .map(|destination| LaneId { source: source.clone(), destination })
                .collect();
            let planned = {
                let _turn = inner.turn.lock().await;
                let planned = switchboard.plan_purge(&source, destination)?;
                let deed = Deed::Purge(source.clone(), destination);
                inner.keep(Change { revision: inner.next_revision(), at: inner.clock.now(), by, deed, reason, undoes: None }).await?;
                for lane in &lanes {
                    inner.lanes.close(lane).await;
                }
                planned
            };
            // Out of turn, as it may take a while. Should a reload bring the source back now, its lane takes over, and what is left is sent.
            let mut purged = Purged { waiting: 0, ..planned };
            for lane in lanes {
                purged.waiting += inner.journal.purge(&lane).await?;
                let pick = Pick { source: Some(source.clone()), destination: Some(lane.destination), ..Pick::default() };
                inner.journal.release(pick).await?;
            }
            Ok(purged)
        })
        .await
    }
}
