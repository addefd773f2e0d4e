//! Waiting longer after each failure.

use std::time::Duration;

/// Exponential waits with full jitter: after failure n the wait is anywhere from nothing to `first * 2^n`, at most `max`, so
/// that requests which failed together do not come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    max: Duration,
}

impl Backoff {
    /// Waits that grow from `first` to `max`. A `max` below `first` counts as `first`.
    #[must_use]
    pub fn new(first: Duration, max: Duration) -> Self {
        Self { first, max: max.max(first) }
    }

    /// The longest wait after `failures` failures in a row; 0 and 1 are the first.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        self.first.saturating_mul(1 << doublings).min(self.max)
    }

    /// The wait after `failures` failures in a row, spread over the whole range by `random`.
    #[must_use]
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        share(self.ceiling(failures), random)
    }

    /// A wait in the upper half of the range: for what must not be tried again at once.
    #[must_use]
    pub fn wait_half(&self, failures: u32, random: u64) -> Duration {
        let half = self.ceiling(failures) / 2;
        half + share(half, random)
    }
}

/// A random part of a span.
fn share(span: Duration, random: u64) -> Duration {
    let nanos = span.as_nanos() * u128::from(random) / u128::from(u64::MAX);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), max: Duration::from_mins(1) };

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_wait() {
        let table = [(0, 500), (1, 500), (2, 1_000), (3, 2_000), (7, 32_000), (8, 60_000), (31, 60_000), (u32::MAX, 60_000)];
        for (failures, want_ms) in table {
            assert_eq!(BACKOFF.ceiling(failures), Duration::from_millis(want_ms), "{failures}");
        }
    }

    #[test]
    fn jitter_covers_the_whole_range() {
        assert_eq!(BACKOFF.wait(3, 0), Duration::ZERO);
        assert_eq!(BACKOFF.wait(3, u64::MAX), Duration::from_secs(2));
        assert_eq!(BACKOFF.wait(3, u64::MAX / 2).as_millis(), 999);
        assert_eq!(BACKOFF.wait_half(3, 0), Duration::from_secs(1));
        assert_eq!(BACKOFF.wait_half(3, u64::MAX), Duration::from_secs(2));
    }

    #[test]
    fn a_longest_wait_below_the_first_is_the_first() {
        assert_eq!(Backoff::new(Duration::from_secs(5), Duration::from_secs(1)).ceiling(9), Duration::from_secs(5));
    }
}
