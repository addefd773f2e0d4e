//! How long answers take, in classes that are narrow enough for percentiles and cheap enough for every answer.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Eight classes for each doubling, from a microsecond to about nineteen hours: a class is at most an eighth wide.
const CLASSES: usize = 8 * 36;

/// What is counted while answers come.
#[derive(Debug)]
pub(super) struct LatencyCounters([AtomicU64; CLASSES]);

/// How many answers took how long, up to some moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies(Box<[u64]>);

impl Default for LatencyCounters {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl LatencyCounters {
    /// Counts an answer.
    pub(super) fn count(&self, took: Duration) {
        self.0[class(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted up to now.
    pub(super) fn read(&self) -> Latencies {
        Latencies(self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect())
    }
}

impl Latencies {
    /// What was counted after an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(self.0.iter().zip(&earlier.0).map(|(now, then)| now.saturating_sub(*then)).collect())
    }

    /// How many answers there were.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that so large a share of the answers did not take longer than, from 0 to 1: the upper bound of its class, at most
    /// an eighth above the truth. None: there was no answer.
    #[must_use]
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.answers() as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        let class = self.0.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(bound(class))
    }
}

/// The class of a time: three bits behind the highest say which eighth of its doubling it is in.
fn class(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
    let doubling = micros.ilog2();
    let eighth = if doubling >= 3 { (micros >> (doubling - 3)) & 7 } else { (micros << (3 - doubling)) & 7 };
    (doubling as usize * 8 + usize::try_from(eighth).unwrap_or(0)).min(CLASSES - 1)
}

/// The upper bound of a class.
fn bound(class: usize) -> Duration {
    let (doubling, eighth) = (class / 8, class as u64 % 8);
    Duration::from_micros((((9 + eighth) << doubling) >> 3).max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_time_is_at_most_an_eighth_below_its_bound(micros in 1_u64..20_000_000_000) {
            let bound = bound(class(Duration::from_micros(micros))).as_micros();
            prop_assert!(bound >= u128::from(micros), "{micros} us, bound {bound}");
            prop_assert!(bound <= u128::from(micros) * 9 / 8 + 1, "{micros} us, bound {bound}");
        }
    }

    #[test]
    fn percentiles_are_those_of_the_time_that_is_asked_about() {
        let counters = LatencyCounters::default();
        (0..100).for_each(|_| counters.count(Duration::from_secs(9)));
        let then = counters.read();
        (1..=100).for_each(|ms| counters.count(Duration::from_millis(ms)));
        let of_late = counters.read().since(&then);
        assert_eq!(of_late.answers(), 100);
        let quantile = |share| of_late.quantile(share).unwrap().as_millis();
        assert!((50..=57).contains(&quantile(0.5)), "{}", quantile(0.5));
        assert!((99..=112).contains(&quantile(0.99)), "{}", quantile(0.99));
        assert_eq!(then.since(&then).quantile(0.5), None);
    }

    #[test]
    fn the_longest_and_the_shortest_have_a_class() {
        assert_eq!(class(Duration::ZERO), 0);
        assert_eq!(class(Duration::MAX), CLASSES - 1);
    }
}
