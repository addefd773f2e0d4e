//! Slow clients by the thousand, and a limit on open files: the healthy client beside them is served.
//!
//! `SEGUE_SLOW_CLIENTS` sets how many there are (4,000).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod hostile;
mod process;
mod sums;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hostile::{Attack, Comparison, Scene, memory_comes_back};
use process::metric;
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use segue::{
    ingress::Limits,
    standin::{Fault, Rule},
};
use sums::Sums;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Slow clients at one time.
const SLOW: usize = 4_000;
/// A script of the CDN.
const SCRIPT_BYTES: usize = 300 << 10;

/// What slow clients do, one byte a second, until they are cut; then they come again.
#[derive(Debug, Clone, Copy)]
enum Slow {
    Head,
    Body,
    Reader,
    Handshake,
    Idle,
}

#[test]
fn the_limits_on_slow_clients_are_the_stated_ones() {
    let limits = Limits::default();
    let seconds = |duration: Duration| duration.as_secs();
    assert_eq!((limits.connections_max, limits.connections_per_ip_max), (4_096, 256));
    assert_eq!((seconds(limits.handshake_timeout), seconds(limits.header_timeout), seconds(limits.body_timeout)), (5, 10, 60));
    assert_eq!((limits.body_rate_min.0, seconds(limits.idle_timeout)), (1_024, 60));
    assert_eq!((limits.header_bytes_max.0, limits.headers_max), (16 << 10, 64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_cost_a_healthy_one_nothing() {
    let files = raise_files();
    let wished = std::env::var("SEGUE_SLOW_CLIENTS").map_or(SLOW, |text| text.parse().expect("SEGUE_SLOW_CLIENTS is a number"));
    let each = wished.min((usize::try_from(files).unwrap_or(usize::MAX) - 500) / 2) / 4;
    // The default cap of 4,096 connections; the times are a third of the defaults, so that cuts are seen in a short run.
    let mut scene = Scene::set("handshake_timeout = \"2s\"\nheader_timeout = \"3s\"\nbody_timeout = \"3s\"\nidle_timeout = \"5s\"").await;
    scene.segment.faults().add(
        Rule::always(Fault::Status { status: 200, retry_after: None, body: Some("x".repeat(SCRIPT_BYTES)) }).for_path("/analytics-next/"),
    );
    let sums = Sums::watch(scene.metrics());
    scene.healthy(Duration::from_millis(500)).await;
    let before = scene.memory_kib();
    let cuts = Arc::new(AtomicU64::new(0));
    let shared = Arc::new(scene);
    println!("{} slow clients, cap 4096", 4 * each);
    let attack = |kinds: &'static [Slow], each: usize| {
        let cuts = Arc::clone(&cuts);
        move |scene: Arc<Scene>| {
            let cuts = Arc::clone(&cuts);
            stand(scene, kinds, each, cuts)
        }
    };
    let during = Duration::from_millis(1_500);
    Comparison::hold(
        &shared,
        "slow heads, bodies and handshakes",
        during,
        attack(&[Slow::Head, Slow::Body, Slow::Handshake, Slow::Idle], each),
    )
    .await;
    Comparison::endure(&shared, "slow readers", during, attack(&[Slow::Reader], 200)).await;
    // Each kind is cut by its limit.
    for (slow, within) in [(Slow::Head, 6), (Slow::Body, 6), (Slow::Handshake, 4), (Slow::Reader, 12)] {
        let (one, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let task = tokio::spawn(dawdle(Arc::clone(&shared), slow, Arc::clone(&one), Arc::default()));
        while one.load(Ordering::Relaxed) == 0 {
            assert!(begun.elapsed() < Duration::from_secs(within), "{slow:?} is not cut");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{slow:?} is cut after {:?}", begun.elapsed());
        task.abort();
    }
    memory_comes_back(&shared, before).await;
    println!("{} slow clients were cut and came again", cuts.load(Ordering::Relaxed));
    scene = Arc::into_inner(shared).expect("all attackers are gone");
    scene.all_arrived().await;
    sums.held().await;
}

/// So many slow clients of each kind, once they all stand.
async fn stand(scene: Arc<Scene>, kinds: &'static [Slow], each: usize, cuts: Arc<AtomicU64>) -> Attack {
    let (mut tasks, stand) = (Vec::new(), Arc::new(AtomicU64::new(0)));
    for n in 0..each {
        for slow in kinds {
            let (scene, cuts, stand) = (Arc::clone(&scene), Arc::clone(&cuts), Arc::clone(&stand));
            tasks.push(tokio::spawn(async move {
                // They come one after the other, so that it is not the backlog of the listener that is tried.
                tokio::time::sleep(Duration::from_millis(n as u64)).await;
                dawdle(scene, *slow, cuts, stand).await;
            }));
        }
    }
    let (deadline, all) = (Instant::now() + Duration::from_secs(20), (kinds.len() * each) as u64);
    while stand.load(Ordering::Relaxed) < all {
        assert!(Instant::now() < deadline, "{} of {all} slow clients stand", stand.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Attack(tasks)
}

/// One slow client, which comes again whenever it is cut.
async fn dawdle(scene: Arc<Scene>, slow: Slow, cuts: Arc<AtomicU64>, stand: Arc<AtomicU64>) {
    let port = if matches!(slow, Slow::Handshake) { scene.tls_port } else { scene.port };
    drop(scene);
    loop {
        let socket = TcpSocket::new_v4().unwrap();
        if matches!(slow, Slow::Reader) {
            socket.set_recv_buffer_size(4_096).unwrap();
        }
        if let Ok(mut stream) = socket.connect(([127, 0, 0, 1], port).into()).await {
            stand.fetch_add(1, Ordering::Relaxed);
            let _ = drip(&mut stream, slow).await;
            cuts.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Returns when the sidecar has closed.
async fn drip(stream: &mut TcpStream, slow: Slow) -> std::io::Result<()> {
    let first: &[u8] = match slow {
        Slow::Head => b"POST /v1/track HTTP/1.1\r\nHost: a\r\nX-Slow: ",
        Slow::Body => b"POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n{",
        Slow::Reader => &b"GET /analytics-next/bundles/large.js HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20),
        Slow::Idle => b"",
        // The first bytes of a ClientHello.
        Slow::Handshake => b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    };
    stream.write_all(first).await?;
    let mut byte = [0; 1];
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if matches!(slow, Slow::Idle) {
            // It says nothing at all, and hears when it is cut.
            if stream.read(&mut byte).await? == 0 {
                return Ok(());
            }
        } else if matches!(slow, Slow::Reader) {
            if stream.read(&mut byte).await? == 0 {
                return Ok(());
            }
            // A reset shows only when something is written.
            stream.write_all(b"\r\n").await?;
        } else {
            stream.write_all(b"x").await?;
            match stream.try_read(&mut byte) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                // An answer before the end is an end.
                _ => return Ok(()),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twice_as_many_slow_clients_as_there_are_places_lock_nobody_out() {
    let mut scene = Scene::set("connections_max = 100").await;
    let sums = Sums::watch(scene.metrics());
    // From loopback, where no share of an address applies.
    let address = ("127.0.0.1", scene.port);
    let mut held = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let part: &[u8] = if n % 2 == 0 { b"POST /v1/tr" } else { b"POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n{" };
        stream.write_all(part).await.unwrap();
        held.push(stream);
        if n % 10 == 0 {
            scene.healthy(Duration::from_millis(20)).await;
        }
    }
    // The healthy client's own kept connection outlives a churn of strangers, too.
    let mut kept = scene.plain().await;
    let request = scene.request("");
    kept.write_all(&request).await.unwrap();
    let mut answer = [0; 4_096];
    assert!(kept.read(&mut answer).await.unwrap() > 0);
    for _ in 0..300 {
        held.push(TcpStream::connect(address).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let request = scene.request("");
    kept.write_all(&request).await.unwrap();
    let read = timeout(Duration::from_secs(5), kept.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "a client that was served before keeps its place");
    let page = scene.page().await;
    assert!(metric(&page, "segue_connections_shed_total", &[]) >= 300, "{page}");
    assert_eq!(metric(&page, "segue_connections_refused_total", &[]), 0);
    assert!(scene.open_files() < 250, "{} files are open", scene.open_files());
    scene.all_arrived().await;
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_files_it_waits_and_comes_back() {
    let mut scene = Scene::set("").await;
    let sums = Sums::watch(scene.metrics());
    scene.healthy(Duration::from_millis(300)).await;
    // Who has been served keeps its place; a stranger may lose it.
    let mut kept = scene.plain().await;
    let mut answer = [0; 4_096];
    kept.write_all(&scene.request("")).await.unwrap();
    assert!(kept.read(&mut answer).await.unwrap() > 0);
    let pid = Pid::from_raw(i32::try_from(scene.process.id()).unwrap()).unwrap();
    let limits = prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(10), maximum: None }).unwrap_or_else(|_| {
        let hard = getrlimit(Resource::Nofile).maximum;
        prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(10), maximum: hard }).unwrap()
    });
    // Nobody can be accepted now; those who are connected are served, and the accept loop does not spin.
    let waiting: Vec<TcpStream> = {
        let mut waiting = Vec::new();
        for _ in 0..50 {
            waiting.push(TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap());
        }
        waiting
    };
    let (begun, used) = (Instant::now(), scene.processor_ms());
    for _ in 0..20 {
        let request = scene.request("");
        kept.write_all(&request).await.unwrap();
        let read = timeout(Duration::from_secs(10), kept.read(&mut answer)).await.unwrap().unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..read]));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (elapsed, used) = (begun.elapsed(), scene.processor_ms() - used);
    println!("{used} ms of processor time in {elapsed:?} without files");
    assert!(u128::from(used) < elapsed.as_millis() / 2, "{used} ms in {elapsed:?} is spinning");
    assert!(scene.log().contains("accept_failed"), "it never ran out of files:\n{}", scene.process.said());
    prlimit(Some(pid), Resource::Nofile, limits).unwrap();
    drop(waiting);
    scene.healthy(Duration::from_millis(500)).await;
    scene.all_arrived().await;
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_connections_leaves_files_for_the_journal() {
    let segue = process::command();
    let mut command = process::clean(std::process::Command::new("sh"));
    command.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]).arg(segue.get_program());
    let mut scene = Scene::set_by(command, "body_bytes_max = \"1MiB\"\ninflated_bytes_max = \"1MiB\"").await;
    let sums = Sums::watch(scene.metrics());
    // The log is written by a thread of its own.
    let deadline = Instant::now() + Duration::from_secs(5);
    while !scene.log().contains("connections_capped") {
        assert!(Instant::now() < deadline, "{}", scene.process.said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut flood = Vec::new();
    for _ in 0..1_000 {
        flood.push(TcpStream::connect(("127.0.0.1", scene.port)).await.unwrap());
    }
    // Enough for the journal to go through volumes of 8 MiB, each of which needs files.
    let padding = format!("X-Padding: {}\r\n", "x".repeat(100));
    for n in 0..24 {
        let body = format!(
            r#"{{"batch":[{{"type":"track","event":"Large","userId":"u","messageId":"big-{n}","properties":{{"x":"{}"}}}}],"writeKey":"{}"}}"#,
            "y".repeat(480 << 10),
            hostile::SEGMENT_KEY
        );
        let mut stream = scene.plain().await;
        let head = format!("POST /v1/batch HTTP/1.1\r\nHost: a\r\n{padding}Connection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with(r#"{"success":true}"#), "{answer}");
        if n % 8 == 0 {
            scene.healthy(Duration::from_millis(50)).await;
        }
    }
    assert!(scene.open_files() <= 200);
    let counts = scene.rudder.wait_for(Duration::from_secs(20), |counts| counts.distinct > 24).await;
    assert!(counts.is_ok(), "{counts:?}\n{}", scene.process.said());
    let page = scene.page().await;
    assert_eq!(metric(&page, "segue_events_unjournalled_total", &[]), 0, "the journal had its files:\n{page}");
    drop(flood);
    scene.process.assert_running();
    sums.held().await;
}

/// Raises our own limit on files, and says what it is.
fn raise_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
