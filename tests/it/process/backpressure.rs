//! nothing is read from a side whose other side takes nothing. What the router holds for a slow
//! peer is bounded, and so is what the fast side gets rid of: windows and buffers of the kernel.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
};

use super::{HOST, Router};
use crate::harness::{
    at_rest,
    client::{self, Client},
    manifest::{With as _, app, edge as edge_route, route},
    pod::{Act, Pod, ok},
    tls::{self, Hello, hello},
    within,
};

/// Slow peers; some of them before the router's memory is looked at for the first time, so that what
/// it needs only once is there. So many, because the allocator takes memory by the megabyte.
const PEERS: u64 = 240;
const FIRST: u64 = 40;

/// Of each message: more than all buffers on the way.
const BODY: u64 = 64 << 20;

/// What the kernel's buffers of two connections may hold: their limits are 4 MiB for sending and
/// 6 MiB for receiving, unless somebody has raised them.
const IN_KERNEL: u64 = 20 << 20;

/// What the router may use for each slow peer: read and write buffers of 32 and 48 KiB, what is
/// between them, and what the allocator keeps, which differs from machine to machine (285 KiB were
/// seen). Each message is 128 times as long.
const IN_ROUTER: u64 = 512 << 10;

/// A connection that takes little at a time.
async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    within("connecting", socket.connect(address)).await.expect("connected")
}

/// Memory of a process, in bytes.
fn resident(router: &Router) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", router.child.id()));
    let status = status.expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number");
    kib << 10
}

/// Sends a request and reads a first bit of the answer.
async fn begin<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> S {
    stream.write_all(client::get(HOST, "/pour").as_bytes()).await.expect("it is taken");
    within("the first bytes", stream.read_exact(&mut [0; 512])).await.expect("an answer");
    stream
}

/// A trickle, from each: what was poured before must stay enough for all of it.
async fn trickle<S: AsyncRead + Unpin>(streams: &mut [S]) {
    for stream in streams {
        within("a few bytes", stream.read_exact(&mut [0; 512])).await.expect("more of the answer");
    }
}

/// Many clients that take a few bytes, and what the pod and the router have done meanwhile.
async fn slow_readers<S: AsyncRead + AsyncWrite + Unpin>(
    router: &Router,
    poured: &AtomicU64,
    connect: impl AsyncFn() -> S,
) {
    let mut streams = Vec::new();
    let mut before = 0;
    for nth in 0..PEERS {
        if nth == FIRST {
            let _poured = at_rest(|| poured.load(SeqCst)).await;
            before = resident(router);
        }
        streams.push(begin(connect().await).await);
    }
    for _ in 0..10 {
        trickle(&mut streams).await;
    }
    let total = at_rest(|| poured.load(SeqCst)).await;
    poured.store(0, SeqCst);
    assert!(total < PEERS * IN_KERNEL, "the pod got rid of {total} bytes");
    let grown = resident(router).saturating_sub(before);
    assert!(grown < (PEERS - FIRST) * IN_ROUTER, "{grown} bytes for {} clients", PEERS - FIRST);
    // Stalled is not broken: a client that goes on gets everything.
    let mut stream = streams.pop().expect("there are many");
    let rest = async {
        let mut chunk = vec![0; 65_536];
        let mut length = 512 * 11;
        while length < BODY {
            let read = stream.read(&mut chunk).await;
            assert!(matches!(read, Ok(1..)), "{read:?} after {length} bytes");
            length += read.map_or(0, |read| read as u64);
        }
    };
    within("the rest of one answer", rest).await;
}

/// clients that read slowly, plain and TLS: the pod's writes stall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_31_a_slow_reader_stalls_the_pod() {
    let poured = Arc::<AtomicU64>::default();
    let count = Arc::clone(&poured);
    let pod = Pod::start(move |seen| match seen.target() {
        "/pour" => Act::Pour(BODY, Arc::clone(&count)),
        _ => ok(""),
    })
    .await;
    let route =
        edge_route("a", HOST, None).with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
    let router = Router::start(&app(route, &[pod.address]), &[]).await;
    slow_readers(&router, &poured, async || narrow(router.http).await).await;
    let secure = async || {
        let stream = narrow(router.https).await;
        tls::handshake(stream, Hello { alpn: &[], ..hello(HOST) }).await.expect("TLS")
    };
    slow_readers(&router, &poured, secure).await;
}

/// a pod that does not read: the clients' writes stall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_31_a_slow_pod_stalls_its_clients() {
    let pod = Pod::early(|seen| match seen.method() {
        "POST" => Act::Unread,
        _ => ok(""),
    })
    .await;
    let router = Router::start(&app(route("a", HOST), &[pod.address]), &[]).await;
    let sent = Arc::<AtomicU64>::default();
    let mut clients = JoinSet::new();
    let mut before = 0;
    for nth in 0..PEERS {
        if nth == FIRST {
            let _sent = at_rest(|| sent.load(SeqCst)).await;
            before = resident(&router);
        }
        let (count, mut client) = (Arc::clone(&sent), Client::connect(router.http).await);
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: {BODY}\r\n\r\n");
        client.send(head).await;
        clients.spawn(async move {
            let chunk = [b'x'; 65_536];
            while client.stream.write_all(&chunk).await.is_ok() {
                count.fetch_add(chunk.len() as u64, SeqCst);
            }
        });
    }
    let total = at_rest(|| sent.load(SeqCst)).await;
    assert!(total < PEERS * IN_KERNEL, "the clients got rid of {total} bytes");
    let grown = resident(&router).saturating_sub(before);
    assert!(grown < (PEERS - FIRST) * IN_ROUTER, "{grown} bytes for {} clients", PEERS - FIRST);
    assert_eq!(clients.len() as u64, PEERS, "nobody was sent away");
}
