//! Events that a destination refuses for good, in files of their own: the log's framing, synced one by one.
//!
//! An entry waits until somebody decides: *re-driven*, its lane sends it again, and it is gone when that came to an end;
//! *released*, it is given up. Each step is one frame: an entry, or a mark that says what became of some entries of one lane.
//! A mark carries how all the lane's entries had ended that are no more, so that the oldest file can go with what is in it.
//!
//! Where an event is in the ledger follows from that alone. What the lane counted as quarantined is
//! `waiting + due + ended`, of which the ledger shows `due` as pending and `ended` as delivered, purged and so on.
//!
//! An entry counts once its record is complete. One whose record is not was kept just before a crash: it will be refused
//! again, or it is void. So nothing is decided before the cursor that completes its record is durable.

mod frames;
mod index;
mod store;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, io, sync::Mutex};

pub(super) use self::index::Account;
use self::{
    frames::{Fate, Marks, Stand},
    index::{Index, Kept, State, Unwritten},
    store::{Need, Store, budget},
};
use super::{
    Disk, QuarantineError, Quarantined, Tally, UNSAVED_COMPLETIONS_MAX,
    format::{Epoch, Kind},
    names,
    shared::Shared,
    stock::lock,
    words::{LaneId, Moved, Pick, Position, QuarantineId, QuarantineRow},
};

/// How many entries there may be: each costs some memory.
const ENTRIES_MAX: usize = 200_000;
/// How many entries one mark is about.
const MARK_IDS_MAX: usize = 4096;

/// The quarantine.
#[derive(Debug)]
pub(super) struct Quarantine {
    /// Taken before the index, and held while the disk works.
    store: Mutex<Store>,
    index: Mutex<Index>,
    /// The name of the file for each place that could not be read at the start.
    pub damaged: Vec<String>,
}

/// What is to be done with entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Send them again.
    Redrive,
    /// Give them up.
    Release,
}

impl Quarantine {
    /// Finds out what is in these files; what cannot be read of them is skipped. `is_complete` tells whether a lane has a record
    /// behind it for good.
    pub(super) fn load(disk: &dyn Disk, epoch: Epoch, mut ids: Vec<u64>, is_complete: impl Fn(&LaneId, Position) -> bool) -> Self {
        let (mut index, mut damaged) = (Index::new(), Vec::new());
        ids.sort_unstable();
        for id in ids {
            let file = index.files.entry(id).or_default();
            let Ok(opened) = disk.open(&names::quarantine(id)) else { continue };
            file.bytes = 0;
            let _ = opened.sync_data();
            let _ = opened.drop_cache();
            let damage = store::each(opened.as_ref(), epoch, id, |place, header, body| {
                index.next_id = index.next_id.max(header.revision.0);
                index.files.entry(id).or_default().bytes += place.bytes;
                if header.kind == Kind::Marks {
                    let Some(marks) = Marks::decode(header, body) else { return };
                    index.restore_ended(&marks.lane, marks.ended);
                    match marks.fate {
                        Fate::Due => index.make_due(&marks.ids),
                        Fate::Gone => marks.ids.iter().for_each(|id| drop(index.remove(*id))),
                    }
                } else if let Some((head, _)) = frames::decode_head(header, body) {
                    let state = if head.stand == Stand::Due { State::Due } else { State::Waiting };
                    index.insert(head, place, state);
                }
            });
            damaged.extend(damage.iter().map(|_| names::quarantine(id)));
        }
        index.unsettle(is_complete);
        Self { store: Mutex::default(), index: Mutex::new(index), damaged }
    }

    /// Makes an event durable, once. Blocks.
    pub(super) fn keep(&self, shared: &Shared, lane: &LaneId, mut item: Quarantined) -> Result<(), QuarantineError> {
        let mut store = lock(&self.store);
        let id = {
            let mut index = lock(&self.index);
            if index.keep_again(lane, item.position, item.index) {
                return Ok(());
            }
            if index.entries() >= ENTRIES_MAX {
                return Err(QuarantineError::Full);
            }
            QuarantineId(index.next_id)
        };
        item.answer.truncate(item.answer.floor_char_boundary(Quarantined::ANSWER_BYTES_MAX));
        let body = frames::encode(id, lane, &item);
        let header = frames::header(lane, Kind::Quarantined, item.at, id.0 + 1, &body).ok_or(QuarantineError::Full)?;
        // What is refused again takes the place of what was sent again, though for a moment both are there.
        let budget = if item.position.quarantine_id().is_some() { 2 * budget(shared) } else { budget(shared) };
        self.make_room(shared, &mut store, header.frame_bytes(), budget)?;
        let place = store.append(shared, &self.index, Kind::Quarantined, lane, item.at, &body)?;
        if let Some((head, _)) = frames::decode_head(&header, &body) {
            lock(&self.index).insert(head, place, State::Unsettled(Kept::Now));
        }
        Ok(())
    }

    /// Has room for so many bytes, if need be by leaving files whose entries are of no use.
    fn make_room(&self, shared: &Shared, store: &mut Store, bytes: u64, budget: u64) -> Result<(), QuarantineError> {
        let (used, live) = {
            let index = lock(&self.index);
            (index.bytes(), index.live_bytes())
        };
        if used + bytes <= budget {
            return Ok(());
        }
        // Copying everything for a little room is not worth it.
        if live + bytes > budget - budget / 16 {
            return Err(QuarantineError::Full);
        }
        Ok(store.collect(shared, &self.index, Need::Room(bytes))?)
    }

    /// Notes that a record of the lane, or an entry that it sent again, has come to its end.
    pub(super) fn settle(&self, lane: &LaneId, position: Position, tally: Tally) {
        let mut index = lock(&self.index);
        index.settle(lane, position);
        if let Some(id) = position.quarantine_id() {
            index.end(id.0, tally);
        }
    }

    /// Whether entries of the lane wait for their record's end.
    pub(super) fn has_unsettled(&self, lane: &LaneId) -> bool {
        lock(&self.index).has_unsettled(lane)
    }

    /// A new consumer takes the lane.
    pub(super) fn attach(&self, lane: &LaneId) {
        lock(&self.index).attach(lane);
    }

    /// The next entry that the lane is to send again.
    pub(super) fn next_due(&self, lane: &LaneId) -> Option<QuarantineId> {
        let unwritten_max = usize::try_from(UNSAVED_COMPLETIONS_MAX).unwrap_or(usize::MAX);
        lock(&self.index).next_due(lane, unwritten_max).map(QuarantineId)
    }

    /// Lanes with something to send again.
    pub(super) fn lanes_due(&self) -> Vec<LaneId> {
        lock(&self.index).lanes_due()
    }

    /// Hands out an entry whose envelope was read; how many events it stands for. None when the lane must not have it.
    pub(super) fn hand_out(&self, id: QuarantineId) -> Option<u32> {
        lock(&self.index).hand_out(id.0)
    }

    /// Gives up an entry that the disk has damaged: it stays counted as quarantined.
    pub(super) fn lose(&self, id: QuarantineId) {
        tracing::error!(entry = id.0, "an event in quarantine is damaged and cannot be sent again");
        lock(&self.index).remove(id.0);
    }

    /// Reads an entry. Blocks. None: there is none of that number, or it is damaged.
    pub(super) fn read(&self, shared: &Shared, id: QuarantineId) -> io::Result<Option<Quarantined>> {
        // Its frame may be moved between the two steps.
        for _ in 0..READ_ATTEMPTS_MAX {
            let Some(place) = lock(&self.index).row(id.0).map(|row| row.place) else { return Ok(None) };
            let file = match shared.disk.open(&names::quarantine(place.file)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            return Ok(store::read(file.as_ref(), shared.epoch, place)
                .and_then(|(header, body)| frames::decode(&header, &body))
                .map(|(_, item)| item));
        }
        Err(io::Error::from(io::ErrorKind::NotFound))
    }

    /// What is kept for a lane, oldest first, whether or not its record is complete. Blocks.
    pub(super) fn list(&self, shared: &Shared, lane: &LaneId) -> io::Result<Vec<Quarantined>> {
        let ids = lock(&self.index).of_lane(lane);
        let mut listed = Vec::with_capacity(ids.len());
        for id in ids {
            listed.extend(self.read(shared, QuarantineId(id))?);
        }
        Ok(listed)
    }

    /// Rows for people.
    pub(super) fn page(&self, pick: &Pick, after: QuarantineId, count: usize) -> Vec<QuarantineRow> {
        lock(&self.index).page(pick, after, count)
    }

    /// How much is meant by `pick`.
    pub(super) fn count(&self, pick: &Pick) -> Moved {
        moved(&lock(&self.index).pick(pick))
    }

    /// What the ledgers of all lanes take from here.
    pub(super) fn accounts(&self) -> HashMap<LaneId, Account> {
        lock(&self.index).accounts()
    }

    /// Carries out a decision, durably. Blocks. The cursors that complete the records of these entries must be durable.
    pub(super) fn decide(&self, shared: &Shared, pick: &Pick, decision: Decision) -> io::Result<Moved> {
        let mut store = lock(&self.store);
        self.write_ends(shared, &mut store)?;
        let picked = lock(&self.index).pick(pick);
        for (lane, entries) in &picked {
            for entries in entries.chunks(MARK_IDS_MAX) {
                let ids: Vec<u64> = entries.iter().map(|(id, _)| *id).collect();
                let mut ended = lock(&self.index).written_of(lane);
                match decision {
                    Decision::Redrive => {
                        store.mark(shared, &self.index, &Marks { lane: lane.clone(), fate: Fate::Due, ended, ids: ids.clone() })?;
                        lock(&self.index).make_due(&ids);
                    }
                    Decision::Release => {
                        ended.purged += entries.iter().map(|(_, events)| u64::from(*events)).sum::<u64>();
                        store.mark(shared, &self.index, &Marks { lane: lane.clone(), fate: Fate::Gone, ended, ids })?;
                        lock(&self.index).purge(lane, entries);
                    }
                }
            }
        }
        if decision == Decision::Release {
            self.tidy(shared, &mut store);
        }
        Ok(moved(&picked))
    }

    /// Writes down what has come to its end, and gives files back. Blocks.
    ///
    /// # Errors
    /// What the disk says; what was not written is tried again next time.
    pub(super) fn save(&self, shared: &Shared) -> io::Result<()> {
        // Cursors wait for this: without anything to write it does not wait for events that are being kept.
        if !lock(&self.index).has_unwritten() {
            return Ok(());
        }
        let mut store = lock(&self.store);
        if self.write_ends(shared, &mut store)? > 0 {
            self.tidy(shared, &mut store);
        }
        Ok(())
    }

    fn write_ends(&self, shared: &Shared, store: &mut Store) -> io::Result<usize> {
        let unwritten = lock(&self.index).unwritten();
        let (mut count, mut failed) = (0, None);
        for Unwritten { lane, ended, ids } in unwritten {
            let marks = Marks { lane, fate: Fate::Gone, ended, ids: ids.iter().map(|(id, _)| *id).collect() };
            // What fails here comes again, with all that ended meanwhile.
            let written = if failed.is_none() { store.mark(shared, &self.index, &marks) } else { Ok(()) };
            let mut index = lock(&self.index);
            match (written, &failed) {
                (Ok(()), None) => {
                    count += ids.len();
                    index.set_written(&marks.lane, ended);
                }
                (written, _) => {
                    index.still_unwritten(&marks.lane, ids);
                    failed = failed.or(written.err());
                }
            }
        }
        failed.map_or(Ok(count), Err)
    }

    /// Gives back what is of no use; a disk that refuses keeps it a while longer.
    fn tidy(&self, shared: &Shared, store: &mut Store) {
        if let Err(error) = store.collect(shared, &self.index, Need::Thrift) {
            tracing::warn!(%error, "files of the quarantine cannot be given back yet");
        }
    }
}

/// A frame moves once in a while; three times in a row it does not.
const READ_ATTEMPTS_MAX: usize = 3;

fn moved(picked: &std::collections::BTreeMap<LaneId, Vec<(u64, u32)>>) -> Moved {
    let entries = picked.values().flatten();
    entries.fold(Moved::default(), |moved, (_, events)| Moved { entries: moved.entries + 1, events: moved.events + u64::from(*events) })
}

/// What stands in a quarantine file.
pub(super) enum Told {
    /// An entry, which may stand in another file as well: the last place counts.
    Entry(QuarantineId, LaneId, Quarantined),
    /// Entries that are no more.
    Gone(Vec<u64>),
}

/// Calls `with` for what stands in a file, in order; tells where the file is damaged and how.
pub(super) fn inspect(file: &dyn super::DiskFile, epoch: Epoch, id: u64, mut with: impl FnMut(Told)) -> Vec<(u64, &'static str)> {
    store::each(file, epoch, id, |_, header, body| {
        if header.kind == Kind::Marks {
            if let Some(Marks { fate: Fate::Gone, ids, .. }) = Marks::decode(header, body) {
                with(Told::Gone(ids));
            }
        } else if let (Some((head, _)), Some((id, item))) = (frames::decode_head(header, body), frames::decode(header, body)) {
            with(Told::Entry(id, head.lane, item));
        }
    })
}

/// An entry's bytes, for those who try them.
#[cfg(any(test, fuzzing))]
pub(super) fn encode(id: QuarantineId, lane: &LaneId, item: &Quarantined) -> Vec<u8> {
    frames::encode(id, lane, item)
}

/// An entry from its bytes, for those who try them.
#[cfg(any(test, fuzzing))]
pub(super) fn decode(header: &super::format::FrameHeader, body: &[u8]) -> Option<(QuarantineId, Quarantined)> {
    frames::decode(header, body)
}

/// Calls `with` for each whole entry of a file, for those who try it.
#[cfg(any(test, fuzzing))]
pub(super) fn each(file: &dyn super::DiskFile, epoch: Epoch, id: u64, mut with: impl FnMut(Quarantined)) {
    store::each(file, epoch, id, |_, header, body| {
        if let Some((_, item)) = frames::decode(header, body) {
            with(item);
        }
    });
}
