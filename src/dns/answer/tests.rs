//! The truth table of spec/l4-dns.md C.4 on the fixture `testns`, row by row (DNS-01 and on).

mod options;
mod servers;

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    model::objects::{ObjectKey, Objects, Stored},
    zone::{PodMode, Resolved, ZoneOptions},
};

fn stored<T: serde::de::DeserializeOwned>(name: &str, object: Value) -> Arc<Stored<T>> {
    let key = ObjectKey::new("testns", name);
    Arc::new(Stored::in_memory(key, serde_json::from_value(object).unwrap(), "test"))
}

fn services() -> Vec<(&'static str, Value)> {
    let http = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
    let external = |target: &str| json!({"type": "ExternalName", "externalName": target});
    vec![
        ("svc1", json!({"clusterIP": "10.0.0.1", "ports": http})),
        (
            "svc2",
            json!({"clusterIP": "10.0.0.9", "ports": [
            {"name": "http", "port": 80}, {"name": "dns", "protocol": "UDP", "port": 53}]}),
        ),
        ("svcempty", json!({"clusterIP": "10.0.0.2", "ports": http})),
        ("svc6", json!({"clusterIP": "1234:abcd::1", "ports": http})),
        ("svc-dual-stack", json!({"clusterIPs": ["10.0.0.3", "10::3"], "ports": http})),
        ("hdls1", json!({"clusterIP": "None"})),
        ("hdlsprtls", json!({"clusterIP": "None"})),
        ("hdlsdown", json!({"clusterIP": "None"})),
        ("external", external("ext.interwebs.test")),
        ("external-ip", external("192.0.2.1")),
        ("external-to-service", external("svc1.testns.svc.cluster.local.")),
        ("external-to-nothing", external("svc0.testns.svc.cluster.local")),
        ("loop", external("loop2.testns.svc.cluster.local")),
        ("loop2", external("loop.testns.svc.cluster.local")),
    ]
}

fn slice(service: &str, family: &str, ports: Value, endpoints: Value) -> Value {
    json!({"metadata": {"labels": {"kubernetes.io/service-name": service}},
           "addressType": family, "ports": ports, "endpoints": endpoints})
}

fn zone() -> Zone {
    zone_with(ZoneOptions::default())
}

fn zone_with(options: ZoneOptions) -> Zone {
    let http = json!([{"name": "http", "protocol": "TCP", "port": 80}]);
    let plain = |addresses: &[&str]| -> Value {
        addresses.iter().map(|address| json!({"addresses": [address]})).collect()
    };
    let down = json!([{"addresses": ["172.0.0.40"], "conditions": {"ready": false}}]);
    let ep1a = json!([{"addresses": ["10.0.0.100"], "hostname": "ep1a",
                        "targetRef": {"kind": "Pod", "name": "ep1a-pod"}}]);
    let slices = [
        slice("svc1", "IPv4", http.clone(), ep1a.clone()),
        slice("svc1", "IPv4", http.clone(), ep1a),
        slice("hdls1", "IPv4", http.clone(), plain(&["172.0.0.2", "172.0.0.3"])),
        slice(
            "hdls1",
            "IPv4",
            http.clone(),
            json!([
            {"addresses": ["172.0.0.4"], "hostname": "dup-name"},
            {"addresses": ["172.0.0.5"], "hostname": "dup-name"}]),
        ),
        slice("hdls1", "IPv6", http.clone(), plain(&["5678:abcd::1", "5678:abcd::2"])),
        slice("hdlsprtls", "IPv4", Value::Null, plain(&["172.0.0.20"])),
        slice("hdlsdown", "IPv4", http, down),
    ];
    let named = |(name, spec): (&str, Value)| {
        stored(name, json!({"metadata": {"name": name, "namespace": "testns"}, "spec": spec}))
    };
    let slices = slices.into_iter().enumerate();
    let objects = Objects {
        services: services().into_iter().map(named).collect(),
        slices: slices.map(|(index, body)| stored(&format!("s{index}"), body)).collect(),
        ..Objects::default()
    };
    Zone::build_with(&objects, "cluster.local", &Resolved::new(), 1_499_347_823, options)
}

fn ask(zone: &Zone, name: &str, record_type: RecordType) -> Answer {
    let local = Some("127.0.0.53".parse().unwrap());
    let name = Name::from_ascii(name).ok().or_else(|| absolute(name.trim_end_matches('.')));
    answer(zone, &Query::query(name.unwrap(), record_type), local)
}

/// `section` as `name type data`, without the domain.
fn shown(section: &[Record]) -> Vec<String> {
    let show = |record: &Record| {
        let text = format!("{} {} {}", record.name, record.record_type(), record.data);
        text.replace(".testns.svc.cluster.local.", "").replace(".cluster.local.", "")
    };
    section.iter().map(show).collect()
}

const TTL: u32 = 5;

const Z: &str = "cluster.local.";

/// Each row: name left of the namespace, type, and the answer section.
#[test]
fn names_with_records_answer_them() {
    let zone = zone();
    let rows: &[(&str, RecordType, &[&str])] = &[
        ("svc1", RecordType::A, &["svc1 A 10.0.0.1"]),
        ("svcempty", RecordType::A, &["svcempty A 10.0.0.2"]),
        ("svc6", RecordType::AAAA, &["svc6 AAAA 1234:abcd::1"]),
        ("svc-dual-stack", RecordType::A, &["svc-dual-stack A 10.0.0.3"]),
        ("svc-dual-stack", RecordType::AAAA, &["svc-dual-stack AAAA 10::3"]),
        ("ep1a.svc1", RecordType::A, &["ep1a.svc1 A 10.0.0.100"]),
        (
            "hdls1",
            RecordType::A,
            &["hdls1 A 172.0.0.2", "hdls1 A 172.0.0.3", "hdls1 A 172.0.0.4", "hdls1 A 172.0.0.5"],
        ),
        ("hdls1", RecordType::AAAA, &["hdls1 AAAA 5678:abcd::1", "hdls1 AAAA 5678:abcd::2"]),
        (
            "dup-name.hdls1",
            RecordType::A,
            &["dup-name.hdls1 A 172.0.0.4", "dup-name.hdls1 A 172.0.0.5"],
        ),
        ("172-0-0-2.hdls1", RecordType::A, &["172-0-0-2.hdls1 A 172.0.0.2"]),
        ("5678-abcd--1.hdls1", RecordType::AAAA, &["5678-abcd--1.hdls1 AAAA 5678:abcd::1"]),
        ("hdlsprtls", RecordType::A, &["hdlsprtls A 172.0.0.20"]),
        ("172-0-0-20.hdlsprtls", RecordType::A, &["172-0-0-20.hdlsprtls A 172.0.0.20"]),
        ("_http._tcp.svc1", RecordType::A, &["_http._tcp.svc1 A 10.0.0.1"]),
        ("external", RecordType::CNAME, &["external CNAME ext.interwebs.test."]),
        (
            "external-to-service",
            RecordType::A,
            &["external-to-service CNAME svc1", "svc1 A 10.0.0.1"],
        ),
    ];
    for (name, record_type, expected) in rows {
        let answer = ask(&zone, &format!("{name}.testns.svc.{Z}"), *record_type);
        assert_eq!(answer.rcode, ResponseCode::NoError, "{name} {record_type}");
        assert_eq!(shown(&answer.answers), *expected, "{name} {record_type}");
        assert!(answer.authoritative && answer.authorities.is_empty(), "{name} {record_type}");
        assert!(answer.answers.iter().all(|record| record.ttl == TTL), "{name} {record_type}");
    }
}

/// Each row: name, SRV records, additional records.
#[test]
fn srv_weights_share_a_hundred() {
    let zone = zone();
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("svc1", &["svc1 SRV 0 100 80 svc1"], &["svc1 A 10.0.0.1"]),
        ("_http._tcp.svc1", &["_http._tcp.svc1 SRV 0 100 80 svc1"], &["svc1 A 10.0.0.1"]),
        ("svc2", &["svc2 SRV 0 50 80 svc2", "svc2 SRV 0 50 53 svc2"], &["svc2 A 10.0.0.9"]),
        ("_dns._udp.svc2", &["_dns._udp.svc2 SRV 0 100 53 svc2"], &["svc2 A 10.0.0.9"]),
        ("svc6", &["svc6 SRV 0 100 80 svc6"], &["svc6 AAAA 1234:abcd::1"]),
        (
            "svc-dual-stack",
            &["svc-dual-stack SRV 0 50 80 svc-dual-stack"],
            &["svc-dual-stack A 10.0.0.3", "svc-dual-stack AAAA 10::3"],
        ),
        (
            "_http._tcp.hdls1",
            &[
                "_http._tcp.hdls1 SRV 0 16 80 172-0-0-2.hdls1",
                "_http._tcp.hdls1 SRV 0 16 80 172-0-0-3.hdls1",
                "_http._tcp.hdls1 SRV 0 16 80 dup-name.hdls1",
                "_http._tcp.hdls1 SRV 0 16 80 5678-abcd--1.hdls1",
                "_http._tcp.hdls1 SRV 0 16 80 5678-abcd--2.hdls1",
            ],
            &[
                "172-0-0-2.hdls1 A 172.0.0.2",
                "172-0-0-3.hdls1 A 172.0.0.3",
                "dup-name.hdls1 A 172.0.0.4",
                "dup-name.hdls1 A 172.0.0.5",
                "5678-abcd--1.hdls1 AAAA 5678:abcd::1",
                "5678-abcd--2.hdls1 AAAA 5678:abcd::2",
            ],
        ),
    ];
    for (name, records, glue) in rows {
        let answer = ask(&zone, &format!("{name}.testns.svc.{Z}"), RecordType::SRV);
        assert_eq!(shown(&answer.answers), *records, "{name}");
        assert_eq!(shown(&answer.additionals), *glue, "{name}");
    }
}

/// Each row: name, type, code. Every one carries the SOA of the zone.
#[test]
fn what_does_not_exist_is_told_from_what_has_no_such_type() {
    use ResponseCode::{NXDomain, NoError};
    let zone = zone();
    let rows = [
        ("svc1.testns.svc", RecordType::AAAA, NoError),
        ("svc0.testns.svc", RecordType::A, NXDomain),
        ("svc0.testns.svc", RecordType::AAAA, NXDomain),
        ("svc0.svc-nons.svc", RecordType::A, NXDomain),
        ("svc0.svc-nons.svc", RecordType::TXT, NXDomain),
        ("svc1.testns.svc", RecordType::TXT, NoError),
        ("svc1.testns.svc", RecordType::SOA, NoError),
        ("svc1.testns.svc", RecordType::PTR, NoError),
        ("svc1.testns.svc", RecordType::CNAME, NoError),
        ("svc1.testns.svc", RecordType::NS, NoError),
        ("_https._tcp.svc1.testns.svc", RecordType::SRV, NXDomain),
        ("_http._udp.svc1.testns.svc", RecordType::SRV, NXDomain),
        ("a.b.c.svc1.testns.svc", RecordType::A, NXDomain),
        ("bogusendpoint.hdls1.testns.svc", RecordType::A, NXDomain),
        ("bogusendpoint.svc0.testns.svc", RecordType::A, NXDomain),
        ("172-0-0-4.hdls1.testns.svc", RecordType::A, NXDomain),
        ("172-0-0-2.hdls1.testns.svc", RecordType::AAAA, NoError),
        ("hdlsdown.testns.svc", RecordType::A, NXDomain),
        ("hdlsdown.testns.svc", RecordType::TXT, NXDomain),
        ("hdlsprtls.testns.svc", RecordType::SRV, NoError),
        ("endpoint.external.testns.svc", RecordType::CNAME, NXDomain),
        ("subdomain.subdomain.external.testns.svc", RecordType::CNAME, NXDomain),
        ("external-ip.testns.svc", RecordType::A, NXDomain),
        ("svc", RecordType::A, NoError),
        ("pod", RecordType::A, NoError),
        ("testns.svc", RecordType::A, NoError),
        ("svc", RecordType::NS, NoError),
        ("testns.svc", RecordType::NS, NoError),
        ("svc-nons.svc", RecordType::A, NXDomain),
        ("foo", RecordType::NS, NXDomain),
        ("foo.svc", RecordType::NS, NXDomain),
        ("dns-version", RecordType::A, NoError),
        ("100.0.0.10", RecordType::PTR, NXDomain),
        (r"svc1\.testns.svc", RecordType::A, NXDomain),
    ];
    for (name, record_type, rcode) in rows {
        let answer = ask(&zone, &format!("{name}.{Z}"), record_type);
        assert_eq!(answer.rcode, rcode, "{name} {record_type}");
        assert_eq!(answer.answers, [], "{name} {record_type}");
        assert_soa(&answer, Z);
    }
}

fn assert_soa(answer: &Answer, apex: &str) {
    let [record] = answer.authorities.as_slice() else { panic!("{:?}", answer.authorities) };
    let name = Name::from_ascii(apex).unwrap();
    assert_eq!((&record.name, record.ttl), (&name, TTL));
    assert_eq!(record.data, RData::SOA(apex::soa(&name, 1_499_347_823, TTL)));
    assert!(answer.authoritative);
}

#[test]
fn the_apex_has_soa_and_ns() {
    let zone = zone();
    let soa = ask(&zone, Z, RecordType::SOA);
    assert_eq!(
        shown(&soa.answers),
        ["cluster.local. SOA ns.dns hostmaster 1499347823 7200 1800 86400 5"]
    );
    let ns = ask(&zone, Z, RecordType::NS);
    assert_eq!(shown(&ns.answers), ["cluster.local. NS ns.dns"]);
    assert_eq!(shown(&ns.additionals), ["ns.dns A 127.0.0.53"]);
    assert_eq!(
        shown(&ask(&zone, "ns.dns.cluster.local.", RecordType::A).answers),
        ["ns.dns A 127.0.0.53"]
    );
    for record_type in [RecordType::A, RecordType::AAAA, RecordType::SRV, RecordType::HINFO] {
        let answer = ask(&zone, Z, record_type);
        assert_eq!((answer.rcode, answer.answers.len()), (ResponseCode::NoError, 0));
        assert_soa(&answer, Z);
    }
}

#[test]
fn the_version_is_1_1_0() {
    let answer = ask(&zone(), "dns-version.cluster.local.", RecordType::TXT);
    assert_eq!(shown(&answer.answers), ["dns-version TXT 1.1.0"]);
    assert_eq!(answer.answers[0].ttl, 28_800);
}

#[test]
fn addresses_lead_back_to_names() {
    let zone = zone();
    let rows: &[(&str, &[&str])] = &[
        ("1.0.0.10.in-addr.arpa.", &["1.0.0.10.in-addr.arpa. PTR svc1"]),
        ("100.0.0.10.in-addr.arpa.", &["100.0.0.10.in-addr.arpa. PTR ep1a.svc1"]),
        ("4.0.0.172.IN-ADDR.arpa.", &["4.0.0.172.IN-ADDR.arpa. PTR dup-name.hdls1"]),
    ];
    for (name, expected) in rows {
        let answer = ask(&zone, name, RecordType::PTR);
        assert_eq!(shown(&answer.answers), *expected);
        assert_eq!(answer.outside, None);
    }
    let v6 = Name::from("5678:abcd::1".parse::<IpAddr>().unwrap()).to_ascii();
    let answer = ask(&zone, &v6, RecordType::PTR);
    assert_eq!(answer.answers[0].data.to_string(), "5678-abcd--1.hdls1.testns.svc.cluster.local.");

    let unknown = ask(&zone, "101.0.0.10.in-addr.arpa.", RecordType::PTR);
    assert_eq!(unknown.rcode, ResponseCode::NXDomain);
    assert_eq!(unknown.outside, Some(Outside::Question));
    assert_soa(&unknown, "in-addr.arpa.");
    let not_ptr = ask(&zone, "100.0.0.10.in-addr.arpa.", RecordType::A);
    assert_eq!((not_ptr.rcode, not_ptr.outside), (ResponseCode::NoError, None));
    let nonsense = ask(&zone, "svc1.testns.svc.0.10.in-addr.arpa.", RecordType::A);
    assert_eq!(nonsense.rcode, ResponseCode::NXDomain);
    assert_eq!(ask(&zone, "0.0.10.in-addr.arpa.", RecordType::PTR).rcode, ResponseCode::NXDomain);
}

#[test]
fn external_names_lead_outside_only_at_their_end() {
    let zone = zone();
    let outside = ask(&zone, "external.testns.svc.cluster.local.", RecordType::A);
    assert_eq!(shown(&outside.answers), ["external CNAME ext.interwebs.test."]);
    let target = Name::from_ascii("ext.interwebs.test.").unwrap();
    assert_eq!(outside.outside, Some(Outside::Target(target)));

    let nothing = ask(&zone, "external-to-nothing.testns.svc.cluster.local.", RecordType::A);
    assert_eq!((nothing.rcode, nothing.answers.len()), (ResponseCode::NXDomain, 1));
    assert_soa(&nothing, Z);

    let endless = ask(&zone, "loop.testns.svc.cluster.local.", RecordType::A);
    assert_eq!((endless.rcode, endless.answers.len()), (ResponseCode::ServFail, 0));
}

/// R-48
#[test]
fn the_spelling_of_the_question_is_kept() {
    let answer = ask(&zone(), "SvC1.TestNS.sVc.cLuSter.LoCAL.", RecordType::A);
    let spelling = Name::from_ascii("SvC1.TestNS.sVc.cLuSter.LoCAL.").unwrap();
    assert!(answer.answers[0].name.eq_case(&spelling));
}

#[test]
fn transfers_any_and_other_classes_are_refused() {
    let zone = zone();
    for record_type in [RecordType::ANY, RecordType::AXFR, RecordType::IXFR] {
        let answer = ask(&zone, Z, record_type);
        assert_eq!(answer, Answer::code(ResponseCode::Refused), "{record_type}");
    }
    for class in [DNSClass::HS, DNSClass::NONE, DNSClass::ANY] {
        let mut question = Query::query(Name::from_ascii(Z).unwrap(), RecordType::SOA);
        question.set_query_class(class);
        let answer = answer(&zone, &question, None);
        assert_eq!(answer, Answer::code(ResponseCode::Refused), "{class}");
    }
}

#[test]
fn names_outside_are_left_to_a_resolver() {
    let zone = zone();
    for name in
        ["example.com.", "local.", ".", "svc1.testns.svc.cluster.local.example.", "xcluster.local."]
    {
        let answer = ask(&zone, name, RecordType::A);
        assert_eq!(answer.rcode, ResponseCode::Refused, "{name}");
        assert_eq!(answer.outside, Some(Outside::Question), "{name}");
        assert!(!answer.authoritative);
    }
}

/// DNS-E
#[test]
fn before_the_first_zone_nothing_is_denied() {
    let answer = ask(&Zone::default(), "svc1.testns.svc.cluster.local.", RecordType::A);
    assert_eq!(answer, Answer::code(ResponseCode::ServFail));
}
