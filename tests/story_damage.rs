//! Data directories that are not as they were left: flipped bits, cut, empty, foreign, missing and extra files.
//!
//! `SEGUE_FLIPS` sets the number of flipped bits (1000), `SEGUE_SPILL_FLIPS` that of those in spills under a sidecar (40), `SEGUE_SEED`
//! repeats a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod fault_disk;
mod fault_scene;
mod process;
mod stage;
mod sums;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use fault_disk::quick_dir;
use fault_scene::{APP_RUDDER_KEY, From, Load, Scene};
use segue::{
    journal::{Archive, CursorOrigin, Journal, LaneId, Ledger, Quarantined, RealDisk, Record, RecoveryReport, Settings, Tally, Wanted},
    model::{ByteSize, Destination, PerDestination, Revision, SourceId, WallTime},
    standin::{Fault as VendorFault, Rule},
};

type Files = BTreeMap<String, Vec<u8>>;

/// What was written, by lane: what is pending, and what has been completed.
struct Known {
    files: Files,
    pending: BTreeMap<LaneId, BTreeSet<Bytes>>,
    all: BTreeMap<LaneId, BTreeSet<Bytes>>,
    quarantined: BTreeSet<Bytes>,
}

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        size_max: ByteSize(4 << 20),
        volume_size: ByteSize(8 << 10),
        keep_delivered: Duration::ZERO,
        memory_max: ByteSize(1 << 10),
        ..Settings::default()
    }
}

fn lanes() -> Vec<LaneId> {
    let lane = |name: &str, destination| LaneId { source: SourceId::parse(name).unwrap(), destination };
    ["web", "ios"].into_iter().flat_map(|name| Destination::ALL.map(|destination| lane(name, destination))).collect()
}

/// A directory with some volumes, cursors in the middle of the log, and a quarantine.
async fn known() -> Known {
    let dir = quick_dir();
    let path = dir.path().join("data");
    let journal = Journal::open(RealDisk::open(&path).unwrap(), &settings(&path)).unwrap().journal;
    let mut all: BTreeMap<LaneId, BTreeSet<Bytes>> = BTreeMap::new();
    for number in 0..120_u32 {
        let source = SourceId::parse(if number % 2 == 0 { "web" } else { "ios" }).unwrap();
        let payload = Bytes::from(format!("{number} {}", fault_scene::padding(&number.to_string())));
        for destination in Destination::ALL {
            all.entry(LaneId { source: source.clone(), destination }).or_default().insert(payload.clone());
        }
        let (planned, received_at) =
            (PerDestination { segment: 1, rudderstack: 2 }, WallTime::from_millis(1_700_000_000_000 + i64::from(number)));
        journal.append(Record { source, revision: Revision(0), planned, received_at, payload }).await.unwrap();
    }
    let mut pending = all.clone();
    let mut quarantined = BTreeSet::new();
    for (index, id) in lanes().into_iter().enumerate() {
        let mut lane = journal.lane(&id);
        // One lane lags behind from the start, the others stand in the middle.
        for number in 0..index * 15 {
            let entry = lane.next().await;
            let total = entry.planned;
            pending.get_mut(&id).unwrap().remove(&entry.payload);
            if number % 5 == 0 && id.destination == Destination::RudderStack {
                let item = Quarantined {
                    position: entry.position,
                    index: 0,
                    events: 1,
                    event: entry.payload.clone(),
                    envelope: entry.payload.clone(),
                    reason: "refused".into(),
                    status: 400,
                    answer: "no".into(),
                    at: WallTime::from_millis(1),
                };
                lane.quarantine(item).await.unwrap();
                quarantined.insert(entry.payload.clone());
                lane.complete(entry.position, Tally { quarantined: 1, delivered: total - 1, ..Tally::default() });
            } else {
                lane.complete(entry.position, Tally { delivered: total, ..Tally::default() });
            }
        }
    }
    journal.close().await;
    drop(journal);
    Known { files: read_dir(&path), pending, all, quarantined }
}

fn read_dir(path: &Path) -> Files {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
    names.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn write_dir(path: &Path, files: &Files) {
    // For nobody else, as the journal wants it.
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    for (name, bytes) in files {
        fs::write(path.join(name), bytes).unwrap();
        fs::set_permissions(path.join(name), Permissions::from_mode(0o600)).unwrap();
    }
}

/// What a start on such a directory came to.
struct Outcome {
    report: RecoveryReport,
    got: BTreeMap<LaneId, Vec<Bytes>>,
    ledger: BTreeMap<LaneId, Ledger>,
    kept: BTreeSet<Bytes>,
    damaged: u64,
    seen_damaged: usize,
    took: Duration,
}

impl Outcome {
    /// What is pending and did not come, over all lanes.
    fn missing(&self, known: &Known) -> BTreeSet<Bytes> {
        let lost = |id: &LaneId| known.pending[id].iter().filter(|payload| !self.got[id].contains(payload)).cloned().collect::<Vec<_>>();
        lanes().iter().flat_map(lost).collect()
    }
}

/// Starts on the files, delivers everything, and appends one more.
async fn outcome(files: &Files, context: &str) -> Outcome {
    let dir = quick_dir();
    let path = dir.path().join("data");
    write_dir(&path, files);
    let seen_damaged = Archive::open(&path).map_or(1, |archive| archive.read(&Wanted::default(), |_| Ok(())).unwrap().damage.len());
    assert!(read_dir(&path) == *files, "{context}: an archive changed something");
    let start = Instant::now();
    let opened = Journal::open(RealDisk::open(&path).unwrap(), &settings(&path)).unwrap_or_else(|error| panic!("{context}: {error}"));
    let (journal, report) = (opened.journal, opened.report);
    let took = start.elapsed();
    // What a volume in the middle lost is known when the next one begins; so two begin.
    for (number, id) in lanes().iter().cycle().take(40).enumerate() {
        let payload = Bytes::from(format!("after {number} {}", "z".repeat(400)));
        let planned = PerDestination { segment: 1, rudderstack: 2 };
        let record =
            Record { source: id.source.clone(), revision: journal.revision(), planned, received_at: WallTime::from_millis(5), payload };
        journal.append(record).await.unwrap_or_else(|error| panic!("{context}: {error}"));
    }
    let mut got = BTreeMap::new();
    for id in lanes() {
        let mut lane = journal.lane(&id);
        let mut payloads = Vec::new();
        let of = |id: &LaneId| journal.ledger().into_iter().find(|(other, _)| other == id).map_or(0, |(_, ledger)| ledger.pending);
        while of(&id) > 0 {
            // What is lost ends without an entry.
            let Ok(entry) = tokio::time::timeout(Duration::from_millis(200), lane.next()).await else {
                assert!(start.elapsed() < Duration::from_secs(20), "{context}: {id} stands still with {} pending", of(&id));
                continue;
            };
            lane.complete(entry.position, Tally { delivered: entry.planned, ..Tally::default() });
            payloads.push(entry.payload);
        }
        payloads.retain(|payload| !payload.starts_with(b"after "));
        got.insert(id, payloads);
    }
    let mut kept = BTreeSet::new();
    for id in lanes() {
        kept.extend(journal.quarantined(&id).await.unwrap().into_iter().map(|item| item.event));
    }
    let (ledger, damaged) = (journal.ledger().into_iter().collect(), journal.usage().faults.damaged);
    journal.close().await;
    Outcome { report, got, ledger, kept, damaged, seen_damaged, took }
}

/// What must hold whatever was done to the directory.
fn judge(known: &Known, outcome: &Outcome, context: &str) {
    assert!(outcome.took < Duration::from_secs(5), "{context}: opened after {:?}", outcome.took);
    for (id, payloads) in &outcome.got {
        assert!(payloads.iter().all(|payload| known.all[id].contains(payload)), "{context}: {id} got what was never written");
    }
    assert!(outcome.kept.is_subset(&known.quarantined), "{context}: the quarantine holds what was never put there");
    for (id, ledger) in &outcome.ledger {
        let Ledger { planned, delivered, pending, quarantined, .. } = *ledger;
        assert_eq!((planned, pending), (delivered + quarantined, 0), "{context}: {id} {ledger:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_flipped_bits_cost_one_record_each_at_most_and_every_loss_is_counted() {
    let seed = process::seed();
    let flips: u64 = std::env::var("SEGUE_FLIPS").map_or(1000, |text| text.parse().unwrap());
    println!("SEGUE_SEED={seed} SEGUE_FLIPS={flips}");
    let known = std::sync::Arc::new(known().await);
    let kinds: BTreeSet<&str> = known.files.keys().map(|name| name.split(['-', '.']).next().unwrap()).collect();
    assert!(kinds.is_superset(&BTreeSet::from(["journal", "volume", "cursor", "quarantine"])), "{kinds:?}");
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..4_u64 {
        let known = std::sync::Arc::clone(&known);
        workers.spawn(async move {
            let (mut lost, mut harmless, mut unkept) = (0, 0, 0);
            for flip in (worker..flips).step_by(4) {
                let (files, context) = flipped(&known.files, seed.wrapping_add(flip));
                let outcome = outcome(&files, &context).await;
                judge(&known, &outcome, &context);
                let missing = outcome.missing(&known).len();
                // What the cursor no longer knows to be complete comes again, and is refused again or not.
                let again =
                    |event: &&Bytes| outcome.got.iter().any(|(id, got)| id.destination == Destination::RudderStack && got.contains(event));
                let gone = known.quarantined.difference(&outcome.kept).filter(|event| !again(event)).count();
                assert!(missing + gone <= 1, "{context}: {missing} records and {gone} quarantined events are lost");
                if missing + gone > 0 {
                    assert!(outcome.damaged > 0, "{context}: the loss is not counted");
                    assert!(outcome.seen_damaged > 0, "{context}: segue journal verify would not see it");
                }
                lost += missing;
                unkept += gone;
                harmless += usize::from(missing + gone == 0);
            }
            (lost, unkept, harmless)
        });
    }
    let (mut lost, mut unkept, mut harmless) = (0, 0, 0);
    while let Some(done) = workers.join_next().await {
        let (more, kept, none) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        (lost, unkept, harmless) = (lost + more, unkept + kept, harmless + none);
    }
    println!("{flips} flips: {lost} cost a record, {unkept} a quarantined event, {harmless} nothing");
    assert!(lost as u64 > flips / 20 && unkept > 0, "the flips do not hit what they should");
}

/// One bit of one file flipped; of space that was only taken, no bit.
fn flipped(files: &Files, seed: u64) -> (Files, String) {
    flipped_in(files, "", seed)
}

/// The same, in a file whose name begins so.
fn flipped_in(files: &Files, kind: &str, seed: u64) -> (Files, String) {
    let mut random = Random(seed);
    let is_one = |(name, bytes): &(&String, &Vec<u8>)| name.starts_with(kind) && bytes.iter().any(|byte| *byte != 0);
    let names: Vec<_> = files.iter().filter(is_one).map(|(name, _)| name.clone()).collect();
    let name = names[random.below(names.len())].clone();
    let mut files = files.clone();
    let bytes = files.get_mut(&name).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let bit = random.below(used * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    (files, format!("seed {seed}: bit {bit} of {name}"))
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_in_any_state_is_opened_and_only_what_is_gone_is_lost() {
    let known = known().await;
    let of = |kind: &str| -> Vec<String> { known.files.keys().filter(|name| name.starts_with(kind)).cloned().collect() };
    let run = async |context: &str, change: &dyn Fn(&mut Files)| {
        let mut files = known.files.clone();
        change(&mut files);
        let outcome = outcome(&files, context).await;
        judge(&known, &outcome, context);
        let missing = outcome.missing(&known).len();
        println!("{context}: {missing} records lost, {} places damaged, {} seen from outside", outcome.damaged, outcome.seen_damaged);
        assert!(missing == 0 || outcome.seen_damaged > 0, "{context}: segue journal verify would not see it");
        outcome
    };
    let mut cases = 0;
    for (name, bytes) in &known.files {
        for (what, changed) in [
            ("empty", Some(Vec::new())),
            ("cut to one byte", Some(bytes[..bytes.len().min(1)].to_vec())),
            ("cut in the header", Some(bytes[..bytes.len().min(30)].to_vec())),
            ("cut in the middle", Some(bytes[..bytes.len() / 2].to_vec())),
            ("garbage", Some(vec![0xA5; bytes.len()])),
            ("zeros", Some(vec![0; bytes.len()])),
            ("missing", None),
        ] {
            let context = format!("{name} {what}");
            let outcome = run(&context, &|files| match &changed {
                Some(changed) => drop(files.insert(name.clone(), changed.clone())),
                None => drop(files.remove(name)),
            })
            .await;
            cases += 1;
            // The log is lost with its own files only.
            if !name.starts_with("volume-") {
                assert!(outcome.missing(&known).is_empty(), "{context}: {:?}", outcome.missing(&known));
            }
            if name.starts_with("cursor-") && what != "cut in the middle" && what != "cut in the header" {
                assert_eq!(outcome.report.cursor, CursorOrigin::Lost, "{context}");
            }
        }
    }
    println!("{cases} cases");
    assert!(cases >= 70);

    let outcome = run("extra files", &|files| {
        files.insert("notes.txt".to_owned(), b"mine".to_vec());
        files.insert("volume-00000000000000zz.log".to_owned(), vec![1; 100]);
        files.insert("volume-00000000000000ff.log".to_owned(), vec![7; 5000]);
        files.insert("cursor-00000000000000ff.dat".to_owned(), vec![7; 5000]);
        files.insert("cursor-00000000000000fe.dat.tmp".to_owned(), vec![7; 50]);
        files.insert("quarantine-00000000000000ff.log".to_owned(), vec![7; 5000]);
    })
    .await;
    assert!(outcome.missing(&known).is_empty() && outcome.report.foreign.len() == 2, "{:?}", outcome.report.foreign);

    let outcome = run("cursors ahead of the log", &|files| files.retain(|name, _| !name.starts_with("volume-"))).await;
    assert_eq!(outcome.report.cursor, CursorOrigin::File);
    assert!(outcome.got.values().all(Vec::is_empty), "something came out of nothing");
    let outcome = run("no cursors at all", &|files| files.retain(|name, _| !name.starts_with("cursor-"))).await;
    assert!(outcome.missing(&known).is_empty() && outcome.report.cursor == CursorOrigin::Lost);
    assert!(!of("quarantine-").is_empty() && of("volume-").len() > 5);
}

/// Files of another journal: some among ours are left alone; a whole log of another one is refused by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_files_are_left_alone_and_a_foreign_log_is_refused_by_name() {
    let (ours, theirs) = (known().await, known().await);
    let mut mixed = ours.files.clone();
    let number = |name: &str| name.replace("00000000000000", "00000000000001");
    for (name, bytes) in theirs.files.iter().filter(|(name, _)| name.contains("00000000000000")) {
        mixed.insert(number(name), bytes.clone());
    }
    let outcome = outcome(&mixed, "files of another journal among ours").await;
    judge(&ours, &outcome, "files of another journal among ours");
    assert!(outcome.missing(&ours).is_empty());
    assert!(outcome.report.foreign.iter().any(|name| name.starts_with("volume-")), "{:?}", outcome.report.foreign);

    let dir = quick_dir();
    let path = dir.path().join("data");
    let mut foreign = ours.files.clone();
    foreign.insert("journal.id".to_owned(), theirs.files["journal.id"].clone());
    write_dir(&path, &foreign);
    let refused = Journal::open(RealDisk::open(&path).unwrap(), &settings(&path)).unwrap_err().to_string();
    assert!(
        refused.contains("volume-") && refused.contains("another journal than journal.id") && refused.contains("put back"),
        "{refused}"
    );
    let untouched: Files = read_dir(&path).into_iter().filter(|(name, _)| name != "lock").collect();
    foreign.remove("lock");
    assert!(untouched == foreign, "a refused directory was changed");
}

/// Some dozen flips under a whole sidecar: what arrives at the vendors is what was sent, byte for byte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_on_a_damaged_directory_delivers_the_rest_unchanged() {
    let seed = process::seed();
    println!("SEGUE_SEED={seed}");
    let mut lost = 0;
    for flip in 0..24 {
        let mut scene = Scene::set(seed.wrapping_add(flip), |_| {}).await;
        scene.start().await.unwrap();
        scene.load(20).await;
        scene.drained().await;
        let down = [&scene.segment, &scene.rudder].map(|vendor| vendor.faults().add(Rule::always(VendorFault::status(503))));
        scene.load_kind(40, Load::Good).await;
        scene.stop().await;
        let (files, context) = flipped(&read_dir(&scene.data()), seed.wrapping_add(flip));
        write_dir(&scene.data(), &files);
        scene.segment.faults().lift(down[0]);
        scene.rudder.faults().lift(down[1]);
        let started = Instant::now();
        scene.start().await.unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(started.elapsed() < Duration::from_secs(5), "{context}");
        scene.kept_again(Duration::from_secs(5)).await;
        scene.drained().await;
        let damaged = scene.sidecar().journal().usage().faults.damaged;
        let verdicts = scene.judge(1).await;
        assert!(verdicts.lost == 0 || damaged > 0, "{context}: the loss is not counted");
        lost += verdicts.lost;
    }
    println!("{lost} of 24 flips cost a record");
}

/// What a lane that stood still has in spills, under a whole sidecar: a flipped bit costs the record that it hit at most, nothing
/// arrives changed, and what is lost is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sidecar_on_damaged_spills_delivers_the_rest_unchanged() {
    let seed = process::seed();
    let flips: u64 = std::env::var("SEGUE_SPILL_FLIPS").map_or(40, |text| text.parse().unwrap());
    println!("SEGUE_SEED={seed} SEGUE_SPILL_FLIPS={flips}");
    let mut scene = Scene::set(seed, |config| {
        config.journal.size_max = ByteSize(1 << 20);
        config.delivery.park_probe = Duration::from_millis(100);
    })
    .await;
    let wrong = scene.rudder.faults().add(Rule::always(VendorFault::status(401)).for_key(APP_RUDDER_KEY));
    scene.start().await.unwrap();
    let deadline = Instant::now() + Duration::from_mins(1);
    while scene.sidecar().journal().usage().spill_bytes < 64 << 10 {
        assert!(Instant::now() < deadline, "nothing is spilled: {:?}", scene.sidecar().journal().usage());
        scene.load_kind(60, Load::Good).await;
    }
    let parked = LaneId { source: SourceId::parse("app").unwrap(), destination: Destination::RudderStack };
    while scene.sidecar().ledger().iter().any(|(lane, ledger)| *lane != parked && ledger.pending > 0) {
        assert!(Instant::now() < deadline, "{:?}", scene.sidecar().ledger());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    scene.stop().await;
    scene.rudder.faults().lift(wrong);
    let (files, owed) = (read_dir(&scene.data()), scene.acked(From::App));
    let spills = files.keys().filter(|name| name.starts_with("spill-")).count();
    let (mut lost, mut harmless) = (0, 0);
    for flip in 0..flips {
        let (files, context) = flipped_in(&files, "spill-", seed.wrapping_add(flip));
        fs::remove_dir_all(scene.data()).unwrap();
        write_dir(&scene.data(), &files);
        scene.segment.forget();
        scene.rudder.forget();
        let seen = Archive::open(&scene.data()).map_or(1, |archive| archive.read(&Wanted::default(), |_| Ok(())).unwrap().damage.len());
        scene.start().await.unwrap_or_else(|error| panic!("{context}: {error}"));
        // What was lost is known when the lane comes to what follows.
        scene.kept_again(Duration::from_secs(5)).await;
        scene.drained().await;
        let arrived = scene.arrived(&scene.rudder);
        let missing: Vec<_> = owed.difference(&arrived).collect();
        let ledger = scene.sidecar().ledger().into_iter().find(|(lane, _)| *lane == parked).map(|(_, ledger)| ledger).unwrap();
        let damaged = scene.sidecar().journal().usage().faults.damaged;
        scene.stop().await;
        assert!(missing.len() <= 1, "{context}: {missing:?} are lost");
        assert_eq!(ledger.quarantined, missing.len() as u64, "{context}: the loss is counted: {ledger:?}");
        assert_eq!(ledger.delivered + ledger.quarantined, ledger.planned, "{context}: {ledger:?}");
        assert!(missing.is_empty() || (damaged > 0 && seen > 0), "{context}: {damaged} places damaged, {seen} seen from outside");
        lost += missing.len();
        harmless += usize::from(missing.is_empty());
    }
    println!("{} events in {spills} spills and behind them; {flips} flips: {lost} cost a record, {harmless} nothing", owed.len());
    assert!(spills > 1 && lost as u64 > flips / 4, "the flips do not hit what they should");
    scene.end().await;
}
