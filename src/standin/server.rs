//! A stand-in as a server: it listens, keeps its connections, and can go away and come back.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::{
    Counts, Emissions, Faults, Options, Taken, TakenEvent,
    book::Book,
    rudderstack::Gateway,
    segment::Tracking,
    service::{Connection, Role, Stage},
    webhook::Emitter,
    wire::{Fate, Wire},
};

/// Which vendor to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Segment's tracking API, its settings and its CDN.
    Segment,
    /// RudderStack's gateway.
    RudderStack,
}

/// Plays Segment: `api.segment.io`, `cdn.segment.com` and `cdn-settings.segment.com` in one; a region per instance.
#[derive(Debug, Clone, Copy)]
pub struct SegmentStandin;

impl SegmentStandin {
    /// Starts one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Standin> {
        Standin::start(Vendor::Segment, options).await
    }
}

/// Plays RudderStack's gateway, and what its processor makes of events.
#[derive(Debug, Clone, Copy)]
pub struct RudderStandin;

impl RudderStandin {
    /// Starts one.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Standin> {
        Standin::start(Vendor::RudderStack, options).await
    }
}

/// Plays a vendor until `shutdown` is ready. `ready` is told the address as soon as it listens.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(vendor: Vendor, options: Options, ready: impl FnOnce(SocketAddr), shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let standin = Standin::start(vendor, options).await?;
    ready(standin.addr());
    shutdown.await;
    standin.stop().await;
    Ok(())
}

/// A running stand-in. Dropping it ends its listener and its connections.
#[derive(Debug)]
pub struct Standin {
    addr: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    stage: Arc<Stage>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

impl Standin {
    /// Starts to play that vendor.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(vendor: Vendor, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen).await?;
        let addr = listener.local_addr()?;
        let standin = Self::silent(vendor, options, addr);
        standin.listen(listener);
        Ok(standin)
    }

    /// One that does not listen.
    pub(crate) fn silent(vendor: Vendor, options: Options, addr: SocketAddr) -> Self {
        let window_ms = match vendor {
            Vendor::Segment => SEGMENT_WINDOW_MS,
            Vendor::RudderStack => i64::MAX,
        };
        let emitter = Emitter::start(vendor, options.webhook_retry);
        for webhook in options.webhooks.clone() {
            if let Err(error) = emitter.add(webhook) {
                tracing::error!(event = "standin_webhook", error, "a webhook of a stand-in is left out");
            }
        }
        let stage = Arc::new(Stage {
            book: Book::new(options.keep, window_ms),
            faults: Faults::default(),
            emitter,
            clock: options.clock.clone(),
            admission: Mutex::new(()),
            role: match vendor {
                Vendor::Segment => Role::Segment(Tracking::new(&options)),
                Vendor::RudderStack => Role::RudderStack(Gateway::new(&options)),
            },
        });
        Self { addr, tls: options.tls, stage, listening: Mutex::new(None) }
    }

    /// Serves a connection that it did not accept: a simulation's. Returns its number at once, and what serves it.
    #[cfg(test)]
    pub(crate) fn welcome<S>(&self, stream: S, peer: std::net::IpAddr) -> (u64, impl Future<Output = ()> + use<S>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let connection = Connection { id: self.stage.book.connection(), peer, fate: Fate::new() };
        (connection.id, serve_http(stream, connection, Arc::clone(&self.stage)))
    }

    /// The address it listens on.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its origin, `http://127.0.0.1:40123`, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.addr)
    }

    /// The handle on what it passes on to webhooks.
    #[must_use]
    pub fn emissions(&self) -> Emissions<'_> {
        Emissions { emitter: &self.stage.emitter }
    }

    /// The handle on its faults.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.stage.faults
    }

    /// A copy of all it has kept.
    #[must_use]
    pub fn taken(&self) -> Taken {
        self.stage.book.taken()
    }

    /// A copy of the events after that sequence number, for those who read along.
    #[must_use]
    pub fn events_since(&self, sequence: u64) -> Vec<TakenEvent> {
        self.stage.book.events_since(sequence)
    }

    /// The sums.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.stage.book.counts()
    }

    /// Waits until the counts are as wished.
    ///
    /// # Errors
    /// The last counts, when they are not within `patience`.
    pub async fn wait_for(&self, patience: Duration, wished: impl Fn(&Counts) -> bool) -> Result<Counts, Counts> {
        self.stage.book.wait_for(patience, wished).await
    }

    /// Throws away all that was kept and counted.
    pub fn forget(&self) {
        self.stage.book.forget();
    }

    /// Goes away: connections are cut and new ones refused. What was taken and the faults stay.
    pub async fn pause(&self) {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = listening {
            task.abort();
            // An abort is what was asked for, so the error it makes is none.
            let _ = task.await;
        }
    }

    /// Comes back at the same address. Without a [`pause`](Self::pause) before it nothing changes.
    ///
    /// # Errors
    /// When the address was taken by somebody else meanwhile.
    pub async fn resume(&self) -> io::Result<()> {
        if self.listening.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        self.listen(TcpListener::bind(self.addr).await?);
        Ok(())
    }

    /// Ends it: the address is free and all connections are cut when this returns.
    pub async fn stop(self) {
        self.pause().await;
    }

    fn listen(&self, listener: TcpListener) {
        let task = tokio::spawn(accept(listener, self.tls.clone().map(TlsAcceptor::from), Arc::clone(&self.stage)));
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if let Some(task) = self.listening.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

/// Accepts for ever. The connections live in the set, so they end with this task.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, stage: Arc<Stage>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(converse(stream, peer, tls.clone(), Arc::clone(&stage)));
                }
                // Out of file descriptors or a peer that left at once: both pass.
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>, stage: Arc<Stage>) {
    // Only a matter of latency.
    let _ = stream.set_nodelay(true);
    let fate = Fate::new();
    let connection = Connection { id: stage.book.connection(), peer: peer.ip(), fate: fate.clone() };
    let wire = Wire::new(stream, fate.clone());
    let Some(acceptor) = tls else { return serve_http(wire, connection, stage).await };
    tokio::select! {
        accepted = acceptor.accept(wire) => if let Ok(stream) = accepted {
            serve_http(stream, connection, stage).await;
        },
        () = tokio::time::sleep(HANDSHAKE_WAIT_MAX) => {}
    }
}

async fn serve_http(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, connection: Connection, stage: Arc<Stage>) {
    let fate = connection.fate.clone();
    let service = service_fn(move |request| {
        let (stage, connection) = (Arc::clone(&stage), connection.clone());
        async move { stage.serve(connection, request).await }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new());
    builder.http2().timer(TokioTimer::new());
    tokio::select! {
        biased;
        // How a conversation ends is the client's business or a fault's; there is nobody to tell.
        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
        () = fate.ended() => {}
    }
}

/// How long Segment remembers a messageId: 24 hours (protocol.md 1.10).
const SEGMENT_WINDOW_MS: i64 = 24 * 60 * 60 * 1000;
/// Between a failed accept and the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// A client that has not finished its TLS handshake by then is cut off.
const HANDSHAKE_WAIT_MAX: Duration = Duration::from_secs(10);
