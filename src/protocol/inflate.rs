//! Inflating a body without letting it grow.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

/// How much a gzip body may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InflateLimits {
    /// Inflated bytes.
    pub bytes_max: usize,
    /// Inflated bytes for each byte on the wire; bodies below 64 KiB inflated are exempt, as small JSON may repeat itself a lot.
    pub ratio_max: usize,
}

/// Why a body was not inflated.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// It would grow beyond the limits; it was stopped there.
    #[error("the body inflates to more than {0} bytes")]
    TooLarge(usize),
    /// It is no gzip stream, or it ends early.
    #[error("the body is no whole gzip stream")]
    Broken(#[source] std::io::Error),
}

/// Inflates a whole gzip body. The limits are checked inside the loop: no more than 16 KiB beyond them is ever made.
///
/// # Errors
/// When the stream is broken, ends early, or grows beyond `limits`.
pub fn inflate(body: &[u8], limits: InflateLimits) -> Result<Vec<u8>, InflateError> {
    let allowed = limits.bytes_max.min(body.len().saturating_mul(limits.ratio_max).max(SMALL_BYTES));
    let mut decoder = MultiGzDecoder::new(body);
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(allowed));
    let mut chunk = [0; 16 << 10];
    loop {
        match decoder.read(&mut chunk).map_err(InflateError::Broken)? {
            0 => return Ok(out),
            read if out.len() + read > allowed => return Err(InflateError::TooLarge(allowed)),
            read => out.extend_from_slice(&chunk[..read]),
        }
    }
}

/// Below this the ratio says nothing.
const SMALL_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    const LIMITS: InflateLimits = InflateLimits { bytes_max: 4 << 20, ratio_max: 200 };

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_stopped_inside_the_loop() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(matches!(inflate(&bomb, LIMITS), Err(InflateError::TooLarge(_))));
        let dense = gzip(&vec![b'x'; 1 << 20]);
        assert!(matches!(inflate(&dense, InflateLimits { bytes_max: 4 << 20, ratio_max: 20 }), Err(InflateError::TooLarge(_))));
    }

    #[test]
    fn a_stream_cut_short_or_with_something_behind_it_is_broken() {
        let whole = gzip(br#"{"batch":[]}"#);
        for end in 0..whole.len() {
            assert!(end == 0 || inflate(&whole[..end], LIMITS).is_err(), "cut at {end}");
        }
        assert!(inflate(&[whole.clone(), b"junk".to_vec()].concat(), LIMITS).is_err());
        assert_eq!(inflate(&[whole.clone(), whole].concat(), LIMITS).unwrap(), br#"{"batch":[]}{"batch":[]}"#);
    }

    proptest! {
        #[test]
        fn what_was_deflated_inflates(plain: Vec<u8>) {
            prop_assert_eq!(inflate(&gzip(&plain), LIMITS).unwrap(), plain);
        }

        #[test]
        fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
            let _ = inflate(&bytes, LIMITS);
        }
    }
}
