//! `Expect: 100-continue` end to end (RFC 9110 10.1.1, S-13): the client is asked for its body when the pod
//! asks for it, and never when the pod answers without it.

use std::sync::Arc;

use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
};

use crate::harness::{
    client::Client,
    h2client::{End, H2Client},
    h2pod::{self, H2Pod, Reply},
    manifest::{app, h2c, route},
    pod::{Act, Pod, bare, ok, raw},
    router::Edge,
    within,
};

const HOST: &str = "a.example.com";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

fn head(framing: &str) -> String {
    format!("PUT / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\n{framing}\r\n\r\n")
}

fn request() -> Request<()> {
    let request = Request::put(format!("http://{HOST}/")).header("expect", "100-continue");
    request.body(()).expect("a request")
}

/// A pod that asks for the body after `then`, reads it up to `end`, and answers with what it read. The
/// second value comes when the pod has the head.
async fn asking(then: oneshot::Receiver<()>, end: &'static [u8]) -> (Edge, oneshot::Receiver<()>) {
    let (told, tell) = oneshot::channel();
    let address = bare(async move |mut stream, seen| {
        assert_eq!(seen.all("expect"), ["100-continue"]);
        told.send(()).expect("the test waits");
        then.await.expect("the test goes on");
        let early = stream.try_read(&mut [0; 1]);
        assert!(early.is_err(), "a body that was not asked for");
        let hints = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
        stream.write_all(&[hints, CONTINUE].concat()).await.expect("a reader");
        let mut body = Vec::new();
        while !body.ends_with(end) {
            body.push(stream.read_u8().await.expect("a body"));
        }
        stream.write_all(&answer(&body)).await.expect("a reader");
    })
    .await;
    (Edge::start(&app(route("a", HOST), &[address])).await, tell)
}

fn answer(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// The next byte for this client, if there is one by the time that two round trips of another one
/// through the same router have taken.
async fn has_heard(edge: &Edge, client: &Client<TcpStream>) -> bool {
    for _ in 0..2 {
        assert_eq!(edge.get("nobody.example.com", "/").await.status(), 503);
    }
    let mut byte = [0; 1];
    client.stream.try_read(&mut byte).is_ok()
}

/// The pod's 100 is the client's 100, sent once; before it the client is not asked. With a length and in
/// chunks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_the_pods_100_is_the_clients() {
    for (framing, body, end) in [
        ("content-length: 4", "body", &b"body"[..]),
        ("transfer-encoding: chunked", "4\r\nbody\r\n0\r\n\r\n", b"0\r\n\r\n"),
    ] {
        let (go, gone) = oneshot::channel();
        let (edge, at_pod) = asking(gone, end).await;
        let mut client = edge.client().await;
        client.send(head(framing)).await;
        within("the head at the pod", at_pod).await.unwrap();
        assert!(!has_heard(&edge, &client).await, "asked before the pod asked");
        go.send(()).unwrap();
        assert_eq!(client.head().await.line, "HTTP/1.1 100 Continue");
        client.send(body).await;
        let response = client.response().await;
        assert_eq!((response.status(), response.text().as_str()), (200, body));
        // Only those that were asked to pass the time.
        edge.has_reasons(&[("no_route", 2)]).await;
    }
}

/// A pod that answers without the body: the client has the answer and is never asked, what it sends all
/// the same is nobody's request, and the pod's connection, on which a body is due, serves nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_a_final_answer_leaves_the_body_unasked_for() {
    for status in ["401 Unauthorized", "417 Expectation Failed", "302 Found", "500 Error"] {
        let line = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno");
        let pod = Pod::early(move |seen| match seen.method() {
            "PUT" => raw(&line),
            _ => raw("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nnew"),
        })
        .await;
        let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
            settings.workers = 1;
        })
        .await;
        let mut client = edge.client().await;
        client.send(head("content-length: 40")).await;
        let response = client.response().await;
        assert!(response.line.ends_with(status), "{response:?}");
        assert_eq!((response.text().as_str(), response.cut), ("no", false));
        assert_eq!(response.header("connection"), Some("close"));
        client.send("GET /smuggled HTTP/1.1\r\nHost: a.example.com\r\n\r\n").await;
        assert!(client.closed().await);
        assert_eq!(edge.get(HOST, "/").await.text(), "new");
        assert_eq!((pod.attempts(), pod.connections()), (2, 2), "{status}");
        edge.finish().await;
        assert_eq!(pod.stray(), 0);
    }
}

/// The same with a long answer: what is declined does not cut it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_the_answer_without_the_body_arrives_whole() {
    let size = 5_000_000;
    let pod = Pod::early(move |_| {
        let head = format!("HTTP/1.1 403 Forbidden\r\ncontent-length: {size}\r\n\r\n");
        Act::Reply([head.into_bytes(), vec![b'x'; size]].concat())
    })
    .await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut client = edge.client().await;
    client.send(head("content-length: 40")).await;
    let response = client.response().await;
    assert_eq!((response.status(), response.body.len()), (403, size));
    assert!(client.closed().await);
    edge.is_quiet().await;
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// RFC 9110 10.1.1: nobody waits for ever. A pod that never says 100, as one of HTTP/1.0, gets the body
/// after a second, and so it does if the client does not wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_a_pod_that_knows_no_100_gets_the_body() {
    let pod = Pod::start(|seen| {
        let head = format!("HTTP/1.0 200 OK\r\ncontent-length: {}\r\n\r\n", seen.body.len());
        Act::Last([head.as_bytes(), &seen.body].concat())
    })
    .await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut client = edge.client().await;
    client.send(head("content-length: 4")).await;
    assert_eq!(client.head().await.line, "HTTP/1.1 100 Continue");
    client.send("body").await;
    assert_eq!(client.response().await.text(), "body");
    let mut client = edge.client().await;
    client.send(head("content-length: 4") + "body").await;
    let first = client.head().await;
    let response = if first.status() == 100 { client.response().await } else { first };
    assert_eq!(response.status(), 200);
    // HTTP/1.0 has no 100: it is not asked, and does not wait.
    let mut client = edge.client().await;
    client.send(head("content-length: 4").replace("HTTP/1.1", "HTTP/1.0") + "body").await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(pod.attempts(), 3);
}

/// A success that comes first takes the body as it comes: what the client sends reaches the pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_success_takes_the_body() {
    let address = bare(async move |mut stream, _seen| {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head).await.expect("a reader");
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.expect("a body");
        let rest = [b"4\r\n", &body[..], b"\r\n0\r\n\r\n"].concat();
        stream.write_all(&rest).await.expect("a reader");
    })
    .await;
    let edge = Edge::start(&app(route("a", HOST), &[address])).await;
    let mut client = edge.client().await;
    client.send(head("content-length: 4") + "body").await;
    let mut first = client.head().await;
    if first.status() == 100 {
        first = client.head().await;
    }
    assert_eq!(first.status(), 200);
    assert_eq!(client.bytes(9).await, b"4\r\nbody\r\n");
}

/// S-13: a client that has a success unasked may leave its body out, and a pod may take the body for the
/// next request, so neither connection has another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_an_early_success_is_the_last_on_both_connections() {
    const LENGTH: usize = 20_000_000;
    let pod = Pod::early(|seen| match seen.line.as_str() {
        "PUT / HTTP/1.1" => Act::Pour(LENGTH as u64, Arc::default()),
        "GET / HTTP/1.1" => ok("new"),
        line => ok(format!("poisoned: {line}")),
    })
    .await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.workers = 1;
    })
    .await;
    let mut client = edge.client().await;
    client.send(head("content-length: 4")).await;
    let answer = client.head().await;
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    // Passed on long before the answer, which is more than what is under way at once, has been read.
    client.send("body").await;
    assert_eq!(client.bytes(LENGTH).await.len(), LENGTH);
    assert!(client.closed().await);
    assert_eq!(edge.get(HOST, "/").await.text(), "new");
    assert_eq!(pod.connections(), 2);
}

/// Over HTTP/2 the client sends when it likes; the pod has the body when it asks, and not when it answers
/// without it. Then the client's stream ends with the answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_http2_clients_expect_as_well() {
    let (go, gone) = oneshot::channel();
    let (edge, at_pod) = asking(gone, b"0\r\n\r\n").await;
    let mut client = H2Client::over(edge.client().await.stream).await;
    let asked = tokio::spawn(async move {
        client.post(request(), b"body").await.expect("an answer").hear(14).await
    });
    within("the head at the pod", at_pod).await.unwrap();
    for _ in 0..2 {
        assert_eq!(edge.get("nobody.example.com", "/").await.status(), 503);
    }
    go.send(()).unwrap();
    assert_eq!(asked.await.unwrap(), b"4\r\nbody\r\n0\r\n\r\n");

    let pod =
        Pod::early(|_| raw("HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno")).await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut client = H2Client::over(edge.client().await.stream).await;
    let mut stream = client.begin(request(), b"body").await.unwrap();
    assert_eq!((stream.head.status().as_u16(), stream.hear(2).await), (417, b"no".to_vec()));
    assert_eq!(stream.over().await, End::Orderly);
    edge.finish().await;
    assert_eq!(pod.stray(), 0, "no byte of the body");
}

/// Pods of HTTP/2: their 100 is heard, and an answer without the body is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_http2_pods_are_asked_as_well() {
    let pod = H2Pod::start(|seen| match seen.url.ends_with("/no") {
        true => h2pod::Act::Early(Reply::new(417).chunk("no")),
        false => h2pod::Act::Continue(Box::new(h2pod::Act::Echo(Reply::new(200)))),
    })
    .await;
    let edge = Edge::start(&h2c(app(route("a", HOST), &[pod.address]))).await;
    let mut client = edge.client().await;
    client.send(head("content-length: 4")).await;
    assert_eq!(client.head().await.line, "HTTP/1.1 100 Continue");
    client.send("body").await;
    assert_eq!(client.response().await.text(), "body");
    client.send(head("content-length: 4").replace("PUT /", "PUT /no")).await;
    let response = client.response().await;
    assert_eq!((response.status(), response.text().as_str()), (417, "no"));
    assert!(client.closed().await);
    let seen = pod.seen();
    assert!(seen.iter().all(|seen| seen.headers["expect"] == "100-continue"), "{seen:?}");
    edge.is_quiet().await;
}

/// A pod's 100 is heard when it comes, and not when a silent pod would get the body: whoever has asked
/// later is asked first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_a_pod_that_asks_is_heard_before_one_that_is_silent() {
    let silent = Pod::start(|seen| ok(&seen.body)).await;
    let silent = Edge::start(&app(route("a", HOST), &[silent.address])).await;
    let new =
        H2Pod::start(|_| h2pod::Act::Continue(Box::new(h2pod::Act::Echo(Reply::new(200))))).await;
    let new = h2c(app(route("a", HOST), &[new.address]));
    for http2 in [false, true] {
        let mut first = false;
        // A machine that stands still for a second proves nothing.
        for _ in 0..5 {
            let mut waiting = silent.client().await;
            waiting.send(head("content-length: 4")).await;
            assert!(!has_heard(&silent, &waiting).await);
            let (go, gone) = oneshot::channel();
            go.send(()).unwrap();
            let (edge, _at_pod) = if http2 {
                (Edge::start(&new).await, oneshot::channel().1)
            } else {
                asking(gone, b"body").await
            };
            let mut client = edge.client().await;
            client.send(head("content-length: 4")).await;
            assert_eq!(client.head().await.line, "HTTP/1.1 100 Continue");
            first = waiting.stream.try_read(&mut [0; 1]).is_err();
            client.send("body").await;
            assert_eq!(client.response().await.text(), "body");
            if first {
                break;
            }
        }
        assert!(first, "the pod's 100 was not heard; HTTP/2: {http2}");
    }
}
