//! Every wait has an end (spec/route.md 13): limits of a tenth of a second where the limit is what
//! the test is about, limits of many seconds where it must not fire.

use std::{io::ErrorKind, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use wharf::settings::Timeouts;

use crate::harness::{
    client::{self, Client},
    eventually,
    http2::Http2,
    manifest::{With as _, app, edge as edge_route, route},
    pod::{Act, Pod, ok},
    router::Edge,
    tls::{self, Hello, hello},
    within,
};

const HOST: &str = "a.example.com";
const SHORT: Duration = Duration::from_millis(150);

async fn edge(route: Value, pod: &Pod, change: impl FnOnce(&mut Timeouts)) -> Edge {
    Edge::with(&app(route, &[pod.address]), |settings| change(&mut settings.timeouts)).await
}

/// A head that is not complete within ROUTER_SLOWLORIS_TIMEOUT: 408 and close (10.7), on the first
/// and on a later request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_head_gets_408() {
    let pod = Pod::saying("pod").await;
    let edge = edge(route("a", HOST), &pod, |timeouts| timeouts.head = SHORT).await;
    let mut first = edge.client().await;
    first.send("GET / HTTP/1.1\r\nHo").await;
    let mut later = edge.client().await;
    assert_eq!(later.get(HOST, "/").await.status(), 200);
    later.send("GET / HTTP/1.1\r\nHost: a\r\n").await;
    for client in [&mut first, &mut later] {
        let response = client.response().await;
        assert_eq!(response.status(), 408);
        assert_eq!(response.header("connection"), Some("close"));
        assert_eq!(response.header("cache-control"), Some("no-cache"));
        assert!(!response.cut);
        assert!(client.closed().await);
    }
    edge.has_reasons(&[("client_timeout", 2)]).await;
}

/// S-45: the limit is on the head as a whole: bytes that keep coming, far apart or close together, do
/// not extend it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_45_a_dribbled_head_gets_408() {
    let pod = Pod::saying("never").await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let route = edge_route("a", HOST, None).with(policy, "Allow");
    let edge = edge(route, &pod, |timeouts| timeouts.head = SHORT).await;
    let plain = TcpStream::connect(edge.http).await.unwrap();
    dribble(plain, "GET / HTTP/1.1\r\nX: ", b"x", SHORT / 5).await;
    let plain = TcpStream::connect(edge.http).await.unwrap();
    dribble(plain, "GET /", b"x", Duration::from_millis(1)).await;
    let secure = tls::connect(edge.https, Hello { alpn: &[], ..hello(HOST) }).await.unwrap();
    dribble(secure, "GET / HTTP/1.1\r\nHost: a.example.com\r\n", b"X: y\r\n", SHORT / 5).await;
    edge.has_reasons(&[("client_timeout", 3)]).await;
    assert_eq!(pod.attempts(), 0);
}

/// Sends `start`, and then `again` for as long as it can; the answer must be the 408 and the end.
async fn dribble<S>(stream: S, start: &str, again: &'static [u8], pause: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (read, mut write) = tokio::io::split(stream);
    write.write_all(start.as_bytes()).await.expect("it is taken");
    let more = tokio::spawn(async move {
        while write.write_all(again).await.is_ok() && write.flush().await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    let mut client = Client::over(tokio::io::join(read, tokio::io::sink()));
    assert_eq!(client.response().await.status(), 408);
    assert!(client.closed().await);
    within("the writer to notice", more).await.expect("no panic");
}

/// A connection that never says anything is closed within the same limit.
/// [LSN-4]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_closed() {
    let pod = Pod::saying("pod").await;
    let edge = edge(route("a", HOST), &pod, |timeouts| {
        timeouts.head = SHORT;
        timeouts.inspect = SHORT;
    })
    .await;
    assert!(edge.client().await.closed().await);
    assert!(Client::connect(edge.https).await.closed().await);
    edge.has_reasons(&[("client_timeout", 1), ("tls_handshake", 1)]).await;
}

/// Between two requests only the keep-alive limit holds, and it closes without a word [TMO-2].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tmo_2_an_idle_connection_is_closed_silently() {
    let pod = Pod::saying("pod").await;
    let edge = edge(route("a", HOST), &pod, |timeouts| timeouts.keep_alive = SHORT).await;
    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.status(), 200);
    assert!(client.closed().await);
    let mut client = Http2::over(edge.client().await.stream).await;
    assert_eq!(client.get("http://a.example.com/").await.unwrap().status, 200);
    let _closed = client.ended().await;
    edge.is_quiet().await;
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// The head limit counts from the first byte of a head: a connection between two requests, and one
/// whose answer takes its time, outlive it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_head_limit_does_not_hold_after_the_head() {
    let pod = Pod::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n".to_vec();
        // Longer than the limit as a whole.
        Act::Slowly(SHORT / 4, head, b"whole".to_vec())
    })
    .await;
    let edge = edge(route("a", HOST), &pod, |timeouts| timeouts.head = SHORT).await;
    let mut client = edge.client().await;
    for _ in 0..2 {
        assert_eq!(client.get(HOST, "/").await.text(), "whole");
    }
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// A body that stops coming: 400 if nothing was answered yet (spec/route.md 26.1), and close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_body_ends() {
    let pod = Pod::saying("never").await;
    let edge = edge(route("a", HOST), &pod, |timeouts| timeouts.client = SHORT).await;
    let mut client = edge.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: 10\r\n\r\nhalf")).await;
    let response = client.response().await;
    assert_eq!(response.status(), 400, "{response:?}");
    assert!(client.closed().await);
    edge.has_reasons(&[("client_timeout", 1)]).await;
    eventually("the pod's connection to end", async || (pod.open() == 0).then_some(())).await;
    assert_eq!(pod.attempts(), 0, "the pod never had a whole request");
}

/// A client that takes nothing is closed once a write has made no progress for the client limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_ends() {
    let pod = Pod::start(|_| ok(vec![0; 20_000_000])).await;
    let edge = edge(route("a", HOST), &pod, |timeouts| timeouts.client = SHORT).await;
    let mut stream = TcpStream::connect(edge.http).await.unwrap();
    stream.write_all(client::get(HOST, "/").as_bytes()).await.unwrap();
    eventually("the request at the pod", async || (pod.attempts() == 1).then_some(())).await;
    edge.is_quiet().await;
    eventually("the pod's connection to end", async || (pod.open() == 0).then_some(())).await;
    edge.has_reasons(&[("client_timeout", 1)]).await;
    let mut client = Client::over(stream);
    assert!(client.response().await.cut);
}

/// S-48: a stalled reader is reset, so that nobody keeps for it what it did not take; on TLS as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_48_a_stalled_reader_is_reset() {
    let pod = Pod::start(|_| ok(vec![0; 20_000_000])).await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let route = edge_route("a", HOST, None).with(policy, "Allow");
    let edge = edge(route, &pod, |timeouts| timeouts.client = SHORT).await;
    let mut plain = TcpStream::connect(edge.http).await.unwrap();
    plain.write_all(client::get(HOST, "/").as_bytes()).await.unwrap();
    let mut secure = tls::connect(edge.https, Hello { alpn: &[], ..hello(HOST) }).await.unwrap();
    secure.write_all(client::get(HOST, "/").as_bytes()).await.unwrap();
    edge.has_reasons(&[("client_timeout", 2)]).await;
    edge.is_quiet().await;
    let mut taken = Vec::new();
    let ends = [
        within("the plain end", plain.read_to_end(&mut taken)).await,
        within("the end on TLS", secure.read_to_end(&mut taken)).await,
    ];
    for end in ends {
        assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    }
    assert!(taken.len() < 2 * 20_000_000);
}

/// A pod that falls silent: 504 before its head, a cut after it; the route's annotation wins over the
/// router's limit [ANN-TMO-1].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_pod_is_cut() {
    let annotated = route("a", HOST).annotated("haproxy.router.openshift.io/timeout", "150ms");
    for (route, server) in [(route("a", HOST), SHORT), (annotated, Duration::from_secs(60))] {
        let pod = Pod::start(|seen| match seen.target() {
            "/body" => Act::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()),
            _ => Act::Stall(Vec::new()),
        })
        .await;
        let edge = edge(route, &pod, |timeouts| timeouts.server = server).await;
        assert_eq!(edge.get(HOST, "/head").await.status(), 504);
        let response = edge.get(HOST, "/body").await;
        assert_eq!((response.status(), response.text().as_str()), (200, "half"));
        assert!(response.cut);
        edge.has_reasons(&[("upstream_timeout", 2)]).await;
        eventually("the pod's connections to end", async || (pod.open() == 0).then_some(())).await;
    }
}

/// [TMO-1]: limits are about silence, not about the whole: a pod that keeps sending is never cut,
/// however long it takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tmo_1_a_slow_but_steady_pod_is_not_cut() {
    let pod = Pod::start(|_| {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n".to_vec();
        Act::Slowly(Duration::from_millis(30), head, vec![b'x'; 50])
    })
    .await;
    let limit = Duration::from_secs(1);
    let edge = edge(route("a", HOST), &pod, |timeouts| {
        (timeouts.server, timeouts.client, timeouts.head) = (limit, limit, limit);
        timeouts.keep_alive = limit;
    })
    .await;
    let response = edge.get(HOST, "/").await;
    assert_eq!((response.body.len(), response.cut), (50, false));
}

/// [TMO-1], the other direction: a body that keeps coming is never cut, neither for its client nor for the
/// pod that waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tmo_1_a_slow_but_steady_upload_is_not_cut() {
    let pod = Pod::saying("whole").await;
    let limit = Duration::from_millis(600);
    let edge = edge(route("a", HOST), &pod, |timeouts| {
        (timeouts.server, timeouts.client, timeouts.head) = (limit, limit, limit);
        timeouts.keep_alive = limit;
    })
    .await;
    let mut client = edge.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: 50\r\n\r\n")).await;
    for _ in 0..50 {
        client.send("x").await;
        tokio::time::sleep(limit / 20).await;
    }
    assert_eq!(client.response().await.text(), "whole");
    assert_eq!(pod.seen()[0].body.len(), 50);
}

/// The client's limit does not run while the pod works on the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_limits_rest_while_the_pod_works() {
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let gate = std::sync::Arc::clone(&permits);
    let pod = Pod::start(move |_| {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone".to_vec();
        Act::After(std::sync::Arc::clone(&gate), answer)
    })
    .await;
    let limit = Duration::from_millis(50);
    let edge = edge(route("a", HOST), &pod, |timeouts| {
        (timeouts.client, timeouts.head, timeouts.keep_alive) = (limit, limit, limit);
    })
    .await;
    let mut waiting = edge.client().await;
    waiting.send(client::get(HOST, "/")).await;
    eventually("the request at the pod", async || (pod.attempts() == 1).then_some(())).await;
    // A second connection is closed by the very limits that must not touch the first.
    assert!(within("the idle one", edge.client().await.closed()).await);
    permits.add_permits(1);
    assert_eq!(waiting.response().await.text(), "done");
}

/// [LSN-8] quirk 9: on a TLS route, too, the route's own timeout counts; OpenShift would end the
/// connection at its limit for tunnels, which has passed here when the pod answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_8_a_tls_route_may_take_longer_than_the_tunnel_limit() {
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let gate = std::sync::Arc::clone(&permits);
    let pod = Pod::start(move |seen| match seen.target() {
        "/ws" => Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n"
                .to_vec(),
        ),
        _ => {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate".to_vec();
            Act::After(std::sync::Arc::clone(&gate), answer)
        },
    })
    .await;
    let route = edge_route("a", HOST, None).annotated("haproxy.router.openshift.io/timeout", "1h");
    let edge = edge(route, &pod, |timeouts| {
        (timeouts.tunnel, timeouts.server, timeouts.client) = (SHORT, SHORT, SHORT);
    })
    .await;
    let connect = async || {
        let stream = tls::connect(edge.https, Hello { alpn: &[], ..hello(HOST) }).await;
        Client::over(stream.expect("a handshake"))
    };
    let mut slow = connect().await;
    slow.send(client::get(HOST, "/slow")).await;
    eventually("the request at the pod", async || (pod.attempts() == 1).then_some(())).await;
    // A tunnel that begins later is ended by that limit first.
    let mut tunnel = connect().await;
    tunnel
        .send(format!(
            "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
        ))
        .await;
    assert_eq!(tunnel.response().await.status(), 101);
    assert!(tunnel.closed().await);
    permits.add_permits(1);
    assert_eq!(slow.response().await.text(), "late");
}
