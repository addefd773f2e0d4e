//! Both destinations: whether they answer, how fast, what waits.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::{App, WINDOWS},
        data::Flow,
        figure::{count, lag, millis, pace, share},
        graph,
        look::{Look, Tone},
        table::{Cell, Column, Row, Table},
        text::{Phrase, Side, clean, fit, toned},
    },
    Pane, frame, framed_table, lines, overview, split_columns, split_rows,
};
use crate::wire::DestinationStatus;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let (table, rest) = split_rows(area, if app.zoomed { area.height } else { 5 });
    framed_table(app, Pane::Destinations, "Destinations", "L limits   enter: their lanes", table, buffer);
    if app.zoomed {
        return;
    }
    let is_tall = rest.height >= 22;
    let (details, graph) = split_rows(rest, if is_tall { 13 } else { rest.height });
    let (left, right) = split_columns(details, details.width / 2);
    for (name, side) in [("segment", left), ("rudderstack", right)] {
        if let Some(status) = app.data().destination(name) {
            detail(app, status, side, buffer);
        }
    }
    if is_tall {
        let window = WINDOWS[app.window];
        let inner = frame(graph, buffer, "Delivered, events/s", &format!("{window}   + _ zoom"), &app.look);
        match app.data().series.as_ref().filter(|(source, series)| source.is_none() && series.window == window) {
            Some((_, series)) => overview::curves(app, series, inner, buffer),
            None => toned(&app.look, Tone::Dim, " asking").put(inner, 0, buffer),
        }
    }
}

pub(super) fn table(app: &App) -> Table {
    let columns = vec![
        Column::growing("DESTINATION", 12, 0),
        Column::left("STATE", 10, 0),
        Column::right("OUT/S", 7, 0),
        Column::right("WAITING", 9, 0),
        Column::right("LAG", 6, 0),
        Column::right("P50", 7, 2),
        Column::right("P99", 7, 1),
        Column::right("IN FLIGHT", 9, 4),
        Column::left("LIMIT", 9, 1),
        Column::right("QUARANTINED", 11, 3),
    ];
    let statuses = app.data().status.iter().flat_map(|status| &status.destinations);
    Table { columns, rows: statuses.map(|status| row(app, status)).collect(), empty: vec!["asking".to_owned()] }
}

fn row(app: &App, status: &DestinationStatus) -> Row {
    let data = app.data();
    let (name, flow, tone) = parts(status);
    let (state, state_tone) = overview::state(status);
    let wait = data.waited(status.oldest.as_ref()).unwrap_or_default();
    let latency =
        |pick: fn(&crate::wire::Latency) -> f64| status.latency.as_ref().map_or_else(|| "-".to_owned(), |latency| millis(pick(latency)));
    let limit = if status.limit.is_empty() { "-".to_owned() } else { clean(&status.limit) };
    let cells = vec![
        Cell::toned(tone, name),
        Cell::toned(state_tone, state),
        Cell::new(pace(data.pace(flow))),
        Cell::new(count(status.pending)),
        Cell::new(lag(wait)),
        Cell::new(latency(|latency| latency.p50_ms)),
        Cell::new(latency(|latency| latency.p99_ms)),
        Cell::new(count(status.in_flight)),
        Cell::new(limit),
        Cell::new(count(status.quarantined)),
    ];
    Row { key: status.destination.clone(), cells }
}

fn parts(status: &DestinationStatus) -> (&'static str, Flow, Tone) {
    if status.destination == "segment" { ("Segment", Flow::Segment, Tone::Segment) } else { ("RudderStack", Flow::Rudder, Tone::Rudder) }
}

fn detail(app: &App, status: &DestinationStatus, area: Rect, buffer: &mut Buffer) {
    let (look, data) = (&app.look, app.data());
    let (name, flow, _) = parts(status);
    let inner = frame(area, buffer, name, "", look);
    let (state, tone) = overview::state(status);
    let mut rows = vec![fact("state", look).add(look, tone, state).plain(if status.breaker.is_empty() {
        String::new()
    } else {
        format!("   breaker {}", clean(&status.breaker))
    })];
    rows.push(fact("out", look).plain(format!("{}/s   in flight {}", pace(data.pace(flow)), count(status.in_flight))));
    let wait = data.waited(status.oldest.as_ref()).unwrap_or_default();
    rows.push(fact("queue", look).plain(format!("{} events   oldest {}", count(status.pending), lag(wait))));
    let limit = if status.limit.is_empty() { "-" } else { &status.limit };
    rows.push(fact("limit", look).plain(format!("{}   {} events wait for it", clean(limit), count(status.paced))));
    rows.push(match &status.latency {
        Some(latency) => fact("latency", look).plain(format!(
            "p50 {}  p90 {}  p99 {}",
            millis(latency.p50_ms),
            millis(latency.p90_ms),
            millis(latency.p99_ms)
        )),
        None => fact("latency", look).add(look, Tone::Dim, "no answer in the last minute"),
    });
    let answers = status.answers;
    let all = answers.ok + answers.throttled + answers.refused + answers.failed + answers.unanswered;
    rows.push(fact("answers", look).plain(format!("{} since the start", count(all))));
    for (what, requests) in
        [("2xx", answers.ok), ("429", answers.throttled), ("4xx", answers.refused), ("5xx", answers.failed), ("none", answers.unanswered)]
    {
        #[expect(clippy::cast_precision_loss, reason = "a bar of ten")]
        let bar = graph::bar(requests as f64 / all.max(1) as f64, 10, look);
        let tone = if what != "2xx" && requests > 0 { Tone::Warning } else { Tone::Plain };
        rows.push(fact("", look).add(look, tone, format!("{what:<5}{bar} {:>6}  {}", share(requests, all), count(requests))));
    }
    let held = status.held + status.parked;
    if held > 0 {
        rows.push(fact("stopped", look).add(
            look,
            Tone::Warning,
            format!("{} lanes held, {} parked: 7 Journal", status.held, status.parked),
        ));
    }
    lines(inner, buffer, rows);
}

fn fact(name: &str, look: &Look) -> Phrase {
    Phrase::new().plain(" ").add(look, Tone::Dim, fit(name, 9, Side::Left, look))
}
