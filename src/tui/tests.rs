//! Every screen at two sizes, in calm and in trouble, in colour, without and in ASCII; and what keys do to it.

use std::{collections::BTreeSet, time::Duration};

use insta::assert_snapshot;
use serde_json::json;

use super::{
    app::{App, Effect, Page},
    dialog::Aim,
    feed::Message,
    keys::Screen,
    question::{Change, Question},
    trial::{ASCII, COLOUR, MONO, answer, app, buffer, press, press_at, recorded, refuse, text, type_in},
};

const SIZES: [(u16, u16); 2] = [(120, 36), (80, 24)];

/// Every page that can be shown, by its name.
fn pages(part: &str) -> Vec<(&'static str, Page)> {
    let event = recorded(part, "event");
    let message_id = event["message_id"].as_str().unwrap().to_owned();
    let mut pages = vec![
        ("overview", Page::Screen(Screen::Overview)),
        ("sources", Page::Screen(Screen::Sources)),
        ("diffs", Page::Screen(Screen::Diffs)),
        ("tap", Page::Screen(Screen::Tap)),
        ("destinations", Page::Screen(Screen::Destinations)),
        ("versions", Page::Screen(Screen::Versions)),
        ("journal", Page::Screen(Screen::Journal)),
        ("audit", Page::Screen(Screen::Audit)),
        ("source", Page::Source("web-checkout".to_owned())),
        ("event", Page::Event { message_id, source: event["source"].as_str().unwrap().to_owned() }),
    ];
    if part == "trouble" {
        let id = recorded(part, "entry")["id"].as_u64().unwrap();
        pages.push(("entry", Page::Entry(id)));
    }
    pages
}

/// The dashboard on a page, with what that asks for.
fn at(part: &str, page: &Page, look: &super::Look) -> App {
    let mut app = app(part, look);
    app.window = 0;
    app.go(page.clone());
    match page {
        Page::Source(source) => answer(&mut app, Question::Series { window: "1m", source: Some(source.clone()) }, part, "series-of-one"),
        Page::Event { message_id, source } => {
            let question = Question::Event { message_id: message_id.clone(), source: Some(source.clone()), reveal: false };
            answer(&mut app, question, part, "event");
        }
        Page::Entry(id) => answer(&mut app, Question::Entry(*id), part, "entry"),
        Page::Screen(Screen::Tap) => {
            for tap in recorded(part, "taps").as_array().unwrap() {
                let now = app.now;
                app.hear(Message::Tap(Box::new(serde_json::from_value(tap.clone()).unwrap())), now);
            }
        }
        Page::Screen(_) => answer(&mut app, Question::Series { window: "1m", source: None }, part, "series"),
    }
    app
}

#[test]
fn every_screen_looks_as_it_was_looked_at() {
    for part in ["calm", "trouble"] {
        for (name, page) in pages(part) {
            for (columns, rows) in SIZES {
                let app = at(part, &page, &MONO);
                assert_snapshot!(format!("{part}-{name}-{columns}x{rows}"), text(&app, columns, rows));
            }
        }
    }
}

#[test]
fn colour_says_nothing_that_text_does_not() {
    for part in ["calm", "trouble"] {
        for (name, page) in pages(part) {
            for (columns, rows) in SIZES {
                let (mono, colour) = (at(part, &page, &MONO), at(part, &page, &COLOUR));
                assert_eq!(text(&mono, columns, rows), text(&colour, columns, rows), "{part} {name}");
                let plain = buffer(&mono, columns, rows);
                let is_plain =
                    |cell: &ratatui::buffer::Cell| cell.fg == ratatui::style::Color::Reset && cell.bg == ratatui::style::Color::Reset;
                assert!(plain.content().iter().all(is_plain), "{part} {name}: colour where none is wanted");
                let painted = buffer(&colour, columns, rows);
                assert!(painted.content().iter().all(|cell| cell.bg == ratatui::style::Color::Reset), "{name}: a background is painted");
            }
        }
    }
}

#[test]
fn ascii_screens_are_ascii() {
    for part in ["calm", "trouble"] {
        for (name, page) in pages(part) {
            for (columns, rows) in SIZES {
                let mut app = at(part, &page, &ASCII);
                let shown = text(&app, columns, rows);
                assert!(shown.is_ascii(), "{part} {name}:\n{shown}");
                press(&mut app, &["?"]);
                assert!(text(&app, columns, rows).is_ascii(), "help of {name}");
            }
        }
    }
    let app = at("calm", &Page::Screen(Screen::Overview), &ASCII);
    assert_snapshot!("calm-overview-ascii-120x36", text(&app, 120, 36));
}

#[test]
fn the_header_never_goes_and_says_what_is_in_force() {
    for part in ["calm", "trouble"] {
        for (name, page) in pages(part) {
            for (columns, rows) in [(120, 36), (80, 24), (60, 16), (200, 60)] {
                let app = at(part, &page, &MONO);
                let shown = text(&app, columns, rows);
                let first = shown.lines().next().unwrap();
                assert!(first.contains("segue") && first.ends_with("VIEW") && first.contains("in "), "{name} at {columns}x{rows}: {first}");
                assert_eq!(first.contains('!'), part == "trouble", "{name} at {columns}x{rows}: {first}");
            }
        }
    }
}

#[test]
fn trouble_is_named_with_what_to_do() {
    let app = at("trouble", &Page::Screen(Screen::Overview), &MONO);
    for (columns, rows) in SIZES {
        let shown = text(&app, columns, rows);
        assert!(shown.contains("android-prod") && shown.contains("RS parked"), "{shown}");
        assert!(shown.contains("Needs attention ["), "{shown}");
    }
    let wide = text(&app, 200, 40);
    assert!(wide.contains("does not take the events of android-prod"), "{wide}");
    let journal = text(&at("trouble", &Page::Screen(Screen::Journal), &MONO), 120, 36);
    for what in ["parked", "held", "web-checkout", "Quarantine [3]", "400", "Replays [1]"] {
        assert!(journal.contains(what), "{what}:\n{journal}");
    }
}

#[test]
fn names_of_others_cannot_touch_the_screen() {
    for page in [Page::Screen(Screen::Journal), Page::Screen(Screen::Tap)] {
        let mut app = at("trouble", &page, &MONO);
        press(&mut app, &["tab"]);
        let shown = text(&app, 120, 36);
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown}");
    }
    let mut app = at("trouble", &Page::Screen(Screen::Journal), &MONO);
    press(&mut app, &["tab"]);
    assert!(text(&app, 120, 36).contains("Refund \\u001b"), "{}", text(&app, 120, 36));
}

#[test]
fn people_are_masked() {
    let event = text(&at("calm", &pages("calm")[9].1, &MONO), 120, 60);
    assert!(event.contains("***") && !event.contains("anonymous-person"), "{event}");
    let tap = text(&at("calm", &Page::Screen(Screen::Tap), &MONO), 160, 40);
    assert!(tap.contains("a_..") && !tap.contains("anonymous-person"), "{tap}");
    let entry = text(&at("trouble", &pages("trouble")[10].1, &MONO), 120, 36);
    assert!(entry.contains("***") && !entry.contains("somebody@example.com"), "{entry}");
}

#[test]
fn a_kill_switch_turns_the_header_over() {
    let mut app = at("trouble", &Page::Screen(Screen::Overview), &MONO);
    let now = app.now;
    app.hear(Message::Snapshot(Box::new(serde_json::from_value(recorded("trouble", "killed")).unwrap())), now);
    for (columns, rows) in SIZES {
        let shown = text(&app, columns, rows);
        assert!(shown.starts_with(" segue  KILL SWITCH since "), "{shown}");
        let reversed = ratatui::style::Modifier::REVERSED;
        assert!((0..columns).all(|column| buffer(&app, columns, rows)[(column, 0)].modifier.contains(reversed)));
    }
    press(&mut app, &["K"]);
    assert!(matches!(app.dialog.as_ref().map(|dialog| &dialog.aim), Some(Aim::Kill { on: false })));
}

#[test]
fn what_is_old_says_so_and_nothing_can_be_changed() {
    let mut app = at("calm", &Page::Screen(Screen::Sources), &MONO);
    app.hear(Message::Lost { why: "no sidecar answers".to_owned(), pause: Duration::from_secs(8) }, Duration::from_secs(10));
    app.hear(Message::Trying { attempt: 6 }, Duration::from_secs(12));
    app.tick(Duration::from_secs(14));
    let shown = text(&app, 120, 36);
    assert!(shown.contains("DISCONNECTED 4.0s") && shown.contains("try 6 in 4s") && shown.contains("values are from "), "{shown}");
    assert!(shown.contains("web-checkout") && shown.lines().next().unwrap().ends_with("STALE"), "{shown}");
    let dim = ratatui::style::Modifier::DIM;
    assert!(buffer(&app, 120, 36)[(3, 4)].modifier.contains(dim), "old values look so");
    for key in ["m", "u", "K"] {
        assert!(press(&mut app, &[key]).iter().all(|effect| !matches!(effect, Effect::Ask(Question::Make(..)))));
        assert!(app.dialog.is_none() && text(&app, 120, 36).contains("nothing can be changed"));
    }
    assert_snapshot!("lost-sources-120x36", text(&app, 120, 36));
    assert_snapshot!("lost-sources-80x24", text(&app, 80, 24));
}

#[test]
fn an_empty_sidecar_says_how_to_begin() {
    let mut snapshot = recorded("calm", "snapshot");
    snapshot["routes"]["routes"] = json!([]);
    (snapshot["lanes"], snapshot["sources"]) = (json!([]), json!([]));
    let mut app = App::new(MONO.clone(), "new".to_owned(), Duration::ZERO);
    assert!(text(&app, 80, 24).contains("connecting to new"));
    app.hear(Message::Snapshot(Box::new(serde_json::from_value(snapshot).unwrap())), Duration::from_secs(1));
    app.go(Page::Screen(Screen::Sources));
    assert_snapshot!("empty-sources-80x24", text(&app, 80, 24));
    let mut app = App::new(MONO.clone(), "new".to_owned(), Duration::ZERO);
    app.hear(Message::Lost { why: "there is no socket at /run/x".to_owned(), pause: Duration::from_secs(1) }, Duration::ZERO);
    assert_snapshot!("no-sidecar-80x24", text(&app, 80, 24));
}

/// The dialog of a flip, its plan answered.
fn flip(app: &mut App, keys: &[&str], after: &serde_json::Value) {
    press(app, &["m"]);
    let effects = press(app, keys);
    let planned = effects.into_iter().rev().find_map(|effect| match effect {
        Effect::Ask(question @ Question::Plan(..)) => Some(question),
        _ => None,
    });
    let before = recorded("calm", "snapshot")["routes"]["routes"][0].clone();
    let mut changed = before.clone();
    for (name, value) in after.as_object().unwrap() {
        changed[name] = value.clone();
    }
    let impact = json!({
        "received_per_second": 402.0, "segment": { "before": 402.0, "after": 4.0 }, "rudderstack": { "before": 402.0, "after": 402.0 },
        "waiting_for_rudderstack": 214,
        "recent": { "since": "2026-11-27T00:00:00.000Z", "events": 5000, "people": 960, "apps": [{ "app": "web 2026.11.2", "events": 5000 }] },
        "notes": ["What RudderStack alone got is not in Segment after an undo; a replay can send it."],
    });
    let answer = json!({ "schema": "segue.routes-changed/v1", "changed": false, "revision": 2, "sources": [{ "before": before, "after": changed, "impact": impact }] });
    let now = app.now;
    app.hear(Message::Answer(planned.unwrap(), Ok(answer)), now);
}

fn to_rudderstack() -> serde_json::Value {
    json!({ "route": "rudderstack-only", "segment": "0%", "rudderstack": "100%" })
}

fn made(effects: &[Effect]) -> Vec<&Change> {
    let change = |effect: &Effect| matches!(effect, Effect::Ask(Question::Make(..)));
    effects
        .iter()
        .filter(|effect| change(effect))
        .map(|effect| match effect {
            Effect::Ask(Question::Make(_, change)) => change,
            _ => unreachable!(),
        })
        .collect()
}

#[test]
fn what_segment_would_lose_is_typed_out_and_enter_never_confirms_it() {
    let mut app = app("calm", &MONO);
    press(&mut app, &["2", "W"]);
    flip(&mut app, &["down", "down"], &to_rudderstack());
    assert_snapshot!("flip-danger-120x36", text(&app, 120, 36));
    assert_snapshot!("flip-danger-80x24", text(&app, 80, 24));
    // Enter goes on, and on, and closes: nothing is made by it.
    let effects = press(&mut app, &["enter", "enter"]);
    assert!(made(&effects).is_empty() && text(&app, 120, 36).contains("type web-checkout first"));
    assert!(made(&press(&mut app, &["y"])).is_empty(), "not typed yet");
    press(&mut app, &["S-tab"]);
    type_in(&mut app, "web-checkou");
    assert!(made(&press(&mut app, &["enter", "y"])).is_empty(), "a letter is missing");
    press(&mut app, &["S-tab", "t", "enter"]);
    let effects = press(&mut app, &["y"]);
    let [Change::Route { source, asked }] = made(&effects)[..] else { panic!("{effects:?}") };
    let revision = recorded("calm", "snapshot")["routes"]["routes"][0]["revision"].as_u64();
    assert_eq!((source.as_str(), asked.route.as_str(), asked.if_revision), ("web-checkout", "rudderstack-only", revision));
    assert!(made(&press(&mut app, &["y"])).is_empty(), "once is enough");
}

#[test]
fn a_dialog_is_dead_at_first_and_to_what_is_pasted() {
    let mut app = app("calm", &MONO);
    press(&mut app, &["2", "W", "K"]);
    let planned = Question::Plan(app.dialogs, Change::Kill { on: true, reason: None });
    let now = app.now;
    let status = json!({ "schema": "segue.kill/v1", "on": false, "changed": false, "revision": 2, "waiting": 7 });
    app.hear(Message::Answer(planned, Ok(status)), now);
    assert_snapshot!("kill-120x36", text(&app, 120, 36));
    assert_snapshot!("kill-80x24", text(&app, 80, 24));
    assert!(made(&press_at(&mut app, "A", now + Duration::from_millis(399))).is_empty(), "it came with the key that opened it");
    assert!(made(&app.paste("A", now + Duration::from_secs(1))).is_empty());
    assert!(made(&press_at(&mut app, "K", now + Duration::from_secs(1))).is_empty(), "the key that opens does not confirm");
    assert!(made(&press_at(&mut app, "enter", now + Duration::from_secs(1))).is_empty() && app.dialog.is_none(), "Cancel has the focus");
}

#[test]
fn the_kill_switch_needs_no_arming_and_everything_else_does() {
    let mut app = app("calm", &MONO);
    press(&mut app, &["K"]);
    let now = app.now;
    let status = json!({ "schema": "segue.kill/v1", "on": false, "changed": false, "revision": 2, "waiting": 7 });
    app.hear(Message::Answer(Question::Plan(app.dialogs, Change::Kill { on: true, reason: None }), Ok(status)), now);
    assert_eq!(made(&press(&mut app, &["A"])), [&Change::Kill { on: true, reason: None }]);

    let mut app = super::trial::app("calm", &MONO);
    press(&mut app, &["2"]);
    flip(&mut app, &["down", "down"], &to_rudderstack());
    press(&mut app, &["enter"]);
    type_in(&mut app, "web-checkout");
    assert!(made(&press(&mut app, &["enter", "y"])).is_empty());
    assert!(text(&app, 120, 36).contains("view mode: W arms changes"));
    press(&mut app, &["W"]);
    assert_eq!(made(&press(&mut app, &["y"])).len(), 1);
    // Fifteen minutes later they are no longer armed.
    let later = app.now + Duration::from_mins(16);
    app.tick(later);
    assert!(app.disarmed().is_some());
}

#[test]
fn who_may_only_look_is_told_so() {
    let mut app = app("calm", &MONO);
    let now = app.now;
    app.hear(Message::Answer(Question::Me, Ok(json!({ "schema": "segue.me/v1", "uid": 1000, "roles": ["look"] }))), now);
    press(&mut app, &["W"]);
    assert!(app.armed().is_none() && text(&app, 120, 36).contains("may look, not operate"));
    press(&mut app, &["K"]);
    assert!(text(&app, 120, 36).contains("your user may look, not operate"));
}

#[test]
fn a_change_by_somebody_else_is_seen_before_it_is_overwritten() {
    let mut app = app("calm", &MONO);
    press(&mut app, &["2", "W"]);
    flip(&mut app, &["down", "down"], &to_rudderstack());
    let mut routes = recorded("calm", "snapshot")["routes"].clone();
    routes["routes"][0]["revision"] = json!(77);
    let now = app.now;
    app.hear(Message::Answer(Question::Routes, Ok(routes)), now);
    assert!(text(&app, 120, 36).contains("Somebody changed it"), "{}", text(&app, 120, 36));
}

#[test]
fn marked_sources_are_changed_together_and_counted_out() {
    let mut app = app("calm", &MONO);
    press(&mut app, &["2", "W", "space", "space", "m"]);
    assert!(text(&app, 120, 36).contains("Change the routes of 2 sources"));
    press(&mut app, &["down", "down", "enter"]);
    let shown = text(&app, 120, 36);
    assert!(shown.contains("Type 2 sources"), "{shown}");
}

#[test]
fn what_undo_cannot_bring_back_is_counted_and_offered() {
    let mut app = app("trouble", &MONO);
    press(&mut app, &["W", "u"]);
    let changes = Change::Undo { source: None, to_revision: None, reason: None };
    let route = |route: &str, segment: &str, revision: u64| json!({ "source": "web-checkout", "name": "web-checkout", "revision": revision, "route": route, "segment": segment, "rudderstack": "100%", "verify": "0%", "configured": { "route": "both", "segment": "100%", "rudderstack": "100%", "verify": "0%" } });
    let planned = json!({ "schema": "segue.routes-changed/v1", "changed": false, "revision": 42, "sources": [{ "before": route("rudderstack-only", "0%", 42), "after": route("both", "100%", 43) }] });
    let now = app.now;
    let asked = app.hear(Message::Answer(Question::Plan(app.dialogs, changes.clone()), Ok(planned.clone())), now);
    let missed: Vec<Question> = asked
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::Ask(question @ Question::Missed(..)) => Some(question),
            _ => None,
        })
        .collect();
    assert_eq!(missed.len(), 2, "both sides are asked about");
    for question in missed {
        let Question::Missed(_, asked) = &question else { unreachable!() };
        let events = if asked.destination == "segment" { 151_956 } else { 0 };
        let plan = json!({ "schema": "segue.replay-plan/v1", "source": "web-checkout", "destination": asked.destination, "events": events, "people": 9, "complete": true, "rate": "200/s", "seconds": 9, "warnings": [], "command": "segue replay start", "asked": asked });
        app.hear(Message::Answer(question, Ok(plan)), now);
    }
    assert_snapshot!("undo-120x36", text(&app, 120, 36));
    assert_snapshot!("undo-80x24", text(&app, 80, 24));
    press(&mut app, &["b"]);
    assert_eq!(made(&press(&mut app, &["y"])), [&changes]);
    let now = app.now;
    let effects = app.hear(Message::Answer(Question::Make(app.dialogs, changes), Ok(planned)), now);
    let [Change::Replay(replay)] = made(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((replay.destination.as_str(), replay.last_revision, replay.rate.as_deref()), ("segment", Some(42), Some("300/s")));
    // A backfill that is refused is no backfill that runs.
    let backfill = Question::Make(app.dialogs, Change::Replay(replay.clone()));
    refuse(&mut app, backfill, "nothing is kept of that time");
    assert!(text(&app, 120, 36).contains("nothing is kept of that time"));
}

#[test]
fn filters_sorts_and_freezes() {
    let mut app = app("calm", &MONO);
    press(&mut app, &["2", "/"]);
    type_in(&mut app, "prod");
    press(&mut app, &["enter"]);
    let shown = text(&app, 120, 36);
    assert!(shown.contains("[2 of 5]") && shown.contains("filter: prod") && !shown.contains("billing-jobs"), "{shown}");
    press(&mut app, &["esc"]);
    assert!(text(&app, 120, 36).contains("billing-jobs"));
    press(&mut app, &["f"]);
    assert!(text(&app, 120, 36).lines().next().unwrap().ends_with("FROZEN VIEW"));
    let before = text(&app, 120, 36);
    app.take_draw();
    let now = app.now;
    app.hear(Message::Snapshot(Box::new(serde_json::from_value(recorded("trouble", "snapshot")).unwrap())), now);
    assert_eq!(text(&app, 120, 36), before);
    press(&mut app, &["f"]);
    assert_ne!(text(&app, 120, 36), before);
}

#[test]
fn whoever_reads_the_tap_is_not_carried_away() {
    let mut app = at("calm", &Page::Screen(Screen::Tap), &MONO);
    press(&mut app, &["j", "j"]);
    let before = text(&app, 120, 36);
    assert!(before.contains("stands: F follows"), "{before}");
    let mut tap = recorded("calm", "taps")[0].clone();
    for row in tap["rows"].as_array_mut().unwrap() {
        row["id"] = json!(row["id"].as_u64().unwrap() + 1_000);
        row["source"] = json!("newest");
    }
    let now = app.now;
    app.hear(Message::Tap(Box::new(serde_json::from_value(tap).unwrap())), now);
    assert!(!text(&app, 120, 36).contains("newest"));
    press(&mut app, &["F"]);
    let after = text(&app, 120, 36);
    assert!(after.contains("newest") && after.contains("following"), "{after}");
}

#[test]
fn what_cannot_be_answered_is_said_where_it_would_stand() {
    let mut app = App::new(MONO.clone(), "old".to_owned(), Duration::ZERO);
    app.hear(Message::Snapshot(Box::new(serde_json::from_value(recorded("calm", "snapshot")).unwrap())), Duration::from_secs(1));
    refuse(&mut app, Question::Series { window: "10m", source: None }, "there is no /v1/series");
    assert!(text(&app, 120, 36).contains("there is no /v1/series"));
    app.go(Page::Screen(Screen::Versions));
    refuse(&mut app, Question::Versions, "the journal cannot be read");
    assert!(text(&app, 120, 36).contains("the journal cannot be read"));
}

#[test]
fn two_hundred_sources_are_filtered_and_scrolled_at_once() {
    let mut snapshot = recorded("calm", "snapshot");
    let one = snapshot["routes"]["routes"][0].clone();
    let many = (0..200).map(|n| {
        let mut source = one.clone();
        (source["source"], source["name"]) = (json!(format!("source-{n:03}")), json!(format!("source-{n:03}")));
        source
    });
    snapshot["routes"]["routes"] = many.collect();
    let mut app = App::new(MONO.clone(), "many".to_owned(), Duration::ZERO);
    app.hear(Message::Snapshot(Box::new(serde_json::from_value(snapshot).unwrap())), Duration::from_secs(1));
    press(&mut app, &["2", "G"]);
    assert!(text(&app, 120, 36).contains("> source-199"));
    press(&mut app, &["/"]);
    type_in(&mut app, "15");
    let shown = text(&app, 120, 36);
    let found: BTreeSet<&str> = shown.split_whitespace().filter(|word| word.starts_with("source-")).collect();
    assert!(shown.contains("[12 of 200]") && found.len() == 12, "{shown}");
}

#[test]
fn the_help_lists_the_keys_of_the_screen_at_every_size() {
    let mut app = at("calm", &Page::Screen(Screen::Journal), &MONO);
    press(&mut app, &["?"]);
    assert_snapshot!("help-120x36", text(&app, 120, 36));
    let mut seen = String::new();
    for _ in 0..60 {
        seen += &text(&app, 80, 24);
        press(&mut app, &["j"]);
    }
    for key in ["hold a lane", "KILL SWITCH", "VIEW: keys change nothing", "pause a replay"] {
        assert!(seen.contains(key), "{key}");
    }
    press(&mut app, &["esc"]);
    assert!(app.help.is_none());
}
