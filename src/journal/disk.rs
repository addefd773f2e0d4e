//! The seam under the journal: one directory and its files. Tests put a disk there that loses what was not synced.

use std::{fmt, io, sync::Arc};

/// One directory.
pub trait Disk: Send + Sync + fmt::Debug {
    /// The names in it.
    ///
    /// # Errors
    /// What the disk says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file; one of that name must not exist.
    ///
    /// # Errors
    /// What the disk says.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// What the disk says.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives a file another name, in place of what had that name.
    ///
    /// # Errors
    /// What the disk says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// What the disk says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names durable, as they are now.
    ///
    /// # Errors
    /// What the disk says.
    fn sync_dir(&self) -> io::Result<()>;
}

/// One open file.
pub trait DiskFile: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn size(&self) -> io::Result<u64>;

    /// Reads into `into` from `offset` on, and says how many bytes there were; 0: the end.
    ///
    /// # Errors
    /// What the disk says.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// What the disk says; some of the bytes may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file's bytes and its length durable.
    ///
    /// # Errors
    /// What the disk says. After an error nothing is known of what was written since the last success, and a later success
    /// proves nothing (reliability.md H1).
    fn sync_data(&self) -> io::Result<()>;

    /// Reserves space for `size` bytes, which read as zeros. A disk that cannot reserve does nothing.
    ///
    /// # Errors
    /// When there is not so much space.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Cuts the file to `size` bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Lets later reads see what the disk has, not what the system remembers.
    ///
    /// # Errors
    /// What the disk says.
    fn drop_cache(&self) -> io::Result<()>;
}
