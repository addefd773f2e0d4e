//! Who changed what, when and why.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        look::Tone,
        table::{Cell, Column, Row, Table},
        text::clean,
    },
    Pane, framed_table, notes,
};
use crate::wire::RouteEvent;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    framed_table(app, Pane::History, "Audit", "only added to, and sealed: segue audit verify", area, buffer);
}

pub(super) fn table(app: &App) -> Table {
    let columns = vec![
        Column::right("REV", 5, 0),
        Column::left("WHEN", 14, 0),
        Column::left("WHO", 12, 0),
        Column::left("ACTION", 11, 0),
        Column::growing("CHANGE", 26, 0),
        Column::left("WHY", 24, 2),
    ];
    let rows = app.data().history.iter().map(|change| row(app, change)).collect();
    Table { columns, rows, empty: vec!["nothing was changed yet: all routes are the configuration's".to_owned()] }
}

fn row(app: &App, change: &RouteEvent) -> Row {
    let tone = if change.what.starts_with("kill") { Tone::Trouble } else { Tone::Plain };
    let undoes = change.undoes.map(|revision| format!("   takes back rev {revision}")).unwrap_or_default();
    let events = change.events.map(|events| format!("   {events} events")).unwrap_or_default();
    let told = notes::told(change);
    let told = told.strip_prefix(change.what.as_str()).unwrap_or(&told).trim().to_owned();
    #[expect(clippy::cast_precision_loss, reason = "it is only compared")]
    let cells = vec![
        Cell::figure(change.revision as f64, change.revision.to_string()),
        Cell::new(app.look.day_and_time(&change.at)),
        // Of a ramp's own moves: who confirmed it stands beside its start.
        Cell::new(clean(change.by.split(',').next().unwrap_or_default())),
        Cell::toned(tone, clean(&change.what)),
        Cell::new(format!("{told}{events}{undoes}")),
        Cell::new(change.reason.as_deref().map(clean).unwrap_or_default()),
    ];
    Row { key: change.revision.to_string(), cells }
}
