//! What pods' certificates are verified against: the certificates of a PEM text.
//!
//! Made by `compile` of a route's `destinationCACertificate` and of the service CA, used by the
//! verifier of `tls::client`. Certificates are taken as OpenSSL takes those of a `ca-file`, measured
//! with HAProxy 2.6: only what signs itself is an anchor, and only if it may sign others; what another
//! one has signed links a pod's certificate to an anchor and is none itself; and a pod may show the
//! very certificate that is in the text, if that signs itself.
//!
//! Stricter than OpenSSL, as rustls-webpki is: a pod's certificate of X.509 version 1, or one that
//! another authority has made an authority, is refused.

use aws_lc_rs::digest;
use rustls::{
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime},
    server::ParsedCertificate,
};
use x509_parser::parse_x509_certificate;

use super::{
    pem::{self, PemError},
    roots::{Purpose, Roots, check_own},
};

/// SHA-256 of the certificates.
pub type Digest = [u8; 32];

/// Why a text holds no anchors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// No CERTIFICATE block.
    #[error("there is no CERTIFICATE block")]
    Empty,
    /// A block is not a certificate.
    #[error(transparent)]
    Pem(#[from] PemError),
    /// The TLS library does not understand a certificate.
    #[error("certificate {0} is not a valid X.509 certificate")]
    Certificate(usize),
}

/// The certificates of one text.
#[derive(Debug, Default)]
pub struct Anchors {
    digest: Digest,
    roots: Roots,
    /// Those that sign themselves: a pod may show one of them.
    own: Vec<CertificateDer<'static>>,
    /// Those that others have signed.
    links: Vec<CertificateDer<'static>>,
}

impl Anchors {
    /// The certificates of a PEM text; what stands around and between the blocks does not count, nor
    /// what follows a block without its end [XV-4].
    ///
    /// # Errors
    /// [`AnchorError`]. A text without a certificate is an error as well.
    pub fn parse(text: &str) -> Result<Self, AnchorError> {
        let chain = pem::certificates(text)?.certificates;
        if chain.is_empty() {
            return Err(AnchorError::Empty);
        }
        let mut context = digest::Context::new(&digest::SHA256);
        let mut this = Self::default();
        for (index, der) in chain.into_iter().enumerate() {
            // DER says its own length, so no two lists agree.
            context.update(&der);
            this.add(der).ok_or(AnchorError::Certificate(index + 1))?;
        }
        this.digest.copy_from_slice(context.finish().as_ref());
        Ok(this)
    }

    fn add(&mut self, der: CertificateDer<'static>) -> Option<()> {
        let (_, certificate) = parse_x509_certificate(&der).ok()?;
        if certificate.subject() != certificate.issuer() {
            drop(certificate);
            self.links.push(der);
            return Some(());
        }
        self.roots.add(&der, &certificate).ok()?;
        drop(certificate);
        self.own.push(der);
        Some(())
    }

    /// Tells them from others.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Passes if `leaf` is a server's certificate that is valid `now` and leads to an anchor, or is
    /// itself in the text. Names are not looked at.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<(), rustls::Error> {
        if self.own.iter().any(|own| own.as_ref() == leaf.as_ref()) {
            return Ok(check_own(leaf, now, Purpose::Server)?);
        }
        let leaf = ParsedCertificate::try_from(leaf)?;
        let roots = self.roots.valid_at(now);
        if self.links.is_empty() {
            return verify_server_cert_signed_by_trust_anchor(
                &leaf,
                &roots,
                intermediates,
                now,
                algorithms,
            );
        }
        let all: Vec<CertificateDer<'_>> =
            intermediates.iter().chain(&self.links).cloned().collect();
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &all, now, algorithms)
    }
}

#[cfg(test)]
mod tests;
