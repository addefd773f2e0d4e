//! What the cursors of all lanes say together, and its bytes.

use std::sync::Arc;

use super::{
    bytes::{Fields, destination_code, push_source},
    lane_state::{LaneCursor, Totals},
    shared::{Log, Shared},
    stock::{Stock, lock},
    words::{LaneId, Position},
};
use crate::model::{Destination, PerDestination, Revision, WallTime};

/// The state of all lanes at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Snapshot {
    /// Where the log ended.
    pub end: Position,
    /// The newest revision raised or appended.
    pub revision: Revision,
    pub lanes: Vec<SavedLane>,
}

/// One lane in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SavedLane {
    pub id: LaneId,
    /// Events planned for it up to the snapshot's end.
    pub planned: u64,
    pub cursor: LaneCursor,
}

/// What becomes true when a snapshot is durable, for each lane.
pub(super) type Saved = Vec<SavedState>;

/// What becomes true of one lane.
pub(super) struct SavedState {
    pub stock: Arc<Stock>,
    pub destination: Destination,
    /// How many events it had completed.
    pub completed_events: u64,
    /// Everything of the lane before here is complete.
    pub low: Position,
}

/// Takes the state of all lanes.
pub(super) fn snapshot(shared: &Shared) -> (Snapshot, Saved) {
    let stocks = shared.all_stocks();
    // The log first: what a lane completes after this is behind `end` or within `planned`, never counted twice.
    let (end, planned) = {
        let log = lock(&shared.log);
        (log.end(), log.planned.clone())
    };
    let mut lanes = Vec::with_capacity(stocks.len() * 2);
    let mut saved = Vec::with_capacity(stocks.len() * 2);
    for stock in stocks {
        for destination in Destination::ALL {
            let planned = planned.get(stock.ordinal).map_or(0, |sums| *sums.of(destination));
            let mut state = lock(&stock.lanes.of(destination).state);
            state.settle(end, planned);
            let cursor = state.cursor();
            saved.push(SavedState { stock: Arc::clone(&stock), destination, completed_events: state.completed_events, low: cursor.low });
            drop(state);
            if planned > 0 || cursor.totals.sum() > 0 || cursor.held_until.is_some() {
                let id = LaneId { source: stock.source.clone(), destination };
                lanes.push(SavedLane { id, planned, cursor });
            }
        }
    }
    (Snapshot { end, revision: shared.revision(), lanes }, saved)
}

impl Log {
    /// Notes what a durable cursor says of every lane.
    pub(super) fn note_lows(&mut self, end: Position, saved: &Saved) {
        self.saved_end = end;
        for SavedState { stock, destination, low, .. } in saved {
            let count = self.lows.len().max(stock.ordinal + 1);
            self.lows.resize(count, PerDestination::default());
            *self.lows[stock.ordinal].of_mut(*destination) = *low;
        }
    }
}

impl Snapshot {
    /// Before here every lane has passed everything. Lanes that no consumer takes hold it back as long as they have
    /// something pending.
    pub(super) fn low(&self) -> Position {
        self.lanes.iter().map(|lane| lane.cursor.low).fold(self.end, Position::min)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.lanes.len() * 140);
        push_position(&mut out, self.end);
        out.extend_from_slice(&self.revision.0.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.lanes.len()).unwrap_or(u32::MAX).to_le_bytes());
        for lane in &self.lanes {
            push_lane(&mut out, lane);
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let end = position(&mut fields)?;
        let revision = Revision(fields.u64()?);
        let count = fields.u32()?;
        let mut lanes = Vec::new();
        for _ in 0..count {
            lanes.push(lane(&mut fields)?);
        }
        Some(Self { end, revision, lanes })
    }
}

fn push_position(out: &mut Vec<u8>, position: Position) {
    out.extend_from_slice(&position.volume.to_le_bytes());
    out.extend_from_slice(&position.offset.to_le_bytes());
}

fn position(fields: &mut Fields<'_>) -> Option<Position> {
    Some(Position { volume: fields.u64()?, offset: fields.u64()? })
}

fn push_lane(out: &mut Vec<u8>, lane: &SavedLane) {
    let LaneCursor { low, low_planned, done, totals, held_until } = &lane.cursor;
    push_source(out, &lane.id.source);
    out.push(destination_code(lane.id.destination));
    out.extend_from_slice(&lane.planned.to_le_bytes());
    push_position(out, *low);
    out.extend_from_slice(&low_planned.to_le_bytes());
    for sum in [totals.delivered, totals.quarantined, totals.deduplicated, totals.suppressed, totals.expired, totals.purged] {
        out.extend_from_slice(&sum.to_le_bytes());
    }
    out.push(u8::from(held_until.is_some()));
    out.extend_from_slice(&held_until.map_or(0, WallTime::as_millis).to_le_bytes());
    out.extend_from_slice(&u32::try_from(done.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (first, last) in done {
        push_position(out, *first);
        push_position(out, *last);
    }
}

fn lane(fields: &mut Fields<'_>) -> Option<SavedLane> {
    let id = LaneId { source: fields.source()?, destination: fields.destination()? };
    let planned = fields.u64()?;
    let low = position(fields)?;
    let low_planned = fields.u64()?;
    let totals = Totals {
        delivered: fields.u64()?,
        quarantined: fields.u64()?,
        deduplicated: fields.u64()?,
        suppressed: fields.u64()?,
        expired: fields.u64()?,
        purged: fields.u64()?,
    };
    let held = fields.u8()? == 1;
    let until = WallTime::from_millis(fields.i64()?);
    let count = fields.u32()?;
    let mut done = Vec::new();
    for _ in 0..count {
        done.push((position(fields)?, position(fields)?));
    }
    let held_until = held.then_some(until);
    Some(SavedLane { id, planned, cursor: LaneCursor { low, low_planned, done, totals, held_until } })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::SourceId;

    fn any_snapshot() -> Snapshot {
        let at = |volume, offset| Position { volume, offset };
        let totals = Totals { delivered: 1, quarantined: 2, deduplicated: 3, suppressed: 4, expired: 5, purged: 6 };
        let held_until = Some(WallTime::from_millis(-7));
        let done = vec![(at(3, 80), at(3, 96)), (at(4, 64), at(4, 64))];
        let cursor = LaneCursor { low: at(3, 64), low_planned: 12, done, totals, held_until };
        let id = |text: &str, destination| LaneId { source: SourceId::parse(text).unwrap(), destination };
        let idle = LaneCursor { low: at(9, 9), ..LaneCursor::default() };
        Snapshot {
            end: at(9, 9),
            revision: Revision(41),
            lanes: vec![
                SavedLane { id: id("web", Destination::Segment), planned: 40, cursor },
                SavedLane { id: id("ios.app-2", Destination::RudderStack), planned: 0, cursor: idle },
            ],
        }
    }

    #[test]
    fn a_snapshot_reads_back_as_it_was() {
        let snapshot = any_snapshot();
        assert_eq!(Snapshot::decode(&snapshot.encode()), Some(snapshot));
    }

    #[test]
    fn volumes_are_free_below_the_slowest_lane() {
        assert_eq!(any_snapshot().low(), Position { volume: 3, offset: 64 });
        assert_eq!(Snapshot { end: Position { volume: 3, offset: 1 }, ..Snapshot::default() }.low(), Position { volume: 3, offset: 1 });
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_snapshot_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..400), cut in 0_usize..300) {
            Snapshot::decode(&bytes);
            let whole = any_snapshot().encode();
            let cut = cut.min(whole.len() - 1);
            prop_assert_eq!(Snapshot::decode(&whole[..cut]), None);
        }
    }
}
