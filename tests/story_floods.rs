//! Floods of HTTP/2 frames, of connections and of unreadable handshakes: each flooder loses its connection, memory stays, and the
//! healthy client beside it is served. The frames are made by hand, as no client of repute would send them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod hostile;
mod process;
mod sums;

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hostile::{Attack, Comparison, NAME, Scene, memory_comes_back};
use process::metric;
use segue::standin::{Fault, Rule};
use sums::Sums;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags];
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A field block (RFC 7541): the method from the static table, the rest as literals that enter no table.
fn block(method: u8, path: &str) -> Vec<u8> {
    let mut out = vec![0x80 | method, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(&[0x01, u8::try_from(NAME.len()).unwrap()]);
    out.extend_from_slice(NAME.as_bytes());
    out
}

const GET: u8 = 2;
const POST: u8 = 3;

/// The nine floods of HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    RapidReset,
    MadeYouReset,
    Continuation,
    Ping,
    Settings,
    EmptyData,
    Priority,
    WindowOfNothing,
    HeaderBomb,
}

const FLOODS: [Flood; 9] = [
    Flood::RapidReset,
    Flood::MadeYouReset,
    Flood::Continuation,
    Flood::Ping,
    Flood::Settings,
    Flood::EmptyData,
    Flood::Priority,
    Flood::HeaderBomb,
    Flood::WindowOfNothing,
];

impl Flood {
    /// What is sent once.
    fn opening(self) -> Vec<u8> {
        let settings: &[u8] = if self == Self::WindowOfNothing { &[0, 4, 0, 0, 0, 0] } else { &[] };
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        out.extend(frame(SETTINGS, 0, 0, settings));
        match self {
            Self::Continuation => out.extend(frame(HEADERS, 0, 1, &block(GET, "/"))),
            Self::EmptyData => out.extend(frame(HEADERS, END_HEADERS, 1, &block(POST, "/v1/track"))),
            // More than a client may have open, of answers that it never takes.
            Self::WindowOfNothing => {
                for n in 0..100 {
                    out.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block(GET, "/analytics-next/bundles/large.js")));
                }
            }
            _ => {}
        }
        out
    }

    /// What is sent over and over; `round` counts from 0.
    fn more(self, round: u32) -> Vec<u8> {
        // Stream ids are used once.
        let stream = |n: u32| 2 * (round * 64 + n) + 1;
        let many = |one: &dyn Fn(u32) -> Vec<u8>| (0..64).flat_map(one).collect();
        match self {
            Self::RapidReset => many(&|n| {
                let opened = frame(HEADERS, END_HEADERS | END_STREAM, stream(n), &block(GET, "/v1/unknown"));
                [opened, frame(RST_STREAM, 0, stream(n), &8_u32.to_be_bytes())].concat()
            }),
            // An update by nothing, or by more than a window can be, makes the server reset the stream.
            Self::MadeYouReset => many(&|n| {
                let opened = frame(HEADERS, END_HEADERS, stream(n), &block(POST, "/v1/track"));
                let update: u32 = if n % 2 == 0 { 0 } else { 0x7fff_ffff };
                [opened, frame(WINDOW_UPDATE, 0, stream(n), &update.to_be_bytes())].concat()
            }),
            Self::Continuation => many(&|_| {
                let name = [0x00, 4, b'x', b'-', b'a', b'b', 100];
                frame(CONTINUATION, 0, 1, &[&name[..], &[b'y'; 100]].concat())
            }),
            Self::Ping => many(&|n| frame(PING, 0, 0, &[u8::try_from(n).unwrap(); 8])),
            Self::Settings => many(&|n| frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, u8::try_from(n).unwrap()])),
            Self::EmptyData => many(&|_| frame(DATA, 0, 1, &[])),
            Self::Priority => many(&|n| frame(PRIORITY, 0, stream(n), &[0, 0, 0, 0, 16])),
            Self::WindowOfNothing => Vec::new(),
            // One cookie of 3 KB enters the table, and each byte after it is that cookie again.
            Self::HeaderBomb => {
                let mut bomb = block(GET, "/v1/unknown");
                bomb.extend_from_slice(&[0x60, 0x7f, 0xb9, 0x16]);
                bomb.extend_from_slice(&[b'c'; 3_000]);
                bomb.extend_from_slice(&[0xbe; 10_000]);
                frame(HEADERS, END_HEADERS | END_STREAM, 2 * round + 1, &bomb)
            }
        }
    }
}

/// A flooder that comes again whenever its connection is closed; each closing is counted.
async fn flood(scene: Arc<Scene>, kind: Flood, closed: Arc<AtomicU64>) {
    loop {
        if let Ok(mut stream) = scene.tls(b"h2").await {
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            pour(&mut stream, kind).await;
            closed.fetch_add(1, Ordering::Relaxed);
        }
        // A handshake costs both sides: this is a flood of frames, not of handshakes.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Pours frames until the connection is closed.
async fn pour(stream: &mut TlsStream<TcpStream>, kind: Flood) {
    if stream.write_all(&kind.opening()).await.is_err() {
        return;
    }
    let mut buffer = vec![0; 16 << 10];
    for round in 0.. {
        let frames = kind.more(round);
        if !frames.is_empty() && stream.write_all(&frames).await.is_err() {
            return;
        }
        let _ = stream.flush().await;
        // What it says is read, so that it is the flood and not a blocked socket that ends this.
        if let Ok(Ok(0) | Err(_)) = timeout(Duration::from_millis(2), stream.read(&mut buffer)).await {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nine_floods_end_their_connections_and_nobody_elses() {
    let mut scene = Scene::set("header_timeout = \"3s\"\nbody_timeout = \"2s\"\nidle_timeout = \"4s\"").await;
    let script = Some("x".repeat(100 << 10));
    scene.segment.faults().add(Rule::always(Fault::Status { status: 200, retry_after: None, body: script }).for_path("/analytics-next/"));
    let sums = Sums::watch(scene.metrics());
    scene.healthy(Duration::from_millis(500)).await;
    let before = scene.memory_kib();
    let mut shared = Arc::new(scene);
    for kind in FLOODS {
        let closed = Arc::new(AtomicU64::new(0));
        let attack = |scene: Arc<Scene>| {
            let closed = Arc::clone(&closed);
            async move { Attack((0..4).map(|_| tokio::spawn(flood(Arc::clone(&scene), kind, Arc::clone(&closed)))).collect()) }
        };
        let (name, during) = (format!("{kind:?}"), Duration::from_millis(700));
        Comparison::hold(&shared, &name, during, attack).await;
        // The slowest of them is the one that takes no answers: its connection ends by a time limit.
        let (deadline, last) = (Instant::now() + Duration::from_secs(10), Arc::clone(&shared));
        let task = tokio::spawn(flood(last, kind, Arc::clone(&closed)));
        while closed.load(Ordering::Relaxed) == 0 {
            assert!(Instant::now() < deadline, "{kind:?}: no flooder ever lost its connection");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        task.abort();
        let _ = task.await;
        println!("{kind:?}: {} connections were closed", closed.load(Ordering::Relaxed));
    }
    churn(&shared).await;
    memory_comes_back(&shared, before).await;
    shared = settled(shared).await;
    scene = Arc::into_inner(shared).expect("all attackers are gone");
    scene.all_arrived().await;
    sums.held().await;
}

/// A page asks for twenty scripts at one time and takes them slowly: none of them is refused, though most wait for the others for
/// longer than an answer may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_link_gets_all_the_scripts_that_it_asked_for() {
    const SCRIPTS: u32 = 20;
    const SCRIPT_BYTES: usize = 100 << 10;
    const STEP_BYTES: u32 = 32 << 10;
    let mut scene = Scene::set("relay_timeout = \"1s\"").await;
    let sums = Sums::watch(scene.metrics());
    let script = Some("x".repeat(SCRIPT_BYTES));
    scene.segment.faults().add(Rule::always(Fault::Status { status: 200, retry_after: None, body: script }).for_path("/analytics-next/"));
    let mut stream = scene.tls(b"h2").await.unwrap();
    let mut asked = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // A stream may have a mebibyte at a time; what is slow is the connection.
    asked.extend(frame(SETTINGS, 0, 0, &[0, 4, 0, 0x10, 0, 0]));
    for n in 0..SCRIPTS {
        asked.extend(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &block(GET, "/analytics-next/bundles/large.js")));
    }
    stream.write_all(&asked).await.unwrap();
    let (begun, mut untold, mut ended) = (Instant::now(), 0, 0);
    let mut taken: BTreeMap<u32, usize> = BTreeMap::new();
    while ended < SCRIPTS {
        let mut head = [0; 9];
        timeout(Duration::from_secs(10), stream.read_exact(&mut head)).await.expect("it goes on").unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        if head[3] == DATA {
            *taken.entry(id).or_default() += payload.len();
            untold += length;
        }
        ended += u32::from([DATA, HEADERS].contains(&head[3]) && head[4] & END_STREAM != 0);
        if untold >= STEP_BYTES {
            tokio::time::sleep(Duration::from_millis(30)).await;
            stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &untold.to_be_bytes())).await.unwrap();
            untold = 0;
        }
    }
    println!("{SCRIPTS} scripts in {:?}", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_millis(1_200), "nobody waited for long enough to prove anything");
    assert!(taken.len() == SCRIPTS as usize && taken.values().all(|bytes| *bytes == SCRIPT_BYTES), "{taken:?}");
    scene.healthy(Duration::from_millis(100)).await;
    scene.all_arrived().await;
    sums.held().await;
}

/// Tasks that were told to end need a moment.
async fn settled(shared: Arc<Scene>) -> Arc<Scene> {
    for _ in 0..100 {
        if Arc::strong_count(&shared) == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shared
}

/// Connections that come, ask once or not at all, and go.
async fn churn(shared: &Arc<Scene>) {
    let made = Arc::new(AtomicU64::new(0));
    Comparison::hold(shared, "churn of connections", Duration::from_millis(700), |scene| {
        let made = Arc::clone(&made);
        async move {
            let come_and_go = move |scene: Arc<Scene>, made: Arc<AtomicU64>| async move {
                let mut ticks = tokio::time::interval(Duration::from_millis(2));
                loop {
                    ticks.tick().await;
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", scene.port)).await else { continue };
                    if made.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
                        let _ = stream.write_all(b"GET /-/healthz HTTP/1.1\r\nHost: a\r\n\r\n").await;
                    }
                }
            };
            Attack((0..4).map(|_| tokio::spawn(come_and_go(Arc::clone(&scene), Arc::clone(&made)))).collect())
        }
    })
    .await;
    println!("{} connections came and went", made.load(Ordering::Relaxed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_handshakes_cost_nothing() {
    let mut scene = Scene::set("handshake_timeout = \"1s\"").await;
    let sums = Sums::watch(scene.metrics());
    scene.healthy(Duration::from_millis(300)).await;
    let files = scene.open_files();
    let hello = client_hello();
    let record = |kind: u8, version: [u8; 2], payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, version[0], version[1], length[0], length[1]][..], payload].concat()
    };
    let fragmented: Vec<u8> = hello[5..].iter().flat_map(|byte| record(22, [3, 1], &[*byte])).collect();
    let mut random = process::seed();
    let mut garbage = move |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                random.to_be_bytes()[0]
            })
            .collect()
    };
    let long_name = hello.windows(NAME.len()).position(|window| window == NAME.as_bytes()).unwrap();
    let mut wrong_name = hello.clone();
    wrong_name[long_name..long_name + NAME.len()].fill(0xff);
    let mut handshakes: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("plain HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        ("SSL 2", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec()),
        ("half a hello", hello[..hello.len() / 2].to_vec()),
        ("a hello and garbage", [hello.clone(), garbage(400)].concat()),
        ("a record beyond 16 KiB", record(22, [3, 3], &[1; 20_000])),
        ("a hello of 16 MiB, announced", record(22, [3, 1], &[1, 0xff, 0xff, 0xff, 3, 3])),
        ("empty records", record(22, [3, 3], &[]).repeat(2_000)),
        ("warnings", record(21, [3, 3], &[1, 0]).repeat(2_000)),
        ("a fatal alert", record(21, [3, 3], &[2, 80])),
        ("data first", record(23, [3, 3], &garbage(100))),
        ("a change of ciphers first", record(20, [3, 3], &[1]).repeat(200)),
        ("two hellos", hello.repeat(2)),
        ("a hello of SSL 3", [&[22, 3, 0][..], &hello[3..]].concat()),
        ("a name that is none", wrong_name),
        ("a server's hello", record(22, [3, 3], &[2, 0, 0, 2, 3, 3])),
        ("no suites", record(22, [3, 1], &[&[1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 0, 1, 0, 0, 0]].concat())),
        ("heartbeat", record(24, [3, 3], &[1, 0x40, 0])),
    ];
    for _ in 0..100 {
        handshakes.push(("garbage", garbage(600)));
        let mut mutated = hello.clone();
        for at in garbage(3) {
            let at = usize::from(at) % mutated.len();
            mutated[at] ^= 1 << (at % 8);
        }
        handshakes.push(("a hello with wrong bits", mutated));
    }
    let count = handshakes.len();
    let tries: Vec<_> = handshakes
        .into_iter()
        .map(|(name, bytes)| {
            let port = scene.tls_port;
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let _ = stream.write_all(&bytes).await;
                let ended = timeout(Duration::from_secs(8), stream.read_to_end(&mut Vec::new())).await;
                assert!(ended.is_ok(), "{name} keeps its connection");
            })
        })
        .collect();
    for attempt in tries {
        attempt.await.unwrap();
    }
    // A hello in pieces of one byte is legal, and one record a byte too.
    for (name, pieces) in [("a record a byte", vec![fragmented]), ("a byte at a time", hello.chunks(1).map(<[u8]>::to_vec).collect())] {
        let mut stream = TcpStream::connect(("127.0.0.1", scene.tls_port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for piece in pieces {
            stream.write_all(&piece).await.unwrap();
        }
        let mut answer = [0; 5];
        let read = timeout(Duration::from_secs(5), stream.read_exact(&mut answer)).await.expect(name);
        assert!(read.is_ok() && answer[0] == 22, "{name}: {answer:?}");
    }
    println!("{count} malformed handshakes");
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.open_files() > files + 2 {
        assert!(Instant::now() < deadline, "{} files are open, {files} before", scene.open_files());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(scene.tls(b"h2").await.is_ok(), "and who knows how to is served");
    scene.healthy(Duration::from_millis(300)).await;
    scene.all_arrived().await;
    sums.held().await;
}

/// A `ClientHello` as rustls makes it.
fn client_hello() -> Vec<u8> {
    let config = rustls::ClientConfig::builder().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let mut client = rustls::ClientConnection::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// The scanner, which `scripts/test` puts under target/.
fn scanner() -> Option<std::path::PathBuf> {
    let dir = std::env::var_os("SEGUE_TEST_SDKS").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sdk"), Into::into);
    let python = dir.join("sslyze/bin/python");
    if python.exists() {
        return Some(python);
    }
    println!("skipped: no sslyze under {}; scripts/test installs it", dir.display());
    assert!(std::env::var_os("CI").is_none(), "{} is missing, and CI is set; run scripts/test", python.display());
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sslyze_finds_nothing() {
    let Some(python) = scanner() else { return };
    let mut scene = Scene::set("").await;
    let sums = Sums::watch(scene.metrics());
    let report = tempfile::NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut command = process::clean(Command::new(python));
    command.args([
        "-m",
        "sslyze",
        "--sni",
        NAME,
        "--mozilla_config",
        "intermediate",
        "--early_data",
        "--reneg",
        "--certinfo",
        "--certinfo_ca_file",
    ]);
    command.arg(&scene.root).arg("--json_out").arg(report.path()).arg(format!("127.0.0.1:{}", scene.tls_port));
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(report.path()).unwrap()).unwrap_or_else(|_| panic!("{said}"));
    let server = &json["server_scan_results"][0];
    assert_eq!(server["scan_status"], "COMPLETED", "{said}");
    let of = |name: &str| {
        let result = &server["scan_result"][name];
        assert_eq!(result["status"], "COMPLETED", "{name}: {result}\n{said}");
        result["result"].clone()
    };
    let suites = |name: &str| -> Vec<String> {
        let accepted = of(name)["accepted_cipher_suites"].as_array().unwrap().clone();
        accepted.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect()
    };
    for old in ["ssl_2_0_cipher_suites", "ssl_3_0_cipher_suites", "tls_1_0_cipher_suites", "tls_1_1_cipher_suites"] {
        assert_eq!(suites(old), Vec::<String>::new(), "{old}");
    }
    let (tls12, tls13) = (suites("tls_1_2_cipher_suites"), suites("tls_1_3_cipher_suites"));
    assert!(!tls12.is_empty() && tls12.iter().all(|suite| suite.starts_with("TLS_ECDHE_") && !suite.contains("CBC")), "{tls12:?}");
    assert!(!tls13.is_empty(), "{tls13:?}");
    assert_eq!(of("heartbleed")["is_vulnerable_to_heartbleed"], false);
    assert_eq!(of("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"], false);
    assert_eq!(of("session_renegotiation")["is_vulnerable_to_client_renegotiation_dos"], false);
    assert_eq!(of("tls_compression")["supports_compression"], false);
    assert_eq!(of("tls_1_3_early_data")["supports_early_data"], false);
    assert_eq!(of("tls_fallback_scsv")["supports_fallback_scsv"], true, "no lower version to fall back to counts as well");
    let robot = of("robot")["robot_result"].clone();
    assert!(robot.as_str().unwrap().starts_with("NOT_VULNERABLE"), "{robot}");
    assert_eq!(of("certificate_info")["certificate_deployments"][0]["received_chain_has_valid_order"], true);
    // Its own judgement; our CA is given to it, as no public one signs for a local name.
    assert!(said.contains("OK - Compliant."), "{said}");
    println!("sslyze: compliant with Mozilla's intermediate configuration; TLS 1.2 {tls12:?}, TLS 1.3 {tls13:?}");
    scene.healthy(Duration::from_millis(300)).await;
    scene.all_arrived().await;
    let page = scene.page().await;
    assert!(metric(&page, "segue_requests_total", &[("code", "2xx")]) > 0);
    sums.held().await;
}
