//! Where a lane stands: what it handed out, what is complete, and the sums.

use std::collections::VecDeque;

use super::{
    quarantine::Account,
    words::{Ledger, Position, Tally},
};
use crate::model::WallTime;

/// The state of one lane.
#[derive(Debug, Default)]
pub(super) struct LaneState {
    /// Which consumer is the lane's; older handles get nothing more.
    pub generation: u64,
    /// Everything of this lane before here was handed out or accounted for.
    pub reader: Position,
    /// Events planned for this lane before `reader`.
    pub reader_planned: u64,
    /// Handed out and not yet passed: from the first that is not complete on, in order.
    outstanding: VecDeque<Outstanding>,
    /// Runs of records beyond `reader` that an earlier consumer completed: first and last, in order.
    done_before: VecDeque<(Position, Position)>,
    pub totals: Totals,
    /// Until when the destination asked to be left alone.
    pub deferred_until: Option<WallTime>,
    /// Since when an operator holds the lane.
    pub held_since: Option<WallTime>,
    /// Events completed by this process.
    pub completed_events: u64,
}

#[derive(Debug, Clone, Copy)]
struct Outstanding {
    position: Position,
    planned: u64,
    received_at: WallTime,
    ended: Ended,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Yes,
    No,
}

/// Events at their end, by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    pub delivered: u64,
    pub quarantined: u64,
    pub deduplicated: u64,
    pub suppressed: u64,
    pub expired: u64,
    pub purged: u64,
}

/// What handing out a record came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handed {
    /// The consumer gets it.
    Out,
    /// An earlier consumer completed it.
    Skipped,
}

/// A lane as a cursor keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LaneCursor {
    /// Everything of the lane before here is complete.
    pub low: Position,
    /// Events planned for the lane before `low`.
    pub low_planned: u64,
    /// Completed records beyond `low`, as runs of the lane's records: first and last.
    pub done: Vec<(Position, Position)>,
    pub totals: Totals,
    pub deferred_until: Option<WallTime>,
    pub held_since: Option<WallTime>,
}

impl LaneCursor {
    /// Whether the record at that place is complete.
    pub(super) fn has_passed(&self, position: Position) -> bool {
        position < self.low || self.done.iter().any(|(first, last)| (*first..=*last).contains(&position))
    }
}

impl Totals {
    pub(super) const fn sum(&self) -> u64 {
        self.delivered + self.quarantined + self.deduplicated + self.suppressed + self.expired + self.purged
    }

    pub(super) fn add(&mut self, tally: &Tally) {
        self.delivered += u64::from(tally.delivered);
        self.quarantined += u64::from(tally.quarantined);
        self.deduplicated += u64::from(tally.deduplicated);
        self.suppressed += u64::from(tally.suppressed);
        self.expired += u64::from(tally.expired);
        self.purged += u64::from(tally.purged);
    }

    /// The ledger of a lane with these ends, some of whose quarantined events were sent again. `planned` is read after the ends, so
    /// it covers them; `account` is read before, so they cover it.
    pub(super) fn ledger(&self, planned: u64, account: Account) -> Ledger {
        let mut quarantined = self.quarantined;
        // Only with all cursors lost there can be more of them than the lane knows of.
        let mut moved = |events: u64| {
            let moved = events.min(quarantined);
            quarantined -= moved;
            moved
        };
        let Account { due_events, ended } = account;
        Ledger {
            planned,
            delivered: self.delivered + moved(ended.delivered),
            pending: planned.saturating_sub(self.sum()) + moved(due_events),
            deduplicated: self.deduplicated + moved(ended.deduplicated),
            suppressed: self.suppressed + moved(ended.suppressed),
            expired: self.expired + moved(ended.expired),
            purged: self.purged + moved(ended.purged),
            quarantined,
        }
    }
}

impl LaneState {
    /// A lane without a past, in a log that ends at `end`.
    pub(super) fn starting_at(end: Position) -> Self {
        Self { reader: end, ..Self::default() }
    }

    /// A lane as a cursor left it.
    pub(super) fn restored(cursor: LaneCursor) -> Self {
        Self {
            reader: cursor.low,
            reader_planned: cursor.low_planned,
            done_before: cursor.done.into(),
            totals: cursor.totals,
            deferred_until: cursor.deferred_until,
            held_since: cursor.held_since,
            ..Self::default()
        }
    }

    /// Gives the lane to a new consumer, which begins at the oldest record that is not complete.
    pub(super) fn attach(&mut self) -> u64 {
        self.generation += 1;
        let cursor = self.cursor();
        self.reader = cursor.low;
        self.reader_planned = cursor.low_planned;
        self.done_before = cursor.done.into();
        self.outstanding.clear();
        self.generation
    }

    /// Notes that the record at `position` goes to the consumer; `after` is where the next one may begin.
    pub(super) fn hand_out(&mut self, position: Position, after: Position, planned: u32, received_at: WallTime) -> Handed {
        let handed = if self.was_done(position) { Handed::Skipped } else { Handed::Out };
        let ended = if handed == Handed::Skipped { Ended::Yes } else { Ended::No };
        self.note(Outstanding { position, planned: u64::from(planned), received_at, ended }, after);
        handed
    }

    /// Accounts for `events` that the disk lost at `position`.
    pub(super) fn lose(&mut self, position: Position, after: Position, events: u64) {
        if !self.was_done(position) {
            self.totals.quarantined += events;
        }
        self.note(Outstanding { position, planned: events, received_at: WallTime::from_millis(0), ended: Ended::Yes }, after);
    }

    /// Passes the start of a volume, before which `planned` events were planned for this lane. What the lane did not see
    /// of them, the disk has lost; returns how many.
    pub(super) fn cross(&mut self, start: Position, planned: u64) -> u64 {
        let lost = planned.saturating_sub(self.reader_planned);
        if lost > 0 {
            self.lose(start, start, lost);
        }
        self.pass(start);
        lost
    }

    /// Notes that the log has nothing behind the reader, though events are pending: those are lost. Returns how many.
    pub(super) fn lose_rest(&mut self, planned: u64) -> u64 {
        let lost = planned.saturating_sub(self.totals.sum());
        self.totals.quarantined += lost;
        self.reader_planned = planned;
        self.done_before.clear();
        lost
    }

    /// Notes that there is nothing of this lane between its reader and `until`.
    pub(super) fn pass(&mut self, until: Position) {
        self.reader = self.reader.max(until);
    }

    fn note(&mut self, record: Outstanding, after: Position) {
        self.reader_planned += record.planned;
        self.reader = self.reader.max(after);
        if record.ended == Ended::No || !self.outstanding.is_empty() {
            self.outstanding.push_back(record);
        }
    }

    fn was_done(&mut self, position: Position) -> bool {
        while self.done_before.front().is_some_and(|(_, last)| *last < position) {
            self.done_before.pop_front();
        }
        self.done_before.front().is_some_and(|(first, _)| *first <= position)
    }

    /// Notes how a record ended; returns how many events that completed, 0 when it is not outstanding.
    pub(super) fn complete(&mut self, position: Position, tally: Tally) -> u64 {
        let Ok(index) = self.outstanding.binary_search_by_key(&position, |record| record.position) else { return 0 };
        let record = &mut self.outstanding[index];
        if record.ended == Ended::Yes {
            return 0;
        }
        record.ended = Ended::Yes;
        let planned = record.planned;
        self.totals.add(&fitted(tally, planned));
        self.completed_events += planned;
        while self.outstanding.front().is_some_and(|record| record.ended == Ended::Yes) {
            self.outstanding.pop_front();
        }
        planned
    }

    /// What a cursor has to keep.
    pub(super) fn cursor(&self) -> LaneCursor {
        let seen: u64 = self.outstanding.iter().map(|record| record.planned).sum();
        LaneCursor {
            low: self.outstanding.front().map_or(self.reader, |record| record.position),
            low_planned: self.reader_planned - seen,
            done: self.done_runs(),
            totals: self.totals,
            deferred_until: self.deferred_until,
            held_since: self.held_since,
        }
    }

    /// Notes that the log ends at `end` with `planned` events for this lane: a lane that has seen and completed all of them
    /// stands there, whatever sources the records since belong to.
    pub(super) fn settle(&mut self, end: Position, planned: u64) {
        if self.outstanding.is_empty() && self.reader_planned >= planned {
            self.pass(end);
        }
    }

    /// When the oldest record arrived that was handed out and is not complete.
    pub(super) fn oldest_handed_out(&self) -> Option<WallTime> {
        self.outstanding.front().map(|record| record.received_at)
    }

    fn done_runs(&self) -> Vec<(Position, Position)> {
        let mut runs: Vec<(Position, Position)> = Vec::new();
        let mut joins = Ended::No;
        for record in &self.outstanding {
            match (record.ended, joins, runs.last_mut()) {
                (Ended::Yes, Ended::Yes, Some(run)) => run.1 = record.position,
                (Ended::Yes, ..) => runs.push((record.position, record.position)),
                (Ended::No, ..) => {}
            }
            joins = record.ended;
        }
        runs.extend(self.done_before.iter().filter(|(_, last)| *last >= self.reader));
        runs
    }
}

/// The tally, made to add up to what was planned, so that no event is counted twice or lost from the sums: a caller's
/// mistake shows as purged events and in the log.
pub(super) fn fitted(mut tally: Tally, planned: u64) -> Tally {
    if tally.total() == planned {
        return tally;
    }
    tracing::error!(?tally, planned, "a record was completed with a tally that is not its plan");
    let mut room = u32::try_from(planned).unwrap_or(u32::MAX);
    for count in [
        &mut tally.delivered,
        &mut tally.quarantined,
        &mut tally.deduplicated,
        &mut tally.suppressed,
        &mut tally.expired,
        &mut tally.purged,
    ] {
        *count = (*count).min(room);
        room -= *count;
    }
    tally.purged += room;
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT: Handed = Handed::Out;
    const SKIPPED: Handed = Handed::Skipped;

    fn at(offset: u64) -> Position {
        Position { volume: 1, offset }
    }

    fn delivered(count: u32) -> Tally {
        Tally { delivered: count, ..Tally::default() }
    }

    fn handing_out(offsets: &[u64]) -> LaneState {
        let mut state = LaneState::starting_at(at(0));
        for offset in offsets {
            assert_eq!(state.hand_out(at(*offset), at(offset + 8), 2, WallTime::from_millis(5)), Handed::Out);
        }
        state
    }

    #[test]
    fn what_completes_out_of_order_is_kept_as_runs_and_skipped_by_the_next_consumer() {
        let mut state = handing_out(&[8, 16, 24, 32, 40]);
        for offset in [16, 24, 40] {
            assert_eq!(state.complete(at(offset), delivered(2)), 2);
        }
        let cursor = state.cursor();
        assert_eq!((cursor.low, cursor.low_planned), (at(8), 0));
        assert_eq!(cursor.done, [(at(16), at(24)), (at(40), at(40))]);

        let mut again = LaneState::restored(cursor.clone());
        again.attach();
        let handed: Vec<_> =
            [8, 16, 24, 32, 40, 48].map(|o| again.hand_out(at(o), at(o + 8), 2, WallTime::from_millis(5))).into_iter().collect();
        assert_eq!(handed, [OUT, SKIPPED, SKIPPED, OUT, SKIPPED, OUT]);
        assert_eq!(again.totals.delivered, 6);
    }

    #[test]
    fn a_cursor_in_the_middle_of_a_second_life_keeps_the_runs_of_the_first() {
        let mut first = handing_out(&[8, 16, 24, 32, 40]);
        for offset in [16, 32, 40] {
            first.complete(at(offset), delivered(2));
        }
        let mut second = LaneState::restored(first.cursor());
        second.attach();
        second.hand_out(at(8), at(16), 2, WallTime::from_millis(5));
        second.hand_out(at(16), at(24), 2, WallTime::from_millis(5));
        assert_eq!(second.cursor().done, [(at(16), at(16)), (at(32), at(40))]);
        second.complete(at(8), delivered(2));
        assert_eq!((second.cursor().low, second.cursor().low_planned), (at(24), 4));
    }

    #[test]
    fn a_record_completes_once_and_only_when_it_was_handed_out() {
        let mut state = handing_out(&[8]);
        assert_eq!(state.complete(at(16), delivered(2)), 0);
        assert_eq!(state.complete(at(8), delivered(2)), 2);
        assert_eq!(state.complete(at(8), delivered(2)), 0);
        assert_eq!(state.totals.sum(), 2);
    }

    #[test]
    fn a_tally_that_does_not_add_up_is_made_to() {
        let short = fitted(delivered(1), 3);
        assert_eq!((short.delivered, short.purged), (1, 2));
        let long = fitted(Tally { delivered: 2, quarantined: 2, purged: 9, ..Tally::default() }, 3);
        assert_eq!((long.delivered, long.quarantined, long.purged), (2, 1, 0));
    }

    #[test]
    fn what_a_lane_did_not_see_of_a_volume_is_counted_as_lost_once() {
        let mut state = handing_out(&[8]);
        let next = Position { volume: 2, offset: 0 };
        assert_eq!(state.cross(next, 7), 5);
        assert_eq!(state.totals.quarantined, 5);
        let mut again = LaneState::restored(state.cursor());
        again.attach();
        again.hand_out(at(8), at(16), 2, WallTime::from_millis(5));
        again.cross(next, 7);
        assert_eq!(again.totals.quarantined, 5);
        assert_eq!(again.reader_planned, 7);
    }
}
