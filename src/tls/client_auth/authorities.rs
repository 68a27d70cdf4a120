//! The bundle of authorities that sign client certificates [MTLS-1].
//!
//! As OpenSSL reads one: certificates that sign themselves are roots, the others help to build a chain
//! and can be revoked. One whose issuer is not in the bundle has to be taken for a root as well, or it
//! would be good for nothing.

use std::{path::PathBuf, sync::Arc};

use rustls::{
    DistinguishedName, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

/// Where distributions keep the bundle of the system.
const SYSTEM: [&str; 4] = [
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The bundle of the system: the first file there is.
#[must_use]
pub fn system_bundle() -> Option<PathBuf> {
    SYSTEM.iter().map(PathBuf::from).find(|path| path.is_file())
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesError {
    /// A block is not valid PEM.
    #[error("not valid PEM: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// A block does not hold a certificate that can be an authority.
    #[error("certificate {index} cannot be used: {reason}")]
    Certificate {
        /// Position, from 1.
        index: usize,
        /// Why.
        reason: String,
    },
    /// No CERTIFICATE block.
    #[error("there is no CERTIFICATE block in it")]
    Empty,
}

/// Bytes of names that a request for a certificate may have; with more it has none, which leaves the
/// choice to the client.
const MAX_NAMES: usize = 32 * 1024;

/// The authorities of client certificates, at least one.
#[derive(Clone, Debug)]
pub struct Authorities {
    all: Vec<CertificateDer<'static>>,
    names: Vec<DistinguishedName>,
    roots: Arc<RootCertStore>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads PEM text.
    ///
    /// # Errors
    /// When it holds no certificate, or one that cannot be used.
    pub fn read(text: &[u8]) -> Result<Self, AuthoritiesError> {
        let all = CertificateDer::pem_slice_iter(text)
            .collect::<Result<Vec<_>, _>>()
            .map_err(AuthoritiesError::Pem)?;
        if all.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        let mut names = Vec::with_capacity(all.len());
        let mut named = RootCertStore::empty();
        for (index, der) in all.iter().enumerate() {
            let (_, parsed) = x509_parser::parse_x509_certificate(der)
                .map_err(|error| bad(index, &error.to_string()))?;
            names.push((parsed.subject().as_raw().to_vec(), parsed.issuer().as_raw().to_vec()));
            named.add(der.clone()).map_err(|error| bad(index, &error.to_string()))?;
        }
        let has_issuer = |(subject, issuer): &(Vec<u8>, Vec<u8>)| {
            subject != issuer && names.iter().any(|(other, _)| other == issuer)
        };
        let mut roots = RootCertStore::empty();
        let mut intermediates = Vec::new();
        for (index, (der, name)) in all.iter().zip(&names).enumerate() {
            if has_issuer(name) {
                intermediates.push(der.clone());
            } else {
                roots.add(der.clone()).map_err(|error| bad(index, &error.to_string()))?;
            }
        }
        let hints = named.subjects();
        // Two that signed each other, and no root.
        let roots = if roots.is_empty() { named } else { roots };
        let length: usize = hints.iter().map(|name| name.as_ref().len()).sum();
        let names = if length > MAX_NAMES { Vec::new() } else { hints };
        Ok(Self { all, names, roots: Arc::new(roots), intermediates })
    }

    /// Every certificate of the bundle.
    #[must_use]
    pub fn all(&self) -> &[CertificateDer<'static>] {
        &self.all
    }

    pub(super) const fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }

    pub(super) fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    /// Names that clients are told, so that they can choose a certificate.
    pub(super) fn names(&self) -> &[DistinguishedName] {
        &self.names
    }
}

fn bad(index: usize, reason: &str) -> AuthoritiesError {
    AuthoritiesError::Certificate { index: index + 1, reason: reason.to_owned() }
}
