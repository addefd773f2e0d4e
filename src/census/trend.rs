//! How many events came of late: by the hour for a day, by the day for thirty.

use serde::{Deserialize, Serialize};

use crate::model::WallTime;

/// Hours that are kept.
pub const HOURS: usize = 24;
/// Days that are kept.
pub const DAYS: usize = 30;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Events by the hour and by the day (of UTC). 232 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trend {
    hours: Ring<HOURS>,
    days: Ring<DAYS>,
}

/// Counts of the newest steps of time.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ring<const STEPS: usize> {
    /// The number of the newest step since 1970.
    newest: i64,
    /// Its count first.
    counts: [u32; STEPS],
}

impl Trend {
    /// Counts events that arrived at `at`. What is older than all that is kept is left out.
    pub fn add(&mut self, at: WallTime, events: u32) {
        self.hours.add(at.as_millis().div_euclid(HOUR_MS), events);
        self.days.add(at.as_millis().div_euclid(DAY_MS), events);
    }

    /// The events of the newest hours, the one that runs at `now` first.
    #[must_use]
    pub fn hours(&self, now: WallTime) -> [u32; HOURS] {
        self.hours.until(now.as_millis().div_euclid(HOUR_MS))
    }

    /// The events of the newest days, the one that runs at `now` first.
    #[must_use]
    pub fn days(&self, now: WallTime) -> [u32; DAYS] {
        self.days.until(now.as_millis().div_euclid(DAY_MS))
    }
}

impl<const STEPS: usize> Ring<STEPS> {
    fn add(&mut self, step: i64, events: u32) {
        if step > self.newest {
            *self = Self { newest: step, counts: self.until(step) };
        }
        let age = usize::try_from(self.newest - step).unwrap_or(usize::MAX);
        if let Some(count) = self.counts.get_mut(age) {
            *count = count.saturating_add(events);
        }
    }

    /// The counts as seen from that step on; a clock that was set back sees nothing of what is ahead of it.
    fn until(&self, step: i64) -> [u32; STEPS] {
        std::array::from_fn(|age| {
            let place = (self.newest - step).saturating_add(i64::try_from(age).unwrap_or(i64::MAX));
            usize::try_from(place).ok().and_then(|place| self.counts.get(place)).copied().unwrap_or(0)
        })
    }
}

impl<const STEPS: usize> Default for Ring<STEPS> {
    fn default() -> Self {
        Self { newest: 0, counts: [0; STEPS] }
    }
}

/// The newest step, and the counts up to the last that is not zero.
impl<const STEPS: usize> Serialize for Ring<STEPS> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let length = self.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
        (self.newest, &self.counts[..length]).serialize(serializer)
    }
}

impl<'de, const STEPS: usize> Deserialize<'de> for Ring<STEPS> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (newest, kept): (i64, Vec<u32>) = Deserialize::deserialize(deserializer)?;
        let newest = newest.clamp(0, i64::from(u32::MAX));
        Ok(Self { newest, counts: std::array::from_fn(|age| kept.get(age).copied().unwrap_or(0)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64, hour: i64) -> WallTime {
        WallTime::from_millis(20_000 * DAY_MS + day * DAY_MS + hour * HOUR_MS)
    }

    #[test]
    fn time_pushes_counts_out_and_gaps_are_empty() {
        let mut trend = Trend::default();
        trend.add(at(0, 1), 5);
        trend.add(at(0, 3), 2);
        trend.add(at(0, 2), 1);
        assert_eq!(trend.hours(at(0, 3))[..4], [2, 1, 5, 0], "what comes late has its place");
        assert_eq!(trend.hours(at(0, 4))[..4], [0, 2, 1, 5]);
        assert_eq!(trend.hours(at(1, 5)), [0; HOURS], "a day later they are over");
        assert_eq!(trend.days(at(1, 5))[..3], [0, 8, 0]);
        trend.add(at(29, 0), 3);
        assert_eq!((trend.days(at(29, 0))[0], trend.days(at(29, 0))[29]), (3, 8));
        trend.add(at(30, 0), 1);
        assert_eq!(trend.days(at(30, 0)).iter().sum::<u32>(), 4, "the first day is over");
        trend.add(at(0, 0), 9);
        assert_eq!(trend.days(at(30, 0)).iter().sum::<u32>(), 4, "and does not come back");
        assert_eq!(trend.days(at(29, 0))[0], 3, "a clock that was set back sees what was then");
    }

    #[test]
    fn a_trend_is_read_back_as_it_was_written() {
        let mut trend = Trend::default();
        for (day, hour, events) in [(0, 3, 7), (2, 0, 1), (2, 23, 9)] {
            trend.add(at(day, hour), events);
        }
        let text = serde_json::to_string(&trend).unwrap();
        assert_eq!(serde_json::from_str::<Trend>(&text).unwrap(), trend, "{text}");
        let odd: Trend = serde_json::from_str(r#"{"hours":[-9223372036854775808,[1]],"days":[9223372036854775807,[1,2]]}"#).unwrap();
        assert_eq!(odd.days(at(0, 0)), [0; DAYS], "odd files do no harm");
    }
}
