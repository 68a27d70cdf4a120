//! The router's own answers: status, page, state of the connection, and the one reason of each
//! (spec/route.md 10.4 to 10.7, ux.md 6).

use http::Request;
use serde_json::json;

use crate::harness::{
    client::{self, Response},
    eventually,
    frames::{self, Frames},
    h2client::{self, End, H2Client},
    http2::Http2,
    manifest::{With as _, app, edge, route, service},
    pod::{Act, Pod, Refusing, raw},
    router::{Edge, settings},
    tls,
};

/// Sends `request` on a connection of its own; returns the answer and whether the router closed.
pub(super) async fn ask(edge: &Edge, request: &str) -> (Response, bool) {
    let mut client = edge.client().await;
    client.send(request).await;
    let response = client.response().await;
    // A connection that is kept answers a second request.
    client.send(client::get("unknown.example.com", "/")).await;
    let closed = client.response().await.cut;
    (response, closed)
}

/// [NOMATCH-1..3]: the 503 page with exactly these headers, as HTTP/1.0, ended by the close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomatch_the_page_as_openshift_sends_it() {
    let pod = Pod::saying("here").await;
    let mut with_path = route("b", "b.example.com").with("/spec/path", "/only");
    with_path["spec"]["to"]["name"] = json!("a");
    let mut objects = app(route("a", "a.example.com"), &[pod.address]);
    objects.push(with_path);
    objects.extend(app(route("none", "none.example.com"), &[]));
    objects.push(route("lost", "lost.example.com"));
    let mut weightless = route("zero", "zero.example.com").with("/spec/to/weight", 0);
    weightless["spec"]["to"]["name"] = json!("a");
    objects.push(weightless);
    let rows = [
        ("unknown.example.com", "/", "no_route"),
        ("b.example.com", "/other", "no_path"),
        ("none.example.com", "/", "no_endpoints"),
        ("lost.example.com", "/", "no_endpoints"),
        ("zero.example.com", "/", "no_endpoints"),
    ];
    for (host, path, reason) in rows {
        let edge = Edge::start(&objects).await;
        let mut client = edge.client().await;
        let response = client.get(host, path).await;
        assert_eq!(response.line, "HTTP/1.0 503 Service Unavailable", "{host}");
        let mut headers = response.headers.clone();
        headers.sort();
        let expected = [
            ("cache-control", "private, max-age=0, no-cache, no-store"),
            ("content-type", "text/html"),
            ("pragma", "no-cache"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers, expected, "{host}");
        assert!(response.text().contains("<h1>Application is not available</h1>"), "{host}");
        assert!(client.closed().await, "{host}");
        edge.has_reasons(&[(reason, 1)]).await;
    }
}

/// [NOMATCH-6, REDIR-4]: no header action, HSTS or cookie step touches an answer of the router's own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomatch_6_pages_pass_by_every_header_step() {
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let set = json!([{"name": "x-set", "action": {"type": "Set", "set": {"value": "1"}}}]);
    let with_steps = |route: serde_json::Value| {
        route
            .annotated("haproxy.router.openshift.io/hsts_header", "max-age=31536000")
            .with("/spec/httpHeaders/actions/response", set.clone())
    };
    let mut objects = app(with_steps(edge("none", "none.example.com", None)), &[]);
    objects.extend(app(
        with_steps(edge("moved", "moved.example.com", None)).with(policy, "Redirect"),
        &[],
    ));
    let edge = Edge::start(&objects).await;
    let stream = tls::connect(edge.https, tls::hello("none.example.com")).await.unwrap();
    let page = client::Client::over(stream).get("none.example.com", "/").await;
    let moved = edge.get("moved.example.com", "/").await;
    for (response, status, fields) in [
        (page, 503, &["cache-control", "content-type", "pragma"][..]),
        (moved, 302, &["cache-control", "content-length", "location"]),
    ] {
        let mut names: Vec<_> = response.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!((response.status(), &names[..]), (status, fields));
    }
}

/// [NOMATCH-3]: on HTTP/2 the same page is a stream like any other, and the connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomatch_3_on_http2_the_stream_ends_and_the_connection_stays() {
    let edge = Edge::start(&[]).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    for _ in 0..2 {
        let reply = client.get("http://unknown.example.com/").await.unwrap();
        assert_eq!(reply.status, 503);
        assert_eq!(reply.headers["pragma"], "no-cache");
        assert!(!reply.headers.contains_key("connection"));
        assert!(std::str::from_utf8(&reply.body).unwrap().contains("Application is not available"));
    }
    edge.has_reasons(&[("no_route", 2)]).await;
}

/// RFC 9110 9.3.2: what answers HEAD has no content, which only HTTP/1 leaves out by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_to_head_has_a_body() {
    let edge = Edge::start(&[]).await;
    let mut client = H2Client::over(edge.client().await.stream).await;
    for (path, status) in [("/", 503), ("/%00", 400)] {
        let request = Request::head(format!("http://unknown.example.com{path}"));
        let mut stream = client.post(request.body(()).unwrap(), b"").await.unwrap();
        assert_eq!(stream.head.status(), status);
        assert_eq!(stream.head.headers()["content-type"], "text/html");
        assert_eq!(stream.over().await, End::Orderly, "{path}");
    }
    edge.has_reasons(&[("no_route", 1), ("bad_request", 1)]).await;
}

/// RFC 9113 8.5: a page with a success of its own is no answer to CONNECT, where it would be a tunnel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_says_that_there_is_a_tunnel() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("503.http");
    std::fs::write(&page, "HTTP/1.1 200 OK\n\nback soon").unwrap();
    let edge = Edge::with(&[], |settings| settings.page_unavailable = Some(page)).await;
    assert_eq!(edge.get("a.example.com", "/").await.text(), "back soon");
    let mut client = H2Client::over(edge.client().await.stream).await;
    client.may_connect().await;
    let stream = client.open(h2client::connect("websocket", "http://a.example.com/")).await;
    assert_eq!(stream.unwrap().head.status(), 503);
}

/// Pods that fail: the status, the reason, and whether the client's connection is kept. [NOMATCH-2],
/// spec/route.md 10.7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_pods_are_told_apart() {
    type Script = fn() -> Act;
    let rows: [(&str, Script, u16, &str); 9] = [
        ("reset after the head", || Act::Reset, 502, "upstream_reset"),
        ("closed after the head", || Act::Last(Vec::new()), 502, "upstream_reset"),
        ("garbage", || raw("SSH-2.0-OpenSSH_9\r\n\r\n"), 502, "upstream_invalid"),
        ("cut head", || Act::Last(b"HTTP/1.1 200 OK\r\nconte".to_vec()), 502, "upstream_reset"),
        (
            "two lengths",
            || raw("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab"),
            502,
            "upstream_invalid",
        ),
        (
            "101 that nobody asked for",
            || raw("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
            502,
            "upstream_invalid",
        ),
        (
            "huge head",
            || raw(&format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000))),
            502,
            "upstream_invalid",
        ),
        ("silence", || Act::Stall(Vec::new()), 504, "upstream_timeout"),
        (
            "silence in the head",
            || Act::Stall(b"HTTP/1.1 200 OK\r\n".to_vec()),
            504,
            "upstream_timeout",
        ),
    ];
    for (what, script, status, reason) in rows {
        let pod = Pod::start(move |_| script()).await;
        let edge = Edge::with(&app(route("a", "a.example.com"), &[pod.address]), |settings| {
            settings.timeouts.server = std::time::Duration::from_millis(150);
        })
        .await;
        let mut client = edge.client().await;
        let response = client.get("a.example.com", "/").await;
        assert_eq!(response.status(), status, "{what}");
        assert_eq!(response.header("cache-control"), Some("no-cache"), "{what}");
        assert_eq!(response.header("content-type"), Some("text/html"), "{what}");
        assert_eq!(client.get("unknown.example.com", "/").await.status(), 503, "{what}: kept");
        // Reasons come in the order of the list; `no_route` is its first.
        edge.has_reasons(&[("no_route", 1), (reason, 1)]).await;
        assert_eq!(pod.attempts(), 1, "{what}");
    }
}

/// A response that breaks in its body reaches the client as an incomplete message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_26_a_cut_body_is_never_a_clean_end() {
    type Script = fn() -> Act;
    let rows: [(&str, Script); 3] = [
        ("length", || Act::Last(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec())),
        ("chunked", || {
            Act::Last(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_vec(),
            )
        }),
        ("bad chunk", || {
            Act::Last(
                b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n"
                    .to_vec(),
            )
        }),
    ];
    for (what, script) in rows {
        let pod = Pod::start(move |_| script()).await;
        let edge = Edge::start(&app(route("a", "a.example.com"), &[pod.address])).await;
        let response = edge.get("a.example.com", "/").await;
        assert_eq!((response.status(), response.text().as_str()), (200, "half"), "{what}");
        assert!(response.cut, "{what}");
        let mut client = Http2::over(edge.client().await.stream).await;
        assert!(client.get("http://a.example.com/").await.is_err(), "{what} on HTTP/2");
        edge.has_reasons(&[("upstream_reset", 2)]).await;
    }
}

/// Every endpoint refuses: the 503 page, after four tries [NOMATCH-2, RETRY-1].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusing_endpoints_give_the_page() {
    let (one, two) = (Refusing::bound(), Refusing::bound());
    let objects = app(route("a", "a.example.com"), &[one.address, two.address]);
    let edge = Edge::with(&objects, |settings| {
        settings.timeouts.connect = std::time::Duration::from_millis(20);
    })
    .await;
    let response = edge.get("a.example.com", "/").await;
    assert_eq!(response.line, "HTTP/1.0 503 Service Unavailable");
    edge.has_reasons(&[("connect_failed", 1)]).await;
    assert_eq!(edge.count("a", |counters| &counters.connection_errors), 4);
}

/// Requests that are refused before a route is looked for (decisions 9, spec/route.md 26.2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_requests_are_refused() {
    let pod = Pod::saying("never").await;
    let rows = [
        ("no Host", "GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (
            "two Hosts",
            "GET / HTTP/1.1\r\nHost: a.example.com\r\nHost: a.example.com\r\n\r\n",
            400,
            "bad_request",
        ),
        ("Host list", "GET / HTTP/1.1\r\nHost: a.example.com, b\r\n\r\n", 400, "bad_request"),
        ("userinfo", "GET / HTTP/1.1\r\nHost: u@a.example.com\r\n\r\n", 400, "bad_request"),
        ("blank in Host", "GET / HTTP/1.1\r\nHost: a.example .com\r\n\r\n", 400, "bad_request"),
        (
            "absolute form of another host",
            "GET http://b.example.com/ HTTP/1.1\r\nHost: a.example.com\r\n\r\n",
            400,
            "bad_request",
        ),
        ("asterisk", "GET * HTTP/1.1\r\nHost: a.example.com\r\n\r\n", 400, "bad_request"),
        (
            "bad field name",
            "GET / HTTP/1.1\r\nHost: a.example.com\r\nx y: 1\r\n\r\n",
            400,
            "bad_request",
        ),
        ("no version", "GET /\r\n\r\n", 400, "bad_request"),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a.example.com\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "odd length",
            "POST / HTTP/1.1\r\nHost: a.example.com\r\ncontent-length: +1\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "unknown coding",
            "POST / HTTP/1.1\r\nHost: a.example.com\r\ntransfer-encoding: xchunked\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "coding in front of chunked",
            "POST / HTTP/1.1\r\nHost: a.example.com\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            422,
            "bad_coding",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: a.example.com\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "bad_request",
        ),
        (
            "CONNECT",
            "CONNECT a.example.com:80 HTTP/1.1\r\nHost: a.example.com:80\r\n\r\n",
            405,
            "method_not_allowed",
        ),
    ];
    for (what, request, status, reason) in rows {
        let edge = Edge::start(&app(route("a", "a.example.com"), &[pod.address])).await;
        let (response, closed) = ask(&edge, request).await;
        assert_eq!(response.status(), status, "{what}: {response:?}");
        if status == 400 {
            assert!(closed, "{what}");
        }
        edge.is_quiet().await;
        let reasons = edge.reasons();
        assert!(reasons.contains(&(reason, 1)), "{what}: {reasons:?}");
    }
    assert_eq!(pod.attempts(), 0);
}

/// More than 101 fields or 24,576 bytes of head: 431 and close [LIM-1, ERR-2].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lim_1_large_heads_are_refused() {
    let pod = Pod::saying("never").await;
    let long =
        format!("GET / HTTP/1.1\r\nHost: a.example.com\r\nx: {}\r\n\r\n", "y".repeat(25_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a.example.com\r\n{}\r\n", "x: y\r\n".repeat(101));
    // What does not even fit into the buffer, with or without an end (spec/route.md 26.1).
    let longer =
        format!("GET / HTTP/1.1\r\nHost: a.example.com\r\nx: {}\r\n\r\n", "y".repeat(33_000));
    let endless = longer[..32_800].to_owned();
    for (request, status) in [(long, 431), (many, 431), (longer, 414), (endless, 414)] {
        let edge = Edge::start(&app(route("a", "a.example.com"), &[pod.address])).await;
        let (response, closed) = ask(&edge, &request).await;
        assert_eq!((response.status(), closed), (status, true));
        edge.has_reasons(&[("headers_too_large", 1)]).await;
    }
    let edge = Edge::start(&app(route("a", "a.example.com"), &[pod.address])).await;
    let fits =
        format!("GET / HTTP/1.1\r\nHost: a.example.com\r\nx: {}\r\n\r\n", "y".repeat(24_000));
    assert_eq!(ask(&edge, &fits).await.0.status(), 200);
}

/// [ERR-1]: the small pages have the fields and lengths of HAProxy's, in lower case; 400 and 408 close
/// the connection, and so does whatever the gate refuses (docs/compatibility.md).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn err_1_the_small_pages() {
    let pod = Pod::start(|seen| match seen.target() {
        "/silent" => Act::Stall(Vec::new()),
        _ => Act::Reset,
    })
    .await;
    let edge = Edge::with(&app(route("a", "a.example.com"), &[pod.address]), |settings| {
        settings.timeouts.server = std::time::Duration::from_millis(150);
        settings.timeouts.head = std::time::Duration::from_millis(150);
    })
    .await;
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: a.example.com\r\n\r\n");
    let coding =
        "POST / HTTP/1.1\r\nHost: a.example.com\r\ntransfer-encoding: gzip, chunked\r\n\r\n";
    let rows = [
        (400, "Bad Request", 90, get("x"), true),
        (408, "Request Timeout", 110, "GET / HTTP/1.1\r\nHost: a.exam".to_owned(), true),
        (414, "URI Too Long", 110, get(&format!("/{}", "x".repeat(17_000))), true),
        (422, "Unprocessable Entity", 116, coding.to_owned(), true),
        (431, "Request Header Fields Too Large", 106, large(), true),
        (502, "Bad Gateway", 107, get("/reset"), false),
        (504, "Gateway Timeout", 92, get("/silent"), false),
    ];
    for (status, text, length, request, closes) in rows {
        let mut client = edge.client().await;
        client.send(&request).await;
        let response = client.response().await;
        assert_eq!(response.line, format!("HTTP/1.1 {status} {text}"), "{response:?}");
        assert_eq!(response.body.len(), length, "{status}");
        let page = response.text();
        assert!(page.starts_with(&format!("<html><body><h1>{status} ")), "{page}");
        assert!(page.ends_with("\n</body></html>\n"), "{page}");
        let mut headers = response.headers.clone();
        headers.sort();
        let length = length.to_string();
        let mut expected = vec![
            ("cache-control", "no-cache"),
            ("content-length", &length),
            ("content-type", "text/html"),
        ];
        if closes {
            expected.insert(1, ("connection", "close"));
        }
        let owned = expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(headers, owned.collect::<Vec<_>>(), "{status}");
        client.send(client::get("unknown.example.com", "/")).await;
        assert_eq!(client.response().await.status(), if closes { 0 } else { 503 }, "{status}");
    }
}

/// A request with a head of more than 24 KiB.
fn large() -> String {
    format!("GET / HTTP/1.1\r\nHost: a.example.com\r\nx: {}\r\n\r\n", "y".repeat(25_000))
}

const PAGE_503: &str =
    "HTTP/1.0 503 Nobody Home\r\nX-Page: own\r\nContent-Type: text/plain\r\n\r\ndown\r\n\r\nnow";
const PAGE_404: &str = "HTTP/1.1 404 Error\nX-Page: other\n\nlost";

/// [NOMATCH-1, NOMATCH-4]: files with whole responses replace the 503 page; with one for 404, requests
/// that match no route get that one, with its own status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomatch_4_pages_out_of_files() {
    let folder = tempfile::tempdir().unwrap();
    let (p503, p404) = (folder.path().join("503.http"), folder.path().join("404.http"));
    std::fs::write(&p503, PAGE_503).unwrap();
    std::fs::write(&p404, PAGE_404).unwrap();
    let objects = app(route("a", "a.example.com"), &[]);
    let edge = Edge::with(&objects, |settings| {
        settings.page_unavailable = Some(p503.clone());
        settings.page_not_found = Some(p404.clone());
    })
    .await;
    // No endpoint: the page of the first file, ended by the close.
    let mut client = edge.client().await;
    let response = client.get("a.example.com", "/").await;
    assert_eq!(response.line, "HTTP/1.0 503 Nobody Home");
    let own = [("x-page", "own"), ("content-type", "text/plain")];
    assert_eq!(response.headers, own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(response.text(), "down\r\n\r\nnow");
    assert!(client.closed().await);
    // No route: the page of the second one; HTTP/1.1 has a length and stays.
    let mut client = edge.client().await;
    for host in ["unknown.example.com", "b.example.com"] {
        let response = client.get(host, "/").await;
        assert_eq!(response.line, "HTTP/1.1 404 Error");
        assert_eq!(response.header("x-page"), Some("other"));
        assert_eq!(response.header("content-length"), Some("4"));
        assert_eq!(response.text(), "lost");
    }
    client.send("HEAD / HTTP/1.1\r\nHost: unknown.example.com\r\n\r\n").await;
    assert_eq!(client.response_to("HEAD").await.header("content-length"), Some("4"));
    assert_eq!(client.get("unknown.example.com", "/").await.status(), 404);
    let mut client = Http2::over(edge.client().await.stream).await;
    for (host, status, page, text) in
        [("a", 503, "own", "down\r\n\r\nnow"), ("c", 404, "other", "lost")]
    {
        let reply = client.get(&format!("http://{host}.example.com/")).await.unwrap();
        assert_eq!((reply.status.as_u16(), &reply.body[..]), (status, text.as_bytes()));
        assert_eq!(reply.headers["x-page"], page);
    }
    edge.has_reasons(&[("no_route", 5), ("no_endpoints", 2)]).await;
    // A new version is taken over, a bad one is not.
    std::fs::write(&p404, "HTTP/1.1 410 Gone\n\ngone for good").unwrap();
    eventually("the new page", async || {
        (edge.get("x.example.com", "/").await.status() == 410).then_some(())
    })
    .await;
    std::fs::write(&p404, "<html>no response at all</html>").unwrap();
    edge.until("the finding", |snapshot| {
        snapshot.findings.iter().any(|finding| finding.code.number == 1120)
    })
    .await;
    assert_eq!(edge.get("x.example.com", "/").await.text(), "gone for good");
}

/// [START-1]: a file that is no response stops the start, with its place and what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomatch_4_a_bad_file_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("503.http");
    std::fs::write(&path, "HTTP/1.0 503 Busy\nno field\n\n").unwrap();
    let settings =
        wharf::settings::RouterSettings { page_unavailable: Some(path.clone()), ..settings() };
    let started = wharf::app::router::start(settings, wharf::model::objects::Objects::default());
    let error = started.await.unwrap_err().to_string();
    let place =
        format!("{}:2:1: error[WH1120]: the line is not a header field; write ", path.display());
    assert!(error.starts_with(&place), "{error}");
}

/// [IPL-7] and decisions 6: who is not on the list is closed without an answer; a list without a
/// valid entry lets nobody in [IPL-3]; a redirect is given before the list is asked [IPL-8].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipl_7_the_allow_list_denies_by_closing() {
    let list = "haproxy.router.openshift.io/ip_allowlist";
    let pod = Pod::saying("pod").await;
    let mut objects = service("a", &[pod.address]);
    let to_a = |route: serde_json::Value| route.with("/spec/to/name", "a");
    objects.extend([
        to_a(route("open", "open.example.com")).annotated(list, "10.0.0.0/8 127.0.0.1"),
        to_a(route("denied", "denied.example.com")).annotated(list, "10.0.0.0/8, 192.0.2.1"),
        to_a(route("broken", "broken.example.com")).annotated(list, "everybody"),
        to_a(edge("redirect", "redirect.example.com", None))
            .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect")
            .annotated(list, "10.0.0.0/8"),
    ]);
    let edge = Edge::start(&objects).await;
    let mut client = edge.client().await;
    assert_eq!(client.get("open.example.com", "/").await.status(), 200);
    assert_eq!(client.get("redirect.example.com", "/").await.status(), 302);
    // The same connection: each request is judged on its own.
    client.send(client::get("denied.example.com", "/")).await;
    assert!(client.closed().await);
    for host in ["denied.example.com", "broken.example.com"] {
        let mut client = edge.client().await;
        client
            .send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 127.0.0.1\r\n\r\n"))
            .await;
        assert!(client.closed().await, "{host}");
    }
    edge.has_reasons(&[("denied_allowlist", 3), ("redirect", 1)]).await;
    let mut client = Frames::connect(edge.http, &[]).await;
    client.send(frames::get(1, "denied.example.com", "/")).await;
    assert_eq!(client.goaway().await.code(), frames::ENHANCE_YOUR_CALM);
    assert_eq!(client.rest().await, []);
    edge.has_reasons(&[("denied_allowlist", 4), ("redirect", 1)]).await;
    assert_eq!(pod.attempts(), 1);
}
