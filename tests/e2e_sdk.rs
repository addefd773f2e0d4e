//! Segment's own SDKs, unchanged, send through a sidecar over TLS and trust nothing but the CA of `segue certs init`. The app
//! hears success, and every event arrives at both vendors under the right key, with its context, at the right time.
//!
//! `scripts/test` installs the SDKs. Without them these stories are skipped, with a word; with CI set they fail.

#![expect(clippy::panic, reason = "a story that cannot go on fails, with what the sidecar said")]

mod process;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use process::{Process, clean, command, free_ports, get, metric, ready, seed};
use segue::standin::{Key, Options, RudderStandin, SegmentStandin, Sighting, Standin, TakenEvent, Verdict};
use serde::Deserialize;
use serde_json::Value;

/// Events of one app in the first story: several batches of every SDK.
const EVENTS: usize = 120;
/// How far off a vendor's `timestamp` may be.
const OFF_MS_MAX: i64 = 50;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// An app with one of the SDKs.
#[derive(Clone, Copy)]
struct App {
    /// Its source, write key and prefix.
    name: &'static str,
    /// What the SDK calls itself, and the version that must have run.
    sdk: &'static str,
    /// What it writes into `context.library.name`.
    library: &'static str,
    runtime: Runtime,
}

#[derive(Clone, Copy)]
enum Runtime {
    /// A package of npm, by the name under which it is installed.
    Node(&'static str),
    /// Segment's package of `PyPI`, with what stands before the environment on the path, and flags of the driver.
    Python(Option<&'static str>, &'static [&'static str]),
}

const APPS: [App; 6] = [
    App {
        name: "node-3",
        sdk: "@segment/analytics-node@3.1.0",
        library: "@segment/analytics-node",
        runtime: Runtime::Node("@segment/analytics-node"),
    },
    // This one has its key in the body only.
    App {
        name: "node-2",
        sdk: "@segment/analytics-node@2.3.0",
        library: "@segment/analytics-node",
        runtime: Runtime::Node("segment-node-2"),
    },
    App { name: "node-classic", sdk: "analytics-node@6.2.0", library: "analytics-node", runtime: Runtime::Node("analytics-node") },
    App { name: "python", sdk: "segment-analytics-python@2.4.0", library: "analytics-python", runtime: Runtime::Python(None, &[]) },
    App {
        name: "python-gzip",
        sdk: "segment-analytics-python@2.4.0",
        library: "analytics-python",
        runtime: Runtime::Python(None, &["--gzip"]),
    },
    // The last version with its key in the body only.
    App {
        name: "python-2.3",
        sdk: "segment-analytics-python@2.3.6",
        library: "analytics-python",
        runtime: Runtime::Python(Some("python-2.3.6"), &[]),
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_every_sdk_arrives_at_both() {
    let Some(sdks) = installed_sdks() else { return };
    let scene = Arc::new(Scene::set(sdks).await);

    let runs = APPS.map(|app| {
        let scene = Arc::clone(&scene);
        (app, tokio::task::spawn_blocking(move || scene.run_app(app, app.name, EVENTS, &[])))
    });
    let mut sent = BTreeMap::new();
    for (app, run) in runs {
        let report = run.await.expect("the app was run");
        assert_eq!(report.sdk, app.sdk);
        assert_eq!(report.events.len(), EVENTS, "{}", app.name);
        sent.insert(app.name, report);
    }

    let total = (APPS.len() * EVENTS) as u64;
    scene.arrived(total).await;
    for app in APPS {
        let report = &sent[app.name];
        for (vendor, standin, key) in
            [("Segment", &scene.segment, segment_key(app.name)), ("RudderStack", &scene.rudder, rudder_key(app.name))]
        {
            check_arrivals(&format!("{} at {vendor}", app.name), app, report, standin, &key);
        }
    }
    scene.check_ledger(total).await;
    Arc::into_inner(scene).expect("nobody else is on the scene").close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_clock_is_wrong_moves_no_event() {
    let Some(sdks) = installed_sdks() else { return };
    let scene = Arc::new(Scene::set(sdks).await);
    let mut total = 0;
    for app in APPS {
        for offset_ms in [HOUR_MS, -HOUR_MS, 3 * DAY_MS, -3 * DAY_MS] {
            check_times(&scene, app, offset_ms, &mut total).await;
        }
    }
    scene.check_ledger(total).await;
    Arc::into_inner(scene).expect("nobody else is on the scene").close().await;
}

/// Runs the app with a wrong clock and compares the vendors' times with the true ones; `total` counts the events on the scene.
///
/// What the machine takes from the SDK's `sentAt` to the request's arrival is beyond anybody's correction, so a disturbed run is
/// run again, twice at most.
async fn check_times(scene: &Arc<Scene>, app: App, offset_ms: i64, total: &mut u64) {
    const COUNT: usize = 8;
    for attempt in 1..=3 {
        let prefix = format!("{} {offset_ms} {attempt}", app.name);
        let flag = format!("--clock-offset-ms={offset_ms}");
        let (on_scene, named) = (Arc::clone(scene), prefix.clone());
        let run = tokio::task::spawn_blocking(move || on_scene.run_app(app, &named, COUNT, &["--warm", &flag]));
        let report = run.await.expect("the app was run");
        *total += COUNT as u64;
        scene.arrived(*total).await;
        let worst = worst_time(scene, &report);
        println!("{prefix}: {worst} ms off at most");
        if worst.abs() <= OFF_MS_MAX {
            return;
        }
        assert!(attempt < 3, "{prefix}: a vendor's timestamp is {worst} ms off");
    }
}

/// The largest difference between a vendor's `timestamp` and the moment of the call. The first event is left out: a TLS
/// handshake stands between its `sentAt` and its arrival.
fn worst_time(scene: &Scene, report: &Report) -> i64 {
    let mut worst = 0_i64;
    for (vendor, standin) in [("Segment", &scene.segment), ("RudderStack", &scene.rudder)] {
        let taken = standin.taken().events;
        for sent in &report.events[1..] {
            let arrived = taken.iter().find(|event| *event.message_id == *sent.id);
            let arrived = arrived.unwrap_or_else(|| panic!("{} did not arrive at {vendor}", sent.id));
            let times = arrived.times.as_ref().expect("the stand-in keeps times");
            let off = times.timestamp.as_millis() - sent.at;
            if off.abs() > worst.abs() {
                worst = off;
            }
        }
    }
    worst
}

/// Everything that must be true of what arrived from one app at one vendor.
fn check_arrivals(place: &str, app: App, report: &Report, standin: &Standin, key: &str) {
    let taken: Vec<TakenEvent> = standin.taken().events.into_iter().filter(|event| *event.source == *key).collect();
    let first: Vec<&TakenEvent> = taken.iter().filter(|event| event.sighting == Sighting::First).collect();
    for event in &taken {
        assert_eq!(event.verdict, Verdict::Accepted, "{place}: {}", event.message_id);
    }
    let wanted: BTreeSet<&str> = report.events.iter().map(|event| event.id.as_str()).collect();
    let arrived: BTreeSet<&str> = first.iter().map(|event| &*event.message_id).collect();
    assert_eq!(arrived, wanted, "{place}");

    let by_id: BTreeMap<&str, &TakenEvent> = first.iter().map(|event| (&*event.message_id, *event)).collect();
    for sent in &report.events {
        let event = by_id[sent.id.as_str()];
        let place = format!("{place}: event {} ({})", sent.n, sent.kind);
        assert_eq!(*event.kind, *sent.kind, "{place}");
        assert_eq!(event.user_id.as_deref(), Some(sent.user_id.as_str()), "{place}");
        let text = event.handed_on.as_deref().expect("the stand-in keeps what it hands on");
        let handed: Value = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(handed["context"]["library"]["name"], app.library, "{place}");
        assert_eq!(handed["context"]["app"]["build"], sent.n.to_string(), "{place}");
        assert_eq!(handed["context"]["ip"], "203.0.113.7", "{place}");
        assert_eq!(handed["context"]["locale"], "de-CH", "{place}");
        // The digits as they came: what the gateway hands on has been through doubles (protocol.md T31).
        let received = event.json.as_deref().expect("the stand-in keeps what it takes");
        check_content(&place, sent, &handed, received);
    }
    if matches!(app.runtime, Runtime::Python(..)) {
        check_order(place, report, &first);
    }
}

/// One person's events keep their order. It is the app's own where one request follows another, as in Python; the SDKs for Node send
/// their batches side by side. A person is the anonymousId, else the userId; calls of alias have no anonymousId, so they keep their
/// order among themselves.
fn check_order(place: &str, report: &Report, first: &[&TakenEvent]) {
    let number: BTreeMap<&str, usize> = report.events.iter().map(|event| (event.id.as_str(), event.n)).collect();
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for event in first {
        let person = event.anonymous_id.as_deref().or(event.user_id.as_deref()).expect("the driver names a person");
        let n = number[&*event.message_id];
        if let Some(before) = last.insert(person, n) {
            assert!(before < n, "{place}: event {n} of {person} came after event {before}");
        }
    }
}

/// What the driver put into the n-th call.
fn check_content(place: &str, sent: &Sent, handed: &Value, text: &str) {
    match sent.kind.as_str() {
        "track" => {
            assert_eq!(handed["event"], "Order Completed", "{place}");
            assert_eq!(handed["properties"]["revenue"], 12.5, "{place}");
            assert_eq!(handed["properties"]["order"], sent.n, "{place}");
            assert_eq!(handed["properties"]["note"], "gr\u{fc}ezi \u{2603}", "{place}");
            if handed["properties"].get("big").is_some() {
                assert!(text.contains("9007199254740993"), "{place}: the digits of a large number changed: {text}");
            }
        }
        "identify" => assert_eq!(handed["traits"]["plan"], "pro", "{place}"),
        "group" => assert_eq!(handed["traits"]["seats"], 5, "{place}"),
        "alias" => assert!(handed["previousId"].as_str().is_some_and(|id| id.contains("-anon-")), "{place}"),
        "page" => assert_eq!(handed["properties"]["url"], "https://shop.example/pricing", "{place}"),
        "screen" => assert_eq!(handed["properties"]["items"], 3, "{place}"),
        other => panic!("{place}: the driver sends no {other}"),
    }
}

/// Both vendors, a sidecar with TLS between them, a CA of its own.
struct Scene {
    segment: Standin,
    rudder: Standin,
    sidecar: Process,
    sdks: PathBuf,
    root_ca: PathBuf,
    tls_port: u16,
    metrics_port: u16,
    _dir: tempfile::TempDir,
}

/// What a driver printed.
#[derive(Deserialize)]
struct Report {
    ok: bool,
    sdk: String,
    events: Vec<Sent>,
}

/// One call of a driver.
#[derive(Deserialize)]
struct Sent {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "userId")]
    user_id: String,
    n: usize,
    /// The true time of the call, in milliseconds.
    at: i64,
}

impl Scene {
    async fn set(sdks: PathBuf) -> Self {
        let seed = seed();
        println!("SEGUE_SEED={seed}");
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let keys = |key: fn(&str) -> String| APPS.iter().map(|app| Key::enabled(key(app.name))).collect();
        let segment = SegmentStandin::start(Options { keys: keys(segment_key), ..Options::default() }).await.expect("Segment stands in");
        let rudder = RudderStandin::start(Options { keys: keys(rudder_key), ..Options::default() }).await.expect("RudderStack stands in");

        let certificates = dir.path().join("certs");
        let made = command().args(["certs", "init", "--name", "api.segment.io", "--dir"]).arg(&certificates).output().expect("segue runs");
        assert!(made.status.success(), "certs init: {}", String::from_utf8_lossy(&made.stderr));

        let [plain_port, tls_port, metrics_port] = free_ports(seed);
        let config = dir.path().join("sidecar.toml");
        let mut text = format!(
            "listen = \"127.0.0.1:{plain_port}\"\nlisten_tls = \"127.0.0.1:{tls_port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n\
             [tls]\ndir = \"certs\"\nnames = [\"api.segment.io\"]\n[journal]\ndir = \"data\"\nsize_max = \"256MiB\"\nvolume_size = \"8MiB\"\n\
             [segment]\nurl = \"{segment}\"\neu_url = \"{segment}\"\ncdn_url = \"{segment}\"\ncdn_settings_url = \"{segment}\"\n\
             [rudderstack]\nurl = \"{rudder}\"\n",
            segment = segment.url(),
            rudder = rudder.url(),
        );
        for app in APPS {
            let _ = write!(
                text,
                "[[source]]\nname = \"{}\"\nsegment_write_key = \"{}\"\nrudderstack_write_key = \"{}\"\nroute = \"both\"\n",
                app.name,
                segment_key(app.name),
                rudder_key(app.name)
            );
        }
        fs::write(&config, text).expect("the configuration can be written");
        let mut sidecar = Process::run(&config, &dir.path().join("log"));
        ready(&mut sidecar, metrics_port).await;
        let root_ca = certificates.join("root.pem");
        Self { segment, rudder, sidecar, sdks, root_ca, tls_port, metrics_port, _dir: dir }
    }

    /// Runs an app to its end. It must believe that all went well.
    fn run_app(&self, app: App, prefix: &str, count: usize, flags: &[&str]) -> Report {
        let driver = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(name);
        let mut run = match app.runtime {
            Runtime::Node(package) => {
                let mut run = clean(Command::new("node"));
                run.arg(driver("node.mjs")).arg("--modules").arg(self.sdks.join("node")).args(["--sdk", package]);
                run.env("NODE_EXTRA_CA_CERTS", &self.root_ca);
                run
            }
            Runtime::Python(before, extra) => {
                let mut run = clean(Command::new(self.sdks.join("python/bin/python")));
                run.arg(driver("python.py")).args(extra);
                run.env("REQUESTS_CA_BUNDLE", &self.root_ca).env("PYTHONDONTWRITEBYTECODE", "1").env_remove("PYTHONPATH");
                if let Some(before) = before {
                    run.env("PYTHONPATH", self.sdks.join(before));
                }
                run
            }
        };
        run.args(["--host", &format!("https://localhost:{}", self.tls_port), "--write-key", &segment_key(app.name)]);
        run.args(["--count", &count.to_string(), "--prefix", prefix]).args(flags);
        let output = run.stdin(Stdio::null()).output().expect("the driver runs");
        assert!(
            output.status.success(),
            "{prefix}: the app heard of a failure ({}):\n{}\nsegue said:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.sidecar.said()
        );
        let report: Report = serde_json::from_slice(&output.stdout).expect("the driver prints JSON");
        assert!(report.ok);
        report
    }

    /// Waits until that many different events have arrived at each vendor.
    async fn arrived(&self, total: u64) {
        for (vendor, standin) in [("Segment", &self.segment), ("RudderStack", &self.rudder)] {
            if let Err(counts) = standin.wait_for(Duration::from_secs(30), |counts| counts.distinct >= total).await {
                panic!("{vendor} has {counts:?}, not {total} events; segue said:\n{}", self.sidecar.said());
            }
        }
    }

    /// Every event that was planned is delivered, to the one and to the other.
    async fn check_ledger(&self, total: u64) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let text = get(self.metrics_port, "/metrics").await.expect("the metrics");
            let of = |name: &str, destination| metric(&text, name, &[("destination", destination)]);
            let wrong: Vec<String> = ["segment", "rudderstack"]
                .into_iter()
                .flat_map(|destination| {
                    let names = ["segue_events_planned_total", "segue_events_delivered_total"];
                    names.map(|name| (name, destination, of(name, destination)))
                })
                .filter(|(_, _, value)| *value != total)
                .map(|(name, destination, value)| format!("{name} of {destination} is {value}, not {total}"))
                .collect();
            if wrong.is_empty() {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{wrong:?}\n{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Ends it all, and the sidecar in good order.
    async fn close(self) {
        let status = self.sidecar.stop(Duration::from_secs(15)).await;
        assert!(status.success(), "segue ended with {status}");
        self.segment.stop().await;
        self.rudder.stop().await;
    }
}

fn segment_key(app: &str) -> String {
    format!("wk_test_segment_{}", app.replace(['-', '.'], "_"))
}

fn rudder_key(app: &str) -> String {
    format!("wk_test_rudder_{}", app.replace(['-', '.'], "_"))
}

/// Where `scripts/test` put the SDKs; None when they are not there and that is allowed.
fn installed_sdks() -> Option<PathBuf> {
    let dir = std::env::var_os("SEGUE_TEST_SDKS").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sdk"), PathBuf::from);
    let missing: Vec<&str> =
        ["node/node_modules", "python/bin/python", "python-2.3.6"].into_iter().filter(|part| !dir.join(part).exists()).collect();
    if missing.is_empty() {
        return Some(dir);
    }
    assert!(std::env::var_os("CI").is_none(), "{}: {missing:?} missing, and CI is set; run scripts/test", dir.display());
    println!("SKIPPED: {}: {missing:?} missing; run scripts/test", dir.display());
    None
}
