//! What is wrong with a configuration, and how that reads.

use std::{fmt, path::PathBuf};

use serde::Serialize;

use super::Code;

/// Something wrong, in a form for people and for programs. It never contains a write key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of problem it is.
    pub code: Code,
    /// Whether it keeps segue from starting.
    pub severity: Severity,
    /// Where it is; None for what is nowhere, like a file that was not found.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// What is wrong: a sentence without a full stop.
    pub what: String,
    /// What to do about it: a sentence without a full stop.
    pub fix: String,
}

/// Whether a problem keeps segue from starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but looks wrong.
    Warning,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file, as it was named.
    pub file: PathBuf,
    /// Counted from 1.
    pub line: usize,
    /// Characters, counted from 1.
    pub column: usize,
    /// The line, with write keys masked.
    #[serde(skip)]
    pub excerpt: String,
    /// Where the carets stand: the first character of the excerpt, counted from 0, and how many there are.
    #[serde(skip)]
    pub carets: (usize, usize),
}

/// All problems of one configuration, in the order of their places.
#[derive(Debug, Clone, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Wraps problems.
    #[must_use]
    pub const fn new(list: Vec<Problem>) -> Self {
        Self(list)
    }

    /// The problems, errors and warnings, in the order of their places.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are of a severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.0.iter().filter(|problem| problem.severity == severity).count()
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = match &self.place {
            Some(place) => format!("{}: {}:{}:{}: {}", self.severity, place.file.display(), place.line, place.column, self.what),
            None => format!("{}: {}", self.severity, self.what),
        };
        writeln!(f, "{head:<HEAD_WIDTH$}  {}", self.code)?;
        match &self.place {
            Some(place) => {
                let (start, width) = place.carets;
                writeln!(f, "{:>5} | {}", place.line, place.excerpt)?;
                write!(f, "{:>5} | {:start$}{} {}", "", "", "^".repeat(width), self.fix)
            }
            None => write!(f, "  {}", self.fix),
        }
    }
}

impl fmt::Display for Problems {
    /// Each problem on lines of its own, and at the end what they mean together.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.0 {
            writeln!(f, "{problem}")?;
        }
        let errors = self.count(Severity::Error);
        let first = self.0.iter().find(|problem| errors == 0 || problem.severity == Severity::Error);
        let Some(first) = first else { return Ok(()) };
        match errors {
            0 => {}
            1 => f.write_str("Nothing was started. ")?,
            _ => write!(f, "{errors} errors. Nothing was started. ")?,
        }
        write!(f, "More: segue check --explain {}", first.code)
    }
}

/// Where the codes stand, when the sentence before them leaves room.
const HEAD_WIDTH: usize = 90;
