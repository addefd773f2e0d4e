//! Records on their way, and how their events ended.

use std::collections::VecDeque;

use crate::journal::{Position, Quarantined, Tally};

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
    pub(super) complete: Vec<(Position, Tally)>,
}

/// The records of a lane whose events end one by one.
#[derive(Debug, Default)]
pub(super) struct Records {
    slots: Vec<Option<Record>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Record {
    position: Position,
    left: u32,
    tally: Tally,
}

impl Records {
    /// Takes up a record of `planned` events.
    pub(super) fn open(&mut self, position: Position, planned: u32) -> usize {
        let at = self.free.pop().unwrap_or(self.slots.len());
        if at == self.slots.len() {
            self.slots.push(None);
        }
        self.slots[at] = Some(Record { position, left: planned, tally: Tally::default() });
        at
    }

    /// Where a record stands in the journal.
    pub(super) fn position(&self, at: usize) -> Position {
        self.slots[at].as_ref().map_or_else(Position::default, |record| record.position)
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
            ends.complete.push((record.position, record.tally));
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
        let first = records.open(Position { volume: 1, offset: 8 }, 3);
        records.end(first, End::Delivered, 2, &mut ends);
        assert!(ends.complete.is_empty());
        records.end(first, End::Quarantined, 1, &mut ends);
        let tally = Tally { delivered: 2, quarantined: 1, ..Tally::default() };
        assert_eq!((ends.complete.as_slice(), records.len()), ([(Position { volume: 1, offset: 8 }, tally)].as_slice(), 0));
    }
}
