//! Where one volume ends and what of it is damaged, told from outside: the rules of recovery, without its repairs.

use std::io;

use super::{
    DiskFile,
    format::{FILE_HEADER_BYTES, InGroup, Seal},
    read_only::ReadOnlyFile,
    scan::{Body, Piece, Scanner, Then, Wants},
};

/// A volume, read to its end.
#[derive(Debug)]
pub(super) struct Scan {
    /// Its records end here.
    pub end: u64,
    /// Where it is damaged, and how.
    pub damage: Vec<(u64, &'static str)>,
}

/// Reads a volume. `limit`: where its successor says that it ends; `committed`: what is before here was durable once. Without a limit,
/// what cannot be read at the end is a group that is being written, or that a crash has torn: nobody was told that it was kept.
pub(super) fn read_volume(file: &ReadOnlyFile, seal: &Seal, limit: Option<u64>, committed: u64) -> io::Result<Scan> {
    let size = file.size()?;
    let mut scanner = Scanner::new(file, seal, FILE_HEADER_BYTES, limit.unwrap_or(size).min(size));
    let mut doubtful: Vec<(u64, u32, &'static str)> = Vec::new();
    let (mut end, mut group, mut place) = (0, 0, InGroup::Last);
    while let Some(piece) = scanner.next(|_| Wants::Body) {
        match piece {
            Piece::Unreadable { offset, then } => {
                if then == Then::Frame || offset < limit.unwrap_or(committed) {
                    let next = if place == InGroup::Last { group + 1 } else { group };
                    doubtful.push((offset, next, "no record can be read here"));
                }
            }
            Piece::Frame { offset, header, body } => {
                if matches!(body, Body::Damaged) {
                    doubtful.push((offset, header.group, "the record is damaged"));
                }
                end = offset + header.frame_bytes();
                (group, place) = (header.group, header.place);
            }
        }
    }
    let torn = limit.is_none().then(|| doubtful.iter().find(|(offset, of, _)| *offset >= committed && *of >= group)).flatten().copied();
    if let Some((offset, ..)) = torn {
        end = offset;
    }
    let is_before_cut = |offset: u64| torn.is_none_or(|(torn, ..)| offset < torn);
    let found = doubtful.iter().filter(|(offset, ..)| is_before_cut(*offset));
    let mut damage: Vec<_> = found.map(|(offset, _, what)| (*offset, *what)).collect();
    if size < limit.unwrap_or(committed) {
        damage.push((size, "the file ends before its records do"));
    }
    if let Some(limit) = limit {
        end = limit;
    }
    Ok(Scan { end: end.min(size), damage })
}
