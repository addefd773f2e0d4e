//! What the journal can be told.

use std::{path::PathBuf, time::Duration};

use crate::model::ByteSize;

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
            memory_max: ByteSize(32 << 20),
        }
    }
}
