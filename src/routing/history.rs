//! The history of changes: what is in force is what its lines add up to, and each line is sealed to the one before it.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
};

use sha2::{Digest, Sha256};

use super::{Change, Course, Deed, Route};
use crate::model::{Destination, RateLimit, Revision, SourceId, WallTime};

/// A line's seal: the SHA-256 of the seal before it and of what it says, in hexadecimal digits. Whoever changes, removes or moves
/// a line breaks the seals from there on; only whoever writes all of them anew does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal(String);

/// All changes, oldest first.
#[derive(Debug, Clone, Default)]
pub struct History {
    changes: Vec<Change>,
    seal: Seal,
    /// Lines whose seal is not right, or that cannot be read, counted from 1.
    broken: Vec<usize>,
    lines: usize,
    routes: HashMap<SourceId, (Revision, Route)>,
    limits: HashMap<(Option<SourceId>, Destination), (Revision, RateLimit)>,
    /// When a reload last changed a source.
    reloads: HashMap<SourceId, Revision>,
    /// The change that turned the kill switch on, by its place; None: it is off.
    killed: Option<usize>,
    /// Since when Segment is not contacted for a source.
    retired: HashMap<SourceId, WallTime>,
    /// Each source's newest ramp, running or over.
    ramps: BTreeMap<SourceId, Course>,
}

impl Default for Seal {
    fn default() -> Self {
        Self("0".repeat(64))
    }
}

impl Seal {
    /// The seal of the line that says this, behind the line with this seal.
    fn next(&self, says: &str) -> Self {
        let digest = Sha256::new().chain_update(&self.0).chain_update(says).finalize();
        Self(digest.iter().fold(String::with_capacity(64), |mut digits, byte| {
            // Writing to a String cannot fail.
            let _ = write!(digits, "{byte:02x}");
            digits
        }))
    }

    /// 64 hexadecimal digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl History {
    /// Reads lines. One that cannot be read changes nothing, and is told by [`History::broken`].
    #[must_use]
    pub fn read(lines: &[u8]) -> Self {
        let mut history = Self::default();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = String::from_utf8_lossy(line);
            let (seal, says) = line.split_once(' ').unwrap_or(("", &line));
            let expected = history.seal.next(says);
            history.lines += 1;
            let change = Change::from_json(says);
            if expected.0 != seal || change.is_none() {
                history.broken.push(history.lines);
            }
            // The next line was sealed to what stands here, right or not: one break is told once.
            history.seal = Seal(seal.to_owned());
            if let Some(change) = change {
                history.fold(change);
            }
        }
        history
    }

    /// The line that a change is kept as.
    #[must_use]
    pub fn line(&self, change: &Change) -> String {
        let says = change.to_json();
        format!("{} {says}", self.seal.next(&says).0)
    }

    /// Takes a change in.
    pub fn push(&mut self, change: Change) {
        self.seal = self.seal.next(&change.to_json());
        self.lines += 1;
        self.fold(change);
    }

    fn fold(&mut self, change: Change) {
        self.ramps.values_mut().for_each(|course| course.take(&change));
        match &change.deed {
            Deed::Route { source, to, .. } => {
                self.routes.insert(source.clone(), (change.revision, *to));
            }
            Deed::Limit { source, destination, to, .. } => {
                self.limits.insert((source.clone(), *destination), (change.revision, *to));
            }
            // Whether a lane is held says the journal, with its cursors; which replays there are is found by looking through.
            Deed::Hold(..)
            | Deed::Release(..)
            | Deed::Purge(..)
            | Deed::Redrive(..)
            | Deed::GiveUp(..)
            | Deed::Replay(..)
            | Deed::ReplayStep(..)
            | Deed::RampMove(..)
            // Evidence holds what was decided about findings; a start reads it through.
            | Deed::Finding(..) => {}
            Deed::Ramp(ramp) => {
                self.ramps.insert(ramp.source.clone(), Course::begun(&change, ramp));
            }
            Deed::Retire(source) => {
                self.retired.insert(source.clone(), change.at);
            }
            Deed::Unretire(source) => {
                self.retired.remove(source);
            }
            Deed::KillOn => self.killed = Some(self.changes.len()),
            Deed::KillOff => self.killed = None,
            Deed::Reload { sources } => self.reloads.extend(sources.iter().map(|source| (source.clone(), change.revision))),
        }
        self.changes.push(change);
    }

    /// All changes that can be read, oldest first.
    #[must_use]
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The change of that revision; None when there is none.
    #[must_use]
    pub fn change(&self, revision: Revision) -> Option<&Change> {
        self.changes.iter().rfind(|change| change.revision == revision)
    }

    /// The newest revision; 0 before any change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.changes.iter().map(|change| change.revision).max().unwrap_or_default()
    }

    /// The route that a source was given last, and the revision that did; None: it has the configuration's.
    #[must_use]
    pub fn route(&self, source: &SourceId) -> Option<(Revision, Route)> {
        self.routes.get(source).copied()
    }

    /// The limit that a source's lane, or with None all lanes to a destination, were given last, and the revision that did; None: it is
    /// the configuration's.
    #[must_use]
    pub fn limit(&self, source: Option<&SourceId>, destination: Destination) -> Option<(Revision, RateLimit)> {
        self.limits.get(&(source.cloned(), destination)).copied()
    }

    /// The revision by which a reload last changed a source; 0: none did.
    #[must_use]
    pub fn reloaded(&self, source: &SourceId) -> Revision {
        self.reloads.get(source).copied().unwrap_or_default()
    }

    /// The route that a source had right after a revision, by its changes; None: it never had another one than the configuration's.
    #[must_use]
    pub fn route_at(&self, source: &SourceId, revision: Revision) -> Option<Route> {
        let of_source = |change: &Change| match &change.deed {
            Deed::Route { source: of, from, to } if of == source => Some((change.revision, *from, *to)),
            _ => None,
        };
        let before = self.changes.iter().rev().filter_map(of_source).find(|(at, ..)| *at <= revision);
        let after = self.changes.iter().filter_map(of_source).find(|(at, ..)| *at > revision);
        before.map(|(_, _, to)| to).or_else(|| after.map(|(_, from, _)| from))
    }

    /// The change that turned the kill switch on; None: it is off.
    #[must_use]
    pub fn killed(&self) -> Option<&Change> {
        self.killed.map(|place| &self.changes[place])
    }

    /// Since when Segment is not contacted for a source; None: it is, as its route says.
    #[must_use]
    pub fn retired(&self, source: &SourceId) -> Option<WallTime> {
        self.retired.get(source).copied()
    }

    /// A source's newest ramp, running or over; None: it never had one.
    #[must_use]
    pub fn ramp(&self, source: &SourceId) -> Option<&Course> {
        self.ramps.get(source)
    }

    /// Every source's newest ramp, running or over.
    pub fn ramps(&self) -> impl Iterator<Item = &Course> {
        self.ramps.values()
    }

    /// The newest line's seal.
    #[must_use]
    pub const fn seal(&self) -> &Seal {
        &self.seal
    }

    /// How many lines there are, those among them that cannot be read too.
    #[must_use]
    pub const fn lines(&self) -> usize {
        self.lines
    }

    /// Which lines, counted from 1, somebody or the disk changed, or stand behind a line that is gone.
    #[must_use]
    pub fn broken(&self) -> &[usize] {
        &self.broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::Author;

    fn change(revision: u64, deed: Deed) -> Change {
        let at = WallTime::from_millis(1_700_000_000_000);
        Change { revision: Revision(revision), at, by: Author::KillFile, deed, reason: None, undoes: None }
    }

    fn route(source: &str, from: &str, to: &str) -> Deed {
        let route = |text: &str| text.parse().unwrap();
        Deed::Route { source: SourceId::parse(source).unwrap(), from: route(from), to: route(to) }
    }

    fn written() -> (History, String) {
        let (mut history, mut lines) = (History::default(), String::new());
        let deeds = [
            route("web", "segment-only", "both"),
            route("ios", "both", "cutover=25%"),
            Deed::KillOn,
            route("web", "both", "cutover=50%"),
            Deed::KillOff,
            Deed::Retire(SourceId::parse("web").unwrap()),
        ];
        for (revision, deed) in (1..).zip(deeds) {
            let change = change(revision, deed);
            lines += &(history.line(&change) + "\n");
            history.push(change);
        }
        (history, lines)
    }

    #[test]
    fn what_is_in_force_is_what_the_lines_add_up_to() {
        let (history, lines) = written();
        let again = History::read(lines.as_bytes());
        assert_eq!(again.changes(), history.changes());
        assert_eq!((again.seal(), again.broken(), again.lines()), (history.seal(), &[][..], 6));
        let web = SourceId::parse("web").unwrap();
        assert_eq!(again.route(&web).map(|(revision, route)| (revision.0, route.to_string())), Some((4, "cutover=50%".to_owned())));
        assert_eq!(again.route(&SourceId::parse("tv").unwrap()), None);
        assert!(again.killed().is_none());
        assert_eq!([&web, &SourceId::parse("ios").unwrap()].map(|source| again.retired(source).is_some()), [true, false]);
        let at = |revision| again.route_at(&web, Revision(revision)).map(|route| route.to_string()).unwrap();
        assert_eq!([at(0), at(1), at(3), at(4), at(9)], ["segment-only", "both", "both", "cutover=50%", "cutover=50%"]);
        let to_kill: String = lines.split_inclusive('\n').take(3).collect();
        assert_eq!(History::read(to_kill.as_bytes()).killed().map(|change| change.revision), Some(Revision(3)));
    }

    #[test]
    fn a_line_that_was_changed_removed_or_moved_is_found() {
        let (_, lines) = written();
        let lines: Vec<&str> = lines.split_inclusive('\n').collect();
        let broken = |lines: Vec<String>| History::read(lines.concat().as_bytes()).broken().to_vec();
        let owned = || lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let mut edited = owned();
        edited[1] = edited[1].replace("25%", "26%");
        assert_eq!(broken(edited), [2]);
        let mut removed = owned();
        removed.remove(2);
        assert_eq!(broken(removed), [3]);
        let mut moved = owned();
        moved.swap(0, 1);
        assert_eq!(broken(moved), [1, 2, 3]);
        let mut bits = owned();
        bits[5].replace_range(0..1, "z");
        assert_eq!(broken(bits), [6]);
    }
}
