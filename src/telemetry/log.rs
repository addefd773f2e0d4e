//! Log lines: life cycle and trouble, never an event, never a key.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    sync::OnceLock,
    time::Duration,
};

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::FilterFn,
    fmt,
    layer::SubscriberExt,
    util::{SubscriberInitExt, TryInitError},
};

use super::{
    LogFormat, Settings,
    lines::{Lines, Paint},
};

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
    Taken(#[source] TryInitError),
    /// Standard error cannot be written to.
    #[error("the log cannot be written")]
    Output(#[source] io::Error),
}

/// The log of this process; there is one.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Starts logging to standard error, once a process; `RUST_LOG` counts more than the settings. Whatever the level: a log that is not read
/// holds up nothing, and of the libraries only errors are shown, as their other lines repeat what clients send.
///
/// # Errors
/// When the level is no filter, or the process logs already.
pub fn start_logging(settings: &Settings) -> Result<(), LogError> {
    let level = std::env::var("RUST_LOG").unwrap_or_else(|_| settings.level.clone());
    let filter = EnvFilter::try_new(&level).map_err(|source| LogError::Level { level, source })?;
    let terminal = io::stderr().is_terminal();
    let text = match settings.format {
        LogFormat::Text => true,
        LogFormat::Json => false,
        LogFormat::Auto => terminal,
    };
    let paint = if text && terminal && std::env::var_os("NO_COLOR").is_none() { Paint::Colours } else { Paint::None };
    // A handle of our own: the thread that writes may be stuck, and must not hold the lock of the process's.
    let out = File::from(io::stderr().as_fd().try_clone_to_owned().map_err(LogError::Output)?);
    let lines = Lines::start(out, paint).map_err(LogError::Output)?;
    let format = fmt::layer().with_writer(lines.clone());
    let format: Box<dyn Layer<Registry> + Send + Sync> = if text {
        format.with_target(false).with_ansi(paint == Paint::Colours).boxed()
    } else {
        format.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    let started = tracing_subscriber::registry().with(format.with_filter(filter).with_filter(FilterFn::new(is_ours))).try_init();
    started.map_err(LogError::Taken)?;
    let _ = LINES.set(lines);
    Ok(())
}

/// Waits a moment for lines that are still on their way out.
pub fn flush_log() {
    if let Some(lines) = LINES.get() {
        lines.flush(FLUSH_MAX);
    }
}

/// Whether the log has started.
pub(super) fn is_logging() -> bool {
    LINES.get().is_some()
}

/// Lines that the log's destination did not take.
pub(super) fn lines_lost() -> u64 {
    LINES.get().map_or(0, Lines::lost)
}

/// hyper, h2 and rustls tell of paths, names and headers at every level below this one.
fn is_ours(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    *metadata.level() == Level::ERROR || target == "segue" || target.starts_with("segue::")
}

/// The longest wait for a log that is not read.
const FLUSH_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::io::Read;

    use tracing::subscriber::with_default;

    use super::*;

    #[test]
    fn libraries_are_heard_only_when_they_fail() {
        let (mut read, write) = io::pipe().unwrap();
        let lines = Lines::start(write, Paint::None).unwrap();
        let filter = EnvFilter::new("trace,h2=trace,rustls=trace");
        let layer = fmt::layer().with_writer(lines.clone()).with_filter(filter).with_filter(FilterFn::new(is_ours));
        with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!("ours");
            tracing::warn!(target: "rustls::server", "Illegal SNI hostname received canary");
            tracing::trace!(target: "h2::hpack", "canary");
            tracing::warn!(target: "segue_of_others", "canary");
            tracing::error!(target: "tokio", "theirs");
        });
        lines.flush(Duration::from_secs(10));
        let mut said = vec![0; 4_096];
        let count = read.read(&mut said).unwrap();
        let said = String::from_utf8_lossy(&said[..count]);
        assert!(said.contains("ours") && said.contains("theirs") && !said.contains("canary"), "{said}");
    }
}
