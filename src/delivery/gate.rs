//! What the lanes of one destination share: is it up, and how fast may it be asked.

use std::{
    num::NonZeroU32,
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
    policy::{Admission, Backoff, Breaker, Pacer, Sign, Turn},
    upstream::Upstream,
};

/// Failures in a row that open a destination's breaker.
const FAILURES_MAX: u32 = 5;

/// The longest wait between two probes of a destination that is down: one request costs it nothing, and a backlog should not
/// wait long once it is back.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(15);

/// One upstream and its breaker.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) upstream: Upstream,
    breaker: Mutex<Breaker>,
    /// Told whenever a request comes back that others wait for.
    changed: Notify,
}

/// The right to send one request; its report, or its end without one, is the breaker's evidence.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    turn: Turn,
    sign: Sign,
    cause: String,
}

impl Gate {
    pub(super) fn new(upstream: Upstream, pace: Pace) -> Self {
        let breaker = Breaker::new(FAILURES_MAX, Backoff::new(pace.retry_first, pace.retry_max.min(PROBE_WAIT_MAX)));
        Self { upstream, breaker: Mutex::new(breaker), changed: Notify::new() }
    }

    /// Waits until a request may go.
    pub(super) async fn admit(&self) -> Pass<'_> {
        loop {
            // Made before the question, so that no change between question and wait is missed.
            let changed = self.changed.notified();
            let admission = self.breaker().admit(Instant::now().into_std());
            match admission {
                Admission::Go(turn) => return Pass { gate: self, turn, sign: Sign::Unknown, cause: String::new() },
                Admission::AfterReport => changed.await,
                Admission::Until(at) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(Instant::from_std(at)) => {}
                },
            }
        }
    }

    /// Whether requests are let through.
    pub(super) fn is_passing(&self) -> bool {
        self.breaker().is_passing()
    }

    fn report(&self, turn: Turn, sign: Sign, cause: &str) {
        let mut breaker = self.breaker();
        let (was_passing, was_steady) = (breaker.is_passing(), breaker.is_steady());
        breaker.report(turn, sign, Instant::now().into_std(), chance::number());
        let is_passing = breaker.is_passing();
        drop(breaker);
        if was_passing && !is_passing {
            tracing::warn!(event = "destination_down", upstream = self.upstream.origin(), cause, "events wait in the journal");
        }
        if !was_passing && is_passing {
            tracing::info!(event = "destination_up", upstream = self.upstream.origin(), "it answers again");
        }
        if !is_passing && sign == Sign::Down {
            // The name may lead elsewhere by now (protocol.md 1.1).
            self.upstream.refresh();
        }
        if !was_steady {
            self.changed.notify_waiters();
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pass<'_> {
    /// Says how the request went, and why it failed.
    pub(super) fn report(mut self, sign: Sign, cause: &str) {
        self.sign = sign;
        cause.clone_into(&mut self.cause);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.gate.report(self.turn, self.sign, &self.cause);
    }
}

/// A limit in events per second that several lanes may share.
#[derive(Debug)]
pub(super) struct Limit {
    pacer: Mutex<Pacer>,
    /// The most events that a request should have under it.
    pub(super) request_events_max: usize,
}

impl Limit {
    /// None when there is no limit.
    pub(super) fn of(limit: RateLimit) -> Option<Self> {
        let rate: NonZeroU32 = match limit {
            RateLimit::None => return None,
            RateLimit::PerSecond(rate) => rate,
        };
        let pacer = Pacer::new(rate);
        Some(Self { request_events_max: pacer.request_events_max(), pacer: Mutex::new(pacer) })
    }

    /// Books a request and waits for its turn.
    pub(super) async fn wait(&self, events: u32) {
        let go = self.pacer.lock().unwrap_or_else(PoisonError::into_inner).book(events, Instant::now().into_std());
        #[cfg(test)]
        if is_broken(Sabotage::LimitIgnored) {
            return;
        }
        sleep_until(Instant::from_std(go)).await;
    }
}
