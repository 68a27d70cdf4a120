//! Passthrough routes: which connections a pod takes as they are, and what comes before the first byte
//! reaches it (spec/route.md 9, 11.1, 15).

mod hellos;
mod metering;
mod rates;
mod relay;
mod tries;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use wharf::tls::mint::Pair;

use crate::harness::{
    client::{self, Client},
    eventually,
    manifest::{With as _, app, edge as edge_route, route, service},
    pod::Pod,
    router::Edge,
    tls::{self, Hello, hello},
    within,
};

const HOST: &str = "pass.example.com";

/// A passthrough Route to the Service of the same name.
fn pass(name: &str, host: &str) -> Value {
    route(name, host).with("/spec/tls/termination", "passthrough")
}

/// A pod whose connections are the test's own.
#[derive(Debug)]
struct Wire {
    address: SocketAddr,
    listener: TcpListener,
}

impl Wire {
    async fn bound() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self { address: listener.local_addr().expect("bound"), listener }
    }

    /// The next connection.
    async fn next(&self) -> Client<TcpStream> {
        let accepted = within("a connection to the pod", self.listener.accept()).await;
        Client::over(accepted.expect("a connection").0)
    }

    /// True when nobody is waiting to be accepted.
    async fn is_untouched(&self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.listener.accept()).await.is_err()
    }
}

/// A pod that speaks TLS and answers every request on it with its text.
#[derive(Debug)]
struct TlsPod {
    address: SocketAddr,
    pair: Pair,
    task: JoinHandle<()>,
}

impl TlsPod {
    async fn saying(text: &'static str) -> Self {
        let pair = tls::pair(HOST);
        let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("a key");
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider's versions")
            .with_no_client_auth()
            .with_single_cert(tls::certificates(&pair.cert_pem), key)
            .expect("a pair");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tasks.spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut buffer = [0; 4096];
                    // Requests of the tests come in one piece.
                    while stream.read(&mut buffer).await.is_ok_and(|count| count > 0) {
                        let length = text.len();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{text}");
                        if stream.write_all(answer.as_bytes()).await.is_err()
                            || stream.flush().await.is_err()
                        {
                            return;
                        }
                    }
                    let _gone = stream.shutdown().await;
                });
            }
        });
        Self { address, pair, task }
    }
}

impl Drop for TlsPod {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The bytes that a TLS client sends first.
fn said(name: Option<&str>) -> Vec<u8> {
    let length16 = |data: &[u8]| u16::try_from(data.len()).expect("short").to_be_bytes();
    let vector = |data: &[u8]| [&length16(data)[..], data].concat();
    let mut extensions = vec![0x1a, 0x1a, 0, 0];
    if let Some(name) = name {
        let entry = [&[0][..], &vector(name.as_bytes())].concat();
        extensions.extend([&[0, 0][..], &vector(&vector(&entry))].concat());
    }
    extensions.extend([&[0xfe, 0x0d][..], &vector(&[7; 100])].concat());
    let mut body = [&[3, 1][..], &[9; 32], &[0], &[0, 2, 0, 0x2f], &[1, 0]].concat();
    body.extend(vector(&extensions));
    let length = u32::try_from(body.len()).expect("short").to_be_bytes();
    let message = [&[1][..], &length[1..], &body].concat();
    [&[22, 3, 1][..], &vector(&message)].concat()
}

/// What `host` answers on the TLS port, and whose certificate it shows.
async fn ask(edge: &Edge, hello: Hello, host: &str) -> (String, bool, Vec<u8>) {
    let stream = tls::connect(edge.https, hello).await.expect("a handshake");
    let certificate = tls::chain(&stream)[0].to_vec();
    let response = Client::over(stream).get(host, "/").await;
    (response.text(), response.status() == 503, certificate)
}

/// [LSN-5, SNI-1, SNI-2, MATCH-14]: a name of a passthrough route goes to its pod, whatever else is
/// served here; the exact host of an edge route beats a wildcard (quirk 14); nobody's names end here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_5_every_name_goes_its_own_way() {
    let (tls_pod, wild_pod) = (TlsPod::saying("passed").await, TlsPod::saying("wild").await);
    let plain_pod = Pod::saying("edge").await;
    let pair = tls::pair("edge.wild.example.com");
    let wildcard = pass("wild", "www.wild.example.com").with("/spec/wildcardPolicy", "Subdomain");
    let objects = [
        app(pass("pass", HOST), &[tls_pod.address]),
        app(wildcard, &[wild_pod.address]),
        app(edge_route("edge", "edge.wild.example.com", Some(&pair)), &[plain_pod.address]),
    ]
    .concat();
    let edge = Edge::with(&objects, |settings| settings.allow_wildcard_routes = true).await;
    let der = |pair: &Pair| tls::certificates(&pair.cert_pem)[0].to_vec();
    let (of_pod, of_wild, of_edge) = (der(&tls_pod.pair), der(&wild_pod.pair), der(&pair));
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for (name, text, certificate) in [
            (HOST, "passed", Some(&of_pod)),
            ("any.wild.example.com", "wild", Some(&of_wild)),
            ("edge.wild.example.com", "edge", Some(&of_edge)),
        ] {
            let hello = Hello { alpn: &["http/1.1"], version, ..hello(name) };
            let (answer, page, shown) = ask(&edge, hello, name).await;
            assert_eq!((answer.as_str(), page), (text, false), "{name}");
            assert_eq!(Some(&shown), certificate, "{name}");
        }
        for sni in [Some("nobody.example.com"), Some("a.b.wild.example.com"), None] {
            let hello = Hello { sni, alpn: &[], version };
            let (_, page, shown) = ask(&edge, hello, HOST).await;
            assert!(page, "{sni:?}: a passthrough route is not reached by Host");
            assert!(![&of_pod, &of_wild, &of_edge].contains(&&shown), "{sni:?}: the default");
        }
    }
}

/// [SNI-3]: every byte reaches the pod as it came and none is added, from the hello on; the same the
/// other way round. Names in upper case are the same names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sni_3_bytes_pass_as_they_are() {
    let wire = Wire::bound().await;
    let edge = Edge::start(&app(pass("pass", HOST), &[wire.address])).await;
    for name in [HOST, "PASS.Example.COM"] {
        let first = said(Some(name));
        let mut client = Client::connect(edge.https).await;
        client.send([&first[..], b"and what is early"].concat()).await;
        let mut pod = wire.next().await;
        assert_eq!(pod.bytes(first.len()).await, first);
        assert_eq!(pod.bytes(17).await, b"and what is early");
        for nth in 0_u32..50 {
            pod.send(nth.to_be_bytes()).await;
            assert_eq!(client.bytes(4).await, nth.to_be_bytes());
            client.send(nth.to_le_bytes()).await;
            assert_eq!(pod.bytes(4).await, nth.to_le_bytes());
        }
        drop(client);
        assert!(pod.closed().await);
    }
    edge.is_quiet().await;
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// [MATCH-13, REDIR-1] the row of 10.4: on the plain port a passthrough route is unknown, or redirects.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plain_port_knows_passthrough_only_to_redirect() {
    let wire = Wire::bound().await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let objects = [
        app(pass("none", "none.example.com"), &[wire.address]),
        app(pass("moved", "moved.example.com").with(policy, "Redirect"), &[wire.address]),
    ]
    .concat();
    let edge = Edge::start(&objects).await;
    let page = edge.get("none.example.com", "/x").await;
    assert_eq!(page.line, "HTTP/1.0 503 Service Unavailable");
    let moved = edge.get("moved.example.com", "/x?y=%2F").await;
    assert_eq!(moved.status(), 302);
    assert_eq!(moved.header("location"), Some("https://moved.example.com/x?y=%2F"));
    edge.has_reasons(&[("no_path", 1), ("redirect", 1)]).await;
    assert!(wire.is_untouched().await);
}

/// [NOMATCH-5]: without an endpoint that could be asked, the connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomatch_5_without_an_endpoint_the_connection_is_closed() {
    let (one, two) = (Wire::bound().await, Wire::bound().await);
    let mut objects = app(pass("none", "none.example.com"), &[]);
    objects.extend(app(pass("down", "down.example.com"), &[one.address, two.address]));
    objects.push(pass("lost", "lost.example.com"));
    let edge = Edge::start(&objects).await;
    edge.route("down", |state| {
        let backend = &state.compiled.as_ref().expect("served").backend;
        backend.servers.iter().for_each(|server| server.peer.set_up(false));
    });
    for name in ["none.example.com", "lost.example.com", "down.example.com"] {
        let mut client = Client::connect(edge.https).await;
        client.send(said(Some(name))).await;
        assert!(client.closed().await, "{name}");
    }
    edge.has_reasons(&[("no_endpoints", 2), ("all_unhealthy", 1)]).await;
    assert!(one.is_untouched().await && two.is_untouched().await);
    edge.is_quiet().await;
}

/// [IPL-7]: who is not on the list is closed before the pod hears of him.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipl_7_the_allow_list_of_a_passthrough_route() {
    let wire = Wire::bound().await;
    let listed =
        |list| pass("pass", HOST).annotated("haproxy.router.openshift.io/ip_allowlist", list);
    let edge = Edge::start(&app(listed("192.0.2.0/24"), &[wire.address])).await;
    let mut client = Client::connect(edge.https).await;
    client.send(said(Some(HOST))).await;
    assert!(client.closed().await);
    edge.has_reasons(&[("denied_allowlist", 1)]).await;
    assert!(wire.is_untouched().await);
    edge.write("main.yaml", &app(listed("192.0.2.0/24 127.0.0.1"), &[wire.address]));
    edge.until("the new list", |snapshot| snapshot.generation > 1).await;
    let mut client = Client::connect(edge.https).await;
    client.send(said(Some(HOST))).await;
    let mut pod = wire.next().await;
    assert_eq!(pod.bytes(1).await, [22]);
}

/// Routes of either kind come and go by edits, and each is found from the next connection on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_changes_who_ends_tls() {
    let (tls_pod, plain_pod) = (TlsPod::saying("passed").await, Pod::saying("edge").await);
    let edge = Edge::start(&app(edge_route("it", HOST, None), &[plain_pod.address])).await;
    let get = async || {
        let hello = Hello { alpn: &["http/1.1"], ..hello(HOST) };
        ask(&edge, hello, HOST).await.0
    };
    assert_eq!(get().await, "edge");
    for (route, pod, text) in [
        (pass("it", HOST), tls_pod.address, "passed"),
        (edge_route("it", HOST, None), plain_pod.address, "edge"),
    ] {
        let generation = edge.router.live.load().generation;
        edge.write("main.yaml", &app(route, &[pod]));
        edge.until("the edit", |snapshot| snapshot.generation > generation).await;
        assert_eq!(get().await, text);
    }
    // Nothing of a passthrough route is served when its service is all that is left.
    edge.write("main.yaml", &service("it", &[tls_pod.address]));
    edge.until("no routes", |snapshot| snapshot.routes.is_empty()).await;
    let stream = tls::connect(edge.https, Hello { alpn: &[], ..hello(HOST) }).await.unwrap();
    let mut client = Client::over(stream);
    client.send(client::get(HOST, "/")).await;
    assert_eq!(client.response().await.status(), 503);
}
