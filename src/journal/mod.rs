//! The durable log (under construction; the API stands).

mod bytes;
mod commit;
mod cursor;
mod disk;
mod error;
mod format;
mod handle;
mod keeper;
mod lane;
mod lane_state;
mod names;
mod quarantine;
mod reader;
mod real;
mod recovery;
#[cfg(test)]
mod sabotage;
mod saver;
mod scan;
mod settings;
mod shared;
mod shelf;
mod words;

pub use disk::{Disk, DiskFile};
pub use error::{AppendError, OpenError, QuarantineError};
pub use handle::{Journal, Opened};
pub use lane::Lane;
pub use real::RealDisk;
pub use settings::Settings;
pub use words::{CursorOrigin, Entry, Faults, Health, LaneId, Ledger, Position, Quarantined, Record, RecoveryReport, Tally, Usage};

/// How many completed events of a lane may be not durable yet before [`Lane::next`] holds back: the bound of the
/// duplicates after a crash, besides what was in flight.
pub const UNSAVED_COMPLETIONS_MAX: u64 = 512;
