//! The account behind the elbv2 API: load balancers, target groups, listeners, targets and tags, as
//! a user made them (spec/l4-dns.md A.1 to A.6b, A.12, A.13).
//!
//! Called by `app::nlb::elbv2`. Pure: the time and the source of ids are arguments. What shall run is
//! told as documents that `nlb::config` reads, so that there is one place that says what a load
//! balancer may be. Load balancers that come from a file or from manifests are shown as well and
//! cannot be changed. A call that is refused may leave the account half changed: callers work on a
//! copy and keep it when the call succeeds.

mod attributes;
mod balancers;
mod document;
mod error;
mod foreign;
mod groups;
mod health;
mod limits;
mod listeners;
mod page;
mod tags;
mod targets;

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

pub use attributes::Attributes;
pub use balancers::{BalancerFilter, NewBalancer, SubnetMapping};
pub use error::{Code, Refusal};
pub use foreign::Foreign;
pub use groups::{CheckChange, GroupFilter, NewGroup};
pub use health::Health;
pub use limits::LIMITS;
pub use listeners::{Action, ListenerChange, ListenerFilter, NewListener};
pub use page::{Page, PageOf};
pub use targets::TargetKey;

use crate::nlb::{
    config::{Protocol, Realism, TargetType, ZoneConfig},
    names::DEFAULT_REGION,
};
use error::invalid;

/// The account number in ARNs.
pub const NUMBER: &str = "000000000000";
/// The one VPC.
pub const VPC: &str = "vpc-00000000000000000";

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// What surrounds the account: AWS has subnets, machines, certificates and buckets; here, options name
/// them.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Region, in ARNs and names.
    pub region: Arc<str>,
    /// Availability zones. Each has one subnet, `subnet-ZONE`. The address of a zone's node is that
    /// which stands here; without one, load balancer N gets 127.0.N.Z in the zone at place Z.
    pub zones: Vec<ZoneConfig>,
    /// How its load balancers check, and how soon they change.
    pub realism: Realism,
    /// Machines by id, which targets of the type `instance` may be.
    pub instances: BTreeMap<String, Instance>,
    /// PEM files with a chain and its key, by the ARN of the certificate.
    pub certificates: BTreeMap<String, PathBuf>,
    /// Directories for access logs, by the name of the bucket: a caller may name these and no other
    /// place to write to.
    pub buckets: BTreeMap<String, PathBuf>,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its address.
    pub address: IpAddr,
    /// Its zone.
    pub zone: Option<Arc<str>>,
}

impl Default for Environment {
    fn default() -> Self {
        let zones = ["a", "b", "c"].map(|zone| format!("{DEFAULT_REGION}{zone}").as_str().into());
        Self {
            region: DEFAULT_REGION.into(),
            zones: zones.to_vec(),
            realism: Realism::default(),
            instances: BTreeMap::new(),
            certificates: BTreeMap::new(),
            buckets: BTreeMap::new(),
        }
    }
}

/// What a call that makes something needs from outside.
pub struct Maker<'a> {
    /// The time.
    pub now: SystemTime,
    /// Numbers that do not repeat.
    pub ids: &'a mut dyn FnMut() -> u64,
}

impl std::fmt::Debug for Maker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maker").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Maker<'_> {
    fn id(&mut self) -> String {
        format!("{:016x}", (self.ids)())
    }

    fn millis(&self) -> u64 {
        let since = self.now.duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// Who made a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Owner {
    /// This API, which alone may change it.
    #[default]
    Api,
    /// The configuration file.
    File,
    /// A Service in manifests.
    Service(String),
}

/// A load balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LoadBalancer {
    /// ARN; the key.
    pub arn: String,
    /// Name.
    pub name: String,
    /// Milliseconds since 1970.
    pub created: u64,
    /// `internet-facing` or `internal`; no difference here.
    pub scheme: String,
    /// Enabled zones with their nodes.
    pub nodes: Vec<Node>,
    /// See [`Attributes`].
    #[serde(default)]
    pub attributes: Attributes,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// The regional DNS name.
    pub dns_name: String,
    /// Who made it; only those of the API are stored.
    #[serde(skip)]
    pub owner: Owner,
}

/// The node of a load balancer in a zone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Node {
    /// The zone.
    pub zone: String,
    /// Its address; those of a file may have none.
    pub address: Option<IpAddr>,
}

impl Node {
    /// The subnet.
    #[must_use]
    pub fn subnet(&self) -> String {
        format!("subnet-{}", self.zone)
    }
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TargetGroup {
    /// ARN; the key.
    pub arn: String,
    /// Name.
    pub name: String,
    /// What its targets speak.
    pub protocol: Protocol,
    /// Port of targets that are registered without one; 0 for one of a file.
    pub port: u16,
    /// As given; not looked at.
    pub vpc: String,
    /// What its targets are.
    pub target_type: TargetType,
    /// True if its targets have IPv6 addresses.
    #[serde(default)]
    pub ipv6: bool,
    /// Health check.
    pub check: Check,
    /// See [`Attributes`].
    #[serde(default)]
    pub attributes: Attributes,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// Registered targets; each stands once.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// Who made it.
    #[serde(skip)]
    pub owner: Owner,
}

/// How the targets of a group are checked (A.5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Check {
    /// `TCP`, `HTTP` or `HTTPS`.
    pub protocol: String,
    /// `traffic-port` or a number.
    pub port: String,
    /// Of HTTP and HTTPS.
    pub path: Option<String>,
    /// Of HTTP and HTTPS.
    pub matcher: Option<String>,
    /// Seconds.
    pub interval: u32,
    /// Seconds.
    pub timeout: u32,
    /// Passes to become healthy.
    pub healthy: u32,
    /// Failures to become unhealthy.
    pub unhealthy: u32,
}

/// A registered target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Target {
    /// As registered: an address or the id of a machine.
    pub id: String,
    /// Port.
    pub port: u16,
    /// As registered; `all` or none is every zone.
    pub zone: Option<String>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Listener {
    /// ARN; the key.
    pub arn: String,
    /// ARN of its load balancer.
    pub load_balancer: String,
    /// What it carries.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
    /// Its forward action.
    pub forward: Vec<Forward>,
    /// ARNs of its certificates, the default one first.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// Security policy, of TLS listeners.
    pub ssl_policy: Option<String>,
    /// ALPN policy, of TLS listeners.
    pub alpn_policy: Option<String>,
    /// See [`Attributes`].
    #[serde(default)]
    pub attributes: Attributes,
    /// Tags.
    #[serde(default)]
    pub tags: Tags,
    /// Who made it.
    #[serde(skip)]
    pub owner: Owner,
}

/// One target group of a forward action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Forward {
    /// ARN of the group.
    pub group: String,
    /// 0 to 999.
    pub weight: u32,
}

/// What is stored of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stored {
    /// Load balancers.
    #[serde(default)]
    pub load_balancers: Vec<LoadBalancer>,
    /// Target groups.
    #[serde(default)]
    pub target_groups: Vec<TargetGroup>,
    /// Listeners.
    #[serde(default)]
    pub listeners: Vec<Listener>,
}

/// The account.
#[derive(Clone, Debug, Default)]
pub struct Account {
    environment: Arc<Environment>,
    balancers: BTreeMap<String, LoadBalancer>,
    groups: BTreeMap<String, TargetGroup>,
    listeners: BTreeMap<String, Listener>,
}

/// Kinds of resources, as their ARNs name them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Balancer,
    Group,
    Listener,
}

impl Kind {
    /// The kind of the resource with this ARN.
    fn of(arn: &str) -> Option<Self> {
        let rest = arn.strip_prefix("arn:aws:elasticloadbalancing:")?;
        let resource = rest.splitn(3, ':').nth(2)?;
        let parts: Vec<_> = resource.split('/').collect();
        match parts[..] {
            ["loadbalancer", "net", _, _] => Some(Self::Balancer),
            ["targetgroup", _, _] => Some(Self::Group),
            ["listener", "net", _, _, _] => Some(Self::Listener),
            _ => None,
        }
    }

    /// [`Code::ValidationError`] unless `arn` is one of this kind.
    fn check(self, arn: &str) -> Result<(), Refusal> {
        if Self::of(arn) == Some(self) {
            return Ok(());
        }
        let what = match self {
            Self::Balancer => "load balancer",
            Self::Group => "target group",
            Self::Listener => "listener",
        };
        Err(invalid(format!("'{arn}' is not a valid {what} ARN")))
    }
}

impl Account {
    /// An account with nothing in it.
    #[must_use]
    pub fn new(environment: Environment) -> Self {
        Self { environment: Arc::new(environment), ..Self::default() }
    }

    /// An account as it was stored.
    ///
    /// # Errors
    /// What refers to something that is not there, or stands twice.
    pub fn restore(environment: Environment, stored: Stored) -> Result<Self, String> {
        let mut account = Self::new(environment);
        let twice = |arn: &str| format!("{arn} stands twice");
        for balancer in stored.load_balancers {
            let arn = balancer.arn.clone();
            if account.balancers.insert(arn.clone(), balancer).is_some() {
                return Err(twice(&arn));
            }
        }
        for group in stored.target_groups {
            let arn = group.arn.clone();
            if account.groups.insert(arn.clone(), group).is_some() {
                return Err(twice(&arn));
            }
        }
        for listener in stored.listeners {
            let arn = listener.arn.clone();
            let mut groups = listener.forward.iter().map(|forward| &forward.group);
            let missing = groups.find(|group| !account.groups.contains_key(*group));
            if let Some(missing) = missing {
                return Err(format!("{arn} forwards to {missing}, which is not there"));
            }
            if !account.balancers.contains_key(&listener.load_balancer) {
                return Err(format!("{arn} is of {}, which is not there", listener.load_balancer));
            }
            if account.listeners.insert(arn.clone(), listener).is_some() {
                return Err(twice(&arn));
            }
        }
        Ok(account)
    }

    /// What to store: all that the API made.
    #[must_use]
    pub fn stored(&self) -> Stored {
        let own = |owner: &Owner| *owner == Owner::Api;
        Stored {
            load_balancers: self.balancers.values().filter(|it| own(&it.owner)).cloned().collect(),
            target_groups: self.groups.values().filter(|it| own(&it.owner)).cloned().collect(),
            listeners: self.listeners.values().filter(|it| own(&it.owner)).cloned().collect(),
        }
    }

    /// The load balancer with this ARN.
    ///
    /// # Errors
    /// There is none.
    pub fn balancer(&self, arn: &str) -> Result<&LoadBalancer, Refusal> {
        Kind::Balancer.check(arn)?;
        let text =
            || Code::LoadBalancerNotFound.because(format!("Load balancer '{arn}' not found"));
        self.balancers.get(arn).ok_or_else(text)
    }

    /// The target group with this ARN.
    ///
    /// # Errors
    /// There is none.
    pub fn group(&self, arn: &str) -> Result<&TargetGroup, Refusal> {
        Kind::Group.check(arn)?;
        let text = || Code::TargetGroupNotFound.because(format!("Target group '{arn}' not found"));
        self.groups.get(arn).ok_or_else(text)
    }

    /// The listener with this ARN.
    ///
    /// # Errors
    /// There is none.
    pub fn listener(&self, arn: &str) -> Result<&Listener, Refusal> {
        Kind::Listener.check(arn)?;
        let text = || Code::ListenerNotFound.because(format!("Listener '{arn}' not found"));
        self.listeners.get(arn).ok_or_else(text)
    }

    fn balancer_mut(&mut self, arn: &str) -> Result<&mut LoadBalancer, Refusal> {
        may_change(&self.balancer(arn)?.owner)?;
        self.balancers.get_mut(arn).ok_or_else(|| invalid(arn))
    }

    fn group_mut(&mut self, arn: &str) -> Result<&mut TargetGroup, Refusal> {
        may_change(&self.group(arn)?.owner)?;
        self.groups.get_mut(arn).ok_or_else(|| invalid(arn))
    }

    fn listener_mut(&mut self, arn: &str) -> Result<&mut Listener, Refusal> {
        may_change(&self.listener(arn)?.owner)?;
        self.listeners.get_mut(arn).ok_or_else(|| invalid(arn))
    }

    /// The listeners of a load balancer.
    fn listeners_of<'a>(&'a self, balancer: &'a str) -> impl Iterator<Item = &'a Listener> {
        self.listeners.values().filter(move |listener| listener.load_balancer == balancer)
    }

    /// The load balancer whose listeners forward to a group: there is one at most.
    #[must_use]
    pub fn balancer_of(&self, group: &str) -> Option<&LoadBalancer> {
        let forwards =
            |listener: &&Listener| listener.forward.iter().any(|forward| forward.group == group);
        let listener = self.listeners.values().find(forwards)?;
        self.balancers.get(&listener.load_balancer)
    }
}

/// Refuses to change what the API did not make.
fn may_change(owner: &Owner) -> Result<(), Refusal> {
    let text = match owner {
        Owner::Api => return Ok(()),
        Owner::File => "It comes from the configuration file; edit the file".to_owned(),
        Owner::Service(service) => {
            format!("It comes from the Service {service} in the manifests; edit the Service")
        },
    };
    Err(Code::OperationNotPermitted.because(text))
}

/// A name of a load balancer or a target group (A.13).
fn check_name(name: &str, what: &str) -> Result<(), Refusal> {
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let problem = if name.is_empty() || name.len() > 32 {
        "must have 1 to 32 characters"
    } else if !fits {
        "can only contain characters that are alphanumeric characters and hyphens(-)"
    } else if name.starts_with('-') || name.ends_with('-') {
        "cannot begin or end with a hyphen(-)"
    } else {
        return Ok(());
    };
    Err(invalid(format!("The {what} name '{name}' {problem}")))
}

#[cfg(test)]
mod tests;
