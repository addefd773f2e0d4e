//! The chronicle: lines that are appended one by one and never changed, in `changes.log`.
//!
//! The journal keeps them as durably as records, and does not know what they say. A file whose write or sync failed is never
//! written again: everything is written from memory to a new one, which takes its name.

use std::{
    io,
    sync::{Arc, Mutex},
};

use super::{Disk, DiskFile, OpenError, names, stock::lock};

/// The lines, and the file that has them.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// All lines, each with its end.
    lines: Vec<u8>,
    /// Where the next line goes; None: to a new file, with all before it.
    file: Option<Arc<dyn DiskFile>>,
}

impl Chronicle {
    /// Reads what is there. A last line without an end was never confirmed: it is left out, and the next line writes a new file.
    pub(super) fn load(disk: &dyn Disk) -> Result<Self, OpenError> {
        let unreadable = |source| OpenError::Unreadable { file: names::CHANGES.to_owned(), source };
        let file = match disk.open(names::CHANGES) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(error)),
        };
        let mut lines = read(file.as_ref()).map_err(unreadable)?;
        let whole = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let file = (whole == lines.len()).then_some(file);
        lines.truncate(whole);
        Ok(Self { state: Mutex::new(State { lines, file }) })
    }

    /// All lines, oldest first, each with its end.
    pub(super) fn lines(&self) -> Vec<u8> {
        lock(&self.state).lines.clone()
    }

    /// Appends a line, which has no end in it. Durable when it returns. Blocks.
    pub(super) fn append(&self, disk: &dyn Disk, line: &str) -> io::Result<()> {
        let mut state = lock(&self.state);
        let at = state.lines.len();
        state.lines.extend_from_slice(line.as_bytes());
        state.lines.push(b'\n');
        let appended = match state.file.take() {
            Some(file) => append_to(file.as_ref(), &state.lines[at..], at as u64).map(|()| file).or_else(|_| write_new(disk, &state.lines)),
            None => write_new(disk, &state.lines),
        };
        match appended {
            Ok(file) => state.file = Some(file),
            Err(error) => {
                state.lines.truncate(at);
                return Err(error);
            }
        }
        Ok(())
    }
}

fn read(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    let mut filled = 0;
    while filled < size {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

fn append_to(file: &dyn DiskFile, line: &[u8], at: u64) -> io::Result<()> {
    file.write_at(line, at)?;
    file.sync_data()
}

fn write_new(disk: &dyn Disk, lines: &[u8]) -> io::Result<Arc<dyn DiskFile>> {
    let unfinished = names::unfinished(names::CHANGES);
    let _ = disk.remove(&unfinished);
    let file = disk.create(&unfinished)?;
    file.write_at(lines, 0)?;
    file.sync_data()?;
    disk.rename(&unfinished, names::CHANGES)?;
    disk.sync_dir()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::RealDisk;

    #[test]
    fn lines_come_back_and_a_torn_one_does_not() {
        let dir = tempfile::tempdir().unwrap();
        // Created by the disk itself, so that no umask leaves it open to others.
        let dir = dir.path().join("data");
        let disk = RealDisk::open(&dir).unwrap();
        let chronicle = Chronicle::load(disk.as_ref()).unwrap();
        chronicle.append(disk.as_ref(), "one").unwrap();
        chronicle.append(disk.as_ref(), "two").unwrap();
        let path = dir.join(names::CHANGES);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        let again = Chronicle::load(disk.as_ref()).unwrap();
        assert_eq!(again.lines(), b"one\ntwo\n");
        again.append(disk.as_ref(), "four").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\nfour\n");
        assert_eq!(Chronicle::load(disk.as_ref()).unwrap().lines(), b"one\ntwo\nfour\n");
    }
}
