//! What an operator can do to a lane while it runs.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    office::Office,
    status::{DestinationStanding, LaneState, LaneStatus},
};
use crate::{
    journal::{ChangeError, LaneId},
    model::{Destination, RateLimit, SourceId, WallTime},
};

/// The way to change lanes while they run. It keeps delivery's parts alive: to be dropped before the journal's directory is to be
/// free.
#[derive(Debug, Clone)]
pub struct LaneControl {
    office: Arc<Office>,
}

/// Why a lane cannot be held or released.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// There is no such lane.
    #[error("there is no such lane")]
    UnknownLane,
    /// The journal could not make it durable.
    #[error(transparent)]
    Journal(#[from] ChangeError),
}

/// How long a hold waits for requests in flight before it says how many there are.
const FLIGHTS_PATIENCE: Duration = Duration::from_secs(2);

impl LaneControl {
    pub(super) const fn new(office: Arc<Office>) -> Self {
        Self { office }
    }

    /// How each lane stands, sorted by source.
    #[must_use]
    pub fn lanes(&self) -> Vec<LaneStatus> {
        self.office.statuses()
    }

    /// How a destination stands, all its lanes together.
    #[must_use]
    pub fn destination(&self, destination: Destination) -> DestinationStanding {
        self.office.destination(destination)
    }

    /// How one lane stands; None: there is no such lane.
    #[must_use]
    pub fn lane(&self, id: &LaneId) -> Option<LaneStatus> {
        self.office.way(id).map(|way| way.status())
    }

    /// Holds a lane: it sends nothing more, whatever waits, until [`LaneControl::release`]; requests in flight finish, and are waited
    /// for a moment. Durable when it returns, and in force before. A lane that is held already stays held since then.
    ///
    /// # Errors
    /// When there is no such lane, or the hold is not durable: it is in force until the next start all the same.
    pub async fn hold(&self, id: &LaneId) -> Result<LaneStatus, HoldError> {
        let way = self.office.way(id).ok_or(HoldError::UnknownLane)?;
        let since = self.office.journal.held_since(id).unwrap_or_else(|| self.office.clock.now());
        way.hold.send_replace(Some(since));
        self.office.journal.hold(id, Some(since)).await?;
        // What was on its way to the wire is back, or is in flight for good.
        let patience = Instant::now() + FLIGHTS_PATIENCE;
        while way.board.in_flight.load(Ordering::Relaxed) > 0 && Instant::now() < patience {
            sleep(Duration::from_millis(5)).await;
        }
        Ok(LaneStatus { state: LaneState::Held { since }, ..way.status() })
    }

    /// Lets a held lane go on. Durable when it returns. A lane that is not held stays as it is.
    ///
    /// # Errors
    /// When there is no such lane, or the change is not durable: then the lane is still held.
    pub async fn release(&self, id: &LaneId) -> Result<LaneStatus, HoldError> {
        let way = self.office.way(id).ok_or(HoldError::UnknownLane)?;
        let Some(since) = self.office.journal.held_since(id) else { return Ok(way.status()) };
        if let Err(error) = self.office.journal.hold(id, None).await {
            // Not durable, so not done: what was held stays so in this run, too.
            let _ = self.office.journal.hold(id, Some(since)).await;
            return Err(error.into());
        }
        way.hold.send_replace(self.office.held_since(id));
        Ok(way.status())
    }

    /// Holds all lanes to `RudderStack` as long as the kill switch is on, or, with None, lets them go on but for those that an
    /// operator holds. It is not kept: whoever keeps the switch says it again after a start.
    pub fn kill(&self, since: Option<WallTime>) {
        self.office.kill(since);
    }

    /// Limits all lanes to a destination, or, with Some, the lane of one source, from now on. It is not kept: whoever keeps limits says
    /// it again after a start. The limit of a source that is not configured waits for it.
    pub fn limit(&self, source: Option<&SourceId>, destination: Destination, limit: RateLimit) {
        self.office.limit(source, destination, limit);
    }

    /// The limit of all lanes to a destination together.
    #[must_use]
    pub fn limit_of(&self, destination: Destination) -> RateLimit {
        self.office.limit_of(destination)
    }

    /// Ends a lane: nothing of it is sent any more, and what waits is nobody's until its source is configured again. Nothing happens
    /// when there is no such lane.
    pub async fn close(&self, id: &LaneId) {
        self.office.close(id).await;
    }

    /// Has a lane try at once what it tries now and then only: a parked lane sends its next request, one that waits for room in the
    /// quarantine looks for it. None when there is no such lane.
    #[must_use]
    pub fn nudge(&self, id: &LaneId) -> Option<LaneStatus> {
        let way = self.office.way(id)?;
        way.nudge.notify_one();
        Some(way.status())
    }

    /// As [`LaneControl::nudge`], for all lanes: there is room in the quarantine again.
    pub fn nudge_full(&self) {
        for status in self.office.statuses() {
            if status.state == LaneState::QuarantineFull {
                let _ = self.nudge(&status.id);
            }
        }
    }
}
