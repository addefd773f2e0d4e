//! How fast events come and go: totals are looked at now and then, and compared with those of a minute ago.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    delivery::{LaneControl, Latencies},
    ingress::Counters,
    journal::{Journal, LaneId},
    model::{Destination, PerDestination, SourceId},
};

/// How often totals are looked at.
pub(super) const INTERVAL: Duration = Duration::from_secs(5);
/// How far back rates reach.
const SPAN: Duration = Duration::from_mins(1);
/// Shorter times say nothing.
const SPAN_MIN: Duration = Duration::from_secs(1);

/// What was counted in the last minute.
#[derive(Debug, Default)]
pub(super) struct Rates {
    looks: Mutex<VecDeque<Look>>,
}

/// Totals at one moment.
#[derive(Debug)]
struct Look {
    at: Instant,
    /// Events delivered.
    delivered: HashMap<LaneId, u64>,
    /// Events received.
    received: HashMap<SourceId, u64>,
    /// How long answers took.
    latencies: PerDestination<Option<Latencies>>,
}

/// Events a second, over the last minute or since the start; 0 before there is anything to tell.
#[derive(Debug, Default)]
pub(super) struct Paces {
    delivered: HashMap<LaneId, f64>,
    received: HashMap<SourceId, f64>,
}

impl Rates {
    /// Remembers how things stand now.
    pub(super) fn look(&self, journal: &Journal, counters: &Counters, lanes: &LaneControl) {
        let latencies = |destination| Some(lanes.destination(destination).latencies);
        let look = Look { latencies: PerDestination::from_fn(latencies), ..Look::now(journal, counters) };
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        while looks.front().is_some_and(|oldest| look.at.duration_since(oldest.at) > SPAN) {
            looks.pop_front();
        }
        looks.push_back(look);
    }

    /// How long the answers of a destination took in the last minute, when that is what it took up to now; None: nothing is known of
    /// the time before.
    pub(super) fn latencies(&self, destination: Destination, now: &Latencies) -> Option<Latencies> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let then = looks.front()?.latencies.of(destination).as_ref()?;
        Some(now.since(then))
    }

    /// Compares how things stand now with the oldest look.
    pub(super) fn paces(&self, journal: &Journal, counters: &Counters) -> Paces {
        let now = Look::now(journal, counters);
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(then) = looks.front() else { return Paces::default() };
        let elapsed = now.at.duration_since(then.at);
        if elapsed < SPAN_MIN {
            return Paces::default();
        }
        Paces { delivered: paces(&now.delivered, &then.delivered, elapsed), received: paces(&now.received, &then.received, elapsed) }
    }
}

impl Look {
    fn now(journal: &Journal, counters: &Counters) -> Self {
        let delivered = journal.ledger().into_iter().map(|(id, ledger)| (id, ledger.delivered)).collect();
        Self { at: Instant::now(), delivered, received: counters.received().into_iter().collect(), latencies: PerDestination::default() }
    }
}

impl Paces {
    /// Events of a lane that its destination takes.
    pub(super) fn delivered(&self, id: &LaneId) -> f64 {
        self.delivered.get(id).copied().unwrap_or_default()
    }

    /// Events that apps send of a source.
    pub(super) fn received(&self, id: &SourceId) -> f64 {
        self.received.get(id).copied().unwrap_or_default()
    }

    /// The same of all.
    pub(super) fn received_all(&self) -> f64 {
        self.received.values().sum()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a pace is not exact")]
fn paces<K: Clone + Eq + std::hash::Hash>(now: &HashMap<K, u64>, then: &HashMap<K, u64>, elapsed: Duration) -> HashMap<K, f64> {
    let since = |key: &K, total: u64| total.saturating_sub(then.get(key).copied().unwrap_or(0)) as f64 / elapsed.as_secs_f64();
    now.iter().map(|(key, total)| (key.clone(), since(key, *total))).collect()
}

/// A pace as it is told: to a tenth, and never less than nothing, as a sum of no paces is -0.
pub(super) fn told(per_second: f64) -> f64 {
    (per_second * 10.0).round() / 10.0 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_told_as_nothing() {
        assert_eq!(told(std::iter::empty::<f64>().sum()).to_string(), "0");
        assert_eq!(told(12.345).to_string(), "12.3");
    }
}
