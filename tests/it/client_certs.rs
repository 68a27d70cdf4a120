//! Client certificates: who gets through the handshake, who is served, what pods are told
//! (spec/route.md 11.7), with the files changing below the running router.

use std::{io, path::PathBuf, sync::Arc};

use data_encoding::BASE64;
use rcgen::{DnType, DnValue};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
};
use wharf::{
    app::router,
    model::objects::Objects,
    settings::{RouterSettings, tls::ClientCertificates},
};

use crate::harness::{
    authority::{Authority, authority, replace},
    client::{Client, Response},
    eventually,
    http2::Http2,
    manifest::{app, edge, route, with_all},
    pod::{Pod, Seen},
    router::{Edge, settings},
    tls::{self, Hello, Identity, client, connect_with, hello, is_resumed},
};

const HOST: &str = "a.example.com";

/// A router that asks for certificates of `ca`, with a route of its own certificate, one of the
/// default's, and one without TLS.
struct Bed {
    edge: Edge,
    pod: Pod,
    ca: Authority,
    folder: TempDir,
}

fn ca_file(folder: &TempDir) -> PathBuf {
    folder.path().join("ca.pem")
}

fn crl_file(folder: &TempDir) -> PathBuf {
    folder.path().join("crl.pem")
}

impl Bed {
    async fn start(mode: ClientCertificates, change: impl FnOnce(&mut RouterSettings)) -> Self {
        Self::with(authority("ca", None), mode, change).await
    }

    async fn with(
        ca: Authority,
        mode: ClientCertificates,
        change: impl FnOnce(&mut RouterSettings),
    ) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        replace(&ca_file(&folder), &ca.pem);
        ca.write_list(&crl_file(&folder), &[66]);
        let pod = Pod::saying("served").await;
        let own = app(edge("a", HOST, Some(&tls::pair(HOST))), &[pod.address]);
        let default = app(edge("d", "d.example.com", None), &[pod.address]);
        let plain = app(route("p", "p.example.com"), &[pod.address]);
        let edge = Edge::with(&with_all([own, default, plain]), |settings| {
            settings.tls.client_certificates = mode;
            settings.tls.client_ca = Some(ca_file(&folder));
            change(settings);
        })
        .await;
        Self { edge, pod, ca, folder }
    }

    /// A GET by a client; an error when the router refused it at any point.
    async fn get(
        &self,
        client: &Arc<ClientConfig>,
        sni: Option<&'static str>,
        host: &str,
    ) -> io::Result<(Response, bool)> {
        let stream = connect_with(self.edge.https, sni, client).await?;
        let resumed = is_resumed(&stream);
        let mut client = Client::over(stream);
        // With TLS 1.3 a client learns of its refusal when it reads.
        let response = client.get(host, "/").await;
        // The tickets of TLS 1.3 came in front of the response.
        if response.line.is_empty() {
            Err(io::ErrorKind::ConnectionAborted.into())
        } else {
            Ok((response, resumed))
        }
    }

    /// The status that a client with `identity` gets; 0 when its handshake fails.
    async fn status(&self, hello: Hello, identity: Option<&Identity>) -> u16 {
        let client = client(hello, identity);
        let got = self.get(&client, hello.sni, hello.sni.unwrap_or("d.example.com")).await;
        got.map_or(0, |(response, _)| response.status())
    }

    fn last_seen(&self) -> Seen {
        self.pod.seen().last().cloned().expect("a request")
    }
}

/// HTTP/1.1 only, over either version.
fn plain_hello(sni: Option<&'static str>, tls12: bool) -> Hello {
    let version = if tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
    Hello { sni, alpn: &["http/1.1"], version }
}

/// [MTLS-1, MTLS-2], S-64: none, a good one and a bad one; with a route's certificate, the default one
/// and without a server name; on both versions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mtls_2_who_gets_through_the_handshake() {
    let stranger = authority("stranger", None).client("x", 1);
    for (mode, without) in [(ClientCertificates::Required, 0), (ClientCertificates::Optional, 200)]
    {
        let bed = Bed::start(mode, |_| {}).await;
        let good = bed.ca.client("good", 1);
        for sni in [Some(HOST), Some("d.example.com"), Some("A.Example.Com"), None] {
            for tls12 in [false, true] {
                let hello = plain_hello(sni, tls12);
                let shown = format!("{mode:?} {sni:?} {tls12}");
                assert_eq!(bed.status(hello, Some(&good)).await, 200, "{shown}");
                assert_eq!(bed.status(hello, None).await, without, "{shown}");
                assert_eq!(bed.status(hello, Some(&stranger)).await, 0, "{shown}");
            }
        }
        // Never on the plain port.
        assert_eq!(bed.edge.get("p.example.com", "/").await.status(), 200);
    }
}

/// [MTLS-3], [ORD-1]: 403 on every request, on either protocol, whatever host is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mtls_3_a_subject_that_does_not_match_gets_403() {
    let bed = Bed::start(ClientCertificates::Optional, |settings| {
        "^/CN=(?:good|better)$".clone_into(&mut settings.tls.client_filter);
    })
    .await;
    let (good, bad) = (bed.ca.client("good", 1), bed.ca.client("not so good", 2));
    let hello1 = plain_hello(Some(HOST), false);
    assert_eq!(bed.status(hello1, Some(&good)).await, 200);
    assert_eq!(bed.status(hello1, None).await, 403);
    let denied = client(hello1, Some(&bad));
    let stream = connect_with(bed.edge.https, Some(HOST), &denied).await.expect("a handshake");
    let mut client1 = Client::over(stream);
    for host in [HOST, "unknown.example.com", HOST] {
        assert_eq!(client1.get(host, "/").await.status(), 403, "{host}");
    }
    let over = client(hello(HOST), Some(&bad));
    let stream = connect_with(bed.edge.https, Some(HOST), &over).await.expect("a handshake");
    let mut http2 = Http2::over(stream).await;
    for _ in 0..2 {
        let reply = http2.get(&format!("https://{HOST}/")).await.expect("a response");
        assert_eq!(reply.status, 403);
    }
    bed.edge.has_reasons(&[("client_cert_denied", 6)]).await;
    assert_eq!(bed.pod.seen().len(), 1);
    // A request that is malformed is refused as such.
    client1.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(client1.response().await.status(), 400);
}

const FIELDS: [&str; 11] = [
    "x-ssl",
    "x-ssl-client-verify",
    "x-ssl-client-serial",
    "x-ssl-client-version",
    "x-ssl-client-sha1",
    "x-ssl-client-dn",
    "x-ssl-client-cn",
    "x-ssl-issuer",
    "x-ssl-client-notbefore",
    "x-ssl-client-notafter",
    "x-ssl-client-der",
];

/// [MTLS-5], spec/route.md 26.1: bare values, once each, whatever the client says itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mtls_5_pods_are_told_of_the_certificate() {
    let bed = Bed::start(ClientCertificates::Optional, |_| {}).await;
    let subject: [(DnType, DnValue); 3] = [
        (DnType::CountryName, "DE".into()),
        (DnType::OrganizationName, "A \"B\"\r\nX-Admin: 1".into()),
        (DnType::CommonName, "c".into()),
    ];
    let identity = bed.ca.client_with(&subject, 0xabc);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {HOST}\r\nX-SSL-Client-CN: root\r\nX_SSL_Client_DN: /CN=root\r\n\
         X-SSL-Client-Subject: root\r\nConnection: x-ssl-client-verify\r\n\r\n"
    );
    for tls12 in [false, true] {
        let client = client(plain_hello(Some(HOST), tls12), Some(&identity));
        // The second connection resumes.
        for nth in 0..2 {
            let stream = connect_with(bed.edge.https, Some(HOST), &client).await.expect("shaken");
            assert_eq!(is_resumed(&stream), nth == 1);
            let mut client = Client::over(stream);
            client.send(&request).await;
            assert_eq!(client.response().await.status(), 200);
            let seen = bed.last_seen();
            let values: Vec<Vec<&str>> = FIELDS.iter().map(|name| seen.all(name)).collect();
            let der = BASE64.encode(&identity.chain[0]);
            let (dn, sha1) = ("/C=DE/O=A \"B\"%0D%0AX-Admin: 1/CN=c", values[4][0].to_owned());
            assert_eq!(
                values,
                [
                    ["1"],
                    ["0"],
                    ["0ABC"],
                    ["3"],
                    [&*sha1],
                    [dn],
                    ["c"],
                    ["/CN=ca"],
                    ["260102000000Z"],
                    ["490304000000Z"],
                    [&*der]
                ]
            );
            assert_eq!(sha1.len(), 40);
            for absent in ["x_ssl_client_dn", "x-ssl-client-subject", "x-admin"] {
                assert_eq!(seen.all(absent), [""; 0], "{absent}");
            }
        }
    }
    let client = client(plain_hello(Some(HOST), false), None);
    assert_eq!(bed.get(&client, Some(HOST), HOST).await.expect("served").0.status(), 200);
    let seen = bed.last_seen();
    for (nth, name) in FIELDS.iter().enumerate() {
        assert_eq!(seen.all(name), [["1", "0", ""][nth.min(2)]], "{name}");
    }
}

/// [MTLS-5], S-55: on all frontends; the switch lets them pass, but not where clients are verified.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mtls_5_fields_of_clients_are_deleted_on_every_port() {
    let request =
        |host: &str| format!("GET / HTTP/1.1\r\nHost: {host}\r\nX-SSL-Issuer: me\r\n\r\n");
    let off = ClientCertificates::None;
    for (mode, filter, plain, secure) in [
        (off, true, vec![], vec![]),
        (off, false, vec!["me"], vec!["me"]),
        (ClientCertificates::Optional, true, vec![], vec![""]),
        (ClientCertificates::Optional, false, vec!["me"], vec![""]),
    ] {
        let bed = Bed::start(mode, |settings| settings.tls.client_header_filter = filter).await;
        let mut client = bed.edge.client().await;
        client.send(request("p.example.com")).await;
        assert_eq!(client.response().await.status(), 200);
        assert_eq!(bed.last_seen().all("x-ssl-issuer"), plain, "{mode:?} {filter}");
        let stream = tls::connect(bed.edge.https, plain_hello(Some(HOST), false)).await;
        let mut client = Client::over(stream.expect("a handshake"));
        client.send(request(HOST)).await;
        assert_eq!(client.response().await.status(), 200);
        assert_eq!(bed.last_seen().all("x-ssl-issuer"), secure, "{mode:?} {filter}");
    }
}

/// A certificate that does not fit into fields costs its own requests, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_does_not_fit_is_an_error_of_its_requests() {
    let bed = Bed::start(ClientCertificates::Required, |_| {}).await;
    let subject = [(DnType::CommonName, "x".repeat(9000).into())];
    let identity = bed.ca.client_with(&subject, 1);
    assert_eq!(bed.status(plain_hello(Some(HOST), false), Some(&identity)).await, 500);
    bed.edge.has_reasons(&[("rewrite_overflow", 1)]).await;
}

/// S-67, S-68: a new authority takes over at once, old tickets included; a bad file changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_67_tickets_end_with_the_authority_that_they_were_made_under() {
    let bed = Bed::start(ClientCertificates::Required, |_| {}).await;
    let old = bed.ca.client("old", 1);
    let next = authority("next", None);
    let new = next.client("new", 2);
    for tls12 in [false, true] {
        replace(&ca_file(&bed.folder), &bed.ca.pem);
        let hello = plain_hello(Some(HOST), tls12);
        let (with_old, with_new) = (client(hello, Some(&old)), client(hello, Some(&new)));
        eventually("the first authority", async || bed.get(&with_old, Some(HOST), HOST).await.ok())
            .await;
        let (_, resumed) = bed.get(&with_old, Some(HOST), HOST).await.expect("served");
        assert!(resumed);

        replace(&ca_file(&bed.folder), "broken");
        bed.edge
            .until("a finding", |snapshot| {
                snapshot.findings.iter().any(|finding| finding.code.number == 1090)
            })
            .await;
        let (_, resumed) = bed.get(&with_old, Some(HOST), HOST).await.expect("served");
        assert!(resumed, "nothing has changed");

        replace(&ca_file(&bed.folder), &next.pem);
        eventually("the next authority", async || bed.get(&with_new, Some(HOST), HOST).await.ok())
            .await;
        assert!(bed.get(&with_old, Some(HOST), HOST).await.is_err());
        assert!(bed.edge.router.live.load().findings.is_empty());
    }
}

/// [MTLS-4]: who is on the list fails, and so does who gets onto it, with a ticket or without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mtls_4_revoked_certificates_fail() {
    let folder = TempDir::new().expect("a temporary folder");
    let ca = authority("ca", None);
    let list = crl_file(&folder);
    ca.write_list(&list, &[66]);
    let path = list.clone();
    let bed = Bed::with(ca, ClientCertificates::Optional, |settings| {
        settings.tls.client_crl = Some(path);
    })
    .await;
    let hello = plain_hello(Some(HOST), false);
    let (good, bad) = (bed.ca.client("good", 65), bed.ca.client("bad", 66));
    let good = client(hello, Some(&good));
    assert!(bed.get(&good, Some(HOST), HOST).await.is_ok());
    assert_eq!(bed.status(hello, Some(&bad)).await, 0);
    assert!(bed.get(&good, Some(HOST), HOST).await.expect("served").1, "resumed");
    bed.ca.write_list(&list, &[65, 66]);
    eventually("the revocation", async || {
        bed.get(&good, Some(HOST), HOST).await.is_err().then_some(())
    })
    .await;
}

/// [MTLS-4]: lists come from where the authority says; until the first one is there every certificate
/// fails, and who has none is not concerned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mtls_4_lists_are_downloaded() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = format!("http://{}/ca.crl", listener.local_addr().expect("bound"));
    let ca = authority("ca", Some(&place));
    let list = ca.list(&[66]).der().to_vec();
    let (asked, permits) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (heard, may_answer) = (Arc::clone(&asked), Arc::clone(&permits));
    let server = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let size = stream.read(&mut head).await.unwrap_or(0);
            assert!(head[..size].starts_with(b"GET /ca.crl HTTP/1.1\r\n"));
            heard.add_permits(1);
            may_answer.acquire().await.expect("open").forget();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", list.len());
            stream.write_all(&[head.as_bytes(), &list].concat()).await.expect("taken");
        }
    });
    let bed = Bed::with(ca, ClientCertificates::Optional, |_| {}).await;
    let hello = plain_hello(Some(HOST), false);
    let (good, bad) = (bed.ca.client("good", 65), bed.ca.client("bad", 66));
    asked.acquire().await.expect("open").forget();
    assert_eq!(bed.status(hello, Some(&good)).await, 0);
    assert_eq!(bed.status(hello, None).await, 200);
    permits.add_permits(1);
    eventually("the list", async || (bed.status(hello, Some(&good)).await == 200).then_some(()))
        .await;
    assert_eq!(bed.status(hello, Some(&bad)).await, 0);
    server.abort();
}

/// S-68: a router that cannot tell who may come does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_68_without_a_usable_authority_there_is_no_router() {
    let folder = TempDir::new().expect("a temporary folder");
    let start = async |text: &str| {
        replace(&ca_file(&folder), text);
        let mut settings = settings();
        settings.manifests = vec![folder.path().join("manifests")];
        settings.tls.client_certificates = ClientCertificates::Optional;
        settings.tls.client_ca = Some(ca_file(&folder));
        router::start(settings, Objects::default()).await.map(drop)
    };
    for text in ["", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"] {
        let error = format!("{:#}", start(text).await.expect_err("nothing to trust"));
        assert!(error.contains("authorities of client certificates in"), "{error}");
    }
    start(&authority("ca", None).pem).await.expect("an authority");
}
