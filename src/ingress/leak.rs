//! Apps that fetch their settings here while their events go elsewhere.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::Count;
use crate::model::WallTime;

/// Fetches of one source's settings, against its events.
///
/// An app fetches its settings as it starts and sends events within seconds, a phone within its flush interval; so fetches over a
/// while without a single event are apps that send past us: their settings' `apiHost` leads elsewhere, or their events are sent by
/// another name that does not lead here (protocol.md 1.9).
#[derive(Debug, Default)]
pub struct SettingsFetches {
    /// All of them.
    pub all: Count,
    /// When the newest event came; milliseconds, 0: none did.
    event_ms: AtomicI64,
    /// When the first one since that came; milliseconds, 0: none did.
    first_ms: AtomicI64,
    /// How many came since that.
    unfollowed: AtomicU64,
}

/// So many fetches in a row without an event, over so long, are no chance.
const FETCHES_MIN: u64 = 3;
const AGE_MIN_MS: i64 = 10 * 60_000;

impl SettingsFetches {
    pub(super) fn fetched(&self, now: WallTime) {
        self.all.add(1);
        if self.unfollowed.fetch_add(1, Ordering::Relaxed) == 0 {
            self.first_ms.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    /// Events came. Costs two loads when no settings were fetched.
    pub(super) fn followed(&self, now: WallTime) {
        self.event_ms.store(now.as_millis(), Ordering::Relaxed);
        if self.unfollowed.load(Ordering::Relaxed) > 0 {
            self.unfollowed.store(0, Ordering::Relaxed);
        }
    }

    /// Since when settings are fetched and no events come; None: they come, or it is too early to say.
    #[must_use]
    pub fn leaks_since(&self, now: WallTime) -> Option<WallTime> {
        let since = WallTime::from_millis(self.first_ms.load(Ordering::Relaxed));
        let is_leak = self.unfollowed.load(Ordering::Relaxed) >= FETCHES_MIN && now.millis_since(since) >= AGE_MIN_MS;
        is_leak.then_some(since)
    }

    /// When the newest event came since the start; None: none did.
    #[must_use]
    pub fn last_event(&self) -> Option<WallTime> {
        Some(self.event_ms.load(Ordering::Relaxed)).filter(|at| *at > 0).map(WallTime::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetches_without_an_event_over_a_while_are_a_leak() {
        let at = |minutes: i64| WallTime::from_millis(1_700_000_000_000 + minutes * 60_000);
        let fetches = SettingsFetches::default();
        assert_eq!(fetches.leaks_since(at(60)), None, "nobody fetched any");
        for minute in [0, 1, 2] {
            fetches.fetched(at(minute));
        }
        assert_eq!(fetches.leaks_since(at(9)), None, "it is too early");
        assert_eq!(fetches.leaks_since(at(10)), Some(at(0)));
        fetches.followed(at(11));
        assert_eq!((fetches.leaks_since(at(60)), fetches.last_event()), (None, Some(at(11))));
        fetches.fetched(at(12));
        fetches.fetched(at(40));
        assert_eq!(fetches.leaks_since(at(60)), None, "a single app may be closed at once");
        fetches.fetched(at(61));
        assert_eq!(fetches.leaks_since(at(61)), Some(at(12)));
    }
}
