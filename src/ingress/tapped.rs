//! Telling the live tap of a request that was accepted.

use std::time::Duration;

use http::StatusCode;

use super::{decided::Decided, request::Desk};
use crate::{
    model::{Destination, Endpoint, EnvelopeId, Outcome, PerDestination, Selection, Settled, WallTime},
    tap::{Expected, Passed},
};

/// A request that somebody may see, until it is accepted.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    expected: Expected<'a>,
    at: WallTime,
    endpoint: Endpoint,
}

impl Desk {
    /// Before it is journalled, as its events may be delivered before the journal has said so here. None: nobody looks.
    pub(super) fn watched(&self, id: EnvelopeId, endpoint: Endpoint) -> Option<Watched<'_>> {
        self.tap.expect(id).map(|expected| Watched { expected, at: self.clock.now(), endpoint })
    }
}

/// Its request was accepted, and goes as was decided.
pub(super) fn pass(watched: Option<Watched<'_>>, decided: &Decided) {
    pass_as(watched, decided, &decided.plan.events);
}

/// Its request was not journalled, and all of it went to Segment, live.
pub(super) fn pass_live(watched: Option<Watched<'_>>, decided: &Decided) {
    pass_as(watched, decided, &PerDestination { segment: Selection::All, rudderstack: Selection::None });
}

/// Segment took all of a request, live. Of one that was not journalled that is known before it has passed.
pub(super) fn relayed(id: EnvelopeId, decided: &Decided, status: StatusCode, took: Duration) -> Settled {
    Settled {
        envelope: id,
        events: u32::try_from(decided.kinds.len()).unwrap_or(u32::MAX),
        index: None,
        destination: Destination::Segment,
        outcome: Outcome::Delivered,
        status: status.as_u16(),
        took,
    }
}

fn pass_as(watched: Option<Watched<'_>>, decided: &Decided, plan: &PerDestination<Selection>) {
    let Some(Watched { expected, at, endpoint }) = watched else { return };
    expected.pass(&Passed {
        source: &decided.source.id,
        at,
        endpoint,
        events: decided.kinds.len(),
        plan,
        body: &decided.inflated,
        outline: decided.outline.as_ref(),
    });
}
