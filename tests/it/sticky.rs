//! Session stickiness (spec/route.md 15.4): who gets a cookie, where it leads, and what pods and
//! caches see of it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http::Request;
use tokio::{net::TcpStream, sync::Semaphore};
use wharf::{
    headers::sticky::{default_name, hash},
    tls::mint::Pair,
};

use crate::harness::{
    client::{Client, Response},
    eventually,
    http2::{Http2, body},
    manifest::{With as _, app, edge as edge_route, reencrypt, route, service, with_all},
    pod::{Act, Pod, Refusing, ok, raw},
    router::Edge,
    tls::{self, hello},
    tlspod::TlsPod,
};

const HOST: &str = "a.example.com";
const DISABLE: &str = "haproxy.router.openshift.io/disable_cookies";
/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);
const PLAIN: &str = "; path=/; HttpOnly";

/// Name of the cookie of route `a`.
fn name() -> String {
    default_name("app", "a")
}

/// The cookie, as a client sends it, of the endpoint with this number.
fn cookie(index: usize, endpoint: SocketAddr) -> String {
    let (ip, port) = (endpoint.ip(), endpoint.port());
    let value = hash(&format!("pod:a-pod-{index}:a:http:{ip}:{port}")).to_vec();
    format!("{}={}", name(), String::from_utf8(value).expect("digits"))
}

/// All values of a field of a response.
fn all<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    let fields = response.headers.iter().filter(|(field, _)| field == name);
    fields.map(|(_, value)| &**value).collect()
}

/// A GET with these lines of further fields.
fn request(lines: &[String]) -> String {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n{lines}\r\n")
}

/// The answer to a client that has this cookie, on a connection of its own.
async fn with(edge: &Edge, cookie: &str) -> Response {
    let mut client = edge.client().await;
    client.send(request(&[format!("Cookie: {cookie}")])).await;
    client.response().await
}

async fn three() -> [Pod; 3] {
    [Pod::saying("0").await, Pod::saying("1").await, Pod::saying("2").await]
}

fn addresses(pods: &[Pod]) -> Vec<SocketAddr> {
    pods.iter().map(|pod| pod.address).collect()
}

/// [STICK-1, STICK-3, STICK-4, STICK-5, STICK-6]: whoever has no cookie gets one, whoever has one
/// stays; pods see the other cookies only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stick_5_a_client_stays_with_its_pod() {
    let pods = three().await;
    let edge = Edge::start(&app(route("a", HOST), &addresses(&pods))).await;
    for (index, pod) in pods.iter().enumerate() {
        let own = cookie(index, pod.address);
        for _ in 0..4 {
            let response = with(&edge, &format!("x=1; {own}; y=2")).await;
            assert_eq!(response.text(), index.to_string());
            assert_eq!(all(&response, "set-cookie"), Vec::<&str>::new());
            assert_eq!(pod.seen().last().expect("it was here").all("cookie"), ["x=1; y=2"]);
        }
        with(&edge, &own).await;
        assert_eq!(pod.seen().last().expect("it was here").all("cookie"), Vec::<&str>::new());
    }
    for other in ["x=1", "x=", &format!("{}=", name()), &format!("{}={:032}", name(), 0)] {
        let response = with(&edge, other).await;
        let index: usize = response.text().parse().expect("a number");
        let set = format!("{}{PLAIN}", cookie(index, pods[index].address));
        assert_eq!(all(&response, "set-cookie"), [set], "{other}");
    }
    let alone = Edge::start(&app(route("a", HOST), &[pods[0].address])).await;
    let response = alone.get(HOST, "/").await;
    assert_eq!(all(&response, "set-cookie").len(), 1, "there is nothing to choose, and still");
}

/// [STICK-6]: Cookie fields stay apart over HTTP/1, crumbs of HTTP/2 are one field, and the cookie is
/// found in each; [STICK-4] over TLS; the same over TLS to the pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stick_6_fields_and_crumbs_over_http2_and_tls() {
    let pod = Pod::saying("0").await;
    let own = cookie(0, pod.address);
    let leaf = tls::leaf(&tls::authority("sticky"), HOST);
    let objects = app(edge_route("a", HOST, Some(&leaf)), &[pod.address]);
    let edge = Edge::start(&objects).await;
    let stream = tls::connect(edge.https, hello(HOST)).await.expect("a handshake");
    let mut client = Http2::over(stream).await;
    let url = format!("https://{HOST}/");
    let reply = client.get(&url).await.expect("an answer");
    let secure = format!("{own}{PLAIN}; Secure; SameSite=None");
    assert_eq!(reply.headers.get("set-cookie").expect("a cookie"), &secure);
    let crumbs = Request::get(&url).header("cookie", "x=1").header("cookie", &own);
    let crumbs = crumbs.header("cookie", "y=2").body(body("")).expect("a request");
    let reply = client.send(crumbs).await.expect("an answer");
    assert_eq!(reply.headers.get("set-cookie"), None);
    assert_eq!(pod.seen()[1].all("cookie"), ["x=1; y=2"]);
    let http1 = tls::Hello { alpn: &["http/1.1"], ..hello(HOST) };
    let stream = tls::connect(edge.https, http1).await.expect("a handshake");
    let mut client = Client::over(stream);
    client.send(request(&["Cookie: x=1".to_owned(), format!("Cookie: {own}; y=2")])).await;
    assert_eq!(all(&client.response().await, "set-cookie"), Vec::<&str>::new());
    assert_eq!(pod.seen()[2].all("cookie"), ["x=1", "y=2"]);
}

/// [STICK-4, STICK-6] on a reencrypt route, whose pod speaks HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stick_6_reencrypt_pods_see_no_cookie_either() {
    let authority = tls::authority("sticky");
    let shown = tls::server(&tls::leaf(&authority, "pod.test"), &["h2"]);
    let pod = TlsPod::telling(shown).await;
    let ca: &Pair = authority.pair();
    let objects = app(reencrypt("a", HOST, Some(&ca.cert_pem)), &[pod.address]);
    let edge = Edge::start(&objects).await;
    let http1 = tls::Hello { alpn: &["http/1.1"], sni: Some(HOST), ..hello(HOST) };
    let stream = tls::connect(edge.https, http1).await.expect("a handshake");
    let mut client = Client::over(stream);
    let response = client.get(HOST, "/").await;
    let own = cookie(0, pod.address);
    let secure = format!("{own}{PLAIN}; Secure; SameSite=None");
    assert_eq!(all(&response, "set-cookie"), [secure]);
    client.send(request(&[format!("Cookie: x=1; {own}")])).await;
    assert_eq!(all(&client.response().await, "set-cookie"), Vec::<&str>::new());
    let seen = pod.http2.seen();
    assert_eq!(seen[1].headers.get("cookie").expect("one is left"), "x=1");
}

/// [STICK-9, R-46]: a cookie is good at another router, in the next snapshot, and after a restart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stick_9_every_router_and_snapshot_knows_the_cookie() {
    let pods = three().await;
    let objects = app(route("a", HOST), &addresses(&pods));
    let (first, second) = (Edge::start(&objects).await, Edge::start(&objects).await);
    let set = first.get(HOST, "/").await;
    let (own, _) = set.header("set-cookie").and_then(|set| set.split_once(';')).expect("a cookie");
    let stays = async |edge: &Edge| {
        for _ in 0..8 {
            let response = with(edge, own).await;
            assert_eq!((response.text(), all(&response, "set-cookie").len()), (set.text(), 0));
        }
    };
    stays(&second).await;
    let mut more = objects.clone();
    more.push(route("b", "b.example.com"));
    first.write("main.yaml", &more);
    first.until("the other route", |snapshot| snapshot.routes.len() == 2).await;
    stays(&first).await;
    first.finish().await;
    stays(&Edge::start(&objects).await).await;
}

/// [STICK-8, W-5, W-6]: a drained endpoint is there for those who have its cookie, and for nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w_5_a_drained_endpoint_serves_its_clients_on() {
    let pods = three().await;
    let weighed = |weight: i32, other: i32| {
        let route = route("a", HOST).with("/spec/to/weight", weight);
        let more = serde_json::json!([{"kind": "Service", "name": "b", "weight": other}]);
        let route = route.with("/spec/alternateBackends", more);
        with_all([app(route, &[pods[0].address]), service("b", &[pods[1].address])])
    };
    let edge = Edge::start(&weighed(0, 1)).await;
    let own = cookie(0, pods[0].address);
    for _ in 0..4 {
        assert_eq!(edge.get(HOST, "/").await.text(), "1");
        let response = with(&edge, &own).await;
        assert_eq!((response.text().as_str(), all(&response, "set-cookie").len()), ("0", 0));
    }
    edge.write("main.yaml", &weighed(0, 0));
    eventually("nobody to choose", async || {
        (edge.get(HOST, "/").await.status() == 503).then_some(())
    })
    .await;
    assert_eq!(with(&edge, &own).await.text(), "0");
    let page = edge.get(HOST, "/").await;
    assert_eq!((page.status(), all(&page, "set-cookie").len()), (503, 0));
}

/// [STICK-8]: an endpoint that is down, gone, or refuses its connection: somebody else, and his cookie.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stick_8_from_a_lost_endpoint_to_another() {
    let pods = three().await;
    let refusing = Refusing::bound();
    let all_of = [pods[0].address, pods[1].address, refusing.address];
    let edge = Edge::start(&app(route("a", HOST), &all_of)).await;
    let moved = async |own: &str, elsewhere: usize| {
        let response = with(&edge, own).await;
        assert_eq!(response.text(), elsewhere.to_string());
        let set = format!("{}{PLAIN}", cookie(elsewhere, all_of[elsewhere]));
        assert_eq!(all(&response, "set-cookie"), [set]);
    };
    let set_up = |index: usize, up: bool| {
        edge.route("a", |state| {
            let servers = &state.compiled.as_ref().expect("served").backend.servers;
            let label = all_of[index].to_string();
            let server = servers.iter().find(|server| *server.label == *label);
            server.expect("it is there").peer.set_up(up);
        });
    };
    set_up(0, false);
    moved(&cookie(2, refusing.address), 1).await;
    assert_eq!(edge.count("a", |counters| &counters.redispatches), 1);
    moved(&cookie(0, pods[0].address), 1).await;
    set_up(0, true);
    assert_eq!(with(&edge, &cookie(0, pods[0].address)).await.text(), "0");
    edge.write("main.yaml", &app(route("a", HOST), &all_of[..1]));
    edge.until("one endpoint", |snapshot| {
        let compiled = snapshot.routes[0].compiled.as_ref();
        compiled.is_some_and(|route| route.backend.servers.len() == 1)
    })
    .await;
    moved(&cookie(1, pods[1].address), 0).await;
}

/// [STICK-6, STICK-7]: a pod cannot set the cookie; a response that caches could keep becomes private,
/// with a field of its own, where the cookie is set, and nowhere else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stick_7_what_is_said_to_caches() {
    let rows: &[(&str, u16, &str, bool)] = &[
        ("GET", 200, "cache-control: max-age=60", true),
        ("GET", 404, "etag: \"a\"", true),
        ("GET", 200, "cache-control: public, max-age=60", true),
        ("GET", 200, "expires: Thu, 01 Jan 2099 00:00:00 GMT", true),
        ("GET", 200, "last-modified: Thu, 01 Jan 2009 00:00:00 GMT", true),
        ("GET", 200, "cache-control: s-maxage=60", true),
        ("GET", 500, "etag: \"a\"", false),
        ("POST", 200, "etag: \"a\"", false),
        ("GET", 200, "cache-control: public", false),
        ("GET", 200, "x: y", false),
        ("GET", 200, "cache-control: no-store, max-age=60", false),
        ("GET", 200, "cache-control: private, max-age=60", false),
    ];
    let pod = Pod::start(|seen| {
        let (status, line) = seen.all("x-answer")[0].split_once(' ').expect("two words");
        let set = format!("set-cookie: {}=pod; path=/\r\nset-cookie: x=1", name());
        raw(&format!("HTTP/1.1 {status} x\r\n{line}\r\n{set}\r\ncontent-length: 0\r\n\r\n"))
    })
    .await;
    let own = cookie(0, pod.address);
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut client = edge.client().await;
    for (method, status, line, private) in rows {
        for known in [false, true] {
            let cookie = if known { own.as_str() } else { "y=2" };
            client
                .send(format!(
                    "{method} / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\
                     X-Answer: {status} {line}\r\nCookie: {cookie}\r\n\r\n"
                ))
                .await;
            let response = client.response().await;
            let about = format!("{method} {status} {line} {known}");
            let pods = line.strip_prefix("cache-control: ");
            let ours = (*private && !known).then_some("private");
            let expected: Vec<_> = pods.into_iter().chain(ours).collect();
            assert_eq!(all(&response, "cache-control"), expected, "{about}");
            let set = (!known).then(|| format!("{own}{PLAIN}"));
            let expected: Vec<_> = ["x=1".to_owned()].into_iter().chain(set).collect();
            assert_eq!(all(&response, "set-cookie"), expected, "{about}");
        }
    }
}

/// [STICK-1, STICK-4, NOMATCH-6]: a 101 has the cookie; redirects, pages, passthrough and routes that
/// want none do not, and then the pod sees what the client sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stick_4_where_there_is_a_cookie_and_where_there_is_none() {
    let pod = Pod::start(|seen| match seen.all("upgrade")[..] {
        [] => ok("0"),
        _ => Act::Tunnel(
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
                .to_vec(),
        ),
    })
    .await;
    let own = cookie(0, pod.address);
    let redirected = edge_route("r", "r.example.com", None)
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect")
        .with("/spec/to/name", "a");
    let without = route("w", "w.example.com").annotated(DISABLE, "true").with("/spec/to/name", "a");
    let mut objects = app(route("a", HOST), &[pod.address]);
    objects.extend([redirected, without]);
    objects.extend(app(route("empty", "e.example.com"), &[]));
    let edge = Edge::start(&objects).await;
    for (host, status) in
        [("r.example.com", 302), ("w.example.com", 200), ("e.example.com", 503), ("x.test", 503)]
    {
        let response = edge.get(host, "/").await;
        assert_eq!((response.status(), all(&response, "set-cookie").len()), (status, 0), "{host}");
    }
    let mut client = edge.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: w.example.com\r\nCookie: {own}\r\n\r\n")).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(pod.seen().last().expect("it was here").all("cookie"), [own.as_str()]);
    let upgrade = ["Connection: upgrade".to_owned(), "Upgrade: echo".to_owned()];
    client.send(request(&upgrade)).await;
    let response = client.response().await;
    let set = format!("{own}{PLAIN}");
    assert_eq!((response.status(), all(&response, "set-cookie")), (101, vec![set.as_str()]));
}

/// [PODC-1]: a cookie does not get past the line of its endpoint, and its client does not leave it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podc_1_a_cookie_waits_in_the_line_of_its_endpoint() {
    let permits = Arc::new(Semaphore::new(0));
    let given = Arc::clone(&permits);
    let slow = Pod::start(move |_| {
        Act::After(Arc::clone(&given), b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nslow".to_vec())
    })
    .await;
    let free = Pod::saying("free").await;
    let capped =
        route("a", HOST).annotated("haproxy.router.openshift.io/pod-concurrent-connections", "1");
    let edge = Edge::with(&app(capped, &[slow.address, free.address]), |settings| {
        settings.timeouts.connect = LONG;
        settings.timeouts.server = LONG;
    })
    .await;
    let own = format!("Cookie: {}", cookie(0, slow.address));
    let queued = || -> i64 {
        edge.route("a", |state| {
            state.compiled.as_ref().expect("served").backend.stats.queued.load()
        })
    };
    let mut clients: Vec<Client<TcpStream>> = Vec::new();
    for nth in 0..3 {
        let mut client = edge.client().await;
        client.send(request(std::slice::from_ref(&own))).await;
        eventually("the request", async || (slow.attempts() == 1 && queued() == nth).then_some(()))
            .await;
        clients.push(client);
    }
    assert_eq!(edge.get(HOST, "/").await.text(), "free");
    permits.add_permits(3);
    for client in &mut clients {
        let response = client.response().await;
        assert_eq!((response.text().as_str(), all(&response, "set-cookie").len()), ("slow", 0));
    }
    assert_eq!((slow.attempts(), free.attempts()), (3, 1));
}

/// [STICK-8]: without anybody else, a cookie's endpoint that refuses is tried as any other, and the
/// answer is a page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stick_8_a_drained_endpoint_that_refuses_ends_in_a_page() {
    let refusing = Refusing::bound();
    let drained = route("a", HOST).with("/spec/to/weight", 0);
    let edge = Edge::with(&app(drained, &[refusing.address]), |settings| {
        settings.timeouts.connect = Duration::from_millis(5);
    })
    .await;
    let response = with(&edge, &cookie(0, refusing.address)).await;
    assert_eq!((response.status(), all(&response, "set-cookie").len()), (503, 0));
    edge.has_reasons(&[("connect_failed", 1)]).await;
    assert_eq!(edge.count("a", |counters| &counters.retries), 3, "[RETRY-1]");
}
