//! TLS listeners of the NLB emulator as clients and targets see them (spec/l4-dns.md A.9, A.11).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a step that fails fails the test")]

mod log;
mod peers;
mod targets;

use std::{net::SocketAddr, path::Path, time::Duration};

use rustls::version::{TLS12, TLS13};
use socket2::{SockRef, TcpKeepalive};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use wharf::{
    nlb::{NlbHandle, config::parse_in, stats::ListenerTotals},
    tls::mint::Pair,
};

use crate::harness::{
    eventually,
    tls::{self, Hello, certificates, chain, is_resumed, pair, protocol, rsa_pair},
    within,
};

/// A target that sends back what it gets.
struct Echo {
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (mut stream, _) = socket.accept().await.unwrap();
                connections.spawn(async move {
                    let (mut read, mut write) = stream.split();
                    let _gone = tokio::io::copy(&mut read, &mut write).await;
                    let _gone = write.shutdown().await;
                });
            }
        });
        Self { address, _serving: serving }
    }
}

/// A running load balancer with its files.
struct Balancer {
    handle: NlbHandle,
    address: SocketAddr,
    files: TempDir,
}

/// A listener with `certificates`, which are names of files, and a group of one target.
fn document(certificates: &[&str], listener: &str, group: &str, target: SocketAddr) -> String {
    let certificates: Vec<_> = certificates
        .iter()
        .map(|name| format!("{{ certificate: {name}.pem, key: {name}.key }}"))
        .collect();
    format!(
        "name: test\n\
         allowFastChecks: true\n\
         listeners:\n  \
           - {{ name: front, address: 127.0.0.1:0, protocol: TLS, targetGroup: pods,\n      \
               certificates: [{}], {listener} }}\n\
         targetGroups:\n  \
           - {{ name: pods, port: {}, targets: [{{ id: 127.0.0.1 }}],\n      \
               healthCheck: {{ intervalSeconds: 0.05 }}, {group} }}\n",
        certificates.join(", "),
        target.port(),
    )
}

fn save(directory: &Path, name: &str, pair: &Pair) {
    std::fs::write(directory.join(format!("{name}.pem")), &pair.cert_pem).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), &pair.key_pem).unwrap();
}

impl Balancer {
    /// One with these certificates, the first being the default one.
    async fn start(pairs: &[(&str, &Pair)], listener: &str, group: &str, to: SocketAddr) -> Self {
        let files = tempfile::tempdir().unwrap();
        for (name, pair) in pairs {
            save(files.path(), name, pair);
        }
        let names: Vec<_> = pairs.iter().map(|(name, _)| *name).collect();
        Self::from_text(files, &document(&names, listener, group, to)).await
    }

    async fn from_text(files: TempDir, text: &str) -> Self {
        let config = parse_in(text, files.path()).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let handle = NlbHandle::start(config, CancellationToken::new()).await.unwrap();
        let address = handle.local_addrs()[0].1;
        Self { handle, address, files }
    }

    /// The counts of the listener once `wanted` holds for them.
    async fn totals(&self, wanted: impl Fn(&ListenerTotals) -> bool) -> ListenerTotals {
        eventually("the counts", async || self.handle.listeners().into_iter().find(&wanted)).await
    }
}

fn modern(sni: Option<&'static str>) -> Hello {
    Hello { sni, alpn: &[], version: &TLS13 }
}

fn older(sni: Option<&'static str>) -> Hello {
    Hello { sni, alpn: &[], version: &TLS12 }
}

fn is(stream: &TlsStream<TcpStream>, pair: &Pair) -> bool {
    chain(stream) == certificates(&pair.cert_pem)
}

/// What is written comes back.
async fn echoes(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    within("the echo", stream.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"ping");
}

const NEWEST: &str = "sslPolicy: ELBSecurityPolicy-TLS13-1-2-2021-06";

/// [NLB-19] The certificate is chosen by SNI; without a name, and for one that nobody has, it is the
/// default one and no alert.
#[tokio::test]
async fn nlb_19_the_certificate_is_chosen_by_sni() {
    let [default, a, b, wild] = ["default.test", "a.test", "b.test", "*.wild.test"].map(pair);
    let pairs = [("default", &default), ("a", &a), ("b", &b), ("wild", &wild)];
    let echo = Echo::start().await;
    let balancer = Balancer::start(&pairs, NEWEST, "", echo.address).await;
    for (sni, expected) in [
        (Some("a.test"), &a),
        (Some("b.test"), &b),
        (Some("B.Test"), &b),
        (None, &default),
        (Some("unknown.test"), &default),
        (Some("default.test"), &default),
        (Some("x.wild.test"), &wild),
        (Some("wild.test"), &default),
        (Some("y.x.wild.test"), &default),
    ] {
        for hello in [modern(sni), older(sni)] {
            let mut stream = tls::connect(balancer.address, hello).await.unwrap();
            assert!(is(&stream, expected), "{hello:?}");
            echoes(&mut stream).await;
        }
    }
    balancer.totals(|totals| totals.new_flow_count == 18).await;
}

/// [NLB-19] Of several that match, ECDSA wins over RSA, whatever the order is; a client that cannot do
/// ECDSA gets RSA.
#[tokio::test]
async fn nlb_19_ecdsa_wins_over_rsa() {
    let [default, ecdsa] = ["default.test", "a.test"].map(pair);
    let rsa = rsa_pair("a.test");
    let echo = Echo::start().await;
    for order in [[("rsa", &rsa), ("ecdsa", &ecdsa)], [("ecdsa", &ecdsa), ("rsa", &rsa)]] {
        let pairs = [("default", &default), order[0], order[1]];
        let balancer = Balancer::start(&pairs, NEWEST, "", echo.address).await;
        for hello in [modern(Some("a.test")), older(Some("a.test"))] {
            let stream = tls::connect(balancer.address, hello).await.unwrap();
            assert!(is(&stream, &ecdsa), "{hello:?}");
            let stream = tls::connect_rsa(balancer.address, hello).await.unwrap();
            assert!(is(&stream, &rsa), "{hello:?}");
        }
    }
}

/// [NLB-20] The five ALPN policies; a list without a common protocol is no error.
#[tokio::test]
async fn nlb_20_alpn_policies() {
    const ALL: &[&str] = &["http/1.0", "http/1.1", "h2"];
    const OLD: &[&str] = &["http/1.0"];
    const NEW: &[&str] = &["h2"];
    const STRANGE: &[&str] = &["spdy/3"];
    let default = pair("default.test");
    let echo = Echo::start().await;
    for (policy, expected) in [
        ("None", [None, None, None, None, None]),
        ("HTTP1Only", [Some("http/1.1"), Some("http/1.0"), None, None, None]),
        ("HTTP2Only", [Some("h2"), None, Some("h2"), None, None]),
        ("HTTP2Optional", [Some("http/1.1"), Some("http/1.0"), Some("h2"), None, None]),
        ("HTTP2Preferred", [Some("h2"), Some("http/1.0"), Some("h2"), None, None]),
    ] {
        let listener = format!("{NEWEST}, alpnPolicy: {policy}");
        let balancer = Balancer::start(&[("default", &default)], &listener, "", echo.address).await;
        for (alpn, expected) in [ALL, OLD, NEW, STRANGE, &[]].into_iter().zip(expected) {
            for version in [&TLS12, &TLS13] {
                let hello = Hello { sni: Some("default.test"), alpn, version };
                let mut stream = tls::connect(balancer.address, hello).await.unwrap();
                assert_eq!(protocol(&stream).as_deref(), expected, "{policy} {alpn:?}");
                echoes(&mut stream).await;
            }
        }
    }
}

/// A.9: the policy of the API has no TLS 1.3, TLS13-1-3 has nothing else.
#[tokio::test]
async fn policies_decide_about_versions() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    for (policy, expected) in [
        ("", [true, false]),
        ("sslPolicy: ELBSecurityPolicy-TLS13-1-3-2021-06", [false, true]),
        ("sslPolicy: ELBSecurityPolicy-TLS13-1-2-Res-2021-06", [true, true]),
        ("sslPolicy: ELBSecurityPolicy-FS-1-2-Res-2020-10", [true, false]),
    ] {
        let balancer = Balancer::start(&[("default", &default)], policy, "", echo.address).await;
        for (hello, expected) in [older(None), modern(None)].into_iter().zip(expected) {
            let connected = tls::connect(balancer.address, hello).await;
            assert_eq!(connected.is_ok(), expected, "{policy} {hello:?}");
        }
        let failed = expected.iter().filter(|served| !**served).count() as u64;
        balancer.totals(|totals| totals.client_tls_negotiation_error_count == failed).await;
    }
}

/// Sessions are resumed by tickets, also over a change of the configuration.
#[tokio::test]
async fn sessions_are_resumed_over_changes() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let balancer = Balancer::start(&[("default", &default)], NEWEST, "", echo.address).await;
    for hello in [modern(Some("default.test")), older(Some("default.test"))] {
        let client = tls::client(hello, None);
        for expected in [false, true] {
            let connected = tls::connect_with(balancer.address, hello.sni, &client).await;
            let mut stream = connected.unwrap();
            assert_eq!(is_resumed(&stream), expected, "{hello:?}");
            // The ticket comes with the first bytes.
            echoes(&mut stream).await;
            let text = document(&["default"], NEWEST, "", echo.address);
            balancer.handle.apply(parse_in(&text, balancer.files.path()).unwrap()).unwrap();
        }
    }
}

/// A client that says nothing is given up after the limit, and counted.
#[tokio::test]
async fn a_handshake_has_a_limit() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let listener = "handshakeTimeoutSeconds: 0.05";
    let balancer = Balancer::start(&[("default", &default)], listener, "", echo.address).await;
    let mut silent = TcpStream::connect(balancer.address).await.unwrap();
    let end = within("the end", silent.read(&mut [0; 16])).await;
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let totals = balancer.totals(|totals| totals.active_flow_count == 0).await;
    assert_eq!(totals.client_tls_negotiation_error_count, 1);
}

/// What is no ClientHello gets an alert and is counted.
#[tokio::test]
async fn what_is_no_tls_is_refused() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let balancer = Balancer::start(&[("default", &default)], "", "", echo.address).await;
    let mut plain = TcpStream::connect(balancer.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _reset = within("the end", plain.read_to_end(&mut said)).await;
    assert_eq!(said.first(), Some(&21), "an alert: {said:?}");
    balancer.totals(|totals| totals.client_tls_negotiation_error_count == 1).await;
}

/// New certificates are for new connections; open ones go on.
#[tokio::test]
async fn new_certificates_disturb_no_flow() {
    let [old, new] = ["default.test", "default.test"].map(pair);
    let echo = Echo::start().await;
    let balancer = Balancer::start(&[("default", &old)], NEWEST, "", echo.address).await;
    let mut before = tls::connect(balancer.address, modern(None)).await.unwrap();
    echoes(&mut before).await;
    save(balancer.files.path(), "default", &new);
    let text = document(&["default"], NEWEST, "", echo.address);
    balancer.handle.apply(parse_in(&text, balancer.files.path()).unwrap()).unwrap();
    let after = tls::connect(balancer.address, modern(None)).await.unwrap();
    assert!(is(&before, &old) && is(&after, &new));
    echoes(&mut before).await;
}

/// A client's end is passed on as an end, the rest of the answer comes, and then an end with
/// `close_notify`.
#[tokio::test]
async fn ends_are_passed_on() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let balancer = Balancer::start(&[("default", &default)], NEWEST, "", echo.address).await;
    for hello in [modern(None), older(None)] {
        let mut stream = tls::connect(balancer.address, hello).await.unwrap();
        let sent = vec![7; 1 << 20];
        let (mut read, mut write) = tokio::io::split(&mut stream);
        let writing = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        let mut back = Vec::new();
        let (_, count) =
            within("the echo", async { tokio::join!(writing, read.read_to_end(&mut back)) }).await;
        // Without close_notify this would be an error.
        assert_eq!(count.unwrap(), sent.len());
    }
    let totals = balancer.totals(|totals| totals.active_flow_count == 0).await;
    assert_eq!(totals.tcp_client_reset_count + totals.tcp_target_reset_count, 0);
    assert_eq!(totals.processed_bytes, 4 << 20);
}

/// Resets are passed on.
#[tokio::test]
async fn resets_are_passed_on() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let balancer = Balancer::start(&[("default", &default)], NEWEST, "", echo.address).await;
    let mut stream = tls::connect(balancer.address, modern(None)).await.unwrap();
    echoes(&mut stream).await;
    stream.get_ref().0.set_zero_linger().unwrap();
    drop(stream);
    let totals = balancer.totals(|totals| totals.active_flow_count == 0).await;
    assert_eq!(totals.tcp_client_reset_count, 1);
}

/// An end without `close_notify`, as many clients do it, is no failure.
#[tokio::test]
async fn an_end_without_a_close_notify_is_an_end() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let balancer = Balancer::start(&[("default", &default)], NEWEST, "", echo.address).await;
    let mut stream = tls::connect(balancer.address, modern(None)).await.unwrap();
    echoes(&mut stream).await;
    let (mut plain, _) = stream.into_inner();
    plain.shutdown().await.unwrap();
    let totals = balancer.totals(|totals| totals.active_flow_count == 0).await;
    assert_eq!((totals.tcp_client_reset_count, totals.tcp_elb_reset_count), (0, 0));
}

/// [NLB-05] What comes without a byte holds a TLS flow, too; flows without tell the time.
#[tokio::test]
async fn nlb_05_keepalives_hold_a_tls_flow() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let files = tempfile::tempdir().unwrap();
    save(files.path(), "default", &default);
    let text = document(&["default"], NEWEST, "", echo.address);
    let mut config = parse_in(&text, files.path()).unwrap();
    config.listeners[0].idle_timeout = Duration::from_millis(1500);
    let handle = NlbHandle::start(config, CancellationToken::new()).await.unwrap();
    let address = handle.local_addrs()[0].1;
    let balancer = Balancer { handle, address, files };
    let mut kept = tls::connect(balancer.address, modern(None)).await.unwrap();
    let second = Duration::from_secs(1);
    let often = TcpKeepalive::new().with_time(second).with_interval(second);
    SockRef::from(kept.get_ref().0).set_tcp_keepalive(&often).unwrap();
    let mut silent = Vec::new();
    for count in 1..=3 {
        silent.push(tls::connect(balancer.address, modern(None)).await.unwrap());
        balancer.totals(|totals| totals.expired_flow_count == count).await;
    }
    kept.write_all(b"x").await.unwrap();
    assert_eq!(within("the echo", kept.read_u8()).await.unwrap(), b'x');
}

/// A.4: a TLS flow without a byte expires after the limit; who sends then is reset.
#[tokio::test]
async fn an_idle_flow_ends() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let files = tempfile::tempdir().unwrap();
    save(files.path(), "default", &default);
    let text = document(&["default"], NEWEST, "", echo.address);
    let mut config = parse_in(&text, files.path()).unwrap();
    assert_eq!(config.listeners[0].idle_timeout, Duration::from_secs(350));
    config.listeners[0].idle_timeout = Duration::from_millis(50);
    let handle = NlbHandle::start(config, CancellationToken::new()).await.unwrap();
    let address = handle.local_addrs()[0].1;
    let balancer = Balancer { handle, address, files };
    let mut stream = tls::connect(balancer.address, modern(None)).await.unwrap();
    balancer.totals(|totals| totals.active_flow_count == 0 && totals.new_flow_count == 1).await;
    // What comes late is answered by a reset.
    stream.write_all(b"late").await.unwrap();
    assert!(within("the reset", stream.read(&mut [0; 16])).await.is_err());
}
