//! A journal that cannot write (design promise 2): Segment is served live, RudderStack's loss is counted, order is declared
//! suspended, draining goes on, and nobody ever hears anything but 200 or 429 (H14).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;
mod sums;

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use http::Method;
use segue::{
    ingress::OnFull,
    journal::Health,
    model::{ByteSize, SourceId},
    standin::{Fault, Rule},
    upstream::Answer,
};
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, ids, plain_client, source};
use sums::Sums;
use tokio::time::{Instant, sleep};

const ONLY_KEY: &str = "wk_test_only_cccccccccccccccccc";

fn event(id: &str, name: &str, key: &str, padding: usize) -> String {
    let padding = "x".repeat(padding);
    format!(
        r#"{{"type":"track","event":"{name}","userId":"u-{id}","messageId":"{id}","writeKey":"{key}","properties":{{"p":"{padding}"}}}}"#
    )
}

/// A stage with a journal of a few megabytes, of which RudderStack takes nothing and Segment nothing that is named `Backlog`.
async fn full_stage(on_full: OnFull) -> (Stage, BTreeSet<String>) {
    let stage = Stage::with(|config| {
        config.sources =
            vec![source("web", SEGMENT_KEY, RUDDER_KEY, "both"), source("only", ONLY_KEY, "wk_test_rudder_only", "rudderstack-only")];
        (config.journal.size_max, config.journal.volume_size) = (ByteSize(8 << 20), ByteSize(1 << 20));
        config.ingress.limits.relay_timeout = Duration::from_millis(300);
        config.ingress.on_full = on_full;
    })
    .await;
    stage.rudder.faults().add(Rule::always(Fault::status(503)));
    stage.segment.faults().add(Rule::always(Fault::Hang).for_event("Backlog"));
    let mut kept = BTreeSet::new();
    for number in 0.. {
        assert!(number < 2_000, "it does not get full");
        let id = format!("backlog-{number}");
        let answer = stage.post("/v1/track", &event(&id, "Backlog", SEGMENT_KEY, 30_000)).await;
        if answer.status != 200 {
            // Full, relayed to Segment, which does not answer in time.
            is_busy(&answer);
            break;
        }
        kept.insert(id);
    }
    assert!(kept.len() > 50, "only {} fit", kept.len());
    (stage, kept)
}

fn is_busy(answer: &Answer) {
    assert_eq!(answer.status, 429, "{answer:?}");
    for name in ["retry-after", "x-ratelimit-reset"] {
        let seconds: u32 = answer.headers[name].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&seconds), "{name}: {seconds}");
    }
    assert!(answer.body.starts_with(br#"{"success":false"#), "{answer:?}");
}

async fn ready(stage: &Stage) -> (u16, String) {
    let client = plain_client(&format!("http://{}", stage.sidecar().metrics_address().unwrap()));
    let call = segue::upstream::Call { method: Method::GET, path: "/readyz".into(), headers: http::HeaderMap::new(), body: Bytes::new() };
    let answer = client.send(call).await.unwrap();
    (answer.status.as_u16(), String::from_utf8(answer.body.to_vec()).unwrap())
}

async fn until(what: &str, stage: &Stage, holds: impl Fn(&str) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let page = stage.metrics().await;
        if holds(&page) {
            return;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}:\n{page}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_journal_serves_segment_live_counts_what_is_missing_and_says_that_order_is_suspended() {
    let (stage, kept) = full_stage(OnFull::Relay).await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let mut live = BTreeSet::new();
    for number in 0..40 {
        let id = format!("live-{number}");
        let answer = stage.post("/v1/track", &event(&id, "Live", SEGMENT_KEY, 30_000)).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &br#"{"success":true}"#[..]), "Segment's own");
        live.insert(id);
        is_busy(&stage.post("/v1/track", &event(&format!("only-{number}"), "Live", ONLY_KEY, 30_000)).await);
    }
    let counts = stage.sidecar().counters().source(&SourceId::parse("web").unwrap());
    assert_eq!((counts.relayed.value(), counts.unjournalled.value()), (40, 40), "each missing one is counted, and what was refused is not");
    let page = stage.metrics().await;
    assert!(page.contains(r#"segue_order_suspended{source="web"} 1.0"#) && page.contains("segue_journal_writable 0.0"), "{page}");
    let (status, text) = ready(&stage).await;
    assert!(status == 503 && text.contains("full") && text.contains("order suspended: web"), "{text}");
    assert!(!text.contains("only"), "nothing of it was relayed: {text}");

    // The vendors are well again: what is on disk drains, by itself the journal takes events again, order is restored.
    stage.segment.faults().clear();
    stage.rudder.faults().clear();
    stage.drained().await;
    until("order is restored", &stage, |page| page.contains(r#"segue_order_suspended{source="web"} 0.0"#)).await;
    assert_eq!(stage.sidecar().journal().health(), Health::Writable);
    assert_eq!(ready(&stage).await, (200, "ready\n".to_owned()));
    assert_eq!(stage.post("/v1/track", &event("after", "Live", SEGMENT_KEY, 10)).await.status, 200);
    assert_eq!(stage.post("/v1/track", &event("only-after", "Live", ONLY_KEY, 10)).await.status, 200);
    stage.drained().await;
    let mut want = kept.clone();
    want.insert("after".to_owned());
    let at_segment = ids(&stage.segment_events());
    assert!(want.union(&live).all(|id| at_segment.contains(id)), "Segment misses some");
    want.insert("only-after".to_owned());
    let at_rudder = ids(&stage.rudder_events());
    assert!(want.iter().all(|id| at_rudder.contains(id)) && at_rudder.is_disjoint(&live), "RudderStack has what was kept and no more");
    assert_eq!((counts.relayed.value(), counts.unjournalled.value()), (40, 40));
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_trouble_is_never_another_4xx_or_a_5xx() {
    let (stage, _) = full_stage(OnFull::Relay).await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    stage.segment.pause().await;
    let backlog = || Bytes::from(event("m", "Backlog", SEGMENT_KEY, 30_000));
    let table: [(&str, Method, &str, Bytes); 7] = [
        ("full, and Segment is gone", Method::POST, "/v1/track", backlog()),
        ("full, in a batch", Method::POST, "/v1/b", Bytes::from(format!(r#"{{"batch":[{}]}}"#, event("b", "Live", SEGMENT_KEY, 30_000)))),
        ("full, too large to be kept", Method::POST, "/v1/track", Bytes::from(event("l", "Live", SEGMENT_KEY, 1 << 20))),
        ("an unknown key", Method::POST, "/v1/track", Bytes::from(event("k", "Live", "wk_test_nobody", 1))),
        ("an unreadable body", Method::POST, "/v1/track", Bytes::from_static(b"{")),
        ("an unknown path", Method::POST, "/v1/nothing", Bytes::new()),
        ("settings", Method::GET, "/v1/projects/wk_test_nobody/settings", Bytes::new()),
    ];
    for (what, method, path, body) in table {
        println!("{what}");
        is_busy(&stage.send(method, path, &[("content-type", "application/json")], body).await);
    }
    // Pixels get their picture whatever happens, and preflights and probes need no journal.
    let pixel = stage.send(Method::GET, "/v1/pixel/track?data=e30=", &[], Bytes::new()).await;
    assert_eq!((pixel.status.as_u16(), pixel.headers["content-type"].to_str().unwrap()), (200, "image/gif"));
    assert_eq!(stage.send(Method::OPTIONS, "/v1/t", &[("origin", "https://a.example")], Bytes::new()).await.status, 200);
    assert_eq!(stage.send(Method::GET, "/-/healthz", &[], Bytes::new()).await.status, 200);
    stage.segment.resume().await.unwrap();
    let page = stage.metrics().await;
    assert!(
        page.contains(r#"segue_requests_total{code="other"} 0.0"#) && page.contains(r#"segue_requests_total{code="4xx"} 0.0"#),
        "{page}"
    );
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_prefers_429_to_a_live_relay_gets_it() {
    let (stage, _) = full_stage(OnFull::Answer429).await;
    is_busy(&stage.post("/v1/track", &event("live", "Live", SEGMENT_KEY, 30_000)).await);
    assert!(!ids(&stage.segment_events()).contains("live"));
    assert!(stage.sidecar().counters().suspensions.sources().is_empty(), "nothing was relayed, so nothing is out of order");
}

/// Bodies in memory have a limit over all clients: whoever comes beyond it is asked to come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_bodies_at_one_time_are_429() {
    let stage = Stage::with(|config| config.ingress.limits.pending_bytes_max = ByteSize(10_000)).await;
    is_busy(&stage.post("/v1/track", &event("large", "Live", SEGMENT_KEY, 20_000)).await);
    assert_eq!(stage.post("/v1/track", &event("small", "Live", SEGMENT_KEY, 100)).await.status, 200);
    stage.drained().await;
    assert_eq!(ids(&stage.segment_events()), ["small".to_owned()].into());
}

/// Connections that a stop does not wait for meet a journal that is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_journal_is_no_reason_to_lose_a_client() {
    let stage = Stage::with(|config| config.sources.push(source("only", ONLY_KEY, "wk_test_rudder_only", "rudderstack-only"))).await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    stage.sidecar().journal().close().await;
    assert_eq!(stage.post("/v1/track", &event("live", "Live", SEGMENT_KEY, 10)).await.status, 200, "Segment's own");
    is_busy(&stage.post("/v1/track", &event("only", "Live", ONLY_KEY, 10)).await);
    assert_eq!(ids(&stage.segment_events()), ["live".to_owned()].into());
    sums.held().await;
}
