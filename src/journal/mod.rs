//! The durable log (under construction; the API stands).

mod disk;
mod error;
mod handle;
mod lane;
mod real;
mod settings;
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
