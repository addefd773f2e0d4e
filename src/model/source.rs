//! The identity of a source.

use std::{fmt, sync::Arc};

/// The stable id of a source: what records, cursors and counters are filed under, through renames and key rotation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(Arc<str>);

/// Why a text is no source id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceIdError {
    /// Nothing, or more than 64 bytes.
    #[error("an id has 1 to 64 characters")]
    Length,
    /// A character that would need quoting in metrics, file names or commands.
    #[error("an id is made of letters, digits, '-', '_' and '.'")]
    Character,
}

impl SourceId {
    /// Reads an id: 1 to 64 ASCII letters, digits, `-`, `_`, `.`.
    ///
    /// # Errors
    /// When it is empty, too long, or has another character.
    pub fn parse(text: &str) -> Result<Self, SourceIdError> {
        if text.is_empty() || text.len() > 64 {
            return Err(SourceIdError::Length);
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return Err(SourceIdError::Character);
        }
        Ok(Self(Arc::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
