//! Whose certificates pass, and what happens when one does not.

use std::{fs, time::Duration};

use wharf::{snapshot::Snapshot, upstream::peer::Peer};

use super::{BOTH, HOST, OLD, allow, authority, objects, over, pem, shown, with};
use crate::harness::{
    client::Client,
    eventually,
    manifest::{With as _, app, edge, reencrypt, service},
    pod,
    router::Edge,
    tls,
    tlspod::{Opening, Shaken, TlsPod},
};

/// Asks for `host` on the plain port.
async fn status(edge: &Edge, host: &str) -> u16 {
    edge.get(host, "/").await.status()
}

fn peers(snapshot: &Snapshot, route: &str) -> Vec<std::sync::Arc<Peer>> {
    let state = snapshot.routes.iter().find(|state| &*state.source.key.name == route);
    let compiled = state.and_then(|state| state.compiled.as_ref()).expect("it is served");
    compiled.backend.servers.iter().map(|server| std::sync::Arc::clone(&server.peer)).collect()
}

/// [REENC-1] [REENC-4], S-70: with a CA the chain counts, whatever the names are. What does not pass is
/// tried as often as a connection that fails, and is a 503 with its own reason and count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reenc_1_the_chain_counts_and_no_name() {
    let (ours, theirs) = (authority(), tls::authority("others"));
    let own = tls::pair("own.test");
    let rows = [
        ("ours", tls::leaf(&ours, "somewhere.test"), ours.pair().cert_pem.clone(), 200),
        ("self-signed", own.clone(), own.cert_pem.clone(), 200),
        ("wrong-ca", tls::leaf(&theirs, HOST), ours.pair().cert_pem.clone(), 503),
        ("expired", tls::expired(&ours, HOST), ours.pair().cert_pem.clone(), 503),
        ("another-self", tls::pair("own.test"), own.cert_pem.clone(), 503),
    ];
    let mut all = Vec::new();
    let mut pods = Vec::new();
    for (name, pair, ca, _) in &rows {
        let pod = TlsPod::telling(tls::server(pair, BOTH)).await;
        let host = format!("{name}.example.com");
        let route = allow(reencrypt(name, &host, Some(ca)));
        all.extend(app(route, &[pod.address]));
        pods.push(pod);
    }
    let edge = over(&all).await;
    let asked: Vec<_> = rows
        .iter()
        .map(|(name, ..)| {
            let (http, host) = (edge.http, format!("{name}.example.com"));
            tokio::spawn(async move { Client::connect(http).await.get(&host, "/").await.status() })
        })
        .collect();
    for ((name, _, _, wanted), asked) in rows.iter().zip(asked) {
        assert_eq!(asked.await.unwrap(), *wanted, "{name}");
    }
    for ((name, _, _, wanted), pod) in rows.iter().zip(&pods) {
        let (connections, seen) = (pod.connections(), pod.http2.attempts());
        let expected = if *wanted == 200 { (1, 1) } else { (4, 0) };
        assert_eq!((connections, seen), expected, "{name}");
    }
    edge.has_reasons(&[("tls_verify_failed", 3)]).await;
    let refused = edge.router.stats.workers.sum(|cell| &cell.pod_certificates_refused);
    assert_eq!(refused, 12);
    assert_eq!(edge.count("wrong-ca", |counters| &counters.connection_errors), 4);
}

/// [REENC-2]: without a CA of its own a route trusts the service CA, for the service's name; the file
/// is read again when it changes, and the route's own CA wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reenc_2_the_service_ca_counts_with_the_services_name() {
    let (ours, later) = (authority(), tls::authority("later"));
    let good = TlsPod::telling(tls::server(&tls::leaf(&ours, "a.app.svc"), OLD)).await;
    let misnamed = TlsPod::telling(tls::server(&tls::leaf(&ours, "x.app.svc"), OLD)).await;
    let own = TlsPod::telling(tls::server(&tls::leaf(&later, "x.app.svc"), OLD)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("service-ca.crt");
    fs::write(&path, &ours.pair().cert_pem).unwrap();
    let all = [
        app(allow(reencrypt("a", HOST, None)), &[good.address]),
        app(allow(reencrypt("b", "b.example.com", None)), &[misnamed.address]),
        app(allow(reencrypt("c", "c.example.com", pem(&later))), &[own.address]),
    ]
    .concat();
    let edge = with(&all, |settings| settings.destination_ca = Some(path.clone())).await;
    let ask = |host: &'static str| status(&edge, host);
    let all = tokio::join!(ask(HOST), ask("b.example.com"), ask("c.example.com"));
    assert_eq!(all, (200, 503, 200));
    assert!(edge.router.live.load().findings.is_empty());

    let before = edge.router.live.load().generation;
    let draft = folder.path().join("draft");
    fs::write(&draft, &later.pair().cert_pem).unwrap();
    fs::rename(&draft, &path).unwrap();
    edge.until("the new CA", |snapshot| snapshot.generation > before).await;
    assert_eq!(status(&edge, HOST).await, 503, "the open connection is not used any more");
    assert_eq!(status(&edge, "c.example.com").await, 200);

    // A file that is gone or broken opens nothing.
    let before = edge.router.live.load().generation;
    fs::remove_file(&path).unwrap();
    edge.until("the finding", |snapshot| snapshot.generation > before).await;
    let codes: Vec<u16> =
        edge.router.live.load().findings.iter().map(|finding| finding.code.number).collect();
    assert_eq!(codes, [1100]);
    assert_eq!(status(&edge, HOST).await, 503);
}

/// [REENC-3]: without any CA whatever the pod shows is good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reenc_3_without_any_ca_nothing_is_verified() {
    let pod = TlsPod::telling(tls::server(&tls::expired(&authority(), "x.test"), BOTH)).await;
    let edge = over(&app(allow(reencrypt("a", HOST, None)), &[pod.address])).await;
    assert_eq!(edge.get(HOST, "/").await.text(), "h2 1 1");
    let live = edge.router.live.load();
    let codes: Vec<u16> = live.findings.iter().map(|finding| finding.code.number).collect();
    assert_eq!(codes, [2100], "and somebody is told");
}

/// [REENC-4]: no name is sent and no certificate presented, also where the pod asks; a setting sends
/// the service's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reenc_4_the_router_says_nothing_of_itself() {
    let ours = authority();
    let config = tls::curious(&tls::leaf(&ours, "x.test"), BOTH, &ours);
    for (sends, sni) in [(false, None), (true, Some("a.app.svc".to_owned()))] {
        let pod = TlsPod::telling(config.clone()).await;
        let edge = with(&objects(&ours, &[&pod]), |settings| settings.reencrypt_sni = sends).await;
        assert_eq!(status(&edge, HOST).await, 200);
        let alpn = Some("h2".to_owned());
        assert_eq!(pod.shaken(), [Shaken { sni, alpn, resumed: false, identified: false }]);
    }
}

/// [REENC-5]: checks verify as requests do, so that a pod that nobody trusts gets none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reenc_5_checks_do_the_handshake() {
    let ours = authority();
    let good = TlsPod::telling(shown(&ours, OLD)).await;
    let bad = TlsPod::telling(shown(&tls::authority("others"), OLD)).await;
    let plain = pod::Pod::saying("plain").await;
    let mut all = service("a", &[good.address, bad.address, plain.address]);
    all.push(allow(reencrypt("a", HOST, pem(&ours))));
    let edge = with(&all, |settings| {
        settings.timeouts.check_interval = Duration::from_millis(20);
    })
    .await;
    let up = |edge: &Edge| {
        let peers = peers(&edge.router.live.load(), "a");
        let up = peers.iter().filter(|peer| peer.is_up());
        up.map(|peer| peer.key.address).collect::<Vec<_>>()
    };
    eventually("two pods to be down", async || (up(&edge) == [good.address]).then_some(())).await;
    let shaken = good.shaken();
    // One connection for a request leaves tickets behind, which checks must not use.
    assert_eq!(status(&edge, HOST).await, 200);
    eventually("more checks", async || (good.shaken().len() > shaken.len() + 10).then_some(()))
        .await;
    let resumed = good.shaken().iter().filter(|shaken| shaken.resumed).count();
    assert_eq!(resumed, 0, "a check sees the certificate each time");
    assert_eq!(up(&edge), [good.address]);
    for _ in 0..9 {
        assert_eq!(status(&edge, HOST).await, 200);
    }
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// A pod whose certificate does not pass is one that cannot be reached: another one is tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_certificate_is_tried_elsewhere() {
    let ours = authority();
    let good = TlsPod::telling(shown(&ours, BOTH)).await;
    let bad = TlsPod::telling(shown(&tls::authority("others"), BOTH)).await;
    let edge = over(&objects(&ours, &[&good, &bad])).await;
    // Which pod is tried first is chance.
    let mut asked = 0;
    while bad.connections() == 0 {
        asked += 1;
        assert!(asked < 100, "nobody tries the pod with the bad certificate");
        let mut client = edge.client().await;
        let head = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: 4\r\n\r\nbody");
        client.send(head).await;
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!((good.http2.attempts(), bad.http2.attempts()), (asked, 0));
    assert!(good.http2.seen().iter().all(|seen| seen.body == b"body"));
    assert!(bad.failed().iter().all(|error| error.contains("UnknownCA")), "{:?}", bad.failed());
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// Two routes with one CA share the connections to a pod; one with another CA never gets them, however
/// good the pod is for the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_shared_by_trust() {
    let (ours, theirs) = (authority(), tls::authority("others"));
    for alpn in [BOTH, OLD] {
        let pod = TlsPod::telling(shown(&ours, alpn)).await;
        let mut all = service("a", &[pod.address]);
        for (name, ca) in [("a", &ours), ("b", &ours), ("c", &theirs)] {
            let route = reencrypt(name, &format!("{name}.example.com"), pem(ca));
            all.push(allow(route.with("/spec/to/name", "a")));
        }
        all.push(edge("d", "d.example.com", None).with("/spec/to/name", "a"));
        let edge = over(&all).await;
        for host in [HOST, "b.example.com", HOST] {
            assert_eq!(status(&edge, host).await, 200);
        }
        assert_eq!(pod.connections(), 1);
        assert_eq!(status(&edge, "c.example.com").await, 503);
        assert_eq!(pod.connections(), 1 + 4, "tried for itself");
        assert_eq!(status(&edge, HOST).await, 200);
        assert_eq!(pod.connections(), 1 + 4);
    }
}

/// F-11: with a new CA the old connections finish what they have, and get nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_ca_leaves_old_connections_to_finish() {
    let (ours, theirs) = (authority(), tls::authority("others"));
    for alpn in [BOTH, OLD] {
        let gate = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let (held1, held2) = (gate.clone(), gate.clone());
        let config = shown(&ours, alpn);
        let pod = TlsPod::start(
            move |_| Opening::Tls(config.clone()),
            move |_| {
                pod::Act::After(
                    held1.clone(),
                    b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld".to_vec(),
                )
            },
            move |_| {
                use crate::harness::h2pod::{Act, ok};
                Act::After(held2.clone(), Box::new(ok("held")))
            },
        )
        .await;
        let edge = over(&objects(&ours, &[&pod])).await;
        let mut client = edge.client().await;
        client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        eventually("the request", async || {
            (pod.http1.attempts() + pod.http2.attempts() == 1).then_some(())
        })
        .await;
        let before = peers(&edge.router.live.load(), "a");
        edge.write("main.yaml", &objects(&theirs, &[&pod]));
        edge.until("the new CA", |snapshot| peers(snapshot, "a")[0].id != before[0].id).await;
        gate.add_permits(1);
        assert_eq!(client.response().await.text(), "held");
        eventually("the connection to end", async || (pod.open() == 0).then_some(())).await;
        assert_eq!(status(&edge, HOST).await, 503);
        edge.has_reasons(&[("tls_verify_failed", 1)]).await;
    }
}

/// What is not TLS, is silent, or ends in the middle of a handshake cannot be reached; a slow handshake
/// has the connect timeout, with the connection itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_end_within_the_connect_timeout() {
    let ours = authority();
    for (opening, reason) in [
        (Opening::Close, "connect_failed"),
        (Opening::Plain, "connect_failed"),
        (Opening::Silence, "connect_timeout"),
    ] {
        let shape = format!("{opening:?}");
        let pod = TlsPod::meeting(move |_| opening.clone()).await;
        let edge = with(&objects(&ours, &[&pod]), |settings| {
            settings.timeouts.connect = Duration::from_millis(100);
        })
        .await;
        assert_eq!(status(&edge, HOST).await, 503, "{shape}");
        assert_eq!(pod.connections(), 4, "{shape}");
        edge.has_reasons(&[(reason, 1)]).await;
        let failed = edge.router.stats.workers.sum(|cell| &cell.pod_handshakes_failed);
        assert_eq!(failed, if reason == "connect_failed" { 4 } else { 0 }, "{shape}");
        eventually("the connections to end", async || (pod.open() == 0).then_some(())).await;
    }
    let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let (config, held) = (shown(&ours, OLD), permits.clone());
    let pod = TlsPod::meeting(move |_| Opening::After(held.clone(), config.clone())).await;
    let edge = with(&objects(&ours, &[&pod]), |settings| {
        settings.timeouts.connect = Duration::from_secs(5);
    })
    .await;
    let mut client = edge.client().await;
    client.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    eventually("the connection", async || (pod.connections() == 1).then_some(())).await;
    permits.add_permits(1);
    assert_eq!(client.response().await.text(), "h1 1 1");
}
