//! The orderly stop (reliability.md 2.2). Process signals are in `process`.

use std::{sync::Arc, time::Duration};

use http::Request;
use tokio::{net::TcpStream, sync::Semaphore};

use crate::harness::{
    client::{self, Client},
    eventually,
    frames::{self, Frames},
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
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.timeouts.drain_delay = Duration::from_secs(2);
        settings.timeouts.drain_grace = Duration::from_secs(60);
        // Idle connections leave during the delay, but not before they are parked.
        settings.timeouts.park = Duration::from_secs(60);
    })
    .await;
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

/// [SHUT-1] HTTP/2: a GOAWAY at once that closes nothing, so that what the client has sent meanwhile is
/// served; behind the answer to its PING one that names the last stream, and streams in flight complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shut_1_http2_is_told_first_and_then_which_stream_is_the_last() {
    let (pod, permits) = pod_with_gate().await;
    let edge = edge(&pod, Duration::from_secs(2), Duration::from_secs(60)).await;
    let mut client = Frames::connect(edge.http, &[]).await;
    client.send(frames::get(1, HOST, "/held")).await;
    eventually("the request at the pod", async || (pod.attempts() == 1).then_some(())).await;
    let http = edge.http;
    let stop = tokio::spawn(edge.finish());
    let first = loop {
        let frame = client.next().await.expect("a GOAWAY");
        if frame.kind == frames::GOAWAY {
            break frame;
        }
    };
    assert_eq!((first.last_stream(), first.code()), (0x7fff_ffff, 0));
    assert!(!refuses(http).await, "it comes before the end of accepting");
    client.send(frames::get(3, HOST, "/")).await;
    let wanted = |frame: &frames::Frame| matches!(frame.kind, frames::HEADERS | frames::GOAWAY);
    // In either order: the pod takes as long as it takes.
    let both = [client.until("one", wanted).await, client.until("the other", wanted).await];
    for frame in both {
        match frame.kind {
            frames::HEADERS => assert_eq!((frame.stream, frame.status()), (3, 200)),
            _ => assert_eq!((frame.last_stream(), frame.code()), (3, 0)),
        }
    }
    eventually("the end of accepting", async || refuses(http).await.then_some(())).await;
    assert!(!stop.is_finished(), "a stream is in flight");
    permits.add_permits(1);
    assert_eq!(client.head(1).await.status(), 200);
    client.rest().await;
    within("the router to end", stop).await.unwrap();
}

/// A connection that begins during the delay is there to be used: its first request is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shut_1_http2_that_begins_during_the_delay_is_served() {
    let pod = Pod::saying("pod").await;
    let edge = edge(&pod, Duration::from_secs(60), Duration::from_secs(60)).await;
    let (http, admin) = (edge.http, edge.admin);
    let early = Frames::connect(http, &[]).await;
    let stop = tokio::spawn(edge.finish());
    eventually("not ready", async || {
        let mut asks = Client::connect(admin).await;
        (asks.get("localhost", "/healthz/ready").await.status() == 503).then_some(())
    })
    .await;
    for mut client in [early, Frames::connect(http, &[]).await] {
        // Both sides have exchanged frames, so a GOAWAY would have come before the request.
        client.settled().await;
        client.send(frames::get(1, HOST, "/")).await;
        let answer = client.until("the answer or a GOAWAY", |frame| {
            matches!(frame.kind, frames::HEADERS | frames::GOAWAY) && frame.stream == 1
                || frame.kind == frames::GOAWAY && frame.last_stream() == 0
        });
        assert_eq!(answer.await.kind, frames::HEADERS);
        client.rest().await;
        assert!(!stop.is_finished(), "the delay is longer than this test");
    }
    stop.abort();
}

/// [SHUT-1]: idle HTTP/1 connections are closed during the delay, each at its own time, while the router
/// still accepts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shut_1_idle_connections_are_closed_before_the_ports() {
    let pod = Pod::saying("pod").await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.timeouts.drain_delay = Duration::from_secs(4);
        settings.timeouts.park = Duration::from_millis(10);
    })
    .await;
    let http = edge.http;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut client = edge.client().await;
        assert_eq!(client.get(HOST, "/").await.status(), 200);
        idle.push(client);
    }
    let stop = tokio::spawn(edge.finish());
    for mut client in idle {
        assert!(client.closed().await);
    }
    let late = Client::connect(http).await.get(HOST, "/").await;
    assert_eq!((late.status(), late.header("connection")), (200, Some("close")));
    stop.abort();
}

/// [RELOAD-3]: with ROUTER_IDLE_CLOSE_ON_RESPONSE an idle connection outlives the ports, for one more
/// response.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reload_3_idle_connections_may_wait_for_one_more_response() {
    let pod = Pod::saying("pod").await;
    for park in [Duration::from_millis(10), Duration::from_secs(60)] {
        let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
            settings.idle_close_on_response = true;
            settings.timeouts.park = park;
        })
        .await;
        let http = edge.http;
        let mut idle = edge.client().await;
        assert_eq!(idle.get(HOST, "/").await.header("connection"), None);
        let stop = tokio::spawn(edge.finish());
        eventually("the end of accepting", async || refuses(http).await.then_some(())).await;
        let last = idle.get(HOST, "/").await;
        assert_eq!((last.status(), last.header("connection")), (200, Some("close")));
        assert!(idle.closed().await);
        within("the router to end", stop).await.unwrap();
    }
}

/// ROUTER_HARD_STOP_AFTER ends a grace that is longer; streams of HTTP/2 that are left are cancelled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shut_1_the_hard_stop_ends_the_grace_and_cancels_streams() {
    let pod = Pod::start(|_| Act::Stall(Vec::new())).await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.timeouts.drain_grace = Duration::from_secs(3600);
        settings.timeouts.hard_stop = Some(Duration::from_millis(100));
    })
    .await;
    let mut client = Frames::connect(edge.http, &[]).await;
    client.send([frames::get(1, HOST, "/a"), frames::get(3, HOST, "/b")].concat()).await;
    eventually("both at the pod", async || (pod.attempts() == 2).then_some(())).await;
    let stop = tokio::spawn(edge.finish());
    let rest = client.rest().await;
    let resets = |frame: &&frames::Frame| frame.kind == frames::RST_STREAM;
    let mut cancelled: Vec<_> =
        rest.iter().filter(resets).map(|frame| (frame.stream, frame.code())).collect();
    cancelled.sort_unstable();
    assert_eq!(cancelled, [(1, frames::CANCEL), (3, frames::CANCEL)]);
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
