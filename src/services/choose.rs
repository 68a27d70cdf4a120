//! Which endpoints a new connection may have, and what happens when it may have none
//! (spec/l4-dns.md B.3; kubernetes pkg/proxy/topology.go).
//!
//! Called at every change, not for every connection. Always holds: as long as one endpoint can
//! answer anywhere, the cluster set is not empty; the two sets fall back to terminating endpoints
//! each by itself.

use std::{net::IpAddr, sync::Arc};

use super::{Endpoint, Node, Service, TrafficPolicy, Via};

/// The endpoints that each traffic policy gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Categories<'a> {
    /// For policy Cluster.
    pub cluster: Vec<&'a Endpoint>,
    /// For policy Local.
    pub local: Vec<&'a Endpoint>,
}

/// Which sets have an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// That of policy Cluster.
    pub cluster: bool,
    /// That of policy Local.
    pub local: bool,
}

impl Categories<'_> {
    /// Which of the two have an endpoint.
    #[must_use]
    pub const fn usable(&self) -> Usable {
        Usable { cluster: !self.cluster.is_empty(), local: !self.local.is_empty() }
    }
}

/// What a new connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An endpoint of this policy's set, which is not empty.
    From(TrafficPolicy),
    /// Refused at once: the Service has no usable endpoint anywhere.
    Reject,
    /// No answer at all: it may not come from there, or the policy is Local and no endpoint is here.
    Drop,
}

/// How endpoints are narrowed by their hints.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Topology {
    SameNode,
    SameZone,
    None,
}

/// The endpoints of one family of one port, as `node` may use them.
pub fn categorize<'a>(
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
    node: &Node,
) -> Categories<'a> {
    let all: Vec<&Endpoint> = endpoints.into_iter().collect();
    let ready = || all.iter().copied().filter(|endpoint| endpoint.ready);
    let leaving =
        || all.iter().copied().filter(|endpoint| endpoint.serving && endpoint.terminating);
    let here = |endpoint: &&Endpoint| endpoint.node.as_ref() == Some(&node.name);
    let topology = topology(ready(), node);
    let cluster = ready().filter(|endpoint| passes(endpoint, topology, node));
    Categories {
        cluster: or_else(cluster.collect(), || leaving().collect()),
        local: or_else(ready().filter(here).collect(), || leaving().filter(here).collect()),
    }
}

fn or_else<T>(first: Vec<T>, second: impl FnOnce() -> Vec<T>) -> Vec<T> {
    if first.is_empty() { second() } else { first }
}

/// Hints count only when every ready endpoint has one and one of them is for this place, so that a
/// missing hint never takes all endpoints away.
fn topology<'a>(ready: impl Iterator<Item = &'a Endpoint> + Clone, node: &Node) -> Topology {
    if ready.clone().next().is_none() {
        return Topology::None;
    }
    let is = |mode| {
        ready.clone().all(|endpoint| !hints(endpoint, mode).is_empty())
            && ready.clone().any(|endpoint| passes(endpoint, mode, node))
    };
    if is(Topology::SameNode) {
        Topology::SameNode
    } else if is(Topology::SameZone) {
        Topology::SameZone
    } else {
        Topology::None
    }
}

fn hints(endpoint: &Endpoint, topology: Topology) -> &[Arc<str>] {
    match topology {
        Topology::SameNode => &endpoint.node_hints,
        Topology::SameZone => &endpoint.zone_hints,
        Topology::None => &[],
    }
}

fn passes(endpoint: &Endpoint, topology: Topology, node: &Node) -> bool {
    match topology {
        Topology::SameNode => endpoint.node_hints.contains(&node.name),
        Topology::SameZone => endpoint.zone_hints.contains(&node.zone),
        Topology::None => true,
    }
}

impl Service {
    /// The policy of a connection that came by `via`. From `inside` (a pod or this node) an address
    /// that is meant for the outside is short-circuited to all endpoints.
    #[must_use]
    pub const fn policy(&self, via: Via, inside: bool) -> TrafficPolicy {
        match via {
            Via::ClusterIp => self.internal,
            Via::ExternalIp | Via::LoadBalancerIp | Via::NodePort if inside => {
                TrafficPolicy::Cluster
            },
            Via::ExternalIp | Via::LoadBalancerIp | Via::NodePort => self.external,
        }
    }

    /// True when `source` may use the addresses of kind `via` (SVC-13). Ranges of the other family
    /// admit nobody of this one.
    #[must_use]
    pub fn admits(&self, via: Via, source: IpAddr) -> bool {
        via != Via::LoadBalancerIp
            || self
                .source_ranges
                .as_ref()
                .is_none_or(|ranges| ranges.iter().any(|range| range.contains(&source)))
    }

    /// What a connection from `source` that came by `via` gets. Sources are looked at first.
    #[must_use]
    pub fn verdict(&self, usable: Usable, via: Via, source: IpAddr, inside: bool) -> Verdict {
        if !self.admits(via, source) {
            return Verdict::Drop;
        }
        self.choice(usable, via, inside)
    }

    /// What a connection gets whose source may use the address.
    #[must_use]
    pub const fn choice(&self, usable: Usable, via: Via, inside: bool) -> Verdict {
        let policy = self.policy(via, inside);
        let has_one = match policy {
            TrafficPolicy::Cluster => usable.cluster,
            TrafficPolicy::Local => usable.local,
        };
        match (has_one, usable.cluster) {
            (true, _) => Verdict::From(policy),
            (false, false) => Verdict::Reject,
            (false, true) => Verdict::Drop,
        }
    }

    /// Ready endpoints on `node`, each address once: what the health check node port reports, 503
    /// when it is 0.
    #[must_use]
    pub fn local_ready(&self, node: &Node) -> usize {
        let mut addresses: Vec<IpAddr> = self
            .ports
            .iter()
            .flat_map(|port| &port.endpoints)
            .filter(|endpoint| endpoint.ready && endpoint.node.as_ref() == Some(&node.name))
            .map(|endpoint| endpoint.address.ip())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.len()
    }
}

#[cfg(test)]
mod tests;
