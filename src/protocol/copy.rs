//! Segment's copy: the client's own bytes, and the few edits that design promise 4 allows.
//!
//! An edit is a splice at the place where it belongs: nothing is parsed into values and printed again, and all bytes
//! around an edit are the client's. Most bodies need none, which one scan tells.
//!
//! A pixel's body is the event in its query: when an edit changes it, it goes back into a query (`pixel_path`); when none does,
//! the copy is a GET of the path and query that the envelope keeps, as they came.

mod edit;
mod scan;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;

use self::edit::{Body, Late};
use crate::model::{Encoding, Envelope, Naming, ReadError, Reading, Selection, WallTime};

/// Delivery that comes no later than this after arrival moves no event far enough to be put right, in milliseconds.
const LATE_MS_MIN: i64 = 1_000;

/// What goes to Segment for one envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentCopy {
    /// The request's body: the envelope's own [`Bytes`] when nothing was edited. A pixel's goes
    /// into the query of a GET. Empty when no event of the envelope goes to Segment: then there is nothing to send.
    pub body: Bytes,
    /// How `body` is encoded: as the client did, and plain after an edit.
    pub encoding: Encoding,
    /// What was edited.
    pub edits: Edits,
}

/// How many events of one envelope were edited, by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edits {
    /// Events that got a messageId (protocol.md T7).
    pub message_id: u32,
    /// Events that got the client's IPv4 address as `context.ip` (protocol.md T13).
    pub client_ip: u32,
    /// Events whose times were put right because they are delivered late (protocol.md T2).
    pub late_sent_at: u32,
    /// Events cut out because their plan is RudderStack alone.
    pub cut: u32,
}

impl Edits {
    /// Whether nothing was edited.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.message_id == 0 && self.client_ip == 0 && self.late_sent_at == 0 && self.cut == 0
    }
}

/// Makes Segment's copy of an envelope, to be sent at `now`. `inflated` is the envelope's body, inflated when it is gzip.
///
/// Whatever `now` is, Segment computes the same time for each event: that of a request that reached it when it reached
/// segue. A retry is made anew, with its own `now`.
///
/// # Errors
/// When an edit may be needed and the body cannot be read.
pub fn segment_copy(envelope: &Envelope, inflated: &[u8], now: WallTime) -> Result<SegmentCopy, ReadError> {
    let edits = Edits::default();
    if envelope.plan.events.segment.is_none() {
        return Ok(SegmentCopy { body: Bytes::new(), encoding: Encoding::Identity, edits: Edits { cut: envelope.events, ..edits } });
    }
    let unedited = || SegmentCopy { body: envelope.body.clone(), encoding: envelope.encoding, edits };
    if !needs_edit(envelope, inflated, now) {
        return Ok(unedited());
    }
    let reading = Reading::of(envelope.endpoint, inflated)?;
    let mut body = Body::of(envelope, &reading, late(envelope, now), client_ip(envelope));
    body.edit_all();
    match body.finish(inflated) {
        None => Ok(unedited()),
        Some((body, edits)) => Ok(SegmentCopy { body, encoding: Encoding::Identity, edits }),
    }
}

/// Whether an edit may be needed; `false` is certain, and costs one scan of the body at most.
#[must_use]
pub fn needs_edit(envelope: &Envelope, inflated: &[u8], now: WallTime) -> bool {
    let is_whole = envelope.plan.events.segment == Selection::All;
    let may_need_ip = client_ip(envelope).is_some() && (envelope.endpoint.is_client_side() || scan::mentions_direct(inflated));
    !is_whole || late(envelope, now).is_some() || may_need_ip || !has_message_ids(envelope, inflated)
}

fn has_message_ids(envelope: &Envelope, inflated: &[u8]) -> bool {
    match &envelope.outline {
        Some(outline) => outline.naming == Naming::All,
        None => scan::has_message_ids(envelope.endpoint, inflated),
    }
}

/// How late the delivery is; None when it is in time, or when the clock went backwards since.
fn late(envelope: &Envelope, now: WallTime) -> Option<Late> {
    let by_ms = now.millis_since(envelope.received_at);
    (by_ms > LATE_MS_MIN).then_some(Late { by_ms, received_at: envelope.received_at, now })
}

/// The address for Segment, which collects no IPv6 (protocol.md 1.10): an event of an IPv6 client is left as it is, and gets
/// whatever address segue has on its way out.
fn client_ip(envelope: &Envelope) -> Option<Ipv4Addr> {
    match envelope.client_ip?.to_canonical() {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}
