//! The `timestamp` that each vendor computes is the moment at which the event happened, whatever the client's clock says and
//! however late it is delivered (protocol.md T2, T3; reliability.md H17, K4).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;

use std::time::{Duration, Instant};

use segue::{
    clock::Clock,
    model::WallTime,
    standin::{Fault, Rule, TakenEvent},
};
use stage::{SEGMENT_KEY, Stage};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// One way in which a client tells its times.
struct Teller {
    name: &'static str,
    path: &'static str,
    body: fn(id: &str, happened: WallTime, sent: WallTime) -> String,
}

const TELLERS: [Teller; 4] = [
    Teller {
        name: "batch with sentAt",
        path: "/v1/batch",
        body: |id, happened, sent| {
            format!(
                r#"{{"batch":[{{"type":"track","event":"E","userId":"u","messageId":"{id}","timestamp":"{happened}"}}],"sentAt":"{sent}","writeKey":"{SEGMENT_KEY}"}}"#
            )
        },
    },
    Teller {
        name: "single with sentAt",
        path: "/v1/t",
        body: |id, happened, sent| {
            format!(
                r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","timestamp":"{happened}","sentAt":"{sent}","writeKey":"{SEGMENT_KEY}"}}"#
            )
        },
    },
    Teller {
        name: "batch with an offset and microseconds",
        path: "/v1/import/",
        body: |id, happened, sent| {
            let python = |time: WallTime| time.to_rfc3339().replace('Z', "123+00:00");
            format!(
                r#"{{"batch":[{{"type":"track","event":"E","userId":"u","messageId":"{id}","timestamp":"{}"}}],"sentAt":"{}","writeKey":"{SEGMENT_KEY}"}}"#,
                python(happened),
                python(sent)
            )
        },
    },
    Teller {
        name: "gzip batch",
        path: "/v1/b",
        body: |id, happened, sent| {
            format!(
                r#"{{"writeKey":"{SEGMENT_KEY}","sentAt":"{sent}","batch":[{{"type":"track","event":"E","userId":"u","messageId":"{id}","timestamp":"{happened}"}}]}}"#
            )
        },
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_wrong_and_deliveries_that_are_late_move_no_event() {
    for late_ms in [0, HOUR_MS, DAY_MS] {
        // Everybody's clock stands still, so that a slow machine is not taken for a wrong time.
        let stage = Stage::at(Clock::frozen(Clock::system().now()), |_| {}).await;
        let faults = (late_ms > 0).then(|| {
            (stage.segment.faults().add(Rule::always(Fault::status(503))), stage.rudder.faults().add(Rule::always(Fault::status(503))))
        });
        let mut told = Vec::new();
        for clock_ms in [0, HOUR_MS, -HOUR_MS, 3 * DAY_MS, -3 * DAY_MS] {
            for teller in &TELLERS {
                // It happened two minutes ago by a true clock; the client's is off.
                let now = stage.clock.now();
                let (happened, sent) = (now.plus_millis(-120_000), now);
                let id = format!("{} {clock_ms}", teller.name);
                let body = (teller.body)(&id, happened.plus_millis(clock_ms), sent.plus_millis(clock_ms));
                let answer = if teller.name.starts_with("gzip") {
                    stage.send(http::Method::POST, teller.path, &[("content-encoding", "gzip")], gzip(body.as_bytes())).await
                } else {
                    stage.post(teller.path, &body).await
                };
                assert_eq!(answer.status, 200);
                told.push((id, happened));
            }
        }
        if let Some((at_segment, at_rudder)) = faults {
            outage(&stage, late_ms).await;
            stage.segment.faults().lift(at_segment);
            stage.rudder.faults().lift(at_rudder);
        }
        stage.drained().await;
        for (id, happened) in told {
            for (side, events) in [("Segment", stage.segment_events()), ("RudderStack", stage.rudder_events())] {
                let off_ms = timestamp(&events, &id).millis_since(happened);
                assert!(off_ms.abs() <= 50, "{side}: `{id}`, {late_ms} ms late, is {off_ms} ms off");
            }
        }
    }
}

/// Without a `timestamp` an event happened when it arrived, even when it is delivered a day later.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_without_times_happened_when_it_arrived() {
    let stage = Stage::with_route("both").await;
    let (at_segment, at_rudder) =
        (stage.segment.faults().add(Rule::always(Fault::status(503))), stage.rudder.faults().add(Rule::always(Fault::status(503))));
    let arrived = stage.clock.now();
    stage.post("/v1/track", &format!(r#"{{"event":"E","userId":"u","messageId":"m","writeKey":"{SEGMENT_KEY}"}}"#)).await;
    outage(&stage, DAY_MS).await;
    stage.segment.faults().lift(at_segment);
    stage.rudder.faults().lift(at_rudder);
    stage.drained().await;
    for (side, events) in [("Segment", stage.segment_events()), ("RudderStack", stage.rudder_events())] {
        let off_ms = timestamp(&events, "m").millis_since(arrived);
        assert!((0..=1_000).contains(&off_ms), "{side} is {off_ms} ms off");
    }
}

/// Lets time pass while both vendors refuse. Each has refused two more requests when it returns: a first one may have been on its
/// way as the clock was moved, and no request is on its way for a day.
async fn outage(stage: &Stage, passes_ms: i64) {
    stage.clock.advance_ms(passes_ms);
    for vendor in [&stage.segment, &stage.rudder] {
        let (refused, deadline) = (vendor.taken().requests.len(), Instant::now() + Duration::from_secs(20));
        while vendor.taken().requests.len() < refused + 2 {
            assert!(Instant::now() < deadline, "nothing is tried again");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn timestamp(events: &[TakenEvent], id: &str) -> WallTime {
    events.iter().find(|event| &*event.message_id == id).unwrap_or_else(|| panic!("{id} did not arrive")).times.as_ref().unwrap().timestamp
}

fn gzip(plain: &[u8]) -> bytes::Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap().into()
}
