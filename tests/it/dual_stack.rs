//! Several listeners and both address families [LSN-2] (F-45).

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::harness::{
    client::Client,
    manifest::{With as _, app, edge as edge_route, route},
    pod::Pod,
    router::Edge,
    tls::{self, Hello, hello},
};

const HOST: &str = "a.example.com";

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// [LSN-2, FWD-3]: every listener serves, over IPv4 and IPv6, plain and TLS; a pod is told the client's
/// address of either family.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_2_both_families_are_served() {
    let pod = Pod::saying("pod").await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let objects = app(edge_route("a", HOST, None).with(policy, "Allow"), &[pod.address]);
    let all = ["127.0.0.1:0", "[::1]:0", "127.0.0.2:0"].map(address);
    let edge = Edge::with(&objects, |settings| {
        (settings.http, settings.https) = (all.to_vec(), all.to_vec());
    })
    .await;
    assert_eq!((edge.router.http.len(), edge.router.https.len()), (3, 3));
    let rows =
        [("127.0.0.1", "for=127.0.0.1"), ("::1", "for=\"[::1]\""), ("127.0.0.1", "for=127.0.0.1")];
    for (nth, (client, forwarded)) in rows.into_iter().enumerate() {
        let mut plain = Client::connect(edge.router.http[nth]).await;
        assert_eq!(plain.get(HOST, "/").await.text(), "pod");
        let wanted = Hello { alpn: &[], ..hello(HOST) };
        let secure = tls::connect(edge.router.https[nth], wanted).await.expect("a handshake");
        assert_eq!(Client::over(secure).get(HOST, "/").await.text(), "pod");
        let seen = pod.seen();
        assert_eq!(seen.len(), 2 * (nth + 1));
        for seen in &seen[2 * nth..] {
            assert_eq!(seen.all("x-forwarded-for"), [client]);
            assert!(seen.all("forwarded")[0].starts_with(forwarded), "{seen:?}");
        }
    }
}

/// [LSN-2]: the IPv6 listener of v4v6 takes no IPv4, so that no client is a mapped one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_2_an_ipv6_listener_is_for_ipv6_alone() {
    let edge = Edge::with(&[], |settings| settings.http = vec![address("[::]:0")]).await;
    let port = edge.http.port();
    let v4 = TcpStream::connect(("127.0.0.1", port)).await;
    assert_eq!(v4.expect_err("refused").kind(), std::io::ErrorKind::ConnectionRefused);
    let mut client = Client::connect(SocketAddr::new(address("[::1]:1").ip(), port)).await;
    assert_eq!(client.get(HOST, "/").await.status(), 503);
}

/// [IPL-4, IPL-6] F-45: one allow list for both families, and for a mapped spelling of an entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_45_the_allow_list_knows_both_families() {
    let pod = Pod::saying("pod").await;
    for (list, v4, v6) in [
        ("127.0.0.1", 200, 0),
        ("::1", 0, 200),
        ("127.0.0.0/8 ::/0", 200, 200),
        ("::ffff:127.0.0.1", 200, 0),
    ] {
        let listed = route("a", HOST).annotated("haproxy.router.openshift.io/ip_allowlist", list);
        let edge = Edge::with(&app(listed, &[pod.address]), |settings| {
            settings.http = vec![address("127.0.0.1:0"), address("[::1]:0")];
        })
        .await;
        for (listener, status) in edge.router.http.iter().zip([v4, v6]) {
            let answer = Client::connect(*listener).await.get(HOST, "/").await;
            assert_eq!(answer.status(), status, "{list} {listener}");
        }
    }
}
