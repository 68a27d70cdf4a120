//! Responses and requests as they come: server-sent events one by one, windows that couple client and
//! pod on HTTP/2 both ways, and answers that come before the request's end.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::Reason;
use http::{Request, Response};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::{Semaphore, mpsc, oneshot},
};

use crate::harness::{
    at_rest,
    client::{Client, get},
    frames::{self, DATA, END_STREAM, Frames, HEADERS, RST_STREAM, frame, post},
    h2client::{End, H2Client},
    h2pod::{self, H2Pod, Reply},
    manifest::{app, h2c, route},
    pod::{self, Act, Pod, ok},
    router::Edge,
    within,
};

const HOST: &str = "a.example.com";
const URL: &str = "http://a.example.com/events";

/// More than all windows and the kernel's buffers hold.
const WHOLE: usize = 20 * 1024 * 1024;

/// What they hold at most: two sockets with up to 6 MiB each, and windows.
const HELD: usize = 16 * 1024 * 1024;

/// A pod that says what it is told to say, and tells when its reader has gone.
struct Events {
    say: mpsc::Sender<&'static str>,
    gone: oneshot::Receiver<()>,
    address: SocketAddr,
}

impl Events {
    async fn over_http1() -> Self {
        let (say, mut said) = mpsc::channel(1);
        let (left, gone) = oneshot::channel();
        let address = pod::bare(async move |mut stream, _seen| {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                        transfer-encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.expect("a reader");
            while let Some(event) = said.recv().await {
                let event: &str = event;
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                stream.write_all(chunk.as_bytes()).await.expect("a reader");
            }
            stream.readable().await.expect("a socket");
            let _ended = stream.try_read(&mut [0; 1]);
            left.send(()).expect("the test waits");
        })
        .await;
        Self { say, gone, address }
    }

    async fn over_http2() -> Self {
        let (say, mut said) = mpsc::channel(1);
        let (left, gone) = oneshot::channel();
        let address = h2pod::bare(async move |_request, mut respond| {
            let head = Response::builder().header("content-type", "text/event-stream").body(());
            let mut stream = respond.send_response(head.expect("a head"), false).expect("open");
            while let Some(event) = said.recv().await {
                let event: &str = event;
                assert!(h2pod::push(&mut stream, Bytes::from_static(event.as_bytes())).await);
            }
            let reason = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
            assert_eq!(reason.expect("a reset"), Reason::CANCEL);
            left.send(()).expect("the test waits");
        })
        .await;
        Self { say, gone, address }
    }
}

const EVENTS: [&str; 4] = ["data: 1\n\n", ": still here\n\n", "event: x\ndata: 2\n\n", "\n"];

/// Each event is there before the next one is said; when the client leaves, the pod hears of it. On all
/// four ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_one_by_one_and_the_pod_hears_of_the_end() {
    for (http2_client, http2_pod) in [(false, false), (true, false), (false, true), (true, true)] {
        let events =
            if http2_pod { Events::over_http2().await } else { Events::over_http1().await };
        let objects = app(route("a", HOST), &[events.address]);
        let edge = Edge::with(&if http2_pod { h2c(objects) } else { objects }, |settings| {
            settings.limits.abort_on_close = true;
        })
        .await;
        let stream = edge.client().await.stream;
        if http2_client {
            let mut client = H2Client::over(stream).await;
            let mut stream = client.get(URL).await.unwrap();
            assert_eq!(stream.head.headers()["content-type"], "text/event-stream");
            for event in EVENTS {
                events.say.send(event).await.unwrap();
                assert_eq!(stream.hear(event.len()).await, event.as_bytes());
            }
            stream.send.send_reset(Reason::CANCEL);
        } else {
            let mut client = Client::over(stream);
            client.send(get(HOST, "/events")).await;
            assert_eq!(client.head().await.header("content-type"), Some("text/event-stream"));
            for event in EVENTS {
                events.say.send(event).await.unwrap();
                let chunk = format!("{:X}\r\n{event}\r\n", event.len());
                assert_eq!(client.bytes(chunk.len()).await, chunk.as_bytes());
            }
        }
        drop(events.say);
        within("the pod to hear of the end", events.gone).await.unwrap();
        edge.is_quiet().await;
    }
}

/// [TMO-1]: what keeps a stream of events open is that something comes: a comment does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tmo_1_comments_keep_events_open_and_silence_ends_them() {
    let limit = Duration::from_millis(500);
    for http2_pod in [false, true] {
        let pod = if http2_pod { Events::over_http2().await } else { Events::over_http1().await };
        let objects = app(route("a", HOST), &[pod.address]);
        let objects = if http2_pod { h2c(objects) } else { objects };
        let edge = Edge::with(&objects, |settings| settings.timeouts.server = limit).await;
        let mut client = H2Client::over(edge.client().await.stream).await;
        let mut stream = client.get(URL).await.unwrap();
        // Three times the limit in all.
        for _ in 0..15 {
            tokio::time::sleep(limit / 5).await;
            pod.say.send(": x\n").await.unwrap();
            assert_eq!(stream.hear(4).await, b": x\n");
        }
        assert!(matches!(stream.over().await, End::Reset(_)));
        edge.has_reasons(&[("upstream_timeout", 1)]).await;
        drop(pod.say);
        within("the pod to hear of the end", pod.gone).await.unwrap();
    }
}

/// A client that takes nothing stops a pod of HTTP/2, and when it takes the rest nothing is missing.
/// `http2_flow` has the rows for pods of HTTP/1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_client_stalls_a_pod_of_http2() {
    for http2_client in [true, false] {
        let written = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&written);
        let address = h2pod::bare(async move |_request, mut respond| {
            let head = Response::builder().header("content-length", WHOLE).body(());
            let mut stream = respond.send_response(head.expect("a head"), false).expect("open");
            let part = Bytes::from(vec![b'x'; 64 * 1024]);
            for _ in 0..WHOLE / part.len() {
                assert!(h2pod::push(&mut stream, part.clone()).await);
                count.fetch_add(part.len(), SeqCst);
            }
            stream.send_data(Bytes::new(), true).expect("open");
        })
        .await;
        let edge = Edge::start(&h2c(app(route("a", HOST), &[address]))).await;
        let stream = edge.client().await.stream;
        if http2_client {
            let mut client = H2Client::over(stream).await;
            let mut stream = client.get(URL).await.unwrap();
            let held = at_rest(|| written.load(SeqCst)).await;
            assert!(held < HELD, "{held} bytes left the pod while the client took nothing");
            assert_eq!(stream.hear(WHOLE).await.len(), WHOLE);
            assert_eq!(stream.over().await, End::Orderly);
        } else {
            let mut client = Client::over(stream);
            client.send(get(HOST, "/")).await;
            let held = at_rest(|| written.load(SeqCst)).await;
            assert!(held < HELD, "{held} bytes left the pod while the client took nothing");
            assert_eq!(client.response().await.body.len(), WHOLE);
        }
    }
}

/// A pod of HTTP/2 that takes nothing stops the client's upload; when it reads on, nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_pod_of_http2_stalls_the_upload() {
    // A client of HTTP/1 has the kernel's buffers, one of HTTP/2 its windows.
    for (http2_client, whole, held) in [(true, 4 << 20, 3 << 20), (false, WHOLE, HELD)] {
        let gate = Arc::new(Semaphore::new(0));
        let permits = Arc::clone(&gate);
        let (told, taken) = oneshot::channel();
        let address = h2pod::bare(async move |request, mut respond| {
            permits.acquire().await.expect("open").forget();
            let (mut body, mut taken) = (request.into_body(), 0);
            while let Some(part) = body.data().await {
                let part = part.expect("a body");
                taken += part.len();
                let _open = body.flow_control().release_capacity(part.len());
            }
            respond.send_response(Response::new(()), true).expect("open");
            told.send(taken).expect("the test waits");
        })
        .await;
        let edge = Edge::start(&h2c(app(route("a", HOST), &[address]))).await;
        let stream = edge.client().await.stream;
        let sent = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&sent);
        let part = Bytes::from(vec![b'x'; 64 * 1024]);
        let upload = tokio::spawn(async move {
            if http2_client {
                let mut client = H2Client::over(stream).await;
                let request = Request::post(URL).body(()).expect("a request");
                let (response, mut send) = client.start(request);
                for _ in 0..whole / part.len() {
                    assert!(h2pod::push(&mut send, part.clone()).await);
                    count.fetch_add(part.len(), SeqCst);
                }
                send.send_data(Bytes::new(), true).expect("open");
                response.await.expect("an answer").status().as_u16()
            } else {
                let (read, mut write) = tokio::io::split(stream);
                let head =
                    format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: {whole}\r\n\r\n");
                write.write_all(head.as_bytes()).await.expect("a reader");
                for _ in 0..whole / part.len() {
                    write.write_all(&part).await.expect("a reader");
                    count.fetch_add(part.len(), SeqCst);
                }
                Client::over(tokio::io::join(read, write)).response().await.status()
            }
        });
        let taken_in = at_rest(|| sent.load(SeqCst)).await;
        assert!(taken_in < held, "{taken_in} bytes left the client while the pod took nothing");
        gate.add_permits(1);
        assert_eq!(within("the answer", upload).await.unwrap(), 200);
        assert_eq!(taken.await.unwrap(), whole);
    }
}

/// Reads the whole answer of stream 1, which must not be reset in front of its end.
async fn whole_answer(client: &mut Frames<TcpStream>) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let frame = client.until("a frame of the stream", |frame| frame.stream == 1).await;
        assert_ne!(frame.kind, RST_STREAM, "reset in front of the end");
        match frame.kind {
            HEADERS => assert_eq!(frame.status(), 200),
            DATA => body.extend_from_slice(&frame.payload),
            _ => {},
        }
        if frame.ends() {
            return body;
        }
    }
}

/// RFC 9113 8.1, S-13: an answer before the request's end is whole. A pod that takes no more of the
/// request ends the upload, with NO_ERROR, which is no failure of the answer; one that goes on reading
/// gets the rest. The connection serves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_an_early_answer_is_whole_and_ends_the_upload_as_the_pod_does() {
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nPOST".to_vec();
    let going_on = Pod::early(|seen| ok(seen.method())).await;
    let closing = Pod::early(move |_| Act::Last(answer.clone())).await;
    let new = H2Pod::start(|seen| {
        let reply = Reply::new(200).header("content-length", seen.method.len());
        h2pod::Act::Early(reply.chunk(&seen.method))
    })
    .await;
    for (objects, takes_no_more) in [
        (app(route("a", HOST), &[going_on.address]), false),
        (app(route("a", HOST), &[closing.address]), true),
        (h2c(app(route("a", HOST), &[new.address])), true),
    ] {
        let edge = Edge::start(&objects).await;
        let mut client = Frames::connect(edge.http, &[]).await;
        client.send([post(1, HOST, "/"), frame(DATA, 0, 1, b"some")].concat()).await;
        assert_eq!(whole_answer(&mut client).await, b"POST");
        if takes_no_more {
            assert_eq!(client.reset_of(1).await, 0, "NO_ERROR");
        } else {
            client.send(frame(DATA, END_STREAM, 1, b"more")).await;
        }
        client.send(frames::get(3, HOST, "/")).await;
        assert_eq!(client.head(3).await.status(), 200);
        assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
        drop(client);
        edge.is_quiet().await;
    }
    assert_eq!(going_on.connections(), 2, "a connection that was owed a body serves nobody else");
}

/// S-18, [ORD-5]: an HTTP/1.0 client gets a body without a length up to the close, from a pod of HTTP/2 too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ord_5_an_answer_without_a_length_ends_with_the_connection() {
    let pod = H2Pod::start(|_| h2pod::Act::Reply(Reply::new(200).chunk("one").chunk("two"))).await;
    let edge = Edge::start(&h2c(app(route("a", HOST), &[pod.address]))).await;
    let mut client = edge.client().await;
    client.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    let response = client.response().await;
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!((response.status(), response.text().as_str()), (200, "onetwo"));
    assert!(client.closed().await);
}
