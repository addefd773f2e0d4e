//! What apps need to trust the local CA, written where they can read it.
//!
//! Everything is made anew from the bytes of certificates, so nothing else that stood in a file, a key least of all, is ever
//! handed out.

use std::{
    fs::{self, DirBuilder},
    io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    model::{LOCAL_CA_NAME, WallTime},
    tls::{ExportError, Role, Root, Standing, Usual, files, keystore, standing},
};

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The local CA's roots alone, in one PEM file.
    Roots,
    /// Each of the local CA's roots in a file of its own, named after its fingerprint.
    EachRoot,
    /// The usual roots and the local CA's, in one PEM file.
    Bundle,
    /// The same as a trust store of Java.
    Keystore,
    /// All of them as a config map of Kubernetes.
    ConfigMap,
}

impl Part {
    /// Whether it holds the usual roots, too.
    #[must_use]
    pub const fn needs_usual(self) -> bool {
        matches!(self, Self::Bundle | Self::Keystore | Self::ConfigMap)
    }
}

/// Where things were written, as absolute paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// [`Part::Roots`].
    pub roots: PathBuf,
    /// [`Part::Bundle`].
    pub bundle: PathBuf,
    /// [`Part::Keystore`].
    pub keystore: PathBuf,
    /// [`Part::ConfigMap`].
    pub config_map: PathBuf,
    /// [`Part::EachRoot`], in the order of the standing.
    pub each_root: Vec<PathBuf>,
    /// What was written this time.
    pub written: Vec<PathBuf>,
}

/// Writes `parts` into `out`, which is made when absent; every file can be read by all. `usual` must be there where a part needs it.
///
/// # Errors
///
/// When a file cannot be written, when the usual roots are needed and not given.
pub fn export(standing: &Standing, usual: Option<&Usual>, out: &Path, parts: &[Part], now: WallTime) -> Result<Exported, ExportError> {
    let fault = |path: &Path, source| ExportError::Write { path: path.to_owned(), source };
    make_open_dir(out).map_err(|source| fault(out, source))?;
    let out = out.canonicalize().map_err(|source| fault(out, source))?;
    let mut exported = Exported {
        roots: out.join(ROOTS),
        bundle: out.join(BUNDLE),
        keystore: out.join(KEYSTORE),
        config_map: out.join(CONFIG_MAP),
        each_root: standing.roots.iter().map(|root| out.join(format!("{EACH_ROOT}{}.crt", root.short()))).collect(),
        written: Vec::new(),
    };
    for part in parts {
        let usual = match (part.needs_usual(), usual) {
            (true, None) => return Err(ExportError::NoUsual { searched: String::new() }),
            (_, usual) => usual.map(|usual| usual.certificates.as_slice()).unwrap_or_default(),
        };
        let whole = Whole { standing, usual, now };
        let files = match part {
            Part::Roots => vec![(exported.roots.clone(), whole.roots().into_bytes())],
            Part::Bundle => vec![(exported.bundle.clone(), whole.bundle().into_bytes())],
            Part::Keystore => vec![(exported.keystore.clone(), whole.keystore())],
            Part::ConfigMap => vec![(exported.config_map.clone(), whole.config_map().into_bytes())],
            Part::EachRoot => {
                forget_old(&out, &exported.each_root).map_err(|source| fault(&out, source))?;
                exported.each_root.iter().cloned().zip(standing.roots.iter().map(|root| root.pem().into_bytes())).collect()
            }
        };
        for (path, content) in files {
            files::write(&path, &content, 0o644).map_err(|source| fault(&path, source))?;
            exported.written.push(path);
        }
    }
    Ok(exported)
}

/// Everything that can be handed out.
struct Whole<'a> {
    standing: &'a Standing,
    usual: &'a [rustls::pki_types::CertificateDer<'static>],
    now: WallTime,
}

impl Whole<'_> {
    fn roots(&self) -> String {
        self.standing.roots.iter().map(Root::pem).collect()
    }

    fn bundle(&self) -> String {
        let usual: String = self.usual.iter().map(|certificate| standing::pem(certificate)).collect();
        usual + &self.roots()
    }

    fn keystore(&self) -> Vec<u8> {
        let usual = self.usual.iter().enumerate().map(|(index, certificate)| (format!("usual-{index}"), certificate.clone()));
        let ours = self.standing.roots.iter().map(|root| (format!("segue-{}", root.short()), root.der().to_vec().into()));
        keystore::of(&usual.chain(ours).collect::<Vec<_>>(), self.now)
    }

    fn config_map(&self) -> String {
        let text = |name: &str, text: &str| {
            let lines: Vec<&str> = text.lines().collect();
            format!("  {name}: |\n    {}\n", lines.join("\n    "))
        };
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {CONFIG_MAP_NAME}\ndata:\n{}{}binaryData:\n  {KEYSTORE}: {}\n",
            text(ROOTS, &self.roots()),
            text(BUNDLE, &self.bundle()),
            STANDARD.encode(self.keystore())
        )
    }
}

/// A root that is no longer handed out must not lie where the last export put it. Only files that are such roots are touched.
fn forget_old(out: &Path, wanted: &[PathBuf]) -> io::Result<()> {
    for entry in fs::read_dir(out)? {
        let path = entry?.path();
        let is_named_so = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            name.strip_prefix(EACH_ROOT).and_then(|rest| rest.strip_suffix(".crt")).is_some_and(|digits| digits.len() == SHORT_CHARS)
        });
        if is_named_so
            && !wanted.contains(&path)
            && Root::of_pem(&fs::read(&path)?, Role::Previous).is_some_and(|root| root.subject.starts_with(LOCAL_CA_NAME))
        {
            files::remove(&path)?;
        }
    }
    Ok(())
}

/// Makes the directory for all to read, whatever the process's mask is; one that is there stays as it is.
fn make_open_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).create(dir)?;
    #[cfg(unix)]
    fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

impl Exported {
    /// What the config map is called.
    pub const CONFIG_MAP_NAME: &str = CONFIG_MAP_NAME;
}

const ROOTS: &str = "segue-roots.pem";
const BUNDLE: &str = "segue-bundle.pem";
const KEYSTORE: &str = "segue-truststore.jks";
const CONFIG_MAP: &str = "segue-trust.configmap.yaml";
const CONFIG_MAP_NAME: &str = "segue-trust";
const EACH_ROOT: &str = "segue-root-";
/// Of a fingerprint, in names.
const SHORT_CHARS: usize = 8;
