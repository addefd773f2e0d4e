//! Dialogs: nothing is changed without one. The key that opens it never confirms, Enter never confirms danger, Cancel has the
//! focus, what Segment would lose is typed out, and keys that confirm are dead for a moment and to what is pasted.

mod aim;
mod answer;
mod draw;
mod ramp;
mod words;

use std::time::Duration;

use crossterm::event::{Event, KeyEvent};
use serde_json::Value;
use tui_input::{Input, backend::crossterm::EventHandler};

use super::{
    data::Data,
    feed::Refusal,
    keys,
    question::{Change, Question},
};
use crate::wire::ReplayPlan;

pub(super) use aim::{Aim, Level, STAGES};
pub(super) use answer::in_words;
pub(super) use words::named;

/// Keys that confirm do nothing for so long after it opened.
const DEAD: Duration = Duration::from_millis(400);
/// More changes than this are not planned one by one: each plan looks at the journal.
const PLANS_MAX: usize = 5;

/// A dialog.
#[derive(Debug)]
pub(super) struct Dialog {
    /// Its number: answers find it by that.
    pub(super) id: u64,
    opened: Duration,
    /// What it is about.
    pub(super) aim: Aim,
    pub(super) fields: Vec<Field>,
    pub(super) focus: Focus,
    /// What was asked for the plan, and what came.
    plans: Vec<(Change, Option<Result<Value, Refusal>>)>,
    /// What one side alone got meanwhile; None: still counting.
    missed: Vec<Option<Result<ReplayPlan, Refusal>>>,
    /// What is being made, and what came.
    made: Vec<(Change, Option<Result<Value, Refusal>>)>,
}

/// A line that can be typed into.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: FieldName,
    pub(super) input: Input,
}

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FieldName {
    Verify,
    Reason,
    /// A limit or rate.
    Rate,
    /// From when on.
    From,
    /// The steps of a ramp.
    Steps,
    /// How long each lasts.
    Every,
    /// Other bounds of gates.
    Gates,
    /// What is done while a gate is red.
    OnRed,
    /// What has to be typed out.
    Typed,
}

/// Where keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Focus {
    /// The list of choices.
    Choice,
    Field(usize),
    Cancel,
    Confirm,
}

/// What a key did.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Did {
    /// Nothing that concerns anybody else.
    Stay,
    Close,
    /// The plan is another; it has to be asked for.
    Plan,
    /// It was confirmed, if nothing stands against it.
    Confirm,
    /// Arm or disarm.
    Arm,
}

impl Dialog {
    pub(super) fn new(id: u64, opened: Duration, aim: Aim) -> Self {
        let fields = aim.fields().into_iter().map(|(name, text)| Field { name, input: Input::new(text) }).collect();
        let focus = match &aim {
            aim if aim.has_choice() => Focus::Choice,
            // Nothing can be said of a ramp before its steps are.
            Aim::Ramp { .. } => Focus::Field(0),
            _ => Focus::Cancel,
        };
        Self { id, opened, aim, fields, focus, plans: Vec::new(), missed: Vec::new(), made: Vec::new() }
    }

    /// What is typed there; empty when there is no such line.
    pub(super) fn typed(&self, name: FieldName) -> &str {
        self.fields.iter().find(|field| field.name == name).map_or("", |field| field.input.value().trim())
    }

    /// Why it is done; None: nothing was said.
    fn reason(&self) -> Option<String> {
        Some(self.typed(FieldName::Reason).to_owned()).filter(|reason| !reason.is_empty())
    }

    /// The changes that it would make.
    ///
    /// # Errors
    /// Why it cannot say yet.
    pub(super) fn changes(&self) -> Result<Vec<Change>, String> {
        self.aim.changes(self)
    }

    /// Asks for the plan of what is chosen now, when that is not what was asked for.
    pub(super) fn plan(&mut self) -> Vec<Question> {
        let Ok(changes) = self.changes() else {
            self.plans.clear();
            return Vec::new();
        };
        let changes: Vec<Change> = changes.into_iter().map(Change::without_reason).take(PLANS_MAX).collect();
        if changes.iter().eq(self.plans.iter().map(|(change, _)| change)) {
            return Vec::new();
        }
        self.plans = changes.iter().map(|change| (change.clone(), None)).collect();
        self.missed.clear();
        changes.into_iter().map(|change| Question::Plan(self.id, change)).collect()
    }

    /// What has to be done to confirm it.
    pub(super) fn level(&self) -> Level {
        self.aim.level(self)
    }

    /// Why it cannot be confirmed now; None: it can.
    pub(super) fn blocked(&self, disarmed: Option<&'static str>) -> Option<String> {
        if !self.made.is_empty() {
            return Some("being done".to_owned());
        }
        if let Err(why) = self.changes() {
            return Some(why);
        }
        if let Some(why) = disarmed {
            return Some(why.to_owned());
        }
        for (_, plan) in &self.plans {
            match plan {
                None => return Some("asking what it would do".to_owned()),
                Some(Err(refusal)) => return Some(refusal.what.clone()),
                Some(Ok(_)) => {}
            }
        }
        if let Some(why) = self.idle() {
            return Some(why);
        }
        if self.missed.iter().any(Option::is_none) {
            return Some("counting what stays missing".to_owned());
        }
        match self.level() {
            Level::Typed(name) if self.typed(FieldName::Typed) != name => Some(format!("type {name} first")),
            _ => None,
        }
    }

    /// Takes a key, at that moment.
    pub(super) fn key(&mut self, event: KeyEvent, now: Duration) -> Did {
        let name = keys::name(event);
        if let Some(did) = self.moves(&name) {
            return did;
        }
        match self.focus {
            Focus::Choice => self.choose(&name),
            Focus::Field(index) => self.type_in(index, event, &name),
            Focus::Cancel | Focus::Confirm => self.decide(&name, now),
        }
    }

    /// Keys that mean the same wherever the focus is.
    fn moves(&mut self, name: &str) -> Option<Did> {
        match name {
            "esc" => Some(Did::Close),
            "tab" => {
                self.turn(true);
                Some(Did::Stay)
            }
            "S-tab" => {
                self.turn(false);
                Some(Did::Stay)
            }
            _ => None,
        }
    }

    fn choose(&mut self, name: &str) -> Did {
        match name {
            "enter" => {
                self.go_on();
                Did::Stay
            }
            _ if self.aim.choose(name) => Did::Plan,
            "W" => Did::Arm,
            _ => Did::Stay,
        }
    }

    fn type_in(&mut self, index: usize, event: KeyEvent, name: &str) -> Did {
        match name {
            "enter" | "down" => self.turn(true),
            "up" => self.turn(false),
            _ => {
                let Some(field) = self.fields.get_mut(index) else { return Did::Stay };
                field.input.handle_event(&Event::Key(event));
                return if matches!(field.name, FieldName::Reason | FieldName::Typed) { Did::Stay } else { Did::Plan };
            }
        }
        Did::Stay
    }

    fn decide(&mut self, name: &str, now: Duration) -> Did {
        let is_awake = now.saturating_sub(self.opened) >= DEAD;
        match (name, self.level()) {
            ("enter", _) if self.focus == Focus::Cancel => Did::Close,
            ("A", Level::Kill) | ("y", Level::Yes | Level::Typed(_)) if is_awake => Did::Confirm,
            ("W", _) => Did::Arm,
            ("b", _) => {
                self.aim.toggle_backfill();
                Did::Stay
            }
            ("down" | "j" | "right" | "l", _) => {
                self.turn(true);
                Did::Stay
            }
            ("up" | "k" | "left" | "h", _) => {
                self.turn(false);
                Did::Stay
            }
            _ => Did::Stay,
        }
    }

    /// Takes what was pasted: it is typed into a line, and confirms nothing.
    pub(super) fn paste(&mut self, text: &str) -> Did {
        let Focus::Field(index) = self.focus else { return Did::Stay };
        let Some(field) = self.fields.get_mut(index) else { return Did::Stay };
        if field.name == FieldName::Typed {
            return Did::Stay;
        }
        let line: String = text.chars().take_while(|char| !matches!(char, '\r' | '\n')).filter(|char| !char.is_control()).collect();
        field.input = Input::new(field.input.value().to_owned() + &line);
        Did::Plan
    }

    /// From the choice to what comes next: what has to be typed, else Cancel.
    fn go_on(&mut self) {
        let typed = self.fields.iter().position(|field| field.name == FieldName::Typed);
        self.focus = match (self.level(), typed) {
            (Level::Typed(_), Some(index)) => Focus::Field(index),
            _ => Focus::Cancel,
        };
    }

    fn turn(&mut self, forward: bool) {
        let order = self.order();
        let place = order.iter().position(|focus| *focus == self.focus).unwrap_or(0);
        let next = if forward { place + 1 } else { place + order.len() - 1 } % order.len();
        self.focus = order[next];
    }

    /// Where the focus can be, in order.
    fn order(&self) -> Vec<Focus> {
        let choice = self.aim.has_choice().then_some(Focus::Choice);
        let fields = self.fields.iter().enumerate().filter(|(_, field)| self.is_needed(field.name)).map(|(index, _)| Focus::Field(index));
        choice.into_iter().chain(fields).chain([Focus::Cancel, Focus::Confirm]).collect()
    }

    /// Whether a line is of use now: nothing is typed out for what is safe, and nobody stays on Segment who never leaves it.
    pub(super) fn is_needed(&self, name: FieldName) -> bool {
        match name {
            FieldName::Typed => matches!(self.level(), Level::Typed(_)),
            FieldName::Verify => self.aim.shares().is_none_or(|(segment, _)| segment < 100.0),
            _ => true,
        }
    }

    /// Makes the changes: they are asked for, and their answers come one by one.
    pub(super) fn make(&mut self) -> Vec<Question> {
        let Ok(changes) = self.changes() else { return Vec::new() };
        self.made = changes.iter().map(|change| (change.clone(), None)).collect();
        changes.into_iter().map(|change| Question::Make(self.id, change)).collect()
    }

    /// The first plan that came.
    fn first_plan(&self) -> Option<&Value> {
        self.plans.iter().find_map(|(_, plan)| plan.as_ref()?.as_ref().ok())
    }

    /// Why there is nothing to do, by what the sidecar says; None: there is.
    fn idle(&self) -> Option<String> {
        self.aim.idle(self)
    }

    /// Whether everything is as it was looked at: a source that changed meanwhile has another revision.
    pub(super) fn is_stale(&self, data: &Data) -> bool {
        self.aim.is_stale(data)
    }
}
