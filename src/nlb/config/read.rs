//! YAML to [`NlbConfig`]. An error names the place in the file.

use std::{
    collections::HashSet,
    io::Read,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    DEFAULT_CONNECT_TIMEOUT, DEFAULT_MAX_EXPIRED_FLOWS, DEFAULT_MAX_FLOWS,
    DEFAULT_UDP_IDLE_TIMEOUT, GroupConfig, ListenerConfig, NlbConfig, Protocol, TargetConfig,
    TargetType, Weighted, ZoneConfig, access,
    attributes::{self, Attributes},
    checks::{Bounds, RawCheck, build_check},
    nodes::{self, RawZone},
    tls,
};
use crate::model::grammar::parse_network;

/// Listeners of a load balancer at most (A.12).
const MAX_LISTENERS: usize = 50;
/// Size of a configuration file at most.
const MAX_BYTES: u64 = 4 << 20;
/// Targets of a target group at most (A.12).
const MAX_TARGETS: usize = 1000;

/// Weight of a target group in a forward action at most (A.1).
const MAX_WEIGHT: u32 = 999;

/// What is wrong with a configuration, and where.
#[derive(Debug, thiserror::Error)]
#[error("{line}:{column}: {problem}")]
pub struct ConfigError {
    /// Line, from 1; 0 when unknown.
    pub line: u64,
    /// Column, from 1; 0 when unknown.
    pub column: u64,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// A name or address that must be unique is used twice.
    #[error("{what} is used twice")]
    Duplicate {
        /// Which one.
        what: String,
    },
    /// A listener has both or neither of `port` and `address`.
    #[error("a listener has either `port` or `address`")]
    ListenerAddress,
    /// A listener has both or neither of `targetGroup` and `targetGroups`.
    #[error("a listener has either `targetGroup` or `targetGroups`")]
    ListenerGroup,
    /// A listener cannot forward to a group of this protocol (A.1).
    #[error("a {} listener cannot forward to a {} target group", protocol.as_str(), group.as_str())]
    IncompatibleProtocols {
        /// Of the listener.
        protocol: Protocol,
        /// Of the group.
        group: Protocol,
    },
    /// More than the quota of AWS allows.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The quota.
        limit: usize,
    },
    /// An attribute that has no effect here.
    #[error("attribute `{key}` is unknown or not supported")]
    UnknownAttribute {
        /// Its key.
        key: String,
    },
    /// A certificate that cannot be read or served.
    #[error("certificate {path}: {why}")]
    Certificate {
        /// Its file.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// The groups of a TLS listener differ in protocol (A.1).
    #[error("all target groups of a TLS listener have one protocol")]
    MixedProtocols,
    /// No policy of this name.
    #[error("there is no sslPolicy `{name}` (SSLPolicyNotFound); there are {known}")]
    SslPolicyNotFound {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A TLS listener with a sticky group (A.3).
    #[error("target group `{group}` is sticky, which those of TLS listeners cannot be")]
    StickyTls {
        /// Its name.
        group: String,
    },
    /// A listener forwards to a group that does not exist.
    #[error("there is no target group `{name}`")]
    UnknownGroup {
        /// The name.
        name: String,
    },
    /// A listener stands for a zone that is not enabled.
    #[error("zone `{name}` is not among the zones of the load balancer")]
    UnknownZone {
        /// The name.
        name: String,
    },
    /// A shift of a load balancer that does not take any (A.2).
    #[error("`zonalShift` needs the attribute `zonal_shift.config.enabled: \"true\"`")]
    ZonalShiftDisabled,
    /// With cross-zone load balancing, a group that cannot be shifted.
    #[error(
        "`zonal_shift.config.enabled` with cross-zone load balancing needs `{key}: {expected}` of \
         target group `{group}`"
    )]
    NotShiftable {
        /// Its name.
        group: String,
        /// Attribute or field.
        key: &'static str,
        /// What it must be.
        expected: &'static str,
    },
    /// A value out of range.
    #[error("`{name}` must be {expected}")]
    Value {
        /// Field or attribute.
        name: String,
        /// What it may be.
        expected: String,
    },
    /// Not YAML, or not of this shape.
    #[error("{0}")]
    Yaml(String),
}

/// Why a configuration file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Its text is wrong.
    #[error("{}:{error}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        error: ConfigError,
    },
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: std::io::Error,
    },
}

impl ConfigError {
    pub(super) fn at<T>(place: &Spanned<T>, problem: Problem) -> Self {
        let place = place.referenced;
        Self { line: place.line(), column: place.column(), problem }
    }
}

/// The text of the file at `path`.
///
/// # Errors
/// The file cannot be read, is not UTF-8 or is larger than 4 MiB.
pub fn read_text(path: &Path) -> Result<String, LoadError> {
    let read = || {
        let mut text = String::new();
        std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        Ok(text)
    };
    read().map_err(|source| LoadError::Read { path: path.to_owned(), source })
}

/// [`parse`] with errors that name the file.
///
/// # Errors
/// The first thing that is wrong with `text`.
pub fn parse_file(path: &Path, text: &str) -> Result<NlbConfig, LoadError> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    parse_in(text, directory).map_err(|error| LoadError::Config { path: path.to_owned(), error })
}

/// Reads a configuration whose files are found from the working directory.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(text: &str) -> Result<NlbConfig, ConfigError> {
    parse_in(text, Path::new(""))
}

/// Reads a configuration whose files are found from `directory`.
///
/// # Errors
/// The first thing that is wrong with it or its files.
pub fn parse_in(text: &str, directory: &Path) -> Result<NlbConfig, ConfigError> {
    raw(text)?.build(directory)
}

/// The files that the configuration at `path` names, whatever else is wrong with it.
#[must_use]
pub fn files(path: &Path, text: &str) -> Vec<PathBuf> {
    let directory = path.parent().unwrap_or_else(|| Path::new(""));
    let Ok(raw) = raw(text) else { return Vec::new() };
    let listeners = raw.listeners.value.iter();
    let certificates = listeners.flat_map(|listener| &listener.value.certificates);
    certificates.flat_map(|certificate| certificate.value.files(directory)).collect()
}

fn raw(text: &str) -> Result<RawNlb, ConfigError> {
    serde_saphyr::from_str(text).map_err(|error| {
        let (line, column) =
            error.location().map_or((0, 0), |place| (place.line(), place.column()));
        let text = error.without_snippet().to_string();
        let first = text.lines().next().unwrap_or_default();
        // The place stands in front of the message already.
        let place = format!(" at line {line}, column {column}");
        let first = first.strip_suffix(&place).unwrap_or(first).to_owned();
        ConfigError { line, column, problem: Problem::Yaml(first) }
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawNlb {
    name: Spanned<Arc<str>>,
    #[serde(default)]
    zones: Vec<Spanned<RawZone>>,
    region: Option<Spanned<Arc<str>>>,
    dns_id: Option<Spanned<Arc<str>>>,
    #[serde(default)]
    aliases: Vec<Spanned<Arc<str>>>,
    #[serde(default)]
    attributes: Attributes,
    /// Lifts the lower bounds of check intervals and time-outs. Extension.
    #[serde(default)]
    allow_fast_checks: bool,
    /// Who checks the targets. Extension; one checker by default, each zone's node at AWS.
    #[serde(default)]
    health_checkers: nodes::Checkers,
    /// Extension.
    propagation_delay_seconds: Option<Spanned<f64>>,
    /// Extension.
    zonal_shift: Option<nodes::RawShift>,
    /// Extension: AWS writes every five minutes.
    access_log_interval_seconds: Option<Spanned<f64>>,
    listeners: Spanned<Vec<Spanned<RawListener>>>,
    target_groups: Vec<Spanned<RawGroup>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawListener {
    name: Option<Spanned<Arc<str>>>,
    port: Option<Spanned<u16>>,
    address: Option<SocketAddr>,
    protocol: Option<Spanned<Protocol>>,
    zone: Option<Spanned<Arc<str>>>,
    target_group: Option<Spanned<Arc<str>>>,
    /// The weighted form of `targetGroup`.
    #[serde(default)]
    target_groups: Vec<RawWeighted>,
    #[serde(default)]
    attributes: Attributes,
    connect_timeout_seconds: Option<Spanned<f64>>,
    udp_idle_timeout_seconds: Option<Spanned<f64>>,
    max_flows: Option<Spanned<usize>>,
    max_expired_flows: Option<usize>,
    #[serde(default)]
    certificates: Vec<Spanned<tls::RawCertificate>>,
    ssl_policy: Option<Spanned<String>>,
    alpn_policy: Option<Spanned<String>>,
    handshake_timeout_seconds: Option<Spanned<f64>>,
    #[serde(default)]
    source_ranges: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawWeighted {
    name: Spanned<Arc<str>>,
    weight: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawGroup {
    name: Arc<str>,
    protocol: Option<Spanned<Protocol>>,
    port: Spanned<u16>,
    #[serde(default)]
    target_type: TargetType,
    #[serde(default)]
    health_check: RawCheck,
    #[serde(default)]
    attributes: Attributes,
    #[serde(default)]
    targets: Vec<Spanned<RawTarget>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawTarget {
    id: IpAddr,
    port: Option<Spanned<u16>>,
    availability_zone: Option<Arc<str>>,
    health_check_port: Option<Spanned<u16>>,
}

impl RawNlb {
    fn build(self, directory: &Path) -> Result<NlbConfig, ConfigError> {
        let balancer = attributes::balancer(&self.attributes)?;
        let interval = self.access_log_interval_seconds.as_ref();
        let access_log = access::build(&self.attributes, interval, directory)?;
        let zones = nodes::zones(&self.zones)?;
        let mut names = nodes::names(self.region.as_ref(), self.dns_id.as_ref(), &self.aliases)?;
        names.routing = balancer.client_routing;
        names.clients = nodes::clients(&self.zones)?;
        let shifted = nodes::shifted(self.zonal_shift.as_ref(), balancer, &zones)?;
        let propagation_delay = match &self.propagation_delay_seconds {
            Some(seconds) => duration("propagationDelaySeconds", seconds, 0.0, 600.0)?,
            None => Duration::ZERO,
        };
        let bounds = if self.allow_fast_checks { Bounds::Fast } else { Bounds::Aws };
        let mut groups: Vec<GroupConfig> = Vec::new();
        for group in self.target_groups {
            let mut built = build_group(&group.value, bounds, balancer.cross_zone)?;
            built.check.checkers = self.health_checkers.count(&zones);
            built.propagation_delay = propagation_delay;
            built.shifted.clone_from(&shifted);
            nodes::check_shift(&group, &built, balancer)?;
            if groups.iter().any(|other| other.name == built.name) {
                return Err(twice(&group, format!("target group `{}`", built.name)));
            }
            groups.push(built);
        }
        if self.listeners.value.len() > MAX_LISTENERS {
            let problem = Problem::TooMany { what: "listeners", limit: MAX_LISTENERS };
            return Err(ConfigError::at(&self.listeners, problem));
        }
        let mut listeners: Vec<ListenerConfig> = Vec::new();
        for listener in &self.listeners.value {
            let built = build_listener(listener, &groups, directory)?;
            check_zone(&listener.value, &zones)?;
            let taken = |other: &ListenerConfig| {
                other.name == built.name || nodes::collide(other, &built, &zones)
            };
            if listeners.iter().any(taken) {
                return Err(twice(listener, format!("listener `{}`", built.name)));
            }
            listeners.push(built);
        }
        let name = nodes::name(&self.name)?;
        Ok(NlbConfig { name, zones, names, listeners, groups, access_log, shifted })
    }
}

fn check_zone(listener: &RawListener, zones: &[ZoneConfig]) -> Result<(), ConfigError> {
    match &listener.zone {
        Some(zone) if !zones.iter().any(|other| other.name == zone.value) => {
            let problem = Problem::UnknownZone { name: zone.value.to_string() };
            Err(ConfigError::at(zone, problem))
        },
        _ => Ok(()),
    }
}

/// The forward action, by `targetGroup` or `targetGroups`.
fn build_forward(
    raw: &Spanned<RawListener>,
    groups: &[GroupConfig],
) -> Result<Vec<Weighted>, ConfigError> {
    let listener = &raw.value;
    let named = match (&listener.target_group, listener.target_groups.as_slice()) {
        (Some(one), []) => vec![(one, 1)],
        (None, many @ [_, ..]) => {
            let weighted = many.iter().map(|group| {
                let weight = match &group.weight {
                    Some(weight) if weight.value > MAX_WEIGHT => {
                        return Err(value(weight, "weight", "a number from 0 to 999"));
                    },
                    Some(weight) => weight.value,
                    None => 1,
                };
                Ok((&group.name, weight))
            });
            weighted.collect::<Result<_, _>>()?
        },
        _ => return Err(ConfigError::at(raw, Problem::ListenerGroup)),
    };
    let mut forward: Vec<Weighted> = Vec::with_capacity(named.len());
    for (name, weight) in named {
        let Some(group) = groups.iter().find(|group| group.name == name.value) else {
            let problem = Problem::UnknownGroup { name: name.value.to_string() };
            return Err(ConfigError::at(name, problem));
        };
        let protocol = protocol(&listener.protocol);
        if !protocol.may_forward_to(group.protocol) {
            let problem = Problem::IncompatibleProtocols { protocol, group: group.protocol };
            return Err(ConfigError::at(name, problem));
        }
        if forward.iter().any(|other| other.group == name.value) {
            return Err(twice(name, format!("target group `{}`", name.value)));
        }
        forward.push(Weighted { group: name.value.clone(), weight });
        tls::check_forward(protocol, name, &forward, groups)?;
    }
    Ok(forward)
}

fn build_listener(
    raw: &Spanned<RawListener>,
    groups: &[GroupConfig],
    directory: &Path,
) -> Result<ListenerConfig, ConfigError> {
    let listener = &raw.value;
    let protocol = protocol(&listener.protocol);
    let address = match (&listener.port, listener.address) {
        (Some(port), None) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, above_zero("port", port)?)),
        (None, Some(address)) => address,
        _ => return Err(ConfigError::at(raw, Problem::ListenerAddress)),
    };
    let attributes = attributes::listener(&listener.attributes, protocol)?;
    let connect_timeout = match &listener.connect_timeout_seconds {
        Some(seconds) => duration("connectTimeoutSeconds", seconds, 0.001, 300.0)?,
        None => DEFAULT_CONNECT_TIMEOUT,
    };
    let max_flows = match &listener.max_flows {
        Some(flows) if flows.value == 0 => return Err(value(flows, "maxFlows", "at least 1")),
        Some(flows) => flows.value,
        None => DEFAULT_MAX_FLOWS,
    };
    let tls = tls::Raw {
        certificates: &listener.certificates,
        policy: &listener.ssl_policy,
        alpn: &listener.alpn_policy,
        handshake_timeout: &listener.handshake_timeout_seconds,
        attributes: &listener.attributes,
    };
    Ok(ListenerConfig {
        tls: tls.build(protocol, raw, directory)?,
        name: match &listener.name {
            // What follows an `@` is the zone of a node.
            Some(name) if name.value.contains('@') => {
                return Err(value(name, "name", "without an `@`"));
            },
            Some(name) => Arc::clone(&name.value),
            None => format!("{}:{}", protocol.as_str(), address.port()).into(),
        },
        protocol,
        address,
        zone: listener.zone.as_ref().map(|zone| zone.value.clone()),
        forward: build_forward(raw, groups)?,
        idle_timeout: attributes.idle_timeout,
        udp_idle_timeout: udp_idle_timeout(protocol, listener)?,
        connect_timeout,
        max_flows,
        max_expired_flows: listener.max_expired_flows.unwrap_or(DEFAULT_MAX_EXPIRED_FLOWS),
        source_ranges: source_ranges(&listener.source_ranges)?,
    })
}

fn udp_idle_timeout(protocol: Protocol, listener: &RawListener) -> Result<Duration, ConfigError> {
    const NAME: &str = "udpIdleTimeoutSeconds";
    match &listener.udp_idle_timeout_seconds {
        None => Ok(DEFAULT_UDP_IDLE_TIMEOUT),
        Some(seconds) if protocol.has_udp() => duration(NAME, seconds, 0.01, 6000.0),
        Some(seconds) => {
            Err(value(seconds, NAME, &format!("left out with protocol {}", protocol.as_str())))
        },
    }
}

fn build_group(
    raw: &RawGroup,
    bounds: Bounds,
    cross_zone: bool,
) -> Result<GroupConfig, ConfigError> {
    let of = protocol(&raw.protocol);
    let attributes = attributes::group(&raw.attributes, of)?;
    let port = above_zero("port", &raw.port)?;
    let mut targets: Vec<TargetConfig> = Vec::new();
    let mut seen = HashSet::new();
    for target in &raw.targets {
        let built = build_target(&target.value, port)?;
        if !seen.insert(built.address) {
            return Err(twice(target, format!("target {}", built.address)));
        }
        if seen.len() > MAX_TARGETS {
            let problem = Problem::TooMany { what: "targets", limit: MAX_TARGETS };
            return Err(ConfigError::at(target, problem));
        }
        targets.push(built);
    }
    Ok(GroupConfig {
        name: raw.name.clone(),
        protocol: of,
        target_type: raw.target_type,
        check: build_check(&raw.health_check, &attributes, bounds)?,
        proxy_protocol: attributes.proxy_protocol,
        preserve_client: attributes.preserve_client,
        sticky: attributes.sticky,
        cross_zone: attributes.cross_zone.unwrap_or(cross_zone),
        deregistration_delay: attributes.deregistration_delay,
        deregistration_termination: attributes.deregistration_termination,
        unhealthy_draining: attributes.unhealthy_draining,
        minimum: attributes.minimum,
        dns_minimum: attributes.dns_minimum,
        propagation_delay: Duration::ZERO,
        shifted: None,
        targets,
    })
}

fn build_target(raw: &RawTarget, group_port: u16) -> Result<TargetConfig, ConfigError> {
    let port = raw.port.as_ref().map(|port| above_zero("port", port)).transpose()?;
    let check = raw.health_check_port.as_ref();
    Ok(TargetConfig {
        address: SocketAddr::new(raw.id, port.unwrap_or(group_port)),
        zone: raw.availability_zone.clone(),
        check_port: check.map(|port| above_zero("healthCheckPort", port)).transpose()?,
    })
}

fn source_ranges(raw: &[Spanned<String>]) -> Result<Vec<IpNet>, ConfigError> {
    let network = |text: &Spanned<String>| {
        let expected = "addresses or networks such as 10.0.0.0/8";
        parse_network(&text.value).ok_or_else(|| value(text, "sourceRanges", expected))
    };
    raw.iter().map(network).collect()
}

/// TCP unless named.
fn protocol(raw: &Option<Spanned<Protocol>>) -> Protocol {
    raw.as_ref().map_or_else(Protocol::default, |protocol| protocol.value)
}

pub(super) fn duration(
    name: &str,
    seconds: &Spanned<f64>,
    from: f64,
    to: f64,
) -> Result<Duration, ConfigError> {
    if (from..=to).contains(&seconds.value) {
        return Ok(Duration::from_secs_f64(seconds.value));
    }
    Err(value(seconds, name, &format!("a number of seconds from {from} to {to}")))
}

pub(super) fn above_zero(name: &str, port: &Spanned<u16>) -> Result<u16, ConfigError> {
    match port.value {
        0 => Err(value(port, name, "a port from 1 to 65535")),
        number => Ok(number),
    }
}

pub(super) fn value<T>(place: &Spanned<T>, name: &str, expected: &str) -> ConfigError {
    let problem = Problem::Value { name: name.to_owned(), expected: expected.to_owned() };
    ConfigError::at(place, problem)
}

fn twice<T>(place: &Spanned<T>, what: String) -> ConfigError {
    ConfigError::at(place, Problem::Duplicate { what })
}
