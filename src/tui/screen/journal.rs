//! The journal: the disk, the lanes, what is in quarantine, what is sent again.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        figure::{bytes, count, lag, pace},
        graph,
        look::{Look, Tone},
        table::{Cell, Column, Row, Table},
        text::{Phrase, Side, clean, fit},
    },
    Pane, frame, framed_table, lines,
    overview::hours,
    split_rows,
};
use crate::wire::{Lane, QuarantineEntry, ReplayJob};

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let focused = app.pane();
    if app.zoomed {
        if let Some(pane) = focused {
            framed_table(app, pane, title(pane), note(pane), area, buffer);
        }
        return;
    }
    let (disk, rest) = split_rows(area, 4);
    summary(app, disk, buffer);
    // The pane that is looked at gets the most room.
    let least = 4;
    let room = rest.height.saturating_sub(2 * least);
    let rows = |pane: Pane| if focused == Some(pane) { room.max(least) } else { least };
    let (lanes, rest) = split_rows(rest, rows(Pane::Lanes));
    let (quarantine, replays) = split_rows(rest, rows(Pane::Quarantine));
    for (pane, area) in [(Pane::Lanes, lanes), (Pane::Quarantine, quarantine), (Pane::Replays, replays)] {
        framed_table(app, pane, title(pane), note(pane), area, buffer);
    }
}

const fn title(pane: Pane) -> &'static str {
    match pane {
        Pane::Quarantine => "Quarantine",
        Pane::Replays => "Replays",
        _ => "Lanes",
    }
}

const fn note(pane: Pane) -> &'static str {
    match pane {
        Pane::Quarantine => "enter shows   r sends again",
        Pane::Replays => "p pauses   c cancels",
        _ => "H holds   U unparks   r sends a gap again",
    }
}

fn summary(app: &App, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let inner = frame(area, buffer, "Journal", "tab goes from pane to pane", look);
    let Some(status) = &app.data().status else { return };
    let journal = &status.journal;
    #[expect(clippy::cast_precision_loss, reason = "a bar of ten")]
    let share = journal.bytes as f64 / journal.capacity_bytes.max(1) as f64;
    let tone = if journal.state == "writable" { Tone::Plain } else { Tone::Trouble };
    let holds = journal.hours_left.map_or_else(|| "holds: too little traffic to tell".to_owned(), |left| format!("holds {}", hours(left)));
    let first = Phrase::new().plain(" ").add(look, tone, journal.state.clone()).plain(format!(
        "   {} of {} {} {:.0}%   {} still needed",
        bytes(journal.bytes),
        bytes(journal.capacity_bytes),
        graph::bar(share, 10, look),
        share * 100.0,
        bytes(journal.pinned_bytes)
    ));
    let started = format!(" {holds}   running since {}   version {}", look.day_and_time(&status.started_at), clean(&status.version));
    lines(inner, buffer, [first, Phrase::new().plain(started)]);
}

pub(super) fn lanes(app: &App) -> Table {
    let columns = vec![
        Column::growing("SOURCE", 15, 0),
        Column::left("DESTINATION", 11, 0),
        Column::left("STATE", 12, 0),
        Column::right("WAITING", 9, 0),
        Column::right("LAG", 6, 0),
        Column::right("OUT/S", 6, 1),
        Column::right("DELIVERED", 11, 3),
        Column::right("QUARANT", 8, 4),
        Column::right("RETRIES", 8, 5),
        Column::left("WHY", 24, 2),
    ];
    let rows = app.data().lanes().map(|lane| lane_row(app, lane)).collect();
    Table { columns, rows, empty: vec!["no lane yet: nothing was planned for a destination".to_owned()] }
}

#[expect(clippy::cast_precision_loss, reason = "figures are only compared")]
fn lane_row(app: &App, lane: &Lane) -> Row {
    let data = app.data();
    let wait = data.waited(lane.oldest.as_ref()).unwrap_or_default();
    let out = data.delivered_pace(&lane.source, &lane.destination);
    let (name, tone) = if lane.destination == "segment" { ("Segment", Tone::Segment) } else { ("RudderStack", Tone::Rudder) };
    let state_tone = match lane.state.as_str() {
        "parked" | "unreachable" | "quarantine_full" => Tone::Trouble,
        "held" | "deferred" | "unconfigured" => Tone::Warning,
        _ => Tone::Plain,
    };
    let why = lane.reason.as_deref().map(clean);
    let why = why.or_else(|| lane.since.as_deref().map(|since| format!("since {}", app.look.time_of_day(since))));
    let why = why.or_else(|| lane.until.as_deref().map(|until| format!("until {}", app.look.time_of_day(until))));
    let figure = |number: u64| Cell::figure(number as f64, count(number));
    let cells = vec![
        Cell::new(clean(&lane.source)),
        Cell::toned(tone, name),
        Cell::toned(state_tone, lane.state.replace('_', " ")),
        figure(lane.ledger.pending),
        Cell::figure(wait.as_secs_f64(), lag(wait)),
        Cell::figure(out, pace(out)),
        figure(lane.ledger.delivered),
        figure(lane.ledger.quarantined),
        figure(lane.retries),
        Cell::new(why.unwrap_or_default()),
    ];
    Row { key: format!("{}\u{1f}{}", lane.source, lane.destination), cells }
}

pub(super) fn quarantine(app: &App) -> Table {
    let columns = vec![
        Column::right("ID", 6, 0),
        Column::left("SINCE", 14, 3),
        Column::left("SOURCE", 15, 0),
        Column::left("BY", 11, 1),
        Column::left("TYPE", 8, 4),
        Column::left("NAME", 18, 2),
        Column::right("STATUS", 6, 1),
        Column::growing("WHY", 20, 0),
    ];
    let page = app.data().quarantine.as_ref();
    let rows = page.map_or_else(Vec::new, |page| page.entries.iter().map(|entry| entry_row(entry, &app.look)).collect());
    let empty = match page {
        Some(_) => "nothing: no destination refused an event for good",
        None => "asking",
    };
    Table { columns, rows, empty: vec![empty.to_owned()] }
}

fn entry_row(entry: &QuarantineEntry, look: &Look) -> Row {
    let text = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), clean);
    #[expect(clippy::cast_precision_loss, reason = "it is only compared")]
    let cells = vec![
        Cell::figure(entry.id as f64, entry.id.to_string()),
        Cell::new(look.day_and_time(&entry.at)),
        Cell::new(clean(&entry.source)),
        Cell::new(super::super::dialog::named(&entry.destination)),
        Cell::new(text(&entry.kind)),
        Cell::new(text(&entry.name)),
        Cell::figure(f64::from(entry.status), if entry.status == 0 { "-".to_owned() } else { entry.status.to_string() }),
        Cell::new(clean(&entry.reason)),
    ];
    Row { key: entry.id.to_string(), cells }
}

pub(super) fn replays(app: &App) -> Table {
    let columns = vec![
        Column::right("ID", 4, 0),
        Column::growing("SOURCE", 15, 0),
        Column::left("TO", 11, 0),
        Column::left("STATE", 10, 0),
        Column::left("PROGRESS", 28, 0),
        Column::left("RATE", 7, 2),
        Column::left("BY", 10, 4),
        Column::left("WAITS FOR", 24, 3),
    ];
    let rows = app.data().replays.iter().rev().map(|job| job_row(job, &app.look)).collect();
    Table { columns, rows, empty: vec!["none yet: r on a lane sends a gap again".to_owned()] }
}

fn job_row(job: &ReplayJob, look: &Look) -> Row {
    let progress = match job.total {
        #[expect(clippy::cast_precision_loss, reason = "a bar of ten")]
        Some(total) => format!("{} {} of {}", graph::bar(job.sent as f64 / total.max(1) as f64, 10, look), count(job.sent), count(total)),
        None => count(job.sent),
    };
    let lost = if job.lost > 0 { format!(", {} gone", count(job.lost)) } else { String::new() };
    #[expect(clippy::cast_precision_loss, reason = "it is only compared")]
    let cells = vec![
        Cell::figure(job.id as f64, job.id.to_string()),
        Cell::new(clean(&job.source)),
        Cell::new(super::super::dialog::named(&job.destination)),
        Cell::toned(if job.state == "running" { Tone::Strong } else { Tone::Plain }, clean(&job.state)),
        Cell::new(progress + &lost),
        Cell::new(clean(&job.rate)),
        Cell::new(clean(&job.by)),
        Cell::new(job.waits_for.as_deref().map(clean).unwrap_or_default()),
    ];
    Row { key: job.id.to_string(), cells }
}

/// A fact with its name before it.
pub(super) fn fact(name: &str, look: &Look) -> Phrase {
    Phrase::new().plain(" ").add(look, Tone::Dim, fit(name, 12, Side::Left, look))
}
