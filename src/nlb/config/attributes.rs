//! Attribute maps with AWS's keys, ranges and defaults (A.6b). A key that has no effect here is an
//! error: it must not look as if it had one.

use std::{collections::BTreeMap, ops::RangeInclusive, time::Duration};

use serde_saphyr::Spanned;

use super::{
    Protocol, access,
    read::{ConfigError, Problem},
};
use crate::{
    health::OnUnhealthy,
    nlb::{flow::Minimum, names::ClientRouting},
};

/// Keys and values as written.
pub(super) type Attributes = BTreeMap<String, Spanned<String>>;

/// Attributes of the load balancer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BalancerAttributes {
    pub(super) cross_zone: bool,
    /// A zone may be shifted away from.
    pub(super) zonal_shift: bool,
    pub(super) client_routing: ClientRouting,
}

/// Attributes of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenerAttributes {
    pub(super) idle_timeout: Duration,
}

/// Attributes of a target group.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupAttributes {
    pub(super) proxy_protocol: bool,
    pub(super) preserve_client: bool,
    pub(super) sticky: bool,
    /// `None` is `use_load_balancer_configuration`.
    pub(super) cross_zone: Option<bool>,
    pub(super) deregistration_delay: Duration,
    pub(super) deregistration_termination: bool,
    pub(super) unhealthy_termination: bool,
    pub(super) unhealthy_draining: Duration,
    pub(super) minimum: Minimum,
    pub(super) dns_minimum: Minimum,
}

impl Default for GroupAttributes {
    fn default() -> Self {
        Self {
            proxy_protocol: false,
            preserve_client: false,
            sticky: false,
            cross_zone: None,
            deregistration_delay: Duration::from_secs(300),
            deregistration_termination: false,
            unhealthy_termination: true,
            unhealthy_draining: Duration::ZERO,
            minimum: Minimum::default(),
            dns_minimum: Minimum::default(),
        }
    }
}

impl GroupAttributes {
    pub(super) fn on_unhealthy(&self) -> OnUnhealthy {
        match (self.unhealthy_termination, self.unhealthy_draining.is_zero()) {
            (true, _) => OnUnhealthy::Reset,
            (false, true) => OnUnhealthy::Keep,
            (false, false) => OnUnhealthy::Drain,
        }
    }
}

pub(super) fn balancer(attributes: &Attributes) -> Result<BalancerAttributes, ConfigError> {
    let mut read = BalancerAttributes::default();
    for (key, value) in attributes {
        match key.as_str() {
            "load_balancing.cross_zone.enabled" => read.cross_zone = truth(key, value)?,
            "dns_record.client_routing_policy" => {
                read.client_routing = match value.value.as_str() {
                    "any_availability_zone" => ClientRouting::Any,
                    "availability_zone_affinity" => ClientRouting::Own,
                    "partial_availability_zone_affinity" => ClientRouting::Partial,
                    _ => {
                        let expected = "any_availability_zone, availability_zone_affinity or \
                                        partial_availability_zone_affinity";
                        return Err(bad(key, value, expected));
                    },
                };
            },
            "zonal_shift.config.enabled" => read.zonal_shift = truth(key, value)?,
            key if access::is_own(key) => {},
            _ => return Err(unknown(key, value)),
        }
    }
    Ok(read)
}

pub(super) fn listener(
    attributes: &Attributes,
    protocol: Protocol,
) -> Result<ListenerAttributes, ConfigError> {
    let mut read = ListenerAttributes { idle_timeout: super::DEFAULT_IDLE_TIMEOUT };
    for (key, value) in attributes {
        match key.as_str() {
            "tcp.idle_timeout.seconds" if protocol == Protocol::Udp => {
                return Err(bad(key, value, "left out with protocol UDP"));
            },
            "tcp.idle_timeout.seconds" => read.idle_timeout = seconds(key, value, 60..=6000)?,
            _ => return Err(unknown(key, value)),
        }
    }
    Ok(read)
}

pub(super) fn group(
    attributes: &Attributes,
    protocol: Protocol,
) -> Result<GroupAttributes, ConfigError> {
    let deregistration_termination = protocol.has_udp();
    let mut read = GroupAttributes { deregistration_termination, ..GroupAttributes::default() };
    for (key, value) in attributes {
        match key.as_str() {
            "deregistration_delay.connection_termination.enabled" => {
                read.deregistration_termination = truth(key, value)?;
            },
            "deregistration_delay.timeout_seconds" => {
                read.deregistration_delay = seconds(key, value, 0..=3600)?;
            },
            "load_balancing.cross_zone.enabled" => {
                read.cross_zone = match value.value.as_str() {
                    "use_load_balancer_configuration" => None,
                    _ => Some(truth(key, value)?),
                };
            },
            "preserve_client_ip.enabled" => {
                read.preserve_client = truth(key, value)?;
                if read.preserve_client && protocol.has_udp() {
                    let expected = format!("false with protocol {}", protocol.as_str());
                    return Err(bad(key, value, &expected));
                }
            },
            "proxy_protocol_v2.enabled" => {
                read.proxy_protocol = truth(key, value)?;
                if read.proxy_protocol && protocol == Protocol::Udp {
                    return Err(bad(key, value, "false with protocol UDP"));
                }
            },
            "stickiness.enabled" => read.sticky = truth(key, value)?,
            "stickiness.type" => {
                if value.value != "source_ip" {
                    return Err(bad(key, value, "source_ip"));
                }
            },
            _ => group_health(&mut read, key, value)?,
        }
    }
    order_of_minimums(&mut read, attributes)?;
    Ok(read)
}

const DNS_COUNT: &str = "target_group_health.dns_failover.minimum_healthy_targets.count";
const DNS_PERCENT: &str = "target_group_health.dns_failover.minimum_healthy_targets.percentage";

/// A zone leaves DNS no later than its node fails open: the limits of DNS are at least those of
/// routing (A.6b). A count that is left out follows.
fn order_of_minimums(
    read: &mut GroupAttributes,
    attributes: &Attributes,
) -> Result<(), ConfigError> {
    let (routing, dns) = (read.minimum, &mut read.dns_minimum);
    match attributes.get(DNS_COUNT) {
        None => dns.count = routing.count,
        Some(value) => at_least(DNS_COUNT, value, dns.count, routing.count)?,
    }
    match attributes.get(DNS_PERCENT) {
        None => Ok(()),
        Some(value) => at_least(DNS_PERCENT, value, dns.percent, routing.percent),
    }
}

fn at_least(
    key: &str,
    value: &Spanned<String>,
    dns: Option<u32>,
    routing: Option<u32>,
) -> Result<(), ConfigError> {
    match (dns, routing) {
        (Some(dns), Some(least)) if dns < least => {
            Err(bad(key, value, &format!("off or at least {least}, as in routing")))
        },
        _ => Ok(()),
    }
}

/// A number, or `off`.
fn number_or_off(
    key: &str,
    value: &Spanned<String>,
    range: RangeInclusive<u32>,
) -> Result<Option<u32>, ConfigError> {
    match value.value.as_str() {
        "off" => Ok(None),
        _ => number(key, value, range).map(Some),
    }
}

fn group_health(
    read: &mut GroupAttributes,
    key: &str,
    value: &Spanned<String>,
) -> Result<(), ConfigError> {
    match key {
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count" => {
            read.minimum.count = Some(number(key, value, 1..=1000)?);
        },
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage" => {
            read.minimum.percent = number_or_off(key, value, 1..=100)?;
        },
        DNS_COUNT => read.dns_minimum.count = number_or_off(key, value, 1..=1000)?,
        DNS_PERCENT => read.dns_minimum.percent = number_or_off(key, value, 1..=100)?,
        "target_health_state.unhealthy.connection_termination.enabled" => {
            read.unhealthy_termination = truth(key, value)?;
        },
        "target_health_state.unhealthy.draining_interval_seconds" => {
            read.unhealthy_draining = seconds(key, value, 0..=360_000)?;
        },
        _ => return Err(unknown(key, value)),
    }
    Ok(())
}

pub(super) fn truth(key: &str, value: &Spanned<String>) -> Result<bool, ConfigError> {
    match value.value.as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(bad(key, value, "true or false")),
    }
}

fn number(
    key: &str,
    value: &Spanned<String>,
    range: RangeInclusive<u32>,
) -> Result<u32, ConfigError> {
    value.value.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        bad(key, value, &format!("a number from {} to {}", range.start(), range.end()))
    })
}

fn seconds(
    key: &str,
    value: &Spanned<String>,
    range: RangeInclusive<u32>,
) -> Result<Duration, ConfigError> {
    number(key, value, range).map(|number| Duration::from_secs(number.into()))
}

fn unknown(key: &str, value: &Spanned<String>) -> ConfigError {
    ConfigError::at(value, Problem::UnknownAttribute { key: key.to_owned() })
}

fn bad(key: &str, value: &Spanned<String>, expected: &str) -> ConfigError {
    let problem = Problem::Value { name: key.to_owned(), expected: expected.to_owned() };
    ConfigError::at(value, problem)
}
