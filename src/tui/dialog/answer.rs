//! What the sidecar answers to a dialog: plans, and how the changes went.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Dialog,
    aim::{Aim, BACKFILL_RATE},
};
use crate::{
    tui::{
        feed::Refusal,
        figure::count,
        question::{Change, Question},
        text::clean,
    },
    wire::{
        KillStatus, LimitChanged, QuarantineMoved, RampAnswer, RampBegun, ReplayAnswer, ReplayAsked, ReplayPlan, RouteChanged, RouteShares,
        RoutesChanged, SourceRoute,
    },
};

/// How everything went.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::tui) struct Outcome {
    /// In a sentence.
    pub(in crate::tui) said: String,
    pub(in crate::tui) is_trouble: bool,
    /// What has to be asked for now: a backfill.
    pub(in crate::tui) then: Vec<Change>,
}

impl Dialog {
    /// Takes an answer in. Questions that follow from a plan come first; Some: everything was made.
    pub(in crate::tui) fn answered(&mut self, question: &Question, answer: &Result<Value, Refusal>) -> (Vec<Question>, Option<Outcome>) {
        match question {
            Question::Plan(id, change) if *id == self.id => {
                let mut is_mine = false;
                for (planned, plan) in self.plans.iter_mut().filter(|(planned, _)| planned == change) {
                    let _ = planned;
                    *plan = Some(answer.clone());
                    is_mine = true;
                }
                (if is_mine { self.count_missed() } else { Vec::new() }, None)
            }
            Question::Missed(id, asked) if *id == self.id => {
                let plan = answer.clone().and_then(|value| {
                    serde_json::from_value::<ReplayPlan>(value).map_err(|error| Refusal { what: error.to_string(), fix: String::new() })
                });
                let _ = asked;
                if let Some(place) = self.missed.iter_mut().find(|missed| missed.is_none()) {
                    *place = Some(plan);
                }
                (Vec::new(), None)
            }
            Question::Make(id, change) if *id == self.id => {
                if let Some((_, made)) = self.made.iter_mut().find(|(making, made)| making == change && made.is_none()) {
                    *made = Some(answer.clone());
                }
                (Vec::new(), self.outcome())
            }
            _ => (Vec::new(), None),
        }
    }

    /// The plan, as what it is.
    pub(super) fn plan_as<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_value(self.first_plan()?.clone()).ok()
    }

    /// Asks what one side alone got while the routes were what an undo takes back.
    fn count_missed(&mut self) -> Vec<Question> {
        let Aim::Undo { .. } = self.aim else { return Vec::new() };
        let Some(planned) = self.plan_as::<RoutesChanged>() else { return Vec::new() };
        let asked: Vec<ReplayAsked> = planned.sources.iter().flat_map(|source| missed_by(source, None)).collect();
        self.missed = vec![None; asked.len()];
        asked.into_iter().map(|asked| Question::Missed(self.id, Box::new(asked))).collect()
    }

    /// What one side alone got, as far as it was counted.
    pub(super) fn missed(&self) -> &[Option<Result<ReplayPlan, Refusal>>] {
        &self.missed
    }

    /// How it went, once all answers are there.
    fn outcome(&self) -> Option<Outcome> {
        let answers: Vec<(&Change, &Result<Value, Refusal>)> =
            self.made.iter().map(|(change, made)| Some((change, made.as_ref()?))).collect::<Option<_>>()?;
        let (mut said, mut is_trouble, mut then) = (Vec::new(), false, Vec::new());
        for (change, answer) in answers {
            match answer {
                Ok(value) => said.push(told(change, value)),
                Err(refusal) => {
                    is_trouble = true;
                    said.push(clean(&format!("{}. {}", refusal.what, refusal.fix)));
                }
            }
            if let (Aim::Undo { backfill: true, .. }, Ok(value)) = (&self.aim, answer) {
                then.extend(self.backfills(value));
            }
        }
        if said.len() > 2 && !is_trouble {
            said = vec![format!("{} sources changed, {}", said.len(), said.last().cloned().unwrap_or_default())];
        }
        if let (Aim::Undo { backfill: false, .. }, false) = (&self.aim, is_trouble) {
            said.extend(self.still_missing());
        }
        Some(Outcome { said: said.join("; "), is_trouble, then })
    }

    /// What an undo alone leaves missing; None: nothing.
    fn still_missing(&self) -> Option<String> {
        let plans = self.missed.iter().flatten().filter_map(|missed| missed.as_ref().ok());
        let missing: u64 = plans.map(|plan| plan.events).sum();
        (missing > 0).then(|| format!("{} events stay missing at one side: r on 7 Journal sends them", count(missing)))
    }

    /// The replays that send what one side alone got, now that the undo has its revision.
    fn backfills(&self, undone: &Value) -> Vec<Change> {
        let Ok(undone) = serde_json::from_value::<RoutesChanged>(undone.clone()) else { return Vec::new() };
        let Some(last) = undone.sources.iter().map(|source| source.after.revision).min() else { return Vec::new() };
        let is_missed = |asked: &ReplayAsked| {
            let plans = self.missed.iter().flatten().filter_map(|missed| missed.as_ref().ok());
            plans.into_iter().any(|plan| plan.events > 0 && plan.source == asked.source && plan.destination == asked.destination)
        };
        let asked = undone.sources.iter().flat_map(|source| missed_by(source, Some(last - 1))).filter(is_missed);
        asked.map(|asked| Change::Replay(Box::new(ReplayAsked { rate: Some(BACKFILL_RATE.to_owned()), ..asked }))).collect()
    }
}

/// What to ask for, to learn what each side missed of a source while its route was the one that is taken back.
fn missed_by(source: &RouteChanged, last_revision: Option<u64>) -> Vec<ReplayAsked> {
    let SourceRoute { source: id, route, rules, .. } = &source.after;
    let sides = [("segment", &route.segment), ("rudderstack", &route.rudderstack)];
    let asked = |(destination, share): (&str, &String)| ReplayAsked {
        source: id.clone(),
        destination: destination.to_owned(),
        first_revision: Some(source.before.revision),
        last_revision,
        // A full share is everybody, but for what rules send elsewhere.
        by_route: (share != "100%" || !rules.is_empty()).then(|| route.route.clone()),
        ..ReplayAsked::default()
    };
    sides.into_iter().filter(|(_, share)| *share != "0%").map(asked).collect()
}

/// What was done, in a sentence.
fn told(change: &Change, value: &Value) -> String {
    match change {
        Change::Route { .. } | Change::Undo { .. } => read(value, |changed: RoutesChanged| match changed.sources.as_slice() {
            [] => "it stood so already".to_owned(),
            sources => {
                let lines: Vec<String> = sources.iter().map(moved).collect();
                format!("rev {}: {}   u undoes", changed.revision, lines.join(", "))
            }
        }),
        Change::Kill { on: true, .. } => {
            read(value, |status: KillStatus| format!("rev {}: KILL SWITCH ON, everything goes to Segment   K lifts it", status.revision))
        }
        Change::Kill { on: false, .. } => {
            read(value, |status: KillStatus| format!("rev {}: kill switch off, the routes are back", status.revision))
        }
        Change::Hold { source, destination, on, .. } => {
            format!("{} to {destination} {}", clean(source), if *on { "is held: everything is kept" } else { "goes on" })
        }
        Change::Unpark { source, destination } => format!("{} to {destination} tries again", clean(source)),
        Change::Limit(_) => read(value, |changed: LimitChanged| {
            let whose = changed.after.source.as_deref().map_or_else(|| "all sources".to_owned(), clean);
            format!("{whose} to {}: {} -> {}", changed.after.destination, changed.before.limit, changed.after.limit)
        }),
        Change::Replay(_) => read(value, |answer: ReplayAnswer| format!("replay {} runs: see 7 Journal", answer.replay.id)),
        Change::ReplayStep { .. } => read(value, |answer: ReplayAnswer| format!("replay {} is {}", answer.replay.id, answer.replay.state)),
        Change::Ramp(_) => read(value, |begun: RampBegun| {
            let steps = begun.steps.len();
            let first = begun.ramp.as_ref().is_some_and(|ramp| ramp.taken > 0);
            let now = if first { "its first step is taken" } else { "its first step waits for green gates" };
            format!("{}: a ramp of {steps} steps runs, {now}   @ steers it", clean(&begun.name))
        }),
        Change::RampStep { .. } => read(value, |answer: RampAnswer| {
            let ramp = answer.ramp;
            format!("the ramp of {} is {}, {} of {} steps are taken", clean(&ramp.name), ramp.state, ramp.taken, ramp.steps.len())
        }),
        Change::Redrive(_) => read(value, |moved: QuarantineMoved| format!("{} events are sent again", moved.events)),
    }
}

fn moved(source: &RouteChanged) -> String {
    format!("{} {} -> {}", clean(&source.after.name), in_words(&source.before.route), in_words(&source.after.route))
}

/// `cutover 25%`, as people say it.
pub(in crate::tui) fn in_words(route: &RouteShares) -> String {
    let words = route.route.replace('=', " ");
    let verify = if route.verify == "0%" || route.segment == "100%" { String::new() } else { format!(", verify {}", route.verify) };
    words + &verify
}

fn read<T: DeserializeOwned>(value: &Value, told: impl FnOnce(T) -> String) -> String {
    serde_json::from_value(value.clone()).map_or_else(|_| "done".to_owned(), told)
}
