//! Rate limits, as the admin API tells of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All limits: those of both destinations first, then those of each source's lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// [`schema::LIMITS`](super::schema::LIMITS)
    pub schema: String,
    /// The limits.
    pub limits: Vec<Limit>,
}

/// One limit. What is above it waits in the journal; the app never does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// The source's id; None: all sources together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `segment` or `rudderstack`.
    pub destination: String,
    /// The revision that changed it; 0: it is as the configuration has it.
    pub revision: u64,
    /// `200/s`, or `none`.
    pub limit: String,
    /// The same in the configuration.
    pub configured: String,
}

/// A change of a limit, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitAsked {
    /// `segment` or `rudderstack`.
    pub destination: String,
    /// The source, by id or name; None: all sources together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `200/s`, or `none`.
    pub limit: String,
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came, or would come, of a change of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LimitChanged {
    /// [`schema::LIMIT_CHANGED`](super::schema::LIMIT_CHANGED)
    pub schema: String,
    /// Whether it was done: false for a dry run, and for what stood so already.
    pub changed: bool,
    /// How it stood.
    pub before: Limit,
    /// How it stands, or would stand.
    pub after: Limit,
}
