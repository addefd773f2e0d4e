//! A data directory, read by others than its journal: what is in it, whether it is whole, and every record of it.
//!
//! It takes no lock and changes nothing, so it reads beside a running sidecar, from a copy, and from a directory that no sidecar
//! starts on. What is written while it reads may be missing from what it says; it is never taken for damage.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use super::{
    Disk, DiskFile, LaneId, OpenError, Position, Quarantined,
    archive_lanes::Lanes,
    archive_scan::{Scan, read_volume},
    cursor::Snapshot,
    format::{Checkpoint, Epoch, FILE_HEADER_BYTES, FileHeader, FileKind, HEADER_LENGTH, HeaderRead, Kind, Seal},
    names::{self, Name, SpillName},
    quarantine::{self, Told},
    read_only::{ReadOnlyDisk, ReadOnlyFile},
    saver::{self, FileRead},
    scan::{Body, Piece, Scanner, Wants},
};
use crate::model::{Destination, PerDestination, Revision, SourceId, WallTime};

/// A data directory, open for reading.
#[derive(Debug)]
pub struct Archive {
    disk: ReadOnlyDisk,
    epoch: Epoch,
    names: Vec<String>,
    damage: Vec<Damage>,
}

/// One record of the log, as it stands there.
#[derive(Debug, Clone)]
pub struct ArchivedRecord<'a> {
    /// Where it stands.
    pub position: Position,
    /// Whose it is.
    pub source: &'a SourceId,
    /// The revision of its plan; 0 for a record that was spilled, whose envelope says it.
    pub revision: Revision,
    /// Its events planned for each destination.
    pub planned: PerDestination<u32>,
    /// Whether a destination still has to get it, as the newest cursors say.
    pub waits: PerDestination<Waits>,
    /// When it arrived.
    pub received_at: WallTime,
    /// The envelope's bytes.
    pub payload: &'a [u8],
}

/// Whether a record still has to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Waits {
    /// It has come to its end there, or was not planned for it.
    #[default]
    No,
    /// It has not, or nobody knows that it has.
    Yes,
}

/// Something that was read.
#[derive(Debug)]
pub enum Archived<'a> {
    /// A record of the log.
    Record(ArchivedRecord<'a>),
    /// An event in quarantine.
    Quarantined(LaneId, Quarantined),
}

/// What a directory holds.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// The log, oldest volume first.
    pub volumes: Vec<VolumeSummary>,
    /// Every lane that anything was ever planned for.
    pub lanes: Vec<LaneSummary>,
    /// Each place that is not as it was written.
    pub damage: Vec<Damage>,
    /// Names that are none of the journal's, or of kinds that this segue does not read.
    pub others: Vec<String>,
    /// Where the newest cursors say that the log ended; None: there are none that can be read, and everything counts as pending.
    pub saved_end: Option<Position>,
}

/// One volume.
#[derive(Debug, Clone, Default)]
pub struct VolumeSummary {
    /// The file's name.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Records in it.
    pub records: u64,
    /// Events planned in it.
    pub planned: PerDestination<u64>,
    /// When its first and its last record arrived; None: it has none.
    pub arrived: Option<(WallTime, WallTime)>,
    /// Whose events in it still have to be delivered, and how many: these lanes hold it on disk.
    pub pinned_by: Vec<(LaneId, u64)>,
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneSummary {
    /// Which.
    pub id: LaneId,
    /// Everything of it before here is complete.
    pub cursor: Position,
    /// Events on disk that still have to be delivered.
    pub pending: u64,
    /// When the oldest of them arrived.
    pub oldest: Option<WallTime>,
    /// Events in its quarantine.
    pub quarantined: u64,
}

/// One place that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file's name.
    pub file: String,
    /// Bytes from its start.
    pub offset: u64,
    /// What is wrong there, in words.
    pub what: &'static str,
}

/// A file of the log.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// A volume, and where its records end; None: nobody says it.
    Volume(Option<u64>),
    /// What is left of a run of volumes.
    Spill(SpillName),
}

/// The volumes that count, and where the records of each end; None: nobody says it.
type Limits = BTreeMap<u64, Option<u64>>;

/// What is read of a directory.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only this source's; None: everybody's.
    pub source: Option<SourceId>,
    /// Only what arrived at this time or later; None: from the start.
    pub from: Option<WallTime>,
    /// Only what arrived before this time; None: to the end.
    pub to: Option<WallTime>,
    /// Only the newest so many files of the log, whatever else they hold; the survey is about them alone. None: all.
    pub newest: Option<usize>,
}

impl Wanted {
    fn takes(&self, source: &SourceId, received_at: WallTime) -> bool {
        self.source.as_ref().is_none_or(|wanted| wanted == source)
            && self.from.is_none_or(|from| received_at >= from)
            && self.to.is_none_or(|to| received_at < to)
    }
}

impl Survey {
    /// Whether the log is there from its first record on, and nothing of it was spilled.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.volumes.first().is_none_or(|volume| volume.file == names::volume(1))
            && self.volumes.iter().all(|volume| !matches!(Name::of(&volume.file), Name::Spill(_)))
    }
}

impl Archive {
    /// Opens a directory for reading.
    ///
    /// # Errors
    /// When it cannot be listed, holds no journal, or was written by a newer segue.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Disk { doing: format!("cannot read {}", dir.display()), source };
        let disk = ReadOnlyDisk::open(dir).map_err(failed)?;
        let names = disk.list().map_err(failed)?;
        let mut damage = Vec::new();
        let epoch = find_epoch(&disk, &names, &mut damage)?;
        let epoch = epoch.ok_or_else(|| OpenError::NoJournal { dir: dir.display().to_string() })?;
        Ok(Self { disk, epoch, names, damage })
    }

    /// Reads everything once; `each` is told every record and quarantined event that is `wanted` and whole, oldest first. Blocks.
    ///
    /// # Errors
    /// What `each` says, and what the disk says when a file cannot be opened.
    pub fn read(&self, wanted: &Wanted, mut each: impl FnMut(Archived<'_>) -> io::Result<()>) -> io::Result<Survey> {
        let mut survey = Survey { damage: self.damage.clone(), ..Survey::default() };
        let saved = self.cursors(&mut survey.damage)?;
        survey.saved_end = saved.as_ref().map(|(_, saved)| saved.end);
        let mut lanes = Lanes::new(saved.as_ref().map(|(_, saved)| saved));
        // The cursors were read before, so that the volumes that they speak of are listed now, or were given back meanwhile.
        let names = self.disk.list()?;
        let spills = spills_in(&names);
        let (limits, gaps) = self.limits(&names, &spills, saved.as_ref().map(|(_, saved)| saved))?;
        let parts = limits.into_iter().map(|(id, limit)| (id, Part::Volume(limit)));
        let parts: BTreeMap<u64, Part> = parts.chain(spills.iter().map(|spill| (spill.first, Part::Spill(*spill)))).collect();
        let passed_over = wanted.newest.map_or(0, |newest| parts.len().saturating_sub(newest));
        for (id, part) in parts.into_iter().skip(passed_over) {
            let read = self.part(id, part, wanted, survey.saved_end, &mut lanes, &mut each)?;
            let Some((volume, damage)) = read else { continue };
            survey.damage.extend(damage);
            survey.volumes.push(volume);
        }
        // A journal at work gives volumes back; one whose cursors stand still does not.
        let now = self.cursors(&mut Vec::new())?;
        if now.map(|(number, _)| number) == saved.as_ref().map(|(number, _)| *number) {
            survey.damage.extend(gaps);
        }
        self.quarantines(&mut survey, wanted, &mut lanes, &mut each)?;
        self.others(&mut survey);
        survey.lanes = lanes.summaries();
        Ok(survey)
    }

    /// Reads one file of the log; None: it went away meanwhile.
    fn part(
        &self,
        id: u64,
        part: Part,
        wanted: &Wanted,
        saved_end: Option<Position>,
        lanes: &mut Lanes,
        each: &mut impl FnMut(Archived<'_>) -> io::Result<()>,
    ) -> io::Result<Option<(VolumeSummary, Vec<Damage>)>> {
        let (name, kind, number) = match part {
            Part::Volume(_) => (names::volume(id), FileKind::Volume, id),
            Part::Spill(spill) => (names::spill(spill), FileKind::Spill, spill.number),
        };
        let Some(file) = self.opened(&name)? else { return Ok(None) };
        let seal = Seal::new(kind, self.epoch, number);
        let committed = saved_end.filter(|end| end.volume == id).map_or(0, |end| end.offset);
        let (limit, committed) = match part {
            Part::Volume(limit) => (limit, committed),
            // It was written whole before it had its name.
            Part::Spill(_) => (Some(file.size()?), 0),
        };
        let mut scan = read_volume(&file, &seal, limit, committed)?;
        if scan.end > 0 && matches!(header_of(&file, kind)?, HeaderRead::Invalid) {
            scan.damage.insert(0, (0, "the file's header is damaged"));
        }
        if !scan.damage.is_empty() && !self.disk.still_holds(&name, &file) {
            return Ok(None);
        }
        let damage = scan.damage.iter().map(|(offset, what)| Damage { file: name.clone(), offset: *offset, what }).collect();
        let mut volume = VolumeSummary { file: name, bytes: file.size()?, ..VolumeSummary::default() };
        hand_out(&file, &seal, id, &scan, wanted, lanes, &mut volume, each)?;
        volume.pinned_by = lanes.end_volume();
        Ok(Some((volume, damage)))
    }

    /// None: it went away meanwhile.
    fn opened(&self, name: &str) -> io::Result<Option<ReadOnlyFile>> {
        match self.disk.file(name) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The newest state of the cursors and its number, and what is damaged of them.
    fn cursors(&self, damage: &mut Vec<Damage>) -> io::Result<Option<(u64, Snapshot)>> {
        let mut newest: Option<(u64, Snapshot)> = None;
        for id in numbered(&self.disk.list()?, |name| if let Name::Cursor(id) = name { Some(id) } else { None }) {
            let read = saver::read_file(&self.disk, id, self.epoch);
            let what = match read {
                Ok(FileRead::State(number, snapshot, _)) => {
                    if newest.as_ref().is_none_or(|(newest, _)| number > *newest) {
                        newest = Some((number, snapshot));
                    }
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Ok(FileRead::Newer(_)) => "it has a newer format",
                Ok(FileRead::Nothing) => "no state of the cursors in it can be read",
                Err(error) => return Err(error),
            };
            damage.push(Damage { file: names::cursor(id), offset: 0, what });
        }
        Ok(newest)
    }

    /// The volumes that count, and where each ends; None: nobody says it. What a checkpoint calls void is left out. And the volumes
    /// that lanes still need, and that are missing.
    fn limits(&self, names: &[String], spills: &[SpillName], saved: Option<&Snapshot>) -> io::Result<(Limits, Vec<Damage>)> {
        let is_spilled = |volume: u64| spills.iter().any(|spill| (spill.first..=spill.last).contains(&volume));
        let mut limits = Limits::new();
        let mut links = Vec::new();
        for id in numbered(names, |name| if let Name::Volume(id) = name { Some(id) } else { None }) {
            if is_spilled(id) {
                continue;
            }
            let Some(file) = self.opened(&names::volume(id))? else { continue };
            if matches!(header_of(&file, FileKind::Volume)?, HeaderRead::Valid(header) if header.epoch != self.epoch) {
                continue;
            }
            limits.insert(id, None);
            let seal = Seal::new(FileKind::Volume, self.epoch, id);
            let mut scanner = Scanner::new(&file, &seal, FILE_HEADER_BYTES, file.size()?);
            if let Some(Piece::Frame { header, body: Body::Whole(body), .. }) = scanner.next(|_| Wants::Body)
                && header.kind == Kind::Checkpoint
                && let Some(checkpoint) = Checkpoint::decode(body)
            {
                links.push((id, checkpoint.since));
            }
        }
        // What the cursors know of the end of the log is as good as a checkpoint.
        let mut gaps = Vec::new();
        let mut need = |volume: u64, limits: &Limits| {
            if volume > 0 && !limits.contains_key(&volume) && !is_spilled(volume) && saved.is_some_and(|saved| saved.low().volume <= volume)
            {
                let what = "the volume is missing, and was still needed";
                gaps.push(Damage { file: names::volume(volume), offset: 0, what });
            }
        };
        for (id, since) in links.into_iter().rev().filter(|(_, since)| *since != Position::default()) {
            if limits.contains_key(&id) {
                limits.retain(|other, _| *other <= since.volume || *other >= id);
                need(since.volume, &limits);
                if let Some(limit) = limits.get_mut(&since.volume) {
                    *limit = Some(since.offset);
                }
            }
        }
        need(saved.map_or(0, |saved| saved.end.volume), &limits);
        Ok((limits, gaps))
    }

    fn quarantines(
        &self,
        survey: &mut Survey,
        wanted: &Wanted,
        lanes: &mut Lanes,
        each: &mut impl FnMut(Archived<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        // Where each entry stands last; what was sent again or given up stands nowhere.
        let mut places = BTreeMap::new();
        self.quarantine_files(|id, file| {
            quarantine::inspect(file, self.epoch, id, |told| match told {
                Told::Entry(entry, ..) => {
                    places.insert(entry.0, id);
                }
                Told::Gone(entries) => places.retain(|entry, _| !entries.contains(entry)),
            });
            Ok(())
        })?;
        self.quarantine_files(|id, file| {
            let name = names::quarantine(id);
            let mut items = Vec::new();
            let damage = quarantine::inspect(file, self.epoch, id, |told| match told {
                Told::Entry(entry, lane, item) if places.get(&entry.0) == Some(&id) => items.push((lane, item)),
                _ => {}
            });
            if !damage.is_empty() && !self.disk.still_holds(&name, file) {
                return Ok(());
            }
            survey.damage.extend(damage.into_iter().map(|(offset, what)| Damage { file: name.clone(), offset, what }));
            for (lane, item) in items {
                lanes.quarantined(&lane);
                if wanted.takes(&lane.source, item.at) {
                    each(Archived::Quarantined(lane, item))?;
                }
            }
            Ok(())
        })
    }

    fn quarantine_files(&self, mut with: impl FnMut(u64, &ReadOnlyFile) -> io::Result<()>) -> io::Result<()> {
        for id in numbered(&self.names, |name| if let Name::Quarantine(id) = name { Some(id) } else { None }) {
            if let Some(file) = self.opened(&names::quarantine(id))? {
                with(id, &file)?;
            }
        }
        Ok(())
    }

    /// Names that are not read here. Files of kinds that a newer segue adds have a header of the usual form: they are no error.
    fn others(&self, survey: &mut Survey) {
        for name in &self.names {
            let is_foreign_volume = matches!(Name::of(name), Name::Volume(_))
                && self
                    .disk
                    .file(name)
                    .and_then(|file| header_of(&file, FileKind::Volume))
                    .is_ok_and(|header| matches!(header, HeaderRead::Valid(header) if header.epoch != self.epoch));
            let is_known = matches!(
                Name::of(name),
                Name::Identity
                    | Name::Lock
                    | Name::Volume(_)
                    | Name::Cursor(_)
                    | Name::Quarantine(_)
                    | Name::Spill(_)
                    | Name::Reserve
                    | Name::Marks(_)
                    | Name::Changes
                    | Name::Socket
            );
            if is_foreign_volume || !is_known {
                survey.others.push(name.clone());
            }
        }
    }
}

/// The spills that count, oldest first: of two that stand for one volume the newer one was whole before the older one went.
fn spills_in(names: &[String]) -> Vec<SpillName> {
    let mut all: Vec<SpillName> =
        names.iter().filter_map(|name| if let Name::Spill(spill) = Name::of(name) { Some(spill) } else { None }).collect();
    all.sort_unstable();
    let mut counting: Vec<SpillName> = Vec::new();
    for spill in all.into_iter().rev() {
        if counting.iter().all(|other| spill.last < other.first || spill.first > other.last) {
            counting.push(spill);
        }
    }
    counting.sort_unstable_by_key(|spill| spill.first);
    counting
}

fn numbered(names: &[String], kind: impl Fn(Name) -> Option<u64>) -> BTreeSet<u64> {
    names.iter().filter_map(|name| kind(Name::of(name))).collect()
}

fn header_of(file: &ReadOnlyFile, kind: FileKind) -> io::Result<HeaderRead> {
    let mut bytes = [0; HEADER_LENGTH];
    let count = file.read_at(&mut bytes, 0)?;
    Ok(FileHeader::decode(kind, &bytes[..count]))
}

/// Which journal it is, as its own file says, else its newest volume; None: there is neither.
fn find_epoch(disk: &ReadOnlyDisk, names: &[String], damage: &mut Vec<Damage>) -> Result<Option<Epoch>, OpenError> {
    let newer = |file: &str, found| super::listing::newer(file.to_owned(), found);
    let read = |name: &str, kind| disk.file(name).and_then(|file| header_of(&file, kind));
    if names.iter().any(|name| Name::of(name) == Name::Identity) {
        match read(names::IDENTITY, FileKind::Identity) {
            Ok(HeaderRead::Valid(header)) => return Ok(Some(header.epoch)),
            Ok(HeaderRead::Newer(found)) => return Err(newer(names::IDENTITY, found)),
            Ok(HeaderRead::Invalid) | Err(_) => {
                damage.push(Damage { file: names::IDENTITY.to_owned(), offset: 0, what: "it does not say which journal this is" });
            }
        }
    }
    for name in names.iter().rev().filter(|name| matches!(Name::of(name), Name::Volume(_))) {
        match read(name, FileKind::Volume) {
            Ok(HeaderRead::Valid(header)) => return Ok(Some(header.epoch)),
            Ok(HeaderRead::Newer(found)) => return Err(newer(name, found)),
            Ok(HeaderRead::Invalid) | Err(_) => {}
        }
    }
    Ok(None)
}

/// Tells the records of one volume, and sums them up.
#[expect(clippy::too_many_arguments, reason = "one step of a loop, cut out for its length")]
fn hand_out(
    file: &ReadOnlyFile,
    seal: &Seal,
    id: u64,
    scan: &Scan,
    wanted: &Wanted,
    lanes: &mut Lanes,
    volume: &mut VolumeSummary,
    each: &mut impl FnMut(Archived<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut scanner = Scanner::new(file, seal, FILE_HEADER_BYTES, scan.end);
    while let Some(piece) = scanner.next(|_| Wants::Body) {
        let Piece::Frame { offset, header, body } = piece else { continue };
        let Some(source) = &header.source else { continue };
        let position = match header.kind {
            Kind::Event => Position { volume: id, offset },
            Kind::Spilled => header.spilled_from(),
            _ => continue,
        };
        let waits = lanes.see(source, position, header.planned, header.received_at);
        let Body::Whole(payload) = body else { continue };
        if !wanted.takes(source, header.received_at) {
            continue;
        }
        volume.records += 1;
        for destination in Destination::ALL {
            *volume.planned.of_mut(destination) += u64::from(*header.planned.of(destination));
        }
        let at = header.received_at;
        volume.arrived = Some(volume.arrived.map_or((at, at), |(first, last)| (first.min(at), last.max(at))));
        // A spilled record has its place where its revision was; its envelope still says under which it was planned.
        let revision = if header.kind == Kind::Spilled { Revision(0) } else { header.revision };
        let (planned, received_at) = (header.planned, header.received_at);
        each(Archived::Record(ArchivedRecord { position, source, revision, planned, waits, received_at, payload }))?;
    }
    Ok(())
}
