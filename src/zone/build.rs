//! Objects to map.
//!
//! Called at every change of the objects or of resolved names. Pure and linear in the number of
//! endpoints. Always holds: the same objects in any order of slices give the same map.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::core::v1::Endpoints;

use super::{
    EndpointEntry, PodMode, Port, ServiceEntry, Zone, ZoneOptions,
    endpoints::{self, Member, Merge},
    names,
};
use crate::model::{
    objects::{ObjectKey, Objects, Stored},
    service::{Service, ServicePort, ServiceType, TargetPort},
    slice::EndpointSlice,
};

/// Addresses of names outside the zone: lower case, no trailing dot.
pub type Resolved = HashMap<Arc<str>, Vec<IpAddr>>;

/// Annotation of a Service that has been put to sleep [IDLE-1].
const IDLED_AT: &str = "idling.alpha.openshift.io/idled-at";

impl Zone {
    /// The map of `objects` in cluster domain `domain`. `resolved` holds addresses for the names of
    /// [`names_to_resolve`], as far as they are known.
    #[must_use]
    pub fn build(objects: &Objects, domain: &str, resolved: &Resolved, serial: u32) -> Self {
        Self::build_with(objects, domain, resolved, serial, ZoneOptions::default())
    }

    /// The map, shown by DNS as `options` say.
    #[must_use]
    pub fn build_with(
        objects: &Objects,
        domain: &str,
        resolved: &Resolved,
        serial: u32,
        options: ZoneOptions,
    ) -> Self {
        let domain = domain.trim_matches('.').to_ascii_lowercase();
        let sources = Sources::new(objects, resolved);
        let mut zone = Self {
            services: HashMap::with_capacity(objects.services.len()),
            namespaces: namespaces(objects),
            serial,
            reverse: HashMap::new(),
            pods: HashMap::new(),
            options,
            domain: domain.into(),
        };
        for service in &objects.services {
            let Some(key) = lower_key(&service.key) else { continue };
            let fqdn: Arc<str> = zone.fqdn(&key).into();
            if let Entry::Vacant(room) = zone.services.entry(Arc::clone(&fqdn)) {
                room.insert(Arc::new(sources.entry(service, key, fqdn)));
            }
        }
        zone.reverse = reverse(&zone.services, &zone.options);
        if zone.options.pods == PodMode::Verified {
            zone.pods = pods(&zone.services);
        }
        zone
    }
}

/// Namespaces that exist: one with an object of its own, or with any Service.
fn namespaces(objects: &Objects) -> HashSet<Arc<str>> {
    let named = objects.namespaces.iter().map(|namespace| &namespace.key.name);
    let used = objects.services.iter().map(|service| &service.key.namespace);
    let mut found: HashSet<Arc<str>> = HashSet::new();
    for name in named.chain(used) {
        if !found.contains(name) {
            found.extend(label(name));
        }
    }
    found
}

/// Names that must be resolved outside: the addresses of FQDN slices, and with `external_names` the
/// targets of ExternalName Services that are not in `domain` (decisions 7).
#[must_use]
pub fn names_to_resolve(
    objects: &Objects,
    domain: &str,
    external_names: bool,
) -> BTreeSet<Arc<str>> {
    let domain = domain.trim_matches('.').to_ascii_lowercase();
    let in_slices = objects
        .slices
        .iter()
        .flat_map(|slice| &slice.object.endpoints)
        .flat_map(|endpoint| &endpoint.names)
        .filter_map(|text| names::host_name(text));
    let targets = objects.services.iter().filter(|_| external_names);
    let targets = targets
        .filter_map(|service| external_name(&service.object))
        .filter_map(|text| names::host_name(&text))
        .filter(|name| !in_domain(name, &domain));
    in_slices.chain(targets).map(Arc::from).collect()
}

fn in_domain(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// What is behind each Service, by namespace and Service name.
pub(crate) struct Backing<'a> {
    slices: HashMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>,
    endpoints: HashMap<(&'a str, &'a str), &'a Endpoints>,
}

/// What is behind one Service.
pub(crate) enum Behind<'b, 'a> {
    /// Its slices, by name: the first mention of an endpoint decides what mentions cannot agree on.
    Slices(&'b [&'a EndpointSlice]),
    /// Its Endpoints object, which counts without slices.
    Endpoints(&'a Endpoints),
    /// Nothing.
    Nothing,
}

impl<'a> Backing<'a> {
    /// That of all Services of `objects`.
    pub(crate) fn new(objects: &'a Objects) -> Self {
        let mut slices: HashMap<_, Vec<&Stored<EndpointSlice>>> = HashMap::new();
        for slice in &objects.slices {
            if let Some(service) = &slice.object.service {
                let key = (&*slice.key.namespace, &**service);
                slices.entry(key).or_default().push(&**slice);
            }
        }
        let sorted = |(key, mut of_service): (_, Vec<&'a Stored<EndpointSlice>>)| {
            of_service.sort_by(|a, b| a.key.name.cmp(&b.key.name));
            (key, of_service.into_iter().map(|stored| &stored.object).collect())
        };
        let endpoints = objects
            .endpoints
            .iter()
            .map(|stored| ((&*stored.key.namespace, &*stored.key.name), &stored.object))
            .collect();
        Self { slices: slices.into_iter().map(sorted).collect(), endpoints }
    }

    /// What is behind the Service of this namespace and name.
    pub(crate) fn of<'b>(&'b self, namespace: &'b str, name: &'b str) -> Behind<'b, 'a> {
        match (self.slices.get(&(namespace, name)), self.endpoints.get(&(namespace, name))) {
            (Some(slices), _) => Behind::Slices(slices),
            (None, Some(endpoints)) => Behind::Endpoints(endpoints),
            (None, None) => Behind::Nothing,
        }
    }
}

/// What entries are made from.
struct Sources<'a> {
    backing: Backing<'a>,
    resolved: &'a Resolved,
}

impl<'a> Sources<'a> {
    fn new(objects: &'a Objects, resolved: &'a Resolved) -> Self {
        Self { backing: Backing::new(objects), resolved }
    }

    fn entry(&self, stored: &Stored<Service>, key: ObjectKey, fqdn: Arc<str>) -> ServiceEntry {
        let service = &stored.object;
        let external_name = external_name(service);
        // A Service that names no address is headless (decisions 1).
        let vips = match external_name {
            Some(_) => Box::default(),
            None => service.cluster_ips.clone(),
        };
        let endpoints = match &external_name {
            Some(name) => self.external_endpoints(service, name),
            None => self.endpoints(stored),
        };
        let idled_at = service.annotation(IDLED_AT);
        ServiceEntry {
            idled: !vips.is_empty() && idled_at.is_some_and(|at| !at.is_empty()),
            ports: service_ports(service).map(|(port, _)| port).collect(),
            external_name: external_name.map(Arc::from),
            key,
            fqdn,
            vips,
            endpoints,
        }
    }

    /// Endpoints from all slices, or else from the Endpoints object.
    fn endpoints(&self, stored: &Stored<Service>) -> Box<[EndpointEntry]> {
        let (key, publish) = (&stored.key, stored.object.publish_not_ready);
        let mut merge = Merge::default();
        match self.backing.of(&key.namespace, &key.name) {
            Behind::Slices(slices) => {
                for slice in slices {
                    endpoints::add_slice(&mut merge, slice, publish, self.resolved);
                }
            },
            Behind::Endpoints(object) => endpoints::add_endpoints(&mut merge, object, publish),
            Behind::Nothing => {},
        }
        merge.finish()
    }

    /// Endpoints of an ExternalName Service whose target has been resolved: its addresses with the
    /// ports of the Service.
    fn external_endpoints(&self, service: &Service, target: &str) -> Box<[EndpointEntry]> {
        let ports: Vec<Port> = service_ports(service).filter_map(|(_, target)| target).collect();
        let mut merge = Merge::default();
        for &address in self.resolved.get(target).into_iter().flatten() {
            merge.add(&external_member(address), &ports);
        }
        merge.finish()
    }
}

const fn external_member(address: IpAddr) -> Member {
    Member {
        address,
        ready: true,
        serving: true,
        terminating: false,
        pod: None,
        hostname: None,
        zone: None,
    }
}

/// `spec.externalName` of an ExternalName Service: lower case, no trailing dot, otherwise unchecked.
fn external_name(service: &Service) -> Option<String> {
    (service.kind == ServiceType::ExternalName).then(|| {
        let name = service.rare().external_name.as_str();
        name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
    })
}

/// Ports of a Service, each with the port of its endpoints when that is a number.
fn service_ports(service: &Service) -> impl Iterator<Item = (Port, Option<Port>)> {
    service.ports.iter().filter_map(|port| {
        let ServicePort { name, app_protocol, protocol, .. } = port;
        let make = |number| endpoints::port(name, *protocol, number, app_protocol.as_ref());
        let target = match port.target {
            TargetPort::Number(number) => make(number),
            TargetPort::Name(_) => None,
            TargetPort::Same => make(port.port),
        };
        Some((make(port.port)?, target))
    })
}

/// Lower-case copy of `text`, or `text` itself, if it is a DNS label.
fn label(text: &Arc<str>) -> Option<Arc<str>> {
    if names::is_label(text) {
        return Some(Arc::clone(text));
    }
    let lower = text.to_ascii_lowercase();
    names::is_label(&lower).then(|| lower.into())
}

fn lower_key(key: &ObjectKey) -> Option<ObjectKey> {
    Some(ObjectKey { namespace: label(&key.namespace)?, name: label(&key.name)? })
}

/// Address to names: a virtual address stands for its Service alone, any other for every ready
/// endpoint that has it (spec/l4-dns.md C.3). Namespaces that are not shown have no names.
fn reverse(
    services: &HashMap<Arc<str>, Arc<ServiceEntry>>,
    options: &ZoneOptions,
) -> HashMap<IpAddr, Box<[Arc<str>]>> {
    let shown = || services.values().filter(|entry| options.exposes(&entry.key.namespace));
    let mut virtual_names: HashMap<IpAddr, Vec<Arc<str>>> = HashMap::new();
    for entry in shown() {
        for vip in &entry.vips {
            virtual_names.entry(*vip).or_default().push(Arc::clone(&entry.fqdn));
        }
    }
    let mut names: HashMap<IpAddr, Vec<Arc<str>>> = HashMap::new();
    for entry in shown().filter(|entry| entry.external_name.is_none()) {
        for endpoint in entry.endpoints.iter().filter(|endpoint| endpoint.ready) {
            if !virtual_names.contains_key(&endpoint.address) {
                let label = names::endpoint_label(endpoint, options.endpoint_pod_names);
                let name = format!("{label}.{}", entry.fqdn);
                names.entry(endpoint.address).or_default().push(name.into());
            }
        }
    }
    let all = names.into_iter().chain(virtual_names);
    all.map(|(address, mut names)| {
        names.sort_unstable();
        names.dedup();
        (address, names.into())
    })
    .collect()
}

/// Addresses of the pods that endpoints name, by namespace. Manifests hold no running pods, so a pod
/// behind no Service is not known.
fn pods(services: &HashMap<Arc<str>, Arc<ServiceEntry>>) -> HashMap<Arc<str>, HashSet<IpAddr>> {
    let mut pods: HashMap<Arc<str>, HashSet<IpAddr>> = HashMap::new();
    for entry in services.values() {
        for endpoint in entry.endpoints.iter().filter(|endpoint| endpoint.pod.is_some()) {
            pods.entry(Arc::clone(&entry.key.namespace)).or_default().insert(endpoint.address);
        }
    }
    pods
}

#[cfg(test)]
mod tests;
