//! The listeners: who gets a connection, TLS, and how they close.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Desk,
    connection::{Speech, serve},
};

/// The running listeners.
#[derive(Debug)]
pub struct Ingress {
    plain: Option<SocketAddr>,
    tls: Option<SocketAddr>,
    shutdown: watch::Sender<bool>,
    accepting: Vec<JoinHandle<()>>,
    gate: Arc<Gate>,
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
#[derive(Debug)]
struct Gate {
    desk: Arc<Desk>,
    room: Arc<Semaphore>,
    per_ip: Arc<OpenPerIp>,
    shutdown: watch::Receiver<bool>,
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
        let (shutdown, asked) = watch::channel(false);
        let gate = Arc::new(Gate {
            room: Arc::new(Semaphore::new(desk.settings.limits.connections_max)),
            per_ip: Arc::default(),
            shutdown: asked,
            desk: Arc::clone(desk),
        });
        let mut ingress = Self { plain: None, tls: None, shutdown, accepting: Vec::new(), gate: Arc::clone(&gate) };
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

    /// Takes a connection that no listener accepted: a simulation's, in plain HTTP.
    #[cfg(test)]
    pub(crate) fn welcome(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: IpAddr) {
        self.gate.welcome(stream, peer, None);
    }

    /// Stops accepting, lets every request in flight be answered, and returns how many connections were still open when
    /// `within` had passed.
    pub async fn stop(self, within: Duration) -> usize {
        for task in &self.accepting {
            task.abort();
        }
        let _ = self.shutdown.send(true);
        let deadline = Instant::now() + within;
        loop {
            let open = self.gate.desk.settings.limits.connections_max - self.gate.room.available_permits();
            if open == 0 || Instant::now() >= deadline {
                return open;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ListenError> {
    let failed = |source| ListenError { address, source };
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() }.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    let listener = socket.listen(4_096).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, gate: Arc<Gate>) {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of files, mostly: spinning would make it worse, and what is open goes on.
                tracing::warn!(event = "accept_failed", %error);
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // Answers are one small write each: waiting to gather more would cost every client 40 ms.
        let _ = stream.set_nodelay(true);
        gate.welcome(stream, peer.ip().to_canonical(), tls.clone());
    }
}

async fn converse<S>(stream: S, peer: IpAddr, tls: Option<TlsAcceptor>, desk: Arc<Desk>, shutdown: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Some(tls) = tls else { return serve(stream, Speech::Http1, peer, desk, shutdown).await };
    let Some((stream, speech)) = Box::pin(shake_hands(stream, tls, desk.settings.limits.handshake_timeout)).await else { return };
    serve(stream, speech, peer, desk, shutdown).await;
}

/// None when the client broke off or took longer than `within`. The stream is boxed, as each future that it passes through
/// would have room for it.
async fn shake_hands<S>(stream: S, tls: TlsAcceptor, within: Duration) -> Option<(Box<TlsStream<S>>, Speech)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let stream = timeout(within, tls.accept(stream)).await.ok()?.ok()?;
    let speech = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Speech::Http2,
        // No ALPN at all is an old client that speaks HTTP/1.1 (clients.md 4.16).
        _ => Speech::Http1,
    };
    Some((Box::new(stream), speech))
}

impl Gate {
    /// Lets a connection in, or drops it when there is no place for it.
    fn welcome<S>(&self, stream: S, peer: IpAddr, tls: Option<TlsAcceptor>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
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
