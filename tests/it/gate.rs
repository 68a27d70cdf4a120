//! What passes in front of hyper and what does not: rows of bytes with their outcome, on the plain and
//! on the TLS port (reliability.md 6.1), then what rows cannot say.

mod http2;
mod responses;
mod rows;

use std::{collections::BTreeMap, fs, path::PathBuf, time::Duration};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use self::rows::{Row, rows};
use crate::harness::{
    client::{self, Client, Response},
    eventually,
    manifest::{With as _, app, edge as edge_route},
    pod::{Act, Pod, ok, raw},
    router::Edge,
    tls::{self, Hello, hello},
};

const HOST: &str = "a.example.com";

fn route() -> Value {
    edge_route("a", HOST, None).with("/spec/tls/insecureEdgeTerminationPolicy", "Allow")
}

/// A router and a pod that answers with the target it was asked for.
async fn start() -> (Edge, Pod) {
    let pod = Pod::start(|seen| ok(seen.target())).await;
    let edge = Edge::start(&app(route(), &[pod.address])).await;
    (edge, pod)
}

async fn secure(edge: &Edge) -> Client<impl AsyncRead + AsyncWrite + Unpin + use<>> {
    let wanted = Hello { alpn: &[], ..hello(HOST) };
    Client::over(tls::connect(edge.https, wanted).await.expect("a handshake"))
}

/// Sends the row; returns the answer. A refusal must be the last word on the connection.
async fn play<S: AsyncRead + AsyncWrite + Unpin>(mut client: Client<S>, row: &Row) -> Response {
    client.send(&row.bytes).await;
    let response = client.response().await;
    if row.status != 200 && row.status != 503 {
        assert_eq!(response.header("connection"), Some("close"), "{}", row.name);
        assert!(!response.cut && !response.body.is_empty(), "{}", row.name);
        assert!(client.closed().await, "{}", row.name);
    }
    response
}

/// Each row gets its status on both ports, the pod sees what passed and nothing else, and the next
/// request to the pod gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_01_to_s_26_every_row_has_its_outcome() {
    let (edge, pod) = start().await;
    let mut seen = 0;
    for row in rows() {
        for response in
            [play(edge.client().await, &row).await, play(secure(&edge).await, &row).await]
        {
            assert_eq!(response.status(), row.status, "{}: {response:?}", row.name);
        }
        assert_eq!(edge.get(HOST, "/after").await.text(), "/after", "{}", row.name);
        seen += 2 * row.requests() + 1;
        assert_eq!(pod.attempts(), seen, "{}", row.name);
    }
}

/// Every refusal is counted once, under its one reason.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_one_reason() {
    let (edge, _pod) = start().await;
    let mut expected = BTreeMap::new();
    for row in rows() {
        play(edge.client().await, &row).await;
        let reason = match row.status {
            400 | 417 => "bad_request",
            405 => "method_not_allowed",
            // Its line is short, and the whole is beyond the buffer.
            414 if row.name.contains("field") => "headers_too_large",
            414 => "uri_too_long",
            422 => "bad_coding",
            431 => "headers_too_large",
            503 => "no_route",
            _ => continue,
        };
        *expected.entry(reason).or_insert(0) += 1;
    }
    edge.is_quiet().await;
    assert_eq!(edge.reasons().into_iter().collect::<BTreeMap<_, u64>>(), expected);
}

/// S-08: every byte in a field's name and in its value.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_08_every_byte_in_names_and_values() {
    let (edge, pod) = start().await;
    let start = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n");
    let mut passed = 0;
    for byte in 0..=255_u8 {
        let signs = b"!#$%&'*+-.^_`|~";
        let in_name = byte.is_ascii_alphanumeric() || signs.contains(&byte);
        let in_value = byte == b'\t' || !byte.is_ascii_control();
        for (field, sound) in
            [([b'x', byte, b'x', b':', b'y'], in_name), ([b'x', b':', b'y', byte, b'y'], in_value)]
        {
            // A colon ends the name, and what follows it is a value.
            let sound = sound || byte == b':';
            let mut client = edge.client().await;
            client.send([start.as_bytes(), &field, b"\r\n\r\n"].concat()).await;
            let status = client.response().await.status();
            assert_eq!(status, if sound { 200 } else { 400 }, "{}", field.escape_ascii());
            passed += usize::from(sound);
        }
    }
    assert_eq!(pod.attempts(), passed);
}

/// However slowly the bytes come, the outcome is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_come_one_by_one_have_the_same_outcome() {
    let (edge, pod) = start().await;
    let short = |row: &Row| row.bytes.len() < 150 && row.name.starts_with("S-0");
    for row in rows().into_iter().filter(short).step_by(5) {
        let before = pod.attempts();
        let mut client = edge.client().await;
        for byte in &row.bytes {
            client.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.response().await.status(), row.status, "{}", row.name);
        assert_eq!(pod.attempts() - before, row.requests(), "{}", row.name);
    }
}

/// S-19: a hundred requests in one packet are answered in order; a bad one in the middle is answered
/// in its turn and is the last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_19_a_bad_request_in_the_middle_is_answered_in_its_turn() {
    let (edge, pod) = start().await;
    let all: String = (0..100).map(|nth| client::get(HOST, &format!("/{nth}"))).collect();
    let mut client = edge.client().await;
    client.send(&all).await;
    for nth in 0..100 {
        assert_eq!(client.response().await.text(), format!("/{nth}"));
    }
    let mut client = edge.client().await;
    client.send(all.replace("GET /50 ", "GET /5#0 ")).await;
    for nth in 0..50 {
        assert_eq!(client.response().await.text(), format!("/{nth}"));
    }
    let refused = client.response().await;
    assert_eq!((refused.status(), refused.header("connection")), (400, Some("close")));
    assert!(client.closed().await);
    assert_eq!(pod.attempts(), 150);
    edge.has_reasons(&[("bad_request", 1)]).await;
}

/// The answer to a client that goes on sending is not destroyed by a reset: what it sends is drained
/// for a while (S-13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_a_refused_upload_is_drained_so_that_the_answer_arrives() {
    let (edge, pod) = start().await;
    for _ in 0..20 {
        let mut client = edge.client().await;
        let head =
            format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 9999999\r\nx : y\r\n\r\n");
        client.send(head).await;
        for _ in 0..6 {
            client.send(vec![b'x'; 8192]).await;
        }
        let response = client.response().await;
        assert_eq!((response.status(), response.cut), (400, false));
    }
    assert_eq!(pod.attempts(), 0);
}

/// A refused upload ends the pod's connection, and the pod never has a whole request (S-04).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_04_a_broken_body_spends_the_pod_connection() {
    let (edge, pod) = start().await;
    let start = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut client = edge.client().await;
    client.send(format!("{start}5\r\nhello\r\n")).await;
    eventually("the pod's connection", async || (pod.open() == 1).then_some(())).await;
    client.send("5\nhello\r\n0\r\n\r\n").await;
    assert_eq!(client.response().await.status(), 400);
    assert!(client.closed().await);
    eventually("its end", async || (pod.open() == 0).then_some(())).await;
    assert_eq!(pod.attempts(), 0);
    edge.has_reasons(&[("bad_request", 1)]).await;
    assert_eq!(edge.get(HOST, "/after").await.text(), "/after");
}

/// A body that breaks when its answer is on the way already cuts that answer (S-13).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_13_an_early_answer_is_cut_by_a_broken_body() {
    let pod =
        Pod::early(|_| Act::Stall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec()))
            .await;
    let edge = Edge::start(&app(route(), &[pod.address])).await;
    let mut client = edge.client().await;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
        ))
        .await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    client.send("zz\r\n").await;
    assert_eq!(client.rest().await, b"half");
    edge.has_reasons(&[("bad_request", 1)]).await;
    eventually("the pod's connection to end", async || (pod.open() == 0).then_some(())).await;
}

/// S-15: what follows an upgrade in the same packet is no tunnel byte when the pod declines: it is a
/// request by its own right, or refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_15_bytes_behind_a_declined_upgrade_are_judged_anew() {
    let pod = Pod::start(|seen| match seen.target() {
        "/ws" => raw("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 0\r\nupgrade: x\r\n\r\n"),
        target => ok(target),
    })
    .await;
    let edge = Edge::start(&app(route(), &[pod.address])).await;
    let ask = format!(
        "GET /ws HTTP/1.1\r\nHost: {HOST}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    let mut client = edge.client().await;
    client.send(format!("{ask}{}", client::get(HOST, "/admin"))).await;
    assert_eq!(client.response().await.status(), 426);
    assert_eq!(client.response().await.text(), "/admin");
    client.send(format!("{ask}GET /a#b HTTP/1.1\r\nHost: {HOST}\r\n\r\n")).await;
    assert_eq!(client.response().await.status(), 426);
    assert_eq!(client.response().await.status(), 400);
    assert!(client.closed().await);
    assert_eq!(pod.attempts(), 3);
    edge.has_reasons(&[("bad_request", 1)]).await;
}

/// S-16: an upgrade to h2c is an ordinary request, and nothing of it reaches the pod.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_16_h2c_is_served_as_http1() {
    let (edge, pod) = start().await;
    let mut client = edge.client().await;
    let ask = format!(
        "GET /one HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
    );
    client.send(format!("{ask}{}", client::get(HOST, "/two"))).await;
    assert_eq!(client.response().await.text(), "/one");
    assert_eq!(client.response().await.text(), "/two");
    for name in ["upgrade", "http2-settings", "connection"] {
        assert!(pod.seen()[0].all(name).is_empty(), "{name}");
    }
}

/// A head that was begun behind an answer is held to the head's limit, not to the idle one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_pipelined_head_gets_408() {
    let pod = Pod::start(|seen| ok(seen.target())).await;
    let edge = Edge::with(&app(route(), &[pod.address]), |settings| {
        settings.timeouts.head = Duration::from_millis(150);
    })
    .await;
    let mut client = edge.client().await;
    client.send(format!("{}GET /half HTTP/1.1\r\nHo", client::get(HOST, "/whole"))).await;
    assert_eq!(client.response().await.text(), "/whole");
    let late = client.response().await;
    assert_eq!((late.status(), late.body.len()), (408, 110));
    assert!(client.closed().await);
    edge.has_reasons(&[("client_timeout", 1)]).await;
}

fn seeds() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/gate")
}

/// A row's seed: its file's name and contents. Long runs of one byte are left to the fuzzer.
fn seed(row: &Row) -> Option<(String, Vec<u8>)> {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name = row.name.chars().map(plain).collect();
    (row.bytes.len() < 4096).then(|| (name, row.bytes.clone()))
}

/// The fuzzer starts from these rows; `src/gate/tests.rs` replays them.
#[test]
fn every_row_is_a_seed_of_the_fuzzer() {
    let expected: BTreeMap<String, Vec<u8>> = rows().iter().filter_map(seed).collect();
    let files = fs::read_dir(seeds()).expect("the seeds are there");
    let found: BTreeMap<String, Vec<u8>> = files
        .map(|file| {
            let path = file.expect("readable").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(path).expect("readable"))
        })
        .collect();
    let stale: Vec<_> =
        expected.iter().filter(|(name, bytes)| found.get(*name) != Some(bytes)).collect();
    assert!(stale.is_empty() && found.len() == expected.len(), "run write_the_seeds: {stale:?}");
}

#[test]
#[ignore = "writes fuzz/corpus/gate anew after a change of the rows"]
fn write_the_seeds() {
    fs::create_dir_all(seeds()).expect("writable");
    for (name, bytes) in rows().iter().filter_map(seed) {
        fs::write(seeds().join(name), bytes).expect("writable");
    }
}
