//! The flags of `versions` and `predictions`.

use clap::Args;

use crate::model::Span;

/// Flags of `versions`.
#[derive(Debug, Clone, Args)]
pub struct VersionsFlags {
    /// Only this source, by id or name.
    #[arg(value_name = "SOURCE")]
    pub source: Option<String>,
    /// Count only the events of the last days, 30d at most, or of the last hours, up to 24h. Without it: all since counting began.
    #[arg(long, value_name = "TIME", env = "SEGUE_VERSIONS_SINCE", hide_env = true)]
    pub since: Option<Span>,
    /// Print comma-separated values, with everything that is known.
    #[arg(long, env = "SEGUE_VERSIONS_CSV", hide_env = true)]
    pub csv: bool,
}

/// Flags of `predictions`.
#[derive(Debug, Clone, Args)]
pub struct PredictionsFlags {
    /// Only this source, by id or name.
    #[arg(value_name = "SOURCE")]
    pub source: Option<String>,
}
