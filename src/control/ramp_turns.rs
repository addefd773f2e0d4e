//! Ramps in the switchboard's turn: begun, moved, paused, resumed and ended; each is a change of its own in the history.

use std::{sync::Arc, time::Duration};

use super::{
    Asked, FlipError, Flipped, SourceStanding, Switchboard,
    switchboard::{Inner, find, stands, whole},
};
use crate::{
    model::{Percent, Revision, SourceId},
    routing::{Author, Change, Course, CourseState, Deed, Gates, OnRed, Pause, Ramp, RampError, RampMove, Route},
};

/// A ramp, as it is asked for.
#[derive(Debug, Clone)]
pub struct RampAsked {
    /// The source.
    pub source: SourceId,
    /// The routes that it gets, one after the other, but for the verify share.
    pub steps: Vec<Route>,
    /// Their verify share; None: that of the route it has.
    pub verify: Option<Percent>,
    /// How long a step lasts at least.
    pub every: Duration,
    /// What has to be well before the next.
    pub gates: Gates,
    /// What is done when it is not.
    pub on_red: OnRed,
    /// The revision of the source that the author looked at; None: whatever it is now.
    pub based_on: Option<Revision>,
    /// Who asks.
    pub by: Author,
    /// Why.
    pub reason: Option<String>,
}

/// A ramp, as it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RampPlanned {
    /// The ramp.
    pub ramp: Ramp,
    /// What each step changes.
    pub steps: Vec<Flipped>,
}

/// Why a ramp was not begun or moved.
#[derive(Debug, thiserror::Error)]
pub enum RampRefused {
    /// Its routes are refused, or it is not durable.
    #[error(transparent)]
    Flip(#[from] FlipError),
    /// Its steps are no ramp.
    #[error(transparent)]
    Steps(#[from] RampError),
    /// There is one already.
    #[error("{0} has a ramp already, since revision {1}")]
    Runs(SourceId, Revision),
    /// There is none.
    #[error("{0} has no ramp that runs")]
    None(SourceId),
    /// The kill switch is on.
    #[error("the kill switch is on")]
    Killed,
    /// It is not where it was when it was looked at.
    #[error("the ramp of {0} is not where it was")]
    Moved(SourceId),
}

impl Switchboard {
    /// Each source's newest ramp, running or over.
    #[must_use]
    pub fn ramps(&self) -> Vec<Course> {
        self.inner.history().ramps().cloned().collect()
    }

    /// A source's newest ramp, running or over; None: it never had one.
    #[must_use]
    pub fn ramp(&self, source: &SourceId) -> Option<Course> {
        self.inner.history().ramp(source).cloned()
    }

    /// The same, each with its source's route at the same moment; None: the source is not configured.
    pub(super) fn ramps_and_routes(&self) -> Vec<(Course, Option<Route>)> {
        let (configured, history) = (self.inner.configured(), self.inner.history());
        let route = |course: &Course| find(&configured, &course.ramp.source).ok().map(|source| stands(&history, source).route);
        history.ramps().map(|course| (course.clone(), route(course))).collect()
    }

    /// What a ramp would do; nothing is changed.
    ///
    /// # Errors
    /// As [`Switchboard::begin_ramp`].
    pub fn plan_ramp(&self, asked: &RampAsked) -> Result<RampPlanned, RampRefused> {
        self.inner.weigh_ramp(asked)
    }

    /// Begins a ramp. A first step that takes nothing from Segment is taken at once: it is what a change by hand would be, by the hand
    /// of whoever confirmed it. Durable when it returns.
    ///
    /// # Errors
    /// When its steps are refused, another one runs, the kill switch is on, or it is not durable.
    pub async fn begin_ramp(&self, asked: RampAsked) -> Result<(Course, RampPlanned), RampRefused> {
        let inner = Arc::clone(&self.inner);
        whole(async move {
            let _turn = inner.turn.lock().await;
            let planned = inner.weigh_ramp(&asked)?;
            let source = planned.ramp.source.clone();
            let deed = Deed::Ramp(Box::new(planned.ramp.clone()));
            let (revision, at) = (inner.next_revision(), inner.clock.now());
            inner.keep(Change { revision, at, by: asked.by, deed, reason: asked.reason, undoes: None }).await?;
            let course = inner.running(&source)?;
            if !planned.ramp.takes_at(1) {
                let why = format!("step 1 of {}: it takes nothing from Segment", planned.ramp.steps.len());
                inner.move_to(&course, 1, why).await?;
            }
            Ok((inner.course(&source)?, planned))
        })
        .await
    }

    /// Pauses, resumes or ends a ramp by hand. Durable when it returns. One that stands so already is left as it is.
    ///
    /// # Errors
    /// When there is none that runs, it is not durable, or one is to be resumed below the kill switch.
    pub async fn move_ramp(&self, source: &SourceId, done: RampMove, by: Author, reason: Option<String>) -> Result<Course, RampRefused> {
        let (inner, source) = (Arc::clone(&self.inner), source.clone());
        whole(async move {
            let _turn = inner.turn.lock().await;
            let course = inner.running(&source)?;
            if done == RampMove::Resume && inner.killed(&inner.history()).is_some() {
                return Err(RampRefused::Killed);
            }
            let is_so = match done {
                RampMove::Pause => course.state == CourseState::Paused(Pause::ByHand),
                RampMove::Resume => course.state == CourseState::Running,
                _ => false,
            };
            if !is_so {
                inner.note_ramp(&course, done, by, reason).await?;
            }
            inner.course(&source)
        })
        .await
    }

    /// Moves a source by its ramp, from where the ramp was seen: a newer change is never overwritten.
    ///
    /// # Errors
    /// When it is somewhere else meanwhile, the kill switch is on, or it is not durable.
    pub(super) async fn step_ramp(&self, seen: &Course, place: usize, why: String) -> Result<(), RampRefused> {
        let (inner, seen) = (Arc::clone(&self.inner), seen.clone());
        whole(async move {
            let _turn = inner.turn.lock().await;
            if inner.killed(&inner.history()).is_some() {
                return Err(RampRefused::Killed);
            }
            let course = inner.running(&seen.ramp.source)?;
            if course != seen {
                return Err(RampRefused::Moved(seen.ramp.source));
            }
            inner.move_to(&course, place, why).await
        })
        .await
    }

    /// Keeps what a ramp does or suffers by itself.
    ///
    /// # Errors
    /// When it is somewhere else meanwhile, or it is not durable.
    pub(super) async fn note_ramp(&self, seen: &Course, done: RampMove, why: String) -> Result<(), RampRefused> {
        let (inner, seen) = (Arc::clone(&self.inner), seen.clone());
        whole(async move {
            let _turn = inner.turn.lock().await;
            let course = inner.course(&seen.ramp.source)?;
            if course != seen {
                return Err(RampRefused::Moved(seen.ramp.source));
            }
            Ok(inner.note_ramp(&course, done, course.author(), Some(why)).await?)
        })
        .await
    }
}

impl Inner {
    fn course(&self, source: &SourceId) -> Result<Course, RampRefused> {
        self.history().ramp(source).cloned().ok_or_else(|| RampRefused::None(source.clone()))
    }

    fn running(&self, source: &SourceId) -> Result<Course, RampRefused> {
        self.course(source).ok().filter(Course::is_alive).ok_or_else(|| RampRefused::None(source.clone()))
    }

    fn weigh_ramp(&self, asked: &RampAsked) -> Result<RampPlanned, RampRefused> {
        let RampAsked { source, steps, verify, based_on, by, .. } = asked;
        let step = |route: &Route| {
            let asked = Asked { source: source.clone(), route: *route, verify: *verify, based_on: *based_on, by: *by, reason: None };
            self.weigh(&asked)
        };
        let weighed = steps.iter().map(step).collect::<Result<Vec<_>, FlipError>>()?;
        let before = match weighed.first() {
            Some((before, _)) => before.clone(),
            None => return Err(RampError::Empty.into()),
        };
        let steps: Vec<Route> = weighed.into_iter().map(|(_, route)| route).collect();
        let ramp = Ramp { source: source.clone(), from: before.route, steps, every: asked.every, gates: asked.gates, on_red: asked.on_red }
            .checked()?;
        if let Ok(course) = self.running(source) {
            return Err(RampRefused::Runs(source.clone(), course.name));
        }
        if self.killed(&self.history()).is_some() {
            return Err(RampRefused::Killed);
        }
        let stood = |place: usize| SourceStanding { route: ramp.route_at(place), ..before.clone() };
        let steps = (0..ramp.steps.len()).map(|place| Flipped { before: stood(place), after: stood(place + 1) }).collect();
        Ok(RampPlanned { ramp, steps })
    }

    async fn move_to(&self, course: &Course, place: usize, why: String) -> Result<(), RampRefused> {
        let configured = self.configured();
        let before = stands(&self.history(), find(&configured, &course.ramp.source)?);
        if before.route != course.route() {
            return Err(RampRefused::Moved(course.ramp.source.clone()));
        }
        // The source's key for RudderStack may have been taken out of the configuration since.
        let asked = Asked {
            source: before.id.clone(),
            route: course.ramp.route_at(place),
            verify: Some(course.ramp.route_at(place).verify()),
            based_on: None,
            by: course.author(),
            reason: None,
        };
        let (before, to) = self.weigh(&asked)?;
        self.change_route(&before, to, course.author(), Some(why), None).await?;
        Ok(())
    }

    async fn note_ramp(&self, course: &Course, done: RampMove, by: Author, reason: Option<String>) -> Result<(), FlipError> {
        let (revision, at) = (self.next_revision(), self.clock.now());
        self.keep(Change { revision, at, by, deed: Deed::RampMove(course.name, done), reason, undoes: None }).await
    }
}
