//! The first screen: what flows, whether anything is wrong, how the sources stand.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::{App, WINDOWS},
        data::Flow,
        figure::{bytes, count, lag, millis, pace},
        graph::{self, Axes, Curve},
        look::{Look, Tone},
        text::{Phrase, Side, clean, cut, fit, toned},
    },
    Pane, frame, framed_table, lines, notes, split_columns, split_rows,
};
use crate::wire::DestinationStatus;

/// Rows of the graph where there is one.
const GRAPH_ROWS: u16 = 10;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    if app.zoomed {
        framed_table(app, Pane::Sources, "Sources", "z: back", area, buffer);
        return;
    }
    let is_tall = area.height >= 28;
    let is_wide = area.width >= 110;
    let notes = notes::attention(app);
    let lines_max = if is_tall { 3 } else { 1 };
    let count = notes.len();
    let notes: Vec<Phrase> = notes.iter().flat_map(|note| note.lines(area.width - 2, lines_max, &app.look)).collect();
    let note_rows = u16::try_from(notes.len()).unwrap_or(u16::MAX).clamp(1, if is_tall { 9 } else { 2 }) + 2;
    let top_rows = if is_tall { GRAPH_ROWS } else { 5 };
    let (top, rest) = split_rows(area, top_rows);
    if is_tall && is_wide {
        let (left, right) = split_columns(top, area.width - 53);
        throughput(app, left, buffer);
        destinations(app, right, buffer);
    } else if is_tall {
        throughput(app, top, buffer);
    } else {
        destinations(app, top, buffer);
    }
    let (rest, middle) = if is_tall && !is_wide {
        let (destinations_area, rest) = split_rows(rest, 5);
        (rest, Some(destinations_area))
    } else {
        (rest, None)
    };
    if let Some(area) = middle {
        destinations(app, area, buffer);
    }
    let (table, attention) = split_rows(rest, rest.height.saturating_sub(note_rows));
    let sorted = if is_wide { "s sorts   enter opens   m changes a route" } else { "m changes a route" };
    framed_table(app, Pane::Sources, "Sources", sorted, table, buffer);
    let inner = frame(attention, buffer, &format!("Needs attention [{count}]"), "", &app.look);
    if notes.is_empty() {
        toned(&app.look, Tone::Dim, " nothing: all is well").put(inner, 0, buffer);
    }
    lines(inner, buffer, notes);
}

/// The graph of all sources together.
fn throughput(app: &App, area: Rect, buffer: &mut Buffer) {
    let data = app.data();
    let window = WINDOWS[app.window];
    let inner = frame(area, buffer, "Throughput, events/s", &format!("{window}   + _ zoom"), &app.look);
    let Some((_, series)) = data.series.as_ref().filter(|(source, series)| source.is_none() && series.window == window) else {
        let why = data.unanswered.get("series").map_or_else(|| "asking".to_owned(), |refusal| clean(&refusal.what));
        toned(&app.look, Tone::Dim, format!(" {why}")).put(inner, 0, buffer);
        return;
    };
    curves(app, series, inner, buffer);
}

/// What came and what went, over each other.
pub(super) fn curves(app: &App, series: &crate::wire::Series, area: Rect, buffer: &mut Buffer) {
    let curve = |name, tone, mark, values| Curve { name, tone, mark, values };
    let curves = [
        curve("in", Tone::Plain, '*', series.all.received.as_slice()),
        curve("RudderStack", Tone::Rudder, 'r', series.all.rudderstack.as_slice()),
        curve("Segment", Tone::Segment, 's', series.all.segment.as_slice()),
    ];
    let seconds = match series.window.as_str() {
        "1m" => 60,
        "10m" => 600,
        "1h" => 3_600,
        "6h" => 21_600,
        _ => 86_400,
    };
    let steps = usize::try_from(seconds / series.step_seconds.max(1)).unwrap_or(60);
    graph::draw(area, buffer, &curves, Axes { steps, begin: &format!("-{}", series.window) }, &app.look);
}

/// Both destinations, a line each.
fn destinations(app: &App, area: Rect, buffer: &mut Buffer) {
    let (look, data) = (&app.look, app.data());
    let inner = frame(area, buffer, "Destinations", "5", look);
    let head = format!(" {:<11} {:<9} {:>6} {:>7} {:>5} {:>7}", "", "STATE", "OUT/S", "QUEUE", "LAG", "P99");
    let mut rows = vec![toned(look, Tone::Dim, head)];
    for (name, flow, tone) in [("segment", Flow::Segment, Tone::Segment), ("rudderstack", Flow::Rudder, Tone::Rudder)] {
        let Some(status) = data.destination(name) else { continue };
        let (state, state_tone) = state(status);
        let p99 = status.latency.map_or_else(|| "-".to_owned(), |latency| millis(latency.p99_ms));
        let wait = data.waited(status.oldest.as_ref()).unwrap_or_default();
        let named = if name == "segment" { "Segment" } else { "RudderStack" };
        rows.push(
            Phrase::new()
                .plain(" ")
                .add(look, tone, fit(named, 11, Side::Left, look))
                .plain(" ")
                .add(look, state_tone, fit(&state, 9, Side::Left, look))
                .plain(format!(" {:>6} {:>7} {:>5} {p99:>7}", pace(data.pace(flow)), count(status.pending), lag(wait))),
        );
    }
    if inner.height >= 8 {
        rows.push(Phrase::new());
        rows.extend(journal(app, look, inner.width));
    }
    lines(inner, buffer, rows);
}

/// One word for how a destination is.
pub(in crate::tui) fn state(status: &DestinationStatus) -> (String, Tone) {
    if !status.reachable {
        ("no answer".to_owned(), Tone::Trouble)
    } else if status.breaker == "blocked" {
        ("blocked".to_owned(), Tone::Trouble)
    } else if status.parked > 0 {
        (format!("{} parked", status.parked), Tone::Trouble)
    } else if status.held > 0 {
        (format!("{} held", status.held), Tone::Warning)
    } else if status.breaker == "probing" {
        ("probing".to_owned(), Tone::Warning)
    } else if status.answers.ok == 0 && status.delivered_per_second <= 0.0 && status.pending == 0 {
        ("not asked".to_owned(), Tone::Dim)
    } else {
        ("ok".to_owned(), Tone::Plain)
    }
}

/// The journal in a few lines.
fn journal(app: &App, look: &Look, columns: u16) -> Vec<Phrase> {
    let Some(status) = &app.data().status else { return Vec::new() };
    let journal = &status.journal;
    let holds = journal.hours_left.map_or_else(|| "too little traffic to tell".to_owned(), hours);
    #[expect(clippy::cast_precision_loss, reason = "a bar of ten")]
    let share = journal.bytes as f64 / journal.capacity_bytes.max(1) as f64;
    let text = |name: &str, text: String| {
        Phrase::new()
            .plain(" ")
            .add(look, Tone::Dim, fit(name, 12, Side::Left, look))
            .plain(format!(" {}", cut(&text, columns.saturating_sub(15), look)))
    };
    let mut lines = vec![
        text("journal", format!("{} of {} {}", bytes(journal.bytes), bytes(journal.capacity_bytes), graph::bar(share, 8, look))),
        text("holds", holds),
    ];
    let limits: Vec<String> = status
        .destinations
        .iter()
        .filter(|destination| !matches!(destination.limit.as_str(), "" | "none"))
        .map(|destination| format!("{} {}", if destination.destination == "segment" { "SEG" } else { "RS" }, clean(&destination.limit)))
        .collect();
    let refused: u64 = status.destinations.iter().map(|destination| destination.quarantined).sum();
    lines.push(text("quarantine", format!("{} events", count(refused))));
    lines.push(text("limits", if limits.is_empty() { "none".to_owned() } else { limits.join("  ") }));
    lines
}

/// How long an outage the journal holds.
pub(super) fn hours(hours: f64) -> String {
    match hours {
        hours if hours >= 48.0 => format!("{:.0} days of an outage", hours / 24.0),
        hours if hours >= 1.0 => format!("{hours:.0} h of an outage"),
        hours => format!("{:.0} min of an outage !", hours * 60.0),
    }
}
