//! Fuzz targets inside the journal: they see what no caller may. Built for tests and for libFuzzer (`scripts/fuzz`) alone.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    DiskFile, Quarantined,
    cursor::Snapshot,
    format::{Checkpoint, Epoch, FILE_HEADER_BYTES, FileHeader, FileKind, FrameHeader, HEADER_LENGTH, InGroup, Kind, Seal},
    quarantine,
    scan::{Body, Piece, Scanner, Wants},
    words::{LaneId, Position, QuarantineId},
};
use crate::model::{Destination, PerDestination, Revision, SourceId, WallTime};

/// A target's body.
pub type Target = fn(&[u8]);

/// Every target of the journal: its name and its body.
pub const ALL: &[(&str, Target)] = &[("record", record), ("volume", volume), ("cursor", cursor), ("quarantine", quarantine_file)];

const EPOCH: Epoch = Epoch(7);

/// Numbers and texts out of any bytes; zeros behind their end.
struct Dice<'a>(&'a [u8]);

impl<'a> Dice<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// A number below `limit`, which is at least 1.
    fn below(&mut self, limit: usize) -> usize {
        usize::from(u16::from_le_bytes(self.array())) % limit
    }

    fn source(&mut self) -> SourceId {
        const LETTERS: &[u8] = b"abcXYZ019-_.";
        let count = 1 + self.below(64);
        let text: String = (0..count).map(|_| char::from(LETTERS[usize::from(self.byte()) % LETTERS.len()])).collect();
        SourceId::parse(&text).unwrap_or_else(|_| SourceId::parse("web").expect("an id"))
    }

    fn header(&mut self, body: &[u8]) -> FrameHeader {
        let kind = [Kind::Event, Kind::Checkpoint, Kind::Quarantined][self.below(3)];
        FrameHeader {
            kind,
            place: if self.byte() & 1 == 0 { InGroup::Before } else { InGroup::Last },
            group: u32::from_le_bytes(self.array()),
            revision: Revision(u64::from_le_bytes(self.array())),
            planned: PerDestination { segment: u32::from_le_bytes(self.array()), rudderstack: u32::from_le_bytes(self.array()) },
            received_at: WallTime::from_millis(i64::from_le_bytes(self.array())),
            source: (kind != Kind::Checkpoint).then(|| self.source()),
            body_bytes: u32::try_from(body.len()).unwrap_or(0),
            body_crc: 0,
        }
    }
}

/// A frame is read as it was written, at its place only; cut or with one bit turned it is not what was written.
fn record(data: &[u8]) {
    let seal = Seal::new(FileKind::Volume, EPOCH, 3);
    // As any bytes: nothing but what was sealed is a frame.
    assert!(data.len() < 48 || seal.read_header(64, data).is_none() || data.starts_with(b"sgR1"));
    let _ = (Checkpoint::decode(data), FileHeader::decode(FileKind::Volume, data));
    if let Some(checkpoint) = Checkpoint::decode(data) {
        assert_eq!(Checkpoint::decode(&checkpoint.encode()), Some(checkpoint));
    }
    let mut dice = Dice(data);
    let (offset, flip, cut) = (64 + 8 * dice.below(1_000) as u64, dice.below(65_536), dice.below(65_536));
    let length = dice.below(2_000);
    let body = dice.take(length);
    let header = dice.header(body);
    let mut frame = Vec::new();
    seal.push_frame(&mut frame, offset, &header, body);
    let read = seal.read_header(offset, &frame).expect("a frame can be read where it was written");
    assert_eq!(FrameHeader { body_crc: 0, ..read.clone() }, header);
    assert_eq!(read.frame_bytes(), frame.len() as u64);
    let place = read.body_start()..read.body_start() + body.len();
    assert!(seal.body_is_whole(offset, &read, &frame[place.clone()]) && frame[place.clone()] == *body);
    assert_eq!(seal.read_header(offset + 8, &frame), None);
    let cut = cut % read.body_start();
    assert_eq!(seal.read_header(offset, &frame[..cut]), None, "cut at {cut}");
    let flip = flip % (place.end * 8);
    frame[flip / 8] ^= 1 << (flip % 8);
    match seal.read_header(offset, &frame) {
        None => assert!(flip / 8 < read.body_start()),
        Some(found) => assert!(found == read && !seal.body_is_whole(offset, &found, &frame[place]), "bit {flip} was turned unnoticed"),
    }
}

/// Frames that no damage touched are found, whole and in their order, and nothing that was not written is.
fn volume(data: &[u8]) {
    let seal = Seal::new(FileKind::Volume, EPOCH, 3);
    let mut dice = Dice(data);
    let header = FileHeader { epoch: EPOCH, id: 3, slot_bytes: 0 };
    let mut image = header.encode(FileKind::Volume).to_vec();
    let mut written = Vec::new();
    for _ in 0..dice.below(12) {
        if dice.byte() % 5 == 0 {
            // A stretch that was never written, or by something else.
            let stretch = dice.below(200);
            image.extend_from_slice(dice.take(stretch));
            image.resize(image.len().next_multiple_of(8), 0);
        }
        let length = dice.below(300);
        let body = dice.take(length);
        let offset = image.len() as u64;
        let header = dice.header(body);
        seal.push_frame(&mut image, offset, &header, body);
        written.push((offset, image.len() as u64, body));
    }
    let mut damaged = Vec::new();
    for _ in 0..dice.below(4) {
        if image.len() > HEADER_LENGTH {
            let at = HEADER_LENGTH + dice.below(image.len() - HEADER_LENGTH);
            image[at] ^= 1 << (dice.byte() % 8);
            damaged.push(at as u64);
        }
    }
    image.extend_from_slice(dice.0);
    let limit = image.len() as u64;
    let file = MemoryFile::new(image);
    let mut scanner = Scanner::new(&file, &seal, FILE_HEADER_BYTES, limit);
    let (mut found, mut last) = (Vec::new(), 0);
    while let Some(piece) = scanner.next(|_| Wants::Body) {
        let offset = match piece {
            Piece::Frame { offset, body: Body::Whole(body), .. } => {
                found.push((offset, body.to_vec()));
                offset
            }
            Piece::Frame { offset, .. } | Piece::Unreadable { offset, .. } => offset,
        };
        assert!(offset > last && offset < limit, "the walk goes forward");
        last = offset;
    }
    for (offset, body) in &found {
        assert!(written.iter().any(|(start, _, wrote)| start == offset && wrote == body), "a frame at {offset} that nobody wrote");
    }
    for (start, end, body) in &written {
        if !damaged.iter().any(|at| (start..end).contains(&at)) {
            assert!(found.iter().any(|(offset, whole)| offset == start && whole == body), "the frame at {start} is overlooked");
        }
    }
}

/// A snapshot that can be read says the same when it is written and read again; cut, it says nothing, but where the holds
/// begin: there it ended before there were holds.
fn cursor(data: &[u8]) {
    let Some(snapshot) = Snapshot::decode(data) else { return };
    let written = snapshot.encode();
    let held = snapshot.lanes.iter().filter(|lane| lane.cursor.held_since.is_some()).count();
    assert_eq!(Snapshot::decode(&written), Some(snapshot));
    let (cut, holds_start) = (data.len().wrapping_mul(31) % written.len(), written.len() - 4 - 12 * held);
    assert_eq!(Snapshot::decode(&written[..cut]).is_some(), cut == holds_start, "cut at {cut}");
}

/// Quarantined events are read back as they were kept; damage loses those that it touches, and makes none up.
fn quarantine_file(data: &[u8]) {
    let lane = || LaneId { source: SourceId::parse("web").expect("an id"), destination: Destination::RudderStack };
    let mut dice = Dice(data);
    let seal = Seal::new(FileKind::Quarantine, EPOCH, 1);
    let mut image = FileHeader { epoch: EPOCH, id: 1, slot_bytes: 0 }.encode(FileKind::Quarantine).to_vec();
    let mut kept = Vec::new();
    for index in 0..u32::try_from(dice.below(6)).unwrap_or(0) {
        let text = |dice: &mut Dice<'_>| {
            let length = dice.below(100);
            String::from_utf8_lossy(dice.take(length)).into_owned()
        };
        let (reason, answer) = (text(&mut dice), text(&mut dice));
        let (status, length) = (u16::from_le_bytes(dice.array()), dice.below(300));
        let event = ::bytes::Bytes::copy_from_slice(dice.take(length));
        let length = dice.below(300);
        let envelope = ::bytes::Bytes::copy_from_slice(dice.take(length));
        let position = Position { volume: 3, offset: u64::from(index) };
        let at = WallTime::from_millis(i64::from_le_bytes(dice.array()));
        let item = Quarantined { position, index, events: 1, event, envelope, reason, status, answer, at };
        let id = QuarantineId(u64::from(index) + 1);
        let body = quarantine::encode(id, &lane(), &item);
        // As any bytes would be read: cut, it is another event or none, never a fault.
        let header = frame_of(&item, &lane(), &body);
        let _ = quarantine::decode(&header, &body[..dice.below(body.len())]);
        assert_eq!(quarantine::decode(&header, &body), Some((id, item.clone())));
        let offset = image.len() as u64;
        seal.push_frame(&mut image, offset, &header, &body);
        kept.push((offset, image.len() as u64, item));
    }
    let damaged = dice.below(image.len());
    image[damaged] ^= 1 << (dice.byte() % 8);
    let mut read = Vec::new();
    let file = MemoryFile::new(image);
    quarantine::each(&file, EPOCH, 1, |item| read.push(item));
    for item in &read {
        assert!(kept.iter().any(|(_, _, wrote)| wrote == item), "an event that nobody kept");
    }
    for (start, end, item) in &kept {
        let touched = (*start..*end).contains(&(damaged as u64));
        assert!(touched || read.contains(item), "an event that no damage touched is lost");
    }
}

fn frame_of(item: &Quarantined, lane: &LaneId, body: &[u8]) -> FrameHeader {
    FrameHeader {
        kind: Kind::Quarantined,
        place: InGroup::Last,
        group: 1,
        revision: Revision(0),
        planned: PerDestination::default(),
        received_at: item.at,
        source: Some(lane.source.clone()),
        body_bytes: u32::try_from(body.len()).unwrap_or(0),
        body_crc: 0,
    }
}

/// A file in memory.
#[derive(Debug)]
struct MemoryFile(Arc<Mutex<Vec<u8>>>);

impl MemoryFile {
    fn new(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(image)))
    }

    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for MemoryFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes().len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = self.bytes();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = into.len().min(bytes.len() - start);
        into[..count].copy_from_slice(&bytes[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn allocate(&self, _size: u64) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.bytes().truncate(usize::try_from(size).unwrap_or(usize::MAX));
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[path = "../../tests/fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    use super::{ALL, replay};

    #[test]
    fn kept_inputs_and_changes_of_them_satisfy_every_target() {
        let seed = replay::seed();
        for (name, target) in ALL {
            replay::replay(name, *target, seed);
        }
    }
}
