//! The stage that end-to-end stories are told on: both stand-ins, a sidecar between them, a client.

#![allow(dead_code, reason = "every story uses another part of the stage")]
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use segue::{
    app::{Handle, Sidecar, StartError},
    clock::Clock,
    config::{Config, SegmentConfig},
    journal::OpenError,
    model::{PerDestination, RateLimit, Secret, SourceId},
    routing::{Region, Route, Source, Stage as RouteStage},
    standin::{Keep, Key, Options, RudderStandin, SegmentStandin, Standin, TakenEvent, Verdict},
    upstream::{self, Answer, Call, Upstream},
};

pub const SEGMENT_KEY: &str = "wk_test_segment_aaaaaaaaaaaaaaaa";
pub const RUDDER_KEY: &str = "wk_test_rudder_bbbbbbbbbbbbbbbbb";

/// Everything a story needs. The data directory goes with it.
pub struct Stage {
    pub sidecar: Option<Handle>,
    pub segment: Standin,
    pub rudder: Standin,
    pub client: Upstream,
    pub clock: Clock,
    pub config: Config,
    pub dir: tempfile::TempDir,
}

impl Stage {
    /// One source named `web` under [`SEGMENT_KEY`], on the given route.
    pub async fn with_route(route: &str) -> Self {
        Self::with(|config| config.sources = vec![source("web", SEGMENT_KEY, RUDDER_KEY, route)]).await
    }

    /// A stage whose configuration is changed before the start. Ports, upstreams and directories are set already.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::at(Clock::system(), change).await
    }

    /// As [`Stage::with`], everybody on the stage by that clock.
    pub async fn at(clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config { sources: vec![source("web", SEGMENT_KEY, RUDDER_KEY, "both")], ..Config::default() };
        config.ingress.listen = Some(([127, 0, 0, 1], 0).into());
        config.telemetry.metrics = Some(([127, 0, 0, 1], 0).into());
        config.journal.dir = dir.path().join("data");
        config.delivery.pace.segment.retry_first = Duration::from_millis(20);
        config.delivery.pace.segment.retry_max = Duration::from_millis(200);
        config.delivery.pace.rudderstack = config.delivery.pace.segment;
        change(&mut config);
        let segment_keys = config.sources.iter().flat_map(|source| &source.segment_keys).map(|key| Key::enabled(key.expose())).collect();
        let rudder_keys =
            config.sources.iter().filter_map(|source| source.rudderstack_key.as_ref()).map(|key| Key::enabled(key.expose())).collect();
        let options =
            Options { clock: clock.clone(), keep: Keep::default(), webhook_retry: Duration::from_millis(20), ..Options::default() };
        let segment = SegmentStandin::start(Options { keys: segment_keys, ..options.clone() }).await.unwrap();
        let rudder = RudderStandin::start(Options { keys: rudder_keys, ..options }).await.unwrap();
        let to = |url: String| upstream::Settings { url, ..upstream::Settings::default() };
        let segment_url = segment.url();
        config.segment = SegmentConfig {
            us: to(segment_url.clone()),
            eu: to(segment_url.clone()),
            cdn: to(segment_url.clone()),
            cdn_settings: to(segment_url),
        };
        config.rudderstack = Some(to(rudder.url()));
        let sidecar = Sidecar::start_with(config.clone(), clock.clone()).await.unwrap();
        let client = client_of(&sidecar);
        Self { sidecar: Some(sidecar), segment, rudder, client, clock, config, dir }
    }

    pub fn sidecar(&self) -> &Handle {
        self.sidecar.as_ref().unwrap()
    }

    /// Stops the sidecar and starts it again on the same data directory.
    pub async fn restart(&mut self) {
        self.sidecar.take().unwrap().stop().await;
        self.start().await;
    }

    /// Starts a sidecar that was stopped again. The directory's lock goes with the last connection's task, a moment after the stop.
    pub async fn start(&mut self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        let sidecar = loop {
            match Sidecar::start_with(self.config.clone(), self.clock.clone()).await {
                Err(StartError::Journal { source: OpenError::Locked { .. }, .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                started => break started.unwrap(),
            }
        };
        self.client = client_of(&sidecar);
        self.sidecar = Some(sidecar);
    }

    /// Posts JSON with the key in the body or not at all, as `path` and `body` say.
    pub async fn post(&self, path: &str, body: &str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/json")], Bytes::copy_from_slice(body.as_bytes())).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())).collect();
        self.client.send(Call { method, path: path.to_owned(), headers, body }).await.unwrap()
    }

    /// Waits until nothing is pending; fails after 20 seconds.
    pub async fn drained(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while self.pending() > 0 {
            assert!(tokio::time::Instant::now() < deadline, "still pending: {:?}", self.sidecar().ledger());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn pending(&self) -> u64 {
        self.sidecar().ledger().iter().map(|(_, ledger)| ledger.pending).sum()
    }

    pub fn segment_events(&self) -> Vec<TakenEvent> {
        accepted(self.segment.taken().events)
    }

    pub fn rudder_events(&self) -> Vec<TakenEvent> {
        accepted(self.rudder.taken().events)
    }

    /// The text of `/metrics`.
    pub async fn metrics(&self) -> String {
        let address = self.sidecar().metrics_address().unwrap();
        let client = plain_client(&format!("http://{address}"));
        let answer = client
            .relay(Call { method: Method::GET, path: "/metrics".into(), headers: HeaderMap::new(), body: Bytes::new() }, 1 << 20)
            .await;
        String::from_utf8(answer.unwrap().body.to_vec()).unwrap()
    }
}

pub fn plain_client(url: &str) -> Upstream {
    Upstream::new(&upstream::Settings { url: url.to_owned(), ..upstream::Settings::default() }).unwrap()
}

fn client_of(sidecar: &Handle) -> Upstream {
    plain_client(&format!("http://{}", sidecar.plain_address().unwrap()))
}

fn accepted(events: Vec<TakenEvent>) -> Vec<TakenEvent> {
    events.into_iter().filter(|event| event.verdict == Verdict::Accepted).collect()
}

pub fn ids(events: &[TakenEvent]) -> BTreeSet<String> {
    events.iter().map(|event| event.message_id.to_string()).collect()
}

pub fn source(name: &str, segment_key: &str, rudder_key: &str, route: &str) -> Source {
    Source {
        id: SourceId::parse(name).unwrap(),
        name: name.to_owned(),
        segment_keys: vec![Secret::new(segment_key)],
        rudderstack_key: Some(Secret::new(rudder_key)),
        region: Region::Us,
        is_retired: false,
        route: Route::from(route.parse::<RouteStage>().unwrap()),
        rules: Vec::new(),
        rate_limits: PerDestination { segment: RateLimit::None, rudderstack: RateLimit::None },
    }
}

/// A captured request of a real SDK.
pub struct Captured {
    pub name: String,
    pub method: Method,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

/// Every request of `tests/corpus`, in the order of their names.
pub fn corpus() -> Vec<Captured> {
    use base64::Engine;
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let json: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let headers = json["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned()));
        let drop: HashSet<&str> = ["host", "content-length", "connection", "transfer-encoding", "expect", "accept-encoding"].into();
        Captured {
            name: path.file_stem().unwrap().to_string_lossy().into_owned(),
            method: json["method"].as_str().unwrap().parse().unwrap(),
            path: json["path"].as_str().unwrap().to_owned(),
            headers: headers.filter(|(name, _)| !name.starts_with(':') && !drop.contains(name.to_ascii_lowercase().as_str())).collect(),
            body: base64::engine::general_purpose::STANDARD.decode(json["body_base64"].as_str().unwrap_or_default()).unwrap().into(),
        }
    };
    files.iter().map(read).collect()
}
