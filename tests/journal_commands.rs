//! `segue journal ls`, `verify` and `export`: beside a running sidecar, without one, and on a damaged directory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod fault_disk;
mod fault_scene;
mod process;
mod stage;
mod sums;

use std::{collections::BTreeSet, fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use fault_scene::{APP_KEY, From, Load, Scene, padding};
use segue::{
    model::Destination,
    standin::{Fault as VendorFault, Rule},
};
use serde_json::Value;
use stage::SEGMENT_KEY;

struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn journal(dir: &Path, arguments: &[&str]) -> Ended {
    let output = process::command().arg("journal").args(arguments).arg("--dir").arg(dir).output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {} {}", ended.stdout, ended.stderr))
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_sidecars_journal_is_listed_verified_and_exported() {
    let mut scene = Scene::set(process::seed(), |_| {}).await;
    scene.start().await.unwrap();
    scene.load(20).await;
    scene.drained().await;
    let down = scene.rudder.faults().add(Rule::always(VendorFault::status(503)));
    scene.load_kind(60, Load::Good).await;
    let waits = |scene: &Scene, to: Destination| -> u64 {
        scene.sidecar().ledger().iter().filter(|(lane, _)| lane.destination == to).map(|(_, ledger)| ledger.pending).sum()
    };
    while waits(&scene, Destination::Segment) > 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // Cursors are saved within moments.
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    let dir = scene.data();

    let listed = journal(&dir, &["ls", "--json"]);
    assert_eq!(listed.code, 0, "{}", listed.stderr);
    let listed = json(&listed);
    assert_eq!((&listed["schema"], &listed["damaged"], &listed["cursors"]), (&"segue.journal-ls/v1".into(), &0.into(), &"read".into()));
    let lanes = listed["lanes"].as_array().unwrap();
    let sum =
        |to: &str, of: &str| -> u64 { lanes.iter().filter(|lane| lane["destination"] == to).map(|lane| lane[of].as_u64().unwrap()).sum() };
    assert_eq!((sum("segment", "pending"), sum("rudderstack", "pending")), (0, 60));
    assert_eq!(sum("rudderstack", "quarantined"), 4, "{lanes:?}");
    let held: u64 = listed["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|volume| volume["held_by"].as_array().unwrap())
        .map(|held| held["events"].as_u64().unwrap())
        .sum();
    assert_eq!(held, 60);
    let text = journal(&dir, &["ls"]).stdout;
    assert!(text.contains("web to rudderstack (") && text.contains("volume-"), "{text}");

    let verified = journal(&dir, &["verify", "--json"]);
    assert_eq!((verified.code, &json(&verified)["ok"]), (0, &true.into()), "{}", verified.stdout);

    let exported = journal(&dir, &["export"]);
    assert_eq!((exported.code, exported.stderr.as_str()), (0, ""));
    assert!(!exported.stdout.contains(SEGMENT_KEY) && !exported.stdout.contains(APP_KEY), "a key is shown");
    let all = lines(&exported);
    let pending: Vec<_> = all.iter().filter(|line| line["pending"] == serde_json::json!(["rudderstack"])).collect();
    assert_eq!(pending.len(), 60);
    for line in &pending {
        let (body, source) = (&line["body"], line["source"].as_str().unwrap());
        let id = body["messageId"].as_str().unwrap();
        assert_eq!(body["properties"]["padding"], padding(id));
        assert_eq!(line["envelope"]["events"], 1);
        assert_eq!(line["planned"]["segment"], u64::from(source == "web"), "{line}");
        assert!(body["writeKey"].as_str().unwrap().starts_with("..."), "{body}");
    }
    let kept: Vec<_> = all.iter().filter(|line| line["schema"] == "segue.journal-quarantined/v1").collect();
    assert_eq!((kept.len(), &kept[0]["body"]["event"], &kept[0]["status"]), (4, &"Poison".into(), &400.into()));

    let revealed = lines(&journal(&dir, &["export", "--reveal", "--source", "app"]));
    assert!(revealed.iter().all(|line| line["source"] == "app") && revealed.len() >= 20, "{}", revealed.len());
    let record = revealed.iter().find(|line| line["schema"] == "segue.journal-record/v1").unwrap();
    let bytes = STANDARD.decode(record["body_base64"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), record["body"]);
    assert_eq!(record["body"]["writeKey"], APP_KEY);

    assert_eq!(lines(&journal(&dir, &["export", "--from", "1h"])).len(), all.len());
    assert_eq!(lines(&journal(&dir, &["export", "--to", "1h"])).len(), 0);
    assert_eq!(lines(&journal(&dir, &["export", "--to", "2001-02-03T04:05:06Z"])).len(), 0);
    assert_eq!(journal(&dir, &["export", "--from", "soon"]).code, 2);

    scene.rudder.faults().lift(down);
    scene.drained().await;
    println!("{:?}", scene.judge(0).await);
}

/// The writer works on under small volumes that are used again at once: nothing of it is ever taken for damage.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_journal_is_never_called_damaged() {
    let mut scene = Scene::set(process::seed(), |_| {}).await;
    scene.start().await.unwrap();
    let dir = scene.data();
    let (mut looks, mut seen) = (0, BTreeSet::new());
    let look = tokio::task::spawn_blocking(move || {
        while looks < 25 {
            for command in ["verify", "ls", "export"] {
                let ended = journal(&dir, &[command]);
                assert_eq!(ended.code, 0, "{command}: {} {}", ended.stdout, ended.stderr);
                if command == "verify" {
                    seen.insert(ended.stdout);
                }
            }
            looks += 1;
        }
        seen.len()
    });
    while !look.is_finished() {
        scene.load_kind(8, Load::Good).await;
    }
    let seen = look.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    assert!(seen > 3, "the journal stood still: {seen}");
    scene.drained().await;
    println!("{:?}", scene.judge(0).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_directory_is_told_place_by_place_and_the_rest_is_exported() {
    let mut scene = Scene::set(process::seed(), |_| {}).await;
    scene.start().await.unwrap();
    let down = scene.rudder.faults().add(Rule::always(VendorFault::status(503)));
    for _ in 0..40 {
        assert!(scene.send(From::App, "Step").await);
    }
    scene.stop().await;
    scene.rudder.faults().lift(down);
    let dir = scene.data();
    let before = fs::read_dir(&dir).unwrap().count();
    assert_eq!(lines(&journal(&dir, &["export"])).len(), 40);

    // One bit of one record's body.
    let name = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let volume = name.filter(|name| name.starts_with("volume-")).min().unwrap();
    let mut bytes = fs::read(dir.join(&volume)).unwrap();
    let at = bytes.windows(9).position(|window| window == b"messageId").unwrap();
    bytes[at] ^= 4;
    fs::write(dir.join(&volume), &bytes).unwrap();
    let told = journal(&dir, &["verify"]);
    assert_eq!(told.code, 3);
    assert!(told.stdout.contains(&format!("{volume}:")) && told.stdout.contains("the record is damaged"), "{}", told.stdout);
    assert!(told.stdout.contains("1 damaged places"), "{}", told.stdout);
    let rest = journal(&dir, &["export"]);
    assert_eq!((rest.code, lines(&rest).len()), (3, 39), "{}", rest.stderr);
    assert!(rest.stderr.contains("segue journal verify"), "{}", rest.stderr);

    // Files of kinds that are not known, and notes, are no damage.
    fs::write(dir.join(&volume), {
        bytes[at] ^= 4;
        bytes
    })
    .unwrap();
    fs::write(dir.join("marks-0000000000000001.dat"), b"of a newer segue").unwrap();
    let told = journal(&dir, &["verify", "--json"]);
    assert_eq!((told.code, &json(&told)["others"]), (0, &serde_json::json!(["marks-0000000000000001.dat"])));
    fs::remove_file(dir.join("marks-0000000000000001.dat")).unwrap();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), before, "a reader left something behind");

    let nothing = journal(scene.dir.path(), &["ls"]);
    assert_eq!(nothing.code, 1);
    assert!(nothing.stderr.contains("holds no journal"), "{}", nothing.stderr);
    scene.start().await.unwrap();
    scene.drained().await;
    println!("{:?}", scene.judge(0).await);
}
