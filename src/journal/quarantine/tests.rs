//! The quarantine over a disk that loses what was not synced: events are refused, sent again, refused again and given up, the power is cut
//! at any change of the disk, and then each event must be where it was, or one step on, and counted there.
//!
//! `SEGUE_SEED` and `SEGUE_QUARANTINE_RUNS` override what is tried; a failure prints its seed.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    super::{
        Entry, Ledger, Record, Settings,
        commit::{Committer, Step},
        handle::ledger,
        lane::{Lane, Next},
        model_disk::{Dice, Lie, ModelDisk},
        queue::Pending,
        recovery::{Recovered, recover},
        saver::Saver,
        shared::Tuning,
    },
    Decision, LaneId, Pick, Position, QuarantineId, Quarantined, Shared, Tally, lock,
};
use crate::model::{ByteSize, Destination, PerDestination, Revision, SourceId, WallTime};

const LIVES: u64 = 25;
const STEPS: u64 = 60;

struct Parts {
    shared: Arc<Shared>,
    committer: Committer,
    saver: Saver,
    lane: Lane,
    out: Vec<Entry>,
}

/// What became of each event, as far as somebody was told.
#[derive(Debug, Default)]
struct Known {
    acknowledged: BTreeSet<u64>,
    delivered: BTreeSet<u64>,
    /// Given up, or tried to.
    released: BTreeSet<u64>,
    next: u64,
    met: Met,
}

/// What a run has met: one that never met it proves nothing about it.
#[derive(Debug, Default, Clone, Copy)]
struct Met {
    refused: u64,
    redriven: u64,
    refused_again: u64,
    released: u64,
    files_gone: u64,
    due_after_crash: u64,
}

fn web() -> LaneId {
    LaneId { source: SourceId::parse("web").unwrap(), destination: Destination::RudderStack }
}

fn open(disk: &Arc<ModelDisk>) -> Option<Parts> {
    // Room for some dozens of entries, in files of a few each.
    let settings = Settings {
        size_max: ByteSize(1 << 20),
        volume_size: ByteSize(16 << 10),
        keep_delivered: std::time::Duration::ZERO,
        ..Settings::default()
    };
    let Recovered { shared, cursor, .. } = recover(disk.clone(), &settings, Tuning::default()).ok()?;
    let lane = Lane::attach(Arc::clone(&shared), shared.stock(&web().source), Destination::RudderStack);
    let (committer, saver) = (Committer::new(Arc::clone(&shared)), Saver::new(Arc::clone(&shared), cursor));
    Some(Parts { shared, committer, saver, lane, out: Vec::new() })
}

impl Parts {
    fn append(&mut self, number: u64) -> bool {
        let record = Record {
            source: web().source,
            revision: Revision(1),
            planned: PerDestination { segment: 0, rudderstack: 1 },
            received_at: WallTime::from_millis(5),
            payload: Bytes::copy_from_slice(&number.to_le_bytes()),
        };
        let (answer, mut answered) = oneshot::channel();
        self.shared.queue.push(Pending { record, answer, room_kib: 1, since: std::time::Instant::now() }).unwrap();
        while self.committer.step() == Step::Worked {}
        matches!(answered.try_recv(), Ok(Ok(_)))
    }

    fn take(&mut self) -> bool {
        for _ in 0..100 {
            let entry = match self.lane.step() {
                Next::Entry(entry) => entry,
                Next::Read(from) => {
                    self.lane.read_now(from);
                    continue;
                }
                Next::Redrive(id) => {
                    let Ok(Some(item)) = self.shared.quarantine.read(&self.shared, id) else { return false };
                    let Some(planned) = self.shared.quarantine.hand_out(id) else { return false };
                    Entry { position: Position::of_entry(id), payload: item.envelope, planned }
                }
                Next::Wait | Next::Replaced => return false,
            };
            self.out.push(entry);
            return true;
        }
        false
    }

    /// Refuses an event: quarantine first, completion after, as the runner does.
    fn refuse(&mut self, entry: &Entry, reason: &str) -> bool {
        let item = Quarantined {
            position: entry.position,
            index: 0,
            events: 1,
            event: Bytes::from_static(b"{}"),
            envelope: entry.payload.clone(),
            reason: reason.to_owned(),
            status: 400,
            answer: "x".repeat(300),
            at: WallTime::from_millis(7),
        };
        self.shared.stock(&web().source).lanes.rudderstack.keeps.store(true, Ordering::Release);
        if self.shared.quarantine.keep(&self.shared, &web(), item).is_err() {
            return false;
        }
        self.lane.complete(entry.position, Tally { quarantined: 1, ..Tally::default() });
        true
    }

    fn sums(&self) -> Ledger {
        ledger(&self.shared).into_iter().next().map(|(_, sums)| sums).unwrap_or_default()
    }

    /// The events in quarantine that somebody can decide about.
    fn waiting(&self) -> Vec<(QuarantineId, u64)> {
        let rows = self.shared.quarantine.page(&Pick::default(), QuarantineId(0), usize::MAX);
        let number = |id| self.shared.quarantine.read(&self.shared, id).unwrap().map(|item| number_of(&item.envelope)).unwrap();
        rows.into_iter().map(|row| (row.id, number(row.id))).collect()
    }

    fn check(&self, context: &str) {
        let sums = self.sums();
        let Ledger { planned, delivered, pending, quarantined, deduplicated, suppressed, expired, purged } = sums;
        assert_eq!(planned, delivered + pending + quarantined + deduplicated + suppressed + expired + purged, "{context}: {sums:?}");
        assert_eq!(self.waiting().len() as u64, quarantined, "{context}: what is counted is there: {sums:?}");
    }
}

fn number_of(payload: &[u8]) -> u64 {
    u64::from_le_bytes(payload.try_into().unwrap())
}

/// One step of somebody's: the app, the lane, the destination, an operator.
fn step(parts: &mut Parts, known: &mut Known, dice: &mut Dice) {
    match dice.below(12) {
        0..=2 => {
            known.next += 1;
            if parts.append(known.next) {
                known.acknowledged.insert(known.next);
            }
        }
        3..=5 => drop(parts.take()),
        6..=8 if !parts.out.is_empty() => {
            let entry = parts.out.remove(usize::try_from(dice.below(parts.out.len() as u64)).unwrap());
            if dice.once_in(3) {
                known.delivered.insert(number_of(&entry.payload));
                parts.lane.complete(entry.position, Tally { delivered: 1, ..Tally::default() });
            } else if parts.refuse(&entry, if dice.once_in(2) { "bad" } else { "worse" }) {
                known.met.refused += 1;
                known.met.refused_again += u64::from(entry.is_redriven());
            }
        }
        9 => drop(parts.saver.step()),
        _ => decide(parts, known, dice),
    }
}

fn decide(parts: &mut Parts, known: &mut Known, dice: &mut Dice) {
    let waiting = parts.waiting();
    if waiting.is_empty() || parts.saver.step().is_err() {
        return;
    }
    let (id, _) = waiting[usize::try_from(dice.below(waiting.len() as u64)).unwrap()];
    let by_reason = Pick { reason: Some("worse".to_owned()), ..Pick::default() };
    let pick = if dice.once_in(3) { by_reason } else { Pick { id: Some(id), ..Pick::default() } };
    if dice.once_in(3) {
        let meant = parts.shared.quarantine.page(&pick, QuarantineId(0), usize::MAX);
        known.released.extend(waiting.iter().filter(|(id, _)| meant.iter().any(|row| row.id == *id)).map(|(_, number)| *number));
        known.met.released += u64::from(parts.shared.quarantine.decide(&parts.shared, &pick, Decision::Release).is_ok());
    } else if let Ok(moved) = parts.shared.quarantine.decide(&parts.shared, &pick, Decision::Redrive) {
        parts.shared.ring_due();
        known.met.redriven += moved.entries;
    }
}

/// Lets everything come to its end, and holds it against what was known.
fn settle_up(parts: &mut Parts, known: &mut Known, context: &str) {
    for _ in 0..100_000 {
        while parts.take() {}
        let Some(entry) = parts.out.pop() else { break };
        known.delivered.insert(number_of(&entry.payload));
        parts.lane.complete(entry.position, Tally { delivered: 1, ..Tally::default() });
        assert!(parts.saver.step().is_ok(), "{context}: the disk is sound now");
    }
    parts.check(context);
    assert_eq!(parts.sums().pending, 0, "{context}: {:?}", parts.sums());
    let waiting: BTreeSet<u64> = parts.waiting().into_iter().map(|(_, number)| number).collect();
    for number in &known.acknowledged {
        let somewhere = known.delivered.contains(number) || known.released.contains(number) || waiting.contains(number);
        assert!(somewhere, "{context}: event {number} is lost");
    }
}

#[test]
fn whatever_the_power_does_each_event_is_where_it_was_or_one_step_on() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let (seed, runs): (u64, u64) = (number("SEGUE_SEED", 1), number("SEGUE_QUARANTINE_RUNS", 12));
    let mut met = Met::default();
    for run in seed..seed + runs {
        let (mut dice, mut known) = (Dice::new(run), Known::default());
        let mut disk = ModelDisk::new(dice.next(), Lie::None);
        for life in 0..LIVES {
            let context = format!("SEGUE_SEED={run} SEGUE_QUARANTINE_RUNS=1, life {life}");
            let mut parts = open(&disk).unwrap_or_else(|| panic!("{context}: it opens"));
            parts.check(&context);
            known.met.due_after_crash += parts.shared.quarantine.accounts().values().map(|account| account.due_events).sum::<u64>();
            if life + 1 == LIVES {
                settle_up(&mut parts, &mut known, &context);
                break;
            }
            disk.cut_after(10 + dice.below(250));
            let files = lock(&parts.shared.quarantine.index).files.len();
            for _ in 0..STEPS {
                step(&mut parts, &mut known, &mut dice);
                if disk.is_cut() {
                    break;
                }
                parts.check(&context);
            }
            known.met.files_gone += u64::from(lock(&parts.shared.quarantine.index).files.len() < files);
            drop(parts);
            disk = if dice.once_in(4) { disk.after_kill() } else { disk.after_power_cut() };
        }
        let Met { refused, redriven, refused_again, released, files_gone, due_after_crash } = known.met;
        met.refused += refused;
        met.redriven += redriven;
        met.refused_again += refused_again;
        met.released += released;
        met.files_gone += files_gone;
        met.due_after_crash += due_after_crash;
    }
    println!("{runs} runs of {LIVES} lives from seed {seed}: {met:?}");
    let Met { refused, redriven, refused_again, released, files_gone, due_after_crash } = met;
    let all = [refused, redriven, refused_again, released, files_gone, due_after_crash];
    assert!(runs < 10 || all.iter().all(|count| *count > 3), "something was never met: {met:?}");
}

/// A full quarantine takes events again as soon as others have left it, wherever their bytes stand.
#[test]
fn room_that_was_given_up_is_of_use_at_once() {
    let disk = ModelDisk::new(5, Lie::None);
    let mut parts = open(&disk).unwrap();
    let mut kept = 0_u64;
    loop {
        assert!(parts.append(kept) && parts.take());
        let entry = parts.out.pop().unwrap();
        if !parts.refuse(&entry, if kept.is_multiple_of(2) { "even" } else { "odd" }) {
            parts.out.push(entry);
            break;
        }
        kept += 1;
    }
    parts.saver.step().unwrap();
    assert!(kept > 20, "{kept} fit");
    let bytes = || disk.contents().iter().filter(|(name, _)| name.starts_with("quarantine-")).count();
    let files = bytes();
    let odd = Pick { reason: Some("odd".to_owned()), ..Pick::default() };
    let moved = parts.shared.quarantine.decide(&parts.shared, &odd, Decision::Release).unwrap();
    assert_eq!(moved.entries, kept / 2, "every second one is given up");
    let entry = parts.out.pop().unwrap();
    assert!(parts.refuse(&entry, "even"), "there is room again, though no file was empty");
    let mut again = 1;
    while parts.append(1_000 + again) && parts.take() {
        let entry = parts.out.pop().unwrap();
        if !parts.refuse(&entry, "even") {
            break;
        }
        again += 1;
    }
    assert!(again + 4 >= kept / 2 && again < kept, "{again} fit into the room of {}", kept / 2);
    parts.check("full again");
    parts.saver.step().unwrap();
    parts.shared.quarantine.decide(&parts.shared, &Pick::default(), Decision::Release).unwrap();
    assert!(bytes() < files && bytes() <= 1, "{} files are left of {files}", bytes());
    assert_eq!((parts.sums().quarantined, parts.waiting().len()), (0, 0));
}
