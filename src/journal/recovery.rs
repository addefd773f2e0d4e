//! Opening: what is on disk, and what it means for the log and its lanes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use super::{
    Disk, OpenError, Settings,
    alarm::Alarm,
    cursor::Snapshot,
    format::{Epoch, FileKind, Seal},
    heads::{Head, Sums, add_up, chain, planned_base, read_heads, scan},
    lane_state::{LaneCursor, LaneState, Totals},
    listing::{Listing, clean, identity, list, newer, next_volume, other_bytes},
    names::{self, Name},
    quarantine::Quarantine,
    queue::Queue,
    saver::{self, FileRead, Found},
    shared::{Counts, Log, Shared, Status, Tuning, Volume},
    stock::lock,
    words::{CursorOrigin, Health, LaneId, Position, RecoveryReport},
};
use crate::model::{Destination, PerDestination};

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
    let mut heads = read_heads(disk.as_ref(), epoch, &seal_of, &listing, &mut report)?;
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
    clean(disk.as_ref(), is_fresh, &listing, void.iter().chain(&unborn).copied());

    let next_id = next_volume(&listing, saved);
    let quarantine = Quarantine::load(disk.as_ref(), epoch, listing.quarantines.clone());
    report.damaged_files.extend(quarantine.damaged.iter().cloned());
    let other_bytes = other_bytes(disk.as_ref(), &listing);
    let shared = Arc::new(Shared {
        disk,
        settings: settings.clone(),
        epoch,
        queue: Queue::new(),
        log: Mutex::new(Log { next_id, other_bytes, damage_seen: report.damaged.iter().copied().collect(), ..Log::default() }),
        stocks: RwLock::default(),
        quarantine: Mutex::new(quarantine),
        revision: AtomicU64::new(revision),
        memory_bytes: AtomicUsize::new(0),
        counts: Counts { damaged: AtomicU64::new((report.damaged.len() + report.damaged_files.len()) as u64), ..Counts::default() },
        status: Mutex::new(Status { health: Health::Writable, reason: String::new() }),
        saver: Alarm::default(),
        keeper: Alarm::default(),
        watch: Alarm::default(),
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
    let end = heads.last_key_value().map_or(Position::default(), |(id, head)| Position { volume: *id, offset: head.limit.unwrap_or(0) });
    {
        let mut log = lock(&shared.log);
        for (id, head) in heads {
            let (limit, size) = (head.limit.unwrap_or(0), head.size);
            let (opened_at, file) = (head.opened_at, head.file);
            log.volumes.insert(*id, Volume { limit, size, planned_before: None, opened_at, passed_at: None, file });
        }
        debug_assert_eq!(log.end(), end);
    }
    let by_ordinal = |sums: Sums| {
        let placed: Vec<_> = sums.into_iter().map(|(source, sum)| (shared.stock(&source).ordinal, sum)).collect();
        let mut list = vec![PerDestination::default(); placed.iter().map(|(ordinal, _)| ordinal + 1).max().unwrap_or(0)];
        for (ordinal, sum) in placed {
            list[ordinal] = sum;
        }
        list
    };
    let planned = by_ordinal(planned);
    let before: Vec<_> = heads
        .iter()
        .filter_map(|(id, head)| Some((*id, Arc::from(by_ordinal(head.checkpoint.as_ref()?.planned.iter().cloned().collect())))))
        .collect();
    let mut log = lock(&shared.log);
    log.planned = planned;
    for (id, sums) in before {
        if let Some(volume) = log.volumes.get_mut(&id) {
            volume.planned_before = Some(sums);
        }
    }
}

/// Puts every lane where its cursor says; lanes without one begin where their first record can be.
fn place_lanes(shared: &Shared, saved: Option<&Snapshot>, report: &mut RecoveryReport) {
    let mut cursors: BTreeMap<LaneId, LaneCursor> = BTreeMap::new();
    for lane in saved.iter().flat_map(|saved| &saved.lanes) {
        shared.stock(&lane.id.source);
        cursors.insert(lane.id.clone(), lane.cursor.clone());
    }
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
            report.pending += pending;
            if pending > 0 && low.volume > 0 && !log.volumes.contains_key(&low.volume) && !report.missing.contains(&low.volume) {
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
    let newest = log.volumes.iter().rev().find(|(_, volume)| before(volume) == Some(0));
    if let Some((id, _)) = newest {
        return LaneCursor { low: at(*id), ..LaneCursor::default() };
    }
    let Some((id, volume)) = log.volumes.first_key_value() else { return LaneCursor { low: log.end(), ..LaneCursor::default() } };
    let gone = before(volume).unwrap_or(0);
    let totals = if origin == CursorOrigin::Lost { Totals { delivered: gone, ..Totals::default() } } else { Totals::default() };
    LaneCursor { low: at(*id), low_planned: if origin == CursorOrigin::Lost { gone } else { 0 }, totals, ..LaneCursor::default() }
}
