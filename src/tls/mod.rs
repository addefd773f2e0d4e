//! The TLS side of the listener: which certificate is served, and the local CA that makes it.
//!
//! Two ways. *Local CA*: [`init`] makes a root and an intermediate whose names are constrained to those that segue serves;
//! the root's key is never stored, and leaves that live for days are made in memory while running. *Files*: the user's own
//! chain and key, read again when they change, the last good ones kept.
//!
//! It promises that a running listener always has a certificate to show, renewed in time, and that a CA stolen from
//! disk signs for nobody else's names. It never writes a leaf's key to disk, never issues for a name that a client
//! asked for, never logs TLS secrets.

mod authority;
mod certificates;
mod error;
mod leaf;
mod name;
mod served;
mod settings;
mod validity;

pub use authority::{Existing, Made, init};
pub use certificates::{Certificates, Keeper, Reload, Status};
pub use error::{InitError, TlsError};
pub use settings::{Mode, Settings};
