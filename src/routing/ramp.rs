//! Ramps: a source's way from Segment, in steps that were confirmed once. What the history says of one is where it stands.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Author, Change, Deed, Gates, Route, Stage, change::Shares};
use crate::model::{Percent, Revision, SourceId, Span, WallTime};

/// A ramp, as it was confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ramp {
    /// Whose events.
    pub source: SourceId,
    /// The route that it begins at.
    pub from: Route,
    /// The routes that the source gets, one after the other.
    pub steps: Vec<Route>,
    /// How long a step lasts at least.
    pub every: Duration,
    /// What has to be well before the next.
    pub gates: Gates,
    /// What is done when it is not.
    pub on_red: OnRed,
}

/// What a ramp does while a gate is red.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRed {
    /// It stays where it is until all gates are green again.
    #[default]
    Hold,
    /// It goes a step back when Segment gets more by that, and waits there for a person.
    Back,
}

/// Which routes plain shares stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RampKind {
    /// Copies beside Segment.
    Shadow,
    /// People moved from one side to the other.
    #[default]
    Cutover,
}

/// What is done about a ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RampMove {
    /// Somebody stops it for a while.
    Pause,
    /// Somebody lets it go on.
    Resume,
    /// Somebody ends it; the route stays.
    Abort,
    /// A gate is red: it waits.
    Hold,
    /// The source's route was changed by somebody, or the source is gone: it ends.
    Cancel,
    /// It is through.
    Done,
}

/// Why a ramp cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RampError {
    /// There is no step.
    #[error("a ramp needs at least one step")]
    Empty,
    /// There are too many.
    #[error("a ramp has at most {STEPS_MAX} steps")]
    Long,
    /// A step that is no route.
    #[error("`{0}` is no step: write shares like 10,25,50,100, or routes like shadow=10%,both,cutover=25%")]
    Unknown(String),
    /// A step gives Segment more than the one before it.
    #[error("step {step} ({to}) gives Segment more than {from}: a ramp leads away from Segment, and going back takes no gates")]
    Back {
        /// Which, counted from 1.
        step: usize,
        /// The route before it.
        from: Route,
        /// Its route.
        to: Route,
    },
    /// A step that changes nothing, or takes copies away from RudderStack and nothing from Segment.
    #[error("step {step} ({to}) moves nothing that {from} does not")]
    Idle {
        /// Which, counted from 1.
        step: usize,
        /// The route before it.
        from: Route,
        /// Its route.
        to: Route,
    },
}

/// Where a ramp stands, by the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// The revision that started it: its name.
    pub name: Revision,
    /// The ramp.
    pub ramp: Ramp,
    /// Who confirmed it.
    pub by: Author,
    /// When.
    pub started_at: WallTime,
    /// How many of its steps are taken.
    pub place: usize,
    /// When the last of them was; when it started, before the first.
    pub moved_at: WallTime,
    /// What it is doing.
    pub state: CourseState,
    /// A change that stopped it and that its own line in the history does not follow yet; None: there is none.
    pub untold: Option<Revision>,
}

/// What a ramp is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CourseState {
    /// It goes on when its gates allow.
    Running,
    /// It waits for a person.
    Paused(Pause),
    /// It is over.
    Ended(End),
}

/// Why a ramp waits for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// Somebody paused it.
    ByHand,
    /// The kill switch was turned on.
    Killed,
    /// It went back, as a gate was red.
    WentBack,
}

/// How a ramp ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All steps are taken, and the last one was well.
    Done,
    /// Somebody ended it.
    Aborted,
    /// This revision changed the source's route, or took the source away.
    Cancelled(Revision),
}

/// The longest ramp.
const STEPS_MAX: usize = 100;

impl Ramp {
    /// Checks the steps: each leads away from Segment, or adds copies and takes nothing from it.
    ///
    /// # Errors
    /// With the first step that does not.
    pub fn checked(self) -> Result<Self, RampError> {
        match self.steps.len() {
            0 => return Err(RampError::Empty),
            1..=STEPS_MAX => {}
            _ => return Err(RampError::Long),
        }
        for (index, to) in self.steps.iter().enumerate() {
            let from = self.route_at(index);
            if to.segment() > from.segment() {
                return Err(RampError::Back { step: index + 1, from, to: *to });
            }
            if to.segment() == from.segment() && to.rudderstack() <= from.rudderstack() {
                return Err(RampError::Idle { step: index + 1, from, to: *to });
            }
        }
        Ok(self)
    }

    /// The source's route after so many steps.
    #[must_use]
    pub fn route_at(&self, place: usize) -> Route {
        let step = place.checked_sub(1).and_then(|index| self.steps.get(index).or(self.steps.last()));
        step.copied().unwrap_or(self.from)
    }

    /// Whether Segment gets less at its end than at its beginning: whoever starts it has to mean that.
    #[must_use]
    pub fn takes_from_segment(&self) -> bool {
        self.takes_at(self.steps.len())
    }

    /// Whether Segment gets less after so many steps than at its beginning.
    #[must_use]
    pub fn takes_at(&self, place: usize) -> bool {
        self.route_at(place).segment() < self.from.segment()
    }

    fn place_of(&self, route: Route) -> Option<usize> {
        (0..=self.steps.len()).rev().find(|place| self.route_at(*place) == route)
    }
}

impl RampKind {
    /// Reads steps: shares, which are routes of this kind, or routes. The verify share is the caller's.
    ///
    /// # Errors
    /// With the first that is neither.
    pub fn steps(self, text: &str, verify: Percent) -> Result<Vec<Route>, RampError> {
        let step = |step: &str| self.step(step).map(|route| route.verifying(verify)).ok_or_else(|| RampError::Unknown(step.to_owned()));
        text.split(',').map(str::trim).filter(|step| !step.is_empty()).map(step).collect()
    }

    fn step(self, text: &str) -> Option<Route> {
        let signed = |share: &str| if share.ends_with('%') { share.to_owned() } else { format!("{share}%") };
        if let Ok(share) = signed(text).parse() {
            return Some(match self {
                Self::Shadow => Stage::Shadow(share).into(),
                Self::Cutover => Stage::Cutover(share).into(),
            });
        }
        match text.split_once(['=', ' ']) {
            Some((name, share)) => format!("{name}={}", signed(share.trim())).parse().ok(),
            None => text.parse().ok(),
        }
    }
}

impl Course {
    /// A ramp that is started by a change.
    pub(super) fn begun(change: &Change, ramp: &Ramp) -> Self {
        Self {
            name: change.revision,
            ramp: ramp.clone(),
            by: change.by,
            started_at: change.at,
            place: 0,
            moved_at: change.at,
            state: CourseState::Running,
            untold: None,
        }
    }

    /// Takes in what was changed since.
    pub(super) fn take(&mut self, change: &Change) {
        match &change.deed {
            Deed::RampMove(name, done) if *name == self.name => self.done(change, *done),
            Deed::Route { source, to, .. } if *source == self.ramp.source && self.is_alive() => self.rerouted(change, *to),
            Deed::KillOn if self.is_alive() && self.state != CourseState::Paused(Pause::ByHand) => {
                (self.state, self.untold) = (CourseState::Paused(Pause::Killed), Some(change.revision));
            }
            Deed::Retire(source) if *source == self.ramp.source && self.is_alive() => self.cancelled(change),
            _ => {}
        }
    }

    fn cancelled(&mut self, change: &Change) {
        (self.state, self.untold) = (CourseState::Ended(End::Cancelled(change.revision)), Some(change.revision));
    }

    fn done(&mut self, change: &Change, done: RampMove) {
        self.untold = None;
        if !self.is_alive() {
            return;
        }
        self.state = match done {
            RampMove::Pause if self.is_own(change) => CourseState::Paused(Pause::Killed),
            RampMove::Pause => CourseState::Paused(Pause::ByHand),
            RampMove::Resume => CourseState::Running,
            RampMove::Abort => CourseState::Ended(End::Aborted),
            RampMove::Cancel => CourseState::Ended(End::Cancelled(change.revision)),
            RampMove::Done => CourseState::Ended(End::Done),
            RampMove::Hold => self.state,
        };
    }

    fn rerouted(&mut self, change: &Change, to: Route) {
        if let Some(place) = self.ramp.place_of(to).filter(|_| self.is_own(change)) {
            if place < self.place {
                self.state = CourseState::Paused(Pause::WentBack);
            }
            (self.place, self.moved_at) = (place, change.at);
        } else {
            self.cancelled(change);
        }
    }

    fn is_own(&self, change: &Change) -> bool {
        matches!(change.by, Author::Ramp { job, .. } if job == self.name.0)
    }

    /// Whether it is not over.
    #[must_use]
    pub const fn is_alive(&self) -> bool {
        !matches!(self.state, CourseState::Ended(_))
    }

    /// Who moves the source for it.
    #[must_use]
    pub const fn author(&self) -> Author {
        let uid = if let Author::Uid(uid) = self.by { Some(uid) } else { None };
        Author::Ramp { job: self.name.0, uid }
    }

    /// The route that the source has by it.
    #[must_use]
    pub fn route(&self) -> Route {
        self.ramp.route_at(self.place)
    }

    /// The place a step back, when Segment gets more there.
    #[must_use]
    pub fn behind(&self) -> Option<usize> {
        let place = self.place.checked_sub(1)?;
        (self.ramp.route_at(place).segment() > self.route().segment()).then_some(place)
    }

    /// The next step; None: all are taken.
    #[must_use]
    pub fn next(&self) -> Option<Route> {
        self.ramp.steps.get(self.place).copied()
    }
}

impl CourseState {
    /// One word: `running`, `paused`, `done`, `aborted` or `cancelled`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused(_) => "paused",
            Self::Ended(End::Done) => "done",
            Self::Ended(End::Aborted) => "aborted",
            Self::Ended(End::Cancelled(_)) => "cancelled",
        }
    }
}

/// As the history writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Written {
    source: String,
    from: Shares,
    steps: Vec<Shares>,
    every: Span,
    gates: Gates,
    on_red: OnRed,
}

impl Written {
    pub(super) fn of(ramp: &Ramp) -> Self {
        Self {
            source: ramp.source.to_string(),
            from: ramp.from.into(),
            steps: ramp.steps.iter().copied().map(Shares::from).collect(),
            every: Span(ramp.every),
            gates: ramp.gates,
            on_red: ramp.on_red,
        }
    }

    /// None: no version of segue wrote it.
    pub(super) fn read(self) -> Option<Ramp> {
        let ramp = Ramp {
            source: SourceId::parse(&self.source).ok()?,
            from: self.from.route()?,
            steps: self.steps.into_iter().map(Shares::route).collect::<Option<_>>()?,
            every: self.every.0,
            gates: self.gates,
            on_red: self.on_red,
        };
        ramp.checked().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(from: &str, steps: &str) -> Result<Ramp, RampError> {
        let from: Route = from.parse().unwrap();
        let steps = RampKind::Cutover.steps(steps, Percent::ZERO)?;
        let source = SourceId::parse("web").unwrap();
        Ramp { source, from, steps, every: Duration::from_mins(30), gates: Gates::default(), on_red: OnRed::Hold }.checked()
    }

    fn told(ramp: &Ramp) -> Vec<String> {
        ramp.steps.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn shares_and_routes_are_steps() {
        assert_eq!(told(&ramp("both", "10,25%, 50,100").unwrap()), ["cutover=10%", "cutover=25%", "cutover=50%", "rudderstack-only"]);
        let mixed = ramp("segment-only", "shadow=10,shadow 50%,both,cutover=25").unwrap();
        assert_eq!(told(&mixed), ["shadow=10%", "shadow=50%", "both", "cutover=25%"]);
        let shadow = RampKind::Shadow.steps("5,100", "1%".parse().unwrap()).unwrap();
        assert_eq!(
            shadow.iter().map(|route| (route.to_string(), route.verify().to_string())).collect::<Vec<_>>(),
            [("shadow=5%".to_owned(), "1%".to_owned()), ("both".to_owned(), "1%".to_owned())]
        );
    }

    #[test]
    fn a_ramp_leads_away_from_segment() {
        let back = ramp("cutover=50%", "25,75").unwrap_err();
        assert_eq!(
            back.to_string(),
            "step 1 (cutover=25%) gives Segment more than cutover=50%: a ramp leads away from Segment, and going back takes no gates"
        );
        assert!(matches!(ramp("both", "10,10"), Err(RampError::Idle { step: 2, .. })));
        assert!(matches!(ramp("both", "shadow=10"), Err(RampError::Idle { step: 1, .. })));
        assert!(matches!(ramp("both", "cutover=10,both"), Err(RampError::Back { step: 2, .. })));
        assert_eq!(ramp("both", " , "), Err(RampError::Empty));
        assert_eq!(ramp("both", "10,half"), Err(RampError::Unknown("half".to_owned())));
        let many = (1..=101).map(|hundredths| format!("{}%", f64::from(hundredths) / 100.0)).collect::<Vec<_>>().join(",");
        assert_eq!(ramp("both", &many), Err(RampError::Long));
    }

    #[test]
    fn only_a_ramp_that_ends_with_less_for_segment_takes_from_it() {
        assert!(!ramp("segment-only", "shadow=10,both").unwrap().takes_from_segment());
        let mixed = ramp("segment-only", "shadow=10,both,cutover=1").unwrap();
        assert!(mixed.takes_from_segment());
        assert_eq!([0, 1, 2, 3].map(|place| mixed.takes_at(place)), [false, false, false, true]);
    }

    #[test]
    fn what_the_history_says_is_where_it_stands() {
        let ramp = ramp("both", "10,25,50").unwrap();
        let (web, by) = (ramp.source.clone(), Author::Uid(7));
        let own = Author::Ramp { job: 5, uid: Some(7) };
        let change = |revision: u64, by, deed| Change {
            revision: Revision(revision),
            at: WallTime::from_millis(i64::try_from(revision).unwrap()),
            by,
            deed,
            reason: None,
            undoes: None,
        };
        let route = |to: usize| Deed::Route { source: web.clone(), from: ramp.from, to: ramp.route_at(to) };
        let step = |step| Deed::RampMove(Revision(5), step);
        let running = (CourseState::Running, 0);
        let story = [
            (own, route(1), (CourseState::Running, 1)),
            (own, step(RampMove::Hold), (CourseState::Running, 1)),
            (by, step(RampMove::Pause), (CourseState::Paused(Pause::ByHand), 1)),
            (by, Deed::KillOn, (CourseState::Paused(Pause::ByHand), 1)),
            (by, step(RampMove::Resume), (CourseState::Running, 1)),
            (by, Deed::KillOn, (CourseState::Paused(Pause::Killed), 1)),
            (by, Deed::KillOff, (CourseState::Paused(Pause::Killed), 1)),
            (by, step(RampMove::Resume), (CourseState::Running, 1)),
            (own, route(2), (CourseState::Running, 2)),
            (own, route(1), (CourseState::Paused(Pause::WentBack), 1)),
            (by, Deed::RampMove(Revision(4), RampMove::Abort), (CourseState::Paused(Pause::WentBack), 1)),
            (by, step(RampMove::Resume), (CourseState::Running, 1)),
            // Not even to the route that would have come next.
            (by, route(2), (CourseState::Ended(End::Cancelled(Revision(18))), 1)),
            (by, step(RampMove::Resume), (CourseState::Ended(End::Cancelled(Revision(18))), 1)),
        ];
        let mut course = Course::begun(&change(5, by, Deed::Ramp(Box::new(ramp.clone()))), &ramp);
        assert_eq!((course.state, course.place), running);
        for (revision, (by, deed, expected)) in (6..).zip(story) {
            course.take(&change(revision, by, deed));
            assert_eq!((course.state, course.place), expected, "after revision {revision}");
        }
        assert_eq!(course.moved_at, WallTime::from_millis(15));
        assert_eq!(course.untold, None, "somebody tried to resume it since");
    }
}
