//! Events as they pass, as the admin API tells of them to viewers of the stream who ask for the topic `tap`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What passed since the last one: a sample, which says of how many.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tap {
    /// [`schema::TAP`](super::schema::TAP)
    pub schema: String,
    /// Events that came meanwhile.
    pub seen: u64,
    /// How many of them are told; the sample is by chance, not by content.
    pub shown: u64,
    /// Events that were picked, and for which there was no room.
    pub lost: u64,
    /// Over how many milliseconds.
    pub over_ms: u64,
    /// The events, oldest first.
    pub rows: Vec<TapRow>,
    /// What became of events that were told before, at one destination.
    pub outcomes: Vec<TapOutcome>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TapRow {
    /// Its number among the events of this stream; outcomes name it.
    pub id: u64,
    /// When it arrived (RFC 3339).
    pub at: String,
    /// The source's id.
    pub source: String,
    /// `track`, `identify`, ...; None when it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The event's name; None when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its messageId: it can be looked up by it.
    pub message_id: String,
    /// Whose it is, all but two characters masked: `u_..e1`; None: nobody's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The app and its version, else the library; None when neither is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Whether Segment is to get it.
    pub segment: bool,
    /// Whether RudderStack is to get it.
    pub rudderstack: bool,
}

/// What became of an event at one destination, so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TapOutcome {
    /// The event's number.
    pub id: u64,
    /// `segment` or `rudderstack`.
    pub destination: String,
    /// One word: `delivered`, `retry`, `quarantined`, `parked`, `deduplicated`, `suppressed` or `expired`.
    pub outcome: String,
    /// The status of the answer; 0: there was none.
    pub status: u16,
    /// From the request that carried it to the answer, in milliseconds.
    pub took_ms: u64,
}
