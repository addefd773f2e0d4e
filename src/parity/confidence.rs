//! A confidence sequence for a share, from counts alone.
//!
//! # The method
//!
//! Robbins' method of mixtures (H. Robbins, "Statistical methods related to the law of the iterated logarithm", Ann. Math. Stat.
//! 41, 1970), with beta-binomial mixtures (S. Howard, A. Ramdas and others, "Time-uniform, nonparametric,
//! nonasymptotic confidence sequences", Ann. Stat. 49, 2021, section 3).
//!
//! For each share p that might be the true one, play a fair game against it: bet that the share is another one, drawn from a Beta
//! distribution around p. If p is true, what one has after each event is a martingale that began at 1, and by Ville's inequality the
//! chance that it *ever* reaches 20 is at most 1/20. The interval is all p against which less than 20 was won. After s events that
//! agree and f that differ, n in all, and with a Beta of weight k, the winnings are
//!
//! ```text
//! W_k(p) = B(k p + s, k q + f) / B(k p, k q) / (p^s q^f),        q = 1 - p
//! ```
//!
//! A weight k makes the interval narrow for n around 8 k. A mean of fair games is a fair game: the mean over four weights, each 30 times the
//! one before, keeps the interval below twice the width of Wilson's from ten events to ten million, at any share.
//!
//! # Why it is an interval, and how its ends are found
//!
//! ln `W_k(p)` is a sum of terms ln(k + i/p) and ln(k + j/q), each convex in p; so is the logarithm of a sum of such W. What lies
//! below a level of a convex function is an interval; the share among the events counted, where the winnings are at most 1, lies
//! inside. So each end is found by halving, and the outer side of the last half is taken: rounding makes it wider, never wrong.

use super::Pairs;

/// What has to be won against a share for it to be given up: 1 / (1 - 95 %).
const WINNINGS: f64 = 20.0;

/// The weights of the mixture, each worth a quarter.
const WEIGHTS: [f64; 4] = [4.0, 120.0, 3_600.0, 108_000.0];

/// The 97.5 % quantile of the normal distribution.
const NORMAL_QUANTILE: f64 = 1.959_963_984_540_054;

/// Halvings of a bracket that is about as long as the interval: a millionth of it is below every display.
const HALVINGS: u32 = 20;

/// More pairs than this count as so many, of the same share: doubles then still hold the logarithms to a thousandth, and fewer
/// pairs only make the interval wider.
pub(super) const PAIRS_MAX: u64 = 100_000_000_000;

/// Counts as the formulas take them; not whole when they are expected ones.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) agree: f64,
    pub(super) differ: f64,
}

impl Counts {
    /// None when there are none.
    pub(super) fn of(pairs: Pairs) -> Option<Self> {
        let counts = Self { agree: real(pairs.agree), differ: real(pairs.differ) };
        let most = real(PAIRS_MAX);
        (counts.pairs() > 0.0).then(|| if counts.pairs() > most { counts.scaled_to(most) } else { counts })
    }

    pub(super) fn pairs(self) -> f64 {
        self.agree + self.differ
    }

    /// As many pairs, of the same share.
    pub(super) fn scaled_to(self, pairs: f64) -> Self {
        Self { agree: self.agree / self.pairs() * pairs, differ: self.differ / self.pairs() * pairs }
    }

    fn swapped(self) -> Self {
        Self { agree: self.differ, differ: self.agree }
    }

    fn differing_share(self) -> f64 {
        self.differ / self.pairs()
    }
}

/// A share that might be the true one, as both of its sides: near 1, the small side is the one that doubles keep exactly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    agreeing: f64,
    differing: f64,
}

impl Share {
    pub(super) fn of_agreeing(agreeing: f64) -> Self {
        Self { agreeing, differing: 1.0 - agreeing }
    }

    fn of_differing(differing: f64) -> Self {
        Self { agreeing: 1.0 - differing, differing }
    }
}

/// The least and the greatest share of agreeing pairs that the counts leave believable, at any moment.
pub(super) fn interval(counts: Counts) -> (f64, f64) {
    if counts.agree < counts.differ {
        let (least, most) = ends(counts.swapped());
        (least, most)
    } else {
        let (least, most) = ends(counts);
        (1.0 - most, 1.0 - least)
    }
}

/// Whether the counts give up every agreeing share below this one, and it is itself the least that is left.
pub(super) fn is_lower_bound(counts: Counts, share: Share) -> bool {
    share.differing > counts.differing_share() && Winnings::of(counts).against(share) >= WINNINGS.ln()
}

/// Whether the counts leave that share believable: whether it lies in [`interval`].
#[cfg(test)]
pub(super) fn believes(counts: Counts, share: Share) -> bool {
    Winnings::of(counts).against(share) < WINNINGS.ln()
}

/// ln of what was won against that share.
#[cfg(test)]
pub(super) fn winnings(counts: Counts, share: Share) -> f64 {
    Winnings::of(counts).against(share)
}

/// Wilson's score interval for the share of agreeing pairs.
pub(super) fn wilson(counts: Counts) -> (f64, f64) {
    let (pairs, share) = (counts.pairs(), counts.agree / counts.pairs());
    let square = NORMAL_QUANTILE * NORMAL_QUANTILE;
    let middle = (share + square / (2.0 * pairs)) / (1.0 + square / pairs);
    let half = wilson_half(counts);
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

fn wilson_half(counts: Counts) -> f64 {
    let (pairs, square) = (counts.pairs(), NORMAL_QUANTILE * NORMAL_QUANTILE);
    let spread = counts.agree * counts.differ / (pairs * pairs * pairs) + square / (4.0 * pairs * pairs);
    NORMAL_QUANTILE / (1.0 + square / pairs) * spread.sqrt()
}

/// The interval of the *differing* share, which is the smaller one here: it is searched for, as doubles are fine near 0 and
/// coarse near 1.
fn ends(counts: Counts) -> (f64, f64) {
    let winnings = Winnings::of(counts);
    let (middle, step) = (counts.differing_share(), wilson_half(counts));
    // A single event of a kind wins nothing, whatever its chance, as the bets are on shares around it: there is no end to find.
    let least = if counts.differ > 1.0 { winnings.end(middle, -step, 0.0) } else { 0.0 };
    let most = if counts.agree > 1.0 { winnings.end(middle, step, 1.0) } else { 1.0 };
    (least, most)
}

/// What is won against a share with given counts.
struct Winnings {
    counts: Counts,
    /// ln of what of each weight's game depends on no share.
    constants: [f64; 4],
}

impl Winnings {
    fn of(counts: Counts) -> Self {
        Self { counts, constants: WEIGHTS.map(|weight| -rising(weight, counts.pairs()) - 4.0_f64.ln()) }
    }

    /// ln of the mean of what the four games win against that share.
    fn against(&self, share: Share) -> f64 {
        let Counts { agree, differ } = self.counts;
        let mut games = self.constants;
        for (game, weight) in games.iter_mut().zip(WEIGHTS) {
            *game += rising(weight * share.agreeing, agree) + rising(weight * share.differing, differ);
        }
        // The sum is taken relative to the greatest, as the powers themselves fit no double.
        let greatest = games.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = games.into_iter().map(|game| (game - greatest).exp()).sum();
        greatest + sum.ln() - power(share.agreeing, share.differing, agree) - power(share.differing, share.agreeing, differ)
    }

    /// The end of the interval on the way from `inside` to `limit` (0 or 1, near which winnings grow without bound), by steps of
    /// about its length.
    fn end(&self, mut inside: f64, mut step: f64, limit: f64) -> f64 {
        let is_given_up = |differing: f64| self.against(Share::of_differing(differing)) >= WINNINGS.ln();
        let mut outside = inside + step;
        loop {
            if outside <= 0.0 || outside >= 1.0 {
                outside = inside.midpoint(limit);
            }
            if is_given_up(outside) {
                break;
            }
            step *= 2.0;
            (inside, outside) = (outside, outside + step);
        }
        for _ in 0..HALVINGS {
            let middle = inside.midpoint(outside);
            if is_given_up(middle) { outside = middle } else { inside = middle }
        }
        outside
    }
}

/// ln of x (x+1) ... (x+m-1), for any m of 0 or more.
fn rising(x: f64, m: f64) -> f64 {
    if m > 0.0 { libm::lgamma(x + m) - libm::lgamma(x) } else { 0.0 }
}

/// ln of base^exponent, where `rest` is 1 - base.
fn power(base: f64, rest: f64, exponent: f64) -> f64 {
    if exponent <= 0.0 {
        0.0
    } else if rest < 0.5 {
        exponent * (-rest).ln_1p()
    } else {
        exponent * base.ln()
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53 for centuries, and a share is not exact")]
pub(super) const fn real(count: u64) -> f64 {
    count as f64
}
