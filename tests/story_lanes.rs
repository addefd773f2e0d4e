//! What an operator can do about lanes: events that RudderStack refuses are looked at and sent again, a lane is held and released,
//! a parked one goes on. By the real command line, over the sidecar's socket.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod process;
mod stage;
mod sums;

use std::{collections::BTreeSet, time::Duration};

use segue::{
    config::Config,
    journal::{LaneId, Ledger},
    model::{Destination, SourceId, WallTime},
    standin::{Fault, Rule, TakenEvent},
};
use serde_json::Value;
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, ids, source};
use sums::Sums;

/// How a command ended.
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).unwrap()
    }
}

/// Runs `segue` against the stage's sidecar, without holding up the sidecar.
async fn segue(stage: &Stage, arguments: &[&str]) -> Ended {
    let mut command = process::command();
    command.args(arguments).arg("--attach").arg(stage.config.admin_socket().unwrap());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn ledger(stage: &Stage, source: &str, destination: Destination) -> Ledger {
    let id = LaneId { source: SourceId::parse(source).unwrap(), destination };
    stage.sidecar().ledger().into_iter().find(|(lane, _)| *lane == id).map(|(_, ledger)| ledger).unwrap_or_default()
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !is_so().await {
        assert!(tokio::time::Instant::now() < deadline, "not within 20 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn state(stage: &Stage, source: &str, destination: &str) -> String {
    let lanes = segue(stage, &["hold", "ls", "--json"]).await.json();
    let lane = lanes["lanes"].as_array().unwrap().iter().find(|lane| lane["source"] == source && lane["destination"] == destination);
    lane.unwrap_or_else(|| panic!("{lanes}"))["state"].as_str().unwrap().to_owned()
}

fn watch(stage: &Stage) -> Sums {
    Sums::watch(stage.sidecar().metrics_address().unwrap())
}

fn track(person: &str, id: &str, name: &str, at: WallTime) -> String {
    let name = serde_json::to_string(name).unwrap();
    format!(
        r#"{{"type":"track","event":{name},"anonymousId":"{person}","messageId":"{id}","timestamp":"{at}","context":{{"traits":{{"email":"ann@example.com"}}}}}}"#
    )
}

async fn post_batch(stage: &Stage, key: &str, events: &[String], sent_at: WallTime) {
    let body = format!(r#"{{"batch":[{}],"sentAt":"{sent_at}","writeKey":"{key}"}}"#, events.join(","));
    assert_eq!(stage.post("/v1/batch", &body).await.status, 200);
}

fn of_id<'a>(events: &'a [TakenEvent], id: &str) -> &'a TakenEvent {
    events.iter().find(|event| &*event.message_id == id).unwrap_or_else(|| panic!("{id} did not arrive"))
}

const HOSTILE: &str = "../../x\u{1b}[2J\u{202e}Poison";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_event_is_looked_at_sent_again_and_arrives_as_if_nothing_had_been() {
    let stage = Stage::with_route("both").await;
    let sums = watch(&stage);
    let rule = stage.rudder.faults().add(Rule::always(Fault::status(400)).for_event(HOSTILE));
    // The device's clock is an hour behind.
    let now = stage.clock.now();
    let (happened, sent) = (now.plus_millis(-3_600_000 - 5_000), now.plus_millis(-3_600_000));
    let events: Vec<_> = (0..100).map(|n| track("p1", &format!("m{n}"), if n == 42 { HOSTILE } else { "Fine" }, happened)).collect();
    post_batch(&stage, SEGMENT_KEY, &events, sent).await;
    stage.drained().await;
    assert_eq!(stage.rudder_events().len(), 99);
    assert_eq!(stage.segment_events().len(), 100, "Segment has nothing to do with it");

    let page = segue(&stage, &["quarantine", "ls", "--json", "--source", "web", "--destination", "rudderstack"]).await.json();
    let [entry] = page["entries"].as_array().unwrap().as_slice() else { panic!("{page}") };
    assert_eq!((entry["message_id"].as_str(), entry["status"].as_u64(), entry["name"].as_str()), (Some("m42"), Some(400), Some(HOSTILE)));
    let id = entry["id"].to_string();
    let table = segue(&stage, &["quarantine", "ls"]).await.stdout;
    let shown = segue(&stage, &["quarantine", "show", &id]).await.stdout;
    for text in [&table, &shown] {
        assert!(text.contains("../../x\\u001b[2J"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !(c.is_control() || c == '\u{202e}')), "inert: {text:?}");
        assert!(!text.contains("ann@example.com") && !text.contains(SEGMENT_KEY) && !text.contains(RUDDER_KEY), "{text}");
    }
    let revealed = segue(&stage, &["quarantine", "show", &id, "--reveal", "--json"]).await;
    assert!(revealed.json()["event"]["context"]["traits"]["email"] == "ann@example.com", "{}", revealed.stdout);
    assert!(revealed.stdout.contains("\\u202e"), "what turns writing around is escaped in JSON too: {}", revealed.stdout);

    // Wrong ways.
    let wrong = segue(&stage, &["quarantine", "show", "7777"]).await;
    assert_eq!(wrong.code, 1);
    assert!(wrong.stderr.contains("no entry 7777") && wrong.stderr.contains("segue quarantine ls"), "{}", wrong.stderr);
    assert_eq!(segue(&stage, &["quarantine", "redrive"]).await.code, 2, "which?");
    assert_eq!(segue(&stage, &["quarantine", "redrive", "--all"]).await.code, 2, "nobody can be asked");
    let nearest = segue(&stage, &["quarantine", "redrive", "--source", "wbe", "--yes"]).await;
    assert!(nearest.code == 2 && nearest.stderr.contains("Did you mean web?"), "{}", nearest.stderr);
    assert_eq!(segue(&stage, &["quarantine", "redrive", "--reason", "not this", "--yes"]).await.code, 3);
    let dry = segue(&stage, &["quarantine", "redrive", "--all", "--dry-run"]).await;
    assert!(dry.code == 0 && dry.stdout.contains("1 event would be sent again"), "{}", dry.stdout);

    // Still refused: it comes back.
    assert_eq!(segue(&stage, &["quarantine", "redrive", &id, "--yes"]).await.code, 0);
    until("it is refused again", async || {
        let page = segue(&stage, &["quarantine", "ls", "--json"]).await.json();
        page["entries"].as_array().unwrap().iter().any(|entry| entry["id"].as_u64() != id.parse().ok())
    })
    .await;
    assert_eq!(
        ledger(&stage, "web", Destination::RudderStack),
        Ledger { planned: 100, delivered: 99, quarantined: 1, ..Ledger::default() }
    );

    stage.rudder.faults().lift(rule);
    assert_eq!(segue(&stage, &["quarantine", "redrive", "--all", "--yes"]).await.code, 0);
    until("it is delivered", async || stage.rudder_events().len() == 100).await;
    stage.drained().await;
    let events = stage.rudder_events();
    let (again, other) = (of_id(&events, "m42"), of_id(&events, "m41"));
    let shift_ms = again.times.as_ref().unwrap().timestamp.millis_since(other.times.as_ref().unwrap().timestamp);
    assert_eq!(shift_ms, 0, "it happened when the others did");
    assert_eq!((&*again.source, again.anonymous_id.as_deref()), (RUDDER_KEY, Some("p1")));
    assert_eq!(ledger(&stage, "web", Destination::RudderStack), Ledger { planned: 100, delivered: 100, ..Ledger::default() });
    assert!(segue(&stage, &["quarantine", "ls"]).await.stdout.starts_with("Nothing is in quarantine"));
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_refusals_are_sent_again_under_the_clients_own_key_and_given_up_ones_count_as_purged() {
    let mut stage = Stage::with_route("both").await;
    let sums = watch(&stage);
    let rule = stage.segment.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
    let now = stage.clock.now();
    // An event without a messageId keeps the one that it was given.
    let nameless = r#"{"type":"track","event":"Poison","anonymousId":"p2"}"#.to_owned();
    post_batch(&stage, SEGMENT_KEY, &[track("p1", "m1", "Fine", now), nameless, track("p1", "m3", "Fine", now)], now).await;
    stage.drained().await;
    assert_eq!(ledger(&stage, "web", Destination::Segment), Ledger { planned: 3, quarantined: 3, ..Ledger::default() });
    stage.restart().await;
    let _ = sums.held().await;
    let sums = watch(&stage);
    stage.segment.faults().lift(rule);
    let page = segue(&stage, &["quarantine", "ls", "--json"]).await.json();
    let third = page["entries"].as_array().unwrap().iter().find(|entry| entry["message_id"] == "m3").unwrap()["id"].to_string();
    let released = segue(&stage, &["quarantine", "release", &third, "--yes"]).await;
    assert!(released.stdout.contains("1 event given up"), "{}{}", released.stdout, released.stderr);
    assert_eq!(segue(&stage, &["quarantine", "redrive", "--destination", "segment", "--yes"]).await.code, 0);
    until("both arrive", async || stage.segment_events().len() == 2).await;
    stage.drained().await;
    let want = Ledger { planned: 3, delivered: 2, purged: 1, ..Ledger::default() };
    assert_eq!(ledger(&stage, "web", Destination::Segment), want);
    let (segment, rudder) = (ids(&stage.segment_events()), ids(&stage.rudder_events()));
    assert!(segment.is_subset(&rudder) && !segment.contains("m3"), "both sides name an event alike: {segment:?} {rudder:?}");
    stage.restart().await;
    assert_eq!(ledger(&stage, "web", Destination::Segment), want, "so it stays");
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_lane_sends_nothing_and_everybody_else_does() {
    let mut stage = Stage::with(|config| {
        config.sources =
            vec![source("web", SEGMENT_KEY, RUDDER_KEY, "both"), source("ios", "wk_test_ios_segment", "wk_test_ios_rudder", "both")];
    })
    .await;
    let sums = watch(&stage);
    let held = segue(&stage, &["hold", "set", "web", "rudderstack", "--yes"]).await;
    assert!(held.code == 0 && held.stdout.contains("web to rudderstack is held"), "{}{}", held.stdout, held.stderr);
    assert_eq!(segue(&stage, &["hold", "set", "wbe", "rudderstack", "--yes"]).await.code, 2);
    let now = stage.clock.now();
    for n in 0..150 {
        let id = format!("m{n}");
        post_batch(&stage, SEGMENT_KEY, &[track(&format!("p{}", n % 5), &id, "Web", now)], now).await;
        post_batch(&stage, "wk_test_ios_segment", &[track(&format!("p{}", n % 5), &format!("ios-{id}"), "Ios", now)], now).await;
    }
    until("all others deliver", async || stage.segment_events().len() == 300 && stage.rudder_events().len() == 150).await;
    assert!(stage.rudder_events().iter().all(|event| event.name.as_deref() == Some("Ios")), "nothing of the held lane");
    let waiting = ledger(&stage, "web", Destination::RudderStack);
    assert_eq!((waiting.planned, waiting.pending), (150, 150));
    let page = stage.metrics().await;
    assert!(page.contains("segue_lane_held{source=\"web\",destination=\"rudderstack\"} 1.0"), "{page}");
    assert!(page.contains("segue_lane_held{source=\"web\",destination=\"segment\"} 0.0"), "{page}");

    stage.restart().await;
    let _ = sums.held().await;
    let sums = watch(&stage);
    assert_eq!(state(&stage, "web", "rudderstack").await, "held", "over a restart");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(stage.rudder_events().len(), 150);

    assert_eq!(segue(&stage, &["hold", "release", "web", "rudderstack", "--yes"]).await.code, 0);
    stage.drained().await;
    let events = stage.rudder_events();
    assert_eq!(events.len(), 300);
    for person in 0..5 {
        let anonymous = format!("p{person}");
        let ours = events.iter().filter(|event| event.name.as_deref() == Some("Web") && event.anonymous_id.as_deref() == Some(&anonymous));
        let order: Vec<u32> = ours.map(|event| event.message_id[1..].parse().unwrap()).collect();
        assert!(order.len() == 30 && order.is_sorted(), "{anonymous} in order: {order:?}");
    }
    sums.held().await;
}

/// Under load a hold is exact: nothing begins after it was confirmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_begins_after_a_hold_was_confirmed() {
    let stage = Stage::with_route("both").await;
    let sums = watch(&stage);
    let now = stage.clock.now();
    let mut sent = 0;
    for round in 0..3 {
        for n in 0..60 {
            post_batch(&stage, SEGMENT_KEY, &[track(&format!("p{}", n % 7), &format!("r{round}-{n}"), "Web", now)], now).await;
        }
        sent += 60;
        assert_eq!(segue(&stage, &["hold", "set", "web", "rudderstack", "--yes"]).await.code, 0);
        let frozen = stage.rudder_events().len();
        for n in 0..30 {
            post_batch(&stage, SEGMENT_KEY, &[track(&format!("p{}", n % 7), &format!("h{round}-{n}"), "Web", now)], now).await;
        }
        sent += 30;
        until("Segment goes on", async || stage.segment_events().len() == sent).await;
        assert_eq!(stage.rudder_events().len(), frozen, "round {round}");
        assert_eq!(segue(&stage, &["hold", "release", "web", "rudderstack", "--yes"]).await.code, 0);
    }
    stage.drained().await;
    assert_eq!(ids(&stage.rudder_events()), ids(&stage.segment_events()));
    sums.held().await;
}

fn parking(config: &mut Config, probe: Duration) {
    config.delivery.park_probe = probe;
    config.delivery.pace.segment.in_flight_max = 1;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_parked_by_a_wrong_key_goes_on_by_command_and_by_itself() {
    for (probe, by_command) in [(Duration::from_hours(1), true), (Duration::from_millis(300), false)] {
        let stage = Stage::with(|config| parking(config, probe)).await;
        let sums = watch(&stage);
        let rule = stage.rudder.faults().add(Rule::always(Fault::status(401)));
        let now = stage.clock.now();
        for n in 0..30 {
            post_batch(&stage, SEGMENT_KEY, &[track(&format!("p{n}"), &format!("m{n}"), "Web", now)], now).await;
        }
        until("it parks", async || state(&stage, "web", "rudderstack").await == "parked").await;
        let table = segue(&stage, &["hold", "ls"]).await.stdout;
        assert!(table.contains("parked") && table.contains("answered 401"), "{table}");
        assert!(stage.metrics().await.contains("segue_lane_parked{source=\"web\",destination=\"rudderstack\"} 1.0"));
        until("Segment has nothing to do with it", async || stage.segment_events().len() == 30).await;
        assert_eq!(stage.rudder_events().len(), 0);
        stage.rudder.faults().lift(rule);
        if by_command {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert_eq!(stage.rudder_events().len(), 0, "it tries once an hour");
            assert_eq!(segue(&stage, &["unpark", "web", "rudderstack"]).await.code, 0);
        }
        stage.drained().await;
        assert_eq!(ledger(&stage, "web", Destination::RudderStack), Ledger { planned: 30, delivered: 30, ..Ledger::default() });
        assert!(["idle", "delivering"].contains(&state(&stage, "web", "rudderstack").await.as_str()));
        sums.held().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_refusals_in_a_row_leave_ten_in_quarantine_and_the_rest_in_the_journal() {
    let stage = Stage::with(|config| parking(config, Duration::from_hours(1))).await;
    let sums = watch(&stage);
    let rule = stage.segment.faults().add(Rule::always(Fault::status(400)));
    let now = stage.clock.now();
    let send = async |from: u32, to: u32| {
        for n in from..to {
            post_batch(&stage, SEGMENT_KEY, &[track(&format!("p{n}"), &format!("m{n}"), "Web", now)], now).await;
        }
    };
    send(0, 40).await;
    until("it parks", async || state(&stage, "web", "segment").await == "parked").await;
    let ten = ledger(&stage, "web", Destination::Segment);
    assert_eq!((ten.quarantined, ten.pending), (10, 30), "{ten:?}");
    // Sent again and refused again, ten times over, they do not park anything anew, and nothing is lost of them.
    assert_eq!(segue(&stage, &["quarantine", "redrive", "--all", "--yes"]).await.code, 0);
    let due = ledger(&stage, "web", Destination::Segment);
    assert_eq!((due.planned, due.quarantined + due.pending), (40, 40), "{due:?}");
    stage.segment.faults().lift(rule);
    // From here on one event in three is bad, and the good ones behind it get through.
    stage.segment.faults().add(Rule::always(Fault::status(400)).for_message("m41"));
    send(40, 43).await;
    assert_eq!(segue(&stage, &["unpark", "web", "segment"]).await.code, 0);
    stage.drained().await;
    let after = ledger(&stage, "web", Destination::Segment);
    assert_eq!((after.planned, after.delivered, after.quarantined), (43, 42, 1), "{after:?}");
    let got: BTreeSet<String> = ids(&stage.segment_events());
    assert_eq!(got, (0..43).filter(|n| *n != 41).map(|n| format!("m{n}")).collect());
    sums.held().await;
}

/// A quarantine that is full stops the lane, says so, and goes on once there is room; the other lane never notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_quarantine_holds_its_lane_until_there_is_room() {
    let stage = Stage::with(|config| {
        config.journal.size_max = segue::model::ByteSize(4 << 20);
        config.journal.volume_size = segue::model::ByteSize(512 << 10);
        // So that nothing parks before it is full.
        config.delivery.park_probe = Duration::from_millis(10);
    })
    .await;
    let sums = watch(&stage);
    let rule = stage.rudder.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
    let now = stage.clock.now();
    let filler = "x".repeat(2_000);
    for n in 0..100 {
        let name = if n % 5 == 4 { "Fine" } else { "Poison" };
        let event = track(&format!("p{n}"), &format!("m{n}"), name, now);
        let event = format!(r#"{},"properties":{{"filler":"{filler}"}}}}"#, event.strip_suffix('}').unwrap());
        post_batch(&stage, SEGMENT_KEY, &[event], now).await;
    }
    until("it is full", async || state(&stage, "web", "rudderstack").await == "quarantine_full").await;
    until("Segment goes on", async || stage.segment_events().len() == 100).await;
    let full = ledger(&stage, "web", Destination::RudderStack);
    assert!(full.quarantined >= 15 && full.pending > 0, "{full:?}");
    stage.rudder.faults().lift(rule);
    assert_eq!(segue(&stage, &["quarantine", "redrive", "--all", "--yes"]).await.code, 0);
    until("all is delivered", async || {
        let ledger = ledger(&stage, "web", Destination::RudderStack);
        if ledger.pending == 0 && ledger.quarantined > 0 {
            // What was refused before the fault was lifted and had waited for room.
            segue(&stage, &["quarantine", "redrive", "--all", "--yes"]).await;
        }
        ledger.delivered == 100
    })
    .await;
    assert_eq!(ids(&stage.rudder_events()).len(), 100);
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_sidecar_the_commands_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: Vec<String>| async move {
        let output = tokio::task::spawn_blocking(move || process::command().args(arguments).output()).await.unwrap().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let absent = dir.path().join("none.sock").display().to_string();
    let (code, said) = run(["quarantine", "ls", "--attach", &absent].map(str::to_owned).into()).await;
    assert!(code == 69 && said.contains("there is no socket at") && said.contains("segue run"), "{code} {said}");
    let stale = dir.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    let (code, said) = run(["hold", "ls", "--attach", &stale.display().to_string()].map(str::to_owned).into()).await;
    assert!(code == 69 && said.contains("no sidecar answers"), "{code} {said}");
}
