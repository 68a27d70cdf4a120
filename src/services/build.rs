//! Objects to the model.
//!
//! Called at every change. Pure, and linear in the number of endpoints. Always holds: the same
//! objects in any order give the same model.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints};

use super::{Endpoint, Service, ServicePort, TrafficPolicy};
use crate::{
    model::{
        objects::{Objects, Stored},
        service::{self, Protocol, ServiceType},
        slice::{self, EndpointSlice},
    },
    zone::build::{Backing, Behind},
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
    fn service(&self, stored: &Stored<service::Service>) -> Option<Service> {
        let (object, rare) = (&stored.object, stored.object.rare());
        if object.kind == ServiceType::ExternalName || object.cluster_ips.is_empty() {
            return None;
        }
        let mut service = Service {
            key: stored.key.clone(),
            cluster_ips: object.cluster_ips.to_vec(),
            external_ips: rare.external_ips.clone(),
            load_balancer_ips: Vec::new(),
            internal: policy(rare.is_internal_local),
            external: policy(rare.is_external_local),
            affinity: affinity(rare),
            source_ranges: None,
            health_check_node_port: None,
            ports: self.ports(stored),
        };
        if object.kind == ServiceType::LoadBalancer {
            service.load_balancer_ips.clone_from(&rare.load_balancer_ips);
            let ranges = || rare.source_ranges.iter().map(|text| text.trim().parse());
            service.source_ranges =
                (!rare.source_ranges.is_empty()).then(|| ranges().filter_map(Result::ok).collect());
            service.health_check_node_port = number(rare.health_check_node_port);
        }
        Some(service)
    }

    fn ports(&self, stored: &Stored<service::Service>) -> Vec<ServicePort> {
        let kind = stored.object.kind;
        let has_node_ports = matches!(kind, ServiceType::NodePort | ServiceType::LoadBalancer);
        let mut endpoints = self.endpoints(stored);
        let ports = stored.object.ports.iter().filter_map(|port| {
            Some(ServicePort {
                name: Arc::clone(&port.name),
                protocol: port.protocol?,
                port: number(port.port)?,
                node_port: number(port.node_port).filter(|_| has_node_ports),
                endpoints: endpoints.remove(&(&*port.name, port.protocol?)).unwrap_or_default(),
            })
        });
        ports.collect()
    }

    /// Endpoints by port name and protocol, from all slices, or else from the Endpoints object.
    fn endpoints<'b>(&'b self, stored: &'b Stored<service::Service>) -> ByPort<'a, Vec<Endpoint>> {
        let publish = stored.object.publish_not_ready;
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
        for port in &slice.ports {
            // A port without a number means "all of them", which no single target stands for.
            let (Some(protocol), Some(number)) = (port.protocol, port.port.and_then(number)) else {
                continue;
            };
            for endpoint in &slice.endpoints {
                // Names are not for a proxy that is given addresses.
                for &address in &endpoint.addresses {
                    let made = of_slice(endpoint, (address, number).into(), publish);
                    self.add((&*port.name, protocol), made);
                }
            }
        }
    }

    fn add_endpoints(&mut self, endpoints: &'a Endpoints, publish: bool) {
        for subset in endpoints.subsets.iter().flatten() {
            for port in subset.ports.iter().flatten() {
                let (Some(protocol), Some(number)) =
                    (Protocol::parse(port.protocol.as_deref()), number(port.port))
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

fn of_slice(endpoint: &slice::Endpoint, address: SocketAddr, publish: bool) -> Endpoint {
    let hints = endpoint.hints.as_deref().cloned().unwrap_or_default();
    Endpoint {
        address,
        ready: endpoint.ready || publish,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        node: endpoint.node.clone(),
        node_hints: hints.nodes,
        zone_hints: hints.zones,
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

fn affinity(rare: &service::Rare) -> Option<Duration> {
    let seconds = rare.affinity_seconds.unwrap_or(AFFINITY).clamp(1, AFFINITY_MAX).unsigned_abs();
    (rare.session_affinity == "ClientIP").then(|| Duration::from_secs(seconds.into()))
}

const fn policy(is_local: bool) -> TrafficPolicy {
    if is_local { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

/// A port number that exists.
fn number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|number| *number != 0)
}

#[cfg(test)]
mod tests;
