//! What is offered in a handshake, which sessions go on, and which hosts a connection is good for
//! (spec/route.md 11.2, S-62 to S-67).

use rustls::{CipherSuite, NamedGroup};
use wharf::{
    app::router,
    model::objects::Objects,
    settings::{
        RouterSettings,
        tls::{TlsSettings, TlsVersion},
    },
    tls::mint::Pair,
};

use crate::harness::{
    client::Client,
    http2::Http2,
    manifest::{With as _, app, edge, route, with_all},
    pod::Pod,
    router::{Edge, settings},
    tls::{self, Hello, chain, client, connect, connect_with, hello, is_resumed, pair, protocol},
};

const HOST: &str = "a.example.com";

const fn http1(sni: Option<&'static str>, tls12: bool) -> Hello {
    let version = if tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
    Hello { sni, alpn: &["http/1.1"], version }
}

/// A router with one route of its own certificate.
async fn start(change: impl FnOnce(&mut TlsSettings)) -> (Edge, Pod) {
    let pod = Pod::saying("served").await;
    let objects = app(edge("a", HOST, Some(&pair(HOST))), &[pod.address]);
    (Edge::with(&objects, |settings| change(&mut settings.tls)).await, pod)
}

/// [TLS-1], S-71: the versions between the bounds, and no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_only_the_versions_asked_for_are_spoken() {
    let rows = [
        (TlsVersion::V10, None, true, true),
        (TlsVersion::V13, None, false, true),
        (TlsVersion::V12, Some(TlsVersion::V12), true, false),
    ];
    for (min, max, has_12, has_13) in rows {
        let (edge, _pod) = start(|tls| (tls.min_version, tls.max_version) = (min, max)).await;
        for (tls12, expected) in [(true, has_12), (false, has_13)] {
            let outcome = connect(edge.https, http1(Some(HOST), tls12)).await;
            assert_eq!(outcome.is_ok(), expected, "{min:?} {max:?} {tls12}");
        }
    }
}

/// [TLS-1], decisions 14: our order or the user's, and the client's never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_suites_and_groups_follow_the_servers_order() {
    let default = (CipherSuite::TLS13_AES_128_GCM_SHA256, NamedGroup::X25519MLKEM768);
    let rows = [
        ("", "", default),
        (
            "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384",
            "secp384r1",
            (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, NamedGroup::secp384r1),
        ),
        (
            "TLS_AES_256_GCM_SHA384",
            "X25519:secp521r1",
            (CipherSuite::TLS13_AES_256_GCM_SHA384, NamedGroup::X25519),
        ),
    ];
    for (suites, curves, expected) in rows {
        let (edge, _pod) = start(|tls| {
            suites.clone_into(&mut tls.ciphersuites);
            curves.clone_into(&mut tls.curves);
        })
        .await;
        let stream = connect(edge.https, http1(Some(HOST), false)).await.expect("a handshake");
        let session = stream.get_ref().1;
        let suite = session.negotiated_cipher_suite().expect("chosen").suite();
        let group = session.negotiated_key_exchange_group().expect("chosen").name();
        assert_eq!((suite, group), expected);
    }
    let ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:AES128-SHA";
    let (edge, _pod) = start(|tls| ciphers.clone_into(&mut tls.ciphers)).await;
    let stream = connect(edge.https, http1(Some(HOST), true)).await.expect("a handshake");
    let suite = stream.get_ref().1.negotiated_cipher_suite().expect("chosen").suite();
    assert_eq!(suite, CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
}

/// [TLS-2, START-1]: the start stops with a sentence when nothing is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_2_nothing_to_offer_stops_the_start() {
    type Row = (fn(&mut TlsSettings), &'static str);
    let rows: [Row; 3] = [
        (|tls| "AES128-SHA".clone_into(&mut tls.ciphers), "ROUTER_CIPHERS=\"AES128-SHA\""),
        (|tls| "secp521r1".clone_into(&mut tls.curves), "ROUTER_CURVES=\"secp521r1\""),
        (|tls| tls.max_version = Some(TlsVersion::V11), "SSL_MAX_VERSION"),
    ];
    for (change, word) in rows {
        let mut settings = settings();
        change(&mut settings.tls);
        let error = router::start(settings, Objects::default()).await.expect_err("nothing left");
        assert!(format!("{error:#}").contains(word), "{error:#}");
    }
}

/// One exchange; true when the session was resumed. The tickets come before the response.
async fn exchange(
    edge: &Edge,
    sni: Option<&'static str>,
    client: &std::sync::Arc<rustls::ClientConfig>,
) -> bool {
    let stream = connect_with(edge.https, sni, client).await.expect("a handshake");
    let resumed = is_resumed(&stream);
    assert_eq!(Client::over(stream).get(HOST, "/").await.status(), 200);
    resumed
}

/// [TLS-3], S-67: by any worker, through changes of the configuration and of the certificate, and only
/// under the name that the session began with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_67_sessions_are_resumed_under_their_own_name() {
    let pod = Pod::saying("served").await;
    let objects = |pair: &Pair| {
        let a = app(edge("a", HOST, Some(pair)), &[pod.address]);
        with_all([a, app(edge("b", "b.example.com", None), &[pod.address])])
    };
    let edge = Edge::start(&objects(&pair(HOST))).await;
    for tls12 in [false, true] {
        let client = client(http1(Some(HOST), tls12), None);
        assert!(!exchange(&edge, Some(HOST), &client).await);
        // As many as make it sure that both workers had one.
        for _ in 0..8 {
            assert!(exchange(&edge, Some(HOST), &client).await, "{tls12}");
        }
        let before = edge.router.live.load().generation;
        edge.write("main.yaml", &objects(&pair(HOST)));
        edge.until("a new snapshot", |snapshot| snapshot.generation > before).await;
        assert!(exchange(&edge, Some(HOST), &client).await, "{tls12}");
        assert!(!exchange(&edge, Some("b.example.com"), &client).await, "{tls12}");
        assert!(exchange(&edge, Some("b.example.com"), &client).await, "{tls12}");
    }
}

/// [ALPN-1], S-66: a protocol that is not spoken ends the handshake wherever a protocol is chosen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_66_unknown_protocols_are_refused() {
    let (edge, _pod) = start(|_| {}).await;
    let with = |sni, alpn| Hello { sni: Some(sni), alpn, version: &rustls::version::TLS13 };
    let refused = connect(edge.https, with(HOST, &["ftp"])).await.expect_err("refused");
    assert!(format!("{refused:?}").contains("NoApplicationProtocol"), "{refused:?}");
    let chosen = connect(edge.https, with(HOST, &["ftp", "http/1.1"])).await.expect("a handshake");
    assert_eq!(protocol(&chosen).as_deref(), Some("http/1.1"));
    // The default certificate has no protocols, and then there is nothing to choose.
    let none = connect(edge.https, with("b.example.com", &["ftp"])).await.expect("a handshake");
    assert_eq!(protocol(&none), None);
    edge.has_reasons(&[("tls_handshake", 1)]).await;
}

/// Routes whose hosts have: an own certificate, another own one, a shared one, the default one, the one
/// of a wildcard, and one that goes to the pod as it is.
fn hosts(pod: &Pod, own: &Pair) -> Vec<serde_json::Value> {
    let (other, shared, wild) = (pair("o.example.com"), pair("s.example.com"), pair("*.w.test"));
    let wildcard = edge("w", "any.w.test", Some(&wild)).with("/spec/wildcardPolicy", "Subdomain");
    let routes = [
        edge("a", HOST, Some(own)),
        edge("o", "o.example.com", Some(&other)),
        edge("s", "s.example.com", Some(&shared)),
        edge("t", "t.example.com", Some(&shared)),
        edge("d", "d.example.com", None),
        edge("e", "e.example.com", None),
        wildcard,
        edge("x", "x.w.test", Some(&pair("x.w.test"))).with("/spec/path", "/only"),
        route("n", "n.example.com").with("/spec/tls/termination", "passthrough"),
        route("p", "p.example.com"),
    ];
    with_all(routes.map(|route| app(route, &[pod.address])))
}

async fn everywhere(on: bool) -> (Edge, Pod, Pair) {
    let (pod, own) = (Pod::saying("served").await, pair(HOST));
    let edge = Edge::with(&hosts(&pod, &own), |settings: &mut RouterSettings| {
        settings.tls.http2_everywhere = on;
        settings.allow_wildcard_routes = true;
    })
    .await;
    (edge, pod, own)
}

/// [ALPN-1]: HTTP/2 with every certificate, or only where one route alone has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alpn_1_http2_everywhere_is_a_switch() {
    for on in [false, true] {
        let (edge, _pod, _) = everywhere(on).await;
        for (sni, alone) in [
            (Some(HOST), true),
            (Some("s.example.com"), false),
            (Some("d.example.com"), false),
            (Some("unknown.example.com"), false),
            (None, false),
        ] {
            let stream = connect(edge.https, Hello { sni, ..hello(HOST) }).await;
            let chosen = protocol(&stream.expect("a handshake"));
            assert_eq!(chosen.as_deref() == Some("h2"), on || alone, "{on} {sni:?}");
        }
    }
}

/// The status of a request for `host` on a connection that was opened for `sni`.
async fn status(edge: &Edge, sni: Option<&'static str>, host: &str, http2: bool) -> u16 {
    let (host, path) = host.split_once('/').unwrap_or((host, ""));
    let alpn: &[&str] = if http2 { &["h2"] } else { &["http/1.1"] };
    let hello = Hello { sni, alpn, version: &rustls::version::TLS13 };
    let stream = connect(edge.https, hello).await.expect("a handshake");
    if http2 {
        let reply = Http2::over(stream).await.get(&format!("https://{host}/{path}")).await;
        return reply.expect("a response").status.as_u16();
    }
    Client::over(stream).get(host, &format!("/{path}")).await.status()
}

/// S-63: a host whose certificate is not the connection's gets 421, and whoever is not known the page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_63_hosts_of_another_certificate_are_misdirected() {
    let (edge, _pod, _) = everywhere(true).await;
    let rows: &[(Option<&'static str>, &str, u16)] = &[
        (Some(HOST), HOST, 200),
        (Some(HOST), "A.example.com.:8443", 200),
        (Some(HOST), "o.example.com", 421),
        (Some(HOST), "d.example.com", 421),
        (Some("s.example.com"), "t.example.com", 200),
        (Some("d.example.com"), "e.example.com", 200),
        (Some("d.example.com"), HOST, 421),
        (Some("unknown.example.com"), "d.example.com", 200),
        (None, "d.example.com", 200),
        (None, HOST, 421),
        (Some("y.w.test"), "z.w.test", 200),
        (Some("y.w.test"), "x.w.test/only", 421),
        // Served by the wildcard route, but x.w.test has a certificate of its own.
        (Some("y.w.test"), "x.w.test/else", 421),
        (Some("x.w.test"), "x.w.test/else", 200),
        // Its TLS is not for the router to end.
        (Some(HOST), "n.example.com", 421),
        (Some("d.example.com"), "n.example.com", 421),
        (Some("x.w.test"), "x.w.test/only", 200),
        (Some(HOST), "unknown.example.com", 503),
        (Some(HOST), "y.z.w.test", 503),
    ];
    for http2 in [false, true] {
        for (sni, host, expected) in rows {
            let shown = format!("{sni:?} {host} {http2}");
            assert_eq!(status(&edge, *sni, host, http2).await, *expected, "{shown}");
        }
    }
    edge.has_reasons(&[("no_route", 4), ("misdirected", 16)]).await;
    // A connection without TLS shows no certificate.
    assert_eq!(edge.get("p.example.com", "/").await.status(), 200);
}

/// [MATCH-15]: without the switch any host is served on any connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_15_by_default_only_the_host_counts() {
    let (edge, _pod, _) = everywhere(false).await;
    for (sni, host) in [
        (Some(HOST), "o.example.com"),
        (Some(HOST), "d.example.com"),
        (None, HOST),
        (Some("unknown.example.com"), HOST),
        (Some("y.w.test"), "x.w.test/only"),
    ] {
        assert_eq!(status(&edge, sni, host, false).await, 200, "{sni:?} {host}");
    }
    assert_eq!(status(&edge, Some(HOST), "o.example.com", true).await, 200);
}

/// S-63, [CERT-7]: renewing a certificate misdirects nobody; moving a host to another one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_63_a_renewed_certificate_disturbs_no_connection() {
    let (edge, pod, own) = everywhere(true).await;
    let open =
        async |sni| Http2::over(connect(edge.https, hello(sni)).await.expect("a handshake")).await;
    let (mut of_own, mut of_wild) = (open(HOST).await, open("y.w.test").await);
    let before = edge.router.live.load().generation;
    let renewed = pair(HOST);
    edge.write("main.yaml", &hosts(&pod, &renewed));
    edge.until("a new snapshot", |snapshot| snapshot.generation > before).await;
    let stream = connect(edge.https, hello(HOST)).await.expect("a handshake");
    assert_ne!(chain(&stream), tls::certificates(&own.cert_pem), "it was renewed");
    for (is_own, url) in [
        (true, "https://a.example.com/"),
        (false, "https://y.w.test/"),
        (false, "https://z.w.test/"),
    ] {
        let http2 = if is_own { &mut of_own } else { &mut of_wild };
        assert_eq!(http2.get(url).await.expect("a response").status, 200, "{url}");
    }
}
