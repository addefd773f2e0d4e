//! Disk space: a source whose RudderStack key is wrong stands still for long, and nobody else feels it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;
mod sums;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use segue::{
    ingress::OnFull,
    model::{ByteSize, Destination, Percent, SourceId},
    standin::{Fault, Rule, TakenEvent},
};
use stage::{Stage, source};
use sums::Sums;
use tokio::time::Instant;

const QUOTA_BYTES: u64 = 4 << 20;
const SOURCES: usize = 10;
const EVENTS: usize = 4;
/// Of one event, about.
const EVENT_BYTES: usize = 4000;
/// How many requests may be on their way through the journal: far below the quota.
const AHEAD_MAX: u64 = 40;
const PARKED: usize = 0;

fn segment_key(index: usize) -> String {
    format!("wk_test_space_segment_{index}")
}

fn rudder_key(index: usize) -> String {
    format!("wk_test_space_rudder_{index}")
}

fn id(index: usize) -> SourceId {
    SourceId::parse(&format!("s{index}")).unwrap()
}

async fn small_stage(spill_max_per_source: u16) -> Stage {
    Stage::with(|config| {
        config.sources = (0..SOURCES).map(|index| source(&format!("s{index}"), &segment_key(index), &rudder_key(index), "both")).collect();
        config.journal.size_max = ByteSize(QUOTA_BYTES);
        config.journal.volume_size = ByteSize(256 << 10);
        config.journal.memory_max = ByteSize(1 << 20);
        config.journal.spill_max_per_source = Percent::from_hundredths(spill_max_per_source).unwrap();
        config.delivery.park_probe = Duration::from_millis(200);
    })
    .await
}

/// What was sent, by source.
#[derive(Default)]
struct Sent {
    requests: u64,
    bytes: u64,
    events: HashMap<usize, u64>,
}

impl Sent {
    /// One request of a source, which must be answered with 200.
    async fn send(&mut self, stage: &Stage, index: usize) {
        let count = self.events.entry(index).or_default();
        let padding = "p".repeat(EVENT_BYTES);
        let event = |n: u64| {
            let person = n % 3;
            format!(
                r#"{{"type":"track","event":"E","userId":"s{index}-u{person}","messageId":"s{index}-{n}","properties":{{"p":"{padding}"}}}}"#
            )
        };
        let events: Vec<_> = (0..EVENTS as u64).map(|n| event(*count + n)).collect();
        let body = format!(r#"{{"batch":[{}],"writeKey":"{}"}}"#, events.join(","), segment_key(index));
        let answer = stage.post("/v1/batch", &body).await;
        assert_eq!(answer.status, 200, "a degraded answer for s{index} after {} requests", self.requests);
        *count += EVENTS as u64;
        self.requests += 1;
        self.bytes += body.len() as u64;
    }

    fn total(&self) -> u64 {
        self.events.values().sum()
    }

    /// Events of the sources but the parked one.
    fn healthy(&self) -> u64 {
        self.total() - self.events[&PARKED]
    }

    /// Waits until those that keep up do.
    async fn keep_up(&self, stage: &Stage, ahead_max: u64) {
        let deadline = Instant::now() + Duration::from_mins(1);
        let ahead = ahead_max * EVENTS as u64;
        loop {
            let (segment, rudder) = (stage.segment.counts().distinct, stage.rudder.counts().distinct);
            if segment + ahead >= self.total() && rudder + ahead >= self.healthy() {
                return;
            }
            let (total, healthy) = (self.total(), self.healthy());
            let late = Instant::now() >= deadline;
            assert!(!late, "Segment has {segment} of {total}, RudderStack {rudder} of {healthy}:\n{}", stage.metrics().await);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Sends from all sources in turn until that many bytes went through.
async fn run(stage: &Stage, bytes: u64) -> Sent {
    let mut sent = Sent::default();
    while sent.bytes < bytes {
        for index in 0..SOURCES {
            sent.send(stage, index).await;
        }
        sent.keep_up(stage, AHEAD_MAX).await;
    }
    sent.keep_up(stage, 0).await;
    sent
}

fn pending(stage: &Stage, index: usize, destination: Destination) -> (u64, u64) {
    let ledger = stage.sidecar().ledger();
    let row = ledger.iter().find(|(lane, _)| lane.source == id(index) && lane.destination == destination);
    row.map_or((0, 0), |(_, row)| (row.planned, row.pending))
}

async fn drained(stage: &Stage, index: usize, destination: Destination) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while pending(stage, index, destination).1 > 0 {
        assert!(Instant::now() < deadline, "(planned, pending): {:?}", pending(stage, index, destination));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Fails unless each person's events came in the order of their numbers; returns how many different ones came.
fn in_order(events: &[TakenEvent]) -> u64 {
    let mut last: BTreeMap<String, i64> = BTreeMap::new();
    let mut count = 0;
    for event in events {
        let number: i64 = event.message_id.rsplit_once('-').unwrap().1.parse().unwrap();
        let last = last.entry(event.user_id.as_ref().unwrap().to_string()).or_insert(-1);
        // After a restart some come again; what is new comes in order.
        if number > *last {
            *last = number;
            count += 1;
        }
    }
    count
}

fn of_key(events: Vec<TakenEvent>, key: &str) -> Vec<TakenEvent> {
    events.into_iter().filter(|event| &*event.source == key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_times_the_quota_goes_through_beside_a_parked_source_and_nobody_feels_it() {
    let mut stage = small_stage(2500).await;
    let wrong = stage.rudder.faults().add(Rule::always(Fault::status(401)).for_key(rudder_key(PARKED)));
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let begun = Instant::now();
    let sent = run(&stage, 20 * QUOTA_BYTES).await;
    println!("{} requests, {} bytes in {:?}", sent.requests, sent.bytes, begun.elapsed());

    // No degraded answer, nothing relayed, and of the others everything at both.
    let counters = stage.sidecar().counters();
    assert_eq!((counters.answers[2].value(), counters.answers[1].value(), counters.answers[3].value()), (0, 0, 0));
    for index in 0..SOURCES {
        let counts = counters.source(&id(index));
        assert_eq!(counts.relayed.value(), 0);
        if index != PARKED {
            assert_eq!(counts.unjournalled.value(), 0);
            assert_eq!(pending(&stage, index, Destination::RudderStack).0, sent.events[&index]);
        }
    }
    assert_eq!((stage.segment.counts().distinct, stage.rudder.counts().distinct), (sent.total(), sent.healthy()));
    let usage = stage.sidecar().journal().usage();
    assert!(usage.bytes <= QUOTA_BYTES, "{usage:?}");
    assert!(usage.spill_bytes > 0, "{usage:?}");

    // The parked one: planned and unjournalled make up what was sent, and the page says who holds the disk.
    let unjournalled = counters.source(&id(PARKED)).unjournalled.value();
    let (planned, waiting) = pending(&stage, PARKED, Destination::RudderStack);
    assert_eq!(planned + unjournalled, sent.events[&PARKED]);
    assert!(planned == waiting && unjournalled > 0 && planned > 100, "planned {planned}, unjournalled {unjournalled}");
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let page = stage.metrics().await;
        let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("segue_journal_spill_bytes{")).collect();
        assert!(lines.iter().any(|line| line.contains(r#"source="s0""#) && line.contains(r#"destination="rudderstack""#)), "{page}");
        // Others are among them for the moment until a cursor says what they have delivered.
        if lines.len() == 1 {
            break;
        }
        assert!(Instant::now() < deadline, "{lines:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    sums.held().await;

    // A restart with all that, then the key is put right: what the lane holds comes, in order, and the rest was counted.
    stage.restart().await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    assert_eq!(pending(&stage, PARKED, Destination::RudderStack), (planned, waiting));
    stage.rudder.faults().lift(wrong);
    drained(&stage, PARKED, Destination::RudderStack).await;
    let arrived = of_key(stage.rudder_events(), &rudder_key(PARKED));
    assert_eq!(in_order(&arrived), planned);

    // And the source is whole again.
    let deadline = Instant::now() + Duration::from_secs(20);
    while !stage.sidecar().journal().spilled().is_empty() {
        assert!(Instant::now() < deadline, "{:?}", stage.sidecar().journal().spilled());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut again = Sent { events: sent.events.clone(), ..Sent::default() };
    again.send(&stage, PARKED).await;
    drained(&stage, PARKED, Destination::RudderStack).await;
    assert_eq!(stage.sidecar().counters().source(&id(PARKED)).unjournalled.value(), 0, "counted since the restart");
    assert_eq!(in_order(&of_key(stage.rudder_events(), &rudder_key(PARKED))), planned + EVENTS as u64);
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_over_its_quota_is_served_by_its_route() {
    // Parked toward both: Segment is asked live then, RudderStack alone is told to come again; the others go on.
    let mut stage = small_stage(500).await;
    let rudder = stage.rudder.faults().add(Rule::always(Fault::status(401)).for_key(rudder_key(PARKED)));
    let sent = run(&stage, 3 * QUOTA_BYTES).await;
    assert!(stage.sidecar().counters().source(&id(PARKED)).unjournalled.value() > 0);
    let (planned, _) = pending(&stage, PARKED, Destination::RudderStack);

    // The route of the source becomes RudderStack alone: its new events are refused, and kept by the client.
    let route = |stage: &mut Stage, route: &str, on_full| {
        stage.config.sources[PARKED] = source("s0", &segment_key(PARKED), &rudder_key(PARKED), route);
        stage.config.ingress.on_full = on_full;
    };
    route(&mut stage, "rudderstack-only", OnFull::Relay);
    stage.restart().await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let body = format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"late","writeKey":"{}"}}"#, segment_key(PARKED));
    let deadline = Instant::now() + Duration::from_secs(20);
    while stage.sidecar().journal().spilled().is_empty() {
        assert!(Instant::now() < deadline, "what was spilled is forgotten");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = stage.post("/v1/track", &body).await;
    assert_eq!((answer.status.as_u16(), answer.headers.contains_key("retry-after")), (429, true));
    assert_eq!(pending(&stage, PARKED, Destination::RudderStack).0, planned);

    // The others are not refused.
    let mut others = Sent { events: sent.events.clone(), ..Sent::default() };
    for index in 1..SOURCES {
        others.send(&stage, index).await;
    }
    others.keep_up(&stage, 0).await;
    stage.rudder.faults().lift(rudder);
    drained(&stage, PARKED, Destination::RudderStack).await;
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_no_longer_configured_keeps_its_records_and_holds_up_nobody() {
    let mut stage = small_stage(5000).await;
    stage.rudder.faults().add(Rule::always(Fault::status(401)).for_key(rudder_key(PARKED)));
    let first = run(&stage, QUOTA_BYTES / 2).await;
    let (planned, _) = pending(&stage, PARKED, Destination::RudderStack);
    assert_eq!(planned, first.events[&PARKED]);

    let gone = stage.config.sources.remove(PARKED);
    stage.restart().await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let mut sent = Sent { events: first.events.clone(), ..Sent::default() };
    while sent.bytes < 6 * QUOTA_BYTES {
        for index in 1..SOURCES {
            sent.send(&stage, index).await;
        }
        sent.keep_up(&stage, AHEAD_MAX).await;
    }
    sent.keep_up(&stage, 0).await;
    assert!(stage.sidecar().journal().usage().spill_bytes > 0);
    assert_eq!(pending(&stage, PARKED, Destination::RudderStack), (planned, planned));

    // It comes back, with a key that is right.
    stage.rudder.faults().clear();
    stage.config.sources.insert(PARKED, gone);
    sums.held().await;
    stage.restart().await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    drained(&stage, PARKED, Destination::RudderStack).await;
    assert_eq!(in_order(&of_key(stage.rudder_events(), &rudder_key(PARKED))), planned);
    sums.held().await;
}
