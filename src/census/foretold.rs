//! What was foretold of events: counted by source, vendor and reason, with the newest samples.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{names::SavedName, tally::Moment};
use crate::{
    forecast::{Discard, Refusal},
    model::{Destination, PerDestination, Selection, SourceId, WallTime},
};

/// Samples of one reason.
pub const SAMPLES_MAX: usize = 10;
/// Longer ids and names are cut, in characters.
const TEXT_CHARS_MAX: usize = 100;

/// What was foretold of one event of a request.
#[derive(Debug, Clone)]
pub struct Foretelling {
    /// Its index.
    pub index: usize,
    /// Why Segment will drop it.
    pub segment: Option<Discard>,
    /// Why RudderStack will refuse it.
    pub rudderstack: Option<Refusal>,
    /// The event to look for; None: there are samples enough of this request.
    pub sample: Option<Named>,
}

/// The event of a sample. No value of it but these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its messageId.
    pub message_id: String,
    /// What it tracks, else its type; None: neither is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

impl Named {
    /// Cuts what is too long.
    #[must_use]
    pub fn new(message_id: &str, event: Option<&str>) -> Self {
        Self { message_id: short(message_id), event: event.map(short) }
    }
}

/// The first characters of a text.
pub(super) fn short(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

/// Why something was foretold, by which vendor's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Segment will drop it.
    Segment(Discard),
    /// RudderStack will refuse it.
    RudderStack(Refusal),
}

impl Reason {
    /// Whose rule it is.
    #[must_use]
    pub const fn vendor(self) -> Destination {
        match self {
            Self::Segment(_) => Destination::Segment,
            Self::RudderStack(_) => Destination::RudderStack,
        }
    }

    /// Its code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Segment(discard) => discard.code(),
            Self::RudderStack(refusal) => refusal.code(),
        }
    }

    /// The member of the event that is at fault.
    #[must_use]
    pub const fn place(self) -> &'static str {
        match self {
            Self::Segment(discard) => discard.place(),
            Self::RudderStack(refusal) => refusal.place(),
        }
    }

    fn of(vendor: &str, code: &str) -> Option<Self> {
        let all = Discard::ALL.into_iter().map(Self::Segment).chain(Refusal::ALL.into_iter().map(Self::RudderStack));
        all.into_iter().find(|reason| reason.vendor().label() == vendor && reason.code() == code)
    }
}

/// Events of one source of which one thing was foretold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How many.
    pub events: u64,
    /// When the first of them arrived.
    pub first_at: WallTime,
    /// When the last of them arrived.
    pub last_at: WallTime,
    /// The newest, the last one first.
    pub samples: VecDeque<(WallTime, Named)>,
}

/// All that was foretold of events.
#[derive(Debug, Default)]
pub(super) struct Foretold(pub(super) BTreeMap<(SourceId, Reason), Told>);

/// What was foretold of a source, as it is saved.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedForetold {
    pub(super) source: String,
    #[serde(default)]
    reasons: Vec<SavedReason>,
    #[serde(default)]
    pub(super) names: Vec<SavedName>,
}

impl SavedForetold {
    pub(super) const fn of_names(source: String, names: Vec<SavedName>) -> Self {
        Self { source, reasons: Vec::new(), names }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedReason {
    vendor: String,
    reason: String,
    events: u64,
    first_at: Moment,
    last_at: Moment,
    samples: Vec<(Moment, Named)>,
}

impl Foretold {
    /// Counts what was foretold of accepted events, for the vendors that are to get them.
    pub(super) fn count(&mut self, source: &SourceId, at: WallTime, plan: &PerDestination<Selection>, foretold: &[Foretelling]) {
        for Foretelling { index, segment, rudderstack, sample } in foretold {
            let reasons = [segment.map(Reason::Segment), rudderstack.map(Reason::RudderStack)];
            for reason in reasons.into_iter().flatten().filter(|reason| plan.of(reason.vendor()).contains(*index)) {
                let told = self.0.entry((source.clone(), reason)).or_insert_with(|| Told {
                    events: 0,
                    first_at: at,
                    last_at: at,
                    samples: VecDeque::new(),
                });
                told.events += 1;
                told.last_at = told.last_at.max(at);
                if let Some(sample) = sample {
                    told.samples.truncate(SAMPLES_MAX - 1);
                    told.samples.push_front((at, sample.clone()));
                }
            }
        }
    }

    pub(super) fn save(&self) -> Vec<SavedForetold> {
        let mut saved: Vec<SavedForetold> = Vec::new();
        for ((source, reason), told) in &self.0 {
            if saved.last().is_none_or(|last| last.source != source.as_str()) {
                saved.push(SavedForetold { source: source.to_string(), reasons: Vec::new(), names: Vec::new() });
            }
            let row = SavedReason {
                vendor: reason.vendor().label().to_owned(),
                reason: reason.code().to_owned(),
                events: told.events,
                first_at: told.first_at.into(),
                last_at: told.last_at.into(),
                samples: told.samples.iter().map(|(at, named)| ((*at).into(), named.clone())).collect(),
            };
            if let Some(last) = saved.last_mut() {
                last.reasons.push(row);
            }
        }
        saved
    }

    /// What was saved; reasons that this version does not know are left out.
    pub(super) fn load(saved: &[SavedForetold]) -> Self {
        let mut foretold = Self::default();
        for SavedForetold { source, reasons, .. } in saved {
            let Ok(source) = SourceId::parse(source) else { continue };
            for row in reasons {
                let Some(reason) = Reason::of(&row.vendor, &row.reason) else { continue };
                let samples = row.samples.iter().take(SAMPLES_MAX).map(|(at, named)| ((*at).into(), named.clone())).collect();
                let told = Told { events: row.events, first_at: row.first_at.into(), last_at: row.last_at.into(), samples };
                foretold.0.insert((source.clone(), reason), told);
            }
        }
        foretold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foretelling(index: usize) -> Foretelling {
        let sample = Some(Named::new(&format!("m-{index}"), Some("Order")));
        Foretelling { index, segment: Some(Discard::IdNotString), rudderstack: Some(Refusal::EventTooLarge), sample }
    }

    #[test]
    fn each_vendors_reasons_are_counted_for_what_it_is_to_get() {
        let web = SourceId::parse("web").unwrap();
        let plan = PerDestination { segment: Selection::Some(vec![0, 1]), rudderstack: Selection::Some(vec![2]) };
        let mut foretold = Foretold::default();
        let all: Vec<Foretelling> = (0..3).map(foretelling).collect();
        for round in 0..7 {
            foretold.count(&web, WallTime::from_millis(round), &plan, &all);
        }
        let of = |reason| foretold.0[&(web.clone(), reason)].clone();
        let (segment, rudderstack) = (of(Reason::Segment(Discard::IdNotString)), of(Reason::RudderStack(Refusal::EventTooLarge)));
        assert_eq!((segment.events, rudderstack.events, foretold.0.len()), (14, 7, 2));
        assert_eq!((segment.samples.len(), &segment.samples[0].1.message_id), (SAMPLES_MAX, &"m-1".to_owned()), "the newest stay");
        let text = serde_json::to_string(&foretold.save()).unwrap();
        let again = Foretold::load(&serde_json::from_str::<Vec<SavedForetold>>(&text.replace("id_not_string", "id_of_tomorrow")).unwrap());
        assert_eq!(again.0.into_values().collect::<Vec<_>>(), [rudderstack], "a reason of a later version is left out");
        assert_eq!(Foretold::load(&foretold.save()).0, foretold.0);
    }
}
