//! A disk in memory that loses what was not synced, for tests.
//!
//! Bytes are kept twice, live and durable, in sectors of 512 bytes; names as well. A power cut keeps what was synced and a random
//! part of the rest: any subset of sectors, any subset of the creations, renames and removals since the last sync of the directory.
//! A sync that fails keeps a random part and marks the rest as written, as the kernel does: a later sync says yes and saves nothing
//! of it, reads still show it, and only dropping the cache tells.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
};

use super::{Disk, DiskFile, stock::lock};

const SECTOR: usize = 512;

/// A small random number generator, as tests have to be repeatable from one number.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// Once in `times`.
    pub(super) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// Which promise of a disk is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    /// Syncs of files do nothing.
    NoDataSync,
    /// Syncs of the directory do nothing.
    NoDirSync,
}

/// What fails: one in so many of each; 0: none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trouble {
    /// Syncs that fail.
    pub syncs: u64,
    /// Writes and allocations that find no space; a quarter as many creations and renames.
    pub no_space: u64,
    /// Writes that fail in the middle.
    pub writes: u64,
}

#[derive(Debug)]
pub(super) struct ModelDisk {
    state: Arc<Mutex<State>>,
    /// Handles of an earlier life are dead.
    life: u64,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<u64, Contents>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    pending: Vec<NameChange>,
    next_file: u64,
    dice: Dice,
    lie: Lie,
    trouble: Trouble,
    /// Changes that may still be made before the power is cut; None: no cut is planned.
    cut_after: Option<u64>,
    life: u64,
    /// Bytes that all files may have.
    capacity: u64,
    /// So many syncs of volumes fail, from now on.
    failing_syncs: u64,
}

#[derive(Debug, Clone)]
enum NameChange {
    Created(String, u64),
    Renamed(String, String),
    Removed(String),
}

#[derive(Debug, Clone, Default)]
struct Contents {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Sectors that the next sync writes.
    dirty: BTreeSet<usize>,
    /// Sectors that a failed sync lost: live in memory only.
    lost: BTreeSet<usize>,
}

impl ModelDisk {
    pub(super) fn new(seed: u64, lie: Lie) -> Arc<Self> {
        let state = State {
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending: Vec::new(),
            next_file: 1,
            dice: Dice::new(seed),
            lie,
            trouble: Trouble::default(),
            cut_after: None,
            life: 0,
            capacity: u64::MAX,
            failing_syncs: 0,
        };
        Arc::new(Self { state: Arc::new(Mutex::new(state)), life: 0 })
    }

    /// Lets the power fail after so many more changes.
    pub(super) fn cut_after(&self, changes: u64) {
        lock(&self.state).cut_after = Some(changes);
    }

    pub(super) fn is_cut(&self) -> bool {
        lock(&self.state).cut_after == Some(0)
    }

    pub(super) fn trouble(&self, trouble: Trouble) {
        lock(&self.state).trouble = trouble;
    }

    pub(super) fn set_capacity(&self, bytes: u64) {
        lock(&self.state).capacity = bytes;
    }

    /// Lets so many syncs of volumes fail.
    pub(super) fn fail_syncs(&self, count: u64) {
        lock(&self.state).failing_syncs = count;
    }

    /// The disk after the power came back.
    pub(super) fn after_power_cut(&self) -> Arc<Self> {
        let life = lock(&self.state).power_cut();
        Arc::new(Self { state: Arc::clone(&self.state), life })
    }

    /// The disk after the process was killed: the system still has everything.
    pub(super) fn after_kill(&self) -> Arc<Self> {
        let mut state = lock(&self.state);
        state.life += 1;
        state.cut_after = None;
        Arc::new(Self { state: Arc::clone(&self.state), life: state.life })
    }

    /// All files, by name, as they read now.
    pub(super) fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = lock(&self.state);
        state.names.iter().map(|(name, id)| (name.clone(), state.files[id].live.clone())).collect()
    }

    /// A disk with these files.
    pub(super) fn holding(files: &BTreeMap<String, Vec<u8>>) -> Arc<Self> {
        let disk = Self::new(0, Lie::None);
        let mut state = lock(&disk.state);
        for (name, bytes) in files {
            let id = state.next_file;
            state.next_file += 1;
            state.files.insert(id, Contents { live: bytes.clone(), durable: bytes.clone(), ..Contents::default() });
            state.names.insert(name.clone(), id);
            state.durable_names.insert(name.clone(), id);
        }
        drop(state);
        disk
    }

    fn change(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let mut state = lock(&self.state);
        state.begin_change(self.life)?;
        Ok(state)
    }

    fn look(&self) -> io::Result<std::sync::MutexGuard<'_, State>> {
        let state = lock(&self.state);
        state.is_alive(self.life)?;
        Ok(state)
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|id| self.files[id].live.len() as u64).sum()
    }

    fn is_alive(&self, life: u64) -> io::Result<()> {
        if life != self.life || self.cut_after == Some(0) { Err(io::Error::other("the power is off")) } else { Ok(()) }
    }

    fn begin_change(&mut self, life: u64) -> io::Result<()> {
        self.is_alive(life)?;
        if let Some(left) = &mut self.cut_after {
            *left -= 1;
        }
        Ok(())
    }

    fn fails(&mut self, once_in: u64) -> bool {
        once_in > 0 && self.dice.once_in(once_in)
    }

    /// A directory may have to grow for a name.
    fn find_space_for_name(&mut self) -> io::Result<()> {
        let once_in = self.trouble.no_space * 4;
        if self.fails(once_in) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn power_cut(&mut self) -> u64 {
        let Self { files, durable_names, pending, dice, .. } = self;
        for change in pending.drain(..) {
            if dice.once_in(2) {
                apply(durable_names, &change);
            }
        }
        for contents in files.values_mut() {
            let dirty: Vec<usize> = contents.dirty.iter().copied().filter(|_| dice.once_in(2)).collect();
            // A length that was not synced may be kept as well.
            if contents.live.len() != contents.durable.len() && dice.once_in(2) {
                contents.durable.resize(contents.live.len(), 0);
            }
            for sector in dirty {
                contents.write_back(sector);
            }
            contents.live = contents.durable.clone();
            contents.dirty.clear();
            contents.lost.clear();
        }
        self.names = self.durable_names.clone();
        let kept: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|id, _| kept.contains(id));
        self.cut_after = None;
        self.life += 1;
        self.life
    }
}

fn apply(names: &mut BTreeMap<String, u64>, change: &NameChange) {
    match change {
        NameChange::Created(name, id) => {
            names.insert(name.clone(), *id);
        }
        NameChange::Renamed(from, to) => {
            if let Some(id) = names.remove(from) {
                names.insert(to.clone(), id);
            }
        }
        NameChange::Removed(name) => {
            names.remove(name);
        }
    }
}

impl Contents {
    fn write_back(&mut self, sector: usize) {
        let start = sector * SECTOR;
        let end = (start + SECTOR).min(self.live.len()).min(self.durable.len());
        if start < end {
            let (live, durable) = (&self.live, &mut self.durable);
            durable[start..end].copy_from_slice(&live[start..end]);
        }
    }

    fn touch(&mut self, start: usize, end: usize) {
        for sector in start / SECTOR..end.div_ceil(SECTOR) {
            self.dirty.insert(sector);
            self.lost.remove(&sector);
        }
    }
}

impl Disk for ModelDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.look()?.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.change()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.find_space_for_name()?;
        let id = state.next_file;
        state.next_file += 1;
        state.files.insert(id, Contents::default());
        state.names.insert(name.to_owned(), id);
        state.pending.push(NameChange::Created(name.to_owned(), id));
        Ok(Arc::new(ModelFile { disk: Self { state: Arc::clone(&self.state), life: self.life }, id }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.look()?;
        let id = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(ModelFile { disk: Self { state: Arc::clone(&self.state), life: self.life }, id }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.change()?;
        state.find_space_for_name()?;
        let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), id);
        state.pending.push(NameChange::Renamed(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.change()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.pending.push(NameChange::Removed(name.to_owned()));
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.change()?;
        if state.lie == Lie::NoDirSync {
            return Ok(());
        }
        let once_in = state.trouble.syncs;
        if state.fails(once_in) {
            return Err(io::Error::other("injected: the directory cannot be synced"));
        }
        state.durable_names = state.names.clone();
        state.pending.clear();
        Ok(())
    }
}

#[derive(Debug)]
struct ModelFile {
    disk: ModelDisk,
    id: u64,
}

impl DiskFile for ModelFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.look()?.files[&self.id].live.len() as u64)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.look()?;
        let live = &state.files[&self.id].live;
        let start = usize::try_from(offset).unwrap().min(live.len());
        let count = into.len().min(live.len() - start);
        into[..count].copy_from_slice(&live[start..start + count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let Trouble { no_space, writes, .. } = state.trouble;
        let grows = (offset + bytes.len() as u64).saturating_sub(state.files[&self.id].live.len() as u64);
        let is_full = grows > 0 && state.used() + grows > state.capacity;
        let fault = if is_full || state.fails(no_space) {
            Some(io::ErrorKind::StorageFull.into())
        } else if state.fails(writes) {
            Some(io::Error::other("injected: the write failed"))
        } else {
            None
        };
        let written = if fault.is_some() { usize::try_from(state.dice.below(bytes.len() as u64 + 1)).unwrap() } else { bytes.len() };
        let written = if is_full { 0 } else { written };
        let contents = state.files.get_mut(&self.id).unwrap();
        let start = usize::try_from(offset).unwrap();
        if contents.live.len() < start + written {
            contents.live.resize(start + written, 0);
        }
        contents.live[start..start + written].copy_from_slice(&bytes[..written]);
        contents.touch(start, start + written);
        fault.map_or(Ok(()), Err)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.change()?;
        if state.lie == Lie::NoDataSync {
            return Ok(());
        }
        let once_in = state.trouble.syncs;
        let is_volume = state.names.iter().any(|(name, id)| *id == self.id && name.starts_with("volume-"));
        let fails = state.fails(once_in) || (is_volume && state.failing_syncs > 0);
        if is_volume {
            state.failing_syncs = state.failing_syncs.saturating_sub(1);
        }
        let mut dice = state.dice.clone();
        let contents = state.files.get_mut(&self.id).unwrap();
        contents.durable.resize(contents.live.len(), 0);
        for sector in std::mem::take(&mut contents.dirty) {
            if fails && dice.once_in(2) {
                contents.lost.insert(sector);
            } else {
                contents.write_back(sector);
            }
        }
        state.dice = dice;
        if fails { Err(io::Error::other("injected: the sync failed")) } else { Ok(()) }
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let once_in = state.trouble.no_space;
        let grows = size.saturating_sub(state.files[&self.id].live.len() as u64);
        if state.fails(once_in) || (grows > 0 && state.used() + grows > state.capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let contents = state.files.get_mut(&self.id).unwrap();
        let size = usize::try_from(size).unwrap();
        if contents.live.len() < size {
            contents.live.resize(size, 0);
        }
        Ok(())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        state.files.get_mut(&self.id).unwrap().live.truncate(usize::try_from(size).unwrap());
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let contents = state.files.get_mut(&self.id).unwrap();
        for sector in std::mem::take(&mut contents.lost) {
            let start = sector * SECTOR;
            let end = (start + SECTOR).min(contents.live.len()).min(contents.durable.len());
            if start < end {
                contents.live[start..end].copy_from_slice(&contents.durable[start..end]);
            }
        }
        Ok(())
    }
}
