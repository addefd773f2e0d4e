//! Faults one by one: the journal over the model disk, or over bytes changed by hand.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    AppendError, CursorOrigin, Entry, Health, Journal, LaneId, Ledger, OpenError, Opened, Position, Record, RecoveryReport, Settings,
    Tally,
    commit::{Committer, Step},
    format::{Epoch, FileHeader, FileKind, record_bytes},
    handle::ledger,
    keeper,
    lane::{Lane, Next},
    model_disk::{Dice, Lie, ModelDisk},
    names,
    queue::Pending,
    recovery::{Recovered, recover},
    saver::Saver,
    shared::{Shared, Tuning},
    stock::lock,
};
use crate::model::{ByteSize, Destination, PerDestination, Revision, SourceId, WallTime};

/// A journal's files, by name.
type Files = BTreeMap<String, Vec<u8>>;

fn settings() -> Settings {
    Settings { size_max: ByteSize(256 << 10), volume_size: ByteSize(4096), keep_delivered: Duration::ZERO, ..Settings::default() }
}

fn web() -> LaneId {
    LaneId { source: SourceId::parse("web").unwrap(), destination: Destination::Segment }
}

fn record(payload: impl Into<Bytes>) -> Record {
    Record {
        source: web().source,
        revision: Revision(4),
        planned: PerDestination { segment: 2, rudderstack: 0 },
        received_at: WallTime::from_millis(1_795_470_595_870),
        payload: payload.into(),
    }
}

/// The journal without its threads.
struct Parts {
    shared: Arc<Shared>,
    committer: Committer,
    saver: Saver,
    report: RecoveryReport,
}

impl Parts {
    fn open(disk: &Arc<ModelDisk>) -> Self {
        Self::try_open(disk).unwrap()
    }

    fn try_open(disk: &Arc<ModelDisk>) -> Result<Self, OpenError> {
        Self::open_with(disk, &settings())
    }

    fn open_with(disk: &Arc<ModelDisk>, settings: &Settings) -> Result<Self, OpenError> {
        let tuning =
            Tuning { broken_pause: Duration::ZERO, full_pause: Duration::ZERO, room_patience: Duration::ZERO, ..Tuning::default() };
        let Recovered { shared, cursor, report } = recover(disk.clone(), settings, tuning)?;
        let (committer, saver) = (Committer::new(Arc::clone(&shared)), Saver::new(Arc::clone(&shared), cursor));
        Ok(Self { shared, committer, saver, report })
    }

    /// Appends these as one group.
    fn append(&mut self, payloads: &[&[u8]]) -> Vec<Result<Position, AppendError>> {
        let mut answers = Vec::new();
        for payload in payloads {
            let (answer, answered) = oneshot::channel();
            self.shared.queue.push(Pending { record: record(payload.to_vec()), answer, room_kib: 1, since: Instant::now() }).unwrap();
            answers.push(answered);
        }
        while self.committer.step() == Step::Worked {}
        answers.into_iter().map(|mut answered| answered.try_recv().unwrap()).collect()
    }

    fn lane(&self) -> Lane {
        Lane::attach(Arc::clone(&self.shared), self.shared.stock(&web().source), Destination::Segment)
    }

    fn sums(&self) -> Ledger {
        ledger(&self.shared).into_iter().find(|(id, _)| *id == web()).map(|(_, sums)| sums).unwrap_or_default()
    }
}

/// Everything that a lane has to give.
fn drain(lane: &mut Lane) -> Vec<Entry> {
    let mut entries = Vec::new();
    for _ in 0..10_000 {
        match lane.step() {
            Next::Entry(entry) => entries.push(entry),
            Next::Read(from) => lane.read_now(from),
            Next::Redrive(_) | Next::Wait | Next::Replaced => return entries,
        }
    }
    panic!("the lane does not come to an end");
}

fn payloads(entries: &[Entry]) -> Vec<Vec<u8>> {
    entries.iter().map(|entry| entry.payload.to_vec()).collect()
}

fn delivered(entry: &Entry) -> Tally {
    Tally { delivered: entry.planned, ..Tally::default() }
}

/// A directory whose epoch is known, so that its bytes are.
fn known_disk() -> Arc<ModelDisk> {
    let identity = FileHeader { epoch: Epoch(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), id: 0, slot_bytes: 0 };
    ModelDisk::holding(&Files::from([(names::IDENTITY.to_owned(), identity.encode(FileKind::Identity).to_vec())]))
}

#[test]
fn the_bytes_of_a_volume_are_what_format_1_says() {
    let disk = known_disk();
    let mut parts = Parts::open(&disk);
    let end = parts.append(&[b"first", b"the second"]).into_iter().map(Result::unwrap).max().unwrap();
    let end = usize::try_from(end.offset + record_bytes(&web().source, 10)).unwrap();
    let volume = &disk.contents()[&names::volume(1)];
    let hex: String = GOLDEN_VOLUME.split_whitespace().collect();
    let golden: Vec<u8> = (0..hex.len() / 2).map(|index| u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).unwrap()).collect();
    assert_eq!(volume[..end], golden);
    assert!(volume[end..].iter().all(|byte| *byte == 0));
    // And what was written by the first segue reads for ever.
    let mut files = known_disk().contents();
    files.insert(names::volume(1), golden);
    let parts = Parts::open(&ModelDisk::holding(&files));
    assert_eq!(payloads(&drain(&mut parts.lane())), [b"first".to_vec(), b"the second".to_vec()]);
    assert_eq!(parts.shared.revision(), Revision(4));
}

const GOLDEN_VOLUME: &str = "
    5345475545564f4c 01000000 00000000 100f0e0d0c0b0a090807060504030201 0100000000000000 0000000000000000
    000000000000000000000000 92cc29b5
    73675231 4fa94baa 14000000 f3ab2757 01000000 02000000 0400000000000000 0000000000000000 1e17630aa2010000
    00000000000000000000000000000000000000000 0000000
    73675231 b077e11e 05000000 4b6a168a 01000000 01000300 0400000000000000 0200000000000000 1e17630aa2010000
    776562 6669727374
    73675231 18554b64 0a000000 de898c0e 01000000 01010300 0400000000000000 0200000000000000 1e17630aa2010000
    776562 746865207365636f6e64 000000";

#[test]
fn a_tail_torn_at_any_byte_is_cut_and_what_was_acknowledged_before_it_stays() {
    let disk = known_disk();
    let mut parts = Parts::open(&disk);
    parts.append(&[b"kept one", b"kept two"]);
    let last: Vec<_> =
        parts.append(&[b"torn one", b"torn two"]).into_iter().map(|at| usize::try_from(at.unwrap().offset).unwrap()).collect();
    let size = usize::try_from(record_bytes(&web().source, 8)).unwrap();
    let files = disk.contents();
    for cut in last[0]..=last[1] + size {
        let mut files = files.clone();
        files.get_mut(&names::volume(1)).unwrap()[cut..].fill(0);
        let mut parts = Parts::open(&ModelDisk::holding(&files));
        let mut got = payloads(&drain(&mut parts.lane()));
        assert_eq!(got.drain(..2).collect::<Vec<_>>(), [b"kept one".to_vec(), b"kept two".to_vec()], "cut at {cut}");
        // The last bytes of a frame are padding.
        let whole: Vec<_> = [&b"torn one"[..], b"torn two"].into_iter().zip(&last).filter(|(_, at)| cut >= *at + size - 5).collect();
        assert_eq!(got, whole.iter().map(|(payload, _)| payload.to_vec()).collect::<Vec<_>>(), "cut at {cut}");
        // Half a group tells; of a group without a single whole header nothing does.
        let torn = parts.report.torn_at.is_some();
        assert!(if whole.len() == 1 { torn } else { whole.is_empty() || !torn }, "cut at {cut}: {:?}", parts.report);
        assert_eq!((parts.report.damaged.len(), parts.sums().pending), (0, 4 + 2 * whole.len() as u64), "cut at {cut}");
        // The log goes on, and the cut stays where it is.
        assert!(parts.append(&[b"after"])[0].is_ok());
        let again = payloads(&drain(&mut parts.lane()));
        assert_eq!((again.len(), again.last().map(Vec::as_slice)), (3 + whole.len(), Some(&b"after"[..])), "cut at {cut}");
    }
}

/// A journal with some volumes, none of its records delivered, closed well.
fn some_volumes() -> (Files, Vec<Vec<u8>>) {
    let disk = known_disk();
    let mut parts = Parts::open(&disk);
    let mut dice = Dice::new(9);
    let mut written = Vec::new();
    for number in 0..60_u64 {
        let width = usize::try_from(20 + dice.below(300)).unwrap();
        let payload = format!("{number:0>width$}").into_bytes();
        assert!(parts.append(&[&payload])[0].is_ok());
        written.push(payload);
    }
    parts.saver.step().unwrap();
    (disk.contents(), written)
}

#[test]
fn a_flipped_bit_anywhere_costs_at_most_one_record_and_is_counted() {
    let (files, written) = some_volumes();
    let seed = std::env::var("SEGUE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let names: Vec<_> = files.keys().cloned().collect();
    let mut lost_records = 0;
    for _ in 0..1000 {
        let mut files = files.clone();
        let name = &names[usize::try_from(dice.below(names.len() as u64)).unwrap()];
        let bytes = files.get_mut(name).unwrap();
        let bit = dice.below(bytes.len() as u64 * 8);
        bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        let context = format!("bit {bit} of {name}");
        let mut parts = Parts::open(&ModelDisk::holding(&files));
        // What a volume in the middle lost is known when the next one begins; so one begins.
        for _ in 0..12 {
            assert!(parts.append(&[&[b'z'; 900]])[0].is_ok());
        }
        let mut lane = parts.lane();
        let entries = drain(&mut lane);
        let got: Vec<_> = payloads(&entries).into_iter().filter(|payload| payload[0] != b'z').collect();
        let missing = written.iter().filter(|payload| !got.contains(payload)).count();
        assert!(missing <= 1, "{context}: {missing} records are lost");
        assert!(got.iter().all(|payload| written.contains(payload)), "{context}: a payload was invented");
        assert!(got.is_sorted_by_key(|payload| written.iter().position(|other| other == payload)), "{context}: out of order");
        let damaged = parts.shared.counts.damaged.load(Ordering::Relaxed);
        assert!(missing == 0 || damaged > 0, "{context}: the loss is not reported");
        for entry in &entries {
            lane.complete(entry.position, delivered(entry));
        }
        let sums = parts.sums();
        assert_eq!(sums.pending, 0, "{context}: {sums:?}");
        assert_eq!(sums.planned, sums.delivered + sums.quarantined, "{context}: {sums:?}");
        lost_records += missing;
    }
    assert!(lost_records > 10, "only {lost_records} flips hit a record: the test does not test");
}

#[test]
fn a_directory_in_any_state_opens_and_loses_only_what_is_gone() {
    let (files, written) = some_volumes();
    let volumes: Vec<_> = files.keys().filter(|name| name.starts_with("volume-")).cloned().collect();
    let open = |change: &dyn Fn(&mut Files)| {
        let mut files = files.clone();
        change(&mut files);
        let parts = Parts::open(&ModelDisk::holding(&files));
        let got = payloads(&drain(&mut parts.lane()));
        (got, parts)
    };
    let cursor = files.keys().find(|name| name.starts_with("cursor-")).unwrap();

    let (got, parts) = open(&|files| drop(files.remove(cursor)));
    assert_eq!((got, parts.report.cursor), (written.clone(), CursorOrigin::Lost));
    let (got, parts) = open(&|files| files.get_mut(cursor).unwrap().fill(0xAA));
    assert_eq!((got, parts.report.cursor), (written.clone(), CursorOrigin::Lost));
    let (got, _) = open(&|files| drop(files.remove(names::IDENTITY)));
    assert_eq!(got, written);
    let (got, parts) = open(&|files| {
        files.insert("notes.txt".to_owned(), b"mine".to_vec());
        files.insert("volume-zz.log".to_owned(), Vec::new());
        files.insert(names::volume(500), Vec::new());
        files.insert(names::unfinished(&names::cursor(9)), vec![1]);
    });
    assert_eq!((got, parts.report.foreign.len()), (written.clone(), 2));
    let (got, parts) = open(&|files| drop(files.remove(&volumes[1])));
    assert!(got.len() < written.len() && got.iter().all(|payload| written.contains(payload)));
    assert_eq!((parts.sums().pending, parts.sums().planned), (2 * got.len() as u64, 2 * written.len() as u64));
    let (got, parts) = open(&|files| files.get_mut(&volumes[1]).unwrap().clear());
    assert!(got.len() < written.len());
    assert_eq!(parts.sums().pending, 2 * got.len() as u64);
    let (got, _) = open(&|files| files.get_mut(&volumes[2]).unwrap().truncate(1000));
    assert!(got.len() < written.len());
    // Cursors ahead of the log: its last volumes are gone. What comes later is delivered.
    let (_, mut parts) = open(&|files| files.retain(|name, _| !name.starts_with("volume-")));
    let at = parts.append(&[b"after"])[0].clone().unwrap();
    assert!(at.volume > u64::try_from(volumes.len()).unwrap() - 1);
    assert_eq!(payloads(&drain(&mut parts.lane())), [b"after".to_vec()]);
    assert_eq!(parts.sums().pending, 2);
}

#[test]
fn files_of_a_newer_format_are_refused_by_name() {
    let (files, _) = some_volumes();
    for (name, bytes) in &files {
        let mut newer = bytes.clone();
        newer[8] = 7;
        let crc = crc32fast::hash(&newer[..60]);
        newer[60..64].copy_from_slice(&crc.to_le_bytes());
        let mut files = files.clone();
        files.insert(name.clone(), newer);
        let refused = Parts::try_open(&ModelDisk::holding(&files)).err();
        if bytes[..8] == [0; 8] {
            continue;
        }
        let text = refused.map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains(name.as_str()) && text.contains("format 7") && text.contains("up to 2"), "{name}: {text}");
    }
}

#[test]
fn a_sync_that_fails_once_costs_nothing_but_a_volume() {
    let disk = known_disk();
    let mut parts = Parts::open(&disk);
    let first = parts.append(&[b"one"])[0].clone().unwrap();
    keeper::step(&parts.shared);
    disk.fail_syncs(1);
    let second = parts.append(&[b"two"])[0].clone().unwrap();
    assert!(second.volume > first.volume);
    assert_eq!(parts.shared.counts.faults().commits, 1);
    assert_eq!(payloads(&drain(&mut parts.lane())), [b"one".to_vec(), b"two".to_vec()]);
    let parts = Parts::open(&disk.after_power_cut());
    assert_eq!(payloads(&drain(&mut parts.lane())), [b"one".to_vec(), b"two".to_vec()]);
}

#[test]
fn syncs_that_fail_for_ever_acknowledge_nothing_and_what_is_there_is_delivered() {
    let disk = known_disk();
    let mut parts = Parts::open(&disk);
    parts.append(&[b"one"])[0].clone().unwrap();
    disk.fail_syncs(u64::MAX);
    for _ in 0..5 {
        assert!(matches!(parts.append(&[b"two"])[0], Err(AppendError::Broken { .. })));
    }
    assert!(disk.contents().keys().filter(|name| name.starts_with("volume-")).count() <= 2, "failed volumes pile up");
    let mut lane = parts.lane();
    let entries = drain(&mut lane);
    assert_eq!(payloads(&entries), [b"one".to_vec()]);
    lane.complete(entries[0].position, delivered(&entries[0]));
    assert_eq!(parts.sums().pending, 0);
    disk.fail_syncs(0);
    assert!(parts.append(&[b"three"])[0].is_ok(), "it does not try again by itself");
    assert_eq!(payloads(&drain(&mut lane)), [b"three".to_vec()]);
}

#[test]
fn a_disk_without_space_refuses_saves_cursors_and_resumes() {
    let disk = known_disk();
    let mut parts = Parts::open(&disk);
    parts.saver.step().unwrap();
    disk.set_capacity(48 << 10);
    let mut kept = 0_u64;
    while parts.append(&[&[b'x'; 500]])[0].is_ok() {
        kept += 1;
        assert!(kept < 1000);
    }
    let mut lane = parts.lane();
    let entries = drain(&mut lane);
    assert_eq!(entries.len() as u64, kept);
    for entry in &entries {
        lane.complete(entry.position, delivered(entry));
    }
    parts.saver.step().unwrap();
    keeper::step(&parts.shared);
    assert!(parts.append(&[b"again"])[0].is_ok());
    assert_eq!(payloads(&drain(&mut lane)), [b"again".to_vec()]);
}

#[test]
fn a_hundred_times_full_it_drains_resumes_by_itself_and_does_not_flap() {
    let disk = known_disk();
    let mut parts = Parts::open(&disk);
    parts.saver.step().unwrap();
    let mut lane = parts.lane();
    for cycle in 0..100 {
        // Every other time it is the disk that is full, by somebody else's files, and not the quota.
        disk.set_capacity(if cycle % 2 == 0 { 100 << 10 } else { u64::MAX });
        let mut refused = 0;
        while refused < 3 {
            refused += u32::from(parts.append(&[&[b'x'; 900]])[0].is_err());
            keeper::step(&parts.shared);
        }
        assert_eq!(lock(&parts.shared.status).health, Health::Full, "cycle {cycle}");
        let entries = drain(&mut lane);
        // Two volumes of room are not enough to begin again, when it is the quota that counts.
        let (first, rest) = entries.split_at(if cycle % 2 == 0 { 0 } else { 10 });
        for entry in first {
            lane.complete(entry.position, delivered(entry));
        }
        if cycle % 2 == 1 {
            parts.saver.step().unwrap();
            keeper::step(&parts.shared);
            assert!(parts.append(&[b"flapping"])[0].is_err(), "cycle {cycle}");
        }
        for entry in rest {
            lane.complete(entry.position, delivered(entry));
        }
        parts.saver.step().unwrap();
        keeper::step(&parts.shared);
        assert_eq!(lock(&parts.shared.status).health, Health::Writable, "cycle {cycle}");
        assert!(parts.append(&[b"again"])[0].is_ok(), "cycle {cycle}");
        let sums = parts.sums();
        assert_eq!(sums.planned, sums.delivered + sums.pending, "cycle {cycle}: {sums:?}");
    }
}

#[test]
fn a_cursor_that_must_grow_on_a_full_disk_takes_the_reserve() {
    let disk = known_disk();
    let large = Settings { size_max: ByteSize(8 << 20), volume_size: ByteSize(64 << 10), ..settings() };
    let mut parts = Parts::open_with(&disk, &large).unwrap();
    parts.saver.step().unwrap();
    for _ in 0..800 {
        parts.append(&[b"one"])[0].clone().unwrap();
    }
    keeper::step(&parts.shared);
    assert_eq!(parts.shared.reserve.held_bytes(), (8 << 20) / 64);
    let mut lane = parts.lane();
    let entries = drain(&mut lane);
    // Every other one is complete: each is a run of its own in the cursor, which outgrows its slots.
    for entry in entries.iter().step_by(2) {
        lane.complete(entry.position, delivered(entry));
    }
    let used: usize = disk.contents().values().map(Vec::len).sum();
    disk.set_capacity(used as u64);
    parts.saver.step().unwrap();
    assert_eq!(parts.shared.reserve.held_bytes(), 0, "the cursor found its space elsewhere: the test does not test");
    let again = Parts::open_with(&disk.after_power_cut(), &large).unwrap();
    assert_eq!(drain(&mut again.lane()).len(), 400);
    // It is held again when there is room.
    disk.set_capacity(u64::MAX);
    keeper::step(&again.shared);
    assert_eq!(again.shared.reserve.held_bytes(), (8 << 20) / 64);
}

#[test]
fn lanes_wait_for_saves_and_go_on_when_no_save_can_be_made() {
    let disk = known_disk();
    let mut parts = Parts::open(&disk);
    parts.saver.step().unwrap();
    for _ in 0..400 {
        parts.append(&[b"x"])[0].clone().unwrap();
    }
    let mut lane = parts.lane();
    let take = |lane: &mut Lane| {
        let mut taken = 0;
        while let Some(entry) = next_of(lane) {
            lane.complete(entry.position, delivered(&entry));
            taken += 1;
        }
        taken
    };
    assert_eq!(take(&mut lane), 256, "two events each, 512 may be unsaved");
    parts.saver.step().unwrap();
    assert_eq!(take(&mut lane), 144);
    for _ in 0..400 {
        parts.append(&[b"y"])[0].clone().unwrap();
    }
    assert_eq!(take(&mut lane), 112, "the rest of what may be unsaved");
    disk.trouble(super::model_disk::Trouble { syncs: 1, ..Default::default() });
    for _ in 0..3 {
        assert!(parts.saver.step().is_err());
    }
    assert_eq!(take(&mut lane), 288, "a standstill is worse than duplicates");
}

fn next_of(lane: &mut Lane) -> Option<Entry> {
    for _ in 0..1000 {
        match lane.step() {
            Next::Entry(entry) => return Some(entry),
            Next::Read(from) => lane.read_now(from),
            Next::Redrive(_) | Next::Wait | Next::Replaced => return None,
        }
    }
    None
}

#[tokio::test]
async fn the_threads_answer_when_the_disk_fails_and_close_ends_them() {
    let disk = ModelDisk::new(3, Lie::None);
    let Opened { journal, .. } = Journal::open(disk.clone(), &settings()).unwrap();
    journal.append(record("one")).await.unwrap();
    disk.fail_syncs(u64::MAX);
    assert!(matches!(journal.append(record("two")).await, Err(AppendError::Broken { .. })));
    assert_eq!(journal.health(), Health::Broken);
    let mut lane = journal.lane(&web());
    assert_eq!(lane.next().await.payload, "one");
    tokio::time::timeout(Duration::from_secs(20), journal.close()).await.unwrap();
    assert_eq!(journal.append(record("three")).await, Err(AppendError::Closed));
}
