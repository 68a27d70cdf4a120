//! Services to tables of the packet filter, the way of kube-proxy's nftables mode (spec/l4-dns.md B.3,
//! B.4).
//!
//! Called by the parent module at every change. Pure. Always holds: what each address does is what
//! `services::choose` says; the same Services give the same tables; no text of an object comes into a
//! rule but letters, digits and a few harmless signs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;
use ipnet::IpNet;

use super::{
    NftOptions, Taken,
    table::{Chain, Family, Kind, Set, Table},
};
use crate::{
    services::{
        Endpoint, Service, ServicePort, TrafficPolicy, Via,
        choose::{Categories, Verdict, categorize},
    },
    vip::no_local,
    zone::Protocol,
};

/// The bit of the packet mark that asks for masquerading; that of kube-proxy.
const MARK: &str = "0x4000";
/// Clients that are remembered for one endpoint.
const CLIENTS: usize = 65_536;
/// Bytes of an object's name that a chain's name shows.
const SHOWN: usize = 60;

const SERVICE_IPS: &str = "service-ips";
const SERVICE_NODEPORTS: &str = "service-nodeports";
const NO_ENDPOINT_SERVICES: &str = "no-endpoint-services";
const NO_ENDPOINT_NODEPORTS: &str = "no-endpoint-nodeports";
const FIREWALL_IPS: &str = "firewall-ips";
const CLUSTER_IPS: &str = "cluster-ips";
const NODEPORT_IPS: &str = "nodeport-ips";

/// What Services mean on this node.
#[derive(Debug, Default)]
pub struct Rendered {
    /// The table of each family that has something to do.
    pub tables: BTreeMap<Family, Table>,
    /// Addresses of UDP ports, each with all endpoints that it may have: what is left of connections
    /// elsewhere is forgotten (B.5).
    pub udp: BTreeMap<SocketAddr, BTreeSet<SocketAddr>>,
    /// Addresses that more than one Service wants: the first has it.
    pub taken: Vec<Taken>,
    /// Ports of Services whose policy leaves no endpoint here, though there is one elsewhere: internal
    /// and external.
    pub no_local: [usize; 2],
    /// Virtual addresses and ports with an endpoint.
    pub serving: usize,
}

/// Makes the tables.
#[must_use]
pub fn render(options: &NftOptions, services: &[impl AsRef<Service>]) -> Rendered {
    let mut rendered = Rendered::default();
    for family in Family::ALL {
        let mut writer = Writer::new(family, options, &mut rendered);
        for service in services {
            writer.service(service.as_ref());
        }
        let Writer { table, used, .. } = writer;
        if used {
            rendered.tables.insert(family, table);
        }
    }
    rendered.no_local = no_local(services, &options.node);
    rendered
}

/// Which sources a rule is for.
enum Sources {
    None,
    All,
    /// As a set of ranges.
    Some(String),
}

impl Sources {
    fn of(family: Family, ranges: &[IpNet]) -> Self {
        let own: Vec<IpNet> =
            ranges.iter().filter(|range| family.has(range.addr())).copied().collect();
        // Ranges of a set may not overlap.
        let own = IpNet::aggregate(&own);
        if own.is_empty() {
            Self::None
        } else if own.iter().any(|range| range.prefix_len() == 0) {
            Self::All
        } else {
            let shown: Vec<String> = own.iter().map(ToString::to_string).collect();
            Self::Some(format!("{{ {} }}", shown.join(", ")))
        }
    }
}

struct Writer<'a> {
    family: Family,
    options: &'a NftOptions,
    rendered: &'a mut Rendered,
    table: Table,
    cluster: Sources,
    /// Who has an address: names of Services.
    owners: BTreeMap<(IpAddr, Protocol, u16), &'a Service>,
    used: bool,
}

/// One port of one Service in one family.
struct Port<'a> {
    service: &'a Service,
    port: &'a ServicePort,
    id: String,
    sets: Categories<'a>,
}

impl<'a> Writer<'a> {
    fn new(family: Family, options: &'a NftOptions, rendered: &'a mut Rendered) -> Self {
        let (table, cluster) = (frame(family, options), Sources::of(family, &options.cluster));
        let used = options.service_ranges.iter().any(|range| family.has(range.addr()));
        Self { family, options, rendered, table, cluster, owners: BTreeMap::new(), used }
    }

    fn rule(&mut self, chain: &str, rule: impl Into<String>) {
        self.table.chains.entry(chain.to_owned()).or_default().rules.push(rule.into());
    }

    fn element(&mut self, set: &str, key: String, value: impl Into<String>) {
        if let Some(set) = self.table.sets.get_mut(set) {
            set.elements.insert(key, value.into());
        }
    }

    fn service(&mut self, service: &'a Service) {
        let family = self.family;
        for address in service.cluster_ips.iter().filter(|address| family.has(**address)) {
            self.element(CLUSTER_IPS, address.to_string(), "");
            self.used = true;
        }
        for port in &service.ports {
            let own = port.endpoints.iter().filter(|endpoint| family.has(endpoint.address.ip()));
            let sets = categorize(own, &self.options.node);
            self.port(&Port { service, port, id: id(service, port), sets });
        }
    }

    fn port(&mut self, port: &Port<'a>) {
        let mut kinds = BTreeSet::new();
        for (address, via) in port.service.addresses() {
            if self.family.has(address) && self.own(port, address, port.port.port) {
                kinds.insert(via);
                self.used = true;
                self.address(port, via, Some(address), port.port.port);
                self.firewall(port, via, address);
            }
        }
        if let Some(number) = port.port.node_port {
            let addresses = self.options.node_addresses.iter();
            let nodes: Vec<IpAddr> =
                addresses.copied().filter(|address| self.family.has(*address)).collect();
            // A number is one Service's on all addresses of the node.
            let mut free = true;
            for address in &nodes {
                free &= self.own(port, *address, number);
            }
            if free && !nodes.is_empty() {
                kinds.insert(Via::NodePort);
                self.used = true;
                self.address(port, Via::NodePort, None, number);
            }
        }
        self.chains(port, &kinds);
    }

    /// True when `address` is this Service's.
    fn own(&mut self, port: &Port<'a>, address: IpAddr, number: u16) -> bool {
        let key = (address, port.port.protocol, number);
        match self.owners.get(&key) {
            // A node port may be the port of an address of the node.
            Some(winner) if winner.key != port.service.key => {
                let (winner, loser) = (winner.key.clone(), port.service.key.clone());
                let address = SocketAddr::new(address, number);
                self.rendered.taken.push(Taken { address, winner, loser });
                false
            },
            _ => {
                self.owners.insert(key, port.service);
                true
            },
        }
    }

    /// What packets to an address do; without one, those to `number` of the node.
    fn address(&mut self, port: &Port<'a>, via: Via, address: Option<IpAddr>, number: u16) {
        let protocol = protocol(port.port.protocol);
        let (key, choices, nothing) = match address {
            Some(address) => {
                (format!("{address} . {protocol} . {number}"), SERVICE_IPS, NO_ENDPOINT_SERVICES)
            },
            None => (format!("{protocol} . {number}"), SERVICE_NODEPORTS, NO_ENDPOINT_NODEPORTS),
        };
        let usable = port.sets.usable();
        let [outside, inside] =
            [false, true].map(|inside| port.service.choice(usable, via, inside));
        let is_from = |verdict| matches!(verdict, Verdict::From(_));
        if is_from(outside) || is_from(inside) {
            let chain = if via == Via::ClusterIp { "internal" } else { "external" };
            self.element(choices, key.clone(), format!("goto {chain}-{}", port.id));
            self.rendered.serving += 1;
        }
        // What is not redirected still has its address when it comes here.
        match outside {
            Verdict::From(_) => {},
            Verdict::Reject => self.element(nothing, key, "goto reject-chain"),
            Verdict::Drop => self.element(nothing, key, "drop"),
        }
        if port.port.protocol == Protocol::Udp {
            let chosen = port.sets.cluster.iter().chain(&port.sets.local);
            let chosen: BTreeSet<SocketAddr> = chosen.map(|endpoint| endpoint.address).collect();
            let nodes = || self.options.node_addresses.iter().copied();
            let nodes = nodes().filter(|node| address.is_none() && self.family.has(*node));
            for address in address.into_iter().chain(nodes) {
                self.rendered.udp.insert(SocketAddr::new(address, number), chosen.clone());
            }
        }
    }

    /// Sources that the load balancer's addresses take [SVC-13].
    fn firewall(&mut self, port: &Port<'a>, via: Via, address: IpAddr) {
        let (Via::LoadBalancerIp, Some(ranges)) = (via, &port.service.source_ranges) else {
            return;
        };
        let allowed = match Sources::of(self.family, ranges) {
            Sources::All => return,
            Sources::None => None,
            Sources::Some(ranges) => Some(ranges),
        };
        let (chain, family) = (format!("firewall-{}", port.id), self.family.name());
        if !self.table.chains.contains_key(&chain) {
            if let Some(ranges) = allowed {
                self.rule(&chain, format!("{family} saddr {ranges} return"));
            }
            self.rule(&chain, "drop");
        }
        let key = format!("{address} . {} . {}", protocol(port.port.protocol), port.port.port);
        self.element(FIREWALL_IPS, key, format!("goto {chain}"));
    }

    /// The chains that the addresses of these kinds go to.
    fn chains(&mut self, port: &Port<'a>, kinds: &BTreeSet<Via>) {
        let usable = port.sets.usable();
        let (mut all, mut local) = (false, false);
        if kinds.contains(&Via::ClusterIp) {
            let verdict = port.service.choice(usable, Via::ClusterIp, false);
            if let Verdict::From(policy) = verdict {
                self.internal(port, policy);
                all |= policy == TrafficPolicy::Cluster;
                local |= policy == TrafficPolicy::Local;
            }
        }
        if let Some(via) = kinds.iter().find(|via| **via != Via::ClusterIp)
            && usable.cluster
        {
            let outside = port.service.choice(usable, *via, false);
            self.external(port, outside);
            all = true;
            local |= outside == Verdict::From(TrafficPolicy::Local);
        }
        let mut used = BTreeMap::new();
        for (name, wanted, set) in
            [("service", all, &port.sets.cluster), ("local", local, &port.sets.local)]
        {
            if wanted {
                self.choice(&format!("{name}-{}", port.id), port, set);
                used.extend(set.iter().map(|endpoint| (endpoint.address, *endpoint)));
            }
        }
        for endpoint in used.into_values() {
            self.endpoint(port, endpoint);
        }
    }

    fn internal(&mut self, port: &Port<'a>, policy: TrafficPolicy) {
        let chain = format!("internal-{}", port.id);
        if policy == TrafficPolicy::Local {
            return self.rule(&chain, format!("goto local-{}", port.id));
        }
        if let Sources::Some(cluster) = &self.cluster {
            let rule =
                format!("{} saddr != {cluster} jump mark-for-masquerade", self.family.name());
            self.rule(&chain, rule);
        }
        self.rule(&chain, format!("goto service-{}", port.id));
    }

    /// Addresses for the outside. Under policy Local who is inside has all endpoints.
    fn external(&mut self, port: &Port<'a>, outside: Verdict) {
        let (chain, family, id) =
            (format!("external-{}", port.id), self.family.name(), port.id.clone());
        if outside == Verdict::From(TrafficPolicy::Cluster) {
            match &self.cluster {
                Sources::All => {},
                Sources::None => self.rule(&chain, "jump mark-for-masquerade"),
                Sources::Some(cluster) => {
                    let rule = format!("{family} saddr != {cluster} jump mark-for-masquerade");
                    self.rule(&chain, rule);
                },
            }
            return self.rule(&chain, format!("goto service-{id}"));
        }
        match &self.cluster {
            Sources::All => self.rule(&chain, format!("goto service-{id}")),
            Sources::None => {},
            Sources::Some(cluster) => {
                let rule = format!("{family} saddr {cluster} goto service-{id}");
                self.rule(&chain, rule);
            },
        }
        self.rule(&chain, "fib saddr type local jump mark-for-masquerade");
        self.rule(&chain, format!("fib saddr type local goto service-{id}"));
        if outside == Verdict::From(TrafficPolicy::Local) {
            self.rule(&chain, format!("goto local-{id}"));
        }
    }

    /// The endpoint that the client had, or any.
    fn choice(&mut self, chain: &str, port: &Port<'a>, endpoints: &[&Endpoint]) {
        let (family, ids) =
            (self.family.name(), endpoints.iter().map(|one| endpoint_id(port, one.address)));
        let ids: Vec<String> = ids.collect();
        if let Some(timeout) = port.service.affinity {
            for id in &ids {
                let set = affinity(id, timeout);
                self.rule(chain, format!("{family} saddr @{set} goto endpoint-{id}"));
            }
        }
        let turns = ids.iter().enumerate();
        let turns: Vec<String> =
            turns.map(|(turn, id)| format!("{turn} : goto endpoint-{id}")).collect();
        let (count, turns) = (turns.len(), turns.join(", "));
        self.rule(chain, format!("numgen random mod {count} vmap {{ {turns} }}"));
    }

    fn endpoint(&mut self, port: &Port<'a>, endpoint: &Endpoint) {
        let (family, id) = (self.family.name(), endpoint_id(port, endpoint.address));
        let (chain, address) = (format!("endpoint-{id}"), endpoint.address.ip());
        // A pod that comes to itself would else answer itself directly [SVC-12].
        self.rule(&chain, format!("{family} saddr {address} jump mark-for-masquerade"));
        if let Some(timeout) = port.service.affinity {
            let set = affinity(&id, timeout);
            self.rule(&chain, format!("update @{set} {{ {family} saddr }}"));
            let header = format!(
                "type {} ; size {CLIENTS} ; flags dynamic,timeout ; timeout {}s",
                self.family.address(),
                timeout.as_secs()
            );
            let (kind, elements) = (Kind::Dynamic, BTreeMap::new());
            self.table.sets.insert(set, Set { kind, header, elements });
        }
        let protocol = protocol(port.port.protocol);
        self.rule(&chain, format!("meta l4proto {protocol} dnat to {}", endpoint.address));
    }
}

/// What every table has.
fn frame(family: Family, options: &NftOptions) -> Table {
    let mut table = Table::default();
    let (ip, address) = (family.name(), family.address());
    let by_address = format!("type {address} . inet_proto . inet_service : verdict");
    let by_port = "type inet_proto . inet_service : verdict".to_owned();
    let plain = format!("type {address}");
    for (name, kind, header) in [
        (SERVICE_IPS, Kind::Map, &by_address),
        (NO_ENDPOINT_SERVICES, Kind::Map, &by_address),
        (FIREWALL_IPS, Kind::Map, &by_address),
        (SERVICE_NODEPORTS, Kind::Map, &by_port),
        (NO_ENDPOINT_NODEPORTS, Kind::Map, &by_port),
        (CLUSTER_IPS, Kind::Set, &plain),
        (NODEPORT_IPS, Kind::Set, &plain),
    ] {
        let elements = match name {
            NODEPORT_IPS => {
                let own = options.node_addresses.iter().filter(|address| family.has(**address));
                own.map(|address| (address.to_string(), String::new())).collect()
            },
            _ => BTreeMap::new(),
        };
        table.sets.insert(name.to_owned(), Set { kind, header: header.clone(), elements });
    }
    let mut cluster_ips_check = vec![format!("{ip} daddr @{CLUSTER_IPS} reject")];
    match Sources::of(family, &options.service_ranges) {
        Sources::None | Sources::All => {},
        Sources::Some(ranges) => cluster_ips_check.push(format!("{ip} daddr {ranges} drop")),
    }
    let target = format!("{ip} daddr . meta l4proto . th dport vmap");
    let node_target = format!("{ip} daddr @{NODEPORT_IPS} meta l4proto . th dport vmap");
    let checks = ["endpoints-check", "cluster-ips-check"];
    let jumps = |chains: &[&str]| {
        let jumps = chains.iter().map(|chain| format!("ct state new jump {chain}"));
        jumps.collect::<Vec<_>>()
    };
    let plain = |rule: &str| vec![rule.to_owned()];
    for (name, base, rules) in [
        // Before any address is changed. Rejecting is for input, forward and output alone.
        (
            "firewall-prerouting",
            Some("type filter hook prerouting priority -110"),
            jumps(&["firewall-check"]),
        ),
        (
            "firewall-output",
            Some("type filter hook output priority -110"),
            jumps(&["firewall-check"]),
        ),
        ("filter-input", Some("type filter hook input priority 0"), jumps(&checks)),
        ("filter-forward", Some("type filter hook forward priority 0"), jumps(&checks)),
        ("filter-output", Some("type filter hook output priority 0"), jumps(&checks)),
        ("nat-prerouting", Some("type nat hook prerouting priority -100"), plain("jump services")),
        ("nat-output", Some("type nat hook output priority -100"), plain("jump services")),
        (
            "nat-postrouting",
            Some("type nat hook postrouting priority 100"),
            plain("jump masquerading"),
        ),
        ("firewall-check", None, vec![format!("{target} @{FIREWALL_IPS}")]),
        (
            "endpoints-check",
            None,
            vec![
                format!("{target} @{NO_ENDPOINT_SERVICES}"),
                format!("{node_target} @{NO_ENDPOINT_NODEPORTS}"),
            ],
        ),
        ("cluster-ips-check", None, cluster_ips_check),
        (
            "services",
            None,
            vec![format!("{target} @{SERVICE_IPS}"), format!("{node_target} @{SERVICE_NODEPORTS}")],
        ),
        ("reject-chain", None, plain("reject")),
        ("mark-for-masquerade", None, vec![format!("meta mark set meta mark or {MARK}")]),
        (
            "masquerading",
            None,
            vec![
                format!("meta mark and {MARK} == 0 return"),
                format!("meta mark set meta mark xor {MARK}"),
                "masquerade fully-random".to_owned(),
            ],
        ),
    ] {
        table.chains.insert(name.to_owned(), Chain { base, rules });
    }
    table
}

const fn protocol(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}

/// A name that only this port of this Service has, of characters that `nft` takes.
fn id(service: &Service, port: &ServicePort) -> String {
    let whole = format!("{}/{}/{}", service.key, protocol(port.protocol), port.port);
    let hash = digest(&SHA256, whole.as_bytes());
    let hash = BASE32_NOPAD.encode(hash.as_ref());
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
    let shown: String = whole.chars().filter(is_plain).take(SHOWN).collect();
    // 80 bits: nobody finds a name that has another's.
    format!("{}-{shown}", hash.get(..16).unwrap_or_default())
}

fn endpoint_id(port: &Port<'_>, address: SocketAddr) -> String {
    let ip = address.ip().to_string().replace(':', ".");
    // `::1` begins with a dot, which stands well within a name.
    format!("{}__{ip}/{}", port.id, address.port())
}

/// The set of an endpoint's clients. A set cannot change its timeout, so another one has another name.
fn affinity(endpoint: &str, timeout: Duration) -> String {
    format!("affinity-{}-{endpoint}", timeout.as_secs())
}

#[cfg(test)]
mod tests;
