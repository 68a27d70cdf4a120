//! Which route answers a request: the table against its oracle, and what clients see of it
//! (spec/route.md 10.1 to 10.4).

mod oracle;
mod property;

use std::{net::SocketAddr, sync::Arc};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use wharf::{
    backend::{self, Identity},
    tls::mint::Pair,
};

use crate::harness::{
    client::Client,
    http2::Http2,
    manifest::{With as _, edge, route, service},
    pod::{Pod, ok},
    router::Edge,
    tls::{self, Hello, certificates, chain, hello},
};

const POLICY: &str = "/spec/tls/insecureEdgeTerminationPolicy";

/// The table of spec/route.md 10.4, with [MATCH-13] and [MATCH-14]: what each kind of route answers
/// on the plain and on the TLS port. The SNI is of no route: after the handshake only the host counts
/// [MATCH-15].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_13_14_15_reachability_of_each_kind_on_each_port() {
    let pod = Pod::saying("pod").await;
    let mut objects = service("a", &[pod.address]);
    let to_a = |route: Value| route.with("/spec/to/name", "a");
    objects.extend([
        to_a(route("plain", "plain.example.com")),
        to_a(edge("none", "none.example.com", None)),
        to_a(edge("none2", "none2.example.com", None).with(POLICY, "None")),
        to_a(edge("allow", "allow.example.com", None).with(POLICY, "Allow")),
        to_a(edge("redirect", "redirect.example.com", None).with(POLICY, "Redirect")),
        // One host, several routes.
        to_a(edge("m1", "mixed.example.com", None).with(POLICY, "Redirect"))
            .with("/spec/path", "/a"),
        to_a(route("m2", "mixed.example.com")).with("/spec/path", "/a/b"),
        to_a(edge("m3", "mixed.example.com", None)).with("/spec/path", "/tls"),
    ]);
    let rows = [
        ("plain.example.com", "/", 200, 503),
        ("none.example.com", "/", 503, 200),
        ("none2.example.com", "/", 503, 200),
        ("allow.example.com", "/", 200, 200),
        ("redirect.example.com", "/", 302, 200),
        ("mixed.example.com", "/a", 302, 200),
        ("mixed.example.com", "/a/x", 302, 200),
        ("mixed.example.com", "/a/b", 200, 200),
        ("mixed.example.com", "/a/b/c", 200, 200),
        ("mixed.example.com", "/tls", 503, 200),
        ("mixed.example.com", "/", 503, 503),
    ];
    let edge = Edge::start(&objects).await;
    for (host, path, plain, secure) in rows {
        assert_eq!(edge.get(host, path).await.status(), plain, "{host}{path} plain");
        let stream = tls::connect(edge.https, hello("x.example.com")).await.unwrap();
        let response = Client::over(stream).get(host, path).await;
        assert_eq!(response.status(), secure, "{host}{path} TLS");
    }
}

/// A pod that speaks TLS with `pair`, until the token is dropped.
async fn tls_pod(pair: &Pair) -> (SocketAddr, DropGuard) {
    let config = backend::server_config(pair.cert_pem.as_bytes(), pair.key_pem.as_bytes());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let cancel = CancellationToken::new();
    let identity = Identity::new("secure", "app");
    let config = Some(Arc::new(config.expect("a configuration")));
    tokio::spawn(backend::serve(listener, identity, config, cancel.clone()));
    (address, cancel.drop_guard())
}

/// The rows of spec/route.md 10.4 for routes whose pods speak TLS. Whether the client meets the pod's
/// certificate tells passthrough from termination.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_13_reachability_of_reencrypt_and_passthrough() {
    let pair = tls::pair("pods.example.com");
    let (address, _pod) = tls_pod(&pair).await;
    let mut objects = service("a", &[address]);
    let kind = |name: &str, host: &str, termination: &str, policy: &str| {
        let route = edge(name, host, None)
            .with("/spec/to/name", "a")
            .with("/spec/tls/termination", termination);
        let route = match termination {
            "reencrypt" => route.with("/spec/tls/destinationCACertificate", pair.cert_pem.as_str()),
            _ => route,
        };
        if policy.is_empty() { route } else { route.with(POLICY, policy) }
    };
    let rows = [
        ("r-unset.example.com", "reencrypt", "", 503, false),
        ("r-none.example.com", "reencrypt", "None", 503, false),
        ("r-allow.example.com", "reencrypt", "Allow", 200, false),
        ("r-redirect.example.com", "reencrypt", "Redirect", 302, false),
        ("p-unset.example.com", "passthrough", "", 503, true),
        ("p-none.example.com", "passthrough", "None", 503, true),
        ("p-redirect.example.com", "passthrough", "Redirect", 302, true),
    ];
    for (host, termination, policy, ..) in rows {
        objects.push(kind(host, host, termination, policy));
    }
    let router = Edge::start(&objects).await;
    for (host, _, _, plain, passed) in rows {
        assert_eq!(router.get(host, "/").await.status(), plain, "{host} plain");
        let wanted = Hello { alpn: &["http/1.1"], ..hello(host) };
        let stream = tls::connect(router.https, wanted).await.unwrap();
        assert_eq!(chain(&stream) == certificates(&pair.cert_pem), passed, "{host}");
        assert_eq!(Client::over(stream).get(host, "/").await.status(), 200, "{host} TLS");
    }
}

/// [MATCH-1..9] with spec/route.md 26.1 and 26.2, over the wire: hosts and raw paths that match and
/// that do not; the pod sees the host in lower case, and the target as it came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_1_2_hosts_and_raw_paths() {
    let pod = Pod::start(|seen| {
        let host = seen.all("host").join("+");
        ok(format!("{host} {}", seen.target()))
    })
    .await;
    let mut objects = service("a", &[pod.address]);
    let to_a = |route: Value| route.with("/spec/to/name", "a");
    objects.extend([
        to_a(route("root", "a.example.com")).with("/spec/path", "/"),
        to_a(route("sub", "b.example.com")).with("/spec/path", "/sub"),
        to_a(route("slash", "c.example.com")).with("/spec/path", "/sub/"),
        to_a(route("wild", "any.w.test")).with("/spec/wildcardPolicy", "Subdomain"),
    ]);
    let edge = Edge::with(&objects, |settings| settings.allow_wildcard_routes = true).await;
    let (served, nowhere, refused) = (200, 503, 400);
    let rows = [
        ("a.example.com", "/", served),
        ("A.Example.Com", "/", served),
        ("a.example.com.", "/x", served),
        ("a.example.com:1", "/x", served),
        ("a.example.com.:8080", "/x", served),
        ("a.example.com:65536", "/x", served),
        ("a.example.com:", "/", nowhere),
        ("a.example.com:http", "/", nowhere),
        ("a.example.com..", "/", nowhere),
        ("xa.example.com", "/", nowhere),
        ("aXexample.com", "/", nowhere),
        ("user@a.example.com", "/", refused),
        ("a.example.com, b.example.com", "/", refused),
        ("a.example.com,", "/", refused),
        // Paths are compared and passed on as they come.
        ("b.example.com", "/sub", served),
        ("b.example.com", "/sub?a=/x", served),
        ("b.example.com", "/sub/%2e%2E/./..//x", served),
        ("b.example.com", "/SUB", nowhere),
        ("b.example.com", "/subpar", nowhere),
        ("b.example.com", "/sub;v=1", nowhere),
        ("b.example.com", "/%73ub", nowhere),
        ("b.example.com", "/sub%2fx", nowhere),
        ("b.example.com", "//sub", nowhere),
        ("b.example.com", "/./sub", nowhere),
        ("b.example.com", "/x/../sub", nowhere),
        ("b.example.com", "/?/sub", nowhere),
        ("b.example.com", "/sub#x", refused),
        ("c.example.com", "/sub", nowhere),
        ("c.example.com", "/sub/", served),
        ("c.example.com", "/sub//x", served),
        ("any.w.test", "/", served),
        ("other.w.test:80", "/", served),
        (".w.test", "/", served),
        ("w.test", "/", nowhere),
        ("x.any.w.test", "/", nowhere),
    ];
    for (host, target, status) in rows {
        let response = edge.get(host, target).await;
        assert_eq!(response.status(), status, "{host} {target}");
        if status == served {
            let seen = format!("{} {target}", host.to_ascii_lowercase());
            assert_eq!(response.text(), seen);
        }
    }
    // An absolute target goes on in origin form; its host must be that of `Host`, but for the port.
    for (target, host, status, seen) in [
        ("http://b.example.com/sub", "b.example.com", served, "/sub"),
        ("http://B.example.com:81/sub?x", "b.example.com", served, "/sub?x"),
        ("http://b.example.com/", "b.example.com", nowhere, ""),
        ("http://b.example.com/sub", "a.example.com", refused, ""),
    ] {
        let response = edge.get(host, target).await;
        assert_eq!(response.status(), status, "{host} {target}");
        if status == served {
            assert_eq!(response.text(), format!("b.example.com {seen}"));
        }
    }
}

/// [MATCH-1]: `Host` more than once, or not at all (spec/route.md 26.3).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_1_one_host_field() {
    let pod = Pod::saying("pod").await;
    let mut objects = service("a", &[pod.address]);
    objects.push(route("a", "a.example.com"));
    let edge = Edge::start(&objects).await;
    let a = "Host: a.example.com\r\n";
    for (version, fields, status) in [
        ("1.1", a.to_owned(), 200),
        ("1.1", format!("{a}Host: b.example.com\r\n"), 400),
        ("1.1", format!("Host: b.example.com\r\n{a}"), 400),
        ("1.1", a.repeat(2), 400),
        ("1.1", String::new(), 400),
        ("1.0", a.to_owned(), 200),
        // Without a host no route matches.
        ("1.0", String::new(), 503),
    ] {
        let mut client = edge.client().await;
        client.send(format!("GET / HTTP/{version}\r\n{fields}\r\n")).await;
        assert_eq!(client.response().await.status(), status, "{version} {fields}");
    }
}

/// The same key on HTTP/2, where the host is in `:authority`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_2_http2_has_the_same_key() {
    let pod = Pod::start(|seen| ok(seen.target())).await;
    let mut objects = service("a", &[pod.address]);
    objects
        .push(route("sub", "b.example.com").with("/spec/path", "/sub").with("/spec/to/name", "a"));
    let edge = Edge::start(&objects).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    for (url, status) in [
        ("http://B.example.com:81/sub/x?y", 200),
        ("http://b.example.com./sub", 200),
        ("http://b.example.com/%73ub", 503),
        ("http://b.example.com//sub", 503),
        ("http://b.example.com/", 503),
    ] {
        assert_eq!(client.get(url).await.unwrap().status.as_u16(), status, "{url}");
    }
}
