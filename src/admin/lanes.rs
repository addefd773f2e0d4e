//! Lanes: how they stand, hold, release, unpark.

use std::collections::{HashMap, HashSet};

use axum::{
    extract::{Extension, State},
    response::Response,
};

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::{Json, Path},
    rates::{Paces, told},
    routes::worded,
    server::Hub,
};
use crate::{
    config::nearest,
    delivery::{HoldError, LaneRequests, LaneState, LaneStatus},
    journal::{self, LaneId},
    model::{Destination, Role, SourceId},
    routing::Author,
    wire::{self, ProblemCode, schema},
};

/// All lanes: what they do, and what became of their events.
#[utoipa::path(get, path = "/v1/lanes", tag = "lanes", responses((status = 200, body = wire::Lanes), Problems))]
pub(super) async fn list(State(hub): State<Hub>) -> Response {
    good(&wire::Lanes { schema: schema::LANES.to_owned(), lanes: all(&hub) })
}

/// All lanes, sorted by source.
pub(super) fn all(hub: &Hub) -> Vec<wire::Lane> {
    let ledgers: HashMap<LaneId, journal::Ledger> = hub.journal.ledger().into_iter().collect();
    let mut statuses = hub.lanes.lanes();
    let known: HashSet<LaneId> = statuses.iter().map(|status| status.id.clone()).collect();
    // Sources that are no longer configured keep their events, and nobody delivers them.
    for id in ledgers.keys().filter(|id| !known.contains(id)) {
        let state = LaneState::Unconfigured;
        statuses.push(LaneStatus {
            id: id.clone(),
            state,
            records: 0,
            memory_bytes: 0,
            in_flight: 0,
            retries: 0,
            requests: LaneRequests::default(),
        });
    }
    statuses.sort_by(|a, b| a.id.cmp(&b.id));
    let paces = hub.live.rates.paces(&hub.journal, &hub.counters);
    let ledger = |id: &LaneId| ledgers.get(id).copied().unwrap_or_default();
    statuses.iter().map(|status| lane(hub, status, ledger(&status.id), &paces)).collect()
}

/// Stops a lane: what comes for it waits in the journal.
#[utoipa::path(
    post,
    path = "/v1/lanes/{source}/{destination}/hold",
    tag = "lanes",
    params(("source" = String, Path, description = "Its id or name"), ("destination" = String, Path, description = "`segment` or `rudderstack`")),
    request_body = wire::HoldAsked,
    responses((status = 200, body = wire::LaneAnswer), Problems)
)]
pub(super) async fn hold(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path((source, destination)): Path<(String, String)>,
    Json(asked): Json<wire::HoldAsked>,
) -> Result<Response, Refusal> {
    let id = lane_id(&hub, &source, &destination)?;
    if asked.dry_run {
        return as_it_stands(&hub, &id);
    }
    caller.must(Role::Operate)?;
    let reason = worded(asked.reason)?;
    let held = hub
        .switchboard
        .hold(&id, Author::Uid(caller.uid), reason)
        .await
        .map_err(|error| refused(&error, "The lane is held until the next start, and may go on then."))?;
    tracing::info!(event = "lane_held", lane = %id, uid = caller.uid, "an operator holds the lane: nothing is sent, everything is kept");
    Ok(answer(&hub, &held))
}

/// Lets a held lane go on.
#[utoipa::path(
    post,
    path = "/v1/lanes/{source}/{destination}/release",
    tag = "lanes",
    params(("source" = String, Path, description = "Its id or name"), ("destination" = String, Path, description = "`segment` or `rudderstack`")),
    request_body = wire::HoldAsked,
    responses((status = 200, body = wire::LaneAnswer), Problems)
)]
pub(super) async fn release(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path((source, destination)): Path<(String, String)>,
    Json(asked): Json<wire::HoldAsked>,
) -> Result<Response, Refusal> {
    let id = lane_id(&hub, &source, &destination)?;
    if asked.dry_run {
        return as_it_stands(&hub, &id);
    }
    caller.must(Role::Operate)?;
    let reason = worded(asked.reason)?;
    let released = hub
        .switchboard
        .release(&id, Author::Uid(caller.uid), reason)
        .await
        .map_err(|error| refused(&error, "The lane is still held; nothing of it is lost."))?;
    tracing::info!(event = "lane_released", lane = %id, uid = caller.uid, "an operator let the lane go on");
    Ok(answer(&hub, &released))
}

/// Has a lane that waits try again at once.
#[utoipa::path(
    post,
    path = "/v1/lanes/{source}/{destination}/unpark",
    tag = "lanes",
    params(("source" = String, Path, description = "Its id or name"), ("destination" = String, Path, description = "`segment` or `rudderstack`")),
    request_body = wire::HoldAsked,
    responses((status = 200, body = wire::LaneAnswer), Problems)
)]
pub(super) async fn unpark(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path((source, destination)): Path<(String, String)>,
    Json(asked): Json<wire::HoldAsked>,
) -> Result<Response, Refusal> {
    let id = lane_id(&hub, &source, &destination)?;
    if asked.dry_run {
        return as_it_stands(&hub, &id);
    }
    caller.must(Role::Operate)?;
    let status = hub.lanes.nudge(&id).ok_or_else(|| unknown_lane(&id))?;
    tracing::info!(event = "lane_nudged", lane = %id, uid = caller.uid, "an operator has the lane try again at once");
    Ok(answer(&hub, &status))
}

fn as_it_stands(hub: &Hub, id: &LaneId) -> Result<Response, Refusal> {
    let status = hub.lanes.lanes().into_iter().find(|status| status.id == *id).ok_or_else(|| unknown_lane(id))?;
    Ok(answer(hub, &status))
}

fn answer(hub: &Hub, status: &LaneStatus) -> Response {
    let ledger = hub.journal.ledger().into_iter().find(|(id, _)| *id == status.id).map(|(_, ledger)| ledger).unwrap_or_default();
    let paces = hub.live.rates.paces(&hub.journal, &hub.counters);
    good(&wire::LaneAnswer { schema: schema::LANE.to_owned(), lane: lane(hub, status, ledger, &paces) })
}

fn lane(hub: &Hub, status: &LaneStatus, ledger: journal::Ledger, paces: &Paces) -> wire::Lane {
    let (since, until, reason) = match &status.state {
        LaneState::Held { since } => (Some(since.to_string()), None, None),
        LaneState::Parked { since, reason } => (Some(since.to_string()), None, Some(hub.without_keys(&reason.to_string()))),
        LaneState::Deferred { until } => (None, Some(until.to_string()), None),
        LaneState::Idle | LaneState::Delivering | LaneState::Unreachable | LaneState::Unconfigured | LaneState::QuarantineFull => {
            (None, None, None)
        }
    };
    let journal::Ledger { planned, delivered, pending, quarantined, deduplicated, suppressed, expired, purged } = ledger;
    wire::Lane {
        source: status.id.source.to_string(),
        destination: status.id.destination.label().to_owned(),
        state: status.state.label().to_owned(),
        since,
        until,
        reason,
        oldest: hub.journal.oldest_pending(&status.id).map(|at| at.to_string()),
        in_flight: status.in_flight as u64,
        retries: status.retries,
        delivered_per_second: told(paces.delivered(&status.id)),
        ledger: wire::Ledger { planned, delivered, pending, quarantined, deduplicated, suppressed, expired, purged },
    }
}

/// The lane of that name; what is no name gets the nearest one.
pub(super) fn lane_id(hub: &Hub, source: &str, destination: &str) -> Result<LaneId, Refusal> {
    Ok(LaneId { source: source_id(hub, source)?, destination: destination_of(destination)? })
}

/// The source of that id or name. One that is no longer configured may still have events.
pub(super) fn source_id(hub: &Hub, text: &str) -> Result<SourceId, Refusal> {
    let sources = hub.sources.load();
    if let Some(source) = sources.list().iter().find(|source| source.id.as_str() == text || source.name == text) {
        return Ok(source.id.clone());
    }
    let ledger = hub.journal.ledger();
    if let Some((id, _)) = ledger.iter().find(|(id, _)| id.source.as_str() == text) {
        return Ok(id.source.clone());
    }
    let names: Vec<&str> = sources.list().iter().map(|source| source.name.as_str()).collect();
    let hint = nearest(text, names.iter().copied()).map(|name| format!("Did you mean {name}? ")).unwrap_or_default();
    let all = if names.len() < NAMES_SHOWN_MAX { names.join(", ") } else { format!("{} of them: segue hold ls", names.len()) };
    Err(Refusal::new(ProblemCode::NotFound, format!("there is no source {}", quoted(text)), format!("{hint}Sources: {all}")))
}

/// Fewer sources than this are named.
const NAMES_SHOWN_MAX: usize = 12;

pub(super) fn destination_of(text: &str) -> Result<Destination, Refusal> {
    Destination::ALL.into_iter().find(|destination| destination.label() == text).ok_or_else(|| {
        Refusal::new(ProblemCode::NotFound, format!("there is no destination {}", quoted(text)), "Destinations: segment, rudderstack")
    })
}

/// A name of the caller's, inert and not too long.
fn quoted(text: &str) -> String {
    let short: String = text.chars().take(64).collect();
    format!("{short:?}")
}

fn refused(error: &HoldError, means: &str) -> Refusal {
    match error {
        HoldError::UnknownLane => {
            Refusal::new(ProblemCode::NotFound, "its source is not configured any more, so nobody delivers", "See: segue hold ls")
        }
        HoldError::Journal(error) => Refusal::undurable(error, means),
    }
}

fn unknown_lane(id: &LaneId) -> Refusal {
    Refusal::new(ProblemCode::NotFound, format!("nobody delivers {id}: the source is not configured any more"), "See: segue hold ls")
}
