//! What clients do less often: HEAD, Expect, trailers, HTTP/1.0, many streams at once, and hellos
//! that are unusual or hopeless. Each by a real tool.

use super::{HOST, Secure, run, says, wanted};
use crate::harness::{
    manifest::{app, route},
    pod::{Pod, raw},
    router::Edge,
};

/// A pod whose answers have no length and trailers behind.
async fn chunking() -> (Pod, Edge) {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
             5\r\nhello\r\n6\r\n world\r\n0\r\nx-sum: 11\r\n\r\n")
    })
    .await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    (pod, edge)
}

/// curl asks for and shows the trailers of a chunked answer on HTTP/1.1 and HTTP/2; to HTTP/1.0 the same body
/// ends with the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_curl_reads_trailers() {
    if !wanted("peers_curl_reads_trailers") {
        return;
    }
    let (_pod, edge) = chunking().await;
    let to = format!("{HOST}:80:{}", edge.http);
    let url = format!("http://{HOST}/");
    let rows = [("--http1.1", true), ("--http2-prior-knowledge", true), ("--http1.0", false)];
    for (version, trailers) in rows {
        let fixed = ["-sS", "-i", "-H", "TE: trailers", "--connect-to", &to, &url];
        let told = says("curl", &[&fixed[..], &[version]].concat()).await;
        assert!(told.contains("hello world"), "{version}: {told}");
        assert_eq!(told.contains("x-sum: 11"), trailers, "{version}: {told}");
    }
}

/// HEAD has no body, whatever the pod's length says; Expect is answered before the body is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_curl_heads_and_expects() {
    if !wanted("peers_curl_heads_and_expects") {
        return;
    }
    let secure = Secure::start().await;
    let url = format!("https://{HOST}/x");
    for version in ["--http1.1", "--http2"] {
        let told = secure.curl(&["-I", version, &url]).await;
        assert!(told.contains(" 200") && told.contains("content-length: "), "{version}: {told}");
    }
    let to = format!("{HOST}:443:{}", secure.edge.https);
    let ca = secure.file("ca.pem");
    let expect = ["-H", "Expect: 100-continue", "--expect100-timeout", "60", "-d", "body"];
    let fixed = ["-sS", "-v", "--http1.1", "--cacert", &ca, "--connect-to", &to, &url];
    let output = run("curl", &[&fixed[..], &expect].concat()).await;
    let heads = String::from_utf8_lossy(&output.stderr);
    assert!(heads.contains("< HTTP/1.1 100 Continue"), "{heads}");
    assert_eq!(output.stdout, b"body");
}

/// nghttp opens 60 streams at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_nghttp_opens_many_streams() {
    if !wanted("peers_nghttp_opens_many_streams") {
        return;
    }
    let (pod, edge) = chunking().await;
    let authority = format!(":authority: {HOST}");
    let url = format!("http://{}/", edge.http);
    let told = says("nghttp", &["-n", "-s", "-m", "60", "-H", &authority, &url]).await;
    let rows = told.lines().filter(|line| line.split_whitespace().any(|word| word == "200"));
    assert_eq!(rows.count(), 60, "{told}");
    assert_eq!(pod.attempts(), 60);
}

/// openssl with unusual hellos: those that wharf can serve are served, the others get an alert, and
/// both leave the next client alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_openssl_says_odd_hellos() {
    if !wanted("peers_openssl_says_odd_hellos") {
        return;
    }
    let secure = Secure::start().await;
    let address = secure.edge.https.to_string();
    let rows: [(&[&str], bool); 10] = [
        (&["-noservername"], true),
        (&["-servername", "nobody.example.net"], true),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], true),
        (&["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], true),
        (&["-groups", "P-384"], true),
        (&["-max_send_frag", "512"], true),
        (&["-no_ticket"], true),
        (&["-groups", "X448"], false),
        (&["-tls1_2", "-cipher", "AES128-SHA"], false),
        (&["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], false),
    ];
    let mut refused = 0;
    for (hello, served) in rows {
        let output = run("openssl", &[&["s_client", "-connect", &address], hello].concat()).await;
        assert_eq!(output.status.success(), served, "{hello:?}: {output:?}");
        refused += u64::from(!served);
        assert_eq!(secure.curl(&[&format!("https://{HOST}/")]).await, "GET / HTTP/1.1");
    }
    secure.edge.has_reasons(&[("tls_handshake", refused)]).await;
}
