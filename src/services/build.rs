//! Objects to the model.
//!
//! Called at every change. Pure, and linear in the number of endpoints. Always holds: the same
//! objects in any order give the same model.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{self as core, EndpointAddress, Endpoints, ServiceSpec},
    discovery::v1::{self as discovery, EndpointSlice},
};

use super::{Endpoint, Service, ServicePort, TrafficPolicy};
use crate::{
    model::objects::{Objects, Stored},
    zone::{
        Protocol,
        build::{Backing, Behind, protocol},
    },
};

/// Default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY: i32 = 10_800;
/// Its longest value.
const AFFINITY_MAX: i32 = 86_400;

/// Every Service with a virtual address, sorted by namespace and name.
#[must_use]
pub fn build(objects: &Objects) -> Vec<Service> {
    let sources = Sources(Backing::new(objects));
    let built = objects.services.iter().filter_map(|stored| sources.service(stored));
    let mut services: Vec<Service> = built.collect();
    services.sort_by(|a, b| a.key.cmp(&b.key));
    services
}

/// What Services are made from.
struct Sources<'a>(Backing<'a>);

impl<'a> Sources<'a> {
    fn service(&self, stored: &Stored<core::Service>) -> Option<Service> {
        let spec = stored.object.spec.as_ref()?;
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        let cluster_ips =
            addresses(spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()));
        if kind == "ExternalName" || cluster_ips.is_empty() {
            return None;
        }
        let is_balanced = kind == "LoadBalancer";
        let mut service = Service {
            key: stored.key.clone(),
            cluster_ips,
            external_ips: addresses(spec.external_ips.iter().flatten()),
            load_balancer_ips: Vec::new(),
            internal: policy(spec.internal_traffic_policy.as_deref()),
            external: policy(spec.external_traffic_policy.as_deref()),
            affinity: affinity(spec),
            source_ranges: None,
            health_check_node_port: None,
            ports: self.ports(stored, spec, kind),
        };
        if is_balanced {
            service.load_balancer_ips = load_balancer_ips(&stored.object);
            let ranges = spec.load_balancer_source_ranges.iter().flatten();
            let ranges: Vec<&str> = ranges.map(|text| text.trim()).collect();
            service.source_ranges = (!ranges.is_empty())
                .then(|| ranges.iter().filter_map(|text| text.parse().ok()).collect());
            service.health_check_node_port = spec.health_check_node_port.and_then(number);
        }
        Some(service)
    }

    fn ports(
        &self,
        stored: &Stored<core::Service>,
        spec: &ServiceSpec,
        kind: &str,
    ) -> Vec<ServicePort> {
        let has_node_ports = matches!(kind, "NodePort" | "LoadBalancer");
        let publish = spec.publish_not_ready_addresses.unwrap_or(false);
        let mut endpoints = self.endpoints(stored, publish);
        let ports = spec.ports.iter().flatten().filter_map(|port| {
            let (name, protocol) = (port.name.as_deref(), protocol(port.protocol.as_deref())?);
            let name = name.unwrap_or_default();
            Some(ServicePort {
                name: name.into(),
                protocol,
                port: number(port.port)?,
                node_port: port.node_port.filter(|_| has_node_ports).and_then(number),
                endpoints: endpoints.remove(&(name, protocol)).unwrap_or_default(),
            })
        });
        ports.collect()
    }

    /// Endpoints by port name and protocol, from all slices, or else from the Endpoints object.
    fn endpoints(
        &self,
        stored: &Stored<core::Service>,
        publish: bool,
    ) -> ByPort<'a, Vec<Endpoint>> {
        let mut merge = Merge::default();
        match self.0.of(&stored.key.namespace, &stored.key.name) {
            Behind::Slices(slices) => {
                slices.iter().for_each(|slice| merge.add_slice(slice, publish));
            },
            Behind::Endpoints(object) => merge.add_endpoints(object, publish),
            Behind::Nothing => {},
        }
        let found = merge.0.into_iter();
        found.map(|(port, endpoints)| (port, endpoints.into_values().collect())).collect()
    }
}

type ByPort<'a, T> = HashMap<(&'a str, Protocol), T>;

/// Collects endpoints, each address and port once. While an endpoint moves between slices it stands in
/// both; it is ready when any mention is (SVC-09).
#[derive(Default)]
struct Merge<'a>(ByPort<'a, BTreeMap<SocketAddr, Endpoint>>);

impl<'a> Merge<'a> {
    fn add_slice(&mut self, slice: &'a EndpointSlice, publish: bool) {
        let is_v6 = match &*slice.address_type {
            "IPv4" => false,
            "IPv6" => true,
            // Names are not for a proxy that is given addresses.
            _ => return,
        };
        for port in slice.ports.iter().flatten() {
            // A port without a number means "all of them", which no single target stands for.
            let (Some(protocol), Some(number)) =
                (protocol(port.protocol.as_deref()), port.port.and_then(number))
            else {
                continue;
            };
            let key = (port.name.as_deref().unwrap_or_default(), protocol);
            for endpoint in slice.endpoints.iter().flatten() {
                for address in addresses(&endpoint.addresses) {
                    if address.is_ipv6() == is_v6 {
                        self.add(key, of_slice(endpoint, (address, number).into(), publish));
                    }
                }
            }
        }
    }

    fn add_endpoints(&mut self, endpoints: &'a Endpoints, publish: bool) {
        for subset in endpoints.subsets.iter().flatten() {
            for port in subset.ports.iter().flatten() {
                let (Some(protocol), Some(number)) =
                    (protocol(port.protocol.as_deref()), number(port.port))
                else {
                    continue;
                };
                let key = (port.name.as_deref().unwrap_or_default(), protocol);
                let ready = subset.addresses.iter().flatten().map(|address| (address, true));
                let not_ready = subset.not_ready_addresses.iter().flatten();
                for (address, ready) in ready.chain(not_ready.map(|address| (address, publish))) {
                    if let Some(endpoint) = of_address(address, number, ready) {
                        self.add(key, endpoint);
                    }
                }
            }
        }
    }

    fn add(&mut self, port: (&'a str, Protocol), new: Endpoint) {
        let of_port = self.0.entry(port).or_default();
        match of_port.get_mut(&new.address) {
            None => {
                of_port.insert(new.address, new);
            },
            Some(known) => {
                known.ready |= new.ready;
                known.serving |= new.serving;
                known.terminating &= new.terminating;
                known.node = known.node.take().or(new.node);
            },
        }
    }
}

fn of_slice(endpoint: &discovery::Endpoint, address: SocketAddr, publish: bool) -> Endpoint {
    let conditions = endpoint.conditions.as_ref();
    let ready = conditions.and_then(|known| known.ready).unwrap_or(true);
    let hints = endpoint.hints.as_ref();
    let nodes = hints.and_then(|hints| hints.for_nodes.as_ref());
    let zones = hints.and_then(|hints| hints.for_zones.as_ref());
    Endpoint {
        address,
        ready: ready || publish,
        serving: conditions.and_then(|known| known.serving).unwrap_or(ready),
        terminating: conditions.and_then(|known| known.terminating).unwrap_or(false),
        node: endpoint.node_name.as_deref().map(Arc::from),
        node_hints: nodes.into_iter().flatten().map(|hint| hint.name.as_str().into()).collect(),
        zone_hints: zones.into_iter().flatten().map(|hint| hint.name.as_str().into()).collect(),
    }
}

fn of_address(address: &EndpointAddress, port: u16, ready: bool) -> Option<Endpoint> {
    Some(Endpoint {
        address: SocketAddr::new(address.ip.parse().ok()?, port),
        ready,
        serving: ready,
        terminating: false,
        node: address.node_name.as_deref().map(Arc::from),
        node_hints: Vec::new(),
        zone_hints: Vec::new(),
    })
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    let is_by_client = spec.session_affinity.as_deref() == Some("ClientIP");
    let config = spec.session_affinity_config.as_ref();
    let client = config.and_then(|config| config.client_ip.as_ref());
    let seconds = client.and_then(|client| client.timeout_seconds).unwrap_or(AFFINITY);
    let seconds = seconds.clamp(1, AFFINITY_MAX).unsigned_abs();
    is_by_client.then(|| Duration::from_secs(seconds.into()))
}

fn load_balancer_ips(service: &core::Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    // Mode Proxy means that the load balancer itself must see the traffic.
    let direct = ingress.filter(|point| point.ip_mode.as_deref() != Some("Proxy"));
    addresses(direct.filter_map(|point| point.ip.as_ref()))
}

fn policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

/// A port number that exists.
fn number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number != 0)
}

/// What of `texts` is an address, each once, in order.
fn addresses<'t>(texts: impl IntoIterator<Item = &'t String>) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in texts.into_iter().filter_map(|text| text.parse().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests;
