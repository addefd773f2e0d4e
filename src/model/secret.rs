//! Keys and tokens that must never be printed.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// A write key, token or private key: shown nowhere, not in `Debug`, not in errors, not in logs. Its memory is overwritten when it is
/// dropped; two are compared by their fingerprints, so that the time it takes tells nothing of the text.
#[derive(Clone)]
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

    /// The text without this secret, wherever somebody repeats it: each occurrence becomes `***`.
    #[must_use]
    pub fn cut_from(&self, text: String) -> String {
        if self.0.is_empty() || !text.contains(&self.0) { text } else { text.replace(&self.0, "***") }
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.print() == other.print()
    }
}

impl Eq for Secret {}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
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

    #[test]
    fn secrets_are_equal_when_their_texts_are() {
        assert_eq!(Secret::new("wk_test_a"), Secret::new("wk_test_a"));
        assert_ne!(Secret::new("wk_test_a"), Secret::new("wk_test_b"));
    }

    #[test]
    fn a_repeated_secret_is_cut_from_a_text() {
        let key = Secret::new("wk_test_a");
        assert_eq!(key.cut_from("no key wk_test_a, wk_test_a!".to_owned()), "no key ***, ***!");
        assert_eq!(key.cut_from("nothing".to_owned()), "nothing");
        assert_eq!(Secret::new("").cut_from("abc".to_owned()), "abc");
    }
}
