//! What CloudWatch would show of the load balancers (spec/l4-dns.md A.12), named as its exporters do.
//!
//! Registered by `api`. Counters grow for ever here; CloudWatch shows sums over a minute.

use std::{collections::BTreeMap, fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use super::Fleet;
use crate::{
    health::State,
    nlb::{
        NlbHandle,
        stats::{ByProtocol, ListenerTotals, ProtocolTotals},
    },
};

/// Encodes the metrics of the load balancers.
#[derive(Debug)]
pub(super) struct CloudWatch(pub(super) Fleet);

/// What a counter shows of a listener.
pub(super) type Read = fn(&ListenerTotals) -> u64;

/// Counters by the name that CloudWatch has for them, with help.
pub(super) const COUNTERS: [(&str, &str, Read); 10] = [
    ("new_flow_count", "Flows accepted", |totals| totals.new_flow_count),
    ("processed_bytes", "Bytes relayed in both directions", |totals| totals.processed_bytes),
    ("tcp_client_reset_count", "Flows reset by the client", |totals| totals.tcp_client_reset_count),
    ("tcp_target_reset_count", "Flows reset by the target", |totals| totals.tcp_target_reset_count),
    ("tcp_elb_reset_count", "Flows reset by the load balancer", |totals| {
        totals.tcp_elb_reset_count
    }),
    ("port_allocation_error_count", "Dials for which there was no port", |totals| {
        totals.port_allocation_error_count
    }),
    ("rejected_flow_count", "Flows refused", |totals| totals.rejected_flow_count),
    ("unhealthy_routing_flow_count", "Flows routed by fail-open", |totals| {
        totals.unhealthy_routing_flow_count
    }),
    ("client_tls_negotiation_error_count", "TLS handshakes with clients that failed", |totals| {
        totals.client_tls_negotiation_error_count
    }),
    ("target_tls_negotiation_error_count", "TLS handshakes with targets that failed", |totals| {
        totals.target_tls_negotiation_error_count
    }),
];

/// What a counter shows of a protocol.
type ReadPart = fn(&ProtocolTotals) -> u64;

/// Counters that each of them has.
const PARTS: [(&str, &str, ReadPart); 2] = [
    ("new_flow_count", "Flows accepted", |part| part.new_flow_count),
    ("processed_bytes", "Bytes relayed in both directions", |part| part.processed_bytes),
];

/// How many healthy and unhealthy hosts a target in this state is.
pub(super) fn hosts_of(state: State) -> [i64; 2] {
    match state {
        State::Healthy => [1, 0],
        State::Unhealthy | State::UnhealthyDraining => [0, 1],
        State::Draining | State::Initial | State::Unavailable | State::Unused => [0, 0],
    }
}

impl Collector for CloudWatch {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let balancers: Vec<_> = self
            .0
            .handles()
            .into_iter()
            .map(|handle| (handle.names().label.clone(), handle))
            .collect();
        encode_flows(&mut encoder, &balancers)?;
        encode_hosts(&mut encoder, &balancers)?;
        let name = "nlb_access_log_lost_lines";
        let help = "Lines of access logs that were lost: the queue was full, or writing failed";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (balancer, handle) in &balancers {
            let labels = [("load_balancer", &**balancer)];
            let lost = handle.lost_log_lines();
            ConstCounter::new(lost).encode(family.encode_family(&labels)?)?;
        }
        let name = "aws_networkelb_zonal_health_status";
        let help = "1 if no target group fails the zone";
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (balancer, handle) in &balancers {
            for zone in handle.zones() {
                let labels = [("load_balancer", &**balancer), ("availability_zone", &*zone.zone)];
                ConstGauge::new(i64::from(zone.healthy)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// A load balancer with its label.
type Labelled = (String, NlbHandle);

/// Counts by load balancer and zone.
type ByZone<'a> = BTreeMap<(&'a str, Arc<str>), ListenerTotals>;

/// Counts of flows by the zone of the node; the zone is empty for a listener of all zones.
fn encode_flows(encoder: &mut DescriptorEncoder<'_>, balancers: &[Labelled]) -> fmt::Result {
    let mut zones = ByZone::new();
    for (balancer, handle) in balancers {
        for totals in handle.zone_totals() {
            let zone = totals.availability_zone.clone().unwrap_or_default();
            zones.insert((&**balancer, zone), totals);
        }
    }
    for (name, help, read) in COUNTERS {
        let name = format!("aws_networkelb_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for ((balancer, zone), totals) in &zones {
            let labels = [("load_balancer", *balancer), ("availability_zone", &**zone)];
            ConstCounter::new(read(totals)).encode(family.encode_family(&labels)?)?;
        }
    }
    let name = "aws_networkelb_active_flow_count";
    let mut family = encoder.encode_descriptor(name, "Open flows", None, MetricType::Gauge)?;
    for ((balancer, zone), totals) in &zones {
        let labels = [("load_balancer", *balancer), ("availability_zone", &**zone)];
        ConstGauge::new(totals.active_flow_count).encode(family.encode_family(&labels)?)?;
    }
    encode_part(encoder, &zones, "tcp", |all| all.tcp)?;
    encode_part(encoder, &zones, "tls", |all| all.tls)?;
    encode_part(encoder, &zones, "udp", |all| all.udp)?;
    Ok(())
}

/// The counts of one protocol, by the zone of the node.
fn encode_part(
    encoder: &mut DescriptorEncoder<'_>,
    zones: &ByZone<'_>,
    protocol: &str,
    part: fn(&ByProtocol) -> ProtocolTotals,
) -> fmt::Result {
    let parts = zones.iter().map(|((balancer, zone), totals)| {
        let labels = [("load_balancer", *balancer), ("availability_zone", &**zone)];
        (labels, part(&totals.by_protocol))
    });
    let parts: Vec<_> = parts.collect();
    for (metric, help, read) in PARTS {
        let (name, help) =
            (format!("aws_networkelb_{metric}_{protocol}"), format!("{help}, of {protocol}"));
        let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Counter)?;
        for (labels, part) in &parts {
            ConstCounter::new(read(part)).encode(family.encode_family(labels)?)?;
        }
    }
    let name = format!("aws_networkelb_active_flow_count_{protocol}");
    let help = format!("Open flows, of {protocol}");
    let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Gauge)?;
    for (labels, part) in &parts {
        ConstGauge::new(part.active_flow_count).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

/// Healthy and unhealthy targets by group and zone.
fn encode_hosts(encoder: &mut DescriptorEncoder<'_>, balancers: &[Labelled]) -> fmt::Result {
    // By load balancer, group and zone.
    let mut hosts = BTreeMap::<(&str, Arc<str>, Arc<str>), [i64; 2]>::new();
    for (balancer, handle) in balancers {
        for target in handle.targets() {
            let zone = target.availability_zone.unwrap_or_default();
            let counts = hosts.entry((&**balancer, target.target_group, zone)).or_default();
            let [healthy, unhealthy] = hosts_of(target.state);
            counts[0] += healthy;
            counts[1] += unhealthy;
        }
    }
    let families = ["aws_networkelb_healthy_host_count", "aws_networkelb_un_healthy_host_count"];
    for (index, name) in families.into_iter().enumerate() {
        let help = ["Healthy targets", "Unhealthy targets"][index];
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for ((balancer, group, zone), counts) in &hosts {
            let labels = [
                ("load_balancer", *balancer),
                ("availability_zone", &**zone),
                ("target_group", &**group),
            ];
            ConstGauge::new(counts[index]).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A.12: hosts count while they are registered and judged.
    #[test]
    fn hosts_are_counted_by_their_state() {
        for (state, expected) in [
            (State::Healthy, [1, 0]),
            (State::Unhealthy, [0, 1]),
            (State::UnhealthyDraining, [0, 1]),
            (State::Draining, [0, 0]),
            (State::Initial, [0, 0]),
            (State::Unavailable, [0, 0]),
            (State::Unused, [0, 0]),
        ] {
            assert_eq!(hosts_of(state), expected, "{state:?}");
        }
    }
}
