//! Stories of delivery: a journal on a real disk, both vendors played, and what goes wrong between them.

#![expect(clippy::unwrap_used, reason = "a stage that cannot be set up fails its story")]

use std::{
    collections::HashMap,
    io::Write,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use segue::{
    clock::Clock,
    delivery::{Batch, Delivery, LaneState, LaneStatus, Pace, ParkReason, Settings, Upstreams},
    journal::{self, Journal, LaneId, Ledger, Quarantined, RealDisk, Record},
    model::{
        BasicAuth, ByteSize, Destination, Encoding, Endpoint, Envelope, EnvelopeId, EventKind, Origin, PerDestination, Plan, RateLimit,
        Revision, Secret, Selection, SourceId,
    },
    routing::{Region, Route, Source, Sources, Stage},
    standin::{Fault, Key, Options, RudderStandin, Rule, SegmentStandin, Standin, TakenEvent},
    telemetry::Exposition,
    upstream::{self, Upstream},
};

const SEGMENT_KEY: &str = "wk_test_segment";
const RUDDER_KEY: &str = "wk_test_rudder";
const PATIENCE: Duration = Duration::from_secs(20);

/// A journal, the two vendors, and delivery between them.
struct Theatre {
    dir: tempfile::TempDir,
    /// None only while it is opened again: its directory is locked as long as it lives.
    journal: Option<Journal>,
    segment: Standin,
    rudder: Standin,
    sources: Arc<ArcSwap<Sources>>,
    settings: Settings,
    clock: Clock,
    delivery: Option<Delivery>,
    envelopes: u128,
}

fn source() -> Source {
    source_of("web", SEGMENT_KEY, RUDDER_KEY)
}

fn source_of(id: &str, segment_key: &str, rudderstack_key: &str) -> Source {
    Source {
        id: SourceId::parse(id).unwrap(),
        name: id.into(),
        segment_keys: vec![Secret::new(segment_key)],
        rudderstack_key: Some(Secret::new(rudderstack_key)),
        region: Region::Us,
        is_retired: false,
        route: Route::from("both".parse::<Stage>().unwrap()),
        rules: Vec::new(),
        rate_limits: PerDestination::default(),
    }
}

fn settings() -> Settings {
    let (retry_first, retry_max) = (Duration::from_millis(20), Duration::from_millis(300));
    let pace = Pace { retry_first, retry_max, ..Pace::default() };
    Settings { pace: PerDestination { segment: pace, rudderstack: pace }, park_probe: Duration::from_millis(300), ..Settings::default() }
}

fn track(person: &str, message_id: &str, name: &str) -> String {
    format!(r#"{{"type":"track","event":"{name}","anonymousId":"{person}","messageId":"{message_id}","properties":{{"n":1}}}}"#)
}

impl Theatre {
    async fn open(settings: Settings) -> Self {
        Self::open_with(settings, vec![source()]).await
    }

    async fn open_with(settings: Settings, sources: Vec<Source>) -> Self {
        let options = |keys: Vec<&Secret>| {
            let keys = keys.into_iter().map(|key| Key::enabled(key.expose())).collect();
            Options { keys, ..Options::default() }
        };
        let segment_keys = sources.iter().map(|source| &source.segment_keys[0]).collect();
        let segment = SegmentStandin::start(options(segment_keys)).await.unwrap();
        let rudder_keys = sources.iter().filter_map(|source| source.rudderstack_key.as_ref()).collect();
        let rudder = RudderStandin::start(options(rudder_keys)).await.unwrap();
        let dir = private_dir();
        let journal = Some(open_journal(dir.path()).await);
        let sources = Arc::new(ArcSwap::from_pointee(Sources::new(Revision(1), sources).unwrap()));
        let mut theatre = Self { dir, journal, segment, rudder, sources, settings, clock: Clock::system(), delivery: None, envelopes: 0 };
        theatre.start();
        theatre
    }

    fn start(&mut self) {
        let upstream = |url: String| {
            let timeout = Duration::from_millis(800);
            Upstream::new(&upstream::Settings { url, timeout, ..upstream::Settings::default() }).unwrap()
        };
        let upstreams = Upstreams {
            segment_us: upstream(self.segment.url()),
            segment_eu: upstream(self.segment.url()),
            rudderstack: Some(upstream(self.rudder.url())),
        };
        let (sources, settings) = (Arc::clone(&self.sources), self.settings.clone());
        let mut delivery = Delivery::prepare(self.journal().clone(), sources, upstreams, settings, self.clock.clone(), Arc::default());
        delivery.begin();
        self.delivery = Some(delivery);
    }

    /// Stops delivery and the journal, and starts both again on the same disk.
    async fn restart(&mut self) {
        self.stop().await;
        if let Some(journal) = self.journal.take() {
            journal.close().await;
        }
        self.journal = Some(open_journal(self.dir.path()).await);
        self.start();
    }

    async fn stop(&mut self) {
        if let Some(delivery) = self.delivery.take() {
            delivery.stop(Duration::from_millis(500)).await;
        }
    }

    /// Journals one request with these events, for both destinations.
    async fn send(&mut self, events: &[String]) {
        let body = format!(r#"{{"batch":[{}],"writeKey":"{SEGMENT_KEY}"}}"#, events.join(","));
        self.send_body(Endpoint::ClientBatch, "/v1/b", body.into(), Encoding::Identity, events.len()).await;
    }

    async fn send_body(&mut self, endpoint: Endpoint, path: &str, body: Bytes, encoding: Encoding, events: usize) {
        self.send_for(&source(), endpoint, path, body, encoding, events).await;
    }

    async fn send_for(&mut self, source: &Source, endpoint: Endpoint, path: &str, body: Bytes, encoding: Encoding, events: usize) {
        self.envelopes += 1;
        let events = u32::try_from(events).unwrap();
        let envelope = Envelope {
            id: EnvelopeId(self.envelopes),
            source: source.id.clone(),
            received_at: self.clock.now(),
            endpoint,
            path: path.into(),
            client_ip: None,
            content_type: Some("application/json".into()),
            user_agent: Some("test-sdk/1.0".into()),
            retry_count: None,
            basic_auth: BasicAuth::Colon,
            key_print: source.segment_keys[0].print().short(),
            encoding,
            events,
            plan: Plan { revision: Revision(1), events: PerDestination { segment: Selection::All, rudderstack: Selection::All } },
            origin: Origin::Client,
            outline: None,
            body,
        };
        let record = Record {
            source: envelope.source.clone(),
            revision: Revision(1),
            planned: PerDestination { segment: events, rudderstack: events },
            received_at: envelope.received_at,
            payload: envelope.encode(),
        };
        self.journal().append(record).await.unwrap();
    }

    /// So many single events of as many persons as there are, `m0` on.
    async fn send_singles(&mut self, count: usize, persons: usize) {
        for n in 0..count {
            self.send(&[track(&format!("p{}", n % persons), &format!("m{n}"), "Fine")]).await;
        }
    }

    fn ledger(&self, destination: Destination) -> Ledger {
        let ledger = self
            .journal()
            .ledger()
            .into_iter()
            .find(|(lane, _)| lane.destination == destination && lane.source.as_str() == "web")
            .map(|(_, ledger)| ledger);
        let ledger = ledger.unwrap_or_default();
        assert_eq!(ledger.planned, ledger.delivered + ledger.pending + ledger.quarantined, "nothing ends uncounted");
        ledger
    }

    /// Waits until nothing of that destination is pending.
    async fn settled(&self, destination: Destination) -> Ledger {
        until(&format!("{destination} is done"), || {
            let ledger = self.ledger(destination);
            (ledger.pending == 0).then_some(ledger)
        })
        .await
    }

    async fn quarantined(&self, destination: Destination) -> Vec<Quarantined> {
        self.journal().quarantined(&LaneId { source: SourceId::parse("web").unwrap(), destination }).await.unwrap()
    }

    fn lane(&self, destination: Destination) -> LaneStatus {
        let lanes = self.delivery.as_ref().unwrap().lanes();
        lanes.into_iter().find(|lane| lane.id.destination == destination && lane.id.source.as_str() == "web").unwrap()
    }

    async fn parked(&self, destination: Destination) -> ParkReason {
        until(&format!("the lane to {destination} is parked"), || match self.lane(destination).state {
            LaneState::Parked { reason, .. } => Some(reason),
            _ => None,
        })
        .await
    }

    async fn close(mut self) {
        self.stop().await;
        self.journal().close().await;
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }
}

/// A directory as the journal wants it: for its owner alone.
fn private_dir() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700)).tempdir().unwrap()
}

async fn open_journal(dir: &std::path::Path) -> Journal {
    let settings = journal::Settings { dir: dir.to_owned(), ..journal::Settings::default() };
    let opened = tokio::task::spawn_blocking(move || Journal::open(RealDisk::open(&settings.dir).unwrap(), &settings)).await.unwrap();
    opened.unwrap().journal
}

/// Looks until there is something, for a while.
async fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The events of each person in the order in which they first came.
fn by_person(events: &[TakenEvent]) -> HashMap<String, Vec<String>> {
    let (mut seen, mut persons) = (std::collections::HashSet::new(), HashMap::<String, Vec<String>>::new());
    for event in events {
        if seen.insert(event.message_id.clone()) {
            let person = event.anonymous_id.as_deref().unwrap_or_default().to_owned();
            persons.entry(person).or_default().push(event.message_id.to_string());
        }
    }
    persons
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segment_gets_the_request_itself_and_rudderstack_gets_batches() {
    let mut theatre = Theatre::open(settings()).await;
    theatre.send(&[track("p1", "m1", "Fine"), track("p2", "m2", "Fine")]).await;
    let single = Endpoint::Single(EventKind::Track);
    let body = r#"{"event":"Alone","userId":"u1","messageId":"m3"}"#;
    theatre.send_body(single, "/v1/track/", body.into(), Encoding::Identity, 1).await;
    theatre.settled(Destination::Segment).await;
    theatre.settled(Destination::RudderStack).await;

    let segment = theatre.segment.taken();
    let request = segment.requests.iter().find(|request| request.path == "/v1/track/").expect("the path is kept, slash and all");
    assert_eq!(request.headers["authorization"], "Basic d2tfdGVzdF9zZWdtZW50Og==");
    assert_eq!(request.headers["user-agent"], "test-sdk/1.0");
    assert_eq!(segment.events.iter().find(|event| &*event.message_id == "m3").unwrap().json.as_deref(), Some(body));

    let rudder = theatre.rudder.taken();
    assert!(rudder.requests.iter().all(|request| request.path == "/v1/batch" && request.headers.contains_key("anonymousid")));
    assert!(!rudder.requests.iter().any(|request| request.headers.contains_key("x-forwarded-for")));
    assert_eq!(rudder.events.len(), 3);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_persons_events_arrive_in_order_whatever_fails() {
    let mut theatre = Theatre::open(settings()).await;
    for vendor in [&theatre.segment, &theatre.rudder] {
        for n in (0..400).step_by(17) {
            let fault = match n % 3 {
                0 => Fault::status(500),
                1 => Fault::TakeThenClose,
                _ => Fault::Close,
            };
            vendor.faults().add(Rule::next(2, fault).for_message(format!("m{n}")));
        }
    }
    theatre.send_singles(400, 7).await;
    for destination in Destination::ALL {
        assert_eq!(theatre.settled(destination).await.delivered, 400, "{destination}");
    }
    let want: HashMap<_, Vec<_>> =
        (0..7).map(|p| (format!("p{p}"), (0..400).filter(|n| n % 7 == p).map(|n| format!("m{n}")).collect())).collect();
    assert_eq!(by_person(&theatre.segment.taken().events), want);
    assert_eq!(by_person(&theatre.rudder.taken().events), want);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_rudderstack_refuses_goes_to_quarantine_alone() {
    let mut theatre = Theatre::open(settings()).await;
    theatre.rudder.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
    let events: Vec<_> = (0..100).map(|n| track("p1", &format!("m{n}"), if n == 42 { "Poison" } else { "Fine" })).collect();
    theatre.send(&events).await;
    let ledger = theatre.settled(Destination::RudderStack).await;
    assert_eq!((ledger.delivered, ledger.quarantined), (99, 1));
    let quarantined = theatre.quarantined(Destination::RudderStack).await;
    assert_eq!((quarantined[0].index, quarantined[0].status), (42, 400));
    assert!(!quarantined[0].reason.is_empty() && quarantined[0].event.windows(6).any(|part| part == b"Poison"), "{quarantined:?}");
    let order = &by_person(&theatre.rudder.taken().events)["p1"];
    assert_eq!(*order, (0..100).filter(|n| *n != 42).map(|n| format!("m{n}")).collect::<Vec<_>>(), "order holds through every cut");
    assert!(theatre.rudder.counts().requests <= 16, "{} requests", theatre.rudder.counts().requests);
    assert_eq!(theatre.settled(Destination::Segment).await.delivered, 100);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_without_ids_go_to_quarantine_unsent() {
    let mut theatre = Theatre::open(settings()).await;
    let anonymous = r#"{"type":"track","event":"Nobody","messageId":"m0"}"#.to_owned();
    theatre.send(&[anonymous, track("p1", "m1", "Fine")]).await;
    let ledger = theatre.settled(Destination::RudderStack).await;
    assert_eq!((ledger.delivered, ledger.quarantined), (1, 1));
    let quarantined = theatre.quarantined(Destination::RudderStack).await;
    assert_eq!((quarantined[0].reason.as_str(), quarantined[0].status), ("request neither has anonymousId nor userId", 0));
    assert_eq!(theatre.rudder.counts().requests, 1);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envelope_that_segment_refuses_goes_to_quarantine_whole() {
    let mut theatre = Theatre::open(settings()).await;
    theatre.segment.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
    theatre.send(&[track("p1", "m1", "Poison"), track("p2", "m2", "Fine")]).await;
    theatre.send(&[track("p1", "m3", "Fine")]).await;
    let ledger = theatre.settled(Destination::Segment).await;
    assert_eq!((ledger.delivered, ledger.quarantined), (1, 2));
    let quarantined = theatre.quarantined(Destination::Segment).await;
    assert_eq!(quarantined.iter().map(|item| (item.index, item.status)).collect::<Vec<_>>(), [(0, 400), (1, 400)]);
    assert_eq!(quarantined[1].event, track("p2", "m2", "Fine"));
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_reaches_segment_as_it_came_and_rudderstack_translated() {
    let mut theatre = Theatre::open(settings()).await;
    let sent_at = theatre.clock.now();
    let plain = format!(r#"{{"batch":[{}],"sentAt":"{sent_at}"}}"#, track("p1", "m1", "Fine"));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let bytes = packed.len();
    theatre.send_body(Endpoint::Batch, "/v1/batch", packed.into(), Encoding::Gzip, 1).await;
    theatre.settled(Destination::Segment).await;
    theatre.settled(Destination::RudderStack).await;
    let request = theatre.segment.taken().requests.remove(0);
    assert_eq!((request.headers["content-encoding"].as_str(), request.body_bytes), ("gzip", bytes));
    assert_eq!(theatre.rudder.counts().distinct, 1);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_rudderstack_does_segment_gets_its_events_and_all_arrives_afterwards() {
    let faults =
        [Fault::Hang, Fault::status(401), Fault::status(404), Fault::status(429), Fault::status(500), Fault::Reset, Fault::CutBody];
    for fault in faults {
        let mut theatre = Theatre::open(settings()).await;
        let rule = theatre.rudder.faults().add(Rule::always(fault.clone()));
        let start = Instant::now();
        theatre.send_singles(60, 20).await;
        theatre.settled(Destination::Segment).await;
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "Segment took {took:?} under {fault:?}");
        until("RudderStack was tried", || (theatre.rudder.faults().struck(rule) > 0).then_some(())).await;
        assert_eq!(theatre.ledger(Destination::RudderStack).pending, 60, "{fault:?}");
        theatre.rudder.faults().lift(rule);
        let ledger = theatre.settled(Destination::RudderStack).await;
        assert_eq!((ledger.delivered, theatre.rudder.counts().distinct), (60, 60), "{fault:?}");
        theatre.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_rudderstack_costs_segment_nothing_and_gets_all_when_it_is_back() {
    let mut theatre = Theatre::open(settings()).await;
    theatre.rudder.pause().await;
    theatre.send_singles(200, 50).await;
    assert_eq!(theatre.settled(Destination::Segment).await.delivered, 200);
    assert_eq!(theatre.ledger(Destination::RudderStack).pending, 200);
    until("the outage shows", || (theatre.lane(Destination::RudderStack).state == LaneState::Unreachable).then_some(())).await;
    theatre.restart().await;
    theatre.rudder.resume().await.unwrap();
    assert_eq!(theatre.settled(Destination::RudderStack).await.delivered, 200);
    assert_eq!(theatre.rudder.counts().distinct, 200);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_large_is_split_and_a_single_event_too_large_is_kept() {
    let mut theatre = Theatre::open(settings()).await;
    theatre.rudder.faults().add(Rule::always(Fault::status(413)).for_event("Huge"));
    theatre.rudder.faults().add(Rule::next(1, Fault::status(413)));
    let events: Vec<_> = (0..20).map(|n| track("p1", &format!("m{n}"), if n == 3 { "Huge" } else { "Fine" })).collect();
    theatre.send(&events).await;
    let ledger = theatre.settled(Destination::RudderStack).await;
    assert_eq!((ledger.delivered, ledger.quarantined), (19, 1));
    assert_eq!(theatre.quarantined(Destination::RudderStack).await[0].status, 413);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_that_was_asked_for_is_kept_across_a_restart() {
    let mut theatre = Theatre::open(settings()).await;
    theatre.segment.faults().add(Rule::next(1, Fault::status_retry_after(429, "3")));
    let happened = theatre.clock.now();
    let body = format!(r#"{{"event":"Late","anonymousId":"p0","messageId":"late","timestamp":"{happened}","sentAt":"{happened}"}}"#);
    theatre.send_body(Endpoint::Single(EventKind::Track), "/v1/track", body.into(), Encoding::Identity, 1).await;
    theatre.send_singles(4, 1).await;
    let deferred = until("the lane is deferred", || match theatre.lane(Destination::Segment).state {
        LaneState::Deferred { until } => Some(until),
        _ => None,
    });
    deferred.await;
    assert_eq!(theatre.settled(Destination::RudderStack).await.delivered, 5, "the other leg does not wait");
    theatre.restart().await;
    assert_eq!(theatre.settled(Destination::Segment).await.delivered, 5);
    let late = theatre.segment.taken().events.into_iter().find(|event| &*event.message_id == "late").unwrap();
    let shift_ms = late.times.unwrap().timestamp.millis_since(happened);
    assert!((0..500).contains(&shift_ms), "the wait moved the event by {shift_ms} ms");
    let requests = theatre.segment.taken().requests;
    let pause_ms = requests[1].at.millis_since(requests[0].at);
    assert!((2_990..4_500).contains(&pause_ms), "{pause_ms} ms between the 429 and the next request");
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_never_exceeded_and_concerns_one_leg_alone() {
    let mut settings = settings();
    settings.pace.rudderstack.rate_limit = RateLimit::PerSecond(NonZeroU32::new(200).unwrap());
    let mut theatre = Theatre::open(settings).await;
    let start = Instant::now();
    for n in 0..100 {
        let events: Vec<_> = (0..8).map(|k| track(&format!("p{k}"), &format!("m{n}-{k}"), "Fine")).collect();
        theatre.send(&events).await;
    }
    theatre.settled(Destination::Segment).await;
    assert!(start.elapsed() < Duration::from_secs(2), "Segment took {:?}", start.elapsed());
    theatre.settled(Destination::RudderStack).await;
    let took = start.elapsed();
    assert!((Duration::from_millis(3_600)..Duration::from_secs(6)).contains(&took), "800 events at 200/s took {took:?}");
    let busiest = theatre.rudder.counts().events_per_second_max;
    assert!(busiest <= 210, "{busiest} events in one second");
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ambiguous_end_is_sent_again_under_the_same_ids() {
    let mut theatre = Theatre::open(settings()).await;
    theatre.segment.faults().add(Rule::next(1, Fault::TakeThenClose));
    theatre.rudder.faults().add(Rule::next(1, Fault::TakeThenClose));
    theatre.send(&[track("p1", "m1", "Fine")]).await;
    for (destination, vendor) in [(Destination::Segment, &theatre.segment), (Destination::RudderStack, &theatre.rudder)] {
        assert_eq!(theatre.settled(destination).await.delivered, 1);
        let counts = vendor.counts();
        assert_eq!((counts.distinct, counts.duplicates), (1, 1), "{destination}");
    }
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_parks_the_lane_and_the_right_one_heals_it_at_once() {
    let mut settings = settings();
    settings.park_probe = Duration::from_mins(10);
    let mut theatre = Theatre::open(settings).await;
    let wrong = Source { rudderstack_key: Some(Secret::new("wk_test_wrong")), ..source() };
    theatre.sources.store(Arc::new(Sources::new(Revision(1), [wrong]).unwrap()));
    theatre.send_singles(30, 30).await;
    let reason = theatre.parked(Destination::RudderStack).await;
    assert!(matches!(reason, ParkReason::Answer { status: 401, .. }), "{reason:?}");
    assert_eq!(theatre.settled(Destination::Segment).await.delivered, 30);
    assert_eq!(theatre.ledger(Destination::RudderStack).pending, 30, "nothing is dropped");
    theatre.sources.store(Arc::new(Sources::new(Revision(1), [source()]).unwrap()));
    assert_eq!(theatre.settled(Destination::RudderStack).await.delivered, 30);
    assert_eq!(theatre.lane(Destination::RudderStack).state, LaneState::Idle);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_refusals_in_a_row_park_the_lane_before_quarantine_swallows_it() {
    let mut settings = settings();
    settings.pace.segment.in_flight_max = 1;
    settings.park_probe = Duration::from_millis(200);
    let mut theatre = Theatre::open(settings).await;
    let rule = theatre.segment.faults().add(Rule::always(Fault::status(400)));
    theatre.send_singles(40, 40).await;
    let reason = theatre.parked(Destination::Segment).await;
    assert!(matches!(reason, ParkReason::Refusals(_)), "{reason:?}");
    theatre.segment.faults().lift(rule);
    let ledger = theatre.settled(Destination::Segment).await;
    assert!((10..20).contains(&ledger.quarantined) && ledger.delivered + ledger.quarantined == 40, "{ledger:?}");
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_no_longer_than_told_and_the_next_start_delivers_the_rest() {
    let mut theatre = Theatre::open(settings()).await;
    let rule = theatre.rudder.faults().add(Rule::always(Fault::Hang));
    theatre.send_singles(20, 20).await;
    until("requests hang", || (theatre.rudder.faults().struck(rule) > 0).then_some(())).await;
    let start = Instant::now();
    theatre.delivery.take().unwrap().stop(Duration::from_millis(100)).await;
    assert!(start.elapsed() < Duration::from_millis(700), "the stop took {:?}", start.elapsed());
    theatre.rudder.faults().lift(rule);
    theatre.restart().await;
    assert_eq!(theatre.settled(Destination::RudderStack).await.delivered, 20);
    assert_eq!(theatre.rudder.counts().distinct, 20);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_goes_in_full_batches_and_little_memory() {
    let mut settings = settings();
    settings.batch = Batch { events_max: 100, ..Batch::default() };
    settings.memory_max = ByteSize(1 << 20);
    let mut theatre = Theatre::open(settings).await;
    theatre.rudder.pause().await;
    for n in 0..200 {
        let events: Vec<_> = (0..50).map(|k| track(&format!("p{k}"), &format!("m{n}-{k}"), "Fine")).collect();
        theatre.send(&events).await;
    }
    theatre.settled(Destination::Segment).await;
    let memory_bytes = theatre.lane(Destination::RudderStack).memory_bytes;
    assert!((256 << 10..1_100 << 10).contains(&memory_bytes), "{memory_bytes} bytes in memory");
    theatre.rudder.resume().await.unwrap();
    assert_eq!(theatre.settled(Destination::RudderStack).await.delivered, 10_000);
    let taken = theatre.rudder.taken();
    let requests = taken.requests.iter().filter(|request| request.status == Some(200)).count();
    assert!(requests < 500, "{requests} requests for 10,000 events");
    assert!(taken.requests.iter().all(|request| request.events <= 100));
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_share_a_limit_fairly_and_a_source_of_its_own_limit_keeps_to_it() {
    let mut settings = settings();
    settings.pace.rudderstack.rate_limit = RateLimit::PerSecond(NonZeroU32::new(200).unwrap());
    let mut slow = source_of("slow", "wk_test_segment_slow", "wk_test_rudder_slow");
    slow.rate_limits.rudderstack = RateLimit::PerSecond(NonZeroU32::new(20).unwrap());
    let sources = [source(), source_of("app", "wk_test_segment_app", "wk_test_rudder_app"), slow];
    let mut theatre = Theatre::open_with(settings, sources.to_vec()).await;
    for n in 0..300 {
        for source in &sources {
            let body = track(&format!("p{}", n % 30), &format!("{}-{n}", source.id), "Fine");
            theatre.send_for(source, Endpoint::Single(EventKind::Track), "/v1/track", body.into(), Encoding::Identity, 1).await;
        }
    }
    let counts = theatre.rudder.wait_for(PATIENCE, |counts| counts.distinct >= 400).await.unwrap();
    assert!(counts.events_per_second_max <= 210, "{counts:?}");
    let taken = theatre.rudder.taken().events;
    let of = |source: &Source| taken.iter().filter(|event| &*event.source == source.rudderstack_key.as_ref().unwrap().expose()).count();
    let [web, app, slow] = sources.each_ref().map(of);
    assert!(web.abs_diff(app) <= 40, "web had {web}, app {app}");
    assert!((20..75).contains(&slow), "the slow source had {slow} in about 2 s at 20/s");
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_sources_trouble_is_not_anothers() {
    let sources = [source(), source_of("bad", "wk_test_segment_bad", "wk_test_rudder_bad")];
    let mut theatre = Theatre::open_with(settings(), sources.to_vec()).await;
    for vendor in [&theatre.segment, &theatre.rudder] {
        vendor.faults().add(Rule::always(Fault::status_retry_after(429, "600")).for_key("wk_test_segment_bad"));
        vendor.faults().add(Rule::always(Fault::status(401)).for_key("wk_test_rudder_bad"));
    }
    for n in 0..100 {
        for source in sources.iter().rev() {
            let body = track(&format!("p{n}"), &format!("{}-{n}", source.id), "Fine");
            theatre.send_for(source, Endpoint::Single(EventKind::Track), "/v1/track", body.into(), Encoding::Identity, 1).await;
        }
    }
    let start = Instant::now();
    for destination in Destination::ALL {
        assert_eq!(theatre.settled(destination).await.delivered, 100);
    }
    assert!(start.elapsed() < Duration::from_secs(3), "took {:?}", start.elapsed());
    let lanes = theatre.delivery.as_ref().unwrap().lanes();
    let states: Vec<_> = lanes.iter().map(|lane| format!("{} {}", lane.id, lane.state.label())).collect();
    assert_eq!(states, ["bad to segment deferred", "bad to rudderstack parked", "web to segment idle", "web to rudderstack idle"]);
    theatre.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_delivery_does_can_be_read_as_metrics() {
    let mut theatre = Theatre::open(settings()).await;
    let exposition = Exposition::new();
    theatre.delivery.as_ref().unwrap().register(&exposition);
    theatre.rudder.faults().add(Rule::next(1, Fault::status(503)));
    theatre.segment.faults().add(Rule::next(1, Fault::Close));
    theatre.send(&[r#"{"type":"track","event":"No id of its own","anonymousId":"p1"}"#.to_owned()]).await;
    theatre.settled(Destination::Segment).await;
    theatre.settled(Destination::RudderStack).await;
    let text = exposition.text();
    for line in [
        r#"segue_delivery_attempts_total{destination="segment",code="200"} 1.0"#,
        r#"segue_delivery_attempts_total{destination="segment",code="closed"} 1.0"#,
        r#"segue_delivery_attempts_total{destination="rudderstack",code="503"} 1.0"#,
        r#"segue_delivery_duration_seconds_count{destination="rudderstack"} 2"#,
        r#"segue_segment_edits_total{class="message_id"} 1.0"#,
        r#"segue_dialect_rules_total{rule="T7",name="messageId"} 1.0"#,
        r#"segue_circuit_open{destination="rudderstack",region=""} 0.0"#,
        r#"segue_lane_parked{source="web",destination="segment"} 0.0"#,
        r#"segue_delivery_retries_total{source="web",destination="rudderstack"} 1.0"#,
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    theatre.close().await;
}
