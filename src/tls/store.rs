//! Certificates by SNI: exact host, then one-label wildcard, then the default [CERT-1, CERT-2].
//!
//! Built by `compile`, read at each handshake. A route's certificate is chosen by the route's host,
//! never by the names inside the certificate.

use std::sync::Arc;

use hashbrown::HashMap;
use rustls::{ServerConfig, sign::CertifiedKey};
use serde::Serialize;

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
