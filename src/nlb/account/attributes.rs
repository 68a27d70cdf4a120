//! Attributes of load balancers, target groups and listeners: which there are, their defaults and
//! their ranges (spec/l4-dns.md A.6b).
//!
//! Pure. Whether a value that the API takes has an effect here is said by `nlb::config`, which reads
//! what the account makes of it; a value that has none is refused there.

use std::{collections::BTreeMap, ops::RangeInclusive};

use super::error::{Code, Refusal, invalid};
use crate::nlb::config::{Protocol, TargetType};

/// Attributes that were given another value than their default.
pub type Attributes = BTreeMap<String, String>;

/// Cross-zone load balancing, of a load balancer or of a group.
pub(super) const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
/// The bucket of the access log.
pub(super) const BUCKET: &str = "access_logs.s3.bucket";
/// Whether there is an access log.
pub(super) const ACCESS_LOG: &str = "access_logs.s3.enabled";
/// A protected load balancer cannot be deleted.
pub(super) const DELETION_PROTECTION: &str = "deletion_protection.enabled";
/// Targets see the address of the client.
pub(super) const PRESERVE: &str = "preserve_client_ip.enabled";
/// Flows end with the deregistration delay.
pub(super) const TERMINATION: &str = "deregistration_delay.connection_termination.enabled";
/// Whether the idle limit of TCP can be set.
pub(super) const IDLE: &str = "tcp.idle_timeout.seconds";

/// What an attribute may be.
enum Values {
    Truth,
    Number(RangeInclusive<u32>),
    NumberOrOff(RangeInclusive<u32>),
    OneOf(&'static [&'static str]),
    Text,
}

/// An attribute.
pub(super) struct Known {
    key: &'static str,
    default: &'static str,
    values: Values,
}

const fn known(key: &'static str, default: &'static str, values: Values) -> Known {
    Known { key, default, values }
}

/// Those of a load balancer.
pub(super) fn of_balancer() -> Vec<Known> {
    use Values::{Number, OneOf, Text, Truth};
    let routing = &[
        "any_availability_zone",
        "partial_availability_zone_affinity",
        "availability_zone_affinity",
    ];
    vec![
        known(ACCESS_LOG, "false", Truth),
        known(BUCKET, "", Text),
        known("access_logs.s3.prefix", "", Text),
        known(DELETION_PROTECTION, "false", Truth),
        known("dns_record.client_routing_policy", "any_availability_zone", OneOf(routing)),
        known("ipv6.deny_all_igw_traffic", "false", Truth),
        known(CROSS_ZONE, "false", Truth),
        known("secondary_ips.auto_assigned.per_subnet", "0", Number(0..=7)),
        known("zonal_shift.config.enabled", "false", Truth),
    ]
}

/// Those of a listener.
pub(super) fn of_listener(protocol: Protocol) -> Vec<Known> {
    match protocol {
        Protocol::Tcp | Protocol::TcpUdp => {
            vec![known(IDLE, "350", Values::Number(60..=6000))]
        },
        Protocol::Tls | Protocol::Udp => Vec::new(),
    }
}

/// Those of a target group.
pub(super) fn of_group(protocol: Protocol, kind: TargetType) -> Vec<Known> {
    use Values::{Number, NumberOrOff, OneOf, Truth};
    let datagrams = matches!(protocol, Protocol::Udp | Protocol::TcpUdp);
    let preserve = if datagrams || kind == TargetType::Instance { "true" } else { "false" };
    let termination = if datagrams { "true" } else { "false" };
    let cross_zone = &["true", "false", "use_load_balancer_configuration"];
    vec![
        known("deregistration_delay.timeout_seconds", "300", Number(0..=3600)),
        known(TERMINATION, termination, Truth),
        known(CROSS_ZONE, "use_load_balancer_configuration", OneOf(cross_zone)),
        known(PRESERVE, preserve, Truth),
        known("proxy_protocol_v2.enabled", "false", Truth),
        known("stickiness.enabled", "false", Truth),
        known("stickiness.type", "source_ip", OneOf(&["source_ip"])),
        known(
            "target_group_health.dns_failover.minimum_healthy_targets.count",
            "1",
            NumberOrOff(1..=1000),
        ),
        known(
            "target_group_health.dns_failover.minimum_healthy_targets.percentage",
            "off",
            NumberOrOff(1..=100),
        ),
        known(
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
            "1",
            Number(1..=1000),
        ),
        known(
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
            "off",
            NumberOrOff(1..=100),
        ),
        known("target_health_state.unhealthy.connection_termination.enabled", "true", Truth),
        known("target_health_state.unhealthy.draining_interval_seconds", "0", Number(0..=360_000)),
    ]
}

impl Known {
    fn check(&self, value: &str) -> Result<(), Refusal> {
        let number = |range: &RangeInclusive<u32>| {
            value.parse().is_ok_and(|number: u32| range.contains(&number))
        };
        let (fits, expected) = match &self.values {
            Values::Truth => (matches!(value, "true" | "false"), "true or false".to_owned()),
            Values::Number(range) => {
                (number(range), format!("a number from {} to {}", range.start(), range.end()))
            },
            Values::NumberOrOff(range) => (
                value == "off" || number(range),
                format!("off or a number from {} to {}", range.start(), range.end()),
            ),
            Values::OneOf(all) => (all.contains(&value), format!("one of {}", all.join(", "))),
            Values::Text => (value.len() <= 1024, "at most 1024 bytes long".to_owned()),
        };
        if fits {
            return Ok(());
        }
        Err(invalid(format!(
            "The value '{value}' of the attribute '{}' is not {expected}",
            self.key
        )))
    }
}

/// All attributes with their values.
pub(super) fn all(known: &[Known], given: &Attributes) -> Vec<(String, String)> {
    let value = |of: &Known| {
        let value = given.get(of.key).map_or(of.default, String::as_str);
        (of.key.to_owned(), value.to_owned())
    };
    known.iter().map(value).collect()
}

/// Takes `changes` over into `given`.
pub(super) fn modify(
    known: &[Known],
    given: &mut Attributes,
    changes: &[(String, String)],
) -> Result<(), Refusal> {
    if changes.is_empty() {
        return Err(invalid("At least one attribute must be specified"));
    }
    for (index, (key, value)) in changes.iter().enumerate() {
        if changes[..index].iter().any(|(other, _)| other == key) {
            let text = format!("The attribute '{key}' is specified twice");
            return Err(Code::InvalidConfigurationRequest.because(text));
        }
        let Some(known) = known.iter().find(|known| known.key == key) else {
            return Err(invalid(format!("The attribute '{key}' is not known for this resource")));
        };
        known.check(value)?;
        if value == known.default {
            given.remove(key);
        } else {
            given.insert(key.clone(), value.clone());
        }
    }
    Ok(())
}

/// True if the attribute `key`, whose default is false, is on.
pub(super) fn is_on(given: &Attributes, key: &str) -> bool {
    given.get(key).is_some_and(|value| value == "true")
}
