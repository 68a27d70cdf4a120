//! The resolver against name servers that say what a test wants.

use std::net::Ipv4Addr;

use hickory_proto::rr::rdata::A;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use super::*;

/// What a name server does with a question.
type Reply = fn(&mut Message, asked: usize);

/// A name server and the names that it was asked for.
struct Upstream {
    address: SocketAddr,
    asked: mpsc::UnboundedReceiver<String>,
    _stop: tokio_util::sync::DropGuard,
}

impl Upstream {
    /// Answers by UDP with what `reply` makes of an empty answer.
    async fn start(reply: Reply) -> Self {
        Self::on(UdpSocket::bind("127.0.0.1:0").await.unwrap(), reply)
    }

    fn on(socket: UdpSocket, reply: Reply) -> Self {
        let address = socket.local_addr().unwrap();
        let (send, asked) = mpsc::unbounded_channel();
        let cancel = CancellationToken::new();
        let running = cancel.clone();
        tokio::spawn(running.run_until_cancelled_owned(async move {
            let mut buffer = [0; 1_500];
            for number in 0.. {
                let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
                let mut message = Message::from_vec(&buffer[..length]).unwrap().into_response();
                send.send(message.queries[0].name().to_ascii()).unwrap();
                reply(&mut message, number);
                socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
            }
        }));
        Self { address, asked, _stop: cancel.drop_guard() }
    }

    /// How many questions have come that nobody has counted yet.
    fn count(&mut self) -> usize {
        std::iter::from_fn(|| self.asked.try_recv().ok()).count()
    }
}

/// Adds `192.0.2.N` for N = `last`.
fn say(message: &mut Message, last: u8, ttl: u32) {
    let name = message.queries[0].name().clone();
    let data = RData::A(A(Ipv4Addr::new(192, 0, 2, last)));
    message.add_answer(Record::from_rdata(name, ttl, data));
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

async fn addresses(resolver: &Resolver, text: &str) -> Vec<String> {
    let found = resolver.lookup(&name(text), RecordType::A).await.unwrap();
    found.answers.iter().map(|record| record.data.to_string()).collect()
}

fn to(zones: &[(&str, &[&Upstream])], options: ForwardOptions) -> Resolver {
    let zone = |(apex, servers): &(&str, &[&Upstream])| ForwardZone {
        apex: name(apex),
        servers: servers.iter().map(|server| server.address).collect(),
    };
    Resolver::with(zones.iter().map(zone).collect(), options).unwrap()
}

fn with_cache(cache: CacheOptions) -> ForwardOptions {
    ForwardOptions { cache, ..ForwardOptions::default() }
}

#[tokio::test]
async fn the_longest_zone_says_who_is_asked() {
    let a = Upstream::start(|message, _| say(message, 1, 60)).await;
    let b = Upstream::start(|message, _| say(message, 2, 60)).await;
    let zones: [(&str, &[&Upstream]); 2] = [("corp.test.", &[&a]), ("Deep.corp.test.", &[&b])];
    let resolver = to(&zones, ForwardOptions::default());
    for (asked, said) in [
        ("x.corp.test.", "192.0.2.1"),
        ("corp.test.", "192.0.2.1"),
        ("x.deep.corp.test.", "192.0.2.2"),
        ("DEEP.Corp.test.", "192.0.2.2"),
        ("notdeep.corp.test.", "192.0.2.1"),
    ] {
        assert_eq!(addresses(&resolver, asked).await, [said], "{asked}");
    }
    for elsewhere in ["test.", "xcorp.test.", "example.com."] {
        let ready = resolver.ready(&name(elsewhere), RecordType::A);
        assert!(matches!(ready, Ready::Elsewhere), "{elsewhere}: {ready:?}");
    }
}

#[tokio::test]
async fn servers_take_turns_as_the_policy_says() {
    for (policy, wanted) in [(Policy::Sequential, [4, 0]), (Policy::RoundRobin, [2, 2])] {
        let mut a = Upstream::start(|message, _| say(message, 1, 60)).await;
        let mut b = Upstream::start(|message, _| say(message, 2, 60)).await;
        let pool = PoolOptions { policy, ..PoolOptions::default() };
        let options = ForwardOptions { pool, ..ForwardOptions::default() };
        let resolver = to(&[(".", &[&a, &b])], options);
        for number in 0..4 {
            addresses(&resolver, &format!("n{number}.test.")).await;
        }
        assert_eq!([a.count(), b.count()], wanted, "{policy:?}");
    }
}

/// Attempts are bounded, and one that has told a failure does not hide one that knows.
#[tokio::test]
async fn the_next_server_is_asked_when_one_fails() {
    let mut bad = Upstream::start(|m, _| m.metadata.response_code = ResponseCode::ServFail).await;
    let mut good = Upstream::start(|message, _| say(message, 2, 60)).await;
    let resolver = to(&[(".", &[&bad, &good])], ForwardOptions::default());
    assert_eq!(addresses(&resolver, "a.test.").await, ["192.0.2.2"]);
    assert_eq!((bad.count(), good.count()), (1, 1));

    let resolver = to(&[(".", &[&bad])], ForwardOptions::default());
    let failed = resolver.lookup(&name("a.test."), RecordType::A).await;
    assert!(matches!(failed, Err(ResolveError::Refused(ResponseCode::ServFail))), "{failed:?}");
    assert_eq!(bad.count(), 3, "three tries at one server");
    assert_eq!(resolver.stats().tries.load(), 3);
}

/// A server whose port is closed is asked last once it has failed twice.
#[tokio::test]
async fn a_dead_server_is_asked_last() {
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut good = Upstream::start(|message, _| say(message, 2, 60)).await;
    let zone = ForwardZone { apex: Name::root(), servers: vec![gone, good.address] };
    let resolver = Resolver::with(vec![zone], ForwardOptions::default()).unwrap();
    for number in 0..5 {
        assert_eq!(addresses(&resolver, &format!("n{number}.test.")).await, ["192.0.2.2"]);
    }
    assert_eq!(good.count(), 5);
    assert_eq!(resolver.stats().failed_tries.load(), 2);
}

/// Answers with another number, to another question, or that are none, do not count.
#[tokio::test]
async fn only_the_answer_to_the_question_counts() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 1_500];
        let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
        let question = Message::from_vec(&buffer[..length]).unwrap();
        let mut wrong_number = question.clone().into_response();
        wrong_number.metadata.id ^= 1;
        say(&mut wrong_number, 6, 60);
        let mut other = question.clone().into_response();
        other.queries[0].set_name(name("other.test."));
        say(&mut other, 6, 60);
        let mut right = question.clone().into_response();
        say(&mut right, 1, 60);
        for message in [wrong_number, other, question, right] {
            socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
        }
    });
    let resolver = Resolver::to(&[address]).unwrap();
    assert_eq!(addresses(&resolver, "a.test.").await, ["192.0.2.1"]);
}

/// An answer that was cut by UDP is had whole by TCP; when TCP fails it is handed on as it is, and not
/// kept.
#[tokio::test]
async fn a_cut_answer_is_asked_again_by_tcp() {
    let cut: Reply = |message, _| {
        say(message, 1, 60);
        message.metadata.truncation = true;
    };
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let udp = UdpSocket::bind(tcp.local_addr().unwrap()).await.unwrap();
    let mut server = Upstream::on(udp, cut);
    let whole = tokio::spawn(async move {
        let (mut stream, _) = tcp.accept().await.unwrap();
        let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut bytes).await.unwrap();
        let mut message = Message::from_vec(&bytes).unwrap().into_response();
        (1..=100).for_each(|last| say(&mut message, last, 60));
        let bytes = message.to_vec().unwrap();
        stream.write_u16(bytes.len().try_into().unwrap()).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
    });
    let resolver = to(&[(".", &[&server])], ForwardOptions::default());
    assert_eq!(addresses(&resolver, "many.test.").await.len(), 100);
    whole.await.unwrap();
    // Now nobody listens by TCP.
    for _ in 0..2 {
        let found = resolver.lookup(&name("more.test."), RecordType::A).await.unwrap();
        assert_eq!((found.truncated, found.answers.len()), (true, 1));
    }
    assert_eq!((server.count(), resolver.stats().tcp_retries.load()), (3, 3));
    assert_eq!(resolver.cached(), [1, 0]);
}

/// The cache answers in between, with the TTL that is left, in any spelling.
#[tokio::test]
async fn answers_are_kept() {
    let mut server = Upstream::start(|message, _| say(message, 1, 7_200)).await;
    let resolver = to(&[(".", &[&server])], ForwardOptions::default());
    let first = resolver.lookup(&name("a.test."), RecordType::A).await.unwrap();
    let second = resolver.lookup(&name("A.Test."), RecordType::A).await.unwrap();
    assert_eq!((first.answers[0].ttl, second.answers.len()), (900, 1), "OpenShift's cache 900");
    assert!(second.answers[0].ttl <= 900);
    assert_eq!(server.count(), 1);
    let stats = resolver.stats();
    assert_eq!((stats.requests.load(), stats.hits.load(), stats.misses.load()), (2, 1, 1));
}

#[tokio::test]
async fn the_cache_makes_room() {
    let mut server = Upstream::start(|message, _| say(message, 1, 60)).await;
    let cache = CacheOptions { entries: 2, ..CacheOptions::default() };
    let resolver = to(&[(".", &[&server])], with_cache(cache));
    for number in 0..5 {
        addresses(&resolver, &format!("n{number}.test.")).await;
    }
    assert_eq!(resolver.cached(), [2, 0]);
    assert_eq!((resolver.stats().evictions.load(), server.count()), (3, 5));
}

/// RFC 8767: the stale answer comes at once with TTL 0, the new one behind it.
#[tokio::test]
async fn a_stale_answer_is_refreshed_behind_it() {
    let mut server =
        Upstream::start(|message, asked| say(message, u8::try_from(asked).unwrap(), 60)).await;
    let cache = CacheOptions {
        // Over as soon as it is there.
        min_ttl: Duration::from_millis(1),
        max_ttl: Duration::from_millis(1),
        serve_stale: Duration::from_secs(3_600),
        ..CacheOptions::default()
    };
    let resolver = to(&[(".", &[&server])], with_cache(cache));
    assert_eq!(addresses(&resolver, "a.test.").await, ["192.0.2.0"]);
    server.asked.recv().await.unwrap();
    tokio::time::sleep(Duration::from_millis(2)).await;
    let stale = resolver.lookup(&name("a.test."), RecordType::A).await.unwrap();
    assert_eq!((stale.answers[0].data.to_string(), stale.answers[0].ttl), ("192.0.2.0".into(), 0));
    tokio::time::timeout(PATIENCE, server.asked.recv()).await.unwrap().unwrap();
    assert_eq!(resolver.stats().served_stale.load(), 1);
    let renewed = async {
        while addresses(&resolver, "a.test.").await == ["192.0.2.0"] {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.unwrap();
}

/// What is asked for often is asked again before its end; beyond `max_refreshes` it is left.
#[tokio::test]
async fn what_is_asked_often_is_prefetched() {
    let mut server = Upstream::start(|message, _| say(message, 1, 60)).await;
    let always = Prefetch { amount: 2, pause: Duration::from_secs(60), percent: 100 };
    let cache = CacheOptions { prefetch: Some(always), ..CacheOptions::default() };
    let resolver = to(&[(".", &[&server])], with_cache(cache.clone()));
    for _ in 0..3 {
        addresses(&resolver, "a.test.").await;
    }
    for _ in 0..2 {
        tokio::time::timeout(PATIENCE, server.asked.recv()).await.unwrap().unwrap();
    }
    assert_eq!(resolver.stats().prefetches.load(), 1);

    let none = ForwardOptions { max_refreshes: 0, ..with_cache(cache) };
    let resolver = to(&[(".", &[&server])], none);
    for _ in 0..4 {
        addresses(&resolver, "a.test.").await;
    }
    let stats = resolver.stats();
    assert_eq!((stats.prefetches.load(), stats.refreshes_refused.load()), (0, 2));
}
