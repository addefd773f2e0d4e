//! One total over the last minute: how fast it grows now, and how it grew.

use std::collections::VecDeque;

/// How far back it reaches.
const SPAN_MS: i64 = 62_000;
/// Over how long a pace is taken: long enough to be calm, short enough that a flip shows within a second or two.
const PACE_MS: i64 = 5_000;
/// Shorter times say nothing.
const PACE_MIN_MS: i64 = 900;
/// Samples closer to each other than this are one.
const STEP_MS: i64 = 450;

/// A total that only grows, as it was seen by the sidecar's clock.
#[derive(Debug, Clone, Default)]
pub(super) struct Track(VecDeque<(i64, u64)>);

impl Track {
    /// The total at that moment, in milliseconds.
    pub(super) fn note(&mut self, at_ms: i64, total: u64) {
        // A sidecar that started anew counts from nothing; a clock that was set back starts a new time.
        if self.0.back().is_some_and(|(last_ms, last)| total < *last || at_ms < *last_ms) {
            self.0.clear();
        }
        if self.0.len() > 1 && self.0.iter().rev().nth(1).is_some_and(|(before_ms, _)| at_ms - before_ms < STEP_MS) {
            self.0.pop_back();
        }
        self.0.push_back((at_ms, total));
        while self.0.front().is_some_and(|(first_ms, _)| at_ms - first_ms > SPAN_MS) {
            self.0.pop_front();
        }
    }

    /// What the sidecar remembers of the time before: a pace for each second, the newest last, up to that moment.
    pub(super) fn seed(&mut self, at_ms: i64, paces: &[f64]) {
        let Some((first_ms, first)) = self.0.front().copied() else { return };
        let mut total = first;
        let mut moment_ms = first_ms.min(at_ms);
        for pace in paces.iter().rev() {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "events of one second")]
            let step = pace.max(0.0).round() as u64;
            moment_ms -= 1_000;
            total = total.saturating_sub(step);
            self.0.push_front((moment_ms, total));
        }
    }

    /// How much it grows a second; None: that cannot be told yet.
    #[expect(clippy::cast_precision_loss, reason = "a pace is not exact")]
    pub(super) fn pace(&self) -> Option<f64> {
        let (last_ms, last) = *self.0.back()?;
        let (first_ms, first) = *self.0.iter().find(|(at_ms, _)| last_ms - at_ms <= PACE_MS)?;
        let elapsed_ms = last_ms - first_ms;
        (elapsed_ms >= PACE_MIN_MS).then(|| (last - first) as f64 * 1e3 / elapsed_ms as f64)
    }

    /// Its growth in so many equal parts of the last minute, the newest last; None: nothing was seen then.
    pub(super) fn parts(&self, parts: usize) -> Vec<Option<f64>> {
        let Some((last_ms, _)) = self.0.back().copied() else { return vec![None; parts] };
        let step_ms = 60_000 / i64::try_from(parts.max(1)).unwrap_or(60);
        let part = |index: usize| {
            let behind = i64::try_from(parts - index).unwrap_or(0);
            let (from_ms, to_ms) = (last_ms - behind * step_ms, last_ms - (behind - 1) * step_ms);
            let (from, to) = (self.at(from_ms)?, self.at(to_ms)?);
            Some((to - from).max(0.0) * 1e3 / ms(step_ms))
        };
        (0..parts).map(part).collect()
    }

    /// The total at that moment, between those that were seen; None: before the first.
    #[expect(clippy::cast_precision_loss, reason = "a pace is not exact")]
    fn at(&self, at_ms: i64) -> Option<f64> {
        let after = self.0.partition_point(|(seen_ms, _)| *seen_ms <= at_ms);
        let (before_ms, before) = *self.0.get(after.checked_sub(1)?)?;
        let Some((after_ms, next)) = self.0.get(after).copied() else { return Some(before as f64) };
        let share = ms(at_ms - before_ms) / ms((after_ms - before_ms).max(1));
        Some(before as f64 + (next as f64 - before as f64) * share)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a minute has few milliseconds")]
fn ms(millis: i64) -> f64 {
    millis as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(per_second: u64, seconds: i64) -> Track {
        let mut track = Track::default();
        for half in 0..=seconds * 2 {
            track.note(half * 500, per_second * half.unsigned_abs() / 2);
        }
        track
    }

    #[test]
    fn a_pace_is_of_the_last_seconds() {
        assert_eq!(Track::default().pace(), None);
        let mut track = steady(200, 30);
        assert!((track.pace().unwrap() - 200.0).abs() < 0.1);
        for half in 1..=12 {
            track.note(30_000 + half * 500, 6_000);
        }
        assert_eq!(track.pace(), Some(0.0), "six seconds of nothing");
    }

    #[test]
    fn a_sidecar_that_started_anew_is_a_new_track() {
        let mut track = steady(200, 30);
        track.note(31_000, 5);
        assert_eq!(track.pace(), None);
        track.note(32_000, 105);
        assert_eq!(track.pace(), Some(100.0));
    }

    #[test]
    fn the_minute_before_is_what_the_sidecar_remembers() {
        let mut track = Track::default();
        track.note(100_000, 10_000);
        track.seed(100_000, &[50.0; 60]);
        let parts = track.parts(12);
        assert!(parts.iter().all(|part| part.is_some_and(|pace| (pace - 50.0).abs() < 1.0)), "{parts:?}");
        assert_eq!(steady(10, 5).parts(12)[..10], [None; 10], "nothing was seen then");
    }
}
