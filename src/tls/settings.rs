//! What the TLS side can be told.

use std::path::PathBuf;

/// Settings of the TLS listener (`[tls]` in the configuration).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the certificates come from.
    pub mode: Mode,
    /// The names served. A local CA is constrained to exactly these and localhost.
    pub names: Vec<String>,
}

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// The local CA that `segue certs init` made in this directory; leaves are made and renewed while running.
    LocalCa {
        /// The directory of the CA.
        dir: PathBuf,
    },
    /// Files of the user's own, read again when they change; the last good ones are kept.
    Files {
        /// PEM chain, leaf first.
        cert: PathBuf,
        /// PEM private key.
        key: PathBuf,
    },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::LocalCa { dir: PathBuf::from("certs") },
            names: ["api.segment.io", "cdn.segment.com", "cdn-settings.segment.com", "events.eu1.segmentapis.com"]
                .map(str::to_owned)
                .to_vec(),
        }
    }
}
