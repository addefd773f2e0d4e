//! What both legs have in common: how a record is opened, what a request is, how it can end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    chunks::Cut,
    records::{Completed, Ends},
    tapped::Carried,
};
use crate::{
    journal::{Entry, Position, Quarantined},
    model::{Encoding, Envelope, WallTime},
    protocol::{InflateLimits, inflate},
};

/// One destination's way of making requests out of records and keeping each person's events in order.
pub(super) trait Leg: Send {
    /// Takes a record in, at `now`. What can never be sent ends at once.
    fn take_in(&mut self, entry: &Entry, now: WallTime, ends: &mut Ends);

    /// The next request that may go at `now`, one that failed before first; None when all wait for something.
    fn next_parcel(&mut self, now: Instant, retries: Retries) -> Option<Parcel>;

    /// When [`Leg::next_parcel`] may have one, if nothing else happens before; None: never.
    fn due(&self, now: Instant, retries: Retries) -> Option<Instant>;

    /// Whether a request that failed before has waited long enough at `now`.
    fn owes_retry(&self, now: Instant) -> bool;

    /// What the request that is out under `ticket` carries.
    fn carried(&self, ticket: usize) -> Vec<Carried>;

    /// Takes in how a request ended.
    fn settle(&mut self, ticket: usize, fate: Fate, ends: &mut Ends);

    /// Takes in that the journal hears now of the end of the record at `position`. Returns the marks that the journal keeps with
    /// it; what waited for that end is noted in `ends`.
    fn leave(&mut self, _position: Position, _ends: &mut Ends) -> Vec<u128> {
        Vec::new()
    }

    /// Makes no larger requests from now on, in events; None: as large as its settings let it.
    fn bound(&mut self, _events_max: Option<usize>) {}

    /// Bytes in memory.
    fn held_bytes(&self) -> usize;

    /// Records that are not complete.
    fn records(&self) -> usize;
}

/// What becomes of requests that failed before and whose wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retries {
    /// They may go.
    Go,
    /// Their destination has been asked again often enough for now.
    Wait,
}

/// One request to be sent.
#[derive(Debug)]
pub(super) struct Parcel {
    /// Names it toward its leg.
    pub(super) ticket: usize,
    /// How many events it carries.
    pub(super) events: u32,
    /// How often it was tried before.
    pub(super) failures: u32,
    pub(super) cargo: Cargo,
}

/// What a request is made of.
#[derive(Debug)]
pub(super) enum Cargo {
    /// An envelope, whose copy is made at the moment it goes.
    Envelope(Arc<Opened>),
    /// A batch for RudderStack.
    Batch {
        /// Which persons' events: RudderStack keeps the order within a slot.
        slot: usize,
        body: Bytes,
        encoding: Encoding,
    },
}

/// How a request ended, as a leg must know it.
#[derive(Debug)]
pub(super) enum Fate {
    /// Its events arrived.
    Delivered,
    /// It failed and is to be sent again, not before that moment.
    Again(Instant),
    /// It was not even sent, and waits for its turn as before.
    Unsent,
    /// It is to be sent in halves, or refused when it has one event.
    Divide(Cut, Refused),
    /// Its events are refused for good.
    Refused(Refused),
}

/// A refusal for good.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    pub(super) reason: String,
    /// 0: it was not sent.
    pub(super) status: u16,
    pub(super) answer: String,
    pub(super) at: WallTime,
}

impl Refused {
    /// A refusal of ours, before anything was sent.
    pub(super) const fn unsent(reason: String, at: WallTime) -> Self {
        Self { reason, status: 0, answer: String::new(), at }
    }

    /// What goes to quarantine for the event at `index` of the record at `position`; `envelope` is what a re-drive delivers.
    pub(super) fn event(&self, position: Position, index: u32, event: Bytes, envelope: Bytes) -> Quarantined {
        let Self { reason, status, answer, at } = self.clone();
        Quarantined { position, index, events: 1, event, envelope, reason, status, answer, at }
    }
}

/// A record's envelope with its body inflated.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) envelope: Envelope,
    /// The body's JSON: the envelope's own bytes when they are plain.
    pub(super) inflated: Bytes,
}

/// The ingress lets in less; this stops only what a damaged record could do.
const INFLATE_LIMITS: InflateLimits = InflateLimits { bytes_max: 64 << 20, ratio_max: usize::MAX };

impl Opened {
    /// Opens a record; the error says in words why it cannot be read.
    pub(super) fn of(entry: &Entry) -> Result<Self, String> {
        let envelope = Envelope::decode(&entry.payload).map_err(|error| format!("the record cannot be read: {error}"))?;
        let inflated = match envelope.encoding {
            Encoding::Identity => envelope.body.clone(),
            Encoding::Gzip => {
                inflate(&envelope.body, INFLATE_LIMITS).map_err(|error| format!("the record's body cannot be read: {error}"))?.into()
            }
        };
        Ok(Self { envelope, inflated })
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        let inflated = if self.envelope.encoding == Encoding::Gzip { self.inflated.len() } else { 0 };
        self.envelope.body.len() + inflated + OVERHEAD_BYTES
    }
}

/// What a record costs beside its body.
const OVERHEAD_BYTES: usize = 512;

/// Reads or writes something of a client's. Should that panic, by a fault of ours, then this event alone suffers: the lane
/// would meet it again after every restart, and never get past it.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err("segue failed on it; please report this event".to_owned()))
}

/// Ends a whole record that cannot be read: it is kept in quarantine as it is.
pub(super) fn give_up(entry: &Entry, refused: &Refused, ends: &mut Ends) {
    let item = refused.event(entry.position, 0, entry.payload.clone(), entry.payload.clone());
    ends.quarantined.push_back(Quarantined { events: entry.planned, ..item });
    let tally = crate::journal::Tally { quarantined: entry.planned, ..Default::default() };
    ends.complete.push(Completed { position: entry.position, tally, stamp: None });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_over_one_event_is_a_refusal_of_that_event() {
        assert_eq!(guarded(|| Ok(1)), Ok(1));
        assert_eq!(guarded::<()>(|| Err("bad".into())), Err("bad".into()));
        assert!(guarded::<()>(|| panic!("a fault of ours")).is_err_and(|reason| reason.contains("segue failed")));
    }
}
