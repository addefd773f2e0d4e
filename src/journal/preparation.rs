//! How the space of a new volume is made ready: by writing zeros, or by allocation alone.
//!
//! Space that is only allocated has its blocks marked as unwritten, and each sync that writes to it commits the change of that
//! mark as well. Zeros written beforehand spare that commit, and cost one more write of every byte. So zeros pay
//! when groups are small, and allocation when they are large.

use std::io;

use super::DiskFile;

/// From this mean size of a group on, allocation is cheaper than zeros. On ext4 the commit of the marks cost about 70 us of
/// processor time for each sync, and zeros about 1.3 us for each KiB: even at about 54 KiB.
pub(super) const ALLOCATION_GROUP_BYTES: u64 = 64 << 10;
/// How much is written at once to fill a new volume.
const FILL_BYTES: usize = 1 << 20;

/// How the space of a volume is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Preparation {
    /// Allocated and written with zeros.
    Zeros,
    /// Allocated; its blocks are marked as unwritten.
    Allocation,
}

/// What the log has been filled with since start, as far as it tells how the next volume will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Filling {
    /// No volume was written to: whoever comes first waits for this one.
    #[default]
    None,
    /// The first volume is being written to.
    Begun,
    /// The last full volume took so many bytes in so many groups.
    Full { bytes: u64, groups: u32 },
}

impl Filling {
    /// Notes that a volume begins, after one that is `full`; None: there was none, or it was left before its end.
    pub(super) fn go_on(&mut self, full: Option<Self>) {
        *self = match (full, *self) {
            (Some(full), _) => full,
            (None, Self::None) => Self::Begun,
            (None, known) => known,
        };
    }

    /// How to make the next volume ready; `group_bytes`: the mean size of a group from which on allocation is enough.
    pub(super) fn preparation(self, group_bytes: u64) -> Preparation {
        match self {
            Self::None => Preparation::Allocation,
            Self::Full { bytes, groups } if bytes >= group_bytes.saturating_mul(u64::from(groups)) => Preparation::Allocation,
            Self::Begun | Self::Full { .. } => Preparation::Zeros,
        }
    }
}

impl Preparation {
    /// Makes `size` bytes of a new file ready. What could not be allocated is written.
    ///
    /// # Errors
    /// What the disk says.
    pub(super) fn carry_out(self, file: &dyn DiskFile, size: u64) -> io::Result<()> {
        file.allocate(size)?;
        if self == Self::Zeros || file.size()? < size {
            fill(file, size)?;
        }
        Ok(())
    }
}

/// Writes zeros, so that a later sync has no block to allocate and no metadata to commit (reliability.md H6).
fn fill(file: &dyn DiskFile, size: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES.min(usize::try_from(size).unwrap_or(FILL_BYTES))];
    let mut offset = 0;
    while offset < size {
        let count = zeros.len().min(usize::try_from(size - offset).unwrap_or(usize::MAX));
        file.write_at(&zeros[..count], offset)?;
        offset += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn zeros_are_written_only_where_small_groups_follow() {
        let table = [
            (Filling::None, Preparation::Allocation),
            (Filling::Begun, Preparation::Zeros),
            (Filling::Full { bytes: 1000, groups: 1 }, Preparation::Allocation),
            (Filling::Full { bytes: 1000, groups: 10 }, Preparation::Allocation),
            (Filling::Full { bytes: 999, groups: 10 }, Preparation::Zeros),
            (Filling::Full { bytes: 1000, groups: u32::MAX }, Preparation::Zeros),
        ];
        for (filling, want) in table {
            assert_eq!(filling.preparation(100), want, "{filling:?}");
        }
    }

    /// A file on a disk that may not be able to reserve space; it knows its length and what was written.
    #[derive(Debug)]
    struct Plain {
        reserves: Reserves,
        length: AtomicU64,
        written: AtomicU64,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Reserves {
        Yes,
        No,
    }

    impl DiskFile for Plain {
        fn size(&self) -> io::Result<u64> {
            Ok(self.length.load(Ordering::Relaxed))
        }

        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
            self.written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.length.fetch_max(offset + bytes.len() as u64, Ordering::Relaxed);
            Ok(())
        }

        fn sync_data(&self) -> io::Result<()> {
            Ok(())
        }

        fn allocate(&self, size: u64) -> io::Result<()> {
            if self.reserves == Reserves::Yes {
                self.length.fetch_max(size, Ordering::Relaxed);
            }
            Ok(())
        }

        fn truncate(&self, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn drop_cache(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_volume_has_its_full_length_and_only_what_is_needed_is_written() {
        let size = FILL_BYTES as u64 * 2 + 77;
        let table = [
            (Preparation::Zeros, Reserves::Yes, size),
            (Preparation::Zeros, Reserves::No, size),
            (Preparation::Allocation, Reserves::Yes, 0),
            (Preparation::Allocation, Reserves::No, size),
        ];
        for (preparation, reserves, written) in table {
            let file = Plain { reserves, length: AtomicU64::new(0), written: AtomicU64::new(0) };
            preparation.carry_out(&file, size).unwrap();
            assert_eq!((file.length.into_inner(), file.written.into_inner()), (size, written), "{preparation:?} {reserves:?}");
        }
    }

    #[test]
    fn the_last_full_volume_counts_and_a_volume_left_early_does_not() {
        let mut filling = Filling::default();
        filling.go_on(None);
        assert_eq!(filling, Filling::Begun);
        let full = Filling::Full { bytes: 5, groups: 1 };
        filling.go_on(Some(full));
        filling.go_on(None);
        assert_eq!(filling, full);
    }
}
