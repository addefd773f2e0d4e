//! Routes: how they stand, flips, undo, history, and the kill switch.

use axum::{
    extract::{Extension, State},
    response::Response,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::{Json, Path, Query},
    impact,
    lanes::source_id,
    ramps,
    server::Hub,
};
use crate::{
    control::{Asked, FlipError, Flipped, KeyMoved, Kill, Recent, ReloadError, SourceStanding, Undoing},
    model::{Destination, Revision, Role, SourceId},
    routing::{Author, Change, Deed, FindingVerb, RampMove, Route, Step},
    wire::{self, ProblemCode, RouteShares, schema},
};

/// The longest reason, in characters.
const REASON_MAX: usize = 500;
/// Changes that are told when nobody says how many.
const CHANGES_USUAL: usize = 20;
/// Changes that one answer has at most.
const CHANGES_MAX: usize = 1_000;

/// How many changes to tell.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Newest {
    /// Twenty when it is not said.
    count: Option<usize>,
}

/// How all routes stand.
#[utoipa::path(get, path = "/v1/routes", tag = "routes", responses((status = 200, body = wire::Routes), Problems))]
pub(super) async fn list(State(hub): State<Hub>) -> Response {
    good(&all(&hub))
}

/// How all routes stand.
pub(super) fn all(hub: &Hub) -> wire::Routes {
    let standing = hub.switchboard.standing();
    wire::Routes {
        schema: schema::ROUTES.to_owned(),
        revision: standing.revision.0,
        kill: standing.killed.as_ref().map(event),
        routes: standing.sources.iter().map(source_route).collect(),
    }
}

/// Gives a source another route, from the next event on.
#[utoipa::path(post, path = "/v1/sources/{source}/route", tag = "routes", params(("source" = String, Path, description = "Its id or name")), request_body = wire::RouteAsked, responses((status = 200, body = wire::RoutesChanged), Problems))]
pub(super) async fn flip(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    Json(asked): Json<wire::RouteAsked>,
) -> Result<Response, Refusal> {
    let wire::RouteAsked { route, verify, if_revision, reason, dry_run } = asked;
    if !dry_run {
        caller.must(Role::Operate)?;
    }
    let route: Route =
        route.parse().map_err(|error| unusable(&error, "Routes: segment-only, shadow=25%, both, cutover=25%, rudderstack-only"))?;
    let verify = verify.map(|share| share.parse()).transpose().map_err(|error| unusable(&error, "A verify share is written like 1%"))?;
    let source = source_id(&hub, &source)?;
    let (based_on, by) = (if_revision.map(Revision), Author::Uid(caller.uid));
    let asked = Asked { source, route, verify, based_on, by, reason: worded(reason)? };
    let flipped = if dry_run { hub.switchboard.plan(&asked) } else { hub.switchboard.flip(asked).await };
    let flipped = flipped.map_err(refused)?;
    let mut answer = changed(&hub, &[flipped], dry_run);
    if dry_run && let Some(planned) = answer.sources.first_mut() {
        add_recent(&hub, planned).await;
    }
    Ok(good(&answer))
}

/// Takes changes of routes back, each by a change of its own.
#[utoipa::path(post, path = "/v1/routes/undo", tag = "routes", request_body = wire::UndoAsked, responses((status = 200, body = wire::RoutesChanged), Problems))]
pub(super) async fn undo(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<wire::UndoAsked>,
) -> Result<Response, Refusal> {
    let wire::UndoAsked { source, to_revision, reason, dry_run } = asked;
    if !dry_run {
        caller.must(Role::Operate)?;
    }
    let undoing = match (source, to_revision) {
        (Some(_), Some(_)) => {
            return Err(Refusal::new(ProblemCode::BadRequest, "an undo names a source or a revision, not both", "Leave one of them out."));
        }
        (Some(source), None) => Undoing::Of(source_id(&hub, &source)?),
        (None, Some(revision)) => Undoing::To(Revision(revision)),
        (None, None) => Undoing::Newest,
    };
    let reason = worded(reason)?;
    let undone =
        if dry_run { hub.switchboard.plan_undo(&undoing) } else { hub.switchboard.undo(undoing, Author::Uid(caller.uid), reason).await };
    Ok(good(&changed(&hub, &undone.map_err(refused)?, dry_run)))
}

/// The newest changes, newest first.
#[utoipa::path(get, path = "/v1/routes/history", tag = "routes", params(Newest), responses((status = 200, body = wire::RouteHistory), Problems))]
pub(super) async fn history(State(hub): State<Hub>, Query(newest): Query<Newest>) -> Response {
    let count = newest.count.unwrap_or(CHANGES_USUAL).min(CHANGES_MAX);
    let changes = hub.switchboard.changes(count).iter().map(event).collect();
    good(&wire::RouteHistory { schema: schema::ROUTE_HISTORY.to_owned(), changes })
}

/// Whether the lines of the history hold together.
#[utoipa::path(get, path = "/v1/routes/audit", tag = "routes", responses((status = 200, body = wire::AuditVerdict), Problems))]
pub(super) async fn audit(State(hub): State<Hub>) -> Response {
    let audit = hub.switchboard.audit();
    good(&wire::AuditVerdict {
        schema: schema::AUDIT.to_owned(),
        lines: audit.lines as u64,
        broken: audit.broken.iter().map(|line| *line as u64).collect(),
        seal: audit.seal.as_str().to_owned(),
    })
}

/// How the kill switch stands.
#[utoipa::path(get, path = "/v1/kill", tag = "routes", responses((status = 200, body = wire::KillStatus), Problems))]
pub(super) async fn kill_status(State(hub): State<Hub>) -> Response {
    kill_answer(&hub, false)
}

/// Sends everything to Segment alone, and holds the queues to RudderStack.
#[utoipa::path(post, path = "/v1/kill/on", tag = "routes", request_body = wire::KillAsked, responses((status = 200, body = wire::KillStatus), Problems))]
pub(super) async fn kill_on(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<wire::KillAsked>,
) -> Result<Response, Refusal> {
    if asked.dry_run {
        return Ok(kill_answer(&hub, false));
    }
    caller.must(Role::Operate)?;
    let reason = worded(asked.reason)?;
    let turned = hub.switchboard.kill(Kill::On, Author::Uid(caller.uid), reason).await;
    let turned = turned.map_err(|error| {
        refused(error).meaning("Everything goes to Segment now, but only until the next start: the switch could not be kept on disk.")
    })?;
    Ok(kill_answer(&hub, turned))
}

/// Gives the routes back, and lets the queues go on.
#[utoipa::path(post, path = "/v1/kill/off", tag = "routes", request_body = wire::KillAsked, responses((status = 200, body = wire::KillStatus), Problems))]
pub(super) async fn kill_off(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<wire::KillAsked>,
) -> Result<Response, Refusal> {
    if asked.dry_run {
        return Ok(kill_answer(&hub, false));
    }
    caller.must(Role::Operate)?;
    let reason = worded(asked.reason)?;
    let turned = hub.switchboard.kill(Kill::Off, Author::Uid(caller.uid), reason).await;
    let turned = turned.map_err(|error| refused(error).meaning("The kill switch is still on: everything goes to Segment."))?;
    Ok(kill_answer(&hub, turned))
}

/// Reads the configuration again.
#[utoipa::path(post, path = "/v1/reload", tag = "routes", request_body = wire::ReloadAsked, responses((status = 200, body = wire::ReloadAnswer), Problems))]
pub(super) async fn reload(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<wire::ReloadAsked>,
) -> Result<Response, Refusal> {
    if !asked.dry_run {
        caller.must(Role::Operate)?;
    }
    let Some(reloader) = &hub.reloader else {
        return Err(Refusal::new(ProblemCode::Refused, "this sidecar has no configuration file to read again", "Start it anew."));
    };
    let reloaded = if asked.dry_run { reloader.plan().await } else { reloader.reload(Author::Uid(caller.uid)).await };
    let reloaded = reloaded.map_err(|error| match error {
        ReloadError::Config(problems) => {
            Refusal::new(ProblemCode::Config, problems, "Mend the configuration, and ask again: segue check, then segue reload")
                .meaning("The configuration that was in force still is.")
        }
        ReloadError::Flip(error) => refused(error),
    })?;
    Ok(good(&wire::ReloadAnswer {
        schema: schema::RELOAD.to_owned(),
        dry_run: asked.dry_run,
        revision: reloaded.revision.0,
        changed: reloaded.changed.iter().map(ToString::to_string).collect(),
        moved: reloaded.moved.iter().map(moved).collect(),
        needs_restart: reloaded.needs_restart,
    }))
}

fn moved(moved: &KeyMoved) -> wire::KeyMoved {
    let KeyMoved { from, to, to_name, waiting } = moved;
    wire::KeyMoved { from: from.to_string(), to: to.to_string(), to_name: to_name.clone(), waiting: *waiting }
}

fn kill_answer(hub: &Hub, changed: bool) -> Response {
    let standing = hub.switchboard.standing();
    let ledger = hub.journal.ledger();
    let waiting = ledger.iter().filter(|(id, _)| id.destination == Destination::RudderStack).map(|(_, ledger)| ledger.pending).sum();
    good(&wire::KillStatus {
        schema: schema::KILL.to_owned(),
        on: standing.killed.is_some(),
        changed,
        revision: standing.revision.0,
        by: standing.killed.as_ref().map(event),
        waiting,
    })
}

fn changed(hub: &Hub, flipped: &[Flipped], dry_run: bool) -> wire::RoutesChanged {
    let differ: Vec<&Flipped> = flipped.iter().filter(|flipped| flipped.before.route != flipped.after.route).collect();
    let both = |flipped: &Flipped| {
        let mut impact = impact::of(hub, flipped);
        impact.notes.extend(ramps::ended_by(hub, flipped, dry_run));
        wire::RouteChanged { before: source_route(&flipped.before), after: source_route(&flipped.after), impact: Some(impact) }
    };
    wire::RoutesChanged {
        schema: schema::ROUTES_CHANGED.to_owned(),
        changed: !dry_run && !differ.is_empty(),
        revision: hub.switchboard.standing().revision.0,
        sources: differ.into_iter().map(both).collect(),
    }
}

/// Who the change is about, as far as the newest part of the journal tells: a plan goes without it when that cannot be read.
async fn add_recent(hub: &Hub, planned: &mut wire::RouteChanged) {
    let Ok(id) = SourceId::parse(&planned.before.source) else { return };
    let Ok(Recent { since: Some(since), events, people, apps }) = hub.replayer.recent(&id).await else { return };
    if let Some(impact) = &mut planned.impact {
        let apps = apps.into_iter().map(|(app, events)| wire::AppShare { app: hub.without_keys(&app), events }).collect();
        impact.recent = Some(wire::Recent { since: since.to_string(), events, people, apps });
    }
}

pub(super) fn source_route(standing: &SourceStanding) -> wire::SourceRoute {
    wire::SourceRoute {
        source: standing.id.to_string(),
        name: standing.name.clone(),
        revision: standing.revision.0,
        route: shares(standing.route),
        configured: shares(standing.configured),
        retired_at: standing.retired_at.map(|at| at.to_string()),
        rules: standing.rules.iter().map(|rule| wire::SourceRule { when: rule.when.to_string(), route: shares(rule.route) }).collect(),
    }
}

fn shares(route: Route) -> RouteShares {
    RouteShares {
        route: route.to_string(),
        segment: route.segment().to_string(),
        rudderstack: route.rudderstack().to_string(),
        verify: route.verify().to_string(),
    }
}

pub(super) fn who(author: Author) -> String {
    match author {
        Author::Uid(uid) => format!("uid {uid}"),
        Author::KillFile => "kill file".to_owned(),
        Author::Signal => "SIGHUP".to_owned(),
        Author::ConfigFile => "file".to_owned(),
        Author::Sidecar => "segue".to_owned(),
        Author::Ramp { job, uid: Some(uid) } => format!("ramp {job}, uid {uid}"),
        Author::Ramp { job, uid: None } => format!("ramp {job}"),
    }
}

pub(super) fn event(change: &Change) -> wire::RouteEvent {
    let mut told = wire::RouteEvent {
        revision: change.revision.0,
        at: change.at.to_string(),
        by: who(change.by),
        what: what(change).to_owned(),
        source: None,
        destination: None,
        from: None,
        to: None,
        from_limit: None,
        to_limit: None,
        replay: None,
        ramp: None,
        steps: Vec::new(),
        events: None,
        about: None,
        reason: change.reason.clone(),
        undoes: change.undoes.map(|revision| revision.0),
    };
    match &change.deed {
        Deed::Route { source, from, to } => {
            told.source = Some(source.to_string());
            (told.from, told.to) = (Some(shares(*from)), Some(shares(*to)));
        }
        Deed::Limit { source, destination, from, to } => {
            told.source = source.as_ref().map(ToString::to_string);
            told.destination = Some(destination.label().to_owned());
            (told.from_limit, told.to_limit) = (Some(from.to_string()), Some(to.to_string()));
        }
        Deed::Replay(replay) => {
            told.source = Some(replay.source.to_string());
            told.destination = Some(replay.destination.label().to_owned());
            told.replay = Some(change.revision.0);
        }
        Deed::ReplayStep(job, _) => told.replay = Some(job.0),
        Deed::Ramp(ramp) => {
            told.source = Some(ramp.source.to_string());
            told.ramp = Some(change.revision.0);
            told.steps = ramp.steps.iter().map(ToString::to_string).collect();
        }
        Deed::RampMove(job, _) => told.ramp = Some(job.0),
        Deed::Redrive(sifted) | Deed::GiveUp(sifted) => {
            told.source.clone_from(&sifted.source);
            told.destination.clone_from(&sifted.destination);
            told.events = Some(sifted.events);
        }
        Deed::Purge(source, destination) => {
            told.source = Some(source.to_string());
            told.destination = destination.map(|destination| destination.label().to_owned());
        }
        Deed::Hold(source, destination) | Deed::Release(source, destination) => {
            told.source = Some(source.to_string());
            told.destination = Some(destination.label().to_owned());
        }
        Deed::Finding(finding) => {
            told.source = Some(finding.source.clone());
            let whole = if finding.path.is_empty() { "(whole event)" } else { &finding.path };
            told.about = Some(finding.kind.as_ref().map_or_else(|| whole.to_owned(), |kind| format!("{whole} {kind}")));
        }
        Deed::Reload { sources } => told.source = Some(sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        Deed::Retire(source) | Deed::Unretire(source) => told.source = Some(source.to_string()),
        Deed::KillOn | Deed::KillOff => {}
    }
    told
}

fn what(change: &Change) -> &'static str {
    match (&change.deed, change.undoes) {
        (Deed::Route { .. }, None) => "route",
        (Deed::Route { .. }, Some(_)) => "undo",
        (Deed::KillOn, _) => "kill on",
        (Deed::KillOff, _) => "kill off",
        (Deed::Limit { .. }, _) => "limit",
        (Deed::Redrive(..), _) => "redrive",
        (Deed::GiveUp(..), _) => "give up",
        (Deed::Purge(..), _) => "purge",
        (Deed::Retire(..), _) => "retire",
        (Deed::Unretire(..), _) => "unretire",
        (Deed::Hold(..), _) => "hold",
        (Deed::Release(..), _) => "release",
        (Deed::Replay(..), _) => "replay",
        (Deed::ReplayStep(_, Step::Pause), _) => "replay pause",
        (Deed::ReplayStep(_, Step::Resume), _) => "replay resume",
        (Deed::ReplayStep(_, Step::Cancel), _) => "replay cancel",
        (Deed::ReplayStep(_, Step::End), _) => "replay end",
        (Deed::Finding(finding), _) => match finding.verb {
            FindingVerb::Accept => "accept finding",
            FindingVerb::Ignore => "ignore finding",
            FindingVerb::Reopen => "reopen finding",
        },
        (Deed::Ramp(..), _) => "ramp",
        (Deed::RampMove(_, RampMove::Pause), _) => "ramp pause",
        (Deed::RampMove(_, RampMove::Resume), _) => "ramp resume",
        (Deed::RampMove(_, RampMove::Abort), _) => "ramp abort",
        (Deed::RampMove(_, RampMove::Hold), _) => "ramp hold",
        (Deed::RampMove(_, RampMove::Cancel), _) => "ramp cancel",
        (Deed::RampMove(_, RampMove::Done), _) => "ramp done",
        (Deed::Reload { .. }, _) => "reload",
    }
}

pub(super) fn worded(reason: Option<String>) -> Result<Option<String>, Refusal> {
    match reason.map(|reason| reason.trim().to_owned()).filter(|reason| !reason.is_empty()) {
        Some(reason) if reason.chars().count() > REASON_MAX => Err(Refusal::new(
            ProblemCode::BadRequest,
            format!("the reason has more than {REASON_MAX} characters"),
            "Say it shorter; a link to more is fine.",
        )),
        reason => Ok(reason),
    }
}

pub(super) fn unusable(error: &impl std::fmt::Display, fix: &str) -> Refusal {
    Refusal::new(ProblemCode::BadRequest, error.to_string(), fix)
}

pub(super) fn refused(error: FlipError) -> Refusal {
    let what = error.to_string();
    match error {
        FlipError::UnknownSource(_) => {
            Refusal::new(ProblemCode::NotFound, what, "Only sources of the configuration have routes: segue route get")
        }
        FlipError::Configured(_) => Refusal::new(
            ProblemCode::Refused,
            what,
            "What waits for a configured source is delivered, or held: segue hold set. Take it out of the file first, and then: segue reload",
        ),
        FlipError::Conflict { name, current, change, .. } => {
            let by = change.as_deref().map(event).map(|event| {
                let why = event.reason.map(|reason| format!(" {reason:?}")).unwrap_or_default();
                format!(" by {} at {}{why}", event.by, event.at)
            });
            let what = format!("{what}. Its route is {} now{}", current.route, by.unwrap_or_default());
            Refusal::new(ProblemCode::Conflict, what, format!("Look again, and decide again: segue route get {name}"))
        }
        FlipError::Retired(ref name) => {
            let fix = format!("Segment is not contacted for it any more. If it should be again: segue source unretire {name}");
            Refusal::new(ProblemCode::Refused, what, fix)
        }
        FlipError::NoRudderKey(_) => Refusal::new(
            ProblemCode::Refused,
            what,
            "Add rudderstack_write_key = { env = \"RUDDER_WRITE_KEY\" } to the source, and restart the sidecar.",
        ),
        FlipError::NoRudderUrl => {
            Refusal::new(ProblemCode::Refused, what, "Add [rudderstack] with url = \"https://...\", and restart the sidecar.")
        }
        FlipError::Sources(_) => Refusal::new(ProblemCode::Config, what, "Mend the configuration, and ask again: segue check"),
        FlipError::NothingToUndo => Refusal::new(ProblemCode::Refused, what, "See what was changed: segue route history"),
        FlipError::NoRevision(_) => Refusal::new(ProblemCode::BadRequest, what, "See what was changed: segue route history"),
        FlipError::Journal(error) => {
            Refusal::undurable(&error, "The old route is in force. If the disk took it all the same, the next start shows the new one.")
        }
    }
}
