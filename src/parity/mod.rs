//! On what share of events do both sides agree? An interval that may be looked at at any time.
//!
//! A dashboard is looked at again and again, and a ramp goes on at the first moment that its gate is green. The usual intervals
//! (Wilson's, say) promise their 95 % for one look at a size that was fixed before; with a look after every event they are wrong sooner or
//! later. This one is a *confidence sequence*: with 95 % certainty the true share lies in all of its intervals at once, whenever they
//! are looked at, and whatever is done because of it.
//!
//! # The method
//!
//! Robbins' method of mixtures for a Bernoulli share (H. Robbins, "Statistical methods related to the law of the iterated
//! logarithm", Ann. Math. Stat. 41, 1970; for its use today: Howard, Ramdas and others, "Time-uniform, nonparametric,
//! nonasymptotic confidence sequences", Ann. Stat. 49, 2021). For each share p,
//! the likelihood of what was seen under a Beta(1/2, 1/2) mixture, divided by its likelihood under p, is a martingale that starts at 1 if p is
//! the true share; by Ville's inequality it ever reaches 20 with a chance of 5 % at most. The interval is the shares for which it
//! has not. That alone is wide after many events, as the mixture pays for having known nothing at the first. So the same is begun again at the
//! 32nd event, at the 256th, and so on, with what was learned until then as its mixture, and the average of all of these, which is
//! a martingale too, is what must not reach 20: less than twice as wide as Wilson's interval, at any size up to millions.
//!
//! It holds for events that agree independently with one share. Where the share changes, what began late and what began early contradict
//! each other, no share is left, and [`Interval::is_drifting`] says so.

use serde::{Deserialize, Serialize};

/// What was seen, one event after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sequence {
    agree: u64,
    differ: u64,
    /// How many agreed and differed at each of the [`BEGINNINGS`] that was reached; None: that one cannot be used.
    marks: Vec<Option<(u64, u64)>>,
}

/// What is known of the share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The share that was seen; 1 when nothing was.
    pub share: f64,
    /// With 95 % certainty the true share is not below it, nor was it at any earlier look.
    pub lower: f64,
    /// Nor above it.
    pub upper: f64,
    /// Events that it rests on.
    pub pairs: u64,
    /// Whether the share seems to have changed on the way: then nothing is known of it, and the interval is everything.
    pub is_drifting: bool,
}

/// At how many events the martingale begins again.
const BEGINNINGS: [u64; 6] = [32, 256, 2_048, 16_384, 131_072, 1_048_576];
/// How much each counts, the one from the first event on first. Their sum is 1; found by trying, for the least width over all sizes.
const WEIGHTS: [f64; 7] = [0.13, 0.20, 0.20, 0.16, 0.13, 0.10, 0.08];
/// One wrong interval in how many sequences: 1 / 0.05.
const LIMIT_LN: f64 = 2.995_732_273_553_991;

impl Sequence {
    /// Takes in one event.
    pub fn push(&mut self, agrees: bool) {
        *if agrees { &mut self.agree } else { &mut self.differ } += 1;
        if BEGINNINGS.get(self.marks.len()).is_some_and(|begins| *begins == self.pairs()) {
            self.marks.push(Some((self.agree, self.differ)));
        }
    }

    /// Events so far.
    #[must_use]
    pub const fn pairs(&self) -> u64 {
        self.agree + self.differ
    }

    /// Counts so many of the events that differed as agreeing: what makes them differ was accepted. As it is not known which they
    /// were, later beginnings are given up, and the interval is somewhat wider.
    pub fn accept(&mut self, events: u64) {
        let moved = events.min(self.differ);
        self.differ -= moved;
        self.agree += moved;
        if moved > 0 {
            self.marks.iter_mut().for_each(|mark| *mark = None);
        }
    }

    /// The interval now. Takes some microseconds.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let pairs = self.pairs();
        let everything = Interval { share: 1.0, lower: 0.0, upper: 1.0, pairs, is_drifting: false };
        if pairs == 0 {
            return everything;
        }
        let share = to_f64(self.agree) / to_f64(pairs);
        let terms = self.terms();
        let best = lowest(&terms);
        if evidence_against(&terms, best) >= LIMIT_LN {
            return Interval { share, is_drifting: true, ..everything };
        }
        Interval { share, lower: edge(&terms, best, 0.0).min(share), upper: edge(&terms, best, 1.0).max(share), ..everything }
    }

    /// How many more events it takes until the share is known to be above `target`, if they agree as those so far; 0: it is known. None:
    /// it never will, at this rate, or not within ten million.
    #[must_use]
    pub fn events_until(&self, target: f64) -> Option<u64> {
        let is_known = |more: u64| self.ahead(more).interval().lower >= target;
        if self.pairs() > 0 && self.interval().lower >= target {
            return Some(0);
        }
        let share = if self.pairs() == 0 { 1.0 } else { to_f64(self.agree) / to_f64(self.pairs()) };
        if share <= target || self.pairs() > 0 && self.interval().is_drifting {
            return None;
        }
        let (mut low, mut high) = (0, 1);
        while !is_known(high) {
            (low, high) = (high, high * 2);
            if high > AHEAD_MAX {
                return None;
            }
        }
        while low + 1 < high {
            let middle = low.midpoint(high);
            if is_known(middle) { high = middle } else { low = middle }
        }
        Some(high)
    }

    /// The sequence after so many more events of the same kind.
    fn ahead(&self, more: u64) -> Self {
        let share = if self.pairs() == 0 { 0.0 } else { to_f64(self.differ) / to_f64(self.pairs()) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of at most ten million")]
        let differ_of = |more: u64| (to_f64(more) * share).round() as u64;
        let mut marks = self.marks.clone();
        for begins in &BEGINNINGS[self.marks.len()..] {
            if *begins > self.pairs() + more {
                break;
            }
            let until = begins - self.pairs();
            marks.push(Some((self.agree + until - differ_of(until), self.differ + differ_of(until))));
        }
        Self { agree: self.agree + more - differ_of(more), differ: self.differ + differ_of(more), marks }
    }

    /// The martingales: the logarithm of their weight and mixture, and how many agreed and differed since they began.
    fn terms(&self) -> Vec<Term> {
        let now = mixture(self.agree, self.differ);
        let marks = std::iter::once(Some((0, 0))).chain((0..BEGINNINGS.len()).map(|at| self.marks.get(at).copied().flatten()));
        let term = |(weight, mark): (f64, Option<(u64, u64)>)| match mark {
            Some((agree, differ)) => Term {
                mixture: weight.ln() + now - mixture(agree, differ),
                agree: to_f64(self.agree - agree),
                differ: to_f64(self.differ - differ),
            },
            None => Term { mixture: weight.ln(), agree: 0.0, differ: 0.0 },
        };
        WEIGHTS.into_iter().zip(marks).map(term).collect()
    }
}

/// More events than this are not looked ahead.
const AHEAD_MAX: u64 = 10_000_000;

/// One martingale, as a function of the share.
#[derive(Debug, Clone, Copy)]
struct Term {
    mixture: f64,
    agree: f64,
    differ: f64,
}

/// The logarithm of the likelihood under the mixture.
fn mixture(agree: u64, differ: u64) -> f64 {
    let (agree, differ) = (to_f64(agree) + 0.5, to_f64(differ) + 0.5);
    libm::lgamma(agree) + libm::lgamma(differ) - libm::lgamma(agree + differ)
}

/// The logarithm of the average of all martingales: how much speaks against that share.
fn evidence_against(terms: &[Term], share: f64) -> f64 {
    let of = |count: f64, chance: f64| if count == 0.0 { 0.0 } else { count * chance.ln() };
    let each = terms.iter().map(|term| term.mixture - of(term.agree, share) - of(term.differ, 1.0 - share));
    let most = each.clone().fold(f64::NEG_INFINITY, f64::max);
    if most.is_infinite() {
        return most;
    }
    most + each.map(|term| (term - most).exp()).sum::<f64>().ln()
}

/// The share that least speaks against. The average is convex, as each martingale is.
fn lowest(terms: &[Term]) -> f64 {
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..60 {
        let third = (high - low) / 3.0;
        let (left, right) = (low + third, high - third);
        if evidence_against(terms, left) < evidence_against(terms, right) { high = right } else { low = left }
    }
    f64::midpoint(low, high)
}

/// Where between the best share and an end too much speaks against.
fn edge(terms: &[Term], best: f64, end: f64) -> f64 {
    if evidence_against(terms, end) < LIMIT_LN {
        return end;
    }
    let (mut inside, mut outside) = (best, end);
    for _ in 0..60 {
        let middle = f64::midpoint(inside, outside);
        if evidence_against(terms, middle) < LIMIT_LN { inside = middle } else { outside = middle }
    }
    inside
}

#[expect(clippy::cast_precision_loss, reason = "beyond 2^53 events nobody minds")]
const fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dice;

    /// Wilson's interval, for one look.
    fn wilson(agree: u64, pairs: u64) -> (f64, f64) {
        let (n, p, z) = (to_f64(pairs), to_f64(agree) / to_f64(pairs), 1.959_964);
        let middle = (p + z * z / (2.0 * n)) / (1.0 + z * z / n);
        let half = z / (1.0 + z * z / n) * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
        (middle - half, (middle + half).min(1.0))
    }

    /// Whether the share ever falls out of the interval, with a look after each event: so much speaks against it. At some, the interval
    /// itself is asked, which must say the same.
    fn is_ever_wrong(dice: &mut Dice, share_in_million: u64, events: u64, last: &mut Sequence) -> bool {
        let share = to_f64(share_in_million) / 1e6;
        let (mut sequence, mut wrong) = (Sequence::default(), false);
        for number in 1..=events {
            sequence.push(dice.below(1_000_000) < share_in_million);
            let is_out = evidence_against(&sequence.terms(), share) >= LIMIT_LN;
            if number.is_multiple_of(977) {
                let interval = sequence.interval();
                let contains = interval.lower <= share + 1e-9 && share - 1e-9 <= interval.upper;
                assert_eq!(is_out, !contains && !interval.is_drifting, "{share} at {number}: {interval:?}");
            }
            wrong |= is_out;
        }
        *last = sequence;
        wrong
    }

    #[test]
    fn whenever_it_is_looked_at_it_holds_and_is_not_twice_as_wide_as_for_one_look() {
        let seed = 20_261_127;
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        for (share, sequences, events) in [
            (500_000, 1_000, 2_000),
            (900_000, 1_000, 2_000),
            (990_000, 1_000, 4_000),
            (999_000, 1_000, 5_000),
            (1_000_000, 1_u64, 100_000),
        ] {
            let (mut wrong, mut ratios, mut last) = (0_u64, Vec::new(), Sequence::default());
            for _ in 0..sequences {
                wrong += u64::from(is_ever_wrong(&mut dice, share, events, &mut last));
                let (interval, (lower, upper)) = (last.interval(), wilson(last.agree, last.pairs()));
                assert!(!interval.is_drifting);
                ratios.push((interval.upper - interval.lower) / (upper - lower));
            }
            ratios.sort_by(f64::total_cmp);
            let (mean, most) = (ratios.iter().sum::<f64>() / to_f64(sequences), ratios[ratios.len() - 1]);
            let wide = ratios.iter().filter(|ratio| **ratio > 2.0).count();
            println!(
                "share {share}: {wrong} of {sequences} ever wrong over {events} events; {mean:.2} times Wilson's width, {most:.2} at most"
            );
            assert!(wrong * 100 <= sequences * 6, "coverage of at least 94 %");
            assert!(mean <= 1.9 && wide * 100 <= ratios.len(), "{wide} are more than twice as wide");
        }
    }

    #[test]
    fn it_stays_narrow_over_all_sizes() {
        for differ_one_in in [2_u64, 10, 100, 1_000, 10_000, u64::MAX] {
            let mut sequence = Sequence::default();
            for number in 1..=3_000_000_u64 {
                sequence.push(number % differ_one_in != 0);
                if number > 1_000 && number.is_power_of_two() {
                    let (interval, (lower, upper)) = (sequence.interval(), wilson(sequence.agree, number));
                    let ratio = (interval.upper - interval.lower) / (upper - lower);
                    assert!(ratio <= 2.0, "{ratio} at {number}, one in {differ_one_in} differs");
                    assert!(interval.lower <= interval.share && interval.share <= interval.upper);
                }
            }
        }
    }

    #[test]
    fn it_says_how_many_more_are_needed() {
        let mut sequence = Sequence::default();
        let all = sequence.events_until(0.999).unwrap();
        println!("{all} events that all agree for 99.9 %");
        assert!((5_000..9_000).contains(&all));
        for _ in 0..all {
            assert!(sequence.interval().lower < 0.999);
            sequence.push(true);
        }
        assert_eq!((sequence.interval().lower >= 0.999, sequence.events_until(0.999)), (true, Some(0)));
        for _ in 0..all / 100 {
            sequence.push(false);
        }
        assert_eq!(sequence.events_until(0.999), None, "at this rate it never will");
        assert!(sequence.events_until(0.9).is_some());
    }

    #[test]
    fn what_changes_on_the_way_is_told() {
        let mut sequence = Sequence::default();
        (0..5_000).for_each(|_| sequence.push(true));
        (0..20_000).for_each(|number| sequence.push(number % 2 == 0));
        let interval = sequence.interval();
        println!("{interval:?}");
        assert!(interval.is_drifting || interval.upper < 0.7);
    }

    #[test]
    fn what_is_accepted_agrees() {
        let mut sequence = Sequence::default();
        (0..1_000).for_each(|number| sequence.push(number % 10 != 0));
        let before = sequence.interval();
        sequence.accept(100);
        let after = sequence.interval();
        assert!((after.share - 1.0).abs() < f64::EPSILON && after.lower > before.upper, "{before:?} {after:?}");
        sequence.push(true);
        assert_eq!(sequence.pairs(), 1_001);
    }
}
