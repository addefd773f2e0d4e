//! Which envelope may go: each person's in their order, everybody else's at once.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    hash::{BuildHasherDefault, Hasher},
};

use crate::routing::Person;

/// Envelopes that are not finished, in the order in which they were added. One is ready when no earlier unfinished one
/// shares a person with it, so two that share a person are never out together; ready ones come out oldest first, so none
/// starves. Exact: no two persons block each other by chance, but for a collision of their 64-bit hashes.
#[derive(Debug)]
pub(super) struct Order<T> {
    items: Vec<Option<Item<T>>>,
    free: Vec<usize>,
    /// The newest unfinished envelope of each person.
    newest: HashMap<Person, usize, BuildHasherDefault<PersonHasher>>,
    ready: BinaryHeap<Reverse<(u64, usize)>>,
    added: u64,
}

#[derive(Debug)]
struct Item<T> {
    sequence: u64,
    value: T,
    persons: Vec<Person>,
    /// How many earlier envelopes must finish first, once for each shared person.
    blocked_by: usize,
    /// Who waits for this one.
    followers: Vec<usize>,
}

/// Names an unfinished envelope.
pub(super) type Ticket = usize;

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { items: Vec::new(), free: Vec::new(), newest: HashMap::default(), ready: BinaryHeap::new(), added: 0 }
    }
}

impl<T> Order<T> {
    /// Adds an envelope with its persons, repeats allowed.
    pub(super) fn add(&mut self, value: T, persons: Vec<Person>) -> Ticket {
        let ticket = self.free.pop().unwrap_or(self.items.len());
        if ticket == self.items.len() {
            self.items.push(None);
        }
        let mut blocked_by = 0;
        for person in &persons {
            let Some(earlier) = self.newest.insert(*person, ticket).filter(|earlier| *earlier != ticket) else { continue };
            if let Some(item) = &mut self.items[earlier] {
                item.followers.push(ticket);
                blocked_by += 1;
            }
        }
        let sequence = self.added;
        self.added += 1;
        if blocked_by == 0 {
            self.ready.push(Reverse((sequence, ticket)));
        }
        self.items[ticket] = Some(Item { sequence, value, persons, blocked_by, followers: Vec::new() });
        ticket
    }

    /// Takes out the oldest envelope that may go. It stays unfinished.
    pub(super) fn next_ready(&mut self) -> Option<Ticket> {
        self.ready.pop().map(|Reverse((_, ticket))| ticket)
    }

    /// Makes an envelope that was taken out ready again: it still blocks its persons.
    pub(super) fn put_back(&mut self, ticket: Ticket) {
        if let Some(item) = &self.items[ticket] {
            self.ready.push(Reverse((item.sequence, ticket)));
        }
    }

    /// An unfinished envelope; None when it is finished.
    pub(super) fn get(&self, ticket: Ticket) -> Option<&T> {
        self.items.get(ticket)?.as_ref().map(|item| &item.value)
    }

    /// An unfinished envelope, to be changed; None when it is finished.
    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        self.items.get_mut(ticket)?.as_mut().map(|item| &mut item.value)
    }

    /// Finishes an envelope that was taken out; who waited for it alone becomes ready. None when it was finished before.
    pub(super) fn finish(&mut self, ticket: Ticket) -> Option<T> {
        let item = self.items.get_mut(ticket)?.take()?;
        for person in &item.persons {
            if self.newest.get(person) == Some(&ticket) {
                self.newest.remove(person);
            }
        }
        for follower in item.followers {
            let Some(waiting) = &mut self.items[follower] else { continue };
            waiting.blocked_by -= 1;
            if waiting.blocked_by == 0 {
                self.ready.push(Reverse((waiting.sequence, follower)));
            }
        }
        self.free.push(ticket);
        Some(item.value)
    }

    /// How many are unfinished.
    pub(super) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// Whether one may go now.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

/// A person is a hash already.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct PersonHasher(u64);

impl Hasher for PersonHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn persons(ids: &[u64]) -> Vec<Person> {
        ids.iter().map(|id| Person(*id)).collect()
    }

    #[test]
    fn strangers_go_at_once_and_one_person_goes_in_order() {
        let mut order = Order::default();
        let first = order.add("a1", persons(&[1]));
        let second = order.add("a2", persons(&[1, 1]));
        let stranger = order.add("b", persons(&[2]));
        assert_eq!((order.next_ready(), order.next_ready(), order.next_ready()), (Some(first), Some(stranger), None));
        assert_eq!(order.finish(stranger), Some("b"));
        assert_eq!(order.next_ready(), None);
        order.put_back(first);
        assert_eq!((order.next_ready(), order.next_ready()), (Some(first), None), "a retry still blocks its person");
        assert_eq!(order.finish(first), Some("a1"));
        assert_eq!((order.next_ready(), order.len()), (Some(second), 1));
        assert_eq!(order.finish(first), None);
    }

    #[test]
    fn an_envelope_of_many_persons_waits_for_all_of_them() {
        let mut order = Order::default();
        let (a, b) = (order.add("a", persons(&[1])), order.add("b", persons(&[2])));
        let both = order.add("ab", persons(&[1, 2]));
        assert_eq!((order.next_ready(), order.next_ready()), (Some(a), Some(b)));
        order.finish(b);
        assert_eq!(order.next_ready(), None);
        order.finish(a);
        assert_eq!(order.next_ready(), Some(both));
    }

    proptest! {
        #[test]
        fn no_two_of_one_person_are_out_and_none_is_forgotten(
            envelopes in proptest::collection::vec(proptest::collection::vec(0_u64..6, 1..4), 1..60),
            choices in proptest::collection::vec(any::<u8>(), 400),
        ) {
            let mut order = Order::default();
            let mut waiting: Vec<_> = envelopes.iter().enumerate().rev().collect();
            let (mut out, mut done) = (Vec::new(), Vec::new());
            for choice in choices {
                match choice % 4 {
                    0 => if let Some((number, ids)) = waiting.pop() {
                        order.add(number, persons(ids));
                    },
                    1 => if let Some(ticket) = order.next_ready() {
                        out.push(ticket);
                    },
                    2 if !out.is_empty() => {
                        let ticket = out.swap_remove(usize::from(choice) % out.len());
                        order.put_back(ticket);
                    }
                    3 if !out.is_empty() => {
                        let ticket = out.swap_remove(usize::from(choice) % out.len());
                        done.push(order.finish(ticket).unwrap());
                    }
                    _ => {}
                }
                let mut busy = HashSet::new();
                for ticket in &out {
                    let number = *order.get_mut(*ticket).unwrap();
                    for id in envelopes[number].iter().collect::<HashSet<_>>() {
                        prop_assert!(busy.insert(*id), "person {id} is out twice");
                    }
                }
            }
            while let Some((number, ids)) = waiting.pop() {
                order.add(number, persons(ids));
            }
            loop {
                while let Some(ticket) = order.next_ready() {
                    out.push(ticket);
                }
                let Some(ticket) = out.pop() else { break };
                done.push(order.finish(ticket).unwrap());
            }
            prop_assert_eq!((done.len(), order.len()), (envelopes.len(), 0), "all come to their end");
            prop_assert!(order.newest.is_empty());
            for id in 0..6 {
                let of_person: Vec<_> = done.iter().filter(|number| envelopes[**number].contains(&id)).collect();
                prop_assert!(of_person.is_sorted(), "person {id} finished in {of_person:?}");
            }
        }
    }
}
