//! Every request that a real SDK was seen to send goes in, and every event comes out at both sides.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;

use std::collections::BTreeSet;

use segue::model::{Endpoint, EnvelopeId, Head, Reading};
use segue::protocol::{InflateLimits, Target, classify, inflate, pixel_event};
use stage::{Stage, corpus, ids, source};

/// The key that the corpus was captured with.
const CORPUS_KEY: &str = "WRITE_KEY_BENCH";

#[tokio::test(flavor = "multi_thread")]
async fn every_request_of_real_sdks_arrives_at_both_sides() {
    let stage = Stage::with(|config| config.sources = vec![source("corpus", CORPUS_KEY, "wk_test_rudder", "both")]).await;
    let (mut sent, mut events, mut unnamed) = (0, BTreeSet::new(), 0);
    for captured in corpus() {
        let headers: Vec<(&str, &str)> = captured.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = stage.send(captured.method.clone(), &captured.path, &headers, captured.body.clone()).await;
        assert_eq!(answer.status, 200, "{}", captured.name);
        sent += 1;
        let (path, query) = captured.path.split_once('?').unwrap_or((&captured.path, ""));
        let Target::Events(endpoint) = classify(&captured.method, path) else { continue };
        for id in message_ids(endpoint, query, &captured.headers, &captured.body) {
            match id {
                Some(id) => drop(events.insert(id)),
                None => unnamed += 1,
            }
        }
    }
    stage.drained().await;
    println!("{sent} requests, {} events with a messageId, {unnamed} without", events.len());
    assert!(events.len() > 200, "the corpus is there");
    // Whatever Segment makes of them: two are above its 32 KB and dropped there, as they would be without us.
    for (side, taken) in [("Segment", stage.segment.taken().events), ("RudderStack", stage.rudder.taken().events)] {
        let arrived = ids(&taken);
        assert_eq!(events.difference(&arrived).collect::<Vec<_>>(), Vec::<&String>::new(), "missing at {side}");
        let assigned = arrived.iter().filter(|id| id.starts_with("segue-")).count();
        assert_eq!(assigned, unnamed, "{side} has each event that came without a messageId once, under ours");
    }
    assert_eq!(
        ids(&stage.segment_events()).into_iter().filter(|id| id.starts_with("segue-")).collect::<Vec<_>>(),
        ids(&stage.rudder_events()).into_iter().filter(|id| id.starts_with("segue-")).collect::<Vec<_>>(),
        "both sides know it by the same id"
    );
}

fn message_ids(endpoint: Endpoint, query: &str, headers: &[(String, String)], body: &[u8]) -> Vec<Option<String>> {
    let gzip = headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("content-encoding") && value == "gzip");
    let body = match endpoint {
        Endpoint::Pixel(_) => pixel_event(query).unwrap(),
        _ if gzip => inflate(body, InflateLimits { bytes_max: 4 << 20, ratio_max: 1_000 }).unwrap(),
        _ => body.to_vec(),
    };
    let reading = Reading::of(endpoint, &body).unwrap();
    let own = |item| Head::of(item, endpoint).message_id.map(std::borrow::Cow::into_owned);
    assert!(Head::of(reading.items[0], endpoint).message_id(EnvelopeId(0), 0).len() <= 100);
    reading.items.into_iter().map(own).collect()
}
