//! The HTTPS client of one upstream.
//!
//! It owns the connections to one origin: which roots are trusted, which addresses are acceptable, how many connections
//! stay open and for how long. A call has a deadline and ends in a well-formed [`Answer`] or in a [`CallError`] that says
//! whether the upstream may have got anything.
//!
//! It never follows a redirect, never decompresses, never repeats a request on which the upstream may have acted, never
//! reads certificates, proxies or key logs from the environment, and has no switch that turns verification off.

mod address;
mod call;
mod client;
mod connect;
#[cfg(test)]
mod dial;
mod error;
mod lease;
mod origin;
mod pool;
mod resolve;
mod roots;
mod settings;

#[cfg(test)]
pub(crate) use dial::{Dialling, Pipe, Simulated};

pub use address::is_public;
pub use call::{Answer, Call, Extent};
pub use client::Upstream;
pub use error::{CallError, Fault, Sent, UpstreamError};
pub use settings::{Addresses, Settings};
