//! Reading a lane's records back from disk.

use std::{io, sync::Arc};

use bytes::Bytes;

use super::{
    format::{FILE_HEADER_BYTES, FileKind, Kind},
    names,
    scan::{Body, CHUNK_BYTES, Piece, Scanner, Wants},
    shared::Shared,
    stock::{Stock, lock},
    words::Position,
};
use crate::model::{Destination, WallTime};

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

/// What to read.
struct Place {
    start: Position,
    limit: u64,
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
pub(super) fn read_on(shared: &Shared, stock: &Stock, destination: Destination, from: Position, refused: Refused) -> io::Result<Vec<Item>> {
    let mut items = Vec::new();
    let Some(place) = find_place(shared, stock, destination, from, &mut items) else { return Ok(items) };
    let id = place.start.volume;
    let file = match shared.disk.open(&names::volume(id)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Given back meanwhile, when every lane had passed it; else it is a loss.
            if lock(&shared.log).volumes.contains_key(&id) {
                tracing::error!(volume = id, "a volume is gone; what was in it is lost");
                note_damage(shared, place.start);
            }
            pass(shared, stock, destination, Position { volume: id, offset: place.limit }, &mut items);
            return Ok(items);
        }
        Err(error) => return Err(error),
    };
    let seal = shared.seal(FileKind::Volume, id);
    let mut scanner = Scanner::new(file.as_ref(), &seal, place.start.offset.max(FILE_HEADER_BYTES), place.limit);
    let stop = place.start.offset + CHUNK_BYTES as u64;
    let at = |offset| Position { volume: id, offset };
    let mut damaged = Vec::new();
    while scanner.offset < stop {
        let wants = |header: &super::format::FrameHeader| {
            let ours = header.kind == Kind::Event && header.source.as_ref() == Some(&stock.source) && *header.planned.of(destination) > 0;
            if ours { Wants::Body } else { Wants::HeaderOnly }
        };
        match scanner.next(wants) {
            None => break,
            Some(Piece::Frame { body: Body::NotRead, .. }) => {}
            Some(Piece::Frame { offset, header, body }) => {
                let (position, after) = (at(offset), at(offset + header.frame_bytes()));
                let planned = *header.planned.of(destination);
                items.push(match body {
                    Body::Whole(body) => {
                        let payload = Bytes::copy_from_slice(body);
                        Item::Record { position, after, planned, received_at: header.received_at, payload }
                    }
                    Body::Damaged | Body::NotRead => {
                        damaged.push(position);
                        Item::Lost { position, after, events: u64::from(planned) }
                    }
                });
            }
            Some(Piece::Unreadable { offset, .. }) => damaged.push(at(offset)),
        }
    }
    if let (Refused::TryAgain, Some(error)) = (refused, scanner.refusal.take()) {
        return Err(error);
    }
    for position in damaged {
        note_damage(shared, position);
    }
    pass(shared, stock, destination, at(scanner.offset.min(place.limit)), &mut items);
    Ok(items)
}

/// Notes that nothing else of the lane is before `until`. Where the log ended at start-up memory takes over: what the lane has not
/// seen by then is lost.
fn pass(shared: &Shared, stock: &Stock, destination: Destination, until: Position, items: &mut Vec<Item>) {
    items.push(Item::Passed { until });
    let log = lock(&shared.log);
    if until == log.recovered_end {
        let planned = log.recovered_planned.get(stock.ordinal).map_or(0, |sums| *sums.of(destination));
        items.push(Item::Volume { start: until, planned });
    }
}

/// Where to read; volumes without a record of the lane are passed unread. None: there is nothing behind `from`.
fn find_place(shared: &Shared, stock: &Stock, destination: Destination, mut from: Position, items: &mut Vec<Item>) -> Option<Place> {
    let log = lock(&shared.log);
    let planned_before = |planned: &Option<Arc<[crate::model::PerDestination<u64>]>>| {
        planned.as_ref().map(|sums| sums.get(stock.ordinal).map_or(0, |sums| *sums.of(destination)))
    };
    loop {
        if let Some(volume) = log.volumes.get(&from.volume).filter(|volume| from.offset < volume.limit) {
            return Some(Place { start: from, limit: volume.limit });
        }
        let mut rest = log.volumes.range(from.volume + 1..);
        let (id, volume) = rest.next()?;
        let planned = planned_before(&volume.planned_before);
        let start = Position { volume: *id, offset: 0 };
        items.push(planned.map_or(Item::Passed { until: start }, |planned| Item::Volume { start, planned }));
        let next = rest.next().and_then(|(_, volume)| planned_before(&volume.planned_before));
        from = start;
        if planned.is_some() && planned == next {
            from.offset = volume.limit;
            items.push(Item::Passed { until: from });
        }
    }
}

fn note_damage(shared: &Shared, position: Position) {
    if lock(&shared.log).note_damage(position) {
        shared.counts.damaged.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tracing::error!(%position, "the journal is damaged here; the rest is read on");
    }
}
