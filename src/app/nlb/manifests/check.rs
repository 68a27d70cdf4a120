//! The health check that a controller writes for a Service (A.14).
//!
//! Ranges are not looked at here: `nlb::config` does that, with AWS's own.

use serde_json::{Map, Value, json};

use super::{
    Controller, Report,
    annotations::{field, number},
    service::Source,
};
use crate::model::service::{ServicePort, TargetPort};

/// Port of kube-proxy's own health page.
const KUBE_PROXY: i64 = 10256;

/// A check, and what of it goes into the name of the group.
pub(super) struct Check {
    pub(super) document: Value,
    pub(super) protocol: String,
    pub(super) interval: i64,
}

/// Defaults of a controller for one kind of Service.
struct Defaults {
    protocol: &'static str,
    port: String,
    path: &'static str,
    interval: i64,
    /// `None`: the controller sends none, so AWS's own holds.
    timeout: Option<i64>,
    thresholds: i64,
}

/// The check of the Service; the same for all its ports.
pub(super) fn check(source: &Source<'_>, report: &mut Report<'_>, to_nodes: bool) -> Check {
    let defaults = defaults(source, report, to_nodes);
    let shared = is_shared(source, report);
    let mut protocol = defaults.protocol.to_owned();
    if let Some(text) = report.annotation("healthcheck-protocol").filter(|_| !shared) {
        protocol = text.to_ascii_uppercase();
        if !matches!(protocol.as_str(), "TCP" | "HTTP" | "HTTPS") {
            let text = format!("health checks have no protocol \"{text}\"");
            report.refuse(&field("healthcheck-protocol"), text, "write tcp, http or https");
        }
    }
    let mut document = Map::new();
    document.insert("protocol".into(), json!(protocol));
    document.insert("port".into(), json!(port(source, report, &defaults, to_nodes)));
    if protocol != "TCP" {
        let path = report.annotation("healthcheck-path").filter(|_| !shared);
        document.insert("path".into(), json!(path.unwrap_or(defaults.path)));
        if source.controller == Controller::Lbc {
            let codes = report.annotation("healthcheck-success-codes").unwrap_or("200-399");
            document.insert("matcher".into(), json!(codes));
        }
    }
    let interval = number(report, "healthcheck-interval", defaults.interval);
    let timeout = number(report, "healthcheck-timeout", defaults.timeout.unwrap_or_default());
    document.insert("intervalSeconds".into(), json!(interval));
    if defaults.timeout.is_some() {
        document.insert("timeoutSeconds".into(), json!(timeout));
    }
    for (suffix, key) in [
        ("healthcheck-healthy-threshold", "healthyThresholdCount"),
        ("healthcheck-unhealthy-threshold", "unhealthyThresholdCount"),
    ] {
        document.insert(key.into(), json!(number(report, suffix, defaults.thresholds)));
    }
    Check { document: document.into(), protocol, interval }
}

/// True where all Services are checked at kube-proxy's own port.
fn is_shared(source: &Source<'_>, report: &Report<'_>) -> bool {
    source.options.shared_probe && source.controller == Controller::InTree && !is_local(report)
}

fn is_local(report: &Report<'_>) -> bool {
    report.stored.object.rare().is_external_local
}

fn defaults(source: &Source<'_>, report: &Report<'_>, to_nodes: bool) -> Defaults {
    let node_port = report.stored.object.rare().health_check_node_port.to_string();
    let traffic = "traffic-port".to_owned();
    let local = is_local(report);
    match source.controller {
        Controller::InTree if local => Defaults {
            protocol: "HTTP",
            port: node_port,
            path: "/healthz",
            interval: 10,
            timeout: None,
            thresholds: 2,
        },
        Controller::InTree if is_shared(source, report) => Defaults {
            protocol: "HTTP",
            port: KUBE_PROXY.to_string(),
            path: "/healthz",
            interval: 30,
            timeout: None,
            thresholds: 3,
        },
        Controller::InTree => Defaults {
            protocol: "TCP",
            port: traffic,
            path: "/",
            interval: 30,
            timeout: None,
            thresholds: 3,
        },
        Controller::Lbc if local && to_nodes => Defaults {
            protocol: "HTTP",
            port: node_port,
            path: "/healthz",
            interval: 10,
            timeout: Some(6),
            thresholds: 2,
        },
        Controller::Lbc => Defaults {
            protocol: "TCP",
            port: traffic,
            path: "/",
            interval: 10,
            timeout: Some(10),
            thresholds: 3,
        },
    }
}

/// HealthCheckPort. The AWS Load Balancer Controller knows names of the Service's ports, too.
fn port(
    source: &Source<'_>,
    report: &mut Report<'_>,
    defaults: &Defaults,
    to_nodes: bool,
) -> String {
    let given = report.annotation("healthcheck-port").filter(|_| !is_shared(source, report));
    let text = given.unwrap_or(&defaults.port);
    if text == "0" {
        let text = "the health check goes to healthCheckNodePort, and there is none";
        let fix = "write the port that the API server has allocated";
        report.refuse("spec.healthCheckNodePort", text, fix);
        return "traffic-port".to_owned();
    }
    if text == "traffic-port" || text.parse::<u16>().is_ok() {
        return text.to_owned();
    }
    let ports = report.stored.object.ports.iter();
    let named = ports.filter(|port| &*port.name == text).find_map(|port| {
        if source.controller == Controller::Lbc { number_of(port, to_nodes) } else { None }
    });
    named.unwrap_or_else(|| {
        let text = format!("\"{text}\" is no port for health checks");
        report.refuse(&field("healthcheck-port"), text, "write traffic-port or a number");
        "traffic-port".to_owned()
    })
}

/// The number behind a named port: that of the node, or that of the pods if it is one for all.
fn number_of(port: &ServicePort, to_nodes: bool) -> Option<String> {
    if to_nodes {
        return (port.node_port != 0).then(|| port.node_port.to_string());
    }
    match port.target {
        TargetPort::Number(number) => Some(number.to_string()),
        TargetPort::Name(_) | TargetPort::Same => None,
    }
}
