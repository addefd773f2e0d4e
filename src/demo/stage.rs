//! What the demo runs on: two stand-ins, a CA, a sidecar, a client that trusts it.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    proof,
    show::DemoError,
    traffic::{APPS, App},
};
use crate::{
    app::{Handle, Sidecar},
    clock::Clock,
    config::{Config, SegmentConfig},
    model::{Destination, PerDestination, RateLimit, Secret, SourceId},
    routing::{Region, Route, Source, Stage as RouteStage},
    standin::{self, AlterationId, RudderStandin, SegmentStandin, Standin},
    tls,
    upstream::{self, Upstream},
};

/// The running parts.
pub(super) struct Stage {
    pub sidecar: Handle,
    pub segment: Standin,
    pub rudderstack: Standin,
    /// The apps' way in: TLS, trusting the local CA and nothing else of it.
    pub client: Upstream,
    pub sources: Vec<(App, Arc<Source>)>,
    /// Where the sidecar's admin API listens.
    pub socket: PathBuf,
    /// What RudderStack's stand-in gets wrong.
    pub fault: AlterationId,
}

/// Builds everything below `dir`.
pub(super) async fn build(dir: &Path) -> Result<Stage, DemoError> {
    let clock = Clock::system();
    let certs = dir.join("certs");
    let names = vec!["api.segment.io".to_owned()];
    let made = tls::init(&certs, &names, tls::Existing::Refuse, clock.now())?;
    let settings = tls::Settings { mode: tls::Mode::LocalCa { dir: certs }, names };

    // The vendors speak TLS too, under the same CA, which the sidecar trusts for them because it is told to.
    let now = clock.clone();
    let vendors = tls::Certificates::load(&settings, move || now.now())?.server_config();
    let keys = |key: fn(&App) -> &'static str| APPS.iter().map(|app| standin::Key::enabled(key(app))).collect();
    let options = standin::Options {
        tls: Some(vendors),
        keep: standin::Keep::COMPACT,
        emits: true,
        clock: clock.clone(),
        ..standin::Options::default()
    };
    let segment = SegmentStandin::start(standin::Options { keys: keys(|app| app.segment_key), ..options.clone() }).await?;
    let rudderstack = RudderStandin::start(standin::Options { keys: keys(|app| app.rudderstack_key), ..options }).await?;

    let sources = APPS.iter().map(|app| Ok((*app, source(app)?))).collect::<Result<Vec<_>, DemoError>>()?;
    let to = |url: String| upstream::Settings { url, ca_file: Some(made.root.clone()), ..upstream::Settings::default() };
    let mut config = config(dir, settings, to(segment.url()), to(rudderstack.url()));
    config.sources = sources.iter().map(|(_, source)| source.clone()).collect();
    let socket = config.admin_socket().unwrap_or_default();
    let sidecar = Sidecar::start_with(config, clock).await?;

    let address = sidecar.tls_address().ok_or(DemoError::NoTls)?;
    let client = Upstream::new(&upstream::Settings {
        url: format!("https://localhost:{}", address.port()),
        ca_file: Some(made.root),
        ..upstream::Settings::default()
    })?;
    let sources = sources.into_iter().map(|(app, source)| (app, Arc::new(source))).collect();
    let hooks = sidecar.hooks_address().ok_or(DemoError::NoHooks)?;
    let fault = proof::begin(hooks, &segment, &rudderstack, &APPS);
    Ok(Stage { sidecar, segment, rudderstack, client, sources, socket, fault })
}

impl Stage {
    /// The different messageIds that each side has accepted.
    pub(super) fn arrived(&self) -> PerDestination<HashSet<String>> {
        let ids = |taken: standin::Taken| {
            let accepted = taken.events.into_iter().filter(|event| event.verdict == standin::Verdict::Accepted);
            accepted.map(|event| event.message_id.into_string()).collect()
        };
        PerDestination { segment: ids(self.segment.taken()), rudderstack: ids(self.rudderstack.taken()) }
    }

    /// Events of a destination that wait in the journal.
    pub(super) fn waiting(&self) -> u64 {
        self.sidecar.ledger().iter().map(|(_, ledger)| ledger.pending).sum()
    }

    /// Events of a destination that have ended delivered.
    pub(super) fn delivered(&self, destination: Destination) -> u64 {
        self.sidecar.ledger().iter().filter(|(lane, _)| lane.destination == destination).map(|(_, ledger)| ledger.delivered).sum()
    }

    /// Waits until nothing waits any more, or the time is up.
    pub(super) async fn drain(&self, within: Duration) {
        let deadline = tokio::time::Instant::now() + within;
        while self.waiting() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn source(app: &App) -> Result<Source, DemoError> {
    Ok(Source {
        id: SourceId::parse(app.name)?,
        name: app.name.to_owned(),
        segment_keys: vec![Secret::new(app.segment_key)],
        rudderstack_key: Some(Secret::new(app.rudderstack_key)),
        region: Region::Us,
        is_retired: false,
        route: Route::from(app.route.parse::<RouteStage>()?),
        rules: Vec::new(),
        rate_limits: PerDestination { segment: RateLimit::None, rudderstack: RateLimit::None },
    })
}

fn config(dir: &Path, tls: tls::Settings, segment: upstream::Settings, rudderstack: upstream::Settings) -> Config {
    let mut config = Config::default();
    config.ingress.listen = None;
    config.ingress.hooks = proof::hooks();
    config.evidence.wait = proof::WAIT;
    config.ingress.listen_tls = Some(([127, 0, 0, 1], 0).into());
    config.tls = Some(tls);
    config.journal.dir = dir.join("data");
    config.segment = SegmentConfig { us: segment.clone(), eu: segment.clone(), cdn: segment.clone(), cdn_settings: segment };
    config.rudderstack = Some(rudderstack);
    config.telemetry.metrics = Some(([127, 0, 0, 1], 0).into());
    config
}
