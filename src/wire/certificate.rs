//! The certificate of a cutover: what was done to a source's route, and what is known of its events.

use serde::{Deserialize, Serialize};

use super::{Finding, LedgerRow, Parity, RouteEvent, RouteShares};

/// What can be said of one source at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// [`schema::CERTIFICATE`](super::schema::CERTIFICATE)
    pub schema: String,
    /// The source's id.
    pub source: String,
    /// Its name.
    pub name: String,
    /// When it was written.
    pub issued_at: String,
    /// The segue that knows all this.
    pub version: String,
    /// Its route.
    pub route: RouteShares,
    /// What was done to its route, and what was decided about its differences, oldest first.
    pub changes: Vec<RouteEvent>,
    /// How its events ended, by destination and revision.
    pub ledger: Vec<LedgerRow>,
    /// How far both sides agree, since its route is what it is.
    pub parity: Vec<Parity>,
    /// Differences between what both vendors emitted, those that were accepted included.
    pub findings: Vec<Finding>,
    /// Its events in quarantine.
    pub quarantined: u64,
    /// What speaks against calling it done; empty: nothing that segue knows.
    pub open: Vec<String>,
    /// Where it stands in the history.
    pub history: HistoryMark,
}

/// Where a certificate stands in the history of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryMark {
    /// How many lines there were.
    pub lines: u64,
    /// The seal of the last of them: whoever has the history can compute it from its first line on.
    pub seal: String,
    /// Whether every line held.
    pub holds: bool,
}
