//! Telling the census of a request that was accepted, and what the vendors will not take of it.

use super::{decided::Decided, request::Desk};
use crate::{
    census::{Came, Counted, Foretelling, Named, SAMPLES_MAX},
    forecast::{self, Discard},
    model::{EnvelopeId, EventKind, Head, PerDestination, Reading, Selection, json::Raw},
};

impl Desk {
    /// Counts accepted events in the census.
    pub(super) fn enrol(&self, decided: &Decided, plan: &PerDestination<Selection>, came: Came) {
        let at = self.clock.now();
        if came == Came::Directly {
            self.counters.source(&decided.source.id).settings.followed(at);
        }
        let counted = Counted { source: &decided.source.id, at, roll: &decided.roll, plan, came };
        self.census.count(&counted, &decided.foretold);
    }
}

/// What the vendors will not take of a request's events, whose `discards` are known.
pub(super) fn foretell(reading: &Reading<'_>, heads: &[Head<'_>], discards: &[Option<Discard>], id: EnvelopeId) -> Vec<Foretelling> {
    let mut foretold = Vec::new();
    for (index, (head, segment)) in heads.iter().zip(discards).enumerate() {
        let rudderstack = forecast::refusal_of(reading.items[index], head);
        if segment.is_none() && rudderstack.is_none() {
            continue;
        }
        let sample = (foretold.len() < SAMPLES_MAX).then(|| {
            let event = reading.items[index].get("event").and_then(Raw::string);
            Named::new(&head.message_id(id, index), event.as_deref().or(head.kind.map(EventKind::label)))
        });
        foretold.push(Foretelling { index, segment: *segment, rudderstack, sample });
    }
    foretold
}
