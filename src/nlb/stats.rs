//! What the NLB emulator counts. Written by flows of any worker, read at scrape.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use crate::{
    health::{Code, State},
    net::relay::Traffic,
    stats::Gauge,
};

/// A count with any number of writers.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    pub(super) fn one(&self) {
        self.add(1);
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(super) fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts of one listener.
#[derive(Debug, Default)]
pub(super) struct ListenerStats {
    pub(super) tcp: Carried,
    pub(super) tls: Carried,
    pub(super) udp: Carried,
    pub(super) datagrams: Count,
    pub(super) dropped_datagrams: Count,
    pub(super) client_resets: Count,
    pub(super) target_resets: Count,
    pub(super) elb_resets: Count,
    pub(super) rejected: Count,
    pub(super) source_blocked: Count,
    pub(super) fail_open: Count,
    pub(super) connect_failures: Count,
    pub(super) redispatches: Count,
    pub(super) port_allocation_errors: Count,
    pub(super) accept_errors: Count,
    pub(super) expired_evictions: Count,
    pub(super) client_tls_errors: Count,
    pub(super) target_tls_errors: Count,
}

/// Counts of the flows of one protocol.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) active: Gauge,
    pub(super) new: Count,
    /// Bytes to targets and to clients.
    pub(super) traffic: Traffic,
}

impl Carried {
    fn totals(&self) -> ProtocolTotals {
        ProtocolTotals {
            active_flow_count: self.active.load(),
            new_flow_count: self.new.load(),
            processed_bytes: self.traffic.a_to_b.load(Relaxed) + self.traffic.b_to_a.load(Relaxed),
        }
    }
}

/// Counts of one listener at one moment, named after the CloudWatch metrics (A.12).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerTotals {
    /// Name of the listener.
    pub listener: Arc<str>,
    /// The zone whose node it is; none if it stands for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<Arc<str>>,
    /// Flows open now.
    pub active_flow_count: i64,
    /// Flows accepted.
    pub new_flow_count: u64,
    /// Bytes relayed, both directions.
    pub processed_bytes: u64,
    /// The parts of these three.
    pub by_protocol: ByProtocol,
    /// Datagrams relayed, both directions.
    pub datagram_count: u64,
    /// Datagrams that were lost here: no target, too many flows, or a full queue.
    pub dropped_datagram_count: u64,
    /// Flows that the client reset.
    pub tcp_client_reset_count: u64,
    /// Flows that the target reset.
    pub tcp_target_reset_count: u64,
    /// Flows that the load balancer reset.
    pub tcp_elb_reset_count: u64,
    /// Flows refused: too many at once, or no target.
    pub rejected_flow_count: u64,
    /// Connections reset because the client is in no source range.
    pub source_blocked_flow_count: u64,
    /// Flows routed by fail-open.
    pub unhealthy_routing_flow_count: u64,
    /// Connections to targets that failed.
    pub target_connect_failures: u64,
    /// Flows that went to a second target after the first could not be reached.
    pub redispatches: u64,
    /// Dials for which there was no port: the client's own is in use for this target, or all are.
    pub port_allocation_error_count: u64,
    /// Failed accepts, such as for want of descriptors.
    pub accept_errors: u64,
    /// Flows that were silent for too long, and wait for the reset of their first late segment.
    pub expired_flow_count: usize,
    /// Such flows that were reset to make room.
    pub expired_flow_evictions: u64,
    /// TLS handshakes with clients that failed.
    pub client_tls_negotiation_error_count: u64,
    /// TLS handshakes with targets that failed.
    pub target_tls_negotiation_error_count: u64,
}

/// What CloudWatch tells apart by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByProtocol {
    /// TCP that is passed on as it is.
    pub tcp: ProtocolTotals,
    /// TLS that ends here.
    pub tls: ProtocolTotals,
    /// Datagrams.
    pub udp: ProtocolTotals,
}

/// Counts of the flows of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProtocolTotals {
    /// Flows open now.
    pub active_flow_count: i64,
    /// Flows accepted.
    pub new_flow_count: u64,
    /// Bytes relayed, both directions.
    pub processed_bytes: u64,
}

impl ProtocolTotals {
    fn add(&mut self, other: &Self) {
        self.active_flow_count += other.active_flow_count;
        self.new_flow_count += other.new_flow_count;
        self.processed_bytes += other.processed_bytes;
    }
}

impl ListenerStats {
    pub(super) fn totals(
        &self,
        listener: Arc<str>,
        zone: Option<Arc<str>>,
        expired_flow_count: usize,
    ) -> ListenerTotals {
        let by_protocol =
            ByProtocol { tcp: self.tcp.totals(), tls: self.tls.totals(), udp: self.udp.totals() };
        let mut all = by_protocol.tcp;
        all.add(&by_protocol.tls);
        all.add(&by_protocol.udp);
        ListenerTotals {
            listener,
            availability_zone: zone,
            active_flow_count: all.active_flow_count,
            new_flow_count: all.new_flow_count,
            processed_bytes: all.processed_bytes,
            by_protocol,
            datagram_count: self.datagrams.load(),
            dropped_datagram_count: self.dropped_datagrams.load(),
            tcp_client_reset_count: self.client_resets.load(),
            tcp_target_reset_count: self.target_resets.load(),
            tcp_elb_reset_count: self.elb_resets.load(),
            rejected_flow_count: self.rejected.load(),
            source_blocked_flow_count: self.source_blocked.load(),
            unhealthy_routing_flow_count: self.fail_open.load(),
            target_connect_failures: self.connect_failures.load(),
            redispatches: self.redispatches.load(),
            port_allocation_error_count: self.port_allocation_errors.load(),
            accept_errors: self.accept_errors.load(),
            expired_flow_count,
            expired_flow_evictions: self.expired_evictions.load(),
            client_tls_negotiation_error_count: self.client_tls_errors.load(),
            target_tls_negotiation_error_count: self.target_tls_errors.load(),
        }
    }
}

impl ListenerTotals {
    /// Adds the counts of another listener.
    pub(super) fn add(&mut self, other: &Self) {
        // Each field by name, so that a new one is not forgotten.
        let Self {
            listener: _,
            availability_zone: _,
            active_flow_count,
            new_flow_count,
            processed_bytes,
            by_protocol: ByProtocol { tcp, tls, udp },
            datagram_count,
            dropped_datagram_count,
            tcp_client_reset_count,
            tcp_target_reset_count,
            tcp_elb_reset_count,
            rejected_flow_count,
            source_blocked_flow_count,
            unhealthy_routing_flow_count,
            target_connect_failures,
            redispatches,
            port_allocation_error_count,
            accept_errors,
            expired_flow_count,
            expired_flow_evictions,
            client_tls_negotiation_error_count,
            target_tls_negotiation_error_count,
        } = other;
        self.active_flow_count += active_flow_count;
        self.new_flow_count += new_flow_count;
        self.processed_bytes += processed_bytes;
        self.by_protocol.tcp.add(tcp);
        self.by_protocol.tls.add(tls);
        self.by_protocol.udp.add(udp);
        self.datagram_count += datagram_count;
        self.dropped_datagram_count += dropped_datagram_count;
        self.tcp_client_reset_count += tcp_client_reset_count;
        self.tcp_target_reset_count += tcp_target_reset_count;
        self.tcp_elb_reset_count += tcp_elb_reset_count;
        self.rejected_flow_count += rejected_flow_count;
        self.source_blocked_flow_count += source_blocked_flow_count;
        self.unhealthy_routing_flow_count += unhealthy_routing_flow_count;
        self.target_connect_failures += target_connect_failures;
        self.redispatches += redispatches;
        self.port_allocation_error_count += port_allocation_error_count;
        self.accept_errors += accept_errors;
        self.expired_flow_count += expired_flow_count;
        self.expired_flow_evictions += expired_flow_evictions;
        self.client_tls_negotiation_error_count += client_tls_negotiation_error_count;
        self.target_tls_negotiation_error_count += target_tls_negotiation_error_count;
    }
}

/// Whether traffic is kept from a target whatever its health is (A.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Override {
    /// It is not.
    #[default]
    NoOverride,
    /// Traffic is shifted away from its zone, and no node sends it new flows.
    ZonalShiftActive,
    /// Traffic is shifted away from its zone, whose node has left DNS; flows that come to that node
    /// all the same reach it.
    ZonalShiftDelegatedToDns,
}

impl Override {
    fn is_none(&self) -> bool {
        *self == Self::NoOverride
    }

    /// The state in the words of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoOverride => "no_override",
            Self::ZonalShiftActive => "zonal_shift_active",
            Self::ZonalShiftDelegatedToDns => "zonal_shift_delegated_to_dns",
        }
    }

    /// Reason code of the API.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoOverride => "AdministrativeOverride.NoOverride",
            Self::ZonalShiftActive => "AdministrativeOverride.ZonalShiftActive",
            Self::ZonalShiftDelegatedToDns => "AdministrativeOverride.ZonalShiftDelegatedToDns",
        }
    }

    /// What it says, for people.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NoOverride => "No override is currently active on target",
            Self::ZonalShiftActive => "Traffic is shifted away from the zone of the target",
            Self::ZonalShiftDelegatedToDns => {
                "The node of the target's zone has left DNS, which is all that the shift does"
            },
        }
    }
}

/// A target at one moment, in the words of `DescribeTargetHealth` (A.6).
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetState {
    /// Name of its group.
    pub target_group: Arc<str>,
    /// Address.
    pub id: std::net::IpAddr,
    /// Port.
    pub port: u16,
    /// Its zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<Arc<str>>,
    /// Port that is checked.
    pub health_check_port: u16,
    /// State.
    pub state: State,
    /// Why, unless it is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Code>,
    /// Whether traffic is kept from it all the same.
    #[serde(skip_serializing_if = "Override::is_none")]
    pub administrative_override: Override,
    /// Flows open now. Ours; AWS does not tell.
    pub active_flows: i64,
}
