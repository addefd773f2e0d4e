//! The real disk.

use std::{io, path::Path, sync::Arc};

use super::{Disk, DiskFile, OpenError};

/// A directory of the file system, locked for this process.
#[derive(Debug)]
pub struct RealDisk;

impl RealDisk {
    /// Takes the directory: made with mode 0700 when absent, its files have mode 0600, and a second process is refused.
    /// Blocks for a moment.
    ///
    /// # Errors
    /// When another process has it, or the disk refuses.
    pub fn open(dir: &Path) -> Result<Arc<dyn Disk>, OpenError> {
        todo!("{dir:?}")
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        todo!()
    }
    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        todo!()
    }
    fn open(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        todo!()
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        todo!()
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        todo!()
    }
    fn sync_dir(&self) -> io::Result<()> {
        todo!()
    }
}
