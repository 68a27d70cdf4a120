//! What the NLB emulator counts. Written by flows of any worker, read at scrape.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::Serialize;

use super::config::Protocol;
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
    pub(super) active: Gauge,
    pub(super) new: Count,
    pub(super) traffic: Traffic,
    pub(super) client_resets: Count,
    pub(super) target_resets: Count,
    pub(super) elb_resets: Count,
    pub(super) rejected: Count,
    pub(super) source_blocked: Count,
    pub(super) fail_open: Count,
    pub(super) connect_failures: Count,
    pub(super) redispatches: Count,
    pub(super) accept_errors: Count,
    pub(super) expired_evictions: Count,
    pub(super) client_tls_errors: Count,
    pub(super) target_tls_errors: Count,
    pub(super) udp: UdpStats,
}

/// Counts of the UDP part of a listener.
#[derive(Debug, Default)]
pub(super) struct UdpStats {
    active: Gauge,
    pub(super) new: Count,
    /// Bytes to targets and to clients.
    pub(super) traffic: Traffic,
    datagrams: Count,
    pub(super) dropped: Count,
}

impl UdpStats {
    /// Counts a datagram of `length` bytes that went in the direction of `bytes`.
    pub(super) fn passed(&self, length: usize, bytes: &AtomicU64) {
        self.datagrams.one();
        bytes.fetch_add(length as u64, Relaxed);
    }

    /// Counts a flow as open until it is dropped.
    pub(super) fn open(&self) -> OpenUdp<'_> {
        self.active.add(1);
        OpenUdp(self)
    }
}

/// A flow that is open.
pub(super) struct OpenUdp<'a>(&'a UdpStats);

impl Drop for OpenUdp<'_> {
    fn drop(&mut self) {
        self.0.active.add(-1);
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
    /// What it carries.
    pub protocol: Protocol,
    /// Flows open now.
    pub active_flow_count: i64,
    /// Those of UDP.
    pub active_flow_count_udp: i64,
    /// Flows accepted.
    pub new_flow_count: u64,
    /// Those of UDP.
    pub new_flow_count_udp: u64,
    /// Bytes relayed, both directions.
    pub processed_bytes: u64,
    /// Those of UDP.
    pub processed_bytes_udp: u64,
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

impl ListenerStats {
    pub(super) fn totals(
        &self,
        listener: Arc<str>,
        zone: Option<Arc<str>>,
        protocol: Protocol,
        expired_flow_count: usize,
    ) -> ListenerTotals {
        let bytes = |traffic: &Traffic| traffic.a_to_b.load(Relaxed) + traffic.b_to_a.load(Relaxed);
        let udp = &self.udp;
        let (active_flow_count_udp, new_flow_count_udp) = (udp.active.load(), udp.new.load());
        let processed_bytes_udp = bytes(&udp.traffic);
        ListenerTotals {
            listener,
            availability_zone: zone,
            protocol,
            active_flow_count: self.active.load() + active_flow_count_udp,
            active_flow_count_udp,
            new_flow_count: self.new.load() + new_flow_count_udp,
            new_flow_count_udp,
            processed_bytes: bytes(&self.traffic) + processed_bytes_udp,
            processed_bytes_udp,
            datagram_count: udp.datagrams.load(),
            dropped_datagram_count: udp.dropped.load(),
            tcp_client_reset_count: self.client_resets.load(),
            tcp_target_reset_count: self.target_resets.load(),
            tcp_elb_reset_count: self.elb_resets.load(),
            rejected_flow_count: self.rejected.load(),
            source_blocked_flow_count: self.source_blocked.load(),
            unhealthy_routing_flow_count: self.fail_open.load(),
            target_connect_failures: self.connect_failures.load(),
            redispatches: self.redispatches.load(),
            accept_errors: self.accept_errors.load(),
            expired_flow_count,
            expired_flow_evictions: self.expired_evictions.load(),
            client_tls_negotiation_error_count: self.client_tls_errors.load(),
            target_tls_negotiation_error_count: self.target_tls_errors.load(),
        }
    }
}

/// What CloudWatch tells apart by protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProtocolTotals {
    /// Flows open now.
    pub active_flow_count: i64,
    /// Flows accepted.
    pub new_flow_count: u64,
    /// Bytes relayed, both directions.
    pub processed_bytes: u64,
}

impl ListenerTotals {
    /// The part of `protocol`: TCP, TLS or UDP. A listener of TCP and UDP has two.
    #[must_use]
    pub fn part(&self, protocol: Protocol) -> ProtocolTotals {
        let udp = ProtocolTotals {
            active_flow_count: self.active_flow_count_udp,
            new_flow_count: self.new_flow_count_udp,
            processed_bytes: self.processed_bytes_udp,
        };
        match (protocol, self.protocol) {
            (Protocol::Udp, _) => udp,
            (Protocol::Tls, Protocol::Tls) | (Protocol::Tcp, Protocol::Tcp | Protocol::TcpUdp) => {
                ProtocolTotals {
                    active_flow_count: self.active_flow_count - udp.active_flow_count,
                    new_flow_count: self.new_flow_count - udp.new_flow_count,
                    processed_bytes: self.processed_bytes - udp.processed_bytes,
                }
            },
            _ => ProtocolTotals::default(),
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
    /// Flows open now. Ours; AWS does not tell.
    pub active_flows: i64,
}
