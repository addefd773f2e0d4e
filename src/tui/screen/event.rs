//! What each side is sent of one event, side by side or unified.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::Value;

use super::{
    super::{
        app::App,
        look::{Look, Tone},
        text::{Phrase, Side, clean, cut, fit, plain, toned},
    },
    frame, lines,
    sources::trouble,
    split_columns, split_rows,
};
use crate::wire::{Difference, SentCopy, SentEvent};

/// Narrower screens are unified.
const SIDE_BY_SIDE: u16 = 110;

/// One line of both documents.
#[derive(Debug, Clone, Default)]
struct Both {
    indent: usize,
    left: Option<String>,
    right: Option<String>,
    /// The place, when it differs there.
    path: Option<String>,
}

pub(super) fn draw(app: &App, message_id: &str, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let Some(event) = &app.data().event else {
        let inner = frame(area, buffer, &format!("Event {}", clean(message_id)), "", look);
        match app.data().unanswered.get("event") {
            Some(refusal) => {
                trouble(look, format!(" {}", clean(&refusal.what))).put(inner, 0, buffer);
                plain(format!(" {}", clean(&refusal.fix))).put(inner, 1, buffer);
            }
            None => toned(look, Tone::Dim, " looking it up in the journal").put(inner, 0, buffer),
        }
        return;
    };
    let (head, rest) = split_rows(area, 6);
    heading(app, event, head, buffer);
    let is_wide = rest.width >= SIDE_BY_SIDE && !app.unified;
    let (documents, foot) = split_rows(rest, rest.height.saturating_sub(4));
    let rows = rows(event, app.noise);
    if is_wide {
        side_by_side(app, event, &rows, documents, buffer);
    } else {
        unified(app, event, &rows, documents, buffer);
    }
    focus(app, event, &rows, foot, buffer);
}

fn heading(app: &App, event: &SentEvent, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let title = format!(
        "{} {}",
        event.kind.as_deref().map_or_else(|| "event".to_owned(), clean),
        event.name.as_deref().map(|name| format!("\"{}\"", clean(name))).unwrap_or_default()
    );
    let noise = event.differences.iter().filter(|difference| difference.noise).count();
    let note = format!("differences {}, of them noise {noise}", event.differences.len());
    let inner = frame(area, buffer, title.trim(), &note, look);
    let app_name = event.app.as_deref().map(clean).unwrap_or_default();
    let mut rows = vec![plain(format!(
        " {}   {}   {app_name}   {}   rev {}",
        clean(&event.message_id),
        clean(&event.source),
        look.day_and_time(&event.received_at),
        event.revision
    ))];
    for (name, tone, copy) in [("Segment", Tone::Segment, &event.segment), ("RudderStack", Tone::Rudder, &event.rudderstack)] {
        rows.push(Phrase::new().plain(" ").add(look, tone, fit(name, 12, Side::Left, look)).plain(cut(
            &told(copy),
            inner.width.saturating_sub(14),
            look,
        )));
    }
    let masked = if event.masked { "masked: P shows people, and is written down" } else { "unmasked: this was written down" };
    rows.push(toned(look, Tone::Dim, format!(" what segue sends, not what the vendors make of it   {masked}")));
    lines(inner, buffer, rows);
}

/// What was done for one side.
fn told(copy: &SentCopy) -> String {
    let planned = if copy.planned { "sent" } else { "not sent: its route says no; this is what it would get" };
    let rules = match (&copy.refusal, copy.rules.as_slice()) {
        (Some(refusal), _) => format!("never sent there: {}", clean(refusal)),
        (None, []) => "the client's own bytes".to_owned(),
        (None, rules) => clean(&rules.join(", ")),
    };
    format!("{planned}   {}   {rules}", clean(&copy.path))
}

/// Both documents line by line; without noise, lines that only differ by it are left out.
fn rows(event: &SentEvent, noise: bool) -> Vec<Both> {
    let mut rows = Vec::new();
    walk("", None, event.segment.event.as_ref(), event.rudderstack.event.as_ref(), 0, &mut rows);
    let hidden: BTreeSet<&str> =
        event.differences.iter().filter(|difference| difference.noise && !noise).map(|difference| difference.path.as_str()).collect();
    rows.retain(|row| row.path.as_deref().is_none_or(|path| !hidden.iter().any(|noise| is_within(path, noise))));
    rows
}

/// Whether a place is that place, or inside it.
fn is_within(path: &str, outer: &str) -> bool {
    path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

fn walk(path: &str, key: Option<&str>, left: Option<&Value>, right: Option<&Value>, indent: usize, rows: &mut Vec<Both>) {
    let label = key.map(|key| format!("{}: ", Value::from(key))).unwrap_or_default();
    match (left, right) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            rows.push(same(indent, format!("{label}{{")));
            let extra = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(extra) {
                let inside = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                walk(&inside, Some(key), a.get(key), b.get(key), indent + 1, rows);
            }
            rows.push(same(indent, "}".to_owned()));
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            rows.push(same(indent, format!("{label}[")));
            for index in 0..a.len().max(b.len()) {
                walk(&format!("{path}[{index}]"), None, a.get(index), b.get(index), indent + 1, rows);
            }
            rows.push(same(indent, "]".to_owned()));
        }
        (Some(a), Some(b)) if a == b => rows.push(same(indent, format!("{label}{a}"))),
        (Some(a), Some(b)) if !a.is_object() && !a.is_array() && !b.is_object() && !b.is_array() => {
            rows.push(Both { indent, left: Some(format!("{label}{a}")), right: Some(format!("{label}{b}")), path: Some(path.to_owned()) });
        }
        (a, b) => {
            if let Some(a) = a {
                rows.extend(alone(&label, a, indent).into_iter().map(|(indent, text)| Both {
                    indent,
                    left: Some(text),
                    right: None,
                    path: Some(path.to_owned()),
                }));
            }
            if let Some(b) = b {
                rows.extend(alone(&label, b, indent).into_iter().map(|(indent, text)| Both {
                    indent,
                    left: None,
                    right: Some(text),
                    path: Some(path.to_owned()),
                }));
            }
        }
    }
}

fn same(indent: usize, text: String) -> Both {
    Both { indent, left: Some(text.clone()), right: Some(text), path: None }
}

/// What one side alone has, line by line.
fn alone(label: &str, value: &Value, indent: usize) -> Vec<(usize, String)> {
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    let line = |(index, line): (usize, &str)| {
        let inside = (line.len() - line.trim_start().len()) / 2;
        (indent + inside, if index == 0 { format!("{label}{}", line.trim_start()) } else { line.trim_start().to_owned() })
    };
    text.lines().enumerate().map(line).collect()
}

/// The lines where something differs: the first line of each place.
pub(in crate::tui) fn difference_lines(event: &SentEvent, noise: bool) -> Vec<usize> {
    let mut seen = BTreeMap::new();
    for (line, row) in rows(event, noise).iter().enumerate() {
        if let Some(path) = &row.path {
            seen.entry(path.clone()).or_insert(line);
        }
    }
    let mut lines: Vec<usize> = seen.into_values().collect();
    lines.sort_unstable();
    lines
}

/// The first line that is shown.
fn top(app: &App, rows: usize, room: u16) -> usize {
    let room = usize::from(room);
    app.scroll.saturating_sub(room / 3).min(rows.saturating_sub(room))
}

fn side_by_side(app: &App, event: &SentEvent, rows: &[Both], area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let (left, right) = split_columns(area, area.width / 2);
    let sides = [(left, "Segment", &event.segment), (right, "RudderStack", &event.rudderstack)];
    for (is_right, (area, name, copy)) in sides.into_iter().enumerate() {
        let is_right = is_right == 1;
        let inner = frame(area, buffer, name, if is_right { "v: unified" } else { "" }, look);
        if let Some(refusal) = &copy.refusal {
            trouble(look, format!(" never sent there: {}", clean(refusal))).put(inner, 0, buffer);
            continue;
        }
        let top = top(app, rows.len(), inner.height);
        for (line, row) in (0..inner.height).zip(rows.iter().skip(top)) {
            let text = if is_right { &row.right } else { &row.left };
            let (sign, tone) = match (&row.left, &row.right, &row.path) {
                (Some(_), Some(_), Some(_)) => ("~", Tone::Warning),
                (Some(_), None, _) => ("-", Tone::Segment),
                (None, Some(_), _) => ("+", Tone::Rudder),
                _ => (" ", Tone::Plain),
            };
            let shown = match text {
                Some(text) => format!("{}{}", " ".repeat(row.indent * 2), clean(text)),
                None => String::new(),
            };
            let sign = if text.is_some() { sign } else { " " };
            let is_here = usize::from(line) + top == app.scroll && row.path.is_some();
            let phrase = Phrase::new().plain(if is_here { ">" } else { " " }).add(look, tone, sign).plain(" ");
            phrase
                .add(look, if sign == " " { Tone::Plain } else { tone }, cut(&shown, inner.width.saturating_sub(3), look))
                .put(inner, line, buffer);
        }
    }
}

fn unified(app: &App, event: &SentEvent, rows: &[Both], area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let note = if area.width < SIDE_BY_SIDE { "unified" } else { "v: side by side" };
    let inner = frame(area, buffer, "Segment -   RudderStack +", note, look);
    let refusals = [("Segment", &event.segment.refusal), ("RudderStack", &event.rudderstack.refusal)];
    let top = top(app, rows.len(), inner.height);
    let mut out: Vec<Phrase> = Vec::new();
    for (name, refusal) in refusals {
        if let Some(refusal) = refusal {
            out.push(trouble(look, format!(" never sent to {name}: {}", clean(refusal))));
        }
    }
    for (line, row) in rows.iter().enumerate().skip(top) {
        let is_here = if line == app.scroll && row.path.is_some() { ">" } else { " " };
        let indent = " ".repeat(row.indent * 2);
        let made = row.path.as_deref().and_then(|path| difference(event, path)).map(words).unwrap_or_default();
        let mut push = |sign: &str, tone: Tone, text: &str, note: &str| {
            let room = inner.width.saturating_sub(3 + super::super::text::width(note) + 1);
            let shown = fit(&format!("{indent}{}", clean(text)), room, Side::Left, look);
            out.push(
                Phrase::new()
                    .plain(is_here)
                    .add(look, tone, sign)
                    .plain(" ")
                    .add(look, if sign == " " { Tone::Plain } else { tone }, shown)
                    .plain(" ")
                    .add(look, Tone::Dim, note.to_owned()),
            );
        };
        let note = if inner.width >= 70 { made.as_str() } else { "" };
        match (&row.left, &row.right, &row.path) {
            (Some(left), Some(_), None) => push(" ", Tone::Plain, left, ""),
            (left, right, _) => {
                if let Some(left) = left {
                    push("-", Tone::Segment, left, if right.is_none() { note } else { "" });
                }
                if let Some(right) = right {
                    push("+", Tone::Rudder, right, note);
                }
            }
        }
    }
    lines(inner, buffer, out);
}

/// The difference at a place, or around it.
fn difference<'a>(event: &'a SentEvent, path: &str) -> Option<&'a Difference> {
    let exact = event.differences.iter().find(|difference| difference.path == path);
    exact.or_else(|| event.differences.iter().find(|difference| is_within(path, &difference.path) || is_within(&difference.path, path)))
}

fn words(difference: &Difference) -> String {
    let rules = if difference.rules.is_empty() { "no rule is known to make it".to_owned() } else { difference.rules.join(", ") };
    cut_words(&clean(&rules))
}

/// A note beside a line: not longer than a third of a screen.
fn cut_words(text: &str) -> String {
    text.chars().take(36).collect()
}

/// The difference that is looked at, in words.
fn focus(app: &App, event: &SentEvent, rows: &[Both], area: Rect, buffer: &mut Buffer) {
    let look: &Look = &app.look;
    let inner = frame(area, buffer, "Here", "] [ next and previous", look);
    let here = rows.get(app.scroll).and_then(|row| row.path.as_deref()).and_then(|path| difference(event, path));
    let rows = match here {
        Some(difference) => {
            let noise = if difference.noise { "   noise: how both APIs differ" } else { "" };
            vec![
                plain(format!(" {}   {}{noise}", clean(&difference.path), super::diffs::kind(&difference.kind))),
                plain(format!(
                    " made by {}",
                    if difference.rules.is_empty() {
                        "no rule that is known: a fault of segue".to_owned()
                    } else {
                        clean(&difference.rules.join(", "))
                    }
                )),
            ]
        }
        None => {
            vec![toned(look, Tone::Dim, format!(" places that differ: {}   ] goes to the next", difference_lines(event, app.noise).len()))]
        }
    };
    lines(inner, buffer, rows);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(left: &Value, right: &Value) -> Vec<String> {
        let mut rows = Vec::new();
        walk("", None, Some(left), Some(right), 0, &mut rows);
        let sign = |row: &Both| match (&row.left, &row.right, &row.path) {
            (Some(left), Some(right), Some(path)) => format!("~{left}|{right} @{path}"),
            (Some(left), None, Some(path)) => format!("-{left} @{path}"),
            (None, Some(right), Some(path)) => format!("+{right} @{path}"),
            (left, ..) => left.clone().unwrap_or_default(),
        };
        rows.iter().map(sign).collect()
    }

    #[test]
    fn two_documents_are_laid_beside_each_other() {
        let left = json!({ "a": 1, "b": { "c": [1, 2] }, "d": "x", "f": null });
        let right = json!({ "a": 1, "b": { "c": [1] }, "d": 7, "e": { "new": true } });
        let want = [
            "{",
            "\"a\": 1",
            "\"b\": {",
            "\"c\": [",
            "1",
            "-2 @b.c[1]",
            "]",
            "}",
            "~\"d\": \"x\"|\"d\": 7 @d",
            "-\"f\": null @f",
            "+\"e\": { @e",
            "+\"new\": true @e",
            "+} @e",
            "}",
        ];
        assert_eq!(shown(&left, &right), want);
    }

    #[test]
    fn a_place_is_within_itself_and_what_is_around_it() {
        assert!(is_within("context.ip", "context.ip") && is_within("context.ip", "context") && is_within("a[0].b", "a"));
        assert!(!is_within("contextual", "context"));
    }
}
