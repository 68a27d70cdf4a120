//! Idle connections give their buffers back and go on as if nothing had been (design.md 5).

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::harness::{
    client::Client,
    eventually,
    manifest::{app, edge as edge_route},
    pod::Pod,
    router::Edge,
    tls::{self, Hello, hello, pair},
};

const HOST: &str = "a.example.com";

async fn start(pod: &Pod) -> Edge {
    let mut route = edge_route("a", HOST, Some(&pair(HOST)));
    route["spec"]["tls"]["insecureEdgeTerminationPolicy"] = "Allow".into();
    Edge::with(&app(route, &[pod.address]), |settings| {
        settings.timeouts.park = Duration::from_millis(1);
    })
    .await
}

async fn parked(edge: &Edge, times: u64) {
    let count = || edge.router.stats.workers.sum(|cell| &cell.parked);
    eventually("the connection to be parked", async || (count() == times).then_some(())).await;
}

/// A request in one piece, one byte by byte, two at once and a body, each on a parked connection.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(edge: &Edge, pod: &Pod, stream: S) {
    let mut client = Client::over(stream);
    let begun = edge.router.stats.workers.sum(|cell| &cell.parked);
    let attempts = pod.attempts();
    assert_eq!(client.get(HOST, "/whole").await.status(), 200);
    parked(edge, begun + 1).await;
    for byte in format!("GET /bytes HTTP/1.1\r\nHost: {HOST}\r\n\r\n").bytes() {
        client.send([byte]).await;
    }
    assert_eq!(client.response().await.status(), 200);
    parked(edge, begun + 2).await;
    let one = format!("GET /pair HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    client.send([one.as_str(), one.as_str()].concat()).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(client.response().await.status(), 200);
    parked(edge, begun + 3).await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 4\r\n\r\nbody")).await;
    assert_eq!(client.response().await.status(), 200);
    parked(edge, begun + 4).await;
    client.send("GET bad\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 400, "the gate is still there");
    assert!(client.closed().await);
    assert_eq!(pod.attempts(), attempts + 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_connection_serves_whatever_comes_next() {
    let pod = Pod::saying("pod").await;
    let edge = start(&pod).await;
    converse(&edge, &pod, edge.client().await.stream).await;
    let http1 = Hello { alpn: &[], ..hello(HOST) };
    let stream = tls::connect(edge.https, http1).await.unwrap();
    converse(&edge, &pod, stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_connection_ends_with_its_client_its_limit_and_the_process() {
    let pod = Pod::saying("pod").await;
    let edge = start(&pod).await;
    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.status(), 200);
    parked(&edge, 1).await;
    drop(client);
    eventually("the connection to end", async || {
        (edge.router.stats.connections.load() == 0).then_some(())
    })
    .await;

    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.status(), 200);
    parked(&edge, 2).await;
    edge.finish().await;
    assert!(client.closed().await, "an idle connection does not hold the process up");

    let route = crate::harness::manifest::route("a", HOST);
    let short = Edge::with(&app(route, &[pod.address]), |settings| {
        settings.timeouts.park = Duration::from_millis(1);
        settings.timeouts.keep_alive = Duration::from_millis(200);
    })
    .await;
    let mut client = short.client().await;
    assert_eq!(client.get(HOST, "/").await.status(), 200);
    parked(&short, 1).await;
    assert!(client.closed().await, "the keep-alive limit goes on counting");
    assert!(short.reasons().is_empty(), "{:?}", short.reasons());
}

/// A refused client that stays is closed all the same: its engine lingers, and is not parked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_being_closed_is_not_parked() {
    let pod = Pod::saying("pod").await;
    let edge = start(&pod).await;
    let mut client = edge.client().await;
    client.send("GET bad\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 400);
    eventually("the connection to end", async || {
        (edge.router.stats.connections.load() == 0).then_some(())
    })
    .await;
    assert_eq!(edge.router.stats.workers.sum(|cell| &cell.parked), 0);
    drop(client);
}
