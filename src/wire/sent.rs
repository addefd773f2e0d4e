//! Sent diffs, as the admin API tells of them: what each side got of one event, and where that differs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One event, as it is sent to each side. It says what segue sends, not what a vendor makes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SentEvent {
    /// [`schema::SENT_EVENT`](super::schema::SENT_EVENT)
    pub schema: String,
    /// The source's id.
    pub source: String,
    /// Its messageId.
    pub message_id: String,
    /// `track`, `identify`, ...; None when it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The event's name; None when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it arrived.
    pub received_at: String,
    /// The app and its version, else the library; None when neither is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The revision under which it was decided who gets it.
    pub revision: u64,
    /// What Segment gets.
    pub segment: SentCopy,
    /// What RudderStack gets.
    pub rudderstack: SentCopy,
    /// Where the two differ, in the order of the paths.
    pub differences: Vec<Difference>,
    /// Whether what tells of a person is masked.
    pub masked: bool,
}

/// What one side gets of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SentCopy {
    /// Whether the plan sends it there. The body is told all the same: what it would get.
    pub planned: bool,
    /// The path that it is posted to.
    pub path: String,
    /// The event, without write keys; None: it is never sent there, and `refusal` says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<serde_json::Value>,
    /// Why it is never sent there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// What was done to the client's own bytes, by rule: `T13 client ip`. Empty: nothing.
    pub rules: Vec<String>,
}

/// One place where the two sides differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// The place: `context.ip`, `properties.items[0].price`.
    pub path: String,
    /// `only_segment`, `only_rudderstack`, `type` or `value`.
    pub kind: String,
    /// What Segment gets there; None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<serde_json::Value>,
    /// What RudderStack gets there; None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rudderstack: Option<serde_json::Value>,
    /// The rules that may have made it: `T13 client ip`. Empty: none is known to, which would be a fault of segue.
    pub rules: Vec<String>,
    /// Whether it is meant: how the two vendors' APIs differ, and not what they are told.
    pub noise: bool,
}

/// Where the two sides differ, over the newest events that the journal has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SentDiffs {
    /// [`schema::SENT_DIFFS`](super::schema::SENT_DIFFS)
    pub schema: String,
    /// The source's id; None: all sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When the oldest of the events that were looked at arrived; None: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Events that were looked at: those that both sides get.
    pub events: u64,
    /// Of them, those without any difference but noise.
    pub equal: u64,
    /// Events that RudderStack never gets, though its plan has them.
    pub refused: u64,
    /// The differences, by place and kind: the most first.
    pub groups: Vec<DiffGroup>,
}

/// One class of differences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiffGroup {
    /// The source's id.
    pub source: String,
    /// The place; the numbers of array items are `[]`.
    pub path: String,
    /// `only_segment`, `only_rudderstack`, `type` or `value`.
    pub kind: String,
    /// The rules that may have made it.
    pub rules: Vec<String>,
    /// Whether it is noise.
    pub noise: bool,
    /// Events that have it.
    pub events: u64,
    /// The app versions that have it: the most first, at most four.
    pub apps: Vec<String>,
    /// messageIds of events that have it, at most eight.
    pub samples: Vec<String>,
}
