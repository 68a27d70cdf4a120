//! What a configuration file may say, and where an error in it is reported.

use super::*;
use crate::health::OnUnhealthy;
use crate::nlb::names::{ClientRouting, NamesConfig};

const FULL: &str = r#"
name: openshift
zones: [a, b]
attributes:
  load_balancing.cross_zone.enabled: "true"
listeners:
  - port: 443
    protocol: TCP
    targetGroup: https
    attributes: { tcp.idle_timeout.seconds: 60 }
  - name: node-a
    address: 127.0.0.1:8080
    zone: a
    targetGroup: https
    connectTimeoutSeconds: 1.5
    maxFlows: 10
    maxExpiredFlows: 0
    sourceRanges: [10.0.0.0/8, 192.0.2.7]
targetGroups:
  - name: https
    protocol: TCP
    port: 8443
    targetType: ip
    healthCheck:
      protocol: HTTP
      port: 1936
      path: /healthz/ready
      intervalSeconds: 5
      timeoutSeconds: 2
      healthyThresholdCount: 2
      unhealthyThresholdCount: 3
      matcher: "200"
      sendProxyHeader: always
    attributes:
      proxy_protocol_v2.enabled: true
      preserve_client_ip.enabled: false
      stickiness.enabled: true
      stickiness.type: source_ip
      load_balancing.cross_zone.enabled: "false"
      deregistration_delay.timeout_seconds: 3600
      deregistration_delay.connection_termination.enabled: true
      target_health_state.unhealthy.connection_termination.enabled: false
      target_health_state.unhealthy.draining_interval_seconds: 30
      target_group_health.unhealthy_state_routing.minimum_healthy_targets.count: 2
      target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage: 50
    targets:
      - { id: 10.0.0.11, availabilityZone: a }
      - { id: "::1", port: 9443, availabilityZone: b, healthCheckPort: 1937 }
"#;

#[test]
fn every_field_is_read() {
    let group = GroupConfig {
        protocol: Protocol::Tcp,
        target_type: TargetType::Ip,
        name: "https".into(),
        check: CheckConfig {
            protocol: CheckProtocol::Http {
                path: "/healthz/ready".into(),
                matcher: "200".parse().unwrap(),
            },
            port: Some(1936),
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            enabled: true,
            checkers: 1,
            rules: Rules {
                healthy_threshold: 2,
                unhealthy_threshold: 3,
                on_unhealthy: OnUnhealthy::Drain,
            },
            send_proxy_header: SendProxyHeader::Always,
        },
        proxy_protocol: true,
        preserve_client: false,
        sticky: true,
        cross_zone: false,
        deregistration_delay: Duration::from_secs(3600),
        deregistration_termination: true,
        unhealthy_draining: Duration::from_secs(30),
        minimum: Minimum { count: Some(2), percent: Some(50) },
        dns_minimum: Minimum { count: Some(2), percent: None },
        propagation_delay: Duration::ZERO,
        shifted: None,
        targets: vec![
            TargetConfig {
                address: "10.0.0.11:8443".parse().unwrap(),
                zone: Some("a".into()),
                check_port: None,
            },
            TargetConfig {
                address: "[::1]:9443".parse().unwrap(),
                zone: Some("b".into()),
                check_port: Some(1937),
            },
        ],
    };
    let expected = NlbConfig {
        name: "openshift".into(),
        zones: vec!["a".into(), "b".into()],
        names: NamesConfig::default(),
        listeners: vec![
            ListenerConfig {
                name: "TCP:443".into(),
                address: "0.0.0.0:443".parse().unwrap(),
                zone: None,
                forward: vec![Weighted { group: "https".into(), weight: 1 }],
                protocol: Protocol::Tcp,
                idle_timeout: Duration::from_secs(60),
                udp_idle_timeout: DEFAULT_UDP_IDLE_TIMEOUT,
                connect_timeout: DEFAULT_CONNECT_TIMEOUT,
                max_flows: DEFAULT_MAX_FLOWS,
                max_expired_flows: DEFAULT_MAX_EXPIRED_FLOWS,
                source_ranges: Vec::new(),
                tls: None,
            },
            ListenerConfig {
                name: "node-a".into(),
                address: "127.0.0.1:8080".parse().unwrap(),
                zone: Some("a".into()),
                forward: vec![Weighted { group: "https".into(), weight: 1 }],
                protocol: Protocol::Tcp,
                idle_timeout: DEFAULT_IDLE_TIMEOUT,
                udp_idle_timeout: DEFAULT_UDP_IDLE_TIMEOUT,
                connect_timeout: Duration::from_millis(1500),
                max_flows: 10,
                max_expired_flows: 0,
                source_ranges: vec!["10.0.0.0/8".parse().unwrap(), "192.0.2.7/32".parse().unwrap()],
                tls: None,
            },
        ],
        groups: vec![group],
        shifted: None,
        access_log: None,
    };
    assert_eq!(parse(FULL).unwrap(), expected);
}

const SMALL: &str = "\
name: small
listeners: [{ port: 80, targetGroup: web }]
targetGroups: [{ name: web, port: 8080, targets: [{ id: 10.0.0.1 }] }]
";

/// A.5 and A.6b.
#[test]
fn defaults_are_those_of_aws() {
    let config = parse(SMALL).unwrap();
    let group = &config.groups[0];
    let check = &group.check;
    assert_eq!(check.protocol, CheckProtocol::Tcp);
    assert_eq!(
        (check.interval, check.timeout, check.port),
        (Duration::from_secs(30), Duration::from_secs(10), None)
    );
    assert_eq!(
        check.rules,
        Rules { healthy_threshold: 5, unhealthy_threshold: 2, on_unhealthy: OnUnhealthy::Reset }
    );
    assert_eq!(config.listeners[0].idle_timeout, Duration::from_secs(350));
    assert_eq!(group.deregistration_delay, Duration::from_secs(300));
    assert_eq!(group.minimum, Minimum::default());
    assert!(!group.proxy_protocol && !group.sticky && !group.cross_zone);
    assert!(!group.deregistration_termination);
    let http = parse(&SMALL.replace("port: 8080,", "port: 8080, healthCheck: { protocol: HTTP },"));
    let check = http.unwrap().groups.remove(0).check;
    assert_eq!(check.timeout, Duration::from_secs(6), "A.5: 6 s with HTTP");
    assert_eq!(
        check.protocol,
        CheckProtocol::Http { path: "/".into(), matcher: "200-399".parse().unwrap() }
    );
}

/// A.7: by default only checks of the traffic port carry the header.
#[test]
fn the_header_on_checks_follows_the_port_and_the_setting() {
    let mut group = parse(FULL).unwrap().groups.remove(0);
    let target = group.targets[0].clone();
    let at = |group: &GroupConfig| group.check_has_proxy_header(&target);
    assert!(at(&group), "always");
    group.check.send_proxy_header = SendProxyHeader::TrafficPortOnly;
    assert!(!at(&group), "the check goes to 1936");
    group.check.port = None;
    assert!(at(&group));
    group.check.send_proxy_header = SendProxyHeader::Never;
    assert!(!at(&group));
    group.check.send_proxy_header = SendProxyHeader::Always;
    group.proxy_protocol = false;
    assert!(!at(&group));
}

/// Replaces `from` in [`SMALL`] and returns the error.
fn error(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    match parse(&SMALL.replace(from, to)) {
        Ok(config) => panic!("accepted: {config:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn errors_name_place_and_cause() {
    for (from, to, expected) in [
        ("port: 80,", "port: 0,", "2:21: `port` must be a port from 1 to 65535"),
        ("port: 80,", "", "2:13: a listener has either `port` or `address`"),
        ("targetGroup: web", "targetGroup: wbe", "2:38: there is no target group `wbe`"),
        (
            "port: 80,",
            "port: 80, zone: c,",
            "2:31: zone `c` is not among the zones of the load balancer",
        ),
        (
            "port: 80,",
            "port: 80, attributes: { tcp.idle_timeout.seconds: 59 },",
            "2:65: `tcp.idle_timeout.seconds` must be a number from 60 to 6000",
        ),
        (
            "port: 8080,",
            "port: 8080, attributes: { slow_start.duration_seconds: 1 },",
            "3:84: attribute `slow_start.duration_seconds` is unknown or not supported",
        ),
        (
            "port: 8080,",
            "port: 8080, attributes: { preserve_client_ip.enabled: maybe },",
            "3:83: `preserve_client_ip.enabled` must be true or false",
        ),
        (
            "port: 8080,",
            "port: 8080, healthCheck: { intervalSeconds: 1 },",
            "3:73: `intervalSeconds` must be a number of seconds from 5 to 300",
        ),
        (
            "port: 8080,",
            "port: 8080, healthCheck: { path: / },",
            "3:62: `path` must be left out with protocol TCP",
        ),
        (
            "[{ id: 10.0.0.1 }]",
            "[{ id: ::1 }, { id: ::1 }]",
            "3:64: target [::1]:8080 is used twice",
        ),
    ] {
        assert_eq!(error(from, to), expected);
    }
    for (from, to, place) in [
        ("name: small", "nmae: small", "1:1: unknown field"),
        ("port: 80,", "port: 80, protocol: UDP,", "2:53: "),
        ("name: small", "name: [", "1:7: "),
    ] {
        let text = error(from, to);
        assert!(text.starts_with(place) && !text.contains(" at line "), "{text}");
    }
}

#[test]
fn fast_checks_must_be_asked_for() {
    let fast = SMALL
        .replace(
            "port: 8080,",
            "port: 8080, healthCheck: { intervalSeconds: 0.1, timeoutSeconds: 0.05 },",
        )
        .replace("name: small", "name: small\nallowFastChecks: true");
    let check = parse(&fast).unwrap().groups.remove(0).check;
    assert_eq!(
        (check.interval, check.timeout),
        (Duration::from_millis(100), Duration::from_millis(50))
    );
}

#[test]
fn quotas_are_those_of_aws() {
    let listeners: String =
        (1..=51).map(|port| format!("{{ port: {port}, targetGroup: web }}, ")).collect();
    let text = error("{ port: 80, targetGroup: web }", &listeners);
    assert!(text.ends_with("more than 50 listeners"), "{text}");
    let targets: String =
        (0..=1000).map(|n| format!("{{ id: 10.0.{}.{} }}, ", n / 250, n % 250)).collect();
    let text = error("{ id: 10.0.0.1 }", &targets);
    assert!(text.ends_with("more than 1000 targets"), "{text}");
}

#[test]
fn files_are_named_in_errors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nlb.yaml");
    assert!(matches!(read_text(&path), Err(LoadError::Read { .. })));
    std::fs::write(&path, SMALL).unwrap();
    let text = read_text(&path).unwrap();
    assert_eq!(parse_file(&path, &text).unwrap(), parse(SMALL).unwrap());
    let error = parse_file(&path, &text.replace("port: 80,", "port: 0,")).unwrap_err();
    let expected = format!("{}:2:21: `port` must be a port from 1 to 65535", path.display());
    assert_eq!(error.to_string(), expected);
}

/// A.2: a zone may have the address of its node; all or none have one, each its own.
#[test]
fn zones_may_have_addresses() {
    let text = |zones: &str| {
        format!(
            "name: x\nzones: {zones}\nregion: eu-west-1\naliases: ['*.Apps.example.com']\n\
             listeners: [{{ port: 443, targetGroup: g }}]\ntargetGroups: [{{ name: g, port: 1 }}]\n"
        )
    };
    let config = parse(&text("[{ name: a, address: 127.0.1.1 }, { name: b, address: '::1' }]"));
    let config = config.unwrap();
    assert_eq!(config.zones[0].address, Some([127, 0, 1, 1].into()));
    assert_eq!(
        (&*config.names.region, &*config.names.aliases[0]),
        ("eu-west-1", "*.apps.example.com")
    );
    for (zones, expected) in [
        (
            "[{ name: a, address: 127.0.1.1 }, b]",
            "`zones` must be with an address each, or all without",
        ),
        (
            "[{ name: a, address: 127.0.1.1 }, { name: b, address: 127.0.1.1 }]",
            "address 127.0.1.1 is used twice",
        ),
        ("[a, a]", "zone `a` is used twice"),
    ] {
        let error = parse(&text(zones)).unwrap_err();
        assert_eq!((error.line, error.problem.to_string()), (2, expected.to_owned()));
    }
}

/// A.6b: the limits for DNS are at least those for routing; a count that is left out follows.
#[test]
fn limits_for_dns_are_at_least_those_for_routing() {
    let group = |dns: &str| {
        let prefix = "target_group_health";
        parse(&format!(
            "name: x\nlisteners: [{{ port: 443, targetGroup: g }}]\ntargetGroups:\n- name: g\n  port: 1\n  \
             attributes:\n    {prefix}.unhealthy_state_routing.minimum_healthy_targets.count: 3\n    \
             {prefix}.unhealthy_state_routing.minimum_healthy_targets.percentage: 40\n{dns}"
        ))
        .map(|config| config.groups[0].dns_minimum)
    };
    let dns = |key: &str, value: &str| {
        group(&format!(
            "    target_group_health.dns_failover.minimum_healthy_targets.{key}: {value}\n"
        ))
    };
    assert_eq!(group("").unwrap(), Minimum { count: Some(3), percent: None });
    assert_eq!(dns("count", "\"off\"").unwrap(), Minimum { count: None, percent: None });
    assert_eq!(dns("count", "4").unwrap(), Minimum { count: Some(4), percent: None });
    assert_eq!(dns("percentage", "40").unwrap(), Minimum { count: Some(3), percent: Some(40) });
    for (key, value) in
        [("count", "2"), ("percentage", "39"), ("percentage", "101"), ("count", "0")]
    {
        assert!(
            matches!(dns(key, value).unwrap_err().problem, Problem::Value { .. }),
            "{key} {value}"
        );
    }
}

/// A.1: which protocol of a listener goes with which of a group; every pair.
#[test]
fn listeners_forward_to_groups_of_fitting_protocols() {
    use Protocol::{Tcp, TcpUdp, Tls, Udp};
    let all = [Tcp, Tls, Udp, TcpUdp];
    let fits = [(Tcp, vec![Tcp, TcpUdp]), (Tls, vec![Tcp, Tls]), (Udp, vec![Udp, TcpUdp])];
    for (listener, groups) in fits.into_iter().chain([(TcpUdp, vec![TcpUdp])]) {
        for group in all {
            let expected = groups.contains(&group);
            assert_eq!(listener.may_forward_to(group), expected, "{listener:?} {group:?}");
        }
    }
}

/// [NLB-06] A.1, A.4, A.6b: listeners and groups of datagrams, with their own defaults.
#[test]
fn nlb_06_datagrams_have_limits_of_their_own() {
    let read = |protocol: &str, listener: &str, attributes: &str| {
        let config = parse(&format!(
            "name: a
listeners: [{{ port: 53, protocol: {protocol}, targetGroup: dns, {listener} }}]
targetGroups: [{{ name: dns, protocol: {protocol}, port: 53, attributes: {{ {attributes} }} }}]
"
        ));
        config.map_err(|error| error.to_string())
    };
    for protocol in ["UDP", "TCP_UDP"] {
        let config = read(protocol, "", "").unwrap();
        let (listener, group) = (&config.listeners[0], &config.groups[0]);
        assert_eq!(listener.udp_idle_timeout, Duration::from_secs(120));
        assert_eq!(listener.protocol.has_tcp(), protocol == "TCP_UDP");
        assert!(listener.protocol.has_udp() && group.deregistration_termination);
        assert_eq!(group.check.protocol, CheckProtocol::Tcp);
        let kept = "deregistration_delay.connection_termination.enabled: \"false\"";
        let config = read(protocol, "udpIdleTimeoutSeconds: 0.5", kept).unwrap();
        assert_eq!(config.listeners[0].udp_idle_timeout, Duration::from_millis(500));
        assert!(!config.groups[0].deregistration_termination);
    }
    let tcp_idle = "attributes: { tcp.idle_timeout.seconds: \"60\" }";
    read("TCP_UDP", tcp_idle, "").unwrap();
    assert!(read("UDP", tcp_idle, "").unwrap_err().contains("left out with protocol UDP"));
    let preserve = "preserve_client_ip.enabled: \"true\"";
    assert!(read("TCP_UDP", "", preserve).unwrap_err().contains("false with protocol TCP_UDP"));
    let header = "proxy_protocol_v2.enabled: \"true\"";
    read("TCP_UDP", "", header).unwrap();
    assert!(read("UDP", "", header).unwrap_err().contains("false with protocol UDP"));
}

/// What has no effect, and names that would make no DNS name, are refused with their place.
#[test]
fn what_is_not_served_is_refused() {
    let wrong = |from: &str, to: &str| {
        assert!(SMALL.contains(from));
        let error = parse(&SMALL.replace(from, to)).unwrap_err();
        assert!(error.line > 0, "{to}");
        error.problem.to_string()
    };
    let port = "port: 80,";
    assert_eq!(wrong(port, "port: 80, name: web@a,"), "`name` must be without an `@`");
    let idle = "`udpIdleTimeoutSeconds` must be left out with protocol TCP";
    assert_eq!(wrong(port, "port: 80, udpIdleTimeoutSeconds: 5,"), idle);
    let name = "`name` must be 1 to 32 letters, digits and inner hyphens";
    for bad in ["name: a.b", "name: -a", "name: a_b", &format!("name: {}", "a".repeat(33))] {
        assert_eq!(wrong("name: small", bad), name, "{bad}");
    }
}

/// A.2: a listener of all nodes has their addresses at its port; another address is free, and so is
/// another port.
#[test]
fn a_listener_at_the_address_of_a_node_collides_with_one_of_all_nodes() {
    let read = |first: &str, second: &str| {
        parse(&format!(
            "name: a
zones: [{{ name: a, address: 127.0.1.1 }}, {{ name: b, address: 127.0.1.2 }}]
listeners:
  - {{ name: one, {first}, targetGroup: web }}
  - {{ name: two, {second}, targetGroup: web }}
targetGroups: [{{ name: web, port: 1 }}]
"
        ))
    };
    let (spread, node) = ("port: 8080", "address: 127.0.1.2:8080");
    for (first, second) in [(spread, node), (node, spread)] {
        let error = read(first, second).unwrap_err();
        assert_eq!(error.to_string(), "5:5: listener `two` is used twice");
    }
    for free in ["address: 127.0.1.3:8080", "address: 127.0.1.2:8081", "port: 8081"] {
        assert_eq!(read(spread, free).unwrap().listeners.len(), 2, "{free}");
    }
}

const SHIFT: &str = "name: a
zones: [a, b]
attributes: { zonal_shift.config.enabled: \"true\" }
zonalShift: { awayFrom: b }
healthCheckers: each-zone
propagationDelaySeconds: 60
listeners: []
targetGroups: [{ name: web, port: 80 }]
";

/// A.2, A.5, A.14: a shift, who checks, and how late changes arrive; one and at once by default.
#[test]
fn what_is_done_zone_by_zone_is_read() {
    let config = parse(SHIFT).unwrap();
    let group = &config.groups[0];
    assert_eq!((config.shifted.as_deref(), group.shifted.as_deref()), (Some("b"), Some("b")));
    assert_eq!((group.check.checkers, group.propagation_delay), (2, Duration::from_secs(60)));
    let quiet = parse("{name: a, listeners: [], targetGroups: [{name: web, port: 80}]}").unwrap();
    let group = &quiet.groups[0];
    assert_eq!((quiet.shifted, group.check.checkers), (None, 1));
    assert_eq!(group.propagation_delay, Duration::ZERO);
}

/// A.2: shifts of zones that are not there, of load balancers that take none, and what AWS refuses with
/// cross-zone load balancing.
#[test]
fn shifts_that_cannot_be_are_refused() {
    let said = |from: &str, to: &str| {
        assert!(SHIFT.contains(from), "{from}");
        parse(&SHIFT.replace(from, to)).unwrap_err().to_string()
    };
    assert!(said("awayFrom: b", "awayFrom: c").contains("zone `c` is not among"));
    let disabled = said("shift.config.enabled: \"true\"", "shift.config.enabled: \"false\"");
    assert!(disabled.starts_with("4:") && disabled.contains("zonal_shift.config.enabled"));
    assert!(said("Seconds: 60", "Seconds: 601").contains("from 0 to 600"), "{SHIFT}");
    let on = "zonal_shift.config.enabled: \"true\", load_balancing.cross_zone.enabled: \"true\"";
    let crossing = SHIFT.replace("zonal_shift.config.enabled: \"true\"", on);
    let with = |attributes: &str| {
        parse(&crossing.replace("port: 80", &format!("port: 80, attributes: {{ {attributes} }}")))
    };
    let keep = "target_health_state.unhealthy.connection_termination.enabled: \"false\"";
    let error = with("").unwrap_err().to_string();
    assert!(error.contains("connection_termination.enabled"), "{error}");
    let off = format!("{keep}, load_balancing.cross_zone.enabled: \"false\"");
    let error = with(&off).unwrap_err().to_string();
    assert!(error.contains("`load_balancing.cross_zone.enabled"), "{error}");
    assert!(with(keep).is_ok());
}

/// A.2: where clients are, and the policy that needs to know it; a network is of one zone.
#[test]
fn zones_have_clients() {
    let text = "name: a
zones:
- { name: a, address: 127.0.1.1, clients: [10.0.0.0/8, 192.0.2.1] }
- { name: b, address: 127.0.1.2, clients: [10.1.0.0/16] }
attributes: { dns_record.client_routing_policy: partial_availability_zone_affinity }
listeners: []
targetGroups: []
";
    let names = parse(text).unwrap().names;
    assert_eq!(names.routing, ClientRouting::Partial);
    let clients: Vec<_> =
        names.clients.iter().map(|(network, zone)| format!("{network} {zone}")).collect();
    assert_eq!(clients, ["192.0.2.1/32 a", "10.1.0.0/16 b", "10.0.0.0/8 a"], "the narrowest first");
    let said = |from: &str, to: &str| parse(&text.replace(from, to)).unwrap_err().to_string();
    assert!(said("10.1.0.0/16", "10.0.0.0/8").starts_with("4:3: network 10.0.0.0/8"));
    assert!(said("10.1.0.0/16", "10.1.0").starts_with("4:3: `clients` must be"));
    assert!(said("partial_", "half_").contains("availability_zone_affinity"));
}
