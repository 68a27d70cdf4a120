//! Strict-Transport-Security by annotation (spec/route.md 14.9), for each kind of route and client.

use crate::harness::{
    client::Client,
    http2::Http2,
    manifest::{With as _, app, edge, reencrypt, route, with_all},
    pod::{Pod, raw},
    router::Edge,
    tls::{self, connect, hello},
    tlspod::TlsPod,
};

const NAME: &str = "haproxy.router.openshift.io/hsts_header";
const FIELD: &str = "strict-transport-security";

/// [HSTS-2, HSTS-3] The value goes out byte for byte in place of the pod's, over either port and version.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hsts_3_the_routes_value_replaces_the_pods() {
    let pod = Pod::start(|_| {
        raw("HTTP/1.1 200 OK\r\nStrict-Transport-Security: max-age=0\r\n\
             strict-transport-security: max-age=2\r\ncontent-length: 0\r\n\r\n")
    })
    .await;
    let host = "a.example.com";
    let value = "max-age=99999 ;  includesubdomains;  PREload";
    let both = edge("a", host, Some(&tls::pair(host)))
        .annotated(NAME, value)
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
    // A route without TLS, one with a value that is none, and one without any leave the pod's alone.
    let plain = route("p", "p.example.com").annotated(NAME, value);
    let invalid = edge("i", "i.example.com", None)
        .annotated(NAME, "max-age=1;")
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
    let bed = Edge::start(&with_all([
        app(both, &[pod.address]),
        app(plain, &[pod.address]),
        app(invalid, &[pod.address]),
    ]))
    .await;
    let all = |headers: &[(String, String)]| -> Vec<String> {
        let fields = headers.iter().filter(|(name, _)| name == FIELD);
        fields.map(|(_, value)| value.clone()).collect()
    };
    let over_plain = bed.get(host, "/").await;
    assert_eq!(all(&over_plain.headers), [value]);
    let hello1 = tls::Hello { alpn: &["http/1.1"], ..hello(host) };
    let over_tls = Client::over(connect(bed.https, hello1).await.unwrap()).get(host, "/").await;
    assert_eq!(all(&over_tls.headers), [value]);
    let mut http2 = Http2::over(connect(bed.https, hello(host)).await.unwrap()).await;
    let over_http2 = http2.get(&format!("https://{host}/")).await.unwrap();
    let values: Vec<_> = over_http2.headers.get_all(FIELD).iter().collect();
    assert_eq!(values, [value]);
    for host in ["p.example.com", "i.example.com"] {
        assert_eq!(all(&bed.get(host, "/").await.headers), ["max-age=0", "max-age=2"], "{host}");
    }
}

/// [HSTS-3] Reencrypt as edge; and not on what the router answers itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hsts_3_reencrypt_has_it_and_the_routers_own_answers_have_not() {
    let ours = tls::authority("ours");
    let pod =
        TlsPod::telling(tls::server(&tls::leaf(&ours, "somewhere.test"), &["http/1.1"])).await;
    let named = |name: &str, host: &str| {
        reencrypt(name, host, Some(&ours.pair().cert_pem)).annotated(NAME, "max-age=1;preload")
    };
    let bed = Edge::start(&with_all([
        app(
            named("r", "r.example.com").with("/spec/tls/insecureEdgeTerminationPolicy", "Redirect"),
            &[pod.address],
        ),
        app(named("none", "none.example.com"), &[]),
    ]))
    .await;
    let over_tls = async |host: &'static str| {
        Client::over(connect(bed.https, hello(host)).await.unwrap()).get(host, "/").await
    };
    let served = over_tls("r.example.com").await;
    assert_eq!((served.status(), served.header(FIELD)), (200, Some("max-age=1;preload")));
    let redirect = bed.get("r.example.com", "/").await;
    assert_eq!((redirect.status(), redirect.header(FIELD)), (302, None));
    let page = over_tls("none.example.com").await;
    assert_eq!((page.status(), page.header(FIELD)), (503, None));
}
