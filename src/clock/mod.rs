//! The wall clock, which tests may move.
//!
//! Everything that stamps or compares wall time asks here. Timers do not: they run on tokio's monotonic clock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::model::WallTime;

/// A handle on the wall clock; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// The moment at which it stands still; None: it goes with the machine's clock.
    frozen_at: Option<WallTime>,
    /// How far ahead of the machine's clock this one is, in milliseconds; 0 outside tests.
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's own clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `moment` and moves by [`Clock::advance_ms`] only.
    #[must_use]
    pub fn frozen(moment: WallTime) -> Self {
        Self { frozen_at: Some(moment), ahead_ms: Arc::default() }
    }

    /// The time now. A machine that believes in a year before 1970 gets negative times, not a panic.
    #[must_use]
    pub fn now(&self) -> WallTime {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        if let Some(moment) = self.frozen_at {
            return moment.plus_millis(ahead_ms);
        }
        let machine_ms = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        WallTime::from_millis(machine_ms.saturating_add(ahead_ms))
    }

    /// Moves this clock, and all its clones, ahead by so many milliseconds (back, when negative).
    pub fn advance_ms(&self, by_ms: i64) {
        self.ahead_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}
