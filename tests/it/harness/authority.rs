//! Authorities that sign clients' certificates and revocation lists.

use std::{path::Path, time::Duration};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::tls::Identity;

/// An authority.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate, PEM.
    pub pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A root whose list is at `place`, if anywhere.
pub fn authority(name: &str, place: Option<&str>) -> Authority {
    let mut params = params(&[(DnType::CommonName, name.into())]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let uris = place.map(|place| vec![place.to_owned()]);
    params.crl_distribution_points =
        uris.map(|uris| CrlDistributionPoint { uris }).into_iter().collect();
    let key = KeyPair::generate().expect("a key");
    let made = params.self_signed(&key).expect("a certificate");
    Authority { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(params, key) }
}

fn params(subject: &[(DnType, DnValue)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    params.not_before = rcgen::date_time_ymd(2026, 1, 2);
    params.not_after = rcgen::date_time_ymd(2049, 3, 4);
    params
}

impl Authority {
    /// A client called `name`.
    pub fn client(&self, name: &str, serial: u64) -> Identity {
        self.client_with(&[(DnType::CommonName, name.into())], serial)
    }

    /// A client with this subject.
    pub fn client_with(&self, subject: &[(DnType, DnValue)], serial: u64) -> Identity {
        let mut params = params(subject);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().expect("a key");
        let made = params.signed_by(&key, &self.issuer).expect("a certificate");
        let chain = vec![made.der().clone(), self.der.clone()];
        Identity { chain, key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key") }
    }

    /// A list of November 2026 that lasts for decades.
    pub fn list(&self, revoked: &[u64]) -> rcgen::CertificateRevocationList {
        let start = rcgen::date_time_ymd(2026, 11, 1);
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: start,
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: start,
            next_update: start + Duration::from_secs(86_400 * 10_000),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list")
    }

    /// Puts the list into a file, by a rename.
    pub fn write_list(&self, path: &Path, revoked: &[u64]) {
        replace(path, &self.list(revoked).pem().expect("PEM"));
    }
}

/// Puts a file in place at once, as editors do.
pub fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).expect("the folder is writable");
    std::fs::rename(&draft, path).expect("the folder is writable");
}
