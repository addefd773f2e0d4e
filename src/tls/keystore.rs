//! Java's own form of a trust store, so that no `keytool` and no Java is needed where segue runs.
//!
//! The format is JKS, which every Java since 1.2 reads, also where its usual form is PKCS12. It holds certificates and no keys; the
//! password protects nothing but the checksum, and is the one that everybody uses.

use rustls::pki_types::CertificateDer;
use sha1::{Digest, Sha1};

use crate::model::WallTime;

/// A store with these certificates, each under its name. Names are ASCII in lower case, each once.
pub(super) fn of(certificates: &[(String, CertificateDer<'static>)], now: WallTime) -> Vec<u8> {
    let mut store = Vec::new();
    store.extend(MAGIC.to_be_bytes());
    store.extend(VERSION.to_be_bytes());
    store.extend(length(certificates.len()));
    for (name, certificate) in certificates {
        store.extend(TRUSTED.to_be_bytes());
        text(&mut store, name);
        store.extend(now.as_millis().to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate.len()));
        store.extend_from_slice(certificate);
    }
    let password: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let checksum = Sha1::new().chain_update(password).chain_update(SALT).chain_update(&store).finalize();
    store.extend(checksum);
    store
}

fn text(store: &mut Vec<u8>, text: &str) {
    debug_assert!(text.is_ascii(), "Java's form of UTF-8 is the same for ASCII alone");
    store.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    store.extend(text.bytes().take(usize::from(u16::MAX)));
}

fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

const MAGIC: u32 = 0xFEED_FEED;
const VERSION: u32 = 2;
/// The kind of entry: a certificate that is trusted.
const TRUSTED: u32 = 2;
/// What Java mixes into the checksum.
const SALT: &[u8] = b"Mighty Aphrodite";
/// The password that Java's own stores have.
const PASSWORD: &str = "changeit";

#[cfg(test)]
mod tests {
    use super::*;

    /// The form is Java's, byte for byte; that Java reads it, a story asks Java.
    #[test]
    fn a_store_says_how_many_certificates_it_has_and_ends_with_its_checksum() {
        let certificates: Vec<_> = ["a", "bb"].map(|name| (name.to_owned(), CertificateDer::from(vec![7, 7, 7]))).into();
        let store = of(&certificates, WallTime::from_millis(1));
        assert_eq!(store[..12], [0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0, 0, 0, 2]);
        let entry = [&[0, 0, 0, 2, 0, 1, b'a', 0, 0, 0, 0, 0, 0, 0, 1, 0, 5][..], b"X.509", &[0, 0, 0, 3, 7, 7, 7]].concat();
        assert_eq!(store[12..12 + entry.len()], entry);
        assert_eq!(store.len(), 12 + 2 * entry.len() + 1 + 20);
    }
}
