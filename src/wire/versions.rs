//! Which apps and libraries events come from, as the admin API tells of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What the newest part of the journal says of apps and their versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Versions {
    /// [`schema::VERSIONS`](super::schema::VERSIONS)
    pub schema: String,
    /// When the oldest of the events that were looked at arrived; None: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Events that were looked at.
    pub events: u64,
    /// One line for each source, app, version and library: the most events first.
    pub versions: Vec<VersionSeen>,
}

/// One version of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Events.
    pub events: u64,
    /// Whose they are.
    pub people: u64,
    /// When the last of them arrived.
    pub last_at: String,
    /// Events of them that Segment is to get.
    pub segment: u64,
    /// Events of them that RudderStack is to get.
    pub rudderstack: u64,
}
