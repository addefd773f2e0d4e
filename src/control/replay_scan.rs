//! What of a replay is still in the journal: its log is read beside the running journal, oldest record first.

use std::{collections::HashSet, io, path::Path};

use bytes::Bytes;

use crate::{
    journal::{Archive, Archived, Position, Wanted},
    model::{Encoding, Envelope, Head, Origin, Reading, Repeated, Revision, Selection, WallTime},
    protocol::{InflateLimits, inflate},
    routing::{Facts, Match, Person, Replay, Rule},
};

/// The ingress lets in less.
const INFLATE_LIMITS: InflateLimits = InflateLimits { bytes_max: 64 << 20, ratio_max: usize::MAX };
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

/// Which events of an envelope a replay sends again. By a route means by the source's rules above it, too: then the events are opened.
fn select(replay: &Replay, rules: &[Rule], envelope: &Envelope) -> Selection {
    let Some(route) = replay.by_route.filter(|_| !rules.is_empty()) else { return replay.select(envelope) };
    let total = envelope.events as usize;
    let candidates = Replay { by_route: None, ..replay.clone() }.select(envelope);
    if candidates.is_none() {
        return Selection::None;
    }
    let opened = match envelope.encoding {
        Encoding::Identity => Some(envelope.body.clone()),
        Encoding::Gzip => inflate(&envelope.body, INFLATE_LIMITS).ok().map(Bytes::from),
    };
    // Of what cannot be opened nobody knows: it goes as without rules.
    let Some(opened) = opened else { return replay.select(envelope) };
    let Ok(reading) = Reading::of(envelope.endpoint, &opened) else { return replay.select(envelope) };
    let would_go = |index: &usize| {
        let head = Head::of_members(reading.members(*index).iter().copied(), envelope.endpoint);
        let facts = Facts::of_event(&reading, *index, &head);
        let route = rules.iter().find(|rule| rule.when.take(&facts) == Match::Yes).map_or(route, |rule| rule.route);
        let place = envelope.outline.as_ref().and_then(|outline| outline.events.get(*index));
        place.is_none_or(|place| route.takes(replay.destination, Person(place.person)))
    };
    let chosen = (0..total).filter(|index| candidates.contains(*index)).filter(would_go).map_while(|index| u16::try_from(index).ok());
    Selection::of(chosen.collect(), total)
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
pub(super) fn count(dir: &Path, replay: &Replay, rules: &[Rule], job: Option<Revision>) -> io::Result<Found> {
    let mut found = Found::default();
    let mut people = HashSet::new();
    let mut parcels: Vec<(Position, u64)> = Vec::new();
    let wanted = Wanted { source: Some(replay.source.clone()), ..Wanted::default() };
    let mut kept_from: Option<WallTime> = None;
    let survey = open(dir)?.read(&wanted, |archived| {
        let Archived::Record(record) = archived else { return Ok(()) };
        let Ok(envelope) = Envelope::decode(&Bytes::copy_from_slice(record.payload)) else { return Ok(()) };
        if let Origin::Replay(Repeated { job: of, volume, offset }) = envelope.origin {
            if Some(of) == job {
                found.sent += envelope.plan.events.of(replay.destination).count(envelope.events as usize) as u64;
                found.reached = found.reached.max(Some(Position { volume, offset }));
            }
            return Ok(());
        }
        if (record.position.volume, record.position.offset) >= replay.end {
            return Ok(());
        }
        let selection = select(replay, rules, &envelope);
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
    rules: &[Rule],
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
        let selection = select(replay, rules, &envelope);
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
