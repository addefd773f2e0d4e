//! The certificate that is served, kept fresh.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{
    model::WallTime,
    tls::{Settings, TlsError},
};

/// The certificates of the TLS listener. Clones share them.
#[derive(Debug, Clone)]
pub struct Certificates {}

/// How it stands with the certificates, for metrics and the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// When the certificate that is served ends.
    pub expires_at: WallTime,
    /// How the last reload or renewal went.
    pub last_reload: Reload,
}

/// How the last reload or renewal went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// The newest certificate is served.
    Good,
    /// It failed for this reason; the last good certificate is served.
    Kept(String),
}

/// Keeps the certificates fresh until it is dropped.
#[derive(Debug)]
pub struct Keeper {
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Certificates {
    /// Reads or makes the certificates that `settings` ask for; `now` is the wall clock (`move || clock.now()`). Blocks
    /// for some milliseconds; needs no runtime.
    ///
    /// # Errors
    ///
    /// When there is nothing to serve; the message names the file and the way out.
    pub fn load(settings: &Settings, now: impl Fn() -> WallTime + Send + Sync + 'static) -> Result<Self, TlsError> {
        let _ = (settings, now());
        unimplemented!("comes with the next commit")
    }

    /// What the listener's acceptor is made of; always the same one, which shows the newest certificate by itself.
    #[must_use]
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        unimplemented!("comes with the next commit")
    }

    /// Starts the task that renews leaves before two thirds of their life, or reads changed files again.
    #[must_use]
    pub fn keep_fresh(&self) -> Keeper {
        Keeper { task: tokio::spawn(async {}) }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        unimplemented!("comes with the next commit")
    }
}
