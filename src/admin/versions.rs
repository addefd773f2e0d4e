//! Which apps and libraries events come from.

use axum::{extract::State, response::Response};

use super::{
    answer::{Problems, Refusal, good},
    server::Hub,
};
use crate::{
    control::VersionSeen,
    wire::{self, ProblemCode, schema},
};

/// Apps, versions and libraries, by the newest part of the journal: the newest two volumes of it, at most 20,000 events.
#[utoipa::path(get, path = "/v1/versions", tag = "state", responses((status = 200, body = wire::Versions), Problems))]
pub(super) async fn versions(State(hub): State<Hub>) -> Result<Response, Refusal> {
    let versions = hub.replayer.versions().await.map_err(|error| {
        Refusal::new(ProblemCode::Disk, format!("the journal cannot be read: {error}"), "See the log for what the disk says.")
    })?;
    Ok(good(&wire::Versions {
        schema: schema::VERSIONS.to_owned(),
        since: versions.since.map(|since| since.to_string()),
        events: versions.events,
        versions: versions.seen.into_iter().map(|seen| told(&hub, seen)).collect(),
    }))
}

fn told(hub: &Hub, seen: VersionSeen) -> wire::VersionSeen {
    let VersionSeen { source, app, version, library, events, people, last_at, goes } = seen;
    // A key that an app put there by mistake is not told either.
    let text = |text: Option<String>| text.map(|text| hub.without_keys(&text));
    wire::VersionSeen {
        source: source.to_string(),
        app: text(app),
        version: text(version),
        library: text(library),
        events,
        people,
        last_at: last_at.to_string(),
        segment: goes.segment,
        rudderstack: goes.rudderstack,
    }
}
