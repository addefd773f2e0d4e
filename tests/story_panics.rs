//! Faults of segue itself (reliability.md P9): a panic in a handler costs one client one 429, a panic in a lane costs it a second;
//! the process lives, and what was acknowledged arrives. The panics come from whoever writes the log, at lines of our choice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails, and panics are its matter")]

mod stage;
mod sums;

use std::{fmt, sync::Mutex, time::Duration};

use bytes::Bytes;
use http::Method;
use segue::standin::{Fault, Rule};
use stage::{SEGMENT_KEY, Stage, ids};
use sums::Sums;
use tracing::{Event, Subscriber, field::Field, field::Visit};
use tracing_subscriber::{Layer, layer::Context, layer::SubscriberExt};

/// The line whose writing panics next, once.
static MINE: Mutex<Option<&str>> = Mutex::new(None);

struct Mines;

impl<S: Subscriber> Layer<S> for Mines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut name = Name(String::new());
        event.record(&mut name);
        let mut mine = MINE.lock().unwrap();
        if mine.is_some_and(|mine| mine == name.0) {
            *mine = None;
            drop(mine);
            panic!("a fault of ours at {}", name.0);
        }
    }
}

/// The `event` of a line.
struct Name(String);

impl Visit for Name {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
}

fn track(id: &str) -> String {
    format!(r#"{{"type":"track","event":"E","userId":"u-{id}","messageId":"{id}","writeKey":"{SEGMENT_KEY}"}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_one_429_or_one_second_and_nothing_acknowledged_is_lost() {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Mines)).unwrap();
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    for number in 0..20 {
        assert_eq!(stage.post("/v1/track", &track(&format!("before-{number}"))).await.status, 200);
    }
    // In a handler: what it would have logged of a relay that failed.
    stage.segment.pause().await;
    *MINE.lock().unwrap() = Some("relay_failed");
    let answer = stage.send(Method::POST, "/v1/nothing", &[("origin", "https://shop.example.com")], Bytes::new()).await;
    assert_eq!(answer.status, 429);
    assert!(answer.headers.contains_key("retry-after") && answer.headers.contains_key("x-ratelimit-reset"));
    assert_eq!(answer.headers["access-control-allow-origin"], "https://shop.example.com");
    assert!(MINE.lock().unwrap().is_none(), "it was stepped on");
    assert_eq!(stage.post("/v1/track", &track("after")).await.status, 200, "on the same connection");
    stage.segment.resume().await.unwrap();

    // In a lane: as it is about to park.
    stage.rudder.faults().add(Rule::next(1, Fault::status(401)));
    *MINE.lock().unwrap() = Some("lane_parked");
    for number in 0..20 {
        assert_eq!(stage.post("/v1/track", &track(&format!("lane-{number}"))).await.status, 200);
    }
    stage.drained().await;
    assert!(MINE.lock().unwrap().is_none(), "it was stepped on");
    tokio::time::sleep(Duration::from_millis(100)).await;
    let page = stage.metrics().await;
    assert!(page.contains("segue_requests_broken_total 1.0") && page.contains("segue_lane_restarts_total 1.0"), "{page}");
    assert_eq!((ids(&stage.segment_events()).len(), ids(&stage.rudder_events()).len()), (41, 41));
    sums.held().await;
}
