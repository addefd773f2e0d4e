//! Marks: what lanes leave with completed records, so that the next process knows it too.
//!
//! They stand in files of their own, in the order in which they were left, and are durable before a cursor says that their
//! records are complete. Of a mark that no cursor covers nothing is told: its record is handed out again.
//!
//! Marks are the least that the journal keeps. When they cannot be written, delivery goes on; they wait in memory, and beyond
//! a limit the oldest are lost, which is counted. They take no more room than [`budget`] says; on a full disk the oldest file gives way.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use super::{
    DiskFile,
    format::{FILE_HEADER_BYTES, FileHeader, FileKind, FrameHeader, HEADER_LENGTH, InGroup, Kind},
    marks_file::{Left, LeftMark, Passed, body_of, each_left, end_of},
    names,
    shared::Shared,
    stock::{Stock, lock},
    words::Position,
};
use crate::model::{Destination, PerDestination, Revision, WallTime};

/// The share of the journal's quota that marks may take.
const QUOTA_SHARE: u64 = 64;
/// The share of that which one file takes.
const FILES: u64 = 8;
/// The largest file.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The smallest file.
const FILE_BYTES_MIN: u64 = 4 << 10;
/// How many marks wait in memory for a disk that takes none.
const WAITING_MAX: usize = 131_072;
/// How many marks one entry has; a record with more leaves several.
const ENTRY_MARKS_MAX: usize = 4_096;

/// The marks of all lanes.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Left, and not looked at by the saver yet. Held for moments only.
    left: Mutex<Queue>,
    /// Held while the disk works.
    files: Mutex<Files>,
    /// How many of the newest are kept.
    kept_max: AtomicU64,
    /// Marks that were given up: the next process will not know them.
    pub lost: AtomicU64,
    /// Attempts to write that failed.
    pub failures: AtomicU64,
    /// Syncs of files of marks.
    pub syncs: AtomicU64,
}

/// Marks that are not on disk, oldest first.
#[derive(Debug, Default)]
struct Queue {
    entries: VecDeque<Left>,
    marks: usize,
}

#[derive(Debug, Default)]
struct Files {
    /// By number: how many marks are known to be in it. One of an earlier process that was not read yet has none.
    counts: BTreeMap<u64, u64>,
    next_id: u64,
    open: Option<OpenFile>,
    /// The file that an earlier process wrote to last; there may be room in it.
    begun: Option<u64>,
    waiting: Queue,
    /// Marks written since the last cursor was saved, and those written just before that: no cursor may cover these yet, and a crash
    /// would take them back.
    uncovered: u64,
    uncovered_before: u64,
    /// After a failure: when the disk is tried again.
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct OpenFile {
    id: u64,
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Marks {
    /// Goes on with these files.
    pub(super) fn new(ids: &[u64]) -> Self {
        let counts: BTreeMap<u64, u64> = ids.iter().map(|id| (*id, 0)).collect();
        let next_id = counts.last_key_value().map_or(1, |(id, _)| id + 1);
        let begun = counts.last_key_value().map(|(id, _)| *id);
        let files = Files { counts, next_id, begun, ..Files::default() };
        Self { files: Mutex::new(files), kept_max: AtomicU64::new(u64::MAX), ..Self::default() }
    }

    /// Notes what a lane leaves with a record. To be called under the lane's lock, after the record was noted as complete: then
    /// a snapshot that knows the record was taken after this.
    pub(super) fn leave(&self, stock: &Arc<Stock>, destination: Destination, position: Position, marks: &[u128]) {
        let mut left = lock(&self.left);
        for some in marks.chunks(ENTRY_MARKS_MAX) {
            left.push(Left { stock: Arc::clone(stock), destination, position, marks: some.to_vec() });
        }
        let lost = left.shorten();
        drop(left);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Notes that a cursor was saved.
    pub(super) fn cover(&self) {
        let mut files = lock(&self.files);
        files.uncovered_before = std::mem::take(&mut files.uncovered);
    }

    /// Keeps so many of the newest marks from now on.
    pub(super) fn keep(&self, count: u64) {
        self.kept_max.store(count, Ordering::Release);
    }
}

impl Queue {
    fn push(&mut self, left: Left) {
        self.marks += left.marks.len();
        self.entries.push_back(left);
    }

    fn drop_first(&mut self, entries: usize) -> u64 {
        let dropped: usize = self.entries.drain(..entries).map(|left| left.marks.len()).sum();
        self.marks -= dropped;
        dropped as u64
    }

    /// Drops the oldest marks beyond [`WAITING_MAX`], and returns how many.
    fn shorten(&mut self) -> u64 {
        let mut lost = 0;
        while self.marks > WAITING_MAX {
            lost += self.drop_first(1);
        }
        lost
    }
}

/// How many bytes all files of marks may take, and one of them.
pub(super) fn budget(shared: &Shared) -> (u64, u64) {
    let all = shared.settings.size_max.0 / QUOTA_SHARE;
    let file = shared.tuning.marks_file_bytes.unwrap_or((all / FILES).clamp(FILE_BYTES_MIN, FILE_BYTES_MAX));
    (all.max(file * FILES), file)
}

/// Makes durable what was left. To be called after a snapshot of the lanes was taken, and before that is saved. What
/// cannot be written waits for the next time.
pub(super) fn save(shared: &Shared) {
    let marks = &shared.marks;
    let mut files = lock(&marks.files);
    let left = std::mem::take(&mut *lock(&marks.left));
    files.waiting.marks += left.marks;
    files.waiting.entries.extend(left.entries);
    let kept_max = marks.kept_max.load(Ordering::Acquire);
    files.prune(shared, kept_max);
    if kept_max == 0 {
        files.waiting = Queue::default();
    }
    // The last save does not wait for a better moment.
    let is_early = files.retry_at.is_some_and(|at| Instant::now() < at) && !shared.queue.is_closed();
    if files.waiting.entries.is_empty() || is_early {
        let lost = files.waiting.shorten();
        marks.lost.fetch_add(lost, Ordering::Relaxed);
        return;
    }
    match files.write(shared, kept_max) {
        Ok(()) if files.retry_at.take().is_some() => tracing::info!("what RudderStack was sent can be noted on disk again"),
        Ok(()) => {}
        Err(error) => {
            if files.retry_at.is_none() {
                tracing::warn!(%error, "what RudderStack was sent cannot be noted on disk: after a crash, resends of it may go there again");
            }
            files.retry_at = Some(Instant::now() + shared.tuning.broken_pause);
            marks.failures.fetch_add(1, Ordering::Relaxed);
            let lost = files.waiting.shorten();
            marks.lost.fetch_add(lost, Ordering::Relaxed);
        }
    }
}

impl Files {
    /// Writes all that waits, a frame at a time, each synced.
    fn write(&mut self, shared: &Shared, kept_max: u64) -> io::Result<()> {
        let (_, file_bytes) = budget(shared);
        while !self.waiting.entries.is_empty() {
            let mut open = match self.open.take().or_else(|| self.reopen(shared, file_bytes)) {
                Some(open) => open,
                None => self.begin(shared, kept_max)?,
            };
            let room = file_bytes.saturating_sub(open.offset);
            let is_fresh = open.offset == FILE_HEADER_BYTES;
            let (body, entries, marks) = body_of(&self.waiting.entries, room);
            if entries == 0 {
                // Not even a fresh file has room for the first entry: nobody leaves so many marks.
                let lost = if is_fresh { self.waiting.drop_first(1) } else { 0 };
                shared.marks.lost.fetch_add(lost, Ordering::Relaxed);
                continue;
            }
            if let Err(error) = open.put(shared, &body) {
                // A file that failed is not written to again; one that has nothing is of no use.
                if is_fresh {
                    self.remove(shared, open.id);
                }
                return Err(error);
            }
            *self.counts.entry(open.id).or_insert(0) += marks;
            self.uncovered += marks;
            self.waiting.drop_first(entries);
            self.open = Some(open);
        }
        Ok(())
    }

    /// Goes on with the file that an earlier process wrote to last, so that restarts do not use files up.
    fn reopen(&mut self, shared: &Shared, file_bytes: u64) -> Option<OpenFile> {
        let id = self.begun.take().filter(|id| self.counts.contains_key(id))?;
        let file = shared.disk.open(&names::marks(id)).ok()?;
        let offset = end_of(shared, file.as_ref(), id).ok()??;
        if file.size().ok()? == file_bytes {
            // A crash may have come before it.
            file.write_at(&header_of(shared, id), 0).ok()?;
            return Some(OpenFile { id, file, offset });
        }
        if offset == FILE_HEADER_BYTES {
            // It was being made.
            self.remove(shared, id);
        }
        None
    }

    /// Makes the next file: of the oldest one, when that is needed no more or there is no room for another.
    fn begin(&mut self, shared: &Shared, kept_max: u64) -> io::Result<OpenFile> {
        let (bytes_max, file_bytes) = budget(shared);
        let id = self.next_id;
        self.next_id += 1;
        let fits = (self.counts.len() as u64 + 1) * file_bytes <= bytes_max;
        let file = if fits && self.surplus(kept_max) == 0 {
            match create(shared, id, file_bytes) {
                Err(error) if is_full(&error) && self.counts.len() > 1 => {
                    shared.marks.failures.fetch_add(1, Ordering::Relaxed);
                    self.recycle(shared, id, file_bytes, kept_max)
                }
                made => made,
            }
        } else {
            self.recycle(shared, id, file_bytes, kept_max)
        }?;
        self.counts.insert(id, 0);
        let begun = file.write_at(&header_of(shared, id), 0).and_then(|()| shared.disk.sync_dir());
        if let Err(error) = begun {
            self.remove(shared, id);
            return Err(error);
        }
        Ok(OpenFile { id, file, offset: FILE_HEADER_BYTES })
    }

    /// Gives the oldest file a new name and number, under which nothing in it is valid.
    fn recycle(&mut self, shared: &Shared, id: u64, file_bytes: u64, kept_max: u64) -> io::Result<Arc<dyn DiskFile>> {
        let Some((oldest, _)) = self.counts.first_key_value() else { return create(shared, id, file_bytes) };
        let oldest = *oldest;
        if self.surplus(kept_max) == 0 {
            let lost = self.counts.get(&oldest).copied().unwrap_or(0);
            shared.marks.lost.fetch_add(lost, Ordering::Relaxed);
        }
        let file = shared.disk.open(&names::marks(oldest))?;
        if file.size()? != file_bytes {
            self.remove(shared, oldest);
            return create(shared, id, file_bytes);
        }
        shared.disk.rename(&names::marks(oldest), &names::marks(id))?;
        self.counts.remove(&oldest);
        Ok(file)
    }

    /// How many of the oldest files hold nothing of the newest marks.
    fn surplus(&self, kept_max: u64) -> usize {
        let mut newer = 0_u64;
        let kept_max = kept_max.saturating_add(self.uncovered + self.uncovered_before);
        let needed = self.counts.values().rev().take_while(|count| {
            let is_needed = newer < kept_max;
            newer = newer.saturating_add(**count);
            is_needed
        });
        self.counts.len() - needed.count()
    }

    /// Removes files that hold nothing of the newest marks; one may stay, as the next to be written to.
    fn prune(&mut self, shared: &Shared, kept_max: u64) {
        let stays = usize::from(kept_max > 0);
        let surplus = if kept_max == 0 { self.counts.len() } else { self.surplus(kept_max) };
        for _ in stays..surplus {
            let Some(oldest) = self.counts.first_key_value().map(|(id, _)| *id) else { return };
            if self.open.as_ref().is_some_and(|open| open.id == oldest) {
                self.open = None;
            }
            self.remove(shared, oldest);
        }
    }

    fn remove(&mut self, shared: &Shared, id: u64) {
        let bytes = shared.disk.open(&names::marks(id)).and_then(|file| file.size()).unwrap_or(0);
        self.counts.remove(&id);
        if shared.disk.remove(&names::marks(id)).is_ok() {
            let mut log = lock(&shared.log);
            log.other_bytes = log.other_bytes.saturating_sub(bytes);
        }
    }
}

impl OpenFile {
    fn put(&mut self, shared: &Shared, body: &[u8]) -> io::Result<()> {
        let header = FrameHeader {
            kind: Kind::Left,
            place: InGroup::Last,
            group: 1,
            revision: Revision(0),
            planned: PerDestination::default(),
            received_at: WallTime::from_millis(0),
            source: None,
            body_bytes: u32::try_from(body.len()).map_err(io::Error::other)?,
            body_crc: 0,
        };
        let mut frame = Vec::with_capacity(body.len() + 64);
        shared.seal(FileKind::Marks, self.id).push_frame(&mut frame, self.offset, &header, body);
        self.file.write_at(&frame, self.offset)?;
        self.file.sync_data()?;
        shared.marks.syncs.fetch_add(1, Ordering::Relaxed);
        self.offset += frame.len() as u64;
        Ok(())
    }
}

/// Makes a file with its space written, so that a sync has its frame to write and nothing else.
fn create(shared: &Shared, id: u64, file_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
    let name = names::marks(id);
    let file = shared.disk.create(&name)?;
    let made = file.allocate(file_bytes).and_then(|()| file.write_at(&vec![0; usize::try_from(file_bytes).unwrap_or(0)], 0));
    if let Err(error) = made.and_then(|()| file.sync_data()) {
        let _ = shared.disk.remove(&name);
        return Err(error);
    }
    lock(&shared.log).other_bytes += file_bytes;
    Ok(file)
}

fn header_of(shared: &Shared, id: u64) -> [u8; HEADER_LENGTH] {
    FileHeader { epoch: shared.epoch, id, slot_bytes: 0 }.encode(FileKind::Marks)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Tells the newest marks of complete records, newest first; `visit` says whether it hears one for the first time. Returns how
/// many frames were damaged. Blocks.
pub(super) fn read(shared: &Shared, mut visit: impl FnMut(u128) -> bool) -> u64 {
    let mut files = lock(&shared.marks.files);
    let kept_max = shared.marks.kept_max.load(Ordering::Acquire);
    let passed = Passed::of(shared);
    let (mut known, mut damaged) = (0, 0);
    let mut hear = |mark: &LeftMark<'_>| {
        let counts = known < kept_max && passed.holds(mark) && visit(mark.mark);
        known += u64::from(counts);
        u64::from(counts)
    };
    {
        let left = lock(&shared.marks.left);
        for entry in left.entries.iter().rev().chain(files.waiting.entries.iter().rev()) {
            entry.marks().rev().for_each(|mark| {
                hear(&mark);
            });
        }
    }
    for (id, count) in files.counts.iter_mut().rev() {
        let mut heard = 0;
        match each_left(shared, *id, |mark| heard += hear(&mark)) {
            Ok(frames) => damaged += frames,
            Err(error) => tracing::warn!(%error, file = names::marks(*id), "what RudderStack was sent cannot be read back from here"),
        }
        *count = (*count).max(heard);
    }
    damaged
}
