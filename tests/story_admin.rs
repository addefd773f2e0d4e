//! The admin socket under everything but good manners, and an operator's changes under kill -9: the sidecar is the real binary, this
//! process plays both vendors, the app and the operator.
//!
//! `SEGUE_KILLS` sets the number of kills (12), `SEGUE_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod operator;
mod process;
mod sums;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::PathBuf,
    time::{Duration, Instant},
};

use operator::{RUDDER_KEY, SEGMENT_KEY, Scene, ask, request};
use process::seed;
use segue::standin::{Fault, Rule, Verdict};
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::UnixStream};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_redriven_and_held_outlives_kill_9() {
    let kills: u64 = std::env::var("SEGUE_KILLS").map_or(12, |text| text.parse().expect("SEGUE_KILLS is a number"));
    let seed = seed();
    println!("SEGUE_SEED={seed} SEGUE_KILLS={kills}");
    let scene = Scene::set(seed).await;
    let sums = scene.watch();
    let mut process = scene.start().await;
    let (mut random, mut sent) = (seed, 0);
    for round in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Some events are refused for good.
        let poison = scene.rudder.faults().add(Rule::always(Fault::status(400)).for_event("Poison"));
        for n in 0..5 {
            scene.post(&format!("r{round}-{n}"), "Poison").await;
            sent += 1;
        }
        scene.until("they are refused", "segue_queue_events", |pending| pending == 0).await;
        assert!(scene.count("segue_quarantine_events").await >= 5);
        scene.rudder.faults().lift(poison);
        // Sent again, into an outage or not; then it dies, at once or a moment later.
        let outage = (random >> 33) % 3;
        let down = (outage > 0).then(|| scene.rudder.faults().add(Rule::always(Fault::status(503))));
        let (code, said) = scene.segue(&["quarantine", "redrive", "--all", "--yes"]).await;
        assert_eq!(code, 0, "{said}");
        if outage < 2 {
            tokio::time::sleep(Duration::from_millis((random >> 40) % 60)).await;
        }
        process.kill();
        process = scene.start().await;
        assert_eq!(scene.count("segue_quarantine_events").await, 0, "round {round}: what was confirmed stays so");
        assert_eq!(scene.count("segue_events_planned_total").await, sent, "no event is counted twice");
        if let Some(down) = down {
            scene.rudder.faults().lift(down);
        }
        scene.until("they arrive", "segue_events_delivered_total", |delivered| delivered == sent).await;

        // A hold that was confirmed is in force after the kill.
        let (code, said) = scene.segue(&["hold", "set", "web", "rudderstack", "--yes"]).await;
        assert_eq!(code, 0, "{said}");
        process.kill();
        let before = scene.rudder.taken().events.len();
        process = scene.start().await;
        scene.post(&format!("held-{round}"), "Fine").await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!((scene.count("segue_queue_events").await, scene.rudder.taken().events.len()), (1, before), "round {round}");
        assert_eq!(scene.segue(&["hold", "release", "web", "rudderstack", "--yes"]).await.0, 0);
        scene.until("it goes on", "segue_events_delivered_total", |delivered| delivered == sent).await;
    }
    let arrived: std::collections::BTreeSet<_> = scene.rudder.taken().events.iter().map(|event| event.message_id.clone()).collect();
    assert_eq!(arrived.len() as u64, sent, "each event, none lost");
    assert!(scene.segue(&["quarantine", "ls"]).await.1.starts_with("Nothing is in quarantine"));
    sums.held().await;
    assert!(process.stop(Duration::from_secs(15)).await.success());
    assert!(!scene.socket.exists(), "the socket goes with the sidecar");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_ours_and_what_is_done_to_it_touches_no_event() {
    let scene = Scene::set(seed()).await;
    let sums = scene.watch();
    let process = scene.start().await;
    let mode = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(&scene.socket), mode(scene.socket.parent().unwrap())), (0o600, 0o700));

    // Wrong requests hear what is wrong, as JSON.
    let huge = "x".repeat(70 << 10);
    for (method, path, body, status, word) in [
        ("GET", "/v1/../../etc/passwd", "", "404", "not_found"),
        ("GET", "/v1/quarantine/x", "", "400", "bad_request"),
        ("GET", "/v1/quarantine?nonsense=1", "", "400", "bad_request"),
        ("DELETE", "/v1/lanes", "", "405", "not_allowed"),
        ("POST", "/v1/quarantine/release", "{}", "400", "bad_request"),
        ("POST", "/v1/quarantine/release", r#"{"all":true,"oops":1}"#, "400", "bad_request"),
        ("POST", "/v1/quarantine/release", "[[[[", "400", "bad_request"),
        ("POST", "/v1/lanes/..%2F..%2Fx%00/rudderstack/hold", "{}", "404", "not_found"),
        ("POST", "/v1/lanes/web/nowhere/hold", "{}", "404", "not_found"),
        ("POST", "/v1/quarantine/redrive", huge.as_str(), "413", "too_large"),
    ] {
        let answer = ask(&scene, request(method, path, body).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{method} {path}: {answer}");
        let problem: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(problem["code"], word, "{method} {path}: {problem}");
    }
    let lanes = ask(&scene, request("GET", "/v1/lanes", "").as_bytes()).await;
    assert!(lanes.contains("segue.lanes/v1") && !lanes.contains(SEGMENT_KEY) && !lanes.contains(RUDDER_KEY), "{lanes}");

    // Garbage, clients that hang in the middle of a request, a thousand requests: events go their way meanwhile.
    for garbage in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET / HTTP/9\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    {
        ask(&scene, garbage).await;
    }
    let mut hanging = Vec::new();
    for _ in 0..40 {
        let mut stream = UnixStream::connect(&scene.socket).await.unwrap();
        stream.write_all(b"POST /v1/quarantine/redrive HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n").await.unwrap();
        hanging.push(stream);
    }
    let start = Instant::now();
    for n in 0..50 {
        scene.post(&format!("slow-{n}"), "Fine").await;
    }
    scene.until("events go their way", "segue_events_delivered_total", |delivered| delivered == 50).await;
    println!("50 events beside 40 hanging clients: {:?}", start.elapsed());
    let flood = async {
        for _ in 0..1_000 {
            ask(&scene, request("GET", "/v1/lanes", "").as_bytes()).await;
        }
    };
    let events = async {
        for n in 0..50 {
            scene.post(&format!("flood-{n}"), "Fine").await;
        }
    };
    tokio::join!(flood, events);
    scene.until("events go their way", "segue_events_delivered_total", |delivered| delivered == 100).await;
    drop(hanging);
    assert_eq!(scene.segment.taken().events.len(), 100);
    assert_eq!(scene.segue(&["hold", "ls"]).await.0, 0, "it still answers");
    sums.held().await;

    // A second sidecar does not take the socket away, and one that was killed leaves a socket that the next replaces.
    process.kill();
    assert!(scene.socket.exists(), "left behind");
    assert_eq!(scene.segue(&["hold", "ls"]).await.0, 69);
    let process = scene.start().await;
    assert_eq!(scene.segue(&["hold", "ls"]).await.0, 0);
    process.kill();

    // A link at its place is not followed: the sidecar runs without the socket, and says so.
    fs::remove_file(&scene.socket).unwrap();
    let precious = scene.config.with_file_name("precious");
    fs::write(&precious, "kept").unwrap();
    std::os::unix::fs::symlink(&precious, &scene.socket).unwrap();
    let process = scene.start().await;
    scene.post("linked", "Fine").await;
    assert!(process.said().contains("symbolic link"), "{}", process.said());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "kept");
    drop(process);
}

/// Another user is refused by the sidecar even where the file's mode lets them in. Needs root, to become somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_is_refused() {
    if rustix::process::geteuid().as_raw() != 0 {
        println!("not root: nobody else can be played here");
        return;
    }
    let scene = Scene::set(seed()).await;
    let process = scene.start().await;
    let as_nobody = |path: PathBuf| {
        let mut command = process::clean(std::process::Command::new("setpriv"));
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(process::command().get_program()).args(["hold", "set", "web", "rudderstack", "--yes", "--attach"]).arg(path);
        async move {
            let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
            (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
        }
    };
    let (code, said) = as_nobody(scene.socket.clone()).await;
    if said.contains("setpriv") {
        println!("the binary is out of nobody's reach: {said}");
        return;
    }
    assert_eq!(code, 77, "by the file's mode: {said}");
    // Somebody opens every door; the sidecar still looks who comes in.
    for (path, mode) in
        [(&scene.socket, 0o777), (&scene.socket.parent().unwrap().to_owned(), 0o755), (&scene.config.parent().unwrap().to_owned(), 0o755)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let (code, said) = as_nobody(scene.socket.clone()).await;
    assert!(code == 77 && said.contains("answers its own user"), "by the sidecar: {code} {said}");
    // The log is written beside the data path, a moment later.
    let deadline = Instant::now() + Duration::from_secs(10);
    while !process.said().contains("admin_denied") {
        assert!(Instant::now() < deadline, "{}", process.said());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scene.post("m1", "Fine").await;
    scene.until("the lane is not held", "segue_events_delivered_total", |delivered| delivered == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flip_that_was_confirmed_outlives_kill_9() {
    let kills: u64 = std::env::var("SEGUE_KILLS").map_or(12, |text| text.parse().expect("SEGUE_KILLS is a number"));
    let seed = seed();
    println!("SEGUE_SEED={seed} SEGUE_KILLS={kills}");
    let scene = Scene::set(seed).await;
    let sums = scene.watch();
    let mut process = scene.start().await;
    let mut newest = 0;
    for round in 1..=kills {
        let route = format!("cutover={round}%");
        let (code, said) = scene.segue(&["route", "set", "web", &route, "--yes", "--reason", "round", "--json"]).await;
        process.kill();
        assert_eq!(code, 0, "{said}");
        let changed: Value = serde_json::from_str(&said).unwrap();
        let revision = changed["sources"][0]["after"]["revision"].as_u64().unwrap();
        assert!(revision > newest, "revisions go up: {revision} after {newest}");
        newest = revision;
        process = scene.start().await;
        let (_, said) = scene.segue(&["route", "get", "web", "--json"]).await;
        let routes: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((&routes["routes"][0]["route"], routes["routes"][0]["revision"].as_u64()), (&Value::from(route), Some(newest)));
        scene.post(&format!("r{round}"), "Fine").await;
    }
    let (code, said) = scene.segue(&["audit", "verify"]).await;
    assert!(code == 0 && said.contains(&format!("{kills} changes")), "{said}");
    // A line that somebody changed is found, by a running sidecar's file as by a copy of it.
    let changes = scene.socket.with_file_name("changes.log");
    let copy = scene.config.with_file_name("copy");
    fs::write(&copy, fs::read_to_string(&changes).unwrap().replacen("\"round\"", "\"mound\"", 1)).unwrap();
    let (code, said) = scene.segue(&["audit", "verify", copy.to_str().unwrap()]).await;
    assert!(code == 3 && said.contains("line 1 "), "{code} {said}");
    sums.held().await;
    assert!(process.stop(Duration::from_secs(15)).await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routes_are_changed_by_command_and_every_mistake_is_answered() {
    let scene = Scene::set(seed()).await;
    let (code, said) = scene.segue(&["route", "get"]).await;
    assert!(code == 69 && said.contains("Is `segue run` running"), "{code} {said}");
    let process = scene.start().await;
    for (arguments, code, words) in [
        (&["route", "get"][..], 0, &["web", "100%", "both"][..]),
        (&["route", "history"], 0, &["Nothing was changed yet"]),
        (&["route", "set", "wob", "both", "--yes"], 2, &["there is no source \"wob\"", "Did you mean web?"]),
        (&["route", "get", "wob"], 2, &["there is no source \"wob\"", "Sources: web"]),
        (&["route", "set", "web", "cutover", "--yes"], 2, &["`cutover` is no route", "cutover=25%"]),
        (&["route", "set", "web", "cutover=25", "--yes"], 2, &["`cutover=25` is no route"]),
        (&["route", "set", "web", "both", "--verify", "1", "--yes"], 2, &["a percentage from 0% to 100%"]),
        (&["route", "set", "web", "cutover=25%"], 2, &["both -> cutover=25%", "Nobody can answer here", "--yes"]),
        (
            &["route", "plan", "web", "rudderstack-only"],
            3,
            &["both -> rudderstack-only", "Segment gets nothing more", "Nothing was changed"],
        ),
        (&["route", "plan", "web", "both"], 0, &["It stands so already"]),
        (&["route", "set", "web", "cutover=25%", "--dry-run"], 0, &["Nothing was changed"]),
        (
            &["route", "set", "web", "cutover=25%", "--yes", "--if-rev", "7"],
            75,
            &["web changed since: it is at revision 0, not 7", "segue route get web"],
        ),
        (&["route", "set", "web", "cutover=25%", "--verify", "1%", "--yes", "--reason", "first"], 0, &["Revision 1", "segue route undo"]),
        (&["route", "get"], 0, &["75%", "25%", "1%", "(configuration: both)"]),
        (&["route", "get", "--toml"], 0, &["route = \"cutover=25%\"  # differs from the file", "verify = \"1%\""]),
        (&["route", "set", "web", "cutover=25%", "--yes"], 0, &["It stands so already"]),
        (&["route", "undo", "--to-rev", "99", "--yes"], 2, &["there is no revision 99 yet"]),
        (&["route", "undo", "--yes"], 0, &["cutover=25%, verify 1% -> both", "Revision 2"]),
        (&["route", "history"], 0, &["undo of 1", "\"first\"", "uid "]),
        (&["kill", "status"], 0, &["The kill switch is off"]),
        (&["kill", "on", "--reason", "drill"], 0, &["The kill switch is on since", "drill", "segue kill off"]),
        (&["kill", "status"], 3, &["everything goes to Segment"]),
        (&["route", "get"], 0, &["The kill switch is on", "both"]),
        (&["kill", "off"], 2, &["Nobody can answer here"]),
        (&["kill", "off", "--yes"], 0, &["the routes decide again"]),
        (&["kill", "off", "--yes"], 0, &["The kill switch is off"]),
        (&["audit", "ls", "-n", "2"], 0, &["kill on", "kill off"]),
        (&["audit", "verify"], 0, &["4 changes, each sealed"]),
    ] {
        let (ended, said) = scene.segue(arguments).await;
        println!("$ segue {}\n{said}", arguments.join(" "));
        assert_eq!(ended, code, "{arguments:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?} lacks {word:?}: {said}");
        }
        assert!(!said.contains(SEGMENT_KEY) && !said.contains(RUDDER_KEY));
    }
    drop(process);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_configuration_is_read_again_whole_or_not_at_all() {
    let scene = Scene::set(seed()).await;
    let mut process = scene.start().await;
    let first = fs::read_to_string(&scene.config).unwrap();
    let write = |text: &str| fs::write(&scene.config, text).unwrap();
    let (code, said) = scene.segue(&["reload"]).await;
    assert!(code == 0 && said.contains("The sources are as they were."), "{said}");

    // A file that is wrong changes nothing, however it is read again.
    let wrong = [
        first.replace("route = \"both\"", "route = \"bath\""),
        first.replace("[[source]]", "[[sauce]]"),
        first[..first.len() / 2].to_owned() + "\u{0}\"",
        String::new(),
        "[".repeat(100_000),
        first.clone() + &first[first.find("[[source]]").unwrap()..].replace("\"web\"", "\"twin\""),
    ];
    for (number, wrong) in wrong.iter().enumerate() {
        write(wrong);
        let (code, said) = scene.segue(&["reload", "--attach", scene.socket.to_str().unwrap()]).await;
        assert_eq!(code, if wrong.is_empty() { 0 } else { 78 }, "{said}");
        if wrong.is_empty() {
            // No source is allowed, if odd: every key is unknown then. It comes back with the file.
            write(&first);
            assert_eq!(scene.segue(&["reload"]).await.0, 0);
            continue;
        }
        assert!(said.contains("still is"), "{said}");
        assert!(!said.contains(SEGMENT_KEY) && !said.contains(RUDDER_KEY), "{said}");
        scene.post(&format!("wrong-{number}"), "Fine").await;
    }
    scene.until("each was journalled and delivered as before", "segue_events_delivered_total", |delivered| delivered == 5).await;

    // Another key beside the old one, a new source, another route; a setting that needs a restart is named.
    let rotated = first.replace(
        &format!("segment_write_key = \"{SEGMENT_KEY}\""),
        &format!("segment_write_key = [\"wk_test_admin_rotated\", \"{SEGMENT_KEY}\"]"),
    ) + "[[source]]\nname = \"ios\"\nsegment_write_key = \"wk_test_admin_ios\"\n";
    write(&rotated.replace("max = \"100ms\"", "max = \"200ms\""));
    let (code, said) = scene.segue(&["reload"]).await;
    assert!(code == 0 && said.contains("ios, web changed") && said.contains("rudderstack.retry.max"), "{said}");
    scene.post("rotated", "Fine").await;
    let (_, routes) = scene.segue(&["route", "get"]).await;
    assert!(routes.contains("ios") && routes.contains("segment-only"), "{routes}");

    // What was flipped stands above the file; what was looked at before a reload is refused.
    let (code, said) = scene.segue(&["route", "set", "web", "cutover=10%", "--yes", "--if-rev", "0"]).await;
    assert_eq!(code, 75, "{said}");
    assert_eq!(scene.segue(&["route", "set", "web", "cutover=10%", "--yes"]).await.0, 0);
    write(&rotated.replace("route = \"both\"", "route = \"segment-only\""));
    process.signal(rustix::process::Signal::HUP);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !scene.segue(&["route", "get", "web"]).await.1.contains("(configuration: segment-only)") {
        assert!(Instant::now() < deadline, "{}", process.said());
    }
    assert!(scene.segue(&["route", "get", "web"]).await.1.contains("cutover=10%"));
    let (_, history) = scene.segue(&["route", "history"]).await;
    assert!(history.contains("SIGHUP") && history.contains("reload"), "{history}");

    // A source that is gone keeps what waits for it until it is back.
    let down = scene.segment.faults().add(Rule::always(Fault::status(503)));
    scene.post("waits", "Fine").await;
    write(&rotated.replace("name = \"web\"", "name = \"new\"").replace(SEGMENT_KEY, "wk_test_admin_new").replace("_rotated", "_fresh"));
    assert_eq!(scene.segue(&["reload"]).await.0, 0);
    scene.segment.faults().lift(down);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let (_, lanes) = scene.segue(&["hold", "ls"]).await;
    assert!(lanes.lines().any(|line| line.starts_with("web ") && line.contains("segment")), "{lanes}");
    let arrived =
        |id: &str| scene.segment.taken().events.iter().any(|event| &*event.message_id == id && event.verdict == Verdict::Accepted);
    assert!(!arrived("waits"), "{lanes}");
    write(&rotated);
    assert_eq!(scene.segue(&["reload"]).await.0, 0);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !arrived("waits") {
        assert!(Instant::now() < deadline, "{}", scene.segue(&["hold", "ls"]).await.1);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    process.assert_running();
    assert!(scene.segue(&["audit", "verify"]).await.0 == 0);
    assert!(process.stop(Duration::from_secs(15)).await.success());
}
