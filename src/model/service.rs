//! What wharf keeps of a v1 Service.
//!
//! Made by `source::document` of the type of the API, read by the DNS map, `services` and the load
//! balancer. Thousands of Services stay in memory, and the API's type takes 2 KiB for one; this holds
//! what somebody here asks for. Always holds: what the API server would fill in is filled in, and what
//! should be an address and is none is left out.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, LazyLock},
};

use k8s_openapi::{api::core::v1 as core, apimachinery::pkg::util::intstr::IntOrString};
use serde::Deserialize;

use super::interner::Interner;

/// What kubectl keeps for itself: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Transport protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Stream Control Transmission Protocol.
    Sctp,
    /// Transmission Control Protocol.
    Tcp,
    /// User Datagram Protocol.
    Udp,
}

impl Protocol {
    /// The protocol named `text`; TCP when there is none.
    #[must_use]
    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

/// `spec.type`. One that does not exist counts as `ClusterIP`, the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Virtual addresses inside the cluster, or none: a headless Service.
    #[default]
    ClusterIp,
    /// And a port of every node.
    NodePort,
    /// And a load balancer in front.
    LoadBalancer,
    /// An alias of a name outside.
    ExternalName,
}

/// A v1 Service. Namespace and name are the key that it is stored under.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "core::Service")]
pub struct Service {
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.publishNotReadyAddresses`: every endpoint counts as ready.
    pub publish_not_ready: bool,
    /// Whether `spec.selector` selects anything.
    pub has_selector: bool,
    /// The addresses in `spec.clusterIP` and `spec.clusterIPs`, each once. A headless Service has none.
    pub cluster_ips: Box<[IpAddr]>,
    /// `spec.ports`.
    pub ports: Box<[ServicePort]>,
    /// `metadata.uid`; empty in manifests that were written by hand.
    pub uid: Box<str>,
    rare: Option<Box<Rare>>,
}

/// One of `spec.ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name; empty when unnamed.
    pub name: Arc<str>,
    /// `appProtocol`, such as `kubernetes.io/h2c`.
    pub app_protocol: Option<Arc<str>>,
    /// Port of the endpoints.
    pub target: TargetPort,
    /// Port of the Service, as written: it may be none that exists.
    pub port: i32,
    /// Port of the nodes; 0 when there is none.
    pub node_port: i32,
    /// Transport protocol; `None` for one that does not exist.
    pub protocol: Option<Protocol>,
}

/// Which port of the endpoints a port of a Service means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The same one.
    Same,
    /// That with this number, as written.
    Number(i32),
    /// That which the pods call so.
    Name(Arc<str>),
}

/// What few Services have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rare {
    /// `metadata.annotations`, less kubectl's copy of the object.
    pub annotations: BTreeMap<String, String>,
    /// `spec.externalName`, as written.
    pub external_name: String,
    /// The addresses in `spec.externalIPs`, each once.
    pub external_ips: Vec<IpAddr>,
    /// `spec.internalTrafficPolicy` is `Local`.
    pub is_internal_local: bool,
    /// `spec.externalTrafficPolicy` is `Local`.
    pub is_external_local: bool,
    /// `spec.sessionAffinity`; empty for `None`.
    pub session_affinity: String,
    /// `spec.sessionAffinityConfig.clientIP.timeoutSeconds`, as written.
    pub affinity_seconds: Option<i32>,
    /// `spec.loadBalancerSourceRanges`, as written.
    pub source_ranges: Vec<String>,
    /// `spec.loadBalancerClass`.
    pub load_balancer_class: String,
    /// `spec.healthCheckNodePort`; 0 when there is none.
    pub health_check_node_port: i32,
    /// The addresses in `status.loadBalancer`, each once, but for those of `ipMode` Proxy: there the
    /// load balancer itself must see the traffic.
    pub load_balancer_ips: Vec<IpAddr>,
}

impl Service {
    /// What wharf keeps of `object`; texts are shared through `texts`.
    #[must_use]
    pub fn new(object: core::Service, texts: &mut Interner) -> Self {
        let rare = rare(&object);
        let spec = object.spec.unwrap_or_default();
        let cluster_ips = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
        let ports = spec.ports.into_iter().flatten();
        Self {
            kind: match spec.type_.as_deref() {
                Some("NodePort") => ServiceType::NodePort,
                Some("LoadBalancer") => ServiceType::LoadBalancer,
                Some("ExternalName") => ServiceType::ExternalName,
                _ => ServiceType::ClusterIp,
            },
            publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
            has_selector: spec.selector.is_some_and(|selector| !selector.is_empty()),
            cluster_ips: addresses(cluster_ips).into(),
            ports: ports.map(|port| ServicePort::new(port, texts)).collect(),
            uid: object.metadata.uid.unwrap_or_default().into(),
            rare: (rare != Rare::default()).then(|| rare.into()),
        }
    }

    /// What few Services have.
    #[must_use]
    pub fn rare(&self) -> &Rare {
        static NONE: LazyLock<Rare> = LazyLock::new(Rare::default);
        self.rare.as_deref().unwrap_or(&NONE)
    }

    /// The annotation of this name.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.rare().annotations.get(name).map(String::as_str)
    }
}

impl From<core::Service> for Service {
    fn from(object: core::Service) -> Self {
        Self::new(object, &mut Interner::default())
    }
}

impl ServicePort {
    fn new(port: core::ServicePort, texts: &mut Interner) -> Self {
        Self {
            name: texts.share(&port.name.unwrap_or_default()),
            app_protocol: port.app_protocol.map(|text| texts.share(&text)),
            target: match port.target_port {
                None | Some(IntOrString::Int(0)) => TargetPort::Same,
                Some(IntOrString::Int(number)) => TargetPort::Number(number),
                Some(IntOrString::String(name)) => TargetPort::Name(texts.share(&name)),
            },
            port: port.port,
            node_port: port.node_port.unwrap_or(0),
            protocol: Protocol::parse(port.protocol.as_deref()),
        }
    }
}

fn rare(object: &core::Service) -> Rare {
    let none = core::ServiceSpec::default();
    let spec = object.spec.as_ref().unwrap_or(&none);
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let direct = ingress.filter(|point| point.ip_mode.as_deref() != Some("Proxy"));
    let affinity = spec.session_affinity_config.as_ref().and_then(|its| its.client_ip.as_ref());
    let mut annotations = object.metadata.annotations.clone().unwrap_or_default();
    annotations.remove(LAST_APPLIED);
    Rare {
        annotations,
        external_name: spec.external_name.clone().unwrap_or_default(),
        external_ips: addresses(spec.external_ips.iter().flatten()),
        is_internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
        is_external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        session_affinity: spec
            .session_affinity
            .clone()
            .filter(|text| text != "None")
            .unwrap_or_default(),
        affinity_seconds: affinity.and_then(|client| client.timeout_seconds),
        source_ranges: spec.load_balancer_source_ranges.clone().unwrap_or_default(),
        load_balancer_class: spec.load_balancer_class.clone().unwrap_or_default(),
        health_check_node_port: spec.health_check_node_port.unwrap_or(0),
        load_balancer_ips: addresses(direct.filter_map(|point| point.ip.as_ref())),
    }
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
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plain_service_has_nothing_rare() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web", "annotations": {LAST_APPLIED: "{}"}},
            "spec": {
                "type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
                "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
                "ports": [{"port": 80}, {"name": "tls", "port": 443, "targetPort": "https", "protocol": "UDP"}],
            },
        }))
        .unwrap();
        assert_eq!(service.rare, None);
        assert_eq!(service.rare(), &Rare::default());
        let expected: [IpAddr; 2] = ["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(*service.cluster_ips, expected);
        assert_eq!(service.ports[0].target, TargetPort::Same);
        assert_eq!(service.ports[1].target, TargetPort::Name("https".into()));
        let protocols = [service.ports[0].protocol, service.ports[1].protocol];
        assert_eq!(protocols, [Some(Protocol::Tcp), Some(Protocol::Udp)]);
    }

    /// What a Service takes in memory is what makes this type worth having.
    #[test]
    fn a_service_is_small() {
        assert!(size_of::<Service>() <= 64, "{}", size_of::<Service>());
        assert!(size_of::<ServicePort>() <= 72, "{}", size_of::<ServicePort>());
    }

    #[test]
    fn what_few_services_have_is_kept() {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"annotations": {"a": "b"}},
            "spec": {
                "type": "LoadBalancer", "externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP",
                "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 7}},
                "healthCheckNodePort": 30000, "externalIPs": ["192.0.2.1", "x", "192.0.2.1"],
            },
            "status": {"loadBalancer": {"ingress": [
                {"ip": "192.0.2.2"}, {"ip": "192.0.2.3", "ipMode": "Proxy"}, {"hostname": "x"},
            ]}},
        }))
        .unwrap();
        let expected = Rare {
            annotations: [("a".to_owned(), "b".to_owned())].into(),
            external_ips: vec!["192.0.2.1".parse().unwrap()],
            is_external_local: true,
            session_affinity: "ClientIP".to_owned(),
            affinity_seconds: Some(7),
            health_check_node_port: 30000,
            load_balancer_ips: vec!["192.0.2.2".parse().unwrap()],
            ..Rare::default()
        };
        assert_eq!((service.kind, service.rare()), (ServiceType::LoadBalancer, &expected));
        assert_eq!((service.annotation("a"), service.annotation("b")), (Some("b"), None));
    }
}
