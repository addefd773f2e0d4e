//! `segue run`: a sidecar until a signal comes.

use std::{io, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Handle, Sidecar, StartError, StopReport};
use crate::{
    config::{Config, DataDirectory},
    control::{ConfigWatch, KeyMoved, Read, ReloadError, Reloaded},
    routing::Author,
};

/// Why a run ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The system takes no signal handlers.
    #[error("signals cannot be listened for")]
    Signals(#[source] io::Error),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was asked to stop, and did.
    InOrder(StopReport),
    /// It was told not to take its time. As with a crash nothing acknowledged is lost, and some events may be delivered twice.
    AtOnce(Urgency),
}

/// Which signal left no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// SIGTERM, for the second time.
    Terminate,
    /// SIGINT, for the second time.
    Interrupt,
    /// SIGQUIT.
    Quit,
}

/// What a signal means.
enum Told {
    End(Urgency),
    /// SIGHUP. A terminal that goes away sends it too: no reason to stop keeping events, and reading the file again does no harm.
    Reload,
}

/// The signals that a run heeds.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
}

/// Whether the configuration is looked at while the sidecar runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attention {
    /// Only when it is told to.
    WhenTold,
    /// Every second.
    Watch,
}

/// Runs a sidecar until SIGTERM or SIGINT, then stops it in order; a second one, or SIGQUIT at any time, ends it at once. SIGHUP
/// reads the configuration again. `started` is told once it takes requests.
///
/// # Errors
/// When it cannot start.
pub async fn run_until_signal(
    config: Config,
    read: Arc<Read>,
    attention: Attention,
    started: impl FnOnce(&Handle),
) -> Result<Ending, RunError> {
    let mut signals = Signals::listen().map_err(RunError::Signals)?;
    // A file size limit (RLIMIT_FSIZE) is an error like any other on the disk, and no reason to die: with a handler there is
    // no default action, and the write fails instead.
    let _file_too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw())).map_err(RunError::Signals)?;
    let handle = tokio::select! {
        handle = Sidecar::start_reloadable(config, read) => handle?,
        urgency = signals.next() => return Ok(Ending::AtOnce(urgency)),
    };
    announce(&handle);
    started(&handle);
    let watch = handle.reloader().filter(|_| attention == Attention::Watch).cloned().map(|reloader| ConfigWatch::start(reloader, tell));
    let told = loop {
        match signals.any().await {
            Told::End(urgency) => break urgency,
            Told::Reload => {
                if let Some(reloader) = handle.reloader() {
                    tell(reloader.reload(Author::Signal).await);
                }
            }
        }
    };
    drop(watch);
    if told == Urgency::Quit {
        return Ok(Ending::AtOnce(Urgency::Quit));
    }
    tracing::info!(event = "stopping", "stopping: answering what is in flight");
    let report = tokio::select! {
        report = handle.stop() => report,
        urgency = signals.next() => {
            tracing::warn!(event = "stopped_at_once", "told again: what is in flight is sent again by the next start");
            return Ok(Ending::AtOnce(urgency));
        }
    };
    farewell(&report);
    Ok(Ending::InOrder(report))
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn any(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End(Urgency::Terminate),
            _ = self.interrupt.recv() => Told::End(Urgency::Interrupt),
            _ = self.quit.recv() => Told::End(Urgency::Quit),
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// Waits for the next one that means an end. Before the start and during a stop there is nothing to reload.
    async fn next(&mut self) -> Urgency {
        loop {
            if let Told::End(urgency) = self.any().await {
                return urgency;
            }
        }
    }
}

/// Tells how it went; a configuration that is wrong changes nothing.
fn tell(reloaded: Result<Reloaded, ReloadError>) {
    match reloaded {
        Ok(Reloaded { revision, changed, moved, needs_restart }) => {
            let changed = changed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            tracing::info!(event = "reloaded", revision = revision.0, changed, "the configuration was read again");
            for KeyMoved { from, to, waiting, .. } in moved {
                tracing::warn!(event = "key_moved", %from, %to, waiting, "a source is gone and another one came with its Segment key: if it is the same, give it its id again");
            }
            if !needs_restart.is_empty() {
                let settings = needs_restart.join(" ");
                tracing::warn!(event = "restart_needed", settings, "these settings differ, and are read at the start only");
            }
        }
        Err(error) => {
            tracing::error!(event = "reload_refused", %error, "the configuration is wrong: the one that was in force still is");
        }
    }
}

fn farewell(report: &StopReport) {
    for (lane, events) in &report.lanes_left {
        match report.data_directory {
            DataDirectory::Lasting => tracing::info!(event = "lane_left", %lane, events, "waits in the journal"),
            DataDirectory::Ephemeral => {
                tracing::error!(event = "undelivered_at_exit", %lane, events, "not delivered in time, and lost with the data directory");
            }
        }
    }
    tracing::info!(
        event = "stopped",
        events_left = report.events_left,
        connections_cut = report.connections_cut,
        "stopped; what is left stands in the journal"
    );
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
