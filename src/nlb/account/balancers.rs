//! Calls about load balancers (spec/l4-dns.md A.1, A.2, A.13).

use std::net::{IpAddr, Ipv4Addr};

use super::{
    Account, LoadBalancer, Maker, NUMBER, Node, Owner, Page, PageOf,
    attributes::{self, DELETION_PROTECTION},
    check_name,
    error::{Code, Refusal, invalid},
    limits,
};
use crate::nlb::names::{Names, NamesConfig};

/// Arguments of `CreateLoadBalancer`.
#[derive(Clone, Debug, Default)]
pub struct NewBalancer {
    /// Name.
    pub name: String,
    /// `Type`.
    pub kind: Option<String>,
    /// `Scheme`.
    pub scheme: Option<String>,
    /// `IpAddressType`.
    pub ip_address_type: Option<String>,
    /// `SubnetMappings`, or `Subnets`.
    pub subnets: Vec<SubnetMapping>,
    /// `SecurityGroups`.
    pub security_groups: Vec<String>,
    /// `Tags`.
    pub tags: Vec<(String, String)>,
}

/// A subnet, and perhaps the address of the node in it.
#[derive(Clone, Debug, Default)]
pub struct SubnetMapping {
    /// `SubnetId`.
    pub subnet: String,
    /// `PrivateIPv4Address`.
    pub address: Option<String>,
    /// `AllocationId`.
    pub allocation: Option<String>,
}

/// Which load balancers are asked for.
#[derive(Clone, Debug, Default)]
pub struct BalancerFilter {
    /// These; all if empty.
    pub arns: Vec<String>,
    /// These; all if empty.
    pub names: Vec<String>,
    /// The page.
    pub page: PageOf,
}

impl Account {
    /// `CreateLoadBalancer`. The same call again gives the same load balancer.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn create_balancer(
        &mut self,
        wanted: NewBalancer,
        maker: &mut Maker<'_>,
    ) -> Result<LoadBalancer, Refusal> {
        let NewBalancer { name, kind, scheme, ip_address_type, subnets, security_groups, tags } =
            wanted;
        check_kind(kind.as_deref())?;
        check_name(&name, "load balancer")?;
        if name.to_ascii_lowercase().starts_with("internal-") {
            return Err(invalid(format!(
                "The load balancer name '{name}' cannot begin with 'internal-'"
            )));
        }
        let scheme = scheme.unwrap_or_else(|| "internet-facing".to_owned());
        if !matches!(scheme.as_str(), "internet-facing" | "internal") {
            let text = format!("Scheme '{scheme}' is neither internet-facing nor internal");
            return Err(Code::InvalidScheme.because(text));
        }
        check_address_type(ip_address_type.as_deref())?;
        no_security_groups(&security_groups)?;
        let tags = super::tags::of_new(&tags)?;
        let same_name = self.balancers.values().find(|other| other.name == name).cloned();
        let present = same_name.as_ref().map_or(&[][..], |other| &other.nodes);
        let nodes = self.nodes(&subnets, present, same_name.as_ref().map(|it| it.arn.as_str()))?;
        if let Some(other) = same_name {
            if other.owner == Owner::Api && other.scheme == scheme && other.nodes == nodes {
                return Ok(other);
            }
            let text = format!(
                "A load balancer with the same name '{name}' exists, but with different settings"
            );
            return Err(Code::DuplicateLoadBalancerName.because(text));
        }
        if self.balancers.len() >= limits::BALANCERS {
            let text = format!("There are {} load balancers already", limits::BALANCERS);
            return Err(Code::TooManyLoadBalancers.because(text));
        }
        let id = maker.id();
        let region = &self.environment.region;
        let names = NamesConfig {
            region: region.clone(),
            id: Some(id.as_str().into()),
            ..NamesConfig::default()
        };
        let balancer = LoadBalancer {
            arn: format!(
                "arn:aws:elasticloadbalancing:{region}:{NUMBER}:loadbalancer/net/{name}/{id}"
            ),
            dns_name: Names::new(&name, &names).regional,
            name,
            created: maker.millis(),
            scheme,
            nodes,
            attributes: attributes::Attributes::new(),
            tags,
            owner: Owner::Api,
        };
        self.balancers.insert(balancer.arn.clone(), balancer.clone());
        Ok(balancer)
    }

    /// `DeleteLoadBalancer`, with its listeners. One that is not there is gone already.
    ///
    /// # Errors
    /// It is protected, or not of this API.
    pub fn delete_balancer(&mut self, arn: &str) -> Result<(), Refusal> {
        let balancer = match self.balancer_mut(arn) {
            Err(Refusal { code: Code::LoadBalancerNotFound, .. }) => return Ok(()),
            found => found?,
        };
        if attributes::is_on(&balancer.attributes, DELETION_PROTECTION) {
            let text = format!(
                "Load balancer '{arn}' cannot be deleted because deletion protection is enabled"
            );
            return Err(Code::OperationNotPermitted.because(text));
        }
        self.listeners.retain(|_, listener| listener.load_balancer != arn);
        self.balancers.remove(arn);
        Ok(())
    }

    /// `DescribeLoadBalancers`.
    ///
    /// # Errors
    /// One that is named is not there.
    pub fn describe_balancers(
        &self,
        filter: &BalancerFilter,
    ) -> Result<Page<&LoadBalancer>, Refusal> {
        for arn in &filter.arns {
            self.balancer(arn)?;
        }
        for name in &filter.names {
            if !self.balancers.values().any(|balancer| balancer.name == *name) {
                let text = format!("Load balancer '{name}' not found");
                return Err(Code::LoadBalancerNotFound.because(text));
            }
        }
        let wanted = |balancer: &&LoadBalancer| {
            (filter.arns.is_empty() || filter.arns.contains(&balancer.arn))
                && (filter.names.is_empty() || filter.names.contains(&balancer.name))
        };
        let items = self.balancers.values().filter(wanted).collect();
        filter.page.cut(items, |balancer| &balancer.arn)
    }

    /// `DescribeLoadBalancerAttributes`.
    ///
    /// # Errors
    /// It is not there.
    pub fn balancer_attributes(&self, arn: &str) -> Result<Vec<(String, String)>, Refusal> {
        Ok(attributes::all(&attributes::of_balancer(), &self.balancer(arn)?.attributes))
    }

    /// `ModifyLoadBalancerAttributes`.
    ///
    /// # Errors
    /// An attribute that is not known, out of range or without effect here.
    pub fn modify_balancer_attributes(
        &mut self,
        arn: &str,
        changes: &[(String, String)],
    ) -> Result<Vec<(String, String)>, Refusal> {
        let balancer = self.balancer_mut(arn)?;
        attributes::modify(&attributes::of_balancer(), &mut balancer.attributes, changes)?;
        self.check_bucket(arn)?;
        self.config(arn)?;
        self.balancer_attributes(arn)
    }

    /// An access log goes to a bucket that there is.
    fn check_bucket(&self, arn: &str) -> Result<(), Refusal> {
        let given = &self.balancer(arn)?.attributes;
        if !attributes::is_on(given, attributes::ACCESS_LOG) {
            return Ok(());
        }
        let name = given.get(attributes::BUCKET).map_or("", String::as_str);
        if self.environment.buckets.contains_key(name) {
            return Ok(());
        }
        let text = format!(
            "Access Denied for bucket: {name}. Please check S3bucket permission; --bucket \
             {name}=DIR makes it"
        );
        Err(Code::InvalidConfigurationRequest.because(text))
    }

    /// `SetSubnets`: the zones are these from now on. A zone that stays keeps the address of its node
    /// unless it is given another one.
    ///
    /// # Errors
    /// See [`Code`].
    pub fn set_subnets(
        &mut self,
        arn: &str,
        subnets: &[SubnetMapping],
        ip_address_type: Option<&str>,
    ) -> Result<&LoadBalancer, Refusal> {
        check_address_type(ip_address_type)?;
        let present = self.balancer_mut(arn)?.nodes.clone();
        let nodes = self.nodes(subnets, &present, Some(arn))?;
        self.balancer_mut(arn)?.nodes = nodes;
        self.config(arn)?;
        self.balancer(arn)
    }

    /// `SetSecurityGroups`: none can be set.
    ///
    /// # Errors
    /// One is given.
    pub fn set_security_groups(&mut self, arn: &str, groups: &[String]) -> Result<(), Refusal> {
        self.balancer_mut(arn)?;
        no_security_groups(groups)
    }

    /// `SetIpAddressType`: `ipv4` only.
    ///
    /// # Errors
    /// It is another one.
    pub fn set_ip_address_type(&mut self, arn: &str, kind: &str) -> Result<(), Refusal> {
        self.balancer_mut(arn)?;
        check_address_type(Some(kind))
    }

    /// The nodes in these subnets. Those in zones of `present` stay where they are.
    fn nodes(
        &self,
        subnets: &[SubnetMapping],
        present: &[Node],
        own: Option<&str>,
    ) -> Result<Vec<Node>, Refusal> {
        if subnets.is_empty() {
            return Err(invalid("At least one subnet must be specified"));
        }
        let number = self.free_number(own);
        let mut nodes: Vec<Node> = Vec::with_capacity(subnets.len());
        for mapping in subnets {
            let zones = self.environment.zones.iter();
            let zone = mapping.subnet.strip_prefix("subnet-");
            let Some((place, zone)) =
                zones.enumerate().find(|(_, known)| zone == Some(&*known.name))
            else {
                let known: Vec<_> = self
                    .environment
                    .zones
                    .iter()
                    .map(|zone| format!("subnet-{}", zone.name))
                    .collect();
                let text = format!(
                    "The subnet ID '{}' does not exist; there are {}",
                    mapping.subnet,
                    known.join(", ")
                );
                return Err(Code::SubnetNotFound.because(text));
            };
            if let Some(allocation) = &mapping.allocation {
                let text = format!("The allocation ID '{allocation}' does not exist");
                return Err(Code::AllocationIdNotFound.because(text));
            }
            if nodes.iter().any(|node| *node.zone == *zone.name) {
                let text = "A load balancer cannot be attached to multiple subnets in the same \
                            Availability Zone";
                return Err(Code::InvalidConfigurationRequest.because(text));
            }
            let stays = present.iter().find(|node| *node.zone == *zone.name);
            let default = || {
                let of_loopback = Ipv4Addr::new(127, 0, number, u8::try_from(place + 1).ok()?);
                stays
                    .and_then(|node| node.address)
                    .or(zone.address)
                    .or_else(|| Some(of_loopback.into()))
            };
            let address = match &mapping.address {
                Some(text) => Some(IpAddr::V4(text.parse().map_err(|_not_an_address| {
                    invalid(format!("'{text}' is not a valid IPv4 address"))
                })?)),
                None => default(),
            };
            if nodes.iter().any(|node| node.address == address) {
                let text = "Two nodes of a load balancer cannot have one address";
                return Err(Code::InvalidConfigurationRequest.because(text));
            }
            nodes.push(Node { zone: zone.name.to_string(), address });
        }
        nodes.sort_by(|a, b| a.zone.cmp(&b.zone));
        Ok(nodes)
    }

    /// The least N from 1 on so that no other load balancer has a node at 127.0.N.x.
    fn free_number(&self, own: Option<&str>) -> u8 {
        let others = || self.balancers.values().filter(|other| Some(other.arn.as_str()) != own);
        let taken = |number: u8| {
            let addresses = || others().flat_map(|other| &other.nodes).filter_map(|it| it.address);
            addresses().any(|address| match address {
                IpAddr::V4(address) => address.octets()[..3] == [127, 0, number],
                IpAddr::V6(_) => false,
            })
        };
        // More load balancers than numbers are not possible but with a file's; a socket that is
        // taken is an error of its own.
        (1..=254).find(|number| !taken(*number)).unwrap_or(1)
    }
}

fn check_kind(kind: Option<&str>) -> Result<(), Refusal> {
    match kind {
        Some("network") => Ok(()),
        None | Some("application" | "gateway") => {
            let text = "Only load balancers of the type 'network' are served; the type that the \
                        API takes without one is 'application'";
            Err(Code::InvalidConfigurationRequest.because(text))
        },
        Some(other) => Err(invalid(format!("'{other}' is not a type of load balancers"))),
    }
}

fn check_address_type(kind: Option<&str>) -> Result<(), Refusal> {
    match kind {
        None | Some("ipv4") => Ok(()),
        Some("dualstack" | "dualstack-without-public-ipv4") => {
            let text = "The subnets have no IPv6 addresses; the IP address type is 'ipv4'";
            Err(Code::InvalidConfigurationRequest.because(text))
        },
        Some(other) => Err(invalid(format!("'{other}' is not an IP address type"))),
    }
}

fn no_security_groups(groups: &[String]) -> Result<(), Refusal> {
    match groups {
        [] => Ok(()),
        [first, ..] => {
            let text = format!("The security group '{first}' does not exist");
            Err(Code::InvalidSecurityGroup.because(text))
        },
    }
}
