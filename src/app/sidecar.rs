//! Start and stop.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use super::{
    figures, gauges, opened,
    registrar::Registrar,
    witness::{Kept, Witness},
};
use crate::{
    admin::{AdminServer, Hub},
    census::Census,
    clock::Clock,
    config::{Config, DataDirectory},
    control::{KillFile, Ramps, Read, Reloader, Replayer, Switchboard},
    delivery::{Delivery, Upstreams},
    evidence::Evidence,
    ingress::{Counters, Desk, Ingress, ListenError, Relays, Rests},
    journal::{Disk, Journal, LaneId, Ledger, OpenError, Opened, RecoveryReport},
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
    admin: Option<AdminServer>,
    kill_file: Option<KillFile>,
    replayer: Replayer,
    ramps: Ramps,
    witness: Witness,
    registrar: Registrar,
    reloader: Option<Reloader>,
    report: RecoveryReport,
    counters: Arc<Counters>,
    evidence: Arc<Evidence>,
    data_directory: DataDirectory,
    drain_timeout: Duration,
    /// Set once a stop was asked for.
    stopping: Arc<AtomicBool>,
    _keeper: Option<Keeper>,
}

/// How a stop went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopReport {
    /// Connections that were still open when the time was up.
    pub connections_cut: usize,
    /// Events that were not delivered, over all lanes.
    pub events_left: u64,
    /// The same for each lane that has any.
    pub lanes_left: Vec<(LaneId, u64)>,
    /// Whether the next start finds them.
    pub data_directory: DataDirectory,
}

impl StopReport {
    /// Events that no start will find again.
    #[must_use]
    pub fn events_lost(&self) -> u64 {
        match self.data_directory {
            DataDirectory::Lasting => 0,
            DataDirectory::Ephemeral => self.events_left,
        }
    }
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
        Self::start_parts(config, clock, None, Kept::OnDisk, async |config: &Config| opened::journal(config, None).await).await
    }

    /// As [`Sidecar::start`], of a configuration that `read` can read again.
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start_reloadable(config: Config, read: Arc<Read>) -> Result<Handle, StartError> {
        Self::start_parts(config, Clock::system(), Some(read), Kept::OnDisk, async |config: &Config| opened::journal(config, None).await)
            .await
    }

    /// As [`Sidecar::start_with`], with the journal on a disk of the caller's: tests put one there that fails. The data
    /// directory of the configuration is not touched.
    ///
    /// # Errors
    /// When a part cannot start.
    pub async fn start_on(config: Config, clock: Clock, disk: Arc<dyn Disk>) -> Result<Handle, StartError> {
        Self::start_parts(config, clock, None, Kept::InMemory, async |config: &Config| opened::journal(config, Some(disk)).await).await
    }

    /// On the journal that `open` opens: a simulation's has no threads.
    pub(crate) async fn start_parts(
        config: Config,
        clock: Clock,
        read: Option<Arc<Read>>,
        kept: Kept,
        open: impl AsyncFnOnce(&Config) -> Result<Opened, StartError>,
    ) -> Result<Handle, StartError> {
        // Everything that can be wrong without touching the world comes first.
        let sources = Sources::new(Revision::default(), config.sources.clone())?;
        let relays = relays(&config)?;
        let rudderstack = config.rudderstack.as_ref().map(|settings| upstream("[rudderstack]", settings)).transpose()?;
        let certificates = opened::certificates(&config, clock.clone()).await?;
        let Opened { journal, report } = open(&config).await?;
        let sources = Arc::new(ArcSwap::from_pointee(sources.at(journal.revision())));

        let exposition = Arc::new(Exposition::new());
        let upstreams = Upstreams { segment_us: relays.us.clone(), segment_eu: relays.eu.clone(), rudderstack };
        let evidence = opened::evidence(&config, &journal, &clock, kept).await?;
        let registrar = Registrar::start(&config, kept, &exposition).await?;
        let mut delivery = Delivery::prepare(
            journal.clone(),
            Arc::clone(&sources),
            upstreams,
            config.delivery.clone(),
            clock.clone(),
            Arc::clone(&evidence),
        );
        let counters = Arc::new(Counters::default());
        let desk = Arc::new(Desk {
            journal: journal.clone(),
            sources: Arc::clone(&sources),
            relays,
            clock,
            shelf: opened::shelf(&config, kept).await?,
            rests: Rests::default(),
            settings: config.ingress.clone(),
            counters: Arc::clone(&counters),
            tap: delivery.tap(),
            evidence: Arc::clone(&evidence),
            census: Arc::clone(registrar.census()),
            durations: exposition.histogram("segue_request_duration_seconds", "From a request's arrival to its answer", &[]),
            memory: Arc::new(Semaphore::new(memory_permits(&config))),
            heavy: Desk::heavy(),
        });
        figures::register(&exposition, &desk, &delivery, certificates.as_ref());
        let keeper = certificates.as_ref().map(Certificates::keep_fresh);
        let switchboard =
            Switchboard::start(Arc::clone(&sources), config.rudderstack.is_some(), journal.clone(), delivery.control(), desk.clock.clone());
        let witness = Witness::start(Arc::clone(&evidence), switchboard.clone(), desk.clock.clone());
        figures::register_routes(&exposition, &switchboard, &evidence);
        // Before the first request: a file that was there at the start counts for it.
        let kill_file = watch_kill_file(&config, &switchboard).await;
        // Not before what operators decided is in force: a limit or the kill switch holds from the first event on.
        delivery.begin();
        let reloader = read.map(|read| Reloader::new(read, switchboard.clone()));
        figures::register_reloader(&exposition, reloader.as_ref());
        let (lanes, place) = (delivery.control(), config.journal.dir.clone());
        let replayer =
            Replayer::start(place, journal.clone(), lanes.clone(), Arc::clone(&sources), switchboard.clone(), desk.clock.clone());
        figures::register_replays(&exposition, &replayer);
        let read = gauges::reader(journal.clone(), delivery.control(), Arc::clone(&evidence), desk.clock.clone());
        let ramps = Ramps::start(switchboard.clone(), read, config.gates, desk.clock.clone());
        figures::register_ramps(&exposition, &ramps);
        let draining = Arc::new(AtomicBool::new(false));
        let hub = Hub {
            journal: journal.clone(),
            lanes,
            switchboard,
            replayer: replayer.clone(),
            ramps: ramps.clone(),
            reloader: reloader.clone(),
            counters: Arc::clone(&counters),
            clock: desk.clock.clone(),
            started_at: desk.clock.now(),
            draining: Arc::clone(&draining),
            sources,
            desk: Arc::clone(&desk),
            tap: delivery.tap(),
            evidence: Arc::clone(&evidence),
            census: Arc::clone(registrar.census()),
            live: Arc::default(),
        };
        let admin = start_admin(&config, hub);
        let ingress = Ingress::start(&desk, certificates.as_ref().map(Certificates::server_config))?;
        let stopping = Arc::new(AtomicBool::new(false));
        let metrics = match config.telemetry.metrics {
            Some(address) => Some(serve_metrics(address, exposition, &journal, &counters, [Arc::clone(&stopping), draining]).await?),
            None => None,
        };
        Ok(Handle {
            ingress,
            delivery,
            journal,
            metrics,
            admin,
            kill_file,
            replayer,
            ramps,
            witness,
            registrar,
            reloader,
            report,
            counters,
            evidence,
            data_directory: config.data_directory,
            drain_timeout: config.drain_timeout,
            stopping,
            _keeper: keeper,
        })
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

    /// Where vendors' webhooks are taken in plain HTTP; None when they are off.
    #[must_use]
    pub const fn hooks_address(&self) -> Option<SocketAddr> {
        self.ingress.hooks_address()
    }

    /// Where they are taken over TLS; None when that is off.
    #[must_use]
    pub const fn hooks_tls_address(&self) -> Option<SocketAddr> {
        self.ingress.hooks_tls_address()
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

    /// How the configuration is read again; None: there is no file of it.
    #[must_use]
    pub const fn reloader(&self) -> Option<&Reloader> {
        self.reloader.as_ref()
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

    /// What is known about events after they were sent.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.evidence
    }

    /// Who events come from.
    #[must_use]
    pub fn census(&self) -> &Census {
        self.registrar.census()
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

    /// Stops in order, and says that it is not ready from now on: clients are answered and told to go, deliveries in flight
    /// finished, cursors saved. With a lasting data directory it takes five seconds at most, whatever waits; with an ephemeral
    /// one delivery goes on until nothing waits or `drain_timeout` is nearly over.
    pub async fn stop(self) -> StopReport {
        self.stopping.store(true, Ordering::Relaxed);
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
        drop(self.reloader);
        self.ramps.stop().await;
        self.replayer.stop().await;
        if let Some(kill_file) = self.kill_file {
            kill_file.stop().await;
        }
        let (begun, ephemeral) = (Instant::now(), self.data_directory == DataDirectory::Ephemeral);
        let within = if ephemeral { self.drain_timeout } else { self.drain_timeout.min(STOP_MAX) };
        let connections_cut = self.ingress.stop(within * 2 / 5).await;
        let flights = (within * 3 / 10).min(FLIGHTS_MAX);
        if ephemeral {
            drained(&self.journal, begun + within.saturating_sub(flights)).await;
        }
        self.delivery.stop(flights).await;
        self.journal.close().await;
        self.witness.stop().await;
        self.registrar.stop().await;
        if let Some(metrics) = self.metrics {
            metrics.stop().await;
        }
        let lanes_left: Vec<(LaneId, u64)> =
            self.journal.ledger().into_iter().map(|(lane, ledger)| (lane, ledger.pending)).filter(|(_, events)| *events > 0).collect();
        let events_left = lanes_left.iter().map(|(_, events)| events).sum();
        StopReport { connections_cut, events_left, lanes_left, data_directory: self.data_directory }
    }
}

/// How long a stop with a lasting data directory takes at most.
const STOP_MAX: Duration = Duration::from_secs(5);
/// How long deliveries in flight get to end, once no more are sent.
const FLIGHTS_MAX: Duration = Duration::from_secs(2);

/// Waits until nothing waits in the journal, or for `deadline`.
async fn drained(journal: &Journal, deadline: Instant) {
    while journal.ledger().iter().any(|(_, ledger)| ledger.pending > 0) && Instant::now() < deadline {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Without its socket a sidecar still takes and delivers events: it says so and goes on.
fn start_admin(config: &Config, hub: Hub) -> Option<AdminServer> {
    let path = config.admin_socket()?;
    match AdminServer::start(&path, &config.access, hub) {
        Ok(server) => Some(server),
        Err(error) => {
            tracing::error!(event = "admin_off", %error, "the admin API is off: `segue route`, `segue kill`, `segue hold` and `segue quarantine` cannot reach this sidecar");
            None
        }
    }
}

fn relays(config: &Config) -> Result<Relays, StartError> {
    Ok(Relays {
        us: upstream("[segment] url", &config.segment.us)?,
        eu: upstream("[segment] eu_url", &config.segment.eu)?,
        cdn: upstream("[segment] cdn_url", &config.segment.cdn)?,
        cdn_settings: upstream("[segment] cdn_settings_url", &config.segment.cdn_settings)?,
        memory: Relays::memory(),
    })
}

fn upstream(name: &'static str, settings: &crate::upstream::Settings) -> Result<Upstream, StartError> {
    Upstream::new(settings).map_err(|source| StartError::Upstream { name, source })
}

/// None: there is no place for one.
async fn watch_kill_file(config: &Config, switchboard: &Switchboard) -> Option<KillFile> {
    Some(KillFile::watch(config.kill_file()?, switchboard.clone()).await)
}

async fn serve_metrics(
    address: SocketAddr,
    exposition: Arc<Exposition>,
    journal: &Journal,
    counters: &Arc<Counters>,
    [stopping, draining]: [Arc<AtomicBool>; 2],
) -> Result<MetricsServer, StartError> {
    let (journal, counters) = (journal.clone(), Arc::clone(counters));
    let probe = Arc::new(move || Health {
        live: true,
        ready: match journal.health() {
            _ if stopping.load(Ordering::Relaxed) => Readiness::Not("stopping".to_owned()),
            _ if draining.load(Ordering::Relaxed) => Readiness::Not("draining".to_owned()),
            crate::journal::Health::Writable => Readiness::Ready,
            crate::journal::Health::Full => Readiness::Not("the journal is full".to_owned()),
            crate::journal::Health::Broken => Readiness::Not("the journal cannot write".to_owned()),
        },
        notes: counters.suspensions.sources().iter().map(|source| format!("order suspended: {source}")).collect(),
    });
    MetricsServer::start(address, exposition, probe).await.map_err(|source| StartError::Metrics { address, source })
}

/// As many permits as bytes; a semaphore holds at most `usize::MAX >> 3`.
fn memory_permits(config: &Config) -> usize {
    usize::try_from(config.ingress.limits.pending_bytes_max.0).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}
