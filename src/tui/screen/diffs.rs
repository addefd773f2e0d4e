//! Where the two sides differ in what they are sent, over the newest events.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        figure::{count, share},
        look::Tone,
        table::{Cell, Column, Row, Table},
        text::{Phrase, clean, cut, toned, wrapped},
    },
    Pane, frame, framed_table, lines, split_rows,
};
use crate::wire::{DiffGroup, SentDiffs};

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let evidence = if app.zoomed || area.height < 18 { 0 } else { 6 };
    let (table, below) = split_rows(area, area.height - evidence);
    let note = match &app.data().diffs {
        Some(diffs) => {
            let hidden = diffs.groups.iter().filter(|group| group.noise).count();
            if app.noise { "I hides noise".to_owned() } else { format!("{hidden} of noise hidden, I shows") }
        }
        None => String::new(),
    };
    framed_table(app, Pane::Diffs, "Sent diffs", &note, table, buffer);
    if evidence > 0 {
        let inner = frame(below, buffer, "What was compared", "evidence: sent", &app.look);
        let columns = inner.width.saturating_sub(2);
        let rows = match &app.data().diffs {
            Some(diffs) => compared(app, diffs, columns),
            None => vec![toned(&app.look, Tone::Dim, " looking at the newest events of the journal")],
        };
        lines(inner, buffer, rows);
    }
}

fn compared(app: &App, diffs: &SentDiffs, columns: u16) -> Vec<Phrase> {
    let look = &app.look;
    let since = diffs.since.as_deref().map_or_else(|| "none yet".to_owned(), |since| format!("since {}", look.time_of_day(since)));
    let mut rows = vec![Phrase::new().plain(format!(
        " {} events that both sides get, {since}; equal but for noise {} ({}); never sent to RudderStack {}",
        count(diffs.events),
        count(diffs.equal),
        share(diffs.equal, diffs.events),
        count(diffs.refused)
    ))];
    let what = "This is what segue sends to each side, field by field, with the rule that made each difference: it works from the first event. What the vendors make of it shows only behind them.";
    rows.extend(wrapped(what, columns).into_iter().map(|line| toned(look, Tone::Dim, format!(" {}", cut(&line, columns, look)))));
    rows
}

pub(super) fn table(app: &App) -> Table {
    let columns = vec![
        Column::left("CLASS", 5, 1),
        Column::growing("PATH", 26, 0),
        Column::left("KIND", 16, 0),
        Column::left("RULES", 24, 2),
        Column::right("EVENTS", 8, 0),
        Column::right("SHARE", 6, 1),
        Column::left("SOURCE", 15, 3),
        Column::left("VERSIONS", 22, 4),
    ];
    let data = app.data();
    let Some(diffs) = &data.diffs else {
        let why = data.unanswered.get("diffs").map_or_else(|| "looking at the newest events".to_owned(), |refusal| clean(&refusal.what));
        return Table { columns, rows: Vec::new(), empty: vec![why] };
    };
    let shown = diffs.groups.iter().filter(|group| app.noise || !group.noise);
    let rows = shown.map(|group| row(group, diffs.events)).collect();
    let empty = if diffs.events == 0 {
        vec![
            "no event that both sides get is in the newest part of the journal:".to_owned(),
            "give a source some of both: m on 2 Sources, shadow 10%".to_owned(),
        ]
    } else {
        vec!["both sides are sent the same, but for noise: I shows that".to_owned()]
    };
    Table { columns, rows, empty }
}

fn row(group: &DiffGroup, events: u64) -> Row {
    let class = if group.noise { Cell::toned(Tone::Dim, "noise") } else { Cell::toned(Tone::Warning, "diff") };
    #[expect(clippy::cast_precision_loss, reason = "figures are only compared")]
    let figure = |text: String| Cell::figure(group.events as f64, text);
    let rules = if group.rules.is_empty() { Cell::toned(Tone::Trouble, "? no rule") } else { Cell::new(clean(&group.rules.join(", "))) };
    let cells = vec![
        class,
        Cell::new(clean(&group.path)),
        Cell::new(kind(&group.kind)),
        rules,
        figure(count(group.events)),
        figure(share(group.events, events)),
        Cell::new(clean(&group.source)),
        Cell::new(clean(&group.apps.join(", "))),
    ];
    Row { key: group_key(group), cells }
}

/// A kind of difference, in words.
pub(super) fn kind(kind: &str) -> &str {
    match kind {
        "only_segment" => "only Segment",
        "only_rudderstack" => "only RudderStack",
        other => other,
    }
}

/// What a group is: selection follows it.
pub(in crate::tui) fn group_key(group: &DiffGroup) -> String {
    format!("{}\u{1f}{}\u{1f}{}", group.source, group.path, group.kind)
}
