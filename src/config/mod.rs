//! The configuration: `sidecar.toml` in, one typed [`Config`] out, once.
//!
//! It owns the file's shape, the search for it, and every complaint about it. It promises that all problems are told at
//! once, each with its place, its code, what it means and the fix; that a [`Config`] which came from [`load`] needs no
//! second look; and that no write key is ever printed. It never opens a socket and never starts anything.

mod access;
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
mod rules;
mod schema;
mod section;
mod session;
mod setting;
mod sources;
mod tree;
mod value;

use std::{path::PathBuf, time::Duration};

pub use access::Access;
pub use check::machine as check_machine;
pub use code::{Code, UnknownCode};
pub use environment::Environment;
pub use exposed::exposed_files;
pub use load::{Loaded, find, load, tls_section};
pub use nearest::nearest;
pub use problem::{Place, Problem, Problems, Severity};
pub use schema::schema;
pub use setting::{Origin, Override, Setting};

use crate::{
    delivery, evidence, ingress, journal,
    routing::{Gates, Source},
    telemetry, tls, upstream,
};

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
    /// What is found out about events after they were sent. Where it is kept, and whether vendors' taps are there, follows from the rest.
    pub evidence: evidence::Settings,
    /// What has to be well with a source before a ramp goes on, unless the ramp says otherwise.
    pub gates: Gates,
    /// Logs and metrics.
    pub telemetry: telemetry::Settings,
    /// Where operators get at the sidecar: the admin API's socket, or the kill file.
    pub admin: ControlPlace,
    /// Who may use that socket.
    pub access: Access,
    /// The file that turns the kill switch on.
    pub kill_file: ControlPlace,
    /// The sources, in the order of the file. No two share an id, a name or a Segment key.
    pub sources: Vec<Source>,
    /// Whether what the data directory holds will be there for the next start.
    pub data_directory: DataDirectory,
    /// How long a stop may take. With a lasting directory it is what clients and deliveries in flight get, 5 s at most, and what is
    /// left waits for the next start; with an ephemeral one it is how long delivery goes on, and what is left is lost. Zero: at once.
    pub drain_timeout: Duration,
}

/// Where the admin API listens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ControlPlace {
    /// In the data directory, at `admin.sock` or `kill`.
    #[default]
    InDataDirectory,
    /// At this path.
    At(PathBuf),
    /// Nowhere.
    Off,
}

/// Whether a data directory outlives the process (`journal.ephemeral`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataDirectory {
    /// It does: a disk, a volume of its own. A stop is quick, whatever waits.
    #[default]
    Lasting,
    /// It does not, as an `emptyDir` of a pod: a stop delivers what it can, and says what is left.
    Ephemeral,
}

impl DataDirectory {
    /// How long a stop may take unless it is said: below the 30 s that Kubernetes gives a pod.
    #[must_use]
    pub const fn drain_timeout(self) -> Duration {
        match self {
            Self::Lasting => Duration::from_secs(5),
            Self::Ephemeral => Duration::from_secs(25),
        }
    }
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

impl Config {
    /// The path of the admin API's socket; None: there is none.
    #[must_use]
    pub fn admin_socket(&self) -> Option<PathBuf> {
        self.place(&self.admin, journal::ADMIN_SOCKET)
    }

    /// The path of the kill file; None: no file is looked for.
    #[must_use]
    pub fn kill_file(&self) -> Option<PathBuf> {
        self.place(&self.kill_file, journal::KILL_FILE)
    }

    fn place(&self, place: &ControlPlace, name: &str) -> Option<PathBuf> {
        match place {
            ControlPlace::InDataDirectory => Some(self.journal.dir.join(name)),
            ControlPlace::At(path) => Some(path.clone()),
            ControlPlace::Off => None,
        }
    }
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
            evidence: evidence::Settings::default(),
            gates: Gates::default(),
            telemetry: telemetry::Settings::default(),
            admin: ControlPlace::default(),
            access: Access::default(),
            kill_file: ControlPlace::default(),
            sources: Vec::new(),
            data_directory: DataDirectory::Lasting,
            drain_timeout: DataDirectory::Lasting.drain_timeout(),
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
