//! How a connection comes to stand: resolve, choose addresses, connect, TLS, HTTP.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    client::conn::{http1, http2},
    rt::{Read, Write},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore, client::Resumption, pki_types::ServerName};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_rustls::TlsConnector;

#[cfg(test)]
use crate::upstream::dial::dial;
use crate::upstream::{Addresses, Fault, address::is_public, origin::Origin, resolve::Resolver};

/// How long addresses may be used again while the resolver fails. The certificate still has to fit.
const STALE_ADDRESSES_AGE_MAX: Duration = Duration::from_hours(1);
/// How many addresses of a name are tried.
const ADDRESSES_MAX: usize = 8;
/// How long an address is tried alone before the next one is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);
/// A peer that is gone without a word is noticed within about twice this (reliability.md N4).
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// The most that the head of an answer may take.
const HEAD_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 128;
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// TLS sessions kept for resumption; there is one server name.
const SESSIONS_MAX: usize = 8;

/// Makes connections to one origin.
#[derive(Debug)]
pub(super) struct Connector {
    origin: Arc<Origin>,
    addresses: Addresses,
    tls: Option<Secure>,
    resolver: Resolver,
    last_found: Mutex<Option<(Instant, Vec<IpAddr>)>>,
}

struct Secure {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// The sending half of a connection; its other half runs in a task that ends when the connection does.
#[derive(Debug)]
pub(super) enum Sender {
    /// One request at a time.
    H1(http1::SendRequest<Full<Bytes>>),
    /// Many at a time, over clones.
    H2(http2::SendRequest<Full<Bytes>>),
    /// It was of an h2 connection, and let go of when its request was handed over.
    Spent,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    pub(super) fn new(fault: Fault, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { fault, source: source.into() }
    }
}

impl Connector {
    /// # Errors
    ///
    /// When the TLS library refuses the protocol versions, which no setting can bring about.
    pub(super) fn new(origin: Arc<Origin>, addresses: Addresses, resolver: Resolver, roots: RootCertStore) -> Result<Self, rustls::Error> {
        let tls = match origin.server_name.clone() {
            None => None,
            Some(name) => Some(Secure { connector: TlsConnector::from(Arc::new(client_config(roots)?)), name }),
        };
        Ok(Self { origin, addresses, tls, resolver, last_found: Mutex::new(None) })
    }

    /// A new connection. The name is resolved anew for each, so that a change of the upstream's addresses is followed.
    pub(super) async fn connect(&self) -> Result<Sender, Failure> {
        #[cfg(test)]
        if let Some(dialling) = dial(&self.origin.host) {
            return h1(dialling.await.map_err(|error| Failure::new(Fault::Connect, error))?).await;
        }
        let found = self.resolve().await?;
        let acceptable = self.acceptable(&found)?;
        let stream = race(in_turns(&acceptable, self.origin.port)).await.map_err(|error| Failure::new(Fault::Connect, error))?;
        // Each of these only makes a lost peer known sooner; a system without one of them can do without.
        let _ = prepare(&stream);
        let Some(secure) = &self.tls else { return h1(stream).await };
        let stream = secure.connector.connect(secure.name.clone(), stream).await.map_err(|error| Failure::new(Fault::Tls, error))?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") { h2(stream).await } else { h1(stream).await }
    }

    async fn resolve(&self) -> Result<Vec<IpAddr>, Failure> {
        if let Ok(literal) = self.origin.host.parse() {
            return Ok(vec![literal]);
        }
        let looked_up = self.resolver.look_up(&self.origin.host, self.origin.port).await;
        let mut last_found = self.last_found.lock().unwrap_or_else(PoisonError::into_inner);
        match (looked_up, last_found.as_ref()) {
            (Ok(found), _) => {
                *last_found = Some((Instant::now(), found.clone()));
                Ok(found)
            }
            (Err(_), Some((at, found))) if at.elapsed() < STALE_ADDRESSES_AGE_MAX => Ok(found.clone()),
            (Err(error), _) => Err(Failure::new(Fault::Resolve, error)),
        }
    }

    fn acceptable(&self, found: &[IpAddr]) -> Result<Vec<IpAddr>, Failure> {
        let acceptable: Vec<IpAddr> = match self.addresses {
            Addresses::Any => found.to_vec(),
            Addresses::PublicOnly => found.iter().copied().filter(|address| is_public(*address)).collect(),
        };
        if acceptable.is_empty() {
            let refused = found.first().map_or_else(String::new, IpAddr::to_string);
            let hint =
                if self.resolver.heeds_hosts_file() { "; `resolver` in [segment] asks a name server that knows the real one" } else { "" };
            let host = &self.origin.host;
            let why = format!("{host} leads to {refused}, which is not a public address (is it redirected to segue itself?{hint})");
            return Err(Failure::new(Fault::Address, why));
        }
        Ok(acceptable)
    }
}

impl std::fmt::Debug for Secure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secure").field("name", &self.name).finish_non_exhaustive()
    }
}

fn client_config(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

/// Addresses of both families by turns, beginning with the one that the resolver prefers.
fn in_turns(found: &[IpAddr], port: u16) -> Vec<SocketAddr> {
    let begins_with_v6 = found.first().is_some_and(IpAddr::is_ipv6);
    let (preferred, other): (Vec<IpAddr>, Vec<IpAddr>) = found.iter().partition(|address| address.is_ipv6() == begins_with_v6);
    let mut turns = Vec::with_capacity(found.len());
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    loop {
        match (preferred.next(), other.next()) {
            (None, None) => break,
            (one, two) => turns.extend(one.into_iter().chain(two).map(|address| SocketAddr::new(address, port))),
        }
    }
    turns.truncate(ADDRESSES_MAX);
    turns
}

/// The first connection that stands; each address gets a head start over the next.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no address to connect to");
    loop {
        match waiting.next() {
            Some(address) => drop(attempts.spawn(TcpStream::connect(address))),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let joined = if waiting.len() > 0 { timeout(HEAD_START, attempts.join_next()).await } else { Ok(attempts.join_next().await) };
        match joined {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => last = error,
            Ok(Some(Err(broken))) => last = io::Error::other(broken),
            Ok(None) | Err(_) => {}
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(SILENCE_MAX).with_interval(SILENCE_MAX / 2))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(SILENCE_MAX * 2))?;
    Ok(())
}

async fn h1<I>(io: I) -> Result<Sender, Failure>
where
    TokioIo<I>: Read + Write + Unpin + Send + 'static,
{
    let shake = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX).handshake(TokioIo::new(io));
    let (sender, connection) = shake.await.map_err(|error| Failure::new(Fault::Closed, error))?;
    tokio::spawn(async move {
        // What ends a connection is told to the request that is on it; without one it is no news.
        let _ = connection.await;
    });
    Ok(Sender::H1(sender))
}

async fn h2<I>(io: I) -> Result<Sender, Failure>
where
    TokioIo<I>: Read + Write + Unpin + Send + 'static,
{
    let shake = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(SILENCE_MAX)
        .keep_alive_timeout(SILENCE_MAX)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .handshake(TokioIo::new(io));
    let (sender, connection) = shake.await.map_err(|error| Failure::new(Fault::Closed, error))?;
    tokio::spawn(async move {
        // As above.
        let _ = connection.await;
    });
    Ok(Sender::H2(sender))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn connector(url: &str, addresses: Addresses) -> Connector {
        Connector::new(Arc::new(Origin::parse(url).unwrap()), addresses, Resolver::new(&[]), RootCertStore::empty()).unwrap()
    }

    #[test]
    fn families_take_turns_beginning_with_the_preferred() {
        let found: Vec<IpAddr> = ["2600::1", "2600::2", "2600::3", "8.8.8.8"].iter().map(|text| text.parse().unwrap()).collect();
        let turns: Vec<String> = in_turns(&found, 443).iter().map(SocketAddr::to_string).collect();
        assert_eq!(turns, ["[2600::1]:443", "8.8.8.8:443", "[2600::2]:443", "[2600::3]:443"]);
        assert_eq!(in_turns(&[found[0]; 40], 443).len(), ADDRESSES_MAX);
    }

    #[tokio::test]
    async fn an_address_that_refuses_gives_way_to_the_next() {
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing_address = refusing.local_addr().unwrap();
        drop(refusing);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stream = race(vec![refusing_address, address]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), address);
        assert!(race(vec![refusing_address]).await.is_err());
        assert!(race(Vec::new()).await.is_err());
    }

    #[tokio::test]
    async fn addresses_that_were_found_survive_a_resolver_that_fails() {
        // A label this long fails inside the resolver, without a query.
        let connector = connector(&format!("http://{}.example", "x".repeat(64)), Addresses::Any);
        assert_eq!(connector.resolve().await.unwrap_err().fault, Fault::Resolve);
        let known = vec!["8.8.8.8".parse().unwrap()];
        *connector.last_found.lock().unwrap() = Some((Instant::now(), known.clone()));
        assert_eq!(connector.resolve().await.unwrap(), known);
    }

    #[test]
    fn addresses_that_are_not_public_are_dropped_or_refused() {
        let connector = connector("https://api.segment.io", Addresses::PublicOnly);
        let (public, private): (IpAddr, IpAddr) = ("8.8.8.8".parse().unwrap(), "169.254.169.254".parse().unwrap());
        assert_eq!(connector.acceptable(&[private, public]).unwrap(), [public]);
        let refusal = connector.acceptable(&[private]).unwrap_err();
        assert_eq!(refusal.fault, Fault::Address);
        assert!(refusal.source.to_string().contains("169.254.169.254"));
    }
}
