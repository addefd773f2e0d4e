//! Parity, watched by somebody who never looks away.

use std::time::Instant;

use proptest::prelude::*;

use super::{
    confidence::{Counts, Share, believes, winnings},
    *,
};
use crate::model::Dice;

const RUNS: u32 = 1_000;
const EVENTS: u64 = 100_000;
/// Up to here somebody looks after every event.
const EVERY_EVENT: u64 = 1_000;
/// After it they look at both ends of every run of like events; builds without optimisation look when that many times as many came.
const LOOK_AGAIN: f64 = if cfg!(debug_assertions) { 1.005 } else { 1.0 };

const AGREES: Pairs = Pairs { agree: 1, differ: 0 };
const DIFFERS: Pairs = Pairs { agree: 0, differ: 1 };

fn pairs(agree: u64, differ: u64) -> Pairs {
    Pairs { agree, differ }
}

/// 0 to 1, never 0.
fn chance(dice: &mut Dice) -> f64 {
    confidence::real((dice.next() >> 11) + 1) / confidence::real(1 << 53)
}

/// How many like events come before one of the other kind, which has that chance.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what does not fit is longer than every run")]
fn run_length(dice: &mut Dice, of_the_other: f64) -> u64 {
    if of_the_other <= 0.0 { EVENTS } else { (chance(dice).ln() / (-of_the_other).ln_1p()) as u64 }
}

/// Somebody who watches one run of events of a known share.
struct Watcher {
    share: f64,
    seen: Pairs,
    looks: u64,
    looked_at: u64,
    was_misled: bool,
}

impl Watcher {
    /// Looks at the interval. What the bounds say is asked without searching for them; that both say the same is a test of its own.
    fn look(&mut self) {
        self.looks += 1;
        self.looked_at = self.seen.count();
        let counts = Counts::of(self.seen).unwrap();
        if !self.was_misled && !believes(counts, Share::of_agreeing(self.share)) {
            let Interval { lower, upper, .. } = self.seen.interval();
            assert!(self.share <= lower || self.share >= upper, "{:?} {lower} {upper}", self.seen);
            self.was_misled = true;
        }
    }

    /// Lets so many events of a kind come, and looks after each while every event is looked at.
    fn take(&mut self, kind: Pairs, count: u64) {
        let mut left = count.min(EVENTS - self.seen.count());
        while left > 0 && self.seen.count() < EVERY_EVENT {
            self.seen = self.seen.plus(kind);
            self.look();
            left -= 1;
        }
        self.seen = self.seen.plus(Pairs { agree: left * kind.agree, differ: left * kind.differ });
    }

    /// Between two changes the bounds only rise or only fall: who looks at both ends of a run has seen its worst moments.
    fn look_if_due(&mut self) {
        let pairs = self.seen.count();
        if pairs > self.looked_at && confidence::real(pairs) >= confidence::real(self.looked_at) * LOOK_AGAIN {
            self.look();
        }
    }

    fn watch(share: f64, dice: &mut Dice) -> Self {
        let mut watcher = Self { share, seen: Pairs::default(), looks: 0, looked_at: 0, was_misled: false };
        while watcher.seen.count() < EVENTS {
            watcher.take(AGREES, run_length(dice, 1.0 - share));
            watcher.look_if_due();
            if watcher.seen.count() < EVENTS {
                watcher.take(DIFFERS, 1);
                watcher.look_if_due();
            }
        }
        watcher.look();
        watcher
    }
}

#[test]
fn who_never_looks_away_is_misled_in_less_than_6_runs_of_100() {
    let seed = std::env::var("SEGUE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    for share in [0.5, 0.9, 0.99, 0.999, 1.0] {
        let mut dice = Dice::new(seed);
        let (mut misled, mut looks, mut agree) = (0, 0, 0);
        for _ in 0..RUNS {
            let watcher = Watcher::watch(share, &mut dice);
            misled += u32::from(watcher.was_misled);
            looks += watcher.looks;
            agree += watcher.seen.agree;
            let (ours, ordinary) = (watcher.seen.interval(), watcher.seen.wilson());
            assert!(ours.upper - ours.lower < 2.0 * (ordinary.upper - ordinary.lower), "{ours:?} is wide beside {ordinary:?}");
        }
        let events = u64::from(RUNS) * EVENTS;
        println!(
            "share {share}: {misled} of {RUNS} runs misled, {looks} looks, {} seen",
            confidence::real(agree) / confidence::real(events)
        );
        assert!(misled * 100 <= RUNS * 6, "share {share}: {misled} of {RUNS} runs");
        assert!(looks >= u64::from(RUNS) * EVERY_EVENT);
        // The runs are what they say: else they would test nothing.
        assert!((confidence::real(agree) / confidence::real(events) - share).abs() < 0.001);
    }
}

/// The same watcher with Wilson's interval, which is why it is not the one that is used.
#[test]
fn the_ordinary_interval_misleads_who_never_looks_away() {
    let mut dice = Dice::new(1);
    let mut misled = 0;
    for _ in 0..200 {
        let mut seen = Pairs::default();
        let is_misled = (0..10_000_u64).any(|event| {
            seen = seen.plus(if dice.once_in(10) { DIFFERS } else { AGREES });
            let Interval { lower, upper, .. } = seen.wilson();
            event >= 100 && !(lower..=upper).contains(&0.9)
        });
        misled += u32::from(is_misled);
    }
    println!("{misled} of 200");
    assert!(misled > 40, "{misled}");
}

/// What makes the interval right is that nobody wins on average when the share is the true one: exactly, not by simulation.
#[test]
fn nobody_wins_on_average_against_the_true_share() {
    for share in [0.01, 0.3, 0.5, 0.999] {
        for pairs in [1_u64, 2, 10, 200] {
            let mut mean = 0.0;
            for differ in 0..=pairs {
                let (agree, differ, all) = (confidence::real(pairs - differ), confidence::real(differ), confidence::real(pairs));
                let ways = libm::lgamma(all + 1.0) - libm::lgamma(agree + 1.0) - libm::lgamma(differ + 1.0);
                let chance = ways + agree * f64::ln(share) + differ * f64::ln(1.0 - share);
                mean += (chance + winnings(Counts { agree, differ }, Share::of_agreeing(share))).exp();
            }
            assert!((mean - 1.0).abs() < 1e-9, "share {share}, {pairs} pairs: {mean}");
        }
    }
}

#[test]
fn what_is_shown_is_what_the_counts_allow() {
    let nothing = Pairs::default().interval();
    assert!(nothing.lower <= 0.0 && nothing.upper >= 1.0 && nothing.pairs == 0, "{nothing:?}");
    let all = pairs(100_000, 0).interval();
    assert!(all.share >= 1.0 && all.upper >= 1.0 && (0.999_95..0.999_98).contains(&all.lower), "{all:?}");
    let none = pairs(0, 100_000).interval();
    assert!(none.share <= 0.0 && none.lower <= 0.0 && (0.000_02..0.000_05).contains(&none.upper), "{none:?}");
    let one = pairs(1, 0).interval();
    assert!(one.lower <= 0.0 && one.upper >= 1.0, "one pair shows nothing: {one:?}");
    let most = pairs(9_990, 10).interval();
    assert!((0.996..0.998).contains(&most.lower) && (0.9995..0.9999).contains(&most.upper), "{most:?}");
}

#[test]
fn the_interval_is_never_twice_as_wide_as_the_ordinary_one() {
    let mut widest = 0.0_f64;
    for count in [10_u64, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000, 300_000, 1_000_000, 10_000_000] {
        for differ in [0, 1, 2, 5, count / 1000, count / 100, count / 10, count / 3, count / 2] {
            let seen = pairs(count - differ, differ);
            let (ours, ordinary) = (seen.interval(), seen.wilson());
            let ratio = (ours.upper - ours.lower) / (ordinary.upper - ordinary.lower);
            assert!(ratio < 2.0, "{seen:?}: {ratio}");
            widest = widest.max(ratio);
        }
    }
    println!("at most {widest:.2} times");
    assert!(widest > 1.0, "an interval for every look cannot be as narrow as one for a single look");
}

#[test]
fn counts_without_end_are_no_harm() {
    for seen in [pairs(u64::MAX, 0), pairs(u64::MAX, u64::MAX), pairs(u64::MAX, 1), pairs(0, u64::MAX)] {
        let Interval { share, lower, upper, .. } = seen.interval();
        assert!(0.0 <= lower && lower <= share && share <= upper && upper <= 1.0 && upper - lower < 0.001, "{seen:?} {lower} {upper}");
    }
    assert_eq!(pairs(u64::MAX, 0).events_until(0.999), Some(0));
}

#[test]
fn how_many_more_pairs_it_takes_is_told() {
    // Who bets all on "they always agree" wins a factor of 1 / 0.999 with each pair, and 20 with 2,995. Bets on shares around it
    // as well, which is what keeps the interval narrow where some differ, take some more.
    let from_nothing = Pairs::default().events_until(0.999).unwrap();
    println!("{from_nothing} events show 99.9 %");
    assert!((2_995..4_000).contains(&from_nothing), "{from_nothing}");
    assert_eq!(pairs(1_000, 0).events_until(0.999), Some(from_nothing - 1_000));
    for target in [0.9, 0.99, 0.999] {
        let more = Pairs::default().events_until(target).unwrap();
        let lower = |agree: u64| pairs(agree, 0).interval().lower;
        assert!(lower(more) >= target - 1e-9 && lower(more - 1) < target, "{target}: {more}");
    }

    let so_far = pairs(9_995, 5);
    let more = so_far.events_until(0.999).unwrap();
    println!("{so_far:?}: {more} more show 99.9 %");
    let then = pairs(9_995 + more - more / 2_000, 5 + more / 2_000).interval();
    assert!((then.lower - 0.999).abs() < 0.000_02, "{then:?}");

    assert_eq!(so_far.events_until(0.9995), None, "the share so far is not above it");
    assert_eq!(so_far.events_until(0.9999), None);
    assert_eq!(pairs(1_000_000, 0).events_until(1.0), None, "that all agree is never shown");
    assert_eq!(so_far.events_until(f64::NAN), None);
    assert_eq!(so_far.events_until(0.9), Some(0), "that is shown already");
    assert_eq!(Pairs::default().events_until(0.0), Some(0));
    assert_eq!(pairs(0, 10).events_until(0.5), None);
    assert_eq!(pairs(1, 1).events_until(0.499_999_99), None, "nor with as many pairs as there will ever be");
}

#[test]
fn counts_of_minutes_add_up() {
    let minutes = [pairs(10, 1), pairs(0, 0), pairs(990, 2)];
    let whole = minutes.into_iter().fold(Pairs::default(), Pairs::plus);
    assert_eq!(whole, pairs(1_000, 3));
    assert_eq!(whole.count(), 1_003);
    assert_eq!(whole.plus(AGREES).plus(DIFFERS), pairs(1_001, 4));
}

/// A test of the order of magnitude: the bound is 50 us, of an optimised build.
#[test]
fn an_interval_is_cheap() {
    let counts = [pairs(1, 0), pairs(999, 1), pairs(500_000, 500_000), pairs(99_999_999, 1)];
    let (began, mut asked) = (Instant::now(), 0);
    for _ in 0..100 {
        for seen in counts {
            asked += u32::from(seen.interval().pairs > 0);
        }
    }
    let each = began.elapsed() / asked;
    println!("{each:?} each");
    assert!(each.as_micros() < if cfg!(debug_assertions) { 2_000 } else { 200 }, "{each:?}");
}

proptest! {
    #[test]
    fn the_bounds_are_where_belief_ends(agree in 0_u64..2_000_000, differ in 0_u64..2_000, swap: bool, share in 0.000_001_f64..0.999_999) {
        let pairs = if swap { pairs(differ, agree) } else { pairs(agree, differ) };
        let Interval { lower, upper, share: seen, .. } = pairs.interval();
        prop_assume!(pairs.count() > 0);
        prop_assert!(0.0 <= lower && lower <= seen && seen <= upper && upper <= 1.0);
        let counts = Counts::of(pairs).unwrap();
        let is_inside = lower < share && share < upper;
        let distance = (share - lower).abs().min((share - upper).abs());
        prop_assert!(distance < (upper - lower) * 1e-5 || is_inside == believes(counts, Share::of_agreeing(share)));
        for (end, outward) in [(lower, -1.0), (upper, 1.0)] {
            let (inside, outside) = (end - outward * (upper - lower) * 1e-3, end + outward * (upper - lower) * 1e-3);
            prop_assert!(believes(counts, Share::of_agreeing(inside)));
            prop_assert!(outside <= 0.0 || outside >= 1.0 || !believes(counts, Share::of_agreeing(outside)));
        }
    }

    #[test]
    fn a_pair_that_agrees_raises_both_bounds_and_one_that_differs_lowers_them(agree in 0_u64..100_000, differ in 0_u64..500) {
        let now = pairs(agree, differ).interval();
        let (up, down) = (pairs(agree + 1, differ).interval(), pairs(agree, differ + 1).interval());
        let slack = (now.upper - now.lower) * 1e-4;
        prop_assert!(up.lower >= now.lower - slack && up.upper >= now.upper - slack);
        prop_assert!(down.lower <= now.lower + slack && down.upper <= now.upper + slack);
    }

    #[test]
    fn sides_can_be_swapped(agree in 0_u64..100_000, differ in 0_u64..100_000) {
        let one = pairs(agree, differ).interval();
        let other = pairs(differ, agree).interval();
        let slack = (one.upper - one.lower) * 1e-5;
        prop_assert!((one.lower - (1.0 - other.upper)).abs() <= slack && (one.upper - (1.0 - other.lower)).abs() <= slack);
    }
}
