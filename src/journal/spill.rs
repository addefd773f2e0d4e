//! A spill: what the lanes that lag still need of a run of volumes, in one file that stands in their place.
//!
//! Records keep their places in the log, so that cursors, order and sums mean what they meant. A spill is written whole, under a
//! name of its own, before what it stands for goes; it never changes.

use std::{collections::BTreeMap, io, sync::Arc};

use super::{
    Disk, DiskFile,
    bytes::{Fields, push_source},
    format::{
        Checkpoint, Epoch, FILE_HEADER_BYTES, FileHeader, FileKind, FrameHeader, HEADER_LENGTH, HeaderRead, InGroup, Kind, Seal,
        record_bytes,
    },
    names::{self, SpillName},
    scan::{Body, Piece, Scanner, Wants},
    words::Position,
};
use crate::model::{Destination, PerDestination, Revision, SourceId, WallTime};

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// A spill, as the log knows it.
#[derive(Debug)]
pub(super) struct Spill {
    pub name: SpillName,
    /// By the stock's ordinal: what of each lane is in it.
    pub lanes: Vec<PerDestination<Amount>>,
}

/// How much of a lane is in a spill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub events: u64,
    /// Of whole frames; one that two lanes need counts for both.
    pub bytes: u64,
}

/// What of each source's lanes is in a spill.
pub(super) type Amounts = BTreeMap<SourceId, PerDestination<Amount>>;

impl Spill {
    pub(super) fn amount(&self, ordinal: usize, destination: Destination) -> Amount {
        self.lanes.get(ordinal).map(|lanes| *lanes.of(destination)).unwrap_or_default()
    }
}

/// The first frame of what a spill stands for, as it stood there.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub header: FrameHeader,
    pub body: Vec<u8>,
}

impl Front {
    /// The checkpoint at the start of a file; None: there is none that can be read.
    pub(super) fn of(file: &dyn DiskFile, seal: &Seal) -> Option<Self> {
        let mut scanner = Scanner::new(file, seal, FILE_HEADER_BYTES, file.size().ok()?);
        match scanner.next(|_| Wants::Body)? {
            Piece::Frame { header, body: Body::Whole(body), .. } if header.kind == Kind::Checkpoint => {
                Some(Self { header, body: body.to_vec() })
            }
            _ => None,
        }
    }
}

/// A spill that is being written.
#[derive(Debug)]
pub(super) struct Writing {
    name: SpillName,
    file: Arc<dyn DiskFile>,
    seal: Seal,
    /// Where `buffer` goes.
    offset: u64,
    buffer: Vec<u8>,
    amounts: Amounts,
    revision: Revision,
}

/// A spill that is on disk, under its unfinished name.
#[derive(Debug)]
pub(super) struct Written {
    pub amounts: Amounts,
    pub size: u64,
}

impl Writing {
    /// Begins, with the checkpoint of the first volume.
    pub(super) fn begin(disk: &dyn Disk, seal: Seal, name: SpillName, front: Option<&Front>) -> io::Result<Self> {
        let unfinished = names::unfinished(&names::spill(name));
        let _ = disk.remove(&unfinished);
        let file = disk.create(&unfinished)?;
        let (buffer, revision) = (vec![0; HEADER_LENGTH], front.map_or(Revision(0), |front| front.header.revision));
        let mut writing = Self { name, file, seal, offset: 0, buffer, amounts: Amounts::new(), revision };
        if let Some(Front { header, body }) = front {
            writing.seal.push_frame(&mut writing.buffer, FILE_HEADER_BYTES, &FrameHeader { place: InGroup::Last, ..header.clone() }, body);
        }
        Ok(writing)
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.offset + self.buffer.len() as u64
    }

    /// Takes a record that stood at `position` and is owed these events.
    pub(super) fn push(&mut self, header: &FrameHeader, position: Position, owed: PerDestination<u32>, body: &[u8]) -> io::Result<()> {
        let Some(source) = &header.source else { return Ok(()) };
        let group = u32::try_from(position.offset).map_err(io::Error::other)?;
        let spilled = FrameHeader {
            kind: Kind::Spilled,
            place: InGroup::Last,
            group,
            revision: Revision(position.volume),
            planned: owed,
            ..header.clone()
        };
        let amounts = self.amounts.entry(source.clone()).or_default();
        for destination in Destination::ALL {
            let events = u64::from(*owed.of(destination));
            if events > 0 {
                let amount = amounts.of_mut(destination);
                amount.events += events;
                amount.bytes += record_bytes(source, body.len());
            }
        }
        if header.kind == Kind::Event {
            self.revision = self.revision.max(header.revision);
        }
        let offset = self.bytes();
        self.seal.push_frame(&mut self.buffer, offset, &spilled, body);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.offset)?;
        self.offset += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Ends it, with its contents; `newest`: no record in it is of a later revision. Durable when this returns, but for its name.
    pub(super) fn finish(mut self, epoch: Epoch, sync: impl FnOnce(&dyn DiskFile) -> io::Result<()>) -> io::Result<Written> {
        let contents = self.bytes();
        let body = encode(&self.amounts);
        let header = FrameHeader {
            kind: Kind::Contents,
            place: InGroup::Last,
            group: 1,
            revision: self.revision,
            planned: PerDestination::default(),
            received_at: WallTime::from_millis(0),
            source: None,
            body_bytes: u32::try_from(body.len()).map_err(io::Error::other)?,
            body_crc: 0,
        };
        self.seal.push_frame(&mut self.buffer, contents, &header, &body);
        self.flush()?;
        let header = FileHeader { epoch, id: self.name.number, slot_bytes: contents };
        self.file.write_at(&header.encode(FileKind::Spill), 0)?;
        sync(self.file.as_ref())?;
        Ok(Written { amounts: self.amounts, size: self.offset })
    }

    /// Notes a revision that records before had.
    pub(super) fn note_revision(&mut self, revision: Revision) {
        self.revision = self.revision.max(revision);
    }
}

/// What opening finds in the file of a spill.
#[derive(Debug)]
pub(super) enum SpillRead {
    /// A spill of this journal, however damaged.
    Ours(SpillHead),
    /// Nothing in it is of this journal.
    Foreign,
    /// Written by a newer segue.
    Newer(u32),
}

/// What is known of a spill without reading its records.
#[derive(Debug)]
pub(super) struct SpillHead {
    pub size: u64,
    pub checkpoint: Option<Checkpoint>,
    pub opened_at: WallTime,
    /// The newest revision in it.
    pub revision: Revision,
    pub amounts: Amounts,
}

/// Reads what a spill says of itself; where that is damaged, all its headers.
///
/// # Errors
/// When it cannot be read now.
pub(super) fn read(disk: &dyn Disk, epoch: Epoch, name: SpillName) -> io::Result<SpillRead> {
    let file = disk.open(&names::spill(name))?;
    let size = file.size()?;
    let mut header = [0; HEADER_LENGTH];
    let count = file.read_at(&mut header, 0)?;
    let contents = match FileHeader::decode(FileKind::Spill, &header[..count]) {
        HeaderRead::Newer(version) => return Ok(SpillRead::Newer(version)),
        HeaderRead::Valid(header) if header.epoch != epoch => return Ok(SpillRead::Foreign),
        HeaderRead::Valid(header) => Some(header.slot_bytes),
        HeaderRead::Invalid => None,
    };
    let seal = Seal::new(FileKind::Spill, epoch, name.number);
    let front = Front::of(file.as_ref(), &seal);
    let (opened_at, revision) =
        front.as_ref().map_or((WallTime::from_millis(0), Revision(0)), |front| (front.header.received_at, front.header.revision));
    let checkpoint = front.and_then(|front| Checkpoint::decode(&front.body));
    let mut head = SpillHead { size, checkpoint, opened_at, revision, amounts: Amounts::new() };
    let written = contents.and_then(|at| read_contents(file.as_ref(), &seal, at, size));
    if let Some((revision, amounts)) = written {
        (head.revision, head.amounts) = (revision, amounts);
        return Ok(SpillRead::Ours(head));
    }
    let is_ours = add_up(file.as_ref(), &seal, &mut head);
    Ok(if is_ours || contents.is_some() { SpillRead::Ours(head) } else { SpillRead::Foreign })
}

fn read_contents(file: &dyn DiskFile, seal: &Seal, at: u64, size: u64) -> Option<(Revision, Amounts)> {
    let mut scanner = Scanner::new(file, seal, at, size);
    match scanner.next(|_| Wants::Body)? {
        Piece::Frame { offset, header, body: Body::Whole(body) } if offset == at && header.kind == Kind::Contents => {
            Some((header.revision, decode(body)?))
        }
        _ => None,
    }
}

/// Finds the contents by reading every header; says whether there was any.
fn add_up(file: &dyn DiskFile, seal: &Seal, head: &mut SpillHead) -> bool {
    let mut scanner = Scanner::new(file, seal, FILE_HEADER_BYTES, head.size);
    let mut frames = 0;
    while let Some(piece) = scanner.next(|_| Wants::HeaderOnly) {
        let Piece::Frame { header, .. } = piece else { continue };
        frames += 1;
        if header.kind == Kind::Contents {
            head.revision = head.revision.max(header.revision);
        }
        let (Kind::Spilled, Some(source)) = (header.kind, &header.source) else { continue };
        if head.opened_at == WallTime::from_millis(0) {
            head.opened_at = header.received_at;
        }
        let amounts = head.amounts.entry(source.clone()).or_default();
        for destination in Destination::ALL.into_iter().filter(|destination| *header.planned.of(*destination) > 0) {
            let amount = amounts.of_mut(destination);
            amount.events += u64::from(*header.planned.of(destination));
            amount.bytes += header.frame_bytes();
        }
    }
    frames > 0
}

fn encode(amounts: &Amounts) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + amounts.len() * 100);
    out.extend_from_slice(&u32::try_from(amounts.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (source, lanes) in amounts {
        push_source(&mut out, source);
        for destination in Destination::ALL {
            let Amount { events, bytes } = *lanes.of(destination);
            out.extend_from_slice(&events.to_le_bytes());
            out.extend_from_slice(&bytes.to_le_bytes());
        }
    }
    out
}

fn decode(bytes: &[u8]) -> Option<Amounts> {
    let mut fields = Fields(bytes);
    let count = fields.u32()?;
    let mut amounts = Amounts::new();
    for _ in 0..count {
        let source = fields.source()?;
        let segment = Amount { events: fields.u64()?, bytes: fields.u64()? };
        let rudderstack = Amount { events: fields.u64()?, bytes: fields.u64()? };
        amounts.insert(source, PerDestination { segment, rudderstack });
    }
    Some(amounts)
}
