//! Lanes, as the admin API tells of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All lanes, sorted by source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lanes {
    /// [`schema::LANES`](super::schema::LANES)
    pub schema: String,
    /// The lanes.
    pub lanes: Vec<Lane>,
}

/// The answer to a change of one lane: how it stands now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LaneAnswer {
    /// [`schema::LANE`](super::schema::LANE)
    pub schema: String,
    /// The lane.
    #[serde(flatten)]
    pub lane: Lane,
}

/// A hold or its end, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldAsked {
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say how the lane stands.
    #[serde(default)]
    pub dry_run: bool,
}

/// A purge, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeAsked {
    /// `segment` or `rudderstack`; None: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The source once more, as it is meant. Not needed for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub i_mean: Option<String>,
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say what would be given up.
    #[serde(default)]
    pub dry_run: bool,
}

/// What was given up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PurgeAnswer {
    /// [`schema::PURGE`](super::schema::PURGE)
    pub schema: String,
    /// The source's id.
    pub source: String,
    /// Whether it was done.
    pub done: bool,
    /// Events that waited, and count as purged.
    pub waiting: u64,
    /// Events in quarantine that do.
    pub quarantined: u64,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Lane {
    /// The source's id.
    pub source: String,
    /// `segment` or `rudderstack`.
    pub destination: String,
    /// One word: `idle`, `delivering`, `unreachable`, `deferred`, `held`, `parked`, `unconfigured`, `quarantine_full`.
    pub state: String,
    /// Since when it is held or parked (RFC 3339); None for other states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Until when its destination asked to be left alone; None when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Why it is parked; None when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the oldest event arrived that waits in the journal; None: none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that had to be sent again, since the start.
    pub retries: u64,
    /// Events answered with 2xx, a second, over the last minute.
    #[serde(default)]
    pub delivered_per_second: f64,
    /// What became of its events.
    pub ledger: Ledger,
}

/// What became of a lane's events. `planned` is the sum of the others, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Ledger {
    /// Events journalled for the lane.
    pub planned: u64,
    /// Answered with 2xx.
    pub delivered: u64,
    /// On their way: in the journal, or sent again from the quarantine.
    pub pending: u64,
    /// Refused for good and kept.
    pub quarantined: u64,
    /// Sent before.
    pub deduplicated: u64,
    /// Left out by a rule.
    pub suppressed: u64,
    /// Too old.
    pub expired: u64,
    /// Given up by an operator.
    pub purged: u64,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// [`schema::ME`](super::schema::ME)
    pub schema: String,
    /// The caller's user id, by the system's word.
    pub uid: u32,
    /// What it may do: `look`, `operate`, `reveal`.
    pub roles: Vec<String>,
}

/// How the sidecar is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// [`schema::HEALTH`](super::schema::HEALTH)
    pub schema: String,
    /// Whether it takes events.
    pub ready: bool,
    /// `writable`, `full` or `broken`.
    pub journal: String,
    /// Its version.
    pub version: String,
}
