//! Header actions of routes and of the router, in the order of spec/route.md 12, with every kind of client
//! and pod.

use data_encoding::BASE64;
use serde_json::{Value, json};
use wharf::{
    model::route::{HeaderAction, HeaderChange, HeaderValue},
    settings::RouterSettings,
};

use crate::harness::{
    client::{Client, Response},
    h2pod::{self, H2Pod},
    http2::Http2,
    manifest::{With as _, app, edge, h2c, route, with_all},
    pod::{Pod, Seen, ok, raw},
    router::Edge,
};

const HOST: &str = "a.example.com";

/// `NAME=VALUE` sets, `-NAME` deletes.
fn change(text: &str) -> HeaderChange {
    let (name, kind, value) = match text.split_once('=') {
        Some((name, value)) => (name, "Set", Some(HeaderValue { value: value.to_owned() })),
        None => (text.trim_start_matches('-'), "Delete", None),
    };
    let action = HeaderAction { kind: kind.to_owned(), set: value };
    HeaderChange { name: name.to_owned(), action }
}

fn changes(texts: &[&str]) -> Vec<HeaderChange> {
    texts.iter().map(|text| change(text)).collect()
}

/// `route` with these actions.
fn acting(route: Value, request: &[&str], response: &[&str]) -> Value {
    let lists = json!({"request": changes(request), "response": changes(response)});
    route.with("/spec/httpHeaders/actions", lists)
}

async fn get(edge: &Edge, host: &str, fields: &str) -> Response {
    let mut client = edge.client().await;
    client.send(format!("GET /p?q HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).await;
    client.response().await
}

fn last(pod: &Pod) -> Seen {
    pod.seen().last().cloned().expect("a request")
}

fn values<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    let fields = response.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
    fields.map(|(_, value)| &**value).collect()
}

/// [HDR-5, HDR-6, HDR-7] Static and dynamic values, Set and Delete, in both directions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hdr_5_hdr_7_actions_rewrite_requests_and_responses() {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 200 OK\r\nx-pod: One, Two\r\nserver: pod\r\nx-gone: 1\r\nX-Gone: 2\r\n\
             content-length: 2\r\n\r\nok")
    })
    .await;
    let request = [
        "X-Literal=\"shouldn't break\"\\ 100%%",
        "X-Id=<%[req.hdr(X-In),lower]>",
        "X-Twice=%[req.hdr(X-Id)]%[req.hdr(None)]%[req.hdr(x-literal),base64]",
        "-X-In",
        "X-Via=%[req.hdr(host)] %[req.hdr(X-Forwarded-Proto)] [%[req.hdr(X-Forwarded-For)]]",
    ];
    let response = ["X-Frame-Options=DENY", "-x-gone", "Server=%[res.hdr(X-Pod),lower]!"];
    let edge =
        Edge::start(&app(acting(route("a", HOST), &request, &response), &[pod.address])).await;
    let answer = get(&edge, "A.Example.Com", "X-In: A, B\r\nX-In: Last \r\nX-Id: old\r\n").await;
    let seen = last(&pod);
    let base64 = BASE64.encode(b"\"shouldn't break\"\\ 100%");
    for (name, expected) in [
        ("x-literal", vec!["\"shouldn't break\"\\ 100%"]),
        ("x-id", vec!["<last>"]),
        ("x-twice", vec![&*format!("<last>{base64}")]),
        ("x-in", vec![]),
        // Host as it was looked up; X-Forwarded-For comes behind the actions [ORD-2].
        ("x-via", vec!["a.example.com http []"]),
        ("x-forwarded-for", vec!["127.0.0.1"]),
    ] {
        assert_eq!(seen.all(name), expected, "{name}");
    }
    for (name, expected) in
        [("x-frame-options", vec!["DENY"]), ("x-gone", vec![]), ("server", vec!["two!"])]
    {
        assert_eq!(values(&answer, name), expected, "{name}");
    }
    assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"));
}

/// [HDR-5] The same over HTTP/2, to a pod of HTTP/2, where the host has no field of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hdr_5_actions_hold_over_http2_on_both_sides() {
    let pod = H2Pod::start(|_| {
        h2pod::Act::Reply(h2pod::Reply::new(200).header("x-pod", "a,B").chunk("ok"))
    })
    .await;
    let request = ["X-Host=%[req.hdr(Host)]", "X-Cookie=%[req.hdr(cookie)]", "-x-in"];
    let acting = acting(route("a", HOST), &request, &["X-Out=%[res.hdr(x-pod),lower]"]);
    let edge = Edge::start(&h2c(app(acting, &[pod.address]))).await;
    let stream = tokio::net::TcpStream::connect(edge.http).await.unwrap();
    let mut client = Http2::over(stream).await;
    let request = http::Request::get(format!("http://{HOST}/"))
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("x-in", "1")
        .body(crate::harness::http2::body(""))
        .unwrap();
    let reply = client.send(request).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.headers["x-out"]), (200, &"b".parse().unwrap()));
    let seen = pod.seen().pop().unwrap();
    assert_eq!(seen.headers["x-host"], HOST);
    assert_eq!(seen.headers["x-cookie"], "a=1; b=2");
    assert!(!seen.headers.contains_key("x-in"));
}

/// [ORD-1, ORD-3] The router's own actions come before the look-up: the host that they leave decides, is what
/// the pod gets, and what X-Forwarded-Host says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ord_3_a_host_that_the_router_changes_decides_the_route() {
    let (a, b) = (Pod::saying("a").await, Pod::saying("b").await);
    let objects = with_all([
        app(route("a", HOST), &[a.address]),
        app(route("b", "b.example.com"), &[b.address]),
    ]);
    let edge = Edge::with(&objects, |settings| {
        settings.headers.actions.request =
            changes(&["Host=%[req.hdr(X-Tenant)].example.com", "X-Proxy=[%[req.hdr(Proxy)]]"]);
    })
    .await;
    let answer = get(&edge, HOST, "X-Tenant: B\r\nProxy: evil\r\n").await;
    assert_eq!(answer.text(), "b");
    let seen = last(&b);
    assert_eq!(seen.all("host"), ["b.example.com"]);
    assert_eq!(seen.all("x-forwarded-host"), ["b.example.com"]);
    // [SEC-1] It was gone before.
    assert_eq!((seen.all("x-proxy"), seen.all("proxy").len()), (vec!["[]"], 0));
    // The same over HTTP/2, where the host is in `:authority`.
    let stream = tokio::net::TcpStream::connect(edge.http).await.unwrap();
    let mut client = Http2::over(stream).await;
    let request = http::Request::get(format!("http://{HOST}/")).header("x-tenant", "b");
    let request = request.body(crate::harness::http2::body("")).unwrap();
    assert_eq!(client.send(request).await.unwrap().body, "b");
    // Nobody's host, and what is no host at all.
    assert_eq!(get(&edge, HOST, "X-Tenant: c\r\n").await.status(), 503);
    assert_eq!(get(&edge, HOST, "X-Tenant: a/b\r\n").await.status(), 503);
    edge.has_reasons(&[("no_route", 2)]).await;
}

/// [ORD-1, ORD-3] Without a host there is no route; a redirect is decided before, and an action never leads
/// into one nor serves in clear what is to be redirected [REDIR-2].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ord_1_the_redirect_comes_before_the_routers_actions() {
    let pod = Pod::saying("a").await;
    let redirecting = edge("r", "r.example.com", None)
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect");
    let objects =
        with_all([app(route("a", HOST), &[pod.address]), app(redirecting, &[pod.address])]);
    let start = async |actions: &[&str]| {
        Edge::with(&objects, |settings| settings.headers.actions.request = changes(actions)).await
    };
    let edge = start(&["-Host", "X-A=1"]).await;
    assert_eq!(get(&edge, HOST, "").await.status(), 503);
    let redirect = get(&edge, "r.example.com", "").await;
    assert_eq!(redirect.header("location"), Some("https://r.example.com/p?q"));
    let edge = start(&["Host=r.example.com"]).await;
    assert_eq!(get(&edge, HOST, "").await.status(), 503);
    assert_eq!(pod.seen().len(), 0);
}

/// [ORD-1, ORD-4] The route wins over the router in requests, and the router over the route in responses; each
/// list sees what was before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ord_4_the_route_wins_in_requests_and_the_router_in_responses() {
    let pod = Pod::start(|_| raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx-r: pod\r\n\r\n")).await;
    let request = ["X-R=route", "X-Seen=%[req.hdr(X-W)]"];
    let acting = acting(route("a", HOST), &request, &["X-R=%[res.hdr(x-r)],route", "X-W=route"]);
    let edge = Edge::with(&app(acting, &[pod.address]), |settings| {
        settings.headers.actions.request = changes(&["X-R=router", "X-W=router"]);
        settings.headers.actions.response = changes(&["X-W=%[res.hdr(X-R)] router"]);
    })
    .await;
    let answer = get(&edge, HOST, "").await;
    let seen = last(&pod);
    assert_eq!((seen.all("x-r"), seen.all("x-seen")), (vec!["route"], vec!["router"]));
    assert_eq!(
        (answer.header("x-r"), answer.header("x-w")),
        (Some("pod,route"), Some("route router"))
    );
}

/// [HDR-2, NOMATCH-6] The router's own pages and redirects see no action.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nomatch_6_own_answers_see_no_action() {
    let pod = Pod::start(|_| raw("HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n")).await;
    let acting = |route| acting(route, &[], &["X-Out=route"]);
    let redirecting = edge("r", "r.example.com", None)
        .annotated("haproxy.router.openshift.io/hsts_header", "max-age=1")
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect");
    let objects = with_all([
        app(acting(route("a", HOST)), &[pod.address]),
        app(acting(redirecting), &[pod.address]),
        app(acting(route("e", "e.example.com")), &[]),
    ]);
    let edge = Edge::with(&objects, |settings| {
        settings.headers.actions.response = changes(&["X-Out=router"]);
    })
    .await;
    for (host, status) in
        [(HOST, 502), ("r.example.com", 302), ("e.example.com", 503), ("none.example.com", 503)]
    {
        let answer = get(&edge, host, "").await;
        assert_eq!((answer.status(), answer.header("x-out")), (status, None), "{host}");
        assert_eq!(answer.header("strict-transport-security"), None, "{host}");
    }
}

/// [HDR-7] Framing is the router's own, whatever the lists and the samples say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hdr_7_actions_cannot_break_framing() {
    let pod = Pod::start(|seen| ok(&seen.body)).await;
    let all = |side: &str| {
        let value = format!("%[{side}.hdr(x-in)]");
        ["Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "TE"]
            .map(|name| format!("{name}={value}"))
    };
    let (request, response) = (all("req"), all("res"));
    let lists = [&request, &response].map(|list| list.iter().map(|it| &**it).collect::<Vec<_>>());
    let objects = app(acting(route("a", HOST), &lists[0], &lists[1]), &[pod.address]);
    let edge = Edge::with(&objects, |settings| {
        settings.headers.actions.request = changes(&["-Content-Length", "-Transfer-Encoding"]);
        settings.headers.actions.response = changes(&["-Content-Length", "Connection=close"]);
    })
    .await;
    let mut client = edge.client().await;
    for (framing, body) in
        [("Content-Length: 3", "abc"), ("Transfer-Encoding: chunked", "3\r\nabc\r\n0\r\n\r\n")]
    {
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: {HOST}\r\nX-In: chunked\r\n{framing}\r\n\r\n{body}"
            ))
            .await;
        let answer = client.response().await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "abc"), "{framing}");
        let fields = ["content-length", "connection", "transfer-encoding", "upgrade"];
        assert_eq!(fields.map(|name| answer.header(name)), [Some("3"), None, None, None]);
        assert_eq!(last(&pod).body, b"abc");
        assert_eq!(last(&pod).all("te").len() + last(&pod).all("upgrade").len(), 0);
    }
}

/// spec/route.md 26.2: a Host that a route sets or deletes is what the pod gets, and X-Forwarded-Host is said
/// before. A pod of HTTP/2 gets it as `:authority`, or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ord_2_a_host_that_a_route_changes_is_for_the_pod_alone() {
    let pod = Pod::saying("one").await;
    let two = H2Pod::start(|_| h2pod::ok("two")).await;
    let hosts = ["s.example.com", "d.example.com"];
    let routes = |prefix: &str| {
        let name = |host: &str| format!("{prefix}{host:.1}");
        [
            acting(route(&name("s"), &format!("{prefix}{}", hosts[0])), &["Host=other:8080"], &[]),
            acting(route(&name("d"), &format!("{prefix}{}", hosts[1])), &["-Host"], &[]),
        ]
    };
    let [s1, d1] = routes("");
    let [s2, d2] = routes("h2-");
    let edge = Edge::start(&with_all([
        app(s1, &[pod.address]),
        app(d1, &[pod.address]),
        h2c(with_all([app(s2, &[two.address]), app(d2, &[two.address])])),
    ]))
    .await;
    for (host, expected) in [("s.example.com", vec!["other:8080"]), ("d.example.com", vec![])] {
        assert_eq!(get(&edge, host, "").await.text(), "one");
        assert_eq!(last(&pod).all("host"), expected);
        assert_eq!(last(&pod).all("x-forwarded-host"), [host]);
    }
    for (host, expected) in
        [("h2-s.example.com", "http://other:8080/p?q"), ("h2-d.example.com", "/p?q")]
    {
        assert_eq!(get(&edge, host, "").await.text(), "two", "{host}");
        let seen = two.seen().pop().unwrap();
        assert!(seen.url.ends_with(expected), "{} {expected}", seen.url);
        assert_eq!(seen.url.contains("example.com"), false, "{}", seen.url);
        assert!(!seen.headers.contains_key("host"));
        assert_eq!(seen.headers["x-forwarded-host"], host);
    }
}

/// [HDR-9] What does not fit is a 500, of a request and of a response.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hdr_9_a_head_that_grows_too_large_is_a_500() {
    let pod = Pod::saying("a").await;
    let long = |name: &str| format!("{name}={}", "z".repeat(16_384));
    let three = [long("X-1"), long("X-2"), long("X-3")];
    let three: Vec<_> = three.iter().map(|text| &**text).collect();
    let objects = with_all([
        app(acting(route("a", HOST), &three, &[]), &[pod.address]),
        app(acting(route("b", "b.example.com"), &[], &three), &[pod.address]),
        app(acting(route("c", "c.example.com"), &three[..1], &[]), &[pod.address]),
    ]);
    let edge = Edge::start(&objects).await;
    assert_eq!(get(&edge, HOST, "").await.status(), 500);
    assert_eq!(get(&edge, "b.example.com", "").await.status(), 500);
    assert_eq!(get(&edge, "c.example.com", "").await.status(), 200);
    edge.has_reasons(&[("rewrite_overflow", 2)]).await;
}

/// [HDR-7] The 101 of an upgrade is a response as any other, and stays one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ord_4_the_101_gets_response_actions_too() {
    let pod = Pod::start(|_| {
        crate::harness::pod::Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
                .to_vec(),
        )
    })
    .await;
    let acting =
        acting(route("a", HOST), &["X-In=1", "-Upgrade"], &["X-Out=1", "-Upgrade", "-Connection"]);
    let edge = Edge::start(&app(acting, &[pod.address])).await;
    let mut client = edge.client().await;
    client
        .send(format!(
            "GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"
        ))
        .await;
    let answer = client.head().await;
    let fields = ["x-out", "upgrade", "connection"].map(|name| answer.header(name));
    assert_eq!((answer.status(), fields), (101, [Some("1"), Some("echo"), Some("upgrade")]));
    client.send("ping").await;
    assert_eq!(client.bytes(4).await, b"ping");
    assert_eq!((last(&pod).all("x-in"), last(&pod).all("upgrade")), (vec!["1"], vec!["echo"]));
}

/// [HDR-5] The client's certificate, in base64, where there is one; nothing without TLS.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hdr_5_the_clients_certificate_reaches_the_pod() {
    use wharf::settings::tls::ClientCertificates;

    use crate::harness::{
        authority::{authority, replace},
        tls::{self, Hello, client, connect_with},
    };
    let folder = tempfile::TempDir::new().unwrap();
    let (ca, file) = (authority("ca", None), folder.path().join("ca.pem"));
    replace(&file, &ca.pem);
    let pod = Pod::saying("a").await;
    let both = edge("a", HOST, Some(&tls::pair(HOST)))
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
    let request = ["X-Cert=%{+Q}[ssl_c_der,base64]", "X-Length=<%[ssl_c_der,base64,base64]>"];
    let objects = app(acting(both, &request, &["X-Cert=%[ssl_c_der,base64]"]), &[pod.address]);
    let edge = Edge::with(&objects, |settings: &mut RouterSettings| {
        settings.tls.client_certificates = ClientCertificates::Optional;
        settings.tls.client_ca = Some(file);
    })
    .await;
    let identity = ca.client("someone", 7);
    let hello = Hello { sni: Some(HOST), alpn: &["http/1.1"], version: &rustls::version::TLS13 };
    let expected = BASE64.encode(&identity.chain[0]);
    for (identity, expected) in [(Some(&identity), &*expected), (None, "")] {
        let stream = connect_with(edge.https, Some(HOST), &client(hello, identity)).await.unwrap();
        let mut client = Client::over(stream);
        let answer = client.get(HOST, "/").await;
        assert_eq!(answer.header("x-cert"), Some(expected));
        assert_eq!(last(&pod).all("x-cert"), [expected]);
        let twice = BASE64.encode(expected.as_bytes());
        assert_eq!(last(&pod).all("x-length"), [format!("<{twice}>")]);
    }
    assert_eq!(get(&edge, HOST, "").await.header("x-cert"), Some(""));
}

/// [HDR-7] Actions are of the snapshot: a change of the route is one of its actions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hdr_7_a_set_of_actions_changes_with_its_route() {
    let pod = Pod::saying("a").await;
    let with = |value: &str| {
        app(acting(route("a", HOST), &[], &[&format!("X-Out={value}")]), &[pod.address])
    };
    let edge = Edge::start(&with("one")).await;
    let mut client = edge.client().await;
    assert_eq!(client.get(HOST, "/").await.header("x-out"), Some("one"));
    edge.write("main.yaml", &with("two"));
    edge.until("the second version", |snapshot| snapshot.generation > 1).await;
    assert_eq!(client.get(HOST, "/").await.header("x-out"), Some("two"));
}
