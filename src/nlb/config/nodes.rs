//! `zones`, `region`, `dnsId` and `aliases`: the nodes of a load balancer and their names.

use std::{net::IpAddr, sync::Arc};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    ZoneConfig,
    read::{ConfigError, Problem},
};
use crate::nlb::names::NamesConfig;

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

/// What the DNS names are made of.
pub(super) fn names(
    region: Option<&Spanned<Arc<str>>>,
    id: Option<&Spanned<Arc<str>>>,
    aliases: &[Spanned<Arc<str>>],
) -> Result<NamesConfig, ConfigError> {
    let mut names = NamesConfig::default();
    if let Some(region) = region {
        if !is_name(&region.value) || region.value.contains('.') {
            return Err(value(region, "region", "a region such as us-east-1"));
        }
        names.region = region.value.to_ascii_lowercase().into();
    }
    if let Some(id) = id {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if id.value.len() != 16 || !id.value.bytes().all(hex) {
            return Err(value(id, "dnsId", "16 hex digits in lower case"));
        }
        names.id = Some(Arc::clone(&id.value));
    }
    for alias in aliases {
        if !is_name(alias.value.strip_prefix("*.").unwrap_or(&alias.value)) {
            return Err(value(alias, "aliases", "host names or `*.` and a domain"));
        }
        names.aliases.push(alias.value.to_ascii_lowercase().into());
    }
    Ok(names)
}

/// True for labels of letters, digits and hyphens, without a dot at the end.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn value<T>(place: &Spanned<T>, name: &str, expected: &str) -> ConfigError {
    let problem = Problem::Value { name: name.to_owned(), expected: expected.to_owned() };
    ConfigError::at(place, problem)
}
