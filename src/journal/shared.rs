//! What the journal's threads and lanes share.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Disk, Settings,
    alarm::Alarm,
    format::{Epoch, FileKind, Seal},
    preparation::{ALLOCATION_GROUP_BYTES, Filling},
    quarantine::Quarantine,
    queue::Queue,
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
    pub quarantine: Mutex<Quarantine>,
    /// The newest revision raised or appended.
    pub revision: AtomicU64,
    pub memory_bytes: AtomicUsize,
    pub counts: Counts,
    pub status: Mutex<Status>,
    pub saver: Alarm,
    pub keeper: Alarm,
    pub watch: Alarm,
    /// One at a time makes room for a new volume.
    pub preparing: Mutex<()>,
    pub sync_observer: OnceLock<SyncObserver>,
    pub tuning: Tuning,
}

/// What only tests turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// How many completed events of a lane may be not durable.
    pub unsaved_events_max: u64,
    /// How long a broken journal refuses before it tries the disk again.
    pub broken_pause: Duration,
    /// How long a full journal refuses before it looks for room again.
    pub full_pause: Duration,
    /// From which mean size of a group on new volumes are allocated only.
    pub allocation_group_bytes: u64,
    #[cfg(test)]
    pub sabotage: super::sabotage::Sabotage,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            unsaved_events_max: super::UNSAVED_COMPLETIONS_MAX,
            broken_pause: BROKEN_PAUSE,
            full_pause: FULL_PAUSE,
            allocation_group_bytes: ALLOCATION_GROUP_BYTES,
            #[cfg(test)]
            sabotage: super::sabotage::Sabotage::None,
        }
    }
}

/// How long a broken journal refuses before it tries the disk again.
const BROKEN_PAUSE: Duration = Duration::from_secs(2);
/// How long a full journal refuses before it looks for room again: looking costs some calls to the disk.
const FULL_PAUSE: Duration = Duration::from_millis(50);

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
        }
    }
}

/// The volumes, and what was planned up to the end of the log. Both change together, when a group is on disk.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// By number. Volumes in preparation or without a durable record are not among them.
    pub volumes: BTreeMap<u64, Volume>,
    /// By the stock's ordinal: events planned up to the end of the log.
    pub planned: Vec<PerDestination<u64>>,
    /// Where the log ended at start-up, and what was planned up to there. A lane that gets there has seen everything that is
    /// left of it.
    pub recovered_end: Position,
    pub recovered_planned: Vec<PerDestination<u64>>,
    /// The next volume, ready to be written.
    pub spare: Option<Spare>,
    /// What decides how the next one is made.
    pub filling: Filling,
    /// The number of the next volume to be made. Numbers are never used twice.
    pub next_id: u64,
    /// Bytes of the journal's other files.
    pub other_bytes: u64,
    /// Every lane has passed everything before here, and a durable cursor says so.
    pub free_before: Position,
    /// Damage that was seen, so that lanes that meet it again do not count it again.
    pub damage_seen: std::collections::BTreeSet<Position>,
}

/// One volume of the log.
#[derive(Debug, Clone)]
pub(super) struct Volume {
    /// Its records end here; nothing behind it is ever read.
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
        self.volumes.last_key_value().map_or(Position::default(), |(id, volume)| Position { volume: *id, offset: volume.limit })
    }

    /// Bytes of volumes on disk, the one in waiting included.
    pub(super) fn volume_bytes(&self) -> u64 {
        self.volumes.values().map(|volume| volume.size).sum::<u64>() + self.spare.as_ref().map_or(0, |spare| spare.size)
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
    /// The newest revision.
    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Acquire))
    }
}
