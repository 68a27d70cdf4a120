//! Hostile bytes on every port: each ends with an answer or a close, no thread panics, and the router
//! serves afterwards (S-01 to S-26 as seen from outside).

use std::sync::{
    Once,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use serde_json::Value;
use tokio::net::TcpStream;
use wharf::net::proxy_protocol::write_v2;

use crate::harness::{
    client::{self, Client},
    manifest::{With as _, app, edge as edge_route},
    pod::Pod,
    router::Edge,
    tls::{self, Hello, hello},
};

const HOST: &str = "a.example.com";

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts panics of the router's own threads; those of tests fail their tests by themselves.
fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let thread = std::thread::current();
            if thread.name().is_some_and(|name| name.starts_with("worker-")) {
                PANICS.fetch_add(1, SeqCst);
            }
            usual(info);
        }));
    });
}

fn route() -> Value {
    edge_route("a", HOST, None).with("/spec/tls/insecureEdgeTerminationPolicy", "Allow")
}

/// Where bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Plain,
    /// To the TLS port, in place of a handshake.
    RawTls,
    /// Inside TLS.
    Tls,
    /// Behind a PROXY header.
    Proxy,
}

const WAYS: [Way; 4] = [Way::Plain, Way::RawTls, Way::Tls, Way::Proxy];

struct Targets {
    plain: Edge,
    proxy: Edge,
    pod: Pod,
}

impl Targets {
    async fn start() -> Self {
        watch_panics();
        let pod = Pod::saying("pod").await;
        let objects = app(route(), &[pod.address]);
        let change = |settings: &mut wharf::settings::RouterSettings| {
            let limit = std::time::Duration::from_millis(100);
            let timeouts = &mut settings.timeouts;
            (timeouts.head, timeouts.client, timeouts.handshake) = (limit, limit, limit);
            (timeouts.keep_alive, timeouts.inspect) = (limit, limit);
            timeouts.proxy_header = limit;
        };
        let plain = Edge::with(&objects, change).await;
        let proxy = Edge::with(&objects, |settings| {
            change(settings);
            settings.proxy_protocol = true;
        })
        .await;
        Self { plain, proxy, pod }
    }

    fn header() -> Vec<u8> {
        let mut header = Vec::new();
        let address = |text: &str| text.parse().expect("an address");
        write_v2(&mut header, address("203.0.113.1:1"), address("198.51.100.1:80"));
        header
    }

    /// Sends `bytes` and reads to the end of the connection.
    async fn exchange(&self, way: Way, bytes: &[u8]) -> Vec<u8> {
        match way {
            Way::Plain => finish(self.plain.client().await, bytes).await,
            Way::RawTls => finish(Client::connect(self.plain.https).await, bytes).await,
            Way::Proxy => {
                finish(self.proxy.client().await, &[&Self::header(), bytes].concat()).await
            },
            Way::Tls => {
                let wanted = Hello { alpn: &[], ..hello(HOST) };
                let stream = tls::connect(self.plain.https, wanted).await.expect("a handshake");
                finish(Client::over(stream), bytes).await
            },
        }
    }

    /// Both routers still serve, and no worker has panicked.
    async fn still_serve(&self) {
        assert_eq!(self.plain.get(HOST, "/").await.text(), "pod");
        let mut client = self.proxy.client().await;
        client.send(Self::header()).await;
        assert_eq!(client.get(HOST, "/").await.text(), "pod");
        assert_eq!(PANICS.load(SeqCst), 0);
        self.plain.is_quiet().await;
    }
}

async fn finish<S>(mut client: Client<S>, bytes: &[u8]) -> Vec<u8>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    client.send(bytes).await;
    client.rest().await
}

fn status(answer: &[u8]) -> &str {
    let text = std::str::from_utf8(answer).unwrap_or("not text");
    text.split(' ').nth(1).unwrap_or("")
}

/// A fixed table over the first rows of reliability.md 6.1: what must be refused is refused or closed
/// on every way in, and the pod sees nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_requests_are_refused_everywhere() {
    let start = format!("POST / HTTP/1.1\r\nHost: {HOST}\r\n");
    let get = format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n");
    let rows: Vec<(&str, Vec<u8>)> = [
        ("S-02 3, 3", format!("{start}content-length: 3, 3\r\n\r\nabc")),
        (
            "S-03 chunked twice",
            format!(
                "{start}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "S-03 chunked, chunked",
            format!("{start}transfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
        ),
        ("S-03 gzip, chunked", format!("{start}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n")),
        (
            "S-03 chunked on 1.0",
            format!(
                "POST / HTTP/1.0\r\nHost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        (
            "S-05 LF in extension",
            format!("{start}transfer-encoding: chunked\r\n\r\n5;\nhello\r\n0\r\n\r\n"),
        ),
        ("S-07 obs-fold", format!("{get}x: a\r\n b\r\n\r\n")),
        ("S-08 CTL in value", format!("{get}x: a\x01b\r\n\r\n")),
        ("S-18 HTTP/1.2", format!("GET / HTTP/1.2\r\nHost: {HOST}\r\n\r\n")),
        ("S-18 lower case version", format!("GET / http/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("S-24 non-ASCII", format!("GET /a\u{fc} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("two blanks", format!("GET  / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("S-02 length is a list", format!("{start}content-length: 1, 2\r\n\r\nab")),
        ("S-02 negative length", format!("{start}content-length: -1\r\n\r\n")),
        ("S-02 hex length", format!("{start}content-length: 0x1\r\n\r\na")),
        ("S-02 huge length", format!("{start}content-length: 99999999999999999999\r\n\r\n")),
        ("S-02 empty length", format!("{start}content-length: \r\n\r\n")),
        ("S-03 unknown coding", format!("{start}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n")),
        (
            "S-03 chunked is not last",
            format!("{start}transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        ),
        ("S-04 bad chunk size", format!("{start}transfer-encoding: chunked\r\n\r\nxyz\r\n")),
        (
            "S-04 huge chunk size",
            format!("{start}transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
        ),
        ("S-06 bare CR", format!("GET / HTTP/1.1\rHost: {HOST}\r\r")),
        ("S-07 space before the first field", format!("GET / HTTP/1.1\r\n Host: {HOST}\r\n\r\n")),
        ("S-08 NUL in a value", format!("{get}x: a\0b\r\n\r\n")),
        ("S-08 empty name", format!("{get}: x\r\n\r\n")),
        ("S-09 space before the colon", format!("GET / HTTP/1.1\r\nHost : {HOST}\r\n\r\n")),
        ("S-09 no colon", format!("{get}nonsense\r\n\r\n")),
        ("S-11 two hosts", format!("{get}Host: b\r\n\r\n")),
        ("S-11 blank in the host", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n".to_owned()),
        ("S-18 HTTP/0.9", "GET /\r\n".to_owned()),
        ("S-18 HTTP/3.0", format!("GET / HTTP/3.0\r\nHost: {HOST}\r\n\r\n")),
        ("S-24 no slash", format!("GET nonsense HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("S-24 blank in the target", format!("GET /a b HTTP/1.1\r\nHost: {HOST}\r\n\r\n")),
        ("S-25 huge field", format!("{get}x: {}\r\n\r\n", "y".repeat(200_000))),
        ("endless line", "G".repeat(200_000)),
        ("TLS on the plain port", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".to_owned()),
        ("preface and garbage", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all".to_owned()),
        ("half a preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n".to_owned()),
        ("a header of the wrong place", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_owned()),
    ]
    .map(|(what, text)| (what, text.into_bytes()))
    .into();
    let targets = Targets::start().await;
    for (what, bytes) in &rows {
        for way in WAYS {
            let answer = targets.exchange(way, bytes).await;
            let status = status(&answer);
            let frames = !answer.starts_with(b"HTTP/");
            let refused = frames || status.starts_with('4') || status.starts_with('5');
            assert!(refused, "{what} {way:?}: {:?}", String::from_utf8_lossy(&answer));
        }
        assert_eq!(targets.pod.attempts(), 0, "{what}");
    }
    targets.still_serve().await;
}

/// Random bytes, and requests with random bytes changed in them: the same from a fixed seed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_end_in_an_answer_or_a_close() {
    let targets = Targets::start().await;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let valid = client::get(HOST, "/some/path?query");
    for round in 0..60 {
        let bytes: Vec<u8> = if round % 2 == 0 {
            (0..draw() % 3000).map(|_| draw().to_le_bytes()[0]).collect()
        } else {
            let mut bytes = valid.clone().into_bytes();
            for _ in 0..=draw() % 4 {
                let at = usize::try_from(draw() % bytes.len() as u64).expect("small");
                bytes[at] = draw().to_le_bytes()[0];
            }
            // Ends the connection even if the change left a valid request.
            bytes.extend_from_slice(b"\0\r\n\r\n");
            bytes
        };
        everywhere(&targets, &bytes).await;
    }
    targets.still_serve().await;
}

/// The bytes on every way at once; each ends within the harness's bound.
async fn everywhere(targets: &Targets, bytes: &[u8]) {
    let [a, b, c, d] = WAYS.map(|way| targets.exchange(way, bytes));
    tokio::join!(a, b, c, d);
}

/// A TLS client that talks nonsense in the middle of its handshake, and one that leaves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_handshakes_end() {
    let targets = Targets::start().await;
    let real_hello = {
        // A listener that keeps what a real client sends first.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dialled = tokio::spawn(tls::connect(address, hello(HOST)));
        let (stream, _) = listener.accept().await.unwrap();
        let mut keeps: Client<TcpStream> = Client::over(stream);
        let head = keeps.bytes(5).await;
        let len = usize::from(u16::from_be_bytes([head[3], head[4]]));
        let hello = [head, keeps.bytes(len).await].concat();
        drop(keeps);
        assert!(dialled.await.unwrap().is_err());
        hello
    };
    for cut in [0, 1, 5, 6, 50, real_hello.len() / 2, real_hello.len() - 1] {
        let answer = targets.exchange(Way::RawTls, &real_hello[..cut]).await;
        assert!(answer.is_empty(), "cut at {cut}: {answer:?}");
    }
    let garbled = [&real_hello[..], b"\x17\x03\x03\x00\x04oops"].concat();
    targets.exchange(Way::RawTls, &garbled).await;
    for at in [0, 1, 2, 5, 9, 43, 44] {
        let mut bytes = real_hello.clone();
        bytes[at] ^= 0xff;
        targets.exchange(Way::RawTls, &bytes).await;
    }
    targets.still_serve().await;
}
