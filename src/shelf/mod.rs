//! What Segment's CDN served last: settings, scripts and bundles, each in a file of its own, without expiry.
//!
//! Browser and mobile SDKs start with these and stop without them (protocol.md 1.9), so the last good copy of each outlives
//! Segment's faults, and Segment. A page is kept under the host that it was fetched from and its path: neither a `Host` header nor a
//! query has a part in that. Only what the CDN answered with 200 is put here, by the ingress.
//!
//! Own the directory `pages/` in the data directory. Each file is written beside, synced and renamed, 0600. Memory holds where things are,
//! never what they are.

mod file;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use bytes::Bytes;

use crate::{
    model::{Encoding, WallTime},
    protocol::{self, InflateLimits},
};

/// Which of Segment's hosts a page is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    /// `cdn.segment.com`, of browsers.
    Cdn,
    /// `cdn-settings.segment.com`, of mobile SDKs.
    CdnSettings,
}

/// Where a page stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Its host.
    pub site: Site,
    /// Its path, without a query.
    pub path: String,
}

/// A page, as the CDN served it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// When.
    pub fetched_at: WallTime,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// `Content-Type`; None: it had none.
    pub content_type: Option<String>,
    /// `Cache-Control`; None: it had none.
    pub cache_control: Option<String>,
    /// `ETag`; None: it had none.
    pub etag: Option<String>,
    /// `Last-Modified`; None: it had none.
    pub last_modified: Option<String>,
    /// The body, encoded as `encoding` says.
    pub body: Bytes,
}

/// Whether there may be room made for a new page at the cost of older ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Bundles that nobody asked for longest may go.
    MayBeMade,
    /// What is kept stays: somebody lives on it alone.
    AsItIs,
}

/// One line of [`Shelf::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Where the page stands.
    pub address: Address,
    /// When it was last fetched with this content.
    pub fetched_at: WallTime,
    /// What its file takes.
    pub bytes: u64,
}

/// The pages that are kept.
#[derive(Debug)]
pub struct Shelf {
    /// None: nothing is kept.
    dir: Option<PathBuf>,
    rows: RwLock<HashMap<Address, Row>>,
    /// The pages that are being put.
    turns: Mutex<HashSet<Address>>,
    /// Held while a file is written or removed.
    writing: Mutex<()>,
    /// Counts looks, so that the page that was looked at longest ago is known.
    looks: AtomicU64,
    failures: AtomicU64,
}

/// A turn to put one page.
#[derive(Debug)]
pub struct Turn {
    shelf: Arc<Shelf>,
    address: Address,
}

#[derive(Debug)]
struct Row {
    fetched_at: WallTime,
    bytes: u64,
    digest: [u8; 32],
    /// When a page from the CDN was last held against it; milliseconds.
    compared: AtomicI64,
    looked: AtomicU64,
}

/// What all pages take together. Segment's scripts and the bundles of one version take some 10 MB.
const BYTES_MAX: u64 = 256 << 20;
/// The largest page, inflated.
const INFLATED: InflateLimits = InflateLimits { bytes_max: 64 << 20, ratio_max: 200 };
/// How many there are: each takes some memory.
const PAGES_MAX: usize = 4096;
/// A page that comes again unchanged is written again, with the new time, when what stands on disk is older than this.
const STALE_MS: i64 = 24 * 3_600_000;
/// Pages that are put at one time.
const TURNS_MAX: usize = 4;
/// How long a page is taken to be what the CDN serves.
const FRESH_MS: i64 = 10_000;

impl Page {
    /// The body, not encoded. None: it cannot be inflated, or not within reason.
    #[must_use]
    pub fn plain(&self) -> Option<Bytes> {
        match self.encoding {
            Encoding::Identity => Some(self.body.clone()),
            Encoding::Gzip => protocol::inflate(&self.body, INFLATED).ok().map(Bytes::from),
        }
    }
}

impl Address {
    /// Whether the page is of one write key, not of everybody.
    fn is_own(&self) -> bool {
        protocol::page_key(&self.path).is_some()
    }

    /// The same path of the other host.
    fn elsewhere(&self) -> Self {
        let site = match self.site {
            Site::Cdn => Site::CdnSettings,
            Site::CdnSettings => Site::Cdn,
        };
        Self { site, path: self.path.clone() }
    }
}

impl Shelf {
    /// Takes up what earlier runs kept in `dir`, and makes it when absent; None keeps nothing. Files that cannot be read are removed and
    /// told. Blocks on the disk.
    #[must_use]
    pub fn open(dir: Option<PathBuf>) -> Self {
        let dir = dir.filter(|dir| match fs::DirBuilder::new().recursive(true).mode(0o700).create(dir) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(event = "shelf_off", %error, dir = %dir.display(), "Segment's settings and scripts cannot be kept: SDKs will miss them when Segment fails");
                false
            }
        });
        let rows = dir.as_deref().map(file::list).unwrap_or_default();
        let rows = rows.into_iter().map(|(address, head)| (address, Row::of(&head))).collect();
        Self {
            dir,
            rows: RwLock::new(rows),
            turns: Mutex::default(),
            writing: Mutex::default(),
            looks: AtomicU64::default(),
            failures: AtomicU64::default(),
        }
    }

    /// Whether the page is there.
    #[must_use]
    pub fn has(&self, address: &Address) -> bool {
        self.rows.read().unwrap_or_else(PoisonError::into_inner).contains_key(address)
    }

    /// A turn to put a page that was fetched now; None when it is not worth one: what pages load many times a second is held against
    /// what stands here once in a while, by one of those who fetched it. A flood of fetches takes no more than a few threads.
    #[must_use]
    pub fn turn(self: &Arc<Self>, address: &Address, now: WallTime) -> Option<Turn> {
        self.dir.as_ref()?;
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = |row: &Row| (0..FRESH_MS).contains(&(now.as_millis() - row.compared.load(Ordering::Relaxed)));
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if rows.get(address).is_some_and(fresh) || turns.len() >= TURNS_MAX || !turns.insert(address.clone()) {
            return None;
        }
        Some(Turn { shelf: Arc::clone(self), address: address.clone() })
    }

    /// What the page takes, not inflated; None: there is none.
    #[must_use]
    pub fn size(&self, address: &Address) -> Option<u64> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(address).or_else(|| rows.get(&address.elsewhere())).map(|row| row.bytes)
    }

    /// The page, to be served instead of Segment's answer. A page of the other host stands in for one that is missing: both serve the
    /// same settings. None: there is none, or its file is damaged, and it is gone then. Blocks on the disk.
    #[must_use]
    pub fn get(&self, address: &Address) -> Option<Page> {
        self.read(address).or_else(|| self.read(&address.elsewhere()))
    }

    fn read(&self, address: &Address) -> Option<Page> {
        let dir = self.dir.as_deref()?;
        {
            let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
            rows.get(address)?.looked.store(self.looks.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        match file::read(dir, address) {
            Ok(page) => Some(page),
            Err(error) => {
                let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
                tracing::error!(event = "page_damaged", %error, path = protocol::masked_path(&address.path), "a kept page of Segment's CDN cannot be read; it is kept anew when Segment serves it");
                self.remove(dir, address);
                None
            }
        }
    }

    /// Keeps a page; one that stands there already, and is not old, is not written again. False: there is no room for it.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// When the disk does not take it: what stood there before still does.
    pub fn put(&self, address: &Address, page: &Page, room: Room) -> io::Result<bool> {
        let Some(dir) = self.dir.as_deref() else { return Ok(false) };
        let head = file::Head::of(address, page);
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_there(address, &head) {
            return Ok(true);
        }
        if !self.make_room(dir, address, head.bytes, room) {
            return Ok(false);
        }
        if let Err(error) = file::write(dir, address, &head, &page.body) {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return Err(error);
        }
        let row = Row::of(&head);
        row.looked.store(self.looks.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.rows.write().unwrap_or_else(PoisonError::into_inner).insert(address.clone(), row);
        Ok(true)
    }

    /// Everything that is kept, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter().map(|(address, row)| Listed { address: address.clone(), fetched_at: row.fetched_at, bytes: row.bytes }).collect()
    }

    /// How many pages the disk did not take.
    #[must_use]
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn is_there(&self, address: &Address, head: &file::Head) -> bool {
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        rows.get(address).is_some_and(|row| {
            row.looked.store(self.looks.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            row.compared.store(head.fetched_at.as_millis(), Ordering::Relaxed);
            row.digest == head.digest && head.fetched_at.millis_since(row.fetched_at) < STALE_MS
        })
    }

    /// A source's own settings and script never go for others.
    fn make_room(&self, dir: &std::path::Path, address: &Address, bytes: u64, room: Room) -> bool {
        loop {
            let oldest = {
                let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
                let others = || rows.iter().filter(|(at, _)| *at != address);
                let taken: u64 = others().map(|(_, row)| row.bytes).sum();
                if taken + bytes <= BYTES_MAX && others().count() < PAGES_MAX {
                    return true;
                }
                let bundles = others().filter(|(at, _)| !at.is_own());
                bundles.min_by_key(|(_, row)| row.looked.load(Ordering::Relaxed)).map(|(at, _)| at.clone())
            };
            match oldest {
                Some(oldest) if room == Room::MayBeMade => self.remove(dir, &oldest),
                Some(_) | None => return false,
            }
        }
    }

    fn remove(&self, dir: &std::path::Path, address: &Address) {
        self.rows.write().unwrap_or_else(PoisonError::into_inner).remove(address);
        if let Err(error) = file::remove(dir, address) {
            tracing::warn!(event = "page_left", %error, "a file of a page that is not kept any more cannot be removed");
        }
    }
}

impl Turn {
    /// As [`Shelf::put`].
    ///
    /// # Errors
    /// As that.
    pub fn put(self, page: &Page, room: Room) -> io::Result<bool> {
        self.shelf.put(&self.address, page, room)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shelf.turns.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.address);
    }
}

impl Row {
    fn of(head: &file::Head) -> Self {
        let compared = AtomicI64::new(head.fetched_at.as_millis());
        Self { fetched_at: head.fetched_at, bytes: head.bytes, digest: head.digest, compared, looked: AtomicU64::default() }
    }
}
