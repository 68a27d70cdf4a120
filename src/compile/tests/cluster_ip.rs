//! Services at their cluster IPs: what is dialled, with which weights, and what is not.

use super::*;
use crate::{headers::sticky::hash, settings::upstream::UpstreamMode, upstream::peer::Protocol};

const TWO: [&str; 2] = ["10.0.1.1", "10.0.1.2"];

fn by_cluster_ip() -> Compiler {
    compiler_with(|settings| settings.upstream.mode = UpstreamMode::ClusterIp)
}

/// The Service `name` with these addresses of its own.
fn virtual_service(name: &str, vips: &str, endpoints: &[&str]) -> String {
    let spec = format!("spec: {{clusterIPs: [{vips}], ports: ");
    service(name, endpoints).replace("spec: {ports: ", &spec)
}

fn refused(snapshot: &Snapshot) -> Vec<&str> {
    let of = |finding: &&Finding| finding.code == codes::NO_CLUSTER_IP;
    snapshot.findings.iter().filter(of).map(|finding| &*finding.text).collect()
}

/// One server for each Service, with the Service's share; none for one without endpoints.
#[test]
fn weights_are_those_of_services() {
    let services = [
        virtual_service("one", "172.30.0.1", &["10.0.0.1"]),
        virtual_service("two", "172.30.0.2", &TWO),
        virtual_service("none", "172.30.0.3", &[]),
    ]
    .concat();
    let spec = format!(
        ", to: {}, alternateBackends: [{}, {}]{HTTP}",
        to("one", 50),
        to("two", 100),
        to("none", 50)
    );
    let snapshot = compile(&mut by_cluster_ip(), &(services + &route("r", &spec)));
    let found = servers(&snapshot, "r");
    assert_eq!(found, [("172.30.0.1:80".to_owned(), 128), ("172.30.0.2:80".to_owned(), 256)]);
    assert!(snapshot.checked.is_empty(), "[HC-1]: {:?}", snapshot.checked);
    let backend = &served(&snapshot, "r").backend;
    assert!(backend.servers.iter().all(|server| server.cluster_ip && server.pod.is_empty()));
    let sticky = backend.sticky.as_ref().expect("a cookie");
    let values = ["svc:one:http", "svc:two:http"].map(|id| sticky.server(&hash(id)));
    assert_eq!(values, [Some(0), Some(1)], "the cookie names the Service");
    assert_eq!(refused(&snapshot), <[&str; 0]>::default());
}

/// [LB-3]: the port of the Service is the one whose name the endpoints' port has, whatever the Route
/// calls it; for dual stack the first address.
#[test]
fn lb_3_the_port_of_the_service_is_found_by_name() {
    for (port, expected) in [
        (", port: {targetPort: http}", &["172.30.0.1:80"][..]),
        (", port: {targetPort: 9090}", &["172.30.0.1:81"]),
        (", port: {targetPort: '8080'}", &["172.30.0.1:80"]),
        (", port: {targetPort: other}", &[]),
        ("", &["172.30.0.1:80", "172.30.0.1:81"]),
    ] {
        let spec = format!(", to: {{name: a}}{port}");
        let text = virtual_service("a", "172.30.0.1, 'fd00::1'", &TWO) + &route("r", &spec);
        let snapshot = compile(&mut by_cluster_ip(), &text);
        let found: Vec<_> = servers(&snapshot, "r").into_iter().map(|(label, _)| label).collect();
        assert_eq!(found, expected, "{port}");
    }
}

/// A cluster IP that is there is used, and without one, or without a port that fits, endpoints are.
#[test]
fn services_without_a_cluster_ip_are_served_by_their_endpoints() {
    let spec = format!(", to: {{name: a}}{HTTP}");
    let other_port = virtual_service("a", "172.30.0.1", &TWO)
        .replace("ports: [{name: http, port: 80},", "ports: [{name: web, port: 80},");
    for (text, says) in [
        (service("a", &TWO), "it has no cluster IP"),
        (virtual_service("a", "None", &TWO), "it has no cluster IP"),
        (other_port, "none of its ports"),
    ] {
        let snapshot = compile(&mut by_cluster_ip(), &(text + &route("r", &spec)));
        let endpoints = ["10.0.1.1:8080", "10.0.1.2:8080"].map(|label| (label.to_owned(), 1));
        assert_eq!(servers(&snapshot, "r"), endpoints, "{says}");
        let [finding] = refused(&snapshot)[..] else { panic!("{says}: {:?}", snapshot.findings) };
        assert!(finding.contains("app/a") && finding.contains(says), "{finding}");
        // As ever, each of them is checked.
        assert_eq!(snapshot.checked.len(), 2, "{says}");
    }
}

/// [EPF-2]: an address that must not be dialled is not reached through a cluster IP either; one that a
/// map of the router's own leads to is.
#[test]
fn epf_2_a_cluster_ip_opens_nothing() {
    let spec = format!(", to: {{name: a}}{HTTP}");
    for (vip, endpoints, expected) in [
        ("127.0.0.1", &["10.0.1.1"][..], "10.0.1.1:8080"),
        ("169.254.169.254", &["10.0.1.1"], "10.0.1.1:8080"),
        ("172.30.0.1", &["10.0.1.1", "169.254.169.254"], "10.0.1.1:8080"),
        ("10.96.0.1", &["10.0.1.1"], "127.96.0.1:80"),
    ] {
        let mut compiler = compiler_with(|settings| {
            settings.upstream.mode = UpstreamMode::ClusterIp;
            settings.upstream.vip_map = vec!["10.96.0.0/16=127.96.0.0/16".parse().unwrap()];
        });
        let text = virtual_service("a", vip, endpoints) + &route("r", &spec);
        let snapshot = compile(&mut compiler, &text);
        assert_eq!(servers(&snapshot, "r"), [(expected.to_owned(), 1)], "{vip}");
        assert_eq!(refused(&snapshot).is_empty(), vip == "10.96.0.1", "{vip}");
    }
}

/// [PODC-1]: a limit for each pod is as many places as there are pods. [ALPN-4]: what pods speak is
/// known from their ports.
#[test]
fn podc_1_the_limit_of_each_pod_counts_for_all_of_them() {
    let spec = format!(", to: {{name: a}}{HTTP}");
    let limited = route("r", &spec).replace(
        "namespace: app}",
        "namespace: app, annotations: {haproxy.router.openshift.io/pod-concurrent-connections: '3'}}",
    );
    let text = virtual_service("a", "172.30.0.1", &TWO)
        .replace("{name: http, port: 8080}", "{name: http, port: 8080, appProtocol: h2c}");
    let snapshot = compile(&mut by_cluster_ip(), &(text + &limited));
    let [server] = &served(&snapshot, "r").backend.servers[..] else { panic!("one server") };
    let gate = server.gate.as_ref().expect("a gate");
    assert_eq!(gate.limit(), 6);
    assert_eq!(server.peer.key.protocol, Protocol::Http2);
}
