//! What is on the screen: the header that never goes, the page, the message line, the keys.

mod audit;
mod chrome;
mod destinations;
mod diffs;
mod entry;
mod event;
mod help;
mod journal;
mod notes;
mod overview;
mod ramp;
mod source;
mod sources;
mod tap;
mod versions;

use ratatui::{Frame, buffer::Buffer, layout::Rect};

use super::{
    app::{App, Page},
    keys::Screen,
    look::{Look, Tone},
    table::Table,
    text::{Phrase, cut, toned, width},
};

pub(super) use diffs::group_key;
pub(super) use event::difference_lines;

/// Smaller than this, nothing can be shown that would be of use.
const LEAST: (u16, u16) = (60, 16);

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pane {
    Sources,
    Destinations,
    Lanes,
    Quarantine,
    Replays,
    History,
    Diffs,
    Tap,
    Versions,
}

/// The tables of a page, in the order of tab.
pub(super) const fn panes(page: &Page) -> &'static [Pane] {
    match page {
        Page::Screen(Screen::Overview | Screen::Sources) => &[Pane::Sources],
        Page::Screen(Screen::Diffs) => &[Pane::Diffs],
        Page::Screen(Screen::Tap) => &[Pane::Tap],
        Page::Screen(Screen::Destinations) => &[Pane::Destinations],
        Page::Screen(Screen::Versions) => &[Pane::Versions],
        Page::Screen(Screen::Journal) => &[Pane::Lanes, Pane::Quarantine, Pane::Replays],
        Page::Screen(Screen::Audit) => &[Pane::History],
        Page::Source(_) | Page::Event { .. } | Page::Entry(_) => &[],
    }
}

/// A table, as the data has it.
pub(super) fn table(app: &App, pane: Pane) -> Table {
    match pane {
        Pane::Sources => sources::table(app),
        Pane::Destinations => destinations::table(app),
        Pane::Lanes => journal::lanes(app),
        Pane::Quarantine => journal::quarantine(app),
        Pane::Replays => journal::replays(app),
        Pane::History => audit::table(app),
        Pane::Diffs => diffs::table(app),
        Pane::Tap => tap::table(app),
        Pane::Versions => versions::table(app),
    }
}

/// Draws everything.
pub(super) fn draw(app: &App, target: &mut Frame<'_>) {
    let area = target.area();
    let buffer = target.buffer_mut();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("{} x {} is too small: {} x {} at least, or segue status --watch", area.width, area.height, LEAST.0, LEAST.1);
        toned(&app.look, Tone::Plain, cut(&text, area.width, &app.look)).put(area, 0, buffer);
        return;
    }
    chrome::header(app, area, buffer);
    let body = Rect { y: area.y + 2, height: area.height - 4, ..area };
    if let Some(dialog) = &app.dialog {
        // A small screen is all dialog; a large one shows what is behind it.
        if body.width >= 110 && body.height >= 30 {
            page(app, body, buffer);
        }
        dialog.draw(app, Rect { y: area.y + 2, height: area.height - 3, ..area }, buffer);
        return;
    }
    page(app, body, buffer);
    chrome::footer(app, area, buffer);
    if let Some(shown) = app.help {
        help::draw(app, shown, body, buffer);
    }
}

fn page(app: &App, area: Rect, buffer: &mut Buffer) {
    if app.data().status.is_none() {
        notes::unheard(app, area, buffer);
        return;
    }
    page_of(app, area, buffer);
    if !app.live().is_live() {
        // What is no longer true looks so.
        buffer.set_style(area, app.look.style(Tone::Dim));
    }
}

fn page_of(app: &App, area: Rect, buffer: &mut Buffer) {
    match app.page() {
        Page::Screen(Screen::Overview) => overview::draw(app, area, buffer),
        Page::Screen(Screen::Sources) => sources::draw(app, area, buffer),
        Page::Screen(Screen::Diffs) => diffs::draw(app, area, buffer),
        Page::Screen(Screen::Tap) => tap::draw(app, area, buffer),
        Page::Screen(Screen::Destinations) => destinations::draw(app, area, buffer),
        Page::Screen(Screen::Versions) => versions::draw(app, area, buffer),
        Page::Screen(Screen::Journal) => journal::draw(app, area, buffer),
        Page::Screen(Screen::Audit) => audit::draw(app, area, buffer),
        Page::Source(source) => source::draw(app, source, area, buffer),
        Page::Event { message_id, .. } => event::draw(app, message_id, area, buffer),
        Page::Entry(id) => entry::draw(app, *id, area, buffer),
    }
}

/// A border with a title on the left and a note on the right; what is inside comes back.
pub(super) fn frame(area: Rect, buffer: &mut Buffer, title: &str, note: &str, look: &Look) -> Rect {
    if area.height < 2 || area.width < 4 {
        return Rect { height: 0, ..area };
    }
    let set = look.border();
    let across = usize::from(area.width - 2);
    let edge = |left: &str, middle: &str, right: &str| format!("{left}{}{right}", middle.repeat(across));
    toned(look, Tone::Dim, edge(set.top_left, set.horizontal_top, set.top_right)).put(area, 0, buffer);
    for row in 1..area.height - 1 {
        toned(look, Tone::Dim, set.vertical_left).put(area, row, buffer);
        toned(look, Tone::Dim, set.vertical_right).put_at(area, area.width - 1, row, buffer);
    }
    toned(look, Tone::Dim, edge(set.bottom_left, set.horizontal_bottom, set.bottom_right)).put(area, area.height - 1, buffer);
    let title = cut(title, area.width.saturating_sub(4), look);
    Phrase::new().plain(" ").add(look, Tone::Strong, title.clone()).plain(" ").put_at(area, 1, 0, buffer);
    let room = area.width.saturating_sub(width(&title) + 6);
    if !note.is_empty() && width(note) + 2 <= room {
        let inner = Rect { width: area.width - 2, ..area };
        Phrase::new().plain(" ").add(look, Tone::Dim, note).plain(" ").put_right(inner, 0, buffer);
    }
    Rect { x: area.x + 1, y: area.y + 1, width: area.width - 2, height: area.height - 2 }
}

/// A framed table with what is known of it in its title: how many rows, what is sorted, filtered and marked.
fn framed_table(app: &App, pane: Pane, title: &str, note: &str, area: Rect, buffer: &mut Buffer) {
    let whole = table(app, pane).rows.len();
    let table = app.table(pane);
    let sight = app.sight(pane);
    let filtered = if sight.filter.trim().is_empty() {
        format!("{title} [{whole}]")
    } else {
        format!("{title} [{} of {whole}]  filter: {}", table.rows.len(), super::text::clean(&sight.filter))
    };
    let marked = app.marks.len();
    let title = if pane == Pane::Sources && marked > 0 { format!("{filtered}  {marked} marked") } else { filtered };
    let inner = frame(area, buffer, &title, note, &app.look);
    let is_focused = app.pane() == Some(pane);
    let marks = if pane == Pane::Sources { app.marks.clone() } else { std::collections::BTreeSet::new() };
    table.draw(inner, buffer, &sight, &marks, is_focused, &app.look);
}

/// Writes lines from the top, as far as there is room.
fn lines(area: Rect, buffer: &mut Buffer, lines: impl IntoIterator<Item = Phrase>) {
    for (row, phrase) in (0..area.height).zip(lines) {
        phrase.put(area, row, buffer);
    }
}

/// The area in two, the upper one so high.
fn split_rows(area: Rect, upper: u16) -> (Rect, Rect) {
    let upper = upper.min(area.height);
    (Rect { height: upper, ..area }, Rect { y: area.y + upper, height: area.height - upper, ..area })
}

/// The area in two, the left one so wide.
fn split_columns(area: Rect, left: u16) -> (Rect, Rect) {
    let left = left.min(area.width);
    (Rect { width: left, ..area }, Rect { x: area.x + left, width: area.width - left, ..area })
}
