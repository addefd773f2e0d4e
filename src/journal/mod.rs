//! The durable log: what was acknowledged stays until every lane that it was planned for is done with it.
//!
//! Owns the data directory. Never looks into payloads, never decides where an event goes, never reads a clock for what it
//! keeps, and never drops a record that is not complete: when there is no room it refuses new ones.
//!
//! # Promises
//!
//! - [`Journal::append`] returns `Ok` only when the record's bytes and its file's name are on disk.
//! - Each lane gets every record planned for it, in the order of the log, until [`Lane::complete`]; after a crash it gets again at
//!   most what was in flight and [`UNSAVED_COMPLETIONS_MAX`] completed events. Should cursors not be savable at all
//!   (three saves failed in a row), lanes go on rather than stand still, and that bound does not hold.
//! - Revisions in the log never go backwards.
//! - `planned = delivered + pending + quarantined + deduplicated + suppressed + expired + purged` for each lane, always. Events that
//!   the disk damaged count as quarantined.
//! - A failed write or sync is never followed by another one to the same file: the group is written again, from memory, to a
//!   new volume, or nobody is told that it was kept.
//! - What a lane leaves with a record ([`Lane::complete_leaving`]) is known after a crash exactly when the record is complete, unless the
//!   disk took no marks; that delays and refuses nothing.
//! - A volume is removed only after a durable cursor says that all lanes have passed it, or after what lanes have not passed of it is
//!   durable in a spill; lanes without a consumer hold theirs.
//! - A lane that lags far behind holds up what it needs, not the volumes that this came in; above its quota
//!   [`AppendError::OverQuota`] refuses records for it, and no other lane feels it.
//!
//! # Files
//!
//! | name | what |
//! |---|---|
//! | `lock` | empty; locked by the process that has the directory |
//! | `journal.id` | a header: the journal's epoch |
//! | `volume-<16 hex>.log` | the log, in ascending numbers; the last may be a volume in waiting |
//! | `cursor-<16 hex>.dat` | where the lanes stand, what was planned, how it ended |
//! | `quarantine-<16 hex>.log` | events that were refused for good, and what became of them |
//! | `marks-<16 hex>.log` | what lanes left with completed records, in ascending numbers |
//! | `spill-<16 hex>-<16 hex>-<16 hex>.log` | its number, and the first and last volume that it stands for |
//! | `reserve` | space, held for the day when the disk has none |
//! | `admin.sock` `evidence/` `census/` | the admin API's, evidence's and the census's, which are not the journal's business |
//! | `*.tmp` | one of these, not finished; removed at start |
//!
//! Other names are reported and left alone. [`Archive`] reads all of it without the lock, also beside a running journal.
//!
//! # Damage
//!
//! A damaged, truncated or missing file never keeps the journal from opening: what can be read is delivered, what cannot is counted as
//! quarantined, and the report says where. It refuses to open, and names the file and the way out, when going on could lose or hide what
//! may be whole: a format that is newer, a log of another journal, a newest volume that the disk does not read just now.
//!
//! # Bytes (formats 1 and 2; numbers little-endian)
//!
//! Every file begins with a header. Magic, version and checksum stay at their places in all formats to come, so that a newer
//! file is refused by name, and a flipped bit is not taken for one.
//!
//! | at | bytes | header |
//! |---|---|---|
//! | 0 | 8 | `SEGUE-ID`, `SEGUEVOL`, `SEGUECUR`, `SEGUEQUA`, `SEGUEMRK` or `SEGUESPI` |
//! | 8 | 4 | format version: 1; of spills 2, and of `journal.id` from the first spill on |
//! | 16 | 16 | epoch: random, one for the life of the directory |
//! | 32 | 8 | the number in the file's name |
//! | 40 | 8 | cursor files: bytes of one slot; spills: where the contents stand |
//! | 60 | 4 | CRC-32 of the 60 bytes before |
//!
//! Volumes, spills, quarantine files and files of marks go on with frames, each at a multiple of 8, zeros between. Both checksums of a frame begin with the file's
//! magic, the epoch, the file's number and the frame's place: what an older volume left in a reused one never validates.
//!
//! | at | bytes | frame |
//! |---|---|---|
//! | 0 | 4 | `sgR1` |
//! | 4 | 4 | CRC-32 of the bytes from 8 to the end of the source |
//! | 8 | 4 | length of the body |
//! | 12 | 4 | CRC-32 of the body |
//! | 16 | 4 | commit group: 1, 2, 3... in each volume |
//! | 20 | 1 | 1 event, 2 checkpoint, 3 quarantined, 4 spilled event, 5 contents, 6 what became of quarantined events, 16 marks |
//! | 21 | 1 | bit 0: the last of its group |
//! | 22 | 1 | length of the source's id |
//! | 24 | 8 | revision |
//! | 32 | 4 + 4 | events planned for Segment, for RudderStack |
//! | 40 | 8 | arrival, milliseconds since 1970 |
//! | 48 | | the source's id, then the body |
//!
//! The first frame of a volume is its checkpoint: where the log ended before (volume, offset; 8 + 8), a count (4), and for each source
//! its id (length in 1 byte) with the events planned before this volume (8 + 8). What lies between that end and this volume is
//! void: a torn group, or a volume whose sync failed and whose group stands here.
//!
//! A spill begins with the checkpoint of its first volume. Its events keep their places: their group and revision are the offset and the
//! volume that they stood at, and what is planned is what was not done for good. Last come the contents: a count (4), and for
//! each source its id with events and bytes for Segment and for RudderStack (4 times 8); their revision is the newest one in it.
//! Of two spills that stand for one volume the one with the higher number counts, and both before the volume itself.
//!
//! A cursor file has two slots at 512, written in turn: CRC-32 of what follows (4), length (4), number of the save (8), the state.
//! A save never needs space. The slot with the highest number that validates counts, over all files.
//!
//! A quarantine file's frames carry a number in place of the revision that no entry has had yet. An entry's body: 0 waiting or 1 to be
//! sent again (1), destination (1), its number (8), the record it came in (8 + 8), index (4), events (4), status (2), reason and answer
//! (length 4 and text), the envelope of this event alone (length 4 and bytes), the event. A mark's body: 1 to be sent again or 2 no
//! more (1), destination (1), how all of the lane's entries that are no more had ended (delivered, deduplicated, suppressed, expired,
//! purged; 8 each), a count (4), the entries' numbers (8 each). An entry that stands twice stands where it was written last.
//!
//! The body of a frame of marks: a count (2) of lanes, for each its source (length in 1 byte) and its destination (1); then, for each record
//! until the body ends, its lane's number among these (2), a count (2), its position (8 + 8) and its marks (16 each). Marks are synced before a
//! cursor that says that their record is complete; those of a record that no cursor holds for complete count for nothing. The
//! oldest file goes when those after it hold as many marks as are kept, and becomes the next one. At most a 64th of
//! the quota is theirs.
//!
//! # Sending again
//!
//! An event in quarantine that is sent again never goes back into the log: its entry is marked, durably, and its lane gets it from
//! there as [`Entry::is_redriven`], between the log's records, until a mark says how it ended. So `planned` never changes: the ledger
//! shows the entry as quarantined, then pending, then as it ended, each by one step. Refused again, it is a new entry. After a crash
//! an entry whose end was not marked is sent once more, as any record is whose completion was not saved.
//!
//! # The space of a volume
//!
//! A volume has its full length on disk before it is written to. How its space is made ready follows from the mean group of
//! the volume that was filled last:
//!
//! | what was written before | the next volume is | cost |
//! |---|---|---|
//! | nothing yet | allocated | ready in milliseconds; each sync commits metadata too |
//! | part of the first volume | zeroed | every byte is written twice; a sync has its data to write, and nothing else |
//! | groups below 64 KiB | zeroed | as above |
//! | groups of 64 KiB or more | allocated | each sync commits metadata too, which is little beside so much data |
//!
//! A passed volume that is used again has its blocks already, and costs neither.
//!
//! # What is assumed of the disk
//!
//! A successful fdatasync keeps the bytes and the length of the file, a successful fsync of the directory its names. Without them any subset of
//! 512-byte sectors and of names may survive a power cut. A sync that failed may have kept anything, and a later success says
//! nothing. The disk may return wrong bytes at any time: checksums tell. `model_tests` runs the journal over such a disk.
//!
//! # Threads
//!
//! `journal-commit` writes groups ([`Journal::append`] waits for it), `journal-cursor` saves cursors, `journal-keeper` prepares the
//! next volume and gives passed ones back, `journal-watch` answers what waits too long for a slow disk. Lanes that keep up are served from memory; others read with `spawn_blocking`.

mod alarm;
mod archive;
mod archive_lanes;
mod archive_scan;
mod bytes;
mod chronicle;
mod commit;
mod cursor;
mod custody;
mod disk;
mod error;
#[cfg(test)]
mod fault_tests;
mod format;
mod handle;
mod heads;
mod keeper;
mod lane;
mod lane_state;
mod listing;
mod marks;
mod marks_file;
#[cfg(test)]
mod marks_tests;
#[cfg(test)]
mod model_disk;
#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod mutant_tests;
mod names;
mod outlook;
mod preparation;
mod purge;
mod quarantine;
mod queue;
mod read_only;
mod reader;
mod real;
mod recovery;
mod reserve;
#[cfg(test)]
mod sabotage;
mod saver;
mod scan;
mod settings;
mod shared;
mod spill;
#[cfg(test)]
mod spill_tests;
mod spiller;
#[cfg(test)]
mod stepped;
mod stock;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod trial;
mod words;

pub use archive::{Archive, Archived, ArchivedRecord, Damage, LaneSummary, Survey, VolumeSummary, Waits, Wanted};
pub use custody::{Exposed, Gravity, exposed};
pub use disk::{Disk, DiskFile};
pub use error::{AppendError, ChangeError, OpenError, QuarantineError};
pub use handle::{Journal, Opened};
pub use lane::Lane;
pub use outlook::{Pace, capacity_bytes, past_pace};
pub use real::RealDisk;
pub use settings::Settings;
pub use words::{
    CursorOrigin, Entry, Faults, Health, LaneId, Ledger, Moved, Pick, Position, QuarantineId, QuarantineRow, Quarantined, Record,
    RecoveryReport, SpillQuota, Spilled, Tally, Usage,
};

/// The name in the data directory that the admin API's socket may have: it is no file of the journal's, and no stranger either.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// The name in the data directory of the file with all lines that [`Journal::keep_line`] kept.
pub const CHANGES_FILE: &str = names::CHANGES;

/// The name of the kill file in the data directory; the same holds for it.
pub const KILL_FILE: &str = "kill";

/// The directory in the data directory in which evidence keeps what it knows; neither of the journal's, nor a stranger.
pub const EVIDENCE_DIR: &str = "evidence";

/// The directory in the data directory in which the census is kept; the same holds for it.
pub const CENSUS_DIR: &str = "census";

/// The directory in the data directory in which pages of Segment's CDN are kept; the same holds for it.
pub const PAGES_DIR: &str = "pages";

#[cfg(test)]
pub(crate) use self::{
    model_disk::{Lie, ModelDisk, Trouble},
    sabotage::Sabotage,
    stepped::Tempo,
};

/// How many completed events of a lane may be not durable yet before [`Lane::next`] holds back: the bound of the
/// duplicates after a crash, besides what was in flight.
pub const UNSAVED_COMPLETIONS_MAX: u64 = 512;
