//! The TLS side of the listener: which certificate is served, and the local CA that makes it.
//!
//! Two ways. *Local CA*: [`init`] makes a root and an intermediate whose names are constrained to those that segue serves;
//! the root's key is never stored, and leaves that live for days are made in memory while running. *Files*: the user's own
//! chain and key, read again when they change, the last good ones kept.
//!
//! A local CA is exchanged for the next one in three steps ([`prepare`], [`switch`], [`finish`]), and both roots are handed out
//! meanwhile, so that no app is cut off.
//!
//! It promises that a running listener always has a certificate to show, renewed in time, and that a CA stolen from
//! disk signs for nobody else's names. It never writes a leaf's key to disk, never issues for a name that a client
//! asked for, never logs TLS secrets.

mod authority;
mod certificates;
mod error;
mod export;
mod files;
mod keystore;
mod leaf;
mod name;
mod rotation;
mod served;
mod settings;
mod standing;
mod usual;
mod validity;

pub use authority::{Existing, Made, init};
pub use certificates::{Certificates, Keeper, Reload, Status};
pub use error::{ExportError, InitError, RotateError, TlsError};
pub use export::{Exported, Part, export};
pub use rotation::{cancel, finish, prepare, switch};
pub use settings::{Mode, Settings};
pub use standing::{OwnCertificate, Phase, Role, Root, Standing};
pub use usual::Usual;
