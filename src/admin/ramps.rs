//! Ramps: what one would do, starting it, how each stands, and what is done about it. And how gates stand.

use axum::{
    extract::{Extension, State},
    response::Response,
};

use super::{
    answer::{Problems, Refusal, good},
    caller::Caller,
    extract::{Json, Path},
    impact,
    lanes::source_id,
    routes::{refused, source_route, unusable, who, worded},
    server::Hub,
};
use crate::{
    control::{Flipped, RampAsked, RampPlanned, RampRefused, RampStanding},
    model::{Percent, Revision, Role, SourceId, Span},
    routing::{Author, Course, CourseState, End, GateStanding, OnRed, Pause, Ramp, RampError, RampKind, RampMove, Route},
    wire::{self, ProblemCode, schema},
};

/// How long a step lasts when nobody says.
const EVERY_USUAL: &str = "30m";

/// How each source's newest ramp stands.
#[utoipa::path(get, path = "/v1/ramps", tag = "routes", responses((status = 200, body = wire::Ramps), Problems))]
pub(super) async fn list(State(hub): State<Hub>) -> Response {
    good(&wire::Ramps { schema: schema::RAMPS.to_owned(), ramps: hub.ramps.list().iter().map(|standing| ramp(&hub, standing)).collect() })
}

/// Starts a ramp: the source gets its routes one after the other, each when it is time and its gates were green for a while.
#[utoipa::path(post, path = "/v1/ramps", tag = "routes", request_body = wire::RampAsked, responses((status = 200, body = wire::RampBegun), Problems))]
pub(super) async fn begin(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Json(asked): Json<wire::RampAsked>,
) -> Result<Response, Refusal> {
    let dry_run = asked.dry_run;
    if !dry_run {
        caller.must(Role::Operate)?;
    }
    let asked = understood(&hub, asked, Author::Uid(caller.uid))?;
    let (planned, standing) = if dry_run {
        (hub.switchboard.plan_ramp(&asked).map_err(failed)?, None)
    } else {
        let (standing, planned) = hub.ramps.begin(asked).await.map_err(failed)?;
        (planned, Some(standing))
    };
    Ok(good(&begun(&hub, &planned, standing.as_ref())))
}

/// Stops a ramp for a while: the route stays, whatever the gates say.
#[utoipa::path(post, path = "/v1/ramps/{source}/pause", tag = "routes", params(("source" = String, Path, description = "Its id or name")), request_body = wire::RampStepAsked, responses((status = 200, body = wire::RampAnswer), Problems))]
pub(super) async fn pause(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    Json(asked): Json<wire::RampStepAsked>,
) -> Result<Response, Refusal> {
    change(&hub, caller, &source, RampMove::Pause, asked).await
}

/// Lets a ramp go on that somebody or the kill switch paused, or that went back.
#[utoipa::path(post, path = "/v1/ramps/{source}/resume", tag = "routes", params(("source" = String, Path, description = "Its id or name")), request_body = wire::RampStepAsked, responses((status = 200, body = wire::RampAnswer), Problems))]
pub(super) async fn resume(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    Json(asked): Json<wire::RampStepAsked>,
) -> Result<Response, Refusal> {
    change(&hub, caller, &source, RampMove::Resume, asked).await
}

/// Ends a ramp; the route stays as it is.
#[utoipa::path(post, path = "/v1/ramps/{source}/abort", tag = "routes", params(("source" = String, Path, description = "Its id or name")), request_body = wire::RampStepAsked, responses((status = 200, body = wire::RampAnswer), Problems))]
pub(super) async fn abort(
    State(hub): State<Hub>,
    Extension(caller): Extension<Caller>,
    Path(source): Path<String>,
    Json(asked): Json<wire::RampStepAsked>,
) -> Result<Response, Refusal> {
    change(&hub, caller, &source, RampMove::Abort, asked).await
}

async fn change(hub: &Hub, caller: Caller, source: &str, done: RampMove, asked: wire::RampStepAsked) -> Result<Response, Refusal> {
    let source = source_id(hub, source)?;
    let standing = if asked.dry_run {
        let running = hub.ramps.ramp(&source).filter(|standing| standing.course.is_alive());
        running.ok_or_else(|| failed(RampRefused::None(source)))?
    } else {
        caller.must(Role::Operate)?;
        let reason = worded(asked.reason)?;
        hub.ramps.change(&source, done, Author::Uid(caller.uid), reason).await.map_err(failed)?
    };
    Ok(good(&wire::RampAnswer { schema: schema::RAMP.to_owned(), ramp: ramp(hub, &standing) }))
}

fn understood(hub: &Hub, asked: wire::RampAsked, by: Author) -> Result<RampAsked, Refusal> {
    let wire::RampAsked { source, steps, kind, verify, every, gates, on_red, if_revision, reason, dry_run: _ } = asked;
    let kind = match kind.as_deref() {
        None | Some("cutover") => RampKind::Cutover,
        Some("shadow") => RampKind::Shadow,
        Some(other) => return Err(wrong(format!("`{other}` is no kind of ramp"), "Kinds: cutover, shadow")),
    };
    let on_red = match on_red.as_deref() {
        None | Some("hold") => OnRed::Hold,
        Some("back") => OnRed::Back,
        Some(other) => return Err(wrong(format!("`{other}` is nothing to do on red"), "On red: hold, back")),
    };
    let every: Span = every.as_deref().unwrap_or(EVERY_USUAL).parse().map_err(|error| unusable(&error, "Write a time like 30m or 6h"))?;
    let verify = verify.map(|share| share.parse()).transpose().map_err(|error| unusable(&error, "A verify share is written like 1%"))?;
    Ok(RampAsked {
        source: source_id(hub, &source)?,
        steps: kind.steps(&steps, Percent::ZERO).map_err(|error| failed(error.into()))?,
        verify,
        every: every.0,
        gates: hub
            .ramps
            .usual()
            .with(gates.as_deref().unwrap_or_default())
            .map_err(|error| unusable(&error, "See segue route ramp --help"))?,
        on_red,
        based_on: if_revision.map(Revision),
        by,
        reason: worded(reason)?,
    })
}

fn begun(hub: &Hub, planned: &RampPlanned, standing: Option<&RampStanding>) -> wire::RampBegun {
    let RampPlanned { ramp: planned_ramp, steps } = planned;
    let before = steps.first().map(|step| &step.before);
    let change = |step: &Flipped| wire::RouteChanged {
        before: source_route(&step.before),
        after: source_route(&step.after),
        impact: Some(impact::of(hub, step)),
    };
    wire::RampBegun {
        schema: schema::RAMP_BEGUN.to_owned(),
        changed: standing.is_some(),
        source: planned_ramp.source.to_string(),
        name: before.map(|before| before.name.clone()).unwrap_or_default(),
        revision: before.map_or(0, |before| before.revision.0),
        steps: steps.iter().map(change).collect(),
        takes_from_segment: planned_ramp.takes_from_segment(),
        every: Span(planned_ramp.every).to_string(),
        bounds: planned_ramp.gates.to_string(),
        on_red: on_red(planned_ramp).to_owned(),
        gates: gates(hub, &planned_ramp.source),
        notes: notes(planned_ramp),
        ramp: standing.map(|standing| ramp(hub, standing)),
    }
}

/// What has to be thought of before a ramp is started.
fn notes(ramp: &Ramp) -> Vec<String> {
    let mut notes = Vec::new();
    if !ramp.takes_at(1) {
        notes.push("The first step takes nothing from Segment: it is taken at once.".to_owned());
    }
    let blind = ramp.steps.iter().position(|route| !is_compared(*route)).filter(|_| ramp.gates.parity_min.is_some());
    if let Some(index) = blind {
        notes.push(format!(
            "After step {} ({}) nobody's events go to both sides, so that parity cannot be measured and the ramp stays there: keep a \
             verify share (--verify 1%), or leave the gate out (--gate parity=off).",
            index + 1,
            ramp.steps[index]
        ));
    }
    if ramp.takes_from_segment() {
        notes.push("Nobody is asked again: Segment gets less by each step whose gates are green.".to_owned());
    }
    notes
}

/// Whether some people's events go to both sides.
fn is_compared(route: Route) -> bool {
    let (segment, rudder) = (route.segment().hundredths(), route.rudderstack().hundredths());
    rudder > 0 && (segment + rudder > Percent::FULL.hundredths() || route.verify() > Percent::ZERO)
}

/// What a change by hand does to the source's ramp; None: it has none, or goes on.
pub(super) fn ended_by(hub: &Hub, flipped: &Flipped, dry_run: bool) -> Option<String> {
    let course = hub.switchboard.ramp(&flipped.before.id)?;
    let is_ended = course.state == CourseState::Ended(End::Cancelled(flipped.after.revision));
    let told = |verb: &str| format!("This {verb} its ramp, which has taken {} of {} steps.", course.place, course.ramp.steps.len());
    match dry_run {
        true if course.is_alive() => Some(told("ends")),
        false if is_ended => Some(told("ended")),
        _ => None,
    }
}

/// How a source's gates stand.
pub(super) fn gates(hub: &Hub, source: &SourceId) -> Vec<wire::GateStatus> {
    let told = |standing: GateStanding| wire::GateStatus {
        gate: standing.gate.label().to_owned(),
        value: standing.value,
        bound: standing.bound,
        green: standing.red.is_none(),
        why: standing.red,
    };
    hub.ramps.gates(source).into_iter().map(told).collect()
}

/// How a source's ramp stands; None: it has none that runs.
pub(super) fn running(hub: &Hub, source: &SourceId) -> Option<wire::RampStatus> {
    hub.ramps.ramp(source).filter(|standing| standing.course.is_alive()).as_ref().map(|standing| ramp(hub, standing))
}

fn ramp(hub: &Hub, standing: &RampStanding) -> wire::RampStatus {
    let RampStanding { course, held, green, next_at } = standing;
    let name = hub.sources.load().by_id(&course.ramp.source).map(|source| source.name.clone());
    wire::RampStatus {
        id: course.name.0,
        source: course.ramp.source.to_string(),
        name: name.unwrap_or_else(|| course.ramp.source.to_string()),
        state: course.state.label().to_owned(),
        from: course.ramp.from.to_string(),
        steps: course.ramp.steps.iter().map(ToString::to_string).collect(),
        taken: course.place as u64,
        every: Span(course.ramp.every).to_string(),
        bounds: course.ramp.gates.to_string(),
        on_red: on_red(&course.ramp).to_owned(),
        held: held.clone(),
        stopped: stopped(course),
        green_seconds: green.as_secs(),
        moved_at: course.moved_at.to_string(),
        next_at: next_at.map(|at| at.to_string()),
        started_at: course.started_at.to_string(),
        by: who(course.by),
    }
}

fn stopped(course: &Course) -> Option<String> {
    match course.state {
        CourseState::Running => None,
        CourseState::Paused(Pause::ByHand) => Some("somebody paused it".to_owned()),
        CourseState::Paused(Pause::Killed) => Some("the kill switch was turned on".to_owned()),
        CourseState::Paused(Pause::WentBack) => Some("it went back, as a gate was red".to_owned()),
        CourseState::Ended(End::Done) => Some("all steps are taken".to_owned()),
        CourseState::Ended(End::Aborted) => Some("somebody ended it".to_owned()),
        CourseState::Ended(End::Cancelled(revision)) => Some(format!("revision {revision} ended it")),
    }
}

const fn on_red(ramp: &Ramp) -> &'static str {
    match ramp.on_red {
        OnRed::Hold => "hold",
        OnRed::Back => "back",
    }
}

fn wrong(what: String, fix: &str) -> Refusal {
    Refusal::new(ProblemCode::BadRequest, what, fix)
}

fn failed(error: RampRefused) -> Refusal {
    let what = error.to_string();
    match error {
        RampRefused::Flip(error) => refused(error),
        RampRefused::Steps(RampError::Unknown(_) | RampError::Empty | RampError::Long) => wrong(what, "Like: 10,25,50,100"),
        RampRefused::Steps(RampError::Back { .. } | RampError::Idle { .. }) => {
            Refusal::new(ProblemCode::Refused, what, "A step back is a change by hand: segue route set")
        }
        RampRefused::Runs(source, _) => Refusal::new(
            ProblemCode::Refused,
            what,
            format!("See segue route ramp status {source}; segue route ramp abort {source} ends it"),
        ),
        RampRefused::None(_) => Refusal::new(ProblemCode::NotFound, what, "Which there are: segue route ramp status"),
        RampRefused::Killed => Refusal::new(ProblemCode::Refused, what, "Lift it first: segue kill off")
            .meaning("Everything goes to Segment, and no ramp moves anything."),
        RampRefused::Moved(_) => Refusal::new(ProblemCode::Conflict, what, "Look again, and decide again: segue route ramp status"),
    }
}
