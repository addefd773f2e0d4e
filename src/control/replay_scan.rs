//! What of a replay is still in the journal: its log is read beside the running journal, oldest record first.

use std::{collections::HashSet, io, path::Path};

use bytes::Bytes;

use crate::{
    journal::{Archive, Archived, Position, Wanted},
    model::{Envelope, Repeated, Revision, Selection, WallTime},
    routing::Replay,
};

/// More people are not told apart.
const PEOPLE_MAX: usize = 1_000_000;

/// What a look found.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Events that are to be sent.
    pub events: u64,
    /// The people whose events they are, at most a million.
    pub people: u64,
    /// When the first and the last of them arrived; None: there are none.
    pub arrived: Option<(WallTime, WallTime)>,
    /// When the oldest record arrived that the journal has, of any source; None: it has none.
    pub kept_from: Option<WallTime>,
    /// Whether the log is there from its first record on.
    pub is_whole: bool,
    /// Events that the job has journalled already.
    pub sent: u64,
    /// Up to which record it has; None: it has begun with none.
    pub reached: Option<Position>,
}

/// One envelope to send again.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) position: Position,
    pub(super) envelope: Envelope,
    pub(super) selection: Selection,
    pub(super) events: u32,
}

/// Counts what a replay would send, and what the job of that name has sent already. Blocks while it reads the whole log.
pub(super) fn count(dir: &Path, replay: &Replay, job: Option<Revision>) -> io::Result<Found> {
    let mut found = Found::default();
    let mut people = HashSet::new();
    let mut parcels: Vec<(Position, u64)> = Vec::new();
    let wanted = Wanted { source: Some(replay.source.clone()), ..Wanted::default() };
    let mut kept_from: Option<WallTime> = None;
    let survey = open(dir)?.read(&wanted, |archived| {
        let Archived::Record(record) = archived else { return Ok(()) };
        let Ok(envelope) = Envelope::decode(&Bytes::copy_from_slice(record.payload)) else { return Ok(()) };
        if let Some(Repeated { job: of, volume, offset }) = envelope.repeats {
            if Some(of) == job {
                found.sent += envelope.plan.events.of(replay.destination).count(envelope.events as usize) as u64;
                found.reached = found.reached.max(Some(Position { volume, offset }));
            }
            return Ok(());
        }
        if (record.position.volume, record.position.offset) >= replay.end {
            return Ok(());
        }
        let selection = replay.select(&envelope);
        let total = envelope.events as usize;
        let events = selection.count(total) as u64;
        if events > 0 {
            let (first, last) = found.arrived.unwrap_or((envelope.received_at, envelope.received_at));
            found.arrived = Some((first.min(envelope.received_at), last.max(envelope.received_at)));
            let places = envelope.outline.iter().flat_map(|outline| outline.events.iter().enumerate());
            let persons = places.filter(|(index, _)| selection.contains(*index)).map(|(_, place)| place.person);
            people.extend(persons.take(PEOPLE_MAX.saturating_sub(people.len())));
            parcels.push((record.position, events));
        }
        Ok(())
    })?;
    // What it has journalled already is not to be sent any more.
    found.events = parcels.iter().filter(|(position, _)| Some(*position) > found.reached).map(|(_, events)| events).sum();
    found.people = people.len() as u64;
    for volume in &survey.volumes {
        kept_from = kept_from.into_iter().chain(volume.arrived.map(|(first, _)| first)).min();
    }
    (found.kept_from, found.is_whole) = (kept_from, survey.is_whole());
    Ok(found)
}

/// Hands out what a replay sends, from behind `reached` on. Blocks as long as `each` does.
pub(super) fn read(
    dir: &Path,
    replay: &Replay,
    reached: Option<Position>,
    mut each: impl FnMut(Parcel) -> io::Result<()>,
) -> io::Result<()> {
    let wanted = Wanted { source: Some(replay.source.clone()), ..Wanted::default() };
    open(dir)?.read(&wanted, |archived| {
        let Archived::Record(record) = archived else { return Ok(()) };
        if Some(record.position) <= reached || (record.position.volume, record.position.offset) >= replay.end {
            return Ok(());
        }
        let Ok(envelope) = Envelope::decode(&Bytes::copy_from_slice(record.payload)) else { return Ok(()) };
        let selection = replay.select(&envelope);
        let events = u32::try_from(selection.count(envelope.events as usize)).unwrap_or(u32::MAX);
        if events == 0 {
            return Ok(());
        }
        each(Parcel { position: record.position, envelope, selection, events })
    })?;
    Ok(())
}

fn open(dir: &Path) -> io::Result<Archive> {
    Archive::open(dir).map_err(io::Error::other)
}
