//! The configuration read again while the sidecar runs: checked whole, then its sources are put in force, or nothing is.

use std::{fmt, sync::Arc};

use super::{FlipError, Switchboard};
use crate::{
    model::{Revision, SourceId},
    routing::{Author, Source},
};

/// What reading the configuration again found.
#[derive(Debug, Clone)]
pub struct Reread {
    /// The sources.
    pub sources: Vec<Source>,
    /// Settings that differ from those in force, and that only a start puts in force.
    pub needs_restart: Vec<String>,
}

/// How the configuration is read again. It blocks. The error is all that is wrong with it, for people.
pub type Read = dyn Fn() -> Result<Reread, String> + Send + Sync;

/// Reads the configuration again when it is told to. Clones share it.
#[derive(Clone)]
pub struct Reloader {
    read: Arc<Read>,
    switchboard: Switchboard,
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The revision in force now.
    pub revision: Revision,
    /// The sources that came, went or changed; empty: they are as they were.
    pub changed: Vec<SourceId>,
    /// Settings that differ and need a restart.
    pub needs_restart: Vec<String>,
}

/// Why a reload did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(String),
    /// Its sources cannot be put in force.
    #[error(transparent)]
    Flip(#[from] FlipError),
}

impl Reloader {
    /// A reloader for what that switchboard has in force.
    #[must_use]
    pub fn new(read: Arc<Read>, switchboard: Switchboard) -> Self {
        Self { read, switchboard }
    }

    /// Reads and checks everything; then the new sources are in force for every request that begins later. Keys that were taken out are
    /// unknown from then on, and what waits for a source that is gone waits for its return.
    ///
    /// # Errors
    /// With everything that is wrong: then all stays as it was.
    pub async fn reload(&self, by: Author) -> Result<Reloaded, ReloadError> {
        let read = Arc::clone(&self.read);
        let reread = tokio::task::spawn_blocking(move || read()).await;
        let Reread { sources, needs_restart } = reread.unwrap_or_else(|error| Err(error.to_string())).map_err(ReloadError::Config)?;
        let (changed, revision) = self.switchboard.reconfigure(sources, by).await?;
        Ok(Reloaded { revision, changed, needs_restart })
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("switchboard", &self.switchboard).finish_non_exhaustive()
    }
}
