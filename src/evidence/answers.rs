//! Answers: what both vendors said to the same event, in classes.

use std::collections::HashMap;

use super::slot::{Sent, Slot};
use crate::model::{Destination, EnvelopeId, Outcome, PerDestination, SourceId, WallTime};

/// One class: how both sides ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AnswerClass {
    /// Whose events.
    pub source: SourceId,
    /// What became of them at each side, and the status of the answer (0: there was none).
    pub ends: PerDestination<(Outcome, u16)>,
    /// Why Segment will drop them after its 200; None: the published rules say that it does not.
    pub predicted: Option<&'static str>,
}

/// What is known of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerCount {
    /// Events.
    pub events: u64,
    /// When the last of them was answered.
    pub last_at: WallTime,
    /// From the request to its answer: the sum over all, in milliseconds.
    pub took_ms: PerDestination<u64>,
    /// The longest, in milliseconds.
    pub slowest_ms: PerDestination<u32>,
    /// By how many milliseconds RudderStack had an event later than Segment: the largest; less than 0: it was always earlier.
    pub behind_ms: i64,
    /// The newest of them: envelope, and place in it.
    pub newest: Vec<(EnvelopeId, u32)>,
}

/// All classes of this run.
#[derive(Debug, Default)]
pub(super) struct Answers {
    classes: HashMap<AnswerClass, AnswerCount>,
}

/// More classes are not told apart.
const CLASSES_MAX: usize = 500;
const NEWEST_MAX: usize = 3;

impl Answers {
    /// Takes in an event that both sides have answered.
    pub(super) fn take(&mut self, slot: &Slot, sent: &Sent) {
        let (Some(segment), Some(rudderstack)) = (sent.answers.segment, sent.answers.rudderstack) else { return };
        let ends = PerDestination { segment: (segment.outcome, segment.status), rudderstack: (rudderstack.outcome, rudderstack.status) };
        let class = AnswerClass { source: slot.source.clone(), ends, predicted: sent.predicted };
        if !self.classes.contains_key(&class) && self.classes.len() >= CLASSES_MAX {
            return;
        }
        let behind_ms = rudderstack.at.millis_since(segment.at);
        let count = self.classes.entry(class).or_insert_with(|| AnswerCount {
            events: 0,
            last_at: segment.at,
            took_ms: PerDestination::default(),
            slowest_ms: PerDestination::default(),
            behind_ms,
            newest: Vec::new(),
        });
        count.events += 1;
        count.last_at = count.last_at.max(segment.at).max(rudderstack.at);
        count.behind_ms = count.behind_ms.max(behind_ms);
        for side in Destination::ALL {
            let took_ms = sent.answers.of(side).map_or(0, |answer| answer.took_ms);
            *count.took_ms.of_mut(side) += u64::from(took_ms);
            *count.slowest_ms.of_mut(side) = (*count.slowest_ms.of(side)).max(took_ms);
        }
        count.newest.push((sent.envelope, sent.index));
        if count.newest.len() > NEWEST_MAX {
            count.newest.remove(0);
        }
    }

    /// The classes of a source, or of all with None: those with the most events first.
    pub(super) fn list(&self, source: Option<&SourceId>) -> Vec<(AnswerClass, AnswerCount)> {
        let wanted = |(class, _): &(&AnswerClass, &AnswerCount)| source.is_none_or(|source| class.source == *source);
        let mut list: Vec<_> = self.classes.iter().filter(wanted).map(|(class, count)| (class.clone(), count.clone())).collect();
        list.sort_by_key(|(_, count)| std::cmp::Reverse(count.events));
        list
    }
}
