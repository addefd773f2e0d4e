//! Segment's webhook as a way in (protocol.md 4.1 to 4.3, T29): what Segment passes on goes to RudderStack, once, with its times as they
//! are, and nothing of it is lost.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod stage;
mod sums;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderValue, Method};
use segue::{
    config::Config,
    journal::{LaneId, Ledger, Pick, QuarantineId},
    model::{Destination, Secret, SourceId, WallTime},
    upstream::{self, Answer, Call, Upstream},
};
use sha1::Sha1;
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, source};
use sums::Sums;

const SECRET: &str = "wk_test_hook_signature";
const OLD_SECRET: &str = "wk_test_hook_before";

fn hooked(route: &'static str) -> impl FnOnce(&mut Config) {
    move |config| {
        config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, route)];
        config.ingress.hooks.listen = Some(([127, 0, 0, 1], 0).into());
        config.ingress.hooks.segment_secrets = vec![Secret::new(SECRET.to_owned()), Secret::new(OLD_SECRET.to_owned())];
    }
}

fn signature(secret: &str, signed: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let digits = |digits: String, byte: &u8| digits + &format!("{byte:02x}");
    mac.finalize().into_bytes().iter().fold(String::new(), digits)
}

async fn post_with(stage: &Stage, path: &str, signature: Option<&str>, body: &str) -> Answer {
    let address = stage.sidecar().hooks_address().unwrap();
    let vendor = Upstream::new(&upstream::Settings { url: format!("http://{address}"), ..upstream::Settings::default() }).unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("user-agent", HeaderValue::from_static("Segment.io/1.0"));
    if let Some(signature) = signature {
        headers.insert("x-signature", HeaderValue::from_str(signature).unwrap());
    }
    let call = Call { method: Method::POST, path: path.to_owned(), headers, body: Bytes::copy_from_slice(body.as_bytes()) };
    vendor.send(call).await.unwrap()
}

async fn post(stage: &Stage, body: &str) -> u16 {
    post_with(stage, "/hooks/segment/web", Some(&signature(SECRET, body)), body).await.status.as_u16()
}

/// As Segment passes an event on (protocol.md 4.3).
fn passed_on(id: &str) -> String {
    format!(
        r#"{{"anonymousId":"ann","channel":"client","context":{{"ip":"203.0.113.9","library":{{"name":"analytics-android","version":"4.8"}}}},"event":"Step","integrations":{{"Customer.io":false}},"messageId":"{id}","metadata":{{"bundled":[]}},"originalTimestamp":"2026-11-20T08:00:05.000Z","projectId":"p1","properties":{{"big":9007199254740993}},"receivedAt":"2026-11-20T09:00:00.000Z","sentAt":"2026-11-20T08:00:06.000Z","timestamp":"2026-11-20T08:59:59.000Z","type":"track","userId":null,"version":2,"writeKey":"{SEGMENT_KEY}"}}"#
    )
}

fn ledger(stage: &Stage) -> Ledger {
    let rows = stage.sidecar().ledger();
    rows.into_iter().find(|(lane, _)| lane.destination == Destination::RudderStack).map(|(_, ledger)| ledger).unwrap_or_default()
}

async fn reasons(stage: &Stage) -> Vec<String> {
    let lane = LaneId { source: SourceId::parse("web").unwrap(), destination: Destination::RudderStack };
    stage.sidecar().journal().quarantined(&lane).await.unwrap().into_iter().map(|entry| entry.reason).collect()
}

#[tokio::test]
async fn what_segment_passes_on_goes_to_rudderstack_with_its_times_as_they_are() {
    let stage = Stage::with(hooked("both")).await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    assert_eq!(post(&stage, &passed_on("w-1")).await, 200);
    stage.drained().await;
    assert_eq!(stage.segment_events().len(), 0, "Segment has it already");
    let [seen] = stage.sidecar().census().report(None, WallTime::from_millis(0)).versions.try_into().unwrap();
    assert_eq!((seen.events, seen.by_webhook, seen.webhook_at), (1, 1, Some(seen.last_at)), "the census knows how it came");
    assert_eq!(seen.maker.unwrap().library.as_deref(), Some("analytics-android"));
    let [event] = &stage.rudder_events()[..] else { panic!("{:?}", stage.rudder_events()) };
    let sent: serde_json::Value = serde_json::from_str(event.json.as_deref().unwrap()).unwrap();
    assert_eq!(sent["timestamp"], "2026-11-20T08:59:59.000Z");
    assert_eq!(sent["originalTimestamp"], "2026-11-20T08:00:05.000Z");
    assert_eq!(sent["sentAt"], "2026-11-20T08:00:06.000Z");
    assert_eq!(sent["context"]["ip"], "203.0.113.9");
    assert_eq!(sent["integrations"], serde_json::json!({ "Customer IO": false, "Salesforce": false }));
    assert!(event.json.as_deref().unwrap().contains("9007199254740993"));
    for gone in ["channel", "metadata", "projectId", "receivedAt", "version", "writeKey", "userId"] {
        assert!(sent.get(gone).is_none(), "{gone} is Segment's own");
    }
    let metrics = stage.metrics().await;
    assert!(metrics.contains(r#"segue_hook_requests_total{result="taken"} 1"#), "{metrics}");
    assert!(metrics.contains(r#"segue_events_by_webhook_total{source="web"} 1"#), "{metrics}");
    sums.held().await;
}

#[tokio::test]
async fn only_what_is_signed_is_taken_by_any_of_the_secrets() {
    let stage = Stage::with(hooked("both")).await;
    let body = passed_on("w-1");
    let wrong = signature("wk_test_another", &body);
    for given in [None, Some(wrong.as_str()), Some("zz"), Some("")] {
        assert_eq!(post_with(&stage, "/hooks/segment/web", given, &body).await.status, 401, "{given:?}");
    }
    let of_another_body = signature(SECRET, &passed_on("w-2"));
    assert_eq!(post_with(&stage, "/hooks/segment/web", Some(&of_another_body), &body).await.status, 401);
    assert_eq!(ledger(&stage).planned, 0);
    let before = signature(OLD_SECRET, &body);
    assert_eq!(post_with(&stage, "/hooks/segment/web/", Some(&before), &body).await.status, 200, "while it is rotated, and with a slash");
    for path in ["/hooks/segment/nobody", "/hooks/rudderstack/web", "/tap/rudderstack/guess/web", "/v1/batch", "/"] {
        assert_eq!(post_with(&stage, path, Some(&before), &body).await.status, 404, "{path}");
    }
    stage.drained().await;
    assert_eq!(stage.rudder_events().len(), 1);
}

#[tokio::test]
async fn an_event_goes_once_whichever_way_it_came_first() {
    let stage = Stage::with(hooked("both")).await;
    let direct = |id: &str| format!(r#"{{"event":"Step","anonymousId":"ann","messageId":"{id}","writeKey":"{SEGMENT_KEY}"}}"#);
    assert_eq!(stage.post("/v1/track", &direct("w-1")).await.status, 200);
    stage.drained().await;
    assert_eq!(post(&stage, &passed_on("w-1")).await, 200);
    assert_eq!(post(&stage, &passed_on("w-2")).await, 200);
    assert_eq!(post(&stage, &passed_on("w-2")).await, 200, "Segment sends again what it has no answer to");
    stage.drained().await;
    assert_eq!(stage.post("/v1/track", &direct("w-2")).await.status, 200);
    stage.drained().await;
    let ids: Vec<_> = stage.rudder_events().iter().map(|event| event.message_id.to_string()).collect();
    assert_eq!(ids, ["w-1", "w-2"]);
    let row = ledger(&stage);
    assert_eq!((row.planned, row.delivered, row.deduplicated), (5, 2, 3));
}

#[tokio::test]
async fn the_route_says_whose_events_go() {
    let stage = Stage::with(hooked("segment-only")).await;
    assert_eq!(post(&stage, &passed_on("w-1")).await, 200, "it is not RudderStack's, and is not to come again");
    stage.drained().await;
    assert_eq!((ledger(&stage).planned, stage.rudder_events().len()), (0, 0));
}

#[tokio::test]
async fn arrays_come_again_until_they_are_allowed() {
    let (first, second) = (passed_on("w-1"), passed_on("w-2"));
    let array = format!("[{first}, {second}]");
    let signed = signature(SECRET, &first);
    let stage = Stage::with(hooked("both")).await;
    let answer = post_with(&stage, "/hooks/segment/web", Some(&signed), &array).await;
    assert_eq!((answer.status.as_u16(), answer.headers.contains_key("retry-after")), (503, true), "what is answered 4xx is lost");
    assert_eq!(ledger(&stage).planned, 0);
    let allowed = |config: &mut Config| {
        hooked("both")(config);
        config.ingress.hooks.allow_arrays = true;
    };
    let stage = Stage::with(allowed).await;
    assert_eq!(post_with(&stage, "/hooks/segment/web", Some(&signature(SECRET, &array)), &array).await.status, 401);
    assert_eq!(post_with(&stage, "/hooks/segment/web", Some(&signed), &array).await.status, 200);
    stage.drained().await;
    assert_eq!(stage.rudder_events().len(), 2);
}

#[tokio::test]
async fn what_is_no_event_is_kept_with_the_reason() {
    let stage = Stage::with(hooked("both")).await;
    for body in [r#"{"type":"delete","userId":"u1","timestamp":"2026-11-20T08:00:00.000Z"}"#, r#"{"type":"track","event":"#, r#""text""#] {
        assert_eq!(post(&stage, body).await, 200, "{body}");
    }
    assert_eq!(post(&stage, r#"{"type":"track","event":"Of nobody","messageId":"n-1"}"#).await, 200);
    assert_eq!(post(&stage, &passed_on("w-1")).await, 200);
    stage.drained().await;
    let mut reasons = reasons(&stage).await;
    reasons.sort();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert!(reasons[0].starts_with("Segment deleted this user"), "{reasons:?}");
    assert!(reasons[1].contains("neither has anonymousId nor userId"), "{reasons:?}");
    assert!(reasons[2..].iter().all(|reason| reason.contains("cannot be read")), "{reasons:?}");
    assert_eq!(stage.rudder_events().len(), 1, "the one that is an event");
    let pick = Pick { source: Some(SourceId::parse("web").unwrap()), ..Pick::default() };
    assert_eq!(stage.sidecar().journal().quarantine(&pick, QuarantineId::default(), 10).len(), 4);
}

#[tokio::test]
async fn a_restart_sends_what_waits_as_it_was() {
    let mut stage = Stage::with(hooked("both")).await;
    stage.rudder.pause().await;
    assert_eq!(post(&stage, &passed_on("w-1")).await, 200);
    stage.restart().await;
    stage.rudder.resume().await.unwrap();
    stage.drained().await;
    let [event] = &stage.rudder_events()[..] else { panic!("{:?}", stage.rudder_events()) };
    assert!(event.json.as_deref().unwrap().contains(r#""timestamp":"2026-11-20T08:59:59.000Z""#));
}
