//! gRPC by grpcio: every kind of call ends through wharf as it ends at the server itself: messages,
//! codes, details, trailing metadata, and what the server hears of a client that gives up.

use tempfile::TempDir;
use wharf::tls::mint;

use super::{
    HOST,
    python::{Server, says},
    wanted,
};
use crate::harness::{
    manifest::{With as _, app, edge as edge_route, h2c},
    router::Edge,
};

const SCRIPT: &str = "calls.py";

/// Files of certificates.
struct Files(TempDir);

impl Files {
    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path.to_str().expect("a name").to_owned()
    }
}

/// Over TLS in front to h2c and to TLS behind, and with prior knowledge on the plain port.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_grpc_calls_end_as_without_wharf() {
    if !wanted("peers_grpc_calls_end_as_without_wharf") {
        return;
    }
    let pod = Server::start(SCRIPT, &["serve"]).await;
    let direct = says(SCRIPT, &["check", &pod.address.to_string()]).await;
    let lines: Vec<&str> = direct.lines().collect();
    assert_eq!(lines.len(), 26, "{direct}");
    assert!(lines.iter().all(|line| !line.ends_with(": False")), "{direct}");
    for line in [
        "bytes as metadata: (True, True)",
        "large messages in a row: [True, True, True, True]",
        "large messages that wait: 8",
        "health of 'wharf.peers.Echo': answered 2",
        "reflection: ['grpc.health.v1.Health', 'wharf.peers.Echo']",
        "deadline: DEADLINE_EXCEEDED",
        "the server heard of the deadline: b'yes'",
        "the server heard of the cancellation: b'yes'",
    ] {
        assert!(lines.contains(&line), "{line}: {direct}");
    }

    let files = Files(TempDir::new().expect("a temporary folder"));
    let authority = mint::authority("peers").expect("an authority");
    let leaf = authority.leaf(&[HOST.to_owned()]).expect("a leaf");
    let ca = files.put("ca.pem", &authority.pair().cert_pem);
    let edge_route = edge_route("a", HOST, Some(&leaf))
        .with("/spec/tls/caCertificate", authority.pair().cert_pem.as_str())
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");

    let service = authority.leaf(&["a.app.svc".to_owned()]).expect("a leaf");
    let (certificate, key) =
        (files.put("crt.pem", &service.cert_pem), files.put("key.pem", &service.key_pem));
    let secure_pod = Server::start(SCRIPT, &["serve", &certificate, &key]).await;
    let reencrypt = edge_route
        .clone()
        .with("/spec/tls/termination", "reencrypt")
        .with("/spec/tls/destinationCACertificate", authority.pair().cert_pem.as_str());

    let edge = Edge::start(&h2c(app(edge_route, &[pod.address]))).await;
    let through = says(SCRIPT, &["check", &edge.https.to_string(), HOST, &ca]).await;
    assert_eq!(through, direct, "edge");
    let through = says(SCRIPT, &["check", &edge.http.to_string(), HOST]).await;
    assert_eq!(through, direct, "prior knowledge");
    edge.is_quiet().await;
    let edge = Edge::start(&app(reencrypt, &[secure_pod.address])).await;
    let through = says(SCRIPT, &["check", &edge.https.to_string(), HOST, &ca]).await;
    assert_eq!(through, direct, "reencrypt");
    edge.is_quiet().await;
}
