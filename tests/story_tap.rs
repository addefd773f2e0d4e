//! The live tap: events are seen as they pass, with what became of them, and cost nothing while nobody looks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod operator;
mod process;
mod sums;

use std::{
    collections::{HashMap, HashSet},
    io::Write,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use operator::{SEGMENT_KEY, Scene, ask, request};
use process::{get, metric, seed};
use segue::{
    standin::{Fault, Rule},
    wire::{Tap, TapOutcome, TapRow},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

/// A viewer of the stream, and the batches that it heard.
struct Viewer {
    stream: UnixStream,
    heard: String,
    batches: Vec<Tap>,
}

impl Viewer {
    async fn look(scene: &Scene, query: &str) -> Self {
        let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
        stream.write_all(format!("GET /v1/stream?{query} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut viewer = Self { stream, heard: String::new(), batches: Vec::new() };
        // The head of the answer: from here on it looks.
        while !viewer.heard.contains("\r\n\r\n") {
            viewer.read().await;
        }
        assert!(viewer.heard.starts_with("HTTP/1.1 200"), "{}", viewer.heard);
        viewer
    }

    async fn read(&mut self) {
        let mut bytes = vec![0; 64 << 10];
        let count = self.stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "the stream ended: {}", self.heard);
        self.heard += std::str::from_utf8(&bytes[..count]).unwrap();
    }

    /// Hears batches until they are as wanted.
    async fn until(&mut self, what: &str, want: impl Fn(&[Tap]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !want(&self.batches) {
            assert!(Instant::now() < deadline, "{what}: {:#?}", self.batches);
            let _ = tokio::time::timeout(Duration::from_millis(200), self.read()).await;
            self.gather();
        }
    }

    /// Hears for a while.
    async fn during(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            let _ = tokio::time::timeout(left, self.read()).await;
            self.gather();
        }
    }

    fn gather(&mut self) {
        const MARK: &str = "event: tap\ndata: ";
        while let Some((before, after)) = self.heard.split_once(MARK)
            && let Some((data, _)) = after.split_once("\n\n")
        {
            // An event may be cut by the frames of HTTP.
            let data: String = data.split("\r\n").step_by(2).collect();
            self.batches.push(serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}")));
            self.heard = self.heard.split_off(before.len() + MARK.len());
        }
    }

    fn sum(&self, of: impl Fn(&Tap) -> u64) -> u64 {
        self.batches.iter().map(of).sum()
    }

    fn rows(&self) -> impl Iterator<Item = &TapRow> {
        self.batches.iter().flat_map(|batch| &batch.rows)
    }

    fn row(&self, message_id: &str) -> &TapRow {
        self.rows().find(|row| row.message_id == message_id).unwrap_or_else(|| panic!("no {message_id}: {:#?}", self.batches))
    }

    fn outcomes(&self, message_id: &str) -> Vec<&TapOutcome> {
        let id = self.row(message_id).id;
        self.batches.iter().flat_map(|batch| &batch.outcomes).filter(|outcome| outcome.id == id).collect()
    }

    fn words(&self, message_id: &str) -> HashSet<(&str, &str, u16)> {
        let outcomes = self.outcomes(message_id).into_iter();
        outcomes.map(|outcome| (outcome.destination.as_str(), outcome.outcome.as_str(), outcome.status)).collect()
    }
}

fn ended(batches: &[Tap]) -> usize {
    batches.iter().map(|batch| batch.outcomes.len()).sum()
}

fn have(batches: &[Tap], outcome: &str) -> bool {
    batches.iter().flat_map(|batch| &batch.outcomes).any(|ended| ended.outcome == outcome)
}

/// Whether the tap is on, and how long that takes to be as wanted.
async fn until_tap(scene: &Scene, is_on: u64) {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let page = get(scene.metrics_port, "/metrics").await.unwrap_or_default();
        if metric(&page, "segue_tap_on", &[]) == is_on {
            return;
        }
        assert!(Instant::now() < deadline, "the tap is not {is_on}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_both_routes_are_seen_with_what_became_of_them() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    until_tap(&scene, 0).await;
    scene.post("before", "Unseen").await;
    let mut viewer = Viewer::look(&scene, "topics=tap&source=web").await;
    until_tap(&scene, 1).await;

    // One call, plain; a batch, packed, with a hostile name and a context beside its events.
    scene
        .post_body(&format!(
            r#"{{"event":"Order Completed","userId":"anna@example.com","anonymousId":"anon-1","messageId":"one","writeKey":"{SEGMENT_KEY}","context":{{"app":{{"name":"shop {SEGMENT_KEY}","version":"4.11.2"}}}}}}"#
        ))
        .await;
    let hostile = r#"</script>\"'\u001b]0;x\u0007\u202e\u0000"#;
    let batch = format!(
        r#"{{"writeKey":"{SEGMENT_KEY}","context":{{"library":{{"name":"py","version":"2"}}}},"batch":[{{"type":"track","event":"{hostile}","anonymousId":"anonymous-42","messageId":"two"}},{{"type":"identify","userId":"u7","messageId":"three"}},{{"type":"page","name":"Home","anonymousId":"anonymous-43"}}]}}"#
    );
    post_packed(&scene, &batch).await;
    viewer.until("both ends of four events", |batches| ended(batches) >= 8).await;

    let one = viewer.row("one");
    assert_eq!((one.source.as_str(), one.kind.as_deref(), one.name.as_deref()), ("web", Some("track"), Some("Order Completed")));
    assert_eq!(
        (one.person.as_deref(), one.app.as_deref(), one.segment, one.rudderstack),
        (Some("u_..om"), Some("shop *** 4.11.2"), true, true)
    );
    assert_eq!(one.at.len(), "2026-11-27T00:00:00.000Z".len(), "{}", one.at);
    let two = viewer.row("two");
    assert_eq!(two.name.as_deref(), Some("</script>\"'\u{1b}]0;x\u{7}\u{202e}\u{0}"));
    assert_eq!((two.person.as_deref(), two.app.as_deref()), (Some("a_..42"), Some("py 2")));
    assert_eq!((viewer.row("three").person.as_deref(), viewer.row("three").name.as_deref()), (Some("u_.."), None));
    let unnamed = viewer.rows().find(|row| row.kind.as_deref() == Some("page")).unwrap();
    assert!(unnamed.message_id.starts_with("segue-") && unnamed.message_id.ends_with("-2"), "{unnamed:?}");
    for id in ["one", "two", "three", &unnamed.message_id] {
        assert_eq!(viewer.words(id), HashSet::from([("segment", "delivered", 200), ("rudderstack", "delivered", 200)]), "{id}");
        assert!(viewer.outcomes(id).iter().all(|outcome| outcome.took_ms < 5_000), "{:?}", viewer.outcomes(id));
    }
    assert_eq!((viewer.sum(|batch| batch.seen), viewer.sum(|batch| batch.shown), viewer.sum(|batch| batch.lost)), (4, 4, 0));
    assert!(viewer.rows().all(|row| row.message_id != "before") && !viewer.heard.contains("event: figures"));
    println!("{}", serde_json::to_string(&viewer.batches.iter().find(|batch| !batch.rows.is_empty())).unwrap());

    // What only Segment can answer goes there live.
    let event = format!(r#"{{"event":"Live","anonymousId":"anonymous-44","messageId":"live","writeKey":"{SEGMENT_KEY}"}}"#);
    scene.post_with("/v1/track", "Authorization: Bearer token\r\n", &event).await;
    viewer.until("a live event", |batches| ended(batches) >= 10).await;
    assert_eq!(viewer.words("live"), HashSet::from([("segment", "delivered", 200), ("rudderstack", "delivered", 200)]));

    // A resend, a route that leaves one destination out, an outage, a refusal, a wrong key.
    scene.post("one", "Again").await;
    viewer.until("a resend", |batches| ended(batches) >= 12).await;
    assert!(scene.segue(&["route", "set", "web", "segment-only", "--yes"]).await.0 == 0);
    scene.post("alone", "Fine").await;
    viewer.until("an event of one destination", |batches| ended(batches) >= 13).await;
    assert_eq!((viewer.row("alone").segment, viewer.row("alone").rudderstack), (true, false));
    assert_eq!(viewer.words("alone"), HashSet::from([("segment", "delivered", 200)]));
    let again = viewer.rows().find(|row| row.name.as_deref() == Some("Again")).unwrap().id;
    let of_it = viewer.batches.iter().flat_map(|batch| &batch.outcomes).filter(|outcome| outcome.id == again);
    let of_it: HashMap<&str, &str> = of_it.map(|outcome| (outcome.destination.as_str(), outcome.outcome.as_str())).collect();
    assert_eq!(of_it, HashMap::from([("segment", "delivered"), ("rudderstack", "deduplicated")]));

    assert!(scene.segue(&["route", "set", "web", "both", "--yes"]).await.0 == 0);
    let down = scene.rudder.faults().add(Rule::always(Fault::status(503)).for_event("Late"));
    scene.post("late", "Late").await;
    viewer.until("a retry", |batches| have(batches, "retry")).await;
    scene.rudder.faults().add(Rule::always(Fault::status(400)).for_event("Late"));
    scene.rudder.faults().lift(down);
    viewer.until("a refusal", |batches| have(batches, "quarantined")).await;
    let words = viewer.words("late");
    assert!(words.contains(&("rudderstack", "retry", 503)) && words.contains(&("rudderstack", "quarantined", 400)), "{words:?}");
    assert!(words.contains(&("segment", "delivered", 200)), "{words:?}");
    let wrong = scene.rudder.faults().add(Rule::always(Fault::status(401)));
    scene.post("parked", "Fine").await;
    viewer.until("a parked lane", |batches| have(batches, "parked")).await;
    assert!(viewer.words("parked").contains(&("rudderstack", "parked", 401)));
    scene.rudder.faults().lift(wrong);
    assert_eq!(scene.segue(&["unpark", "web", "rudderstack"]).await.0, 0);
    viewer.until("all have gone", |batches| have(&batches[batches.len() - 1..], "delivered")).await;

    // Nothing passes, nothing is told.
    viewer.during(Duration::from_millis(2_500)).await;
    let told = viewer.batches.len();
    viewer.during(Duration::from_secs(2)).await;
    assert!(viewer.batches[told..].iter().all(|batch| !batch.outcomes.is_empty()), "{:#?}", &viewer.batches[told..]);

    // Whoever goes leaves nothing behind.
    drop(viewer);
    until_tap(&scene, 0).await;
    scene.post("after", "Unseen").await;
    scene.until("events go their way", "segue_queue_events", |pending| pending == 0).await;
    sums.held().await;
    assert!(process.stop(Duration::from_secs(10)).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_wishes_are_refused() {
    let scene = Scene::set(seed()).await;
    let process = scene.start().await;
    for (query, said) in [
        ("topics=tap&tap_rate=0", "tap_rate=0"),
        ("topics=tap&tap_rate=501", "From 1 to 500"),
        ("topics=tap&tap_rate=many", "tap_rate"),
        ("topics=tap&source=gone", "there is no source"),
        ("topics=tap&source=%2F", "is no source"),
        ("topics=taps", "figures, changes, tap"),
    ] {
        let answer = ask(&scene, request("GET", &format!("/v1/stream?{query}"), "").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400") && answer.contains(said), "{query}: {answer}");
    }
    until_tap(&scene, 0).await;
    assert!(process.stop(Duration::from_secs(10)).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_adds_up_and_a_viewer_that_never_reads_is_in_nobodys_way() {
    const BATCHES: usize = 300;
    const EVENTS: usize = 20;
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    let silent = Viewer::look(&scene, "topics=figures,changes,tap&tap_rate=500").await;
    let mut viewer = Viewer::look(&scene, "topics=tap&tap_rate=50").await;
    let sent = async {
        for number in 0..BATCHES {
            let event =
                |index| format!(r#"{{"type":"track","event":"E","anonymousId":"person-{index}","messageId":"m-{number}-{index}"}}"#);
            let events: Vec<String> = (0..EVENTS).map(event).collect();
            scene.post_to("/v1/batch", &format!(r#"{{"writeKey":"{SEGMENT_KEY}","batch":[{}]}}"#, events.join(","))).await;
        }
    };
    let heard = async {
        viewer.until("all events", |batches| batches.iter().map(|batch| batch.seen).sum::<u64>() == (BATCHES * EVENTS) as u64).await;
        viewer.during(Duration::from_millis(2_500)).await;
    };
    tokio::join!(sent, heard);
    let shown = viewer.rows().count() as u64;
    assert_eq!((viewer.sum(|batch| batch.seen), viewer.sum(|batch| batch.lost)), ((BATCHES * EVENTS) as u64, 0));
    assert_eq!(viewer.sum(|batch| batch.shown), shown);
    let over_ms = viewer.sum(|batch| batch.over_ms);
    assert!(shown > 10 && shown <= 50 * (over_ms / 1_000 + 1), "{shown} of 50 a second in {over_ms} ms");
    assert!(viewer.batches.len() as u64 <= over_ms / 250 + 1, "{} batches in {over_ms} ms", viewer.batches.len());
    let ids: Vec<u64> = viewer.rows().map(|row| row.id).collect();
    assert!(ids.is_sorted() && ids.iter().collect::<HashSet<_>>().len() == ids.len());
    assert!(viewer.rows().all(|row| viewer.words(&row.message_id).len() == 2), "each row has both ends");
    scene.until("events go their way", "segue_queue_events", |pending| pending == 0).await;
    assert_eq!(scene.segue(&["status"]).await.0, 0);
    sums.held().await;
    drop((silent, viewer));
    until_tap(&scene, 0).await;
    assert!(process.stop(Duration::from_secs(10)).await.success());
}

async fn post_packed(scene: &Scene, body: &str) {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(body.as_bytes()).unwrap();
    let packed = packer.finish().unwrap();
    let head = format!(
        "POST /v1/batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        packed.len()
    );
    let mut stream = TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap();
    stream.write_all(&[head.as_bytes(), &packed].concat()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
