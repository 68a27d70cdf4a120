//! Whose certificates pods of reencrypt routes may show (spec/route.md 11.6).
//!
//! Called by `compile` for each such route and each of its services. Texts are parsed and
//! configurations made once for each content, and kept for as long as a compile asks for them.
//! Always holds: what cannot be understood lets nobody pass, and a service CA that was there once
//! stays in force until another one is there.

use std::{
    collections::HashMap,
    hash::Hash,
    path::{Path, PathBuf},
    sync::Arc,
};

use aws_lc_rs::digest;
use rustls::crypto::CryptoProvider;

use crate::{
    model::{
        finding::{Finding, Place, codes},
        objects::Stored,
        route::Route,
    },
    settings::RouterSettings,
    tls::{
        anchors::{AnchorError, Anchors, Digest},
        client::{Identity, Policy, Trust},
    },
};

/// What the file of the service CA holds [REENC-2].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServiceCa {
    /// Nobody has looked, as when manifests are compiled away from their cluster.
    #[default]
    Unknown,
    /// There is none, and none was asked for: pods without a CA of their route are not verified.
    Absent,
    /// Its text.
    Text(String),
    /// It was asked for, or was there before, and cannot be read, for this reason.
    Unreadable(String),
}

/// The policies of the process.
#[derive(Debug)]
pub(super) struct Policies {
    provider: Arc<CryptoProvider>,
    sends_name: bool,
    http2: bool,
    /// Nobody has said what the service CA is.
    is_unknown: bool,
    /// The service CA in force; without one pods are not verified.
    service_ca: Option<Arc<Anchors>>,
    /// What is wrong with its file: where, and what.
    complaint: Option<(PathBuf, String)>,
    parsed: Kept<Digest, Result<Arc<Anchors>, AnchorError>>,
    policies: Kept<Identity, Arc<Policy>>,
}

/// How one reencrypt route speaks to its pods.
#[derive(Debug)]
pub(super) struct Tls<'a> {
    pub(super) trust: Trust,
    pub(super) policies: &'a mut Policies,
}

/// What this compile has asked for, and what the last one had.
#[derive(Debug)]
struct Kept<K, V> {
    now: HashMap<K, V>,
    before: HashMap<K, V>,
}

impl<K, V> Default for Kept<K, V> {
    fn default() -> Self {
        Self { now: HashMap::new(), before: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash, V: Clone> Kept<K, V> {
    fn get(&mut self, key: &K) -> Option<V> {
        if !self.now.contains_key(key)
            && let Some(value) = self.before.remove(key)
        {
            self.now.insert(key.clone(), value);
        }
        self.now.get(key).cloned()
    }

    /// Starts a compile.
    fn turn(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }
}

impl Policies {
    pub(super) fn new(settings: &RouterSettings, provider: &Arc<CryptoProvider>) -> Self {
        Self {
            provider: Arc::clone(provider),
            sends_name: settings.reencrypt_sni,
            http2: !settings.disable_http2,
            is_unknown: true,
            service_ca: None,
            complaint: None,
            parsed: Kept::default(),
            policies: Kept::default(),
        }
    }

    /// Takes over what the file at `path` holds now.
    pub(super) fn set_service_ca(&mut self, path: &Path, found: &ServiceCa) {
        self.is_unknown = *found == ServiceCa::Unknown;
        let problem = match found {
            ServiceCa::Unknown => return,
            ServiceCa::Absent if self.service_ca.is_none() => return,
            ServiceCa::Absent => "the file is gone".to_owned(),
            ServiceCa::Unreadable(problem) => problem.clone(),
            ServiceCa::Text(text) => match Anchors::parse(text) {
                Ok(anchors) => {
                    self.service_ca = Some(Arc::new(anchors));
                    self.complaint = None;
                    return;
                },
                Err(error) => error.to_string(),
            },
        };
        // Fails closed: the last one, or one that nobody can have.
        self.service_ca.get_or_insert_default();
        self.complaint = Some((path.to_owned(), problem));
    }

    /// Starts a compile; says what is wrong with the service CA.
    pub(super) fn begin(&mut self, findings: &mut Vec<Finding>) {
        self.parsed.turn();
        self.policies.turn();
        if let Some((path, problem)) = &self.complaint {
            let place = Place::file(&path.to_string_lossy());
            let fix = "put the PEM certificate of the authority of your pods there";
            findings.push(Finding::new(codes::BAD_SERVICE_CA, place, problem).with_fix(fix));
        }
    }

    /// Ends a compile: what was not asked for is forgotten.
    pub(super) fn finish(&mut self) {
        self.parsed.before.clear();
        self.policies.before.clear();
    }

    /// Whose certificates the pods of a reencrypt route may show.
    ///
    /// # Errors
    /// When its `destinationCACertificate` cannot be understood; such a route is not served.
    pub(super) fn trust(&mut self, route: &Stored<Route>) -> Result<Trust, AnchorError> {
        let text = route.object.spec.tls.as_ref().map(|tls| &*tls.destination_ca_certificate);
        match text.filter(|text| !text.is_empty()) {
            Some(text) => self.anchors(text).map(Trust::Chain),
            None => Ok(self.service_ca.clone().map_or(Trust::Anyone, Trust::Named)),
        }
    }

    /// True when nobody verifies the pods of a route with this `trust`, and that is not as it must be
    /// where manifests are only looked at.
    pub(super) const fn is_open(&self, trust: &Trust) -> bool {
        matches!(trust, Trust::Anyone) && !self.is_unknown
    }

    fn anchors(&mut self, text: &str) -> Result<Arc<Anchors>, AnchorError> {
        let mut key = Digest::default();
        key.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        self.parsed.get(&key).unwrap_or_else(|| {
            let parsed = Anchors::parse(text).map(Arc::new);
            self.parsed.now.insert(key, parsed.clone());
            parsed
        })
    }

    /// How the pods of `service` in `namespace` are spoken to; `None` when TLS cannot be set up, and
    /// then they must not be spoken to at all.
    pub(super) fn policy(
        &mut self,
        trust: &Trust,
        namespace: &str,
        service: &str,
    ) -> Option<Arc<Policy>> {
        let name = format!("{service}.{namespace}.svc");
        let identity = Identity::new(trust, &name, self.sends_name, self.http2);
        if let Some(policy) = self.policies.get(&identity) {
            return Some(policy);
        }
        match Policy::new(identity.clone(), trust.clone(), &self.provider) {
            Ok(policy) => {
                let policy = Arc::new(policy);
                self.policies.now.insert(identity, Arc::clone(&policy));
                Some(policy)
            },
            Err(error) => {
                tracing::error!(service = %name, %error, "TLS with pods cannot be set up");
                None
            },
        }
    }
}

#[cfg(test)]
mod tests;
