//! Ramps that run: the gates of every source looked at again and again, and what that says done.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use super::{RampAsked, RampPlanned, RampRefused, Switchboard};
use crate::{
    clock::Clock,
    model::{Revision, SourceId, WallTime},
    routing::{Author, Course, CourseState, GateReading, GateStanding, Gates, Pilot, RampMove, Route, Verdict},
};

/// What is known of a source at this moment.
pub type ReadGates = dyn Fn(&SourceId) -> GateReading + Send + Sync;

/// Runs ramps, and knows how the gates of all sources stand. Clones share it.
#[derive(Debug, Clone)]
pub struct Ramps {
    inner: Arc<Inner>,
}

struct Inner {
    switchboard: Switchboard,
    read: Arc<ReadGates>,
    /// Gates of sources without a ramp, and of ramps that name none.
    usual: Gates,
    clock: Clock,
    pilots: Mutex<BTreeMap<SourceId, Pilot>>,
    /// Rung when there is a ramp that may have a shorter window.
    bell: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// A way to ramps that does not keep them alive.
#[derive(Debug, Clone)]
pub struct WeakRamps(Weak<Inner>);

/// How a ramp stands.
#[derive(Debug, Clone)]
pub struct RampStanding {
    /// The ramp, by the history.
    pub course: Course,
    /// What was red, while it holds; empty: it does not.
    pub held: Vec<String>,
    /// For how long all its gates have been green.
    pub green: Duration,
    /// When the next step is taken if they stay so, or it is through; None: something else has to happen first.
    pub next_at: Option<WallTime>,
}

/// The longest time between two looks.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// The shortest, for windows of tests.
const LOOK_MIN: Duration = Duration::from_millis(20);
/// Looks in one window, at least.
const LOOKS: u32 = 30;

impl WeakRamps {
    /// The ramps; None: they are gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Ramps> {
        self.0.upgrade().map(|inner| Ramps { inner })
    }
}

impl Ramps {
    /// Goes on with what the history says. Time in which nobody looked counts as green for nobody. To be called on a tokio runtime.
    #[must_use]
    pub fn start(switchboard: Switchboard, read: Arc<ReadGates>, usual: Gates, clock: Clock) -> Self {
        let (pilots, bell, task) = (Mutex::default(), Arc::default(), Mutex::default());
        let inner = Arc::new(Inner { switchboard, read, usual, clock, pilots, bell, task });
        let running = tokio::spawn(run(Arc::downgrade(&inner)));
        *inner.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
        Self { inner }
    }

    /// A way to them that does not keep them alive, for figures.
    #[must_use]
    pub fn downgrade(&self) -> WeakRamps {
        WeakRamps(Arc::downgrade(&self.inner))
    }

    /// Stops; the next start goes on.
    pub async fn stop(self) {
        let task = self.inner.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    /// The gates of a ramp that names none.
    #[must_use]
    pub fn usual(&self) -> Gates {
        self.inner.usual
    }

    /// How each source's newest ramp stands, running or over.
    #[must_use]
    pub fn list(&self) -> Vec<RampStanding> {
        let courses = self.inner.switchboard.ramps();
        courses.into_iter().map(|course| self.inner.standing(course)).collect()
    }

    /// How a source's newest ramp stands; None: it never had one.
    #[must_use]
    pub fn ramp(&self, source: &SourceId) -> Option<RampStanding> {
        self.inner.switchboard.ramp(source).map(|course| self.inner.standing(course))
    }

    /// How a source's gates stand: its ramp's while one runs, else the usual ones. Empty: nobody looked yet.
    #[must_use]
    pub fn gates(&self, source: &SourceId) -> Vec<GateStanding> {
        self.inner.pilots().get(source).map(|pilot| pilot.gates().standing().to_vec()).unwrap_or_default()
    }

    /// Begins a ramp, as [`Switchboard::begin_ramp`].
    ///
    /// # Errors
    /// As that.
    pub async fn begin(&self, asked: RampAsked) -> Result<(RampStanding, RampPlanned), RampRefused> {
        let (course, planned) = self.inner.switchboard.begin_ramp(asked).await?;
        self.inner.bell.notify_one();
        Ok((self.inner.standing(course), planned))
    }

    /// Pauses, resumes or ends a ramp, as [`Switchboard::move_ramp`].
    ///
    /// # Errors
    /// As that.
    pub async fn change(&self, source: &SourceId, done: RampMove, by: Author, reason: Option<String>) -> Result<RampStanding, RampRefused> {
        let course = self.inner.switchboard.move_ramp(source, done, by, reason).await?;
        Ok(self.inner.standing(course))
    }
}

async fn run(ramps: Weak<Inner>) {
    while let Some(inner) = ramps.upgrade() {
        inner.look().await;
        let (pause, bell) = (inner.pause(), Arc::clone(&inner.bell));
        // Waiting keeps nothing alive.
        drop(inner);
        let _ = timeout(pause, bell.notified()).await;
    }
}

impl Inner {
    fn pilots(&self) -> MutexGuard<'_, BTreeMap<SourceId, Pilot>> {
        self.pilots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn standing(&self, course: Course) -> RampStanding {
        let pilots = self.pilots();
        let pilot = pilots.get(&course.ramp.source).filter(|_| course.is_alive());
        let held = pilot.and_then(|pilot| pilot.held()).map(<[String]>::to_vec).unwrap_or_default();
        let green = pilot.map(|pilot| pilot.gates().green()).unwrap_or_default();
        let next_at = pilot.and_then(|pilot| pilot.due(&course, self.clock.now()));
        RampStanding { course, held, green, next_at }
    }

    fn pause(&self) -> Duration {
        let ramps = self.switchboard.ramps().into_iter().filter(Course::is_alive).map(|course| course.ramp.gates.window.0);
        let shortest = ramps.chain([self.usual.window.0]).min().unwrap_or(LOOK_MAX);
        (shortest / LOOKS).clamp(LOOK_MIN, LOOK_MAX)
    }

    /// One look at every source.
    async fn look(&self) {
        let standing = self.switchboard.standing();
        for source in &standing.sources {
            let reading = (self.read)(&source.id);
            let course = self.switchboard.ramp(&source.id);
            let (verdict, was_held, figures) = {
                let mut pilots = self.pilots();
                let pilot = pilots.entry(source.id.clone()).or_insert_with(|| Pilot::new(self.usual));
                let was_held = pilot.held().is_some();
                let verdict = pilot.look(course.as_ref(), &self.usual, self.clock.now(), &reading);
                (verdict, was_held, told(pilot.gates().standing()))
            };
            if let Some(course) = course.filter(Course::is_alive) {
                self.act(&course, verdict, was_held, &figures).await;
            }
        }
        self.pilots().retain(|id, _| standing.sources.iter().any(|source| source.id == *id));
        for (course, route) in self.switchboard.ramps_and_routes() {
            self.tell(&course, route, standing.killed.is_some()).await;
        }
    }

    /// Does what a look says. What cannot be done now is done by a later look.
    async fn act(&self, course: &Course, verdict: Verdict, was_held: bool, figures: &str) {
        let steps = course.ramp.steps.len();
        let done = match verdict {
            Verdict::Wait => return,
            Verdict::Hold(_) if was_held => return,
            Verdict::Hold(reasons) => self.switchboard.note_ramp(course, RampMove::Hold, reasons.join("; ")).await,
            Verdict::Go(place) => {
                let why = format!("step {place} of {steps}: gates green for {}: {figures}", course.ramp.gates.window);
                self.switchboard.step_ramp(course, place, why).await
            }
            Verdict::Back(place) => {
                let why =
                    format!("back to {}: {figures}", if place == 0 { "the start".to_owned() } else { format!("step {place} of {steps}") });
                self.switchboard.step_ramp(course, place, why).await
            }
            Verdict::Done => self.switchboard.note_ramp(course, RampMove::Done, figures.to_owned()).await,
        };
        report(course, done);
    }

    /// Writes down what happened to a ramp: a change by hand or the kill switch stopped it, or its source is not what it was.
    async fn tell(&self, course: &Course, route: Option<Route>, is_killed: bool) {
        let stopped_by = course.untold.map(|revision| format!("revision {revision}{}", self.author_of(revision)));
        let (done, why) = match (course.state, stopped_by, route) {
            (CourseState::Ended(_), Some(by), _) => (RampMove::Cancel, format!("the route was changed by {by}")),
            (CourseState::Paused(_), Some(by), _) => (RampMove::Pause, format!("the kill switch was turned on by {by}")),
            (CourseState::Ended(_), None, _) => return,
            (_, _, None) => (RampMove::Cancel, "the source is not configured any more".to_owned()),
            (_, _, Some(route)) if route != course.route() => {
                (RampMove::Cancel, format!("the configuration gave the source another route: {route}"))
            }
            // A kill switch that could not be kept stands in no history.
            (CourseState::Running, None, _) if is_killed => (RampMove::Pause, "the kill switch was turned on".to_owned()),
            _ => return,
        };
        report(course, self.switchboard.note_ramp(course, done, why).await);
    }

    fn author_of(&self, revision: Revision) -> String {
        let changes = self.switchboard.changes(usize::MAX);
        match changes.iter().find(|change| change.revision == revision).map(|change| change.by) {
            Some(Author::Uid(uid)) => format!(" of uid {uid}"),
            Some(Author::KillFile) => " of the kill file".to_owned(),
            _ => String::new(),
        }
    }
}

/// The gates' figures, and why the red ones are.
fn told(standing: &[GateStanding]) -> String {
    let one = |gate: &GateStanding| match (&gate.red, &gate.value) {
        (Some(why), _) => why.clone(),
        (None, value) => format!("{} {}", gate.gate.label(), value.as_deref().unwrap_or("-")),
    };
    if standing.is_empty() { "no gates".to_owned() } else { standing.iter().map(one).collect::<Vec<_>>().join(", ") }
}

fn report(course: &Course, done: Result<(), RampRefused>) {
    // It moved between the look and its turn: the next look sees where to.
    if let Err(error) =
        done.or_else(|error| if matches!(error, RampRefused::Moved(_) | RampRefused::None(_)) { Ok(()) } else { Err(error) })
    {
        tracing::warn!(event = "ramp_stuck", source = %course.ramp.source, ramp = course.name.0, %error, "a ramp could not do its next step; it tries again");
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ramps").field("switchboard", &self.switchboard).finish_non_exhaustive()
    }
}
