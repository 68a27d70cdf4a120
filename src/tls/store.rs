//! Certificates by SNI: exact host, then one-label wildcard, then the default [CERT-1, CERT-2].
//!
//! Built by `compile`, read at each handshake. A route's certificate is chosen by the route's host,
//! never by the names inside the certificate.

use std::sync::Arc;

use hashbrown::HashMap;
use rustls::{ServerConfig, sign::CertifiedKey};
use serde::Serialize;

use super::client_auth::ClientAuth;

/// A certificate that is served, ready for handshakes.
#[derive(Debug)]
pub struct Served {
    /// For handshakes.
    pub config: Arc<ServerConfig>,
    /// Chain and key.
    pub key: Arc<CertifiedKey>,
    /// Who brought it: `Route ns/name` or `default`.
    pub source: Arc<str>,
}

/// What people may see of a certificate. Never key material.
#[derive(Clone, Debug, Serialize)]
pub struct CertInfo {
    /// SNI that selects it, `*.domain` for wildcards, `*` for the default.
    pub host: String,
    /// Who brought it.
    pub source: String,
    /// End of validity, seconds since 1970.
    pub not_after: i64,
    /// Subject alternative names and common name.
    pub names: Vec<String>,
}

/// The store.
#[derive(Debug, Default)]
pub struct CertStore {
    exact: HashMap<Arc<str>, Arc<Served>, foldhash::fast::RandomState>,
    wildcard: HashMap<Arc<str>, Arc<Served>, foldhash::fast::RandomState>,
    default: Option<Arc<Served>>,
    client_auth: Option<Arc<ClientAuth>>,
}

impl Served {
    /// True when a client that was shown `other` may take it for this: the same certificate, or an
    /// earlier or later one of the same route.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.key, &other.key)
            || self.source == other.source
            || self.key.cert == other.key.cert
    }
}

impl CertStore {
    /// A store that serves `default` when nothing else fits.
    #[must_use]
    pub fn new(default: Option<Arc<Served>>) -> Self {
        Self { default, ..Self::default() }
    }

    /// Serves `served` for `host`, or for one label under the domain of `host`.
    pub fn insert(&mut self, host: &Arc<str>, wildcard: bool, served: Arc<Served>) {
        if !wildcard {
            self.exact.insert(Arc::clone(host), served);
        } else if let Some((_, domain)) = host.split_once('.') {
            self.wildcard.insert(domain.into(), served);
        }
    }

    /// Who may be a client, where certificates are asked for: what every configuration in the store
    /// was made with.
    #[must_use]
    pub const fn client_auth(&self) -> Option<&Arc<ClientAuth>> {
        self.client_auth.as_ref()
    }

    /// See [`Self::client_auth`].
    pub fn set_client_auth(&mut self, client_auth: Option<Arc<ClientAuth>>) {
        self.client_auth = client_auth;
    }

    /// The certificate for `sni`, and whether a route brought it. `sni` is lower case.
    #[must_use]
    pub fn select(&self, sni: Option<&str>) -> Option<&Arc<Served>> {
        sni.and_then(|name| {
            let by_domain = || self.wildcard.get(name.split_once('.')?.1);
            self.exact.get(name).or_else(by_domain)
        })
        .or(self.default.as_ref())
    }

    /// All certificates, sorted by host.
    #[must_use]
    pub fn describe(&self) -> Vec<CertInfo> {
        let mut all: Vec<CertInfo> = self
            .exact
            .iter()
            .map(|(host, served)| info(host.to_string(), served))
            .chain(self.wildcard.iter().map(|(domain, served)| info(format!("*.{domain}"), served)))
            .chain(self.default.iter().map(|served| info("*".to_owned(), served)))
            .collect();
        all.sort_by(|a, b| a.host.cmp(&b.host));
        all
    }
}

fn info(host: String, served: &Served) -> CertInfo {
    let mut info =
        CertInfo { host, source: served.source.to_string(), not_after: 0, names: Vec::new() };
    let parsed = served.key.cert.first().map(|der| x509_parser::parse_x509_certificate(der));
    if let Some(Ok((_, certificate))) = parsed {
        info.not_after = certificate.validity().not_after.timestamp();
        if let Ok(Some(names)) = certificate.subject_alternative_name() {
            info.names = names.value.general_names.iter().filter_map(dns_name).collect();
        }
    }
    info
}

fn dns_name(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;

    use super::*;
    use crate::{
        settings::tls::TlsSettings,
        tls::{keys, mint, server::Profile},
    };

    fn served(source: &str, pair: &mint::Pair) -> Served {
        let profile = Profile::new(&TlsSettings::default()).unwrap();
        let provider = aws_lc_rs::default_provider();
        let key = keys::parse(&provider, &pair.cert_pem, &pair.key_pem, "").unwrap();
        let config = profile.config(Arc::clone(&key), false).unwrap();
        Served { config, key, source: source.into() }
    }

    /// S-63: what makes two certificates the same to a client.
    #[test]
    fn s_63_the_same_certificate_or_the_same_route() {
        let (one, two) = (["a".to_owned()], ["b".to_owned()]);
        let (one, two) = (mint::self_signed(&one).unwrap(), mint::self_signed(&two).unwrap());
        let first = served("Route a/a", &one);
        assert!(first.is_like(&first));
        assert!(first.is_like(&served("Route b/b", &one)), "shared");
        assert!(first.is_like(&served("Route a/a", &two)), "renewed");
        assert!(!first.is_like(&served("Route b/b", &two)));
    }
}
