//! The flags of `status` and `drain`.

use clap::{Args, Subcommand};

use crate::model::Span;

/// Flags of `status`.
#[derive(Debug, Clone, Args)]
pub struct StatusFlags {
    /// Go on, and tell each change in one sentence; with --json a line each.
    #[arg(long, env = "SEGUE_STATUS_WATCH", hide_env = true)]
    pub watch: bool,
    /// Only what concerns this source, by id or name.
    #[arg(long = "for", value_name = "SOURCE", env = "SEGUE_STATUS_FOR", hide_env = true)]
    pub source: Option<String>,
}

/// What to do about draining.
#[derive(Debug, Clone, Subcommand)]
pub enum DrainCommand {
    /// Say not ready, so that a load balancer sends elsewhere, and wait until nothing waits. What still comes is taken.
    On {
        /// How long to wait for the queues; 0s: do not.
        #[arg(long, value_name = "TIME", default_value = "25s", env = "SEGUE_DRAIN_ON_WAIT")]
        wait: Span,
        /// Only show how it is.
        #[arg(long, env = "SEGUE_DRAIN_ON_DRY_RUN", hide_env = true)]
        dry_run: bool,
    },
    /// Say ready again.
    Off {
        /// Only show how it is.
        #[arg(long, env = "SEGUE_DRAIN_OFF_DRY_RUN", hide_env = true)]
        dry_run: bool,
    },
}
