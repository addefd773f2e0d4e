//! What the tests of the dashboard are fed: answers of the admin API, recorded from a running sidecar (`tests/dashboard_recordings.rs`).

use std::{fs, path::PathBuf, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::{Terminal, backend::TestBackend, buffer::Buffer};
use serde_json::Value;

use super::{
    app::{App, Effect},
    data::Data,
    feed::{Message, Refusal},
    look::{Look, Palette, Signs},
    question::Question,
    screen,
};

pub(super) const MONO: Look = look(Palette::Mono, Signs::Unicode);
pub(super) const COLOUR: Look = look(Palette::Terminal, Signs::Unicode);
pub(super) const ASCII: Look = look(Palette::Mono, Signs::Ascii);

const fn look(palette: Palette, signs: Signs) -> Look {
    Look { palette, signs, zone: TimeZone::UTC }
}

/// A recorded answer.
pub(super) fn recorded(part: &str, name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/tui/recorded").join(part).join(format!("{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(part: &str, name: &str) -> T {
    serde_json::from_value(recorded(part, name)).unwrap()
}

/// The dashboard a moment after it was attached, in calm or in trouble.
pub(super) fn app(part: &str, look: &Look) -> App {
    let mut app = App::new(look.clone(), "orders-7f".to_owned(), Duration::ZERO);
    let now = Duration::from_secs(1);
    app.hear(Message::Trying { attempt: 1 }, now);
    app.hear(Message::Snapshot(Box::new(read(part, "snapshot"))), now);
    for (question, name) in [
        (Question::Me, "me"),
        (Question::History, "history"),
        (Question::Limits, "limits"),
        (Question::Replays, "replays"),
        (Question::Quarantine, "quarantine"),
        (Question::Series { window: "1m", source: None }, "series"),
        (Question::Sparks, "sparks"),
        (Question::Versions, "versions"),
        (Question::Diffs, "diffs"),
        (Question::Evidence, "evidence"),
        (Question::Findings, "findings"),
    ] {
        app.hear(Message::Answer(question, Ok(recorded(part, name))), now);
    }
    app.hear(Message::Figures(Box::new(read(part, "figures"))), now + Duration::from_secs(1));
    app
}

/// The same, once it shows a page that asks for more.
pub(super) fn answer(app: &mut App, question: Question, part: &str, name: &str) {
    let now = app.now;
    app.hear(Message::Answer(question, Ok(recorded(part, name))), now);
}

/// What it says no with.
pub(super) fn refuse(app: &mut App, question: Question, what: &str) {
    let now = app.now;
    app.hear(Message::Answer(question, Err(Refusal { what: what.to_owned(), fix: String::new() })), now);
}

/// What a dashboard knows in calm.
pub(super) fn data() -> Data {
    app("calm", &MONO).live().clone()
}

/// Presses keys by their names, a second apart: a person is slower than the dead time of dialogs.
pub(super) fn press(app: &mut App, keys: &[&str]) -> Vec<Effect> {
    let mut effects = Vec::new();
    for key in keys {
        effects.extend(press_at(app, key, app.now + Duration::from_secs(1)));
    }
    effects
}

pub(super) fn press_at(app: &mut App, key: &str, now: Duration) -> Vec<Effect> {
    let (code, modifiers) = match key {
        "enter" => (KeyCode::Enter, KeyModifiers::NONE),
        "esc" => (KeyCode::Esc, KeyModifiers::NONE),
        "tab" => (KeyCode::Tab, KeyModifiers::NONE),
        "S-tab" => (KeyCode::BackTab, KeyModifiers::SHIFT),
        "down" => (KeyCode::Down, KeyModifiers::NONE),
        "backspace" => (KeyCode::Backspace, KeyModifiers::NONE),
        "space" => (KeyCode::Char(' '), KeyModifiers::NONE),
        key if key.starts_with("ctrl-") => (KeyCode::Char(key.chars().last().unwrap()), KeyModifiers::CONTROL),
        key => (KeyCode::Char(key.chars().next().unwrap()), KeyModifiers::NONE),
    };
    app.key(KeyEvent::new(code, modifiers), now)
}

/// Types a text.
pub(super) fn type_in(app: &mut App, text: &str) {
    for char in text.chars() {
        press(app, &[&char.to_string()]);
    }
}

/// The screen at that size, with its colours.
pub(super) fn buffer(app: &App, columns: u16, rows: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| screen::draw(app, frame)).unwrap();
    terminal.backend().buffer().clone()
}

/// The screen as text, a line each.
pub(super) fn text(app: &App, columns: u16, rows: u16) -> String {
    let buffer = buffer(app, columns, rows);
    let line = |row: u16| {
        let cells: String = (0..columns).map(|column| buffer[(column, row)].symbol().to_owned()).collect();
        cells.trim_end().to_owned()
    };
    (0..rows).map(line).collect::<Vec<_>>().join("\n")
}
