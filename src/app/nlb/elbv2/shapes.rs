//! The structures of the answers, in the names of the model of elbv2 (spec/l4-dns.md A.13).

use crate::nlb::tls::policy::Policy;
use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;

use super::xml::Xml;
use crate::nlb::{
    account::{Account, Health, Listener, LoadBalancer, Tags, Target, TargetGroup, VPC},
    config::{Protocol, TargetType},
};

/// Zone of the alias records of network load balancers in us-east-1.
const HOSTED_ZONE: &str = "Z26RNL4JYFTOTI";

/// State of a load balancer.
#[derive(Clone, Copy, Debug)]
pub(super) enum State<'a> {
    /// It was made by this call.
    Provisioning,
    /// What runs; those that could not be started are here with the reason.
    Running(&'a HashMap<String, String>),
}

pub(super) fn balancer(xml: &mut Xml, balancer: &LoadBalancer, state: State<'_>) {
    xml.text("LoadBalancerArn", &balancer.arn);
    xml.text("DNSName", &balancer.dns_name);
    xml.text("CanonicalHostedZoneId", HOSTED_ZONE);
    let created = i64::try_from(balancer.created).ok();
    let created = created.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    xml.optional("CreatedTime", created.map(|time| format!("{time:.3}")));
    xml.text("LoadBalancerName", &balancer.name);
    xml.text("Scheme", &balancer.scheme);
    xml.text("VpcId", VPC);
    xml.element("State", |xml| match state {
        State::Provisioning => xml.text("Code", "provisioning"),
        State::Running(failed) => {
            let reason = failed.get(&balancer.arn);
            xml.text("Code", if reason.is_some() { "failed" } else { "active" });
            xml.optional("Reason", reason);
        },
    });
    xml.text("Type", "network");
    zones(xml, balancer);
    xml.texts("SecurityGroups", Vec::<String>::new());
    xml.text("IpAddressType", "ipv4");
    xml.text("EnablePrefixForIpv6SourceNat", "off");
}

pub(super) fn zones(xml: &mut Xml, balancer: &LoadBalancer) {
    xml.list("AvailabilityZones", &balancer.nodes, |xml, node| {
        xml.text("ZoneName", &node.zone);
        xml.text("SubnetId", node.subnet());
        xml.list("LoadBalancerAddresses", node.address, |xml, address| {
            // One that was not asked for is a public one at AWS.
            xml.text("IpAddress", address.to_string());
            if address.is_ipv4() {
                xml.text("PrivateIPv4Address", address.to_string());
            }
        });
    });
}

pub(super) fn group(xml: &mut Xml, group: &TargetGroup, account: &Account) {
    let check = &group.check;
    xml.text("TargetGroupArn", &group.arn);
    xml.text("TargetGroupName", &group.name);
    xml.text("Protocol", group.protocol.as_str());
    xml.text("Port", group.port.to_string());
    xml.text("VpcId", &group.vpc);
    xml.text("HealthCheckProtocol", &check.protocol);
    xml.text("HealthCheckPort", &check.port);
    xml.text("HealthCheckEnabled", "true");
    xml.text("HealthCheckIntervalSeconds", check.interval.to_string());
    xml.text("HealthCheckTimeoutSeconds", check.timeout.to_string());
    xml.text("HealthyThresholdCount", check.healthy.to_string());
    xml.text("UnhealthyThresholdCount", check.unhealthy.to_string());
    xml.optional("HealthCheckPath", check.path.as_ref());
    if let Some(matcher) = &check.matcher {
        xml.element("Matcher", |xml| xml.text("HttpCode", matcher));
    }
    xml.texts("LoadBalancerArns", account.balancer_of(&group.arn).map(|it| &it.arn));
    let kind = match group.target_type {
        TargetType::Instance => "instance",
        TargetType::Ip => "ip",
    };
    xml.text("TargetType", kind);
    xml.text("IpAddressType", if group.ipv6 { "ipv6" } else { "ipv4" });
}

pub(super) fn listener(xml: &mut Xml, listener: &Listener) {
    xml.text("ListenerArn", &listener.arn);
    xml.text("LoadBalancerArn", &listener.load_balancer);
    xml.text("Port", listener.port.to_string());
    xml.text("Protocol", listener.protocol.as_str());
    if listener.protocol == Protocol::Tls {
        let default = listener.certificates.first();
        xml.list("Certificates", default, |xml, arn| xml.text("CertificateArn", arn));
        xml.optional("SslPolicy", listener.ssl_policy.as_ref());
        let alpn = listener.alpn_policy.as_ref();
        xml.texts("AlpnPolicy", alpn);
    }
    xml.list("DefaultActions", [&listener.forward], |xml, forward| {
        xml.text("Type", "forward");
        if let [only] = &forward[..] {
            xml.text("TargetGroupArn", &only.group);
        }
        xml.text("Order", "1");
        xml.element("ForwardConfig", |xml| {
            xml.list("TargetGroups", forward, |xml, forward| {
                xml.text("TargetGroupArn", &forward.group);
                xml.text("Weight", forward.weight.to_string());
            });
            xml.element("TargetGroupStickinessConfig", |xml| xml.text("Enabled", "false"));
        });
    });
}

/// `AnomalyDetection` is told to those who ask for it.
pub(super) fn health(xml: &mut Xml, health: &Health, anomalies: bool) {
    let Target { id, port, zone } = &health.target;
    xml.element("Target", |xml| {
        xml.text("Id", id);
        xml.text("Port", port.to_string());
        xml.optional("AvailabilityZone", zone.as_ref());
    });
    xml.text("HealthCheckPort", health.check_port.to_string());
    xml.element("TargetHealth", |xml| {
        xml.text("State", &health.state);
        xml.optional("Reason", health.reason.as_ref());
        xml.optional("Description", health.description.as_ref());
    });
    if anomalies {
        xml.element("AnomalyDetection", |xml| {
            xml.text("Result", "normal");
            xml.text("MitigationInEffect", "no");
        });
    }
    xml.element("AdministrativeOverride", |xml| {
        xml.text("State", health.overridden.as_str());
        xml.text("Reason", health.overridden.reason());
        xml.text("Description", health.overridden.meaning());
    });
}

/// Attributes, in all answers about them.
pub(super) fn attributes(xml: &mut Xml, all: &[(String, String)]) {
    xml.list("Attributes", all, |xml, (key, value)| pair(xml, key, value));
}

pub(super) fn tags(xml: &mut Xml, all: &[(String, &Tags)]) {
    xml.list("TagDescriptions", all, |xml, (arn, tags)| {
        xml.text("ResourceArn", arn);
        xml.list("Tags", *tags, |xml, (key, value)| pair(xml, key, value));
    });
}

fn pair(xml: &mut Xml, key: &str, value: &str) {
    xml.text("Key", key);
    xml.text("Value", value);
}

pub(super) fn policy(xml: &mut Xml, policy: &Policy) {
    xml.texts("SslProtocols", policy.version_names());
    xml.list("Ciphers", policy.suite_names().zip(1..), |xml, (name, priority)| {
        xml.text("Name", name);
        xml.text("Priority", priority.to_string());
    });
    xml.text("Name", policy.name());
    xml.texts("SupportedLoadBalancerTypes", ["network"]);
}
