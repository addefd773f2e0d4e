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

use tokio::time::Instant;

use crate::model::WallTime;

/// A handle on the wall clock; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// What makes it go.
    source: Source,
    /// How far ahead of the machine's clock this one is, in milliseconds; 0 outside tests.
    ahead_ms: Arc<AtomicI64>,
}

/// What makes a clock go.
#[derive(Debug, Clone, Copy, Default)]
enum Source {
    /// The machine's clock.
    #[default]
    Machine,
    /// Nothing: it stands at this moment.
    Frozen(WallTime),
    /// tokio's timers: it was that moment at that instant.
    Timers(WallTime, Instant),
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
        Self { source: Source::Frozen(moment), ahead_ms: Arc::default() }
    }

    /// A clock that stands at `moment` now and goes with tokio's timers: with virtual time when they do.
    #[must_use]
    pub fn by_timers(moment: WallTime) -> Self {
        Self { source: Source::Timers(moment, Instant::now()), ahead_ms: Arc::default() }
    }

    /// A clock that goes as this one does and is moved by itself: another machine's.
    #[must_use]
    pub fn another(&self) -> Self {
        Self { source: self.source, ahead_ms: Arc::new(AtomicI64::new(self.ahead_ms.load(Ordering::Relaxed))) }
    }

    /// The time now. A machine that believes in a year before 1970 gets negative times, not a panic.
    #[must_use]
    pub fn now(&self) -> WallTime {
        let ahead_ms = self.ahead_ms.load(Ordering::Relaxed);
        match self.source {
            Source::Frozen(moment) => return moment.plus_millis(ahead_ms),
            Source::Timers(moment, since) => {
                let gone_ms = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
                return moment.plus_millis(gone_ms.saturating_add(ahead_ms));
            }
            Source::Machine => {}
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
