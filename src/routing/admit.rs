//! Host claims: which route may have which host (spec/route.md 3, 4 and 26.3).
//!
//! "Oldest wins" as a pure function of the present routes: compile calls [`admit`] with all of them
//! each time, so a released host goes to the next route at once, and messages name present owners.
//! Three steps, each over the survivors of the one before: the route alone, the wildcard and
//! subdomain admitter (only with wildcard routes allowed), one route per host and path.

use hashbrown::{HashMap, hash_map::Entry};

use super::host::{self, domains::DomainList};
use crate::{
    model::{
        route::Termination,
        status::{Admission, RejectReason},
    },
    settings::RouterSettings,
};

mod subdomain;
mod unique;

/// What admission needs to know of a route.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Namespace.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// `metadata.uid`, empty when missing.
    pub uid: &'a str,
    /// `metadata.creationTimestamp` in seconds.
    pub created: Option<i64>,
    /// Position in the source.
    pub order: u64,
    /// Host as written.
    pub host: &'a str,
    /// Path as written.
    pub path: &'a str,
    /// `spec.wildcardPolicy` as written; empty means `None`.
    pub wildcard_policy: &'a str,
    /// How TLS ends.
    pub termination: Termination,
}

impl Claim<'_> {
    /// True for `wildcardPolicy: Subdomain`.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.wildcard_policy == "Subdomain"
    }

    /// Sorts older routes first [CLAIM-1]: by timestamp, then UID. A route with a timestamp is
    /// older than one without; those go by position in the source. A missing UID sorts behind any
    /// other. Position, namespace and name decide what is still equal, so no two routes are.
    fn age(&self) -> impl Ord {
        let order = if self.created.is_some() { 0 } else { self.order };
        let stamp = (self.created.is_none(), self.created, order);
        (stamp, self.uid.is_empty(), self.uid, self.order, self.namespace, self.name)
    }

    /// Whether both routes are in one namespace, or namespaces do not matter.
    fn is_friend(&self, other: &Self, rules: &Rules) -> bool {
        rules.disable_namespace_ownership_check || self.namespace == other.namespace
    }
}

/// The router's settings on claims.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `ROUTER_ALLOW_WILDCARD_ROUTES`.
    pub allow_wildcard: bool,
    /// `ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK`.
    pub disable_namespace_ownership_check: bool,
    /// `ROUTER_DENIED_DOMAINS` [ADM-2].
    pub denied: DomainList,
    /// `ROUTER_ALLOWED_DOMAINS`; empty for all [ADM-2].
    pub allowed: DomainList,
}

impl Rules {
    /// The rules that `settings` ask for.
    #[must_use]
    pub fn new(settings: &RouterSettings) -> Self {
        Self {
            allow_wildcard: settings.allow_wildcard_routes,
            disable_namespace_ownership_check: settings.disable_namespace_ownership_check,
            denied: settings.admission.denied_domains.iter().collect(),
            allowed: settings.admission.allowed_domains.iter().collect(),
        }
    }
}

/// Indexes of `routes`, oldest first [CLAIM-1].
#[must_use]
pub fn by_age(routes: &[Claim<'_>]) -> Vec<usize> {
    let mut indexes: Vec<usize> = (0..routes.len()).collect();
    indexes.sort_by(|&a, &b| routes[a].age().cmp(&routes[b].age()));
    indexes
}

/// Decides for each route, in the order given; the outcome does not depend on that order.
#[must_use]
pub fn admit(routes: &[Claim<'_>], rules: &Rules) -> Vec<Admission> {
    let mut outcome = vec![Admission::Admitted; routes.len()];
    let mut domains = subdomain::Domains::default();
    let mut hosts = unique::Hosts::default();
    for index in by_age(routes) {
        let route = &routes[index];
        let claims_domain = rules.allow_wildcard && !route.host.is_empty();
        let refused = check_policy(route, rules)
            .or_else(|| if claims_domain { domains.claim(route, rules) } else { None })
            .or_else(|| check_host(route));
        // Every route that passes the admitter keeps its claims there, whatever becomes of it later
        // [PIPE-1], which is why both steps can run side by side in order of age.
        if let Some(refused) = refused.or_else(|| hosts.claim(route, rules)) {
            outcome[index] = refused;
        }
    }
    outcome
}

/// The first part of the admitter: domains and policy, in the order of [ADM-1 to ADM-4].
fn check_policy(route: &Claim<'_>, rules: &Rules) -> Option<Admission> {
    let message = if rules.denied.contains(route.host) {
        "host in list of denied domains".to_owned()
    } else if !rules.allowed.is_empty()
        && !route.host.is_empty()
        && !rules.allowed.contains(route.host)
    {
        "host not in the allowed list of domains".to_owned()
    } else {
        match route.wildcard_policy {
            "" | "None" => return None,
            "Subdomain" if rules.allow_wildcard => return None,
            "Subdomain" => "wildcard routes are not allowed".to_owned(),
            unknown => format!("unknown wildcard policy {unknown}"),
        }
    };
    Some(Admission::Rejected { reason: RejectReason::RouteNotAdmitted, message })
}

/// What a host must be, whoever has it [CLAIM-9, CLAIM-10].
fn check_host(route: &Claim<'_>) -> Option<Admission> {
    let error = host::is_dns_name(route.host).err()?;
    let (reason, message) = if route.host.is_empty() {
        (RejectReason::NoHostValue, "no host value was defined for the route".to_owned())
    } else {
        (RejectReason::InvalidHost, format!("host name validation errors: {error}"))
    };
    Some(Admission::Rejected { reason, message })
}

/// A refusal because of another route.
fn claimed(message: String) -> Admission {
    Admission::Rejected { reason: RejectReason::HostAlreadyClaimed, message }
}

/// Puts `value` at `key` unless something is there already.
fn keep_first<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: V) {
    if let Entry::Vacant(vacant) = map.entry(key) {
        vacant.insert(value);
    }
}

#[cfg(test)]
mod tests;
