//! The flags of `doctor`.

use std::path::PathBuf;

use clap::Args;

use crate::model::Span;

/// Flags of `doctor`.
#[derive(Debug, Clone, Args)]
pub struct DoctorFlags {
    /// How long each look may take.
    #[arg(long, value_name = "TIME", default_value = "5s", env = "SEGUE_DOCTOR_TIMEOUT", hide_env = true)]
    pub timeout: Span,
    /// Look at this machine alone: ask neither Segment nor `RudderStack` anything.
    #[arg(long, env = "SEGUE_DOCTOR_OFFLINE", hide_env = true)]
    pub offline: bool,
    /// Write what was found to this file besides, as JSON, for whoever helps. No key stands in it.
    #[arg(long, value_name = "FILE", env = "SEGUE_DOCTOR_REPORT", hide_env = true)]
    pub report: Option<PathBuf>,
}
