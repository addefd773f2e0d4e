//! A front before a stand-in, over TLS: it misbehaves in one way until it is told to be honest, and then passes every byte on.

#![allow(dead_code, reason = "every story uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a stage that cannot be set up fails its story")]

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional},
    net::TcpStream,
    time::{Duration, sleep},
};
use tokio_rustls::TlsAcceptor;

use crate::upstream_stage::{Authority, Server};

/// What the front does about a connection.
#[derive(Clone)]
pub enum Mood {
    /// Passes everything on.
    Honest,
    /// Shows this certificate.
    Certificate(Arc<ServerConfig>),
    /// Answers the first bytes of a handshake with these.
    Hello(Vec<u8>),
    /// Takes the connection and says nothing at all.
    Silent,
    /// Speaks HTTP/1.1: answers each request with the first, then says the second over and over until the client breaks off.
    H1(Vec<u8>, Vec<u8>),
    /// The same, a byte at a time.
    H1Drip(Vec<u8>),
    /// Answers a request so, and closes.
    H1Close(Vec<u8>),
    /// Speaks HTTP/2: greets so, answers a request so (stream 1's number stands for the request's), then says the last over
    /// and over.
    H2(Vec<u8>, Vec<u8>, Vec<u8>),
}

/// What became of the connections.
#[derive(Debug, Default)]
pub struct Seen {
    /// Connections or requests that were mistreated.
    pub struck: AtomicU64,
    /// Bytes of requests that came over a handshake that should have failed.
    pub leaked: AtomicU64,
    /// The most that one connection took of what was said to it.
    pub swallowed_max: AtomicU64,
}

pub struct Front {
    pub url: String,
    /// It ends with the front; the lock only makes it shareable.
    server: Mutex<Server>,
    pub authority: Authority,
    pub seen: Arc<Seen>,
    mood: Arc<Mutex<Mood>>,
}

impl Front {
    pub async fn before(standin: SocketAddr, mood: impl FnOnce(&Authority) -> Mood) -> Self {
        let authority = Authority::new();
        let (mood, seen) = (Arc::new(Mutex::new(mood(&authority))), Arc::new(Seen::default()));
        let configs = [&["h2", "http/1.1"][..], &["http/1.1"], &["h2"]].map(|alpn| {
            let mut config = authority.server(|_| {});
            config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            TlsAcceptor::from(Arc::new(config))
        });
        let (current, noted) = (Arc::clone(&mood), Arc::clone(&seen));
        let server = Server::accept(move |socket, _| {
            let (current, configs, seen) = (Arc::clone(&current), configs.clone(), Arc::clone(&noted));
            let mood = current.lock().unwrap().clone();
            async move {
                // A connection keeps its mood, and ends with it.
                let _ = tokio::select! {
                    treated = treat(socket, mood.clone(), configs, standin, &seen) => treated,
                    () = repented(&current), if !matches!(mood, Mood::Honest) => Ok(()),
                };
            }
        })
        .await;
        Self { url: server.url(), server: Mutex::new(server), authority, seen, mood }
    }

    pub fn be_honest(&self) {
        *self.mood.lock().unwrap() = Mood::Honest;
    }

    pub fn struck(&self) -> u64 {
        self.seen.struck.load(Ordering::Relaxed)
    }
}

async fn repented(current: &Mutex<Mood>) {
    while !matches!(*current.lock().unwrap(), Mood::Honest) {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn treat(
    mut socket: TcpStream,
    mood: Mood,
    [any, h1, h2]: [TlsAcceptor; 3],
    standin: SocketAddr,
    seen: &Seen,
) -> std::io::Result<()> {
    if !matches!(mood, Mood::Honest | Mood::H1(..) | Mood::H1Drip(_) | Mood::H1Close(_) | Mood::H2(..)) {
        seen.struck.fetch_add(1, Ordering::Relaxed);
    }
    match mood {
        Mood::Honest => {
            let mut client = any.accept(socket).await?;
            let mut vendor = TcpStream::connect(standin).await?;
            copy_bidirectional(&mut client, &mut vendor).await?;
        }
        Mood::Certificate(config) => {
            let mut client = TlsAcceptor::from(config).accept(socket).await?;
            let leaked = client.read(&mut [0; 4_096]).await? as u64;
            seen.leaked.fetch_add(leaked, Ordering::Relaxed);
        }
        Mood::Hello(words) => {
            let mut first = vec![0; 4_096];
            let count = socket.read(&mut first).await?;
            socket.write_all(&words).await?;
            socket.read_to_end(&mut first).await?;
            let text = String::from_utf8_lossy(&first[..]);
            assert!(count > 0);
            if text.contains("POST") || text.contains("Basic") {
                seen.leaked.fetch_add(1, Ordering::Relaxed);
            }
        }
        Mood::Silent => {
            socket.read_to_end(&mut Vec::new()).await?;
        }
        Mood::H1(once, again) => {
            let mut client = h1.accept(socket).await?;
            while read_request(&mut client).await? {
                seen.struck.fetch_add(1, Ordering::Relaxed);
                say(&mut client, &once, &again, seen).await?;
            }
        }
        Mood::H1Drip(words) => {
            let mut client = h1.accept(socket).await?;
            read_request(&mut client).await?;
            seen.struck.fetch_add(1, Ordering::Relaxed);
            for byte in words.iter().cycle() {
                client.write_all(&[*byte]).await?;
                client.flush().await?;
                sleep(Duration::from_millis(20)).await;
            }
        }
        Mood::H1Close(words) => {
            let mut client = h1.accept(socket).await?;
            read_request(&mut client).await?;
            seen.struck.fetch_add(1, Ordering::Relaxed);
            client.write_all(&words).await?;
            client.shutdown().await?;
        }
        Mood::H2(greeting, once, again) => {
            let client = h2.accept(socket).await?;
            speak_h2(client, &greeting, &once, &again, seen).await?;
        }
    }
    Ok(())
}

/// Says the first, then the second for ever unless it is empty; notes how much the client took.
async fn say(client: &mut (impl AsyncWrite + Unpin), once: &[u8], again: &[u8], seen: &Seen) -> std::io::Result<()> {
    client.write_all(once).await?;
    client.flush().await?;
    let mut swallowed = once.len() as u64;
    while !again.is_empty() {
        client.write_all(again).await?;
        swallowed += again.len() as u64;
        seen.swallowed_max.fetch_max(swallowed, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads a request with a Content-Length; false when the client is gone.
async fn read_request(client: &mut (impl AsyncRead + Unpin)) -> std::io::Result<bool> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
            if read.len() >= end + 4 + length {
                return Ok(true);
            }
        }
        if client.read_buf(&mut read).await? == 0 {
            return Ok(false);
        }
    }
}

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

async fn speak_h2(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    greeting: &[u8],
    once: &[u8],
    again: &[u8],
    seen: &Seen,
) -> std::io::Result<()> {
    client.read_exact(&mut [0; 24]).await?;
    client.write_all(greeting).await?;
    loop {
        client.flush().await?;
        let mut head = [0; 9];
        client.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        client.read_exact(&mut payload).await?;
        match head[3] {
            SETTINGS if head[4] == 0 => client.write_all(&frame(SETTINGS, 1, 0, &[])).await?,
            HEADERS => {
                seen.struck.fetch_add(1, Ordering::Relaxed);
                // Frames of one stream are of the first: the number of the request's goes where it stands.
                let mut words = once.to_vec();
                if words.len() >= 9 && words[5..9] == [0, 0, 0, 1] {
                    words[5..9].copy_from_slice(&head[5..9]);
                }
                say(&mut client, &words, again, seen).await?;
            }
            // Whoever may send nothing has still asked: its settings are acknowledged, and that is the last of it.
            SETTINGS => {
                seen.struck.fetch_add(1, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// A certificate for localhost at the end of so many others.
pub fn chain(authority: &Authority, length: usize) -> ServerConfig {
    let mut certificates = Vec::new();
    let mut issuer: Option<Issuer<'static, KeyPair>> = None;
    for number in 0..length {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, format!("link {number}"));
        let made = params.signed_by(&key, issuer.as_ref().unwrap_or(&authority.issuer)).unwrap();
        certificates.insert(0, made.der().clone());
        issuer = Some(Issuer::new(params, key));
    }
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, issuer.as_ref().unwrap()).unwrap();
    certificates.insert(0, leaf.der().clone());
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap()
}
