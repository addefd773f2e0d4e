//! What the journal can be told.

use std::{path::PathBuf, time::Duration};

use crate::model::{ByteSize, Percent};

/// Settings of the journal (`[journal]` in the configuration).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The data directory; made with mode 0700 when absent.
    pub dir: PathBuf,
    /// How much disk the journal may take, reserve included.
    pub size_max: ByteSize,
    /// The size of one volume. At least four fit into `size_max`.
    pub volume_size: ByteSize,
    /// How long delivered volumes are kept for replay while there is room.
    pub keep_delivered: Duration,
    /// How much of `size_max` the records of one lane that lags far behind may take once they are copied out of the volumes: beyond
    /// it new events are not kept for that lane.
    pub spill_max_per_source: Percent,
    /// The same for all such lanes together.
    pub spill_max: Percent,
    /// How much of the newest records is kept in memory for lanes that keep up.
    pub memory_max: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/var/lib/segue"),
            size_max: ByteSize(8 << 30),
            volume_size: ByteSize(64 << 20),
            keep_delivered: Duration::from_hours(6),
            spill_max_per_source: SPILL_MAX_PER_SOURCE,
            spill_max: SPILL_MAX,
            memory_max: ByteSize(32 << 20),
        }
    }
}

impl Settings {
    /// What `spill_max_per_source` comes to.
    pub(super) const fn spill_max_per_source_bytes(&self) -> u64 {
        share_of(self.size_max, self.spill_max_per_source)
    }

    /// What `spill_max` comes to.
    pub(super) const fn spill_max_bytes(&self) -> u64 {
        share_of(self.size_max, self.spill_max)
    }
}

const fn share_of(size: ByteSize, share: Percent) -> u64 {
    let share = share.hundredths() as u64;
    size.0 / 10_000 * share + size.0 % 10_000 * share / 10_000
}

/// A quarter.
const SPILL_MAX_PER_SOURCE: Percent = Percent::from_hundredths(2500).expect("25 % is a share");
/// A half: the other one is for lanes that keep up.
const SPILL_MAX: Percent = Percent::from_hundredths(5000).expect("50 % is a share");
