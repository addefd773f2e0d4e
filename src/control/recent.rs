//! Who a source's events came from of late: what the newest part of the journal tells.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::Path,
};

use bytes::Bytes;

use crate::{
    journal::{Archive, Archived, Wanted},
    model::{Encoding, Envelope, Origin, Reading, SourceId, WallTime, json::Raw},
    protocol::{InflateLimits, inflate},
};

/// How much of the journal is looked at: a look has to be quick.
const VOLUMES_MAX: usize = 2;
/// More events are not opened.
const EVENTS_MAX: u64 = 20_000;
/// Apps that are told.
const APPS_MAX: usize = 8;
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

/// Looks at the newest part of the journal. Blocks for a moment.
pub(super) fn look(dir: &Path, source: &SourceId) -> io::Result<Recent> {
    let archive = Archive::open(dir).map_err(io::Error::other)?;
    let wanted = Wanted { source: Some(source.clone()), newest: Some(VOLUMES_MAX), ..Wanted::default() };
    let (mut recent, mut people, mut apps) = (Recent::default(), HashSet::new(), HashMap::<String, u64>::new());
    archive.read(&wanted, |archived| {
        let Archived::Record(record) = archived else { return Ok(()) };
        let Ok(envelope) = Envelope::decode(&Bytes::copy_from_slice(record.payload)) else { return Ok(()) };
        if matches!(envelope.origin, Origin::Replay(_)) || recent.events >= EVENTS_MAX {
            return Ok(());
        }
        recent.events += u64::from(envelope.events);
        recent.since = Some(recent.since.map_or(envelope.received_at, |since| since.min(envelope.received_at)));
        people.extend(envelope.outline.iter().flat_map(|outline| outline.events.iter().map(|place| place.person)));
        let inflated: Bytes = match envelope.encoding {
            Encoding::Identity => envelope.body.clone(),
            Encoding::Gzip => match inflate(&envelope.body, INFLATE_LIMITS) {
                Ok(inflated) => inflated.into(),
                Err(_) => return Ok(()),
            },
        };
        if let Ok(reading) = Reading::of(envelope.endpoint, &inflated) {
            for item in &reading.items {
                let label = item.get("context").and_then(app).or_else(|| reading.frame.context.and_then(app));
                *apps.entry(label.unwrap_or_else(|| "(not told)".to_owned())).or_default() += 1;
            }
        }
        Ok(())
    })?;
    recent.people = people.len() as u64;
    recent.apps = apps.into_iter().collect();
    recent.apps.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    recent.apps.truncate(APPS_MAX);
    Ok(recent)
}

/// The app of a context, else its library, with the version.
fn app(context: Raw<'_>) -> Option<String> {
    let named = |member: &str, names: &[&str]| {
        let object = context.get(member)?;
        let text = |name: &str| object.get(name)?.string().filter(|text| !text.trim().is_empty());
        let name = names.iter().find_map(|name| text(name))?;
        let version = text("version").map(|version| format!(" {version}")).unwrap_or_default();
        Some(format!("{name}{version}").chars().take(80).collect())
    };
    named("app", &["name", "namespace"]).or_else(|| named("library", &["name"]))
}
