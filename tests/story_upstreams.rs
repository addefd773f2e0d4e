//! Hostile upstreams through the whole sidecar (reliability.md U1 to U11): whatever RudderStack's side does, Segment's leg goes on,
//! memory stays bounded, nothing is sent over a handshake that fails, and all arrives once, when it is sane again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod front;
mod stage;
mod sums;
mod upstream_stage;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use front::{CONTINUATION, DATA, END_HEADERS, END_STREAM, Front, GOAWAY, HEADERS, Mood, PING, RST_STREAM, SETTINGS, chain, frame};
use rcgen::{CertificateParams, KeyPair};
use segue::{
    app::Sidecar,
    clock::Clock,
    model::Destination,
    standin::{Fault, Rule},
    upstream::Settings,
};
use stage::{SEGMENT_KEY, Stage, ids, source};
use sums::Sums;
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep},
};
use upstream_stage::{Authority, server_config};

const EVENTS: usize = 20;
/// Scenes at a time.
const SIDE_BY_SIDE: usize = 6;
/// What one connection may take of a flood: the buffers of both systems, and what is read before it is cut.
const SWALLOWED_MAX: u64 = 16 << 20;
const MEMORY_GROWTH_KIB_MAX: u64 = 96 << 10;

type Making = Box<dyn FnOnce(&Authority) -> Mood + Send>;

/// One way to misbehave.
struct Scene {
    what: &'static str,
    mood: Making,
    /// How an attempt is counted, one of these.
    codes: &'static [&'static str],
}

fn scene(what: &'static str, codes: &'static [&'static str], mood: impl FnOnce(&Authority) -> Mood + Send + 'static) -> Scene {
    Scene { what, codes, mood: Box::new(mood) }
}

fn track(id: &str, key: &str) -> String {
    format!(r#"{{"type":"track","event":"E","userId":"u-{id}","messageId":"{id}","writeKey":"{key}"}}"#)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// One test at a time: what one measures of this process's memory, another must not have taken.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Plays a scene to its good end; gives the most that one connection swallowed.
async fn play(Scene { what, mood, codes }: Scene) -> u64 {
    let mut stage = Stage::with(|config| config.delivery.park_probe = Duration::from_millis(200)).await;
    let front = Front::before(stage.rudder.addr(), mood).await;
    let toward = Settings {
        url: front.url.clone(),
        extra_roots: vec![front.authority.der.clone()],
        timeout: Duration::from_millis(700),
        connect_timeout: Duration::from_millis(700),
        ..Settings::default()
    };
    stage.config.rudderstack = Some(toward);
    stage.restart().await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    for number in 0..EVENTS {
        assert_eq!(stage.post("/v1/track", &track(&format!("m{number}"), SEGMENT_KEY)).await.status, 200, "{what}");
    }
    until(&format!("{what}: Segment has all"), || ids(&stage.segment_events()).len() == EVENTS).await;
    until(&format!("{what}: it was tried"), || front.struck() >= 2).await;
    let counted = |code| format!("segue_delivery_attempts_total{{destination=\"rudderstack\",code=\"{code}\"}}");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let page = stage.metrics().await;
        if codes.iter().any(|code| page.contains(&counted(code))) {
            break;
        }
        assert!(Instant::now() < deadline, "{what}: no attempt ended as {codes:?}\n{page}");
        sleep(Duration::from_millis(50)).await;
    }
    let waiting: u64 =
        stage.sidecar().ledger().iter().filter(|(lane, _)| lane.destination == Destination::RudderStack).map(|(_, l)| l.pending).sum();
    assert_eq!((waiting, stage.rudder.counts().requests), (EVENTS as u64, 0), "{what}: everything is kept, nothing came through");
    assert_eq!(front.seen.leaked.load(Ordering::Relaxed), 0, "{what}: nothing is said before the other side has proved itself");
    let swallowed = front.seen.swallowed_max.load(Ordering::Relaxed);
    assert!(swallowed < SWALLOWED_MAX, "{what}: {swallowed} bytes on one connection");

    let timeouts = timeouts(&stage.metrics().await);
    front.be_honest();
    stage.drained().await;
    let (counts, late) = (stage.rudder.counts(), self::timeouts(&stage.metrics().await) - timeouts);
    // A machine too busy to answer in time makes honest copies; nothing else may.
    assert!(counts.distinct == EVENTS as u64 && (counts.duplicates == 0 || late > 0), "{what}: all of it, once: {counts:?}, {late} late");
    sums.held().await;
    stage.sidecar.take().unwrap().stop().await;
    println!("{what}: {} attempts, ended as {codes:?}, at most {swallowed} bytes swallowed", front.struck());
    swallowed
}

/// Requests to RudderStack that got no answer in time.
fn timeouts(page: &str) -> u64 {
    let series = r#"segue_delivery_attempts_total{destination="rudderstack",code="timeout"} "#;
    let value = page.lines().find_map(|line| line.strip_prefix(series));
    value.map_or(0, |value| value.trim_end_matches(".0").parse().unwrap())
}

async fn play_all(scenes: Vec<Scene>) {
    let memory = memory_kib();
    let (mut running, mut waiting) = (JoinSet::new(), scenes.into_iter());
    loop {
        while running.len() < SIDE_BY_SIDE
            && let Some(scene) = waiting.next()
        {
            running.spawn(play(scene));
        }
        match running.join_next().await {
            None => break,
            Some(played) => {
                if let Err(failed) = played {
                    std::panic::resume_unwind(failed.into_panic());
                }
            }
        }
    }
    let grown = memory_kib().saturating_sub(memory);
    println!("memory grew by {grown} KiB");
    assert!(grown < MEMORY_GROWTH_KIB_MAX, "{grown} KiB");
}

fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_answered_over_http1_everything_arrives_once_it_is_sane() {
    let _turn = TURN.lock().await;
    let say = |text: &str| text.as_bytes().to_vec();
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let location = format!("HTTP/1.1 307 Go\r\nLocation: http://{}/v1/batch\r\nContent-Length: 0\r\n\r\n", elsewhere.local_addr().unwrap());
    let h1 = |once: Vec<u8>, again: Vec<u8>| move |_: &Authority| Mood::H1(once, again);
    let close = |words: Vec<u8>| move |_: &Authority| Mood::H1Close(words);
    let ten_gb = |more: &str| say(&format!("HTTP/1.1 503 Busy\r\nContent-Length: 10000000000\r\n{more}\r\n"));
    play_all(vec![
        scene("a storm of 500", &["500"], h1(say("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"), Vec::new())),
        scene("a short body", &["bad_answer"], close(say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"))),
        scene("an over-long body", &["timeout"], h1(say("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nok"), Vec::new())),
        scene("two lengths", &["bad_answer"], close(say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok"))),
        scene("garbage for a chunk", &["bad_answer"], h1(say(&format!("{chunked}2\r\nok\r\nzz\r\n")), Vec::new())),
        scene("an upgrade", &["bad_answer"], close(say("HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"))),
        scene("hints for ever", &["timeout"], h1(Vec::new(), say("HTTP/1.1 103 Early Hints\r\n\r\n"))),
        scene("a redirect", &["307"], h1(location.into_bytes(), Vec::new())),
        scene("a head that drips", &["timeout"], move |_| Mood::H1Drip(say("HTTP/1.1 200 OK\r\nx: y"))),
        scene("a head without end", &["bad_answer"], h1(say("HTTP/1.1 200 OK\r\n"), say("x-long: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"))),
        scene("ten gigabytes", &["503"], h1(ten_gb(""), vec![b'x'; 64 << 10])),
        scene("a gzip bomb", &["503"], h1(ten_gb("Content-Encoding: gzip\r\n"), vec![0x1f; 64 << 10])),
        scene("nothing at all", &["closed"], close(Vec::new())),
    ])
    .await;
    let followed = tokio::time::timeout(Duration::from_millis(50), elsewhere.accept()).await;
    assert!(followed.is_err(), "the redirect was followed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_answered_over_http2_everything_arrives_once_it_is_sane() {
    let _turn = TURN.lock().await;
    let setting = |id: u16, value: u32| frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let plain = || frame(SETTINGS, 0, 0, &[]);
    let leave = |last: u32, reason: u32| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat());
    let h2 = |greeting: Vec<u8>, once: Vec<u8>, again: Vec<u8>| move |_: &Authority| Mood::H2(greeting, once, again);
    let hint = b"\x08\x03103";
    play_all(vec![
        scene("it takes its leave at once", &["closed"], h2(plain(), leave(0, 0), Vec::new())),
        scene("it leaves in anger", &["closed"], h2(plain(), leave(0, 11), Vec::new())),
        scene("every stream refused", &["closed"], h2(plain(), frame(RST_STREAM, 0, 1, &7_u32.to_be_bytes()), Vec::new())),
        scene("no streams allowed", &["timeout"], h2(setting(3, 0), Vec::new(), Vec::new())),
        scene("one stream, and silence", &["timeout"], h2(setting(3, 1), Vec::new(), Vec::new())),
        scene("no window to send in", &["timeout"], h2(setting(4, 0), Vec::new(), Vec::new())),
        scene("pings for ever", &["timeout", "closed"], h2(plain(), Vec::new(), frame(PING, 0, 0, &[0; 8]))),
        scene("settings for ever", &["timeout", "closed"], h2(plain(), Vec::new(), plain())),
        scene("hints for ever", &["timeout", "closed"], h2(plain(), Vec::new(), frame(HEADERS, END_HEADERS, 1, hint))),
        scene("a head for ever", &["closed"], h2(plain(), frame(HEADERS, 0, 1, b"\x88"), frame(CONTINUATION, 0, 1, b"\x0f\x0d\x015"))),
        scene("a body before its head", &["closed"], h2(plain(), frame(DATA, END_STREAM, 1, b"ok"), Vec::new())),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_fails_gets_nothing_and_everything_is_kept() {
    let _turn = TURN.lock().await;
    let certificate = |change: fn(&mut CertificateParams)| move |known: &Authority| Mood::Certificate(Arc::new(known.server(change)));
    let key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let own = Arc::new(server_config(own.der().to_vec(), &key));
    let stranger = Arc::new(Authority::new().server(|_| {}));
    // A ServerHello of TLS 1.1 that chooses TLS_RSA_WITH_AES_128_CBC_SHA.
    let hello = [&[2, 0, 0, 38, 3, 2][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
    let old = [&[22, 3, 2, 0, u8::try_from(hello.len()).unwrap()][..], &hello].concat();
    play_all(vec![
        scene("an expired certificate", &["tls"], certificate(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))),
        scene("one not yet valid", &["tls"], certificate(|params| params.not_before = rcgen::date_time_ymd(2090, 1, 1))),
        scene("one for another host", &["tls"], certificate(|params| params.subject_alt_names.clear())),
        scene("one signed by itself", &["tls"], move |_| Mood::Certificate(own)),
        scene("one of an unknown CA", &["tls"], move |_| Mood::Certificate(stranger)),
        scene("a chain of a hundred", &["tls"], |known| Mood::Certificate(Arc::new(chain(known, 100)))),
        scene("TLS 1.1", &["tls"], move |_| Mood::Hello(old)),
        scene("no TLS at all", &["tls"], |_| Mood::Hello(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec())),
        scene("silence", &["timeout"], |_| Mood::Silent),
    ])
    .await;
}

/// U10: what was taken and not confirmed is sent again under the same ids, and nothing else is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_without_an_answer_comes_twice_and_nothing_else_does() {
    let _turn = TURN.lock().await;
    let stage = Stage::with(|config| config.delivery.batch.events_max = 1).await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let faults = [Fault::TakeThenClose, Fault::CloseAfterHeaders, Fault::CutBody];
    for (number, fault) in (0..300).step_by(5).zip(faults.iter().cycle()) {
        for vendor in [&stage.segment, &stage.rudder] {
            vendor.faults().add(Rule::next(1, fault.clone()).for_message(format!("m{number}")));
        }
    }
    for number in 0..300 {
        assert_eq!(stage.post("/v1/track", &track(&format!("m{number}"), SEGMENT_KEY)).await.status, 200);
    }
    stage.drained().await;
    for (vendor, standin) in [("segment", &stage.segment), ("rudderstack", &stage.rudder)] {
        let counts = standin.counts();
        assert_eq!((counts.distinct, counts.duplicates), (300, 60), "{vendor}: {counts:?}");
        let taken = standin.taken().events;
        for event in taken.iter().filter(|event| event.sighting == segue::standin::Sighting::Again) {
            let number: usize = event.message_id.trim_start_matches('m').parse().unwrap();
            assert_eq!(number % 5, 0, "{vendor}: {} came twice", event.message_id);
        }
    }
    sums.held().await;
}

/// U1: what one key is told holds for its lane alone, never shorter than asked, and across a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_form_of_retry_after_is_honoured_by_its_lane_alone() {
    const NAMES: [&str; 9] = ["seconds", "date", "past", "zero", "minus", "garbage", "absent", "for-ever", "healthy"];
    let _turn = TURN.lock().await;
    let key = |name: &str| format!("wk_test_{name}");
    let sources = NAMES.map(|name| source(name, &key(name), &format!("wk_test_rudder_{name}"), "segment-only")).to_vec();
    let mut stage = Stage::at(Clock::system(), |config| config.sources = sources).await;
    let now_ms = stage.clock.now().as_millis();
    let date = |seconds: i64| {
        let at = jiff::Timestamp::from_millisecond(now_ms + seconds * 1_000).unwrap();
        Some(at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    };
    let text = |text: &str| Some(text.to_owned());
    // What is asked of each, and the least wait in milliseconds; None: it is not over here. A date has whole seconds.
    let asked = [text("3"), date(4), date(-100), text("0"), text("-1"), text("soon"), None, text("1000000000"), None];
    let least = [Some(2_990), Some(2_000), Some(990), Some(990), Some(0), Some(0), Some(0), None, Some(0)];
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    for (name, asked) in NAMES.iter().zip(asked).filter(|(name, _)| **name != "healthy") {
        // Segment's 429 always says how long; a 503 need not.
        let status = if asked.is_some() { 429 } else { 503 };
        stage.segment.faults().add(Rule::next(1, Fault::Status { status, retry_after: asked, body: None }).for_key(key(name)));
    }
    let posted = stage.clock.now();
    for name in NAMES {
        assert_eq!(stage.post("/v1/track", &track(name, &key(name))).await.status, 200);
    }
    until("all but one have arrived", || stage.segment.counts().distinct == NAMES.len() as u64 - 1).await;
    let events = stage.segment_events();
    let waited = |name: &str| events.iter().find(|event| &*event.message_id == name).unwrap().at.millis_since(posted);
    for (name, least) in NAMES.iter().zip(least) {
        let Some(least) = least else { continue };
        println!("{name}: {} ms", waited(name));
        assert!((least..15_000).contains(&waited(name)), "{name}: {} ms, not {least}", waited(name));
    }
    for patient in ["seconds", "date", "past", "zero"] {
        assert!(waited("healthy") < waited(patient), "the healthy lane waits for nobody");
    }
    let deferred = r#"segue_lane_deferred{source="for-ever",destination="segment"} 1.0"#;
    assert!(stage.metrics().await.contains(deferred));
    sums.held().await;
    stage.restart().await;
    let requests = stage.segment.counts().requests;
    sleep(Duration::from_millis(500)).await;
    assert_eq!(stage.segment.counts().requests, requests, "a restart is no way around it");
    assert!(stage.metrics().await.contains(deferred), "and it is known");
    // The longest that is honoured is a quarter of an hour, by the wall clock.
    stage.sidecar.take().unwrap().stop().await;
    stage.clock.advance_ms(15 * 60 * 1_000);
    stage.sidecar = Some(Sidecar::start_with(stage.config.clone(), stage.clock.clone()).await.unwrap());
    stage.drained().await;
    assert_eq!(stage.segment.counts().distinct, NAMES.len() as u64);
}

/// K1: a wall clock that jumps moves no timer, expires nothing and breaks nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_makes_no_storm_and_loses_nothing() {
    const DAY_MS: i64 = 86_400_000;
    let _turn = TURN.lock().await;
    let stage = Stage::with_route("both").await;
    let sums = Sums::watch(stage.sidecar().metrics_address().unwrap());
    let both = [&stage.segment, &stage.rudder];
    let mut posted = 0_u64;
    for (what, jump_ms) in
        [("30 days on", 30 * DAY_MS), ("2 hours back", -DAY_MS / 12), ("10 years back", -3_650 * DAY_MS), ("home", 3_620 * DAY_MS)]
    {
        let before = both.map(|vendor| vendor.counts().requests);
        let down = both.map(|vendor| vendor.faults().add(Rule::always(Fault::status_retry_after(503, "1"))));
        for number in 0..20 {
            assert_eq!(stage.post("/v1/track", &track(&format!("{what}-{number}"), SEGMENT_KEY)).await.status, 200, "{what}");
            posted += 1;
            if number == 10 {
                stage.clock.advance_ms(jump_ms);
            }
        }
        sleep(Duration::from_millis(700)).await;
        for (vendor, rule) in both.iter().zip(down) {
            vendor.faults().lift(rule);
        }
        stage.drained().await;
        for ((vendor, before), name) in both.iter().zip(before).zip(["segment", "rudderstack"]) {
            let counts = vendor.counts();
            let requests = counts.requests - before;
            println!("{what}: {requests} requests to {name}");
            assert!(requests <= 20 + 16 + 20, "{what}: {requests} requests to {name} for 20 events");
            assert_eq!((counts.distinct, counts.duplicates), (posted, 0), "{what}: {name}");
        }
    }
    for (lane, ledger) in stage.sidecar().ledger() {
        assert_eq!((ledger.delivered, ledger.expired, ledger.quarantined), (posted, 0, 0), "{lane}");
    }
    assert!(stage.metrics().await.contains("segue_lane_restarts_total 0.0"));
    sums.held().await;
}
