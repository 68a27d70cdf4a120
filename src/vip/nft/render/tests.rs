//! The rules are those of what `services` chooses, and of nothing else.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::objects::ObjectKey;

fn endpoint(last: u8, node: &str) -> Endpoint {
    Endpoint {
        address: SocketAddr::from(([10, 0, 0, last], 8080)),
        ready: true,
        serving: true,
        terminating: false,
        node: Some(node.into()),
        node_hints: Vec::new(),
        zone_hints: Vec::new(),
    }
}

fn service(name: &str, last: u8, endpoints: Vec<Endpoint>) -> Service {
    Service {
        key: ObjectKey::new("app", name),
        cluster_ips: vec![IpAddr::from([172, 30, 0, last])],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        internal: TrafficPolicy::Cluster,
        external: TrafficPolicy::Cluster,
        affinity: None,
        source_ranges: None,
        health_check_node_port: None,
        ports: vec![ServicePort {
            name: "".into(),
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
            endpoints,
        }],
    }
}

fn options() -> NftOptions {
    let mut options = NftOptions::default();
    options.node.name = "here".into();
    options
}

/// Rules of the chain of this kind; there is one, or none.
fn rules<'t>(table: &'t Table, kind: &str) -> &'t [String] {
    let mut found = table.chains.iter().filter(|(name, _)| name.starts_with(kind));
    let rules = found.next().map_or(&[][..], |(_, chain)| &chain.rules);
    assert_eq!(found.next(), None, "{kind}");
    rules
}

fn only(options: &NftOptions, service: Service) -> Table {
    let mut rendered = render(options, &[Arc::new(service)]);
    rendered.tables.remove(&Family::V4).unwrap()
}

/// [SVC-01] [SVC-12]
#[test]
fn svc_1_a_cluster_ip_leads_to_any_endpoint() {
    let mut options = options();
    options.cluster = vec!["10.0.0.0/8".parse().unwrap()];
    let table = only(&options, service("web", 1, vec![endpoint(1, "here"), endpoint(2, "there")]));
    let id = id(&service("web", 1, Vec::new()), &service("web", 1, Vec::new()).ports[0]);
    assert_eq!(
        table.sets[SERVICE_IPS].elements,
        BTreeMap::from([("172.30.0.1 . tcp . 80".to_owned(), format!("goto internal-{id}"))])
    );
    assert_eq!(
        rules(&table, "internal-"),
        [
            "ip saddr != { 10.0.0.0/8 } jump mark-for-masquerade".to_owned(),
            format!("goto service-{id}")
        ]
    );
    let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|ip| format!("endpoint-{id}__{ip}/8080"));
    assert_eq!(
        rules(&table, "service-"),
        [format!("numgen random mod 2 vmap {{ 0 : goto {a}, 1 : goto {b} }}")]
    );
    assert_eq!(
        table.chains[&b].rules,
        ["ip saddr 10.0.0.2 jump mark-for-masquerade", "meta l4proto tcp dnat to 10.0.0.2:8080"]
    );
}

/// [SVC-02] [SVC-03]: refused without any endpoint, dropped without one here, where the policy is Local.
#[test]
fn svc_2_what_nobody_serves_is_refused_or_dropped() {
    let verdict = |endpoints, internal| {
        let mut service = service("web", 1, endpoints);
        service.internal = internal;
        let table = only(&options(), service);
        assert!(table.sets[SERVICE_IPS].elements.is_empty());
        table.sets[NO_ENDPOINT_SERVICES].elements["172.30.0.1 . tcp . 80"].clone()
    };
    let (local, there) = (TrafficPolicy::Local, vec![endpoint(2, "there")]);
    assert_eq!(verdict(Vec::new(), TrafficPolicy::Cluster), "goto reject-chain");
    assert_eq!(verdict(Vec::new(), local), "goto reject-chain");
    assert_eq!(verdict(there, local), "drop");
}

/// [SVC-03] [SVC-13] [B.4]: who is inside has all endpoints; nobody is masqueraded who has those here.
#[test]
fn svc_3_policy_local_is_for_the_outside() {
    let mut options = options();
    options.cluster = vec!["10.0.0.0/8".parse().unwrap()];
    options.node_addresses = vec![IpAddr::from([192, 0, 2, 1])];
    let mut service = service("web", 1, vec![endpoint(2, "there")]);
    service.external = TrafficPolicy::Local;
    service.load_balancer_ips = vec![IpAddr::from([203, 0, 113, 9])];
    service.ports[0].node_port = Some(30080);
    let ranges = ["192.0.2.0/25", "192.0.2.128/25", "2001:db8::/32"];
    service.source_ranges = Some(ranges.iter().map(|range| range.parse().unwrap()).collect());
    let table = only(&options, service.clone());
    let key = "203.0.113.9 . tcp . 80";
    assert_eq!(table.sets[NO_ENDPOINT_SERVICES].elements[key], "drop");
    assert_eq!(table.sets[NO_ENDPOINT_NODEPORTS].elements["tcp . 30080"], "drop");
    assert!(table.sets[FIREWALL_IPS].elements.contains_key(key));
    assert_eq!(rules(&table, "firewall-6"), ["ip saddr { 192.0.2.0/24 } return", "drop"]);
    let outer = |table: &Table| rules(table, "external-").to_vec();
    let id = outer(&table)[0].split("service-").nth(1).unwrap().to_owned();
    let mut expected = vec![
        format!("ip saddr {{ 10.0.0.0/8 }} goto service-{id}"),
        "fib saddr type local jump mark-for-masquerade".to_owned(),
        format!("fib saddr type local goto service-{id}"),
    ];
    assert_eq!(outer(&table), expected);
    service.ports[0].endpoints.push(endpoint(3, "here"));
    let table = only(&options, service.clone());
    expected.push(format!("goto local-{id}"));
    assert_eq!(outer(&table), expected);
    assert!(table.sets[NO_ENDPOINT_SERVICES].elements.is_empty());
    // Ranges of the other family admit nobody; the widest one admits all.
    service.source_ranges = Some(vec!["2001:db8::/32".parse().unwrap()]);
    assert_eq!(rules(&only(&options, service.clone()), "firewall-6"), ["drop"]);
    service.source_ranges = Some(vec!["0.0.0.0/0".parse().unwrap()]);
    assert!(only(&options, service).sets[FIREWALL_IPS].elements.is_empty());
}

/// [SVC-04]
#[test]
fn svc_4_clients_are_remembered_by_endpoint() {
    let mut service = service("web", 1, vec![endpoint(1, "here")]);
    service.affinity = Some(Duration::from_secs(60));
    let table = only(&options(), service.clone());
    let (name, set) = table.sets.iter().find(|(name, _)| name.starts_with("affinity-60-")).unwrap();
    assert_eq!(
        (set.kind, &*set.header),
        (Kind::Dynamic, "type ipv4_addr ; size 65536 ; flags dynamic,timeout ; timeout 60s")
    );
    assert!(rules(&table, "endpoint-").contains(&format!("update @{name} {{ ip saddr }}")));
    assert!(rules(&table, "service-")[0].starts_with(&format!("ip saddr @{name} goto endpoint-")));
    // Another timeout is another set: the kernel cannot change it.
    service.affinity = Some(Duration::from_secs(61));
    assert!(!only(&options(), service).sets.contains_key(name));
}

/// Names that are not Kubernetes' come from files: nothing of them is a rule.
#[test]
fn a_name_is_never_a_rule() {
    let strange = service("a; } add table ip x { \n\"'$(x)", 1, vec![endpoint(1, "here")]);
    let script = only(&options(), strange).replacement(Family::V4);
    let plain = |c: char| c.is_ascii_alphanumeric() || " \n{}@:;,._/-!=".contains(c);
    assert!(script.chars().all(plain), "{script}");
    assert_eq!(script.lines().filter(|line| line.contains("add table")).count(), 2);
    assert!(script.contains("app/aaddtableipxx/tcp/80"), "{script}");
}

/// The first has an address that two want, and what only the second has stays its own.
#[test]
fn an_address_is_the_first_ones() {
    let [mut first, mut second] =
        [1, 2].map(|last| service(&last.to_string(), last, vec![endpoint(last, "here")]));
    first.external_ips = vec![IpAddr::from([203, 0, 113, 1])];
    second.external_ips = first.external_ips.clone();
    let rendered = render(&options(), &[Arc::new(first.clone()), Arc::new(second.clone())]);
    let address = SocketAddr::from(([203, 0, 113, 1], 80));
    assert_eq!(rendered.taken, [Taken { address, winner: first.key, loser: second.key }]);
    let elements = &rendered.tables[&Family::V4].sets[SERVICE_IPS].elements;
    assert!(elements["203.0.113.1 . tcp . 80"].ends_with("app/1/tcp/80"));
    assert!(elements["172.30.0.2 . tcp . 80"].ends_with("app/2/tcp/80"));
}

prop_compose! {
    fn endpoints()(
        all in proptest::collection::vec(
            (1..20_u8, any::<[bool; 3]>(), prop_oneof![Just("here"), Just("there")]), 0..8),
    ) -> Vec<Endpoint> {
        let by_address: BTreeMap<u8, Endpoint> = all
            .into_iter()
            .map(|(last, [ready, serving, terminating], node)| {
                (last, Endpoint { ready, serving, terminating, ..endpoint(last, node) })
            })
            .collect();
        by_address.into_values().collect()
    }
}

prop_compose! {
    fn services()(
        all in proptest::collection::btree_map(1..30_u8, (endpoints(), any::<[bool; 4]>()), 0..6),
    ) -> Vec<Arc<Service>> {
        let policy = |local| if local { TrafficPolicy::Local } else { TrafficPolicy::Cluster };
        let built = all.into_iter().map(|(last, (endpoints, [inner, outer, is_balanced, keeps]))| {
            let mut service = service(&format!("s{last}"), last, endpoints);
            (service.internal, service.external) = (policy(inner), policy(outer));
            service.affinity = keeps.then(|| Duration::from_secs(60));
            if is_balanced {
                service.load_balancer_ips = vec![IpAddr::from([203, 0, 113, last])];
            }
            Arc::new(service)
        });
        built.collect()
    }
}

/// What the chain leads to: addresses of endpoints, in order, through all chains it goes to.
fn reached(table: &Table, chain: &str, found: &mut Vec<String>) {
    for rule in &table.chains[chain].rules {
        if let Some((_, address)) = rule.split_once("dnat to ") {
            found.push(address.to_owned());
        }
        let targets = rule.split("goto ").skip(1);
        // Rules about single clients lead to what the last rule leads to as well.
        if !rule.contains(" @") && !rule.contains("fib ") {
            for target in targets {
                reached(table, target.split([',', ' ']).next().unwrap(), found);
            }
        }
    }
}

proptest! {
    /// [B.3]: each address leads to each endpoint that is chosen for it exactly once, and what is chosen
    /// from nothing is refused or dropped.
    #[test]
    fn every_chosen_endpoint_is_there_once(services in services()) {
        let rendered = render(&options(), &services);
        let nothing = Table::default();
        let table = rendered.tables.get(&Family::V4).unwrap_or(&nothing);
        for service in &services {
            let sets = categorize(&service.ports[0].endpoints, &options().node);
            for (address, via) in service.addresses() {
                let key = format!("{address} . tcp . 80");
                let chosen = match service.choice(sets.usable(), via, false) {
                    Verdict::From(TrafficPolicy::Cluster) => &sets.cluster[..],
                    Verdict::From(TrafficPolicy::Local) => &sets.local,
                    Verdict::Reject | Verdict::Drop => &[],
                };
                let expected: Vec<String> =
                    chosen.iter().map(|endpoint| endpoint.address.to_string()).collect();
                let mut found = Vec::new();
                if let Some(chain) = table.sets[SERVICE_IPS].elements.get(&key) {
                    reached(table, chain.strip_prefix("goto ").unwrap(), &mut found);
                }
                prop_assert_eq!(&found, &expected, "{}", key);
                prop_assert_eq!(
                    table.sets[NO_ENDPOINT_SERVICES].elements.contains_key(&key),
                    expected.is_empty()
                );
            }
        }
    }

    /// Nothing refers to what is not there, nothing is there that nothing refers to, and nothing is left
    /// of Services that are gone.
    #[test]
    fn nothing_dangles_and_nothing_stays(services in services()) {
        let rendered = render(&options(), &services);
        for table in rendered.tables.values() {
            let text = table.replacement(Family::V4);
            let words = |word: &'static str| {
                let after = text.split(word).skip(1);
                after.map(|rest| rest.split([' ', ',', '\n']).next().unwrap()).collect::<BTreeSet<_>>()
            };
            let (to, sets) = (&words("goto ") | &words("jump "), words(" @"));
            for target in &to {
                prop_assert!(table.chains.contains_key(*target), "{}", target);
            }
            for (name, chain) in &table.chains {
                let is_used = chain.base.is_some() || to.contains(&**name) || name == "reject-chain"
                    || name == "mark-for-masquerade";
                prop_assert!(is_used, "{} in\n{}", name, text);
            }
            for (name, set) in &table.sets {
                prop_assert!(sets.contains(&**name), "{}", name);
                let update = format!("update @{name} ");
                prop_assert!(set.kind != Kind::Dynamic || text.contains(&update), "{}", name);
            }
            // From all of them to the first half: nothing names the others.
            let (stay, gone) = services.split_at(services.len() / 2);
            let after = render(&options(), stay);
            if let Some(after) = after.tables.get(&Family::V4) {
                let left = after.replacement(Family::V4);
                for service in gone {
                    prop_assert!(!left.contains(&format!("-{}/", service.key)), "{}", left);
                }
                let there = after.update(Family::V4, table);
                prop_assert_eq!(there.is_empty(), after == table);
            }
        }
    }

    /// The order of Services that share nothing does not matter.
    #[test]
    fn the_same_services_give_the_same_text(mut services in services()) {
        let text = |services: &[Arc<Service>]| {
            let rendered = render(&options(), services);
            rendered.tables.get(&Family::V4).map(|table| table.replacement(Family::V4))
        };
        let before = text(&services);
        services.reverse();
        prop_assert_eq!(text(&services), before);
    }
}
