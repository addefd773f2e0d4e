//! Events that were seen as they passed: the newest, with what became of them.

use std::collections::{HashMap, VecDeque};

use crate::wire::{Tap, TapOutcome, TapRow};

/// Events that are kept: about four megabytes.
const EVENTS_MAX: usize = 5_000;

/// The newest events that were shown to this viewer.
#[derive(Debug, Clone, Default)]
pub(super) struct Tapped {
    rows: VecDeque<Passed>,
    first: u64,
    numbers: HashMap<u64, u64>,
    /// Events that came, a second, when it was last told.
    pub(super) seen_per_second: f64,
    /// Events that were shown, a second.
    pub(super) shown_per_second: f64,
    /// Events that were picked and had no room, since the tap was opened.
    pub(super) lost: u64,
}

/// One event, and what became of it.
#[derive(Debug, Clone)]
pub(super) struct Passed {
    pub(super) row: TapRow,
    pub(super) segment: Option<TapOutcome>,
    pub(super) rudderstack: Option<TapOutcome>,
}

impl Tapped {
    /// Takes in what passed.
    pub(super) fn take(&mut self, tap: Tap) {
        if tap.over_ms > 0 {
            self.seen_per_second = per_second(tap.seen, tap.over_ms);
            self.shown_per_second = per_second(tap.shown, tap.over_ms);
        }
        self.lost += tap.lost;
        for row in tap.rows {
            self.numbers.insert(row.id, self.first + self.rows.len() as u64);
            self.rows.push_back(Passed { row, segment: None, rudderstack: None });
        }
        while self.rows.len() > EVENTS_MAX {
            if let Some(gone) = self.rows.pop_front() {
                self.numbers.remove(&gone.row.id);
                self.first += 1;
            }
        }
        for outcome in tap.outcomes {
            let place = self.numbers.get(&outcome.id).and_then(|number| usize::try_from(number - self.first).ok());
            let Some(passed) = place.and_then(|place| self.rows.get_mut(place)) else { continue };
            let side = if outcome.destination == "segment" { &mut passed.segment } else { &mut passed.rudderstack };
            *side = Some(outcome);
        }
    }

    /// The events, oldest first.
    pub(super) fn rows(&self) -> impl DoubleEndedIterator<Item = &Passed> + ExactSizeIterator {
        self.rows.iter()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a pace is not exact")]
fn per_second(events: u64, over_ms: u64) -> f64 {
    events as f64 * 1e3 / over_ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::schema;

    fn tap(rows: std::ops::Range<u64>, outcomes: Vec<TapOutcome>) -> Tap {
        let row = |id: u64| TapRow {
            id,
            at: String::new(),
            source: "web".to_owned(),
            kind: None,
            name: None,
            message_id: id.to_string(),
            person: None,
            app: None,
            segment: true,
            rudderstack: true,
        };
        Tap { schema: schema::TAP.to_owned(), seen: 10, shown: 5, lost: 1, over_ms: 500, rows: rows.map(row).collect(), outcomes }
    }

    #[test]
    fn outcomes_find_their_events_while_those_are_kept() {
        let outcome =
            |id: u64| TapOutcome { id, destination: "segment".to_owned(), outcome: "delivered".to_owned(), status: 200, took_ms: 9 };
        let mut tapped = Tapped::default();
        tapped.take(tap(0..3, Vec::new()));
        tapped.take(tap(3..4, vec![outcome(1), outcome(99)]));
        let delivered: Vec<u64> = tapped.rows().filter(|passed| passed.segment.is_some()).map(|passed| passed.row.id).collect();
        assert_eq!((delivered, tapped.lost, tapped.seen_per_second), (vec![1], 2, 20.0));
        tapped.take(tap(4..6_000, vec![outcome(0), outcome(5_999)]));
        assert_eq!(tapped.rows().len(), EVENTS_MAX);
        assert!(tapped.rows().last().is_some_and(|passed| passed.segment.is_some()));
        assert!(tapped.rows().next().is_some_and(|passed| passed.row.id == 1_000 && passed.segment.is_none()));
    }
}
