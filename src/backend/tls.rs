//! The pod's own TLS, for re-encrypt and passthrough Routes.
//!
//! Called by `app::backend`. The pod never asks for a client certificate.

use std::sync::Arc;

use rustls::{ServerConfig, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};

/// Why a certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate file is not PEM.
    #[error("the certificate is not valid PEM")]
    Certificate(#[source] pem::Error),
    /// The key file is not PEM.
    #[error("the key is not valid PEM")]
    Key(#[source] pem::Error),
    /// The certificate file has no certificate.
    #[error("there is no certificate in the certificate file")]
    NoCertificate,
    /// They do not fit each other, or are of an unknown kind.
    #[error("the certificate and the key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// A server configuration from PEM text, offering h2 and http/1.1.
///
/// # Errors
/// [`TlsError`] says which of the two texts is at fault.
pub fn server_config(certificate: &[u8], key: &[u8]) -> Result<ServerConfig, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<Vec<_>, _>>()
        .map_err(TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
