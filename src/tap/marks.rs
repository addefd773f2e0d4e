//! Which events a viewer was shown: what becomes of them is looked up here.

use std::collections::{HashMap, VecDeque};

use crate::model::{EnvelopeId, PerDestination, Settled};

/// The newest events that were picked for a viewer.
#[derive(Debug, Default)]
pub(super) struct Marks {
    envelopes: HashMap<EnvelopeId, Marked>,
    /// The envelopes, oldest first; some of them may have no marks any more.
    order: VecDeque<EnvelopeId>,
    count: usize,
}

#[derive(Debug)]
struct Marked {
    /// How many events the envelope has.
    events: u32,
    marks: Vec<Mark>,
}

/// One event that was picked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    /// Its place in the envelope.
    pub(super) index: u32,
    /// Its number for the viewer.
    pub(super) row: u64,
    /// Where it goes.
    pub(super) to: PerDestination<bool>,
}

/// Marks of one viewer, and envelopes: less than a megabyte.
const MARKS_MAX: usize = 8_192;

impl Marks {
    /// Marks an event of an envelope that has `events` of them. The oldest marks make room.
    pub(super) fn add(&mut self, envelope: EnvelopeId, events: u32, mark: Mark) {
        let marked = self.envelopes.entry(envelope).or_insert_with(|| {
            self.order.push_back(envelope);
            Marked { events, marks: Vec::new() }
        });
        marked.marks.push(mark);
        self.count += 1;
        while self.count > MARKS_MAX || self.order.len() > MARKS_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            self.count -= self.envelopes.remove(&oldest).map_or(0, |marked| marked.marks.len());
        }
    }

    /// Takes a mark off, as its event gave way to another.
    pub(super) fn remove(&mut self, envelope: EnvelopeId, row: u64) {
        let Some(marked) = self.envelopes.get_mut(&envelope) else { return };
        let before = marked.marks.len();
        marked.marks.retain(|mark| mark.row != row);
        self.count -= before - marked.marks.len();
        if marked.marks.is_empty() {
            self.envelopes.remove(&envelope);
        }
    }

    /// The numbers of the events that `settled` tells of.
    pub(super) fn rows(&self, settled: &Settled) -> impl Iterator<Item = u64> {
        // An event that is sent again alone stands first in an envelope of the same id, wherever it stood.
        let marked = self.envelopes.get(&settled.envelope).filter(|marked| marked.events == settled.events);
        let (index, destination) = (settled.index, settled.destination);
        let tells_of = move |mark: &&Mark| *mark.to.of(destination) && index.is_none_or(|index| index == mark.index);
        marked.into_iter().flat_map(|marked| &marked.marks).filter(tells_of).map(|mark| mark.row)
    }
}
