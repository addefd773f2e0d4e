//! Walking over the frames of a file, past whatever is damaged.

use std::io;

use super::{
    DiskFile,
    format::{ALIGNMENT, FRAME_HEADER_BYTES_MAX, FrameHeader, Seal, find_frame},
};

/// How much is read at once.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// How much is given up at once when the disk cannot read.
const SECTOR_BYTES: usize = 4096;
/// How often a read is tried.
const READ_ATTEMPTS_MAX: usize = 3;

/// Walks over a file's frames, up to a limit.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    seal: &'a Seal,
    /// Where the next piece begins.
    pub offset: u64,
    limit: u64,
    /// Bytes of the file from `base` on.
    buffer: Vec<u8>,
    base: u64,
    /// What the disk said when it could not read; what it could not read is taken for damage.
    pub refusal: Option<io::Error>,
}

/// What stands at one place.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    /// A frame whose header is whole.
    Frame { offset: u64, header: FrameHeader, body: Body<'a> },
    /// Bytes without a valid frame header, up to the next one.
    Unreadable { offset: u64, then: Then },
}

/// A frame's body.
#[derive(Debug)]
pub(super) enum Body<'a> {
    Whole(&'a [u8]),
    Damaged,
    NotRead,
}

/// What follows bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Another frame.
    Frame,
    /// Nothing, up to the limit.
    Limit,
}

/// Whether a frame's body is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    Body,
    HeaderOnly,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, seal: &'a Seal, offset: u64, limit: u64) -> Self {
        Self { file, seal, offset, limit, buffer: Vec::new(), base: offset, refusal: None }
    }

    /// The next piece; None at the limit.
    pub(super) fn next(&mut self, wants: impl Fn(&FrameHeader) -> Wants) -> Option<Piece<'_>> {
        if self.offset >= self.limit {
            return None;
        }
        let offset = self.offset;
        let header = self.seal.read_header(offset, self.window(FRAME_HEADER_BYTES_MAX));
        let Some(header) = header.filter(|header| offset + header.frame_bytes() <= self.limit) else {
            let then = self.resynchronise();
            return Some(Piece::Unreadable { offset, then });
        };
        self.offset += header.frame_bytes();
        if wants(&header) == Wants::HeaderOnly {
            return Some(Piece::Frame { offset, header, body: Body::NotRead });
        }
        let (start, end) = (header.body_start(), header.body_start() + header.body_bytes as usize);
        let seal = self.seal;
        let body = &self.window_at(offset, end)[start..end];
        let body = if seal.body_is_whole(offset, &header, body) { Body::Whole(body) } else { Body::Damaged };
        Some(Piece::Frame { offset, header, body })
    }

    /// Moves to the next valid frame header, or to the limit.
    fn resynchronise(&mut self) -> Then {
        self.offset += ALIGNMENT;
        while self.offset < self.limit {
            let base = self.offset;
            let seal = self.seal;
            let limit = self.limit;
            let window = self.window(CHUNK_BYTES);
            if let Some(at) = find_frame(seal, base, window, 0) {
                self.offset = base + at as u64;
                return Then::Frame;
            }
            let seen = window.len() as u64;
            // A header may begin in what was seen and end behind it.
            self.offset = if base + seen >= limit { limit } else { base + seen - FRAME_HEADER_BYTES_MAX.next_multiple_of(8) as u64 };
        }
        self.offset = self.limit;
        Then::Limit
    }

    fn window(&mut self, bytes: usize) -> &[u8] {
        self.window_at(self.offset, bytes)
    }

    /// At least `bytes` bytes from `offset` on, fewer only at the limit. What the disk cannot give reads as zeros, and so
    /// validates as nothing.
    fn window_at(&mut self, offset: u64, bytes: usize) -> &[u8] {
        let wanted = bytes.min(usize::try_from(self.limit - offset).unwrap_or(usize::MAX));
        let held = (offset >= self.base).then(|| usize::try_from(offset - self.base).unwrap_or(usize::MAX));
        let start = match held {
            Some(start) if start.saturating_add(wanted) <= self.buffer.len() => start,
            _ => {
                let length = wanted.max(CHUNK_BYTES).min(usize::try_from(self.limit - offset).unwrap_or(usize::MAX));
                self.buffer.clear();
                self.buffer.resize(length, 0);
                self.base = offset;
                if let Err(error) = fill(self.file, &mut self.buffer, offset) {
                    self.refusal = Some(error);
                }
                0
            }
        };
        &self.buffer[start..]
    }
}

/// Reads what can be read; the rest is zeros, and the error says that there is such a rest.
fn fill(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<()> {
    for _ in 0..READ_ATTEMPTS_MAX {
        if read_whole(file, into, offset).is_ok() {
            return Ok(());
        }
    }
    let mut refusal = Ok(());
    for (index, sector) in into.chunks_mut(SECTOR_BYTES).enumerate() {
        if let Err(error) = read_whole(file, sector, offset + (index * SECTOR_BYTES) as u64) {
            sector.fill(0);
            refusal = Err(error);
        }
    }
    refusal
}

fn read_whole(file: &dyn DiskFile, into: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], offset + done as u64)? {
            0 => return Ok(()),
            count => done += count,
        }
    }
    Ok(())
}
