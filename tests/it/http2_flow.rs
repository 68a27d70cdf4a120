//! Flow control of HTTP/2 through the router: windows couple client and pod, and a client that takes
//! nothing does not keep what it holds (S-40).

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::Semaphore,
};

use crate::harness::{
    at_rest, eventually,
    frames::{
        CANCEL, DATA, END_STREAM, Frames, INITIAL_WINDOW_SIZE, RST_STREAM, WINDOW_UPDATE, frame,
        get, post, window,
    },
    manifest::{app, route},
    pod::{Act, Pod, bare, ok},
    router::Edge,
};

const HOST: &str = "a.example.com";

/// The client timeout of these tests: long enough that nothing else takes as long.
const SHORT: Duration = Duration::from_millis(300);

/// How long nothing moves before a direction counts as at rest. Looking too early makes no test fail.
const REST: Duration = Duration::from_millis(300);

/// More than a stream may have waiting.
const LARGE: usize = 1024 * 1024;

/// More than all windows and the kernel's buffers hold.
const WHOLE: usize = 48 * 1024 * 1024;

/// What windows, our buffers and the kernel's hold at most: two sockets with up to 6 MiB each.
const HELD: usize = 16 * 1024 * 1024;

/// A router with the client timeout [`SHORT`] over a pod that has more to say than fits anywhere.
async fn stalling() -> (Edge, Pod, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&gate);
    let pod = Pod::start(move |seen| match seen.target() {
        "/held" => {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld".to_vec();
            Act::After(Arc::clone(&permits), answer)
        },
        "/large" => ok(vec![b'x'; LARGE]),
        _ => ok("pod"),
    })
    .await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.timeouts.client = SHORT;
    })
    .await;
    (edge, pod, gate)
}

fn stalled(edge: &Edge) -> u64 {
    edge.router.stats.workers.sum(|cell| &cell.http2_stalled)
}

/// S-40: a client that opens no window, or one for a single byte, and answers PINGs: the stream is
/// reset, the pod has its connection back, and the connection, of which nothing else is left, ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_40_a_closed_window_ends_the_stream_and_then_the_connection() {
    for open in [0, 1] {
        let (edge, pod, _gate) = stalling().await;
        let mut client = Frames::connect(edge.http, &[(INITIAL_WINDOW_SIZE, open)]).await;
        client.send(get(1, HOST, "/large")).await;
        assert_eq!(client.head(1).await.status(), 200);
        assert_eq!(pod.open(), 1);
        assert_eq!(client.reset_of(1).await, CANCEL);
        edge.has_reasons(&[("client_timeout", 1)]).await;
        eventually("the pod's connection to end", async || (pod.open() == 0).then_some(())).await;
        assert_eq!(client.goaway().await.code(), 0);
        let rest = client.rest().await;
        assert!(rest.iter().all(|frame| frame.kind != DATA), "{rest:?}");
        assert_eq!(stalled(&edge), 1);
        edge.is_quiet().await;
    }
}

/// S-40: all streams of a connection at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_40_a_hundred_closed_windows_end_together() {
    let (edge, pod, _gate) = stalling().await;
    let mut client = Frames::connect(edge.http, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for index in 0..100 {
        client.send(get(2 * index + 1, HOST, "/large")).await;
    }
    client.goaway().await;
    client.rest().await;
    edge.has_reasons(&[("client_timeout", 100)]).await;
    assert_eq!(stalled(&edge), 100);
    eventually("the pod's connections to end", async || (pod.open() == 0).then_some(())).await;
}

/// S-40: the end of a response counts as well, and even when the pod is done with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_40_the_last_part_of_a_response_is_watched_too() {
    let (edge, pod, _gate) = stalling().await;
    let mut client = Frames::connect(edge.http, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    for (stream, target, host) in [(1, "/small", HOST), (3, "/", "nobody.example.com")] {
        client.send(get(stream, host, target)).await;
    }
    let rest = client.rest().await;
    let resets = rest.iter().filter(|frame| frame.kind == RST_STREAM);
    let resets: BTreeSet<_> = resets.map(|frame| (frame.stream, frame.code())).collect();
    assert_eq!(resets, BTreeSet::from([(1, CANCEL), (3, CANCEL)]));
    assert_eq!(stalled(&edge), 2);
    // The pod's part was over; the router's own page was never taken.
    edge.has_reasons(&[("client_timeout", 1)]).await;
    assert_eq!((pod.attempts(), pod.stray()), (1, 0));
}

/// S-40: a stream that stalls ends alone; its sibling, which only waits for its pod, goes on, and so
/// does the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_40_a_stalled_stream_ends_alone() {
    let (edge, _pod, gate) = stalling().await;
    let mut client = Frames::connect(edge.http, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    client.send([get(1, HOST, "/held"), window(1, 4), get(3, HOST, "/large")].concat()).await;
    assert_eq!(client.reset_of(3).await, CANCEL);
    gate.add_permits(1);
    let data = client.until("the sibling", |frame| frame.kind == DATA && frame.stream == 1).await;
    assert_eq!(data.payload, b"held");
    client.send([get(5, HOST, "/"), window(5, 3)].concat()).await;
    assert_eq!(client.until("an answer", |frame| frame.kind == DATA).await.payload, b"pod");
    assert_eq!(stalled(&edge), 1);
    edge.has_reasons(&[("client_timeout", 1)]).await;
}

/// A client that takes nothing stalls the pod, with no more than windows and buffers in between; when
/// it takes the rest, nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_stalls_the_pod() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let pod = bare(async move |mut stream, _head| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {WHOLE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a reader");
        let part = vec![b'x'; 64 * 1024];
        for _ in 0..WHOLE / part.len() {
            stream.write_all(&part).await.expect("a reader");
            count.fetch_add(part.len(), SeqCst);
        }
    });
    let edge = Edge::start(&app(route("a", HOST), &[pod.await])).await;
    let mut client = Frames::connect(edge.http, &[]).await;
    client.send(get(1, HOST, "/")).await;
    let held = at_rest(|| written.load(SeqCst)).await;
    assert!(held < HELD, "{held} bytes left the pod while the client took 65,535");
    client.send([window(0, 1 << 30), window(1, 1 << 30)].concat()).await;
    let mut taken = 0;
    loop {
        let part = client.until("DATA", |frame| frame.kind == DATA).await;
        taken += part.payload.len();
        if part.ends() {
            break;
        }
    }
    assert_eq!(taken, WHOLE);
}

/// A pod that takes nothing stalls the client's upload: its window is not opened for what nobody
/// reads. When the pod reads on, the upload completes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_pod_stalls_the_upload() {
    let gate = Arc::new(Semaphore::new(0));
    let permits = Arc::clone(&gate);
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    let pod = bare(async move |mut stream, _head| {
        permits.acquire().await.expect("open").forget();
        let mut part = vec![0; 64 * 1024];
        let mut tail = Vec::new();
        // Chunked; the data has no 0 in it.
        while !tail.ends_with(b"0\r\n\r\n") {
            let len = stream.read(&mut part).await.expect("a body");
            tail.drain(..tail.len().saturating_sub(4));
            tail.extend_from_slice(&part[..len]);
            count.fetch_add(len, SeqCst);
        }
        let _gone = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    });
    let edge = Edge::start(&app(route("a", HOST), &[pod.await])).await;
    let mut client = Frames::connect(edge.http, &[]).await;
    client.send(post(1, HOST, "/")).await;
    let (mut stream, mut connection, mut sent) = (65_535_usize, 65_535_usize, 0);
    let part = vec![b'x'; 16_384];
    let mut stalled_at = None;
    while sent < WHOLE {
        let room = stream.min(connection).min(part.len()).min(WHOLE - sent);
        if room > 0 {
            let flags = if sent + room == WHOLE { END_STREAM } else { 0 };
            client.send(frame(DATA, flags, 1, &part[..room])).await;
            (stream, connection, sent) = (stream - room, connection - room, sent + room);
            continue;
        }
        let update = client.until("a window", |frame| frame.kind == WINDOW_UPDATE);
        let frame = match tokio::time::timeout(REST, update).await {
            Ok(frame) => frame,
            Err(_at_rest) => {
                stalled_at.get_or_insert(sent);
                gate.add_permits(1);
                continue;
            },
        };
        let more = u32::from_be_bytes(frame.payload.try_into().expect("four bytes")) as usize;
        *(if frame.stream == 0 { &mut connection } else { &mut stream }) += more;
    }
    let stalled_at = stalled_at.expect("the upload stalls before its end");
    assert!(stalled_at < HELD, "{stalled_at} bytes were taken from the client");
    assert_eq!(client.head(1).await.status(), 200);
    assert!(read.load(SeqCst) >= WHOLE);
}
