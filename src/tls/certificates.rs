//! The certificate that is served, kept fresh.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    model::WallTime,
    tls::{
        Mode, Settings, TlsError,
        served::{Content, Served, provider},
    },
};

/// How often the files are looked at, and the age of a leaf is.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The certificates of the TLS listener. Clones share them.
#[derive(Debug, Clone)]
pub struct Certificates {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    now: Box<dyn Fn() -> WallTime + Send + Sync>,
    shown: Arc<Shown>,
    state: Mutex<State>,
    server_config: Arc<ServerConfig>,
}

struct State {
    digest: [u8; 32],
    served: Served,
    last_reload: Reload,
}

/// How it stands with the certificates, for metrics and the dashboard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// When somebody has to act: the end of the local CA, whose leaves are renewed without anybody, or of the user's own
    /// certificate. This is what an alarm should look at (`segue_certificate_expiry_timestamp_seconds`).
    pub expires_at: WallTime,
    /// When the certificate that clients see ends.
    pub leaf_expires_at: WallTime,
    /// How the last reload or renewal went.
    pub last_reload: Reload,
}

/// How the last reload or renewal went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reload {
    /// What is on disk is what is served.
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
        let content = Content::read(&settings.mode)?;
        let served = content.serve(settings, now())?;
        let shown = Arc::new(Shown(ArcSwap::new(Arc::clone(&served.key))));
        let server_config = Arc::new(server_config(Arc::clone(&shown))?);
        let state = Mutex::new(State { digest: content.digest, served, last_reload: Reload::Good });
        let inner = Inner { settings: settings.clone(), now: Box::new(now), shown, state, server_config };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// What the listener's acceptor is made of; always the same one, which shows the newest certificate by itself. It
    /// speaks TLS 1.2 and 1.3, offers h2, http/1.1 and http/1.0, resumes by tickets that it keeps no state for, and logs no
    /// secrets whatever the environment says.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.inner.server_config)
    }

    /// Starts the task that renews leaves at half of their life and reads changed files again. Must be called within a
    /// runtime; the task ends when the keeper is dropped.
    #[must_use]
    pub fn keep_fresh(&self) -> Keeper {
        let certificates = self.clone();
        let task = tokio::spawn(async move {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                let certificates = certificates.clone();
                // A file system that hangs must not hold a thread of the listener.
                let _ = tokio::task::spawn_blocking(move || certificates.refresh()).await;
            }
        });
        Keeper { task }
    }

    /// Looks once, as the keeper does every five seconds: reads changed files, renews a worn leaf. What fails is kept as
    /// it was and told once.
    pub fn refresh(&self) {
        let inner = &*self.inner;
        let outcome = inner.newer((inner.now)());
        let mut state = inner.state();
        match outcome {
            Ok(None) => state.last_reload = Reload::Good,
            Ok(Some((digest, served))) => {
                inner.shown.0.store(Arc::clone(&served.key));
                tracing::info!(expires_at = %served.validity.expires_at, "a new certificate is served");
                *state = State { digest, served, last_reload: Reload::Good };
            }
            Err(error) => {
                let kept = Reload::Kept(told(&error));
                if state.last_reload != kept {
                    let expires_at = state.served.validity.expires_at;
                    tracing::warn!(error = told(&error), %expires_at, "the last good certificate is kept");
                    state.last_reload = kept;
                }
            }
        }
    }

    /// How it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let state = self.inner.state();
        Status {
            expires_at: state.served.needs_care_by,
            leaf_expires_at: state.served.validity.expires_at,
            last_reload: state.last_reload.clone(),
        }
    }
}

impl Inner {
    /// What should be served instead; None: nothing is newer.
    fn newer(&self, now: WallTime) -> Result<Option<([u8; 32], Served)>, TlsError> {
        let content = Content::read(&self.settings.mode)?;
        let (is_same, current) = {
            let state = self.state();
            (state.digest == content.digest, state.served.validity)
        };
        let is_leaf_worn = matches!(self.settings.mode, Mode::LocalCa { .. }) && current.is_worn(now);
        if is_same && !is_leaf_worn {
            return Ok(None);
        }
        let served = content.serve(&self.settings, now)?;
        if let Mode::Files { cert, .. } = &self.settings.mode
            && served.validity.is_over(now)
            && !current.is_over(now)
        {
            let reason = format!("it expired at {}", served.validity.expires_at);
            return Err(TlsError::Content { path: cert.clone(), reason });
        }
        Ok(Some((content.digest, served)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// One certificate carries all names, so it is right for each of them, for a client that sends no name (an address, an
/// old library), and the best there is for a name that is not ours: routing goes by `Host`.
struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

fn server_config(shown: Arc<Shown>) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_no_client_auth()
        .with_cert_resolver(shown);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Setup)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    Ok(config)
}

/// An error and its causes on one line.
fn told(error: &TlsError) -> String {
    let mut line = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        line.push_str(": ");
        line.push_str(&error.to_string());
        cause = error.source();
    }
    line
}
