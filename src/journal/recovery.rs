//! Opening: what is on disk, and what it means.
//!
//! Only the newest volume is scanned; every other one ends where the checkpoint of its successor says. Before it is believed,
//! what is scanned is synced and dropped from the system's cache: pages whose sync failed read well from there, and are not on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{
        Arc, Mutex, OnceLock, RwLock,
        atomic::{AtomicU64, AtomicUsize},
    },
};

use super::{
    Disk, OpenError, Settings,
    alarm::Alarm,
    format::{Checkpoint, Epoch, FILE_HEADER_BYTES, FileHeader, FileKind, HEADER_LENGTH, HeaderRead, InGroup, Kind, Seal, VERSION},
    lane_state::{LaneCursor, LaneState, Totals},
    names::{self, Name},
    quarantine::Quarantine,
    queue::Queue,
    saver::{self, FileRead, Found},
    scan::{Body, Piece, Scanner, Then, Wants},
    shared::{Counts, Log, Shared, Status, Tuning, Volume},
    stock::lock,
    words::{CursorOrigin, Health, LaneId, Position, RecoveryReport},
};
use crate::model::{Destination, PerDestination, SourceId, WallTime};

/// The smallest volume that makes sense: a checkpoint and some records.
const VOLUME_BYTES_MIN: u64 = 4096;

/// What opening came to.
pub(super) struct Recovered {
    pub shared: Arc<Shared>,
    pub cursor: Found,
    pub report: RecoveryReport,
}

/// Names in the directory, by meaning.
#[derive(Debug, Default)]
struct Listing {
    has_identity: bool,
    volumes: BTreeSet<u64>,
    cursors: Vec<u64>,
    quarantines: Vec<u64>,
    unfinished: Vec<String>,
    foreign: Vec<String>,
}

/// One volume, as its first bytes and a scan tell.
#[derive(Debug)]
struct Head {
    size: u64,
    checkpoint: Option<Checkpoint>,
    opened_at: WallTime,
    revision: u64,
    /// Where its records end; None: not known yet.
    limit: Option<u64>,
}

/// Everything planned, by source.
type Sums = BTreeMap<SourceId, PerDestination<u64>>;

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
    let cursor = read_cursors(disk.as_ref(), epoch, &listing)?;
    let mut heads = read_heads(disk.as_ref(), epoch, &seal_of, &listing, &mut report)?;
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
                .map_err(|source| OpenError::Disk { doing: format!("cannot read {}", names::volume(*id)), source })?;
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
        counts: Counts { damaged: AtomicU64::new(report.damaged.len() as u64), ..Counts::default() },
        status: Mutex::new(Status { health: Health::Writable, reason: String::new() }),
        saver: Alarm::default(),
        keeper: Alarm::default(),
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

fn list(disk: &dyn Disk) -> Result<Listing, OpenError> {
    let entries = disk.list().map_err(|source| OpenError::Disk { doing: "cannot list the data directory".to_owned(), source })?;
    let mut listing = Listing::default();
    for name in entries {
        match Name::of(&name) {
            Name::Identity => listing.has_identity = true,
            Name::Lock => {}
            Name::Volume(id) => {
                listing.volumes.insert(id);
            }
            Name::Cursor(id) => listing.cursors.push(id),
            Name::Quarantine(id) => listing.quarantines.push(id),
            Name::Unfinished => listing.unfinished.push(name),
            Name::Foreign => listing.foreign.push(name),
        }
    }
    Ok(listing)
}

/// A file's header.
fn header_of(disk: &dyn Disk, name: &str, kind: FileKind) -> io::Result<HeaderRead> {
    let file = disk.open(name)?;
    let mut bytes = [0; HEADER_LENGTH];
    let count = file.read_at(&mut bytes, 0)?;
    Ok(FileHeader::decode(kind, &bytes[..count]))
}

fn newer(file: String, found: u32) -> OpenError {
    OpenError::NewerFormat { file, found, known: VERSION }
}

/// The journal's epoch: from its file, else from a volume, else a new one; and whether it is new.
fn identity(disk: &dyn Disk, listing: &Listing) -> Result<(Epoch, bool), OpenError> {
    let mut known = None;
    if listing.has_identity {
        match header_of(disk, names::IDENTITY, FileKind::Identity) {
            Ok(HeaderRead::Valid(header)) => return Ok((header.epoch, false)),
            Ok(HeaderRead::Newer(found)) => return Err(newer(names::IDENTITY.to_owned(), found)),
            Ok(HeaderRead::Invalid) | Err(_) => {}
        }
    }
    for id in listing.volumes.iter().rev() {
        match header_of(disk, &names::volume(*id), FileKind::Volume) {
            Ok(HeaderRead::Valid(header)) if known.is_none() => known = Some(header.epoch),
            Ok(HeaderRead::Newer(found)) => return Err(newer(names::volume(*id), found)),
            _ => {}
        }
    }
    let (epoch, is_fresh) = known.map_or_else(|| (Epoch(uuid::Uuid::new_v4().as_u128()), true), |epoch| (epoch, false));
    write_identity(disk, epoch).map_err(|source| OpenError::Disk { doing: format!("cannot write {}", names::IDENTITY), source })?;
    Ok((epoch, is_fresh))
}

fn write_identity(disk: &dyn Disk, epoch: Epoch) -> io::Result<()> {
    let unfinished = names::unfinished(names::IDENTITY);
    let _ = disk.remove(&unfinished);
    let file = disk.create(&unfinished)?;
    file.write_at(&FileHeader { epoch, id: 0, slot_bytes: 0 }.encode(FileKind::Identity), 0)?;
    file.sync_data()?;
    disk.rename(&unfinished, names::IDENTITY)?;
    disk.sync_dir()
}

/// The newest whole state of all cursor files.
fn read_cursors(disk: &dyn Disk, epoch: Epoch, listing: &Listing) -> Result<Found, OpenError> {
    let mut found = Found { ids: listing.cursors.clone(), ..Found::default() };
    for id in &listing.cursors {
        match saver::read_file(disk, *id, epoch) {
            Ok(FileRead::Newer(version)) => return Err(newer(names::cursor(*id), version)),
            Ok(FileRead::State(number, snapshot, file)) if found.snapshot.is_none() || number > found.number => {
                (found.number, found.snapshot, found.file) = (number, Some(snapshot), Some(file));
            }
            Ok(FileRead::State(..) | FileRead::Nothing) => {}
            Err(error) => tracing::error!(%error, file = names::cursor(*id), "a cursor file cannot be read"),
        }
    }
    Ok(found)
}

fn read_heads(
    disk: &dyn Disk,
    epoch: Epoch,
    seal_of: &impl Fn(u64) -> Seal,
    listing: &Listing,
    report: &mut RecoveryReport,
) -> Result<BTreeMap<u64, Head>, OpenError> {
    let mut heads = BTreeMap::new();
    for id in &listing.volumes {
        let name = names::volume(*id);
        let failed = |source| OpenError::Disk { doing: format!("cannot read {name}"), source };
        match header_of(disk, &name, FileKind::Volume) {
            Ok(HeaderRead::Newer(found)) => return Err(newer(name, found)),
            Ok(HeaderRead::Valid(header)) if header.epoch != epoch => {
                report.foreign.push(name);
                continue;
            }
            // The name says what a damaged header does not: whose records are valid is for their checksums to say.
            Ok(HeaderRead::Valid(_) | HeaderRead::Invalid) | Err(_) => {}
        }
        let file = disk.open(&name).map_err(failed)?;
        let size = file.size().map_err(failed)?;
        let mut head = Head { size, checkpoint: None, opened_at: WallTime::from_millis(0), revision: 0, limit: None };
        let seal = seal_of(*id);
        let mut scanner = Scanner::new(file.as_ref(), &seal, FILE_HEADER_BYTES, size);
        if let Some(Piece::Frame { header, body: Body::Whole(body), .. }) = scanner.next(|_| Wants::Body) {
            (head.opened_at, head.revision) = (header.received_at, header.revision.0);
            head.checkpoint = if header.kind == Kind::Checkpoint { Checkpoint::decode(body) } else { None };
        }
        heads.insert(*id, head);
    }
    Ok(heads)
}

/// Lets each checkpoint say where the log ended before it. Volumes in between hold groups that were written again
/// elsewhere: they are void, taken out and returned.
fn chain(heads: &mut BTreeMap<u64, Head>) -> Vec<u64> {
    let links: Vec<(u64, Position)> = heads.iter().filter_map(|(id, head)| Some((*id, head.checkpoint.as_ref()?.since))).collect();
    let mut void = Vec::new();
    for (id, since) in links.into_iter().rev() {
        if void.contains(&id) {
            continue;
        }
        void.extend(heads.range(since.volume + 1..).map(|(between, _)| *between).take_while(|between| *between < id));
        if let Some(head) = heads.get_mut(&since.volume) {
            head.limit = Some(since.offset);
        }
    }
    heads.retain(|id, _| !void.contains(id));
    void
}

/// The newest sums that are known, and from where on records must be added to them.
fn planned_base(heads: &BTreeMap<u64, Head>, saved: Option<&super::cursor::Snapshot>) -> (Sums, Position) {
    let newest = heads.iter().rev().find_map(|(id, head)| Some((Position { volume: *id, offset: 0 }, head.checkpoint.as_ref()?)));
    match (newest, saved) {
        (Some((start, checkpoint)), saved) if saved.is_none_or(|saved| saved.end < start) => {
            (checkpoint.planned.iter().cloned().collect(), start)
        }
        (_, Some(saved)) => {
            let mut sums = Sums::new();
            for lane in &saved.lanes {
                *sums.entry(lane.id.source.clone()).or_default().of_mut(lane.id.destination) = lane.planned;
            }
            (sums, saved.end)
        }
        (_, None) => (Sums::new(), Position::default()),
    }
}

/// What a scan keeps of a frame.
struct Scanned {
    offset: u64,
    group: u32,
    place: InGroup,
    revision: u64,
    /// Whose record; None for checkpoints.
    source: Option<SourceId>,
    planned: PerDestination<u32>,
}

/// Reads a volume from its start to its end, and finds its limit when nobody says it; 0: there is no record in it. What a
/// crash left half written is in the last group, behind what is known to be committed: it is cut off, as nobody was told that it
/// was kept. Anything unreadable before that was whole once, and is damage.
fn scan(disk: &dyn Disk, seal: &Seal, id: u64, head: &mut Head, committed: u64, report: &mut RecoveryReport) -> io::Result<Vec<Scanned>> {
    let file = disk.open(&names::volume(id))?;
    let _ = file.sync_data();
    let _ = file.drop_cache();
    let mut scanner = Scanner::new(file.as_ref(), seal, FILE_HEADER_BYTES, head.limit.unwrap_or(head.size));
    let mut frames: Vec<Scanned> = Vec::new();
    let mut end = 0;
    // Where it cannot be read, and the group that this place belongs to, at the earliest.
    let mut doubtful: Vec<(u64, u32)> = Vec::new();
    while let Some(piece) = scanner.next(|_| Wants::Body) {
        match piece {
            Piece::Unreadable { offset, then } => {
                if then == Then::Frame || offset < head.limit.unwrap_or(committed) {
                    doubtful.push((offset, frames.last().map_or(1, next_group)));
                }
            }
            Piece::Frame { offset, header, body } => {
                if matches!(body, Body::Damaged) {
                    doubtful.push((offset, header.group));
                }
                end = offset + header.frame_bytes();
                let (group, place, revision, planned) = (header.group, header.place, header.revision.0, header.planned);
                if head.opened_at == WallTime::from_millis(0) {
                    head.opened_at = header.received_at;
                }
                frames.push(Scanned { offset, group, place, revision, source: header.source, planned });
            }
        }
    }
    let last_group = frames.last().map_or(0, |frame| frame.group);
    let is_torn = |(offset, group): &(u64, u32)| *offset >= committed && *group >= last_group;
    let torn = doubtful.iter().find(|place| head.limit.is_none() && is_torn(place)).map(|(offset, _)| *offset);
    let at = |offset| Position { volume: id, offset };
    if head.limit.is_none() {
        end = torn.unwrap_or(end);
        frames.retain(|frame| frame.offset < end);
        let unfinished = frames.last().is_some_and(|frame| frame.place == InGroup::Before);
        if torn.is_some() || unfinished {
            report.torn_at = Some(at(end));
        }
        let limit = if frames.is_empty() { 0 } else { end };
        head.limit = Some(limit);
        // Whatever stands behind is void, and its space is of use.
        if limit > 0 && end < head.size && file.truncate(end).is_ok() {
            head.size = end;
        }
    }
    report.damaged.extend(doubtful.iter().filter(|(offset, _)| torn.is_none_or(|torn| *offset < torn)).map(|(offset, _)| at(*offset)));
    Ok(frames)
}

/// The group that what follows this frame belongs to, at the earliest.
const fn next_group(frame: &Scanned) -> u32 {
    match frame.place {
        InGroup::Before => frame.group,
        InGroup::Last => frame.group + 1,
    }
}

/// Adds what is planned in a volume from `count_from` on.
fn add_up(frames: &[Scanned], id: u64, count_from: Position, planned: &mut Sums) {
    for frame in frames.iter().filter(|frame| Position { volume: id, offset: frame.offset } >= count_from) {
        let Some(source) = &frame.source else { continue };
        let sums = planned.entry(source.clone()).or_default();
        sums.segment += u64::from(frame.planned.segment);
        sums.rudderstack += u64::from(frame.planned.rudderstack);
    }
}

/// Removes what has no meaning. In a journal whose epoch is lost nothing is removed: what cannot be read may be dear.
fn clean(disk: &dyn Disk, is_fresh: bool, listing: &Listing, volumes: impl Iterator<Item = u64>) {
    for name in &listing.unfinished {
        let _ = disk.remove(name);
    }
    if !is_fresh {
        for id in volumes {
            let _ = disk.remove(&names::volume(id));
        }
    }
    let _ = disk.sync_dir();
}

/// A number above every one that was ever used, as far as anything tells.
fn next_volume(listing: &Listing, saved: Option<&super::cursor::Snapshot>) -> u64 {
    let in_names = listing.volumes.last().copied().unwrap_or(0);
    let in_cursors = saved.map_or(0, |saved| saved.lanes.iter().map(|lane| lane.cursor.low.volume).fold(saved.end.volume, u64::max));
    in_names.max(in_cursors) + 1
}

fn other_bytes(disk: &dyn Disk, listing: &Listing) -> u64 {
    let cursors = listing.cursors.iter().map(|id| names::cursor(*id));
    let quarantines = listing.quarantines.iter().map(|id| names::quarantine(*id));
    cursors.chain(quarantines).filter_map(|name| disk.open(&name).and_then(|file| file.size()).ok()).sum()
}

/// Puts volumes and sums into the log, by the ordinals of the sources in it.
fn fill_log(shared: &Shared, heads: &BTreeMap<u64, Head>, planned: Sums) {
    let end = heads.last_key_value().map_or(Position::default(), |(id, head)| Position { volume: *id, offset: head.limit.unwrap_or(0) });
    {
        let mut log = lock(&shared.log);
        for (id, head) in heads {
            let (limit, size) = (head.limit.unwrap_or(0), head.size);
            log.volumes.insert(*id, Volume { limit, size, planned_before: None, opened_at: head.opened_at, passed_at: None });
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
fn place_lanes(shared: &Shared, saved: Option<&super::cursor::Snapshot>, report: &mut RecoveryReport) {
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
