//! Lives of a sidecar on a disk that fails: what its clients heard, and whether that was true.

#![allow(dead_code, reason = "every story uses a part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method};
use segue::{
    app::{Handle, Sidecar, StartError},
    clock::Clock,
    config::{Config, SegmentConfig},
    journal::Disk,
    model::{ByteSize, Destination},
    standin::{Fault as VendorFault, Key, Options, RudderStandin, Rule, SegmentStandin, Standin, Verdict},
    upstream::{self, Call, Upstream},
};
use tokio::time::Instant;

use crate::{
    fault_disk::{Faults, quick_dir},
    process::free_ports,
    stage::{RUDDER_KEY, SEGMENT_KEY, plain_client, source},
    sums::Sums,
};

/// The key of the source whose events go to RudderStack alone: its 200 can mean nothing but "on disk".
pub const APP_KEY: &str = "wk_test_segment_app_cccccccccccc";
pub const APP_RUDDER_KEY: &str = "wk_test_rudder_app_ddddddddddddd";

/// Whose event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// Source `web`, to both.
    Web,
    /// Source `app`, to RudderStack alone.
    App,
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Some of it RudderStack refuses for good.
    Mixed,
    /// Everybody takes all of it.
    Good,
}

/// What an app was told.
#[derive(Debug, Default)]
pub struct Heard {
    acked: BTreeMap<String, From>,
    sent: BTreeSet<String>,
    pub refused: u64,
}

/// Both vendors, a data directory and, most of the time, a sidecar.
pub struct Scene {
    pub sidecar: Option<Handle>,
    pub segment: Standin,
    pub rudder: Standin,
    pub config: Config,
    pub faults: Faults,
    pub heard: Arc<Mutex<Heard>>,
    client: Option<Upstream>,
    metrics: SocketAddr,
    sums: Option<Sums>,
    unjournalled: u64,
    next: AtomicU64,
    pub dir: tempfile::TempDir,
}

impl Scene {
    /// Everything but the sidecar. `seed` chooses ports.
    pub async fn set(seed: u64, change: impl FnOnce(&mut Config)) -> Self {
        let dir = quick_dir();
        let mut config = Config {
            sources: vec![source("web", SEGMENT_KEY, RUDDER_KEY, "both"), source("app", APP_KEY, APP_RUDDER_KEY, "rudderstack-only")],
            ..Config::default()
        };
        let [metrics_port] = free_ports(seed);
        let metrics = ([127, 0, 0, 1], metrics_port).into();
        config.ingress.listen = Some(([127, 0, 0, 1], 0).into());
        config.telemetry.metrics = Some(metrics);
        config.journal.dir = dir.path().join("data");
        // Small volumes that are used again at once, so that faults meet every change of them.
        config.journal.volume_size = ByteSize(16 << 10);
        config.journal.size_max = ByteSize(4 << 20);
        config.journal.keep_delivered = Duration::ZERO;
        config.delivery.pace.segment.retry_first = Duration::from_millis(10);
        config.delivery.pace.segment.retry_max = Duration::from_millis(50);
        config.delivery.pace.rudderstack = config.delivery.pace.segment;
        let segment = SegmentStandin::start(Options { keys: vec![Key::enabled(SEGMENT_KEY), Key::enabled(APP_KEY)], ..Options::default() });
        let rudder =
            RudderStandin::start(Options { keys: vec![Key::enabled(RUDDER_KEY), Key::enabled(APP_RUDDER_KEY)], ..Options::default() });
        let (segment, rudder) = (segment.await.unwrap(), rudder.await.unwrap());
        rudder.faults().add(Rule::always(VendorFault::status(400)).for_event("Poison"));
        let to = |url: String| upstream::Settings { url, ..upstream::Settings::default() };
        config.segment =
            SegmentConfig { us: to(segment.url()), eu: to(segment.url()), cdn: to(segment.url()), cdn_settings: to(segment.url()) };
        config.rudderstack = Some(to(rudder.url()));
        change(&mut config);
        let next = AtomicU64::new(0);
        Self {
            sidecar: None,
            segment,
            rudder,
            config,
            faults: Faults::default(),
            heard: Arc::default(),
            client: None,
            metrics,
            sums: None,
            unjournalled: 0,
            next,
            dir,
        }
    }

    pub fn data(&self) -> PathBuf {
        self.config.journal.dir.clone()
    }

    /// Starts a sidecar on the directory, under the faults.
    pub async fn start(&mut self) -> Result<(), StartError> {
        // A scrape under way may hold the last journal, and so its lock, for a moment longer than the stop.
        let deadline = Instant::now() + Duration::from_secs(5);
        let disk = loop {
            match self.faults.over(&self.data()) {
                Ok(disk) => break disk,
                Err(segue::journal::OpenError::Locked { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("the directory cannot be opened: {error}"),
            }
        };
        self.start_on(disk).await
    }

    pub async fn start_on(&mut self, disk: Arc<dyn Disk>) -> Result<(), StartError> {
        let handle = Sidecar::start_on(self.config.clone(), Clock::system(), disk).await?;
        self.client = Some(plain_client(&format!("http://{}", handle.plain_address().unwrap())));
        self.sidecar = Some(handle);
        self.sums.get_or_insert_with(|| Sums::watch(self.metrics));
        Ok(())
    }

    /// Stops it; what is left waits on disk.
    pub async fn stop(&mut self) {
        let handle = self.sidecar.take().unwrap();
        self.unjournalled += unjournalled(&handle);
        handle.stop().await;
    }

    pub fn sidecar(&self) -> &Handle {
        self.sidecar.as_ref().unwrap()
    }

    /// Sends one event; true: it was answered with 200. Any answer but 200 and 429 fails the story.
    pub async fn send(&self, from: From, name: &str) -> bool {
        let id = format!("m-{}", self.next.fetch_add(1, Ordering::Relaxed));
        let key = if from == From::Web { SEGMENT_KEY } else { APP_KEY };
        let body = format!(
            r#"{{"type":"track","event":"{name}","userId":"u-{id}","messageId":"{id}","timestamp":"2026-01-02T03:04:05.678Z","properties":{{"padding":"{}"}},"writeKey":"{key}"}}"#,
            padding(&id)
        );
        self.heard.lock().unwrap().sent.insert(id.clone());
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let call = Call { method: Method::POST, path: "/v1/track".into(), headers, body: Bytes::from(body) };
        let answer = self.client.as_ref().unwrap().send(call).await.unwrap_or_else(|error| panic!("{id} got no answer: {error}"));
        let mut heard = self.heard.lock().unwrap();
        match answer.status.as_u16() {
            200 => {
                heard.acked.insert(id, from);
                true
            }
            429 => {
                assert!(answer.headers.contains_key("retry-after"), "a 429 says when to come back");
                heard.refused += 1;
                false
            }
            other => panic!("{id} was answered with {other}"),
        }
    }

    /// Sends `count` events, four at a time, of both sources; every fifth RudderStack refuses for good.
    pub async fn load(&self, count: usize) {
        self.load_kind(count, Load::Mixed).await;
    }

    pub async fn load_kind(&self, count: usize, load: Load) {
        let one = |index: usize| {
            let from = if index.is_multiple_of(3) { From::App } else { From::Web };
            self.send(from, if load == Load::Mixed && index % 5 == 4 { "Poison" } else { "Step" })
        };
        for first in (0..count).step_by(4) {
            futures_util::future::join_all((first..count.min(first + 4)).map(one)).await;
        }
    }

    /// Sends events of the RudderStack-only source until one is kept; fails when none is within `patience`.
    pub async fn kept_again(&self, patience: Duration) -> Duration {
        let start = Instant::now();
        while !self.send(From::App, "Again").await {
            assert!(start.elapsed() < patience, "nothing is kept {patience:?} after the disk went well again");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        start.elapsed()
    }

    pub fn pending(&self) -> u64 {
        self.sidecar().ledger().iter().map(|(_, ledger)| ledger.pending).sum()
    }

    pub async fn drained(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.pending() > 0 {
            assert!(Instant::now() < deadline, "still pending: {:?}", self.sidecar().ledger());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The messageIds of that source that were acknowledged so far.
    pub fn acked(&self, of: From) -> BTreeSet<String> {
        self.heard.lock().unwrap().acked.iter().filter(|(_, from)| **from == of).map(|(id, _)| id.clone()).collect()
    }

    /// The messageIds that a vendor has, each with the bytes that were sent under it.
    pub fn arrived(&self, standin: &Standin) -> BTreeSet<String> {
        arrived(standin, &self.heard.lock().unwrap().sent)
    }

    /// Ends a scene that its story has judged: no file was synced again after a failure, and promise 6 held at each scrape.
    pub async fn end(mut self) {
        if self.sidecar.is_some() {
            self.stop().await;
        }
        if let Some(sums) = self.sums.take() {
            sums.held().await;
        }
        self.faults.assert_no_breach();
    }

    /// What was acknowledged arrived, nothing was invented or changed, no file was synced again after a failure, and promise
    /// 6 held at each scrape. `lost_max`: how many records the disk was made to lose.
    pub async fn judge(mut self, lost_max: usize) -> Verdicts {
        let unjournalled = self.unjournalled + self.sidecar.as_ref().map_or(0, unjournalled);
        let quarantined = match &self.sidecar {
            Some(handle) => quarantined(handle).await,
            None => BTreeSet::new(),
        };
        let ledger: Vec<_> = self.sidecar.as_ref().map(Handle::ledger).unwrap_or_default();
        if let Some(handle) = self.sidecar.take() {
            handle.stop().await;
        }
        if let Some(sums) = self.sums.take() {
            sums.held().await;
        }
        self.faults.assert_no_breach();
        let heard = self.heard.lock().unwrap();
        let segment = arrived(&self.segment, &heard.sent);
        let rudder = arrived(&self.rudder, &heard.sent);
        let web: BTreeSet<&String> = heard.acked.iter().filter(|(_, from)| **from == From::Web).map(|(id, _)| id).collect();
        let app: BTreeSet<&String> = heard.acked.iter().filter(|(_, from)| **from == From::App).map(|(id, _)| id).collect();
        let has_rudder = |id: &&String| rudder.contains(*id) || quarantined.contains(*id);
        let missing_segment: Vec<_> = web.iter().filter(|id| !segment.contains(**id)).collect();
        let missing_app: Vec<_> = app.iter().filter(|id| !has_rudder(id)).collect();
        let missing_web = web.iter().filter(|id| !has_rudder(id)).count();
        assert!(missing_segment.len() <= lost_max, "acknowledged, and not at Segment: {missing_segment:?}\n{ledger:?}");
        assert!(missing_app.len() <= lost_max, "acknowledged, and not at RudderStack: {missing_app:?}\n{ledger:?}");
        assert!(missing_web as u64 <= unjournalled + lost_max as u64, "{missing_web} lack at RudderStack, {unjournalled} are owned up to");
        Verdicts { acked: heard.acked.len(), refused: heard.refused, unjournalled, lost: missing_segment.len().max(missing_app.len()) }
    }
}

/// How a scene ended.
#[derive(Debug, Default, Clone, Copy)]
pub struct Verdicts {
    pub acked: usize,
    pub refused: u64,
    pub unjournalled: u64,
    pub lost: usize,
}

impl std::ops::AddAssign for Verdicts {
    fn add_assign(&mut self, other: Self) {
        self.acked += other.acked;
        self.refused += other.refused;
        self.unjournalled += other.unjournalled;
        self.lost += other.lost;
    }
}

fn unjournalled(handle: &Handle) -> u64 {
    handle.counters().source(&segue::model::SourceId::parse("web").unwrap()).unjournalled.value()
}

/// The messageIds that stand in RudderStack's quarantine.
async fn quarantined(handle: &Handle) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for (lane, _) in handle.ledger() {
        if lane.destination == Destination::RudderStack {
            for item in handle.journal().quarantined(&lane).await.unwrap() {
                let event: serde_json::Value = serde_json::from_slice(&item.event).unwrap();
                ids.insert(event["messageId"].as_str().unwrap().to_owned());
            }
        }
    }
    ids
}

/// The messageIds that a vendor accepted. Each must have been sent, and carry the bytes that were sent under it.
fn arrived(standin: &Standin, sent: &BTreeSet<String>) -> BTreeSet<String> {
    let events = standin.taken().events;
    let mut ids = BTreeSet::new();
    for event in events.iter().filter(|event| event.verdict == Verdict::Accepted) {
        let id = event.message_id.to_string();
        assert!(sent.contains(&id), "{id} was never sent");
        let json = event.json.as_deref().unwrap();
        assert!(json.contains(&format!("\"padding\":\"{}\"", padding(&id))), "{id} arrived changed: {json}");
        ids.insert(id);
    }
    ids
}

/// A text that only this event has, 20 to 420 bytes.
pub fn padding(id: &str) -> String {
    let mut state = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let length = 20 + usize::try_from(state % 400).unwrap();
    let mut text = String::with_capacity(length);
    while text.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push(char::from(b'a' + u8::try_from((state >> 40) % 26).unwrap()));
    }
    text
}
