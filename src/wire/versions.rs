//! Which apps and libraries events come from, as the admin API tells of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The census: every version that was seen since counting began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Versions {
    /// [`schema::VERSIONS`](super::schema::VERSIONS)
    pub schema: String,
    /// When the first of the events arrived; None: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Events that were counted.
    pub events: u64,
    /// One line for each source, app, version, library and platform: the most events first.
    pub versions: Vec<VersionSeen>,
    /// Whether each source could do without Segment.
    #[serde(default)]
    pub outlooks: Vec<StopOutlook>,
}

/// One version of an app. What an SDK sent twice counts twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionSeen {
    /// The source's id.
    pub source: String,
    /// The app, as it names itself; None: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Its version; None: it tells none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The SDK, with its version; None: it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// Where it runs: the device's type, else the system, else `web`; None: it cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Events.
    pub events: u64,
    /// Of its source's events, 0 to 1.
    #[serde(default)]
    pub share: f64,
    /// Whose they are: exactly up to 128, then within about 5 %.
    pub people: u64,
    /// The people of the week that runs and of the one before it.
    #[serde(default)]
    pub people_lately: u64,
    /// When the first of them arrived.
    #[serde(default)]
    pub first_at: String,
    /// When the last of them arrived.
    pub last_at: String,
    /// Events by the hour, the one that runs first; 24, without zeros at the end.
    #[serde(default)]
    pub hours: Vec<u32>,
    /// Events by the day (UTC), the one that runs first; 30, without zeros at the end.
    #[serde(default)]
    pub days: Vec<u32>,
    /// Events of them that Segment is to get.
    pub segment: u64,
    /// Events of them that RudderStack is to get.
    pub rudderstack: u64,
    /// Events of them that came by Segment's webhook.
    #[serde(default)]
    pub by_webhook: u64,
    /// When the last one came from the app that Segment alone is to get; None: none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment_alone_at: Option<String>,
    /// When the last one came by Segment's webhook; None: none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_at: Option<String>,
    /// On how many of its events both vendors' taps agree, 0 to 1; None: they have not told of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<f64>,
    /// What stands out: `old_sdk`, `no_app` (a platform of apps, and no app is named), `unknown` (nothing is told), `others` (versions
    /// that are not told apart, as there are too many).
    #[serde(default)]
    pub flags: Vec<String>,
    /// Why its SDK counts as old; None: it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_sdk: Option<String>,
}

/// Whether a source could do without Segment, its webhook included. People of late are those of the week that runs and of the one
/// before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StopOutlook {
    /// The source's id.
    pub source: String,
    /// `safe`, `not_safe`, or `too_early`: it has been counted for less than `silent_days`.
    pub verdict: String,
    /// Since when its events are counted.
    pub since: String,
    /// Days without an event after which a version counts as silent, and after which nothing hangs on what Segment alone got.
    pub silent_days: u32,
    /// People of late.
    pub people: u64,
    /// Of them, those of whom Segment alone got an event.
    pub people_segment_alone: u64,
    /// Versions of which Segment alone still gets events.
    pub versions_segment_alone: usize,
    /// The ones of them with the most such people, three at most.
    pub named_segment_alone: Vec<String>,
    /// Versions whose events still come by Segment's webhook.
    pub versions_by_webhook: usize,
    /// Versions that are silent.
    pub versions_silent: usize,
    /// People whom nobody has seen of late.
    pub people_gone: u64,
}
