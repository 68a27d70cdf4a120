//! The samples in routes/, each served by what `wharf up` starts, and fit for the development CA.

mod dns;

use std::{collections::BTreeSet, sync::Arc};

use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::*;

/// Where each sample's requests go: host, path, by TLS, and the first words of the pod's answer.
const SAMPLES: &[(&str, &str, bool, &str)] = &[
    ("app-dev.example.com", "/", false, "pod: myservice-"),
    ("secure.example.com", "/", true, "pod: myservice-"),
    ("h2c.example.com", "/", false, "pod: streams-"),
    ("ingress.example.com", "/", true, "pod: myservice-"),
    ("ingress.example.com", "/api", true, "{\"pod\":\"canary-"),
    ("limited.example.com", "/", false, "pod: myservice-"),
    ("passthrough.example.com", "/", true, "pod: walled-"),
    ("path.example.com", "/", false, "pod: myservice-"),
    ("path.example.com", "/api", false, "{\"pod\":\"canary-"),
    ("reencrypt.example.com", "/", true, "pod: vault-"),
    ("rewrite.example.com", "/shop/cart", false, "GET /cart HTTP/1.1"),
    ("split.example.com", "/", false, "pod: "),
    ("timeout.example.com", "/", false, "pod: myservice-"),
    ("ws.example.com", "/", false, "pod: myservice-"),
];

/// A 127.N.0.0/16 for this test's pods alone, as long as the listener is there.
fn net() -> (u8, std::net::TcpListener) {
    let lock = |net| std::net::TcpListener::bind((Ipv4Addr::new(127, net, 255, 254), 4004));
    let free = (128..=u8::MAX).find_map(|net| Some((net, lock(net).ok()?)));
    free.expect("a free network")
}

/// A client that trusts the development CA and nothing else.
fn client(certs: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certs.join("ca.pem")).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config).into()
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, host: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end may come without a close_notify.
    let _end = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sample_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let options = UpOptions {
        manifests: vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("routes")],
        certs: folder.path().join("certs"),
        access_log: false,
        dns: Answering::default(),
    };
    let objects = certified(&options).unwrap();
    let hosts: BTreeSet<_> = objects.routes.iter().map(|it| it.object.spec.host.as_str()).collect();
    assert_eq!(hosts, SAMPLES.iter().map(|(host, ..)| *host).collect(), "each sample is here");
    let (net, _lock) = net();
    let plan = pods::plan(&objects, net);
    let (mut tasks, cancel) = (JoinSet::new(), CancellationToken::new());
    pods::start(&mut tasks, &plan.pods, &objects.secrets, &cancel).unwrap();
    // As one of the two, but straight to it: no load balancer, no fixed port.
    let settings = RouterSettings {
        admin: loopback(0),
        dns: None,
        proxy_protocol: false,
        ..settings(&options, PORTS, 0)
    };
    let router = router::start(settings, plan.objects).await.unwrap();
    router.ready(START).await.unwrap();
    let client = client(&options.certs);
    for &(host, path, secure, wanted) in SAMPLES {
        let port = if secure { router.https[0] } else { router.http[0] };
        let stream = TcpStream::connect(port).await.unwrap();
        let answer = if secure {
            // Verified against the CA, with the name: the pod's own certificate, too.
            let name = ServerName::try_from(host).unwrap();
            get(client.connect(name, stream).await.expect(host), host, path).await
        } else {
            get(stream, host, path).await
        };
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}{path}: {answer}");
        assert!(answer.contains(wanted), "{host}{path}: {answer}");
    }
    router.finish().await;
    cancel.cancel();
    while tasks.join_next().await.is_some() {}
}
