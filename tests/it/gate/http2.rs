//! Requests of HTTP/2 on their way to HTTP/1 (reliability.md 6.2), frame by frame.

use super::{HOST, start};
use crate::harness::{
    eventually,
    frames::PROTOCOL_ERROR,
    outcome::{Outcome, Requests},
    pod::Pod,
    router::Edge,
};

const RESET: Outcome = Outcome::Reset(PROTOCOL_ERROR);
const REFUSED: Outcome = Outcome::Status(400);
const SERVED: Outcome = Outcome::Status(200);

type Fields = Vec<(&'static str, &'static str)>;

/// A sound GET with `more` behind it.
fn get(more: &[(&'static str, &'static str)]) -> Fields {
    let sound = [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", HOST)];
    sound.iter().chain(more).copied().collect()
}

/// A sound GET with a field of another value.
fn with(name: &str, value: &'static str) -> Fields {
    let mut fields = get(&[]);
    let field = fields.iter_mut().find(|(field, _)| *field == name).expect("a pseudo field");
    field.1 = value;
    fields
}

fn without(name: &str) -> Fields {
    get(&[]).into_iter().filter(|(field, _)| *field != name).collect()
}

/// Sends each on a connection of its own; the pod sees those that are served, and nothing else.
async fn play(rows: Vec<(Fields, Outcome)>) {
    let (edge, pod) = start().await;
    let mut served = 0;
    for (fields, expected) in rows {
        let mut client = Requests::over(edge.client().await.stream).await;
        client.headers(1, &fields, true).await;
        assert_eq!(client.outcome(1).await, expected, "{fields:?}");
        served += usize::from(expected == SERVED);
        assert_eq!(pod.attempts(), served, "{fields:?}");
    }
    assert_eq!(edge.get(HOST, "/after").await.text(), "/after");
}

/// S-27: bytes that have a meaning in HTTP/1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_27_no_byte_of_http2_becomes_a_line_of_http1() {
    let mut rows = vec![(get(&[]), SERVED), (get(&[("x", "a b\tc")]), SERVED)];
    for name in ["X-Upper", "x y", "x\ry", "x\ny", "x\0y", "x:y", "x\u{fc}", ""] {
        rows.push((get(&[(name, "y")]), Outcome::GoAway(PROTOCOL_ERROR)));
    }
    for value in ["a\rb", "a\nb", "a\r\nb: c", "a\0b", "a\x7fb"] {
        rows.push((get(&[("x", value)]), Outcome::GoAway(PROTOCOL_ERROR)));
    }
    for path in ["/a b", "/a\r\nb: c", "/a\0", "a", "", "http://b/"] {
        rows.push((with(":path", path), RESET));
    }
    for path in ["/a\\b", "/a%00b", "*", "/\u{fc}", "?a"] {
        rows.push((with(":path", path), REFUSED));
    }
    for method in ["GE T", "G\r\n", ""] {
        rows.push((with(":method", method), Outcome::GoAway(PROTOCOL_ERROR)));
    }
    for authority in ["a b", "a\r\nb: c", "a/b", ""] {
        rows.push((with(":authority", authority), RESET));
    }
    play(rows).await;
}

/// S-29: fields of a connection have no place in HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_29_connection_fields_are_malformed() {
    let fields = [
        ("transfer-encoding", "chunked"),
        ("connection", "close"),
        ("connection", "x"),
        ("upgrade", "websocket"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ];
    let mut rows: Vec<_> = fields.iter().map(|field| (get(&[*field]), RESET)).collect();
    rows.push((get(&[("te", "trailers")]), SERVED));
    play(rows).await;
}

/// S-30: pseudo fields: one of each, first, and what they may say. `:scheme` builds nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_30_pseudo_fields_say_one_thing() {
    let mut late = get(&[]);
    late.insert(1, ("x", "y"));
    play(vec![
        (with(":scheme", "https"), SERVED),
        (with(":scheme", "ftp"), REFUSED),
        (with(":scheme", "http://x/?"), RESET),
        (with(":authority", "A.Example.COM"), SERVED),
        (with(":authority", "u@a.example.com"), REFUSED),
        (get(&[("host", HOST)]), SERVED),
        (get(&[("host", "b.example.com")]), REFUSED),
        (get(&[("host", HOST), ("host", HOST)]), REFUSED),
        (get(&[(":path", "/y")]), RESET),
        (get(&[(":authority", HOST)]), RESET),
        (get(&[(":status", "200")]), RESET),
        (get(&[(":other", "x")]), Outcome::GoAway(PROTOCOL_ERROR)),
        (late, RESET),
        (without(":method"), RESET),
        (without(":scheme"), RESET),
        (without(":path"), RESET),
        (without(":authority"), REFUSED),
    ])
    .await;
}

/// S-13, S-31, S-32 and S-17 on HTTP/2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_31_s_32_crumbs_expectations_and_connect() {
    let connect = vec![(":method", "CONNECT"), (":authority", "a:1")];
    let extended =
        [&get(&[])[1..], &[(":method", "CONNECT"), (":protocol", "connect-udp")]].concat();
    play(vec![
        (get(&[("cookie", "a=b"); 60]), SERVED),
        (get(&[("cookie", "a=b"); 200]), Outcome::Status(431)),
        (get(&[("expect", "x")]), Outcome::Status(417)),
        (connect, Outcome::Status(405)),
        (extended, Outcome::Status(501)),
        (get(&[(":protocol", "websocket")]), RESET),
    ])
    .await;
}

/// S-32: trailers are relayed without pseudo fields, which h2 drops, and never with connection fields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_32_no_pseudo_field_of_a_trailer_goes_on() {
    let (edge, pod) = start().await;
    for (name, outcome) in [("x", SERVED), (":path", SERVED), ("connection", RESET)] {
        let mut client = Requests::over(edge.client().await.stream).await;
        client.headers(1, &get(&[("trailer", "x")]), false).await;
        client.data(1, b"body", false).await;
        client.headers(1, &[(name, "y")], true).await;
        assert_eq!(client.outcome(1).await, outcome, "{name}");
    }
    let trailers: Vec<_> = pod.seen().into_iter().map(|seen| seen.trailers).collect();
    assert_eq!(trailers, [vec![("x".to_owned(), "y".to_owned())], Vec::new()]);
}

/// S-28: `content-length` that does not fit the data. The pod never has a whole request, and its
/// connection serves nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_28_a_length_that_does_not_fit_the_data_is_malformed() {
    type Row<'a> = (&'a [&'a str], &'a [&'a [u8]], bool);
    let rows: [Row<'_>; 6] = [
        (&["4"], &[b"body"], true),
        (&["5"], &[b"body"], false),
        (&["3"], &[b"body"], false),
        (&["4"], &[b"bo", b"dy!"], false),
        (&["+4"], &[b"body"], false),
        (&["4", "4"], &[b"body"], false),
    ];
    let (edge, pod) = start().await;
    for (lengths, parts, sound) in rows {
        let before = pod.attempts();
        let mut client = Requests::over(edge.client().await.stream).await;
        let mut fields = get(&[]);
        fields.extend(lengths.iter().map(|length| ("content-length", *length)));
        client.headers(1, &fields, false).await;
        for (nth, part) in parts.iter().enumerate() {
            client.data(1, part, nth + 1 == parts.len()).await;
        }
        let outcome = client.outcome(1).await;
        assert_eq!(outcome == SERVED, sound, "{lengths:?} {outcome:?}");
        assert_eq!(pod.attempts() - before, usize::from(sound), "{lengths:?}");
        after(&edge, &pod).await;
    }
    let mut client = Requests::over(edge.client().await.stream).await;
    client.headers(1, &get(&[("content-length", "4")]), true).await;
    assert_eq!(client.outcome(1).await, RESET);
    after(&edge, &pod).await;
}

/// S-33: a stream that ends at 10 of 100 bytes, when the pod has its head already.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_33_a_stream_that_ends_early_spends_the_pod_connection() {
    let (edge, pod) = start().await;
    let mut client = Requests::over(edge.client().await.stream).await;
    client.headers(1, &get(&[("content-length", "100")]), false).await;
    client.data(1, b"01234", false).await;
    eventually("the pod's connection", async || (pod.open() == 1).then_some(())).await;
    client.data(1, b"56789", true).await;
    assert_eq!(client.outcome(1).await, RESET);
    eventually("its end", async || (pod.open() == 0).then_some(())).await;
    assert_eq!(pod.attempts(), 0);
    after(&edge, &pod).await;
}

/// The next request to the pod has its own answer, on a pod connection where nothing came before it
/// that the pod could have taken for a request.
async fn after(edge: &Edge, pod: &Pod) {
    let before = pod.attempts();
    assert_eq!(edge.get(HOST, "/after").await.text(), "/after");
    assert_eq!(pod.seen()[before].line, "GET /after HTTP/1.1");
}
