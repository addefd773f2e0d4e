//! Tables: columns that go by rank when there is no room, rows that are sorted, filtered, marked and selected by what they are,
//! not by where they stand.

use std::{cmp::Ordering, collections::BTreeSet};

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    look::{Look, Sign, Tone},
    text::{Phrase, Side, fit, toned},
};

/// A column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) side: Side,
    /// Its width in characters; a column that grows takes what is left besides.
    pub(super) width: u16,
    pub(super) grows: bool,
    /// 0 stays whatever the width; the highest goes first.
    pub(super) rank: u8,
}

/// One cell.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
    /// What it is sorted by; None: its text.
    pub(super) weight: Option<f64>,
}

/// One row.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// What it is: selection and marks follow it.
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
}

/// A table, as it is to be shown.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// What is said when there are no rows; a line each.
    pub(super) empty: Vec<String>,
}

/// How a table is looked at.
#[derive(Debug, Clone, Default)]
pub(super) struct Sight {
    /// The row that is selected; None: the first.
    pub(super) selected: Option<String>,
    /// The column that it is sorted by, and whether the other way round; None: as it comes.
    pub(super) sort: Option<(usize, bool)>,
    /// Words that a row must have; `!word`: must not.
    pub(super) filter: String,
    /// The first row that is shown.
    pub(super) offset: usize,
}

impl Column {
    pub(super) const fn left(name: &'static str, width: u16, rank: u8) -> Self {
        Self { name, side: Side::Left, width, grows: false, rank }
    }

    pub(super) const fn right(name: &'static str, width: u16, rank: u8) -> Self {
        Self { name, side: Side::Right, width, grows: false, rank }
    }

    /// A column that takes what is left.
    pub(super) const fn growing(name: &'static str, width: u16, rank: u8) -> Self {
        Self { name, side: Side::Left, width, grows: true, rank }
    }
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    pub(super) fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone, weight: None }
    }

    /// A figure, which is sorted by what it is.
    pub(super) fn figure(weight: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain, weight: Some(weight) }
    }

    pub(super) const fn with_tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }
}

impl Table {
    /// Sorts and filters the rows.
    pub(super) fn seen(mut self, sight: &Sight) -> Self {
        if !sight.filter.trim().is_empty() {
            self.rows.retain(|row| passes(row, &sight.filter));
        }
        if let Some((column, reversed)) = sight.sort {
            self.rows.sort_by(|a, b| {
                let order = compare(a.cells.get(column), b.cells.get(column));
                if reversed { order.reverse() } else { order }
            });
        }
        self
    }

    /// Where the selected row stands; None: there are no rows.
    pub(super) fn place(&self, sight: &Sight) -> Option<usize> {
        if self.rows.is_empty() {
            return None;
        }
        let selected = sight.selected.as_ref()?;
        Some(self.rows.iter().position(|row| row.key == *selected).unwrap_or(0))
    }

    /// The key of the selected row.
    pub(super) fn selected(&self, sight: &Sight) -> Option<&str> {
        let place = self.place(sight).unwrap_or(0);
        self.rows.get(place).map(|row| row.key.as_str())
    }

    /// The columns that have room, with their widths.
    fn fitting(&self, room: u16) -> Vec<(usize, u16)> {
        let mut columns: Vec<usize> = (0..self.columns.len()).collect();
        let taken = |columns: &[usize]| columns.iter().map(|index| self.columns[*index].width + 1).sum::<u16>().saturating_sub(1);
        while taken(&columns) > room {
            let last = columns.iter().rposition(|index| {
                let rank = self.columns[*index].rank;
                rank > 0 && columns.iter().all(|other| self.columns[*other].rank <= rank)
            });
            let Some(last) = last else { break };
            columns.remove(last);
        }
        let left = room.saturating_sub(taken(&columns));
        let grower = columns.iter().find(|index| self.columns[**index].grows).copied();
        columns.into_iter().map(|index| (index, self.columns[index].width + if Some(index) == grower { left } else { 0 })).collect()
    }

    /// Draws it; says how many rows there is room for.
    pub(super) fn draw(
        &self,
        area: Rect,
        buffer: &mut Buffer,
        sight: &Sight,
        marks: &BTreeSet<String>,
        is_focused: bool,
        look: &Look,
    ) -> usize {
        const GUTTER: u16 = 2;
        let columns = self.fitting(area.width.saturating_sub(GUTTER));
        let mut head = Phrase::new().plain("  ");
        for (index, wide) in &columns {
            let column = &self.columns[*index];
            let sorted = sight.sort.filter(|(sorted, _)| sorted == index);
            let name = match sorted {
                Some((_, true)) => format!("{}-", column.name),
                Some((_, false)) => format!("{}+", column.name),
                None => column.name.to_owned(),
            };
            head = head.add(look, Tone::Dim, fit(&name, *wide, column.side, look)).plain(" ");
        }
        head.put(area, 0, buffer);
        if self.rows.is_empty() {
            for (line, text) in self.empty.iter().enumerate() {
                let row = u16::try_from(line + 2).unwrap_or(u16::MAX);
                toned(look, Tone::Plain, format!("  {text}")).put(area, row, buffer);
            }
        }
        let room = usize::from(area.height.saturating_sub(1));
        let place = self.place(sight).unwrap_or(0);
        let offset = offset(sight.offset, place, room, self.rows.len());
        for (line, (at, row)) in self.rows.iter().enumerate().skip(offset).take(room).enumerate() {
            let is_selected = is_focused && at == place;
            let tone = |tone| if is_selected { Tone::Selected } else { tone };
            let sign = if is_selected { ">" } else { " " };
            let mark = if marks.contains(&row.key) { look.sign(Sign::Mark) } else { sign };
            let mut phrase = Phrase::new().add(look, tone(Tone::Plain), format!("{mark} "));
            for (index, wide) in &columns {
                let cell = row.cells.get(*index).cloned().unwrap_or_default();
                let text = fit(&cell.text, *wide, self.columns[*index].side, look);
                phrase = phrase.add(look, tone(cell.tone), text).add(look, tone(Tone::Plain), " ");
            }
            let rest = area.width.saturating_sub(phrase.width());
            phrase = phrase.add(look, tone(Tone::Plain), " ".repeat(usize::from(rest)));
            phrase.put(area, u16::try_from(line + 1).unwrap_or(u16::MAX), buffer);
        }
        room
    }
}

/// The first row to show, so that the selected one is seen and the window moves no more than it has to.
pub(super) fn offset(offset: usize, place: usize, room: usize, rows: usize) -> usize {
    let last = rows.saturating_sub(room);
    if place < offset {
        place
    } else if place >= offset + room {
        (place + 1).saturating_sub(room)
    } else {
        offset
    }
    .min(last)
}

/// Whether the row has what the filter asks for.
fn passes(row: &Row, filter: &str) -> bool {
    let text = row.cells.iter().map(|cell| cell.text.as_str()).collect::<Vec<_>>().join("\u{1f}").to_lowercase() + &row.key.to_lowercase();
    filter.to_lowercase().split_whitespace().all(|word| match word.strip_prefix('!') {
        Some("") => true,
        Some(word) => !text.contains(word),
        None => text.contains(word),
    })
}

fn compare(a: Option<&Cell>, b: Option<&Cell>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => match (a.weight, b.weight) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => a.text.cmp(&b.text),
        },
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row =
            |key: &str, figure: f64| Row { key: key.to_owned(), cells: vec![Cell::new(key), Cell::figure(figure, figure.to_string())] };
        Table {
            columns: vec![Column::growing("NAME", 8, 0), Column::right("EV/S", 6, 1), Column::left("NOTE", 10, 2)],
            rows: vec![row("b", 20.0), row("a", 3.0), row("c", 100.0)],
            empty: Vec::new(),
        }
    }

    fn keys(table: &Table) -> String {
        table.rows.iter().map(|row| row.key.as_str()).collect()
    }

    #[test]
    fn columns_go_by_rank_and_what_is_left_is_given_to_the_one_that_grows() {
        let widths = |room| table().fitting(room);
        assert_eq!(widths(30), [(0, 12), (1, 6), (2, 10)]);
        assert_eq!(widths(25), [(0, 18), (1, 6)], "the note goes first");
        assert_eq!(widths(10), [(0, 10)]);
        assert_eq!(widths(3), [(0, 8)], "what is never dropped stays, and is cut");
    }

    #[test]
    fn figures_are_sorted_as_figures_and_the_selection_follows_its_row() {
        let mut sight = Sight { selected: Some("b".to_owned()), ..Sight::default() };
        assert_eq!((keys(&table().seen(&sight)), table().place(&sight)), ("bac".to_owned(), Some(0)));
        sight.sort = Some((1, true));
        let sorted = table().seen(&sight);
        assert_eq!((keys(&sorted), sorted.place(&sight)), ("cba".to_owned(), Some(1)));
    }

    #[test]
    fn a_filter_asks_for_words_and_against_them() {
        let seen = |filter: &str| keys(&table().seen(&Sight { filter: filter.to_owned(), ..Sight::default() }));
        assert_eq!((seen(" B "), seen("!b"), seen("!"), seen("0 !2")), ("b".to_owned(), "ac".to_owned(), "bac".to_owned(), "c".to_owned()));
    }

    #[test]
    fn the_window_moves_no_more_than_it_has_to() {
        assert_eq!(offset(0, 3, 5, 20), 0);
        assert_eq!(offset(0, 7, 5, 20), 3);
        assert_eq!(offset(10, 7, 5, 20), 7);
        assert_eq!(offset(18, 19, 5, 20), 15);
    }
}
