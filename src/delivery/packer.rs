//! Gzip for batches: one deflate state used again and again, as making one costs more than packing a small batch.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Idle deflate states, shared by all lanes.
#[derive(Default)]
pub(super) struct Packers(Mutex<Vec<Compress>>);

/// How many idle states are kept; each is a third of a megabyte.
const IDLE_MAX: usize = 4;

/// RFC 1952: deflate, no name, no time, fastest, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

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
        let mut crc = Crc::new();
        crc.update(plain);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        out.extend_from_slice(&crc.amount().to_le_bytes());
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
    fn what_does_not_get_smaller_stays_plain() {
        let noise: Vec<u8> = (0..64).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
        let packers = Packers::default();
        assert_eq!(packers.gzip(&noise), None);
        assert!(packers.gzip(&vec![b'x'; 4_000]).is_some(), "the state is clean after giving up");
    }
}
