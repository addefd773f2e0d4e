//! The differences between the vendors that no edit of an event bridges, but segue's conduct does: those of protocol.md's T-table
//! that the dialect's own tests do not hold.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;

use bytes::Bytes;
use http::Method;
use segue::standin::{Fault, Rule};
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, ids};

fn batch(items: &[String]) -> String {
    format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, items.join(","))
}

fn track(user: &str, id: &str) -> String {
    format!(r#"{{"type":"track","event":"E","userId":"{user}","messageId":"{id}"}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn t01_t32_the_client_hears_segments_shape_whatever_rudderstack_says() {
    let stage = Stage::with_route("rudderstack-only").await;
    for status in [200, 400, 401, 413, 429, 500] {
        if status != 200 {
            stage.rudder.faults().clear();
            stage.rudder.faults().add(Rule::always(Fault::status(status)));
        }
        let answer = stage.post("/v1/batch", &batch(&[track("u", &format!("m-{status}"))])).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &br#"{"success":true}"#[..]), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t08_t09_t16_every_path_becomes_a_batch_under_basic_and_nothing_else() {
    let stage = Stage::with_route("both").await;
    for (n, path) in ["/v1/import", "/v1/import/", "/v1/b", "/v1/batch"].into_iter().enumerate() {
        stage.post(path, &batch(&[track("u", &format!("m-{n}"))])).await;
    }
    for (n, path) in ["/v1/t", "/v1/i", "/v1/p", "/v1/s", "/v1/g", "/v1/a", "/v1/track"].into_iter().enumerate() {
        stage.post(path, &format!(r#"{{"event":"E","userId":"u","messageId":"s-{n}","writeKey":"{SEGMENT_KEY}"}}"#)).await;
    }
    stage.drained().await;
    assert_eq!(ids(&stage.rudder_events()).len(), 11);
    for request in stage.rudder.taken().requests {
        assert_eq!((request.path.as_str(), request.status), ("/v1/batch", Some(200)));
        assert_eq!(request.headers["authorization"], format!("Basic {}", basic(&format!("{RUDDER_KEY}:"))));
    }
    let kinds: std::collections::BTreeSet<String> = stage.rudder_events().iter().map(|event| event.kind.to_string()).collect();
    assert_eq!(kinds, ["alias", "group", "identify", "page", "screen", "track"].map(str::to_owned).into(), "by the path alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn t25_a_persons_events_arrive_in_their_order() {
    let stage = Stage::with_route("both").await;
    // One in ten requests fails at each side; what comes behind it must wait.
    let flaky = || Rule::always(Fault::status(503)).for_message("u3-0020");
    let rules = (stage.segment.faults().add(flaky()), stage.rudder.faults().add(flaky()));
    for n in 0..200 {
        let items: Vec<String> = (0..5).map(|user| track(&format!("u{user}"), &format!("u{user}-{n:04}"))).collect();
        assert_eq!(stage.post("/v1/batch", &batch(&items)).await.status, 200);
        if n == 120 {
            stage.segment.faults().lift(rules.0);
            stage.rudder.faults().lift(rules.1);
        }
    }
    stage.drained().await;
    for (side, events) in [("Segment", stage.segment_events()), ("RudderStack", stage.rudder_events())] {
        assert_eq!(ids(&events).len(), 1_000, "{side}");
        for user in 0..5 {
            let own: Vec<&str> = events.iter().map(|event| &*event.message_id).filter(|id| id.starts_with(&format!("u{user}-"))).collect();
            assert!(own.is_sorted(), "{side}: the order of u{user} is {own:?}");
        }
    }
    let slots = stage.rudder.taken().requests.iter().filter(|request| request.headers.contains_key("anonymousid")).count();
    assert_eq!(slots, stage.rudder.taken().requests.len(), "each request names its slot");
}

#[tokio::test(flavor = "multi_thread")]
async fn t26_a_retry_keeps_its_message_ids() {
    let stage = Stage::with_route("both").await;
    stage.segment.faults().add(Rule::next(2, Fault::TakeThenClose));
    stage.rudder.faults().add(Rule::next(2, Fault::TakeThenClose));
    stage.post("/v1/batch", &batch(&[r#"{"type":"track","event":"E","userId":"u"}"#.to_owned()])).await;
    stage.drained().await;
    for events in [stage.segment.taken().events, stage.rudder.taken().events] {
        assert_eq!((events.len(), ids(&events).len()), (3, 1), "taken three times under one id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t27_each_side_is_waited_for_as_it_asks() {
    let stage = Stage::with_route("both").await;
    let at_segment = stage.segment.faults().add(Rule::always(Fault::status_retry_after(429, "2")));
    let at_rudder = stage.rudder.faults().add(Rule::always(Fault::status(429)));
    assert_eq!(stage.post("/v1/batch", &batch(&[track("u", "m")])).await.status, 200);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(stage.segment.faults().struck(at_segment), 1, "Segment said when to come again");
    let tries = stage.rudder.faults().struck(at_rudder);
    assert!((2..60).contains(&tries), "RudderStack says nothing, so the waits are ours: {tries} tries");
    stage.segment.faults().lift(at_segment);
    stage.rudder.faults().lift(at_rudder);
    stage.drained().await;
    assert_eq!((stage.segment_events().len(), stage.rudder_events().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn t33_consent_and_tracking_plan_pass_as_they_are() {
    let stage = Stage::with_route("both").await;
    let context = r#"{"consent":{"categoryPreferences":{"ads":false}},"protocols":{"violations":[1e2]}}"#;
    let event = format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"m","context":{context}}}"#);
    stage.post("/v1/batch", &batch(&[event])).await;
    stage.drained().await;
    for events in [stage.segment_events(), stage.rudder_events()] {
        assert!(events[0].json.as_deref().unwrap().contains(context), "{:?}", events[0].json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn t28_a_key_that_rudderstack_does_not_know_parks_its_lane_and_loses_nothing() {
    let stage = Stage::with(|config| config.delivery.park_probe = std::time::Duration::from_millis(200)).await;
    let refusing = stage.rudder.faults().add(Rule::always(Fault::status(401)));
    for n in 0..50 {
        assert_eq!(stage.post("/v1/batch", &batch(&[track("u", &format!("m-{n}"))])).await.status, 200);
    }
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    while stage.segment_events().len() < 50 {
        assert!(tokio::time::Instant::now() < deadline, "Segment is not concerned");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(stage.pending(), 50, "all of RudderStack's wait");
    assert!(stage.rudder.faults().struck(refusing) < 20, "a parked lane does not hammer");
    stage.rudder.faults().lift(refusing);
    stage.drained().await;
    assert_eq!(ids(&stage.rudder_events()).len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn t12_gzip_is_read_once_and_segments_copy_stays_as_it_came() {
    use std::io::Write;
    let stage = Stage::with_route("both").await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(batch(&[track("u", "m")]).as_bytes()).unwrap();
    let body = Bytes::from(encoder.finish().unwrap());
    stage.send(Method::POST, "/v1/batch", &[("content-encoding", "gzip")], body.clone()).await;
    stage.drained().await;
    let taken = stage.segment.taken();
    assert_eq!((taken.requests[0].headers["content-encoding"].as_str(), taken.requests[0].body_bytes), ("gzip", body.len()));
    assert_eq!(ids(&stage.rudder_events()), ["m".to_owned()].into());
}

fn basic(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(text)
}
