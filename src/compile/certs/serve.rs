//! The certificate store of a snapshot: who serves what to whom, and with which protocols.

use std::{collections::HashMap, sync::Arc};

use rustls::ServerConfig;

use super::verdict::{Digest, Pair};
use crate::{
    snapshot::CompiledRoute,
    tls::{
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

/// Settings of a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offers {
    /// No HTTP/2 at all.
    pub(super) disable_http2: bool,
    /// What names without a certificate get.
    pub(super) unknown: UnknownName,
}

impl Configs {
    pub(super) fn new(profile: Profile) -> Self {
        Self { profile, known: HashMap::new() }
    }

    /// The store for admitted routes and their pairs. HTTP/2 is offered with a certificate that
    /// exactly one route uses and that is not the default one [ALPN-1]; what is compared is the first
    /// certificate of a chain, however its text is written (register, row 15).
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
        let default_served = self.served(default, false, "default", &mut next);
        let mut store = CertStore::new(default_served, offers.unknown);
        for (route, pair) in routes {
            let alone = users.get(&pair.leaf) == Some(&1);
            let http2 = alone && pair.leaf != default.leaf && !offers.disable_http2;
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
