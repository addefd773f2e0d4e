//! What a dialog is about: what it can choose, which changes that makes, and how much has to be done to confirm them.

use super::{Dialog, FieldName, ramp};
use crate::{
    tui::{data::Data, question::Change},
    wire::{
        KillStatus, LimitAsked, QuarantineMoved, QuarantinePick, RampBegun, RampStatus, ReplayAsked, ReplayPlan, RouteAsked, RoutesChanged,
        SourceRoute,
    },
};

/// The stages of a route, as they can be picked.
pub(in crate::tui) const STAGES: [&str; 5] = ["segment-only", "shadow", "both", "cutover", "rudderstack-only"];
/// How fast a backfill goes.
pub(super) const BACKFILL_RATE: &str = "300/s";

/// What a dialog is about.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::tui) enum Aim {
    /// Other routes for these sources.
    Flip {
        sources: Vec<SourceRoute>,
        /// The picked one of [`STAGES`].
        stage: usize,
        /// The share of `shadow` and `cutover`, as it is typed.
        percent: String,
        /// Whether the next digit begins a new share.
        is_fresh: bool,
    },
    Kill {
        on: bool,
    },
    Undo {
        source: Option<String>,
        backfill: bool,
    },
    Hold {
        source: String,
        destination: String,
        on: bool,
    },
    Unpark {
        source: String,
        destination: String,
    },
    Limit {
        source: Option<String>,
        destination: String,
        now: String,
    },
    Replay {
        source: String,
        destination: String,
    },
    Step {
        id: u64,
        source: String,
        step: &'static str,
    },
    Redrive {
        pick: QuarantinePick,
        what: String,
    },
    /// A ramp of this source.
    Ramp {
        source: SourceRoute,
    },
    /// What is done about the ramp that runs.
    RampStep {
        ramp: Box<RampStatus>,
        /// The picked one of its choices.
        picked: usize,
    },
}

/// What has to be done to confirm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::tui) enum Level {
    /// `y`.
    Yes,
    /// This typed out, then `y`.
    Typed(String),
    /// `A`: the way to the safe side is short.
    Kill,
}

impl Aim {
    /// A flip of these sources, standing where the first of them does.
    pub(in crate::tui) fn flip(sources: Vec<SourceRoute>) -> Self {
        let (stage, percent) = sources.first().map_or((0, None), |source| stage_of(&source.route.route));
        Self::Flip { sources, stage, percent: percent.unwrap_or_else(|| "10".to_owned()), is_fresh: true }
    }

    pub(super) const fn has_choice(&self) -> bool {
        matches!(self, Self::Flip { .. } | Self::RampStep { .. })
    }

    /// The lines that can be typed into, and what stands there at first.
    pub(super) fn fields(&self) -> Vec<(FieldName, String)> {
        let reason = (FieldName::Reason, String::new());
        match self {
            Self::Flip { sources, .. } => {
                let verify = sources.first().map_or_else(String::new, |source| source.route.verify.clone());
                vec![(FieldName::Verify, verify), reason, (FieldName::Typed, String::new())]
            }
            Self::Limit { now, .. } => vec![(FieldName::Rate, now.clone()), reason],
            Self::Replay { .. } => {
                vec![(FieldName::From, String::new()), (FieldName::Rate, "200/s".to_owned()), reason]
            }
            Self::Undo { .. } | Self::Step { .. } | Self::RampStep { .. } => vec![reason, (FieldName::Typed, String::new())],
            Self::Ramp { source } => vec![
                (FieldName::Steps, "10,25,50,100".to_owned()),
                (FieldName::Every, "30m".to_owned()),
                (FieldName::Gates, String::new()),
                (FieldName::OnRed, "hold".to_owned()),
                (FieldName::Verify, source.route.verify.clone()),
                reason,
                (FieldName::Typed, String::new()),
            ],
            Self::Kill { .. } | Self::Hold { .. } => vec![reason],
            Self::Unpark { .. } | Self::Redrive { .. } => Vec::new(),
        }
    }

    /// Takes a key of the list of choices; says whether it changed anything.
    pub(super) fn choose(&mut self, key: &str) -> bool {
        if let Self::RampStep { picked, .. } = self {
            let before = *picked;
            *picked = match key {
                "j" | "down" => 1,
                "k" | "up" => 0,
                _ => before,
            };
            return *picked != before;
        }
        let Self::Flip { stage, percent, is_fresh, .. } = self else { return false };
        match key {
            "j" | "down" => *stage = (*stage + 1).min(STAGES.len() - 1),
            "k" | "up" => *stage = stage.saturating_sub(1),
            "backspace" if has_percent(*stage) => {
                percent.pop();
                *is_fresh = false;
            }
            digit if has_percent(*stage) && digit.len() == 1 && digit.chars().all(|char| char.is_ascii_digit() || char == '.') => {
                if std::mem::take(is_fresh) {
                    percent.clear();
                }
                if percent.len() < 5 {
                    percent.push_str(digit);
                }
                return true;
            }
            _ => return false,
        }
        // The next digit begins anew wherever it is typed.
        *is_fresh |= matches!(key, "j" | "down" | "k" | "up");
        true
    }

    pub(super) const fn toggle_backfill(&mut self) {
        if let Self::Undo { backfill, .. } = self {
            *backfill = !*backfill;
        }
    }

    /// The changes that it makes.
    pub(super) fn changes(&self, dialog: &Dialog) -> Result<Vec<Change>, String> {
        let reason = dialog.reason();
        Ok(match self {
            Self::Flip { sources, .. } => {
                let route = self.route()?;
                let verify = dialog.typed(FieldName::Verify).to_owned();
                let change = |source: &SourceRoute| {
                    let asked = RouteAsked {
                        route: route.clone(),
                        verify: Some(verify.clone()).filter(|verify| !verify.is_empty() && *verify != source.route.verify),
                        if_revision: Some(source.revision),
                        reason: reason.clone(),
                        dry_run: false,
                    };
                    Change::Route { source: source.source.clone(), asked }
                };
                sources.iter().map(change).collect()
            }
            Self::Kill { on } => vec![Change::Kill { on: *on, reason }],
            Self::Undo { source, .. } => vec![Change::Undo { source: source.clone(), to_revision: None, reason }],
            Self::Hold { source, destination, on } => {
                vec![Change::Hold { source: source.clone(), destination: destination.clone(), on: *on, reason }]
            }
            Self::Unpark { source, destination } => {
                vec![Change::Unpark { source: source.clone(), destination: destination.clone() }]
            }
            Self::Limit { source, destination, .. } => {
                let limit = dialog.typed(FieldName::Rate).to_owned();
                if limit.is_empty() {
                    return Err("type a limit: 200/s, or none".to_owned());
                }
                vec![Change::Limit(LimitAsked { destination: destination.clone(), source: source.clone(), limit, reason, dry_run: false })]
            }
            Self::Replay { source, destination } => {
                let typed = |name| Some(dialog.typed(name).to_owned()).filter(|text| !text.is_empty());
                vec![Change::Replay(Box::new(ReplayAsked {
                    source: source.clone(),
                    destination: destination.clone(),
                    from: typed(FieldName::From),
                    rate: typed(FieldName::Rate),
                    reason,
                    ..ReplayAsked::default()
                }))]
            }
            Self::Step { id, step, .. } => vec![Change::ReplayStep { id: *id, step, reason }],
            Self::Redrive { pick, .. } => vec![Change::Redrive(pick.clone())],
            Self::Ramp { source } => vec![dialog.ramp_change(source, reason)?],
            Self::RampStep { ramp, picked } => {
                let (step, _) = ramp::choices(ramp)[*picked];
                vec![Change::RampStep { source: ramp.source.clone(), step, reason }]
            }
        })
    }

    /// The route that is picked.
    pub(super) fn route(&self) -> Result<String, String> {
        let Self::Flip { stage, percent, .. } = self else { return Err(String::new()) };
        if !has_percent(*stage) {
            return Ok(STAGES[*stage].to_owned());
        }
        match percent.parse::<f64>() {
            Ok(share) if (0.0..=100.0).contains(&share) => Ok(format!("{}={percent}%", STAGES[*stage])),
            _ => Err("type a share from 0 to 100".to_owned()),
        }
    }

    /// The shares of Segment and RudderStack that are picked.
    pub(super) fn shares(&self) -> Option<(f64, f64)> {
        let Self::Flip { stage, percent, .. } = self else { return None };
        let share = percent.parse::<f64>().ok().filter(|share| (0.0..=100.0).contains(share));
        match *stage {
            0 => Some((100.0, 0.0)),
            1 => Some((100.0, share?)),
            2 => Some((100.0, 100.0)),
            3 => Some((100.0 - share?, share?)),
            _ => Some((0.0, 100.0)),
        }
    }

    /// Whether Segment would get less of something.
    pub(super) fn takes_from_segment(&self, dialog: &Dialog) -> bool {
        match self {
            Self::Flip { sources, .. } => {
                let verify = share(dialog.typed(FieldName::Verify));
                let loses = |source: &SourceRoute| {
                    self.shares().is_some_and(|(segment, _)| {
                        let before = share(&source.route.segment).max(share(&source.route.verify));
                        segment.max(verify) < before
                    })
                };
                sources.iter().any(loses)
            }
            Self::Undo { .. } => dialog.plan_as::<RoutesChanged>().is_some_and(|planned| {
                planned.sources.iter().any(|source| share(&source.after.route.segment) < share(&source.before.route.segment))
            }),
            Self::Ramp { .. } => dialog.plan_as::<RampBegun>().is_some_and(|planned| planned.takes_from_segment),
            Self::RampStep { ramp, picked } => ramp::choices(ramp)[*picked].0 == "resume" && ramp::takes_from_segment(ramp),
            _ => false,
        }
    }

    pub(super) fn level(&self, dialog: &Dialog) -> Level {
        match self {
            Self::Kill { on: true } => Level::Kill,
            Self::Step { step: "cancel", source, .. } => Level::Typed(source.clone()),
            Self::Flip { sources, .. } if self.takes_from_segment(dialog) => Level::Typed(match sources.as_slice() {
                [one] => one.name.clone(),
                many => format!("{} sources", many.len()),
            }),
            Self::Ramp { source } if self.takes_from_segment(dialog) => Level::Typed(source.name.clone()),
            Self::RampStep { ramp, .. } if self.takes_from_segment(dialog) => Level::Typed(ramp.name.clone()),
            Self::Undo { .. } if self.takes_from_segment(dialog) => {
                let planned = dialog.plan_as::<RoutesChanged>();
                let sources = planned.map(|planned| planned.sources).unwrap_or_default();
                Level::Typed(match sources.as_slice() {
                    [one] => one.after.name.clone(),
                    many => format!("{} sources", many.len()),
                })
            }
            _ => Level::Yes,
        }
    }

    /// Why there is nothing to do, by what the sidecar says.
    pub(super) fn idle(&self, dialog: &Dialog) -> Option<String> {
        let nothing = |idle: bool, why: &str| idle.then(|| why.to_owned());
        match self {
            Self::Flip { .. } => {
                let plans = dialog.plans.iter().filter_map(|(_, plan)| plan.as_ref()?.as_ref().ok());
                let changes = plans.filter_map(|plan| serde_json::from_value::<RoutesChanged>(plan.clone()).ok());
                nothing(changes.map(|planned| planned.sources.len()).sum::<usize>() == 0, "it stands so already: pick another route")
            }
            Self::Undo { .. } => {
                nothing(dialog.plan_as::<RoutesChanged>().is_some_and(|planned| planned.sources.is_empty()), "there is nothing to undo")
            }
            Self::Kill { on } => nothing(dialog.plan_as::<KillStatus>().is_some_and(|status| status.on == *on), "it stands so already"),
            Self::Replay { .. } => {
                nothing(dialog.plan_as::<ReplayPlan>().is_some_and(|plan| plan.events == 0), "nothing in the journal is to go there again")
            }
            Self::Redrive { .. } => nothing(
                dialog.plan_as::<QuarantineMoved>().is_some_and(|moved| moved.entries == 0),
                "nothing of it is in quarantine any more",
            ),
            _ => None,
        }
    }

    pub(super) fn is_stale(&self, data: &Data) -> bool {
        let sources = match self {
            Self::Flip { sources, .. } => sources.as_slice(),
            Self::Ramp { source } => std::slice::from_ref(source),
            _ => return false,
        };
        sources.iter().any(|source| data.source(&source.source).is_some_and(|now| now.revision != source.revision))
    }
}

pub(super) const fn has_percent(stage: usize) -> bool {
    matches!(stage, 1 | 3)
}

/// The stage of a route, and its share; a route that has no name stands at the first.
fn stage_of(route: &str) -> (usize, Option<String>) {
    let (name, percent) = route.split_once('=').unwrap_or((route, ""));
    let stage = STAGES.iter().position(|stage| *stage == name).unwrap_or(0);
    (stage, Some(percent.trim_end_matches('%').to_owned()).filter(|percent| !percent.is_empty()))
}

/// `75%` as a figure; nothing else is a share.
pub(super) fn share(text: &str) -> f64 {
    text.trim_end_matches('%').trim().parse().unwrap_or(0.0)
}
