//! The rules of B.3 as a table, and against an oracle that reads like the page.

use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

use super::*;
use crate::{model::objects::ObjectKey, services::TrafficPolicy::*};

/// `name:flags@node;n=hint,hint;z=hint`: flags are of `r`eady, `s`erving, `t`erminating.
fn endpoint(text: &str) -> Endpoint {
    let mut parts = text.split(';');
    let (head, node) = parts.next().unwrap().split_once('@').unwrap();
    let (last, flags) = head.split_once(':').unwrap();
    let mut endpoint = Endpoint {
        address: format!("10.1.0.{last}:80").parse().unwrap(),
        ready: flags.contains('r'),
        serving: flags.contains('s'),
        terminating: flags.contains('t'),
        node: (!node.is_empty()).then(|| node.into()),
        node_hints: Vec::new(),
        zone_hints: Vec::new(),
    };
    for part in parts {
        let (kind, hints) = part.split_once('=').unwrap();
        let hints = hints.split(',').map(Arc::from).collect();
        if kind == "n" { endpoint.node_hints = hints } else { endpoint.zone_hints = hints }
    }
    endpoint
}

fn node() -> Node {
    Node { name: "here".into(), zone: "a".into() }
}

fn names(set: &[&Endpoint]) -> String {
    let last = |endpoint: &&Endpoint| endpoint.address.ip().to_string()[7..].to_owned();
    set.iter().map(last).collect::<Vec<_>>().join(" ")
}

fn service(internal: TrafficPolicy, external: TrafficPolicy) -> Service {
    Service {
        key: ObjectKey::new("app", "web"),
        cluster_ips: vec!["172.30.0.1".parse().unwrap()],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        internal,
        external,
        affinity: None,
        source_ranges: None,
        health_check_node_port: None,
        ports: Vec::new(),
    }
}

/// Of B.3: endpoints, cluster set, local set.
const TABLE: &[(&str, &[&str], &str, &str)] = &[
    ("nothing", &[], "", ""),
    ("no hints", &["1:rs@here", "2:rs@there"], "1 2", "1"),
    ("zone hints", &["1:rs@here;z=a", "2:rs@there;z=b", "3:rs@there;z=a"], "1 3", "1"),
    ("a hint for two zones", &["1:rs@there;z=b", "2:rs@there;z=a,b"], "2", ""),
    ("SVC-06: one hint is missing", &["1:rs@here;z=a", "2:rs@there"], "1 2", "1"),
    ("no hint for this zone", &["1:rs@there;z=b", "2:rs@there;z=c"], "1 2", ""),
    ("node hints", &["1:rs@here;n=here;z=a", "2:rs@there;n=there;z=a"], "1", "1"),
    ("SVC-07: none for the node", &["1:rs@x;n=x;z=a", "2:rs@y;n=y;z=b"], "1", ""),
    ("SVC-07: a node hint is missing", &["1:rs@here;n=here;z=a", "2:rs@y;z=a"], "1 2", "1"),
    ("SVC-07: none for node or zone", &["1:rs@x;n=x;z=c", "2:rs@y;n=y;z=b"], "1 2", ""),
    ("hints of unready ones do not count", &["1:rs@here;z=a", "2:@there"], "1", "1"),
    ("a hint cannot make unready ready", &["1:@here;z=a", "2:rs@there;z=b"], "2", ""),
    ("local ignores hints", &["1:rs@here;z=b", "2:rs@there;z=a"], "2", "1"),
    ("SVC-05: all terminating", &["1:st@here", "2:st@there"], "1 2", "1"),
    ("SVC-05: terminating and not serving", &["1:t@here", "2:st@there"], "2", ""),
    ("SVC-05: one becomes ready", &["1:st@here", "2:rs@there"], "2", "1"),
    ("SVC-05: and it is here", &["1:st@here", "2:rs@here"], "2", "2"),
    ("terminating ones ignore hints", &["1:st@here;z=b", "2:st@there;z=c"], "1 2", "1"),
    ("unready and not terminating", &["1:s@here", "2:@there"], "", ""),
    ("SVC-10: published while terminating", &["1:rt@here", "2:r@there"], "1 2", "1"),
    ("without a node", &["1:rs@", "2:st@"], "1", ""),
];

/// [SVC-05, SVC-06, SVC-07]
#[test]
fn endpoints_are_chosen_as_the_table_says() {
    for (what, endpoints, cluster, local) in TABLE {
        let endpoints: Vec<Endpoint> = endpoints.iter().map(|text| endpoint(text)).collect();
        let sets = categorize(&endpoints, &node());
        assert_eq!((&*names(&sets.cluster), &*names(&sets.local)), (*cluster, *local), "{what}");
    }
}

#[test]
fn a_node_without_a_zone_has_no_zone_hint() {
    let endpoints = [endpoint("1:rs@x;z=a"), endpoint("2:rs@y;z=b")];
    let nowhere = Node { name: "here".into(), zone: "".into() };
    assert_eq!(names(&categorize(&endpoints, &nowhere).cluster), "1 2");
}

/// [SVC-02] [SVC-03]: what there is when there is nothing.
#[test]
fn svc_3_nothing_to_choose_is_refused_or_silent() {
    let outside = "203.0.113.9".parse().unwrap();
    let verdict = |service: &Service, endpoints: &[&str], via, inside| {
        let endpoints: Vec<Endpoint> = endpoints.iter().map(|text| endpoint(text)).collect();
        let sets = categorize(&endpoints, &node());
        match service.verdict(sets.usable(), via, outside, inside) {
            Verdict::From(Cluster) => names(&sets.cluster),
            Verdict::From(Local) => names(&sets.local),
            Verdict::Reject => "reject".to_owned(),
            Verdict::Drop => "drop".to_owned(),
        }
    };
    let there: &[&str] = &["1:rs@there"];
    let all = [Via::ClusterIp, Via::ExternalIp, Via::LoadBalancerIp, Via::NodePort];
    for via in all {
        for service in [service(Cluster, Cluster), service(Local, Local)] {
            assert_eq!(verdict(&service, &["1:s@here"], via, false), "reject", "SVC-02 {via:?}");
        }
        let local = service(Local, Local);
        assert_eq!(verdict(&local, there, via, false), "drop", "SVC-03 {via:?}");
        assert_eq!(verdict(&local, &["1:rs@here", "2:rs@x"], via, false), "1", "{via:?}");
        assert_eq!(verdict(&service(Cluster, Cluster), there, via, false), "1", "{via:?}");
    }
    // The policies are each for its own addresses.
    assert_eq!(verdict(&service(Cluster, Local), there, Via::ClusterIp, false), "1");
    assert_eq!(verdict(&service(Local, Cluster), there, Via::ClusterIp, false), "drop");
    assert_eq!(verdict(&service(Local, Cluster), there, Via::NodePort, false), "1");
    // From inside, outer addresses have all endpoints; cluster IPs keep their policy.
    for via in [Via::ExternalIp, Via::LoadBalancerIp, Via::NodePort] {
        assert_eq!(verdict(&service(Cluster, Local), there, via, true), "1", "{via:?}");
    }
    assert_eq!(verdict(&service(Local, Cluster), there, Via::ClusterIp, true), "drop");
}

/// [SVC-03]: 503 is for 0.
#[test]
fn svc_3_the_health_check_counts_ready_endpoints_of_this_node() {
    let mut service = service(Cluster, Local);
    let port = |endpoints: &[&str]| super::super::ServicePort {
        name: "".into(),
        protocol: crate::zone::Protocol::Tcp,
        port: 80,
        node_port: None,
        endpoints: endpoints.iter().map(|text| endpoint(text)).collect(),
    };
    assert_eq!(service.local_ready(&node()), 0);
    service.ports = vec![port(&["1:rs@there", "2:st@here"])];
    assert_eq!(service.local_ready(&node()), 0);
    service.ports = vec![port(&["1:rs@here", "2:rs@here"]), port(&["1:rs@here"])];
    assert_eq!(service.local_ready(&node()), 2);
}

/// [SVC-13]
#[test]
fn svc_13_a_source_outside_the_ranges_is_dropped_before_anything_else() {
    let mut service = service(Cluster, Cluster);
    service.source_ranges = Some(vec!["198.51.100.0/24".parse().unwrap()]);
    let endpoints = [endpoint("1:rs@here")];
    let (some, none) = (categorize(&endpoints, &node()).usable(), Usable::default());
    let ask = |usable, via, source: &str| {
        service.verdict(usable, via, source.parse().unwrap(), false) == Verdict::Drop
    };
    for (source, dropped) in
        [("198.51.100.7", false), ("198.51.101.7", true), ("2001:db8::1", true)]
    {
        assert_eq!(ask(some, Via::LoadBalancerIp, source), dropped, "{source}");
        assert!(!ask(some, Via::ClusterIp, source));
        assert!(!ask(some, Via::NodePort, source));
    }
    assert!(ask(none, Via::LoadBalancerIp, "198.51.101.7"), "before the refusal");
    assert!(!ask(none, Via::LoadBalancerIp, "198.51.100.7"));
}

/// Hints of a place: none, or some of three names.
fn hints() -> impl Strategy<Value = Vec<Arc<str>>> {
    let name = prop_oneof![Just("here"), Just("a"), Just("x")].prop_map(Arc::from);
    prop::collection::vec(name, 0..3)
}

fn endpoints() -> impl Strategy<Value = Vec<Endpoint>> {
    let one = (any::<(bool, bool, bool, bool)>(), hints(), hints());
    prop::collection::vec(one, 0..6).prop_map(|all| {
        let all = all.into_iter().enumerate();
        all.map(|(index, ((ready, serving, terminating, here), node_hints, zone_hints))| {
            let last = u8::try_from(index).unwrap() + 1;
            let address = ([10, 1, 0, last], 80).into();
            let node = Some(if here { "here" } else { "there" }.into());
            Endpoint { address, ready, serving, terminating, node, node_hints, zone_hints }
        })
        .collect()
    })
}

/// The page, word by word.
fn oracle(all: &[Endpoint]) -> (Vec<usize>, Vec<usize>) {
    let (mut every_node, mut some_node, mut every_zone, mut some_zone) = (true, false, true, false);
    for endpoint in all {
        if endpoint.ready {
            every_node &= !endpoint.node_hints.is_empty();
            some_node |= endpoint.node_hints.iter().any(|hint| &**hint == "here");
            every_zone &= !endpoint.zone_hints.is_empty();
            some_zone |= endpoint.zone_hints.iter().any(|hint| &**hint == "a");
        }
    }
    let (mut cluster, mut local) = (Vec::new(), Vec::new());
    for (index, endpoint) in all.iter().enumerate() {
        let has = |hints: &[Arc<str>], name: &str| hints.iter().any(|hint| &**hint == name);
        let passes = if every_node && some_node {
            has(&endpoint.node_hints, "here")
        } else if every_zone && some_zone {
            has(&endpoint.zone_hints, "a")
        } else {
            true
        };
        if endpoint.ready && passes {
            cluster.push(index);
        }
        if endpoint.ready && endpoint.node.as_deref() == Some("here") {
            local.push(index);
        }
    }
    let leaving = |index: &usize| all[*index].serving && all[*index].terminating;
    if cluster.is_empty() {
        cluster = (0..all.len()).filter(leaving).collect();
    }
    if local.is_empty() {
        let here = |index: &usize| all[*index].node.as_deref() == Some("here");
        local = (0..all.len()).filter(leaving).filter(here).collect();
    }
    (cluster, local)
}

proptest! {
    /// [B.3]: for any endpoints, and never a black hole.
    #[test]
    fn endpoints_are_chosen_as_the_page_says(all in endpoints()) {
        let sets = categorize(&all, &node());
        let of = |indices: Vec<usize>| indices.into_iter().map(|index| &all[index]).collect::<Vec<_>>();
        let (cluster, local) = oracle(&all);
        prop_assert_eq!(&sets.cluster, &of(cluster));
        prop_assert_eq!(&sets.local, &of(local));
        let usable = all.iter().any(|one| one.ready || (one.serving && one.terminating));
        prop_assert_eq!(!sets.cluster.is_empty(), usable);
    }
}
