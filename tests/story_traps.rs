//! The twenty ways in which an SDK loses data, loops or kills its app on an answer that Segment never gives (clients.md 4).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;

use bytes::Bytes;
use http::Method;
use segue::standin::{Fault, Rule};
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, ids, source};

fn track(id: &str) -> String {
    format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","writeKey":"{SEGMENT_KEY}"}}"#)
}

fn basic(key: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(key))
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_01_success_is_exactly_200_with_a_json_object() {
    let stage = Stage::with_route("both").await;
    for path in ["/v1/track", "/v1/t", "/v1/t/"] {
        let answer = stage.post(path, &track(path)).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &br#"{"success":true}"#[..]), "{path}");
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_02_a_redirect_never_reaches_a_client() {
    let stage = Stage::with_route("both").await;
    stage.segment.faults().add(Rule::always(Fault::status(302)));
    let answer = stage.post("/v1/track", r#"{"writeKey":"wk_test_nobody","event":"E"}"#).await;
    assert_eq!(answer.status.as_u16(), 429);
    assert!(answer.headers.contains_key("retry-after") && answer.headers.contains_key("x-ratelimit-reset"));
    for path in ["/v1/import", "/v1/import/"] {
        let body = format!(r#"{{"batch":[{}]}}"#, track(path));
        assert_eq!(stage.post(path, &body).await.status, 200, "a slash at the end is no reason to send a client elsewhere");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_03_an_unknown_key_and_an_unknown_path_hear_segment() {
    let stage = Stage::with_route("both").await;
    let answer = stage.post("/v1/track", r#"{"writeKey":"wk_test_nobody","event":"E","userId":"u"}"#).await;
    assert_eq!(answer.status, 200);
    let direct = stage::plain_client(&stage.segment.url());
    let call = || segue::upstream::Call {
        method: Method::POST,
        path: "/v1/nothing".into(),
        headers: http::HeaderMap::new(),
        body: Bytes::from_static(b"{}"),
    };
    let (ours, theirs) = (stage.client.send(call()).await.unwrap(), direct.send(call()).await.unwrap());
    assert_eq!((ours.status, ours.body), (theirs.status, theirs.body), "Segment's own words, unchanged");
    assert_eq!(stage.sidecar().ledger().iter().map(|(_, ledger)| ledger.planned).sum::<u64>(), 0, "nothing of it was kept");
    assert!(stage.metrics().await.contains("segue_unknown_write_keys_total 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_04_the_answer_waits_for_neither_side() {
    let stage = Stage::with_route("both").await;
    stage.segment.faults().add(Rule::always(Fault::Hang));
    stage.rudder.faults().add(Rule::always(Fault::Hang));
    let started = std::time::Instant::now();
    assert_eq!(stage.post("/v1/track", &track("m")).await.status, 200);
    assert!(started.elapsed() < std::time::Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_05_the_key_is_found_wherever_it_stands() {
    let stage = Stage::with_route("both").await;
    let bare = |id: &str| format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}"}}"#);
    let colon = basic(&format!("{SEGMENT_KEY}:"));
    let no_colon = basic(SEGMENT_KEY);
    let garbage = basic("[object Object]:");
    let query = format!("/v1/track?writeKey={SEGMENT_KEY}");
    let in_item = format!(r#"{{"batch":[{}]}}"#, track("item"));
    let table: [(&str, Option<&str>, String); 6] = [
        ("/v1/track", Some(&colon), bare("colon")),
        ("/v1/track", Some(&no_colon), bare("bare")),
        ("/v1/track", None, track("body")),
        ("/v1/b", None, in_item),
        (&query, None, bare("query")),
        ("/v1/track", Some(&garbage), track("garbage")),
    ];
    for (path, authorization, body) in table {
        let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", *value)).collect();
        assert_eq!(stage.send(Method::POST, path, &headers, Bytes::from(body)).await.status, 200);
    }
    stage.drained().await;
    let want = ["bare", "body", "colon", "garbage", "item", "query"].map(str::to_owned).into();
    assert_eq!(ids(&stage.rudder_events()), want);
    assert!(stage.rudder_events().iter().all(|event| &*event.source == RUDDER_KEY), "under the key of RudderStack, never Segment's");
    // At Segment each arrives as it came, so the two that name no key in the body need their Basic or their query.
    assert_eq!(ids(&stage.segment_events()), want);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_06_a_page_may_send_and_read() {
    let stage = Stage::with_route("both").await;
    let asked = [
        ("origin", "https://shop.example.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,x-retry-count"),
    ];
    let preflight = stage.send(Method::OPTIONS, "/v1/t", &asked, Bytes::new()).await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.headers["access-control-allow-origin"], "https://shop.example.com");
    assert!(preflight.headers["access-control-allow-headers"].to_str().unwrap().contains("x-retry-count"));
    assert!(preflight.headers.contains_key("access-control-max-age"));
    stage.segment.faults().add(Rule::always(Fault::status(503)));
    for (path, body) in [("/v1/t", track("m")), ("/v1/t", "{broken".to_owned())] {
        let answer = stage
            .send(Method::POST, path, &[("origin", "https://shop.example.com"), ("content-type", "text/plain")], Bytes::from(body))
            .await;
        assert_eq!(answer.headers["access-control-allow-origin"], "https://shop.example.com", "on every answer, errors included");
        assert!(answer.headers["access-control-expose-headers"].to_str().unwrap().contains("Retry-After"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_08_settings_come_back_whole_and_point_here_only_when_told() {
    let settings = format!("/v1/projects/{SEGMENT_KEY}/settings");
    let plain = Stage::with_route("both").await;
    let direct = stage::plain_client(&plain.segment.url());
    let call =
        || segue::upstream::Call { method: Method::GET, path: settings.clone(), headers: http::HeaderMap::new(), body: Bytes::new() };
    assert_eq!(plain.client.send(call()).await.unwrap().body, direct.send(call()).await.unwrap().body);
    let pointed = Stage::with(|config| config.ingress.public_host = Some("t.example.com".into())).await;
    let answer =
        pointed.send(Method::GET, &settings, &[("host", "evil.example.com"), ("origin", "https://shop.example.com")], Bytes::new()).await;
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(body["integrations"]["Segment.io"]["apiHost"], "t.example.com/v1");
    assert!(answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_09_content_types_mean_nothing_and_broken_bodies_are_segments_to_judge() {
    let stage = Stage::with_route("both").await;
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-8", "image/png"] {
        let answer = stage.send(Method::POST, "/v1/t", &[("content-type", content_type)], Bytes::from(track(content_type))).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(stage.send(Method::POST, "/v1/t", &[], Bytes::from(track("none"))).await.status, 200);
    stage.drained().await;
    assert_eq!(stage.rudder_events().len(), 5);
    let broken = stage.post("/v1/batch", r#"{"batch":[{"a\ b"#).await;
    assert_eq!(broken.status, 400, "Segment's own answer");
    assert_eq!(&broken.body[..], br#"{"success":false,"message":"malformed JSON","code":"invalid_request"}"#);
    let deflated = stage.send(Method::POST, "/v1/t", &[("content-encoding", "br")], Bytes::from_static(b"\x0b\x02\x80{}\x03")).await;
    assert_eq!(deflated.status, 400, "Segment's own answer");
    assert!(stage.metrics().await.contains("segue_unreadable_bodies_total 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_10_segment_gets_the_clients_own_bytes() {
    let stage = Stage::with_route("both").await;
    let body = format!(
        "{{\"writeKey\":\"{SEGMENT_KEY}\", \"n\":9007199254740993,\"n\":1e+21,\"type\":\"track\",\"event\":\"\u{2028}\",\"anonymousId\":null,\"userId\":\"u\",\"messageId\":\"m\" ,\"sentAt\":\"2026-01-01T00:00:00.000Z\"}}"
    );
    stage.post("/v1/track", &body).await;
    stage.drained().await;
    assert_eq!(stage.segment_events()[0].json.as_deref(), Some(body.as_str()));
    let copy = stage.rudder_events()[0].json.clone().unwrap();
    assert!(copy.contains("\"n\":1e+21") && !copy.contains("9007199254740993"), "of repeats the last, its text unchanged: {copy}");
    assert!(!copy.contains("writeKey") && !copy.contains("\"anonymousId\":null"), "{copy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_11_an_event_without_an_id_has_one_and_the_same_at_both() {
    let stage = Stage::with_route("both").await;
    stage.post("/v1/track", &format!(r#"{{"event":"E","userId":"u","writeKey":"{SEGMENT_KEY}"}}"#)).await;
    stage.post("/v1/batch", &format!(r#"{{"batch":[{{"type":"track","event":"E","userId":"u"}},{{"type":"track","event":"E","userId":"u","messageId":""}}],"writeKey":"{SEGMENT_KEY}"}}"#)).await;
    stage.drained().await;
    let (at_segment, at_rudder) = (ids(&stage.segment_events()), ids(&stage.rudder_events()));
    assert_eq!(at_segment.len(), 3);
    assert_eq!(at_segment, at_rudder);
    assert!(at_segment.iter().all(|id| id.starts_with("segue-")));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_12_what_a_batch_says_of_all_its_events_reaches_each() {
    let stage = Stage::with_route("both").await;
    let body = format!(
        r#"{{"batch":[{{"type":"track","event":"E","userId":"u","messageId":"m"}}],"context":{{"library":{{"name":"analytics-java"}}}},"writeKey":"{SEGMENT_KEY}","sequence":1}}"#
    );
    stage.post("/v1/import/", &body).await;
    stage.drained().await;
    let copy: serde_json::Value = serde_json::from_str(stage.rudder_events()[0].json.as_deref().unwrap()).unwrap();
    assert_eq!(copy["context"]["library"]["name"], "analytics-java");
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_14_what_speaks_of_retries_passes_both_ways() {
    let stage = Stage::with_route("both").await;
    stage
        .send(Method::POST, "/v1/track", &[("x-retry-count", "3"), ("user-agent", "analytics-node-next/latest")], Bytes::from(track("m")))
        .await;
    stage.drained().await;
    let requests = stage.segment.taken().requests;
    assert_eq!(requests[0].headers["x-retry-count"], "3");
    assert_eq!(requests[0].headers["user-agent"], "analytics-node-next/latest");
    stage.segment.faults().add(Rule::always(Fault::status_retry_after(429, "7")));
    let relayed = stage.post("/v1/track", r#"{"writeKey":"wk_test_nobody"}"#).await;
    assert_eq!((relayed.status.as_u16(), &relayed.headers["retry-after"]), (429, &http::HeaderValue::from_static("7")));
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_15_large_bodies_hear_segment_and_still_reach_rudderstack() {
    let stage = Stage::with_route("both").await;
    let batch = |count: usize, pad: usize| {
        let items: Vec<String> = (0..count)
            .map(|n| format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"big-{count}-{n}","pad":"{}"}}"#, "x".repeat(pad)))
            .collect();
        format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, items.join(","))
    };
    assert_eq!(stage.post("/v1/batch", &batch(16, 30_000)).await.status, 200, "499 kB, as SDKs send");
    let large = stage.post("/v1/batch", &batch(30, 30_000)).await;
    assert_eq!(large.status, 400, "Segment's own answer to 900 kB");
    assert_eq!(stage.post("/v1/batch", &batch(300, 30_000)).await.status, 400, "9 MB is above everybody's limit");
    stage.drained().await;
    assert_eq!(stage.rudder_events().len(), 46);
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_17_a_stop_answers_what_is_in_flight() {
    let mut stage = Stage::with_route("both").await;
    let client = stage.client.clone();
    let sent = tokio::spawn(async move {
        let mut answered = 0;
        for n in 0..10_000 {
            let body = Bytes::from(track(&format!("m-{n}")));
            let call = segue::upstream::Call { method: Method::POST, path: "/v1/track".into(), headers: http::HeaderMap::new(), body };
            match client.send(call).await {
                Ok(answer) => {
                    assert_eq!(answer.status, 200);
                    answered += 1;
                }
                Err(_) => break,
            }
        }
        answered
    });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    stage.sidecar.take().unwrap().stop().await;
    let answered = sent.await.unwrap();
    assert!(answered > 0);
    let sidecar = segue::app::Sidecar::start_with(stage.config.clone(), stage.clock.clone()).await.unwrap();
    stage.sidecar = Some(sidecar);
    stage.drained().await;
    assert!(ids(&stage.rudder_events()).len() >= answered, "{} of {answered}", ids(&stage.rudder_events()).len());
}

#[tokio::test(flavor = "multi_thread")]
async fn trap_19_the_clients_address_reaches_both() {
    let stage = Stage::with(|config| config.ingress.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]).await;
    stage.send(Method::POST, "/v1/t", &[("x-forwarded-for", "203.0.113.7")], Bytes::from(track("client"))).await;
    stage.send(Method::POST, "/v1/track", &[("x-forwarded-for", "203.0.113.7")], Bytes::from(track("server"))).await;
    stage.drained().await;
    for events in [stage.segment_events(), stage.rudder_events()] {
        for event in events {
            let json: serde_json::Value = serde_json::from_str(event.json.as_deref().unwrap()).unwrap();
            let want = if &*event.message_id == "client" { serde_json::json!("203.0.113.7") } else { serde_json::Value::Null };
            assert_eq!(json["context"]["ip"], want, "{}", event.message_id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pixels_get_their_picture_and_both_sides_their_event() {
    let stage = Stage::with_route("both").await;
    let flat = format!("/v1/pixel/track?writeKey={SEGMENT_KEY}&userId=u&event=Opened&properties.subject=x&messageId=flat");
    for path in [flat.as_str(), "/v1/pixel/track", "/v1/pixel/track?data=nonsense"] {
        let answer = stage.send(Method::GET, path, &[], Bytes::new()).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (200, &http::HeaderValue::from_static("image/gif")),
            "{path}"
        );
    }
    stage.drained().await;
    assert!(ids(&stage.segment_events()).contains("flat") && ids(&stage.rudder_events()).contains("flat"));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_of_the_sdk_are_segments_alone() {
    let stage = Stage::with_route("both").await;
    assert_eq!(stage.post("/v1/m", r#"{"series":[]}"#).await.status, 200);
    assert_eq!(stage.segment.counts().requests, 1);
    let moved = Stage::with(|config| config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, "rudderstack-only")]).await;
    assert_eq!(moved.post("/v1/m", r#"{"series":[]}"#).await.status, 200);
    assert_eq!((moved.segment.counts().requests, moved.rudder.counts().requests), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_passes_and_is_never_kept() {
    let stage = Stage::with_route("both").await;
    let canary = "Bearer canary.jwt.token";
    let body = Bytes::from(format!(r#"{{"event":"E","userId":"u","writeKey":"{SEGMENT_KEY}","type":"track"}}"#));
    let answer = stage.send(Method::POST, "/v1/track", &[("authorization", canary)], body).await;
    assert_eq!(answer.status, 200);
    stage.drained().await;
    assert_eq!(ids(&stage.segment_events()), ids(&stage.rudder_events()));
    assert_eq!(stage.segment.taken().requests[0].headers["authorization"], canary);
    for entry in std::fs::read_dir(stage.dir.path().join("data")).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_type().unwrap().is_file() {
            continue;
        }
        let bytes = std::fs::read(entry.path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains("canary.jwt"), "the token rests on disk");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sidecars_live_in_one_process() {
    let (one, two) = (Stage::with_route("both").await, Stage::with_route("rudderstack-only").await);
    one.post("/v1/track", &track("one")).await;
    two.post("/v1/track", &track("two")).await;
    one.drained().await;
    two.drained().await;
    assert_eq!((ids(&one.segment_events()), ids(&one.rudder_events())), (["one".to_owned()].into(), ["one".to_owned()].into()));
    assert_eq!((ids(&two.segment_events()), ids(&two.rudder_events())), ([].into(), ["two".to_owned()].into()));
}
