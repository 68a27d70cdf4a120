//! The load balancer between network namespaces: addresses of clients kept, and silence where it does
//! not listen (spec/l4-dns.md A.1, A.7).

use super::{net::Net, wanted};

/// Targets that are checked often, with attributes for the first group.
fn config(listeners: &str, groups: &str) -> String {
    format!("name: test\nallowFastChecks: true\nlisteners:\n{listeners}targetGroups:\n{groups}")
}

fn listener(port: u16, group: &str) -> String {
    listener_at(&format!("192.0.2.1:{port}"), group)
}

fn listener_at(address: &str, group: &str) -> String {
    format!("- {{ address: \"{address}\", targetGroup: {group}, connectTimeoutSeconds: 0.5 }}\n")
}

fn group(name: &str, preserve: bool, pods: &[u8]) -> String {
    let targets: Vec<_> = pods.iter().map(|pod| format!("10.0.{pod}.2")).collect();
    group_of(name, preserve, &targets)
}

fn group_of(name: &str, preserve: bool, targets: &[String]) -> String {
    let targets: Vec<_> = targets.iter().map(|id| format!("{{ id: \"{id}\" }}")).collect();
    let targets = targets.join(", ");
    format!(
        "- {{ name: {name}, port: 8080, healthCheck: {{ intervalSeconds: 0.05 }}, \
         attributes: {{ preserve_client_ip.enabled: {preserve} }}, targets: [{targets}] }}\n"
    )
}

/// Sends what pods answer to the node itself, whoever it is for.
fn answers_come_back(net: &Net, pods: usize) {
    for pod in 1..=pods {
        net.node.ip(&format!("rule add iif p{pod} lookup 100"));
    }
    net.node.ip("route add local 0.0.0.0/0 dev lo table 100");
}

/// Gives node, client and pods addresses of IPv6 as well, which are used at once, and has answers of pods
/// come back to the node.
fn with_ipv6(net: &mut Net) {
    net.node.ip("-6 addr add 2001:db8::1/64 dev c0 nodad");
    for last in [10, 11] {
        net.outside.ip(&format!("-6 addr add 2001:db8::{last}/64 dev n0 nodad"));
    }
    net.outside.ip("-6 route add default via 2001:db8::1");
    for (number, pod) in net.pods.iter_mut().enumerate().map(|(index, pod)| (index + 1, pod)) {
        net.node.ip(&format!("-6 addr add 2001:db8:{number}::1/64 dev p{number} nodad"));
        net.node.ip(&format!("-6 rule add iif p{number} lookup 100"));
        pod.namespace.ip(&format!("-6 addr add 2001:db8:{number}::2/64 dev n0 nodad"));
        pod.namespace.ip(&format!("-6 route add default via 2001:db8:{number}::1"));
        let letter = if number == 1 { "A" } else { "B" };
        pod.agent.does(&format!("tcp [2001:db8:{number}::2]:8080 {letter}"));
    }
    net.node.ip("-6 route add local ::/0 dev lo table 100");
}

/// What the metrics page says of a listener.
fn metric(net: &Net, name: &str, listener: &str) -> String {
    let page = net.node.run("curl", &["-s", "http://127.0.0.1:9090/metrics"]);
    let start = format!("{name}{{listener=\"{listener}\"");
    let line = page.lines().find(|line| line.starts_with(&start));
    let line = line.unwrap_or_else(|| panic!("no {start} in {page}"));
    line.rsplit(' ').next().unwrap_or_default().to_owned()
}

/// [NLB-17] With the attribute targets see the client, and bytes go both ways; without it they see the
/// load balancer. A target that is sent to itself waits in vain, and is not held to be broken.
#[test]
fn nlb_17_targets_see_the_client_or_the_load_balancer() {
    if !wanted("nlb_17") {
        return;
    }
    let mut net = Net::new(2);
    answers_come_back(&net, 2);
    let listeners = [listener(80, "kept"), listener(81, "hidden"), listener(82, "alone")].concat();
    let groups =
        [group("kept", true, &[1, 2]), group("hidden", false, &[1, 2]), group("alone", true, &[1])];
    let balancer = net.balancer(&config(&listeners, &groups.concat()), &[]);
    for _ in 0..5 {
        balancer.says(&["target changed", "Healthy"]);
    }
    let mut pods = Vec::new();
    for source in ["192.0.2.10", "192.0.2.11", "192.0.2.200"] {
        for _ in 0..4 {
            let (id, pod, seen) = net.client.open_from("192.0.2.1:80", source).unwrap();
            assert_eq!(seen, source);
            net.client.does(&format!("echo {id}"));
            pods.push(pod);
        }
    }
    pods.sort();
    pods.dedup();
    assert_eq!(pods.len(), 2, "both have had some of twelve");
    let (id, pod, seen) = net.client.open("192.0.2.1:81").unwrap();
    net.client.does(&format!("echo {id}"));
    assert_eq!(seen, if pod == "A" { "10.0.1.1" } else { "10.0.2.1" });

    // The other pod is a client like any other.
    let (_, pod, seen) = net.pods[1].agent.open("192.0.2.1:82").unwrap();
    assert_eq!((&*pod, &*seen), ("A", "10.0.2.2"));
    net.pods[0].agent.open("192.0.2.1:82").unwrap_err();
    assert_eq!(metric(&net, "nlb_rejected_flow_count_total", "TCP:82"), "1");
    assert_eq!(metric(&net, "nlb_target_connect_failures_total", "TCP:82"), "0");
    assert_eq!(net.client.pod("192.0.2.1:82"), "A");
    balancer.stop();
}

/// [NLB-17] Over IPv6 it is the same; a client of another family than the target's is seen as the load
/// balancer.
#[test]
fn nlb_17_over_ipv6_targets_see_the_client_too() {
    if !wanted("nlb_17_ipv6") {
        return;
    }
    let mut net = Net::new(2);
    answers_come_back(&net, 2);
    with_ipv6(&mut net);
    let six = |pod: u8| format!("2001:db8:{pod}::2");
    let listeners = [
        listener_at("[2001:db8::1]:80", "kept"),
        listener_at("[2001:db8::1]:81", "hidden"),
        listener_at("[2001:db8::1]:82", "alone"),
        listener_at("[2001:db8::1]:83", "four"),
        listener_at("[::]:84", "kept"),
    ];
    let groups = [
        group_of("kept", true, &[six(1), six(2)]),
        group_of("hidden", false, &[six(1), six(2)]),
        group_of("alone", true, &[six(1)]),
        group("four", true, &[2]),
    ];
    let balancer = net.balancer(&config(&listeners.concat(), &groups.concat()), &[]);
    for _ in 0..6 {
        balancer.says(&["target changed", "Healthy"]);
    }
    for source in ["2001:db8::10", "2001:db8::11"] {
        for _ in 0..4 {
            let (id, _, seen) = net.client.open_from("[2001:db8::1]:80", source).unwrap();
            assert_eq!(seen, source);
            net.client.does(&format!("echo {id}"));
        }
    }
    let (id, pod, seen) = net.client.open("[2001:db8::1]:81").unwrap();
    net.client.does(&format!("echo {id}"));
    assert_eq!(seen, if pod == "A" { "2001:db8:1::1" } else { "2001:db8:2::1" });
    let (_, pod, seen) = net.client.open("[2001:db8::1]:83").unwrap();
    assert_eq!((&*pod, &*seen), ("B", "10.0.2.1"));
    assert_eq!(net.client.open_from("[2001:db8::1]:84", "2001:db8::11").unwrap().2, "2001:db8::11");

    let (_, pod, seen) = net.pods[1].agent.open("[2001:db8::1]:82").unwrap();
    assert_eq!((&*pod, &*seen), ("A", "2001:db8:2::2"));
    net.pods[0].agent.open("[2001:db8::1]:82").unwrap_err();
    assert_eq!(metric(&net, "nlb_rejected_flow_count_total", "TCP:82"), "1");
    assert_eq!(metric(&net, "nlb_target_connect_failures_total", "TCP:82"), "0");
    balancer.stop();
}

/// [NLB-18] A port without a listener gives no answer, of TCP and of UDP, and a ping neither; ports with
/// one, of this process too, do. The rules follow the listeners, are made anew after a kill, and are gone
/// after an end.
#[test]
fn nlb_18_ports_without_a_listener_are_silent() {
    if !wanted("nlb_18") {
        return;
    }
    let mut net = Net::new(1);
    let text = |port| config(&listener(port, "web"), &group("web", false, &[1]));
    let plain = net.balancer(&text(80), &[]);
    plain.says(&["target changed", "Healthy"]);
    assert_eq!(net.client.open("192.0.2.1:81").unwrap_err(), "ConnectionRefused");
    plain.stop();

    let arguments = ["--drop-unmatched", "--api", "192.0.2.1:9090"];
    // Before the first check, all targets are used.
    let balancer = net.balancer(&text(80), &arguments);
    balancer.says(&["are silent"]);
    assert_eq!(net.client.open("192.0.2.1:81").unwrap_err(), "TimedOut");
    assert_eq!(net.client.ask("send dns 192.0.2.1:53").unwrap_err(), "WouldBlock");
    assert_eq!(net.client.pod("192.0.2.1:80"), "A");
    let page = "curl -s -o /dev/null -w %{http_code} http://192.0.2.1:9090/metrics";
    assert_eq!(net.outside.run("sh", &["-c", page]), "200");
    let ping = "ping -c 1 -W 1 192.0.2.1 > /dev/null; echo $?";
    assert_eq!(net.outside.run("sh", &["-c", ping]).trim(), "1");
    // What this machine asks is answered, and its loopback is as before.
    assert_eq!(net.on_node.pod("10.0.1.2:8080"), "A");
    assert_eq!(net.on_node.open("127.0.0.1:81").unwrap_err(), "ConnectionRefused");

    // Another port, and after a kill another one.
    balancer.kill();
    assert!(net.rules().contains("wharf_nlb"));
    let balancer = net.balancer(&text(82), &arguments);
    balancer.says(&["are silent"]);
    assert_eq!(net.client.open("192.0.2.1:80").unwrap_err(), "TimedOut");
    assert_eq!(net.client.pod("192.0.2.1:82"), "A");
    net.rewrite_balancer(&text(83));
    balancer.says(&["are silent"]);
    assert_eq!(net.client.open("192.0.2.1:82").unwrap_err(), "TimedOut");
    assert_eq!(net.client.pod("192.0.2.1:83"), "A");
    balancer.stop();
    assert!(!net.rules().contains("wharf_nlb"), "{}", net.rules());
    assert_eq!(net.client.open("192.0.2.1:81").unwrap_err(), "ConnectionRefused");
}
