//! `segue run`: a sidecar until a signal comes.

use tokio::signal::unix::{SignalKind, signal};

use super::{Handle, Sidecar, StartError, StopReport};
use crate::config::Config;

/// Why a run ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system takes no signal handlers.
    #[error("signals cannot be listened for")]
    Signals(#[source] std::io::Error),
}

/// Runs a sidecar until SIGTERM or SIGINT, then stops it in order. `started` is told once it takes requests.
///
/// # Errors
/// When it cannot start.
pub async fn run_until_signal(config: Config, started: impl FnOnce(&Handle)) -> Result<StopReport, RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    // A file size limit (RLIMIT_FSIZE) is an error like any other on the disk, and no reason to die: with a handler there is
    // no default action, and the write fails instead.
    let _file_too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map_err(RunError::Signals)?;
    let handle = Sidecar::start(config).await?;
    announce(&handle);
    started(&handle);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!(event = "stopping", "stopping: answering what is in flight");
    let report = handle.stop().await;
    tracing::info!(
        event = "stopped",
        events_left = report.events_left,
        connections_cut = report.connections_cut,
        "stopped; what is left waits in the journal"
    );
    Ok(report)
}

fn announce(handle: &Handle) {
    let report = handle.recovery();
    if report.pending > 0 || report.torn_at.is_some() {
        tracing::info!(
            event = "recovered",
            pending = report.pending,
            torn = report.torn_at.is_some(),
            "took up the journal of the last run"
        );
    }
    if !report.damaged_files.is_empty() {
        tracing::error!(
            event = "journal_files_damaged",
            files = report.damaged_files.join(" "),
            "cursors or quarantined events cannot be read: events may be delivered again, none is passed over"
        );
    }
    if !report.damaged.is_empty() || !report.missing.is_empty() {
        tracing::error!(
            event = "journal_damaged",
            places = report.damaged.len(),
            missing_volumes = report.missing.len(),
            "part of the journal cannot be read; the rest is delivered"
        );
    }
    if !report.foreign.is_empty() {
        tracing::warn!(
            event = "journal_foreign",
            files = report.foreign.join(" "),
            "the data directory holds what is not this journal's; it is left alone"
        );
    }
    let shown = |address: Option<std::net::SocketAddr>| address.map_or_else(|| "off".to_owned(), |address| address.to_string());
    tracing::info!(
        event = "started",
        http = shown(handle.plain_address()),
        tls = shown(handle.tls_address()),
        metrics = shown(handle.metrics_address()),
        version = env!("CARGO_PKG_VERSION"),
        "taking events"
    );
}
