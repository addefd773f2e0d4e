//! What lanes still have to get, as an archive tells it.

use std::collections::BTreeMap;

use super::{
    archive::{LaneSummary, Waits},
    cursor::{SavedLane, Snapshot},
    words::{LaneId, Position},
};
use crate::model::{PerDestination, SourceId, WallTime};

/// What lanes still have to get, counted along the log.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    rows: BTreeMap<LaneId, Row>,
    /// Of the volume at hand.
    here: BTreeMap<LaneId, u64>,
}

#[derive(Debug, Default)]
struct Row {
    low: Position,
    done: Vec<(Position, Position)>,
    pending: u64,
    oldest: Option<WallTime>,
    quarantined: u64,
}

impl Lanes {
    pub(super) fn new(saved: Option<&Snapshot>) -> Self {
        let row = |lane: &SavedLane| {
            let cursor = &lane.cursor;
            (lane.id.clone(), Row { low: cursor.low, done: cursor.done.clone(), ..Row::default() })
        };
        Self { rows: saved.iter().flat_map(|saved| &saved.lanes).map(row).collect(), here: BTreeMap::new() }
    }

    /// Counts a record, and tells which lanes wait for it.
    pub(super) fn see(
        &mut self,
        source: &SourceId,
        position: Position,
        planned: PerDestination<u32>,
        at: WallTime,
    ) -> PerDestination<Waits> {
        PerDestination::from_fn(|destination| {
            let events = u64::from(*planned.of(destination));
            if events == 0 {
                return Waits::No;
            }
            let id = LaneId { source: source.clone(), destination };
            let row = self.rows.entry(id.clone()).or_default();
            if position < row.low || row.done.iter().any(|(first, last)| (*first..=*last).contains(&position)) {
                return Waits::No;
            }
            row.pending += events;
            row.oldest.get_or_insert(at);
            *self.here.entry(id).or_default() += events;
            Waits::Yes
        })
    }

    /// What waits in the volume that ends here.
    pub(super) fn end_volume(&mut self) -> Vec<(LaneId, u64)> {
        std::mem::take(&mut self.here).into_iter().collect()
    }

    pub(super) fn quarantined(&mut self, lane: &LaneId) {
        self.rows.entry(lane.clone()).or_default().quarantined += 1;
    }

    pub(super) fn summaries(self) -> Vec<LaneSummary> {
        let summary = |(id, row): (LaneId, Row)| {
            let Row { low, pending, oldest, quarantined, .. } = row;
            LaneSummary { id, cursor: low, pending, oldest, quarantined }
        };
        self.rows.into_iter().map(summary).collect()
    }
}
