//! Sent diffs: what each side gets of an event, as the admin API tells it, held against what both vendors really got.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod stage;

use std::{collections::BTreeMap, time::Duration};

use segue::client::{Client, ClientError};
use serde_json::{Value, json};
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, corpus, source};

/// The key that the corpus was captured with.
const CORPUS_KEY: &str = "WRITE_KEY_BENCH";

fn client(stage: &Stage) -> Client {
    Client::new(&stage.config.journal.dir.join("admin.sock"), Duration::from_secs(20))
}

async fn event(stage: &Stage, id: &str, reveal: bool) -> Value {
    let id: String = form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20");
    client(stage).get(&format!("/v1/events/{id}?reveal={reveal}")).await.unwrap()
}

/// The differences of an event, by path: kind and rules.
fn differences(event: &Value) -> BTreeMap<String, (String, String)> {
    let told = |difference: &Value| {
        let rules: Vec<&str> =
            difference["rules"].as_array().unwrap().iter().map(|rule| rule.as_str().unwrap().split(' ').next().unwrap()).collect();
        (difference["path"].as_str().unwrap().to_owned(), (difference["kind"].as_str().unwrap().to_owned(), rules.join(" ")))
    };
    event["differences"].as_array().unwrap().iter().map(told).collect()
}

/// An event without what is never told: keys.
fn without_keys(text: &str) -> Value {
    let mut event: Value = serde_json::from_str(text).unwrap();
    if let Some(key) = event.get_mut("writeKey") {
        *key = json!("***");
    }
    event
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_is_what_both_vendors_got_and_every_difference_has_its_rule() {
    let stage = Stage::with(|config| config.sources = vec![source("corpus", CORPUS_KEY, RUDDER_KEY, "both")]).await;
    for captured in corpus() {
        let headers: Vec<(&str, &str)> = captured.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        stage.send(captured.method.clone(), &captured.path, &headers, captured.body.clone()).await;
    }
    stage.drained().await;
    let diffs: Value = client(&stage).get("/v1/diffs").await.unwrap();
    let groups = diffs["groups"].as_array().unwrap();
    println!("{} events of real SDKs, {} equal but for noise, {} classes of differences", diffs["events"], diffs["equal"], groups.len());
    assert!(diffs["events"].as_u64().unwrap() > 200 && groups.len() >= 8, "{diffs:#}");
    for group in groups {
        println!(
            "  {:>5} {:30} {:16} noise {:5} {}",
            group["events"],
            group["path"].as_str().unwrap(),
            group["kind"].as_str().unwrap(),
            group["noise"],
            group["rules"]
        );
        assert!(!group["rules"].as_array().unwrap().is_empty(), "no rule made {group}");
        assert!(!group["samples"].as_array().unwrap().is_empty());
    }
    // The bodies that are told, held against those that came.
    let mut compared = 0;
    for taken in stage.rudder_events().iter().step_by(29) {
        let Some(json) = taken.json.as_deref() else { continue };
        let told = event(&stage, &taken.message_id, true).await;
        assert_eq!(told["rudderstack"]["event"], without_keys(json), "{}", taken.message_id);
        compared += 1;
    }
    for taken in stage.segment_events().iter().step_by(29) {
        let Some(json) = taken.json.as_deref() else { continue };
        let told = event(&stage, &taken.message_id, true).await;
        let (mut told, mut came) = (told["segment"]["event"].clone(), without_keys(json));
        // What came late had its times put right.
        for event in [&mut told, &mut came] {
            event.as_object_mut().unwrap().remove("sentAt");
        }
        assert_eq!(told, came, "{}", taken.message_id);
        compared += 1;
    }
    println!("{compared} bodies compared");
    assert!(compared > 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_difference_names_the_rule_that_made_it() {
    let stage = Stage::with(|config| {
        config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, "both"), source("old", "wk_test_old", RUDDER_KEY, "segment-only")];
    })
    .await;
    let batch = json!({
        "writeKey": SEGMENT_KEY,
        "context": { "library": { "name": "analytics-go", "version": "3" } },
        "batch": [{ "type": "track", "event": "Order", "messageId": "in-a-batch", "userId": 12, "anonymousId": null, "properties": { "total": 12_345_678_901_234_567_u64, "email": "a@b.c" } }],
    });
    assert_eq!(stage.post("/v1/batch", &batch.to_string()).await.status, 200);
    stage.post("/v1/track", &json!({ "writeKey": "wk_test_old", "messageId": "of-old", "event": "E", "userId": "u" }).to_string()).await;
    stage
        .post(
            "/v1/track",
            &json!({ "writeKey": SEGMENT_KEY, "event": "Unnamed", "userId": "u", "integrations": { "All": false, "Mixpanel": true } })
                .to_string(),
        )
        .await;
    stage.drained().await;

    let told = event(&stage, "in-a-batch", false).await;
    let found = differences(&told);
    assert_eq!(found["context"], ("only_rudderstack".to_owned(), "T4".to_owned()), "{told:#}");
    assert_eq!(found["anonymousId"], ("only_segment".to_owned(), "T21".to_owned()));
    assert!(found["integrations"].1.contains("T15") && found["timestamp"].1.contains("T2"), "{found:?}");
    assert!(!found.contains_key("properties") && !found.contains_key("properties.total"), "{found:?}");
    // People are masked, also in the differences; who may reveal sees them.
    assert_eq!((&told["segment"]["event"]["userId"], &told["segment"]["event"]["properties"]["email"]), (&json!("***"), &json!("***")));
    assert_eq!(told["masked"], json!(true));
    let shown = event(&stage, "in-a-batch", true).await;
    assert_eq!((&shown["segment"]["event"]["properties"]["email"], &shown["masked"]), (&json!("a@b.c"), &json!(false)));
    assert!(!shown.to_string().contains(SEGMENT_KEY) && !shown.to_string().contains(RUDDER_KEY), "{shown:#}");

    // What RudderStack does not get is told all the same.
    let old = event(&stage, "of-old", false).await;
    assert_eq!((&old["segment"]["planned"], &old["rudderstack"]["planned"]), (&json!(true), &json!(false)));
    assert_eq!(old["rudderstack"]["event"]["type"], json!("track"));

    // One that came without a messageId has the same on both sides, and is found by it.
    let ids: Vec<String> =
        stage.rudder_events().iter().map(|event| event.message_id.to_string()).filter(|id| id.starts_with("segue-")).collect();
    let unnamed = event(&stage, &ids[0], false).await;
    assert!(unnamed["segment"]["rules"][0].as_str().unwrap().starts_with("T7"), "{unnamed:#}");
    assert!(!differences(&unnamed).contains_key("messageId"), "{unnamed:#}");

    let nobody: Result<Value, ClientError> = client(&stage).get("/v1/events/nobody").await;
    let Err(ClientError::Problem(problem)) = nobody else { panic!("{nobody:?}") };
    assert!(problem.what.contains("newest two volumes") && problem.fix.contains("journal export"), "{problem}");
    let diffs: Value = client(&stage).get("/v1/diffs?source=web").await.unwrap();
    assert_eq!((&diffs["events"], &diffs["source"]), (&json!(2), &json!("web")), "{diffs:#}");
}
