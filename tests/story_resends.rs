//! T26 and C15: what an SDK sends again goes to Segment as it came, and to RudderStack once.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod stage;
mod sums;

use std::{collections::BTreeMap, fs, path::PathBuf};

use bytes::Bytes;
use http::Method;
use segue::{
    journal::Ledger,
    model::Destination,
    standin::{Fault, Rule, TakenEvent},
};
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, source};
use sums::Sums;

fn event(id: &str, person: &str, number: usize) -> String {
    format!(r#"{{"type":"track","event":"Step","anonymousId":"{person}","messageId":"{id}","properties":{{"number":{number}}}}}"#)
}

fn batch(events: &[String]) -> String {
    format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, events.join(","))
}

fn step(id: &str) -> String {
    batch(&[event(id, "ann", 0)])
}

/// How often each messageId came.
fn counts(events: &[TakenEvent]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.message_id.to_string()).or_insert(0) += 1;
    }
    counts
}

fn ledger(stage: &Stage, destination: Destination) -> Ledger {
    let rows = stage.sidecar().ledger();
    rows.into_iter().find(|(lane, _)| lane.destination == destination && lane.source.as_str() == "web").unwrap().1
}

async fn post(stage: &Stage, body: &str) {
    let answer = stage.post("/v1/batch", body).await;
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &br#"{"success":true}"#[..]));
}

fn watch(stage: &Stage) -> Sums {
    Sums::watch(stage.sidecar().metrics_address().unwrap())
}

#[tokio::test]
async fn a_retry_goes_to_segment_each_time_as_it_came_and_to_rudderstack_once() {
    let stage = Stage::with_route("both").await;
    let sums = watch(&stage);
    let body = format!(r#"{{"event":"Paid","userId":"u1","messageId":"ajs-1","writeKey":"{SEGMENT_KEY}"}}"#);
    for attempt in 0..=10_u8 {
        let count = attempt.to_string();
        let headers = [("content-type", "text/plain"), ("x-retry-count", count.as_str())];
        let headers = if attempt == 0 { &headers[..1] } else { &headers[..] };
        let answer = stage.send(Method::POST, "/v1/t", headers, Bytes::from(body.clone())).await;
        assert_eq!(answer.status, 200, "attempt {attempt}");
    }
    stage.drained().await;
    assert_eq!((stage.segment_events().len(), stage.rudder_events().len()), (11, 1));
    assert!(stage.segment_events().iter().all(|event| event.json.as_deref() == Some(body.as_str())), "as it came");
    let retries: Vec<_> =
        stage.segment.taken().requests.iter().filter_map(|request| request.headers.get("x-retry-count").cloned()).collect();
    assert_eq!(retries.len(), 10);
    let rudder = ledger(&stage, Destination::RudderStack);
    assert_eq!((rudder.planned, rudder.delivered, rudder.deduplicated), (11, 1, 10));
    assert_eq!(ledger(&stage, Destination::Segment).delivered, 11);
    let metrics = stage.metrics().await;
    assert!(metrics.contains("segue_dedup_window_ids 1.0") || metrics.contains("segue_dedup_window_ids 1\n"), "{metrics}");
    assert!(metrics.contains(r#"segue_events_deduplicated_total{source="web",destination="rudderstack"} 10"#), "{metrics}");
    sums.held().await;
}

#[tokio::test]
async fn of_a_batch_only_what_was_there_before_is_left_out() {
    let other = "wk_test_segment_other";
    let sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, "both"), source("shop", other, "wk_test_rudder_other", "both")];
    let stage = Stage::with(|config| config.sources = sources).await;
    let sums = watch(&stage);
    let of = |ids: &[&str]| batch(&ids.iter().map(|id| event(id, "ann", 0)).collect::<Vec<_>>());
    // Twice in one batch, and again with other neighbours before, between and behind.
    post(&stage, &of(&["a", "b", "a", "c"])).await;
    post(&stage, &of(&["n1", "b", "n2", "c", "n3"])).await;
    post(&stage, &of(&["a", "b", "c"])).await;
    // A number is its own text; escapes say the same id; a blank one is none.
    for id in ["7", "\"7\"", "\"\\u0037\"", "\" \"", "\" \"", "null"] {
        let body = format!(r#"{{"batch":[{{"type":"track","event":"Step","userId":"u","messageId":{id}}}],"writeKey":"{SEGMENT_KEY}"}}"#);
        post(&stage, &body).await;
    }
    // The same request twice, without ids: nobody knows that it is one event.
    for _ in 0..2 {
        post(&stage, &format!(r#"{{"batch":[{{"type":"track","event":"Step","userId":"u"}}],"writeKey":"{SEGMENT_KEY}"}}"#)).await;
    }
    // Another source may use the same ids.
    for _ in 0..2 {
        post(&stage, &of(&["a", "b"]).replace(SEGMENT_KEY, other)).await;
    }
    stage.drained().await;
    let mut rudder = counts(&stage.rudder_events());
    let assigned: Vec<_> = rudder.keys().filter(|id| id.starts_with("segue-")).cloned().collect();
    assert_eq!(assigned.len(), 5, "{rudder:?}");
    assert!(assigned.iter().all(|id| rudder.remove(id) == Some(1)));
    let want = [("7", 1), ("a", 2), ("b", 2), ("c", 1), ("n1", 1), ("n2", 1), ("n3", 1)];
    assert_eq!(rudder, want.map(|(id, count)| (id.to_owned(), count)).into_iter().collect());
    let segment = counts(&stage.segment_events());
    assert_eq!((segment["a"], segment["b"], segment["c"]), (5, 5, 3), "Segment gets all of it");
    sums.held().await;
}

#[tokio::test]
async fn requests_at_the_same_time_are_one_event() {
    let stage = Stage::with_route("both").await;
    let sums = watch(&stage);
    for round in 0..5 {
        let body = step(&format!("race-{round}"));
        let answers = futures_util::future::join_all((0..12).map(|_| stage.post("/v1/batch", &body))).await;
        assert!(answers.iter().all(|answer| answer.status == 200));
    }
    stage.drained().await;
    assert!(counts(&stage.rudder_events()).values().all(|count| *count == 1), "{:?}", counts(&stage.rudder_events()));
    assert_eq!((stage.rudder_events().len(), stage.segment_events().len()), (5, 60));
    let rudder = ledger(&stage, Destination::RudderStack);
    assert_eq!((rudder.delivered, rudder.deduplicated), (5, 55));
    sums.held().await;
}

#[tokio::test]
async fn what_failed_is_sent_again_and_what_was_refused_is_not_refused_again() {
    let stage = Stage::with_route("both").await;
    let sums = watch(&stage);
    let faults = stage.rudder.faults();
    faults.add(Rule::always(Fault::status(400)).for_event("Poison"));
    faults.add(Rule::next(3, Fault::status(500)));
    faults.add(Rule::next(1, Fault::status(413)).for_message("p-5"));
    // While the first ones fail, the app sends them again.
    for _ in 0..3 {
        let mut events: Vec<_> = (0..9).map(|number| event(&format!("p-{number}"), "ann", number)).collect();
        events[4] = events[4].replace("Step", "Poison");
        // Nobody's event: the dialect refuses it.
        events.push(r#"{"type":"track","event":"Step","messageId":"nobody"}"#.to_owned());
        post(&stage, &batch(&events)).await;
        post(&stage, &step("p-7")).await;
    }
    stage.drained().await;
    post(&stage, &step("p-2")).await;
    stage.drained().await;
    let numbers: Vec<_> = stage.rudder_events().iter().map(|event| event.message_id.to_string()).collect();
    assert_eq!(numbers, ["p-0", "p-1", "p-2", "p-3", "p-5", "p-6", "p-7", "p-8"], "each once, in order");
    let rudder = ledger(&stage, Destination::RudderStack);
    assert_eq!((rudder.delivered, rudder.quarantined, rudder.deduplicated), (8, 2, 34 - 10));
    let id = segue::journal::LaneId { source: source("web", "", "", "both").id, destination: Destination::RudderStack };
    assert_eq!(stage.sidecar().journal().quarantined(&id).await.unwrap().len(), 2);
    sums.held().await;
}

#[tokio::test]
async fn an_event_that_arrived_without_an_answer_is_sent_again_all_the_same() {
    let stage = Stage::with_route("both").await;
    stage.rudder.faults().add(Rule::next(1, Fault::TakeThenClose));
    post(&stage, &step("unsure")).await;
    post(&stage, &step("unsure")).await;
    stage.drained().await;
    assert_eq!(counts(&stage.rudder_events())["unsure"], 2, "at least once comes first");
    let rudder = ledger(&stage, Destination::RudderStack);
    assert_eq!((rudder.delivered, rudder.deduplicated), (1, 1));
}

#[tokio::test]
async fn each_person_s_events_keep_their_order_between_resends() {
    let stage = Stage::with_route("both").await;
    let sums = watch(&stage);
    let mut sent = Vec::new();
    for number in 0..200 {
        let person = number % 5;
        sent.push(event(&format!("{person}/{}", number / 5), &format!("p{person}"), number));
        // Every third request brings the last few again.
        let from = if number % 3 == 0 { sent.len().saturating_sub(4) } else { sent.len() - 1 };
        post(&stage, &batch(&sent[from..])).await;
    }
    stage.drained().await;
    let mut next = BTreeMap::new();
    for event in stage.rudder_events() {
        let (person, number) = event.message_id.split_once('/').unwrap();
        let due = next.entry(person.to_owned()).or_insert(0_usize);
        assert_eq!(number.parse(), Ok(*due), "{}", event.message_id);
        *due += 1;
    }
    assert_eq!((next.len(), next.values().sum::<usize>()), (5, 200));
    sums.held().await;
}

#[tokio::test]
async fn the_window_is_as_long_as_it_says_across_a_restart_and_none_when_off() {
    let mut stage = Stage::with(|config| config.delivery.dedup_window = 3).await;
    for id in ["a", "b", "c"] {
        post(&stage, &step(id)).await;
        stage.drained().await;
    }
    stage.restart().await;
    let sums = watch(&stage);
    // a is the oldest of three: the fourth makes it unknown.
    for id in ["a", "d", "a"] {
        post(&stage, &step(id)).await;
        stage.drained().await;
    }
    let rudder = counts(&stage.rudder_events());
    assert_eq!(["a", "b", "c", "d"].map(|id| rudder[id]), [2, 1, 1, 1]);
    assert!(stage.metrics().await.contains("segue_dedup_window_ids_max 3"));
    sums.held().await;

    stage.config.delivery.dedup_window = 0;
    stage.restart().await;
    let sums = watch(&stage);
    for id in ["a", "d", "d"] {
        post(&stage, &step(id)).await;
    }
    stage.drained().await;
    let rudder = counts(&stage.rudder_events());
    assert_eq!((rudder["a"], rudder["d"]), (3, 3), "off: all of it goes on");
    sums.held().await;
}

/// The files of marks in a stage's data directory.
fn marks(stage: &Stage) -> Vec<PathBuf> {
    let entries = fs::read_dir(&stage.config.journal.dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("marks-")).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_damaged_file_of_marks_costs_its_own_marks_and_a_missing_one_no_start() {
    let mut stage = Stage::with_route("both").await;
    for number in 0..20 {
        post(&stage, &step(&format!("m-{number}"))).await;
        stage.drained().await;
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    stage.sidecar.take().unwrap().stop().await;
    let files = marks(&stage);
    assert_eq!(files.len(), 1, "{files:?}");
    // One bit of a frame in the middle.
    let mut bytes = fs::read(&files[0]).unwrap();
    let frames: Vec<_> = bytes.windows(4).enumerate().filter(|(_, four)| four == b"sgR1").map(|(at, _)| at).collect();
    assert!(frames.len() >= 10, "{} frames", frames.len());
    bytes[frames[frames.len() / 2] + 60] ^= 0x10;
    fs::write(&files[0], &bytes).unwrap();
    stage.start().await;
    let sums = watch(&stage);
    for number in 0..20 {
        post(&stage, &step(&format!("m-{number}"))).await;
    }
    stage.drained().await;
    let again = stage.rudder_events().len() - 20;
    assert!((1..=4).contains(&again), "{again} of 20 went again for one flipped bit");
    sums.held().await;

    stage.sidecar.take().unwrap().stop().await;
    for path in marks(&stage) {
        fs::remove_file(path).unwrap();
    }
    stage.start().await;
    post(&stage, &step("m-0")).await;
    post(&stage, &step("m-0")).await;
    stage.drained().await;
    assert_eq!(stage.rudder_events().len() - 20 - again, 1, "without marks it is new, once");
    assert!(stage.pending() == 0);
}
