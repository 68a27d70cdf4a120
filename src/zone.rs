//! L2: the embedded cluster DNS map. Typed entries keyed by FQDN (decisions 1).
//!
//! Two readers: the router asks an entry for its endpoints, the DNS server (`dns`) renders the same
//! entry as records. Built from objects at every change, immutable afterwards.

pub mod build;
mod endpoints;
pub mod names;
pub mod options;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

pub use self::{
    build::{Resolved, names_to_resolve},
    options::{PodMode, ZoneOptions, reverse_zone},
};
use crate::model::objects::ObjectKey;
pub use crate::model::service::Protocol;

/// A port of a Service or of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Name; empty when unnamed.
    pub name: Arc<str>,
    /// Transport protocol.
    pub protocol: Protocol,
    /// Port number; 0 means that the slice names no port.
    pub number: u16,
    /// `appProtocol`, such as `kubernetes.io/h2c`.
    pub app_protocol: Option<Arc<str>>,
}

/// One address behind a Service, with the ports it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointEntry {
    /// The address.
    pub address: IpAddr,
    /// Its ports.
    pub ports: Arc<[Port]>,
    /// Takes new traffic (a missing condition means true).
    pub ready: bool,
    /// Still answers, even while terminating.
    pub serving: bool,
    /// Is being deleted.
    pub terminating: bool,
    /// Name of the pod, from `targetRef`.
    pub pod: Option<Arc<str>>,
    /// `hostname` of the endpoint: its DNS label.
    pub hostname: Option<Arc<str>>,
    /// Topology zone.
    pub zone: Option<Arc<str>>,
}

/// One Service: what its name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEntry {
    /// Namespace and name.
    pub key: ObjectKey,
    /// `service.namespace.svc.domain`, lower case, no trailing dot.
    pub fqdn: Arc<str>,
    /// Virtual addresses; empty for a headless Service.
    pub vips: Box<[IpAddr]>,
    /// CNAME target of an ExternalName Service, no trailing dot.
    pub external_name: Option<Arc<str>>,
    /// Ports of the Service.
    pub ports: Box<[Port]>,
    /// Endpoints, sorted by address text, without duplicates.
    pub endpoints: Box<[EndpointEntry]>,
    /// Asleep: a connection to its virtual address wakes it [IDLE-1].
    pub idled: bool,
}

impl ServiceEntry {
    /// True when the name answers with pod addresses: no virtual address and no external name.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.vips.is_empty() && self.external_name.is_none()
    }
}

/// The map. Lookup by FQDN is one hash.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    /// Cluster domain, lower case, no trailing dot, such as `cluster.local`.
    pub domain: Arc<str>,
    /// Services by FQDN.
    pub services: HashMap<Arc<str>, Arc<ServiceEntry>>,
    /// Namespaces that exist, lower case.
    pub namespaces: HashSet<Arc<str>>,
    /// Serial of the SOA record: seconds since 1970 of the last change.
    pub serial: u32,
    /// Names that an address stands for, lower case, no trailing dot: PTR records.
    pub reverse: HashMap<IpAddr, Box<[Arc<str>]>>,
    /// Addresses of pods by namespace; filled for [`PodMode::Verified`] only.
    pub pods: HashMap<Arc<str>, HashSet<IpAddr>>,
    /// What of all this DNS shows; the router's lookups are not concerned.
    pub options: ZoneOptions,
}

impl Zone {
    /// The entry of `name`, which is lower case without a trailing dot.
    #[must_use]
    pub fn service(&self, fqdn: &str) -> Option<&Arc<ServiceEntry>> {
        self.services.get(fqdn)
    }

    /// The entry of `fqdn`, if its namespace is shown.
    #[must_use]
    pub fn shown(&self, fqdn: &str) -> Option<&Arc<ServiceEntry>> {
        self.service(fqdn).filter(|entry| self.options.exposes(&entry.key.namespace))
    }

    /// True when DNS shows the namespace `name` (lower case): it exists and is exposed.
    #[must_use]
    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name) && self.options.exposes(name)
    }

    /// FQDN of a Service in this zone.
    #[must_use]
    pub fn fqdn(&self, key: &ObjectKey) -> String {
        format!("{}.{}.svc.{}", key.name, key.namespace, self.domain)
    }
}
