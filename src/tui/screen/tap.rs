//! Events as they pass: a sample, which says of how many.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        figure::{count, pace},
        look::Tone,
        table::{Cell, Column, Row, Table},
        tapped::Passed,
        text::clean,
    },
    Pane, framed_table,
};
use crate::wire::TapOutcome;

/// Events that can be scrolled through without a filter.
const ROWS_MAX: usize = 300;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let tapped = &app.data().tapped;
    let sample = if tapped.shown_per_second > 0.0 && tapped.seen_per_second > tapped.shown_per_second * 1.05 {
        format!(" (1 in {:.0})", tapped.seen_per_second / tapped.shown_per_second)
    } else {
        String::new()
    };
    let follows = if app.tap_until.is_none() { "following" } else { "stands: F follows" };
    let note = format!(
        "shows {}/s of {}/s{sample}   lost {}   {follows}",
        pace(tapped.shown_per_second),
        pace(tapped.seen_per_second),
        count(tapped.lost)
    );
    framed_table(app, Pane::Tap, "Live tap", &note, area, buffer);
}

pub(super) fn table(app: &App) -> Table {
    let columns = vec![
        Column::left("TIME", 8, 2),
        Column::left("SOURCE", 15, 0),
        Column::left("TYPE", 8, 1),
        Column::growing("NAME", 20, 0),
        Column::left("PERSON", 9, 4),
        Column::left("APP", 18, 5),
        Column::left("ROUTE", 5, 2),
        Column::left("SEGMENT", 11, 0),
        Column::left("RUDDERSTACK", 11, 0),
    ];
    // The newest first: a new one moves the others down, and what is selected stays selected.
    let is_shown = |passed: &&Passed| app.tap_until.is_none_or(|until| passed.row.id <= until);
    // A screen shows a few of them; a filter looks through all.
    let rows_max = if app.sight(Pane::Tap).filter.is_empty() { ROWS_MAX } else { usize::MAX };
    let rows = app.data().tapped.rows().rev().filter(is_shown).take(rows_max).map(|passed| row(app, passed)).collect();
    let why = app.data().unanswered.get("tap").map(|refusal| clean(&refusal.what));
    Table { columns, rows, empty: vec![why.unwrap_or_else(|| "no event has passed since this was opened".to_owned())] }
}

fn row(app: &App, passed: &Passed) -> Row {
    let event = &passed.row;
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), clean);
    let route = match (event.segment, event.rudderstack) {
        (true, true) => "S+R",
        (true, false) => "S",
        (false, true) => "R",
        (false, false) => "-",
    };
    let cells = vec![
        Cell::toned(Tone::Dim, app.look.time_of_day(&event.at)),
        Cell::new(clean(&event.source)),
        Cell::new(text(&event.kind)),
        Cell::new(text(&event.name)),
        Cell::new(text(&event.person)),
        Cell::new(text(&event.app)),
        Cell::new(route),
        outcome(event.segment, passed.segment.as_ref()),
        outcome(event.rudderstack, passed.rudderstack.as_ref()),
    ];
    Row { key: event.id.to_string(), cells }
}

/// What became of it at one side; `?`: not known yet.
fn outcome(planned: bool, outcome: Option<&TapOutcome>) -> Cell {
    match outcome {
        None if planned => Cell::toned(Tone::Dim, "?"),
        None => Cell::toned(Tone::Dim, "-"),
        Some(outcome) if outcome.outcome == "delivered" => Cell::new(format!("{} {:>5}ms", outcome.status, outcome.took_ms)),
        Some(outcome) => {
            let status = if outcome.status == 0 { String::new() } else { format!("{} ", outcome.status) };
            Cell::toned(Tone::Warning, format!("{status}{}", clean(&outcome.outcome)))
        }
    }
}
