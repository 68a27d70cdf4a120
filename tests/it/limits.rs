//! Limits that hold, and what happens at them (R-33, [LSN-7]).

use crate::harness::{
    eventually,
    manifest::{app, route},
    pod::Pod,
    router::Edge,
};

const HOST: &str = "a.example.com";

/// [LSN-7], R-33: as many connections as allowed are served; the next one waits, is neither refused
/// nor reset, and is served as soon as there is room. The admin port has limits of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lsn_7_a_connection_beyond_the_limit_waits_for_room() {
    let pod = Pod::saying("pod").await;
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        settings.max_connections = 2;
    })
    .await;
    let (mut first, mut second) = (edge.client().await, edge.client().await);
    assert_eq!(first.get(HOST, "/").await.status(), 200);
    assert_eq!(second.get(HOST, "/").await.status(), 200);
    let mut third = edge.client().await;
    third.send(format!("GET /third HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    let waits = || edge.router.stats.workers.sum(|cell| &cell.limit_reached);
    eventually("the limit to be reached", async || (waits() == 1).then_some(())).await;
    assert_eq!(edge.router.stats.connections.load(), 2);
    assert_eq!(pod.attempts(), 2, "the third request waits");
    // Those that are in go on.
    assert_eq!(first.get(HOST, "/").await.status(), 200);
    drop(second);
    assert_eq!(third.response().await.status(), 200);
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}
