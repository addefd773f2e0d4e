//! What earlier runs left on disk, opened off the runtime's threads.

use std::sync::Arc;

use super::{
    sidecar::StartError,
    witness::{self, Kept},
};
use crate::{
    clock::Clock,
    config::Config,
    evidence::Evidence,
    journal::{Disk, Journal, Opened, PAGES_DIR, RealDisk},
    shelf::Shelf,
    tls::Certificates,
};

/// None: no listener needs any.
pub(super) async fn certificates(config: &Config, clock: Clock) -> Result<Option<Certificates>, StartError> {
    let Some(settings) = config.tls.clone().filter(|_| config.ingress.listen_tls.is_some()) else { return Ok(None) };
    let loaded = tokio::task::spawn_blocking(move || Certificates::load(&settings, move || clock.now())).await;
    Ok(Some(loaded.map_err(|_| StartError::Interrupted)??))
}

/// `disk`: None opens the configured data directory.
pub(super) async fn journal(config: &Config, disk: Option<Arc<dyn Disk>>) -> Result<Opened, StartError> {
    let settings = config.journal.clone();
    let dir = settings.dir.display().to_string();
    let opened = tokio::task::spawn_blocking(move || {
        let disk = disk.map_or_else(|| RealDisk::open(&settings.dir), Ok)?;
        Journal::open(disk, &settings)
    });
    let opened = opened.await;
    opened.map_err(|_| StartError::Interrupted)?.map_err(|source| StartError::Journal { dir, source })
}

/// Evidence, as earlier runs left it.
pub(super) async fn evidence(config: &Config, journal: &Journal, clock: &Clock, kept: Kept) -> Result<Arc<Evidence>, StartError> {
    let (config, journal, clock) = (config.clone(), journal.clone(), clock.clone());
    let opened = tokio::task::spawn_blocking(move || witness::open(&config, &journal, &clock, kept)).await;
    opened.map_err(|_| StartError::Interrupted)
}

/// The pages of Segment's CDN.
pub(super) async fn shelf(config: &Config, kept: Kept) -> Result<Arc<Shelf>, StartError> {
    let dir = (kept == Kept::OnDisk).then(|| config.journal.dir.join(PAGES_DIR));
    let opened = tokio::task::spawn_blocking(move || Shelf::open(dir)).await;
    opened.map(Arc::new).map_err(|_| StartError::Interrupted)
}
