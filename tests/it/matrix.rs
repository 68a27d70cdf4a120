//! What a client must see of the same answer on each of the ways through: HTTP/1.1 and HTTP/2 on its
//! side, HTTP/1.1 and HTTP/2 on the pod's, each without TLS and over it, and that a cut body
//! stays cut.

use std::{fmt::Write as _, sync::Arc};

use http::Request;

use crate::harness::{
    client::Client,
    h2pod::{self, H2Pod, Reply},
    http2::{Http2, body},
    manifest::{With as _, app, h2c, reencrypt, route},
    pod::{Act, Pod, raw},
    router::Edge,
    tls,
    tlspod::{Opening, TlsPod},
};

const HOST: &str = "a.example.com";

/// How long the pod says its answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// By Content-Length.
    Sized(usize),
    /// By chunks, or by the end of the stream.
    Open,
    /// Nothing is said, as nothing can follow.
    None,
}

/// An answer of the pod, and what the client must see of it.
#[derive(Clone, Copy, Debug)]
struct Row {
    method: &'static str,
    status: u16,
    length: Length,
    /// Empty ones included.
    chunks: &'static [&'static str],
    trailer: Option<&'static str>,
    /// Content-Length to a client of HTTP/1 and of HTTP/2.
    lengths: [Option<&'static str>; 2],
}

const fn row(method: &'static str, status: u16, length: Length) -> Row {
    Row { method, status, length, chunks: &[], trailer: None, lengths: [None; 2] }
}

const ROWS: [Row; 11] = [
    Row { chunks: &["body"], lengths: [Some("4"); 2], ..row("GET", 200, Length::Sized(4)) },
    Row { chunks: &["one", "", "two"], ..row("GET", 200, Length::Open) },
    Row { lengths: [Some("0"); 2], ..row("GET", 200, Length::Sized(0)) },
    row("GET", 200, Length::Open),
    Row { chunks: &["body"], trailer: Some("6"), ..row("GET", 200, Length::Open) },
    Row { trailer: Some("6"), ..row("GET", 200, Length::Open) },
    Row { lengths: [Some("1234"); 2], ..row("HEAD", 200, Length::Sized(1234)) },
    row("HEAD", 200, Length::None),
    row("GET", 204, Length::None),
    // hyper leaves the length out of a 304 to HTTP/1, as RFC 9110 15.4.5 allows.
    Row { lengths: [None, Some("7")], ..row("GET", 304, Length::Sized(7)) },
    Row { lengths: [Some("0"); 2], ..row("GET", 205, Length::Sized(0)) },
];

impl Row {
    /// Whether a body may follow the head.
    fn has_body(&self) -> bool {
        self.method != "HEAD" && !matches!(self.status, 204 | 304)
    }

    fn http1(&self) -> Vec<u8> {
        let mut text = format!("HTTP/1.1 {} Reason\r\netag: \"x\"\r\n", self.status);
        match self.length {
            Length::Sized(length) => {
                write!(text, "content-length: {length}\r\n").expect("a string");
            },
            Length::Open => text.push_str("transfer-encoding: chunked\r\ntrailer: x-sum\r\n"),
            Length::None => {},
        }
        text.push_str("\r\n");
        if self.has_body() {
            for chunk in self.chunks.iter().filter(|chunk| !chunk.is_empty()) {
                match self.length {
                    Length::Open => {
                        write!(text, "{:x}\r\n{chunk}\r\n", chunk.len()).expect("a string");
                    },
                    Length::Sized(_) | Length::None => text.push_str(chunk),
                }
            }
        }
        if self.has_body() && self.length == Length::Open {
            let trailer = self.trailer.map(|value| format!("x-sum: {value}\r\n"));
            write!(text, "0\r\n{}\r\n", trailer.unwrap_or_default()).expect("a string");
        }
        text.into_bytes()
    }

    fn http2(&self) -> h2pod::Act {
        let mut reply = Reply::new(self.status).header("etag", "\"x\"");
        match self.length {
            Length::Sized(length) => reply = reply.header("content-length", length),
            Length::Open => reply = reply.header("trailer", "x-sum"),
            Length::None => {},
        }
        if self.has_body() {
            reply = self.chunks.iter().fold(reply, Reply::chunk);
        }
        if let Some(value) = self.trailer {
            reply = reply.trailer("x-sum", value);
        }
        h2pod::Act::Reply(reply)
    }

    /// What every client must see: status, body, trailer.
    fn seen(&self) -> (u16, String, Option<String>) {
        (self.status, self.chunks.concat(), self.trailer.map(str::to_owned))
    }
}

/// Which row a request asks for.
fn asked(target: &str) -> Row {
    let digits = target.rsplit('/').next().expect("a path");
    ROWS[digits.parse::<usize>().expect("a row")]
}

async fn ask_http1(client: &mut Client<tokio::net::TcpStream>, nth: usize) {
    let row = &ROWS[nth];
    let method = row.method;
    client.send(format!("{method} /{nth} HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\n\r\n")).await;
    let response = client.response_to(method).await;
    let trailer = response.trailers.first().map(|(_, value)| value.clone());
    assert_eq!((response.status(), response.text(), trailer), row.seen(), "{nth} {row:?}");
    assert!(!response.cut, "{row:?}");
    assert_eq!(response.header("etag"), Some("\"x\""), "{row:?}");
    let length = response.header("content-length");
    let coding = response.header("transfer-encoding");
    assert!(length.is_none() || coding.is_none(), "framed in one way: {row:?} {response:?}");
    if row.lengths[0].is_some() {
        assert_eq!(length, row.lengths[0], "{row:?}");
    } else if !row.has_body() {
        assert_eq!((length, coding), (None, None), "nothing follows: {row:?}");
    } else {
        assert!(coding == Some("chunked") || length == Some("0"), "{row:?} {response:?}");
    }
}

async fn ask_http2(client: &mut Http2, nth: usize) {
    let row = &ROWS[nth];
    let request = Request::builder().method(row.method).uri(format!("http://{HOST}/{nth}"));
    let reply = client.send(request.body(body("")).expect("a request"));
    let reply = reply.await.expect("an answer");
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    let trailer = reply.trailers.map(|all| all["x-sum"].to_str().expect("text").to_owned());
    assert_eq!((reply.status.as_u16(), text, trailer), row.seen(), "{nth} {row:?}");
    assert_eq!(reply.headers["etag"], "\"x\"");
    assert_eq!(reply.headers.get("transfer-encoding"), None);
    let length = reply.headers.get("content-length").map(|value| value.to_str().expect("text"));
    if row.lengths[1].is_some() || !row.has_body() {
        assert_eq!(length, row.lengths[1], "{row:?}");
    }
}

/// Every row three times over one client connection of each version, which one pod connection serves:
/// whatever an answer was, the next one begins where it should.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_27_every_answer_is_the_same_on_all_ways() {
    let old = Pod::start(|seen| Act::Reply(asked(seen.target()).http1())).await;
    let new = H2Pod::start(|seen| asked(&seen.url).http2()).await;
    let secure = async |alpn: &[&str]| {
        let config = tls::server(&tls::pair("pod.test"), alpn);
        TlsPod::start(
            move |_| Opening::Tls(Arc::clone(&config)),
            |seen| Act::Reply(asked(seen.target()).http1()),
            |seen| asked(&seen.url).http2(),
        )
        .await
    };
    let (old_tls, new_tls) = (secure(&["http/1.1"]).await, secure(&["h2"]).await);
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let over_tls =
        |pod: &TlsPod| app(reencrypt("a", HOST, None).with(policy, "Allow"), &[pod.address]);
    let objects = [
        app(route("a", HOST), &[old.address]),
        h2c(app(route("a", HOST), &[new.address])),
        over_tls(&old_tls),
        over_tls(&new_tls),
    ];
    for objects in objects {
        let edge = Edge::with(&objects, |settings| settings.workers = 1).await;
        let mut plain = edge.client().await;
        let mut multiplexed = Http2::over(edge.client().await.stream).await;
        for _ in 0..3 {
            for nth in 0..ROWS.len() {
                ask_http1(&mut plain, nth).await;
                ask_http2(&mut multiplexed, nth).await;
            }
        }
        assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
    }
    assert_eq!((old.connections(), new.connections()), (1, 1));
    assert_eq!((old.attempts(), new.attempts()), (6 * ROWS.len(), 6 * ROWS.len()));
    assert_eq!((old_tls.connections(), new_tls.connections()), (1, 1));
    let attempts = (old_tls.http1.attempts(), new_tls.http2.attempts());
    assert_eq!(attempts, (6 * ROWS.len(), 6 * ROWS.len()));
}

/// a body that the pod of HTTP/1 cuts, whatever said its length, is cut for clients of either
/// version; never an end that looks like one. For pods of HTTP/2 `h2c` has the rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_26_a_cut_body_stays_cut() {
    let rows: [(&str, &[u8], &str); 5] = [
        ("short", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", "upstream_reset"),
        (
            "no end",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
            "upstream_reset",
        ),
        (
            "in a chunk",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhalf",
            "upstream_reset",
        ),
        (
            "no last line",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
            "upstream_reset",
        ),
        (
            "bad chunk",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n",
            "upstream_reset",
        ),
    ];
    for (what, bytes, reason) in rows {
        let pod = Pod::start(move |_| Act::Last(bytes.to_vec())).await;
        let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
        let response = edge.get(HOST, "/").await;
        // A cut that comes with the head may take the head with it.
        assert!(response.cut && matches!(response.status(), 0 | 200), "{what}: {response:?}");
        let mut client = Http2::over(edge.client().await.stream).await;
        let reply = client.get(&format!("http://{HOST}/")).await;
        assert!(reply.is_err(), "{what}: {reply:?}");
        assert_eq!(pod.attempts(), 2, "{what}: never sent again");
        edge.has_reasons(&[(reason, 2)]).await;
    }
}

/// `Expect: 100-continue` goes on to the pod. The client is asked for its body when the pod asks, or says
/// nothing (`expect` has the rest); without a pod it gets the page and is never asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_a_client_that_expects_is_asked_only_when_there_is_a_pod() {
    let old = Pod::start(|seen| {
        raw(&format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}",
            seen.body.len(),
            String::from_utf8_lossy(&seen.body)
        ))
    })
    .await;
    let new =
        H2Pod::start(|_| h2pod::Act::Continue(Box::new(h2pod::Act::Echo(Reply::new(200))))).await;
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
    );
    let objects =
        [app(route("a", HOST), &[old.address]), h2c(app(route("a", HOST), &[new.address]))];
    for objects in objects {
        let edge = Edge::start(&objects).await;
        let mut client = edge.client().await;
        client.send(&head).await;
        assert_eq!(client.head().await.line, "HTTP/1.1 100 Continue");
        client.send("body").await;
        assert_eq!(client.response().await.text(), "body");
    }
    assert_eq!(old.one().all("expect"), ["100-continue"]);
    assert_eq!(new.one().headers["expect"], "100-continue");

    let refusing = crate::harness::pod::Refusing::bound();
    let edge = Edge::with(&app(route("a", HOST), &[refusing.address]), |settings| {
        settings.timeouts.connect = std::time::Duration::from_millis(20);
    })
    .await;
    let mut client = edge.client().await;
    client.send(&head).await;
    assert_eq!(client.head().await.status(), 503, "no 100 before it");
}
