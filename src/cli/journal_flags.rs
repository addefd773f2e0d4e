//! The flags of `journal`: what can be looked at in a data directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::{
    clock::Clock,
    model::{Span, WallTime},
};

/// Flags of `journal`.
#[derive(Debug, Clone, Args)]
pub struct JournalFlags {
    /// The data directory; else [journal] dir of the configuration.
    #[arg(long, global = true, value_name = "DIR", env = "SEGUE_JOURNAL_DIR")]
    pub dir: Option<PathBuf>,
    /// Only this source's records.
    #[arg(long, global = true, value_name = "SOURCE", env = "SEGUE_JOURNAL_SOURCE")]
    pub source: Option<String>,
    /// Only what arrived at this time or later: 2026-01-02T03:04:05Z, or 2h for two hours ago.
    #[arg(long, global = true, value_name = "TIME", env = "SEGUE_JOURNAL_FROM", value_parser = moment)]
    pub from: Option<WallTime>,
    /// Only what arrived before this time.
    #[arg(long, global = true, value_name = "TIME", env = "SEGUE_JOURNAL_TO", value_parser = moment)]
    pub to: Option<WallTime>,
    /// What to do.
    #[command(subcommand)]
    pub command: JournalCommand,
}

/// What can be done with a data directory. None of it changes anything there.
#[derive(Debug, Clone, Subcommand)]
pub enum JournalCommand {
    /// List volumes, who holds them, and what each lane still has to deliver.
    Ls,
    /// Read everything, and name each damaged place; exit 3 when there is one.
    Verify,
    /// Write the records and the quarantine as JSON Lines; exit 3 when something damaged was passed over.
    Export {
        /// Show the clients' write keys, and bodies as base64 besides.
        #[arg(long, env = "SEGUE_JOURNAL_EXPORT_REVEAL")]
        reveal: bool,
    },
}

/// Whether the write keys in clients' bodies are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// As their last four characters.
    Masked,
    /// Whole.
    Shown,
}

/// A moment, or so long ago.
fn moment(text: &str) -> Result<WallTime, String> {
    let ago = |span: Span| Clock::system().now().plus_millis(-i64::try_from(span.0.as_millis()).unwrap_or(i64::MAX));
    WallTime::parse(text)
        .or_else(|| text.parse::<Span>().ok().map(ago))
        .ok_or_else(|| "a time like 2026-01-02T03:04:05Z, or how long ago, like 30m, 6h or 2d".to_owned())
}
