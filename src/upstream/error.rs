//! What can go wrong with an upstream.

use std::{error::Error, fmt, io, path::PathBuf};

/// Why an [`Upstream`](crate::upstream::Upstream) could not be made: always a fault of its settings.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// The URL is not one that can be called.
    #[error("the URL {url:?} cannot be used: {reason}")]
    Url {
        /// The URL, as set; one that carries a password is not shown.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file of roots could not be read.
    #[error("cannot read the roots in {path}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file of roots holds none that can be used.
    #[error("{path} holds no certificate that can be a root: it must hold at least one, in PEM form")]
    NoRoot {
        /// The file.
        path: PathBuf,
    },
    /// One of the extra roots is not a certificate.
    #[error("extra root number {index} is not a certificate")]
    ExtraRoot {
        /// Which one, from 0.
        index: usize,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The TLS library refused our own settings.
    #[error("the TLS client could not be set up")]
    Tls(#[source] rustls::Error),
}

/// Why a call brought no well-formed answer. Its `Display` names the upstream and the cause, never a header, a path or a
/// body, so it can be logged and shown.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {fault}{}", Detail(.source.as_deref()))]
pub struct CallError {
    /// What went wrong.
    pub fault: Fault,
    /// Whether the upstream may have got the request: a repetition of one that was sent can be a duplicate.
    pub sent: Sent,
    pub(crate) origin: String,
    #[source]
    pub(crate) source: Option<Box<dyn Error + Send + Sync>>,
}

/// What went wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The call itself cannot be sent, for its path is none. The caller's fault: trying again brings the same.
    Request,
    /// The name has no address, or the resolver did not answer.
    Resolve,
    /// The name leads to addresses that are refused, such as our own.
    Address,
    /// No TCP connection.
    Connect,
    /// The handshake failed: an unknown CA, another name, an expired certificate, no common protocol.
    Tls,
    /// A deadline passed.
    Timeout,
    /// The connection broke before the head of the answer.
    Closed,
    /// The answer is malformed: a bad head, a short body, garbage between chunks, an upgrade nobody asked for.
    BadAnswer,
    /// The answer is longer than `relay` was allowed to read.
    TooLarge,
}

/// Whether anything of a request may have reached the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sent {
    /// Certainly nothing.
    Nothing,
    /// Something, perhaps all of it.
    Maybe,
}

impl Fault {
    /// One word for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Resolve => "resolve",
            Self::Address => "address",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::BadAnswer => "bad_answer",
            Self::TooLarge => "too_large",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "the request has no usable path",
            Self::Resolve => "its name could not be resolved",
            Self::Address => "its name leads to an address that is refused",
            Self::Connect => "no connection",
            Self::Tls => "the TLS handshake failed",
            Self::Timeout => "no answer in time",
            Self::Closed => "the connection broke before an answer",
            Self::BadAnswer => "the answer is malformed",
            Self::TooLarge => "the answer is too long",
        })
    }
}

/// The causes behind an error, on the same line.
struct Detail<'a>(Option<&'a (dyn Error + Send + Sync)>);

impl fmt::Display for Detail<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause = self.0.map(|error| error as &dyn Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
