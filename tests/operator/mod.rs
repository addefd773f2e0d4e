//! A sidecar of one source as the real binary, both vendors played by this process, and an operator with the command line.

#![allow(dead_code, reason = "every story uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{Duration, Instant},
};

use segue::standin::{Key, Options, RudderStandin, SegmentStandin, Standin};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
};

use crate::{
    process::{self, Process, free_ports, get, metric, ready},
    sums::Sums,
};

/// The canary that stands for a Segment write key.
pub const SEGMENT_KEY: &str = "wk_test_admin_segment";
/// The canary that stands for a RudderStack write key.
pub const RUDDER_KEY: &str = "wk_test_admin_rudder";

/// A sidecar of one source, both vendors, and the operator.
pub struct Scene {
    pub segment: Standin,
    pub rudder: Standin,
    pub config: PathBuf,
    pub log: PathBuf,
    pub socket: PathBuf,
    pub port: u16,
    pub metrics_port: u16,
    _dir: tempfile::TempDir,
}

impl Scene {
    pub async fn set(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = |key| Options { keys: vec![Key::enabled(key)], ..Options::default() };
        let segment = SegmentStandin::start(options(SEGMENT_KEY)).await.unwrap();
        let rudder = RudderStandin::start(options(RUDDER_KEY)).await.unwrap();
        let [port, metrics_port] = free_ports(seed);
        let (config, log, socket) = (dir.path().join("sidecar.toml"), dir.path().join("log"), dir.path().join("data/admin.sock"));
        let text = format!(
            "listen = \"127.0.0.1:{port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n[journal]\ndir = \"data\"\nsize_max = \"64MiB\"\nvolume_size = \"2MiB\"\n[limits]\nbody_bytes_max = \"1MiB\"\ninflated_bytes_max = \"1MiB\"\n\
             [segment]\nurl = \"{segment}\"\neu_url = \"{segment}\"\ncdn_url = \"{segment}\"\ncdn_settings_url = \"{segment}\"\n\
             [rudderstack]\nurl = \"{rudder}\"\n[rudderstack.retry]\nfirst = \"20ms\"\nmax = \"100ms\"\n\
             [[source]]\nname = \"web\"\nsegment_write_key = \"{SEGMENT_KEY}\"\nrudderstack_write_key = \"{RUDDER_KEY}\"\nroute = \"both\"\n",
            segment = segment.url(),
            rudder = rudder.url(),
        );
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
        Self { segment, rudder, config, log, socket, port, metrics_port, _dir: dir }
    }

    pub async fn start(&self) -> Process {
        let mut process = Process::run(&self.config, &self.log);
        ready(&mut process, self.metrics_port).await;
        process
    }

    pub async fn post(&self, id: &str, name: &str) {
        self.post_body(&format!(
            r#"{{"type":"track","event":"{name}","anonymousId":"p-{id}","messageId":"{id}","writeKey":"{SEGMENT_KEY}"}}"#
        ))
        .await;
    }

    pub async fn post_body(&self, event: &str) {
        self.post_to("/v1/track", event).await;
    }

    pub async fn post_to(&self, path: &str, event: &str) {
        self.post_with(path, "", event).await;
    }

    /// With headers of the caller's, each with its line end.
    pub async fn post_with(&self, path: &str, headers: &str, event: &str) {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{event}",
            event.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    pub async fn segue(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = process::command();
        command.args(arguments).arg("--config").arg(&self.config);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    }

    /// A count of the lane to RudderStack.
    pub async fn count(&self, name: &str) -> u64 {
        let page = get(self.metrics_port, "/metrics").await.unwrap_or_default();
        metric(&page, name, &[("source", "web"), ("destination", "rudderstack")])
    }

    pub async fn until(&self, what: &str, name: &str, want: impl Fn(u64) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !want(self.count(name).await) {
            assert!(Instant::now() < deadline, "{what}: {name} is {}", self.count(name).await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn watch(&self) -> Sums {
        Sums::watch(([127, 0, 0, 1], self.metrics_port).into())
    }
}

/// Asks the socket for something, raw.
pub async fn ask(scene: &Scene, request: &[u8]) -> String {
    let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn request(method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}
