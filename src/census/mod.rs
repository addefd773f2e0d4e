//! The census: which versions of which apps send events, of whom, since when, and where they go. And what the vendors' published
//! rules foretell of their events ([`forecast`](crate::forecast)).
//!
//! Owns the counts and their file. Counts every event once it is accepted, an SDK's resend included; never delays one for longer than
//! a lock is held, and never keeps a sidecar from starting.
//!
//! # Bounds
//!
//! - [`VERSIONS_MAX`] versions over all sources, [`VERSIONS_OF_SOURCE_MAX`] of one; the events of more are counted together. Eleven
//!   kilobytes a version at most, so 22 MB; usual ones take a tenth of that.
//! - People exactly up to 128 a version, then within 2.3 % (one standard error).
//! - Samples of what is foretold: [`SAMPLES_MAX`] for each source and reason. Names that part: 500 of a source, 5,000 of all.
//!
//! # File
//!
//! `census/census.snapshot` in the data directory, saved every thirty seconds and at a stop: a kill loses what was counted since. A
//! damaged one is put aside as `census.damaged`. Which names were judged is not saved: they are judged again.

mod book;
mod foretold;
mod handle;
mod keeper;
mod maker;
mod names;
mod outlook;
mod report;
mod roll;
mod sdk;
mod sketch;
mod tally;
#[cfg(test)]
mod tests;
mod trend;

pub use book::{Counted, VERSIONS_MAX, VERSIONS_OF_SOURCE_MAX};
pub use foretold::{Foretelling, Named, Reason, SAMPLES_MAX, Told};
pub use handle::{Census, Predictions};
pub use maker::Maker;
pub use names::{Parted, Scope};
pub use outlook::{Outlook, SILENT_DAYS, Verdict};
pub use report::{Report, VersionSeen};
pub use roll::Roll;
pub use sdk::old_sdk;
pub use tally::Came;
