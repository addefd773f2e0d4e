//! Findings: differences between what both vendors emitted, grouped by where and how.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::model::{Revision, SourceId, WallTime};

/// One class of differences.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FindingKey {
    /// Whose events.
    pub source: SourceId,
    /// Where in an event, with `[*]` for the places of an array; empty: the whole event.
    pub path: String,
    /// How they differ, in a word of [`crate::diff`] or of the whole event's.
    pub kind: String,
}

/// How whole events can differ.
pub mod whole {
    /// Segment emitted it, RudderStack did not.
    pub const MISSING_IN_RUDDERSTACK: &str = "missing_in_rudderstack";
    /// RudderStack emitted it, Segment did not.
    pub const MISSING_IN_SEGMENT: &str = "missing_in_segment";
    /// RudderStack emitted it, long after it had taken it.
    pub const LATE_FROM_RUDDERSTACK: &str = "late_from_rudderstack";
    /// Segment did.
    pub const LATE_FROM_SEGMENT: &str = "late_from_segment";
    /// RudderStack emitted it more than once.
    pub const REPEATED_BY_RUDDERSTACK: &str = "repeated_by_rudderstack";
    /// Segment did.
    pub const REPEATED_BY_SEGMENT: &str = "repeated_by_segment";
}

/// What is known of one class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Events in which it was found.
    pub count: u64,
    /// Those in which nothing else that is not accepted was.
    pub alone: u64,
    /// When it was found first, in milliseconds since 1970.
    pub first_ms: i64,
    /// And last.
    pub last_ms: i64,
    /// The revision of the source's route when it was found first.
    pub since_revision: u64,
    /// The versions of apps, else of libraries, that it was found in, with their events; the first sixteen.
    pub versions: BTreeMap<String, u64>,
    /// Some of its events: the first three and the newest seven.
    pub samples: VecDeque<Sample>,
}

/// One event of a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Its messageId.
    pub message_id: String,
    /// When it was found, in milliseconds since 1970.
    pub at_ms: i64,
    /// What stands at the place, at Segment's side; None: nothing.
    pub left: Option<String>,
    /// And at RudderStack's.
    pub right: Option<String>,
    /// What Segment emitted, when there is room for it.
    pub segment: Option<String>,
    /// What RudderStack emitted.
    pub rudderstack: Option<String>,
    /// What else is known of it, for people; empty: nothing.
    pub why: String,
}

/// What somebody decided about findings of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Whose events.
    pub source: SourceId,
    /// Where, as in [`FindingKey::path`].
    pub path: String,
    /// How; None: whatever is found there.
    pub kind: Option<String>,
    /// What is to be made of it.
    pub verb: DecisionVerb,
    /// Why.
    pub reason: String,
    /// The revision that decided it.
    pub revision: Revision,
}

/// What can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecisionVerb {
    /// It is as it should be: events that differ in nothing else agree.
    Accept,
    /// It says nothing: it is noise, and not told unless asked for.
    Ignore,
    /// What was decided before is taken back.
    Reopen,
}

/// How a class stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingState {
    /// Nobody has decided anything.
    Open,
    /// Accepted.
    Accepted,
    /// Ignored.
    Ignored,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Findings {
    groups: HashMap<FindingKey, Group>,
    decisions: Vec<Decision>,
    /// Differences for which there was no group any more.
    pub(super) untold: u64,
    sample_bytes: usize,
    pub(super) is_changed: bool,
}

/// What was found in one event.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: FindingKey,
    pub(super) left: Option<String>,
    pub(super) right: Option<String>,
    pub(super) why: String,
}

/// The event that it was found in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) message_id: &'a str,
    pub(super) at: WallTime,
    pub(super) revision: Revision,
    pub(super) version: Option<&'a str>,
    pub(super) segment: Option<&'a str>,
    pub(super) rudderstack: Option<&'a str>,
}

/// A group as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    source: String,
    path: String,
    kind: String,
    group: Group,
}

/// More classes are not told apart.
const GROUPS_MAX: usize = 2_000;
const FIRST_SAMPLES: usize = 3;
const SAMPLES_MAX: usize = 10;
const VERSIONS_MAX: usize = 16;
/// All samples together, in memory and on disk.
const SAMPLE_BYTES_MAX: usize = 16 << 20;
/// Larger events stand in no sample, only what differs.
const BODY_BYTES_MAX: usize = 16 << 10;

impl FindingKey {
    /// A short name of the class, the same in every process: twelve hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> String {
        use std::fmt::Write;
        let digest = Sha256::new()
            .chain_update(self.source.as_str())
            .chain_update([0])
            .chain_update(&self.path)
            .chain_update([0])
            .chain_update(&self.kind)
            .finalize();
        digest.iter().take(6).fold(String::with_capacity(12), |mut id, byte| {
            // Writing to a String cannot fail.
            let _ = write!(id, "{byte:02x}");
            id
        })
    }
}

impl Findings {
    /// Takes in what was found in one event; says whether any of it is open, and else whether any was accepted.
    pub(super) fn take(&mut self, found: Vec<Found>, context: &Context<'_>) -> Option<FindingState> {
        self.is_changed = true;
        let mut seen = BTreeSet::new();
        // In an array of a thousand items one class may be found a thousand times: it is one event.
        let found: Vec<(Found, FindingState)> = found
            .into_iter()
            .filter(|found| seen.insert(found.key.clone()))
            .map(|found| {
                let state = self.state(&found.key);
                (found, state)
            })
            .collect();
        let open = found.iter().filter(|(_, state)| *state == FindingState::Open).count();
        let worst = [FindingState::Open, FindingState::Accepted, FindingState::Ignored]
            .into_iter()
            .find(|state| found.iter().any(|(_, each)| each == state));
        for (found, state) in found {
            self.count(found, state == FindingState::Open && open == 1, context);
        }
        worst
    }

    fn count(&mut self, found: Found, is_alone: bool, context: &Context<'_>) {
        let Found { key, left, right, why } = found;
        if !self.groups.contains_key(&key) && self.groups.len() >= GROUPS_MAX {
            self.untold += 1;
            return;
        }
        let at_ms = context.at.as_millis();
        let group = self.groups.entry(key).or_insert_with(|| Group {
            count: 0,
            alone: 0,
            first_ms: at_ms,
            last_ms: at_ms,
            since_revision: context.revision.0,
            versions: BTreeMap::new(),
            samples: VecDeque::new(),
        });
        group.count += 1;
        group.alone += u64::from(is_alone);
        group.last_ms = group.last_ms.max(at_ms);
        if let Some(version) = context.version
            && (group.versions.len() < VERSIONS_MAX || group.versions.contains_key(version))
        {
            *group.versions.entry(version.to_owned()).or_default() += 1;
        }
        let body = |body: Option<&str>| body.filter(|body| body.len() <= BODY_BYTES_MAX).map(ToOwned::to_owned);
        let (segment, rudderstack) = (body(context.segment), body(context.rudderstack));
        let sample = Sample { message_id: context.message_id.to_owned(), at_ms, left, right, segment, rudderstack, why };
        let bytes = sample.bytes();
        if group.samples.len() >= SAMPLES_MAX
            && let Some(old) = group.samples.remove(FIRST_SAMPLES)
        {
            self.sample_bytes -= old.bytes();
        }
        if self.sample_bytes + bytes <= SAMPLE_BYTES_MAX {
            self.sample_bytes += bytes;
            group.samples.push_back(sample);
        }
    }

    /// An event that was missing has come after all.
    pub(super) fn take_back(&mut self, key: &FindingKey) {
        if let Some(group) = self.groups.get_mut(key) {
            group.count = group.count.saturating_sub(1);
            group.alone = group.alone.saturating_sub(1);
            self.is_changed = true;
        }
    }

    /// How a class stands, by the newest decision about it.
    pub(super) fn state(&self, key: &FindingKey) -> FindingState {
        let about = |decision: &&Decision| {
            decision.source == key.source && decision.path == key.path && decision.kind.as_ref().is_none_or(|kind| *kind == key.kind)
        };
        match self.decisions.iter().rev().find(about).map(|decision| decision.verb) {
            Some(DecisionVerb::Accept) => FindingState::Accepted,
            Some(DecisionVerb::Ignore) => FindingState::Ignored,
            Some(DecisionVerb::Reopen) | None => FindingState::Open,
        }
    }

    /// Puts a decision in force; tells of each class that is not open any more how many events it alone made differ.
    pub(super) fn decide(&mut self, decision: Decision) -> Vec<(FindingKey, u64)> {
        let open: Vec<FindingKey> = self.groups.keys().filter(|key| self.state(key) == FindingState::Open).cloned().collect();
        self.decisions.push(decision);
        self.is_changed = true;
        let closed: Vec<FindingKey> = open.into_iter().filter(|key| self.state(key) != FindingState::Open).collect();
        let alone = |key: FindingKey| {
            let alone = self.groups.get_mut(&key).map_or(0, |group| std::mem::take(&mut group.alone));
            (key, alone)
        };
        closed.into_iter().map(alone).collect()
    }

    /// What was decided, oldest first.
    pub(super) fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// All classes of a source, or of all with None: those with the most events first.
    pub(super) fn list(&self, source: Option<&SourceId>) -> Vec<(&FindingKey, &Group)> {
        let mut list: Vec<_> = self.groups.iter().filter(|(key, _)| source.is_none_or(|source| key.source == *source)).collect();
        list.sort_by(|(key, group), (other, others)| others.count.cmp(&group.count).then_with(|| key.cmp(other)));
        list
    }

    /// The class of that id; None: there is none.
    pub(super) fn find(&self, id: &str) -> Option<(&FindingKey, &Group)> {
        self.groups.iter().find(|(key, _)| key.id() == id)
    }

    pub(super) fn save(&self) -> Vec<Saved> {
        let saved = |(key, group): (&FindingKey, &Group)| Saved {
            source: key.source.as_str().to_owned(),
            path: key.path.clone(),
            kind: key.kind.clone(),
            group: group.clone(),
        };
        self.groups.iter().map(saved).collect()
    }

    /// Decisions are not among them: those are the history's.
    pub(super) fn load(saved: Vec<Saved>) -> Self {
        let group = |saved: Saved| {
            let Saved { source, path, kind, group } = saved;
            Some((FindingKey { source: SourceId::parse(&source).ok()?, path, kind }, group))
        };
        let groups: HashMap<FindingKey, Group> = saved.into_iter().filter_map(group).collect();
        let sample_bytes = groups.values().flat_map(|group| &group.samples).map(Sample::bytes).sum();
        Self { groups, sample_bytes, ..Self::default() }
    }
}

impl Sample {
    fn bytes(&self) -> usize {
        let texts = [&self.left, &self.right, &self.segment, &self.rudderstack];
        self.message_id.len() + self.why.len() + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str, kind: &str) -> FindingKey {
        FindingKey { source: SourceId::parse("web").unwrap(), path: path.to_owned(), kind: kind.to_owned() }
    }

    fn found(path: &str, kind: &str) -> Found {
        Found { key: key(path, kind), left: Some("1".into()), right: None, why: String::new() }
    }

    fn context(number: i64) -> Context<'static> {
        Context {
            message_id: "m",
            at: WallTime::from_millis(number),
            revision: Revision(4),
            version: Some("shop 1.0"),
            segment: Some("{}"),
            rudderstack: None,
        }
    }

    fn decided(path: &str, kind: Option<&str>, verb: DecisionVerb) -> Decision {
        let source = SourceId::parse("web").unwrap();
        Decision { source, path: path.to_owned(), kind: kind.map(ToOwned::to_owned), verb, reason: "known".into(), revision: Revision(9) }
    }

    #[test]
    fn one_event_counts_once_in_each_class_and_alone_only_where_nothing_else_is_open() {
        let mut findings = Findings::default();
        let both = vec![found("a[*]", "value"), found("a[*]", "value"), found("b", "type")];
        assert_eq!(findings.take(both, &context(1)), Some(FindingState::Open));
        assert_eq!(findings.take(vec![found("b", "type")], &context(2)), Some(FindingState::Open));
        let told: Vec<_> = findings.list(None).iter().map(|(key, group)| (key.path.clone(), group.count, group.alone)).collect();
        assert_eq!(told, [("b".to_owned(), 2, 1), ("a[*]".to_owned(), 1, 0)]);
        let closed = findings.decide(decided("b", Some("type"), DecisionVerb::Accept));
        assert_eq!(closed, [(key("b", "type"), 1)]);
        assert_eq!(findings.take(vec![found("b", "type")], &context(3)), Some(FindingState::Accepted));
        let both = vec![found("a[*]", "value"), found("b", "type")];
        findings.take(both, &context(4));
        assert_eq!(findings.find(&key("a[*]", "value").id()).unwrap().1.alone, 1, "what is accepted does not count beside it");
        findings.decide(decided("b", None, DecisionVerb::Reopen));
        assert_eq!(findings.state(&key("b", "type")), FindingState::Open);
        findings.decide(decided("b", None, DecisionVerb::Ignore));
        assert_eq!(findings.state(&key("b", "value")), FindingState::Ignored, "whatever the kind");
    }

    #[test]
    fn the_first_samples_stay_and_the_newest_follow() {
        let mut findings = Findings::default();
        (0..40).for_each(|number| _ = findings.take(vec![found("b", "type")], &context(number)));
        let again = Findings::load(serde_json::from_str(&serde_json::to_string(&findings.save()).unwrap()).unwrap());
        let (_, group) = again.find(&key("b", "type").id()).unwrap();
        let times: Vec<i64> = group.samples.iter().map(|sample| sample.at_ms).collect();
        assert_eq!(times, [0, 1, 2, 33, 34, 35, 36, 37, 38, 39]);
        assert_eq!((group.count, group.first_ms, group.last_ms, group.versions["shop 1.0"]), (40, 0, 39, 40));
        assert_eq!(again.sample_bytes, findings.sample_bytes);
    }

    #[test]
    fn classes_and_samples_are_bounded() {
        let mut findings = Findings::default();
        let body = "x".repeat(BODY_BYTES_MAX);
        let context = Context { segment: Some(&body), rudderstack: Some(&body), ..context(1) };
        for number in 0..GROUPS_MAX + 10 {
            findings.take(vec![found(&number.to_string(), "value")], &context);
        }
        assert_eq!((findings.groups.len(), findings.untold), (GROUPS_MAX, 10));
        assert!(findings.sample_bytes <= SAMPLE_BYTES_MAX && findings.sample_bytes > SAMPLE_BYTES_MAX / 2);
    }
}
