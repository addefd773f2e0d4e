//! Leaves: the certificates that clients see, made by the local CA, in memory.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    sign::CertifiedKey,
};

use crate::{
    model::WallTime,
    tls::{
        TlsError,
        authority::{INTERMEDIATE, INTERMEDIATE_KEY, random_serial},
        served::{Content, Served, provider},
        validity::Validity,
    },
};

/// With the hour before its making it stays below seven days.
const LEAF_LIFE: Duration = Duration::from_hours(6 * 24);

/// Makes a leaf for all of `names` with the CA in `content`, and checks it as a client would.
pub(super) fn issue(dir: &Path, content: &Content, names: &[String], now: WallTime) -> Result<Served, TlsError> {
    let certificate =
        CertificateDer::from_pem_slice(&content.certificate).map_err(|_| fault(dir, INTERMEDIATE, "it is not a PEM certificate"))?;
    let key = std::str::from_utf8(&content.key).ok().and_then(|text| KeyPair::from_pem(text).ok());
    let key = key.ok_or_else(|| fault(dir, INTERMEDIATE_KEY, "it is not a PEM private key"))?;
    let authority = Validity::of(&certificate).ok_or_else(|| fault(dir, INTERMEDIATE, "it is not a certificate"))?;
    if authority.is_over(now) {
        return Err(TlsError::Expired { dir: dir.to_owned(), expired_at: authority.expires_at });
    }
    let issuer = Issuer::from_ca_cert_der(&certificate, key).map_err(TlsError::Make)?;
    let validity = Validity::from_now(now, LEAF_LIFE).within(authority);
    let served = sign(&issuer, &certificate, names, validity)?;
    if let Err(source) = verify(&served, &certificate, names, now) {
        let is_accepted = |names: &[String]| {
            sign(&issuer, &certificate, names, validity).is_ok_and(|leaf| verify(&leaf, &certificate, names, now).is_ok())
        };
        let refused = names.iter().find(|name| !is_accepted(std::slice::from_ref(*name)));
        return Err(match refused {
            Some(name) if is_accepted(&["localhost".to_owned()]) => TlsError::NotPermitted { dir: dir.to_owned(), name: name.clone() },
            _ => TlsError::Key { cert: dir.join(INTERMEDIATE), key: dir.join(INTERMEDIATE_KEY), source },
        });
    }
    Ok(Served { needs_care_by: authority.expires_at, ..served })
}

fn fault(dir: &Path, name: &str, reason: &str) -> TlsError {
    TlsError::Content {
        path: dir.join(name),
        reason: format!("{reason}; make a new CA with `segue certs init --dir {} --force`", dir.display()),
    }
}

fn sign(
    issuer: &Issuer<'_, KeyPair>,
    authority: &CertificateDer<'static>,
    names: &[String],
    validity: Validity,
) -> Result<Served, TlsError> {
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let leaf = leaf_params(names, validity).and_then(|params| params.signed_by(&key, issuer)).map_err(TlsError::Make)?;
    let private =
        PrivateKeyDer::try_from(key.serialize_der()).map_err(|error| TlsError::Setup(rustls::Error::General(error.to_owned())))?;
    let chain = vec![leaf.der().clone(), authority.clone()];
    let key = CertifiedKey::from_der(chain, private, &provider()).map_err(TlsError::Setup)?;
    Ok(Served { key: Arc::new(key), validity, needs_care_by: validity.expires_at })
}

fn leaf_params(names: &[String], validity: Validity) -> Result<CertificateParams, rcgen::Error> {
    let mut names = names.to_vec();
    if !names.iter().any(|name| name == "localhost") {
        names.push("localhost".to_owned());
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, names[0].as_str());
    for name in names {
        params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    params.subject_alt_names.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(random_serial());
    validity.write_to(&mut params);
    Ok(params)
}

/// A client's own check, by one that trusts nothing but `authority`, the intermediate or the root: the signatures are good and the
/// constraints let each name pass.
pub(super) fn verify(served: &Served, authority: &CertificateDer<'static>, names: &[String], now: WallTime) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider()))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let since_1970 = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
    for name in names {
        let name = ServerName::try_from(name.as_str()).map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(
            served.key.end_entity_cert()?,
            &served.key.cert[1..],
            &name,
            &[],
            UnixTime::since_unix_epoch(since_1970),
        )?;
    }
    Ok(())
}
