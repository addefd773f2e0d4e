//! The files of the quarantine: frames appended and synced one by one, and the oldest file given back once most of it is of no use.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::{
    super::{
        DiskFile,
        format::{Epoch, FILE_HEADER_BYTES, FileHeader, FileKind, FrameHeader, HEADER_LENGTH, HeaderRead, Kind, Seal},
        names,
        reserve::with_reserve,
        scan::{Body, Piece, Scanner, Then, Wants},
        shared::Shared,
        stock::lock,
        words::LaneId,
    },
    frames::{self, Fate, Marks, Stand},
    index::{Index, Place, State},
};
use crate::model::WallTime;

/// Space is taken from the disk in steps of this, so that a full disk is known before it matters.
const STEP_BYTES: u64 = 256 << 10;
/// A file that is larger is followed by another one.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// So many files share the quarantine's room, at least: one that is being emptied must not be all of it.
const FILES_MIN: u64 = 8;

/// The file that is written. Its lock is held while the disk works.
#[derive(Debug, Default)]
pub(super) struct Store {
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    id: u64,
    file: Arc<dyn DiskFile>,
    /// Where the next frame goes.
    offset: u64,
    /// How much of the disk the file has.
    allocated: u64,
}

impl Store {
    /// Makes a frame durable. After a failed write or sync the next one goes to a new file.
    pub(super) fn append(
        &mut self,
        shared: &Shared,
        index: &Mutex<Index>,
        kind: Kind,
        lane: &LaneId,
        at: WallTime,
        body: &[u8],
    ) -> io::Result<Place> {
        let next_id = lock(index).next_id;
        let header = frames::header(lane, kind, at, next_id, body).ok_or_else(|| io::Error::from(io::ErrorKind::FileTooLarge))?;
        let size_max = file_bytes_max(shared);
        // A file whose write or sync failed is not put back.
        let mut open = match self.open.take().filter(|open| open.offset + header.frame_bytes() <= size_max) {
            Some(open) => open,
            None => with_reserve(shared, || begin(shared, index))?,
        };
        let mut frame = Vec::with_capacity(body.len() + 128);
        Seal::new(FileKind::Quarantine, shared.epoch, open.id).push_frame(&mut frame, open.offset, &header, body);
        let bytes = frame.len() as u64;
        if let Err(error) = open.write(shared, &frame) {
            if open.offset == FILE_HEADER_BYTES {
                discard(shared, index, open.id);
            }
            return Err(error);
        }
        let place = Place { file: open.id, offset: open.offset, bytes };
        open.offset += bytes;
        self.open = Some(open);
        lock(index).files.entry(place.file).or_default().bytes += bytes;
        Ok(place)
    }

    /// Makes marks durable.
    pub(super) fn mark(&mut self, shared: &Shared, index: &Mutex<Index>, marks: &Marks) -> io::Result<()> {
        self.append(shared, index, Kind::Marks, &marks.lane, WallTime::from_millis(0), &marks.encode()).map(|_| ())
    }

    /// Gives files back, the oldest first: what is still of use in them is copied forward.
    pub(super) fn collect(&mut self, shared: &Shared, index: &Mutex<Index>, need: Need) -> io::Result<()> {
        self.leave_emptied(index);
        // Each round takes one file away; what it copies makes at most one new one.
        let rounds = lock(index).files.len();
        for _ in 0..rounds {
            let Some((id, file)) = lock(index).files.first_key_value().map(|(id, file)| (*id, *file)) else { return Ok(()) };
            let is_open = self.open.as_ref().is_some_and(|open| open.id == id);
            let worth = match need {
                Need::Room(bytes) => {
                    let index = lock(index);
                    index.bytes() + bytes > budget(shared) && index.bytes() > index.live_bytes()
                }
                Need::Thrift => file.live_bytes * 2 <= file.bytes,
            };
            if !worth || (is_open && need == Need::Thrift) {
                return Ok(());
            }
            if is_open {
                self.open = None;
            }
            self.empty(shared, index, id)?;
            remove(shared, index, id)?;
        }
        Ok(())
    }

    /// Leaves the file at hand when nothing in it is of use any more and it is the only one: then it can go, too.
    fn leave_emptied(&mut self, index: &Mutex<Index>) {
        let index = lock(index);
        let had_entries = index.bytes() > MARKS_BYTES_USUAL;
        if index.files.len() == 1 && index.live_bytes() == 0 && had_entries {
            self.open = None;
        }
    }

    /// Copies what is of use in a file to the newest one, the sums of all lanes first.
    fn empty(&mut self, shared: &Shared, index: &Mutex<Index>, id: u64) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Some(with_reserve(shared, || begin(shared, index))?);
        }
        let written = lock(index).all_written();
        for (lane, ended) in written {
            self.mark(shared, index, &Marks { lane, fate: Fate::Gone, ended, ids: Vec::new() })?;
        }
        let entries = lock(index).of_file(id);
        if entries.is_empty() {
            return Ok(());
        }
        let file = shared.disk.open(&names::quarantine(id))?;
        for (entry, state, place) in entries {
            let Some((header, mut body)) = read(file.as_ref(), shared.epoch, place) else {
                tracing::error!(file = names::quarantine(id), entry, "an event in quarantine is damaged and cannot be kept");
                lock(index).remove(entry);
                continue;
            };
            body[0] = match state {
                State::Due | State::Out => Stand::Due as u8,
                State::Waiting | State::Unsettled(_) => Stand::Waiting as u8,
            };
            let Some((head, _)) = frames::decode_head(&header, &body) else { continue };
            let place = self.append(shared, index, Kind::Quarantined, &head.lane, head.at, &body)?;
            lock(index).moved(entry, place);
        }
        Ok(())
    }
}

/// What files are given back for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Half of the oldest one is of no use.
    Thrift,
    /// So many bytes are wanted.
    Room(u64),
}

/// A file with less than this had hardly more than marks in it.
const MARKS_BYTES_USUAL: u64 = 512;

/// How many bytes the quarantine may have.
pub(super) fn budget(shared: &Shared) -> u64 {
    shared.settings.size_max.0 / QUOTA_SHARE
}

/// The share of the journal's quota that quarantined events may take.
const QUOTA_SHARE: u64 = 32;

fn file_bytes_max(shared: &Shared) -> u64 {
    FILE_BYTES_MAX.min(budget(shared) / FILES_MIN)
}

fn begin(shared: &Shared, index: &Mutex<Index>) -> io::Result<OpenFile> {
    let id = lock(index).files.last_key_value().map_or(1, |(id, _)| id + 1);
    let file = match shared.disk.create(&names::quarantine(id)) {
        Ok(file) => file,
        Err(error) => {
            // One of that name may be left of an attempt that failed: the next attempt takes another.
            if error.kind() == io::ErrorKind::AlreadyExists {
                lock(index).files.insert(id, super::index::FileRow::default());
            }
            return Err(error);
        }
    };
    lock(index).files.insert(id, super::index::FileRow::default());
    let mut open = OpenFile { id, file, offset: FILE_HEADER_BYTES, allocated: 0 };
    if let Err(error) = open.begin(shared).and_then(|()| shared.disk.sync_dir()) {
        discard(shared, index, id);
        return Err(error);
    }
    Ok(open)
}

fn remove(shared: &Shared, index: &Mutex<Index>, id: u64) -> io::Result<()> {
    let name = names::quarantine(id);
    let size = shared.disk.open(&name).and_then(|file| file.size()).unwrap_or(0);
    match shared.disk.remove(&name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // The next one goes only when this one's end is durable: marks stand behind what they are about.
    shared.disk.sync_dir()?;
    lock(index).files.remove(&id);
    let mut log = lock(&shared.log);
    log.other_bytes = log.other_bytes.saturating_sub(size);
    Ok(())
}

impl OpenFile {
    fn begin(&mut self, shared: &Shared) -> io::Result<()> {
        self.reserve(shared, 0)?;
        let header = FileHeader { epoch: shared.epoch, id: self.id, slot_bytes: 0 };
        self.file.write_at(&header.encode(FileKind::Quarantine), 0)?;
        self.file.sync_data()
    }

    /// Makes a frame durable at the end.
    fn write(&mut self, shared: &Shared, frame: &[u8]) -> io::Result<()> {
        with_reserve(shared, || self.reserve(shared, frame.len() as u64))?;
        self.file.write_at(frame, self.offset)?;
        self.file.sync_data()
    }

    fn reserve(&mut self, shared: &Shared, bytes: u64) -> io::Result<()> {
        let needed = self.offset + bytes;
        if needed > self.allocated {
            let allocated = needed.next_multiple_of(STEP_BYTES);
            self.file.allocate(allocated)?;
            lock(&shared.log).other_bytes += allocated - self.allocated;
            self.allocated = allocated;
        }
        Ok(())
    }
}

/// The frame at a place; None when it is damaged.
pub(super) fn read(file: &dyn DiskFile, epoch: Epoch, place: Place) -> Option<(FrameHeader, Vec<u8>)> {
    let seal = Seal::new(FileKind::Quarantine, epoch, place.file);
    let mut scanner = Scanner::new(file, &seal, place.offset, place.offset + place.bytes);
    match scanner.next(|_| Wants::Body)? {
        Piece::Frame { header, body: Body::Whole(body), .. } => Some((header, body.to_vec())),
        _ => None,
    }
}

/// Calls `with` for each whole frame of a file, in order; tells where the file is damaged and how.
pub(super) fn each(
    file: &dyn DiskFile,
    epoch: Epoch,
    id: u64,
    mut with: impl FnMut(Place, &FrameHeader, &[u8]),
) -> Vec<(u64, &'static str)> {
    let mut damage = Vec::new();
    let mut header = [0; HEADER_LENGTH];
    let whole = file.read_at(&mut header, 0).is_ok_and(|count| count == header.len());
    // A damaged header says nothing that the name does not say; one of another journal does.
    if let (true, HeaderRead::Valid(header)) = (whole, FileHeader::decode(FileKind::Quarantine, &header))
        && header.epoch != epoch
    {
        return damage;
    }
    let seal = Seal::new(FileKind::Quarantine, epoch, id);
    let limit = file.size().unwrap_or(0);
    let mut scanner = Scanner::new(file, &seal, FILE_HEADER_BYTES, limit);
    while let Some(piece) = scanner.next(|_| Wants::Body) {
        match piece {
            Piece::Frame { offset, header, body: Body::Whole(body) } => {
                if frames::is_known(&header, body) {
                    with(Place { file: id, offset, bytes: header.frame_bytes() }, &header, body);
                } else {
                    damage.push((offset, "this is no quarantined event"));
                }
            }
            Piece::Frame { offset, .. } => damage.push((offset, "the quarantined event is damaged")),
            // Space that is taken and not written yet reads as zeros.
            Piece::Unreadable { offset, then } => {
                if then == Then::Frame || !reads_zeros(file, offset) {
                    damage.push((offset, "no quarantined event can be read here"));
                }
            }
        }
    }
    damage
}

fn reads_zeros(file: &dyn DiskFile, mut offset: u64) -> bool {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(count @ 1..) = file.read_at(&mut chunk, offset) {
        if chunk[..count].iter().any(|byte| *byte != 0) {
            return false;
        }
        offset += count as u64;
    }
    true
}

/// Removes a file in which nothing was kept, so that a disk that fails for hours does not fill up with them.
fn discard(shared: &Shared, index: &Mutex<Index>, id: u64) {
    let _ = shared.disk.remove(&names::quarantine(id));
    lock(index).files.remove(&id);
}
