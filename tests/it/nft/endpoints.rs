//! Which endpoints the kernel sends to, and at which port of each (spec/l4-dns.md B.3, B.6).

use serde_json::{Value, json};

use super::{
    DNS, VIP, assert_shared,
    net::{Net, web},
    wanted,
};

/// An endpoint with these hints for nodes and zones; none without any.
fn hinted(nodes: &[&str], zones: &[&str]) -> Value {
    let names =
        |names: &[&str]| -> Vec<Value> { names.iter().map(|name| json!({"name": name})).collect() };
    json!({"hints": {"forNodes": names(nodes), "forZones": names(zones)}})
}

/// The pods that 60 connections and 20 datagrams of the client reach, and those of the node alike.
fn assert_reached(net: &mut Net, pods: &str) {
    for agent in [&mut net.client, &mut net.on_node] {
        assert_shared(&agent.does(&format!("many 60 {VIP}")), pods);
        for number in 0..20 {
            let said = agent.does(&format!("send {pods}{number} {DNS}"));
            let (pod, _) = said.split_once(' ').expect("a pod and who it saw");
            assert!(pods.contains(pod), "{said}: not one of {pods}");
        }
    }
}

/// [SVC-07]: `trafficDistribution: PreferSameNode` as the hints of slices say it: pods of this node while there
/// is one, else those of its zone, else all; and the other way as they come back.
#[test]
fn svc_7_who_is_near_is_preferred_by_node_then_by_zone() {
    if !wanted("svc_7") {
        return;
    }
    let mut net = Net::new(3);
    let proxy = net.proxy("nftables", &["--zone", "a"]);
    let service = web(&json!({"trafficDistribution": "PreferSameNode"}));
    let here = (0, hinted(&["here"], &["a"]));
    let zone = (1, hinted(&["there"], &["a"]));
    let far = (2, hinted(&["afar"], &["b"]));
    let there = (1, hinted(&["there"], &["b"]));
    // Of what is not ready, hints do not count.
    let mut unready = here.clone();
    unready.1["conditions"] = json!({"ready": false});
    let none = |index| (index, json!({}));
    let steps = [
        (vec![here.clone(), zone.clone(), far.clone()], "A"),
        (vec![unready, zone.clone(), far.clone()], "B"),
        (vec![zone.clone(), far.clone()], "B"),
        (vec![there, far.clone()], "BC"),
        // Hints for nodes are wanted of all, and so are those for zones.
        (
            vec![here.clone(), (1, json!({"hints": {"forZones": [{"name": "a"}]}})), far.clone()],
            "AB",
        ),
        (vec![here.clone(), none(1), far.clone()], "ABC"),
        (vec![here, zone, far], "A"),
    ];
    for (pods, reached) in steps {
        net.apply(&proxy, &[vec![service.clone()], net.slices(&pods)].concat());
        assert_reached(&mut net, reached);
    }
}

/// [SVC-08]: a port by its name is each pod's own, for TCP and for UDP; one that a pod does not name is not
/// its.
#[test]
fn svc_8_a_named_port_is_that_of_each_pod() {
    if !wanted("svc_8") {
        return;
    }
    let mut net = Net::new(2);
    let second = &mut net.pods[1].agent;
    // So that a wrong number would be seen: the second pod has another answer at the first one's.
    second.does("tcp 0.0.0.0:9090 N");
    second.does("udp 0.0.0.0:9053 N");
    let proxy = net.proxy("nftables", &[]);
    let service = web(&json!({"ports": [
        {"name": "http", "port": 80, "targetPort": "http"},
        {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"},
        {"name": "admin", "port": 81, "targetPort": "admin"},
    ]}));
    let mut slices = net.plain(&[0, 1]);
    slices[1]["ports"] = json!([
        {"name": "dns", "port": 9053, "protocol": "UDP"}, {"name": "http", "port": 9090},
        {"name": "admin", "port": 8080},
    ]);
    net.apply(&proxy, &[vec![service.clone()], slices.clone()].concat());
    assert_reached(&mut net, "AN");
    // Only one of them has it: its 8080, which is not its port for `http`.
    assert_shared(&net.client.does("many 20 172.30.0.1:81"), "B");
    // The number changes, and the name stays.
    slices[1]["ports"][1]["port"] = json!(8080);
    net.apply(&proxy, &[vec![service], slices].concat());
    assert_shared(&net.client.does(&format!("many 60 {VIP}")), "AB");
}
