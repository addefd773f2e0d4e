//! The keys that work on this screen, made of the table of keys.

use ratatui::{buffer::Buffer, layout::Rect, widgets::Widget};

use super::{
    super::{
        app::{App, Help},
        keys::{BINDINGS, Binding, Group},
        look::{Look, Tone},
        text::{Phrase, Side, cut, fit, toned, wrapped},
    },
    frame, lines,
};

const GROUPS: [(Group, &str); 5] = [
    (Group::Move, "MOVE"),
    (Group::Look, "LOOK"),
    (Group::Take, "TAKE AWAY"),
    (Group::Change, "CHANGE (needs W, or --operate)"),
    (Group::Program, "PROGRAM"),
];

/// What signs and modes mean.
const LEGEND: [&str; 4] = [
    "VIEW: keys change nothing. ARMED 12m: changes are allowed for so long. FROZEN: the screen stands, the proxy goes on.",
    "STALE: not connected, values are old. SEG% RS%: the share of people whose events each side gets.",
    "> selected, * marked, ! to be mended, ? not known yet, - none, + only RudderStack has it, - only Segment, ~ they differ.",
    "FILE: = as in the configuration; otherwise the route was changed while it ran.",
];

pub(super) fn draw(app: &App, shown: Help, area: Rect, buffer: &mut Buffer) {
    let look = &app.look;
    let width = area.width.min(112);
    let place = Rect { x: area.x + (area.width - width) / 2, width, ..area };
    ratatui::widgets::Clear.render(place, buffer);
    let title = if shown.all { "Help: all keys" } else { "Help: the keys of this screen" };
    let other = if shown.all { "tab: this screen's" } else { "tab: all" };
    let inner = frame(place, buffer, title, &format!("{other}   j k scroll   esc closes"), look);
    let columns = if inner.width >= 100 { 2 } else { 1 };
    let wide = inner.width / columns;
    let legend = LEGEND.iter().flat_map(|line| wrapped(line, inner.width.saturating_sub(2)));
    let legend: Vec<Phrase> = legend.map(|line| toned(look, Tone::Dim, format!(" {line}"))).collect();
    let mut rows = rows(app, shown.all, look, wide);
    if columns == 1 {
        rows.extend(legend);
        let last = rows.len().saturating_sub(usize::from(inner.height));
        return lines(inner, buffer, rows.into_iter().skip(shown.scroll.min(last)));
    }
    let legend_rows = u16::try_from(legend.len()).unwrap_or(0).min(inner.height);
    let room = Rect { height: inner.height - legend_rows, ..inner };
    let right = rows.split_off(rows.len().div_ceil(2));
    let last = rows.len().saturating_sub(usize::from(room.height));
    let skipped = shown.scroll.min(last);
    lines(Rect { width: wide, ..room }, buffer, rows.into_iter().skip(skipped));
    lines(Rect { x: inner.x + wide, width: inner.width - wide, ..room }, buffer, right.into_iter().skip(skipped));
    lines(Rect { y: inner.y + room.height, height: legend_rows, ..inner }, buffer, legend);
}

fn rows(app: &App, all: bool, look: &Look, wide: u16) -> Vec<Phrase> {
    let place = app.page().place();
    let mut rows = Vec::new();
    for (group, title) in GROUPS {
        let works = |binding: &&Binding| binding.group == group && (all || binding.works(place));
        let mine: Vec<&Binding> = BINDINGS.iter().filter(works).collect();
        if mine.is_empty() {
            continue;
        }
        rows.push(toned(look, Tone::Strong, format!(" {title}")));
        for binding in mine {
            let keys = fit(&binding.keys.join(" "), 16, Side::Left, look);
            rows.push(Phrase::new().plain("  ").add(look, Tone::Key, keys).plain(cut(binding.what, wide.saturating_sub(19), look)));
        }
    }
    rows
}
