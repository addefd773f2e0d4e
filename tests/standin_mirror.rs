//! Why a plain mirror cannot feed RudderStack: the captured SDK requests, sent as they are, with the right key.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail as loudly as the test")]

#[expect(dead_code, reason = "it uses a part of it")]
mod standin_raw;

use std::{collections::BTreeMap, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use segue::standin::{Key, Options, RudderStandin, SegmentStandin, Standin};
use serde::Deserialize;
use serde_json::Value;
use standin_raw::{Said, exchange};

/// The write key of all captures.
const KEY: &str = "WRITE_KEY_BENCH";

/// A captured request.
#[derive(Debug, Deserialize)]
struct Capture {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body_base64: String,
    #[serde(skip)]
    file: String,
}

impl Capture {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn body(&self) -> Vec<u8> {
        STANDARD.decode(&self.body_base64).unwrap()
    }

    /// The events in it, counted without any of segue's code.
    fn events(&self) -> usize {
        if self.path.contains("/pixel/") {
            return 1;
        }
        if self.method != "POST" || self.path == "/v1/m" {
            return 0;
        }
        let body = self.body();
        let inflated = match self.header("content-encoding") {
            Some("gzip") => {
                let mut out = Vec::new();
                std::io::Read::read_to_end(&mut GzDecoder::new(body.as_slice()), &mut out).unwrap();
                out
            }
            _ => body,
        };
        let value: Value = serde_json::from_slice(&inflated).unwrap();
        value.get("batch").map_or(1, |batch| batch.as_array().unwrap().len())
    }

    /// The same request over HTTP/1.1: same path, headers and body; only what frames it is written anew.
    async fn send(&self, to: &Standin) -> Said {
        let framing = ["content-length", "transfer-encoding", "connection", "expect", "host"];
        let kept: Vec<(&str, &str)> = self
            .headers
            .iter()
            .filter(|(name, _)| !name.starts_with(':') && !framing.contains(&name.to_ascii_lowercase().as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let bytes = standin_raw::request(&self.method, &self.path, &kept, &self.body());
        let (got, _) = exchange(to.addr(), &bytes).await;
        Said::read(&got).unwrap_or_else(|| panic!("no answer to {}", self.file))
    }
}

fn corpus() -> Vec<Capture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut captures: Vec<Capture> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let capture: Capture = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            Capture { file: path.file_name().unwrap().to_string_lossy().into_owned(), ..capture }
        })
        .collect();
    captures.sort_by(|a, b| a.file.cmp(&b.file));
    assert!(captures.len() > 70, "the corpus is there");
    captures
}

fn options() -> Options {
    Options { keys: vec![Key::enabled(KEY)], ..Options::default() }
}

#[tokio::test]
async fn a_raw_mirror_loses_half_of_the_requests_at_rudderstack() {
    let gateway = RudderStandin::start(options()).await.unwrap();
    let (mut sent, mut arrived) = (0, 0);
    let (mut requests, mut requests_arrived) = (0, 0);
    let mut refusals: BTreeMap<String, usize> = BTreeMap::new();
    for capture in corpus().iter().filter(|capture| capture.events() > 0) {
        let before = gateway.counts().events;
        let said = capture.send(&gateway).await;
        let taken = usize::try_from(gateway.counts().events - before).unwrap();
        (sent, arrived) = (sent + capture.events(), arrived + taken);
        (requests, requests_arrived) = (requests + 1, requests_arrived + usize::from(taken > 0));
        if said.status != 200 {
            *refusals.entry(format!("{} {}", said.status, said.text().trim_end())).or_default() += 1;
        }
        let short = ["/v1/t", "/v1/i", "/v1/p", "/v1/g", "/v1/a", "/v1/s", "/v1/b"].contains(&capture.path.as_str());
        let pixel = capture.path.starts_with("/v1/pixel/");
        let keyed = capture.header("authorization").is_some_and(|auth| auth == standin_raw::basic(KEY));
        let want = match (short || pixel, keyed) {
            (true, _) => 404,
            (false, false) => 401,
            (false, true) => 200,
        };
        assert_eq!(said.status, want, "{}: {} {}", capture.file, capture.path, said.text());
        assert_eq!(taken, if want == 200 { capture.events() } else { 0 }, "{}", capture.file);
    }
    println!("a raw mirror: {arrived} of {sent} events arrived, {requests_arrived} of {requests} requests; refused: {refusals:?}");
    assert_eq!((arrived, sent, requests_arrived, requests), (200, 277, 25, 50), "of events, of requests");
    let want = [("401 failed to read writekey from header".to_owned(), 5), ("404 404 page not found".to_owned(), 20)];
    assert_eq!(refusals, want.into());
}

#[tokio::test]
async fn what_a_mirror_does_deliver_is_not_what_segment_has() {
    let (gateway, segment) = (RudderStandin::start(options()).await.unwrap(), SegmentStandin::start(options()).await.unwrap());
    for capture in corpus().iter().filter(|capture| capture.events() > 0) {
        capture.send(&gateway).await;
        capture.send(&segment).await;
    }
    let mirrored = gateway.taken().events;
    let uncorrected = mirrored.iter().filter(|event| {
        let twin = segment.taken().events.into_iter().find(|twin| twin.message_id == event.message_id);
        let when = |event: &segue::standin::TakenEvent| event.times.as_deref().map(|times| times.timestamp);
        twin.is_some_and(|twin| when(&twin) != when(event))
    });
    let uncorrected = uncorrected.count();
    println!("of {} events that a raw mirror delivered, {uncorrected} have another timestamp than at Segment", mirrored.len());
    assert!(uncorrected > 0);
}

#[tokio::test]
async fn the_same_corpus_arrives_at_segment() {
    let segment = SegmentStandin::start(options()).await.unwrap();
    let mut sent = 0;
    for capture in &corpus() {
        let before = segment.counts().events;
        let said = capture.send(&segment).await;
        let taken = usize::try_from(segment.counts().events - before).unwrap();
        assert_eq!((said.status, taken), (200, capture.events()), "{}: {}", capture.file, said.text());
        sent += capture.events();
    }
    let counts = segment.counts();
    println!(
        "at Segment: {} of {sent} events arrived, {} different messageIds, dropped {:?}",
        counts.events, counts.distinct, counts.dropped
    );
    assert_eq!(counts.events, sent as u64);
    // One capture shows what an SDK does with events above 32 KB: it sends them, and Segment drops them after a 200.
    let dropped: Vec<_> = counts.dropped.iter().collect();
    assert_eq!(dropped, [(&"event_too_large", &2)]);
}
