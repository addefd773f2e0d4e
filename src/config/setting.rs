//! Effective values, and where each came from.

use std::{fmt, path::PathBuf};

/// One value that is in force, as `segue config show` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its dotted key: `journal.size_max`, `source.web.route`.
    pub key: String,
    /// Its value as the file would write it; a write key as its hint.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file, and the line in it, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line, with its dashes.
    Flag(String),
}

/// A value from outside the files, which wins over them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The dotted key that it sets.
    pub key: &'static str,
    /// The value, as the file would write it.
    pub value: String,
    /// The flag or variable.
    pub origin: Origin,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}
