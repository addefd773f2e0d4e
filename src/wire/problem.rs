//! How the admin API says no: what happened, what it means for the data, what to do.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// [`schema::PROBLEM`](super::schema::PROBLEM)
    pub schema: String,
    /// The kind, for scripts.
    pub code: ProblemCode,
    /// What happened.
    pub what: String,
    /// What it means for the data.
    pub means: String,
    /// What to do.
    pub fix: String,
}

/// The kinds of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemCode {
    /// The request cannot be understood.
    BadRequest,
    /// No source, lane or path of that name.
    NotFound,
    /// No entry of that number in quarantine.
    NoEntry,
    /// Somebody else changed it since.
    Conflict,
    /// The configuration is wrong.
    Config,
    /// A rule of the configuration stands against it.
    Refused,
    /// The caller may not.
    Denied,
    /// The path does not take that method.
    NotAllowed,
    /// The body is too large.
    TooLarge,
    /// It took too long.
    TimedOut,
    /// The journal's disk refused.
    Disk,
    /// Others have all the places.
    Busy,
    /// The sidecar is stopping.
    Stopping,
    /// A kind that this reader does not know.
    #[serde(other)]
    Other,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  {}\n  {}", self.what, self.means, self.fix)
    }
}
