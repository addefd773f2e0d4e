//! Where the two sides differ: in what both vendors emitted, and in what they are sent.

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
use crate::wire::{DiffGroup, Finding, Parity, SentDiffs, Tally};

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let evidence = if app.zoomed || area.height < 18 { 0 } else { 8 };
    let (table, below) = split_rows(area, area.height - evidence);
    let note = match &app.data().diffs {
        Some(diffs) => {
            let hidden = diffs.groups.iter().filter(|group| group.noise).count();
            if app.noise { "I hides noise".to_owned() } else { format!("{hidden} of noise hidden, I shows") }
        }
        None => String::new(),
    };
    framed_table(app, Pane::Diffs, "Diffs", &note, table, buffer);
    if evidence > 0 {
        let inner = frame(below, buffer, "What was compared", "", &app.look);
        let columns = inner.width.saturating_sub(2);
        let mut rows = emitted(app, columns);
        rows.extend(match &app.data().diffs {
            Some(diffs) => compared(app, diffs, columns),
            None => vec![toned(&app.look, Tone::Dim, " looking at the newest events of the journal")],
        });
        lines(inner, buffer, rows);
    }
}

/// What is known of what both vendors emitted: the three sources of which it is known least.
fn emitted(app: &App, columns: u16) -> Vec<Phrase> {
    let look = &app.look;
    let Some(evidence) = &app.data().evidence else { return Vec::new() };
    if !evidence.tapped {
        let what = " emitted: not known, as the vendors' taps are off (segue webhook setup SOURCE)";
        return vec![toned(look, Tone::Dim, cut(what, columns, look))];
    }
    let mut known: Vec<&Parity> = evidence.parity.iter().filter(|parity| parity.basis == "tap" && parity.pairs > 0).collect();
    known.sort_by(|a, b| a.lower.total_cmp(&b.lower));
    known.into_iter().take(PARITIES).map(|parity| emitted_of(app, parity, columns)).collect()
}

fn emitted_of(app: &App, parity: &Parity, columns: u16) -> Phrase {
    let until = match parity.until_999 {
        Some(0) => "99.9 % is sure".to_owned(),
        Some(more) => format!("99.9 % is sure after {} more", count(more)),
        None => "99.9 % is out of reach like this".to_owned(),
    };
    let at_least = if parity.drifting { "the share changes".to_owned() } else { format!("at least {}", percent(parity.lower)) };
    let Tally { predicted, unjoinable, .. } = parity.tally;
    let beside = if predicted + unjoinable > 0 {
        format!("; beside {} as foretold, {} unknown", count(predicted), count(unjoinable))
    } else {
        String::new()
    };
    let source = cut(&clean(&parity.source), 15, &app.look);
    let share = parity.share.map_or_else(|| "-".to_owned(), percent);
    let line = format!(" emitted: {source} {share} of {} agree, {at_least}; {until}{beside}", count(parity.pairs));
    Phrase::new().plain(cut(&line, columns, &app.look))
}

/// Sources that are told of.
const PARITIES: usize = 3;

/// A share of one, never rounded up.
pub(super) fn percent(share: f64) -> String {
    format!("{:.2}%", (share * 10_000.0).floor() / 100.0)
}

fn compared(app: &App, diffs: &SentDiffs, columns: u16) -> Vec<Phrase> {
    let look = &app.look;
    let since = diffs.since.as_deref().map_or_else(|| "none yet".to_owned(), |since| format!("since {}", look.time_of_day(since)));
    let line = format!(
        " sent: {} events that both sides get, {since}; equal but for noise {} ({}); never sent to RudderStack {}",
        count(diffs.events),
        count(diffs.equal),
        share(diffs.equal, diffs.events),
        count(diffs.refused)
    );
    let mut rows = vec![Phrase::new().plain(cut(&line, columns, look))];
    let what = "This is what segue sends to each side, field by field, with the rule that made each difference: it works from the first event. What the vendors make of it shows only behind them.";
    rows.extend(wrapped(what, columns).into_iter().map(|line| toned(look, Tone::Dim, format!(" {}", cut(&line, columns, look)))));
    rows
}

pub(super) fn table(app: &App) -> Table {
    let columns = vec![
        Column::left("CLASS", 8, 1),
        Column::growing("PATH", 26, 0),
        Column::left("KIND", 16, 0),
        Column::left("RULES OR VALUES", 24, 2),
        Column::right("EVENTS", 8, 0),
        Column::right("SHARE", 6, 1),
        Column::left("SOURCE", 15, 3),
        Column::left("VERSIONS", 22, 4),
    ];
    let data = app.data();
    let findings = data.findings.iter().flat_map(|findings| &findings.findings);
    let mut rows: Vec<Row> = findings.filter(|finding| app.noise || finding.state != "ignored").map(found).collect();
    let Some(diffs) = &data.diffs else {
        let why = data.unanswered.get("diffs").map_or_else(|| "looking at the newest events".to_owned(), |refusal| clean(&refusal.what));
        return Table { columns, rows, empty: vec![why] };
    };
    let shown = diffs.groups.iter().filter(|group| app.noise || !group.noise);
    rows.extend(shown.map(|group| row(group, diffs.events)));
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

/// A class of what both vendors emitted; in place of rules, what both have there.
fn found(finding: &Finding) -> Row {
    let class = match finding.state.as_str() {
        "open" if finding.new => Cell::toned(Tone::Trouble, "new"),
        "open" => Cell::toned(Tone::Trouble, "found"),
        state => Cell::toned(Tone::Dim, clean(state)),
    };
    let value = |value: &Option<String>| value.as_deref().map_or_else(|| "-".to_owned(), clean);
    let values = if finding.path.is_empty() {
        "emitted".to_owned()
    } else {
        format!("{} | {}", value(&finding.segment), value(&finding.rudderstack))
    };
    #[expect(clippy::cast_precision_loss, reason = "figures are only compared")]
    let figure = |text: String| Cell::figure(finding.events as f64, text);
    let cells = vec![
        class,
        Cell::new(if finding.path.is_empty() { "(whole event)".to_owned() } else { clean(&finding.path) }),
        Cell::new(finding.kind.replace("rudderstack", "RS").replace("segment", "SEG").replace('_', " ")),
        Cell::new(values),
        figure(count(finding.events)),
        figure(finding.share.map_or_else(|| "-".to_owned(), percent)),
        Cell::new(clean(&finding.source)),
        Cell::new(clean(&finding.versions.join(", "))),
    ];
    Row { key: finding.id.clone(), cells }
}

fn row(group: &DiffGroup, events: u64) -> Row {
    let class = if group.noise { Cell::toned(Tone::Dim, "noise") } else { Cell::toned(Tone::Warning, "sent") };
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
