//! Reading fields off bytes that may be anything.

use crate::model::{Destination, SourceId};

/// Bytes, read from the front. None means: not enough of them, or not what was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn u128(&mut self) -> Option<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// A source id with its length before it.
    pub(super) fn source(&mut self) -> Option<SourceId> {
        let length = usize::from(self.u8()?);
        source_of(self.take(length)?)
    }

    /// A destination, as [`destination_code`] writes it.
    pub(super) fn destination(&mut self) -> Option<Destination> {
        match self.u8()? {
            0 => Some(Destination::Segment),
            1 => Some(Destination::RudderStack),
            _ => None,
        }
    }

    /// A text with its length before it.
    pub(super) fn text(&mut self) -> Option<String> {
        let length = self.u32()? as usize;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

/// The source id that these bytes spell.
pub(super) fn source_of(bytes: &[u8]) -> Option<SourceId> {
    SourceId::parse(std::str::from_utf8(bytes).ok()?).ok()
}

/// Writes a source id with its length before it.
pub(super) fn push_source(out: &mut Vec<u8>, source: &SourceId) {
    out.push(source_length(source));
    out.extend_from_slice(source.as_str().as_bytes());
}

/// The length of a source id, which is at most 64.
pub(super) fn source_length(source: &SourceId) -> u8 {
    u8::try_from(source.as_str().len()).expect("a source id has at most 64 bytes")
}

/// The byte of a destination on disk. Never renumber.
pub(super) const fn destination_code(destination: Destination) -> u8 {
    match destination {
        Destination::Segment => 0,
        Destination::RudderStack => 1,
    }
}

/// Writes a text with its length before it. Texts here are far below 4 GiB.
pub(super) fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}
