//! Graphs and sparklines, drawn by hand: the library's have axes that are never ASCII.

use ratatui::{buffer::Buffer, layout::Rect};

use super::{
    figure,
    look::{Look, Signs, Tone},
    text::{Phrase, Side, fit, toned, width},
};

/// One line of a graph.
#[derive(Debug, Clone)]
pub(super) struct Curve<'a> {
    /// What it is called at its end.
    pub(super) name: &'a str,
    pub(super) tone: Tone,
    /// What it is drawn with in ASCII.
    pub(super) mark: char,
    /// Its values, oldest first; the graph ends with the newest.
    pub(super) values: &'a [f64],
}

/// How far a graph reaches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axes<'a> {
    /// How many values fill it.
    pub(super) steps: usize,
    /// What stands at its left end: `-10m`.
    pub(super) begin: &'a str,
}

/// Columns left of the graph: a figure and the axis.
const LEFT: u16 = 7;

/// Draws curves over each other.
pub(super) fn draw(area: Rect, buffer: &mut Buffer, curves: &[Curve<'_>], axes: Axes<'_>, look: &Look) {
    let names = curves.iter().map(|curve| width(curve.name)).max().unwrap_or(0) + 1;
    if area.height < 4 || area.width < LEFT + names + 8 {
        return;
    }
    let plot = Rect { x: area.x + LEFT, y: area.y, width: area.width - LEFT - names, height: area.height - 2 };
    let top = nice_top(curves.iter().flat_map(|curve| curve.values.iter().copied()).fold(0.0, f64::max));
    frame(area, plot, buffer, top, axes, look);
    let mut ends: Vec<u16> = Vec::new();
    for curve in curves {
        let dots = dots(curve.values, plot, axes.steps, top, look.signs);
        for (x, y, char) in cells(&dots, plot, look.signs, curve.mark) {
            let Some(cell) = buffer.cell_mut((plot.x + x, plot.y + y)) else { continue };
            let under = cell.symbol().chars().next().unwrap_or(' ');
            cell.set_char(over(under, char)).set_style(look.style(curve.tone));
        }
        // Names stand at the ends of their curves, and not on each other.
        if let Some(value) = curve.values.last() {
            let mut row = (plot.height - 1) - row_of(*value, top, plot.height);
            let is_taken = |row: &u16| ends.contains(row);
            if is_taken(&row) {
                row = (0..plot.height).rev().find(|row| !ends.contains(row)).unwrap_or(row);
            }
            ends.push(row);
            toned(look, curve.tone, curve.name).put_at(area, LEFT + plot.width + 1, row, buffer);
        }
    }
}

/// The axes, and three figures beside them.
fn frame(area: Rect, plot: Rect, buffer: &mut Buffer, top: f64, axes: Axes<'_>, look: &Look) {
    let (vertical, corner, horizontal, tick) = look.axes();
    for row in 0..plot.height {
        let figure = match row {
            0 => Some(top),
            _ if plot.height > 4 && row == plot.height / 2 => Some(top * f64::from(plot.height - row) / f64::from(plot.height)),
            _ => None,
        };
        let text = figure.map(figure::pace).unwrap_or_default();
        let phrase = Phrase::new().add(look, Tone::Dim, fit(&text, LEFT - 2, Side::Right, look)).plain(" ");
        phrase.add(look, Tone::Dim, if figure.is_some() { tick } else { vertical }).put(area, row, buffer);
    }
    let line = format!("{}{corner}{}", fit("0 ", LEFT - 1, Side::Right, look), horizontal.repeat(usize::from(plot.width)));
    toned(look, Tone::Dim, line).put(area, plot.height, buffer);
    toned(look, Tone::Dim, axes.begin).put_at(area, LEFT, plot.height + 1, buffer);
    toned(look, Tone::Dim, "now").put_at(area, (LEFT + plot.width).saturating_sub(3), plot.height + 1, buffer);
}

/// The top of the graph: a round figure that is not much above the highest.
fn nice_top(highest: f64) -> f64 {
    if highest <= 1.0 {
        return 1.0;
    }
    let unit = 10_f64.powf(highest.log10().floor());
    [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0].iter().map(|factor| factor * unit).find(|top| *top >= highest).unwrap_or(highest)
}

/// The row of a value, counted from below.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rows of a screen")]
fn row_of(value: f64, top: f64, rows: u16) -> u16 {
    ((value / top * f64::from(rows)) as u16).min(rows.saturating_sub(1))
}

/// The height of the curve at each dot column, counted from below; None: nothing is known there.
fn dots(values: &[f64], plot: Rect, steps: usize, top: f64, signs: Signs) -> Vec<Option<u16>> {
    let (across, up) = grain(signs);
    let columns = usize::from(plot.width * across);
    let rows = plot.height * up;
    let steps = steps.max(1);
    let missing = steps.saturating_sub(values.len());
    let values = &values[values.len().saturating_sub(steps)..];
    let height = |column: usize| {
        let step = column * steps / columns;
        values.get(step.checked_sub(missing)?).map(|value| row_of(*value, top, rows))
    };
    (0..columns).map(height).collect()
}

/// Dots in one cell, across and up.
const fn grain(signs: Signs) -> (u16, u16) {
    match signs {
        Signs::Unicode => (2, 4),
        Signs::Ascii => (1, 1),
    }
}

/// The cells that a curve touches. Steps are joined, so that a jump is a line.
fn cells(dots: &[Option<u16>], plot: Rect, signs: Signs, mark: char) -> Vec<(u16, u16, char)> {
    let (across, up) = grain(signs);
    let rows = plot.height * up;
    let mut masks = vec![0_u8; usize::from(plot.width) * usize::from(plot.height)];
    let mut last = None;
    for (column, height) in dots.iter().enumerate() {
        let Some(height) = height else {
            last = None;
            continue;
        };
        let from = last.unwrap_or(*height);
        for row in from.min(*height)..=from.max(*height) {
            let down = rows - 1 - row;
            let (x, y) = (column / usize::from(across), usize::from(down / up));
            masks[y * usize::from(plot.width) + x] |= dot(column % usize::from(across), down % up, signs);
        }
        last = Some(*height);
    }
    let cell = |(index, mask): (usize, &u8)| {
        let (x, y) = (index % usize::from(plot.width), index / usize::from(plot.width));
        let char = match signs {
            Signs::Unicode => char::from_u32(0x2800 + u32::from(*mask)).unwrap_or(' '),
            Signs::Ascii => mark,
        };
        (u16::try_from(x).unwrap_or(0), u16::try_from(y).unwrap_or(0), char)
    };
    masks.iter().enumerate().filter(|(_, mask)| **mask != 0).map(cell).collect()
}

/// The bit of a braille dot.
const fn dot(x: usize, y: u16, signs: Signs) -> u8 {
    match (signs, x, y) {
        (Signs::Ascii, ..) | (Signs::Unicode, 0, 0) => 0x01,
        (Signs::Unicode, 0, 1) => 0x02,
        (Signs::Unicode, 0, 2) => 0x04,
        (Signs::Unicode, 0, _) => 0x40,
        (Signs::Unicode, _, 0) => 0x08,
        (Signs::Unicode, _, 1) => 0x10,
        (Signs::Unicode, _, 2) => 0x20,
        (Signs::Unicode, ..) => 0x80,
    }
}

/// Two curves in one cell: both their dots are seen.
fn over(under: char, char: char) -> char {
    let bits = |char: char| u32::from(char).checked_sub(0x2800).filter(|bits| *bits < 0x100);
    match (bits(under), bits(char)) {
        (Some(under), Some(bits)) => char::from_u32(0x2800 + (under | bits)).unwrap_or(char),
        _ => char,
    }
}

/// A sparkline: one character a value, from the lowest to the highest of eight; a space where nothing is known.
pub(super) fn spark(values: &[Option<f64>], look: &Look) -> String {
    const UNICODE: [char; 8] = ['\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}'];
    const ASCII: [char; 8] = ['_', '.', '.', '-', '-', '=', '=', '#'];
    let signs = match look.signs {
        Signs::Unicode => UNICODE,
        Signs::Ascii => ASCII,
    };
    let top = values.iter().flatten().copied().fold(0.0, f64::max);
    let sign = |value: &Option<f64>| match value {
        None => ' ',
        Some(_) if top <= 0.0 => signs[0],
        Some(value) => signs[usize::from(row_of(*value, top, 8))],
    };
    values.iter().map(sign).collect()
}

/// A bar of so many characters, filled to that share.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "characters of a bar")]
pub(super) fn bar(share: f64, columns: usize, look: &Look) -> String {
    use super::look::Sign;
    let full = ((share.clamp(0.0, 1.0) * f64::from(u16::try_from(columns).unwrap_or(u16::MAX))).round() as usize).min(columns);
    look.sign(Sign::Full).repeat(full) + &look.sign(Sign::Empty).repeat(columns - full)
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::tui::Palette;

    fn look(signs: Signs) -> Look {
        Look { palette: Palette::Mono, signs, zone: TimeZone::UTC }
    }

    #[test]
    fn a_spark_shows_the_highest_as_full_and_the_unknown_as_nothing() {
        assert_eq!(spark(&[None, Some(0.0), Some(4.0), Some(8.0)], &look(Signs::Unicode)), " \u{2581}\u{2585}\u{2588}");
        assert_eq!(spark(&[Some(0.0), Some(0.0)], &look(Signs::Ascii)), "__");
    }

    #[test]
    fn the_top_is_a_round_figure_above_the_highest() {
        assert_eq!([0.0, 0.7, 42.0, 2_157.0, 9_500.0].map(|top| figure::pace(nice_top(top))), ["1.0", "1.0", "50", "3,000", "10,000"]);
    }

    #[test]
    fn ascii_graphs_are_ascii_and_a_jump_is_joined() {
        let area = Rect::new(0, 0, 40, 8);
        let mut buffer = Buffer::empty(area);
        let values = [0.0, 0.0, 10.0, 10.0];
        let curve = Curve { name: "in", tone: Tone::Plain, mark: '*', values: &values };
        draw(area, &mut buffer, &[curve], Axes { steps: 4, begin: "-1m" }, &look(Signs::Ascii));
        let text: String = buffer.content().iter().map(ratatui::buffer::Cell::symbol).collect();
        assert!(text.is_ascii(), "{text}");
        let column: String = (0..6).map(|y| buffer[(LEFT + 15, y)].symbol().to_owned()).collect();
        assert_eq!(column, "******", "the jump in the middle");
    }
}
