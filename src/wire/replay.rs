//! Replays, as the admin API tells of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Events of one source to be sent again, as it is asked for: those that meet everything that is said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayAsked {
    /// The source, by id or name.
    pub source: String,
    /// `segment` or `rudderstack`.
    pub destination: String,
    /// Decided under this revision or a later one; None: from the oldest that is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_revision: Option<u64>,
    /// Decided under this revision or an earlier one; None: to the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_revision: Option<u64>,
    /// Arrived at this time or later (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Arrived before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Also those that the destination was to get already; it gets them twice.
    #[serde(default)]
    pub all: bool,
    /// Only those that this route would send there, like `cutover=25%`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_route: Option<String>,
    /// Events a second at most, like `200/s`; None: 200/s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<String>,
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say what would be sent.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a replay would send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayPlan {
    /// [`schema::REPLAY_PLAN`](super::schema::REPLAY_PLAN)
    pub schema: String,
    /// The source's id.
    pub source: String,
    /// The destination.
    pub destination: String,
    /// Events that are in the journal and would be sent.
    pub events: u64,
    /// The people whose events they are, a million at most.
    pub people: u64,
    /// When the first of them arrived; None: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<String>,
    /// When the last of them arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// When the oldest record of the source arrived that the journal still has; None: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_from: Option<String>,
    /// Whether the whole range is still kept: if not, there may have been more.
    pub complete: bool,
    /// Events a second.
    pub rate: String,
    /// How long it takes, at that pace, in seconds.
    pub seconds: u64,
    /// What has to be thought of.
    pub warnings: Vec<String>,
    /// The command that starts it.
    pub command: String,
    /// What it is the plan of, to be posted as it is.
    pub asked: ReplayAsked,
}

/// All replays, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replays {
    /// [`schema::REPLAYS`](super::schema::REPLAYS)
    pub schema: String,
    /// The replays.
    pub replays: Vec<ReplayJob>,
}

/// The answer to a change of one replay: how it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayAnswer {
    /// [`schema::REPLAY`](super::schema::REPLAY)
    pub schema: String,
    /// The replay.
    #[serde(flatten)]
    pub replay: ReplayJob,
}

/// One replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayJob {
    /// Its name: the revision that started it.
    pub id: u64,
    /// The source's id.
    pub source: String,
    /// The destination.
    pub destination: String,
    /// `running`, `paused`, `cancelled` or `done`.
    pub state: String,
    /// Events that were journalled again, and go the way of all events from there.
    pub sent: u64,
    /// Events that were found, those included; None: it has not looked yet, or was over before this start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Events that were found and are gone: the journal needed their room.
    #[serde(default)]
    pub lost: u64,
    /// What it waits for; None: nothing stands in its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Events a second at most.
    pub rate: String,
    /// When it was started.
    pub started_at: String,
    /// By whom.
    pub by: String,
}

/// Why something is done about a replay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayStepAsked {
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say how it stands.
    #[serde(default)]
    pub dry_run: bool,
}
