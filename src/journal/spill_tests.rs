//! Lanes that lag far behind: what happens to their records, and to everybody else's.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    AppendError, CursorOrigin, Entry, LaneId, Ledger, OpenError, Position, Record, RecoveryReport, Settings, Tally,
    commit::{Committer, Step},
    handle::ledger,
    keeper,
    lane::{Lane, Next},
    model_disk::{Dice, Lie, ModelDisk},
    names::{self, Name},
    queue::Pending,
    recovery::{Recovered, recover},
    saver::Saver,
    shared::{Shared, Tuning},
    stock::lock,
};
use crate::model::{ByteSize, Destination, PerDestination, Percent, Revision, SourceId, WallTime};

const QUOTA_BYTES: u64 = 256 << 10;

fn settings() -> Settings {
    Settings { size_max: ByteSize(QUOTA_BYTES), volume_size: ByteSize(4096), keep_delivered: Duration::ZERO, ..Settings::default() }
}

/// A journal without its threads: one source whose lane stands still, nine that keep up.
struct Stand {
    shared: Arc<Shared>,
    committer: Committer,
    saver: Saver,
    report: RecoveryReport,
    /// The lanes that keep up.
    healthy: Vec<Lane>,
    /// Everything journalled for the one that does not, in order.
    owed: Vec<Vec<u8>>,
    rounds: u64,
}

fn parked() -> LaneId {
    lane_of("parked")
}

fn lane_of(source: &str) -> LaneId {
    LaneId { source: SourceId::parse(source).unwrap(), destination: Destination::Segment }
}

fn attach(shared: &Arc<Shared>, id: &LaneId) -> Lane {
    Lane::attach(Arc::clone(shared), shared.stock(&id.source), id.destination)
}

impl Stand {
    fn open(disk: &Arc<ModelDisk>, settings: &Settings) -> Result<Self, OpenError> {
        let tuning = Tuning {
            spill_pause_first: Duration::from_hours(1),
            spill_pause: Duration::from_hours(1),
            full_pause: Duration::ZERO,
            room_patience: Duration::ZERO,
            ..Tuning::default()
        };
        let Recovered { shared, cursor, report } = recover(disk.clone(), settings, tuning)?;
        let mut saver = Saver::new(Arc::clone(&shared), cursor);
        saver.step().unwrap();
        let healthy = (0..9).map(|index| attach(&shared, &lane_of(&format!("healthy-{index}")))).collect();
        let committer = Committer::new(Arc::clone(&shared));
        Ok(Self { shared, committer, saver, report, healthy, owed: Vec::new(), rounds: 0 })
    }

    /// Appends one record and says whether it was kept.
    fn append(&mut self, source: SourceId, payload: &[u8]) -> Result<Position, AppendError> {
        let record = Record {
            source,
            revision: Revision(1),
            planned: PerDestination { segment: 1, rudderstack: 0 },
            received_at: WallTime::from_millis(1000),
            payload: payload.to_vec().into(),
        };
        let (answer, mut answered) = oneshot::channel();
        self.shared.queue.push(Pending { record, answer, room_kib: 1, since: std::time::Instant::now() }).unwrap();
        while self.committer.step() == Step::Worked {}
        answered.try_recv().unwrap()
    }

    /// One record for everybody; those that keep up deliver it. Returns the bytes of the nine.
    fn round(&mut self) -> Result<u64, AppendError> {
        self.rounds += 1;
        let own = format!("{:06}", self.rounds).into_bytes();
        self.append(parked().source, &own)?;
        self.owed.push(own);
        let payload = [b'h'; 300];
        for index in 0..9 {
            self.append(lane_of(&format!("healthy-{index}")).source, &payload)?;
        }
        for lane in &mut self.healthy {
            for entry in drain(lane) {
                lane.complete(entry.position, Tally { delivered: 1, ..Tally::default() });
            }
        }
        self.saver.step().unwrap();
        keeper::step(&self.shared);
        Ok(9 * 300)
    }

    /// Goes on until that many bytes went through.
    fn run(&mut self, bytes: u64) {
        let mut through = 0;
        while through < bytes {
            through += self.round().unwrap();
            let log = lock(&self.shared.log);
            assert!(log.volume_bytes() + log.other_bytes <= QUOTA_BYTES, "the quota does not hold");
        }
    }

    fn drain_parked(&self) -> Vec<Vec<u8>> {
        drain(&mut attach(&self.shared, &parked())).into_iter().map(|entry| entry.payload.to_vec()).collect()
    }

    fn sums(&self, id: &LaneId) -> Ledger {
        ledger(&self.shared).into_iter().find(|(other, _)| other == id).map(|(_, sums)| sums).unwrap_or_default()
    }
}

fn drain(lane: &mut Lane) -> Vec<Entry> {
    let mut entries = Vec::new();
    for _ in 0..100_000 {
        match lane.step() {
            Next::Entry(entry) => entries.push(entry),
            Next::Read(from) => lane.read_now(from),
            Next::Redrive(_) | Next::Wait | Next::Replaced => return entries,
        }
    }
    panic!("a lane does not come to its end");
}

fn spills_in(disk: &ModelDisk) -> Vec<String> {
    disk.contents().into_keys().filter(|name| matches!(Name::of(name), Name::Spill(_))).collect()
}

/// A journal through which some times its quota went while one lane stood still.
fn with_spills(times: u64) -> (Arc<ModelDisk>, Vec<Vec<u8>>) {
    let disk = ModelDisk::new(5, Lie::None);
    let mut stand = Stand::open(&disk, &settings()).unwrap();
    stand.run(times * QUOTA_BYTES);
    assert!(!spills_in(&disk).is_empty());
    (disk, stand.owed)
}

#[test]
fn twenty_times_the_quota_goes_through_beside_a_lane_that_stands_still() {
    let disk = ModelDisk::new(5, Lie::None);
    let mut stand = Stand::open(&disk, &settings()).unwrap();
    stand.run(20 * QUOTA_BYTES);
    let spills = spills_in(&disk);
    println!("{} rounds, {} spills written, {} left", stand.rounds, stand.shared.counts.spills.load(Ordering::Relaxed), spills.len());
    let bytes: usize = spills.iter().map(|name| disk.contents()[name].len()).sum();
    assert!(spills.len() <= bytes / 2048 + 4, "small spills are not joined: {} in {bytes} bytes", spills.len());
    assert_eq!(stand.shared.counts.faults().refused_full, 0);
    assert_eq!(stand.drain_parked(), stand.owed);

    // The same after a restart, with the sums as they were; and when the lane goes on, the spills go.
    let (owed, sums) = (std::mem::take(&mut stand.owed), stand.sums(&parked()));
    drop(stand);
    let mut again = Stand::open(&disk.after_power_cut(), &settings()).unwrap();
    assert_eq!((again.report.missing.len(), again.report.damaged.len(), again.sums(&parked())), (0, 0, sums));
    let mut lane = attach(&again.shared, &parked());
    let mut delivered = 0;
    while let Some(entry) = drain_some(&mut lane) {
        assert_eq!(entry.payload, owed[delivered]);
        delivered += 1;
        lane.complete(entry.position, Tally { delivered: 1, ..Tally::default() });
        if delivered % 100 == 0 {
            again.saver.step().unwrap();
        }
    }
    assert_eq!(delivered, owed.len());
    again.run(QUOTA_BYTES / 2);
    let left = lock(&again.shared.log).volumes.values().filter(|volume| volume.spill.is_some()).count();
    assert!(left <= 1, "{left} spills are left of a lane that caught up");
    let sums = again.sums(&parked());
    assert_eq!((sums.delivered, sums.quarantined), (owed.len() as u64, 0));
}

fn drain_some(lane: &mut Lane) -> Option<Entry> {
    for _ in 0..1000 {
        match lane.step() {
            Next::Entry(entry) => return Some(entry),
            Next::Read(from) => lane.read_now(from),
            Next::Redrive(_) | Next::Wait | Next::Replaced => return None,
        }
    }
    None
}

#[test]
fn what_is_all_pending_is_not_copied_and_the_journal_is_full() {
    let disk = ModelDisk::new(5, Lie::None);
    let mut stand = Stand::open(&disk, &settings()).unwrap();
    let mut kept = 0_u64;
    while stand.append(parked().source, &[b'x'; 500]).is_ok() {
        keeper::step(&stand.shared);
        stand.saver.step().unwrap();
        kept += 1;
        assert!(kept < 10_000);
    }
    assert!(spills_in(&disk).is_empty());
    assert_eq!(stand.drain_parked().len() as u64, kept);
}

#[test]
fn a_lane_over_its_quota_is_told_apart_and_relieved_when_it_delivers() {
    let disk = ModelDisk::new(5, Lie::None);
    let small = Settings { spill_max_per_source: Percent::from_hundredths(500).unwrap(), ..settings() };
    let mut stand = Stand::open(&disk, &small).unwrap();
    let is_over = |stand: &Stand, id: &LaneId| stand.shared.stock(&id.source).lanes.of(id.destination).over_quota.load(Ordering::Relaxed);
    while !is_over(&stand, &parked()) {
        stand.round().unwrap();
        assert!(stand.rounds < 3000, "no quota holds this lane");
    }
    assert_eq!(stand.shared.lanes_over_quota.load(Ordering::Relaxed), 1);
    assert!(!is_over(&stand, &lane_of("healthy-0")));
    let bytes = stand.shared.stock(&parked().source).lanes.segment.spilled_bytes.load(Ordering::Relaxed);
    assert!((QUOTA_BYTES / 20..QUOTA_BYTES / 10).contains(&bytes), "{bytes} bytes");
    let mut lane = attach(&stand.shared, &parked());
    while let Some(entry) = drain_some(&mut lane) {
        lane.complete(entry.position, Tally { delivered: 1, ..Tally::default() });
        stand.saver.step().unwrap();
    }
    keeper::step(&stand.shared);
    assert_eq!((is_over(&stand, &parked()), stand.shared.lanes_over_quota.load(Ordering::Relaxed)), (false, 0));
}

#[test]
fn a_crash_between_a_spill_and_the_end_of_what_it_stands_for_changes_nothing() {
    let disk = ModelDisk::new(5, Lie::None);
    let mut stand = Stand::open(&disk, &settings()).unwrap();
    stand.run(QUOTA_BYTES * 3);
    let mut earlier = disk.contents();
    let spills = stand.shared.counts.spills.load(Ordering::Relaxed);
    while stand.shared.counts.spills.load(Ordering::Relaxed) == spills {
        earlier = disk.contents();
        stand.round().unwrap();
    }
    let mut both = earlier.clone();
    both.extend(disk.contents());
    let void = both.len() - disk.contents().len();
    assert!(void > 0);
    let disk = ModelDisk::holding(&both);
    let again = Stand::open(&disk, &settings()).unwrap();
    assert_eq!((again.report.missing.len(), again.report.damaged.len()), (0, 0));
    assert_eq!(again.drain_parked(), stand.owed);
    assert_eq!(again.sums(&parked()), stand.sums(&parked()));
    let left: Vec<_> = disk.contents().into_keys().filter(|name| !stand_names(&stand).contains(name)).collect();
    assert!(left.iter().all(|name| !matches!(Name::of(name), Name::Spill(_))), "void files stay: {left:?}");
}

fn stand_names(stand: &Stand) -> Vec<String> {
    lock(&stand.shared.log).volumes.iter().map(|(id, volume)| volume.file_name(*id)).collect()
}

#[test]
fn flipped_bits_in_spills_cost_at_most_one_record_each_and_lost_spills_are_counted() {
    let (disk, owed) = with_spills(4);
    let files = disk.contents();
    let spills = spills_in(&disk);
    let seed = std::env::var("SEGUE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let check = |files: &BTreeMap<String, Vec<u8>>, missing_max: usize, context: &str| {
        let mut stand = Stand::open(&ModelDisk::holding(files), &settings()).unwrap();
        stand.rounds = 1_000_000;
        // What a spill lost is known when the lane comes to the next volume.
        for _ in 0..3 {
            stand.round().unwrap();
        }
        let mut lane = attach(&stand.shared, &parked());
        let entries = drain(&mut lane);
        let got: Vec<_> = entries.iter().map(|entry| entry.payload.to_vec()).filter(|payload| !stand.owed.contains(payload)).collect();
        let there = owed.iter().filter(|payload| !stand.owed.contains(payload));
        let missing = there.filter(|payload| !got.contains(payload)).count();
        assert!(missing <= missing_max, "{context}: {missing} records are lost");
        assert!(got.iter().all(|payload| owed.contains(payload)), "{context}: a payload was invented");
        for entry in &entries {
            lane.complete(entry.position, Tally { delivered: 1, ..Tally::default() });
        }
        let sums = stand.sums(&parked());
        assert_eq!(sums.quarantined, missing as u64, "{context}: {sums:?}");
        assert_eq!((sums.pending, sums.delivered + sums.quarantined), (0, sums.planned), "{context}: {sums:?}");
        assert_eq!(stand.sums(&lane_of("healthy-3")).quarantined, 0, "{context}");
        missing
    };
    let mut lost = 0;
    for _ in 0..300 {
        let mut files = files.clone();
        let name = &spills[usize::try_from(dice.below(spills.len() as u64)).unwrap()];
        let bytes = files.get_mut(name).unwrap();
        let bit = dice.below(bytes.len() as u64 * 8);
        bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        lost += check(&files, 1, &format!("bit {bit} of {name}"));
    }
    assert!(lost > 10, "only {lost} flips hit a record: the test does not test");
    for name in &spills {
        let mut without = files.clone();
        without.remove(name);
        assert!(check(&without, owed.len(), &format!("without {name}")) > 0);
        let mut half = files.clone();
        let length = half[name].len() / 2;
        half.get_mut(name).unwrap().truncate(length);
        assert!(check(&half, owed.len(), &format!("half of {name}")) > 0);
    }
}

#[test]
fn with_all_cursors_lost_what_is_owed_comes_again_and_what_was_done_is_not_called_lost() {
    let (disk, owed) = with_spills(4);
    let mut files = disk.contents();
    files.retain(|name, _| !matches!(Name::of(name), Name::Cursor(_)));
    let mut stand = Stand::open(&ModelDisk::holding(&files), &settings()).unwrap();
    assert_eq!(stand.report.cursor, CursorOrigin::Lost);
    assert_eq!(stand.drain_parked(), owed);
    stand.round().unwrap();
    for index in 0..9 {
        let sums = stand.sums(&lane_of(&format!("healthy-{index}")));
        assert_eq!((sums.pending, sums.quarantined), (0, 0), "{sums:?}");
    }
}

#[test]
fn a_directory_with_spills_is_refused_by_a_segue_that_does_not_know_them() {
    let (disk, _) = with_spills(2);
    let files = disk.contents();
    let version = |name: &str| files[name][8..12].to_vec();
    assert_eq!(version(names::IDENTITY), 2_u32.to_le_bytes());
    let spill = &spills_in(&disk)[0];
    assert_eq!(version(spill), 2_u32.to_le_bytes());
    let mut newer = files.clone();
    let bytes = newer.get_mut(spill).unwrap();
    bytes[8] = 7;
    let crc = crc32fast::hash(&bytes[..60]);
    bytes[60..64].copy_from_slice(&crc.to_le_bytes());
    let refused = Stand::open(&ModelDisk::holding(&newer), &settings()).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(refused.contains(spill.as_str()) && refused.contains("format 7"), "{refused}");
    // A directory that never had any is one that every segue reads.
    let plain = ModelDisk::new(1, Lie::None);
    Stand::open(&plain, &settings()).unwrap().round().unwrap();
    assert_eq!(plain.contents()[names::IDENTITY][8..12], 1_u32.to_le_bytes());
}
