//! The end of the process, by every signal (reliability.md P3 to P5, P10): who has sent a request is answered, nothing is lost,
//! nothing comes twice that need not, and no backlog and no dead upstream makes it late.
//!
//! `SEGUE_SHUTDOWNS` sets the number of stops under load (3), `SEGUE_BACKLOG_MB` the size of the backlog (100), `SEGUE_SEED` the ports.

#![expect(clippy::panic, reason = "a story that cannot go on fails, with what the sidecar said")]

mod process;
mod sums;

use std::{
    fs,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use process::{Process, free_ports, get, metric, ready, seed};
use rustix::process::Signal;
use segue::standin::{Counts, Fault, Keep, Key, Options, RudderStandin, Rule, SegmentStandin, Standin};
use sums::Sums;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

const SEGMENT_KEY: &str = "wk_test_stop_segment";
const RUDDER_KEY: &str = "wk_test_stop_rudder";
/// Requests that are answered before a stop, so that it comes in the middle of a load.
const LOAD: u64 = 200;
/// What a stop may take, whatever waits; beside it a moment for a busy machine.
const STOP_MAX: Duration = Duration::from_secs(5);

/// Both vendors and the place of the sidecar.
struct Scene {
    segment: Standin,
    rudder: Standin,
    config: PathBuf,
    log: PathBuf,
    port: u16,
    metrics_port: u16,
    dir: tempfile::TempDir,
}

impl Scene {
    /// `more` is added to the top of the configuration, `journal` to its table.
    async fn set(more: &str, journal: &str) -> Self {
        let seed = seed();
        println!("SEGUE_SEED={seed}");
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let options = |key| Options { keys: vec![Key::enabled(key)], keep: Keep::COMPACT, ..Options::default() };
        let segment = SegmentStandin::start(options(SEGMENT_KEY)).await.expect("Segment stands in");
        let rudder = RudderStandin::start(options(RUDDER_KEY)).await.expect("RudderStack stands in");
        let [port, metrics_port] = free_ports(seed ^ u64::from(segment.addr().port()));
        let config = dir.path().join("sidecar.toml");
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n{more}\n\
             [journal]\ndir = \"data\"\nsize_max = \"2GiB\"\n{journal}\n\
             [segment]\nurl = \"{segment}\"\neu_url = \"{segment}\"\ncdn_url = \"{segment}\"\ncdn_settings_url = \"{segment}\"\n\
             [segment.retry]\nfirst = \"20ms\"\nmax = \"200ms\"\n\
             [rudderstack]\nurl = \"{rudder}\"\n[rudderstack.retry]\nfirst = \"20ms\"\nmax = \"200ms\"\n\
             [[source]]\nname = \"app\"\nsegment_write_key = \"{SEGMENT_KEY}\"\nrudderstack_write_key = \"{RUDDER_KEY}\"\nroute = \"both\"\n",
            segment = segment.url(),
            rudder = rudder.url(),
        );
        fs::write(&config, text).expect("the configuration can be written");
        let log = dir.path().join("log");
        Self { segment, rudder, config, log, port, metrics_port, dir }
    }

    async fn start(&self) -> Process {
        let mut process = Process::run(&self.config, &self.log);
        ready(&mut process, self.metrics_port).await;
        process
    }

    fn watch(&self) -> Sums {
        Sums::watch(([127, 0, 0, 1], self.metrics_port).into())
    }

    /// Posts one event with so much beside it; gives the status.
    async fn post(&self, id: &str, padding: usize) -> Option<u16> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        exchange(&mut stream, &track(id, padding)).await.map(|answer| answer.status)
    }

    /// Waits until both vendors have so many events, each once or more.
    async fn both_have(&self, events: u64) -> [Counts; 2] {
        let mut all = Vec::new();
        for (vendor, standin) in [("segment", &self.segment), ("rudderstack", &self.rudder)] {
            match standin.wait_for(Duration::from_mins(3), |counts| counts.distinct >= events).await {
                Ok(counts) => all.push(counts),
                Err(counts) => panic!("{vendor} has {} of {events}: {counts:?}\n{}", counts.distinct, self.log()),
            }
        }
        all.try_into().expect("there are two")
    }

    async fn pending(&self) -> u64 {
        metric(&get(self.metrics_port, "/metrics").await.unwrap_or_default(), "segue_queue_events", &[])
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn track(id: &str, padding: usize) -> String {
    let body = format!(
        r#"{{"type":"track","event":"E","userId":"u-{id}","messageId":"{id}","writeKey":"{SEGMENT_KEY}","properties":{{"padding":"{}"}}}}"#,
        "x".repeat(padding)
    );
    post_of(&body)
}

fn post_of(body: &str) -> String {
    format!("POST /v1/track HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

struct Answer {
    status: u16,
    /// Whether the client was told to go.
    leave: bool,
}

/// Writes a request and reads its answer; None when the connection ends before that.
async fn exchange(stream: &mut TcpStream, request: &str) -> Option<Answer> {
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"}") {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    Some(Answer { status: text.split(' ').nth(1)?.parse().ok()?, leave: text.contains("connection: close") })
}

/// What the clients of a stop heard.
#[derive(Default)]
struct Heard {
    acked: AtomicU64,
    told_to_go: AtomicU64,
    unanswered: AtomicU64,
    other: AtomicU64,
    ending: AtomicBool,
}

impl Heard {
    fn note(&self, answer: Option<&Answer>) {
        let count = match answer {
            Some(Answer { status: 200, .. }) => &self.acked,
            Some(_) => &self.other,
            None => &self.unanswered,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if answer.is_some_and(|answer| answer.leave) {
            self.told_to_go.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A client that keeps its connection and sends one request after the other until it is told to go.
async fn faithful(port: u16, name: String, heard: Arc<Heard>) {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    for number in 0_u64.. {
        let answer = exchange(&mut stream, &track(&format!("{name}-{number}"), 100)).await;
        heard.note(answer.as_ref());
        if answer.is_none_or(|answer| answer.leave) {
            return;
        }
        sleep(Duration::from_millis(3)).await;
    }
}

/// A client that opens a connection for each request until nobody listens any more.
async fn fickle(port: u16, name: String, heard: Arc<Heard>) {
    for number in 0_u64.. {
        if heard.ending.load(Ordering::Relaxed) {
            return;
        }
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return };
        heard.note(exchange(&mut stream, &track(&format!("{name}-{number}"), 100)).await.as_ref());
        sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_answers_everybody_loses_nothing_and_repeats_nothing() {
    let rounds: u64 = std::env::var("SEGUE_SHUTDOWNS").map_or(3, |text| text.parse().expect("SEGUE_SHUTDOWNS is a number"));
    let scene = Scene::set("", "").await;
    let sums = scene.watch();
    let (mut acked, mut told_to_go) = (0, 0);
    for round in 0..rounds {
        let process = scene.start().await;
        let heard = Arc::new(Heard::default());
        let mut clients: Vec<_> =
            (0..12).map(|n| tokio::spawn(faithful(scene.port, format!("r{round}-k{n}"), Arc::clone(&heard)))).collect();
        clients.extend((0..4).map(|n| tokio::spawn(fickle(scene.port, format!("r{round}-f{n}"), Arc::clone(&heard)))));
        // One that only keeps a connection must not hold up the stop.
        let idle = TcpStream::connect(("127.0.0.1", scene.port)).await.expect("it listens");
        while heard.acked.load(Ordering::Relaxed) < LOAD {
            sleep(Duration::from_millis(5)).await;
        }
        process.signal(Signal::TERM);
        let asked = Instant::now();
        sleep(Duration::from_millis(200)).await;
        let unready = get(scene.metrics_port, "/readyz").await;
        assert!(unready.is_none(), "not ready once it stops: {unready:?}");
        heard.ending.store(round % 2 == 0, Ordering::Relaxed);
        let status = process.ended(STOP_MAX * 2).await;
        let took = asked.elapsed();
        assert!(status.success() && took < STOP_MAX, "{status} after {took:?}\n{}", scene.log());
        for client in clients {
            timeout(STOP_MAX, client).await.expect("every client is done").expect("and well");
        }
        drop(idle);
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        println!(
            "stopped after {took:?}: {} acknowledged, {} told to go, {} without an answer",
            count(&heard.acked),
            count(&heard.told_to_go),
            count(&heard.unanswered)
        );
        assert_eq!((count(&heard.unanswered), count(&heard.other)), (0, 0), "round {round}: a request sent was a request answered");
        assert!(count(&heard.told_to_go) >= 12, "the faithful are told to go");
        acked += count(&heard.acked);
        told_to_go += count(&heard.told_to_go);
    }
    let process = scene.start().await;
    for counts in scene.both_have(acked).await {
        assert_eq!((counts.distinct, counts.duplicates), (acked, 0), "a clean stop repeats nothing: {counts:?}");
    }
    println!("{acked} events in {rounds} lives, {told_to_go} times told to go");
    sums.held().await;
    assert!(process.stop(STOP_MAX * 2).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_and_dead_upstreams_hold_up_nothing_and_wait_for_the_next_start() {
    let megabytes: u64 = std::env::var("SEGUE_BACKLOG_MB").map_or(100, |text| text.parse().expect("SEGUE_BACKLOG_MB is a number"));
    let scene = Scene::set("", "").await;
    let sums = scene.watch();
    let dead = [&scene.segment, &scene.rudder].map(|standin| standin.faults().add(Rule::always(Fault::Hang)));
    let process = scene.start().await;
    // Batches of twenty events of 25 kB.
    let batches = megabytes * 2;
    for batch in 0..batches {
        let event = |n| {
            let padding = "x".repeat(24_800);
            format!(r#"{{"type":"track","event":"E","userId":"u{n}","messageId":"b{batch}-{n}","properties":{{"p":"{padding}"}}}}"#)
        };
        let events: Vec<String> = (0..20).map(event).collect();
        let body = format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, events.join(","));
        let mut stream = TcpStream::connect(("127.0.0.1", scene.port)).await.expect("it listens");
        let answer = exchange(&mut stream, &post_of(&body).replace("/v1/track", "/v1/batch")).await.expect("an answer");
        assert_eq!(answer.status, 200, "{}", scene.log());
    }
    let asked = Instant::now();
    let status = process.stop(STOP_MAX * 3).await;
    let took = asked.elapsed();
    println!("stopped after {took:?} with {megabytes} MB waiting");
    assert!(status.success() && took < STOP_MAX, "{status} after {took:?}\n{}", scene.log());
    assert!(scene.log().contains(&format!("\"events_left\":{}", batches * 40)), "{}", scene.log());
    scene.segment.faults().lift(dead[0]);
    scene.rudder.faults().lift(dead[1]);
    let process = scene.start().await;
    scene.both_have(batches * 20).await;
    sums.held().await;
    assert!(process.stop(STOP_MAX * 2).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ephemeral_directory_is_delivered_first_and_what_is_left_is_told() {
    // A backlog that is taken while it stops; then one that nobody takes.
    let scene = Scene::set("drain_timeout = \"15s\"", "ephemeral = true").await;
    let hanging = scene.rudder.faults().add(Rule::always(Fault::Hang));
    let sums = scene.watch();
    let process = scene.start().await;
    for number in 0..60 {
        assert_eq!(scene.post(&format!("m{number}"), 10).await, Some(200));
    }
    let asked = Instant::now();
    process.signal(Signal::TERM);
    sleep(Duration::from_millis(400)).await;
    assert!(scene.pending().await > 0, "it is still at it");
    assert!(get(scene.metrics_port, "/readyz").await.is_none(), "and not ready");
    scene.rudder.faults().lift(hanging);
    let status = process.ended(Duration::from_secs(30)).await;
    assert!(status.success() && asked.elapsed() < Duration::from_secs(14), "{status} after {:?}\n{}", asked.elapsed(), scene.log());
    assert_eq!((scene.segment.counts().distinct, scene.rudder.counts().distinct), (60, 60), "all of it, before it ended");
    sums.held().await;

    scene.rudder.faults().add(Rule::always(Fault::status(503)));
    let text = fs::read_to_string(&scene.config).expect("it was written").replace("\"15s\"", "\"2s\"");
    fs::write(&scene.config, text).expect("it can be written");
    let process = scene.start().await;
    for number in 100..110 {
        assert_eq!(scene.post(&format!("m{number}"), 10).await, Some(200));
    }
    let asked = Instant::now();
    let status = process.stop(Duration::from_secs(10)).await;
    let took = asked.elapsed();
    assert_eq!(status.code(), Some(124), "{}", scene.log());
    assert!((Duration::from_millis(1_300)..Duration::from_secs(4)).contains(&took), "{took:?}");
    assert_eq!(scene.segment.counts().distinct, 70, "the other leg was drained");
    let log = scene.log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("undelivered_at_exit")).collect();
    assert!(told.len() == 1 && told[0].contains("rudderstack") && told[0].contains("\"events\":10"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_signal_does_what_the_readme_says_and_loses_nothing() {
    let scene = Scene::set("", "ephemeral = true").await;
    let hanging = scene.rudder.faults().add(Rule::always(Fault::Hang));
    let (mut number, patience) = (0, Duration::from_secs(8));
    // What is sent, how it ends. The drain would take 25 s: a second signal ends it at once.
    let table: [(&[Signal], i32); 4] = [
        (&[Signal::TERM, Signal::TERM], 143),
        (&[Signal::INT, Signal::INT], 130),
        (&[Signal::HUP, Signal::QUIT], 131),
        (&[Signal::TERM, Signal::HUP, Signal::QUIT], 131),
    ];
    for (signals, code) in table {
        let process = scene.start().await;
        assert_eq!(scene.post(&format!("m{number}"), 10).await, Some(200));
        number += 1;
        for signal in signals {
            process.signal(*signal);
            sleep(Duration::from_millis(300)).await;
        }
        let asked = Instant::now();
        let status = process.ended(patience).await;
        assert_eq!(status.code(), Some(code), "{signals:?}: {status}\n{}", scene.log());
        assert!(asked.elapsed() < Duration::from_secs(2), "{signals:?}: {:?}", asked.elapsed());
    }
    scene.rudder.faults().lift(hanging);
    let process = scene.start().await;
    let counts = scene.both_have(number).await;
    println!("after {number} ends without a farewell: {:?} copies", counts.map(|counts| counts.duplicates));
    process.signal(Signal::INT);
    let status = process.ended(patience).await;
    assert_eq!(status.code(), Some(0), "one ctrl-c is a stop in order: {}", scene.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reads_the_log_may_go_away() {
    let scene = Scene::set("", "").await;
    let mut child = process::command()
        .args(["run", "--config"])
        .arg(&scene.config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("segue starts");
    // `segue run 2>&1 | head -1`
    let mut first = std::io::BufReader::new(child.stderr.take().expect("it is piped"));
    std::io::BufRead::read_line(&mut first, &mut String::new()).expect("a line");
    drop(first);
    let pid = rustix::process::Pid::from_child(&child);
    let signal = |signal| rustix::process::kill_process(pid, signal).expect("it can be signalled");
    let deadline = Instant::now() + Duration::from_secs(20);
    while get(scene.metrics_port, "/readyz").await.is_none() {
        assert!(Instant::now() < deadline && child.try_wait().expect("its state").is_none(), "it is not ready");
        sleep(Duration::from_millis(20)).await;
    }
    for number in 0..5 {
        // Each of these is logged, to nobody.
        signal(Signal::HUP);
        sleep(Duration::from_millis(50)).await;
        assert_eq!(scene.post(&format!("m{number}"), 10).await, Some(200), "it goes on");
    }
    scene.both_have(5).await;
    signal(Signal::TERM);
    let status = tokio::task::spawn_blocking(move || child.wait()).await.expect("it ends").expect("its state");
    assert!(status.success(), "{status}");
}

/// P10: a pause is neither an outage nor a reason to send anything twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_stood_still_goes_on_as_if_nothing_had_been() {
    let scene = Scene::set("", "").await;
    let sums = scene.watch();
    for standin in [&scene.segment, &scene.rudder] {
        standin.faults().add(Rule::always(Fault::slow(Duration::from_millis(100))));
    }
    let mut process = scene.start().await;
    let heard = Arc::new(Heard::default());
    let clients: Vec<_> = (0..8).map(|n| tokio::spawn(fickle(scene.port, format!("f{n}"), Arc::clone(&heard)))).collect();
    for _ in 0..2 {
        sleep(Duration::from_millis(400)).await;
        process.signal(Signal::STOP);
        sleep(Duration::from_secs(3)).await;
        process.signal(Signal::CONT);
    }
    sleep(Duration::from_millis(400)).await;
    heard.ending.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.expect("it ends well");
    }
    let acked = heard.acked.load(Ordering::Relaxed);
    assert_eq!((heard.unanswered.load(Ordering::Relaxed), heard.other.load(Ordering::Relaxed)), (0, 0));
    for counts in scene.both_have(acked).await {
        assert_eq!((counts.distinct, counts.duplicates), (acked, 0), "{counts:?}");
    }
    let page = get(scene.metrics_port, "/metrics").await.expect("the metrics");
    println!("{acked} events around two pauses of 3 s; {} retries", metric(&page, "segue_delivery_retries_total", &[]));
    assert_eq!(metric(&page, "segue_delivery_retries_total", &[]), 0, "no false alarm");
    assert_eq!(metric(&page, "segue_circuit_open", &[]), 0);
    process.assert_running();
    sums.held().await;
    assert!(process.stop(STOP_MAX * 2).await.success());
    drop(scene.dir);
}
