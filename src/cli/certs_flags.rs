//! The flags of `certs`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// What can be done with certificates.
#[derive(Debug, Clone, Subcommand)]
pub enum CertsCommand {
    /// Make a local CA for exactly the names of [tls]; its root key is never stored.
    Init(CertsInitFlags),
    /// Write what an app needs to trust the local CA, and print the lines that make it so. Never a key.
    Export(CertsExportFlags),
    /// Put the local CA into a trust store of this machine. Better is `export`, for the one app that needs it.
    Trust(CertsTrustFlags),
    /// Take out of a trust store what `trust` put there.
    Untrust(CertsUntrustFlags),
    /// What serves, until when, and how far a rotation is: exit 3 when it ends within 30 days.
    Status(CertsStatusFlags),
    /// Exchange the local CA for the next one, in three steps, so that no app is cut off.
    Rotate(CertsRotateFlags),
}

/// Flags of `certs init`.
#[derive(Debug, Clone, Args)]
pub struct CertsInitFlags {
    /// Where to put it; else [tls] dir of the configuration, else ./certs.
    #[arg(long, value_name = "DIR", env = "SEGUE_CERTS_INIT_DIR")]
    pub dir: Option<PathBuf>,
    /// A name to serve, repeated; else [tls] names of the configuration, else Segment's hosts.
    #[arg(long = "name", value_name = "NAME", env = "SEGUE_CERTS_INIT_NAME", value_delimiter = ',')]
    pub names: Vec<String>,
    /// Replace a CA that is there, at once; every client must then trust the new root. Without a gap: certs rotate.
    #[arg(long, env = "SEGUE_CERTS_INIT_FORCE")]
    pub force: bool,
}

/// Flags of `certs export`.
#[derive(Debug, Clone, Args)]
pub struct CertsExportFlags {
    /// Who is to trust it.
    #[arg(long = "for", value_name = "RUNTIME", env = "SEGUE_CERTS_EXPORT_FOR", hide_env = true)]
    pub runtime: Runtime,
    /// Where to write; else `export` in the CA's directory.
    #[arg(long, value_name = "DIR", env = "SEGUE_CERTS_EXPORT_OUT", hide_env = true)]
    pub out: Option<PathBuf>,
    /// A PEM file with the roots that the app trusts today, where what it is given replaces them; else this system's.
    #[arg(long, value_name = "FILE", env = "SEGUE_CERTS_EXPORT_ROOTS", hide_env = true)]
    pub roots: Option<PathBuf>,
    /// The CA's directory; else [tls] dir of the configuration, else ./certs.
    #[arg(long, value_name = "DIR", env = "SEGUE_CERTS_EXPORT_DIR", hide_env = true)]
    pub dir: Option<PathBuf>,
}

/// Who can be made to trust the local CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Runtime {
    /// Node.js: adds to its roots.
    Node,
    /// Python: requests, httpx, urllib.
    Python,
    /// Go programs.
    Go,
    /// Ruby.
    Ruby,
    /// PHP: curl in the process, curl as a program, sockets.
    Php,
    /// Java and what runs on it.
    Java,
    /// curl.
    Curl,
    /// An image or machine of Debian or Ubuntu.
    Debian,
    /// An image or machine of Alpine.
    Alpine,
    /// Chromium and Firefox on Linux.
    Browser,
    /// Pods of Kubernetes.
    K8s,
}

/// Flags of `certs trust`.
#[derive(Debug, Clone, Args)]
pub struct CertsTrustFlags {
    /// Which store, repeated; else each that this machine has.
    #[arg(long = "store", value_name = "STORE", env = "SEGUE_CERTS_TRUST_STORE", hide_env = true, value_delimiter = ',')]
    pub stores: Vec<StoreName>,
    /// Only say what would be done.
    #[arg(long, env = "SEGUE_CERTS_TRUST_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_CERTS_TRUST_YES", hide_env = true)]
    pub yes: bool,
    /// The CA's directory; else [tls] dir of the configuration, else ./certs.
    #[arg(long, value_name = "DIR", env = "SEGUE_CERTS_TRUST_DIR", hide_env = true)]
    pub dir: Option<PathBuf>,
}

/// Flags of `certs untrust`.
#[derive(Debug, Clone, Args)]
pub struct CertsUntrustFlags {
    /// Which store, repeated; else each that this machine has.
    #[arg(long = "store", value_name = "STORE", env = "SEGUE_CERTS_UNTRUST_STORE", hide_env = true, value_delimiter = ',')]
    pub stores: Vec<StoreName>,
    /// The root with this fingerprint, from its first eight digits on; else the roots of the CA's directory.
    #[arg(long, value_name = "SHA-256", env = "SEGUE_CERTS_UNTRUST_FINGERPRINT", hide_env = true, conflicts_with = "all")]
    pub fingerprint: Option<String>,
    /// Every root of segue, of whichever directory.
    #[arg(long, env = "SEGUE_CERTS_UNTRUST_ALL", hide_env = true)]
    pub all: bool,
    /// Only say what would be done.
    #[arg(long, env = "SEGUE_CERTS_UNTRUST_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_CERTS_UNTRUST_YES", hide_env = true)]
    pub yes: bool,
    /// The CA's directory; else [tls] dir of the configuration, else ./certs.
    #[arg(long, value_name = "DIR", env = "SEGUE_CERTS_UNTRUST_DIR", hide_env = true)]
    pub dir: Option<PathBuf>,
}

/// A trust store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreName {
    /// The system's, of Debian, Ubuntu or Alpine; takes root.
    System,
    /// The NSS database of this user: Chromium on Linux.
    Nss,
}

/// Flags of `certs status`.
#[derive(Debug, Clone, Args)]
pub struct CertsStatusFlags {
    /// The CA's directory; else [tls] dir of the configuration, else ./certs.
    #[arg(long, value_name = "DIR", env = "SEGUE_CERTS_STATUS_DIR", hide_env = true)]
    pub dir: Option<PathBuf>,
}

/// Flags of `certs rotate`. Without a step: the first, which makes the next authority and changes nothing for apps.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line; `step` makes one of three of them")]
pub struct CertsRotateFlags {
    /// The second step, when every app trusts both roots: put the next authority in service.
    #[arg(long, env = "SEGUE_CERTS_ROTATE_SWITCH", hide_env = true, conflicts_with_all = ["finish", "cancel"])]
    pub switch: bool,
    /// The third step: hand out the old root no longer.
    #[arg(long, env = "SEGUE_CERTS_ROTATE_FINISH", hide_env = true, conflicts_with = "cancel")]
    pub finish: bool,
    /// Give up what the first step made.
    #[arg(long, env = "SEGUE_CERTS_ROTATE_CANCEL", hide_env = true)]
    pub cancel: bool,
    /// A name that the next authority is to serve, repeated; else [tls] names of the configuration, else those of the present one.
    #[arg(long = "name", value_name = "NAME", env = "SEGUE_CERTS_ROTATE_NAME", hide_env = true, value_delimiter = ',')]
    pub names: Vec<String>,
    /// Only say what would be done.
    #[arg(long, env = "SEGUE_CERTS_ROTATE_DRY_RUN", hide_env = true)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(short, long, env = "SEGUE_CERTS_ROTATE_YES", hide_env = true)]
    pub yes: bool,
    /// The CA's directory; else [tls] dir of the configuration, else ./certs.
    #[arg(long, value_name = "DIR", env = "SEGUE_CERTS_ROTATE_DIR", hide_env = true)]
    pub dir: Option<PathBuf>,
}

/// A step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Make the next authority.
    Prepare,
    /// Put it in service.
    Switch,
    /// Hand out the old root no longer.
    Finish,
    /// Give up what was made.
    Cancel,
}

impl CertsRotateFlags {
    /// The step that is asked for.
    #[must_use]
    pub const fn step(&self) -> Step {
        match (self.switch, self.finish, self.cancel) {
            (true, ..) => Step::Switch,
            (_, true, _) => Step::Finish,
            (_, _, true) => Step::Cancel,
            (false, false, false) => Step::Prepare,
        }
    }
}
