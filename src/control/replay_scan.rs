//! What of a replay is still in the journal: its log is read beside the running journal, oldest record first.

use std::{collections::HashSet, io, path::Path};

use bytes::Bytes;

use crate::{
    journal::{Archive, Archived, Position, Survey, Wanted},
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
    /// When the oldest record of the source arrived that the journal has; None: it has none.
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

/// Counts what a replay would send, and what the job of that name has sent already. Blocks while it reads the whole log, with a job twice.
pub(super) fn count(dir: &Path, replay: &Replay, rules: &[Rule], job: Option<Revision>) -> io::Result<Found> {
    let mut found = Found::default();
    if let Some(job) = job {
        (found.sent, found.reached) = sent(dir, replay, job)?;
    }
    let mut people = HashSet::new();
    let reached = found.reached;
    let survey = each_original(dir, replay, reached, |_, envelope| {
        let selection = select(replay, rules, &envelope);
        let events = selection.count(envelope.events as usize) as u64;
        if events > 0 {
            found.events += events;
            let (first, last) = found.arrived.unwrap_or((envelope.received_at, envelope.received_at));
            found.arrived = Some((first.min(envelope.received_at), last.max(envelope.received_at)));
            let places = envelope.outline.iter().flat_map(|outline| outline.events.iter().enumerate());
            let persons = places.filter(|(index, _)| selection.contains(*index)).map(|(_, place)| place.person);
            people.extend(persons.take(PEOPLE_MAX.saturating_sub(people.len())));
        }
        Ok(())
    })?;
    found.people = people.len() as u64;
    found.kept_from = survey.volumes.iter().filter_map(|volume| volume.arrived.map(|(first, _)| first)).min();
    found.is_whole = survey.is_whole();
    Ok(found)
}

/// What a job has journalled already: how many events, and up to which record.
fn sent(dir: &Path, replay: &Replay, job: Revision) -> io::Result<(u64, Option<Position>)> {
    let (mut events, mut reached) = (0, None);
    each(dir, replay, |_, envelope| {
        if let Origin::Replay(Repeated { job: of, volume, offset }) = envelope.origin
            && of == job
        {
            events += envelope.plan.events.of(replay.destination).count(envelope.events as usize) as u64;
            reached = reached.max(Some(Position { volume, offset }));
        }
        Ok(())
    })?;
    Ok((events, reached))
}

/// Hands out what came from clients, from behind `reached` on to where the log ended when the replay began.
fn each_original(
    dir: &Path,
    replay: &Replay,
    reached: Option<Position>,
    mut with: impl FnMut(Position, Envelope) -> io::Result<()>,
) -> io::Result<Survey> {
    each(dir, replay, |position, envelope| {
        let is_copy = matches!(envelope.origin, Origin::Replay(_));
        if is_copy || Some(position) <= reached || (position.volume, position.offset) >= replay.end {
            return Ok(());
        }
        with(position, envelope)
    })
}

/// Hands out every envelope of the source that can be read, oldest first.
fn each(dir: &Path, replay: &Replay, mut with: impl FnMut(Position, Envelope) -> io::Result<()>) -> io::Result<Survey> {
    let wanted = Wanted { source: Some(replay.source.clone()), ..Wanted::default() };
    let archive = Archive::open(dir).map_err(io::Error::other)?;
    archive.read(&wanted, |archived| {
        let Archived::Record(record) = archived else { return Ok(()) };
        match Envelope::decode(&Bytes::copy_from_slice(record.payload)) {
            Ok(envelope) => with(record.position, envelope),
            Err(_) => Ok(()),
        }
    })
}

/// Hands out what a replay sends, from behind `reached` on. Blocks as long as `with` does.
pub(super) fn read(
    dir: &Path,
    replay: &Replay,
    rules: &[Rule],
    reached: Option<Position>,
    mut with: impl FnMut(Parcel) -> io::Result<()>,
) -> io::Result<()> {
    each_original(dir, replay, reached, |position, envelope| {
        let selection = select(replay, rules, &envelope);
        let events = u32::try_from(selection.count(envelope.events as usize)).unwrap_or(u32::MAX);
        if events == 0 { Ok(()) } else { with(Parcel { position, envelope, selection, events }) }
    })?;
    Ok(())
}
