//! PROXY protocol on the traffic ports: required when it is on, and believed [LSN-3, FWD-4, FWD-5,
//! IPL-6].

use std::{net::SocketAddr, time::Duration};

use wharf::net::proxy_protocol::{write_v2, write_v2_local};

use crate::harness::{
    client::{self, Client},
    manifest::{With as _, app, edge as edge_route, route},
    pod::Pod,
    router::Edge,
    tls::{self, Hello, hello},
};

const HOST: &str = "a.example.com";

fn v2(source: &str, destination: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let address = |text: &str| text.parse().expect("an address");
    write_v2(&mut out, address(source), address(destination));
    out
}

async fn edge(pod: &Pod, route: serde_json::Value) -> Edge {
    Edge::with(&app(route, &[pod.address]), |settings| {
        settings.proxy_protocol = true;
        settings.timeouts.proxy_header = Duration::from_millis(300);
    })
    .await
}

/// The pod is told the addresses of the header, on both ports and in both versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fwd_4_5_the_header_is_who_the_client_is() {
    let own: SocketAddr = ([127, 0, 0, 1], 0).into();
    let mut local = Vec::new();
    write_v2_local(&mut local);
    let rows = [
        (v2("203.0.113.9:4321", "198.51.100.1:80"), "203.0.113.9", Some("80")),
        (v2("[2001:db8::7]:1", "[2001:db8::1]:443"), "2001:db8::7", Some("443")),
        (
            b"PROXY TCP4 203.0.113.9 198.51.100.1 4321 8080\r\n".to_vec(),
            "203.0.113.9",
            Some("8080"),
        ),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n".to_vec(), "2001:db8::7", Some("443")),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1", None),
        (local, "127.0.0.1", None),
    ];
    let own = own.ip().to_string();
    for (header, address, port) in rows {
        let pod = Pod::saying("pod").await;
        let policy = "/spec/tls/insecureEdgeTerminationPolicy";
        let edge = edge(&pod, edge_route("a", HOST, None).with(policy, "Allow")).await;
        let mut plain = edge.client().await;
        // In one packet with the request.
        plain.send([&header[..], client::get(HOST, "/").as_bytes()].concat()).await;
        assert_eq!(plain.response().await.status(), 200, "{address}");
        let mut secure = Client::connect(edge.https).await;
        for byte in &header {
            secure.send([*byte]).await;
        }
        let wanted = Hello { alpn: &[], ..hello(HOST) };
        let stream = tls::handshake(secure.stream, wanted).await.unwrap();
        assert_eq!(Client::over(stream).get(HOST, "/").await.status(), 200, "{address}");
        let ports = [edge.http, edge.https].map(|address| address.port().to_string());
        for (seen, own_port) in pod.seen().iter().zip(ports) {
            assert_eq!(seen.all("x-forwarded-for"), [address]);
            assert_eq!(seen.all("x-forwarded-port"), [port.unwrap_or(&own_port)]);
            let bracketed = format!("for=\"[{address}]\"");
            let expected = if address.contains(':') { bracketed } else { format!("for={address}") };
            assert!(seen.all("forwarded")[0].starts_with(&expected), "{seen:?}");
        }
        assert_eq!(pod.attempts(), 2);
        assert_eq!(own, "127.0.0.1");
    }
}

/// A version 2 header with this command, family and payload.
fn v2_raw(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short").to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family], &length, payload].concat()
}

/// [LSN-3] S-59: every kind of header on both ports: whose address counts, or that it is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_3_every_kind_of_header_on_both_ports() {
    const OWN: Option<&str> = Some("127.0.0.1");
    let v4 = [203, 0, 113, 9, 198, 51, 100, 1, 0x10, 0xe1, 0, 80];
    let mut v6 = [0; 36];
    (v6[0], v6[1], v6[15], v6[16], v6[31]) = (0x20, 0x01, 7, 0x20, 1);
    let field = |kind: u8, value: &[u8]| {
        let length = u16::try_from(value.len()).expect("short").to_be_bytes();
        [&[kind][..], &length, value].concat()
    };
    let more = |fields: &[u8]| v2_raw(1, 0x11, &[&v4[..], fields].concat());
    let mut wrong_sum = v2("203.0.113.9:4321", "198.51.100.1:80");
    wrong_sum[33] ^= 1;
    let rows: Vec<(&str, Vec<u8>, Option<&str>)> = vec![
        ("v1 TCP4", b"PROXY TCP4 203.0.113.9 198.51.100.1 4321 80\r\n".into(), Some("203.0.113.9")),
        ("v1 TCP6", b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n".into(), Some("2001:db8::7")),
        ("v1 mapped", b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 443\r\n".into(), Some("203.0.113.9")),
        ("v1 UNKNOWN", b"PROXY UNKNOWN\r\n".into(), OWN),
        ("v1 UNKNOWN with text", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".into(), None),
        ("v1 TCP4 with IPv6", b"PROXY TCP4 ::1 ::1 1 2\r\n".into(), None),
        ("v1 bare LF", b"PROXY UNKNOWN\n".into(), None),
        ("v2 LOCAL", v2_raw(0, 0, b""), OWN),
        ("v2 LOCAL with addresses", v2_raw(0, 0x11, &v4), OWN),
        ("v2 TCP4", v2_raw(1, 0x11, &v4), Some("203.0.113.9")),
        ("v2 TCP6", v2_raw(1, 0x21, &v6), Some("2001::7")),
        (
            "v2 with fields",
            more(&[field(4, &[0; 9]), field(0xea, b"\x01vpce-1")].concat()),
            Some("203.0.113.9"),
        ),
        ("v2 with checksum", v2("203.0.113.9:4321", "198.51.100.1:80"), Some("203.0.113.9")),
        ("v2 with wrong checksum", wrong_sum, None),
        ("v2 field over the end", more(&[4, 0, 9, 1]), None),
        ("v2 AF_UNSPEC", v2_raw(1, 0, b""), OWN),
        ("v2 UNIX", v2_raw(1, 0x31, &[0; 216]), None),
        ("v2 UDP", v2_raw(1, 0x12, &v4), None),
        ("v2 short", v2_raw(1, 0x11, &v4[..11]), None),
        ("v2 unknown command", v2_raw(2, 0x11, &v4), None),
        ("v2 too long", more(&field(4, &[0; 2100])), None),
        ("none", Vec::new(), None),
    ];
    let pod = Pod::saying("pod").await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let edge = edge(&pod, edge_route("a", HOST, None).with(policy, "Allow")).await;
    let mut refused = 0;
    for (what, header, client) in rows {
        for secure in [false, true] {
            let address = if secure { edge.https } else { edge.http };
            let mut stream = Client::connect(address).await;
            stream.send(&header).await;
            let answer = if secure {
                let wanted = Hello { alpn: &[], ..hello(HOST) };
                match tls::handshake(stream.stream, wanted).await {
                    Ok(stream) => Client::over(stream).get(HOST, "/").await.status(),
                    Err(_closed) => 0,
                }
            } else {
                stream.get(HOST, "/").await.status()
            };
            assert_eq!(answer, if client.is_some() { 200 } else { 0 }, "{what}");
            match client {
                Some(client) => {
                    let seen = pod.seen();
                    let seen = seen.last().expect("a request");
                    assert_eq!(seen.all("x-forwarded-for"), [client], "{what}");
                },
                None => refused += 1,
            }
        }
    }
    edge.has_reasons(&[("proxy_header", refused)]).await;
}

/// Without a header, or with a bad one, the connection is closed without an answer, for one reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_3_no_header_no_service() {
    let pod = Pod::saying("never").await;
    let edge = edge(&pod, route("a", HOST)).await;
    let mut bad_version = v2("203.0.113.9:4321", "198.51.100.1:80");
    bad_version[12] = 0x31;
    let rows: Vec<Vec<u8>> = vec![
        client::get(HOST, "/").into_bytes(),
        b"PROXY TCP4 999.0.0.1 198.51.100.1 1 2\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.9\r\n".to_vec(),
        b"\x16\x03\x01\x00\x05hello".to_vec(),
        bad_version,
        // Cut short: the limit ends it.
        v2("203.0.113.9:4321", "198.51.100.1:80")[..20].to_vec(),
        b"PROXY ".to_vec(),
        Vec::new(),
    ];
    let mut count = 0;
    for bytes in rows {
        for address in [edge.http, edge.https] {
            let mut client = Client::connect(address).await;
            client.send(&bytes).await;
            assert!(client.closed().await, "{bytes:?}");
            count += 1;
            edge.has_reasons(&[("proxy_header", count)]).await;
        }
    }
    assert_eq!(pod.attempts(), 0);
    let mut client = edge.client().await;
    client.send(v2("203.0.113.9:4321", "198.51.100.1:80")).await;
    assert_eq!(client.get(HOST, "/").await.status(), 200);
}

/// [IPL-6]: the allow list judges the header's source, whatever X-Forwarded-For says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipl_6_the_allow_list_judges_the_header() {
    let pod = Pod::saying("pod").await;
    let listed =
        route("a", HOST).annotated("haproxy.router.openshift.io/ip_allowlist", "203.0.113.0/24");
    let edge = edge(&pod, listed).await;
    for (source, allowed) in
        [("203.0.113.9:1", true), ("192.0.2.1:1", false), ("[::ffff:203.0.113.9]:1", true)]
    {
        let mut client = edge.client().await;
        let destination =
            if source.starts_with('[') { "[2001:db8::1]:80" } else { "198.51.100.1:80" };
        client.send(v2(source, destination)).await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n"))
            .await;
        let status = client.response().await.status();
        assert_eq!(status, if allowed { 200 } else { 0 }, "{source}");
    }
}

/// [LB-2]: with `balance: source` a client's address decides, and addresses spread over the pods.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lb_2_source_keeps_a_client_on_its_pod() {
    let (one, two) = (Pod::saying("one").await, Pod::saying("two").await);
    let by_source = route("a", HOST).annotated("haproxy.router.openshift.io/balance", "source");
    let edge = Edge::with(&app(by_source, &[one.address, two.address]), |settings| {
        settings.proxy_protocol = true;
    })
    .await;
    let mut seen = std::collections::BTreeSet::new();
    for host in 1..=32 {
        let mut answers = std::collections::BTreeSet::new();
        for port in 1..=4 {
            let mut client = edge.client().await;
            client.send(v2(&format!("203.0.113.{host}:{port}"), "198.51.100.1:80")).await;
            answers.insert(client.get(HOST, "/").await.text());
        }
        assert_eq!(answers.len(), 1, "203.0.113.{host}: {answers:?}");
        seen.extend(answers);
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
}
