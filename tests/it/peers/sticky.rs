//! HAProxy as the judge of stickiness: the same requests and answers through it, with the cookie line of
//! OpenShift's template, and through wharf.

use std::net::SocketAddr;

use wharf::headers::sticky::{default_name, hash};

use super::{HOST, haproxy::Haproxy, wanted};
use crate::harness::{
    client::{Client, Response},
    manifest::{With as _, app, edge as edge_route, route},
    pod::{Pod, raw},
    router::Edge,
    tls::{self, Hello, hello},
};

/// Lines of requests; `@` is the cookie with the value of the pod, `%` its name.
const COOKIES: &[&[&str]] = &[
    &[],
    &["Cookie: @"],
    &["Cookie: @; x=1"],
    &["Cookie: x=1; @"],
    &["Cookie: x=1; @; y=2"],
    &["Cookie: x=1;@;y=2"],
    &["Cookie: x=1 ; @ ; y=2"],
    &["Cookie: x=1, @, y=2"],
    &["Cookie: @;"],
    &["Cookie: x=1; @;"],
    &["Cookie: @;;x=1"],
    &["Cookie: ;@"],
    &["Cookie: @; @"],
    &["Cookie: @; x=1; %=other"],
    &["Cookie: %=other; x=1; @"],
    &["Cookie: %=other"],
    &["Cookie: %="],
    &["Cookie: %"],
    &["Cookie: %; x=1"],
    &["Cookie: X%=1; %X=2"],
    &["Cookie: x=\"; @\"; y=2"],
    &["Cookie: %=\"a;b\"; y=2"],
    &["Cookie: x = 1; y =2;z= 3"],
    &["Cookie: % = other; x = 1"],
    &["Cookie: $Version=1; @; $Path=/"],
    &["Cookie: $Version=1; x=1; $Path=/; @; $Path=/"],
    &["Cookie: @; $Path=/; x=1"],
    &["Cookie: x=%=1; =y; z"],
    &["Cookie: x=1", "Cookie: @"],
    &["Cookie: @", "Cookie: x=1"],
    &["Cookie: x=1; @", "Cookie: @; y=2"],
    &["Cookie: @", "Cookie: @"],
];

/// Method, and status and lines of the pod's answer, to a request without a cookie and to one with it.
const ANSWERS: &[(&str, u16, &[&str])] = &[
    ("GET", 200, &[]),
    ("GET", 200, &["Cache-Control: public"]),
    ("GET", 200, &["Cache-Control: max-age=60"]),
    ("GET", 200, &["Cache-Control: Max-Age=60 , Public"]),
    ("GET", 200, &["Cache-Control: max-age=0"]),
    ("GET", 200, &["Cache-Control: s-maxage=60"]),
    ("GET", 200, &["Cache-Control: s-maxage=0, max-age=60"]),
    ("GET", 200, &["Cache-Control: private", "ETag: \"a\""]),
    ("GET", 200, &["Cache-Control: no-store", "Cache-Control: public", "ETag: \"a\""]),
    ("GET", 200, &["Cache-Control: public, no-cache", "ETag: \"a\""]),
    ("GET", 200, &["Cache-Control: no-cache=\"set-cookie\", max-age=60"]),
    ("GET", 200, &["Expires: Thu, 01 Jan 2099 00:00:00 GMT"]),
    ("GET", 200, &["ETag: \"a\""]),
    ("GET", 200, &["Last-Modified: Thu, 01 Jan 2009 00:00:00 GMT"]),
    ("GET", 200, &["ETag: \"a\"", "Pragma: no-cache"]),
    ("GET", 203, &["ETag: \"a\""]),
    ("GET", 206, &["ETag: \"a\""]),
    ("GET", 301, &["ETag: \"a\""]),
    ("GET", 302, &["ETag: \"a\""]),
    ("GET", 404, &["ETag: \"a\""]),
    ("GET", 410, &["ETag: \"a\""]),
    ("GET", 500, &["ETag: \"a\""]),
    ("GET", 501, &["ETag: \"a\""]),
    ("POST", 200, &["ETag: \"a\""]),
    ("POST", 200, &["ETag: \"a\"", "Cache-Control: public"]),
    ("PUT", 200, &["ETag: \"a\""]),
    ("OPTIONS", 200, &["ETag: \"a\""]),
    ("GET", 200, &["Set-Cookie: %=pod; path=/"]),
    ("GET", 200, &["Set-Cookie: x=1", "Set-Cookie: %=pod", "Set-Cookie: y = 2; Max-Age = 3"]),
    ("GET", 200, &["Set-Cookie: x=1, %=pod; path=/"]),
    ("GET", 200, &["Set-Cookie: %; path=/", "Set-Cookie: %=", "ETag: \"a\""]),
];

fn all(response: &Response, name: &str) -> Vec<String> {
    let fields = response.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    fields.map(|(_, value)| value.clone()).collect()
}

/// The name of the cookie of route `a`, and its value for the one pod.
fn of(pod: SocketAddr) -> (String, String) {
    let value = hash(&format!("pod:a-pod-0:a:http:{}:{}", pod.ip(), pod.port())).to_vec();
    (default_name("app", "a"), String::from_utf8(value).expect("digits"))
}

/// What the pod and the client see of one request.
async fn sees(
    pod: &Pod,
    client: &mut Client<impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>,
    request: &str,
) -> [Vec<String>; 3] {
    client.send(request).await;
    let response = client.response().await;
    assert!(response.status() >= 200, "{request:?}: {response:?}");
    let seen = pod.seen();
    let cookies = seen.last().expect("a request").all("cookie");
    [
        cookies.into_iter().map(str::to_owned).collect(),
        all(&response, "set-cookie"),
        all(&response, "cache-control"),
    ]
}

/// [STICK-4..8]: 32 kinds of Cookie fields and 31 answers, both without and with the cookie: pods and
/// clients see the same; and the attributes of a route with TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_haproxy_and_wharf_say_the_same_of_cookies() {
    if !wanted("peers_haproxy_and_wharf_say_the_same_of_cookies") {
        return;
    }
    let name = default_name("app", "a");
    let pod = Pod::start(move |seen| {
        let Some(answer) = seen.all("x-answer").first().and_then(|nth| nth.parse::<usize>().ok())
        else {
            return raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        };
        let (_, status, lines): (_, u16, &[&str]) = ANSWERS[answer];
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let lines = lines.replace('%', &name);
        raw(&format!("HTTP/1.1 {status} x\r\n{lines}content-length: 0\r\n\r\n"))
    })
    .await;
    let (name, value) = of(pod.address);
    let backend = |options: &str| {
        format!(
            "\n  mode http\n  default_backend it\nbackend it\n  mode http\n  cookie {name} insert \
             indirect nocache httponly {options}\n  server it {} cookie {value}\n",
            pod.address
        )
    };
    let judge = Haproxy::start(&backend(""), &[]);
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut theirs = Client::connect(judge.address).await;
    let mut ours = edge.client().await;
    let fill = |line: &str| line.replace('@', &format!("{name}={value}")).replace('%', &name);
    let mut requests = Vec::new();
    for lines in COOKIES {
        let lines: String = lines.iter().map(|line| format!("{}\r\n", fill(line))).collect();
        requests.push(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n"));
    }
    for (nth, (method, ..)) in ANSWERS.iter().enumerate() {
        for cookie in ["x=1", "@"] {
            requests.push(format!(
                "{method} / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\nX-Answer: {nth}\r\n\
                 Cookie: {}\r\n\r\n",
                fill(cookie)
            ));
        }
    }
    for request in &requests {
        let expected = sees(&pod, &mut theirs, request).await;
        let found = sees(&pod, &mut ours, request).await;
        assert_eq!(found, expected, "{request}");
    }
    let secure = Haproxy::start(&backend("secure attr SameSite=Strict"), &[]);
    let strict =
        edge_route("a", HOST, None).annotated("router.openshift.io/cookie-same-site", "Strict");
    let edge = Edge::start(&app(strict, &[pod.address])).await;
    let http1 = Hello { alpn: &["http/1.1"], ..hello(HOST) };
    let stream = tls::connect(edge.https, http1).await.expect("a handshake");
    let expected = sees(&pod, &mut Client::connect(secure.address).await, &requests[0]).await;
    assert_eq!(sees(&pod, &mut Client::over(stream), &requests[0]).await, expected);
    assert!(expected[1][0].ends_with("; Secure; SameSite=Strict"), "{expected:?}");
}
