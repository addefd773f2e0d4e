//! What is wrong with a configuration.

use std::path::PathBuf;

/// Something wrong, in a form for people and for programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What kind of problem it is.
    pub code: Code,
    /// Whether it keeps segue from starting.
    pub severity: Severity,
    /// Where it is; None for what is nowhere, like a file that was not found.
    pub place: Option<Place>,
    /// What is wrong, in one sentence without a full stop.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

/// The stable number of a kind of problem: `SG0103`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u16);

/// Whether a problem keeps segue from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but looks wrong.
    Warning,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Characters, counted from 1.
    pub column: usize,
    /// The line, with write keys masked.
    pub excerpt: String,
    /// How many characters of the line are meant, at least 1.
    pub width: usize,
}

/// All problems of one configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
#[error("{} problem(s)", .0.len())]
pub struct Problems(pub Vec<Problem>);
