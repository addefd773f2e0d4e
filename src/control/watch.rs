//! The configuration looked at now and then, and read again when it has changed.
//!
//! It is read whole each time, with the files that it names, and what it says is compared: that sees an edit, a rename, a symbolic link that
//! Kubernetes swaps, a secret that was exchanged, and works on file systems that tell nobody of changes. A file that is being
//! written may be read half; so what was read counts when the next look says the same.

use std::time::Duration;

use tokio::{task::JoinHandle, time::sleep};

use super::{ReloadError, Reloaded, Reloader, Reread};
use crate::routing::Author;

/// How often it is looked at: a change is in force after two looks.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the configuration until it is dropped.
#[derive(Debug)]
pub struct ConfigWatch {
    task: JoinHandle<()>,
}

impl ConfigWatch {
    /// Starts to look. `told` hears of each reload that did something or was refused. To be called on a tokio runtime.
    #[must_use]
    pub fn start(reloader: Reloader, told: impl Fn(Result<Reloaded, ReloadError>) + Send + 'static) -> Self {
        Self { task: tokio::spawn(watch(reloader, told)) }
    }
}

impl Drop for ConfigWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(reloader: Reloader, told: impl Fn(Result<Reloaded, ReloadError>)) {
    let mut known: Option<Result<Reread, String>> = None;
    let mut before: Option<Result<Reread, String>> = None;
    loop {
        let seen = reloader.look().await;
        let is_settled = before.as_ref() == Some(&seen);
        if is_settled && known.as_ref() != Some(&seen) {
            let reloaded = reloader.reload(Author::ConfigFile).await;
            // The first time it is what the sidecar started with, unless it has changed since: nothing to tell.
            if known.is_some() || !reloaded.as_ref().is_ok_and(|reloaded| reloaded.changed.is_empty()) {
                told(reloaded);
            }
            known = Some(seen.clone());
        }
        before = Some(seen);
        sleep(LOOK_INTERVAL).await;
    }
}
