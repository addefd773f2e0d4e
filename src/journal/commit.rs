//! The commit path: many records, one write, one sync.
//!
//! A group that could not be written or synced is acknowledged by nobody: its volume is left for good, never synced again, and the
//! same records are written from memory to a fresh volume, a few times; then the journal is broken, and tries again at intervals.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    AppendError, DiskFile,
    format::{Checkpoint, FILE_HEADER_BYTES, FileHeader, FileKind, FrameHeader, InGroup, Kind, Seal, record_bytes},
    keeper::{self, NoRoom},
    preparation::Filling,
    queue::Pending,
    shared::{FileTrust, Shared, Spare, Volume},
    stock::{Kept, Stock, lock},
    words::{Health, Position, Record},
};
use crate::model::{Destination, PerDestination, Revision};

/// How many bytes one group holds, unless a single record is larger.
const GROUP_BYTES_MAX: u64 = 4 << 20;
/// How many records one group holds.
const GROUP_RECORDS_MAX: usize = 4096;
/// On how many volumes a group is tried before the journal is broken.
const ATTEMPTS_MAX: u32 = 3;
/// How often a group that waits for room looks for it.
const ROOM_LOOK_INTERVAL: Duration = Duration::from_millis(2);
/// What one record in memory costs besides its payload.
const KEPT_OVERHEAD_BYTES: usize = 128;

/// Writes groups. One thread has it.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    writer: Option<Writer>,
    buffer: Vec<u8>,
    broken_until: Option<Instant>,
    full_until: Option<Instant>,
    /// Records in memory, oldest first, over all sources.
    in_memory: VecDeque<(Arc<Stock>, u64)>,
}

/// The volume being written.
#[derive(Debug)]
struct Writer {
    id: u64,
    file: Arc<dyn DiskFile>,
    seal: Seal,
    /// Where the next group goes; 0: the volume has nothing yet, not even a header.
    offset: u64,
    size: u64,
    groups: u32,
}

/// Where a group came to stand.
struct Written {
    positions: Vec<Position>,
    end: u64,
    /// The volume that it opened, if it did.
    opened: Option<Arc<[PerDestination<u64>]>>,
}

/// What a step came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// There was nothing to do.
    Idle,
    /// Something was done.
    Worked,
}

/// Why a group was not kept.
enum Failure {
    Full,
    Broken(String),
}

impl Committer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, writer: None, buffer: Vec::new(), broken_until: None, full_until: None, in_memory: VecDeque::new() }
    }

    /// Writes everything that is queued, until the queue is closed and empty.
    pub(super) fn run(mut self) {
        while self.shared.queue.wait() {
            self.step();
        }
    }

    /// Writes one group of what is queued.
    pub(super) fn step(&mut self) -> Step {
        let mut bytes = 0;
        let mut records = 0;
        let bytes_max = GROUP_BYTES_MAX.min(self.shared.settings.volume_size.0 / 4);
        let taken = self.shared.queue.take(|record| {
            bytes += record_bytes(&record.source, record.payload.len());
            records += 1;
            bytes <= bytes_max && records <= GROUP_RECORDS_MAX
        });
        if taken.is_empty() {
            return Step::Idle;
        }
        let room: u32 = taken.iter().map(|pending| pending.room_kib).sum();
        let group = self.admit(taken);
        if !group.is_empty() {
            self.commit(group);
        }
        self.shared.queue.room.add_permits(room as usize);
        Step::Worked
    }

    /// Answers what must not be written: plans of old routes. What stays raises the revision, so that revisions in the
    /// journal never go backwards.
    fn admit(&self, taken: Vec<Pending>) -> Vec<Pending> {
        let mut group = Vec::with_capacity(taken.len());
        for pending in taken {
            let newest = self.shared.revision.fetch_max(pending.record.revision.0, Ordering::AcqRel);
            if pending.record.revision.0 < newest {
                let _ = pending.answer.send(Err(AppendError::Stale { current: Revision(newest) }));
            } else {
                group.push(pending);
            }
        }
        group
    }

    fn commit(&mut self, group: Vec<Pending>) {
        let (records, answers): (Vec<Record>, Vec<_>) = group.into_iter().map(|pending| (pending.record, pending.answer)).unzip();
        match self.write(&records) {
            Ok(written) => {
                let positions = written.positions.clone();
                self.publish(records, &written);
                for (answer, position) in answers.into_iter().zip(positions) {
                    let _ = answer.send(Ok(position));
                }
            }
            Err(failure) => {
                let error = match failure {
                    Failure::Full => AppendError::Full,
                    Failure::Broken(reason) => AppendError::Broken { reason },
                };
                if error == AppendError::Full {
                    self.shared.counts.refused_full.fetch_add(answers.len() as u64, Ordering::Relaxed);
                }
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// Makes a group durable, on a fresh volume if the one at hand fails.
    fn write(&mut self, records: &[Record]) -> Result<Written, Failure> {
        if self.broken_until.is_some_and(|until| Instant::now() < until) {
            return Err(Failure::Broken(lock(&self.shared.status).reason.clone()));
        }
        if self.full_until.is_some_and(|until| Instant::now() < until) {
            return Err(Failure::Full);
        }
        if self.shared.counts.volume_gone.swap(false, Ordering::AcqRel) {
            self.writer = None;
            lock(&self.shared.log).opening_bytes = 0;
        }
        let mut reason = String::new();
        for _ in 0..ATTEMPTS_MAX {
            match self.try_write(records) {
                Ok(written) => {
                    (self.broken_until, self.full_until) = (None, None);
                    self.shared.set_health(Health::Writable, "");
                    return Ok(written);
                }
                Err(NoRoom::Full) => {
                    // Part of the group may be in the volume: nothing is ever written over it.
                    self.abandon();
                    self.full_until = Some(Instant::now() + self.shared.tuning.full_pause);
                    self.shared.set_health(Health::Full, "the quota or the disk is used up");
                    return Err(Failure::Full);
                }
                Err(NoRoom::Disk(error)) => {
                    self.shared.counts.commits_failed.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(%error, "a group could not be written; it goes to a fresh volume");
                    self.abandon();
                    reason = error.to_string();
                }
            }
        }
        self.broken_until = Some(Instant::now() + self.shared.tuning.broken_pause);
        self.shared.set_health(Health::Broken, &reason);
        Err(Failure::Broken(reason))
    }

    fn try_write(&mut self, records: &[Record]) -> Result<Written, NoRoom> {
        let bytes: u64 = records.iter().map(|record| record_bytes(&record.source, record.payload.len())).sum();
        if self.writer.as_ref().is_none_or(|writer| writer.offset > 0 && writer.offset + bytes > writer.size) {
            let full = self.writer.take().map(|writer| Filling::Full { bytes: writer.offset, groups: writer.groups });
            let spare = self.next_volume()?;
            lock(&self.shared.log).filling.go_on(full);
            let seal = self.shared.seal(FileKind::Volume, spare.id);
            self.writer = Some(Writer { id: spare.id, file: spare.file, seal, offset: 0, size: spare.size, groups: 0 });
            self.shared.keeper.ring();
        }
        let Some(writer) = &mut self.writer else { return Err(NoRoom::Full) };
        let written = encode(&self.shared, writer, records, &mut self.buffer);
        writer.file.write_at(&self.buffer, writer.offset).map_err(NoRoom::of)?;
        #[cfg(test)]
        if self.shared.tuning.sabotage == super::sabotage::Sabotage::AckBeforeSync {
            let _ = writer.file.sync_data();
            writer.offset = written.end;
            writer.groups += 1;
            return Ok(written);
        }
        sync(&self.shared, writer.file.as_ref()).map_err(NoRoom::Disk)?;
        writer.offset = written.end;
        writer.groups += 1;
        Ok(written)
    }

    /// A volume to write to. When there is none, but the journal is well, the others may only be behind: what lanes have delivered is
    /// free as soon as a cursor says so, and what a lagging lane needs can be spilled. They get a moment before records are refused.
    fn next_volume(&self) -> Result<Spare, NoRoom> {
        let deadline = Instant::now() + self.shared.tuning.room_patience;
        loop {
            match keeper::take_spare(&self.shared) {
                Err(NoRoom::Full) if Instant::now() < deadline && lock(&self.shared.status).health == Health::Writable => {}
                taken => return taken,
            }
            self.shared.saver.ring_urgently();
            self.shared.keeper.ring();
            std::thread::sleep(ROOM_LOOK_INTERVAL);
        }
    }

    /// Leaves the volume at hand for good. One without a durable record goes; one with records stays as long as they do.
    fn abandon(&mut self) {
        let Some(writer) = self.writer.take() else { return };
        if writer.offset == 0 {
            keeper::discard(&self.shared, writer.id);
        } else if let Some(volume) = lock(&self.shared.log).volumes.get_mut(&writer.id) {
            volume.file = FileTrust::Suspect;
        }
        lock(&self.shared.log).opening_bytes = 0;
    }

    /// Lets everybody see a group that is on disk.
    fn publish(&mut self, records: Vec<Record>, written: &Written) {
        let Some(writer) = &self.writer else { return };
        let stocks: Vec<_> = records.iter().map(|record| self.shared.stock(&record.source)).collect();
        {
            // The sums and the end of the log change together: a cursor saves both, and recovery counts on from there.
            let mut log = lock(&self.shared.log);
            for (record, stock) in records.iter().zip(&stocks) {
                let count = log.planned.len().max(stock.ordinal + 1);
                log.planned.resize(count, PerDestination::default());
                let planned = &mut log.planned[stock.ordinal];
                planned.segment += u64::from(record.planned.segment);
                planned.rudderstack += u64::from(record.planned.rudderstack);
            }
            if let Some(planned_before) = &written.opened {
                log.opening_bytes = 0;
                let opened_at = records[0].received_at;
                let size = writer.size.max(written.end);
                let planned_before = Some(Arc::clone(planned_before));
                log.volumes.insert(writer.id, Volume { planned_before, ..Volume::whole(written.end, size, opened_at) });
            } else if let Some(volume) = log.volumes.get_mut(&writer.id) {
                volume.limit = written.end;
            }
        }
        let mut rung: Vec<(Arc<Stock>, Destination)> = Vec::new();
        for ((record, stock), position) in records.into_iter().zip(stocks).zip(&written.positions) {
            let Record { planned, received_at, payload, .. } = record;
            self.shared.memory_bytes.fetch_add(payload.len() + KEPT_OVERHEAD_BYTES, Ordering::Relaxed);
            let number = lock(&stock.tail).push(Kept { position: *position, planned, received_at, payload });
            for destination in Destination::ALL {
                if *planned.of(destination) > 0 && !rung.iter().any(|(other, to)| *to == destination && Arc::ptr_eq(other, &stock)) {
                    rung.push((Arc::clone(&stock), destination));
                }
            }
            self.in_memory.push_back((stock, number));
        }
        self.evict();
        for (stock, destination) in rung {
            stock.lanes.of(destination).bell.notify_one();
        }
    }

    /// Keeps what is in memory below its bound. Records that all their lanes have taken are gone already, but for their
    /// place in the list.
    fn evict(&mut self) {
        let memory_max = usize::try_from(self.shared.settings.memory_max.0).unwrap_or(usize::MAX);
        let listed = |listed: usize| listed * size_of::<(Arc<Stock>, u64)>();
        while let Some((stock, number)) = self.in_memory.front() {
            let held = self.shared.memory_bytes.load(Ordering::Relaxed) + listed(self.in_memory.len());
            let mut tail = lock(&stock.tail);
            if held <= memory_max && tail.holds(*number) {
                break;
            }
            let (records, bytes) = tail.evict(stock, *number);
            drop(tail);
            forget_memory(&self.shared, records, bytes);
            self.in_memory.pop_front();
        }
    }
}

/// Notes that so many records with so many bytes of payload are in memory no more.
pub(super) fn forget_memory(shared: &Shared, records: usize, bytes: usize) {
    shared.memory_bytes.fetch_sub(bytes + records * KEPT_OVERHEAD_BYTES, Ordering::Relaxed);
}

/// The group's bytes, and the header and checkpoint before it in a fresh volume.
fn encode(shared: &Shared, writer: &Writer, records: &[Record], buffer: &mut Vec<u8>) -> Written {
    buffer.clear();
    let group = writer.groups + 1;
    let mut opened = None;
    if writer.offset == 0 {
        let (checkpoint, planned) = checkpoint(shared);
        let header = FileHeader { epoch: shared.epoch, id: writer.id, slot_bytes: 0 };
        buffer.extend_from_slice(&header.encode(FileKind::Volume));
        let body = checkpoint.encode();
        let frame = FrameHeader {
            kind: Kind::Checkpoint,
            place: InGroup::Before,
            group,
            revision: shared.revision(),
            planned: PerDestination::default(),
            received_at: records[0].received_at,
            source: None,
            body_bytes: u32::try_from(body.len()).expect("a checkpoint has some bytes for each source"),
            body_crc: 0,
        };
        writer.seal.push_frame(buffer, FILE_HEADER_BYTES, &frame, &body);
        opened = Some(planned);
    }
    let mut positions = Vec::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        let offset = writer.offset + buffer.len() as u64;
        let place = if index + 1 == records.len() { InGroup::Last } else { InGroup::Before };
        let header = FrameHeader {
            kind: Kind::Event,
            place,
            group,
            revision: record.revision,
            planned: record.planned,
            received_at: record.received_at,
            source: Some(record.source.clone()),
            body_bytes: u32::try_from(record.payload.len()).expect("append refuses records beyond a volume"),
            body_crc: 0,
        };
        writer.seal.push_frame(buffer, offset, &header, &record.payload);
        positions.push(Position { volume: writer.id, offset });
    }
    Written { positions, end: writer.offset + buffer.len() as u64, opened }
}

/// The checkpoint for a volume that begins now, and the sums in it by ordinal.
fn checkpoint(shared: &Shared) -> (Checkpoint, Arc<[PerDestination<u64>]>) {
    let stocks = shared.all_stocks();
    let log = lock(&shared.log);
    let planned: Arc<[_]> = log.planned.clone().into();
    let sums = stocks
        .iter()
        .map(|stock| (stock.source.clone(), log.planned_of(stock.ordinal)))
        .filter(|(_, sum)| *sum != PerDestination::default());
    (Checkpoint { since: log.end(), planned: sums.collect() }, planned)
}

/// Syncs a volume, and tells the observer how long it took.
fn sync(shared: &Shared, file: &dyn DiskFile) -> io::Result<()> {
    let start = Instant::now();
    let result = file.sync_data();
    #[cfg(test)]
    let result = match result {
        Err(_) if shared.tuning.sabotage == super::sabotage::Sabotage::SyncRetried => file.sync_data(),
        other => other,
    };
    if let Some(observer) = shared.sync_observer.get() {
        (observer.0)(start.elapsed());
    }
    result
}
