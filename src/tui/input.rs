//! Who a key is for: the dialog, the line that is typed, the help, the screen.

use std::time::Duration;

use crossterm::event::{Event, KeyEvent};
use tui_input::{Input, backend::crossterm::EventHandler};

use super::{
    app::{App, Draw, Effect, Help, Prompt},
    dialog::{Aim, Dialog, Did},
    feed::Refusal,
    keys::{self, Meaning},
    palette,
    question::Question,
    text::clean,
};

impl App {
    /// Takes a key.
    pub(super) fn key(&mut self, event: KeyEvent, now: Duration) -> Vec<Effect> {
        self.now = now;
        self.needs(Draw::Now);
        let name = keys::name(event);
        if name == "ctrl-c" {
            return vec![Effect::Quit];
        }
        if self.dialog.is_some() {
            return self.dialog_key(event);
        }
        if self.prompt.is_some() {
            return self.prompt_key(event, &name);
        }
        if let Some(help) = self.help {
            self.help = turned(help, &name);
            return Vec::new();
        }
        self.toast = None;
        let first = self.first_key.take();
        match keys::meaning(first.as_deref(), &name, self.page().place()) {
            Meaning::Does(action) => self.act(action),
            Meaning::First => {
                self.first_key = Some(name);
                Vec::new()
            }
            Meaning::Nothing => Vec::new(),
        }
    }

    /// Takes what was pasted: it is text, and never keys.
    pub(super) fn paste(&mut self, text: &str, now: Duration) -> Vec<Effect> {
        self.now = now;
        self.needs(Draw::Now);
        if let Some(dialog) = &mut self.dialog {
            if dialog.paste(text) == Did::Plan {
                return dialog.plan().into_iter().map(Effect::Ask).collect();
            }
        } else if let Some(Prompt::Filter(input) | Prompt::Command { input, .. }) = &mut self.prompt {
            let line: String = text.chars().take_while(|char| !matches!(char, '\r' | '\n')).filter(|char| !char.is_control()).collect();
            *input = Input::new(input.value().to_owned() + &line);
            self.filter_as_typed();
        }
        Vec::new()
    }

    fn dialog_key(&mut self, event: KeyEvent) -> Vec<Effect> {
        let Some(dialog) = &mut self.dialog else { return Vec::new() };
        match dialog.key(event, self.now) {
            Did::Stay => Vec::new(),
            Did::Close => {
                self.dialog = None;
                Vec::new()
            }
            Did::Plan => dialog.plan().into_iter().map(Effect::Ask).collect(),
            Did::Arm => {
                self.toggle_arm();
                Vec::new()
            }
            Did::Confirm => self.confirm(),
        }
    }

    /// Does what the dialog is about, when nothing stands against it.
    fn confirm(&mut self) -> Vec<Effect> {
        let Some(mut dialog) = self.dialog.take() else { return Vec::new() };
        let questions = if dialog.blocked(self.disarmed_for(&dialog)).is_none() { dialog.make() } else { Vec::new() };
        self.dialog = Some(dialog);
        questions.into_iter().map(Effect::Ask).collect()
    }

    /// Why the dialog may change nothing; the kill switch needs no arming.
    pub(super) fn disarmed_for(&self, dialog: &Dialog) -> Option<&'static str> {
        match dialog.aim {
            Aim::Kill { .. } if self.live().is_live() && self.live().may("operate") => None,
            _ => self.disarmed(),
        }
    }

    /// Takes in what the sidecar said to the dialog.
    pub(super) fn dialog_answered(&mut self, question: &Question, answer: &Result<serde_json::Value, Refusal>) -> Vec<Effect> {
        // A backfill is asked for when its dialog is closed already: that it was refused is told all the same.
        if let (Question::Make(..), Err(refusal), None) = (question, answer, &self.dialog) {
            self.complain(clean(&format!("{}. {}", refusal.what, refusal.fix)));
        }
        let Some(dialog) = &mut self.dialog else { return Vec::new() };
        let (questions, outcome) = dialog.answered(question, answer);
        let mut effects: Vec<Effect> = questions.into_iter().map(Effect::Ask).collect();
        if let Some(outcome) = outcome {
            self.dialog = None;
            self.marks.clear();
            let backfills = outcome.then.len();
            let number = self.dialogs;
            effects.extend(outcome.then.into_iter().map(|change| Effect::Ask(Question::Make(number, change))));
            let more = if backfills > 0 { "   the backfill runs: 7 Journal" } else { "" };
            if outcome.is_trouble {
                self.complain(outcome.said);
            } else {
                self.say(outcome.said + more);
            }
            for name in ["replays", "quarantine", "limits"] {
                self.ask_again(name);
            }
            effects.extend([Question::Routes, Question::History, Question::Limits].map(Effect::Ask));
        }
        effects
    }

    fn prompt_key(&mut self, event: KeyEvent, name: &str) -> Vec<Effect> {
        match (&mut self.prompt, name) {
            (Some(Prompt::Filter(_)), "esc") => {
                self.prompt = Some(Prompt::Filter(Input::default()));
                self.filter_as_typed();
                self.prompt = None;
            }
            (_, "esc") | (Some(Prompt::Filter(_)), "enter") => self.prompt = None,
            (Some(Prompt::Command { input, .. }), "enter") => {
                let line = input.value().trim().to_owned();
                self.prompt = None;
                if line.is_empty() {
                    return Vec::new();
                }
                self.commands.retain(|command| *command != line);
                self.commands.push(line.clone());
                return self.command(&line);
            }
            (Some(Prompt::Command { input, .. }), "tab") => {
                let line = input.value().to_owned();
                let completed = palette::complete(&line, self.live());
                self.prompt = Some(Prompt::Command { input: Input::new(completed), past: 0 });
            }
            (Some(Prompt::Command { input, past }), "up" | "down") => {
                let depth = self.commands.len();
                *past = if name == "up" { (*past + 1).min(depth) } else { past.saturating_sub(1) };
                let line = depth.checked_sub(*past).and_then(|at| self.commands.get(at)).cloned().unwrap_or_default();
                *input = Input::new(line);
            }
            (Some(Prompt::Filter(input) | Prompt::Command { input, .. }), _) => {
                input.handle_event(&Event::Key(event));
                self.filter_as_typed();
            }
            (None, _) => {}
        }
        Vec::new()
    }

    fn filter_as_typed(&mut self) {
        let (Some(Prompt::Filter(input)), Some(pane)) = (&self.prompt, self.pane()) else { return };
        let filter = input.value().to_owned();
        self.sight_mut(pane).filter = filter;
    }

    /// Does a command of the palette.
    fn command(&mut self, line: &str) -> Vec<Effect> {
        match palette::read(line, self.live()) {
            Ok(palette::Command::Do(action)) => self.act(action),
            Ok(palette::Command::Go(page)) => {
                self.go(page);
                Vec::new()
            }
            Ok(palette::Command::Open(aim)) => self.open(*aim),
            Err(why) => {
                self.complain(why);
                Vec::new()
            }
        }
    }
}

/// The help after a key; None: closed.
fn turned(help: Help, key: &str) -> Option<Help> {
    match key {
        "tab" => Some(Help { all: !help.all, scroll: 0 }),
        "j" | "down" | "ctrl-d" | "pgdn" | "space" => Some(Help { scroll: help.scroll + if key.len() > 4 { 10 } else { 1 }, ..help }),
        "k" | "up" | "ctrl-u" | "pgup" => Some(Help { scroll: help.scroll.saturating_sub(if key.len() > 3 { 10 } else { 1 }), ..help }),
        _ => None,
    }
}
