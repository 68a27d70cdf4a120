//! A certificate chain with its key, ready to sign handshakes.
//!
//! Called by `tls::validation` for routes and Secrets and by `compile` for the default certificate.
//! Always holds: the key belongs to the first certificate, and no error text contains key material.

use std::sync::Arc;

use rustls::{
    SignatureAlgorithm,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};
use x509_parser::{parse_x509_certificate, public_key::PublicKey};

use super::pem::{self, PemError};

/// Least bits of an RSA key; the TLS library refuses fewer.
const MIN_RSA_BITS: usize = 2048;

/// Why a pair cannot be served.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// No CERTIFICATE block.
    #[error("the certificate has no CERTIFICATE block")]
    NoCertificate,
    /// A block of the certificate is not what it says.
    #[error(transparent)]
    Certificate(PemError),
    /// A block of the CA certificate is not what it says.
    #[error(transparent)]
    Authority(PemError),
    /// A block of the key is not what it says.
    #[error(transparent)]
    Key(PemError),
    /// No private key with the certificate or by itself [XV-5].
    #[error("no key specified")]
    NoKey,
    /// Too short for the TLS library; OpenSSL refuses it as well.
    #[error("the RSA key has {0} bits, and 2048 are the least that is served")]
    Short(usize),
    /// The TLS library refuses the key.
    #[error("the key cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
    /// The key does not belong to the first certificate [XV-6].
    #[error("the private key does not match the public key of the first certificate")]
    Mismatch,
}

/// The pair of PEM texts: `certificate`, which may hold the key, `key`, and `ca`, which is appended to
/// the chain [CERT-4]. What else stands in the texts is left out of account: this is what can be
/// served, not what is valid.
///
/// # Errors
/// [`KeyError`] when the pair cannot be served.
pub fn parse(
    provider: &CryptoProvider,
    certificate: &str,
    key: &str,
    ca: &str,
) -> Result<Arc<CertifiedKey>, KeyError> {
    let own = pem::lenient(certificate).map_err(KeyError::Certificate)?;
    let mut keys = own.keys.into_iter().chain(pem::lenient(key).map_err(KeyError::Key)?.keys);
    let mut chain = own.certificates;
    if chain.is_empty() {
        return Err(KeyError::NoCertificate);
    }
    chain.extend(pem::lenient(ca).map_err(KeyError::Authority)?.certificates);
    pair(provider, chain, keys.next())
}

/// The pair of a chain, whose first certificate is the server's own, and its key.
///
/// # Errors
/// [`KeyError`] when the pair cannot be served.
pub fn pair(
    provider: &CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    key: Option<PrivateKeyDer<'static>>,
) -> Result<Arc<CertifiedKey>, KeyError> {
    let key = key.ok_or(KeyError::NoKey)?;
    let leaf = chain.first().ok_or(KeyError::NoCertificate)?;
    let Ok((_, leaf)) = parse_x509_certificate(leaf) else { return Err(KeyError::NoCertificate) };
    if let Ok(PublicKey::RSA(key)) = leaf.public_key().parsed()
        && key.key_size() < MIN_RSA_BITS
    {
        return Err(KeyError::Short(key.key_size()));
    }
    let signer = provider.key_provider.load_private_key(key).map_err(KeyError::Unusable)?;
    // Compared here, since rustls reads the certificate with a parser that refuses version 1.
    let public = signer.public_key().is_some_and(|key| key.as_ref() == leaf.public_key().raw);
    drop(leaf);
    if public { Ok(Arc::new(CertifiedKey::new(chain, signer))) } else { Err(KeyError::Mismatch) }
}

/// True for an ECDSA key, false for RSA.
#[must_use]
pub fn is_ecdsa(key: &CertifiedKey) -> bool {
    key.key.algorithm() == SignatureAlgorithm::ECDSA
}
