//! What an operator learns of evidence, by the commands: what differs, what to make of it, one event's way, the ledger, and the
//! certificate of a cutover that stands in the history.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod stage;

use std::{path::Path, process::Command, time::Duration};

use segue::{
    config::Config,
    model::Secret,
    standin::{Alteration, Change, Webhook, Which},
};
use serde_json::Value;
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, source};

const SECRET: &str = "wk_test_hook_signature";

async fn tapped() -> Stage {
    let stage = Stage::with(|config: &mut Config| {
        config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, "both")];
        config.ingress.hooks.listen = Some(([127, 0, 0, 1], 0).into());
        config.ingress.hooks.segment_secrets = vec![Secret::new(SECRET.to_owned())];
        config.ingress.hooks.rudderstack_secrets = vec![Secret::new(SECRET.to_owned())];
    })
    .await;
    post_to(&stage);
    stage
}

/// Has both vendors post to where the sidecar listens now.
fn post_to(stage: &Stage) {
    let hooks = stage.sidecar().hooks_address().unwrap();
    let webhook = |write_key: &str, path: &str| Webhook {
        write_key: write_key.to_owned(),
        url: format!("http://{hooks}{path}"),
        secret: Some(SECRET.to_owned()),
    };
    stage.segment.emissions().to(webhook(SEGMENT_KEY, "/tap/segment/web")).unwrap();
    stage.rudder.emissions().to(webhook(RUDDER_KEY, &format!("/tap/rudderstack/{SECRET}/web"))).unwrap();
}

async fn send(stage: &Stage, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let body = format!(
            r#"{{"event":"Paid","userId":"u{number}","messageId":"m-{number}","properties":{{"total":{number}.5,"email":"ann@example.com"}},"writeKey":"{SEGMENT_KEY}"}}"#
        );
        assert_eq!(stage.post("/v1/track", &body).await.status, 200);
    }
    stage.drained().await;
    for vendor in [&stage.segment, &stage.rudder] {
        vendor.emissions().settled().await;
    }
    while stage.sidecar().evidence().standing().followed > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Runs a command against the sidecar; its exit code and what it printed.
async fn segue(stage: &Stage, arguments: &[&str]) -> (i32, String) {
    let socket = stage.config.admin_socket().unwrap();
    let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let run = move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
        command.args(&arguments).arg("--attach").arg(&socket).env_clear();
        let output = command.output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_finds_a_difference_accepts_it_and_certifies_the_cutover() {
    let mut stage = tapped().await;
    send(&stage, 0..20).await;
    let (code, text) = segue(&stage, &["diff"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("web: 100.00 % agree by what both emitted") && text.contains("No differences."), "{text}");

    let fault = Alteration { change: Change::Retype("properties.total".to_owned()), events: Which { every: 2, ..Which::default() } };
    let fault = stage.rudder.emissions().alter(fault);
    send(&stage, 20..40).await;
    let (code, text) = segue(&stage, &["diff", "web"]).await;
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("75.00 % agree") && text.contains("properties.total"), "{text}");
    assert_eq!(segue(&stage, &["diff", "--fail-below", "99.9"]).await.0, 4);
    let (_, text) = segue(&stage, &["diff", "--json"]).await;
    let finding = json(&text)["findings"]["findings"][0].clone();
    let id = finding["id"].as_str().unwrap().to_owned();
    // Every second event is altered as the stand-in meets them, and events that are sent at once arrive in any order.
    let altered = finding["samples"][0].as_str().unwrap().to_owned();
    let number = altered.trim_start_matches("m-");

    let (code, text) = segue(&stage, &["diff", "show", &id]).await;
    assert_eq!(code, 0, "{text}");
    let (left, right) = (format!("Segment      {number}.5\n"), format!("RudderStack  \"{number}.5\"\n"));
    assert!(text.contains(&left) && text.contains(&right), "{text}");
    let (_, text) = segue(&stage, &["diff", "show", &id, "--json"]).await;
    assert!(!text.contains("ann@example.com") && !text.contains(&format!("\"u{number}\"")), "what tells of a person is masked: {text}");
    let (_, text) = segue(&stage, &["diff", "show", &id, "--json", "--reveal"]).await;
    assert!(text.contains("ann@example.com"), "{text}");

    let (code, text) = segue(&stage, &["trace", &altered]).await;
    assert_eq!(code, 0, "{text}");
    for hop in ["arrived", "planned", "answered", "emitted", "compared", "the vendors have not the same"] {
        assert!(text.contains(hop), "{hop}: {text}");
    }
    assert_eq!(segue(&stage, &["trace", "nobody"]).await.0, 2);

    let (code, text) = segue(&stage, &["certificate", "web"]).await;
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("1 differences are open"), "{text}");

    assert_eq!(segue(&stage, &["diff", "accept", &id]).await.0, 2, "a reason is needed");
    let (code, text) = segue(&stage, &["diff", "accept", &id, "--reason", "they want texts"]).await;
    assert_eq!((code, text.trim()), (0, "properties.total type of web is accepted now."));
    stage.rudder.emissions().mend(fault);
    send(&stage, 40..60).await;
    let (code, text) = segue(&stage, &["diff"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("100.00 % agree"), "those before count as agreeing, too: {text}");

    // A restart forgets nothing of it.
    stage.restart().await;
    post_to(&stage);
    let (_, text) = segue(&stage, &["diff", "--all"]).await;
    assert!(text.contains("100.00 % agree") && text.contains("accepted"), "{text}");
    let (code, text) = segue(&stage, &["ledger", "--json"]).await;
    assert_eq!(code, 0, "{text}");
    let rows = json(&text)["rows"].as_array().unwrap().clone();
    for side in ["segment", "rudderstack"] {
        let of_side = rows.iter().filter(|row| row["destination"] == side);
        let sums = of_side.fold((0, 0, 0), |(planned, delivered, pending), row| {
            let count = |name: &str| row[name].as_u64().unwrap();
            (planned + count("planned"), delivered + count("delivered"), pending + count("pending"))
        });
        assert_eq!(sums, (60, 60, 0), "{text}");
    }

    let (_, text) = segue(&stage, &["certificate", "web", "--json"]).await;
    let certificate = json(&text);
    assert_eq!(certificate["open"], serde_json::json!(["it is not sure that both sides agree on 99.9 % of the events: 60 were compared"]));
    let about = certificate["changes"].as_array().unwrap().iter().find(|change| change["what"] == "accept finding").unwrap();
    assert_eq!((about["about"].as_str(), about["reason"].as_str()), (Some("properties.total type"), Some("they want texts")));
    let file = stage.dir.path().join("certificate.json");
    std::fs::write(&file, &text).unwrap();
    let history = stage.config.journal.dir.join("changes.log");
    let verify =
        async |file: &Path| segue(&stage, &["certificate", "verify", file.to_str().unwrap(), "--history", history.to_str().unwrap()]).await;
    let (code, said) = verify(&file).await;
    assert_eq!(code, 0, "{said}");
    std::fs::write(&file, text.replace("they want texts", "all is well")).unwrap();
    assert_eq!(verify(&file).await.0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_taps_it_says_what_it_does_not_know() {
    let stage = Stage::with_route("both").await;
    let (code, text) = segue(&stage, &["diff"]).await;
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("Nothing was compared yet") && text.contains("The vendors' taps are off"), "{text}");
    assert_eq!(segue(&stage, &["diff", "--fail-below", "90"]).await.0, 4, "nothing is sure");
    let body = format!(r#"{{"event":"Paid","userId":"u","messageId":"m-1","writeKey":"{SEGMENT_KEY}"}}"#);
    assert_eq!(stage.post("/v1/track", &body).await.status, 200);
    stage.drained().await;
    let (_, text) = segue(&stage, &["diff"]).await;
    assert!(text.contains("agree by their answers"), "{text}");
    let (_, text) = segue(&stage, &["certificate", "web"]).await;
    assert!(text.contains("the vendors' taps are off"), "{text}");
    let metrics = stage.metrics().await;
    assert!(metrics.contains(r#"segue_parity_pairs_total{source="web",evidence="answers",result="equal"} 1"#), "{metrics}");
}
