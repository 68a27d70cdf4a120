//! The orderly stop (reliability.md 2.2). Process signals are in `process`.

use std::{sync::Arc, time::Duration};

use http::Request;
use tokio::{net::TcpStream, sync::Semaphore};

use crate::harness::{
    client::{self, Client},
    eventually,
    http2::{Http2, body},
    manifest::{app, route},
    pod::{Act, Pod, ok},
    router::Edge,
    within,
};

const HOST: &str = "a.example.com";

/// A pod that answers `/held` when the permit is given and everything else at once.
async fn pod_with_gate() -> (Pod, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&permits);
    let pod = Pod::start(move |seen| match seen.target() {
        "/held" => {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld".to_vec();
            Act::After(Arc::clone(&gate), answer)
        },
        _ => ok("pod"),
    })
    .await;
    (pod, permits)
}

async fn edge(pod: &Pod, delay: Duration, grace: Duration) -> Edge {
    Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.timeouts.drain_delay = delay;
        settings.timeouts.drain_grace = grace;
    })
    .await
}

/// True when nothing listens there any more.
async fn refuses(address: std::net::SocketAddr) -> bool {
    within("connecting", TcpStream::connect(address)).await.is_err()
}

/// during the delay the router says goodbye and goes on accepting; a request in flight
/// completes, however late; afterwards connections are refused.
/// [SHUT-1]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_17_the_delay_serves_and_the_grace_finishes() {
    let (pod, permits) = pod_with_gate().await;
    let edge = edge(&pod, Duration::from_secs(2), Duration::from_secs(60)).await;
    let (http, admin) = (edge.http, edge.admin);
    let mut kept = edge.client().await;
    assert_eq!(kept.get(HOST, "/").await.header("connection"), None);
    let mut held = edge.client().await;
    held.send(client::get(HOST, "/held")).await;
    eventually("the request at the pod", async || (pod.attempts() == 2).then_some(())).await;
    assert_eq!(Client::connect(admin).await.get("localhost", "/healthz/ready").await.status(), 200);

    let stop = tokio::spawn(edge.finish());
    eventually("not ready", async || {
        let mut asks = Client::connect(admin).await;
        (asks.get("localhost", "/healthz/ready").await.status() == 503).then_some(())
    })
    .await;
    assert_eq!(Client::connect(admin).await.get("localhost", "/healthz").await.status(), 200);
    let last = kept.get(HOST, "/").await;
    assert_eq!((last.status(), last.header("connection")), (200, Some("close")));
    assert!(kept.closed().await);
    let late = Client::connect(http).await.get(HOST, "/").await;
    assert_eq!((late.status(), late.header("connection")), (200, Some("close")));

    eventually("the end of accepting", async || refuses(http).await.then_some(())).await;
    assert!(!stop.is_finished(), "a request is in flight");
    permits.add_permits(1);
    let response = held.response().await;
    assert_eq!(response.text(), "held");
    assert!(held.closed().await);
    within("the router to end", stop).await.unwrap();
    assert!(refuses(admin).await);
}

/// HTTP/2 gets GOAWAY at once: streams in flight complete, new ones are not begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_gets_goaway_and_finishes_its_streams() {
    let (pod, permits) = pod_with_gate().await;
    let edge = edge(&pod, Duration::ZERO, Duration::from_secs(60)).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    assert_eq!(client.get("http://a.example.com/").await.unwrap().status, 200);
    let request = Request::get("http://a.example.com/held").body(body("")).unwrap();
    let held = tokio::spawn(client.start(request));
    eventually("the request at the pod", async || (pod.attempts() == 2).then_some(())).await;
    let http = edge.http;
    let stop = tokio::spawn(edge.finish());
    eventually("the end of accepting", async || refuses(http).await.then_some(())).await;
    permits.add_permits(1);
    assert_eq!(held.await.unwrap().unwrap().body, "held");
    client.ended().await.expect("an orderly end");
    within("the router to end", stop).await.unwrap();
}

/// What is not done when the grace is over is closed: requests, tunnels and idle connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_grace_ends_what_is_left() {
    let pod = Pod::start(|seen| match seen.target() {
        "/ws" => Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
                .to_vec(),
        ),
        "/never" => Act::Stall(Vec::new()),
        _ => ok("pod"),
    })
    .await;
    let edge = edge(&pod, Duration::ZERO, Duration::from_millis(100)).await;
    let mut idle = edge.client().await;
    assert_eq!(idle.get(HOST, "/").await.status(), 200);
    let mut hanging = edge.client().await;
    hanging.send(client::get(HOST, "/never")).await;
    let mut tunnel = edge.client().await;
    let upgrade =
        format!("GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    tunnel.send(upgrade).await;
    assert_eq!(tunnel.response().await.status(), 101);
    eventually("all three at the pod", async || (pod.attempts() == 3).then_some(())).await;
    edge.finish().await;
    assert!(idle.closed().await);
    assert!(hanging.response().await.cut);
    assert!(tunnel.closed().await);
    eventually("the pod's connections to end", async || (pod.open() == 0).then_some(())).await;
}

/// A handle that is dropped takes its listeners and workers along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_router_is_gone() {
    let pod = Pod::saying("pod").await;
    let edge = edge(&pod, Duration::ZERO, Duration::ZERO).await;
    let (http, https) = (edge.http, edge.https);
    drop(edge);
    eventually("both ports to be free", async || {
        (refuses(http).await && refuses(https).await).then_some(())
    })
    .await;
}
