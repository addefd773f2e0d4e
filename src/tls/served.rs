//! What is on disk, and what is served from it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::KeyPair;
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use crate::{
    model::WallTime,
    tls::{
        Mode, Settings, TlsError,
        authority::{INTERMEDIATE, INTERMEDIATE_KEY, NEXT},
        leaf,
        validity::Validity,
    },
};

/// More than any chain takes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A certificate to show, with its key.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) key: Arc<CertifiedKey>,
    /// Of the leaf.
    pub(super) validity: Validity,
    /// When somebody has to act: the end of the CA, or of the user's own certificate.
    pub(super) needs_care_by: WallTime,
}

/// The two files, as they were read. Each is read by its path every time, for a mounted config map swaps symlinks.
pub(super) struct Content {
    pub(super) certificate: Vec<u8>,
    pub(super) key: Zeroizing<Vec<u8>>,
    pub(super) digest: [u8; 32],
}

pub(super) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

impl Content {
    pub(super) fn read(mode: &Mode) -> Result<Self, TlsError> {
        match mode {
            Mode::LocalCa { dir } => read_authority(dir),
            Mode::Files { cert, key } => Ok(Self::of(read_file(cert)?, Zeroizing::new(read_file(key)?))),
        }
    }

    fn of(certificate: Vec<u8>, key: Zeroizing<Vec<u8>>) -> Self {
        let digest = Sha256::new().chain_update(Sha256::digest(&certificate)).chain_update(Sha256::digest(&key)).finalize();
        Self { certificate, key, digest: digest.into() }
    }

    /// Makes or takes the certificate to serve at `now`.
    pub(super) fn serve(&self, settings: &Settings, now: WallTime) -> Result<Served, TlsError> {
        match &settings.mode {
            Mode::LocalCa { dir } => leaf::issue(dir, self, &settings.names, now),
            Mode::Files { cert, key } => self.take(cert, key),
        }
    }

    fn take(&self, cert: &Path, key: &Path) -> Result<Served, TlsError> {
        let fault = |path: &Path, reason: &str| TlsError::Content { path: path.to_owned(), reason: reason.to_owned() };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.certificate).collect();
        let chain = chain.map_err(|_| fault(cert, "its PEM is broken"))?;
        let leaf = chain.first().ok_or_else(|| fault(cert, "it holds no certificate; it must be a PEM chain, the server's own first"))?;
        let validity = Validity::of(leaf).ok_or_else(|| fault(cert, "its first certificate cannot be read"))?;
        let private =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| fault(key, "it holds no PEM private key without a passphrase"))?;
        let certified = CertifiedKey::from_der(chain, private, &provider()).map_err(|source| TlsError::Key {
            cert: cert.to_owned(),
            key: key.to_owned(),
            source,
        })?;
        Ok(Served { key: Arc::new(certified), validity, needs_care_by: validity.expires_at })
    }
}

/// Where the intermediate and its key are.
pub(super) fn authority_paths(dir: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let paths = (dir.join(INTERMEDIATE), dir.join(INTERMEDIATE_KEY));
    if paths.0.exists() && paths.1.exists() { Ok(paths) } else { Err(TlsError::NoAuthority { dir: dir.to_owned() }) }
}

/// The intermediate's key, and the certificate that it was made for. While a switch to the next authority goes on, or after one
/// that was cut off, that may be the one in `next`; by then it may have been moved, hence the second look. Where none fits, the
/// one that should.
pub(super) fn read_authority(dir: &Path) -> Result<Content, TlsError> {
    let (certificate, key) = authority_paths(dir)?;
    refuse_readable_by_others(&key)?;
    let key = Zeroizing::new(read_file(&key)?);
    let first = read_file(&certificate)?;
    if !fits(&first, &key) {
        for path in [&dir.join(NEXT).join(INTERMEDIATE), &certificate] {
            if let Some(other) = read_file_there(path)?.filter(|other| fits(other, &key)) {
                return Ok(Content::of(other, key));
            }
        }
    }
    Ok(Content::of(first, key))
}

fn fits(certificate: &[u8], key: &[u8]) -> bool {
    let key = std::str::from_utf8(key).ok().and_then(|text| KeyPair::from_pem(text).ok());
    let certificate = CertificateDer::from_pem_slice(certificate).ok();
    let (Some(key), Some(certificate)) = (key, certificate) else { return false };
    parse_x509_certificate(&certificate).is_ok_and(|(_, parsed)| parsed.public_key().subject_public_key.data == key.public_key_raw())
}

/// As [`read_file`]; None when there is none.
pub(super) fn read_file_there(path: &Path) -> Result<Option<Vec<u8>>, TlsError> {
    match read_file(path) {
        Err(TlsError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, TlsError> {
    let fault = |source| TlsError::Read { path: path.to_owned(), source };
    if fs::metadata(path).map_err(fault)?.len() > FILE_BYTES_MAX {
        return Err(fault(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large to be a certificate or a key")));
    }
    fs::read(path).map_err(fault)
}

/// Whoever reads the CA's key can stand between every client here and segue.
#[cfg(unix)]
fn refuse_readable_by_others(path: &Path) -> Result<(), TlsError> {
    use std::os::unix::fs::PermissionsExt;

    let metadata = fs::metadata(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let reason = format!("others can read it; run `chmod 600 {}`", path.display());
        return Err(TlsError::Content { path: path.to_owned(), reason });
    }
    Ok(())
}

#[cfg(not(unix))]
fn refuse_readable_by_others(_path: &Path) -> Result<(), TlsError> {
    Ok(())
}
