//! Which events have been to RudderStack: the prints of the newest messageIds, exact within a number.

use hashbrown::HashTable;

/// The newest prints, in the order in which their events ended. Of a full window the oldest print makes room for each new one.
///
/// A print costs 16 bytes and its place in a table 5 to 10, so a million of them cost about 26 MB; one that was never used costs
/// nothing to speak of.
#[derive(Debug)]
pub(super) struct Window {
    prints_max: usize,
    /// In order, from `oldest` on and round.
    prints: Vec<u128>,
    /// Where the oldest print of a full window stands; 0 until it is full.
    oldest: usize,
    /// Where each print stands in `prints`. Many small tables, each with the prints of a kind, as a table that grows is gone through
    /// as a whole: a large one would hold a lane up for a tenth of a second.
    places: Vec<HashTable<u32>>,
}

/// Into how many tables prints are spread: a power of two.
const TABLES: usize = 64;

impl Window {
    /// The largest window.
    pub(super) const PRINTS_MAX: usize = 100_000_000;

    /// A window of at most so many prints, and of [`Window::PRINTS_MAX`].
    pub(super) fn new(prints_max: usize) -> Self {
        let places = (0..TABLES).map(|_| HashTable::new()).collect();
        Self { prints_max: prints_max.min(Self::PRINTS_MAX), prints: Vec::new(), oldest: 0, places }
    }

    /// The window, once prints were put in newest first: they stand in order then. At most as many as it holds may have been.
    pub(super) fn turned_round(mut self) -> Self {
        self.prints.reverse();
        let count = self.len();
        for place in self.places.iter_mut().flat_map(HashTable::iter_mut) {
            *place = to_place(count - 1 - to_index(*place));
        }
        self
    }

    /// Whether a print is in it.
    pub(super) fn holds(&self, print: u128) -> bool {
        self.places[table_of(print)].find(hash_of(print), |place| self.prints[to_index(*place)] == print).is_some()
    }

    /// Puts a print in, unless it is in already; says whether it was not.
    pub(super) fn push(&mut self, print: u128) -> bool {
        if self.prints_max == 0 || self.holds(print) {
            return false;
        }
        let place = if self.prints.len() < self.prints_max {
            if self.prints.len() == self.prints.capacity() {
                let more = self.prints.len().max(PRINTS_FIRST);
                self.prints.reserve_exact(more.min(self.prints_max - self.prints.len()));
            }
            self.prints.push(print);
            self.prints.len() - 1
        } else {
            let place = self.oldest;
            self.forget(place);
            self.prints[place] = print;
            self.oldest = (place + 1) % self.prints_max;
            place
        };
        let prints = &self.prints;
        self.places[table_of(print)].insert_unique(hash_of(print), to_place(place), |place| hash_of(prints[to_index(*place)]));
        true
    }

    fn forget(&mut self, place: usize) {
        let print = self.prints[place];
        if let Ok(entry) = self.places[table_of(print)].find_entry(hash_of(print), |at| to_index(*at) == place) {
            entry.remove();
        }
    }

    /// How many prints are in it.
    pub(super) const fn len(&self) -> usize {
        self.prints.len()
    }
}

/// Room for so many prints is made at first; it doubles.
const PRINTS_FIRST: usize = 64;

/// A print is a hash already: its upper bits choose the table, its lower ones the place there.
#[expect(clippy::cast_possible_truncation, reason = "any 64 bits of a print will do")]
const fn hash_of(print: u128) -> u64 {
    print as u64
}

const fn table_of(print: u128) -> usize {
    (print >> (u128::BITS - TABLES.trailing_zeros())) as usize
}

const fn to_index(place: u32) -> usize {
    place as usize
}

#[expect(clippy::cast_possible_truncation, reason = "a window has at most a hundred million prints")]
const fn to_place(index: usize) -> u32 {
    index as u32
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    /// What a window is to do, without haste.
    #[derive(Debug, Default)]
    struct Naive(Vec<u128>);

    impl Naive {
        fn push(&mut self, print: u128, prints_max: usize) {
            if !self.0.contains(&print) {
                self.0.push(print);
                self.0.drain(..self.0.len().saturating_sub(prints_max));
            }
        }
    }

    /// A window as the next process has it; of a print that ended twice the later time counts.
    fn restored(prints_max: usize, ended: &[u128]) -> Window {
        let mut window = Window::new(prints_max);
        for print in ended.iter().rev() {
            if window.len() < prints_max {
                window.push(*print);
            }
        }
        window.turned_round()
    }

    /// Prints that share tables and hashes, as an unlucky day would have them.
    fn print(number: u8) -> u128 {
        let number = u128::from(number);
        ((number % 3) << 126) | ((number / 16) << 64) | (number % 16)
    }

    #[test]
    fn the_oldest_goes_first_and_exactly_at_the_bound() {
        let mut window = Window::new(3);
        for number in [1, 2, 3, 2] {
            window.push(number);
        }
        assert_eq!([1, 2, 3, 4].map(|number| window.holds(number)), [true, true, true, false]);
        window.push(4);
        assert_eq!([1, 2, 3, 4].map(|number| window.holds(number)), [false, true, true, true], "a repeat makes nothing younger");
        window.push(1);
        assert_eq!([1, 2, 3, 4].map(|number| window.holds(number)), [true, false, true, true]);
        assert_eq!(window.len(), 3);
    }

    #[test]
    fn a_window_of_none_holds_none() {
        let mut window = Window::new(0);
        window.push(1);
        assert!(!window.holds(1) && window.len() == 0);
        assert_eq!(restored(0, &[1, 2]).len(), 0);
    }

    #[test]
    fn what_is_restored_goes_on_where_it_was() {
        let mut window = restored(3, &[5, 1, 2, 3, 1]);
        assert_eq!([5, 1, 2, 3].map(|number| window.holds(number)), [false, true, true, true]);
        window.push(6);
        assert_eq!([2, 3, 1, 6].map(|number| window.holds(number)), [false, true, true, true], "1 ended again after 2 and 3");
    }

    #[test]
    fn a_large_window_costs_what_it_says() {
        let mut window = Window::new(1_000_000);
        let spread = |number: u128| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let mut slowest = Duration::ZERO;
        let start = Instant::now();
        for number in 0..2_000_000_u128 {
            let one = Instant::now();
            window.push(spread(number));
            slowest = slowest.max(one.elapsed());
        }
        println!("{} ns to look and put in, {slowest:?} at most", start.elapsed().as_nanos() / 2_000_000);
        let start = Instant::now();
        let held = (0..2_000_000_u128).filter(|number| window.holds(spread(*number))).count();
        println!("{} ns to look", start.elapsed().as_nanos() / 2_000_000);
        assert_eq!(held, 1_000_000);
        let tables: usize = window.places.iter().map(HashTable::allocation_size).sum();
        let bytes = window.prints.capacity() * size_of::<u128>() + tables;
        println!("{bytes} bytes for a million prints");
        assert!((16_000_000..28_000_000).contains(&bytes), "{bytes}");
    }

    proptest! {
        #[test]
        fn a_window_does_what_a_list_would(
            prints_max in 0_usize..12,
            pushed in proptest::collection::vec(any::<u8>().prop_map(|number| number % 24), 0..120),
            stop in 0_usize..120,
        ) {
            let (mut window, mut naive) = (Window::new(prints_max), Naive::default());
            let mut ended = Vec::new();
            for (number, each) in pushed.iter().enumerate() {
                if number == stop {
                    window = restored(prints_max, &ended);
                }
                let each = print(*each);
                if !naive.0.contains(&each) {
                    ended.push(each);
                }
                window.push(each);
                naive.push(each, prints_max);
                for number in 0..24 {
                    let each = print(number);
                    prop_assert_eq!(window.holds(each), naive.0.contains(&each), "{} of {:?}", each, naive);
                }
                prop_assert_eq!(window.len(), naive.0.len());
            }
        }
    }
}
