//! Space that is held for the day when the disk has none: what drains the journal must be able to write then.
//!
//! The quota keeps a share free by counting; but other people's files may fill the disk long before. So a part of that share is
//! a file that holds the space, and is given up when a cursor, a quarantined event or a spill finds none.

use std::sync::{Mutex, atomic::Ordering};

use super::{Disk, Health, Settings, names, shared::Shared, stock::lock};

/// The part of the journal's quota that is held.
const SHARE: u64 = 64;
/// More is never needed at once.
const BYTES_MAX: u64 = 16 << 20;

/// The held space.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    /// How much of the disk is held; 0: none.
    held_bytes: Mutex<u64>,
}

impl Reserve {
    /// Takes the space, when it is not held and the journal has room.
    pub(super) fn fill(&self, disk: &dyn Disk, settings: &Settings) {
        let mut held = lock(&self.held_bytes);
        if *held > 0 {
            return;
        }
        let bytes = (settings.size_max.0 / SHARE).min(BYTES_MAX);
        let _ = disk.remove(names::RESERVE);
        let taken = disk.create(names::RESERVE).and_then(|file| {
            file.allocate(bytes)?;
            file.size()
        });
        match taken {
            Ok(size) => *held = size,
            Err(_) => {
                let _ = disk.remove(names::RESERVE);
            }
        }
    }

    /// Gives the space up.
    pub(super) fn spend(&self, disk: &dyn Disk) -> Spent {
        let mut held = lock(&self.held_bytes);
        if *held == 0 {
            return Spent::Before;
        }
        *held = 0;
        let _ = disk.remove(names::RESERVE);
        tracing::warn!("the disk is full: the journal gives up what it held in reserve");
        Spent::Now
    }

    pub(super) fn held_bytes(&self) -> u64 {
        *lock(&self.held_bytes)
    }
}

/// What giving up the reserve came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spent {
    /// There is space now.
    Now,
    /// It was spent already.
    Before,
}

/// Does something that needs space, and once more with the reserve when there is none.
///
/// # Errors
/// What it says last.
pub(super) fn with_reserve<T>(shared: &Shared, mut attempt: impl FnMut() -> std::io::Result<T>) -> std::io::Result<T> {
    match attempt() {
        Err(error) if is_full(&error) && shared.reserve.spend(shared.disk.as_ref()) == Spent::Now => attempt(),
        done => done,
    }
}

/// Whether it is space that was missing.
pub(super) fn is_full(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

/// Holds the reserve again, once there is room.
pub(super) fn refill(shared: &Shared) {
    if lock(&shared.status).health == Health::Writable && !shared.counts.volume_gone.load(Ordering::Relaxed) {
        shared.reserve.fill(shared.disk.as_ref(), &shared.settings);
    }
}
