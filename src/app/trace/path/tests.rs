//! What is said of a path, from what was seen of it.

use super::*;
use crate::{
    admin::{explain::Loser, routes::PolicyView},
    proxy::trace::{RouteSeen, ServerSeen},
};

const ADMIN: &str = "127.0.0.1:1936";

fn explained(outcome: Outcome, termination: &str) -> Explanation {
    let policy = PolicyView {
        timeout: "30s".to_owned(),
        tunnel_timeout: "1h".to_owned(),
        forwarded: "append".to_owned(),
        balance: "random".to_owned(),
        allow: None,
        rewrite: Some("/".to_owned()),
    };
    let winner = Candidate {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        host: "a.test".to_owned(),
        path: "/cart".to_owned(),
        termination: termination.to_owned(),
        policy,
    };
    let line = |address: &str| EndpointLine {
        service: "web".to_owned(),
        address: address.to_owned(),
        pod: String::new(),
        weight: 1,
        up: true,
        cluster_ip: false,
    };
    let found = matches!(outcome, Outcome::Serve | Outcome::Redirect);
    Explanation {
        url: "http://a.test/cart".to_owned(),
        tls: false,
        host: "a.test".to_owned(),
        path: "/cart".to_owned(),
        outcome,
        why: "host is exact".to_owned(),
        winner: found.then_some(winner),
        certificate: None,
        losers: vec![Loser {
            namespace: "shop".to_owned(),
            name: "all".to_owned(),
            path: String::new(),
            why: "shorter prefix".to_owned(),
        }],
        endpoints: if found { vec![line("10.0.0.1:80"), line("10.0.0.2:80")] } else { Vec::new() },
    }
}

fn seen(reason: Option<&str>) -> Seen {
    Seen {
        client: "127.0.0.1:5".parse().unwrap(),
        frontend: "public".to_owned(),
        status: 200,
        reason: reason.map(str::to_owned),
        state: "--".to_owned(),
        generation: 3,
        route: Some(RouteSeen {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            termination: Termination::None,
            backend: "be_http:shop:web".to_owned(),
        }),
        server: Some(ServerSeen {
            service: "web".to_owned(),
            address: "10.0.0.2:80".to_owned(),
            pod: "web-2".to_owned(),
            cluster_ip: false,
        }),
        retries: 1,
        head_us: Some(10),
        queue_us: Some(20),
        connect_us: Some(0),
        response_us: Some(300),
        total_us: 400,
    }
}

fn target(last: u8, state: &str, eligible: bool) -> TargetView {
    TargetView {
        address: SocketAddr::from(([10, 1, 0, last], 80)),
        zone: Some("a".to_owned()),
        check: ADMIN.parse().unwrap(),
        state: state.to_owned(),
        reason: None,
        eligible,
    }
}

fn flow(routing: Routing, targets: Vec<TargetView>) -> FlowView {
    FlowView {
        listener: "TCP:80".to_owned(),
        address: "127.0.0.1:8080".parse().unwrap(),
        zone: None,
        admitted: true,
        groups: vec![GroupView {
            name: "http".to_owned(),
            weight: 1,
            proxy_protocol: true,
            sticky: false,
            cross_zone: true,
            routing: Some(routing),
            targets,
            chosen: None,
        }],
    }
}

/// A request that a pod answered.
fn whole() -> Observed {
    let answered = Answered {
        status: 200,
        location: None,
        first: Duration::from_micros(1000),
        took: Duration::from_micros(1100),
    };
    Observed {
        live: true,
        target: Target::parse("http://a.test/cart").unwrap(),
        named_via: false,
        insecure: false,
        dns: None,
        via: "127.0.0.1:8080".parse().unwrap(),
        flow: Ok(Some(flow(Routing::Healthy, vec![target(1, "healthy", true)]))),
        routers: vec![RouterSeen {
            admin: ADMIN.parse().unwrap(),
            explained: Ok(explained(Outcome::Serve, "http")),
            hosts: Vec::new(),
            seen: Asked::Seen(Box::new(seen(None))),
        }],
        sent: Some(Sent {
            connected: Ok(Duration::from_micros(50)),
            tls: None,
            answer: Some(Ok(answered)),
        }),
    }
}

fn broken(observed: &Observed) -> (Name, String) {
    let report = judge(observed);
    let broken = report.broken.unwrap_or_else(|| panic!("it is whole"));
    (broken.hop, broken.why)
}

#[test]
fn a_whole_path_in_words() {
    assert_eq!(
        judge(&whole()).text(),
        "\
http://a.test/cart (live)
1 dns     ?                 not asked without --dns: 127.0.0.1:8080, where `wharf up` listens
2 nlb     ok          50us  listener TCP:80 at 127.0.0.1:8080
    node     127.0.0.1:8080 (all zones)
    groups   http weight 1, PROXY header
    target   10.1.0.1:80 zone a
    why      the only one, of 1 healthy
    targets  10.1.0.1:80 zone a healthy
    connect  50us
3 router  ok          10us  the router with admin port 127.0.0.1:1936 in zone a
    frontend  public
    client    127.0.0.1:5
    snapshot  3
    head      10us
4 route   ok                shop/web host a.test path /cart
    why          host is exact
    termination  http
    rewrite      the path becomes /
    losers       shop/all: shorter prefix
5 service ok          20us  shop/web
    balance    random
    queue      20us
    endpoints  web 10.0.0.1:80 weight 1 up
               web 10.0.0.2:80 weight 1 up
6 pod     ok         300us  web-2 at 10.0.0.2:80
    connect   kept connection
    response  300us
    total     400us
    retries   1
7 answer  ok        1.10ms  status 200
    first    1.00ms
    outside  680us
the path is whole
"
    );
}

/// Every reason of the router is a break, at the Route or behind it, with a way out.
#[test]
fn every_reason_breaks_the_path_but_a_redirect() {
    for (_, word, meaning) in REASONS {
        let mut observed = whole();
        observed.routers[0].seen = Asked::Seen(Box::new(seen(Some(word))));
        if word == "redirect" {
            continue;
        }
        let report = judge(&observed);
        let broken = report.broken.unwrap_or_else(|| panic!("{word} breaks nothing"));
        let expected = if OF_ROUTES.contains(&word) { Name::Route } else { Name::Pod };
        assert_eq!(broken.hop, expected, "{word}");
        assert_eq!(broken.why, format!("{word}: {meaning}"));
        assert!(!broken.fix.is_empty());
    }
}

#[test]
fn a_client_that_ends_a_tunnel_breaks_nothing() {
    let mut observed = whole();
    let mut seen = seen(Some("client_closed"));
    seen.route.as_mut().unwrap().termination = Termination::Passthrough;
    observed.routers[0].seen = Asked::Seen(Box::new(seen));
    assert!(judge(&observed).ok);
}

#[test]
fn hosts_that_are_alike_are_named_the_nearest_first() {
    let known = ["b.example.com", "shop.example.com", "shopp.example.com", "other.test"];
    let near = near("shap.example.com", known.into_iter());
    assert_eq!(near[..2], ["shop.example.com", "shopp.example.com"]);
    assert!(!near.contains(&"other.test".to_owned()));
    let mut observed = whole();
    observed.routers[0].explained = Ok(explained(Outcome::NoHost, ""));
    observed.routers[0].hosts = vec!["a.test.".to_owned(), "zzzzzzzz".to_owned()];
    let report = judge(&observed);
    assert!(report.text().contains("did you mean a.test."), "{}", report.text());
}

#[test]
fn a_load_balancer_that_leads_nowhere() {
    let reset = || Some(Sent { answer: Some(Err("reset".to_owned())), ..Sent::default() });
    let mut observed = Observed { sent: reset(), ..whole() };
    observed.routers[0].seen = Asked::Nothing;
    // Somebody healthy had it: the answer is what is missing.
    assert_eq!(broken(&observed), (Name::Answer, "reset".to_owned()));
    observed.flow = Ok(Some(flow(Routing::FailOpen, vec![target(1, "unhealthy", true)])));
    let (hop, why) = broken(&observed);
    assert!(hop == Name::Nlb && why.ends_with("reset"), "{why}");
    assert!(judge(&observed).text().contains("fail-open"));
    // A refused certificate was shown by a router.
    let tls = Some(Err("invalid peer certificate: UnknownIssuer".to_owned()));
    observed.sent = Some(Sent { tls, ..Sent::default() });
    assert_ne!(judge(&observed).broken.map(|broken| broken.hop), Some(Name::Nlb));
    // Nobody may get it, whoever asks.
    observed.flow = Ok(Some(flow(Routing::Healthy, vec![target(1, "draining", false)])));
    observed.sent = None;
    assert_eq!(broken(&observed).0, Name::Nlb);
    let mut out_of_range = flow(Routing::Healthy, vec![target(1, "healthy", true)]);
    out_of_range.admitted = false;
    observed.flow = Ok(Some(out_of_range));
    assert!(broken(&observed).1.contains("source ranges"));
}

#[test]
fn what_is_not_known_breaks_nothing() {
    let mut observed = whole();
    observed.flow = Err("refused".to_owned());
    observed.routers[0].explained = Err("refused".to_owned());
    observed.routers[0].seen = Asked::Failed("refused".to_owned());
    let report = judge(&observed);
    assert!(report.ok, "{}", report.text());
    let states: Vec<State> = report.hops.iter().map(|hop| hop.state).collect();
    assert_eq!(states, [State::Unknown, State::Unknown, State::Unknown, State::Ok]);
}

#[test]
fn a_name_without_an_address_is_the_end_unless_told_where_to_connect() {
    let dns = || {
        Some(Resolved {
            server: "10.0.0.9:53".to_owned(),
            addresses: Err("NXDOMAIN".to_owned()),
            took: Duration::from_micros(3),
        })
    };
    let mut observed = Observed { dns: dns(), ..whole() };
    assert_eq!(broken(&observed), (Name::Dns, "NXDOMAIN".to_owned()));
    observed.named_via = true;
    assert!(judge(&observed).ok);
}

#[test]
fn without_a_usable_endpoint_the_service_is_the_end() {
    let mut observed = Observed { sent: None, live: false, ..whole() };
    observed.routers[0].seen = Asked::Not;
    let Ok(explained) = &mut observed.routers[0].explained else { panic!("explained") };
    explained.endpoints.iter_mut().for_each(|line| line.up = false);
    let (hop, why) = broken(&observed);
    assert!(hop == Name::Service && why.starts_with("all_unhealthy"), "{why}");
    let Ok(explained) = &mut observed.routers[0].explained else { panic!("explained") };
    explained.endpoints.clear();
    assert!(broken(&observed).1.starts_with("no_endpoints"));
}
