//! Parity: on what share of events do both sides agree, and how sure is that?
//!
//! [`Pairs`] counts those that agree and those that differ. [`Pairs::interval`] says what the counts are evidence of: a share and an
//! interval around it. [`Pairs::events_until`] says how many more it takes until a claim ("at least 99.9 % agree") holds. A [`Sequence`]
//! takes pairs one after the other, and notices when their share changes on the way.
//!
//! # Why not an ordinary confidence interval
//!
//! A dashboard is watched, and a ramp goes on at the first moment that its gate is green. An interval that is right 95 times of 100 for
//! whoever looks *once*, at a number of events that was fixed before, is wrong far more often for whoever looks after every event and acts
//! at the first look that pleases. The interval here is a *confidence sequence*: the chance that it is wrong at *any* moment
//! of a whole run, however often it is looked at and whatever is done because of it, is at most 5 %. `confidence` tells how.
//! [`Pairs::wilson`] is the ordinary one, for comparison; this one is less than twice as wide.
//!
//! # What it asks for
//!
//! Events that agree independently, with one share for as long as they are counted, and one beginning: after a change that is meant to
//! change the share (of the route, of a rule of the dialect, of what is noise) begin a new count. Counts of the minutes since a beginning add up
//! ([`Pairs::plus`]), and so do those of several sidecars; a window that slides along has no beginning, and its interval is only as good as one for
//! a single look.
//!
//! Pure arithmetic: no clock, no I/O.

mod confidence;
mod sequence;
#[cfg(test)]
mod tests;

use confidence::{Counts, Share};
pub use sequence::Sequence;
use serde::{Deserialize, Serialize};

/// How many pairs were compared, by what came of it. All there is to keep: they are plain counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Pairs {
    /// Those whose halves agree, noise aside.
    pub agree: u64,
    /// Those whose halves differ somewhere, or of which one half never came.
    pub differ: u64,
}

/// What is known of the share of events on which both sides agree. Shares are 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The share that was seen; 1 when nothing was.
    pub share: f64,
    /// With 95 % certainty the true share is not below it, nor was it at any earlier look. Never above `share`.
    pub lower: f64,
    /// Nor above it. Never below `share`.
    pub upper: f64,
    /// Pairs that it rests on.
    pub pairs: u64,
    /// Whether the share seems to have changed on the way: then nothing is known of it, and the interval is everything. Counts alone
    /// cannot tell; a [`Sequence`] can.
    pub is_drifting: bool,
}

impl Pairs {
    /// Both together: of two minutes, or of two sidecars. Counts stop at the largest that there is.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { agree: self.agree.saturating_add(other.agree), differ: self.differ.saturating_add(other.differ) }
    }

    /// How many there are.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.agree.saturating_add(self.differ)
    }

    /// The share that agrees, and an interval around it that the true share never leaves, with 95 % certainty, however often one
    /// looks. Everything when nothing was compared. Takes some microseconds.
    #[must_use]
    pub fn interval(self) -> Interval {
        self.within(Counts::of(self).map(confidence::interval))
    }

    /// The same with Wilson's 95 % interval (1927), which is right for one look at a number of pairs that was chosen beforehand. For
    /// comparison: claims and gates go by [`Pairs::interval`].
    #[must_use]
    pub fn wilson(self) -> Interval {
        self.within(Counts::of(self).map(confidence::wilson))
    }

    /// How many more pairs it takes until the lower bound of [`Pairs::interval`] is at least `target`, when the share so far goes
    /// on: of the pairs to come, as many differ in a hundred as differed until now. While none has differed, that is a number of
    /// pairs that all agree, and exact: 3,835 of them, from nothing, show 99.9 %. Otherwise it is what to expect, and no promise.
    ///
    /// Some(0): it is already shown. None: at the share so far it cannot be shown, as that is not above `target` (nothing is above
    /// 1), or only with more than 10^11 pairs.
    #[must_use]
    pub fn events_until(self, target: f64) -> Option<u64> {
        let so_far = Counts::of(self).unwrap_or(Counts { agree: 1.0, differ: 0.0 });
        let pairs = Counts::of(self).map_or(0.0, Counts::pairs);
        let is_shown = |more: u64| {
            let expected = so_far.scaled_to(pairs + confidence::real(more));
            target <= 0.0 || (expected.pairs() > 0.0 && confidence::is_lower_bound(expected, Share::of_agreeing(target)))
        };
        if is_shown(0) {
            return Some(0);
        }
        if target.is_nan() || target >= so_far.agree / so_far.pairs() {
            return None;
        }
        let (mut short, mut enough) = (0, 1);
        while !is_shown(enough) {
            if enough > confidence::PAIRS_MAX {
                return None;
            }
            (short, enough) = (enough, enough * 2);
        }
        while enough - short > 1 {
            let middle = short.midpoint(enough);
            if is_shown(middle) { enough = middle } else { short = middle }
        }
        Some(enough)
    }

    /// The share that was seen, between these bounds; None: nothing was.
    fn within(self, bounds: Option<(f64, f64)>) -> Interval {
        let pairs = self.count();
        let Some((lower, upper)) = bounds else {
            return Interval { share: 1.0, lower: 0.0, upper: 1.0, pairs, is_drifting: false };
        };
        let share = confidence::real(self.agree) / (confidence::real(self.agree) + confidence::real(self.differ));
        // Rounding must not put the share outside of its own interval.
        Interval { share, lower: lower.min(share), upper: upper.max(share), pairs, is_drifting: false }
    }
}
