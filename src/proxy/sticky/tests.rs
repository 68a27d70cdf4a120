//! What is asked for and what is answered, with three servers of which one is down.

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{Request, header::COOKIE};

use super::*;
use crate::{
    balance::{Algorithm, Balancer},
    headers::{
        sticky::{Stickiness, Value, hash},
        strip_response_hop_by_hop,
    },
    model::reason::Reason,
    net::clock,
    proxy::fixture,
    settings::health::EjectionSettings,
    snapshot::Server,
    stats::UpstreamStats,
    upstream::peer::{Peer, PeerKey, Protocol},
};

/// The last is down.
const VALUES: [&str; 3] = ["a", "b", "down"];

fn route() -> Arc<CompiledRoute> {
    let server = |name: &str| {
        let pod: Arc<str> = name.into();
        let address = ([10, 0, 0, 1], 80).into();
        let key = PeerKey { address, protocol: Protocol::Http1, tls: None, pod: Arc::clone(&pod) };
        let peer = Arc::new(Peer::new(key));
        peer.set_up(name != "down");
        let (service, label) = ("web".into(), "10.0.0.1:80".into());
        let stats = Arc::new(UpstreamStats::new(1));
        Server {
            peer,
            weight: 1,
            service,
            pod,
            label,
            stats,
            checked: true,
            gate: None,
            cluster_ip: false,
        }
    };
    let values: Vec<Value> = VALUES.iter().map(|name| hash(name)).collect();
    let plain = fixture::route(None);
    let backend = Backend {
        name: "be_http:app:web".into(),
        servers: VALUES.iter().map(|name| server(name)).collect(),
        balancer: Balancer::new(Algorithm::Random, &[1, 1, 1], Arc::default()),
        sticky: Stickiness::new("CK", "; path=/; HttpOnly", &values),
        stats: Arc::new(UpstreamStats::new(1)),
    };
    let mut route = Arc::try_unwrap(plain).unwrap();
    route.backend = Arc::new(backend);
    Arc::new(route)
}

/// `a`, `b` and `down` stand for the values of these servers.
fn cookies(text: &str) -> HeaderMap {
    let value = |name: &str| String::from_utf8(hash(name).to_vec()).unwrap();
    let text = VALUES.iter().fold(text.to_owned(), |text, name| {
        text.replace(&format!("CK={name}"), &format!("CK={}", value(name)))
    });
    HeaderMap::from_iter([(COOKIE, text.parse().unwrap())])
}

/// [STICK-8, LOG-7]: which server is asked for, and the letter that the log has, as HAProxy has them.
#[test]
fn log_7_the_first_value_of_a_server_that_is_up_counts() {
    let route = route();
    let rows: &[(&str, Option<usize>, u8)] = &[
        ("x=1", None, b'N'),
        ("CK=a", Some(0), b'V'),
        ("CK=b; x=1", Some(1), b'V'),
        ("CK=b|AAAAA|BBBBB", Some(1), b'V'),
        ("CK=nobody", None, b'I'),
        ("CK=", None, b'I'),
        ("CK=|AAAAA", None, b'I'),
        ("CK=down", None, b'D'),
        ("CK=down; CK=a", Some(0), b'V'),
        ("CK=down; CK=nobody", None, b'D'),
        ("CK=nobody; CK=down", None, b'D'),
        ("CK=nobody; CK=a", Some(0), b'V'),
        ("CK=a; CK=b", Some(0), b'U'),
        ("CK=a; CK=down", Some(0), b'U'),
    ];
    for (text, server, state) in rows {
        let mut fields = cookies(text);
        let asked = ask(&route.backend, &mut fields);
        assert_eq!(asked, (*server, [*state, b'N']), "{text}");
        let left = fields.get(COOKIE).map(HeaderValue::as_bytes);
        assert_eq!(left, text.contains("x=1").then_some(&b"x=1"[..]), "{text}");
    }
    let mut fields = cookies("CK=a");
    assert_eq!(ask(&fixture::route(None).backend, &mut fields), (None, *b"--"));
    assert_eq!(fields, cookies("CK=a"), "without stickiness it is a cookie like any other");
}

/// a pod that is ejected keeps its clients where all others are ejected, too.
#[test]
fn r_45_a_client_stays_where_nobody_is_any_better() {
    let route = route();
    let eject = |index: usize| {
        let rules = EjectionSettings { time: Duration::from_secs(1 << 20), ..Default::default() };
        let peer = &route.backend.servers[index].peer;
        assert!(peer.outlier.eject(clock::millis(), &rules, 0).is_some());
    };
    let asked = |text| ask(&route.backend, &mut cookies(text)).0;
    eject(0);
    assert_eq!((asked("CK=a"), asked("CK=b")), (None, Some(1)));
    eject(1);
    assert_eq!((asked("CK=a"), asked("CK=b"), asked("CK=down")), (Some(0), Some(1), None));
}

/// The answer of server `used` to a client that asked for server `asked`.
fn answered(
    asked: Option<usize>,
    used: usize,
    pods: &[(&'static str, &'static str)],
) -> (Vec<(String, String)>, [u8; 2]) {
    let route = route();
    let connection = fixture::connection(false);
    let mut exchange = Exchange::begin(&connection, Rc::default(), &Request::new(()), 1);
    exchange.record.route = Some(Arc::clone(&route));
    exchange.record.server = u32::try_from(used).ok();
    exchange.record.cookie_states = *b"VN";
    exchange.sticky = asked;
    let mut fields = HeaderMap::new();
    for (name, value) in pods {
        fields.append(*name, HeaderValue::from_static(value));
    }
    let found = strip_response_hop_by_hop(&mut fields);
    answer(&mut exchange, &route, StatusCode::OK, found, &mut fields);
    let text = |(name, value): (&http::HeaderName, &HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let states = exchange.record.cookie_states;
    exchange.answered(Reason::Internal);
    (fields.iter().map(text).collect(), states)
}

/// [STICK-5, STICK-6, STICK-7]
#[test]
fn stick_5_a_cookie_is_set_where_another_server_answered() {
    let line = |name: &str| {
        let value = String::from_utf8(hash(name).to_vec()).unwrap();
        ("set-cookie".to_owned(), format!("CK={value}; path=/; HttpOnly"))
    };
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(answered(None, 1, &[]), (vec![line("b")], *b"VI"));
    assert_eq!(answered(Some(0), 1, &[]), (vec![line("b")], *b"VI"), "it went elsewhere");
    assert_eq!(answered(Some(1), 1, &[]), (vec![], *b"VN"));
    let pods = [("set-cookie", "CK=x"), ("etag", "\"a\"")];
    assert_eq!(answered(Some(1), 1, &pods), (vec![own("etag", "\"a\"")], *b"VD"));
    let private = own("cache-control", "private");
    let expected = vec![own("etag", "\"a\""), line("b"), private];
    assert_eq!(answered(None, 1, &pods), (expected, *b"VI"));
}

/// [STICK-8, W-5]: down or tried in vain, it is not asked again in this round; weight does not matter.
#[test]
fn stick_8_the_server_of_the_cookie_is_asked_while_it_is_up() {
    let route = route();
    let connection = fixture::connection(false);
    let mut exchange = Exchange::begin(&connection, Rc::default(), &Request::new(()), 1);
    let mut tries = Tries::default();
    assert_eq!(server(&exchange, &route.backend, &tries), None);
    exchange.sticky = Some(0);
    assert_eq!(server(&exchange, &route.backend, &tries), Some(0));
    tries.exclude(0, Reason::ConnectFailed);
    assert_eq!(server(&exchange, &route.backend, &tries), None);
    tries.tried.clear();
    assert_eq!(server(&exchange, &route.backend, &tries), Some(0));
    route.backend.servers[0].peer.set_up(false);
    assert_eq!(server(&exchange, &route.backend, &tries), None);
}
