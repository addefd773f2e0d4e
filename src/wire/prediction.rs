//! What is foretold of events by the vendors' published rules, as the admin API tells of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is foretold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Predictions {
    /// [`schema::PREDICTIONS`](super::schema::PREDICTIONS)
    pub schema: String,
    /// Events that a vendor will not take, by source, vendor and reason: the most events first.
    pub events: Vec<Prediction>,
    /// Names that end in different columns or tables of the two vendors' warehouses.
    pub names: Vec<NamePrediction>,
    /// Whether there are names that were not judged, or that are not told, as there are too many.
    pub more_names: bool,
}

/// Events of one source of which one thing is foretold. They are sent all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Prediction {
    /// The source's id.
    pub source: String,
    /// Whose rule it is: `segment`, which drops after its 200, or `rudderstack`, which refuses.
    pub vendor: String,
    /// The rule's code: Segment's own where it has one.
    pub reason: String,
    /// What of the event is at fault.
    pub place: String,
    /// How many events.
    pub events: u64,
    /// When the first of them arrived.
    pub first_at: String,
    /// When the last of them arrived.
    pub last_at: String,
    /// The newest of them, ten at most.
    pub samples: Vec<PredictionSample>,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PredictionSample {
    /// When it arrived.
    pub at: String,
    /// Its messageId.
    pub message_id: String,
    /// What it tracks, else its type; None: neither is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
}

/// A name that ends in two places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamePrediction {
    /// The source's id.
    pub source: String,
    /// `column_differs` or `table_differs`.
    pub reason: String,
    /// Where it stands in the event: `properties.userIDs`, or `event`.
    pub place: String,
    /// The name.
    pub name: String,
    /// The column or table at Segment.
    pub segment: String,
    /// The same at RudderStack.
    pub rudderstack: String,
    /// The first event that had it.
    pub sample: PredictionSample,
}
