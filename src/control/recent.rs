//! Who a source's events came from of late: what the newest part of the journal tells.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt, io,
    path::Path,
};

use bytes::Bytes;

use crate::{
    journal::{Archive, Archived, Wanted},
    model::{Encoding, Envelope, Frame, Origin, Reading, SourceId, WallTime, json::Raw},
    protocol::{InflateLimits, inflate},
};

/// How much of the journal is looked at: a look has to be quick.
const VOLUMES_MAX: usize = 2;
/// More events are not opened, nor more bytes of them kept in memory.
const EVENTS_MAX: u64 = 20_000;
const BYTES_MAX: usize = 64 << 20;
/// Apps that are told.
const APPS_MAX: usize = 8;
/// Longer names and versions are cut.
const NAME_CHARS_MAX: usize = 80;
/// The ingress lets in less.
const INFLATE_LIMITS: InflateLimits = InflateLimits { bytes_max: 64 << 20, ratio_max: usize::MAX };

/// Who they came from.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// When the oldest of the events arrived; None: there are none.
    pub since: Option<WallTime>,
    /// How many events were looked at.
    pub events: u64,
    /// Whose they are.
    pub people: u64,
    /// The apps by name and version, else the libraries, with their events: the most first.
    pub apps: Vec<(String, u64)>,
}

/// One event of the newest part of the journal.
pub(super) struct RecentEvent {
    pub(super) received_at: WallTime,
    /// Whose it is.
    pub(super) person: Option<u64>,
    /// The app that it names, and its version.
    pub(super) app: Option<Software>,
    /// The library that made it.
    pub(super) library: Option<Software>,
}

/// A name, and a version when one is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Software {
    pub(super) name: String,
    pub(super) version: Option<String>,
}

/// Looks at who a source's events came from, in the newest part of the journal. Blocks for a moment.
pub(super) fn look(dir: &Path, source: &SourceId) -> io::Result<Recent> {
    let (mut recent, mut people, mut apps) = (Recent::default(), HashSet::new(), HashMap::<String, u64>::new());
    each(dir, Some(source), |event| {
        recent.events += 1;
        recent.since = Some(recent.since.map_or(event.received_at, |since| since.min(event.received_at)));
        people.extend(event.person);
        let label = event.app.or(event.library).map(|software| software.to_string());
        *apps.entry(label.unwrap_or_else(|| "(not told)".to_owned())).or_default() += 1;
    })?;
    recent.people = people.len() as u64;
    recent.apps = apps.into_iter().collect();
    recent.apps.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    recent.apps.truncate(APPS_MAX);
    Ok(recent)
}

/// Tells each event of the newest part of the journal, replayed ones left out. Blocks for a moment.
pub(super) fn each(dir: &Path, source: Option<&SourceId>, mut told: impl FnMut(RecentEvent)) -> io::Result<()> {
    for envelope in newest(dir, source, EVENTS_MAX, |_| true)? {
        of_envelope(&envelope, &mut told);
    }
    Ok(())
}

/// The newest envelopes that are wanted, oldest first: so many events of them at most, and so many bytes. Blocks for a moment.
pub(super) fn newest(
    dir: &Path,
    source: Option<&SourceId>,
    events_max: u64,
    wanted: impl Fn(&Envelope) -> bool,
) -> io::Result<VecDeque<Envelope>> {
    let (mut kept, mut events, mut bytes) = (VecDeque::<Envelope>::new(), 0, 0);
    envelopes(dir, source, |envelope| {
        if wanted(&envelope) {
            (events, bytes) = (events + u64::from(envelope.events), bytes + envelope.body.len());
            kept.push_back(envelope);
        }
        while events > events_max || bytes > BYTES_MAX {
            let Some(oldest) = kept.pop_front() else { break };
            (events, bytes) = (events - u64::from(oldest.events), bytes - oldest.body.len());
        }
    })?;
    Ok(kept)
}

/// Tells each envelope of the newest part of the journal, oldest first, replayed ones left out. Blocks for a moment.
pub(super) fn envelopes(dir: &Path, source: Option<&SourceId>, mut told: impl FnMut(Envelope)) -> io::Result<()> {
    let archive = Archive::open(dir).map_err(io::Error::other)?;
    let wanted = Wanted { source: source.cloned(), newest: Some(VOLUMES_MAX), ..Wanted::default() };
    archive.read(&wanted, |archived| {
        let Archived::Record(record) = archived else { return Ok(()) };
        let Ok(envelope) = Envelope::decode(&Bytes::copy_from_slice(record.payload)) else { return Ok(()) };
        if !matches!(envelope.origin, Origin::Replay(_)) {
            told(envelope);
        }
        Ok(())
    })?;
    Ok(())
}

/// The body of an envelope, inflated; None: it cannot be.
pub(super) fn inflated(envelope: &Envelope) -> Option<Bytes> {
    match envelope.encoding {
        Encoding::Identity => Some(envelope.body.clone()),
        Encoding::Gzip => inflate(&envelope.body, INFLATE_LIMITS).ok().map(Bytes::from),
    }
}

/// The app that an event names, else its library, with the version; None: neither is told.
pub(super) fn app_of_event(item: Raw<'_>, frame: Frame<'_>) -> Option<String> {
    item.get("context").and_then(app_of).or_else(|| frame.context.and_then(app_of))
}

fn of_envelope(envelope: &Envelope, told: &mut impl FnMut(RecentEvent)) {
    let Some(inflated) = inflated(envelope) else { return };
    let Ok(reading) = Reading::of(envelope.endpoint, &inflated) else { return };
    for (index, item) in reading.items.iter().enumerate() {
        let named = |member: &str, names: &[&str]| {
            let of = |context: Raw<'_>| software(context, member, names);
            item.get("context").and_then(of).or_else(|| reading.frame.context.and_then(of))
        };
        told(RecentEvent {
            received_at: envelope.received_at,
            person: envelope.outline.as_ref().and_then(|outline| outline.events.get(index)).map(|place| place.person),
            app: named("app", &["name", "namespace"]),
            library: named("library", &["name"]),
        });
    }
}

/// What a context names as its app or library.
fn software(context: Raw<'_>, member: &str, names: &[&str]) -> Option<Software> {
    let object = context.get(member)?;
    let text = |name: &str| object.get(name)?.string().filter(|text| !text.trim().is_empty());
    let short = |text: &str| text.chars().take(NAME_CHARS_MAX).collect::<String>();
    let name = names.iter().find_map(|name| text(name))?;
    Some(Software { name: short(&name), version: text("version").map(|version| short(&version)) })
}

impl fmt::Display for Software {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.version.as_ref().map_or(Ok(()), |version| write!(f, " {version}"))
    }
}

/// The app of a context, else its library, with the version, 80 characters of each at most; None: it names neither.
#[must_use]
pub fn app_of(context: Raw<'_>) -> Option<String> {
    let named = software(context, "app", &["name", "namespace"]).or_else(|| software(context, "library", &["name"]));
    named.map(|software| software.to_string())
}
