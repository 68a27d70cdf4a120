//! Routes as OpenShift's API gives them, with our status, and what is known of one beyond that.
//!
//! Used by the admin API and, offline, by `wharf get` and `wharf describe`. Every object that leaves
//! here has been through [`redact`].

use std::{collections::HashMap, net::IpAddr, time::Duration};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    model::{CertView, certs},
    redact,
};
use crate::{
    model::{
        finding::Finding,
        objects::ObjectKey,
        route::{InsecurePolicy, Route, RouteTarget, Termination},
    },
    settings::upstream::UpstreamMode,
    snapshot::{CompiledRoute, RouteState, Server, Snapshot},
    tls::store::Offer,
    zone::{Port, ServiceEntry},
};

/// API group and version of Route.
pub const API_VERSION: &str = "route.openshift.io/v1";
/// Member of a listed Route with what the API server would not know.
pub const BEYOND: &str = "wharf";

/// What is known of one Route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteDetail {
    /// The object, with status and without keys.
    pub route: Value,
    /// `to` and the alternates.
    pub services: Vec<ServiceShare>,
    /// What the API server would not know.
    pub wharf: Beyond,
}

/// A Service of a Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceShare {
    /// Name.
    pub name: String,
    /// `weight`.
    pub weight: i32,
    /// Addresses that are ready, with the ports that the Route means; absent when there is no such
    /// Service.
    pub endpoints: Option<Vec<String>>,
}

/// What wharf knows of a Route and the API server does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    /// Where it was read.
    pub place: String,
    /// What it does on both ports and with which settings; absent when it is not served.
    pub served: Option<Served>,
    /// What is wrong with it or doubtful.
    pub findings: Vec<String>,
}

/// How a Route is served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// Name of the backend in metrics and logs.
    pub backend: String,
    /// What the plain HTTP port does.
    pub http: String,
    /// What the HTTPS port does.
    pub https: String,
    /// Certificate of handshakes for its host; absent where none ends here.
    pub certificate: Option<CertView>,
    /// Settings in force.
    pub policy: PolicyView,
    /// What is dialled for its Services: `cluster-ip` where that is so for any of them.
    #[serde(default = "of_endpoints")]
    pub upstream: String,
    /// Endpoints that requests go to.
    pub endpoints: Vec<EndpointLine>,
}

/// Settings in force for a Route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyView {
    /// Server timeout.
    pub timeout: String,
    /// Tunnel timeout.
    pub tunnel_timeout: String,
    /// Policy for the forwarding headers.
    pub forwarded: String,
    /// Balancing algorithm.
    pub balance: String,
    /// Networks of clients; absent for everybody.
    pub allow: Option<Vec<String>>,
    /// What takes the place of the path in requests to pods; absent when nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rewrite: Option<String>,
}

/// An endpoint that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointLine {
    /// Service.
    pub service: String,
    /// Address and port.
    pub address: String,
    /// Pod.
    pub pod: String,
    /// Weight, 0 to 256.
    pub weight: u16,
    /// Outcome of health checks.
    pub up: bool,
    /// The address is the Service's, and kube-proxy or its like chooses the pod.
    #[serde(default)]
    pub cluster_ip: bool,
}

fn of_endpoints() -> String {
    UpstreamMode::Endpoints.to_string()
}

/// All Routes: a RouteList, sorted by namespace and name. Each has a member [`BEYOND`].
#[must_use]
pub fn list(snapshot: &Snapshot) -> Value {
    let findings = by_object(&snapshot.findings);
    let item = |state: &RouteState| {
        let mut object = object(state);
        if let Value::Object(members) = &mut object {
            let beyond = json!({
                "place": state.source.place.to_string(),
                "backend": state.compiled.as_ref().map(|compiled| &*compiled.backend.name),
                "findings": texts(&findings, &state.source.key),
            });
            members.insert(BEYOND.to_owned(), beyond);
        }
        object
    };
    json!({
        "apiVersion": API_VERSION,
        "kind": "RouteList",
        "metadata": {"resourceVersion": snapshot.generation.to_string()},
        "items": snapshot.routes.iter().map(item).collect::<Vec<_>>(),
    })
}

/// The Routes called `name`, all of them when absent, of one or of all namespaces.
#[must_use]
pub fn details(
    snapshot: &Snapshot,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Vec<RouteDetail> {
    let findings = by_object(&snapshot.findings);
    let wanted = |state: &&RouteState| is_wanted(&state.source.key, namespace, name);
    let detail = |state: &RouteState| RouteDetail {
        route: object(state),
        services: services(snapshot, &state.source.object, &state.source.key),
        wharf: Beyond {
            place: state.source.place.to_string(),
            served: state.compiled.as_ref().map(|compiled| served(snapshot, compiled)),
            findings: texts(&findings, &state.source.key),
        },
    };
    snapshot.routes.iter().filter(wanted).map(detail).collect()
}

/// True when an object of this key was asked for; nobody asks for a name or namespace by leaving it
/// out.
pub(super) fn is_wanted(key: &ObjectKey, namespace: Option<&str>, name: Option<&str>) -> bool {
    namespace.is_none_or(|wanted| *wanted == *key.namespace)
        && name.is_none_or(|wanted| *wanted == *key.name)
}

/// A Route as the API server would give it.
fn object(state: &RouteState) -> Value {
    let mut object = serde_json::to_value(&state.source.object).unwrap_or_default();
    if let Value::Object(members) = &mut object {
        members.insert("apiVersion".to_owned(), API_VERSION.into());
        members.insert("kind".to_owned(), "Route".into());
        let status = serde_json::to_value(&*state.status).unwrap_or_default();
        members.insert("status".to_owned(), status);
        if let Some(Value::Object(metadata)) = members.get_mut("metadata") {
            metadata.remove("managedFields");
        }
    }
    redact::route(&mut object);
    object
}

fn by_object(findings: &[Finding]) -> HashMap<&str, Vec<&Finding>> {
    let mut all: HashMap<&str, Vec<&Finding>> = HashMap::new();
    for finding in findings {
        all.entry(&finding.object).or_default().push(finding);
    }
    all
}

fn texts(findings: &HashMap<&str, Vec<&Finding>>, key: &ObjectKey) -> Vec<String> {
    let own = findings.get(&*format!("Route {key}"));
    own.into_iter().flatten().map(ToString::to_string).collect()
}

fn services(snapshot: &Snapshot, route: &Route, key: &ObjectKey) -> Vec<ServiceShare> {
    let wanted = route.spec.port.as_ref().map(|port| port_text(&port.target_port));
    let share = |to: &RouteTarget| {
        let fqdn = snapshot.zone.fqdn(&ObjectKey::new(&key.namespace, &to.name));
        let entry = snapshot.zone.service(&fqdn);
        ServiceShare {
            name: to.name.clone(),
            weight: to.weight.unwrap_or(100),
            endpoints: entry.map(|entry| addresses(entry, wanted.as_deref())),
        }
    };
    std::iter::once(&route.spec.to).chain(&route.spec.alternate_backends).map(share).collect()
}

/// A port number or name as text.
#[must_use]
pub fn port_text(port: &IntOrString) -> String {
    match port {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(name) => name.clone(),
    }
}

/// What is ready on the port that is `wanted`, or on all of them: port by port, then by address, as
/// in the subsets of an Endpoints object.
fn addresses(entry: &ServiceEntry, wanted: Option<&str>) -> Vec<String> {
    let fits = |port: &Port| {
        let number = port.number.to_string();
        port.number > 0 && wanted.is_none_or(|wanted| *port.name == *wanted || number == wanted)
    };
    let ready = entry.endpoints.iter().filter(|endpoint| endpoint.ready);
    let mut found: Vec<(&Port, IpAddr)> = ready
        .flat_map(|endpoint| endpoint.ports.iter().map(|port| (port, endpoint.address)))
        .filter(|(port, _)| fits(port))
        .collect();
    found.sort_by_key(|(port, address)| (&*port.name, port.number, *address));
    found.into_iter().map(|(port, address)| format!("{address}:{}", port.number)).collect()
}

fn served(snapshot: &Snapshot, route: &CompiledRoute) -> Served {
    let ends_here = matches!(route.termination, Termination::Edge | Termination::Reencrypt);
    let (http, https) = reach(route.termination, route.insecure);
    Served {
        backend: route.backend.name.to_string(),
        http: http.to_owned(),
        https: https.to_owned(),
        certificate: if ends_here { certificate(snapshot, &route.host) } else { None },
        policy: policy(route),
        upstream: upstream(route).to_string(),
        endpoints: endpoints(route),
    }
}

/// The row of spec/route.md 10.4: what the plain and the TLS port do with a route.
#[must_use]
pub const fn reach(
    termination: Termination,
    insecure: InsecurePolicy,
) -> (&'static str, &'static str) {
    let plain = match (termination, insecure) {
        (Termination::None, _)
        | (Termination::Edge | Termination::Reencrypt, InsecurePolicy::Allow) => "served",
        (_, InsecurePolicy::Redirect) => "redirected to https",
        _ => "not known here, answer: 503",
    };
    let secure = match termination {
        Termination::None => "not known here, answer: 503",
        Termination::Edge => "served",
        Termination::Reencrypt => "served, with TLS to the pod",
        Termination::Passthrough => "the TLS stream goes to the pod",
    };
    (plain, secure)
}

/// The certificate that handshakes for `host` get [CERT-2].
#[must_use]
pub fn certificate(snapshot: &Snapshot, host: &str) -> Option<CertView> {
    let source = &snapshot.certs.select(&Offer::named(Some(host)))?.source;
    let mut own = certs(snapshot).into_iter().filter(|cert| *cert.source == **source);
    // A route has one certificate, whatever hosts select it.
    own.next()
}

/// Settings in force.
#[must_use]
pub fn policy(route: &CompiledRoute) -> PolicyView {
    let policy = &route.policy;
    PolicyView {
        timeout: duration_text(policy.server_timeout),
        tunnel_timeout: duration_text(policy.tunnel_timeout),
        forwarded: format!("{:?}", policy.forwarded).to_lowercase(),
        balance: route.backend.balancer.algorithm().as_str().to_owned(),
        allow: policy
            .allow
            .as_ref()
            .map(|list| list.networks().iter().map(ToString::to_string).collect()),
        rewrite: policy.rewrite.as_ref().map(|rewrite| rewrite.target().to_owned()),
    }
}

fn duration_text(duration: Duration) -> String {
    format!("{duration:?}")
}

/// What is dialled for the Services of a route.
fn upstream(route: &CompiledRoute) -> UpstreamMode {
    match route.backend.servers.iter().any(|server| server.cluster_ip) {
        true => UpstreamMode::ClusterIp,
        false => UpstreamMode::Endpoints,
    }
}

/// Where requests go.
#[must_use]
pub fn endpoints(route: &CompiledRoute) -> Vec<EndpointLine> {
    let line = |server: &Server| EndpointLine {
        service: server.service.to_string(),
        address: server.label.to_string(),
        pod: server.pod.to_string(),
        weight: server.weight,
        up: server.peer.is_up() && !server.peer.is_ejected(),
        cluster_ip: server.cluster_ip,
    };
    route.backend.servers.iter().map(line).collect()
}

#[cfg(test)]
mod tests;
