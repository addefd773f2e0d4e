//! What evidence tells those who ask.

use std::collections::BTreeMap;

use super::{
    answers::{AnswerClass, AnswerCount},
    findings::{Decision, FindingKey, FindingState, Group},
    handle::Evidence,
    slot::{SideAnswer, Slot},
    tallies::{Agreement, Basis, Track},
    words::LedgerRow,
};
use crate::{
    diff::NoiseAt,
    model::{Destination, PerDestination, Revision, SourceId, WallTime},
};

/// How much is known of a source, by what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parity {
    /// The source.
    pub source: SourceId,
    /// What it rests on.
    pub basis: Basis,
    /// The counts.
    pub track: Track,
}

/// One class of differences, and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub key: FindingKey,
    /// What is known of it.
    pub group: Group,
    /// How it stands.
    pub state: FindingState,
    /// Why, and by which revision; None: nobody has decided anything.
    pub decision: Option<Decision>,
}

/// An event that was followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The revision it was planned under; 0: segue did not see it come, or no more.
    pub revision: Revision,
    /// What both sides answered; None: not yet.
    pub answers: PerDestination<Option<SideAnswer>>,
    /// When both vendors emitted it; None: they have not.
    pub emitted_at: PerDestination<Option<WallTime>>,
    /// What comes of it; None: that is still open.
    pub agreement: Option<Agreement>,
    /// Why Segment was expected to drop it; None: it was not.
    pub predicted: Option<&'static str>,
}

/// How evidence stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Events that are followed now.
    pub followed: u64,
    /// At most so many are.
    pub followed_max: u64,
    /// One event in how many is followed: 1, or a power of two.
    pub one_in: u64,
    /// Disk that waiting emissions take.
    pub waiting_bytes: u64,
    /// At most so much.
    pub waiting_bytes_max: u64,
    /// Differences for which there was no class any more.
    pub untold: u64,
    /// Ends that a restart had to put to the oldest open minutes of the ledger.
    pub estimated: u64,
    /// The taps, by source.
    pub taps: Vec<TapStanding>,
}

/// How a vendor's tap stands for a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapStanding {
    /// The source.
    pub source: SourceId,
    /// Whose tap.
    pub by: Destination,
    /// When it was heard last; None: never since the start.
    pub heard_at: Option<WallTime>,
    /// Events that it told of.
    pub events: u64,
    /// Those without a messageId.
    pub unjoinable: u64,
    /// Those that the other vendor did not tell of, and that segue did not send to both.
    pub unexpected: u64,
}

impl Followed {
    pub(super) fn of(slot: &Slot) -> Self {
        let sent = slot.sent.as_ref();
        Self {
            revision: sent.map(|sent| sent.revision).unwrap_or_default(),
            answers: sent.map(|sent| sent.answers).unwrap_or_default(),
            emitted_at: PerDestination::from_fn(|side| slot.emitted.of(side).map(|emitted| emitted.at)),
            agreement: None,
            predicted: sent.and_then(|sent| sent.predicted),
        }
    }
}

impl Evidence {
    /// The ledger of a source, or of all with None, from then on: oldest first.
    #[must_use]
    pub fn ledger_rows(&self, source: Option<&SourceId>, from: WallTime) -> Vec<LedgerRow> {
        let ledger = self.ledger();
        let row = |(cell, sums): (&super::ledger::Cell, &super::words::Sums)| LedgerRow {
            source: cell.source.clone(),
            destination: cell.destination,
            revision: cell.revision,
            from: WallTime::from_millis(cell.minute * 60_000),
            minutes: u32::try_from(cell.span).unwrap_or(1),
            sums: *sums,
        };
        ledger.cells(source).filter(|(cell, _)| (cell.minute + cell.span) * 60_000 > from.as_millis()).map(row).collect()
    }

    /// The tallies, sorted by source.
    #[must_use]
    pub fn parity(&self) -> Vec<Parity> {
        let state = self.state();
        let parity = |(source, basis, track): (&SourceId, Basis, &Track)| Parity { source: source.clone(), basis, track: track.clone() };
        let mut all: Vec<Parity> = state.tallies.all().map(parity).collect();
        all.sort_by(|a, b| (&a.source, a.basis).cmp(&(&b.source, b.basis)));
        all
    }

    /// The tally of a source on one basis; None: nothing was judged yet.
    #[must_use]
    pub fn track(&self, source: &SourceId, basis: Basis) -> Option<Track> {
        self.state().tallies.track(source, basis).cloned()
    }

    /// The classes of differences of a source, or of all with None: those with the most events first.
    #[must_use]
    pub fn findings(&self, source: Option<&SourceId>) -> Vec<Finding> {
        let state = self.state();
        state.findings.list(source).into_iter().map(|(key, group)| finding(&state.findings, key, group)).collect()
    }

    /// The class of that id, see [`FindingKey::id`]; None: there is none.
    #[must_use]
    pub fn finding(&self, id: &str) -> Option<Finding> {
        let state = self.state();
        state.findings.find(id).map(|(key, group)| finding(&state.findings, key, group))
    }

    /// How often something in a source's emissions counted for nothing, by the reason and the place, since the start: a few hundred at most.
    #[must_use]
    pub fn noise(&self, source: &SourceId) -> BTreeMap<NoiseAt, u64> {
        self.state().noise.get(source).cloned().unwrap_or_default()
    }

    /// What was decided about findings, oldest first.
    #[must_use]
    pub fn decisions(&self) -> Vec<Decision> {
        self.state().findings.decisions().to_vec()
    }

    /// What both vendors answered, in classes: those with the most events first.
    #[must_use]
    pub fn answers(&self, source: Option<&SourceId>) -> Vec<(AnswerClass, AnswerCount)> {
        self.state().answers.list(source)
    }

    /// What is known of an event that is over, by its messageId; None: nothing is, or no more.
    #[must_use]
    pub fn followed(&self, source: &SourceId, message_id: &str) -> Option<Followed> {
        let print = Self::print(source, message_id);
        let mut state = self.state();
        state.recent.get(print).cloned()
    }

    /// Whether both vendors' taps are configured.
    #[must_use]
    pub const fn is_tapped(&self) -> bool {
        self.settings.is_tapped
    }

    /// How evidence stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let state = self.state();
        let mut taps: Vec<TapStanding> = Vec::new();
        for (source, counts) in &state.taps {
            taps.extend(Destination::ALL.into_iter().map(|by| {
                let count = counts.of(by);
                TapStanding {
                    source: source.clone(),
                    by,
                    heard_at: count.heard_at,
                    events: count.events,
                    unjoinable: count.unjoinable,
                    unexpected: count.unexpected,
                }
            }));
        }
        taps.sort_by(|a, b| (&a.source, a.by).cmp(&(&b.source, b.by)));
        let (followed, one_in, waiting_bytes) = (state.join.len() as u64, state.join.one_in(), state.bodies.bytes());
        let untold = state.findings.untold;
        drop(state);
        Standing {
            followed,
            followed_max: self.settings.events_max as u64,
            one_in,
            waiting_bytes,
            waiting_bytes_max: self.settings.bodies_max.0,
            untold,
            estimated: self.ledger().estimated,
            taps,
        }
    }
}

fn finding(findings: &super::findings::Findings, key: &FindingKey, group: &Group) -> Finding {
    let state = findings.state(key);
    let about = |decision: &&Decision| {
        decision.source == key.source && decision.path == key.path && decision.kind.as_ref().is_none_or(|kind| *kind == key.kind)
    };
    let decision = findings.decisions().iter().rev().find(about).cloned();
    Finding { key: key.clone(), group: group.clone(), state, decision }
}
