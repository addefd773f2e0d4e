//! The flags of `hold` and `limit`: what can be done to lanes.

use clap::{Args, Subcommand, ValueEnum};

/// What can be done about holds.
#[derive(Debug, Clone, Subcommand)]
pub enum HoldCommand {
    /// Hold a lane, across restarts, until it is released.
    Set(HoldSetFlags),
    /// Let a held lane go on.
    Release(HoldReleaseFlags),
    /// Show every lane: its state, since when and why, and what became of its events.
    Ls,
}

/// One lane.
#[derive(Debug, Clone, Args)]
pub struct LaneName {
    /// The source, by name or id.
    pub source: String,
    /// The destination.
    pub destination: DestinationName,
}

/// Flags of `hold set`.
#[derive(Debug, Clone, Args)]
pub struct HoldSetFlags {
    /// The lane.
    #[command(flatten)]
    pub lane: LaneName,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_HOLD_SET_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only show how the lane stands.
    #[arg(long, env = "SEGUE_HOLD_SET_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_HOLD_SET_YES", hide_env = true)]
    pub yes: bool,
}

/// Flags of `hold release`.
#[derive(Debug, Clone, Args)]
pub struct HoldReleaseFlags {
    /// The lane.
    #[command(flatten)]
    pub lane: LaneName,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_HOLD_RELEASE_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only show how the lane stands.
    #[arg(long, env = "SEGUE_HOLD_RELEASE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_HOLD_RELEASE_YES", hide_env = true)]
    pub yes: bool,
}

/// A destination, as commands name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DestinationName {
    /// Segment.
    Segment,
    /// `RudderStack`.
    Rudderstack,
}

impl DestinationName {
    /// As metrics and the admin API name it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Rudderstack => "rudderstack",
        }
    }
}

/// Flags of `purge`.
#[derive(Debug, Clone, Args)]
pub struct PurgeFlags {
    /// The source's id: it must not be in the configuration any more.
    pub source: String,
    /// Only what waits for this destination.
    #[arg(long, value_name = "DESTINATION", env = "SEGUE_PURGE_DESTINATION", hide_env = true)]
    pub destination: Option<DestinationName>,
    /// The source once more: it cannot be undone.
    #[arg(long, value_name = "SOURCE", env = "SEGUE_PURGE_YES_I_MEAN_IT", hide_env = true)]
    pub yes_i_mean_it: Option<String>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_PURGE_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only show what would be given up.
    #[arg(long, env = "SEGUE_PURGE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
}

/// What can be done about limits.
#[derive(Debug, Clone, Subcommand)]
pub enum LimitCommand {
    /// Show all limits; those of the configuration beside those that differ from it.
    Ls,
    /// Limit a destination, or with --source one source's lane to it, across restarts.
    Set(LimitSetFlags),
}

/// Flags of `limit set`.
#[derive(Debug, Clone, Args)]
pub struct LimitSetFlags {
    /// The destination.
    pub destination: DestinationName,
    /// Events a second, like 200/s; or none.
    pub limit: String,
    /// Only this source's lane.
    #[arg(long, value_name = "SOURCE", env = "SEGUE_LIMIT_SET_SOURCE", hide_env = true)]
    pub source: Option<String>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_LIMIT_SET_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only show what would change.
    #[arg(long, env = "SEGUE_LIMIT_SET_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_LIMIT_SET_YES", hide_env = true)]
    pub yes: bool,
}
