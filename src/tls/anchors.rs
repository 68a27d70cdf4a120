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
    CertificateError, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{
        CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime, pem::PemObject as _,
    },
    server::ParsedCertificate,
};
use x509_parser::{
    certificate::X509Certificate,
    prelude::{FromDer as _, X509Version},
};

/// SHA-256 of the certificates.
pub type Digest = [u8; 32];

/// Why a text holds no anchors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnchorError {
    /// No CERTIFICATE block.
    #[error("there is no CERTIFICATE block")]
    Empty,
    /// A block is not valid PEM.
    #[error("the text is not valid PEM: {0}")]
    Pem(String),
    /// A block does not hold an X.509 certificate.
    #[error("certificate {0} is not a valid X.509 certificate")]
    Certificate(usize),
}

/// The certificates of one text.
#[derive(Debug, Default)]
pub struct Anchors {
    digest: Digest,
    roots: Vec<Root>,
    /// Those that sign themselves: a pod may show one of them.
    own: Vec<CertificateDer<'static>>,
    /// Those that others have signed.
    links: Vec<CertificateDer<'static>>,
}

/// An authority, with the seconds since 1970 between which it is valid.
#[derive(Debug)]
struct Root {
    anchor: TrustAnchor<'static>,
    from: i64,
    until: i64,
}

impl Anchors {
    /// The certificates of a PEM text; what stands around and between the blocks does not count.
    ///
    /// # Errors
    /// [`AnchorError`]. A text without a certificate is an error as well.
    pub fn parse(text: &str) -> Result<Self, AnchorError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| AnchorError::Pem(error.to_string()))?;
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
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        if certificate.subject() != certificate.issuer() {
            drop(certificate);
            self.links.push(der);
            return Some(());
        }
        if is_authority(&certificate) {
            let validity = certificate.validity();
            let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
            let mut store = RootCertStore::empty();
            store.add(der.clone()).ok()?;
            self.roots.extend(store.roots.into_iter().map(|anchor| Root { anchor, from, until }));
        }
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
            return Ok(check_own(leaf, seconds(now))?);
        }
        let leaf = ParsedCertificate::try_from(leaf)?;
        let roots = self.valid_at(seconds(now));
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

    /// The anchors whose own time has begun and is not over.
    fn valid_at(&self, now: i64) -> RootCertStore {
        let valid = self.roots.iter().filter(|root| (root.from..=root.until).contains(&now));
        RootCertStore { roots: valid.map(|root| root.anchor.clone()).collect() }
    }
}

fn seconds(now: UnixTime) -> i64 {
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// OpenSSL's rule for issuers: allowed to sign certificates where the uses of the key are listed,
/// and an authority by its constraints; without constraints only of version 1, or by that list.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    let usage = certificate.key_usage().ok().flatten();
    if usage.as_ref().is_some_and(|usage| !usage.value.key_cert_sign()) {
        return false;
    }
    match certificate.basic_constraints().ok().flatten() {
        Some(constraints) => constraints.value.ca,
        None => certificate.version() == X509Version::V1 || usage.is_some(),
    }
}

/// A certificate that is trusted as it stands must still be in time and made for a server.
fn check_own(leaf: &CertificateDer<'_>, now: i64) -> Result<(), CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(leaf).map_err(|_unreadable| CertificateError::BadEncoding)?;
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired);
    }
    let purposes = certificate.extended_key_usage().ok().flatten();
    let usage = certificate.key_usage().ok().flatten();
    let serves = purposes.is_none_or(|purposes| purposes.value.server_auth);
    let signs = usage.is_none_or(|usage| {
        let usage = usage.value;
        usage.digital_signature() || usage.key_encipherment() || usage.key_agreement()
    });
    if serves && signs { Ok(()) } else { Err(CertificateError::InvalidPurpose) }
}

#[cfg(test)]
mod tests;
