//! Not asking a destination that is down.

use std::time::Instant;

use super::Backoff;

/// The circuit breaker of one destination. It opens on failures in a row that say "down" (no connection, no answer in time,
/// 5xx), never on an answer about one request (4xx), and lets one probe through now and then until one succeeds.
#[derive(Debug, Clone)]
pub struct Breaker {
    failures_max: u32,
    backoff: Backoff,
    state: State,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Requests go; so many failed in a row.
    Passing { failures: u32 },
    /// Nothing goes until then.
    Blocked { until: Instant, trips: u32 },
    /// One request is out to see whether the destination is back.
    Probing { trips: u32 },
}

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Go(Turn),
    /// Not before that moment.
    Until(Instant),
    /// Not before the probe that is out has come back.
    AfterProbe,
}

/// As what a request went; its report names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// One of many.
    Regular,
    /// The one that finds out whether the destination is back.
    Probe,
}

/// What a request says about its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered, even if with a refusal.
    Alive,
    /// It did not answer, or with 5xx.
    Down,
    /// The request was given up for reasons of ours.
    Unknown,
}

impl Breaker {
    /// A breaker that opens after `failures_max` failures in a row and then blocks for `backoff`'s waits.
    #[must_use]
    pub const fn new(failures_max: u32, backoff: Backoff) -> Self {
        Self { failures_max, backoff, state: State::Passing { failures: 0 } }
    }

    /// Asks to send a request at `now`. Who is admitted must [`report`](Self::report) once.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Passing { .. } => Admission::Go(Turn::Regular),
            State::Blocked { until, .. } if now < until => Admission::Until(until),
            State::Blocked { trips, .. } => {
                self.state = State::Probing { trips };
                Admission::Go(Turn::Probe)
            }
            State::Probing { .. } => Admission::AfterProbe,
        }
    }

    /// Takes in how a request went. Any answer closes the breaker; a failure of a request that went before the breaker opened
    /// says nothing new.
    pub fn report(&mut self, entry: Turn, sign: Sign, now: Instant, random: u64) {
        self.state = match (self.state, sign, entry) {
            (_, Sign::Alive, _) => State::Passing { failures: 0 },
            (State::Passing { failures }, Sign::Down, _) if failures + 1 < self.failures_max => State::Passing { failures: failures + 1 },
            (State::Passing { .. }, Sign::Down, _) => self.blocked(1, now, random),
            (State::Probing { trips }, Sign::Down, Turn::Probe) => self.blocked(trips.saturating_add(1), now, random),
            (State::Probing { trips }, Sign::Unknown, Turn::Probe) => State::Blocked { until: now, trips },
            (state, Sign::Down | Sign::Unknown, _) => state,
        };
    }

    /// Whether requests are let through.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self.state, State::Passing { .. })
    }

    fn blocked(&self, trips: u32, now: Instant, random: u64) -> State {
        State::Blocked { until: now + self.backoff.wait_half(trips, random), trips }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(3, Backoff::new(Duration::from_secs(2), Duration::from_mins(1)))
    }

    fn open(breaker: &mut Breaker, now: Instant) {
        for _ in 0..3 {
            assert_eq!(breaker.admit(now), Admission::Go(Turn::Regular));
            breaker.report(Turn::Regular, Sign::Down, now, 0);
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_does_not() {
        let now = Instant::now();
        let mut breaker = breaker();
        for sign in [Sign::Down, Sign::Down, Sign::Alive, Sign::Down, Sign::Down, Sign::Unknown] {
            breaker.report(Turn::Regular, sign, now, 0);
            assert!(breaker.is_passing());
        }
        breaker.report(Turn::Regular, Sign::Down, now, 0);
        assert_eq!(breaker.admit(now), Admission::Until(now + Duration::from_secs(1)));
    }

    #[test]
    fn one_probe_goes_and_its_failure_blocks_for_longer() {
        let now = Instant::now();
        let mut breaker = breaker();
        open(&mut breaker, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(breaker.admit(later), Admission::Go(Turn::Probe));
        assert_eq!(breaker.admit(later), Admission::AfterProbe);
        breaker.report(Turn::Regular, Sign::Down, later, 0);
        assert_eq!(breaker.admit(later), Admission::AfterProbe, "an old failure says nothing about the probe");
        breaker.report(Turn::Probe, Sign::Down, later, 0);
        assert_eq!(breaker.admit(later), Admission::Until(later + Duration::from_secs(2)));
    }

    #[test]
    fn a_probe_that_is_answered_closes_it_and_one_given_up_lets_the_next_try() {
        let now = Instant::now();
        let mut breaker = breaker();
        open(&mut breaker, now);
        let later = now + Duration::from_secs(1);
        assert_eq!(breaker.admit(later), Admission::Go(Turn::Probe));
        breaker.report(Turn::Probe, Sign::Unknown, later, 0);
        assert_eq!(breaker.admit(later), Admission::Go(Turn::Probe));
        breaker.report(Turn::Probe, Sign::Alive, later, 0);
        assert_eq!(breaker.admit(later), Admission::Go(Turn::Regular));
    }
}
