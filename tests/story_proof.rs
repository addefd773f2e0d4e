//! Does RudderStack get what Segment gets? Both vendors post what they make of each event to segue's taps: what differs is found, in the
//! right class, as often as it was made, and nothing else is.

#![expect(clippy::unwrap_used, reason = "a story that cannot go on fails")]

mod stage;

use std::{collections::BTreeMap, time::Duration};

use segue::{
    config::Config,
    evidence::{Basis, Finding, Tally, whole},
    model::{Secret, SourceId},
    standin::{Alteration, AlterationId, Change, Standin, Webhook, Which},
};
use serde_json::json;
use stage::{RUDDER_KEY, SEGMENT_KEY, Stage, corpus, source};

const SECRET: &str = "wk_test_hook_signature";
const PATH_SECRET: &str = "wk_test_tap_path";

/// A stage whose vendors post to its taps. `wait`: how long the second of them may take.
async fn tapped(key: &'static str, wait: Duration) -> Stage {
    let stage = Stage::with(|config: &mut Config| {
        config.sources = vec![source("web", key, RUDDER_KEY, "both")];
        config.ingress.hooks.listen = Some(([127, 0, 0, 1], 0).into());
        config.ingress.hooks.segment_secrets = vec![Secret::new(SECRET.to_owned())];
        config.ingress.hooks.rudderstack_secrets = vec![Secret::new(PATH_SECRET.to_owned())];
        config.evidence.wait = wait;
        config.evidence.late = wait / 4;
    })
    .await;
    let hooks = stage.sidecar().hooks_address().unwrap();
    let webhook = |write_key: &str, path: &str| Webhook {
        write_key: write_key.to_owned(),
        url: format!("http://{hooks}{path}"),
        secret: Some(SECRET.to_owned()),
    };
    stage.segment.emissions().to(webhook(key, "/tap/segment/web")).unwrap();
    stage.rudder.emissions().to(webhook(RUDDER_KEY, &format!("/tap/rudderstack/{PATH_SECRET}/web"))).unwrap();
    stage
}

fn web() -> SourceId {
    SourceId::parse("web").unwrap()
}

fn tally(stage: &Stage, basis: Basis) -> Tally {
    stage.sidecar().evidence().track(&web(), basis).unwrap_or_default().now
}

/// Waits until both vendors have emitted all, and everything that waits for its twin was judged.
async fn settled(stage: &Stage) {
    stage.drained().await;
    for vendor in [&stage.segment, &stage.rudder] {
        tokio::time::timeout(Duration::from_mins(5), vendor.emissions().settled()).await.unwrap();
        let counts = vendor.emissions().counts();
        assert_eq!((counts.refused, counts.waiting), (0, 0), "{counts:?}");
    }
    while stage.sidecar().evidence().standing().followed > 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn shown(findings: &[Finding]) -> Vec<String> {
    let sample = |finding: &Finding| {
        let sample = finding.group.samples.front();
        sample.map_or_else(String::new, |sample| format!("{}: {:?} {:?}", sample.message_id, sample.left, sample.right))
    };
    findings
        .iter()
        .map(|finding| format!("{} {} {} ({})", finding.key.path, finding.key.kind, finding.group.count, sample(finding)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_real_sdks_send_comes_out_the_same_at_both() {
    let stage = tapped("WRITE_KEY_BENCH", Duration::from_secs(3)).await;
    for captured in corpus() {
        let headers: Vec<(&str, &str)> = captured.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = stage.send(captured.method.clone(), &captured.path, &headers, captured.body.clone()).await;
        assert_eq!(answer.status, 200, "{}", captured.name);
    }
    settled(&stage).await;
    let findings = stage.sidecar().evidence().findings(None);
    assert_eq!(shown(&findings), Vec::<String>::new());
    let tally = tally(&stage, Basis::Tap);
    let noise: BTreeMap<String, u64> =
        stage.sidecar().evidence().noise(&web()).into_iter().map(|(at, count)| (at.label(), count)).collect();
    println!("{tally:?}, noise: {noise:?}");
    assert!(tally.agree() > 200 && tally.differ() == 0 && tally.unjoinable == 0, "{tally:?}");
    // What both never agree on is told by its name, and how often that was.
    for always in ["rudderId vendor_field", "integrations.Salesforce salesforce_default"] {
        assert_eq!(noise.get(always), Some(&tally.agree()), "{always}");
    }
}

/// Whose webhook is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Segment,
    RudderStack,
}

/// One thing that a vendor gets wrong, and the classes that it is to be found in.
struct Seeded {
    side: Side,
    /// In events of this name.
    name: usize,
    /// Of those, every so many-th.
    every: u64,
    change: Change,
    found: Vec<(&'static str, &'static str)>,
}

/// Thirty-seven of them, of fourteen kinds. No two touch one place of one event.
fn seeded() -> Vec<Seeded> {
    use Side::{RudderStack, Segment};
    let in_rs = "missing_in_rudderstack";
    let in_seg = "missing_in_segment";
    let at = |text: &str| text.to_owned();
    let one = |side, name, every, change, path, kind| Seeded { side, name, every, change, found: vec![(path, kind)] };
    vec![
        one(RudderStack, 0, 7, Change::Remove(at("properties.total")), "properties.total", in_rs),
        one(Segment, 0, 11, Change::Remove(at("properties.currency")), "properties.currency", in_seg),
        one(RudderStack, 1, 13, Change::Remove(at("context.device.tracking")), "context.device.tracking", in_rs),
        one(Segment, 1, 17, Change::Remove(at("traceId")), "traceId", in_seg),
        one(RudderStack, 0, 19, Change::Add(at("properties.extra"), json!(1)), "properties.extra", in_seg),
        one(Segment, 1, 23, Change::Add(at("context.device.model"), json!("x")), "context.device.model", in_rs),
        one(RudderStack, 2, 5, Change::Add(at("top"), json!([1])), "top", in_seg),
        one(RudderStack, 2, 6, Change::Set(at("properties.total"), json!(1)), "properties.total", "value"),
        one(Segment, 2, 8, Change::Set(at("properties.currency"), json!("USD")), "properties.currency", "value"),
        one(RudderStack, 3, 9, Change::Set(at("event"), json!("Another")), "event", "value"),
        one(RudderStack, 3, 10, Change::Set(at("userId"), json!("nobody")), "userId", "value"),
        one(Segment, 3, 12, Change::Set(at("properties.flag"), json!(false)), "properties.flag", "value"),
        one(RudderStack, 9, 14, Change::Set(at("integrations.Mixpanel"), json!(false)), "integrations.Mixpanel", "value"),
        one(RudderStack, 3, 15, Change::Retype(at("properties.total")), "properties.total", "type"),
        one(Segment, 3, 16, Change::Retype(at("properties.count")), "properties.count", "type"),
        one(RudderStack, 2, 18, Change::Retype(at("properties.items[0].price")), "properties.items[*].price", "type"),
        Seeded {
            side: RudderStack,
            name: 4,
            every: 20,
            change: Change::Rename(at("properties.label"), at("name")),
            found: vec![("properties.label", in_rs), ("properties.name", in_seg)],
        },
        Seeded {
            side: Segment,
            name: 4,
            every: 21,
            change: Change::Rename(at("context.device.id"), at("udid")),
            found: vec![("context.device.id", in_seg), ("context.device.udid", in_rs)],
        },
        one(RudderStack, 5, 22, Change::Case(at("properties.label")), "properties.label", "case"),
        one(Segment, 5, 24, Change::Case(at("properties.currency")), "properties.currency", "case"),
        one(RudderStack, 6, 25, Change::Truncate(at("properties.label"), 3), "properties.label", "value"),
        one(Segment, 6, 26, Change::Truncate(at("properties.items[1].sku"), 2), "properties.items[*].sku", "value"),
        one(RudderStack, 7, 27, Change::Shift(at("timestamp"), 5_000), "timestamp", "time"),
        one(Segment, 8, 28, Change::Shift(at("timestamp"), -5_000), "timestamp", "time"),
        one(RudderStack, 9, 29, Change::Shift(at("originalTimestamp"), 10), "originalTimestamp", "time"),
        one(RudderStack, 7, 30, Change::Shift(at("properties.at"), 1_000), "properties.at", "value"),
        one(RudderStack, 7, 31, Change::Round(at("properties.big")), "properties.big", "value"),
        one(RudderStack, 8, 32, Change::Reorder(at("properties.items")), "properties.items", "order"),
        one(Segment, 5, 33, Change::Reorder(at("properties.items")), "properties.items", "order"),
        one(RudderStack, 8, 34, Change::Null(at("properties.flag")), "properties.flag", in_rs),
        one(Segment, 8, 35, Change::Null(at("properties.count")), "properties.count", in_seg),
        one(RudderStack, 10, 36, Change::Drop, "", whole::MISSING_IN_RUDDERSTACK),
        one(Segment, 11, 37, Change::Drop, "", whole::MISSING_IN_SEGMENT),
        one(RudderStack, 12, 38, Change::Twice, "", whole::REPEATED_BY_RUDDERSTACK),
        one(Segment, 13, 39, Change::Twice, "", whole::REPEATED_BY_SEGMENT),
        one(RudderStack, 14, 40, Change::Late(LATE_BY_MS), "", whole::LATE_FROM_RUDDERSTACK),
        one(Segment, 15, 41, Change::Late(LATE_BY_MS), "", whole::LATE_FROM_SEGMENT),
    ]
}

const NAMES: usize = 16;
const EVENTS: usize = 100_000;
const LATE_BY_MS: u64 = 15_000;

fn event(number: usize) -> String {
    let (name, person) = (number % NAMES, number % 997);
    format!(
        r#"{{"type":"track","event":"Name {name}","userId":"u{person}","messageId":"m-{number:06}","traceId":"t{number}","timestamp":"2026-11-27T10:00:00.000Z","context":{{"app":{{"name":"shop","version":"1.{}"}},"device":{{"id":"d{person}","tracking":true}}}},"integrations":{{"All":true,"Mixpanel":true}},"properties":{{"total":19.55,"count":3,"currency":"Eur","label":"Red wine","flag":true,"big":123456.789,"at":"2026-11-26T10:00:00.000Z","items":[{{"sku":"abc","price":1.25}},{{"sku":"def","price":2.5}}]}}}}"#,
        name % 3
    )
}

fn seed(vendor: &Standin, fault: &Seeded) -> AlterationId {
    let events = Which { name: Some(format!("Name {}", fault.name)), every: fault.every, ..Which::default() };
    vendor.emissions().alter(Alteration { change: fault.change.clone(), events })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_37_faults_in_100_000_events_is_found_and_nothing_else() {
    let stage = tapped(SEGMENT_KEY, Duration::from_secs(40)).await;
    let faults = seeded();
    assert_eq!(faults.len(), 37);
    let of = |side: Side| if side == Side::Segment { &stage.segment } else { &stage.rudder };
    let ids: Vec<AlterationId> = faults.iter().map(|fault| seed(of(fault.side), fault)).collect();
    for first in (0..EVENTS).step_by(200) {
        let events: Vec<String> = (first..first + 200).map(event).collect();
        let body = format!(r#"{{"batch":[{}],"sentAt":"2026-11-27T10:00:00.000Z","writeKey":"{SEGMENT_KEY}"}}"#, events.join(","));
        assert_eq!(stage.post("/v1/batch", &body).await.status, 200);
        // What vendors have taken they are to emit at once: a queue of theirs would be lateness that nobody seeded.
        while [&stage.segment, &stage.rudder].iter().any(|vendor| vendor.emissions().counts().waiting > 3_000) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    settled(&stage).await;
    let mut want: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (fault, id) in faults.iter().zip(ids) {
        let (count, _) = of(fault.side).emissions().altered(id);
        assert!(count > 100, "{:?} was made {count} times", fault.change);
        for (path, kind) in &fault.found {
            *want.entry(((*path).to_owned(), (*kind).to_owned())).or_default() += count;
        }
    }
    let findings = stage.sidecar().evidence().findings(None);
    println!("{}", shown(&findings).join("\n"));
    let found: BTreeMap<(String, String), u64> =
        findings.into_iter().map(|finding| ((finding.key.path, finding.key.kind), finding.group.count)).collect();
    assert_eq!(found, want);
    let (answers, tap) = (tally(&stage, Basis::Answers), tally(&stage, Basis::Tap));
    println!("answers: {answers:?}\ntap: {tap:?}");
    assert_eq!((answers.agree(), answers.differ()), (EVENTS as u64, 0), "answers know nothing of it");
    assert_eq!((tap.unjoinable, tap.predicted), (0, 0));
    let repeated: u64 =
        want.iter().filter(|((path, kind), _)| path.is_empty() && kind.starts_with("repeated")).map(|(_, count)| count).sum();
    assert_eq!(tap.pairs(), EVENTS as u64, "each event was judged once, and {repeated} came again");
}
