//! What is spoken with pods behind TLS: chosen by each pod, remembered, and never taken for granted.

use std::{sync::Arc, time::Duration};

use http::Request;
use tokio::sync::Semaphore;

use super::{BOTH, HOST, OLD, allow, authority, objects, over, pem, shown, with};
use crate::harness::{
    client::Client,
    eventually, h2pod,
    http2::{Http2, body},
    manifest::{With as _, app, edge as edge_route, reencrypt},
    pod,
    router::Edge,
    tls::{self, Hello, hello},
    tlspod::{Opening, TlsPod},
};

/// Front protocol and answer of a client that offers both.
async fn through(edge: &Edge, host: &'static str) -> (Option<String>, String) {
    let stream = tls::connect(edge.https, hello(host)).await.expect("a handshake");
    let front = tls::protocol(&stream);
    let text = if front.as_deref() == Some("h2") {
        let mut client = Http2::over(stream).await;
        let reply = client.get(&format!("https://{host}/")).await.expect("an answer");
        String::from_utf8(reply.body.to_vec()).expect("text")
    } else {
        Client::over(stream).get(host, "/").await.text()
    };
    (front, text)
}

/// [ALPN-4] [ALPN-5]: the client's side depends on the certificate, the pod's side on the pod; and
/// without HTTP/2 the pod is offered nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alpn_5_both_sides_choose_for_themselves() {
    let ours = authority();
    let plain = pod::Pod::saying("plain").await;
    let pods = [
        TlsPod::telling(shown(&ours, BOTH)).await,
        TlsPod::telling(shown(&ours, OLD)).await,
        TlsPod::telling(shown(&ours, &[])).await,
    ];
    let own = |name: &str, host: &str| {
        let pair = tls::pair(host);
        reencrypt(name, host, pem(&ours))
            .with("/spec/tls/certificate", pair.cert_pem)
            .with("/spec/tls/key", pair.key_pem)
    };
    let rows = [
        (own("a", HOST), Some("h2"), "h2 1 1", pods[0].address),
        (reencrypt("b", "b.example.com", pem(&ours)), None, "h2", pods[0].address),
        (own("c", "c.example.com"), Some("h2"), "h1 1 1", pods[1].address),
        (reencrypt("d", "d.example.com", pem(&ours)), None, "h1", pods[1].address),
        (own("e", "e.example.com"), Some("h2"), "h1 1 1", pods[2].address),
        (
            edge_route("f", "f.example.com", Some(&tls::pair("f.example.com"))),
            Some("h2"),
            "plain",
            plain.address,
        ),
        (edge_route("g", "g.example.com", None), None, "plain", plain.address),
    ];
    let all: Vec<_> =
        rows.iter().flat_map(|(route, _, _, pod)| app(route.clone(), &[*pod])).collect();
    let hosts = [
        HOST,
        "b.example.com",
        "c.example.com",
        "d.example.com",
        "e.example.com",
        "f.example.com",
        "g.example.com",
    ];
    let edge = over(&all).await;
    for (host, (_, front, text, _)) in hosts.into_iter().zip(&rows) {
        let (got, back) = through(&edge, host).await;
        assert_eq!(got.as_deref(), *front, "{host}");
        assert!(back.starts_with(text), "{host}: {back}");
    }
    assert_eq!(plain.seen().iter().filter(|seen| seen.method() == "GET").count(), 2);
    let seen = &pods[0].http2.seen()[0];
    assert_eq!(seen.url, format!("https://{HOST}/"), "RFC 9113 8.3.1: the scheme is that of TLS");

    let edge = with(&all, |settings| settings.disable_http2 = true).await;
    let (front, back) = through(&edge, HOST).await;
    assert_eq!(front, None);
    assert!(back.starts_with("h1"), "{back}");
    assert_eq!(pods[0].shaken().last().expect("a handshake").alpn, None, "nothing is offered");
}

/// A hundred requests at once, to a pod that nobody has met: one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_to_an_unknown_pod_makes_one_connection() {
    let ours = authority();
    let gate = Arc::new(Semaphore::new(0));
    let (config, held) = (shown(&ours, BOTH), Arc::clone(&gate));
    let pod = TlsPod::start(
        move |_| Opening::Tls(Arc::clone(&config)),
        |_| pod::ok("h1"),
        move |seen| h2pod::Act::After(Arc::clone(&held), Box::new(h2pod::ok(&seen.url))),
    )
    .await;
    let edge = over(&objects(&ours, &[&pod])).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    let requests: Vec<_> = (0..100)
        .map(|nth| {
            let request = Request::get(format!("http://{HOST}/{nth}")).body(body(""));
            tokio::spawn(client.start(request.expect("a request")))
        })
        .collect();
    eventually("a hundred streams", async || (pod.http2.attempts() == 100).then_some(())).await;
    gate.add_permits(100);
    for (nth, request) in requests.into_iter().enumerate() {
        let reply = request.await.expect("no panic").expect("an answer");
        assert_eq!(reply.body, format!("https://{HOST}/{nth}"));
    }
    assert_eq!((pod.connections(), pod.http2.most_streams()), (1, 100));
    assert_eq!(edge.count("a", |counters| &counters.connects), 1);
    assert_eq!(edge.count("a", |counters| &counters.reused), 99);
}

/// The same to a pod of HTTP/1.1: each gets a connection as soon as that is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_to_an_unknown_pod_of_http_1_is_served() {
    let ours = authority();
    let gate = Arc::new(Semaphore::new(0));
    let (config, held) = (shown(&ours, OLD), Arc::clone(&gate));
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let pod = TlsPod::start(
        move |_| Opening::Tls(Arc::clone(&config)),
        move |_| pod::Act::After(Arc::clone(&held), answer.to_vec()),
        |_| h2pod::ok("h2"),
    )
    .await;
    let edge = over(&objects(&ours, &[&pod])).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let request = Request::get(format!("http://{HOST}/")).body(body(""));
            tokio::spawn(client.start(request.expect("a request")))
        })
        .collect();
    eventually("twenty requests", async || (pod.http1.attempts() == 20).then_some(())).await;
    assert_eq!(pod.connections(), 20);
    gate.add_permits(20);
    for request in requests {
        assert_eq!(request.await.expect("no panic").expect("an answer").body, "ok");
    }
}

/// A pod that speaks something else on each connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_may_change_its_mind() {
    let ours = authority();
    let (new, old) = (shown(&ours, BOTH), shown(&ours, OLD));
    let pod = TlsPod::meeting(move |nth| {
        Opening::Tls(Arc::clone(if nth % 3 == 1 { &new } else { &old }))
    })
    .await;
    // Too old for a second request at once.
    let edge = with(&objects(&ours, &[&pod]), |settings| {
        settings.timeouts.pool_age = Duration::ZERO;
    })
    .await;
    for nth in 1..=9 {
        let wanted = if nth % 3 == 1 { format!("h2 {nth} 1") } else { format!("h1 {nth} 1") };
        assert_eq!(edge.get(HOST, "/").await.text(), wanted);
    }
    assert_eq!(pod.connections(), 9);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
      upgrade: websocket\r\n\r\n";

fn upgrade() -> String {
    format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: k\r\n\r\n"
    )
}

/// [spec/route.md 26.2]: an upgrade goes over HTTP/1.1, also to a pod that prefers HTTP/2, and does not
/// change how others go there; what is in the tunnel is copied, a lot of it, with clients on either port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_goes_over_http_1() {
    let ours = authority();
    let config = shown(&ours, BOTH);
    let pod = TlsPod::start(
        move |_| Opening::Tls(Arc::clone(&config)),
        |seen| match seen.target() {
            "/ws" => pod::Act::Tunnel(SWITCH.to_vec()),
            _ => pod::ok("h1"),
        },
        |_| h2pod::ok("h2"),
    )
    .await;
    let edge = over(&objects(&ours, &[&pod])).await;
    let mut plain = edge.client().await;
    assert_eq!(plain.get(HOST, "/").await.text(), "h2");
    plain.send(upgrade()).await;
    assert_eq!(plain.response().await.line, "HTTP/1.1 101 Switching Protocols");
    let stream = tls::connect(edge.https, Hello { alpn: &[], ..hello(HOST) }).await.unwrap();
    let mut secure = Client::over(stream);
    secure.send(upgrade()).await;
    assert_eq!(secure.response().await.status(), 101);
    for nth in 0..30 {
        let block = vec![nth; 50_000];
        plain.send(&block).await;
        secure.send(&block).await;
        assert!(plain.bytes(block.len()).await == block);
        assert!(secure.bytes(block.len()).await == block);
    }
    assert_eq!(edge.get(HOST, "/").await.text(), "h2");
    let alpn: Vec<_> = pod.shaken().into_iter().map(|shaken| shaken.alpn.unwrap()).collect();
    assert_eq!(alpn, ["h2", "http/1.1", "http/1.1"]);
    assert_eq!(pod.http1.seen()[0].all("upgrade"), ["websocket"]);
    drop((plain, secure));
    eventually("the tunnels to end", async || (pod.open() == 1).then_some(())).await;
    edge.is_quiet().await;
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// Reconnecting is cheap: the pod need not show its certificate again. Another pod's session is never
/// offered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_resumed_with_the_same_pod() {
    let ours = authority();
    for alpn in [BOTH, OLD] {
        let config = shown(&ours, alpn);
        let pods = [TlsPod::telling(Arc::clone(&config)).await, TlsPod::telling(config).await];
        let all = objects(&ours, &[&pods[0], &pods[1]]);
        let edge = with(&all, |settings| settings.timeouts.pool_age = Duration::ZERO).await;
        // Which pod a request goes to is chance.
        let mut asked = 0;
        while pods.iter().any(|pod| pod.shaken().len() < 2) {
            asked += 1;
            assert!(asked < 100, "one pod gets nothing");
            assert_eq!(edge.get(HOST, "/").await.status(), 200);
        }
        for pod in &pods {
            let resumed: Vec<bool> = pod.shaken().iter().map(|shaken| shaken.resumed).collect();
            assert!(!resumed[0], "{resumed:?}");
            assert!(resumed[1..].iter().all(|resumed| *resumed), "{resumed:?}");
        }
    }
}

/// [spec/route.md 10.4]: the plain port serves, redirects or hides a reencrypt route, and serves it
/// over the very connections to its pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_port_follows_the_insecure_policy() {
    let ours = authority();
    let pod = TlsPod::telling(shown(&ours, BOTH)).await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let hidden = reencrypt("a", HOST, pem(&ours));
    let redirected = reencrypt("b", "b.example.com", pem(&ours)).with(policy, "Redirect");
    let served = allow(reencrypt("c", "c.example.com", pem(&ours)));
    let all = [hidden, redirected, served].map(|route| app(route, &[pod.address])).concat();
    let edge = over(&all).await;
    assert_eq!(edge.get(HOST, "/").await.status(), 503);
    let redirect = edge.get("b.example.com", "/x").await;
    assert_eq!(redirect.status(), 302);
    assert_eq!(redirect.header("location"), Some("https://b.example.com/x"));
    assert_eq!(pod.connections(), 0);
    assert_eq!(edge.get("c.example.com", "/").await.text(), "h2 1 1");
    for host in [HOST, "b.example.com", "c.example.com"] {
        let (_, text) = through(&edge, host).await;
        assert!(text.starts_with("h2"), "{host}: {text}");
    }
    let seen = pod.http2.seen();
    assert_eq!(seen[0].headers["x-forwarded-proto"], "http");
    assert_eq!(seen[1].headers["x-forwarded-proto"], "https");
}
