//! Retiring a source, as the admin API tells of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is asked for a source to be retired, or for that to be taken back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetireAsked {
    /// Why, for the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say how the checklist stands.
    pub dry_run: bool,
    /// Retire it whatever is open.
    pub force: bool,
}

/// How a source stands on its way from Segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retirement {
    /// [`schema::RETIREMENT`](super::schema::RETIREMENT)
    pub schema: String,
    /// The source's id.
    pub source: String,
    /// Its name.
    pub name: String,
    /// Since when it is retired; None: it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<String>,
    /// Whether this request changed that.
    pub changed: bool,
    /// What has to be so before Segment can go.
    pub checklist: Vec<RetireItem>,
    /// What only people can do, at the vendors and in the network, in that order.
    pub by_hand: Vec<String>,
}

/// One thing that has to be so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RetireItem {
    /// `route`, `ramp`, `queue`, `quarantine`, `census`, `webhook`, `settings`, `scripts`, `leak`.
    pub id: String,
    /// Whether it is so.
    pub done: bool,
    /// Whether the source cannot be retired without it, but by force.
    pub required: bool,
    /// How it stands.
    pub what: String,
    /// What to do about it; None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Retirement {
    /// What stands in the way.
    pub fn open(&self) -> impl Iterator<Item = &RetireItem> {
        self.checklist.iter().filter(|item| item.required && !item.done)
    }
}
