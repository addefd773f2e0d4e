//! What was read of a request, and what was decided about it.

use std::sync::Arc;

use bytes::Bytes;

use super::settings::OnFull;
use crate::{
    census::{Foretelling, Roll},
    evidence::Twin,
    model::{Destination, EventKind, Outline, Plan, Selection},
    routing::Source,
};

/// What a readable call says: whose it is, its events, where they go.
pub(super) struct Decided {
    pub(super) source: Arc<Source>,
    pub(super) key_print: [u8; 8],
    pub(super) kinds: Vec<Option<EventKind>>,
    /// What the routes say.
    pub(super) plan: Plan,
    pub(super) way: Way,
    /// RudderStack events that nobody keeps, as the source's lane to RudderStack is over its quota of disk.
    pub(super) left_out: u64,
    /// Who the events are by.
    pub(super) roll: Roll,
    /// What the vendors will not take of them (protocol.md 1.6, 2.3).
    pub(super) foretold: Vec<Foretelling>,
    /// Events that both sides are to get, until evidence has been told of them.
    pub(super) twins: Vec<Twin>,
    /// Where the events stand in it.
    pub(super) outline: Option<Outline>,
    /// The body as plain JSON.
    pub(super) inflated: Bytes,
}

/// How Segment's share of a call travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// From the journal, like RudderStack's.
    Journal,
    /// Live, as only Segment can judge it: a body above its limit, a token that is not ours to keep.
    Live,
    /// Live, as the journal does not take it.
    Instead,
}

impl Decided {
    /// What the journal is to deliver.
    pub(super) fn kept_plan(&self) -> Plan {
        let mut plan = self.plan.clone();
        if self.way != Way::Journal {
            plan.events.segment = Selection::None;
        }
        plan
    }

    /// Goes on without the journal for a destination whose lane is over its quota of disk; None: there is no way without it. Segment
    /// is asked live then. Without RudderStack, Segment gets the events of RudderStack alone as well: no event is worse off than
    /// without segue.
    pub(super) fn leave_out(&mut self, destination: Destination, on_full: OnFull) -> Option<()> {
        let can_be_live = on_full == OnFull::Relay && self.way == Way::Journal;
        match destination {
            Destination::Segment if can_be_live => self.way = Way::Instead,
            Destination::RudderStack if !self.plan.events.segment.is_none() => {
                self.left_out = std::mem::take(&mut self.plan.events.rudderstack).count(self.kinds.len()) as u64;
                self.plan.events.segment = Selection::All;
            }
            Destination::Segment | Destination::RudderStack => return None,
        }
        Some(())
    }
}
