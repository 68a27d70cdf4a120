//! The wildcard and subdomain admitter (spec/route.md 4.1), fed oldest first.
//!
//! Accepted wildcard routes of one domain, and accepted plain routes of one host, are friends of
//! each other, so the first of them stands for all.

use hashbrown::HashMap;

use super::{Admission, Claim, Rules, claimed, keep_first};
use crate::routing::host::parent_domain;

/// Accepted routes by what a newer route may collide with.
#[derive(Debug, Default)]
pub(super) struct Domains<'r>(HashMap<&'r str, Domain<'r>>);

/// Accepted routes under one domain.
#[derive(Debug, Default)]
struct Domain<'r> {
    /// The oldest wildcard route.
    wildcard: Option<&'r Claim<'r>>,
    /// Wildcard routes by path.
    wildcards: HashMap<&'r str, &'r Claim<'r>>,
    /// The oldest plain route.
    plain: Option<&'r Claim<'r>>,
    /// The oldest plain route in another namespace than `plain`.
    other: Option<&'r Claim<'r>>,
    /// The oldest plain route of each host.
    hosts: HashMap<&'r str, &'r Claim<'r>>,
    /// Plain routes by host and path.
    paths: HashMap<(&'r str, &'r str), &'r Claim<'r>>,
}

impl<'r> Domains<'r> {
    /// Takes the claims of `route`, or says who is in the way [CLAIM-2 to CLAIM-7].
    pub(super) fn claim(&mut self, route: &'r Claim<'r>, rules: &Rules) -> Option<Admission> {
        let domain = self.0.entry(parent_domain(route.host).unwrap_or_default()).or_default();
        if let Some((owner, kind)) = domain.blocker(route, rules) {
            return Some(claimed(message(route, owner, kind)));
        }
        domain.add(route);
        None
    }
}

/// How an older route is in the way.
#[derive(Clone, Copy)]
enum Block {
    /// It has the same host, or a host under the wanted wildcard [CLAIM-3, CLAIM-5].
    Host,
    /// Its wildcard covers the host [CLAIM-4].
    Wildcard,
}

impl<'r> Domain<'r> {
    fn blocker(&self, route: &Claim<'_>, rules: &Rules) -> Option<(&'r Claim<'r>, Block)> {
        let foe = |owner: &&Claim<'_>| !route.is_friend(owner, rules);
        let same_host = self.hosts.get(route.host).copied();
        if route.is_wildcard() {
            let wildcard = self.wildcard.filter(foe);
            let wildcard = wildcard.or_else(|| self.wildcards.get(route.path).copied());
            let plain = same_host.filter(foe);
            return plain
                .map(|owner| (owner, Block::Host))
                .or_else(|| wildcard.map(|owner| (owner, Block::Wildcard)))
                .or_else(|| {
                    let plain = self.plain.filter(foe).or_else(|| self.other.filter(foe));
                    plain.map(|owner| (owner, Block::Host))
                });
        }
        let plain = same_host.filter(foe);
        plain
            .or_else(|| self.paths.get(&(route.host, route.path)).copied())
            .map(|owner| (owner, Block::Host))
            .or_else(|| self.wildcard.filter(foe).map(|owner| (owner, Block::Wildcard)))
    }

    fn add(&mut self, route: &'r Claim<'r>) {
        if route.is_wildcard() {
            self.wildcard.get_or_insert(route);
            keep_first(&mut self.wildcards, route.path, route);
            return;
        }
        let plain = *self.plain.get_or_insert(route);
        if plain.namespace != route.namespace {
            self.other.get_or_insert(route);
        }
        keep_first(&mut self.hosts, route.host, route);
        keep_first(&mut self.paths, (route.host, route.path), route);
    }
}

/// The texts of [CLAIM-7].
fn message(route: &Claim<'_>, owner: &Claim<'_>, kind: Block) -> String {
    let (namespace, name) = (owner.namespace, owner.name);
    if namespace != route.namespace {
        return format!("a route in another namespace holds host {}", route.host);
    }
    match kind {
        Block::Host => format!("route {namespace}/{name} has host {}", owner.host),
        Block::Wildcard => {
            let domain = parent_domain(owner.host).unwrap_or_default();
            let host = route.host;
            format!("wildcard route {namespace}/{name} has host *.{domain}, blocking {host}")
        },
    }
}
