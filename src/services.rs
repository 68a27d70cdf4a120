//! L2: what a Service means for a new connection, as kube-proxy would have it on one node
//! (spec/l4-dns.md B).
//!
//! [`build`] makes the model of objects, [`choose`] says which endpoints a connection may have,
//! [`affinity`] remembers clients, [`schedulers`] picks one. Used by the data paths of `vip`. Always
//! holds: no I/O, no clock; an endpoint is in a port once, whatever slices say.

pub mod affinity;
pub mod build;
pub mod choose;
pub mod schedulers;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use crate::{model::objects::ObjectKey, zone::Protocol};

/// Which endpoints a kind of traffic may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// All of them, less what topology takes away.
    Cluster,
    /// Those on this node.
    Local,
}

/// One Service with virtual addresses. A headless or ExternalName Service has none and is not here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `clusterIPs`, each once.
    pub cluster_ips: Vec<IpAddr>,
    /// `externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// Addresses of `status.loadBalancer` whose `ipMode` is VIP.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `internalTrafficPolicy`: for the cluster IPs.
    pub internal: TrafficPolicy,
    /// `externalTrafficPolicy`: for all other addresses.
    pub external: TrafficPolicy,
    /// How long a client keeps its endpoint after its last connection; none without affinity.
    pub affinity: Option<Duration>,
    /// Sources that the load balancer's addresses take; none means all. A range that cannot be read
    /// admits nobody.
    pub source_ranges: Option<Vec<IpNet>>,
    /// `healthCheckNodePort`.
    pub health_check_node_port: Option<u16>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
}

/// One port of a Service with the endpoints behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty when unnamed.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port of the virtual addresses.
    pub port: u16,
    /// Port of the nodes, when there is one.
    pub node_port: Option<u16>,
    /// Endpoints of both families, sorted by address, each once.
    pub endpoints: Vec<Endpoint>,
}

/// One address and port behind a port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Takes new traffic.
    pub ready: bool,
    /// Still answers, even while terminating.
    pub serving: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// Node that it runs on.
    pub node: Option<Arc<str>>,
    /// Nodes that should use it; empty when there is no hint.
    pub node_hints: Vec<Arc<str>>,
    /// Zones that should use it; empty when there is no hint.
    pub zone_hints: Vec<Arc<str>>,
}

/// The node that choices are made for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: Arc<str>,
    /// `topology.kubernetes.io/zone`; empty when it has none.
    pub zone: Arc<str>,
}

/// The kind of address that a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Via {
    /// A cluster IP.
    ClusterIp,
    /// One of `externalIPs`.
    ExternalIp,
    /// An address of the load balancer.
    LoadBalancerIp,
    /// A node port.
    NodePort,
}

impl Service {
    /// Every virtual address with its kind. Node ports are not here: their addresses are the node's.
    pub fn addresses(&self) -> impl Iterator<Item = (IpAddr, Via)> + '_ {
        let cluster = self.cluster_ips.iter().map(|&address| (address, Via::ClusterIp));
        let external = self.external_ips.iter().map(|&address| (address, Via::ExternalIp));
        let balancer = self.load_balancer_ips.iter().map(|&address| (address, Via::LoadBalancerIp));
        cluster.chain(external).chain(balancer)
    }
}
