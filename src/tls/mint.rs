//! L3: makes keys and certificates: the self-signed default and a development authority.
//!
//! Called by the router at start and by `wharf cert`. ECDSA P-256 throughout: [DCERT-2] mints an
//! RSA key, which costs seconds of start-up and many times the CPU of each handshake.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

#[cfg(test)]
mod tests;

const DAY: Duration = Duration::from_secs(86_400);
/// Ten years.
const AUTHORITY_DAYS: u32 = 3650;
/// The longest that common clients accept.
const LEAF_DAYS: u32 = 825;
/// Clocks of containers and hosts differ; a certificate is valid from a day ago.
const BACKDATE: Duration = DAY;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The names, the PEM text or the key were refused.
    #[error("cannot make a certificate")]
    Make(#[from] rcgen::Error),
    /// A certificate needs a name.
    #[error("a certificate needs at least one name")]
    NoName,
}

/// A certificate with its key, both PEM.
#[derive(Clone)]
pub struct Pair {
    /// Certificate.
    pub cert_pem: String,
    /// Private key, PKCS #8.
    pub key_pem: String,
}

impl std::fmt::Debug for Pair {
    /// Leaves out the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("cert_pem", &self.cert_pem).finish_non_exhaustive()
    }
}

/// A certificate authority that signs leaves.
pub struct Authority {
    pair: Pair,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("pair", &self.pair).finish_non_exhaustive()
    }
}

/// Makes an authority called `name`.
pub fn authority(name: &str) -> Result<Authority, MintError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, AUTHORITY_DAYS);
    let cert_pem = params.self_signed(&key)?.pem();
    let pair = Pair { cert_pem, key_pem: key.serialize_pem() };
    Ok(Authority { pair, issuer: Issuer::new(params, key) })
}

/// Makes a certificate for `names` that signs itself; its common name is the first of them.
pub fn self_signed(names: &[String]) -> Result<Pair, MintError> {
    self_signed_as(None, names)
}

/// As [`self_signed`], with the common name `common`, of at most 64 characters, if there is one.
pub fn self_signed_as(common: Option<&str>, names: &[String]) -> Result<Pair, MintError> {
    let key = KeyPair::generate()?;
    let mut params = leaf_params(names, AUTHORITY_DAYS)?;
    if let Some(common) = common {
        params.distinguished_name = common_name(common);
    }
    Ok(Pair { cert_pem: params.self_signed(&key)?.pem(), key_pem: key.serialize_pem() })
}

impl Authority {
    /// The authority whose certificate and key are `cert_pem` and `key_pem`.
    pub fn from_pem(cert_pem: &str, key_pem: &str) -> Result<Self, MintError> {
        let issuer = Issuer::from_ca_cert_pem(cert_pem, KeyPair::from_pem(key_pem)?)?;
        let pair = Pair { cert_pem: cert_pem.to_owned(), key_pem: key_pem.to_owned() };
        Ok(Self { pair, issuer })
    }

    /// Its own certificate and key.
    #[must_use]
    pub const fn pair(&self) -> &Pair {
        &self.pair
    }

    /// A server certificate for `names`: DNS names, wildcards or addresses.
    pub fn leaf(&self, names: &[String]) -> Result<Pair, MintError> {
        let key = KeyPair::generate()?;
        let mut params = leaf_params(names, LEAF_DAYS)?;
        params.use_authority_key_identifier_extension = true;
        Ok(Pair {
            cert_pem: params.signed_by(&key, &self.issuer)?.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn leaf_params(names: &[String], days: u32) -> Result<CertificateParams, MintError> {
    let first = names.first().ok_or(MintError::NoName)?;
    let mut params = CertificateParams::new(names)?;
    // A common name holds 64 characters at most; clients read the alternative names anyway.
    params.distinguished_name =
        common_name(if first.len() <= 64 { first } else { "openshift-router" });
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params, days);
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn set_validity(params: &mut CertificateParams, days: u32) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Whole seconds: X.509 has no fractions.
    let start = rcgen::date_time_ymd(1970, 1, 1)
        + Duration::from_secs(now.saturating_sub(BACKDATE).as_secs());
    params.not_before = start;
    params.not_after = start + BACKDATE + DAY * days - Duration::from_secs(1);
}
