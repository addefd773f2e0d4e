//! Which dialog a key opens about what is selected.

use super::{
    app::{App, Effect, Page},
    dialog::Aim,
    keys::Action,
    screen::Pane,
};
use crate::wire::{QuarantinePick, SourceRoute};

impl App {
    pub(super) fn flip(&mut self) -> Vec<Effect> {
        let keys: Vec<String> = match self.page() {
            Page::Screen(_) if !self.marks.is_empty() => self.marks.iter().cloned().collect(),
            _ => self.source().into_iter().collect(),
        };
        let sources: Vec<SourceRoute> = keys.iter().filter_map(|key| self.live().source(key).cloned()).collect();
        if sources.is_empty() {
            self.complain("there is no source here whose route could be changed");
            return Vec::new();
        }
        if self.live().status.as_ref().is_some_and(|status| status.kill.is_some()) {
            self.say("the kill switch is on: a changed route works once it is lifted (K)");
        }
        self.open(Aim::flip(sources))
    }

    /// Starts a ramp of the source that is looked at, or steers the one that it has.
    pub(super) fn ramp(&mut self) -> Vec<Effect> {
        let source = self.source().and_then(|key| self.live().source(&key).cloned());
        let Some(source) = source else {
            self.complain("there is no source here that could have a ramp");
            return Vec::new();
        };
        let running = self.live().figures_of(&source.source).and_then(|figures| figures.ramp.clone());
        self.open(match running {
            Some(ramp) => Aim::RampStep { ramp: Box::new(ramp), picked: 0 },
            None => Aim::Ramp { source },
        })
    }

    /// What is done about the selected row of a list.
    pub(super) fn change_selected(&mut self, action: Action) -> Vec<Effect> {
        let selected = self.selected();
        let aim = match (action, &selected, self.page()) {
            (Action::Replay, _, Page::Entry(id)) => {
                Some(Aim::Redrive { pick: QuarantinePick { id: Some(*id), ..QuarantinePick::default() }, what: format!("entry {id}") })
            }
            (Action::Replay, _, Page::Source(source)) => {
                Some(Aim::Replay { source: source.clone(), destination: "rudderstack".to_owned() })
            }
            (Action::Limit, _, Page::Source(source)) | (Action::Limit, Some((Pane::Sources, source)), _) => {
                Some(self.limit(Some(source.clone()), "rudderstack"))
            }
            (Action::Limit, Some((Pane::Destinations, destination)), _) => Some(self.limit(None, destination)),
            (_, Some((Pane::Lanes, key)), _) => self.lane_aim(action, key),
            (Action::Replay, Some((Pane::Quarantine, key)), _) => {
                let id = key.parse().ok();
                Some(Aim::Redrive { pick: QuarantinePick { id, ..QuarantinePick::default() }, what: format!("entry {key}") })
            }
            (Action::Pause | Action::CancelReplay, Some((Pane::Replays, key)), _) => self.replay_aim(action, key),
            _ => None,
        };
        if let Some(aim) = aim {
            return self.open(aim);
        }
        self.complain("select what it is about first: tab goes from pane to pane");
        Vec::new()
    }

    fn limit(&self, source: Option<String>, destination: &str) -> Aim {
        let limits = &self.live().limits;
        let now = limits.iter().find(|limit| limit.source == source && limit.destination == destination);
        let now = now.map_or_else(|| "none".to_owned(), |limit| limit.limit.clone());
        Aim::Limit { source, destination: destination.to_owned(), now }
    }

    fn lane_aim(&self, action: Action, key: &str) -> Option<Aim> {
        let (source, destination) = key.split_once('\u{1f}')?;
        let lane = self.live().lane(source, destination)?;
        let (source, destination) = (source.to_owned(), destination.to_owned());
        Some(match action {
            Action::Hold => Aim::Hold { source, destination, on: lane.state != "held" },
            Action::Unpark => Aim::Unpark { source, destination },
            Action::Limit => self.limit(Some(source), &destination),
            Action::Replay => Aim::Replay { source, destination },
            _ => return None,
        })
    }

    fn replay_aim(&self, action: Action, key: &str) -> Option<Aim> {
        let job = self.live().replays.iter().find(|job| job.id.to_string() == key)?;
        let step = match (action, job.state.as_str()) {
            (Action::CancelReplay, "running" | "paused") => "cancel",
            (Action::Pause, "paused") => "resume",
            (Action::Pause, "running") => "pause",
            _ => return None,
        };
        Some(Aim::Step { id: job.id, source: job.source.clone(), step })
    }
}
