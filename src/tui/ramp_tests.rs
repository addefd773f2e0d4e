//! Ramps on the dashboard: how they are shown, started and steered.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{
    app::{App, Effect, Page},
    feed::Message,
    question::{Change, Question},
    trial::{MONO, app, press, recorded, text, type_in},
};
use crate::wire::SourceFigures;

/// The gates of a source: `parity` red or not.
fn gates(parity: Option<&str>) -> Value {
    let mut parity_gate = json!({ "gate": "parity", "value": "99.97% (tap)", "bound": ">= 99.9%", "green": parity.is_none() });
    if let Some(why) = parity {
        parity_gate["why"] = json!(why);
    }
    json!([
        parity_gate,
        { "gate": "lag", "value": "0.2 s", "bound": "<= 5.0 s", "green": true },
        { "gate": "errors", "bound": "<= 0.5%", "green": false, "why": "errors are not known: nothing was sent" },
        { "gate": "quarantine", "value": "0", "bound": "<= 0", "green": true },
    ])
}

fn ramp(changed: &Value) -> Value {
    let mut ramp = json!({
        "id": 41, "source": "web-checkout", "name": "web-checkout", "state": "running", "from": "both",
        "steps": ["cutover=10%", "cutover=25%", "cutover=50%", "cutover=75%", "rudderstack-only"], "taken": 2,
        "every": "30m", "bounds": "parity>=99.9%,pairs>=1000,lag<=5s,errors<=0.5%,quarantine<=0,window=15m", "on_red": "hold",
        "green_seconds": 1_200, "moved_at": "2026-11-27T13:41:00.000Z", "next_at": "2026-11-27T14:30:00.000Z",
        "started_at": "2026-11-27T12:51:00.000Z", "by": "uid 1000",
    });
    for (name, value) in changed.as_object().unwrap() {
        ramp[name] = value.clone();
    }
    ramp
}

/// A dashboard on whose first source such a ramp runs.
fn with(ramp: Option<&Value>, gates: &Value) -> App {
    let mut app = app("calm", &MONO);
    let mut figures = recorded("calm", "figures");
    let mut source = recorded("calm", "snapshot")["sources"].as_array().unwrap()[0].clone();
    let name = app.live().sources()[0].source.clone();
    source["source"] = json!(name);
    source["gates"] = gates.clone();
    if let Some(ramp) = ramp {
        source["ramp"] = ramp.clone();
        source["ramp"]["source"] = json!(name);
    }
    let _: SourceFigures = serde_json::from_value(source.clone()).unwrap();
    figures["sources"] = json!([source]);
    let now = app.now;
    app.hear(Message::Figures(Box::new(serde_json::from_value(figures).unwrap())), now);
    app
}

fn made(effects: Vec<Effect>) -> Vec<Change> {
    let change = |effect| if let Effect::Ask(Question::Make(_, change)) = effect { Some(change) } else { None };
    effects.into_iter().filter_map(change).collect()
}

#[test]
fn a_ramp_stands_in_its_row_in_attention_and_beside_its_gates() {
    let running = ramp(&json!({}));
    let mut app = with(Some(&running), &gates(None));
    let told = "ramp 2/5 (cutover 25%) healthy 20 min, next cutover 50% at 14:30 if gates hold";
    for (columns, rows) in [(120, 36), (200, 50)] {
        let overview = text(&app, columns, rows);
        assert!(overview.contains("ramp 2/5 14:30") && overview.contains(told), "{overview}");
    }
    let name = app.live().sources()[0].source.clone();
    app.go(Page::Source(name));
    assert_snapshot!("ramp-source-120x36", text(&app, 120, 36));
    assert_snapshot!("ramp-source-120x44", text(&app, 120, 44));
    assert_snapshot!("ramp-source-80x24", text(&app, 80, 24));
    let held = ramp(&json!({ "held": ["lag 8.1 s > 5.0 s"], "next_at": null }));
    let mut app = with(Some(&held), &gates(Some("parity is 99.71% at most, < 99.9%")));
    let overview = text(&app, 120, 36);
    assert!(overview.contains("ramp 2/5 held") && overview.contains("ramp held at 2/5: lag 8.1 s > 5.0 s"), "{overview}");
    press(&mut app, &["2"]);
    assert!(text(&app, 120, 36).contains("ramp 2/5 held"));
}

#[test]
fn what_a_ramp_takes_from_segment_is_typed_out_once() {
    let mut app = with(None, &gates(None));
    let source = recorded("calm", "snapshot")["routes"]["routes"][0].clone();
    let name = source["name"].as_str().unwrap().to_owned();
    press(&mut app, &["2", "W", "@"]);
    // Its steps have the focus: they are asked about as they are typed.
    let effects = press(&mut app, &["backspace", "0"]);
    let planned = effects.into_iter().rev().find_map(|effect| match effect {
        Effect::Ask(question @ Question::Plan(_, Change::Ramp(_))) => Some(question),
        _ => None,
    });
    let step = |before: &str, after: &str, segment: f64| {
        let route = |route: &str, share: f64| {
            let mut changed = source.clone();
            changed["route"] = json!(route);
            changed["segment"] = json!(format!("{share}%"));
            changed["rudderstack"] = json!(format!("{}%", 100.0 - share));
            changed
        };
        let impact = json!({
            "received_per_second": 402.0, "segment": { "before": 402.0, "after": 4.02 * segment },
            "rudderstack": { "before": 402.0, "after": 402.0 - 4.02 * segment }, "waiting_for_rudderstack": 0, "notes": [],
        });
        json!({ "before": route(before, 100.0), "after": route(after, segment), "impact": impact })
    };
    let plan = json!({
        "schema": "segue.ramp-begun/v1", "changed": false, "source": source["source"], "name": name, "revision": source["revision"],
        "steps": [step("both", "cutover=10%", 90.0), step("cutover=10%", "cutover=50%", 50.0), step("cutover=50%", "rudderstack-only", 0.0)],
        "takes_from_segment": true, "every": "30m", "on_red": "hold", "gates": gates(None),
        "bounds": "parity>=99.9%,pairs>=1000,lag<=5s,errors<=0.5%,quarantine<=0,window=15m",
        "notes": ["Nobody is asked again: Segment gets less by each step whose gates are green."],
    });
    let now = app.now;
    app.hear(Message::Answer(planned.unwrap(), Ok(plan)), now);
    assert_snapshot!("ramp-start-120x36", text(&app, 120, 36));
    assert_snapshot!("ramp-start-80x24", text(&app, 80, 24));
    // Enter goes from line to line, and confirms nothing.
    let effects = press(&mut app, &["enter", "enter", "enter", "enter", "enter", "enter"]);
    assert!(made(effects).is_empty());
    type_in(&mut app, &name);
    let done = made(press(&mut app, &["enter", "y"]));
    let [Change::Ramp(asked)] = &done[..] else { panic!("{done:?}") };
    assert_eq!((asked.source.as_str(), asked.steps.as_str(), asked.every.as_deref()), ("web-checkout", "10,25,50,100", Some("30m")));
    assert_eq!((asked.if_revision, asked.on_red.as_deref()), (source["revision"].as_u64(), Some("hold")));
}

#[test]
fn the_key_that_starts_one_steers_the_one_that_runs() {
    let mut app = with(Some(&ramp(&json!({}))), &gates(None));
    let effects = press(&mut app, &["2", "W", "@"]);
    let planned = effects.into_iter().find_map(|effect| match effect {
        Effect::Ask(question @ Question::Plan(_, Change::RampStep { step: "pause", .. })) => Some(question),
        _ => None,
    });
    let mut answer = ramp(&json!({}));
    answer["schema"] = json!("segue.ramp/v1");
    let now = app.now;
    app.hear(Message::Answer(planned.unwrap(), Ok(answer)), now);
    assert_snapshot!("ramp-steer-120x36", text(&app, 120, 36));
    let done = made(press(&mut app, &["enter", "y"]));
    assert!(matches!(&done[..], [Change::RampStep { step: "pause", .. }]), "{done:?}");
    // What lets Segment lose more again is typed out.
    let paused = ramp(&json!({ "state": "paused", "stopped": "somebody paused it", "next_at": null }));
    let mut app = with(Some(&paused), &gates(None));
    press(&mut app, &["2", "W", "@"]);
    let shown = text(&app, 120, 36);
    assert!(shown.contains("resume") && shown.contains("Type web-checkout") && shown.contains("somebody paused it"), "{shown}");
}
