//! Limits that hold, and what happens at them (R-33, S-49, S-50, [LSN-7, LIM-1]).

use std::{sync::Arc, time::Duration};

use http::Request;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Semaphore};
use wharf::net::proxy_protocol::{write_v2, write_v2_local};

use crate::harness::{
    client::{self, Client},
    eventually,
    http2::{Http2, body},
    manifest::{With as _, app, edge as edge_route, route},
    pod::{Act, Pod},
    router::Edge,
    tls::{self, hello},
    within,
};

const HOST: &str = "a.example.com";

/// [LSN-7], R-33: as many connections as allowed are served; the next one waits, is neither refused
/// nor reset, and is served as soon as there is room. The admin port has limits of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_7_a_connection_beyond_the_limit_waits_for_room() {
    let pod = Pod::saying("pod").await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.max_connections = 2;
    })
    .await;
    let (mut first, mut second) = (edge.client().await, edge.client().await);
    assert_eq!(first.get(HOST, "/").await.status(), 200);
    assert_eq!(second.get(HOST, "/").await.status(), 200);
    let mut third = edge.client().await;
    third.send(format!("GET /third HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let waits = || edge.router.stats.workers.sum(|cell| &cell.limit_reached);
    eventually("the limit to be reached", async || (waits() == 1).then_some(())).await;
    assert_eq!(edge.router.stats.connections.load(), 2);
    assert_eq!(pod.attempts(), 2, "the third request waits");
    let mut admin = Client::connect(edge.admin).await;
    let metrics = admin.get("localhost", "/metrics").await.text();
    for line in ["wharf_connection_limit_reached_total 1", "wharf_connections 2"] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    // Those that are in go on.
    assert_eq!(first.get(HOST, "/").await.status(), 200);
    drop(second);
    assert_eq!(third.response().await.status(), 200);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// A connection whose PROXY header says `source`; `None` is the load balancer itself.
async fn from(edge: &Edge, source: Option<&str>) -> Client<TcpStream> {
    let mut header = Vec::new();
    match source {
        Some(source) => write_v2(
            &mut header,
            source.parse().expect("an address"),
            if source.starts_with('[') { "[2001:db8::1]:80" } else { "198.51.100.1:80" }
                .parse()
                .expect("an address"),
        ),
        None => write_v2_local(&mut header),
    }
    let mut client = edge.client().await;
    client.send(&header).await;
    client
}

/// S-50: a source at its limit gets no further connection, and others do; it is the client's address
/// that counts and never the load balancer's, from which all of these come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_50_a_source_has_so_many_connections_and_the_load_balancer_is_none() {
    let pod = Pod::saying("pod").await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.proxy_protocol = true;
        settings.max_connections_per_source = 2;
    })
    .await;
    let mut held = Vec::new();
    for source in [
        Some("203.0.113.9:1"),
        Some("203.0.113.9:2"),
        Some("203.0.113.10:1"),
        Some("[2001:db8:0:1::1]:1"),
        Some("[2001:db8:0:1::2]:1"),
        Some("[2001:db8:0:2::1]:1"),
        None,
        None,
        None,
    ] {
        let mut client = from(&edge, source).await;
        assert_eq!(client.get(HOST, "/").await.status(), 200, "{source:?}");
        held.push(client);
    }
    for (count, source) in [(1, "203.0.113.9:3"), (2, "[2001:db8:0:1:9::]:9")] {
        let mut client = from(&edge, Some(source)).await;
        client.send(client::get(HOST, "/")).await;
        assert!(client.closed().await, "{source} has had its two");
        edge.has_reasons(&[("overload", count)]).await;
    }
    assert_eq!(edge.router.stats.workers.sum(|cell| &cell.source_limited), 2);
    // Those that are in go on, and a place that is given up is there for the next.
    assert_eq!(held[0].get(HOST, "/").await.status(), 200);
    drop(held.remove(0));
    eventually("room", async || {
        let mut client = from(&edge, Some("203.0.113.9:4")).await;
        (client.get(HOST, "/").await.status() == 200).then_some(())
    })
    .await;
    drop(held);
    edge.is_quiet().await;
    assert!(edge.router.stats.sources.is_empty());
    edge.finish().await;
}

/// [LIM-1]: ROUTER_BUF_SIZE and ROUTER_MAX_REWRITE_SIZE decide how large heads may be, of requests on
/// both protocols and of responses.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lim_1_the_size_of_heads_can_be_set() {
    let pod = Pod::start(|seen| {
        let length: usize = seen.target()[1..].parse().unwrap_or(0);
        let fields = format!("x: {}\r\ncontent-length: 2", "y".repeat(length));
        Act::Reply(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nok").into_bytes())
    })
    .await;
    // Bytes of a field, and the answers over HTTP/1, over HTTP/2, and to a response with it.
    for (buffer, reserve, rows) in [
        (
            65_536,
            4096,
            [(61_000, [200, 200, 200]), (61_600, [431, 431, 502]), (66_000, [414, 431, 502])],
        ),
        (8192, 4096, [(3900, [200, 200, 200]), (4200, [431, 431, 502]), (8300, [414, 431, 502])]),
    ] {
        let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
            settings.limits.buffer = buffer;
            settings.limits.rewrite_reserve = reserve;
        })
        .await;
        for (length, answers) in rows {
            let value = "y".repeat(length);
            let mut client = edge.client().await;
            client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nx: {value}\r\n\r\n")).await;
            let first = client.response().await.status();
            let mut http2 = Http2::over(edge.client().await.stream).await;
            let request = Request::get("http://a.example.com/").header("x", &value);
            let second = http2.send(request.body(body("")).expect("a request")).await;
            let second = second.expect("an answer").status.as_u16();
            let third = edge.get(HOST, &format!("/{length}")).await.status();
            assert_eq!([first, second, third], answers, "{length} of {buffer}");
        }
        // Beyond WHARF_HTTP2_MAX_HEADER_LIST the library says 431 by itself.
        let own = if buffer < 65_536 { 4 } else { 3 };
        edge.has_reasons(&[("upstream_invalid", 2), ("headers_too_large", own)]).await;
        edge.finish().await;
    }
}

/// ROUTER_ABORT_ON_CLOSE: a client that has closed its side ends its request, at the pod as in a line;
/// without it, it gets its answer. Both sides closed by a reset are the end in any case once something is
/// written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_has_closed_its_side_is_gone_unless_set_otherwise() {
    for aborts in [true, false] {
        let permits = Arc::new(Semaphore::new(0));
        let given = Arc::clone(&permits);
        let pod = Pod::start(move |_| {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec();
            Act::After(Arc::clone(&given), answer)
        })
        .await;
        let route = route("a", HOST)
            .annotated("haproxy.router.openshift.io/pod-concurrent-connections", "1");
        let edge = Edge::with(&app(route, &[pod.address]), |settings| {
            settings.limits.abort_on_close = aborts;
            settings.timeouts.connect = Duration::from_secs(600);
        })
        .await;
        let queued = || {
            edge.route("a", |state| {
                state.compiled.as_ref().expect("served").backend.stats.queued.load()
            })
        };
        let (mut at_pod, mut in_line) = (edge.client().await, edge.client().await);
        at_pod.send(client::get(HOST, "/")).await;
        eventually("the first", async || (pod.attempts() == 1).then_some(())).await;
        in_line.send(client::get(HOST, "/")).await;
        eventually("the second", async || (queued() == 1).then_some(())).await;
        for client in [&mut in_line, &mut at_pod] {
            client.stream.shutdown().await.expect("it is open");
        }
        if aborts {
            assert!(in_line.closed().await && at_pod.closed().await);
            edge.has_reasons(&[("client_closed", 2)]).await;
            assert_eq!((pod.attempts(), queued()), (1, 0));
        } else {
            permits.add_permits(2);
            for client in [&mut at_pod, &mut in_line] {
                assert_eq!(client.response().await.text(), "ok");
                assert!(client.closed().await);
            }
            assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
        }
        edge.is_quiet().await;
    }
}

/// S-49: clients that stop in the middle of their handshake keep nobody else from theirs, however few
/// handshakes a worker answers at a time; they end with the handshake's own limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_49_stalled_handshakes_hold_nobody_up() {
    const STALLED: u64 = 30;
    let pod = Pod::saying("pod").await;
    let edge = Edge::with(&app(edge_route("a", HOST, None), &[pod.address]), |settings| {
        settings.max_handshakes = 1;
        settings.workers = 1;
        settings.timeouts.handshake = Duration::from_secs(2);
    })
    .await;
    let bytes = client_hello();
    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut client = Client::connect(edge.https).await;
        client.send(&bytes).await;
        stalled.push(client);
    }
    for client in &mut stalled {
        assert!(client.more().await, "each has its ServerHello");
    }
    for _ in 0..3 {
        let stream = tls::connect(edge.https, hello(HOST)).await.expect("a handshake");
        drop(stream);
    }
    let done = || edge.router.stats.workers.sum(|cell| &cell.handshakes);
    eventually("the handshakes", async || (done() == 3).then_some(())).await;
    for client in &mut stalled {
        client.rest().await;
    }
    edge.has_reasons(&[("tls_handshake", STALLED)]).await;
    edge.finish().await;
}

/// The bytes with which a client begins.
fn client_hello() -> Vec<u8> {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .expect("the provider has them")
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    let name = HOST.try_into().expect("a name");
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut bytes = Vec::new();
    connection.write_tls(&mut bytes).expect("writing to memory");
    bytes
}

/// Beyond `max_requests` a request is turned away at once and costs no pod anything; what was let in is
/// served, and so is what comes afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_requests_at_once_are_turned_away_until_some_have_ended() {
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let pod = Pod::start(move |_| Act::After(Arc::clone(&given), answer.to_vec())).await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.workers = 1;
        settings.max_requests = 3;
    })
    .await;
    let mut held = Vec::new();
    for nth in 1..=3 {
        let mut client = edge.client().await;
        client.send(client::get(HOST, "/held")).await;
        eventually("the request", async || (pod.attempts() == nth).then_some(())).await;
        held.push(client);
    }
    for _ in 0..5 {
        assert_eq!(edge.get(HOST, "/more").await.status(), 503);
    }
    edge.has_reasons(&[("overload", 5)]).await;
    assert_eq!((pod.attempts(), pod.connections()), (3, 3));
    permits.add_permits(4);
    for client in &mut held {
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(within("the next", edge.get(HOST, "/after")).await.status(), 200);
    edge.finish().await;
}
