//! What is in the data directory when it is opened, and which journal it is.

use std::{
    collections::BTreeSet,
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use super::{
    Disk, OpenError,
    cursor::Snapshot,
    format::{Epoch, FileHeader, FileKind, HEADER_LENGTH, HeaderRead, VERSION, VERSION_PLAIN, VERSION_SPILLS},
    names::{self, Name, SpillName},
};

/// Names in the directory, by meaning.
#[derive(Debug, Default)]
pub(super) struct Listing {
    has_identity: bool,
    pub volumes: BTreeSet<u64>,
    pub cursors: Vec<u64>,
    pub quarantines: Vec<u64>,
    pub spills: BTreeSet<SpillName>,
    pub marks: Vec<u64>,
    unfinished: Vec<String>,
    pub foreign: Vec<String>,
}

pub(super) fn list(disk: &dyn Disk) -> Result<Listing, OpenError> {
    let entries = disk.list().map_err(|source| OpenError::Disk { doing: "cannot list the data directory".to_owned(), source })?;
    let mut listing = Listing::default();
    for name in entries {
        match Name::of(&name) {
            Name::Identity => listing.has_identity = true,
            Name::Lock | Name::Reserve | Name::Socket | Name::Changes => {}
            Name::Volume(id) => {
                listing.volumes.insert(id);
            }
            Name::Cursor(id) => listing.cursors.push(id),
            Name::Quarantine(id) => listing.quarantines.push(id),
            Name::Spill(name) => {
                listing.spills.insert(name);
            }
            Name::Marks(id) => listing.marks.push(id),
            Name::Unfinished => listing.unfinished.push(name),
            Name::Foreign => listing.foreign.push(name),
        }
    }
    Ok(listing)
}

/// A file's header.
pub(super) fn header_of(disk: &dyn Disk, name: &str, kind: FileKind) -> io::Result<HeaderRead> {
    let file = disk.open(name)?;
    let mut bytes = [0; HEADER_LENGTH];
    let count = file.read_at(&mut bytes, 0)?;
    Ok(FileHeader::decode(kind, &bytes[..count]))
}

pub(super) fn newer(file: String, found: u32) -> OpenError {
    OpenError::NewerFormat { file, found, known: VERSION }
}

/// The journal's epoch: from its file, else from a volume, else a new one; and whether it is new.
pub(super) fn identity(disk: &dyn Disk, listing: &Listing) -> Result<(Epoch, bool), OpenError> {
    let (mut known, mut unread) = (None, None);
    if listing.has_identity {
        match header_of(disk, names::IDENTITY, FileKind::Identity) {
            Ok(HeaderRead::Valid(header)) => return Ok((header.epoch, false)),
            Ok(HeaderRead::Newer(found)) => return Err(newer(names::IDENTITY.to_owned(), found)),
            Ok(HeaderRead::Invalid) => {}
            Err(error) => unread = Some(error),
        }
    }
    let volumes = listing.volumes.iter().rev().map(|id| (names::volume(*id), FileKind::Volume));
    let spills = listing.spills.iter().rev().map(|name| (names::spill(*name), FileKind::Spill));
    for (name, kind) in volumes.chain(spills) {
        match header_of(disk, &name, kind) {
            Ok(HeaderRead::Valid(header)) if known.is_none() => known = Some(header.epoch),
            Ok(HeaderRead::Newer(found)) => return Err(newer(name, found)),
            _ => {}
        }
    }
    // A disk that does not read now may do so later: what it has must not be taken for another journal's until then.
    if let (None, Some(source)) = (known, unread) {
        return Err(OpenError::Disk { doing: format!("cannot read {}", names::IDENTITY), source });
    }
    let (epoch, is_fresh) = known.map_or_else(|| (Epoch(uuid::Uuid::new_v4().as_u128()), true), |epoch| (epoch, false));
    let version = if listing.spills.is_empty() { VERSION_PLAIN } else { VERSION_SPILLS };
    write_identity(disk, epoch, version)
        .map_err(|source| OpenError::Disk { doing: format!("cannot write {}", names::IDENTITY), source })?;
    Ok((epoch, is_fresh))
}

/// Has the directory say that it may hold spills, before the first one gets its name; `allowed` remembers it.
pub(super) fn allow_spills(disk: &dyn Disk, epoch: Epoch, allowed: &AtomicBool) -> io::Result<()> {
    if !allowed.load(Ordering::Acquire) {
        write_identity(disk, epoch, VERSION_SPILLS)?;
        allowed.store(true, Ordering::Release);
    }
    Ok(())
}

fn write_identity(disk: &dyn Disk, epoch: Epoch, version: u32) -> io::Result<()> {
    let unfinished = names::unfinished(names::IDENTITY);
    let _ = disk.remove(&unfinished);
    let file = disk.create(&unfinished)?;
    file.write_at(&FileHeader { epoch, id: 0, slot_bytes: 0 }.encode_as(FileKind::Identity, version), 0)?;
    file.sync_data()?;
    disk.rename(&unfinished, names::IDENTITY)?;
    disk.sync_dir()
}

/// Removes what has no meaning. In a journal whose epoch is lost nothing is removed: what cannot be read may be dear.
pub(super) fn clean(disk: &dyn Disk, is_fresh: bool, listing: &Listing, void: impl Iterator<Item = String>) {
    for name in &listing.unfinished {
        let _ = disk.remove(name);
    }
    if !is_fresh {
        for name in void {
            let _ = disk.remove(&name);
        }
    }
    let _ = disk.sync_dir();
}

/// A number above every one that was ever used, as far as anything tells.
pub(super) fn next_volume(listing: &Listing, saved: Option<&Snapshot>) -> u64 {
    let in_names = listing.volumes.last().copied().unwrap_or(0);
    let in_cursors = saved.map_or(0, |saved| saved.lanes.iter().map(|lane| lane.cursor.low.volume).fold(saved.end.volume, u64::max));
    let in_spills = listing.spills.iter().map(|name| name.number.max(name.last)).max().unwrap_or(0);
    in_names.max(in_cursors).max(in_spills) + 1
}

pub(super) fn other_bytes(disk: &dyn Disk, listing: &Listing) -> u64 {
    let cursors = listing.cursors.iter().map(|id| names::cursor(*id));
    let quarantines = listing.quarantines.iter().map(|id| names::quarantine(*id));
    let marks = listing.marks.iter().map(|id| names::marks(*id)).chain([names::CHANGES.to_owned()]);
    cursors.chain(quarantines).chain(marks).filter_map(|name| disk.open(&name).and_then(|file| file.size()).ok()).sum()
}
