//! Services as they stand in manifests, and the load balancers that the controllers would make of
//! them (spec/l4-dns.md A.14; names of tests after those of the cluster ingress operator).

use std::time::Duration;

use super::*;
use crate::{
    nlb::config::{CheckProtocol, GroupConfig, Realism, TargetType},
    probe::Matcher,
    source::document::{self, Outcome},
};

const SPEC: &str = "  externalTrafficPolicy: Local
  healthCheckNodePort: 32000
  ports:
    - { name: http, port: 80, targetPort: http, nodePort: 30080 }
    - { name: https, port: 443, targetPort: https, nodePort: 30443 }
";

const SLICE: &str = "
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: router-default-1
  namespace: openshift-ingress
  labels: { kubernetes.io/service-name: router-default }
addressType: IPv4
ports: [{ name: http, port: 8080 }, { name: https, port: 8443 }]
endpoints:
  - { addresses: [10.0.0.11], zone: a, conditions: { ready: false } }
  - { addresses: [10.0.0.12], zone: b }
  - { addresses: [10.0.0.13], conditions: { ready: false, terminating: true } }
";

const NODES: &str = "
---
apiVersion: v1
kind: Node
metadata: { name: one, labels: { topology.kubernetes.io/zone: a, role: router } }
status: { addresses: [{ type: Hostname, address: one }, { type: InternalIP, address: 10.1.0.1 }] }
---
apiVersion: v1
kind: Node
metadata: { name: two, labels: { topology.kubernetes.io/zone: b } }
status: { addresses: [{ type: InternalIP, address: 10.1.0.2 }] }
---
apiVersion: v1
kind: Node
metadata: { name: three, labels: { node.kubernetes.io/exclude-from-external-load-balancers: \"\" } }
status: { addresses: [{ type: InternalIP, address: 10.1.0.3 }] }
";

fn objects(text: &str) -> Objects {
    let content = document::read("svc.yaml", text, "");
    let errors: Vec<_> = content.findings.iter().map(ToString::to_string).collect();
    assert_eq!(errors, [""; 0]);
    let mut objects = Objects::default();
    for outcome in content.outcomes {
        match outcome {
            Outcome::Valid(object) => object.add_to(&mut objects),
            Outcome::Invalid(id) => panic!("{id:?}"),
        }
    }
    objects
}

/// A Service with these annotations (suffix and value) and this rest of its `spec`.
fn service(annotations: &[(&str, &str)], spec: &str) -> String {
    let mut text = "\
apiVersion: v1
kind: Service
metadata:
  name: router-default
  namespace: openshift-ingress
  annotations:
    traffic-policy.network.alpha.openshift.io/local-with-fallback: \"\"
"
    .to_owned();
    for (suffix, value) in annotations {
        text.extend(["    ", annotations::PREFIX, suffix, ": \"", value, "\"\n"]);
    }
    text + "spec:\n  type: LoadBalancer\n" + spec
}

fn compiled(text: &str, options: &Options) -> (Option<NlbConfig>, Vec<String>) {
    let mut all = balancers(&objects(text), options);
    assert!(all.wanted.len() <= 1);
    let findings = all.findings.iter().map(ToString::to_string).collect();
    (all.wanted.pop().and_then(|wanted| wanted.config), findings)
}

/// The configuration of a Service about which there is nothing to say.
fn quiet(annotations: &[(&str, &str)], spec: &str) -> NlbConfig {
    let (config, findings) = compiled(&service(annotations, spec), &Options::default());
    assert_eq!(findings, [""; 0]);
    config.unwrap()
}

/// Protocol and path, port, interval, time-out, thresholds.
type Shown = (Option<(String, Matcher)>, Option<u16>, u64, u64, u32, u32);

fn check(group: &GroupConfig) -> Shown {
    let check = &group.check;
    let http = match &check.protocol {
        CheckProtocol::Http { path, matcher } | CheckProtocol::Https { path, matcher } => {
            Some((path.to_string(), matcher.clone()))
        },
        CheckProtocol::Tcp => None,
    };
    let rules = &check.rules;
    let (healthy, unhealthy) = (rules.healthy_threshold, rules.unhealthy_threshold);
    (http, check.port, check.interval.as_secs(), check.timeout.as_secs(), healthy, unhealthy)
}

fn http(path: &str) -> Option<(String, Matcher)> {
    Some((path.to_owned(), Matcher::default()))
}

/// What the ingress operator writes for an NLB, without the protocol parameter.
const OPENSHIFT: [(&str, &str); 5] = [
    ("type", "nlb"),
    ("healthcheck-interval", "10"),
    ("healthcheck-timeout", "4"),
    ("healthcheck-healthy-threshold", "2"),
    ("healthcheck-unhealthy-threshold", "2"),
];

fn openshift(attributes: &'static str) -> Vec<(&'static str, &'static str)> {
    OPENSHIFT.into_iter().chain([("target-group-attributes", attributes)]).collect()
}

/// [NLB-24] Test_desiredLoadBalancerService, NLB with PROXY: two TCP listeners, HTTP checks on
/// healthCheckNodePort with AWS's own time-out, not the 4 s of the annotation.
#[test]
fn nlb_24_desired_load_balancer_service_proxy() {
    let attributes = "preserve_client_ip.enabled=false,proxy_protocol_v2.enabled=true";
    let config = quiet(&openshift(attributes), &(SPEC.to_owned() + SLICE));
    let ports: Vec<_> = config.listeners.iter().map(|listener| listener.address).collect();
    assert_eq!(ports, ["0.0.0.0:80".parse().unwrap(), "0.0.0.0:443".parse().unwrap()]);
    let names: Vec<_> = config.listeners.iter().map(|listener| &*listener.name).collect();
    let name = "openshift-ingress/router-default/TCP";
    assert_eq!(names, [format!("{name}:80"), format!("{name}:443")]);
    for (group, port) in config.groups.iter().zip([8080, 8443]) {
        assert_eq!(check(group), (http("/healthz"), Some(32000), 10, 6, 2, 2));
        assert!(group.proxy_protocol && !group.cross_zone);
        assert_eq!((group.protocol, group.target_type), (Protocol::Tcp, TargetType::Ip));
        let targets: Vec<_> = group
            .targets
            .iter()
            .map(|target| (target.address.to_string(), target.zone.as_deref()))
            .collect();
        let at = |host: u8| format!("10.0.0.{host}:{port}");
        assert_eq!(targets, [(at(11), Some("a")), (at(12), Some("b"))], "ready or not");
        assert_eq!(group.deregistration_delay, Duration::from_secs(300));
    }
}

/// [NLB-24] The same with the parameter TCP, and without one: no PROXY header.
#[test]
fn nlb_24_desired_load_balancer_service_tcp() {
    let attributes = "preserve_client_ip.enabled=true,proxy_protocol_v2.enabled=false";
    let (config, _) = compiled(&service(&openshift(attributes), SPEC), &Options::default());
    assert!(config.unwrap().groups.iter().all(|group| !group.proxy_protocol));
    let config = quiet(&OPENSHIFT, SPEC);
    assert!(config.groups.iter().all(|group| !group.proxy_protocol));
}

/// Test_desiredLoadBalancerService, Classic: no NLB is made of it.
#[test]
fn a_classic_load_balancer_is_none() {
    let classic = [("proxy-protocol", "*"), ("healthcheck-interval", "5")];
    assert!(balancers(&objects(&service(&classic, SPEC)), &Options::default()).wanted.is_empty());
    let (none, findings) = compiled(&service(&[("type", "clb")], SPEC), &Options::default());
    assert!(
        none.is_none() && findings[0].starts_with("svc.yaml:8:5: warning[WH2150]"),
        "{findings:?}"
    );
    let spec = SPEC.to_owned() + "  loadBalancerClass: example.com/other\n";
    let other = service(&[("type", "nlb")], &spec);
    assert!(balancers(&objects(&other), &Options::default()).wanted.is_empty());
}

/// A.14: what the cloud provider writes by policy, and what the annotations change.
#[test]
fn checks_of_the_cloud_provider() {
    let cluster = SPEC.replace("Local", "Cluster");
    let nlb = ("type", "nlb");
    let of = |annotations: &[(&str, &str)], spec: &str| {
        check(&quiet(&[&[nlb], annotations].concat(), spec).groups[0])
    };
    assert_eq!(of(&[], &cluster), (None, None, 30, 10, 3, 3));
    assert_eq!(of(&[], SPEC), (http("/healthz"), Some(32000), 10, 6, 2, 2));
    let all = [
        ("healthcheck-protocol", "http"),
        ("healthcheck-port", "1936"),
        ("healthcheck-path", "/healthz/ready"),
        ("healthcheck-interval", "5"),
        ("healthcheck-timeout", "4"),
        ("healthcheck-healthy-threshold", "4"),
        ("healthcheck-unhealthy-threshold", "5"),
    ];
    assert_eq!(of(&all, &cluster), (http("/healthz/ready"), Some(1936), 5, 6, 4, 5));
    assert_eq!(of(&[("healthcheck-protocol", "HTTP")], &cluster), (http("/"), None, 30, 6, 3, 3));
    let tcp = [("healthcheck-protocol", "tcp"), ("healthcheck-path", "/x")];
    assert_eq!(of(&tcp, SPEC), (None, Some(32000), 10, 10, 2, 2));
}

/// A.14: ServiceLoadBalancerHealthProbeMode=Shared.
#[test]
fn shared_probes_of_the_cloud_provider() {
    let options = Options { shared_probe: true, ..Options::default() };
    let given = [("type", "nlb"), ("healthcheck-port", "1"), ("healthcheck-protocol", "tcp")];
    let cluster = service(&given, &SPEC.replace("Local", "Cluster"));
    let (config, _) = compiled(&cluster, &options);
    let expected = (http("/healthz"), Some(10256), 30, 6, 3, 3);
    assert_eq!(check(&config.unwrap().groups[0]), expected);
    let (config, _) = compiled(&service(&given[..1], SPEC), &options);
    assert_eq!(check(&config.unwrap().groups[0]).1, Some(32000), "Local has a port of its own");
}

/// A.14: defaults of the AWS Load Balancer Controller by target type and policy.
#[test]
fn checks_of_the_load_balancer_controller() {
    let of = |annotations: &[(&str, &str)], spec: &str| check(&quiet(annotations, spec).groups[0]);
    let external = ("type", "external");
    let with_nodes = SPEC.to_owned() + NODES;
    let instance = (http("/healthz"), Some(32000), 10, 6, 2, 2);
    assert_eq!(of(&[external], &with_nodes), instance);
    let ip = (None, None, 10, 10, 3, 3);
    assert_eq!(of(&[external, ("nlb-target-type", "ip")], &with_nodes), ip);
    assert_eq!(of(&[("type", "nlb-ip")], &with_nodes), ip);
    let class = SPEC.to_owned() + "  loadBalancerClass: service.k8s.aws/nlb\n";
    assert_eq!(of(&[], &class), ip, "the class alone");
    let all = [
        ("type", "nlb-ip"),
        ("healthcheck-protocol", "HTTP"),
        ("healthcheck-port", "1936"),
        ("healthcheck-timeout", "4"),
        ("healthcheck-success-codes", "200,204"),
    ];
    let matcher = "200,204".parse().unwrap();
    assert_eq!(of(&all, SPEC), (Some(("/".to_owned(), matcher)), Some(1936), 10, 4, 3, 3));
    let named = [("type", "external"), ("healthcheck-port", "https")];
    assert_eq!(of(&named, &with_nodes).1, Some(30443), "a name stands for the port of the node");
}

/// A.14: with nodes in the manifests, the targets are nodes at their nodePort.
#[test]
fn targets_are_nodes_where_there_are_some() {
    let config = quiet(&OPENSHIFT, &(SPEC.to_owned() + SLICE + NODES));
    let shown = |group: &GroupConfig| -> Vec<_> {
        let targets = group.targets.iter();
        targets.map(|target| (target.address.to_string(), target.zone.clone())).collect()
    };
    let (a, b) = (Some("a".into()), Some("b".into()));
    let expected = [("10.1.0.1:30080".to_owned(), a.clone()), ("10.1.0.2:30080".to_owned(), b)];
    assert_eq!(shown(&config.groups[0]), expected);
    assert_eq!(config.groups[1].target_type, TargetType::Instance);
    let labelled = OPENSHIFT.into_iter().chain([("target-node-labels", "role=router")]);
    let config = quiet(&labelled.collect::<Vec<_>>(), &(SPEC.to_owned() + NODES));
    assert_eq!(shown(&config.groups[1]), [("10.1.0.1:30443".to_owned(), a)]);
    let without = SPEC.replace(", nodePort: 30080", "") + NODES;
    let (config, findings) = compiled(&service(&OPENSHIFT, &without), &Options::default());
    assert_eq!(config.unwrap().listeners.len(), 1);
    assert!(findings[0].contains("WH2152") && findings[0].contains("no nodePort"), "{findings:?}");
}

/// A.14: names as the controllers make them.
#[test]
fn names_of_load_balancers_and_groups() {
    let with_uid = service(&OPENSHIFT, SPEC)
        .replace("metadata:\n", "metadata:\n  uid: 0c9b7e12-33d1-4fd9-a6f1-5b2f7e1d9c44\n");
    let (config, _) = compiled(&with_uid, &Options::default());
    let config = config.unwrap();
    assert_eq!(&*config.name, "a0c9b7e1233d14fd9a6f15b2f7e1d9c4");
    for group in &config.groups {
        let hash = group.name.strip_prefix("k8s-openshif-routerde-").unwrap();
        assert!(hash.len() == 10 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash}");
    }
    assert_ne!(config.groups[0].name, config.groups[1].name);
    let config = quiet(&OPENSHIFT, SPEC);
    assert_eq!((config.name.len(), &config.name[..1]), (32, "a"));
    assert_eq!(config.name, quiet(&OPENSHIFT, SPEC).name, "the same at every start");
    assert_eq!(&*quiet(&[("type", "external"), ("name", "front-1")], SPEC).name, "front-1");
    let made = quiet(&[("type", "external")], SPEC).name;
    assert!(made.starts_with("k8s-openshif-routerde-") && made.len() == 32, "{made}");
}

/// A.14: the other annotations of the AWS Load Balancer Controller.
#[test]
fn attributes_of_the_load_balancer_controller() {
    let config = quiet(
        &[
            ("type", "external"),
            ("attributes", "load_balancing.cross_zone.enabled=true"),
            ("target-group-attributes", "stickiness.enabled=true"),
            ("target-group-attributes.443", "deregistration_delay.timeout_seconds=7"),
            ("listener-attributes.TCP-80", "tcp.idle_timeout.seconds=60"),
            ("proxy-protocol-per-target-group", "80, 8443"),
        ],
        SPEC,
    );
    assert!(config.groups.iter().all(|group| group.cross_zone && group.sticky));
    let delays: Vec<_> =
        config.groups.iter().map(|group| group.deregistration_delay.as_secs()).collect();
    assert_eq!(delays, [300, 7]);
    let idle: Vec<_> = config.listeners.iter().map(|its| its.idle_timeout.as_secs()).collect();
    assert_eq!(idle, [60, 350]);
    let proxied: Vec<_> = config.groups.iter().map(|group| group.proxy_protocol).collect();
    assert_eq!(proxied, [true, false]);
    let all = quiet(&[("type", "external"), ("proxy-protocol", "*")], SPEC);
    assert!(all.groups.iter().all(|group| group.proxy_protocol));
}

/// A.14: cross-zone is false unless it is asked for.
#[test]
fn cross_zone_is_set_explicitly() {
    let with = |value| {
        let annotations = [("type", "nlb"), ("cross-zone-load-balancing-enabled", value)];
        quiet(&annotations, SPEC).groups[0].cross_zone
    };
    assert_eq!((with("true"), with("True"), with("false")), (true, true, false));
    assert!(!quiet(&[("type", "nlb")], SPEC).groups[0].cross_zone);
}

/// B.1: clients outside of loadBalancerSourceRanges are dropped; the field wins over the annotation.
#[test]
fn source_ranges_are_those_of_the_field_or_the_annotation() {
    let ranges = |text: &str| {
        let (config, findings) = compiled(text, &Options::default());
        assert_eq!(findings, [""; 0]);
        config.unwrap().listeners[0].source_ranges.clone()
    };
    let annotated = service(&OPENSHIFT, SPEC).replace(
        "  annotations:\n",
        "  annotations:\n    service.beta.kubernetes.io/load-balancer-source-ranges: 10.0.0.0/8, ::/0\n",
    );
    assert_eq!(ranges(&annotated), ["10.0.0.0/8".parse().unwrap(), "::/0".parse().unwrap()]);
    let both = annotated + "  loadBalancerSourceRanges: [192.0.2.0/24]\n";
    assert_eq!(ranges(&both), ["192.0.2.0/24".parse().unwrap()]);
    let bad = SPEC.to_owned() + "  loadBalancerSourceRanges: [192.0.2.1]\n";
    let (none, findings) = compiled(&service(&OPENSHIFT, &bad), &Options::default());
    assert!(none.is_none() && findings[0].contains("WH1071"), "{findings:?}");
}

/// A.14: what the controller, or the API behind it, refuses leaves the load balancer as it is; the
/// finding names the line of the annotation.
#[test]
fn wrong_values_refuse_the_service() {
    for (kind, suffix, value) in [
        ("nlb", "healthcheck-protocol", "udp"),
        ("nlb", "healthcheck-port", "https"),
        ("nlb", "healthcheck-interval", "10s"),
        ("nlb", "healthcheck-interval", "4"),
        ("nlb", "healthcheck-timeout", "fast"),
        ("nlb", "healthcheck-healthy-threshold", "1"),
        ("nlb", "healthcheck-unhealthy-threshold", "11"),
        ("nlb", "healthcheck-path", "healthz"),
        ("nlb", "cross-zone-load-balancing-enabled", "yes"),
        ("nlb", "target-group-attributes", "stickiness.enabled=true"),
        ("nlb", "target-group-attributes", "proxy_protocol_v2.enabled"),
        ("nlb", "target-group-attributes", "proxy_protocol_v2.enabled=yes"),
        ("external", "proxy-protocol", "true"),
        ("external", "nlb-target-type", "pod"),
        ("external", "name", "a-name-that-is-longer-than-32-characters"),
        ("external", "healthcheck-success-codes", "100"),
        ("external", "target-group-attributes", "no.such.key=1"),
        ("external", "attributes", "load_balancing.cross_zone.enabled=on"),
    ] {
        // The check is HTTP, so that all of its fields count.
        let annotations = [("type", kind), ("healthcheck-protocol", "http"), (suffix, value)];
        let annotations = if suffix == "healthcheck-protocol" {
            vec![annotations[0], annotations[2]]
        } else {
            annotations.to_vec()
        };
        let line = 7 + annotations.len();
        let (none, findings) = compiled(&service(&annotations, SPEC), &Options::default());
        let start = format!("svc.yaml:{line}:5: error[WH1071]");
        let about = format!("aws-load-balancer-{suffix}]");
        let found = findings.iter().any(|it| it.starts_with(&start) && it.contains(&about));
        assert!(none.is_none() && found, "{suffix}: {value}: {findings:?}");
    }
}

/// A.14: what the cloud provider refuses outside of the annotations.
#[test]
fn wrong_services_are_refused() {
    for (from, to, what) in [
        ("  externalTraffic", "  sessionAffinity: ClientIP\n  externalTraffic", "affinity"),
        ("  healthCheckNodePort: 32000\n", "", "healthCheckNodePort"),
    ] {
        let text = service(&[("type", "nlb")], &SPEC.replacen(from, to, 1));
        let (none, findings) = compiled(&text, &Options::default());
        assert!(none.is_none() && findings[0].contains(what), "{findings:?}");
    }
    let (none, findings) =
        compiled(&service(&[("type", "nlb")], "  ports: []\n"), &Options::default());
    assert!(none.is_none() && findings[0].contains("without ports"), "{findings:?}");
}

/// Annotations without effect are named, and change nothing.
#[test]
fn annotations_without_effect_have_a_finding() {
    for (suffix, value, code) in [
        ("proxy-protocol", "*", "WH2150"),
        ("nlb-target-type", "ip", "WH2150"),
        ("security-groups", "sg-1", "WH2150"),
        ("actions.TCP-80", "{}", "WH2150"),
        ("healthcheck-intervall", "1", "WH2151"),
    ] {
        let annotations: Vec<_> = OPENSHIFT.into_iter().chain([(suffix, value)]).collect();
        let (config, findings) = compiled(&service(&annotations, SPEC), &Options::default());
        assert_eq!(config.unwrap(), quiet(&OPENSHIFT, SPEC), "{suffix}");
        assert!(findings.len() == 1 && findings[0].contains(code), "{suffix}: {findings:?}");
    }
    let silent = [("subnets", "subnet-1"), ("internal", "true"), ("scheme", "internal")];
    let annotations: Vec<_> = OPENSHIFT.into_iter().chain(silent).collect();
    assert_eq!(quiet(&annotations, SPEC), quiet(&OPENSHIFT, SPEC));
}

/// A port whose protocol cannot be served is left out; the others are served.
#[test]
fn ports_that_cannot_be_served_are_left_out() {
    let tls = [("type", "nlb"), ("ssl-cert", "arn:aws:acm:x"), ("ssl-ports", "https")];
    let (config, findings) = compiled(&service(&tls, SPEC), &Options::default());
    let ports: Vec<_> = config.unwrap().listeners.iter().map(|its| its.address.port()).collect();
    assert_eq!(ports, [80]);
    assert!(findings.len() == 1 && findings[0].contains("WH2152"), "{findings:?}");
    assert!(findings[0].contains("no file is known for arn:aws:acm:x"), "{findings:?}");
    let sctp = SPEC.replace("targetPort: http,", "targetPort: http, protocol: SCTP,");
    let (config, findings) = compiled(&service(&[("type", "nlb")], &sctp), &Options::default());
    let ports: Vec<_> = config.unwrap().listeners.iter().map(|its| its.address.port()).collect();
    assert_eq!((ports, findings.len()), (vec![443], 1), "{findings:?}");
}

/// [NLB-06] Ports of UDP are listeners of UDP; with the same number for TCP and the annotation of the
/// AWS Load Balancer Controller they are one listener of both.
#[test]
fn nlb_06_ports_of_udp_have_listeners() {
    let spec = "  ports:
    - { name: dns, port: 53, protocol: UDP, nodePort: 30053 }
    - { name: dns-tcp, port: 53, protocol: TCP, nodePort: 30053 }
    - { name: log, port: 514, protocol: UDP, nodePort: 30514 }
";
    let both = [("type", "external"), ("enable-tcp-udp-listener", "true")];
    let config = quiet(&both, spec);
    let shown: Vec<_> = config
        .listeners
        .iter()
        .zip(&config.groups)
        .map(|(listener, group)| (listener.address.port(), listener.protocol, group.protocol))
        .collect();
    let (tcp_udp, udp) = (Protocol::TcpUdp, Protocol::Udp);
    assert_eq!(shown, [(53, tcp_udp, tcp_udp), (514, udp, udp)]);
    assert!(config.groups.iter().all(|group| group.deregistration_termination));
    // As AWS says for two listeners on one port.
    let (none, findings) = compiled(&service(&[("type", "nlb")], spec), &Options::default());
    assert!(none.is_none() && findings[0].contains("WH1071"), "{findings:?}");
}

/// Listeners are moved by `--listen-map`, and stand at the nodes of zones with addresses.
#[test]
fn listeners_are_where_the_options_say() {
    let options = Options {
        zones: vec![ZoneConfig { name: "a".into(), address: "127.0.0.2".parse().ok() }],
        listen: vec!["80=8080,443=127.0.0.3:8443".parse().unwrap()],
        ..Options::default()
    };
    let (config, _) = compiled(&service(&OPENSHIFT, SPEC), &options);
    let config = config.unwrap();
    assert_eq!(config.zones, options.zones);
    let addresses: Vec<_> = config.listeners.iter().map(|its| its.address.to_string()).collect();
    assert_eq!(addresses, ["0.0.0.0:8080", "127.0.0.3:8443"]);
}

/// Two Services that want one port: the first one gets it, and the second one keeps its others.
#[test]
fn one_port_is_served_for_one_service() {
    let first = service(&OPENSHIFT, SPEC);
    let second =
        first.replace("name: router-default", "name: other").replace("port: 443", "port: 8443");
    let all = balancers(&objects(&format!("{first}---\n{second}")), &Options::default());
    let ports: Vec<Vec<u16>> = all
        .wanted
        .iter()
        .map(|its| {
            its.config.as_ref().unwrap().listeners.iter().map(|it| it.address.port()).collect()
        })
        .collect();
    assert_eq!(ports, [vec![80, 8443], vec![443]], "other comes before router-default");
    assert_eq!(all.wanted[1].config.as_ref().unwrap().groups.len(), 1);
    let text = all.findings[0].to_string();
    assert!(text.contains("WH1072") && text.contains("openshift-ingress/other"), "{text}");
    let options = Options {
        listen: vec!["openshift-ingress/other:80=81".parse().unwrap()],
        ..Options::default()
    };
    let all = balancers(&objects(&format!("{first}---\n{second}")), &options);
    assert_eq!(all.findings, []);
}

/// A.5, A.14: what the options say of checkers and of late changes reaches the load balancer.
#[test]
fn load_balancers_check_and_change_as_told() {
    let options = Options {
        zones: vec!["a".into(), "b".into()],
        realism: Realism { check_from_each_zone: true, propagation_delay: 90 },
        ..Options::default()
    };
    let (config, findings) = compiled(&service(&OPENSHIFT, SPEC), &options);
    assert_eq!(findings, [""; 0]);
    let group = &config.unwrap().groups[0];
    assert_eq!((group.check.checkers, group.propagation_delay.as_secs()), (2, 90));
}

mod tls;
