//! The truth table of spec/l4-dns.md C.4, `tests/data/dns/c4.txt`, without sockets: the rows that
//! `tests/it/dns.rs` reads from a running server.

use std::time::Instant;

use hickory_proto::rr::{DNSClass, RData, Record};

use super::*;
use crate::{
    dns::answer::{Answer, Outside, answer},
    source::directory::Directory,
};

const REVERSE: [&str; 3] =
    ["0.10.in-addr.arpa", "168.192.in-addr.arpa", "0.0.0.0.d.c.b.a.8.7.6.5.ip6.arpa"];

fn zone() -> Zone {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/dns/c4.yaml");
    let mut directory = Directory::new(vec![fixture.into()], String::new());
    directory.scan(Instant::now());
    assert!(directory.findings().is_empty(), "{:?}", directory.findings());
    let options = ZoneOptions {
        reverse_zones: REVERSE.map(Arc::from).to_vec(),
        fallthrough: false,
        ..ZoneOptions::default()
    };
    let resolved = Resolved::new();
    Zone::build_with(&directory.objects(), "cluster.local", &resolved, 1_499_347_823, options)
}

/// Data of `records`, sorted.
fn data(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| record.data.to_string().replace(" 1499347823 ", " * ");
    let mut data: Vec<String> = records.iter().map(text).collect();
    data.sort();
    data
}

fn list(cell: &str) -> Vec<String> {
    let items = cell.split(';').map(str::trim).filter(|item| !item.is_empty());
    let mut list: Vec<String> = items.map(str::to_owned).collect();
    list.sort();
    list
}

/// [DNS-01] Every row of C.4. Of a name that leads outside the zone holds the way there.
#[test]
fn dns_01_the_truth_table_holds_without_sockets() {
    let zone = zone();
    let rows = include_str!("../../../../tests/data/dns/c4.txt");
    let rows = rows.lines().filter(|line| !line.starts_with('#'));
    let (mut asked, mut outside) = (0, 0);
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, record_type, code, answers, additional] = cells[..] else { panic!("{row}") };
        let full = if name.ends_with('.') { name.into() } else { format!("{name}.cluster.local.") };
        let question = Query::query(Name::from_ascii(&full).unwrap(), record_type.parse().unwrap());
        assert_eq!(question.query_class(), DNSClass::IN);
        let said = answer(&zone, &question, Some("127.0.0.1".parse().unwrap()));
        let wanted = match code {
            "NXDOMAIN" => ResponseCode::NXDomain,
            _ => ResponseCode::NoError,
        };
        assert_eq!(said.rcode, wanted, "{row}");
        assert!(said.authoritative, "{row}");
        assert_eq!(data(&said.additionals), list(additional), "{row}");
        asked += 1;
        if let Some(Outside::Target(target)) = &said.outside {
            outside += 1;
            assert!(list(answers).contains(&target.to_ascii()), "{row}");
            assert_eq!(data(&said.answers), [target.to_ascii()], "{row}");
            continue;
        }
        assert_eq!(data(&said.answers), list(answers), "{row}");
        negative(&said, &full, row);
    }
    assert!(asked > 70 && outside == 1, "{asked} rows, {outside} outside");
}

/// An answer without records has the SOA of its zone, kept for five seconds (C.6).
fn negative(said: &Answer, name: &str, row: &str) {
    if !said.answers.is_empty() {
        assert!(said.authorities.is_empty(), "{row}");
        return;
    }
    let [soa] = said.authorities.as_slice() else { panic!("{row}: {said:?}") };
    let zones = REVERSE.into_iter().chain(["cluster.local"]).map(|zone| format!("{zone}."));
    let owner: Vec<String> = zones.filter(|zone| name.ends_with(zone)).collect();
    assert_eq!([soa.name.to_ascii()], owner[..], "{row}");
    let RData::SOA(data) = &soa.data else { panic!("{row}: {soa:?}") };
    assert_eq!((soa.ttl, data.minimum), (5, 5), "{row}");
}
