//! Canaries: write keys, tokens, e-mails and names that are put wherever a client or an upstream can put them, while every path that
//! says something is provoked. They may rest in the journal, as the client sent them, and nowhere else; RudderStack's key and tokens
//! not even there (reliability.md I9, A7, T9, X5).

#![expect(clippy::panic, reason = "a story that cannot go on fails, with what the sidecar said")]

mod echo;
mod process;
mod sums;

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use echo::Echo;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use process::{command, free_ports, get, metric, seed};
use segue::upstream::{Answer, Call, Settings, Upstream};
use sums::Sums;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SEGMENT_KEY: &str = "wk_test_canary_segment_Q7f3";
const RUDDER_KEY: &str = "wk_test_canary_rudder_Z9d1";
const TOKEN: &str = "tok_canary_0a1b2c3d";
/// What every canary has in it, in whatever case.
const CANARY: &str = "canary";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_canary_leaves_the_journal() {
    let scene = Scene::set("relay").await;
    let mut segue = scene.start();
    let client = scene.client();
    scene.ready(&mut segue).await;
    let sums = Sums::watch(([127, 0, 0, 1], scene.metrics_port).into());

    // A good day first, with the canaries wherever they can be.
    for (path, headers, body) in good_requests() {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let method = if path.starts_with("/v1/pixel") { Method::GET } else { Method::POST };
        let answer = send(&client, method, &path, &headers, body).await.expect("an answer");
        assert_eq!(answer.status, 200, "{path}");
        // The one with a token is relayed: its answer is Segment's own, which repeats what was sent.
        let is_relayed = headers.iter().any(|(_, value)| value.starts_with("Bearer"));
        assert!(is_relayed || !holds_canary(&answer.body), "{path}: {:?}", answer.body);
    }
    scene
        .until(&mut segue, "everything is delivered", |page| {
            metric(page, "segue_queue_events", &[]) == 0 && metric(page, "segue_events_delivered_total", &[]) > 10
        })
        .await;

    // Refusals that repeat what was refused, key and all: quarantine.
    scene.segment.answer(400);
    scene.rudder.answer(400);
    for n in 0..3 {
        scene.track(n).await;
    }
    scene.until(&mut segue, "both quarantine", |page| metric(page, "segue_events_quarantined_total", &[]) >= 6).await;
    // An outage, garbage in place of an answer, and the end of both.
    scene.segment.answer(503);
    scene.track(4).await;
    scene.until_said(&mut segue, "destination_down").await;
    scene.segment.answer(echo::GARBAGE);
    tokio::time::sleep(Duration::from_millis(400)).await;
    scene.segment.answer(200);
    scene.until_said(&mut segue, "destination_up").await;
    // A key that is refused: park.
    scene.rudder.answer(401);
    scene.track(5).await;
    scene.until_said(&mut segue, "lane_parked").await;

    hostile_bytes(&scene).await;
    // Unknown to segue: relayed to a Segment that is gone.
    scene.segment.answer(echo::CUT);
    let unknown = send(&client, Method::POST, "/v1/canary/path?writeKey=wk_test_canary_unknown", &[], event(6).into()).await;
    assert_eq!(unknown.expect("an answer").status, 429);
    scene.until_said(&mut segue, "relay_failed").await;
    // The parked lane's backlog fills its share of the disk: what is for it cannot be kept any more.
    scene.segment.answer(200);
    let filler = event(7).replace("\"properties\":{", &format!("\"properties\":{{\"fill\":\"{}\",", "x".repeat(400_000)));
    for _ in 0..60 {
        scene.post("/v1/track", &[("authorization", &basic(SEGMENT_KEY))], filler.clone().into()).await;
    }
    scene.until(&mut segue, "appends are refused", |page| metric(page, "segue_events_unjournalled_total", &[]) > 0).await;
    assert_eq!(scene.track(8).await.status, 200, "what cannot be kept goes to Segment all the same");

    let page = get(scene.metrics_port, "/metrics").await.expect("metrics");
    let ready = scene.raw(scene.metrics_port, "GET /readyz/canary HTTP/1.1\r\nHost: canary\r\nConnection: close\r\n\r\n").await;
    assert!(!holds_canary(page.as_bytes()) && !holds_canary(ready.as_bytes()), "{page}\n{ready}");
    sums.held().await;

    let status = fs::read(format!("/proc/{}/cmdline", segue.id())).expect("the command line can be read");
    assert!(!holds_canary(&status));
    let ended = abort(segue).await;
    assert!(!ended.core_dumped(), "a core would hold every key: {ended:?}");
    scene.search();
}

/// What no client of a library would send, each with canaries in it.
async fn hostile_bytes(scene: &Scene) {
    let long = format!("GET /v1/canary{} HTTP/1.1\r\n\r\n", "canary".repeat(5_000));
    let raw = [
        "CANARY /canary\u{1b}[2J HTTP/9.9\r\ncanary\r\n\r\n",
        "POST /v1/track HTTP/1.1\r\nHost: canary\r\nContent-Length: canary\r\n\r\n",
        "POST /v1/track HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz canary\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ncanary canary canary canary canary canary",
        "GET http://canary@canary.example/canary HTTP/1.1\r\nCanary: \u{202e}canary\r\n\r\n",
        "POST /v1/track HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\nConnection: close\r\n\r\n{\"canary\":",
        &long,
    ];
    for request in raw {
        let answer = scene.raw(scene.port, request).await;
        assert!(!holds_canary(answer.as_bytes()), "{request:?} is repeated: {answer}");
        let _ = scene.raw(scene.tls_port, request).await;
    }
    let large = Bytes::from(format!("{{\"canary\":\"{}\"}}", "canary".repeat(1 << 20)));
    let broken: [(&str, Bytes); 4] = [
        ("identity", Bytes::from_static(b"{\"userId\":\"canary\",")),
        ("gzip", Bytes::from_static(b"\x1f\x8b canary")),
        ("canary", Bytes::from_static(b"canary")),
        ("identity", large),
    ];
    for (encoding, body) in broken {
        // Unreadable bodies are Segment's to judge; ours is only that nothing of them stays.
        let _ = send(
            &scene.client(),
            Method::POST,
            "/v1/track",
            &[("content-encoding", encoding), ("authorization", &basic(SEGMENT_KEY))],
            body,
        )
        .await;
    }
    // And a TLS client that names itself after a canary, while the environment asks for the session's secrets.
    let settings = Settings {
        url: format!("https://localhost:{}", scene.tls_port),
        ca_file: Some(scene.dir.path().join("certs/root.pem")),
        ..Settings::default()
    };
    let tls = Upstream::new(&settings).expect("a client");
    let answer = send(&tls, Method::POST, "/v1/track", &[("authorization", &basic(SEGMENT_KEY))], event(9).into()).await;
    assert_eq!(answer.expect("an answer over TLS").status, 200);
}

/// The log's reader has stopped reading, as when a pipe's other end hangs: events go on, lines are lost and counted, and the stop is
/// as quick as ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let scene = Scene::set("relay").await;
    scene.segment.answer(echo::CUT);
    let mut segue = scene.command().stderr(Stdio::piped()).spawn().expect("segue starts");
    let _unread = segue.stderr.take();
    scene.ready(&mut segue).await;
    let sums = Sums::watch(([127, 0, 0, 1], scene.metrics_port).into());
    let mut clients = Vec::new();
    for _ in 0..8 {
        let client = scene.client();
        // Each of these says that it could not be relayed.
        clients.push(tokio::spawn(async move {
            for _ in 0..900 {
                let answer = send(&client, Method::POST, &format!("/v1/nothing/{}", "x".repeat(100)), &[], Bytes::new()).await;
                assert_eq!(answer.expect("an answer").status, 429);
            }
        }));
    }
    for client in clients {
        client.await.expect("every request was answered");
    }
    scene.until(&mut segue, "lines are lost", |page| metric(page, "segue_log_lines_lost_total", &[]) > 0).await;
    let from = Instant::now();
    for n in 0..50 {
        assert_eq!(scene.post("/v1/track", &[("authorization", &basic(SEGMENT_KEY))], event(n).into()).await.status, 200);
    }
    println!("50 events in {:?} beside a stuck log", from.elapsed());
    scene.segment.answer(200);
    scene.until(&mut segue, "they arrive", |page| metric(page, "segue_events_delivered_total", &[]) >= 100).await;
    sums.held().await;
    signal(&segue, rustix::process::Signal::TERM);
    let ended = wait(&mut segue, Duration::from_secs(10)).await;
    assert!(ended.success(), "{ended}");
}

/// Another process of the same user reads neither environment nor memory, and no other user's file is trusted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_neighbour_of_the_same_user_reads_nothing() {
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        println!("not root, or no setpriv: another user cannot be played");
        return;
    }
    let scene = Scene::set("relay").await;
    let nobody = |program: &Path| {
        let mut run = process::clean(Command::new("/usr/bin/setpriv"));
        run.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]).arg(program);
        run
    };
    let home = scene.dir.path();
    fs::set_permissions(home, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let binary = home.join("segue");
    fs::copy(command().get_program(), &binary).expect("the binary can be copied");
    for entry in fs::read_dir(home.join("certs")).expect("certificates") {
        std::os::unix::fs::chown(entry.expect("a file").path(), Some(65_534), None).expect("we are root");
    }
    fs::set_permissions(home.join("certs"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let start = || {
        let mut run = nobody(&binary);
        run.args(["run", "--config"]).arg(home.join("sidecar.toml")).env("RUDDER_CANARY", RUDDER_KEY);
        run
    };

    // Root's own directory is not for it, and another user's is not either.
    let data = home.join("data");
    fs::create_dir(&data).expect("a directory");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("it is ours");
    let refused = start().output().expect("segue runs");
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("data"), "{refused:?}");
    std::os::unix::fs::chown(&data, Some(1_234), None).expect("we are root");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).expect("it is ours");
    let refused = start().output().expect("segue runs");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && said.contains("belongs to another user (uid 1234)") && said.contains("chown -R 65534"), "{said}");

    // As Kubernetes mounts it: root's, open to all. That is told, not refused, and what segue makes in it is closed.
    std::os::unix::fs::chown(&data, Some(0), None).expect("we are root");
    let mut segue = start().stderr(fs::File::create(&scene.log).expect("a log")).spawn().expect("segue starts");
    scene.ready(&mut segue).await;
    assert!(scene.said().contains("journal_exposed"), "{}", scene.said());
    assert_eq!(scene.post("/v1/track", &[("authorization", &basic(SEGMENT_KEY))], event(1).into()).await.status, 200);
    for file in fs::read_dir(&data).expect("the data directory") {
        let file = file.expect("a file");
        let metadata = file.metadata().expect("its mode");
        assert_eq!(metadata.permissions().mode() & 0o777, if metadata.is_dir() { 0o700 } else { 0o600 }, "{:?}", file.path());
    }
    let page = get(scene.metrics_port, "/metrics").await.expect("metrics");
    assert!(metric(&page, "process_open_fds", &[]) > 5, "it still sees itself:\n{page}");

    for part in ["environ", "mem", "fd"] {
        let path = format!("/proc/{}/{part}", segue.id());
        let program = if part == "fd" { "/usr/bin/ls" } else { "/usr/bin/cat" };
        let tried = nobody(Path::new(program)).arg(&path).output().expect("the neighbour runs");
        assert!(!tried.status.success() && tried.stdout.is_empty(), "{path} can be read");
    }
    // The control: of a process that does not defend itself, the same neighbour reads all.
    let mut plain = nobody(Path::new("/usr/bin/sleep")).arg("60").env("PLAIN", "seen").spawn().expect("sleep runs");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let seen = nobody(Path::new("/usr/bin/cat")).arg(format!("/proc/{}/environ", plain.id())).output().expect("the neighbour runs");
    assert!(String::from_utf8_lossy(&seen.stdout).contains("PLAIN=seen"), "{seen:?}");
    plain.kill().expect("it runs");
    plain.wait().expect("it is gone");

    let limits = fs::read_to_string(format!("/proc/{}/limits", segue.id())).expect("root reads it");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("the limit");
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    let ended = abort(segue).await;
    assert!(!ended.core_dumped(), "{ended:?}");
}

/// Path, headers and body.
type Request = (String, Vec<(&'static str, String)>, Bytes);

/// Requests that must be kept, with canaries in every place.
fn good_requests() -> Vec<Request> {
    let json = |text: String| Bytes::from(text);
    let keyed = event(0).replacen('{', &format!("{{\"writeKey\":\"{SEGMENT_KEY}\","), 1);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(format!("{{\"batch\":[{},{}]}}", event(1), event(2)).as_bytes()).expect("memory takes it");
    let query = STANDARD.encode(keyed.as_bytes());
    let auth = || ("authorization", basic(SEGMENT_KEY));
    vec![
        ("/v1/track".into(), vec![auth()], json(event(3))),
        ("/v1/t".into(), vec![("user-agent", "canary-agent/1".into()), ("cookie", "id=canary".into())], json(keyed.clone())),
        (
            "/v1/b".into(),
            vec![("referer", "https://canary.example/?e=canary".into())],
            json(format!("{{\"batch\":[{keyed}],\"writeKey\":\"{SEGMENT_KEY}\"}}")),
        ),
        ("/v1/batch".into(), vec![auth(), ("content-encoding", "gzip".into())], gzip.finish().expect("whole").into()),
        (format!("/v1/track?writeKey={SEGMENT_KEY}&email=canary"), vec![], json(event(4))),
        (format!("/v1/pixel/track?data={}", query.replace('+', "%2B")), vec![], Bytes::new()),
        ("/v1/track".into(), vec![("authorization", format!("Bearer {TOKEN}"))], json(keyed)),
        ("/v1/identify".into(), vec![auth(), ("x-forwarded-for", "canary".into())], json(event(5))),
    ]
}

fn event(n: usize) -> String {
    format!(
        "{{\"type\":\"track\",\"event\":\"Canary \\u001b[2J {n}\",\"userId\":\"user-canary-{n}\",\"messageId\":\"message-canary-{n}-{}\",\
         \"properties\":{{\"email\":\"canary.person@example.test\",\"token\":\"{TOKEN}\"}}}}",
        uuid::Uuid::new_v4()
    )
}

fn basic(key: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{key}:")))
}

fn holds_canary(bytes: &[u8]) -> bool {
    let lower = bytes.to_ascii_lowercase();
    let spelled = |text: &str| memchr::memmem::find(&lower, text.to_ascii_lowercase().as_bytes()).is_some();
    spelled(CANARY) || [SEGMENT_KEY, RUDDER_KEY].iter().any(|key| spelled(&STANDARD.encode(format!("{key}:"))))
}

async fn send(client: &Upstream, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Option<Answer> {
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value")))
        .collect();
    client.relay(Call { method, path: path.to_owned(), headers, body }, 8 << 20).await.ok()
}

fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).expect("it can be told");
}

async fn wait(child: &mut Child, patience: Duration) -> std::process::ExitStatus {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(status) = child.try_wait().expect("its state") {
            return status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("segue did not end within {patience:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// SIGABRT, which leaves a core where one is allowed.
async fn abort(mut child: Child) -> std::process::ExitStatus {
    signal(&child, rustix::process::Signal::ABORT);
    let ended = wait(&mut child, Duration::from_secs(10)).await;
    assert_eq!(ended.signal(), Some(6), "{ended:?}");
    ended
}

/// A sidecar between two vendors that repeat whatever they are sent.
struct Scene {
    segment: Echo,
    rudder: Echo,
    log: PathBuf,
    port: u16,
    tls_port: u16,
    metrics_port: u16,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn set(on_full: &str) -> Self {
        let seed = seed();
        println!("SEGUE_SEED={seed}");
        let dir = tempfile::tempdir().expect("a directory");
        let (segment, rudder) = (Echo::start().await, Echo::start().await);
        let [port, tls_port, metrics_port] = free_ports(seed ^ u64::from(segment.port()));
        let made = command().args(["certs", "init", "--name", "api.segment.io", "--dir"]).arg(dir.path().join("certs")).output();
        assert!(made.expect("segue runs").status.success());
        let (us, them) = (segment.port(), rudder.port());
        let mut text = format!(
            "listen = \"127.0.0.1:{port}\"\nlisten_tls = \"127.0.0.1:{tls_port}\"\nmetrics = \"127.0.0.1:{metrics_port}\"\n\
             [tls]\ndir = \"certs\"\nnames = [\"api.segment.io\"]\n[log]\nlevel = \"trace\"\n\
             [journal]\ndir = \"data\"\nsize_max = \"20MiB\"\nvolume_size = \"5MiB\"\non_full = \"{on_full}\"\n\
             [rudderstack]\nurl = \"http://127.0.0.1:{them}\"\n[rudderstack.retry]\nfirst = \"50ms\"\nmax = \"200ms\"\n\
             [[source]]\nname = \"web\"\nsegment_write_key = \"{SEGMENT_KEY}\"\nrudderstack_write_key = {{ env = \"RUDDER_CANARY\" }}\nroute = \"both\"\n\
             [segment]\n",
        );
        for name in ["url", "eu_url", "cdn_url", "cdn_settings_url"] {
            let _ = writeln!(text, "{name} = \"http://127.0.0.1:{us}\"");
        }
        text.push_str("[segment.retry]\nfirst = \"50ms\"\nmax = \"200ms\"\n");
        fs::write(dir.path().join("sidecar.toml"), text).expect("the configuration can be written");
        Self { segment, rudder, log: dir.path().join("log"), port, tls_port, metrics_port, dir }
    }

    /// The sidecar in an environment that asks it to give everything away.
    fn command(&self) -> Command {
        let mut shell = process::clean(Command::new("/bin/sh"));
        // Cores as large as they like, and files that everybody may read.
        shell.args(["-c", "ulimit -c unlimited 2>/dev/null; umask 000; exec \"$0\" \"$@\""]).arg(command().get_program());
        shell.args(["run", "--config"]).arg(self.dir.path().join("sidecar.toml")).current_dir(self.dir.path());
        shell.env("RUDDER_CANARY", RUDDER_KEY).env("RUST_LOG", "trace,hyper=trace,h2=trace,rustls=trace,tokio=trace");
        shell.env("SSLKEYLOGFILE", self.dir.path().join("session-secrets")).stdin(Stdio::null());
        shell
    }

    fn start(&self) -> Child {
        let log = fs::File::create(&self.log).expect("a log");
        self.command().stdout(log.try_clone().expect("a handle")).stderr(log).spawn().expect("segue starts")
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn client(&self) -> Upstream {
        let settings = Settings { url: format!("http://127.0.0.1:{}", self.port), ..Settings::default() };
        Upstream::new(&settings).expect("a client")
    }

    async fn track(&self, n: usize) -> Answer {
        self.post("/v1/track", &[("authorization", &basic(SEGMENT_KEY))], event(n).into()).await
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answer {
        send(&self.client(), Method::POST, path, headers, body).await.expect("an answer")
    }

    /// Writes bytes to a port and reads what comes until it is closed, for a second at most.
    async fn raw(&self, port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(1), stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn ready(&self, segue: &mut Child) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while get(self.metrics_port, "/readyz").await.is_none() {
            if let Some(ended) = segue.try_wait().expect("its state") {
                panic!("segue ended with {ended}:\n{}", self.said());
            }
            assert!(Instant::now() < deadline, "not ready after 30 s");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until(&self, segue: &mut Child, what: &str, holds: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let page = get(self.metrics_port, "/metrics").await.unwrap_or_default();
            if holds(&page) {
                return;
            }
            assert!(segue.try_wait().expect("its state").is_none(), "segue ended before {what}");
            assert!(Instant::now() < deadline, "not within 30 s: {what}\n{page}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn until_said(&self, segue: &mut Child, word: &str) {
        self.until(segue, word, |_| self.said().contains(&format!("\"event\":\"{word}\""))).await;
    }

    /// Looks through everything that was left behind.
    fn search(&self) {
        let log = self.said();
        assert!(log.lines().count() > 20, "nothing was provoked:\n{log}");
        for line in log.lines() {
            assert!(!holds_canary(line.as_bytes()), "the log repeats a canary: {line}");
            assert!(line.chars().all(|char| !char.is_control()), "a line that is not inert: {line:?}");
        }
        for arguments in [&["check"][..], &["check", "--json"], &["config", "show"], &["config", "show", "--json"]] {
            let shown =
                command().args(arguments).current_dir(self.dir.path()).env("RUDDER_CANARY", RUDDER_KEY).output().expect("segue runs");
            let shown = [shown.stdout, shown.stderr].concat();
            // The variable is called so; its value is not shown.
            let shown = String::from_utf8_lossy(&shown).replace("RUDDER_CANARY", "");
            assert!(shown.len() > 20 && !holds_canary(shown.as_bytes()), "segue {arguments:?}: {shown}");
        }
        assert!(!self.dir.path().join("session-secrets").exists(), "SSLKEYLOGFILE was obeyed");
        let (mut files, mut events) = (0, 0);
        let listed = |dir: &str| {
            let dir = self.dir.path().join(dir);
            fs::read_dir(dir).into_iter().flatten().map(|file| file.expect("a file").path()).collect::<Vec<_>>()
        };
        for path in [listed("data"), listed("data/evidence"), listed("data/census")].concat() {
            let metadata = fs::metadata(&path).expect("its mode");
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode, if metadata.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
            if metadata.is_dir() {
                continue;
            }
            if fs::metadata(&path).expect("its kind").file_type().is_socket() {
                continue;
            }
            let bytes = fs::read(&path).expect("it can be read");
            let holds = |text: &str| memchr::memmem::find(&bytes, text.as_bytes()).is_some();
            for secret in [
                RUDDER_KEY,
                &format!("Bearer {TOKEN}"),
                &STANDARD.encode(format!("{RUDDER_KEY}:")),
                &STANDARD.encode(format!("{SEGMENT_KEY}:")),
            ] {
                assert!(!holds(secret), "{} holds {secret}", path.display());
            }
            files += 1;
            events += u32::from(holds("user-canary"));
        }
        assert!(files > 3 && events > 0, "the search found nothing where something must be: {files} files, {events} with events");
        println!("{} lines of log, {files} files, no canary", log.lines().count());
    }
}
