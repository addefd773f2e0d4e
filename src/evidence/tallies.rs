//! Tallies: on how many events both sides agree, by source and by what it rests on.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::{
    model::{Revision, SourceId, WallTime},
    parity::Sequence,
};

/// What a claim about an event rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// What both vendors answered: weak, as Segment says 200 to what it drops (protocol.md 1.6).
    Answers,
    /// What both vendors emitted.
    Tap,
}

/// What both sides made of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Agreement {
    /// The same.
    Equal,
    /// The same, but for how the two vendors differ by their nature.
    Noise,
    /// The same, but for what somebody has accepted.
    Accepted,
    /// Not the same.
    Different,
    /// Segment alone has it.
    OnlySegment,
    /// RudderStack alone has it.
    OnlyRudderStack,
    /// One side alone, as the published rules said before.
    Predicted,
    /// It cannot be said: a tap was silent, or an event was not followed to its end.
    Unjoinable,
}

impl Agreement {
    /// Whether it speaks for parity or against it; None: for neither.
    #[must_use]
    pub const fn agrees(self) -> Option<bool> {
        match self {
            Self::Equal | Self::Noise | Self::Accepted => Some(true),
            Self::Different | Self::OnlySegment | Self::OnlyRudderStack => Some(false),
            Self::Predicted | Self::Unjoinable => None,
        }
    }

    /// One word for it; it stays the same (ui.md 4.1).
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Noise => "noise",
            Self::Accepted => "accepted",
            Self::Different => "different",
            Self::OnlySegment => "only_segment",
            Self::OnlyRudderStack => "only_rudderstack",
            Self::Predicted => "predicted",
            Self::Unjoinable => "unjoinable",
        }
    }
}

/// How many events were judged so and so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// [`Agreement::Equal`].
    pub equal: u64,
    /// [`Agreement::Noise`].
    pub noise: u64,
    /// [`Agreement::Accepted`].
    pub accepted: u64,
    /// [`Agreement::Different`].
    pub different: u64,
    /// [`Agreement::OnlySegment`].
    pub only_segment: u64,
    /// [`Agreement::OnlyRudderStack`].
    pub only_rudderstack: u64,
    /// [`Agreement::Predicted`]; neither for nor against parity.
    pub predicted: u64,
    /// [`Agreement::Unjoinable`]; neither for nor against parity.
    pub unjoinable: u64,
}

/// A source's tallies of one basis.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Track {
    /// The revision of the source's route since which `now` counts.
    pub since_revision: u64,
    /// When that was, in milliseconds since 1970.
    pub since_ms: i64,
    /// Events that arrived under that revision.
    pub now: Tally,
    /// All.
    pub ever: Tally,
    /// By the minute (since 1970): how many agreed and how many did not. A day of them.
    pub minutes: BTreeMap<i64, (u32, u32)>,
    /// How sure the share in `now` is.
    #[serde(default)]
    pub sequence: Sequence,
    /// `now` by the app and its version, else the library's.
    pub versions: BTreeMap<String, Tally>,
}

/// All tracks.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    tracks: HashMap<(SourceId, Basis), Track>,
    epochs: HashMap<SourceId, (Revision, WallTime)>,
    pub(super) is_changed: bool,
}

/// A track as it is written.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Saved {
    source: String,
    basis: Basis,
    track: Track,
}

/// One event that was judged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged<'a> {
    pub(super) source: &'a SourceId,
    pub(super) basis: Basis,
    /// The revision it was planned under; None: it is not known.
    pub(super) revision: Option<Revision>,
    pub(super) agreement: Agreement,
    /// The app or library, and its version; None: it is not known.
    pub(super) version: Option<&'a str>,
    pub(super) at: WallTime,
}

/// Minutes that are kept.
const MINUTES_MAX: usize = 24 * 60;
/// Versions that are told apart, for each source.
const VERSIONS_MAX: usize = 100;
/// Where the others are counted.
const OTHER: &str = "(other)";

impl Tally {
    /// Those on which both sides agree.
    #[must_use]
    pub const fn agree(&self) -> u64 {
        self.equal + self.noise + self.accepted
    }

    /// Those on which they do not.
    #[must_use]
    pub const fn differ(&self) -> u64 {
        self.different + self.only_segment + self.only_rudderstack
    }

    /// Those that say something about parity.
    #[must_use]
    pub const fn pairs(&self) -> u64 {
        self.agree() + self.differ()
    }

    fn add(&mut self, agreement: Agreement) {
        *match agreement {
            Agreement::Equal => &mut self.equal,
            Agreement::Noise => &mut self.noise,
            Agreement::Accepted => &mut self.accepted,
            Agreement::Different => &mut self.different,
            Agreement::OnlySegment => &mut self.only_segment,
            Agreement::OnlyRudderStack => &mut self.only_rudderstack,
            Agreement::Predicted => &mut self.predicted,
            Agreement::Unjoinable => &mut self.unjoinable,
        } += 1;
    }

    /// Somebody accepted what made so many events differ, or took that back.
    const fn accept(&mut self, events: u64, from: Agreement) {
        let from = match from {
            Agreement::OnlySegment => &mut self.only_segment,
            Agreement::OnlyRudderStack => &mut self.only_rudderstack,
            _ => &mut self.different,
        };
        let moved = if events < *from { events } else { *from };
        *from -= moved;
        self.accepted += moved;
    }
}

impl Tallies {
    pub(super) fn judge(&mut self, judged: &Judged<'_>) {
        self.is_changed = true;
        let (epoch, since) = self.epochs.get(judged.source).copied().unwrap_or((Revision(0), judged.at));
        let track = self.tracks.entry((judged.source.clone(), judged.basis)).or_default();
        if track.since_ms == 0 {
            (track.since_revision, track.since_ms) = (epoch.0, since.as_millis());
        }
        track.ever.add(judged.agreement);
        if judged.revision.is_some_and(|revision| revision.0 < track.since_revision) {
            return;
        }
        track.now.add(judged.agreement);
        track.count_minute(judged);
        if let Some(version) = judged.version {
            let known = track.versions.contains_key(version) || track.versions.len() < VERSIONS_MAX;
            let version = if known { version } else { OTHER };
            track.versions.entry(version.to_owned()).or_default().add(judged.agreement);
        }
    }

    /// Says under which revision a source's route is now: what `now` counts begins with it.
    pub(super) fn begin(&mut self, source: &SourceId, revision: Revision, now: WallTime) {
        if self.epochs.get(source).is_some_and(|(known, _)| *known == revision) {
            return;
        }
        self.epochs.insert(source.clone(), (revision, now));
        for basis in [Basis::Answers, Basis::Tap] {
            // After a restart it goes on where it was.
            if let Some(track) = self.tracks.get_mut(&(source.clone(), basis)).filter(|track| track.since_revision != revision.0) {
                (track.since_revision, track.since_ms) = (revision.0, now.as_millis());
                (track.now, track.sequence, track.versions) = (Tally::default(), Sequence::default(), BTreeMap::new());
                self.is_changed = true;
            }
        }
    }

    /// Somebody accepted a finding that alone made so many events differ.
    pub(super) fn accept(&mut self, source: &SourceId, events: u64, from: Agreement) {
        if let Some(track) = self.tracks.get_mut(&(source.clone(), Basis::Tap)) {
            track.now.accept(events, from);
            track.sequence.accept(events);
            track.ever.accept(events, from);
            self.is_changed = true;
        }
    }

    pub(super) fn track(&self, source: &SourceId, basis: Basis) -> Option<&Track> {
        self.tracks.get(&(source.clone(), basis))
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&SourceId, Basis, &Track)> {
        self.tracks.iter().map(|((source, basis), track)| (source, *basis, track))
    }

    pub(super) fn save(&self) -> Vec<Saved> {
        let saved = |((source, basis), track): (&(SourceId, Basis), &Track)| Saved {
            source: source.as_str().to_owned(),
            basis: *basis,
            track: track.clone(),
        };
        self.tracks.iter().map(saved).collect()
    }

    pub(super) fn load(saved: Vec<Saved>) -> Self {
        let track = |saved: Saved| Some(((SourceId::parse(&saved.source).ok()?, saved.basis), saved.track));
        Self { tracks: saved.into_iter().filter_map(track).collect(), ..Self::default() }
    }
}

impl Track {
    fn count_minute(&mut self, judged: &Judged<'_>) {
        let Some(agrees) = judged.agreement.agrees() else { return };
        self.sequence.push(agrees);
        let minute = self.minutes.entry(judged.at.as_millis().div_euclid(60_000)).or_default();
        *if agrees { &mut minute.0 } else { &mut minute.1 } += 1;
        while self.minutes.len() > MINUTES_MAX {
            self.minutes.pop_first();
        }
    }

    /// Those of the minutes from `from` on: how many agreed, and how many did not.
    #[must_use]
    pub fn within(&self, from: WallTime) -> (u64, u64) {
        let first = from.as_millis().div_euclid(60_000);
        self.minutes.range(first..).fold((0, 0), |(agree, differ), (_, minute)| (agree + u64::from(minute.0), differ + u64::from(minute.1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(source: &SourceId, revision: u64, agreement: Agreement, version: &'static str) -> Judged<'static> {
        let source = Box::leak(Box::new(source.clone()));
        let at = WallTime::from_millis(600_000);
        Judged { source, basis: Basis::Tap, revision: Some(Revision(revision)), agreement, version: Some(version), at }
    }

    #[test]
    fn a_new_route_begins_a_new_count_and_what_came_before_it_does_not_count() {
        let (mut tallies, web) = (Tallies::default(), SourceId::parse("web").unwrap());
        let at = WallTime::from_millis(1);
        tallies.begin(&web, Revision(3), at);
        tallies.judge(&judged(&web, 3, Agreement::Different, "shop 1.0"));
        tallies.begin(&web, Revision(5), at);
        tallies.judge(&judged(&web, 3, Agreement::Different, "shop 1.0"));
        tallies.judge(&judged(&web, 5, Agreement::Equal, "shop 1.1"));
        tallies.judge(&judged(&web, 6, Agreement::Predicted, "shop 1.1"));
        let track = tallies.track(&web, Basis::Tap).unwrap();
        assert_eq!((track.since_revision, track.now.agree(), track.now.differ(), track.now.predicted), (5, 1, 0, 1));
        assert_eq!((track.ever.agree(), track.ever.differ()), (1, 2));
        assert_eq!(track.versions.keys().collect::<Vec<_>>(), ["shop 1.1"]);
        assert_eq!(track.within(at), (1, 1), "the graph goes on over the change");
        // As after a restart.
        let mut again = Tallies::load(serde_json::from_str(&serde_json::to_string(&tallies.save()).unwrap()).unwrap());
        again.begin(&web, Revision(5), WallTime::from_millis(2));
        assert_eq!(again.track(&web, Basis::Tap), Some(track));
    }

    #[test]
    fn what_is_accepted_agrees_from_then_on_and_before() {
        let (mut tallies, web) = (Tallies::default(), SourceId::parse("web").unwrap());
        for _ in 0..5 {
            tallies.judge(&judged(&web, 1, Agreement::Different, "a"));
        }
        tallies.accept(&web, 3, Agreement::Different);
        let now = tallies.track(&web, Basis::Tap).unwrap().now;
        assert_eq!((now.agree(), now.differ(), now.accepted), (3, 2, 3));
    }
}
