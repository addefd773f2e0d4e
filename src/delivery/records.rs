//! Records on their way, and how their events ended.

use std::collections::VecDeque;

use bytes::Bytes;

use super::tapped::Carried;
use crate::{
    journal::{Entry, Position, Quarantined, Tally},
    model::{Revision, Settled, WallTime},
};

/// How one event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Answered with 2xx.
    Delivered,
    /// Refused for good.
    Quarantined,
    /// A resend of one that ended so or so: not sent.
    Deduplicated,
}

/// What has ended and is still to be told to the journal: quarantine first, completion after.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) quarantined: VecDeque<Quarantined>,
    pub(super) complete: Vec<Completed>,
    /// What watchers are to be told of events that ended without a request.
    pub(super) unsent: Vec<Settled>,
}

/// A record whose events have all ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Completed {
    pub(super) position: Position,
    pub(super) tally: Tally,
    /// The revision and the time that its envelope came with; None: it cannot be read.
    pub(super) stamp: Option<(Revision, WallTime)>,
}

/// The records of a lane whose events end one by one.
#[derive(Debug, Default)]
pub(super) struct Records {
    slots: Vec<Option<Record>>,
    free: Vec<usize>,
    payload_bytes: usize,
}

#[derive(Debug)]
struct Record {
    position: Position,
    /// Its bytes: what is refused of it goes to quarantine with its envelope.
    payload: Bytes,
    /// What the tap knows it by.
    whole: Carried,
    left: u32,
    tally: Tally,
}

impl Records {
    /// Takes up a record.
    pub(super) fn open(&mut self, entry: &Entry, whole: Carried) -> usize {
        let Entry { position, payload, planned } = entry.clone();
        self.payload_bytes += payload.len();
        let at = self.free.pop().unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[at] = Some(Record { position, payload, whole, left: planned, tally: Tally::default() });
        at
    }

    /// Where a record stands in the journal.
    pub(super) fn position(&self, at: usize) -> Position {
        self.slots[at].as_ref().map_or_else(Position::default, |record| record.position)
    }

    /// What the tap knows an event of a record by; None when the record is complete.
    pub(super) fn carried(&self, at: usize, index: u32) -> Option<Carried> {
        self.slots[at].as_ref().map(|record| record.whole.event(index))
    }

    /// A record's bytes.
    pub(super) fn payload(&self, at: usize) -> Bytes {
        self.slots[at].as_ref().map_or_else(Bytes::new, |record| record.payload.clone())
    }

    /// Bytes of all of them.
    pub(super) const fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Notes the end of `events` of a record's events; the last one completes it.
    pub(super) fn end(&mut self, at: usize, end: End, events: u32, ends: &mut Ends) {
        let Some(record) = &mut self.slots[at] else { return };
        match end {
            End::Delivered => record.tally.delivered += events,
            End::Quarantined => record.tally.quarantined += events,
            End::Deduplicated => record.tally.deduplicated += events,
        }
        record.left = record.left.saturating_sub(events);
        if record.left == 0 {
            let (position, tally) = (record.position, record.tally);
            ends.complete.push(Completed { position, tally, stamp: Some(record.whole.stamp) });
            self.payload_bytes -= record.payload.len();
            self.slots[at] = None;
            self.free.push(at);
        }
    }

    /// How many are not complete.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_complete_with_its_last_event() {
        let (mut records, mut ends) = (Records::default(), Ends::default());
        let first = records.open(
            &Entry { position: Position { volume: 1, offset: 8 }, payload: Bytes::from_static(b"12345"), planned: 3 },
            Carried::nobody(),
        );
        records.end(first, End::Delivered, 2, &mut ends);
        assert!(ends.complete.is_empty());
        assert_eq!((records.payload(first), records.payload_bytes()), (Bytes::from_static(b"12345"), 5));
        records.end(first, End::Quarantined, 1, &mut ends);
        let tally = Tally { delivered: 2, quarantined: 1, ..Tally::default() };
        let [done] = ends.complete[..] else { panic!("{:?}", ends.complete) };
        assert_eq!((done.position, done.tally, records.len()), (Position { volume: 1, offset: 8 }, tally, 0));
        assert_eq!(records.payload_bytes(), 0);
    }
}
