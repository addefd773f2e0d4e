//! The volumes as opening finds them: where each begins, where it ends, what is planned in it.
//!
//! Only the newest volume is scanned; every other one ends where the checkpoint of its successor says. Before it is believed,
//! what is scanned is synced and dropped from the system's cache: pages whose sync failed read well from there, and are not on disk.

use std::{collections::BTreeMap, io};

use super::{
    Disk, OpenError,
    cursor::Snapshot,
    format::{Checkpoint, Epoch, FILE_HEADER_BYTES, FileKind, HeaderRead, InGroup, Kind, Seal},
    listing::{Listing, header_of, newer},
    names::{self, SpillName},
    scan::{Body, Piece, Scanner, Then, Wants},
    shared::FileTrust,
    spill::{self, Amounts, SpillHead, SpillRead},
    words::{Position, RecoveryReport},
};
use crate::model::{PerDestination, SourceId, WallTime};

/// One volume, as its first bytes and a scan tell.
#[derive(Debug)]
pub(super) struct Head {
    pub size: u64,
    pub checkpoint: Option<Checkpoint>,
    pub opened_at: WallTime,
    pub revision: u64,
    /// Where its records end; None: not known yet. Of a spill, the end of the file.
    pub limit: Option<u64>,
    /// What it is when it is no volume.
    pub spill: Option<(SpillName, Amounts)>,
    /// Whether its file may be written to again.
    pub file: FileTrust,
}

/// The spills that count, and names of files that are void beside them.
#[derive(Debug, Default)]
pub(super) struct Spills {
    pub heads: BTreeMap<u64, Head>,
    pub void: Vec<String>,
}

impl Spills {
    fn hold(&self, volume: u64) -> bool {
        let holder = self.heads.range(..=volume).next_back().and_then(|(_, head)| head.spill.as_ref());
        holder.is_some_and(|(name, _)| name.last >= volume)
    }
}

/// Finds the spills that count. Of two that stand for one volume the newer one was whole before the older one went.
pub(super) fn read_spills(disk: &dyn Disk, epoch: Epoch, listing: &Listing, report: &mut RecoveryReport) -> Result<Spills, OpenError> {
    let mut spills = Spills::default();
    for name in listing.spills.iter().rev() {
        let file_name = names::spill(*name);
        match spill::read(disk, epoch, *name) {
            Ok(SpillRead::Newer(found)) => return Err(newer(file_name, found)),
            Ok(SpillRead::Foreign) => report.foreign.push(file_name),
            Ok(SpillRead::Ours(_)) if (name.first..=name.last).any(|volume| spills.hold(volume)) => spills.void.push(file_name),
            Ok(SpillRead::Ours(found)) => {
                let SpillHead { size, checkpoint, opened_at, revision, amounts } = found;
                let (limit, spill) = (Some(size), Some((*name, amounts)));
                let file = FileTrust::Sound;
                spills.heads.insert(name.first, Head { size, checkpoint, opened_at, revision: revision.0, limit, spill, file });
            }
            Err(source) => return Err(OpenError::Disk { doing: format!("cannot read {file_name}"), source }),
        }
    }
    Ok(spills)
}

/// Everything planned, by source.
pub(super) type Sums = BTreeMap<SourceId, PerDestination<u64>>;

pub(super) fn read_heads(
    disk: &dyn Disk,
    epoch: Epoch,
    seal_of: &impl Fn(u64) -> Seal,
    listing: &Listing,
    spills: &mut Spills,
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
        if spills.hold(*id) {
            spills.void.push(name);
            continue;
        }
        let file = disk.open(&name).map_err(failed)?;
        let size = file.size().map_err(failed)?;
        let opened_at = WallTime::from_millis(0);
        let mut head = Head { size, checkpoint: None, opened_at, revision: 0, limit: None, spill: None, file: FileTrust::Sound };
        let seal = seal_of(*id);
        let mut scanner = Scanner::new(file.as_ref(), &seal, FILE_HEADER_BYTES, size);
        if let Some(Piece::Frame { header, body: Body::Whole(body), .. }) = scanner.next(|_| Wants::Body) {
            (head.opened_at, head.revision) = (header.received_at, header.revision.0);
            head.checkpoint = if header.kind == Kind::Checkpoint { Checkpoint::decode(body) } else { None };
        }
        heads.insert(*id, head);
    }
    heads.append(&mut spills.heads);
    Ok(heads)
}

/// Lets each checkpoint say where the log ended before it. Volumes in between hold groups that were written again
/// elsewhere: they are void, taken out and returned.
pub(super) fn chain(heads: &mut BTreeMap<u64, Head>) -> Vec<u64> {
    let links: Vec<(u64, Position)> = heads.iter().filter_map(|(id, head)| Some((*id, head.checkpoint.as_ref()?.since))).collect();
    let mut void = Vec::new();
    for (id, since) in links.into_iter().rev() {
        if void.contains(&id) {
            continue;
        }
        void.extend(heads.range(since.volume + 1..).map(|(between, _)| *between).take_while(|between| *between < id));
        if let Some(head) = heads.get_mut(&since.volume).filter(|head| head.spill.is_none()) {
            head.limit = Some(since.offset);
        }
    }
    heads.retain(|id, _| !void.contains(id));
    void
}

/// The newest sums that are known, and from where on records must be added to them.
pub(super) fn planned_base(heads: &BTreeMap<u64, Head>, saved: Option<&Snapshot>) -> (Sums, Position) {
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
pub(super) struct Scanned {
    offset: u64,
    group: u32,
    place: InGroup,
    pub revision: u64,
    /// Whose record; None for checkpoints.
    source: Option<SourceId>,
    planned: PerDestination<u32>,
}

/// Reads a volume from its start to its end, and finds its limit when nobody says it; 0: there is no record in it. What a
/// crash left half written is in the last group, behind what is known to be committed: it is cut off, as nobody was told that it
/// was kept. Anything unreadable before that was whole once, and is damage.
///
/// # Errors
/// When the disk refuses to read: the file may be whole.
pub(super) fn scan(
    disk: &dyn Disk,
    seal: &Seal,
    id: u64,
    head: &mut Head,
    committed: u64,
    report: &mut RecoveryReport,
) -> io::Result<Vec<Scanned>> {
    let file = disk.open(&names::volume(id))?;
    if file.sync_data().is_err() {
        head.file = FileTrust::Suspect;
    }
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
    // Taking what cannot be read now for a torn tail would throw away what is there.
    if let Some(error) = scanner.refusal {
        return Err(error);
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

/// Adds what a spill holds of what was planned: the least that it can have been.
pub(super) fn add_up_spill(amounts: &Amounts, planned: &mut Sums) {
    for (source, lanes) in amounts {
        let sums = planned.entry(source.clone()).or_default();
        sums.segment += lanes.segment.events;
        sums.rudderstack += lanes.rudderstack.events;
    }
}

/// Adds what is planned in a volume from `count_from` on.
pub(super) fn add_up(frames: &[Scanned], id: u64, count_from: Position, planned: &mut Sums) {
    for frame in frames.iter().filter(|frame| Position { volume: id, offset: frame.offset } >= count_from) {
        let Some(source) = &frame.source else { continue };
        let sums = planned.entry(source.clone()).or_default();
        sums.segment += u64::from(frame.planned.segment);
        sums.rudderstack += u64::from(frame.planned.rudderstack);
    }
}
