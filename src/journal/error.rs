//! What can go wrong, one type per operation.

use std::{io, time::Duration};

use crate::model::{Destination, Revision};

/// Why the journal cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has the directory.
    #[error("{dir}: in use by another segue")]
    Locked {
        /// The data directory.
        dir: String,
    },
    /// Other users can get at the directory or at a file in it.
    #[error("{path} {how}: {fix}")]
    Exposed {
        /// The directory or the file.
        path: String,
        /// How.
        how: String,
        /// What to do.
        fix: String,
    },
    /// A file was written by a newer segue.
    #[error("{file} has format {found}; this segue knows formats up to {known}: use the newer segue, or another data directory")]
    NewerFormat {
        /// The file's name.
        file: String,
        /// The format it has.
        found: u32,
        /// The newest format that this segue reads.
        known: u32,
    },
    /// The directory holds the log of another journal than its `journal.id` says; nothing of it could be delivered.
    #[error(
        "{file} belongs to another journal than journal.id: put back the journal.id that it came with, or move both away \
         (`segue journal export --dir` reads them where they are)"
    )]
    Foreign {
        /// The newest such file's name.
        file: String,
    },
    /// The disk does not read a file that is needed to know what the log holds.
    #[error("{file} cannot be read: try again, or move the file away to start without what is in it")]
    Unreadable {
        /// The file's name.
        file: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// There is no journal in the directory.
    #[error("{dir} holds no journal: neither journal.id nor a volume in it can be read")]
    NoJournal {
        /// The directory.
        dir: String,
    },
    /// The settings contradict each other.
    #[error("journal settings: {0}")]
    Settings(&'static str),
    /// The disk refused.
    #[error("{doing}")]
    Disk {
        /// What was tried, with the file's name.
        doing: String,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

/// Why a record was not kept. Nothing was acknowledged; after a crash the record may still turn up, once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Its plan was decided under routes that are no longer the newest: decide again.
    #[error("the routes are at revision {current} now")]
    Stale {
        /// The newest revision.
        current: Revision,
    },
    /// No space; try later.
    #[error("the journal is full")]
    Full,
    /// One of its destinations has a lane over its quota of disk: it may be kept without that one.
    #[error("the lane to {destination} is over its quota of disk")]
    OverQuota {
        /// The destination to leave out.
        destination: Destination,
    },
    /// The disk fails; try later.
    #[error("the journal cannot write: {reason}")]
    Broken {
        /// What the disk said last.
        reason: String,
    },
    /// The disk is so slow that the record waited too long for its turn; it was taken back, try later.
    #[error("the journal's disk is slow: the record waited {} s", wait_max.as_secs())]
    Slow {
        /// How long a record waits.
        wait_max: Duration,
    },
    /// The record can never fit.
    #[error("a record of {bytes} bytes does not fit; {bytes_max} is the most")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The largest size.
        bytes_max: u64,
    },
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why a change that an operator asked for is not durable.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The disk refused. It may be in force until the next start.
    #[error("the change cannot be made durable")]
    Disk(#[from] io::Error),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

/// Why an event could not be put into quarantine.
#[derive(Debug, thiserror::Error)]
pub enum QuarantineError {
    /// The quarantine has reached its size limit.
    #[error("the quarantine is full")]
    Full,
    /// The disk refused.
    #[error("the quarantine cannot be written")]
    Disk(#[from] io::Error),
    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}
