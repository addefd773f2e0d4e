//! The command line of what changes routes: `route`, `kill`, `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ramp_flags::RampFlags;

/// What can be done about routes.
#[derive(Debug, Clone, Subcommand)]
pub enum RouteCommand {
    /// Show routes: what is in force, and where it differs from the configuration.
    Get(RouteGetFlags),
    /// Change a source's route, from the next event on.
    Set(RouteSetFlags),
    /// Show what a change would do; exit 3 when it would change something.
    Plan(RoutePlanFlags),
    /// Move a source in steps, each when its gates were green for a while: status, pause, resume, abort.
    Ramp(Box<RampFlags>),
    /// Take a change back, by another change.
    Undo(RouteUndoFlags),
    /// Show the newest changes.
    History(RouteHistoryFlags),
}

/// Flags of `route get`.
#[derive(Debug, Clone, Args)]
pub struct RouteGetFlags {
    /// Only this source, by name or id.
    pub source: Option<String>,
    /// As TOML for the configuration file.
    #[arg(long, env = "SEGUE_ROUTE_GET_TOML", hide_env = true)]
    pub toml: bool,
}

/// Flags of `route set`.
#[derive(Debug, Clone, Args)]
pub struct RouteSetFlags {
    /// The source, by name or id.
    pub source: String,
    /// The route: segment-only, shadow=25%, both, cutover=25% or rudderstack-only.
    pub route: String,
    /// The share of people whose events Segment gets besides; it stays when it is not given.
    #[arg(long, value_name = "SHARE", env = "SEGUE_ROUTE_SET_VERIFY", hide_env = true)]
    pub verify: Option<String>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_ROUTE_SET_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only when the source is still at this revision; else exit 75.
    #[arg(long, value_name = "REVISION", env = "SEGUE_ROUTE_SET_IF_REV", hide_env = true)]
    pub if_rev: Option<u64>,
    /// Only say what would change.
    #[arg(long, env = "SEGUE_ROUTE_SET_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_ROUTE_SET_YES", hide_env = true)]
    pub yes: bool,
}

/// Flags of `route plan`.
#[derive(Debug, Clone, Args)]
pub struct RoutePlanFlags {
    /// The source, by name or id.
    pub source: String,
    /// The route.
    pub route: String,
    /// The share of people whose events Segment gets besides.
    #[arg(long, value_name = "SHARE", env = "SEGUE_ROUTE_PLAN_VERIFY", hide_env = true)]
    pub verify: Option<String>,
}

/// Flags of `route undo`.
#[derive(Debug, Clone, Args)]
pub struct RouteUndoFlags {
    /// Only this source's newest change; else the newest of all.
    pub source: Option<String>,
    /// All changes after this revision.
    #[arg(long, value_name = "REVISION", env = "SEGUE_ROUTE_UNDO_TO_REV", hide_env = true, conflicts_with = "source")]
    pub to_rev: Option<u64>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_ROUTE_UNDO_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only say what would change.
    #[arg(long, env = "SEGUE_ROUTE_UNDO_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Also send, at this rate, what one side alone got meanwhile to the side that gets it again, like 300/s.
    #[arg(long, value_name = "RATE", env = "SEGUE_ROUTE_UNDO_BACKFILL", hide_env = true)]
    pub backfill: Option<String>,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_ROUTE_UNDO_YES", hide_env = true)]
    pub yes: bool,
}

/// Flags of `route history`.
#[derive(Debug, Clone, Args)]
pub struct RouteHistoryFlags {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 20, env = "SEGUE_ROUTE_HISTORY_COUNT", hide_env = true)]
    pub count: usize,
}

/// What can be done about the kill switch.
#[derive(Debug, Clone, Subcommand)]
pub enum KillCommand {
    /// Send everything to Segment, at once.
    On {
        /// Why, for the history.
        #[arg(long, value_name = "TEXT", env = "SEGUE_KILL_ON_REASON", hide_env = true)]
        reason: Option<String>,
        /// Only show how it stands.
        #[arg(long, env = "SEGUE_KILL_ON_DRY_RUN", hide_env = true)]
        dry_run: bool,
    },
    /// Let the routes decide again, and the queues go on.
    Off {
        /// Why, for the history.
        #[arg(long, value_name = "TEXT", env = "SEGUE_KILL_OFF_REASON", hide_env = true)]
        reason: Option<String>,
        /// Only show how it stands.
        #[arg(long, env = "SEGUE_KILL_OFF_DRY_RUN", hide_env = true)]
        dry_run: bool,
        /// Do not ask.
        #[arg(short, long, env = "SEGUE_KILL_OFF_YES", hide_env = true)]
        yes: bool,
    },
    /// Show whether it is on; exit 3 when it is.
    Status,
}

/// What can be done with the record of changes.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Show the newest changes.
    Ls(AuditLsFlags),
    /// Find lines that were changed or removed; exit 3 when there is one.
    Verify(AuditVerifyFlags),
}

/// Flags of `audit ls`.
#[derive(Debug, Clone, Args)]
pub struct AuditLsFlags {
    /// How many.
    #[arg(short = 'n', long, default_value_t = 20, env = "SEGUE_AUDIT_LS_COUNT", hide_env = true)]
    pub count: usize,
}

/// Flags of `audit verify`.
#[derive(Debug, Clone, Args)]
pub struct AuditVerifyFlags {
    /// The file, else that of the configuration's data directory; it is read as it is, running sidecar or not.
    pub file: Option<PathBuf>,
}
