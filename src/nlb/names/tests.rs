//! What the names of a load balancer answer.

use super::*;

/// A client of no zone.
const NOBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

type Asked = (Names, Vec<ZoneState>);

/// Names with an alias, and zones of (name, address, in DNS).
fn names(states: &[(&str, &str, bool)]) -> Asked {
    let config = NamesConfig { aliases: vec!["*.apps.example.com".into()], ..Default::default() };
    let zones = states.iter().map(|(zone, address, in_dns)| ZoneState {
        zone: (*zone).into(),
        address: address.parse().ok(),
        healthy: *in_dns,
        in_dns: *in_dns,
    });
    (Names::new("router", &config), zones.collect())
}

fn ask(view: &Asked, name: &str, kind: RecordType) -> Option<(ResponseCode, Vec<String>, usize)> {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    let answer = view.0.answer(&Query::query(name, kind), NOBODY, &view.1, 0)?;
    assert!(answer.answers.iter().all(|record| record.ttl == TTL));
    let data = answer.answers.iter().map(|record| record.data.to_string()).collect();
    Some((answer.rcode, data, answer.authorities.len()))
}

/// A.2: the id is the same in every process and of 16 digits; region and id can be set.
#[test]
fn the_regional_name_is_stable() {
    let default = NamesConfig::default();
    let regional = |name, config| Names::new(name, config).regional;
    assert_eq!(regional("", &default), "-cbf29ce484222325.elb.us-east-1.amazonaws.com");
    assert_eq!(regional("A", &default), "a-af63dc4c8601ec8c.elb.us-east-1.amazonaws.com");
    assert_eq!(Names::new("A", &default).label, "net/A/af63dc4c8601ec8c");
    let id = Some("0011223344556677".into());
    let set = NamesConfig { region: "eu-west-1".into(), id, ..NamesConfig::default() };
    assert_eq!(regional("a", &set), "a-0011223344556677.elb.eu-west-1.amazonaws.com");
}

/// [NLB-10] The regional name and its aliases lose a failed zone; the zonal name keeps it.
#[test]
fn nlb_10_a_failed_zone_leaves_the_regional_name_alone() {
    let view = names(&[("a", "127.0.1.1", true), ("b", "127.0.1.2", false), ("c", "::3", true)]);
    let regional = view.0.regional.clone();
    let ok = |data: &[&str], soa| {
        let data = data.iter().map(|one| (*one).to_owned()).collect();
        Some((ResponseCode::NoError, data, soa))
    };
    for name in
        [&regional, &regional.to_uppercase(), "x.apps.example.com.", "x.y.apps.example.com."]
    {
        assert_eq!(ask(&view, name, RecordType::A), ok(&["127.0.1.1"], 0), "{name}");
        assert_eq!(ask(&view, name, RecordType::AAAA), ok(&["::3"], 0), "{name}");
        assert_eq!(ask(&view, name, RecordType::TXT), ok(&[], 1), "{name}");
    }
    let zonal = |zone: &str| format!("{zone}.{regional}");
    assert_eq!(ask(&view, &zonal("B"), RecordType::A), ok(&["127.0.1.2"], 0));
    assert_eq!(ask(&view, &zonal("b"), RecordType::AAAA), ok(&[], 1));
    assert_eq!(ask(&view, "apps.example.com.", RecordType::A), ok(&[], 1));
    let missing = Some((ResponseCode::NXDomain, Vec::new(), 1));
    assert_eq!(ask(&view, &zonal("d"), RecordType::A), missing);
    assert_eq!(ask(&view, &zonal("x.b"), RecordType::A), missing);
    for outside in ["example.com.", "xapps.example.com.", "amazonaws.com."] {
        assert_eq!(ask(&view, outside, RecordType::A), None, "{outside}");
    }
    assert_eq!(ask(&view, &regional, RecordType::SOA).unwrap().1.len(), 1);
    assert_eq!(ask(&view, &regional, RecordType::ANY).unwrap().0, ResponseCode::Refused);
}

/// A.2: each node in DNS stands first in turn, each address stays in the answer, and a failed zone
/// gets no turn.
#[test]
fn the_nodes_take_turns_as_the_first_address() {
    let view = names(&[
        ("a", "127.0.1.1", true),
        ("b", "127.0.1.2", true),
        ("c", "127.0.1.3", false),
        ("d", "127.0.1.4", true),
    ]);
    let name = Name::from_ascii(format!("{}.", view.0.regional)).unwrap();
    let question = Query::query(name, RecordType::A);
    let turn = |turn| -> Vec<String> {
        let answer = view.0.answer(&question, NOBODY, &view.1, turn).unwrap();
        answer.answers.iter().map(|record| record.data.to_string()).collect()
    };
    assert_eq!(turn(0), ["127.0.1.1", "127.0.1.2", "127.0.1.4"]);
    assert_eq!(turn(1), ["127.0.1.2", "127.0.1.4", "127.0.1.1"]);
    assert_eq!(turn(2), ["127.0.1.4", "127.0.1.1", "127.0.1.2"]);
    assert_eq!(turn(3), turn(0));
    assert_eq!(turn(usize::MAX).len(), 3);
}

/// Whose a name is does not depend on the zones.
#[test]
fn a_load_balancer_knows_its_names_without_its_zones() {
    let (names, _) = names(&[]);
    let holds =
        |name: &str| names.holds(&Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let regional = format!("{}.", names.regional);
    for own in [&regional, &format!("b.{regional}"), "X.apps.example.com.", "apps.example.com."] {
        assert!(holds(own), "{own}");
    }
    for other in ["example.com.", "xapps.example.com.", "amazonaws.com.", "."] {
        assert!(!holds(other), "{other}");
    }
}

/// A.2: `dns_record.client_routing_policy`: a client of a zone gets that zone alone, always or to 85 % of
/// its questions, unless the zone is not in DNS; the zonal name is what it is.
#[test]
fn clients_are_kept_in_their_zone() {
    let ask = |routing, client: &str, b_in_dns| {
        let clients = vec![("10.0.2.0/24".parse().unwrap(), "b".into())];
        let config = NamesConfig { routing, clients, ..NamesConfig::default() };
        let states =
            [("a", "127.0.1.1", true), ("b", "127.0.1.2", b_in_dns), ("c", "127.0.1.3", true)];
        let zones = names(&states).1;
        let names = Names::new("router", &config);
        let name = Name::from_ascii(format!("{}.", names.regional)).unwrap();
        let question = Query::query(name, RecordType::A);
        let client: IpAddr = client.parse().unwrap();
        let alone = (0..1000).filter(|turn| {
            let answers = names.answer(&question, client, &zones, *turn).unwrap().answers;
            let all = zones.iter().filter(|zone| zone.in_dns).count();
            assert!(answers.len() == all || answers[0].data.to_string() == "127.0.1.2");
            answers.len() == 1
        });
        alone.count()
    };
    assert_eq!(ask(ClientRouting::Any, "10.0.2.9", true), 0);
    assert_eq!(ask(ClientRouting::Own, "10.0.2.9", true), 1000);
    assert_eq!(ask(ClientRouting::Own, "::ffff:10.0.2.9", true), 1000);
    assert_eq!(ask(ClientRouting::Own, "10.0.3.9", true), 0, "of no zone");
    assert_eq!(ask(ClientRouting::Own, "10.0.2.9", false), 0, "its zone is not in DNS");
    let partial = ask(ClientRouting::Partial, "10.0.2.9", true);
    assert!((820..880).contains(&partial), "{partial} of 1000");
}
