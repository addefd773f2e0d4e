//! All replays: which there are, how far they have come, and what is done about them.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::{
    FlipError, Recent, Switchboard, recent,
    replay_run::{self, Ended, Tools},
    replay_scan::{self, Found},
    sent::{self, SentDiffs, SentEvent},
};
use crate::{
    clock::Clock,
    delivery::LaneControl,
    journal::Journal,
    model::{Revision, SourceId},
    routing::{Author, Change, Deed, Replay, Sources, Step},
};

/// How often what was read is let go.
const PIN_INTERVAL: Duration = Duration::from_secs(2);

/// Starts, pauses, resumes and cancels replays. Clones share it.
#[derive(Debug, Clone)]
pub struct Replayer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    tools: Tools,
    switchboard: Switchboard,
    /// By the revision that started them.
    jobs: Mutex<BTreeMap<Revision, Job>>,
}

#[derive(Debug)]
struct Job {
    started: Change,
    replay: Arc<Replay>,
    state: ReplayState,
    progress: Arc<Progress>,
    work: watch::Sender<Work>,
    /// None: it does not run any more.
    task: Option<JoinHandle<()>>,
}

/// A way to a replayer that does not keep it alive.
#[derive(Debug, Clone)]
pub struct WeakReplayer(Weak<Inner>);

impl WeakReplayer {
    /// The replayer; None: it is gone.
    #[must_use]
    pub fn upgrade(&self) -> Option<Replayer> {
        self.0.upgrade().map(|inner| Replayer { inner })
    }
}

/// What a replay is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    Go,
    Pause,
    Stop,
}

/// What a replay is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayState {
    /// It sends, or waits for what goes first.
    Running,
    /// Somebody paused it.
    Paused,
    /// Somebody ended it.
    Cancelled,
    /// It is through.
    Done,
}

/// How a replay stands.
#[derive(Debug, Clone)]
pub struct ReplayStanding {
    /// The change that started it: its revision is the replay's name.
    pub started: Change,
    /// What it sends again.
    pub replay: Arc<Replay>,
    /// What it is doing.
    pub state: ReplayState,
    /// Events that it has journalled again.
    pub sent: u64,
    /// Events that it found to send, those included; None: it has not looked yet, or ended before this start.
    pub total: Option<u64>,
    /// What it waits for; None: nothing stands in its way.
    pub waits_for: Option<String>,
}

/// How far a replay has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    sent: AtomicU64,
    /// 0: it has not looked yet.
    total: AtomicU64,
    /// The volume that it reads; 0: none yet.
    volume: AtomicU64,
    waits_for: Mutex<Option<String>>,
}

/// Why a replay was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// There is no such replay.
    #[error("there is no replay {0}")]
    Unknown(Revision),
    /// It is over.
    #[error("replay {0} is over")]
    Over(Revision),
    /// There is nothing to send.
    #[error("there is nothing to send")]
    Nothing,
    /// The journal cannot be read.
    #[error("the journal cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It was refused, or is not durable.
    #[error(transparent)]
    Flip(#[from] FlipError),
}

impl ReplayState {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
        }
    }
}

impl Progress {
    pub(super) fn found(&self, found: &Found) {
        self.sent.store(found.sent, Ordering::Relaxed);
        self.total.store(found.sent + found.events, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, events: u32) {
        self.sent.fetch_add(u64::from(events), Ordering::Relaxed);
    }

    pub(super) fn wait(&self, what: Option<String>) {
        *self.waits_for.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    /// It reads that volume now: earlier ones are not kept for it any more.
    pub(super) fn reads(&self, volume: u64) {
        self.volume.store(volume, Ordering::Relaxed);
    }
}

impl Replayer {
    /// All replays of the history; those that were running go on. To be called on a tokio runtime.
    #[must_use]
    pub fn start(
        dir: PathBuf,
        journal: Journal,
        lanes: LaneControl,
        sources: Arc<ArcSwap<Sources>>,
        switchboard: Switchboard,
        clock: Clock,
    ) -> Self {
        let tools = Tools { dir, journal, lanes, sources, switchboard: switchboard.clone(), clock };
        let mut jobs = BTreeMap::new();
        for change in switchboard.changes(usize::MAX).into_iter().rev() {
            match &change.deed {
                Deed::Replay(replay) => {
                    jobs.insert(change.revision, Job::new(change.clone(), Arc::new(Replay::clone(replay))));
                }
                Deed::ReplayStep(job, step) => {
                    if let Some(job) = jobs.get_mut(job) {
                        job.step(*step);
                    }
                }
                _ => {}
            }
        }
        let replayer = Self { inner: Arc::new(Inner { tools, switchboard, jobs: Mutex::new(jobs) }) };
        let mut jobs = replayer.inner.jobs();
        for (name, job) in jobs.iter_mut().filter(|(_, job)| matches!(job.state, ReplayState::Running | ReplayState::Paused)) {
            job.task = Some(replayer.inner.spawn(*name, job));
        }
        drop(jobs);
        replayer.inner.pin();
        replayer
    }

    /// A way to it that does not keep it alive, for figures: a stopped journal's directory is not to stay locked.
    #[must_use]
    pub fn downgrade(&self) -> WeakReplayer {
        WeakReplayer(Arc::downgrade(&self.inner))
    }

    /// How all replays stand, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<ReplayStanding> {
        self.inner.jobs().values().map(Job::standing).collect()
    }

    /// What a replay would send.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn plan(&self, replay: &Replay) -> Result<Found, ReplayError> {
        let (dir, replay, rules) = (self.inner.tools.dir.clone(), replay.clone(), self.inner.tools.rules(replay));
        let counted = tokio::task::spawn_blocking(move || replay_scan::count(&dir, &replay, &rules, None)).await;
        Ok(counted.map_err(io::Error::other)??)
    }

    /// Who a source's events came from of late, by the newest part of the journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn recent(&self, source: &SourceId) -> Result<Recent, ReplayError> {
        let (dir, source) = (self.inner.tools.dir.clone(), source.clone());
        let looked = tokio::task::spawn_blocking(move || recent::look(&dir, &source)).await;
        Ok(looked.map_err(io::Error::other)??)
    }

    /// What each side gets of the newest event with that messageId in the newest part of the journal; None: it is not there.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn sent(&self, message_id: String, source: Option<SourceId>) -> Result<Option<SentEvent>, ReplayError> {
        let dir = self.inner.tools.dir.clone();
        let looked = tokio::task::spawn_blocking(move || sent::find(&dir, &message_id, source.as_ref())).await;
        Ok(looked.map_err(io::Error::other)??)
    }

    /// Where both sides differ, over the newest events of the journal.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn diffs(&self, source: Option<SourceId>) -> Result<SentDiffs, ReplayError> {
        let dir = self.inner.tools.dir.clone();
        let looked = tokio::task::spawn_blocking(move || sent::compare(&dir, source.as_ref())).await;
        Ok(looked.map_err(io::Error::other)??)
    }

    /// Where the log ends: a replay that is started now sends nothing that comes after.
    #[must_use]
    pub fn log_end(&self) -> (u64, u64) {
        let end = self.inner.tools.journal.log_end();
        (end.volume, end.offset)
    }

    /// Starts a replay. Durable when it returns.
    ///
    /// # Errors
    /// When there is nothing to send, or it is not durable.
    pub async fn begin(&self, replay: Replay, by: Author, reason: Option<String>) -> Result<ReplayStanding, ReplayError> {
        if self.plan(&replay).await?.events == 0 {
            return Err(ReplayError::Nothing);
        }
        let change = self.inner.switchboard.record(Deed::Replay(Box::new(replay.clone())), by, reason).await?;
        let name = change.revision;
        let mut job = Job::new(change, Arc::new(replay));
        job.task = Some(self.inner.spawn(name, &job));
        let standing = job.standing();
        self.inner.jobs().insert(name, job);
        self.inner.pin();
        Ok(standing)
    }

    /// Pauses, resumes or cancels a replay. Durable when it returns.
    ///
    /// # Errors
    /// When there is none, it is over, or it is not durable.
    pub async fn step(&self, name: Revision, step: Step, by: Author, reason: Option<String>) -> Result<ReplayStanding, ReplayError> {
        let state = self.inner.jobs().get(&name).map(|job| job.state).ok_or(ReplayError::Unknown(name))?;
        let is_so = match (state, step) {
            (ReplayState::Cancelled | ReplayState::Done, _) => return Err(ReplayError::Over(name)),
            (ReplayState::Running, Step::Resume) | (ReplayState::Paused, Step::Pause) => true,
            _ => false,
        };
        if !is_so {
            self.inner.switchboard.record(Deed::ReplayStep(name, step), by, reason).await?;
        }
        let mut jobs = self.inner.jobs();
        let job = jobs.get_mut(&name).ok_or(ReplayError::Unknown(name))?;
        job.step(step);
        let standing = job.standing();
        drop(jobs);
        self.inner.pin();
        Ok(standing)
    }

    /// Stops all of them for this run; the next start goes on.
    pub async fn stop(self) {
        let tasks: Vec<JoinHandle<()>> = self.inner.jobs().values_mut().filter_map(|job| job.task.take()).collect();
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Job {
    fn new(started: Change, replay: Arc<Replay>) -> Self {
        let (work, _) = watch::channel(Work::Go);
        Self { started, replay, state: ReplayState::Running, progress: Arc::default(), work, task: None }
    }

    fn step(&mut self, step: Step) {
        let (state, work) = match step {
            Step::Pause => (ReplayState::Paused, Work::Pause),
            Step::Resume => (ReplayState::Running, Work::Go),
            Step::Cancel => (ReplayState::Cancelled, Work::Stop),
            Step::End => (ReplayState::Done, Work::Stop),
        };
        self.state = state;
        self.work.send_replace(work);
    }

    fn standing(&self) -> ReplayStanding {
        let is_running = self.state == ReplayState::Running;
        let waits_for = self.progress.waits_for.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|_| is_running);
        ReplayStanding {
            started: self.started.clone(),
            replay: Arc::clone(&self.replay),
            state: self.state,
            sent: self.progress.sent.load(Ordering::Relaxed),
            total: Some(self.progress.total.load(Ordering::Relaxed)).filter(|total| *total > 0),
            waits_for,
        }
    }
}

impl Inner {
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<Revision, Job>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: &Arc<Self>, name: Revision, job: &Job) -> JoinHandle<()> {
        let (inner, replay, progress, work) =
            (Arc::downgrade(self), Arc::clone(&job.replay), Arc::clone(&job.progress), job.work.subscribe());
        let running = replay_run::run(self.tools.clone(), replay, name, progress, work);
        tokio::spawn(async move {
            tokio::pin!(running);
            let ended = loop {
                tokio::select! {
                    ended = &mut running => break ended,
                    () = sleep(PIN_INTERVAL) => if let Some(inner) = inner.upgrade() { inner.pin() },
                }
            };
            let Some(inner) = inner.upgrade() else { return };
            match ended {
                Ok(Ended::Stopped) => {}
                Ok(Ended::Through) => inner.end(name).await,
                Err(error) => {
                    tracing::error!(event = "replay_failed", replay = name.0, %error, "a replay cannot go on; the next start tries again");
                    if let Some(job) = inner.jobs().get(&name) {
                        job.progress.wait(Some(format!("the journal could not be read: {error}. The next start tries again")));
                    }
                }
            }
        })
    }

    /// A replay is through: that is kept, so that no start begins it again.
    async fn end(&self, name: Revision) {
        if let Err(error) = self.switchboard.record(Deed::ReplayStep(name, Step::End), Author::Sidecar, None).await {
            tracing::warn!(replay = name.0, %error, "the end of a replay could not be kept; the next start finds it out again");
        }
        if let Some(job) = self.jobs().get_mut(&name) {
            job.step(Step::End);
        }
        self.pin();
    }

    /// Keeps the volumes that replays have still to read.
    fn pin(&self) {
        let is_alive = |job: &&Job| matches!(job.state, ReplayState::Running | ReplayState::Paused);
        let first = self.jobs().values().filter(is_alive).map(|job| job.progress.volume.load(Ordering::Relaxed)).min();
        self.tools.journal.pin(first);
    }
}
