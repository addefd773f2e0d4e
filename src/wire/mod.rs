//! What the admin API says: the JSON that the sidecar and its clients both speak.
//!
//! Plain data, and how times and names are written in it. Every object names its form in `schema`. Write keys are in none of them.
//! A reader ignores members that it does not know.

mod certificate;
mod evidence;
mod lane;
mod limit;
mod prediction;
mod problem;
mod quarantine;
mod ramp;
mod replay;
mod retirement;
mod route;
mod sent;
mod series;
mod status;
mod tap;
mod versions;

pub use certificate::{Certificate, HistoryMark};
pub use evidence::{
    AnswerClass, Evidence, Finding, FindingAsked, FindingDetail, FindingSample, Findings, Hop, LedgerBook, LedgerRow, NoiseCount, Parity,
    Tally, TapStanding, Trace, VersionParity,
};
pub use lane::{Health, HoldAsked, Lane, LaneAnswer, Lanes, Ledger, Me, PurgeAnswer, PurgeAsked};
pub use limit::{Limit, LimitAsked, LimitChanged, Limits};
pub use prediction::{NamePrediction, Prediction, PredictionSample, Predictions};
pub use problem::{Problem, ProblemCode};
pub use quarantine::{QuarantineDetail, QuarantineEntry, QuarantineMoved, QuarantinePage, QuarantinePick};
pub use ramp::{GateStatus, RampAnswer, RampAsked, RampBegun, RampStatus, RampStepAsked, Ramps};
pub use replay::{ReplayAnswer, ReplayAsked, ReplayJob, ReplayPlan, ReplayStepAsked, Replays};
pub use retirement::{RetireAsked, RetireItem, Retirement};
pub use route::{
    AppShare, AuditVerdict, Impact, KeyMoved, KillAsked, KillStatus, Recent, ReloadAnswer, ReloadAsked, RouteAsked, RouteChanged,
    RouteEvent, RouteHistory, RouteShares, Routes, RoutesChanged, Shift, SourceRoute, SourceRule, UndoAsked,
};
pub use sent::{DiffGroup, Difference, SentCopy, SentDiffs, SentEvent};
pub use series::{Lines, Series, SourceLines};
pub use status::{Answers, DestinationStatus, Figures, JournalStatus, Latency, Lost, Snapshot, SourceFigures, Status, Trouble};
pub use tap::{Tap, TapOutcome, TapRow};
pub use versions::{StopOutlook, VersionSeen, Versions};

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
    /// [`Limits`](super::Limits)
    pub const LIMITS: &str = "segue.limits/v1";
    /// [`LimitChanged`](super::LimitChanged)
    pub const LIMIT_CHANGED: &str = "segue.limit-changed/v1";
    /// [`ReplayPlan`](super::ReplayPlan)
    pub const REPLAY_PLAN: &str = "segue.replay-plan/v1";
    /// [`Replays`](super::Replays)
    pub const REPLAYS: &str = "segue.replays/v1";
    /// [`ReplayAnswer`](super::ReplayAnswer)
    pub const REPLAY: &str = "segue.replay/v1";
    /// [`Ramps`](super::Ramps)
    pub const RAMPS: &str = "segue.ramps/v1";
    /// [`RampAnswer`](super::RampAnswer)
    pub const RAMP: &str = "segue.ramp/v1";
    /// [`RampBegun`](super::RampBegun)
    pub const RAMP_BEGUN: &str = "segue.ramp-begun/v1";
    /// [`PurgeAnswer`](super::PurgeAnswer)
    pub const PURGE: &str = "segue.purge/v1";
    /// [`Retirement`](super::Retirement)
    pub const RETIREMENT: &str = "segue.retirement/v1";
    /// [`Status`](super::Status)
    pub const STATUS: &str = "segue.status/v1";
    /// [`Snapshot`](super::Snapshot)
    pub const SNAPSHOT: &str = "segue.snapshot/v1";
    /// [`Figures`](super::Figures)
    pub const FIGURES: &str = "segue.figures/v1";
    /// [`Series`](super::Series)
    pub const SERIES: &str = "segue.series/v1";
    /// [`Tap`](super::Tap)
    pub const TAP: &str = "segue.tap/v1";
    /// [`SentEvent`](super::SentEvent)
    pub const SENT_EVENT: &str = "segue.sent-event/v1";
    /// [`SentDiffs`](super::SentDiffs)
    pub const SENT_DIFFS: &str = "segue.sent-diffs/v1";
    /// [`Versions`](super::Versions)
    pub const VERSIONS: &str = "segue.versions/v1";
    /// [`Certificate`](super::Certificate)
    pub const CERTIFICATE: &str = "segue.certificate/v1";
    /// [`Evidence`](super::Evidence)
    pub const EVIDENCE: &str = "segue.evidence/v1";
    /// [`Findings`](super::Findings)
    pub const FINDINGS: &str = "segue.findings/v1";
    /// [`FindingDetail`](super::FindingDetail)
    pub const FINDING: &str = "segue.finding/v1";
    /// [`LedgerBook`](super::LedgerBook)
    pub const LEDGER: &str = "segue.ledger/v1";
    /// [`Trace`](super::Trace)
    pub const TRACE: &str = "segue.trace/v1";
    /// [`Predictions`](super::Predictions)
    pub const PREDICTIONS: &str = "segue.predictions/v1";
    /// [`Problem`](super::Problem)
    pub const PROBLEM: &str = "segue.problem/v1";
}
