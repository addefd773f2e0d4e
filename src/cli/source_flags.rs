//! The flags of `source`: what can be done about a whole source.

use clap::{Args, Subcommand};

/// What can be done about a source.
#[derive(Debug, Clone, Subcommand)]
pub enum SourceCommand {
    /// Do without Segment for it: settings are served from here, events go to `RudderStack` alone, Segment is not contacted any more.
    Retire(RetireFlags),
    /// Give a retired source its route back.
    Unretire(UnretireFlags),
}

/// Flags of `source retire`.
#[derive(Debug, Clone, Args)]
pub struct RetireFlags {
    /// The source, by name or id.
    pub source: String,
    /// Only show the checklist.
    #[arg(long, env = "SEGUE_SOURCE_RETIRE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Retire it whatever is open.
    #[arg(long, env = "SEGUE_SOURCE_RETIRE_FORCE", hide_env = true)]
    pub force: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_SOURCE_RETIRE_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_SOURCE_RETIRE_YES", hide_env = true)]
    pub yes: bool,
}

/// Flags of `source unretire`.
#[derive(Debug, Clone, Args)]
pub struct UnretireFlags {
    /// The source, by name or id.
    pub source: String,
    /// Only show how it stands.
    #[arg(long, env = "SEGUE_SOURCE_UNRETIRE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_SOURCE_UNRETIRE_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_SOURCE_UNRETIRE_YES", hide_env = true)]
    pub yes: bool,
}
