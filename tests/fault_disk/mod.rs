//! A real directory whose calls fail when the story says so, and that keeps book of which file was synced and how that went.
//!
//! A sync that fails here loses what was written since the last good one, as the kernel does (reliability.md section 0): the
//! file reads as zeros there, and a later sync of it says yes. Any write or sync of a file after a failed one is a breach.

#![allow(dead_code, reason = "every story uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a story that cannot go on fails")]

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustix::io::Errno;
use segue::{
    journal::{Disk, DiskFile, RealDisk},
    model::WallTime,
};

pub const EIO: Errno = Errno::IO;
pub const ENOSPC: Errno = Errno::NOSPC;
pub const EROFS: Errno = Errno::ROFS;
pub const EDQUOT: Errno = Errno::DQUOT;
pub const EFBIG: Errno = Errno::FBIG;

/// One call of the journal to its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    List,
    Create,
    Open,
    Rename,
    Remove,
    SyncDir,
    Size,
    ReadAt,
    WriteAt,
    SyncData,
    Allocate,
    Truncate,
}

impl Act {
    /// What makes something durable.
    pub const SYNCS: &[Self] = &[Self::SyncData, Self::SyncDir];
    /// What a disk that is read-only refuses.
    pub const CHANGES: &[Self] =
        &[Self::Create, Self::Rename, Self::Remove, Self::SyncDir, Self::WriteAt, Self::SyncData, Self::Allocate, Self::Truncate];
    /// What needs space.
    pub const SPACE: &[Self] = &[Self::Create, Self::WriteAt, Self::Allocate];
}

/// What a call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    Fails(Errno),
    /// It does what it should, later.
    Late(Duration),
}

/// A fault: which calls, to which files, how many, and how.
#[derive(Debug, Clone)]
pub struct Fault {
    acts: Vec<Act>,
    /// Names that begin so; empty: all. Of a rename the new name counts; directory syncs have the name "".
    prefix: String,
    skip: u64,
    times: u64,
    how: How,
    struck: u64,
}

impl Fault {
    /// Strikes each of these calls, until it is lifted.
    pub fn always(acts: &[Act], how: How) -> Self {
        Self { acts: acts.to_vec(), prefix: String::new(), skip: 0, times: u64::MAX, how, struck: 0 }
    }

    /// Strikes so many of these calls.
    pub fn next(times: u64, acts: &[Act], how: How) -> Self {
        Self { times, ..Self::always(acts, how) }
    }

    /// The same, once so many such calls have gone well.
    pub fn after(self, skip: u64) -> Self {
        Self { skip, ..self }
    }

    /// The same, for files whose names begin so.
    pub fn of(self, prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), ..self }
    }

    fn strikes(&mut self, act: Act, name: &str) -> Option<How> {
        if !self.acts.contains(&act) || !name.starts_with(&self.prefix) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        (self.struck < self.times).then(|| {
            self.struck += 1;
            self.how
        })
    }
}

/// One fault that was put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultId(usize);

/// What goes wrong on a disk, and the book of its calls. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    faults: Vec<Option<Fault>>,
    struck_by_lifted: u64,
    calls: HashMap<Act, u64>,
    /// Which file has which name now.
    files: HashMap<String, u64>,
    next_file: u64,
    state: HashMap<u64, FileState>,
    breaches: Vec<String>,
    /// (file's name, how its sync went, when), oldest first.
    synced: Vec<(String, bool, WallTime)>,
}

impl Book {
    /// Gives a file that was not seen before its number.
    fn begin(&mut self, name: &str) -> u64 {
        self.next_file += 1;
        self.files.insert(name.to_owned(), self.next_file);
        self.next_file
    }
}

#[derive(Debug, Default)]
struct FileState {
    /// Ranges written since the last good sync.
    unsynced: Vec<(u64, u64)>,
    /// The call that failed.
    failed: Option<Act>,
}

impl Faults {
    /// The directory, under these faults. What a former run did to files is forgotten: a new process has new handles.
    pub fn over(&self, dir: &Path) -> Result<Arc<dyn Disk>, segue::journal::OpenError> {
        let inner = RealDisk::open(dir)?;
        let mut book = self.book();
        book.files.clear();
        book.state.clear();
        drop(book);
        Ok(Arc::new(FaultDisk { inner, faults: self.clone() }))
    }

    pub fn add(&self, fault: Fault) -> FaultId {
        let mut book = self.book();
        book.faults.push(Some(fault));
        FaultId(book.faults.len() - 1)
    }

    /// Takes a fault out, and says how often it struck.
    pub fn lift(&self, id: FaultId) -> u64 {
        let mut book = self.book();
        let struck = book.faults[id.0].take().map_or(0, |fault| fault.struck);
        book.struck_by_lifted += struck;
        struck
    }

    /// Takes out all.
    pub fn clear(&self) {
        let mut book = self.book();
        let struck: u64 = book.faults.drain(..).flatten().map(|fault| fault.struck).sum();
        book.struck_by_lifted += struck;
    }

    /// How often anything struck.
    pub fn struck(&self) -> u64 {
        let book = self.book();
        book.struck_by_lifted + book.faults.iter().flatten().map(|fault| fault.struck).sum::<u64>()
    }

    /// How often this fault struck. 0 once it is lifted.
    pub fn struck_by(&self, id: FaultId) -> u64 {
        self.book().faults.get(id.0).and_then(Option::as_ref).map_or(0, |fault| fault.struck)
    }

    /// How many such calls there were.
    pub fn calls(&self, acts: &[Act]) -> u64 {
        let book = self.book();
        acts.iter().filter_map(|act| book.calls.get(act)).sum()
    }

    /// The names of files whose sync failed.
    pub fn failed_syncs(&self) -> Vec<String> {
        self.book().synced.iter().filter(|(_, good, _)| !good).map(|(name, ..)| name.clone()).collect()
    }

    /// Fails when a file was written or synced after a write or sync of it had failed.
    pub fn assert_no_breach(&self) {
        let book = self.book();
        assert!(book.breaches.is_empty(), "{} breaches: {:#?}", book.breaches.len(), book.breaches);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and lets it be late or fail.
    fn call(&self, act: Act, name: &str) -> io::Result<()> {
        let mut book = self.book();
        *book.calls.entry(act).or_default() += 1;
        let how = book.faults.iter_mut().flatten().find_map(|fault| fault.strikes(act, name));
        drop(book);
        match how {
            None => Ok(()),
            Some(How::Fails(errno)) => Err(io::Error::from_raw_os_error(errno.raw_os_error())),
            Some(How::Late(delay)) => {
                std::thread::sleep(delay);
                Ok(())
            }
        }
    }
}

#[derive(Debug)]
struct FaultDisk {
    inner: Arc<dyn Disk>,
    faults: Faults,
}

#[derive(Debug)]
struct FaultFile {
    inner: Arc<dyn DiskFile>,
    faults: Faults,
    number: u64,
    /// The name that it was opened by; a volume that is used again has another one by now.
    name: String,
}

impl FaultDisk {
    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        let mut book = self.faults.book();
        let number = book.files.get(name).copied().unwrap_or_else(|| book.begin(name));
        Arc::new(FaultFile { inner, faults: self.faults.clone(), number, name: name.to_owned() })
    }
}

impl Disk for FaultDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.faults.call(Act::List, "")?;
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.faults.call(Act::Create, name)?;
        let file = self.inner.create(name)?;
        self.faults.book().files.remove(name);
        Ok(self.file(name, file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.faults.call(Act::Open, name)?;
        Ok(self.file(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.call(Act::Rename, to)?;
        self.inner.rename(from, to)?;
        let mut book = self.faults.book();
        if let Some(number) = book.files.remove(from) {
            book.files.insert(to.to_owned(), number);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.call(Act::Remove, name)?;
        self.inner.remove(name)?;
        self.faults.book().files.remove(name);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.faults.call(Act::SyncDir, "")?;
        self.inner.sync_dir()
    }
}

impl FaultFile {
    /// Notes a write or a sync, and whether the file had failed before.
    fn touch(&self, act: Act) {
        let mut book = self.faults.book();
        let failed = book.state.entry(self.number).or_default().failed;
        if let Some(failed) = failed {
            book.breaches.push(format!("{act:?} of {} after its {failed:?} had failed", self.name));
        }
    }

    fn fail(&self, act: Act) {
        self.faults.book().state.entry(self.number).or_default().failed = Some(act);
    }

    /// What was written since the last good sync is gone, and nothing will say so.
    fn lose_unsynced(&self) {
        let ranges = std::mem::take(&mut self.faults.book().state.entry(self.number).or_default().unsynced);
        for (offset, length) in ranges {
            let _ = self.inner.write_at(&vec![0; usize::try_from(length).unwrap()], offset);
        }
    }
}

impl DiskFile for FaultFile {
    fn size(&self) -> io::Result<u64> {
        self.faults.call(Act::Size, &self.name)?;
        self.inner.size()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.call(Act::ReadAt, &self.name)?;
        self.inner.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.touch(Act::WriteAt);
        if let Err(error) = self.faults.call(Act::WriteAt, &self.name) {
            self.fail(Act::WriteAt);
            // Part of it may be there.
            let _ = self.inner.write_at(&bytes[..bytes.len() / 2], offset);
            return Err(error);
        }
        self.faults.book().state.entry(self.number).or_default().unsynced.push((offset, bytes.len() as u64));
        self.inner.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.touch(Act::SyncData);
        let done = self.faults.call(Act::SyncData, &self.name).and_then(|()| self.inner.sync_data());
        self.faults.book().synced.push((self.name.clone(), done.is_ok(), now()));
        if done.is_ok() {
            self.faults.book().state.entry(self.number).or_default().unsynced.clear();
        } else {
            self.fail(Act::SyncData);
            self.lose_unsynced();
        }
        done
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.faults.call(Act::Allocate, &self.name)?;
        self.inner.allocate(size)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.faults.call(Act::Truncate, &self.name)?;
        self.inner.truncate(size)
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.inner.drop_cache()
    }
}

fn now() -> WallTime {
    segue::clock::Clock::system().now()
}

/// A directory in memory where there is one, so that hundreds of lives do not wait for a real disk; else a usual one.
pub fn quick_dir() -> tempfile::TempDir {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let prefix = format!("segue-faults-{}-{}-", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let in_memory = tempfile::Builder::new().prefix(&prefix).tempdir_in("/dev/shm");
    in_memory.unwrap_or_else(|_| tempfile::tempdir().unwrap())
}
