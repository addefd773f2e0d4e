//! The way out: from the journal to Segment and RudderStack.
//!
//! One lane, one task, for each (source, destination). A lane takes its records in journal order and keeps several requests
//! in flight; what one person did stays in order. Segment gets the client's own request (`segment`), RudderStack gets
//! batches of translated events (`rudderstack`). A record is complete when each of its events was answered with 2xx or
//! stands in quarantine, durably.
//!
//! Lanes share nothing but their destination's gate (breaker and pace), so a dead destination costs the other one nothing.
//! Delivery never drops an event, never follows a redirect, never holds more in memory than its settings say, and never
//! makes the way in wait.

mod alone;
mod chunks;
mod control;
mod errand;
mod figures;
mod gate;
#[cfg(test)]
mod gate_tests;
mod latency;
mod leg;
#[cfg(test)]
mod leg_tests;
mod office;
mod order;
mod packer;
mod park;
mod records;
mod resends;
mod rudderstack;
mod runner;
#[cfg(test)]
mod sabotage;
mod segment;
mod settings;
mod status;
mod tapped;
mod window;

#[cfg(test)]
pub(crate) use sabotage::{Sabotage, sabotage};

pub use control::{HoldError, LaneControl};
pub use latency::Latencies;
pub use office::{Delivery, Upstreams};
pub use settings::{Batch, Pace, Settings};
pub use status::{Answers, DestinationStanding, LaneRequests, LaneState, LaneStatus, ParkReason};
