//! Not asking a destination that is down.

use std::time::{Duration, Instant};

use super::Backoff;

/// The circuit breaker of one destination.
///
/// It blocks after failures in a row that say "down" (no connection, no answer in time, 5xx), never because of an answer
/// about one request (4xx), and lets one probe through now and then until one is answered. After that it opens up step by
/// step, so that a backlog does not knock over what has just got up: each answer lets one more request out at a time, each
/// failure one less. Requests that went before it blocked say nothing about what came after.
#[derive(Debug, Clone)]
pub struct Breaker {
    failures_max: u32,
    backoff: Backoff,
    state: State,
    /// Counts the blocks, so that older requests are known.
    epoch: u32,
    /// Requests of this epoch that were admitted and are not reported yet.
    out: u32,
}

#[derive(Debug, Clone, Copy)]
enum State {
    /// Requests go; so many failed in a row. Some: it was blocked before, so many times without lasting.
    Passing { failures: u32, relapse: Option<Relapse> },
    /// Nothing goes until then, after so many blocks without a recovery.
    Blocked { until: Instant, trips: u32 },
    /// One request is out to see whether the destination is back.
    Probing { trips: u32 },
    /// It is back; so many requests may be out at a time.
    Recovering { allowed: u32, failures: u32, trips: u32 },
}

/// Whether requests are let through, in a word; the worse is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BreakerState {
    /// They are.
    Passing,
    /// One at a time, or a few more with each answer: it is being found out whether the destination is back.
    Probing,
    /// They are not.
    Blocked,
}

impl BreakerState {
    /// `passing`, `probing` or `blocked`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Probing => "probing",
            Self::Blocked => "blocked",
        }
    }
}

/// A recovery that has not proved itself yet.
#[derive(Debug, Clone, Copy)]
struct Relapse {
    /// Blocks so far.
    trips: u32,
    /// Until when one more counts as the next of them.
    until: Instant,
}

/// Requests out at a time that need no more care.
const RECOVERED: u32 = 64;
/// How long a recovery must last before the next block counts as the first: a link that is up for a second and down for
/// a second is asked less and less (reliability.md N9).
const CALM: Duration = Duration::from_secs(30);

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may.
    Go(Turn),
    /// Not before that moment.
    Until(Instant),
    /// Not before a request that is out has come back.
    AfterReport,
}

/// An admitted request; its report names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    epoch: u32,
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
    /// A breaker that blocks after `failures_max` failures in a row, for `backoff`'s waits.
    #[must_use]
    pub const fn new(failures_max: u32, backoff: Backoff) -> Self {
        Self { failures_max, backoff, state: State::Passing { failures: 0, relapse: None }, epoch: 0, out: 0 }
    }

    /// Whether requests are let through.
    #[must_use]
    pub const fn state(&self) -> BreakerState {
        match self.state {
            State::Passing { .. } => BreakerState::Passing,
            State::Probing { .. } | State::Recovering { .. } => BreakerState::Probing,
            State::Blocked { .. } => BreakerState::Blocked,
        }
    }

    /// Asks to send a request at `now`. Who is admitted must [`report`](Self::report) once.
    pub fn admit(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Passing { .. } => {}
            State::Recovering { allowed, .. } if self.out < allowed => {}
            State::Recovering { .. } | State::Probing { .. } => return Admission::AfterReport,
            State::Blocked { until, .. } if now < until => return Admission::Until(until),
            State::Blocked { trips, .. } => self.state = State::Probing { trips },
        }
        self.out += 1;
        Admission::Go(Turn { epoch: self.epoch })
    }

    /// Takes in how a request went, at `now`.
    pub fn report(&mut self, turn: Turn, sign: Sign, now: Instant, random: u64) {
        if turn.epoch != self.epoch {
            return;
        }
        self.out = self.out.saturating_sub(1);
        match (&mut self.state, sign) {
            (State::Passing { failures, .. }, Sign::Alive) => *failures = 0,
            (State::Passing { failures, relapse }, Sign::Down) => {
                *failures += 1;
                if *failures >= self.failures_max {
                    let trips = relapse.filter(|relapse| now < relapse.until).map_or(0, |relapse| relapse.trips);
                    self.block(trips.saturating_add(1), now, random);
                }
            }
            (State::Probing { trips }, Sign::Alive) => self.state = State::Recovering { allowed: 2, failures: 0, trips: *trips },
            (State::Probing { trips }, Sign::Down) => {
                let trips = trips.saturating_add(1);
                self.block(trips, now, random);
            }
            (State::Probing { trips }, Sign::Unknown) => self.state = State::Blocked { until: now, trips: *trips },
            (State::Recovering { allowed: RECOVERED.., trips, .. }, Sign::Alive) => {
                let relapse = Some(Relapse { trips: *trips, until: now + CALM });
                self.state = State::Passing { failures: 0, relapse };
            }
            (State::Recovering { allowed, failures, .. }, Sign::Alive) => (*allowed, *failures) = (*allowed + 1, 0),
            (State::Recovering { allowed, failures, trips }, Sign::Down) => {
                (*allowed, *failures) = ((*allowed - 1).max(1), *failures + 1);
                if *failures >= self.failures_max {
                    let trips = trips.saturating_add(1);
                    self.block(trips, now, random);
                }
            }
            (State::Passing { .. } | State::Recovering { .. }, Sign::Unknown) | (State::Blocked { .. }, _) => {}
        }
    }

    /// Whether a request that was admitted, and has waited for something else since, may still go.
    #[must_use]
    pub const fn stands(&self, turn: Turn) -> bool {
        turn.epoch == self.epoch
    }

    /// Whether requests are let through, be it only some.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self.state, State::Passing { .. } | State::Recovering { .. })
    }

    /// Whether requests are let through without any limit, so that nobody waits for a report.
    #[must_use]
    pub const fn is_steady(&self) -> bool {
        matches!(self.state, State::Passing { .. })
    }

    fn block(&mut self, trips: u32, now: Instant, random: u64) {
        self.state = State::Blocked { until: now + self.backoff.wait_half(trips, random), trips };
        self.epoch = self.epoch.wrapping_add(1);
        self.out = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(3, Backoff::new(Duration::from_secs(2), Duration::from_mins(1)))
    }

    fn go(breaker: &mut Breaker, now: Instant) -> Turn {
        match breaker.admit(now) {
            Admission::Go(turn) => turn,
            waits => panic!("{waits:?}"),
        }
    }

    /// Sends one request and has it end so.
    fn send(breaker: &mut Breaker, sign: Sign, now: Instant) {
        let turn = go(breaker, now);
        breaker.report(turn, sign, now, 0);
    }

    #[test]
    fn failures_in_a_row_block_and_an_answer_between_does_not() {
        let now = Instant::now();
        let mut breaker = breaker();
        for sign in [Sign::Down, Sign::Down, Sign::Alive, Sign::Down, Sign::Down, Sign::Unknown] {
            send(&mut breaker, sign, now);
            assert!(breaker.is_steady());
        }
        send(&mut breaker, Sign::Down, now);
        assert_eq!(breaker.admit(now), Admission::Until(now + Duration::from_secs(1)));
    }

    #[test]
    fn one_probe_goes_and_its_failure_blocks_for_longer() {
        let now = Instant::now();
        let mut breaker = breaker();
        let old = go(&mut breaker, now);
        (0..3).for_each(|_| send(&mut breaker, Sign::Down, now));
        let later = now + Duration::from_secs(1);
        let probe = go(&mut breaker, later);
        assert_eq!(breaker.admit(later), Admission::AfterReport);
        breaker.report(old, Sign::Down, later, 0);
        assert_eq!(breaker.admit(later), Admission::AfterReport, "an old failure says nothing about the probe");
        breaker.report(probe, Sign::Down, later, 0);
        assert_eq!(breaker.admit(later), Admission::Until(later + Duration::from_secs(2)));
    }

    #[test]
    fn a_probe_given_up_lets_the_next_try() {
        let now = Instant::now();
        let mut breaker = breaker();
        (0..3).for_each(|_| send(&mut breaker, Sign::Down, now));
        let later = now + Duration::from_secs(1);
        send(&mut breaker, Sign::Unknown, later);
        send(&mut breaker, Sign::Alive, later);
        assert!(breaker.is_passing() && !breaker.is_steady());
    }

    #[test]
    fn what_has_just_got_up_is_asked_more_and_more() {
        let now = Instant::now();
        let mut breaker = breaker();
        let hanging = go(&mut breaker, now);
        (0..3).for_each(|_| send(&mut breaker, Sign::Down, now));
        let later = now + Duration::from_secs(1);
        send(&mut breaker, Sign::Alive, later);
        let mut rounds = Vec::new();
        while !breaker.is_steady() {
            let mut out = Vec::new();
            while let (Admission::Go(turn), true) = (breaker.admit(later), out.len() < 1_000) {
                out.push(turn);
            }
            breaker.report(hanging, Sign::Down, later, 0);
            rounds.push(out.len());
            for turn in out {
                breaker.report(turn, Sign::Alive, later, 0);
            }
        }
        assert_eq!(rounds, [2, 4, 8, 16, 32, 64], "twice as many each round, whatever old requests say");
    }

    #[test]
    fn a_link_that_flaps_is_asked_less_and_less_until_it_lasts() {
        let mut now = Instant::now();
        let mut breaker = breaker();
        let mut flap = |up: Duration| {
            now += up;
            (0..3).for_each(|_| send(&mut breaker, Sign::Down, now));
            let Admission::Until(at) = breaker.admit(now) else { panic!("it is down") };
            let waited = at - now;
            now = at;
            while !breaker.is_steady() {
                send(&mut breaker, Sign::Alive, now);
            }
            waited.as_secs()
        };
        let waits: Vec<u64> = (0..8).map(|_| flap(Duration::from_secs(1))).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(flap(CALM), 1, "it has lasted");
    }

    #[test]
    fn who_was_admitted_before_a_block_may_no_longer_go() {
        let now = Instant::now();
        let mut breaker = breaker();
        let waits = go(&mut breaker, now);
        assert!(breaker.stands(waits));
        (0..3).for_each(|_| send(&mut breaker, Sign::Down, now));
        assert!(!breaker.stands(waits));
    }

    #[test]
    fn a_recovery_bears_some_failures_and_ends_with_many() {
        let now = Instant::now();
        let mut breaker = breaker();
        (0..3).for_each(|_| send(&mut breaker, Sign::Down, now));
        let later = now + Duration::from_secs(1);
        send(&mut breaker, Sign::Alive, later);
        (0..2).for_each(|_| send(&mut breaker, Sign::Down, later));
        assert!(breaker.is_passing());
        send(&mut breaker, Sign::Alive, later);
        (0..3).for_each(|_| send(&mut breaker, Sign::Down, later));
        assert_eq!(breaker.admit(later), Admission::Until(later + Duration::from_secs(2)), "longer than the first time");
    }
}
