//! Manifests as JSON values, which are YAML as well.

use std::{fmt::Write as _, net::SocketAddr};

use serde_json::{Value, json};
use wharf::tls::mint::Pair;

/// A small change to a value.
pub trait With: Sized {
    /// The value with `value` at `pointer` (`/spec/path`); objects on the way are made.
    fn with(self, pointer: &str, value: impl Into<Value>) -> Self;

    /// The value with this annotation.
    fn annotated(self, name: &str, value: &str) -> Self;
}

impl With for Value {
    fn with(mut self, pointer: &str, value: impl Into<Self>) -> Self {
        let mut place = &mut self;
        for key in pointer.trim_start_matches('/').split('/') {
            let key = key.replace("~1", "/");
            if place.is_null() {
                *place = json!({});
            }
            place = match key.parse::<usize>() {
                Ok(index) if place.is_array() => &mut place[index],
                _ => &mut place[&key],
            };
        }
        *place = value.into();
        self
    }

    fn annotated(self, name: &str, value: &str) -> Self {
        self.with(&format!("/metadata/annotations/{}", name.replace('/', "~1")), value)
    }
}

/// A Route without TLS in namespace `app` to the Service of the same name.
pub fn route(name: &str, host: &str) -> Value {
    json!({
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": name, "namespace": "app"},
        "spec": {"host": host, "to": {"kind": "Service", "name": name}},
    })
}

/// An edge Route, with the default certificate when there is no `pair`.
pub fn edge(name: &str, host: &str, pair: Option<&Pair>) -> Value {
    let route = route(name, host).with("/spec/tls/termination", "edge");
    match pair {
        None => route,
        Some(pair) => route
            .with("/spec/tls/certificate", pair.cert_pem.as_str())
            .with("/spec/tls/key", pair.key_pem.as_str()),
    }
}

/// A reencrypt Route with the default certificate, whose pods must lead to `ca` if there is one.
pub fn reencrypt(name: &str, host: &str, ca: Option<&str>) -> Value {
    let route = route(name, host).with("/spec/tls/termination", "reencrypt");
    match ca {
        None => route,
        Some(ca) => route.with("/spec/tls/destinationCACertificate", ca),
    }
}

/// A Service in namespace `app` with a slice for each endpoint.
pub fn service(name: &str, endpoints: &[SocketAddr]) -> Vec<Value> {
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "app"},
        "spec": {"ports": [{"name": "http", "port": 80}]},
    });
    let slices =
        endpoints.iter().enumerate().map(|(index, endpoint)| slice(name, index, *endpoint));
    std::iter::once(service).chain(slices).collect()
}

/// An EndpointSlice with one ready endpoint.
pub fn slice(service: &str, index: usize, endpoint: SocketAddr) -> Value {
    let family = if endpoint.is_ipv4() { "IPv4" } else { "IPv6" };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{index}"),
            "namespace": "app",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "ports": [{"name": "http", "port": endpoint.port(), "protocol": "TCP"}],
        "endpoints": [{
            "addresses": [endpoint.ip().to_string()],
            "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "name": format!("{service}-pod-{index}"), "namespace": "app"},
        }],
    })
}

/// A Route and its Service.
pub fn app(route: Value, endpoints: &[SocketAddr]) -> Vec<Value> {
    let name = route["spec"]["to"]["name"].as_str().expect("a route names its service").to_owned();
    let mut all = service(&name, endpoints);
    all.push(route);
    all
}

/// The same objects, with `appProtocol` on every port of the slices [ALPN-4].
pub fn h2c(objects: Vec<Value>) -> Vec<Value> {
    let slice = |object: &Value| object["kind"] == "EndpointSlice";
    let port = |object: Value| object.with("/ports/0/appProtocol", "kubernetes.io/h2c");
    let objects = objects.into_iter();
    objects.map(|object| if slice(&object) { port(object) } else { object }).collect()
}

/// A TLS Secret in namespace `app`.
pub fn secret(name: &str, pair: &Pair) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": "app"},
        "stringData": {"tls.crt": pair.cert_pem, "tls.key": pair.key_pem},
    })
}

/// The text of a file with these objects.
pub fn text(objects: &[Value]) -> String {
    objects.iter().fold(String::new(), |mut text, object| {
        write!(text, "---\n{object:#}\n").expect("writing to a string");
        text
    })
}
