//! A dialog on the screen: a box in the middle, the whole screen below the header where there is no room for a box.

use ratatui::{buffer::Buffer, layout::Rect, widgets::Widget};

use super::{Dialog, FieldName, Focus};
use crate::tui::{
    app::App,
    look::{Look, Tone},
    screen::frame,
    text::{Phrase, Side, clean, cut, fit, toned, width, wrapped},
};

/// How wide a box is where there is room.
const COLUMNS: u16 = 86;
/// Columns of the names before lines that can be typed into.
const NAMES: u16 = 14;

impl Dialog {
    /// Draws it.
    pub(in crate::tui) fn draw(&self, app: &App, area: Rect, buffer: &mut Buffer) {
        let look = &app.look;
        let columns = COLUMNS.min(area.width);
        let inside = columns.saturating_sub(6);
        let words = self.words(app.live(), look, inside, area.height < 28);
        let foot = self.foot(app, inside);
        let needed = u16::try_from(words.len() + foot.len()).unwrap_or(u16::MAX).saturating_add(4);
        let rows = needed.min(area.height);
        let place = if area.width < 110 || area.height < 30 {
            Rect { height: area.height, ..area }
        } else {
            Rect { x: area.x + (area.width - columns) / 2, y: area.y + (area.height - rows) / 2, width: columns, height: rows }
        };
        ratatui::widgets::Clear.render(place, buffer);
        let (title, danger) = self.title();
        let inner = frame(place, buffer, &title, danger.unwrap_or_default(), look);
        let inner = Rect { x: inner.x + 2, y: inner.y + 1, width: inner.width.saturating_sub(4), height: inner.height.saturating_sub(1) };
        // The foot is what is acted on: it is seen whatever the height.
        let foot_rows = u16::try_from(foot.len()).unwrap_or(u16::MAX).min(inner.height);
        let room = inner.height.saturating_sub(foot_rows);
        for (row, phrase) in (0..room).zip(words) {
            phrase.put(inner, row, buffer);
        }
        let top = if place.height == area.height { inner.height - foot_rows } else { inner.height.saturating_sub(foot_rows) };
        for (row, phrase) in (top..).zip(foot) {
            phrase.put(inner, row, buffer);
        }
    }

    /// Lines that can be typed into, and what can be done.
    fn foot(&self, app: &App, columns: u16) -> Vec<Phrase> {
        let look = &app.look;
        let mut lines = vec![Phrase::new()];
        for (index, field) in self.fields.iter().enumerate() {
            if !self.is_needed(field.name) {
                continue;
            }
            lines.push(self.field_line(index, columns, look));
        }
        if self.is_stale(app.live()) {
            lines.extend(
                wrapped("Somebody changed it while you were looking: close this, and look again.", columns)
                    .into_iter()
                    .map(|line| toned(look, Tone::Trouble, line)),
            );
        }
        lines.push(Phrase::new());
        let blocked = self.blocked(app.disarmed_for(self));
        lines.push(self.buttons(blocked.as_deref(), look));
        let help = match (&blocked, self.focus) {
            (_, Focus::Choice) if !matches!(self.aim, super::Aim::Flip { .. }) => "j k pick   enter goes on   esc cancels".to_owned(),
            (_, Focus::Choice) => "j k pick   digits set the share   enter goes on   esc cancels".to_owned(),
            (Some(why), _) => clean(why),
            (None, Focus::Field(_)) => format!("enter goes on, then {} confirms   esc cancels", self.confirm_key()),
            (None, _) => format!("{} confirms   tab moves   esc cancels", self.confirm_key()),
        };
        lines.push(toned(
            look,
            if blocked.is_some() && self.focus != Focus::Choice { Tone::Warning } else { Tone::Dim },
            cut(&help, columns, look),
        ));
        lines
    }

    const fn confirm_key(&self) -> &'static str {
        match &self.aim {
            super::Aim::Kill { on: true } => "A",
            _ => "y",
        }
    }

    fn buttons(&self, blocked: Option<&str>, look: &Look) -> Phrase {
        let tone = |focus: Focus| if self.focus == focus { Tone::Selected } else { Tone::Plain };
        let cancel = "[ Cancel (esc) ]";
        let confirm = format!("[ {} ({}) ]", self.verb(), self.confirm_key());
        let confirm_tone = match (blocked, self.focus) {
            (Some(_), Focus::Confirm) => Tone::Selected,
            (Some(_), _) => Tone::Dim,
            (None, _) => tone(Focus::Confirm),
        };
        let note = if blocked.is_some() { "  not yet" } else { "" };
        Phrase::new().add(look, tone(Focus::Cancel), cancel).plain("   ").add(look, confirm_tone, confirm).add(look, Tone::Dim, note)
    }

    const fn verb(&self) -> &'static str {
        use super::Aim;
        match &self.aim {
            Aim::Flip { .. } => "Change route",
            Aim::Kill { on: true } => "KILL SWITCH ON",
            Aim::Kill { on: false } => "Lift it",
            Aim::Undo { backfill: false, .. } => "Undo",
            Aim::Undo { backfill: true, .. } => "Undo and backfill",
            Aim::Hold { on: true, .. } => "Hold",
            Aim::Hold { on: false, .. } => "Let it go on",
            Aim::Unpark { .. } => "Try again",
            Aim::Limit { .. } => "Change limit",
            Aim::Replay { .. } => "Start replay",
            Aim::Step { .. } | Aim::RampStep { .. } => "Do it",
            Aim::Redrive { .. } => "Send again",
            Aim::Ramp { .. } => "Start ramp",
        }
    }

    fn field_line(&self, index: usize, columns: u16, look: &Look) -> Phrase {
        let field = &self.fields[index];
        let (name, note) = self.field_words(field.name);
        let names = NAMES.max(width(&name) + 1);
        let is_focused = self.focus == Focus::Field(index);
        let wide = match field.name {
            FieldName::Verify | FieldName::Rate | FieldName::Every | FieldName::OnRed => 8,
            FieldName::From | FieldName::Steps | FieldName::Gates => 26,
            FieldName::Reason | FieldName::Typed => columns.saturating_sub(names + 4).min(46),
        };
        let value = field.input.value();
        let scroll = field.input.visual_scroll(usize::from(wide.saturating_sub(1)));
        let shown: String = clean(value).chars().skip(scroll).collect();
        let text = if is_focused { format!("{shown}_") } else { shown };
        let tone = if is_focused { Tone::Selected } else { Tone::Plain };
        Phrase::new()
            .add(look, Tone::Dim, fit(&name, names, Side::Left, look))
            .plain("[")
            .add(look, tone, fit(&text, wide, Side::Left, look))
            .plain("] ")
            .add(look, Tone::Dim, note)
    }
}
