//! The Route object (route.openshift.io/v1), as the API server stores it (spec/route.md 1.1).
//!
//! Read by sources, compile and the command line. API defaulting [DEF-1..4] and host generation
//! [APISRV-1] are done when a Route enters wharf (`source::defaults`), so readers see full objects.

use k8s_openapi::apimachinery::pkg::{apis::meta::v1::ObjectMeta, util::intstr::IntOrString};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::ingress::RouteStatus;

/// A Route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Standard object metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: RouteSpec,
    /// What routers have written so far; the entry that this one adds is in the snapshot.
    #[serde(
        default,
        deserialize_with = "RouteStatus::lenient",
        skip_serializing_if = "RouteStatus::is_empty"
    )]
    #[schemars(skip)]
    pub status: RouteStatus,
}

/// Desired state of a Route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec {
    /// Host name that the route serves; generated when it and `subdomain` are empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// Subdomain of the router's domain; ignored when `host` is set.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subdomain: String,
    /// Path prefix, compared by whole segments; empty for all paths.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The service that gets the traffic.
    pub to: RouteTarget,
    /// Up to three more services that share the traffic by weight.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternate_backends: Vec<RouteTarget>,
    /// Which endpoint port is used; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<RoutePort>,
    /// TLS settings; plain HTTP when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<RouteTls>,
    /// `None` or `Subdomain`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub wildcard_policy: String,
    /// Header actions (spec/route.md 1.2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_headers: Option<HttpHeaders>,
}

/// What is changed in the headers of requests and responses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpHeaders {
    /// The changes.
    #[serde(default)]
    pub actions: HeaderActions,
}

/// Header actions, each list in the order in which it runs [HDR-7].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderActions {
    /// Of requests on their way to the pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request: Vec<HeaderChange>,
    /// Of responses on their way to the client.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub response: Vec<HeaderChange>,
}

impl HeaderActions {
    /// True when nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// A header and what becomes of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderChange {
    /// Name of the header [HDR-1].
    pub name: String,
    /// What is done.
    pub action: HeaderAction,
}

/// What is done with a header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderAction {
    /// `Set` or `Delete`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The new value; there for `Set` and for nothing else [HDR-3].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<HeaderValue>,
}

/// The value of a header.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HeaderValue {
    /// Text of the grammar in `grammar::action` [HDR-4].
    pub value: String,
}

/// A service and its share of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteTarget {
    /// Always `Service`.
    #[serde(default)]
    pub kind: String,
    /// Name of a Service in the route's namespace.
    pub name: String,
    /// Share of the traffic, 0 to 256; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<i32>,
}

/// Port of a Route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutePort {
    /// Number or name of the endpoint port.
    pub target_port: IntOrString,
}

/// TLS settings of a Route.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteTls {
    /// `edge`, `reencrypt` or `passthrough`.
    #[serde(default)]
    pub termination: String,
    /// PEM certificate, may hold the chain and the key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub certificate: String,
    /// PEM private key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key: String,
    /// PEM certificates appended to the served chain.
    #[serde(default, skip_serializing_if = "String::is_empty", rename = "caCertificate")]
    pub ca_certificate: String,
    /// PEM trust anchor for the pod's certificate (reencrypt).
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        rename = "destinationCACertificate"
    )]
    pub destination_ca_certificate: String,
    /// `None`, `Allow`, `Redirect` or empty: what the plain HTTP port does.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        rename = "insecureEdgeTerminationPolicy"
    )]
    pub insecure_edge_termination_policy: String,
    /// Name of a kubernetes.io/tls Secret in the route's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_certificate: Option<SecretName>,
}

impl std::fmt::Debug for RouteTls {
    /// Leaves out the key material.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouteTls")
            .field("termination", &self.termination)
            .field("insecure", &self.insecure_edge_termination_policy)
            .finish_non_exhaustive()
    }
}

/// Name of a Secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SecretName {
    /// The name.
    pub name: String,
}

/// How TLS ends, after validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Termination {
    /// No TLS: served on the plain port.
    None,
    /// TLS ends at the router, plain HTTP to the pod.
    Edge,
    /// TLS ends at the router, TLS again to the pod.
    Reencrypt,
    /// The TLS stream goes to the pod.
    Passthrough,
}

impl Termination {
    /// HAProxy's backend prefix [LSN-1].
    #[must_use]
    pub const fn backend_prefix(self) -> &'static str {
        match self {
            Self::None => "be_http",
            Self::Edge => "be_edge_http",
            Self::Reencrypt => "be_secure",
            Self::Passthrough => "be_tcp",
        }
    }

    /// Label `backend` of the metrics (spec/route.md 18.3).
    #[must_use]
    pub const fn metric_label(self) -> &'static str {
        match self {
            Self::None => "http",
            Self::Edge => "https-edge",
            Self::Reencrypt => "https",
            Self::Passthrough => "tcp",
        }
    }
}

/// What the plain HTTP port does with a TLS route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum InsecurePolicy {
    /// Serves it in clear.
    Allow,
    /// Does not know it.
    None,
    /// Sends the client to https.
    Redirect,
}
