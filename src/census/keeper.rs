//! The file of the census.
//!
//! `census.snapshot` in `census/` in the data directory: a line `segue-census <version> <CRC-32 in 8 hex digits>`, and JSON behind it,
//! which the checksum is of. It is written anew each time, beside the old one, and takes its place when it is whole and on disk.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{book::Saved, foretold::SavedForetold};

const FILE: &str = "census.snapshot";
const WORD: &str = "segue-census";
/// The form of the file. Members may be added to it without a new number.
const VERSION: u32 = 1;

/// What is kept.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Snapshot {
    pub(super) pages: Vec<Saved>,
    #[serde(default)]
    pub(super) foretold: Vec<SavedForetold>,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("the disk does not give it: {0}")]
    Disk(#[from] io::Error),
    #[error("it does not begin as a census does")]
    NoCensus,
    #[error("another segue wrote it, in form {0}")]
    Version(u32),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it cannot be read: {0}")]
    Form(#[from] serde_json::Error),
}

/// What an earlier run saved; nothing when there is none that can be read. Then it is put aside and told, and counting begins anew.
pub(super) fn load(dir: &Path) -> Snapshot {
    if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        tracing::error!(event = "census_dir", %error, dir = %dir.display(), "the census cannot be kept over a restart");
        return Snapshot::default();
    }
    let path = dir.join(FILE);
    match read(&path) {
        Ok(snapshot) => snapshot,
        Err(ReadError::Disk(error)) if error.kind() == io::ErrorKind::NotFound => Snapshot::default(),
        Err(error) => {
            let aside = fs::rename(&path, path.with_extension("damaged")).is_ok();
            tracing::error!(event = "census_damaged", %error, aside, "the census of versions cannot be read and begins anew; no event is touched by that");
            Snapshot::default()
        }
    }
}

fn read(path: &Path) -> Result<Snapshot, ReadError> {
    let bytes = fs::read(path)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(ReadError::NoCensus)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| ReadError::NoCensus)?;
    let [WORD, version, checksum] = head.split(' ').collect::<Vec<_>>()[..] else { return Err(ReadError::NoCensus) };
    let version: u32 = version.parse().map_err(|_| ReadError::NoCensus)?;
    if version != VERSION {
        return Err(ReadError::Version(version));
    }
    let body = &bytes[end + 1..];
    if u32::from_str_radix(checksum, 16) != Ok(crc32fast::hash(body)) {
        return Err(ReadError::Checksum);
    }
    Ok(serde_json::from_slice(body)?)
}

/// Saves it. Blocks on the disk.
pub(super) fn save(dir: &Path, snapshot: &Snapshot) -> io::Result<()> {
    let body = serde_json::to_vec(snapshot)?;
    let unfinished = dir.join(format!("{FILE}.tmp"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(format!("{WORD} {VERSION} {:08x}\n", crc32fast::hash(&body)).as_bytes())?;
    file.write_all(&body)?;
    file.sync_data()?;
    fs::rename(&unfinished, dir.join(FILE))?;
    File::open(dir)?.sync_all()
}
