//! What a server says of itself: name servers of its zones, reverse zones, class CHAOS; and the names
//! that a search list makes.

use super::*;

/// A zone with the DNS Services of CoreDNS's `ns_test.go`: one with a virtual address, one headless,
/// both in front of the same pods.
fn zone_with_dns(options: ZoneOptions) -> Zone {
    let named = |name: &str, spec: Value| {
        let object = serde_json::from_value(json!({"spec": spec})).unwrap();
        let key = ObjectKey::new("kube-system", name);
        Arc::new(Stored::in_memory(key, object, "test"))
    };
    let port = json!([{"name": "dns", "protocol": "UDP", "port": 53}]);
    let slice = |service: &str, addresses: Value| {
        let body = slice(service, "IPv4", port.clone(), addresses);
        let key = ObjectKey::new("kube-system", service);
        Arc::new(Stored::in_memory(key, serde_json::from_value(body).unwrap(), "test"))
    };
    let pods = json!([{"addresses": ["10.244.0.20"]}, {"addresses": ["10.244.0.21"]}]);
    let headless = json!([
        {"addresses": ["10.244.0.20"]},
        {"addresses": ["10.244.0.22"], "hostname": "dns-2"},
        {"addresses": ["10.244.0.23"], "conditions": {"ready": false}}
    ]);
    let objects = Objects {
        services: vec![
            named("dns-service", json!({"clusterIPs": ["10.0.0.111", "fd00::111"], "ports": port})),
            named("hdls-dns", json!({"clusterIP": "None", "ports": port})),
            named("ext-dns", json!({"type": "ExternalName", "externalName": "dns.example.com"})),
        ],
        slices: vec![slice("dns-service", pods), slice("hdls-dns", headless)],
        ..Objects::default()
    };
    Zone::build_with(&objects, "cluster.local", &Resolved::new(), 1, options)
}

fn ask_at(zone: &Zone, local: Option<&str>, name: &str, record_type: RecordType) -> Answer {
    let local = local.map(|address| address.parse().unwrap());
    answer(zone, &Query::query(Name::from_ascii(name).unwrap(), record_type), local)
}

/// Records as `name type data`, without the namespace, sorted.
fn sorted(records: &[Record]) -> Vec<String> {
    let show = |record: &Record| {
        let text = format!("{} {} {}", record.name, record.record_type(), record.data);
        text.replace(".kube-system.svc.cluster.local.", "")
    };
    let mut shown: Vec<String> = records.iter().map(show).collect();
    shown.sort();
    shown
}

/// As CoreDNS's TestNsAddrs: the Services whose endpoint the server is, else those whose virtual address
/// it has, else `ns.dns`.
#[test]
fn the_name_servers_are_those_of_the_dns_service() {
    let zone = zone_with_dns(ZoneOptions::default());
    let of_virtual = ["dns-service A 10.0.0.111", "dns-service AAAA fd00::111"];
    let of_headless = ["10-244-0-20.hdls-dns A 10.244.0.20", "dns-2.hdls-dns A 10.244.0.22"];
    let of_both = [of_virtual, of_headless].concat();
    let own = ["ns.dns.cluster.local. A 127.0.0.53"];
    let rows: [(Option<&str>, &[&str]); 6] = [
        (Some("10.0.0.111"), &of_virtual),
        (Some("10.244.0.21"), &of_virtual),
        (Some("10.244.0.20"), &of_both),
        (Some("10.244.0.22"), &of_headless),
        (Some("127.0.0.53"), &own),
        (None, &[]),
    ];
    for (local, wanted) in rows {
        let said = ask_at(&zone, local, Z, RecordType::NS);
        let mut wanted: Vec<String> = wanted.iter().map(|text| (*text).to_owned()).collect();
        wanted.sort();
        assert_eq!(sorted(&said.additionals), wanted, "{local:?}");
        let mut names: Vec<&str> =
            wanted.iter().map(|glue| glue.split(' ').next().unwrap()).collect();
        names.dedup();
        if names.is_empty() {
            names.push("ns.dns.cluster.local.");
        }
        let names: Vec<String> =
            names.iter().map(|name| format!("cluster.local. NS {name}")).collect();
        assert_eq!(sorted(&said.answers), names, "{local:?}");
        assert!(said.authoritative && said.authorities.is_empty());
    }
    // `ns.dns`, which the SOA names, has the same addresses.
    let said = ask_at(&zone, Some("10.244.0.21"), "ns.dns.cluster.local.", RecordType::AAAA);
    assert_eq!(sorted(&said.answers), ["ns.dns.cluster.local. AAAA fd00::111"]);
    let reverse = ask_at(&zone, Some("10.244.0.21"), "in-addr.arpa.", RecordType::NS);
    assert_eq!(sorted(&reverse.answers), ["in-addr.arpa. NS dns-service"]);
}

#[test]
fn the_dns_service_can_be_told() {
    let told = |name: &str| {
        let dns_service = Some(ObjectKey::new("kube-system", name));
        zone_with_dns(ZoneOptions { dns_service, ..ZoneOptions::default() })
    };
    for (service, answers) in [
        ("dns-service", "cluster.local. NS dns-service"),
        ("ext-dns", "cluster.local. NS ns.dns.cluster.local."),
        ("nothing", "cluster.local. NS ns.dns.cluster.local."),
    ] {
        for local in [None, Some("127.0.0.53"), Some("10.244.0.22")] {
            let said = ask_at(&told(service), local, Z, RecordType::NS);
            assert_eq!(sorted(&said.answers), [answers], "{service} {local:?}");
        }
    }
}

/// An address that is not known may be known outside, unless `fallthrough` is off; the SOA is that of the
/// longest zone; other reverse zones are not ours.
#[test]
fn reverse_zones_are_those_that_are_set() {
    let zones = ["10.in-addr.arpa", "0.10.in-addr.arpa"].map(Arc::from).to_vec();
    for fallthrough in [true, false] {
        let options =
            ZoneOptions { reverse_zones: zones.clone(), fallthrough, ..ZoneOptions::default() };
        let zone = zone_with(options);
        for (name, apex) in [
            ("101.0.0.10.In-Addr.arpa.", "0.10.in-addr.arpa."),
            ("101.0.1.10.in-addr.arpa.", "10.in-addr.arpa."),
        ] {
            let said = ask(&zone, name, RecordType::PTR);
            assert_eq!(said.rcode, ResponseCode::NXDomain, "{name}");
            assert_eq!(said.outside, fallthrough.then_some(Outside::Question), "{name}");
            assert_soa(&said, apex);
        }
        assert_eq!(ask(&zone, "1.0.0.10.in-addr.arpa.", RecordType::PTR).answers.len(), 1);
        for elsewhere in ["2.0.0.172.in-addr.arpa.", "0.110.in-addr.arpa.", "arpa.", "1.ip6.arpa."]
        {
            let said = ask(&zone, elsewhere, RecordType::PTR);
            assert_eq!(said.rcode, ResponseCode::Refused, "{elsewhere}");
            assert_eq!(said.outside, Some(Outside::Question), "{elsewhere}");
        }
    }
}

fn chaos(id: &str, name: &str, record_type: RecordType) -> Answer {
    let zone = zone_with(ZoneOptions { server_id: id.into(), ..ZoneOptions::default() });
    let mut question = Query::query(Name::from_ascii(name).unwrap(), record_type);
    question.set_query_class(DNSClass::CH);
    answer(&zone, &question, None)
}

#[test]
fn chaos_says_what_server_this_is() {
    let version = concat!("wharf ", env!("CARGO_PKG_VERSION"));
    for (name, text) in [
        ("version.bind.", version),
        ("VERSION.Server.", version),
        ("hostname.bind.", "node-1"),
        ("id.server.", "node-1"),
    ] {
        let said = chaos("node-1", name, RecordType::TXT);
        let [record] = said.answers.as_slice() else { panic!("{name}: {said:?}") };
        assert_eq!(record.data.to_string(), text, "{name}");
        assert_eq!((record.dns_class, record.ttl), (DNSClass::CH, 0), "{name}");
    }
    let refused = Answer::code(ResponseCode::Refused);
    for (id, name, record_type) in [
        ("node-1", "version.bind.", RecordType::A),
        ("node-1", "authors.bind.", RecordType::TXT),
        ("node-1", "svc1.testns.svc.cluster.local.", RecordType::TXT),
        ("", "hostname.bind.", RecordType::TXT),
        ("", "id.server.", RecordType::TXT),
    ] {
        assert_eq!(chaos(id, name, record_type), refused, "{name} {record_type}");
    }
    // A text of any length is one string of the record.
    let long = chaos(&"x".repeat(300), "id.server.", RecordType::TXT);
    assert_eq!(long.answers[0].data.to_string().len(), 255);
}

/// C.6: what `a.b.com` becomes on the search list of a pod does not exist, for five seconds and for
/// either family; without the list it is left to a resolver.
#[test]
fn names_of_a_search_list_do_not_exist_for_five_seconds() {
    let zone = zone();
    for search in ["testns.svc.cluster.local.", "svc.cluster.local.", "cluster.local."] {
        for record_type in [RecordType::A, RecordType::AAAA] {
            for outer in ["a.b.com", "com", "www.example.com", "svc1.testns.svc.com"] {
                let said = ask(&zone, &format!("{outer}.{search}"), record_type);
                assert_eq!(said.rcode, ResponseCode::NXDomain, "{outer}.{search}");
                assert_eq!(said.outside, None, "{outer}.{search}");
                assert_soa(&said, Z);
            }
        }
    }
    assert_eq!(ask(&zone, "a.b.com.", RecordType::A).outside, Some(Outside::Question));
}
