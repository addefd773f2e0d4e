//! What is known about events after they were sent, as the admin API tells of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How far both sides agree, and what that rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evidence {
    /// [`schema::EVIDENCE`](super::schema::EVIDENCE)
    pub schema: String,
    /// Events that are followed now, until both sides have said what became of them.
    pub followed: u64,
    /// At most so many are.
    pub followed_max: u64,
    /// One event in how many is followed: 1, or a power of two when there are too many.
    pub one_in: u64,
    /// Disk that emissions take which wait for their twins.
    pub waiting_bytes: u64,
    /// At most so much.
    pub waiting_bytes_max: u64,
    /// Whether both vendors' taps are configured.
    pub tapped: bool,
    /// How far both sides agree: one line for each source and basis.
    pub parity: Vec<Parity>,
    /// The vendors' taps.
    pub taps: Vec<TapStanding>,
    /// What both vendors answered to the same event, in classes, since the start: the most events first.
    pub answers: Vec<AnswerClass>,
    /// What counts for nothing in emissions, since the start: by source, then by the place and the reason
    /// What counts for nothing in emissions, since the start.
    pub noise: Vec<NoiseCount>,
}

/// How often something in emissions counted for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NoiseCount {
    /// The source's id.
    pub source: String,
    /// Where, and why.
    pub what: String,
    /// In how many events.
    pub events: u64,
}

/// How far both sides agree on a source's events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Parity {
    /// The source's id.
    pub source: String,
    /// What it rests on: `answers` (weak: Segment says 200 to what it drops) or `tap` (what both vendors emitted).
    pub basis: String,
    /// The revision of the source's route since which it is counted.
    pub since_revision: u64,
    /// When that was.
    pub since: String,
    /// Events that say something about it.
    pub pairs: u64,
    /// The share of them on which both sides agree; None: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// With 95 % certainty the true share is not below this, nor was it at any earlier look.
    pub lower: f64,
    /// Nor above this.
    pub upper: f64,
    /// Whether the share changed on the way: then the interval says nothing.
    pub drifting: bool,
    /// How many more events that agree as those so far until 99.9 % is sure; 0: it is. None: it never will be, at this rate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_999: Option<u64>,
    /// How many events were judged so and so.
    pub tally: Tally,
    /// The last hour by the minute, oldest first: how many agreed, and how many did not.
    pub minutes: Vec<(u64, u64)>,
    /// By the app and its version, else the library's: the most events first.
    pub versions: Vec<VersionParity>,
}

/// How many events were judged so and so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// Both sides have the same.
    pub equal: u64,
    /// The same, but for how the vendors differ by their nature.
    pub noise: u64,
    /// The same, but for what somebody has accepted.
    pub accepted: u64,
    /// Not the same.
    pub different: u64,
    /// Segment alone has it.
    pub only_segment: u64,
    /// RudderStack alone has it.
    pub only_rudderstack: u64,
    /// One side alone, as the published rules said before; neither for nor against parity.
    pub predicted: u64,
    /// It cannot be said; neither for nor against.
    pub unjoinable: u64,
}

/// Parity of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionParity {
    /// The app, else the library, and its version.
    pub version: String,
    /// How many events were judged so and so.
    pub tally: Tally,
}

/// A vendor's tap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TapStanding {
    /// The source's id.
    pub source: String,
    /// `segment` or `rudderstack`.
    pub by: String,
    /// When it was heard last; None: never since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<String>,
    /// Events that it told of since the start.
    pub events: u64,
    /// Those without a messageId.
    pub unjoinable: u64,
    /// Those that the other vendor did not tell of, and that segue did not send to both: as routed, or sent before a restart.
    pub unexpected: u64,
}

/// How both sides answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AnswerClass {
    /// The source's id.
    pub source: String,
    /// What became of it at Segment: `delivered`, `quarantined`, `deduplicated`.
    pub segment: String,
    /// The status; 0: there was no answer.
    pub segment_status: u16,
    /// What became of it at RudderStack.
    pub rudderstack: String,
    /// The status.
    pub rudderstack_status: u16,
    /// Why Segment will drop them after its 200; None: the published rules say that it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<String>,
    /// Events.
    pub events: u64,
    /// From Segment's request to its answer, in milliseconds: the mean.
    pub segment_ms: u64,
    /// And RudderStack's.
    pub rudderstack_ms: u64,
    /// The slowest of Segment's, in milliseconds.
    pub segment_slowest_ms: u32,
    /// And of RudderStack's.
    pub rudderstack_slowest_ms: u32,
    /// By how many milliseconds RudderStack had an event later than Segment, at most; below 0: it was always earlier.
    pub behind_ms: i64,
    /// When the last of them was answered.
    pub last_at: String,
    /// The newest of them: `envelope/place`.
    pub newest: Vec<String>,
}

/// Classes of differences between what both vendors emitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Findings {
    /// [`schema::FINDINGS`](super::schema::FINDINGS)
    pub schema: String,
    /// Differences for which there was no class any more.
    pub untold: u64,
    /// The classes: the most events first.
    pub findings: Vec<Finding>,
}

/// One class of differences.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// Its name.
    pub id: String,
    /// The source's id.
    pub source: String,
    /// Where in an event; empty: the whole event.
    pub path: String,
    /// How: `missing_in_rudderstack`, `missing_in_segment`, `type`, `case`, `precision`, `time`, `order`, `value`, and for whole events
    /// `late_from_...`, `repeated_by_...`.
    pub kind: String,
    /// `open`, `accepted` or `ignored`.
    pub state: String,
    /// Why it was accepted or ignored; None: nobody has decided anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The revision that decided it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by_revision: Option<u64>,
    /// Events in which it was found.
    pub events: u64,
    /// The share of the events that were compared; None: none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<f64>,
    /// When it was found first.
    pub first_at: String,
    /// And last.
    pub last_at: String,
    /// The revision of the source's route when it was found first.
    pub since_revision: u64,
    /// Whether it was first found under the route that the source has now.
    pub new: bool,
    /// The versions of apps, else libraries, that it was found in: the most events first.
    pub versions: Vec<String>,
    /// The messageIds of some of its events: the first three and the newest seven.
    #[serde(default)]
    pub samples: Vec<String>,
    /// What one of its events has there at Segment, masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<String>,
    /// And at RudderStack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rudderstack: Option<String>,
}

/// One class with its samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FindingDetail {
    /// [`schema::FINDING`](super::schema::FINDING)
    pub schema: String,
    /// The class.
    pub finding: Finding,
    /// Some of its events: the first three and the newest seven.
    pub samples: Vec<FindingSample>,
    /// Whether what tells of a person is masked.
    pub masked: bool,
}

/// One event of a class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FindingSample {
    /// Its messageId.
    pub message_id: String,
    /// When it was found.
    pub at: String,
    /// What else is known of it; empty: nothing.
    pub why: String,
    /// What stands at the place at Segment; None: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<serde_json::Value>,
    /// And at RudderStack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<serde_json::Value>,
    /// What Segment emitted; None: nothing, or it was too large to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<serde_json::Value>,
    /// What RudderStack emitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rudderstack: Option<serde_json::Value>,
}

/// What is to be decided about a class.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FindingAsked {
    /// `accept` (events that differ in nothing else agree), `ignore` (whatever differs at its place is noise) or `reopen`.
    pub verb: String,
    /// Why: it is kept in the history, and needed but to reopen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How the events of each source, destination, revision and minute ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerBook {
    /// [`schema::LEDGER`](super::schema::LEDGER)
    pub schema: String,
    /// Ends that a restart after a kill had to put to the oldest open minutes.
    pub estimated: u64,
    /// The rows, oldest first.
    pub rows: Vec<LedgerRow>,
}

/// One row: `planned = delivered + pending + quarantined + deduplicated + suppressed + expired + purged`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerRow {
    /// The source's id.
    pub source: String,
    /// `segment` or `rudderstack`.
    pub destination: String,
    /// The revision that they were planned under.
    pub revision: u64,
    /// When the span begins in which they arrived.
    pub from: String,
    /// How long it is, in minutes; 0: all of the revision.
    pub minutes: u32,
    /// Journalled for the destination.
    pub planned: u64,
    /// Answered with 2xx.
    pub delivered: u64,
    /// Not ended yet.
    pub pending: u64,
    /// Refused for good, and kept.
    pub quarantined: u64,
    /// Resends of events that went before.
    pub deduplicated: u64,
    /// Left out by a rule.
    pub suppressed: u64,
    /// Too old.
    pub expired: u64,
    /// Removed by an operator.
    pub purged: u64,
}

/// One event through every hop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// [`schema::TRACE`](super::schema::TRACE)
    pub schema: String,
    /// Its messageId.
    pub message_id: String,
    /// The source's id.
    pub source: String,
    /// The hops, in order.
    pub hops: Vec<Hop>,
}

/// One hop of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Hop {
    /// `arrived`, `planned`, `sent`, `answered`, `quarantined`, `emitted` or `compared`.
    pub what: String,
    /// `segment` or `rudderstack`; None: it is of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<String>,
    /// When; None: it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What happened, in words.
    pub says: String,
}
