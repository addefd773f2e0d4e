//! Bodies, keys and paths that are traps: what Segment would take passes byte for byte, what cannot be read is Segment's to judge,
//! and nothing makes segue say a word that costs an SDK its data (protocol.md 1.7).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;
mod sums;

use std::{collections::BTreeSet, io::Write, time::Duration};

use base64::Engine;
use bytes::Bytes;
use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use http::Method;
use socket2::SockRef;
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, ids, source};
use sums::Sums;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

fn track(id: &str) -> String {
    format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","writeKey":"{SEGMENT_KEY}"}}"#)
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn planned(stage: &Stage) -> u64 {
    stage.sidecar().ledger().iter().map(|(_, ledger)| ledger.planned).sum()
}

fn basic(text: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

/// An answer that no SDK loses data, loops or dies on.
fn assert_bearable(name: &str, answer: &segue::upstream::Answer) {
    let status = answer.status.as_u16();
    // 200 and 400 are Segment's own; 404 and 405 are its words on a path that it does not know.
    assert!([200, 400, 404, 405, 429].contains(&status), "{name}: {status}");
    assert_eq!(status == 429, answer.headers.contains_key("retry-after"), "{name}");
    assert!(serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok_and(|body| body.is_object()), "{name}: {:?}", answer.body);
}

/// Whether a body is kept, or left to Segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Kept,
    Left,
}
use End::{Kept, Left};

#[tokio::test(flavor = "multi_thread")]
async fn encodings_and_bombs() {
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let deflated = |plain: &[u8]| {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let zlib = |plain: &[u8]| {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let event = |n: u32| track(&format!("e-{n}")).into_bytes();
    let blanks = |count: usize| [&br#"{"writeKey":"wk_test_bomb""#[..], &vec![b' '; count], b"}"].concat();
    let cut = gzip(&event(4));
    let halves = event(5);
    let (first, second) = halves.split_at(30);
    let table: Vec<(&str, &[&str], Vec<u8>, End)> = vec![
        ("gzip", &["gzip"], gzip(&event(1)), Kept),
        ("gzip in capitals", &["GZIP"], gzip(&event(2)), Kept),
        ("identity", &["identity"], event(3), Kept),
        ("two members", &["gzip"], [gzip(first), gzip(second)].concat(), Kept),
        ("plain text called gzip", &["gzip"], event(6), Left),
        ("gzip called nothing", &[], gzip(&event(7)), Left),
        ("cut short", &["gzip"], cut[..cut.len() - 9].to_vec(), Left),
        ("something behind it", &["gzip"], [gzip(&event(8)), b"junk".to_vec()].concat(), Left),
        ("gzip in gzip", &["gzip"], gzip(&gzip(&event(9))), Left),
        ("gzip in gzip, and said so", &["gzip, gzip"], gzip(&gzip(&event(10))), Left),
        ("two headers", &["gzip", "gzip"], gzip(&gzip(&event(11))), Left),
        ("deflate", &["deflate"], deflated(&event(12)), Left),
        ("zlib", &["deflate"], zlib(&event(13)), Left),
        ("br", &["br"], event(14), Left),
        ("zstd", &["zstd"], event(15), Left),
        ("a thousand to one, 4 MB", &["gzip"], gzip(&blanks(4_000_000)), Left),
        ("a thousand to one, 400 MB", &["gzip"], gzip(&blanks(400_000_000)), Left),
        ("a bomb in a bomb", &["gzip"], gzip(&gzip(&blanks(100_000_000))), Left),
        ("nothing in gzip", &["gzip"], gzip(b""), Left),
    ];
    let mut kept = BTreeSet::new();
    for (name, encodings, body, end) in table {
        let before = planned(&stage);
        let headers: Vec<(&str, &str)> = encodings.iter().map(|encoding| ("content-encoding", *encoding)).collect();
        let answer = send_repeated(&stage, &headers, &body).await;
        assert_bearable(name, &answer);
        let taken = (planned(&stage) - before) / 2;
        assert_eq!(taken, u64::from(end == Kept), "{name}: {answer:?}");
        assert_eq!(stage.post("/v1/track", &track(&format!("after {name}"))).await.status, 200);
        kept.insert(format!("after {name}"));
    }
    stage.drained().await;
    kept.extend(["e-1", "e-2", "e-3", "e-5"].map(str::to_owned));
    assert_eq!(ids(&stage.rudder_events()), kept);
    sums.held().await;
}

/// The stage's own client joins headers of one name.
async fn send_repeated(stage: &Stage, headers: &[(&str, &str)], body: &[u8]) -> segue::upstream::Answer {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<http::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let call = segue::upstream::Call { method: Method::POST, path: "/v1/track".into(), headers: map, body: Bytes::copy_from_slice(body) };
    stage.client.send(call).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_without_end() {
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let address = stage.sidecar().plain_address().unwrap();
    // Ten gigabytes are announced and some of them sent: the answer says why, and the connection ends.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"POST /v1/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n").await.unwrap();
    stream.write_all(&vec![b' '; 1 << 20]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(15), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("Exceed payload limit"), "{answer}");
    // Chunks for ever: they are not taken for ever.
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    let writing = tokio::spawn(async move {
        let mut sent = 0_usize;
        let _ = writer.write_all(b"POST /v1/batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let chunk = [b"10000\r\n", &vec![b' '; 65_536][..], b"\r\n"].concat();
        while sent < 200 << 20 && writer.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        sent
    });
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(30), reader.read_to_end(&mut answer)).await.expect("it ends");
    let sent = writing.await.unwrap();
    assert!(sent < 60 << 20, "{sent} bytes were taken");
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    // As many events as Segment takes, as many as are kept for RudderStack, one more, and far more.
    for (events, end) in [(2_500, Kept), (10_000, Kept), (10_001, Left), (100_000, Left)] {
        let before = planned(&stage);
        let items: Vec<String> =
            (0..events).map(|n| format!(r#"{{"type":"track","userId":"u","event":"E","messageId":"{events}-{n}"}}"#)).collect();
        let items = if events > 50_000 { vec!["{}".to_owned(); events] } else { items };
        let body = format!(r#"{{"writeKey":"{SEGMENT_KEY}","batch":[{}]}}"#, items.join(","));
        let answer = stage.post("/v1/batch", &body).await;
        assert_bearable("many events", &answer);
        // Above what Segment takes in one body, its copy is asked for live.
        let legs = if body.len() > 512 << 10 { 1 } else { 2 };
        let wanted = if end == Kept { legs * events as u64 } else { 0 };
        assert_eq!(planned(&stage) - before, wanted, "{events} events");
    }
    stage.drained().await;
    assert_eq!(stage.rudder_events().len(), 12_500);
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_monstrous_shape() {
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let with = |id: &str, properties: &str| {
        format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","writeKey":"{SEGMENT_KEY}","properties":{properties}}}"#)
    };
    let deep = 100_000;
    let keys = r#""":0,"#.repeat(700_000);
    let table = [
        ("deep arrays", with("deep-1", &format!("{}{}", "[".repeat(deep), "]".repeat(deep)))),
        ("deep objects", with("deep-2", &format!("{}0{}", r#"{"a":"#.repeat(deep), "}".repeat(deep)))),
        ("deep and never closed", with("deep-3", &"[".repeat(deep))),
        ("700,000 keys", with("keys", &format!(r#"{{{keys}"a":1}}"#))),
        ("700,000 keys at the top", format!(r"{{{keys}{}", &with("top", "{}")[1..])),
        ("a number of a million digits", with("digits", &format!(r#"{{"n":{}}}"#, "7".repeat(1_000_000)))),
        ("a million of exponent", with("exponent", r#"{"n":1e1000000}"#)),
        ("a string of 3 MB", with("string", &format!(r#"{{"s":"{}"}}"#, "x".repeat(3 << 20)))),
        ("a key of 300 KB", with("key", &format!(r#"{{"{}":1}}"#, "k".repeat(300 << 10)))),
        ("escapes only", with("escapes", &format!(r#"{{"s":"{}"}}"#, r"\u0041".repeat(50_000)))),
    ];
    for (name, body) in table {
        let answer = stage.post("/v1/track", &body).await;
        assert_bearable(name, &answer);
        assert_eq!(stage.post("/v1/track", &track(&format!("after {name}"))).await.status, 200, "{name}");
    }
    stage.drained().await;
    let seen = ids(&stage.rudder_events());
    println!("of the monstrous ones RudderStack took {:?}", seen.iter().filter(|id| !id.starts_with("after")).collect::<Vec<_>>());
    assert_eq!(seen.iter().filter(|id| id.starts_with("after")).count(), 10, "healthy ones arrive");
    for id in ["digits", "string", "key", "escapes", "keys"] {
        assert!(seen.contains(id), "{id} is legal and goes to RudderStack");
    }
    let digits = stage.rudder_events().into_iter().find(|event| &*event.message_id == "digits").unwrap();
    assert!(digits.json.unwrap().contains(&"7".repeat(1_000_000)), "numbers keep their digits");
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_traps_pass_as_they_are_or_are_left_to_segment() {
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let member = |n: u32, text: &str| {
        format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"t-{n}","writeKey":"{SEGMENT_KEY}",{text}}}"#).into_bytes()
    };
    let whole = |text: &str| text.replace("KEY", SEGMENT_KEY).into_bytes();
    let utf16: Vec<u8> = track("utf16").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let table: Vec<(&str, &str, Vec<u8>, End)> = vec![
        ("duplicate keys", "/v1/track", member(1, r#""event":"F","properties":{"a":1,"a":2}"#), Kept),
        ("1e999", "/v1/track", member(2, r#""properties":{"a":1e999,"b":-0,"c":1E+21}"#), Kept),
        ("a lone surrogate", "/v1/track", member(3, r#""properties":{"a":"\ud800","b":"\udc00\ud800"}"#), Kept),
        ("an escaped NUL", "/v1/track", member(4, r#""properties":{"a\u0000b":"\u0000"}"#), Kept),
        ("blanks around it", "/v1/track", [b" \r\n\t".to_vec(), member(5, r#""x":1"#), b"\n ".to_vec()].concat(), Kept),
        ("wrong types", "/v1/track", member(6, r#""event":5,"properties":[],"context":"x","integrations":7,"timestamp":{}"#), Kept),
        ("an id of a number", "/v1/track", whole(r#"{"event":"E","userId":9007199254740993,"messageId":"t-7","writeKey":"KEY"}"#), Kept),
        (
            "a userId of an object",
            "/v1/track",
            whole(r#"{"event":"E","userId":{},"anonymousId":"a","messageId":"t-8","writeKey":"KEY"}"#),
            Kept,
        ),
        ("U+2028 and emoji", "/v1/track", member(9, "\"properties\":{\"a\":\"\u{2028}\u{1f600}\"}"), Kept),
        (
            "a messageId of 101",
            "/v1/track",
            whole(&format!(r#"{{"event":"E","userId":"u","messageId":"{}","writeKey":"KEY"}}"#, "m".repeat(101))),
            Kept,
        ),
        (
            "a messageId of 5,000",
            "/v1/track",
            whole(&format!(r#"{{"event":"E","userId":"u","messageId":"{}","writeKey":"KEY"}}"#, "n".repeat(5_000))),
            Kept,
        ),
        (
            "scalars in a batch",
            "/v1/batch",
            whole(r#"{"writeKey":"KEY","batch":[{"type":"track","event":"E","userId":"u","messageId":"t-10"},3,"x",null,[]]}"#),
            Kept,
        ),
        ("an escaped key name", "/v1/track", whole(r#"{"event":"E","userId":"u","messageId":"t-11","write\u004bey":"KEY"}"#), Kept),
        ("NaN", "/v1/track", member(20, r#""properties":{"a":NaN}"#), Left),
        ("Infinity", "/v1/track", member(21, r#""properties":{"a":-Infinity}"#), Left),
        ("a number that begins with a zero", "/v1/track", member(22, r#""a":01"#), Left),
        ("a raw NUL", "/v1/track", member(23, "\"a\":\"\0\""), Left),
        ("a raw line feed", "/v1/track", member(24, "\"a\":\"\n\""), Left),
        ("no UTF-8", "/v1/track", [member(25, r#""a":""#)[..].strip_suffix(b"}").unwrap(), b"\xff\xfe\"}"].concat(), Left),
        ("a byte order mark", "/v1/track", [&b"\xef\xbb\xbf"[..], track("bom").as_bytes()].concat(), Kept),
        ("UTF-16", "/v1/track", utf16, Left),
        ("two documents", "/v1/track", track("two").repeat(2).into_bytes(), Left),
        ("a comma too many", "/v1/track", member(26, r#""a":1,"#), Left),
        ("a comment", "/v1/track", member(27, r#""a":1/* x */"#), Left),
        ("single quotes", "/v1/track", track("quotes").replace('"', "'").into_bytes(), Left),
        ("an array", "/v1/track", format!("[{}]", track("array")).into_bytes(), Left),
        ("a string", "/v1/track", b"\"text\"".to_vec(), Left),
        ("null", "/v1/track", b"null".to_vec(), Left),
        ("nothing", "/v1/track", Vec::new(), Left),
        ("a batch that is an object", "/v1/batch", whole(r#"{"writeKey":"KEY","batch":{}}"#), Left),
        ("a batch that is null", "/v1/batch", whole(r#"{"writeKey":"KEY","batch":null}"#), Left),
        ("a batch that is not there", "/v1/batch", track("no-batch").into_bytes(), Left),
        ("a batch without events", "/v1/batch", whole(r#"{"writeKey":"KEY","batch":[]}"#), Left),
        ("a key that is a number", "/v1/track", track("key").replace(&format!("\"{SEGMENT_KEY}\""), "7").into_bytes(), Left),
    ];
    let (mut kept, mut left) = (Vec::new(), 0);
    for (name, path, body, end) in &table {
        let before = planned(&stage);
        let answer = stage.send(Method::POST, path, &[("content-type", "text/plain")], Bytes::copy_from_slice(body)).await;
        assert_bearable(name, &answer);
        assert_eq!(planned(&stage) > before, *end == Kept, "{name}: {:?}", answer.body);
        match end {
            Kept => kept.push((name, path, body)),
            Left => left += 1,
        }
    }
    // Ids that are none get one of ours, the same in both copies.
    for text in ["", r#""messageId":"","#, r#""messageId":"  ","#, r#""messageId":null,"#, r#""messageId":[1],"#] {
        let body = format!(r#"{{{text}"event":"Id","userId":"u","writeKey":"{SEGMENT_KEY}"}}"#);
        assert_eq!(stage.post("/v1/track", &body).await.status, 200, "{text}");
    }
    stage.drained().await;
    let segment = stage.segment.taken();
    for (name, path, body) in kept {
        let arrived = segment.requests.iter().any(|request| request.path == **path && request.body_bytes == body.len());
        assert!(arrived, "{name}: Segment got a body of another length");
        if *path == "/v1/track" {
            let text = std::str::from_utf8(body).unwrap().trim_start_matches('\u{feff}').trim();
            assert!(segment.events.iter().any(|event| event.json.as_deref() == Some(text)), "{name}: Segment got other bytes");
        }
    }
    let named = |events: &[segue::standin::TakenEvent]| -> BTreeSet<String> {
        events.iter().filter(|event| event.name.as_deref() == Some("Id")).map(|event| event.message_id.to_string()).collect()
    };
    let assigned = named(&stage.segment.taken().events);
    assert_eq!((assigned.len(), &assigned), (5, &named(&stage.rudder.taken().events)));
    assert!(assigned.iter().all(|id| id.starts_with("segue-")), "{assigned:?}");
    println!("{} traps, {left} of them left to Segment", table.len());
    sums.held().await;
}

const OTHER_KEY: &str = "wk_test_other_cccccccccccccccc";
const OTHER_RUDDER: &str = "wk_test_other_rudder_dddddddddd";
const NOBODY: &str = "wk_test_nobody_eeeeeeeeeeeeeee";

/// Where the key stands: in the body, in its event, in Basic, in the query; and whose the event is then.
type Case = ([Option<&'static str>; 4], Option<&'static str>);

#[tokio::test(flavor = "multi_thread")]
async fn keys_in_all_places_lead_to_one_source_and_never_to_another() {
    let stage = Stage::with(|config| {
        config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, "both"), source("other", OTHER_KEY, OTHER_RUDDER, "both")];
    })
    .await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let (web, other) = (Some(RUDDER_KEY), Some(OTHER_RUDDER));
    let table: [Case; 15] = [
        ([Some(SEGMENT_KEY), None, None, None], web),
        ([None, Some(SEGMENT_KEY), None, None], web),
        ([None, None, Some(SEGMENT_KEY), None], web),
        ([None, None, None, Some(SEGMENT_KEY)], web),
        ([Some(OTHER_KEY), Some(SEGMENT_KEY), None, None], other),
        ([Some(OTHER_KEY), None, Some(SEGMENT_KEY), None], other),
        ([Some(SEGMENT_KEY), None, Some(OTHER_KEY), None], web),
        ([None, Some(OTHER_KEY), Some(SEGMENT_KEY), Some(SEGMENT_KEY)], other),
        ([None, None, Some(OTHER_KEY), Some(SEGMENT_KEY)], other),
        ([Some(NOBODY), None, Some(SEGMENT_KEY), None], web),
        ([Some(NOBODY), Some(NOBODY), Some(NOBODY), Some(OTHER_KEY)], other),
        ([Some(NOBODY), None, None, None], None),
        ([None, None, Some(NOBODY), None], None),
        ([Some(""), None, Some(""), None], None),
        ([None, None, None, None], None),
    ];
    let mut wanted = BTreeSet::new();
    for (n, ([body, item, user, query], whose)) in table.into_iter().enumerate() {
        let part = |key: Option<&str>| key.map_or_else(String::new, |key| format!(r#","writeKey":"{key}""#));
        let text = format!(r#"{{"batch":[{{"type":"track","event":"E","userId":"u","messageId":"k-{n}"{}}}]{}}}"#, part(item), part(body));
        // A user without a colon counts as well.
        let authorization = user.map(|key| basic(&if n % 2 == 0 { key.to_owned() } else { format!("{key}:") }));
        let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
        let path = query.map_or_else(|| "/v1/batch".to_owned(), |key| format!("/v1/batch?writeKey={key}"));
        let answer = stage.send(Method::POST, &path, &headers, Bytes::from(text)).await;
        assert_bearable(&format!("case {n}"), &answer);
        wanted.extend(whose.map(|key| (format!("k-{n}"), key.to_owned())));
    }
    stage.drained().await;
    let seen: BTreeSet<(String, String)> =
        stage.rudder_events().iter().map(|event| (event.message_id.to_string(), event.source.to_string())).collect();
    assert_eq!(seen, wanted, "each under the key of its own source");
    let page = stage.metrics().await;
    assert!(page.contains("segue_write_key_conflicts_total 5"), "{page}");
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_unknown_keys_take_no_room() {
    let keys: usize = std::env::var("SEGUE_UNKNOWN_KEYS").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    assert_eq!(stage.post("/v1/track", &track("first")).await.status, 200);
    assert_eq!(stage.post("/v1/track", r#"{"event":"E","userId":"u","writeKey":"wk_test_first_of_all"}"#).await.status, 200);
    stage.drained().await;
    let series = stage.metrics().await.lines().count();
    let tasks: Vec<_> = (0..16)
        .map(|worker| {
            let client = stage.client.clone();
            tokio::spawn(async move {
                for n in (worker..keys).step_by(16) {
                    let body = format!(r#"{{"event":"E","userId":"u","writeKey":"wk_test_unknown_{n:016}"}}"#);
                    let call = segue::upstream::Call {
                        method: Method::POST,
                        path: "/v1/track".into(),
                        headers: http::HeaderMap::new(),
                        body: Bytes::from(body),
                    };
                    assert_eq!(client.send(call).await.unwrap().status, 200);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let page = stage.metrics().await;
    assert_eq!(page.lines().count(), series, "no series of an unknown key:\n{page}");
    assert!(page.contains(&format!("segue_unknown_write_keys_total {}", keys + 1)), "{page}");
    assert!(!page.contains("wk_test_unknown"));
    println!("{keys} unknown keys");
    assert_eq!(stage.post("/v1/track", &track("last")).await.status, 200);
    stage.drained().await;
    assert_eq!(ids(&stage.rudder_events()), ["first", "last"].map(str::to_owned).into());
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_spelling_of_a_path_means_two_things() {
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let long = format!("/v1/track/{}", "x".repeat(8 << 10));
    let asked: Vec<&str> = vec![
        "/v1/track/../batch",
        "//v1/track",
        "/v1//track",
        "/v1/./track",
        "/v1/track/.",
        "/v1/track/..",
        "/v1/%74rack",
        "/v1/%2e%2e/batch",
        "/v1/track%2f",
        "/v1/track%00",
        "/v1/track;x=1",
        "/V1/track",
        "/v1/Track",
        "/v1/track//",
        "/v1/track/x",
        "/v1",
        "/",
        "/../../etc/passwd",
        "/v1/track%0d%0aX:%20y",
        "/v1/track%20",
        "/v1/tr\u{e4}ck",
        "/v1/track\u{2215}",
        "/v2/track",
        "/v1/import/x",
        "/@evil.example/v1/track",
        "/http://evil.example/",
        "/v1/track,",
        "/v1/track&x",
        "/v1/track=x",
        "/v1/pixel/../track",
        "/-/../v1/track",
        "/-/healthz/x",
        "/metrics",
        "/v1/pixel/track/x",
        "/admin",
        "/.env",
        "/v1/track|x",
        "/v1/track~",
        "/v1/track'",
        &long,
    ];
    let (mut passed, mut refused) = (0, Vec::new());
    for path in asked {
        let before = stage.segment.taken().requests.len();
        let body = track("path");
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        let mut stream = TcpStream::connect(stage.sidecar().plain_address().unwrap()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let requests = stage.segment.taken().requests;
        match &requests[before..] {
            [one] => {
                assert_eq!(one.path, path, "passed on as it came");
                assert!(answer.starts_with("HTTP/1.1 404"), "{path}: Segment's own word: {answer}");
                passed += 1;
            }
            [] => {
                assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
                refused.push(path.to_owned());
            }
            more => panic!("{path} became {more:?}"),
        }
    }
    println!("{passed} odd paths were Segment's to judge; refused as no URI: {refused:?}");
    assert!(passed > 30, "{refused:?}");
    assert_eq!(planned(&stage), 0, "none of them is a path of events");
    // A query is part of the path that Segment gets, and no part of what the path means.
    let path = "/v1/track?x=/../../&y=%2e%2e;z";
    assert_eq!(stage.post(path, &track("query")).await.status, 200);
    stage.drained().await;
    assert!(stage.segment.taken().requests.iter().any(|request| request.path == path));
    assert_eq!(ids(&stage.rudder_events()), ["query".to_owned()].into());
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segue_is_nobodys_forward_proxy() {
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    // Who would be reached if segue went where it is told.
    let victim = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = victim.local_addr().unwrap().port();
    let metrics = stage.sidecar().metrics_address().unwrap();
    let mut cases = vec![
        format!("GET http://{metrics}/metrics HTTP/1.1\r\nHost: {metrics}\r\n"),
        format!("GET /metrics HTTP/1.1\r\nHost: {metrics}\r\n"),
    ];
    for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "[::ffff:127.0.0.1]", "2130706433"] {
        for method in ["CONNECT", "GET", "POST", "PUT"] {
            let target = if method == "CONNECT" { format!("{host}:{port}") } else { format!("http://{host}:{port}/inner") };
            cases.push(format!("{method} {target} HTTP/1.1\r\nHost: {host}:{port}\r\n"));
        }
        cases.push(format!(
            "GET /inner HTTP/1.1\r\nHost: {host}:{port}\r\nX-Forwarded-Host: {host}:{port}\r\nForwarded: host={host}:{port}\r\n"
        ));
        cases.push(format!("GET https://{host}:{port}/inner HTTP/1.1\r\nHost: api.segment.io\r\n"));
        cases.push(format!("GET ftp://{host}:{port}/inner HTTP/1.1\r\nHost: api.segment.io\r\n"));
        cases.push(format!("GET //{host}:{port}/inner HTTP/1.1\r\nHost: api.segment.io\r\n"));
        cases.push(format!("CONNECT {host}:25 HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n"));
    }
    for case in &cases {
        let mut stream = TcpStream::connect(stage.sidecar().plain_address().unwrap()).await.unwrap();
        stream.write_all(format!("{case}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.starts_with("HTTP/1.1 200") && !answer.contains("segue_"), "{case}: {answer}");
        assert_eq!(case.starts_with("CONNECT"), answer.starts_with("HTTP/1.1 400"), "{case}: {answer}");
    }
    let reached = timeout(Duration::from_millis(200), victim.accept()).await;
    assert!(reached.is_err(), "segue went where a client sent it: {reached:?}");
    assert!(stage.rudder.taken().requests.is_empty());
    println!("{} ways to misuse it as a proxy", cases.len());
    assert_eq!(stage.post("/v1/track", &track("after")).await.status, 200);
    stage.drained().await;
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pipelined_requests_are_answered_in_order() {
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let (mut reader, mut writer) = TcpStream::connect(stage.sidecar().plain_address().unwrap()).await.unwrap().into_split();
    // Which of three a request is follows no pattern; its answer tells them apart.
    let kind = |n: u32| n.wrapping_mul(2_654_435_761) >> 30;
    let mut wire = Vec::new();
    for n in 0..1_000 {
        let body = track(&format!("n-{n}"));
        match kind(n) {
            0 => wire.extend(b"GET /v1/pixel/page HTTP/1.1\r\nHost: a\r\n\r\n"),
            1 => wire.extend(b"OPTIONS /v1/t HTTP/1.1\r\nHost: a\r\n\r\n"),
            _ => write!(wire, "POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap(),
        }
    }
    wire.extend(b"GET /-/healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let writing = tokio::spawn(async move {
        writer.write_all(&wire).await.unwrap();
        writer
    });
    let mut said = Vec::new();
    timeout(Duration::from_mins(1), reader.read_to_end(&mut said)).await.unwrap().unwrap();
    writing.await.unwrap();
    let said = String::from_utf8_lossy(&said);
    let answers: Vec<&str> = said.split("HTTP/1.1 200").skip(1).collect();
    assert_eq!(answers.len(), 1_001, "{}", &said[said.len().saturating_sub(400)..]);
    for (n, answer) in answers.iter().take(1_000).enumerate() {
        let mark = match kind(u32::try_from(n).unwrap()) {
            0 => "image/gif",
            1 => "access-control-allow-methods",
            _ => r#"{"success":true}"#,
        };
        assert!(answer.contains(mark), "the {n}th answer is another request's: {answer}");
    }
    stage.drained().await;
    let wanted: BTreeSet<String> = (0..1_000).filter(|n| kind(*n) > 1).map(|n| format!("n-{n}")).collect();
    assert_eq!((ids(&stage.segment_events()), ids(&stage.rudder_events())), (wanted.clone(), wanted));
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_early_loses_nothing_that_was_kept() {
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let address = stage.sidecar().plain_address().unwrap();
    let request = |id: &str| {
        let body = track(id);
        format!("POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    for n in 0..200 {
        // Behind the head, and in the middle of the body.
        let whole = request(&format!("early-{n}"));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let end = if n % 2 == 0 { whole.find("\r\n\r\n").unwrap() + 4 } else { whole.len() - 1 };
        stream.write_all(&whole.as_bytes()[..end]).await.unwrap();
        // With everything sent, and reset before the answer.
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request(&format!("abort-{n}")).as_bytes()).await.unwrap();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
        // With one side closed: the answer comes.
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request(&format!("half-{n}")).as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"success":true}"#), "{answer}");
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    stage.drained().await;
    let (segment, rudder) = (ids(&stage.segment_events()), ids(&stage.rudder_events()));
    assert_eq!(segment, rudder, "what was kept goes to both, answered or not");
    let count = |prefix: &str| segment.iter().filter(|id| id.starts_with(prefix)).count();
    println!("of 200 aborted requests {} were kept and delivered", count("abort-"));
    assert_eq!((count("half-"), count("early-")), (200, 0));
    assert_eq!(planned(&stage), 2 * segment.len() as u64);
    assert_eq!(stage.post("/v1/track", &track("after")).await.status, 200);
    sums.held().await;
}
