//! Trailers (R-27, S-22, S-23): both ways, on all four ways through, without what some would take for a
//! field of the head. `matrix` has those of responses that are sound.

use http::{HeaderMap, HeaderName, HeaderValue, Request};

use crate::harness::{
    h2client::H2Client,
    h2pod::{self, H2Pod, Reply},
    http2::Http2,
    manifest::{app, h2c, route},
    pod::{Pod, ok, raw},
    router::Edge,
    within,
};

const HOST: &str = "a.example.com";
const URL: &str = "http://a.example.com/";

/// Sound fields, and some that must not pass.
const SENT: [(&str, &str); 10] = [
    ("x-sum", "6"),
    ("grpc-status", "0"),
    ("authorization", "Basic eA=="),
    ("proxy-authorization", "Basic eA=="),
    ("cookie", "a=b"),
    ("set-cookie", "a=b"),
    ("content-length", "9"),
    ("x-forwarded-for", "1.2.3.4"),
    ("x_forwarded_for", "1.2.3.4"),
    ("x-ssl-client-cn", "admin"),
];

/// What of [`SENT`] passes.
const PASSED: [(&str, &str); 2] = [("grpc-status", "0"), ("x-sum", "6")];

/// `Trailer`, which names all of them.
fn named() -> String {
    SENT.map(|(name, _)| name).join(", ")
}

fn map() -> HeaderMap {
    let fields = SENT.iter();
    fields
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn lines() -> String {
    SENT.map(|(name, value)| format!("{name}: {value}\r\n")).concat()
}

fn sorted<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, &'a str)> {
    let mut fields: Vec<_> = fields.into_iter().collect();
    fields.sort_unstable();
    fields
}

fn of_map(fields: &HeaderMap) -> Vec<(&str, &str)> {
    sorted(fields.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("text"))))
}

fn of_lines(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    sorted(fields.iter().map(|(name, value)| (&**name, &**value)))
}

/// S-23: a request's trailers reach the pod, but for those of identity, framing and forwarding.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_23_request_trailers_on_all_four_ways() {
    let old = Pod::start(|seen| ok(&seen.body)).await;
    let new = H2Pod::start(|seen| h2pod::ok(&seen.body)).await;
    let objects =
        [app(route("a", HOST), &[old.address]), h2c(app(route("a", HOST), &[new.address]))];
    for objects in objects {
        let edge = Edge::start(&objects).await;
        let mut client = edge.client().await;
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: {HOST}\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n\r\n\
                 2\r\nhi\r\n0\r\n{}\r\n",
                named(),
                lines()
            ))
            .await;
        assert_eq!(client.response().await.status(), 200);
        let mut client = H2Client::over(edge.client().await.stream).await;
        let request = Request::post(URL).header("trailer", named()).body(()).unwrap();
        let (response, mut send) = client.start(request);
        send.send_data("hi".into(), false).unwrap();
        send.send_trailers(map()).unwrap();
        assert_eq!(within("an answer", response).await.unwrap().status(), 200);
        assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
    }
    assert_eq!((old.attempts(), new.attempts()), (2, 2));
    for seen in old.seen() {
        assert_eq!((seen.body.as_slice(), of_lines(&seen.trailers)), (&b"hi"[..], PASSED.to_vec()));
        assert_eq!(seen.all("authorization"), Vec::<&str>::new(), "merged into the head");
    }
    for seen in new.seen() {
        let trailers = seen.trailers.expect("trailers");
        assert_eq!((seen.body.as_slice(), of_map(&trailers)), (&b"hi"[..], PASSED.to_vec()));
        assert_eq!(seen.headers.get("authorization"), None);
    }
}

/// S-23: a response's trailers, likewise; S-22, RFC 9110 6.5.1: to a client of HTTP/1 only if it said
/// `TE: trailers`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_22_s_23_response_trailers_on_all_four_ways() {
    let old = Pod::start(|_| {
        raw(&format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n\r\n\
             3\r\nabc\r\n0\r\n{}\r\n",
            named(),
            lines()
        ))
    })
    .await;
    let new = H2Pod::start(|_| {
        let reply = Reply::new(200).header("trailer", named()).chunk("abc");
        let reply = SENT.iter().fold(reply, |reply, (name, value)| reply.trailer(name, value));
        h2pod::Act::Reply(reply)
    })
    .await;
    let objects =
        [app(route("a", HOST), &[old.address]), h2c(app(route("a", HOST), &[new.address]))];
    for objects in objects {
        let edge = Edge::start(&objects).await;
        let mut client = edge.client().await;
        for (te, passed) in
            [("TE: trailers\r\n", &PASSED[..]), ("TE: gzip, trailers\r\n", &PASSED[..]), ("", &[])]
        {
            client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{te}\r\n")).await;
            let response = client.response().await;
            assert_eq!((response.text().as_str(), response.cut), ("abc", false), "{te:?}");
            assert_eq!(of_lines(&response.trailers), passed, "{te:?}");
        }
        let mut client = Http2::over(edge.client().await.stream).await;
        let reply = client.get(URL).await.unwrap();
        assert_eq!(
            (&reply.body[..], of_map(&reply.trailers.unwrap())),
            (&b"abc"[..], PASSED.to_vec())
        );
        let set = reply.headers.get_all("set-cookie").iter().map(HeaderValue::as_bytes);
        let pods = set.filter(|field| !field.ends_with(b"; path=/; HttpOnly"));
        assert_eq!(pods.count(), 0, "merged into the head");
    }
    assert_eq!(old.seen()[0].all("te"), ["trailers"]);
    assert_eq!(old.seen()[1].all("te"), ["trailers"]);
    assert_eq!(old.seen()[2].all("te"), Vec::<&str>::new());
}
