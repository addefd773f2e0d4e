//! Which apps, versions and libraries events come from, and which sources could do without Segment.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::App,
        figure::{about, count, share},
        graph,
        look::Tone,
        table::{Cell, Column, Row, Table},
        text::{Phrase, clean, toned},
    },
    Pane, framed_table, lines,
};
use crate::{
    model::WallTime,
    wire::{StopOutlook, VersionSeen},
};

/// Hours that a sign of a row's trend stands for, and how many signs it has.
const TREND_STEP: usize = 3;
const TREND_SIGNS: usize = 8;

pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) {
    let note = match &app.data().versions {
        Some(versions) => match &versions.since {
            Some(since) => format!("{} events since {}", count(versions.events), app.look.day_and_time(since)),
            None => "no events yet".to_owned(),
        },
        None => String::new(),
    };
    // The table has at least half of the room.
    let outlooks = app.data().versions.as_ref().map_or(0, |versions| versions.outlooks.len());
    let below = u16::try_from(outlooks).unwrap_or(u16::MAX).min(area.height / 2).min(6);
    let [above, below] = [area.height - below, below].map(|height| Rect { height, ..area });
    let below = Rect { y: area.y + above.height, ..below };
    framed_table(app, Pane::Versions, "Apps and their versions", &note, above, buffer);
    if let Some(versions) = &app.data().versions {
        // Those that cannot go are told first: they are what is left to do.
        let mut outlooks: Vec<_> = versions.outlooks.iter().collect();
        outlooks.sort_by_key(|outlook| outlook.verdict != "not_safe");
        lines(below, buffer, outlooks.into_iter().map(|outlook| outlook_line(app, outlook)));
    }
}

pub(super) fn table(app: &App) -> Table {
    let columns = vec![
        Column::growing("SOURCE", 12, 0),
        Column::left("APP", 10, 0),
        Column::left("VERSION", 10, 0),
        Column::left("SDK", 17, 3),
        Column::left("PLATFORM", 8, 7),
        Column::right("EVENTS", 9, 0),
        Column::right("SHARE", 6, 1),
        Column::right("USERS", 6, 1),
        Column::left("FIRST SEEN", 10, 4),
        Column::left("LAST", 10, 2),
        Column::left("24 H", 8, 6),
        Column::right("TO SEG", 6, 8),
        Column::right("TO RS", 6, 8),
        Column::left("FLAGS", 8, 5),
    ];
    let data = app.data();
    let Some(versions) = &data.versions else {
        let why = data.unanswered.get("versions").map_or_else(|| "asking".to_owned(), |refusal| clean(&refusal.what));
        return Table { columns, rows: Vec::new(), empty: vec![why] };
    };
    let rows = versions.versions.iter().map(|seen| row(app, seen)).collect();
    Table { columns, rows, empty: vec!["no event was counted yet".to_owned()] }
}

fn row(app: &App, seen: &VersionSeen) -> Row {
    let is_others = seen.flags.iter().any(|flag| flag == "others");
    let untold = if is_others { "(others)" } else { "(not told)" };
    let told = |text: &Option<String>| text.as_deref().map_or_else(|| untold.to_owned(), clean);
    #[expect(clippy::cast_precision_loss, reason = "figures are only compared")]
    let figure = |number: u64, text: String| Cell::figure(number as f64, text);
    let cells = vec![
        Cell::new(clean(&seen.source)),
        Cell::new(told(&seen.app)),
        Cell::new(told(&seen.version)),
        Cell::new(told(&seen.library)),
        Cell::new(seen.platform.as_deref().map(clean).unwrap_or_default()),
        figure(seen.events, count(seen.events)),
        Cell::figure(seen.share, format!("{:.1}%", seen.share * 100.0)),
        figure(seen.people, about(seen.people)),
        moment(&seen.first_at, app.look.day_of(&seen.first_at)),
        moment(&seen.last_at, last(app, seen)),
        Cell::new(trend(app, seen)),
        figure(seen.segment, share(seen.segment, seen.events)),
        figure(seen.rudderstack, share(seen.rudderstack, seen.events)),
        flags(seen),
    ];
    let key = [&seen.app, &seen.version, &seen.library, &seen.platform].map(|text| text.as_deref().unwrap_or_default());
    Row { key: format!("{}\u{1f}{}", seen.source, key.join("\u{1f}")), cells }
}

/// When the last one came: the time of the last day, or the date.
fn last(app: &App, seen: &VersionSeen) -> String {
    if seen.hours.is_empty() { app.look.day_of(&seen.last_at) } else { app.look.time_of_day(&seen.last_at) }
}

/// A time, sorted as one.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are exact in a double")]
fn moment(rfc3339: &str, text: String) -> Cell {
    Cell::figure(WallTime::parse(rfc3339).map_or(0.0, |time| time.as_millis() as f64), text)
}

/// The last day, the oldest hours first.
fn trend(app: &App, seen: &VersionSeen) -> String {
    let events = |step: usize| seen.hours.iter().skip(step * TREND_STEP).take(TREND_STEP).map(|events| f64::from(*events)).sum();
    let steps: Vec<Option<f64>> = (0..TREND_SIGNS).rev().map(|step| Some(events(step))).collect();
    graph::spark(&steps, &app.look)
}

fn flags(seen: &VersionSeen) -> Cell {
    let by_webhook = (seen.by_webhook > 0).then_some("webhook");
    let words = seen.flags.iter().filter_map(|flag| match flag.as_str() {
        "old_sdk" => Some("old SDK"),
        "no_app" => Some("no app"),
        "unknown" => Some("unknown"),
        _ => None,
    });
    Cell::toned(Tone::Warning, words.chain(by_webhook).collect::<Vec<_>>().join(", "))
}

/// Whether a source could do without Segment, in a line.
fn outlook_line(app: &App, outlook: &StopOutlook) -> Phrase {
    let look = &app.look;
    let source = clean(&outlook.source);
    let (tone, word) = match outlook.verdict.as_str() {
        "safe" => (Tone::Strong, format!("safe to stop Segment: nothing hung on it for {} days", outlook.silent_days)),
        "too_early" => (Tone::Dim, format!("too early to stop Segment: counted for less than {} days", outlook.silent_days)),
        _ => (Tone::Warning, not_safe(outlook)),
    };
    toned(look, Tone::Dim, format!(" {source}  ")).add(look, tone, word)
}

fn not_safe(outlook: &StopOutlook) -> String {
    let mut reasons = Vec::new();
    if outlook.versions_segment_alone > 0 {
        let named = outlook.named_segment_alone.iter().map(|name| clean(name)).collect::<Vec<_>>().join(", ");
        let more = if outlook.versions_segment_alone > outlook.named_segment_alone.len() { ", ..." } else { "" };
        let people = share(outlook.people_segment_alone, outlook.people);
        reasons.push(format!("{people} of users are its alone, on {named}{more}"));
    }
    if outlook.versions_by_webhook > 0 {
        reasons.push(format!("{} by its webhook", outlook.versions_by_webhook));
    }
    format!("not safe to stop Segment: {}", reasons.join("; "))
}
