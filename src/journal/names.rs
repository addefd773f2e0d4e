//! The names of the journal's files.

/// The file with the journal's identity.
pub(super) const IDENTITY: &str = "journal.id";
/// The file that is locked; it is never written.
pub(super) const LOCK: &str = "lock";
/// The file that holds space for a full disk.
pub(super) const RESERVE: &str = "reserve";
/// The lines that are never changed.
pub(super) const CHANGES: &str = "changes.log";
/// What a file is called until it is whole.
const UNFINISHED: &str = ".tmp";

/// What a name in the data directory means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name {
    /// [`IDENTITY`].
    Identity,
    /// [`LOCK`].
    Lock,
    /// [`RESERVE`].
    Reserve,
    /// [`CHANGES`].
    Changes,
    /// The admin API's socket, the kill file, evidence or the census, which look after themselves.
    Socket,
    /// A volume.
    Volume(u64),
    /// A cursor file.
    Cursor(u64),
    /// A quarantine file.
    Quarantine(u64),
    /// A spill.
    Spill(SpillName),
    /// A file of marks.
    Marks(u64),
    /// One of ours that was not finished.
    Unfinished,
    /// Not ours.
    Foreign,
}

/// The name of a spill: which it is, and which volumes it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpillName {
    /// Of two spills that stand for one volume the higher number is the newer one. No volume has the same number.
    pub number: u64,
    /// The first volume that it stands for.
    pub first: u64,
    /// The last one.
    pub last: u64,
}

impl Name {
    pub(super) fn of(name: &str) -> Self {
        if name == IDENTITY {
            return Self::Identity;
        }
        if name == LOCK {
            return Self::Lock;
        }
        if name == RESERVE {
            return Self::Reserve;
        }
        if name == CHANGES {
            return Self::Changes;
        }
        let is_others = [super::KILL_FILE, super::EVIDENCE_DIR, super::CENSUS_DIR, super::PAGES_DIR].contains(&name);
        if is_others || name.strip_suffix(UNFINISHED).unwrap_or(name) == super::ADMIN_SOCKET {
            return Self::Socket;
        }
        if let Some(whole) = name.strip_suffix(UNFINISHED) {
            return if matches!(Self::of(whole), Self::Foreign | Self::Unfinished) { Self::Foreign } else { Self::Unfinished };
        }
        numbered(name, "volume-", ".log")
            .map(Self::Volume)
            .or_else(|| numbered(name, "cursor-", ".dat").map(Self::Cursor))
            .or_else(|| numbered(name, "quarantine-", ".log").map(Self::Quarantine))
            .or_else(|| spill_of(name).map(Self::Spill))
            .or_else(|| numbered(name, "marks-", ".log").map(Self::Marks))
            .unwrap_or(Self::Foreign)
    }
}

fn numbered(name: &str, before: &str, after: &str) -> Option<u64> {
    let digits = name.strip_prefix(before)?.strip_suffix(after)?;
    let canonical = digits.len() == 16 && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if canonical { u64::from_str_radix(digits, 16).ok() } else { None }
}

fn spill_of(name: &str) -> Option<SpillName> {
    let (number, run) = name.strip_prefix("spill-")?.split_once('-')?;
    let (first, last) = run.strip_suffix(".log")?.split_once('-')?;
    let parse = |digits: &str| numbered(digits, "", "");
    let name = SpillName { number: parse(number)?, first: parse(first)?, last: parse(last)? };
    (name.first <= name.last).then_some(name)
}

/// The name of a volume.
pub(super) fn volume(id: u64) -> String {
    format!("volume-{id:016x}.log")
}

/// The name of a cursor file.
pub(super) fn cursor(id: u64) -> String {
    format!("cursor-{id:016x}.dat")
}

/// The name of a quarantine file.
pub(super) fn quarantine(id: u64) -> String {
    format!("quarantine-{id:016x}.log")
}

/// The name of a spill.
pub(super) fn spill(name: SpillName) -> String {
    let SpillName { number, first, last } = name;
    format!("spill-{number:016x}-{first:016x}-{last:016x}.log")
}

/// The name of a file of marks.
pub(super) fn marks(id: u64) -> String {
    format!("marks-{id:016x}.log")
}

/// The name that a file has until it is whole.
pub(super) fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_ours_only_when_we_would_have_written_it() {
        let table = [
            (volume(26), Name::Volume(26)),
            (cursor(1), Name::Cursor(1)),
            (quarantine(u64::MAX), Name::Quarantine(u64::MAX)),
            (spill(SpillName { number: 31, first: 2, last: 26 }), Name::Spill(SpillName { number: 31, first: 2, last: 26 })),
            (spill(SpillName { number: 31, first: 3, last: 2 }), Name::Foreign),
            ("spill-1-2-3.log".to_owned(), Name::Foreign),
            (marks(7), Name::Marks(7)),
            (IDENTITY.to_owned(), Name::Identity),
            (LOCK.to_owned(), Name::Lock),
            (RESERVE.to_owned(), Name::Reserve),
            (unfinished(&cursor(1)), Name::Unfinished),
            (unfinished(&unfinished(&cursor(1))), Name::Foreign),
            ("admin.sock".to_owned(), Name::Socket),
            ("census".to_owned(), Name::Socket),
            ("changes.log".to_owned(), Name::Changes),
            ("kill".to_owned(), Name::Socket),
            ("changes.log.tmp".to_owned(), Name::Unfinished),
            ("volume-1A.log".to_owned(), Name::Foreign),
            ("volume-000000000000001A.log".to_owned(), Name::Foreign),
            ("volume-000000000000001a.log.bak".to_owned(), Name::Foreign),
            ("notes.tmp".to_owned(), Name::Foreign),
            ("lost+found".to_owned(), Name::Foreign),
        ];
        for (name, want) in table {
            assert_eq!(Name::of(&name), want, "{name}");
        }
    }
}
