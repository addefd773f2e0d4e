//! Segment's stand-in against protocol.md 1.2 to 1.9, byte by byte.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail as loudly as the test")]

mod standin_raw;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use segue::{
    clock::Clock,
    model::WallTime,
    standin::{Fault, Keep, Key, Options, Region, Rule, SegmentStandin, Sighting, Standin, TakenEvent},
};
use serde_json::{Value, json};
use standin_raw::{Said, basic, exchange, gzip, request, say};

const KEY: &str = "wk_test_segment";
const SUCCESS: &str = r#"{"success":true}"#;
const MALFORMED: &str = r#"{"success":false,"message":"malformed JSON","code":"invalid_request"}"#;
const TOO_LARGE: &str = r#"{"success":false,"message":"Exceed payload limit","code":"invalid_request"}"#;

async fn segment_with(options: Options) -> Standin {
    let keys = vec![Key::enabled(KEY), Key::disabled("wk_test_off")];
    SegmentStandin::start(Options { keys, ..options }).await.unwrap()
}

async fn segment() -> Standin {
    segment_with(Options::default()).await
}

/// Posts and wants a 200 in Segment's shape; returns what was taken.
async fn post(segment: &Standin, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<TakenEvent> {
    let before = segment.counts().events;
    let said: Said = say(segment.addr(), "POST", path, headers, body).await;
    let what = format!("{path} {}", String::from_utf8_lossy(&body[..body.len().min(80)]));
    assert_eq!((said.status, said.text().as_str(), said.header("content-type")), (200, SUCCESS, Some("application/json")), "{what}");
    segment.events_since(before)
}

fn verdicts(taken: &[TakenEvent]) -> Vec<&'static str> {
    taken.iter().map(|event| event.verdict.label()).collect()
}

fn handed_on(event: &TakenEvent) -> Value {
    serde_json::from_str(event.handed_on.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn all_paths_take_events_with_a_slash_or_without() {
    let segment = segment().await;
    let auth = basic(KEY);
    let event = br#"{"userId":"u","event":"E"}"#;
    let batch = br#"{"batch":[{"userId":"u","type":"track","event":"E"}]}"#;
    let singles = [
        ("t", "track", "client"),
        ("i", "identify", "client"),
        ("p", "page", "client"),
        ("g", "group", "client"),
        ("a", "alias", "client"),
        ("s", "screen", "client"),
        ("track", "track", "server"),
        ("identify", "identify", "server"),
        ("page", "page", "server"),
        ("screen", "screen", "server"),
        ("group", "group", "server"),
        ("alias", "alias", "server"),
    ];
    for slash in ["", "/"] {
        for (path, kind, channel) in singles {
            let taken = post(&segment, &format!("/v1/{path}{slash}"), &[("Authorization", &auth)], event).await;
            assert_eq!((taken.len(), &*taken[0].kind, handed_on(&taken[0])["type"].as_str()), (1, kind, Some(kind)), "{path}");
            assert_eq!(handed_on(&taken[0])["channel"], channel, "{path}");
        }
        for (path, ip) in [("batch", Value::Null), ("import", Value::Null), ("b", json!("127.0.0.1"))] {
            let taken = post(&segment, &format!("/v1/{path}{slash}"), &[("Authorization", &auth)], batch).await;
            assert_eq!(handed_on(&taken[0])["context"]["ip"], ip, "{path}: only clients' endpoints fill in the address");
        }
        let metrics = br#"{"series":[{"type":"Counter","metric":"analytics_js.invoke","value":1,"tags":{}}]}"#;
        assert_eq!(post(&segment, &format!("/v1/m{slash}"), &[], metrics).await, []);
    }
    for (method, path, status) in [("POST", "/v1/x", 404), ("POST", "/", 404), ("GET", "/v1/batch", 405), ("POST", "/v1/pixel/track", 405)]
    {
        assert_eq!(say(segment.addr(), method, path, &[], b"").await.status, status, "{method} {path}");
    }
}

#[tokio::test]
async fn the_key_may_come_in_any_form() {
    let segment = segment().await;
    let colonless = format!("Basic {}", STANDARD.encode(KEY));
    let with_colon = basic(KEY);
    let other = basic("wk_test_other");
    let plain = r#"{"batch":[{"userId":"u","type":"track","event":"E"}]}"#;
    let in_body = r#"{"writeKey":"wk_test_segment","batch":[{"userId":"u","type":"track","event":"E"}]}"#;
    let in_item = r#"{"batch":[{"userId":"u","type":"track","event":"E","writeKey":"wk_test_segment"}]}"#;
    let table: [(Option<&str>, &str, &str); 9] = [
        (Some(&with_colon), plain, "accepted"),
        (Some(&colonless), plain, "accepted"),
        (None, in_body, "accepted"),
        (Some("Bearer a.b.c"), in_body, "accepted"),
        (Some(&other), in_body, "accepted"),
        (None, in_item, "accepted"),
        (Some(&other), plain, "unknown_source"),
        (Some("Basic W29iamVjdCBPYmplY3RdOg=="), plain, "unknown_source"),
        (Some("Basic d2tfdGVzdF9vZmY6"), plain, "source_disabled"),
    ];
    for (auth, body, want) in table {
        let headers: Vec<_> = auth.into_iter().map(|auth| ("Authorization", auth)).collect();
        let taken = post(&segment, "/v1/batch", &headers, body.as_bytes()).await;
        assert_eq!(verdicts(&taken), [want], "{auth:?} {body}");
        assert_eq!(taken[0].handed_on.is_some(), want == "accepted");
    }
    for auth in [None, Some(basic(""))] {
        let headers: Vec<_> = auth.iter().map(|auth| ("Authorization", auth.as_str())).collect();
        assert_eq!(say(segment.addr(), "POST", "/v1/batch", &headers, plain.as_bytes()).await.status, 400, "no key at all");
    }
    assert_eq!(segment.counts().dropped["unknown_source"], 2);
    assert_eq!(segment.counts().distinct, 6, "dropped events do not count as arrived");
}

#[tokio::test]
async fn a_key_of_the_other_region_gets_its_200_and_vanishes() {
    let eu =
        SegmentStandin::start(Options { keys: vec![Key::enabled("wk_test_eu")], region: Region::Eu, ..Options::default() }).await.unwrap();
    let taken = post(&eu, "/v1/track", &[("Authorization", &basic(KEY))], br#"{"userId":"u","event":"E"}"#).await;
    assert_eq!(verdicts(&taken), ["unknown_source"]);
    let said = say(eu.addr(), "GET", "/v1/projects/wk_test_eu/settings", &[], b"").await;
    let settings: Value = serde_json::from_slice(&said.body).unwrap();
    assert_eq!(settings["integrations"]["Segment.io"]["apiHost"], "events.eu1.segmentapis.com/v1");
}

#[tokio::test]
async fn bad_bodies_and_big_ones_get_400() {
    let segment = segment().await;
    let auth = basic(KEY);
    let event = |bytes: usize| {
        let frame = r#"{"userId":"u","event":"E","p":""}"#.len();
        format!(r#"{{"userId":"u","event":"E","p":"{}"}}"#, "x".repeat(bytes - frame))
    };
    let batch = |bytes: usize| {
        let frame = r#"{"p":"","batch":[]}"#.len();
        format!(r#"{{"p":"{}","batch":[]}}"#, "x".repeat(bytes - frame))
    };
    let table: [(&str, Vec<u8>, u16, &str); 12] = [
        ("/v1/batch", b"".to_vec(), 400, MALFORMED),
        ("/v1/batch", b"{".to_vec(), 400, MALFORMED),
        ("/v1/track", b"[]".to_vec(), 400, MALFORMED),
        ("/v1/t", b"\xff\xfe".to_vec(), 400, MALFORMED),
        ("/v1/track", event(32 * 1024).into(), 200, SUCCESS),
        ("/v1/track", event(32 * 1024 + 1).into(), 400, TOO_LARGE),
        ("/v1/p", event(32 * 1024 + 1).into(), 400, TOO_LARGE),
        ("/v1/batch", batch(500 * 1024).into(), 200, SUCCESS),
        ("/v1/batch", batch(500 * 1024 + 1).into(), 400, TOO_LARGE),
        ("/v1/b", batch(500 * 1024 + 1).into(), 400, TOO_LARGE),
        ("/v1/batch", br#"{"batch":[]}"#.to_vec(), 200, SUCCESS),
        ("/v1/batch", b"{}".to_vec(), 200, SUCCESS),
    ];
    for (path, body, status, text) in table {
        let said = say(segment.addr(), "POST", path, &[("Authorization", &auth)], &body).await;
        assert_eq!((said.status, said.text().as_str()), (status, text), "{path} {}", body.len());
        assert_eq!(said.header("content-type"), Some("application/json"));
    }
    assert_eq!(segment.counts().dropped["empty_batch"], 3);
}

#[tokio::test]
async fn gzip_is_inflated_and_the_content_type_is_not_looked_at() {
    let segment = segment().await;
    let auth = basic(KEY);
    let body = br#"{"batch":[{"userId":"u","type":"track","event":"E"}]}"#;
    for (coding, content_type) in
        [("gzip", "text/plain"), ("GZIP", "application/json; charset=utf-8"), ("gzip", "application/x-www-form-urlencoded")]
    {
        let headers = [("Authorization", auth.as_str()), ("Content-Encoding", coding), ("Content-Type", content_type)];
        assert_eq!(post(&segment, "/v1/batch", &headers, &gzip(body)).await.len(), 1);
    }
    let said = say(segment.addr(), "POST", "/v1/batch", &[("Authorization", &auth), ("Content-Encoding", "gzip")], body).await;
    assert_eq!((said.status, said.text().as_str()), (400, MALFORMED));
}

#[tokio::test]
async fn bad_events_are_dropped_one_by_one() {
    let segment = segment().await;
    let big = "x".repeat(32 * 1024);
    let body = json!({ "batch": [
        { "type": "track", "event": "E", "userId": "u" },
        { "type": "track", "event": "E" },
        { "type": "track", "event": "E", "userId": 7 },
        { "type": "track", "userId": "u" },
        { "type": "track", "event": 1, "userId": "u" },
        { "type": "track", "event": "E", "userId": "u", "properties": "p" },
        { "type": "identify", "userId": "u", "traits": [] },
        { "type": "page", "userId": "u", "name": 1 },
        { "type": "screen", "userId": "u", "category": 1 },
        { "userId": "u" },
        { "type": "party", "userId": "u" },
        7,
        { "type": "track", "event": "E", "userId": "u", "properties": { "p": big } },
        { "type": "alias", "userId": "u", "previousId": "p" },
    ] });
    let want = [
        "accepted",
        "no_user_anon_id",
        "id_not_string",
        "event_not_defined",
        "event_not_string",
        "properties_not_object",
        "traits_not_object",
        "name_not_string",
        "category_not_string",
        "missing_type",
        "invalid_type",
        "event_not_object",
        "event_too_large",
        "accepted",
    ];
    let taken = post(&segment, "/v1/batch", &[("Authorization", &basic(KEY))], body.to_string().as_bytes()).await;
    assert_eq!(verdicts(&taken), want);
    let counts = segment.counts();
    assert_eq!((counts.events, counts.distinct, counts.dropped.len()), (14, 2, 12));

    let many: Vec<Value> = (0..2501).map(|n| json!({ "type": "track", "event": "E", "userId": "u", "messageId": n.to_string() })).collect();
    let taken = post(&segment, "/v1/batch", &[("Authorization", &basic(KEY))], json!({ "batch": many }).to_string().as_bytes()).await;
    assert!(taken.len() == 2501 && taken.iter().all(|event| event.verdict.label() == "batch_too_long"));
    let taken = post(&segment, "/v1/batch", &[("Authorization", &basic(KEY))], json!({ "batch": many[1..] }).to_string().as_bytes()).await;
    assert!(taken.len() == 2500 && taken.iter().all(|event| event.verdict.label() == "accepted"));
}

#[tokio::test]
async fn what_a_batch_says_is_merged_into_its_events() {
    let segment = segment().await;
    let body = br#"{"context":{"library":{"name":"java","version":"3"},"ip":"203.0.113.1"},"integrations":{"All":false},"writeKey":"wk_test_segment",
        "batch":[{"type":"track","event":"E","userId":"u","messageId":"m1","context":{"library":{"version":"4"}},"integrations":{"X":true},"properties":{"n":9007199254740993}},
                 {"type":"track","event":"E","userId":"u","writeKey":"wk_test_segment"}]}"#;
    let taken = post(&segment, "/v1/batch", &[], body).await;
    let events: Vec<Value> = taken.iter().map(handed_on).collect();
    assert_eq!(events[0]["context"], json!({ "library": { "name": "java", "version": "4" }, "ip": "203.0.113.1" }));
    assert_eq!(events[0]["integrations"], json!({ "X": true, "All": false }));
    assert!(taken[0].handed_on.as_deref().unwrap().contains("9007199254740993"), "numbers keep their text");
    assert_eq!(events[1]["context"]["library"]["name"], "java");
    assert_eq!(events[1]["messageId"].as_str().map(str::len), Some(36), "a messageId is given where there is none");
    assert_eq!((&events[1]["messageId"], &events[1]["writeKey"]), (&json!(taken[1].message_id), &Value::Null));
    assert!(taken[1].json.as_deref().unwrap().contains("writeKey"), "the event as received is left as it was");
}

#[tokio::test]
async fn times_are_computed_from_when_it_was_received() {
    let clock = Clock::system();
    let segment = segment_with(Options { clock: clock.clone(), ..Options::default() }).await;
    clock.advance_ms(WallTime::parse("2026-05-05T12:00:00Z").unwrap().millis_since(clock.now()));
    let auth = basic(KEY);
    // What the batch and its event say, and how far `timestamp` is from `receivedAt`; None: not at all, it stands as sent.
    let table = [
        (r#","sentAt":"2020-01-01T00:00:05Z""#, r#","timestamp":"2020-01-01T00:00:02.500+00:00""#, Some(-2500)),
        (r#","sentAt":"2020-01-01T00:00:05Z""#, r#","timestamp":"2020-01-01T00:00:02Z","sentAt":"2020-01-01T00:00:03Z""#, Some(-1000)),
        (r#","sentAt":"2020-01-01T00:00:05Z""#, r#","timestamp":"2020-01-01T00:00:09Z""#, Some(4000)),
        (r#","sentAt":"2020-01-01T00:00:05Z""#, "", Some(0)),
        ("", r#","timestamp":"2020-01-01T00:00:02Z""#, None),
    ];
    for (batch, event, want) in table {
        let body = format!(r#"{{"batch":[{{"type":"track","event":"E","userId":"u"{event}}}]{batch}}}"#);
        let taken = post(&segment, "/v1/batch", &[("Authorization", &auth)], body.as_bytes()).await;
        let times = taken[0].times.as_deref().unwrap();
        assert!((0..60_000).contains(&times.received_at.millis_since(WallTime::parse("2026-05-05T12:00:00Z").unwrap())));
        let timestamp = want.map_or(times.original_timestamp, |ms| times.received_at.plus_millis(ms));
        assert_eq!(times.timestamp, timestamp, "{body}");
        let event = handed_on(&taken[0]);
        assert_eq!(event["timestamp"], timestamp.to_rfc3339());
        assert_eq!(event["receivedAt"], times.received_at.to_rfc3339());
        assert_eq!(event["originalTimestamp"], times.original_timestamp.to_rfc3339());
    }
}

#[tokio::test]
async fn the_address_is_filled_in_for_clients_only() {
    let segment = segment().await;
    let auth = basic(KEY);
    let table = [
        ("/v1/t", r"{}", json!("127.0.0.1")),
        ("/v1/t", r#"{"ip":"203.0.113.5"}"#, json!("203.0.113.5")),
        ("/v1/t", r#"{"ip":"0.0.0.0"}"#, json!("0.0.0.0")),
        ("/v1/track", r"{}", Value::Null),
        ("/v1/track", r#"{"direct":true}"#, json!("127.0.0.1")),
    ];
    for (path, context, want) in table {
        let body = format!(r#"{{"userId":"u","event":"E","context":{context}}}"#);
        let headers = [("Authorization", auth.as_str()), ("X-Forwarded-For", "198.51.100.1")];
        let taken = post(&segment, path, &headers, body.as_bytes()).await;
        assert_eq!(handed_on(&taken[0])["context"]["ip"], want, "{path} {context}");
    }
}

#[tokio::test]
async fn a_message_id_is_known_for_a_day() {
    let clock = Clock::system();
    let segment = segment_with(Options { clock: clock.clone(), ..Options::default() }).await;
    let auth = basic(KEY);
    let mut sightings = Vec::new();
    for hours in [0, 1, 22, 2] {
        clock.advance_ms(hours * 3_600_000);
        let taken = post(&segment, "/v1/track", &[("Authorization", &auth)], br#"{"userId":"u","event":"E","messageId":"m1"}"#).await;
        sightings.push(taken[0].sighting);
    }
    assert_eq!(sightings, [Sighting::First, Sighting::Again, Sighting::Again, Sighting::First], "25 hours after the first");
    let counts = segment.counts();
    assert_eq!((counts.events, counts.distinct, counts.duplicates, counts.seen_late), (4, 1, 2, 1));
}

#[tokio::test]
async fn pixels_always_get_their_picture() {
    let segment = segment().await;
    let data = STANDARD.encode(r#"{"writeKey":"wk_test_segment","userId":"u","event":"Opened","properties":{"n":1}}"#);
    let unpadded = data.trim_end_matches('=').to_owned();
    let paths = [
        format!("/v1/pixel/track?data={}", data.replace('+', "%2B").replace('=', "%3D")),
        format!("/v1/pixel/track?data={unpadded}"),
        "/v1/pixel/page?writeKey=wk_test_segment&userId=u&name=Home&properties.subject=Hello%20you".to_owned(),
        "/v1/pixel/identify?writeKey=wk_test_other&userId=u".to_owned(),
        "/v1/pixel/track?data=%%%".to_owned(),
        "/v1/pixel/screen".to_owned(),
    ];
    for path in &paths {
        let said = say(segment.addr(), "GET", path, &[], b"").await;
        assert_eq!((said.status, said.header("content-type"), said.body.len()), (200, Some("image/gif"), 43), "{path}");
    }
    let taken = segment.taken().events;
    assert_eq!(verdicts(&taken), ["accepted", "accepted", "accepted", "unknown_source"]);
    let page = handed_on(&taken[2]);
    assert_eq!((&page["type"], &page["name"], &page["properties"]["subject"]), (&json!("page"), &json!("Home"), &json!("Hello you")));
    assert_eq!(page["context"]["ip"], "127.0.0.1");
}

#[tokio::test]
async fn settings_and_scripts_are_served() {
    let segment = segment_with(Options { api_host: Some("proxy.test/v1".to_owned()), ..Options::default() }).await;
    let said = say(segment.addr(), "GET", "/v1/projects/wk_test_segment/settings", &[("Origin", "https://shop.example")], b"").await;
    assert_eq!((said.status, said.header("content-type")), (200, Some("application/json")));
    assert_eq!(said.header("access-control-allow-origin"), Some("https://shop.example"));
    let settings: Value = serde_json::from_slice(&said.body).unwrap();
    let own = &settings["integrations"]["Segment.io"];
    assert_eq!((&own["apiKey"], &own["apiHost"]), (&json!(KEY), &json!("proxy.test/v1")));
    for member in ["plan", "middlewareSettings", "enabledMiddleware", "metrics", "remotePlugins", "consentSettings", "edgeFunction"] {
        assert!(settings.get(member).is_some(), "{member}");
    }
    assert_eq!(say(segment.addr(), "GET", "/v1/projects/wk_test_other/settings", &[], b"").await.status, 404);
    for path in [
        "/analytics.js/v1/wk_test_segment/analytics.min.js",
        "/analytics-next/bundles/ajs-destination.bundle.js",
        "/next-integrations/integrations/x.js.gz",
    ] {
        let said = say(segment.addr(), "GET", path, &[], b"").await;
        assert_eq!((said.status, said.header("content-type")), (200, Some("application/javascript; charset=utf-8")), "{path}");
    }
    assert_eq!(say(segment.addr(), "GET", "/analytics.js/v1/wk_test_other/analytics.min.js", &[], b"").await.status, 404);
}

#[tokio::test]
async fn browsers_are_let_in() {
    let segment = segment().await;
    let headers = [
        ("Origin", "https://shop.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type,x-odd"),
    ];
    let said = say(segment.addr(), "OPTIONS", "/v1/t", &headers, b"").await;
    let table = [
        ("access-control-allow-origin", "https://shop.example"),
        ("access-control-allow-methods", "POST, GET, OPTIONS"),
        ("access-control-allow-headers", "authorization,content-type,x-odd"),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "Retry-After, X-RateLimit-Reset"),
    ];
    assert_eq!(said.status, 200);
    for (name, value) in table {
        assert_eq!(said.header(name), Some(value), "{name}");
    }
    let said = say(segment.addr(), "POST", "/v1/t", &headers[..1], b"{").await;
    assert_eq!((said.status, said.header("access-control-allow-origin")), (400, Some("https://shop.example")), "errors too");
}

#[tokio::test]
async fn too_many_are_told_when_to_come_back() {
    let segment = segment().await;
    segment.faults().add(Rule::next(1, Fault::status(429)));
    let said = say(segment.addr(), "POST", "/v1/track", &[("Authorization", &basic(KEY))], br#"{"userId":"u","event":"E"}"#).await;
    assert_eq!((said.status, said.header("retry-after"), said.header("x-ratelimit-reset")), (429, Some("1"), Some("1")));
    let body: Value = serde_json::from_slice(&said.body).unwrap();
    assert_eq!((&body["success"], &body["code"]), (&json!(false), &json!("too_many_requests")));
    assert_eq!(segment.counts().events, 0);
}

#[tokio::test]
async fn the_compact_book_keeps_ids_and_goes_on_counting() {
    let keep = Keep { events_max: 3, requests_max: 2, ..Keep::COMPACT };
    let segment = segment_with(Options { keep, ..Options::default() }).await;
    for n in 0..5 {
        let body = format!(r#"{{"userId":"u","event":"E","messageId":"m{n}"}}"#);
        post(&segment, "/v1/track", &[("Authorization", &basic(KEY))], body.as_bytes()).await;
    }
    let taken = segment.taken();
    assert_eq!((taken.requests.len(), taken.events.len()), (2, 3));
    let event = &taken.events[2];
    assert_eq!((event.sequence, &*event.message_id, event.user_id.as_deref()), (3, "m2", Some("u")));
    assert_eq!((&event.json, &event.handed_on, &event.times), (&None, &None, &None));
    assert_eq!((segment.counts().events, segment.counts().distinct), (5, 5));
}

#[tokio::test]
async fn waiting_ends_when_the_counts_are_as_wished_or_patience_does() {
    let segment = segment().await;
    let wait = segment.wait_for(Duration::from_millis(20), |counts| counts.events > 0).await;
    assert_eq!(wait.unwrap_err().events, 0);
    let bytes = request("POST", "/v1/track", &[("Authorization", &basic(KEY))], br#"{"userId":"u","event":"E"}"#);
    let (counts, _) = tokio::join!(segment.wait_for(Duration::from_secs(5), |counts| counts.events > 0), exchange(segment.addr(), &bytes));
    assert_eq!(counts.unwrap().events, 1);
}
