//! Every body that a real SDK sent, through both copies.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{fs, io::Read, net::IpAddr, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use segue::{
    dialect::{Facts, Settings, translate},
    model::{
        BasicAuth, Encoding, Endpoint, Envelope, EnvelopeId, EventKind, Head, Origin, PerDestination, Plan, Reading, Revision, Selection,
        SourceId, WallTime,
        json::{Raw, parse},
    },
    protocol::segment_copy,
};
use serde_json::Value;

/// A day after the corpus was taken; its clocks were right.
const ARRIVAL: WallTime = WallTime::from_millis(1_795_557_000_000);
const DAY_MS: i64 = 86_400_000;

struct Request {
    name: String,
    envelope: Envelope,
    inflated: Vec<u8>,
}

/// The requests of the corpus that carry events.
fn requests() -> Vec<Request> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus"));
    let files = fs::read_dir(folder).expect("the corpus stands in tests/corpus");
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    files.iter().filter_map(|path| request(path)).collect()
}

fn request(path: &Path) -> Option<Request> {
    let capture: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let endpoint = endpoint(capture["path"].as_str().unwrap()).filter(|_| capture["method"] == "POST")?;
    let body = STANDARD.decode(capture["body_base64"].as_str().unwrap()).unwrap();
    let is_gzip = body.starts_with(&[0x1f, 0x8b]);
    let mut inflated = body.clone();
    if is_gzip {
        inflated.clear();
        flate2::read::GzDecoder::new(&body[..]).read_to_end(&mut inflated).unwrap();
    }
    let events = Reading::of(endpoint, &inflated).unwrap().items.len();
    let envelope = Envelope {
        id: EnvelopeId(7),
        source: SourceId::parse("corpus").unwrap(),
        received_at: ARRIVAL,
        endpoint,
        path: capture["path"].as_str().unwrap().to_owned(),
        client_ip: Some(IpAddr::from([203, 0, 113, 5])),
        content_type: None,
        user_agent: None,
        retry_count: None,
        basic_auth: BasicAuth::Absent,
        key_print: [0; 8],
        encoding: if is_gzip { Encoding::Gzip } else { Encoding::Identity },
        events: u32::try_from(events).unwrap(),
        plan: Plan { revision: Revision(1), events: PerDestination { segment: Selection::All, rudderstack: Selection::All } },
        origin: Origin::Client,
        outline: None,
        body: Bytes::from(body),
    };
    Some(Request { name: path.file_name().unwrap().to_string_lossy().into_owned(), envelope, inflated })
}

fn endpoint(path: &str) -> Option<Endpoint> {
    let call = path.strip_prefix("/v1/")?.trim_end_matches('/');
    let by_letter = EventKind::ALL.into_iter().find(|kind| call.len() == 1 && kind.label().starts_with(call));
    match call {
        "batch" => Some(Endpoint::Batch),
        "import" => Some(Endpoint::Import),
        "b" => Some(Endpoint::ClientBatch),
        call => EventKind::parse(call).map(Endpoint::Single).or(by_letter.map(Endpoint::ClientSingle)),
    }
}

#[test]
fn every_captured_event_has_a_rudderstack_copy() {
    let mut copies = 0;
    for Request { name, envelope, inflated } in requests() {
        let reading = Reading::of(envelope.endpoint, &inflated).unwrap();
        for (index, item) in reading.items.iter().enumerate() {
            let facts = Facts::of(&envelope, index, reading.frame);
            let done = translate(*item, &facts, &Settings::default()).unwrap_or_else(|refusal| panic!("{name}[{index}]: {refusal}"));
            let copy = parse(&done.json).unwrap_or_else(|e| panic!("{name}[{index}]: {e}"));
            check_copy(&format!("{name}[{index}] {}", done.rules), *item, copy, &facts);
            copies += 1;
        }
    }
    assert!(copies > 250, "the corpus has {copies} events");
}

fn check_copy(name: &str, item: Raw<'_>, copy: Raw<'_>, facts: &Facts<'_>) {
    let text = |field: &str| copy.get(field).and_then(Raw::string).unwrap_or_else(|| panic!("{name}: {field} is text"));
    assert!(EventKind::parse(&text("type")).is_some(), "{name}");
    assert!(["web", "mobile", "server"].contains(&text("channel").as_ref()), "{name}");
    let id = Head::of(item, facts.endpoint).message_id(facts.envelope, facts.index).into_owned();
    assert_eq!(text("messageId"), id, "{name}");
    for stripped in ["writeKey", "_metadata", "request_ip", "receivedAt"] {
        assert!(copy.get(stripped).is_none(), "{name}: {stripped}");
    }
    for untouched in ["event", "properties", "traits", "name", "category", "groupId"] {
        assert_eq!(copy.get(untouched).map(Raw::text), item.get(untouched).map(Raw::text), "{name}: {untouched}");
    }
    for nullable in ["userId", "anonymousId"] {
        assert!(!copy.get(nullable).is_some_and(Raw::is_null), "{name}: {nullable}");
    }
    let integrations = copy.get("integrations").unwrap_or_else(|| panic!("{name}: integrations"));
    assert!(integrations.get("Segment.io").is_none(), "{name}");
    let time = |field: &str| WallTime::parse(&text(field)).unwrap_or_else(|| panic!("{name}: {field} is a time"));
    let want = facts.received_at.plus_millis(time("originalTimestamp").millis_since(time("sentAt")));
    assert_eq!(time("timestamp"), want, "{name}");
    let has_ip = copy.get("context").and_then(|context| context.get("ip")).is_some();
    assert!(has_ip || !facts.endpoint.is_client_side(), "{name}: an ip");
}

#[test]
fn a_captured_body_in_time_goes_to_segment_as_it_came_but_for_what_it_lacks() {
    let (mut untouched, mut named, mut located) = (0, 0, 0);
    for Request { name, envelope, inflated } in requests() {
        let copy = segment_copy(&envelope, &inflated, ARRIVAL).unwrap();
        assert_eq!(copy.edits.is_none(), copy.body == envelope.body, "{name}");
        assert!(parse(&copy.body).is_ok() || copy.encoding == Encoding::Gzip, "{name}");
        untouched += u32::from(copy.edits.is_none());
        named += copy.edits.message_id;
        located += copy.edits.client_ip;
        assert!(copy.edits.client_ip == 0 || envelope.endpoint.is_client_side(), "{name}");
        assert_eq!((copy.edits.late_sent_at, copy.edits.cut), (0, 0), "{name}");
    }
    assert!(untouched > 20 && named > 0 && located > 20, "{untouched} untouched, {named} named, {located} located");
}

#[test]
fn a_captured_body_a_day_late_is_dated_as_if_it_had_come_in_time() {
    for Request { name, envelope, inflated } in requests() {
        let copy = segment_copy(&envelope, &inflated, ARRIVAL.plus_millis(DAY_MS)).unwrap();
        assert_eq!((copy.edits.late_sent_at, copy.encoding), (envelope.events, Encoding::Identity), "{name}");
        let (before, after) = (Reading::of(envelope.endpoint, &inflated).unwrap(), Reading::of(envelope.endpoint, &copy.body).unwrap());
        for (index, (item, late)) in before.items.iter().zip(&after.items).enumerate() {
            let in_time = dated(*item, before.frame.sent_at, ARRIVAL);
            let late = dated(*late, after.frame.sent_at, ARRIVAL.plus_millis(DAY_MS));
            assert!(late.millis_since(in_time).abs() <= 50, "{name}[{index}]: {late} for {in_time}");
        }
    }
}

/// Segment's formula (protocol.md 1.10).
fn dated(item: Raw<'_>, batch_sent_at: Option<Raw<'_>>, received_at: WallTime) -> WallTime {
    let read = |raw: Raw<'_>| WallTime::parse(&raw.string()?);
    let Some(original) = item.get("timestamp").and_then(read) else { return received_at };
    let sent_at = item.get("sentAt").or(batch_sent_at).and_then(read).unwrap_or(received_at);
    received_at.plus_millis(original.millis_since(sent_at))
}
