//! The local CA.

use std::path::{Path, PathBuf};

use crate::{model::WallTime, tls::InitError};

/// What to do about a CA that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and fail.
    Refuse,
    /// Put the new one in its place. Clients must then trust the new root.
    Replace,
}

/// What [`init`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The root: what clients trust.
    pub root: PathBuf,
    /// The intermediate, which signs the leaves.
    pub intermediate: PathBuf,
    /// The intermediate's key, mode 0600.
    pub key: PathBuf,
    /// The subject of the root, unique to this CA.
    pub subject: String,
    /// SHA-256 of the root, in hex with colons, as browsers and `openssl x509 -fingerprint` show it.
    pub fingerprint: String,
    /// The names that the CA may serve, besides localhost, 127.0.0.1 and ::1.
    pub names: Vec<String>,
    /// When it ends.
    pub expires_at: WallTime,
}

/// Makes a local CA in `dir` for exactly `names` (and localhost): the root's key signs the intermediate and is dropped.
/// Writes `root.pem`, `intermediate.pem` and `intermediate.key` (0600) and makes `dir` (0700) when absent.
///
/// # Errors
///
/// When there is a CA and `existing` says to leave it, when a name cannot be served, when a file cannot be written.
pub fn init(dir: &Path, names: &[String], existing: Existing, now: WallTime) -> Result<Made, InitError> {
    let _ = (dir, names, existing, now);
    unimplemented!("comes with the next commit")
}
