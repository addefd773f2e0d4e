//! Settings and scripts outlive Segment's faults, and a retired source outlives Segment (protocol.md 1.9, clients.md 4.8).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod process;
mod stage;
mod sums;

use std::{
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use http::StatusCode;
use segue::{
    standin::{Fault, Rule},
    upstream::Answer,
};
use serde_json::{Value, json};
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, ids, source};
use sums::Sums;

const DAY_MS: i64 = 24 * 3_600_000;

fn settings_path() -> String {
    format!("/v1/projects/{SEGMENT_KEY}/settings")
}

fn script_path() -> String {
    format!("/analytics.js/v1/{SEGMENT_KEY}/analytics.min.js")
}

const BUNDLE: &str = "/analytics-next/bundles/ajs-destination.bundle.abc.js";

async fn get(stage: &Stage, path: &str, host: &str) -> Answer {
    let headers = [("host", host), ("origin", "https://shop.example.com"), ("accept-encoding", "gzip, br")];
    stage.send(http::Method::GET, path, &headers, bytes::Bytes::new()).await
}

async fn stage_with_public_host(route: &str) -> Stage {
    Stage::with(|config| {
        config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, route)];
        config.ingress.public_host = Some("t.example.com".to_owned());
        config.ingress.limits.relay_timeout = Duration::from_millis(400);
    })
    .await
}

fn api_host(answer: &Answer) -> String {
    let settings: Value = serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{:?}", answer.body));
    settings["integrations"]["Segment.io"]["apiHost"].as_str().unwrap().to_owned()
}

/// Waits until so many pages are kept: no client waits for that.
async fn kept(stage: &Stage, count: usize) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let metrics = stage.metrics().await;
        if metrics.lines().any(|line| line == format!("segue_pages_kept {count}.0")) {
            return;
        }
        let said: Vec<&str> = metrics.lines().filter(|line| line.contains("segue_page")).collect();
        assert!(Instant::now() < deadline, "not {count} pages: {said:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn asked_of_segment(stage: &Stage) -> usize {
    stage.segment.taken().requests.len()
}

/// Runs `segue` against the stage's sidecar: its exit code and what it said.
async fn segue(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let mut command = process::command();
    command.args(arguments).arg("--attach").arg(stage.config.admin_socket().unwrap());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = format!("{}{}", String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    (output.status.code().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_scripts_are_the_last_good_ones_whatever_segments_cdn_says() {
    let mut stage = stage_with_public_host("both").await;
    let good = get(&stage, &settings_path(), "cdn.segment.com").await;
    assert_eq!((good.status, api_host(&good).as_str()), (StatusCode::OK, "t.example.com/v1"));
    for path in [&script_path(), BUNDLE] {
        assert_eq!(get(&stage, path, "cdn.segment.com").await.status, StatusCode::OK);
    }
    kept(&stage, 3).await;
    let paths = [settings_path(), script_path(), BUNDLE.to_owned()];
    let mut before = Vec::new();
    for path in &paths {
        before.push(get(&stage, path, "cdn.segment.com").await);
    }
    let login = Fault::Status { status: 200, retry_after: None, body: Some("<html>please log in</html>".to_owned()) };
    let statuses = [500, 503, 429, 401, 403, 404, 410].map(Fault::status);
    for fault in statuses.into_iter().chain([Fault::Hang, Fault::Close, Fault::Reset, login.clone()]) {
        let rule = stage.segment.faults().add(Rule::always(fault.clone()));
        for (path, before) in paths.iter().zip(&before) {
            // A login page instead of a script says so by its type only; the stand-in's has none.
            if fault == login && path != &paths[0] {
                continue;
            }
            let answer = get(&stage, path, "cdn.segment.com").await;
            assert_eq!((answer.status, &answer.body), (before.status, &before.body), "{fault:?} {path}");
            assert!(answer.headers.contains_key("access-control-allow-origin"), "{fault:?} {path}");
            assert_eq!(answer.headers["content-type"], before.headers["content-type"], "{fault:?} {path}");
        }
        stage.segment.faults().lift(rule);
    }
    // A phone asks the other host, and has it all the same; a path that was never served is nowhere.
    let rule = stage.segment.faults().add(Rule::always(Fault::status(503)));
    assert_eq!(get(&stage, &settings_path(), "cdn-settings.segment.com").await.body, good.body);
    assert_eq!(get(&stage, "/analytics-next/bundles/other.js", "cdn.segment.com").await.status, StatusCode::SERVICE_UNAVAILABLE);
    stage.segment.faults().lift(rule);
    // After a restart with Segment dead the pages are there at once.
    stage.restart().await;
    stage.segment.faults().add(Rule::always(Fault::Hang));
    let answer = get(&stage, &settings_path(), "cdn.segment.com").await;
    assert_eq!((answer.status, &answer.body), (StatusCode::OK, &good.body));
    let started = Instant::now();
    for path in &paths {
        assert_eq!(get(&stage, path, "cdn.segment.com").await.status, StatusCode::OK);
    }
    assert!(started.elapsed() < Duration::from_millis(400), "whoever comes next does not wait for a dead CDN");
    kept(&stage, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_forged_host_nor_a_strangers_key_leaves_anything_behind() {
    let stage = stage_with_public_host("both").await;
    for host in ["evil.example", "cdn.segment.com.evil.example", "CDN.SEGMENT.COM:443", "cdn.segment.com."] {
        let answer = get(&stage, &settings_path(), host).await;
        assert_eq!((answer.status, api_host(&answer).as_str()), (StatusCode::OK, "t.example.com/v1"), "{host}");
        assert!(!String::from_utf8_lossy(&answer.body).contains("evil"));
    }
    kept(&stage, 1).await;
    assert_eq!(get(&stage, "/v1/projects/wk_test_stranger/settings", "cdn.segment.com").await.status, StatusCode::NOT_FOUND);
    // Answers of a query's making are kept under the path alone.
    for query in ["?a=1", "?a=2", "?cb=https://evil.example"] {
        assert_eq!(get(&stage, &format!("{BUNDLE}{query}"), "cdn.segment.com").await.status, StatusCode::OK);
    }
    kept(&stage, 2).await;
    // A revalidation of what is not kept brings all of it; of what is kept, what Segment says.
    let answer = stage.send(http::Method::GET, &script_path(), &[("if-none-match", "\"x\"")], bytes::Bytes::new()).await;
    assert_eq!(answer.status, StatusCode::OK);
    kept(&stage, 3).await;
}

/// The checklist says what is open, and retiring waits for it; then Segment hears nothing more, and dies; a year later the same data
/// directory starts cold, and old apps neither notice nor lose anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_year_later_with_segment_dead_a_retired_source_still_delivers() {
    let mut stage = stage_with_public_host("both").await;
    let event = |id: &str| json!({"type": "track", "event": "E", "userId": "u", "messageId": id, "writeKey": SEGMENT_KEY}).to_string();
    stage.post("/v1/track", &event("before")).await;
    get(&stage, BUNDLE, "cdn.segment.com").await;
    stage.drained().await;

    let (code, said) = segue(&stage, &["source", "retire", "web", "--dry-run"]).await;
    assert!(code == 4 && said.contains("OPEN  route") && said.contains("segue route set web rudderstack-only"), "{code} {said}");
    let (code, said) = segue(&stage, &["source", "retire", "web", "--yes"]).await;
    assert!(code == 4 && said.contains("its route is both"), "{code} {said}");
    assert_eq!(segue(&stage, &["route", "set", "web", "rudderstack-only", "--yes"]).await.0, 0);
    let (code, said) = segue(&stage, &["source", "retire", "web", "--yes", "--reason", "contract ended"]).await;
    assert!(code == 0 && said.contains("web is retired since") && said.contains("In Segment, disable the source"), "{code} {said}");
    // Its settings from both hosts and its script, which nobody had asked for, and the bundle.
    kept(&stage, 4).await;

    let (_, said) = segue(&stage, &["status"]).await;
    assert!(said.contains("retired     web, since"), "{said}");
    let asked = asked_of_segment(&stage);
    let (code, said) = segue(&stage, &["route", "set", "web", "both", "--yes"]).await;
    assert!(code == 4 && said.contains("web is retired") && said.contains("segue source unretire web"), "{code} {said}");
    assert_ne!(segue(&stage, &["route", "undo", "--source", "web", "--yes"]).await.0, 0);
    everything_is_served(&stage, "retired").await;
    assert_eq!(asked_of_segment(&stage), asked, "Segment is not contacted");

    // A year later: another process, everybody's clock, no Segment.
    stage.sidecar.take().unwrap().stop().await;
    stage.clock.advance_ms(365 * DAY_MS);
    stage.segment.faults().add(Rule::always(Fault::Reset));
    stage.start().await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    everything_is_served(&stage, "a year later").await;
    // Even the switch that sends everything to Segment has nowhere to send this.
    assert_eq!(segue(&stage, &["kill", "on"]).await.0, 0);
    stage.post("/v1/track", &event("killed")).await;
    assert_eq!(segue(&stage, &["kill", "off", "--yes"]).await.0, 0);
    stage.drained().await;
    let arrived = ids(&stage.rudder_events());
    assert!(["before", "retired", "a year later", "killed"].iter().all(|id| arrived.contains(*id)), "{arrived:?}");
    assert_eq!(asked_of_segment(&stage), asked);
    sums.held().await;

    let (code, said) = segue(&stage, &["source", "unretire", "web", "--yes"]).await;
    assert!(code == 0 && said.contains("not retired any more"), "{code} {said}");
    let (code, said) = segue(&stage, &["route", "set", "web", "both", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    let (_, history) = segue(&stage, &["route", "history"]).await;
    assert!(history.contains("unretire") && history.contains("contract ended"), "{history}");
}

/// All that an old app asks for: settings, script, bundle, metrics, events in a body that cannot be read and in one that can.
async fn everything_is_served(stage: &Stage, id: &str) {
    for host in ["cdn.segment.com", "cdn-settings.segment.com"] {
        let settings = get(stage, &settings_path(), host).await;
        assert_eq!((settings.status, api_host(&settings).as_str()), (StatusCode::OK, "t.example.com/v1"));
    }
    for path in [&script_path(), BUNDLE] {
        let answer = get(stage, path, "cdn.segment.com").await;
        assert!(answer.status == StatusCode::OK && String::from_utf8_lossy(&answer.body).contains(path), "{path}");
    }
    assert_eq!(get(stage, "/analytics-next/bundles/never-seen.js", "cdn.segment.com").await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(stage, "/v9/what-is-this", "api.segment.io").await.status, StatusCode::NOT_FOUND);
    assert_eq!(stage.post("/v1/m", r#"{"series":[]}"#).await.status, StatusCode::OK);
    let basic = format!("Basic {}", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{SEGMENT_KEY}:")));
    let unreadable = stage.send(http::Method::POST, "/v1/track", &[("authorization", &basic)], "{\"event\":".into()).await;
    assert_eq!(unreadable.status, StatusCode::BAD_REQUEST);
    let event = json!({"type": "track", "event": "E", "userId": "u", "messageId": id, "writeKey": SEGMENT_KEY}).to_string();
    assert_eq!(stage.post("/v1/track", &event).await.status, StatusCode::OK);
}

/// A flip of one source retires no other, and a source without a RudderStack key cannot be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_sources_go_on_with_segment() {
    const OTHER: &str = "wk_test_segment_other_cccccccccc";
    let stage = Stage::with(|config| {
        let mut other = source("ios", OTHER, RUDDER_KEY, "segment-only");
        other.rudderstack_key = None;
        config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, "rudderstack-only"), other];
    })
    .await;
    assert_eq!(segue(&stage, &["source", "retire", "web", "--yes"]).await.0, 0);
    let (code, said) = segue(&stage, &["source", "retire", "ios", "--force", "--yes"]).await;
    assert!(code != 0 && said.contains("ios has no rudderstack_write_key"), "{code} {said}");
    let (code, said) = segue(&stage, &["source", "retire", "nobody", "--yes"]).await;
    assert!(code != 0 && said.contains("there is no source"), "{code} {said}");
    let asked = asked_of_segment(&stage);
    for (key, id) in [(SEGMENT_KEY, "web-1"), (OTHER, "ios-1")] {
        let event = json!({"type": "track", "event": "E", "userId": "u", "messageId": id, "writeKey": key}).to_string();
        assert_eq!(stage.post("/v1/track", &event).await.status, StatusCode::OK);
        assert_eq!(get(&stage, &format!("/v1/projects/{key}/settings"), "cdn.segment.com").await.status, StatusCode::OK);
    }
    stage.drained().await;
    assert_eq!(ids(&stage.segment_events()).into_iter().collect::<Vec<_>>(), ["ios-1"]);
    // One event and one look at settings, of the one that is not retired.
    assert_eq!(asked_of_segment(&stage), asked + 2);
    let pages = std::fs::read_dir(stage.dir.path().join("data/pages")).unwrap();
    for page in pages {
        assert_eq!(page.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

/// Apps that take their settings here and send their events elsewhere are told of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_lead_apps_past_segue_are_found() {
    let stage = Stage::with_route("both").await;
    for _ in 0..3 {
        get(&stage, &settings_path(), "cdn.segment.com").await;
        stage.clock.advance_ms(5 * 60_000);
    }
    assert!(stage.metrics().await.contains("segue_settings_leak{source=\"web\"} 1"));
    let (_, said) = segue(&stage, &["source", "retire", "web", "--dry-run"]).await;
    assert!(said.contains("OPEN  leak") && said.contains("public_host") && said.contains("its settings send events to"), "{said}");
    let (_, said) = segue(&stage, &["status"]).await;
    assert!(said.contains("settings are fetched here") && said.contains("web"), "{said}");
    stage.post("/v1/track", &json!({"event": "E", "userId": "u", "writeKey": SEGMENT_KEY}).to_string()).await;
    assert!(stage.metrics().await.contains("segue_settings_leak{source=\"web\"} 0"));
}
