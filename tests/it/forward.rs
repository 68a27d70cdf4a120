//! Requests that reach a pod and answers that come back: protocols, TLS, headers, bodies.

use http::Request;
use serde_json::Value;
use wharf::{settings::DefaultCert, tls::mint};

use crate::harness::{
    client::{self, Client},
    http2::{Http2, body},
    manifest::{With as _, app, edge, route, secret, service},
    pod::{Act, Pod, ok, raw},
    router::Edge,
    tls::{self, Hello, certificates, chain, hello, pair, protocol},
};

const HOST: &str = "a.example.com";

async fn one_route(pod: &Pod) -> Edge {
    Edge::start(&app(route("a", HOST), &[pod.address])).await
}

/// Several requests over one client connection share one pod connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keep_alive_on_both_sides() {
    let pod = Pod::start(|seen| ok(format!("{} {}", seen.nth, seen.target()))).await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    for nth in 1..=5 {
        let response = client.get(HOST, &format!("/{nth}?q=%2F")).await;
        assert_eq!(response.line, "HTTP/1.1 200 OK");
        assert_eq!(response.text(), format!("{nth} /{nth}?q=%2F"));
    }
    assert_eq!(pod.connections(), 1);
    assert_eq!(edge.count("a", |counters| &counters.reused), 4);
    assert!(edge.reasons().is_empty());
}

/// Pipelined requests are answered in order, one after the other (S-19).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelined_requests_are_answered_in_order() {
    let pod = Pod::start(|seen| ok(seen.target())).await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    let requests: String = (0..50).map(|nth| client::get(HOST, &format!("/{nth}"))).collect();
    client.send(requests).await;
    for nth in 0..50 {
        assert_eq!(client.response().await.text(), format!("/{nth}"));
    }
}

/// [LSN-6]: HTTP/2 with prior knowledge on the plain port, streams at once, cookies joined.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_6_http2_with_prior_knowledge() {
    let pod = Pod::start(|seen| ok(seen.target())).await;
    let edge = one_route(&pod).await;
    let mut client = Http2::over(edge.client().await.stream).await;
    let mut started = Vec::new();
    for nth in 0..20 {
        let request = Request::get(format!("http://A.example.com/{nth}"))
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(body(""))
            .unwrap();
        started.push((nth, client.start(request)));
    }
    for (nth, response) in started {
        assert_eq!(response.await.unwrap().body, format!("/{nth}"));
    }
    let seen = pod.seen().remove(0);
    assert_eq!(seen.all("host"), [HOST]);
    assert_eq!(seen.all("cookie"), ["a=1; b=2"]);
    assert!(seen.line.ends_with("HTTP/1.1"), "{}", seen.line);
}

/// [ALPN-1]: h2 only with a certificate that one route alone uses; without SNI, with the default
/// certificate and with a shared one there is no ALPN at all. [ALPN-3]: nor where HTTP/2 is switched
/// off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alpn_1_h2_for_a_routes_own_certificate_only() {
    let pod = Pod::saying("pod").await;
    let (own, shared) = (pair("own.example.com"), pair("*.example.com"));
    let mut objects = service("a", &[pod.address]);
    let to_a = |route: Value| route.with("/spec/to/name", "a");
    objects.extend([
        to_a(edge("own", "own.example.com", Some(&own))),
        to_a(edge("s1", "s1.example.com", Some(&shared))),
        to_a(edge("s2", "s2.example.com", Some(&shared))),
        to_a(edge("default", "default.example.com", None)),
    ]);
    let edge = Edge::start(&objects).await;
    let rows = [
        ("own.example.com", &["h2", "http/1.1"][..], Some("h2")),
        ("own.example.com", &["http/1.1"], Some("http/1.1")),
        ("own.example.com", &[], None),
        ("s1.example.com", &["h2", "http/1.1"], None),
        ("default.example.com", &["h2", "http/1.1"], None),
        ("unknown.example.com", &["h2", "http/1.1"], None),
    ];
    for (sni, alpn, expected) in rows {
        let stream = tls::connect(edge.https, Hello { alpn, ..hello(sni) }).await.unwrap();
        assert_eq!(protocol(&stream).as_deref(), expected, "{sni} {alpn:?}");
        if expected == Some("h2") {
            let mut client = Http2::over(stream).await;
            assert_eq!(client.get(&format!("https://{sni}/")).await.unwrap().body, "pod");
        } else if sni != "unknown.example.com" {
            assert_eq!(Client::over(stream).get(sni, "/").await.text(), "pod", "{sni}");
        }
    }
    let nobody = Hello { sni: None, ..hello("unused") };
    let stream = tls::connect(edge.https, nobody).await.unwrap();
    assert_eq!(protocol(&stream), None);
    assert_eq!(Client::over(stream).get("own.example.com", "/").await.text(), "pod");

    let off = Edge::with(&objects, |settings| settings.disable_http2 = true).await;
    let stream = tls::connect(off.https, hello("own.example.com")).await.unwrap();
    assert_eq!(protocol(&stream), None);
}

/// [TLS-1]: 1.2 and 1.3, requests over either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_versions_1_2_and_1_3() {
    let pod = Pod::saying("pod").await;
    let edge = Edge::start(&app(edge("a", HOST, None), &[pod.address])).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let wanted = Hello { version, ..hello(HOST) };
        let stream = tls::connect(edge.https, wanted).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        assert_eq!(Client::over(stream).get(HOST, "/").await.text(), "pod");
    }
}

/// [CERT-1, 2, 4, 6, 7] and [DCERT-1]: the certificate follows the route's host, not the names
/// inside it; exact before wildcard before default; the chain is certificate, then caCertificate;
/// no SNI gets the default; an edit holds for new handshakes and leaves connections alone.
/// [CERT-1, CERT-2, CERT-4, CERT-6, CERT-7, LSN-5]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cert_selection_by_sni() {
    let pod = Pod::saying("pod").await;
    let authority = mint::authority("test").unwrap();
    let exact = authority.leaf(&["other-name.example.org".to_owned()]).unwrap();
    let (wild, external, default) = (pair("wild"), pair("external"), pair("default"));
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tls.crt"), &default.cert_pem).unwrap();
    std::fs::write(folder.path().join("tls.key"), &default.key_pem).unwrap();
    let mut objects = service("a", &[pod.address]);
    let to_a = |route: Value| route.with("/spec/to/name", "a");
    objects.extend([
        to_a(edge("exact", "one.example.com", Some(&exact)))
            .with("/spec/tls/caCertificate", authority.pair().cert_pem.as_str()),
        to_a(edge("wild", "www.example.com", Some(&wild)))
            .with("/spec/wildcardPolicy", "Subdomain"),
        to_a(edge("external", "ext.example.org", None))
            .with("/spec/tls/externalCertificate/name", "ext"),
        to_a(edge("bare", "bare.example.org", None)),
        secret("ext", &external),
    ]);
    let edge = Edge::with(&objects, |settings| {
        settings.allow_wildcard_routes = true;
        settings.default_cert = Some(DefaultCert::Path(folder.path().to_owned()));
    })
    .await;
    let served = async |sni: Option<&'static str>| {
        let stream = tls::connect(edge.https, Hello { sni, ..hello("unused") }).await.unwrap();
        chain(&stream)
    };
    let exact_chain = [&exact, authority.pair()].map(|pair| certificates(&pair.cert_pem)).concat();
    assert_eq!(served(Some("one.example.com")).await, exact_chain);
    assert_eq!(served(Some("ONE.example.com")).await, exact_chain);
    let rows = [
        (Some("two.example.com"), &wild),
        (Some("www.example.com"), &wild),
        (Some("a.b.example.com"), &default),
        (Some("other-name.example.org"), &default),
        (Some("ext.example.org"), &external),
        (Some("bare.example.org"), &default),
        (Some("unknown.example.net"), &default),
        (None, &default),
    ];
    for (sni, pair) in rows {
        assert_eq!(served(sni).await, certificates(&pair.cert_pem), "{sni:?}");
    }

    let stream = tls::connect(edge.https, Hello { alpn: &[], ..hello("ext.example.org") }).await;
    let mut before = Client::over(stream.unwrap());
    assert_eq!(before.get("ext.example.org", "/").await.text(), "pod");
    let renewed = pair("renewed");
    *objects.last_mut().unwrap() = secret("ext", &renewed);
    edge.write("main.yaml", &objects);
    crate::harness::eventually("the new certificate", async || {
        (served(Some("ext.example.org")).await == certificates(&renewed.cert_pem)).then_some(())
    })
    .await;
    assert_eq!(before.get("ext.example.org", "/").await.text(), "pod");
    assert_eq!(pod.connections(), 1);
}

/// [FWD-1..5]: the default policy adds a line behind what the client sent; values are those of the
/// connection. [MATCH-1]: the pod sees the Host in lower case.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fwd_append_is_the_default() {
    let pod = Pod::saying("pod").await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: A.Example.com:81\r\nX-Forwarded-For: 192.0.2.1\r\n\
             X-Forwarded-For: 192.0.2.2\r\nX-Forwarded-Proto: gopher\r\nForwarded: for=x\r\n\
             X-Forwarded-Host: h\r\nX-Forwarded-Port: 1\r\n\r\n",
        )
        .await;
    assert_eq!(client.response().await.status(), 200);
    let seen = pod.one();
    let port = edge.http.port().to_string();
    assert_eq!(seen.all("host"), ["a.example.com:81"]);
    assert_eq!(seen.all("x-forwarded-for"), ["192.0.2.1", "192.0.2.2", "127.0.0.1"]);
    assert_eq!(seen.all("x-forwarded-proto"), ["gopher", "http"]);
    assert_eq!(seen.all("x-forwarded-host"), ["h", "a.example.com:81"]);
    assert_eq!(seen.all("x-forwarded-port"), ["1", port.as_str()]);
    let forwarded = "for=127.0.0.1;host=a.example.com:81;proto=http";
    assert_eq!(seen.all("forwarded"), ["for=x", forwarded]);
    assert!(seen.all("x-forwarded-proto-version").is_empty());
}

/// [FWD-1]: the annotation's other policies, and `h2` where ALPN chose it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fwd_1_policies_by_annotation() {
    let annotation = "haproxy.router.openshift.io/set-forwarded-headers";
    let rows = [
        ("replace", vec!["127.0.0.1"]),
        ("if-none", vec!["192.0.2.1"]),
        ("never", vec!["192.0.2.1"]),
        ("nonsense", vec!["192.0.2.1", "127.0.0.1"]),
    ];
    for (policy, expected) in rows {
        let pod = Pod::saying("pod").await;
        let route = route("a", HOST).annotated(annotation, policy);
        let edge = Edge::start(&app(route, &[pod.address])).await;
        let mut client = edge.client().await;
        let request =
            format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n");
        client.send(request).await;
        assert_eq!(client.response().await.status(), 200);
        assert_eq!(pod.one().all("x-forwarded-for"), expected, "{policy}");
        assert_eq!(pod.one().all("forwarded").len(), usize::from(policy != "never"), "{policy}");
    }
    let pod = Pod::saying("pod").await;
    let edge = Edge::start(&app(edge("a", HOST, Some(&pair(HOST))), &[pod.address])).await;
    let mut client = Http2::over(tls::connect(edge.https, hello(HOST)).await.unwrap()).await;
    assert_eq!(client.get("https://a.example.com/").await.unwrap().status, 200);
    assert_eq!(pod.one().all("x-forwarded-proto-version"), ["h2"]);
    assert_eq!(pod.one().all("x-forwarded-proto"), ["https"]);
}

/// Fields of one hop end at the router, with what `Connection` nominates; the router's own fields
/// cannot be nominated away (S-21, S-22); `Upgrade: h2c` is stripped (S-16); nothing imitates a
/// trusted name (S-10, [SEC-1], [MTLS-5]). [ORD-5]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hop_by_hop_fields_end_here() {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive, x-pod\r\nx-pod: 1\r\n\
             keep-alive: timeout=5\r\nproxy-connection: a\r\nupgrade: h2c\r\nx-kept: 2\r\n\r\n")
    })
    .await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\n\
             Connection: keep-alive, X-Secret, X-Forwarded-For, Upgrade, HTTP2-Settings, Host\r\n\
             X-Secret: 1\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\nKeep-Alive: 5\r\n\
             Proxy-Connection: keep-alive\r\nTE: trailers, gzip\r\nProxy: evil\r\n\
             X_Forwarded_For: 1.2.3.4\r\nX-SSL-Client-CN: root\r\nAuthorization: Basic x\r\n\r\n"
        ))
        .await;
    let response = client.response().await;
    assert_eq!((response.status(), response.header("x-kept")), (200, Some("2")));
    for name in ["x-pod", "keep-alive", "proxy-connection", "upgrade"] {
        assert_eq!(response.header(name), None, "{name}");
    }
    let seen = pod.one();
    let gone = [
        "x-secret",
        "upgrade",
        "http2-settings",
        "keep-alive",
        "proxy-connection",
        "proxy",
        "x_forwarded_for",
        "x-ssl-client-cn",
        "connection",
    ];
    for name in gone {
        assert!(seen.all(name).is_empty(), "{name}: {seen:?}");
    }
    assert_eq!(seen.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.all("te"), ["trailers"]);
    assert_eq!(seen.all("authorization"), ["Basic x"]);
    assert_eq!(seen.all("host"), [HOST]);
}

/// An absolute-form target goes on in origin form (S-12, RFC 9112 3.2.2).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absolute_form_goes_on_in_origin_form() {
    let pod = Pod::saying("pod").await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    let request = format!("GET http://{HOST}:80/x?y=/z HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
    client.send(request).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(pod.one().line, "GET /x?y=/z HTTP/1.1");
    assert_eq!(pod.one().all("host"), [HOST]);
}

fn pattern(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

/// Bodies with a length and in chunks, small and of 5 MB, both ways, on both protocols.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_arrive_whole_in_both_directions() {
    let pod = Pod::start(|seen| {
        if seen.target() == "/chunked" {
            let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
            for chunk in seen.body.chunks(10_000) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
            return Act::Reply(bytes);
        }
        ok(&seen.body)
    })
    .await;
    let edge = one_route(&pod).await;
    let mut plain = edge.client().await;
    let mut multiplexed = Http2::over(edge.client().await.stream).await;
    for len in [0, 1, 16_384, 5_000_000] {
        let sent = pattern(len);
        for path in ["/sized", "/chunked"] {
            let head = format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\n");
            plain.send(format!("{head}content-length: {len}\r\n\r\n")).await;
            plain.send(&sent).await;
            let response = plain.response().await;
            assert!(response.body == sent && !response.cut, "{path} {len}: {}", response.line);
            let framing = if path == "/sized" { "content-length" } else { "transfer-encoding" };
            assert!(response.header(framing).is_some(), "{path}: {response:?}");

            plain.send(format!("{head}transfer-encoding: chunked\r\n\r\n")).await;
            for chunk in sent.chunks(100_000) {
                plain.send(format!("{:x}\r\n", chunk.len())).await;
                plain.send(chunk).await;
                plain.send("\r\n").await;
            }
            plain.send("0\r\n\r\n").await;
            assert!(plain.response().await.body == sent, "{path} {len} chunked");

            let request = Request::post(format!("http://{HOST}{path}")).body(body(sent.clone()));
            let reply = multiplexed.send(request.unwrap()).await.unwrap();
            assert!(reply.body == sent, "{path} {len} on HTTP/2");
        }
    }
    let chunked =
        pod.seen().iter().filter(|seen| !seen.all("transfer-encoding").is_empty()).count();
    assert!(chunked >= 8, "the pod saw chunks {chunked} times");
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// HEAD, 204 and 304 have no body whatever their fields say, and the connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_without_a_body_keep_the_connection() {
    let pod = Pod::start(|seen| match seen.target() {
        "/204" => raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => raw("HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\netag: \"x\"\r\n\r\n"),
        _ if seen.method() == "HEAD" => raw("HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n"),
        _ => raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    })
    .await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    client.send(format!("HEAD / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let response = client.response_to("HEAD").await;
    assert_eq!((response.status(), response.header("content-length")), (200, Some("1234")));
    assert_eq!(client.get(HOST, "/204").await.line, "HTTP/1.1 204 No Content");
    let response = client.get(HOST, "/304").await;
    assert_eq!((response.status(), response.header("etag")), (304, Some("\"x\"")));
    let response = client.get(HOST, "/empty").await;
    assert_eq!((response.status(), response.body.len(), response.cut), (200, 0, false));
    // An answer of the router's own to HEAD has no body either.
    client.send("HEAD / HTTP/1.1\r\nHost: unknown.example.com\r\n\r\n").await;
    assert_eq!(client.response_to("HEAD").await.status(), 503);
    assert!(client.closed().await);
    assert_eq!(pod.connections(), 1);
}

/// Trailers go both ways where the message announces them (R-27, S-23).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_are_relayed() {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n")
    })
    .await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nTE: trailers\r\ntransfer-encoding: chunked\r\n\
             trailer: x-up\r\n\r\n2\r\nhi\r\n0\r\nx-up: 1\r\n\r\n"
        ))
        .await;
    let response = client.response().await;
    assert_eq!(response.trailers, [("x-sum".to_owned(), "6".to_owned())]);
    let seen = pod.one();
    assert_eq!((seen.body.as_slice(), seen.trailers.len()), (&b"hi"[..], 1), "{seen:?}");
    let mut client = Http2::over(edge.client().await.stream).await;
    let reply = client.get("http://a.example.com/").await.unwrap();
    assert_eq!(reply.trailers.unwrap()["x-sum"], "6");
}

/// `Expect: 100-continue` is answered before the body, then the request goes on (S-13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expect_100_continue() {
    let pod = Pod::start(|seen| ok(&seen.body)).await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    let head = format!(
        "PUT / HTTP/1.1\r\nHost: {HOST}\r\nExpect: 100-continue\r\ncontent-length: 4\r\n\r\n"
    );
    client.send(head).await;
    assert_eq!(client.head().await.line, "HTTP/1.1 100 Continue");
    client.send("body").await;
    assert_eq!(client.response().await.text(), "body");
}

/// A pod that sends 100 and 103 before its answer: the answer comes through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_responses_do_not_disturb() {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n\
             HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    })
    .await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    for _ in 0..2 {
        assert_eq!(client.get(HOST, "/").await.text(), "ok");
    }
}

/// An HTTP/1.0 client gets no chunks: the body ends with the connection (S-18) [ORD-5].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_clients_get_no_chunks() {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    })
    .await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    client.send(format!("GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n")).await;
    let response = client.response().await;
    assert_eq!(response.header("transfer-encoding"), None);
    assert_eq!((response.status(), response.text().as_str()), (200, "abc"));
    assert!(client.closed().await);
    assert!(pod.one().line.ends_with("HTTP/1.1"));
}

/// A pod's close-delimited body arrives whole, and nothing is put back into the pool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_end_with_the_connection() {
    let pod = Pod::start(|_| Act::Last(b"HTTP/1.1 200 OK\r\n\r\nuntil the end".to_vec())).await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    for nth in 1..=2 {
        assert_eq!(client.get(HOST, "/").await.text(), "until the end");
        assert_eq!(pod.connections(), nth);
    }
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// A pod that answers before it has read the body: the client gets the answer, and the pod's
/// connection serves nobody else (S-13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_an_early_answer_spends_the_pod_connection() {
    let pod = Pod::early(|seen| ok(seen.connection.to_string())).await;
    let edge = one_route(&pod).await;
    let mut client = edge.client().await;
    client.send(format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: 10\r\n\r\nhalf")).await;
    assert_eq!(client.response().await.text(), "1");
    let response = edge.get(HOST, "/").await;
    assert_eq!((response.status(), response.text().as_str()), (200, "2"));
}

/// F-11: an address that goes from one pod to another: the connection that waits is closed with the
/// snapshot that says so, long before it has idled too long, and the other pod gets its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_11_a_pod_that_leaves_takes_its_connections_with_it() {
    let pod = Pod::start(|seen| ok(seen.connection.to_string())).await;
    let objects = app(route("a", HOST), &[pod.address]);
    let edge = Edge::with(&objects, |settings| {
        settings.workers = 1;
        settings.timeouts.pool_idle = std::time::Duration::from_secs(3600);
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.text(), "1");
    assert_eq!(edge.get(HOST, "/").await.text(), "1");
    assert_eq!(pod.open(), 1);
    let other: Vec<Value> = objects
        .into_iter()
        .map(|object| match object["kind"] == "EndpointSlice" {
            true => object.with("/endpoints/0/targetRef/name", "another-pod"),
            false => object,
        })
        .collect();
    edge.write("main.yaml", &other);
    crate::harness::eventually("the old connection to be closed", async || {
        (pod.open() == 0).then_some(())
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.text(), "2");
}

/// [ORD-5], register row 26: names are lower case, and as they were sent where the setting says so.
/// What the router adds is lower case either way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ord_5_the_case_of_names_is_lower_unless_it_is_kept() {
    use wharf::settings::HeaderCase;
    for (case, asked, answered) in [
        (HeaderCase::Lower, "x-odd-name", "x-pod-name"),
        (HeaderCase::Kept, "X-OdD-Name", "X-PoD-Name"),
    ] {
        let answer = "HTTP/1.1 200 OK\r\nX-PoD-Name: 1\r\ncontent-length: 0\r\n\r\n";
        let pod = Pod::start(move |_| raw(answer)).await;
        let all = app(route("a", HOST), &[pod.address]);
        let edge = Edge::with(&all, |settings| settings.header_case = case).await;
        let mut client = edge.client().await;
        // The second goes over a connection that there is, and is kept for another try.
        for nth in 0..2 {
            client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-OdD-Name: 1\r\n\r\n")).await;
            let response = client.response().await;
            let has =
                |fields: &[(String, String)], name| fields.iter().any(|field| field.0 == name);
            assert!(has(&response.headers, answered), "{case:?}: {:?}", response.headers);
            let seen = &pod.seen()[nth].headers;
            assert!(has(seen, asked) && has(seen, "x-forwarded-for"), "{case:?}: {seen:?}");
        }
    }
}
