//! Whether a lane may send, or only try.

use std::time::Duration;

use tokio::time::Instant;

use super::status::ParkReason;
use crate::model::WallTime;

/// How a lane stands with its destination.
#[derive(Debug)]
pub(super) enum Standing {
    /// It delivers.
    Good,
    /// It is stopped, and tries one request now and then.
    Parked(Parked),
}

#[derive(Debug)]
pub(super) struct Parked {
    pub(super) reason: ParkReason,
    pub(super) since: WallTime,
    /// When the next request is tried.
    pub(super) probe_at: Instant,
}

impl Standing {
    /// How many requests may be in flight at `now`, of `in_flight_max`.
    pub(super) fn in_flight_max(&self, in_flight_max: usize, now: Instant) -> usize {
        match self {
            Self::Good => in_flight_max,
            Self::Parked(parked) => usize::from(parked.probe_at <= now),
        }
    }

    /// When a parked lane tries again; None for one that is not.
    pub(super) const fn probe_at(&self) -> Option<Instant> {
        match self {
            Self::Good => None,
            Self::Parked(parked) => Some(parked.probe_at),
        }
    }

    /// Notes that requests went out at `now`: a parked lane waits before it tries another.
    pub(super) fn tried(&mut self, now: Instant, pause: Duration) {
        if let Self::Parked(parked) = self {
            parked.probe_at = now + pause;
        }
    }

    /// Lets a lane that refusals have parked go on with the halves of its probe at once.
    pub(super) fn hurry_on_division(&mut self, now: Instant) {
        if let Self::Parked(Parked { reason: ParkReason::Refusals(_), probe_at, .. }) = self {
            *probe_at = now;
        }
    }

    /// Lets a parked lane try at once.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Self::Parked(parked) = self {
            parked.probe_at = now;
        }
    }
}
