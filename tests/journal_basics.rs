//! The journal on a real disk, through its public face.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use segue::{
    journal::{
        AppendError, CursorOrigin, Entry, Health, Journal, Lane, LaneId, Ledger, OpenError, Opened, Quarantined, RealDisk, Record,
        Settings, Tally,
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
    }
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
    let dir = tempfile::tempdir().unwrap();
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
    lane.hold_until(Some(WallTime::from_millis(77)));
    journal.close().await;
    assert_eq!(journal.append(record("web", 1, 0, "late")).await, Err(AppendError::Closed));
    drop((journal, lane, other));

    let Opened { journal, report } = reopen(&settings).await;
    assert_eq!((report.cursor, report.pending), (CursorOrigin::File, 6 + 50));
    let mut lane = journal.lane(&segment);
    assert_eq!(lane.held_until(), Some(WallTime::from_millis(77)));
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
