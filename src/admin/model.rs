//! What the API and `wharf get` show: plain JSON structs, built from a snapshot.
//!
//! No field may hold key material (S-92): a route is shown by what this file copies, never whole.

use std::{collections::HashMap, net::SocketAddr};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};

use crate::{
    model::{finding::Finding, status::Admission},
    snapshot::{RouteState, Snapshot},
    telemetry::time,
    zone::Port,
};

/// A Route and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Host as written.
    pub host: String,
    /// Path as written.
    pub path: String,
    /// Services with their weights, `to` first.
    pub services: Vec<Share>,
    /// `spec.port.targetPort`.
    pub port: Option<String>,
    /// `edge`, `reencrypt`, `passthrough`, or empty.
    pub termination: String,
    /// `insecureEdgeTerminationPolicy`.
    pub insecure: String,
    /// `None` or `Subdomain`.
    pub wildcard_policy: String,
    /// Where it was read.
    pub place: String,
    /// The status that OpenShift would show [STAT-1].
    pub status: RouteStatus,
}

/// A service and its weight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Name of the Service.
    pub name: String,
    /// `weight`, 100 when absent.
    pub weight: i32,
}

/// `status` of a Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteStatus {
    /// One entry, this router's.
    pub ingress: Vec<Ingress>,
}

/// `status.ingress[]` of a Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// Host.
    pub host: String,
    /// Name of the router.
    pub router_name: String,
    /// The `Admitted` condition.
    pub conditions: Vec<Condition>,
    /// `None` or `Subdomain`.
    pub wildcard_policy: String,
}

/// `status.ingress[].conditions[]` of a Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `Admitted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// Empty when admitted [STAT-3].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Empty when admitted [STAT-3].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// When the snapshot was compiled; changes are not followed further back.
    pub last_transition_time: String,
}

/// A Service of the DNS map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Name in the DNS.
    pub fqdn: String,
    /// Virtual addresses; empty when headless.
    pub cluster_ips: Vec<String>,
    /// CNAME target.
    pub external_name: Option<String>,
    /// `name:80/TCP`.
    pub ports: Vec<String>,
    /// Number of endpoints.
    pub endpoints: usize,
}

/// One address behind a Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Namespace.
    pub namespace: String,
    /// Name of the Service.
    pub service: String,
    /// Address.
    pub address: String,
    /// `name:80/TCP`.
    pub ports: Vec<String>,
    /// Name of the pod.
    pub pod: Option<String>,
    /// Topology zone.
    pub zone: Option<String>,
    /// Takes new traffic.
    pub ready: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// Outcome of health checks; absent where nothing is checked.
    pub up: Option<bool>,
}

/// A certificate that is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertView {
    /// Host that it serves.
    pub host: String,
    /// Where it comes from.
    pub source: String,
    /// End of its validity.
    pub not_after: String,
    /// The same in seconds since 1970.
    pub not_after_unix: i64,
    /// Names that it covers.
    pub names: Vec<String>,
}

/// About a snapshot.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary<'a> {
    /// Number of the snapshot.
    pub generation: u64,
    /// When it was compiled.
    pub built_at: String,
    /// Route objects.
    pub routes: usize,
    /// Route objects that are served.
    pub admitted: usize,
    /// Services in the DNS map.
    pub services: usize,
    /// Peers with active checks.
    pub checked: usize,
    /// What is wrong with the input.
    pub findings: &'a [Finding],
}

/// The reason word of a rejection, as in [STAT-4].
#[must_use]
pub fn rejection(admission: &Admission) -> Option<(String, &str)> {
    match admission {
        Admission::Admitted | Admission::AdmittedUpdated { .. } => None,
        Admission::Rejected { reason, message } => Some((reason.word().to_owned(), message)),
    }
}

/// All routes.
#[must_use]
pub fn routes(snapshot: &Snapshot, router_name: &str) -> Vec<RouteView> {
    let at = time::seconds(
        snapshot
            .built_at
            .duration_since(std::time::SystemTime::UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_secs()).ok())
            .unwrap_or(0),
    );
    snapshot.routes.iter().map(|route| route_view(route, router_name, &at)).collect()
}

fn route_view(route: &RouteState, router_name: &str, at: &str) -> RouteView {
    let spec = &route.source.object.spec;
    let wildcard_policy = match spec.wildcard_policy.as_str() {
        "" => "None".to_owned(),
        policy => policy.to_owned(),
    };
    let (reason, message) = rejection(&route.admission)
        .map_or_else(Default::default, |(reason, message)| (reason, message.to_owned()));
    let admitted = if route.admission.is_admitted() { "True" } else { "False" };
    let condition = Condition {
        kind: "Admitted".to_owned(),
        status: admitted.to_owned(),
        reason,
        message,
        last_transition_time: at.to_owned(),
    };
    RouteView {
        namespace: route.source.key.namespace.to_string(),
        name: route.source.key.name.to_string(),
        host: spec.host.clone(),
        path: spec.path.clone(),
        services: std::iter::once(&spec.to)
            .chain(&spec.alternate_backends)
            .map(|to| Share { name: to.name.clone(), weight: to.weight.unwrap_or(100) })
            .collect(),
        port: spec.port.as_ref().map(|port| match &port.target_port {
            IntOrString::Int(number) => number.to_string(),
            IntOrString::String(name) => name.clone(),
        }),
        termination: spec.tls.as_ref().map(|tls| tls.termination.clone()).unwrap_or_default(),
        insecure: spec
            .tls
            .as_ref()
            .map(|tls| tls.insecure_edge_termination_policy.clone())
            .unwrap_or_default(),
        place: route.source.place.to_string(),
        status: RouteStatus {
            ingress: vec![Ingress {
                host: spec.host.clone(),
                router_name: router_name.to_owned(),
                conditions: vec![condition],
                wildcard_policy: wildcard_policy.clone(),
            }],
        },
        wildcard_policy,
    }
}

/// All Services of the DNS map, sorted by namespace and name.
#[must_use]
pub fn services(snapshot: &Snapshot) -> Vec<ServiceView> {
    let mut all: Vec<_> = snapshot
        .zone
        .services
        .values()
        .map(|entry| ServiceView {
            namespace: entry.key.namespace.to_string(),
            name: entry.key.name.to_string(),
            fqdn: entry.fqdn.to_string(),
            cluster_ips: entry.vips.iter().map(ToString::to_string).collect(),
            external_name: entry.external_name.as_deref().map(str::to_owned),
            ports: entry.ports.iter().map(port_text).collect(),
            endpoints: entry.endpoints.len(),
        })
        .collect();
    all.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    all
}

/// All endpoints of the DNS map, sorted by namespace, Service and address.
#[must_use]
pub fn endpoints(snapshot: &Snapshot) -> Vec<EndpointView> {
    let checked: HashMap<SocketAddr, bool> =
        snapshot.checked.iter().map(|peer| (peer.key.address, peer.is_up())).collect();
    let mut all = Vec::new();
    for entry in snapshot.zone.services.values() {
        for endpoint in &entry.endpoints {
            let mut outcomes = endpoint.ports.iter().filter_map(|port| {
                checked.get(&SocketAddr::new(endpoint.address, port.number)).copied()
            });
            // One port that is down is what a reader wants to see.
            let up = outcomes.next().map(|first| first && outcomes.all(|up| up));
            all.push(EndpointView {
                namespace: entry.key.namespace.to_string(),
                service: entry.key.name.to_string(),
                address: endpoint.address.to_string(),
                ports: endpoint.ports.iter().map(port_text).collect(),
                pod: endpoint.pod.as_deref().map(str::to_owned),
                zone: endpoint.zone.as_deref().map(str::to_owned),
                ready: endpoint.ready,
                terminating: endpoint.terminating,
                up,
            });
        }
    }
    all.sort_by(|a, b| {
        (&a.namespace, &a.service, &a.address).cmp(&(&b.namespace, &b.service, &b.address))
    });
    all
}

fn port_text(port: &Port) -> String {
    let protocol = format!("{:?}", port.protocol).to_uppercase();
    match &*port.name {
        "" => format!("{}/{protocol}", port.number),
        name => format!("{name}:{}/{protocol}", port.number),
    }
}

/// All certificates.
#[must_use]
pub fn certs(snapshot: &Snapshot) -> Vec<CertView> {
    let view = |cert: crate::tls::store::CertInfo| CertView {
        host: cert.host,
        source: cert.source,
        not_after: time::seconds(cert.not_after),
        not_after_unix: cert.not_after,
        names: cert.names,
    };
    snapshot.certs.describe().into_iter().map(view).collect()
}

/// About `snapshot`.
#[must_use]
pub fn summary(snapshot: &Snapshot) -> Summary<'_> {
    Summary {
        generation: snapshot.generation,
        built_at: time::millis(snapshot.built_at),
        routes: snapshot.routes.len(),
        admitted: snapshot.routes.iter().filter(|route| route.admission.is_admitted()).count(),
        services: snapshot.zone.services.len(),
        checked: snapshot.checked.len(),
        findings: &snapshot.findings,
    }
}
