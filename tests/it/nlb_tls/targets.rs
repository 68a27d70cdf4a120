//! Targets that speak TLS, and checks by HTTPS.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustls::{
    ServerConfig,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use wharf::{
    health::{Code, State},
    net::proxy_protocol,
};

use super::{Balancer, Echo, NEWEST, document, echoes, modern, older, save};
use crate::harness::{
    eventually, pod,
    tls::{self, Hello, pair, protocol, server},
    tlspod::{Opening, TlsPod},
    within,
};

/// What a target saw of a connection: the client of the PROXY header, version, protocol, server name.
type Seen = (SocketAddr, Option<rustls::ProtocolVersion>, Option<String>, Option<String>);

/// A target that reads a PROXY header, then speaks TLS and echoes.
struct Target {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    _serving: JoinSet<()>,
}

impl Target {
    async fn start(config: Arc<ServerConfig>) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let shown = Arc::clone(&seen);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                let (config, shown) = (Arc::clone(&config), Arc::clone(&shown));
                connections.spawn(async move {
                    let limit = Duration::from_secs(10);
                    let header = proxy_protocol::read(&stream, limit).await.ok()?;
                    let stream = TlsAcceptor::from(config).accept(stream).await.ok()?;
                    let session = stream.get_ref().1;
                    let alpn = session.alpn_protocol();
                    let alpn = alpn.map(|name| String::from_utf8_lossy(name).into_owned());
                    let name = session.server_name().map(str::to_owned);
                    let version = session.protocol_version();
                    shown.lock().unwrap().push((header.source?, version, alpn, name));
                    let (mut read, mut write) = tokio::io::split(stream);
                    tokio::io::copy(&mut read, &mut write).await.ok()?;
                    write.shutdown().await.ok()
                });
            }
        });
        Self { address, seen, _serving: serving }
    }
}

const TLS: &str = "protocol: TLS, attributes: { proxy_protocol_v2.enabled: \"true\" }";

/// A.9: TLS to the target begins behind the PROXY header, whatever its certificate is, and offers what
/// ALPN came to with the client.
#[tokio::test]
async fn targets_of_tls_groups_are_spoken_to_in_tls() {
    let default = pair("default.test");
    let target = Target::start(server(&pair("anything"), &["h2", "http/1.1"])).await;
    let listener = format!("{NEWEST}, alpnPolicy: HTTP2Optional");
    let balancer = Balancer::start(&[("default", &default)], &listener, TLS, target.address).await;
    for (alpn, expected) in
        [(&["h2"][..], Some("h2")), (&["h2", "http/1.1"], Some("http/1.1")), (&[], None)]
    {
        let hello = Hello { sni: Some("default.test"), alpn, version: &TLS13 };
        let mut stream = tls::connect(balancer.address, hello).await.unwrap();
        assert_eq!(protocol(&stream).as_deref(), expected);
        echoes(&mut stream).await;
        let client = stream.get_ref().0.local_addr().unwrap();
        let version = Some(rustls::ProtocolVersion::TLSv1_3);
        let expected: Seen = (client, version, expected.map(str::to_owned), None);
        assert_eq!(target.seen.lock().unwrap().pop(), Some(expected));
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "the end of the target");
    }
}

/// A.9: behind a policy without TLS 1.3, targets are spoken to in TLS 1.2.
#[tokio::test]
async fn the_policy_of_targets_follows_that_of_clients() {
    let default = pair("default.test");
    let target = Target::start(server(&pair("anything"), &[])).await;
    let balancer = Balancer::start(&[("default", &default)], "", TLS, target.address).await;
    let mut stream = tls::connect(balancer.address, older(None)).await.unwrap();
    echoes(&mut stream).await;
    let (_, version, ..) = target.seen.lock().unwrap().pop().unwrap();
    assert_eq!(version, Some(rustls::ProtocolVersion::TLSv1_2));
}

/// A target without TLS in a group of TLS: the client is reset, and the failure counted.
#[tokio::test]
async fn a_target_that_fails_the_handshake_is_counted() {
    let default = pair("default.test");
    let echo = Echo::start().await;
    let group = "protocol: TLS";
    let balancer = Balancer::start(&[("default", &default)], NEWEST, group, echo.address).await;
    let mut stream = tls::connect(balancer.address, modern(None)).await.unwrap();
    assert!(within("the reset", stream.read(&mut [0; 8])).await.is_err());
    let totals = balancer.totals(|totals| totals.active_flow_count == 0).await;
    assert_eq!(totals.target_tls_negotiation_error_count, 1);
    assert_eq!(totals.client_tls_negotiation_error_count, 0);
}

/// The state of the only target of a group that is checked by HTTPS.
async fn checked(config: Arc<ServerConfig>, code: u16) -> (State, Option<Code>) {
    let answer = move |_: &pod::Seen| {
        pod::raw(&format!("HTTP/1.1 {code} Checked\r\ncontent-length: 0\r\n\r\n"))
    };
    let opening = move |_| Opening::Tls(Arc::clone(&config));
    let target = TlsPod::start(opening, answer, |_| panic!("no HTTP/2")).await;
    let files = tempfile::tempdir().unwrap();
    save(files.path(), "default", &pair("default.test"));
    let text = document(&["default"], NEWEST, "", target.address).replace(
        "healthCheck: {",
        "healthCheck: { protocol: HTTPS, path: /ready, matcher: '200', unhealthyThresholdCount: 2,",
    );
    let balancer = Balancer::from_text(files, &text).await;
    eventually("the end of checking", async || {
        let target = balancer.handle.targets().remove(0);
        (target.state != State::Initial).then_some((target.state, target.reason))
    })
    .await
}

/// A.5: HTTPS checks take any certificate, look at the code, and fail on targets that speak TLS 1.3
/// alone.
#[tokio::test]
async fn https_checks_look_at_the_code_and_not_at_the_certificate() {
    let shown = pair("anything");
    let both = server(&shown, &[]);
    assert_eq!(checked(Arc::clone(&both), 200).await, (State::Healthy, None));
    let mismatch = (State::Unhealthy, Some(Code::ResponseCodeMismatch));
    assert_eq!(checked(both, 503).await, mismatch);
    let failed = (State::Unhealthy, Some(Code::FailedHealthChecks));
    assert_eq!(checked(only(&TLS13), 200).await, failed);
    assert_eq!(checked(only(&TLS12), 200).await, (State::Healthy, None));
}

fn only(version: &'static rustls::SupportedProtocolVersion) -> Arc<ServerConfig> {
    tls::server_of(&pair("anything"), version)
}
