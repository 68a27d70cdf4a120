//! The certificate store of a snapshot: who serves what to whom, and with which protocols.

use std::{collections::HashMap, sync::Arc};

use rustls::{ServerConfig, crypto::CryptoProvider};

use super::verdict::{Digest, Pair};
use crate::{
    snapshot::CompiledRoute,
    tls::{
        client_auth::ClientAuth,
        server::Profile,
        store::{CertStore, Served, UnknownName},
    },
};

/// Server configurations of the last store; they are used again.
#[derive(Debug)]
pub(super) struct Configs {
    profile: Profile,
    known: HashMap<(Digest, bool), Arc<ServerConfig>>,
}

/// With which certificates HTTP/2 is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http2 {
    /// With none.
    Nowhere,
    /// With those that one route alone has [ALPN-1].
    OwnCertificate,
    /// With all; requests are then held to what the client was shown (S-63).
    Everywhere,
}

/// Settings of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offers {
    /// HTTP/2.
    pub(super) http2: Http2,
    /// What names without a certificate get.
    pub(super) unknown: UnknownName,
}

impl Configs {
    pub(super) fn new(profile: Profile) -> Self {
        Self { profile, known: HashMap::new() }
    }

    pub(super) const fn provider(&self) -> &Arc<CryptoProvider> {
        self.profile.provider()
    }

    pub(super) fn set_client_auth(&mut self, client_auth: Arc<ClientAuth>) {
        self.profile.set_client_auth(client_auth);
        // Each was made with what was asked of clients until now.
        self.known.clear();
    }

    /// The store for admitted routes and their pairs. Unless it is for all or none, HTTP/2 is offered
    /// with a certificate that exactly one route uses and that is not the default one [ALPN-1]; what
    /// is compared is the first certificate of a chain, however its text is written (register, row
    /// 15).
    pub(super) fn store(
        &mut self,
        mut routes: Vec<(&Arc<CompiledRoute>, &Pair)>,
        default: &Pair,
        offers: Offers,
    ) -> CertStore {
        let mut users: HashMap<Digest, usize> = HashMap::new();
        for (_, pair) in &routes {
            *users.entry(pair.leaf).or_default() += 1;
        }
        // Of several on one host the last by `namespace:name` wins [CERT-3].
        routes.sort_by(|(a, _), (b, _)| name(a).cmp(name(b)));
        let mut next = HashMap::with_capacity(self.known.len());
        let everywhere = offers.http2 == Http2::Everywhere;
        let default_served = self.served(default, everywhere, "default", &mut next);
        let mut store = CertStore::new(default_served, offers.unknown);
        store.set_client_auth(self.profile.client_auth().cloned());
        for (route, pair) in routes {
            let is_own = users.get(&pair.leaf) == Some(&1) && pair.leaf != default.leaf;
            let http2 = everywhere || (is_own && offers.http2 == Http2::OwnCertificate);
            let source = format!("Route {}", route.key);
            if let Some(served) = self.served(pair, http2, &source, &mut next) {
                store.insert(&route.host, route.wildcard, served);
            }
        }
        store.insert_default();
        self.known = next;
        store
    }

    /// `pair` ready for handshakes.
    fn served(
        &self,
        pair: &Pair,
        http2: bool,
        source: &str,
        next: &mut HashMap<(Digest, bool), Arc<ServerConfig>>,
    ) -> Option<Arc<Served>> {
        let id = (pair.id, http2);
        let config = match next.get(&id).or_else(|| self.known.get(&id)) {
            Some(config) => Arc::clone(config),
            None => match self.profile.config(Arc::clone(&pair.key), http2) {
                Ok(config) => config,
                Err(error) => {
                    tracing::error!(%source, %error, "certificate cannot be served");
                    return None;
                },
            },
        };
        next.insert(id, Arc::clone(&config));
        Some(Arc::new(Served { config, key: Arc::clone(&pair.key), source: source.into() }))
    }
}

/// The router-wide name of a route, byte by byte: `namespace:name`.
fn name(route: &CompiledRoute) -> impl Iterator<Item = u8> + use<'_> {
    let key = &route.key;
    key.namespace.bytes().chain([b':']).chain(key.name.bytes())
}
