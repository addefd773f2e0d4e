//! Going gently with what has just got up.

use std::time::{Duration, Instant};

/// The pace of one destination after an outage.
///
/// It begins with a tenth of what the destination took before, and doubles step by step (reliability.md N8): a backlog that
/// comes at once, from many sidecars at a time, knocks over what has just got up. A step is a tenth of the outage, as a short
/// outage leaves a short backlog, and a minute at most. After [`DOUBLINGS`] it is at a dozen times the old rate, and over; a
/// rate limit stands beside it all the time.
#[derive(Debug, Clone)]
pub struct Ramp {
    limit: Option<f64>,
    meter: Meter,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    /// Nothing gets through since then. A relapse of a rise keeps to its step at least.
    Down {
        since: Instant,
        step_min: Duration,
    },
    Rising(Rise),
}

#[derive(Debug, Clone, Copy)]
struct Rise {
    began: Instant,
    step: Duration,
    /// Events per second in the first step.
    first: f64,
    /// When the next request goes.
    next: Instant,
}

/// The part of the old rate to begin with.
const FIRST_PART: f64 = 0.1;
/// Events per second that are gentle with any destination, whatever it took before.
const GENTLE: f64 = 50.0;
/// How often the rate doubles before the ramp is over.
const DOUBLINGS: u32 = 7;
/// The part of the outage that a step lasts.
const STEP_PART: u32 = 10;
const STEP_MIN: Duration = Duration::from_millis(20);
const STEP_MAX: Duration = Duration::from_mins(1);

impl Ramp {
    /// The ramp of a destination; `limit` is its rate limit in events per second.
    #[must_use]
    pub fn new(limit: Option<u32>) -> Self {
        Self { limit: limit.map(f64::from), meter: Meter::default(), state: State::Open }
    }

    /// Another rate limit from now on.
    pub fn limit(&mut self, limit: Option<u32>) {
        self.limit = limit.map(f64::from);
    }

    /// Takes in that so many events arrived.
    pub fn arrived(&mut self, events: u32, now: Instant) {
        // What arrives while it rises is our own doing and says nothing about what is usual.
        if matches!(self.state, State::Open) {
            self.meter.count(events, now);
        }
    }

    /// The destination is down from now on; said again, it changes nothing.
    pub fn fall(&mut self, now: Instant) {
        match self.state {
            State::Down { .. } => {}
            State::Open => self.state = State::Down { since: now, step_min: STEP_MIN },
            State::Rising(rise) => self.state = State::Down { since: now, step_min: rise.step },
        }
    }

    /// The destination answers again.
    pub fn rise(&mut self, now: Instant) {
        let State::Down { since, step_min } = self.state else { return };
        let outage = now.saturating_duration_since(since);
        let step = (outage / STEP_PART).clamp(step_min, STEP_MAX);
        let usual = self.meter.usual(since).or(self.limit).unwrap_or_default();
        let first = (usual * FIRST_PART).max(GENTLE).min(self.limit.map_or(f64::INFINITY, |limit| limit * FIRST_PART));
        self.state = State::Rising(Rise { began: now, step, first, next: now });
    }

    /// Whether requests have to be booked.
    #[must_use]
    pub const fn is_rising(&self) -> bool {
        matches!(self.state, State::Rising(_))
    }

    /// Books a request of so many events and says when it is to go: `now` or later.
    pub fn book(&mut self, events: u32, now: Instant) -> Instant {
        let State::Rising(rise) = &mut self.state else { return now };
        if now >= rise.end() {
            self.state = State::Open;
            return now;
        }
        let go = rise.next.max(now);
        rise.next = rise.after(go, f64::from(events));
        go
    }

    /// Events per second at `now`; None: as many as will.
    #[must_use]
    pub fn rate(&self, now: Instant) -> Option<f64> {
        match &self.state {
            State::Rising(rise) if now < rise.end() => Some(rise.rate(rise.step_at(now))),
            _ => None,
        }
    }
}

impl Rise {
    fn end(&self) -> Instant {
        self.began + self.step * (DOUBLINGS + 1)
    }

    fn step_at(&self, at: Instant) -> u32 {
        let steps = at.saturating_duration_since(self.began).as_nanos() / self.step.as_nanos().max(1);
        u32::try_from(steps).unwrap_or(u32::MAX).min(DOUBLINGS)
    }

    fn rate(&self, step: u32) -> f64 {
        self.first * f64::from(1_u32 << step.min(DOUBLINGS))
    }

    /// When `events` that began to go at `from` are paid for, as the rate grows meanwhile.
    fn after(&self, from: Instant, events: f64) -> Instant {
        let (mut at, mut left) = (from, events);
        for step in self.step_at(from)..DOUBLINGS {
            let step_end = self.began + self.step * (step + 1);
            let fits = self.rate(step) * step_end.saturating_duration_since(at).as_secs_f64();
            if fits >= left {
                return at + Duration::from_secs_f64(left / self.rate(step));
            }
            (at, left) = (step_end, left - fits);
        }
        at + Duration::from_secs_f64(left / self.rate(DOUBLINGS))
    }
}

/// What a destination usually takes, in events per second: the best of the last windows, fading.
#[derive(Debug, Clone, Default)]
struct Meter {
    window_began: Option<Instant>,
    events: u64,
    best: f64,
}

const WINDOW: Duration = Duration::from_secs(10);

impl Meter {
    fn count(&mut self, events: u32, now: Instant) {
        let began = *self.window_began.get_or_insert(now);
        if now.saturating_duration_since(began) >= WINDOW {
            self.best = self.rate(now).max(self.best / 2.0);
            (self.window_began, self.events) = (Some(now), 0);
        }
        self.events += u64::from(events);
    }

    /// None when nothing is known.
    fn usual(&self, now: Instant) -> Option<f64> {
        Some(self.rate(now).max(self.best)).filter(|rate| *rate > 0.0)
    }

    /// The rate of this window; one that has just begun counts as a second.
    fn rate(&self, now: Instant) -> f64 {
        let Some(began) = self.window_began else { return 0.0 };
        #[expect(clippy::cast_precision_loss, reason = "a rate of events is far below 2^53")]
        let events = self.events as f64;
        events / now.saturating_duration_since(began).as_secs_f64().max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A destination that took `usual` events a second for a minute, and was down for so long. Gives the moment it is back.
    fn back(usual: u32, limit: Option<u32>, outage: Duration) -> (Ramp, Instant) {
        let start = Instant::now();
        let mut ramp = Ramp::new(limit);
        for tenth in 0..600 {
            ramp.arrived(usual / 10, start + Duration::from_millis(100) * tenth);
        }
        ramp.fall(start + s(60));
        ramp.fall(start + s(61));
        ramp.rise(start + s(60) + outage);
        (ramp, start + s(60) + outage)
    }

    /// Events of a backlog without end, in each of the steps.
    fn drained(ramp: &mut Ramp, back: Instant, step: Duration, request: u32) -> Vec<u32> {
        let mut steps = vec![0; DOUBLINGS as usize + 1];
        let mut now = back;
        while ramp.is_rising() {
            let go = ramp.book(request, now);
            assert!(go >= now);
            if let Some(events) = steps.get_mut(usize::try_from(go.duration_since(back).as_nanos() / step.as_nanos()).unwrap()) {
                *events += request;
            }
            now = go;
        }
        steps
    }

    #[test]
    fn the_first_minute_gets_a_tenth_and_each_next_one_twice_as_much() {
        let (mut ramp, back) = back(1_000, None, s(600));
        let per_minute = drained(&mut ramp, back, s(60), 5);
        let want: Vec<u32> = (0..=DOUBLINGS).map(|step| 6_000 << step).collect();
        for (got, want) in per_minute.iter().zip(&want) {
            assert!(got.abs_diff(*want) <= want / 50 + 5, "{per_minute:?}, not {want}");
        }
        assert_eq!(ramp.rate(back + s(601)), None);
        assert_eq!(ramp.book(5, back + s(601)), back + s(601), "then it is over");
    }

    #[test]
    fn where_it_begins_and_how_long_a_step_is() {
        let table = [
            // usual, limit, outage; events a second in the first step, its length
            (1_000, None, s(600), 100.0, s(60)),
            (1_000, None, s(72 * 3_600), 100.0, s(60)),
            (1_000, None, s(5), 100.0, Duration::from_millis(500)),
            (1_000, None, Duration::ZERO, 100.0, STEP_MIN),
            (10, None, s(600), GENTLE, s(60)),
            (0, None, s(600), GENTLE, s(60)),
            (0, Some(2_000), s(600), 200.0, s(60)),
            (100, Some(200), s(600), 20.0, s(60)),
            (1_000, Some(5), s(600), 0.5, s(60)),
        ];
        for (usual, limit, outage, first, step) in table {
            let (ramp, back) = back(usual, limit, outage);
            let rate = ramp.rate(back).unwrap();
            assert!((rate - first).abs() < first / 50.0, "usual {usual}, limit {limit:?}, {outage:?}: {rate}");
            assert_eq!(ramp.rate(back + step), Some(rate * 2.0), "usual {usual}, limit {limit:?}, {outage:?}");
        }
    }

    #[test]
    fn a_relapse_begins_again_with_steps_no_shorter() {
        let (mut ramp, back) = back(1_000, None, s(600));
        ramp.fall(back + s(90));
        assert!(!ramp.is_rising());
        ramp.rise(back + s(92));
        assert_eq!(ramp.rate(back + s(92)).map(f64::round), Some(100.0));
        assert_eq!(ramp.rate(back + s(92 + 59)).map(f64::round), Some(100.0));
    }

    #[test]
    fn a_request_larger_than_a_step_waits_no_longer_than_the_growing_rate_asks() {
        let (mut ramp, back) = back(0, None, s(10));
        assert_eq!(ramp.book(500, back), back);
        let waited = ramp.book(1, back) - back;
        // 50 + 100 + 200 in the first three seconds, 150 of 400 in the fourth.
        assert!((3_370..3_380).contains(&waited.as_millis()), "{waited:?}");
    }

    #[test]
    fn without_an_outage_nothing_waits() {
        let now = Instant::now();
        let mut ramp = Ramp::new(Some(10));
        ramp.rise(now);
        assert!(!ramp.is_rising() && ramp.book(1_000, now) == now && ramp.book(1, now) == now);
    }
}
