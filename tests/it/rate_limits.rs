//! Rate limits of routes over HTTP ([RATE-1..7], R-41). Tables have their own idea of time, which never
//! goes back: each test moves it far ahead of the workers' clocks, where it stands still, and on from
//! there.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use http::Request;
use serde_json::Value;
use tokio::{net::TcpStream, sync::Semaphore};
use wharf::{
    net::proxy_protocol::write_v2,
    rates::Rates,
    settings::{RouterSettings, limits::RateAnswer},
    snapshot::Rated,
};

use crate::harness::{
    client::{self, Client},
    eventually,
    frames::{self, Frames},
    http2::{Http2, body},
    manifest::{With as _, app, edge as edge_route, route, with_all},
    pod::{Act, Pod},
    router::Edge,
    tls::{self, Hello, hello},
};

const PREFIX: &str = "haproxy.router.openshift.io/rate-limit-connections";
const HOST: &str = "a.example.com";
const OTHER: &str = "b.example.com";

/// `route` with the switch and these limits.
pub(crate) fn limited(route: Value, limits: &[(&str, &str)]) -> Value {
    limits.iter().fold(route.annotated(PREFIX, "true"), |route, (name, value)| {
        route.annotated(&format!("{PREFIX}.{name}"), value)
    })
}

/// The time of one route's table, in the test's hand.
#[derive(Debug)]
pub(crate) struct Clock(Arc<Rates>);

impl Clock {
    /// Takes over the time of route `name`.
    pub(crate) fn of(edge: &Edge, name: &str) -> Self {
        let clock = Self(rated(edge, name).table);
        clock.at(0);
        clock
    }

    /// Sets the time to so many milliseconds, counted from far ahead.
    pub(crate) fn at(&self, millis: u64) {
        self.0.sweep(Duration::from_secs(86_400) + Duration::from_millis(millis), 0);
    }
}

/// The limits of route `name` and its table.
fn rated(edge: &Edge, name: &str) -> Rated {
    edge.route(name, |state| {
        let compiled = state.compiled.as_ref().expect("the route is served");
        compiled.rated.clone().expect("the route is limited")
    })
}

fn proxied(settings: &mut RouterSettings) {
    settings.proxy_protocol = true;
}

fn answering(settings: &mut RouterSettings) {
    settings.proxy_protocol = true;
    settings.limits.rate_answer = RateAnswer::TooManyRequests;
}

/// What a load balancer says in front of a connection from `source`.
fn header(source: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let destination = if source.contains(':') { "[2001:db8::1]:80" } else { "198.51.100.1:80" };
    let source = source.parse::<IpAddr>().expect("an address");
    write_v2(&mut out, (source, 4321).into(), destination.parse().expect("an address"));
    out
}

/// A connection of the client at `source`.
async fn from(edge: &Edge, source: &str) -> Client<TcpStream> {
    let mut client = edge.client().await;
    client.send(header(source)).await;
    client
}

/// One request of `source` on a connection of its own; 0 when that is closed without an answer.
async fn ask(edge: &Edge, source: &str, host: &str) -> u16 {
    let mut client = from(edge, source).await;
    client.send(client::get(host, "/")).await;
    let response = client.response().await;
    if response.status() == 0 {
        assert_eq!((response.line.as_str(), response.body.len()), ("", 0), "not a byte");
    }
    response.status()
}

/// The answers to `count` requests, one after the other.
async fn several(edge: &Edge, source: &str, count: usize) -> Vec<u16> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(ask(edge, source, HOST).await);
    }
    answers
}

/// [RATE-2]: one less than the number at once, each client by itself, over connections and over streams;
/// what was refused holds nothing, and what has ended frees its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_2_concurrent_requests_of_a_client_are_limited() {
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    let pod = Pod::start(move |_| {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec();
        Act::After(Arc::clone(&given), answer)
    })
    .await;
    let limited = limited(route("a", HOST), &[("concurrent-tcp", "3")]);
    let edge = Edge::with(&app(limited, &[pod.address]), proxied).await;
    let mut held = Vec::new();
    for source in ["203.0.113.1", "203.0.113.1", "203.0.113.2"] {
        let mut client = from(&edge, source).await;
        client.send(client::get(HOST, "/")).await;
        held.push(client);
        eventually("it", async || (pod.attempts() == held.len()).then_some(())).await;
    }
    assert_eq!(several(&edge, "203.0.113.1", 3).await, [0; 3]);
    edge.has_reasons(&[("rate_limited", 3)]).await;
    // A stream is a request like any other.
    let mut stream = from(&edge, "203.0.113.2").await;
    stream.send(b"").await;
    let mut http2 = Http2::over(stream.stream).await;
    let get = || Request::get("http://a.example.com/").body(body("")).expect("a request");
    let second = http2.start(get());
    let second = tokio::spawn(second);
    eventually("the stream", async || (pod.attempts() == 4).then_some(())).await;
    assert!(http2.send(get()).await.is_err());
    assert_eq!(pod.attempts(), 4, "what was refused went nowhere");
    permits.add_permits(100);
    for mut client in held {
        assert_eq!(client.response().await.status(), 200);
    }
    let _ended_with_its_connection = second.await;
    drop(http2);
    edge.is_quiet().await;
    assert_eq!(several(&edge, "203.0.113.1", 3).await, [200; 3]);
}

/// [RATE-3]: one less than the number in three seconds; who goes on asking is not forgiven.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_3_requests_in_three_seconds_are_limited_and_refused_ones_count() {
    let pod = Pod::saying("pod").await;
    let limited = limited(route("a", HOST), &[("rate-tcp", "5")]);
    let edge = Edge::with(&app(limited, &[pod.address]), proxied).await;
    let clock = Clock::of(&edge, "a");
    assert_eq!(several(&edge, "203.0.113.1", 7).await, [200, 200, 200, 200, 0, 0, 0]);
    assert_eq!(several(&edge, "203.0.113.2", 1).await, [200], "another client");
    for second in 1..=8 {
        clock.at(second * 1000);
        assert_eq!(several(&edge, "203.0.113.1", 3).await, [0; 3], "{second}");
    }
    clock.at(15_000);
    assert_eq!(several(&edge, "203.0.113.1", 5).await, [200, 200, 200, 200, 0]);
    // On a kept connection each request counts, and the last one ends it.
    clock.at(30_000);
    let mut client = from(&edge, "203.0.113.1").await;
    for _ in 0..4 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    client.send(client::get(HOST, "/")).await;
    assert!(client.closed().await);
    edge.has_reasons(&[("rate_limited", 3 + 24 + 1 + 1)]).await;
    assert_eq!(pod.attempts(), 4 + 1 + 4 + 4);
}

/// [RATE-4]: the number in ten seconds, and refused ones do not count; [RATE-7]: an old bucket fades.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_4_requests_in_ten_seconds_are_limited_and_refused_ones_do_not_count() {
    let pod = Pod::saying("pod").await;
    let limited = limited(route("a", HOST), &[("rate-http", "4")]);
    let edge = Edge::with(&app(limited, &[pod.address]), proxied).await;
    let clock = Clock::of(&edge, "a");
    assert_eq!(several(&edge, "203.0.113.1", 7).await, [200, 200, 200, 200, 0, 0, 0]);
    // A quarter of the old bucket has faded at each of these.
    for (at, expected) in
        [(9_999, [0, 0]), (10_001, [200, 0]), (12_501, [200, 0]), (15_001, [200, 0])]
    {
        clock.at(at);
        assert_eq!(several(&edge, "203.0.113.1", 2).await, expected, "{at}");
    }
    assert_eq!(several(&edge, "203.0.113.2", 4).await, [200; 4]);
}

/// [RATE-5]: closed without an answer on every protocol, and counted, whatever the request is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_5_a_refused_connection_is_closed_without_an_answer() {
    let pod = Pod::saying("pod").await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let limited = limited(edge_route("a", HOST, None).with(policy, "Allow"), &[("rate-http", "0")]);
    let edge = Edge::start(&app(limited, &[pod.address])).await;
    let mut client = edge.client().await;
    let upload = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 5\r\n\r\nhello");
    client.send(upload).await;
    assert!(client.closed().await);
    let stream = tls::connect(edge.https, Hello { alpn: &[], ..hello(HOST) }).await.unwrap();
    let mut client = Client::over(stream);
    client.send(client::get(HOST, "/")).await;
    assert!(client.closed().await);
    // All of the connection, as HAProxy does (spec/route.md 26.2).
    let mut frames = Frames::connect(edge.http, &[]).await;
    frames.send(frames::get(1, HOST, "/")).await;
    assert_eq!(frames.goaway().await.code(), frames::ENHANCE_YOUR_CALM);
    assert_eq!(frames.rest().await, [], "no reset of the stream either");
    edge.has_reasons(&[("rate_limited", 3)]).await;
    assert_eq!((pod.attempts(), pod.connections()), (0, 0));
}

/// [RATE-5] with the setting: 429, with the seconds to wait, on a connection that stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_5_with_the_setting_it_is_429_and_when_to_come_again() {
    let pod = Pod::saying("pod").await;
    let objects = with_all([
        app(limited(route("a", HOST), &[("rate-http", "2")]), &[pod.address]),
        app(limited(route("b", OTHER), &[("concurrent-tcp", "1")]), &[pod.address]),
    ]);
    let edge = Edge::with(&objects, answering).await;
    let clock = Clock::of(&edge, "a");
    let mut client = from(&edge, "203.0.113.1").await;
    for _ in 0..2 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    for (at, wait) in [(0, "11"), (4_000, "7"), (9_999, "1")] {
        clock.at(at);
        let response = client.get(HOST, "/").await;
        assert_eq!((response.status(), response.header("retry-after")), (429, Some(wait)));
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        assert_eq!(response.header("content-type"), Some("text/html"));
        assert!(response.text().contains("429 Too Many Requests"), "{}", response.text());
        assert_eq!(response.header("connection"), None);
    }
    clock.at(10_999);
    assert_eq!(client.get(HOST, "/").await.status(), 200, "the wait was long enough");
    let response = client.get(OTHER, "/").await;
    assert_eq!((response.status(), response.header("retry-after")), (429, None), "never");
    let mut http2 = from(&edge, "203.0.113.1").await;
    http2.send(b"").await;
    let mut http2 = Http2::over(http2.stream).await;
    let reply = http2.get("http://b.example.com/").await.expect("an answer");
    assert_eq!(reply.status, 429);
    edge.has_reasons(&[("rate_limited", 5)]).await;
}

/// [RATE-6], [ORD-2]: behind the allow list, which costs no count; and not for a redirect, which comes
/// before a route's own steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_6_the_allow_list_is_asked_first() {
    let pod = Pod::saying("pod").await;
    let listed = limited(route("a", HOST), &[("rate-tcp", "3")])
        .annotated("haproxy.router.openshift.io/ip_allowlist", "203.0.113.0/24");
    let redirected = limited(edge_route("b", OTHER, None), &[("rate-tcp", "0")])
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect");
    let objects = with_all([app(listed, &[pod.address]), app(redirected, &[pod.address])]);
    let edge = Edge::with(&objects, proxied).await;
    let _clock = Clock::of(&edge, "a");
    for _ in 0..9 {
        assert_eq!(ask(&edge, "192.0.2.1", HOST).await, 0);
        assert_eq!(ask(&edge, "192.0.2.1", OTHER).await, 302);
    }
    edge.has_reasons(&[("denied_allowlist", 9), ("redirect", 9)]).await;
    assert_eq!(rated(&edge, "a").table.len(), 0, "nobody was counted");
    assert_eq!(several(&edge, "203.0.113.1", 3).await, [200, 200, 0]);
}

/// [RATE-1]: clients are addresses, IPv6 ones as well, and mapped ones are IPv4; every route counts for
/// itself, only with the switch, and an edit forgets nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_1_clients_are_counted_by_route_and_address() {
    let pod = Pod::saying("pod").await;
    let objects = |limit: &str| {
        let off = route("c", "c.example.com").annotated(&format!("{PREFIX}.rate-http"), "0");
        with_all([
            app(limited(route("a", HOST), &[("rate-http", limit)]), &[pod.address]),
            app(limited(route("b", OTHER), &[("rate-http", "1")]), &[pod.address]),
            app(off, &[pod.address]),
        ])
    };
    let edge = Edge::with(&objects("1"), |settings| {
        proxied(settings);
        settings.limits.rate_ipv6_prefix = 64;
    })
    .await;
    let _clocks = [Clock::of(&edge, "a"), Clock::of(&edge, "b")];
    for (source, host, answer) in [
        ("203.0.113.1", HOST, 200),
        ("203.0.113.1", HOST, 0),
        ("203.0.113.1", OTHER, 200),
        ("203.0.113.1", "c.example.com", 200),
        ("::ffff:203.0.113.1", HOST, 0),
        ("2001:db8::1", HOST, 200),
        ("2001:db8::2", HOST, 0),
        ("2001:db8:0:1::1", HOST, 200),
    ] {
        assert_eq!(ask(&edge, source, host).await, answer, "{source} {host}");
    }
    let generation = edge.router.live.load().generation;
    edge.write("main.yaml", &objects("2"));
    edge.until("the edit", |snapshot| snapshot.generation > generation).await;
    assert_eq!(several(&edge, "203.0.113.1", 2).await, [200, 0], "one of the two was before");
}

/// [RATE-1]: a table that is full forgets whoever was seen longest ago, says so in the metrics, and never
/// grows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_1_a_full_table_is_bounded_and_shows() {
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    let pod = Pod::start(move |seen| match seen.target() {
        "/" => crate::harness::pod::ok("ok"),
        _ => {
            Act::After(Arc::clone(&given), b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec())
        },
    })
    .await;
    let both = [("rate-http", "1"), ("concurrent-tcp", "2")];
    let edge = Edge::with(&app(limited(route("a", HOST), &both), &[pod.address]), |settings| {
        proxied(settings);
        settings.limits.rate_clients = 3;
    })
    .await;
    let _clock = Clock::of(&edge, "a");
    for host in 1..=20 {
        assert_eq!(ask(&edge, &format!("203.0.113.{host}"), HOST).await, 200);
    }
    assert_eq!(ask(&edge, "203.0.113.20", HOST).await, 0, "the latest are known");
    assert_eq!(ask(&edge, "203.0.113.1", HOST).await, 200, "the first is not");
    assert_eq!(rated(&edge, "a").table.len(), 3);
    let mut held = Vec::new();
    for host in 51..=53 {
        let mut client = from(&edge, &format!("203.0.113.{host}")).await;
        client.send(client::get(HOST, "/held")).await;
        held.push(client);
    }
    eventually("three at the pod", async || (pod.attempts() == 21 + 3).then_some(())).await;
    assert_eq!(several(&edge, "203.0.113.60", 2).await, [200; 2], "not counted: all are busy");
    let count = |counter: fn(&wharf::proxy::stats::WorkerCounters) -> &wharf::stats::Counter| {
        edge.router.stats.workers.sum(counter)
    };
    assert_eq!(count(|cell| &cell.rate_clients_purged), 18 + 3);
    assert_eq!(count(|cell| &cell.rate_clients_untracked), 2);
    let metrics = Client::connect(edge.admin).await.get("admin", "/metrics").await.text();
    for line in [
        "wharf_rate_limit_clients 3",
        "wharf_rate_limit_clients_purged_total 21",
        "wharf_rate_limit_untracked_total 2",
        "wharf_responses_by_router_total{reason=\"rate_limited\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    permits.add_permits(3);
    for mut client in held {
        assert_eq!(client.response().await.status(), 200);
    }
}

/// clients over their limits take nothing from other clients, routes and pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_38_who_is_limited_takes_nothing_from_others() {
    let (flooded, quiet) = (Pod::saying("flooded").await, Pod::saying("quiet").await);
    let objects = with_all([
        app(limited(route("a", HOST), &[("rate-http", "10")]), &[flooded.address]),
        app(route("b", OTHER), &[quiet.address]),
    ]);
    let edge = Edge::with(&objects, answering).await;
    let _clock = Clock::of(&edge, "a");
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(from(&edge, "203.0.113.1").await);
    }
    for round in 0..50 {
        for client in &mut clients {
            client.send(client::get(HOST, "/")).await;
        }
        assert_eq!(ask(&edge, &format!("203.0.113.{}", 2 + round), HOST).await, 200);
        assert_eq!(ask(&edge, "203.0.113.1", OTHER).await, 200);
        for client in &mut clients {
            assert!(matches!(client.response().await.status(), 200 | 429));
        }
    }
    assert_eq!((flooded.attempts(), quiet.attempts()), (10 + 50, 50));
    edge.has_reasons(&[("rate_limited", 8 * 50 - 10)]).await;
}

/// under ten times the load that is allowed, from many sources at once and over both workers, each
/// gets what its limit says within five percent, in the long run and in every window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_41_limits_hold_within_five_percent_for_each_source() {
    const LIMIT: usize = 20;
    const STEP: u64 = 500;
    const STEPS: u64 = 120;
    let pod = Pod::saying("pod").await;
    let limit = LIMIT.to_string();
    let route = limited(route("a", HOST), &[("rate-http", &limit)]);
    let edge = Edge::with(&app(route, &[pod.address]), answering).await;
    let clock = Clock::of(&edge, "a");
    let sources: Vec<String> = (1..=4).map(|host| format!("203.0.113.{host}")).collect();
    let mut connections = Vec::new();
    for source in sources.iter().flat_map(|source| [source, source]) {
        connections.push((source.clone(), from(&edge, source).await));
    }
    let mut accepted: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for at in (0..STEPS).map(|step| step * STEP) {
        clock.at(at);
        // Ten times what is allowed, half of it on each connection.
        for _ in 0..5 {
            for (_, client) in &mut connections {
                client.send(client::get(HOST, "/")).await;
            }
            for (source, client) in &mut connections {
                match client.response().await.status() {
                    200 => accepted.entry(source.clone()).or_default().push(at),
                    status => assert_eq!(status, 429),
                }
            }
        }
    }
    let most = LIMIT * 105 / 100;
    for source in &sources {
        let times = &accepted[source];
        let windows = (0..STEPS)
            .map(|step| step * STEP)
            .map(|from| times.iter().filter(|at| (from..from + 10_000).contains(*at)).count());
        assert!(windows.max().unwrap_or(0) <= most, "{source}: {times:?}");
        let expected = LIMIT * usize::try_from(STEPS * STEP / 10_000).expect("small");
        let share = times.len() * 100 / expected;
        assert!((95..=105).contains(&share), "{source}: {} of {expected}", times.len());
    }
    let all: usize = accepted.values().map(Vec::len).sum();
    assert_eq!(pod.attempts(), all, "nothing of what was refused reached the pod");
}
