//! One Service to the document of a load balancer, and that to its configuration.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Controller, Options, Report,
    annotations::{self, field, list, pairs},
    balancer,
    check::{self, Check},
    identity::{self, GroupKey},
    targets, tls,
};
use crate::{
    model::{
        finding::codes,
        grammar,
        objects::Objects,
        service::{self, ServicePort, TargetPort},
    },
    nlb::config::{NlbConfig, Problem, Protocol, parse},
    zone::Zone,
};

const PRESERVE: &str = "preserve_client_ip.enabled";
const PROXY: &str = "proxy_protocol_v2.enabled";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// What a Service is read with.
pub(super) struct Source<'a> {
    pub(super) objects: &'a Objects,
    pub(super) zone: &'a Zone,
    pub(super) options: &'a Options,
    pub(super) controller: Controller,
}

/// A port of the Service as a listener with its group.
struct Port<'a> {
    spec: &'a ServicePort,
    number: u16,
    protocol: Protocol,
    /// What the targets speak.
    group_protocol: Protocol,
}

/// What all groups of a Service have in common.
struct Common {
    to_nodes: bool,
    node_labels: BTreeMap<String, String>,
    check: Check,
    attributes: BTreeMap<String, String>,
}

/// The load balancer of the Service; none when its controller would refuse it.
pub(super) fn config(source: &Source<'_>, report: &mut Report<'_>) -> Option<NlbConfig> {
    annotations::judge(report, source.controller);
    affinity(source, report);
    let to_nodes = to_nodes(source, report);
    let common = Common {
        to_nodes,
        node_labels: pairs(report, "target-node-labels"),
        check: check::check(source, report, to_nodes),
        attributes: group_attributes(source, report),
    };
    let ranges = source_ranges(report);
    let tls = tls::listener(source, report);
    let (mut listeners, mut groups) = (Vec::new(), Vec::new());
    for port in ports(source, report, tls.is_some()) {
        let Some((address, number)) = source.options.place(&report.stored.key, port.number) else {
            let text = format!("port {} and the offset of --listen-map are no port", port.number);
            skip(report, text);
            continue;
        };
        let Some(group) = group(source, report, &port, &common) else { continue };
        let name = port.protocol.as_str();
        let mut listener = json!({
            "name": format!("{}/{name}:{}", report.stored.key, port.number),
            "protocol": name,
            "targetGroup": group["name"],
            "attributes": listener_attributes(source, report, &port),
            "sourceRanges": ranges,
        });
        match address {
            Some(address) => {
                listener["address"] = json!(std::net::SocketAddr::new(address, number));
            },
            None => listener["port"] = json!(number),
        }
        if let (Protocol::Tls, Some(tls), Some(listener)) =
            (port.protocol, &tls, listener.as_object_mut())
        {
            listener.extend(tls.clone());
        }
        listeners.push(listener);
        groups.push(group);
    }
    let zones = source.options.zones.iter().map(|zone| match zone.address {
        Some(address) => json!({ "name": zone.name, "address": address }),
        None => json!(zone.name),
    });
    let mut document = json!({
        "name": identity::balancer(report, source.controller),
        "zones": zones.collect::<Vec<_>>(),
        "attributes": balancer::attributes(source, report),
        "allowFastChecks": source.options.fast_checks,
        "listeners": listeners,
        "targetGroups": groups,
    });
    source.options.realism.write(&mut document);
    if report.refused {
        return None;
    }
    read(document, source, report)
}

/// The cloud provider knows no stickiness for load balancers.
fn affinity(source: &Source<'_>, report: &mut Report<'_>) {
    let affinity = &*report.stored.object.rare().session_affinity;
    if source.controller == Controller::InTree && !affinity.is_empty() {
        let text = format!("a load balancer has no session affinity {affinity}");
        report.refuse("spec.sessionAffinity", text, "leave it out, or write None");
    }
}

/// True if the targets are nodes: the target type is `instance`, and the manifests have nodes.
fn to_nodes(source: &Source<'_>, report: &mut Report<'_>) -> bool {
    let instance = match (source.controller, report.annotation("nlb-target-type")) {
        (Controller::Lbc, _) if report.annotation("type") == Some("nlb-ip") => false,
        (Controller::InTree, _) | (Controller::Lbc, None | Some("instance")) => true,
        (Controller::Lbc, Some("ip")) => false,
        (Controller::Lbc, Some(other)) => {
            let text = format!("there is no target type \"{other}\"");
            report.refuse(&field("nlb-target-type"), text, "write instance or ip");
            false
        },
    };
    instance && !source.objects.nodes.is_empty()
}

/// A bool as Go reads it; anything else refuses the Service.
pub(super) fn truth(report: &mut Report<'_>, suffix: &str) -> Option<bool> {
    let text = report.annotation(suffix).filter(|text| !text.is_empty())?;
    let value = grammar::parse_bool(text);
    if value.is_none() {
        report.refuse(&field(suffix), format!("\"{text}\" is not true or false"), "");
    }
    value
}

/// The target group attributes of all ports.
fn group_attributes(source: &Source<'_>, report: &mut Report<'_>) -> BTreeMap<String, String> {
    let mut attributes = pairs(report, "target-group-attributes");
    match source.controller {
        Controller::InTree => {
            for key in attributes.keys().filter(|key| ![PRESERVE, PROXY].contains(&key.as_str())) {
                let text = format!("the cloud provider does not know the attribute {key}");
                let fix = "it knows preserve_client_ip.enabled and proxy_protocol_v2.enabled";
                report.refuse(&field("target-group-attributes"), text, fix);
            }
        },
        Controller::Lbc => match report.annotation("proxy-protocol") {
            None => {},
            Some("*") => {
                attributes.insert(PROXY.to_owned(), "true".to_owned());
            },
            Some(other) => {
                let text = format!("the only value is \"*\", not \"{other}\"");
                report.refuse(&field("proxy-protocol"), text, "");
            },
        },
    }
    attributes
}

/// Networks of the clients that may connect.
fn source_ranges(report: &mut Report<'_>) -> Vec<String> {
    let object = &report.stored.object;
    let (ranges, place): (Vec<&str>, _) = match &object.rare().source_ranges {
        none if none.is_empty() => {
            let text = object.annotation(SOURCE_RANGES).unwrap_or_default();
            (list(text).collect(), format!("metadata.annotations[{SOURCE_RANGES}]"))
        },
        ranges => (
            ranges.iter().map(|range| range.trim()).collect(),
            "spec.loadBalancerSourceRanges".to_owned(),
        ),
    };
    for range in &ranges {
        if range.parse::<ipnet::IpNet>().is_err() {
            let text = format!("\"{range}\" is not a network such as 10.0.0.0/8");
            report.refuse(&place, text, "");
        }
    }
    ranges.into_iter().map(str::to_owned).collect()
}

/// The ports that get a listener.
fn ports<'a>(source: &Source<'_>, report: &mut Report<'a>, tls: bool) -> Vec<Port<'a>> {
    let all = &report.stored.object.ports;
    if all.is_empty() {
        report.refuse("spec.ports", "a load balancer without ports", "");
    }
    let lbc = source.controller == Controller::Lbc;
    let both = lbc && truth(report, "enable-tcp-udp-listener") == Some(true);
    let mut ports: Vec<Port<'a>> = Vec::with_capacity(all.len());
    for spec in all {
        let Ok(number @ 1..) = u16::try_from(spec.port) else { continue };
        let mut protocol = match spec.protocol {
            Some(service::Protocol::Tcp) => Protocol::Tcp,
            Some(service::Protocol::Udp) => Protocol::Udp,
            Some(service::Protocol::Sctp) | None => {
                skip(report, format!("port {number}: a load balancer has TCP and UDP only"));
                continue;
            },
        };
        let mut group_protocol = protocol;
        if protocol == Protocol::Tcp && tls::is_of(report, spec) {
            if !tls {
                continue;
            }
            protocol = Protocol::Tls;
            group_protocol = tls::group_protocol(report);
        }
        if both && let Some(other) = ports.iter_mut().find(|other| other.number == number) {
            (other.protocol, other.group_protocol) = (Protocol::TcpUdp, Protocol::TcpUdp);
            continue;
        }
        ports.push(Port { spec, number, protocol, group_protocol });
    }
    ports
}

fn skip(report: &mut Report<'_>, text: String) {
    report.add(codes::BALANCER_PORT_SKIPPED, "spec.ports", text, "");
}

/// The target group of a port; none for a port that the nodes do not have.
fn group(
    source: &Source<'_>,
    report: &mut Report<'_>,
    port: &Port<'_>,
    common: &Common,
) -> Option<Value> {
    let spec = port.spec;
    let node_port = u16::try_from(spec.node_port).unwrap_or(0);
    let (target_port, targets) = if common.to_nodes {
        if node_port == 0 {
            skip(report, format!("port {} has no nodePort, it is left out", port.number));
            return None;
        }
        (node_port, targets::nodes(source, &common.node_labels, node_port))
    } else {
        let number = match spec.target {
            TargetPort::Same => port.number,
            TargetPort::Number(number) => u16::try_from(number).unwrap_or(1),
            // The port of a group counts for nothing beside targets with ports.
            TargetPort::Name(_) => 1,
        };
        (number, targets::endpoints(source, &report.stored.key, spec))
    };
    let protocol = port.group_protocol.as_str();
    let target_type = if common.to_nodes { "instance" } else { "ip" };
    let key = GroupKey {
        port: port.number,
        target_port,
        protocol,
        target_type,
        check: (&common.check.protocol, common.check.interval),
    };
    Some(json!({
        "name": identity::group(report.stored, source.controller, &key),
        "protocol": protocol,
        "targetType": target_type,
        "port": target_port.max(1),
        "healthCheck": common.check.document,
        "attributes": attributes_of(source, report, port, common),
        "targets": targets,
    }))
}

/// The attributes of the group of `port`: those of all ports, and its own on top.
fn attributes_of(
    source: &Source<'_>,
    report: &mut Report<'_>,
    port: &Port<'_>,
    common: &Common,
) -> BTreeMap<String, String> {
    let mut attributes = common.attributes.clone();
    if source.controller == Controller::Lbc {
        attributes.extend(pairs(report, &format!("target-group-attributes.{}", port.number)));
        let proxied = report.annotation("proxy-protocol-per-target-group").unwrap_or_default();
        if list(proxied).any(|entry| entry.parse() == Ok(port.number)) {
            attributes.insert(PROXY.to_owned(), "true".to_owned());
        }
    }
    attributes
}

fn listener_attributes(
    source: &Source<'_>,
    report: &mut Report<'_>,
    port: &Port<'_>,
) -> BTreeMap<String, String> {
    if source.controller == Controller::InTree {
        return BTreeMap::new();
    }
    let protocol = port.protocol.as_str();
    pairs(report, &format!("listener-attributes.{protocol}-{}", port.number))
}

/// The configuration that a document means. A refusal is that of the API of AWS, which the
/// controller hands on.
fn read(mut document: Value, source: &Source<'_>, report: &mut Report<'_>) -> Option<NlbConfig> {
    if !source.options.keep_addresses && keep_no_address(&mut document) {
        let text = "targets see the address of the load balancer, not that of the client";
        let field = field("target-group-attributes");
        let fix = "use the PROXY protocol, or start `wharf nlb` with --keep-client-addresses";
        report.add(codes::BALANCER_NO_EFFECT, &field, text, fix);
    }
    match parse(&document.to_string()) {
        Ok(config) => Some(config),
        Err(error) => {
            let place = field_of(&error.problem);
            report.refuse(&place, error.problem.to_string(), "");
            None
        },
    }
}

/// Takes `preserve_client_ip.enabled: true` out of all groups; says whether there was one.
fn keep_no_address(document: &mut Value) -> bool {
    let groups = document.get_mut("targetGroups").and_then(Value::as_array_mut);
    let mut found = false;
    for group in groups.into_iter().flatten() {
        let attributes = group.get_mut("attributes").and_then(Value::as_object_mut);
        let without = |attributes: &mut Map<String, Value>| {
            attributes.get(PRESERVE) == Some(&json!("true"))
                && attributes.remove(PRESERVE).is_some()
        };
        found |= attributes.is_some_and(without);
    }
    found
}

/// Where in the Service stands what is wrong.
fn field_of(problem: &Problem) -> String {
    let key = match problem {
        Problem::Value { name, .. } => name.as_str(),
        Problem::UnknownAttribute { key } => key.as_str(),
        // All other words of the document are ours.
        Problem::Yaml(_) => "protocol",
        Problem::SslPolicyNotFound { .. } => return field("ssl-negotiation-policy"),
        Problem::Certificate { .. } | Problem::TooMany { what: "certificates", .. } => {
            return field("ssl-cert");
        },
        Problem::StickyTls { .. } => return field("target-group-attributes"),
        _ => return "spec.ports".to_owned(),
    };
    let suffix = match key {
        "intervalSeconds" => "healthcheck-interval",
        "timeoutSeconds" => "healthcheck-timeout",
        "healthyThresholdCount" => "healthcheck-healthy-threshold",
        "unhealthyThresholdCount" => "healthcheck-unhealthy-threshold",
        "matcher" => "healthcheck-success-codes",
        "access_logs.s3.prefix" => "access-log-s3-bucket-prefix",
        "path" => "healthcheck-path",
        "port" => "healthcheck-port",
        "protocol" => "healthcheck-protocol",
        "alpnPolicy" => "alpn-policy",
        _ => "target-group-attributes",
    };
    field(suffix)
}
