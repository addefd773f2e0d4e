//! The server on the socket: who may speak, how much, and how long.

use std::{path::Path, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Extension, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
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
    time::timeout,
};

use super::{
    answer::{Refusal, good},
    lanes, quarantine, routes,
    socket::{Socket, SocketError},
};
use crate::{
    control::{Reloader, Switchboard},
    delivery::LaneControl,
    journal::{self, Journal},
    routing::Sources,
    wire::{self, ProblemCode, schema},
};

/// Connections at one time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 32;
/// Requests at work at one time; more wait for their turn.
const REQUESTS_MAX: usize = 4;
/// A larger body is refused.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long the head of a request may take, and the pause before it.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take, its body and its turn included: a change may wait for the disk.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(25);
/// How long a connection may live.
const CONNECTION_TIMEOUT: Duration = Duration::from_mins(1);

/// What the admin API speaks for.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The journal: ledger, quarantine.
    pub journal: Journal,
    /// The lanes.
    pub lanes: LaneControl,
    /// The routes.
    pub switchboard: Switchboard,
    /// How the configuration is read again; None: there is no file of it.
    pub reloader: Option<Reloader>,
    /// The sources: their names, and the keys that must not be told.
    pub sources: Arc<ArcSwap<Sources>>,
}

/// Who asks, by the system's word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    pub(super) uid: u32,
}

/// The running server. Dropping it ends it.
#[derive(Debug)]
pub struct AdminServer {
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Listens at `path` and serves. Blocks for a moment.
    ///
    /// # Errors
    /// When the socket cannot be made there.
    pub fn start(path: &Path, hub: Hub) -> Result<Self, SocketError> {
        let socket = Socket::bind(path)?;
        Ok(Self { task: tokio::spawn(serve(socket, router(hub))) })
    }

    /// Ends it: when this returns, nothing of it holds the journal any more.
    pub async fn stop(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: Socket, router: Router) {
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
        let router = router.clone();
        connections.spawn(async move {
            let _ = timeout(CONNECTION_TIMEOUT, converse(stream, router)).await;
            drop(slot);
        });
    }
}

async fn converse(stream: UnixStream, router: Router) {
    let own = rustix::process::geteuid().as_raw();
    let caller = match stream.peer_cred() {
        Ok(peer) if peer.uid() == 0 || peer.uid() == own => Caller { uid: peer.uid() },
        peer => {
            tracing::warn!(event = "admin_denied", uid = peer.ok().map(|peer| peer.uid()), "another user was refused at the admin socket");
            return deny(stream).await;
        }
    };
    let service = TowerToHyperService::new(router.layer(Extension(caller)));
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
        "this socket answers its own user and root only",
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

fn router(hub: Hub) -> Router {
    let turns = Arc::new(Semaphore::new(REQUESTS_MAX));
    Router::new()
        .route("/v1/health", get(health))
        .route("/v1/lanes", get(lanes::list))
        .route("/v1/lanes/{source}/{destination}/hold", post(lanes::hold))
        .route("/v1/lanes/{source}/{destination}/release", post(lanes::release))
        .route("/v1/lanes/{source}/{destination}/unpark", post(lanes::unpark))
        .route("/v1/routes", get(routes::list))
        .route("/v1/routes/history", get(routes::history))
        .route("/v1/routes/audit", get(routes::audit))
        .route("/v1/routes/undo", post(routes::undo))
        .route("/v1/sources/{source}/route", post(routes::flip))
        .route("/v1/reload", post(routes::reload))
        .route("/v1/kill", get(routes::kill_status))
        .route("/v1/kill/on", post(routes::kill_on))
        .route("/v1/kill/off", post(routes::kill_off))
        .route("/v1/quarantine", get(quarantine::list))
        .route("/v1/quarantine/redrive", post(quarantine::redrive))
        .route("/v1/quarantine/release", post(quarantine::release))
        .route("/v1/quarantine/{id}", get(quarantine::show))
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(hub)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(turns, in_turn))
}

/// Lets a few requests work at a time, each for a while.
async fn in_turn(State(turns): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    let answered = timeout(REQUEST_TIMEOUT, async {
        let _turn = turns.acquire().await;
        next.run(request).await
    });
    answered.await.unwrap_or_else(|_| {
        Refusal::new(ProblemCode::TimedOut, "the request took too long", "Look at how things stand now, and ask again.")
            .meaning("A change may have been made.")
            .into_response()
    })
}

async fn health(State(hub): State<Hub>) -> Response {
    let journal = match hub.journal.health() {
        journal::Health::Writable => "writable",
        journal::Health::Full => "full",
        journal::Health::Broken => "broken",
    };
    good(&wire::Health {
        schema: schema::HEALTH.to_owned(),
        ready: journal == "writable",
        journal: journal.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

async fn unknown(request: Request) -> Refusal {
    let what = format!("there is no {} {}", request.method(), request.uri().path());
    Refusal::new(
        ProblemCode::NotFound,
        what,
        "This version has /v1/health, /v1/routes, /v1/kill, /v1/lanes and /v1/quarantine; is it older than the client?",
    )
}
