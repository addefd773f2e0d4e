//! Ramps and gates, as the admin API tells of them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::RouteChanged;

/// A ramp, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RampAsked {
    /// The source, by id or name.
    pub source: String,
    /// Shares like `10,25,50,100`, or routes like `shadow=10%,both,cutover=25%`, with commas. Each leads away from Segment.
    pub steps: String,
    /// What plain shares are: `cutover`, which is usual, or `shadow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The verify share of all steps; None: it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// How long a step lasts at least: `30m`, which is usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<String>,
    /// Other bounds than the configuration's: `parity>=99.95%,lag<=2s`; `parity=off` leaves a gate out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gates: Option<String>,
    /// What is done while a gate is red: `hold`, which is usual, or `back`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_red: Option<String>,
    /// The source's revision that the author looked at; None: whatever it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_revision: Option<u64>,
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say what it would do.
    #[serde(default)]
    pub dry_run: bool,
}

/// A ramp that was begun, or would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RampBegun {
    /// [`schema::RAMP_BEGUN`](super::schema::RAMP_BEGUN)
    pub schema: String,
    /// Whether it was: false for a dry run.
    pub changed: bool,
    /// The source's id.
    pub source: String,
    /// Its name.
    pub name: String,
    /// The source's revision, before.
    pub revision: u64,
    /// What each step changes, in order, at the pace of the last minute.
    pub steps: Vec<RouteChanged>,
    /// Whether Segment gets less at the end: then the source's name has to be typed.
    pub takes_from_segment: bool,
    /// How long a step lasts at least.
    pub every: String,
    /// The bounds of the gates, and the window.
    pub bounds: String,
    /// What is done while a gate is red: `hold` or `back`.
    pub on_red: String,
    /// How the gates stand now, by the configuration's bounds.
    pub gates: Vec<GateStatus>,
    /// What has to be thought of.
    pub notes: Vec<String>,
    /// The ramp as it stands; None for a dry run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<RampStatus>,
}

/// Each source's newest ramp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ramps {
    /// [`schema::RAMPS`](super::schema::RAMPS)
    pub schema: String,
    /// The ramps, by source, those that are over included.
    pub ramps: Vec<RampStatus>,
}

/// The answer to a change of one ramp: how it stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RampAnswer {
    /// [`schema::RAMP`](super::schema::RAMP)
    pub schema: String,
    /// The ramp.
    #[serde(flatten)]
    pub ramp: RampStatus,
}

/// One ramp.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RampStatus {
    /// Its name: the revision that started it.
    pub id: u64,
    /// The source's id.
    pub source: String,
    /// Its name; the id when it is not configured any more.
    pub name: String,
    /// `running`, `paused`, `done`, `aborted` or `cancelled`.
    pub state: String,
    /// The route that it began at.
    pub from: String,
    /// The routes that the source gets, in order.
    pub steps: Vec<String>,
    /// How many of them are taken.
    pub taken: u64,
    /// How long a step lasts at least.
    pub every: String,
    /// The bounds of its gates, and the window.
    pub bounds: String,
    /// What is done while a gate is red: `hold` or `back`.
    pub on_red: String,
    /// What was red, while it holds; empty: it does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
    /// Why it waits for a person or is over, in words; None: it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// For how many seconds all its gates have been green.
    pub green_seconds: u64,
    /// When its last step was taken; when it was started, before the first.
    pub moved_at: String,
    /// When the next step is taken, or it is through, if its gates stay green; None: something else has to happen first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<String>,
    /// When it was started.
    pub started_at: String,
    /// By whom.
    pub by: String,
}

/// How one gate of a source stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GateStatus {
    /// `parity`, `lag`, `errors` or `quarantine`.
    pub gate: String,
    /// Its figure; None: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its bound: `>= 99.9%`.
    pub bound: String,
    /// Whether it is green.
    pub green: bool,
    /// Why it is red; None: it is green.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Why something is done about a ramp.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RampStepAsked {
    /// Why; None: nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say how it stands.
    #[serde(default)]
    pub dry_run: bool,
}
