//! The pod's side: responses that could be read in two ways (S-20), and trailers (S-23).

use super::{HOST, route};
use crate::harness::{
    manifest::app,
    pod::{Act, Pod, ok, raw},
    router::Edge,
};

/// What a pod sends for `/bad`, to which method, and the status that the client gets.
type Row = (&'static str, &'static str, String, u16);

fn rows() -> Vec<Row> {
    let text = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let other =
        |status: &str, body: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\n\r\n{body}");
    let chunked = "transfer-encoding: chunked\r\n";
    let body = "5\r\nhello\r\n0\r\n\r\n";
    vec![
        ("length twice", "GET", text(&"content-length: 5\r\n".repeat(2), "hello"), 502),
        (
            "lengths differ",
            "GET",
            text("content-length: 5\r\ncontent-length: 6\r\n", "hello!"),
            502,
        ),
        ("length list", "GET", text("content-length: 5, 5\r\n", "hello"), 502),
        ("length with a sign", "GET", text("content-length: +5\r\n", "hello"), 502),
        ("length and coding", "GET", text(&format!("content-length: 5\r\n{chunked}"), body), 502),
        ("coding and length", "GET", text(&format!("{chunked}content-length: 5\r\n"), body), 502),
        ("coding twice", "GET", text(&chunked.repeat(2), body), 502),
        ("other coding", "GET", text("transfer-encoding: gzip\r\n", "hello"), 502),
        ("coding in front", "GET", text("transfer-encoding: gzip, chunked\r\n", body), 502),
        ("coding on 1.0", "GET", text(chunked, body).replace("1.1", "1.0"), 502),
        ("control byte", "GET", text("x: \x01\r\ncontent-length: 0\r\n", ""), 502),
        ("NUL", "GET", text("x: a\0b\r\ncontent-length: 0\r\n", ""), 502),
        ("folded", "GET", text("x: a\r\n b\r\ncontent-length: 0\r\n", ""), 502),
        ("blank before colon", "GET", text("content-length : 5\r\n", "hello"), 502),
        ("no colon", "GET", text("nonsense\r\ncontent-length: 0\r\n", ""), 502),
        ("too large", "GET", text(&format!("x: {}\r\n", "y".repeat(40_000)), ""), 502),
        ("too many fields", "GET", text(&"x: y\r\n".repeat(102), ""), 502),
        (
            "101 unasked",
            "GET",
            "HTTP/1.1 101 X\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n".into(),
            502,
        ),
        ("body of a 204", "GET", other("204 No Content", "hello"), 204),
        ("body of a 304", "GET", other("304 Not Modified", "hello"), 304),
        ("body for HEAD", "HEAD", other("200 OK", "hello"), 200),
        (
            "a second response",
            "GET",
            text("content-length: 0\r\n", &text("x-evil: 1\r\n", "")),
            200,
        ),
    ]
}

/// S-20: nothing of a doubtful response reaches the client, and the pod's connection serves nobody
/// else: the next request has its own answer over another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_20_doubtful_responses_spend_the_pod_connection() {
    for (what, method, bytes, status) in rows() {
        let pod = Pod::start(move |seen| match seen.target() {
            "/bad" => raw(&bytes),
            target => ok(target),
        })
        .await;
        let edge = Edge::start(&app(route(), &[pod.address])).await;
        let mut client = edge.client().await;
        // Not the first request of its connection, so that any connection that is left would be used.
        assert_eq!(client.get(HOST, "/before").await.text(), "/before", "{what}");
        client.send(format!("{method} /bad HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        let response = client.response_to(method).await;
        assert_eq!(response.status(), status, "{what}");
        let after = client.get(HOST, "/after").await;
        assert_eq!((after.text().as_str(), after.header("x-evil")), ("/after", None), "{what}");
        let seen: Vec<_> = pod.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(seen, [1, 1, 2], "{what}");
        let reasons: &[_] = if status == 502 { &[("upstream_invalid", 1)] } else { &[] };
        edge.has_reasons(reasons).await;
    }
}

/// S-20: a pod that only ever says that it goes on is cut by the server timeout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_20_a_flood_of_interim_responses_ends() {
    let pod = Pod::start(|_| {
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(10_000);
        Act::Stall(interim)
    })
    .await;
    let edge = Edge::with(&app(route(), &[pod.address]), |settings| {
        settings.timeouts.server = std::time::Duration::from_millis(150);
    })
    .await;
    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.status(), 504);
    edge.has_reasons(&[("upstream_timeout", 1)]).await;
}

/// S-23: a trailer says nothing about framing, host, identity or the way of the request, whatever
/// `Trailer` announces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_23_forbidden_trailers_are_dropped() {
    let names = [
        "host",
        "content-length",
        "transfer-encoding",
        "authorization",
        "cookie",
        "x-ssl-client-cn",
        "x_ssl_client_cn",
        "x-forwarded-for",
        "x_forwarded_for",
        "forwarded",
        "connection",
    ];
    let announced = names.join(", ");
    let fields: String = names.iter().map(|name| format!("{name}: evil\r\n")).collect();
    let trailers = format!("0\r\n{fields}x-sum: 1\r\ngrpc-status: 0\r\n\r\n");
    let head =
        format!("transfer-encoding: chunked\r\ntrailer: {announced}, x-sum, grpc-status\r\n");
    let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n{trailers}");
    let pod = Pod::start(move |_| raw(&answer)).await;
    let edge = Edge::start(&app(route(), &[pod.address])).await;
    let mut client = edge.client().await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\n{head}\r\n{trailers}"))
        .await;
    let response = client.response().await;
    let names = |trailers: &[(String, String)]| {
        let mut names: Vec<_> = trailers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    let seen = pod.one();
    assert_eq!(names(&seen.trailers), ["grpc-status", "x-sum"]);
    assert_eq!(names(&response.trailers), ["grpc-status", "x-sum"]);
    assert_eq!((seen.all("host"), seen.all("authorization").len()), (vec![HOST], 0));
    assert_eq!(client.get(HOST, "/").await.status(), 200);
    let mut http2 = crate::harness::http2::Http2::over(edge.client().await.stream).await;
    let reply = http2.get(&format!("http://{HOST}/")).await.expect("an answer");
    let mut left: Vec<_> = reply.trailers.iter().flat_map(|map| map.keys()).collect();
    left.sort_by_key(|name| name.as_str());
    assert_eq!(left, ["grpc-status", "x-sum"]);
}
