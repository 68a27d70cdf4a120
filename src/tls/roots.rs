//! Which certificates of a text end a chain, and when: as OpenSSL takes those of a `ca-file`.
//!
//! Used by `anchors` for pods and by `client_auth` for clients. rustls-webpki looks at no more of an
//! anchor than its name and key, so what else makes an authority is decided here. Always holds: what
//! may not sign others is no root, and one is given out only between its own dates.

use rustls::{
    CertificateError, RootCertStore,
    pki_types::{CertificateDer, TrustAnchor, UnixTime},
};
use x509_parser::{
    certificate::X509Certificate,
    prelude::{FromDer as _, X509Version},
};

/// Authorities that end a chain.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots(Vec<Root>);

/// An authority, with the seconds since 1970 between which it is valid.
#[derive(Clone, Debug)]
struct Root {
    anchor: TrustAnchor<'static>,
    from: i64,
    until: i64,
}

impl Roots {
    /// Adds `der`, which is `certificate`, if it may sign others.
    ///
    /// # Errors
    /// When the TLS library does not understand it.
    pub(super) fn add(
        &mut self,
        der: &CertificateDer<'static>,
        certificate: &X509Certificate<'_>,
    ) -> Result<(), rustls::Error> {
        if !is_authority(certificate) {
            return Ok(());
        }
        let mut store = RootCertStore::empty();
        store.add(der.clone())?;
        let validity = certificate.validity();
        let (from, until) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        self.0.extend(store.roots.into_iter().map(|anchor| Root { anchor, from, until }));
        Ok(())
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Which of them are valid `now`, in their order.
    pub(super) fn valid(&self, now: UnixTime) -> impl Iterator<Item = bool> + '_ {
        let now = seconds(now);
        self.0.iter().map(move |root| (root.from..=root.until).contains(&now))
    }

    /// Those whose own time has begun and is not over.
    pub(super) fn valid_at(&self, now: UnixTime) -> RootCertStore {
        let valid = self.0.iter().zip(self.valid(now)).filter(|(_, valid)| *valid);
        RootCertStore { roots: valid.map(|(root, _)| root.anchor.clone()).collect() }
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

/// What a certificate is shown for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// By a server.
    Server,
    /// By a client.
    Client,
}

/// A certificate that is trusted as it stands must still be in time and made for its purpose.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_own(
    leaf: &CertificateDer<'_>,
    now: UnixTime,
    purpose: Purpose,
) -> Result<(), CertificateError> {
    let (_, certificate) =
        X509Certificate::from_der(leaf).map_err(|_unreadable| CertificateError::BadEncoding)?;
    let (now, validity) = (seconds(now), certificate.validity());
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotValidYet);
    }
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired);
    }
    let purposes = certificate.extended_key_usage().ok().flatten();
    let usage = certificate.key_usage().ok().flatten();
    let is_for = purposes.is_none_or(|purposes| match purpose {
        Purpose::Server => purposes.value.server_auth,
        Purpose::Client => purposes.value.client_auth,
    });
    let signs = usage.is_none_or(|usage| {
        let usage = usage.value;
        // Who encrypts to a server's key shows by it that the server has the key; a client signs.
        usage.digital_signature()
            || (purpose == Purpose::Server && usage.key_encipherment())
            || usage.key_agreement()
    });
    if is_for && signs { Ok(()) } else { Err(CertificateError::InvalidPurpose) }
}
