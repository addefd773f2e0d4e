//! Keys and tokens that must never be printed.

use std::fmt;

use sha2::{Digest, Sha256};

/// A write key, token or private key: shown nowhere, not in `Debug`, not in errors, not in logs.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that must send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The last four characters behind dots, as people compare keys by eye; shorter secrets than twelve characters show nothing.
    #[must_use]
    pub fn hint(&self) -> String {
        if self.0.chars().count() < 12 {
            return "...".to_owned();
        }
        let tail: Vec<char> = self.0.chars().rev().take(4).collect();
        format!("...{}", tail.into_iter().rev().collect::<String>())
    }

    /// The fingerprint under which the key is looked up and named on disk.
    #[must_use]
    pub fn print(&self) -> KeyPrint {
        KeyPrint::of(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// The SHA-256 of a key: what tables are keyed by and records name, so that the key itself is neither compared byte by
/// byte (which would leak its prefix in time) nor stored.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyPrint([u8; 32]);

impl KeyPrint {
    /// The fingerprint of a key's text.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// The first eight bytes, enough to tell a source's keys apart in a record.
    #[must_use]
    pub fn short(&self) -> [u8; 8] {
        let mut short = [0; 8];
        short.copy_from_slice(&self.0[..8]);
        short
    }
}

impl fmt::Debug for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPrint({:02x}{:02x}..)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_nothing_but_its_last_four() {
        let key = Secret::new("wk_test_abcdefgh9f2c");
        assert_eq!(format!("{key:?}"), "Secret(***)");
        assert_eq!(key.hint(), "...9f2c");
        assert_eq!(Secret::new("short").hint(), "...");
    }
}
