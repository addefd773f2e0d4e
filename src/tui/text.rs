//! Text on the screen: harmless, of a known width, cut where there is no room.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::look::{Look, Sign, Tone};
use crate::model::inert;

/// More marks on one letter than this are left out.
const MARKS_MAX: usize = 2;

/// Text of others, as it may be shown: nothing in it moves the cursor, turns the direction or has no width.
pub(super) fn clean(text: &str) -> String {
    let mut marks = 0;
    inert(text)
        .chars()
        .filter(|char| {
            marks = if char.width() == Some(0) { marks + 1 } else { 0 };
            marks <= MARKS_MAX
        })
        .collect()
}

/// Columns that the text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(text.width()).unwrap_or(u16::MAX)
}

/// The text, cut to so many columns; what was cut is shown by a sign.
pub(super) fn cut(text: &str, columns: u16, look: &Look) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let ellipsis = look.sign(Sign::Ellipsis);
    let room = columns.saturating_sub(width(ellipsis));
    let (mut out, mut taken) = (String::new(), 0);
    for char in text.chars() {
        let wide = u16::try_from(char.width().unwrap_or(0)).unwrap_or(0);
        if taken + wide > room {
            break;
        }
        taken += wide;
        out.push(char);
    }
    if columns >= width(ellipsis) {
        out.push_str(ellipsis);
    }
    out
}

/// The text in exactly so many columns.
pub(super) fn fit(text: &str, columns: u16, side: Side, look: &Look) -> String {
    let text = cut(text, columns, look);
    let gap = " ".repeat(usize::from(columns.saturating_sub(width(&text))));
    match side {
        Side::Left => text + &gap,
        Side::Right => gap + &text,
    }
}

/// Where text stands in its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// The text in lines of so many columns, broken between words where that goes.
pub(super) fn wrapped(text: &str, columns: u16) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let mut word = word.to_owned();
        let last = lines.last().map_or(0, |line| width(line));
        if last > 0 && last + 1 + width(&word) > columns {
            lines.push(String::new());
        }
        while width(&word) > columns {
            let room = columns - lines.last().map_or(0, |line| width(line)).min(columns - 1);
            let head: String = word.chars().take(usize::from(room)).collect();
            word = word.chars().skip(usize::from(room)).collect();
            if let Some(line) = lines.last_mut() {
                line.push_str(&head);
            }
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(&word);
        }
    }
    lines
}

/// A line that is put together piece by piece.
#[derive(Debug, Clone, Default)]
pub(super) struct Phrase(Vec<Span<'static>>);

impl Phrase {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a piece.
    pub(super) fn add(mut self, look: &Look, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push(Span::styled(text.into(), look.style(tone)));
        self
    }

    /// Adds a plain piece.
    pub(super) fn plain(mut self, text: impl Into<String>) -> Self {
        self.0.push(Span::raw(text.into()));
        self
    }

    /// Columns that it takes.
    pub(super) fn width(&self) -> u16 {
        self.0.iter().map(|span| width(&span.content)).fold(0, u16::saturating_add)
    }

    /// Writes it at the start of a row, and cuts it there.
    pub(super) fn put(self, area: Rect, row: u16, buffer: &mut Buffer) {
        self.put_at(area, 0, row, buffer);
    }

    /// The same, some columns further right.
    pub(super) fn put_at(self, area: Rect, column: u16, row: u16, buffer: &mut Buffer) {
        if row < area.height && column < area.width {
            buffer.set_line(area.x + column, area.y + row, &Line::from(self.0), area.width - column);
        }
    }

    /// Writes it so that it ends with the row.
    pub(super) fn put_right(self, area: Rect, row: u16, buffer: &mut Buffer) {
        let column = area.width.saturating_sub(self.width());
        self.put_at(area, column, row, buffer);
    }
}

/// A plain line.
pub(super) fn plain(text: impl Into<String>) -> Phrase {
    Phrase::new().plain(text)
}

/// A line of one tone.
pub(super) fn toned(look: &Look, tone: Tone, text: impl Into<String>) -> Phrase {
    Phrase::new().add(look, tone, text)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::tui::{Palette, Signs};

    #[test]
    fn text_is_cut_with_a_sign_and_filled_with_room() {
        let look = Look { palette: Palette::Mono, signs: Signs::Ascii, zone: TimeZone::UTC };
        assert_eq!(cut("checkout", 8, &look), "checkout");
        assert_eq!(cut("checkout", 5, &look), "che..");
        assert_eq!(cut("checkout", 1, &look), "");
        assert_eq!(fit("42", 5, Side::Right, &look), "   42");
        assert_eq!(fit("\u{4e2d}\u{6587}", 5, Side::Left, &look), "\u{4e2d}\u{6587} ");
        assert_eq!(cut("\u{4e2d}\u{6587}\u{4e2d}", 5, &look), "\u{4e2d}..");
    }

    #[test]
    fn text_of_others_is_harmless() {
        assert_eq!(clean("a\u{1b}[31mb\u{202e}c"), "a\\u001b[31mb\\u202ec");
        assert_eq!(clean("e\u{301}\u{301}\u{301}\u{301}x"), "e\u{301}\u{301}x", "two marks are enough for a letter");
    }

    #[test]
    fn long_text_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a verylongword b", 6), ["a", "verylo", "ngword", "b"].map(str::to_owned).to_vec());
        assert_eq!(wrapped("", 5), [""]);
    }
}
