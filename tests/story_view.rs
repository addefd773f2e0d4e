//! What a dashboard is told besides routes and lanes: series, percentiles, versions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod operator;
mod process;
mod sums;

use std::time::Duration;

use operator::{SEGMENT_KEY, Scene, ask, request};
use process::seed;
use segue::standin::{Fault, Rule};
use serde_json::Value;

async fn get(scene: &Scene, path: &str) -> (u16, Value) {
    let answer = ask(scene, request("GET", path, "").as_bytes()).await;
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap())
}

fn sum(line: &Value) -> f64 {
    line.as_array().unwrap().iter().map(|step| step.as_f64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_and_went_is_kept_in_windows() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    for n in 0..60 {
        scene.post(&format!("e-{n}"), "Order").await;
    }
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let (status, series) = get(&scene, "/v1/series?window=1m&each=true").await;
    assert_eq!((status, &series["step_seconds"]), (200, &Value::from(1)), "{series}");
    for line in ["received", "segment", "rudderstack"] {
        assert!((sum(&series["all"][line]) - 60.0).abs() < 1.0, "{line}: {series}");
        assert!((sum(&series["sources"][0][line]) - 60.0).abs() < 1.0, "{line}: {series}");
    }
    let (_, of_source) = get(&scene, "/v1/series?window=1m&source=web").await;
    assert!((sum(&of_source["all"]["received"]) - 60.0).abs() < 1.0, "{of_source}");
    assert!(of_source.get("sources").is_none());
    let (status, problem) = get(&scene, "/v1/series?window=2m").await;
    assert!(status == 400 && problem["fix"].as_str().unwrap().contains("1m, 10m, 1h, 6h, 24h"), "{problem}");
    assert_eq!(get(&scene, "/v1/series?source=nobody").await.0, 404);
    sums.held().await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_says_how_fast_it_answers_and_how_requests_ended() {
    let scene = Scene::set(seed()).await;
    let process = scene.start().await;
    let (_, before) = get(&scene, "/v1/status").await;
    let of =
        |status: &Value, name: &str| status["destinations"].as_array().unwrap().iter().find(|d| d["destination"] == name).unwrap().clone();
    let nothing = of(&before, "segment");
    assert!(nothing.get("latency").is_none() && nothing["answers"]["ok"] == 0, "{nothing}");
    assert_eq!((&nothing["breaker"], &nothing["limit"]), (&Value::from("passing"), &Value::from("none")));
    // Segment takes its time, RudderStack is busy twice.
    scene.segment.faults().add(Rule::always(Fault::slow(Duration::from_millis(80))));
    scene.rudder.faults().add(Rule::next(2, Fault::status(429)));
    for n in 0..20 {
        scene.post(&format!("e-{n}"), "Order").await;
    }
    scene.until("all are delivered", "segue_events_delivered_total", |count| count == 20).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let status = loop {
        let (_, status) = get(&scene, "/v1/status").await;
        if of(&status, "segment")["answers"]["ok"] == 20 {
            break status;
        }
        assert!(tokio::time::Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let segment = of(&status, "segment");
    let (p50, p99) = (segment["latency"]["p50_ms"].as_f64().unwrap(), segment["latency"]["p99_ms"].as_f64().unwrap());
    assert!((80.0..2_000.0).contains(&p50) && p50 <= p99, "{segment}");
    assert_eq!(segment["latency"]["answers"], 20);
    assert_eq!(of(&status, "rudderstack")["answers"]["throttled"], 2, "{status}");
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_told_with_their_people_and_where_they_go() {
    let scene = Scene::set(seed()).await;
    let process = scene.start().await;
    for (n, version) in [(0, "5.0.4"), (1, "5.0.4"), (2, "4.12.3"), (3, "5.0.4")] {
        let person = n / 2;
        scene
            .post_body(&format!(
                r#"{{"type":"track","event":"E","anonymousId":"p-{person}","messageId":"v-{n}","writeKey":"{SEGMENT_KEY}","context":{{"app":{{"name":"Shop","version":"{version}"}},"library":{{"name":"analytics-kotlin","version":"1.16"}}}}}}"#
            ))
            .await;
    }
    scene.post("plain", "E").await;
    let (status, versions) = get(&scene, "/v1/versions").await;
    assert_eq!((status, &versions["events"]), (200, &Value::from(5)), "{versions}");
    let first = &versions["versions"][0];
    assert_eq!((&first["app"], &first["version"], &first["library"]), (&"Shop".into(), &"5.0.4".into(), &"analytics-kotlin 1.16".into()));
    assert_eq!(
        (&first["events"], &first["people"], &first["segment"], &first["rudderstack"]),
        (&3.into(), &2.into(), &3.into(), &3.into())
    );
    let untold = versions["versions"].as_array().unwrap().iter().find(|seen| seen.get("app").is_none()).unwrap();
    assert_eq!((&untold["events"], untold.get("version")), (&1.into(), None), "{versions}");
    drop(process);
}
