//! The options of the zone: pods, namespaces, TTL, names of endpoints, empty Services.

use super::*;

fn code(zone: &Zone, name: &str, record_type: RecordType) -> (ResponseCode, Vec<String>) {
    let answer = ask(zone, &format!("{name}.{Z}"), record_type);
    if answer.answers.is_empty() {
        let [soa] = answer.authorities.as_slice() else { panic!("{name}: {answer:?}") };
        assert_eq!(soa.record_type(), RecordType::SOA, "{name}");
    }
    let data = answer.answers.iter().map(|record| record.data.to_string()).collect();
    (answer.rcode, data)
}

/// [DNS-01] The pods of C.4: name, type, and the result without pods, with insecure and with verified
/// ones; an address stands for itself.
#[test]
fn dns_01_pods_answer_as_their_mode_says() {
    const NX: &str = "NXDOMAIN";
    const NODATA: &str = "NODATA";
    let rows = [
        ("10-0-0-100.testns.pod", RecordType::A, NX, "10.0.0.100", "10.0.0.100"),
        ("10-0-0-100.TESTNS.pod", RecordType::A, NX, "10.0.0.100", "10.0.0.100"),
        ("10-0-0-100.testns.pod", RecordType::AAAA, NX, NODATA, NODATA),
        ("10-0-0-100.testns.pod", RecordType::TXT, NX, NODATA, NODATA),
        ("172-0-0-200.testns.pod", RecordType::A, NX, "172.0.0.200", NX),
        ("10--3.testns.pod", RecordType::AAAA, NX, "10::3", NX),
        ("--1.testns.pod", RecordType::AAAA, NX, "::1", NX),
        ("blah.testns.pod", RecordType::A, NX, NX, NX),
        ("blah.testns.pod", RecordType::AAAA, NX, NX, NX),
        ("blah.testns.pod", RecordType::HINFO, NX, NX, NX),
        ("10-0-0-256.testns.pod", RecordType::A, NX, NX, NX),
        ("a.10-0-0-100.testns.pod", RecordType::A, NX, NX, NX),
        ("testns.pod", RecordType::A, NX, NODATA, NODATA),
        ("pod-nons.pod", RecordType::A, NX, NX, NX),
        ("10-0-0-100.pod-nons.pod", RecordType::A, NX, NX, NX),
        ("pod", RecordType::A, NODATA, NODATA, NODATA),
    ];
    let zone_of = |pods| zone_with(ZoneOptions { pods, ..ZoneOptions::default() });
    let zones = [PodMode::Disabled, PodMode::Insecure, PodMode::Verified].map(zone_of);
    assert_eq!(zone().options.pods, PodMode::Insecure);
    for (name, record_type, disabled, insecure, verified) in rows {
        for (zone, expected) in zones.iter().zip([disabled, insecure, verified]) {
            let wanted = match expected {
                NX => (ResponseCode::NXDomain, vec![]),
                NODATA => (ResponseCode::NoError, vec![]),
                address => (ResponseCode::NoError, vec![address.to_owned()]),
            };
            let mode = zone.options.pods;
            assert_eq!(code(zone, name, record_type), wanted, "{name} {record_type} {mode:?}");
        }
    }
}

/// [DNS-H] A namespace that is not exposed has no Service, no pod and no name of an address.
#[test]
fn dns_h_a_hidden_namespace_does_not_exist() {
    let only = |name: &str| {
        zone_with(ZoneOptions { namespaces: vec![name.into()], ..ZoneOptions::default() })
    };
    let (hidden, shown) = (only("other"), only("testns"));
    for (name, exists) in [
        ("svc1.testns.svc", true),
        ("ep1a.svc1.testns.svc", true),
        ("external.testns.svc", true),
        ("testns.svc", true),
        ("testns.pod", true),
        ("10-0-0-100.testns.pod", true),
        ("svc0.testns.svc", false),
    ] {
        assert_eq!(code(&hidden, name, RecordType::A).0, ResponseCode::NXDomain, "{name}");
        let wanted = if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
        let answer = ask(&shown, &format!("{name}.{Z}"), RecordType::A);
        assert_eq!(answer.rcode, wanted, "{name}");
    }
    for arpa in ["1.0.0.10.in-addr.arpa.", "100.0.0.10.in-addr.arpa."] {
        assert_eq!(ask(&hidden, arpa, RecordType::PTR).rcode, ResponseCode::NXDomain, "{arpa}");
        assert_eq!(ask(&shown, arpa, RecordType::PTR).answers.len(), 1, "{arpa}");
    }
    // The router still finds it: only DNS hides.
    assert!(hidden.service("svc1.testns.svc.cluster.local").is_some());
}

/// [DNS-01] `ttl` is the TTL of records and the SOA's minimum; the SOA itself holds 300 s at most.
#[test]
fn dns_01_the_ttl_is_as_set() {
    for (ttl, of_soa) in [(0, 0), (30, 30), (3_600, 300)] {
        let zone = zone_with(ZoneOptions { ttl, ..ZoneOptions::default() });
        for (name, record_type) in [
            ("svc1.testns.svc", RecordType::A),
            ("svc1.testns.svc", RecordType::SRV),
            ("external.testns.svc", RecordType::CNAME),
            ("10-0-0-9.testns.pod", RecordType::A),
        ] {
            let answer = ask(&zone, &format!("{name}.{Z}"), record_type);
            let mut records = answer.answers.iter().chain(&answer.additionals);
            assert!(!answer.answers.is_empty(), "{name}");
            assert!(records.all(|record| record.ttl == ttl), "{name}");
        }
        let missing = ask(&zone, &format!("svc0.testns.svc.{Z}"), RecordType::A);
        assert_eq!(missing.authorities[0].ttl, of_soa);
        let RData::SOA(soa) = &missing.authorities[0].data else { panic!("{missing:?}") };
        assert_eq!(soa.minimum, ttl);
    }
}

/// [DNS-01] `endpoint_pod_names`: host name, else pod, else address; the label leads back to the
/// endpoint, and its address label no longer does.
#[test]
fn dns_01_endpoints_are_named_like_their_pods_when_asked() {
    let slices = json!({"metadata": {"labels": {"kubernetes.io/service-name": "db"}},
        "addressType": "IPv4", "ports": [{"name": "sql", "port": 5432}], "endpoints": [
            {"addresses": ["10.1.0.1"], "targetRef": {"kind": "Pod", "name": "db-0"}},
            {"addresses": ["10.1.0.2"], "targetRef": {"kind": "Pod", "name": "x".repeat(64)}},
            {"addresses": ["10.1.0.3"], "hostname": "own",
             "targetRef": {"kind": "Pod", "name": "db-2"}}]});
    let objects = Objects {
        services: vec![stored("db", json!({"spec": {"clusterIP": "None"}}))],
        slices: vec![stored("db-1", slices)],
        ..Objects::default()
    };
    let build = |endpoint_pod_names| {
        let options = ZoneOptions { endpoint_pod_names, ..ZoneOptions::default() };
        Zone::build_with(&objects, "cluster.local", &Resolved::new(), 1, options)
    };
    let targets = |zone: &Zone| code(zone, "_sql._tcp.db.testns.svc", RecordType::SRV).1;
    let target = |label: &str| format!("0 33 5432 {label}.db.testns.svc.{Z}");
    let (addresses, pods) = (build(false), build(true));
    assert_eq!(targets(&addresses), ["10-1-0-1", "10-1-0-2", "own"].map(target));
    assert_eq!(targets(&pods), ["db-0", "10-1-0-2", "own"].map(target));
    for (zone, name, exists) in [
        (&pods, "db-0.db.testns.svc", true),
        (&pods, "10-1-0-1.db.testns.svc", false),
        (&pods, "10-1-0-2.db.testns.svc", true),
        (&addresses, "db-0.db.testns.svc", false),
        (&addresses, "10-1-0-1.db.testns.svc", true),
    ] {
        assert_eq!(code(zone, name, RecordType::A).1.len(), usize::from(exists), "{name}");
    }
    let pointer = ask(&pods, "1.0.1.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(pointer.answers[0].data.to_string(), format!("db-0.db.testns.svc.{Z}"));
}

/// [DNS-01] `ignore empty_service` hides Services without a ready endpoint.
#[test]
fn dns_01_empty_services_can_be_hidden() {
    let hiding = zone_with(ZoneOptions { ignore_empty_service: true, ..ZoneOptions::default() });
    for record_type in [RecordType::A, RecordType::SRV, RecordType::TXT] {
        let (rcode, _) = code(&hiding, "svcempty.testns.svc", record_type);
        assert_eq!(rcode, ResponseCode::NXDomain, "{record_type}");
    }
    assert_eq!(code(&zone(), "svcempty.testns.svc", RecordType::A).1, ["10.0.0.2"]);
    assert_eq!(code(&hiding, "svc1.testns.svc", RecordType::A).1, ["10.0.0.1"]);
}

/// [DNS-01] An address label that begins with a hyphen is a name like any other: it is a target, it is
/// found, and an address leads to it.
#[test]
fn dns_01_an_address_label_may_begin_with_a_hyphen() {
    let slice = slice(
        "v6",
        "IPv6",
        json!([{"name": "sql", "port": 5432}]),
        json!([{"addresses": ["::5"]}]),
    );
    let objects = Objects {
        services: vec![stored("v6", json!({"spec": {"clusterIP": "None"}}))],
        slices: vec![stored("v6-1", slice)],
        ..Objects::default()
    };
    let zone = Zone::build(&objects, "cluster.local", &Resolved::new(), 1);
    let target = absolute("--5.v6.testns.svc.cluster.local").unwrap().to_string();
    let (_, targets) = code(&zone, "v6.testns.svc", RecordType::SRV);
    assert_eq!(targets, [format!("0 100 5432 {target}")]);
    assert_eq!(code(&zone, "--5.v6.testns.svc", RecordType::AAAA).1, ["::5"]);
    let arpa = Name::from("::5".parse::<IpAddr>().unwrap()).to_ascii();
    let pointer = ask(&zone, &arpa, RecordType::PTR);
    assert_eq!(pointer.answers[0].data.to_string(), target);
}
