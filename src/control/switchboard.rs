//! The one place where routes change.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use super::{Asked, Audit, FlipError, Flipped, Reconfigured, SourceStanding, Standing, Undoing};
use crate::{
    clock::Clock,
    delivery::LaneControl,
    journal::{ChangeError, Journal},
    model::{Destination, PerDestination, Percent, RateLimit, Revision, SourceId},
    routing::{Author, Change, Deed, History, Route, Source, Sources, Stage},
};

/// Changes routes and the kill switch, one change at a time. Clones share it.
#[derive(Debug, Clone)]
pub struct Switchboard {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    /// As the configuration has them.
    configured: RwLock<Arc<Vec<Source>>>,
    data_plane: DataPlane,
    /// What is in force.
    sources: Arc<ArcSwap<Sources>>,
    history: RwLock<History>,
    /// A kill switch that was turned on and could not be kept: it is in force all the same. None: there is none.
    unkept: RwLock<Option<Change>>,
    /// Held from a look at how things stand until the change is in force.
    pub(super) turn: Mutex<()>,
    pub(super) journal: Journal,
    pub(super) lanes: LaneControl,
    /// The limits of both destinations in the configuration.
    pub(super) configured_limits: PerDestination<RateLimit>,
    pub(super) clock: Clock,
}

/// Whether there is an upstream for RudderStack's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DataPlane {
    Known,
    Unknown,
}

impl Switchboard {
    /// Puts in force what the history says, on top of the configuration. `sources` is what requests are decided by.
    #[must_use]
    pub fn start(sources: Arc<ArcSwap<Sources>>, has_data_plane: bool, journal: Journal, lanes: LaneControl, clock: Clock) -> Self {
        let history = History::read(&journal.lines());
        for line in history.broken() {
            tracing::error!(
                event = "history_broken",
                line,
                "a line of changes.log was changed, or one before it is gone: see segue audit verify"
            );
        }
        let configured = sources.load().list().iter().map(|source| Source::clone(source)).collect();
        let configured = RwLock::new(Arc::new(configured));
        let data_plane = if has_data_plane { DataPlane::Known } else { DataPlane::Unknown };
        let (turn, unkept, history) = (Mutex::default(), RwLock::default(), RwLock::new(history));
        let configured_limits = PerDestination::from_fn(|destination| lanes.limit_of(destination));
        let inner = Inner { configured, data_plane, sources, history, unkept, turn, journal, lanes, configured_limits, clock };
        let switchboard = Self { inner: Arc::new(inner) };
        let revision = switchboard.inner.history().revision().max(switchboard.inner.journal.revision());
        switchboard.inner.put_in_force(revision);
        switchboard
    }

    /// How everything stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let history = self.inner.history();
        Standing {
            revision: self.inner.sources.load().revision(),
            killed: self.inner.killed(&history),
            sources: self.inner.configured().iter().map(|source| stands(&history, source)).collect(),
        }
    }

    /// The newest changes, newest first, at most `count`.
    #[must_use]
    pub fn changes(&self, count: usize) -> Vec<Change> {
        self.inner.history().changes().iter().rev().take(count).cloned().collect()
    }

    /// Whether the lines of the history, as the start found them and as they were added since, hold together.
    #[must_use]
    pub fn audit(&self) -> Audit {
        let history = self.inner.history();
        Audit { lines: history.lines(), broken: history.broken().to_vec(), seal: history.seal().clone() }
    }

    /// What a change would do; nothing is changed.
    ///
    /// # Errors
    /// As [`Switchboard::flip`].
    pub fn plan(&self, asked: &Asked) -> Result<Flipped, FlipError> {
        let (before, route) = self.inner.weigh(asked)?;
        Ok(Flipped { after: SourceStanding { route, ..before.clone() }, before })
    }

    /// Changes a source's route: durable, and in force for every request that begins later, when it returns. A source that has the
    /// route already is left as it is.
    ///
    /// # Errors
    /// When it is refused or not durable: then the old route is in force. What was not durable may turn up at the next start.
    pub async fn flip(&self, asked: Asked) -> Result<Flipped, FlipError> {
        // On a task of its own: whoever asks may go away in the middle, and a change is made whole.
        let inner = Arc::clone(&self.inner);
        whole(async move {
            let _turn = inner.turn.lock().await;
            let (before, route) = inner.weigh(&asked)?;
            let after = inner.change_route(&before, route, asked.by, asked.reason, None).await?;
            Ok(Flipped { before, after })
        })
        .await
    }

    /// Takes changes back: each undoing is a change of its own, with a revision of its own.
    ///
    /// # Errors
    /// When there is nothing to take back, or it is not durable. Of several changes those before are in force then.
    pub async fn undo(&self, undoing: Undoing, by: Author, reason: Option<String>) -> Result<Vec<Flipped>, FlipError> {
        let inner = Arc::clone(&self.inner);
        whole(async move {
            let _turn = inner.turn.lock().await;
            let mut flipped = Vec::new();
            for (before, route, undoes) in inner.undone(&undoing)? {
                let after = inner.change_route(&before, route, by, reason.clone(), undoes).await?;
                flipped.push(Flipped { before, after });
            }
            Ok(flipped)
        })
        .await
    }

    /// Puts other sources in force, as the configuration has them now: what came, went or changed, and the revision. Routes that were
    /// changed while the sidecar ran stay as they are. Of sources that are the same nothing is touched, and no revision is made.
    ///
    /// # Errors
    /// When they contradict each other, need a data plane that the sidecar was not started with, or it is not durable: then nothing
    /// changed.
    pub async fn reconfigure(&self, sources: Vec<Source>, by: Author) -> Result<Reconfigured, FlipError> {
        let inner = Arc::clone(&self.inner);
        whole(async move {
            let _turn = inner.turn.lock().await;
            inner.check_all(&sources)?;
            let before = inner.configured();
            let changed = differing(&before, &sources);
            // Another order alone is no change of any source.
            if changed.is_empty() {
                return Ok(Reconfigured { changed, revision: inner.sources.load().revision(), moved: Vec::new() });
            }
            let deed = Deed::Reload { sources: changed.clone() };
            let moved = inner.moved(&before, &sources);
            let (revision, at) = (inner.next_revision(), inner.clock.now());
            *inner.configured.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(sources);
            let kept = inner.keep(Change { revision, at, by, deed, reason: None, undoes: None }).await;
            if kept.is_err() {
                *inner.configured.write().unwrap_or_else(PoisonError::into_inner) = before;
            }
            kept.map(|()| Reconfigured { changed, revision, moved })
        })
        .await
    }

    /// Keeps what is done elsewhere, in its turn: the change that it is. Durable when it returns.
    ///
    /// # Errors
    /// When it is not durable.
    pub async fn record(&self, deed: Deed, by: Author, reason: Option<String>) -> Result<Change, FlipError> {
        let inner = Arc::clone(&self.inner);
        whole(async move {
            let _turn = inner.turn.lock().await;
            let change = Change { revision: inner.next_revision(), at: inner.clock.now(), by, deed, reason, undoes: None };
            inner.keep(change.clone()).await?;
            Ok(change)
        })
        .await
    }

    /// What [`Switchboard::reconfigure`] would do; nothing is changed.
    ///
    /// # Errors
    /// As that.
    pub fn plan_reconfigure(&self, sources: &[Source]) -> Result<Reconfigured, FlipError> {
        self.inner.check_all(sources)?;
        let before = self.inner.configured();
        let (changed, moved) = (differing(&before, sources), self.inner.moved(&before, sources));
        Ok(Reconfigured { changed, revision: self.inner.sources.load().revision(), moved })
    }

    /// What an undo would do; nothing is changed.
    ///
    /// # Errors
    /// As [`Switchboard::undo`].
    pub fn plan_undo(&self, undoing: &Undoing) -> Result<Vec<Flipped>, FlipError> {
        let undone = self.inner.undone(undoing)?;
        Ok(undone.into_iter().map(|(before, route, _)| Flipped { after: SourceStanding { route, ..before.clone() }, before }).collect())
    }

    /// Turns the kill switch on: everything to Segment, queues to RudderStack held. Or off: the routes are back, the queues go on.
    /// False: it stood so already. Turned on, it is in force before it is durable, and also when it cannot be made so.
    ///
    /// # Errors
    /// When it is not durable: on, it is in force until the next start; off, it stays on.
    pub async fn kill(&self, kill: Kill, by: Author, reason: Option<String>) -> Result<bool, FlipError> {
        let inner = Arc::clone(&self.inner);
        whole(async move {
            let _turn = inner.turn.lock().await;
            let is_kept = inner.history().killed().is_some() == (kill == Kill::On);
            let unkept = inner.unkept().is_some();
            if is_kept && !unkept {
                return Ok(false);
            }
            let (revision, at) = (inner.next_revision(), inner.clock.now());
            let deed = if kill == Kill::On { Deed::KillOn } else { Deed::KillOff };
            let change = Change { revision, at, by, deed, reason, undoes: None };
            if kill == Kill::On {
                // Whoever reaches for it cannot wait for a disk.
                inner.set_unkept(Some(change.clone()));
                inner.put_in_force(revision);
            }
            if !is_kept {
                inner.keep(change).await?;
            }
            inner.set_unkept(None);
            inner.put_in_force(revision);
            Ok(true)
        })
        .await
    }
}

/// Whether everything goes to Segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kill {
    /// It does.
    On,
    /// Routes decide.
    Off,
}

/// Runs to its end, whoever waits for it.
pub(super) async fn whole<T: Send + 'static, E: From<FlipError> + Send + 'static>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(FlipError::Journal(ChangeError::Closed).into()))
}

fn differing(before: &[Source], after: &[Source]) -> Vec<SourceId> {
    let is_in = |source: &&Source, others: &[Source]| others.contains(source);
    let gone_or_changed = before.iter().filter(|source| !is_in(source, after));
    let came_or_changed = after.iter().filter(|source| !is_in(source, before));
    let mut ids: Vec<SourceId> = gone_or_changed.chain(came_or_changed).map(|source| source.id.clone()).collect();
    ids.sort();
    ids.dedup();
    ids
}

pub(super) fn find<'a>(configured: &'a [Source], id: &SourceId) -> Result<&'a Source, FlipError> {
    configured.iter().find(|source| source.id == *id).ok_or_else(|| FlipError::UnknownSource(id.clone()))
}

pub(super) fn stands(history: &History, source: &Source) -> SourceStanding {
    let (flipped, route) = history.route(&source.id).unwrap_or((Revision::default(), source.route));
    let retired_at = history.retired(&source.id);
    let is_retired = retired_at.is_some();
    SourceStanding {
        id: source.id.clone(),
        name: source.name.clone(),
        revision: flipped.max(history.reloaded(&source.id)),
        route: if is_retired { Stage::RudderStackOnly.into() } else { route },
        configured: source.route,
        rules: if is_retired { Vec::new() } else { source.rules.clone() },
        retired_at,
    }
}

impl Inner {
    pub(super) fn history(&self) -> RwLockReadGuard<'_, History> {
        self.history.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn unkept(&self) -> Option<Change> {
        self.unkept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_unkept(&self, change: Option<Change>) {
        *self.unkept.write().unwrap_or_else(PoisonError::into_inner) = change;
    }

    /// What turned the kill switch on, kept or not; None: it is off.
    pub(super) fn killed(&self, history: &History) -> Option<Change> {
        history.killed().cloned().or_else(|| self.unkept())
    }

    pub(super) fn next_revision(&self) -> Revision {
        Revision(self.history().revision().max(self.journal.revision()).max(self.sources.load().revision()).0 + 1)
    }

    pub(super) fn configured(&self) -> Arc<Vec<Source>> {
        Arc::clone(&self.configured.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How the source stands, and the route it would get.
    pub(super) fn weigh(&self, asked: &Asked) -> Result<(SourceStanding, Route), FlipError> {
        let configured = self.configured();
        let source = find(&configured, &asked.source)?;
        let history = self.history();
        let current = stands(&history, source);
        if let Some(revision) = asked.based_on.filter(|revision| *revision != current.revision) {
            let change = history.change(current.revision).cloned().map(Box::new);
            return Err(FlipError::Conflict { name: current.name.clone(), asked: revision, current: Box::new(current), change });
        }
        let route = asked.route.verifying(asked.verify.unwrap_or_else(|| current.route.verify()));
        if current.retired_at.is_some() && route != current.route {
            return Err(FlipError::Retired(current.name));
        }
        self.check(source, route)?;
        Ok((current, route))
    }

    fn check_all(&self, sources: &[Source]) -> Result<(), FlipError> {
        Sources::new(Revision::default(), sources.to_vec())?;
        let history = self.history();
        sources.iter().filter(|source| history.retired(&source.id).is_some()).try_for_each(|source| self.check_rudderstack(source))?;
        sources.iter().try_for_each(|source| source.routes().try_for_each(|route| self.check(source, route)))
    }

    fn check(&self, source: &Source, route: Route) -> Result<(), FlipError> {
        if route.rudderstack() == Percent::ZERO { Ok(()) } else { self.check_rudderstack(source) }
    }

    /// Whether RudderStack can have a source's events.
    pub(super) fn check_rudderstack(&self, source: &Source) -> Result<(), FlipError> {
        if source.rudderstack_key.is_none() {
            return Err(FlipError::NoRudderKey(source.name.clone()));
        }
        if self.data_plane == DataPlane::Unknown {
            return Err(FlipError::NoRudderUrl);
        }
        Ok(())
    }

    /// Which sources get which routes back, and which change of theirs that undoes.
    fn undone(&self, undoing: &Undoing) -> Result<Vec<(SourceStanding, Route, Option<Revision>)>, FlipError> {
        let history = self.history();
        let configured = self.configured();
        let back = match undoing {
            Undoing::To(revision) => {
                if *revision > self.sources.load().revision() {
                    return Err(FlipError::NoRevision(*revision));
                }
                let then = |source: &Source| {
                    let now = stands(&history, source);
                    let route = history.route_at(&source.id, *revision).unwrap_or(source.route);
                    (now.route != route).then_some((now, route, None))
                };
                configured.iter().filter_map(then).collect()
            }
            Undoing::Newest | Undoing::Of(_) => {
                let only = if let Undoing::Of(id) = undoing { Some(&find(&configured, id)?.id) } else { None };
                let newest = history.changes().iter().rev().find_map(|change| match &change.deed {
                    Deed::Route { source, from, .. } if only.is_none_or(|only| only == source) => Some((change.revision, source, *from)),
                    _ => None,
                });
                newest
                    .map(|(revision, id, from)| Ok((stands(&history, find(&configured, id)?), from, Some(revision))))
                    .into_iter()
                    .collect::<Result<Vec<_>, FlipError>>()?
            }
        };
        if back.is_empty() {
            return Err(FlipError::NothingToUndo);
        }
        for (standing, route, _) in &back {
            if standing.retired_at.is_some() {
                return Err(FlipError::Retired(standing.name.clone()));
            }
            self.check(find(&configured, &standing.id)?, *route)?;
        }
        Ok(back)
    }

    pub(super) async fn change_route(
        &self,
        before: &SourceStanding,
        to: Route,
        by: Author,
        reason: Option<String>,
        undoes: Option<Revision>,
    ) -> Result<SourceStanding, FlipError> {
        if to == before.route {
            return Ok(before.clone());
        }
        let deed = Deed::Route { source: before.id.clone(), from: before.route, to };
        let revision = self.next_revision();
        self.keep(Change { revision, at: self.clock.now(), by, deed, reason, undoes }).await?;
        Ok(SourceStanding { revision, route: to, ..before.clone() })
    }

    /// Makes a change durable, then puts it in force.
    pub(super) async fn keep(&self, change: Change) -> Result<(), FlipError> {
        let line = self.history().line(&change);
        self.journal.keep_line(line).await?;
        tracing::info!(event = "routes_changed", revision = change.revision.0, change = change.to_json(), "routes changed");
        let revision = change.revision;
        self.history.write().unwrap_or_else(PoisonError::into_inner).push(change);
        self.put_in_force(revision);
        Ok(())
    }

    /// A flip has an exact place (design.md section 2, promise 3): requests that begin from here on are decided by the new routes, and
    /// what was decided before and is not in the log yet is decided again.
    fn put_in_force(&self, revision: Revision) {
        let history = self.history();
        let killed = self.killed(&history).map(|change| change.at);
        let routed = |source: &Source| {
            let SourceStanding { route, rules, retired_at, .. } = stands(&history, source);
            let is_retired = retired_at.is_some();
            // There is no Segment to send a retired source's events to: they wait, as all that waits for RudderStack does.
            if killed.is_some() && !is_retired {
                return Source { route: Stage::SegmentOnly.into(), rules: Vec::new(), ..source.clone() };
            }
            Source { route, rules, is_retired, ..source.clone() }
        };
        // The configuration's sources were put together once, and routes have no part in their conflicts.
        if let Ok(sources) = Sources::new(revision, self.configured().iter().map(routed)) {
            self.sources.store(Arc::new(sources));
        }
        self.journal.raise_revision(revision);
        self.lanes.kill(killed);
        for destination in Destination::ALL {
            let limit = self.limit(&history, None, destination).limit;
            if self.lanes.limit_of(destination) != limit {
                self.lanes.limit(None, destination, limit);
            }
        }
        for source in self.configured().iter() {
            for to in Destination::ALL {
                self.lanes.limit(Some(&source.id), to, self.limit(&history, Some(source), to).limit);
            }
        }
    }
}
