//! What a stand-in took, for tests to ask.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer};

use crate::model::WallTime;

use super::{DropCode, Verdict};

/// A copy of what is kept, in order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// Every request, answered or not, faults included; `/__standin/` paths and preflights excepted.
    pub requests: Vec<TakenRequest>,
    /// Every event taken: accepted, or dropped after a 200.
    pub events: Vec<TakenEvent>,
}

/// One request as it came, and what was said to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenRequest {
    /// Its number, from 1, in order of arrival (when its body was complete).
    pub id: u64,
    /// The number of its connection, from 1.
    pub connection: u64,
    /// When its body was complete.
    #[serde(serialize_with = "rfc3339")]
    pub at: WallTime,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The headers of interest, by lower-case name: authorization, user-agent, content-type, content-encoding,
    /// x-retry-count, anonymousid, x-forwarded-for, origin, host. Of repeats the first; bytes that are no UTF-8 are replaced.
    pub headers: BTreeMap<&'static str, String>,
    /// The names of all its headers, in lower case, one entry a header.
    pub header_names: Vec<String>,
    /// Bytes of the body as it came, compressed or not.
    pub body_bytes: usize,
    /// Events that were taken from it, dropped ones included.
    pub events: usize,
    /// What was answered; None when nothing was (a fault).
    pub status: Option<u16>,
    /// Why all of it came to nothing after a 200, when that is no event's own code (`empty_batch`).
    pub dropped: Option<DropCode>,
}

/// One event that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenEvent {
    /// Its number, from 1, in order of arrival; events of one request are in the order of its batch.
    pub sequence: u64,
    /// [`TakenRequest::id`] of its request.
    pub request: u64,
    /// [`TakenRequest::connection`] of its request.
    pub connection: u64,
    /// When its request was complete.
    #[serde(serialize_with = "rfc3339")]
    pub at: WallTime,
    /// Its messageId, the vendor's own when it came without one.
    pub message_id: Box<str>,
    /// Its `type`.
    pub kind: Box<str>,
    /// Its `event`, when it has one that is a string.
    pub name: Option<Box<str>>,
    /// The write key it came under.
    #[serde(serialize_with = "text")]
    pub source: Arc<str>,
    /// Its userId as the vendor reads it; None when absent, null, or (Segment) no string.
    pub user_id: Option<Box<str>>,
    /// Its anonymousId, like the userId.
    pub anonymous_id: Option<Box<str>>,
    /// What became of it.
    pub verdict: Verdict,
    /// Whether this vendor's deduplication had seen the messageId.
    pub sighting: Sighting,
    /// The four times as the vendor computes them; None past [`super::Keep::json_bytes_max`].
    pub times: Option<Box<Times>>,
    /// The event as it came, byte for byte; None past [`super::Keep::json_bytes_max`].
    pub json: Option<Box<str>>,
    /// The event as the vendor hands it on: Segment with the batch's context and integrations merged, ip, times and
    /// messageId; RudderStack as its gateway and processor enrich it. None for a dropped event, and past
    /// [`super::Keep::json_bytes_max`].
    pub handed_on: Option<Box<str>>,
}

/// The four times of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Times {
    /// When it happened, as the vendor believes.
    #[serde(serialize_with = "rfc3339")]
    pub timestamp: WallTime,
    /// When the client says it happened.
    #[serde(serialize_with = "rfc3339")]
    pub original_timestamp: WallTime,
    /// When the vendor got it.
    #[serde(serialize_with = "rfc3339")]
    pub received_at: WallTime,
    /// When the client says it sent it; None when Segment was not told.
    #[serde(serialize_with = "maybe_rfc3339")]
    pub sent_at: Option<WallTime>,
}

/// Whether a messageId is new to the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// It is, or the event was dropped before it counted.
    First,
    /// It was accepted before: within 24 hours at Segment (protocol.md 1.10), ever at RudderStack.
    Again,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference to the field")]
fn rfc3339<S: Serializer>(time: &WallTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn maybe_rfc3339<S: Serializer>(time: &Option<WallTime>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(time),
        None => serializer.serialize_none(),
    }
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}
