//! The journal on a real disk, through its public face.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so this way")]

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use bytes::Bytes;
use segue::{
    journal::{
        AppendError, CursorOrigin, Entry, Health, Journal, Lane, LaneId, Ledger, OpenError, Opened, Position, Quarantined, RealDisk,
        Record, Settings, Tally,
    },
    model::{ByteSize, Destination, PerDestination, Revision, SourceId, WallTime},
};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.to_owned(),
        size_max: ByteSize(4 << 20),
        volume_size: ByteSize(64 << 10),
        keep_delivered: Duration::ZERO,
        memory_max: ByteSize(1 << 20),
        ..Settings::default()
    }
}

/// A directory as the journal wants it: for its owner alone.
fn private_dir() -> tempfile::TempDir {
    tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o700)).tempdir().unwrap()
}

fn open_with(settings: &Settings) -> Opened {
    Journal::open(RealDisk::open(&settings.dir).unwrap(), settings).unwrap()
}

/// Opens again after a close: the lock goes with the last reference.
async fn reopen(settings: &Settings) -> Opened {
    for _ in 0..2000 {
        match RealDisk::open(&settings.dir) {
            Ok(disk) => return Journal::open(disk, settings).unwrap(),
            Err(OpenError::Locked { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the lock was never given back");
}

fn source(name: &str) -> SourceId {
    SourceId::parse(name).unwrap()
}

fn lane_id(name: &str, destination: Destination) -> LaneId {
    LaneId { source: source(name), destination }
}

fn record(name: &str, segment: u32, rudderstack: u32, payload: impl Into<Bytes>) -> Record {
    Record {
        source: source(name),
        revision: Revision(1),
        planned: PerDestination { segment, rudderstack },
        received_at: WallTime::from_millis(1_795_470_595_870),
        payload: payload.into(),
    }
}

fn delivered(count: u32) -> Tally {
    Tally { delivered: count, ..Tally::default() }
}

async fn next(lane: &mut Lane) -> Entry {
    timeout(DEADLINE, lane.next()).await.expect("a record was due")
}

/// Whether nothing comes: the lane had ample time.
async fn is_idle(lane: &mut Lane) -> bool {
    timeout(Duration::from_millis(300), lane.next()).await.is_err()
}

fn ledger_of(journal: &Journal, id: &LaneId) -> Ledger {
    let ledger = journal.ledger().into_iter().find(|(lane, _)| lane == id).map(|(_, ledger)| ledger).unwrap_or_default();
    let Ledger { planned, delivered, pending, quarantined, deduplicated, suppressed, expired, purged } = ledger;
    assert_eq!(planned, delivered + pending + quarantined + deduplicated + suppressed + expired + purged);
    ledger
}

#[tokio::test]
async fn each_lane_gets_its_records_in_order_and_again_after_a_restart_until_they_are_complete() {
    let dir = private_dir();
    let settings = settings(dir.path());
    let Opened { journal, report } = open_with(&settings);
    assert_eq!(report.cursor, CursorOrigin::Fresh);
    let segment = lane_id("web", Destination::Segment);
    let rudderstack = lane_id("web", Destination::RudderStack);
    for n in 0..10 {
        journal.append(record("web", 1, u32::from(n % 2 == 0) * 3, format!("payload {n}"))).await.unwrap();
        journal.append(record("ios", 5, 0, "other")).await.unwrap();
    }
    let mut lane = journal.lane(&segment);
    let mut other = journal.lane(&rudderstack);
    for n in 0..10 {
        let entry = next(&mut lane).await;
        assert_eq!((entry.payload, entry.planned), (Bytes::from(format!("payload {n}")), 1));
        if n < 4 {
            lane.complete(entry.position, delivered(1));
        }
    }
    for n in [0, 2, 4, 6, 8] {
        let entry = next(&mut other).await;
        assert_eq!((entry.payload, entry.planned), (Bytes::from(format!("payload {n}")), 3));
        other.complete(entry.position, Tally { delivered: 2, quarantined: 1, ..Tally::default() });
    }
    assert!(is_idle(&mut other).await);
    lane.defer_until(Some(WallTime::from_millis(77)));
    journal.close().await;
    assert_eq!(journal.append(record("web", 1, 0, "late")).await, Err(AppendError::Closed));
    drop((journal, lane, other));

    let Opened { journal, report } = reopen(&settings).await;
    assert_eq!((report.cursor, report.pending), (CursorOrigin::File, 6 + 50));
    let mut lane = journal.lane(&segment);
    assert_eq!(lane.deferred_until(), Some(WallTime::from_millis(77)));
    for n in 4..10 {
        assert_eq!(next(&mut lane).await.payload, format!("payload {n}"));
    }
    assert!(is_idle(&mut lane).await);
    assert!(is_idle(&mut journal.lane(&rudderstack)).await);
    let ledger = ledger_of(&journal, &rudderstack);
    assert_eq!((ledger.planned, ledger.delivered, ledger.quarantined), (15, 10, 5));
    assert_eq!(ledger_of(&journal, &segment).pending, 6);
    // The restarted journal takes more, after what was there.
    journal.append(record("web", 1, 1, "after")).await.unwrap();
    assert_eq!(next(&mut lane).await.payload, "after");
    journal.close().await;
}

#[tokio::test]
async fn a_second_process_is_refused_and_the_directory_is_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let settings = settings(&parent.path().join("data"));
    let Opened { journal, .. } = open_with(&settings);
    journal.append(record("web", 1, 1, "kept")).await.unwrap();
    let refused = RealDisk::open(&settings.dir);
    assert!(matches!(&refused, Err(OpenError::Locked { .. })), "{refused:?}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&settings.dir), 0o700);
    for file in std::fs::read_dir(&settings.dir).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
    journal.close().await;
}

#[tokio::test]
async fn plans_of_old_routes_are_refused_across_restarts() {
    let dir = private_dir();
    let settings = settings(dir.path());
    let Opened { journal, .. } = open_with(&settings);
    let under = |revision| Record { revision: Revision(revision), ..record("web", 1, 0, "x") };
    journal.append(under(3)).await.unwrap();
    assert_eq!(journal.append(under(2)).await, Err(AppendError::Stale { current: Revision(3) }));
    journal.raise_revision(Revision(7));
    assert_eq!(journal.append(under(6)).await, Err(AppendError::Stale { current: Revision(7) }));
    journal.append(under(7)).await.unwrap();
    journal.close().await;
    drop(journal);
    let Opened { journal, .. } = reopen(&settings).await;
    assert_eq!(journal.revision(), Revision(7));
    assert_eq!(journal.append(under(6)).await, Err(AppendError::Stale { current: Revision(7) }));
    assert_eq!(ledger_of(&journal, &lane_id("web", Destination::Segment)).planned, 2);
    journal.close().await;
}

#[tokio::test]
async fn a_full_journal_refuses_goes_on_delivering_and_resumes_by_itself() {
    let dir = private_dir();
    let settings = Settings { size_max: ByteSize(512 << 10), ..settings(dir.path()) };
    let Opened { journal, .. } = open_with(&settings);
    let id = lane_id("web", Destination::Segment);
    let body = vec![7_u8; 8 << 10];
    let mut appended = 0;
    let refused = loop {
        match journal.append(record("web", 1, 0, body.clone())).await {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
        assert!(appended < 100, "the quota does not hold");
    };
    assert_eq!((refused, journal.health()), (AppendError::Full, Health::Full));
    assert!(journal.usage().bytes <= settings.size_max.0, "{:?}", journal.usage());
    let mut lane = journal.lane(&id);
    for _ in 0..appended {
        let entry = next(&mut lane).await;
        assert_eq!(entry.payload, body);
        lane.complete(entry.position, delivered(1));
    }
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while let Err(error) = journal.append(record("web", 1, 0, "again")).await {
        assert_eq!(error, AppendError::Full);
        assert!(tokio::time::Instant::now() < deadline, "it did not resume");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(journal.health(), Health::Writable);
    assert_eq!(next(&mut lane).await.payload, "again");
    journal.close().await;
}

/// Appends from many sources while lanes read, and gives back what each lane got.
async fn drive(memory_max: u64) -> BTreeMap<String, Vec<(Position, Bytes)>> {
    let dir = private_dir();
    let settings = Settings { memory_max: ByteSize(memory_max), ..settings(dir.path()) };
    let Opened { journal, .. } = open_with(&settings);
    let mut got: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for round in 0..6 {
        for n in 0..200 {
            let name = format!("source-{n}");
            journal.append(record(&name, u32::from(n % 2 == 0), 2, format!("{name} round {round}"))).await.unwrap();
        }
    }
    for n in 0..200 {
        let name = format!("source-{n}");
        let destination = if n % 2 == 0 { Destination::Segment } else { Destination::RudderStack };
        let mut lane = journal.lane(&lane_id(&name, destination));
        for _ in 0..6 {
            let entry = next(&mut lane).await;
            got.entry(name.clone()).or_default().push((entry.position, entry.payload));
        }
    }
    journal.close().await;
    got
}

#[tokio::test]
async fn two_hundred_lanes_get_their_own_records_and_the_same_ones_from_memory_and_from_disk() {
    let (from_disk, from_memory) = (drive(0).await, drive(64 << 20).await);
    for (name, entries) in &from_memory {
        let want: Vec<_> = (0..6).map(|round| Bytes::from(format!("{name} round {round}"))).collect();
        assert_eq!(entries.iter().map(|(_, payload)| payload.clone()).collect::<Vec<_>>(), want);
        let payloads: Vec<_> = from_disk[name].iter().map(|(_, payload)| payload.clone()).collect();
        assert_eq!(payloads, want);
        assert!(entries.is_sorted() || entries.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
    assert_eq!(from_memory.len(), 200);
}

#[tokio::test]
async fn a_lane_that_joins_late_catches_up_from_disk_and_goes_on_from_memory() {
    let dir = private_dir();
    let settings = Settings { memory_max: ByteSize(20_000), ..settings(dir.path()) };
    let Opened { journal, .. } = open_with(&settings);
    let append = |n: u32| journal.append(record("web", 1, 0, format!("{n:0>1000}")));
    for n in 0..200 {
        append(n).await.unwrap();
    }
    let mut lane = journal.lane(&lane_id("web", Destination::Segment));
    for n in 0..400 {
        if n % 2 == 0 {
            append(200 + n / 2).await.unwrap();
        }
        let entry = next(&mut lane).await;
        assert_eq!(entry.payload, format!("{n:0>1000}"));
        lane.complete(entry.position, delivered(1));
    }
    assert!(journal.usage().memory_bytes < 40_000, "{:?}", journal.usage());
    journal.close().await;
}

#[tokio::test]
async fn next_may_be_dropped_at_any_await() {
    let dir = private_dir();
    let settings = Settings { memory_max: ByteSize(0), ..settings(dir.path()) };
    let Opened { journal, .. } = open_with(&settings);
    for n in 0..300 {
        journal.append(record("web", 1, 0, format!("{n:0>500}"))).await.unwrap();
    }
    let mut lane = journal.lane(&lane_id("web", Destination::Segment));
    let mut dropped = 0;
    for n in 0..300 {
        let entry = loop {
            // A biased race that `next` loses as soon as it has to wait.
            let entry = tokio::select! { biased; entry = lane.next() => Some(entry), () = tokio::task::yield_now() => None };
            match entry {
                Some(entry) => break entry,
                None => dropped += 1,
            }
        };
        assert_eq!(entry.payload, format!("{n:0>500}"));
        lane.complete(entry.position, delivered(1));
    }
    assert!(dropped > 0, "no read was ever waited for");
    journal.close().await;
}

#[tokio::test]
async fn quarantined_events_are_kept_once_and_survive() {
    let dir = private_dir();
    let settings = settings(dir.path());
    let Opened { journal, .. } = open_with(&settings);
    let id = lane_id("web", Destination::RudderStack);
    journal.append(record("web", 0, 2, "body")).await.unwrap();
    let mut lane = journal.lane(&id);
    let entry = next(&mut lane).await;
    let item = |index| Quarantined {
        position: entry.position,
        index,
        events: 1,
        event: Bytes::from_static(b"{\"event\":\"Bad\"}"),
        envelope: Bytes::from_static(b"envelope"),
        reason: "refused".to_owned(),
        status: 400,
        answer: "x".repeat(5000),
        at: WallTime::from_millis(9),
    };
    for index in [0, 1, 0] {
        lane.quarantine(item(index)).await.unwrap();
    }
    assert!(journal.quarantined(&lane_id("web", Destination::Segment)).await.unwrap().is_empty());
    journal.close().await;
    drop((journal, lane));
    let Opened { journal, .. } = reopen(&settings).await;
    let lane = journal.lane(&id);
    lane.quarantine(item(1)).await.unwrap();
    lane.quarantine(item(2)).await.unwrap();
    let kept = journal.quarantined(&id).await.unwrap();
    assert_eq!(kept.iter().map(|kept| kept.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((kept[0].answer.len(), kept[0].status, kept[0].event.clone()), (Quarantined::ANSWER_BYTES_MAX, 400, item(0).event));
    journal.close().await;
}

#[tokio::test]
async fn settings_that_cannot_work_and_records_that_cannot_fit_are_refused() {
    let dir = private_dir();
    let small = Settings { size_max: ByteSize(100 << 10), ..settings(dir.path()) };
    let refused = Journal::open(RealDisk::open(dir.path()).unwrap(), &small);
    assert!(matches!(refused, Err(OpenError::Settings(_))));
    drop(refused);
    let Opened { journal, .. } = reopen(&settings(dir.path())).await;
    let refused = journal.append(record("web", 1, 0, vec![0; 40 << 10])).await;
    assert!(matches!(refused, Err(AppendError::TooLarge { bytes_max, .. }) if bytes_max == journal.record_bytes_max()), "{refused:?}");
    journal.close().await;
}

#[tokio::test]
async fn a_lane_holds_back_no_longer_than_it_takes_to_save_its_completions() {
    let dir = private_dir();
    let Opened { journal, .. } = open_with(&settings(dir.path()));
    let mut lane = journal.lane(&lane_id("web", Destination::Segment));
    for n in 0..40_u32 {
        journal.append(record("web", 100, 0, format!("{n}"))).await.unwrap();
    }
    for _ in 0..40 {
        let entry = next(&mut lane).await;
        lane.complete(entry.position, delivered(100));
    }
    assert_eq!(ledger_of(&journal, &lane_id("web", Destination::Segment)).delivered, 4000);
    journal.close().await;
}

#[tokio::test]
async fn a_directory_that_is_removed_under_the_journal_stops_the_acknowledgements() {
    let parent = tempfile::tempdir().unwrap();
    let settings = settings(&parent.path().join("data"));
    let Opened { journal, .. } = open_with(&settings);
    journal.append(record("web", 1, 0, "kept")).await.unwrap();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    // The journal may make its next file between the last removal and that of the directory.
    while let Err(error) = std::fs::remove_dir_all(&settings.dir) {
        assert!(error.kind() == std::io::ErrorKind::DirectoryNotEmpty && tokio::time::Instant::now() < deadline, "{error}");
    }
    while journal.append(record("web", 1, 0, "into the void")).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "it goes on for ever");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(journal.health(), Health::Broken);
    journal.close().await;
}
