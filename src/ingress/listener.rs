//! The listeners: who gets a connection, TLS, and how they close.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Desk,
    connection::{Speech, reached, serve},
    suspension::watch,
};

/// The running listeners.
#[derive(Debug)]
pub struct Ingress {
    plain: Option<SocketAddr>,
    tls: Option<SocketAddr>,
    shutdown: watch::Sender<Course>,
    accepting: Vec<JoinHandle<()>>,
    watching: JoinHandle<()>,
    room: Arc<Semaphore>,
    connections_max: usize,
}

/// Where the way in stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Course {
    /// It takes requests.
    Open,
    /// Every answer tells its client to go; new connections are taken, as the app may still have something to say.
    Leaving,
    /// The listeners close.
    Closed,
}

/// Why a listener did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct ListenError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Open connections of each address that has any.
#[derive(Debug, Default)]
struct OpenPerIp(Mutex<HashMap<IpAddr, usize>>);

/// What all accept loops share.
struct Gate {
    desk: Arc<Desk>,
    room: Arc<Semaphore>,
    per_ip: Arc<OpenPerIp>,
    shutdown: watch::Receiver<Course>,
}

/// A connection's place; dropping it makes room for another.
struct Place {
    _permit: OwnedSemaphorePermit,
    counted: Option<(IpAddr, Arc<OpenPerIp>)>,
}

impl Ingress {
    /// Binds what the settings name and begins to accept. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be bound; nothing is accepted then.
    pub fn start(desk: &Arc<Desk>, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self, ListenError> {
        let connections_max = desk.settings.limits.connections_max;
        let (shutdown, asked) = watch::channel(Course::Open);
        let gate = Arc::new(Gate {
            room: Arc::new(Semaphore::new(connections_max)),
            per_ip: Arc::default(),
            shutdown: asked,
            desk: Arc::clone(desk),
        });
        let watching = tokio::spawn(watch(Arc::clone(desk)));
        let room = Arc::clone(&gate.room);
        let mut ingress = Self { plain: None, tls: None, shutdown, accepting: Vec::new(), watching, room, connections_max };
        if let Some(address) = desk.settings.listen {
            let (listener, bound) = bind(address)?;
            ingress.plain = Some(bound);
            ingress.accepting.push(tokio::spawn(accept(listener, None, Arc::clone(&gate))));
        }
        if let (Some(address), Some(tls)) = (desk.settings.listen_tls, tls) {
            let (listener, bound) = bind(address)?;
            ingress.tls = Some(bound);
            ingress.accepting.push(tokio::spawn(accept(listener, Some(TlsAcceptor::from(tls)), gate)));
        }
        Ok(ingress)
    }

    /// Where the plain listener stands; None when there is none.
    #[must_use]
    pub const fn plain_address(&self) -> Option<SocketAddr> {
        self.plain
    }

    /// Where the TLS listener stands; None when there is none.
    #[must_use]
    pub const fn tls_address(&self) -> Option<SocketAddr> {
        self.tls
    }

    /// Tells every client to go with its next answer, goes on accepting until all are gone, then closes: who has sent a request is
    /// answered. Returns how many connections were still open when `within` had passed.
    pub async fn stop(self, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        self.shutdown.send_replace(Course::Leaving);
        self.emptied(deadline).await;
        self.shutdown.send_replace(Course::Closed);
        for mut task in self.accepting {
            // It ends with the connections that the system had accepted for it.
            if timeout(LAST_WAIT, &mut task).await.is_err() {
                task.abort();
            }
        }
        self.watching.abort();
        // An aborted task is over once it is awaited; then it holds nothing of the journal any more.
        let _ = self.watching.await;
        let open = || self.connections_max - self.room.available_permits();
        emptied(open, deadline.max(Instant::now() + LAST_WAIT)).await
    }

    async fn emptied(&self, deadline: Instant) -> usize {
        emptied(|| self.connections_max - self.room.available_permits(), deadline).await
    }
}

/// How long those get that came last.
const LAST_WAIT: Duration = Duration::from_millis(250);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// Waits until nothing is open, or for `deadline`; gives what is open then.
async fn emptied(open: impl Fn() -> usize, deadline: Instant) -> usize {
    loop {
        let open = open();
        if open == 0 || Instant::now() >= deadline {
            return open;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| ListenError { address, source };
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(BACKLOG).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, gate: Arc<Gate>) {
    let mut shutdown = gate.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = reached(&mut shutdown, Course::Closed) => break,
        };
        match accepted {
            Ok((stream, peer)) => gate.take(stream, peer.ip(), tls.clone()),
            Err(error) => {
                // Out of files, mostly: spinning would make it worse, and what is open goes on.
                tracing::warn!(event = "accept_failed", %error);
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
    // Closing a listener resets whom the system has accepted already, request and all: they come first.
    let Ok(listener) = listener.into_std() else { return };
    for _ in 0..BACKLOG {
        let Ok((stream, peer)) = listener.accept() else { return };
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            gate.take(stream, peer.ip(), tls.clone());
        }
    }
}

async fn converse(stream: TcpStream, peer: IpAddr, tls: Option<TlsAcceptor>, desk: Arc<Desk>, shutdown: watch::Receiver<Course>) {
    // Answers are one small write each: waiting to gather more would cost every client 40 ms.
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, Speech::Http1, peer, desk, shutdown).await };
    let Some((stream, speech)) = Box::pin(shake_hands(stream, tls, desk.settings.limits.handshake_timeout)).await else { return };
    serve(stream, speech, peer, desk, shutdown).await;
}

/// None when the client broke off or took longer than `within`. The stream is boxed, as each future that it passes through
/// would have room for it.
async fn shake_hands(stream: TcpStream, tls: TlsAcceptor, within: Duration) -> Option<(Box<TlsStream<TcpStream>>, Speech)> {
    let stream = timeout(within, tls.accept(stream)).await.ok()?.ok()?;
    let speech = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Speech::Http2,
        // No ALPN at all is an old client that speaks HTTP/1.1 (clients.md 4.16).
        _ => Speech::Http1,
    };
    Some((Box::new(stream), speech))
}

impl Gate {
    /// Serves a connection in a task of its own, when there is a place for it.
    fn take(&self, stream: TcpStream, peer: IpAddr, tls: Option<TlsAcceptor>) {
        let peer = peer.to_canonical();
        let Some(place) = self.admit(peer) else {
            self.desk.counters.refused_connections.add(1);
            return;
        };
        let (desk, shutdown) = (Arc::clone(&self.desk), self.shutdown.clone());
        tokio::spawn(async move {
            converse(stream, peer, tls, desk, shutdown).await;
            drop(place);
        });
    }

    /// A place for a connection of `peer`; None when all are taken or the address has its share. Trusted proxies and loopback
    /// carry many clients and have no share of their own.
    fn admit(&self, peer: IpAddr) -> Option<Place> {
        let permit = Arc::clone(&self.room).try_acquire_owned().ok()?;
        let settings = &self.desk.settings;
        if peer.is_loopback() || settings.trusted_proxies.iter().any(|net| net.contains(&peer)) {
            return Some(Place { _permit: permit, counted: None });
        }
        let counted = self.per_ip.enter(peer, settings.limits.connections_per_ip_max).then(|| (peer, Arc::clone(&self.per_ip)))?;
        Some(Place { _permit: permit, counted: Some(counted) })
    }
}

impl OpenPerIp {
    /// Counts one more connection of `peer`; false when it has `most` already.
    fn enter(&self, peer: IpAddr, most: usize) -> bool {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = open.entry(peer).or_default();
        let fits = *own < most;
        *own += usize::from(fits);
        fits
    }

    fn leave(&self, peer: IpAddr) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = open.get_mut(&peer) {
            *own -= 1;
            if *own == 0 {
                open.remove(&peer);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((peer, per_ip)) = &self.counted {
            per_ip.leave(*peer);
        }
    }
}
