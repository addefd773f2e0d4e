//! The commands and flags. The names of their environment twins follow from theirs, and a test holds that.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
};

use super::{
    census_flags::{PredictionsFlags, VersionsFlags},
    certs_flags::CertsCommand,
    doctor_flags::DoctorFlags,
    evidence_flags::{CertificateArguments, DiffArguments, LedgerFlags, TraceFlags, WebhookCommand},
    journal_flags::JournalFlags,
    lane_flags::{HoldCommand, LaneName, LimitCommand, PurgeFlags},
    quarantine_flags::QuarantineCommand,
    replay_flags::ReplayCommand,
    route_flags::{AuditCommand, KillCommand, RouteCommand},
    source_flags::SourceCommand,
    state_flags::{DrainCommand, StatusFlags},
    top_flags::{Theme, TopFlags},
};
use crate::{app::Attention, config::Code, model::Span};

/// A sidecar that your app talks to instead of Segment: durable delivery to Segment, RudderStack or both.
#[derive(Debug, Parser)]
#[command(
    name = "segue",
    version,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the answer is no, 69 no sidecar answers, 75 somebody else changed it, 76 done on some instances only, 77 not allowed, 78 the \
                  configuration is wrong, 124 not done in time (run: events of an ephemeral directory were left), 130 131 143 told to end \
                  at once."
)]
pub struct Cli {
    /// How it talks, and where it looks.
    #[command(flatten)]
    pub manner: Manner,
    /// What it does.
    #[command(subcommand)]
    pub command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Manner {
    /// The configuration file; else ./sidecar.toml, else /etc/segue/sidecar.toml.
    #[arg(short, long, global = true, value_name = "FILE", env = "SEGUE_CONFIG", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    config: Option<PathBuf>,
    /// The socket of the running sidecar, else [admin] socket of the configuration; repeated, of several: each in turn.
    #[arg(long, global = true, value_name = "PATH", env = "SEGUE_ATTACH", hide_env = true, value_delimiter = ',', value_parser = OsStringValueParser::new().map(PathBuf::from))]
    attach: Vec<PathBuf>,
    /// Print the result as JSON.
    #[arg(long, global = true, env = "SEGUE_JSON", hide_env = true)]
    pub json: bool,
    /// Talk less; twice: errors only.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, env = "SEGUE_QUIET", hide_env = true)]
    pub quiet: u8,
    /// Talk more; twice: everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, env = "SEGUE_VERBOSE", hide_env = true)]
    pub verbose: u8,
    /// Whether to use colour.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", env = "SEGUE_COLOR", hide_env = true)]
    pub color: Colour,
}

impl Command {
    /// Whether it speaks to the running sidecar, and so to each of several.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        matches!(
            self,
            Self::Status(_)
                | Self::Top(_)
                | Self::Versions(_)
                | Self::Predictions(_)
                | Self::Drain { .. }
                | Self::Route { .. }
                | Self::Replay { .. }
                | Self::Diff(_)
                | Self::Trace(_)
                | Self::Ledger(_)
                | Self::Kill { .. }
                | Self::Reload { .. }
                | Self::Hold { .. }
                | Self::Limit { .. }
                | Self::Purge(_)
                | Self::Unpark { .. }
                | Self::Quarantine { .. }
        )
    }
}

impl Command {
    /// Whether it goes on until it is told to end, so that no other could have its turn.
    #[must_use]
    pub const fn has_no_end(&self) -> bool {
        match self {
            Self::Top(_) => true,
            Self::Status(flags) => flags.watch,
            Self::Replay { command: ReplayCommand::List(flags) } => flags.watch,
            _ => false,
        }
    }
}

impl Manner {
    /// The file that the user named; an empty name, as an empty variable gives, is none.
    #[must_use]
    pub fn config(&self) -> Option<&Path> {
        self.config.as_deref().filter(|path| !path.as_os_str().is_empty())
    }

    /// The socket that the user named; an empty name is none.
    #[must_use]
    pub fn attach(&self) -> Option<&Path> {
        self.instances().next()
    }

    /// All sockets that the user named.
    pub fn instances(&self) -> impl Iterator<Item = &Path> {
        self.attach.iter().map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
    }

    /// The same, for one of them.
    #[must_use]
    pub fn of_instance(&self, path: &Path) -> Self {
        Self { attach: vec![path.to_owned()], ..self.clone() }
    }
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What segue does.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the sidecar in the foreground.
    Run(RunFlags),
    /// Run stand-ins of both vendors, the sidecar and traffic on loopback: no account, no configuration.
    Demo(DemoFlags),
    /// Watch the running sidecar in the terminal, and change its routes.
    Top(TopFlags),
    /// Check the configuration and tell everything that is wrong with it.
    Check(CheckFlags),
    /// Certificates of the TLS listener.
    Certs {
        /// What to do with them.
        #[command(subcommand)]
        command: CertsCommand,
    },
    /// Write or show the configuration.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Ask a running sidecar how it is: exit 0 or 1, for probes in images without curl.
    Health(HealthFlags),
    /// How the running sidecar is, in ten lines: exit 3 when something has to be mended.
    Status(StatusFlags),
    /// Which versions of which apps send events, and whether a source could do without Segment.
    Versions(VersionsFlags),
    /// What the vendors will not take, by their published rules: exit 3 when there is anything.
    Predictions(PredictionsFlags),
    /// Get the running sidecar ready to end.
    Drain {
        /// What to do.
        #[command(subcommand)]
        command: DrainCommand,
    },
    /// See and change which destinations each source's events go to.
    Route {
        /// What to do with them.
        #[command(subcommand)]
        command: RouteCommand,
    },
    /// Send events again from the journal: what a destination was not to get while its route was another.
    Replay {
        /// What to do.
        #[command(subcommand)]
        command: ReplayCommand,
    },
    /// Where what both vendors make of events differs: exit 3 when anything is open.
    Diff(DiffArguments),
    /// One event, through every hop.
    Trace(TraceFlags),
    /// How events ended, by source, destination and revision or minute.
    Ledger(LedgerFlags),
    /// What can be said of a source's cutover: Markdown, or JSON with --json; exit 3 when something is open.
    Certificate(CertificateArguments),
    /// The vendors' webhooks: taps to compare both, and Segment's as a way in.
    Webhook {
        /// What to do.
        #[command(subcommand)]
        command: WebhookCommand,
    },
    /// The kill switch: everything to Segment, above all routes, until it is turned off. Queues to `RudderStack` are held.
    Kill {
        /// What to do with it.
        #[command(subcommand)]
        command: KillCommand,
    },
    /// What was changed, and whether somebody tampered with the record of it.
    Audit {
        /// What to do with it.
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Have the running sidecar read its configuration again: checked whole, then put in force, or nothing is changed.
    Reload {
        /// Only check it and show what would change.
        #[arg(long, env = "SEGUE_RELOAD_DRY_RUN", hide_env = true)]
        dry_run: bool,
    },
    /// Hold lanes of the running sidecar: nothing is sent, everything is kept.
    Hold {
        /// What to do.
        #[command(subcommand)]
        command: HoldCommand,
    },
    /// Rate limits of the running sidecar: what is above them waits in the journal, the app never does.
    Limit {
        /// What to do.
        #[command(subcommand)]
        command: LimitCommand,
    },
    /// Find out why an app's events do not come here, or not on: run it where the app runs, in its environment.
    Doctor(DoctorFlags),
    /// Retire a source: the checklist, and the day when Segment is gone.
    Source {
        /// What to do.
        #[command(subcommand)]
        command: SourceCommand,
    },
    /// Give up what waits of a source that is gone from the configuration for good.
    Purge(PurgeFlags),
    /// Have a parked lane try again at once, after its key, URL or source was put right.
    Unpark {
        /// The lane.
        #[command(flatten)]
        lane: LaneName,
        /// Only show how it stands.
        #[arg(long, env = "SEGUE_UNPARK_DRY_RUN", hide_env = true)]
        dry_run: bool,
    },
    /// Events that a destination refuses for good: see them, send them again, give them up.
    Quarantine {
        /// What to do.
        #[command(subcommand)]
        command: QuarantineCommand,
    },
    /// List, verify or export what a data directory holds: without the lock, beside a running sidecar or without one.
    Journal(JournalFlags),
    /// Print the version and how this program was built.
    Version,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Run one of the vendors' stand-ins.
    #[command(hide = true)]
    Standin(Standin),
}

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
pub struct RunFlags {
    /// How long a stop may take, like 30s; with `journal.ephemeral` delivery goes on for as long.
    #[arg(long, value_name = "TIME", env = "SEGUE_RUN_DRAIN_TIMEOUT")]
    pub drain_timeout: Option<Span>,
    /// Look at the configuration every second, and read it again when it has changed.
    #[arg(long, env = "SEGUE_RUN_WATCH", hide_env = true)]
    pub watch: bool,
}

impl RunFlags {
    /// Whether the configuration is looked at.
    #[must_use]
    pub const fn attention(&self) -> Attention {
        if self.watch { Attention::Watch } else { Attention::WhenTold }
    }
}

/// Flags of `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoFlags {
    /// Show nothing while it runs, only the summary; exit 1 when anything was lost.
    #[arg(long, env = "SEGUE_DEMO_HEADLESS")]
    pub headless: bool,
    /// Stop after so many seconds; without it, on ctrl-c.
    #[arg(long, value_name = "N", env = "SEGUE_DEMO_SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,
    /// Events per second.
    #[arg(long, value_name = "N", default_value_t = 200, env = "SEGUE_DEMO_RATE", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// The seed of the traffic, to see the same again.
    #[arg(long, value_name = "N", env = "SEGUE_DEMO_SEED")]
    pub seed: Option<u64>,
    /// Print a line of figures each second instead of the dashboard; so it is without a terminal.
    #[arg(long, env = "SEGUE_DEMO_PLAIN", hide_env = true)]
    pub plain: bool,
    /// Write ASCII alone in the dashboard; so it is where the locale is not UTF-8.
    #[arg(long, env = "SEGUE_DEMO_ASCII", hide_env = true)]
    pub ascii: bool,
    /// The colours of the dashboard.
    #[arg(long, value_enum, default_value = "auto", env = "SEGUE_DEMO_THEME", hide_env = true)]
    pub theme: Theme,
}

/// Flags of `check`.
#[derive(Debug, Clone, Args)]
pub struct CheckFlags {
    /// The file to check; the same as --config.
    pub file: Option<PathBuf>,
    /// Explain the code of a problem, like SG0103; without one, list all codes.
    #[arg(long, value_name = "CODE", num_args = 0..=1, env = "SEGUE_CHECK_EXPLAIN", hide_env = true)]
    #[expect(clippy::option_option, reason = "absent, without a code, with a code: the three forms of one flag")]
    pub explain: Option<Option<Code>>,
    /// Exit 3 when there are warnings.
    #[arg(long, env = "SEGUE_CHECK_STRICT")]
    pub strict: bool,
    /// Look at the files only, not at this machine (the journal's directory).
    #[arg(long, env = "SEGUE_CHECK_OFFLINE")]
    pub offline: bool,
}

/// What can be done with the configuration.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// Write a first sidecar.toml. It overwrites nothing.
    Init,
    /// Print the JSON Schema of the configuration, for editors.
    Schema,
    /// Show every value in force and where it came from; keys as their last four characters.
    Show,
}

/// Flags of `health`.
#[derive(Debug, Clone, Args)]
pub struct HealthFlags {
    /// What to ask.
    pub probe: Probe,
    /// How long to wait for the answer.
    #[arg(long, value_name = "TIME", default_value = "1s", env = "SEGUE_HEALTH_TIMEOUT")]
    pub timeout: Span,
    /// The metrics listener; else `metrics` of the configuration.
    #[arg(long, value_name = "ADDRESS", env = "SEGUE_HEALTH_METRICS")]
    pub metrics: Option<SocketAddr>,
}

/// What a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Probe {
    /// Whether it turns: /healthz.
    Live,
    /// Whether it takes events: /readyz.
    Ready,
}

/// A stand-in.
#[derive(Debug, Clone, Args)]
pub struct Standin {
    /// Whose.
    pub vendor: Vendor,
    /// Its flags.
    #[command(flatten)]
    pub flags: StandinFlags,
}

/// Who is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Vendor {
    /// Segment's tracking API and CDN.
    Segment,
    /// A RudderStack data plane.
    Rudderstack,
}

/// Flags of `standin`.
#[derive(Debug, Clone, Args)]
pub struct StandinFlags {
    /// Where it listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0", env = "SEGUE_STANDIN_LISTEN")]
    pub listen: SocketAddr,
    /// A write key that it knows, repeated. Test keys only: flags are visible to other users.
    #[arg(long = "key", value_name = "KEY", env = "SEGUE_STANDIN_KEY", value_delimiter = ',', hide_env_values = true)]
    pub keys: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_commands_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_its_twin_in_the_environment() {
        let mut flags_count = 0;
        let mut commands = vec![("SEGUE".to_owned(), Cli::command())];
        while let Some((prefix, command)) = commands.pop() {
            for flag in command.get_arguments().filter(|flag| !flag.is_positional()) {
                let Some(long) = flag.get_long().filter(|long| !["help", "version"].contains(long)) else { continue };
                let twin = format!("{prefix}_{}", long.replace('-', "_").to_uppercase());
                assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(twin.as_str()), "--{long}");
                flags_count += 1;
            }
            for inner in command.get_subcommands() {
                commands.push((format!("{prefix}_{}", inner.get_name().to_uppercase()), inner.clone()));
            }
        }
        assert!(flags_count > 15, "{flags_count} flags seen");
    }
}
