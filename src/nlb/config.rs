//! Configuration of the NLB emulator: plain data, and how it is read from YAML.
//!
//! Read by `app::nlb`, built in code by `wharf up`. Words, ranges and defaults are those of the AWS
//! API (spec/l4-dns.md A.1, A.5, A.6b); what is ours is marked "extension".
//!
//! ```yaml
//! name: openshift
//! zones:                                                                    # or [a, b]
//!   - { name: a, address: 127.0.1.1, clients: [10.0.0.0/20] }               # clients: see below
//!   - { name: b, address: 127.0.1.2 }
//! region: us-east-1                                                         # for DNS names
//! aliases: ["*.apps.example.com"]
//! attributes:
//!   load_balancing.cross_zone.enabled: "true"
//!   zonal_shift.config.enabled: "true"
//!   dns_record.client_routing_policy: availability_zone_affinity  # by the `clients` of the zones
//! healthCheckers: each-zone         # or one
//! propagationDelaySeconds: 0
//! zonalShift: { awayFrom: b }       # while it stands here
//! listeners:
//!   - { port: 443, protocol: TCP, targetGroup: https }  # or targetGroups: [{ name, weight }]
//! targetGroups:
//!   - name: https
//!     protocol: TCP
//!     port: 8443
//!     healthCheck: { protocol: HTTP, port: 1936, path: /healthz/ready, intervalSeconds: 5 }
//!     attributes: { proxy_protocol_v2.enabled: true }
//!     targets:
//!       - { id: 10.0.0.11, availabilityZone: a }
//!       - { id: 10.0.0.12, availabilityZone: b }
//! ```

mod access;
mod attributes;
mod checks;
mod nodes;
mod read;
mod tls;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

pub use read::{ConfigError, LoadError, Problem, files, parse, parse_file, parse_in, read_text};
pub use tls::{DEFAULT_HANDSHAKE_TIMEOUT, TlsConfig};

use ipnet::IpNet;

use crate::{
    health::Rules,
    nlb::{accesslog::AccessLogConfig, flow::Minimum, names::NamesConfig},
    probe::Matcher,
};

/// Flows at once of one listener, unless configured.
pub const DEFAULT_MAX_FLOWS: usize = 50_000;
/// Default of `maxExpiredFlows`.
pub const DEFAULT_MAX_EXPIRED_FLOWS: usize = 10_000;
/// Limit of connecting to a target, unless configured.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of `tcp.idle_timeout.seconds` (A.4).
pub const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(350);

/// How long a flow of UDP may be silent (A.4).
pub const DEFAULT_UDP_IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// A load balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct NlbConfig {
    /// Its name; a label of metrics.
    pub name: Arc<str>,
    /// Enabled zones. Empty: every zone is enabled.
    pub zones: Vec<ZoneConfig>,
    /// What its DNS names are made of.
    pub names: NamesConfig,
    /// Listeners; names and addresses are unique.
    pub listeners: Vec<ListenerConfig>,
    /// Target groups; names are unique.
    pub groups: Vec<GroupConfig>,
    /// The access log of TLS listeners, if there is one.
    pub access_log: Option<AccessLogConfig>,
    /// The zone that traffic is shifted away from, if one is (A.2). Extension: at AWS another service
    /// starts and ends it.
    pub shifted: Option<Arc<str>>,
}

/// An enabled zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneConfig {
    /// Its name.
    pub name: Arc<str>,
    /// Address of its load balancer node: listeners without an address of their own listen here,
    /// and DNS answers with it. Extension: AWS chooses it.
    pub address: Option<IpAddr>,
}

impl From<&str> for ZoneConfig {
    fn from(name: &str) -> Self {
        Self { name: name.into(), address: None }
    }
}

/// What AWS does and tests seldom want, for load balancers whose makers cannot say it: those of the API
/// and of manifests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Realism {
    /// `healthCheckers: each-zone`.
    pub check_from_each_zone: bool,
    /// `propagationDelaySeconds`.
    pub propagation_delay: u16,
}

impl Realism {
    /// Puts what differs from the defaults into the document of a load balancer.
    pub(crate) fn write(self, document: &mut serde_json::Value) {
        if self.check_from_each_zone {
            document["healthCheckers"] = "each-zone".into();
        }
        if self.propagation_delay > 0 {
            document["propagationDelaySeconds"] = self.propagation_delay.into();
        }
    }
}

/// Protocol of a listener or of a target group (A.1).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Deserialize, serde::Serialize,
)]
pub enum Protocol {
    /// Byte streams.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// Byte streams in TLS: of a listener, TLS ends here; of a group, TLS begins here.
    #[serde(rename = "TLS")]
    Tls,
    /// Datagrams.
    #[serde(rename = "UDP")]
    Udp,
    /// Both on one port number.
    #[serde(rename = "TCP_UDP")]
    TcpUdp,
}

/// What kind of thing the targets of a group are (A.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub enum TargetType {
    /// Machines, by an id that stands for an address.
    #[serde(rename = "instance")]
    Instance,
    /// Addresses.
    #[default]
    #[serde(rename = "ip")]
    Ip,
}

/// One target group of a forward action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weighted {
    /// Name of the group.
    pub group: Arc<str>,
    /// 0 to 999; a group of weight 0 gets no new flow.
    pub weight: u32,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// What identifies it over configuration changes. Extension; `PROTOCOL:PORT` by default.
    pub name: Arc<str>,
    /// What it carries.
    pub protocol: Protocol,
    /// Where it listens. `port: N` means `0.0.0.0:N`; a whole `address` is an extension.
    pub address: SocketAddr,
    /// The zone whose load balancer node this listener stands for. Extension; without it the
    /// listener sees the targets of all zones.
    pub zone: Option<Arc<str>>,
    /// The forward action: target groups with their weights, at least one.
    pub forward: Vec<Weighted>,
    /// `tcp.idle_timeout.seconds`.
    pub idle_timeout: Duration,
    /// How long a flow of UDP may be silent. Extension: it is fixed at AWS.
    pub udp_idle_timeout: Duration,
    /// Limit of connecting to a target. Extension.
    pub connect_timeout: Duration,
    /// Flows at once, of TCP and of UDP each; connections beyond are reset, datagrams dropped.
    /// Extension.
    pub max_flows: usize,
    /// Most flows that wait, silent for longer than `idle_timeout`, for the reset of their first late
    /// segment; the oldest is reset for a new one. They hold two descriptors each.
    pub max_expired_flows: usize,
    /// Clients that may connect; empty: all. Extension: AWS has security groups for it.
    pub source_ranges: Vec<IpNet>,
    /// What TLS needs; there for TLS listeners and no others.
    pub tls: Option<TlsConfig>,
}

/// A target group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupConfig {
    /// Its name.
    pub name: Arc<str>,
    /// What its targets speak.
    pub protocol: Protocol,
    /// What its targets are; from a file, addresses only.
    pub target_type: TargetType,
    /// How health is checked.
    pub check: CheckConfig,
    /// `proxy_protocol_v2.enabled`.
    pub proxy_protocol: bool,
    /// `preserve_client_ip.enabled`: targets see the address of the client.
    pub preserve_client: bool,
    /// `stickiness.enabled` with type `source_ip`.
    pub sticky: bool,
    /// `load_balancing.cross_zone.enabled`, the load balancer's value filled in.
    pub cross_zone: bool,
    /// `deregistration_delay.timeout_seconds`.
    pub deregistration_delay: Duration,
    /// `deregistration_delay.connection_termination.enabled`.
    pub deregistration_termination: bool,
    /// `target_health_state.unhealthy.draining_interval_seconds`.
    pub unhealthy_draining: Duration,
    /// `target_group_health.unhealthy_state_routing.minimum_healthy_targets.*`.
    pub minimum: Minimum,
    /// `target_group_health.dns_failover.minimum_healthy_targets.*`.
    pub dns_minimum: Minimum,
    /// How long a change of a target takes to reach flows and DNS, after the API shows it. Extension:
    /// 0 by default; at AWS it is 20 to 120 s (A.14).
    pub propagation_delay: Duration,
    /// [`NlbConfig::shifted`].
    pub shifted: Option<Arc<str>>,
    /// Targets; addresses are unique.
    pub targets: Vec<TargetConfig>,
}

/// A registered target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Address and port.
    pub address: SocketAddr,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Port that is checked. Extension: two routers on one host differ here.
    pub check_port: Option<u16>,
}

/// How the targets of a group are checked (A.5).
#[derive(Clone, Debug, PartialEq)]
pub struct CheckConfig {
    /// HealthCheckProtocol, with the path and the matcher of HTTP.
    pub protocol: CheckProtocol,
    /// HealthCheckPort; `None` is `traffic-port`.
    pub port: Option<u16>,
    /// HealthCheckIntervalSeconds.
    pub interval: Duration,
    /// HealthCheckTimeoutSeconds.
    pub timeout: Duration,
    /// HealthCheckEnabled. Extension: AWS takes `false` for functions only.
    pub enabled: bool,
    /// Checks in each interval, one for each node that checks; most of them decide.
    pub checkers: usize,
    /// Thresholds, and what the attributes say about unhealthy targets.
    pub rules: Rules,
    /// Which checks carry a PROXY header when the group has it enabled (A.7).
    pub send_proxy_header: SendProxyHeader,
}

/// Protocol of a health check.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckProtocol {
    /// A GET.
    Http {
        /// HealthCheckPath.
        path: Arc<str>,
        /// Matcher.
        matcher: Matcher,
    },
    /// A GET over TLS, whose certificate is not validated.
    Https {
        /// HealthCheckPath.
        path: Arc<str>,
        /// Matcher.
        matcher: Matcher,
    },
    /// A connection.
    Tcp,
}

/// Which checks carry a PROXY header when the group has it enabled. Extension: reports about what
/// AWS does for another port than the traffic port contradict each other (A.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SendProxyHeader {
    /// All.
    Always,
    /// None.
    Never,
    /// Those to the port that also gets traffic.
    TrafficPortOnly,
}

impl Protocol {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Udp => "UDP",
            Self::TcpUdp => "TCP_UDP",
        }
    }

    /// True if a listener of this protocol may forward to a group of protocol `group`; anything else
    /// is `IncompatibleProtocols` (A.1).
    #[must_use]
    pub fn may_forward_to(self, group: Self) -> bool {
        match self {
            Self::Tcp => matches!(group, Self::Tcp | Self::TcpUdp),
            Self::Tls => matches!(group, Self::Tcp | Self::Tls),
            Self::Udp => matches!(group, Self::Udp | Self::TcpUdp),
            Self::TcpUdp => group == Self::TcpUdp,
        }
    }

    /// True if connections of TCP come to a listener of this protocol.
    #[must_use]
    pub fn has_tcp(self) -> bool {
        self != Self::Udp
    }

    /// True if datagrams come to a listener of this protocol.
    #[must_use]
    pub fn has_udp(self) -> bool {
        matches!(self, Self::Udp | Self::TcpUdp)
    }
}

impl ListenerConfig {
    /// True if it forwards to the group of this name.
    #[must_use]
    pub fn forwards_to(&self, group: &str) -> bool {
        self.weight_of(group).is_some()
    }

    /// With which weight it forwards to the group of this name, if it does.
    #[must_use]
    pub fn weight_of(&self, group: &str) -> Option<u32> {
        let mut all = self.forward.iter();
        all.find(|weighted| &*weighted.group == group).map(|weighted| weighted.weight)
    }
}

impl TargetConfig {
    /// The address that checks connect to.
    #[must_use]
    pub fn check_address(&self, check: &CheckConfig) -> SocketAddr {
        let port = self.check_port.or(check.port).unwrap_or_else(|| self.address.port());
        SocketAddr::new(self.address.ip(), port)
    }
}

impl GroupConfig {
    /// True if checks to `port` of a target carry a PROXY header.
    #[must_use]
    pub fn check_has_proxy_header(&self, target: &TargetConfig) -> bool {
        let on_traffic_port = target.check_address(&self.check).port() == target.address.port();
        self.proxy_protocol
            && match self.check.send_proxy_header {
                SendProxyHeader::Always => true,
                SendProxyHeader::Never => false,
                SendProxyHeader::TrafficPortOnly => on_traffic_port,
            }
    }
}

#[cfg(test)]
mod tests;
