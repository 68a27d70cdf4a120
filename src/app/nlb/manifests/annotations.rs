//! The annotations of load balancers (A.14): who reads which, and their grammar.

use std::collections::BTreeMap;

use super::{Controller, Report};
use crate::{
    model::finding::{ANNOTATION, codes},
    source::schema::closest,
};

/// What the annotations begin with.
pub(super) const PREFIX: &str = "service.beta.kubernetes.io/aws-load-balancer-";

/// Read from the Services of both controllers.
const BOTH: [&str; 18] = [
    "access-log-enabled",
    "access-log-s3-bucket-name",
    "access-log-s3-bucket-prefix",
    "backend-protocol",
    "cross-zone-load-balancing-enabled",
    "healthcheck-healthy-threshold",
    "healthcheck-interval",
    "healthcheck-path",
    "healthcheck-port",
    "healthcheck-protocol",
    // Parsed by the cloud provider, and never applied.
    "healthcheck-timeout",
    "healthcheck-unhealthy-threshold",
    "ssl-cert",
    "ssl-negotiation-policy",
    "ssl-ports",
    "target-group-attributes",
    "target-node-labels",
    "type",
];

/// Read by the AWS Load Balancer Controller only.
const LBC: [&str; 9] = [
    "alpn-policy",
    "attributes",
    "enable-tcp-udp-listener",
    "healthcheck-success-codes",
    "listener-attributes",
    "name",
    "nlb-target-type",
    "proxy-protocol",
    "proxy-protocol-per-target-group",
];

/// About the account and the network around the load balancer: nothing to do on one machine.
const SURROUNDINGS: [&str; 9] = [
    "access-log-emit-interval",
    "additional-resource-tags",
    "eip-allocations",
    "internal",
    "ip-address-type",
    "manage-backend-security-group-rules",
    "minimum-load-balancer-capacity",
    "scheme",
    "subnets",
];

/// Would change what clients or targets see, and does not here.
const NOT_EMULATED: [&str; 17] = [
    "actions",
    "connection-draining-enabled",
    "connection-draining-timeout",
    "connection-idle-timeout",
    "disable-nlb-sg",
    "enable-icmp-for-path-mtu-discovery",
    "enable-prefix-for-ipv6-source-nat",
    "extra-security-groups",
    "inbound-sg-rules-on-private-link-traffic",
    "ipv6-addresses",
    "multi-cluster-target-group",
    "private-ipv4-addresses",
    "quic-enabled-ports",
    "security-groups",
    "source-nat-ipv6-prefixes",
    "target-group-ip-address-type",
    "tcp-idle-timeout",
];

/// The field of the annotation with this suffix, for findings.
pub(super) fn field(suffix: &str) -> String {
    format!("{ANNOTATION}{PREFIX}{suffix}]")
}

/// Says which annotations have no effect.
pub(super) fn judge(report: &mut Report<'_>, controller: Controller) {
    let annotations = &report.stored.object.rare().annotations;
    for suffix in annotations.keys().filter_map(|key| key.strip_prefix(PREFIX)) {
        // Some are for one port: `actions.TCP-80`.
        let base = suffix.split('.').next().unwrap_or(suffix);
        if BOTH.contains(&base) || SURROUNDINGS.contains(&base) {
            continue;
        }
        if LBC.contains(&base) {
            if controller == Controller::InTree {
                let text = format!("with the type nlb nobody reads {suffix}");
                let fix = "the type external is that of the controller that does";
                report.add(codes::BALANCER_NO_EFFECT, &field(suffix), text, fix);
            }
        } else if NOT_EMULATED.contains(&base) {
            let text = format!("{suffix} has no effect in this load balancer");
            report.add(codes::BALANCER_NO_EFFECT, &field(suffix), text, "");
        } else {
            let known = BOTH.into_iter().chain(LBC).chain(SURROUNDINGS).chain(NOT_EMULATED);
            let fix = closest(base, known).map(|near| format!("did you mean {PREFIX}{near}?"));
            let text = format!("no controller reads {suffix}");
            let fix = fix.unwrap_or_default();
            report.add(codes::BALANCER_UNKNOWN_ANNOTATION, &field(suffix), text, &fix);
        }
    }
}

/// The entries of a list.
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

/// `KEY=VALUE` entries; one without a value refuses the Service.
pub(super) fn pairs(report: &mut Report<'_>, suffix: &str) -> BTreeMap<String, String> {
    let mut pairs = BTreeMap::new();
    for entry in list(report.annotation(suffix).unwrap_or_default()) {
        match entry.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() && !value.trim().is_empty() => {
                pairs.insert(key.trim().to_owned(), value.trim().to_owned());
            },
            _ => {
                let text = format!("\"{entry}\" is not KEY=VALUE");
                report.refuse(&field(suffix), text, "");
            },
        }
    }
    pairs
}

/// A whole number, or `default`; anything else refuses the Service.
pub(super) fn number(report: &mut Report<'_>, suffix: &str, default: i64) -> i64 {
    let Some(text) = report.annotation(suffix) else { return default };
    text.parse().unwrap_or_else(|_| {
        report.refuse(&field(suffix), format!("\"{text}\" is not a whole number"), "");
        default
    })
}
