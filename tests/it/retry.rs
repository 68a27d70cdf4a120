//! Which requests are sent again, and how often: one scripted pod for each row of the retry table
//! (R-23, [RETRY-1], [RETRY-2], decisions 12). What counts is what the pods saw.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use h2::Reason;
use serde_json::Value;

use crate::harness::{
    client::{self, Client},
    eventually,
    h2pod::{self, Frame, FramePod, H2Pod, Reply},
    http2::{Http2, body},
    manifest::{app, h2c, route},
    pod::{Act, Pod, Refusing, ok, raw},
    router::Edge,
};

const HOST: &str = "a.example.com";

/// One worker, so that every connection meets the same pool; pauses of 20 ms.
async fn edge(objects: &[Value]) -> Edge {
    Edge::with(objects, |settings| {
        settings.workers = 1;
        settings.limits.abort_on_close = true;
        settings.timeouts.connect = Duration::from_millis(20);
    })
    .await
}

async fn over(pod: &Pod) -> Edge {
    edge(&app(route("a", HOST), &[pod.address])).await
}

/// A request with `method`, with a body if there is one.
fn request(method: &str, body: Option<&str>) -> String {
    match body {
        None => format!("{method} /again HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
        Some(body) => format!(
            "{method} /again HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    }
}

const IDEMPOTENT: [&str; 6] = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"];

/// Connecting failed, so nothing was sent: any request goes to another endpoint, body included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_goes_to_another_endpoint() {
    let pod = Pod::start(|seen| ok(&seen.body)).await;
    let refusing = Refusing::bound();
    let edge = edge(&app(route("a", HOST), &[refusing.address, pod.address])).await;
    let requests = 20;
    for _ in 0..requests {
        // A connection each: POST as a first request never rides a pooled connection.
        let mut client = edge.client().await;
        client.send(request("POST", Some("body"))).await;
        assert_eq!(client.response().await.text(), "body");
        let mut client = edge.client().await;
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    assert_eq!(pod.attempts(), 2 * requests);
    let refused = edge.count("a", |counters| &counters.connection_errors);
    assert!(refused > 0);
    assert_eq!(edge.count("a", |counters| &counters.retries), refused);
    assert_eq!(edge.count("a", |counters| &counters.redispatches), refused);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// [RETRY-1]: a single endpoint that refuses is tried four times, then the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_1_a_single_endpoint_is_tried_four_times() {
    let refusing = Refusing::bound();
    let edge = edge(&app(route("a", HOST), &[refusing.address])).await;
    for method in ["GET", "POST"] {
        let mut client = edge.client().await;
        client.send(request(method, None)).await;
        assert_eq!(client.response().await.status(), 503, "{method}");
    }
    edge.has_reasons(&[("connect_failed", 2)]).await;
    assert_eq!(edge.count("a", |counters| &counters.connection_errors), 8);
    assert_eq!(edge.count("a", |counters| &counters.retries), 6);
    assert_eq!(edge.count("a", |counters| &counters.redispatches), 0);
}

/// A new connection that dies after the request was sent: nothing is sent again, whatever the method.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_connection_that_dies_is_final() {
    let acts: [fn() -> Act; 2] = [|| Act::Reset, || Act::Last(Vec::new())];
    for act in acts {
        for method in ["GET", "PUT", "POST"] {
            let pod = Pod::start(move |_| act()).await;
            let edge = over(&pod).await;
            let mut client = edge.client().await;
            client.send(request(method, None)).await;
            assert_eq!(client.response().await.status(), 502, "{method}");
            assert_eq!(pod.attempts(), 1, "{method}");
            edge.has_reasons(&[("upstream_reset", 1)]).await;
        }
    }
}

/// A pod whose first connection dies at its second request, and which answers on later ones.
async fn dies_when_reused(act: fn() -> Act) -> Pod {
    Pod::start(move |seen| match (seen.connection, seen.nth) {
        (1, 2) => act(),
        _ => ok(format!("{} {}", seen.connection, seen.nth)),
    })
    .await
}

/// A reused connection that dies after the request: what is idempotent and has no body goes once
/// more, over a new connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_reused_connection_is_retried_once_for_idempotent_requests() {
    let acts: [fn() -> Act; 2] = [|| Act::Reset, || Act::Last(Vec::new())];
    for act in acts {
        for method in IDEMPOTENT {
            let pod = dies_when_reused(act).await;
            let edge = over(&pod).await;
            let mut client = edge.client().await;
            assert_eq!(client.get(HOST, "/").await.text(), "1 1");
            client.send(request(method, None)).await;
            assert_eq!(client.response_to(method).await.status(), 200, "{method}");
            let seen = pod.seen();
            let at: Vec<_> = seen.iter().map(|seen| (seen.connection, seen.nth)).collect();
            assert_eq!(at, [(1, 1), (1, 2), (2, 1)], "{method}");
            assert!(edge.reasons().is_empty(), "{method}: {:?}", edge.reasons());
        }
    }
}

/// The second try is the last one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_request_is_sent_twice_at_most() {
    let pod = Pod::start(|seen| match seen.target() {
        "/again" => Act::Reset,
        _ => ok("first"),
    })
    .await;
    let edge = over(&pod).await;
    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.text(), "first");
    client.send(request("GET", None)).await;
    assert_eq!(client.response().await.status(), 502);
    assert_eq!(pod.attempts(), 3);
    edge.has_reasons(&[("upstream_reset", 1)]).await;
}

/// The same death, but the request is not idempotent, or has a body: 502, and no pod sees it twice
///
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_24_what_must_not_run_twice_is_never_sent_twice() {
    let rows = [
        ("POST", None),
        ("POST", Some("body")),
        ("PATCH", None),
        ("PURGE", None),
        ("PUT", Some("body")),
        ("GET", Some("body")),
    ];
    for (method, body) in rows {
        let pod = dies_when_reused(|| Act::Reset).await;
        let edge = over(&pod).await;
        let mut client = edge.client().await;
        assert_eq!(client.get(HOST, "/").await.text(), "1 1");
        client.send(request(method, body)).await;
        assert_eq!(client.response().await.status(), 502, "{method} {body:?}");
        let again = pod.seen().iter().filter(|seen| seen.target() == "/again").count();
        assert_eq!(again, 1, "{method} {body:?}");
        edge.has_reasons(&[("upstream_reset", 1)]).await;
    }
}

/// [RETRY-2] and decisions 12: the first request of a client connection rides a pooled connection
/// only if it may be repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_2_first_requests_ride_pooled_connections_only_if_replayable() {
    let rows = [("GET", None, 1), ("DELETE", None, 1), ("POST", None, 2), ("PUT", Some("x"), 2)];
    for (method, body, connections) in rows {
        let pod = Pod::saying("pod").await;
        let edge = over(&pod).await;
        assert_eq!(edge.get(HOST, "/").await.status(), 200);
        let mut client = edge.client().await;
        client.send(request(method, body)).await;
        assert_eq!(client.response().await.status(), 200);
        assert_eq!(pod.connections(), connections, "{method}");
    }
}

/// A pooled connection that the pod has closed in the meantime costs a GET nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_25_a_stale_pooled_connection_costs_nothing() {
    let pod =
        Pod::start(|_| Act::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec())).await;
    let edge = over(&pod).await;
    let mut client = edge.client().await;
    let requests = 50;
    for _ in 0..requests {
        let response = client.get(HOST, "/").await;
        assert_eq!((response.status(), response.text().as_str()), (200, "ok"));
    }
    assert_eq!(pod.attempts(), requests);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// After a response has begun nothing is sent again, and 5xx and 429 are answers like any other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_are_never_a_reason_to_retry() {
    for status in [500, 502, 503, 504, 429] {
        let pod = Pod::start(move |_| {
            raw(&format!("HTTP/1.1 {status} Reason\r\ncontent-length: 0\r\n\r\n"))
        })
        .await;
        let other = Pod::saying("other").await;
        let edge = edge(&app(route("a", HOST), &[pod.address])).await;
        assert_eq!(edge.get(HOST, "/").await.status(), status);
        assert_eq!((pod.attempts(), other.attempts()), (1, 0));
        assert!(edge.reasons().is_empty(), "a pod's own answer has no reason");
    }
    let pod = Pod::start(|seen| match seen.nth {
        1 => ok("first"),
        _ => Act::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_vec()),
    })
    .await;
    let edge = over(&pod).await;
    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.text(), "first");
    assert!(client.get(HOST, "/").await.cut);
    assert_eq!(pod.attempts(), 2);
}

/// An upgrade is never sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_is_never_retried() {
    let pod = dies_when_reused(|| Act::Reset).await;
    let edge = over(&pod).await;
    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.text(), "1 1");
    let upgrade = format!(
        "GET /again HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    client.send(upgrade).await;
    assert_eq!(client.response().await.status(), 502);
    assert_eq!(pod.seen().iter().filter(|seen| seen.target() == "/again").count(), 1);
}

/// A client that goes away takes its request with it: the pod's connection ends and nothing is left
/// in flight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_gone_is_not_retried_for() {
    let pod = Pod::start(|_| Act::Stall(Vec::new())).await;
    let edge = over(&pod).await;
    let mut client: Client<_> = edge.client().await;
    client.send(client::get(HOST, "/")).await;
    eventually("the request at the pod", async || (pod.attempts() == 1).then_some(())).await;
    drop(client);
    eventually("the pod's connection to end", async || (pod.open() == 0).then_some(())).await;
    edge.has_reasons(&[("client_closed", 1)]).await;
    edge.is_quiet().await;
    let in_flight =
        edge.route("a", |state| state.compiled.as_ref().expect("served").backend.stats.in_flight());
    assert_eq!((pod.attempts(), in_flight), (1, 0));
}

/// A pod that refuses the first streams and echoes the body of the next one.
async fn refuses(first: usize) -> H2Pod {
    let seen = AtomicUsize::new(0);
    H2Pod::start(move |_| match seen.fetch_add(1, Relaxed) < first {
        true => h2pod::Act::Refuse(Reason::REFUSED_STREAM),
        false => h2pod::Act::Reply(Reply::new(200).chunk("done")),
    })
    .await
}

/// REFUSED_STREAM says that the pod has not looked at the request (RFC 9113 8.7): any method goes
/// again, to another endpoint while there is one, with its body as long as that is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_is_retried_whatever_the_method() {
    let rows = [("GET", None), ("POST", None), ("POST", Some("body")), ("PATCH", Some("body"))];
    for (method, body) in rows {
        let pod = refuses(1).await;
        let edge = edge(&h2c(app(route("a", HOST), &[pod.address]))).await;
        let mut client = edge.client().await;
        client.send(request(method, body)).await;
        assert_eq!(client.response().await.text(), "done", "{method} {body:?}");
        let bodies: Vec<_> = pod.seen().into_iter().map(|seen| seen.body).collect();
        assert_eq!(bodies, [b"", body.unwrap_or_default().as_bytes()], "{method}");
        assert_eq!(pod.connections(), 1, "the connection is not to blame");
        assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
    }
    let (refusing, serving) = (refuses(usize::MAX).await, refuses(0).await);
    let edge = edge(&h2c(app(route("a", HOST), &[refusing.address, serving.address]))).await;
    for _ in 0..10 {
        let mut client = edge.client().await;
        client.send(request("POST", Some("body"))).await;
        assert_eq!(client.response().await.text(), "done");
    }
    assert_eq!(serving.attempts(), 10);
    assert_eq!(edge.count("a", |counters| &counters.retries), refusing.attempts() as u64);
    assert_eq!(edge.count("a", |counters| &counters.redispatches), refusing.attempts() as u64);
}

/// A pod that refuses every stream sees the request four times, as one that refuses connections does
/// [RETRY-1]; a body that is too large to be kept, or a part of it, goes once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_is_tried_four_times_at_most() {
    for (size, attempts) in [(0, 4), (60_000, 4), (80_000, 1)] {
        let pod = refuses(usize::MAX).await;
        let edge = edge(&h2c(app(route("a", HOST), &[pod.address]))).await;
        let mut client = edge.client().await;
        client.send(request("POST", Some(&"x".repeat(size)))).await;
        assert_eq!(client.response().await.status(), 502, "{size}");
        assert_eq!(pod.attempts(), attempts, "{size}");
        edge.has_reasons(&[("upstream_reset", 1)]).await;
    }
}

/// A stream above the last one of a GOAWAY was not looked at: it goes again, over another connection,
/// whatever the method.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_above_goaway_is_retried() {
    for (method, body) in [("GET", None), ("POST", Some("body"))] {
        let pod = FramePod::start(|connection, stream| match (connection, stream) {
            (1, 3) => Frame::GoAway { last: 1 },
            _ => Frame::Ok,
        })
        .await;
        let edge = edge(&h2c(app(route("a", HOST), &[pod.address]))).await;
        let mut client = edge.client().await;
        assert_eq!(client.get(HOST, "/").await.status(), 200);
        client.send(request(method, body)).await;
        assert_eq!(client.response().await.status(), 200, "{method}");
        assert_eq!(pod.seen(), [(1, 1), (1, 3), (2, 1)], "{method}");
        assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
    }
}

/// A stream that the pod has looked at: any other reset is final, for gRPC as for the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_reset_is_final() {
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let pod = H2Pod::start(move |_| h2pod::Act::Refuse(reason)).await;
        let edge = edge(&h2c(app(route("a", HOST), &[pod.address]))).await;
        for method in ["GET", "POST"] {
            let mut client = edge.client().await;
            client.send(request(method, None)).await;
            assert_eq!(client.response().await.status(), 502, "{method} {reason}");
        }
        assert_eq!(pod.attempts(), 2, "{reason}");
        assert_eq!(pod.connections(), 1);
        edge.has_reasons(&[("upstream_reset", 2)]).await;
    }
}

/// A shared connection that dies with the request on it: what is idempotent and has no body goes once
/// more, the rest is a 502; a new one that dies is final for all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_shared_connection_is_retried_for_idempotent_requests() {
    let rows = [("GET", None, true), ("POST", None, false), ("PUT", Some("body"), false)];
    for (method, body, again) in rows {
        let pod = H2Pod::start(|seen| match (seen.connection, seen.nth) {
            (1, 2) => h2pod::Act::Die(Reply::new(0)),
            _ => h2pod::ok("pod"),
        })
        .await;
        let edge = edge(&h2c(app(route("a", HOST), &[pod.address]))).await;
        let mut client = edge.client().await;
        assert_eq!(client.get(HOST, "/").await.status(), 200);
        client.send(request(method, body)).await;
        let status = if again { 200 } else { 502 };
        assert_eq!(client.response().await.status(), status, "{method}");
        assert_eq!(pod.attempts(), if again { 3 } else { 2 }, "{method}");
    }
    let pod = H2Pod::start(|_| h2pod::Act::Die(Reply::new(0))).await;
    let edge = edge(&h2c(app(route("a", HOST), &[pod.address]))).await;
    assert_eq!(edge.get(HOST, "/").await.status(), 502);
    assert_eq!(pod.attempts(), 1);
}

/// Requests that wait for the same connection share its failure: a burst of eight opens far fewer
/// connections than the 32 that eight requests with four tries each may open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_shares_a_connection_that_fails() {
    let pod = Pod::start(|_| Act::Last(Vec::new())).await;
    let edge = edge(&h2c(app(route("a", HOST), &[pod.address]))).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    let requests: Vec<_> = (0..8)
        .map(|_| {
            client.start(http::Request::get(format!("http://{HOST}/")).body(body("")).unwrap())
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap().status, 503);
    }
    assert_eq!(edge.count("a", |counters| &counters.connection_errors), 32);
    assert!(pod.connections() < 32, "{}", pod.connections());
    edge.has_reasons(&[("connect_failed", 8)]).await;
}

/// R-25, the order fixed: the pod closes the connection that waits, and the request is sent before
/// and after the router can have seen it. GET never fails, and no POST runs twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_25_a_pod_that_closes_as_the_request_comes() {
    // The pod closes its end only when the next request has arrived: the request is lost on the way.
    for method in ["GET", "POST"] {
        let pod = Pod::start(|seen| match seen.nth {
            1 => ok("pod"),
            _ => Act::Last(Vec::new()),
        })
        .await;
        let edge = over(&pod).await;
        let mut client = edge.client().await;
        let mut lost = 0;
        for nth in 0..40 {
            client.send(format!("{method} /{nth} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
            match client.response().await.status() {
                200 => {},
                502 if method == "POST" => lost += 1,
                other => panic!("{method} {nth}: {other}"),
            }
        }
        let mut twice: Vec<_> = pod.seen().iter().map(|seen| seen.target().to_owned()).collect();
        twice.sort_unstable();
        let sent = twice.len();
        twice.dedup();
        if method == "POST" {
            assert_eq!((sent, twice.len(), lost), (40, 40, 20), "every other one, none twice");
        } else {
            assert_eq!((sent - twice.len(), lost), (39, 0), "each lost once, none failed");
        }
    }
}
