//! Compression of responses, over the wire (spec/route.md 12, COMP-1).

use std::{io::Read as _, sync::Arc};

use flate2::{Decompress, FlushDecompress, read::GzDecoder};
use http::Request;
use tokio::sync::Semaphore;
use wharf::settings::RouterSettings;

use crate::harness::{
    client::Response,
    http2::{Http2, body},
    manifest::{app, route},
    pod::{Act, Pod, bare, raw},
    router::Edge,
};

const HOST: &str = "a.example.com";

async fn edge(pod: &Pod, change: impl FnOnce(&mut RouterSettings)) -> Edge {
    Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.compression.enabled = true;
        change(settings);
    })
    .await
}

/// A pod that answers with this head, without its status line, and body.
async fn pod(fields: &'static str, text: &'static str) -> Pod {
    Pod::start(move |_| raw(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n{text}"))).await
}

fn unpacked(bytes: &[u8]) -> std::io::Result<String> {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).map(|_| text)
}

async fn asked(edge: &Edge, line: &str, fields: &str) -> Response {
    let mut client = edge.client().await;
    client.send(format!("{line}\r\nHost: {HOST}\r\n{fields}\r\n\r\n")).await;
    client.response_to(line.split(' ').next().unwrap_or_default()).await
}

const GET: &str = "GET / HTTP/1.1";
const GZIP: &str = "Accept-Encoding: gzip";

/// [COMP-1] on HTTP/1.1: fields, framing, bytes; what the pod was asked; nothing where it is off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comp_1_a_response_is_compressed() {
    let fields = "content-type: text/html; charset=utf-8\r\ncontent-length: 12\r\netag: \"t\"";
    let pod = pod(fields, "hello, world").await;
    let edge = edge(&pod, |_| {}).await;
    let reply = asked(&edge, GET, "Accept-Encoding: br, gzip;q=0.5").await;
    assert_eq!((reply.status(), reply.cut), (200, false));
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    assert_eq!(reply.header("content-length"), None);
    assert_eq!(reply.header("etag"), Some("W/\"t\""));
    assert_eq!(reply.header("vary"), Some("Accept-Encoding"));
    assert_eq!(unpacked(&reply.body).unwrap(), "hello, world");
    let seen = pod.seen().pop().unwrap();
    assert_eq!(seen.all("accept-encoding"), ["br, gzip;q=0.5"], "the pod may do it itself");
    let plain = asked(&edge, GET, "Accept-Encoding: br").await;
    assert_eq!((plain.text().as_str(), plain.header("content-encoding")), ("hello, world", None));
    assert_eq!((plain.header("content-length"), plain.header("vary")), (Some("12"), None));
    let compressed = edge.router.stats.workers.sum(|cell| &cell.compressed);
    assert_eq!(compressed, 1);
    let off = self::edge(&pod, |settings| settings.compression.enabled = false).await;
    let plain = asked(&off, GET, GZIP).await;
    assert_eq!((plain.text().as_str(), plain.header("etag")), ("hello, world", Some("\"t\"")));
}

/// [COMP-1]: to HEAD and HTTP/1.0, of other statuses and types, and what is encoded already, nothing is
/// done; the types are a setting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comp_1_what_is_left_alone() {
    const HTML: &str = "content-type: text/html\r\ncontent-length: 4";
    let rows = [
        ("HEAD / HTTP/1.1", "200 OK", HTML, false),
        ("GET / HTTP/1.0", "200 OK", HTML, false),
        (GET, "206 Partial Content", HTML, false),
        (GET, "404 Not Found", HTML, false),
        (GET, "200 OK", "content-type: image/png\r\ncontent-length: 4", false),
        (GET, "200 OK", "content-length: 4", false),
        (GET, "200 OK", "content-type: a/b; c=d\r\ncontent-length: 4", true),
        (GET, "203 Indeed", HTML, true),
        (
            GET,
            "200 OK",
            "content-type: text/html\r\ncontent-length: 4\r\ncontent-encoding: x",
            false,
        ),
        (
            GET,
            "200 OK",
            "content-type: text/html\r\ncontent-length: 4\r\ncache-control: no-transform",
            false,
        ),
    ];
    for (line, status, fields, compressed) in rows {
        let pod = Pod::start(move |seen| {
            let text = if seen.method() == "HEAD" { "" } else { "body" };
            raw(&format!("HTTP/1.1 {status}\r\n{fields}\r\n\r\n{text}"))
        })
        .await;
        let edge = edge(&pod, |settings| {
            settings.compression.types = vec!["text/html".to_owned(), "a/b; c=d".to_owned()];
        })
        .await;
        let reply = asked(&edge, line, &format!("{GZIP}\r\nConnection: close")).await;
        let found = reply.header("content-encoding") == Some("gzip");
        assert_eq!(found, compressed, "{line} {status} {fields}");
        if compressed {
            assert_eq!(unpacked(&reply.body).unwrap(), "body");
        } else {
            assert_eq!(reply.header("content-length"), Some("4"), "{line} {status} {fields}");
            assert_eq!(reply.header("vary"), None);
        }
    }
}

/// [COMP-1] on HTTP/2, with trailers; a HEAD and a 304 on the same connection are left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comp_1_http2_and_trailers() {
    let pod = Pod::start(|seen| match seen.target() {
        "/304" => {
            raw("HTTP/1.1 304 Not Modified\r\ncontent-type: text/html\r\netag: \"t\"\r\n\r\n")
        },
        _ => raw("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntrailer: x-sum\r\n\
             transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 7\r\n\r\n"),
    })
    .await;
    let edge = edge(&pod, |_| {}).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    let request = |path: &str| {
        let request = Request::get(format!("http://{HOST}{path}"));
        request.header("accept-encoding", "gzip").header("te", "trailers").body(body("")).unwrap()
    };
    let reply = client.send(request("/")).await.unwrap();
    assert_eq!(reply.headers["content-encoding"], "gzip");
    assert_eq!(unpacked(&reply.body).unwrap(), "hello");
    assert_eq!(reply.trailers.expect("trailers")["x-sum"], "7");
    let reply = client.send(request("/304")).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.headers["etag"]), (304, &"\"t\"".parse().unwrap()));
    assert_eq!(reply.headers.get("content-encoding"), None);
    // HTTP/1.1 has them as well.
    let reply = asked(&edge, GET, &format!("{GZIP}\r\nTE: trailers")).await;
    assert_eq!(unpacked(&reply.body).unwrap(), "hello");
    assert_eq!(reply.trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

/// [COMP-1]: each event of a slow stream arrives before the next one is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comp_1_slow_streams_arrive_event_by_event() {
    let permits = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&permits);
    let address = bare(move |mut stream, _| async move {
        use tokio::io::AsyncWriteExt as _;
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
        let _gone = stream.write_all(head.as_bytes()).await;
        for event in 0..3 {
            gate.acquire().await.expect("open").forget();
            let _gone = stream.write_all(format!("8\r\ndata: {event}\n\r\n").as_bytes()).await;
        }
        gate.acquire().await.expect("open").forget();
        let _gone = stream.write_all(b"0\r\n\r\n").await;
    })
    .await;
    let objects = app(route("a", HOST), &[address]);
    let edge = Edge::with(&objects, |settings| settings.compression.enabled = true).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    let request = Request::get(format!("http://{HOST}/")).header("accept-encoding", "gzip");
    let response = client.open(request.body(body("")).unwrap()).await.unwrap();
    let mut incoming = response.into_body();
    let mut inflate = Decompress::new_gzip(15);
    for event in 0..3 {
        permits.add_permits(1);
        let mut plain = Vec::with_capacity(256);
        while plain.len() < 8 {
            let frame =
                crate::harness::within("an event", http_body_util::BodyExt::frame(&mut incoming));
            let data = frame.await.expect("more").expect("well").into_data().expect("data");
            inflate.decompress_vec(&data, &mut plain, FlushDecompress::None).unwrap();
        }
        assert_eq!(plain, format!("data: {event}\n").as_bytes());
    }
    permits.add_permits(1);
    let rest = http_body_util::BodyExt::collect(incoming).await.expect("a clean end");
    assert!(!rest.to_bytes().is_empty(), "the end of the gzip stream");
}

/// [COMP-1]: a body that the pod cuts has neither an end of its framing nor one of the gzip stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comp_1_a_cut_body_stays_cut() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n";
    for rest in ["content-length: 100\r\n\r\nhalf", "transfer-encoding: chunked\r\n\r\n9\r\nhalf"] {
        let pod = Pod::start(move |_| Act::Cut(format!("{head}{rest}").into_bytes())).await;
        let edge = edge(&pod, |_| {}).await;
        let reply = asked(&edge, GET, GZIP).await;
        assert_eq!((reply.status(), reply.cut), (200, true), "{rest}");
        assert!(unpacked(&reply.body).is_err(), "{rest}");
        edge.has_reasons(&[("upstream_reset", 1)]).await;
        let mut client = Http2::over(edge.client().await.stream).await;
        let request = Request::get(format!("http://{HOST}/")).header("accept-encoding", "gzip");
        assert!(client.send(request.body(body("")).unwrap()).await.is_err(), "{rest}");
    }
}

/// A large body comes out whole, the pod's connection serves again, and what runs at once is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comp_1_large_bodies_and_the_bound() {
    let text: String = (0..200_000).map(|n| format!("{n} ")).collect();
    let size = text.len();
    let whole = text.clone();
    let pod = Pod::start(move |_| {
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: text/css\r\ncontent-length: {size}\r\n\r\n");
        Act::Reply([head.as_bytes(), whole.as_bytes()].concat())
    })
    .await;
    let edge = edge(&pod, |settings| settings.workers = 1).await;
    let mut client = edge.client().await;
    for _ in 0..2 {
        client.send(format!("{GET}\r\nHost: {HOST}\r\n{GZIP}\r\n\r\n")).await;
        let reply = client.response().await;
        assert!(reply.body.len() < size / 4 * 3, "{} of {size}", reply.body.len());
        assert!(unpacked(&reply.body).unwrap() == text, "the body is another one");
    }
    assert_eq!(pod.connections(), 1, "the pod's connection goes back to the pool");
    let none = self::edge(&pod, |settings| settings.compression.streams = 0).await;
    let reply = asked(&none, GET, GZIP).await;
    assert_eq!((reply.header("content-encoding"), reply.body.len()), (None, size));
    assert_eq!(none.router.stats.workers.sum(|cell| &cell.compression_skipped), 1);
}
