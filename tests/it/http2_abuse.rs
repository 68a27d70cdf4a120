//! What a hostile HTTP/2 client can send (reliability.md 6.3): each budget to its last frame, what
//! the client hears, what is counted, and that a client beside it on the same worker notices nothing.

use std::sync::Arc;

use tokio::sync::Semaphore;
use wharf::{frames::BUDGETS, settings::Http2Settings};

use crate::harness::{
    client::Client,
    eventually,
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, Frames,
        GOAWAY, HEADERS, INITIAL_WINDOW_SIZE, PING, PREFACE, PRIORITY, PROTOCOL_ERROR,
        REFUSED_STREAM, RST_STREAM, field, frame, get, integer, post, pseudo, reset, settings,
        string, window,
    },
    http2::{Http2, body},
    manifest::{app, edge, route},
    pod::{Act, Pod, ok},
    router::Edge,
    tls, within,
};

const HOST: &str = "a.example.com";
const URL: &str = "http://a.example.com/";

type Raw = Frames<tokio::net::TcpStream>;

/// One worker, a pod that answers `/held` when it is let, and a client that is served all the time.
struct Case {
    edge: Edge,
    pod: Pod,
    gate: Arc<Semaphore>,
    victim: Http2,
}

impl Case {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Http2Settings)) -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let permits = Arc::clone(&gate);
        let pod = Pod::early(move |seen| match seen.target() {
            "/held" => {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nheld".to_vec();
                Act::After(Arc::clone(&permits), answer)
            },
            "/never" => Act::Stall(Vec::new()),
            "/long" => ok([b'x'; 4096]),
            _ => ok("pod"),
        })
        .await;
        let edge = Edge::with(&app(route("a", HOST), &[pod.address]), |settings| {
            settings.workers = 1;
            change(&mut settings.http2);
        })
        .await;
        let victim = Http2::over(edge.client().await.stream).await;
        let mut case = Self { edge, pod, gate, victim };
        case.victim_is_served().await;
        case
    }

    async fn attacker(&self) -> Raw {
        Frames::connect(self.edge.http, &[]).await
    }

    async fn victim_is_served(&mut self) {
        assert_eq!(self.victim.get(URL).await.expect("the victim is served").status, 200);
    }

    /// Every budget that ended a connection, with its count.
    fn exceeded(&self) -> Vec<(&'static str, u64)> {
        let workers = &self.edge.router.stats.workers;
        let count = |index: usize| workers.sum(|cell| &cell.http2_exceeded[index]);
        let all = BUDGETS.iter().map(|(budget, word)| (*word, count(*budget as usize)));
        all.filter(|(_, count)| *count > 0).collect()
    }

    fn refusals(&self) -> u64 {
        let reasons = self.edge.reasons();
        reasons.iter().find(|(word, _)| *word == "bad_request").map_or(0, |(_, count)| *count)
    }

    /// The attacker is told to calm down and cut off for `budget`; the victim has noticed nothing, and
    /// nothing of the attack is left.
    async fn calmed(mut self, mut attacker: Raw, budget: &str) {
        let goaway = attacker.goaway().await;
        assert_eq!(goaway.code(), ENHANCE_YOUR_CALM, "{budget}");
        assert_eq!(attacker.rest().await, [], "{budget}: nothing comes after it");
        self.is_counted(budget).await;
        self.victim_is_served().await;
        self.leaves_nothing().await;
    }

    async fn is_counted(&self, budget: &str) {
        eventually("the refusal to be counted", async || (self.refusals() > 0).then_some(())).await;
        assert_eq!(self.exceeded(), [(budget, 1)]);
        assert_eq!(self.refusals(), 1);
        let metrics = Client::connect(self.edge.admin).await.get("localhost", "/metrics").await;
        let row = format!("wharf_http2_budget_exceeded_total{{budget=\"{budget}\"}} 1\n");
        assert!(metrics.text().contains(&row), "no {row}");
    }

    /// No request and no connection but the victim's is left.
    async fn leaves_nothing(&self) {
        let in_flight = || {
            self.edge.route("a", |state| {
                state.compiled.as_ref().expect("served").backend.stats.in_flight()
            })
        };
        eventually("the upstream work to end", async || {
            let only_the_victim = self.edge.router.stats.connections.load() == 1;
            (in_flight() == 0 && self.pod.open() <= 1 && only_the_victim).then_some(())
        })
        .await;
    }
}

/// Odd numbers from 1.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|index| 2 * index + 1)
}

/// S-34 (CVE-2023-44487): requests that are taken back at once. Before anything was answered, 50; the
/// pod never has more of them than there may be streams, and none in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_34_rapid_reset_before_a_response() {
    let mut case = Case::start().await;
    let mut attacker = case.attacker().await;
    for stream in streams(50) {
        attacker.send([get(stream, HOST, "/never"), reset(stream, 8)].concat()).await;
        attacker.settled().await;
        assert!(case.pod.open() <= 101);
    }
    case.victim_is_served().await;
    assert_eq!(case.exceeded(), []);
    attacker.send([get(101, HOST, "/never"), reset(101, 8)].concat()).await;
    case.calmed(attacker, "resets_unanswered").await;
}

/// S-34: after a response, 100 in a window of time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_34_rapid_reset_after_a_response() {
    let mut case = Case::start().await;
    let mut attacker = case.attacker().await;
    attacker.send(get(1, HOST, "/")).await;
    assert_eq!(attacker.head(1).await.status(), 200);
    for batch in streams(101).skip(1).collect::<Vec<_>>().chunks(10) {
        for stream in batch {
            attacker.send([get(*stream, HOST, "/never"), reset(*stream, 8)].concat()).await;
        }
        attacker.settled().await;
        case.victim_is_served().await;
    }
    assert_eq!(case.exceeded(), []);
    attacker.send([get(203, HOST, "/never"), reset(203, 8)].concat()).await;
    case.calmed(attacker, "resets").await;
}

/// S-34: the connection's life has a limit of its own, however slow the resets come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_34_resets_of_a_whole_life() {
    let case = Case::with(|http2| http2.budgets.resets_total = 20).await;
    let mut attacker = case.attacker().await;
    for stream in streams(21) {
        attacker.send([get(stream, HOST, "/never"), reset(stream, 8)].concat()).await;
        if stream < 41 {
            attacker.settled().await;
        }
    }
    case.calmed(attacker, "resets_total").await;
}

/// S-34: the library has its own limit for streams that it has not passed on yet, which are many
/// when they come at once. It is counted as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_34_resets_at_once_are_the_librarys() {
    let case = Case::start().await;
    let mut attacker = case.attacker().await;
    let burst = streams(30).flat_map(|stream| [get(stream, HOST, "/never"), reset(stream, 8)]);
    attacker.send(burst.collect::<Vec<_>>().concat()).await;
    case.calmed(attacker, "engine").await;
}

/// A name, and what is sent on a stream.
type Way = (&'static str, fn(u32) -> Vec<u8>);

/// How a client can make us reset a stream (CVE-2025-8671). The stream is open and its request is at the
/// pod.
const WAYS: [Way; 4] = [
    ("a window beyond 2^31", |stream| window(stream, 0x7fff_ffff)),
    ("HEADERS after the end", |stream| {
        [frame(DATA, END_STREAM, stream, ""), post(stream, HOST, "/never")].concat()
    }),
    ("a stream that depends on itself", |stream| {
        frame(PRIORITY, 0, stream, [&stream.to_be_bytes()[..], &[0]].concat())
    }),
    ("a second head", |stream| post(stream, HOST, "/never")),
];

/// S-35: whichever way, the streams stay at the pod no longer than at the client, and there is a bound
/// to how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_35_resets_that_we_are_made_to_send() {
    for (way, bytes) in WAYS {
        let mut case = Case::with(|http2| http2.budgets.resets_emitted = 5).await;
        let mut attacker = case.attacker().await;
        for stream in streams(5) {
            attacker.send(post(stream, HOST, "/never")).await;
            attacker.settled().await;
            attacker.send(bytes(stream)).await;
            let code = attacker.reset_of(stream).await;
            assert!(matches!(code, 1 | 3 | 5), "{way}: {code}");
        }
        case.victim_is_served().await;
        assert_eq!(case.exceeded(), [], "{way}");
        attacker.send([post(11, HOST, "/never"), bytes(11)].concat()).await;
        case.calmed(attacker, "resets_emitted").await;
    }
}

/// S-35: the bound is 500.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_35_five_hundred_resets_are_the_default() {
    let case = Case::start().await;
    let mut attacker = case.attacker().await;
    for stream in streams(501) {
        attacker.send([post(stream, HOST, "/never"), window(stream, 0x7fff_ffff)].concat()).await;
        if stream < 1001 {
            assert_eq!(attacker.reset_of(stream).await, FLOW_CONTROL_ERROR);
        }
    }
    case.calmed(attacker, "resets_emitted").await;
}

/// S-35: some ways cost the whole connection at once, which bounds them at one: a window update of 0,
/// a PRIORITY frame of the wrong length, DATA after the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_35_what_ends_the_connection_is_counted_as_well() {
    for bytes in [window(1, 0), frame(PRIORITY, 0, 1, "four"), frame(DATA, 0, 1, "x")] {
        let mut case = Case::start().await;
        let mut attacker = case.attacker().await;
        attacker.send([get(1, HOST, "/never"), bytes].concat()).await;
        assert_eq!(attacker.goaway().await.code(), PROTOCOL_ERROR);
        assert_eq!(attacker.rest().await, []);
        eventually("the refusal to be counted", async || (case.refusals() == 1).then_some(()))
            .await;
        assert_eq!(case.exceeded(), []);
        case.victim_is_served().await;
        case.leaves_nothing().await;
    }
}

/// S-36 (CVE-2024-27316): a header block of endless frames: 20 of them, or 64 KiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_36_continuation_flood() {
    let small = (0..21).map(|_| frame(CONTINUATION, 0, 1, field("x", "y")));
    let large = (0..4).map(|_| frame(CONTINUATION, 0, 1, vec![b'x'; 16_384]));
    // A value of 100,000 bytes, of which 16,384 x 4 and a few come.
    let value = [pseudo("GET", HOST, "/"), vec![0], string("x"), integer(0, 7, 100_000)].concat();
    let rows = [
        ("continuations", pseudo("GET", HOST, "/"), small.collect::<Vec<_>>().concat()),
        ("header_block", value, large.collect::<Vec<_>>().concat()),
    ];
    for (budget, head, continuations) in rows {
        let case = Case::start().await;
        let mut attacker = case.attacker().await;
        attacker.settled().await;
        attacker.send([frame(HEADERS, END_STREAM, 1, head), continuations].concat()).await;
        case.calmed(attacker, budget).await;
    }
}

/// S-36: what an ordinary client may need passes: a head of several frames.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_36_a_head_of_several_frames_is_served() {
    let case = Case::start().await;
    let mut client = case.attacker().await;
    let head = frame(HEADERS, END_STREAM, 1, pseudo("GET", HOST, "/"));
    let more = (0..5).map(|_| frame(CONTINUATION, 0, 1, field("x", "y")));
    let end = frame(CONTINUATION, END_HEADERS, 1, field("x", "z"));
    client.send([head, more.collect::<Vec<_>>().concat(), end].concat()).await;
    assert_eq!(client.head(1).await.status(), 200);
    assert_eq!(case.pod.seen()[1].all("x"), ["y", "y", "y", "y", "y", "z"]);
}

/// S-37, S-38, S-41 (CVE-2019-9512, 9515, 9518): floods of small frames, each to its last allowed one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_37_s_38_s_41_floods_of_small_frames() {
    // The settings of the preface are one of the 50.
    let rows: [(&str, usize, Vec<u8>); 6] = [
        ("settings", 49, settings(&[])),
        ("pings", 100, frame(PING, 0, 0, b"flooding")),
        ("pings", 100, frame(PING, END_STREAM, 0, b"flooding")),
        ("empty_frames", 100, frame(DATA, 0, 1, "")),
        ("ignored", 100, frame(PRIORITY, 0, 3, [0, 0, 0, 0, 9])),
        ("ignored", 100, frame(0xfb, 0, 0, "grease")),
    ];
    for (budget, allowed, bytes) in rows {
        let mut case = Case::start().await;
        let mut attacker = case.attacker().await;
        attacker.send(post(1, HOST, "/held")).await;
        attacker.send(bytes.repeat(allowed)).await;
        case.victim_is_served().await;
        // Nothing was refused: the request that was begun before is answered after it.
        case.gate.add_permits(1);
        assert_eq!(attacker.head(1).await.status(), 200, "{budget}");
        assert_eq!(case.exceeded(), []);
        attacker.send(&bytes).await;
        case.calmed(attacker, budget).await;
    }
}

/// S-41: window updates beyond what was sent to the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_41_window_update_flood() {
    let mut case = Case::start().await;
    let mut attacker = case.attacker().await;
    // The request pays for two.
    attacker.send(post(1, HOST, "/never")).await;
    attacker.send(window(1, 1).repeat(102)).await;
    attacker.settled().await;
    case.victim_is_served().await;
    assert_eq!(case.exceeded(), []);
    attacker.send(window(1, 1)).await;
    case.calmed(attacker, "window_updates").await;
}

/// S-40 (CVE-2019-9511): a client that has its bytes one by one, each for an update of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_40_data_dribble() {
    let mut case = Case::start().await;
    let mut attacker = Frames::connect(case.edge.http, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    attacker.send(get(1, HOST, "/long")).await;
    for _ in 0..102 {
        attacker.send(window(1, 1)).await;
        let data = attacker.until("a byte", |frame| frame.kind == DATA).await;
        assert_eq!(data.payload, b"x");
    }
    case.victim_is_served().await;
    assert_eq!(case.exceeded(), []);
    attacker.send(window(1, 1)).await;
    case.calmed(attacker, "window_updates").await;
}

/// S-39: one table entry of 3 KiB and thousands of references to it, a byte each. Within four times the
/// limit of a header list the client is told that its head is too large, and the decoder goes on;
/// beyond that the connection ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_39_hpack_bomb() {
    let mut case = Case::start().await;
    let mut attacker = case.attacker().await;
    let entry = [vec![0x40], string("x"), string(&"y".repeat(3000))].concat();
    let bomb = |stream, references: usize| {
        let block = [pseudo("GET", HOST, "/"), entry.clone(), vec![0xbe; references]].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, stream, block)
    };
    attacker.send(bomb(1, 40)).await;
    assert_eq!(attacker.head(1).await.status(), 431);
    attacker.send(get(3, HOST, "/")).await;
    assert_eq!(attacker.head(3).await.status(), 200, "the decoder's state is right");
    case.victim_is_served().await;
    attacker.send(bomb(5, 10_000)).await;
    case.calmed(attacker, "engine").await;
}

/// S-39, S-31, [LIM-1]: fields are counted and so are their bytes; a cookie in crumbs is many fields.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_31_s_39_fields_and_bytes_of_a_head_are_bounded() {
    let mut case = Case::start().await;
    let head = |name: &str, count: usize, value: &str| {
        let mut request = http::Request::get(URL);
        for index in 0..count {
            let name = if name == "cookie" { name.to_owned() } else { format!("{name}{index}") };
            request = request.header(name, value);
        }
        request.body(body("")).expect("a request")
    };
    let long = "v".repeat(8192);
    let rows = [
        (head("x", 101, "v"), 200),
        (head("x", 102, "v"), 431),
        (head("cookie", 101, "a=b"), 200),
        (head("cookie", 200, "a=b"), 431),
        (head("x", 2, &long), 200),
        (head("x", 3, &long), 431),
        (head("cookie", 3, &long), 431),
    ];
    for (request, status) in rows {
        let what = format!("{:.60?}", request.headers());
        assert_eq!(case.victim.send(request).await.expect("an answer").status, status, "{what}");
    }
    case.edge.has_reasons(&[("headers_too_large", 4)]).await;
    let crumbs = case.pod.seen().into_iter().find(|seen| !seen.all("cookie").is_empty());
    let crumbs = crumbs.expect("a request with cookies");
    assert_eq!(crumbs.all("cookie"), [vec!["a=b"; 101].join("; ")]);
}

/// S-42: streams begun after the last GOAWAY are not served; those before it complete.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_42_a_stream_after_goaway_is_not_served() {
    let Case { edge, pod, gate, victim } = Case::start().await;
    let mut client = Frames::connect(edge.http, &[]).await;
    client.send(get(1, HOST, "/held")).await;
    eventually("the request at the pod", async || (pod.attempts() == 2).then_some(())).await;
    let stop = tokio::spawn(edge.finish());
    let last = client.until("the last GOAWAY", |it| it.kind == GOAWAY && it.last_stream() == 1);
    assert_eq!(last.await.code(), 0);
    client.send([get(3, HOST, "/zombie"), post(5, HOST, "/zombie")].concat()).await;
    client.send(frame(DATA, END_STREAM, 5, "zombie")).await;
    client.send(reset(3, 8)).await;
    client.settled().await;
    gate.add_permits(1);
    let rest = client.rest().await;
    assert!(rest.iter().all(|it| !matches!(it.stream, 3 | 5) || it.kind == RST_STREAM), "{rest:?}");
    let data = rest.iter().find(|it| it.kind == DATA && it.stream == 1).expect("the answer");
    assert_eq!(data.payload, b"held");
    assert_eq!(pod.attempts(), 2, "no zombie at the pod");
    drop(victim);
    within("the router to end", stop).await.expect("no panic");
}

/// S-42: streams that end in every way leave nothing behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_42_streams_leave_nothing_behind() {
    let mut case = Case::with(|http2| {
        http2.budgets.resets = u32::MAX;
        http2.budgets.resets_emitted = u32::MAX;
    })
    .await;
    let mut client = case.attacker().await;
    for round in 0..300 {
        let (a, b, c) = (6 * round + 1, 6 * round + 3, 6 * round + 5);
        client.send([get(a, HOST, "/"), post(b, HOST, "/never")].concat()).await;
        client.send([post(c, HOST, "/never"), window(c, 0x7fff_ffff), reset(b, 8)].concat()).await;
        client.until("an answer", |frame| frame.stream == a && frame.ends()).await;
        assert!(case.pod.open() <= 101);
    }
    client.settled().await;
    drop(client);
    assert_eq!(case.exceeded(), []);
    case.victim_is_served().await;
    case.leaves_nothing().await;
}

/// S-43: 100 streams at once; the next one is refused, in a way that lets the client try it again, and
/// there is room again when one has ended. The client's acknowledgement of our settings is not
/// waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_43_the_hundred_and_first_stream_is_refused() {
    let mut case = Case::start().await;
    let mut client = case.attacker().await;
    let all = streams(101).map(|stream| get(stream, HOST, "/held")).collect::<Vec<_>>();
    client.send(all.concat()).await;
    assert_eq!(client.reset_of(201).await, REFUSED_STREAM);
    eventually("100 at the pod", async || (case.pod.attempts() == 101).then_some(())).await;
    case.victim_is_served().await;
    case.gate.add_permits(1);
    let done = client.until("an answer", |frame| frame.ends()).await;
    assert!(done.stream < 201);
    case.gate.add_permits(100);
    client.send(get(203, HOST, "/held")).await;
    assert_eq!(client.head(203).await.status(), 200);
    assert_eq!(case.exceeded(), []);
}

/// S-44: what is no HTTP/2 on a connection that agreed on it, HTTP/2 in clear on the TLS port, and
/// TLS on the plain port: closed, counted once, and nobody else is concerned.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_44_the_wrong_protocol_is_closed() {
    let pod = Pod::saying("pod").await;
    let edge = Edge::start(&app(edge("a", HOST, Some(&tls::pair(HOST))), &[pod.address])).await;
    for junk in [&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"] {
        let stream = tls::connect(edge.https, tls::hello(HOST)).await.expect("a handshake");
        let mut client = Client::over(stream);
        client.send(junk).await;
        let answer = client.rest().await;
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    edge.has_reasons(&[("bad_request", 2)]).await;
    let mut client = Client::connect(edge.https).await;
    client.send([PREFACE, &settings(&[])].concat()).await;
    // An alert of TLS at most.
    assert!(client.rest().await.len() <= 7);
    edge.has_reasons(&[("bad_request", 2), ("tls_handshake", 1)]).await;
    let mut client = edge.client().await;
    client.send(b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03").await;
    let answer = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
    let mut good = Http2::over(tls::connect(edge.https, tls::hello(HOST)).await.unwrap()).await;
    assert_eq!(good.get("https://a.example.com/").await.unwrap().body, "pod");
    let open = || edge.router.stats.connections.load();
    eventually("the others to be closed", async || (open() == 1).then_some(())).await;
}
