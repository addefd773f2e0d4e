//! What can go wrong with certificates. Each message names the file and the way out.

use std::{io, path::PathBuf};

use crate::model::WallTime;

/// Why a local CA could not be made.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// There is one already, and the caller did not ask to replace it.
    #[error("{path} exists already: a new CA would make every client that trusts the old one fail; where that is meant, add `--force`")]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
    /// No names, or too many.
    #[error("a local CA needs 1 to {names_max} names, not {count}")]
    NameCount {
        /// How many there were.
        count: usize,
        /// How many there may be.
        names_max: usize,
    },
    /// A name that cannot be served.
    #[error("{name:?} cannot be a name of the local CA: {reason}")]
    Name {
        /// The name, as given.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The directory or a file could not be written.
    #[error("cannot write {path}")]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificates")]
    Make(#[source] rcgen::Error),
}

/// Why there is no certificate to serve.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no local CA in the directory.
    #[error("no local CA in {dir}: make one with `segue certs init --dir {dir}`", dir = .dir.display())]
    NoAuthority {
        /// The directory.
        dir: PathBuf,
    },
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} is no use: {reason}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what it should be.
        reason: String,
    },
    /// The key does not belong to the certificate, or is of a kind that cannot be used.
    #[error("{key} does not fit {cert}: the key must be the one that the first certificate of the chain was made for")]
    Key {
        /// The chain.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The local CA has expired.
    #[error("the local CA in {dir} expired at {expired_at}: make a new one with `segue certs init --dir {dir} --force` and let clients trust its root.pem", dir = .dir.display())]
    Expired {
        /// The directory.
        dir: PathBuf,
        /// When.
        expired_at: WallTime,
    },
    /// The settings ask for names that the local CA is not allowed to serve.
    #[error("the local CA in {dir} is not for {name}: it serves only the names it was made for; make a new one with `segue certs init --dir {dir} --force`", dir = .dir.display())]
    NotPermitted {
        /// The directory.
        dir: PathBuf,
        /// The first name that is not covered.
        name: String,
    },
    /// A leaf could not be made.
    #[error("cannot make a certificate")]
    Make(#[source] rcgen::Error),
    /// The TLS library refused our own settings.
    #[error("the TLS server could not be set up")]
    Setup(#[source] rustls::Error),
}
