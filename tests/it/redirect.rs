//! The redirect to https: what it says, and what becomes of the connection (spec/route.md 10.6).

use super::answers::ask;
use crate::harness::{
    http2::Http2,
    manifest::{With as _, app, edge},
    router::Edge,
};

/// A route without endpoints that sends clients to https.
fn redirecting() -> Vec<serde_json::Value> {
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    app(edge("a", "a.example.com", None).with(policy, "Redirect"), &[])
}

/// [REDIR-1..4]: 302 with exactly these headers; port dropped, target kept byte for byte, any method,
/// the connection kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redir_the_redirect_keeps_target_and_connection() {
    let objects = redirecting();
    let edge = Edge::start(&objects).await;
    let mut client = edge.client().await;
    let rows = [
        (
            "GET",
            "a.example.com",
            "/x/%2f/..;a=b?c=d&e=%20",
            "https://a.example.com/x/%2f/..;a=b?c=d&e=%20",
        ),
        ("GET", "A.Example.com:8080", "/", "https://a.example.com/"),
        ("DELETE", "a.example.com", "/d", "https://a.example.com/d"),
        ("GET", "a.example.com", "http://a.example.com/abs?q", "https://a.example.com/abs?q"),
    ];
    for (method, host, target, location) in rows {
        client.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let response = client.response().await;
        assert_eq!(response.line, "HTTP/1.1 302 Found");
        let mut headers = response.headers.clone();
        headers.sort();
        let expected =
            [("cache-control", "no-cache"), ("content-length", "0"), ("location", location)];
        assert_eq!(headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
    edge.has_reasons(&[("redirect", 4)]).await;
    let moved = Edge::with(&objects, |settings| settings.redirect_https_port = Some(8443)).await;
    let response = moved.get("a.example.com", "/").await;
    assert_eq!(response.header("location"), Some("https://a.example.com:8443/"));
}

/// [REDIR-3] and row 13 of the quirk register: on HTTP/2 in clear text, where targets come with scheme
/// and authority, `Location` is built as for any other request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redir_3_http2_in_clear_text() {
    let edge = Edge::start(&redirecting()).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    for (url, location) in [
        ("http://a.example.com/x?y=%2f", "https://a.example.com/x?y=%2f"),
        ("http://A.example.com:8080/", "https://a.example.com/"),
        ("https://a.example.com/?q", "https://a.example.com/?q"),
    ] {
        let reply = client.get(url).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body.len()), (302, 0), "{url}");
        let mut names: Vec<_> = reply.headers.keys().map(http::HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cache-control", "content-length", "location"], "{url}");
        assert_eq!(reply.headers["location"], location, "{url}");
    }
    edge.has_reasons(&[("redirect", 3)]).await;
}

/// [REDIR-1]: a body that nobody reads ends the connection behind the answer; one that is there
/// already, or none, does not. No HSTS, no cookie, no page [REDIR-4].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redir_1_an_unread_body_ends_the_connection() {
    let edge = Edge::start(&redirecting()).await;
    let post = "POST / HTTP/1.1\r\nHost: a.example.com\r\n";
    for (fields, kept) in [
        ("content-length: 1000000\r\n\r\n", false),
        ("transfer-encoding: chunked\r\n\r\n", false),
        ("content-length: 0\r\n\r\n", true),
        ("content-length: 2\r\n\r\nhi", true),
    ] {
        let (response, closed) = ask(&edge, &format!("{post}{fields}")).await;
        assert_eq!(response.line, "HTTP/1.1 302 Found", "{fields}");
        assert_eq!(response.header("location"), Some("https://a.example.com/"), "{fields}");
        assert_eq!(closed, !kept, "{fields}");
    }
}

/// [REDIR-2]: the redirect is for any method, an answer to HEAD has no body, and it goes before the
/// endpoints are looked at (the route has none).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redir_2_any_method_before_endpoints() {
    let edge = Edge::start(&redirecting()).await;
    let mut client = edge.client().await;
    for method in ["HEAD", "OPTIONS", "PUT", "TRACE", "BREW"] {
        client.send(format!("{method} /x HTTP/1.1\r\nHost: a.example.com\r\n\r\n")).await;
        let response = client.response_to(method).await;
        assert_eq!(response.line, "HTTP/1.1 302 Found", "{method}");
        assert_eq!(response.header("location"), Some("https://a.example.com/x"), "{method}");
    }
}
