//! Backends: which endpoints a route uses, with which weights, and the state they carry over.
//!
//! Endpoints come out of the DNS map, by the Service's name (decisions 1). Peers, counters and
//! round-robin positions are kept by identity, so that a change resets nothing.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

mod cluster_ip;

use super::{finding, policy::annotation, sticky, trust::Tls};
use crate::{
    balance::{self, Algorithm, Balancer, Defaults, endpoint_weights},
    headers::sticky::Value,
    model::{
        finding::{Finding, codes},
        grammar,
        objects::{ObjectKey, Stored},
        route::{Route, Termination},
    },
    net::address_map::place,
    settings::{
        RouterSettings,
        upstream::{UpstreamMode, UpstreamSettings},
    },
    snapshot::{Backend, Check, Server},
    stats::UpstreamStats,
    tls::client::Policy,
    upstream::{
        gate::Gate,
        peer::{self, Peer, PeerKey},
    },
    zone::{EndpointEntry, Port, Protocol, ServiceEntry, Zone},
};

const BALANCE: &str = "haproxy.router.openshift.io/balance";
const CHECK_INTERVAL: &str = "router.openshift.io/haproxy.health.check.interval";
const CONCURRENT: &str = "haproxy.router.openshift.io/pod-concurrent-connections";

/// Shortest time between two checks that a route may ask for: checks are work for the whole router.
const MIN_CHECK_INTERVAL: Duration = Duration::from_millis(100);

type BackendKey = (ObjectKey, Termination);

/// What a backend keeps from snapshot to snapshot.
#[derive(Debug)]
struct Kept {
    stats: Arc<UpstreamStats>,
    position: Arc<AtomicUsize>,
    /// By Service as well: two Services of a route may select the same pod.
    servers: HashMap<(Arc<str>, PeerKey), KeptServer>,
}

#[derive(Debug)]
struct KeptServer {
    stats: Arc<UpstreamStats>,
    gate: Option<Arc<Gate>>,
}

/// What a route asks for all of its servers.
#[derive(Clone, Copy)]
struct Limits {
    cap: Option<Cap>,
    /// The interval of checks, if there are any.
    check: Option<Duration>,
}

/// The limit of a route on the requests at once to each endpoint, and how many may wait.
#[derive(Clone, Copy)]
struct Cap {
    limit: usize,
    bound: usize,
}

impl Cap {
    /// For so many endpoints together.
    const fn times(self, endpoints: usize) -> Self {
        Self { limit: self.limit.saturating_mul(endpoints), bound: self.bound }
    }
}

impl KeptServer {
    fn new(workers: usize) -> Self {
        Self { stats: Arc::new(UpstreamStats::new(workers)), gate: None }
    }

    /// The gate for `cap`: the one that there is, so that what runs and waits goes on counting.
    fn gate(&mut self, cap: Option<Cap>) -> Option<Arc<Gate>> {
        self.gate = cap.map(|Cap { limit, bound }| match self.gate.take() {
            Some(gate) => {
                gate.set_limit(limit);
                gate
            },
            None => Gate::new(limit, bound),
        });
        self.gate.clone()
    }
}

/// All backends of the process.
#[derive(Debug)]
pub(super) struct Backends {
    workers: usize,
    allow_loopback: bool,
    upstream: UpstreamSettings,
    balance: Defaults,
    max_queue: usize,
    check_interval: Duration,
    slow_start: Duration,
    cookie_name: String,
    shuffle: Option<Shuffle>,
    /// No compile has ended yet: what is there has not just come.
    first: bool,
    peers: HashMap<PeerKey, Arc<Peer>>,
    kept: HashMap<BackendKey, Kept>,
    next_peers: HashMap<PeerKey, Arc<Peer>>,
    next_kept: HashMap<BackendKey, Kept>,
    checked: HashMap<u64, Check>,
}

/// A service of a route with its endpoints, and the weight of each of them.
struct Listed<'a> {
    service: &'a str,
    found: Vec<Found>,
    weight: u16,
}

/// One endpoint of one service, before weights are known.
struct Found {
    address: SocketAddr,
    /// Name of the port; empty when unnamed.
    port: Arc<str>,
    protocol: peer::Protocol,
    tls: Option<Arc<Policy>>,
    pod: Arc<str>,
    kind: Kind,
}

/// What an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A pod's.
    Endpoint,
    /// That of a Service which wakes up when it is dialled [IDLE-1].
    Idled,
    /// That of a Service, behind which one of so many endpoints is chosen by somebody else.
    ClusterIp(usize),
}

impl Kind {
    /// How many places at once a route's limit for each pod makes here.
    const fn places(self) -> usize {
        match self {
            Self::ClusterIp(endpoints) => endpoints,
            Self::Endpoint | Self::Idled => 1,
        }
    }
}

impl Backends {
    pub(super) fn new(settings: &RouterSettings) -> Self {
        Self {
            workers: settings.workers,
            allow_loopback: settings.allow_loopback_endpoints,
            upstream: settings.upstream.clone(),
            balance: Defaults {
                algorithm: Algorithm::parse(&settings.balance),
                tcp: Algorithm::parse(&settings.tcp_balance),
            },
            max_queue: settings.max_queue,
            check_interval: settings.timeouts.check_interval,
            slow_start: settings.health.slow_start,
            cookie_name: settings.cookie_name.clone(),
            shuffle: settings.shuffle_endpoints.then(Shuffle::new),
            first: true,
            peers: HashMap::new(),
            kept: HashMap::new(),
            next_peers: HashMap::new(),
            next_kept: HashMap::new(),
            checked: HashMap::new(),
        }
    }

    /// Starts a compile. What one that panicked had taken goes back.
    pub(super) fn begin(&mut self) {
        self.next_peers.clear();
        self.kept.extend(self.next_kept.drain());
        self.checked.clear();
    }

    /// Ends a compile: what was not used is forgotten. Returns the peers to check.
    pub(super) fn finish(&mut self) -> Vec<Check> {
        self.first = false;
        let before = std::mem::replace(&mut self.peers, std::mem::take(&mut self.next_peers));
        for (key, peer) in before {
            if !self.peers.contains_key(&key) {
                peer.depart();
            }
        }
        self.kept = std::mem::take(&mut self.next_kept);
        let mut checked: Vec<_> = std::mem::take(&mut self.checked).into_values().collect();
        checked.sort_by_key(|check| check.peer.id);
        checked
    }

    /// The backend of `route`, with `tls` where it is a reencrypt route.
    pub(super) fn backend(
        &mut self,
        route: &Stored<Route>,
        termination: Termination,
        tls: Option<Tls<'_>>,
        zone: &Zone,
        findings: &mut Vec<Finding>,
    ) -> Arc<Backend> {
        // By name: of a service listed twice the last weight counts, and services are in
        // alphabetical order [W-6].
        let targets: BTreeMap<&str, u16> =
            targets(route).map(|(name, weight)| (name, clamp(weight))).collect();
        let mut services: Vec<(&str, u16, Vec<Found>)> = targets
            .into_iter()
            .map(|(name, weight)| (name, weight, self.endpoints(route, name, zone, findings)))
            .collect();
        if let Some(shuffle) = &mut self.shuffle {
            services.iter_mut().for_each(|(_, _, found)| shuffle.apply(found));
        }
        if let Some(tls) = tls {
            reencrypt(&route.key.namespace, &mut services, tls);
        }
        let counts: Vec<(u16, usize)> =
            services.iter().map(|(_, weight, found)| (*weight, found.len())).collect();
        let weights = endpoint_weights(&counts);
        let key = (route.key.clone(), termination);
        let mut kept = self.kept.remove(&key).unwrap_or_else(|| Kept {
            stats: Arc::new(UpstreamStats::new(self.workers)),
            position: Arc::default(),
            servers: HashMap::new(),
        });
        // [HC-1]: only where there is a choice.
        let choice: usize =
            counts.iter().filter(|(weight, _)| *weight > 0).map(|(_, count)| count).sum();
        let check = (choice > 1).then(|| self.check_interval(route, findings));
        let listed = services.into_iter().zip(weights);
        let listed = listed.map(|((service, _, found), weight)| Listed { service, found, weight });
        let cap = self.cap(route);
        let (servers, values) = self.servers(listed, termination, Limits { cap, check }, &mut kept);
        let sticky = sticky::compile(route, termination, &self.cookie_name, &values);
        let weights: Vec<u16> = servers.iter().map(|server| server.weight).collect();
        let mut balancer = Balancer::new(
            self.algorithm(route, termination, &counts),
            &weights,
            Arc::clone(&kept.position),
        );
        if termination == Termination::Passthrough {
            let identity = |server: &Server| balance::identity(server.peer.key.address);
            balancer = balancer.consistent(servers.iter().map(identity).collect());
        }
        let name =
            format!("{}:{}:{}", termination.backend_prefix(), route.key.namespace, route.key.name);
        let stats = Arc::clone(&kept.stats);
        self.next_kept.insert(key, kept);
        let servers = servers.into();
        Arc::new(Backend { name: name.into(), servers, balancer, sticky, stats })
    }

    /// The servers of a backend with the values of their cookies, and in `kept` what is known of them.
    fn servers<'a>(
        &mut self,
        services: impl Iterator<Item = Listed<'a>>,
        termination: Termination,
        limits: Limits,
        kept: &mut Kept,
    ) -> (Vec<Server>, Vec<Value>) {
        let mut before = std::mem::take(&mut kept.servers);
        // Where nobody served before, nobody has a share that newcomers could grow into.
        let slowly = !self.first && !before.is_empty();
        let (mut servers, mut values) = (Vec::new(), Vec::new());
        for Listed { service, found, weight } in services {
            let service: Arc<str> = service.into();
            if weight == 0 && termination == Termination::Passthrough {
                // There are no cookies that could name them [W-5].
                continue;
            }
            for Found { address, port, protocol, tls, pod, kind } in found {
                let cluster_ip = matches!(kind, Kind::ClusterIp(_));
                let value = match kind {
                    Kind::ClusterIp(_) => sticky::value_of_service(&service, &port),
                    _ => sticky::value(&service, &port, address, &pod),
                };
                let key = PeerKey { address, protocol, tls: None, pod: Arc::clone(&pod) };
                let peer = self.peer(&key, tls.as_deref(), slowly && !cluster_ip);
                // Never an idled service: a check would wake it [HC-1]. And what is behind a cluster
                // IP may be another pod each time.
                let checked = limits.check.filter(|_| kind == Kind::Endpoint);
                if let Some(interval) = checked {
                    self.check(&peer, interval);
                }
                // Whoever is trusted now, it is the same pod.
                let id = (Arc::clone(&service), key);
                let mut server =
                    before.remove(&id).unwrap_or_else(|| KeptServer::new(self.workers));
                let cap = limits.cap.map(|cap| cap.times(kind.places()));
                let (stats, gate) = (Arc::clone(&server.stats), server.gate(cap));
                kept.servers.insert(id, server);
                let label = address.to_string().into();
                let (service, checked) = (Arc::clone(&service), checked.is_some());
                values.push(value);
                servers.push(Server {
                    peer,
                    weight,
                    service,
                    pod,
                    label,
                    stats,
                    checked,
                    gate,
                    cluster_ip,
                });
            }
        }
        (servers, values)
    }

    /// Has `peer` checked, at the shortest interval that any route asks for.
    fn check(&mut self, peer: &Arc<Peer>, interval: Duration) {
        let check = || Check { peer: Arc::clone(peer), interval };
        let check = self.checked.entry(peer.id).or_insert_with(check);
        check.interval = check.interval.min(interval);
    }

    /// The time between two checks of the endpoints of `route` [HC-2].
    fn check_interval(&self, route: &Stored<Route>, findings: &mut Vec<Finding>) -> Duration {
        let wanted = annotation(route, CHECK_INTERVAL).and_then(grammar::parse_duration);
        let Some(wanted) = wanted else { return self.check_interval };
        if wanted < MIN_CHECK_INTERVAL {
            let field = format!("metadata.annotations[{CHECK_INTERVAL}]");
            let text = format!("{wanted:?} between two checks is too short; 100ms is used");
            let fix = "100ms or more";
            findings.push(finding(route, codes::CHECKS_TOO_OFTEN, &field, &text, fix));
        }
        wanted.max(MIN_CHECK_INTERVAL)
    }

    /// [LB-1].
    fn algorithm(
        &self,
        route: &Stored<Route>,
        termination: Termination,
        services: &[(u16, usize)],
    ) -> Algorithm {
        let weighted = services.iter().filter(|(weight, _)| *weight > 0).count();
        let wanted = annotation(route, BALANCE).and_then(Algorithm::parse);
        match termination {
            Termination::Passthrough => self.balance.for_passthrough(wanted, weighted),
            Termination::None | Termination::Edge | Termination::Reencrypt => {
                self.balance.for_http(wanted, weighted)
            },
        }
    }

    /// What `pod-concurrent-connections` says; zero and less mean no limit [PODC-1].
    fn cap(&self, route: &Stored<Route>) -> Option<Cap> {
        let limit = annotation(route, CONCURRENT).and_then(grammar::parse_integer)?;
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0)?;
        Some(Cap { limit, bound: self.max_queue })
    }

    /// The peer of `key` that is spoken to by `policy`: the one that is known, or a new one, which gets
    /// its share `slowly` if that is wanted at all.
    fn peer(&mut self, key: &PeerKey, policy: Option<&Policy>, slowly: bool) -> Arc<Peer> {
        let Self { peers, next_peers, slow_start, .. } = self;
        let tls = policy.map(|policy| Arc::clone(policy.identity()));
        let key = PeerKey { tls, ..key.clone() };
        let peer = next_peers.entry(key).or_insert_with_key(|key| {
            let new = || {
                let peer = match policy {
                    Some(policy) => Peer::secure(key.clone(), policy),
                    None => Peer::new(key.clone()),
                };
                let peer = peer.slow_start(*slow_start);
                if slowly {
                    peer.begin_slow_start();
                }
                peer
            };
            peers.get(key).map_or_else(|| Arc::new(new()), Arc::clone)
        });
        Arc::clone(peer)
    }

    /// The usable endpoints of one service of `route`, sorted by address, without duplicates.
    fn endpoints(
        &self,
        route: &Stored<Route>,
        service: &str,
        zone: &Zone,
        findings: &mut Vec<Finding>,
    ) -> Vec<Found> {
        let key = ObjectKey::new(&route.key.namespace, service);
        let Some(entry) = zone.service(&zone.fqdn(&key)) else { return Vec::new() };
        let port = route.object.spec.port.as_ref().map(|port| &port.target_port);
        if entry.idled && !entry.endpoints.iter().any(|endpoint| endpoint.ready) {
            return self.idled(entry, port);
        }
        let mut found = self.usable(route, entry, port, |endpoint| endpoint.ready, findings);
        if found.is_empty() {
            // Nothing is ready: what still serves while it terminates is the last resort (quirk 32).
            let last = |endpoint: &EndpointEntry| endpoint.serving && endpoint.terminating;
            found = self.usable(route, entry, port, last, findings);
        }
        match self.upstream.mode {
            UpstreamMode::Endpoints => found,
            UpstreamMode::ClusterIp => self.cluster_ips(route, entry, found, findings),
        }
    }

    /// An idled service is woken through its virtual address [IDLE-1].
    fn idled(&self, entry: &ServiceEntry, port: Option<&IntOrString>) -> Vec<Found> {
        let Some(&vip) = entry.vips.first() else { return Vec::new() };
        let address = place(&self.upstream.vip_map, vip);
        let ports = entry.ports.iter().filter(|candidate| matches(candidate, port));
        let found = ports.map(|port| Found {
            address: SocketAddr::new(address, port.number),
            port: Arc::clone(&port.name),
            protocol: protocol_of(port),
            tls: None,
            pod: "".into(),
            kind: Kind::Idled,
        });
        found.collect()
    }

    fn usable(
        &self,
        route: &Stored<Route>,
        entry: &ServiceEntry,
        port: Option<&IntOrString>,
        wanted: impl Fn(&EndpointEntry) -> bool,
        findings: &mut Vec<Finding>,
    ) -> Vec<Found> {
        let mut found = Vec::new();
        for endpoint in entry.endpoints.iter().filter(|endpoint| wanted(endpoint)) {
            if is_restricted(endpoint.address, self.allow_loopback) {
                let text = format!(
                    "endpoint {} of Service {} is loopback, link-local, multicast or metadata",
                    endpoint.address, entry.key
                );
                let fix = "--allow-loopback-endpoints lifts this for loopback addresses";
                findings.push(finding(route, codes::ENDPOINT_REFUSED, "spec.to.name", &text, fix));
                continue;
            }
            let ports = endpoint.ports.iter().filter(|candidate| matches(candidate, port));
            found.extend(ports.map(|port| Found {
                address: SocketAddr::new(endpoint.address, port.number),
                port: Arc::clone(&port.name),
                protocol: protocol_of(port),
                tls: None,
                pod: endpoint.pod.clone().unwrap_or_default(),
                kind: Kind::Endpoint,
            }));
        }
        // One number may stand under several names [EP-2].
        let mut seen = HashSet::new();
        found.retain(|found| seen.insert((found.address, Arc::clone(&found.pod))));
        found
    }
}

/// A source of orders [EP-4].
#[derive(Debug)]
struct Shuffle(u64);

impl Shuffle {
    fn new() -> Self {
        use std::hash::BuildHasher;
        Self(std::collections::hash_map::RandomState::new().hash_one(0))
    }

    /// Fisher and Yates.
    fn apply<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            self.0 = balance::next_draw(self.0);
            let other = usize::try_from(self.0 % (last as u64 + 1)).unwrap_or(last);
            items.swap(last, other);
        }
    }
}

/// Endpoints of a reencrypt route are spoken to over TLS, by a policy for each service [REENC-2];
/// appProtocol has no say then [ALPN-4]. Where there can be no TLS there is no endpoint.
fn reencrypt(namespace: &str, services: &mut [(&str, u16, Vec<Found>)], tls: Tls<'_>) {
    for (service, _, found) in services {
        let Some(policy) = tls.policies.policy(&tls.trust, namespace, service) else {
            found.clear();
            continue;
        };
        for found in found {
            found.protocol = peer::Protocol::default();
            found.tls = Some(Arc::clone(&policy));
        }
    }
}

/// [ALPN-4].
fn protocol_of(port: &Port) -> peer::Protocol {
    peer::Protocol::from_app_protocol(port.app_protocol.as_deref())
}

/// The services of a route with their weights; none means 1, as in the router itself.
fn targets(route: &Stored<Route>) -> impl Iterator<Item = (&str, i32)> {
    let spec = &route.object.spec;
    std::iter::once(&spec.to)
        .chain(&spec.alternate_backends)
        .map(|target| (target.name.as_str(), target.weight.unwrap_or(1)))
}

fn clamp(weight: i32) -> u16 {
    u16::try_from(weight.clamp(0, 256)).unwrap_or(0)
}

/// TCP, with a number, and the one that `spec.port.targetPort` names by number or name [LB-3, EP-2].
fn matches(port: &Port, wanted: Option<&IntOrString>) -> bool {
    let named = match wanted {
        None => true,
        Some(IntOrString::Int(number)) => i32::from(port.number) == *number,
        Some(IntOrString::String(text)) => *port.name == **text || text.parse() == Ok(port.number),
    };
    named && port.protocol != Protocol::Udp && port.number != 0
}

/// Addresses that must never be an endpoint [EPF-2].
fn is_restricted(address: IpAddr, allow_loopback: bool) -> bool {
    let address = canonical(address);
    if address.is_loopback() {
        return !allow_loopback;
    }
    let special = match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.octets() == [168, 63, 129, 16],
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local() || v6.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        },
    };
    special || address.is_unspecified() || address.is_multicast()
}

/// IPv4 hidden in IPv6, mapped or compatible, judged as IPv4.
fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unspecified() => {
            v6.to_ipv4().map_or(address, IpAddr::V4)
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epf_2_restricted_addresses_in_every_spelling() {
        let restricted = [
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "168.63.129.16",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.1.1",
            "::127.0.0.1",
            "::ffff:224.0.0.5",
        ];
        for text in restricted {
            assert!(is_restricted(text.parse().unwrap(), false), "{text}");
        }
        for text in ["10.1.2.3", "192.168.1.1", "2001:db8::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(!is_restricted(text.parse().unwrap(), false), "{text}");
        }
        assert!(!is_restricted("127.0.0.2".parse().unwrap(), true));
        assert!(is_restricted("169.254.1.1".parse().unwrap(), true));
    }
}
