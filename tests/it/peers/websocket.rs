//! The Autobahn cases, run by kosoku against a pod and against the same pod through wharf: what
//! fails, and how each case ends, must be the same. wharf relays bytes, so every case that it
//! changes is a bug, whatever the pod makes of it.

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::HeaderName;
use rustls::ServerConfig;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use wharf::{
    backend::{self, Identity},
    headers::websocket,
    tls::mint::{self, Authority},
};

use super::{
    HOST,
    python::{Server, says},
    wanted,
};
use crate::harness::{
    client::Client,
    h2client::{H2Client, Stream, connect},
    h2pod::push,
    manifest::{With as _, app, edge as edge_route, route},
    router::Edge,
    tls::{self, Hello, hello},
};

const SCRIPT: &str = "websocket.py";

/// Everything but what takes long: large messages and compression.
const MOST: &[&str] = &["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];

/// Messages of up to 16 MiB, and every kind of compression with its first sizes: what `wharf backend`
/// refuses.
fn large_and_compressed() -> Vec<String> {
    let large = ["9.1.*", "9.2.*"].map(str::to_owned);
    let kinds = (1..=5).map(|kind| (12, kind)).chain((1..=7).map(|kind| (13, kind)));
    let compressed =
        kinds.flat_map(|(group, kind)| (1..=3).map(move |size| format!("{group}.{kind}.{size}")));
    large.into_iter().chain(compressed).collect()
}

/// How each case ended, by its number.
type Verdicts = BTreeMap<String, String>;

async fn check(address: SocketAddr, cases: &[&str]) -> Verdicts {
    let url = format!("ws://{address}/echo");
    let told = says(SCRIPT, &[&["check", &url], cases].concat()).await;
    let rows = told.lines().filter_map(|line| line.split_once(", "));
    rows.map(|(case, verdict)| (case.to_owned(), verdict.to_owned())).collect()
}

fn failing(verdicts: &Verdicts) -> Vec<&str> {
    let failed = |verdict: &str| verdict.starts_with("FAILED") || verdict.starts_with("ERROR");
    verdicts.iter().filter(|(_, verdict)| failed(verdict)).map(|(case, _)| &**case).collect()
}

/// The suite through a router, plain and TLS; then the router has nothing to complain of.
async fn through_wharf(pod: SocketAddr, cases: &[&str]) -> [Verdicts; 2] {
    let route = edge_route("ws", "127.0.0.1", None)
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
    let edge = Edge::start(&app(route, &[pod])).await;
    let wrapped = Front::start(edge.https, wrap).await;
    let verdicts = [check(edge.http, cases).await, check(wrapped.address, cases).await];
    edge.is_quiet().await;
    verdicts
}

/// A listener in front of a router, for a suite that does not speak what the router is to hear.
struct Front {
    address: SocketAddr,
    task: AbortHandle,
}

impl Front {
    /// Hands each plain connection to `carry`, which takes it to the router at `to`.
    async fn start<F>(to: SocketAddr, carry: fn(TcpStream, SocketAddr) -> F) -> Self
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(carry(stream, to));
            }
        });
        Self { address, task: task.abort_handle() }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A plain connection comes out as TLS.
async fn wrap(mut stream: TcpStream, to: SocketAddr) {
    let alpn: &[&str] = &["http/1.1"];
    let mut secure = tls::connect(to, Hello { alpn, ..hello("a.example.com") }).await.expect("TLS");
    let _ended = tokio::io::copy_bidirectional(&mut stream, &mut secure).await;
}

/// `wharf backend` in this process.
async fn backend_pod(tls: Option<Arc<ServerConfig>>) -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let cancel = CancellationToken::new();
    let identity = Identity::new("pod", "app");
    tokio::spawn(backend::serve(listener, identity, tls, cancel.clone()));
    (address, cancel.drop_guard())
}

/// All cases against `wharf backend`. It knows no extension and takes messages of up to 1 MiB, so
/// it fails some of them, and those alone must fail through wharf.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_autobahn_cases_end_as_without_wharf() {
    if !wanted("peers_autobahn_cases_end_as_without_wharf") {
        return;
    }
    let (pod, _guard) = backend_pod(None).await;
    let direct = check(pod, &[]).await;
    assert!(direct.len() > 500, "only {} cases", direct.len());
    assert!(failing(&direct).iter().all(|case| case.starts_with("9.")), "{:?}", failing(&direct));
    let [plain, secure] = through_wharf(pod, &[]).await;
    assert_eq!(failing(&plain), failing(&direct));
    assert_eq!(failing(&secure), failing(&direct));
    assert_eq!((&plain, &secure), (&direct, &direct));
}

/// Messages of up to 16 MiB and compressed ones, echoed by PyPI's websockets: none fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_large_and_compressed_messages_pass() {
    if !wanted("peers_large_and_compressed_messages_pass") {
        return;
    }
    let pod = Server::start(SCRIPT, &["serve"]).await;
    let cases = large_and_compressed();
    let cases: Vec<&str> = cases.iter().map(String::as_str).collect();
    let direct = check(pod.address, &cases).await;
    assert_eq!(direct.len(), 48);
    assert!(direct.values().all(|verdict| verdict == "OK, OK"), "{direct:?}");
    let [plain, secure] = through_wharf(pod.address, &cases).await;
    assert_eq!((&plain, &secure), (&direct, &direct));
}

/// The authority's file, and an edge route that it vouches for.
fn certified() -> (TempDir, String, Authority, Value) {
    let authority = mint::authority("peers").expect("an authority");
    let leaf = authority.leaf(&[HOST.to_owned()]).expect("a leaf");
    let folder = TempDir::new().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.pair().cert_pem).expect("the folder is writable");
    let ca = ca.to_str().expect("a name").to_owned();
    let route = edge_route("ws", HOST, Some(&leaf))
        .with("/spec/tls/caCertificate", authority.pair().cert_pem.as_str())
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
    (folder, ca, authority, route)
}

/// RFC 8441 by PyPI's h2 and wsproto: several WebSockets on one connection, to PyPI's websockets over TLS
/// and plain, and to `wharf backend` behind a reencrypt route, which gets HTTP/1.1 though it offers h2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_websockets_on_streams_of_http2() {
    if !wanted("peers_websockets_on_streams_of_http2") {
        return;
    }
    let pod = Server::start(SCRIPT, &["serve"]).await;
    let (_folder, ca, authority, route) = certified();
    let edge = Edge::start(&app(route.clone(), &[pod.address])).await;
    let service = authority.leaf(&["ws.app.svc".to_owned()]).expect("a leaf");
    let tls = backend::server_config(service.cert_pem.as_bytes(), service.key_pem.as_bytes());
    let (secure_pod, _guard) = backend_pod(Some(Arc::new(tls.expect("a pair")))).await;
    let reencrypt = route
        .with("/spec/tls/termination", "reencrypt")
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect")
        .with("/spec/tls/destinationCACertificate", authority.pair().cert_pem.as_str());
    let reencrypting = Edge::start(&app(reencrypt, &[secure_pod])).await;
    for (address, ca) in
        [(edge.http, None), (edge.https, Some(&*ca)), (reencrypting.https, Some(&*ca))]
    {
        let address = address.to_string();
        let arguments = [&address, HOST, "/echo"].into_iter().chain(ca).collect::<Vec<_>>();
        let told = says("websocket_h2.py", &arguments).await;
        for line in [
            "extended CONNECT: allowed",
            "0 bytes: True",
            "65536 bytes: True",
            "1000000 bytes: True",
            "in fragments: 0 1 2 3 4 5 6 7 8 9 ",
            "pong: b'are you there'",
            "closed: 1000",
            "and its stream: ended",
            "the others go on: x",
            "after a reset as well: y",
            "webtransport: 501",
            "connect-udp: 501",
            // NO_ERROR behind the two answers, whose requests had no end.
            "reset by the other side: {11: 0, 13: 0}",
        ] {
            assert!(told.lines().any(|told| told == line), "{line}: {told}");
        }
        assert_eq!(told.matches("True").count(), 7, "{told}");
    }
    edge.is_quiet().await;
    reencrypting.is_quiet().await;
}

/// A connection of HTTP/1.1 comes out as a stream of HTTP/2: one handshake, and then what either side says until both have ended.
async fn bridge(stream: TcpStream, to: SocketAddr) -> Option<()> {
    let mut plain = Client::over(stream);
    let head = plain.head().await;
    let path = head.line.split(' ').nth(1)?.to_owned();
    let mut request = connect("websocket", &format!("http://127.0.0.1{path}"));
    for (name, value) in &head.headers {
        let name = name.to_ascii_lowercase();
        if name == "sec-websocket-extensions" || name == "sec-websocket-protocol" {
            let name = HeaderName::try_from(name).expect("a name");
            request.headers_mut().append(name, value.parse().expect("a value"));
        }
    }
    let mut client = H2Client::over(TcpStream::connect(to).await.ok()?).await;
    client.may_connect().await;
    let Stream { head: answer, mut send, mut receive } = client.open(request).await.ok()?;
    assert_eq!(answer.status(), 200);
    let accept = websocket::accept(head.header("sec-websocket-key")?.as_bytes());
    let mut text = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {}\r\n",
        accept.to_str().expect("base64")
    );
    if let Some(extensions) = answer.headers().get("sec-websocket-extensions") {
        let value = extensions.to_str().expect("text");
        write!(text, "sec-websocket-extensions: {value}\r\n").expect("a string");
    }
    plain.send(text + "\r\n").await;
    let (mut read, mut write) = plain.stream.into_split();
    let upward = async move {
        let mut space = vec![0; 16 * 1024];
        while let Ok(size @ 1..) = read.read(&mut space).await {
            if !push(&mut send, Bytes::copy_from_slice(&space[..size])).await {
                return;
            }
        }
        let _ended = send.send_data(Bytes::new(), true);
    };
    let downward = async move {
        while let Some(Ok(data)) = receive.data().await {
            let _open = receive.flow_control().release_capacity(data.len());
            if write.write_all(&data).await.is_err() {
                return;
            }
        }
        let _ended = write.shutdown().await;
    };
    tokio::join!(upward, downward);
    Some(())
}

/// The Autobahn cases on streams of HTTP/2, to the same pod: they end as they do without wharf.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_autobahn_cases_end_the_same_on_streams_of_http2() {
    if !wanted("peers_autobahn_cases_end_the_same_on_streams_of_http2") {
        return;
    }
    let (pod, _guard) = backend_pod(None).await;
    let direct = check(pod, MOST).await;
    assert!(direct.len() > 200, "only {} cases", direct.len());
    let edge = Edge::start(&app(route("ws", "127.0.0.1"), &[pod])).await;
    let bridged = Front::start(edge.http, bridge).await;
    let bridged = check(bridged.address, MOST).await;
    assert_eq!((bridged.len(), failing(&bridged)), (direct.len(), failing(&direct)));
    edge.is_quiet().await;
}
