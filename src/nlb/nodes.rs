//! Load balancer nodes: one per zone, and which of them DNS names (spec/l4-dns.md A.2, A.6b).
//!
//! Pure: `server` gives the health of the targets, `names` and the API ask for the outcome. Always
//! holds: DNS never loses its last node; when all zones fail, all are named again.

use std::{net::IpAddr, sync::Arc};

use super::{
    config::{ListenerConfig, ZoneConfig},
    flow::Minimum,
};

/// A target group that a listener forwards to, as far as zones are concerned.
#[derive(Clone, Debug)]
pub struct GroupHealth {
    /// `load_balancing.cross_zone.enabled`.
    pub cross_zone: bool,
    /// Its limits for DNS.
    pub minimum: Minimum,
    /// Zone of each target that is registered and not draining, and whether it is healthy.
    pub targets: Vec<(Option<Arc<str>>, bool)>,
}

impl GroupHealth {
    /// True if the group keeps `zone` in DNS. With cross-zone off, the targets of the zone alone
    /// count, and there must be one; with it on, those of the whole group count.
    fn keeps(&self, zone: &str) -> bool {
        // A target without a zone is in every zone, as with `all` at AWS.
        let here = |own: &Option<Arc<str>>| own.as_deref().is_none_or(|own| own == zone);
        let counted = self.targets.iter().filter(|(own, _)| self.cross_zone || here(own));
        let (mut registered, mut healthy) = (0, 0);
        for (_, is_healthy) in counted {
            registered += 1;
            healthy += usize::from(*is_healthy);
        }
        (self.cross_zone || registered > 0) && self.minimum.is_met(healthy, registered)
    }
}

/// A zone at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneState {
    /// Its name.
    pub zone: Arc<str>,
    /// Address of its node.
    pub address: Option<IpAddr>,
    /// No target group fails it (`ZonalHealthStatus`, A.12).
    pub healthy: bool,
    /// The regional name answers with it: it is healthy and not shifted away from, or no zone is.
    pub in_dns: bool,
}

/// The states of `zones`, while traffic is shifted away from `shifted`. One group that fails a zone is
/// enough (A.2).
#[must_use]
pub fn states(
    zones: &[ZoneConfig],
    groups: &[GroupHealth],
    shifted: Option<&str>,
) -> Vec<ZoneState> {
    let mut states: Vec<_> = zones
        .iter()
        .map(|zone| {
            let healthy = groups.iter().all(|group| group.keeps(&zone.name));
            let ZoneConfig { name, address } = zone.clone();
            let in_dns = healthy && shifted != Some(&*name);
            ZoneState { zone: name, address, healthy, in_dns }
        })
        .collect();
    if states.iter().all(|state| !state.in_dns) {
        for state in &mut states {
            state.in_dns = true;
        }
    }
    states
}

/// The sockets of `listeners`: one that names neither an address nor a zone gets one at each node,
/// as `NAME@ZONE`. Without nodes, the listeners are as configured.
#[must_use]
pub fn sockets(listeners: Vec<ListenerConfig>, zones: &[ZoneConfig]) -> Vec<ListenerConfig> {
    let nodes: Vec<_> = zones.iter().filter_map(|zone| Some((&zone.name, zone.address?))).collect();
    let mut all = Vec::with_capacity(listeners.len() * nodes.len().max(1));
    for listener in listeners {
        if nodes.is_empty() || listener.zone.is_some() || !listener.address.ip().is_unspecified() {
            all.push(listener);
            continue;
        }
        all.extend(nodes.iter().map(|(zone, address)| ListenerConfig {
            name: format!("{}@{zone}", listener.name).into(),
            address: (*address, listener.address.port()).into(),
            zone: Some(Arc::clone(zone)),
            ..listener.clone()
        }));
    }
    all
}

#[cfg(test)]
mod tests;
