//! The quarantine, as the admin API tells of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of the quarantine, oldest entry first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantinePage {
    /// [`schema::QUARANTINE`](super::schema::QUARANTINE)
    pub schema: String,
    /// Entries that fit, on all pages.
    pub total_entries: u64,
    /// The events that they stand for.
    pub total_events: u64,
    /// This page.
    pub entries: Vec<QuarantineEntry>,
    /// What to ask for `after` to get the next page; None: this is the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineEntry {
    /// Its number.
    pub id: u64,
    /// The source's id.
    pub source: String,
    /// Who refused it.
    pub destination: String,
    /// How many events it stands for.
    pub events: u32,
    /// `track`, `identify`, ...; None when it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The event's name; None when it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its messageId; None when it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Why.
    pub reason: String,
    /// The status of the answer; 0: it was not sent.
    pub status: u16,
    /// Since when (RFC 3339).
    pub at: String,
}

/// One entry with its event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineDetail {
    /// [`schema::QUARANTINE_ENTRY`](super::schema::QUARANTINE_ENTRY)
    pub schema: String,
    /// The entry.
    #[serde(flatten)]
    pub entry: QuarantineEntry,
    /// The start of the answer.
    pub answer: String,
    /// When the event arrived; None when its record cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_at: Option<String>,
    /// The event in the form that was refused, without write keys; None when it is not JSON.
    pub event: Option<serde_json::Value>,
    /// Whether what tells of a person is masked.
    pub masked: bool,
}

/// Which entries are meant: those that fit everything named. Naming nothing takes `all`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuarantinePick {
    /// This one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Those of this source, by id or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Those that this destination refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// Those whose reason contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Everything.
    #[serde(default)]
    pub all: bool,
    /// Only say how many would be moved.
    #[serde(default)]
    pub dry_run: bool,
}

impl QuarantinePick {
    /// Whether it says which entries are meant.
    #[must_use]
    pub const fn says_which(&self) -> bool {
        self.all || self.id.is_some() || self.source.is_some() || self.destination.is_some() || self.reason.is_some()
    }
}

/// How much was moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuarantineMoved {
    /// [`schema::QUARANTINE_MOVED`](super::schema::QUARANTINE_MOVED)
    pub schema: String,
    /// Entries.
    pub entries: u64,
    /// The events that they stand for.
    pub events: u64,
    /// Whether nothing was done but counting.
    pub dry_run: bool,
}
