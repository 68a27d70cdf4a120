//! What wharf keeps of a discovery.k8s.io/v1 EndpointSlice.
//!
//! Made by `source::document` of the type of the API, read by the DNS map, `services` and the checks
//! across objects. It is small for the reason that [`super::service`] gives. Always holds: conditions
//! that are missing have their defaults, and addresses are of the family of the slice.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1 as discovery;
use serde::Deserialize;

use super::{interner::Interner, service::Protocol};

/// Label that ties a slice to its Service.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// A discovery.k8s.io/v1 EndpointSlice. Namespace and name are the key that it is stored under.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "discovery::EndpointSlice")]
pub struct EndpointSlice {
    /// The Service it belongs to, by [`SERVICE_NAME`].
    pub service: Option<Arc<str>>,
    /// `ports`.
    pub ports: Box<[SlicePort]>,
    /// `endpoints`.
    pub endpoints: Box<[Endpoint]>,
}

/// One of `ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// Name; empty when unnamed.
    pub name: Arc<str>,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
    /// Number, as written; `None` means all ports.
    pub port: Option<i32>,
    /// Transport protocol; `None` for one that does not exist.
    pub protocol: Option<Protocol>,
}

/// One of `endpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// `addresses` of a slice of type `IPv4` or `IPv6`.
    pub addresses: Box<[IpAddr]>,
    /// `addresses` of a slice of type `FQDN`, as written.
    pub names: Box<[Box<str>]>,
    /// Name of the pod, from `targetRef`.
    pub pod: Option<Arc<str>>,
    /// `hostname`, as written.
    pub hostname: Option<Arc<str>>,
    /// `nodeName`.
    pub node: Option<Arc<str>>,
    /// `zone`.
    pub zone: Option<Arc<str>>,
    /// `hints`, where there are any.
    pub hints: Option<Box<Hints>>,
    /// `conditions.ready`; true when it is not said.
    pub ready: bool,
    /// `conditions.serving`; as `ready` when it is not said.
    pub serving: bool,
    /// `conditions.terminating`.
    pub terminating: bool,
}

/// Who should use an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// `forNodes`.
    pub nodes: Vec<Arc<str>>,
    /// `forZones`.
    pub zones: Vec<Arc<str>>,
}

impl EndpointSlice {
    /// What wharf keeps of `object`; texts are shared through `texts`.
    #[must_use]
    pub fn new(object: discovery::EndpointSlice, texts: &mut Interner) -> Self {
        let labels = object.metadata.labels.unwrap_or_default();
        let kind = object.address_type;
        let ports = object.ports.into_iter().flatten();
        let endpoints = object.endpoints.into_iter().flatten();
        Self {
            service: labels.get(SERVICE_NAME).map(|name| texts.share(name)),
            ports: ports
                .map(|port| SlicePort {
                    name: texts.share(&port.name.unwrap_or_default()),
                    app_protocol: port.app_protocol.map(|text| texts.share(&text)),
                    port: port.port,
                    protocol: Protocol::parse(port.protocol.as_deref()),
                })
                .collect(),
            endpoints: endpoints.map(|endpoint| Endpoint::new(endpoint, &kind, texts)).collect(),
        }
    }
}

impl From<discovery::EndpointSlice> for EndpointSlice {
    fn from(object: discovery::EndpointSlice) -> Self {
        Self::new(object, &mut Interner::default())
    }
}

impl Endpoint {
    fn new(endpoint: discovery::Endpoint, kind: &str, texts: &mut Interner) -> Self {
        let conditions = endpoint.conditions.unwrap_or_default();
        let ready = conditions.ready.unwrap_or(true);
        let target = endpoint.target_ref.filter(|target| target.kind.as_deref() == Some("Pod"));
        let (names, addresses) = match kind {
            "FQDN" => (endpoint.addresses, Vec::new()),
            _ => (Vec::new(), endpoint.addresses),
        };
        let parsed = addresses.iter().filter_map(|text| text.parse().ok());
        let is_v6 = kind == "IPv6";
        Self {
            addresses: parsed.filter(|address: &IpAddr| address.is_ipv6() == is_v6).collect(),
            names: names.into_iter().map(String::into_boxed_str).collect(),
            pod: target.and_then(|target| target.name).map(Arc::from),
            hostname: endpoint.hostname.map(Arc::from),
            node: endpoint.node_name.map(|name| texts.share(&name)),
            zone: endpoint.zone.map(|name| texts.share(&name)),
            hints: endpoint.hints.and_then(|hints| Hints::new(&hints, texts)).map(Box::new),
            ready,
            serving: conditions.serving.unwrap_or(ready),
            terminating: conditions.terminating.unwrap_or(false),
        }
    }
}

impl Hints {
    /// `None` when there is none.
    fn new(hints: &discovery::EndpointHints, texts: &mut Interner) -> Option<Self> {
        let nodes = hints.for_nodes.iter().flatten().map(|hint| texts.share(&hint.name)).collect();
        let zones = hints.for_zones.iter().flatten().map(|hint| texts.share(&hint.name)).collect();
        let made = Self { nodes, zones };
        (made != Self::default()).then_some(made)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn endpoints(kind: &str, endpoints: serde_json::Value) -> Box<[Endpoint]> {
        let object = json!({"addressType": kind, "endpoints": endpoints, "metadata": {}});
        serde_json::from_value::<EndpointSlice>(object).unwrap().endpoints
    }

    #[test]
    fn addresses_are_of_the_family_of_the_slice() {
        let mixed = json!([{"addresses": ["10.0.0.1", "fd00::1", "pod.example.com"]}]);
        let of = |kind: &str| {
            let found = endpoints(kind, mixed.clone());
            let addresses = found[0].addresses.iter().map(ToString::to_string);
            addresses.chain(found[0].names.iter().map(ToString::to_string)).collect::<Vec<_>>()
        };
        assert_eq!(of("IPv4"), ["10.0.0.1"]);
        assert_eq!(of("IPv6"), ["fd00::1"]);
        assert_eq!(of("FQDN"), ["10.0.0.1", "fd00::1", "pod.example.com"]);
    }

    #[test]
    fn missing_conditions_have_their_defaults() {
        let found = endpoints(
            "IPv4",
            json!([
                {"addresses": []},
                {"addresses": [], "conditions": {"ready": false}},
                {"addresses": [], "conditions": {"ready": false, "serving": true, "terminating": true},
                 "targetRef": {"kind": "Pod", "name": "p"}, "hints": {"forZones": [{"name": "a"}]}},
                {"addresses": [], "targetRef": {"kind": "Node", "name": "n"}, "hints": {}},
            ]),
        );
        let conditions = |each: &Endpoint| (each.ready, each.serving, each.terminating);
        assert_eq!(
            found.iter().map(conditions).collect::<Vec<_>>(),
            [(true, true, false), (false, false, false), (false, true, true), (true, true, false)]
        );
        assert_eq!(found[2].pod.as_deref(), Some("p"));
        assert_eq!(found[3].pod, None);
        let zones = vec![Arc::from("a")];
        assert_eq!(found[2].hints.as_deref(), Some(&Hints { zones, nodes: Vec::new() }));
        assert_eq!(found[3].hints, None);
    }
}
