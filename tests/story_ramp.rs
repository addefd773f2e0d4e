//! Ramps through the whole sidecar, in short times: people move from Segment step by step while an app sends, and stop when
//! RudderStack does not keep up.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod process;
mod stage;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, Method};
use process::{Process, free_ports, ready};
use segue::{
    client::{Client, ClientError},
    standin::{Fault, Rule},
    upstream::{Call, Upstream},
    wire::{
        KillAsked, KillStatus, ProblemCode, RampAnswer, RampAsked, RampBegun, RampStatus, RampStepAsked, Ramps, RouteAsked, RouteEvent,
        RouteHistory, Routes, RoutesChanged, UndoAsked,
    },
};
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, plain_client};
use tokio::{task::JoinHandle, time::sleep};

/// Gates that are looked at every 30 ms.
const GATES: &str = "window=900ms,parity>=50%,pairs>=10,lag<=2s";

/// An app that sends all the time, as long as it is kept.
struct App {
    task: JoinHandle<()>,
    sent: Arc<AtomicU64>,
}

impl App {
    fn start(stage: &Stage) -> Self {
        Self::at(&format!("http://{}", stage.sidecar().plain_address().unwrap()))
    }

    fn at(url: &str) -> Self {
        let sent = Arc::<AtomicU64>::default();
        let task = tokio::spawn(send(plain_client(url), Arc::clone(&sent)));
        Self { task, sent }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn send(client: Upstream, sent: Arc<AtomicU64>) {
    let app = uuid::Uuid::new_v4();
    loop {
        sleep(Duration::from_millis(5)).await;
        let n = sent.fetch_add(1, Ordering::Relaxed);
        let body = format!(
            r#"{{"type":"track","event":"Step","anonymousId":"person-{}","messageId":"m-{app}-{n}","writeKey":"{SEGMENT_KEY}"}}"#,
            n % 97
        );
        let call = Call { method: Method::POST, path: "/v1/track".to_owned(), headers: HeaderMap::new(), body: body.into() };
        assert_eq!(client.send(call).await.unwrap().status, 200);
    }
}

fn client(stage: &Stage) -> Client {
    Client::new(&stage.config.admin_socket().unwrap(), Duration::from_secs(20))
}

fn asked(steps: &str, gates: &str) -> RampAsked {
    RampAsked {
        source: "web".to_owned(),
        steps: steps.to_owned(),
        verify: Some("20%".to_owned()),
        every: Some("500ms".to_owned()),
        gates: Some(gates.to_owned()),
        reason: Some("CHG-7".to_owned()),
        ..RampAsked::default()
    }
}

async fn ramp(client: &Client) -> RampStatus {
    let ramps: Ramps = client.get("/v1/ramps").await.unwrap();
    ramps.ramps.into_iter().next().unwrap()
}

async fn step(client: &Client, verb: &str) -> Result<RampAnswer, ClientError> {
    client.post(&format!("/v1/ramps/web/{verb}"), &RampStepAsked::default()).await
}

async fn route(client: &Client) -> (String, u64) {
    let routes: Routes = client.get("/v1/routes").await.unwrap();
    (routes.routes[0].route.route.clone(), routes.routes[0].revision)
}

/// The changes since the start, oldest first.
async fn history(client: &Client) -> Vec<RouteEvent> {
    let history: RouteHistory = client.get("/v1/routes/history?count=500").await.unwrap();
    history.changes.into_iter().rev().collect()
}

/// What was done, in a word each.
fn words(history: &[RouteEvent]) -> Vec<String> {
    let word = |event: &RouteEvent| event.to.as_ref().map_or_else(|| event.what.clone(), |to| to.route.clone());
    history.iter().map(word).collect()
}

/// The same, without what was told while too little was known yet: that depends on how fast this machine is.
fn moves(history: &[RouteEvent]) -> Vec<String> {
    words(history).into_iter().filter(|word| word != "ramp hold").collect()
}

async fn until(what: &str, client: &Client, is_so: impl Fn(&RampStatus) -> bool) -> RampStatus {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ramp = ramp(client).await;
        if is_so(&ramp) {
            return ramp;
        }
        assert!(Instant::now() < deadline, "not {what}: {ramp:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn code(error: &ClientError) -> ProblemCode {
    match error {
        ClientError::Problem(problem) => problem.code,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_move_step_by_step_while_everything_is_well() {
    let stage = Stage::with_route("both").await;
    let (client, app) = (client(&stage), App::start(&stage));
    let plan: RampBegun = client.post("/v1/ramps", &RampAsked { dry_run: true, ..asked("25,50,100", GATES) }).await.unwrap();
    assert!(!plan.changed && plan.takes_from_segment && plan.ramp.is_none());
    let steps: Vec<&str> = plan.steps.iter().map(|step| step.after.route.route.as_str()).collect();
    assert_eq!(steps, ["cutover=25%", "cutover=50%", "rudderstack-only"]);
    assert!(plan.steps.iter().all(|step| step.impact.is_some()));
    assert!(history(&client).await.is_empty(), "a plan changes nothing");

    let begun: RampBegun = client.post("/v1/ramps", &asked("25,50,100", GATES)).await.unwrap();
    // Its first step takes people from Segment: that waits for the gates.
    assert_eq!((begun.changed, begun.ramp.as_ref().unwrap().taken, route(&client).await.0.as_str()), (true, 0, "both"));
    let again: Result<RampBegun, ClientError> = client.post("/v1/ramps", &asked("25", GATES)).await;
    assert_eq!(code(&again.unwrap_err()), ProblemCode::Refused);
    let waiting = until("due", &client, |ramp| ramp.next_at.is_some()).await;
    assert_eq!(waiting.state, "running");
    let metrics = stage.metrics().await;
    assert!(metrics.contains("segue_ramp_step{source=\"web\"}") && metrics.contains("segue_ramp_held{source=\"web\"} 0"), "{metrics}");
    let done = until("done", &client, |ramp| ramp.state == "done").await;
    assert_eq!(done.taken, 3);

    let history = history(&client).await;
    assert_eq!(moves(&history), ["ramp", "cutover=25%", "cutover=50%", "rudderstack-only", "ramp done"]);
    assert_eq!(history[0].steps, ["cutover=25%", "cutover=50%", "rudderstack-only"]);
    let steps: Vec<&RouteEvent> = history.iter().filter(|event| event.to.is_some()).collect();
    for event in &steps {
        assert!(event.by.starts_with("ramp 1, uid "), "{}", event.by);
        let why = event.reason.as_deref().unwrap();
        assert!(why.contains("gates green for 900ms") && why.contains("parity") && why.contains("(answers)"), "{why}");
        assert_eq!(event.to.as_ref().unwrap().verify, "20%");
    }
    let between = |a: &RouteEvent, b: &RouteEvent| {
        let at = |event: &RouteEvent| segue::model::WallTime::parse(&event.at).unwrap();
        at(b).millis_since(at(a))
    };
    assert!(steps.windows(2).all(|pair| between(pair[0], pair[1]) >= 900), "{history:?}");
    drop(app);
    stage.drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_rudderstack_stops_it_within_its_window_and_segment_keeps_its_share() {
    let stage = Stage::with_route("both").await;
    let (client, app) = (client(&stage), App::start(&stage));
    let _: RampBegun = client.post("/v1/ramps", &asked("25,50,100", GATES)).await.unwrap();
    until("at its first step", &client, |ramp| ramp.taken == 1).await;
    stage.rudder.faults().add(Rule::always(Fault::status(500)));
    let broke = Instant::now();
    let held = until("held", &client, |ramp| !ramp.held.is_empty()).await;
    assert!(broke.elapsed() < Duration::from_millis(900), "{:?}", broke.elapsed());
    assert!(held.held.iter().any(|why| why.contains("errors of rudderstack")), "{:?}", held.held);
    assert!(stage.metrics().await.contains("segue_ramp_held{source=\"web\"} 1"));
    // Four windows later it is where it was.
    sleep(Duration::from_millis(3_600)).await;
    assert_eq!((ramp(&client).await.taken, route(&client).await.0.as_str()), (1, "cutover=25%"));
    assert_eq!(words(&history(&client).await), ["ramp", "cutover=25%", "ramp hold"]);
    // Nobody has to do anything once it is well again.
    stage.rudder.faults().clear();
    until("done", &client, |ramp| ramp.state == "done").await;
    assert_eq!(moves(&history(&client).await), ["ramp", "cutover=25%", "cutover=50%", "rudderstack-only", "ramp done"]);
    drop(app);
    stage.drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_grows_takes_it_back_toward_segment_and_there_it_waits() {
    let stage = Stage::with_route("both").await;
    let (client, app) = (client(&stage), App::start(&stage));
    let back = RampAsked { on_red: Some("back".to_owned()), ..asked("25,50", "window=900ms,parity=off,errors=off,lag<=300ms") };
    let _: RampBegun = client.post("/v1/ramps", &back).await.unwrap();
    until("at its second step", &client, |ramp| ramp.taken == 2).await;
    // It answers, and later than events come.
    stage.rudder.faults().add(Rule::always(Fault::slow(Duration::from_secs(2))));
    let waits = until("back", &client, |ramp| ramp.state == "paused").await;
    assert_eq!(waits.stopped.as_deref(), Some("it went back, as a gate was red"));
    stage.rudder.faults().clear();
    sleep(Duration::from_secs(3)).await;
    let history = history(&client).await;
    let back = history.iter().find(|event| event.from.as_ref().is_some_and(|from| from.route == "cutover=50%")).unwrap();
    assert_eq!(back.to.as_ref().unwrap().route, "cutover=25%");
    assert!(back.reason.as_deref().unwrap().contains("lag"), "{back:?}");
    // Only somebody lets it go on; only toward Segment did it go by itself.
    assert!(!words(&history)[3..].iter().any(|word| word == "cutover=50%"), "{:?}", words(&history));
    step(&client, "resume").await.unwrap();
    until("done", &client, |ramp| ramp.state == "done").await;
    assert_eq!(route(&client).await.0, "cutover=50%");
    drop(app);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_half_way_costs_nothing_but_time() {
    let mut stage = Stage::with_route("both").await;
    stage.sidecar.take().unwrap().stop().await;
    let seed = process::seed();
    let [port, metrics_port] = free_ports(seed);
    let (config, log) = (stage.dir.path().join("sidecar.toml"), stage.dir.path().join("log"));
    std::fs::write(&config, file(&stage, port, metrics_port)).unwrap();
    let client = client(&stage);
    let mut process = Process::run(&config, &log);
    ready(&mut process, metrics_port).await;
    let app = App::at(&format!("http://127.0.0.1:{port}"));
    // Its gates are those of the file.
    let begun: RampBegun = client.post("/v1/ramps", &RampAsked { gates: None, ..asked("25,50", "") }).await.unwrap();
    assert_eq!(begun.bounds, "parity>=50%,pairs>=10,lag<=2s,errors<=0.5%,quarantine<=0,window=900ms");
    until("at its first step", &client, |ramp| ramp.taken == 1).await;
    drop(app);
    process.kill();
    // Longer than the window: that counts for nothing.
    sleep(Duration::from_millis(1_500)).await;
    let started = Instant::now();
    process = Process::run(&config, &log);
    ready(&mut process, metrics_port).await;
    let again = ramp(&client).await;
    assert_eq!((again.id, again.taken, again.state.as_str()), (begun.ramp.unwrap().id, 1, "running"));
    let app = App::at(&format!("http://127.0.0.1:{port}"));
    until("at its second step", &client, |ramp| ramp.taken == 2).await;
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    until("done", &client, |ramp| ramp.state == "done").await;
    assert_eq!(moves(&history(&client).await), ["ramp", "cutover=25%", "cutover=50%", "ramp done"]);
    drop(app);
    assert!(process.stop(Duration::from_secs(15)).await.success());
    // And a sidecar that is stopped in the middle is a sidecar that goes on, as well.
    stage.start().await;
    assert_eq!(ramp(&client).await.state, "done");
}

/// A configuration between the stage's stand-ins, in its directory.
fn file(stage: &Stage, port: u16, metrics_port: u16) -> String {
    format!(
        "listen = \"127.0.0.1:{port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n[journal]\ndir = \"{}\"\n\
         [segment]\nurl = \"{}\"\n[rudderstack]\nurl = \"{}\"\n\
         [gates]\nparity_min = \"50%\"\npairs_min = 10\nlag_max = \"2s\"\nwindow = \"900ms\"\n\
         [[source]]\nname = \"web\"\nroute = \"both\"\nsegment_write_key = \"{SEGMENT_KEY}\"\nrudderstack_write_key = \"{RUDDER_KEY}\"\n",
        stage.config.journal.dir.display(),
        stage.segment.url(),
        stage.rudder.url()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_changes_the_route_by_hand_ends_it() {
    let stage = Stage::with_route("both").await;
    let (client, _app) = (client(&stage), App::start(&stage));
    for (number, by_hand) in ["set", "undo"].into_iter().enumerate() {
        let _: RampBegun = client.post("/v1/ramps", &asked("25,50,75", GATES)).await.unwrap();
        until("at its first step", &client, |ramp| ramp.taken == 1).await;
        let (_, revision) = route(&client).await;
        let ended: RoutesChanged = if by_hand == "set" {
            let asked = RouteAsked { route: "both".to_owned(), verify: None, if_revision: Some(revision), reason: None, dry_run: false };
            client.post("/v1/sources/web/route", &asked).await.unwrap()
        } else {
            client.post("/v1/routes/undo", &UndoAsked { source: Some("web".to_owned()), ..UndoAsked::default() }).await.unwrap()
        };
        let notes = &ended.sources[0].impact.as_ref().unwrap().notes;
        assert!(notes.iter().any(|note| note == "This ended its ramp, which has taken 1 of 3 steps."), "{notes:?}");
        sleep(Duration::from_secs(2)).await;
        let over = ramp(&client).await;
        assert_eq!((over.state.as_str(), route(&client).await.0.as_str()), ("cancelled", "both"));
        let history = history(&client).await;
        assert_eq!(history.iter().filter(|event| event.what == "ramp cancel").count(), number + 1, "{history:?}");
        let told = history.last().unwrap().reason.as_deref().unwrap();
        assert!(told.starts_with(&format!("the route was changed by revision {} of uid", ended.sources[0].after.revision)), "{told}");
        assert_eq!(code(&step(&client, "resume").await.unwrap_err()), ProblemCode::NotFound);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_pauses_it_and_lifting_it_is_not_enough() {
    let stage = Stage::with_route("both").await;
    let (client, _app) = (client(&stage), App::start(&stage));
    let _: RampBegun = client.post("/v1/ramps", &asked("25,50", GATES)).await.unwrap();
    until("at its first step", &client, |ramp| ramp.taken == 1).await;
    let _: KillStatus = client.post("/v1/kill/on", &KillAsked::default()).await.unwrap();
    let paused = until("paused", &client, |ramp| ramp.state == "paused").await;
    assert_eq!(paused.stopped.as_deref(), Some("the kill switch was turned on"));
    assert_eq!(code(&step(&client, "resume").await.unwrap_err()), ProblemCode::Refused);
    let _: KillStatus = client.post("/v1/kill/off", &KillAsked::default()).await.unwrap();
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!((ramp(&client).await.taken, route(&client).await.0.as_str()), (1, "cutover=25%"));
    let history_then = words(&history(&client).await);
    assert_eq!(history_then.iter().filter(|word| *word == "ramp pause").count(), 1, "{history_then:?}");
    step(&client, "resume").await.unwrap();
    until("done", &client, |ramp| ramp.state == "done").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_added_at_once_and_an_abort_leaves_the_route() {
    let stage = Stage::with_route("segment-only").await;
    let (client, app) = (client(&stage), App::start(&stage));
    let shadow = RampAsked { kind: Some("shadow".to_owned()), ..asked("10,50,100", "window=900ms,parity=off") };
    let begun: RampBegun = client.post("/v1/ramps", &shadow).await.unwrap();
    assert!(!begun.takes_from_segment);
    assert_eq!((begun.ramp.unwrap().taken, route(&client).await.0.as_str()), (1, "shadow=10%"));
    until("at its second step", &client, |ramp| ramp.taken == 2).await;
    step(&client, "pause").await.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(ramp(&client).await.taken, 2);
    let over = step(&client, "abort").await.unwrap();
    assert_eq!((over.ramp.state.as_str(), route(&client).await.0.as_str()), ("aborted", "shadow=50%"));
    assert_eq!(words(&history(&client).await), ["ramp", "shadow=10%", "shadow=50%", "ramp pause", "ramp abort"]);
    assert!(app.sent.load(Ordering::Relaxed) > 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_ramp_is_refused_with_what_to_do() {
    let stage = Stage::with_route("cutover=50%").await;
    let client = client(&stage);
    let wrong = [
        (RampAsked { steps: "25".to_owned(), ..asked("", "") }, ProblemCode::Refused, "gives Segment more"),
        (RampAsked { steps: "most".to_owned(), ..asked("", "") }, ProblemCode::BadRequest, "`most` is no step"),
        (RampAsked { steps: String::new(), ..asked("", "") }, ProblemCode::BadRequest, "at least one step"),
        (asked("75", "speed>=1"), ProblemCode::BadRequest, "`speed>=1` is no gate"),
        (RampAsked { every: Some("30".to_owned()), ..asked("75", "") }, ProblemCode::BadRequest, "30"),
        (RampAsked { on_red: Some("dance".to_owned()), ..asked("75", "") }, ProblemCode::BadRequest, "`dance`"),
        (RampAsked { source: "nobody".to_owned(), ..asked("75", "") }, ProblemCode::NotFound, "nobody"),
        (RampAsked { if_revision: Some(9), ..asked("75", "") }, ProblemCode::Conflict, "changed since"),
    ];
    for (asked, expected, what) in wrong {
        let error = client.post::<RampBegun>("/v1/ramps", &asked).await.unwrap_err();
        assert_eq!(code(&error), expected, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    assert!(history(&client).await.is_empty());
}

/// Runs `segue` against the stage's sidecar: its exit code, its results, its talk.
fn segue(stage: &Stage, arguments: &[&str]) -> (i32, String, String) {
    let mut command = process::command();
    command.arg("--attach").arg(stage.config.admin_socket().unwrap()).args(arguments).stdin(std::process::Stdio::null());
    let output = tokio::task::block_in_place(|| command.output().unwrap());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_starts_shows_and_steers_it() {
    let stage = Stage::with_route("both").await;
    let start = ["route", "ramp", "web", "25,shadow=50", "--gate", "parity=off"];
    let (code, _, told) = segue(&stage, &start);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("step 2 (shadow=50%) gives Segment more than cutover=25%") && told.contains("segue route set"), "{told}");
    let start = ["route", "ramp", "web", "25,50", "--gate", "parity=off,window=900ms", "--gate", "errors=off", "--every", "500ms"];
    let (code, plan, _) = segue(&stage, &[&start[..], &["--dry-run"]].concat());
    assert_eq!(code, 0);
    for told in [
        "step 1 of 2: web: both -> cutover=25% (Segment 100% -> 75%, RudderStack 100% -> 25%)",
        "step 2 of 2: web: cutover=25% -> cutover=50%",
        "Gates: parity=off,pairs>=1000,lag<=5s,errors=off,quarantine<=0,window=900ms",
        "Nothing was changed.",
    ] {
        assert!(plan.contains(told), "{plan}");
    }
    // Nobody can type its name here.
    let (code, _, told) = segue(&stage, &start);
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("nobody is asked again") && told.contains("--yes"), "{told}");
    assert_eq!(segue(&stage, &["route", "ramp", "status"]).1, "There is no ramp, and was none.\n");
    let (code, begun, told) = segue(&stage, &[&start[..], &["--yes", "--if-rev", "0"]].concat());
    assert_eq!(code, 0, "{told}");
    assert!(begun.contains("step 0 of 2 (both)") && begun.contains("segue route ramp pause web"), "{begun}");
    let (code, paused, _) = segue(&stage, &["route", "ramp", "pause", "web", "--reason", "lunch"]);
    assert!(code == 0 && paused.contains("paused: somebody paused it"), "{paused}");
    let (code, status, _) = segue(&stage, &["route", "ramp", "status", "web", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!((code, status["ramps"][0]["state"].as_str()), (3, Some("paused")));
    assert_eq!(segue(&stage, &["route", "ramp", "resume", "web", "--yes"]).0, 0);
    until("done", &client(&stage), |ramp| ramp.state == "done").await;
    let (code, over, _) = segue(&stage, &["route", "ramp", "status"]);
    assert!(code == 0 && over.contains("step 2 of 2 (cutover=50%)") && over.contains("done: all steps are taken"), "{over}");
    assert_eq!(segue(&stage, &["route", "ramp", "abort", "web"]).0, 2);
    let (_, history, _) = segue(&stage, &["route", "history"]);
    assert!(
        history.contains("web cutover=25% > cutover=50%") && history.contains("\"lunch\"") && history.contains("ramp 1, uid"),
        "{history}"
    );
}
