//! How it stands with a local CA on disk: what serves, what is prepared, which roots an app should trust meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, NameConstraints},
    parse_x509_certificate,
};

use crate::{
    model::WallTime,
    tls::{
        TlsError,
        authority::{INTERMEDIATE_KEY, NEXT, PREVIOUS_ROOT, ROOT, fingerprint},
        served,
        validity::{HOUR_MS, Validity},
    },
};

/// A local CA, as its directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its directory.
    pub dir: PathBuf,
    /// What apps should trust now: the root that serves first; next and previous ones that have not expired. Each once.
    pub roots: Vec<Root>,
    /// The names that it may serve, without localhost.
    pub names: Vec<String>,
    /// When the intermediate that signs leaves ends.
    pub intermediate_expires_at: WallTime,
    /// How far a rotation is.
    pub phase: Phase,
}

/// How far a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// None is going on.
    Settled,
    /// The next authority is made; the present one serves.
    Prepared,
    /// A switch began and did not end: the next authority serves, some of its files are not in their place yet.
    Halfway,
    /// The next authority serves since then; the previous root is still handed out.
    Overlap {
        /// When it was put in service.
        since: WallTime,
    },
}

impl Phase {
    /// One word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Prepared => "prepared",
            Self::Halfway => "halfway",
            Self::Overlap { .. } => "overlap",
        }
    }
}

/// What a root does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What is served is signed below it.
    Serving,
    /// It will serve after `segue certs rotate --switch`.
    Next,
    /// It served before.
    Previous,
}

impl Role {
    /// One word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Next => "next",
            Self::Previous => "previous",
        }
    }
}

/// A root certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// What it does.
    pub role: Role,
    /// Its subject, unique to this CA.
    pub subject: String,
    /// SHA-256, in hex with colons.
    pub fingerprint: String,
    /// When it was made.
    pub made_at: WallTime,
    /// When it ends.
    pub expires_at: WallTime,
    certificate: CertificateDer<'static>,
}

impl Root {
    /// The certificate, as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.certificate
    }

    /// The certificate, as PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem(&self.certificate)
    }

    /// The first eight digits of its fingerprint: what files and store entries are named after.
    #[must_use]
    pub fn short(&self) -> String {
        short(&self.fingerprint)
    }

    /// A certificate in some other place, such as a trust store; None when it is none.
    #[must_use]
    pub fn of_pem(text: &[u8], role: Role) -> Option<Self> {
        Self::of(CertificateDer::from_pem_slice(text).ok()?, role)
    }

    fn of(certificate: CertificateDer<'static>, role: Role) -> Option<Self> {
        let validity = Validity::of(&certificate)?;
        let (_, parsed) = parse_x509_certificate(&certificate).ok()?;
        Some(Self {
            role,
            subject: common_name(&parsed)?,
            fingerprint: fingerprint(&certificate),
            made_at: validity.begins_at.plus_millis(HOUR_MS),
            expires_at: validity.expires_at,
            certificate,
        })
    }
}

impl Standing {
    /// Reads the directory.
    ///
    /// # Errors
    ///
    /// When there is no CA in it, or a file of it cannot be read or is no certificate.
    pub fn read(dir: &Path, now: WallTime) -> Result<Self, TlsError> {
        let intermediate_path = served::authority_paths(dir)?.0;
        let content = served::read_authority(dir)?;
        let garbage = |path: &Path| TlsError::Content { path: path.to_owned(), reason: "it is not a PEM certificate".to_owned() };
        let intermediate = CertificateDer::from_pem_slice(&content.certificate).map_err(|_| garbage(&intermediate_path))?;
        let (_, parsed) = parse_x509_certificate(&intermediate).map_err(|_| garbage(&intermediate_path))?;
        let validity = Validity::of(&intermediate).ok_or_else(|| garbage(&intermediate_path))?;
        let phase = phase(dir);
        let issuer = parsed.issuer().iter_common_name().find_map(|name| name.as_str().ok()).unwrap_or_default();

        let mut roots: Vec<Root> = Vec::new();
        for (path, other) in
            [(dir.join(ROOT), Role::Previous), (dir.join(NEXT).join(ROOT), Role::Next), (dir.join(PREVIOUS_ROOT), Role::Previous)]
        {
            let Some(read) = served::read_file_there(&path)? else { continue };
            let root = Root::of_pem(&read, other).ok_or_else(|| garbage(&path))?;
            if roots.iter().all(|known| known.fingerprint != root.fingerprint) {
                roots.push(if root.subject == issuer { Root { role: Role::Serving, ..root } } else { root });
            }
        }
        if roots.iter().all(|root| root.role != Role::Serving) {
            let reason = format!("it is not the root that signed {}, or it is not there", intermediate_path.display());
            return Err(TlsError::Content { path: dir.join(ROOT), reason });
        }
        roots.retain(|root| root.role == Role::Serving || root.expires_at > now);
        roots.sort_by_key(|root| root.role != Role::Serving);
        Ok(Self { dir: dir.to_owned(), roots, names: constrained_to(&parsed), intermediate_expires_at: validity.expires_at, phase })
    }

    /// The root below which leaves are signed.
    #[must_use]
    pub fn serving(&self) -> &Root {
        &self.roots[0]
    }

    /// The root that does this, when there is one.
    #[must_use]
    pub fn root(&self, role: Role) -> Option<&Root> {
        self.roots.iter().find(|root| root.role == role)
    }

    /// When somebody has to act: the end of what serves.
    #[must_use]
    pub fn expires_at(&self) -> WallTime {
        self.serving().expires_at.min(self.intermediate_expires_at)
    }
}

/// A certificate of the user's own (`mode = "files"`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnCertificate {
    /// The chain's file.
    pub path: PathBuf,
    /// The subject's common name; empty when it has none, as many do.
    pub subject: String,
    /// SHA-256, in hex with colons.
    pub fingerprint: String,
    /// The host names that it is for.
    pub names: Vec<String>,
    /// When it ends.
    pub expires_at: WallTime,
}

impl OwnCertificate {
    /// Reads the first certificate of the chain, which is what clients see.
    ///
    /// # Errors
    ///
    /// When it cannot be read or is none.
    pub fn read(path: &Path) -> Result<Self, TlsError> {
        let garbage = || TlsError::Content { path: path.to_owned(), reason: "its first certificate cannot be read".to_owned() };
        let certificate = CertificateDer::from_pem_slice(&served::read_file(path)?).map_err(|_| garbage())?;
        let validity = Validity::of(&certificate).ok_or_else(garbage)?;
        let (_, parsed) = parse_x509_certificate(&certificate).map_err(|_| garbage())?;
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let listed = alternatives.map(|found| found.value.general_names.as_slice()).unwrap_or_default();
        let names = listed.iter().filter_map(|name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None });
        Ok(Self {
            path: path.to_owned(),
            subject: common_name(&parsed).unwrap_or_default(),
            fingerprint: fingerprint(&certificate),
            names: names.collect(),
            expires_at: validity.expires_at,
        })
    }
}

/// The key that leaves `next` is what puts the next authority in service, so it tells before from after.
pub(super) fn phase(dir: &Path) -> Phase {
    let next = dir.join(NEXT);
    if next.exists() {
        return if next.join(INTERMEDIATE_KEY).exists() { Phase::Prepared } else { Phase::Halfway };
    }
    let changed = fs::metadata(dir.join(PREVIOUS_ROOT)).and_then(|metadata| metadata.modified());
    changed.map_or(Phase::Settled, |changed| {
        let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
        Phase::Overlap { since: WallTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)) }
    })
}

/// The certificate in PEM, made anew from its bytes: whatever else stood in the file it came from stays behind.
pub(super) fn pem(certificate: &[u8]) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE_CHARS));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + "-----END CERTIFICATE-----\n"
}

/// The first eight digits of a fingerprint, in lower case.
pub(super) fn short(fingerprint: &str) -> String {
    fingerprint.chars().filter(|letter| *letter != ':').take(8).collect::<String>().to_ascii_lowercase()
}

pub(super) fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    certificate.subject().iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

fn constrained_to(certificate: &X509Certificate<'_>) -> Vec<String> {
    let constraints: Option<&NameConstraints<'_>> = certificate.name_constraints().ok().flatten().map(|found| found.value);
    let trees = constraints.and_then(|constraints| constraints.permitted_subtrees.as_deref()).unwrap_or_default();
    let names = trees.iter().filter_map(|tree| if let GeneralName::DNSName(name) = &tree.base { Some(*name) } else { None });
    names.filter(|name| *name != "localhost").map(str::to_owned).collect()
}

const PEM_LINE_CHARS: usize = 64;
