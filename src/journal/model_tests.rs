//! The real journal, over a disk that loses what was not synced, against a model of what must not be lost.
//!
//! A run is a chain of lives. In each one random things happen (appends, deliveries, completions, saves, retention, disk faults) until the power
//! is cut at a random change of the disk, or the process is killed. Then the journal is opened again and must have: every
//! acknowledged record for every lane that did not complete it, nothing that nobody appended, every payload as it was, each lane in
//! order, nothing again whose completion was durable, and sums that add up. `mutant_tests` shows that these runs notice faults.
//!
//! `SEGUE_SEED` and `SEGUE_CRASH_STATES` override what is tried; a failure prints its seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    AppendError, Disk, Entry, LaneId, Position, Record, Settings, Tally,
    commit::{Committer, Step},
    handle::ledger,
    keeper,
    lane::{Lane, Next},
    marks,
    model_disk::{Dice, Lie, ModelDisk, Trouble},
    queue::Pending,
    recovery::{Recovered, recover},
    sabotage::Sabotage,
    saver::Saver,
    shared::{Shared, Tuning},
};
use crate::model::{ByteSize, Destination, PerDestination, Revision, SourceId, WallTime};

const UNSAVED_EVENTS_MAX: u64 = 16;
const IN_FLIGHT_MAX: usize = 8;
const EVENTS_MAX: u64 = 3;
/// Eight files of 4 KiB hold so many, beside those that no cursor covers yet.
const MARKS_KEPT: u64 = 40;
pub(super) const LIVES: u64 = 40;

/// What is broken on purpose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broken {
    pub lie: Lie,
    pub sabotage: Sabotage,
}

pub(super) const SOUND: Broken = Broken { lie: Lie::None, sabotage: Sabotage::None };

/// The journal's parts, without threads.
struct Engine {
    shared: Arc<Shared>,
    committer: Committer,
    saver: Saver,
    lanes: BTreeMap<LaneId, Lane>,
    /// Handed out and not complete.
    in_flight: Vec<(LaneId, Entry)>,
    answers: Vec<(u64, oneshot::Receiver<Result<Position, AppendError>>)>,
    saves_failed: u32,
    /// Whether the disk refused marks while it had power.
    marks_refused: u64,
}

/// A mark that was left.
#[derive(Debug, Clone, Copy)]
struct LeftFact {
    mark: u128,
    number: u64,
    destination: Destination,
    state: Noted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Noted {
    /// It must be told while it is among the newest.
    Surely,
    /// The disk refused marks meanwhile: it may be gone.
    Perhaps,
}

/// What the model knows of one record.
#[derive(Debug, Clone)]
struct Fact {
    record: Record,
    state: Known,
    /// Lanes that have to deliver it.
    owed: BTreeSet<Destination>,
    /// Lanes whose completion no save covers yet.
    unsaved: BTreeSet<Destination>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Nobody was told that it was kept: it may be there after a crash, or not.
    Perhaps,
    /// Acknowledged, or seen after a crash: it must never be lost.
    Kept,
}

struct World {
    dice: Dice,
    disk: Arc<ModelDisk>,
    settings: Settings,
    broken: Broken,
    /// Decides how volumes are prepared.
    allocation_group_bytes: u64,
    facts: BTreeMap<u64, Fact>,
    /// All marks of records that are complete, in the order in which they were left.
    left: Vec<LeftFact>,
    /// Whether the disk fails in this life.
    is_troubled: bool,
    next_number: u64,
    sources: Vec<SourceId>,
    /// Lanes that deliver nothing for some lives: they lag, and are spilled.
    asleep: BTreeSet<LaneId>,
    /// From which use on they are.
    spill_above: u64,
    met: Met,
}

/// What a run has met: one that never met it proves nothing about it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Met {
    acknowledged: u64,
    torn: u64,
    full: u64,
    broken: u64,
    rewritten: u64,
    repeated: u64,
    failed_saves: u64,
    from_disk: u64,
    spilled: u64,
    from_spills: u64,
    marks_told: u64,
    marks_untold: u64,
    marks_refused: u64,
}

type Check = Result<(), String>;

fn payload(number: u64, dice: &mut Dice) -> Bytes {
    let length = 8 + dice.below(400);
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((8..length).map(|index| (number.wrapping_mul(31).wrapping_add(index) % 251) as u8));
    Bytes::from(bytes)
}

fn number_of(payload: &[u8]) -> Option<u64> {
    payload.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes))
}

impl World {
    fn new(seed: u64, broken: Broken) -> Self {
        let mut dice = Dice::new(seed);
        let settings = Settings {
            size_max: ByteSize(64 << 10),
            volume_size: ByteSize(4096),
            keep_delivered: if dice.once_in(4) { Duration::from_hours(1) } else { Duration::ZERO },
            memory_max: ByteSize(dice.below(4) * 1500),
            ..Settings::default()
        };
        let sources = ["web", "ios-app", "billing.server"].map(|name| SourceId::parse(name).unwrap()).to_vec();
        let disk = ModelDisk::new(dice.next(), broken.lie);
        let allocation_group_bytes = dice.below(3) * 300;
        let spill_above = 2 + dice.below(11);
        Self {
            dice,
            disk,
            settings,
            broken,
            allocation_group_bytes,
            facts: BTreeMap::new(),
            left: Vec::new(),
            is_troubled: false,
            next_number: 1,
            sources,
            asleep: BTreeSet::new(),
            spill_above,
            met: Met::default(),
        }
    }

    fn tuning(&self) -> Tuning {
        Tuning {
            unsaved_events_max: UNSAVED_EVENTS_MAX,
            broken_pause: Duration::ZERO,
            full_pause: Duration::ZERO,
            room_patience: Duration::ZERO,
            allocation_group_bytes: self.allocation_group_bytes,
            spill_above: self.spill_above,
            // Once in a life, so that a run does not depend on the time it takes.
            spill_pause_first: Duration::from_hours(1),
            spill_pause: Duration::from_hours(1),
            marks_file_bytes: Some(4096),
            sabotage: self.broken.sabotage,
            ..Tuning::default()
        }
    }

    /// Opens; the power may fail again meanwhile.
    fn open(&mut self) -> Result<Engine, String> {
        self.disk.trouble(Trouble::default());
        for _ in 0..3 {
            if !self.dice.once_in(5) {
                break;
            }
            self.disk.cut_after(self.dice.below(12));
            match self.try_open() {
                Err(error) if !self.disk.is_cut() => return Err(error),
                Ok(_) | Err(_) => {}
            }
            self.disk = self.disk.after_power_cut();
        }
        self.try_open()
    }

    fn try_open(&mut self) -> Result<Engine, String> {
        let disk: Arc<dyn Disk> = self.disk.clone();
        let Recovered { shared, cursor, report } = recover(disk, &self.settings, self.tuning()).map_err(|error| error.to_string())?;
        if !report.damaged.is_empty() || !report.missing.is_empty() {
            return Err(format!("a crash is reported as damage: {report:?}"));
        }
        self.met.torn += u64::from(report.torn_at.is_some());
        shared.marks.keep(MARKS_KEPT);
        let mut saver = Saver::new(Arc::clone(&shared), cursor);
        let _ = saver.step();
        let lanes = self.lane_ids().into_iter().map(|id| (id.clone(), attach(&shared, &id))).collect();
        let committer = Committer::new(Arc::clone(&shared));
        Ok(Engine { shared, committer, saver, lanes, in_flight: Vec::new(), answers: Vec::new(), saves_failed: 0, marks_refused: 0 })
    }

    fn lane_ids(&self) -> Vec<LaneId> {
        let of = |source: &SourceId| Destination::ALL.map(|destination| LaneId { source: source.clone(), destination });
        self.sources.iter().flat_map(of).collect()
    }

    /// One life, from just after opening to the crash.
    fn live(&mut self, engine: &mut Engine) -> Check {
        let trouble = match self.dice.below(8) {
            0 => Trouble { syncs: 6, ..Trouble::default() },
            1 => Trouble { no_space: 8, ..Trouble::default() },
            2 => Trouble { writes: 8, ..Trouble::default() },
            3 => Trouble { syncs: 2, no_space: 9, writes: 9 },
            _ => Trouble::default(),
        };
        if self.dice.once_in(10) {
            self.asleep.clear();
            for _ in 0..self.dice.below(3) {
                let lane = self.some_lane();
                self.asleep.insert(lane);
            }
        }
        self.is_troubled = trouble != Trouble::default();
        self.disk.trouble(trouble);
        self.disk.cut_after(1 + self.dice.below(120));
        for _ in 0..400 {
            self.act(engine)?;
            if self.disk.is_cut() {
                break;
            }
        }
        self.hear(engine)
    }

    fn act(&mut self, engine: &mut Engine) -> Check {
        match self.dice.below(20) {
            0..=5 => {
                self.append(engine);
                Ok(())
            }
            6..=8 => {
                while engine.committer.step() == Step::Worked {}
                self.hear(engine)
            }
            9..=13 => self.deliver(engine),
            14..=16 => self.complete(engine),
            17 => {
                self.save(engine);
                Ok(())
            }
            18 => {
                keeper::step(&engine.shared);
                Ok(())
            }
            _ => {
                if self.dice.once_in(4) {
                    self.attach_again(engine);
                }
                Self::check_sums(engine)
            }
        }
    }

    fn append(&mut self, engine: &mut Engine) {
        let number = self.next_number;
        self.next_number += 1;
        let source = self.sources[usize::try_from(self.dice.below(3)).unwrap()].clone();
        let count = |dice: &mut Dice| u32::try_from(dice.below(EVENTS_MAX + 1)).unwrap();
        let planned = PerDestination { segment: count(&mut self.dice), rudderstack: count(&mut self.dice) };
        let record = Record {
            source,
            revision: Revision(number / 10),
            planned,
            received_at: WallTime::from_millis(i64::try_from(number).unwrap()),
            payload: payload(number, &mut self.dice),
        };
        let owed = Destination::ALL.into_iter().filter(|to| *planned.of(*to) > 0).collect();
        self.facts.insert(number, Fact { record: record.clone(), state: Known::Perhaps, owed, unsaved: BTreeSet::new() });
        let (answer, answered) = oneshot::channel();
        engine.shared.queue.push(Pending { record, answer, room_kib: 1, since: Instant::now() }).unwrap();
        engine.answers.push((number, answered));
    }

    /// Hears what became of appends.
    fn hear(&mut self, engine: &mut Engine) -> Check {
        let mut waiting = Vec::new();
        for (number, mut answered) in engine.answers.drain(..) {
            match answered.try_recv() {
                Ok(Ok(_)) => {
                    self.met.acknowledged += 1;
                    self.facts.get_mut(&number).ok_or("acknowledged twice")?.state = Known::Kept;
                }
                Ok(Err(AppendError::Full)) => self.met.full += 1,
                Ok(Err(AppendError::Broken { .. })) => self.met.broken += 1,
                Ok(Err(error)) => return Err(format!("{error}")),
                Err(oneshot::error::TryRecvError::Empty) => waiting.push((number, answered)),
                Err(oneshot::error::TryRecvError::Closed) => return Err("an append was not answered".to_owned()),
            }
        }
        engine.answers = waiting;
        Ok(())
    }

    fn some_lane(&mut self) -> LaneId {
        let ids = self.lane_ids();
        ids[usize::try_from(self.dice.below(ids.len() as u64)).unwrap()].clone()
    }

    fn deliver(&mut self, engine: &mut Engine) -> Check {
        let id = self.some_lane();
        if self.asleep.contains(&id) {
            return Ok(());
        }
        for _ in 0..=self.dice.below(4) {
            let held = engine.in_flight.iter().filter(|(lane, _)| *lane == id).count();
            if held >= IN_FLIGHT_MAX {
                break;
            }
            let Some(entry) = step(engine.lanes.get_mut(&id).ok_or("no lane")?) else { break };
            let number = self.check_entry(&id, &entry)?;
            if self.facts[&number].state == Known::Perhaps {
                return Err(format!("{id}: {number} was refused and is handed out"));
            }
            if !self.facts[&number].owed.contains(&id.destination) {
                return Err(format!("{id}: {number} was completed and comes again without a crash"));
            }
            engine.in_flight.push((id.clone(), entry));
        }
        Ok(())
    }

    fn check_entry(&self, id: &LaneId, entry: &Entry) -> Result<u64, String> {
        let number = number_of(&entry.payload).ok_or("a payload without a number")?;
        let fact = self.facts.get(&number).ok_or_else(|| format!("{id}: {number} was never appended, or its completion was durable"))?;
        if fact.record.payload != entry.payload || fact.record.source != id.source {
            return Err(format!("{id}: {number} is not what was appended"));
        }
        if *fact.record.planned.of(id.destination) != entry.planned || entry.planned == 0 {
            return Err(format!("{id}: {number} has another plan"));
        }
        if !fact.owed.contains(&id.destination) && !fact.unsaved.contains(&id.destination) {
            return Err(format!("{id}: {number} comes again, though its completion was durable"));
        }
        Ok(number)
    }

    fn complete(&mut self, engine: &mut Engine) -> Check {
        for _ in 0..=self.dice.below(5) {
            if engine.in_flight.is_empty() {
                return Ok(());
            }
            let index = usize::try_from(self.dice.below(engine.in_flight.len() as u64)).unwrap();
            let (id, entry) = engine.in_flight.remove(index);
            let quarantined = u32::try_from(self.dice.below(u64::from(entry.planned) + 1)).unwrap();
            let tally = Tally { delivered: entry.planned - quarantined, quarantined, ..Tally::default() };
            let number = number_of(&entry.payload).ok_or("a payload without a number")?;
            let marks = marks_of(number, id.destination, entry.planned);
            engine.lanes[&id].complete_leaving(entry.position, tally, &marks);
            let left = |mark| LeftFact { mark, number, destination: id.destination, state: Noted::Surely };
            self.left.extend(marks.into_iter().map(left));
            let fact = self.facts.get_mut(&number).ok_or("an unknown record was handed out")?;
            fact.owed.remove(&id.destination);
            fact.unsaved.insert(id.destination);
        }
        Ok(())
    }

    fn save(&mut self, engine: &mut Engine) {
        let refusals = refusals(engine);
        match engine.saver.step() {
            Ok(()) => self.forget_saved(),
            Err(_) => engine.saves_failed += 1,
        }
        // A disk without power takes no cursor either; one that refused marks before the power failed may have.
        if !self.disk.is_cut() || self.is_troubled {
            engine.marks_refused += self::refusals(engine) - refusals;
        }
    }

    /// What is complete, durably, may never come again: the model forgets it, so that it is unknown when it does.
    fn forget_saved(&mut self) {
        self.facts.values_mut().for_each(|fact| fact.unsaved.clear());
        self.facts.retain(|_, fact| !(fact.state == Known::Kept && fact.owed.is_empty()));
    }

    fn attach_again(&mut self, engine: &mut Engine) {
        let id = self.some_lane();
        engine.in_flight.retain(|(lane, _)| *lane != id);
        let lane = attach(&engine.shared, &id);
        engine.lanes.insert(id, lane);
    }

    fn check_sums(engine: &Engine) -> Check {
        for (id, row) in ledger(&engine.shared) {
            if row.planned != row.delivered + row.pending + row.quarantined + row.deduplicated + row.suppressed + row.expired + row.purged {
                return Err(format!("{id}: the sums do not add up: {row:?}"));
            }
        }
        Ok(())
    }

    /// The crash, the next opening, and what must be there.
    fn crash(&mut self, engine: Engine) -> Result<Engine, String> {
        let saves_failed = engine.saves_failed;
        self.met.failed_saves += u64::from(saves_failed);
        self.met.rewritten += engine.shared.counts.faults().commits;
        self.met.spilled += engine.shared.counts.spills.load(std::sync::atomic::Ordering::Relaxed);
        self.met.marks_refused += engine.marks_refused;
        if engine.marks_refused > 0 {
            self.left.iter_mut().for_each(|left| left.state = Noted::Perhaps);
        }
        drop(engine);
        self.disk = if self.dice.once_in(6) { self.disk.after_kill() } else { self.disk.after_power_cut() };
        let mut engine = self.open()?;
        // Not every process asks.
        let told = (!self.dice.once_in(4)).then(|| told(&engine));
        let mut seen = BTreeSet::new();
        let rows: BTreeMap<_, _> = ledger(&engine.shared).into_iter().collect();
        for id in self.lane_ids() {
            let drained = self.drain(&mut engine, &id)?;
            let pending: u64 = drained.iter().map(|(_, planned)| u64::from(*planned)).sum();
            let row = rows.get(&id).copied().unwrap_or_default();
            if row.pending != pending {
                return Err(format!("{id}: {row:?}, but {pending} events come"));
            }
            let again = |(number, planned): &(u64, u32)| {
                let owed = self.facts.get(number).is_some_and(|fact| fact.owed.contains(&id.destination));
                if owed { 0 } else { u64::from(*planned) }
            };
            let repeated: u64 = drained.iter().map(again).sum();
            self.met.repeated += repeated;
            self.met.from_disk += drained.len() as u64;
            if saves_failed == 0 && repeated >= UNSAVED_EVENTS_MAX + IN_FLIGHT_MAX as u64 * EVENTS_MAX {
                return Err(format!("{id}: {repeated} events come again"));
            }
            self.check_nothing_lost(&id, &drained)?;
            seen.extend(drained.into_iter().map(|(number, _)| (number, id.destination)));
            engine.lanes.insert(id.clone(), attach(&engine.shared, &id));
        }
        // What is handed out again is as if it had never been complete, and so are its marks.
        self.left.retain(|left| !seen.contains(&(left.number, left.destination)));
        if let Some(told) = told {
            self.check_marks(&told)?;
        }
        self.learn(&seen);
        Self::check_sums(&engine)?;
        Ok(engine)
    }

    /// The newest marks of complete records are told, in order, and no others.
    fn check_marks(&mut self, told: &[u128]) -> Check {
        let by_mark: BTreeMap<u128, (usize, Noted)> =
            self.left.iter().enumerate().map(|(place, fact)| (fact.mark, (place, fact.state))).collect();
        let mut next = usize::MAX;
        for mark in told {
            let Some((place, state)) = by_mark.get(mark).copied() else {
                return Err(format!("the mark {mark} is told, of a record that is handed out again or was never there: {told:?}"));
            };
            // Of one that the disk refused, an earlier copy may be left, at an earlier place.
            if state == Noted::Surely && place > next {
                return Err(format!("the mark {mark} is told out of order: {told:?}"));
            }
            next = if state == Noted::Surely { place } else { next };
        }
        let heard: BTreeSet<u128> = told.iter().copied().collect();
        let newest = self.left.iter().rev().take(usize::try_from(MARKS_KEPT).unwrap());
        let mut missing = newest.filter(|fact| fact.state == Noted::Surely && !heard.contains(&fact.mark));
        if let Some(fact) = missing.next() {
            return Err(format!("{fact:?} is not told, though its record is complete: {told:?}"));
        }
        self.met.marks_told += told.len() as u64;
        self.met.marks_untold += u64::from(self.left.len() > told.len());
        Ok(())
    }

    /// Everything that a lane has, without completing it.
    fn drain(&mut self, engine: &mut Engine, id: &LaneId) -> Result<Vec<(u64, u32)>, String> {
        let lane = engine.lanes.get_mut(id).ok_or("no lane")?;
        let mut drained: Vec<(u64, u32)> = Vec::new();
        let mut last = None;
        while let Some(entry) = step(lane) {
            let number = self.check_entry(id, &entry)?;
            if last.is_some_and(|(position, before)| entry.position <= position || number <= before) {
                return Err(format!("{id}: {number} at {} is out of order after {last:?}", entry.position));
            }
            let log = super::stock::lock(&engine.shared.log);
            self.met.from_spills += u64::from(log.holding(entry.position.volume).is_some_and(|(_, volume)| volume.spill.is_some()));
            drop(log);
            last = Some((entry.position, number));
            drained.push((number, entry.planned));
        }
        Ok(drained)
    }

    fn check_nothing_lost(&self, id: &LaneId, drained: &[(u64, u32)]) -> Check {
        let there: BTreeSet<u64> = drained.iter().map(|(number, _)| *number).collect();
        let mut must = self
            .facts
            .iter()
            .filter(|(_, fact)| fact.state == Known::Kept && fact.record.source == id.source && fact.owed.contains(&id.destination));
        must.find(|(number, _)| !there.contains(number))
            .map_or(Ok(()), |(number, _)| Err(format!("{id}: {number} was acknowledged and is lost")))
    }

    /// After a crash it is decided what was kept, and which completions.
    fn learn(&mut self, seen: &BTreeSet<(u64, Destination)>) {
        self.facts.retain(|number, fact| {
            fact.state == Known::Kept || Destination::ALL.into_iter().any(|destination| seen.contains(&(*number, destination)))
        });
        for (number, fact) in &mut self.facts {
            fact.state = Known::Kept;
            for destination in std::mem::take(&mut fact.unsaved) {
                // What did not come again was saved by a save that did not live to say so; the rest is to be done again.
                if seen.contains(&(*number, destination)) {
                    fact.owed.insert(destination);
                }
            }
        }
        self.facts.retain(|_, fact| !fact.owed.is_empty());
    }
}

/// The marks that a lane leaves with a record.
fn marks_of(number: u64, destination: Destination, planned: u32) -> Vec<u128> {
    let lane = u128::from(destination == Destination::RudderStack);
    (0..u128::from(planned)).map(|index| u128::from(number) * 16 + lane * 8 + index).collect()
}

/// How often the disk took no marks, or took them in place of others.
fn refusals(engine: &Engine) -> u64 {
    engine.shared.marks.failures.load(Ordering::Relaxed) + engine.shared.marks.lost.load(Ordering::Relaxed)
}

/// The marks that a new process is told, newest first.
fn told(engine: &Engine) -> Vec<u128> {
    let mut told = Vec::new();
    marks::read(&engine.shared, |mark| {
        let is_new = !told.contains(&mark);
        if is_new {
            told.push(mark);
        }
        is_new
    });
    told
}

fn attach(shared: &Arc<Shared>, id: &LaneId) -> Lane {
    Lane::attach(Arc::clone(shared), shared.stock(&id.source), id.destination)
}

/// The lane's next record, reading from disk when need be; None: it would wait.
fn step(lane: &mut Lane) -> Option<Entry> {
    for _ in 0..10_000 {
        match lane.step() {
            Next::Entry(entry) => return Some(entry),
            Next::Read(from) => lane.read_now(from),
            Next::Redrive(_) | Next::Wait | Next::Replaced => return None,
        }
    }
    None
}

/// Runs that many lives from one seed; an error tells what was violated.
pub(super) fn run(seed: u64, broken: Broken, lives: u64) -> Result<Met, String> {
    let mut world = World::new(seed, broken);
    let mut engine = world.open()?;
    for life in 0..lives {
        let life_went = world.live(&mut engine);
        engine = life_went.and_then(|()| world.crash(engine)).map_err(|violation| format!("seed {seed}, life {life}: {violation}"))?;
    }
    Ok(world.met)
}

fn number_from_environment(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn nothing_acknowledged_is_lost_in_ten_thousand_crashes() {
    let first = number_from_environment("SEGUE_SEED", 1);
    let states = number_from_environment("SEGUE_CRASH_STATES", 10_000);
    let seeds = states.div_ceil(LIVES);
    println!("seeds {first}..{}", first + seeds);
    let mut met = Met::default();
    for seed in first..first + seeds {
        let run = run(seed, SOUND, LIVES).unwrap();
        met.acknowledged += run.acknowledged;
        met.torn += run.torn;
        met.full += run.full;
        met.broken += run.broken;
        met.rewritten += run.rewritten;
        met.repeated += run.repeated;
        met.failed_saves += run.failed_saves;
        met.from_disk += run.from_disk;
        met.spilled += run.spilled;
        met.from_spills += run.from_spills;
        met.marks_told += run.marks_told;
        met.marks_untold += run.marks_untold;
        met.marks_refused += run.marks_refused;
    }
    println!("{met:?}");
    let Met { acknowledged, torn, full, broken, rewritten, repeated, failed_saves, from_disk, .. } = met;
    let Met { spilled, from_spills, marks_told, marks_untold, marks_refused, .. } = met;
    let met_each = [
        acknowledged,
        torn,
        full,
        broken,
        rewritten,
        repeated,
        failed_saves,
        from_disk,
        spilled,
        from_spills,
        marks_told,
        marks_untold,
        marks_refused,
    ];
    let least = met_each.into_iter().min();
    assert!(states < 1000 || least >= Some(states / 100), "too little happened: {met:?}");
}
