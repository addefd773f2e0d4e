//! Start and stop.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::figures;
use crate::{
    clock::Clock,
    config::Config,
    delivery::{Delivery, Upstreams},
    ingress::{Counters, Desk, Ingress, ListenError, Relays},
    journal::{Disk, Journal, LaneId, Ledger, OpenError, Opened, RealDisk, RecoveryReport},
    model::Revision,
    routing::{SourceConflict, Sources},
    telemetry::{Exposition, Health, MetricsServer, Readiness},
    tls::{Certificates, Keeper, TlsError},
    upstream::{Upstream, UpstreamError},
};

/// The way to a running sidecar.
#[derive(Debug)]
pub struct Sidecar;

/// A running sidecar. Dropping it without [`Handle::stop`] is as good as a crash: nothing acknowledged is lost, some
/// events are delivered twice after the next start.
#[derive(Debug)]
pub struct Handle {
    ingress: Ingress,
    delivery: Delivery,
    journal: Journal,
    metrics: Option<MetricsServer>,
    report: RecoveryReport,
    counters: Arc<Counters>,
    drain_timeout: Duration,
    _keeper: Option<Keeper>,
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopReport {
    /// Connections that were still open when the time was up.
    pub connections_cut: usize,
    /// Events that wait in the journal for the next start.
    pub events_left: u64,
}

/// Why a sidecar did not start. Nothing is left running.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The journal cannot be opened.
    #[error("the journal in {dir} cannot be opened: {source}")]
    Journal {
        /// The data directory.
        dir: String,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The certificates cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An upstream's settings are wrong.
    #[error("{name}: {source}")]
    Upstream {
        /// Its table in the configuration.
        name: &'static str,
        /// Why.
        #[source]
        source: UpstreamError,
    },
    /// Two sources claim one key.
    #[error(transparent)]
    Sources(#[from] SourceConflict),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics' address cannot be listened on.
    #[error("cannot serve metrics on {address}: {source}")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A task of ours ended before its time.
    #[error("the start was interrupted")]
    Interrupted,
}

impl Sidecar {
    /// Starts a sidecar on the running tokio runtime, by the machine's clock.
    ///
    /// # Errors
    /// When a part cannot start; what had started is stopped again.
    pub async fn start(config: Config) -> Result<Handle, StartError> {
        Self::start_with(config, Clock::system()).await
    }

    /// As [`Sidecar::start`], by a clock of the caller's.
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start_with(config: Config, clock: Clock) -> Result<Handle, StartError> {
        Self::start_parts(config, clock, async |config: &Config| open_journal(config, None).await).await
    }

    /// As [`Sidecar::start_with`], with the journal on a disk of the caller's: tests put one there that fails. The data
    /// directory of the configuration is not touched.
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start_on(config: Config, clock: Clock, disk: Arc<dyn Disk>) -> Result<Handle, StartError> {
        Self::start_parts(config, clock, async |config: &Config| open_journal(config, Some(disk)).await).await
    }

    /// On the journal that `open` opens: a simulation's has no threads.
    pub(crate) async fn start_parts(
        config: Config,
        clock: Clock,
        open: impl AsyncFnOnce(&Config) -> Result<Opened, StartError>,
    ) -> Result<Handle, StartError> {
        // Everything that can be wrong without touching the world comes first.
        let sources = Sources::new(Revision::default(), config.sources.clone())?;
        let relays = relays(&config)?;
        let rudderstack = config.rudderstack.as_ref().map(|settings| upstream("[rudderstack]", settings)).transpose()?;
        let certificates = match config.tls.clone().filter(|_| config.ingress.listen_tls.is_some()) {
            Some(settings) => Some(load_certificates(settings, clock.clone()).await?),
            None => None,
        };
        let Opened { journal, report } = open(&config).await?;
        let sources = Arc::new(ArcSwap::from_pointee(sources.at(journal.revision())));

        let exposition = Arc::new(Exposition::new());
        let upstreams = Upstreams { segment_us: relays.us.clone(), segment_eu: relays.eu.clone(), rudderstack };
        let delivery = Delivery::start(journal.clone(), Arc::clone(&sources), upstreams, config.delivery.clone(), clock.clone());
        let counters = Arc::new(Counters::default());
        let desk = Arc::new(Desk {
            journal: journal.clone(),
            sources: Arc::clone(&sources),
            relays,
            clock,
            settings: config.ingress.clone(),
            counters: Arc::clone(&counters),
            durations: exposition.histogram("segue_request_duration_seconds", "From a request's arrival to its answer", &[]),
            memory: Arc::new(Semaphore::new(memory_permits(&config))),
        });
        figures::register(&exposition, &counters, &journal, &delivery, &sources, certificates.as_ref());
        let keeper = certificates.as_ref().map(Certificates::keep_fresh);
        let ingress = Ingress::start(&desk, certificates.as_ref().map(Certificates::server_config))?;
        let metrics = match config.telemetry.metrics {
            Some(address) => Some(serve_metrics(address, exposition, &journal).await?),
            None => None,
        };
        Ok(Handle { ingress, delivery, journal, metrics, report, counters, drain_timeout: config.drain_timeout, _keeper: keeper })
    }
}

impl Handle {
    /// Where plain HTTP is taken; None when it is off.
    #[must_use]
    pub const fn plain_address(&self) -> Option<SocketAddr> {
        self.ingress.plain_address()
    }

    /// Where TLS is taken; None when it is off.
    #[must_use]
    pub const fn tls_address(&self) -> Option<SocketAddr> {
        self.ingress.tls_address()
    }

    /// Where metrics and health are served; None when they are off.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.as_ref().map(MetricsServer::address)
    }

    /// What the journal found when it was opened.
    #[must_use]
    pub const fn recovery(&self) -> &RecoveryReport {
        &self.report
    }

    /// The journal, for figures and for what stands in quarantine.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Takes a connection that no listener accepted.
    #[cfg(test)]
    pub(crate) const fn ingress(&self) -> &Ingress {
        &self.ingress
    }

    /// How each lane stands.
    #[cfg(test)]
    pub(crate) fn lanes(&self) -> Vec<crate::delivery::LaneStatus> {
        self.delivery.lanes()
    }

    /// What the ingress counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What became of every lane's events.
    #[must_use]
    pub fn ledger(&self) -> Vec<(LaneId, Ledger)> {
        self.journal.ledger()
    }

    /// Stops in order: no new connections, requests in flight answered, deliveries in flight finished as far as
    /// `drain_timeout` goes, cursors saved. What is not delivered waits on disk.
    pub async fn stop(self) -> StopReport {
        let connections_cut = self.ingress.stop(self.drain_timeout.min(Duration::from_secs(2))).await;
        self.delivery.stop(self.drain_timeout.min(Duration::from_secs(2))).await;
        self.journal.close().await;
        let events_left = self.journal.ledger().iter().map(|(_, ledger)| ledger.pending).sum();
        StopReport { connections_cut, events_left }
    }
}

fn relays(config: &Config) -> Result<Relays, StartError> {
    Ok(Relays {
        us: upstream("[segment] url", &config.segment.us)?,
        eu: upstream("[segment] eu_url", &config.segment.eu)?,
        cdn: upstream("[segment] cdn_url", &config.segment.cdn)?,
        cdn_settings: upstream("[segment] cdn_settings_url", &config.segment.cdn_settings)?,
    })
}

fn upstream(name: &'static str, settings: &crate::upstream::Settings) -> Result<Upstream, StartError> {
    Upstream::new(settings).map_err(|source| StartError::Upstream { name, source })
}

async fn load_certificates(settings: crate::tls::Settings, clock: Clock) -> Result<Certificates, StartError> {
    let loaded = tokio::task::spawn_blocking(move || Certificates::load(&settings, move || clock.now())).await;
    Ok(loaded.map_err(|_| StartError::Interrupted)??)
}

/// `disk`: None opens the configured data directory.
async fn open_journal(config: &Config, disk: Option<Arc<dyn Disk>>) -> Result<Opened, StartError> {
    let settings = config.journal.clone();
    let dir = settings.dir.display().to_string();
    let opened = tokio::task::spawn_blocking(move || {
        let disk = disk.map_or_else(|| RealDisk::open(&settings.dir), Ok)?;
        Journal::open(disk, &settings)
    });
    let opened = opened.await;
    opened.map_err(|_| StartError::Interrupted)?.map_err(|source| StartError::Journal { dir, source })
}

async fn serve_metrics(address: SocketAddr, exposition: Arc<Exposition>, journal: &Journal) -> Result<MetricsServer, StartError> {
    let journal = journal.clone();
    let probe = Arc::new(move || Health {
        live: true,
        ready: match journal.health() {
            crate::journal::Health::Writable => Readiness::Ready,
            crate::journal::Health::Full => Readiness::Not("the journal is full".to_owned()),
            crate::journal::Health::Broken => Readiness::Not("the journal cannot write".to_owned()),
        },
    });
    MetricsServer::start(address, exposition, probe).await.map_err(|source| StartError::Metrics { address, source })
}

/// As many permits as bytes; a semaphore holds at most `usize::MAX >> 3`.
fn memory_permits(config: &Config) -> usize {
    usize::try_from(config.ingress.limits.pending_bytes_max.0).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}
