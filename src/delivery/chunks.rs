//! Requests that are cut in halves until the bad event is alone.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::model::Encoding;

/// The requests of one slot that are made up but not answered for good, oldest first. Only the first one is ever out, so
/// order holds through every cut.
#[derive(Debug)]
pub(super) struct Chunks<P> {
    waiting: VecDeque<Chunk<P>>,
}

/// The events of one request.
#[derive(Debug)]
pub(super) struct Chunk<P> {
    pub(super) pieces: Vec<P>,
    /// Attempts that failed.
    pub(super) failures: u32,
    /// The request's body, kept for its next attempt.
    pub(super) body: Option<(Bytes, Encoding)>,
    suspicion: Suspicion,
}

/// What is known of a request that was not sent yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suspicion {
    /// Nothing.
    None,
    /// It is the second half of a request with a bad event: when the first half is fine, the bad one is here, and sending
    /// it whole would only be refused again.
    IfFirstHalfIsFine,
}

/// Why a request is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// It was too large.
    TooLarge,
    /// It holds a bad event.
    BadEvent,
}

impl<P> Default for Chunks<P> {
    fn default() -> Self {
        Self { waiting: VecDeque::new() }
    }
}

impl<P> Chunks<P> {
    /// Adds a request behind all others.
    pub(super) fn push(&mut self, pieces: Vec<P>) {
        self.waiting.push_back(Chunk::new(pieces, Suspicion::None));
    }

    /// The request to be sent next, or the one that is out.
    pub(super) fn first_mut(&mut self) -> Option<&mut Chunk<P>> {
        self.waiting.front_mut()
    }

    /// The request to be sent next, or the one that is out.
    pub(super) fn first(&self) -> Option<&Chunk<P>> {
        self.waiting.front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the first request off, as its events arrived.
    pub(super) fn deliver(&mut self) -> Vec<P> {
        let delivered = self.waiting.pop_front().map(|chunk| chunk.pieces).unwrap_or_default();
        if let Some(next) = self.waiting.front()
            && next.suspicion == Suspicion::IfFirstHalfIsFine
            && next.pieces.len() > 1
        {
            self.halve(Suspicion::IfFirstHalfIsFine);
        }
        delivered
    }

    /// Takes the first request off, as its events are refused for good.
    pub(super) fn refuse(&mut self) -> Vec<P> {
        self.clear_second_half();
        self.waiting.pop_front().map(|chunk| chunk.pieces).unwrap_or_default()
    }

    /// Cuts the first request in halves. A single event cannot be cut: it comes back, refused.
    pub(super) fn cut(&mut self, cut: Cut) -> Option<P> {
        if self.waiting.front().is_none_or(|chunk| chunk.pieces.len() <= 1) {
            return self.refuse().pop();
        }
        match cut {
            Cut::TooLarge => self.halve(Suspicion::None),
            Cut::BadEvent => {
                self.clear_second_half();
                self.halve(Suspicion::IfFirstHalfIsFine);
            }
        }
        None
    }

    /// The first half was bad, which says nothing about the second.
    fn clear_second_half(&mut self) {
        if let Some(second) = self.waiting.get_mut(1) {
            second.suspicion = Suspicion::None;
        }
    }

    fn halve(&mut self, second_half: Suspicion) {
        let Some(mut chunk) = self.waiting.pop_front() else { return };
        let rest = chunk.pieces.split_off(chunk.pieces.len().div_ceil(2));
        self.waiting.push_front(Chunk::new(rest, second_half));
        self.waiting.push_front(Chunk::new(chunk.pieces, Suspicion::None));
    }
}

impl<P> Chunk<P> {
    const fn new(pieces: Vec<P>, suspicion: Suspicion) -> Self {
        Self { pieces, failures: 0, body: None, suspicion }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sends everything to a destination that refuses a request with a bad event in it.
    fn send(events: u32, bad: &[u32]) -> (Vec<u32>, Vec<u32>, u32) {
        let (mut chunks, mut delivered, mut refused, mut requests) = (Chunks::default(), Vec::new(), Vec::new(), 0);
        chunks.push((0..events).collect());
        while let Some(chunk) = chunks.first_mut() {
            requests += 1;
            if chunk.pieces.iter().any(|event| bad.contains(event)) {
                refused.extend(chunks.cut(Cut::BadEvent));
            } else {
                delivered.extend(chunks.deliver());
            }
        }
        (delivered, refused, requests)
    }

    #[test]
    fn one_bad_event_of_five_hundred_is_found_in_few_requests() {
        for bad in [0, 1, 250, 499] {
            let (delivered, refused, requests) = send(500, &[bad]);
            assert_eq!((delivered.len(), refused.as_slice()), (499, [bad].as_slice()));
            assert!(requests <= 19, "{requests} requests for event {bad}");
        }
    }

    #[test]
    fn a_request_that_is_too_large_goes_in_halves_down_to_one_event() {
        let mut chunks = Chunks::default();
        chunks.push(vec!['a', 'b', 'c']);
        assert_eq!(chunks.cut(Cut::TooLarge), None);
        assert_eq!(chunks.first_mut().unwrap().pieces, ['a', 'b']);
        assert_eq!(chunks.cut(Cut::TooLarge), None);
        assert_eq!(chunks.cut(Cut::TooLarge), Some('a'));
        assert_eq!((chunks.deliver(), chunks.deliver(), chunks.is_empty()), (vec!['b'], vec!['c'], true));
    }

    proptest! {
        #[test]
        fn exactly_the_bad_events_are_refused_and_order_holds(events in 1_u32..80, bad in proptest::collection::vec(0_u32..80, 0..6)) {
            let (delivered, refused, _) = send(events, &bad);
            prop_assert!(delivered.is_sorted() && refused.is_sorted());
            prop_assert!(refused.iter().all(|event| bad.contains(event)) && !delivered.iter().any(|event| bad.contains(event)));
            prop_assert_eq!(delivered.len() + refused.len(), events as usize);
        }
    }
}
