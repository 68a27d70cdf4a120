//! Services through the kernel's packet filter, between network namespaces (spec/l4-dns.md B.6).
//!
//! They run with `WHARF_PEERS=1` as root, and a tool that is missing is a failure then; otherwise each
//! test says that it was skipped.

#[cfg(test)]
mod agent;
#[cfg(test)]
mod balancer;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
pub(crate) mod net;
#[cfg(test)]
mod up;

use std::{collections::BTreeMap, io::Write as _, os::unix::fs::MetadataExt as _};

use serde_json::json;

use self::net::{Net, web};

/// The virtual address of `web`.
const VIP: &str = "172.30.0.1:80";
const DNS: &str = "172.30.0.1:53";

/// True when namespaces are wanted and can be had.
fn wanted(test: &str) -> bool {
    let peers = std::env::var_os("WHARF_PEERS").is_some_and(|value| value == "1");
    let is_root = std::fs::metadata("/proc/self").expect("Linux").uid() == 0;
    if !(peers && is_root) {
        writeln!(std::io::stdout(), "{test}: skipped, WHARF_PEERS=1 runs it as root")
            .expect("stdout is there");
    }
    peers && is_root
}

/// Asserts that these pods, and no others, had their share of connections.
fn assert_shared(said: &str, pods: &str) {
    let counts: BTreeMap<&str, f64> = said
        .split(' ')
        .map(|pair| pair.split_once('=').expect("name=count"))
        .map(|(name, count)| (name, count.parse().expect("a number")))
        .collect();
    let names: String = counts.keys().copied().collect();
    assert_eq!(names, pods, "{said}");
    let total: f64 = counts.values().sum();
    let expected = total / f64::from(u32::try_from(pods.len()).expect("few pods"));
    let square: f64 = counts.values().map(|count| (count - expected).powi(2) / expected).sum();
    // p = 0.001 for three degrees of freedom is 16.3; for fewer it is less likely still.
    assert!(square < 16.3, "chi square {square}: {said}");
}

/// [SVC-01]: by chance, equally.
#[test]
fn svc_1_four_hundred_connections_are_shared() {
    if !wanted("svc_1") {
        return;
    }
    let mut net = Net::new(4);
    let proxy = net.proxy("nftables", &[]);
    let objects = [vec![web(&json!({}))], net.plain(&[0, 1, 2, 3])].concat();
    net.apply(&proxy, &objects);
    assert_shared(&net.client.does(&format!("many 400 {VIP}")), "ABCD");
    assert_shared(&net.on_node.does(&format!("many 200 {VIP}")), "ABCD");
    // The client is seen as the node: it is not of the cluster.
    assert_eq!(net.client.open(VIP).unwrap().2.rsplit_once('.').unwrap().1, "1");
    // A pod is, and is seen as itself, but by itself [SVC-12].
    let own = net.pods[0].address.clone();
    for _ in 0..8 {
        let (_, pod, seen) = net.pods[0].agent.open(VIP).unwrap();
        assert_eq!(seen == own, pod != "A", "{pod} saw {seen}");
    }
}

/// [SVC-02] [B.3]: refused at once where there is no endpoint, or no such port; dropped where there is no
/// such Service.
#[test]
fn svc_2_what_nobody_serves_is_refused_or_dropped() {
    if !wanted("svc_2") {
        return;
    }
    let mut net = Net::new(1);
    let arguments = ["--service-cidr", "172.30.0.0/16", "--node-address", "192.0.2.1"];
    let proxy = net.proxy("nftables", &arguments);
    let more = json!({"type": "NodePort", "ports": [
        {"name": "http", "port": 80, "nodePort": 30080},
        {"name": "dns", "port": 53, "protocol": "UDP"},
    ]});
    let endpoints = net.plain(&[0]);
    for _ in 0..2 {
        net.apply(&proxy, &[web(&more)]);
        for agent in [&mut net.client, &mut net.on_node, &mut net.pods[0].agent] {
            for target in [VIP, "172.30.0.1:81", "192.0.2.1:30080"] {
                let refused = agent.open(target).unwrap_err();
                assert_eq!(refused, "ConnectionRefused", "{target}");
            }
            // Who sends from the node itself is told by the call.
            let refused = agent.ask(&format!("send dns {DNS}")).unwrap_err();
            assert!(["ConnectionRefused", "PermissionDenied"].contains(&&*refused), "{refused}");
            let dropped = agent.open("172.30.9.9:80").unwrap_err();
            assert_eq!(dropped, "TimedOut");
        }
        net.apply(&proxy, &[vec![web(&more)], endpoints.clone()].concat());
        for agent in [&mut net.client, &mut net.on_node, &mut net.pods[0].agent] {
            for target in [VIP, "192.0.2.1:30080"] {
                assert_eq!(agent.pod(target), "A");
            }
            assert!(agent.does(&format!("send dns {DNS}")).starts_with("A "));
            assert_eq!(agent.open("172.30.0.1:81").unwrap_err(), "ConnectionRefused");
        }
        // A node port is not one of the loopback address.
        assert_eq!(net.on_node.open("127.0.0.1:30080").unwrap_err(), "ConnectionRefused");
    }
}

/// [SVC-03] [SVC-13] [B.3]: the outside has no answer without an endpoint here, who is inside has all;
/// sources are looked at before; clients are seen as themselves.
#[test]
fn svc_3_policy_local_without_an_endpoint_here_is_silent() {
    if !wanted("svc_3") {
        return;
    }
    let mut net = Net::new(2);
    let arguments = ["--node-address", "192.0.2.1"];
    let proxy = net.proxy("nftables", &arguments);
    let mut object = web(&json!({
        "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000,
        "externalIPs": ["203.0.113.8"], "loadBalancerSourceRanges": ["192.0.2.0/28", "10.0.0.0/8"],
    }));
    object["spec"]["ports"][0]["nodePort"] = json!(30080);
    object["status"] = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}]}});
    let there = net.slices(&[(1, json!({"nodeName": "there"}))]);
    let outer = ["203.0.113.9:80", "203.0.113.8:80", "192.0.2.1:30080"];
    net.apply(&proxy, &[vec![object.clone()], there.clone()].concat());
    for target in outer {
        assert_eq!(net.client.open(target).unwrap_err(), "TimedOut", "{target}");
        assert_eq!(net.pods[0].agent.pod(target), "B", "{target}");
    }
    assert_eq!(net.on_node.pod("203.0.113.8:80"), "B");
    assert_eq!(net.client.pod(VIP), "B", "the policy is not about the cluster IP");
    let health = "curl -s -o /dev/null -w %{http_code} 192.0.2.1:32000/healthz";
    let health = |net: &Net| net.node.run("sh", &["-c", health]);
    assert_eq!(health(&net), "503");
    let both = [net.plain(&[0]), there].concat();
    net.apply(&proxy, &[vec![object], both].concat());
    for target in outer {
        for _ in 0..4 {
            let (_, pod, seen) = net.client.open_from(target, "192.0.2.10").unwrap();
            assert_eq!((&*pod, &*seen), ("A", "192.0.2.10"), "{target}");
        }
    }
    assert_eq!(health(&net), "200");
    // [SVC-13]
    let denied = net.client.open_from("203.0.113.9:80", "192.0.2.200").unwrap_err();
    assert_eq!(denied, "TimedOut");
    assert!(net.client.open_from("203.0.113.8:80", "192.0.2.200").is_ok());
}

/// [SVC-04]: the same endpoint through changes of others and a restart, and another once it is gone or
/// the time is over.
#[test]
fn svc_4_a_client_keeps_its_endpoint() {
    if !wanted("svc_4") {
        return;
    }
    let mut net = Net::new(4);
    let proxy = net.proxy("nftables", &[]);
    let object = web(&json!({"sessionAffinity": "ClientIP"}));
    let objects = [vec![object.clone()], net.plain(&[0, 1, 2, 3])].concat();
    net.apply(&proxy, &objects);
    let sources = ["192.0.2.10", "192.0.2.11", "192.0.2.200"];
    let ask =
        |net: &mut Net| sources.map(|source| net.client.open_from(VIP, source).expect("a pod").1);
    let first = ask(&mut net);
    for _ in 0..4 {
        // Others change.
        net.apply(&proxy, &objects);
        assert_eq!(ask(&mut net), first);
    }
    proxy.kill();
    let proxy = net.proxy("nftables", &[]);
    net.apply(&proxy, &objects);
    assert_eq!(ask(&mut net), first);
    // Its own endpoint leaves and comes back.
    let index = usize::from(first[0].as_bytes()[0] - b'A');
    let others: Vec<usize> = (0..4).filter(|other| *other != index).collect();
    net.apply(&proxy, &[vec![object], net.plain(&others)].concat());
    let second = ask(&mut net);
    assert_ne!(second[0], first[0]);
    net.apply(&proxy, &objects);
    assert_eq!(ask(&mut net), second);
    // A time that is over soon: of many new connections after it, not all are the same.
    let spec = json!({
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 1}},
    });
    net.apply(&proxy, &[vec![web(&spec)], net.plain(&[0, 1, 2, 3])].concat());
    let mut found = std::collections::BTreeSet::new();
    for _ in 0..12 {
        found.insert(net.client.pod(VIP));
        let known = || net.rules().lines().any(|line| line.contains("expires"));
        while known() {
            std::thread::yield_now();
        }
        if found.len() > 1 {
            break;
        }
    }
    assert!(found.len() > 1, "{found:?}");
}

/// [SVC-05] [SVC-06] [SVC-09] [SVC-10]: whatever `services` chooses, and nothing else.
#[test]
fn svc_5_the_endpoints_are_those_that_are_chosen() {
    if !wanted("svc_5") {
        return;
    }
    let mut net = Net::new(3);
    let proxy = net.proxy("nftables", &["--zone", "a"]);
    let leaving = json!({"conditions": {"ready": false, "serving": true, "terminating": true}});
    let unready = json!({"conditions": {"ready": false}});
    let in_zone = |zone: &str| json!({"hints": {"forZones": [{"name": zone}]}});
    let none = json!({});
    let cases = [
        (json!({}), vec![(0, leaving.clone()), (1, leaving.clone()), (2, unready.clone())], "AB"),
        (json!({}), vec![(0, leaving.clone()), (1, leaving), (2, none.clone())], "C"),
        (json!({"publishNotReadyAddresses": true}), vec![(0, none.clone()), (2, unready)], "AC"),
        (json!({}), vec![(0, in_zone("a")), (1, in_zone("b")), (2, in_zone("a"))], "AC"),
        (json!({}), vec![(0, in_zone("a")), (1, in_zone("b")), (2, none)], "ABC"),
    ];
    for (spec, pods, expected) in cases {
        net.apply(&proxy, &[vec![web(&spec)], net.slices(&pods)].concat());
        assert_shared(&net.client.does(&format!("many 60 {VIP}")), expected);
    }
    // [SVC-09]: twice is once.
    let mut twice = net.plain(&[0, 1]);
    let mut again = twice[0].clone();
    again["metadata"]["name"] = json!("web-again");
    twice.push(again);
    net.apply(&proxy, &[vec![web(&json!({}))], twice].concat());
    assert_shared(&net.client.does(&format!("many 200 {VIP}")), "AB");
}

/// [SVC-11]: established TCP stays, UDP has another endpoint at once, and from none to one.
#[test]
fn svc_11_tcp_stays_and_udp_is_pinned_anew() {
    if !wanted("svc_11") {
        return;
    }
    let mut net = Net::new(2);
    let proxy = net.proxy("nftables", &[]);
    let service = web(&json!({}));
    net.apply(&proxy, &[vec![service.clone()], net.plain(&[0])].concat());
    let (id, pod, _) = net.client.open(VIP).unwrap();
    assert_eq!(pod, "A");
    let asks = format!("send one {DNS}");
    assert!(net.client.does(&asks).starts_with("A "));
    net.apply(&proxy, &[vec![service.clone()], net.plain(&[1])].concat());
    net.client.does(&format!("echo {id}"));
    assert_eq!(net.client.pod(VIP), "B");
    assert!(net.client.does(&asks).starts_with("B "), "the same socket");
    // The whole Service leaves: TCP stays.
    net.apply(&proxy, &[]);
    net.client.does(&format!("echo {id}"));
    // What was sent to nobody is not remembered.
    assert!(net.client.ask(&asks).is_err());
    net.apply(&proxy, &[vec![service], net.plain(&[0])].concat());
    assert!(net.client.does(&asks).starts_with("A "), "the same socket");
    net.client.does(&format!("echo {id}"));
}

/// [SVC-11]: a pod leaves its slice first and stops later: neither its connections nor new ones fail.
#[test]
fn svc_11_a_pod_that_leaves_before_it_stops_fails_nobody() {
    if !wanted("svc_11_leave") {
        return;
    }
    for mode in ["nftables", "userspace"] {
        let mut net = Net::new(2);
        // User space has the virtual address on the node.
        if mode == "userspace" {
            net.node.ip("route add local 172.30.0.0/16 dev lo");
        }
        let proxy = net.proxy(mode, &[]);
        let service = web(&json!({}));
        net.apply(&proxy, &[vec![service.clone()], net.plain(&[0, 1])].concat());
        let opened: Vec<_> = (0..20).map(|_| net.client.open(VIP).unwrap()).collect();
        assert!(opened.iter().any(|(_, pod, _)| pod == "A"), "{opened:?}");
        let services = net.write(&[vec![service], net.plain(&[1])].concat());
        // New connections while it leaves.
        let said = net.client.does(&format!("many 50 {VIP}"));
        assert!(!said.is_empty());
        proxy.wait(services);
        for (id, ..) in &opened {
            net.client.does(&format!("echo {id}"));
        }
        drop(net.pods.remove(0));
        assert_eq!(net.client.does(&format!("many 50 {VIP}")), "B=50", "{mode}");
        for (id, pod, _) in &opened {
            if pod == "B" {
                net.client.does(&format!("echo {id}"));
            }
        }
    }
}

/// Both families, SCTP, and the longest names there are.
#[test]
fn the_kernel_takes_every_kind_of_service() {
    if !wanted("every_kind") {
        return;
    }
    let mut net = Net::new(1);
    for arguments in [
        "addr add fd01::1/128 dev lo",
        "addr add fd02::1/64 dev c0 nodad",
        "-6 route add fd00::/64 via fd02::2 dev c0",
    ] {
        net.node.ip(arguments);
    }
    net.on_node.does("tcp [fd01::1]:8080 S");
    let proxy = net.proxy("nftables", &["--service-cidr", "fd00::/64"]);
    let name = "n".repeat(63);
    let object = net::service(
        &name,
        &json!({
            "clusterIP": "172.30.0.1", "clusterIPs": ["172.30.0.1", "fd00::9"],
            "sessionAffinity": "ClientIP",
            "ports": [
                {"name": "http", "port": 80}, {"name": "signal", "port": 81, "protocol": "SCTP"},
            ],
        }),
    );
    let ports = json!([
        {"name": "http", "port": 8080}, {"name": "signal", "port": 8081, "protocol": "SCTP"},
    ]);
    let mut four = net::slice("four", &name, &json!({"addresses": [net.pods[0].address]}));
    let mut six = net::slice("six", &name, &json!({"addresses": ["fd01::1"]}));
    six["addressType"] = json!("IPv6");
    for slice in [&mut four, &mut six] {
        slice["ports"] = ports.clone();
    }
    net.apply(&proxy, &[object, four, six]);
    assert_eq!(net.client.pod(VIP), "A");
    assert_eq!(net.on_node.pod("[fd00::9]:80"), "S");
    assert_eq!(net.on_node.open("[fd00::a]:80").unwrap_err(), "TimedOut");
    let rules = net.rules();
    for rule in [
        "meta l4proto sctp dnat to 10.0.1.2:8081",
        "meta l4proto sctp dnat to [fd01::1]:8081",
        "ip6 daddr @cluster-ips reject",
        "ip6 daddr fd00::/64 drop",
    ] {
        assert!(rules.contains(rule), "{rule} is missing in {rules}");
    }
    proxy.stop();
    assert_eq!(net.rules(), "");
}

/// Somebody flushes everything, or a part: it is right again after the period.
#[test]
fn what_somebody_has_flushed_is_made_right() {
    if !wanted("flushed") {
        return;
    }
    let mut net = Net::new(1);
    let proxy = net.proxy("nftables", &["--sync-period", "1"]);
    net.apply(&proxy, &[vec![web(&json!({}))], net.plain(&[0])].concat());
    for script in ["flush ruleset", "flush chain ip wharf-proxy services"] {
        net.node.run("nft", &[script]);
        proxy.says(&["somebody changed the packet filter"]);
        assert_eq!(net.client.pod(VIP), "A", "{script}");
    }
    let ask = |port: &str| net.node.run("curl", &["-sS", &format!("http://127.0.0.1:{port}")]);
    assert!(ask("10256/healthz").contains("\"nodeEligible\": true"));
    let metrics = ask("10249/metrics");
    assert!(metrics.contains("\nkubeproxy_sync_proxy_rules_last_timestamp_seconds "), "{metrics}");
}

/// The rules go with the process, unless they are to stay; they are right after a crash, and after
/// somebody else was there.
#[test]
fn the_rules_come_and_go_with_the_process() {
    if !wanted("rules_come_and_go") {
        return;
    }
    let mut net = Net::new(1);
    // Another's rules are another's.
    net.node.run("nft", &["add table ip other"]);
    let objects = [vec![web(&json!({}))], net.plain(&[0])].concat();
    let proxy = net.proxy("nftables", &[]);
    net.apply(&proxy, &objects);
    assert_eq!(net.client.pod(VIP), "A");
    proxy.kill();
    assert_eq!(net.client.pod(VIP), "A", "the kernel goes on");
    // While nobody looks: rules, chains and sets more, and some less.
    for script in [
        "add chain ip wharf-proxy stray",
        "add set ip wharf-proxy stray-set { type ipv4_addr; }",
        "add rule ip wharf-proxy services jump stray",
        "add table ip6 wharf-proxy",
        "flush map ip wharf-proxy service-ips",
    ] {
        net.node.run("nft", &[script]);
    }
    let proxy = net.proxy("nftables", &["--keep-rules"]);
    net.apply(&proxy, &objects);
    assert_eq!(net.client.pod(VIP), "A");
    let rules = net.rules();
    assert!(!rules.contains("stray") && !rules.contains("ip6"), "{rules}");
    proxy.stop();
    assert_eq!(net.client.pod(VIP), "A", "they were to be kept");
    let proxy = net.proxy("nftables", &[]);
    net.apply(&proxy, &objects);
    assert_eq!(net.rules().matches("dnat to").count(), 2);
    proxy.stop();
    assert_eq!(net.rules(), "table ip other {\n}\n");
    assert_eq!(net.client.open(VIP).unwrap_err(), "TimedOut", "nobody knows the address");
}
