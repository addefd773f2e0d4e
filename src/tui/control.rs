//! What keys do to what is shown.

use tui_input::Input;

use super::{
    app::{App, Effect, Help, Page, Prompt, WINDOWS},
    dialog::{Aim, Dialog},
    keys::{Action, Screen},
    screen::{self, Pane},
    text::Side,
};

impl App {
    /// Does what a key is for.
    pub(super) fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Down
            | Action::Up
            | Action::First
            | Action::Last
            | Action::HalfDown
            | Action::HalfUp
            | Action::PageDown
            | Action::PageUp => {
                self.move_by(action);
            }
            Action::Open => return self.open_selected(),
            Action::Back => self.back(),
            Action::Show(screen) => self.go(Page::Screen(screen)),
            Action::LastScreen => self.go(Page::Screen(self.last)),
            Action::NextPane => self.turn_pane(true),
            Action::PreviousPane => self.turn_pane(false),
            Action::Palette => self.prompt = Some(Prompt::Command { input: Input::default(), past: 0 }),
            Action::Filter => {
                if let Some(pane) = self.pane() {
                    self.prompt = Some(Prompt::Filter(Input::new(self.sight(pane).filter)));
                }
            }
            Action::Help => self.help = Some(Help::default()),
            Action::Sort | Action::SortReverse => self.sort(action == Action::Sort),
            Action::Mark => self.mark(),
            Action::Freeze => {
                self.freeze();
            }
            Action::Follow => self.follow(self.tap_until.is_some()),
            Action::Zoom => self.zoomed = !self.zoomed,
            Action::Longer | Action::Shorter => self.turn_window(action == Action::Longer),
            Action::Noise => self.noise = !self.noise,
            Action::Unified => self.unified = !self.unified,
            Action::NextDifference | Action::PreviousDifference => self.step_difference(action == Action::NextDifference),
            Action::CopyRow | Action::CopyCommand | Action::CopyToml => return self.copy(action),
            Action::Unmask => self.unmask(),
            Action::Arm => self.toggle_arm(),
            Action::Route => return self.flip(),
            Action::Ramp => return self.ramp(),
            Action::Undo => return self.open(Aim::Undo { source: None, backfill: false }),
            Action::Kill => {
                let on = self.live().status.as_ref().is_none_or(|status| status.kill.is_none());
                return self.open(Aim::Kill { on });
            }
            Action::Hold | Action::Unpark | Action::Limit | Action::Replay | Action::Pause | Action::CancelReplay => {
                return self.change_selected(action);
            }
            Action::Reconnect => return vec![Effect::Reconnect],
            Action::Redraw => return vec![Effect::Redraw],
            Action::Suspend => return vec![Effect::Suspend],
            Action::Quit => return vec![Effect::Quit],
        }
        Vec::new()
    }

    /// Opens a dialog, and asks for its plan.
    pub(super) fn open(&mut self, aim: Aim) -> Vec<Effect> {
        if !self.live().is_live() {
            self.complain("not connected: nothing can be changed (ctrl-r reconnects now)");
            return Vec::new();
        }
        self.dialogs += 1;
        let mut dialog = Dialog::new(self.dialogs, self.now, aim);
        let questions = dialog.plan();
        self.dialog = Some(dialog);
        questions.into_iter().map(Effect::Ask).collect()
    }

    pub(super) fn toggle_arm(&mut self) {
        if self.armed().is_some() {
            self.arm(false);
        } else if self.live().may("operate") {
            self.arm(true);
        } else {
            self.complain("your user may look, not operate: [admin] operate in the configuration names the group");
        }
    }

    fn move_by(&mut self, action: Action) {
        let Some(pane) = self.pane() else {
            self.scroll = moved(self.scroll, usize::MAX / 2, action);
            return;
        };
        let table = self.table(pane);
        let place = table.place(&self.sight(pane)).unwrap_or(0);
        let place = moved(place, table.rows.len().saturating_sub(1), action);
        let key = table.rows.get(place).map(|row| row.key.clone());
        let sight = self.sight_mut(pane);
        sight.selected = key;
        if pane == Pane::Tap {
            self.follow(action == Action::First);
        }
    }

    /// Has the tap go on, or stand as it is.
    fn follow(&mut self, on: bool) {
        if on {
            self.tap_until = None;
            self.sight_mut(Pane::Tap).selected = None;
        } else if self.tap_until.is_none() {
            let newest = self.data().tapped.rows().next_back().map(|passed| passed.row.id);
            self.tap_until = newest;
        }
    }

    fn back(&mut self) {
        if let Some(pane) = self.pane().filter(|pane| !self.sight(*pane).filter.is_empty()) {
            self.sight_mut(pane).filter.clear();
        } else if self.zoomed {
            self.zoomed = false;
        } else if !self.marks.is_empty() {
            self.marks.clear();
        } else {
            self.leave();
        }
    }

    fn sort(&mut self, next: bool) {
        let Some(pane) = self.pane() else { return };
        let columns = self.table(pane).columns;
        let sight = self.sight_mut(pane);
        sight.sort = match (sight.sort, next) {
            (Some((column, reversed)), false) => Some((column, !reversed)),
            (None, false) => Some((0, true)),
            (None, true) => Some((0, false)),
            (Some((column, _)), true) if column + 1 >= columns.len() => None,
            // Figures are wanted largest first.
            (Some((column, _)), true) => Some((column + 1, columns[column + 1].side == Side::Right)),
        };
    }

    fn mark(&mut self) {
        if let Some((Pane::Sources, key)) = self.selected() {
            if !self.marks.remove(&key) {
                self.marks.insert(key);
            }
            self.move_by(Action::Down);
        }
    }

    fn turn_window(&mut self, longer: bool) {
        let last = WINDOWS.len() - 1;
        self.window = if longer { (self.window + 1).min(last) } else { self.window.saturating_sub(1) };
        self.ask_again("series");
    }

    fn unmask(&mut self) {
        if self.live().may("reveal") {
            self.revealed = !self.revealed;
            self.ask_again("event");
            self.ask_again("entry");
        } else {
            self.complain("your user may not see what tells of a person: [admin] reveal in the configuration names the group");
        }
    }

    fn open_selected(&mut self) -> Vec<Effect> {
        let Some((pane, key)) = self.selected() else { return Vec::new() };
        match pane {
            Pane::Sources => self.go(Page::Source(key)),
            Pane::Destinations => self.go(Page::Screen(Screen::Journal)),
            Pane::Quarantine => {
                if let Ok(id) = key.parse() {
                    self.go(Page::Entry(id));
                }
            }
            Pane::Diffs => {
                let finding =
                    self.data().findings.as_ref().and_then(|findings| findings.findings.iter().find(|finding| finding.id == key)).cloned();
                if let Some(finding) = finding {
                    match finding.samples.last() {
                        Some(sample) => self.go(Page::Event { message_id: sample.clone(), source: finding.source }),
                        None => self.complain("no sample of it is kept"),
                    }
                    return Vec::new();
                }
                let group = self.data().diffs.as_ref().and_then(|diffs| diffs.groups.iter().find(|group| screen::group_key(group) == key));
                if let Some(group) = group.cloned() {
                    match group.samples.first() {
                        Some(sample) => self.go(Page::Event { message_id: sample.clone(), source: group.source }),
                        None => self.complain("no sample of it is kept"),
                    }
                }
            }
            Pane::Tap => {
                let row = self.data().tapped.rows().find(|passed| passed.row.id.to_string() == key).map(|passed| passed.row.clone());
                if let Some(row) = row {
                    self.go(Page::Event { message_id: row.message_id, source: row.source });
                }
            }
            Pane::Lanes | Pane::Versions => {
                if let Some((source, _)) = key.split_once('\u{1f}') {
                    self.go(Page::Source(source.to_owned()));
                }
            }
            Pane::Replays | Pane::History => {}
        }
        Vec::new()
    }

    /// Goes to the next difference of the event that is looked at.
    fn step_difference(&mut self, forward: bool) {
        let Some(event) = &self.data().event else { return };
        let lines = screen::difference_lines(event, self.noise);
        let next =
            if forward { lines.iter().find(|line| **line > self.scroll) } else { lines.iter().rev().find(|line| **line < self.scroll) };
        let wrapped = if forward { lines.first() } else { lines.last() };
        if let Some(line) = next.or(wrapped) {
            self.scroll = *line;
        }
    }
}

/// A place moved, within what there is.
fn moved(place: usize, last: usize, action: Action) -> usize {
    match action {
        Action::Down => place + 1,
        Action::Up => place.saturating_sub(1),
        Action::HalfDown => place + 10,
        Action::HalfUp => place.saturating_sub(10),
        Action::PageDown => place + 20,
        Action::PageUp => place.saturating_sub(20),
        Action::Last => last,
        _ => 0,
    }
    .min(last)
}
