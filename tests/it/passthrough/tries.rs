//! Which pod gets a connection, and what happens when it does not take it (quirk 29, [LB-2], [PODC-1]).

use std::{collections::BTreeSet, time::Duration};

use wharf::net::proxy_protocol::write_v2;

use super::{HOST, Wire, pass, said};
use crate::harness::{
    client::Client,
    eventually,
    manifest::{With as _, app},
    pod::Refusing,
    router::Edge,
};

/// [RETRY-1]: a pod that refuses costs a client nothing where there is another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_1_a_refused_connection_goes_to_another_pod_at_once() {
    let (refusing, wire) = (Refusing::bound(), Wire::bound().await);
    let route = pass("pass", HOST).annotated("haproxy.router.openshift.io/balance", "roundrobin");
    let edge = Edge::with(&app(route, &[refusing.address, wire.address]), |settings| {
        // A pause would be one of an hour, which no test waits for.
        settings.timeouts.connect = Duration::from_secs(3600);
    })
    .await;
    let hello = said(Some(HOST));
    for _ in 0..6 {
        let mut client = Client::connect(edge.https).await;
        client.send(&hello).await;
        let mut pod = wire.next().await;
        assert_eq!(pod.bytes(hello.len()).await, hello, "once, and whole");
        pod.send("hello").await;
        assert_eq!(client.bytes(5).await, b"hello");
    }
    edge.is_quiet().await;
    let failed = edge.count("pass", |counters| &counters.connection_errors);
    assert!((3..=6).contains(&failed), "{failed}");
    assert_eq!(edge.count("pass", |counters| &counters.redispatches), failed);
    assert_eq!(edge.count("pass", |counters| &counters.connects), 6);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// [RETRY-1, NOMATCH-5]: a lone pod is tried four times, then the connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_1_a_lone_pod_that_refuses_is_tried_four_times() {
    let refusing = Refusing::bound();
    let edge = Edge::with(&app(pass("pass", HOST), &[refusing.address]), |settings| {
        settings.timeouts.connect = Duration::from_millis(20);
    })
    .await;
    let mut client = Client::connect(edge.https).await;
    client.send(said(Some(HOST))).await;
    assert!(client.closed().await);
    edge.has_reasons(&[("connect_failed", 1)]).await;
    assert_eq!(edge.count("pass", |counters| &counters.connection_errors), 4);
    assert_eq!(edge.count("pass", |counters| &counters.retries), 3);
    edge.is_quiet().await;
}

/// [PODC-1]: connections are what is counted; one more waits until a place is free, or the queue
/// timeout is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podc_1_connections_to_a_pod_are_limited() {
    let name = "haproxy.router.openshift.io/pod-concurrent-connections";
    let hello = said(Some(HOST));
    for waits in [true, false] {
        let wire = Wire::bound().await;
        let route = pass("pass", HOST).annotated(name, "1");
        let edge = Edge::with(&app(route, &[wire.address]), |settings| {
            let limit = if waits { 3_600_000 } else { 50 };
            settings.timeouts.connect = Duration::from_millis(limit);
        })
        .await;
        let queued = || {
            edge.route("pass", |state| {
                state.compiled.as_ref().expect("served").backend.stats.queued.load()
            })
        };
        let mut first = Client::connect(edge.https).await;
        first.send(&hello).await;
        let mut pod = wire.next().await;
        assert_eq!(pod.bytes(hello.len()).await, hello);
        let mut second = Client::connect(edge.https).await;
        second.send(&hello).await;
        if waits {
            eventually("a connection in line", async || (queued() == 1).then_some(())).await;
            assert!(wire.is_untouched().await);
            drop((first, pod));
            let mut pod = wire.next().await;
            assert_eq!(pod.bytes(hello.len()).await, hello);
        } else {
            assert!(second.closed().await);
            edge.has_reasons(&[("queue_timeout", 1)]).await;
            assert!(wire.is_untouched().await);
        }
    }
}

/// ROUTER_ABORT_ON_CLOSE: a client that leaves the line is not waited for, unless set otherwise.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn podc_1_a_client_that_leaves_the_line_is_gone() {
    let name = "haproxy.router.openshift.io/pod-concurrent-connections";
    for aborts in [true, false] {
        let wire = Wire::bound().await;
        let route = pass("pass", HOST).annotated(name, "1");
        let edge = Edge::with(&app(route, &[wire.address]), |settings| {
            settings.timeouts.connect = Duration::from_secs(3600);
            settings.limits.abort_on_close = aborts;
        })
        .await;
        let queued = || {
            edge.route("pass", |state| {
                state.compiled.as_ref().expect("served").backend.stats.queued.load()
            })
        };
        let mut first = Client::connect(edge.https).await;
        first.send(said(Some(HOST))).await;
        let pod = wire.next().await;
        let mut second = Client::connect(edge.https).await;
        second.send(said(Some(HOST))).await;
        eventually("a connection in line", async || (queued() == 1).then_some(())).await;
        drop(second);
        if aborts {
            edge.has_reasons(&[("client_closed", 1)]).await;
            assert_eq!(queued(), 0);
        }
        drop((first, pod));
        edge.is_quiet().await;
        assert_eq!(wire.is_untouched().await, aborts);
    }
}

/// [LB-1, LB-2, FWD-7]: by the client's address of the PROXY header unless told otherwise; the pod sees
/// nothing of that header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lb_2_a_client_stays_with_its_pod_behind_a_load_balancer() {
    let (one, two) = (Wire::bound().await, Wire::bound().await);
    let edge = Edge::with(&app(pass("pass", HOST), &[one.address, two.address]), |settings| {
        settings.proxy_protocol = true;
    })
    .await;
    let hello = said(Some(HOST));
    let mut pods_of_all = BTreeSet::new();
    for host in 1..=16 {
        let mut pods = BTreeSet::new();
        for port in 1..=3 {
            let mut first = Vec::new();
            let source = format!("203.0.113.{host}:{port}").parse().unwrap();
            write_v2(&mut first, source, "198.51.100.1:443".parse().unwrap());
            first.extend_from_slice(&hello);
            let mut client = Client::connect(edge.https).await;
            client.send(first).await;
            let (mut pod, nth) = tokio::select! {
                pod = one.next() => (pod, 1),
                pod = two.next() => (pod, 2),
            };
            assert_eq!(pod.bytes(hello.len()).await, hello);
            pods.insert(nth);
        }
        assert_eq!(pods.len(), 1, "203.0.113.{host}");
        pods_of_all.extend(pods);
    }
    assert_eq!(pods_of_all.len(), 2);
}
