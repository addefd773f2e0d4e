//! The command line of `route ramp`.

use clap::{Args, Subcommand, ValueEnum};

/// Moves a source step by step, each through green gates; or shows and steers ramps that run.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct RampFlags {
    /// What is done about a ramp that runs.
    #[command(subcommand)]
    pub command: Option<RampCommand>,
    /// The source, by name or id.
    #[arg(required = true)]
    pub source: Option<String>,
    /// Shares like 10,25,50,100, or routes like shadow=10%,both,cutover=25%.
    #[arg(required = true)]
    pub steps: Option<String>,
    /// How long a step lasts at least.
    #[arg(long, value_name = "TIME", default_value = "30m", env = "SEGUE_ROUTE_RAMP_EVERY", hide_env = true)]
    pub every: String,
    /// What plain shares are: people moved, or copies.
    #[arg(long, value_enum, default_value_t, env = "SEGUE_ROUTE_RAMP_KIND", hide_env = true)]
    pub kind: Kind,
    /// Other bounds than those of [gates]: parity>=99.95%,lag<=2s; parity=off leaves a gate out.
    #[arg(long, value_name = "BOUNDS", env = "SEGUE_ROUTE_RAMP_GATE", hide_env = true)]
    pub gate: Vec<String>,
    /// What to do while a gate is red: stay, or go a step back when Segment gets more by that.
    #[arg(long, value_enum, default_value_t, env = "SEGUE_ROUTE_RAMP_ON_RED", hide_env = true)]
    pub on_red: Red,
    /// The share of people whose events Segment gets besides, in all steps; it stays when it is not given.
    #[arg(long, value_name = "SHARE", env = "SEGUE_ROUTE_RAMP_VERIFY", hide_env = true)]
    pub verify: Option<String>,
    /// Why, for the history.
    #[arg(long, value_name = "TEXT", env = "SEGUE_ROUTE_RAMP_REASON", hide_env = true)]
    pub reason: Option<String>,
    /// Only when the source is still at this revision; else exit 75.
    #[arg(long, value_name = "REVISION", env = "SEGUE_ROUTE_RAMP_IF_REV", hide_env = true)]
    pub if_rev: Option<u64>,
    /// Only say what it would do.
    #[arg(long, env = "SEGUE_ROUTE_RAMP_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_ROUTE_RAMP_YES", hide_env = true)]
    pub yes: bool,
}

/// What plain shares are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Kind {
    /// People moved from Segment to RudderStack.
    #[default]
    Cutover,
    /// Copies beside Segment.
    Shadow,
}

/// What to do while a gate is red.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Red {
    /// Stay.
    #[default]
    Hold,
    /// A step back, when Segment gets more by that.
    Back,
}

/// What is done about ramps that run.
#[derive(Debug, Clone, Subcommand)]
pub enum RampCommand {
    /// Show ramps: how far they are, what they wait for; exit 3 when one is held or paused.
    Status {
        /// Only this source's, by name or id.
        source: Option<String>,
    },
    /// Stop a ramp for a while; the route stays, whatever the gates say.
    Pause {
        /// The source, by name or id.
        source: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT", env = "SEGUE_ROUTE_RAMP_PAUSE_REASON", hide_env = true)]
        reason: Option<String>,
        /// Only show how it stands.
        #[arg(long, env = "SEGUE_ROUTE_RAMP_PAUSE_DRY_RUN", hide_env = true)]
        dry_run: bool,
    },
    /// Let a paused ramp go on, or one that went back.
    Resume {
        /// The source, by name or id.
        source: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT", env = "SEGUE_ROUTE_RAMP_RESUME_REASON", hide_env = true)]
        reason: Option<String>,
        /// Only show how it stands.
        #[arg(long, env = "SEGUE_ROUTE_RAMP_RESUME_DRY_RUN", hide_env = true)]
        dry_run: bool,
        /// Do not ask.
        #[arg(short, long, env = "SEGUE_ROUTE_RAMP_RESUME_YES", hide_env = true)]
        yes: bool,
    },
    /// End a ramp; the route stays as it is.
    Abort {
        /// The source, by name or id.
        source: String,
        /// Why, for the history.
        #[arg(long, value_name = "TEXT", env = "SEGUE_ROUTE_RAMP_ABORT_REASON", hide_env = true)]
        reason: Option<String>,
        /// Only show how it stands.
        #[arg(long, env = "SEGUE_ROUTE_RAMP_ABORT_DRY_RUN", hide_env = true)]
        dry_run: bool,
    },
}

impl Kind {
    /// As the admin API takes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cutover => "cutover",
            Self::Shadow => "shadow",
        }
    }
}

impl Red {
    /// As the admin API takes it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Back => "back",
        }
    }
}
