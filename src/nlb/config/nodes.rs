//! `zones`, `region`, `dnsId`, `aliases`, `healthCheckers` and `zonalShift`: the nodes of a load
//! balancer, their names, and what is done zone by zone.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    GroupConfig, ListenerConfig, Protocol, ZoneConfig,
    attributes::BalancerAttributes,
    read::{ConfigError, Problem, value},
};
use crate::{
    health::OnUnhealthy,
    model::grammar::parse_network,
    nlb::names::NamesConfig,
    zone::names::{host_name, is_label},
};

/// A zone: its name alone, or with the address of its node.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawZone {
    Name(Arc<str>),
    Node(RawNode),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNode {
    name: Arc<str>,
    address: IpAddr,
    /// Networks whose clients are in the zone.
    #[serde(default)]
    clients: Vec<String>,
}

/// The zones as configured: names and addresses are unique, and all have an address or none has.
pub(super) fn zones(raw: &[Spanned<RawZone>]) -> Result<Vec<ZoneConfig>, ConfigError> {
    let mut zones: Vec<ZoneConfig> = Vec::with_capacity(raw.len());
    for zone in raw {
        let built = match &zone.value {
            RawZone::Name(name) => ZoneConfig { name: Arc::clone(name), address: None },
            RawZone::Node(node) => {
                ZoneConfig { name: Arc::clone(&node.name), address: Some(node.address) }
            },
        };
        if !is_label(&built.name.to_ascii_lowercase()) {
            return Err(value(zone, "zones", "with names of letters, digits and inner hyphens"));
        }
        let twice = |what: String| Err(ConfigError::at(zone, Problem::Duplicate { what }));
        if zones.iter().any(|other| other.name == built.name) {
            return twice(format!("zone `{}`", built.name));
        }
        if let Some(address) = built.address
            && zones.iter().any(|other| other.address == built.address)
        {
            return twice(format!("address {address}"));
        }
        if zones.first().is_some_and(|first| first.address.is_some() != built.address.is_some()) {
            return Err(value(zone, "zones", "with an address each, or all without"));
        }
        zones.push(built);
    }
    Ok(zones)
}

/// The networks of the clients of each zone; a network is of one zone.
pub(super) fn clients(raw: &[Spanned<RawZone>]) -> Result<Vec<(IpNet, Arc<str>)>, ConfigError> {
    let mut all: Vec<(IpNet, Arc<str>)> = Vec::new();
    for zone in raw {
        let RawZone::Node(node) = &zone.value else { continue };
        for text in &node.clients {
            let Some(network) = parse_network(text) else {
                let expected = "addresses or networks such as 10.0.0.0/20";
                return Err(value(zone, "clients", expected));
            };
            if all.iter().any(|(other, _)| *other == network) {
                let what = format!("network {network}");
                return Err(ConfigError::at(zone, Problem::Duplicate { what }));
            }
            all.push((network, Arc::clone(&node.name)));
        }
    }
    // The narrowest network decides.
    all.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
    Ok(all)
}

/// Who checks targets.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Checkers {
    /// The node of each zone.
    EachZone,
    #[default]
    One,
}

impl Checkers {
    pub(super) fn count(self, zones: &[ZoneConfig]) -> usize {
        match self {
            Self::EachZone => zones.len().max(1),
            Self::One => 1,
        }
    }
}

/// A zonal shift, named as ARC names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawShift {
    away_from: Spanned<Arc<str>>,
}

/// The zone that is shifted away from: one that is enabled, of a load balancer that takes shifts.
pub(super) fn shifted(
    raw: Option<&RawShift>,
    balancer: BalancerAttributes,
    zones: &[ZoneConfig],
) -> Result<Option<Arc<str>>, ConfigError> {
    let Some(RawShift { away_from }) = raw else { return Ok(None) };
    if !zones.iter().any(|zone| zone.name == away_from.value) {
        let problem = Problem::UnknownZone { name: away_from.value.to_string() };
        return Err(ConfigError::at(away_from, problem));
    }
    if !balancer.zonal_shift {
        return Err(ConfigError::at(away_from, Problem::ZonalShiftDisabled));
    }
    Ok(Some(Arc::clone(&away_from.value)))
}

/// What AWS asks of the groups before zonal shift is enabled with cross-zone load balancing.
pub(super) fn check_shift<T>(
    place: &Spanned<T>,
    group: &GroupConfig,
    balancer: BalancerAttributes,
) -> Result<(), ConfigError> {
    if !(balancer.zonal_shift && balancer.cross_zone) {
        return Ok(());
    }
    let (key, expected) = if !group.cross_zone {
        ("load_balancing.cross_zone.enabled", "\"true\", or to be left out,")
    } else if !matches!(group.protocol, Protocol::Tcp | Protocol::Tls) {
        ("protocol", "TCP or TLS")
    } else if group.check.rules.on_unhealthy == OnUnhealthy::Reset {
        ("target_health_state.unhealthy.connection_termination.enabled", "\"false\"")
    } else {
        return Ok(());
    };
    let group = group.name.to_string();
    Err(ConfigError::at(place, Problem::NotShiftable { group, key, expected }))
}

/// True if two listeners would listen at one address: the same one is configured, or one of them is
/// spread over the nodes and the other has the address of a node.
pub(super) fn collide(a: &ListenerConfig, b: &ListenerConfig, zones: &[ZoneConfig]) -> bool {
    if a.address.port() == 0 || a.address.port() != b.address.port() {
        return false;
    }
    let is_node = |address: IpAddr| zones.iter().any(|zone| zone.address == Some(address));
    let at_node = |spread: &ListenerConfig, other: &ListenerConfig| {
        spread.zone.is_none() && spread.address.ip().is_unspecified() && is_node(other.address.ip())
    };
    a.address == b.address || at_node(a, b) || at_node(b, a)
}

/// The name of a load balancer, as AWS wants it (A.13): it becomes a part of a DNS label.
pub(super) fn name(raw: &Spanned<Arc<str>>) -> Result<Arc<str>, ConfigError> {
    if raw.value.len() <= 32 && is_label(&raw.value.to_ascii_lowercase()) {
        return Ok(Arc::clone(&raw.value));
    }
    Err(value(raw, "name", "1 to 32 letters, digits and inner hyphens"))
}

/// What the DNS names are made of.
pub(super) fn names(
    region: Option<&Spanned<Arc<str>>>,
    id: Option<&Spanned<Arc<str>>>,
    aliases: &[Spanned<Arc<str>>],
) -> Result<NamesConfig, ConfigError> {
    let mut names = NamesConfig::default();
    if let Some(region) = region {
        if !is_label(&region.value) {
            return Err(value(region, "region", "a region such as us-east-1"));
        }
        names.region = Arc::clone(&region.value);
    }
    if let Some(id) = id {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.value.len() != 16 || !id.value.bytes().all(hex) {
            return Err(value(id, "dnsId", "16 hex digits in lower case"));
        }
        names.id = Some(Arc::clone(&id.value));
    }
    for alias in aliases {
        let (wildcard, name) = match alias.value.strip_prefix("*.") {
            Some(domain) => ("*.", domain),
            None => ("", &*alias.value),
        };
        let Some(name) = host_name(name) else {
            return Err(value(alias, "aliases", "host names or `*.` and a domain"));
        };
        names.aliases.push(format!("{wildcard}{name}").into());
    }
    Ok(names)
}
