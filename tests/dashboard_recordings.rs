//! What the dashboard's screens are tested with: the admin API's answers, recorded from a running sidecar in calm and in trouble.
//!
//! `SEGUE_RECORD=1` writes them anew into `src/tui/recorded`; without it they are compared with what a sidecar says today.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod process;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use process::{Process, free_ports, ready, seed};
use segue::standin::{Alteration, Change, Fault, Key, Options, RudderStandin, Rule, SegmentStandin, Standin, Webhook, Which};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

/// The sources: their names, routes and rules.
const SOURCES: [(&str, &str, &str); 5] = [
    ("web-checkout", "both", ""),
    ("android-prod", "shadow=25%", "rule = [{ app = \"android < 4.12\", route = \"segment-only\" }]\n"),
    ("ios-prod", "cutover=25%", "verify = \"1%\"\n"),
    ("billing-jobs", "segment-only", ""),
    ("legacy-rn", "rudderstack-only", ""),
];

/// What vendors sign with, and what stands in RudderStack's path.
const HOOK: &str = "wk_test_recorded_hook";

struct Scene {
    segment: Standin,
    rudder: Standin,
    port: u16,
    socket: PathBuf,
    process: Process,
    _dir: tempfile::TempDir,
}

fn key(name: &str) -> String {
    format!("wk_test_recorded_{name}")
}

impl Scene {
    async fn set() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = || Options { keys: SOURCES.iter().map(|(name, ..)| Key::enabled(key(name))).collect(), ..Options::default() };
        let segment = SegmentStandin::start(options()).await.unwrap();
        let rudder = RudderStandin::start(options()).await.unwrap();
        let [port, metrics, hooks] = free_ports(seed());
        let mut text = format!(
            "listen = \"127.0.0.1:{port}\"\nmetrics = \"127.0.0.1:{metrics}\"\n[journal]\ndir = \"data\"\nsize_max = \"256MiB\"\nvolume_size = \"16MiB\"\n\
             [segment]\nurl = \"{0}\"\neu_url = \"{0}\"\ncdn_url = \"{0}\"\ncdn_settings_url = \"{0}\"\n\
             [rudderstack]\nurl = \"{1}\"\n[rudderstack.retry]\nfirst = \"20ms\"\nmax = \"100ms\"\n\
             [hooks]\nlisten = \"127.0.0.1:{hooks}\"\nsegment_secret = \"{HOOK}\"\nrudderstack_secret = \"{HOOK}\"\n",
            segment.url(),
            rudder.url()
        );
        for (name, route, more) in SOURCES {
            let key = key(name);
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "[[source]]\nname = \"{name}\"\nsegment_write_key = \"{key}\"\nrudderstack_write_key = \"{key}\"\nroute = \"{route}\"\n{more}"
            );
        }
        for (vendor, path) in [(&segment, "segment".to_owned()), (&rudder, format!("rudderstack/{HOOK}"))] {
            for (name, ..) in SOURCES {
                let url = format!("http://127.0.0.1:{hooks}/tap/{path}/{name}");
                vendor.emissions().to(Webhook { write_key: key(name), url, secret: Some(HOOK.to_owned()) }).unwrap();
            }
        }
        // What the dashboard is to show as found.
        let events = Which { name: Some("Order Completed".to_owned()), every: 4, ..Which::default() };
        rudder.emissions().alter(Alteration { change: Change::Retype("properties.total".to_owned()), events });
        let config = dir.path().join("sidecar.toml");
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        let mut process = Process::run(&config, &dir.path().join("log"));
        ready(&mut process, metrics).await;
        Self { segment, rudder, port, socket: dir.path().join("data/admin.sock"), process, _dir: dir }
    }

    /// One event of an app, by a person.
    async fn post(&self, source: &str, person: usize, event: &Value) {
        let mut event = event.clone();
        event["anonymousId"] = json!(format!("anonymous-person-{person}"));
        event["writeKey"] = json!(key(source));
        let body = event.to_string();
        let request = format!(
            "POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = UnixStream::connect(&self.socket).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.ask("GET", path, &json!({})).await
    }

    async fn post_to(&self, path: &str, body: Value) -> Value {
        self.ask("POST", path, &body).await
    }

    /// The first event of that name on the stream.
    async fn heard(&self, topics: &str, name: &str) -> Value {
        let client = segue::client::Client::new(&self.socket, Duration::from_secs(10));
        let mut stream = client.stream(&format!("/v1/stream?topics={topics}")).await.unwrap();
        let heard = async {
            loop {
                let event = stream.next().await.unwrap();
                if event.name == name {
                    return serde_json::from_str(&event.data).unwrap();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), heard).await.unwrap()
    }

    /// Waits until the status is as wanted.
    async fn until(&self, what: &str, so: impl Fn(&Value) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let snapshot = self.heard("figures", "snapshot").await;
            if so(&snapshot) {
                return;
            }
            assert!(Instant::now() < deadline, "not {what}: {snapshot:#}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A round of events of all apps.
    async fn traffic(&self, people: usize) {
        let app = |name: &str, version: &str, library: &str| json!({ "app": { "name": name, "version": version }, "library": { "name": library, "version": "1.16.0" } });
        for person in 0..people {
            let version = if person % 5 == 0 { "4.11.2" } else { "5.0.4" };
            let android = json!({ "event": "Product Viewed", "properties": { "price": "19.90", "coupon": null, "currency": "EUR" }, "context": app("android", version, "analytics-kotlin") });
            self.post("android-prod", person, &android).await;
            self.post(
                "web-checkout",
                person,
                &json!({ "event": "Order Completed", "properties": { "total": 59.9 }, "context": app("web", "2026.11.2", "analytics.js") }),
            )
            .await;
            self.post("ios-prod", person, &json!({ "event": "Screen Rendered", "context": app("ios", "8.2.1", "analytics-swift"), "integrations": { "All": true, "Mixpanel": false } })).await;
            self.post("billing-jobs", person, &json!({ "event": "Invoice Paid" })).await;
            self.post("legacy-rn", person, &json!({ "event": "App Opened", "context": app("rn", "1.9", "analytics-react-native") })).await;
        }
    }

    /// All that a dashboard asks for.
    async fn all(&self, into: &Path) {
        let name = "web-checkout";
        let asked = [
            ("me", "/v1/me".to_owned()),
            ("history", "/v1/routes/history?count=200".to_owned()),
            ("limits", "/v1/limits".to_owned()),
            ("replays", "/v1/replays".to_owned()),
            ("quarantine", "/v1/quarantine?limit=100".to_owned()),
            ("series", "/v1/series?window=1m".to_owned()),
            ("series-of-one", format!("/v1/series?window=1m&source={name}")),
            ("sparks", "/v1/series?window=1m&each=true".to_owned()),
            ("versions", "/v1/versions".to_owned()),
            ("diffs", "/v1/diffs".to_owned()),
            ("evidence", "/v1/evidence".to_owned()),
            ("findings", "/v1/findings".to_owned()),
        ];
        // Evidence counts anew from a flip on, of which it hears within a second.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        self.traffic(8).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        for vendor in [&self.segment, &self.rudder] {
            vendor.emissions().settled().await;
        }
        write(into, "snapshot", &self.heard("figures", "snapshot").await);
        write(into, "figures", &self.heard("figures", "figures").await);
        for (file, path) in asked {
            write(into, file, &self.get(&path).await);
        }
        let diffs: Value = read(into, "diffs");
        if let Some(sample) = diffs["groups"].as_array().and_then(|groups| groups.iter().find_map(|group| group["samples"][0].as_str())) {
            write(into, "event", &self.get(&format!("/v1/events/{sample}")).await);
        }
        let (taps, ()) = tokio::join!(self.taps(Duration::from_secs(3)), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            self.traffic(6).await;
        });
        write(into, "taps", &taps);
    }

    /// What the tap tells in that time.
    async fn taps(&self, time: Duration) -> Value {
        let client = segue::client::Client::new(&self.socket, Duration::from_secs(10));
        let mut stream = client.stream("/v1/stream?topics=tap").await.unwrap();
        let (mut taps, until) = (Vec::new(), tokio::time::Instant::now() + time);
        while let Ok(event) = tokio::time::timeout_at(until, stream.next()).await {
            let event = event.unwrap();
            if event.name == "tap" {
                taps.push(serde_json::from_str::<Value>(&event.data).unwrap());
            }
        }
        Value::Array(taps)
    }
}

fn write(dir: &Path, name: &str, value: &Value) {
    fs::write(dir.join(format!("{name}.json")), format!("{value:#}\n")).unwrap();
}

fn read(dir: &Path, name: &str) -> Value {
    serde_json::from_slice(&fs::read(dir.join(format!("{name}.json"))).unwrap()).unwrap()
}

/// Whatever comes and goes with the moment: waits, reasons, paces.
const FLEETING: [&str; 14] = [
    "oldest",
    "hours_left",
    "since",
    "until",
    "reason",
    "latency",
    "kept_from",
    "waits_for",
    "total",
    "lost",
    "outcomes",
    "rows",
    "received_at",
    "message_id",
];

/// The places of a document, whatever stands there; numbers of arrays left out.
fn places(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members.iter().filter(|(name, _)| !FLEETING.contains(&name.as_str())) {
                let place = format!("{at}.{name}");
                found.insert(place.clone());
                // An event is the client's own.
                if !matches!(name.as_str(), "event" | "segment" | "rudderstack") || at.matches('.').count() == 0 {
                    places(value, &place, found);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| places(item, &format!("{at}[]"), found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recordings_are_what_a_sidecar_says() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tui/recorded");
    let is_recording = std::env::var_os("SEGUE_RECORD").is_some();
    let fresh = tempfile::tempdir().unwrap();
    let into = if is_recording { kept.clone() } else { fresh.path().to_owned() };
    for part in ["calm", "trouble"] {
        fs::create_dir_all(into.join(part)).unwrap();
    }
    let scene = Scene::set().await;

    // A calm evening: all flows, somebody has changed a route and a limit.
    scene.traffic(12).await;
    scene.post_to("/v1/sources/android-prod/route", json!({ "route": "shadow=30%", "reason": "step 2, CHG-1182" })).await;
    scene.post_to("/v1/limits", json!({ "destination": "rudderstack", "limit": "2000/s" })).await;
    scene.traffic(28).await;
    scene.until("delivered", |snapshot| snapshot["lanes"].as_array().unwrap().iter().all(|lane| lane["ledger"]["pending"] == 0)).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    scene.all(&into.join("calm")).await;

    // A bad night: a key is refused, events are, one destination is slow, a lane is held, a gap is sent again.
    scene.rudder.faults().add(Rule::always(Fault::status(401)).for_key(key("android-prod")));
    scene.rudder.faults().add(
        Rule::always(Fault::Status { status: 400, retry_after: None, body: Some("{\"message\":\"invalid timestamp\"}".to_owned()) })
            .for_event("Refund \u{1b}[31mIssued\u{202e}"),
    );
    scene.segment.faults().add(Rule::always(Fault::slow(Duration::from_millis(120))));
    for person in 0..3 {
        scene
            .post(
                "web-checkout",
                person,
                &json!({ "event": "Refund \u{1b}[31mIssued\u{202e}", "properties": { "email": "somebody@example.com" } }),
            )
            .await;
    }
    scene.post_to("/v1/lanes/billing-jobs/segment/hold", json!({ "reason": "billing moves its keys" })).await;
    scene.traffic(20).await;
    scene.post_to("/v1/sources/web-checkout/route", json!({ "route": "rudderstack-only" })).await;
    scene.traffic(4).await;
    scene.post_to("/v1/routes/undo", json!({ "reason": "too early" })).await;
    scene.post_to("/v1/replays", json!({ "source": "web-checkout", "destination": "segment", "rate": "200/s" })).await;
    scene
        .until("in trouble", |snapshot| {
            let kinds: BTreeSet<&str> =
                snapshot["status"]["troubles"].as_array().unwrap().iter().map(|trouble| trouble["kind"].as_str().unwrap()).collect();
            let quarantined = snapshot["status"]["destinations"][1]["quarantined"].as_u64().unwrap();
            kinds.contains("lane_parked") && quarantined == 3
        })
        .await;
    scene.all(&into.join("trouble")).await;
    let page = read(&into.join("trouble"), "quarantine");
    let entry = scene.get(&format!("/v1/quarantine/{}", page["entries"][0]["id"])).await;
    write(&into.join("trouble"), "entry", &entry);
    scene.post_to("/v1/kill/on", json!({ "reason": "until morning" })).await;
    write(&into.join("trouble"), "killed", &scene.heard("figures", "snapshot").await);

    if is_recording {
        return;
    }
    for part in ["calm", "trouble"] {
        for file in fs::read_dir(kept.join(part)).unwrap() {
            let name = file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
            let (mut recorded, mut today) = (BTreeSet::new(), BTreeSet::new());
            places(&read(&kept.join(part), &name), "", &mut recorded);
            places(&read(&into.join(part), &name), "", &mut today);
            assert_eq!(recorded, today, "{part}/{name}: record anew with SEGUE_RECORD=1");
        }
    }
    assert!(scene.process.id() > 0);
}
