//! The live tap: a sample of the events as they pass, for those who look.
//!
//! Owns what lies between those who see events pass (ingress, delivery) and those who look (the admin API's viewers). Nobody waits
//! for a viewer: each has a bounded sample, of which it is told how much it leaves out. While nobody looks, an event costs one relaxed
//! load on its way in and one with each answer. Nothing of a body is kept but the events that were picked, in copies, so that a
//! viewer that never reads holds no memory that requests need.

mod marks;
mod pace;
mod viewer;
mod words;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use viewer::Viewer;

pub use words::{Catch, Ended, Passed, Row};

use crate::model::{EnvelopeId, Settled, SourceId};

/// The tap of one sidecar; off until somebody looks.
#[derive(Debug, Default)]
pub struct Tap {
    is_on: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    viewers: Vec<(u64, Viewer)>,
    /// The number of the next viewer.
    next: u64,
    /// Envelopes that are being journalled, with what became of them meanwhile: delivery may be quicker than the answer to the client.
    expected: HashMap<EnvelopeId, Vec<Settled>>,
}

/// What becomes of one envelope while it is expected. There is more only when its lanes try again and again.
const EARLY_MAX: usize = 1_024;

/// An envelope that may soon pass. Dropped without [`Expected::pass`], it was not seen.
#[derive(Debug)]
pub struct Expected<'a> {
    tap: &'a Tap,
    envelope: EnvelopeId,
}

/// A viewer's place at the tap. Dropping it closes the tap, if nobody else looks.
#[derive(Debug)]
pub struct Looking {
    tap: Arc<Tap>,
    number: u64,
}

impl Tap {
    /// Whether anybody looks.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Says that an envelope is about to be journalled: from here on it is noted what becomes of it. None: nobody looks.
    #[must_use]
    pub fn expect(&self, envelope: EnvelopeId) -> Option<Expected<'_>> {
        self.is_on().then(|| {
            self.state().expected.insert(envelope, Vec::new());
            Expected { tap: self, envelope }
        })
    }

    /// Says what became of events. Whoever calls it asks [`Tap::is_on`] before.
    pub fn settle(&self, ends: impl IntoIterator<Item = Settled>) {
        let mut state = self.state();
        for end in ends {
            match state.expected.get_mut(&end.envelope) {
                Some(early) if early.len() < EARLY_MAX => early.push(end),
                Some(_) => {}
                None => state.viewers.iter_mut().for_each(|(_, viewer)| viewer.settle(&end)),
            }
        }
    }

    /// Begins to look: at the events of `source` (None: of all), and at `rate` of them a second at most, 1 or more. `number` draws
    /// random numbers.
    #[must_use]
    pub fn look(self: &Arc<Self>, source: Option<SourceId>, rate: usize, number: fn() -> u64) -> Looking {
        let mut state = self.state();
        let place = state.next;
        state.next += 1;
        state.viewers.push((place, Viewer::new(source, rate, number)));
        self.is_on.store(true, Ordering::Relaxed);
        drop(state);
        Looking { tap: Arc::clone(self), number: place }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expected<'_> {
    /// Its events have passed.
    pub fn pass(self, passed: &Passed<'_>) {
        let mut state = self.tap.state();
        let early = state.expected.remove(&self.envelope).unwrap_or_default();
        for (_, viewer) in &mut state.viewers {
            viewer.pass(self.envelope, passed);
            for end in &early {
                viewer.settle(end);
            }
        }
        // The lock ends before the envelope is no longer expected, which takes it again.
        drop(state);
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.tap.state().expected.remove(&self.envelope);
    }
}

impl Looking {
    /// What was seen since the last time. It is not more than a megabyte.
    #[must_use]
    pub fn take(&self) -> Catch {
        let mut state = self.tap.state();
        let viewer = state.viewers.iter_mut().find(|(number, _)| *number == self.number);
        viewer.map(|(_, viewer)| viewer.take()).unwrap_or_default()
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        let mut state = self.tap.state();
        state.viewers.retain(|(number, _)| *number != self.number);
        self.tap.is_on.store(!state.viewers.is_empty(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
