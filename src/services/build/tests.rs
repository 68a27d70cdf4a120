//! From objects to the model.

use serde_json::{Value, json};

use super::*;
use crate::model::objects::ObjectKey;

fn stored<T: serde::de::DeserializeOwned>(name: &str, object: Value) -> Arc<Stored<T>> {
    let object = serde_json::from_value(object).unwrap();
    Arc::new(Stored::in_memory(ObjectKey::new("app", name), object, "test"))
}

fn slice(name: &str, ports: Value, endpoints: Value) -> Arc<Stored<EndpointSlice>> {
    let object = json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    });
    stored(name, object)
}

fn objects(spec: Value, slices: Vec<Arc<Stored<EndpointSlice>>>) -> Objects {
    let services = vec![stored("web", json!({"spec": spec}))];
    Objects { services, slices, ..Objects::default() }
}

fn one(objects: &Objects) -> Service {
    let mut services = build(objects);
    assert_eq!(services.len(), 1);
    services.remove(0)
}

fn shown(port: &ServicePort) -> Vec<String> {
    port.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

/// [SVC-08]
#[test]
fn svc_8_a_named_target_port_has_the_number_of_each_pod() {
    let ports = json!([
        {"name": "web", "port": 80, "targetPort": "http"},
        {"name": "admin", "port": 81, "targetPort": "admin"},
    ]);
    let objects = objects(
        json!({"clusterIP": "172.30.0.1", "ports": ports}),
        vec![
            slice(
                "s1",
                json!([{"name": "web", "port": 8080}]),
                json!([{"addresses": ["10.0.0.1"]}]),
            ),
            slice(
                "s2",
                json!([{"name": "admin", "port": 9999}, {"name": "web", "port": 9090}]),
                json!([{"addresses": ["10.0.0.2"]}]),
            ),
        ],
    );
    let service = one(&objects);
    assert_eq!(shown(&service.ports[0]), ["10.0.0.1:8080", "10.0.0.2:9090"]);
    assert_eq!(shown(&service.ports[1]), ["10.0.0.2:9999"]);
}

/// [SVC-09]: and the order of the slices in the source does not matter.
#[test]
fn svc_9_an_address_in_two_slices_is_one_endpoint() {
    let port = json!([{"port": 8080}]);
    let old = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}]);
    let new = json!([
        {"addresses": ["10.0.0.1"], "nodeName": "n1"}, {"addresses": ["10.0.0.2"]},
    ]);
    let spec = json!({"clusterIP": "172.30.0.1", "ports": [{"port": 80}]});
    let mut slices = vec![slice("a", port.clone(), old), slice("b", port, new)];
    let forward = build(&objects(spec.clone(), slices.clone()));
    slices.reverse();
    assert_eq!(forward, build(&objects(spec, slices)));
    assert_eq!(shown(&forward[0].ports[0]), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    let moved = &forward[0].ports[0].endpoints[0];
    assert!(moved.ready && moved.node.as_deref() == Some("n1"));
}

/// [SVC-10]
#[test]
fn svc_10_unready_endpoints_are_ready_when_the_service_publishes_them() {
    let endpoints = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false}}]);
    for publish in [false, true] {
        let spec = json!({
            "clusterIP": "172.30.0.1", "ports": [{"port": 80}], "publishNotReadyAddresses": publish,
        });
        let slices = vec![slice("s", json!([{"port": 8080}]), endpoints.clone())];
        assert_eq!(one(&objects(spec, slices)).ports[0].endpoints[0].ready, publish);
    }
}

/// [B.1] [B.2]: what is missing means, what is out of range is left out.
#[test]
fn conditions_and_ports_have_their_defaults() {
    let endpoints = json!([
        {"addresses": ["10.0.0.1"]},
        {"addresses": ["10.0.0.2"], "conditions": {"ready": false, "terminating": true}},
        {"addresses": ["10.0.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["2001:db8::1"]},
        {"addresses": ["no address"]},
    ]);
    let ports =
        json!([{"port": 8080}, {"name": "all"}, {"name": "udp", "protocol": "UDP", "port": 53}]);
    let spec = json!({"clusterIP": "172.30.0.1", "ports": [
        {"port": 80}, {"name": "udp", "port": 53}, {"name": "all", "port": 1},
    ]});
    let service = one(&objects(spec, vec![slice("s", ports, endpoints)]));
    let flags = |endpoint: &Endpoint| (endpoint.ready, endpoint.serving, endpoint.terminating);
    let found: Vec<_> = service.ports[0].endpoints.iter().map(flags).collect();
    assert_eq!(found, [(true, true, false), (false, false, true), (false, true, true)]);
    assert!(service.ports[1].endpoints.is_empty(), "another protocol is another port");
    assert!(service.ports[2].endpoints.is_empty(), "a port without a number is no target");
}

/// [B.1]: dual stack, external addresses, policies, affinity, ranges.
#[test]
fn a_load_balancer_has_all_its_fields() {
    let spec = json!({
        "type": "LoadBalancer", "clusterIP": "172.30.0.1", "clusterIPs": ["172.30.0.1", "fd00::1"],
        "externalIPs": ["198.51.100.1"], "externalTrafficPolicy": "Local", "healthCheckNodePort": 30100,
        "internalTrafficPolicy": "Local", "sessionAffinity": "ClientIP",
        "loadBalancerSourceRanges": [" 203.0.113.0/24", "nonsense"],
        "ports": [{"port": 80, "nodePort": 30080}],
    });
    let status = json!({"loadBalancer": {"ingress": [
        {"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}, {"hostname": "lb.example.com"},
    ]}});
    let mut objects = objects(spec.clone(), Vec::new());
    objects.services = vec![stored("web", json!({"spec": spec, "status": status}))];
    let service = one(&objects);
    let addresses: Vec<_> =
        service.addresses().map(|(address, via)| format!("{address} {via:?}")).collect();
    assert_eq!(
        addresses,
        [
            "172.30.0.1 ClusterIp",
            "fd00::1 ClusterIp",
            "198.51.100.1 ExternalIp",
            "192.0.2.1 LoadBalancerIp"
        ]
    );
    assert_eq!((service.internal, service.external), (TrafficPolicy::Local, TrafficPolicy::Local));
    assert_eq!(service.affinity, Some(Duration::from_secs(10_800)));
    assert_eq!(service.source_ranges, Some(vec!["203.0.113.0/24".parse().unwrap()]));
    assert_eq!(
        (service.health_check_node_port, service.ports[0].node_port),
        (Some(30100), Some(30080))
    );
}

/// [SVC-13]: a range that cannot be read admits nobody, and is not "no ranges".
#[test]
fn svc_13_unreadable_ranges_admit_nobody() {
    let spec = json!({
        "type": "LoadBalancer", "clusterIP": "172.30.0.1", "loadBalancerSourceRanges": ["nonsense"],
    });
    assert_eq!(one(&objects(spec, Vec::new())).source_ranges, Some(Vec::new()));
}

/// [B.1]: 1 to 86400 seconds.
#[test]
fn the_affinity_timeout_is_held_within_its_range() {
    for (seconds, expected) in [(0, 1), (1, 1), (600, 600), (86_401, 86_400)] {
        let config = json!({"clientIP": {"timeoutSeconds": seconds}});
        let spec = json!({
            "clusterIP": "172.30.0.1", "sessionAffinity": "ClientIP", "sessionAffinityConfig": config,
        });
        let expected = Some(Duration::from_secs(expected));
        assert_eq!(one(&objects(spec, Vec::new())).affinity, expected);
    }
    let spec = json!({"clusterIP": "172.30.0.1", "sessionAffinity": "None"});
    assert_eq!(one(&objects(spec, Vec::new())).affinity, None);
}

#[test]
fn services_without_a_virtual_address_are_not_here() {
    for spec in [
        json!({"clusterIP": "None"}),
        json!({"type": "ExternalName", "externalName": "x.example.com", "clusterIP": "172.30.0.1"}),
        json!({}),
    ] {
        assert!(build(&objects(spec, Vec::new())).is_empty());
    }
}

#[test]
fn an_endpoints_object_counts_where_there_is_no_slice() {
    let endpoints = json!({"subsets": [{
        "addresses": [{"ip": "10.0.0.1", "nodeName": "n1"}],
        "notReadyAddresses": [{"ip": "10.0.0.2"}],
        "ports": [{"name": "web", "port": 8080}],
    }]});
    let ports = json!([{"name": "web", "port": 80, "nodePort": 30080}]);
    let mut objects = objects(json!({"clusterIP": "172.30.0.1", "ports": ports}), Vec::new());
    objects.endpoints = vec![stored("web", endpoints)];
    let service = one(&objects);
    assert_eq!(shown(&service.ports[0]), ["10.0.0.1:8080", "10.0.0.2:8080"]);
    assert_eq!(service.ports[0].node_port, None, "type ClusterIP has no node port");
    assert!(!service.ports[0].endpoints[1].ready);
    // Any slice wins over it.
    objects.slices = vec![slice("s", json!([{"name": "web", "port": 1}]), json!([]))];
    assert!(one(&objects).ports[0].endpoints.is_empty());
}
