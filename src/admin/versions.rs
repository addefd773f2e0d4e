//! Which apps and libraries events come from.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use axum::{extract::State, response::Response};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    answer::{Problems, Refusal, good},
    extract::Query,
    lanes::source_id,
    server::Hub,
};
use crate::{
    census::{Maker, Outlook, SILENT_DAYS, Verdict, VersionSeen, old_sdk},
    evidence::{Basis, Track},
    model::{SourceId, WallTime},
    wire::{self, ProblemCode, schema},
};

/// What `GET /v1/versions` can be asked.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Only versions of this source, by id or name.
    source: Option<String>,
}

/// Apps, versions, libraries and platforms: their events, people and times, and whether a source could do without Segment.
#[utoipa::path(get, path = "/v1/versions", tag = "state", params(Asked), responses((status = 200, body = wire::Versions), Problems))]
pub(super) async fn versions(State(hub): State<Hub>, Query(asked): Query<Asked>) -> Result<Response, Refusal> {
    let source = asked.source.as_deref().map(|source| source_id(&hub, source)).transpose()?;
    let (census, now) = (Arc::clone(&hub.census), hub.clock.now());
    let report = tokio::task::spawn_blocking(move || census.report(source.as_ref(), now)).await;
    let report = report.map_err(|_| Refusal::new(ProblemCode::Stopping, "the sidecar is stopping", "Ask again once it runs."))?;
    let mut of_source = HashMap::<_, u64>::new();
    for seen in &report.versions {
        *of_source.entry(seen.source.clone()).or_default() += seen.events;
    }
    let tracks = of_source.keys().filter_map(|source| Some((source.clone(), hub.evidence.track(source, Basis::Tap)?))).collect();
    Ok(good(&wire::Versions {
        schema: schema::VERSIONS.to_owned(),
        since: report.versions.iter().map(|seen| seen.first_at).min().map(|since| since.to_string()),
        events: of_source.values().sum(),
        versions: report.versions.iter().map(|seen| told(&hub, &tracks, seen, of_source[&seen.source])).collect(),
        outlooks: report.outlooks.iter().map(|outlook| outlook_told(&hub, outlook)).collect(),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn told(hub: &Hub, tracks: &HashMap<SourceId, Track>, seen: &VersionSeen, all: u64) -> wire::VersionSeen {
    // A key that an app put there by mistake is not told either.
    let text = |text: &Option<Cow<'_, str>>| text.as_deref().map(|text| hub.without_keys(text));
    let moment = |at: Option<WallTime>| at.map(|at| at.to_string());
    let nothing = Maker::default();
    let maker = seen.maker.as_ref().unwrap_or(&nothing);
    let library = [text(&maker.library), text(&maker.library_version)].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let old_sdk = old_sdk(maker);
    wire::VersionSeen {
        source: seen.source.to_string(),
        app: text(&maker.app),
        version: text(&maker.app_version),
        library: Some(library).filter(|library| !library.is_empty()),
        platform: text(&maker.platform),
        events: seen.events,
        share: seen.events as f64 / all.max(1) as f64,
        people: seen.people,
        people_lately: seen.people_lately,
        first_at: seen.first_at.to_string(),
        last_at: seen.last_at.to_string(),
        hours: without_end(&seen.hours),
        days: without_end(&seen.days),
        segment: seen.goes.segment,
        rudderstack: seen.goes.rudderstack,
        by_webhook: seen.by_webhook,
        segment_alone_at: moment(seen.alone_at),
        webhook_at: moment(seen.webhook_at),
        parity: seen.maker.as_ref().and_then(|maker| parity(tracks.get(&seen.source)?, maker)),
        flags: flags(seen, old_sdk).into_iter().map(str::to_owned).collect(),
        old_sdk: old_sdk.map(str::to_owned),
    }
}

/// On how many events of that version both vendors' taps agree; None: they have not told. Evidence knows versions by the app's name, else
/// the library's, as a maker is written.
#[expect(clippy::cast_precision_loss, reason = "a share")]
fn parity(track: &Track, maker: &Maker<'_>) -> Option<f64> {
    let tally = track.versions.get(&maker.to_string())?;
    let judged = tally.agree() + tally.differ();
    (judged > 0).then(|| tally.agree() as f64 / judged as f64)
}

fn flags(seen: &VersionSeen, old_sdk: Option<&str>) -> Vec<&'static str> {
    let Some(maker) = &seen.maker else { return vec!["others"] };
    let is_unknown = *maker == Maker::default();
    let runs_apps = maker.platform.as_deref().is_some_and(|platform| platform != "web");
    let flags = [("old_sdk", old_sdk.is_some()), ("no_app", maker.app.is_none() && runs_apps), ("unknown", is_unknown)];
    flags.into_iter().filter(|(_, stands)| *stands).map(|(flag, _)| flag).collect()
}

fn without_end(counts: &[u32]) -> Vec<u32> {
    let length = counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    counts[..length].to_vec()
}

fn outlook_told(hub: &Hub, outlook: &Outlook) -> wire::StopOutlook {
    let verdict = match outlook.verdict {
        Verdict::Safe => "safe",
        Verdict::NotSafe => "not_safe",
        Verdict::TooEarly => "too_early",
    };
    wire::StopOutlook {
        source: outlook.source.to_string(),
        verdict: verdict.to_owned(),
        since: outlook.since.to_string(),
        silent_days: SILENT_DAYS,
        people: outlook.people,
        people_segment_alone: outlook.people_alone,
        versions_segment_alone: outlook.versions_alone,
        named_segment_alone: outlook.named_alone.iter().map(|name| hub.without_keys(name)).collect(),
        versions_by_webhook: outlook.versions_by_webhook,
        versions_silent: outlook.versions_silent,
        people_gone: outlook.people_gone,
    }
}
