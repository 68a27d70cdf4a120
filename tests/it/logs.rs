//! The access log as it goes out: HAProxy's lines over syslog, unique ids, captures and filters.

pub(crate) mod daemon;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use wharf::{
    model::logformat::{Empty, LogFormat},
    settings::{
        RouterSettings,
        log::{Capture, CookieCapture},
    },
};

use self::daemon::Daemon;
use crate::harness::{
    client::Client,
    manifest::{With as _, app, edge as edge_route, route, with_all},
    pod::{Pod, ok},
    router::Edge,
    tls,
};

const HOST: &str = "a.example.com";

/// A router whose log goes to `daemon`, with a route to `pod`.
async fn start(
    daemon: &Daemon,
    objects: &[Value],
    change: impl FnOnce(&mut RouterSettings),
) -> Edge {
    Edge::with(objects, |settings| {
        daemon.takes_the_log_of(settings);
        change(settings);
    })
    .await
}

/// [LOG-1, LOG-2, LOG-5]: envelope, names, sizes and captures of one request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_2_a_request_has_haproxys_line() {
    let daemon = Daemon::start().await;
    let pod = Pod::start(|_| ok("pod!")).await;
    let edge = start(&daemon, &app(route("a", HOST), &[pod.address]), |settings| {
        settings.log.request_headers = Capture::parse_list("Host:10,X-A:5").unwrap();
        settings.log.response_headers = Capture::parse_list("Content-Length:8").unwrap();
        settings.log.cookie = CookieCapture::parse("SE:6").ok();
    })
    .await;
    let mut client = edge.client().await;
    let port = client.stream.local_addr().unwrap().port();
    client
        .send(&format!(
            "GET /x?y=1 HTTP/1.1\r\nHost: {HOST}\r\nX-A: 1|345678\r\nCookie: a=b; SESSION=z\r\n\r\n"
        ))
        .await;
    assert_eq!(client.response().await.status(), 200);
    let line = daemon.line().await;
    assert!(line.envelope.starts_with("<142>"), "{line:?}");
    assert!(line.envelope.contains(" haproxy["), "{line:?}");
    let server = format!("pod:a-pod-0:a:{}", pod.address);
    assert_eq!(
        line.without_times(),
        format!(
            "127.0.0.1:{port} [DATE] public be_http:app:a/{server} 0/0/0/0/0 200 53 SESSIO - --NI \
             1/1/0/0/0 0/0 {{a.example.|1#7C345}} {{4}} \"GET /x?y=1 HTTP/1.1\""
        )
    );
}

/// [LOG-7]: what the router answers itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_7_the_routers_own_answers_have_haproxys_states() {
    let daemon = Daemon::start().await;
    let nobody = ([127, 0, 0, 1], 1).into();
    let allow = "/metadata/annotations/haproxy.router.openshift.io~1ip_whitelist";
    let denied = route("d", "d.example.com").with(allow, "192.0.2.1");
    let moved = edge_route("m", "m.example.com", None)
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect");
    let objects = with_all([
        app(denied, &[nobody]),
        app(moved, &[nobody]),
        app(route("n", "n.example.com"), &[]),
    ]);
    let edge = start(&daemon, &objects, |_| {}).await;
    let get = |host| format!("GET /q HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let bad = "GET / HTTP/1.1\r\n\r\n".to_owned();
    let asked = "\"GET /q HTTP/1.1\"";
    for (request, expected) in [
        (get("x.example.com"), format!("openshift_default/<NOSRV> 0/-1/-1/-1/0 503 SC-- {asked}")),
        (get("n.example.com"), format!("be_http:app:n/<NOSRV> 0/-1/-1/-1/0 503 SCNN {asked}")),
        (get("d.example.com"), format!("be_http:app:d/<NOSRV> 0/-1/-1/-1/0 -1 PR-- {asked}")),
        (get("m.example.com"), format!("public/<NOSRV> 0/-1/-1/-1/0 302 LR-- {asked}")),
        (bad, "public/<NOSRV> -1/-1/-1/-1/0 400 PR-- \"<BADREQ>\"".to_owned()),
        (String::new(), "public/<NOSRV> -1/-1/-1/-1/0 400 CR-- \"<BADREQ>\"".to_owned()),
        ("GET / HT".to_owned(), "public/<NOSRV> -1/-1/-1/-1/0 400 CR-- \"<BADREQ>\"".to_owned()),
    ] {
        let mut client = edge.client().await;
        client.send(&request).await;
        if request.ends_with("\r\n\r\n") {
            client.response().await;
        } else {
            client.stream.shutdown().await.unwrap();
            client.rest().await;
        }
        let line = daemon.line().await.without_times();
        let words: Vec<_> = line.split(' ').collect();
        let told = [&words[3..6], &words[9..10], &words[12..]].concat().join(" ");
        assert_eq!(told, expected, "{line}");
        assert_eq!(words[2], "public");
    }
}

/// [LOG-7]: a pod that is not there: the last server, every try, and no time behind the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_7_a_pod_that_refuses_is_named() {
    let daemon = Daemon::start().await;
    let edge = start(&daemon, &app(route("a", HOST), &[([127, 0, 0, 1], 1).into()]), |settings| {
        settings.timeouts.connect = std::time::Duration::from_millis(20);
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.status(), 503);
    let line = daemon.line().await;
    assert!(line.envelope.starts_with("<139>"), "an error: {line:?}");
    let line = line.without_times();
    assert!(line.contains(" be_http:app:a/pod:a-pod-0:a:127.0.0.1:1 0/0/-1/-1/0 503 "), "{line}");
    assert!(line.contains(" SCNN ") && line.contains("/3 0/0 "), "{line}");
}

/// [LOG-4]: TLS gives the line of the request and, at the end, that of the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_4_tls_gives_two_lines() {
    let daemon = Daemon::start().await;
    let pod = Pod::saying("pod!").await;
    let authority = tls::authority("logs");
    let leaf = tls::leaf(&authority, HOST);
    let objects = app(edge_route("a", HOST, Some(&leaf)), &[pod.address]);
    let format = "%ci %ft %b %ST %sslv %sslc %[ssl_fc_sni] %r";
    let edge = start(&daemon, &objects, |settings| {
        settings.log.http = LogFormat::parse(format, Empty::Dash).unwrap();
    })
    .await;
    let hello = tls::Hello { alpn: &["http/1.1"], ..tls::hello(HOST) };
    let mut client = Client::over(tls::connect(edge.https, hello).await.unwrap());
    assert_eq!(client.get(HOST, "/").await.text(), "pod!");
    assert_eq!(
        daemon.line().await.text,
        format!(
            "127.0.0.1 fe_sni~ be_edge_http:app:a 200 TLSv1.3 TLS_AES_128_GCM_SHA256 {HOST} GET / \
             HTTP/1.1"
        )
    );
    drop(client);
    let line = daemon.line().await.without_times();
    let words: Vec<_> = line.split(' ').collect();
    let told = [&words[2..5], &words[6..]].concat().join(" ");
    assert_eq!(told, "public_ssl be_sni/fe_sni 0/0/0 -- 1/1/0/0/0 0/0", "{line}");
    assert!(words[5].parse::<u64>().unwrap() > 50, "{line}");
}

/// [LOG-3]: what is passed through has the TCP line alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_3_passthrough_has_the_tcp_line() {
    let daemon = Daemon::start().await;
    let pod = daemon::refusing().await;
    let passed = route("p", HOST).with("/spec/tls/termination", "passthrough");
    let edge = start(&daemon, &app(passed, &[pod]), |_| {}).await;
    let hello = tls::Hello { alpn: &["http/1.1"], ..tls::hello(HOST) };
    let refused = tls::connect(edge.https, hello).await;
    assert!(refused.is_err(), "the pod speaks no TLS");
    let line = daemon.line().await.without_times();
    let server = format!(" public_ssl be_tcp:app:p/pod:p-pod-0:p:{pod} 0/0/0 ");
    assert!(line.contains(&server), "{line}");
    assert!(line.ends_with(" 1/1/0/0/0 0/0"), "{line}");
}

/// [UID-1]: behind what the client sent, and the same in the log; each request has its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uid_1_pods_and_log_have_the_same_id() {
    let daemon = Daemon::start().await;
    let pod = Pod::saying("pod").await;
    let format = "%{+X}o %ci:%cp_%fi:%fp_%Ts_%rt:%pid";
    let edge = start(&daemon, &app(route("a", HOST), &[pod.address]), |settings| {
        settings.log.id_format = LogFormat::parse(format, Empty::Nothing).ok();
        settings.log.id_header = "x-unique".parse().ok();
        settings.log.http = LogFormat::parse("%ST %ID", Empty::Dash).unwrap();
    })
    .await;
    let mut client = edge.client().await;
    let port = client.stream.local_addr().unwrap().port();
    let request = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nX-Unique: mine\r\n\r\n");
    for _ in 0..3 {
        client.send(&request).await;
        assert_eq!(client.response().await.status(), 200);
    }
    let lines = daemon.lines(3).await;
    let begin = format!("7F000001:{port:04X}_7F000001:{:04X}_", edge.http.port());
    let mut ids = std::collections::HashSet::new();
    for (seen, line) in pod.seen().iter().zip(&lines) {
        let fields = seen.all("x-unique");
        let [theirs, id] = fields[..] else { panic!("{fields:?}") };
        assert_eq!(theirs, "mine");
        assert!(id.starts_with(&begin), "{id}");
        assert_eq!(line.text, format!("200 {id}"));
        assert!(ids.insert(id.to_owned()), "{id} comes again");
    }
    assert_eq!(edge.get("nobody.example.com", "/").await.status(), 503);
    let line = daemon.line().await.text;
    assert!(line.starts_with("503 7F000001:"), "{line}");
}

/// [LOG-6]: without a byte there is no line and, if asked for, no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_6_probes_leave_no_line() {
    let daemon = Daemon::start().await;
    let edge = start(&daemon, &[], |settings| {
        settings.log.skip_null = true;
        settings.log.ignore_probes = true;
        settings.timeouts.head = std::time::Duration::from_millis(20);
    })
    .await;
    for address in [edge.http, edge.https] {
        drop(Client::connect(address).await);
    }
    // This one is silent until it is closed.
    assert!(edge.client().await.closed().await);
    edge.get(HOST, "/").await;
    assert!(daemon.line().await.text.contains(" 503 "), "nothing came before");
    edge.has_reasons(&[("no_route", 1)]).await;
}

/// [LOG-1]: with the default level only errors are sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_1_the_default_level_is_for_errors() {
    let daemon = Daemon::start().await;
    let pod = Pod::saying("pod").await;
    let edge = start(&daemon, &app(route("a", HOST), &[pod.address]), |settings| {
        settings.log.level = 4;
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.status(), 200);
    edge.get("nobody.example.com", "/").await;
    let line = daemon.line().await;
    assert!(line.text.contains(" 503 ") && line.envelope.starts_with("<139>"), "{line:?}");
}
