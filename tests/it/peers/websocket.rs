//! The Autobahn cases, run by kosoku against a pod and against the same pod through wharf: what
//! fails, and how each case ends, must be the same. wharf relays bytes, so every case that it
//! changes is a bug, whatever the pod makes of it.

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::{
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use wharf::backend::{self, Identity};

use super::{
    python::{Server, says},
    wanted,
};
use crate::harness::{
    manifest::{With as _, app, edge as edge_route},
    router::Edge,
    tls::{self, Hello, hello},
};

const SCRIPT: &str = "websocket.py";

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
    let wrapped = Wrapped::start(edge.https).await;
    let verdicts = [check(edge.http, cases).await, check(wrapped.address, cases).await];
    edge.is_quiet().await;
    verdicts
}

/// Plain connections that come out as TLS, for a suite that does not speak it.
struct Wrapped {
    address: SocketAddr,
    task: AbortHandle,
}

impl Wrapped {
    async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(wrap(stream, to));
            }
        });
        Self { address, task: task.abort_handle() }
    }
}

impl Drop for Wrapped {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn wrap(mut stream: TcpStream, to: SocketAddr) {
    let alpn: &[&str] = &["http/1.1"];
    let mut secure = tls::connect(to, Hello { alpn, ..hello("a.example.com") }).await.expect("TLS");
    let _ended = tokio::io::copy_bidirectional(&mut stream, &mut secure).await;
}

/// `wharf backend` in this process.
async fn backend_pod() -> (SocketAddr, DropGuard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let cancel = CancellationToken::new();
    let identity = Identity::new("pod", "app");
    tokio::spawn(backend::serve(listener, identity, None, cancel.clone()));
    (address, cancel.drop_guard())
}

/// All cases against `wharf backend`. It knows no extension and takes messages of up to 1 MiB, so
/// it fails some of them, and those alone must fail through wharf.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_autobahn_cases_end_as_without_wharf() {
    if !wanted("peers_autobahn_cases_end_as_without_wharf") {
        return;
    }
    let (pod, _guard) = backend_pod().await;
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
