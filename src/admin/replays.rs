//! Replays: what one would send, starting it, and what is done about it.

use std::fmt::Write;

use axum::{
    extract::{Extension, State},
    response::Response,
};

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::{Json, Path},
    lanes::{destination_of, source_id},
    routes::{event, refused, unusable, worded},
    server::Hub,
};
use crate::{
    control::{Found, ReplayError, ReplayStanding, ReplayState},
    model::{Destination, RateLimit, Revision, Role, WallTime},
    routing::{Author, Replay, Route, Step, Which},
    wire::{self, ProblemCode, schema},
};

/// The pace when none is named: gentle with any destination, and 720,000 events an hour.
const RATE_USUAL: u32 = 200;
/// What Segment remembers by messageId (protocol.md T26).
const SEGMENT_DEDUP_HOURS: i64 = 24;

/// All replays, oldest first.
#[utoipa::path(get, path = "/v1/replays", tag = "replays", responses((status = 200, body = wire::Replays), Problems))]
pub(super) async fn list(State(hub): State<Hub>) -> Response {
    let replays = hub.replayer.list().iter().map(job).collect();
    good(&wire::Replays { schema: schema::REPLAYS.to_owned(), replays })
}

/// What a replay would send. It reads the journal, which takes a second for each gigabyte or so.
#[utoipa::path(post, path = "/v1/replays/plan", tag = "replays", request_body = wire::ReplayAsked, responses((status = 200, body = wire::ReplayPlan), Problems))]
pub(super) async fn plan(State(hub): State<Hub>, Json(asked): Json<wire::ReplayAsked>) -> Result<Response, Refusal> {
    let replay = meant(&hub, &asked)?;
    let found = hub.replayer.plan(&replay).await.map_err(failed)?;
    Ok(good(&planned(&hub, &replay, &asked, &found)))
}

/// Sends events again: those that the destination was not to get, or all.
#[utoipa::path(post, path = "/v1/replays", tag = "replays", request_body = wire::ReplayAsked, responses((status = 200, body = wire::ReplayAnswer), Problems))]
pub(super) async fn start(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<wire::ReplayAsked>,
) -> Result<Response, Refusal> {
    if asked.dry_run {
        return Err(Refusal::new(ProblemCode::BadRequest, "a dry run of a replay is a plan", "Ask /v1/replays/plan for it."));
    }
    caller.must(Role::Operate)?;
    let replay = meant(&hub, &asked)?;
    let started = hub.replayer.begin(replay, Author::Uid(caller.uid), worded(asked.reason)?).await.map_err(failed)?;
    Ok(answer(&started))
}

/// Stops a replay for a while.
#[utoipa::path(post, path = "/v1/replays/{id}/pause", tag = "replays", params(("id" = u64, Path, description = "Its name")), request_body = wire::ReplayStepAsked, responses((status = 200, body = wire::ReplayAnswer), Problems))]
pub(super) async fn pause(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
    Json(asked): Json<wire::ReplayStepAsked>,
) -> Result<Response, Refusal> {
    step(&hub, caller, id, asked, Step::Pause).await
}

/// Lets a paused replay go on.
#[utoipa::path(post, path = "/v1/replays/{id}/resume", tag = "replays", params(("id" = u64, Path, description = "Its name")), request_body = wire::ReplayStepAsked, responses((status = 200, body = wire::ReplayAnswer), Problems))]
pub(super) async fn resume(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
    Json(asked): Json<wire::ReplayStepAsked>,
) -> Result<Response, Refusal> {
    step(&hub, caller, id, asked, Step::Resume).await
}

/// Ends a replay; what it sent stays sent.
#[utoipa::path(post, path = "/v1/replays/{id}/cancel", tag = "replays", params(("id" = u64, Path, description = "Its name")), request_body = wire::ReplayStepAsked, responses((status = 200, body = wire::ReplayAnswer), Problems))]
pub(super) async fn cancel(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<u64>,
    Json(asked): Json<wire::ReplayStepAsked>,
) -> Result<Response, Refusal> {
    step(&hub, caller, id, asked, Step::Cancel).await
}

async fn step(hub: &Hub, caller: Caller, id: u64, asked: wire::ReplayStepAsked, step: Step) -> Result<Response, Refusal> {
    let name = Revision(id);
    if asked.dry_run {
        let standing = hub.replayer.list().into_iter().find(|standing| standing.started.revision == name);
        return standing.map(|standing| answer(&standing)).ok_or_else(|| failed(ReplayError::Unknown(name)));
    }
    caller.must(Role::Operate)?;
    let stepped = hub.replayer.step(name, step, Author::Uid(caller.uid), worded(asked.reason)?).await;
    Ok(answer(&stepped.map_err(failed)?))
}

fn meant(hub: &Hub, asked: &wire::ReplayAsked) -> Result<Replay, Refusal> {
    let time = |text: &Option<String>| {
        let read =
            |text: &String| WallTime::parse(text).ok_or_else(|| unusable(&format!("{text:?} is no time"), "Times: 2026-01-02T03:04:05Z"));
        text.as_ref().map(read).transpose()
    };
    let rate = match asked.rate.as_deref().map(str::parse::<RateLimit>).transpose() {
        Ok(None) => RATE_USUAL,
        Ok(Some(RateLimit::PerSecond(rate))) => rate.get(),
        Ok(Some(RateLimit::None)) => return Err(unusable(&"a replay needs a rate", "Rates: 200/s")),
        Err(error) => return Err(unusable(&error, "Rates: 200/s")),
    };
    let by_route = asked.by_route.as_deref().map(str::parse::<Route>).transpose();
    Ok(Replay {
        source: source_id(hub, &asked.source)?,
        destination: destination_of(&asked.destination)?,
        first: asked.first_revision.map(Revision),
        last: asked.last_revision.map(Revision),
        from: time(&asked.from)?,
        to: time(&asked.to)?,
        which: if asked.all { Which::All } else { Which::Missing },
        by_route: by_route.map_err(|error| unusable(&error, "Routes: both, cutover=25%"))?,
        rate,
        end: hub.replayer.log_end(),
    })
}

fn planned(hub: &Hub, replay: &Replay, asked: &wire::ReplayAsked, found: &Found) -> wire::ReplayPlan {
    // A range that begins with a change began when that change was made.
    let changed_at =
        |revision| hub.switchboard.changes(usize::MAX).into_iter().find(|change| change.revision == revision).map(|change| change.at);
    let begins = replay.from.or_else(|| replay.first.and_then(changed_at));
    let complete = found.is_whole || begins.is_some_and(|begins| found.kept_from.is_some_and(|kept| kept <= begins));
    wire::ReplayPlan {
        schema: schema::REPLAY_PLAN.to_owned(),
        source: replay.source.to_string(),
        destination: replay.destination.label().to_owned(),
        events: found.events,
        people: found.people,
        first_at: found.arrived.map(|(first, _)| first.to_string()),
        last_at: found.arrived.map(|(_, last)| last.to_string()),
        kept_from: found.kept_from.map(|at| at.to_string()),
        complete,
        rate: format!("{}/s", replay.rate),
        seconds: found.events.div_ceil(u64::from(replay.rate.max(1))),
        warnings: warnings(hub, replay, found, complete),
        command: command(asked),
        asked: asked.clone(),
    }
}

fn warnings(hub: &Hub, replay: &Replay, found: &Found, complete: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if !complete {
        warnings.push("Not all of that time is still in the journal: there may have been more, and nobody can say how many.".to_owned());
    }
    let age_hours = found.arrived.map_or(0, |(first, _)| hub.clock.now().millis_since(first) / 3_600_000);
    match replay.destination {
        Destination::Segment if age_hours >= SEGMENT_DEDUP_HOURS => {
            warnings.push("Segment forgets messageIds after a day or so: what it got before by another way is there twice.".to_owned());
        }
        Destination::RudderStack => warnings.push(
            "RudderStack stamps them with the time at which they come, and leaves out doubles only where its deduplication is on \
             (off as delivered, one hour); the time of each event itself stays right."
                .to_owned(),
        ),
        Destination::Segment => {}
    }
    if replay.which == Which::All {
        warnings.push("Events that the destination got already go there once more.".to_owned());
    }
    warnings
}

/// The words of the command line for it.
fn command(asked: &wire::ReplayAsked) -> String {
    let mut command = format!("segue replay start {} --to {}", asked.source, asked.destination);
    // Writing to a String cannot fail.
    let mut flag = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            let _ = write!(command, " --{name} {value}");
        }
    };
    flag("first-rev", asked.first_revision.map(|revision| revision.to_string()));
    flag("last-rev", asked.last_revision.map(|revision| revision.to_string()));
    flag("from", asked.from.clone());
    flag("until", asked.to.clone());
    flag("by-route", asked.by_route.as_ref().map(|route| if route.contains(' ') { format!("'{route}'") } else { route.clone() }));
    flag("rate", asked.rate.clone());
    if asked.all {
        command += " --all";
    }
    command
}

fn answer(standing: &ReplayStanding) -> Response {
    good(&wire::ReplayAnswer { schema: schema::REPLAY.to_owned(), replay: job(standing) })
}

fn job(standing: &ReplayStanding) -> wire::ReplayJob {
    let is_done = standing.state == ReplayState::Done;
    wire::ReplayJob {
        id: standing.started.revision.0,
        source: standing.replay.source.to_string(),
        destination: standing.replay.destination.label().to_owned(),
        state: standing.state.label().to_owned(),
        sent: standing.sent,
        total: standing.total,
        lost: standing.total.filter(|_| is_done).map_or(0, |total| total.saturating_sub(standing.sent)),
        waits_for: standing.waits_for.clone(),
        rate: format!("{}/s", standing.replay.rate),
        started_at: standing.started.at.to_string(),
        by: event(&standing.started).by,
    }
}

fn failed(error: ReplayError) -> Refusal {
    let what = error.to_string();
    match error {
        ReplayError::Unknown(_) => Refusal::new(ProblemCode::NotFound, what, "Which there are: segue replay list"),
        ReplayError::Over(_) => Refusal::new(ProblemCode::Refused, what, "What was sent stays sent. Another one: segue replay plan"),
        ReplayError::Nothing => Refusal::new(
            ProblemCode::Refused,
            "no event in the journal is of that kind",
            "See what there is: segue replay plan, segue journal ls. Events that the destination was to get already take --all.",
        ),
        ReplayError::Unreadable(_) => {
            Refusal::new(ProblemCode::Disk, what, "See the log for what the disk says, and segue journal verify.")
        }
        ReplayError::Flip(error) => refused(error),
    }
}
