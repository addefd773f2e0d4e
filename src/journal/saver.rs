//! Makes cursors durable.
//!
//! A cursor file has two slots that are written in turn, in place: the disk may be full, and a crash in the middle of one leaves
//! the other. A file whose sync failed is never used again.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    Disk, DiskFile,
    alarm::Woken,
    bytes::Fields,
    cursor::{Saved, SavedState, Snapshot, snapshot},
    format::{Epoch, FileHeader, FileKind, HEADER_LENGTH, Seal},
    marks, names,
    reserve::with_reserve,
    shared::Shared,
    stock::lock,
};

/// How long completions gather before they are saved, unless a lane waits.
const GATHER: Duration = Duration::from_millis(20);
/// How long to wait after a save that failed.
const FAILED_PAUSE: Duration = Duration::from_millis(500);
/// After so many failed saves in a row lanes no longer wait for saves.
const FAILURES_MAX: u32 = 3;
/// The size of a slot at first.
const SLOT_BYTES_MIN: u64 = 4096;
/// Where the first slot begins.
const SLOTS_START: u64 = 512;
/// Checksum, length, number.
const SLOT_HEADER_BYTES: usize = 16;

/// Saves cursors. One thread has it.
#[derive(Debug)]
pub(super) struct Saver {
    shared: Arc<Shared>,
    file: Option<CursorFile>,
    /// The number of the last save, successful or not.
    number: u64,
    next_file: u64,
    /// Cursor files that a newer one replaces.
    older: Vec<u64>,
    failures: u32,
    /// Attempts in a row to mark what was sent again.
    marks_failed: u32,
    last: Snapshot,
}

/// A cursor file in use.
#[derive(Debug, Clone)]
pub(super) struct CursorFile {
    pub id: u64,
    pub file: Arc<dyn DiskFile>,
    pub slot_bytes: u64,
}

/// What recovery found of cursor files.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The newest state.
    pub snapshot: Option<Snapshot>,
    /// The file that it is in.
    pub file: Option<CursorFile>,
    /// The number of that save.
    pub number: u64,
    /// Every cursor file.
    pub ids: Vec<u64>,
}

impl Saver {
    /// Goes on with what recovery found.
    pub(super) fn new(shared: Arc<Shared>, found: Found) -> Self {
        let next_file = found.ids.iter().max().map_or(1, |id| id + 1);
        let used = found.file.as_ref().map(|file| file.id);
        let older = found.ids.into_iter().filter(|id| Some(*id) != used).collect();
        Self { shared, file: found.file, number: found.number, next_file, older, failures: 0, marks_failed: 0, last: Snapshot::default() }
    }

    /// Saves whenever there is something new, until the journal closes; then once more.
    pub(super) fn run(mut self) {
        loop {
            let woken = self.shared.saver.wait(None, GATHER);
            let waiters = std::mem::take(&mut *lock(&self.shared.save_waiters));
            let saved = self.step();
            for waiter in waiters {
                let _ = waiter.send(saved.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string())).copied());
            }
            match woken {
                Woken::Closing => {
                    if saved.is_err() {
                        // Once more, on another file.
                        let _ = self.step();
                    }
                    return;
                }
                Woken::Work if saved.is_err() => {
                    self.shared.saver.rest(FAILED_PAUSE);
                    self.shared.saver.ring();
                }
                Woken::Work => {}
            }
        }
    }

    /// Makes the present state durable and lets go on what waited for it.
    pub(super) fn step(&mut self) -> io::Result<()> {
        // Before the cursors: an entry that is void must not look as if its record's end had made it count.
        let marks = self.shared.quarantine.save(&self.shared);
        let cursors = self.save_cursors();
        match marks {
            Ok(()) => {
                self.marks_failed = 0;
                self.shared.ring_due();
                cursors
            }
            Err(error) => {
                self.marks_failed += 1;
                if self.marks_failed == FAILURES_MAX {
                    tracing::error!(%error, "what was sent again cannot be marked: a crash now would send it once more");
                }
                cursors.and(Err(error))
            }
        }
    }

    fn save_cursors(&mut self) -> io::Result<()> {
        let (snapshot, saved) = snapshot(&self.shared);
        #[cfg(test)]
        let is_sound = self.shared.tuning.sabotage != super::sabotage::Sabotage::MarksAfterCursor;
        #[cfg(not(test))]
        let is_sound = true;
        // Before the cursor that says that their records are complete.
        if is_sound {
            marks::save(&self.shared);
        }
        if snapshot == self.last && self.file.is_some() {
            return Ok(());
        }
        // A number is never used twice: a save that failed may still be on disk.
        self.number += 1;
        match self.write(&snapshot.encode()) {
            Ok(()) => {
                #[cfg(test)]
                if !is_sound {
                    marks::save(&self.shared);
                }
                self.shared.marks.cover();
                self.failures = 0;
                self.shared.counts.unsaved_allowed.store(false, Ordering::Release);
                self.release(&snapshot, &saved);
                self.last = snapshot;
                Ok(())
            }
            Err(error) => {
                self.failures += 1;
                self.shared.counts.saves_failed.fetch_add(1, Ordering::Relaxed);
                if self.failures == FAILURES_MAX {
                    tracing::error!(%error, "cursors cannot be saved: a crash now would deliver again what was delivered since");
                    self.shared.counts.unsaved_allowed.store(true, Ordering::Release);
                    ring_all(&saved);
                }
                Err(error)
            }
        }
    }

    fn release(&self, snapshot: &Snapshot, saved: &Saved) {
        for SavedState { stock, destination, completed_events, .. } in saved {
            let core = stock.lanes.of(*destination);
            // More may have been completed since the snapshot.
            let state = lock(&core.state);
            let unsaved = state.completed_events - completed_events;
            let before = core.unsaved_events.swap(unsaved, Ordering::AcqRel);
            drop(state);
            if before >= self.shared.tuning.unsaved_events_max {
                core.bell.notify_one();
            }
        }
        let mut log = lock(&self.shared.log);
        let before = log.free_before;
        log.free_before = snapshot.low();
        log.note_lows(snapshot.end, saved);
        let passed = log.free_before.volume != before.volume;
        drop(log);
        if passed {
            self.shared.keeper.ring();
        }
    }

    fn write(&mut self, payload: &[u8]) -> io::Result<()> {
        let needed = (SLOT_HEADER_BYTES + payload.len()) as u64;
        let Some(file) = self.file.take_if(|file| needed <= file.slot_bytes) else { return self.begin_file(payload, needed) };
        // A file that fails here is not put back: a sync that failed is never tried again.
        write_slot(&file, &Seal::new(FileKind::Cursor, self.shared.epoch, file.id), self.number, payload)?;
        file.file.sync_data()?;
        self.file = Some(file);
        self.remove_older();
        Ok(())
    }

    /// Writes to a new file: under a name of its own first, so that a crash leaves the older one.
    fn begin_file(&mut self, payload: &[u8], needed: u64) -> io::Result<()> {
        if let Some(small) = self.file.take() {
            self.older.push(small.id);
        }
        let id = self.next_file;
        self.next_file += 1;
        let slot_bytes = needed.next_power_of_two().max(SLOT_BYTES_MIN);
        let name = names::cursor(id);
        let unfinished = names::unfinished(&name);
        let make = || {
            let _ = self.shared.disk.remove(&unfinished);
            let file = self.shared.disk.create(&unfinished)?;
            let header = FileHeader { epoch: self.shared.epoch, id, slot_bytes };
            file.allocate(SLOTS_START + 2 * slot_bytes)?;
            file.write_at(&vec![0; usize::try_from(SLOTS_START + 2 * slot_bytes).unwrap_or(0)], 0)?;
            file.write_at(&header.encode(FileKind::Cursor), 0)?;
            let file = CursorFile { id, file, slot_bytes };
            write_slot(&file, &Seal::new(FileKind::Cursor, self.shared.epoch, id), self.number, payload)?;
            file.file.sync_data()?;
            self.shared.disk.rename(&unfinished, &name)?;
            self.shared.disk.sync_dir()?;
            Ok(file)
        };
        match with_reserve(&self.shared, make) {
            Ok(file) => {
                self.file = Some(file);
                self.remove_older();
                Ok(())
            }
            Err(error) => {
                let _ = self.shared.disk.remove(&unfinished);
                self.older.push(id);
                Err(error)
            }
        }
    }

    fn remove_older(&mut self) {
        for id in self.older.drain(..) {
            let _ = self.shared.disk.remove(&names::cursor(id));
        }
    }
}

fn ring_all(saved: &Saved) {
    for SavedState { stock, destination, .. } in saved {
        stock.lanes.of(*destination).bell.notify_one();
    }
}

/// Writes one slot: checksum over what follows it, length, number, payload.
fn write_slot(file: &CursorFile, seal: &Seal, number: u64, payload: &[u8]) -> io::Result<()> {
    let offset = slot_offset(number, file.slot_bytes);
    let mut slot = Vec::with_capacity(SLOT_HEADER_BYTES + payload.len());
    slot.extend_from_slice(&[0; 4]);
    slot.extend_from_slice(&u32::try_from(payload.len()).map_err(io::Error::other)?.to_le_bytes());
    slot.extend_from_slice(&number.to_le_bytes());
    slot.extend_from_slice(payload);
    let sum = seal.slot_sum(offset, &slot[4..]);
    slot[..4].copy_from_slice(&sum.to_le_bytes());
    file.file.write_at(&slot, offset)
}

fn slot_offset(number: u64, slot_bytes: u64) -> u64 {
    SLOTS_START + (number % 2) * slot_bytes
}

/// What one cursor file holds.
pub(super) enum FileRead {
    /// The newest whole state, with its number, and the file when it can be written on.
    State(u64, Snapshot, Option<CursorFile>),
    /// Nothing that can be read.
    Nothing,
    /// Written by a newer segue.
    Newer(u32),
}

/// Reads a cursor file.
pub(super) fn read_file(disk: &dyn Disk, id: u64, epoch: Epoch) -> io::Result<FileRead> {
    let file = disk.open(&names::cursor(id))?;
    // A sync that fails here is as final as any other: what the file holds counts, and the next save goes to a new one.
    let is_sound = file.sync_data().is_ok();
    let _ = file.drop_cache();
    let mut header = [0; HEADER_LENGTH];
    if file.read_at(&mut header, 0)? < header.len() {
        return Ok(FileRead::Nothing);
    }
    let slot_bytes = match FileHeader::decode(FileKind::Cursor, &header) {
        super::format::HeaderRead::Newer(version) => return Ok(FileRead::Newer(version)),
        super::format::HeaderRead::Valid(header) if header.epoch == epoch && header.id == id => header.slot_bytes,
        _ => return Ok(FileRead::Nothing),
    };
    let seal = Seal::new(FileKind::Cursor, epoch, id);
    let slots = (0..2).filter_map(|index| read_slot(file.as_ref(), &seal, index, slot_bytes));
    let Some((number, snapshot)) = slots.max_by_key(|(number, _)| *number) else { return Ok(FileRead::Nothing) };
    Ok(FileRead::State(number, snapshot, is_sound.then_some(CursorFile { id, file, slot_bytes })))
}

fn read_slot(file: &dyn DiskFile, seal: &Seal, index: u64, slot_bytes: u64) -> Option<(u64, Snapshot)> {
    let offset = slot_offset(index, slot_bytes);
    let mut header = [0; SLOT_HEADER_BYTES];
    if file.read_at(&mut header, offset).ok()? < header.len() {
        return None;
    }
    let mut fields = Fields(&header);
    let (sum, length, number) = (fields.u32()?, fields.u32()?, fields.u64()?);
    if u64::from(length) + SLOT_HEADER_BYTES as u64 > slot_bytes {
        return None;
    }
    let mut slot = vec![0; SLOT_HEADER_BYTES + length as usize];
    if file.read_at(&mut slot, offset).ok()? < slot.len() || seal.slot_sum(offset, &slot[4..]) != sum {
        return None;
    }
    Some((number, Snapshot::decode(&slot[SLOT_HEADER_BYTES..])?))
}
