//! Trust stores of this machine: the system's, of Debian and Alpine, and the NSS database of a user.
//!
//! A root stands in a store under a name made of its fingerprint, and what is found there is known by its content: nothing that
//! is not a root of segue is ever listed, so nothing else can be removed.

use std::{
    fs,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context, anyhow, bail};

use super::certs_flags::StoreName;
use crate::{
    model::{LOCAL_CA_NAME, inert},
    tls::{Role, Root},
};

/// A trust store that is there.
#[derive(Debug)]
pub enum Store {
    /// What `update-ca-certificates` makes the system's bundle of.
    System {
        /// That program.
        updater: PathBuf,
    },
    /// The NSS database of this user.
    Nss {
        /// The program `certutil`.
        certutil: PathBuf,
        /// The database's directory.
        dir: PathBuf,
    },
}

/// A root of segue in a store.
#[derive(Debug)]
pub struct Held {
    /// The root.
    pub root: Root,
    /// The file or the nickname that it has there.
    pub name: String,
}

impl Store {
    /// The store of that name; an error says what it takes to have it.
    pub fn named(name: StoreName) -> anyhow::Result<Self> {
        match name {
            StoreName::System => match program("update-ca-certificates") {
                Some(updater) => Ok(Self::System { updater }),
                None => bail!("there is no update-ca-certificates here: install ca-certificates, or see segue certs export --help"),
            },
            StoreName::Nss => {
                let Some(certutil) = program("certutil") else {
                    bail!("there is no certutil here: install libnss3-tools (Debian) or nss-tools (Alpine)");
                };
                let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
                let home = home.ok_or_else(|| anyhow!("HOME is not set, so nobody knows whose NSS database is meant"))?;
                Ok(Self::Nss { certutil, dir: Path::new(&home).join(".pki/nssdb") })
            }
        }
    }

    /// Each store that this machine has.
    pub fn all() -> Vec<Self> {
        let stores = [StoreName::System, StoreName::Nss].into_iter().filter_map(|name| Self::named(name).ok());
        stores.filter(|store| !matches!(store, Self::Nss { dir, .. } if !has_database(dir))).collect()
    }

    /// Its name, as the command line has it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::System { .. } => "system",
            Self::Nss { .. } => "nss",
        }
    }

    /// Where a root of that name would stand.
    pub fn place(&self, root: &Root) -> String {
        match self {
            Self::System { .. } => format!("{SYSTEM_DIR}/{}", file_name(root)),
            Self::Nss { dir, .. } => format!("{} as {}", dir.display(), nickname(root)),
        }
    }

    /// segue's roots in it, of whichever directory.
    pub fn held(&self) -> anyhow::Result<Vec<Held>> {
        match self {
            Self::System { .. } => held_by_system(),
            Self::Nss { dir, .. } if !has_database(dir) => Ok(Vec::new()),
            Self::Nss { certutil, dir } => held_by_nss(certutil, dir),
        }
    }

    /// Puts roots into it, and makes sure that they are there.
    pub fn add(&self, roots: &[&Root]) -> anyhow::Result<()> {
        match self {
            Self::System { updater } => {
                fs::create_dir_all(SYSTEM_DIR).map_err(|error| explained(&error))?;
                for root in roots {
                    write_open(&Path::new(SYSTEM_DIR).join(file_name(root)), &root.pem()).map_err(|error| explained(&error))?;
                }
                run(Command::new(updater).stdin(Stdio::null()))?;
            }
            Self::Nss { certutil, dir } => {
                make_database(certutil, dir)?;
                for root in roots {
                    let mut command = nss(certutil, dir, &["-A", "-a", "-t", "C,,", "-n", &nickname(root)]);
                    run_with(&mut command, root.pem().as_bytes())?;
                }
            }
        }
        match roots.iter().find(|root| !self.trusts(root)) {
            Some(root) => bail!("{} was put into the store {}, and is not in it", root.subject, self.word()),
            None => Ok(()),
        }
    }

    /// Takes roots out of it, and makes sure that they are gone.
    pub fn remove(&self, held: &[&Held]) -> anyhow::Result<()> {
        match self {
            Self::System { updater } => {
                for held in held {
                    fs::remove_file(Path::new(SYSTEM_DIR).join(&held.name)).map_err(|error| explained(&error))?;
                }
                // Afresh: without it a link to what is gone can stay.
                run(Command::new(updater).arg("--fresh").stdin(Stdio::null()))?;
            }
            Self::Nss { certutil, dir } => {
                for held in held {
                    run(&mut nss(certutil, dir, &["-D", "-n", &held.name]))?;
                }
            }
        }
        match held.iter().find(|held| self.trusts(&held.root)) {
            Some(held) => bail!("{} was taken out of the store {}, and is still in it", held.root.subject, self.word()),
            None => Ok(()),
        }
    }

    /// Whether programs that use the store trust it: of the system's, the bundle that was made of it says so.
    fn trusts(&self, root: &Root) -> bool {
        match self {
            Self::System { .. } => fs::read_to_string(SYSTEM_BUNDLE).is_ok_and(|bundle| bundle.contains(root.pem().trim_end())),
            Self::Nss { .. } => self.held().is_ok_and(|held| held.iter().any(|held| held.root.fingerprint == root.fingerprint)),
        }
    }
}

fn held_by_system() -> anyhow::Result<Vec<Held>> {
    let entries = match fs::read_dir(SYSTEM_DIR) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot list {SYSTEM_DIR}"))?,
    };
    let mut held = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with("segue-") && entry.path().extension().is_some_and(|extension| extension == "crt") {
            held.extend(ours(&fs::read(entry.path())?).map(|root| Held { root, name }));
        }
    }
    held.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(held)
}

fn held_by_nss(certutil: &Path, dir: &Path) -> anyhow::Result<Vec<Held>> {
    let listed = run(&mut nss(certutil, dir, &["-L"]))?;
    let mut held = Vec::new();
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()).filter(|name| name.starts_with("segue-")) {
        let pem = run(&mut nss(certutil, dir, &["-L", "-a", "-n", name]))?;
        held.extend(ours(pem.as_bytes()).map(|root| Held { root, name: name.to_owned() }));
    }
    Ok(held)
}

fn ours(pem: &[u8]) -> Option<Root> {
    Root::of_pem(pem, Role::Serving).filter(|root| root.subject.starts_with(LOCAL_CA_NAME))
}

fn file_name(root: &Root) -> String {
    format!("segue-{}.crt", root.short())
}

fn nickname(root: &Root) -> String {
    format!("segue-{}", root.short())
}

fn has_database(dir: &Path) -> bool {
    dir.join("cert9.db").exists()
}

fn make_database(certutil: &Path, dir: &Path) -> anyhow::Result<()> {
    if has_database(dir) {
        return Ok(());
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    run(&mut nss(certutil, dir, &["-N", "--empty-password"])).map(|_| ())
}

fn nss(certutil: &Path, dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(certutil);
    command.arg("-d").arg(format!("sql:{}", dir.display())).args(arguments).stdin(Stdio::null());
    command
}

/// Where a program is; administrators' programs are found without their path, too.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs.map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn write_open(path: &Path, content: &str) -> std::io::Result<()> {
    fs::write(path, content)?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    Ok(())
}

fn explained(error: &std::io::Error) -> anyhow::Error {
    let advice = match error.kind() {
        ErrorKind::PermissionDenied => ": the system's store takes root; run it with sudo, or name a store of your own: --store nss",
        _ => "",
    };
    anyhow!("cannot change {SYSTEM_DIR}: {error}{advice}")
}

fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    said(command, &output)
}

fn run_with(command: &mut Command, input: &[u8]) -> anyhow::Result<String> {
    let name = command.get_program().display().to_string();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    let output = child.wait_with_output()?;
    said(command, &output)
}

fn said(command: &Command, output: &Output) -> anyhow::Result<String> {
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed ({}): {}", command.get_program().display(), output.status, inert(error.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Where Debian and Alpine take the machine's own roots from.
const SYSTEM_DIR: &str = "/usr/local/share/ca-certificates";
/// What they make of them.
const SYSTEM_BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
