//! Gzip for batches, and for which of them. One deflate state is used again and again, as making one costs more than packing a
//! small batch.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress, Status};

use crate::model::Encoding;

/// How the bodies of one upstream's requests are packed.
#[derive(Debug, Clone)]
pub(super) enum Packing {
    /// As they are.
    Plain,
    /// Deflated, where that makes them smaller.
    Gzip(Arc<Packers>),
}

/// Idle deflate states, shared by all lanes.
#[derive(Default)]
pub(super) struct Packers(Mutex<Vec<Compress>>);

/// How many idle states are kept; each is a third of a megabyte.
const IDLE_MAX: usize = 4;

/// Below this, a gzip member saves less than it costs.
const GZIP_BYTES_MIN: usize = 2 << 10;

/// RFC 1952: deflate, no name, no time, fastest, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

impl Packing {
    /// The packing for an upstream at that origin. An origin without TLS is in the same pod, machine or private network, where
    /// bytes cost nothing and deflating them would be the largest part of what a batch costs; on the way to any other, bytes are
    /// paid for, and those that gzip saves need not be encrypted either (protocol.md T12: RudderStack takes both).
    pub(super) fn toward(origin: &str, packers: &Arc<Packers>) -> Self {
        if origin.starts_with("http://") { Self::Plain } else { Self::Gzip(Arc::clone(packers)) }
    }

    /// The body as it is sent.
    pub(super) fn pack(&self, plain: Vec<u8>) -> (Bytes, Encoding) {
        if let Self::Gzip(packers) = self
            && plain.len() >= GZIP_BYTES_MIN
            && let Some(packed) = packers.gzip(&plain)
        {
            return (packed.into(), Encoding::Gzip);
        }
        (plain.into(), Encoding::Identity)
    }
}

impl Packers {
    /// A whole gzip member holding `plain`; None when it would be no smaller.
    pub(super) fn gzip(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut state = kept.unwrap_or_else(|| Compress::new(Compression::fast(), false));
        let mut out = Vec::with_capacity(plain.len());
        out.extend_from_slice(&HEADER);
        // Without room left in `out` the state stops short of the end: then packing does not pay.
        let whole = matches!(state.compress_vec(plain, &mut out, FlushCompress::Finish), Ok(Status::StreamEnd));
        state.reset();
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(state);
        }
        drop(idle);
        // This one uses the processor's own multiplication; flate2's, with the backend chosen here, does not.
        out.extend_from_slice(&crc32fast::hash(plain).to_le_bytes());
        // RFC 1952: the size modulo 2^32.
        let [a, b, c, d, ..] = (plain.len() as u64).to_le_bytes();
        out.extend_from_slice(&[a, b, c, d]);
        whole.then_some(out).filter(|packed| packed.len() < plain.len())
    }
}

impl fmt::Debug for Packers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packers")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn what_is_packed_unpacks_and_the_state_can_be_used_again() {
        let packers = Packers::default();
        for size in [200, 2_000, 500_000] {
            let plain: Vec<u8> = (0..size).map(|n: u32| u8::try_from(n % 7).unwrap() + b'a').collect();
            let packed = packers.gzip(&plain).unwrap();
            let mut back = Vec::new();
            GzDecoder::new(&packed[..]).read_to_end(&mut back).unwrap();
            assert!(back == plain && packed.len() < plain.len() / 2, "{size}");
        }
        assert_eq!(packers.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn only_what_leaves_the_network_is_packed() {
        let table = [
            ("http://127.0.0.1:8080", 9_000, Encoding::Identity),
            ("http://rudderstack.default.svc", 9_000, Encoding::Identity),
            ("https://hosted.rudderlabs.com", 9_000, Encoding::Gzip),
            ("https://hosted.rudderlabs.com", 500, Encoding::Identity),
        ];
        for (origin, size, want) in table {
            let (body, encoding) = Packing::toward(origin, &Arc::default()).pack(vec![b'x'; size]);
            assert_eq!((encoding, body.len() < size), (want, want == Encoding::Gzip), "{origin}");
        }
    }

    #[test]
    fn what_does_not_get_smaller_stays_plain() {
        let noise: Vec<u8> = (0..64).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
        let packers = Packers::default();
        assert_eq!(packers.gzip(&noise), None);
        assert!(packers.gzip(&vec![b'x'; 4_000]).is_some(), "the state is clean after giving up");
    }
}
