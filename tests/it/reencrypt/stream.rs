//! Bodies and connections that end early, late or not as they should, over TLS.

use std::sync::Arc;

use super::{BOTH, HOST, OLD, authority, objects, over, shown};
use crate::h2c::early_answers_are_whole;
use crate::harness::{
    eventually,
    h2pod::{self, Reply},
    http2::Http2,
    pod::{self, Act},
    tlspod::{Opening, TlsPod},
};

/// A pod of HTTP/1.1 with this script.
async fn old(
    script: impl Fn(&pod::Seen) -> Act + Send + Sync + 'static,
) -> (TlsPod, Vec<serde_json::Value>) {
    let ours = authority();
    let config = shown(&ours, OLD);
    let opening = move |_| Opening::Tls(Arc::clone(&config));
    let pod = TlsPod::start(opening, script, |_| h2pod::ok("h2")).await;
    let objects = objects(&ours, &[&pod]);
    (pod, objects)
}

/// A pod of HTTP/2 with this script.
async fn new(
    script: impl Fn(&h2pod::Seen) -> h2pod::Act + Send + Sync + 'static,
) -> (TlsPod, Vec<serde_json::Value>) {
    let ours = authority();
    let config = shown(&ours, BOTH);
    let opening = move |_| Opening::Tls(Arc::clone(&config));
    let pod = TlsPod::start(opening, |_| pod::ok("h1"), script).await;
    let objects = objects(&ours, &[&pod]);
    (pod, objects)
}

/// a body that is cut is cut for clients of either version, with or without a close_notify; and
/// one that lasts until the end of the connection needs the close_notify to be whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_26_a_cut_over_tls_is_never_an_end() {
    let sized: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    let chunked: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let open: &[u8] = b"HTTP/1.1 200 OK\r\n\r\nhalf";
    let whole: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhalf";
    let rows: [(&str, Act, bool); 8] = [
        ("sized, closed", Act::Last(sized.to_vec()), true),
        ("sized, cut", Act::Cut(sized.to_vec()), true),
        ("chunked, closed", Act::Last(chunked.to_vec()), true),
        ("chunked, cut", Act::Cut(chunked.to_vec()), true),
        ("open, closed", Act::Last(open.to_vec()), false),
        ("open, cut", Act::Cut(open.to_vec()), true),
        ("whole, closed", Act::Last(whole.to_vec()), false),
        ("whole, cut", Act::Cut(whole.to_vec()), false),
    ];
    for (what, act, cut) in rows {
        let (pod, objects) = old(move |_| act.clone()).await;
        let edge = over(&objects).await;
        let response = edge.get(HOST, "/").await;
        let mut client = Http2::over(edge.client().await.stream).await;
        let reply = client.get(&format!("http://{HOST}/")).await;
        assert_eq!((response.cut, reply.is_err()), (cut, cut), "{what}: {response:?} {reply:?}");
        if !cut {
            assert_eq!(response.text(), "half", "{what}");
            assert_eq!(reply.unwrap().body, "half", "{what}");
        }
        assert_eq!(pod.http1.attempts(), 2, "{what}: never sent again");
        let reasons: &[(&str, u64)] = if cut { &[("upstream_reset", 2)] } else { &[] };
        edge.has_reasons(reasons).await;
    }
}

/// R-26, on HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_26_a_dead_connection_of_http_2_is_never_an_end() {
    let half = || Reply::new(200).chunk("half");
    for act in [h2pod::Act::Die(half()), h2pod::Act::Cut(half(), h2::Reason::CANCEL)] {
        let (pod, objects) = new(move |_| act.clone()).await;
        let edge = over(&objects).await;
        let response = edge.get(HOST, "/").await;
        assert!(response.cut && matches!(response.status(), 0 | 200), "{response:?}");
        assert_eq!(pod.http2.attempts(), 1);
        edge.has_reasons(&[("upstream_reset", 1)]).await;
    }
}

/// Connections that the pod ends while they wait, or when they are used again: no client notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_connections_are_not_seen_by_clients() {
    for act in [Act::Last, Act::Cut] {
        let (pod, objects) = old(move |seen| {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec();
            match seen.nth {
                // At the second connection's second request it goes away without an answer.
                2 => act(Vec::new()),
                _ if seen.connection == 1 => act(answer),
                _ => Act::Reply(answer),
            }
        })
        .await;
        let edge = over(&objects).await;
        assert_eq!(edge.get(HOST, "/").await.text(), "ok");
        eventually("the pod's end", async || (pod.open() == 0).then_some(())).await;
        for nth in 2..6 {
            let response = edge.get(HOST, "/").await;
            assert_eq!((response.status(), response.text().as_str()), (200, "ok"), "{nth}");
        }
        assert!(pod.connections() >= 3);
        assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
    }
}

/// An answer before the end of the request's body is whole, on either protocol.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_early_answer_is_whole() {
    let (_pod, objects) = new(|_| h2pod::Act::Early(Reply::new(413).chunk("too large"))).await;
    let edge = over(&objects).await;
    early_answers_are_whole(&edge).await;
}

/// Large bodies in both directions, over both protocols.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_bodies_pass() {
    let bytes: Vec<u8> = (0..=250).cycle().take(2_000_000).collect();
    let request = |length: usize| {
        format!("POST / HTTP/1.1\r\nHost: {HOST}\r\ncontent-length: {length}\r\n\r\n").into_bytes()
    };
    let (new_pod, new_objects) = new(|_| h2pod::Act::Echo(Reply::new(200))).await;
    let (old_pod, old_objects) = old(|seen| pod::ok(&seen.body)).await;
    for objects in [new_objects, old_objects] {
        let edge = over(&objects).await;
        for _ in 0..2 {
            let client = edge.client().await.stream;
            let (read, mut write) = client.into_split();
            let whole = [request(bytes.len()), bytes.clone()].concat();
            let upload = tokio::spawn(async move {
                tokio::io::AsyncWriteExt::write_all(&mut write, &whole).await.expect("sent");
                write
            });
            let both = tokio::io::join(read, tokio::io::sink());
            let response = crate::harness::client::Client::over(both).response().await;
            assert!(response.status() == 200 && response.body == bytes);
            drop(upload.await.expect("no panic"));
        }
    }
    assert_eq!((new_pod.connections(), old_pod.connections() <= 2), (1, true));
}
