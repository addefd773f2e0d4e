//! Sent diffs: what each side gets of an event, place by place, with the rule that made each difference.
//!
//! Both copies are made anew from the journal, as delivery makes them, for a delivery without delay: one that comes late has its times
//! put right for Segment besides (protocol.md T2).

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use bytes::Bytes;

use super::{
    attribution::{is_noise, rules_of},
    recent,
};
use crate::{
    dialect::{self, Facts, Rule, Rules},
    diff::{self, DifferenceKind},
    model::{
        Encoding, Envelope, Frame, Head, PerDestination, Reading, Revision, Selection, SourceId, WallTime,
        json::{self, Raw},
    },
    protocol::segment_copy,
};

/// One event, as it is sent to each side.
#[derive(Debug, Clone)]
pub struct SentEvent {
    /// The source.
    pub source: SourceId,
    /// Its messageId: its own, or the one that it got.
    pub message_id: String,
    /// When it arrived.
    pub received_at: WallTime,
    /// The revision that it was decided under.
    pub revision: Revision,
    /// The path of the client's request, which Segment's copy goes to as well.
    pub path: String,
    /// The app, else the library, with its version; None: neither is told.
    pub app: Option<String>,
    /// Whether its plan sends it there.
    pub planned: PerDestination<bool>,
    /// Both copies as JSON; None: it is never sent there.
    pub copies: PerDestination<Option<String>>,
    /// Why RudderStack never gets it.
    pub refusal: Option<String>,
    /// What was done for each side.
    pub rules: PerDestination<Vec<Rule>>,
    /// Where the two differ, by path.
    pub differences: Vec<SentDifference>,
}

/// One place where the two sides differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentDifference {
    /// The place.
    pub path: String,
    /// What the difference is; left is Segment.
    pub kind: DifferenceKind,
    /// What Segment gets there, as JSON.
    pub segment: Option<String>,
    /// What RudderStack gets there.
    pub rudderstack: Option<String>,
    /// The rules that may have made it.
    pub rules: Vec<Rule>,
    /// Whether it is only how both APIs differ.
    pub is_noise: bool,
}

/// Where the two sides differ, over many events.
#[derive(Debug, Clone, Default)]
pub struct SentDiffs {
    /// When the oldest of the events arrived; None: there are none.
    pub since: Option<WallTime>,
    /// Events that both sides are to get.
    pub events: u64,
    /// Of them, those that differ by noise alone.
    pub equal: u64,
    /// Events that RudderStack is to get and never does.
    pub refused: u64,
    /// Classes of differences, the most events first.
    pub groups: Vec<DiffGroup>,
}

/// One class of differences.
#[derive(Debug, Clone)]
pub struct DiffGroup {
    /// The source.
    pub source: SourceId,
    /// The place; the numbers of items are left out.
    pub path: String,
    /// What the difference is.
    pub kind: DifferenceKind,
    /// The rules that may have made it.
    pub rules: Vec<Rule>,
    /// Whether it is noise.
    pub is_noise: bool,
    /// Events that have it.
    pub events: u64,
    /// App versions that have it, and how many of their events do: the most first, at most four.
    pub apps: Vec<(String, u64)>,
    /// messageIds of events that have it, at most eight.
    pub samples: Vec<String>,
}

/// Events that are compared for one answer: about a second of work.
const EVENTS_MAX: u64 = 5_000;
/// Groups that are told.
const GROUPS_MAX: usize = 200;
const APPS_MAX: usize = 4;
const SAMPLES_MAX: usize = 8;

/// Looks for the newest event with that messageId in the newest part of the journal. None: it is not there. Blocks for a moment.
pub(super) fn find(dir: &Path, message_id: &str, source: Option<&SourceId>) -> io::Result<Option<SentEvent>> {
    let mut found = None;
    recent::envelopes(dir, source, |envelope| {
        each(&envelope, |event| event.message_id() == message_id, |event| found = Some(event));
    })?;
    Ok(found)
}

/// Compares the newest events of the journal. Blocks for about a second at most.
pub(super) fn compare(dir: &Path, source: Option<&SourceId>) -> io::Result<SentDiffs> {
    let (mut diffs, mut groups) = (SentDiffs::default(), BTreeMap::new());
    let goes_both = |envelope: &Envelope| !envelope.plan.events.segment.is_none() && !envelope.plan.events.rudderstack.is_none();
    for envelope in recent::newest(dir, source, EVENTS_MAX, goes_both)? {
        let goes_both = |event: &Found<'_>| event.planned().rudderstack && event.planned().segment;
        each(&envelope, goes_both, |event| take_in(&mut diffs, &mut groups, &event));
    }
    diffs.groups = groups.into_values().collect();
    diffs.groups.sort_by_key(|group: &DiffGroup| std::cmp::Reverse(group.events));
    diffs.groups.truncate(GROUPS_MAX);
    for group in &mut diffs.groups {
        group.apps.sort_by_key(|(_, events)| std::cmp::Reverse(*events));
        group.apps.truncate(APPS_MAX);
    }
    Ok(diffs)
}

type GroupKey = (SourceId, String, DifferenceKind);

fn take_in(diffs: &mut SentDiffs, groups: &mut BTreeMap<GroupKey, DiffGroup>, event: &SentEvent) {
    diffs.since = Some(diffs.since.map_or(event.received_at, |since| since.min(event.received_at)));
    if event.refusal.is_some() {
        diffs.refused += 1;
        return;
    }
    diffs.events += 1;
    diffs.equal += u64::from(event.differences.iter().all(|difference| difference.is_noise));
    let mut seen = BTreeSet::new();
    for difference in &event.differences {
        let key = (event.source.clone(), without_numbers(&difference.path), difference.kind);
        // Ten items that differ alike are one difference of the event.
        if !seen.insert(key.clone()) {
            continue;
        }
        let group = groups.entry(key).or_insert_with_key(|(source, path, kind)| DiffGroup {
            source: source.clone(),
            path: path.clone(),
            kind: *kind,
            rules: difference.rules.clone(),
            is_noise: difference.is_noise,
            events: 0,
            apps: Vec::new(),
            samples: Vec::new(),
        });
        group.events += 1;
        group.is_noise &= difference.is_noise;
        group.rules.extend(difference.rules.iter().filter(|rule| !group.rules.contains(rule)).copied().collect::<Vec<_>>());
        if group.samples.len() < SAMPLES_MAX {
            group.samples.push(event.message_id.clone());
        }
        let app = event.app.clone().unwrap_or_else(|| "(not told)".to_owned());
        match group.apps.iter_mut().find(|(known, _)| *known == app) {
            Some((_, events)) => *events += 1,
            None => group.apps.push((app, 1)),
        }
    }
}

/// `items[3].price` as `items[].price`.
fn without_numbers(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut in_brackets = false;
    for char in path.chars() {
        match char {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            _ if in_brackets && char.is_ascii_digit() => continue,
            _ => {}
        }
        out.push(char);
    }
    out
}

/// An event of an envelope that was opened.
struct Found<'a> {
    envelope: &'a Envelope,
    frame: Frame<'a>,
    item: Raw<'a>,
    index: usize,
}

impl Found<'_> {
    fn message_id(&self) -> String {
        Head::of(self.item, self.envelope.endpoint).message_id(self.envelope.id, self.index).into_owned()
    }

    fn planned(&self) -> PerDestination<bool> {
        PerDestination::from_fn(|destination| self.envelope.plan.events.of(destination).contains(self.index))
    }
}

/// Tells both copies of each event that is wanted. What cannot be read is nobody's event.
fn each(envelope: &Envelope, wanted: impl Fn(&Found<'_>) -> bool, mut told: impl FnMut(SentEvent)) {
    let Some(inflated) = recent::inflated(envelope) else { return };
    let Ok(reading) = Reading::of(envelope.endpoint, &inflated) else { return };
    // Segment's copy is made of a whole envelope; that of an event which it does not get is the one that it would.
    let mut whole = None;
    for (index, item) in reading.items.iter().enumerate() {
        let found = Found { envelope, frame: reading.frame, item: *item, index };
        if !wanted(&found) {
            continue;
        }
        let whole: &Bytes = whole.get_or_insert_with(|| to_segment(envelope, &inflated));
        let segment =
            Reading::of(envelope.endpoint, whole).ok().and_then(|reading| reading.items.get(index).map(|item| item.text().to_owned()));
        told(sent(&found, segment));
    }
}

/// Segment's copy of all events of an envelope, plain.
fn to_segment(envelope: &Envelope, inflated: &Bytes) -> Bytes {
    let plan =
        crate::model::Plan { events: PerDestination { segment: Selection::All, ..envelope.plan.events.clone() }, ..envelope.plan.clone() };
    let all = Envelope { plan, ..envelope.clone() };
    match segment_copy(&all, inflated, envelope.received_at) {
        Ok(copy) if copy.encoding == Encoding::Identity && !copy.body.is_empty() => copy.body,
        _ => inflated.clone(),
    }
}

fn sent(found: &Found<'_>, segment: Option<String>) -> SentEvent {
    let Found { envelope, frame, item, index } = found;
    let facts = Facts::of(envelope, *index, *frame);
    let translated = dialect::translate(*item, &facts, &dialect::Settings::default());
    let (rudderstack, applied, refusal) = match translated {
        Ok(made) => (String::from_utf8(made.json).ok(), made.rules.union(made.noticed), None),
        Err(refusal) => (None, Rules::NONE, Some(refusal.reason().to_owned())),
    };
    let edited = segment.as_deref().map(|segment| edits(*item, segment)).unwrap_or_default();
    let mut differences = Vec::new();
    if let (Some(segment), Some(rudderstack)) = (&segment, &rudderstack)
        && let (Ok(left), Ok(right)) = (json::parse(segment.as_bytes()), json::parse(rudderstack.as_bytes()))
    {
        let all = edited.iter().copied().collect::<Rules>().union(applied);
        differences = diff::compare(left, right).into_iter().map(|difference| attributed(difference, all)).collect();
    }
    SentEvent {
        source: envelope.source.clone(),
        message_id: found.message_id(),
        received_at: envelope.received_at,
        revision: envelope.plan.revision,
        path: envelope.path.clone(),
        app: recent::app_of_event(*item, *frame),
        planned: found.planned(),
        copies: PerDestination { segment, rudderstack },
        refusal,
        rules: PerDestination { segment: edited, rudderstack: applied.iter().collect() },
        differences,
    }
}

/// What was done to the client's own event for Segment.
fn edits(item: Raw<'_>, segment: &str) -> Vec<Rule> {
    let Ok(copy) = json::parse(segment.as_bytes()) else { return Vec::new() };
    let ip = |raw: Raw<'_>| raw.get("context").and_then(|context| context.get("ip")).map(|ip| ip.text().to_owned());
    let text = |raw: Raw<'_>, name: &str| raw.get(name).map(|value| value.text().to_owned());
    let is_changed = [
        (Rule::MESSAGE_ID, text(item, "messageId") != text(copy, "messageId")),
        (Rule::CLIENT_IP, ip(item) != ip(copy)),
        (Rule::TIMES, text(item, "sentAt") != text(copy, "sentAt")),
    ];
    is_changed.into_iter().filter(|(_, changed)| *changed).map(|(rule, _)| rule).collect()
}

fn attributed(difference: diff::Difference<'_>, applied: Rules) -> SentDifference {
    let rules = rules_of(&difference.path, applied);
    let text = |raw: Option<Raw<'_>>| raw.map(|raw| raw.text().to_owned());
    SentDifference {
        is_noise: is_noise(&difference.path, difference.kind, &rules),
        segment: text(difference.left),
        rudderstack: text(difference.right),
        kind: difference.kind,
        path: difference.path,
        rules,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_arrays_are_one_class() {
        assert_eq!(without_numbers("products[12].tags[0].x1"), "products[].tags[].x1");
    }
}
