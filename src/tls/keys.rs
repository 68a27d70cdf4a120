//! From PEM text to a certificate chain with its key, checked (spec/route.md 5.1).
//!
//! Called by `compile` for routes and Secrets and by `app` for the default certificate. Always holds:
//! the key belongs to the first certificate, and no error text contains key material.

use std::sync::Arc;

use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

/// Why a pair cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No CERTIFICATE block.
    #[error("the certificate has no CERTIFICATE block")]
    NoCertificate,
    /// A block is not valid PEM or not valid DER.
    #[error("the {part} is not valid PEM: {source}")]
    Pem {
        /// `certificate`, `CA certificate` or `key`.
        part: &'static str,
        /// What the parser said.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate block does not hold an X.509 certificate.
    #[error("certificate {index} of the chain is not a valid X.509 certificate")]
    Certificate {
        /// Position in the chain, from 1.
        index: usize,
    },
    /// No private key in `key` or `certificate` [XV-5].
    #[error("no key specified")]
    NoKey,
    /// The TLS library refuses the key: type or size.
    #[error("the key cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
    /// Ed25519 and other key types that OpenShift refuses [XV-4].
    #[error("the key is neither RSA nor ECDSA")]
    KeyType,
    /// The key does not belong to the first certificate [XV-6].
    #[error("certificate and key do not match")]
    Mismatch,
}

impl KeyError {
    /// True when the key, and not the certificate, is to blame.
    #[must_use]
    pub fn is_about_key(&self) -> bool {
        matches!(
            self,
            Self::NoKey
                | Self::Unusable(_)
                | Self::KeyType
                | Self::Mismatch
                | Self::Pem { part: "key", .. }
        )
    }
}

/// The pair of `certificate` (which may hold the key) and `key`, with `ca` appended to the chain
/// [CERT-4].
///
/// # Errors
/// [`KeyError`] when the pair cannot be served.
pub fn parse(
    provider: &CryptoProvider,
    certificate: &str,
    key: &str,
    ca: &str,
) -> Result<Arc<CertifiedKey>, KeyError> {
    let mut chain = certificates(certificate, "certificate")?;
    if chain.is_empty() {
        return Err(KeyError::NoCertificate);
    }
    chain.extend(certificates(ca, "CA certificate")?);
    for (index, der) in chain.iter().enumerate() {
        x509_parser::parse_x509_certificate(der)
            .map_err(|_reason| KeyError::Certificate { index: index + 1 })?;
    }
    let key_text = if key.trim().is_empty() { certificate } else { key };
    let key = match PrivateKeyDer::from_pem_slice(key_text.as_bytes()) {
        Ok(key) => key,
        Err(rustls::pki_types::pem::Error::NoItemsFound) => return Err(KeyError::NoKey),
        Err(source) => return Err(KeyError::Pem { part: "key", source }),
    };
    let signer = provider.key_provider.load_private_key(key).map_err(KeyError::Unusable)?;
    if !matches!(
        signer.algorithm(),
        rustls::SignatureAlgorithm::RSA | rustls::SignatureAlgorithm::ECDSA
    ) {
        return Err(KeyError::KeyType);
    }
    let pair = CertifiedKey::new(chain, signer);
    match pair.keys_match() {
        Ok(()) => Ok(Arc::new(pair)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(KeyError::Mismatch),
        Err(error) => Err(KeyError::Unusable(error)),
    }
}

fn certificates(text: &str, part: &'static str) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| KeyError::Pem { part, source })
}
