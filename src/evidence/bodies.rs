//! What one vendor emitted and the other not yet: kept on disk, in volumes that go when nothing of them is waited for.
//!
//! Writes are not synced: a kill loses nothing, a power cut a few seconds, whose pairs then cannot be judged. Each entry begins with its
//! length (4), the CRC-32 of what follows (4), when it came (8), its side (1), its print (16), its source (length in 1 byte and text).

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::model::{Destination, SourceId, WallTime};

/// Where a body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BodyPlace {
    pub(super) volume: u32,
    offset: u32,
    length: u32,
}

/// A body and what is known of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) source: &'a SourceId,
    pub(super) print: u128,
    pub(super) side: Destination,
    pub(super) at: WallTime,
    pub(super) body: &'a [u8],
}

/// A body of an earlier run.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) source: SourceId,
    pub(super) print: u128,
    pub(super) side: Destination,
    pub(super) at: WallTime,
    pub(super) place: BodyPlace,
}

/// All volumes.
#[derive(Debug, Default)]
pub(super) struct Bodies {
    dir: Option<PathBuf>,
    volumes: BTreeMap<u32, Volume>,
    next: u32,
}

#[derive(Debug)]
struct Volume {
    store: Store,
    length: u32,
    /// Bodies that are still waited for.
    live: u32,
    /// Whether more is written to it.
    is_open: bool,
}

#[derive(Debug, Clone)]
enum Store {
    Disk(Arc<File>),
    Memory(Vec<u8>),
}

/// A body that is being read without holding anybody up.
#[derive(Debug)]
pub(super) enum Reading {
    Disk(Arc<File>, BodyPlace),
    Memory(Vec<u8>),
}

const VOLUME_BYTES: u32 = 4 << 20;
const HEAD_BYTES: usize = 8;

impl Bodies {
    /// Opens what there is in a directory, which is made; None keeps everything in memory. What cannot be read is left out.
    pub(super) fn open(dir: Option<&Path>) -> io::Result<(Self, Vec<Restored>)> {
        let mut bodies = Self { dir: dir.map(Path::to_owned), ..Self::default() };
        let mut restored = Vec::new();
        let Some(dir) = dir else { return Ok((bodies, restored)) };
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().and_then(number_of) else { continue };
            let file = OpenOptions::new().read(true).write(true).open(entry.path())?;
            let bytes = fs::read(entry.path())?;
            let found = entries(&bytes, number);
            let (live, length) = (u32::try_from(found.len()).unwrap_or(u32::MAX), u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            bodies.volumes.insert(number, Volume { store: Store::Disk(Arc::new(file)), length, live, is_open: false });
            restored.extend(found);
            bodies.next = bodies.next.max(number + 1);
        }
        bodies.sweep();
        Ok((bodies, restored))
    }

    /// Keeps a body.
    pub(super) fn put(&mut self, kept: &Kept<'_>) -> io::Result<BodyPlace> {
        let entry = encode(kept);
        let length = u32::try_from(entry.len()).map_err(io::Error::other)?;
        let number = self.volume_for(length)?;
        let volume = self.volumes.get_mut(&number).ok_or_else(|| io::Error::other("the volume has gone"))?;
        let offset = volume.length;
        match &mut volume.store {
            Store::Disk(file) => file.write_all_at(&entry, u64::from(offset))?,
            Store::Memory(bytes) => bytes.extend_from_slice(&entry),
        }
        volume.length += length;
        volume.live += 1;
        let body = u32::try_from(kept.body.len()).map_err(io::Error::other)?;
        Ok(BodyPlace { volume: number, offset: offset + length - body, length: body })
    }

    /// The volume that takes so many bytes more.
    fn volume_for(&mut self, length: u32) -> io::Result<u32> {
        if let Some((number, volume)) = self.volumes.iter_mut().next_back().filter(|(_, volume)| volume.is_open) {
            if volume.length.saturating_add(length) <= VOLUME_BYTES || volume.length == 0 {
                return Ok(*number);
            }
            volume.is_open = false;
        }
        self.sweep();
        let number = self.next;
        let store = match &self.dir {
            None => Store::Memory(Vec::new()),
            Some(dir) => {
                let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(dir.join(name_of(number)))?;
                Store::Disk(Arc::new(file))
            }
        };
        self.next += 1;
        self.volumes.insert(number, Volume { store, length: 0, live: 0, is_open: true });
        Ok(number)
    }

    /// Begins to read a body; None: it is not there.
    pub(super) fn read(&self, place: BodyPlace) -> Option<Reading> {
        Some(match &self.volumes.get(&place.volume)?.store {
            Store::Disk(file) => Reading::Disk(Arc::clone(file), place),
            Store::Memory(bytes) => {
                let start = place.offset as usize;
                Reading::Memory(bytes.get(start..start + place.length as usize)?.to_vec())
            }
        })
    }

    /// Says that a body is not waited for any more.
    pub(super) fn free(&mut self, place: BodyPlace) {
        if let Some(volume) = self.volumes.get_mut(&place.volume) {
            volume.live = volume.live.saturating_sub(1);
            if volume.live == 0 {
                self.sweep();
            }
        }
    }

    /// Removes volumes of which nothing is waited for.
    fn sweep(&mut self) {
        let dir = self.dir.as_deref();
        self.volumes.retain(|number, volume| {
            let is_over = volume.live == 0 && !volume.is_open;
            if let (true, Some(dir)) = (is_over, dir) {
                let _ = fs::remove_file(dir.join(name_of(*number)));
            }
            !is_over
        });
    }

    /// Bytes of all volumes.
    pub(super) fn bytes(&self) -> u64 {
        self.volumes.values().map(|volume| u64::from(volume.length)).sum()
    }

    /// The oldest volume to which nothing more is written; None: there is none.
    pub(super) fn oldest(&self) -> Option<u32> {
        self.volumes.iter().find(|(_, volume)| !volume.is_open).map(|(number, _)| *number)
    }
}

impl Reading {
    /// The body; None: the disk does not give it.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        match self {
            Self::Memory(bytes) => Some(bytes),
            Self::Disk(file, place) => {
                let mut bytes = vec![0; place.length as usize];
                file.read_exact_at(&mut bytes, u64::from(place.offset)).ok()?;
                Some(bytes)
            }
        }
    }
}

fn name_of(number: u32) -> String {
    format!("window-{number:08x}.log")
}

fn number_of(name: &str) -> Option<u32> {
    u32::from_str_radix(name.strip_prefix("window-")?.strip_suffix(".log")?, 16).ok()
}

fn encode(kept: &Kept<'_>) -> Vec<u8> {
    let source = kept.source.as_str().as_bytes();
    let mut entry = Vec::with_capacity(HEAD_BYTES + 26 + source.len() + kept.body.len());
    entry.extend_from_slice(&[0; HEAD_BYTES]);
    entry.extend_from_slice(&kept.at.as_millis().to_le_bytes());
    entry.push(u8::from(kept.side == Destination::RudderStack));
    entry.extend_from_slice(&kept.print.to_le_bytes());
    // A source's id has at most 64 bytes.
    entry.push(u8::try_from(source.len()).unwrap_or(u8::MAX));
    entry.extend_from_slice(source);
    entry.extend_from_slice(kept.body);
    let length = u32::try_from(entry.len() - HEAD_BYTES).unwrap_or(u32::MAX);
    let sum = crc32fast::hash(&entry[HEAD_BYTES..]);
    entry[..4].copy_from_slice(&length.to_le_bytes());
    entry[4..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    entry
}

/// What stands in a volume, up to the first thing that is not whole.
fn entries(bytes: &[u8], volume: u32) -> Vec<Restored> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((restored, end)) = entry_at(bytes, at, volume) {
        found.push(restored);
        at = end;
    }
    found
}

fn entry_at(bytes: &[u8], at: usize, volume: u32) -> Option<(Restored, usize)> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let (length, sum) = (word(at)? as usize, word(at + 4)?);
    let end = at + HEAD_BYTES + length;
    let entry = bytes.get(at + HEAD_BYTES..end)?;
    if crc32fast::hash(entry) != sum {
        return None;
    }
    let (time, rest) = entry.split_first_chunk::<8>()?;
    let (side, rest) = rest.split_first()?;
    let (print, rest) = rest.split_first_chunk::<16>()?;
    let (count, rest) = rest.split_first()?;
    let (source, body) = rest.split_at_checked(usize::from(*count))?;
    let place = BodyPlace { volume, offset: u32::try_from(end - body.len()).ok()?, length: u32::try_from(body.len()).ok()? };
    let side = if *side == 0 { Destination::Segment } else { Destination::RudderStack };
    let source = SourceId::parse(std::str::from_utf8(source).ok()?).ok()?;
    let restored =
        Restored { source, print: u128::from_le_bytes(*print), side, at: WallTime::from_millis(i64::from_le_bytes(*time)), place };
    Some((restored, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bodies: &mut Bodies, number: u128, bytes: usize) -> BodyPlace {
        let source = SourceId::parse("web").unwrap();
        let body = vec![u8::try_from(number).unwrap(); bytes];
        let kept = Kept { source: &source, print: number, side: Destination::RudderStack, at: WallTime::from_millis(7), body: &body };
        bodies.put(&kept).unwrap()
    }

    #[test]
    fn bodies_come_back_and_their_disk_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut bodies, restored) = Bodies::open(Some(dir.path())).unwrap();
        assert!(restored.is_empty());
        let places: Vec<BodyPlace> = (0..20).map(|number| put(&mut bodies, number, 1 << 20)).collect();
        for (number, place) in (0_u8..).zip(&places) {
            assert_eq!(bodies.read(*place).unwrap().finish().unwrap(), vec![number; 1 << 20]);
        }
        let files = || fs::read_dir(dir.path()).unwrap().count();
        assert_eq!((files(), bodies.bytes() >> 20), (7, 20));
        places[..19].iter().for_each(|place| bodies.free(*place));
        assert_eq!((files(), bodies.bytes() >> 20), (1, 2), "the newest volume stays open");
    }

    #[test]
    fn a_restart_finds_what_is_waited_for_and_leaves_out_what_was_torn() {
        let dir = tempfile::tempdir().unwrap();
        let (mut bodies, _) = Bodies::open(Some(dir.path())).unwrap();
        (1..4).for_each(|number| _ = put(&mut bodies, number, 100));
        drop(bodies);
        let path = dir.path().join(name_of(0));
        let whole = fs::read(&path).unwrap();
        for cut in [whole.len(), whole.len() - 1, whole.len() - 99, 200, 0] {
            fs::write(&path, &whole[..cut]).unwrap();
            let (bodies, restored) = Bodies::open(Some(dir.path())).unwrap();
            assert_eq!(restored.len(), cut / (whole.len() / 3));
            for (number, entry) in (1_u8..).zip(&restored) {
                assert_eq!((entry.print, entry.at, entry.source.as_str()), (u128::from(number), WallTime::from_millis(7), "web"));
                assert_eq!(bodies.read(entry.place).unwrap().finish().unwrap(), vec![number; 100]);
            }
        }
        assert!(!path.exists(), "a volume of nothing goes");
    }

    #[test]
    fn without_a_directory_they_are_in_memory() {
        let (mut bodies, _) = Bodies::open(None).unwrap();
        let place = put(&mut bodies, 3, 10);
        assert_eq!(bodies.read(place).unwrap().finish().unwrap(), vec![3; 10]);
        bodies.free(place);
    }
}
