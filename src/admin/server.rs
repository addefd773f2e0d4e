//! The server on the socket: who may speak, how much, and how long.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use arc_swap::ArcSwap;
use axum::{Router, extract::Extension, response::IntoResponse};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, sink},
    net::UnixStream,
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until, timeout},
};

use super::{
    answer::Refusal,
    caller::{Caller, gid_of},
    rates::Rates,
    router::{BODY_BYTES_MAX, router},
    series::Series,
    socket::{Socket, SocketError},
    stream::{self, Stage},
};
use crate::{
    census::Census,
    clock::Clock,
    config::Access,
    control::{Ramps, Reloader, Replayer, Switchboard},
    delivery::LaneControl,
    evidence::Evidence,
    ingress::{Counters, Desk},
    journal::Journal,
    model::WallTime,
    routing::Sources,
    tap::Tap,
    wire::ProblemCode,
};

/// Connections at one time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 32;
/// How long the head of a request may take, and the pause before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may live, unless a viewer takes what it is sent.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a viewer may take nothing.
const VIEWER_STALL_MAX: Duration = Duration::from_secs(30);

/// What the admin API speaks for.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The journal: ledger, quarantine.
    pub journal: Journal,
    /// The lanes.
    pub lanes: LaneControl,
    /// The routes.
    pub switchboard: Switchboard,
    /// Replays.
    pub replayer: Replayer,
    /// Ramps, and how gates stand.
    pub ramps: Ramps,
    /// How the configuration is read again; None: there is no file of it.
    pub reloader: Option<Reloader>,
    /// What the ingress counts.
    pub counters: Arc<Counters>,
    /// The time.
    pub clock: Clock,
    /// When the sidecar started.
    pub started_at: WallTime,
    /// Set while a load balancer is told to send elsewhere.
    pub draining: Arc<AtomicBool>,
    /// The sources: their names, and the keys that must not be told.
    pub sources: Arc<ArcSwap<Sources>>,
    /// Where clients' requests are dealt with: settings and scripts, above all.
    pub desk: Arc<Desk>,
    /// Where events are seen as they pass.
    pub tap: Arc<Tap>,
    /// What is known of events afterwards.
    pub evidence: Arc<Evidence>,
    /// Who events come from, and what is foretold of them.
    pub census: Arc<Census>,
    /// What the server itself keeps: to be empty at the start.
    pub live: Arc<Live>,
}

/// Rates of the last minute, series of the last day, and viewers.
#[derive(Debug, Default)]
pub struct Live {
    pub(super) rates: Rates,
    pub(super) series: Series,
    pub(super) stage: Stage,
}

/// How long a connection may stay.
#[derive(Debug)]
pub(super) struct Tenure {
    /// Until when it may.
    until: Mutex<Instant>,
}

impl Tenure {
    fn new() -> Self {
        Self { until: Mutex::new(Instant::now() + CONNECTION_TIMEOUT) }
    }

    /// A viewer took what it was sent.
    pub(super) fn view(&self) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (*until).max(Instant::now() + VIEWER_STALL_MAX);
    }

    /// Returns when it may stay no longer.
    async fn over(&self) {
        loop {
            let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
            if until <= Instant::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct AdminServer {
    serving: JoinHandle<()>,
    watching: JoinHandle<()>,
}

impl AdminServer {
    /// Listens at `path` and serves those whom `access` lets in. Blocks for a moment.
    ///
    /// # Errors
    /// When the socket cannot be made there.
    pub fn start(path: &Path, access: &Access, hub: Hub) -> Result<Self, SocketError> {
        for name in access.group.iter().chain(&access.operate).chain(&access.reveal).filter(|name| gid_of(name).is_none()) {
            tracing::error!(event = "admin_group_unknown", group = name.as_str(), "[admin] names a group that this machine does not have");
        }
        let socket = Socket::bind(path, access.group.as_deref().and_then(gid_of))?;
        let watching = tokio::spawn(stream::watch(hub.clone()));
        Ok(Self { serving: tokio::spawn(serve(socket, Arc::new(access.clone()), router(hub))), watching })
    }

    /// Ends it: when this returns, nothing of it holds the journal any more.
    pub async fn stop(mut self) {
        for task in [&mut self.serving, &mut self.watching] {
            task.abort();
            let _ = task.await;
        }
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.serving.abort();
        self.watching.abort();
    }
}

async fn serve(socket: Socket, access: Arc<Access>, router: Router) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = socket.listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let (router, access) = (router.clone(), Arc::clone(&access));
        connections.spawn(async move {
            let tenure = Arc::new(Tenure::new());
            tokio::select! {
                () = converse(stream, &access, router, &tenure) => {}
                () = tenure.over() => {}
            }
            drop(slot);
        });
    }
}

async fn converse(stream: UnixStream, access: &Arc<Access>, router: Router, tenure: &Arc<Tenure>) {
    let caller = match Caller::of(&stream, access).await {
        Ok(caller) => caller,
        Err(stranger) => {
            tracing::warn!(event = "admin_denied", uid = stranger.uid, "another user was refused at the admin socket");
            return deny(stream).await;
        }
    };
    let service = TowerToHyperService::new(router.layer(Extension(caller)).layer(Extension(Arc::clone(tenure))));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(HEAD_BYTES_MAX);
    // A client that goes away in the middle is its own affair.
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

/// The largest head of a request.
const HEAD_BYTES_MAX: usize = 16 << 10;

/// How long another user's question, and the end of the answer, are waited for.
const DENIED_PATIENCE: Duration = Duration::from_secs(1);

/// Tells another user no, whatever was asked.
async fn deny(mut stream: UnixStream) {
    let refusal = Refusal::new(
        ProblemCode::Denied,
        "this socket answers its own user, root and the group of [admin] in the configuration only",
        "Run the command as the sidecar's user, for example with sudo -u.",
    );
    let bytes = axum::body::to_bytes(refusal.into_response().into_body(), BODY_BYTES_MAX).await.unwrap_or_default();
    let head =
        format!("HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", bytes.len());
    let told = async {
        // An answer before the question would be taken for a broken connection.
        let _ = timeout(DENIED_PATIENCE, stream.read(&mut [0; 1024])).await;
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        // Closed with something unread, the answer could be lost.
        copy(&mut stream, &mut sink()).await
    };
    let _ = timeout(2 * DENIED_PATIENCE, told).await;
}
