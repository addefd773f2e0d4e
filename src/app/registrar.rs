//! The census beside a running sidecar: opened, and saved.

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use super::{figures, sidecar::StartError, witness::Kept};
use crate::{census::Census, config::Config, journal::CENSUS_DIR, telemetry::Exposition};

/// Keeps the census saved; dropping it ends that.
#[derive(Debug)]
pub(super) struct Registrar {
    census: Arc<Census>,
    task: JoinHandle<()>,
}

/// How often it is saved: what a kill loses of it.
const SAVE: Duration = Duration::from_secs(30);

impl Registrar {
    /// Takes up what an earlier run counted, and goes on until it is dropped or stopped.
    pub(super) async fn start(config: &Config, kept: Kept, exposition: &Exposition) -> Result<Self, StartError> {
        let dir = (kept == Kept::OnDisk).then(|| config.journal.dir.join(CENSUS_DIR));
        let opened = tokio::task::spawn_blocking(move || Census::open(dir)).await;
        let census = Arc::new(opened.map_err(|_| StartError::Interrupted)?);
        figures::register_census(exposition, &census);
        let saved = Arc::clone(&census);
        let task = tokio::spawn(async move {
            let mut rounds = interval(SAVE);
            rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                rounds.tick().await;
                save(&saved).await;
            }
        });
        Ok(Self { census, task })
    }

    /// The census.
    pub(super) const fn census(&self) -> &Arc<Census> {
        &self.census
    }

    /// Saves it for the next start.
    pub(super) async fn stop(self) {
        self.task.abort();
        save(&self.census).await;
    }
}

impl Drop for Registrar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// No event hangs on it, so a failure is told and nothing more.
async fn save(census: &Arc<Census>) {
    let census = Arc::clone(census);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || census.save()).await {
        tracing::warn!(event = "census_unsaved", %error, "the census of versions cannot be saved; trying again");
    }
}
