//! Rate limits of connections that are passed through ([RATE-1..5]).

use super::*;
use crate::rate_limits::{Clock, limited};

async fn edge(limits: &[(&str, &str)], wire: &Wire) -> Edge {
    Edge::start(&app(limited(pass("pass", HOST), limits), &[wire.address])).await
}

async fn open(edge: &Edge) -> Client<TcpStream> {
    let mut client = Client::connect(edge.https).await;
    client.send(said(Some(HOST))).await;
    client
}

/// [RATE-2]: on a passthrough route connections are counted, for as long as they last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_2_concurrent_connections_of_a_client_are_limited() {
    let wire = Wire::bound().await;
    let edge = edge(&[("concurrent-tcp", "3")], &wire).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let client = open(&edge).await;
        held.push((client, wire.next().await));
    }
    for _ in 0..3 {
        assert!(open(&edge).await.closed().await);
    }
    edge.has_reasons(&[("rate_limited", 3)]).await;
    assert!(wire.is_untouched().await);
    held.pop();
    eventually("its end", async || (edge.router.stats.connections.load() == 1).then_some(())).await;
    let _third = open(&edge).await;
    assert_eq!(wire.next().await.bytes(1).await, [22]);
}

/// [RATE-3]: new connections in three seconds; [RATE-4] does not apply, where there are no requests; and
/// there is nobody to say 429 to [RATE-5].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_3_new_connections_of_a_client_are_limited() {
    let wire = Wire::bound().await;
    let objects =
        app(limited(pass("pass", HOST), &[("rate-tcp", "3"), ("rate-http", "1")]), &[wire.address]);
    let edge = Edge::with(&objects, |settings| {
        settings.limits.rate_answer = wharf::settings::limits::RateAnswer::TooManyRequests;
    })
    .await;
    let clock = Clock::of(&edge, "pass");
    for second in [0, 10] {
        clock.at(second * 1000);
        for _ in 0..2 {
            let _client = open(&edge).await;
            assert_eq!(wire.next().await.bytes(1).await, [22]);
        }
        assert!(open(&edge).await.closed().await);
    }
    edge.has_reasons(&[("rate_limited", 2)]).await;
    assert!(wire.is_untouched().await);
}
