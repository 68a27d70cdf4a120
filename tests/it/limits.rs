//! Limits that hold, and what happens at them (R-33, S-49, S-50, [LSN-7]).

use std::{sync::Arc, time::Duration};

use tokio::{net::TcpStream, sync::Semaphore};
use wharf::net::proxy_protocol::{write_v2, write_v2_local};

use crate::harness::{
    client::{self, Client},
    eventually,
    manifest::{app, edge as edge_route, route},
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
