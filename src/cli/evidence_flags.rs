//! The flags of `diff`, `trace`, `ledger`, `certificate` and `webhook`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::model::Span;

/// `diff`: what of both sides' events differs, or what to make of one difference.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct DiffArguments {
    /// One difference.
    #[command(subcommand)]
    pub command: Option<DiffCommand>,
    /// All of them.
    #[command(flatten)]
    pub flags: DiffFlags,
}

/// Flags of `diff`.
#[derive(Debug, Clone, Args)]
pub struct DiffFlags {
    /// Only this source, by name or id.
    pub source: Option<String>,
    /// Only what was first found under the route that the source has now.
    #[arg(long, env = "SEGUE_DIFF_NEW", hide_env = true)]
    pub new: bool,
    /// Also what was accepted or ignored, and what counts for nothing.
    #[arg(long, env = "SEGUE_DIFF_ALL", hide_env = true)]
    pub all: bool,
    /// Exit 4 unless both sides agree, with certainty, on more than this share of each source's events, like 99.9.
    #[arg(long, value_name = "PERCENT", env = "SEGUE_DIFF_FAIL_BELOW", hide_env = true)]
    pub fail_below: Option<f64>,
}

/// What can be done about one difference.
#[derive(Debug, Clone, Subcommand)]
pub enum DiffCommand {
    /// Show one, with some of the events that it was found in.
    Show {
        /// Its name, as `segue diff` tells it.
        id: String,
        /// Show what tells of a person, too: takes the role `reveal`.
        #[arg(long, env = "SEGUE_DIFF_SHOW_REVEAL", hide_env = true)]
        reveal: bool,
    },
    /// It is as it should be: events that differ in nothing else agree, those before included.
    Accept {
        /// Its name, as `segue diff` tells it.
        id: String,
        /// Why; kept in the history.
        #[arg(long, env = "SEGUE_DIFF_ACCEPT_REASON", hide_env = true)]
        reason: String,
    },
    /// It says nothing: whatever differs at that place is noise.
    Ignore {
        /// Its name, as `segue diff` tells it.
        id: String,
        /// Why; kept in the history.
        #[arg(long, env = "SEGUE_DIFF_IGNORE_REASON", hide_env = true)]
        reason: String,
    },
    /// Take back what was decided.
    Reopen {
        /// Its name.
        id: String,
        /// Why; kept in the history.
        #[arg(long, env = "SEGUE_DIFF_REOPEN_REASON", hide_env = true)]
        reason: Option<String>,
    },
}

/// Flags of `trace`.
#[derive(Debug, Clone, Args)]
pub struct TraceFlags {
    /// The event's messageId.
    pub message_id: String,
    /// The source, by name or id; two sources may use one messageId.
    #[arg(long, value_name = "SOURCE", env = "SEGUE_TRACE_SOURCE", hide_env = true)]
    pub source: Option<String>,
}

/// Flags of `ledger`.
#[derive(Debug, Clone, Args)]
pub struct LedgerFlags {
    /// Only this source, by name or id.
    pub source: Option<String>,
    /// Only what arrived within this time, like 1h or 30d.
    #[arg(long, value_name = "TIME", env = "SEGUE_LEDGER_SINCE", hide_env = true)]
    pub since: Option<Span>,
    /// A row for each revision, or for each minute (older ones by the hour, then by the day).
    #[arg(long, value_name = "WHAT", default_value = "revision", env = "SEGUE_LEDGER_BY", hide_env = true)]
    pub by: LedgerBy,
}

/// What a row of the ledger stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LedgerBy {
    /// A revision of the routes.
    Revision,
    /// A minute.
    Minute,
}

/// `certificate`: write one, or hold one against the history.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CertificateArguments {
    /// What to do with one that there is.
    #[command(subcommand)]
    pub command: Option<CertificateCommand>,
    /// The source whose cutover it is of, by name or id.
    #[arg(required = true)]
    pub source: Option<String>,
}

/// What can be done with a certificate.
#[derive(Debug, Clone, Subcommand)]
pub enum CertificateCommand {
    /// Hold a certificate against the history of changes: exit 3 when it does not stand there.
    Verify {
        /// The certificate as JSON, as `segue certificate SOURCE --json` writes it.
        file: PathBuf,
        /// The history, `changes.log` in the data directory; the configuration says where when it is not named.
        #[arg(long, value_name = "FILE", env = "SEGUE_CERTIFICATE_VERIFY_HISTORY", hide_env = true)]
        history: Option<PathBuf>,
    },
}

/// What can be done about webhooks.
#[derive(Debug, Clone, Subcommand)]
pub enum WebhookCommand {
    /// Print what to put where in both vendors' dashboards; exit 3 when the configuration lacks something.
    Setup {
        /// The source, by name or id.
        source: String,
        /// Where the vendors reach segue, like `https://hooks.acme.com`; else the address that it listens on stands for it.
        #[arg(long, value_name = "URL", env = "SEGUE_WEBHOOK_SETUP_URL", hide_env = true)]
        url: Option<String>,
    },
}
