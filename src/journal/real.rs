//! The real disk.

use std::{
    fs::{DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{Advice, AtFlags, Dir, FallocateFlags, Mode, OFlags, fadvise, fallocate, openat, renameat, unlinkat},
    io::Errno,
};

use super::{
    Disk, DiskFile, OpenError,
    custody::{Exposed, Gravity, exposed_of},
    names,
};

/// Links are not followed, and children do not inherit files.
const OPEN_FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);

/// A directory of the file system, locked for this process.
#[derive(Debug)]
pub struct RealDisk {
    /// Every name is looked up in here, so that what is synced is the directory that was written to, whatever its path leads
    /// to by now.
    handle: File,
    /// Holds the lock as long as it is open; the system lets it go with the process, however that ends.
    _lock: File,
}

#[derive(Debug)]
struct RealFile(File);

impl RealDisk {
    /// Takes the directory: made with mode 0700 when absent, its files have mode 0600, and a second process is refused.
    /// Blocks for a moment.
    ///
    /// # Errors
    /// When another process has it, when other users can get at it, or the disk refuses.
    pub fn open(dir: &Path) -> Result<Arc<dyn Disk>, OpenError> {
        let failed = |doing: &str, source| OpenError::Disk { doing: format!("cannot {doing} {}", dir.display()), source };
        if !dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| failed("make the directory", error))?;
            if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| failed("sync the parent of", error))?;
            }
        }
        let handle = File::open(dir).map_err(|error| failed("open", error))?;
        for Exposed { path, how, fix, gravity } in exposed_of(&handle, dir).map_err(|error| failed("look into", error))? {
            let path = path.display().to_string();
            match gravity {
                Gravity::Refused => return Err(OpenError::Exposed { path, how, fix }),
                Gravity::Tolerated => tracing::warn!(event = "journal_exposed", path, how, fix, "others can get at the data directory"),
            }
        }
        let lock = match open_in(&handle, names::LOCK, OFlags::CREATE) {
            // A disk that became read-only still has what must be delivered.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => open_to_read(&handle, names::LOCK),
            opened => opened,
        };
        let lock = lock.map_err(|error| failed("lock", error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Arc::new(Self { handle, _lock: lock })),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.display().to_string() }),
            Err(TryLockError::Error(error)) => Err(failed("lock", error)),
        }
    }
}

/// Opens for reading and writing; what it makes is for nobody else.
fn open_in(dir: &File, name: &str, how: OFlags) -> io::Result<File> {
    let flags = OFlags::RDWR | OPEN_FLAGS | how;
    Ok(File::from(openat(dir, name, flags, Mode::RUSR | Mode::WUSR)?))
}

fn open_to_read(dir: &File, name: &str) -> io::Result<File> {
    Ok(File::from(openat(dir, name, OFlags::RDONLY | OPEN_FLAGS, Mode::empty())?))
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.handle)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(open_in(&self.handle, name, OFlags::CREATE | OFlags::EXCL)?)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = match open_in(&self.handle, name, OFlags::empty()) {
            // What is on a disk that became read-only is delivered all the same.
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => open_to_read(&self.handle, name)?,
            opened => opened?,
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.handle, from, &self.handle, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }
}

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < into.len() {
            match self.0.read_at(&mut into[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        match fallocate(&self.0, FallocateFlags::empty(), 0, size) {
            // Some file systems cannot reserve; writing zeros does it there.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }
}
