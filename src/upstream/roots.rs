//! Which certificate authorities an upstream may be signed by.
//!
//! The usual ones are read from the system's own bundle by its path, never through `SSL_CERT_FILE` or `SSL_CERT_DIR`:
//! that is where a machine set up for segue keeps segue's local CA, and an upstream signed by that would be segue itself,
//! or whoever stole its key. For the same reason the local CA is left out where it stands in the bundle.

use std::{fs, path::Path};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    model::{LOCAL_CA_NAME, ROOT_BUNDLES},
    upstream::{Settings, UpstreamError},
};

/// More than any bundle has; a file beyond it is not a bundle.
const BUNDLE_BYTES_MAX: u64 = 8 << 20;

/// The roots for an upstream with these settings.
pub(super) fn load(settings: &Settings) -> Result<RootCertStore, UpstreamError> {
    let mut store = usual(ROOT_BUNDLES.iter().map(Path::new));
    if let Some(path) = &settings.ca_file {
        let read = fs::read(path).map_err(|source| UpstreamError::CaFile { path: path.clone(), source })?;
        let (added, _) = store.add_parsable_certificates(certificates(&read));
        if added == 0 {
            return Err(UpstreamError::NoRoot { path: path.clone() });
        }
    }
    for (index, root) in settings.extra_roots.iter().enumerate() {
        store.add(CertificateDer::from(root.as_slice())).map_err(|source| UpstreamError::ExtraRoot { index, source })?;
    }
    Ok(store)
}

/// The first bundle that has a root which is not our own; Mozilla's list, built in, when there is none.
fn usual<'a>(bundles: impl Iterator<Item = &'a Path>) -> RootCertStore {
    let mut store = RootCertStore::empty();
    for bundle in bundles {
        let small = fs::metadata(bundle).is_ok_and(|metadata| metadata.len() <= BUNDLE_BYTES_MAX);
        let Some(read) = small.then(|| fs::read(bundle).ok()).flatten() else { continue };
        store.add_parsable_certificates(certificates(&read));
        store.roots.retain(|root| !is_local_ca(root.subject.as_ref()));
        if !store.is_empty() {
            return store;
        }
    }
    store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    store
}

fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

fn is_local_ca(subject: &[u8]) -> bool {
    subject.windows(LOCAL_CA_NAME.len()).any(|window| window == LOCAL_CA_NAME.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

    use super::*;

    fn root(name: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
    }

    fn file(dir: &tempfile::TempDir, name: &str, content: &str) -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn the_local_ca_is_left_out_of_the_systems_bundle() {
        let dir = tempfile::tempdir().unwrap();
        let ours = root(&format!("{LOCAL_CA_NAME} laptop 1234"));
        let bundle = file(&dir, "bundle.pem", &format!("{ours}\n{}", root("Some CA")));
        let store = usual([bundle.as_path()].into_iter());
        assert_eq!(store.len(), 1);
        assert!(!is_local_ca(store.roots[0].subject.as_ref()));
    }

    #[test]
    fn without_a_bundle_the_built_in_roots_are_used() {
        let dir = tempfile::tempdir().unwrap();
        let ours = file(&dir, "ours.pem", &root(LOCAL_CA_NAME));
        for bundles in [vec![], vec![dir.path().join("absent")], vec![ours]] {
            assert_eq!(usual(bundles.iter().map(PathBuf::as_path)).len(), webpki_roots::TLS_SERVER_ROOTS.len());
        }
    }

    #[test]
    fn a_root_that_is_asked_for_is_trusted_even_when_it_is_the_local_ca() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(&dir, "ca.pem", &root(LOCAL_CA_NAME));
        let usual_count = load(&Settings::default()).unwrap().len();
        let store = load(&Settings { ca_file: Some(path), ..Settings::default() }).unwrap();
        assert_eq!(store.len(), usual_count + 1);
    }

    #[test]
    fn a_file_without_roots_is_a_fault() {
        let dir = tempfile::tempdir().unwrap();
        let settings = |path| Settings { ca_file: Some(path), ..Settings::default() };
        assert!(matches!(load(&settings(file(&dir, "empty.pem", ""))), Err(UpstreamError::NoRoot { .. })));
        assert!(matches!(load(&settings(dir.path().join("absent"))), Err(UpstreamError::CaFile { .. })));
        let extra = Settings { extra_roots: vec![b"garbage".to_vec()], ..Settings::default() };
        assert!(matches!(load(&extra), Err(UpstreamError::ExtraRoot { index: 0, .. })));
    }
}
