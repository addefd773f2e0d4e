//! What the admin API says: the JSON that the sidecar and its clients both speak.
//!
//! Plain data, and how times and names are written in it. Every object names its form in `schema`. Write keys are in none of them.
//! A reader ignores members that it does not know.

mod lane;
mod problem;
mod quarantine;
mod route;

pub use lane::{Health, Lane, LaneAnswer, Lanes, Ledger, Me};
pub use problem::{Problem, ProblemCode};
pub use quarantine::{QuarantineDetail, QuarantineEntry, QuarantineMoved, QuarantinePage, QuarantinePick};
pub use route::{
    AuditVerdict, KillAsked, KillStatus, ReloadAnswer, RouteAsked, RouteChanged, RouteEvent, RouteHistory, RouteShares, Routes,
    RoutesChanged, SourceRoute, SourceRule, UndoAsked,
};

/// How many entries of the quarantine one answer has at most.
pub const PAGE_ENTRIES_MAX: usize = 100;

/// What an answer is, and in which version.
pub mod schema {
    /// [`Lanes`](super::Lanes)
    pub const LANES: &str = "segue.lanes/v1";
    /// [`LaneAnswer`](super::LaneAnswer)
    pub const LANE: &str = "segue.lane/v1";
    /// [`Health`](super::Health)
    pub const HEALTH: &str = "segue.admin-health/v1";
    /// [`Me`](super::Me)
    pub const ME: &str = "segue.me/v1";
    /// [`QuarantinePage`](super::QuarantinePage)
    pub const QUARANTINE: &str = "segue.quarantine/v1";
    /// [`QuarantineDetail`](super::QuarantineDetail)
    pub const QUARANTINE_ENTRY: &str = "segue.quarantine-entry/v1";
    /// [`QuarantineMoved`](super::QuarantineMoved)
    pub const QUARANTINE_MOVED: &str = "segue.quarantine-moved/v1";
    /// [`Routes`](super::Routes)
    pub const ROUTES: &str = "segue.routes/v1";
    /// [`RoutesChanged`](super::RoutesChanged)
    pub const ROUTES_CHANGED: &str = "segue.routes-changed/v1";
    /// [`RouteHistory`](super::RouteHistory)
    pub const ROUTE_HISTORY: &str = "segue.route-history/v1";
    /// [`KillStatus`](super::KillStatus)
    pub const KILL: &str = "segue.kill/v1";
    /// [`ReloadAnswer`](super::ReloadAnswer)
    pub const RELOAD: &str = "segue.reload/v1";
    /// [`AuditVerdict`](super::AuditVerdict)
    pub const AUDIT: &str = "segue.audit/v1";
    /// [`Problem`](super::Problem)
    pub const PROBLEM: &str = "segue.problem/v1";
}
