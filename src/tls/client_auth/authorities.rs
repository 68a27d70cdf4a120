//! The bundle of authorities that sign client certificates [MTLS-1].
//!
//! As OpenSSL reads one: certificates that sign themselves are roots, the others help to build a chain
//! and can be revoked. One whose issuer is not in the bundle has to be taken for a root as well, or it
//! would be good for nothing. What may not sign others is no root; if it signs itself, a client may show
//! that very certificate. A root counts between its own dates only.

use std::{collections::HashSet, path::PathBuf};

use rustls::{
    DistinguishedName, RootCertStore,
    pki_types::{CertificateDer, UnixTime},
};
use x509_parser::certificate::X509Certificate;

use crate::tls::{
    pem::{self, PemError},
    roots::Roots,
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
    /// A block is not a certificate.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// A block has no end, as in a file that is not written to its end.
    #[error("the block in line {0} has no end")]
    Cut(usize),
    /// The TLS library does not understand a certificate.
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
    /// None that may sign others, and none that signs itself.
    #[error("no certificate in it is an authority")]
    NoAuthority,
}

/// Bytes of names that a request for a certificate may have; with more it has none, which leaves the
/// choice to the client.
const MAX_NAMES: usize = 32 * 1024;

/// The authorities of client certificates, at least one.
#[derive(Clone, Debug)]
pub struct Authorities {
    all: Vec<CertificateDer<'static>>,
    names: Vec<DistinguishedName>,
    roots: Roots,
    /// Those that sign themselves: a client may show one of them.
    own: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads PEM text.
    ///
    /// # Errors
    /// When it holds no certificate, or one that cannot be used.
    pub fn read(text: &[u8]) -> Result<Self, AuthoritiesError> {
        let blocks = pem::certificates(&String::from_utf8_lossy(text))?;
        if let Some(line) = blocks.ignored {
            return Err(AuthoritiesError::Cut(line));
        }
        let all = blocks.certificates;
        if all.is_empty() {
            return Err(AuthoritiesError::Empty);
        }
        let mut parsed = Vec::with_capacity(all.len());
        let mut named = RootCertStore::empty();
        for (index, der) in all.iter().enumerate() {
            let (_, certificate) = x509_parser::parse_x509_certificate(der)
                .map_err(|error| bad(index, &error.to_string()))?;
            parsed.push(certificate);
            named.add(der.clone()).map_err(|error| bad(index, &error.to_string()))?;
        }
        let subjects: HashSet<&[u8]> = parsed.iter().map(|it| it.subject().as_raw()).collect();
        let has_issuer = |certificate: &X509Certificate<'_>| {
            let (subject, issuer) = (certificate.subject().as_raw(), certificate.issuer().as_raw());
            subject != issuer && subjects.contains(issuer)
        };
        // Two that signed each other, and no root: then both are.
        let is_circle = parsed.iter().all(has_issuer);
        let mut roots = Roots::default();
        let (mut own, mut intermediates) = (Vec::new(), Vec::new());
        for (index, (der, certificate)) in all.iter().zip(&parsed).enumerate() {
            if certificate.subject() == certificate.issuer() {
                own.push(der.clone());
            }
            if has_issuer(certificate) && !is_circle {
                intermediates.push(der.clone());
            } else {
                let added = roots.add(der, certificate);
                added.map_err(|error| bad(index, &error.to_string()))?;
            }
        }
        if roots.is_empty() && own.is_empty() {
            return Err(AuthoritiesError::NoAuthority);
        }
        let hints = named.subjects();
        let length: usize = hints.iter().map(|name| name.as_ref().len()).sum();
        let names = if length > MAX_NAMES { Vec::new() } else { hints };
        drop(subjects);
        drop(parsed);
        Ok(Self { all, names, roots, own, intermediates })
    }

    /// Every certificate of the bundle.
    #[must_use]
    pub fn all(&self) -> &[CertificateDer<'static>] {
        &self.all
    }

    /// Which of the roots are valid `now`.
    #[must_use]
    pub fn valid(&self, now: UnixTime) -> Vec<bool> {
        self.roots.valid(now).collect()
    }

    pub(super) fn roots(&self, now: UnixTime) -> RootCertStore {
        self.roots.valid_at(now)
    }

    pub(super) fn own(&self) -> &[CertificateDer<'static>] {
        &self.own
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
