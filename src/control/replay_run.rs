//! One replay on its way: what it repeats is journalled anew, for one destination, at its pace, and goes the way of all events from there.
//!
//! So order, retries, quarantine and the ledger are as for any event, and a restart finds in the journal how far it had come. What comes
//! live goes first: a replay waits while its lane is behind or stands, and while the journal is short of room.

use std::{io, num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Switchboard,
    replay_scan::{self, Parcel},
    replays::{Progress, Work},
};
use crate::{
    clock::Clock,
    delivery::{LaneControl, LaneState},
    journal::{AppendError, Health, Journal, LaneId, Record},
    model::{Envelope, Origin, PerDestination, Plan, Repeated, Revision, Selection},
    policy::Pacer,
    routing::{Replay, Rule, Sources},
};

/// Envelopes that are read ahead.
const AHEAD_MAX: usize = 16;
/// How often it is looked at whether something stands in its way.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long it waits before it looks again at what stands in its way.
const WAIT: Duration = Duration::from_millis(200);
/// A lane is behind when more waits for it than this, and than it takes in two seconds of the replay.
const BEHIND_MIN: u64 = 500;

/// What a replay needs of the sidecar.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    /// The data directory.
    pub(super) dir: PathBuf,
    pub(super) journal: Journal,
    pub(super) lanes: LaneControl,
    pub(super) sources: Arc<ArcSwap<Sources>>,
    pub(super) switchboard: Switchboard,
    pub(super) clock: Clock,
}

impl Tools {
    /// The rules of a replay's source, as they are now; none of a source that is not configured.
    pub(super) fn rules(&self, replay: &Replay) -> Vec<Rule> {
        // Those in force are none while the kill switch is on.
        let standing = self.switchboard.standing();
        standing.sources.into_iter().find(|source| source.id == replay.source).map(|source| source.rules).unwrap_or_default()
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It is through.
    Through,
    /// Somebody ended it, or the sidecar stops.
    Stopped,
}

/// Runs a replay from where the journal says that it had come.
pub(super) async fn run(
    tools: Tools,
    replay: Arc<Replay>,
    job: Revision,
    progress: Arc<Progress>,
    mut work: watch::Receiver<Work>,
) -> io::Result<Ended> {
    let found = {
        let (dir, replay, rules) = (tools.dir.clone(), Arc::clone(&replay), tools.rules(&replay));
        tokio::task::spawn_blocking(move || replay_scan::count(&dir, &replay, &rules, Some(job))).await.map_err(io::Error::other)??
    };
    progress.found(&found);
    let (sender, mut parcels) = mpsc::channel(AHEAD_MAX);
    let reading = {
        let (dir, replay, rules) = (tools.dir.clone(), Arc::clone(&replay), tools.rules(&replay));
        // It ends with the receiver: whoever stops the replay drops it.
        tokio::task::spawn_blocking(move || {
            replay_scan::read(&dir, &replay, &rules, found.reached, |parcel| sender.blocking_send(parcel).map_err(io::Error::other))
        })
    };
    let mut run =
        Run { pacer: Pacer::new(NonZeroU32::new(replay.rate).unwrap_or(NonZeroU32::MIN)), tools, replay, job, progress, looked_at: None };
    while let Some(parcel) = parcels.recv().await {
        if run.send(parcel, &mut work).await == Ended::Stopped {
            return Ok(Ended::Stopped);
        }
    }
    reading.await.map_err(io::Error::other)??;
    Ok(Ended::Through)
}

struct Run {
    tools: Tools,
    replay: Arc<Replay>,
    job: Revision,
    progress: Arc<Progress>,
    pacer: Pacer,
    looked_at: Option<Instant>,
}

impl Run {
    /// Journals one envelope again, when its turn comes.
    async fn send(&mut self, parcel: Parcel, work: &mut watch::Receiver<Work>) -> Ended {
        self.progress.reads(parcel.position.volume);
        loop {
            if self.may_go(work).await == Ended::Stopped {
                return Ended::Stopped;
            }
            let go = Instant::from_std(self.pacer.book(parcel.events, Instant::now().into_std()));
            sleep_until(go).await;
            match self.tools.journal.append(self.record(&parcel)).await {
                Ok(_) => break,
                Err(AppendError::Stale { .. }) => {}
                Err(AppendError::Closed) => return Ended::Stopped,
                Err(error) => {
                    self.progress.wait(Some(format!("the journal takes nothing of it: {error}")));
                    self.looked_at = None;
                    sleep(WAIT).await;
                }
            }
        }
        self.progress.sent(parcel.events);
        Ended::Through
    }

    /// Waits until nothing stands in its way.
    async fn may_go(&mut self, work: &mut watch::Receiver<Work>) -> Ended {
        loop {
            match *work.borrow_and_update() {
                Work::Stop => return Ended::Stopped,
                Work::Go if self.looked_at.is_some_and(|at| at.elapsed() < LOOK_INTERVAL) => return Ended::Through,
                Work::Go => match self.obstacle() {
                    None => {
                        self.progress.wait(None);
                        self.looked_at = Some(Instant::now());
                        return Ended::Through;
                    }
                    waits => self.progress.wait(waits),
                },
                Work::Pause => self.progress.wait(None),
            }
            tokio::select! {
                () = sleep(WAIT) => {}
                changed = work.changed() => if changed.is_err() { return Ended::Stopped },
            }
        }
    }

    /// What stands in its way; None: nothing does.
    fn obstacle(&self) -> Option<String> {
        let Replay { source, destination, rate, .. } = &*self.replay;
        let lane = LaneId { source: source.clone(), destination: *destination };
        let Some(status) = self.tools.lanes.lane(&lane).filter(|_| self.tools.sources.load().by_id(source).is_some()) else {
            return Some("its source is not configured".to_owned());
        };
        match status.state {
            LaneState::Idle | LaneState::Delivering => {}
            state => return Some(format!("its lane is {}", state.label())),
        }
        match self.tools.journal.health() {
            Health::Writable => {}
            Health::Full => return Some("the journal is full".to_owned()),
            Health::Broken => return Some("the journal cannot write".to_owned()),
        }
        let usage = self.tools.journal.usage();
        if usage.pinned_bytes > usage.capacity / 2 {
            return Some("the journal is short of room".to_owned());
        }
        let pending = self.tools.journal.ledger().into_iter().find(|(id, _)| *id == lane).map_or(0, |(_, ledger)| ledger.pending);
        let behind = pending > BEHIND_MIN.max(u64::from(*rate) * 2);
        behind.then(|| format!("{pending} events wait for {} already", destination.label()))
    }

    fn record(&self, parcel: &Parcel) -> Record {
        let Replay { source, destination, .. } = &*self.replay;
        let (revision, destination) = (self.tools.journal.revision(), *destination);
        let events = PerDestination::from_fn(|to| if to == destination { parcel.selection.clone() } else { Selection::None });
        let origin = Origin::Replay(Repeated { job: self.job, volume: parcel.position.volume, offset: parcel.position.offset });
        let envelope = Envelope { plan: Plan { revision, events }, origin, ..parcel.envelope.clone() };
        Record {
            source: source.clone(),
            revision,
            planned: PerDestination::from_fn(|to| if to == destination { parcel.events } else { 0 }),
            // When the copy came: the event's own time of arrival is in its envelope.
            received_at: self.tools.clock.now(),
            payload: envelope.encode(),
        }
    }
}
