//! The flags of `quarantine`.

use clap::{Args, Subcommand};

use super::lane_flags::DestinationName;

/// What can be done about the quarantine.
#[derive(Debug, Clone, Subcommand)]
pub enum QuarantineCommand {
    /// List what is in it, oldest first.
    Ls(QuarantineLsFlags),
    /// Show one event with the answer that refused it; what tells of a person is masked.
    Show(QuarantineShowFlags),
    /// Send events again.
    Redrive(QuarantineRedriveFlags),
    /// Give events up: they are gone, and count as purged.
    Release(QuarantineReleaseFlags),
}

/// Flags of `quarantine ls`.
#[derive(Debug, Clone, Args)]
pub struct QuarantineLsFlags {
    /// Those of this source.
    #[arg(long, env = "SEGUE_QUARANTINE_LS_SOURCE", hide_env = true)]
    pub source: Option<String>,
    /// Those that this destination refused.
    #[arg(long, env = "SEGUE_QUARANTINE_LS_DESTINATION", hide_env = true)]
    pub destination: Option<DestinationName>,
    /// Those whose reason contains this text.
    #[arg(long, env = "SEGUE_QUARANTINE_LS_REASON", hide_env = true)]
    pub reason: Option<String>,
}

/// Flags of `quarantine show`.
#[derive(Debug, Clone, Args)]
pub struct QuarantineShowFlags {
    /// The entry's number.
    pub id: u64,
    /// Show what tells of a person, too. The sidecar's log says that somebody looked.
    #[arg(long, env = "SEGUE_QUARANTINE_SHOW_REVEAL", hide_env = true)]
    pub reveal: bool,
}

/// Flags of `quarantine redrive`.
#[derive(Debug, Clone, Args)]
pub struct QuarantineRedriveFlags {
    /// The entry's number.
    pub id: Option<u64>,
    /// Those of this source.
    #[arg(long, env = "SEGUE_QUARANTINE_REDRIVE_SOURCE", hide_env = true)]
    pub source: Option<String>,
    /// Those that this destination refused.
    #[arg(long, env = "SEGUE_QUARANTINE_REDRIVE_DESTINATION", hide_env = true)]
    pub destination: Option<DestinationName>,
    /// Those whose reason contains this text.
    #[arg(long, env = "SEGUE_QUARANTINE_REDRIVE_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// All.
    #[arg(long, env = "SEGUE_QUARANTINE_REDRIVE_ALL", hide_env = true)]
    pub all: bool,
    /// Only say how many are meant.
    #[arg(long, env = "SEGUE_QUARANTINE_REDRIVE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_QUARANTINE_REDRIVE_YES", hide_env = true)]
    pub yes: bool,
}

/// Flags of `quarantine release`.
#[derive(Debug, Clone, Args)]
pub struct QuarantineReleaseFlags {
    /// The entry's number.
    pub id: Option<u64>,
    /// Those of this source.
    #[arg(long, env = "SEGUE_QUARANTINE_RELEASE_SOURCE", hide_env = true)]
    pub source: Option<String>,
    /// Those that this destination refused.
    #[arg(long, env = "SEGUE_QUARANTINE_RELEASE_DESTINATION", hide_env = true)]
    pub destination: Option<DestinationName>,
    /// Those whose reason contains this text.
    #[arg(long, env = "SEGUE_QUARANTINE_RELEASE_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// All.
    #[arg(long, env = "SEGUE_QUARANTINE_RELEASE_ALL", hide_env = true)]
    pub all: bool,
    /// Only say how many are meant.
    #[arg(long, env = "SEGUE_QUARANTINE_RELEASE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_QUARANTINE_RELEASE_YES", hide_env = true)]
    pub yes: bool,
}
