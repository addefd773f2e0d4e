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
use serde_json::Value;
use tokio::net::{TcpListener, UnixStream};

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
    scene.rudder.faults().add(segue::standin::Rule::always(segue::standin::Fault::status(400)).for_event("Poison"));
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
