//! Real peers: curl, openssl, HAProxy, nghttp2's clients, dig, slowhttptest, Python's gRPC and WebSockets.
//! They run when `WHARF_PEERS=1`, and a tool that is missing is a failure then; otherwise each test
//! says that it was skipped.

mod aws;
mod client_certs;
mod compression;
mod dns;
mod grpc;
mod halog;
mod haproxy;
mod metrics;
mod odd;
mod python;
mod resolvers;
mod slow;
mod sticky;
mod websocket;

use std::{
    io::Write as _,
    net::SocketAddr,
    process::{Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use wharf::tls::mint::{self, Authority};

use crate::harness::{
    LIMIT,
    manifest::{With as _, app, edge as edge_route, route},
    pod::{Pod, ok},
    router::Edge,
};

const HOST: &str = "a.example.com";

/// Bound of a tool that is given work for several seconds.
const LONG: Duration = Duration::from_secs(180);

/// True when peers are wanted.
pub(crate) fn wanted(test: &str) -> bool {
    let wanted = std::env::var_os("WHARF_PEERS").is_some_and(|value| value == "1");
    if !wanted {
        let said = writeln!(std::io::stdout(), "{test}: skipped, WHARF_PEERS=1 runs it");
        said.expect("stdout is there");
    }
    wanted
}

/// Runs a tool to its end.
pub(crate) async fn run(tool: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(tool);
    command.args(arguments);
    output_of(command, LIMIT).await
}

/// Runs `command` to its end, without input.
async fn output_of(mut command: Command, limit: Duration) -> Output {
    let shown = format!("{command:?}");
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = tokio::time::timeout(limit, output).await;
    assert!(output.is_ok(), "{shown}: not over within {limit:?}");
    let output = output.expect("just looked").expect("no panic");
    assert!(output.is_ok(), "{shown}: not installed: {output:?}");
    output.expect("just looked")
}

/// What a tool printed, after it ended well.
async fn says(tool: &str, arguments: &[&str]) -> String {
    let output = run(tool, arguments).await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {arguments:?}: {}: {errors}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// An edge route with a certificate of `authority`, its plain port redirecting.
struct Secure {
    edge: Edge,
    pod: Pod,
    authority: Authority,
    folder: TempDir,
}

impl Secure {
    async fn start() -> Self {
        let authority = mint::authority("peers").expect("an authority");
        let leaf = authority.leaf(&[HOST.to_owned()]).expect("a leaf");
        let pod = Pod::start(|seen| match seen.method() {
            "GET" => ok(seen.line.as_str()),
            _ => ok(&seen.body),
        })
        .await;
        let route = edge_route("a", HOST, Some(&leaf))
            .with("/spec/tls/caCertificate", authority.pair().cert_pem.as_str())
            .with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect");
        let edge = Edge::start(&app(route, &[pod.address])).await;
        let folder = TempDir::new().expect("a temporary folder");
        std::fs::write(folder.path().join("ca.pem"), &authority.pair().cert_pem)
            .expect("the folder is writable");
        Self { edge, pod, authority, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a name").to_owned()
    }

    /// `curl` with the authority trusted and the host sent to this router.
    async fn curl(&self, arguments: &[&str]) -> String {
        let to = |port: u16, address: SocketAddr| format!("{HOST}:{port}:{address}");
        let (plain, secure) = (to(80, self.edge.http), to(443, self.edge.https));
        let ca = self.file("ca.pem");
        let fixed = ["-sS", "--cacert", &ca, "--connect-to", &plain, "--connect-to", &secure];
        says("curl", &[&fixed[..], arguments].concat()).await
    }
}

/// curl on HTTP/1.1 and HTTP/2, plain and TLS, certificate verified.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_curl_speaks_every_protocol() {
    if !wanted("peers_curl_speaks_every_protocol") {
        return;
    }
    let secure = Secure::start().await;
    let rows = [("--http1.1", "1.1 200"), ("--http2", "2 200")];
    for (version, expected) in rows {
        let url = format!("https://{HOST}/x?y");
        let body = secure.curl(&[version, &url]).await;
        assert_eq!(body, "GET /x?y HTTP/1.1");
        let both = "%{http_version} %{response_code}";
        let told = secure.curl(&[version, "-o", "/dev/null", "-w", both, &url]).await;
        assert_eq!(told, expected);
    }
    let versions: [&[&str]; 2] = [&["--tls-max", "1.2"], &["--tlsv1.3"]];
    for version in versions {
        let url = format!("https://{HOST}/tls");
        assert_eq!(secure.curl(&[version, &[&url]].concat()).await, "GET /tls HTTP/1.1");
    }
    let pod = Pod::saying("plain").await;
    let plain = Edge::start(&app(route("p", "p.example.com"), &[pod.address])).await;
    let to = format!("p.example.com:80:{}", plain.http);
    for version in ["--http1.1", "--http2-prior-knowledge", "--http1.0"] {
        let url = "http://p.example.com/";
        assert_eq!(says("curl", &["-sS", version, "--connect-to", &to, url]).await, "plain");
    }
}

/// `curl -L` follows the redirect to https [REDIR-1]; uploads of 5 MB come back whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_curl_follows_and_uploads() {
    if !wanted("peers_curl_follows_and_uploads") {
        return;
    }
    let secure = Secure::start().await;
    let body = secure.curl(&["-L", &format!("http://{HOST}/moved?x=%2F")]).await;
    assert_eq!(body, "GET /moved?x=%2F HTTP/1.1");
    let sent: Vec<u8> = (0..=250).cycle().take(5_000_000).collect();
    let (up, down) = (secure.file("up"), secure.file("down"));
    std::fs::write(&up, &sent).unwrap();
    let url = format!("https://{HOST}/upload");
    let data = format!("@{up}");
    let rows: [&[&str]; 4] = [
        &["--http1.1", "--data-binary", &data],
        &["--http1.1", "-T", &up],
        &["--http1.1", "-H", "Transfer-Encoding: chunked", "-T", &up],
        &["--http2", "--data-binary", &data],
    ];
    for arguments in rows {
        secure.curl(&[arguments, &["-o", &down, &url]].concat()).await;
        assert!(std::fs::read(&down).unwrap() == sent, "{arguments:?}");
    }
    assert_eq!(secure.pod.attempts(), 1 + rows.len());
}

/// curl's own PROXY header names the client [LSN-3].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_curl_sends_a_proxy_header() {
    if !wanted("peers_curl_sends_a_proxy_header") {
        return;
    }
    let pod = Pod::saying("pod").await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.proxy_protocol = true;
    })
    .await;
    let to = format!("{HOST}:80:{}", edge.http);
    let url = format!("http://{HOST}/");
    let arguments = ["-sS", "--haproxy-protocol", "--connect-to", &to, &url];
    assert_eq!(says("curl", &arguments).await, "pod");
    assert_eq!(pod.one().all("x-forwarded-for"), ["127.0.0.1"]);
    let port = edge.http.port().to_string();
    assert_eq!(pod.one().all("x-forwarded-port"), [port.as_str()]);
    // 52: an empty reply, which is what a missing header gets.
    let without = run("curl", &["-sS", "--connect-to", &to, &url]).await;
    assert!(matches!(without.status.code(), Some(52 | 56)), "{:?}", without.status);
}

/// openssl: versions, ALPN, the whole chain, verified against the authority [TLS-1, ALPN-1, CERT-4].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_openssl_verifies_the_chain() {
    if !wanted("peers_openssl_verifies_the_chain") {
        return;
    }
    let secure = Secure::start().await;
    let (address, ca) = (secure.edge.https.to_string(), secure.file("ca.pem"));
    for (version, word) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let told = says(
            "openssl",
            &[
                "s_client",
                "-connect",
                &address,
                "-servername",
                HOST,
                version,
                "-alpn",
                "h2,http/1.1",
                "-CAfile",
                &ca,
                "-verify_return_error",
                "-verify_hostname",
                HOST,
                "-showcerts",
            ],
        )
        .await;
        assert!(told.contains("ALPN protocol: h2"), "{told}");
        assert!(told.contains("Verify return code: 0 (ok)"), "{told}");
        assert!(told.contains(word), "{told}");
        let sent = told.matches("-----BEGIN CERTIFICATE-----").count();
        // The leaf, then the authority; -showcerts prints no more than was sent.
        assert_eq!(sent, 2, "{told}");
        let root = secure.authority.pair().cert_pem.replace("\r\n", "\n");
        assert!(told.contains(root.trim()), "{told}");
    }
    for version in ["-tls1", "-tls1_1"] {
        let refused = run("openssl", &["s_client", "-connect", &address, version]).await;
        assert!(!refused.status.success(), "{version}");
    }
}

/// nghttp2's clients: 100 requests over HTTP/2, none failed, on TLS and with prior knowledge.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_nghttp2_loads_without_a_failure() {
    if !wanted("peers_nghttp2_loads_without_a_failure") {
        return;
    }
    let secure = Secure::start().await;
    let pod = Pod::saying("plain").await;
    let plain = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let rows = [("https", secure.edge.https), ("http", plain.http)];
    for (scheme, address) in rows {
        let to = format!("--connect-to={address}");
        let url = format!("{scheme}://{HOST}/");
        let told = says("h2load", &["-n", "100", "-c", "2", "-m", "10", &to, &url]).await;
        let all = "100 total, 100 started, 100 done, 100 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(told.contains(all), "{told}");
        assert!(told.contains("status codes: 100 2xx, 0 3xx, 0 4xx, 0 5xx"), "{told}");
    }
    let authority = format!(":authority: {HOST}");
    let url = format!("http://{}/", plain.http);
    assert_eq!(says("nghttp", &["-H", &authority, &url]).await, "plain");
}

/// dig against the router's own DNS server: the Service's name answers with its pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_dig_reads_the_zone() {
    if !wanted("peers_dig_reads_the_zone") {
        return;
    }
    let endpoint: SocketAddr = ([10, 1, 2, 3], 8080).into();
    let edge = Edge::with(&app(route("a", HOST), &[endpoint]), |settings| {
        settings.dns = Some(([127, 0, 0, 1], 0).into());
    })
    .await;
    let port = edge.router.dns.expect("DNS is on").port().to_string();
    let name = "a.app.svc.cluster.local";
    for transport in ["+notcp", "+tcp"] {
        let short = ["@127.0.0.1", "-p", &port, name, "+short", transport];
        assert_eq!(says("dig", &short).await.trim(), "10.1.2.3", "{transport}");
    }
    let missing = ["@127.0.0.1", "-p", &port, "nobody.app.svc.cluster.local"];
    let told = says("dig", &missing).await;
    assert!(told.contains("status: NXDOMAIN") && told.contains("SOA"), "{told}");
}
