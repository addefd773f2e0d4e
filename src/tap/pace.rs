//! How many events a viewer is shown.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Counts what was shown, so that it is at most so many in any second.
#[derive(Debug)]
pub(super) struct Pace {
    rate: usize,
    /// When how many were shown, in the last second.
    shown: VecDeque<(Instant, usize)>,
}

/// A viewer takes what there is at most so often; see [`Pace::room`].
const TURN: Duration = Duration::from_millis(250);
/// Over how long a rate is kept.
const SECOND: Duration = Duration::from_secs(1);

impl Pace {
    pub(super) fn new(rate: usize) -> Self {
        Self { rate, shown: VecDeque::new() }
    }

    /// How many may be picked from `now` to the next turn. After a quiet time it is half of what is left, so that a burst is seen
    /// whole where it can be; under load a quarter of the rate, so that no part of a second is left out.
    pub(super) fn room(&mut self, now: Instant) -> usize {
        // What is picked now is shown with the next turn, and has to do for the second that ends there.
        while self.shown.front().is_some_and(|(at, _)| *at + SECOND <= now + TURN) {
            self.shown.pop_front();
        }
        let left = self.rate.saturating_sub(self.shown.iter().map(|(_, rows)| rows).sum());
        left.min((left / 2).max(self.rate.div_ceil(4)))
    }

    /// Notes what is shown at `now`.
    pub(super) fn show(&mut self, rows: usize, now: Instant) {
        self.shown.push_back((now, rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_than_the_rate_and_none_is_wasted() {
        for rate in [1, 2, 3, 4, 7, 200, 500] {
            let (mut pace, mut now, mut shown) = (Pace::new(rate), Instant::now(), Vec::new());
            for _ in 0..80 {
                let room = pace.room(now);
                now += TURN;
                pace.show(room, now);
                shown.push(room);
            }
            let seconds: Vec<usize> = shown.windows(4).map(|turns| turns.iter().sum()).collect();
            assert!(seconds.iter().all(|rows| *rows <= rate), "{rate}: {shown:?}");
            assert!(shown.iter().sum::<usize>() * 10 >= rate * 20 * 7, "{rate}: {shown:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_after_a_quiet_time_has_half_of_the_rate() {
        let (mut pace, now) = (Pace::new(200), Instant::now());
        assert_eq!(pace.room(now), 100);
        pace.show(100, now + TURN);
        assert_eq!(pace.room(now + TURN), 50);
        assert_eq!(pace.room(now + 2 * SECOND), 100);
    }
}
