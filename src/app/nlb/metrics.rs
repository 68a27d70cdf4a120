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
        config::Protocol,
        stats::{ListenerTotals, ProtocolTotals},
    },
};

/// Encodes the metrics of the load balancers.
#[derive(Debug)]
pub(super) struct CloudWatch(pub(super) Fleet);

/// What a counter shows of a listener.
pub(super) type Read = fn(&ListenerTotals) -> u64;

/// Counters by the name that CloudWatch has for them, with help.
pub(super) const COUNTERS: [(&str, &str, Read); 9] = [
    ("new_flow_count", "Flows accepted", |totals| totals.new_flow_count),
    ("processed_bytes", "Bytes relayed in both directions", |totals| totals.processed_bytes),
    ("tcp_client_reset_count", "Flows reset by the client", |totals| totals.tcp_client_reset_count),
    ("tcp_target_reset_count", "Flows reset by the target", |totals| totals.tcp_target_reset_count),
    ("tcp_elb_reset_count", "Flows reset by the load balancer", |totals| {
        totals.tcp_elb_reset_count
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

/// Protocols that have counts of their own, by the ends of their names.
const PROTOCOLS: [(&str, Protocol); 3] =
    [("tcp", Protocol::Tcp), ("tls", Protocol::Tls), ("udp", Protocol::Udp)];

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
        State::Draining | State::Initial | State::Unused => [0, 0],
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

/// Listeners by load balancer and zone.
type ByZone<'a> = BTreeMap<(&'a str, Arc<str>), Vec<ListenerTotals>>;

/// Counts of flows by the zone of the node; the zone is empty for a listener of all zones.
fn encode_flows(encoder: &mut DescriptorEncoder<'_>, balancers: &[Labelled]) -> fmt::Result {
    let mut zones = ByZone::new();
    for (balancer, handle) in balancers {
        for totals in handle.listeners() {
            let zone = totals.availability_zone.clone().unwrap_or_default();
            zones.entry((&**balancer, zone)).or_default().push(totals);
        }
    }
    for (name, help, read) in COUNTERS {
        let name = format!("aws_networkelb_{name}");
        let mut family = encoder.encode_descriptor(&name, help, None, MetricType::Counter)?;
        for ((balancer, zone), listeners) in &zones {
            let labels = [("load_balancer", *balancer), ("availability_zone", &**zone)];
            let sum: u64 = listeners.iter().map(read).sum();
            ConstCounter::new(sum).encode(family.encode_family(&labels)?)?;
        }
    }
    let name = "aws_networkelb_active_flow_count";
    let mut family = encoder.encode_descriptor(name, "Open flows", None, MetricType::Gauge)?;
    for ((balancer, zone), listeners) in &zones {
        let labels = [("load_balancer", *balancer), ("availability_zone", &**zone)];
        let sum: i64 = listeners.iter().map(|totals| totals.active_flow_count).sum();
        ConstGauge::new(sum).encode(family.encode_family(&labels)?)?;
    }
    for (suffix, protocol) in PROTOCOLS {
        encode_part(encoder, &zones, suffix, protocol)?;
    }
    Ok(())
}

/// The counts of one protocol, by the zone of the node.
fn encode_part(
    encoder: &mut DescriptorEncoder<'_>,
    zones: &ByZone<'_>,
    suffix: &str,
    protocol: Protocol,
) -> fmt::Result {
    let sums = zones.iter().map(|((balancer, zone), listeners)| {
        let parts = listeners.iter().map(|totals| totals.part(protocol));
        let sum = parts.fold(ProtocolTotals::default(), |sum, part| ProtocolTotals {
            active_flow_count: sum.active_flow_count + part.active_flow_count,
            new_flow_count: sum.new_flow_count + part.new_flow_count,
            processed_bytes: sum.processed_bytes + part.processed_bytes,
        });
        ([("load_balancer", *balancer), ("availability_zone", &**zone)], sum)
    });
    let sums: Vec<_> = sums.collect();
    let name = |metric: &str| format!("aws_networkelb_{metric}_{suffix}");
    let of = protocol.as_str();
    for (metric, help, read) in PARTS {
        let (name, help) = (name(metric), format!("{help}, of {of}"));
        let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Counter)?;
        for (labels, sum) in &sums {
            ConstCounter::new(read(sum)).encode(family.encode_family(labels)?)?;
        }
    }
    let help = format!("Open flows, of {of}");
    let name = name("active_flow_count");
    let mut family = encoder.encode_descriptor(&name, &help, None, MetricType::Gauge)?;
    for (labels, sum) in &sums {
        ConstGauge::new(sum.active_flow_count).encode(family.encode_family(labels)?)?;
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
            (State::Unused, [0, 0]),
        ] {
            assert_eq!(hosts_of(state), expected, "{state:?}");
        }
    }
}
