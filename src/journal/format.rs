//! The bytes of volumes: header and frames, and their checksums. The tables are in the module's documentation.

use crc32fast::Hasher;

use super::{
    bytes::{Fields, source_length, source_of},
    words::Position,
};
use crate::model::{PerDestination, Revision, SourceId, WallTime};

/// The newest format that this segue reads.
pub(super) const VERSION: u32 = 2;
/// The format of directories without spills, and of every file in them.
pub(super) const VERSION_PLAIN: u32 = 1;
/// The format of spills, and of the identity of a directory that may hold some: a segue that does not know them must not
/// take what they stand for as lost.
pub(super) const VERSION_SPILLS: u32 = 2;
/// The size of a file's header.
pub(super) const FILE_HEADER_BYTES: u64 = HEADER_LENGTH as u64;
/// The same, as lengths are counted in memory.
pub(super) const HEADER_LENGTH: usize = 64;
/// The size of a frame's fixed part.
pub(super) const FRAME_HEADER_BYTES: usize = 48;
/// The largest frame header: the fixed part and the longest source id.
pub(super) const FRAME_HEADER_BYTES_MAX: usize = FRAME_HEADER_BYTES + 64;
/// Frames begin at multiples of this.
pub(super) const ALIGNMENT: u64 = ALIGNMENT_BYTES as u64;
const ALIGNMENT_BYTES: usize = 8;

const FRAME_MAGIC: [u8; 4] = *b"sgR1";
const LAST_OF_GROUP: u8 = 1;

/// The random number of one journal: data of another journal, copied in by accident or by a disk's fault, never validates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Epoch(pub u128);

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileKind {
    /// The journal's identity.
    Identity,
    /// A volume of the log.
    Volume,
    /// Cursors.
    Cursor,
    /// Quarantined events.
    Quarantine,
    /// What is left of volumes.
    Spill,
}

impl FileKind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Identity => *b"SEGUE-ID",
            Self::Volume => *b"SEGUEVOL",
            Self::Cursor => *b"SEGUECUR",
            Self::Quarantine => *b"SEGUEQUA",
            Self::Spill => *b"SEGUESPI",
        }
    }

    /// The format that its files are written in.
    const fn version(self) -> u32 {
        match self {
            Self::Identity | Self::Volume | Self::Cursor | Self::Quarantine => VERSION_PLAIN,
            Self::Spill => VERSION_SPILLS,
        }
    }
}

/// The first bytes of every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub epoch: Epoch,
    pub id: u64,
    /// Cursor files: the size of one slot. Spills: where the contents stand. 0 elsewhere.
    pub slot_bytes: u64,
}

/// What a header's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeaderRead {
    Valid(FileHeader),
    /// Written by a newer segue.
    Newer(u32),
    /// Damaged, of another kind, or never written.
    Invalid,
}

impl FileHeader {
    pub(super) fn encode(&self, kind: FileKind) -> [u8; HEADER_LENGTH] {
        self.encode_as(kind, kind.version())
    }

    /// As [`FileHeader::encode`], in a format that is not the kind's usual one.
    pub(super) fn encode_as(&self, kind: FileKind, version: u32) -> [u8; HEADER_LENGTH] {
        let mut out = [0; HEADER_LENGTH];
        out[..8].copy_from_slice(&kind.magic());
        out[8..12].copy_from_slice(&version.to_le_bytes());
        out[16..32].copy_from_slice(&self.epoch.0.to_le_bytes());
        out[32..40].copy_from_slice(&self.id.to_le_bytes());
        out[40..48].copy_from_slice(&self.slot_bytes.to_le_bytes());
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Magic, version and checksum stand at the same place in every format to come, so that a flipped bit is never taken
    /// for a newer format.
    pub(super) fn decode(kind: FileKind, bytes: &[u8]) -> HeaderRead {
        let Some((bytes, crc)) = bytes.split_at_checked(60) else { return HeaderRead::Invalid };
        if Fields(crc).u32() != Some(crc32fast::hash(bytes)) || bytes[..8] != kind.magic() {
            return HeaderRead::Invalid;
        }
        let mut fields = Fields(&bytes[8..]);
        match fields.u32() {
            Some(version) if version > VERSION => return HeaderRead::Newer(version),
            _ => fields.u32(),
        };
        match (fields.u128(), fields.u64(), fields.u64()) {
            (Some(epoch), Some(id), Some(slot_bytes)) => HeaderRead::Valid(Self { epoch: Epoch(epoch), id, slot_bytes }),
            _ => HeaderRead::Invalid,
        }
    }
}

/// Checksums of one file: mixed with the journal's epoch, the file's kind and number and the frame's place, so that what
/// an older file left on the disk never validates.
#[derive(Debug, Clone)]
pub(super) struct Seal {
    seeded: Hasher,
    #[cfg(test)]
    sabotage: super::sabotage::Sabotage,
}

impl Seal {
    pub(super) fn new(kind: FileKind, epoch: Epoch, id: u64) -> Self {
        let mut seeded = Hasher::new();
        seeded.update(&kind.magic());
        seeded.update(&epoch.0.to_le_bytes());
        seeded.update(&id.to_le_bytes());
        Self {
            seeded,
            #[cfg(test)]
            sabotage: super::sabotage::Sabotage::None,
        }
    }

    /// For mutation tests: checksums that forget what they must not.
    #[cfg(test)]
    pub(super) fn sabotaged(mut self, sabotage: super::sabotage::Sabotage) -> Self {
        if sabotage == super::sabotage::Sabotage::StaleBlocksAccepted {
            self.seeded = Hasher::new();
        }
        self.sabotage = sabotage;
        self
    }

    fn sum(&self, offset: u64, bytes: &[u8]) -> u32 {
        #[cfg(test)]
        let offset = if self.sabotage == super::sabotage::Sabotage::StaleBlocksAccepted { 0 } else { offset };
        let mut hasher = self.seeded.clone();
        hasher.update(&offset.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }

    fn matches(&self, offset: u64, bytes: &[u8], crc: u32) -> bool {
        #[cfg(test)]
        if self.sabotage == super::sabotage::Sabotage::TornTailAccepted {
            return true;
        }
        self.sum(offset, bytes) == crc
    }

    /// Writes a frame at the end of `out`, for the place `offset` of its file, padded to [`ALIGNMENT`].
    pub(super) fn push_frame(&self, out: &mut Vec<u8>, offset: u64, header: &FrameHeader, body: &[u8]) {
        let start = out.len();
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&header.body_bytes.to_le_bytes());
        out.extend_from_slice(&self.sum(offset, body).to_le_bytes());
        out.extend_from_slice(&header.group.to_le_bytes());
        let flags = if header.place == InGroup::Last { LAST_OF_GROUP } else { 0 };
        out.extend_from_slice(&[header.kind as u8, flags, header.source.as_ref().map_or(0, source_length), 0]);
        out.extend_from_slice(&header.revision.0.to_le_bytes());
        out.extend_from_slice(&header.planned.segment.to_le_bytes());
        out.extend_from_slice(&header.planned.rudderstack.to_le_bytes());
        out.extend_from_slice(&header.received_at.as_millis().to_le_bytes());
        out.extend_from_slice(header.source.as_ref().map_or("", SourceId::as_str).as_bytes());
        let crc = self.sum(offset, &out[start + 8..]);
        out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(body);
        out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT_BYTES), 0);
    }

    /// The frame header at the front of `bytes`, which stand at `offset` of the file; None when there is no valid one.
    pub(super) fn read_header(&self, offset: u64, bytes: &[u8]) -> Option<FrameHeader> {
        let fixed = bytes.get(..FRAME_HEADER_BYTES)?;
        if fixed[..4] != FRAME_MAGIC {
            return None;
        }
        let source_bytes = usize::from(fixed[22]);
        let whole = bytes.get(..FRAME_HEADER_BYTES + source_bytes)?;
        let mut fields = Fields(&whole[4..]);
        let crc = fields.u32()?;
        if !self.matches(offset, &whole[8..], crc) {
            return None;
        }
        let body_bytes = fields.u32()?;
        let body_crc = fields.u32()?;
        let group = fields.u32()?;
        let kind = Kind::of(fields.u8()?)?;
        let place = if fields.u8()? & LAST_OF_GROUP == 0 { InGroup::Before } else { InGroup::Last };
        fields.u16()?;
        let revision = Revision(fields.u64()?);
        let planned = PerDestination { segment: fields.u32()?, rudderstack: fields.u32()? };
        let received_at = WallTime::from_millis(fields.i64()?);
        let source = if source_bytes == 0 { None } else { Some(source_of(fields.take(source_bytes)?)?) };
        Some(FrameHeader { kind, place, group, revision, planned, received_at, source, body_bytes, body_crc })
    }

    /// Whether `body` is what the frame at `offset` was written with.
    pub(super) fn body_is_whole(&self, offset: u64, header: &FrameHeader, body: &[u8]) -> bool {
        self.matches(offset, body, header.body_crc)
    }

    /// The checksum of a cursor slot.
    pub(super) fn slot_sum(&self, offset: u64, bytes: &[u8]) -> u32 {
        self.sum(offset, bytes)
    }
}

/// What a frame holds. Never renumber.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One envelope.
    Event = 1,
    /// The state at the start of a volume.
    Checkpoint = 2,
    /// One quarantined event.
    Quarantined = 3,
    /// One envelope, in a spill: its group and revision are its offset and volume in the log.
    Spilled = 4,
    /// What is in a spill.
    Contents = 5,
}

impl Kind {
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Event),
            2 => Some(Self::Checkpoint),
            3 => Some(Self::Quarantined),
            4 => Some(Self::Spilled),
            5 => Some(Self::Contents),
            _ => None,
        }
    }
}

/// Where a frame stands in its commit group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InGroup {
    /// Others follow.
    Before,
    /// It ends the group.
    Last,
}

/// The header of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameHeader {
    pub kind: Kind,
    pub place: InGroup,
    /// The number of the commit group in its volume, from 1.
    pub group: u32,
    pub revision: Revision,
    pub planned: PerDestination<u32>,
    pub received_at: WallTime,
    /// Whose record it is; None for checkpoints.
    pub source: Option<SourceId>,
    pub body_bytes: u32,
    pub body_crc: u32,
}

impl FrameHeader {
    /// Where the body begins in the frame.
    pub(super) fn body_start(&self) -> usize {
        FRAME_HEADER_BYTES + self.source.as_ref().map_or(0, |source| source.as_str().len())
    }

    /// Where the record of a spilled frame stood in the log.
    pub(super) fn spilled_from(&self) -> Position {
        Position { volume: self.revision.0, offset: u64::from(self.group) }
    }

    /// The size of the frame with padding.
    pub(super) fn frame_bytes(&self) -> u64 {
        aligned(self.body_start() as u64 + u64::from(self.body_bytes))
    }
}

/// The size of the frame of a record.
pub(super) fn record_bytes(source: &SourceId, payload_bytes: usize) -> u64 {
    aligned((FRAME_HEADER_BYTES + source.as_str().len() + payload_bytes) as u64)
}

/// `bytes`, rounded up to where the next frame may begin.
pub(super) const fn aligned(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGNMENT)
}

/// Where the next valid frame header stands at or after `from` in `bytes`, which begin at `base` of the file (a multiple of
/// [`ALIGNMENT`], as `from` is). Frames whose header may reach past the end of `bytes` are not found.
pub(super) fn find_frame(seal: &Seal, base: u64, bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memmem::find_iter(&bytes[from..], &FRAME_MAGIC)
        .map(|at| at + from)
        .find(|at| (*at as u64).is_multiple_of(ALIGNMENT) && seal.read_header(base + *at as u64, &bytes[*at..]).is_some())
}

/// The body of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Checkpoint {
    /// Where the log ended before this volume. What lies between there and here is void.
    pub since: Position,
    /// Events planned before this volume, per source and destination.
    pub planned: Vec<(SourceId, PerDestination<u64>)>,
}

impl Checkpoint {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(20 + self.planned.len() * 40);
        out.extend_from_slice(&self.since.volume.to_le_bytes());
        out.extend_from_slice(&self.since.offset.to_le_bytes());
        out.extend_from_slice(&u32::try_from(self.planned.len()).unwrap_or(u32::MAX).to_le_bytes());
        for (source, planned) in &self.planned {
            super::bytes::push_source(&mut out, source);
            out.extend_from_slice(&planned.segment.to_le_bytes());
            out.extend_from_slice(&planned.rudderstack.to_le_bytes());
        }
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes);
        let since = Position { volume: fields.u64()?, offset: fields.u64()? };
        let count = fields.u32()?;
        let mut planned = Vec::new();
        for _ in 0..count {
            planned.push((fields.source()?, PerDestination { segment: fields.u64()?, rudderstack: fields.u64()? }));
        }
        Some(Self { since, planned })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seal() -> Seal {
        Seal::new(FileKind::Volume, Epoch(7), 3)
    }

    fn event(body: &[u8]) -> FrameHeader {
        FrameHeader {
            kind: Kind::Event,
            place: InGroup::Last,
            group: 9,
            revision: Revision(41),
            planned: PerDestination { segment: 1, rudderstack: 2 },
            received_at: WallTime::from_millis(-5),
            source: SourceId::parse("web-checkout").ok(),
            body_bytes: u32::try_from(body.len()).unwrap(),
            body_crc: 0,
        }
    }

    #[test]
    fn a_frame_is_valid_at_its_place_in_its_volume_of_its_journal_only() {
        let mut bytes = Vec::new();
        seal().push_frame(&mut bytes, 128, &event(b"body"), b"body");
        let read = seal().read_header(128, &bytes).unwrap();
        assert_eq!((FrameHeader { body_crc: 0, ..read.clone() }, read.frame_bytes()), (event(b"body"), bytes.len() as u64));
        assert!(seal().body_is_whole(128, &read, b"body") && !seal().body_is_whole(128, &read, b"bodY"));
        assert_eq!(seal().read_header(136, &bytes), None);
        assert_eq!(Seal::new(FileKind::Volume, Epoch(7), 4).read_header(128, &bytes), None);
        assert_eq!(Seal::new(FileKind::Volume, Epoch(8), 3).read_header(128, &bytes), None);
        assert_eq!(Seal::new(FileKind::Quarantine, Epoch(7), 3).read_header(128, &bytes), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let framed = [&FRAME_MAGIC[..], &bytes].concat();
            prop_assert_eq!(seal().read_header(64, &framed), None);
            prop_assert_eq!(find_frame(&seal(), 64, &framed, 0), None);
            Checkpoint::decode(&bytes);
            prop_assert_eq!(FileHeader::decode(FileKind::Volume, &bytes), HeaderRead::Invalid);
        }

        #[test]
        fn a_frame_is_found_behind_anything(before in proptest::collection::vec(any::<u8>(), 0..200), body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = before;
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            let at = bytes.len();
            seal().push_frame(&mut bytes, 64 + at as u64, &event(&body), &body);
            prop_assert_eq!(find_frame(&seal(), 64, &bytes, 0), Some(at));
        }
    }
}
