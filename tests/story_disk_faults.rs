//! The disk fails under a whole sidecar: at every sync, for once or for ever, for want of space, read-only, slowly.
//!
//! `SEGUE_SEED` repeats a run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a story that cannot go on fails")]

mod fault_disk;
mod fault_scene;
mod process;
mod stage;
mod sums;

use std::time::Duration;

use fault_disk::{Act, EDQUOT, EFBIG, EIO, ENOSPC, EROFS, Fault, How};
use fault_scene::{From, Load, Scene, Verdicts};
use segue::{
    config::Config,
    journal::Health,
    model::{ByteSize, Destination},
    standin::{Fault as VendorFault, Rule},
};
use tokio::{task::JoinSet, time::Instant};

/// Lives at once: each waits for disk and network most of the time.
const LIVES_AT_ONCE: u64 = 4;
/// Points at which a sync fails, and how many of them are in one life.
const POINTS: u64 = 200;
const POINTS_IN_A_LIFE: u64 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_at_each_of_200_points_acknowledges_nothing_that_is_lost() {
    let seed = process::seed();
    println!("SEGUE_SEED={seed}");
    let mut workers = JoinSet::new();
    for worker in 0..LIVES_AT_ONCE {
        workers.spawn(async move {
            let (mut sum, mut struck) = (Verdicts::default(), 0);
            for life in (worker..POINTS / POINTS_IN_A_LIFE).step_by(usize::try_from(LIVES_AT_ONCE).unwrap()) {
                let (verdicts, faults) = one_life(seed.wrapping_add(life), life).await;
                sum += verdicts;
                struck += faults;
            }
            (sum, struck)
        });
    }
    let (mut sum, mut struck) = (Verdicts::default(), 0);
    while let Some(done) = workers.join_next().await {
        let (verdicts, faults) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        sum += verdicts;
        struck += faults;
    }
    println!("{struck} syncs failed: {sum:?}");
    assert_eq!(struck, POINTS, "each point was met");
    assert!(sum.acked > 5_000, "{sum:?}");
}

/// Syncs number `life + 1`, `life + 41`, `life + 81`... of the life fail, whatever they sync. In every second life the vendors are down
/// meanwhile, so that everything has to come back from disk.
async fn one_life(seed: u64, life: u64) -> (Verdicts, u64) {
    let mut scene = Scene::set(seed, |config| {
        if life.is_multiple_of(3) {
            config.journal.memory_max = ByteSize(1 << 10);
        }
    })
    .await;
    for point in 0..POINTS_IN_A_LIFE {
        let step = POINTS / POINTS_IN_A_LIFE;
        // Calls that another fault has struck do not count for the later ones.
        scene.faults.add(Fault::next(1, Act::SYNCS, How::Fails(EIO)).after(life + point * (step - 1)));
    }
    let are_down = life.is_multiple_of(2);
    if are_down {
        for vendor in [&scene.segment, &scene.rudder] {
            vendor.faults().add(Rule::always(VendorFault::status(503)));
        }
    }
    // A start may be refused, in words that name the file, and does no harm.
    while let Err(error) = scene.start().await {
        let text = error.to_string();
        assert!(text.contains("cannot write journal.id"), "{text}");
    }
    for round in 0.. {
        scene.load(20).await;
        if scene.faults.struck() == POINTS_IN_A_LIFE {
            break;
        }
        assert!(round < 60, "only {} faults struck in {} syncs", scene.faults.struck(), scene.faults.calls(Act::SYNCS));
    }
    scene.kept_again(Duration::from_secs(10)).await;
    scene.stop().await;
    let struck = scene.faults.struck();
    scene.faults.clear();
    for vendor in [&scene.segment, &scene.rudder] {
        vendor.faults().clear();
    }
    scene.rudder.faults().add(Rule::always(VendorFault::status(400)).for_event("Poison"));
    scene.start().await.unwrap();
    scene.kept_again(Duration::from_secs(5)).await;
    scene.drained().await;
    (scene.judge(0).await, struck)
}

/// What fails for ever, after so many such calls have gone well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_that_fail_for_ever_are_answered_with_429_or_by_segment_and_end_by_themselves() {
    let seed = process::seed();
    println!("SEGUE_SEED={seed}");
    let points = [8, 13, 21, 34, 55, 89, 144].into_iter().map(|point| (Act::SYNCS, "", point));
    let kinds = [(Act::SYNCS, "volume-", 5), (&[Act::SyncDir][..], "", 6), (&[Act::SyncData][..], "cursor-", 2)];
    let mut lives = JoinSet::new();
    for (index, (acts, prefix, after)) in points.chain(kinds).enumerate() {
        lives.spawn(async move {
            // Room for all that is refused until the fault has struck so often: the quarantine gets a 32nd.
            let roomy = |config: &mut Config| config.journal.size_max = ByteSize(64 << 20);
            let mut scene = Scene::set(seed.wrapping_add(1000 + index as u64), roomy).await;
            let fault = scene.faults.add(Fault::always(acts, How::Fails(EIO)).of(prefix).after(after));
            scene.start().await.unwrap();
            // Cursors that cannot be saved are tried twice a second.
            let enough = if prefix == "cursor-" { 3 } else { 12 };
            let deadline = Instant::now() + Duration::from_secs(30);
            while scene.faults.struck() < enough {
                scene.load(8).await;
                assert!(Instant::now() < deadline, "{acts:?} {prefix}: {} struck", scene.faults.struck());
            }
            // What was kept before goes on to both vendors; what RudderStack refuses can be put aside on a disk that syncs only.
            if prefix.is_empty() {
                within(Duration::from_secs(20), || pending(&scene, Destination::Segment) == 0, "Segment's lane").await;
            } else {
                scene.drained().await;
            }
            let is_broken = scene.sidecar().journal().health() == Health::Broken;
            if is_broken {
                assert!(!scene.send(From::App, "Step").await, "{prefix}: a 200 without a sync");
                assert!(scene.send(From::Web, "Step").await, "{prefix}: Segment takes it, but it was not asked");
            }
            let struck = scene.faults.lift(fault);
            // A disk that is well again is found out without anybody's event.
            within(Duration::from_secs(10), || scene.sidecar().journal().health() == Health::Writable, "the journal is not writable again")
                .await;
            scene.kept_again(Duration::from_secs(10)).await;
            scene.drained().await;
            scene.stop().await;
            scene.start().await.unwrap();
            scene.drained().await;
            (scene.judge(0).await, struck, is_broken)
        });
    }
    let (mut sum, mut struck, mut broken) = (Verdicts::default(), 0, 0);
    while let Some(done) = lives.join_next().await {
        let (verdicts, faults, is_broken) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        sum += verdicts;
        struck += faults;
        broken += u32::from(is_broken);
    }
    println!("{struck} syncs failed, {broken} journals were broken: {sum:?}");
    assert!(broken >= 7 && sum.refused > 0 && sum.unjournalled > 0, "{broken} {sum:?}");
}

/// Where space is missing, or the disk refuses otherwise: which calls, to which files, with what.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_refuses_anywhere_lets_draining_go_on_and_ingest_resumes_by_itself() {
    let seed = process::seed();
    println!("SEGUE_SEED={seed}");
    let table: [(&'static [Act], &'static str, rustix::io::Errno); 19] = [
        (&[Act::WriteAt], "volume-", ENOSPC),
        (&[Act::Create], "volume-", ENOSPC),
        (&[Act::Allocate], "volume-", ENOSPC),
        (&[Act::Rename, Act::Create], "volume-", ENOSPC),
        (&[Act::SyncData], "volume-", ENOSPC),
        (&[Act::WriteAt], "cursor-", ENOSPC),
        (&[Act::Create], "cursor-", ENOSPC),
        (&[Act::Allocate], "cursor-", ENOSPC),
        (&[Act::Rename], "cursor-", ENOSPC),
        (&[Act::Create], "quarantine-", ENOSPC),
        (&[Act::Allocate], "quarantine-", ENOSPC),
        (&[Act::WriteAt], "quarantine-", ENOSPC),
        (Act::SPACE, "", ENOSPC),
        (Act::SPACE, "", EDQUOT),
        (Act::SPACE, "", EFBIG),
        (Act::CHANGES, "", EROFS),
        (Act::CHANGES, "volume-", EROFS),
        (&[Act::Remove], "", EROFS),
        (&[Act::Open], "volume-", EIO),
    ];
    let mut lives = JoinSet::new();
    for (index, (acts, prefix, errno)) in table.into_iter().enumerate() {
        lives.spawn(async move {
            let what = format!("{acts:?} of {prefix:?} with {errno:?}");
            let fails = prefix == "quarantine-" || prefix.is_empty() && acts.contains(&Act::WriteAt);
            let keeps = if fails { Quarantine::CannotBeWritten } else { Quarantine::IsWritten };
            let fault = Fault::always(acts, How::Fails(errno)).of(prefix);
            (refused(seed.wrapping_add(2000 + index as u64), &what, keeps, fault).await, what)
        });
    }
    let mut sum = Verdicts::default();
    while let Some(done) = lives.join_next().await {
        let ((verdicts, struck), what) = done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        println!("{what}: struck {struck} times, {verdicts:?}");
        assert!(struck > 0 || what.contains("Remove"), "{what}: never struck");
        sum += verdicts;
    }
    println!("{sum:?}");
    assert!(sum.refused > 0 && sum.unjournalled > 0, "{sum:?}");
}

/// What such a fault means for the quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quarantine {
    IsWritten,
    CannotBeWritten,
}

/// One such fault, for as long as it takes to drain a backlog and to send more.
async fn refused(seed: u64, what: &str, keeps: Quarantine, fault: Fault) -> (Verdicts, u64) {
    let mut scene = Scene::set(seed, |_| {}).await;
    scene.start().await.unwrap();
    scene.load(8).await;
    // A backlog that is on disk before the fault.
    let hang = [
        scene.segment.faults().add(Rule::always(VendorFault::status(503))),
        scene.rudder.faults().add(Rule::always(VendorFault::status(503))),
    ];
    scene.load(24).await;
    let id = scene.faults.add(fault);
    // Cursors and quarantine are written on in place: only after a failure there is a new file. It comes after the fault: a
    // cursor is saved at any time, and its new file must not be there before what should refuse it.
    for kind in ["cursor-", "quarantine-"] {
        scene.faults.add(Fault::next(1, &[Act::SyncData], How::Fails(EIO)).of(kind));
    }
    scene.segment.faults().lift(hang[0]);
    scene.rudder.faults().lift(hang[1]);
    if keeps == Quarantine::CannotBeWritten {
        // What RudderStack refuses cannot be put aside now: its lane waits, Segment's does not.
        within(Duration::from_secs(20), || pending(&scene, Destination::Segment) == 0, what).await;
    } else {
        scene.drained().await;
    }
    for _ in 0..6 {
        scene.load(16).await;
    }
    // A busy machine may not have come to the next save of a cursor yet. Volumes are removed only when one is full and done.
    let deadline = Instant::now() + Duration::from_secs(20);
    while scene.faults.struck_by(id) == 0 && !what.contains("Remove") {
        assert!(Instant::now() < deadline, "{what}: never struck");
        scene.load(4).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let struck = scene.faults.lift(id);
    let resumed = scene.kept_again(Duration::from_secs(10)).await;
    println!("{what}: kept again after {resumed:?}");
    within(Duration::from_secs(10), || scene.sidecar().journal().health() == Health::Writable, what).await;
    scene.drained().await;
    let leftovers = std::fs::read_dir(scene.data()).unwrap().count();
    assert!(leftovers < 40, "{what}: {leftovers} files are left");
    scene.stop().await;
    scene.start().await.unwrap();
    scene.drained().await;
    (scene.judge(0).await, struck)
}

/// EROFS for the rest of its life: what is on disk is delivered, also from disk, and the next start goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stays_read_only_is_drained_and_the_next_life_goes_on() {
    let mut scene = Scene::set(process::seed(), |config| config.journal.memory_max = ByteSize(1 << 10)).await;
    scene.start().await.unwrap();
    let down = scene.segment.faults().add(Rule::always(VendorFault::status(503)));
    for _ in 0..10 {
        scene.load_kind(16, Load::Good).await;
    }
    scene.faults.add(Fault::always(Act::CHANGES, How::Fails(EROFS)));
    scene.segment.faults().lift(down);
    scene.load_kind(16, Load::Good).await;
    scene.drained().await;
    assert_eq!(scene.sidecar().journal().health(), Health::Broken);
    scene.stop().await;
    // Started while it still is read-only: degraded, but up.
    scene.start().await.unwrap();
    assert!(!scene.send(From::App, "Step").await && scene.send(From::Web, "Step").await);
    scene.drained().await;
    scene.stop().await;
    scene.faults.clear();
    scene.start().await.unwrap();
    scene.kept_again(Duration::from_secs(10)).await;
    scene.drained().await;
    println!("{:?}", scene.judge(0).await);
}

/// Reads that fail for a while lose nothing; a start on a disk that does not read is refused rather than taking its log for torn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_fail_for_a_while_lose_nothing() {
    let mut scene = Scene::set(process::seed(), |config| {
        config.journal.memory_max = ByteSize(1 << 10);
        config.delivery.memory_max = ByteSize(1 << 10);
    })
    .await;
    scene.start().await.unwrap();
    let down = [
        scene.segment.faults().add(Rule::always(VendorFault::status(503))),
        scene.rudder.faults().add(Rule::always(VendorFault::status(503))),
    ];
    // More than delivery takes into memory.
    for _ in 0..90 {
        scene.load_kind(16, Load::Good).await;
    }
    let reads = scene.faults.add(Fault::always(&[Act::ReadAt], How::Fails(EIO)).of("volume-"));
    scene.segment.faults().lift(down[0]);
    scene.rudder.faults().lift(down[1]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(scene.pending() > 0, "nothing had to be read");
    scene.load_kind(8, Load::Good).await;
    assert!(scene.faults.lift(reads) > 0);
    scene.drained().await;

    let down = scene.rudder.faults().add(Rule::always(VendorFault::status(503)));
    scene.load_kind(16, Load::Good).await;
    scene.stop().await;
    scene.faults.add(Fault::always(&[Act::ReadAt], How::Fails(EIO)).of("volume-"));
    let refused = scene.start().await.unwrap_err();
    let text = format!("{:#}", anyhow::Error::from(refused));
    assert!(text.contains("volume-") && text.contains("cannot be read: try again"), "{text}");
    scene.faults.clear();
    scene.rudder.faults().lift(down);
    scene.start().await.unwrap();
    scene.drained().await;
    let ledger = scene.sidecar().ledger();
    assert!(ledger.iter().all(|(_, ledger)| ledger.quarantined == 0), "{ledger:?}");
    println!("{:?}", scene.judge(0).await);
}

/// Syncs of 50 ms make groups grow, and nobody is refused; syncs of 5 s get 429 or Segment's answer, and end by themselves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_groups_grow_and_a_very_slow_one_refuses_in_time() {
    let mut scene = Scene::set(process::seed(), |config| config.journal.volume_size = ByteSize(256 << 10)).await;
    scene.start().await.unwrap();
    scene.load_kind(16, Load::Good).await;
    let mut groups = Vec::new();
    for delay_ms in [1, 50, 400] {
        let fault = scene.faults.add(Fault::always(&[Act::SyncData], How::Late(Duration::from_millis(delay_ms))).of("volume-"));
        let start = Instant::now();
        let sent = 8 * 24;
        let senders = (0..24).map(async |_| {
            for _ in 0..8 {
                assert!(scene.send(From::App, "Step").await, "refused at {delay_ms} ms a sync");
            }
        });
        futures_util::future::join_all(senders).await;
        let syncs = scene.faults.lift(fault);
        let group = f64::from(sent) / f64::from(u32::try_from(syncs).unwrap());
        println!("{delay_ms} ms a sync: {group:.1} records a group, {:?} for {sent}", start.elapsed());
        groups.push(group);
    }
    // 24 senders make groups of 12 at most, in turn. A busy machine may gather as many behind the quickest sync already.
    assert!(groups[2] >= 10.0, "groups do not grow: {groups:?}");

    let fault = scene.faults.add(Fault::always(&[Act::SyncData], How::Late(Duration::from_secs(6))).of("volume-"));
    let start = Instant::now();
    let senders = (0..32).map(async |index: u64| {
        // The first of them are the group that syncs; the others meet a busy disk.
        tokio::time::sleep(Duration::from_millis(20 * index)).await;
        let sent = Instant::now();
        let from = if index.is_multiple_of(2) { From::App } else { From::Web };
        (from, scene.send(from, "Step").await, sent.elapsed())
    });
    let heard = futures_util::future::join_all(senders).await;
    scene.faults.lift(fault);
    println!("6 s a sync: {} of 32 with 200, all within {:?}", heard.iter().filter(|(_, kept, _)| *kept).count(), start.elapsed());
    assert!(heard.iter().any(|(from, kept, _)| *from == From::App && !kept), "nobody was refused");
    assert!(heard.iter().filter(|(from, ..)| *from == From::Web).all(|(_, kept, _)| *kept), "Segment would have taken them");
    let slowest = heard.iter().map(|(.., took)| *took).max().unwrap();
    assert!(slowest < Duration::from_secs(11), "{slowest:?} is longer than a sync and the longest wait");
    scene.kept_again(Duration::from_secs(15)).await;
    scene.drained().await;
    println!("{:?}", scene.judge(0).await);
}

fn pending(scene: &Scene, to: Destination) -> u64 {
    scene.sidecar().ledger().iter().filter(|(lane, _)| lane.destination == to).map(|(_, ledger)| ledger.pending).sum()
}

async fn within(patience: Duration, mut holds: impl FnMut() -> bool, what: &str) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
