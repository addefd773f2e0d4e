//! The stage for hostile clients: the real binary, so that its memory, files and processor time are its alone, both vendors, and
//! a healthy client that is timed.

#![allow(dead_code, reason = "every story uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use segue::{
    standin::{Keep, Key, Options, RudderStandin, SegmentStandin, Standin},
    tls::{self, Existing},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::process::{Process, command, free_ports, get, ready, seed};

pub const SEGMENT_KEY: &str = "wk_test_hostile_segment";
pub const RUDDER_KEY: &str = "wk_test_hostile_rudder";
pub const NAME: &str = "api.segment.io";

/// A running sidecar between two stand-ins.
pub struct Scene {
    pub process: Process,
    pub segment: Standin,
    pub rudder: Standin,
    pub port: u16,
    pub tls_port: u16,
    pub metrics_port: u16,
    pub root: PathBuf,
    tls: Arc<ClientConfig>,
    sent: AtomicU64,
    dir: tempfile::TempDir,
}

impl Scene {
    /// With these lines in `[limits]`.
    pub async fn set(limits: &str) -> Self {
        Self::set_by(command(), limits).await
    }

    /// As [`Scene::set`], the binary started by that command.
    pub async fn set_by(command: std::process::Command, limits: &str) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let options = |key| Options { keys: vec![Key::enabled(key)], keep: Keep::COMPACT, ..Options::default() };
        let segment = SegmentStandin::start(options(SEGMENT_KEY)).await.unwrap();
        let rudder = RudderStandin::start(options(RUDDER_KEY)).await.unwrap();
        let [port, tls_port, metrics_port] = free_ports(seed());
        let certs = dir.path().join("certs");
        let root = tls::init(&certs, &[NAME.to_owned()], Existing::Refuse, segue::clock::Clock::system().now()).unwrap().root;
        let config = dir.path().join("sidecar.toml");
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\nlisten_tls = \"127.0.0.1:{tls_port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n\
             [tls]\nmode = \"local-ca\"\ndir = \"certs\"\nnames = [\"{NAME}\"]\n\
             [journal]\ndir = \"data\"\nsize_max = \"512MiB\"\nvolume_size = \"8MiB\"\nkeep_delivered = \"1s\"\n[limits]\n{limits}\n\
             [segment]\nurl = \"{segment}\"\neu_url = \"{segment}\"\ncdn_url = \"{segment}\"\ncdn_settings_url = \"{segment}\"\n\
             [segment.retry]\nfirst = \"20ms\"\nmax = \"200ms\"\n\
             [rudderstack]\nurl = \"{rudder}\"\n[rudderstack.retry]\nfirst = \"20ms\"\nmax = \"200ms\"\n\
             [[source]]\nname = \"app\"\nsegment_write_key = \"{SEGMENT_KEY}\"\nrudderstack_write_key = \"{RUDDER_KEY}\"\nroute = \"both\"\n",
            segment = segment.url(),
            rudder = rudder.url(),
        );
        fs::write(&config, text).unwrap();
        let mut process = Process::run_by(command, &config, &dir.path().join("log"));
        ready(&mut process, metrics_port).await;
        let tls = trusting(&root);
        Self { process, segment, rudder, port, tls_port, metrics_port, root, tls, sent: AtomicU64::new(0), dir }
    }

    pub fn metrics(&self) -> std::net::SocketAddr {
        ([127, 0, 0, 1], self.metrics_port).into()
    }

    pub async fn page(&self) -> String {
        get(self.metrics_port, "/metrics").await.unwrap()
    }

    /// A TLS connection that offers that protocol.
    pub async fn tls(&self, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
        let mut config = (*self.tls).clone();
        config.alpn_protocols = vec![alpn.to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.tls_port)).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), stream).await
    }

    pub async fn plain(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A request that the sidecar has to keep.
    pub fn request(&self, more: &str) -> Vec<u8> {
        let id = self.sent.fetch_add(1, Ordering::Relaxed);
        let body = format!(r#"{{"type":"track","event":"E","userId":"u{}","messageId":"h-{id}","writeKey":"{SEGMENT_KEY}"}}"#, id % 97);
        format!("POST /v1/track HTTP/1.1\r\nHost: {NAME}\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    /// A healthy client for so long: most requests on a connection that it keeps, each tenth on a new one. Every one of them must
    /// be served. Returns how long each took, in microseconds, in order of size.
    pub async fn healthy(&self, during: Duration) -> Vec<u64> {
        let (until, mut took) = (Instant::now() + during, Vec::new());
        let mut kept = self.plain().await;
        while Instant::now() < until || took.len() < REQUESTS_MIN {
            let request = self.request("");
            let begun = Instant::now();
            if took.len() % 10 == 9 {
                let mut fresh = self.plain().await;
                served(&mut fresh, &request).await;
            } else {
                served(&mut kept, &request).await;
            }
            took.push(u64::try_from(begun.elapsed().as_micros()).unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        took.sort_unstable();
        took
    }

    /// Everything that healthy clients sent has arrived at both, once.
    pub async fn all_arrived(&mut self) {
        let sent = self.sent.load(Ordering::Relaxed);
        for standin in [&self.segment, &self.rudder] {
            let counts = standin.wait_for(Duration::from_secs(30), |counts| counts.distinct >= sent).await;
            let counts = counts.unwrap_or_else(|counts| panic!("{} of {sent} events\n{}", counts.distinct, self.process.said()));
            assert_eq!(counts.distinct, sent, "nothing but what healthy clients sent");
        }
        self.process.assert_running();
        assert!(!self.log().contains("panicked"), "a task of it panicked:\n{}", self.process.said());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Its memory that is in RAM and its own, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let of = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().trim_end_matches(" kB").parse::<u64>().ok());
        of("RssAnon:").unwrap()
    }

    pub fn open_files(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.process.id())).unwrap().count()
    }

    /// Processor time that it has used, in milliseconds.
    pub fn processor_ms(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks * 1_000 / rustix::param::clock_ticks_per_second()
    }
}

/// Requests of a healthy client, however long they take.
const REQUESTS_MIN: usize = 10;

fn trusting(root: &std::path::Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(root).unwrap()).unwrap();
    Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth())
}

async fn served(stream: &mut TcpStream, request: &[u8]) {
    stream.write_all(request).await.unwrap();
    let mut answer = [0; 4_096];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read(&mut answer)).await.expect("a healthy client is answered");
    let said = String::from_utf8_lossy(&answer[..read.unwrap()]).into_owned();
    assert!(said.starts_with("HTTP/1.1 200"), "a healthy client hears {said:?}");
}

/// How a healthy client fared without and with an attack, in rounds one after the other, so that a busy moment of the machine hits
/// both; and what the attack cost in memory.
#[derive(Debug)]
pub struct Comparison {
    pub calm_us: u64,
    pub troubled_us: u64,
    pub memory_before_kib: u64,
    pub memory_most_kib: u64,
}

/// Rounds of each kind.
const ROUNDS: usize = 3;
/// Noise only ever adds: one attempt that holds shows that it is not the attack that keeps the figures apart.
const ATTEMPTS: usize = 5;
/// Growth of memory that is allowed while an attack goes on.
pub const GROWTH_KIB_MAX: u64 = 64 << 10;

impl Comparison {
    /// As [`Comparison::hold`], for an attack that is answered with work rather than with a closed connection: the healthy client
    /// has every request answered and memory keeps its bounds; how long it takes then is said, and not judged.
    pub async fn endure<A, F>(scene: &Arc<Scene>, name: &str, during: Duration, attack: A)
    where
        A: Fn(Arc<Scene>) -> F,
        F: Future<Output = Attack>,
    {
        let comparison = compare(scene, during, &attack).await;
        println!("{name}: {comparison:?}");
        let growth = comparison.memory_most_kib.saturating_sub(comparison.memory_before_kib);
        assert!(growth <= GROWTH_KIB_MAX, "{name}: memory grew by {growth} KiB: {comparison:?}");
    }

    /// Compares until the p99 of the healthy client at most doubles; fails when it never does, or when memory grows too much.
    pub async fn hold<A, F>(scene: &Arc<Scene>, name: &str, during: Duration, attack: A)
    where
        A: Fn(Arc<Scene>) -> F,
        F: Future<Output = Attack>,
    {
        let mut seen = Vec::new();
        for _ in 0..ATTEMPTS {
            let comparison = compare(scene, during, &attack).await;
            println!(
                "{name}: healthy p99 {} us without, {} us with; memory {} KiB before, {} KiB at most",
                comparison.calm_us, comparison.troubled_us, comparison.memory_before_kib, comparison.memory_most_kib
            );
            let growth = comparison.memory_most_kib.saturating_sub(comparison.memory_before_kib);
            assert!(growth <= GROWTH_KIB_MAX, "{name}: memory grew by {growth} KiB: {comparison:?}");
            // Below a millisecond it is the scheduler that is measured.
            if comparison.troubled_us <= 2 * comparison.calm_us.max(1_000) {
                return;
            }
            seen.push(comparison);
        }
        panic!("{name}: the p99 of a healthy client more than doubles each time: {seen:?}");
    }
}

/// An attack that goes on until it is dropped.
pub struct Attack(pub Vec<tokio::task::JoinHandle<()>>);

impl Drop for Attack {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

async fn compare<A, F>(scene: &Arc<Scene>, during: Duration, attack: &A) -> Comparison
where
    A: Fn(Arc<Scene>) -> F,
    F: Future<Output = Attack>,
{
    let (mut calm, mut troubled) = (Vec::new(), Vec::new());
    let (memory_before_kib, mut memory_most_kib) = (scene.memory_kib(), 0);
    for _ in 0..ROUNDS {
        calm.push(p99(&scene.healthy(during).await));
        let attack = attack(Arc::clone(scene)).await;
        let mut healthy = std::pin::pin!(scene.healthy(during));
        let took = loop {
            tokio::select! {
                took = &mut healthy => break took,
                () = tokio::time::sleep(Duration::from_millis(50)) => memory_most_kib = memory_most_kib.max(scene.memory_kib()),
            }
        };
        troubled.push(p99(&took));
        drop(attack);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    calm.sort_unstable();
    troubled.sort_unstable();
    Comparison { calm_us: calm[ROUNDS / 2], troubled_us: troubled[ROUNDS / 2], memory_before_kib, memory_most_kib }
}

fn p99(took: &[u64]) -> u64 {
    assert!(!took.is_empty(), "a healthy client got through nothing");
    took[(took.len() * 99 / 100).min(took.len() - 1)]
}

/// Waits until memory is back near what it was; fails after a while.
pub async fn memory_comes_back(scene: &Scene, before_kib: u64) {
    // The allocator gives back what was free for ten seconds.
    let deadline = Instant::now() + Duration::from_secs(40);
    loop {
        let now = scene.memory_kib();
        // What the runtime keeps for the next connections: slots and queues that have grown once.
        if now <= before_kib + KEPT_KIB {
            println!("memory is back at {now} KiB, from {before_kib} KiB");
            return;
        }
        assert!(Instant::now() < deadline, "memory stays at {now} KiB, {before_kib} KiB before");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

const KEPT_KIB: u64 = 16 << 10;
