//! The bytes of files of marks.
//!
//! Each frame holds what was left between two saves: the lanes (a count, 2; for each its source and destination), then entries: the
//! lane's number among these (2), how many marks (2), the record's position (8 + 8), the marks (16 each).

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::{Arc, PoisonError},
};

use super::{
    DiskFile,
    bytes::{Fields, destination_code, push_source},
    format::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FileKind, HEADER_LENGTH, HeaderRead, Kind, aligned},
    lane_state::LaneCursor,
    names,
    scan::{Body, Piece, Scanner, Then, Wants},
    shared::Shared,
    stock::{Stock, lock},
    words::{LaneId, Position},
};
use crate::model::{Destination, PerDestination};

/// What a lane left with one record.
#[derive(Debug, Clone)]
pub(super) struct Left {
    pub stock: Arc<Stock>,
    pub destination: Destination,
    pub position: Position,
    pub marks: Vec<u128>,
}

/// One mark, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeftMark<'a> {
    pub source: &'a str,
    pub destination: Destination,
    pub position: Position,
    pub mark: u128,
}

/// Which records are complete, by the lanes' own account.
#[derive(Debug)]
pub(super) struct Passed(HashMap<String, PerDestination<LaneCursor>>);

impl Left {
    /// Its marks, in order.
    pub(super) fn marks(&self) -> impl DoubleEndedIterator<Item = LeftMark<'_>> {
        let (source, destination, position) = (self.stock.source.as_str(), self.destination, self.position);
        self.marks.iter().map(move |mark| LeftMark { source, destination, position, mark: *mark })
    }
}

impl Passed {
    pub(super) fn of(shared: &Shared) -> Self {
        let stocks = shared.stocks.read().unwrap_or_else(PoisonError::into_inner).all.clone();
        let cursors = |stock: &Arc<Stock>| {
            let cursors = PerDestination::from_fn(|destination| lock(&stock.lanes.of(destination).state).cursor());
            (stock.source.as_str().to_owned(), cursors)
        };
        Self(stocks.iter().map(cursors).collect())
    }

    /// Whether a mark's record is complete. One that is not is handed out again, and must not be taken for its own resend.
    pub(super) fn holds(&self, mark: &LeftMark<'_>) -> bool {
        self.0.get(mark.source).is_some_and(|cursors| cursors.of(mark.destination).has_passed(mark.position))
    }
}

/// What fixed lengths an entry has besides its marks, and the count of lanes.
const ENTRY_BYTES: usize = 2 + 2 + 16;
const COUNT_BYTES: usize = 2;
const MARK_BYTES: usize = 16;

/// The body of a frame with as many of the first entries as fit into `room` of a file: how many, and their marks.
pub(super) fn body_of(entries: &VecDeque<Left>, room: u64) -> (Vec<u8>, usize, u64) {
    let mut lanes: Vec<LaneId> = Vec::new();
    let (mut table, mut listed) = (Vec::new(), Vec::new());
    let (mut count, mut marks) = (0, 0);
    for left in entries {
        let is_of = |lane: &LaneId| lane.destination == left.destination && lane.source == left.stock.source;
        let known = lanes.iter().position(is_of);
        let lane_bytes = if known.is_some() { 0 } else { left.stock.source.as_str().len() + 2 };
        let more = lane_bytes + ENTRY_BYTES + left.marks.len() * MARK_BYTES;
        let bytes = FRAME_HEADER_BYTES + COUNT_BYTES + table.len() + listed.len() + more;
        let Ok(number) = u16::try_from(known.unwrap_or(lanes.len())) else { break };
        if aligned(bytes as u64) > room {
            break;
        }
        if known.is_none() {
            lanes.push(LaneId { source: left.stock.source.clone(), destination: left.destination });
            push_source(&mut table, &left.stock.source);
            table.push(destination_code(left.destination));
        }
        listed.extend_from_slice(&number.to_le_bytes());
        listed.extend_from_slice(&u16::try_from(left.marks.len()).unwrap_or(u16::MAX).to_le_bytes());
        listed.extend_from_slice(&left.position.volume.to_le_bytes());
        listed.extend_from_slice(&left.position.offset.to_le_bytes());
        left.marks.iter().for_each(|mark| listed.extend_from_slice(&mark.to_le_bytes()));
        count += 1;
        marks += left.marks.len() as u64;
    }
    let lane_count = u16::try_from(lanes.len()).unwrap_or(u16::MAX);
    ([&lane_count.to_le_bytes()[..], &table, &listed].concat(), count, marks)
}

/// Calls `with` for each mark in a file, newest first. Returns how many frames were damaged.
pub(super) fn each_left(shared: &Shared, id: u64, mut with: impl FnMut(LeftMark<'_>)) -> io::Result<u64> {
    let file = shared.disk.open(&names::marks(id))?;
    let mut header = [0; HEADER_LENGTH];
    let whole = file.read_at(&mut header, 0).is_ok_and(|count| count == header.len());
    // A damaged header says nothing that the name does not say; one of another journal, or a newer one, does.
    match FileHeader::decode(FileKind::Marks, &header) {
        HeaderRead::Newer(version) if whole => return Err(io::Error::other(format!("it is of format {version}"))),
        HeaderRead::Valid(header) if whole && header.epoch != shared.epoch => return Ok(0),
        _ => {}
    }
    let seal = shared.seal(FileKind::Marks, id);
    let limit = file.size()?;
    let mut scanner = Scanner::new(file.as_ref(), &seal, FILE_HEADER_BYTES, limit);
    let (mut bodies, mut damaged) = (Vec::new(), 0);
    while let Some(piece) = scanner.next(|_| Wants::Body) {
        match piece {
            Piece::Frame { header, body: Body::Whole(body), .. } if header.kind == Kind::Left => bodies.push(body.to_vec()),
            Piece::Frame { .. } | Piece::Unreadable { then: Then::Frame, .. } => damaged += 1,
            // What an older file left, or nothing.
            Piece::Unreadable { then: Then::Limit, .. } => {}
        }
    }
    for body in bodies.iter().rev() {
        let read = decode(body);
        damaged += u64::from(read.is_none());
        for (lane, position, marks) in read.iter().flatten().rev() {
            for mark in marks.rchunks_exact(MARK_BYTES) {
                let Some(mark) = Fields(mark).u128() else { continue };
                with(LeftMark { source: lane.source.as_str(), destination: lane.destination, position: *position, mark });
            }
        }
    }
    Ok(damaged)
}

/// Where the frames of a file end, by what the disk has; None for a file of another
/// journal or a newer segue.
pub(super) fn end_of(shared: &Shared, file: &dyn DiskFile, id: u64) -> io::Result<Option<u64>> {
    file.sync_data()?;
    file.drop_cache()?;
    let mut header = [0; HEADER_LENGTH];
    file.read_at(&mut header, 0)?;
    match FileHeader::decode(FileKind::Marks, &header) {
        HeaderRead::Newer(_) => return Ok(None),
        HeaderRead::Valid(header) if header.epoch != shared.epoch => return Ok(None),
        HeaderRead::Valid(_) | HeaderRead::Invalid => {}
    }
    let seal = shared.seal(FileKind::Marks, id);
    let limit = file.size()?;
    let mut scanner = Scanner::new(file, &seal, FILE_HEADER_BYTES, limit);
    let mut end = FILE_HEADER_BYTES;
    while let Some(piece) = scanner.next(|_| Wants::HeaderOnly) {
        if let Piece::Frame { offset, header, .. } = piece {
            end = offset + header.frame_bytes();
        }
    }
    Ok(Some(end))
}

/// An entry of a frame: its lane, its record's position, its marks' bytes.
type Entry<'a> = (Arc<LaneId>, Position, &'a [u8]);

fn decode(body: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut fields = Fields(body);
    let mut lanes = Vec::new();
    for _ in 0..fields.u16()? {
        lanes.push(Arc::new(LaneId { source: fields.source()?, destination: fields.destination()? }));
    }
    let mut entries = Vec::new();
    while !fields.0.is_empty() {
        let lane = Arc::clone(lanes.get(usize::from(fields.u16()?))?);
        let count = usize::from(fields.u16()?);
        let position = Position { volume: fields.u64()?, offset: fields.u64()? };
        entries.push((lane, position, fields.take(count * MARK_BYTES)?));
    }
    Some(entries)
}
