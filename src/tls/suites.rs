//! Versions, suites and groups: what the settings ask for, as far as it can be offered [TLS-1, TLS-2].
//!
//! Called by `server` at start. Pure. Always holds: a list that names nothing that can be offered is an
//! error and never "everything"; every word that was left out comes back with its reason.

mod ciphers;

use rustls::{
    CipherSuite, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        aws_lc_rs::{self, cipher_suite as suite, kx_group as group},
    },
    version::{TLS12, TLS13},
};

use crate::settings::tls::{TlsSettings, TlsVersion};

/// What can be offered of what was asked for.
#[derive(Debug)]
pub struct Offer {
    /// The library with only these suites and groups, in the order of preference.
    pub provider: CryptoProvider,
    /// Versions, at least one.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// What was left out.
    pub dropped: Vec<Dropped>,
}

/// A word of a setting that has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Name of the variable.
    pub setting: &'static str,
    /// The word.
    pub word: String,
    /// Why, following the word in a sentence.
    pub why: &'static str,
}

/// Nothing is left to offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// No version between the two bounds.
    #[error(
        "SSL_MIN_VERSION and SSL_MAX_VERSION leave no TLS version: only TLSv1.2 and TLSv1.3 can be \
         offered"
    )]
    NoVersion,
    /// A list of suites or groups of which none can be offered.
    #[error("{setting}={value:?} leaves nothing that can be offered; {can} can")]
    Nothing {
        /// Name of the variable.
        setting: &'static str,
        /// Its value.
        value: String,
        /// What could be offered.
        can: &'static str,
    },
}

/// The order that is ours where the user gives none (decisions 14).
const TLS13_SUITES: [(&str, SupportedCipherSuite); 3] = [
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
];
const TLS13_CAN: &str =
    "TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384 and TLS_CHACHA20_POLY1305_SHA256";

/// What `settings` ask for.
///
/// # Errors
/// When nothing of it can be offered.
pub fn offer(settings: &TlsSettings) -> Result<Offer, OfferError> {
    let max = settings.max_version.unwrap_or(TlsVersion::V13);
    let has = |version| settings.min_version <= version && version <= max;
    let mut dropped = Vec::new();
    let (mut versions, mut cipher_suites) = (Vec::new(), Vec::new());
    if has(TlsVersion::V13) {
        versions.push(&TLS13);
        cipher_suites.extend(suites_of_13(&settings.ciphersuites, &mut dropped)?);
    }
    if has(TlsVersion::V12) {
        versions.push(&TLS12);
        cipher_suites.extend(ciphers::select(&settings.ciphers, &mut dropped)?);
    }
    if versions.is_empty() {
        return Err(OfferError::NoVersion);
    }
    let kx_groups = groups(&settings.curves, &mut dropped)?;
    let provider = CryptoProvider { cipher_suites, kx_groups, ..aws_lc_rs::default_provider() };
    Ok(Offer { provider, versions, dropped })
}

fn suites_of_13(
    value: &str,
    dropped: &mut Vec<Dropped>,
) -> Result<Vec<SupportedCipherSuite>, OfferError> {
    const SETTING: &str = "ROUTER_CIPHERSUITES";
    if words(value).next().is_none() {
        return Ok(TLS13_SUITES.map(|(_, suite)| suite).to_vec());
    }
    let mut chosen = Vec::new();
    for word in words(value) {
        match TLS13_SUITES.iter().find(|(name, _)| *name == word) {
            Some((_, suite)) if chosen.contains(suite) => {},
            Some((_, suite)) => chosen.push(*suite),
            None => dropped.push(Dropped {
                setting: SETTING,
                word: word.to_owned(),
                why: "is not a suite of TLS 1.3 that can be offered",
            }),
        }
    }
    if chosen.is_empty() {
        let value = value.to_owned();
        return Err(OfferError::Nothing { setting: SETTING, value, can: TLS13_CAN });
    }
    Ok(chosen)
}

/// The names of OpenSSL, compared without case.
fn group_of(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    let found = match name.to_ascii_lowercase().as_str() {
        "x25519mlkem768" => group::X25519MLKEM768,
        "secp256r1mlkem768" => group::SECP256R1MLKEM768,
        "mlkem768" => group::MLKEM768,
        "mlkem1024" => group::MLKEM1024,
        "x25519" => group::X25519,
        "secp256r1" | "prime256v1" | "p-256" => group::SECP256R1,
        "secp384r1" | "p-384" => group::SECP384R1,
        _ => return None,
    };
    Some(found)
}

fn groups(
    value: &str,
    dropped: &mut Vec<Dropped>,
) -> Result<Vec<&'static dyn SupportedKxGroup>, OfferError> {
    const SETTING: &str = "ROUTER_CURVES";
    let mut chosen: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    // OpenSSL 3.5 also separates by '/', and marks words with '?' (may be unknown) and '*' (key share).
    let mut named = value.split([':', '/', ',']).map(str::trim).filter(|word| !word.is_empty());
    let mut next = named.next();
    if next.is_none() {
        return Ok(aws_lc_rs::DEFAULT_KX_GROUPS.to_vec());
    }
    while let Some(word) = next {
        match group_of(word.trim_start_matches(['?', '*'])) {
            Some(group) if chosen.iter().any(|known| known.name() == group.name()) => {},
            Some(group) => chosen.push(group),
            None => dropped.push(Dropped {
                setting: SETTING,
                word: word.to_owned(),
                why: "is not a group that can be offered",
            }),
        }
        next = named.next();
    }
    if chosen.is_empty() {
        let can = "X25519MLKEM768, X25519, secp256r1 and secp384r1";
        return Err(OfferError::Nothing { setting: SETTING, value: value.to_owned(), can });
    }
    Ok(chosen)
}

/// The name that OpenSSL and HAProxy have for a suite; empty for none, and for one that is not offered.
#[must_use]
pub const fn openssl_name(suite: Option<CipherSuite>) -> &'static str {
    match suite {
        Some(CipherSuite::TLS13_AES_128_GCM_SHA256) => "TLS_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS13_AES_256_GCM_SHA384) => "TLS_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256) => "TLS_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256) => {
            "ECDHE-ECDSA-AES128-GCM-SHA256"
        },
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384) => {
            "ECDHE-ECDSA-AES256-GCM-SHA384"
        },
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256) => {
            "ECDHE-ECDSA-CHACHA20-POLY1305"
        },
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256) => "ECDHE-RSA-AES128-GCM-SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384) => "ECDHE-RSA-AES256-GCM-SHA384",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256) => {
            "ECDHE-RSA-CHACHA20-POLY1305"
        },
        _ => "",
    }
}

/// The words of a list, as OpenSSL separates them.
fn words(value: &str) -> impl Iterator<Item = &str> {
    value.split([':', ',', ' ', ';']).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
