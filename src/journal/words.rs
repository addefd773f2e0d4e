//! The journal's words: what is appended, where it stands, what comes out.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::model::{Destination, PerDestination, Revision, SourceId, WallTime};

/// A place in the journal. Places grow with time, across volumes and restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Position {
    /// The volume's number.
    pub volume: u64,
    /// Bytes from the start of that volume.
    pub offset: u64,
}

impl Position {
    /// The place of an entry of the quarantine that is sent again: behind every volume.
    pub(super) const fn of_entry(id: QuarantineId) -> Self {
        Self { volume: u64::MAX, offset: id.0 }
    }

    /// Which entry of the quarantine it is the place of; None for a place in the log.
    #[must_use]
    pub const fn quarantine_id(self) -> Option<QuarantineId> {
        if self.volume == u64::MAX { Some(QuarantineId(self.offset)) } else { None }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}/{}", self.volume, self.offset)
    }
}

/// One envelope to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub source: SourceId,
    /// The revision of the routes that its plan was decided under.
    pub revision: Revision,
    /// How many of its events go to each destination; 0: that lane never sees the record.
    pub planned: PerDestination<u32>,
    /// When it arrived; what "oldest pending" is told by.
    pub received_at: WallTime,
    /// The envelope's bytes, given back as they are.
    pub payload: Bytes,
}

/// The name of a lane: the queue of one source toward one destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    /// Whose events.
    pub source: SourceId,
    /// Where to.
    pub destination: Destination,
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.source, self.destination)
    }
}

/// The number of an entry of the quarantine. Numbers grow over all lanes, and none is used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct QuarantineId(pub u64);

impl fmt::Display for QuarantineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// One record, as a lane gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands; names it in [`Lane::complete`](super::Lane::complete).
    pub position: Position,
    /// The envelope's bytes.
    pub payload: Bytes,
    /// How many of its events are planned for this lane, 1 or more.
    pub planned: u32,
}

impl Entry {
    /// Whether an operator had it sent again from the quarantine: whatever was sent before under its messageId, it goes.
    #[must_use]
    pub const fn is_redriven(&self) -> bool {
        self.position.quarantine_id().is_some()
    }
}

/// How the events of one record ended. The sum is the record's planned count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Answered with 2xx.
    pub delivered: u32,
    /// Refused for good and kept in quarantine.
    pub quarantined: u32,
    /// Sent before under the same messageId, so not sent again.
    pub deduplicated: u32,
    /// Left out by a rule.
    pub suppressed: u32,
    /// Too old to be sent.
    pub expired: u32,
    /// Removed by an operator.
    pub purged: u32,
}

impl Tally {
    /// All events together.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.delivered, self.quarantined, self.deduplicated, self.suppressed, self.expired, self.purged].into_iter().map(u64::from).sum()
    }
}

/// What became of a lane's events since the journal began. At every call and after every restart
/// `planned = delivered + pending + quarantined + deduplicated + suppressed + expired + purged`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Events journalled for this lane.
    pub planned: u64,
    /// Events answered with 2xx.
    pub delivered: u64,
    /// Events not at their end yet.
    pub pending: u64,
    /// Events refused for good, or lost to a damaged disk.
    pub quarantined: u64,
    /// Events that had been sent before.
    pub deduplicated: u64,
    /// Events left out by a rule.
    pub suppressed: u64,
    /// Events that were too old.
    pub expired: u64,
    /// Events removed by an operator.
    pub purged: u64,
}

/// An event that a destination refuses for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// The record that it came in.
    pub position: Position,
    /// Its index in that envelope.
    pub index: u32,
    /// How many events it stands for: 1, or all of a record that cannot be read.
    pub events: u32,
    /// The event, as JSON, in the form that was refused.
    pub event: Bytes,
    /// What is delivered when it is sent again: an envelope of this event alone.
    pub envelope: Bytes,
    /// Why, in words.
    pub reason: String,
    /// The status of the answer; 0: there was none.
    pub status: u16,
    /// The start of the answer's body, at most [`Quarantined::ANSWER_BYTES_MAX`]; more is cut.
    pub answer: String,
    /// When it was given up.
    pub at: WallTime,
}

impl Quarantined {
    /// How much of an answer is kept.
    pub const ANSWER_BYTES_MAX: usize = 1024;
}

/// An event in quarantine, without the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineRow {
    /// Its number.
    pub id: QuarantineId,
    /// Whose.
    pub lane: LaneId,
    /// How many events it stands for.
    pub events: u32,
    /// Why it is there.
    pub reason: Arc<str>,
    /// The status of the answer; 0: there was none.
    pub status: u16,
    /// Since when.
    pub at: WallTime,
}

/// Which events of the quarantine are meant: those that fit everything that is named. Nothing named: all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pick {
    /// This one.
    pub id: Option<QuarantineId>,
    /// Those of this source.
    pub source: Option<SourceId>,
    /// Those that this destination refused.
    pub destination: Option<Destination>,
    /// Those whose reason contains this text.
    pub reason: Option<String>,
}

/// How much of the quarantine was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Entries.
    pub entries: u64,
    /// Events that they stand for.
    pub events: u64,
}

/// How much disk is used, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes on disk, prepared space included.
    pub bytes: u64,
    /// Bytes that the journal may take.
    pub capacity: u64,
    /// Bytes that cannot be given back yet, since a lane has not passed them.
    pub pinned_bytes: u64,
    /// Volumes on disk.
    pub volumes: u64,
    /// Bytes of what was copied out of volumes for lanes that lag.
    pub spill_bytes: u64,
    /// When the oldest record still pending arrived (of its volume's first record, when the record was not looked at yet);
    /// None: nothing is pending.
    pub oldest_pending: Option<WallTime>,
    /// Bytes of records in memory.
    pub memory_bytes: u64,
    /// Faults since start.
    pub faults: Faults,
}

/// What a lane that lags far behind takes of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spilled {
    /// Bytes of spills that it has not passed.
    pub bytes: u64,
    /// Whether new records are kept for it.
    pub quota: SpillQuota,
}

/// How a lane stands with its quota of spilled records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpillQuota {
    /// New records are kept.
    Within,
    /// They are refused, for this lane alone.
    Over,
}

/// Faults of the disk since start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Writes or syncs of a volume that failed; its group was written again to another volume or not acknowledged.
    pub commits: u64,
    /// Cursor saves that failed; more duplicates after a crash are prevented by holding lanes back.
    pub cursors: u64,
    /// Records refused as there was no space.
    pub refused_full: u64,
    /// Places in the log that could not be read back.
    pub damaged: u64,
    /// Attempts to write marks that failed.
    pub marks: u64,
    /// Marks that were given up, as the disk did not take them: after a restart they are not known.
    pub marks_lost: u64,
}

/// Whether records can be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Yes.
    Writable,
    /// Not until space is freed; it resumes by itself.
    Full,
    /// Writes or syncs fail, on fresh files too. It tries again by itself, at intervals.
    Broken,
}

/// What opening found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Volumes with records.
    pub volumes: usize,
    /// Where the log ends.
    pub end: Position,
    /// Where an unfinished group of a crash was cut off; None: the log ended cleanly.
    pub torn_at: Option<Position>,
    /// Places that could not be read in what was scanned; the records there are lost and counted.
    pub damaged: Vec<Position>,
    /// Files besides volumes in which something cannot be read, each named once for each place: cursors begin at an older state or at
    /// the start, quarantined events are gone from the quarantine, though not from its count.
    pub damaged_files: Vec<String>,
    /// Volumes that a lane still needed and that are gone.
    pub missing: Vec<u64>,
    /// Names in the data directory that are not the journal's; they are left alone.
    pub foreign: Vec<String>,
    /// What the cursors came from.
    pub cursor: CursorOrigin,
    /// Events still pending, over all lanes.
    pub pending: u64,
}

/// What the cursors came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CursorOrigin {
    /// There was no journal before.
    #[default]
    Fresh,
    /// From their file.
    File,
    /// There was none that could be read: everything on disk is delivered again.
    Lost,
}
