//! Calls that register and deregister targets (spec/l4-dns.md A.6, A.12).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    Account, Target, TargetGroup, attributes,
    error::{Code, Refusal, invalid},
    groups::port,
    limits,
};
use crate::nlb::config::TargetType;

/// How a call names a target.
#[derive(Clone, Debug, Default)]
pub struct TargetKey {
    /// `Id`.
    pub id: String,
    /// `Port`; that of the group otherwise.
    pub port: Option<u32>,
    /// `AvailabilityZone`.
    pub zone: Option<String>,
    /// `QuicServerId`, which nothing here has.
    pub quic_server: Option<String>,
}

impl Account {
    /// `RegisterTargets`. One that is registered takes over the zone that is given.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn register(&mut self, arn: &str, targets: &[TargetKey]) -> Result<(), Refusal> {
        if targets.is_empty() {
            return Err(invalid("At least one target must be specified"));
        }
        let group = self.group_mut(arn)?.clone();
        let wanted: Vec<_> =
            targets.iter().map(|key| self.wanted(&group, key)).collect::<Result<_, _>>()?;
        let group = self.group_mut(arn)?;
        for target in wanted {
            let same = |other: &&mut Target| other.id == target.id && other.port == target.port;
            match group.targets.iter_mut().find(same) {
                Some(present) => *present = target,
                None => group.targets.push(target),
            }
        }
        if group.targets.len() > limits::TARGETS {
            let text = format!("A target group has at most {} targets", limits::TARGETS);
            return Err(Code::TooManyTargets.because(text));
        }
        self.one_address_once(arn)?;
        self.try_group(self.group(arn)?)?;
        self.try_balancer_of(arn)
    }

    /// `DeregisterTargets`. Those that are not registered do not matter; one without a port is
    /// deregistered from all its ports.
    ///
    /// # Errors
    /// The group is not there, or not of this API.
    pub fn deregister(&mut self, arn: &str, targets: &[TargetKey]) -> Result<(), Refusal> {
        if targets.is_empty() {
            return Err(invalid("At least one target must be specified"));
        }
        let group = self.group_mut(arn)?;
        let leaves = |target: &Target| {
            let named = |key: &TargetKey| {
                same_id(&key.id, &target.id)
                    && key.port.is_none_or(|port| port == u32::from(target.port))
            };
            targets.iter().any(named)
        };
        group.targets.retain(|target| !leaves(target));
        Ok(())
    }

    /// The target that `key` means in `group`.
    fn wanted(&self, group: &TargetGroup, key: &TargetKey) -> Result<Target, Refusal> {
        let refused = |text: String| Err(Code::InvalidTarget.because(text));
        let id = match group.target_type {
            TargetType::Instance if !self.environment.instances.contains_key(&key.id) => {
                return refused(format!(
                    "The following targets are not in a running state and cannot be registered: \
                     '{}' (the option --instance tells the addresses of machines)",
                    key.id
                ));
            },
            TargetType::Instance => key.id.clone(),
            TargetType::Ip => match key.id.parse::<IpAddr>() {
                Ok(address) if address.is_ipv6() == group.ipv6 => address.to_string(),
                Ok(_) => {
                    let family = if group.ipv6 { "IPv6" } else { "IPv4" };
                    return refused(format!("The target '{}' is not an {family} address", key.id));
                },
                Err(_) => return refused(format!("The target '{}' is not an IP address", key.id)),
            },
        };
        if key.quic_server.is_some() {
            return refused("A QUIC server ID is for QUIC target groups".to_owned());
        }
        let zone = key.zone.clone();
        let known = |zone: &String| {
            zone == "all" || self.environment.zones.iter().any(|other| *other.name == **zone)
        };
        if let Some(zone) = zone.as_ref().filter(|zone| !known(zone)) {
            return refused(format!("The Availability Zone '{zone}' is not one of the VPC"));
        }
        let port = key.port.map(port).transpose()?.unwrap_or(group.port);
        Ok(Target { id, port, zone })
    }

    /// Two machines of one address would be one target.
    fn one_address_once(&self, arn: &str) -> Result<(), Refusal> {
        let group = self.group(arn)?;
        let mut seen = BTreeMap::new();
        for target in &group.targets {
            let Some(address) = self.address(group, target) else { continue };
            if let Some(other) = seen.insert(address, &target.id) {
                let text = format!("The targets '{other}' and '{}' are both {address}", target.id);
                return Err(Code::InvalidTarget.because(text));
            }
        }
        Ok(())
    }

    /// Where a target is; nothing for a machine that no option names any more.
    pub(super) fn address(&self, group: &TargetGroup, target: &Target) -> Option<SocketAddr> {
        let ip = match group.target_type {
            TargetType::Ip => target.id.parse().ok()?,
            TargetType::Instance => self.environment.instances.get(&target.id)?.address,
        };
        Some(SocketAddr::new(ip, target.port))
    }

    /// The zone of a target; none is every zone.
    pub(super) fn zone_of(&self, group: &TargetGroup, target: &Target) -> Option<String> {
        let of_machine = || match group.target_type {
            TargetType::Ip => None,
            TargetType::Instance => {
                let zone = self.environment.instances.get(&target.id)?.zone.as_ref()?;
                Some(zone.to_string())
            },
        };
        let given = target.zone.clone().filter(|zone| zone != "all");
        if target.zone.is_some() { given } else { of_machine() }
    }

    /// The quotas of a load balancer's targets (A.12).
    pub(super) fn check_targets(&self, balancer: &str) -> Result<(), Refusal> {
        let cross_zone =
            attributes::is_on(&self.balancer(balancer)?.attributes, attributes::CROSS_ZONE);
        let mut arns: Vec<_> = self
            .listeners_of(balancer)
            .flat_map(|listener| &listener.forward)
            .map(|forward| &forward.group)
            .collect();
        arns.sort();
        arns.dedup();
        let mut zones = BTreeMap::<_, usize>::new();
        for group in arns.into_iter().filter_map(|arn| self.groups.get(arn)) {
            for target in &group.targets {
                let zone = self.zone_of(group, target).filter(|_| !cross_zone);
                *zones.entry(zone).or_default() += 1;
            }
        }
        let all: usize = zones.values().sum();
        if all > limits::TARGETS_OF_BALANCER {
            let text =
                format!("A load balancer has at most {} targets", limits::TARGETS_OF_BALANCER);
            return Err(Code::TooManyTargets.because(text));
        }
        if zones.values().any(|targets| *targets > limits::TARGETS_OF_ZONE) {
            let text = format!(
                "A load balancer has at most {} targets in a zone, or in all with cross-zone load \
                 balancing",
                limits::TARGETS_OF_ZONE
            );
            return Err(Code::TooManyTargets.because(text));
        }
        Ok(())
    }

    /// The load balancer that uses the group can go on with it.
    pub(super) fn try_balancer_of(&self, group: &str) -> Result<(), Refusal> {
        let Some(balancer) = self.balancer_of(group) else { return Ok(()) };
        self.check_targets(&balancer.arn)?;
        self.config(&balancer.arn).map(|_valid| ())
    }
}

/// True if the two ids are one, in whatever way an address is written.
pub(super) fn same_id(a: &str, b: &str) -> bool {
    let address = |id: &str| id.parse::<IpAddr>().ok();
    a == b || address(a).is_some_and(|of_a| address(b) == Some(of_a))
}
