//! kill -9, again and again, under load, with an oracle that survives: this process plays both vendors and the app, and the
//! sidecar is its child.
//!
//! What the app was told is stored must arrive at both vendors, each person's events in their order, and the copies that a
//! crash makes must stay within the window that the settings allow. kill -9 does not prove fsync (the page cache survives);
//! the journal's own crash model does.
//!
//! `SEGUE_KILLS` sets the number of kills (100), `SEGUE_SEED` repeats a run.

#![expect(clippy::panic, reason = "a story that cannot go on fails, with what the sidecar said")]

mod process;
mod sums;

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use process::{Process, free_ports, get, metric, seed};
use segue::{
    journal::UNSAVED_COMPLETIONS_MAX,
    standin::{Keep, Key, Options, RudderStandin, SegmentStandin, Sighting, Standin},
};
use sums::Sums;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SEGMENT_KEY: &str = "wk_test_kill_segment";
const RUDDER_KEY: &str = "wk_test_kill_rudder";
/// Connections of the app, each with people of its own.
const WORKERS: u64 = 24;
/// People of one worker.
const PEOPLE: u64 = 8;
/// Events of one request: 1 to this.
const ENVELOPE_EVENTS_MAX: u64 = 7;
/// What the app asks for; the story demands [`RATE_MIN`].
const RATE_WISHED: u64 = 3_600;
/// Events acknowledged per second of the sidecar's life, at least.
const RATE_MIN: u128 = 2_000;
const IN_FLIGHT_MAX: u64 = 16;
const BATCH_EVENTS_MAX: u64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_event_is_lost_to_a_hundred_kills() {
    let kills: u64 = std::env::var("SEGUE_KILLS").map_or(100, |text| text.parse().expect("SEGUE_KILLS is a number"));
    let seed = seed();
    println!("SEGUE_SEED={seed} SEGUE_KILLS={kills}");
    let mut random = Random(seed);
    let scene = Scene::set(seed).await;
    let app = Arc::new(App { port: scene.port, ..App::default() });
    let workers: Vec<_> = (0..WORKERS).map(|worker| tokio::spawn(work(Arc::clone(&app), worker, Random(seed ^ (worker + 1))))).collect();

    let sums = Sums::watch(([127, 0, 0, 1], scene.metrics_port).into());
    let mut story = Story::default();
    for round in 0..kills {
        let mut process = Process::run(&scene.config, &scene.log);
        // One in ten dies while it recovers.
        if round % 10 == 9 {
            tokio::time::sleep(Duration::from_millis(random.below(60))).await;
        } else {
            let acked = app.acked.load(Ordering::Relaxed);
            first_ack(&app, acked, &mut process).await;
            let (from, acked) = (Instant::now(), app.acked.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_millis(50 + random.below(1_451))).await;
            story.alive += from.elapsed();
            story.acked_alive += app.acked.load(Ordering::Relaxed) - acked;
        }
        let resent = app.resent.load(Ordering::Relaxed);
        process.kill();
        story.kills.push(Kill { at: scene.segment_now(), resent });
    }

    // The last life: the app finishes what it had begun, and everything drains.
    let mut process = Process::run(&scene.config, &scene.log);
    first_ack(&app, app.acked.load(Ordering::Relaxed), &mut process).await;
    app.ending.store(true, Ordering::Relaxed);
    let mut made = HashMap::new();
    for worker in workers {
        made.extend(worker.await.expect("a worker ends well"));
    }
    story.resent = app.resent.load(Ordering::Relaxed);
    let total: u64 = made.values().sum();
    assert_eq!(total, app.acked.load(Ordering::Relaxed), "the app ended with everything acknowledged");
    scene.drained(total, &mut process).await;
    story.check(&scene, &made, &app);
    scene.check_ledger(total, story.resent).await;
    sums.held().await;
    let status = process.stop(Duration::from_secs(15)).await;
    assert!(status.success(), "segue ended with {status}");
}

/// Waits until the app hears success again.
async fn first_ack(app: &App, acked: u64, process: &mut Process) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while app.acked.load(Ordering::Relaxed) == acked {
        process.assert_running();
        assert!(Instant::now() < deadline, "no success within 30 s of the start:\n{}", process.said());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Both vendors and the place of the sidecar.
struct Scene {
    segment: Standin,
    rudder: Standin,
    config: PathBuf,
    log: PathBuf,
    port: u16,
    metrics_port: u16,
    clock: segue::clock::Clock,
    _dir: tempfile::TempDir,
}

impl Scene {
    async fn set(seed: u64) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let clock = segue::clock::Clock::system();
        let options = |key| Options { keys: vec![Key::enabled(key)], keep: Keep::COMPACT, clock: clock.clone(), ..Options::default() };
        let segment = SegmentStandin::start(options(SEGMENT_KEY)).await.expect("Segment stands in");
        let rudder = RudderStandin::start(options(RUDDER_KEY)).await.expect("RudderStack stands in");
        let [port, metrics_port] = free_ports(seed);
        let config = dir.path().join("sidecar.toml");
        // Small volumes, so that kills meet their changes too.
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n\
             [journal]\ndir = \"data\"\nsize_max = \"512MiB\"\nvolume_size = \"2MiB\"\nkeep_delivered = \"1s\"\n[limits]\nbody_bytes_max = \"1MiB\"\ninflated_bytes_max = \"1MiB\"\n\
             [segment]\nurl = \"{segment}\"\neu_url = \"{segment}\"\ncdn_url = \"{segment}\"\ncdn_settings_url = \"{segment}\"\n\
             in_flight_max = {IN_FLIGHT_MAX}\n\
             [segment.retry]\nfirst = \"20ms\"\nmax = \"200ms\"\n\
             [rudderstack]\nurl = \"{rudder}\"\nin_flight_max = {IN_FLIGHT_MAX}\n\
             [rudderstack.retry]\nfirst = \"20ms\"\nmax = \"200ms\"\n\
             [rudderstack.batch]\nevents_max = {BATCH_EVENTS_MAX}\n\
             [[source]]\nname = \"app\"\nsegment_write_key = \"{SEGMENT_KEY}\"\nrudderstack_write_key = \"{RUDDER_KEY}\"\nroute = \"both\"\n",
            segment = segment.url(),
            rudder = rudder.url(),
        );
        fs::write(&config, text).expect("the configuration can be written");
        let log = dir.path().join("log");
        Self { segment, rudder, config, log, port, metrics_port, clock, _dir: dir }
    }

    fn segment_now(&self) -> i64 {
        self.clock.now().as_millis()
    }

    fn vendors(&self) -> [(&'static str, &Standin, u64); 2] {
        let segment = IN_FLIGHT_MAX * ENVELOPE_EVENTS_MAX;
        let rudder = IN_FLIGHT_MAX * BATCH_EVENTS_MAX;
        [("segment", &self.segment, segment), ("rudderstack", &self.rudder, rudder)]
    }

    async fn drained(&self, total: u64, process: &mut Process) {
        for (vendor, standin, _) in self.vendors() {
            if let Err(counts) = standin.wait_for(Duration::from_mins(1), |counts| counts.distinct >= total).await {
                panic!("{vendor} has {} of {total} events: {counts:?}\n{}", counts.distinct, process.said());
            }
        }
        process.assert_running();
    }

    /// The sums hold after all those lives.
    async fn check_ledger(&self, total: u64, resent: u64) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let text = get(self.metrics_port, "/metrics").await.expect("the metrics");
            let ends = ["delivered", "quarantined", "deduplicated", "suppressed", "expired", "purged"];
            let mut pending = 0;
            for (vendor, _, _) in self.vendors() {
                let of = |name: &str| metric(&text, name, &[("destination", vendor)]);
                let planned = of("segue_events_planned_total");
                let waiting = of("segue_queue_events");
                let ended: u64 = ends.iter().map(|end| of(&format!("segue_events_{end}_total"))).sum();
                assert_eq!(planned, ended + waiting, "{vendor}: planned; ended {ended}, waiting {waiting}\n{text}");
                assert!((total..=total + resent).contains(&planned), "{vendor}: {planned} planned, of {total} and {resent} again\n{text}");
                pending += waiting;
            }
            if pending == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "still waiting: {pending}\n{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// What happened, for the judgement at the end.
#[derive(Default)]
struct Story {
    kills: Vec<Kill>,
    alive: Duration,
    acked_alive: u64,
    resent: u64,
}

/// When a kill was, and what the app had sent again by then.
struct Kill {
    at: i64,
    resent: u64,
}

impl Story {
    fn check(&self, scene: &Scene, made: &HashMap<String, u64>, app: &App) {
        let rate = u128::from(self.acked_alive) * 1_000 / self.alive.as_millis().max(1);
        println!(
            "{} kills in {:.1} s of life, {rate} events/s acknowledged, {} in all, {} sent again by the app, {} answers of 429 or 503",
            self.kills.len(),
            self.alive.as_secs_f64(),
            app.acked.load(Ordering::Relaxed),
            self.resent,
            app.refused.load(Ordering::Relaxed)
        );
        for (vendor, standin, in_flight) in scene.vendors() {
            let window = UNSAVED_COMPLETIONS_MAX + in_flight;
            self.check_vendor(vendor, standin, window, made);
        }
        assert!(self.alive.is_zero() || rate >= RATE_MIN, "{rate} events/s is no load");
    }

    /// Nothing is missing, everybody's events came in their order, copies are few.
    fn check_vendor(&self, vendor: &str, standin: &Standin, window: u64, made: &HashMap<String, u64>) {
        let mut next: HashMap<&str, u64> = HashMap::new();
        let mut copies = vec![0_u64; self.kills.len() + 1];
        let taken = standin.taken().events;
        for event in &taken {
            let (person, number) = event.message_id.rsplit_once('-').expect("the app's ids have a number");
            let life = self.kills.partition_point(|kill| kill.at < event.at.as_millis());
            if event.sighting == Sighting::Again {
                copies[life] += 1;
                continue;
            }
            let due = next.entry(person).or_insert(0);
            assert_eq!(number.parse(), Ok(*due), "{vendor}: {} came when {person}-{due} was due", event.message_id);
            *due += 1;
        }
        for (person, count) in made {
            assert_eq!(next.get(person.as_str()).copied().unwrap_or(0), *count, "{vendor}: events of {person}");
        }
        let resent = |life: usize| if life == 0 { 0 } else { self.kills[life - 1].resent };
        let resent_after = |life: usize| self.kills.get(life).map_or(self.resent, |kill| kill.resent);
        println!(
            "{vendor}: {} events, {} copies, at most {} in one life; a crash may make {window}",
            taken.len(),
            copies.iter().sum::<u64>(),
            copies.iter().max().unwrap_or(&0)
        );
        for (life, copies) in copies.iter().enumerate() {
            // What the app sent again in this life or the one before may still have been on its way.
            let again = resent_after(life) - resent(life.saturating_sub(1));
            assert!(*copies <= window + again, "{vendor}: {copies} copies in life {life}, {window} allowed and {again} sent again");
        }
    }
}

/// What all workers share.
#[derive(Default)]
struct App {
    port: u16,
    acked: AtomicU64,
    resent: AtomicU64,
    refused: AtomicU64,
    ending: AtomicBool,
}

/// One connection's worth of app: it makes events for its people, and sends each request until it hears success, as SDKs do.
/// Gives how many events each of its people made.
async fn work(app: Arc<App>, worker: u64, mut random: Random) -> HashMap<String, u64> {
    let mut made: HashMap<String, u64> = HashMap::new();
    let mut connection = None;
    let mut pace = tokio::time::interval(Duration::from_micros(1_000_000 * WORKERS * (ENVELOPE_EVENTS_MAX + 1) / 2 / RATE_WISHED));
    // After a kill it does not make up for the time lost.
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !app.ending.load(Ordering::Relaxed) {
        pace.tick().await;
        let count = 1 + random.below(ENVELOPE_EVENTS_MAX);
        let mut events = Vec::new();
        for _ in 0..count {
            let person = format!("w{worker}p{}", random.below(PEOPLE));
            let number = made.entry(person.clone()).or_insert(0);
            events.push(format!(
                r#"{{"type":"track","event":"Step","userId":"{person}","anonymousId":"a-{person}","messageId":"{person}-{number}","timestamp":"2026-01-02T03:04:05.678Z","properties":{{"number":{number},"padding":"{}"}}}}"#,
                "x".repeat(usize::try_from(random.below(300)).expect("it is small"))
            ));
            *number += 1;
        }
        let body = format!(r#"{{"batch":[{}],"sentAt":"2026-01-02T03:04:05.679Z","writeKey":"{SEGMENT_KEY}"}}"#, events.join(","));
        let request = format!(
            "POST /v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        while !send(&app, &mut connection, request.as_bytes()).await {
            app.resent.fetch_add(count, Ordering::Relaxed);
        }
        app.acked.fetch_add(count, Ordering::Relaxed);
    }
    made
}

/// Sends one request, connecting first where that is needed. True only for a whole answer that says success.
async fn send(app: &App, connection: &mut Option<TcpStream>, request: &[u8]) -> bool {
    if connection.is_none() {
        loop {
            match TcpStream::connect(("127.0.0.1", app.port)).await {
                Ok(stream) => {
                    stream.set_nodelay(true).expect("a socket takes options");
                    *connection = Some(stream);
                    break;
                }
                // Nothing was sent, so nothing is sent again.
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }
    let stream = connection.as_mut().expect("it was just made");
    let answer = tokio::time::timeout(Duration::from_secs(10), async {
        stream.write_all(request).await.ok()?;
        read_answer(stream).await
    });
    match answer.await.ok().flatten() {
        Some((200, body)) => {
            assert_eq!(body, br#"{"success":true}"#, "a 200 in Segment's words");
            true
        }
        Some((429 | 503, _)) => {
            app.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
            false
        }
        Some((status, body)) => panic!("{status}: {}", String::from_utf8_lossy(&body)),
        None => {
            *connection = None;
            false
        }
    }
}

/// Status and body of an answer with a Content-Length; None when the connection ends before it is whole.
async fn read_answer(stream: &mut TcpStream) -> Option<(u16, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let head_end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = head_end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let status = head.split(' ').nth(1)?.parse().ok()?;
            let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length:"))?.trim().parse().ok()?;
            if bytes.len() >= end + 4 + length {
                return Some((status, bytes[end + 4..].to_vec()));
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// A small generator (splitmix64): a seed repeats the story's choices.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
