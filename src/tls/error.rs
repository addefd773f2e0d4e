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

/// Why nothing could be handed out for apps to trust.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The usual roots are nowhere.
    #[error(
        "the usual roots are nowhere on this machine ({searched}), and what this runtime is given replaces them: it would trust nothing but segue\n  Nothing was written.\n  Install ca-certificates, or name a PEM file that has them: --roots FILE"
    )]
    NoUsual {
        /// Where they were looked for.
        searched: String,
    },
    /// A file of roots could not be read.
    #[error("cannot read the roots in {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of roots has none.
    #[error("{} holds no root but segue's own: it must be a PEM file with the roots that the app trusts today\n  Nothing was written.", .path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Why a step of a rotation was not taken. What was served is served on.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The next authority is made already.
    #[error(
        "the next authority is prepared already\n  Nothing was changed.\n  Let the apps trust both roots (segue certs export), then: segue certs rotate --switch; or give it up: segue certs rotate --cancel\n  Directory: {}",
        .dir.display()
    )]
    Prepared {
        /// The directory.
        dir: PathBuf,
    },
    /// A switch began and did not end.
    #[error("a switch was cut off halfway: the next authority serves already\n  Nothing was changed.\n  Let it end: segue certs rotate --switch\n  Directory: {}", .dir.display())]
    Halfway {
        /// The directory.
        dir: PathBuf,
    },
    /// The previous root is still handed out.
    #[error(
        "the last rotation is not finished: its previous root is still handed out\n  Nothing was changed.\n  When every app trusts the root that serves: segue certs rotate --finish\n  Directory: {}",
        .dir.display()
    )]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// There is nothing to switch to, or to give up.
    #[error("no next authority is prepared\n  Nothing was changed.\n  Begin with: segue certs rotate\n  Directory: {}", .dir.display())]
    NothingPrepared {
        /// The directory.
        dir: PathBuf,
    },
    /// The old authority still serves.
    #[error(
        "the next authority is prepared and not in service yet: its old root is what apps need today\n  Nothing was changed.\n  When every app trusts both roots: segue certs rotate --switch\n  Directory: {}",
        .dir.display()
    )]
    NotSwitched {
        /// The directory.
        dir: PathBuf,
    },
    /// No rotation is going on.
    #[error("no rotation is going on\n  Nothing was changed.\n  Begin one with: segue certs rotate\n  Directory: {}", .dir.display())]
    NothingToFinish {
        /// The directory.
        dir: PathBuf,
    },
    /// A running listener may still show the old certificate.
    #[error(
        "the switch was just now, and a running segue may show the old certificate for some seconds more\n  Nothing was changed.\n  Again in {wait_s} s: segue certs rotate --finish"
    )]
    TooSoon {
        /// How long to wait.
        wait_s: i64,
    },
    /// What is prepared could not serve.
    #[error("the next authority in {} could not serve, so it was not put in service", .dir.display())]
    Unfit {
        /// The directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: Box<TlsError>,
    },
    /// The directory is not a local CA that can be read.
    #[error(transparent)]
    Standing(#[from] TlsError),
    /// An authority could not be made or moved.
    #[error(transparent)]
    Write(#[from] InitError),
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
