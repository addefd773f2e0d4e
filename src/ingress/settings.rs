//! What the ingress can be told.

use std::{net::SocketAddr, time::Duration};

use ipnet::IpNet;

use crate::model::{ByteSize, Secret};

/// Settings of the listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The plain HTTP listener; None: off.
    pub listen: Option<SocketAddr>,
    /// The TLS listener; None: off.
    pub listen_tls: Option<SocketAddr>,
    /// Proxies in front of segue whose `X-Forwarded-For` is believed. Loopback is one of them when listed only.
    pub trusted_proxies: Vec<IpNet>,
    /// The host under which apps reach segue, written into settings' `apiHost`; None: `apiHost` is left as it is.
    pub public_host: Option<String>,
    /// What happens when the journal cannot write.
    pub on_full: OnFull,
    /// Where vendors' webhooks come in.
    pub hooks: Hooks,
    /// Limits on what clients may do.
    pub limits: Limits,
}

/// The listener for vendors' webhooks, which is one of its own: it is open to the internet, and clients' is not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hooks {
    /// Plain HTTP, for a proxy in front; None: off.
    pub listen: Option<SocketAddr>,
    /// TLS with the certificates of the clients' listener; None: off.
    pub listen_tls: Option<SocketAddr>,
    /// What Segment signs with, the current one first; empty: nothing of Segment's is taken.
    pub segment_secrets: Vec<Secret>,
    /// What stands in the path of RudderStack's tap, the current one first; empty: it is off.
    pub rudderstack_secrets: Vec<Secret>,
    /// Whether events are taken from arrays too, of which Segment signs the first alone.
    pub allow_arrays: bool,
}

impl Hooks {
    /// Whether both vendors' taps are there.
    #[must_use]
    pub const fn has_taps(&self) -> bool {
        (self.listen.is_some() || self.listen_tls.is_some()) && !self.segment_secrets.is_empty() && !self.rudderstack_secrets.is_empty()
    }
}

/// What a source with a share of Segment gets when the journal cannot write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFull {
    /// Its requests are relayed live to Segment.
    Relay,
    /// 429, and the SDK keeps its events.
    Answer429,
}

/// Limits on clients (reliability.md 3b). A limit that is hit closes or refuses; it never grows memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Open connections, over all clients. One more takes the place of the one that is worth least: first those that never
    /// had an answer, the oldest before the others, then idle ones. The limit on open files may lower it.
    pub connections_max: usize,
    /// Open connections of one address; one more takes the place of another of its own. Trusted proxies and loopback are exempt.
    pub connections_per_ip_max: usize,
    /// Until the TLS handshake is done.
    pub handshake_timeout: Duration,
    /// Until the request's head is read.
    pub header_timeout: Duration,
    /// Until the request's body is read.
    pub body_timeout: Duration,
    /// After a grace of ten seconds a body that comes slower than this, in bytes a second, is cut, and so is a connection that
    /// takes its answers slower.
    pub body_rate_min: ByteSize,
    /// A connection without a request is closed after this.
    pub idle_timeout: Duration,
    /// The most a request's head may take.
    pub header_bytes_max: ByteSize,
    /// The most header fields.
    pub headers_max: usize,
    /// The most a body may take on the wire.
    pub body_bytes_max: ByteSize,
    /// The most a body may take inflated.
    pub inflated_bytes_max: ByteSize,
    /// The most a gzip body may grow, as a factor.
    pub inflate_ratio_max: u32,
    /// Bodies in memory at one time, over all clients.
    pub pending_bytes_max: ByteSize,
    /// How long a live relay may take before the client hears 429.
    pub relay_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 8088))),
            listen_tls: None,
            trusted_proxies: Vec::new(),
            public_host: None,
            on_full: OnFull::Relay,
            hooks: Hooks::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 4_096,
            connections_per_ip_max: 256,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_mins(1),
            body_rate_min: ByteSize(1 << 10),
            idle_timeout: Duration::from_mins(1),
            header_bytes_max: ByteSize(16 << 10),
            headers_max: 64,
            body_bytes_max: ByteSize(4 << 20),
            inflated_bytes_max: ByteSize(4 << 20),
            inflate_ratio_max: 200,
            pending_bytes_max: ByteSize(64 << 20),
            relay_timeout: Duration::from_secs(5),
        }
    }
}
