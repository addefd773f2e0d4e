//! How a stand-in is set up.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::Webhook;
use crate::clock::Clock;

/// What a stand-in needs to start; `Options::default()` with some [`keys`](Self::keys) will do.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The server's side of TLS; None serves plain HTTP. ALPN is whatever this says: offer `h2` and `http/1.1`.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The write keys this vendor knows; every other key is unknown to it (as a key of the other region is).
    pub keys: Vec<Key>,
    /// The clock that stamps arrivals.
    pub clock: Clock,
    /// How much of what is taken stays in memory.
    pub keep: Keep,
    /// Whether events may be passed on to webhooks that are named later.
    pub emits: bool,
    /// Where the events of sources are passed on to; with [`emits`](Self::emits), or one of these, more can be added while it runs.
    pub webhooks: Vec<Webhook>,
    /// The first wait before a post to a webhook is repeated; it doubles.
    pub webhook_retry: Duration,
    /// Segment only: the region, which settings name as `apiHost` when [`api_host`](Self::api_host) does not.
    pub region: Region,
    /// Segment only: the `apiHost` that `GET /v1/projects/<key>/settings` names, host and path without a scheme.
    pub api_host: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            keys: Vec::new(),
            clock: Clock::system(),
            keep: Keep::default(),
            emits: false,
            webhooks: Vec::new(),
            webhook_retry: Duration::from_secs(1),
            region: Region::Us,
            api_host: None,
        }
    }
}

/// A write key and the source behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key itself; stand-ins print keys freely, so never give them a real one.
    pub write_key: String,
    /// Whether the source takes events.
    pub state: KeyState,
    /// What kind of source it is, which only RudderStack's webhook path asks.
    pub kind: SourceKind,
}

impl Key {
    /// A key of a source that takes events.
    #[must_use]
    pub fn enabled(write_key: impl Into<String>) -> Self {
        Self { write_key: write_key.into(), state: KeyState::Enabled, kind: SourceKind::EventStream }
    }

    /// A key of a source that is switched off.
    #[must_use]
    pub fn disabled(write_key: impl Into<String>) -> Self {
        Self { state: KeyState::Disabled, ..Self::enabled(write_key) }
    }

    /// A key of a RudderStack source of the category `webhook`.
    #[must_use]
    pub fn webhook(write_key: impl Into<String>) -> Self {
        Self { kind: SourceKind::Webhook, ..Self::enabled(write_key) }
    }
}

/// Whether a source takes events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It does.
    Enabled,
    /// It is switched off: Segment says 200 and drops (`source_disabled`), RudderStack says 404.
    Disabled,
}

/// What kind of source stands behind a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// SDKs and the HTTP API.
    EventStream,
    /// Only `/v1/webhook` accepts it there.
    Webhook,
}

/// Segment's two regions, each its own instance with its own keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// `api.segment.io`.
    Us,
    /// `events.eu1.segmentapis.com`.
    Eu,
}

impl Region {
    /// What settings name as `apiHost`.
    #[must_use]
    pub const fn api_host(self) -> &'static str {
        match self {
            Self::Us => "api.segment.io/v1",
            Self::Eu => "events.eu1.segmentapis.com/v1",
        }
    }
}

/// How much of what is taken stays in memory. Counts go on whatever this says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Requests kept; later ones are only counted.
    pub requests_max: usize,
    /// Events kept; later ones are only counted.
    pub events_max: usize,
    /// Bytes of event JSON kept, as received and as handed on together; past it events are kept without their JSON and
    /// times. 0 is the compact mode: messageId, sequence, ids and verdict only.
    pub json_bytes_max: usize,
}

impl Keep {
    /// For long runs: only messageId, sequence, ids and verdict of each event, about 250 bytes, up to four million.
    pub const COMPACT: Self = Self { requests_max: 10_000, events_max: 4_000_000, json_bytes_max: 0 };
}

impl Default for Keep {
    fn default() -> Self {
        Self { requests_max: 100_000, events_max: 1_000_000, json_bytes_max: 256 << 20 }
    }
}
