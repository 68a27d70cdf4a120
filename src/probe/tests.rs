//! Checks against real sockets: passes, failures, time-outs, marks on peers.

use std::sync::Arc;

use tokio::{io::AsyncReadExt, net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    net::clock,
    settings::health::EjectionSettings,
    snapshot::Check,
    upstream::peer::{Peer, PeerKey, Protocol},
};

const LIMIT: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

/// Accepts one connection, reads until the end of a request head, answers, and returns what came.
async fn answers(response: &'static str) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"close\r\n\r\n") {
            seen.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(response.as_bytes()).await.unwrap();
        let _ = stream.read(&mut [0; 16]).await;
        seen
    });
    (address, task)
}

async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn check(matcher: &Matcher) -> HttpCheck<'_> {
    HttpCheck { host: "10.0.0.1:80", path: "/healthz/ready", matcher }
}

#[tokio::test]
async fn http_judges_by_the_status_code_alone() {
    let only_200: Matcher = "200".parse().unwrap();
    for (response, outcome) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", Outcome::Pass),
        ("HTTP/1.1 200 OK\r\n\r\n", Outcome::Pass),
        (
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n",
            Outcome::Fail(FailReason::ResponseCode(503)),
        ),
        ("SSH-2.0-OpenSSH\r\n\r\n", Outcome::Fail(FailReason::Failed)),
    ] {
        let (address, _task) = answers(response).await;
        assert_eq!(http(address, check(&only_200), LIMIT, Preamble::None).await, outcome);
    }
}

#[tokio::test]
async fn http_sends_one_closing_request_behind_the_preamble() {
    let (address, task) = answers("HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await;
    let matcher = Matcher::default();
    assert_eq!(http(address, check(&matcher), LIMIT, Preamble::ProxyLocal).await, Outcome::Pass);
    let seen = task.await.unwrap();
    let mut header = Vec::new();
    proxy_protocol::write_v2_local(&mut header);
    let request = seen.strip_prefix(&header[..]).unwrap();
    assert_eq!(
        std::str::from_utf8(request).unwrap(),
        "GET /healthz/ready HTTP/1.1\r\nhost: 10.0.0.1:80\r\nuser-agent: \
         ELB-HealthChecker/2.0\r\nconnection: close\r\n\r\n"
    );
}

#[tokio::test]
async fn refusal_and_silence_are_told_apart() {
    let matcher = Matcher::default();
    let refused = Outcome::Fail(FailReason::Refused);
    assert_eq!(tcp(refusing().await, LIMIT, Preamble::None).await, refused);
    assert_eq!(http(refusing().await, check(&matcher), LIMIT, Preamble::None).await, refused);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    assert_eq!(tcp(address, LIMIT, Preamble::None).await, Outcome::Pass);
    let late = Outcome::Fail(FailReason::Timeout);
    assert_eq!(http(address, check(&matcher), SHORT, Preamble::None).await, late);
}

fn peer(address: SocketAddr) -> Arc<Peer> {
    Arc::new(Peer::new(PeerKey {
        address,
        protocol: Protocol::Http1,
        tls: None,
        pod: "pod".into(),
    }))
}

fn every(peer: &Arc<Peer>, interval: Duration) -> Check {
    Check { peer: Arc::clone(peer), interval }
}

/// Lets timers and sockets run until the checks have brought the condition about.
async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, wait).await.expect("the condition comes true");
}

/// [HC-2]: an interval that a snapshot changes is obeyed at once, and what is known of the peer stays:
/// having passed once, it needs three failures.
#[tokio::test]
async fn hc_2_a_new_interval_holds_at_once_and_forgets_nothing() {
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peer = peer(open.local_addr().unwrap());
    let (list, checks) = watch::channel(Arc::new(vec![every(&peer, SHORT)]));
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run_checks(checks, LIMIT, cancel.clone()));
    open.accept().await.unwrap();
    let never = Duration::from_secs(1 << 20);
    list.send_replace(Arc::new(vec![every(&peer, never)]));
    drop(open);
    list.send_replace(Arc::new(vec![every(&peer, SHORT)]));
    until(|| !peer.is_up()).await;
    assert_eq!(peer.check_failures.load(), 3);
    cancel.cancel();
    task.await.unwrap();
}

/// an endpoint that checks bring back is ejected no longer.
#[tokio::test]
async fn r_44_checks_that_pass_end_an_ejection() {
    let address = refusing().await;
    let peer = peer(address);
    let rules = EjectionSettings { time: Duration::from_secs(1 << 20), ..Default::default() };
    assert!(peer.outlier.eject(clock::millis(), &rules, 0).is_some());
    let (_list, checks) = watch::channel(Arc::new(vec![every(&peer, SHORT)]));
    let cancel = CancellationToken::new();
    let task = tokio::spawn(run_checks(checks, LIMIT, cancel.clone()));
    until(|| !peer.is_up()).await;
    assert!(peer.is_ejected());
    let _open = TcpListener::bind(address).await.unwrap();
    until(|| peer.is_up()).await;
    assert!(!peer.is_ejected());
    cancel.cancel();
    task.await.unwrap();
}

/// [HC-2] and [HC-3].
#[tokio::test]
async fn hc_3_a_peer_that_leaves_the_list_is_tried_again() {
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let good = peer(open.local_addr().unwrap());
    let bad = peer(refusing().await);
    let (list, peers) = watch::channel(Arc::new(vec![every(&good, SHORT), every(&bad, SHORT)]));
    let cancel = CancellationToken::new();
    let checks = tokio::spawn(run_checks(peers, LIMIT, cancel.clone()));
    until(|| !bad.is_up()).await;
    assert!(good.is_up());
    list.send_replace(Arc::new(vec![every(&good, SHORT)]));
    until(|| bad.is_up()).await;
    open.accept().await.unwrap();
    drop(open);
    until(|| !good.is_up()).await;
    assert!(good.check_failures.load() >= 3, "it had passed, so it needed three failures");
    cancel.cancel();
    checks.await.unwrap();
}
