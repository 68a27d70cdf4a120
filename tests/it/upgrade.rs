//! Upgrades: the tunnel both ways, what comes before it, and how it ends (decisions 8, 12; S-15).

use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    client::{self, Client},
    eventually,
    manifest::{With as _, app, edge as edge_route, route},
    pod::{Act, Pod, ok, raw},
    router::Edge,
    tls::{self, Hello, hello},
};

const HOST: &str = "a.example.com";
const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
      sec-websocket-accept: x\r\n\r\n";

fn handshake() -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"
    )
}

/// A pod that switches on `/ws` and says ok elsewhere.
async fn echo_pod() -> Pod {
    Pod::start(|seen| match seen.target() {
        "/ws" => Act::Tunnel(SWITCH.to_vec()),
        _ => ok("plain"),
    })
    .await
}

async fn edge(route: Value, pod: &Pod) -> Edge {
    Edge::start(&app(route, &[pod.address])).await
}

/// After the 101 bytes go both ways, over plain and TLS, small ones and a megabyte.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_is_a_tunnel() {
    let pod = echo_pod().await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let edge = edge(edge_route("a", HOST, None).with(policy, "Allow"), &pod).await;
    let mut plain = edge.client().await;
    plain.send(handshake()).await;
    let response = plain.response().await;
    assert_eq!(response.line, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("connection"), Some("upgrade"));
    assert_eq!(response.header("sec-websocket-accept"), Some("x"));
    let seen = pod.one();
    assert_eq!((seen.all("upgrade"), seen.all("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!(seen.all("sec-websocket-key"), ["k"]);
    for nth in 0_u32..100 {
        plain.send(nth.to_be_bytes()).await;
        assert_eq!(plain.bytes(4).await, nth.to_be_bytes());
    }
    let stream = tls::connect(edge.https, Hello { alpn: &[], ..hello(HOST) }).await.unwrap();
    let mut secure = Client::over(stream);
    secure.send(handshake()).await;
    assert_eq!(secure.response().await.status(), 101);
    let block = vec![7; 10_000];
    for _ in 0..100 {
        secure.send(&block).await;
        assert!(secure.bytes(block.len()).await == block);
    }
    drop((plain, secure));
    eventually("both tunnels to end", async || (pod.open() == 0).then_some(())).await;
    edge.is_quiet().await;
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// The pod ends the tunnel: the client sees the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pods_end_reaches_the_client() {
    let pod = Pod::start(|_| Act::Last([SWITCH, b"bye"].concat())).await;
    let edge = edge(route("a", HOST), &pod).await;
    let mut client = edge.client().await;
    client.send(handshake()).await;
    assert_eq!(client.response().await.status(), 101);
    assert_eq!(client.rest().await, b"bye");
    drop(client);
    edge.is_quiet().await;
}

/// A pod that does not switch gives an ordinary answer, and the connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_answer_than_101_is_an_answer() {
    let pod = Pod::start(|seen| match seen.target() {
        "/ws" => raw("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nupgrade: websocket\r\n\r\nno"),
        _ => ok("plain"),
    })
    .await;
    let edge = edge(route("a", HOST), &pod).await;
    let mut client = edge.client().await;
    client.send(handshake()).await;
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str()), (403, "no"));
    assert_eq!(response.header("upgrade"), None);
    assert_eq!(client.get(HOST, "/").await.text(), "plain");
}

/// RFC 9110 7.8: a client may offer several protocols, and a pod takes one of them or the switch is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_15_a_pod_takes_one_of_the_protocols_that_are_offered() {
    let pod = echo_pod().await;
    let edge = edge(route("a", HOST), &pod).await;
    for (offered, status) in [
        ("foo/2, WebSocket", 101),
        ("websocket,foo", 101),
        ("foo", 502),
        ("websocket/13, sock", 502),
    ] {
        let mut client = edge.client().await;
        client
            .send(handshake().replace("Upgrade: websocket", &format!("Upgrade: {offered}")))
            .await;
        assert_eq!(client.response().await.status(), status, "{offered}");
    }
    edge.has_reasons(&[("upstream_invalid", 2)]).await;
}

/// S-15: bytes behind the upgrade request reach the pod only after its 101, and never when there is
/// none: they are the next request then, or the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_15_early_bytes_wait_for_the_101() {
    let pod = echo_pod().await;
    let switching = edge(route("a", HOST), &pod).await;
    let mut client = switching.client().await;
    client.send([handshake().as_bytes(), b"early"].concat()).await;
    assert_eq!(client.response().await.status(), 101);
    assert_eq!(client.bytes(5).await, b"early");

    let refusing = Pod::start(|_| ok("no tunnel")).await;
    let edge = edge(route("a", HOST), &refusing).await;
    let mut client = edge.client().await;
    client.send([handshake().as_bytes(), b"\x81\x85hello frame"].concat()).await;
    assert_eq!(client.response().await.text(), "no tunnel");
    let rest = client.response().await;
    assert!(matches!(rest.status(), 0 | 400), "{rest:?}");
    assert!(client.closed().await);
    // A smuggled request is a request like any other: it is routed by its own Host.
    let mut client = edge.client().await;
    let smuggled = client::get("unknown.example.com", "/admin");
    client.send([handshake(), smuggled].concat()).await;
    assert_eq!(client.response().await.text(), "no tunnel");
    assert_eq!(client.response().await.status(), 503);
    assert_eq!(refusing.attempts(), 2);
    edge.finish().await;
    eventually("the pool to be closed", async || (refusing.open() == 0).then_some(())).await;
    assert_eq!(refusing.stray(), 0);
}

/// A tunnel in which nothing moves ends after the tunnel limit; the annotation wins [ANN-TMO-1].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_tunnel_ends() {
    let short = Duration::from_millis(150);
    let annotated =
        route("a", HOST).annotated("haproxy.router.openshift.io/timeout-tunnel", "150ms");
    for (route, tunnel) in [(route("a", HOST), short), (annotated, Duration::from_secs(3600))] {
        let pod = echo_pod().await;
        let edge = Edge::with(&app(route, &[pod.address]), |settings| {
            settings.timeouts.tunnel = tunnel;
        })
        .await;
        let mut client = edge.client().await;
        client.send(handshake()).await;
        assert_eq!(client.response().await.status(), 101);
        assert!(client.closed().await);
        eventually("the pod's side to end", async || (pod.open() == 0).then_some(())).await;
        edge.is_quiet().await;
    }
}

/// In a tunnel only the tunnel limit holds: the limits of requests do not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_limits_do_not_hold_in_a_tunnel() {
    let pod = echo_pod().await;
    let limit = Duration::from_millis(60);
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        let timeouts = &mut settings.timeouts;
        (timeouts.client, timeouts.server, timeouts.head) = (limit, limit, limit);
        timeouts.keep_alive = limit;
    })
    .await;
    let mut tunnel = edge.client().await;
    tunnel.send(handshake()).await;
    assert_eq!(tunnel.response().await.status(), 101);
    // Four connections, one after the other, are closed by the limits that the tunnel outlives.
    for _ in 0..4 {
        assert!(edge.client().await.closed().await);
    }
    tunnel.send("still here").await;
    assert_eq!(tunnel.bytes(10).await, b"still here");
}

/// Decisions 15: what is bulk in a plain tunnel moves inside the kernel, both ways at once; bytes
/// that came together with the heads are not lost on the way. Over TLS it is copied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulky_tunnel_is_spliced() {
    let pod = echo_pod().await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let edge = edge(edge_route("a", HOST, None).with(policy, "Allow"), &pod).await;
    let sent: Vec<u8> = (0..=250).cycle().take(5_000_000).collect();
    for plain in [true, false] {
        let before = wharf::net::splice::counts().bytes;
        let (head, body) = ([handshake().as_bytes(), &sent[..9]].concat(), sent[9..].to_vec());
        let got = if plain {
            bulk(edge.client().await.stream, head, body).await
        } else {
            let hello = Hello { alpn: &[], ..hello(HOST) };
            bulk(tls::connect(edge.https, hello).await.unwrap(), head, body).await
        };
        assert!(got == sent, "plain: {plain}");
        let spliced = wharf::net::splice::counts().bytes - before;
        if plain {
            assert!(spliced > 9_000_000, "{spliced}");
        }
    }
    edge.is_quiet().await;
}

/// Sends `head`, and `body` once the answer's head has come; what comes back behind that.
async fn bulk<S>(stream: S, head: Vec<u8>, body: Vec<u8>) -> Vec<u8>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    use tokio::io::AsyncWriteExt as _;
    let total = body.len() + 9;
    let (read, mut write) = tokio::io::split(stream);
    let mut reader = Client::over(tokio::io::join(read, tokio::io::sink()));
    write.write_all(&head).await.expect("an open tunnel");
    write.flush().await.expect("an open tunnel");
    assert_eq!(reader.head().await.status(), 101);
    let upload = tokio::spawn(async move {
        write.write_all(&body).await.expect("an open tunnel");
        write.flush().await.expect("an open tunnel");
        write
    });
    let got = reader.bytes(total).await;
    drop(upload.await.expect("an open tunnel"));
    got
}

/// [spec/route.md 13]: once the pod has closed, server-fin is what the client has left, and the other
/// way round client-fin; the hour of the tunnel limit no longer counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_closed_tunnel_ends_at_its_fin_limit() {
    let pod = Pod::start(|_| Act::Last(SWITCH.to_vec())).await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.timeouts.server_fin = Duration::from_millis(20);
        settings.timeouts.client_fin = Duration::from_secs(3600);
    })
    .await;
    let mut client = edge.client().await;
    client.send(handshake()).await;
    assert_eq!(client.response().await.status(), 101);
    assert!(client.closed().await, "the pod's end is passed on");
    edge.is_quiet().await;

    let pod = Pod::start(|_| Act::Stall(SWITCH.to_vec())).await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.timeouts.client_fin = Duration::from_millis(20);
        settings.timeouts.server_fin = Duration::from_secs(3600);
    })
    .await;
    let mut client = edge.client().await;
    client.send(handshake()).await;
    assert_eq!(client.response().await.status(), 101);
    tokio::io::AsyncWriteExt::shutdown(&mut client.stream).await.unwrap();
    edge.is_quiet().await;
    eventually("the pod's side to end", async || (pod.open() == 0).then_some(())).await;
}
