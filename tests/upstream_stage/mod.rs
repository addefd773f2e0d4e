//! A TLS server that says, byte for byte, what a story wants it to say.

#![allow(dead_code, reason = "every story uses a part of it")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use segue::upstream::{Addresses, Call, Settings, Upstream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Barrier, mpsc},
    task::JoinHandle,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A CA made for the story, which no bundle knows.
pub struct Authority {
    pub der: Vec<u8>,
    pub issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "stage CA");
        let root = params.self_signed(&key).unwrap();
        Self { der: root.der().to_vec(), issuer: Issuer::new(params, key) }
    }

    /// A server for localhost and the loopback addresses, after `change`.
    pub fn server(&self, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        let mut params = CertificateParams::new(names).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        server_config(leaf.der().to_vec(), &key)
    }
}

pub fn server_config(leaf: Vec<u8>, key: &KeyPair) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.into()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap()
}

/// What the server does about one request.
#[derive(Clone)]
pub enum Reply {
    /// Says this and waits for the next request.
    Say(Vec<u8>),
    /// Says this and closes with a TLS farewell.
    SayAndClose(Vec<u8>),
    /// Says this and lets the connection drop, with none.
    SayAndDrop(Vec<u8>),
    /// Says this and then nothing, for ever.
    SayAndHang(Vec<u8>),
    /// Says the first once, and the second until the connection breaks.
    SayAndRepeat(Vec<u8>, Vec<u8>),
    /// Says this once so many requests have come.
    SayTogether(Arc<Barrier>, Vec<u8>),
    /// Says a byte of this now and then, for ever.
    Drip(Vec<u8>),
}

pub struct Server {
    pub port: u16,
    pub connections: Arc<AtomicUsize>,
    /// A line for each connection that the client has broken off while the server was talking.
    pub broken_off: mpsc::UnboundedReceiver<()>,
    /// A line for each connection that the server has closed.
    pub closings: std::sync::mpsc::Receiver<()>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub async fn start(config: ServerConfig, answer: impl Fn(String) -> Reply + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::accept(move |socket, broken_off| {
            let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
            async move {
                if let Ok(stream) = acceptor.accept(socket).await {
                    converse(stream, &*answer, broken_off).await;
                }
            }
        })
        .await
    }

    pub async fn accept<F>(serve: impl Fn(TcpStream, mpsc::UnboundedSender<()>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let (sender, broken_off) = mpsc::unbounded_channel();
        let (closed, closings) = std::sync::mpsc::channel();
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let (served, closed) = (serve(socket, sender.clone()), closed.clone());
                tokio::spawn(async move {
                    served.await;
                    let _ = closed.send(());
                });
            }
        });
        Self { port, connections, broken_off, closings, task }
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    pub fn accepted(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut stream: TlsStream<TcpStream>,
    answer: &(impl Fn(String) -> Reply + Send + Sync),
    broken_off: mpsc::UnboundedSender<()>,
) {
    while let Some(text) = read_request(&mut stream).await {
        let spoken = match answer(text) {
            Reply::Say(words) => say(&mut stream, &words).await,
            Reply::SayTogether(all, words) => {
                all.wait().await;
                say(&mut stream, &words).await
            }
            Reply::SayAndDrop(words) => {
                let _ = say(&mut stream, &words).await;
                return;
            }
            Reply::SayAndClose(words) => {
                let _ = say(&mut stream, &words).await;
                let _ = stream.shutdown().await;
                return;
            }
            Reply::SayAndHang(words) => {
                let _ = say(&mut stream, &words).await;
                // Ends when the client breaks off.
                stream.read_to_end(&mut Vec::new()).await.map(|_| ())
            }
            Reply::SayAndRepeat(first, again) => repeat(&mut stream, &first, &again).await,
            Reply::Drip(words) => drip(&mut stream, &words).await,
        };
        if spoken.is_err() {
            let _ = broken_off.send(());
            return;
        }
    }
}

async fn say(stream: &mut TlsStream<TcpStream>, words: &[u8]) -> std::io::Result<()> {
    stream.write_all(words).await?;
    stream.flush().await
}

async fn repeat(stream: &mut TlsStream<TcpStream>, first: &[u8], again: &[u8]) -> std::io::Result<()> {
    say(stream, first).await?;
    loop {
        say(stream, again).await?;
    }
}

async fn drip(stream: &mut TlsStream<TcpStream>, words: &[u8]) -> std::io::Result<()> {
    for byte in words.iter().cycle() {
        say(stream, &[*byte]).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn read_request(stream: &mut TlsStream<TcpStream>) -> Option<String> {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.map_or(0, |digits| digits.parse().unwrap()) {
                return Some(text);
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => read.extend_from_slice(&chunk[..count]),
        }
    }
}

pub fn settings(url: String, roots: &[&Authority]) -> Settings {
    Settings {
        url,
        extra_roots: roots.iter().map(|authority| authority.der.clone()).collect(),
        addresses: Addresses::Any,
        timeout: Duration::from_secs(20),
        ..Settings::default()
    }
}

pub fn upstream(server: &Server, authority: &Authority) -> Upstream {
    Upstream::new(&settings(server.url(), &[authority])).unwrap()
}

pub fn call(body: &str) -> Call {
    Call { method: Method::POST, path: "/v1/batch".to_owned(), headers: HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) }
}

pub fn ok(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}
