//! What a port of a Service is forwarded to: nodes or endpoints.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

use super::service::Source;
use crate::model::{
    objects::ObjectKey,
    service::{Protocol, ServicePort},
};

/// Nodes with this label are targets of no load balancer.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The nodes of the manifests that have all of `labels`, at `port`.
pub(super) fn nodes(
    source: &Source<'_>,
    labels: &BTreeMap<String, String>,
    port: u16,
) -> Vec<Value> {
    let mut nodes: Vec<_> = source.objects.nodes.iter().collect();
    nodes.sort_by(|a, b| a.key.cmp(&b.key));
    let mut seen = HashSet::new();
    let mut targets = Vec::with_capacity(nodes.len());
    for node in nodes.into_iter().map(|stored| &stored.object) {
        let none = BTreeMap::new();
        let own = node.metadata.labels.as_ref().unwrap_or(&none);
        let wanted = labels.iter().all(|(key, value)| own.get(key) == Some(value));
        if own.contains_key(EXCLUDED) || !wanted {
            continue;
        }
        if let Some(address) = internal_ip(node).filter(|address| seen.insert(*address)) {
            targets.push(target(address, port, own.get(ZONE).map(String::as_str)));
        }
    }
    targets
}

fn internal_ip(node: &Node) -> Option<IpAddr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    let internal = addresses.iter().find(|address| address.type_ == "InternalIP")?;
    internal.address.parse().ok()
}

/// The endpoints of `port`. Whether they are ready is for the health check to say; one that is being
/// deleted is deregistered.
pub(super) fn endpoints(
    source: &Source<'_>,
    service: &ObjectKey,
    port: &ServicePort,
) -> Vec<Value> {
    let Some(entry) = source.zone.service(&source.zone.fqdn(service)) else { return Vec::new() };
    let (name, protocol) = (&port.name, port.protocol.unwrap_or(Protocol::Tcp));
    let mut seen = HashSet::new();
    let mut targets = Vec::new();
    for endpoint in entry.endpoints.iter().filter(|endpoint| !endpoint.terminating) {
        let fits = |its: &&crate::zone::Port| {
            its.name == *name && its.protocol == protocol && its.number != 0
        };
        for its in endpoint.ports.iter().filter(fits) {
            if seen.insert((endpoint.address, its.number)) {
                let zone = endpoint.zone.as_ref().map(Arc::as_ref);
                targets.push(target(endpoint.address, its.number, zone));
            }
        }
    }
    targets
}

fn target(address: IpAddr, port: u16, zone: Option<&str>) -> Value {
    json!({ "id": address, "port": port, "availabilityZone": zone })
}
