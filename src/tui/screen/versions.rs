//! Which apps, versions and libraries events come from, by the newest part of the journal.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        figure::{count, share},
        table::{Cell, Column, Row, Table},
        text::clean,
    },
    Pane, framed_table,
};
use crate::wire::VersionSeen;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let note = match &app.data().versions {
        Some(versions) => match &versions.since {
            Some(since) => format!("{} events since {}", count(versions.events), app.look.time_of_day(since)),
            None => "no events in the journal".to_owned(),
        },
        None => String::new(),
    };
    framed_table(app, Pane::Versions, "Apps and their versions", &note, area, buffer);
}

pub(super) fn table(app: &App) -> Table {
    let columns = vec![
        Column::growing("SOURCE", 15, 0),
        Column::left("APP", 14, 0),
        Column::left("VERSION", 10, 0),
        Column::left("LIBRARY", 24, 1),
        Column::right("EVENTS", 9, 0),
        Column::right("SHARE", 6, 2),
        Column::right("PEOPLE", 8, 3),
        Column::right("TO SEG", 7, 4),
        Column::right("TO RS", 7, 4),
        Column::left("LAST", 8, 2),
    ];
    let data = app.data();
    let Some(versions) = &data.versions else {
        let why = data.unanswered.get("versions").map_or_else(|| "looking at the journal".to_owned(), |refusal| clean(&refusal.what));
        return Table { columns, rows: Vec::new(), empty: vec![why] };
    };
    let of_source = |source: &str| versions.versions.iter().filter(|seen| seen.source == source).map(|seen| seen.events).sum();
    let rows = versions.versions.iter().map(|seen| row(app, seen, of_source(&seen.source))).collect();
    Table { columns, rows, empty: vec!["no events in the newest part of the journal".to_owned()] }
}

fn row(app: &App, seen: &VersionSeen, all: u64) -> Row {
    let told = |text: &Option<String>| text.as_deref().map_or_else(|| "(not told)".to_owned(), clean);
    #[expect(clippy::cast_precision_loss, reason = "figures are only compared")]
    let figure = |number: u64, text: String| Cell::figure(number as f64, text);
    let cells = vec![
        Cell::new(clean(&seen.source)),
        Cell::new(told(&seen.app)),
        Cell::new(told(&seen.version)),
        Cell::new(told(&seen.library)),
        figure(seen.events, count(seen.events)),
        figure(seen.events, share(seen.events, all)),
        figure(seen.people, count(seen.people)),
        figure(seen.segment, share(seen.segment, seen.events)),
        figure(seen.rudderstack, share(seen.rudderstack, seen.events)),
        Cell::new(app.look.time_of_day(&seen.last_at)),
    ];
    let key = [Some(seen.source.as_str()), seen.app.as_deref(), seen.version.as_deref(), seen.library.as_deref()];
    Row { key: key.map(Option::unwrap_or_default).join("\u{1f}"), cells }
}
