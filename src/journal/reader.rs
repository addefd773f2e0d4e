//! Reading a lane's records back from disk.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    DiskFile,
    format::{FILE_HEADER_BYTES, FileKind, FrameHeader, Kind},
    scan::{Body, CHUNK_BYTES, Piece, Scanner, Wants},
    shared::{Shared, Volume},
    spill::Spill,
    stock::{Stock, lock},
    words::Position,
};
use crate::model::{Destination, PerDestination, WallTime};

/// What a lane finds on disk, in order.
#[derive(Debug)]
pub(super) enum Item {
    /// A record of the lane.
    Record { position: Position, after: Position, planned: u32, received_at: WallTime, payload: Bytes },
    /// A record of the lane that the disk has damaged.
    Lost { position: Position, after: Position, events: u64 },
    /// A volume begins, before which so many events were planned for the lane.
    Volume { start: Position, planned: u64 },
    /// There is nothing else of the lane before here.
    Passed { until: Position },
}

/// Where reading a spill came to, so that the next chunk does not begin at its start.
#[derive(Debug, Clone)]
pub(super) struct Bookmark {
    spill: Arc<Spill>,
    /// The lane has everything before here.
    position: Position,
    /// Where the next frame stands in the file.
    offset: u64,
}

/// What a read came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub items: Vec<Item>,
    pub bookmark: Option<Bookmark>,
}

/// What to read.
struct Place {
    /// The number of the volume, or of the first one that a spill stands for.
    id: u64,
    start: Position,
    volume: Volume,
}

/// Who reads.
#[derive(Clone, Copy)]
struct Whose<'a> {
    shared: &'a Shared,
    stock: &'a Stock,
    destination: Destination,
}

/// What to make of bytes that the disk refuses to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// An error: it may read them later.
    TryAgain,
    /// Damage: it has been asked for long enough.
    GiveUp,
}

/// Reads on from `from`: one chunk of one volume at most. Blocks.
///
/// # Errors
/// When a volume cannot be opened or read just now; trying again may help.
pub(super) fn read_on(
    shared: &Shared,
    stock: &Stock,
    destination: Destination,
    from: Position,
    bookmark: Option<Bookmark>,
    refused: Refused,
) -> io::Result<Found> {
    let mut found = Found::default();
    let whose = Whose { shared, stock, destination };
    let Some(place) = find_place(whose, from, &mut found.items) else { return Ok(found) };
    let file = match shared.disk.open(&place.volume.file_name(place.id)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            whose.miss(&place, &mut found.items);
            return Ok(found);
        }
        Err(error) => return Err(error),
    };
    let mut damaged = Vec::new();
    let refusal = match place.volume.spill.clone() {
        None => whose.read_volume(file.as_ref(), &place, &mut found.items, &mut damaged),
        Some(spill) => {
            let (bookmark, refusal) = whose.read_spill(file.as_ref(), &place, spill, bookmark, &mut found.items, &mut damaged);
            found.bookmark = Some(bookmark);
            refusal
        }
    };
    if let (Refused::TryAgain, Some(error)) = (refused, refusal) {
        return Err(error);
    }
    for position in damaged {
        note_damage(shared, position);
    }
    Ok(found)
}

impl Whose<'_> {
    fn is_ours(self, header: &FrameHeader, kind: Kind) -> bool {
        header.kind == kind && header.source.as_ref() == Some(&self.stock.source) && *header.planned.of(self.destination) > 0
    }

    /// What the disk said when it could not read, if it could not.
    fn read_volume(self, file: &dyn DiskFile, place: &Place, items: &mut Vec<Item>, damaged: &mut Vec<Position>) -> Option<io::Error> {
        let id = place.id;
        let seal = self.shared.seal(FileKind::Volume, id);
        let mut scanner = Scanner::new(file, &seal, place.start.offset.max(FILE_HEADER_BYTES), place.volume.limit);
        let stop = place.start.offset + CHUNK_BYTES as u64;
        let at = |offset| Position { volume: id, offset };
        while scanner.offset < stop {
            let wants = |header: &FrameHeader| if self.is_ours(header, Kind::Event) { Wants::Body } else { Wants::HeaderOnly };
            match scanner.next(wants) {
                None => break,
                Some(Piece::Frame { body: Body::NotRead, .. }) => {}
                Some(Piece::Frame { offset, header, body }) => {
                    items.push(self.item(at(offset), at(offset + header.frame_bytes()), &header, &body, damaged));
                }
                Some(Piece::Unreadable { offset, .. }) => damaged.push(at(offset)),
            }
        }
        self.pass(at(scanner.offset.min(place.volume.limit)), items);
        scanner.refusal
    }

    fn read_spill(
        self,
        file: &dyn DiskFile,
        place: &Place,
        spill: Arc<Spill>,
        bookmark: Option<Bookmark>,
        items: &mut Vec<Item>,
        damaged: &mut Vec<Position>,
    ) -> (Bookmark, Option<io::Error>) {
        let seal = self.shared.seal(FileKind::Spill, spill.name.number);
        let kept = bookmark.filter(|kept| Arc::ptr_eq(&kept.spill, &spill) && kept.position <= place.start);
        let start = kept.map_or(FILE_HEADER_BYTES, |kept| kept.offset);
        let mut scanner = Scanner::new(file, &seal, start, place.volume.limit);
        let mut seen = place.start;
        while scanner.offset < start + CHUNK_BYTES as u64 {
            let wants = |header: &FrameHeader| {
                let wanted = self.is_ours(header, Kind::Spilled) && header.spilled_from() >= place.start;
                if wanted { Wants::Body } else { Wants::HeaderOnly }
            };
            match scanner.next(wants) {
                None => break,
                Some(Piece::Frame { header, body, .. }) if header.kind == Kind::Spilled => {
                    let position = header.spilled_from();
                    let after = Position { offset: position.offset + header.frame_bytes(), ..position };
                    seen = seen.max(after);
                    if !matches!(body, Body::NotRead) {
                        items.push(self.item(position, after, &header, &body, damaged));
                    }
                }
                Some(Piece::Frame { .. }) => {}
                Some(Piece::Unreadable { offset, .. }) => damaged.push(Position { volume: place.id, offset }),
            }
        }
        let offset = scanner.offset;
        let is_read = offset >= place.volume.limit;
        let until = if is_read { place.volume.end(place.id) } else { seen };
        self.pass(until, items);
        (Bookmark { spill, position: until, offset }, scanner.refusal)
    }

    fn item(self, position: Position, after: Position, header: &FrameHeader, body: &Body<'_>, damaged: &mut Vec<Position>) -> Item {
        let planned = *header.planned.of(self.destination);
        match body {
            Body::Whole(body) => {
                let payload = Bytes::copy_from_slice(body);
                Item::Record { position, after, planned, received_at: header.received_at, payload }
            }
            Body::Damaged | Body::NotRead => {
                damaged.push(position);
                Item::Lost { position, after, events: u64::from(planned) }
            }
        }
    }

    /// A file is not there: given back or spilled meanwhile, and the lane looks again; else what was in it is lost.
    fn miss(self, place: &Place, items: &mut Vec<Item>) {
        let still_there = lock(&self.shared.log).volumes.get(&place.id).is_some_and(|volume| match (&volume.spill, &place.volume.spill) {
            (None, None) => true,
            (Some(now), Some(then)) => Arc::ptr_eq(now, then),
            (None, Some(_)) | (Some(_), None) => false,
        });
        if still_there {
            tracing::error!(volume = place.id, "a volume is gone; what was in it is lost");
            note_damage(self.shared, place.start);
            self.pass(place.volume.end(place.id), items);
        } else {
            items.push(Item::Passed { until: place.start });
        }
    }

    /// Notes that nothing else of the lane is before `until`. Where the log ended at start-up memory takes over: what the lane has not
    /// seen by then is lost.
    fn pass(self, until: Position, items: &mut Vec<Item>) {
        items.push(Item::Passed { until });
        let log = lock(&self.shared.log);
        if until == log.recovered_end {
            let planned = log.recovered_planned.get(self.stock.ordinal).map_or(0, |sums| *sums.of(self.destination));
            items.push(Item::Volume { start: until, planned });
        }
    }
}

/// Where to read; volumes without a record of the lane are passed unread. None: there is nothing behind `from`.
fn find_place(whose: Whose<'_>, mut from: Position, items: &mut Vec<Item>) -> Option<Place> {
    let log = lock(&whose.shared.log);
    let planned_before = |planned: &Option<Arc<[PerDestination<u64>]>>| {
        planned.as_ref().map(|sums| sums.get(whose.stock.ordinal).map_or(0, |sums| *sums.of(whose.destination)))
    };
    loop {
        if let Some((id, volume)) = log.holding(from.volume).filter(|(id, volume)| from < volume.end(*id)) {
            return Some(Place { id, start: from, volume: volume.clone() });
        }
        let mut rest = log.volumes.range(from.volume + 1..);
        let (id, volume) = rest.next()?;
        let planned = planned_before(&volume.planned_before);
        let start = Position { volume: *id, offset: 0 };
        items.push(planned.map_or(Item::Passed { until: start }, |planned| Item::Volume { start, planned }));
        let next = rest.next().and_then(|(_, volume)| planned_before(&volume.planned_before));
        from = start;
        if planned.is_some() && planned == next {
            from = volume.end(*id);
            items.push(Item::Passed { until: from });
        }
    }
}

/// Counts a damaged place, once.
pub(super) fn note_damage(shared: &Shared, position: Position) {
    if lock(&shared.log).note_damage(position) {
        shared.counts.damaged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::error!(%position, "the journal is damaged here; the rest is read on");
    }
}
