//! The admin API as others use it: its own description put to the test by schemathesis, users with roles, viewers of the stream.
//!
//! `SEGUE_EXAMPLES` sets how many requests schemathesis makes up for each operation (25), `SEGUE_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod operator;
mod process;
mod sums;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use operator::{Scene, ask, request};
use process::seed;
use segue::standin::{Fault, Rule};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixStream},
};

/// schemathesis, which `scripts/test` puts under target/.
fn schemathesis() -> Option<PathBuf> {
    let dir = std::env::var_os("SEGUE_TEST_SDKS").map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sdk"), Into::into);
    let program = dir.join("schemathesis/bin/schemathesis");
    if program.exists() {
        return Some(program);
    }
    println!("skipped: no schemathesis under {}; scripts/test installs it", dir.display());
    assert!(std::env::var_os("CI").is_none(), "{} is missing, and CI is set; run scripts/test", program.display());
    None
}

/// A port on which the socket is reached by what cannot speak to sockets.
async fn bridged(socket: &Path) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, socket) = (listener.local_addr().unwrap().port(), socket.to_owned());
    tokio::spawn(async move {
        while let Ok((mut outer, _)) = listener.accept().await {
            let socket = socket.clone();
            tokio::spawn(async move {
                let mut inner = UnixStream::connect(socket).await?;
                tokio::io::copy_bidirectional(&mut outer, &mut inner).await
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_api_answers_as_its_description_says() {
    let Some(program) = schemathesis() else { return };
    let seed = seed();
    let examples = std::env::var("SEGUE_EXAMPLES").unwrap_or_else(|_| "25".to_owned());
    println!("SEGUE_SEED={seed} SEGUE_EXAMPLES={examples}");
    let scene = Scene::set(seed).await;
    let sums = scene.watch();
    let mut process = scene.start().await;
    let port = bridged(&scene.socket).await;
    let dir = tempfile::tempdir().unwrap();
    let mut command = process::clean(Command::new(program));
    command.current_dir(dir.path()).args(["run", "--checks", "all", "--no-color", "--request-timeout", "30"]);
    // It takes what the description calls text for what any text may be: a route that cannot be read, a source that is not there.
    command.args(["--exclude-checks", "positive_data_acceptance"]);
    command.args(["--exclude-path", "/v1/stream", "--max-examples", &examples, "--seed", &(seed % 1_000_000).to_string()]);
    command.arg(format!("http://127.0.0.1:{port}/v1/openapi.json"));
    let ran = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr);
    println!("{}", said.lines().rev().take(25).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n"));
    assert!(ran.status.success(), "{said}");

    // Whatever was asked, it still does its work, and the history of what it did holds together.
    process.assert_running();
    let (code, said) = scene.segue(&["kill", "off", "--yes"]).await;
    assert!(code == 0, "{said}");
    let (code, said) = scene.segue(&["audit", "verify"]).await;
    assert_eq!(code, 0, "{said}");
    scene.post("after", "Fine").await;
    sums.held().await;
    assert!(!process.said().contains("panicked"), "{}", process.said());
    assert!(process.stop(Duration::from_secs(15)).await.success());
}

/// A user who is neither root nor the sidecar's, in this group of the machine.
struct Member {
    binary: PathBuf,
    socket: PathBuf,
    group: u32,
}

impl Member {
    async fn segue(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = process::clean(Command::new("setpriv"));
        command.args(["--reuid", "65532", "--regid", &self.group.to_string(), "--clear-groups"]).arg(&self.binary);
        command.args(arguments).arg("--attach").arg(&self.socket);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    }
}

/// The number of one of the groups that every machine has.
fn group(name: &str) -> u32 {
    let groups = fs::read_to_string("/etc/group").unwrap();
    let line = groups.lines().find(|line| line.split(':').next() == Some(name));
    line.unwrap_or_else(|| panic!("no group {name}")).split(':').nth(2).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_may_do_what_its_groups_may() {
    if rustix::process::geteuid().as_raw() != 0 {
        println!("not root: nobody else can be played here");
        return;
    }
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    // A place that others reach, for the socket and for the binary.
    let open = tempfile::tempdir_in("/tmp").unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let binary = open.path().join("segue");
    fs::copy(process::command().get_program(), &binary).unwrap();
    let socket = open.path().join("run/admin.sock");
    let configured = fs::read_to_string(&scene.config).unwrap();
    let admin = format!(
        "[admin]\nsocket = \"{}\"\ngroup = \"users\"\noperate = [\"games\", \"no-such-group\"]\nreveal = [\"news\"]\n[segment]",
        socket.display()
    );
    fs::write(&scene.config, configured.replace("[segment]", &admin)).unwrap();
    let process = scene.start().await;
    let found = fs::metadata(&socket).unwrap();
    assert_eq!((found.mode() & 0o777, found.gid()), (0o660, group("users")));
    assert!(process.said().contains("admin_group_unknown"), "{}", process.said());

    let member = |name| Member { binary: binary.clone(), socket: socket.clone(), group: group(name) };
    // Whoever is in the group looks at everything, and sees what a change would do.
    let looker = member("users");
    for arguments in [
        &["route", "get"][..],
        &["route", "history"],
        &["kill", "status"],
        &["hold", "ls"],
        &["quarantine", "ls"],
        &["route", "set", "web", "cutover=10%", "--dry-run"],
    ] {
        let (code, said) = looker.segue(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {said}");
    }
    // ... and changes nothing, whatever it asks.
    for arguments in [
        &["route", "set", "web", "cutover=10%", "--yes"][..],
        &["hold", "set", "web", "rudderstack", "--yes"],
        &["hold", "release", "web", "rudderstack", "--yes"],
        &["unpark", "web", "rudderstack"],
        &["kill", "on"],
        &["kill", "off", "--yes"],
        &["reload"],
    ] {
        let (code, said) = looker.segue(arguments).await;
        assert!(
            code == 77 && said.contains("takes the role operate") && said.contains("Nothing was changed"),
            "{arguments:?}: {code} {said}"
        );
    }
    let (_, said) = scene.segue(&["route", "history"]).await;
    assert!(said.contains("Nothing was changed yet"), "{said}");

    // Others do not even reach the socket.
    for name in ["games", "news", "daemon"] {
        let (code, said) = member(name).segue(&["route", "get"]).await;
        assert_eq!(code, 77, "{name}: {said}");
    }
    // Where they do, because somebody opened it, its own rules still hold.
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(socket.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, said) = member("daemon").segue(&["route", "get"]).await;
    assert!(code == 77 && said.contains("answers its own user"), "{code} {said}");
    let (code, said) = member("games").segue(&["route", "set", "web", "cutover=10%", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    let (_, said) = scene.segue(&["route", "history"]).await;
    assert!(said.contains("uid 65532"), "who did it is known: {said}");

    // What tells of a person takes a role of its own.
    scene.rudder.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
    scene.post("personal", "Poison").await;
    scene.post("personal-2", "Poison").await;
    // One of both went to RudderStack: the route is a cutover of a tenth, so send until one does.
    for n in 0..200 {
        scene.post(&format!("many-{n}"), "Poison").await;
    }
    scene.until("refused", "segue_quarantine_events", |events| events > 0).await;
    let (_, said) = scene.segue(&["quarantine", "ls", "--json"]).await;
    let page: Value = serde_json::from_str(&said).unwrap();
    let id = page["entries"][0]["id"].to_string();
    let (code, said) = member("games").segue(&["quarantine", "show", &id, "--reveal"]).await;
    assert!(code == 77 && said.contains("takes the role reveal"), "{code} {said}");
    let (code, said) = member("games").segue(&["quarantine", "show", &id]).await;
    assert!(code == 0 && !said.contains("p-many") && !said.contains("p-personal"), "{code} {said}");
    let (code, said) = member("news").segue(&["quarantine", "show", &id, "--reveal"]).await;
    assert!(code == 0 && (said.contains("p-many") || said.contains("p-personal")), "{code} {said}");
    for verb in ["redrive", "release"] {
        let (code, said) = looker.segue(&["quarantine", verb, "--all", "--yes"]).await;
        assert!(code == 77 && said.contains("takes the role operate"), "{verb}: {code} {said}");
    }
    // What is done about the quarantine stands in the history, too.
    let (code, said) = member("games").segue(&["quarantine", "redrive", &id, "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    let (code, said) = member("games").segue(&["quarantine", "release", "--source", "web", "--yes"]).await;
    assert_eq!(code, 0, "{said}");
    let (_, said) = scene.segue(&["route", "history"]).await;
    assert!(said.contains("redrive") && said.contains("give up     web") && said.matches("uid 65532").count() == 3, "{said}");
    sums.held().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_is_told_what_it_may_do() {
    let scene = Scene::set(seed()).await;
    let _process = scene.start().await;
    let answer = ask(&scene, request("GET", "/v1/me", "").as_bytes()).await;
    let me: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(me["uid"], rustix::process::geteuid().as_raw());
    assert_eq!(me["roles"], serde_json::json!(["look", "operate", "reveal"]));
}

/// The server-sent events of a viewer.
struct Viewer {
    stream: UnixStream,
    heard: String,
}

impl Viewer {
    async fn look(scene: &Scene, query: &str) -> Self {
        let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
        stream.write_all(format!("GET /v1/stream{query} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        Self { stream, heard: String::new() }
    }

    /// The data of the next event of that name; what comes before it is skipped.
    async fn next(&mut self, name: &str) -> Value {
        let mark = format!("event: {name}\ndata: ");
        loop {
            if let Some((before, after)) = self.heard.split_once(&mark)
                && let Some((data, _)) = after.split_once("\n\n")
            {
                // An event may be cut by the frames of HTTP.
                let data: String = data.split("\r\n").step_by(2).collect();
                let read = serde_json::from_str(&data).unwrap_or_else(|error| panic!("{error}: {data}"));
                self.heard = self.heard.split_off(before.len() + mark.len());
                return read;
            }
            let mut bytes = vec![0; 64 << 10];
            let count = tokio::time::timeout(Duration::from_secs(10), self.stream.read(&mut bytes)).await;
            let count = count.unwrap_or_else(|_| panic!("no {name}: {}", self.heard)).unwrap();
            assert!(count > 0, "the stream ended without {name}: {}", self.heard);
            self.heard += &String::from_utf8_lossy(&bytes[..count]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_hears_everything_once_and_then_what_changes() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    let mut viewer = Viewer::look(&scene, "").await;
    let snapshot = viewer.next("snapshot").await;
    assert_eq!((&snapshot["schema"], &snapshot["routes"]["routes"][0]["route"]), (&Value::from("segue.snapshot/v1"), &Value::from("both")));
    assert_eq!(snapshot["lanes"].as_array().unwrap().len(), 2);
    assert!(!snapshot.to_string().contains(operator::SEGMENT_KEY), "{snapshot}");

    // A flip is heard, with who and why; a delivered event is a lane that is not as it was.
    let (code, said) = scene.segue(&["route", "set", "web", "cutover=50%", "--yes", "--reason", "look"]).await;
    assert_eq!(code, 0, "{said}");
    let change = viewer.next("change").await;
    assert_eq!((&change["what"], &change["to"]["route"], &change["reason"]), (&"route".into(), &"cutover=50%".into(), &"look".into()));
    scene.post("seen", "Fine").await;
    let told = loop {
        let figures = viewer.next("figures").await;
        let lanes = figures["lanes"].as_array().unwrap().clone();
        if let Some(lane) = lanes.into_iter().find(|lane| lane["ledger"]["delivered"] == 1) {
            break lane;
        }
    };
    assert_eq!((&told["source"], &told["ledger"]["planned"]), (&"web".into(), &1.into()));
    // What stands still is not repeated.
    let mut quiet = 0;
    for _ in 0..12 {
        quiet += u32::from(viewer.next("figures").await["lanes"].as_array().unwrap().is_empty());
    }
    assert!(quiet >= 6, "{quiet} of 12 had no lane");

    // Only what is wanted is heard.
    let mut changes = Viewer::look(&scene, "?topics=changes").await;
    changes.next("snapshot").await;
    scene.segue(&["kill", "on"]).await;
    assert_eq!(changes.next("change").await["what"], "kill on");
    assert!(!changes.heard.contains("event: figures"), "{}", changes.heard);
    let answer = ask(&scene, b"GET /v1/stream?topics=gossip HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("figures, changes"), "{answer}");

    // Viewers that never read take their places and nothing else; one more is told so.
    let mut idle = Vec::new();
    for _ in 0..6 {
        let mut silent = Viewer::look(&scene, "").await;
        silent.next("snapshot").await;
        idle.push(silent);
    }
    let answer = ask(&scene, b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("8 viewers look already"), "{answer}");
    scene.segue(&["kill", "off", "--yes"]).await;
    assert_eq!(scene.segue(&["route", "set", "web", "both", "--yes"]).await.0, 0);
    for n in 0..200 {
        scene.post(&format!("beside-{n}"), "Fine").await;
    }
    scene.until("events go their way", "segue_queue_events", |pending| pending == 0).await;
    assert_eq!(scene.segue(&["status"]).await.0, 0, "commands are answered beside eight viewers");
    drop(idle);
    // Their places are free again, as soon as the next event finds them gone.
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask(&scene, b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
        let status: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        if status["viewers"] == 2 {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{status}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut again = Viewer::look(&scene, "").await;
    again.next("snapshot").await;
    sums.held().await;

    // A sidecar that stops does not wait for viewers.
    assert!(process.stop(Duration::from_secs(10)).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_says_what_is_wrong_and_what_to_do() {
    let scene = Scene::set(seed()).await;
    let process = scene.start().await;
    let (code, said) = scene.segue(&["status"]).await;
    assert!(code == 0 && said.starts_with("healthy") && said.lines().count() <= 10, "{code} {said}");

    // A key that RudderStack does not take: exit 3, what it means, what to do.
    let wrong = scene.rudder.faults().add(Rule::always(Fault::status(401)));
    for n in 0..5 {
        scene.post(&format!("wrong-{n}"), "Fine").await;
    }
    scene.until("it is parked", "segue_lane_parked", |parked| parked == 1).await;
    let (code, said) = scene.segue(&["status"]).await;
    assert!(code == 3 && said.starts_with("NOT healthy"), "{code} {said}");
    for words in [
        "RudderStack does not take the events of web",
        "answered 401",
        "5 events wait in the journal; none is lost",
        "segue unpark web rudderstack",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (code, said) = scene.segue(&["status", "--json"]).await;
    let status: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &status["troubles"][0]["kind"], &status["healthy"]), (3, &"lane_parked".into(), &false.into()));
    assert_eq!(scene.segue(&["status", "--for", "web"]).await.0, 3);
    let (code, said) = scene.segue(&["status", "--for", "wbe"]).await;
    assert!(code == 2 && said.contains("Sources: web"), "{code} {said}");

    // Who gets ready to end says so to a load balancer, and waits no longer than told.
    let ready = async || scene.segue(&["health", "ready"]).await.0;
    assert_eq!(ready().await, 0);
    let (code, said) = scene.segue(&["drain", "on", "--wait", "300ms"]).await;
    assert!(code == 124 && said.contains("5 events still wait"), "{code} {said}");
    assert_eq!(ready().await, 1, "not ready");
    scene.rudder.faults().lift(wrong);
    assert_eq!(scene.segue(&["unpark", "web", "rudderstack"]).await.0, 0);
    let (code, said) = scene.segue(&["drain", "on", "--wait", "10s"]).await;
    assert!(code == 0 && said.contains("nothing waits"), "{code} {said}");
    scene.post("late", "Fine").await;
    assert_eq!(scene.segue(&["drain", "off"]).await.0, 0);
    assert_eq!(ready().await, 0);
    let (code, said) = scene.segue(&["status"]).await;
    assert!(code == 0, "{said}");
    assert!(process.stop(Duration::from_secs(10)).await.success());
    let (code, said) = scene.segue(&["status"]).await;
    assert!(code == 69 && said.contains("segue run"), "{code} {said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_change_while_events_wait_for_them_and_outlive_kill_9() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let mut process = scene.start().await;
    let (code, said) = scene.segue(&["limit", "set", "rudderstack", "1/s", "--source", "web", "--yes", "--reason", "gently"]).await;
    assert!(code == 0 && said.contains("web to rudderstack: none -> 1/s"), "{code} {said}");
    for n in 0..60 {
        scene.post(&format!("waits-{n}"), "Fine").await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let slow = scene.count("segue_events_delivered_total").await;
    assert!(slow < 10, "one a second, and {slow} are delivered");
    assert_eq!(scene.segment.taken().events.len(), 60, "the other side is not limited");

    // It is in force after a kill, and shown beside what the file says.
    process.kill();
    process = scene.start().await;
    let (_, said) = scene.segue(&["limit", "ls"]).await;
    assert!(said.lines().any(|line| line.starts_with("web") && line.contains("1/s  (configuration: none)")), "{said}");
    let slow = scene.count("segue_events_delivered_total").await;
    assert!(slow < 15, "{slow} are delivered");

    // What waits for its turn under the old limit goes by the new one.
    let lifted = std::time::Instant::now();
    assert_eq!(scene.segue(&["limit", "set", "rudderstack", "none", "--source", "web", "--yes"]).await.0, 0);
    scene.until("they go", "segue_events_delivered_total", |delivered| delivered == 60).await;
    assert!(lifted.elapsed() < Duration::from_secs(10), "{:?}", lifted.elapsed());

    // A plan says which limit would be hit.
    assert_eq!(scene.segue(&["route", "set", "web", "segment-only", "--yes"]).await.0, 0);
    assert_eq!(scene.segue(&["limit", "set", "rudderstack", "1/s", "--yes"]).await.0, 0);
    for n in 0..40 {
        scene.post(&format!("pace-{n}"), "Fine").await;
    }
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    loop {
        let (code, said) = scene.segue(&["route", "plan", "web", "both"]).await;
        assert_eq!(code, 3, "{said}");
        if said.contains("takes at most 1 a second of all sources together") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{said}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (_, said) = scene.segue(&["route", "plan", "web", "rudderstack-only"]).await;
    assert!(said.contains("Segment misses what goes to RudderStack alone"), "{said}");

    // Mistakes are answered, and nothing is changed by a look.
    for (arguments, code, words) in [
        (&["limit", "set", "rudderstack", "200", "--yes"][..], 2, "200/s"),
        (&["limit", "set", "rudderstack", "5/s", "--source", "wbe", "--yes"], 2, "Did you mean web?"),
        (&["limit", "set", "segment", "9/s", "--dry-run"], 0, "Nothing was changed"),
        (&["limit", "set", "segment", "9/s"], 2, "--yes"),
        (&["hold", "set", "web", "segment", "--dry-run"], 0, "Nothing was changed"),
        (&["unpark", "web", "segment", "--dry-run"], 0, "Nothing was changed"),
        (&["reload", "--dry-run"], 0, "The sources are as they were"),
        (&["kill", "on", "--dry-run"], 0, "The kill switch is off"),
        (&["drain", "on", "--dry-run"], 0, "healthy"),
    ] {
        let (ended, said) = scene.segue(arguments).await;
        assert!(ended == code && said.contains(words), "{arguments:?}: {ended} {said}");
    }

    // Who limited and held what stands in the history, and its seals hold.
    assert_eq!(scene.segue(&["hold", "set", "web", "segment", "--yes", "--reason", "care"]).await.0, 0);
    assert_eq!(scene.segue(&["hold", "set", "web", "segment", "--yes"]).await.0, 0);
    assert_eq!(scene.segue(&["hold", "release", "web", "segment", "--yes"]).await.0, 0);
    let (_, said) = scene.segue(&["route", "history"]).await;
    for words in [
        "limit       web to rudderstack none -> 1/s  \"gently\"",
        "limit       (all) to rudderstack none -> 1/s",
        "hold        web to segment  \"care\"",
        "release     web to segment",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(said.lines().filter(|line| line.contains("  hold  ")).count(), 1, "what was held already is no change: {said}");
    let (code, said) = scene.segue(&["audit", "verify"]).await;
    assert_eq!(code, 0, "{said}");
    sums.held().await;
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_whom_it_is_about() {
    let scene = Scene::set(seed()).await;
    let _process = scene.start().await;
    for n in 0..30 {
        let version = if n % 3 == 0 { "4.12.0" } else { "4.11.2" };
        let event = format!(
            r#"{{"type":"track","event":"E","anonymousId":"p-{}","messageId":"m-{n}","context":{{"app":{{"name":"shop","version":"{version}"}}}},"writeKey":"{}"}}"#,
            n % 10,
            operator::SEGMENT_KEY
        );
        scene.post_body(&event).await;
    }
    scene.post("plain", "Fine").await;
    let (code, said) = scene.segue(&["route", "plan", "web", "cutover=25%"]).await;
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("11 in 31 events since"), "{said}");
    assert!(said.contains("shop 4.11.2 (20), shop 4.12.0 (10), (not told) (1)"), "{said}");
    let (_, said) = scene.segue(&["route", "set", "web", "cutover=25%", "--dry-run", "--json"]).await;
    let planned: Value = serde_json::from_str(&said).unwrap();
    let impact = &planned["sources"][0]["impact"];
    assert_eq!((&impact["recent"]["people"], &impact["recent"]["apps"][0]["app"]), (&11.into(), &"shop 4.11.2".into()));
    assert!(impact["segment"]["after"].as_f64().unwrap() <= impact["segment"]["before"].as_f64().unwrap(), "{impact}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_command_for_several_sidecars_says_how_each_took_it() {
    let (first, second) = (Scene::set(seed()).await, Scene::set(seed() ^ 0x5555).await);
    let (_first, second_process) = (first.start().await, second.start().await);
    let both = ["--attach", first.socket.to_str().unwrap(), "--attach", second.socket.to_str().unwrap()];
    let (code, said) = first.segue(&[&["route", "set", "web", "cutover=10%", "--yes"][..], &both].concat()).await;
    assert_eq!((code, said.matches("cutover=10%").count()), (0, 2), "{said}");
    for scene in [&first, &second] {
        assert!(said.contains(&format!("{}:\n", scene.socket.display())), "{said}");
        assert!(scene.segue(&["route", "get"]).await.1.contains("cutover=10%"));
    }
    let (code, said) = first.segue(&[&["route", "get", "--json"][..], &both].concat()).await;
    let answers: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, answers.len(), &answers[1]["instance"]), (0, 2, &second.socket.to_str().unwrap().into()));
    assert_eq!(answers[1]["answer"]["routes"][0]["route"], "cutover=10%");

    // Somebody was quicker on one of them; then one of them is gone: done on some only, each with its reason.
    assert_eq!(second.segue(&["route", "set", "web", "both", "--yes"]).await.0, 0);
    let (code, said) = first.segue(&[&["route", "set", "web", "cutover=20%", "--if-rev", "1", "--yes"][..], &both].concat()).await;
    assert!(code == 76 && said.contains("changed since"), "{code} {said}");
    second_process.kill();
    let (code, said) = first.segue(&[&["kill", "on"][..], &both].concat()).await;
    assert!(code == 76 && said.contains(&format!("error: {}: no sidecar answers", second.socket.display())), "{code} {said}");
    assert_eq!(first.segue(&["kill", "status"]).await.0, 3);
    let (code, said) = first.segue(&[&["status", "--watch"][..], &both].concat()).await;
    assert!(code == 2 && said.contains("one sidecar at a time"), "{code} {said}");
}
