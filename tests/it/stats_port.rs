//! The admin port as OpenShift runs it, and as HAProxy's statistics: credentials, TLS, health checks, the
//! health page of the plain port (spec/route.md 18.1, 18.2).

use std::net::SocketAddr;

use tempfile::TempDir;
use wharf::{
    net::proxy_protocol::write_v2_local,
    settings::{RouterSettings, admin::Given},
    tls::mint,
};

use crate::harness::{
    client::{self, Client, Response},
    eventually,
    manifest::{app, route},
    pod::Pod,
    router::Edge,
    tls::{self, hello},
};

const HOST: &str = "a.example.com";
const HEALTH: &str = "/_______internal_router_healthz";

async fn edge(change: impl FnOnce(&mut RouterSettings)) -> (Edge, Pod) {
    let pod = Pod::saying("pod").await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), change).await;
    (edge, pod)
}

fn with_credentials(settings: &mut RouterSettings) {
    settings.admin_port.username = Some(Given::Text("admin".to_owned()));
    settings.admin_port.password = Some(Given::Text("secret".to_owned()));
}

async fn ask(address: SocketAddr, path: &str, fields: &str) -> Response {
    let mut client = Client::connect(address).await;
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    client.response().await
}

fn basic(words: &str) -> String {
    let encoded = data_encoding::BASE64.encode(words.as_bytes());
    format!("Authorization: Basic {encoded}\r\n")
}

/// [ADMIN-4]: right and wrong credentials on every page but those of health.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_4_wrong_credentials_are_refused_and_right_ones_are_not() {
    let (edge, _pod) = edge(with_credentials).await;
    for path in ["/metrics", "/", "/;csv", "/api/v1/routes", "/debug/pprof/heap"] {
        let right = ask(edge.admin, path, &basic("admin:secret")).await;
        let status = if path.starts_with("/debug") { 404 } else { 200 };
        assert_eq!(right.status(), status, "{path}");
        for wrong in ["admin:wrong", "admin", "", ":"] {
            let refused = ask(edge.admin, path, &basic(wrong)).await;
            assert_eq!(refused.status(), 401, "{path} {wrong}");
            let realm = "Basic realm=\"Haproxy Statistics\"";
            assert_eq!(refused.header("www-authenticate"), Some(realm), "{path}");
        }
    }
    for path in ["/healthz", "/healthz/ready", "/healthz/ready/has-synced"] {
        assert_eq!(ask(edge.admin, path, &basic("admin:wrong")).await.status(), 200, "{path}");
    }
    let profile = ask(edge.admin, "/debug/pprof/profile", "").await.text();
    assert!(profile.contains("no profiles"), "{profile}");
}

/// [ADMIN-4]: what cannot be read stops the start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_4_a_file_that_is_not_there_stops_the_start() {
    let mut settings = crate::harness::router::settings();
    settings.admin_port.password = Some(Given::File("/nowhere/password".into()));
    let started = wharf::app::router::start(settings, wharf::model::objects::Objects::default());
    let error = format!("{:#}", started.await.expect_err("it cannot start"));
    assert!(error.contains("STATS_PASSWORD_FILE /nowhere/password"), "{error}");
}

/// [ADMIN-6]: HAProxy's CSV, and a page that needs nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_6_the_statistics_are_a_page_and_csv() {
    let (edge, pod) = edge(|_| {}).await;
    let mut client = edge.client().await;
    for _ in 0..3 {
        assert_eq!(client.get(HOST, "/").await.status(), 200);
    }
    drop(client);
    edge.is_quiet().await;
    let csv = ask(edge.admin, "/;csv", "").await;
    assert_eq!(csv.header("content-type"), Some("text/plain; charset=utf-8"));
    let csv = csv.text();
    let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0][..3], ["# pxname", "svname", "qcur"]);
    let of = |proxy: &str, server: &str| {
        let found = lines.iter().find(|line| line[0] == proxy && line[1] == server);
        found.unwrap_or_else(|| panic!("no {proxy} {server} in {csv}"))
    };
    let name = format!("pod:a-pod-0:a::{}", pod.address);
    for line in [of("be_http:app:a", "BACKEND"), of("be_http:app:a", &name)] {
        assert_eq!((line[7], line[40]), ("3", "3"), "{line:?}");
    }
    assert_eq!(of("be_http:app:a", &name)[17], "no check");
    assert_eq!((of("public", "FRONTEND")[17], of("public", "FRONTEND")[48]), ("OPEN", "3"));
    let page = ask(edge.admin, "/", "").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let page = page.text();
    assert!(page.contains(&format!("<td>{name}</td>")), "{page}");
    assert!(!page.contains("<script") && !page.contains("http://"), "{page}");
}

/// [ADMIN-1]: one port, and its certificate follows its file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_1_plain_and_tls_on_one_port() {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    let put = |name: &str| {
        let pair = mint::self_signed(&[name.to_owned()]).unwrap();
        std::fs::write(&key, &pair.key_pem).unwrap();
        std::fs::write(&certificate, &pair.cert_pem).unwrap();
        tls::certificates(&pair.cert_pem)
    };
    let first = put("metrics.test");
    let (edge, _pod) = edge(|settings| {
        settings.admin_port.certificate = Some(certificate.clone());
        settings.admin_port.key = Some(key.clone());
    })
    .await;
    let shown = async || {
        let stream = tls::connect(edge.admin, hello("metrics.test")).await.expect("a handshake");
        let chain = tls::chain(&stream);
        let mut client = Client::over(stream);
        assert_eq!(client.get("metrics.test", "/metrics").await.status(), 200);
        chain
    };
    assert_eq!(shown().await, first);
    assert_eq!(ask(edge.admin, "/metrics", "").await.status(), 200, "and plain");
    let second = put("metrics.test");
    assert_ne!(first, second);
    eventually("the new certificate", async || (shown().await == second).then_some(())).await;
}

/// [ADMIN-3]: the ready check asks the plain port, with a PROXY header where that is needed (row 34 of
/// the quirk register: it has to be answered well then, too).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_3_ready_means_that_the_plain_port_answers() {
    for (proxy, name) in [(false, "backend-http"), (true, "backend-proxy-http")] {
        let (edge, _pod) = edge(|settings| {
            settings.admin_port.haproxy = true;
            settings.proxy_protocol = proxy;
        })
        .await;
        let ready = ask(edge.admin, "/healthz/ready?verbose", "").await;
        let lines = "[+]has-synced ok\n[+]process-running ok\nhealthz check passed\n";
        assert_eq!((ready.status(), ready.text()), (200, format!("[+]{name} ok\n{lines}")));
        assert_eq!(ask(edge.admin, &format!("/healthz/ready/{name}"), "").await.status(), 200);
        edge.is_quiet().await;
        let text = ask(edge.admin, "/metrics", "").await.text();
        let none = "haproxy_frontend_http_responses_total{frontend=\"public\",code=\"2xx\"} 0\n";
        assert!(text.contains(none), "a check is no traffic");
        assert_eq!(edge.reasons(), []);
    }
}

/// [ADMIN-3]: another URL in its place, which must say 200 to 399.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_3_another_url_can_be_asked() {
    let missing = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
    let judge = Pod::start(move |seen| match seen.target() {
        "/good?x=1" => crate::harness::pod::ok("fine"),
        _ => crate::harness::pod::raw(missing),
    })
    .await;
    for (path, status) in [("/good?x=1", 200), ("/bad", 503)] {
        let url = format!("http://{}{path}", judge.address);
        let (edge, _pod) = edge(|settings| {
            settings.admin_port.haproxy = true;
            settings.admin_port.ready_url = Some(url.parse().unwrap());
        })
        .await;
        assert_eq!(ask(edge.admin, "/healthz/ready", "").await.status(), status, "{path}");
    }
}

/// [ADMIN-5]: any host and method, before everything else, not counted; and only where OpenShift's way
/// is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_5_the_plain_port_says_that_it_serves() {
    for haproxy in [true, false] {
        let (edge, pod) = edge(|settings| settings.admin_port.haproxy = haproxy).await;
        for request in [
            client::get("nobody.example.com", HEALTH),
            client::get(HOST, HEALTH),
            format!("OPTIONS {HEALTH} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"),
            format!("POST {HEALTH}?x HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 2\r\n\r\nab"),
        ] {
            let mut client = edge.client().await;
            client.send(&request).await;
            let answer = client.response().await;
            assert_eq!(answer.text().contains("<h1>200 OK</h1>"), haproxy, "{request}");
            if haproxy {
                assert_eq!(answer.status(), 200, "{request}");
            }
        }
        let mut client = edge.client().await;
        for _ in 0..3 {
            assert_eq!(client.get(HOST, HEALTH).await.status(), 200, "on one connection");
        }
        assert_eq!(client.get(HOST, "/").await.status(), 200);
        drop(client);
        edge.is_quiet().await;
        assert_eq!(pod.seen().len(), if haproxy { 1 } else { 7 });
        assert_eq!(edge.count("a", |cell| &cell.requests), if haproxy { 1 } else { 7 });
        assert_eq!(edge.reasons().is_empty(), haproxy, "nobody is served");
    }
}

/// [ADMIN-5], row 33 of the quirk register: not for those whom a PROXY header names as somebody else,
/// unless a setting says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_5_clients_from_elsewhere_do_not_see_it() {
    let mut local = Vec::new();
    write_v2_local(&mut local);
    let far = b"PROXY TCP4 203.0.113.9 198.51.100.1 4321 80\r\n".to_vec();
    let unknown = b"PROXY UNKNOWN\r\n".to_vec();
    for anywhere in [false, true] {
        let (edge, _pod) = edge(|settings| {
            settings.admin_port.haproxy = true;
            settings.admin_port.health_anywhere = anywhere;
            settings.proxy_protocol = true;
        })
        .await;
        for (header, near) in [(&local, true), (&unknown, true), (&far, false)] {
            let mut client = edge.client().await;
            client.send(header).await;
            let answer = client.get("nobody.example.com", HEALTH).await;
            let status = if near || anywhere { 200 } else { 503 };
            assert_eq!(answer.status(), status, "{}", String::from_utf8_lossy(header));
        }
    }
}
