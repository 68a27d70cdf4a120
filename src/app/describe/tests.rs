//! Golden outputs: each termination, refused and weighted routes, Services and endpoints.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::admin::{
    model::CertView,
    routes::{Beyond, EndpointLine, PolicyView, Served, ServiceShare},
};

/// Five minutes after the entries were written.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_785_846_600 + 300)
}

fn ingress(host: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "host": host,
        "routerName": "default",
        "routerCanonicalHostname": "router-default.apps.example.com",
        "conditions": [{
            "type": "Admitted", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-08-04T12:30:00Z",
        }],
    })
}

fn detail(spec: Value, ingress: Value, services: Vec<ServiceShare>) -> RouteDetail {
    RouteDetail {
        route: json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": spec,
            "status": {"ingress": ingress},
        }),
        services,
        wharf: Beyond { place: "routes/shop.yaml:1:1".to_owned(), served: None, findings: vec![] },
    }
}

fn share(name: &str, weight: i32, endpoints: Option<&[&str]>) -> ServiceShare {
    let endpoints = endpoints.map(|all| all.iter().map(|text| (*text).to_owned()).collect());
    ServiceShare { name: name.to_owned(), weight, endpoints }
}

/// What `oc` prints, without the section that is ours.
fn as_oc(detail: &RouteDetail) -> String {
    let text = route::describe(detail, now());
    let (oc, _) = text.split_once("\nwharf:\n").unwrap();
    oc.to_owned()
}

/// Written by OpenShift's own describer for such a route; the columns are tabs.
#[test]
fn an_edge_route_is_described_as_oc_does_it() {
    let mut edge = detail(
        json!({
            "host": "shop.example.com", "path": "/cart", "to": {"name": "web"},
            "port": {"targetPort": "http"},
            "tls": {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"},
        }),
        json!([ingress("shop.example.com", "True", "", "")]),
        vec![share("web", 100, Some(&["10.1.0.4:8080", "10.1.0.5:8080"]))],
    );
    edge.route["metadata"]["creationTimestamp"] = json!("2026-08-04T10:35:00Z");
    edge.route["metadata"]["labels"] = json!({"app": "shop", "tier": "a"});
    edge.route["metadata"]["annotations"] = json!({
        "description": "the shop",
        "haproxy.router.openshift.io/timeout": "5s",
    });
    assert_eq!(
        as_oc(&edge),
        "\
Name:\t\t\tweb
Namespace:\t\tshop
Created:\t\t2 hours ago
Labels:\t\t\tapp=shop
\t\t\ttier=a
Description:\t\tthe shop
Annotations:\t\thaproxy.router.openshift.io/timeout=5s
Requested Host:\t\tshop.example.com
\t\t\t   exposed on router default (host router-default.apps.example.com) 5 minutes ago
Path:\t\t\t/cart
TLS Termination:\tedge
Insecure Policy:\tRedirect
Endpoint Port:\t\thttp

Service:\tweb
Weight:\t\t100 (100%)
Endpoints:\t10.1.0.4:8080, 10.1.0.5:8080
"
    );
}

#[test]
fn refused_and_weighted_routes_are_described_as_oc_does_it() {
    let many = ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1", "10.0.0.4:1", "10.0.0.5:1"];
    let refused = detail(
        json!({"host": "a.b", "to": {"name": "a"}, "tls": {"termination": "reencrypt"}}),
        json!([
            ingress("x.y", "True", "", ""),
            ingress("a.b", "False", "HostAlreadyClaimed", "route b already exposes a.b"),
        ]),
        vec![share("a", 90, Some(&many)), share("b", 10, Some(&[])), share("c", 0, None)],
    );
    assert_eq!(
        as_oc(&refused),
        "\
Name:\t\t\tweb
Namespace:\t\tshop
Labels:\t\t\t<none>
Annotations:\t\t<none>
Requested Host:\t\ta.b
\t\t\trejected by router default:  (host router-default.apps.example.com)HostAlreadyClaimed (5 minutes ago)
\t\t\t  route b already exposes a.b
\t\t\t  x.y exposed on router default (host router-default.apps.example.com) 5 minutes ago
Path:\t\t\t<none>
TLS Termination:\treencrypt
Insecure Policy:\t<none>
Endpoint Port:\t\t<all endpoint ports>

Service:\ta
Weight:\t\t90 (90%)
Endpoints:\t10.0.0.1:1, 10.0.0.2:1, 10.0.0.3:1 + 2 more...

Service:\tb
Weight:\t\t10 (10%)
Endpoints:\t<none>

Service:\tc
Weight:\t\t0
Endpoints:\t<error: endpoints \"c\" not found>
"
    );
}

#[test]
fn terminations_are_named() {
    for (tls, termination, insecure) in [
        (Value::Null, "<none>", "<none>"),
        (json!({"termination": "edge"}), "edge", "<none>"),
        (
            json!({"termination": "reencrypt", "insecureEdgeTerminationPolicy": "Allow"}),
            "reencrypt",
            "Allow",
        ),
        (
            json!({"termination": "passthrough", "insecureEdgeTerminationPolicy": "Redirect"}),
            "passthrough",
            "Redirect",
        ),
    ] {
        let spec = json!({"to": {"name": "a"}, "tls": tls});
        let text = as_oc(&detail(spec, json!([]), vec![share("a", 100, Some(&[]))]));
        let wanted = format!("\nTLS Termination:\t{termination}\nInsecure Policy:\t{insecure}\n");
        assert!(text.contains(&wanted), "{text}");
        assert!(text.contains("\nRequested Host:\t\t<auto>\n"), "{text}");
    }
}

#[test]
fn what_wharf_knows_follows_in_a_section_of_its_own() {
    let mut known = detail(json!({"to": {"name": "a"}}), json!([]), vec![]);
    known.wharf.findings = vec!["x.yaml:1:1: warning[WH2001]: odd\u{1b}[31m".to_owned()];
    let text = route::describe(&known, now());
    let (_, section) = text.split_once("\nwharf:\n").unwrap();
    assert_eq!(
        section,
        "  Source:    routes/shop.yaml:1:1\n  Served:    no\n  Findings:  x.yaml:1:1: \
         warning[WH2001]: odd[31m\n"
    );
    known.wharf.findings.clear();
    known.wharf.served = Some(Served {
        backend: "be_edge_http:shop:web".to_owned(),
        http: "redirected to https".to_owned(),
        https: "served".to_owned(),
        certificate: Some(CertView {
            host: "a.b".to_owned(),
            source: "Route shop/web".to_owned(),
            not_after: "2027-01-01T00:00:00Z".to_owned(),
            not_after_unix: 0,
            names: vec!["a.b".to_owned(), "c.d".to_owned()],
            subject: "CN=a.b".to_owned(),
            key: "ECDSA".to_owned(),
            http2: true,
            chain: Vec::new(),
        }),
        policy: PolicyView {
            timeout: "30s".to_owned(),
            tunnel_timeout: "3600s".to_owned(),
            forwarded: "append".to_owned(),
            balance: "random".to_owned(),
            allow: Some(Vec::new()),
            rewrite: None,
        },
        upstream: "endpoints".to_owned(),
        endpoints: vec![EndpointLine {
            service: "web".to_owned(),
            address: "10.1.0.4:8080".to_owned(),
            pod: String::new(),
            weight: 256,
            up: false,
            cluster_ip: false,
        }],
    });
    let text = route::describe(&known, now());
    let (_, section) = text.split_once("\nwharf:\n").unwrap();
    assert_eq!(
        section,
        "  Source:       routes/shop.yaml:1:1
  Backend:      be_edge_http:shop:web
  HTTP:         redirected to https
  HTTPS:        served
  Certificate:  Route shop/web, valid until 2027-01-01T00:00:00Z, for a.b, c.d
  Timeout:      30s (tunnel 3600s)
  Forwarded:    append
  Balance:      random
  Allowed:      nobody
  Upstream:     endpoints
  Endpoints:    web 10.1.0.4:8080 weight 256 down
  Findings:     <none>
"
    );
}

fn endpoint(address: &str, port: &str, ready: bool) -> EndpointView {
    EndpointView {
        namespace: "shop".to_owned(),
        service: "web".to_owned(),
        address: address.to_owned(),
        ports: vec![port.to_owned()],
        pod: None,
        zone: None,
        ready,
        terminating: false,
        up: None,
    }
}

#[test]
fn services_and_endpoints_look_like_those_of_kubectl() {
    let view = ServiceView {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        fqdn: "web.shop.svc.cluster.local".to_owned(),
        cluster_ips: Vec::new(),
        external_name: None,
        ports: vec!["http:80/TCP".to_owned()],
        endpoints: 3,
    };
    let all = [
        endpoint("10.0.0.1", "http:8080/TCP", true),
        endpoint("fd00::1", "http:8080/TCP", true),
        endpoint("10.0.0.2", "http:8080/TCP", false),
        endpoint("10.0.0.3", "9090/TCP", true),
    ];
    assert_eq!(
        service::describe(&view, &all),
        "\
Name:       web
Namespace:  shop
Type:       ClusterIP
IP:         None
IPs:        None
Port:       http  80/TCP
Endpoints:  10.0.0.1:8080,[fd00::1]:8080
DNS Name:   web.shop.svc.cluster.local
"
    );
    assert_eq!(
        service::endpoints(&view, &all),
        "\
Name:       web
Namespace:  shop
Subsets:
  Addresses:          10.0.0.1,fd00::1
  NotReadyAddresses:  10.0.0.2
  Ports:
    Name  Port  Protocol
    ----  ----  --------
    http  8080  TCP

  Addresses:          10.0.0.3
  NotReadyAddresses:  <none>
  Ports:
    Name     Port  Protocol
    ----     ----  --------
    <unset>  9090  TCP

"
    );
}

#[test]
fn a_name_that_is_not_there_is_an_error_and_others_are_printed() {
    let selected = Selected {
        kind: Kind::Routes,
        names: vec!["web".to_owned(), "no".to_owned()],
        namespace: Some("shop".to_owned()),
        labels: None,
    };
    let mut out = Vec::new();
    let snapshot = crate::admin::fixture::snapshot();
    let error = offline(&selected, &snapshot, &mut out).unwrap_err().to_string();
    assert_eq!(error, "routes.route.openshift.io \"no\" not found");
    assert!(out.starts_with(b"Name:\t\t\tweb\nNamespace:\t\tshop\n"));
    assert_eq!(query(&selected), "namespace=shop");
    let one = Selected { names: vec!["a b".to_owned()], ..selected.clone() };
    assert_eq!(query(&one), "namespace=shop&name=a%20b");
    let certs = Selected { kind: Kind::Certs, ..selected };
    let refused = offline(&certs, &snapshot, &mut Vec::new());
    assert!(matches!(refused, Err(DescribeError::Kind)));
}
