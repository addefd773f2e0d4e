//! The fuzz targets that need nothing but segue's public face. Each takes any bytes and holds the answer to a second opinion, not only to
//! the absence of panics. libFuzzer runs them by `any.rs`; `cargo test` replays the kept corpus and random changes of it by
//! `tests/fuzz_replay.rs`. Those that look inside the journal stand beside it, in `src/journal/trial.rs`.

use std::{collections::BTreeMap, io::Read, io::Write, net::IpAddr, path::PathBuf, sync::OnceLock};

use bytes::Bytes;
use http::{HeaderValue, Method};
use segue::{
    config::{self, Environment},
    dialect::{self, Facts, translate as translate_event},
    forecast,
    model::{
        BasicAuth, Encoding, Endpoint, Envelope, EnvelopeId, EventKind, Head, Naming, Origin, Outline, PerDestination, Plan, Reading,
        Revision, Selection, SourceId, WallTime, json,
    },
    policy::RetryAfter,
    protocol::{self, InflateError, InflateLimits, Target},
};
use serde_json::{Value, value::RawValue};

/// A target's name and its body.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Every target of this file.
pub const ALL: &[FuzzTarget] = &[
    ("classify", classify),
    ("retry_after", retry_after),
    ("inflate", inflate),
    ("reading", reading),
    ("claims", claims),
    ("envelope", envelope),
    ("translate", translate),
    ("config", config),
];

/// The first byte chooses among so many.
fn choose(data: &[u8], of: usize) -> (usize, &[u8]) {
    data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first) % of, rest))
}

fn endpoint(index: usize) -> Endpoint {
    let kind = EventKind::ALL[index % EventKind::ALL.len()];
    match index % 6 {
        0 => Endpoint::Batch,
        1 => Endpoint::Import,
        2 => Endpoint::ClientBatch,
        3 => Endpoint::Single(kind),
        4 => Endpoint::ClientSingle(kind),
        _ => Endpoint::Pixel(kind),
    }
}

/// No spelling but the plain one is an event's path, and a slash at its end changes nothing.
fn classify(data: &[u8]) {
    let (method, path) = choose(data, 5);
    let method = [Method::POST, Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT][method].clone();
    let path = String::from_utf8_lossy(path);
    let target = protocol::classify(&method, &path);
    if let Target::Events(_) = target {
        assert!(path.starts_with("/v1/") && !path.contains("//"), "{path}");
        assert!(path.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/'), "{path}");
        let other = path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned);
        assert_eq!(protocol::classify(&method, &other), target, "{path}");
        for odd in [format!("{path}//"), format!("/{path}"), path.to_uppercase(), format!("{path}%2f"), path.replacen("v1", "v1/.", 1)] {
            assert!(!matches!(protocol::classify(&method, &odd), Target::Events(_)), "{odd}");
        }
    }
}

/// Seconds are what any reader takes them for; whatever is said, the wait stays within its limits.
fn retry_after(data: &[u8]) {
    let (hours, text) = choose(data, 256);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let now = WallTime::from_millis(1_795_557_000_000 + i64::try_from(hours).expect("a byte") * 3_600_000);
    let read = RetryAfter::parse(text, now);
    if let Some(read) = read {
        assert!((RetryAfter::MIN..=RetryAfter::MAX).contains(&read.wait()), "{text:?}: {read:?}");
    }
    let trimmed = text.trim();
    let digits = !trimmed.is_empty() && trimmed.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        let seconds = trimmed.parse::<u64>().unwrap_or(u64::MAX).clamp(1, 900);
        assert_eq!(read.map(|read| read.wait().as_secs()), Some(seconds), "{text:?}");
    }
    if !text.contains(|char: char| char.is_ascii_digit()) {
        assert_eq!(read, None, "{text:?}");
    }
}

/// What inflates is what another reader of gzip gives; no limit is passed; a stream that is cut is an error.
fn inflate(data: &[u8]) {
    let (form, data) = choose(data, 4);
    if form == 0 {
        let (cut, plain) = choose(data, 256);
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(plain).expect("memory takes everything");
        let whole = encoder.finish().expect("memory takes everything");
        let limits = InflateLimits { bytes_max: 1 << 20, ratio_max: 2_000 };
        assert_eq!(protocol::inflate(&whole, limits).expect("it is whole"), plain);
        let cut = 1 + cut % (whole.len() - 1);
        assert!(protocol::inflate(&whole[..cut], limits).is_err(), "cut at {cut} of {}", whole.len());
        return;
    }
    let limits = InflateLimits { bytes_max: 100 << 10, ratio_max: 10 };
    let allowed = limits.bytes_max.min((data.len() * limits.ratio_max).max(64 << 10));
    let mut theirs = Vec::new();
    let read = flate2::read::MultiGzDecoder::new(data).take(1 << 20).read_to_end(&mut theirs);
    match protocol::inflate(data, limits) {
        Ok(ours) => {
            assert!(ours.len() <= allowed);
            assert!(read.is_ok() && ours == theirs, "{} bytes and {} of another reader", ours.len(), theirs.len());
        }
        Err(InflateError::TooLarge(_)) => assert!(theirs.len() > allowed, "{} bytes are allowed, {} there", allowed, theirs.len()),
        Err(InflateError::Broken(_)) => assert!(read.is_err() || data.is_empty(), "another reader takes it"),
    }
}

/// JSON is what `serde_json` takes for JSON; events and their heads are those that it finds; an outline leads back to them.
fn reading(data: &[u8]) {
    let (form, body) = choose(data, 36);
    let endpoint = endpoint(form);
    let plain = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let theirs = serde_json::from_slice::<&RawValue>(plain);
    assert_eq!(json::parse(body).is_ok(), theirs.is_ok(), "{:?}", String::from_utf8_lossy(body));
    let Ok(reading) = Reading::of(endpoint, body) else { return };
    let outline = Outline::of(body, &reading, (0..).take(reading.items.len()), Naming::Some).expect("it fits 32 bits");
    let (items, frame) = outline.cut(body).expect("it is of this body");
    assert_eq!(items, reading.items);
    assert_eq!(frame.write_key.map(json::Raw::text), reading.frame.write_key.map(json::Raw::text));
    let heads: Vec<Head<'_>> = reading.items.iter().map(|item| Head::of(*item, endpoint)).collect();
    for (index, head) in heads.iter().enumerate() {
        let members = || reading.members(index).iter().copied();
        assert_eq!(Head::of_members(members(), endpoint).user_id, head.user_id);
        assert_eq!(forecast::discard_of(reading.items[index], members(), endpoint), forecast::discard(reading.items[index], endpoint));
    }
    // Values have a depth that serde_json goes no further than, and texts that it does not take.
    let Ok(value) = serde_json::from_slice::<Value>(plain) else { return };
    let events: Vec<&Value> =
        if endpoint.kind().is_some() { vec![&value] } else { value["batch"].as_array().expect("there is a batch").iter().collect() };
    assert_eq!(events.len(), heads.len());
    for (event, head) in events.iter().zip(&heads) {
        for (name, ours) in [("messageId", &head.message_id), ("userId", &head.user_id), ("anonymousId", &head.anonymous_id)] {
            let Some(text) = event.get(name).and_then(Value::as_str) else { continue };
            let theirs = Some(text).filter(|text| !text.trim().is_empty());
            assert_eq!(ours.as_deref(), theirs, "{name} of {event}");
        }
    }
}

/// Keys come in their order, once each, and none is overlooked that a plainer reader finds.
fn claims(data: &[u8]) {
    let (form, rest) = choose(data, 36);
    let endpoint = endpoint(form);
    let mut parts = rest.splitn(3, |byte| *byte == 0);
    let (body, header, query) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
    let header = header.and_then(|bytes| HeaderValue::from_bytes(bytes).ok());
    let query = query.and_then(|bytes| std::str::from_utf8(bytes).ok());
    let reading = Reading::of(endpoint, body).ok();
    let heads: Vec<Head<'_>> = reading.iter().flat_map(|reading| &reading.items).map(|item| Head::of(*item, endpoint)).collect();
    let claims = protocol::claims(reading.as_ref(), &heads, header.as_ref(), query);
    let keys: Vec<&str> = claims.keys().collect();
    for (index, key) in keys.iter().enumerate() {
        assert!(!key.is_empty() && !keys[..index].contains(key), "{keys:?}");
    }
    if let (Some(_), Ok(value)) = (&reading, serde_json::from_slice::<Value>(body))
        && let Some(key) = value.get("writeKey").and_then(Value::as_str).filter(|key| !key.is_empty())
    {
        assert_eq!(keys.first(), Some(&key), "the body's key counts most");
    }
    if let Some((user, _)) = protocol::basic_credentials(header.as_ref()).filter(|(user, _)| !user.is_empty()) {
        assert!(keys.contains(&user.as_str()), "{keys:?} lack {user}");
    }
    let plain = query.and_then(|query| query.strip_prefix("writeKey=")).map(|rest| rest.split('&').next().unwrap_or_default());
    if let Some(key) = plain.filter(|key| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        assert!(keys.contains(&key), "{keys:?} lack {key}");
    }
}

/// An envelope that can be read says the same when it is written and read again, and nothing when it is cut before its body.
fn envelope(data: &[u8]) {
    let (cut, bytes) = choose(data, 256);
    let Ok(envelope) = Envelope::decode(&Bytes::copy_from_slice(bytes)) else { return };
    let written = envelope.encode();
    let again = Envelope::decode(&written).expect("what was written can be read");
    assert_eq!(again, envelope);
    assert_eq!(again.encode(), written);
    let head = written.len() - envelope.body.len();
    assert!(Envelope::decode(&written.slice(..cut % head)).is_err(), "cut at {} of {head}", cut % head);
    if let Some(outline) = &envelope.outline {
        // A damaged one may lead anywhere, but never out of the body.
        let _ = outline.cut(&envelope.body);
    }
}

/// Every copy is JSON: RudderStack's has what its gateway asks for, Segment's the same events. Made twice, they are the same.
fn translate(data: &[u8]) {
    let (form, rest) = choose(data, 36);
    let (late, body) = choose(rest, 256);
    let endpoint = endpoint(form);
    let Ok(reading) = Reading::of(endpoint, body) else { return };
    if reading.items.is_empty() || reading.items.len() > 200 {
        return;
    }
    let envelope = enclosing(endpoint, body, reading.items.len());
    let settings = dialect::Settings { idless: dialect::Idless::Adopt, ..dialect::Settings::default() };
    for (index, item) in reading.items.iter().enumerate() {
        let facts = Facts::of(&envelope, index, reading.frame);
        let made = translate_event(*item, &facts, &settings);
        assert_eq!(made, translate_event(*item, &facts, &settings));
        let Ok(made) = made else { continue };
        serde_json::from_slice::<&RawValue>(&made.json).expect("a copy is JSON");
        let Ok(copy) = serde_json::from_slice::<Value>(&made.json) else { continue };
        assert!(copy["messageId"].as_str().is_some_and(|id| !id.trim().is_empty()), "{copy}");
        // A batch's item without a type is let through: the gateway takes it.
        assert!((copy["type"].is_string() || endpoint.kind().is_none()) && copy.get("writeKey").is_none(), "{copy}");
        let ids = [&copy["userId"], &copy["anonymousId"]];
        assert!(ids.iter().any(|id| id.as_str().is_some_and(|id| !id.is_empty()) || id.is_number()), "{copy}");
    }
    let now = WallTime::from_millis(envelope.received_at.as_millis() + i64::try_from(late).expect("a byte") * 60_000);
    let copy = protocol::segment_copy(&envelope, body, now).expect("the body was read before");
    let copied = Reading::of(endpoint, &copy.body).expect("Segment's copy can be read");
    assert_eq!(copied.items.len(), reading.items.len());
    assert_eq!(protocol::segment_copy(&envelope, body, now).expect("as before").body, copy.body);
}

fn enclosing(endpoint: Endpoint, body: &[u8], events: usize) -> Envelope {
    Envelope {
        id: EnvelopeId(7),
        source: SourceId::parse("web").expect("an id"),
        received_at: WallTime::from_millis(1_795_557_000_000),
        endpoint,
        path: "/v1/batch".to_owned(),
        client_ip: Some(IpAddr::from([203, 0, 113, 5])),
        content_type: None,
        user_agent: None,
        retry_count: None,
        basic_auth: BasicAuth::Absent,
        key_print: [0; 8],
        encoding: Encoding::Identity,
        events: u32::try_from(events).expect("at most 200"),
        plan: Plan { revision: Revision(1), events: PerDestination { segment: Selection::All, rudderstack: Selection::All } },
        origin: Origin::Client,
        outline: None,
        body: Bytes::copy_from_slice(body),
    }
}

/// A key that stands somewhere in the seeds, where it belongs and where it does not.
const CANARY: &str = "wk_test_Canary9f2cA77b";

/// Any text is a configuration or a list of problems; neither repeats a key; what loads loads again to the same.
fn config(data: &[u8]) {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Devices would answer for ever, or not at all.
    if ["/dev", "/proc", "/sys"].iter().any(|place| text.contains(place)) {
        return;
    }
    let file = FILE.get_or_init(|| std::env::temp_dir().join(format!("segue-fuzz-{}.toml", std::process::id())));
    std::fs::write(file, text).expect("the temporary directory takes files");
    let environment: Environment = [("SEGMENT_WRITE_KEY", CANARY), ("RUDDER_WRITE_KEY", "wk_test_rudder_77a1")].into_iter().collect();
    let read = || config::load(Some(file), &environment, &[]);
    let shown = match read() {
        Ok(loaded) => {
            let again = read().expect("it loaded a moment ago");
            assert_eq!(again.settings, loaded.settings);
            let mut keys = loaded.config.sources.iter().flat_map(|source| source.segment_keys.iter().chain(&source.rudderstack_key));
            let values: BTreeMap<&str, &str> = loaded.settings.iter().map(|s| (s.key.as_str(), s.value.as_str())).collect();
            // Of a name nobody can tell that it is a key.
            let told = |key: &str| values.iter().any(|(name, value)| name.ends_with("write_key") && value.contains(key));
            assert!(keys.all(|key| !told(key.expose())), "{values:?}");
            loaded.warnings.to_string()
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            format!("{problems}{}", serde_json::to_string(problems.list()).expect("problems are JSON"))
        }
    };
    assert!(!shown.contains(CANARY), "{shown}");
}
