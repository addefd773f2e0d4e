//! Pairs as they come, one after the other.

use serde::{Deserialize, Serialize};

use super::{Interval, Pairs};

/// What was seen, one pair after the other: the counts, and where they stood at a few moments, which tells whether the share changes on
/// the way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sequence {
    #[serde(flatten)]
    pairs: Pairs,
    /// The counts at each of the [`MARKS`] that was reached; None: that one cannot be used.
    marks: Vec<Option<(u64, u64)>>,
}

/// After how many pairs the counts are noted.
const MARKS: [u64; 6] = [32, 256, 2_048, 16_384, 131_072, 1_048_576];

impl Sequence {
    /// Takes in one pair.
    pub fn push(&mut self, agrees: bool) {
        let one = if agrees { Pairs { agree: 1, differ: 0 } } else { Pairs { agree: 0, differ: 1 } };
        self.pairs = self.pairs.plus(one);
        if MARKS.get(self.marks.len()).is_some_and(|mark| *mark == self.pairs.count()) {
            self.marks.push(Some((self.pairs.agree, self.pairs.differ)));
        }
    }

    /// Pairs so far.
    #[must_use]
    pub const fn pairs(&self) -> u64 {
        self.pairs.count()
    }

    /// Counts so many of the pairs that differed as agreeing: what makes them differ was accepted. It is not known when they came, so
    /// a change of the share before this is not noticed any more.
    pub fn accept(&mut self, events: u64) {
        let moved = events.min(self.pairs.differ);
        self.pairs = Pairs { agree: self.pairs.agree + moved, differ: self.pairs.differ - moved };
        if moved > 0 {
            self.marks.iter_mut().for_each(|mark| *mark = None);
        }
    }

    /// The interval now, see [`Pairs::interval`]; everything when the share is drifting. Takes some tens of microseconds.
    #[must_use]
    pub fn interval(&self) -> Interval {
        let interval = self.pairs.interval();
        if self.is_drifting() { Interval { lower: 0.0, upper: 1.0, is_drifting: true, ..interval } } else { interval }
    }

    /// How many more pairs it takes until the lower bound is at least `target`, see [`Pairs::events_until`]. None also while the share is
    /// drifting.
    #[must_use]
    pub fn events_until(&self, target: f64) -> Option<u64> {
        if self.is_drifting() { None } else { self.pairs.events_until(target) }
    }

    /// Whether what came before one of the marks and what came after it leave no share that both believe in. With one share all the
    /// while, both intervals hold it but in a few of a hundred runs each, and for this they must miss it on opposite sides.
    fn is_drifting(&self) -> bool {
        self.marks.iter().flatten().any(|(agree, differ)| {
            let before = Pairs { agree: *agree, differ: *differ };
            let after = Pairs { agree: self.pairs.agree - agree, differ: self.pairs.differ - differ };
            let (before, after) = (before.interval(), after.interval());
            before.upper < after.lower || after.upper < before.lower
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Dice;

    #[test]
    fn a_sequence_knows_what_its_counts_know() {
        let mut sequence = Sequence::default();
        assert_eq!((sequence.pairs(), sequence.interval().is_drifting, sequence.events_until(0.999)), (0, false, Some(3_835)));
        (0..3_835).for_each(|_| sequence.push(true));
        assert_eq!((sequence.interval().lower >= 0.999 - 1e-9, sequence.events_until(0.999)), (true, Some(0)));
        let counts = Pairs { agree: 3_835, differ: 0 };
        assert_eq!(sequence.interval(), counts.interval());
    }

    #[test]
    fn a_share_that_changes_on_the_way_is_noticed() {
        let mut sequence = Sequence::default();
        (0..5_000).for_each(|_| sequence.push(true));
        assert!(!sequence.interval().is_drifting);
        let noticed = (1..20_000_u32).find(|number| {
            sequence.push(number % 2 == 0);
            sequence.interval().is_drifting
        });
        println!("noticed after {noticed:?}");
        assert!(noticed.is_some_and(|after| after < 500), "{noticed:?}");
        let Interval { lower, upper, .. } = sequence.interval();
        assert!(lower <= 0.0 && upper >= 1.0 && sequence.events_until(0.1).is_none());
    }

    #[test]
    fn one_share_is_not_taken_for_several() {
        let seed = 20_261_127;
        println!("seed {seed}");
        let mut dice = Dice::new(seed);
        for one_in in [2, 10, 100, 1_000] {
            let mut mistaken = 0;
            for _ in 0..200 {
                let mut sequence = Sequence::default();
                let is_mistaken = (1..=20_000_u32).any(|number| {
                    sequence.push(!dice.once_in(one_in));
                    (number % 500 == 0 || number.is_power_of_two()) && sequence.is_drifting()
                });
                mistaken += u32::from(is_mistaken);
            }
            println!("one in {one_in} differs: {mistaken} of 200 taken for drifting");
            assert!(mistaken <= 2, "{mistaken}");
        }
    }

    #[test]
    fn what_is_accepted_agrees_and_the_rest_goes_on() {
        let mut sequence = Sequence::default();
        (0..1_000_u32).for_each(|number| sequence.push(number % 10 != 0));
        let before = sequence.interval();
        sequence.accept(100);
        let after = sequence.interval();
        assert!((before.share - 0.9).abs() < 1e-9 && after.share >= 1.0 && after.lower > before.upper, "{before:?} {after:?}");
        assert_eq!(after, Pairs { agree: 1_000, differ: 0 }.interval(), "as if they had agreed from the first");
        sequence.accept(5);
        assert_eq!(sequence.pairs(), 1_000, "there is nothing left to accept");
        (0..5_000).for_each(|_| sequence.push(false));
        assert!(sequence.interval().is_drifting, "later marks are used again");
    }

    #[test]
    fn it_is_kept_whole() {
        let mut sequence = Sequence::default();
        (0..300_u32).for_each(|number| sequence.push(number != 40));
        let text = serde_json::to_string(&sequence).unwrap();
        assert_eq!(text, r#"{"agree":299,"differ":1,"marks":[[32,0],[255,1]]}"#);
        assert_eq!(serde_json::from_str::<Sequence>(&text).unwrap(), sequence);
    }
}
