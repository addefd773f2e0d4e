//! One viewer: its sample of what passes, and what became of it.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::Instant;

use super::{
    marks::{Mark, Marks},
    pace::Pace,
    words::{Catch, Ended, Passed, Row},
};
use crate::model::{EnvelopeId, PerDestination, Settled, SourceId};

/// Bytes of events that wait for a viewer: what it reads in one turn.
const BYTES_MAX: usize = 1 << 20;
/// Ends that wait for a viewer.
const ENDS_MAX: usize = 2_048;

#[derive(Debug)]
pub(super) struct Viewer {
    /// Whose events it looks at; None: everybody's.
    source: Option<SourceId>,
    pace: Pace,
    number: fn() -> u64,
    /// Events that it saw, ever.
    seen: u64,
    /// How many of them when it took the last ones.
    taken: u64,
    /// How many may be picked until it takes them.
    room: usize,
    rows: Vec<Row>,
    bytes: usize,
    lost: u64,
    marks: Marks,
    ends: VecDeque<Ended>,
}

impl Viewer {
    pub(super) fn new(source: Option<SourceId>, rate: usize, number: fn() -> u64) -> Self {
        let mut pace = Pace::new(rate);
        let room = pace.room(Instant::now());
        Self {
            source,
            pace,
            number,
            seen: 0,
            taken: 0,
            room,
            rows: Vec::new(),
            bytes: 0,
            lost: 0,
            marks: Marks::default(),
            ends: VecDeque::new(),
        }
    }

    /// Picks some of the events that pass, or none.
    pub(super) fn pass(&mut self, envelope: EnvelopeId, passed: &Passed<'_>) {
        if self.source.as_ref().is_some_and(|source| source != passed.source) {
            return;
        }
        let mut context = None;
        for index in 0..passed.events {
            self.seen += 1;
            let Some(place) = self.pick() else { continue };
            let context = context.get_or_insert_with(|| passed.outline.and_then(|outline| outline.context(passed.body)).map(Arc::from));
            self.keep(place, envelope, index, passed, context.as_ref());
        }
    }

    /// Where the newest event goes in the sample, by chance alone: each event since the last turn has the same. None: it does not.
    fn pick(&self) -> Option<usize> {
        if self.rows.len() < self.room {
            return Some(self.rows.len());
        }
        let place = (self.number)() % (self.seen - self.taken);
        usize::try_from(place).ok().filter(|place| *place < self.room)
    }

    fn keep(&mut self, place: usize, envelope: EnvelopeId, index: usize, passed: &Passed<'_>, context: Option<&Arc<str>>) {
        let event = passed.outline.and_then(|outline| outline.event(index, passed.body));
        let bytes = event.map_or(0, |event| event.text().len()) + context.map_or(0, |context| context.len());
        let given_way = self.rows.get(place).map_or(0, Row::bytes);
        let Some(event) = event.filter(|_| self.bytes - given_way + bytes <= BYTES_MAX) else {
            self.lost += 1;
            return;
        };
        let to = PerDestination::from_fn(|destination| passed.plan.of(destination).contains(index));
        let row = Row {
            id: self.seen,
            at: passed.at,
            source: passed.source.clone(),
            envelope,
            index,
            endpoint: passed.endpoint,
            event: event.text().into(),
            context: context.cloned(),
            to,
        };
        self.bytes = self.bytes - given_way + bytes;
        if let Some(old) = self.rows.get_mut(place) {
            let old = std::mem::replace(old, row);
            self.marks.remove(old.envelope, old.id);
        } else {
            self.rows.push(row);
        }
        let (events, index) = (u32::try_from(passed.events).unwrap_or(u32::MAX), u32::try_from(index).unwrap_or(u32::MAX));
        self.marks.add(envelope, events, Mark { index, row: self.seen, to });
    }

    /// Notes what became of events, of those that were picked.
    pub(super) fn settle(&mut self, settled: &Settled) {
        let Settled { destination, outcome, status, took, .. } = *settled;
        for id in self.marks.rows(settled) {
            if self.ends.len() == ENDS_MAX {
                self.ends.pop_front();
            }
            self.ends.push_back(Ended { id, destination, outcome, status, took });
        }
    }

    pub(super) fn take(&mut self) -> Catch {
        let now = Instant::now();
        let mut rows = std::mem::take(&mut self.rows);
        rows.sort_unstable_by_key(|row| row.id);
        self.pace.show(rows.len(), now);
        self.room = self.pace.room(now);
        self.bytes = 0;
        let (before, seen) = (self.taken, self.seen - self.taken);
        self.taken = self.seen;
        // Some may have given way to others after they had ended.
        let is_shown = |end: &Ended| end.id <= before || rows.binary_search_by_key(&end.id, |row| row.id).is_ok();
        let ends = self.ends.drain(..).filter(is_shown).collect();
        Catch { seen, lost: std::mem::take(&mut self.lost), rows, ends }
    }
}

impl Row {
    fn bytes(&self) -> usize {
        self.event.len() + self.context.as_ref().map_or(0, |context| context.len())
    }
}
