//! The local CA: made once, by `segue certs init`.
//!
//! Two tiers. The root's key lives only as long as [`init`] runs; what is left on disk can sign leaves for the listed names
//! and nothing else, until the day both end (reliability.md 3a).

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, NameConstraints, SerialNumber,
};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    model::{LOCAL_CA_NAME, WallTime},
    tls::{InitError, files, name, rotation, validity::Validity},
};

/// What clients trust.
pub(super) const ROOT: &str = "root.pem";
/// What signs the leaves.
pub(super) const INTERMEDIATE: &str = "intermediate.pem";
/// Its key.
pub(super) const INTERMEDIATE_KEY: &str = "intermediate.key";

/// The authority that is to serve next, while a rotation goes on.
pub(super) const NEXT: &str = "next";
/// The root that served before, while a rotation goes on.
pub(super) const PREVIOUS_ROOT: &str = "previous-root.pem";

/// With the hour before its making it stays below 397 days, beyond which clients begin to refuse.
const LIFE: Duration = Duration::from_hours(396 * 24);
/// Of the machine's name in the subject, which may hold 64 characters in all.
const HOST_BYTES_MAX: usize = 24;

/// What to do about a CA that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it alone and fail.
    Refuse,
    /// Put the new one in its place. Clients must then trust the new root.
    Replace,
}

/// What [`init`] made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The root: what clients trust.
    pub root: PathBuf,
    /// The intermediate, which signs the leaves.
    pub intermediate: PathBuf,
    /// The intermediate's key, mode 0600.
    pub key: PathBuf,
    /// The subject of the root, unique to this CA.
    pub subject: String,
    /// SHA-256 of the root, in hex with colons, as browsers and `openssl x509 -fingerprint -sha256` show it.
    pub fingerprint: String,
    /// The names that the CA may serve, besides localhost, `127.0.0.1` and `::1`.
    pub names: Vec<String>,
    /// When it ends.
    pub expires_at: WallTime,
}

/// Makes a local CA in `dir` for exactly `names` (and localhost): the root's key signs the intermediate and is dropped.
/// Writes `root.pem`, `intermediate.pem` and `intermediate.key` (0600) and makes `dir` (0700) when absent. RFC 5280 lets a
/// constraint to a name cover its subdomains too; nothing narrower exists.
///
/// # Errors
///
/// When there is a CA and `existing` says to leave it, when a name cannot be served, when a file cannot be written.
pub fn init(dir: &Path, names: &[String], existing: Existing, now: WallTime) -> Result<Made, InitError> {
    match existing {
        Existing::Refuse => {
            refuse_existing(dir)?;
            make(dir, names, now)
        }
        Existing::Replace => rotation::replace(dir, names, now),
    }
}

/// Makes both tiers and writes them into `dir`, the key first: without a certificate it is nothing yet.
pub(super) fn make(dir: &Path, names: &[String], now: WallTime) -> Result<Made, InitError> {
    let names = name::checked(names)?;
    let validity = Validity::from_now(now, LIFE);
    let subject = format!("{LOCAL_CA_NAME} {} {}", host(), &Uuid::new_v4().simple().to_string()[..8]);
    let tiers = make_tiers(&subject, &names, validity).map_err(InitError::Make)?;

    files::make_private_dir(dir).map_err(|source| InitError::Write { path: dir.to_owned(), source })?;
    let write = |name: &str, content: &str, mode| {
        let path = dir.join(name);
        match files::write(&path, content.as_bytes(), mode) {
            Ok(()) => Ok(path),
            Err(source) => Err(InitError::Write { path, source }),
        }
    };
    Ok(Made {
        key: write(INTERMEDIATE_KEY, &tiers.intermediate_key, 0o600)?,
        intermediate: write(INTERMEDIATE, &tiers.intermediate, 0o644)?,
        root: write(ROOT, &tiers.root, 0o644)?,
        subject,
        fingerprint: tiers.fingerprint,
        names,
        expires_at: validity.expires_at,
    })
}

impl Made {
    /// The same, after the files were moved there.
    pub(super) fn moved_to(self, dir: &Path) -> Self {
        Self { root: dir.join(ROOT), intermediate: dir.join(INTERMEDIATE), key: dir.join(INTERMEDIATE_KEY), ..self }
    }
}

/// SHA-256 of a certificate (DER), in hex with colons.
pub(super) fn fingerprint(certificate: &[u8]) -> String {
    let hash: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    hash.join(":")
}

struct Tiers {
    root: String,
    fingerprint: String,
    intermediate: String,
    intermediate_key: Zeroizing<String>,
}

fn make_tiers(subject: &str, names: &[String], validity: Validity) -> Result<Tiers, rcgen::Error> {
    let root_key = KeyPair::generate()?;
    let root_params = ca_params(subject, names, validity, 1);
    let root = root_params.self_signed(&root_key)?;
    let root_issuer = Issuer::new(root_params, root_key);

    let intermediate_key = KeyPair::generate()?;
    let mut params = ca_params(&format!("{subject} intermediate"), names, validity, 0);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let intermediate = params.signed_by(&intermediate_key, &root_issuer)?;

    Ok(Tiers {
        root: root.pem(),
        fingerprint: fingerprint(root.der()),
        intermediate: intermediate.pem(),
        intermediate_key: Zeroizing::new(intermediate_key.serialize_pem()),
    })
}

fn ca_params(subject: &str, names: &[String], validity: Validity, path_length_max: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length_max));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial());
    params.name_constraints = Some(NameConstraints { permitted_subtrees: permitted(names), excluded_subtrees: Vec::new() });
    validity.write_to(&mut params);
    params
}

/// A permitted subtree of a kind excludes all that kind outside it, so both kinds that a server can be named by are there.
fn permitted(names: &[String]) -> Vec<GeneralSubtree> {
    let names = names.iter().map(String::as_str).chain(["localhost"]);
    let mut permitted: Vec<GeneralSubtree> = names.map(|name| GeneralSubtree::DnsName(name.to_owned())).collect();
    permitted.push(GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 1], [255; 4])));
    permitted.push(GeneralSubtree::IpAddress(CidrSubnet::V6(std::net::Ipv6Addr::LOCALHOST.octets(), [255; 16])));
    permitted
}

/// 126 random bits under a leading 01, so that it is positive and of one length.
pub(super) fn random_serial() -> SerialNumber {
    let mut bytes = *Uuid::new_v4().as_bytes();
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes)
}

/// The machine's name, for people who look into a trust store; "machine" when it is unknown.
fn host() -> String {
    let read = ["/proc/sys/kernel/hostname", "/etc/hostname"].iter().find_map(|path| fs::read_to_string(path).ok());
    let named = read.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let host: String = named.chars().filter(|letter| letter.is_ascii_alphanumeric() || *letter == '-').take(HOST_BYTES_MAX).collect();
    if host.is_empty() { "machine".to_owned() } else { host }
}

fn refuse_existing(dir: &Path) -> Result<(), InitError> {
    match [ROOT, INTERMEDIATE, INTERMEDIATE_KEY].map(|name| dir.join(name)).into_iter().find(|path| path.symlink_metadata().is_ok()) {
        Some(path) => Err(InitError::Exists { path }),
        None => Ok(()),
    }
}
