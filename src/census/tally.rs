//! What is counted of one version.

use serde::{Deserialize, Serialize};

use super::{sketch::Sketch, trend::Trend};
use crate::model::{PerDestination, WallTime};

/// How an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// From the app.
    Directly,
    /// From Segment, by its webhook.
    ByWebhook,
}

/// One event, as it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct One {
    pub(super) at: WallTime,
    /// None: it names nobody.
    pub(super) person: Option<u64>,
    pub(super) goes: PerDestination<bool>,
    pub(super) came: Came,
}

/// The events of one version. Five sketches: ten kilobytes at most.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) first_at: Moment,
    pub(super) last_at: Moment,
    people: Sketch,
    /// The people of the week that runs, and of the one before it.
    weeks: Weeks,
    /// Of them, those of whom Segment alone was to get an event.
    alone: Weeks,
    /// The number of the week that runs, since 1970.
    week: i64,
    pub(super) trend: Trend,
    to_segment: u64,
    to_rudderstack: u64,
    pub(super) by_webhook: u64,
    /// When the last one came that Segment alone was to get, from the app.
    pub(super) alone_at: Option<Moment>,
    /// When the last one came by Segment's webhook.
    pub(super) webhook_at: Option<Moment>,
}

/// People of two weeks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Weeks([Sketch; 2]);

/// A [`WallTime`], as it is saved: milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Moment(i64);

const WEEK_MS: i64 = 7 * 86_400_000;

impl Tally {
    pub(super) fn new(at: WallTime) -> Self {
        Self {
            events: 0,
            first_at: at.into(),
            last_at: at.into(),
            people: Sketch::default(),
            weeks: Weeks::default(),
            alone: Weeks::default(),
            week: at.as_millis().div_euclid(WEEK_MS),
            trend: Trend::default(),
            to_segment: 0,
            to_rudderstack: 0,
            by_webhook: 0,
            alone_at: None,
            webhook_at: None,
        }
    }

    pub(super) fn count(&mut self, one: &One) {
        let at = Moment::from(one.at);
        self.events += 1;
        (self.first_at, self.last_at) = (self.first_at.min(at), self.last_at.max(at));
        self.trend.add(one.at, 1);
        self.to_segment += u64::from(one.goes.segment);
        self.to_rudderstack += u64::from(one.goes.rudderstack);
        let is_alone = one.came == Came::Directly && one.goes.segment && !one.goes.rudderstack;
        if is_alone {
            self.alone_at = self.alone_at.max(Some(at));
        }
        if one.came == Came::ByWebhook {
            self.by_webhook += 1;
            self.webhook_at = self.webhook_at.max(Some(at));
        }
        if let Some(person) = one.person {
            self.turn(one.at);
            self.people.insert(person);
            self.weeks.0[0].insert(person);
            if is_alone {
                self.alone.0[0].insert(person);
            }
        }
    }

    /// Begins a new week when its time has come.
    fn turn(&mut self, at: WallTime) {
        let week = at.as_millis().div_euclid(WEEK_MS);
        if week > self.week {
            self.weeks.turn(week - self.week);
            self.alone.turn(week - self.week);
            self.week = week;
        }
    }

    /// Everybody who was ever seen with it.
    pub(super) const fn people(&self) -> &Sketch {
        &self.people
    }

    /// Those who were seen in the week that runs at `now`, or in the one before it.
    pub(super) fn people_lately(&self, now: WallTime) -> Sketch {
        self.weeks.lately(now.as_millis().div_euclid(WEEK_MS) - self.week)
    }

    /// Of them, those of whom Segment alone was to get an event.
    pub(super) fn people_alone(&self, now: WallTime) -> Sketch {
        self.alone.lately(now.as_millis().div_euclid(WEEK_MS) - self.week)
    }

    /// How many events each destination was to get.
    pub(super) const fn goes(&self) -> PerDestination<u64> {
        PerDestination { segment: self.to_segment, rudderstack: self.to_rudderstack }
    }
}

impl Weeks {
    fn turn(&mut self, weeks: i64) {
        let last = std::mem::take(&mut self.0[0]);
        self.0[1] = if weeks == 1 { last } else { Sketch::default() };
    }

    /// The people of both, so many weeks after the newest began to be counted.
    fn lately(&self, age: i64) -> Sketch {
        let mut lately = if age <= 1 { self.0[0].clone() } else { Sketch::default() };
        if age <= 0 {
            lately.merge(&self.0[1]);
        }
        lately
    }
}

impl From<WallTime> for Moment {
    fn from(at: WallTime) -> Self {
        Self(at.as_millis())
    }
}

impl From<Moment> for WallTime {
    fn from(moment: Moment) -> Self {
        Self::from_millis(moment.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(week: i64, person: u64) -> One {
        let at = WallTime::from_millis(3_000 * WEEK_MS + week * WEEK_MS);
        One { at, person: Some(person << 50 | person), goes: PerDestination { segment: true, rudderstack: true }, came: Came::Directly }
    }

    #[test]
    fn people_of_late_are_those_of_two_weeks() {
        let mut tally = Tally::new(one(0, 0).at);
        for person in 0..10 {
            tally.count(&one(0, person));
        }
        tally.count(&one(1, 3));
        tally.count(&one(1, 20));
        let lately = |week| tally.people_lately(one(week, 0).at).count();
        assert_eq!((lately(1), lately(2), lately(3)), (11, 2, 0));
        assert_eq!(tally.people().count(), 11);
        tally.count(&one(5, 1));
        assert_eq!(tally.people_lately(one(5, 0).at).count(), 1, "weeks without an event have no people");
    }

    #[test]
    fn what_segment_alone_gets_is_remembered_by_its_last_event() {
        let alone = PerDestination { segment: true, rudderstack: false };
        let mut tally = Tally::new(one(0, 0).at);
        tally.count(&One { goes: alone, ..one(0, 1) });
        tally.count(&one(1, 1));
        tally.count(&one(1, 2));
        assert_eq!(tally.alone_at.map(WallTime::from), Some(one(0, 0).at));
        assert_eq!((tally.people_alone(one(1, 0).at).count(), tally.people_lately(one(1, 0).at).count()), (1, 2));
        assert_eq!(tally.people_alone(one(2, 0).at).count(), 0);
        tally.count(&One { goes: PerDestination { segment: false, rudderstack: true }, came: Came::ByWebhook, ..one(2, 1) });
        assert_eq!((tally.by_webhook, tally.webhook_at.map(WallTime::from)), (1, Some(one(2, 0).at)));
        assert_eq!((tally.goes(), tally.events), (PerDestination { segment: 3, rudderstack: 3 }, 4));
    }
}
