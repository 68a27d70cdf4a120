//! Certificate revocation lists: reading them, where authorities say they are, when to look again
//! [MTLS-4].
//!
//! Used by `client_auth` and by the task that downloads. Pure: bytes and times come in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm,
    pem::PemObject as _,
};
use x509_parser::{
    extensions::{DistributionPointName, GeneralName, ParsedExtension},
    prelude::FromDer as _,
    revocation_list::CertificateRevocationList,
};

/// From a failed download to the next, and how long before the end of a list the next one is asked
/// for.
pub const RETRY: Duration = Duration::from_secs(300);

/// Places that are asked at most.
pub const MAX_PLACES: usize = 64;

/// A revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// As it came.
    pub der: CertificateRevocationListDer<'static>,
    /// When it was made, seconds since 1970.
    pub made: i64,
    /// When the next one will be there, seconds since 1970, if it says so.
    pub next: Option<i64>,
}

/// Why bytes are not revocation lists.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// A block is not valid PEM. Which one is not said: the library repeats what it has read, and
    /// that may be megabytes from somewhere else.
    #[error("it is not valid PEM")]
    Pem,
    /// A block, or the whole, is not a list.
    #[error("list {index} is not a valid X.509 revocation list")]
    List {
        /// Position, from 1.
        index: usize,
    },
    /// No X509 CRL block, and not DER either.
    #[error("there is no revocation list in it")]
    Empty,
}

/// The lists in `bytes`: PEM blocks, or a single one in DER.
///
/// # Errors
/// When there is none, or one cannot be read.
pub fn read(bytes: &[u8]) -> Result<Vec<List>, CrlError> {
    /// How a DER sequence begins.
    const SEQUENCE: u8 = 0x30;
    let ders = if bytes.first() == Some(&SEQUENCE) {
        vec![CertificateRevocationListDer::from(bytes.to_vec())]
    } else {
        let blocks = CertificateRevocationListDer::pem_slice_iter(bytes);
        blocks.collect::<Result<Vec<_>, _>>().map_err(|_with_content| CrlError::Pem)?
    };
    if ders.is_empty() {
        return Err(CrlError::Empty);
    }
    let lists = ders.into_iter().enumerate();
    lists.map(|(index, der)| list(der).ok_or(CrlError::List { index: index + 1 })).collect()
}

fn list(der: CertificateRevocationListDer<'static>) -> Option<List> {
    let (rest, parsed) = CertificateRevocationList::from_der(&der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let (made, next) = (parsed.last_update(), parsed.next_update());
    let (made, next) = (made.timestamp(), next.map(|next| next.timestamp()));
    Some(List { der, made, next })
}

impl List {
    /// True when one of `authorities` has signed it, with any of `algorithms`.
    #[must_use]
    pub fn is_signed_by(
        &self,
        authorities: &[CertificateDer<'_>],
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> bool {
        let Ok((_, list)) = CertificateRevocationList::from_der(&self.der) else { return false };
        let (message, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
        authorities.iter().any(|der| {
            let Ok((_, issuer)) = x509_parser::parse_x509_certificate(der) else { return false };
            let key = &issuer.public_key().subject_public_key.data;
            let verifies = |algorithm: &&dyn SignatureVerificationAlgorithm| {
                algorithm.verify_signature(key, message, signature).is_ok()
            };
            issuer.subject().as_raw() == list.tbs_cert_list.issuer.as_raw()
                && algorithms.iter().any(verifies)
        })
    }
}

/// Where the lists of `authorities` are: for each distribution point its http addresses, each of which
/// serves the same list. At most [`MAX_PLACES`].
#[must_use]
pub fn places(authorities: &[CertificateDer<'_>]) -> Vec<Vec<String>> {
    let mut places: Vec<Vec<String>> = Vec::new();
    for der in authorities {
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { continue };
        for extension in certificate.extensions() {
            let ParsedExtension::CRLDistributionPoints(points) = extension.parsed_extension()
            else {
                continue;
            };
            for point in points.iter() {
                let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                    continue;
                };
                let addresses: Vec<String> = names.iter().filter_map(http_address).collect();
                if !addresses.is_empty() && !places.contains(&addresses) {
                    places.push(addresses);
                }
            }
        }
    }
    places.truncate(MAX_PLACES);
    places
}

fn http_address(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::URI(uri) => {
            let scheme = uri.get(..7)?;
            scheme.eq_ignore_ascii_case("http://").then(|| (*uri).to_owned())
        },
        _ => None,
    }
}

/// When a list that was just downloaded is to be asked for again: shortly before its end, or at its end
/// if that is close, and after [`RETRY`] if it is over or has none.
#[must_use]
pub fn next_look(now: SystemTime, next: Option<i64>) -> Duration {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let end = next.and_then(|next| u64::try_from(next).ok()).map(Duration::from_secs);
    match end.and_then(|end| end.checked_sub(now)) {
        Some(left) if left > 2 * RETRY => left - RETRY,
        Some(left) if !left.is_zero() => left,
        _ => RETRY,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
        IsCa, Issuer, KeyIdMethod, KeyPair, SerialNumber,
    };

    use rustls::crypto::aws_lc_rs;

    use super::*;

    /// A list of no certificates that is valid from 2026 to 2027.
    fn made() -> rcgen::CertificateRevocationList {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        made_by(&Issuer::new(params, KeyPair::generate().unwrap()))
    }

    fn made_by(issuer: &Issuer<'_, impl rcgen::SigningKey>) -> rcgen::CertificateRevocationList {
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2027, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap()
    }

    /// [MTLS-4]: files are PEM, downloads are DER.
    #[test]
    fn mtls_4_lists_are_read_as_pem_and_der() {
        let (one, two) = (made(), made());
        let text = format!("# comment\n{}{}", one.pem().unwrap(), two.pem().unwrap());
        let lists = read(text.as_bytes()).unwrap();
        assert_eq!(lists.len(), 2);
        assert_eq!(lists[0], read(one.der()).unwrap()[0]);
        assert_eq!((lists[0].made, lists[0].next), (1_767_225_600, Some(1_798_761_600)));
        assert!(matches!(read(b""), Err(CrlError::Empty)));
        assert!(matches!(read(b"\x30\x03abc"), Err(CrlError::List { index: 1 })));
        let broken = text.replacen("MII", "AAA", 1).replacen("MIH", "AAA", 1);
        assert!(matches!(read(broken.as_bytes()), Err(CrlError::List { .. } | CrlError::Pem)));
    }

    /// [MTLS-4]
    #[test]
    fn mtls_4_a_list_is_its_authoritys_or_nobodys() {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms.all;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let keys = [
            KeyPair::generate().unwrap(),
            KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap(),
            KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
        ];
        let other = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone();
        for key in keys {
            let own = params.self_signed(&key).unwrap().der().clone();
            let made = made_by(&Issuer::from_params(&params, &key));
            let list = read(made.der()).unwrap().remove(0);
            assert!(list.is_signed_by(&[other.clone(), own.clone()], algorithms));
            assert!(!list.is_signed_by(std::slice::from_ref(&other), algorithms), "its name only");
            assert!(!list.is_signed_by(&[], algorithms));
            let mut forged = made.der().to_vec();
            *forged.last_mut().unwrap() ^= 1;
            if let Ok(mut lists) = read(&forged) {
                assert!(!lists.remove(0).is_signed_by(&[own], algorithms));
            }
        }
    }

    /// S-72: what came from somewhere else is not repeated.
    #[test]
    fn s_72_errors_show_no_content() {
        let error = read(b"-----BEGIN X509 CRL secret\n").unwrap_err();
        assert_eq!(format!("{error} {error:?}"), "it is not valid PEM Pem");
    }

    /// [MTLS-4]: only http counts, and addresses of one point stay together.
    #[test]
    fn mtls_4_places_are_the_http_distribution_points() {
        let with = |points: &[&[&str]]| {
            let mut params = CertificateParams::default();
            let uris = |uris: &&[&str]| uris.iter().map(|uri| (*uri).to_owned()).collect();
            params.crl_distribution_points =
                points.iter().map(|point| CrlDistributionPoint { uris: uris(point) }).collect();
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let first = with(&[&["ldap://a/", "HTTP://a/1", "http://b/1"], &["https://a/2"]]);
        let second = with(&[&["HTTP://a/1", "http://b/1"], &["http://c/"]]);
        let found = places(&[first, with(&[]), second]);
        assert_eq!(found, [vec!["HTTP://a/1", "http://b/1"], vec!["http://c/"]]);
    }

    /// [MTLS-4]: at the end of the list, and every five minutes when there is nothing newer.
    #[test]
    fn mtls_4_the_next_look() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let rows = [
            (None, 300),
            (Some(999_000), 300),
            (Some(1_000_000), 300),
            (Some(-5), 300),
            (Some(1_000_010), 10),
            (Some(1_000_600), 600),
            (Some(1_001_000), 700),
        ];
        for (next, seconds) in rows {
            assert_eq!(next_look(now, next), Duration::from_secs(seconds), "{next:?}");
        }
    }
}
