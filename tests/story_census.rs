//! Who events come from, and what the vendors will not take of them: told while they pass, and after a restart.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod operator;
mod process;
mod sums;

use std::time::Duration;

use operator::{SEGMENT_KEY, Scene};
use process::{get, metric, seed};
use serde_json::Value;

fn event(id: &str, person: &str, version: &str, more: &str) -> String {
    format!(
        r#"{{"type":"track","event":"OAuth2 Login","anonymousId":"{person}","messageId":"{id}","writeKey":"{SEGMENT_KEY}","context":{{"app":{{"name":"Shop","version":"{version}"}},"device":{{"type":"android"}},"library":{{"name":"analytics-android","version":"4.11"}}}}{more}}}"#
    )
}

async fn asked(scene: &Scene, arguments: &[&str]) -> (i32, Value) {
    let (code, said) = scene.segue(arguments).await;
    (code, serde_json::from_str(&said).unwrap_or(Value::String(said)))
}

async fn sum(scene: &Scene, name: &str) -> u64 {
    metric(&get(scene.metrics_port, "/metrics").await.unwrap(), name, &[("source", "web")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_are_counted_as_events_pass_and_known_after_a_restart() {
    let scene = Scene::set(seed()).await;
    let process = scene.start().await;
    for n in 0..6 {
        scene.post_body(&event(&format!("m-{n}"), &format!("p-{}", n % 4), if n == 5 { "4.9" } else { "5.0.4" }, "")).await;
    }
    scene.post("plain", "E").await;
    let (code, first) = asked(&scene, &["versions", "--json"]).await;
    assert_eq!((code, &first["events"]), (0, &7.into()), "{first}");
    let newest = &first["versions"][0];
    assert_eq!((&newest["version"], &newest["people"], &newest["platform"]), (&"5.0.4".into(), &4.into(), &"android".into()), "{first}");
    assert_eq!(
        (&newest["flags"], &newest["hours"], &newest["days"]),
        (&vec!["old_sdk"].into(), &vec![5].into(), &vec![5].into()),
        "{first}"
    );
    assert_eq!(sum(&scene, "segue_versions_seen").await, 3);
    let (_, table) = scene.segue(&["versions", "web"]).await;
    assert!(table.contains("Shop 5.0.4") && table.contains("web: too early to say whether Segment can be stopped"), "{table}");
    assert!(table.lines().filter(|line| line.contains("Shop")).all(|line| line.len() <= 80), "{table}");
    let (_, csv) = scene.segue(&["versions", "--csv", "--since", "1h"]).await;
    assert!(csv.starts_with("source,app,version") && csv.lines().count() == 4, "{csv}");
    assert_eq!(scene.segue(&["versions", "--since", "31d"]).await.0, 2);

    assert!(process.stop(Duration::from_secs(10)).await.success());
    let process = scene.start().await;
    let (_, again) = asked(&scene, &["versions", "--json"]).await;
    assert_eq!(again["versions"], first["versions"], "a restart forgets nothing");
    scene.post_body(&event("m-9", "p-9", "5.0.4", "")).await;
    let (_, then) = asked(&scene, &["versions", "--json"]).await;
    assert_eq!((&then["versions"][0]["events"], &then["versions"][0]["people"]), (&6.into(), &5.into()), "{then}");
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_vendor_will_not_take_is_told_with_samples_and_not_held_back() {
    let scene = Scene::set(seed()).await;
    let process = scene.start().await;
    assert_eq!(asked(&scene, &["predictions"]).await.0, 0, "nothing is foretold of nothing");
    for n in 0..12 {
        scene.post_body(&event(&format!("bad-{n}"), "p", "1", r#","userId":7,"properties":{"userIDs":[1],"total":2}"#)).await;
    }
    scene.post_body(&event("large", "p", "1", &format!(r#","properties":{{"text":"{}"}}"#, "x".repeat(33_000)))).await;
    scene.until("all are delivered", "segue_events_delivered_total", |count| count >= 13).await;
    let (code, told) = asked(&scene, &["predictions", "web", "--json"]).await;
    assert_eq!(code, 3, "{told}");
    let of = |vendor: &str, reason: &str| {
        let all = told["events"].as_array().unwrap();
        all.iter()
            .find(|row| row["vendor"] == vendor && row["reason"] == reason)
            .unwrap_or_else(|| unreachable!("{vendor} {reason}: {told}"))
    };
    let ids = of("segment", "id_not_string");
    assert_eq!((&ids["events"], ids["samples"].as_array().unwrap().len()), (&12.into(), 10), "{told}");
    assert_eq!((&ids["samples"][0]["message_id"], &ids["samples"][0]["event"]), (&"bad-11".into(), &"OAuth2 Login".into()), "{told}");
    assert_eq!((&of("segment", "event_too_large")["events"], &of("rudderstack", "event_too_large")["events"]), (&1.into(), &1.into()));
    let names: Vec<_> =
        told["names"].as_array().unwrap().iter().map(|name| (&name["place"], &name["segment"], &name["rudderstack"])).collect();
    let column = (&"properties.userIDs".into(), &"user_ids".into(), &"user_i_ds".into());
    let table = (&"event".into(), &"oauth2_login".into(), &"o_auth2_login".into());
    assert_eq!(names, [column, table], "{told}");
    assert_eq!((sum(&scene, "segue_events_predicted_total").await, sum(&scene, "segue_names_predicted").await), (14, 2));
    assert_eq!(asked(&scene, &["predictions", "nobody"]).await.0, 2);

    assert!(process.stop(Duration::from_secs(10)).await.success());
    let process = scene.start().await;
    let (_, again) = asked(&scene, &["predictions", "--json"]).await;
    assert_eq!(again, told, "a restart forgets nothing");
    drop(process);
}
