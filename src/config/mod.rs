//! The configuration: `sidecar.toml` in, one typed [`Config`] out, once.
//!
//! It owns the file's shape, the search for it, and every complaint about it. It promises that all problems are told at
//! once, each with its place, its code, what it means and the fix; that a [`Config`] which came from [`load`] needs no
//! second look; and that no write key is ever printed. It never opens a socket and never starts anything.

mod check;
mod choice;
mod code;
mod destinations;
mod document;
mod environment;
mod exposed;
mod key;
mod load;
mod mask;
mod nearest;
mod problem;
mod read;
mod section;
mod session;
mod setting;
mod sources;
mod tree;
mod value;

use std::time::Duration;

pub use check::machine as check_machine;
pub use code::{Code, UnknownCode};
pub use environment::Environment;
pub use exposed::exposed_files;
pub use load::{Loaded, find, load, tls_section};
pub use nearest::nearest;
pub use problem::{Place, Problem, Problems, Severity};
pub use setting::{Origin, Override, Setting};

use crate::{delivery, ingress, journal, routing::Source, telemetry, tls, upstream};

/// Everything that a sidecar is told at its start. The default has no source: it relays everything and keeps nothing.
///
/// A program that embeds segue starts from `Config::default()` and sets fields.
#[derive(Debug, Clone)]
pub struct Config {
    /// The listeners and what clients may do.
    pub ingress: ingress::Settings,
    /// The certificates of the TLS listener; Some exactly when there is one.
    pub tls: Option<tls::Settings>,
    /// Where events are kept.
    pub journal: journal::Settings,
    /// Segment's hosts.
    pub segment: SegmentConfig,
    /// The RudderStack data plane; None while no source's route needs one.
    pub rudderstack: Option<upstream::Settings>,
    /// The pace of delivery.
    pub delivery: delivery::Settings,
    /// Logs and metrics.
    pub telemetry: telemetry::Settings,
    /// The sources, in the order of the file. No two share an id, a name or a Segment key.
    pub sources: Vec<Source>,
    /// How long delivery goes on after a stop was asked for; what is left then waits in the journal for the next start.
    /// Zero: delivery stops at once.
    pub drain_timeout: Duration,
}

/// How each of Segment's hosts is reached (protocol.md 1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentConfig {
    /// The tracking API of sources in the US region, and of everything that is relayed.
    pub us: upstream::Settings,
    /// The tracking API of sources in the EU region.
    pub eu: upstream::Settings,
    /// The CDN of browsers: `cdn.segment.com`.
    pub cdn: upstream::Settings,
    /// The CDN of mobile SDKs: `cdn-settings.segment.com`.
    pub cdn_settings: upstream::Settings,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ingress: ingress::Settings::default(),
            tls: None,
            journal: journal::Settings::default(),
            segment: SegmentConfig::default(),
            rudderstack: None,
            delivery: delivery::Settings::default(),
            telemetry: telemetry::Settings::default(),
            sources: Vec::new(),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for SegmentConfig {
    fn default() -> Self {
        let host = |url: &str| upstream::Settings {
            url: url.to_owned(),
            addresses: upstream::Addresses::PublicOnly,
            ..upstream::Settings::default()
        };
        Self {
            us: host("https://api.segment.io"),
            eu: host("https://events.eu1.segmentapis.com"),
            cdn: host("https://cdn.segment.com"),
            cdn_settings: host("https://cdn-settings.segment.com"),
        }
    }
}
