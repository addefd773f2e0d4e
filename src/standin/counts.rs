//! The sums over what a stand-in took.

use std::collections::BTreeMap;

use serde::Serialize;

/// Sums since the start (or the last [`super::Standin::forget`]); they go on when records are no longer kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Requests read, preflights and `/__standin/` paths excepted.
    pub requests: u64,
    /// Requests that were never answered (faults).
    pub unanswered: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Events taken: accepted, duplicate or dropped.
    pub events: u64,
    /// Different messageIds among the accepted events.
    pub distinct: u64,
    /// Accepted events whose messageId had been seen; at Segment within 24 hours. After a messageId has aged out of that
    /// window its next sighting counts as neither distinct nor duplicate but `seen_late`.
    pub duplicates: u64,
    /// Accepted events that deduplication no longer catches, as the window has passed.
    pub seen_late: u64,
    /// Dropped events by code; `empty_batch` counts requests.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The most events that arrived in any one second (a sliding window), dropped ones included.
    pub events_per_second_max: u64,
}
