//! Marks, one case at a time; `model_tests` crashes over them.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    LaneId, Record, Settings, Tally,
    commit::{Committer, Step},
    lane::{Lane, Next},
    marks,
    model_disk::{Lie, ModelDisk},
    names,
    queue::Pending,
    recovery::{Recovered, recover},
    saver::Saver,
    shared::{Shared, Tuning},
};
use crate::model::{ByteSize, Destination, PerDestination, Revision, SourceId, WallTime};

const FILE_BYTES: u64 = 1024;

/// A journal with one lane, without threads.
struct Scene {
    shared: Arc<Shared>,
    committer: Committer,
    saver: Saver,
    lane: Lane,
}

impl Scene {
    fn open(disk: &Arc<ModelDisk>, keep: u64) -> Self {
        let settings = Settings { size_max: ByteSize(256 << 10), volume_size: ByteSize(4096), ..Settings::default() };
        let tuning =
            Tuning { broken_pause: Duration::ZERO, room_patience: Duration::ZERO, marks_file_bytes: Some(FILE_BYTES), ..Tuning::default() };
        let Recovered { shared, cursor, .. } = recover(disk.clone(), &settings, tuning).unwrap();
        shared.marks.keep(keep);
        let (committer, mut saver) = (Committer::new(Arc::clone(&shared)), Saver::new(Arc::clone(&shared), cursor));
        saver.step().unwrap();
        let id = LaneId { source: SourceId::parse("web").unwrap(), destination: Destination::RudderStack };
        let lane = Lane::attach(Arc::clone(&shared), shared.stock(&id.source), id.destination);
        Self { shared, committer, saver, lane }
    }

    /// Appends a record, takes it and completes it with that mark.
    fn complete(&mut self, mark: u128) {
        let record = Record {
            source: SourceId::parse("web").unwrap(),
            revision: Revision(0),
            planned: PerDestination { segment: 0, rudderstack: 1 },
            received_at: WallTime::from_millis(0),
            payload: b"event".as_slice().into(),
        };
        let (answer, _answered) = oneshot::channel();
        self.shared.queue.push(Pending { record, answer, room_kib: 1, since: std::time::Instant::now() }).unwrap();
        while self.committer.step() == Step::Worked {}
        loop {
            match self.lane.step() {
                Next::Entry(entry) => {
                    return self.lane.complete_leaving(entry.position, Tally { delivered: 1, ..Tally::default() }, &[mark]);
                }
                Next::Read(from) => self.lane.read_now(from),
                Next::Redrive(_) | Next::Wait | Next::Replaced => panic!("the record is there"),
            }
        }
    }

    fn saved(&mut self, mark: u128) {
        self.complete(mark);
        self.saver.step().unwrap();
    }

    /// What is told, oldest first.
    fn told(&self) -> Vec<u128> {
        let mut seen = BTreeSet::new();
        let mut told = Vec::new();
        marks::read(&self.shared, |mark| {
            told.push(mark);
            seen.insert(mark)
        });
        told.reverse();
        told
    }
}

fn files(disk: &ModelDisk) -> Vec<String> {
    disk.contents().into_keys().filter(|name| name.starts_with("marks-")).collect()
}

#[test]
fn marks_are_told_in_order_by_this_process_and_the_next_one() {
    let disk = ModelDisk::new(1, Lie::None);
    let mut scene = Scene::open(&disk, 100);
    (1..=5).for_each(|mark| scene.saved(mark));
    scene.complete(6);
    assert_eq!(scene.told(), [1, 2, 3, 4, 5, 6]);
    drop(scene);
    assert_eq!(Scene::open(&disk.after_kill(), 100).told(), [1, 2, 3, 4, 5], "the last one's record is handed out again");
    assert_eq!(Scene::open(&disk.after_power_cut(), 3).told(), [3, 4, 5]);
}

#[test]
fn a_save_without_marks_syncs_none_and_one_with_many_syncs_once() {
    let disk = ModelDisk::new(2, Lie::None);
    let mut scene = Scene::open(&disk, 1000);
    let syncs = |scene: &Scene| scene.shared.marks.syncs.load(Ordering::Relaxed);
    (0..20).for_each(|mark| scene.complete(mark));
    scene.saver.step().unwrap();
    assert_eq!(syncs(&scene), 1);
    for _ in 0..3 {
        scene.shared.revision.fetch_add(1, Ordering::Relaxed);
        scene.saver.step().unwrap();
    }
    assert_eq!(syncs(&scene), 1);
}

#[test]
fn restarts_use_no_files_up_and_old_files_go() {
    let mut disk = ModelDisk::new(3, Lie::None);
    for mark in 0..200 {
        let mut scene = Scene::open(&disk, 20);
        if mark % 7 == 0 {
            scene.told();
        }
        scene.saved(mark);
        drop(scene);
        disk = if mark % 2 == 0 { disk.after_kill() } else { disk.after_power_cut() };
    }
    let files = files(&disk);
    assert!(files.len() <= 6, "{files:?} for 20 marks");
    assert_eq!(Scene::open(&disk, 20).told(), (180..200).collect::<Vec<_>>());
}

#[test]
fn none_are_kept_when_none_are_wanted() {
    let disk = ModelDisk::new(4, Lie::None);
    let mut scene = Scene::open(&disk, 50);
    (0..30).for_each(|mark| scene.saved(mark));
    assert!(!files(&disk).is_empty());
    scene.shared.marks.keep(0);
    scene.saved(30);
    assert_eq!((files(&disk), scene.told()), (Vec::<String>::new(), vec![]));
}

#[test]
fn on_a_full_disk_delivery_goes_on_and_the_oldest_marks_give_way() {
    let disk = ModelDisk::new(5, Lie::None);
    let mut scene = Scene::open(&disk, 1000);
    scene.saved(0);
    // Volumes are prepared; nothing grows any more.
    super::keeper::step(&scene.shared);
    let used: usize = disk.contents().values().map(Vec::len).sum();
    disk.set_capacity(used as u64);
    for mark in 1..30 {
        scene.saved(mark);
    }
    let told = scene.told();
    assert_eq!(told, (0..30).collect::<Vec<_>>(), "what is not on disk waits in memory");
    assert!(scene.shared.marks.failures.load(Ordering::Relaxed) > 0 && scene.shared.marks.lost.load(Ordering::Relaxed) == 0);
    disk.set_capacity(u64::MAX);
    scene.saved(30);
    drop(scene);
    assert_eq!(Scene::open(&disk.after_power_cut(), 1000).told(), (0..31).collect::<Vec<_>>(), "with room again nothing is missing");
}

#[test]
fn a_flipped_bit_costs_its_own_frame_and_makes_no_mark_up() {
    let disk = ModelDisk::new(6, Lie::None);
    let mut scene = Scene::open(&disk, 1000);
    (1..=40).for_each(|mark| scene.saved(mark));
    drop(scene);
    let sound = disk.contents();
    let names: Vec<_> = sound.keys().filter(|name| name.starts_with("marks-")).cloned().collect();
    let (mut flips, mut costly) = (0, 0);
    for name in &names {
        for bit in (0..sound[name].len() * 8).step_by(37) {
            let mut files = sound.clone();
            files.get_mut(name).unwrap()[bit / 8] ^= 1 << (bit % 8);
            let told = Scene::open(&ModelDisk::holding(&files), 1000).told();
            assert!(told.is_sorted() && told.iter().all(|mark| (1..=40).contains(mark)), "{name}, bit {bit}: {told:?}");
            assert!(told.len() >= 39, "{name}, bit {bit}: only {} of 40 are left", told.len());
            (flips, costly) = (flips + 1, costly + usize::from(told.len() == 39));
        }
    }
    println!("{flips} flips, {costly} of them cost a mark");
    assert!(costly > flips / 4 && flips > 500);
}

#[test]
fn files_that_are_gone_foreign_or_cut_short_stop_nothing() {
    let disk = ModelDisk::new(7, Lie::None);
    let mut scene = Scene::open(&disk, 1000);
    (1..=20).for_each(|mark| scene.saved(mark));
    drop(scene);
    let sound = disk.contents();
    let other = {
        let disk = ModelDisk::new(8, Lie::None);
        let mut scene = Scene::open(&disk, 1000);
        (101..=110).for_each(|mark| scene.saved(mark));
        drop(scene);
        disk.contents()[&names::marks(1)].clone()
    };
    for (content, want) in [(None, 0), (Some(Vec::new()), 0), (Some(other), 0), (Some(sound[&names::marks(1)][..300].to_vec()), 1)] {
        let mut files = sound.clone();
        files.remove(&names::marks(1));
        files.extend(content.map(|content| (names::marks(1), content)));
        let disk = ModelDisk::holding(&files);
        let mut scene = Scene::open(&disk, 1000);
        let told = scene.told();
        let of_first = sound[&names::marks(1)].windows(4).filter(|four| four == b"sgR1").count();
        assert!(told.len() >= 20 - of_first + want && told.len() < 20 && !told.contains(&101), "{told:?}");
        // And it goes on from there.
        scene.saved(21);
        drop(scene);
        assert_eq!(Scene::open(&disk.after_power_cut(), 1000).told().last(), Some(&21));
    }
}
