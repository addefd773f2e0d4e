//! Bodies as they were before compression.

use std::io::Read;

use bytes::Bytes;
use flate2::read::GzDecoder;

/// A body that cannot be inflated, or would be longer than [`INFLATED_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// What a gzip stream holds.
pub(super) fn gunzip(body: &[u8]) -> Result<Bytes, Broken> {
    let mut inflated = Vec::new();
    let read = GzDecoder::new(body).take(INFLATED_BYTES_MAX + 1).read_to_end(&mut inflated).map_err(|_| Broken)?;
    if read as u64 > INFLATED_BYTES_MAX { Err(Broken) } else { Ok(inflated.into()) }
}

/// Far above every vendor's limit, so that those answer first; a bomb stops here.
const INFLATED_BYTES_MAX: u64 = 64 << 20;
