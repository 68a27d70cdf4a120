//! What the API and `wharf get` show: plain JSON structs, built from a snapshot.
//!
//! No field may hold key material (S-92). Routes, which do, are in `admin::routes`.

use std::{collections::HashMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    model::{finding::Finding, status::Admission},
    snapshot::Snapshot,
    telemetry::time,
    zone::Port,
};

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
    /// Distinguished name of its subject.
    #[serde(default)]
    pub subject: String,
    /// `ECDSA` or `RSA`.
    #[serde(default)]
    pub key: String,
    /// HTTP/2 is offered with it.
    #[serde(default)]
    pub http2: bool,
    /// The certificates that are sent behind it.
    #[serde(default)]
    pub chain: Vec<LinkView>,
}

/// A certificate behind the first of a chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkView {
    /// Distinguished name of its subject.
    pub subject: String,
    /// End of its validity.
    pub not_after: String,
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
    let checked: HashMap<SocketAddr, bool> = {
        let checked = snapshot.checked.iter().map(|check| &check.peer);
        checked.map(|peer| (peer.key.address, peer.is_up())).collect()
    };
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
        subject: cert.subject,
        key: cert.key,
        http2: cert.http2,
        chain: cert
            .chain
            .into_iter()
            .map(|link| LinkView {
                subject: link.subject,
                not_after: time::seconds(link.not_after),
            })
            .collect(),
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
