//! Equal questions at the same time, against a name server that counts and answers when it is told to.

use tokio::task::{JoinHandle, JoinSet};

use super::*;

/// A name server that holds every question.
pub(crate) struct Held {
    socket: UdpSocket,
    pub(crate) address: SocketAddr,
    /// Questions that have come.
    pub(crate) count: usize,
}

impl Held {
    pub(crate) async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        Self { socket, address, count: 0 }
    }

    /// The next question, and who sent it.
    pub(crate) async fn question(&mut self) -> (Message, SocketAddr) {
        let mut buffer = [0; 1_500];
        let received = tokio::time::timeout(PATIENCE, self.socket.recv_from(&mut buffer)).await;
        let (length, client) = received.unwrap().unwrap();
        self.count += 1;
        (Message::from_vec(&buffer[..length]).unwrap(), client)
    }

    /// Answers a question: with 192.0.2.1, or with a failure.
    pub(crate) async fn answer(
        &self,
        (question, client): (Message, SocketAddr),
        rcode: ResponseCode,
    ) {
        let mut message = question.into_response();
        message.metadata.response_code = rcode;
        if rcode == ResponseCode::NoError {
            let name = message.queries[0].name().clone();
            let data = RData::A("192.0.2.1".parse().unwrap());
            message.add_answer(Record::from_rdata(name, 60, data));
        }
        self.socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
    }

    /// Nothing has come that was not read.
    pub(crate) fn assert_quiet(&self) {
        assert!(self.socket.try_recv_from(&mut [0; 1_500]).is_err(), "a question too many");
    }

    /// A resolver that asks it, and waits.
    pub(crate) fn resolver(&self) -> Resolver {
        let pool = PoolOptions { try_timeout: PATIENCE, ..PoolOptions::default() };
        let zone = ForwardZone { apex: Name::root(), servers: vec![self.address] };
        let options = ForwardOptions { pool, ..ForwardOptions::default() };
        Resolver::with(vec![zone], options).unwrap()
    }
}

type Asked = JoinHandle<Result<Found, ResolveError>>;

fn ask(resolver: &Resolver, name: &str, record_type: RecordType) -> Asked {
    let (resolver, name) = (resolver.clone(), Name::from_ascii(name).unwrap());
    tokio::spawn(async move { resolver.lookup(&name, record_type).await })
}

/// Waits until so many have joined an exchange of another.
pub(crate) async fn joined(resolver: &Resolver, count: u64) {
    let all = async {
        while resolver.stats().shared.load() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}

#[tokio::test]
async fn equal_questions_have_one_exchange() {
    let mut server = Held::start().await;
    let resolver = server.resolver();
    let names = ["a.test.", "A.test", "a.TEST."];
    let mut all: JoinSet<_> = JoinSet::new();
    for name in names.iter().cycle().take(30) {
        let asked = ask(&resolver, name, RecordType::A);
        all.spawn(async move { asked.await.unwrap() });
    }
    let question = server.question().await;
    joined(&resolver, 29).await;
    // Another type or name is another question.
    let other_type = ask(&resolver, "a.test.", RecordType::AAAA);
    let second = server.question().await;
    let other_name = ask(&resolver, "b.test.", RecordType::A);
    let third = server.question().await;
    assert_eq!(resolver.0.exchanges.len(), 3);
    server.answer(question, ResponseCode::NoError).await;
    while let Some(found) = all.join_next().await {
        let found = found.unwrap().unwrap();
        assert_eq!((found.answers.len(), found.answers[0].ttl), (1, 60));
    }
    for (question, asked) in [(second, other_type), (third, other_name)] {
        server.answer(question, ResponseCode::NXDomain).await;
        assert_eq!(asked.await.unwrap().unwrap().rcode, ResponseCode::NXDomain);
    }
    server.assert_quiet();
    let stats = resolver.stats();
    assert_eq!((server.count, stats.tries.load(), stats.shared.load()), (3, 3, 29));
    assert_eq!(resolver.0.exchanges.len(), 0);
    assert_eq!(resolver.cached(), [1, 2]);
}

/// With as many tries as for one, and one place in the cache.
#[tokio::test]
async fn a_failure_reaches_all() {
    let mut server = Held::start().await;
    let resolver = server.resolver();
    let all: Vec<Asked> = (0..10).map(|_| ask(&resolver, "a.test.", RecordType::A)).collect();
    let first = server.question().await;
    joined(&resolver, 9).await;
    server.answer(first, ResponseCode::ServFail).await;
    for _ in 0..2 {
        let again = server.question().await;
        server.answer(again, ResponseCode::ServFail).await;
    }
    for asked in all {
        let failed = asked.await.unwrap();
        assert!(matches!(failed, Err(ResolveError::Refused(ResponseCode::ServFail))), "{failed:?}");
    }
    server.assert_quiet();
    assert_eq!((resolver.cached(), resolver.0.exchanges.len()), ([0, 1], 0));
}

/// Whoever asked first may go; the last one who goes ends the exchange, and who comes then begins another.
#[tokio::test]
async fn an_exchange_goes_on_as_long_as_anybody_waits() {
    let mut server = Held::start().await;
    let resolver = server.resolver();
    let first = ask(&resolver, "a.test.", RecordType::A);
    let question = server.question().await;
    let second = ask(&resolver, "a.test.", RecordType::A);
    joined(&resolver, 1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    server.answer(question, ResponseCode::NoError).await;
    assert_eq!(second.await.unwrap().unwrap().answers.len(), 1);
    assert_eq!((server.count, resolver.0.exchanges.len()), (1, 0));

    let only = ask(&resolver, "b.test.", RecordType::A);
    let nobodys = server.question().await;
    only.abort();
    assert!(only.await.unwrap_err().is_cancelled());
    assert_eq!(resolver.0.exchanges.len(), 0);
    let next = ask(&resolver, "b.test.", RecordType::A);
    let question = server.question().await;
    // What comes for the one that was ended is not taken for the next one.
    server.answer(nobodys, ResponseCode::NXDomain).await;
    server.answer(question, ResponseCode::NoError).await;
    assert_eq!(next.await.unwrap().unwrap().rcode, ResponseCode::NoError);
    server.assert_quiet();
    assert_eq!(resolver.stats().shared.load(), 1);
}
