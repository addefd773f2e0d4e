//! The usual roots: what an app trusts before it trusts segue, and has to go on trusting.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::parse_x509_certificate;

use crate::{
    model::{LOCAL_CA_NAME, ROOT_BUNDLES},
    tls::ExportError,
};

/// The usual roots and where they were found. segue's own, of this or another local CA, are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usual {
    /// The file.
    pub path: PathBuf,
    pub(super) certificates: Vec<CertificateDer<'static>>,
}

impl Usual {
    /// Reads that file; None: the first of the places where systems keep theirs.
    ///
    /// # Errors
    ///
    /// When there is none, or it has no root.
    pub fn read(named: Option<&Path>) -> Result<Self, ExportError> {
        match named {
            Some(path) => Self::of(path),
            None => Self::first(&ROOT_BUNDLES),
        }
    }

    fn first(places: &[&str]) -> Result<Self, ExportError> {
        let found = places.iter().find_map(|place| Self::of(Path::new(place)).ok());
        found.ok_or_else(|| ExportError::NoUsual { searched: places.join(", ") })
    }

    fn of(path: &Path) -> Result<Self, ExportError> {
        let fault = |source| ExportError::Read { path: path.to_owned(), source };
        if fs::metadata(path).map_err(fault)?.len() > BUNDLE_BYTES_MAX {
            return Err(fault(io::Error::new(io::ErrorKind::FileTooLarge, "it is too large to be a bundle of roots")));
        }
        let read = fs::read(path).map_err(fault)?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&read).filter_map(Result::ok).filter(is_others).collect();
        if certificates.is_empty() {
            return Err(ExportError::Empty { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), certificates })
    }
}

/// A root of a local CA comes from the directory of that CA, for as long as that says so, and never from a store that was forgotten.
fn is_others(certificate: &CertificateDer<'static>) -> bool {
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else { return false };
    !parsed.subject().as_raw().windows(LOCAL_CA_NAME.len()).any(|window| window == LOCAL_CA_NAME.as_bytes())
}

/// More than any bundle has.
const BUNDLE_BYTES_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;
    use crate::tls::standing::pem;

    fn root(name: &str) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn keys_and_our_own_roots_are_left_out_and_the_rest_is_taken_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bundle.pem");
        let (one, key) = root("One");
        let (two, _) = root("Two");
        let (ours, _) = root(&format!("{LOCAL_CA_NAME} laptop 1234"));
        fs::write(&path, format!("# One\n{one}{key}{ours}# Two\n{two}")).unwrap();
        let usual = Usual::read(Some(&path)).unwrap();
        let written: String = usual.certificates.iter().map(|certificate| pem(certificate)).collect();
        assert_eq!(written, format!("{one}{two}").replace('\r', ""));
    }

    #[test]
    fn without_any_the_way_out_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let absent = dir.path().join("absent");
        let said = Usual::first(&[absent.to_str().unwrap()]).unwrap_err().to_string();
        assert!(said.contains("--roots FILE") && said.contains("absent"), "{said}");
        assert!(matches!(Usual::read(Some(&absent)), Err(ExportError::Read { .. })));
        fs::write(&absent, root(LOCAL_CA_NAME).0).unwrap();
        assert!(matches!(Usual::read(Some(&absent)), Err(ExportError::Empty { .. })));
    }
}
