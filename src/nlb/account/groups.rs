//! Calls about target groups and their health checks (spec/l4-dns.md A.1, A.5, A.6b).

use super::{
    Account, Check, Maker, NUMBER, Owner, Page, PageOf, TargetGroup,
    attributes::{self, Attributes, PRESERVE},
    check_name,
    error::{Code, Refusal, invalid},
    limits,
};
use crate::nlb::config::{Protocol, TargetType};

/// Arguments of `CreateTargetGroup`.
#[derive(Clone, Debug, Default)]
pub struct NewGroup {
    /// Name.
    pub name: String,
    /// `Protocol`.
    pub protocol: Option<String>,
    /// `Port`.
    pub port: Option<u32>,
    /// `VpcId`.
    pub vpc: Option<String>,
    /// `TargetType`.
    pub target_type: Option<String>,
    /// `IpAddressType`.
    pub ip_address_type: Option<String>,
    /// The health check.
    pub check: CheckChange,
    /// `Tags`.
    pub tags: Vec<(String, String)>,
}

/// What a call says about a health check; the rest stays as it is.
#[derive(Clone, Debug, Default)]
pub struct CheckChange {
    /// `HealthCheckProtocol`.
    pub protocol: Option<String>,
    /// `HealthCheckPort`.
    pub port: Option<String>,
    /// `HealthCheckEnabled`.
    pub enabled: Option<bool>,
    /// `HealthCheckPath`.
    pub path: Option<String>,
    /// `Matcher.HttpCode`.
    pub matcher: Option<String>,
    /// `HealthCheckIntervalSeconds`.
    pub interval: Option<u32>,
    /// `HealthCheckTimeoutSeconds`.
    pub timeout: Option<u32>,
    /// `HealthyThresholdCount`.
    pub healthy: Option<u32>,
    /// `UnhealthyThresholdCount`.
    pub unhealthy: Option<u32>,
}

/// Which target groups are asked for.
#[derive(Clone, Debug, Default)]
pub struct GroupFilter {
    /// Those of this load balancer.
    pub load_balancer: Option<String>,
    /// These; all if empty.
    pub arns: Vec<String>,
    /// These; all if empty.
    pub names: Vec<String>,
    /// The page.
    pub page: PageOf,
}

/// At AWS, targets of some groups see the addresses of clients unless told otherwise. Here that needs a
/// privilege and a network made for it, so it has to be asked for, and the group says so.
fn say_what_is_seen(group: &mut TargetGroup) {
    let known = attributes::of_group(group.protocol, group.target_type);
    let default = attributes::all(&known, &group.attributes);
    if default.iter().any(|(key, value)| key == PRESERVE && value == "true") {
        group.attributes.insert(PRESERVE.to_owned(), "false".to_owned());
    }
}

/// The protocol of this name. `Ok(None)` is one that exists and is not served.
pub(super) fn protocol(name: &str) -> Result<Option<Protocol>, Refusal> {
    match name {
        "TCP" => Ok(Some(Protocol::Tcp)),
        "TLS" => Ok(Some(Protocol::Tls)),
        "UDP" => Ok(Some(Protocol::Udp)),
        "TCP_UDP" => Ok(Some(Protocol::TcpUdp)),
        "HTTP" | "HTTPS" | "GENEVE" | "QUIC" | "TCP_QUIC" => Ok(None),
        _ => Err(invalid(format!("'{name}' is not a protocol"))),
    }
}

/// A port.
pub(super) fn port(number: u32) -> Result<u16, Refusal> {
    match u16::try_from(number) {
        Ok(port @ 1..) => Ok(port),
        _ => Err(invalid(format!("The port {number} is not from 1 to 65535"))),
    }
}

impl Account {
    /// `CreateTargetGroup`. The same call again gives the same group.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn create_group(
        &mut self,
        wanted: NewGroup,
        maker: &mut Maker<'_>,
    ) -> Result<TargetGroup, Refusal> {
        check_name(&wanted.name, "target group")?;
        let mut group = self.new_group(wanted)?;
        if let Some(other) = self.groups.values().find(|other| other.name == group.name) {
            // What was changed or registered since does not count.
            let same = TargetGroup {
                arn: other.arn.clone(),
                attributes: other.attributes.clone(),
                targets: other.targets.clone(),
                tags: other.tags.clone(),
                ..group.clone()
            };
            if same == *other {
                return Ok(same);
            }
            let text = format!(
                "A target group with the same name '{}' exists, but with different settings",
                group.name
            );
            return Err(Code::DuplicateTargetGroupName.because(text));
        }
        if self.groups.len() >= limits::GROUPS {
            let text = format!("There are {} target groups already", limits::GROUPS);
            return Err(Code::TooManyTargetGroups.because(text));
        }
        group.arn = format!(
            "arn:aws:elasticloadbalancing:{}:{NUMBER}:targetgroup/{}/{}",
            self.environment.region,
            group.name,
            maker.id()
        );
        say_what_is_seen(&mut group);
        self.try_group(&group)?;
        self.groups.insert(group.arn.clone(), group.clone());
        Ok(group)
    }

    /// The group that a call describes, without an ARN.
    fn new_group(&self, wanted: NewGroup) -> Result<TargetGroup, Refusal> {
        let NewGroup { name, protocol: of, port: number, vpc, target_type, .. } = wanted;
        let target_type = match target_type.as_deref() {
            None | Some("instance") => TargetType::Instance,
            Some("ip") => TargetType::Ip,
            Some(kind @ ("alb" | "lambda")) => {
                let text =
                    format!("Targets of the type '{kind}' are not served; use instance or ip");
                return Err(Code::InvalidConfigurationRequest.because(text));
            },
            Some(other) => return Err(invalid(format!("'{other}' is not a target type"))),
        };
        let of = of.ok_or_else(|| invalid("A protocol must be specified"))?;
        let Some(of) = protocol(&of)? else {
            let text = format!("Target groups of the protocol '{of}' are not served");
            return Err(Code::InvalidConfigurationRequest.because(text));
        };
        let number = port(number.ok_or_else(|| invalid("A port must be specified"))?)?;
        let vpc = vpc.filter(|vpc| !vpc.is_empty());
        let vpc = vpc.ok_or_else(|| invalid("A VPC ID must be specified"))?;
        let ipv6 = match wanted.ip_address_type.as_deref() {
            None | Some("ipv4") => false,
            Some("ipv6") => true,
            Some(other) => return Err(invalid(format!("'{other}' is not an IP address type"))),
        };
        Ok(TargetGroup {
            arn: String::new(),
            name,
            protocol: of,
            port: number,
            vpc,
            target_type,
            ipv6,
            check: check(None, wanted.check)?,
            attributes: Attributes::new(),
            tags: super::tags::of_new(&wanted.tags)?,
            targets: Vec::new(),
            owner: Owner::Api,
        })
    }

    /// `DeleteTargetGroup`. One that is not there is gone already.
    ///
    /// # Errors
    /// A listener forwards to it, or it is not of this API.
    pub fn delete_group(&mut self, arn: &str) -> Result<(), Refusal> {
        match self.group_mut(arn) {
            Err(Refusal { code: Code::TargetGroupNotFound, .. }) => return Ok(()),
            found => drop(found?),
        }
        if self.balancer_of(arn).is_some() {
            let text = format!("Target group '{arn}' is currently in use by a listener or a rule");
            return Err(Code::ResourceInUse.because(text));
        }
        self.groups.remove(arn);
        Ok(())
    }

    /// `ModifyTargetGroup`.
    ///
    /// # Errors
    /// The check would not be one.
    pub fn modify_group(
        &mut self,
        arn: &str,
        change: CheckChange,
    ) -> Result<&TargetGroup, Refusal> {
        let group = self.group_mut(arn)?;
        group.check = check(Some(&group.check), change)?;
        self.try_group(self.group(arn)?)?;
        self.group(arn)
    }

    /// `DescribeTargetGroups`.
    ///
    /// # Errors
    /// One that is named, or the load balancer, is not there.
    pub fn describe_groups(&self, filter: &GroupFilter) -> Result<Page<&TargetGroup>, Refusal> {
        for arn in &filter.arns {
            self.group(arn)?;
        }
        for name in &filter.names {
            if !self.groups.values().any(|group| group.name == *name) {
                let text = format!("Target group '{name}' not found");
                return Err(Code::TargetGroupNotFound.because(text));
            }
        }
        let used = match &filter.load_balancer {
            None => None,
            Some(arn) => {
                self.balancer(arn)?;
                let forwards = self.listeners_of(arn).flat_map(|listener| &listener.forward);
                Some(forwards.map(|forward| forward.group.as_str()).collect::<Vec<_>>())
            },
        };
        let wanted = |group: &&TargetGroup| {
            (filter.arns.is_empty() || filter.arns.contains(&group.arn))
                && (filter.names.is_empty() || filter.names.contains(&group.name))
                && used.as_ref().is_none_or(|used| used.contains(&group.arn.as_str()))
        };
        filter.page.cut(self.groups.values().filter(wanted).collect(), |group| &group.arn)
    }

    /// `DescribeTargetGroupAttributes`.
    ///
    /// # Errors
    /// It is not there.
    pub fn group_attributes(&self, arn: &str) -> Result<Vec<(String, String)>, Refusal> {
        let group = self.group(arn)?;
        let known = attributes::of_group(group.protocol, group.target_type);
        Ok(attributes::all(&known, &group.attributes))
    }

    /// `ModifyTargetGroupAttributes`.
    ///
    /// # Errors
    /// An attribute that is not known, out of range or without effect here.
    pub fn modify_group_attributes(
        &mut self,
        arn: &str,
        changes: &[(String, String)],
    ) -> Result<Vec<(String, String)>, Refusal> {
        let group = self.group_mut(arn)?;
        let known = attributes::of_group(group.protocol, group.target_type);
        attributes::modify(&known, &mut group.attributes, changes)?;
        self.try_group(self.group(arn)?)?;
        self.try_balancer_of(arn)?;
        self.group_attributes(arn)
    }
}

/// A check that was `present`, or AWS's default one, with `change` (A.5).
fn check(present: Option<&Check>, change: CheckChange) -> Result<Check, Refusal> {
    if change.enabled == Some(false) {
        let text = "Health checks cannot be disabled for targets of the types 'instance' and 'ip'";
        return Err(Code::InvalidConfigurationRequest.because(text));
    }
    let protocol = match change.protocol {
        Some(protocol) if matches!(protocol.as_str(), "TCP" | "HTTP" | "HTTPS") => protocol,
        Some(other) => {
            let text =
                format!("'{other}' is not a health check protocol; it is TCP, HTTP or HTTPS");
            return Err(Code::InvalidConfigurationRequest.because(text));
        },
        None => present.map_or_else(|| "TCP".to_owned(), |check| check.protocol.clone()),
    };
    let has_path = protocol != "TCP";
    if !has_path && (change.path.is_some() || change.matcher.is_some()) {
        let text =
            "A path or a matcher cannot be specified for health checks with the protocol TCP";
        return Err(Code::InvalidConfigurationRequest.because(text));
    }
    let of_http = |given: Option<String>, old: Option<&String>, default: &str| {
        has_path.then(|| given.or_else(|| old.cloned()).unwrap_or_else(|| default.to_owned()))
    };
    let interval = change.interval.or_else(|| present.map(|check| check.interval)).unwrap_or(30);
    in_range("HealthCheckIntervalSeconds", interval, 5, 300)?;
    let default = if protocol == "HTTP" { 6 } else { 10 };
    let timeout = change.timeout.or_else(|| present.map(|check| check.timeout));
    let timeout = timeout.unwrap_or_else(|| default.min(interval));
    in_range("HealthCheckTimeoutSeconds", timeout, 2, 120)?;
    if timeout > interval {
        return Err(invalid(format!(
            "Health check timeout '{timeout}' must be smaller than or equal to the interval \
             '{interval}'"
        )));
    }
    let healthy = change.healthy.or_else(|| present.map(|check| check.healthy)).unwrap_or(5);
    in_range("HealthyThresholdCount", healthy, 2, 10)?;
    let unhealthy = change.unhealthy.or_else(|| present.map(|check| check.unhealthy)).unwrap_or(2);
    in_range("UnhealthyThresholdCount", unhealthy, 2, 10)?;
    let old_port = present.map(|check| check.port.clone());
    let port = change.port.or(old_port).unwrap_or_else(|| "traffic-port".to_owned());
    if port != "traffic-port" && !matches!(port.parse::<u16>(), Ok(1..)) {
        return Err(invalid(format!(
            "Health check port '{port}' must be 'traffic-port' or a port"
        )));
    }
    let (path, matcher) =
        present.map_or((None, None), |it| (it.path.as_ref(), it.matcher.as_ref()));
    Ok(Check {
        path: of_http(change.path, path, "/"),
        matcher: of_http(change.matcher, matcher, "200-399"),
        protocol,
        port,
        interval,
        timeout,
        healthy,
        unhealthy,
    })
}

fn in_range(what: &str, number: u32, from: u32, to: u32) -> Result<(), Refusal> {
    if (from..=to).contains(&number) {
        return Ok(());
    }
    Err(invalid(format!("{what} must be from {from} to {to}, not {number}")))
}
