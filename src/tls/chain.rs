//! Whether a certificate was signed by one of a few others, whatever the date [XV-2], and whether its
//! own signature is of a kind that is still accepted [XV-7].
//!
//! Called by `tls::validation`. This follows what Go's x509 library does when the same certificates are
//! its roots and its intermediates: every one of them is a root, so a single signature leads to the
//! end of a chain, and longer chains can only add conditions. rustls-webpki is no substitute: it
//! refuses certificates of version 1 and authorities as leaves, which OpenShift accepts and rustls
//! serves, and it cannot leave dates out of account.

use std::fmt;

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, GeneralSubtree, NameConstraints, ParsedExtension},
    prelude::X509Version,
    public_key::PublicKey,
    signature_algorithm::RsaSsaPssParams,
    x509::SubjectPublicKeyInfo,
};

/// Why a certificate is not taken for one of its authorities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// No certificate of the pool has signed it.
    #[error("certificate signed by unknown authority")]
    UnknownAuthority,
    /// One has the issuer's name, and is not the issuer.
    #[error(
        "certificate signed by unknown authority (possibly because of \"{fault}\" while trying to \
         verify candidate authority certificate \"{name}\")"
    )]
    Candidate {
        /// What is wrong with it.
        fault: Fault,
        /// Its common name.
        name: String,
    },
    /// Extended key usages are given, of the certificate or its issuer, and serving is none of them.
    #[error("certificate specifies an incompatible key usage")]
    KeyUsage,
    /// A critical extension that nobody here understands.
    #[error("unhandled critical extension")]
    CriticalExtension,
}

/// Why a certificate with the right name has not signed another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not made for signing certificates.
    MayNotSign,
    /// The signature is not of this key, or of an algorithm that is not verified.
    Signature,
    /// The names are outside of what the authority may sign for.
    Names,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MayNotSign => "parent certificate cannot sign this kind of certificate",
            Self::Signature => "signature verification failure",
            Self::Names => "a name is not permitted by the name constraints of the authority",
        })
    }
}

/// Passes if `leaf` is one of `pool`, or signed by one of them [XV-2]. Neither dates nor host names
/// count.
///
/// # Errors
/// [`ChainError`].
pub fn verify(leaf: &X509Certificate<'_>, pool: &[X509Certificate<'_>]) -> Result<(), ChainError> {
    understood(leaf)?;
    if pool.iter().any(|own| own.as_raw() == leaf.as_raw()) {
        return serves(leaf);
    }
    let issuers = pool.iter().filter(|it| it.subject().as_raw() == leaf.issuer().as_raw());
    let mut error = ChainError::UnknownAuthority;
    for issuer in issuers {
        error = match signed(leaf, issuer) {
            Ok(()) => {
                match serves(leaf).and_then(|()| understood(issuer)).and_then(|()| serves(issuer)) {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                }
            },
            Err(fault) => ChainError::Candidate { fault, name: common_name(issuer) },
        };
    }
    Err(error)
}

fn common_name(certificate: &X509Certificate<'_>) -> String {
    let name = certificate.subject().iter_common_name().next();
    name.and_then(|name| name.as_str().ok()).unwrap_or_default().escape_default().to_string()
}

/// RFC 5280 4.2: what is critical must be understood.
fn understood(certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
    let strange = certificate.iter_extensions().any(|extension| {
        extension.critical
            && match extension.parsed_extension() {
                ParsedExtension::UnsupportedExtension { .. }
                | ParsedExtension::ParseError { .. } => true,
                ParsedExtension::NameConstraints(names) => !subtrees(names).all(|subtree| {
                    matches!(subtree.base, GeneralName::DNSName(_) | GeneralName::IPAddress(_))
                }),
                _ => false,
            }
    });
    if strange { Err(ChainError::CriticalExtension) } else { Ok(()) }
}

fn subtrees<'a>(
    names: &'a NameConstraints<'a>,
) -> impl Iterator<Item = &'a GeneralSubtree<'a>> + use<'a> {
    let lists = [&names.permitted_subtrees, &names.excluded_subtrees];
    lists.into_iter().flatten().flatten()
}

/// No extended key usage at all means every one.
fn serves(certificate: &X509Certificate<'_>) -> Result<(), ChainError> {
    match certificate.extended_key_usage() {
        Ok(Some(usage)) if !usage.value.any && !usage.value.server_auth => {
            Err(ChainError::KeyUsage)
        },
        _ => Ok(()),
    }
}

fn signed(leaf: &X509Certificate<'_>, issuer: &X509Certificate<'_>) -> Result<(), Fault> {
    let constraints = issuer.basic_constraints().ok().flatten();
    let authority = match &constraints {
        Some(constraints) => constraints.value.ca,
        None => issuer.version() != X509Version::V3,
    };
    let usage = issuer.key_usage().ok().flatten();
    if !authority || usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(Fault::MayNotSign);
    }
    if !verifies(leaf, issuer.public_key()) {
        return Err(Fault::Signature);
    }
    match issuer.name_constraints() {
        Ok(Some(names)) if !permitted(leaf, names.value) => Err(Fault::Names),
        _ => Ok(()),
    }
}

/// True if the signature over `leaf` is of `key`. RSA keys under 2048 bits and the hashes of
/// [`weak_signature`] are not verified.
fn verifies(leaf: &X509Certificate<'_>, key: &SubjectPublicKeyInfo<'_>) -> bool {
    let Some(algorithm) = algorithm(leaf, key) else { return false };
    UnparsedPublicKey::new(algorithm, &key.subject_public_key.data)
        .verify(leaf.tbs_certificate.as_ref(), &leaf.signature_value.data)
        .is_ok()
}

fn algorithm(
    leaf: &X509Certificate<'_>,
    key: &SubjectPublicKeyInfo<'_>,
) -> Option<&'static dyn VerificationAlgorithm> {
    let curve = match key.parsed().ok()? {
        PublicKey::RSA(_) => None,
        PublicKey::EC(point) => Some(point.key_size()),
        _ => return None,
    };
    let kind = &leaf.signature_algorithm;
    Some(match (kind.algorithm.to_id_string().as_str(), curve) {
        ("1.2.840.113549.1.1.11", None) => &signature::RSA_PKCS1_2048_8192_SHA256,
        ("1.2.840.113549.1.1.12", None) => &signature::RSA_PKCS1_2048_8192_SHA384,
        ("1.2.840.113549.1.1.13", None) => &signature::RSA_PKCS1_2048_8192_SHA512,
        ("1.2.840.113549.1.1.10", None) => {
            let parameters = RsaSsaPssParams::try_from(kind.parameters.as_ref()?).ok()?;
            match parameters.hash_algorithm_oid().to_id_string().as_str() {
                "2.16.840.1.101.3.4.2.1" => &signature::RSA_PSS_2048_8192_SHA256,
                "2.16.840.1.101.3.4.2.2" => &signature::RSA_PSS_2048_8192_SHA384,
                "2.16.840.1.101.3.4.2.3" => &signature::RSA_PSS_2048_8192_SHA512,
                _ => return None,
            }
        },
        ("1.2.840.10045.4.3.2", Some(256)) => &signature::ECDSA_P256_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", Some(256)) => &signature::ECDSA_P256_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", Some(256)) => &signature::ECDSA_P256_SHA512_ASN1,
        ("1.2.840.10045.4.3.2", Some(384)) => &signature::ECDSA_P384_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", Some(384)) => &signature::ECDSA_P384_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", Some(384)) => &signature::ECDSA_P384_SHA512_ASN1,
        ("1.2.840.10045.4.3.2", Some(521..=528)) => &signature::ECDSA_P521_SHA256_ASN1,
        ("1.2.840.10045.4.3.3", Some(521..=528)) => &signature::ECDSA_P521_SHA384_ASN1,
        ("1.2.840.10045.4.3.4", Some(521..=528)) => &signature::ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}

/// Every DNS name and address of `leaf` must be inside a permitted subtree of its kind, if there is
/// one of that kind, and outside all excluded ones (RFC 5280 4.2.1.10).
fn permitted(leaf: &X509Certificate<'_>, names: &NameConstraints<'_>) -> bool {
    let Ok(Some(alternatives)) = leaf.subject_alternative_name() else { return true };
    let none = Vec::new();
    let allowed = names.permitted_subtrees.as_ref().unwrap_or(&none);
    let refused = names.excluded_subtrees.as_ref().unwrap_or(&none);
    alternatives.value.general_names.iter().all(|name| {
        let mut of_kind = allowed.iter().filter_map(|tree| inside(name, &tree.base)).peekable();
        (of_kind.peek().is_none() || of_kind.any(|inside| inside))
            && !refused.iter().any(|tree| inside(name, &tree.base) == Some(true))
    })
}

/// Whether `name` is in the subtree `base`; `None` if they are of different kinds.
fn inside(name: &GeneralName<'_>, base: &GeneralName<'_>) -> Option<bool> {
    match (name, base) {
        (GeneralName::DNSName(name), GeneralName::DNSName(base)) => {
            let (name, base) = (name.to_ascii_lowercase(), base.to_ascii_lowercase());
            let rest = name.strip_suffix(base.as_str());
            Some(match rest {
                Some(rest) => {
                    base.is_empty()
                        || rest.ends_with('.')
                        || base.starts_with('.')
                        || rest.is_empty()
                },
                None => false,
            })
        },
        (GeneralName::IPAddress(address), GeneralName::IPAddress(base)) => {
            let (network, mask) = base.split_at(base.len() / 2);
            let same = |((a, n), m): ((&u8, &u8), &u8)| (a & m) == (n & m);
            let fits = network.len() == address.len() && mask.len() == address.len();
            Some(fits && address.iter().zip(network).zip(mask).all(same))
        },
        _ => None,
    }
}

/// The name of the hash, if `certificate` was signed by another one with a hash that is no longer
/// accepted [XV-7]. Nobody verifies the signature of a certificate that signs itself.
#[must_use]
pub fn weak_signature(certificate: &X509Certificate<'_>) -> Option<&'static str> {
    let weak = match certificate.signature_algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" => {
            "SHA1"
        },
        "1.2.840.113549.1.1.4" => "MD5",
        "1.2.840.113549.1.1.2" => "MD2",
        _ => return None,
    };
    (!is_self_signed(certificate)).then_some(weak)
}

/// As OpenSSL tells it, without verifying: one name, one key identifier, and a signature of the key's
/// kind.
fn is_self_signed(certificate: &X509Certificate<'_>) -> bool {
    let (mut authority, mut subject) = (None, None);
    for extension in certificate.iter_extensions() {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                authority = id.key_identifier.as_ref().map(|id| id.0);
            },
            ParsedExtension::SubjectKeyIdentifier(id) => subject = Some(id.0),
            _ => {},
        }
    }
    let signature = certificate.signature_algorithm.algorithm.to_id_string();
    let family = match certificate.public_key().algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => {
            signature.starts_with("1.2.840.113549.1.1.") || signature == "1.3.14.3.2.29"
        },
        "1.2.840.10045.2.1" => signature.starts_with("1.2.840.10045.4."),
        "1.2.840.10040.4.1" => signature.starts_with("1.2.840.10040.4."),
        _ => false,
    };
    certificate.issuer().as_raw() == certificate.subject().as_raw()
        && (authority.is_none() || authority == subject)
        && family
}

#[cfg(test)]
mod tests;
