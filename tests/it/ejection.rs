//! Endpoints that cannot be connected to: ejected, tried for want of another, taken back; and how many
//! tries there are at all (reliability.md 2.3, 2.4; ). What counts is who was dialled.

use std::time::Duration;

use serde_json::Value;
use wharf::settings::RouterSettings;

use crate::harness::{
    eventually,
    manifest::{With as _, app, reencrypt, route, service, slice},
    pod::{Act, BlackHole, Pod, Refusing, raw},
    router::Edge,
    tls,
    tlspod::TlsPod,
};

const HOST: &str = "a.example.com";
const BALANCE: &str = "haproxy.router.openshift.io/balance";

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(1 << 20);

/// A router with one worker, whose endpoints take turns and stay ejected for as long as the test takes.
async fn edge(objects: &[Value], change: impl FnOnce(&mut RouterSettings)) -> Edge {
    Edge::with(objects, |settings| {
        settings.workers = 1;
        settings.timeouts.connect = Duration::from_millis(20);
        settings.health.ejection.time = LONG;
        settings.health.ejection.window = LONG;
        change(settings);
    })
    .await
}

fn in_turn() -> Value {
    route("a", HOST).annotated(BALANCE, "roundrobin")
}

/// Requests that no pod has seen before, each on a connection of its own; none of them fails.
async fn ask(edge: &Edge, requests: usize) {
    for nth in 0..requests {
        let mut client = edge.client().await;
        client.send(format!("POST /{nth} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        assert_eq!(client.response().await.status(), 200, "{nth}");
    }
}

fn failures(edge: &Edge) -> u64 {
    edge.count("a", |counters| &counters.connection_errors)
}

/// one of four endpoints refuses. Three connections fail, no request does, and it is left alone
/// from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_44_an_endpoint_that_refuses_is_ejected_and_costs_nobody_a_request() {
    let pods = [Pod::saying("1").await, Pod::saying("2").await, Pod::saying("3").await];
    let refusing = Refusing::bound();
    let mut addresses: Vec<_> = pods.iter().map(|pod| pod.address).collect();
    addresses.push(refusing.address);
    let edge = edge(&app(in_turn(), &addresses), |_| {}).await;
    ask(&edge, 60).await;
    assert_eq!(failures(&edge), 3);
    assert_eq!(edge.count("a", |counters| &counters.redispatches), 3);
    assert_eq!(pods.iter().map(|pod| pod.attempts()).sum::<usize>(), 60);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
    assert_eq!(edge.series("wharf_ejections_total").await, 1);
    assert_eq!(edge.series("wharf_endpoints_ejected").await, 1);
    assert_eq!(edge.series("wharf_ejections_ignored_total").await, 0);
    // A change of something else changes nothing about it.
    for edit in 0..10 {
        let generation = edge.router.live.load().generation;
        let more = route("more", "more.example.com").with("/spec/path", format!("/{edit}"));
        edge.write("more.yaml", &[more]);
        edge.until("the edit", |snapshot| snapshot.generation > generation).await;
        ask(&edge, 4).await;
    }
    assert_eq!(failures(&edge), 3);
    assert_eq!(edge.series("wharf_endpoints_ejected").await, 1);
}

/// once its time is over it is tried again, and has its share when it has been repaired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_44_a_repaired_endpoint_is_taken_back() {
    let (pod, refusing) = (Pod::saying("pod").await, Refusing::bound());
    let objects = app(in_turn(), &[pod.address, refusing.address]);
    let edge = edge(&objects, |settings| {
        settings.health.ejection.time = Duration::from_millis(20);
    })
    .await;
    eventually("a second ejection", async || {
        ask(&edge, 4).await;
        (edge.series("wharf_ejections_total").await >= 2).then_some(())
    })
    .await;
    let repaired = refusing.repaired("pod");
    eventually("requests at the repaired pod", async || {
        ask(&edge, 4).await;
        (repaired.attempts() > 0).then_some(())
    })
    .await;
    eventually("the end of the ejection", async || {
        (edge.series("wharf_endpoints_ejected").await == 0).then_some(())
    })
    .await;
    let (before, failed) = ([pod.attempts(), repaired.attempts()], failures(&edge));
    ask(&edge, 20).await;
    assert_eq!([pod.attempts() - before[0], repaired.attempts() - before[1]], [10, 10]);
    assert_eq!(failures(&edge), failed);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// reliability.md 2.4: at most half of a Service is ejected, however many refuse; requests find the one
/// that serves all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_half_of_a_service_is_ejected() {
    let pod = Pod::saying("pod").await;
    let refusing = [Refusing::bound(), Refusing::bound(), Refusing::bound()];
    let mut addresses: Vec<_> = refusing.iter().map(|it| it.address).collect();
    addresses.push(pod.address);
    let edge = edge(&app(in_turn(), &addresses), |_| {}).await;
    ask(&edge, 40).await;
    assert_eq!(pod.attempts(), 40);
    assert_eq!(edge.series("wharf_endpoints_ejected").await, 2);
    assert_eq!(edge.series("wharf_ejections_total").await, 2);
    assert!(failures(&edge) > 6, "the third is tried on");
}

/// where every endpoint is ejected they are tried all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_45_with_all_ejected_traffic_is_still_tried() {
    let pods = [Pod::saying("1").await, Pod::saying("2").await];
    let refusing = [Refusing::bound(), Refusing::bound()];
    let bad = refusing.iter().enumerate().map(|(nth, it)| slice("a", nth, it.address));
    let bad: Vec<Value> = bad.collect();
    let good = pods.iter().enumerate().map(|(nth, it)| slice("a", nth + 2, it.address));
    let good: Vec<Value> = good.collect();
    let mut base = service("a", &[]);
    base.push(in_turn());
    let edge = edge(&[base, bad].concat(), |_| {}).await;
    edge.write("good.yaml", &good);
    edge.until("four endpoints", |snapshot| {
        let compiled = snapshot.routes[0].compiled.as_ref();
        compiled.is_some_and(|it| it.backend.servers.len() == 4)
    })
    .await;
    ask(&edge, 40).await;
    assert_eq!(edge.series("wharf_endpoints_ejected").await, 2);
    edge.remove("good.yaml");
    edge.until("two endpoints", |snapshot| {
        let compiled = snapshot.routes[0].compiled.as_ref();
        compiled.is_some_and(|it| it.backend.servers.len() == 2)
    })
    .await;
    assert_eq!(edge.get(HOST, "/").await.status(), 503);
    edge.has_reasons(&[("connect_failed", 1)]).await;
    let ignored = edge.series("wharf_ejections_ignored_total").await;
    assert_eq!(ignored, 4, "each try of that request");
    let repaired = refusing.map(|it| it.repaired("back"));
    ask(&edge, 10).await;
    assert_eq!(repaired.iter().map(|pod| pod.attempts()).collect::<Vec<_>>(), [5, 5]);
    assert_eq!(edge.series("wharf_ejections_ignored_total").await, ignored + 10);
    assert_eq!(edge.series("wharf_endpoints_ejected").await, 2);
}

/// reliability.md 2.4: what counts are connections that could not be made: refused, too late, or without
/// a handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_take_too_long_and_failed_handshakes_count() {
    let (pod, hole) = (Pod::saying("pod").await, BlackHole::start());
    let late = edge(&app(in_turn(), &[pod.address, hole.address]), |_| {}).await;
    ask(&late, 20).await;
    assert_eq!((failures(&late), pod.attempts()), (3, 20));
    assert_eq!(late.series("wharf_endpoints_ejected").await, 1);

    let (ours, theirs) = (tls::authority("ours"), tls::authority("theirs"));
    let shown = |authority| tls::server(&tls::leaf(authority, "x.test"), &["http/1.1"]);
    let good = TlsPod::telling(shown(&ours)).await;
    let bad = TlsPod::telling(shown(&theirs)).await;
    let route = reencrypt("a", HOST, Some(&ours.pair().cert_pem))
        .annotated(BALANCE, "roundrobin")
        .with("/spec/tls/insecureEdgeTerminationPolicy", "Allow");
    let secure = edge(&app(route, &[good.address, bad.address]), |settings| {
        settings.timeouts.connect = Duration::from_secs(5);
    })
    .await;
    ask(&secure, 20).await;
    assert_eq!((failures(&secure), bad.connections()), (3, 3));
    assert_eq!(secure.series("wharf_endpoints_ejected").await, 1);
}

/// reliability.md 2.4: nobody expects the errors of an application to take its pods away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_never_eject() {
    let good = Pod::saying("good").await;
    let bad = Pod::start(|seen| match seen.target() {
        "/reset" => Act::Reset,
        _ => raw("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"),
    })
    .await;
    let edge = edge(&app(in_turn(), &[good.address, bad.address]), |_| {}).await;
    for nth in 0..40 {
        // A POST is sent once, whatever becomes of it.
        let target = if nth % 4 < 2 { "/" } else { "/reset" };
        let mut client = edge.client().await;
        client.send(format!("POST {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
        client.response().await;
    }
    assert_eq!((good.attempts(), bad.attempts()), (20, 20));
    assert_eq!(edge.series("wharf_ejections_total").await, 0);
}

/// WHARF_EJECT=false: every turn of the endpoint costs a try.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_ejection_an_endpoint_that_refuses_is_tried_each_time() {
    let (pod, refusing) = (Pod::saying("pod").await, Refusing::bound());
    let objects = app(in_turn(), &[pod.address, refusing.address]);
    let edge = edge(&objects, |settings| settings.health.ejection.on = false).await;
    ask(&edge, 20).await;
    assert!(failures(&edge) >= 10, "{}", failures(&edge));
    assert_eq!(edge.series("wharf_ejections_total").await, 0);
}

/// [HC-1, HC-3]: a lone endpoint is never ejected; once it listens it is used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hc_3_a_lone_endpoint_is_never_ejected() {
    let refusing = Refusing::bound();
    let edge = edge(&app(in_turn(), &[refusing.address]), |_| {}).await;
    for _ in 0..3 {
        assert_eq!(edge.get(HOST, "/").await.status(), 503);
    }
    assert_eq!(failures(&edge), 12);
    assert_eq!(edge.series("wharf_ejections_total").await, 0);
    let repaired = refusing.repaired("back");
    ask(&edge, 1).await;
    assert_eq!(repaired.attempts(), 1);
}

/// reliability.md 2.3: without budget each request is tried once, over HTTP and passed through, and what
/// was not tried is counted; 300 percent are as good as no limit [RETRY-1].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_1_the_budget_bounds_tries_of_the_whole_process() {
    let refusing = Refusing::bound();
    let pass = route("a", HOST).with("/spec/tls/termination", "passthrough");
    for (objects, passed) in [
        (app(route("a", HOST), &[refusing.address]), false),
        (app(pass, &[refusing.address]), true),
    ] {
        for (percent, tries, denied) in [(0, 1, 1), (300, 4, 0)] {
            let edge = edge(&objects, |settings| {
                settings.health.retries.percent = percent;
                settings.health.retries.floor = if percent == 0 { 0 } else { 10 };
            })
            .await;
            for nth in 1..=4 {
                if passed {
                    assert!(tls::connect(edge.https, tls::hello(HOST)).await.is_err());
                } else {
                    assert_eq!(edge.get(HOST, "/").await.status(), 503);
                }
                edge.has_reasons(&[("connect_failed", nth)]).await;
                assert_eq!(failures(&edge), tries * nth, "{passed} {percent}");
            }
            assert_eq!(edge.count("a", |counters| &counters.retries), (tries - 1) * 4);
            assert_eq!(edge.series("wharf_retries_denied_total").await, denied * 4);
        }
    }
}
