//! gRPC by grpcio: every kind of call ends through wharf as it ends at the server itself: messages,
//! codes, details, trailing metadata, and what the server hears of a client that gives up.

use serde_json::Value;
use tempfile::TempDir;
use wharf::tls::mint;

use super::{
    HOST,
    python::{Server, says},
    wanted,
};
use crate::harness::{
    manifest::{With as _, app, edge as edge_route},
    router::Edge,
};

const SCRIPT: &str = "calls.py";

/// A Service port, and its slices, that speak HTTP/2 without TLS.
fn speaking_h2c(mut objects: Vec<Value>) -> Vec<Value> {
    for object in &mut objects {
        let ports = match object["kind"].as_str() {
            Some("Service") => &mut object["spec"]["ports"],
            Some("EndpointSlice") => &mut object["ports"],
            _ => continue,
        };
        ports[0]["appProtocol"] = "kubernetes.io/h2c".into();
    }
    objects
}

/// TLS in front, verified; h2c behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_grpc_calls_end_as_without_wharf() {
    if !wanted("peers_grpc_calls_end_as_without_wharf") {
        return;
    }
    let pod = Server::start(SCRIPT, &["serve"]).await;
    let direct = says(SCRIPT, &["check", &pod.address.to_string()]).await;
    let lines: Vec<&str> = direct.lines().collect();
    assert_eq!(lines.len(), 16, "{direct}");
    assert!(lines.iter().all(|line| !line.ends_with(": False")), "{direct}");
    for line in ["deadline: DEADLINE_EXCEEDED", "the server heard of the cancellation: b'yes'"] {
        assert!(lines.contains(&line), "{direct}");
    }

    let authority = mint::authority("peers").expect("an authority");
    let leaf = authority.leaf(&[HOST.to_owned()]).expect("a leaf");
    let folder = TempDir::new().expect("a temporary folder");
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.pair().cert_pem).expect("the folder is writable");
    let ca = ca.to_str().expect("a name");
    let route = edge_route("a", HOST, Some(&leaf))
        .with("/spec/tls/caCertificate", authority.pair().cert_pem.as_str())
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
    let edge = Edge::start(&speaking_h2c(app(route, &[pod.address]))).await;
    let through = says(SCRIPT, &["check", &edge.https.to_string(), ca, HOST]).await;
    assert_eq!(through, direct);
    edge.is_quiet().await;
}
