//! The newest prints of a number: what is over, and may be heard of again.

use std::collections::VecDeque;

use hashbrown::HashTable;

/// The newest prints, each with a value.
#[derive(Debug)]
pub(super) struct Ring<T> {
    max: usize,
    order: VecDeque<(u128, T)>,
    /// How many have left `order` at its front.
    gone: u64,
    /// Where each print stands, counted from the first that ever was.
    places: HashTable<u64>,
}

impl<T> Ring<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { max, order: VecDeque::new(), gone: 0, places: HashTable::new() }
    }

    /// Puts a print in, in place of what it had; the oldest makes room.
    pub(super) fn put(&mut self, print: u128, value: T) {
        if let Some(known) = self.get(print) {
            *known = value;
            return;
        }
        if self.order.len() >= self.max {
            self.forget_oldest();
        }
        let place = self.gone + self.order.len() as u64;
        self.order.push_back((print, value));
        let (order, gone) = (&self.order, self.gone);
        self.places.insert_unique(hash_of(print), place, |place| hash_of(order[index(*place, gone)].0));
    }

    fn forget_oldest(&mut self) {
        let Some((print, _)) = self.order.pop_front() else { return };
        let place = self.gone;
        self.gone += 1;
        if let Ok(entry) = self.places.find_entry(hash_of(print), |at| *at == place) {
            entry.remove();
        }
    }

    /// The value of a print; None: it is not among the newest.
    pub(super) fn get(&mut self, print: u128) -> Option<&mut T> {
        let (order, gone) = (&self.order, self.gone);
        let place = *self.places.find(hash_of(print), |place| order[index(*place, gone)].0 == print)?;
        self.order.get_mut(index(place, gone)).map(|(_, value)| value)
    }
}

/// A print is a hash already.
#[expect(clippy::cast_possible_truncation, reason = "any 64 bits of a print will do")]
pub(super) const fn hash_of(print: u128) -> u64 {
    print as u64
}

fn index(place: u64, gone: u64) -> usize {
    usize::try_from(place - gone).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_known_and_the_oldest_make_room() {
        let mut ring = Ring::new(3);
        for number in 0..10_u128 {
            ring.put(number << 3, number);
            let known: Vec<u128> = (0..=number).filter(|old| ring.get(old << 3).is_some()).collect();
            assert_eq!(known, (number.saturating_sub(2)..=number).collect::<Vec<_>>());
        }
        *ring.get(72).unwrap() = 5;
        assert_eq!(ring.get(72), Some(&mut 5));
        assert_eq!(ring.get(1), None);
    }
}
