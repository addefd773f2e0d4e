//! RudderStack's stand-in against the tables of protocol.md 2.1 to 2.5, byte by byte.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail as loudly as the test")]

mod standin_raw;

use std::time::Duration;

use segue::{
    clock::Clock,
    model::WallTime,
    standin::{Fault, Key, Options, RudderStandin, Rule, Standin, TakenEvent},
};
use serde_json::Value;
use standin_raw::{Said, basic, exchange, gzip, request, say};

const KEY: &str = "wk_test_rudder";
const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const JSON: Option<&str> = Some("application/json; charset=utf-8");

async fn gateway() -> Standin {
    let keys = vec![Key::enabled(KEY), Key::disabled("wk_test_off"), Key::webhook("wk_test_hook")];
    RudderStandin::start(Options { keys, ..Options::default() }).await.unwrap()
}

/// A row: what is sent, and the status, content type and body that come back.
struct Row {
    method: &'static str,
    path: &'static str,
    auth: Option<String>,
    body: Vec<u8>,
    want: (u16, Option<&'static str>, &'static str),
}

fn row(
    method: &'static str,
    path: &'static str,
    auth: Option<String>,
    body: impl Into<Vec<u8>>,
    want: (u16, Option<&'static str>, &'static str),
) -> Row {
    Row { method, path, auth, body: body.into(), want }
}

#[expect(clippy::unnecessary_wraps, reason = "a row wants an option")]
fn key() -> Option<String> {
    Some(basic(KEY))
}

async fn hold(rows: Vec<Row>) {
    let gateway = gateway().await;
    for Row { method, path, auth, body, want: (status, content_type, text) } in rows {
        let headers: Vec<(&str, &str)> = auth.iter().map(|auth| ("Authorization", auth.as_str())).collect();
        let said = say(gateway.addr(), method, path, &headers, &body).await;
        let what = format!("{method} {path} {}", String::from_utf8_lossy(&body[..body.len().min(80)]));
        assert_eq!((said.status, said.text().as_str()), (status, text), "{what}");
        assert_eq!(said.header("content-type"), content_type, "{what}");
        let sniffing = if status >= 400 && status != 405 { Some("nosniff") } else { None };
        assert_eq!(said.header("x-content-type-options"), sniffing, "{what}");
        assert_eq!(said.header("content-length"), Some(text.len().to_string().as_str()), "{what}");
        assert_eq!(said.header("retry-after"), None, "{what}: RudderStack never sends it");
    }
}

#[tokio::test]
async fn routes_are_those_of_the_gateway() {
    let event = r#"{"userId":"u","event":"E"}"#;
    let batch = r#"{"batch":[{"userId":"u","type":"track","event":"E"}]}"#;
    let ok = (200, TEXT, "ok");
    let missing = (404, TEXT, "404 page not found\n");
    let health = r#"{"appType":"EMBEDDED","server":"UP","db":"UP","acceptingEvents":"TRUE","routingEvents":"TRUE","mode":"NORMAL","backendConfigMode":"JSON","lastSync":"","lastRegulationSync":""}"#;
    let mut rows = Vec::new();
    for path in ["/v1/alias", "/v1/group", "/v1/identify", "/v1/merge", "/v1/page", "/v1/screen", "/v1/track", "/v1/audiencelist"] {
        rows.push(row("POST", path, key(), event, ok));
    }
    for path in ["/v1/batch", "/v1/import"] {
        rows.push(row("POST", path, key(), batch, ok));
    }
    rows.push(row("POST", "/beacon/v1/batch?writeKey=wk_test_rudder", None, batch, ok));
    rows.push(row("POST", "/v1/webhook?writeKey=wk_test_hook", None, event, ok));
    for path in ["/v1/t", "/v1/i", "/v1/p", "/v1/g", "/v1/a", "/v1/s", "/v1/b", "/v1/m", "/v1/track/", "/v1/batch/", "/v1/import/", "/"] {
        let want = if path == "/" { (405, None, "") } else { missing };
        rows.push(row("POST", path, key(), batch, want));
    }
    for path in ["/v1/pixel/track", "/v1/projects/wk_test_rudder/settings", "/internal/v1/batch", "/health/"] {
        rows.push(row("GET", path, key(), "", missing));
    }
    rows.push(row("POST", "/internal/v1/batch", key(), "[]", missing));
    for (method, path) in
        [("GET", "/v1/track"), ("PUT", "/v1/batch"), ("DELETE", "/v1/import"), ("POST", "/pixel/v1/track"), ("POST", "/health")]
    {
        rows.push(row(method, path, key(), "", (405, None, "")));
    }
    rows.push(row("OPTIONS", "/v1/batch", None, "", (405, None, "")));
    rows.push(row("GET", "/health", None, "", (200, JSON, health)));
    rows.push(row("GET", "/", None, "", (200, JSON, health)));
    rows.push(row("GET", "/robots.txt", None, "", (200, TEXT, "User-agent: * \nDisallow: / \n")));
    hold(rows).await;
}

#[tokio::test]
async fn only_basic_auth_lets_in() {
    let batch = r#"{"writeKey":"wk_test_rudder","batch":[{"userId":"u","type":"track","writeKey":"wk_test_rudder"}]}"#;
    let none = (401, TEXT, "failed to read writekey from header\n");
    let query = (401, TEXT, "failed to read writekey from query params\n");
    let wrong = (401, TEXT, "invalid write key\n");
    let off = (404, TEXT, "source is disabled\n");
    let raw = |text: &str| Some(text.to_owned());
    hold(vec![
        row("POST", "/v1/batch", None, batch, none),
        row("POST", "/v1/batch?writeKey=wk_test_rudder", None, batch, none),
        row("POST", "/v1/batch", raw("Bearer abc"), batch, none),
        row("POST", "/v1/batch", raw("Basic"), batch, none),
        row("POST", "/v1/batch", raw("Basic !!!"), batch, none),
        // "wk_test_rudder" without a colon: Segment takes it, Go's BasicAuth does not.
        row("POST", "/v1/batch", raw("Basic d2tfdGVzdF9ydWRkZXI="), batch, none),
        row("POST", "/v1/batch", Some(basic("")), batch, none),
        row("POST", "/v1/batch", Some(basic("wk_test_other")), batch, wrong),
        row("POST", "/v1/batch", Some(basic("wk_test_other")), "not json", wrong),
        row("POST", "/v1/batch", Some(basic("wk_test_off")), batch, off),
        row("POST", "/v1/batch", raw("basic d2tfdGVzdF9ydWRkZXI6cGFzc3dvcmQ="), batch, (200, TEXT, "ok")),
        row("POST", "/beacon/v1/batch", key(), batch, query),
        row("POST", "/beacon/v1/batch?writeKey=", key(), batch, query),
        row("POST", "/beacon/v1/batch?writeKey=wk_test_other", None, batch, wrong),
        row("POST", "/v1/webhook", None, batch, query),
        row("POST", "/v1/webhook", key(), batch, wrong),
        row(
            "POST",
            "/v1/webhook",
            Some(basic("wk_test_hook")),
            r#"{"type":"track"}"#,
            (400, TEXT, "request neither has anonymousId nor userId\n"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn bodies_are_taken_whole_or_refused_whole() {
    let json = (400, TEXT, "invalid json\n");
    let empty = (400, TEXT, "empty batch payload\n");
    let event = (400, TEXT, "event is not a valid rudder event\n");
    let nobody = (400, TEXT, "request neither has anonymousId nor userId\n");
    let large = (413, TEXT, "request size exceeds max limit\n");
    let padding = "x".repeat(4000 * 1024);
    hold(vec![
        row("POST", "/v1/batch", key(), "", json),
        row("POST", "/v1/batch", key(), "{", json),
        row("POST", "/v1/track", key(), "{\"userId\":\"u\"}}", json),
        row("POST", "/v1/batch", key(), "{}", empty),
        row("POST", "/v1/batch", key(), "[]", empty),
        row("POST", "/v1/batch", key(), r#"{"batch":[]}"#, empty),
        row("POST", "/v1/batch", key(), r#"{"batch":null}"#, empty),
        row("POST", "/v1/batch", key(), r#"{"batch":[7]}"#, event),
        row("POST", "/v1/batch", key(), r#"{"batch":[{"userId":"u"},null]}"#, event),
        row("POST", "/v1/track", key(), r#"[{"userId":"u"}]"#, event),
        row("POST", "/v1/track", key(), "7", nobody),
        row("POST", "/v1/track", key(), r#"{"event":"E"}"#, nobody),
        row("POST", "/v1/batch", key(), r#"{"batch":[{"userId":"u"},{"event":"E"}]}"#, nobody),
        row("POST", "/v1/batch", key(), r#"{"batch":[{"userId":"u"},{"userId":null,"anonymousId":"  "}]}"#, nobody),
        row("POST", "/v1/batch", key(), r#"{"batch":[{"userId":"u","anonymousId":null},{"userId":0}]}"#, (200, TEXT, "ok")),
        row("POST", "/v1/batch", key(), format!(r#"{{"batch":[{{"userId":"u","p":"{padding}"}}]}}"#), large),
        row("POST", "/v1/batch", key(), format!(r#"{{"batch":[{{"userId":"","p":"{padding}"}}]}}"#), nobody),
        row("POST", "/v1/import", key(), r#"{"batch":[{"userId":"u"},{"event":"E"}]}"#, nobody),
        row("POST", "/v1/import", key(), r#"{"batch":[]}"#, (200, TEXT, "ok")),
        row(
            "POST",
            "/v1/import",
            key(),
            r#"{"batch":[{"userId":" "},{"userId":"u"},{"event":"E"}]}"#,
            (500, TEXT, "request neither has anonymousId nor userIdrequest neither has anonymousId nor userId\n"),
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_import_keeps_the_users_that_are_whole() {
    let gateway = gateway().await;
    let body = br#"{"batch":[{"userId":"a","n":1},{"event":"E"},{"userId":"b"},{"userId":"a","n":2}]}"#;
    let said = say(gateway.addr(), "POST", "/v1/import", &[("Authorization", &basic(KEY))], body).await;
    assert_eq!(said.status, 400);
    let users: Vec<_> = gateway.taken().events.iter().map(|event| event.user_id.clone().unwrap()).collect();
    assert_eq!(users, ["a".into(), "a".into(), Box::from("b")]);
}

#[tokio::test]
async fn only_gzip_by_that_very_name_is_inflated() {
    let gateway = gateway().await;
    let batch = br#"{"batch":[{"userId":"u"}]}"#;
    let post = async |encoding: &str, body: &[u8]| {
        let said = say(gateway.addr(), "POST", "/v1/batch", &[("Authorization", &basic(KEY)), ("Content-Encoding", encoding)], body).await;
        (said.status, said.text())
    };
    let ok = (200, "ok".to_owned());
    let json = (400, "invalid json\n".to_owned());
    let broken = (500, "failed to read body from request\n".to_owned());
    assert_eq!(post("gzip", &gzip(batch)).await, ok);
    assert_eq!(post("GZIP", &gzip(batch)).await, json);
    assert_eq!(post("x-gzip", &gzip(batch)).await, json);
    assert_eq!(post("deflate", batch).await, ok, "an unknown coding is not looked at");
    assert_eq!(post("gzip", batch).await, broken);
    assert_eq!(post("gzip", &gzip(batch)[..20]).await, broken);
    assert_eq!(post("gzip", b"").await, broken);
    let padding = "x".repeat(4000 * 1024);
    let large = gzip(format!(r#"{{"batch":[{{"userId":"u","p":"{padding}"}}]}}"#).as_bytes());
    assert_eq!(post("gzip", &large).await, (413, "request size exceeds max limit\n".to_owned()), "the limit is on the inflated body");
}

#[tokio::test]
async fn cors_is_that_of_rs_cors() {
    let gateway = gateway().await;
    let preflight = async |method: &str, origin: Option<&str>| {
        let mut headers = vec![("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", "authorization,content-type")];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        say(gateway.addr(), "OPTIONS", "/v1/nowhere", &headers, b"").await
    };
    let said = preflight("POST", Some("https://shop.example")).await;
    assert_eq!((said.status, said.text().as_str()), (204, ""));
    let table = [
        ("access-control-allow-origin", "https://shop.example"),
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "authorization,content-type"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "900"),
        ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ];
    for (name, value) in table {
        assert_eq!(said.header(name), Some(value), "{name}");
    }
    assert_eq!(preflight("DELETE", Some("https://shop.example")).await.header("access-control-allow-origin"), None);
    assert_eq!(preflight("POST", None).await.header("access-control-allow-origin"), None);

    let said = say(gateway.addr(), "POST", "/v1/batch", &[("Origin", "https://shop.example")], b"{}").await;
    assert_eq!(said.status, 401);
    assert_eq!(said.header("access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(said.header("access-control-allow-credentials"), Some("true"));
    let said = say(gateway.addr(), "POST", "/v1/batch", &[], b"{}").await;
    assert_eq!((said.header("access-control-allow-origin"), said.header("vary")), (None, Some("Origin")));
    assert_eq!(gateway.counts().requests, 2, "preflights are not written down");
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let gateway = gateway().await;
    assert_eq!(say(gateway.addr(), "GET", "/v1/track", &[], b"").await.header("allow"), Some("POST"));
    assert_eq!(say(gateway.addr(), "POST", "/health", &[], b"").await.header("allow"), Some("GET"));
}

async fn post(gateway: &Standin, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<TakenEvent> {
    let before = gateway.counts().events;
    let auth = basic(KEY);
    let headers: Vec<_> = [("Authorization", auth.as_str())].iter().chain(headers).copied().collect();
    let said: Said = say(gateway.addr(), "POST", path, &headers, body.as_bytes()).await;
    assert_eq!((said.status, said.text().as_str()), (200, "ok"), "{body}");
    gateway.events_since(before)
}

fn handed_on(event: &TakenEvent) -> Value {
    serde_json::from_str(event.handed_on.as_deref().unwrap()).unwrap()
}

#[tokio::test]
async fn events_are_enriched_as_the_gateway_does_it() {
    let gateway = gateway().await;
    let taken = post(&gateway, "/v1/track", &[], r#"{"type":"page","userId":7,"anonymousId":" a ","messageId":42}"#).await;
    let event = handed_on(&taken[0]);
    assert_eq!(event["type"], "track", "the path says the type");
    assert_eq!(event["userId"], 7, "the id itself is not rewritten");
    assert_eq!((taken[0].user_id.as_deref(), taken[0].anonymous_id.as_deref()), (Some("7"), Some("a")));
    // The MD5 of "7:a" with the version and variant of a random UUID.
    assert_eq!(event["rudderId"], "6ff38820-cf40-46a4-8c42-1152820ef420");
    assert_ne!(event["messageId"], 42, "a messageId that is no string is replaced");
    assert_eq!(event["messageId"].as_str().map(str::len), Some(36));
    assert_eq!(event["request_ip"], "127.0.0.1");

    let body = r#"{"context":{"library":{"name":"lost"}},"integrations":{"All":false},"sentAt":"2026-11-23T00:00:00Z",
        "batch":[{"userId":"u","messageId":"  m1\u200b "},{"userId":"u"}]}"#;
    let taken = post(&gateway, "/v1/batch", &[("X-Forwarded-For", " 203.0.113.7 , 10.0.0.1")], body).await;
    assert_eq!(&*taken[0].message_id, "m1");
    for event in taken.iter().map(handed_on) {
        assert_eq!(event["request_ip"], "203.0.113.7");
        assert_eq!((&event["context"], &event["integrations"]), (&Value::Null, &Value::Null), "only the array of a batch is read");
        assert_eq!(event["sentAt"], event["receivedAt"]);
    }

    let body = r#"{"batch":[{"userId":"a"},{"userId":"b","request_ip":"198.51.100.9"},{"userId":"c"}]}"#;
    for event in post(&gateway, "/v1/batch", &[("X-Forwarded-For", "203.0.113.7")], body).await.iter().map(handed_on) {
        assert_eq!(event["request_ip"], "198.51.100.9", "the quirk: the last address an event brought is everybody's");
    }
}

#[tokio::test]
async fn a_timestamp_is_used_as_it_is() {
    let clock = Clock::system();
    let gateway =
        RudderStandin::start(Options { keys: vec![Key::enabled(KEY)], clock: clock.clone(), ..Options::default() }).await.unwrap();
    clock.advance_ms(WallTime::parse("2026-01-02T00:00:00Z").unwrap().millis_since(clock.now()));
    let table = [
        (r#"{"userId":"u","timestamp":"2025-12-31T22:00:00+01:00","sentAt":"2026-01-01T00:00:00Z"}"#, "2025-12-31T22:00:00.000+01:00"),
        (r#"{"userId":"u","timestamp":"1767225600000"}"#, "2026-01-01T00:00:00.000Z"),
    ];
    for (body, want) in table {
        let event = handed_on(&post(&gateway, "/v1/track", &[], body).await[0]);
        assert_eq!(event["timestamp"], want);
        assert_eq!(event["originalTimestamp"], event["receivedAt"], "without its own it is when the gateway got it");
    }
    let body =
        r#"{"userId":"u","originalTimestamp":"2026-01-01T00:00:00Z","sentAt":"2026-01-01T00:00:04Z","receivedAt":"1999-01-01T00:00:00Z"}"#;
    let taken = post(&gateway, "/v1/track", &[], body).await;
    let times = taken[0].times.as_deref().unwrap();
    assert_eq!(times.received_at, taken[0].at, "the event's own receivedAt is not believed");
    assert_eq!(times.timestamp, times.received_at.plus_millis(-4000));
    assert!(times.received_at.millis_since(WallTime::parse("2026-01-02T00:00:00Z").unwrap()) < 60_000, "by the stand-in's clock");
}

#[tokio::test]
async fn pixels_always_get_their_picture() {
    let gateway = gateway().await;
    let paths = [
        "/pixel/v1/track?writeKey=wk_test_rudder&anonymousId=%22a%22&event=Opened&properties.subject=Hello+you&context.page.path=%2Fx",
        "/pixel/v1/page?writeKey=wk_test_rudder&userId=u&name=",
        "/pixel/v1/track?writeKey=wk_test_rudder&userId=u&event=",
        "/pixel/v1/track?writeKey=wk_test_other&userId=u&event=E",
        "/pixel/v1/track?userId=u&event=E",
    ];
    for path in paths {
        let said = say(gateway.addr(), "GET", path, &[], b"").await;
        assert_eq!((said.status, said.header("content-type"), said.body.len()), (200, Some("image/gif"), 43), "{path}");
        assert!(said.body.starts_with(b"GIF89a"));
    }
    let taken = gateway.taken().events;
    let events: Vec<Value> = taken.iter().map(handed_on).collect();
    assert_eq!(events.len(), 2);
    assert_eq!((&events[0]["anonymousId"], &events[0]["properties"]["subject"]), (&"a".into(), &"Hello you".into()));
    assert_eq!((&events[0]["channel"], &events[0]["integrations"]["All"]), (&"web".into(), &true.into()));
    assert_eq!(events[0]["request_ip"], "", "only X-Forwarded-For is passed on");
    assert_eq!((&events[1]["type"], &events[1]["name"]), (&"page".into(), &"Unknown Page".into()));
}

#[tokio::test]
async fn the_rate_limit_says_no_more_than_it_must() {
    let gateway = gateway().await;
    gateway.faults().limit_events_per_second(Some(2));
    post(&gateway, "/v1/batch", &[], r#"{"batch":[{"userId":"a"},{"userId":"b"}]}"#).await;
    let said = say(gateway.addr(), "POST", "/v1/track", &[("Authorization", &basic(KEY))], br#"{"userId":"c"}"#).await;
    assert_eq!((said.status, said.text().as_str()), (429, "max requests limit reached\n"));
    assert_eq!((said.header("retry-after"), said.header("x-content-type-options")), (None, Some("nosniff")));
    let counts = gateway.counts();
    assert_eq!((counts.events, counts.distinct, counts.events_per_second_max), (2, 2, 2));
    gateway.faults().limit_events_per_second(None);
    post(&gateway, "/v1/track", &[], r#"{"userId":"c"}"#).await;
}

#[tokio::test]
async fn duplicates_are_counted_and_kept_as_the_gateway_has_no_deduplication() {
    let gateway = gateway().await;
    for _ in 0..3 {
        post(&gateway, "/v1/track", &[], r#"{"userId":"u","messageId":"m1"}"#).await;
    }
    let counts = gateway.counts();
    assert_eq!((counts.events, counts.distinct, counts.duplicates), (3, 1, 2));
    assert_eq!(gateway.taken().events.len(), 3);
}

#[tokio::test]
async fn a_poisoned_batch_is_refused_and_its_halves_are_not() {
    let gateway = gateway().await;
    let rule = gateway.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
    let auth = basic(KEY);
    let send = async |body: &str| {
        let said = say(gateway.addr(), "POST", "/v1/batch", &[("Authorization", &auth)], body.as_bytes()).await;
        (said.status, said.text())
    };
    let refused = (400, "event is not a valid rudder event\n".to_owned());
    assert_eq!(send(r#"{"batch":[{"userId":"u","event":"Fine"},{"userId":"u","event":"Poison"}]}"#).await, refused);
    assert_eq!(send(r#"{"batch":[{"userId":"u","event":"Fine"}]}"#).await, (200, "ok".to_owned()));
    assert_eq!(send(r#"{"batch":[{"userId":"u","event":"Poison"}]}"#).await, refused);
    assert_eq!(gateway.faults().struck(rule), 2);
    assert_eq!(gateway.counts().events, 1, "nothing of a refused batch is taken");
}

#[tokio::test]
async fn requests_are_written_down_with_their_headers() {
    let gateway = gateway().await;
    post(
        &gateway,
        "/v1/batch?x=1",
        &[("AnonymousId", "YQ=="), ("X-Retry-Count", "2"), ("User-Agent", "t/1")],
        r#"{"batch":[{"userId":"u"}]}"#,
    )
    .await;
    let said = say(gateway.addr(), "POST", "/v1/b", &[], b"{}").await;
    assert_eq!(said.status, 404);
    let taken = gateway.taken();
    let request = &taken.requests[0];
    assert_eq!(
        (request.id, request.method.as_str(), request.path.as_str(), request.status, request.events),
        (1, "POST", "/v1/batch?x=1", Some(200), 1)
    );
    assert_eq!(request.headers["anonymousid"], "YQ==");
    assert_eq!((request.headers["x-retry-count"].as_str(), request.headers["user-agent"].as_str()), ("2", "t/1"));
    assert_eq!(request.headers["authorization"], basic(KEY));
    assert_eq!((taken.requests[1].status, taken.requests[1].connection), (Some(404), 2));
    assert_eq!((taken.events[0].request, taken.events[0].connection, taken.events[0].sequence), (1, 1, 1));
}

#[tokio::test]
async fn faults_break_answers_in_every_way() {
    let gateway = gateway().await;
    let auth = basic(KEY);
    let bytes = request("POST", "/v1/track", &[("Authorization", &auth)], br#"{"userId":"u"}"#);
    // Fault, events taken, whether any byte of an answer comes, whether the connection is reset.
    let table = [
        (Fault::Close, 0, false, false),
        (Fault::Reset, 0, false, true),
        (Fault::TakeThenClose, 1, false, false),
        (Fault::CloseAfterHeaders, 1, true, false),
        (Fault::CutBody, 1, true, false),
    ];
    for (fault, events, answered, reset) in table {
        gateway.forget();
        gateway.faults().clear();
        gateway.faults().add(Rule::next(1, fault.clone()));
        let (got, end) = exchange(gateway.addr(), &bytes).await;
        assert_eq!(gateway.counts().events, events, "{fault:?}");
        assert_eq!(!got.is_empty(), answered, "{fault:?}: {:?}", String::from_utf8_lossy(&got));
        let was_reset = end.is_err_and(|problem| problem.kind() == std::io::ErrorKind::ConnectionReset);
        assert_eq!(was_reset, reset, "{fault:?}");
        if let Some(said) = Said::read(&got) {
            let length: usize = said.header("content-length").unwrap().parse().unwrap();
            assert!(said.status == 200 && said.body.len() < length, "{fault:?}");
        }
        assert_eq!(
            say(gateway.addr(), "POST", "/v1/track", &[("Authorization", &auth)], br#"{"userId":"u"}"#).await.status,
            200,
            "once only"
        );
    }
}

#[tokio::test]
async fn faults_keep_clients_waiting() {
    let gateway = gateway().await;
    let auth = basic(KEY);
    let bytes = request("POST", "/v1/track", &[("Authorization", &auth)], br#"{"userId":"u"}"#);
    for (fault, events) in [(Fault::Hang, 0), (Fault::TakeThenHang, 1)] {
        gateway.forget();
        let rule = gateway.faults().add(Rule::always(fault.clone()));
        let waiting = tokio::spawn({
            let (addr, bytes) = (gateway.addr(), bytes.clone());
            async move { exchange(addr, &bytes).await.0 }
        });
        gateway.wait_for(Duration::from_secs(5), |counts| counts.unanswered == 1).await.unwrap();
        assert!(!waiting.is_finished(), "{fault:?}");
        gateway.faults().lift(rule);
        assert_eq!(waiting.await.unwrap(), b"", "{fault:?}: let go without an answer");
        assert_eq!(gateway.counts().events, events, "{fault:?}");
    }
    gateway.faults().add(Rule::next(1, Fault::slow(Duration::from_millis(80))));
    let start = std::time::Instant::now();
    assert_eq!(Said::read(&exchange(gateway.addr(), &bytes).await.0).unwrap().status, 200);
    assert!(start.elapsed() >= Duration::from_millis(80));
    gateway.faults().add(Rule::next(1, Fault::WrongLength));
    let cut_off = tokio::time::timeout(Duration::from_millis(300), exchange(gateway.addr(), &bytes)).await;
    assert!(cut_off.is_err(), "the ten bytes more are waited for");
}

#[tokio::test]
async fn other_processes_set_faults_and_read_the_book() {
    let gateway = gateway().await;
    let addr = gateway.addr();
    let rule = br#"{"fault":{"status":{"status":503,"retry_after":"7"}},"times":1}"#;
    assert_eq!(say(addr, "POST", "/__standin/faults", &[], rule).await.text(), r#"{"id":1}"#);
    assert_eq!(say(addr, "POST", "/__standin/faults", &[], b"{}").await.status, 400);
    let auth = basic(KEY);
    let send = async |body: &[u8]| say(addr, "POST", "/v1/track", &[("Authorization", &auth)], body).await;
    let said = send(br#"{"userId":"u","messageId":"m1"}"#).await;
    assert_eq!((said.status, said.header("retry-after"), said.text().as_str()), (503, Some("7"), "Service Unavailable\n"));
    for id in ["m1", "m2"] {
        send(format!(r#"{{"userId":"u","messageId":"{id}"}}"#).as_bytes()).await;
    }
    let counts: Value = serde_json::from_slice(&say(addr, "GET", "/__standin/counts", &[], b"").await.body).unwrap();
    assert_eq!(
        (&counts["requests"], &counts["events"], &counts["distinct"], &counts["statuses"]["503"]),
        (&3.into(), &2.into(), &2.into(), &1.into())
    );
    let taken = say(addr, "GET", "/__standin/taken?since=1", &[], b"").await.text();
    let lines: Vec<Value> = taken.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (lines.len(), &lines[0]["message_id"], &lines[0]["verdict"], &lines[0]["sighting"]),
        (1, &"m2".into(), &"accepted".into(), &"first".into())
    );
    assert_eq!(say(addr, "GET", "/__standin/requests?since=2", &[], b"").await.text().lines().count(), 1);
    say(addr, "POST", "/__standin/faults", &[], br#"{"fault":{"redirect":{"status":307,"location":"/else"}}}"#).await;
    let said = send(b"{}").await;
    assert_eq!((said.status, said.header("location")), (307, Some("/else")));
    say(addr, "DELETE", "/__standin/faults/2", &[], b"").await;
    assert_eq!(send(b"{}").await.status, 400);
    say(addr, "DELETE", "/__standin/taken", &[], b"").await;
    assert_eq!(gateway.counts().requests, 0);
}

#[tokio::test]
async fn it_goes_away_and_comes_back_with_its_book() {
    let gateway = gateway().await;
    let addr = gateway.addr();
    post(&gateway, "/v1/track", &[], r#"{"userId":"u"}"#).await;
    gateway.pause().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
    gateway.resume().await.unwrap();
    post(&gateway, "/v1/track", &[], r#"{"userId":"u"}"#).await;
    assert_eq!(gateway.counts().events, 2);
    gateway.stop().await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}
