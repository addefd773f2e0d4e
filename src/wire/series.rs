//! How many events came and went over a window of time, as the admin API tells of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was counted over a window, in steps: events a second, oldest first. The last step is the newest that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// [`schema::SERIES`](super::schema::SERIES)
    pub schema: String,
    /// `1m`, `10m`, `1h`, `6h` or `24h`.
    pub window: String,
    /// How long a step is, in seconds.
    pub step_seconds: u64,
    /// When the last step ended (RFC 3339).
    pub at: String,
    /// All sources together. Shorter than the window when the sidecar started in it.
    pub all: Lines,
    /// Each source by itself, sorted by source; empty unless `each` was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceLines>,
}

/// Three lines of equal length.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
pub struct Lines {
    /// Events that apps sent.
    pub received: Vec<f64>,
    /// Events that Segment answered with 2xx.
    pub segment: Vec<f64>,
    /// Events that RudderStack answered with 2xx.
    pub rudderstack: Vec<f64>,
}

/// The lines of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SourceLines {
    /// The source's id.
    pub source: String,
    /// Its lines.
    #[serde(flatten)]
    pub lines: Lines,
}
