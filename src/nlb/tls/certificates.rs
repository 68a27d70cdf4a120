//! Certificates of a TLS listener: what may be one, and which one a client gets (spec/l4-dns.md A.9).
//!
//! [`Certificate`] is made by `config`, `Certificates` with all server configurations by
//! `tls::front`. Always holds: a client without a name, with a name that nobody has a certificate for,
//! or that can do with none of those that match, gets the default one; a choice allocates nothing.

use std::{cmp::Reverse, fmt, sync::Arc};

use hashbrown::HashMap;
use rustls::{ServerConfig, crypto::aws_lc_rs, sign::CertifiedKey};
use x509_parser::{parse_x509_certificate, public_key::PublicKey};

use super::policy::Alpn;
use crate::tls::{
    keys::{self, KeyError},
    server::Profile,
    store::{Offer, own_names},
};

/// A certificate with its key.
#[derive(Clone)]
pub struct Certificate {
    /// Its ARN, or the file it is from: what logs call it.
    pub name: Arc<str>,
    key: Arc<CertifiedKey>,
    facts: Facts,
}

/// What the order of preference depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Facts {
    ecdsa: bool,
    /// Signed with MD5.
    md5: bool,
    bits: usize,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
}

/// Why a pair is no certificate of a listener.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CertificateError {
    /// The pair cannot be served.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A key that the load balancer does not take.
    #[error(
        "a key of {0} bits; RSA keys of 2048 and 3072 bits and ECDSA keys on P-256, P-384 and P-521 \
         are taken"
    )]
    Bits(usize),
    /// Its validity ends before it begins.
    #[error("the certificate ends before it begins, so it is never valid")]
    NeverValid,
}

/// Whether a certificate is valid at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// It was.
    Expired,
    /// It will be.
    NotYet,
    /// It is.
    Valid,
}

impl Certificate {
    /// The certificate of the PEM texts `certificate`, which may hold the key and a chain, and `key`.
    ///
    /// # Errors
    /// [`CertificateError`] if it cannot be served or AWS would not take it.
    pub fn parse(name: Arc<str>, certificate: &str, key: &str) -> Result<Self, CertificateError> {
        let key = keys::parse(&aws_lc_rs::default_provider(), certificate, key, "")?;
        let facts = facts(&key).ok_or(KeyError::NoCertificate)?;
        let taken: &[usize] = if facts.ecdsa { &[256, 384, 521] } else { &[2048, 3072] };
        if !taken.contains(&facts.bits) {
            return Err(CertificateError::Bits(facts.bits));
        }
        if facts.not_after < facts.not_before {
            return Err(CertificateError::NeverValid);
        }
        Ok(Self { name, key, facts })
    }

    /// Whether it is valid at `now`, seconds since 1970.
    #[must_use]
    pub const fn validity(&self, now: i64) -> Validity {
        match () {
            () if now > self.facts.not_after => Validity::Expired,
            () if now < self.facts.not_before => Validity::NotYet,
            () => Validity::Valid,
        }
    }
}

impl PartialEq for Certificate {
    /// The key follows from the certificate that it belongs to.
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.key.cert == other.key.cert
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("name", &self.name).field("facts", &self.facts).finish()
    }
}

fn facts(key: &CertifiedKey) -> Option<Facts> {
    let (_, leaf) = parse_x509_certificate(key.cert.first()?).ok()?;
    let bits = match leaf.public_key().parsed().ok()? {
        PublicKey::RSA(key) => key.key_size(),
        // What is counted is the point: its coordinates are whole bytes.
        PublicKey::EC(point) => match point.key_size() {
            528 => 521,
            bits => bits,
        },
        _ => return None,
    };
    let md5 = leaf.signature_algorithm.algorithm.to_id_string() == "1.2.840.113549.1.1.4";
    let validity = leaf.validity();
    Some(Facts {
        ecdsa: keys::is_ecdsa(key),
        md5,
        bits,
        not_before: validity.not_before.timestamp(),
        not_after: validity.not_after.timestamp(),
    })
}

/// A certificate, ready for handshakes.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) name: Arc<str>,
    ecdsa: bool,
    /// In the order of [`Alpn::ALL`].
    configs: [Arc<ServerConfig>; 4],
}

impl Served {
    pub(super) fn config(&self, alpn: Alpn) -> &Arc<ServerConfig> {
        &self.configs[alpn as usize]
    }
}

type Indexes = HashMap<Box<str>, Vec<u16>, foldhash::fast::RandomState>;

/// The certificates of a listener.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The best first; those that are alike in the order of the configuration.
    served: Vec<Served>,
    default: u16,
    /// By a name of theirs, ascending.
    exact: Indexes,
    /// By the domain behind `*.`, ascending.
    wildcard: Indexes,
}

impl Certificates {
    /// The first of `certificates` is the default one.
    pub(super) fn new(
        certificates: &[Certificate],
        profile: &Profile,
    ) -> Result<Self, rustls::Error> {
        let mut order: Vec<_> = certificates.iter().enumerate().collect();
        order.sort_by_key(|(_, certificate)| {
            let Facts { ecdsa, md5, bits, not_after, .. } = certificate.facts;
            (!ecdsa, md5, Reverse(bits), Reverse(not_after))
        });
        let mut all = Self {
            served: Vec::with_capacity(order.len()),
            default: 0,
            exact: Indexes::default(),
            wildcard: Indexes::default(),
        };
        for (rank, (place, certificate)) in (0..).zip(order) {
            if place == 0 {
                all.default = rank;
            }
            for name in own_names(&certificate.key) {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(domain) => (&mut all.wildcard, domain),
                    None => (&mut all.exact, name.as_str()),
                };
                map.entry(name.into()).or_default().push(rank);
            }
            let config =
                |alpn: Alpn| profile.config_for(Arc::clone(&certificate.key), alpn.protocols());
            let [nothing, h2, http11, http10] = Alpn::ALL;
            all.served.push(Served {
                name: Arc::clone(&certificate.name),
                ecdsa: certificate.facts.ecdsa,
                configs: [config(nothing)?, config(h2)?, config(http11)?, config(http10)?],
            });
        }
        Ok(all)
    }

    /// The best that matches and that the client can do with, or the default one. Exact names and
    /// wildcards count alike.
    pub(super) fn select(&self, offer: &Offer) -> Option<&Served> {
        let default = || self.served.get(usize::from(self.default));
        let Some(name) = offer.name.as_deref() else { return default() };
        let exact = self.exact.get(name);
        let wildcard = name.split_once('.').and_then(|(_, domain)| self.wildcard.get(domain));
        let matching = [exact, wildcard].into_iter().flatten().flatten();
        let usable = matching.filter_map(|index| {
            let served = self.served.get(usize::from(*index))?;
            (offer.ecdsa || !served.ecdsa).then_some((index, served))
        });
        usable.min_by_key(|(index, _)| **index).map(|(_, served)| served).or_else(default)
    }
}

#[cfg(test)]
mod tests;
