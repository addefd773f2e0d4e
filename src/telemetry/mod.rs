//! What segue says about itself: logs, and metrics with the two health answers beside them.
//!
//! Owns the metrics listener and the log output. Figures belong to the modules that count them; they are read at scrape
//! time through a [`Sheet`]. Nothing here holds up the way of an event: a log destination that does not take lines loses
//! them, and a scrape reads plain atomics.

mod exposition;
mod lines;
mod log;
mod panics;
mod process;
mod server;
mod settings;

pub use exposition::{Exposition, Histogram, Sheet};
pub use log::{LogError, flush_log, start_logging};
pub use panics::guard_panics;
pub use server::{Health, HealthProbe, MetricsServer, Readiness};
pub use settings::{LogFormat, Settings};
