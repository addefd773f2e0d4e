//! Events sent again: what one side alone got while a route was another, through restarts and beside live traffic.
//!
//! `SEGUE_KILLS` sets the number of kills in the middle of a replay (4), `SEGUE_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod operator;
mod process;
mod sums;

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use operator::{SEGMENT_KEY, Scene};
use process::{get, metric, seed};
use segue::standin::Standin;
use serde_json::Value;

/// How often each messageId with that beginning came.
fn times_taken(vendor: &Standin, prefix: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in vendor.taken().events.iter().filter(|event| event.message_id.starts_with(prefix)) {
        *counts.entry(event.message_id.to_string()).or_default() += 1;
    }
    counts
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn json(scene: &Scene, arguments: &[&str]) -> Value {
    let (code, said) = scene.segue(&[arguments, &["--json"]].concat()).await;
    serde_json::from_str(said.lines().next().unwrap_or_default()).unwrap_or_else(|error| panic!("{arguments:?}: {code} {error}: {said}"))
}

/// The newest replay.
async fn newest(scene: &Scene) -> Value {
    json(scene, &["replay", "list"]).await["replays"].as_array().unwrap().last().unwrap().clone()
}

async fn done(scene: &Scene) -> Value {
    until("the replay ends", async || newest(scene).await["state"] == "done").await;
    newest(scene).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_side_alone_got_is_counted_by_an_undo_and_sent_to_the_other() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    scene.post("both-0", "Fine").await;
    assert_eq!(scene.segue(&["route", "set", "web", "segment-only", "--yes"]).await.0, 0);
    for n in 0..40 {
        scene.post(&format!("gap-{n}"), "Fine").await;
    }
    until("Segment has them", async || scene.segment.taken().events.len() == 41).await;

    // A look and the undo itself say what RudderStack misses, and how it gets it.
    let planned = json(&scene, &["route", "undo", "--dry-run"]).await;
    let (plans, plan) = (planned["one_sided"].as_array().unwrap().len(), planned["one_sided"][0].clone());
    assert_eq!((plans, &plan["destination"], &plan["events"], &plan["complete"]), (1, &"rudderstack".into(), &40.into(), &true.into()));
    assert_eq!(plan["people"], 40);
    let (code, said) = scene.segue(&["route", "undo", "--yes"]).await;
    assert!(
        code == 0 && said.contains("Segment alone got 40 events of web meanwhile. To send them to RudderStack: segue replay start"),
        "{said}"
    );
    let command = said.split("To send them to RudderStack: segue ").nth(1).unwrap().lines().next().unwrap().to_owned();
    scene.post("both-1", "Fine").await;

    // What comes later is no part of it, nor what went to both.
    let words: Vec<&str> = command.split(' ').collect();
    let (code, said) = scene.segue(&[words.as_slice(), &["--dry-run"]].concat()).await;
    assert!(
        code == 3 && said.contains("40 events of 40 people of web would go to RudderStack again") && said.contains("Nothing was sent"),
        "{code} {said}"
    );
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let (code, said) = scene.segue(&[words.as_slice(), &["--yes", "--reason", "the gap"]].concat()).await;
    assert_eq!(code, 0, "{said}");
    let job = done(&scene).await;
    assert_eq!((&job["sent"], &job["total"], &job["lost"]), (&40.into(), &40.into(), &0.into()));
    until("they arrive", async || times_taken(&scene.rudder, "gap-").len() == 40).await;
    scene.until("all is delivered", "segue_queue_events", |pending| pending == 0).await;
    assert!(times_taken(&scene.rudder, "gap-").values().all(|count| *count == 1), "once each");
    assert_eq!((times_taken(&scene.rudder, "both-").len(), scene.rudder.taken().events.len()), (2, 42));
    assert_eq!(scene.segment.taken().events.len(), 42, "Segment gets nothing again");

    // Each keeps its own time, though it came later.
    let (segment, rudder) = (scene.segment.taken().events, scene.rudder.taken().events);
    for event in rudder.iter().filter(|event| event.message_id.starts_with("gap-")) {
        let first = segment.iter().find(|first| first.message_id == event.message_id).unwrap();
        let (then, now) = (first.times.as_ref().unwrap(), event.times.as_ref().unwrap());
        let apart = now.timestamp.millis_since(then.timestamp).abs();
        assert!(apart < 500, "{}: {apart} ms apart", event.message_id);
        assert!(event.at.millis_since(first.at) > 1_000, "it came later");
    }

    // Nothing is left to send: what was sent again is not sent again, unless that is wanted, past deduplication.
    let (code, said) = scene.segue(&["replay", "plan", "web", "--to", "rudderstack", "--first-rev", "1", "--last-rev", "1"]).await;
    assert_eq!(code, 3, "the gap is still one by its plans: {said}");
    let all = json(&scene, &["replay", "plan", "web", "--to", "rudderstack", "--all"]).await;
    assert_eq!(all["events"], 42, "what a replay repeated is not repeated: {all}");
    let (code, said) = scene.segue(&["replay", "start", "web", "--to", "rudderstack", "--all", "--rate", "1000/s", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    done(&scene).await;
    until("all come again", async || scene.rudder.taken().events.len() == 84).await;
    assert_eq!(scene.count("segue_events_deduplicated_total").await, 0);

    // Who did it stands in the history.
    let (_, said) = scene.segue(&["route", "history"]).await;
    assert!(said.contains("replay      web to rudderstack  \"the gap\"") && said.contains("replay end"), "{said}");
    assert_eq!(scene.segue(&["audit", "verify"]).await.0, 0);
    let page = get(scene.metrics_port, "/metrics").await.unwrap();
    assert_eq!(metric(&page, "segue_replay_events_total", &[("source", "web"), ("destination", "rudderstack")]), 82, "{page}");
    sums.held().await;
    assert!(process.stop(Duration::from_secs(10)).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_killed_goes_on_where_it_was() {
    let kills: u64 = std::env::var("SEGUE_KILLS").map_or(4, |text| text.parse().expect("SEGUE_KILLS is a number"));
    let seed = seed();
    println!("SEGUE_SEED={seed} SEGUE_KILLS={kills}");
    let scene = Scene::set(seed).await;
    let sums = scene.watch();
    let mut process = scene.start().await;
    assert_eq!(scene.segue(&["route", "set", "web", "segment-only", "--yes"]).await.0, 0);
    for n in 0..300 {
        scene.post(&format!("gap-{n}"), "Fine").await;
    }
    let (code, said) = scene.segue(&["route", "undo", "--yes", "--backfill", "60/s"]).await;
    assert!(code == 0 && said.contains("Replay 3 runs"), "{said}");
    let mut random = seed;
    for _ in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        tokio::time::sleep(Duration::from_millis(200 + (random >> 33) % 600)).await;
        process.kill();
        process = scene.start().await;
    }
    let job = done(&scene).await;
    assert_eq!((&job["sent"], &job["total"]), (&300.into(), &300.into()), "{job}");
    scene.until("all is delivered", "segue_queue_events", |pending| pending == 0).await;
    // Exactly that many were journalled again: kills repeat what was in flight, as for any event, and nothing else.
    assert_eq!(scene.count("segue_events_planned_total").await, 300);
    let taken = times_taken(&scene.rudder, "gap-");
    assert_eq!(taken.len(), 300, "none is lost");
    println!("{} of 300 came more than once, after {kills} kills", taken.values().filter(|count| **count > 1).count());
    sums.held().await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_waits_for_what_goes_first_and_does_what_it_is_told() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    assert_eq!(scene.segue(&["route", "set", "web", "segment-only", "--yes"]).await.0, 0);
    for n in 0..200 {
        scene.post(&format!("gap-{n}"), "Fine").await;
    }
    assert_eq!(scene.segue(&["route", "set", "web", "both", "--yes"]).await.0, 0);
    // A lane that stands still gets nothing on top.
    assert_eq!(scene.segue(&["hold", "set", "web", "rudderstack", "--yes"]).await.0, 0);
    let started = json(&scene, &["replay", "start", "web", "--to", "rudderstack", "--rate", "100/s", "--yes"]).await;
    let id = started["id"].to_string();
    until("it says what it waits for", async || newest(&scene).await["waits_for"] == "its lane is held").await;
    assert_eq!(newest(&scene).await["sent"], 0);
    assert_eq!(scene.segue(&["hold", "release", "web", "rudderstack", "--yes"]).await.0, 0);
    until("it sends", async || newest(&scene).await["sent"].as_u64().unwrap() > 10).await;

    // Paused, it sends no more; what comes live is not held up.
    let paused = json(&scene, &["replay", "pause", &id, "--reason", "lunch"]).await;
    assert_eq!(paused["state"], "paused");
    let sent = newest(&scene).await["sent"].as_u64().unwrap();
    for n in 0..50 {
        scene.post(&format!("live-{n}"), "Fine").await;
    }
    until("live events arrive", async || times_taken(&scene.rudder, "live-").len() == 50).await;
    assert!(newest(&scene).await["sent"].as_u64().unwrap() <= sent + 1, "it stands");
    assert_eq!(json(&scene, &["replay", "resume", &id]).await["state"], "running");
    until("it goes on", async || newest(&scene).await["sent"].as_u64().unwrap() > sent + 10).await;

    // Live events are as quick beside it as without it.
    let begun = Instant::now();
    scene.post("quick", "Fine").await;
    until("it arrives", async || times_taken(&scene.rudder, "quick").len() == 1).await;
    println!("a live event beside a replay took {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5));

    // Cancelled, it is over, and says so to whoever asks again.
    assert_eq!(json(&scene, &["replay", "cancel", &id]).await["state"], "cancelled");
    scene.until("what it sent arrives", "segue_queue_events", |pending| pending == 0).await;
    let arrived = times_taken(&scene.rudder, "gap-").len();
    assert!(arrived < 200, "{arrived}");
    for (arguments, code, words) in [
        (&["replay", "resume", id.as_str()][..], 4, "is over"),
        (&["replay", "pause", "999"], 2, "there is no replay 999"),
        (&["replay", "start", "wbe", "--to", "rudderstack", "--yes"], 2, "Did you mean web?"),
        (&["replay", "start", "web", "--to", "rudderstack", "--rate", "7", "--yes"], 2, "200/s"),
        (&["replay", "start", "web", "--to", "rudderstack", "--from", "yesterday", "--yes"], 2, "is no time"),
        (&["replay", "start", "web", "--to", "rudderstack"], 2, "--yes"),
        (&["replay", "start", "web", "--to", "segment", "--yes"], 4, "no event in the journal"),
    ] {
        let (ended, said) = scene.segue(arguments).await;
        assert!(ended == code && said.contains(words), "{arguments:?}: {ended} {said}");
    }
    sums.held().await;
    assert!(process.stop(Duration::from_secs(10)).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_kill_switch_says_what_rudderstack_misses_by_its_routes() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let _process = scene.start().await;
    assert_eq!(scene.segue(&["route", "set", "web", "shadow=50%", "--yes"]).await.0, 0);
    assert_eq!(scene.segue(&["kill", "on"]).await.0, 0);
    for n in 0..200 {
        scene.post(&format!("dark-{n}"), "Fine").await;
    }
    let (code, said) = scene.segue(&["kill", "status"]).await;
    assert!(code == 3 && said.contains("Segment alone got"), "{code} {said}");
    let off = json(&scene, &["kill", "off", "--yes"]).await;
    let plan = &off["one_sided"][0];
    let events = plan["events"].as_u64().unwrap();
    // Half of the people, and exactly those whom the route would have sent there.
    assert!((60..140).contains(&events), "{plan}");
    let command = plan["command"].as_str().unwrap().to_owned();
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    assert_eq!(scene.segue(&[words.as_slice(), &["--yes"]].concat()).await.0, 0, "{command}");
    done(&scene).await;
    scene.until("all is delivered", "segue_queue_events", |pending| pending == 0).await;
    let sent = times_taken(&scene.rudder, "dark-");
    assert_eq!(sent.len() as u64, events);
    for n in 0..200 {
        scene.post(&format!("dark-{n}"), "Again").await;
    }
    scene.until("all is delivered", "segue_queue_events", |pending| pending == 0).await;
    let with_route: Vec<String> = times_taken(&scene.rudder, "dark-").into_keys().collect();
    assert_eq!(with_route, sent.into_keys().collect::<Vec<_>>(), "the same people by the replay and by the route");
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_replay_has_still_to_read_is_kept_for_it() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let text = fs::read_to_string(&scene.config).unwrap();
    fs::write(&scene.config, text.replace("size_max = \"64MiB\"", "size_max = \"64MiB\"\nkeep_delivered = \"1s\"")).unwrap();
    let process = scene.start().await;
    let large = |id: String| {
        let padding = "x".repeat(28 << 10);
        format!(
            r#"{{"type":"track","event":"Large","anonymousId":"p","messageId":"{id}","properties":{{"p":"{padding}"}},"writeKey":"{SEGMENT_KEY}"}}"#
        )
    };
    assert_eq!(scene.segue(&["route", "set", "web", "segment-only", "--yes"]).await.0, 0);
    for n in 0..240 {
        scene.post_body(&large(format!("gap-{n}"))).await;
    }
    assert_eq!(scene.segue(&["route", "undo", "--yes", "--backfill", "40/s"]).await.0, 0);
    let id = newest(&scene).await["id"].to_string();
    until("it has begun", async || newest(&scene).await["sent"].as_u64().unwrap() > 2).await;
    assert_eq!(json(&scene, &["replay", "pause", &id]).await["state"], "paused");
    // Far beyond their time.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(json(&scene, &["replay", "resume", &id]).await["state"], "running");
    let job = done(&scene).await;
    assert_eq!((&job["sent"], &job["lost"]), (&240.into(), &0.into()), "{job}");
    scene.until("all is delivered", "segue_queue_events", |pending| pending == 0).await;
    assert_eq!(times_taken(&scene.rudder, "gap-").len(), 240);

    // Then it goes, and a plan says that it does not know what there was.
    until("they are given back", async || {
        let plan = json(&scene, &["replay", "plan", "web", "--to", "rudderstack", "--first-rev", "1"]).await;
        plan["complete"] == false && plan["events"].as_u64().unwrap() < 240
    })
    .await;
    let (_, said) = scene.segue(&["replay", "plan", "web", "--to", "rudderstack", "--first-rev", "1"]).await;
    assert!(said.contains("there may have been more, and nobody can say how many"), "{said}");
    sums.held().await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_segment_got_live_and_what_rules_keep_from_rudderstack_is_not_missed() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let text = fs::read_to_string(&scene.config).unwrap();
    fs::write(&scene.config, text + "[[source.rule]]\nevent = \"Private *\"\nroute = \"segment-only\"\n").unwrap();
    let process = scene.start().await;

    // What comes with a token is relayed, and only RudderStack's copy is journalled: Segment has it all the same.
    for n in 0..5 {
        let event =
            format!(r#"{{"type":"track","event":"Fine","anonymousId":"p-{n}","messageId":"token-{n}","writeKey":"{SEGMENT_KEY}"}}"#);
        scene.post_with("/v1/track", "Authorization: Bearer wk_test_token\r\n", &event).await;
    }
    until("both have them", async || times_taken(&scene.rudder, "token-").len() == 5 && times_taken(&scene.segment, "token-").len() == 5)
        .await;
    let plan = json(&scene, &["replay", "plan", "web", "--to", "segment"]).await;
    assert_eq!(plan["events"], 0, "{plan}");

    // A rule that keeps events from RudderStack keeps them from what an undo, and the kill switch, say that it misses.
    assert_eq!(scene.segue(&["route", "set", "web", "segment-only", "--yes"]).await.0, 0);
    for n in 0..10 {
        scene.post(&format!("open-{n}"), "Fine").await;
        scene.post(&format!("private-{n}"), "Private Thing").await;
    }
    let undone = json(&scene, &["route", "undo", "--yes"]).await;
    assert_eq!((&undone["one_sided"][0]["events"], undone["one_sided"].as_array().unwrap().len()), (&10.into(), 1), "{undone}");
    let words = undone["one_sided"][0]["command"].as_str().unwrap().to_owned();
    let words: Vec<&str> = words.split(' ').skip(1).collect();
    assert_eq!(scene.segue(&[words.as_slice(), &["--yes"]].concat()).await.0, 0);
    done(&scene).await;
    scene.until("all is delivered", "segue_queue_events", |pending| pending == 0).await;
    assert_eq!((times_taken(&scene.rudder, "open-").len(), times_taken(&scene.rudder, "private-").len()), (10, 0));
    assert_eq!(scene.segue(&["kill", "on"]).await.0, 0);
    for n in 10..20 {
        scene.post(&format!("open-{n}"), "Fine").await;
        scene.post(&format!("private-{n}"), "Private Thing").await;
    }
    let status = json(&scene, &["kill", "status"]).await;
    assert_eq!(status["one_sided"][0]["events"], 10, "{status}");
    sums.held().await;
    drop(process);
}
