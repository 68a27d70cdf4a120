//! The server on real sockets: sizes, EDNS, spelling, limits, forwarding.

mod view;

use std::net::Ipv4Addr;

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query},
    rr::RData,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::*;
use crate::{
    model::objects::{ObjectKey, Objects, Stored},
    zone::Resolved,
};

/// Far beyond what an answer takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A zone with `web` (one virtual address) and `many` (headless, 60 endpoints).
fn zone(domain: &str, web: &str) -> Zone {
    let endpoints: serde_json::Value =
        (1..=60).map(|n| json!({"addresses": [format!("10.1.0.{n}")]})).collect();
    let stored = |name: &str| ObjectKey::new("app", name);
    let service = |name: &str, spec| {
        let object = serde_json::from_value(json!({"spec": spec})).unwrap();
        Arc::new(Stored::in_memory(stored(name), object, "test"))
    };
    let slice = serde_json::from_value(json!({
        "metadata": {"labels": {"kubernetes.io/service-name": "many"}},
        "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": endpoints,
    }));
    let objects = Objects {
        services: vec![
            service("web", json!({"clusterIP": web})),
            service("many", json!({"clusterIP": "None"})),
            service(
                "ext",
                json!({"type": "ExternalName",
                                  "externalName": "web.app.svc.upstream.test"}),
            ),
        ],
        slices: vec![Arc::new(Stored::in_memory(stored("many"), slice.unwrap(), "test"))],
        ..Objects::default()
    };
    Zone::build(&objects, domain, &Resolved::new(), 1)
}

/// A running server; it stops when this is dropped.
struct Running {
    address: SocketAddr,
    stats: Arc<DnsStats>,
    zone: Arc<ArcSwap<Zone>>,
    cancel: tokio_util::sync::DropGuard,
    task: tokio::task::JoinHandle<()>,
}

async fn start(zone: Zone, forward: Option<SocketAddr>, settings: Settings) -> Running {
    start_at(Ipv4Addr::LOCALHOST, zone, forward, settings).await
}

async fn start_at(
    address: Ipv4Addr,
    zone: Zone,
    forward: Option<SocketAddr>,
    settings: Settings,
) -> Running {
    let tcp = TcpListener::bind((address, 0)).await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    let zone = Arc::new(ArcSwap::from_pointee(zone));
    let stats = Arc::new(DnsStats::default());
    let forward = forward.map(|address| Arc::new(Resolver::to(&[address]).unwrap()));
    let cancel = CancellationToken::new();
    let server = Server::new(Arc::clone(&zone), forward, Arc::clone(&stats), settings);
    let task = tokio::spawn(Arc::new(server).run(udp, tcp, cancel.clone()));
    Running { address, stats, zone, cancel: cancel.drop_guard(), task }
}

fn question(name: &str, record_type: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), record_type));
    message
}

fn with_edns(mut message: Message, size: u16, version: u8) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(size).set_version(version);
    message.set_edns(edns);
    message
}

async fn raw_udp(server: &Running, packet: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.send_to(packet, server.address).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let (length, _) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.unwrap().unwrap();
    buffer.truncate(length);
    buffer
}

async fn udp(server: &Running, message: &Message) -> Message {
    Message::from_vec(&raw_udp(server, &message.to_vec().unwrap()).await).unwrap()
}

async fn write(stream: &mut TcpStream, message: &Message) {
    let bytes = message.to_vec().unwrap();
    stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
}

async fn read(stream: &mut TcpStream) -> Message {
    let read = async {
        let mut bytes = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut bytes).await.unwrap();
        Message::from_vec(&bytes).unwrap()
    };
    timeout(PATIENCE, read).await.unwrap()
}

/// True once the server has closed without another byte.
async fn closed(stream: &mut TcpStream) -> bool {
    matches!(timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap(), Ok(0) | Err(_))
}

fn data(message: &Message) -> Vec<String> {
    message.answers.iter().map(|record| record.data.to_string()).collect()
}

/// R-48, [DNS-C]
#[tokio::test]
async fn udp_answers_in_the_clients_spelling() {
    let server = start(zone("cluster.local", "10.0.0.1"), None, Settings::default()).await;
    let answer = udp(&server, &question("wEb.ApP.svc.CLUSTER.local.", RecordType::A)).await;
    let spelling = Name::from_ascii("wEb.ApP.svc.CLUSTER.local.").unwrap();
    assert_eq!(data(&answer), ["10.0.0.1"]);
    assert!(answer.queries[0].name().eq_case(&spelling));
    assert!(answer.answers[0].name.eq_case(&spelling));
    assert!(answer.metadata.authoritative && !answer.metadata.recursion_available);
    assert_eq!(server.stats.queries(Transport::Udp, 0, 0), 1);
    assert_eq!(server.stats.responses(Plugin::Kubernetes, 0), 1);
}

/// [DNS-A]
#[tokio::test]
async fn a_big_answer_is_cut_by_udp_and_whole_by_tcp() {
    let server = start(zone("cluster.local", "10.0.0.1"), None, Settings::default()).await;
    let asked = question("many.app.svc.cluster.local.", RecordType::A);
    let cut = udp(&server, &asked).await;
    assert!(cut.metadata.truncation && cut.answers.is_empty());
    assert_eq!(server.stats.truncated.load(), 1);
    let whole = udp(&server, &with_edns(asked.clone(), 4096, 0)).await;
    assert_eq!((whole.metadata.truncation, whole.answers.len()), (false, 60));
    assert_eq!(whole.edns.unwrap().max_payload(), wire::MAX_UDP);

    let mut stream = TcpStream::connect(server.address).await.unwrap();
    write(&mut stream, &asked).await;
    write(&mut stream, &question("web.app.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(read(&mut stream).await.answers.len(), 60);
    assert_eq!(data(&read(&mut stream).await), ["10.0.0.1"], "pipelined, in order");
    assert_eq!(server.stats.queries(Transport::Tcp, 0, 0), 2);
}

/// [DNS-B]
#[tokio::test]
async fn bad_queries_get_the_fitting_code() {
    let server = start(zone("cluster.local", "10.0.0.1"), None, Settings::default()).await;
    let asked = question("web.app.svc.cluster.local.", RecordType::A);
    let answer = udp(&server, &with_edns(asked.clone(), 1232, 1)).await;
    // 16 is BADVERS in an answer to EDNS; the decoder calls it by its other name, BADSIG.
    assert_eq!(u16::from(answer.metadata.response_code), 16);

    // A response is never answered: the next packet's answer is the first to come back.
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(server.address).await.unwrap();
    socket.send(&asked.clone().into_response().to_vec().unwrap()).await.unwrap();
    let mut two = asked.clone();
    two.metadata.id = 8;
    two.add_query(asked.queries[0].clone());
    socket.send(&two.to_vec().unwrap()).await.unwrap();
    let mut buffer = [0; 512];
    let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!((answer.metadata.id, answer.metadata.response_code), (8, ResponseCode::FormErr));
    assert_eq!(server.stats.dropped.load(), 1);
}

/// [DNS-D], R-49: a new zone counts from the next query on.
#[tokio::test]
async fn a_new_zone_answers_at_once() {
    let server = start(Zone::default(), None, Settings::default()).await;
    let asked = question("web.app.svc.cluster.local.", RecordType::A);
    assert_eq!(udp(&server, &asked).await.metadata.response_code, ResponseCode::ServFail);
    server.zone.store(Arc::new(zone("cluster.local", "10.0.0.1")));
    assert_eq!(data(&udp(&server, &asked).await), ["10.0.0.1"]);
    server.zone.store(Arc::new(zone("cluster.local", "10.0.0.2")));
    assert_eq!(data(&udp(&server, &asked).await), ["10.0.0.2"]);
}

#[tokio::test]
async fn tcp_clients_beyond_the_limit_are_closed() {
    let settings = Settings { max_tcp_clients: 1, ..Settings::default() };
    let server = start(zone("cluster.local", "10.0.0.1"), None, settings).await;
    let asked = question("web.app.svc.cluster.local.", RecordType::A);
    let mut first = TcpStream::connect(server.address).await.unwrap();
    write(&mut first, &asked).await;
    assert_eq!(read(&mut first).await.answers.len(), 1);
    let mut second = TcpStream::connect(server.address).await.unwrap();
    assert!(closed(&mut second).await);
    assert_eq!(server.stats.tcp_clients_refused.load(), 1);
    write(&mut first, &asked).await;
    assert_eq!(read(&mut first).await.answers.len(), 1, "the first client is not disturbed");
}

#[tokio::test]
async fn idle_and_oversized_tcp_clients_are_closed() {
    let settings = Settings { tcp_idle: Duration::from_millis(50), ..Settings::default() };
    let server = start(zone("cluster.local", "10.0.0.1"), None, settings).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    assert!(closed(&mut idle).await);

    let server = start(zone("cluster.local", "10.0.0.1"), None, Settings::default()).await;
    let mut oversized = TcpStream::connect(server.address).await.unwrap();
    oversized.write_u16(u16::MAX).await.unwrap();
    assert!(closed(&mut oversized).await);
}

/// S-96
#[tokio::test]
async fn without_a_resolver_names_outside_are_refused() {
    let server = start(zone("cluster.local", "10.0.0.1"), None, Settings::default()).await;
    let answer = udp(&server, &question("example.com.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    let answer = udp(&server, &question("ext.app.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(data(&answer), ["web.app.svc.upstream.test."]);
}

/// Behind "all addresses" an answer comes from the address that was asked: at once, out of the whole path,
/// and from a name server.
#[tokio::test]
async fn answers_come_from_the_address_that_was_asked() {
    let upstream = start(zone("upstream.test", "192.0.2.9"), None, Settings::default()).await;
    let (any, own) = (Ipv4Addr::UNSPECIFIED, zone("cluster.local", "10.0.0.1"));
    let server = start_at(any, own, Some(upstream.address), Settings::default()).await;
    for last in [1, 9] {
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        // Connected: it takes no answer from elsewhere.
        client.connect((Ipv4Addr::new(127, 0, 0, last), server.address.port())).await.unwrap();
        for (name, record_type) in [
            ("web.app.svc.cluster.local.", RecordType::A),
            ("web.app.svc.cluster.local.", RecordType::SRV),
            ("web.app.svc.upstream.test.", RecordType::A),
        ] {
            let packet = question(name, record_type).to_vec().unwrap();
            client.send(&packet).await.unwrap();
            let mut answer = [0; 512];
            let answered = timeout(PATIENCE, client.recv(&mut answer)).await;
            let length = answered.unwrap_or_else(|_| panic!("{name} {record_type}")).unwrap();
            let answer = Message::from_vec(&answer[..length]).unwrap();
            assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        }
    }
}

/// [DNS-F]: names outside come from the resolver, with its codes.
#[tokio::test]
async fn names_outside_are_forwarded() {
    let upstream = start(zone("upstream.test", "192.0.2.9"), None, Settings::default()).await;
    let forward = Some(upstream.address);
    let server = start(zone("cluster.local", "10.0.0.1"), forward, Settings::default()).await;
    let answer = udp(&server, &question("web.app.svc.upstream.test.", RecordType::A)).await;
    assert_eq!(data(&answer), ["192.0.2.9"]);
    assert!(!answer.metadata.authoritative && answer.metadata.recursion_available);

    let answer = udp(&server, &question("nothing.app.svc.upstream.test.", RecordType::A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(matches!(answer.authorities[0].data, RData::SOA(_)));

    let answer = udp(&server, &question("ext.app.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(data(&answer), ["web.app.svc.upstream.test.", "192.0.2.9"]);
    assert!(answer.metadata.authoritative);
    // What the name was outside the zone was known from the first question.
    assert_eq!((server.stats.forwards.load(), server.stats.forward_failures.load()), (2, 0));

    // By TCP, behind each other.
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    write(&mut stream, &question("web.app.svc.upstream.test.", RecordType::A)).await;
    write(&mut stream, &question("web.app.svc.cluster.local.", RecordType::A)).await;
    assert_eq!(data(&read(&mut stream).await), ["192.0.2.9"]);
    assert_eq!(data(&read(&mut stream).await), ["10.0.0.1"]);
}

/// [DNS-F], F-14: a dead resolver means SERVFAIL outside and nothing at all for the zone.
#[tokio::test]
async fn a_silent_resolver_is_servfail_and_never_delays_the_zone() {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let forward = Some(silent.local_addr().unwrap());
    let settings = Settings {
        forward_timeout: Duration::from_millis(300),
        max_forwards: 1,
        ..Settings::default()
    };
    let server = start(zone("cluster.local", "10.0.0.1"), forward, settings).await;
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    socket.connect(server.address).await.unwrap();
    let receive = async || {
        let mut buffer = [0; 512];
        let length = timeout(PATIENCE, socket.recv(&mut buffer)).await.unwrap().unwrap();
        let message = Message::from_vec(&buffer[..length]).unwrap();
        (message.queries[0].name().to_ascii(), message.metadata.response_code)
    };
    for name in ["a.example.", "b.example.", "web.app.svc.cluster.local."] {
        socket.send(&question(name, RecordType::A).to_vec().unwrap()).await.unwrap();
    }
    // Only one question may wait, so the second is refused at once; the zone answers before the first.
    assert_eq!(receive().await, ("b.example.".into(), ResponseCode::Refused));
    assert_eq!(receive().await, ("web.app.svc.cluster.local.".into(), ResponseCode::NoError));
    assert_eq!(receive().await, ("a.example.".into(), ResponseCode::ServFail));
    let stats = &server.stats;
    let counts = [&stats.forwards, &stats.forward_failures, &stats.forwards_refused];
    assert_eq!(counts.map(super::super::stats::Total::load), [1, 1, 1]);
}

/// S-96
#[tokio::test]
async fn only_near_clients_may_ask_for_names_outside() {
    let zone = Arc::new(ArcSwap::from_pointee(zone("cluster.local", "10.0.0.1")));
    let settings =
        Settings { forward_allow: vec!["203.0.113.0/24".parse().unwrap()], ..Settings::default() };
    let forward = Arc::new(Resolver::to(&["192.0.2.1:53".parse().unwrap()]).unwrap());
    let server = Server::new(zone, Some(forward), Arc::default(), settings);
    let forwarded = |client: &str, name: &str| {
        let packet = question(name, RecordType::A).to_vec().unwrap();
        let client = SocketAddr::new(client.parse().unwrap(), 4_000);
        matches!(server.reply(&packet, client, Transport::Udp), Reply::Forward(_))
    };
    for near in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"]
    {
        assert!(forwarded(near, "example.com."), "{near}");
    }
    assert!(forwarded("203.0.113.7", "example.com.") && forwarded("::ffff:10.0.0.1", "x.y."));
    for far in ["198.51.100.1", "8.8.8.8", "2001:db8::1", "::ffff:8.8.8.8"] {
        assert!(!forwarded(far, "example.com."), "{far}");
        assert!(!forwarded(far, "ext.app.svc.cluster.local."), "{far}");
    }
}

#[tokio::test]
async fn cancelling_ends_every_task() {
    let server = start(zone("cluster.local", "10.0.0.1"), None, Settings::default()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    write(&mut stream, &question("web.app.svc.cluster.local.", RecordType::A)).await;
    read(&mut stream).await;
    drop(server.cancel);
    timeout(PATIENCE, server.task).await.unwrap().unwrap();
    assert!(closed(&mut stream).await);
}

mod any_packet {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn label() -> impl Strategy<Value = Vec<u8>> {
        let known = ["web", "many", "ext", "app", "svc", "pod", "cluster", "local", "_tcp", "arpa"];
        let known = select(known.map(|label| label.as_bytes().to_vec()).to_vec());
        prop_oneof![4 => known, 1 => vec(any::<u8>(), 1..64)]
    }

    fn reply(server: &Server, packet: &[u8]) -> Option<Vec<u8>> {
        match server.reply(packet, ([127, 0, 0, 1], 4_000).into(), Transport::Udp) {
            Reply::Bytes(bytes) => Some(bytes),
            Reply::None | Reply::Forward(_) => None,
        }
    }

    proptest! {
        /// S-96
        #[test]
        fn is_answered_within_its_limit_or_not_at_all(
            labels in vec(label(), 0..8),
            record_type in any::<u16>(),
            edns in prop::option::of(any::<u16>()),
            noise in vec(any::<u8>(), 0..600),
            below in any::<bool>(),
        ) {
            let zone = Arc::new(ArcSwap::from_pointee(zone("cluster.local", "10.0.0.1")));
            let server = Server::new(zone, None, Arc::default(), Settings::default());
            prop_assert!(reply(&server, &noise).is_none_or(|bytes| bytes.len() <= 512));

            let tail: &[&[u8]] = if below { &[b"app", b"svc", b"cluster", b"local"] } else { &[] };
            let labels = labels.iter().map(Vec::as_slice).chain(tail.iter().copied());
            let Ok(mut name) = Name::from_labels(labels.map(<[u8]>::to_vec)) else {
                return Ok(());
            };
            name.set_fqdn(true);
            let mut message = Message::new(7, MessageType::Query, OpCode::Query);
            message.add_query(Query::query(name, RecordType::from(record_type)));
            let message = match edns {
                Some(size) => with_edns(message, size, 0),
                None => message,
            };
            let bytes = reply(&server, &message.to_vec().unwrap()).unwrap();
            let limit = edns.map_or(512, |size| size.clamp(512, wire::MAX_UDP));
            prop_assert!(bytes.len() <= usize::from(limit));
            let answer = Message::from_vec(&bytes).unwrap();
            prop_assert_eq!(answer.metadata.id, 7);
        }
    }
}
