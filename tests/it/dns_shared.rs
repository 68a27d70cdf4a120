//! Equal questions for a name outside, asked of one server at the same time.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::{
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType},
};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use wharf::{
    dns::{
        resolver::{ForwardOptions, ForwardZone, PoolOptions, Resolver},
        server::{Server, Settings},
        stats::DnsStats,
    },
    model::objects::Objects,
    zone::{Resolved, Zone},
};

use crate::harness::{LIMIT, eventually};

/// A name server that counts questions, and answers each once there is a permit.
struct Upstream {
    address: SocketAddr,
    count: Arc<AtomicUsize>,
    answers: Arc<Semaphore>,
}

impl Upstream {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (count, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
        let (counted, permits) = (Arc::clone(&count), Arc::clone(&answers));
        tokio::spawn(async move {
            let mut buffer = [0; 1_232];
            while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
                counted.fetch_add(1, Relaxed);
                permits.acquire().await.unwrap().forget();
                let mut answer = Message::from_vec(&buffer[..length]).unwrap().into_response();
                let name = answer.queries[0].name().clone();
                let data = RData::A("192.0.2.1".parse().unwrap());
                answer.add_answer(Record::from_rdata(name, 60, data));
                socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
            }
        });
        Self { address, count, answers }
    }
}

/// A server that forwards at most three questions at once.
async fn start(resolver: Arc<Resolver>, stats: Arc<DnsStats>) -> (SocketAddr, DropGuard) {
    let zone = Zone::build(&Objects::default(), "cluster.local", &Resolved::new(), 1);
    let zone = Arc::new(ArcSwap::from_pointee(zone));
    let settings = Settings { max_forwards: 3, forward_timeout: LIMIT, ..Settings::default() };
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let cancel = CancellationToken::new();
    let server = Server::new(zone, Some(resolver), stats, settings);
    tokio::spawn(Arc::new(server).run(udp, tcp, cancel.clone()));
    (address, cancel.drop_guard())
}

/// A client that has asked for the address of `name`.
async fn ask(server: SocketAddr, id: u16, name: &str) -> UdpSocket {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(&message.to_vec().unwrap(), server).await.unwrap();
    socket
}

async fn answer(client: &UdpSocket) -> Message {
    let mut buffer = [0; 1_232];
    let length = timeout(LIMIT, client.recv(&mut buffer)).await.unwrap().unwrap();
    Message::from_vec(&buffer[..length]).unwrap()
}

/// One question goes out; each asker gets its own number and spelling. Who waits counts among those that
/// `--forward-max-concurrent` limits, whether it shares or not.
#[tokio::test]
async fn equal_questions_go_out_once_and_are_answered_each() {
    let upstream = Upstream::start().await;
    let zone = ForwardZone { apex: Name::root(), servers: vec![upstream.address] };
    let pool = PoolOptions { try_timeout: LIMIT, ..PoolOptions::default() };
    let options = ForwardOptions { pool, ..ForwardOptions::default() };
    let resolver = Arc::new(Resolver::with(vec![zone], options).unwrap());
    let stats = Arc::new(DnsStats::default());
    let (server, _running) = start(Arc::clone(&resolver), Arc::clone(&stats)).await;

    let names = ["www.shop.test.", "WWW.Shop.test.", "www.shop.TEST."];
    let mut clients = Vec::new();
    for (id, name) in (1..).zip(names) {
        clients.push((id, name, ask(server, id, name).await));
    }
    let shared = async || (resolver.stats().shared.load() == 2).then_some(());
    eventually("two that wait for the third", shared).await;
    let one_more = ask(server, 4, names[0]).await;
    assert_eq!(answer(&one_more).await.metadata.response_code, ResponseCode::Refused);
    assert_eq!(stats.forwards_refused.load(), 1);

    upstream.answers.add_permits(1);
    for (id, name, client) in &clients {
        let answer = answer(client).await;
        assert_eq!(answer.metadata.id, *id);
        assert_eq!(answer.queries[0].name().to_ascii(), *name);
        let data: Vec<_> = answer.answers.iter().map(|record| record.data.to_string()).collect();
        assert_eq!(
            (answer.metadata.response_code, data),
            (ResponseCode::NoError, vec!["192.0.2.1".to_owned()])
        );
    }
    // Their places are free again, and the cache has it.
    let later = ask(server, 5, names[1]).await;
    assert_eq!(answer(&later).await.answers.len(), 1);
    assert_eq!(upstream.count.load(Relaxed), 1);
    assert_eq!((stats.forwards.load(), resolver.stats().tries.load()), (3, 1));
}
