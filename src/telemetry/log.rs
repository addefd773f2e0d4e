//! Log lines: life cycle and trouble, never an event, never a key.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, fmt};

use super::{LogFormat, Settings};

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` is no filter.
    #[error("`{level}` is no log level: write error, warn, info, debug, trace, or a filter like segue=debug")]
    Level {
        /// What was written.
        level: String,
        /// Why it is none.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The program that embeds segue logs already.
    #[error("this process logs already")]
    Taken,
}

/// rustls warns of what any client may send, once a connection: such lines are for whoever asks for them.
const QUIET: &str = "rustls=error";

/// Starts logging to standard error, once a process; `RUST_LOG` counts more than the settings.
///
/// # Errors
/// When the level is no filter, or the process logs already.
pub fn start_logging(settings: &Settings) -> Result<(), LogError> {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.level.clone());
    let filter = EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|source| LogError::Level { level, source })?;
    // A line that cannot be written, as its reader is gone, is no reason to fail: the complaint about it would panic.
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    let text = match settings.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => std::io::stderr().is_terminal(),
    };
    let started = if text {
        lines.with_target(false).with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()).try_init()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
    };
    started.map_err(|_| LogError::Taken)
}
