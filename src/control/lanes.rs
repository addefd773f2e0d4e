//! Limits and holds, changed in the switchboard's turn and kept in its history.

use std::sync::Arc;

use super::{
    FlipError, KeyMoved, LimitAsked, LimitStanding, Switchboard,
    switchboard::{Inner, find, whole},
};
use crate::{
    delivery::{HoldError, LaneStatus},
    journal::{ChangeError, LaneId},
    model::{Destination, Revision, SourceId},
    routing::{Author, Change, Deed, History, Source},
};

impl Switchboard {
    /// How the limits stand: of both destinations, and of every configured source's lanes.
    #[must_use]
    pub fn limits(&self) -> Vec<LimitStanding> {
        let history = self.inner.history();
        let all = Destination::ALL.map(|destination| self.inner.limit(&history, None, destination));
        let configured = self.inner.configured();
        let each = configured.iter().flat_map(|source| Destination::ALL.map(|to| self.inner.limit(&history, Some(source), to)));
        all.into_iter().chain(each).collect()
    }

    /// Gives a source's lane, or with None all lanes to a destination together, another limit: before and after. It is durable, and in
    /// force for what waits too, when it returns.
    ///
    /// # Errors
    /// When the source is not configured, or it is not durable: then the old one is in force.
    pub async fn limit(&self, asked: LimitAsked) -> Result<(LimitStanding, LimitStanding), FlipError> {
        let inner = Arc::clone(&self.inner);
        whole(async move {
            let _turn = inner.turn.lock().await;
            let before = inner.limit_of(asked.source.as_ref(), asked.destination)?;
            if before.limit == asked.limit || asked.is_plan {
                return Ok((before.clone(), LimitStanding { limit: asked.limit, ..before }));
            }
            let (revision, at) = (inner.next_revision(), inner.clock.now());
            let deed = Deed::Limit { source: asked.source, destination: asked.destination, from: before.limit, to: asked.limit };
            inner.keep(Change { revision, at, by: asked.by, deed, reason: asked.reason, undoes: None }).await?;
            Ok((before.clone(), LimitStanding { revision, limit: asked.limit, ..before }))
        })
        .await
    }

    /// Holds a lane, as [`LaneControl::hold`], and keeps who did it.
    ///
    /// # Errors
    /// When there is no such lane, or it is not durable; it is held until the next start all the same.
    pub async fn hold(&self, lane: &LaneId, by: Author, reason: Option<String>) -> Result<LaneStatus, HoldError> {
        // Nobody waits behind it: a hold waits for what is in flight.
        let was_held = self.inner.journal.held_since(lane).is_some();
        let status = self.inner.lanes.hold(lane).await?;
        let _turn = self.inner.turn.lock().await;
        if !was_held {
            self.inner.note(Deed::Hold(lane.source.clone(), lane.destination), by, reason).await?;
        }
        Ok(status)
    }

    /// Lets a held lane go on, as [`LaneControl::release`], and keeps who did it.
    ///
    /// # Errors
    /// When there is no such lane, or it is not durable.
    pub async fn release(&self, lane: &LaneId, by: Author, reason: Option<String>) -> Result<LaneStatus, HoldError> {
        // Nobody waits behind it: a hold waits for what is in flight.
        let was_held = self.inner.journal.held_since(lane).is_some();
        let status = self.inner.lanes.release(lane).await?;
        let _turn = self.inner.turn.lock().await;
        if was_held {
            self.inner.note(Deed::Release(lane.source.clone(), lane.destination), by, reason).await?;
        }
        Ok(status)
    }
}

impl Inner {
    /// Sources that went, and came back under another id with a key of theirs.
    pub(super) fn moved(&self, before: &[Source], after: &[Source]) -> Vec<KeyMoved> {
        let is_in = |source: &Source, others: &[Source]| others.iter().any(|other| other.id == source.id);
        let ledger = self.journal.ledger();
        let waiting = |id: &SourceId| ledger.iter().filter(|(lane, _)| lane.source == *id).map(|(_, ledger)| ledger.pending).sum();
        let mut moved = Vec::new();
        for gone in before.iter().filter(|source| !is_in(source, after)) {
            let shares = |came: &&Source| !is_in(came, before) && came.segment_keys.iter().any(|key| gone.segment_keys.contains(key));
            let came = after.iter().find(shares);
            moved.extend(came.map(|came| KeyMoved {
                from: gone.id.clone(),
                to: came.id.clone(),
                to_name: came.name.clone(),
                waiting: waiting(&gone.id),
            }));
        }
        moved
    }

    pub(super) fn refuse_configured(&self, source: &SourceId) -> Result<(), FlipError> {
        match find(&self.configured(), source) {
            Ok(source) => Err(FlipError::Configured(source.name.clone())),
            Err(_) => Ok(()),
        }
    }

    pub(super) fn limit(&self, history: &History, source: Option<&Source>, destination: Destination) -> LimitStanding {
        let configured = source.map_or(self.configured_limits.of(destination), |source| source.rate_limits.of(destination));
        let id = source.map(|source| source.id.clone());
        let (revision, limit) = history.limit(id.as_ref(), destination).unwrap_or((Revision::default(), *configured));
        LimitStanding { source: id, destination, revision, limit, configured: *configured }
    }

    fn limit_of(&self, source: Option<&SourceId>, destination: Destination) -> Result<LimitStanding, FlipError> {
        let configured = self.configured();
        let source = source.map(|id| find(&configured, id)).transpose()?;
        Ok(self.limit(&self.history(), source, destination))
    }

    /// Keeps what was done already.
    async fn note(&self, deed: Deed, by: Author, reason: Option<String>) -> Result<(), ChangeError> {
        let change = Change { revision: self.next_revision(), at: self.clock.now(), by, deed, reason, undoes: None };
        match self.keep(change).await {
            Err(FlipError::Journal(error)) => Err(error),
            _ => Ok(()),
        }
    }
}
