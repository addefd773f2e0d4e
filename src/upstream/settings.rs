//! What a client of an upstream can be told.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// How one upstream is reached (`[segment]`, `[rudderstack]` in the configuration).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Scheme and authority, `https://api.segment.io`; a path, when there is one, goes before every request's own.
    pub url: String,
    /// PEM roots trusted besides the usual ones, for a private data plane or a stand-in. None: only the usual ones.
    pub ca_file: Option<PathBuf>,
    /// Certificates (DER) trusted besides the usual ones, for a program that embeds segue. Usually empty.
    pub extra_roots: Vec<Vec<u8>>,
    /// Whether private, loopback and link-local addresses are acceptable.
    pub addresses: Addresses,
    /// The name servers that are asked for its addresses, one after the other; empty: the system is asked.
    pub resolver: Vec<SocketAddr>,
    /// From the start of a request to the end of its answer.
    pub timeout: Duration,
    /// Until a connection, TLS included, stands.
    pub connect_timeout: Duration,
    /// How many connections are kept idle.
    pub idle_connections_max: usize,
}

/// Which addresses a name may resolve to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    /// Public ones only: for Segment's own names, which must never lead back here or into a private network.
    PublicOnly,
    /// Any: for a data plane inside a company, for stand-ins.
    Any,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "https://api.segment.io".to_owned(),
            ca_file: None,
            extra_roots: Vec::new(),
            addresses: Addresses::Any,
            resolver: Vec::new(),
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            idle_connections_max: 32,
        }
    }
}
