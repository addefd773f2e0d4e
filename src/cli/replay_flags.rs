//! The flags of `replay`.

use clap::{Args, Subcommand};

use super::lane_flags::DestinationName;
use crate::model::Span;

/// What can be done about replays.
#[derive(Debug, Clone, Subcommand)]
pub enum ReplayCommand {
    /// Show what a replay would send; exit 3 when there is something.
    Plan(ReplayPlanFlags),
    /// Send events again that a destination was not to get, at a pace, behind what comes live.
    Start(ReplayStartFlags),
    /// Show all replays and how far they have come.
    List(ReplayListFlags),
    /// Stop one for a while.
    Pause(ReplayPauseFlags),
    /// Let a paused one go on.
    Resume(ReplayResumeFlags),
    /// End one; what it sent stays sent.
    Cancel(ReplayCancelFlags),
}

/// Flags of `replay plan`.
#[derive(Debug, Clone, Args)]
pub struct ReplayPlanFlags {
    /// The source, by name or id.
    pub source: String,
    /// The destination that gets them.
    #[arg(long, value_name = "DESTINATION", env = "SEGUE_REPLAY_PLAN_TO", hide_env = true)]
    pub to: DestinationName,
    /// Only those decided under this revision or a later one.
    #[arg(long, value_name = "REVISION", env = "SEGUE_REPLAY_PLAN_FIRST_REV", hide_env = true)]
    pub first_rev: Option<u64>,
    /// Only those decided under this revision or an earlier one.
    #[arg(long, value_name = "REVISION", env = "SEGUE_REPLAY_PLAN_LAST_REV", hide_env = true)]
    pub last_rev: Option<u64>,
    /// Only those that arrived so long ago or later, like 2h.
    #[arg(long, value_name = "TIME", env = "SEGUE_REPLAY_PLAN_SINCE", hide_env = true, conflicts_with = "from")]
    pub since: Option<Span>,
    /// Only those that arrived at this time or later, like 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME", env = "SEGUE_REPLAY_PLAN_FROM", hide_env = true)]
    pub from: Option<String>,
    /// Only those that arrived before this time.
    #[arg(long, value_name = "TIME", env = "SEGUE_REPLAY_PLAN_UNTIL", hide_env = true)]
    pub until: Option<String>,
    /// Also those that the destination was to get already: it gets them twice.
    #[arg(long, env = "SEGUE_REPLAY_PLAN_ALL", hide_env = true)]
    pub all: bool,
    /// Only those that this route would send there, like cutover=25%.
    #[arg(long, value_name = "ROUTE", env = "SEGUE_REPLAY_PLAN_BY_ROUTE", hide_env = true)]
    pub by_route: Option<String>,
    /// Events a second at most.
    #[arg(long, value_name = "RATE", default_value = "200/s", env = "SEGUE_REPLAY_PLAN_RATE", hide_env = true)]
    pub rate: String,
}

/// Flags of `replay start`.
#[derive(Debug, Clone, Args)]
pub struct ReplayStartFlags {
    /// The source, by name or id.
    pub source: String,
    /// The destination that gets them.
    #[arg(long, value_name = "DESTINATION", env = "SEGUE_REPLAY_START_TO", hide_env = true)]
    pub to: DestinationName,
    /// Only those decided under this revision or a later one.
    #[arg(long, value_name = "REVISION", env = "SEGUE_REPLAY_START_FIRST_REV", hide_env = true)]
    pub first_rev: Option<u64>,
    /// Only those decided under this revision or an earlier one.
    #[arg(long, value_name = "REVISION", env = "SEGUE_REPLAY_START_LAST_REV", hide_env = true)]
    pub last_rev: Option<u64>,
    /// Only those that arrived so long ago or later, like 2h.
    #[arg(long, value_name = "TIME", env = "SEGUE_REPLAY_START_SINCE", hide_env = true, conflicts_with = "from")]
    pub since: Option<Span>,
    /// Only those that arrived at this time or later, like 2026-01-02T03:04:05Z.
    #[arg(long, value_name = "TIME", env = "SEGUE_REPLAY_START_FROM", hide_env = true)]
    pub from: Option<String>,
    /// Only those that arrived before this time.
    #[arg(long, value_name = "TIME", env = "SEGUE_REPLAY_START_UNTIL", hide_env = true)]
    pub until: Option<String>,
    /// Also those that the destination was to get already: it gets them twice.
    #[arg(long, env = "SEGUE_REPLAY_START_ALL", hide_env = true)]
    pub all: bool,
    /// Only those that this route would send there, like cutover=25%.
    #[arg(long, value_name = "ROUTE", env = "SEGUE_REPLAY_START_BY_ROUTE", hide_env = true)]
    pub by_route: Option<String>,
    /// Events a second at most.
    #[arg(long, value_name = "RATE", default_value = "200/s", env = "SEGUE_REPLAY_START_RATE", hide_env = true)]
    pub rate: String,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_REPLAY_START_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only show what it would send.
    #[arg(long, env = "SEGUE_REPLAY_START_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_REPLAY_START_YES", hide_env = true)]
    pub yes: bool,
}

/// Flags of `replay list`.
#[derive(Debug, Clone, Args)]
pub struct ReplayListFlags {
    /// Go on until none runs any more.
    #[arg(long, env = "SEGUE_REPLAY_LIST_WATCH", hide_env = true)]
    pub watch: bool,
}

/// Flags of `replay pause`.
#[derive(Debug, Clone, Args)]
pub struct ReplayPauseFlags {
    /// Its name: the revision that started it.
    pub id: u64,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_REPLAY_PAUSE_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only show how it stands.
    #[arg(long, env = "SEGUE_REPLAY_PAUSE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
}

/// Flags of `replay resume`.
#[derive(Debug, Clone, Args)]
pub struct ReplayResumeFlags {
    /// Its name: the revision that started it.
    pub id: u64,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_REPLAY_RESUME_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only show how it stands.
    #[arg(long, env = "SEGUE_REPLAY_RESUME_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
}

/// Flags of `replay cancel`.
#[derive(Debug, Clone, Args)]
pub struct ReplayCancelFlags {
    /// Its name: the revision that started it.
    pub id: u64,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_REPLAY_CANCEL_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only show how it stands.
    #[arg(long, env = "SEGUE_REPLAY_CANCEL_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
}
