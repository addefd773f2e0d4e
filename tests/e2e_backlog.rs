//! A backlog lives on disk: memory and start-up do not grow with it. The real binary, with both destinations down.
//!
//! `SEGUE_BACKLOG_MIB` sets the two sizes, smaller first (`100,256`; the release form is `100,1024`), `SEGUE_TEST_BINARY` another binary.

mod process;
mod sums;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use process::{Process, free_ports, get, metric, ready, seed};
use segue::standin::{Keep, Key, Options, RudderStandin, SegmentStandin, Standin};
use sums::Sums;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SEGMENT_KEY: &str = "wk_test_backlog_segment";
const RUDDER_KEY: &str = "wk_test_backlog_rudder";
const EVENTS: u64 = 100;
const EVENT_BYTES: usize = 1000;
/// Memory with the large backlog, compared with the small one: at most this many hundredths more.
const GROWTH_MAX_PERCENT: u64 = 10;
const READY_MAX: Duration = Duration::from_secs(2);
/// Memory is read so often, and the median counts: a scrape or a retry may be on its way.
const SAMPLES: usize = 15;

/// What was measured with one backlog.
struct Measured {
    mib: u64,
    events: u64,
    /// Resident memory of the process that took it, and of one that found it, in KiB.
    took_kib: u64,
    found_kib: u64,
    ready: Duration,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_and_start_do_not_grow_with_the_backlog() {
    let sizes = std::env::var("SEGUE_BACKLOG_MIB").unwrap_or_else(|_| "100,256".to_owned());
    let sizes: Vec<u64> = sizes.split(',').map(|text| text.parse().expect("SEGUE_BACKLOG_MIB is like 100,256")).collect();
    let [small, large] = sizes[..] else { panic!("SEGUE_BACKLOG_MIB names two sizes") };
    let small = measure(small).await;
    let large = measure(large).await;
    for Measured { mib, events, took_kib, found_kib, ready } in [&small, &large] {
        println!("{mib} MiB, {events} events: {took_kib} KiB when taken, {found_kib} KiB and {ready:?} when found");
    }
    for (what, small, large) in [("taken", small.took_kib, large.took_kib), ("found", small.found_kib, large.found_kib)] {
        let most = small + small * GROWTH_MAX_PERCENT / 100;
        assert!(large <= most, "memory grows with the backlog that was {what}: {small} KiB, then {large} KiB");
    }
    assert!(large.ready <= READY_MAX, "ready after {:?}", large.ready);
}

async fn measure(mib: u64) -> Measured {
    let scene = Scene::set(seed() ^ mib).await;
    let sums = Sums::watch(([127, 0, 0, 1], scene.metrics_port).into());
    let mut process = Process::run(&scene.config, &scene.log);
    ready(&mut process, scene.metrics_port).await;
    let events = scene.fill(mib << 20).await;
    let took_kib = scene.resident_kib().await;
    // As a crash would leave it.
    process.kill();
    let begun = Instant::now();
    let mut process = Process::run(&scene.config, &scene.log);
    ready(&mut process, scene.metrics_port).await;
    let found = begun.elapsed();
    let found_kib = scene.resident_kib().await;
    let page = get(scene.metrics_port, "/metrics").await.expect("the page");
    assert_eq!(metric(&page, "segue_queue_events", &[]), 2 * events, "what was acknowledged waits for both");
    // And it is all there: a first part of it comes as soon as the vendors are back.
    scene.segment.resume().await.expect("Segment is back");
    scene.rudder.resume().await.expect("RudderStack is back");
    let wanted = events.min(4_000);
    for vendor in [&scene.segment, &scene.rudder] {
        let came = vendor.wait_for(Duration::from_secs(90), |counts| counts.distinct >= wanted).await;
        assert!(came.is_ok(), "{came:?} of {wanted}:\n{}", process.said());
    }
    sums.held().await;
    process.kill();
    Measured { mib, events, took_kib, found_kib, ready: found }
}

/// Two vendors that are down, and where the sidecar is.
struct Scene {
    segment: Standin,
    rudder: Standin,
    config: PathBuf,
    log: PathBuf,
    port: u16,
    metrics_port: u16,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn set(seed: u64) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let options = |key| Options { keys: vec![Key::enabled(key)], keep: Keep::COMPACT, ..Options::default() };
        let segment = SegmentStandin::start(options(SEGMENT_KEY)).await.expect("Segment stands in");
        let rudder = RudderStandin::start(options(RUDDER_KEY)).await.expect("RudderStack stands in");
        let (segment_url, rudder_url) = (segment.url(), rudder.url());
        segment.pause().await;
        rudder.pause().await;
        let [port, metrics_port] = free_ports(seed);
        let config = dir.path().join("sidecar.toml");
        // Both backlogs are larger than what is kept in memory.
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n\
             [journal]\ndir = \"data\"\nsize_max = \"4GiB\"\nmemory_max = \"8MiB\"\n\
             [segment]\nurl = \"{segment_url}\"\neu_url = \"{segment_url}\"\ncdn_url = \"{segment_url}\"\ncdn_settings_url = \"{segment_url}\"\n\
             [segment.retry]\nfirst = \"100ms\"\nmax = \"500ms\"\n\
             [rudderstack]\nurl = \"{rudder_url}\"\n\
             [rudderstack.retry]\nfirst = \"100ms\"\nmax = \"500ms\"\n\
             [[source]]\nname = \"web\"\nsegment_write_key = \"{SEGMENT_KEY}\"\nrudderstack_write_key = \"{RUDDER_KEY}\"\nroute = \"both\"\n"
        );
        fs::write(&config, text).expect("the configuration is written");
        let log = dir.path().join("segue.log");
        Self { segment, rudder, config, log, port, metrics_port, _dir: dir }
    }

    /// Sends so many bytes of bodies, each answered with 200; returns how many events that were.
    async fn fill(&self, bytes: u64) -> u64 {
        let padding = "p".repeat(EVENT_BYTES);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.expect("segue takes connections");
        let (mut sent, mut events) = (0, 0);
        while sent < bytes {
            let event = |n: u64| {
                let person = n % 500;
                format!(r#"{{"type":"track","event":"E","userId":"u{person}","messageId":"b-{n}","properties":{{"p":"{padding}"}}}}"#)
            };
            let batch: Vec<_> = (events..events + EVENTS).map(event).collect();
            let body = format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, batch.join(","));
            let head = format!(
                "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await.expect("the request is sent");
            stream.write_all(body.as_bytes()).await.expect("the request is sent");
            let mut answer = [0; 1024];
            let count = stream.read(&mut answer).await.expect("an answer");
            let answer = String::from_utf8_lossy(&answer[..count]);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            sent += body.len() as u64;
            events += EVENTS;
        }
        events
    }

    /// The median of the memory that the sidecar holds, once it has come to rest.
    async fn resident_kib(&self) -> u64 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut samples = Vec::new();
        while samples.len() < SAMPLES {
            let page = get(self.metrics_port, "/metrics").await.expect("the page");
            samples.push(metric(&page, "process_resident_memory_bytes", &[]) / 1024);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        samples.sort_unstable();
        samples[SAMPLES / 2]
    }
}
