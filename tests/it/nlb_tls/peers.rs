//! Real clients: openssl and curl. They run when `WHARF_PEERS=1`.

use super::{Balancer, Echo, NEWEST};
use crate::{
    harness::{
        pod::{Pod, ok},
        tls::{pair, rsa_pair},
    },
    peers::{run, wanted},
};

/// [NLB-19], [NLB-20] openssl sees the certificates and protocols that A.9 says.
#[tokio::test]
async fn openssl_sees_certificates_and_protocols() {
    if !wanted("openssl_sees_certificates_and_protocols") {
        return;
    }
    let (default, rsa, ecdsa) = (pair("default.test"), rsa_pair("a.test"), pair("a.test"));
    let pairs = [("default", &default), ("rsa", &rsa), ("ecdsa", &ecdsa)];
    let echo = Echo::start().await;
    let listener = format!("{NEWEST}, alpnPolicy: HTTP2Preferred");
    let balancer = Balancer::start(&pairs, &listener, "", echo.address).await;
    let to = balancer.address.to_string();
    for (options, expected) in [
        (
            &["-servername", "a.test", "-alpn", "http/1.1,h2"][..],
            &["ALPN protocol: h2", "ECDSA"][..],
        ),
        (&["-servername", "a.test", "-alpn", "spdy/3"], &["No ALPN negotiated", "ECDSA"]),
        (&["-servername", "a.test", "-sigalgs", "rsa_pss_rsae_sha256"], &["RSA"]),
        (&["-noservername", "-tls1_2"], &["TLSv1.2", "ECDHE-ECDSA-AES128-GCM-SHA256"]),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"],
            &["ECDHE-ECDSA-AES128-GCM-SHA256"],
        ),
    ] {
        let mut arguments = vec!["s_client", "-connect", &to];
        arguments.extend(options);
        let output = run("openssl", &arguments).await;
        let said = String::from_utf8_lossy(&output.stdout);
        for expected in expected {
            assert!(said.contains(expected), "{options:?}: no {expected} in\n{said}");
        }
    }
    let output = run("openssl", &["s_client", "-connect", &to, "-tls1_1"]).await;
    assert!(!output.status.success(), "TLS 1.1 is not served");
}

/// curl fetches through the load balancer from a target without TLS.
#[tokio::test]
async fn curl_fetches_through_a_tls_listener() {
    if !wanted("curl_fetches_through_a_tls_listener") {
        return;
    }
    let default = pair("default.test");
    let pod = Pod::start(|_| ok("from the pod")).await;
    let balancer = Balancer::start(&[("default", &default)], NEWEST, "", pod.address).await;
    let authority = balancer.files.path().join("default.pem");
    let resolve = format!("default.test:{}:127.0.0.1", balancer.address.port());
    let url = format!("https://default.test:{}/", balancer.address.port());
    let authority = authority.to_str().unwrap();
    let arguments = ["--silent", "--fail", "--cacert", authority, "--resolve", &resolve, &url];
    let output = run("curl", &arguments).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"from the pod");
}
