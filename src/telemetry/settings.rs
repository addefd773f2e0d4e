//! What telemetry can be told.

use std::net::SocketAddr;

/// Settings of logs and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where `/metrics`, `/healthz` and `/readyz` are served; None: nowhere.
    pub metrics: Option<SocketAddr>,
    /// How log lines look.
    pub format: LogFormat,
    /// The least level that is logged, or a filter as `RUST_LOG` takes it.
    pub level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self { metrics: Some(SocketAddr::from(([127, 0, 0, 1], 9464))), format: LogFormat::Auto, level: "info".to_owned() }
    }
}
