//! Certificates of routes, Secrets and the default, parsed once for each content.
//!
//! Keyed by a digest of the PEM text, so an unchanged certificate costs a hash. A Secret that turns
//! bad keeps its last good pair (decisions 4).

use std::{collections::HashMap, sync::Arc};

use aws_lc_rs::digest;
use k8s_openapi::api::core::v1::Secret;
use rustls::{ServerConfig, crypto::CryptoProvider, sign::CertifiedKey};

use super::secret_text;
use crate::{
    model::{
        finding::{Code, codes},
        objects::{ObjectKey, Stored},
        route::{Route, RouteTls},
        status::RejectReason,
    },
    settings::RouterSettings,
    snapshot::RouteState,
    tls::{
        client_auth::ClientAuth,
        keys::{self, KeyError},
        server::Profile,
        store::{CertStore, Served},
    },
};

type Digest = [u8; 32];

/// A pair and the digest of its text.
#[derive(Clone, Debug)]
struct Pair {
    digest: Digest,
    key: Arc<CertifiedKey>,
}

/// All certificates of the process.
#[derive(Debug)]
pub(super) struct Certificates {
    profile: Profile,
    default: Pair,
    pairs: HashMap<Digest, Arc<CertifiedKey>>,
    configs: HashMap<(Digest, bool), Arc<ServerConfig>>,
    secrets: HashMap<ObjectKey, Arc<Stored<Secret>>>,
    last_good_secrets: HashMap<ObjectKey, Pair>,
    /// Pair of each route of this compile.
    of_routes: HashMap<ObjectKey, Pair>,
}

/// Why a route's TLS section cannot be used.
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) field: &'static str,
    pub(super) reason: RejectReason,
    pub(super) text: String,
    pub(super) fix: &'static str,
    /// The last good version of the route goes on.
    pub(super) keeps_last: bool,
}

impl Certificates {
    pub(super) fn new(profile: Profile, default: (&str, &str)) -> Result<Self, KeyError> {
        let default = parse(&profile, default.0, default.1, "")?;
        Ok(Self {
            profile,
            default,
            pairs: HashMap::new(),
            configs: HashMap::new(),
            secrets: HashMap::new(),
            last_good_secrets: HashMap::new(),
            of_routes: HashMap::new(),
        })
    }

    pub(super) const fn provider(&self) -> &Arc<CryptoProvider> {
        self.profile.provider()
    }

    /// Asks clients for certificates from the next compile on.
    pub(super) fn set_client_auth(&mut self, client_auth: Arc<ClientAuth>) {
        self.profile.set_client_auth(client_auth);
        // Each was made with what was asked of clients until now.
        self.configs.clear();
    }

    pub(super) fn set_default(&mut self, pair: (&str, &str)) -> Result<(), KeyError> {
        self.default = parse(&self.profile, pair.0, pair.1, "")?;
        Ok(())
    }

    /// Starts a compile with these Secrets.
    pub(super) fn begin(&mut self, secrets: &[Arc<Stored<Secret>>]) {
        self.secrets =
            secrets.iter().map(|secret| (secret.key.clone(), Arc::clone(secret))).collect();
        let Self { last_good_secrets, secrets, .. } = self;
        last_good_secrets.retain(|key, _| secrets.contains_key(key));
        self.of_routes.clear();
    }

    /// Checks the certificate of `route`, from its own fields or from its Secret, and notes it for
    /// [`Self::store`]. A complaint comes back when the last good pair of a Secret stands in.
    pub(super) fn check(&mut self, route: &Stored<Route>) -> Result<Option<Refusal>, Refusal> {
        let Some(tls) = &route.object.spec.tls else { return Ok(None) };
        let mut complaint = None;
        let pair = match &tls.external_certificate {
            Some(secret) => {
                let key = ObjectKey::new(&route.key.namespace, &secret.name);
                let (pair, stale) = self.pair_of_secret(key)?;
                complaint = stale;
                Some(pair)
            },
            // A key without a certificate is accepted and ignored [XV-10].
            None if tls.certificate.is_empty() => None,
            None => Some(self.inline(tls)?),
        };
        if let Some(pair) = pair {
            self.of_routes.insert(route.key.clone(), pair);
        }
        Ok(complaint)
    }

    fn inline(&mut self, tls: &RouteTls) -> Result<Pair, Refusal> {
        self.pair(&tls.certificate, &tls.key, &tls.ca_certificate).map_err(|error| Refusal {
            code: match error {
                KeyError::Mismatch => codes::KEY_MISMATCH,
                _ => codes::BAD_PEM,
            },
            field: if error.is_about_key() && !tls.key.is_empty() {
                "spec.tls.key"
            } else {
                "spec.tls.certificate"
            },
            reason: RejectReason::ExtendedValidationFailed,
            text: error.to_string(),
            fix: "put a matching PEM certificate and key there; openssl x509 -noout -pubkey and \
                  openssl pkey -pubout show whether they match",
            keeps_last: true,
        })
    }

    fn pair_of_secret(&mut self, key: ObjectKey) -> Result<(Pair, Option<Refusal>), Refusal> {
        let refusal = |text: String, fix| Refusal {
            code: codes::BAD_EXTERNAL_CERTIFICATE,
            field: "spec.tls.externalCertificate.name",
            reason: RejectReason::ExternalCertificateValidationFailed,
            text,
            fix,
            keeps_last: false,
        };
        let Some(secret) = self.secrets.get(&key).map(Arc::clone) else {
            let fix = "create the Secret; wharf cert mints one for development";
            return Err(refusal(format!("secrets \"{}\" not found", key.name), fix));
        };
        if secret.object.type_.as_deref() != Some("kubernetes.io/tls") {
            let text = "secret of type \"kubernetes.io/tls\" required".to_owned();
            return Err(refusal(text, "set type: kubernetes.io/tls in the Secret"));
        }
        let certificate = secret_text(&secret.object, "tls.crt").unwrap_or("");
        let private = secret_text(&secret.object, "tls.key").unwrap_or("");
        match self.pair(certificate, private, "") {
            Ok(pair) => {
                self.last_good_secrets.insert(key, pair.clone());
                Ok((pair, None))
            },
            Err(error) => {
                let text = format!("Secret {key}: {error}");
                let bad = refusal(text, "put a matching tls.crt and tls.key into the Secret");
                match self.last_good_secrets.get(&key) {
                    Some(pair) => Ok((pair.clone(), Some(bad))),
                    None => Err(bad),
                }
            },
        }
    }

    fn pair(&mut self, certificate: &str, key: &str, ca: &str) -> Result<Pair, KeyError> {
        let digest = digest_of(certificate, key, ca);
        if let Some(known) = self.pairs.get(&digest) {
            return Ok(Pair { digest, key: Arc::clone(known) });
        }
        let pair = parse(&self.profile, certificate, key, ca)?;
        self.pairs.insert(digest, Arc::clone(&pair.key));
        Ok(pair)
    }

    /// The store for the admitted `routes`. Unless it is to be offered with all or none, HTTP/2 is offered
    /// with a certificate that exactly one route uses and that is not the default one [ALPN-1].
    pub(super) fn store(&mut self, routes: &[RouteState], settings: &RouterSettings) -> CertStore {
        let everywhere = settings.tls.http2_everywhere && !settings.disable_http2;
        let mut users: HashMap<Digest, usize> = HashMap::new();
        let used = |state: &RouteState| {
            let compiled = state.compiled.as_ref()?;
            Some((Arc::clone(compiled), self.of_routes.get(&compiled.key)?.clone()))
        };
        // Sorted by namespace and name: of several on one host the last wins [CERT-3].
        let served: Vec<_> = routes.iter().filter_map(used).collect();
        for (_, pair) in &served {
            *users.entry(pair.digest).or_default() += 1;
        }
        let previous = std::mem::take(&mut self.configs);
        let mut store =
            CertStore::new(self.served(&self.default.clone(), everywhere, "default", &previous));
        store.set_client_auth(self.profile.client_auth().cloned());
        for (route, pair) in served {
            let shared = users.get(&pair.digest).is_some_and(|count| *count > 1);
            let is_default = pair.key.cert.first() == self.default.key.cert.first();
            let http2 = everywhere || (!shared && !is_default && !settings.disable_http2);
            let source = format!("Route {}", route.key);
            if let Some(served) = self.served(&pair, http2, &source, &previous) {
                store.insert(&route.host, route.wildcard, served);
            }
        }
        let Self { pairs, configs, .. } = self;
        pairs.retain(|digest, _| {
            configs.contains_key(&(*digest, true)) || configs.contains_key(&(*digest, false))
        });
        store
    }

    /// `pair` ready for handshakes; configurations of the last compile are used again.
    fn served(
        &mut self,
        pair: &Pair,
        http2: bool,
        source: &str,
        previous: &HashMap<(Digest, bool), Arc<ServerConfig>>,
    ) -> Option<Arc<Served>> {
        let id = (pair.digest, http2);
        let config = match self.configs.get(&id).or_else(|| previous.get(&id)) {
            Some(config) => Arc::clone(config),
            None => match self.profile.config(Arc::clone(&pair.key), http2) {
                Ok(config) => config,
                Err(error) => {
                    tracing::error!(%source, %error, "certificate cannot be served");
                    return None;
                },
            },
        };
        self.configs.insert(id, Arc::clone(&config));
        Some(Arc::new(Served { config, key: Arc::clone(&pair.key), source: source.into() }))
    }
}

fn parse(profile: &Profile, certificate: &str, key: &str, ca: &str) -> Result<Pair, KeyError> {
    let digest = digest_of(certificate, key, ca);
    Ok(Pair { digest, key: keys::parse(profile.provider(), certificate, key, ca)? })
}

/// SHA-256 over the three texts with their lengths, so that no two splits agree.
fn digest_of(certificate: &str, key: &str, ca: &str) -> Digest {
    let mut context = digest::Context::new(&digest::SHA256);
    for text in [certificate, key, ca] {
        context.update(&(text.len() as u64).to_le_bytes());
        context.update(text.as_bytes());
    }
    let mut out = Digest::default();
    out.copy_from_slice(context.finish().as_ref());
    out
}
