//! What can be said about a lane at any moment.

use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::latency::Latencies;
use crate::{
    journal::LaneId,
    model::{WallTime, inert},
    policy::BreakerState,
};

/// A lane, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneStatus {
    /// Which lane.
    pub id: LaneId,
    /// What it is doing.
    pub state: LaneState,
    /// Records it has taken from the journal that are not complete.
    pub records: usize,
    /// Bytes of them in memory.
    pub memory_bytes: usize,
    /// Requests in flight, those that wait for their turn included.
    pub in_flight: usize,
    /// Requests that had to be sent again, since start.
    pub retries: u64,
    /// How its requests ended, since start.
    pub requests: LaneRequests,
}

/// How a lane's requests ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaneRequests {
    /// All of them.
    pub ended: u64,
    /// Those that ended with anything but 2xx and 429, or with no answer.
    pub failed: u64,
}

/// A destination, as it stands: all its lanes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationStanding {
    /// Whether requests are let through to it; the worse of its regions. None: nothing is sent there, as it has no address.
    pub breaker: Option<BreakerState>,
    /// How requests ended, since the start.
    pub answers: Answers,
    /// How long answers took, since the start.
    pub latencies: Latencies,
    /// Events that wait for a limit.
    pub paced: u64,
}

/// Requests by how they ended, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answers {
    /// 2xx.
    pub ok: u64,
    /// 429.
    pub throttled: u64,
    /// Any other status below 500.
    pub refused: u64,
    /// 5xx.
    pub failed: u64,
    /// No answer.
    pub unanswered: u64,
}

/// What a lane is doing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LaneState {
    /// Nothing waits.
    #[default]
    Idle,
    /// Requests are in flight, or wait for their next attempt.
    Delivering,
    /// The destination does not answer; one request at a time finds out whether it is back.
    Unreachable,
    /// The destination asked to be left alone until then (`Retry-After`).
    Deferred {
        /// Until when.
        until: WallTime,
    },
    /// An operator holds it: nothing is sent, everything is kept.
    Held {
        /// Since when.
        since: WallTime,
    },
    /// Stopped by a fault of configuration; everything is kept, and tried again now and then.
    Parked {
        /// Since when.
        since: WallTime,
        /// Why.
        reason: ParkReason,
    },
    /// Its source, or the source's key for this destination, is not configured (any more); everything is kept.
    Unconfigured,
    /// The quarantine cannot take an event, so nothing more is taken from the journal.
    QuarantineFull,
}

/// Why a lane is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkReason {
    /// The destination answered that it will not take anything: 401, 403, 404, a redirect.
    Answer {
        /// The status.
        status: u16,
        /// The start of the answer.
        answer: String,
    },
    /// Ten requests in a row were refused for good, for one reason.
    Refusals(String),
}

impl fmt::Display for ParkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer { status, answer } if answer.is_empty() => write!(f, "answered {status}"),
            Self::Answer { status, answer } => write!(f, "answered {status}: {}", inert(answer)),
            Self::Refusals(reason) => write!(f, "ten refusals in a row: {}", inert(reason)),
        }
    }
}

impl ParkReason {
    /// The reason for the log: without the destination's own words, which may repeat what a client sent.
    #[must_use]
    pub fn without_words(&self) -> String {
        match self {
            Self::Answer { status, .. } => format!("answered {status}"),
            Self::Refusals(_) => "ten refusals in a row for one reason".to_owned(),
        }
    }
}

impl LaneState {
    /// One word for metrics and tables.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Delivering => "delivering",
            Self::Unreachable => "unreachable",
            Self::Deferred { .. } => "deferred",
            Self::Held { .. } => "held",
            Self::Parked { .. } => "parked",
            Self::Unconfigured => "unconfigured",
            Self::QuarantineFull => "quarantine_full",
        }
    }
}

/// Where a lane writes its status down, for others to read.
#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<LaneState>,
    pub(super) records: AtomicUsize,
    pub(super) memory_bytes: AtomicUsize,
    pub(super) in_flight: AtomicUsize,
    pub(super) retries: AtomicU64,
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Board {
    pub(super) fn set(&self, state: LaneState) {
        let mut known = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != state {
            *known = state;
        }
    }

    /// Counts a request that ended; None: with no answer.
    pub(super) fn count_request(&self, status: Option<u16>) {
        if !matches!(status, Some(200..=299 | 429)) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self, id: &LaneId) -> LaneStatus {
        LaneStatus {
            id: id.clone(),
            state: self.state.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            records: self.records.load(Ordering::Relaxed),
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            retries: self.retries.load(Ordering::Relaxed),
            requests: LaneRequests { ended: self.ended.load(Ordering::Relaxed), failed: self.failed.load(Ordering::Relaxed) },
        }
    }
}
