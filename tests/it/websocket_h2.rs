//! WebSockets on streams of HTTP/2 (RFC 8441): a tunnel like any other, that shares its connection.

use std::{sync::Arc, time::Duration};

use h2::Reason;
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Semaphore, oneshot},
};
use wharf::headers::websocket;

use crate::harness::{
    eventually,
    h2client::{End, H2Client, Stream, connect},
    manifest::{With as _, app, edge as edge_route, route},
    pod::{Act, Pod, Seen, bare, ok, raw},
    router::Edge,
    tls::{self, hello},
    within,
};

const HOST: &str = "a.example.com";
const URL: &str = "http://a.example.com/ws";

/// The 101 for what the pod has seen.
fn switch(seen: &Seen) -> Vec<u8> {
    let key = seen.all("sec-websocket-key").concat();
    let accept = websocket::accept(key.as_bytes());
    let accept = accept.to_str().expect("base64");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         content-length: 0\r\nsec-websocket-protocol: chat\r\nsec-websocket-accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

/// A pod that echoes on `/ws` and says ok elsewhere.
async fn echo_pod() -> Pod {
    Pod::start(|seen| match seen.target() {
        "/ws" => Act::Tunnel(switch(seen)),
        _ => ok("plain"),
    })
    .await
}

async fn client(edge: &Edge) -> H2Client {
    let client = H2Client::over(edge.client().await.stream).await;
    client.may_connect().await;
    client
}

/// A tunnel over one worker to a pod that does as `pod` says.
async fn tunnel<F>(pod: impl FnOnce(TcpStream) -> F + Send + 'static) -> (Edge, H2Client, Stream)
where
    F: Future<Output = ()> + Send + 'static,
{
    let address = bare(async move |mut stream, seen| {
        stream.write_all(&switch(&seen)).await.expect("a reader");
        pod(stream).await;
    })
    .await;
    let edge = Edge::start(&app(route("a", HOST), &[address])).await;
    let mut client = client(&edge).await;
    let stream = client.open(connect("websocket", URL)).await.expect("a tunnel");
    assert_eq!(stream.head.status(), 200);
    (edge, client, stream)
}

/// What a pod's connection says next: bytes, an end, or why it failed.
async fn next(stream: &mut TcpStream) -> Result<usize, std::io::ErrorKind> {
    let read = within("the pod's side", stream.read(&mut [0; 64])).await;
    read.map_err(|error| error.kind())
}

/// RFC 8441 5: CONNECT becomes the GET that a pod of HTTP/1.1 knows, its 101 a 200; bytes go both ways,
/// and the connection serves others meanwhile. Over TLS and plain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc_8441_a_stream_is_a_websocket() {
    let pod = echo_pod().await;
    let policy = "/spec/tls/insecureEdgeTerminationPolicy";
    let pair = tls::pair(HOST);
    let objects = app(edge_route("a", HOST, Some(&pair)).with(policy, "Allow"), &[pod.address]);
    let edge = Edge::start(&objects).await;
    let secure = tls::connect(edge.https, hello(HOST)).await.unwrap();
    let secure = H2Client::over(secure).await;
    secure.may_connect().await;
    for (mut client, scheme) in [(client(&edge).await, "http"), (secure, "https")] {
        let mut request = connect("websocket", &format!("{scheme}://{HOST}/ws"));
        for (name, value) in [
            ("sec-websocket-protocol", "chat"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("origin", "o"),
        ] {
            request.headers_mut().append(name, value.parse().unwrap());
        }
        let mut stream = client.open(request).await.unwrap();
        assert_eq!(stream.head.status(), 200);
        let fields = stream.head.headers();
        assert_eq!(fields["sec-websocket-protocol"], "chat");
        for name in ["connection", "upgrade", "sec-websocket-accept", "content-length"] {
            assert_eq!(fields.get(name), None, "{name}");
        }
        for nth in 0_u32..100 {
            stream.say(nth.to_be_bytes()).await;
            assert_eq!(stream.hear(4).await, nth.to_be_bytes());
        }
        let block = vec![7; 10_000];
        for _ in 0..100 {
            stream.say(&block).await;
            assert!(stream.hear(block.len()).await == block);
        }
        let mut other = client.get(&format!("{scheme}://{HOST}/")).await.unwrap();
        assert_eq!(other.hear(9).await, b"plain");
        stream.end();
        assert_eq!(stream.over().await, End::Orderly);
    }
    let seen: Vec<Seen> = pod.seen().into_iter().filter(|seen| seen.target() == "/ws").collect();
    for seen in &seen {
        assert_eq!(seen.line, "GET /ws HTTP/1.1");
        assert_eq!(
            (seen.all("upgrade"), seen.all("connection")),
            (vec!["websocket"], vec!["upgrade"])
        );
        assert_eq!(seen.all("sec-websocket-version"), ["13"]);
        assert_eq!(seen.all("sec-websocket-key")[0].len(), 24);
        assert_eq!((seen.all("cookie"), seen.all("origin")), (vec!["a=1; b=2"], vec!["o"]));
        assert_eq!(seen.all("host"), [HOST]);
        assert!(seen.all("content-length").is_empty() && seen.all("transfer-encoding").is_empty());
    }
    assert_ne!(seen[0].all("sec-websocket-key"), seen[1].all("sec-websocket-key"));
    edge.is_quiet().await;
    assert!(edge.reasons().is_empty(), "{:?}", edge.reasons());
}

/// S-15: only a 101 to a WebSocket with the right Sec-WebSocket-Accept is a tunnel. A 2xx would be
/// taken for one; other answers pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_15_only_the_pods_consent_makes_a_tunnel() {
    let consent = |seen: &Seen| String::from_utf8(switch(seen)).unwrap();
    let pod = Pod::start(move |seen| match seen.target() {
        "/wrong" => {
            raw(&consent(seen).replace("sec-websocket-accept: ", "sec-websocket-accept: x"))
        },
        "/none" => raw(&consent(seen).replace("sec-websocket-accept: ", "x-accept: ")),
        "/other" => raw(&consent(seen).replace("upgrade: websocket", "upgrade: other")),
        "/200" => ok("no tunnel"),
        "/204" => raw("HTTP/1.1 204 No Content\r\n\r\n"),
        _ => raw("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nupgrade: websocket\r\n\r\nno"),
    })
    .await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut client = client(&edge).await;
    for path in ["wrong", "none", "other", "200", "204"] {
        let request = connect("websocket", &format!("http://{HOST}/{path}"));
        let stream = client.begin(request, b"early").await.unwrap();
        assert_eq!(stream.head.status(), 502, "{path}");
    }
    edge.has_reasons(&[("upstream_invalid", 5)]).await;
    let request = connect("websocket", &format!("http://{HOST}/403"));
    let mut stream = client.begin(request, b"early").await.unwrap();
    assert_eq!((stream.head.status().as_u16(), stream.hear(2).await), (403, b"no".to_vec()));
    assert_eq!(stream.head.headers().get("upgrade"), None);
    let nowhere = connect("websocket", "http://nobody.example.com/");
    assert_eq!(client.open(nowhere).await.unwrap().head.status(), 503);
    assert_eq!((pod.attempts(), pod.stray()), (6, 0));
}

/// RFC 9220 3: 501 to another `:protocol`; S-17: 405 to CONNECT without one. The connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_17_nothing_else_is_connected() {
    let pod = echo_pod().await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut client = client(&edge).await;
    for protocol in ["connect-udp", "webtransport", "websocket2", "h2c"] {
        let stream = client.open(connect(protocol, URL)).await.unwrap();
        assert_eq!(stream.head.status(), 501, "{protocol}");
    }
    let plain = Request::connect("a.example.com:80").body(()).unwrap();
    assert_eq!(client.open(plain).await.unwrap().head.status(), 405);
    edge.has_reasons(&[("method_not_allowed", 5)]).await;
    let stream = client.open(connect("WebSocket", URL)).await.unwrap();
    assert_eq!(stream.head.status(), 200);
    assert_eq!(pod.attempts(), 1);
}

/// S-15: DATA in front of the 200 reaches the pod, but only behind its 101.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_15_early_data_waits_for_the_101() {
    let (go, gone) = oneshot::channel();
    let address = bare(async move |mut stream, seen| {
        let early = tokio::time::timeout(Duration::from_millis(100), stream.read_u8()).await;
        go.send(early.is_err()).expect("the test waits");
        stream.write_all(&switch(&seen)).await.expect("a reader");
        let mut early = [0; 5];
        stream.read_exact(&mut early).await.expect("a writer");
        stream.write_all(&early).await.expect("a reader");
    })
    .await;
    let edge = Edge::start(&app(route("a", HOST), &[address])).await;
    let mut client = client(&edge).await;
    let mut stream = client.begin(connect("websocket", URL), b"early").await.unwrap();
    assert!(gone.await.unwrap(), "nothing before the 101");
    assert_eq!(stream.hear(5).await, b"early");
}

/// RFC 8441 5: END_STREAM is the end of a connection, each way by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc_8441_the_end_of_one_side_leaves_the_other() {
    let (edge, _client, mut stream) = tunnel(async |mut stream| {
        assert_eq!(next(&mut stream).await, Ok(5));
        assert_eq!(next(&mut stream).await, Ok(0), "the client's end");
        stream.write_all(b"and mine").await.expect("a reader");
    })
    .await;
    stream.say("hello").await;
    stream.end();
    assert_eq!(stream.hear(8).await, b"and mine");
    assert_eq!(stream.over().await, End::Orderly);
    drop(stream);
    edge.has_reasons(&[]).await;

    let (told, tell) = oneshot::channel();
    let (edge, _client, mut stream) = tunnel(async |mut stream| {
        stream.write_all(b"bye").await.expect("a reader");
        stream.shutdown().await.expect("a reader");
        told.send((next(&mut stream).await, next(&mut stream).await)).expect("the test waits");
    })
    .await;
    assert_eq!(stream.hear(3).await, b"bye");
    assert_eq!(stream.over().await, End::Orderly);
    stream.say("hello").await;
    stream.end();
    assert_eq!(tell.await.unwrap(), (Ok(5), Ok(0)));
    edge.has_reasons(&[]).await;
}

/// RFC 8441 5: a reset is passed on as one, each way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc_8441_a_reset_is_a_reset() {
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let (told, tell) = oneshot::channel();
        let (_edge, _client, mut stream) = tunnel(async |mut stream| {
            told.send(next(&mut stream).await).expect("the test waits");
        })
        .await;
        stream.send.send_reset(reason);
        assert_eq!(tell.await.unwrap(), Err(std::io::ErrorKind::ConnectionReset), "{reason}");
    }
    let (_edge, _client, mut stream) = tunnel(async |stream| {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option of TCP");
    })
    .await;
    assert_eq!(stream.over().await, End::Reset(Some(Reason::CANCEL)));
}

/// A client that resets its stream, or whose connection is gone, is noticed while the pod takes
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_is_noticed_behind_a_pod_that_takes_nothing() {
    for vanish in [false, true] {
        let hold = Arc::new(Semaphore::new(0));
        let held = Arc::clone(&hold);
        let (edge, client, mut stream) = tunnel(async move |stream| {
            let _held = held.acquire().await;
            drop(stream);
        })
        .await;
        // More than windows and the kernel's buffers take.
        let block = vec![b'x'; 64 * 1024];
        while tokio::time::timeout(Duration::from_millis(300), stream.say(&block)).await.is_ok() {}
        if vanish {
            client.vanish();
        } else {
            stream.send.send_reset(Reason::CANCEL);
        }
        eventually("the tunnel to end", async || {
            (edge.count("a", |counters| &counters.given)
                == edge.count("a", |counters| &counters.taken_back))
            .then_some(())
        })
        .await;
    }
}

/// A client that takes nothing stops the pod, a pod that takes nothing stops the client, and when they
/// go on nothing is missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_couple_client_and_pod() {
    const WHOLE: usize = 24 * 1024 * 1024;
    /// What windows and buffers hold at most.
    const HELD: usize = 16 * 1024 * 1024;
    let pace = Duration::from_millis(300);
    let (told, tell) = oneshot::channel();
    let (_edge, _client, mut stream) = tunnel(async move |mut stream| {
        let block = vec![b'x'; 64 * 1024];
        let mut written = 0;
        while let Ok(wrote) = tokio::time::timeout(pace, stream.write(&block)).await {
            written += wrote.expect("a reader");
        }
        told.send(written).expect("the test waits");
        stream.write_all(&vec![b'x'; WHOLE - written]).await.expect("a reader");
        let mut taken = 0;
        let mut space = vec![0; 64 * 1024];
        while taken < WHOLE {
            taken += stream.read(&mut space).await.expect("a writer");
        }
        stream.write_all(b"all").await.expect("a reader");
    })
    .await;
    let held = tell.await.unwrap();
    assert!(held < HELD, "{held} bytes left the pod while the client took nothing");
    assert_eq!(stream.hear(WHOLE).await.len(), WHOLE);

    let (go, gone) = oneshot::channel::<()>();
    let (_edge, _client, mut stream) = tunnel(async move |mut stream| {
        gone.await.expect("the test goes on");
        let mut taken = 0;
        let mut space = vec![0; 64 * 1024];
        while taken < WHOLE {
            taken += stream.read(&mut space).await.expect("a writer");
        }
        stream.write_all(b"all").await.expect("a reader");
    })
    .await;
    let block = vec![b'x'; 16 * 1024];
    let mut said = 0;
    while said < WHOLE {
        stream.send.reserve_capacity(block.len());
        let room = std::future::poll_fn(|cx| stream.send.poll_capacity(cx));
        let Ok(room) = tokio::time::timeout(pace, room).await else { break };
        let part = room.unwrap().unwrap().min(WHOLE - said).min(block.len());
        stream.send.send_data(block[..part].to_vec().into(), false).unwrap();
        said += part;
    }
    assert!(said < HELD, "{said} bytes left the client while the pod took nothing");
    go.send(()).unwrap();
    stream.say(&vec![b'x'; WHOLE - said]).await;
    assert_eq!(stream.hear(3).await, b"all");
}

/// The tunnel limit and the limits of a half-closed tunnel [ANN-TMO-1], [spec/route.md 13]: the stream
/// ends, the connection goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_stream_ends_and_its_connection_goes_on() {
    let pod = echo_pod().await;
    let short = Duration::from_millis(100);
    let objects = app(route("a", HOST), &[pod.address]);
    let edge = Edge::with(&objects, |settings| settings.timeouts.tunnel = short).await;
    let mut client = client(&edge).await;
    let mut stream = client.open(connect("websocket", URL)).await.unwrap();
    assert_eq!(stream.over().await, End::Reset(Some(Reason::CANCEL)));
    eventually("the pod's side to end", async || (pod.open() == 0).then_some(())).await;
    let url = format!("http://{HOST}/");
    assert_eq!(client.get(&url).await.unwrap().hear(5).await, b"plain");

    let stalling = Pod::start(|seen| Act::Stall(switch(seen))).await;
    let objects = app(route("a", HOST), &[stalling.address]);
    let edge = Edge::with(&objects, |settings| {
        settings.timeouts.client_fin = Duration::from_millis(20);
        settings.timeouts.server_fin = Duration::from_secs(3600);
    })
    .await;
    let mut client = self::client(&edge).await;
    let mut stream = client.open(connect("websocket", URL)).await.unwrap();
    stream.end();
    assert_eq!(stream.over().await, End::Orderly, "the pod said nothing more in time");
    eventually("the pod's side to end", async || (stalling.open() == 0).then_some(())).await;
}

/// In a tunnel only the tunnel limit holds: neither the limits of requests nor those of a connection
/// without requests do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_limits_do_not_hold_in_a_stream() {
    let pod = echo_pod().await;
    let limit = Duration::from_millis(60);
    let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
        let timeouts = &mut settings.timeouts;
        (timeouts.client, timeouts.server, timeouts.head) = (limit, limit, limit);
        timeouts.keep_alive = limit;
    })
    .await;
    let mut client = client(&edge).await;
    let mut stream = client.open(connect("websocket", URL)).await.unwrap();
    for _ in 0..4 {
        assert!(edge.client().await.closed().await);
    }
    stream.say("still here").await;
    assert_eq!(stream.hear(10).await, b"still here");
}

/// S-43: a tunnel is one of the connection's streams for as long as it is open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_43_a_tunnel_takes_a_stream() {
    let pod = echo_pod().await;
    let objects = app(route("a", HOST), &[pod.address]);
    let edge = Edge::with(&objects, |settings| settings.http2.max_streams = 2).await;
    let mut client = client(&edge).await;
    let mut first = client.open(connect("websocket", URL)).await.unwrap();
    let _second = client.open(connect("websocket", URL)).await.unwrap();
    let mut third = std::pin::pin!(client.open(connect("websocket", URL)));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut third).await.is_err());
    first.end();
    assert_eq!(third.await.unwrap().head.status(), 200);
    assert_eq!(pod.attempts(), 3);
}

/// Small messages are no flood: thousands of two bytes each way, and the connection stands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_38_small_messages_are_no_flood() {
    let pod = echo_pod().await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut client = client(&edge).await;
    let mut stream = client.open(connect("websocket", URL)).await.unwrap();
    for _ in 0..30 {
        for _ in 0..100 {
            stream.say("hi").await;
        }
        assert_eq!(stream.hear(200).await, b"hi".repeat(100));
    }
    let exceeded = |index: usize| edge.router.stats.workers.sum(|cell| &cell.http2_exceeded[index]);
    assert!((0..wharf::frames::BUDGETS.len()).all(|index| exceeded(index) == 0));
}

/// S-34, S-42: tunnels that are opened and reset are within the budget of resets, and leave nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_42_tunnels_leave_nothing_behind() {
    let pod = echo_pod().await;
    let edge = Edge::start(&app(route("a", HOST), &[pod.address])).await;
    let mut client = client(&edge).await;
    for nth in 0..60 {
        let mut stream = client.open(connect("websocket", URL)).await.unwrap();
        match nth % 3 {
            0 => stream.send.send_reset(Reason::CANCEL),
            1 => stream.end(),
            _ => drop(stream),
        }
    }
    let _kept: Vec<Stream> = {
        let mut kept = Vec::new();
        for _ in 0..20 {
            kept.push(client.open(connect("websocket", URL)).await.unwrap());
        }
        kept
    };
    client.vanish();
    eventually("the pod's sides to end", async || (pod.open() == 0).then_some(())).await;
    edge.is_quiet().await;
    assert_eq!(
        edge.count("a", |counters| &counters.given),
        edge.count("a", |counters| &counters.taken_back)
    );
}

/// Draining: a tunnel goes on, and may end by itself, while new streams are not taken; when the grace is
/// over it is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_lives_through_the_grace() {
    for grace in [Duration::from_secs(60), Duration::from_millis(100)] {
        let pod = echo_pod().await;
        let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
            settings.timeouts.drain_grace = grace;
        })
        .await;
        let mut client = client(&edge).await;
        let mut stream = client.open(connect("websocket", URL)).await.unwrap();
        let stop = tokio::spawn(edge.finish());
        eventually("GOAWAY", async || {
            client.open(connect("websocket", URL)).await.is_err().then_some(())
        })
        .await;
        if grace > Duration::from_secs(1) {
            stream.say("still here").await;
            assert_eq!(stream.hear(10).await, b"still here");
            assert!(!stop.is_finished());
            stream.end();
            assert_eq!(stream.over().await, End::Orderly);
        } else {
            assert_ne!(stream.over().await, End::Orderly);
        }
        eventually("the pod's side to end", async || (pod.open() == 0).then_some(())).await;
        within("the router to end", stop).await.unwrap();
    }
}
