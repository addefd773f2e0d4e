//! Events that a destination refuses for good, in files of their own: the log's framing, synced one by one.

use std::{collections::HashSet, io, sync::Arc};

use bytes::Bytes;

use super::{
    DiskFile, QuarantineError, Quarantined,
    bytes::{Fields, destination_code, push_text},
    format::{Epoch, FILE_HEADER_BYTES, FileHeader, FileKind, FrameHeader, HEADER_LENGTH, HeaderRead, InGroup, Kind, Seal},
    names,
    reserve::with_reserve,
    scan::{Body, Piece, Scanner, Then, Wants},
    shared::Shared,
    stock::lock,
    words::{LaneId, Position},
};
use crate::model::{PerDestination, Revision, WallTime};

/// The share of the journal's quota that quarantined events may take.
const QUOTA_SHARE: u64 = 32;
/// Space is taken from the disk in steps of this, so that a full disk is known before it matters.
const STEP_BYTES: u64 = 256 << 10;

/// Which event of which lane.
type Key = (LaneId, Position, u32);

/// The quarantine.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    ids: Vec<u64>,
    known: HashSet<Key>,
    open: Option<OpenFile>,
    /// Bytes of frames in all files.
    bytes: u64,
    /// The name of the file for each place that could not be read.
    pub damaged: Vec<String>,
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

impl Quarantine {
    /// Finds out what is in these files; what cannot be read of them is skipped.
    pub(super) fn load(disk: &dyn super::Disk, epoch: Epoch, ids: Vec<u64>) -> Self {
        let mut loaded = Self { ids, ..Self::default() };
        loaded.ids.sort_unstable();
        for id in loaded.ids.clone() {
            let Ok(file) = disk.open(&names::quarantine(id)) else { continue };
            let _ = file.sync_data();
            let _ = file.drop_cache();
            let damage = inspect(file.as_ref(), epoch, id, |lane, item, frame_bytes| {
                loaded.known.insert((lane, item.position, item.index));
                loaded.bytes += frame_bytes;
            });
            loaded.damaged.extend(damage.iter().map(|_| names::quarantine(id)));
        }
        loaded
    }

    /// Makes an event durable, once. After a failed write the next one goes to a new file. Blocks.
    pub(super) fn keep(&mut self, shared: &Shared, lane: &LaneId, mut item: Quarantined) -> Result<(), QuarantineError> {
        let key = (lane.clone(), item.position, item.index);
        if self.known.contains(&key) {
            return Ok(());
        }
        item.answer.truncate(item.answer.floor_char_boundary(Quarantined::ANSWER_BYTES_MAX));
        let body = encode(lane, &item);
        let header = FrameHeader {
            kind: Kind::Quarantined,
            place: InGroup::Last,
            group: 1,
            revision: Revision(0),
            planned: PerDestination::default(),
            received_at: item.at,
            source: Some(lane.source.clone()),
            body_bytes: u32::try_from(body.len()).map_err(|_| QuarantineError::Full)?,
            body_crc: 0,
        };
        if self.bytes + header.frame_bytes() > shared.settings.size_max.0 / QUOTA_SHARE {
            return Err(QuarantineError::Full);
        }
        // A file whose write or sync failed is not put back.
        let mut open = match self.open.take() {
            Some(open) => open,
            None => with_reserve(shared, || self.begin(shared))?,
        };
        let mut frame = Vec::with_capacity(body.len() + 128);
        Seal::new(FileKind::Quarantine, shared.epoch, open.id).push_frame(&mut frame, open.offset, &header, &body);
        if let Err(error) = open.append(shared, &frame) {
            if open.offset == FILE_HEADER_BYTES {
                discard(shared, open.id);
            }
            return Err(error.into());
        }
        self.bytes += frame.len() as u64;
        self.open = Some(open);
        self.known.insert(key);
        Ok(())
    }

    fn begin(&mut self, shared: &Shared) -> io::Result<OpenFile> {
        let id = self.ids.last().map_or(1, |id| id + 1);
        self.ids.push(id);
        let file = shared.disk.create(&names::quarantine(id))?;
        let mut open = OpenFile { id, file, offset: FILE_HEADER_BYTES, allocated: 0 };
        let begun = open.begin(shared.epoch).and_then(|()| shared.disk.sync_dir());
        if let Err(error) = begun {
            discard(shared, id);
            return Err(error);
        }
        lock(&shared.log).other_bytes += open.allocated;
        Ok(open)
    }

    /// What is kept for a lane, oldest first. Blocks.
    pub(super) fn list(shared: &Shared, lane: &LaneId) -> io::Result<Vec<Quarantined>> {
        let ids = lock(&shared.quarantine).ids.clone();
        let mut seen = HashSet::new();
        let mut listed = Vec::new();
        for id in ids {
            let file = match shared.disk.open(&names::quarantine(id)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            inspect(file.as_ref(), shared.epoch, id, |of, item, _| {
                if of == *lane && seen.insert((item.position, item.index)) {
                    listed.push(item);
                }
            });
        }
        Ok(listed)
    }
}

/// Removes a file in which nothing was kept, so that a disk that fails for hours does not fill up with them.
fn discard(shared: &Shared, id: u64) {
    let _ = shared.disk.remove(&names::quarantine(id));
}

impl OpenFile {
    fn begin(&mut self, epoch: Epoch) -> io::Result<()> {
        self.reserve(0)?;
        let header = FileHeader { epoch, id: self.id, slot_bytes: 0 };
        self.file.write_at(&header.encode(FileKind::Quarantine), 0)?;
        self.file.sync_data()
    }

    /// Makes a frame durable at the end.
    fn append(&mut self, shared: &Shared, frame: &[u8]) -> io::Result<()> {
        with_reserve(shared, || self.reserve(frame.len() as u64))?;
        self.file.write_at(frame, self.offset)?;
        self.file.sync_data()?;
        self.offset += frame.len() as u64;
        Ok(())
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let needed = self.offset + bytes;
        if needed > self.allocated {
            let allocated = needed.next_multiple_of(STEP_BYTES);
            self.file.allocate(allocated)?;
            self.allocated = allocated;
        }
        Ok(())
    }
}

/// Calls `with` for each whole event in a file and the bytes that it takes there; tells where the file is damaged and how.
pub(super) fn inspect(
    file: &dyn DiskFile,
    epoch: Epoch,
    id: u64,
    mut with: impl FnMut(LaneId, Quarantined, u64),
) -> Vec<(u64, &'static str)> {
    let mut damage = Vec::new();
    walk(file, epoch, id, |piece| match piece {
        Piece::Frame { offset, header, body: Body::Whole(body) } => match decode(header, body) {
            Some((lane, item)) => with(lane, item, header.frame_bytes()),
            None => damage.push((*offset, "this is no quarantined event")),
        },
        Piece::Frame { offset, .. } => damage.push((*offset, "the quarantined event is damaged")),
        // Space that is taken and not written yet reads as zeros.
        Piece::Unreadable { offset, then } => {
            if *then == Then::Frame || !reads_zeros(file, *offset) {
                damage.push((*offset, "no quarantined event can be read here"));
            }
        }
    });
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

/// Calls `with` for each piece of a file of this journal.
fn walk(file: &dyn DiskFile, epoch: Epoch, id: u64, mut with: impl FnMut(&Piece<'_>)) {
    let mut header = [0; HEADER_LENGTH];
    let whole = file.read_at(&mut header, 0).is_ok_and(|count| count == header.len());
    // A damaged header says nothing that the name does not say; one of another journal does.
    if let (true, HeaderRead::Valid(header)) = (whole, FileHeader::decode(FileKind::Quarantine, &header))
        && header.epoch != epoch
    {
        return;
    }
    let seal = Seal::new(FileKind::Quarantine, epoch, id);
    let limit = file.size().unwrap_or(0);
    let mut scanner = Scanner::new(file, &seal, FILE_HEADER_BYTES, limit);
    while let Some(piece) = scanner.next(|_| Wants::Body) {
        with(&piece);
    }
}

fn encode(lane: &LaneId, item: &Quarantined) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + item.reason.len() + item.answer.len() + item.event.len());
    out.push(destination_code(lane.destination));
    out.extend_from_slice(&item.position.volume.to_le_bytes());
    out.extend_from_slice(&item.position.offset.to_le_bytes());
    out.extend_from_slice(&item.index.to_le_bytes());
    out.extend_from_slice(&item.status.to_le_bytes());
    push_text(&mut out, &item.reason);
    push_text(&mut out, &item.answer);
    out.extend_from_slice(&item.event);
    out
}

fn decode(header: &FrameHeader, body: &[u8]) -> Option<(LaneId, Quarantined)> {
    let mut fields = Fields(body);
    let lane = LaneId { source: header.source.clone()?, destination: fields.destination()? };
    let position = Position { volume: fields.u64()?, offset: fields.u64()? };
    let index = fields.u32()?;
    let status = fields.u16()?;
    let reason = fields.text()?;
    let answer = fields.text()?;
    let event = Bytes::copy_from_slice(fields.0);
    let at: WallTime = header.received_at;
    Some((lane, Quarantined { position, index, event, reason, status, answer, at }))
}
