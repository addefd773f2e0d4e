//! `segue demo`: the whole thing in one process, on loopback, in a temporary directory, without an account.
//!
//! Both stand-ins, a sidecar with TLS between, and traffic that looks like real SDKs. It keeps its own account of what
//! clients were told and what each side must have, and compares it with what the stand-ins took: nothing of the figures is
//! made up.

mod account;
mod proof;
mod random;
mod show;
mod stage;
mod traffic;

pub use show::{DemoError, Live, Options, Outcome, run};
