//! What follows from what was heard of one event.

use std::collections::BTreeMap;

use super::{
    bodies::Reading,
    findings::{Context, FindingKey, FindingState, Found, whole},
    handle::{Evidence, State},
    join::Finished,
    report::Followed,
    slot::{Emitted, Sent, Slot},
    tallies::{Agreement, Basis, Judged},
    words::Emission,
};
use crate::{
    diff::{self, Arrival, NoiseAt, NoiseHit},
    model::{
        Destination, Outcome, PerDestination, Revision, SourceId, WallTime,
        json::{self, Raw},
    },
};

/// Both vendors' emissions of one event; of the first only where it stands.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) slot: &'a Slot,
    pub(super) first: Emitted,
    pub(super) second: &'a Emission<'a>,
    pub(super) message_id: &'a str,
}

/// How one emission is wrong as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whole {
    /// It came before.
    Repeated,
    /// It had been given up.
    Late,
}

/// More places of noise are not told apart, for each source: clients choose the names of their members.
const NOISE_PLACES_MAX: usize = 500;
/// Longer values are cut where they are told.
const VALUE_CHARS_MAX: usize = 200;

impl Evidence {
    /// Compares what both vendors made of an event. `other`: what the first of them emitted; None: the disk does not give it.
    pub(super) fn judge_pair(&self, pair: &Pair<'_>, other: Option<&[u8]>) {
        let Pair { slot, first, second, message_id } = pair;
        let by = PerDestination::from_fn(|side| if side == second.by { Some(second.event) } else { other });
        let emitted_at = PerDestination::from_fn(|side| if side == second.by { second.at } else { first.at });
        let parsed = PerDestination::from_fn(|side| by.of(side).and_then(|body| json::parse(body).ok()));
        let (Some(segment), Some(rudderstack)) = (parsed.segment, parsed.rudderstack) else {
            let mut state = self.state();
            let revision = slot.sent.as_ref().map(|sent| sent.revision);
            state.tallies.judge(&judged(&slot.source, revision, Agreement::Unjoinable, None, second.at));
            return;
        };
        let compared = compare(&slot.source, segment, rudderstack, &self.noise);
        let late =
            Destination::ALL.into_iter().filter(|side| self.is_late(slot, *side, *emitted_at.of(*side))).map(|side| late_of(slot, side));
        let Compared { found, noise } = compared;
        let found: Vec<Found> = found.into_iter().chain(late).collect();
        let version = version_of(segment).or_else(|| version_of(rudderstack));
        let context = Context {
            message_id,
            at: second.at,
            revision: slot.sent.as_ref().map(|sent| sent.revision).unwrap_or_default(),
            version: version.as_deref(),
            segment: Some(segment.text()),
            rudderstack: Some(rudderstack.text()),
        };
        let mut state = self.state();
        let of_source = state.noise.entry(slot.source.clone()).or_default();
        for NoiseHit { at, count } in &noise {
            *of_source.entry(told_apart(at, of_source)).or_default() += u64::from(*count);
        }
        let agreement = match state.findings.take(found, &context) {
            Some(FindingState::Open) => Agreement::Different,
            Some(FindingState::Accepted) => Agreement::Accepted,
            Some(FindingState::Ignored) => Agreement::Noise,
            None if !noise.is_empty() => Agreement::Noise,
            None => Agreement::Equal,
        };
        let revision = slot.sent.as_ref().map(|sent| sent.revision);
        state.tallies.judge(&judged(&slot.source, revision, agreement, version.as_deref(), second.at));
        let mut followed = Followed::of(slot);
        followed.emitted_at = PerDestination::from_fn(|side| Some(*emitted_at.of(side)));
        followed.agreement = Some(agreement);
        state.recent.put(slot.print, followed);
    }

    fn is_late(&self, slot: &Slot, side: Destination, emitted_at: WallTime) -> bool {
        let late_ms = i64::try_from(self.settings.late.as_millis()).unwrap_or(i64::MAX);
        slot.answered_at(side).is_some_and(|answered_at| emitted_at.millis_since(answered_at) > late_ms)
    }

    /// Takes in an emission that has come before, or too late.
    pub(super) fn judge_whole(state: &mut State, emission: &Emission<'_>, message_id: &str, print: u128, whole: Whole) {
        let kind = match (whole, emission.by) {
            (Whole::Repeated, Destination::Segment) => whole::REPEATED_BY_SEGMENT,
            (Whole::Repeated, Destination::RudderStack) => whole::REPEATED_BY_RUDDERSTACK,
            (Whole::Late, Destination::Segment) => whole::LATE_FROM_SEGMENT,
            (Whole::Late, Destination::RudderStack) => whole::LATE_FROM_RUDDERSTACK,
        };
        if whole == Whole::Late {
            state.findings.take_back(&key(emission.source, "", missing_kind(emission.by)));
        }
        let body = std::str::from_utf8(emission.event).ok();
        let version = json::parse(emission.event).ok().and_then(version_of);
        let on = |side: Destination| body.filter(|_| emission.by == side);
        let context = Context {
            message_id,
            at: emission.at,
            revision: Revision::default(),
            version: version.as_deref(),
            segment: on(Destination::Segment),
            rudderstack: on(Destination::RudderStack),
        };
        let known = state.recent.get(print).map(|followed| followed.revision).unwrap_or_default();
        let context = Context { revision: known, ..context };
        state.findings.take(vec![Found { key: key(emission.source, "", kind), left: None, right: None, why: String::new() }], &context);
    }
}

/// Takes in events of which nothing more is waited for.
pub(super) fn finish(state: &mut State, finished: Vec<Finished>, now: WallTime) {
    for each in finished {
        finish_one(state, each, now);
    }
}

fn finish_one(state: &mut State, finished: Finished, now: WallTime) {
    match finished {
        Finished::Answered(slot) => answered(state, &slot, now),
        Finished::Expired(slot) => {
            expired(state, &slot, now);
            free(state, &slot);
        }
        Finished::Left(slot) => {
            let revision = slot.sent.as_ref().map(|sent| sent.revision);
            if revision.is_some() {
                state.tallies.judge(&judged(&slot.source, revision, Agreement::Unjoinable, None, now));
            }
            free(state, &slot);
        }
    }
}

fn free(state: &mut State, slot: &Slot) {
    for side in Destination::ALL {
        if let Some(emitted) = slot.emitted.of(side) {
            state.bodies.free(emitted.place);
        }
    }
}

fn answered(state: &mut State, slot: &Slot, now: WallTime) {
    let Some(sent) = &slot.sent else { return };
    state.answers.take(slot, sent);
    let agreement = answers_agree(sent);
    state.tallies.judge(&Judged { basis: Basis::Answers, ..judged(&slot.source, Some(sent.revision), agreement, None, now) });
    state.recent.put(slot.print, Followed::of(slot));
}

fn answers_agree(sent: &Sent) -> Agreement {
    let outcome = |side: Destination| sent.answers.of(side).map(|answer| answer.outcome);
    match (outcome(Destination::Segment), outcome(Destination::RudderStack)) {
        (Some(Outcome::Delivered), _) if sent.predicted.is_some() => Agreement::Predicted,
        (Some(Outcome::Delivered), Some(Outcome::Delivered)) | (Some(Outcome::Quarantined), Some(Outcome::Quarantined)) => Agreement::Equal,
        (Some(Outcome::Delivered), Some(Outcome::Quarantined)) => Agreement::OnlySegment,
        (Some(Outcome::Quarantined), Some(Outcome::Delivered)) => Agreement::OnlyRudderStack,
        _ => Agreement::Unjoinable,
    }
}

/// One vendor has not emitted it in its time, or neither has.
fn expired(state: &mut State, slot: &Slot, now: WallTime) {
    let has = |side: Destination| slot.emitted.of(side).is_some();
    let Some(by) = Destination::ALL.into_iter().find(|side| has(*side)) else {
        return;
    };
    let Some(sent) = &slot.sent else {
        state.taps.entry(slot.source.clone()).or_default().of_mut(by).unexpected += 1;
        return;
    };
    let missing = by.other();
    let since = sent.answers.of(missing).map_or(slot.at, |answer| answer.at);
    let is_alive = state.taps.get(&slot.source).and_then(|taps| taps.of(missing).heard_at).is_some_and(|heard_at| heard_at > since);
    let agreement = match (missing, sent.predicted) {
        (Destination::Segment, Some(_)) => Agreement::Predicted,
        _ if !is_alive => Agreement::Unjoinable,
        (Destination::RudderStack, _) => Agreement::OnlySegment,
        (Destination::Segment, None) => Agreement::OnlyRudderStack,
    };
    let body = slot.emitted.of(by).and_then(|emitted| state.bodies.read(emitted.place)).and_then(Reading::finish);
    let event = body.as_deref().and_then(|body| json::parse(body).ok());
    let version = event.and_then(version_of);
    let mut followed = Followed::of(slot);
    *followed.emitted_at.of_mut(by) = slot.emitted.of(by).map(|emitted| emitted.at);
    followed.agreement = Some(agreement);
    state.recent.put(slot.print, followed);
    let is_finding = matches!(agreement, Agreement::OnlySegment | Agreement::OnlyRudderStack);
    let alone = Alone { slot, sent, by, event, version: version.as_deref(), now };
    let agreement = if is_finding { alone.note(state) } else { agreement };
    state.tallies.judge(&judged(&slot.source, Some(sent.revision), agreement, version.as_deref(), now));
}

/// An event that one vendor alone has emitted.
struct Alone<'a> {
    slot: &'a Slot,
    sent: &'a Sent,
    /// Who has.
    by: Destination,
    /// What that one emitted; None: the disk does not give it.
    event: Option<Raw<'a>>,
    version: Option<&'a str>,
    now: WallTime,
}

impl Alone<'_> {
    /// Notes the finding that this is; says what the event counts as by what was decided about such.
    fn note(&self, state: &mut State) -> Agreement {
        let missing = self.by.other();
        let message_id = self.event.and_then(|event| event.get("messageId")?.string()).unwrap_or_default();
        let on = |side: Destination| self.event.filter(|_| side == self.by).map(Raw::text);
        let context = Context {
            message_id: &message_id,
            at: self.now,
            revision: self.sent.revision,
            version: self.version,
            segment: on(Destination::Segment),
            rudderstack: on(Destination::RudderStack),
        };
        let answer = self.sent.answers.of(missing).filter(|answer| answer.outcome != Outcome::Delivered);
        let why = answer.map(|answer| format!("{} had {} it: answered {}", missing.label(), answer.outcome.label(), answer.status));
        let kind = missing_kind(missing);
        let found = Found {
            key: key(&self.slot.source, "", kind),
            left: None,
            right: None,
            why: why.unwrap_or_else(|| format!("{} took it with 200", missing.label())),
        };
        let decided = state.findings.take(vec![found], &context);
        state.join.miss(self.slot.print, missing);
        match decided {
            Some(FindingState::Accepted) => Agreement::Accepted,
            Some(FindingState::Ignored) => Agreement::Noise,
            _ => agreement_of(kind),
        }
    }
}

const fn missing_kind(missing: Destination) -> &'static str {
    match missing {
        Destination::Segment => whole::MISSING_IN_SEGMENT,
        Destination::RudderStack => whole::MISSING_IN_RUDDERSTACK,
    }
}

/// What an event is that only this class made differ.
pub(super) fn agreement_of(kind: &str) -> Agreement {
    match kind {
        whole::MISSING_IN_RUDDERSTACK => Agreement::OnlySegment,
        whole::MISSING_IN_SEGMENT => Agreement::OnlyRudderStack,
        _ => Agreement::Different,
    }
}

fn key(source: &SourceId, path: &str, kind: &str) -> FindingKey {
    FindingKey { source: source.clone(), path: path.to_owned(), kind: kind.to_owned() }
}

fn judged<'a>(
    source: &'a SourceId,
    revision: Option<Revision>,
    agreement: Agreement,
    version: Option<&'a str>,
    at: WallTime,
) -> Judged<'a> {
    Judged { source, basis: Basis::Tap, revision, agreement, version, at }
}

fn late_of(slot: &Slot, side: Destination) -> Found {
    let kind = match side {
        Destination::Segment => whole::LATE_FROM_SEGMENT,
        Destination::RudderStack => whole::LATE_FROM_RUDDERSTACK,
    };
    Found { key: key(&slot.source, "", kind), left: None, right: None, why: String::new() }
}

/// What a comparison came to.
struct Compared {
    found: Vec<Found>,
    /// What counts for nothing.
    noise: Vec<NoiseHit>,
}

fn compare(source: &SourceId, segment: Raw<'_>, rudderstack: Raw<'_>, noise: &diff::Noise) -> Compared {
    let compared = diff::emitted(diff::Pair { segment, rudderstack, arrival: Arrival::Unknown }, noise);
    let found = compared.groups().map(|mismatch| Found {
        key: key(source, &mismatch.group, mismatch.kind.label()),
        left: mismatch.segment.map(told),
        right: mismatch.rudderstack.map(told),
        why: String::new(),
    });
    Compared { found: found.collect(), noise: compared.noise }
}

/// The place of noise as it is counted: beyond [`NOISE_PLACES_MAX`], all of one reason together.
fn told_apart(at: &NoiseAt, known: &BTreeMap<NoiseAt, u64>) -> NoiseAt {
    let is_told = known.len() < NOISE_PLACES_MAX || known.contains_key(at);
    NoiseAt { reason: at.reason, place: if is_told { at.place.clone() } else { String::new() } }
}

fn told(value: Raw<'_>) -> String {
    let text = value.text();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((at, _)) => format!("{}\u{2026}", &text[..at]),
        None => text.to_owned(),
    }
}

/// The app that an event names, else its library, with the version.
fn version_of(event: Raw<'_>) -> Option<String> {
    let context = event.get("context")?;
    let named = |member: &str| {
        let object = context.get(member)?;
        let text = |name: &str| object.get(name)?.string().filter(|text| !text.is_empty());
        let name = text("name").or_else(|| text("namespace"))?;
        let version = text("version").map(|version| format!(" {version}")).unwrap_or_default();
        Some(format!("{name}{version}").chars().take(80).collect::<String>())
    };
    named("app").or_else(|| named("library"))
}
