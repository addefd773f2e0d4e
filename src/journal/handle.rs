//! The handle that the rest of segue holds.

use std::{
    io,
    sync::{Arc, Mutex, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    AppendError, ChangeError, Disk, Faults, Health, Lane, LaneId, Ledger, Moved, OpenError, Pick, Position, QuarantineId, QuarantineRow,
    Quarantined, Record, RecoveryReport, Settings, SpillQuota, Spilled, Usage,
    alarm::Woken,
    commit::Committer,
    format::record_bytes,
    keeper, marks,
    outlook::hours_left,
    quarantine::Decision,
    queue::{Pending, QUEUE_KIB_MAX},
    recovery::{Recovered, recover},
    saver::Saver,
    shared::{Shared, SyncObserver, Tuning},
    stock::lock,
};
use crate::model::{Destination, Revision, WallTime};

/// How long a record waits for its turn when the disk is slow; SDKs give up after ten seconds or more.
const APPEND_WAIT_MAX: Duration = Duration::from_secs(4);
/// How often it is looked at what waits.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The durable log. Clones share it.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
}

/// The journal's threads; none once they have ended.
#[derive(Debug, Default)]
pub(super) struct Threads {
    commit: Option<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

/// An opened journal, and what opening found.
#[derive(Debug)]
pub struct Opened {
    /// The journal.
    pub journal: Journal,
    /// What was found.
    pub report: RecoveryReport,
}

impl Journal {
    /// Opens the journal in that directory, making it when there is none. Blocks while it reads the newest volume.
    ///
    /// # Errors
    /// When the format is newer than this segue, the settings contradict each other, or the disk refuses.
    pub fn open(disk: Arc<dyn Disk>, settings: &Settings) -> Result<Opened, OpenError> {
        let Recovered { shared, cursor, report } = recover(disk, settings, Tuning::default())?;
        let mut saver = Saver::new(Arc::clone(&shared), cursor);
        if let Err(error) = saver.step() {
            tracing::error!(%error, "cursors cannot be saved yet");
        }
        let committer = Committer::new(Arc::clone(&shared));
        let keeping = Arc::clone(&shared);
        let commit = spawn("journal-commit", move || committer.run())?;
        let watching = Arc::clone(&shared);
        let others = vec![
            spawn("journal-cursor", move || saver.run())?,
            spawn("journal-keeper", move || keeper::run(&keeping))?,
            spawn("journal-watch", move || watch(&watching))?,
        ];
        Ok(Opened { journal: Self::of(shared, Threads { commit: Some(commit), others }), report })
    }

    pub(super) fn of(shared: Arc<Shared>, threads: Threads) -> Self {
        Self { inner: Arc::new(Inner { shared, threads: Mutex::new(threads) }) }
    }

    /// Keeps a record, and returns only when it is on disk: its bytes and its file's name. Dropping the future does not
    /// take the record back. On a slow disk a record waits at most five seconds for its turn, besides the sync that it is
    /// part of.
    ///
    /// # Errors
    /// When the record was not kept; see [`AppendError`].
    pub async fn append(&self, record: Record) -> Result<Position, AppendError> {
        let shared = &self.inner.shared;
        check_quota(shared, &record)?;
        let bytes = record_bytes(&record.source, record.payload.len());
        let bytes_max = self.record_bytes_max();
        if bytes > bytes_max {
            return Err(AppendError::TooLarge { bytes, bytes_max });
        }
        let room_kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let Ok(room) = shared.queue.room.acquire_many(room_kib).await else { return Err(AppendError::Closed) };
        let (answer, answered) = oneshot::channel();
        shared.queue.push(Pending { record, answer, room_kib, since: Instant::now() })?;
        // The commit thread gives the room back.
        room.forget();
        answered.await.unwrap_or(Err(AppendError::Closed))
    }

    /// The largest record that can be appended, its source's name and 48 bytes included.
    #[must_use]
    pub fn record_bytes_max(&self) -> u64 {
        (self.inner.shared.settings.volume_size.0 / 2).min(QUEUE_KIB_MAX as u64 * 1024)
    }

    /// Makes later appends under a lower revision [`AppendError::Stale`].
    pub fn raise_revision(&self, revision: Revision) {
        self.inner.shared.revision.fetch_max(revision.0, Ordering::AcqRel);
        self.inner.shared.saver.ring();
    }

    /// The newest revision that was raised or appended, restarts included. Routes that start below it cannot append.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.inner.shared.revision()
    }

    /// The consumer of a lane. There is one per lane: taking it again starts at the oldest record that is not complete,
    /// and the older handle gets nothing more.
    #[must_use]
    pub fn lane(&self, id: &LaneId) -> Lane {
        let shared = Arc::clone(&self.inner.shared);
        let stock = shared.stock(&id.source);
        Lane::attach(shared, stock, id.destination)
    }

    /// Every lane that ever had an event planned, with what became of them. Lanes of sources that are no longer configured
    /// are among them: they keep their records.
    #[must_use]
    pub fn ledger(&self) -> Vec<(LaneId, Ledger)> {
        ledger(&self.inner.shared)
    }

    /// What a lane has in quarantine, oldest first.
    ///
    /// # Errors
    /// When the quarantine cannot be read.
    pub async fn quarantined(&self, id: &LaneId) -> io::Result<Vec<Quarantined>> {
        let (shared, id) = (Arc::clone(&self.inner.shared), id.clone());
        self.inner.shared.beside(move || shared.quarantine.list(&shared, &id)).await.map_err(io::Error::other)?
    }

    /// What is in quarantine and fits, behind the entry `after`, at most `count`. Events whose record is still pending are not
    /// among them: nothing can be decided about them.
    #[must_use]
    pub fn quarantine(&self, pick: &Pick, after: QuarantineId, count: usize) -> Vec<QuarantineRow> {
        self.inner.shared.quarantine.page(pick, after, count)
    }

    /// How many events of a lane ever went to quarantine; those that were sent again or given up since are among them.
    #[must_use]
    pub fn quarantined_ever(&self, id: &LaneId) -> u64 {
        let stock = self.inner.shared.stock(&id.source);
        lock(&stock.lanes.of(id.destination).state).totals.quarantined
    }

    /// How much of what is in quarantine fits.
    #[must_use]
    pub fn quarantine_count(&self, pick: &Pick) -> Moved {
        self.inner.shared.quarantine.count(pick)
    }

    /// One event in quarantine; None when there is none of that number, or the disk has damaged it.
    ///
    /// # Errors
    /// When the quarantine cannot be read.
    pub async fn quarantine_entry(&self, id: QuarantineId) -> io::Result<Option<Quarantined>> {
        let shared = Arc::clone(&self.inner.shared);
        self.inner.shared.beside(move || shared.quarantine.read(&shared, id)).await.map_err(io::Error::other)?
    }

    /// Has what fits sent again by its lane, after restarts too. Durable when it returns.
    ///
    /// # Errors
    /// When it is not durable.
    pub async fn redrive(&self, pick: Pick) -> Result<Moved, ChangeError> {
        let moved = self.decide(pick, Decision::Redrive).await?;
        self.inner.shared.ring_due();
        Ok(moved)
    }

    /// Gives up what fits: it is gone, and counts as purged. Durable when it returns.
    ///
    /// # Errors
    /// When it is not durable.
    pub async fn release(&self, pick: Pick) -> Result<Moved, ChangeError> {
        self.decide(pick, Decision::Release).await
    }

    async fn decide(&self, pick: Pick, decision: Decision) -> Result<Moved, ChangeError> {
        self.save_now().await?;
        let shared = Arc::clone(&self.inner.shared);
        let decided = self.inner.shared.beside(move || shared.quarantine.decide(&shared, &pick, decision)).await;
        Ok(decided.map_err(io::Error::other)??)
    }

    /// Notes, across restarts, since when an operator holds a lane; None: it is held no longer. Durable when it returns. The
    /// lane's consumer heeds it.
    ///
    /// # Errors
    /// When it is not durable; it is noted all the same.
    pub async fn hold(&self, id: &LaneId, since: Option<WallTime>) -> Result<(), ChangeError> {
        let stock = self.inner.shared.stock(&id.source);
        lock(&stock.lanes.of(id.destination).state).held_since = since;
        self.save_now().await
    }

    /// Keeps a line, which has no line end in it, behind those before it. Durable when it returns.
    ///
    /// # Errors
    /// When it is not durable. The next start may know it all the same.
    pub async fn keep_line(&self, line: String) -> Result<(), ChangeError> {
        if self.inner.shared.queue.is_closed() {
            return Err(ChangeError::Closed);
        }
        let shared = Arc::clone(&self.inner.shared);
        let kept = self.inner.shared.beside(move || shared.chronicle.append(shared.disk.as_ref(), &line)).await;
        Ok(kept.map_err(io::Error::other)??)
    }

    /// All lines that were kept, oldest first, each with its line end.
    #[must_use]
    pub fn lines(&self) -> Vec<u8> {
        self.inner.shared.chronicle.lines()
    }

    /// Since when an operator holds a lane; None: nobody does.
    #[must_use]
    pub fn held_since(&self, id: &LaneId) -> Option<WallTime> {
        let stock = self.inner.shared.stock(&id.source);
        lock(&stock.lanes.of(id.destination).state).held_since
    }

    /// Returns once the cursors, as they are now, are durable.
    pub(super) async fn save_now(&self) -> Result<(), ChangeError> {
        let shared = &self.inner.shared;
        let (waiter, saved) = oneshot::channel();
        lock(&shared.save_waiters).push(waiter);
        if shared.queue.is_closed() {
            return Err(ChangeError::Closed);
        }
        shared.saver.ring_urgently();
        match tokio::time::timeout(SAVE_PATIENCE, saved).await {
            Ok(Ok(saved)) => Ok(saved?),
            Ok(Err(_)) => Err(ChangeError::Closed),
            Err(_) => Err(ChangeError::Disk(io::Error::from(io::ErrorKind::TimedOut))),
        }
    }

    /// When the oldest record arrived that a lane has still to deliver; None: there is none.
    #[must_use]
    pub fn oldest_pending(&self, id: &LaneId) -> Option<WallTime> {
        let shared = &self.inner.shared;
        let due = shared.quarantine.accounts().get(id).map_or(0, |account| account.due_events);
        let (_, sums) = ledger(shared).into_iter().find(|(lane, _)| lane == id)?;
        if sums.pending > due { oldest_of(shared, id) } else { None }
    }

    /// Keeps so many of the newest marks that lanes leave ([`Lane::complete_leaving`]) from now on, as far as their share of the quota,
    /// a 64th, goes; 0: none.
    pub fn keep_marks(&self, count: u64) {
        self.inner.shared.marks.keep(count);
        self.inner.shared.saver.ring();
    }

    /// Tells the newest marks, newest first, of all lanes, at most as many as are kept; `visit` says whether it hears one for the
    /// first time. Marks of records that are handed out again are not told. What cannot be read is missing, and logged. Blocks.
    pub fn read_marks(&self, visit: impl FnMut(u128) -> bool) {
        let damaged = marks::read(&self.inner.shared, visit);
        if damaged > 0 {
            tracing::warn!(damaged, "part of what RudderStack was sent cannot be read back: resends of it may go there again");
        }
    }

    /// Does what blocks on a thread beside the runtime's.
    pub(crate) fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> tokio::task::JoinHandle<T> {
        self.inner.shared.beside(work)
    }

    /// Where the log ends.
    #[must_use]
    pub fn log_end(&self) -> Position {
        lock(&self.inner.shared.log).end()
    }

    /// Keeps volumes from that one on, though every lane has passed them, as long as nothing else needs their room; None: no longer.
    pub fn pin(&self, from: Option<u64>) {
        lock(&self.inner.shared.log).pinned_from = from;
    }

    /// How much disk is used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        usage(&self.inner.shared)
    }

    /// What lanes that lag far behind take of the disk, outside of the volumes. Lanes that take nothing are left out.
    #[must_use]
    pub fn spilled(&self) -> Vec<(LaneId, Spilled)> {
        let stocks = self.inner.shared.all_stocks();
        let lanes = stocks.iter().flat_map(|stock| Destination::ALL.map(|destination| (stock, destination)));
        let spilled = lanes.map(|(stock, destination)| {
            let core = stock.lanes.of(destination);
            let quota = if core.over_quota.load(Ordering::Relaxed) { SpillQuota::Over } else { SpillQuota::Within };
            let spilled = Spilled { bytes: core.spilled_bytes.load(Ordering::Relaxed), quota };
            (LaneId { source: stock.source.clone(), destination }, spilled)
        });
        spilled.filter(|(_, spilled)| spilled.bytes > 0).collect()
    }

    /// In how many hours the journal is full when nothing is delivered and events come as they came of late; None when there is
    /// too little to tell.
    #[must_use]
    pub fn hours_left(&self) -> Option<f64> {
        hours_left(&self.inner.shared)
    }

    /// Whether records can be appended.
    #[must_use]
    pub fn health(&self) -> Health {
        lock(&self.inner.shared.status).health
    }

    /// Has `observer` told how long each sync of a volume took. The first observer stays; it runs on the commit thread and
    /// must not block.
    pub fn observe_syncs(&self, observer: impl Fn(Duration) + Send + Sync + 'static) {
        let _ = self.inner.shared.sync_observer.set(SyncObserver(Box::new(observer)));
    }

    /// Writes what is queued, makes the cursors durable and ends the threads. Appends after it are [`AppendError::Closed`].
    pub async fn close(&self) {
        let inner = Arc::clone(&self.inner);
        let ended = tokio::task::spawn_blocking(move || inner.end()).await;
        if let Err(error) = ended {
            tracing::error!(%error, "the journal did not close well");
        }
    }
}

impl Inner {
    /// Ends the threads, writers first, so that the last save covers everything. Blocks.
    fn end(&self) {
        let mut threads = lock(&self.threads);
        self.shared.queue.close();
        if let Some(commit) = threads.commit.take() {
            join(commit);
        }
        self.shared.saver.close();
        self.shared.keeper.close();
        self.shared.watch.close();
        for thread in threads.others.drain(..) {
            join(thread);
        }
    }
}

impl Drop for Inner {
    /// Lets the threads end by themselves, after what is queued.
    fn drop(&mut self) {
        self.shared.queue.close();
        self.shared.saver.close();
        self.shared.keeper.close();
        self.shared.watch.close();
    }
}

/// Answers what waits too long for a slow disk, until the journal closes. It never touches the disk.
fn watch(shared: &Shared) {
    while shared.watch.wait(Some(WATCH_INTERVAL), Duration::ZERO) == Woken::Work {
        shared.queue.expire(APPEND_WAIT_MAX);
    }
}

/// Refuses what is for a lane over its quota of spilled records, as long as there is one.
fn check_quota(shared: &Shared, record: &Record) -> Result<(), AppendError> {
    if shared.lanes_over_quota.load(Ordering::Acquire) == 0 {
        return Ok(());
    }
    let stock = shared.stock(&record.source);
    let is_over = |to: &Destination| *record.planned.of(*to) > 0 && stock.lanes.of(*to).over_quota.load(Ordering::Relaxed);
    Destination::ALL.into_iter().find(is_over).map_or(Ok(()), |destination| Err(AppendError::OverQuota { destination }))
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the journal panicked");
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    started.map_err(|source| OpenError::Disk { doing: format!("cannot start the thread {name}"), source })
}

/// How long a change waits for the disk before it is said not to be durable.
const SAVE_PATIENCE: Duration = Duration::from_secs(10);

/// The ledger of all lanes.
pub(super) fn ledger(shared: &Shared) -> Vec<(LaneId, Ledger)> {
    let stocks = shared.all_stocks();
    // The ends first: what is planned afterwards is pending.
    let accounts = shared.quarantine.accounts();
    let mut ended = Vec::with_capacity(stocks.len() * 2);
    for stock in &stocks {
        for destination in Destination::ALL {
            ended.push((stock, destination, lock(&stock.lanes.of(destination).state).totals));
        }
    }
    let log = lock(&shared.log);
    let rows = ended.into_iter().filter_map(|(stock, destination, totals)| {
        let planned = *log.planned_of(stock.ordinal).of(destination);
        let id = LaneId { source: stock.source.clone(), destination };
        let account = accounts.get(&id).copied().unwrap_or_default();
        (planned > 0).then(|| (id, totals.ledger(planned, account)))
    });
    rows.collect()
}

/// How much disk is used.
fn usage(shared: &Shared) -> Usage {
    let oldest_pending = oldest_pending(shared);
    let log = lock(&shared.log);
    let newest = log.end().volume;
    let pinned = log.volumes.iter().filter(|(id, volume)| volume.passed_at.is_none() && **id != newest);
    Usage {
        bytes: log.volume_bytes() + log.other_bytes + shared.reserve.held_bytes(),
        capacity: shared.settings.size_max.0,
        pinned_bytes: pinned.map(|(_, volume)| volume.size).sum(),
        volumes: log.volumes.len() as u64,
        spill_bytes: log.volumes.values().filter(|volume| volume.spill.is_some()).map(|volume| volume.size).sum(),
        oldest_pending,
        memory_bytes: shared.memory_bytes.load(Ordering::Relaxed) as u64,
        faults: Faults {
            marks: shared.marks.failures.load(Ordering::Relaxed),
            marks_lost: shared.marks.lost.load(Ordering::Relaxed),
            ..shared.counts.faults()
        },
    }
}

fn oldest_pending(shared: &Shared) -> Option<WallTime> {
    let due = shared.quarantine.accounts();
    let in_log = |(id, ledger): &(LaneId, Ledger)| ledger.pending > due.get(id).map_or(0, |account| account.due_events);
    ledger(shared).into_iter().filter(in_log).filter_map(|(id, _)| oldest_of(shared, &id)).min()
}

/// When the oldest record arrived that the lane has not completed, as near as memory tells.
fn oldest_of(shared: &Shared, id: &LaneId) -> Option<WallTime> {
    let stock = shared.stock(&id.source);
    let state = lock(&stock.lanes.of(id.destination).state);
    let (handed_out, reader) = (state.oldest_handed_out(), state.reader);
    drop(state);
    handed_out.or_else(|| lock(&stock.tail).oldest_after(id.destination, reader)).or_else(|| {
        let log = lock(&shared.log);
        let holder = log.holding(reader.volume).map(|(_, volume)| volume);
        holder.or_else(|| log.volumes.range(reader.volume..).next().map(|(_, volume)| volume)).map(|volume| volume.opened_at)
    })
}
