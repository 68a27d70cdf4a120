//! Certificates as clients see them: who gets which, what happens when one changes, and that nothing
//! fails meanwhile.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use rustls::{AlertDescription, version};
use serde_json::Value;
use tempfile::TempDir;
use wharf::{model::finding::codes, settings::DefaultCert, snapshot::Snapshot, tls::mint::Pair};

use crate::harness::{
    client::Client,
    eventually,
    manifest::{With as _, edge, route, secret, service},
    pod::Pod,
    router::Edge,
    tls::{self, Hello, certificates, chain, hello, pair, rsa_pair},
};

/// A pod, and the Service `a` in front of it.
async fn pod_a() -> (Pod, Vec<Value>) {
    let pod = Pod::saying("pod").await;
    let objects = service("a", &[pod.address]);
    (pod, objects)
}

fn to_a(route: Value) -> Value {
    route.with("/spec/to/name", "a")
}

/// An edge route whose certificate is the Secret `s`.
fn external(name: &str, host: &str) -> Value {
    to_a(edge(name, host, None)).with("/spec/tls/externalCertificate/name", "s")
}

async fn leaf(edge: &Edge, sni: Option<&'static str>) -> Vec<u8> {
    let stream =
        tls::connect(edge.https, Hello { sni, ..hello("unused") }).await.expect("a handshake");
    chain(&stream)[0].to_vec()
}

fn der(pair: &Pair) -> Vec<u8> {
    certificates(&pair.cert_pem)[0].to_vec()
}

/// Waits until `sni` gets the certificate of `pair`.
async fn serves(edge: &Edge, sni: &'static str, pair: &Pair) {
    let wanted = der(pair);
    eventually("the certificate", async || (leaf(edge, Some(sni)).await == wanted).then_some(()))
        .await;
}

/// [CERT-3]: of two certificates of one host each client gets the one of the key type that it takes,
/// whatever the version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cert_3_the_key_type_follows_the_client() {
    let (_pod, mut objects) = pod_a().await;
    let (ecdsa, rsa) = (pair("shop"), rsa_pair("shop"));
    let shop = |name, pair, path| {
        to_a(edge(name, "shop.example.com", Some(pair))).with("/spec/path", path)
    };
    objects.extend([shop("one", &ecdsa, "/e"), shop("two", &rsa, "/r")]);
    let edge = Edge::start(&objects).await;
    for version in [&version::TLS12, &version::TLS13] {
        let hello = Hello { version, ..hello("shop.example.com") };
        let modern = tls::connect(edge.https, hello).await.unwrap();
        assert_eq!(chain(&modern), certificates(&ecdsa.cert_pem), "{version:?}");
        let old = tls::connect_rsa(edge.https, hello).await.unwrap();
        assert_eq!(chain(&old), certificates(&rsa.cert_pem), "{version:?}");
    }
    edge.finish().await;
}

/// [CERT-5, CERT-6] with 26.1: with strict SNI a name is known if a certificate is kept for it or the
/// default one covers it; a route without a certificate makes no name known. The refusal is an alert.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cert_5_strict_sni_refuses_unknown_names() {
    let (_pod, mut objects) = pod_a().await;
    let (own, default) = (pair("own"), pair("*.apps.example.org"));
    objects.extend([
        to_a(edge("own", "own.example.com", Some(&own))),
        to_a(edge("bare", "bare.example.com", None)),
        to_a(edge("covered", "covered.apps.example.org", None)),
    ]);
    let text = format!("{}{}", default.cert_pem, default.key_pem);
    let edge = Edge::with(&objects, |settings| {
        settings.strict_sni = true;
        settings.default_cert = Some(DefaultCert::Text(text));
    })
    .await;
    for (sni, pair) in [
        (Some("own.example.com"), &own),
        (Some("covered.apps.example.org"), &default),
        (Some("other.apps.example.org"), &default),
        (None, &default),
    ] {
        assert_eq!(leaf(&edge, sni).await, der(pair), "{sni:?}");
    }
    for sni in ["bare.example.com", "unknown.example.net"] {
        let error = tls::connect(edge.https, hello(sni)).await.unwrap_err();
        let alert = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let wanted = rustls::Error::AlertReceived(AlertDescription::UnrecognisedName);
        assert_eq!(alert, Some(&wanted), "{sni}");
    }
    edge.has_reasons(&[("tls_handshake", 2)]).await;
    edge.finish().await;
}

/// [XV-1, XV-9], row 37 of the register: a certificate that cannot be served costs its own route, and
/// the others take every later change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_certificate_costs_one_route() {
    let (_pod, mut objects) = pod_a().await;
    let (good, other) = (pair("elsewhere.example.org"), pair("other"));
    let mixed = Pair { cert_pem: good.cert_pem.clone(), key_pem: other.key_pem.clone() };
    objects.push(to_a(edge("bad", "bad.example.com", Some(&mixed))));
    objects.push(to_a(edge("good", "good.example.com", Some(&good))));
    let edge = Edge::start(&objects).await;
    assert!(edge.route("bad", |state| state.compiled.is_none()));
    serves(&edge, "good.example.com", &good).await;
    *objects.last_mut().unwrap() =
        to_a(crate::harness::manifest::edge("good", "good.example.com", Some(&other)));
    edge.write("main.yaml", &objects);
    serves(&edge, "good.example.com", &other).await;
    edge.finish().await;
}

/// [EXT-4..6] with 26.3, on files: a Secret that comes first admits its routes, an update is served, a
/// deletion withdraws them, a return admits them again; one that turns bad leaves the last pair in
/// force (decisions 4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ext_a_secret_comes_changes_goes_and_returns() {
    let (_pod, mut objects) = pod_a().await;
    objects.extend([external("x", "x.example.com"), external("y", "y.example.com")]);
    let edge = Edge::start(&objects).await;
    let withdrawn = async || {
        edge.until("both routes to go", |snapshot| {
            snapshot.routes.iter().all(|state| state.compiled.is_none())
        })
        .await;
    };
    withdrawn().await;
    let (one, two, three) = (pair("one"), pair("two"), pair("three"));
    edge.write("secret.yaml", &[secret("s", &one)]);
    serves(&edge, "x.example.com", &one).await;
    serves(&edge, "y.example.com", &one).await;
    edge.write("secret.yaml", &[secret("s", &two)]);
    serves(&edge, "x.example.com", &two).await;
    let mixed = Pair { cert_pem: one.cert_pem.clone(), key_pem: two.key_pem.clone() };
    edge.write("secret.yaml", &[secret("s", &mixed)]);
    edge.until("the finding", |snapshot| !snapshot.findings.is_empty()).await;
    assert_eq!(leaf(&edge, Some("x.example.com")).await, der(&two));
    edge.remove("secret.yaml");
    withdrawn().await;
    edge.write("secret.yaml", &[secret("s", &three)]);
    serves(&edge, "y.example.com", &three).await;
    edge.finish().await;
}

/// Puts a pair into a folder as the kubelet does: files in a folder of their own, and a link that is
/// renamed.
fn mount(folder: &Path, version: &str, pair: &Pair) {
    let inner = folder.join(version);
    std::fs::create_dir(&inner).expect("the folder is writable");
    std::fs::write(inner.join("tls.crt"), &pair.cert_pem).expect("the folder is writable");
    std::fs::write(inner.join("tls.key"), &pair.key_pem).expect("the folder is writable");
    let draft = folder.join("..data_tmp");
    std::os::unix::fs::symlink(version, &draft).expect("the folder is writable");
    std::fs::rename(&draft, folder.join("..data")).expect("the folder is writable");
}

/// [DCERT-1]: a folder is followed through its `..data` link, a bad update leaves the old certificate,
/// and a good one after it is taken. Connections that are there go on [CERT-7].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dcert_1_a_folder_is_followed() {
    let (_pod, mut objects) = pod_a().await;
    objects.push(to_a(edge("r", "r.example.com", None)));
    let folder = TempDir::new().unwrap();
    let (one, two, three) = (pair("one"), pair("two"), pair("three"));
    mount(folder.path(), "..1", &one);
    for file in ["tls.crt", "tls.key"] {
        std::os::unix::fs::symlink(format!("..data/{file}"), folder.path().join(file)).unwrap();
    }
    let path = DefaultCert::Path(folder.path().to_owned());
    let edge = Edge::with(&objects, |settings| settings.default_cert = Some(path)).await;
    assert_eq!(leaf(&edge, Some("r.example.com")).await, der(&one));
    let before = tls::connect(edge.https, Hello { alpn: &[], ..hello("r.example.com") }).await;
    let mut before = Client::over(before.unwrap());
    mount(folder.path(), "..2", &two);
    serves(&edge, "r.example.com", &two).await;
    let mixed = Pair { cert_pem: three.cert_pem.clone(), key_pem: two.key_pem.clone() };
    mount(folder.path(), "..3", &mixed);
    let is_told = |snapshot: &Snapshot| {
        snapshot.findings.iter().any(|finding| finding.code == codes::BAD_DEFAULT_CERTIFICATE)
    };
    edge.until("the bad pair to be told", is_told).await;
    assert_eq!(leaf(&edge, Some("r.example.com")).await, der(&two));
    mount(folder.path(), "..4", &three);
    serves(&edge, "r.example.com", &three).await;
    edge.until("nothing to be wrong", |snapshot| !is_told(snapshot)).await;
    assert_eq!(before.get("r.example.com", "/").await.text(), "pod");
    edge.finish().await;
}

/// [DCERT-1]: `tls.key` is read only if `tls.crt` has no key, and a file may hold both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dcert_1_the_key_may_stand_with_the_certificate() {
    let (_pod, mut objects) = pod_a().await;
    objects.push(to_a(route("r", "r.example.com")));
    let folder = TempDir::new().unwrap();
    let one = pair("one");
    let both = format!("{}{}", one.cert_pem, one.key_pem);
    std::fs::write(folder.path().join("tls.crt"), &both).unwrap();
    std::fs::write(folder.path().join("tls.key"), "nonsense").unwrap();
    for path in [folder.path().to_owned(), folder.path().join("tls.crt")] {
        let path = DefaultCert::Path(path);
        let edge = Edge::with(&objects, |settings| settings.default_cert = Some(path)).await;
        assert_eq!(leaf(&edge, None).await, der(&one));
        edge.finish().await;
    }
}

/// [CERT-7]: while Secrets and inline certificates change, every handshake and every request succeeds,
/// and every handshake gets one of the certificates.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn cert_7_rotation_fails_nobody() {
    let (_pod, objects) = pod_a().await;
    let pairs: Arc<[Pair]> = (0..4).map(|number| pair(&format!("number {number}"))).collect();
    let files = |number: usize| {
        let mut all = objects.clone();
        let own = &pairs[number % pairs.len()];
        let inline = to_a(edge("inline", "inline.example.com", Some(own)));
        all.extend([external("x", "x.example.com"), inline, secret("s", own)]);
        all
    };
    let edge = Edge::start(&files(0)).await;
    let (done, handshakes) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for host in ["x.example.com", "inline.example.com"] {
        let (done, handshakes) = (Arc::clone(&done), Arc::clone(&handshakes));
        let (address, pairs) = (edge.https, Arc::clone(&pairs));
        clients.spawn(async move {
            let known: Vec<_> = pairs.iter().map(der).collect();
            let plain = Hello { alpn: &[], ..hello(host) };
            let mut kept = Client::over(tls::connect(address, plain).await.unwrap());
            while !done.load(SeqCst) {
                let stream = tls::connect(address, plain).await.expect("a handshake");
                assert!(known.contains(&chain(&stream)[0].to_vec()));
                assert_eq!(Client::over(stream).get(host, "/").await.text(), "pod");
                assert_eq!(kept.get(host, "/").await.text(), "pod");
                handshakes.fetch_add(1, SeqCst);
            }
        });
    }
    for number in 1..=20 {
        edge.write("main.yaml", &files(number));
        let wanted = &pairs[number % pairs.len()];
        serves(&edge, "x.example.com", wanted).await;
        serves(&edge, "inline.example.com", wanted).await;
    }
    done.store(true, SeqCst);
    while let Some(outcome) = clients.join_next().await {
        outcome.expect("no handshake and no request failed");
    }
    assert!(handshakes.load(SeqCst) > 0);
    edge.finish().await;
}
