//! The ledger: how the events of each source, destination, revision and minute ended (design promise 6).
//!
//! A cell counts the events that arrived in one minute under one revision and were planned for one destination, and how they ended since.
//! The journal has the same sums for each lane, exactly; cells say where they come from. They are saved every few seconds, so after a
//! kill a cell may lack what came since: [`Ledger::reconcile`] then puts the difference to the oldest open cells, which is where a
//! lane, that goes in the order of arrival, has got on.

use std::{
    collections::BTreeMap,
    ops::{AddAssign, Bound},
};

use serde::{Deserialize, Serialize};

use super::words::{Ends, Sums};
use crate::model::{Destination, Revision, SourceId, WallTime};

/// Which events a cell counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) source: SourceId,
    pub(super) destination: Destination,
    /// When its span begins, in minutes since 1970.
    pub(super) minute: i64,
    pub(super) revision: Revision,
    /// How many minutes it spans: 1, an hour's or a day's.
    pub(super) span: i64,
}

/// All cells.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    cells: BTreeMap<Cell, Sums>,
    /// The minute in which it was folded last.
    folded: i64,
    /// Ends that a restart had to put somewhere.
    pub(super) estimated: u64,
    pub(super) is_changed: bool,
}

/// A cell as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    source: String,
    destination: String,
    minute: i64,
    revision: u64,
    span: i64,
    sums: Sums,
}

/// From which age on minutes are told by the hour, and hours by the day.
const MINUTES_KEPT: i64 = 6 * 60;
const HOURS_KEPT: i64 = 60 * 24 * 60;
const HOUR: i64 = 60;
const DAY: i64 = 24 * 60;
/// More cells than this are folded sooner: about 10 MB.
const CELLS_MAX: usize = 60_000;

impl Ledger {
    /// Counts events that were journalled.
    pub(super) fn plan(&mut self, source: &SourceId, destination: Destination, stamp: (Revision, WallTime), events: u64) {
        if events > 0 {
            self.cell(source, destination, stamp).planned += events;
        }
    }

    /// Counts how events ended. Of events that are sent again the cell knows already that they went to quarantine.
    pub(super) fn end(&mut self, source: &SourceId, destination: Destination, stamp: (Revision, WallTime), ends: &Ends) {
        let sums = self.cell(source, destination, stamp);
        sums.ends += ends.sums;
        if ends.is_again {
            sums.ends.quarantined = sums.ends.quarantined.saturating_sub(ends.sums.total());
        }
    }

    fn cell(&mut self, source: &SourceId, destination: Destination, (revision, at): (Revision, WallTime)) -> &mut Sums {
        self.is_changed = true;
        let minute = at.as_millis().div_euclid(60_000);
        let cell = |minute, span| Cell { source: source.clone(), destination, minute, revision, span };
        // What was folded stays folded: an event may end long after its minute.
        let found = [(minute, 1), (floor(minute, HOUR), HOUR), (floor(minute, DAY), DAY)]
            .map(|(minute, span)| cell(minute, span))
            .into_iter()
            .find(|cell| self.cells.contains_key(cell));
        self.cells.entry(found.unwrap_or_else(|| cell(minute, 1))).or_default()
    }

    /// Cells of a source, oldest first; None: of all sources.
    pub(super) fn cells(&self, source: Option<&SourceId>) -> impl Iterator<Item = (&Cell, &Sums)> {
        self.cells.iter().filter(move |(cell, _)| source.is_none_or(|source| cell.source == *source))
    }

    /// The sums of a lane.
    pub(super) fn lane(&self, source: &SourceId, destination: Destination) -> Sums {
        let mut total = Sums::default();
        for (_, sums) in self.of_lane(source, destination) {
            total += *sums;
        }
        total
    }

    fn of_lane(&self, source: &SourceId, destination: Destination) -> impl Iterator<Item = (&Cell, &Sums)> {
        let first = Cell { source: source.clone(), destination, minute: i64::MIN, revision: Revision(0), span: 0 };
        self.cells
            .range((Bound::Included(first), Bound::Unbounded))
            .take_while(move |(cell, _)| cell.source == *source && cell.destination == destination)
    }

    /// Takes in what the journal knows of a lane at a start: what cells lack of it goes to the oldest that are open, and what they
    /// have too much of, as the journal lost it too, is taken from the newest.
    pub(super) fn reconcile(&mut self, source: &SourceId, destination: Destination, journal: &Sums, at: (Revision, WallTime)) {
        let known = self.lane(source, destination);
        let missing = journal.planned.saturating_sub(known.planned);
        self.plan(source, destination, at, missing);
        let mut lacking = journal.ends.minus(&known.ends);
        self.estimated += lacking.total();
        let keys: Vec<Cell> = self.of_lane(source, destination).map(|(cell, _)| cell.clone()).collect();
        for key in keys {
            if lacking.total() == 0 {
                break;
            }
            let Some(sums) = self.cells.get_mut(&key) else { continue };
            let room = sums.pending();
            let taken = lacking.take(room);
            sums.ends += taken;
        }
        self.is_changed = true;
    }

    /// Makes old cells coarser, and all when there are too many: once a minute, however often it is asked.
    pub(super) fn fold(&mut self, now: WallTime) {
        let now = now.as_millis().div_euclid(60_000);
        if std::mem::replace(&mut self.folded, now) == now {
            return;
        }
        self.fold_older(now - MINUTES_KEPT, 1, HOUR);
        self.fold_older(now - HOURS_KEPT, HOUR, DAY);
        let mut kept = MINUTES_KEPT;
        while self.cells.len() > CELLS_MAX && kept > HOUR {
            kept /= 2;
            self.fold_older(now - kept, 1, HOUR);
        }
        let mut kept = HOURS_KEPT;
        while self.cells.len() > CELLS_MAX && kept > DAY {
            kept /= 2;
            self.fold_older(now - kept, HOUR, DAY);
        }
    }

    fn fold_older(&mut self, before: i64, from: i64, to: i64) {
        let old: Vec<Cell> = self.cells.keys().filter(|cell| cell.span == from && floor(cell.minute, to) + to <= before).cloned().collect();
        for cell in old {
            let Some(sums) = self.cells.remove(&cell) else { continue };
            let folded = Cell { minute: floor(cell.minute, to), span: to, ..cell };
            *self.cells.entry(folded).or_default() += sums;
            self.is_changed = true;
        }
    }

    pub(super) fn save(&self) -> Vec<Saved> {
        let saved = |(cell, sums): (&Cell, &Sums)| Saved {
            source: cell.source.as_str().to_owned(),
            destination: cell.destination.label().to_owned(),
            minute: cell.minute,
            revision: cell.revision.0,
            span: cell.span,
            sums: *sums,
        };
        self.cells.iter().map(saved).collect()
    }

    pub(super) fn load(saved: Vec<Saved>) -> Self {
        let cell = |saved: Saved| {
            let source = SourceId::parse(&saved.source).ok()?;
            let destination = Destination::ALL.into_iter().find(|destination| destination.label() == saved.destination)?;
            Some((Cell { source, destination, minute: saved.minute, revision: Revision(saved.revision), span: saved.span }, saved.sums))
        };
        Self { cells: saved.into_iter().filter_map(cell).collect(), ..Self::default() }
    }
}

const fn floor(minute: i64, span: i64) -> i64 {
    minute.div_euclid(span) * span
}

impl AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.planned += other.planned;
        self.ends += other.ends;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::words::EndSums, model::Dice};

    fn at(minutes: i64) -> WallTime {
        WallTime::from_millis(minutes * 60_000 + 1_234)
    }

    fn web() -> SourceId {
        SourceId::parse("web").unwrap()
    }

    fn delivered(events: u64) -> Ends {
        Ends { sums: EndSums { delivered: events, ..EndSums::default() }, is_again: false }
    }

    const TO: Destination = Destination::RudderStack;

    #[test]
    fn events_count_in_the_minute_and_under_the_revision_that_they_came() {
        let mut ledger = Ledger::default();
        ledger.plan(&web(), TO, (Revision(1), at(10)), 3);
        ledger.plan(&web(), TO, (Revision(2), at(10)), 2);
        ledger.plan(&web(), TO, (Revision(2), at(11)), 4);
        // A day later.
        ledger.end(&web(), TO, (Revision(1), at(10)), &delivered(2));
        let told: Vec<_> = ledger.cells(None).map(|(cell, sums)| (cell.minute, cell.revision.0, sums.planned, sums.pending())).collect();
        assert_eq!(told, [(10, 1, 3, 1), (10, 2, 2, 2), (11, 2, 4, 4)]);
        let sums = ledger.lane(&web(), TO);
        assert_eq!((sums.planned, sums.ends.delivered, sums.pending()), (9, 2, 7));
        assert_eq!(ledger.lane(&web(), Destination::Segment), Sums::default());
    }

    #[test]
    fn what_is_sent_again_leaves_the_quarantine() {
        let mut ledger = Ledger::default();
        ledger.plan(&web(), TO, (Revision(1), at(10)), 2);
        let refused = Ends { sums: EndSums { quarantined: 2, ..EndSums::default() }, is_again: false };
        ledger.end(&web(), TO, (Revision(1), at(10)), &refused);
        ledger.end(&web(), TO, (Revision(1), at(10)), &Ends { is_again: true, ..delivered(1) });
        let sums = ledger.lane(&web(), TO);
        assert_eq!((sums.ends.quarantined, sums.ends.delivered, sums.pending()), (1, 1, 0));
    }

    #[test]
    fn old_minutes_are_told_by_the_hour_and_events_of_them_still_end() {
        let mut ledger = Ledger::default();
        for minute in 0..180 {
            ledger.plan(&web(), TO, (Revision(1), at(minute)), 1);
        }
        ledger.fold(at(MINUTES_KEPT + 125));
        let told: Vec<_> = ledger.cells(None).map(|(cell, sums)| (cell.minute, cell.span, sums.planned)).collect();
        assert_eq!(told[..3], [(0, 60, 60), (60, 60, 60), (120, 1, 1)], "and what is younger, by the minute");
        assert_eq!(told.len(), 2 + 60, "{told:?}");
        ledger.end(&web(), TO, (Revision(1), at(30)), &delivered(1));
        assert_eq!(ledger.cells(None).next().unwrap().1.ends.delivered, 1);
        ledger.fold(at(HOURS_KEPT + 2 * DAY));
        assert_eq!(ledger.cells(None).map(|(cell, sums)| (cell.span, sums.planned)).collect::<Vec<_>>(), [(DAY, 180)]);
    }

    #[test]
    fn after_a_kill_the_sums_are_the_journals() {
        for seed in 0..200 {
            let mut dice = Dice::new(seed);
            let mut ledger = Ledger::default();
            let (mut planned, mut ended) = (0, 0);
            for minute in 0..20 {
                let events = dice.below(5);
                planned += events;
                ledger.plan(&web(), TO, (Revision(minute), at(minute.cast_signed())), events);
                let ends = dice.below(planned - ended + 1);
                ended += ends;
                ledger.reconcile(&web(), TO, &sums(planned, ended), (Revision(minute), at(minute.cast_signed())));
            }
            // Of what followed the ledger heard nothing.
            let (more, ends) = (dice.below(50), dice.below(10));
            let journal = sums(planned + more, (ended + ends).min(planned + more));
            ledger.reconcile(&web(), TO, &journal, (Revision(20), at(20)));
            assert_eq!(ledger.lane(&web(), TO), journal, "seed {seed}");
            assert!(
                ledger.cells(None).all(|(_, sums)| sums.ends.total() <= sums.planned),
                "seed {seed}: no cell has more ends than events"
            );
        }
    }

    fn sums(planned: u64, delivered: u64) -> Sums {
        Sums { planned, ends: EndSums { delivered, ..EndSums::default() } }
    }

    #[test]
    fn what_is_saved_comes_back() {
        let mut ledger = Ledger::default();
        ledger.plan(&web(), TO, (Revision(3), at(10)), 2);
        ledger.end(&web(), TO, (Revision(3), at(10)), &delivered(1));
        let text = serde_json::to_string(&ledger.save()).unwrap();
        let again = Ledger::load(serde_json::from_str(&text).unwrap());
        assert_eq!(again.cells, ledger.cells);
    }
}
