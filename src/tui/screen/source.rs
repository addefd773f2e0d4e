//! One source: its route and rules, what goes where, what became of its events, who sends them.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    super::{
        app::{App, WINDOWS},
        dialog::in_words,
        figure::{count, lag, share},
        look::{Look, Tone},
        text::{Phrase, Side, clean, cut, fit, toned},
    },
    frame, lines, notes, overview, ramp,
    sources::{lane_line, named, trouble},
    split_columns, split_rows,
};
use crate::wire::{Ledger, RouteShares, SourceRoute};

pub(super) fn draw(app: &App, key: &str, area: Rect, buffer: &mut Buffer) {
    let Some(source) = app.data().source(key).cloned() else {
        let inner = frame(area, buffer, &clean(key), "", &app.look);
        trouble(&app.look, " It is not configured any more. esc goes back.".to_owned()).put(inner, 0, buffer);
        return;
    };
    let is_wide = area.width >= 110;
    let is_tall = area.height >= 28;
    let route_rows = if is_tall { 11 } else { 7 };
    let (top, rest) = split_rows(area, route_rows);
    if is_wide {
        let (left, right) = split_columns(top, area.width / 2);
        route(app, &source, left, buffer);
        rules(app, &source, right, buffer);
    } else {
        route(app, &source, top, buffer);
    }
    let (lanes, rest) = split_rows(rest, if is_tall { 7 } else { 6 });
    ledger(app, &source, lanes, buffer);
    if is_wide && is_tall {
        let gates_rows = match rest.height {
            0..13 => 0,
            13..17 => 7,
            _ => 8,
        };
        let (rest, gates) = split_rows(rest, rest.height - gates_rows);
        if gates_rows > 0 {
            ramp::gates(app, &source, gates, buffer);
        }
        let (left, right) = split_columns(rest, area.width / 2 + 8);
        traffic(app, &source, left, buffer);
        people(app, &source, gates_rows == 0, right, buffer);
    } else if !is_wide && !source.rules.is_empty() {
        rules(app, &source, rest, buffer);
    } else {
        people(app, &source, true, rest, buffer);
    }
}

fn route(app: &App, source: &SourceRoute, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let inner = frame(area, buffer, &format!("{}: route", clean(&source.name)), &format!("rev {}", source.revision), look);
    let mut rows = Vec::new();
    let name = source.route.route.split('=').next().unwrap_or_default();
    let stages: &[&str] = if inner.height >= 9 { &super::super::dialog::STAGES } else { &[] };
    for stage in stages {
        let is_now = *stage == name;
        let percent = source.route.route.split_once('=').filter(|_| is_now).map(|(_, percent)| format!(" {percent}")).unwrap_or_default();
        let text = format!(" {} {stage}{percent}", if is_now { "(*)" } else { "( )" });
        rows.push(toned(look, if is_now { Tone::Strong } else { Tone::Dim }, text));
    }
    if stages.is_empty() {
        rows.push(named("route", look).add(look, Tone::Strong, in_words(&source.route)));
    }
    rows.push(shares(&source.route, look));
    rows.push(named("verify", look).plain(format!("{} of people stay on both", source.route.verify)));
    let file = if source.route == source.configured {
        "says the same".to_owned()
    } else {
        format!("says {}: yt copies TOML", source.configured.route.replace('=', " "))
    };
    rows.push(named("file", look).plain(cut(&file, inner.width.saturating_sub(14), look)));
    rows.push(
        Phrase::new()
            .plain(" ")
            .add(look, Tone::Key, "m")
            .plain(" changes it   ")
            .add(look, Tone::Key, "@")
            .plain(" ramp   ")
            .add(look, Tone::Key, "L")
            .plain(" limits it   ")
            .add(look, Tone::Key, "r")
            .plain(" sends a gap again"),
    );
    lines(inner, buffer, rows);
}

fn shares(route: &RouteShares, look: &Look) -> Phrase {
    named("of people", look).add(look, Tone::Segment, format!("Segment {}", route.segment)).plain("   ").add(
        look,
        Tone::Rudder,
        format!("RudderStack {}", route.rudderstack),
    )
}

fn rules(app: &App, source: &SourceRoute, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let inner = frame(area, buffer, "Rules, the first that matches wins", &format!("{} in the file", source.rules.len()), look);
    let wide = inner.width.saturating_sub(36);
    let mut rows =
        vec![toned(look, Tone::Dim, format!(" #  {} {:<18} {:>5} {:>5}", fit("MATCH", wide, Side::Left, look), "ROUTE", "SEG%", "RS%"))];
    let line = |number: String, when: &str, route: &RouteShares| {
        let (segment, rudder) = (route.segment.trim_end_matches('%'), route.rudderstack.trim_end_matches('%'));
        Phrase::new().plain(format!(
            " {number}  {} {} {segment:>5} {rudder:>5}",
            fit(&clean(when), wide, Side::Left, look),
            fit(&route.route.replace('=', " "), 18, Side::Left, look)
        ))
    };
    for (index, rule) in source.rules.iter().enumerate() {
        rows.push(line((index + 1).to_string(), &rule.when, &rule.route));
    }
    rows.push(line("-".to_owned(), if source.rules.is_empty() { "(everything)" } else { "(everything else)" }, &source.route));
    rows.push(Phrase::new());
    rows.push(toned(look, Tone::Dim, " Rules stand in the file; segue reload takes them in."));
    lines(inner, buffer, rows);
}

/// What became of its events, on both sides: the sum is always the planned ones.
fn ledger(app: &App, source: &SourceRoute, area: Rect, buffer: &mut Buffer) {
    let (look, data) = (&app.look, app.data());
    let inner = frame(area, buffer, "What became of its events, since the journal began", "planned is the sum of the rest", look);
    let is_wide = inner.width >= 100;
    let head = if is_wide {
        format!(
            " {:<12} {:>11} {:>11} {:>9} {:>11} {:>7} {:>10} {:>8} {:>7} {:>6}",
            "", "PLANNED", "DELIVERED", "WAITING", "QUARANTINED", "DEDUP", "SUPPRESSED", "EXPIRED", "PURGED", "LAG"
        )
    } else {
        format!(" {:<12} {:>10} {:>10} {:>8} {:>8} {:>7} {:>6}", "", "PLANNED", "DELIVERED", "WAITING", "QUARANT", "OTHER", "LAG")
    };
    let mut rows = vec![toned(look, Tone::Dim, head)];
    for (side, name, tone) in [("segment", "Segment", Tone::Segment), ("rudderstack", "RudderStack", Tone::Rudder)] {
        let lane = data.lane(&source.source, side);
        let Ledger { planned, delivered, pending, quarantined, deduplicated, suppressed, expired, purged } =
            lane.map(|lane| lane.ledger).unwrap_or_default();
        let wait = lag(lane.and_then(|lane| data.waited(lane.oldest.as_ref())).unwrap_or_default());
        let [planned, delivered, pending, quarantined] = [planned, delivered, pending, quarantined].map(count);
        let text = if is_wide {
            format!(
                " {planned:>11} {delivered:>11} {pending:>9} {quarantined:>11} {:>7} {:>10} {:>8} {:>7} {wait:>6}",
                count(deduplicated),
                count(suppressed),
                count(expired),
                count(purged)
            )
        } else {
            format!(
                " {planned:>10} {delivered:>10} {pending:>8} {quarantined:>8} {:>7} {wait:>6}",
                count(deduplicated + suppressed + expired + purged)
            )
        };
        rows.push(Phrase::new().plain(" ").add(look, tone, fit(name, 12, Side::Left, look)).plain(text));
    }
    if inner.height >= 5 {
        rows.push(lane_line(app, &source.source, "segment", 20));
        rows.push(lane_line(app, &source.source, "rudderstack", 20));
    } else if let Some(figures) = data.figures_of(&source.source) {
        rows.push(named("besides", look).plain(format!(
            "relayed live {}   never journalled for RudderStack {}",
            count(figures.relayed),
            count(figures.unjournalled)
        )));
    }
    lines(inner, buffer, rows);
}

fn traffic(app: &App, source: &SourceRoute, area: Rect, buffer: &mut Buffer) {
    let window = WINDOWS[app.window];
    let inner = frame(area, buffer, "Traffic, events/s", &format!("{window}   + _ zoom"), &app.look);
    let mine = app.data().series.as_ref().filter(|(of, series)| of.as_deref() == Some(source.source.as_str()) && series.window == window);
    match mine {
        Some((_, series)) => overview::curves(app, series, inner, buffer),
        None => toned(&app.look, Tone::Dim, " asking").put(inner, 0, buffer),
    }
}

/// Who sends its events, and what changed last; and its gates, when they have no place of their own.
fn people(app: &App, source: &SourceRoute, with_gates: bool, area: Rect, buffer: &mut Buffer) {
    let (look, data) = (&app.look, app.data());
    let inner = frame(area, buffer, "Apps, and changes", "6 shows all", look);
    let mut rows = Vec::new();
    if let Some(versions) = &data.versions {
        let mine: Vec<_> = versions.versions.iter().filter(|seen| seen.source == source.source).collect();
        let all: u64 = mine.iter().map(|seen| seen.events).sum();
        for seen in mine.iter().take(6) {
            let app_name = [seen.app.as_deref(), seen.version.as_deref()].into_iter().flatten().map(clean).collect::<Vec<_>>().join(" ");
            let library = seen.library.as_deref().map(clean).unwrap_or_default();
            let name = if app_name.is_empty() { library } else { app_name };
            let name = if name.is_empty() { "(not told)".to_owned() } else { name };
            rows.push(Phrase::new().plain(format!(
                " {} {:>7}  {} users",
                fit(&name, 26, Side::Left, look),
                share(seen.events, all),
                count(seen.people)
            )));
        }
    }
    if rows.is_empty() {
        rows.push(toned(look, Tone::Dim, " no event was counted yet"));
    }
    if with_gates {
        rows.extend(ramp::brief(app, source));
    }
    for change in data.history.iter().filter(|change| change.source.as_deref() == Some(source.source.as_str())).take(4) {
        let text = format!(" rev {} {} {}", change.revision, look.day_and_time(&change.at), notes::told(change));
        rows.push(toned(look, Tone::Dim, cut(&text, inner.width, look)));
    }
    lines(inner, buffer, rows);
}
