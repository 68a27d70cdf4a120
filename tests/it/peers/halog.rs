//! HAProxy's own log tool on the router's lines, and HAProxy's own lines beside the router's.

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Stdio},
};

use wharf::{settings::log::Capture, tls::mint};

use super::{HOST, haproxy::Haproxy, says, wanted};
use crate::{
    harness::{
        client::Client,
        manifest::{With as _, app, edge as edge_route, route, with_all},
        pod::{Pod, ok, raw},
        router::Edge,
        tls,
    },
    logs::daemon::{Daemon, Line, refusing},
};

/// What halog says of `file` on its standard input.
fn halog(arguments: &[&str], file: &str) -> (String, String) {
    let tool =
        if std::path::Path::new("/usr/sbin/halog").exists() { "/usr/sbin/halog" } else { "halog" };
    let mut process = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("halog is installed");
    let mut input = process.stdin.take().expect("piped");
    let text = file.to_owned();
    let feeder = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = process.wait_with_output().expect("halog ends");
    feeder.join().expect("no panic").expect("halog reads");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// [LOG-2, LOG-3, LOG-4]: every line of some hundred mixed requests is one that halog can read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_halog_reads_every_line() {
    if !wanted("peers_halog_reads_every_line") {
        return;
    }
    let daemon = Daemon::start().await;
    let authority = mint::authority("halog").expect("an authority");
    let leaf = authority.leaf(&[HOST.to_owned()]).expect("a leaf");
    let pod = Pod::start(|seen| match seen.target() {
        "/404" => raw("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"),
        "/bad" => raw("nothing of HTTP\r\n\r\n"),
        _ => ok("pod"),
    })
    .await;
    let secure = edge_route("s", HOST, Some(&leaf))
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect");
    let passed = route("p", "p.example.com").with("/spec/tls/termination", "passthrough");
    let allow = "/metadata/annotations/haproxy.router.openshift.io~1ip_whitelist";
    let denied = route("d", "d.example.com").with(allow, "192.0.2.1");
    let objects = with_all([
        app(route("a", "plain.example.com"), &[pod.address]),
        app(secure, &[pod.address]),
        app(passed, &[refusing().await]),
        app(denied, &[pod.address]),
    ]);
    let edge = Edge::with(&objects, |settings| {
        daemon.takes_the_log_of(settings);
        settings.log.request_headers = Capture::parse_list("Host:20,User-Agent:9").expect("sound");
        settings.log.response_headers = Capture::parse_list("Content-Length:9").expect("sound");
    })
    .await;
    let get = |host: &str, path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: a \"b\" {{c}}\r\n\r\n")
    };
    let mut file = String::new();
    let mut keep = |lines: Vec<Line>| {
        for line in lines {
            let (_priority, envelope) = line.envelope.split_once('>').expect("a priority");
            file.extend([envelope, &line.text, "\n"]);
        }
    };
    const ROUNDS: usize = 20;
    for round in 0..ROUNDS {
        for (host, path) in [
            ("plain.example.com", "/200?x={\"y|z"),
            ("plain.example.com", "/404"),
            ("plain.example.com", "/bad"),
            ("nobody.example.com", "/503"),
            ("d.example.com", "/denied"),
            (HOST, "/moved"),
            ("bad host", "/"),
        ] {
            let path = if path.contains('"') && round % 2 == 0 { "/200" } else { path };
            let mut client = edge.client().await;
            client.send(get(host, path)).await;
            client.response().await;
            keep(daemon.lines(1).await);
        }
        let plain = tls::Hello { alpn: &["http/1.1"], ..tls::hello(HOST) };
        let mut client = Client::over(tls::connect(edge.https, plain).await.expect("a handshake"));
        client.get(HOST, "/tls").await;
        drop(client);
        keep(daemon.lines(2).await);
        let name = tls::hello("p.example.com");
        assert!(tls::connect(edge.https, name).await.is_err(), "the pod speaks no TLS");
        keep(daemon.lines(1).await);
        let mut client = edge.client().await;
        client.send("GET / HT").await;
        drop(client);
        keep(daemon.lines(1).await);
    }
    let to = format!("plain.example.com:80:{}", edge.http);
    let url = "http://plain.example.com/h2";
    says("curl", &["-sS", "--http2-prior-knowledge", "--connect-to", &to, url]).await;
    keep(daemon.lines(1).await);
    let count = ROUNDS * 11 + 1;
    assert_eq!(file.lines().count(), count);
    let http = ROUNDS * 9 + 1;
    // Of lines of TCP, HAProxy's own too, it can make no statistics of requests.
    let rows: [&[&str]; 6] =
        [&["-st"], &["-tc"], &["-H"], &["-H", "-srv"], &["-H", "-pct"], &["-H", "-u"]];
    for arguments in rows {
        let (said, errors) = halog(arguments, &file);
        assert!(errors.contains(&format!("{count} lines in, ")), "{arguments:?}: {errors}");
        assert!(errors.contains(" 0 parsing errors"), "{arguments:?}: {errors}\n{said}");
    }
    let (statuses, _) = halog(&["-st"], &file);
    let of = |status: &str| {
        let row = statuses.lines().find(|row| row.split_whitespace().next() == Some(status));
        row.and_then(|row| row.split_whitespace().nth(1)?.parse::<usize>().ok())
    };
    assert_eq!(of("404"), Some(ROUNDS), "{statuses}");
    assert_eq!(of("502"), Some(ROUNDS), "{statuses}");
    assert_eq!(of("302"), Some(ROUNDS), "{statuses}");
    assert_eq!(halog(&["-H"], &file).0.lines().count(), http);
}

/// The line, with what cannot be the same in two proxies: ports, and the names of backend and server.
fn comparable(line: &Line, port: u16) -> String {
    let text = line.without_times().replace(&format!(":{port} "), ":PORT ");
    let mut words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    // A name that is the frontend's own, or that there is no server, means the same in both.
    let (backend, server) = words[3].split_once('/').expect("two names");
    let backend = if backend == "public" { backend } else { "BACKEND" };
    let server = if server == "<NOSRV>" { server } else { "SERVER" };
    words[3] = format!("{backend}/{server}");
    words.join(" ")
}

/// [LOG-2, LOG-5, LOG-7]: for the same requests the same bytes as HAProxy, sizes included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_haproxy_writes_the_same_lines() {
    if !wanted("peers_haproxy_writes_the_same_lines") {
        return;
    }
    let pod = Pod::start(|seen| match seen.target() {
        "/bad" => raw("nothing of HTTP\r\n\r\n"),
        "/404" => raw("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX-B: a|b\r\n\r\nno"),
        "/chunks" => {
            raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        },
        _ => raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nSet-Cookie: SID=abc; Path=/\r\n\r\npod!"),
    })
    .await;
    let (ours, theirs) = (Daemon::start().await, Daemon::start().await);
    // The HAProxy beside has no cookie of its own.
    let route = route("a", HOST).annotated("haproxy.router.openshift.io/disable_cookies", "true");
    let edge = Edge::with(&app(route, &[pod.address]), |settings| {
        ours.takes_the_log_of(settings);
        let log = &mut settings.log;
        log.request_headers = Capture::parse_list("Host:8,X-A:30").expect("sound");
        log.response_headers = Capture::parse_list("Content-Length:4,X-B:9").expect("sound");
        log.cookie = wharf::settings::log::CookieCapture::parse("SID=:6").ok();
    })
    .await;
    let front = haproxy_beside(pod.address, theirs.address);
    let get = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{more}\r\n");
    let long = format!("/{}", "x".repeat(2000));
    for request in [
        get("/a?b=c", "X-A: 1\r\nX-A: 2|{}\"#\r\nCookie: x=y; SID=zzzz\r\n"),
        get("/404", ""),
        get("/chunks", "Cookie: SIDE=1\r\n"),
        get("/bad", ""),
        get(&long, ""),
        format!("POST /up HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc"),
        format!("GET / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: +1\r\n\r\n"),
        String::new(),
        "GET / HT".to_owned(),
    ] {
        let mut lines = Vec::new();
        for (address, daemon) in [(edge.http, &ours), (front.address, &theirs)] {
            let mut client = connected(address).await;
            let port = client.stream.local_addr().expect("connected").port();
            client.send(&request).await;
            if request.ends_with("\r\n\r\n") || request.ends_with("abc") {
                client.response().await;
            }
            drop(client);
            lines.push(comparable(&daemon.line().await, port));
        }
        if request.contains("xxx") {
            // Cut at the same length with the names and dates of either.
            let common = lines.iter().map(String::len).min().expect("two") - 40;
            lines.iter_mut().for_each(|line| line.truncate(common));
        }
        assert_eq!(lines[0], lines[1], "{request:?}");
    }
}

async fn connected(address: SocketAddr) -> Client<tokio::net::TcpStream> {
    crate::harness::eventually("a listener", async || {
        tokio::net::TcpStream::connect(address).await.ok().map(Client::over)
    })
    .await
}

/// HAProxy with the frontend that OpenShift's template would make for this.
fn haproxy_beside(pod: SocketAddr, log: SocketAddr) -> Haproxy {
    Haproxy::logging(
        &format!("global\n  log {log} len 1024 local1 info\n  log-send-hostname\n"),
        &format!(
            "\n  mode http\n  option httplog\n  log global\n  capture request header Host len 8\n  \
             capture request header X-A len 30\n  capture response header Content-Length len 4\n  \
             capture response header X-B len 9\n  capture cookie SID= len 6\n  default_backend \
             it\nbackend it\n  mode http\n  server it {pod}\n"
        ),
    )
}
