//! Which apps and libraries events came from of late, by the newest part of the journal.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    path::Path,
};

use super::recent::{self, RecentEvent, Software};
use crate::model::{Destination, PerDestination, SourceId, WallTime};

/// More versions than this are not told apart: whoever makes them up does not fill the memory.
const VERSIONS_MAX: usize = 2_000;

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct Versions {
    /// When the oldest of the events arrived; None: there are none.
    pub since: Option<WallTime>,
    /// How many events were looked at.
    pub events: u64,
    /// The versions, those with the most events first; events of a version beyond the first two thousand are in none.
    pub seen: Vec<VersionSeen>,
}

/// One version of an app, under one source and library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionSeen {
    /// The source.
    pub source: SourceId,
    /// The app; None: it does not name itself.
    pub app: Option<String>,
    /// Its version; None: it tells none.
    pub version: Option<String>,
    /// The library and its version; None: it does not say.
    pub library: Option<String>,
    /// Events.
    pub events: u64,
    /// Whose they are.
    pub people: u64,
    /// When the last of them arrived.
    pub last_at: WallTime,
    /// Of them, those that each destination is to get.
    pub goes: PerDestination<u64>,
}

type Key = (SourceId, Option<Software>, Option<Software>);

/// What is counted of one version.
struct Count {
    events: u64,
    people: HashSet<u64>,
    last_at: WallTime,
    goes: PerDestination<u64>,
}

/// Looks at the newest part of the journal. Blocks for a moment.
pub(super) fn look(dir: &Path) -> io::Result<Versions> {
    let (mut versions, mut counts) = (Versions::default(), BTreeMap::<Key, Count>::new());
    recent::each(dir, None, |event| {
        versions.events += 1;
        versions.since = Some(versions.since.map_or(event.received_at, |since| since.min(event.received_at)));
        count(&mut counts, event);
    })?;
    versions.seen = counts.into_iter().map(seen).collect();
    versions.seen.sort_by_key(|seen| std::cmp::Reverse(seen.events));
    Ok(versions)
}

fn count(counts: &mut BTreeMap<Key, Count>, event: RecentEvent<'_>) {
    let key = (event.source.clone(), event.app, event.library);
    if counts.len() >= VERSIONS_MAX && !counts.contains_key(&key) {
        return;
    }
    let nothing = || Count { events: 0, people: HashSet::new(), last_at: event.received_at, goes: PerDestination::default() };
    let count = counts.entry(key).or_insert_with(nothing);
    count.events += 1;
    count.people.extend(event.person);
    count.last_at = count.last_at.max(event.received_at);
    for destination in Destination::ALL {
        *count.goes.of_mut(destination) += u64::from(*event.goes.of(destination));
    }
}

fn seen(((source, app, library), count): (Key, Count)) -> VersionSeen {
    let library = library.map(|library| library.to_string());
    let (app, version) = app.map_or((None, None), |app| (Some(app.name), app.version));
    let Count { events, people, last_at, goes } = count;
    VersionSeen { source, app, version, library, events, people: people.len() as u64, last_at, goes }
}
