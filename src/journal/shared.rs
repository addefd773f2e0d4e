//! What the journal's threads and lanes share.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{task::JoinHandle, time::Instant};

use super::{
    Disk, Settings,
    alarm::Alarm,
    chronicle::Chronicle,
    format::{Epoch, FileKind, Seal},
    marks::Marks,
    names,
    preparation::{ALLOCATION_GROUP_BYTES, Filling},
    quarantine::Quarantine,
    queue::Queue,
    reserve::Reserve,
    spill::Spill,
    stock::{Stock, lock},
    words::{Faults, Health, Position},
};
use crate::model::{PerDestination, Revision, SourceId, WallTime};

/// Everything shared.
#[derive(Debug)]
pub(super) struct Shared {
    pub disk: Arc<dyn Disk>,
    pub settings: Settings,
    pub epoch: Epoch,
    pub queue: Queue,
    pub log: Mutex<Log>,
    pub stocks: RwLock<Stocks>,
    pub quarantine: Quarantine,
    pub chronicle: Chronicle,
    pub marks: Marks,
    /// The newest revision raised or appended.
    pub revision: AtomicU64,
    pub memory_bytes: AtomicUsize,
    pub counts: Counts,
    pub status: Mutex<Status>,
    pub saver: Alarm,
    pub keeper: Alarm,
    pub watch: Alarm,
    /// Set when the directory says that it may hold spills.
    pub spills_allowed: AtomicBool,
    /// How many lanes are over their quota of spilled records.
    pub lanes_over_quota: AtomicUsize,
    /// Space for a full disk.
    pub reserve: Reserve,
    /// Who waits for the next save.
    pub save_waiters: Mutex<Vec<SaveWaiter>>,
    /// One at a time makes room for a new volume.
    pub preparing: Mutex<()>,
    pub sync_observer: OnceLock<SyncObserver>,
    pub tuning: Tuning,
}

/// Hears how the next save went.
pub(super) type SaveWaiter = tokio::sync::oneshot::Sender<io::Result<()>>;

/// What only tests turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// How many completed events of a lane may be not durable.
    pub unsaved_events_max: u64,
    /// How long a broken journal refuses before it tries the disk again.
    pub broken_pause: Duration,
    /// How long a full journal refuses before it looks for room again.
    pub full_pause: Duration,
    /// How long a group waits for room before the journal is full.
    pub room_patience: Duration,
    /// From which mean size of a group on new volumes are allocated only.
    pub allocation_group_bytes: u64,
    /// From which use on, in sixteenths of the volumes' quota, lanes that lag are spilled.
    pub spill_above: u64,
    /// How long a volume that was not worth spilling is left alone at first.
    pub spill_pause_first: Duration,
    /// How long at most.
    pub spill_pause: Duration,
    /// The size of a file of marks; None: it follows from the quota.
    pub marks_file_bytes: Option<u64>,
    #[cfg(test)]
    pub sabotage: super::sabotage::Sabotage,
    #[cfg(test)]
    pub beside: super::stepped::Beside,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            unsaved_events_max: super::UNSAVED_COMPLETIONS_MAX,
            broken_pause: BROKEN_PAUSE,
            full_pause: FULL_PAUSE,
            room_patience: ROOM_PATIENCE,
            allocation_group_bytes: ALLOCATION_GROUP_BYTES,
            spill_above: SPILL_ABOVE,
            spill_pause_first: SPILL_PAUSE_FIRST,
            spill_pause: SPILL_PAUSE,
            marks_file_bytes: None,
            #[cfg(test)]
            sabotage: super::sabotage::Sabotage::None,
            #[cfg(test)]
            beside: super::stepped::Beside::Threads,
        }
    }
}

/// How long a broken journal refuses before it tries the disk again.
const BROKEN_PAUSE: Duration = Duration::from_secs(2);
/// How long a full journal refuses before it looks for room again: looking costs some calls to the disk.
const FULL_PAUSE: Duration = Duration::from_millis(50);

/// How long a group waits for room that cursors and spills may be about to make: far below what any client waits for an answer, and
/// far above what a disk takes for them.
const ROOM_PATIENCE: Duration = Duration::from_millis(300);

/// Three quarters: spilling takes some time, and has to be done before the journal is full.
const SPILL_ABOVE: u64 = 12;
/// At full speed lanes that keep up are through with a volume a moment later.
const SPILL_PAUSE_FIRST: Duration = Duration::from_millis(25);
/// Looking at a volume again costs reading its headers.
const SPILL_PAUSE: Duration = Duration::from_secs(30);

/// Who hears how long syncs take.
pub(super) struct SyncObserver(pub Box<dyn Fn(Duration) + Send + Sync>);

impl std::fmt::Debug for SyncObserver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SyncObserver")
    }
}

/// Whether records can be appended, and why not.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub health: Health,
    pub reason: String,
}

/// Faults and switches, counted without a lock.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub commits_failed: AtomicU64,
    pub saves_failed: AtomicU64,
    pub refused_full: AtomicU64,
    pub damaged: AtomicU64,
    /// Spills written.
    pub spills: AtomicU64,
    /// Set when the newest volume has lost its name: what is written there would not be found again.
    pub volume_gone: AtomicBool,
    /// Set while cursors cannot be saved at all: lanes are let go on, as duplicates are better than a standstill.
    pub unsaved_allowed: AtomicBool,
}

impl Counts {
    pub(super) fn faults(&self) -> Faults {
        Faults {
            commits: self.commits_failed.load(Ordering::Relaxed),
            cursors: self.saves_failed.load(Ordering::Relaxed),
            refused_full: self.refused_full.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            ..Faults::default()
        }
    }
}

/// The volumes, and what was planned up to the end of the log. Both change together, when a group is on disk.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// By number. Volumes in preparation or without a durable record are not among them.
    pub volumes: BTreeMap<u64, Volume>,
    /// The first volume that is kept for a replay, whatever its age; None: there is none.
    pub pinned_from: Option<u64>,
    /// By the stock's ordinal: events planned up to the end of the log.
    pub planned: Vec<PerDestination<u64>>,
    /// Where the log ended at start-up, and what was planned up to there. A lane that gets there has seen everything that is
    /// left of it.
    pub recovered_end: Position,
    pub recovered_planned: Vec<PerDestination<u64>>,
    /// The next volume, ready to be written.
    pub spare: Option<Spare>,
    /// The size of the volume that is about to be written to and has no durable record yet; 0: there is none.
    pub opening_bytes: u64,
    /// What decides how the next one is made.
    pub filling: Filling,
    /// The number of the next volume to be made. Numbers are never used twice.
    pub next_id: u64,
    /// Bytes of the journal's other files.
    pub other_bytes: u64,
    /// Every lane has passed everything before here, and a durable cursor says so.
    pub free_before: Position,
    /// By the stock's ordinal: where each lane stands by the durable cursor. A lane that it does not know stands at the start.
    pub lows: Vec<PerDestination<Position>>,
    /// Where the log ended by the durable cursor.
    pub saved_end: Position,
    /// Until when nothing is spilled, as the disk refused.
    pub spill_rests_until: Option<Instant>,
    /// Damage that was seen, so that lanes that meet it again do not count it again.
    pub damage_seen: std::collections::BTreeSet<Position>,
}

/// One volume of the log, or the spill that stands for a run of them, under the first one's number.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    /// Its records end here; nothing behind it is ever read. Of a spill, the end of the file.
    pub limit: u64,
    /// Bytes on disk.
    pub size: u64,
    /// By the stock's ordinal: events planned before this volume; None: its checkpoint cannot be read.
    pub planned_before: Option<Arc<[PerDestination<u64>]>>,
    /// When its first record arrived.
    pub opened_at: WallTime,
    /// When every lane had passed it.
    pub passed_at: Option<Instant>,
    /// Whether its file may become another volume.
    pub file: FileTrust,
    /// What stands in its place; None: it is whole.
    pub spill: Option<Arc<Spill>>,
    /// Until when it is not looked at again, as too much of it is pending.
    pub dense_until: Option<Instant>,
    /// How long it was left alone last; zero: it was not looked at yet.
    pub dense_for: Duration,
}

/// Whether a file may be written to again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum FileTrust {
    /// No write or sync of it has failed.
    #[default]
    Sound,
    /// One has: it is read, and removed when it is passed, and never written or synced again.
    Suspect,
}

impl Volume {
    /// A volume that is whole.
    pub(super) fn whole(limit: u64, size: u64, opened_at: WallTime) -> Self {
        let file = FileTrust::Sound;
        Self {
            limit,
            size,
            planned_before: None,
            opened_at,
            passed_at: None,
            file,
            spill: None,
            dense_until: None,
            dense_for: Duration::ZERO,
        }
    }

    /// Whether its file may become another volume.
    pub(super) fn is_reusable(&self) -> bool {
        self.spill.is_none() && self.file == FileTrust::Sound
    }

    /// The number of the last volume that is in it.
    pub(super) fn last(&self, id: u64) -> u64 {
        self.spill.as_ref().map_or(id, |spill| spill.name.last)
    }

    /// Where it ends in the log. What a spill stands for ends before the next volume, wherever it did.
    pub(super) fn end(&self, id: u64) -> Position {
        match &self.spill {
            Some(spill) => Position { volume: spill.name.last, offset: u64::MAX },
            None => Position { volume: id, offset: self.limit },
        }
    }

    /// The name of its file.
    pub(super) fn file_name(&self, id: u64) -> String {
        self.spill.as_ref().map_or_else(|| names::volume(id), |spill| names::spill(spill.name))
    }
}

/// A volume in waiting.
#[derive(Debug)]
pub(super) struct Spare {
    pub id: u64,
    pub file: Arc<dyn super::DiskFile>,
    pub size: u64,
}

impl Log {
    /// Where the log ends.
    pub(super) fn end(&self) -> Position {
        self.volumes.last_key_value().map_or(Position::default(), |(id, volume)| volume.end(*id))
    }

    /// What holds the records of that volume, under which number.
    pub(super) fn holding(&self, volume: u64) -> Option<(u64, &Volume)> {
        let (id, holder) = self.volumes.range(..=volume).next_back()?;
        (holder.last(*id) >= volume).then_some((*id, holder))
    }

    /// Bytes of volumes on disk, the one in waiting and the one about to be written to included.
    pub(super) fn volume_bytes(&self) -> u64 {
        let waiting = self.spare.as_ref().map_or(0, |spare| spare.size);
        self.volumes.values().map(|volume| volume.size).sum::<u64>() + waiting + self.opening_bytes
    }

    pub(super) fn planned_of(&self, ordinal: usize) -> PerDestination<u64> {
        self.planned.get(ordinal).copied().unwrap_or_default()
    }

    /// Whether this damage is seen for the first time.
    pub(super) fn note_damage(&mut self, position: Position) -> bool {
        self.damage_seen.len() < DAMAGE_SEEN_MAX && self.damage_seen.insert(position)
    }
}

/// How many damaged places are told apart; damage beyond is not counted.
const DAMAGE_SEEN_MAX: usize = 10_000;

/// All sources that were ever seen.
#[derive(Debug, Default)]
pub(super) struct Stocks {
    pub by_source: HashMap<SourceId, Arc<Stock>>,
    /// By ordinal.
    pub all: Vec<Arc<Stock>>,
}

impl Shared {
    pub(super) fn seal(&self, kind: FileKind, id: u64) -> Seal {
        let seal = Seal::new(kind, self.epoch, id);
        #[cfg(test)]
        let seal = seal.sabotaged(self.tuning.sabotage);
        seal
    }

    /// The stock of a source, made when there is none.
    pub(super) fn stock(&self, source: &SourceId) -> Arc<Stock> {
        if let Some(stock) = self.stocks.read().unwrap_or_else(PoisonError::into_inner).by_source.get(source) {
            return Arc::clone(stock);
        }
        let mut stocks = self.stocks.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(stock) = stocks.by_source.get(source) {
            return Arc::clone(stock);
        }
        let end = lock(&self.log).end();
        let stock = Arc::new(Stock::new(source.clone(), stocks.all.len(), end));
        stocks.by_source.insert(source.clone(), Arc::clone(&stock));
        stocks.all.push(Arc::clone(&stock));
        stock
    }

    /// All stocks, by ordinal.
    pub(super) fn all_stocks(&self) -> Vec<Arc<Stock>> {
        self.stocks.read().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    pub(super) fn set_health(&self, health: Health, reason: &str) {
        let mut status = lock(&self.status);
        if status.health != health {
            match health {
                Health::Writable => tracing::info!("the journal is writable"),
                Health::Full => tracing::warn!(reason, "the journal is full: appends are refused, delivery goes on"),
                Health::Broken => tracing::error!(reason, "the journal cannot write: appends are refused, delivery goes on"),
            }
            status.health = health;
        }
        reason.clone_into(&mut status.reason);
    }
}

impl Shared {
    /// Wakes the lanes that have something to send again.
    pub(super) fn ring_due(&self) {
        for lane in self.quarantine.lanes_due() {
            let stock = self.stock(&lane.source);
            let core = stock.lanes.of(lane.destination);
            core.due.store(true, Ordering::Release);
            core.bell.notify_one();
        }
    }

    /// Does what blocks on a thread beside the runtime's.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "a simulation asks its tuning"))]
    pub(super) fn beside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        #[cfg(test)]
        if self.tuning.beside == super::stepped::Beside::Runtime {
            return tokio::spawn(async move { work() });
        }
        tokio::task::spawn_blocking(work)
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }
}
