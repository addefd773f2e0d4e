//! Keeps lanes that lag from holding up the space of all: what they need of volumes that are mostly done is copied to spills.
//!
//! A lane that is parked, held, or whose destination is dead would pin every volume since it stopped, though few of their
//! records are its own. So when the log takes much of its quota, a volume of which at most half is still needed is copied, without
//! what is done, to a spill; small spills before it go into the same one. The order is: what may be left out is known to be done by
//! a durable cursor; the spill is durable, then its name; then what it stands for goes. After a crash in between both are there, and
//! the newest spill counts. What is all pending is not copied: then the journal is full, as it says.
//!
//! Volumes that a spill replaces are removed, never reused: a lane may be reading them.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    format::{FILE_HEADER_BYTES, FileKind, Kind},
    keeper::{next_id, quota},
    listing::allow_spills,
    names::{self, SpillName},
    reader::note_damage,
    reserve::{Spent, is_full},
    scan::{Body, Piece, Scanner, Wants},
    shared::{Log, Shared, Volume},
    spill::{Front, Spill, Writing, Written},
    stock::lock,
    words::{LaneId, Position},
};
use crate::model::{Destination, PerDestination, SourceId};

/// How long nothing is spilled after the disk refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// By events, as the checkpoints tell, more of a volume may be pending than by bytes: what counts is bytes.
const GUESS_MAX: Share = Share { of: 3, all: 4 };
/// A spill pays when it takes at most half of what it stands for.
const LIVE_MAX: Share = Share { of: 1, all: 2 };
/// A lane that needs nothing older than this share of the quota keeps up: nothing is spilled for it.
const YOUNG: Share = Share { of: 1, all: 4 };
/// A lane over its quota takes records again below this share of it.
const RELIEF: Share = Share { of: 3, all: 4 };

#[derive(Debug, Clone, Copy)]
struct Share {
    of: u64,
    all: u64,
}

impl Share {
    const fn take(self, whole: u64) -> u64 {
        whole / self.all * self.of + whole % self.all * self.of / self.all
    }
}

/// What goes into one spill.
#[derive(Debug)]
struct Run {
    /// In order; the last one is the one that was chosen.
    entries: Vec<(u64, Volume)>,
    /// Where each lane stands, durably, by ordinal.
    lows: Vec<PerDestination<Position>>,
    /// More would not be worth it, or not fit.
    bytes_max: u64,
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// A spill stands in its place.
    Spilled,
    /// Too much of it is needed.
    Dense,
    /// Every lane passed it meanwhile.
    Overtaken,
}

/// What a look for something to spill came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// There may be more.
    Again,
    /// There is nothing to do now.
    Nothing,
}

/// Spills one run, when space is short.
pub(super) fn step(shared: &Shared) -> Look {
    #[cfg(test)]
    if shared.tuning.sabotage == super::sabotage::Sabotage::SpillBeforeCursor {
        let (snapshot, saved) = super::cursor::snapshot(shared);
        lock(&shared.log).note_lows(snapshot.end, &saved);
    }
    let Some(run) = choose(shared) else { return Look::Nothing };
    let Some((chosen, _)) = run.entries.last() else { return Look::Nothing };
    match carry_out(shared, &run) {
        Ok(Outcome::Spilled | Outcome::Overtaken) => Look::Again,
        Ok(Outcome::Dense) => {
            let tuning = &shared.tuning;
            if let Some(volume) = lock(&shared.log).volumes.get_mut(chosen) {
                // Lanes that were on their way through it may have passed it soon; one that stands still has not.
                volume.dense_for = (volume.dense_for * 2).clamp(tuning.spill_pause_first, tuning.spill_pause);
                volume.dense_until = Some(Instant::now() + volume.dense_for);
            }
            Look::Again
        }
        Err(error) => {
            if is_full(&error) && shared.reserve.spend(shared.disk.as_ref()) == Spent::Now {
                return Look::Again;
            }
            tracing::warn!(%error, volume = chosen, "what lanes that lag need cannot be copied now");
            let mut log = lock(&shared.log);
            log.spill_rests_until = Some(Instant::now() + REFUSED_PAUSE.min(shared.tuning.spill_pause));
            // Others may be readable, or there.
            if let Some(volume) = log.volumes.get_mut(chosen) {
                volume.dense_until = Some(Instant::now() + shared.tuning.spill_pause);
            }
            Look::Nothing
        }
    }
}

/// The oldest volume that is worth it, and the small spills before it.
fn choose(shared: &Shared) -> Option<Run> {
    let mut log = lock(&shared.log);
    let now = Instant::now();
    let above = quota(shared) / 16 * shared.tuning.spill_above;
    let rests = log.spill_rests_until.is_some_and(|until| now < until);
    if rests || log.passed().is_some() || log.volume_bytes() <= above {
        return None;
    }
    let room = room(shared, &log);
    let log = &mut *log;
    let newest = log.end().volume;
    let entries: Vec<(u64, &Volume)> = log.volumes.iter().map(|(id, volume)| (*id, volume)).collect();
    let mut younger = log.volume_bytes();
    let (index, needed) = entries.iter().enumerate().find_map(|(index, (id, volume))| {
        younger -= volume.size;
        let settled = *id != newest && volume.last(*id) < log.saved_end.volume && younger >= YOUNG.take(quota(shared));
        let rested = volume.dense_until.is_none_or(|until| now >= until);
        let needed = (settled && rested).then(|| guess(log, *id, volume, entries.get(index + 1).map(|(_, next)| *next)))??;
        Some((index, needed))
    })?;
    let chosen = entries[index].1;
    let (mut start, mut bytes) = (index, needed);
    if chosen.spill.is_none() {
        let joins = |volume: &Volume, bytes: u64| {
            volume.spill.is_some() && volume.size <= bytes.max(SMALL_BYTES) * 2 && bytes + volume.size <= shared.settings.volume_size.0
        };
        while start > 0 && joins(entries[start - 1].1, bytes) {
            start -= 1;
            bytes += entries[start].1.size;
        }
    }
    let joined: u64 = entries[start..index].iter().map(|(_, volume)| volume.size).sum();
    let worth = LIVE_MAX.take(chosen.limit) + joined;
    let entries = entries[start..=index].iter().map(|(id, volume)| (*id, (*volume).clone())).collect();
    Some(Run { entries, lows: log.lows.clone(), bytes_max: worth.min(room) })
}

/// Spills below this size are joined with whatever follows.
const SMALL_BYTES: u64 = 4096;

/// What a spill may take of the disk while what it stands for is still there: half of the reserve is for it.
fn room(shared: &Shared, log: &Log) -> u64 {
    let all = shared.settings.size_max.0 - (shared.settings.size_max.0 - quota(shared)) / 2;
    all.saturating_sub(log.volume_bytes() + log.other_bytes)
}

/// How many bytes of a volume are needed, by what is known without reading it; None: too many. Lanes count from their first
/// record that is needed to the end.
fn guess(log: &Log, id: u64, volume: &Volume, next: Option<&Volume>) -> Option<u64> {
    let end = volume.end(id);
    let lags = |ordinal: usize, destination| log.lows.get(ordinal).is_none_or(|lows| *lows.of(destination) < end);
    if let Some(spill) = &volume.spill {
        let needed = |ordinal| Destination::ALL.into_iter().filter(|to| lags(ordinal, *to)).map(|to| spill.amount(ordinal, to).bytes).max();
        let bytes = (0..spill.lanes.len()).filter_map(needed).sum::<u64>();
        return (bytes <= LIVE_MAX.take(volume.size.saturating_sub(SMALL_BYTES))).then_some(bytes);
    }
    let (Some(before), Some(after)) = (&volume.planned_before, next.and_then(|next| next.planned_before.as_ref())) else {
        return Some(LIVE_MAX.take(volume.limit));
    };
    let (mut all, mut needed) = (0, 0);
    for (ordinal, after) in after.iter().enumerate() {
        let before = before.get(ordinal).copied().unwrap_or_default();
        let planned = |to| after.of(to).saturating_sub(*before.of(to));
        all += Destination::ALL.into_iter().map(planned).max().unwrap_or(0);
        needed += Destination::ALL.into_iter().filter(|to| lags(ordinal, *to)).map(planned).max().unwrap_or(0);
    }
    let all = all.max(1);
    (needed <= GUESS_MAX.take(all)).then(|| volume.limit / all * needed)
}

fn carry_out(shared: &Shared, run: &Run) -> io::Result<Outcome> {
    let (Some((first, _)), Some((chosen, volume))) = (run.entries.first(), run.entries.last()) else { return Ok(Outcome::Overtaken) };
    let name = SpillName { number: next_id(shared), first: *first, last: volume.last(*chosen) };
    let unfinished = names::unfinished(&names::spill(name));
    let result = write(shared, run, name).and_then(|written| match written {
        Some(written) => adopt(shared, run, name, &written),
        None => Ok(Outcome::Dense),
    });
    if !matches!(result, Ok(Outcome::Spilled)) {
        let _ = shared.disk.remove(&unfinished);
    }
    result
}

/// Writes the spill of a run; None: more of it is needed than pays. Durable when it returns, but for its name.
fn write(shared: &Shared, run: &Run, name: SpillName) -> io::Result<Option<Written>> {
    let mut front = None;
    let mut writing = None;
    for (index, (id, volume)) in run.entries.iter().enumerate() {
        let file = shared.disk.open(&volume.file_name(*id))?;
        let (kind, number) = volume.spill.as_ref().map_or((FileKind::Volume, *id), |spill| (FileKind::Spill, spill.name.number));
        let seal = shared.seal(kind, number);
        if index == 0 {
            front = Front::of(file.as_ref(), &seal);
        }
        let writing = match &mut writing {
            Some(writing) => writing,
            none => none.insert(Writing::begin(shared.disk.as_ref(), shared.seal(FileKind::Spill, name.number), name, front.as_ref())?),
        };
        let mut scanner = Scanner::new(file.as_ref(), &seal, FILE_HEADER_BYTES, volume.limit);
        let ordinals = Ordinals::default();
        let mut damaged = Vec::new();
        loop {
            let at = Position { volume: *id, offset: scanner.offset };
            let wants = |header: &_| if ordinals.owed(shared, &run.lows, at, header).is_some() { Wants::Body } else { Wants::HeaderOnly };
            match scanner.next(wants) {
                None => break,
                Some(Piece::Frame { header, body: Body::Whole(body), .. }) => {
                    let Some((position, owed)) = ordinals.owed(shared, &run.lows, at, &header) else { continue };
                    writing.push(&header, position, owed, body)?;
                }
                Some(Piece::Frame { offset, header, body }) => {
                    if matches!(body, Body::Damaged) {
                        damaged.push(if header.kind == Kind::Spilled { header.spilled_from() } else { Position { volume: *id, offset } });
                    }
                    if matches!(header.kind, Kind::Event | Kind::Contents) {
                        writing.note_revision(header.revision);
                    }
                }
                Some(Piece::Unreadable { offset, .. }) => damaged.push(Position { volume: *id, offset }),
            }
            if writing.bytes() > run.bytes_max {
                return Ok(None);
            }
        }
        // What the disk does not read just now is not lost: its lane asks again, and for longer.
        if let Some(error) = scanner.refusal {
            return Err(error);
        }
        // Whatever is damaged is not in the spill, so no lane finds the place any more: its events are counted when they are missed.
        for position in damaged {
            note_damage(shared, position);
        }
    }
    let Some(writing) = writing else { return Ok(None) };
    #[cfg(test)]
    if shared.tuning.sabotage == super::sabotage::Sabotage::SpillUnsynced {
        return writing.finish(shared.epoch, |_| Ok(())).map(Some);
    }
    writing.finish(shared.epoch, |file| file.sync_data()).map(Some)
}

/// Sources by their ordinals, looked up once.
#[derive(Debug, Default)]
struct Ordinals(std::cell::RefCell<HashMap<SourceId, usize>>);

impl Ordinals {
    /// Where the record of that frame stood in the log, and what is owed of it; None: nothing. `at`: where the frame stands.
    fn owed(
        &self,
        shared: &Shared,
        lows: &[PerDestination<Position>],
        at: Position,
        header: &super::format::FrameHeader,
    ) -> Option<(Position, PerDestination<u32>)> {
        let position = match header.kind {
            Kind::Event => at,
            Kind::Spilled => header.spilled_from(),
            Kind::Checkpoint | Kind::Quarantined | Kind::Contents | Kind::Marks | Kind::Left => return None,
        };
        let source = header.source.as_ref()?;
        let known = self.0.borrow().get(source).copied();
        let ordinal = known.unwrap_or_else(|| {
            let ordinal = shared.stock(source).ordinal;
            self.0.borrow_mut().insert(source.clone(), ordinal);
            ordinal
        });
        let low = lows.get(ordinal).copied().unwrap_or_default();
        let owed = PerDestination::from_fn(|to| if position >= *low.of(to) { *header.planned.of(to) } else { 0 });
        (owed != PerDestination::default()).then_some((position, owed))
    }
}

/// Lets a spill stand in the place of its run, unless every lane has passed that meanwhile.
fn adopt(shared: &Shared, run: &Run, name: SpillName, written: &Written) -> io::Result<Outcome> {
    let _one_at_a_time = lock(&shared.preparing);
    let pinned = {
        let log = lock(&shared.log);
        run.entries.iter().all(|(id, _)| log.volumes.get(id).is_some_and(|volume| volume.passed_at.is_none()))
    };
    if !pinned {
        return Ok(Outcome::Overtaken);
    }
    let file_name = names::spill(name);
    allow_spills(shared.disk.as_ref(), shared.epoch, &shared.spills_allowed)?;
    shared.disk.rename(&names::unfinished(&file_name), &file_name)?;
    if let Err(error) = shared.disk.sync_dir() {
        // Should the name come back after a crash, it says the same as what it stands for.
        let _ = shared.disk.remove(&file_name);
        return Err(error);
    }
    let mut lanes = Vec::new();
    for (source, amounts) in &written.amounts {
        let ordinal = shared.stock(source).ordinal;
        lanes.resize(lanes.len().max(ordinal + 1), PerDestination::default());
        lanes[ordinal] = *amounts;
    }
    let spill = Spill { name, lanes };
    {
        let mut log = lock(&shared.log);
        let Some((first, front)) = run.entries.first() else { return Ok(Outcome::Overtaken) };
        for (id, _) in &run.entries {
            log.volumes.remove(id);
        }
        let planned_before = front.planned_before.clone();
        let volume = Volume { planned_before, spill: Some(Arc::new(spill)), ..Volume::whole(written.size, written.size, front.opened_at) };
        log.volumes.insert(*first, volume);
    }
    for (id, volume) in &run.entries {
        if let Err(error) = shared.disk.remove(&volume.file_name(*id)) {
            tracing::warn!(%error, volume = id, "a volume that was spilled cannot be removed before the next start");
        }
    }
    shared.counts.spills.fetch_add(1, Ordering::Relaxed);
    Ok(Outcome::Spilled)
}

/// Finds out which lanes are over their quota of spilled records: new ones for them are refused until they have come
/// down well below it.
pub(super) fn weigh(shared: &Shared) {
    let (own_max, all_max) = (shared.settings.spill_max_per_source_bytes(), shared.settings.spill_max_bytes());
    let stocks = shared.stocks.read().unwrap_or_else(PoisonError::into_inner).all.clone();
    let (loads, on_disk) = loads(&lock(&shared.log), stocks.len());
    let each = || loads.iter().flat_map(|loads| [loads.segment, loads.rudderstack]).filter(|load| *load > 0);
    let total = on_disk.min(each().sum());
    // When all together are over, it is those with more than half of the average: they have most of it.
    let much = each().sum::<u64>() / (2 * each().count().max(1) as u64);
    let mut over = 0;
    for stock in stocks {
        for destination in Destination::ALL {
            let core = stock.lanes.of(destination);
            let bytes = loads.get(stock.ordinal).map_or(0, |loads| *loads.of(destination));
            core.spilled_bytes.store(bytes, Ordering::Relaxed);
            let was_over = core.over_quota.load(Ordering::Relaxed);
            let bound = |max| if was_over { RELIEF.take(max) } else { max };
            let is_over = bytes > 0 && (bytes >= bound(own_max) || (total >= bound(all_max) && bytes >= much));
            if is_over != was_over {
                core.over_quota.store(is_over, Ordering::Relaxed);
                let lane = LaneId { source: stock.source.clone(), destination };
                if is_over {
                    tracing::warn!(%lane, bytes, "a lane that lags is over its quota of disk: no new events are kept for it");
                } else {
                    tracing::info!(%lane, bytes, "a lane is below its quota of disk again");
                }
            }
            over += usize::from(is_over);
        }
    }
    shared.lanes_over_quota.store(over, Ordering::Release);
}

/// By ordinal, the bytes of spills that each lane has not passed; and the bytes of all spills.
fn loads(log: &Log, stocks: usize) -> (Vec<PerDestination<u64>>, u64) {
    let mut loads = vec![PerDestination::<u64>::default(); stocks];
    let mut total = 0;
    for volume in log.volumes.values() {
        let Some(spill) = &volume.spill else { continue };
        total += volume.size;
        for (ordinal, load) in loads.iter_mut().enumerate() {
            let low = log.lows.get(ordinal).copied().unwrap_or_default();
            for destination in Destination::ALL {
                if low.of(destination).volume <= spill.name.last {
                    *load.of_mut(destination) += spill.amount(ordinal, destination).bytes;
                }
            }
        }
    }
    (loads, total)
}
