//! The running sidecar: every part made in order, wired, and stopped in order.
//!
//! [`Sidecar::start`] embeds it in a program; two may run in one process. Nothing is global but the log.

mod figures;
mod gauges;
mod opened;
mod registrar;
mod run;
mod sidecar;
mod witness;

pub use run::{Attention, Ending, RunError, Urgency, run_until_signal};
pub use sidecar::{Handle, Sidecar, StartError, StopReport};
#[cfg(test)]
pub(crate) use witness::Kept;
