//! The plain path against the whole one: the same bytes, over zones and questions at random.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::json;

use super::*;
use crate::{
    dns::{
        answer,
        stats::Transport,
        wire::{self, Packet},
    },
    model::objects::{ObjectKey, Objects, Stored},
    zone::{Resolved, ZoneOptions},
};

const V4: [&str; 4] = ["10.0.0.1", "10.0.0.2", "172.0.0.20", "10.0.0.3"];
const V6: [&str; 3] = ["fd00::1", "fd00::", "5678:abcd::2"];

/// A Service of the zone, with what is behind it.
fn service() -> impl Strategy<Value = (serde_json::Value, serde_json::Value)> {
    let ports = vec(select(vec!["http", "metrics", ""]), 0..3).prop_map(|names| {
        let port = |(index, name): (usize, &&str)| json!({"name": name, "port": 80 + index});
        names.iter().enumerate().map(port).collect::<serde_json::Value>()
    });
    let ips = select(vec![
        json!({"clusterIP": V4[0]}),
        json!({"clusterIP": V6[0]}),
        json!({"clusterIP": V4[1], "clusterIPs": [V4[1], V6[1]]}),
        json!({"clusterIP": "None"}),
        json!({"clusterIP": "None"}),
        json!({"type": "ExternalName", "externalName": "web.app.svc.cluster.local"}),
        json!({"type": "ExternalName", "externalName": "example.com"}),
    ]);
    let endpoint = (
        select(V4.to_vec()),
        any::<bool>(),
        option::of(select(vec!["web-0", "web-1", "10-0-0-1"])),
        option::of(select(vec!["pod-a", "pod-b"])),
    )
        .prop_map(|(address, ready, hostname, pod)| {
            let pod = pod.map(|name| json!({"kind": "Pod", "name": name}));
            json!({"addresses": [address], "conditions": {"ready": ready}, "hostname": hostname, "targetRef": pod})
        });
    let many = prop_oneof![4 => 0..6_usize, 1 => 60..90_usize];
    let v4 = (vec(endpoint, 0..5), many).prop_map(|(mut some, many)| {
        some.extend((0..many).map(|n| json!({"addresses": [format!("10.9.0.{n}")]})));
        some
    });
    let v6 = vec(select(V6.to_vec()).prop_map(|address| json!({"addresses": [address]})), 0..3);
    (ips, ports, v4, v6).prop_map(|(mut spec, ports, v4, v6)| {
        spec["ports"] = ports.clone();
        (spec, json!({"v4": v4, "v6": v6, "ports": ports}))
    })
}

fn zone() -> impl Strategy<Value = Zone> {
    let options = (0..4000_u32, any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(ttl, hides, endpoint_pod_names, ignore_empty_service)| ZoneOptions {
            ttl,
            namespaces: if hides { vec!["app".into()] } else { Vec::new() },
            endpoint_pod_names,
            ignore_empty_service,
            ..ZoneOptions::default()
        },
    );
    let domain =
        select(vec!["cluster.local", "local", "a.very-long-domain.example.com", "svc", ""]);
    (vec(service(), NAMES.len()), options, domain, 0..u32::MAX).prop_map(
        |(services, options, domain, serial)| {
            Zone::build_with(&objects(services), domain, &Resolved::new(), serial, options)
        },
    )
}

/// Namespaces and names of the zone's Services.
const NAMES: [(&str, &str); 5] =
    [("app", "web"), ("app", "db"), ("app", "com"), ("other", "web"), ("other", "svc")];

fn objects(services: Vec<(serde_json::Value, serde_json::Value)>) -> Objects {
    let mut objects = Objects::default();
    for ((namespace, name), (spec, behind)) in NAMES.iter().zip(services) {
        let key = |suffix: &str| ObjectKey::new(namespace, &format!("{name}{suffix}"));
        let service = serde_json::from_value(json!({"spec": spec})).unwrap();
        objects.services.push(Arc::new(Stored::in_memory(key(""), service, "test")));
        for (family, kind) in [("v4", "IPv4"), ("v6", "IPv6")] {
            let slice = serde_json::from_value(json!({
                "metadata": {"labels": {"kubernetes.io/service-name": name}},
                "addressType": kind, "ports": behind["ports"], "endpoints": behind[family],
            }));
            let slice = Stored::in_memory(key(family), slice.unwrap(), "test");
            objects.slices.push(Arc::new(slice));
        }
    }
    objects
}

fn labels() -> impl Strategy<Value = Vec<String>> {
    let words = vec![
        "web",
        "db",
        "com",
        "svc",
        "pod",
        "app",
        "other",
        "none",
        "web-0",
        "10-0-0-1",
        "10-0-0-2",
        "fd00--1",
        "fd00--0",
        "pod-a",
        "_http",
        "_tcp",
        "dns",
        "ns",
        "dns-version",
        "hostmaster",
        "cluster",
        "local",
        "example",
        "in-addr",
        "arpa",
    ];
    let word = prop_oneof![
        12 => select(words).prop_map(str::to_owned),
        1 => "[a-zA-Z0-9_-]{1,63}",
        1 => "[ -~]{1,20}",
    ];
    let some = vec(word.clone(), 0..6);
    let of_service = (vec(word.clone(), 0..2), select(NAMES.to_vec())).prop_map(
        |(mut left, (namespace, name))| {
            left.extend([name, namespace, "svc"].map(str::to_owned));
            left
        },
    );
    prop_oneof![2 => some, 3 => of_service, 1 => vec(word, 20..40)]
}

/// A packet, mostly a query.
fn packet(domain: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let domain = domain.to_owned();
    let types = prop_oneof![
        4 => select(vec![1_u16, 28]),
        2 => select(vec![2_u16, 5, 6, 12, 15, 16, 33, 64, 65, 251, 252, 255, 41, 0]),
        1 => any::<u16>(),
    ];
    let edns = prop_oneof![
        2 => Just(Vec::new()),
        3 => any::<u16>().prop_map(|size| [&[0, 0, 41][..], &size.to_be_bytes(), &[0; 6]].concat()),
        1 => (select(vec![0_u8, 1]), any::<u16>(), vec(any::<u8>(), 0..20)).prop_map(|(version, flags, options)| {
            let length = u16::try_from(options.len()).unwrap();
            [&[0, 0, 41, 4, 208, 0, version][..], &flags.to_be_bytes(), &length.to_be_bytes(), &options].concat()
        }),
    ];
    let flags = prop_oneof![3 => Just(1_u8), 1 => any::<u8>()];
    let counts = prop_oneof![8 => Just([1_u16, 0, 0]), 1 => [0..3_u16, 0..2_u16, 0..2_u16]];
    let class = prop_oneof![9 => Just(1_u16), 1 => any::<u16>()];
    let below = prop_oneof![6 => Just(true), 1 => Just(false)];
    let spelling = prop_oneof![3 => Just(Vec::new()), 1 => vec(any::<bool>(), 1..40)];
    let cut = prop_oneof![12 => Just(0_usize), 1 => 0..20_usize];
    let tail = prop_oneof![12 => Just(Vec::new()), 1 => vec(any::<u8>(), 1..8)];
    let parts = (
        labels(),
        below,
        spelling,
        types,
        class,
        edns,
        (flags, any::<u8>(), any::<u16>()),
        counts,
        cut,
        tail,
    );
    parts.prop_map(
        move |(
            mut labels,
            below,
            spelling,
            record_type,
            class,
            edns,
            (flags, more, id),
            counts,
            cut,
            tail,
        )| {
            labels.extend(
                domain.split('.').filter(|label| below && !label.is_empty()).map(str::to_owned),
            );
            let mut name: Vec<u8> = Vec::new();
            for label in &labels {
                name.push(u8::try_from(label.len()).unwrap());
                name.extend(label.bytes());
            }
            for (byte, upper) in name.iter_mut().zip(spelling.iter().cycle()) {
                if *upper && byte.is_ascii_lowercase() {
                    *byte = byte.to_ascii_uppercase();
                }
            }
            let additional = u16::from(!edns.is_empty());
            let mut packet = [&id.to_be_bytes()[..], &[flags, more]].concat();
            for count in counts.into_iter().chain([additional]) {
                packet.extend(count.to_be_bytes());
            }
            packet.extend(name);
            packet.push(0);
            packet.extend([record_type.to_be_bytes(), class.to_be_bytes()].concat());
            packet.extend(edns);
            packet.extend(tail);
            packet.truncate(packet.len() - cut.min(packet.len()));
            packet
        },
    )
}

/// What the whole path says.
fn whole(
    zone: &Zone,
    packet: &[u8],
    recursion: Recursion,
) -> Option<(Vec<u8>, Size, ResponseCode)> {
    let Packet::Query(request) = wire::read(packet, Transport::Udp) else { return None };
    let answer = answer::answer(zone, &request.question, None);
    assert_eq!(answer.outside, None, "left to the resolver");
    let (bytes, size) = request.encode(&answer, recursion);
    Some((bytes, size, answer.rcode))
}

/// What the plain path says, if it does.
fn plain(
    zone: &Zone,
    packet: &[u8],
    recursion: Recursion,
) -> Option<(Vec<u8>, Size, ResponseCode)> {
    let mut out = [0xaa; MAX_UDP as usize];
    let written = Plain::read(packet)?.answer(zone, recursion, &mut out)?;
    Some((out[..written.length].to_vec(), written.size, written.rcode))
}

fn compare(zone: &Zone, packet: &[u8]) -> bool {
    let mut answered = false;
    for recursion in [Recursion::Absent, Recursion::Available] {
        if let Some(said) = plain(zone, packet, recursion) {
            assert_eq!(Some(said), whole(zone, packet, recursion), "{packet:?}");
            answered = true;
        }
    }
    answered
}

proptest! {
    #[test]
    fn a_plain_answer_is_the_whole_answer(
        (zone, packets) in zone().prop_flat_map(|zone| {
            let packets = vec(packet(&zone.domain), 16);
            (Just(zone), packets)
        })
    ) {
        for packet in packets {
            compare(&zone, &packet);
        }
    }

    #[test]
    fn no_packet_panics(packet in vec(any::<u8>(), 0..600)) {
        let zone = fixed();
        compare(&zone, &packet);
    }
}

/// A zone with a Service of each kind.
fn fixed() -> Zone {
    fixed_in("cluster.local")
}

fn fixed_in(domain: &str) -> Zone {
    let ports = json!([{"name": "http", "port": 80}]);
    let nothing = json!({"v4": [], "v6": [], "ports": ports});
    let many: Vec<_> = (1..=60).map(|n| json!({"addresses": [format!("10.1.0.{n}")]})).collect();
    let hosts = json!([{"addresses": ["10.0.0.1"], "hostname": "web-0"}, {"addresses": ["10.0.0.2"]},
        {"addresses": ["10.0.0.2"], "hostname": "web-1"}, {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]);
    let services = vec![
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ports": ports}),
            nothing.clone(),
        ),
        (json!({"clusterIP": "None"}), json!({"v4": many, "v6": [], "ports": ports})),
        (json!({"clusterIP": "None"}), json!({"v4": hosts, "v6": [], "ports": ports})),
        (json!({"type": "ExternalName", "externalName": "example.com"}), nothing.clone()),
        (json!({"clusterIP": "None"}), nothing),
    ];
    Zone::build_with(&objects(services), domain, &Resolved::new(), 7, ZoneOptions::default())
}

fn query(name: &str, record_type: u16, size: Option<u16>) -> Vec<u8> {
    let mut packet = vec![0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend(label.bytes());
    }
    packet.push(0);
    packet.extend([record_type.to_be_bytes(), [0, 1]].concat());
    if let Some(size) = size {
        packet.extend([&[0, 0, 41][..], &size.to_be_bytes(), &[0; 6]].concat());
    }
    packet
}

/// The questions that pods ask all day are answered here, and as the whole path does.
#[test]
fn what_pods_ask_is_plain() {
    let zone = fixed();
    for name in [
        "web.app.svc.cluster.local",
        "wEb.aPP.svc.CLUSTER.local",
        "com.app.svc.cluster.local",
        "db.app.svc.cluster.local",
        "web-0.com.app.svc.cluster.local",
        "10-0-0-2.com.app.svc.cluster.local",
    ] {
        for size in [None, Some(0), Some(512), Some(1232), Some(65_535)] {
            assert!(compare(&zone, &query(name, 1, size)), "{name} {size:?}");
        }
    }
    for name in [
        "web.app.svc.cluster.local",
        "nothing.app.svc.cluster.local",
        "www.example.org.app.svc.cluster.local",
        "www.example.com.svc.cluster.local",
        "www.example.com.cluster.local",
        "app.svc.cluster.local",
        "svc.cluster.local",
        "none.svc.cluster.local",
        "svc.other.svc.cluster.local",
        "com.app.svc.cluster.local",
        "nobody.com.app.svc.cluster.local",
        "x.web.other.svc.cluster.local",
    ] {
        for record_type in [16, 28, 65] {
            for size in [None, Some(1232)] {
                assert!(compare(&zone, &query(name, record_type, size)), "{name} {record_type}");
            }
        }
    }
}

/// The encoder of the whole path finds no room for a record where the owner's name in full has none, though a
/// pointer would have.
#[test]
fn room_ends_where_it_ends_for_the_encoder() {
    let zone = fixed_in("a.very-long-domain.example.com");
    for size in 512..=MAX_UDP {
        for name in ["db.app.svc", "none.app.svc", "nothing"] {
            let packet = query(&format!("{name}.{}", zone.domain), 1, Some(size));
            assert!(compare(&zone, &packet), "{name} {size}");
        }
    }
}

/// What is not sure to be the same is left to the whole path.
#[test]
fn other_questions_are_left_alone() {
    let zone = fixed();
    for (name, record_type) in [
        ("cluster.local", 6),
        ("", 1),
        ("example.com", 1),
        ("dns-version.cluster.local", 16),
        ("ns.dns.cluster.local", 1),
        ("hostmaster.cluster.local", 1),
        ("web.other.svc.cluster.local", 1),
        ("_http._tcp.web.app.svc.cluster.local", 33),
        ("web.app.svc.cluster.local", 33),
        ("web.app.svc.cluster.local", 255),
        ("web.app.svc.cluster.local", 252),
        ("10-0-0-1.app.pod.cluster.local", 1),
        ("1.0.0.10.in-addr.arpa", 12),
    ] {
        assert_eq!(
            plain(&zone, &query(name, record_type, None), Recursion::Absent),
            None,
            "{name}"
        );
    }
    // No zone yet: SERVFAIL is the whole path's. [DNS-E]
    let asked = query("web.app.svc.cluster.local", 1, None);
    assert_eq!(plain(&Zone::default(), &asked, Recursion::Absent), None);
}
