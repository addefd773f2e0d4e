//! A data directory for readers: no lock is taken, and nothing in it can be changed.

use std::{fs::File, io, os::unix::fs::FileExt, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use rustix::fs::{Dir, Mode, OFlags, openat};

use super::{Disk, DiskFile};

/// The directory. Its owner may be at work in it meanwhile: names come and go.
#[derive(Debug)]
pub(super) struct ReadOnlyDisk(File);

/// One file of it.
#[derive(Debug)]
pub(super) struct ReadOnlyFile(File);

impl ReadOnlyDisk {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let handle = File::open(dir)?;
        if handle.metadata()?.is_dir() { Ok(Self(handle)) } else { Err(io::ErrorKind::NotADirectory.into()) }
    }

    /// Opens a file.
    pub(super) fn file(&self, name: &str) -> io::Result<ReadOnlyFile> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        Ok(ReadOnlyFile(File::from(openat(&self.0, name, flags, Mode::empty())?)))
    }

    /// Whether that name still leads to that file. A volume that was used again meanwhile has another name, and reads as damage.
    pub(super) fn still_holds(&self, name: &str, file: &ReadOnlyFile) -> bool {
        let inode = |file: &File| file.metadata().map(|data| (data.dev(), data.ino())).ok();
        self.file(name).is_ok_and(|now| inode(&now.0) == inode(&file.0))
    }
}

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnlyDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.0)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(self.file(name)?))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self) -> io::Result<()> {
        refused()
    }
}

impl DiskFile for ReadOnlyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn truncate(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }
}
