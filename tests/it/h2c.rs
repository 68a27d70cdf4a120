//! Pods that speak HTTP/2 with prior knowledge [ALPN-4]: what they see, what clients get, how streams
//! share connections, and how a stream ends early.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request};
use tokio::{io::AsyncWriteExt as _, sync::Semaphore};

use crate::harness::{
    client::Client,
    eventually,
    h2pod::{Act, H2Pod, Reply, ok},
    http2::{Http2, body},
    manifest::{app, h2c, route},
    router::Edge,
};

const HOST: &str = "a.example.com";

/// One worker, so that every request meets the same pool.
async fn over(pod: &H2Pod) -> Edge {
    Edge::with(&h2c(app(route("a", HOST), &[pod.address])), |settings| {
        settings.workers = 1;
        settings.limits.abort_on_close = true;
        settings.timeouts.connect = Duration::from_millis(500);
    })
    .await
}

/// [ALPN-4]: pseudo fields for the host, no field of a connection, `te: trailers` stays; the pool is
/// for all requests, POST included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alpn_4_a_request_of_http_1_becomes_one_of_http_2() {
    let pod = H2Pod::start(|seen| ok(format!("{} {}", seen.connection, seen.nth))).await;
    let edge = over(&pod).await;
    let mut client = edge.client().await;
    client
        .send(
            "POST /x?y=1 HTTP/1.1\r\nHost: A.example.com:81\r\nConnection: keep-alive, x-hop\r\n\
             X-Hop: 1\r\nKeep-Alive: 5\r\nTE: trailers, gzip\r\nUpgrade: websocket\r\n\
             Cookie: a=1; b=2\r\ncontent-length: 4\r\n\r\nbody",
        )
        .await;
    let response = client.response().await;
    assert_eq!((response.line.as_str(), response.text().as_str()), ("HTTP/1.1 200 OK", "1 1"));
    let seen = pod.one();
    assert_eq!(seen.method, "POST");
    assert_eq!(seen.url, "http://a.example.com:81/x?y=1");
    assert_eq!(seen.body, b"body");
    for name in ["host", "connection", "keep-alive", "x-hop", "upgrade", "transfer-encoding"] {
        assert_eq!(seen.headers.get(name), None, "{name}");
    }
    assert_eq!(seen.headers["te"], "trailers");
    assert_eq!(seen.headers["content-length"], "4");
    assert_eq!(seen.headers["cookie"], "a=1; b=2");
    assert_eq!(seen.headers["x-forwarded-host"], "a.example.com:81");
    let mut other = edge.client().await;
    other.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: 0\r\n\r\n")).await;
    assert_eq!(other.response().await.text(), "1 2", "another client shares the connection");
    assert_eq!(edge.count("a", |counters| &counters.reused), 1);
    assert_eq!(edge.count("a", |counters| &counters.connects), 1);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// An HTTP/1.0 request without Host, and `OPTIONS *`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_asterisk_stays_an_asterisk() {
    let pod = H2Pod::start(|_| ok("pod")).await;
    let edge = over(&pod).await;
    let mut client = edge.client().await;
    client.send(format!("OPTIONS * HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    assert_eq!(client.response().await.status(), 200);
    let seen = pod.one();
    assert!(seen.url.ends_with('*'), "{}", seen.url);
    assert_eq!(seen.headers.get("host"), None);
}

/// Streams at once share one connection; the pod's SETTINGS say how many fit, and another connection
/// opens only when none has a free stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_open_as_the_pods_stream_limit_asks() {
    for (limit, connections) in [(100, 1), (4, 2), (3, 3), (1, 7)] {
        let gate = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&gate);
        let pod =
            H2Pod::allowing(limit, move |_| Act::After(Arc::clone(&held), Box::new(ok("held"))))
                .await;
        let edge = over(&pod).await;
        let mut client = Http2::over(edge.client().await.stream).await;
        let requests: Vec<_> = (0..7)
            .map(|nth| {
                let url = format!("http://{HOST}/{nth}");
                client.start(Request::get(url).body(body("")).unwrap())
            })
            .collect();
        let requests = tokio::spawn(async move {
            let mut bodies = Vec::new();
            for request in requests {
                bodies.push(request.await.unwrap().body);
            }
            bodies
        });
        eventually("all streams at the pod", async || (pod.streams() == 7).then_some(())).await;
        assert_eq!(pod.connections(), connections, "limit {limit}");
        gate.add_permits(7);
        assert_eq!(requests.await.unwrap(), vec![Bytes::from("held"); 7], "limit {limit}");
        assert_eq!(edge.count("a", |counters| &counters.retries), 0, "limit {limit}");
        gate.add_permits(1);
        assert!(client.get(&format!("http://{HOST}/")).await.is_ok());
        assert_eq!(pod.connections(), connections, "a free stream is used again");
    }
}

/// gRPC: what the client says as trailers arrives as trailers, both ways, and a response of trailers
/// only stays one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_28_trailers_pass_both_ways() {
    let pod = H2Pod::start(|seen| match seen.url.ends_with("/unary") {
        true => Act::Reply(
            Reply::new(200)
                .header("content-type", "application/grpc")
                .chunk("message")
                .trailer("grpc-status", "0"),
        ),
        false => Act::Reply(
            Reply::new(200).header("content-type", "application/grpc").header("grpc-status", 5),
        ),
    })
    .await;
    let edge = over(&pod).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    let mut up = HeaderMap::new();
    up.insert("x-sum", HeaderValue::from_static("7"));
    let request = Request::post(format!("http://{HOST}/unary")).header("te", "trailers");
    let reply = client.send(request.body(crate::harness::http2::with_trailers("hi", up)).unwrap());
    let reply = reply.await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"message"[..]));
    assert_eq!(reply.trailers.unwrap()["grpc-status"], "0");
    let seen = pod.one();
    assert_eq!(
        (&seen.body[..], &seen.headers["te"]),
        (&b"hi"[..], &HeaderValue::from_static("trailers"))
    );
    assert_eq!(seen.trailers.unwrap()["x-sum"], "7");
    let reply = client.send(Request::post(format!("http://{HOST}/none")).body(body("hi")).unwrap());
    let reply = reply.await.unwrap();
    assert_eq!(
        (&reply.headers["grpc-status"], reply.trailers),
        (&HeaderValue::from_static("5"), None)
    );
    assert!(reply.body.is_empty());
}

/// gRPC with a stream each way: an answer arrives before the next message is sent, the end of the
/// client's side brings the trailers, and a cancelled call is cancelled at the pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_28_both_directions_stream_and_cancellation_reaches_the_pod() {
    let pod = H2Pod::start(|_| Act::Echo(Reply::new(200).trailer("grpc-status", "0"))).await;
    let edge = over(&pod).await;
    for finish in [true, false] {
        let mut client = Http2::over(edge.client().await.stream).await;
        let (send, upload) = crate::harness::http2::channel();
        let request = Request::post(format!("http://{HOST}/")).body(upload).unwrap();
        let mut response = client.open(request).await.unwrap().into_body();
        for message in ["one", "two", "three"] {
            send.send(Ok(http_body::Frame::data(message.into()))).await.unwrap();
            let frame = http_body_util::BodyExt::frame(&mut response).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), message);
        }
        if finish {
            drop(send);
            let frame = http_body_util::BodyExt::frame(&mut response).await.unwrap().unwrap();
            assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0");
        } else {
            drop((response, send, client));
        }
        eventually("the stream to end", async || (pod.streams() == 0).then_some(())).await;
        let reset = pod.seen().pop().unwrap().reset;
        assert_eq!(reset, (!finish).then_some(Reason::CANCEL));
    }
    assert_eq!(pod.connections(), 1, "cancelling one stream leaves the connection alone");
}

/// A client that goes away before the answer takes its stream with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_gone_cancels_its_stream() {
    let pod = H2Pod::start(|_| Act::Stall).await;
    let edge = over(&pod).await;
    let mut client = edge.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    eventually("the stream", async || (pod.streams() == 1).then_some(())).await;
    drop(client);
    eventually("its end", async || (pod.streams() == 0).then_some(())).await;
    assert_eq!(pod.one().reset, Some(Reason::CANCEL));
    edge.has_reasons(&[("client_closed", 1)]).await;
    assert_eq!(pod.open(), 1);
}

/// a body that the pod resets, or whose connection dies, stays cut for clients of either
/// version; a reset with NO_ERROR counts as an end only when no byte is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_26_a_body_cut_on_http_2_stays_cut() {
    let half = || Reply::new(200).chunk("half");
    let short = || half().header("content-length", 9);
    let rows: [(&str, Act, Option<Reason>); 5] = [
        ("cancel", Act::Cut(half(), Reason::CANCEL), Some(Reason::CANCEL)),
        ("internal", Act::Cut(half(), Reason::INTERNAL_ERROR), Some(Reason::INTERNAL_ERROR)),
        ("no error", Act::Cut(short(), Reason::NO_ERROR), Some(Reason::INTERNAL_ERROR)),
        ("refused late", Act::Cut(half(), Reason::REFUSED_STREAM), Some(Reason::INTERNAL_ERROR)),
        ("died", Act::Die(half()), Some(Reason::INTERNAL_ERROR)),
    ];
    for (what, act, reason) in rows {
        let pod = H2Pod::start(move |_| act.clone()).await;
        let edge = over(&pod).await;
        let mut plain = edge.client().await;
        let response = plain.get(HOST, "/").await;
        // A cut that comes with the head may take the head with it.
        assert!(response.cut && matches!(response.status(), 0 | 200), "{what}: {response:?}");
        let mut client = Http2::over(edge.client().await.stream).await;
        let error = client.get(&format!("http://{HOST}/")).await.unwrap_err();
        let source =
            std::error::Error::source(&error).and_then(|it| it.downcast_ref::<h2::Error>());
        assert_eq!(source.and_then(h2::Error::reason), reason, "{what}: {error:?}");
        assert_eq!(pod.attempts(), 2, "{what}: never sent again");
        edge.has_reasons(&[("upstream_reset", 2)]).await;
    }
}

/// Two uploads to a pod that says 413 before it has read them.
pub(super) async fn early_answers_are_whole(edge: &Edge) {
    for _ in 0..2 {
        let mut client = edge.client().await;
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: 3000000\r\n\r\n");
        client.send(head).await;
        client.send(vec![7; 100_000]).await;
        let response = client.response().await;
        assert_eq!((response.status(), response.text().as_str()), (413, "too large"));
        assert!(!response.cut);
    }
}

/// A pod that answers without reading the body and then resets the stream with NO_ERROR, as RFC 9113
/// 8.1 has it: the answer is whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_whole() {
    let pod = H2Pod::start(|_| Act::Early(Reply::new(413).chunk("too large"))).await;
    let edge = over(&pod).await;
    early_answers_are_whole(&edge).await;
    assert_eq!(pod.connections(), 1);
}

/// Large bodies both ways through the windows, several streams at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass_in_both_directions() {
    let pod = H2Pod::start(|_| Act::Echo(Reply::new(200))).await;
    let edge = over(&pod).await;
    let bytes: Vec<u8> = (0..=250).cycle().take(3_000_000).collect();
    let mut client = Http2::over(edge.client().await.stream).await;
    let requests: Vec<_> = (0..3)
        .map(|_| {
            let request = Request::post(format!("http://{HOST}/")).body(body(bytes.clone()));
            client.start(request.unwrap())
        })
        .collect();
    for request in requests {
        assert!(request.await.unwrap().body == bytes);
    }
    let (read, mut write) = tokio::io::split(edge.client().await.stream);
    let head =
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: {}\r\n\r\n", bytes.len());
    let sent = [head.into_bytes(), bytes.clone()].concat();
    let upload = tokio::spawn(async move { write.write_all(&sent).await.map(|()| write) });
    let response = Client::over(tokio::io::join(read, tokio::io::sink())).response().await;
    assert!(response.body == bytes && !response.cut, "{}", response.line);
    assert!(upload.await.unwrap().is_ok());
    assert_eq!(pod.connections(), 1);
}

/// A pod that is said to speak HTTP/2 and does not: nothing of the request reaches it, and the page
/// says that the pod is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_http_1_behind_the_wrong_name_is_a_502() {
    let pod = crate::harness::pod::Pod::start(|_| {
        crate::harness::pod::Act::Last(
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec(),
        )
    })
    .await;
    let objects = h2c(app(route("a", HOST), &[pod.address]));
    let edge = Edge::with(&objects, |settings| {
        settings.timeouts.connect = Duration::from_millis(20);
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.status(), 502);
    assert_eq!(pod.connections(), 4, "tried as often as a connection that fails");
    assert!(pod.seen().iter().all(|seen| seen.method() == "PRI"), "{:?}", pod.seen());
    edge.has_reasons(&[("upstream_invalid", 1)]).await;
}

/// F-11, for shared connections: a stream in flight is not cut, but the connection takes no other and
/// ends with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_11_a_departed_pod_finishes_its_streams() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let pod = H2Pod::start(move |_| Act::After(Arc::clone(&held), Box::new(ok("held")))).await;
    let objects = h2c(app(route("a", HOST), &[pod.address]));
    let edge = Edge::with(&objects, |settings| settings.workers = 1).await;
    let mut client = edge.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    eventually("the stream", async || (pod.streams() == 1).then_some(())).await;
    edge.write("main.yaml", &h2c(app(route("a", HOST), &[])));
    edge.until("a snapshot without the pod", |snapshot| {
        let states = &snapshot.routes;
        states.iter().all(|state| state.compiled.as_ref().unwrap().backend.servers.is_empty())
    })
    .await;
    gate.add_permits(1);
    assert_eq!(client.response().await.text(), "held");
    eventually("the connection to end", async || (pod.open() == 0).then_some(())).await;
}

/// A connection without a stream ends at the idle limit; one past its age takes no new stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_connections_end_at_their_limits() {
    let pod = H2Pod::start(|seen| ok(seen.connection.to_string())).await;
    let objects = h2c(app(route("a", HOST), &[pod.address]));
    let edge = Edge::with(&objects, |settings| {
        settings.workers = 1;
        settings.timeouts.pool_age = Duration::ZERO;
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.text(), "1");
    assert_eq!(edge.get(HOST, "/").await.text(), "2", "too old at once");
    let edge = Edge::with(&objects, |settings| {
        settings.workers = 1;
        settings.timeouts.pool_idle = Duration::from_millis(10);
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.text(), "3");
    eventually("the idle connection to end", async || (pod.open() == 0).then_some(())).await;
}
