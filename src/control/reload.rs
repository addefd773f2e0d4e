//! The configuration read again while the sidecar runs: checked whole, then its sources are put in force, or nothing is.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use super::{FlipError, KeyMoved, Reconfigured, Switchboard};
use crate::{
    model::{Revision, SourceId},
    routing::{Author, Source},
};

/// What reading the configuration again found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reread {
    /// The sources.
    pub sources: Vec<Source>,
    /// Settings that differ from those in force, and that only a start puts in force.
    pub needs_restart: Vec<String>,
    /// The files that were read.
    pub files: Vec<PathBuf>,
}

/// How the configuration is read again. It blocks. The error is all that is wrong with it, for people.
pub type Read = dyn Fn() -> Result<Reread, String> + Send + Sync;

/// Reads the configuration again when it is told to. Clones share it.
#[derive(Clone)]
pub struct Reloader {
    read: Arc<Read>,
    switchboard: Switchboard,
    /// Why the newest reload was refused; None: it was not, or there was none.
    refused: Arc<Mutex<Option<String>>>,
}

/// Whether the newest reload was refused.
#[derive(Debug, Clone)]
pub struct Refusal(Arc<Mutex<Option<String>>>);

impl Refusal {
    /// Whether it was.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The revision in force now.
    pub revision: Revision,
    /// The sources that came, went or changed; empty: they are as they were.
    pub changed: Vec<SourceId>,
    /// Segment keys that stand under another source than before.
    pub moved: Vec<KeyMoved>,
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
        Self { read, switchboard, refused: Arc::default() }
    }

    /// Reads and checks everything; then the new sources are in force for every request that begins later. Keys that were taken out are
    /// unknown from then on, and what waits for a source that is gone waits for its return.
    ///
    /// # Errors
    /// With everything that is wrong: then all stays as it was.
    pub async fn reload(&self, by: Author) -> Result<Reloaded, ReloadError> {
        let reloaded = self.try_reload(by).await;
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = reloaded.as_ref().err().map(ToString::to_string);
        reloaded
    }

    async fn try_reload(&self, by: Author) -> Result<Reloaded, ReloadError> {
        let Reread { sources, needs_restart, .. } = self.look().await.map_err(ReloadError::Config)?;
        let Reconfigured { changed, revision, moved } = self.switchboard.reconfigure(sources, by).await?;
        Ok(Reloaded { revision, changed, moved, needs_restart })
    }

    /// What [`Reloader::reload`] would do; nothing is changed.
    ///
    /// # Errors
    /// As that.
    pub async fn plan(&self) -> Result<Reloaded, ReloadError> {
        let Reread { sources, needs_restart, .. } = self.look().await.map_err(ReloadError::Config)?;
        let Reconfigured { changed, revision, moved } = self.switchboard.plan_reconfigure(&sources)?;
        Ok(Reloaded { revision, changed, moved, needs_restart })
    }

    /// Reads and checks everything, and puts nothing in force.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub async fn look(&self) -> Result<Reread, String> {
        let read = Arc::clone(&self.read);
        tokio::task::spawn_blocking(move || read()).await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Whether it was, for figures: it keeps nothing of the sidecar alive.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        Refusal(Arc::clone(&self.refused))
    }

    /// Why the newest reload was refused, so that another configuration is in force than stands there; None: it was not.
    #[must_use]
    pub fn refused(&self) -> Option<String> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("switchboard", &self.switchboard).finish_non_exhaustive()
    }
}
