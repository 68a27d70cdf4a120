//! Host claims: which route may have which host (spec/route.md 3, 4 and 26.3).
//!
//! "Oldest wins" as a pure function of the present routes: compile calls [`admit`] with all of them
//! each time, so a released host goes to the next route at once, and messages name present owners.
//! Three steps, each over the survivors of the one before: the route alone, the wildcard and
//! subdomain admitter (only with wildcard routes allowed), one route per host and path.

use hashbrown::{HashMap, hash_map::Entry};

use super::host;
use crate::model::{
    route::Termination,
    status::{Admission, RejectReason},
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
    fn is_friend(&self, other: &Self, rules: Rules) -> bool {
        rules.disable_namespace_ownership_check || self.namespace == other.namespace
    }
}

/// The router's settings on claims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// `ROUTER_ALLOW_WILDCARD_ROUTES`.
    pub allow_wildcard: bool,
    /// `ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK`.
    pub disable_namespace_ownership_check: bool,
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
    let rules = *rules;
    let mut outcome = vec![Admission::Admitted; routes.len()];
    let mut domains = subdomain::Domains::default();
    let mut hosts = unique::Hosts::default();
    for index in by_age(routes) {
        let route = &routes[index];
        let refused = check_alone(route, rules)
            .or_else(|| if rules.allow_wildcard { domains.claim(route, rules) } else { None });
        // Every route that passes the admitter counts in the next step, which is why both steps
        // can run side by side in order of age.
        if let Some(refused) = refused.or_else(|| hosts.claim(route, rules)) {
            outcome[index] = refused;
        }
    }
    outcome
}

/// What can be said about a route without the others [ADM-3, ADM-4, CLAIM-9, CLAIM-10].
fn check_alone(route: &Claim<'_>, rules: Rules) -> Option<Admission> {
    let (reason, message) = match (route.wildcard_policy, host::is_dns_name(route.host)) {
        ("Subdomain", _) if !rules.allow_wildcard => {
            (RejectReason::RouteNotAdmitted, "wildcard routes are not allowed".to_owned())
        },
        ("" | "None" | "Subdomain", Ok(())) => return None,
        ("" | "None" | "Subdomain", Err(_)) if route.host.is_empty() => {
            (RejectReason::NoHostValue, "no host value was defined for the route".to_owned())
        },
        ("" | "None" | "Subdomain", Err(error)) => {
            (RejectReason::InvalidHost, format!("host name validation errors: {error}"))
        },
        (unknown, _) => {
            (RejectReason::RouteNotAdmitted, format!("unknown wildcard policy {unknown}"))
        },
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
