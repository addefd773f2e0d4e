//! The listeners: who gets a connection, TLS, and how they close.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Desk,
    connection::{Guest, Speech, opened, reached, serve},
    descriptors,
    opening::{Opened, Whole, listen},
    room::{Admission, Place, Room},
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
    gate: Arc<Gate>,
    hooks: Option<SocketAddr>,
    hooks_tls: Option<SocketAddr>,
    hooks_gate: Arc<Gate>,
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

/// What all accept loops share.
#[derive(Debug)]
struct Gate {
    desk: Arc<Desk>,
    room: Arc<Room>,
    shutdown: watch::Receiver<Course>,
    door: Door,
}

/// Who comes in by a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    /// Clients.
    Clients,
    /// Vendors, with their webhooks.
    Hooks,
}

impl Ingress {
    /// Binds what the settings name and begins to accept. To be called within a tokio runtime.
    ///
    /// # Errors
    /// When an address cannot be bound; nothing is accepted then.
    pub fn start(desk: &Arc<Desk>, tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self, ListenError> {
        let limits = &desk.settings.limits;
        let room = Room::new(descriptors::connections_max(limits.connections_max), limits.connections_per_ip_max);
        let (shutdown, asked) = watch::channel(Course::Open);
        let hooks_room = Room::new(HOOKS_CONNECTIONS_MAX, limits.connections_per_ip_max);
        let hooks_gate = Arc::new(Gate { room: hooks_room, shutdown: asked.clone(), desk: Arc::clone(desk), door: Door::Hooks });
        let gate = Arc::new(Gate { room, shutdown: asked, desk: Arc::clone(desk), door: Door::Clients });
        let watching = tokio::spawn(watch(Arc::clone(desk)));
        let mut ingress = Self {
            plain: None,
            tls: None,
            shutdown,
            accepting: Vec::new(),
            watching,
            gate: Arc::clone(&gate),
            hooks: None,
            hooks_tls: None,
            hooks_gate: Arc::clone(&hooks_gate),
        };
        if let Some(address) = desk.settings.listen {
            let (listener, bound) = bind(address)?;
            ingress.plain = Some(bound);
            ingress.accepting.push(tokio::spawn(accept(listener, None, Arc::clone(&gate))));
        }
        if let (Some(address), Some(tls)) = (desk.settings.listen_tls, tls.clone()) {
            let (listener, bound) = bind(address)?;
            ingress.tls = Some(bound);
            ingress.accepting.push(tokio::spawn(accept(listener, Some(TlsAcceptor::from(tls)), gate)));
        }
        if let Some(address) = desk.settings.hooks.listen {
            let (listener, bound) = bind(address)?;
            ingress.hooks = Some(bound);
            ingress.accepting.push(tokio::spawn(accept(listener, None, Arc::clone(&hooks_gate))));
        }
        if let (Some(address), Some(tls)) = (desk.settings.hooks.listen_tls, tls) {
            let (listener, bound) = bind(address)?;
            ingress.hooks_tls = Some(bound);
            ingress.accepting.push(tokio::spawn(accept(listener, Some(TlsAcceptor::from(tls)), hooks_gate)));
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

    /// Where vendors' webhooks are taken in plain HTTP; None: nowhere.
    #[must_use]
    pub const fn hooks_address(&self) -> Option<SocketAddr> {
        self.hooks
    }

    /// Where they are taken over TLS; None: nowhere.
    #[must_use]
    pub const fn hooks_tls_address(&self) -> Option<SocketAddr> {
        self.hooks_tls
    }

    /// Takes a connection that no listener accepted: a simulation's, in plain HTTP.
    #[cfg(test)]
    pub(crate) fn welcome(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: IpAddr) {
        self.gate.take(stream, peer, None);
    }

    /// Tells every client to go with its next answer, goes on accepting until all are gone, then closes: who has sent a request is
    /// answered. Returns how many connections were still open when `within` had passed.
    pub async fn stop(self, within: Duration) -> usize {
        let deadline = Instant::now() + within;
        self.shutdown.send_replace(Course::Leaving);
        emptied(&self.gate.room, deadline).await;
        emptied(&self.hooks_gate.room, deadline).await;
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
        let left = deadline.max(Instant::now() + LAST_WAIT);
        emptied(&self.gate.room, left).await + emptied(&self.hooks_gate.room, left).await
    }
}

/// Connections of vendors at one time: both keep few open.
const HOOKS_CONNECTIONS_MAX: usize = 512;
/// How long those get that came last.
const LAST_WAIT: Duration = Duration::from_millis(250);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4_096;

/// Waits until nothing is open, or for `deadline`; gives what is open then.
async fn emptied(room: &Room, deadline: Instant) -> usize {
    loop {
        let open = room.open();
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
    let mut failures = 0_u32;
    loop {
        let accepted = tokio::select! {
            // In this order, so that a simulation repeats itself.
            biased;
            accepted = listener.accept() => accepted,
            () = reached(&mut shutdown, Course::Closed) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                failures = 0;
                // Answers are one small write each: waiting to gather more would cost every client 40 ms.
                let _ = stream.set_nodelay(true);
                gate.take(stream, peer.ip(), tls.clone());
            }
            Err(error) => {
                // Out of files, mostly: spinning would make it worse. Who was served goes on; one who never was makes way.
                if failures == 0 {
                    tracing::warn!(event = "accept_failed", %error, "connections wait until there is room for them");
                }
                failures = failures.saturating_add(1);
                if gate.room.shed_stranger() {
                    gate.desk.counters.shed_connections.add(1);
                }
                sleep(ACCEPT_PAUSE).await;
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

/// How long no connection is accepted after an attempt that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

async fn converse<S>(stream: S, tls: Option<TlsAcceptor>, guest: Guest, place: Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if let Some(tls) = tls {
        let within = guest.desk.settings.limits.handshake_timeout;
        let shaken = tokio::select! {
            biased;
            shaken = shake_hands(stream, tls, within) => shaken,
            _ = guest.standing.overstay(&guest.desk.settings.limits) => None,
        };
        match shaken {
            // The server speaks first in h2.
            Some((stream, Speech::Http2)) => serve(stream, Speech::Http2, guest).await,
            Some((stream, Speech::Http1)) => serve_opened(stream, guest).await,
            None => {}
        }
    } else {
        serve_opened(stream, guest).await;
    }
    drop(place);
}

/// Serves HTTP/1.1 once there is something to serve.
async fn serve_opened<S>(stream: S, mut guest: Guest)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if let Some(stream) = opened(stream, &mut guest).await {
        serve(stream, Speech::Http1, guest).await;
    }
}

/// None when the client broke off or took longer than `within`. The stream is boxed, as each future that it passes through
/// would have room for it.
async fn shake_hands<S>(mut stream: S, tls: TlsAcceptor, within: Duration) -> Option<(Box<TlsStream<Opened<S>>>, Speech)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (deadline, mut said) = (Instant::now() + within, Vec::new());
    timeout_at(deadline, listen(&mut stream, &mut said, Whole::Record)).await.ok()?.ok()?;
    if said.is_empty() {
        return None;
    }
    let stream = timeout_at(deadline, Box::pin(tls.accept(Opened::new(said, stream)))).await.ok()?.ok()?;
    let speech = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Speech::Http2,
        // No ALPN at all is an old client that speaks HTTP/1.1 (clients.md 4.16).
        _ => Speech::Http1,
    };
    Some((Box::new(stream), speech))
}

impl Gate {
    /// Serves a connection in a task of its own, when there is a place for it.
    fn take<S>(&self, stream: S, peer: IpAddr, tls: Option<TlsAcceptor>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = peer.to_canonical();
        let Some(place) = self.admit(peer) else { return };
        let (desk, standing, shutdown) = (Arc::clone(&self.desk), Arc::clone(&place.standing), self.shutdown.clone());
        tokio::spawn(converse(stream, tls, Guest { peer, desk, standing, shutdown, since: None, door: self.door }, place));
    }

    /// A place for a connection of `peer`; None when there is none, not even one that another would have to give up. Trusted
    /// proxies and loopback carry many clients and have no share of their own.
    fn admit(&self, peer: IpAddr) -> Option<Place> {
        let has_no_share = peer.is_loopback() || self.desk.settings.trusted_proxies.iter().any(|net| net.contains(&peer));
        match self.room.enter((!has_no_share).then_some(peer)) {
            Admission::Free(place) => Some(place),
            Admission::Instead(place) => {
                self.desk.counters.shed_connections.add(1);
                Some(place)
            }
            Admission::Refused => {
                self.desk.counters.refused_connections.add(1);
                None
            }
        }
    }
}
