//! All sources, and the selected one below.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        dialog::in_words,
        figure::{count, lag, pace},
        graph,
        look::{Look, Sign, Tone},
        table::{Cell, Column, Row, Table},
        text::{Phrase, Side, clean, fit, toned},
    },
    Pane,
    diffs::percent,
    frame, framed_table, lines, notes, ramp, split_rows,
};
use crate::wire::SourceRoute;

/// Characters of a sparkline.
const SPARK: usize = 12;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let preview = if app.zoomed || area.height < 22 { 0 } else { 9 };
    let (table, below) = split_rows(area, area.height - preview);
    framed_table(app, Pane::Sources, "Sources", "space marks   m changes routes", table, buffer);
    if preview > 0
        && let Some(source) = app.source().and_then(|key| app.data().source(&key).cloned())
    {
        let inner = frame(below, buffer, &clean(&source.name), "enter opens", &app.look);
        lines(inner, buffer, preview_lines(app, &source, inner.width));
    }
}

pub(super) fn table(app: &App) -> Table {
    let columns = vec![
        Column::growing("SOURCE", 13, 0),
        Column::left("ROUTE", 16, 0),
        Column::right("SEG%", 4, 0),
        Column::right("RS%", 4, 0),
        Column::right("EV/S", 6, 0),
        Column::right("PARITY%", 7, 1),
        Column::left("LAST MINUTE", 12, 6),
        Column::right("LAG", 5, 1),
        Column::right("WAITING", 8, 5),
        Column::right("QUARANT", 8, 4),
        Column::right("REV", 4, 8),
        Column::left("FILE", 4, 7),
        Column::left("NOTE", 14, 2),
    ];
    let rows = app.data().sources().iter().map(|source| row(app, source)).collect();
    Table { columns, rows, empty: empty(app) }
}

fn row(app: &App, source: &SourceRoute) -> Row {
    let (data, look) = (app.data(), &app.look);
    let lanes: Vec<_> = ["segment", "rudderstack"].iter().filter_map(|side| data.lane(&source.source, side)).collect();
    let wait = lanes.iter().filter_map(|lane| data.waited(lane.oldest.as_ref())).max().unwrap_or_default();
    let waiting: u64 = lanes.iter().map(|lane| lane.ledger.pending).sum();
    let quarantined: u64 = lanes.iter().map(|lane| lane.ledger.quarantined).sum();
    let received = data.received_pace(&source.source);
    let minute = data.figures_of(&source.source).map_or(0.0, |figures| figures.received_per_second);
    let spark = graph::spark(&data.spark(&source.source, SPARK), look);
    let differs = source.route != source.configured;
    let file = if differs { Cell::toned(Tone::Warning, look.sign(Sign::Differs)) } else { Cell::toned(Tone::Dim, "=") };
    let cells = vec![
        Cell::new(clean(&source.name)),
        Cell::new(route_short(source)),
        shared(&source.route.segment, Tone::Segment),
        shared(&source.route.rudderstack, Tone::Rudder),
        // Sorted by the last minute, so that rows do not change places with each second.
        Cell::figure(minute, pace(received)),
        parity(app, &source.source),
        Cell::toned(Tone::Dim, spark),
        Cell::figure(wait.as_secs_f64(), lag(wait)),
        figure(waiting, Tone::Plain),
        figure(quarantined, Tone::Warning),
        figure(source.revision, Tone::Plain),
        file,
        note(app, source),
    ];
    Row { key: source.source.clone(), cells }
}

/// How far both sides agree, in percent; `s`: by what they were answered alone, which proves little.
fn parity(app: &App, source: &str) -> Cell {
    let Some(parity) = app.data().parity_of(source) else { return Cell::toned(Tone::Dim, "-") };
    let mark = if parity.basis == "tap" { "" } else { "s" };
    let share = parity.share.unwrap_or(1.0);
    let tone = match share {
        _ if parity.drifting || share < PARITY_GOOD => Tone::Warning,
        _ if parity.basis == "tap" => Tone::Plain,
        _ => Tone::Dim,
    };
    Cell::figure(share, format!("{}{mark}", percent(share).trim_end_matches('%'))).with_tone(tone)
}

/// Below this share it is told by its colour, too.
const PARITY_GOOD: f64 = 0.999;

/// The route in words, with the number of its rules.
fn route_short(source: &SourceRoute) -> String {
    let rules = if source.rules.is_empty() { String::new() } else { format!(" +{}r", source.rules.len()) };
    let route = if source.retired_at.is_some() { "retired".to_owned() } else { source.route.route.replace('=', " ") };
    format!("{route}{rules}")
}

/// `75%` without its sign, sorted as a figure.
fn shared(text: &str, tone: Tone) -> Cell {
    let figure = text.trim_end_matches('%');
    let weight = figure.parse().unwrap_or(0.0);
    Cell::figure(weight, figure).with_tone(if weight > 0.0 { tone } else { Tone::Dim })
}

#[expect(clippy::cast_precision_loss, reason = "it is only compared")]
fn figure(number: u64, tone: Tone) -> Cell {
    Cell::figure(number as f64, if number == 0 { "-".to_owned() } else { count(number) }).with_tone(if number == 0 {
        Tone::Dim
    } else {
        tone
    })
}

/// What is not as it should be with a source, in a word or two.
fn note(app: &App, source: &SourceRoute) -> Cell {
    let data = app.data();
    for (side, name) in [("segment", "SEG"), ("rudderstack", "RS")] {
        let Some(lane) = data.lane(&source.source, side) else { continue };
        match lane.state.as_str() {
            "parked" => return Cell::toned(Tone::Trouble, format!("! {name} parked")),
            "quarantine_full" => return Cell::toned(Tone::Trouble, "! quarantine"),
            "unreachable" => return Cell::toned(Tone::Trouble, format!("! {name} away")),
            "held" => return Cell::toned(Tone::Warning, format!("{name} held")),
            "deferred" => return Cell::toned(Tone::Warning, format!("{name} deferred")),
            _ => {}
        }
    }
    let figures = data.figures_of(&source.source);
    let ramp = figures.and_then(|figures| figures.ramp.as_ref());
    if let Some(ramp) = ramp.filter(|ramp| ramp::is_stuck(ramp)) {
        return ramp::short(ramp, &app.look);
    }
    if figures.is_some_and(|figures| figures.unjournalled > 0) {
        return Cell::toned(Tone::Trouble, "! RS events lost");
    }
    if figures.is_none_or(|figures| figures.received == 0) {
        return Cell::toned(Tone::Dim, "no events yet");
    }
    if data.received_pace(&source.source) <= 0.0 && figures.is_some_and(|figures| figures.received_per_second <= 0.0) {
        return Cell::toned(Tone::Warning, "silent 1m");
    }
    ramp.map_or_else(|| Cell::new(""), |ramp| ramp::short(ramp, &app.look))
}

/// What is said when there are no sources.
fn empty(app: &App) -> Vec<String> {
    if app.data().routes.is_none() {
        return vec!["asking".to_owned()];
    }
    if !app.data().sources().is_empty() {
        return vec!["no source passes the filter: esc clears it".to_owned()];
    }
    [
        "No source is configured yet. Put one into sidecar.toml, then: segue check, segue reload",
        "",
        "  [[source]]",
        "  name = \"web\"",
        "  segment_write_key = { env = \"SEGMENT_WRITE_KEY\" }",
        "  rudderstack_write_key = { env = \"RUDDERSTACK_WRITE_KEY\" }",
        "  route = \"segment-only\"",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// What is known of the selected source.
fn preview_lines(app: &App, source: &SourceRoute, columns: u16) -> Vec<Phrase> {
    let (look, data) = (&app.look, app.data());
    let mut rows = Vec::new();
    let differs = if source.route == source.configured {
        "as in the file".to_owned()
    } else {
        format!("{} the file says {}", look.sign(Sign::Differs), in_words(&source.configured))
    };
    rows.push(
        named("route", look).add(look, Tone::Strong, in_words(&source.route)).plain(format!("   rev {}   {differs}", source.revision)),
    );
    let rules = match source.rules.len() {
        0 => "none".to_owned(),
        count => format!("{count}; enter shows them"),
    };
    let ramp = data.figures_of(&source.source).and_then(|figures| figures.ramp.as_ref());
    rows.push(match ramp {
        Some(ramp) => named("ramp", look).plain(ramp::sentence(ramp, look)),
        None => named("rules", look).plain(format!("{rules}   verify {}", source.route.verify)),
    });
    let parts = usize::from(columns.saturating_sub(70).clamp(12, 30));
    let spark = graph::spark(&data.spark(&source.source, parts), look);
    rows.push(named("in", look).plain(format!("{:>8}/s  {spark}", pace(data.received_pace(&source.source)))));
    rows.extend(["segment", "rudderstack"].map(|side| lane_line(app, &source.source, side, parts)));
    let history: Vec<String> = data
        .history
        .iter()
        .filter(|change| change.source.as_deref() == Some(source.source.as_str()))
        .take(2)
        .map(|change| format!("rev {} {} {}", change.revision, look.time_of_day(&change.at), notes::told(change)))
        .collect();
    rows.push(named("history", look).plain(if history.is_empty() { "no change yet".to_owned() } else { history.join("   ") }));
    rows
}

/// One lane in a line.
pub(super) fn lane_line(app: &App, source: &str, side: &str, parts: usize) -> Phrase {
    let (look, data) = (&app.look, app.data());
    let (name, tone) = if side == "segment" { ("Segment", Tone::Segment) } else { ("RudderStack", Tone::Rudder) };
    let line = Phrase::new().plain(" ").add(look, tone, fit(name, 12, Side::Left, look));
    let Some(lane) = data.lane(source, side) else { return line.add(look, Tone::Dim, "nothing was planned for it yet") };
    let spark = graph::spark(&data.lane_spark(source, side, parts), look);
    let ledger = lane.ledger;
    let mut facts = vec![lane.state.clone(), format!("delivered {}", count(ledger.delivered))];
    for (what, events) in
        [("waiting", ledger.pending), ("quarantined", ledger.quarantined), ("deduplicated", ledger.deduplicated), ("retries", lane.retries)]
    {
        if events > 0 {
            facts.push(format!("{what} {}", count(events)));
        }
    }
    line.plain(format!("{:>8}/s  {spark}  {}", pace(data.delivered_pace(source, side)), facts.join("   ")))
}

pub(super) fn named(name: &str, look: &Look) -> Phrase {
    Phrase::new().plain(" ").add(look, Tone::Dim, fit(name, 12, Side::Left, look))
}

/// A line in the tone of trouble.
pub(super) fn trouble(look: &Look, text: String) -> Phrase {
    toned(look, Tone::Trouble, text)
}
