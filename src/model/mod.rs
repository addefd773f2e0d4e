//! The words of segue: plain data that every other module speaks in.
//!
//! Nothing here does I/O, reads a clock or knows about tokio. Times, randomness and keys come in as arguments.

mod custody;
mod destination;
#[cfg(test)]
mod dice;
mod envelope;
mod event;
mod inert;
pub mod json;
mod outline;
mod plan;
mod reading;
mod role;
mod secret;
mod settled;
mod source;
mod time;
mod units;

pub use custody::{Custody, Exposure};
pub use destination::{Destination, PerDestination};
pub use envelope::{BasicAuth, DecodeError, Encoding, Endpoint, Envelope, EnvelopeId, Origin, Repeated};
pub use event::{EventKind, MessageId, MessagePrint, SourcePrint};
pub use inert::{inert, inert_but};
pub use outline::{EventPlace, Naming, Outline};
pub use plan::{Plan, Revision, Selection};
pub use reading::{Frame, Head, Member, ReadError, Reading};
pub use role::{Role, Roles};
pub use secret::{KeyPrint, Secret};
pub use settled::{Outcome, Settled};
pub use source::{SourceId, SourceIdError};
pub use time::WallTime;
pub use units::{ByteSize, Percent, RateLimit, Span, UnitError};

#[cfg(test)]
pub(crate) use dice::Dice;

/// How the subject of every local CA begins. It stands here as those who make one (`tls`) and those who must not trust
/// one (`upstream`) may not know each other.
pub const LOCAL_CA_NAME: &str = "segue local CA";

/// Where systems keep their bundle: Debian and Alpine, Fedora and RHEL, openSUSE, older RHEL, macOS and the BSDs. Here for
/// the same reason: `upstream` reads them to call vendors, `tls` to hand them on to apps.
pub const ROOT_BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];
