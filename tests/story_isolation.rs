//! A RudderStack in trouble costs the Segment leg nothing: design promise 2, measured.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;

use std::time::Duration;

use segue::standin::{Fault, Rule};
use stage::{SEGMENT_KEY, Stage};

const EVENTS: usize = 300;
/// Rounds of each kind, one after the other in turn, so that a busy moment of the machine hits both.
const ROUNDS: usize = 3;
/// Noise only ever adds: one attempt in which the figures agree shows that nothing of ours keeps them apart.
const ATTEMPTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_p99_of_the_segment_leg_stays_within_a_tenth_whatever_rudderstack_does() {
    for fault in [Fault::Hang, Fault::Reset, Fault::status(401), Fault::status(429), Fault::status(500)] {
        let mut seen = Vec::new();
        let held = loop {
            let (healthy_ms, troubled_ms) = compare(&fault).await;
            println!("{fault:?}: p99 {healthy_ms} ms with a healthy RudderStack, {troubled_ms} ms with this one");
            seen.push((healthy_ms, troubled_ms));
            // Both ends are stamped in whole milliseconds, so a difference of one is none.
            if troubled_ms <= healthy_ms + (healthy_ms / 10).max(1) {
                break true;
            }
            if seen.len() == ATTEMPTS {
                break false;
            }
        };
        assert!(held, "{fault:?} slows the Segment leg: {seen:?} (healthy, troubled) ms");
    }
}

/// The median p99 of some rounds without and with the fault.
async fn compare(fault: &Fault) -> (i64, i64) {
    let (mut healthy, mut troubled) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        healthy.push(p99_ms(None).await);
        troubled.push(p99_ms(Some(fault)).await);
    }
    healthy.sort_unstable();
    troubled.sort_unstable();
    (healthy[ROUNDS / 2], troubled[ROUNDS / 2])
}

/// From the moment an event is sent to its arrival at Segment, at 500 events a second.
async fn p99_ms(fault: Option<&Fault>) -> i64 {
    let stage = Stage::with_route("both").await;
    let rule = fault.map(|fault| stage.rudder.faults().add(Rule::always(fault.clone())));
    let mut ticks = tokio::time::interval(Duration::from_millis(2));
    let mut sent_at = Vec::with_capacity(EVENTS);
    for n in 0..EVENTS {
        ticks.tick().await;
        sent_at.push(stage.clock.now());
        let body = format!(r#"{{"type":"track","event":"E","userId":"u{n}","messageId":"m-{n}","writeKey":"{SEGMENT_KEY}"}}"#);
        assert_eq!(stage.post("/v1/track", &body).await.status, 200);
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while stage.segment.counts().distinct < EVENTS as u64 {
        assert!(tokio::time::Instant::now() < deadline, "Segment has {} of {EVENTS}", stage.segment.counts().distinct);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut took_ms: Vec<i64> = stage
        .segment_events()
        .iter()
        .map(|event| event.at.millis_since(sent_at[event.message_id.trim_start_matches("m-").parse::<usize>().unwrap()]))
        .collect();
    took_ms.sort_unstable();
    if let Some(rule) = rule {
        stage.rudder.faults().lift(rule);
    }
    took_ms[EVENTS * 99 / 100]
}
