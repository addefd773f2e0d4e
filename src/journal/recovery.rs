//! Opening: what is on disk, and what it means for the log and its lanes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize},
    },
};

use super::{
    Disk, OpenError, Settings,
    alarm::Alarm,
    chronicle::Chronicle,
    cursor::Snapshot,
    format::{Epoch, FileKind, Seal},
    heads::{Head, Sums, add_up, add_up_spill, chain, planned_base, read_heads, read_spills, scan},
    lane_state::{LaneCursor, LaneState, Totals},
    listing::{Listing, clean, identity, list, newer, next_volume, other_bytes},
    marks::Marks,
    names::{self, Name},
    quarantine::Quarantine,
    queue::Queue,
    reserve::Reserve,
    saver::{self, FileRead, Found},
    shared::{Counts, Log, Shared, Status, Tuning, Volume},
    spill::Spill,
    stock::lock,
    words::{CursorOrigin, Health, LaneId, Position, RecoveryReport},
};
use crate::model::{Destination, PerDestination, SourceId};

/// The smallest volume that makes sense: a checkpoint and some records.
const VOLUME_BYTES_MIN: u64 = 4096;

/// What opening came to.
pub(super) struct Recovered {
    pub shared: Arc<Shared>,
    pub cursor: Found,
    pub report: RecoveryReport,
}

/// Opens what is there.
pub(super) fn recover(disk: Arc<dyn Disk>, settings: &Settings, tuning: Tuning) -> Result<Recovered, OpenError> {
    check(settings)?;
    let listing = list(disk.as_ref())?;
    let (epoch, is_fresh) = identity(disk.as_ref(), &listing)?;
    let seal_of = |id| {
        let seal = Seal::new(FileKind::Volume, epoch, id);
        #[cfg(test)]
        let seal = seal.sabotaged(tuning.sabotage);
        seal
    };
    let mut report = RecoveryReport { foreign: listing.foreign.clone(), ..RecoveryReport::default() };
    let cursor = read_cursors(disk.as_ref(), epoch, &listing, &mut report)?;
    let mut spills = read_spills(disk.as_ref(), epoch, &listing, &mut report)?;
    let mut heads = read_heads(disk.as_ref(), epoch, &seal_of, &listing, &mut spills, &mut report)?;
    if let Some(file) = foreign_log(&heads, &report) {
        return Err(OpenError::Foreign { file });
    }
    let void = chain(&mut heads);
    let saved = cursor.snapshot.as_ref();
    let (mut planned, count_from) = planned_base(&heads, saved);
    let mut revision = saved.map_or(0, |saved| saved.revision.0);
    let mut unborn = Vec::new();
    for (id, head) in &mut heads {
        revision = revision.max(head.revision);
        if let Some((_, amounts)) = &head.spill {
            if *id >= count_from.volume {
                add_up_spill(amounts, &mut planned);
            }
            continue;
        }
        if head.limit.is_none() || *id >= count_from.volume {
            let committed = saved.map(|saved| saved.end).filter(|end| end.volume == *id).map_or(0, |end| end.offset);
            let frames = scan(disk.as_ref(), &seal_of(*id), *id, head, committed, &mut report)
                .map_err(|source| OpenError::Unreadable { file: names::volume(*id), source })?;
            revision = frames.iter().map(|frame| frame.revision).fold(revision, u64::max);
            add_up(&frames, *id, count_from, &mut planned);
        }
        if head.limit == Some(0) {
            unborn.push(*id);
        }
    }
    heads.retain(|id, _| !unborn.contains(id));
    let void = void.iter().chain(&unborn).map(|id| names::volume(*id)).chain(spills.void);
    clean(disk.as_ref(), is_fresh, &listing, void);

    let next_id = next_volume(&listing, saved);
    let quarantine = Quarantine::load(disk.as_ref(), epoch, listing.quarantines.clone(), |lane, position| {
        is_complete(saved, heads.keys().next().copied(), lane, position)
    });
    report.damaged_files.extend(quarantine.damaged.iter().cloned());
    let chronicle = Chronicle::load(disk.as_ref())?;
    let other_bytes = other_bytes(disk.as_ref(), &listing);
    let shared = Arc::new(Shared {
        disk,
        settings: settings.clone(),
        epoch,
        queue: Queue::new(),
        log: Mutex::new(Log { next_id, other_bytes, damage_seen: report.damaged.iter().copied().collect(), ..Log::default() }),
        stocks: RwLock::default(),
        quarantine,
        chronicle,
        marks: Marks::new(&listing.marks),
        revision: AtomicU64::new(revision),
        memory_bytes: AtomicUsize::new(0),
        counts: Counts { damaged: AtomicU64::new((report.damaged.len() + report.damaged_files.len()) as u64), ..Counts::default() },
        status: Mutex::new(Status { health: Health::Writable, reason: String::new() }),
        saver: Alarm::default(),
        keeper: Alarm::default(),
        watch: Alarm::default(),
        lanes_over_quota: AtomicUsize::new(0),
        spills_allowed: AtomicBool::new(false),
        reserve: Reserve::default(),
        save_waiters: Mutex::default(),
        preparing: Mutex::new(()),
        sync_observer: OnceLock::new(),
        tuning,
    });
    fill_log(&shared, &heads, planned);
    report.volumes = heads.len();
    report.end = lock(&shared.log).end();
    report.cursor = match (&cursor.snapshot, heads.is_empty() && cursor.ids.is_empty()) {
        (Some(_), _) => CursorOrigin::File,
        (None, true) => CursorOrigin::Fresh,
        (None, false) => CursorOrigin::Lost,
    };
    place_lanes(&shared, cursor.snapshot.as_ref(), &mut report);
    Ok(Recovered { shared, cursor, report })
}

/// Whether a lane has that record behind it for good: as its cursor says; with all cursors lost, as far as volumes are gone.
fn is_complete(saved: Option<&Snapshot>, oldest: Option<u64>, lane: &LaneId, position: Position) -> bool {
    match saved {
        Some(saved) => saved.lanes.iter().find(|saved| saved.id == *lane).is_some_and(|saved| saved.cursor.has_passed(position)),
        None => oldest.is_none_or(|oldest| position.volume < oldest),
    }
}

/// The newest volume of another journal, when there is none of this one.
fn foreign_log(heads: &BTreeMap<u64, Head>, report: &RecoveryReport) -> Option<String> {
    let is_ours = heads.values().any(|head| head.checkpoint.is_some());
    let mut foreign = report.foreign.iter().rev().filter(|name| matches!(Name::of(name), Name::Volume(_)));
    foreign.next().filter(|_| !is_ours).cloned()
}

fn check(settings: &Settings) -> Result<(), OpenError> {
    if settings.volume_size.0 < VOLUME_BYTES_MIN {
        return Err(OpenError::Settings("volume_size is at least 4 KiB"));
    }
    if settings.volume_size.0 > u64::from(u32::MAX) {
        return Err(OpenError::Settings("volume_size is below 4 GiB"));
    }
    if settings.volume_size.0.saturating_mul(4) > settings.size_max.0 {
        return Err(OpenError::Settings("size_max has room for four volumes at least"));
    }
    Ok(())
}

/// The newest whole state of all cursor files.
fn read_cursors(disk: &dyn Disk, epoch: Epoch, listing: &Listing, report: &mut RecoveryReport) -> Result<Found, OpenError> {
    let mut found = Found { ids: listing.cursors.clone(), ..Found::default() };
    for id in &listing.cursors {
        match saver::read_file(disk, *id, epoch) {
            Ok(FileRead::Newer(version)) => return Err(newer(names::cursor(*id), version)),
            Ok(FileRead::State(number, snapshot, file)) if found.snapshot.is_none() || number > found.number => {
                (found.number, found.snapshot, found.file) = (number, Some(snapshot), file);
            }
            Ok(FileRead::State(..)) => {}
            Ok(FileRead::Nothing) => report.damaged_files.push(names::cursor(*id)),
            Err(error) => {
                tracing::error!(%error, file = names::cursor(*id), "a cursor file cannot be read");
                report.damaged_files.push(names::cursor(*id));
            }
        }
    }
    Ok(found)
}

/// Puts volumes and sums into the log, by the ordinals of the sources in it.
fn fill_log(shared: &Shared, heads: &BTreeMap<u64, Head>, planned: Sums) {
    {
        let mut log = lock(&shared.log);
        for (id, head) in heads {
            let spill = head.spill.as_ref().map(|(name, _)| Arc::new(Spill { name: *name, lanes: Vec::new() }));
            log.volumes.insert(*id, Volume { spill, file: head.file, ..Volume::whole(head.limit.unwrap_or(0), head.size, head.opened_at) });
        }
    }
    let planned = by_ordinal(shared, planned);
    let spills: Vec<_> = heads
        .iter()
        .filter_map(|(id, head)| {
            let (name, amounts) = head.spill.as_ref()?;
            Some((*id, Spill { name: *name, lanes: by_ordinal(shared, amounts.clone()) }))
        })
        .collect();
    let before: Vec<_> = heads
        .iter()
        .filter_map(|(id, head)| {
            Some((*id, Arc::from(by_ordinal(shared, head.checkpoint.as_ref()?.planned.iter().cloned().collect::<Sums>()))))
        })
        .collect();
    let mut log = lock(&shared.log);
    log.planned = planned;
    for (id, sums) in before {
        if let Some(volume) = log.volumes.get_mut(&id) {
            volume.planned_before = Some(sums);
        }
    }
    for (id, spill) in spills {
        if let Some(volume) = log.volumes.get_mut(&id) {
            volume.spill = Some(Arc::new(spill));
        }
    }
}

/// What is known of sources, by their ordinals.
fn by_ordinal<T: Clone + Default>(shared: &Shared, known: BTreeMap<SourceId, T>) -> Vec<T> {
    let placed: Vec<_> = known.into_iter().map(|(source, value)| (shared.stock(&source).ordinal, value)).collect();
    let mut list = vec![T::default(); placed.iter().map(|(ordinal, _)| ordinal + 1).max().unwrap_or(0)];
    for (ordinal, value) in placed {
        list[ordinal] = value;
    }
    list
}

/// Puts every lane where its cursor says; lanes without one begin where their first record can be.
fn place_lanes(shared: &Shared, saved: Option<&Snapshot>, report: &mut RecoveryReport) {
    let mut cursors: BTreeMap<LaneId, LaneCursor> = BTreeMap::new();
    for lane in saved.iter().flat_map(|saved| &saved.lanes) {
        shared.stock(&lane.id.source);
        cursors.insert(lane.id.clone(), lane.cursor.clone());
    }
    let due = shared.quarantine.accounts();
    for stock in shared.all_stocks() {
        for destination in Destination::ALL {
            let id = LaneId { source: stock.source.clone(), destination };
            let cursor = cursors.remove(&id).unwrap_or_else(|| first_place(shared, stock.ordinal, destination, report.cursor));
            let low = cursor.low;
            let mut state = LaneState::restored(cursor);
            let mut log = lock(&shared.log);
            let count = log.planned.len().max(stock.ordinal + 1);
            log.planned.resize(count, PerDestination::default());
            let planned = log.planned[stock.ordinal].of_mut(destination);
            // A record may have been delivered, and then damaged.
            *planned = (*planned).max(state.totals.sum()).max(state.reader_planned);
            let planned = *planned;
            let end = log.end();
            if state.reader >= end {
                let events = state.lose_rest(planned);
                if events > 0 {
                    tracing::error!(lane = %id, events, "the end of the log is gone; counted as quarantined");
                }
            }
            state.settle(end, planned);
            let pending = planned - state.totals.sum();
            report.pending += pending + due.get(&id).map_or(0, |account| account.due_events);
            if pending > 0 && low.volume > 0 && log.holding(low.volume).is_none() && !report.missing.contains(&low.volume) {
                report.missing.push(low.volume);
            }
            drop(log);
            *lock(&stock.lanes.of(destination).state) = state;
        }
    }
    let mut log = lock(&shared.log);
    (log.recovered_end, log.recovered_planned) = (log.end(), log.planned.clone());
}

/// Where a lane begins that no cursor knows. With the other cursors at hand it is a new lane, whose first record is in the
/// last volume that begins without any; with all cursors lost, what was planned before the oldest volume was
/// delivered, or the volume would be here.
fn first_place(shared: &Shared, ordinal: usize, destination: Destination, origin: CursorOrigin) -> LaneCursor {
    let log = lock(&shared.log);
    let before = |volume: &Volume| volume.planned_before.as_ref().map(|sums| sums.get(ordinal).map_or(0, |sums| *sums.of(destination)));
    let at = |id: u64| Position { volume: id, offset: 0 };
    if log.planned_of(ordinal).of(destination) == &0 {
        return LaneCursor { low: log.end(), ..LaneCursor::default() };
    }
    if origin == CursorOrigin::Lost {
        return first_left(&log, ordinal, destination);
    }
    let newest = log.volumes.iter().rev().find(|(_, volume)| before(volume) == Some(0));
    if let Some((id, _)) = newest {
        return LaneCursor { low: at(*id), ..LaneCursor::default() };
    }
    let first = log.volumes.first_key_value().map(|(id, _)| at(*id));
    LaneCursor { low: first.unwrap_or_else(|| log.end()), ..LaneCursor::default() }
}

/// Where a lane begins when all cursors are lost: with the oldest of its records that is left. What was planned before it was
/// done, or it would be here.
fn first_left(log: &Log, ordinal: usize, destination: Destination) -> LaneCursor {
    let before = |volume: &Volume| volume.planned_before.as_ref().map(|sums| sums.get(ordinal).map_or(0, |sums| *sums.of(destination)));
    let left = |volume: &Volume| volume.spill.as_ref().map(|spill| spill.amount(ordinal, destination).events);
    let mut volumes = log.volumes.iter().skip_while(|(_, volume)| left(volume) == Some(0));
    let Some((id, volume)) = volumes.next() else { return LaneCursor { low: log.end(), ..LaneCursor::default() } };
    let gone = match left(volume) {
        None => before(volume).unwrap_or(0),
        Some(events) => volumes.next().and_then(|(_, next)| before(next)).map_or(0, |planned| planned.saturating_sub(events)),
    };
    let totals = Totals { delivered: gone, ..Totals::default() };
    LaneCursor { low: Position { volume: *id, offset: 0 }, low_planned: gone, totals, ..LaneCursor::default() }
}
