//! The file of a page.
//!
//! A line `segue-page <version> <CRC-32 in 8 hex digits>`, a line of JSON that says what it is, and the body; the checksum is of all
//! behind the first line. Its name is a digest of where the page stands, so that no path of a client's names a file.

use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Address, Page, Site};
use crate::model::{Encoding, WallTime};

const WORD: &str = "segue-page";
/// The form of the file. Members may be added to its second line without a new number.
const VERSION: u32 = 1;
const ENDING: &str = "page";
/// The most that the first two lines take.
const HEAD_BYTES_MAX: u64 = 64 << 10;

/// What a page is, without its body.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) fetched_at: WallTime,
    /// What the file takes.
    pub(super) bytes: u64,
    /// Of all but the time.
    pub(super) digest: [u8; 32],
    says: Vec<u8>,
}

/// The second line.
#[derive(Debug, Serialize, Deserialize)]
struct Said {
    site: String,
    path: String,
    fetched_at: String,
    is_gzip: bool,
    /// SHA-256 of all but the time.
    digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_control: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

/// Why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error("the disk does not give it: {0}")]
    Disk(#[from] io::Error),
    #[error("it does not begin as a page does")]
    NoPage,
    #[error("another segue wrote it, in form {0}")]
    Version(u32),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    #[error("it is another page's")]
    Foreign,
}

impl Head {
    pub(super) fn of(address: &Address, page: &Page) -> Self {
        let mut digest = Sha256::new();
        for text in [&page.content_type, &page.cache_control, &page.etag, &page.last_modified] {
            digest.update(text.as_deref().unwrap_or_default());
            digest.update([0]);
        }
        digest.update([u8::from(page.encoding == Encoding::Gzip)]);
        digest.update(&page.body);
        let digest: [u8; 32] = digest.finalize().into();
        let said = Said {
            site: label(address.site).to_owned(),
            path: address.path.clone(),
            fetched_at: page.fetched_at.to_rfc3339(),
            is_gzip: page.encoding == Encoding::Gzip,
            digest: hex(&digest),
            content_type: page.content_type.clone(),
            cache_control: page.cache_control.clone(),
            etag: page.etag.clone(),
            last_modified: page.last_modified.clone(),
        };
        // Plain texts: writing them cannot fail.
        let mut says = serde_json::to_vec(&said).unwrap_or_default();
        says.push(b'\n');
        let bytes = (first_line(0).len() + says.len() + page.body.len()) as u64;
        Self { fetched_at: page.fetched_at, bytes, digest, says }
    }
}

/// What stands in the directory, without the bodies. What is no page, or not where it should stand, is removed and told.
pub(super) fn list(dir: &Path) -> Vec<(Address, Head)> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) => {
            tracing::error!(event = "shelf_unread", %error, dir = %dir.display(), "the kept pages of Segment's CDN cannot be listed");
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_page = path.extension().is_some_and(|ending| ending == ENDING);
        match head(&path) {
            Ok((address, head)) if is_page && path == place(dir, &address) => found.push((address, head)),
            // It goes when the page is kept anew.
            Err(ReadError::Version(version)) => {
                tracing::warn!(event = "page_unread", version, file = %path.display(), "a kept page of Segment's CDN is another segue's and is left alone");
            }
            // A file that was being written when the sidecar ended, or a damaged one: no use to anybody.
            outcome => {
                let error = outcome.err().map_or_else(|| ReadError::Foreign.to_string(), |error| error.to_string());
                let removed = fs::remove_file(&path).is_ok();
                if is_page {
                    tracing::error!(event = "page_damaged", error, removed, file = %path.display(), "a kept page of Segment's CDN cannot be read");
                }
            }
        }
    }
    found
}

fn head(path: &Path) -> Result<(Address, Head), ReadError> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut reader = BufReader::new(file.take(HEAD_BYTES_MAX));
    let (mut first, mut says) = (Vec::new(), Vec::new());
    reader.read_until(b'\n', &mut first)?;
    reader.read_until(b'\n', &mut says)?;
    checksum(&first)?;
    let said: Said = serde_json::from_slice(&says)?;
    let (address, fetched_at, digest) = said.known()?;
    Ok((address, Head { fetched_at, bytes, digest, says }))
}

/// The page that stands at `address`.
pub(super) fn read(dir: &Path, address: &Address) -> Result<Page, ReadError> {
    let mut bytes = fs::read(place(dir, address))?;
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(ReadError::NoPage)? + 1;
    if checksum(&bytes[..end])? != crc32fast::hash(&bytes[end..]) {
        return Err(ReadError::Checksum);
    }
    let says_end = bytes[end..].iter().position(|byte| *byte == b'\n').ok_or(ReadError::NoPage)? + end + 1;
    let said: Said = serde_json::from_slice(&bytes[end..says_end])?;
    let (stands_at, fetched_at, _) = said.known()?;
    if stands_at != *address {
        return Err(ReadError::Foreign);
    }
    bytes.drain(..says_end);
    Ok(Page {
        fetched_at,
        encoding: if said.is_gzip { Encoding::Gzip } else { Encoding::Identity },
        content_type: said.content_type,
        cache_control: said.cache_control,
        etag: said.etag,
        last_modified: said.last_modified,
        body: Bytes::from(bytes),
    })
}

/// Writes beside and renames, so that a crash leaves the old page or the new one.
pub(super) fn write(dir: &Path, address: &Address, head: &Head, body: &[u8]) -> io::Result<()> {
    let place = place(dir, address);
    let unfinished = place.with_extension("tmp");
    let written = write_synced(&unfinished, head, body).and_then(|()| fs::rename(&unfinished, &place));
    if written.is_err() {
        // What was begun takes room that may be what is missing.
        let _ = fs::remove_file(&unfinished);
    }
    written?;
    File::open(dir)?.sync_all()
}

fn write_synced(path: &Path, head: &Head, body: &[u8]) -> io::Result<()> {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head.says);
    hasher.update(body);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(first_line(hasher.finalize()).as_bytes())?;
    file.write_all(&head.says)?;
    file.write_all(body)?;
    file.sync_data()
}

pub(super) fn remove(dir: &Path, address: &Address) -> io::Result<()> {
    match fs::remove_file(place(dir, address)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

impl Said {
    fn known(&self) -> Result<(Address, WallTime, [u8; 32]), ReadError> {
        let site = [Site::Cdn, Site::CdnSettings].into_iter().find(|site| label(*site) == self.site).ok_or(ReadError::NoPage)?;
        let fetched_at = WallTime::parse(&self.fetched_at).ok_or(ReadError::NoPage)?;
        let mut digest = [0; 32];
        for (place, byte) in digest.iter_mut().enumerate() {
            let digits = self.digest.get(place * 2..place * 2 + 2).ok_or(ReadError::NoPage)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| ReadError::NoPage)?;
        }
        Ok((Address { site, path: self.path.clone() }, fetched_at, digest))
    }
}

fn first_line(checksum: u32) -> String {
    format!("{WORD} {VERSION} {checksum:08x}\n")
}

/// What the first line, with its end, says the checksum is.
fn checksum(line: &[u8]) -> Result<u32, ReadError> {
    let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n')).ok_or(ReadError::NoPage)?;
    let [WORD, version, checksum] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(ReadError::NoPage) };
    match version.parse() {
        Ok(VERSION) => {
            let read = u32::from_str_radix(checksum, 16).map_err(|_| ReadError::NoPage)?;
            // Other spellings of a number are none of ours.
            if first_line(read).trim_end() == line { Ok(read) } else { Err(ReadError::NoPage) }
        }
        Ok(other) => Err(ReadError::Version(other)),
        Err(_) => Err(ReadError::NoPage),
    }
}

fn place(dir: &Path, address: &Address) -> PathBuf {
    let digest = Sha256::new().chain_update(label(address.site)).chain_update([0]).chain_update(&address.path).finalize();
    dir.join(format!("{}.{ENDING}", hex(&digest[..16])))
}

const fn label(site: Site) -> &'static str {
    match site {
        Site::Cdn => "cdn",
        Site::CdnSettings => "cdn-settings",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        // Writing to a String cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}
