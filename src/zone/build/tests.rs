//! Building the map: merging against a plain oracle, and the rules of Services.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;
use crate::model::slice::SERVICE_NAME;

fn key(namespace: &str, name: &str) -> ObjectKey {
    ObjectKey::new(namespace, name)
}

fn service(name: &str, spec: serde_json::Value) -> Arc<Stored<Service>> {
    let object = json!({"metadata": {"name": name, "namespace": "app"}, "spec": spec});
    stored(name, serde_json::from_value(object).unwrap())
}

fn slice(name: &str, service: &str, body: serde_json::Value) -> Arc<Stored<EndpointSlice>> {
    let mut object = body;
    object["metadata"] = json!({
        "name": name, "namespace": "app", "labels": {SERVICE_NAME: service},
    });
    stored(name, serde_json::from_value(object).unwrap())
}

fn stored<T>(name: &str, object: T) -> Arc<Stored<T>> {
    Arc::new(Stored::in_memory(key("app", name), object, "test"))
}

fn build(objects: &Objects) -> Zone {
    Zone::build(objects, "Cluster.Local.", &Resolved::new(), 7)
}

fn entry(zone: &Zone, name: &str) -> Arc<ServiceEntry> {
    Arc::clone(zone.service(&format!("{name}.app.svc.cluster.local")).unwrap())
}

fn addresses(entry: &ServiceEntry) -> Vec<String> {
    entry.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

#[test]
fn slices_are_merged_and_sorted_by_address_text() {
    let port = json!([{"name": "http", "port": 8080, "appProtocol": "kubernetes.io/h2c"}]);
    let objects = Objects {
        services: vec![service("web", json!({"clusterIP": "10.0.0.1"}))],
        slices: vec![
            slice(
                "web-b",
                "web",
                json!({"addressType": "IPv4", "ports": port, "endpoints": [
                {"addresses": ["10.1.0.2"]}, {"addresses": ["10.1.0.10"],
                 "targetRef": {"kind": "Pod", "name": "web-1"}, "zone": "a"}]}),
            ),
            slice(
                "web-a",
                "web",
                json!({"addressType": "IPv4", "ports": port, "endpoints": [
                {"addresses": ["10.1.0.2"], "hostname": "Two",
                 "conditions": {"ready": false, "terminating": true}}]}),
            ),
            slice(
                "other",
                "elsewhere",
                json!({"addressType": "IPv4", "ports": port,
                "endpoints": [{"addresses": ["10.1.0.3"]}]}),
            ),
        ],
        ..Objects::default()
    };
    let web = entry(&build(&objects), "web");
    assert_eq!(addresses(&web), ["10.1.0.10", "10.1.0.2"]);
    let (ten, two) = (&web.endpoints[0], &web.endpoints[1]);
    assert_eq!((ten.pod.as_deref(), ten.zone.as_deref()), (Some("web-1"), Some("a")));
    assert_eq!(ten.ports[0].app_protocol.as_deref(), Some("kubernetes.io/h2c"));
    // The first slice by name says who it is; ready in any slice is ready.
    assert_eq!(two.hostname.as_deref(), Some("two"));
    assert_eq!((two.ready, two.serving, two.terminating), (true, true, false));
}

/// [EP-1]
#[test]
fn a_missing_condition_is_ready_and_serving_follows_ready() {
    let ends = |conditions: serde_json::Value, publish: bool| {
        let objects = Objects {
            services: vec![service("web", json!({"publishNotReadyAddresses": publish}))],
            slices: vec![slice(
                "s",
                "web",
                json!({"addressType": "IPv4", "endpoints": [
                {"addresses": ["10.1.0.1"], "conditions": conditions}]}),
            )],
            ..Objects::default()
        };
        let web = entry(&build(&objects), "web");
        (web.endpoints[0].ready, web.endpoints[0].serving, web.endpoints[0].terminating)
    };
    assert_eq!(ends(json!({}), false), (true, true, false));
    assert_eq!(ends(json!({"ready": false}), false), (false, false, false));
    assert_eq!(
        ends(json!({"ready": false, "serving": true, "terminating": true}), false),
        (false, true, true)
    );
    assert_eq!(ends(json!({"ready": false}), true), (true, false, false));
}

#[test]
fn a_service_without_slices_uses_its_endpoints_object() {
    let object: Endpoints = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "app"},
        "subsets": [{"addresses": [{"ip": "10.1.0.1"}], "notReadyAddresses": [{"ip": "10.1.0.2"}],
                     "ports": [{"port": 80}]}],
    }))
    .unwrap();
    let mut objects = Objects {
        services: vec![service("web", json!({}))],
        endpoints: vec![stored("web", object)],
        ..Objects::default()
    };
    let web = entry(&build(&objects), "web");
    let ready: Vec<bool> = web.endpoints.iter().map(|endpoint| endpoint.ready).collect();
    assert_eq!(
        (addresses(&web), ready),
        (vec!["10.1.0.1".into(), "10.1.0.2".into()], vec![true, false])
    );

    objects.slices.push(slice("s", "web", json!({"addressType": "IPv4", "endpoints": []})));
    assert_eq!(addresses(&entry(&build(&objects), "web")), Vec::<String>::new());
}

#[test]
fn only_an_address_makes_a_service_virtual() {
    let vips = |spec| {
        let objects = Objects { services: vec![service("web", spec)], ..Objects::default() };
        let web = entry(&build(&objects), "web");
        (web.vips.iter().map(ToString::to_string).collect::<Vec<_>>(), web.is_headless())
    };
    assert_eq!(vips(json!({})), (vec![], true));
    assert_eq!(vips(json!({"clusterIP": "None", "clusterIPs": ["None"]})), (vec![], true));
    assert_eq!(
        vips(json!({"clusterIP": "10.0.0.3", "clusterIPs": ["10.0.0.3", "10::3"]})),
        (vec!["10.0.0.3".into(), "10::3".into()], false)
    );
    assert_eq!(vips(json!({"type": "ExternalName", "externalName": "x.example"})), (vec![], false));
}

/// [IDLE-1]
#[test]
fn a_service_is_idled_by_its_annotation_and_a_real_cluster_ip() {
    let idled = |ip: &str, at: &str| {
        let object =
            json!({"metadata": {"annotations": {IDLED_AT: at}}, "spec": {"clusterIP": ip}});
        let service = stored("web", serde_json::from_value(object).unwrap());
        let objects = Objects { services: vec![service], ..Objects::default() };
        entry(&build(&objects), "web").idled
    };
    assert!(idled("10.0.0.1", "2026-01-01T00:00:00Z"));
    assert!(!idled("10.0.0.1", ""));
    assert!(!idled("None", "2026-01-01T00:00:00Z"));
}

#[test]
fn names_that_are_no_labels_are_skipped_and_others_lowered() {
    let objects = Objects {
        services: ["Web", "web", "we.b", "-x", "a_b"].map(|name| service(name, json!({}))).into(),
        ..Objects::default()
    };
    let zone = build(&objects);
    let names: Vec<_> = zone.services.keys().map(|name| &**name).collect();
    assert_eq!(names, ["web.app.svc.cluster.local"]);
    assert_eq!(zone.namespaces, ["app".into()].into());
    assert_eq!((&*zone.domain, zone.serial), ("cluster.local", 7));
}

#[test]
fn fqdn_addresses_become_endpoints_once_resolved() {
    let mut objects = Objects {
        services: vec![
            service("db", json!({})),
            service(
                "ext",
                json!({"type": "ExternalName", "externalName": "Api.Example.",
                "ports": [{"port": 443, "targetPort": 8443}]}),
            ),
            service(
                "own",
                json!({"type": "ExternalName",
                "externalName": "db.app.svc.cluster.local"}),
            ),
        ],
        slices: vec![slice(
            "s",
            "db",
            json!({"addressType": "FQDN", "ports": [{"port": 5432}],
            "endpoints": [{"addresses": ["DB.Example.com."]}]}),
        )],
        ..Objects::default()
    };
    let names = |external| names_to_resolve(&objects, "cluster.local", external);
    assert_eq!(names(false), ["db.example.com".into()].into());
    assert_eq!(names(true), ["api.example".into(), "db.example.com".into()].into());

    assert!(addresses(&entry(&build(&objects), "db")).is_empty());
    let resolved: Resolved = [
        (
            "db.example.com".into(),
            vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        ),
        ("api.example".into(), vec!["192.0.2.7".parse().unwrap()]),
    ]
    .into();
    let zone = Zone::build(&objects, "cluster.local", &resolved, 1);
    assert_eq!(addresses(&entry(&zone, "db")), ["192.0.2.1", "2001:db8::1"]);
    let external = entry(&zone, "ext");
    assert_eq!(addresses(&external), ["192.0.2.7"]);
    assert_eq!(external.endpoints[0].ports[0].number, 8443);
    objects.slices.clear();
    assert_eq!(names_to_resolve(&objects, "cluster.local", false), BTreeSet::new());
}

#[test]
fn a_virtual_address_stands_for_its_service_alone() {
    let endpoints = json!({"addressType": "IPv4", "ports": [{"port": 1}], "endpoints": [
        {"addresses": ["10.0.0.1"]}, {"addresses": ["10.1.0.1"], "hostname": "ep"},
        {"addresses": ["10.1.0.2"], "conditions": {"ready": false}}]});
    let objects = Objects {
        services: vec![service("vip", json!({"clusterIP": "10.0.0.1"})), service("web", json!({}))],
        slices: vec![slice("a", "web", endpoints.clone()), slice("b", "vip", endpoints)],
        ..Objects::default()
    };
    let zone = build(&objects);
    let names = |address: &str| zone.reverse.get(&address.parse::<IpAddr>().unwrap()).cloned();
    assert_eq!(names("10.0.0.1"), Some(["vip.app.svc.cluster.local".into()].into()));
    assert_eq!(
        names("10.1.0.1"),
        Some(["ep.vip.app.svc.cluster.local".into(), "ep.web.app.svc.cluster.local".into()].into())
    );
    assert_eq!(names("10.1.0.2"), None);
}

/// Wrong input: nothing panics, nothing is invented.
#[test]
fn unusable_addresses_and_ports_are_left_out() {
    let objects = Objects {
        services: vec![service("web", json!({"ports": [{"port": -1}, {"port": 70000}]}))],
        slices: vec![
            slice(
                "a",
                "web",
                json!({"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [
                {"addresses": ["", "10.0.0", "::1", "10.1.0.1"]}]}),
            ),
            slice(
                "b",
                "web",
                json!({"addressType": "IPv4",
                "ports": [{"port": 99999}, {"port": 80, "protocol": "QUIC"}],
                "endpoints": [{"addresses": ["10.1.0.2"]}]}),
            ),
        ],
        ..Objects::default()
    };
    let web = entry(&build(&objects), "web");
    assert_eq!(addresses(&web), ["10.1.0.1"]);
    assert!(web.ports.is_empty());
}

/// (slice, address, port, ready, host name)
type Mention = (u8, u8, u8, bool, Option<u8>);

/// What the rules say, one row after the other: address text and port to readiness and host name.
fn oracle(mentions: &[Mention]) -> BTreeMap<(String, u16), (bool, Option<String>)> {
    let mut sorted = mentions.to_vec();
    sorted.sort_by_key(|mention| mention.0);
    let mut rows: BTreeMap<(String, u16), (bool, Option<String>)> = BTreeMap::new();
    for (_, address, port, ready, hostname) in sorted {
        let key = (format!("10.1.0.{address}"), 8000 + u16::from(port));
        let hostname = hostname.map(|number| format!("h{number}"));
        let row = rows.entry(key).or_insert((false, hostname));
        row.0 |= ready;
    }
    rows
}

/// One slice for each mention, named so that name order is slice order and then mention order.
fn slices_of(mentions: &[Mention]) -> Vec<Arc<Stored<EndpointSlice>>> {
    let one = |(index, mention): (usize, &Mention)| {
        let (number, address, port, ready, hostname) = mention;
        let mut endpoint = json!({
            "addresses": [format!("10.1.0.{address}")], "conditions": {"ready": ready},
        });
        if let Some(hostname) = hostname {
            endpoint["hostname"] = json!(format!("h{hostname}"));
        }
        let body = json!({"addressType": "IPv4", "endpoints": [endpoint],
            "ports": [{"port": 8000 + u16::from(*port)}]});
        slice(&format!("s{number:03}-{index:05}"), "web", body)
    };
    mentions.iter().enumerate().map(one).collect()
}

proptest! {
    #[test]
    fn merging_equals_the_oracle_in_any_order_of_slices(
        mentions in vec((0..4_u8, 0..12_u8, 0..3_u8, any::<bool>(), prop::option::of(0..2_u8)), 0..40),
        rotate in 0..40_usize,
    ) {
        let mut slices = slices_of(&mentions);
        let half = rotate.min(slices.len());
        slices.rotate_left(half);
        let objects =
            Objects { services: vec![service("web", json!({}))], slices, ..Objects::default() };
        let web = entry(&build(&objects), "web");
        let mut rows = BTreeMap::new();
        for endpoint in &web.endpoints {
            for port in endpoint.ports.iter() {
                let hostname = endpoint.hostname.as_deref().map(str::to_owned);
                let key = (endpoint.address.to_string(), port.number);
                prop_assert!(rows.insert(key, (endpoint.ready, hostname)).is_none());
            }
        }
        prop_assert_eq!(rows, oracle(&mentions));
        let texts = addresses(&web);
        prop_assert!(texts.is_sorted());
    }
}
