//! How the sidecar is, on one page: what is wrong comes first, with what to do.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use axum::{
    extract::{Extension, State},
    response::Response,
};

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    lanes, ramps,
    rates::told,
    routes::event,
    server::Hub,
};
use crate::{
    control::Reloader,
    delivery::{Answers, Latencies},
    ingress::Count,
    journal::{Health, SpillQuota},
    model::{Destination, Role, SourceId, WallTime},
    routing::Source,
    wire::{self, DestinationStatus, JournalStatus, Lane, Trouble, schema},
};

/// How the sidecar is, on one page.
#[utoipa::path(get, path = "/v1/status", tag = "state", responses((status = 200, body = wire::Status), Problems))]
pub(super) async fn status(State(hub): State<Hub>) -> Response {
    let lanes = lanes::all(&hub);
    good(&of(&hub, &lanes))
}

/// Has the readiness probe say no, so that a load balancer sends elsewhere. What still comes is taken.
#[utoipa::path(post, path = "/v1/drain/on", tag = "state", responses((status = 200, body = wire::Status), Problems))]
pub(super) async fn drain_on(State(hub): State<Hub>, Extension(caller): Extension<Caller>) -> Result<Response, Refusal> {
    drain(&hub, caller, true)
}

/// Has the readiness probe say what it finds.
#[utoipa::path(post, path = "/v1/drain/off", tag = "state", responses((status = 200, body = wire::Status), Problems))]
pub(super) async fn drain_off(State(hub): State<Hub>, Extension(caller): Extension<Caller>) -> Result<Response, Refusal> {
    drain(&hub, caller, false)
}

fn drain(hub: &Hub, caller: Caller, on: bool) -> Result<Response, Refusal> {
    caller.must(Role::Operate)?;
    hub.draining.store(on, Ordering::Relaxed);
    tracing::info!(event = "draining", on, uid = caller.uid, "an operator changed what the readiness probe says");
    Ok(good(&of(hub, &lanes::all(hub))))
}

/// The same, with the lanes as they were looked at already.
pub(super) fn of(hub: &Hub, lanes: &[Lane]) -> wire::Status {
    let standing = hub.switchboard.standing();
    let paces = hub.live.rates.paces(&hub.journal, &hub.counters);
    let troubles = troubles(hub, lanes);
    let drift = standing.sources.iter().filter(|source| source.route != source.configured).map(|source| source.name.clone()).collect();
    wire::Status {
        schema: schema::STATUS.to_owned(),
        at: hub.clock.now().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: hub.started_at.to_string(),
        healthy: troubles.is_empty(),
        troubles,
        revision: standing.revision.0,
        kill: standing.killed.as_ref().map(event),
        draining: hub.draining.load(Ordering::Relaxed),
        viewers: hub.live.stage.viewers(),
        viewer_events_lost: hub.live.stage.lost(),
        sources: standing.sources.len() as u64,
        drift,
        received_per_second: told(paces.received_all()),
        destinations: Destination::ALL.map(|destination| destination_status(hub, destination, lanes)).to_vec(),
        journal: journal(hub),
    }
}

/// What came of each configured source.
pub(super) fn sources(hub: &Hub) -> Vec<wire::SourceFigures> {
    let paces = hub.live.rates.paces(&hub.journal, &hub.counters);
    let figures = |source: &Source| {
        let counts = hub.counters.source(&source.id);
        wire::SourceFigures {
            source: source.id.to_string(),
            received: counts.received.iter().map(Count::value).sum(),
            received_per_second: told(paces.received(&source.id)),
            relayed: counts.relayed.value(),
            unjournalled: counts.unjournalled.value(),
            ramp: ramps::running(hub, &source.id),
            gates: ramps::gates(hub, &source.id),
        }
    };
    hub.sources.load().list().iter().map(|source| figures(source)).collect()
}

fn journal(hub: &Hub) -> JournalStatus {
    let usage = hub.journal.usage();
    JournalStatus {
        state: state(hub.journal.health()).to_owned(),
        bytes: usage.bytes,
        pinned_bytes: usage.pinned_bytes,
        capacity_bytes: usage.capacity,
        hours_left: hub.journal.hours_left().map(told),
    }
}

/// One word for it.
pub(super) const fn state(health: Health) -> &'static str {
    match health {
        Health::Writable => "writable",
        Health::Full => "full",
        Health::Broken => "broken",
    }
}

fn destination_status(hub: &Hub, destination: Destination, lanes: &[Lane]) -> DestinationStatus {
    let standing = hub.lanes.destination(destination);
    let lanes: Vec<&Lane> = lanes.iter().filter(|lane| lane.destination == destination.label()).collect();
    let count = |state: &str| lanes.iter().filter(|lane| lane.state == state).count() as u64;
    DestinationStatus {
        destination: destination.label().to_owned(),
        delivered_per_second: told(lanes.iter().map(|lane| lane.delivered_per_second).sum()),
        pending: lanes.iter().map(|lane| lane.ledger.pending).sum(),
        oldest: lanes.iter().filter_map(|lane| lane.oldest.clone()).min(),
        quarantined: lanes.iter().map(|lane| lane.ledger.quarantined).sum(),
        held: count("held"),
        parked: count("parked"),
        reachable: count("unreachable") == 0,
        breaker: standing.breaker.map(|breaker| breaker.label().to_owned()).unwrap_or_default(),
        latency: hub.live.rates.latencies(destination, &standing.latencies).and_then(|latencies| latency(&latencies)),
        answers: answers(standing.answers),
        limit: hub.lanes.limit_of(destination).to_string(),
        paced: standing.paced,
        in_flight: lanes.iter().map(|lane| lane.in_flight).sum(),
    }
}

fn answers(answers: Answers) -> wire::Answers {
    let Answers { ok, throttled, refused, failed, unanswered } = answers;
    wire::Answers { ok, throttled, refused, failed, unanswered }
}

/// None: there was no answer.
fn latency(latencies: &Latencies) -> Option<wire::Latency> {
    let millis = |share| latencies.quantile(share).map(|took| told(took.as_secs_f64() * 1e3));
    Some(wire::Latency { p50_ms: millis(0.5)?, p90_ms: millis(0.9)?, p99_ms: millis(0.99)?, answers: latencies.answers() })
}

fn troubles(hub: &Hub, lanes: &[Lane]) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    troubles.extend(journal_trouble(hub));
    troubles.extend(lanes.iter().filter_map(lane_trouble));
    troubles.extend(unreachable(lanes));
    let over = hub.journal.spilled().into_iter().filter(|(_, spilled)| spilled.quota == SpillQuota::Over);
    troubles.extend(over.map(|(id, spilled)| Trouble {
        kind: "over_quota".to_owned(),
        source: Some(id.source.to_string()),
        destination: Some(id.destination.label().to_owned()),
        what: format!("{} takes its whole share of the disk with what waits for {}", id.source, name(id.destination)),
        means: format!("{} bytes wait. New events of it are not kept for this destination; the other sources go on.", spilled.bytes),
        fix: format!("Mend what holds it up, or let it go on: segue hold ls, segue unpark {} {}", id.source, id.destination.label()),
    }));
    if let Some(why) = hub.reloader.as_ref().and_then(Reloader::refused) {
        troubles.push(Trouble {
            kind: "config_refused".to_owned(),
            source: None,
            destination: None,
            what: format!("the configuration that stands there is wrong, and not in force: {}", hub.without_keys(&why)),
            means: "The one that was in force still is; the next start would not do.".to_owned(),
            fix: "Mend it, and then: segue check, segue reload".to_owned(),
        });
    }
    let broken = hub.switchboard.audit().broken;
    if let Some(line) = broken.first() {
        troubles.push(Trouble {
            kind: "history_broken".to_owned(),
            source: None,
            destination: None,
            what: format!("line {line} of the history of changes was changed, or one before it is gone"),
            means: "No event is touched by that; who changed what is no longer certain from there on.".to_owned(),
            fix: "See segue audit verify, and who may write to the data directory.".to_owned(),
        });
    }
    troubles.extend(leaks(hub));
    troubles
}

/// Apps that take their settings here and send their events elsewhere.
fn leaks(hub: &Hub) -> Vec<Trouble> {
    let sources = hub.sources.load();
    let name = |id: &SourceId| sources.by_id(id).map_or_else(|| id.to_string(), |source| source.name.clone());
    let told = |(id, since): (SourceId, WallTime)| Trouble {
        kind: "settings_leak".to_owned(),
        source: Some(id.to_string()),
        destination: None,
        what: format!("{}: settings are fetched here since {since}, and no events come", name(&id)),
        means: "Its apps send their events past segue: RudderStack does not get them.".to_owned(),
        fix: "Set public_host in [ingress], and lead api.segment.io here for SDKs that do not heed it: segue doctor".to_owned(),
    };
    hub.counters.leaks(hub.clock.now()).into_iter().map(told).collect()
}

fn journal_trouble(hub: &Hub) -> Option<Trouble> {
    let (kind, what, fix) = match hub.journal.health() {
        Health::Writable => return None,
        Health::Full => ("journal_full", "the journal is full", "Mend what holds up the lanes (segue hold ls), or give it more: size_max"),
        Health::Broken => ("journal_broken", "the journal cannot write", "See the log for what the disk says, and mend the disk."),
    };
    Some(Trouble {
        kind: kind.to_owned(),
        source: None,
        destination: None,
        what: what.to_owned(),
        means: "Events with a share of Segment are relayed to it live, without RudderStack's copy; others are answered 429, and apps keep them."
            .to_owned(),
        fix: fix.to_owned(),
    })
}

fn lane_trouble(lane: &Lane) -> Option<Trouble> {
    let (source, to) = (&lane.source, if lane.destination == "segment" { "Segment" } else { "RudderStack" });
    let waiting = format!("{} events wait in the journal; none is lost.", lane.ledger.pending);
    let (kind, what, fix) = match lane.state.as_str() {
        "parked" => {
            let (since, reason) = (lane.since.as_deref().unwrap_or("now"), lane.reason.as_deref().unwrap_or("it does not say why"));
            let what = format!("{to} does not take the events of {source} since {since}: {reason}");
            let fix = format!(
                "Compare the key and the source at {to} with the configuration, then: segue reload, segue unpark {source} {}",
                lane.destination
            );
            ("lane_parked", what, fix)
        }
        "quarantine_full" => (
            "quarantine_full",
            format!("the quarantine has no room for what {to} refuses of {source}"),
            "See what is in it, and send it again or give it up: segue quarantine ls".to_owned(),
        ),
        "unconfigured" if lane.ledger.pending > 0 => (
            "unconfigured",
            format!("{source} is not configured for {to} any more, and events of it wait"),
            format!(
                "Put it back into the configuration, and then: segue reload. Or, when it is gone for good: segue purge {source} --dry-run"
            ),
        ),
        _ => return None,
    };
    let (source, destination) = (Some(source.clone()), Some(lane.destination.clone()));
    Some(Trouble { kind: kind.to_owned(), source, destination, what, means: waiting, fix })
}

/// A destination that does not answer is one trouble, however many sources wait for it.
fn unreachable(lanes: &[Lane]) -> Vec<Trouble> {
    let mut waiting: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for lane in lanes.iter().filter(|lane| lane.state == "unreachable") {
        let (sources, events) = waiting.entry(&lane.destination).or_default();
        *sources += 1;
        *events += lane.ledger.pending;
    }
    let trouble = |(destination, (sources, events)): (&str, (u64, u64))| Trouble {
        kind: "unreachable".to_owned(),
        source: None,
        destination: Some(destination.to_owned()),
        what: format!("{} does not answer", if destination == "segment" { "Segment" } else { "RudderStack" }),
        means: format!(
            "{events} events wait in the journal, for {sources} of the sources; none is lost, and the other destination goes on."
        ),
        fix: "It is asked again by itself. Its own status page and this machine's network say more.".to_owned(),
    };
    waiting.into_iter().map(trouble).collect()
}

const fn name(destination: Destination) -> &'static str {
    match destination {
        Destination::Segment => "Segment",
        Destination::RudderStack => "RudderStack",
    }
}
