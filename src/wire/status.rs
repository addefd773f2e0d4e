//! How a sidecar is, on one page, and what its viewers hear of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{GateStatus, Lane, RampStatus, RouteEvent, Routes};

/// How the sidecar is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// [`schema::STATUS`](super::schema::STATUS)
    pub schema: String,
    /// Now, by its clock (RFC 3339).
    pub at: String,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: String,
    /// Whether there is nothing to tell in `troubles`.
    pub healthy: bool,
    /// What is wrong, the worst first.
    pub troubles: Vec<Trouble>,
    /// The newest revision of the routes.
    pub revision: u64,
    /// What turned the kill switch on; None: it is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kill: Option<RouteEvent>,
    /// Whether it gets ready to end: a load balancer is told to send elsewhere, and what still comes is taken.
    pub draining: bool,
    /// Viewers of the live stream.
    #[serde(default)]
    pub viewers: u64,
    /// Events of the stream that viewers were too slow for, since the start.
    #[serde(default)]
    pub viewer_events_lost: u64,
    /// Configured sources.
    pub sources: u64,
    /// The names of those whose route is not the configuration's.
    pub drift: Vec<String>,
    /// Events that apps sent, a second, over the last minute.
    pub received_per_second: f64,
    /// Both destinations.
    pub destinations: Vec<DestinationStatus>,
    /// The journal.
    pub journal: JournalStatus,
}

/// Something that somebody has to mend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Trouble {
    /// One word, for scripts: `journal_full`, `journal_broken`, `lane_parked`, `quarantine_full`, `over_quota`, `unreachable`,
    /// `unconfigured`, `config_refused`, `history_broken`, `settings_leak`.
    pub kind: String,
    /// The source's id; None: it is no single source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The destination; None: it is none's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// What is wrong.
    pub what: String,
    /// What it means for the data.
    pub means: String,
    /// What to do.
    pub fix: String,
}

/// All lanes to one destination, together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DestinationStatus {
    /// `segment` or `rudderstack`.
    pub destination: String,
    /// Events answered with 2xx, a second, over the last minute.
    pub delivered_per_second: f64,
    /// Events that wait in the journal.
    pub pending: u64,
    /// When the oldest of them arrived; None: none waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// Events refused for good and kept.
    pub quarantined: u64,
    /// Lanes that an operator or the kill switch holds.
    pub held: u64,
    /// Lanes that are parked.
    pub parked: u64,
    /// Whether it answers.
    pub reachable: bool,
    /// `passing`, `probing` or `blocked`: whether requests are let through to it. Empty: nothing is sent there, as it has no address.
    #[serde(default)]
    pub breaker: String,
    /// How fast it answered over the last minute; None: it answered nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// How requests ended, since the start.
    #[serde(default)]
    pub answers: Answers,
    /// The limit of all its lanes together: `200/s`, or `none`. Empty: the sidecar is older than that.
    #[serde(default)]
    pub limit: String,
    /// Events that wait for a limit.
    #[serde(default)]
    pub paced: u64,
    /// Requests in flight.
    #[serde(default)]
    pub in_flight: u64,
}

/// How long answers took, from a request to its answer, in milliseconds: upper bounds of their classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Latency {
    /// Half of them were faster.
    pub p50_ms: f64,
    /// Nine of ten were.
    pub p90_ms: f64,
    /// All but one of a hundred were.
    pub p99_ms: f64,
    /// How many there were.
    pub answers: u64,
}

/// Requests by how they ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Answers {
    /// 2xx.
    pub ok: u64,
    /// 429.
    pub throttled: u64,
    /// 4xx but 429, and 3xx.
    pub refused: u64,
    /// 5xx.
    pub failed: u64,
    /// No answer: no connection, no time, a broken one.
    pub unanswered: u64,
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct JournalStatus {
    /// `writable`, `full` or `broken`.
    pub state: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes of them that some lane still needs.
    pub pinned_bytes: u64,
    /// Bytes that it may take.
    pub capacity_bytes: u64,
    /// How many hours of an outage it holds at the pace of late; None: there was too little to tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours_left: Option<f64>,
}

/// What a viewer of the stream hears first, and again after it missed something: everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Snapshot {
    /// [`schema::SNAPSHOT`](super::schema::SNAPSHOT)
    pub schema: String,
    /// How the sidecar is.
    pub status: Status,
    /// The routes.
    pub routes: Routes,
    /// The lanes.
    pub lanes: Vec<Lane>,
    /// What came of each source.
    #[serde(default)]
    pub sources: Vec<SourceFigures>,
}

/// What came of one source since the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceFigures {
    /// The source's id.
    pub source: String,
    /// Events that apps sent.
    pub received: u64,
    /// The same a second, over the last minute.
    pub received_per_second: f64,
    /// Events of them that were relayed live to Segment instead of journalled for it.
    pub relayed: u64,
    /// Events of them that RudderStack was to get and never will: they could not be journalled.
    pub unjournalled: u64,
    /// Its ramp; None: it has none that runs or is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ramp: Option<RampStatus>,
    /// How its gates stand; empty: nobody looked yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<GateStatus>,
}

/// What a viewer hears while something goes on: figures are totals, so a missed one is made up for by the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// [`schema::FIGURES`](super::schema::FIGURES)
    pub schema: String,
    /// How the sidecar is.
    pub status: Status,
    /// The lanes that are not as they were.
    pub lanes: Vec<Lane>,
    /// The sources that are not as they were.
    #[serde(default)]
    pub sources: Vec<SourceFigures>,
}

/// What a viewer hears when it was too slow: the next event is a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Lost {
    /// Events that it did not get.
    pub events: u64,
}
