//! The load balancer between network namespaces: addresses of clients kept, and silence where it does
//! not listen (spec/l4-dns.md A.1, A.7).

use super::{net::Net, wanted};

/// Targets that are checked often, with attributes for the first group.
fn config(listeners: &str, groups: &str) -> String {
    format!("name: test\nallowFastChecks: true\nlisteners:\n{listeners}targetGroups:\n{groups}")
}

fn listener(port: u16, group: &str) -> String {
    format!("- {{ address: 192.0.2.1:{port}, targetGroup: {group}, connectTimeoutSeconds: 0.5 }}\n")
}

fn group(name: &str, preserve: bool, pods: &[u8]) -> String {
    let targets: Vec<_> = pods.iter().map(|pod| format!("{{ id: 10.0.{pod}.2 }}")).collect();
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
