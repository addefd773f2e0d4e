//! What the lanes of one destination share: is it up, and how fast may it be asked.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

#[cfg(test)]
use super::sabotage::{Sabotage, is_broken};
use super::settings::Pace;
use crate::{
    chance,
    model::RateLimit,
    policy::{Admission, Backoff, Breaker, BreakerState, Outcome, Pacer, Ramp, RetryBudget, Sign, Turn},
    upstream::Upstream,
};

/// Failures in a row that open a destination's breaker.
const FAILURES_MAX: u32 = 5;

/// The longest wait between two probes of a destination that is down: one request costs it nothing, and a backlog should not
/// wait long once it is back.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(15);

/// One upstream, and how it is doing.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) upstream: Upstream,
    condition: Mutex<Condition>,
    /// Told whenever a request comes back that others wait for.
    changed: Notify,
}

/// How an upstream is doing.
#[derive(Debug)]
struct Condition {
    breaker: Breaker,
    ramp: Ramp,
    retries: RetryBudget,
}

/// The right to send one request; its report, or its end without one, is the breaker's evidence.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    turn: Turn,
    /// Events that arrived with it.
    arrived: Option<u32>,
    sign: Sign,
    cause: String,
}

impl Gate {
    pub(super) fn new(upstream: Upstream, pace: Pace) -> Self {
        let breaker = Breaker::new(FAILURES_MAX, Backoff::new(pace.retry_first, pace.retry_max.min(PROBE_WAIT_MAX)));
        let condition = Condition { breaker, ramp: Ramp::new(per_second(pace.rate_limit)), retries: RetryBudget::default() };
        Self { upstream, condition: Mutex::new(condition), changed: Notify::new() }
    }

    /// Waits until a request may go, as far as the breaker is concerned.
    pub(super) async fn admit(&self) -> Pass<'_> {
        loop {
            // Made before the question, so that no change between question and wait is missed.
            let changed = self.changed.notified();
            let admission = self.condition().breaker.admit(Instant::now().into_std());
            match admission {
                Admission::Go(turn) => return Pass { gate: self, turn, arrived: None, sign: Sign::Unknown, cause: String::new() },
                Admission::AfterReport => changed.await,
                Admission::Until(at) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(Instant::from_std(at)) => {}
                },
            }
        }
    }

    /// Waits for the turn of so many events after an outage; at once when there was none.
    pub(super) async fn rise(&self, events: u32) {
        let now = Instant::now();
        let go = Instant::from_std(self.condition().ramp.book(events, now.into_std()));
        if now < go {
            sleep_until(go).await;
        }
    }

    /// Whether requests go slower than they might, as an outage has just ended.
    pub(super) fn is_rising(&self) -> bool {
        self.condition().ramp.is_rising()
    }

    /// The pace of a rise in events per second; None: there is none.
    pub(super) fn rising_rate(&self) -> Option<f64> {
        self.condition().ramp.rate(Instant::now().into_std())
    }

    /// When a failed request may be sent again; None: now.
    pub(super) fn retry_wait(&self) -> Option<Instant> {
        self.condition().retries.wait_until(Instant::now().into_std()).map(Instant::from_std)
    }

    /// Takes in that a request is sent again.
    pub(super) fn spend_retry(&self) {
        self.condition().retries.spend(Instant::now().into_std());
    }

    /// Failed requests that may be sent again at once.
    pub(super) fn retry_credit(&self) -> u32 {
        self.condition().retries.credit(Instant::now().into_std())
    }

    /// Another limit in events per second stands beside the rise from now on.
    pub(super) fn limit(&self, limit: RateLimit) {
        self.condition().ramp.limit(per_second(limit));
    }

    /// Whether requests are let through.
    pub(super) fn is_passing(&self) -> bool {
        self.condition().breaker.is_passing()
    }

    /// Whether requests are let through, in a word.
    pub(super) fn breaker(&self) -> BreakerState {
        self.condition().breaker.state()
    }

    fn report(&self, pass: &Pass<'_>) {
        let now = Instant::now().into_std();
        let mut condition = self.condition();
        let (was_passing, was_steady) = (condition.breaker.is_passing(), condition.breaker.is_steady());
        condition.breaker.report(pass.turn, pass.sign, now, chance::number());
        let is_passing = condition.breaker.is_passing();
        if let Some(events) = pass.arrived {
            condition.retries.earn();
            condition.ramp.arrived(events, now);
        }
        match (was_passing, is_passing) {
            (true, false) => condition.ramp.fall(now),
            (false, true) => condition.ramp.rise(now),
            _ => {}
        }
        drop(condition);
        if was_passing && !is_passing {
            tracing::warn!(event = "destination_down", upstream = self.upstream.origin(), cause = pass.cause, "events wait in the journal");
        }
        if !was_passing && is_passing {
            tracing::info!(event = "destination_up", upstream = self.upstream.origin(), "it answers again");
        }
        if !is_passing && pass.sign == Sign::Down {
            // The name may lead elsewhere by now (protocol.md 1.1).
            self.upstream.refresh();
        }
        if !was_steady {
            self.changed.notify_waiters();
        }
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Whether it is still good: its destination has not gone down since.
    pub(super) fn stands(&self) -> bool {
        self.gate.condition().breaker.stands(self.turn)
    }

    /// Says how the request with so many events went, and why it failed.
    pub(super) fn report(mut self, outcome: Outcome, events: u32, cause: &str) {
        self.sign = outcome.sign();
        self.arrived = matches!(outcome, Outcome::Answered { status: 200..=299, .. }).then_some(events);
        cause.clone_into(&mut self.cause);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.report(self);
    }
}

const fn per_second(limit: RateLimit) -> Option<u32> {
    match limit {
        RateLimit::None => None,
        RateLimit::PerSecond(rate) => Some(rate.get()),
    }
}

/// A limit in events per second that several lanes may share, and that may change while they wait for it.
#[derive(Debug)]
pub(super) struct Limit {
    /// None: there is no limit.
    pacer: Mutex<Option<Pacer>>,
    changed: Notify,
}

impl Limit {
    /// As a lane begins with it. What went before a restart is not known, and a limit holds through a kill too.
    pub(super) fn of(limit: RateLimit) -> Self {
        let pacer = match limit {
            RateLimit::None => None,
            RateLimit::PerSecond(rate) => Some(Pacer::behind_another(rate, Instant::now().into_std())),
        };
        Self { pacer: Mutex::new(pacer), changed: Notify::new() }
    }

    /// Another limit from now on, for those too who wait already.
    pub(super) fn set(&self, limit: RateLimit) {
        *self.pacer() = pacer(limit);
        self.changed.notify_waiters();
    }

    /// The limit.
    pub(super) fn rate(&self) -> RateLimit {
        self.pacer().as_ref().map_or(RateLimit::None, |pacer| RateLimit::PerSecond(pacer.rate()))
    }

    /// Whether there is one.
    pub(super) fn is_some(&self) -> bool {
        self.pacer().is_some()
    }

    /// The most events that a request should have under it; None: there is no limit.
    pub(super) fn request_events_max(&self) -> Option<usize> {
        self.pacer().as_ref().map(Pacer::request_events_max)
    }

    /// Books a request and waits for its turn.
    pub(super) async fn wait(&self, events: u32) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the booking, so that no change between the two is missed.
            changed.as_mut().enable();
            let Some(go) = self.pacer().as_mut().map(|pacer| pacer.book(events, Instant::now().into_std())) else { return };
            #[cfg(test)]
            if is_broken(Sabotage::LimitIgnored) {
                return;
            }
            tokio::select! {
                biased;
                () = sleep_until(Instant::from_std(go)) => return,
                () = changed => {}
            }
        }
    }

    fn pacer(&self) -> MutexGuard<'_, Option<Pacer>> {
        self.pacer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pacer(limit: RateLimit) -> Option<Pacer> {
    match limit {
        RateLimit::None => None,
        RateLimit::PerSecond(rate) => Some(Pacer::new(rate)),
    }
}
