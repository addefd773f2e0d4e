//! What stands in quarantine, as memory knows it: everything but the events themselves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    super::{
        Tally,
        lane_state::{Totals, fitted},
        words::{LaneId, Pick, Position, QuarantineId, QuarantineRow},
    },
    frames::Head,
};
use crate::model::WallTime;

/// Everything in quarantine. Its lock is never held while the disk works.
#[derive(Debug, Default)]
pub(super) struct Index {
    rows: BTreeMap<u64, Row>,
    lanes: HashMap<LaneId, LaneRows>,
    reasons: HashSet<Arc<str>>,
    /// Entries whose record has not come to its end.
    unsettled: HashMap<(LaneId, Position), Vec<u64>>,
    /// By number, the oldest first.
    pub files: BTreeMap<u64, FileRow>,
    /// A number that no entry has had.
    pub next_id: u64,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Row {
    pub lane: LaneId,
    pub place: Place,
    pub state: State,
    origin: Position,
    index: u32,
    events: u32,
    status: u16,
    reason: Arc<str>,
    at: WallTime,
}

/// Where an entry's frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub file: u64,
    pub offset: u64,
    pub bytes: u64,
}

/// Where an entry is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its record is still pending: it does not count yet, and nobody can decide about it.
    Unsettled(Kept),
    /// Somebody has to decide.
    Waiting,
    /// It is to be sent again.
    Due,
    /// Its lane has it.
    Out,
}

/// Whether the lane's present consumer kept the entry, or one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    Now,
    Before,
}

/// One lane's part.
#[derive(Debug, Default)]
struct LaneRows {
    /// How entries that are no more had ended; the same, as far as the disk knows it.
    ended: Totals,
    written: Totals,
    /// Entries that are no more, and no mark says so yet.
    unwritten: Vec<(u64, Tally)>,
    due: BTreeSet<u64>,
    /// Events to be sent again, those that the lane has included.
    due_events: u64,
}

/// One file.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FileRow {
    /// Bytes of frames.
    pub bytes: u64,
    /// Bytes of frames of entries that are still there.
    pub live_bytes: u64,
}

/// A lane's entries that are no more, and no mark says so.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub lane: LaneId,
    /// How all of the lane's entries have ended, these included.
    pub ended: Totals,
    pub ids: Vec<(u64, Tally)>,
}

/// What the ledger of a lane takes from the quarantine.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Account {
    pub due_events: u64,
    pub ended: Totals,
}

impl Index {
    /// Nothing. The first entry has the number 1.
    pub(super) fn new() -> Self {
        Self { next_id: 1, ..Self::default() }
    }

    /// Puts an entry in, or at its new place.
    pub(super) fn insert(&mut self, head: Head, place: Place, state: State) {
        let id = head.id.0;
        self.next_id = self.next_id.max(id + 1);
        self.remove(id);
        let reason = self.reasons.get(head.reason.as_str()).cloned().unwrap_or_else(|| Arc::from(head.reason));
        self.reasons.insert(Arc::clone(&reason));
        self.files.entry(place.file).or_default().live_bytes += place.bytes;
        let lane = self.lanes.entry(head.lane.clone()).or_default();
        match state {
            State::Due => {
                lane.due.insert(id);
                lane.due_events += u64::from(head.events);
            }
            State::Unsettled(_) => self.unsettled.entry((head.lane.clone(), head.origin)).or_default().push(id),
            State::Waiting | State::Out => {}
        }
        let Head { lane, origin, index, events, status, at, .. } = head;
        self.rows.insert(id, Row { lane, place, state, origin, index, events, status, reason, at });
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, id: u64) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        if let Some(file) = self.files.get_mut(&row.place.file) {
            file.live_bytes = file.live_bytes.saturating_sub(row.place.bytes);
        }
        if let (State::Due | State::Out, Some(lane)) = (row.state, self.lanes.get_mut(&row.lane)) {
            lane.due.remove(&id);
            lane.due_events = lane.due_events.saturating_sub(u64::from(row.events));
        }
        // The set holds one, the row the other.
        if Arc::strong_count(&row.reason) <= 2 {
            self.reasons.remove(&row.reason);
        }
        Some(row)
    }

    pub(super) fn row(&self, id: u64) -> Option<&Row> {
        self.rows.get(&id)
    }

    pub(super) fn entries(&self) -> usize {
        self.rows.len()
    }

    /// The file's entries, with their state.
    pub(super) fn of_file(&self, file: u64) -> Vec<(u64, State, Place)> {
        let ours = self.rows.iter().filter(|(_, row)| row.place.file == file);
        ours.map(|(id, row)| (*id, row.state, row.place)).collect()
    }

    /// Notes that an entry's frame stands elsewhere now.
    pub(super) fn moved(&mut self, id: u64, place: Place) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let before = std::mem::replace(&mut row.place, place);
        if let Some(file) = self.files.get_mut(&before.file) {
            file.live_bytes = file.live_bytes.saturating_sub(before.bytes);
        }
        self.files.entry(place.file).or_default().live_bytes += place.bytes;
    }

    /// Whether this event of this record is there already and unsettled; if so, the present consumer kept it.
    pub(super) fn keep_again(&mut self, lane: &LaneId, origin: Position, index: u32) -> bool {
        let ids = self.unsettled.get(&(lane.clone(), origin)).map_or(&[][..], Vec::as_slice);
        for id in ids {
            if let Some(row) = self.rows.get_mut(id).filter(|row| row.index == index) {
                row.state = State::Unsettled(Kept::Now);
                return true;
            }
        }
        false
    }

    /// A record has come to its end: what was kept of it counts from now on; what only an earlier consumer had kept of it is void.
    pub(super) fn settle(&mut self, lane: &LaneId, origin: Position) {
        for id in self.unsettled.remove(&(lane.clone(), origin)).unwrap_or_default() {
            match self.rows.get_mut(&id) {
                Some(row) if row.state == State::Unsettled(Kept::Now) => row.state = State::Waiting,
                Some(_) => {
                    self.remove(id);
                    self.lanes.entry(lane.clone()).or_default().unwritten.push((id, Tally::default()));
                }
                None => {}
            }
        }
    }

    /// As read from disk: entries whose record is not complete do not count yet. The lane will meet that record again.
    pub(super) fn unsettle(&mut self, is_complete: impl Fn(&LaneId, Position) -> bool) {
        let open = |row: &Row| match row.origin.quarantine_id() {
            Some(parent) => self.rows.contains_key(&parent.0),
            None => !is_complete(&row.lane, row.origin),
        };
        let ids: Vec<u64> = self.rows.iter().filter(|(_, row)| row.state == State::Waiting && open(row)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(row) = self.rows.get_mut(&id) {
                row.state = State::Unsettled(Kept::Before);
                self.unsettled.entry((row.lane.clone(), row.origin)).or_default().push(id);
            }
        }
    }

    /// The entries of a lane, in whatever state.
    pub(super) fn of_lane(&self, lane: &LaneId) -> Vec<u64> {
        self.rows.iter().filter(|(_, row)| row.lane == *lane).map(|(id, _)| *id).collect()
    }

    pub(super) fn has_unsettled(&self, lane: &LaneId) -> bool {
        self.unsettled.keys().any(|(of, _)| of == lane)
    }

    /// An entry that was sent again has come to its end. What was refused again stands in quarantine under a number of its own.
    pub(super) fn end(&mut self, id: u64, tally: Tally) {
        if !self.rows.get(&id).is_some_and(|row| row.state == State::Out) {
            return;
        }
        let Some(row) = self.remove(id) else { return };
        let tally = Tally { quarantined: 0, ..fitted(tally, u64::from(row.events)) };
        let lane = self.lanes.entry(row.lane).or_default();
        lane.ended.add(&tally);
        lane.unwritten.push((id, tally));
    }

    /// A new consumer takes the lane: it gets again what the one before had.
    pub(super) fn attach(&mut self, lane: &LaneId) {
        let Some(ours) = self.lanes.get_mut(lane) else { return };
        for (id, row) in self.rows.iter_mut().filter(|(_, row)| row.lane == *lane) {
            match row.state {
                State::Out => {
                    row.state = State::Due;
                    ours.due.insert(*id);
                }
                State::Unsettled(_) => row.state = State::Unsettled(Kept::Before),
                State::Waiting | State::Due => {}
            }
        }
    }

    /// The next entry that the lane is to send again; None also while too many ends are not on disk.
    pub(super) fn next_due(&self, lane: &LaneId, unwritten_max: usize) -> Option<u64> {
        let lane = self.lanes.get(lane)?;
        if lane.unwritten.len() >= unwritten_max { None } else { lane.due.first().copied() }
    }

    /// Notes that the lane has an entry; how many events it stands for. None: it has not, or had it before.
    pub(super) fn hand_out(&mut self, id: u64) -> Option<u32> {
        let row = self.rows.get_mut(&id).filter(|row| row.state == State::Due)?;
        row.state = State::Out;
        self.lanes.get_mut(&row.lane)?.due.remove(&id);
        Some(row.events)
    }

    /// Lanes with something to send again.
    pub(super) fn lanes_due(&self) -> Vec<LaneId> {
        self.lanes.iter().filter(|(_, lane)| !lane.due.is_empty()).map(|(id, _)| id.clone()).collect()
    }

    /// Makes entries due.
    pub(super) fn make_due(&mut self, ids: &[u64]) {
        for id in ids {
            let Some(row) = self.rows.get_mut(id).filter(|row| row.state == State::Waiting) else { continue };
            row.state = State::Due;
            let lane = self.lanes.entry(row.lane.clone()).or_default();
            lane.due.insert(*id);
            lane.due_events += u64::from(row.events);
        }
    }

    /// The entries that somebody can decide about and means, by lane; and how many events they stand for.
    pub(super) fn pick(&self, pick: &Pick) -> BTreeMap<LaneId, Vec<(u64, u32)>> {
        let mut picked: BTreeMap<LaneId, Vec<(u64, u32)>> = BTreeMap::new();
        for (id, row) in self.meant(pick, QuarantineId(0)) {
            picked.entry(row.lane.clone()).or_default().push((*id, row.events));
        }
        picked
    }

    /// Rows for people: those behind `after`, at most `count`.
    pub(super) fn page(&self, pick: &Pick, after: QuarantineId, count: usize) -> Vec<QuarantineRow> {
        let row = |(id, row): (&u64, &Row)| QuarantineRow {
            id: QuarantineId(*id),
            lane: row.lane.clone(),
            events: row.events,
            reason: Arc::clone(&row.reason),
            status: row.status,
            at: row.at,
        };
        self.meant(pick, after).take(count).map(row).collect()
    }

    fn meant<'a>(&'a self, pick: &'a Pick, after: QuarantineId) -> impl Iterator<Item = (&'a u64, &'a Row)> {
        let fits = |row: &Row| {
            row.state == State::Waiting
                && pick.source.as_ref().is_none_or(|source| row.lane.source == *source)
                && pick.destination.is_none_or(|destination| row.lane.destination == destination)
                && pick.reason.as_ref().is_none_or(|reason| row.reason.contains(reason.as_str()))
        };
        let from = after.0.saturating_add(1);
        let range = pick.id.map_or(from..=u64::MAX, |id| id.0.max(from)..=id.0.max(from));
        self.rows.range(range).filter(move |(id, _)| pick.id.is_none_or(|meant| meant.0 == **id)).filter(move |(_, row)| fits(row))
    }

    /// What the ledgers of all lanes take from here.
    pub(super) fn accounts(&self) -> HashMap<LaneId, Account> {
        self.lanes.iter().map(|(id, lane)| (id.clone(), Account { due_events: lane.due_events, ended: lane.ended })).collect()
    }

    /// Lanes with entries that are no more and that no mark says so of; with how all of them will have ended then.
    pub(super) fn unwritten(&mut self) -> Vec<Unwritten> {
        let lanes = self.lanes.iter_mut().filter(|(_, lane)| !lane.unwritten.is_empty());
        let taken = lanes.map(|(id, lane)| {
            let ids = std::mem::take(&mut lane.unwritten);
            let mut ended = lane.written;
            for (_, tally) in &ids {
                ended.add(tally);
            }
            Unwritten { lane: id.clone(), ended, ids }
        });
        taken.collect()
    }

    /// Whether there are such lanes.
    pub(super) fn has_unwritten(&self) -> bool {
        self.lanes.values().any(|lane| !lane.unwritten.is_empty())
    }

    /// Puts back what could not be written.
    pub(super) fn still_unwritten(&mut self, lane: &LaneId, ids: Vec<(u64, Tally)>) {
        self.lanes.entry(lane.clone()).or_default().unwritten.extend(ids);
    }

    /// Notes how the lane's entries have ended as far as the disk knows.
    pub(super) fn set_written(&mut self, lane: &LaneId, ended: Totals) {
        self.lanes.entry(lane.clone()).or_default().written = ended;
    }

    /// As read from disk: nothing is unwritten.
    pub(super) fn restore_ended(&mut self, lane: &LaneId, ended: Totals) {
        let lane = self.lanes.entry(lane.clone()).or_default();
        (lane.ended, lane.written) = (ended, ended);
    }

    pub(super) fn written_of(&self, lane: &LaneId) -> Totals {
        self.lanes.get(lane).map(|lane| lane.written).unwrap_or_default()
    }

    /// What the disk knows of lanes whose entries have ended.
    pub(super) fn all_written(&self) -> Vec<(LaneId, Totals)> {
        self.lanes.iter().filter(|(_, lane)| lane.written.sum() > 0).map(|(id, lane)| (id.clone(), lane.written)).collect()
    }

    /// Purges entries: the mark that says so is on disk.
    pub(super) fn purge(&mut self, lane: &LaneId, ids: &[(u64, u32)]) {
        for (id, events) in ids {
            if self.remove(*id).is_some() {
                let lane = self.lanes.entry(lane.clone()).or_default();
                lane.ended.purged += u64::from(*events);
                lane.written.purged += u64::from(*events);
            }
        }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }

    /// Bytes of entries that are still there.
    pub(super) fn live_bytes(&self) -> u64 {
        self.files.values().map(|file| file.live_bytes).sum()
    }
}
