//! UDP listeners, and those of TCP and UDP on one port, over real sockets.

use tokio::net::UdpSocket;

use super::*;
use crate::nlb::stats::{ByProtocol, ProtocolTotals};

/// A target that answers each datagram with its name and what it got, on the port where its other
/// half takes connections.
struct UdpTarget {
    tcp: Target,
    _answering: JoinSet<()>,
}

impl UdpTarget {
    async fn start(name: u8) -> Self {
        loop {
            let tcp = Target::start(name).await;
            // The port may be taken for UDP.
            let Ok(socket) = UdpSocket::bind(tcp.address).await else { continue };
            let mut answering = JoinSet::new();
            answering.spawn(async move {
                let mut room = [0; 2048];
                loop {
                    let (length, from) = socket.recv_from(&mut room[1..]).await.unwrap();
                    room[0] = name;
                    let _ = socket.send_to(&room[..=length], from).await;
                }
            });
            return Self { tcp, _answering: answering };
        }
    }

    async fn some(count: u8) -> Vec<Self> {
        let mut all = Vec::new();
        for name in 0..count {
            all.push(Self::start(name).await);
        }
        all
    }
}

fn udp_config(targets: &[UdpTarget], protocol: Protocol) -> NlbConfig {
    let mut config = config(targets.iter().map(|target| &target.tcp));
    config.listeners[0].protocol = protocol;
    config.groups[0].protocol = protocol;
    config
}

/// A client of `address`, which takes no answer from anywhere else.
async fn client(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(address.ip(), 0)).await.unwrap();
    socket.connect(address).await.unwrap();
    socket
}

/// The name of the target that answers.
async fn ask(socket: &UdpSocket) -> u8 {
    socket.send(b"ping").await.unwrap();
    let mut room = [0; 16];
    let answered = tokio::time::timeout(LIMIT, socket.recv(&mut room)).await;
    assert_eq!(answered.expect("an answer").unwrap(), 5);
    assert_eq!(&room[1..5], b"ping");
    room[0]
}

/// Waits until the counts of the listener satisfy `condition`.
async fn counted(handle: &NlbHandle, condition: impl Fn(&ListenerTotals) -> bool) {
    let wait = async {
        while !condition(&handle.listeners()[0]) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(LIMIT, wait).await.is_err() {
        panic!("still {:?}", handle.listeners());
    }
}

/// [NLB-06] A client stays with its target while its flow lasts, though the target takes no new ones;
/// after the silence the flow is gone, and the next datagram begins another.
#[tokio::test]
async fn nlb_06_a_client_stays_until_it_was_silent() {
    let targets = UdpTarget::some(4).await;
    let mut config = udp_config(&targets, Protocol::Udp);
    config.listeners[0].udp_idle_timeout = Duration::from_secs(2);
    let (handle, address) = start(config.clone()).await;
    until(&handle, all(State::Healthy)).await;
    let client = client(address).await;
    let first = ask(&client).await;
    assert_eq!(ask(&client).await, first);
    config.groups[0].targets.remove(usize::from(first));
    handle.apply(config).unwrap();
    until(&handle, state_of(&targets[usize::from(first)].tcp, State::Draining)).await;
    assert_eq!(ask(&client).await, first, "a draining target keeps its flows");
    counted(&handle, |totals| totals.by_protocol.udp.active_flow_count == 0).await;
    assert_ne!(ask(&client).await, first);
    assert_eq!(handle.listeners()[0].by_protocol.udp.new_flow_count, 2);
}

/// [NLB-01] for UDP, and that one client has one target.
#[tokio::test]
async fn nlb_01_400_clients_over_4_targets() {
    let targets = UdpTarget::some(4).await;
    let (handle, address) = start(udp_config(&targets, Protocol::Udp)).await;
    until(&handle, all(State::Healthy)).await;
    let mut counts = [0; 4];
    // All at once, so that no two have the same port.
    let mut clients = Vec::new();
    for _ in 0..400 {
        clients.push(client(address).await);
    }
    for client in &clients {
        let name = ask(client).await;
        assert_eq!(ask(client).await, name);
        counts[usize::from(name)] += 1;
    }
    assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
    let totals = &handle.listeners()[0];
    assert_eq!((totals.active_flow_count, totals.new_flow_count), (400, 400));
    // 400 clients, two questions of four bytes and two answers of five each.
    assert_eq!((totals.processed_bytes, totals.datagram_count), (400 * 18, 1600));
    let flows: i64 = handle.targets().iter().map(|target| target.active_flows).sum();
    assert_eq!(flows, 400);
}

/// [NLB-03] for UDP.
#[tokio::test]
async fn nlb_03_a_sticky_group_looks_at_the_address_alone() {
    let targets = UdpTarget::some(4).await;
    let mut config = udp_config(&targets, Protocol::Udp);
    config.groups[0].sticky = true;
    let (handle, address) = start(config).await;
    until(&handle, all(State::Healthy)).await;
    let mut names = std::collections::HashSet::new();
    for _ in 0..20 {
        names.insert(ask(&client(address).await).await);
    }
    assert_eq!(names.len(), 1);
}

/// Clients beyond `maxFlows`, or out of the source ranges, get nothing; those that are there go on.
#[tokio::test]
async fn flows_have_a_limit_and_a_range() {
    let targets = UdpTarget::some(1).await;
    let mut config = udp_config(&targets, Protocol::Udp);
    config.listeners[0].max_flows = 2;
    let (handle, address) = start(config.clone()).await;
    until(&handle, all(State::Healthy)).await;
    let (one, two, three) = (client(address).await, client(address).await, client(address).await);
    assert_eq!((ask(&one).await, ask(&two).await), (0, 0));
    three.send(b"ping").await.unwrap();
    counted(&handle, |totals| {
        (totals.rejected_flow_count, totals.dropped_datagram_count) == (1, 1)
    })
    .await;
    config.listeners[0].source_ranges = vec!["192.0.2.0/24".parse().unwrap()];
    config.listeners[0].max_flows = 3;
    handle.apply(config).unwrap();
    three.send(b"ping").await.unwrap();
    counted(&handle, |totals| totals.source_blocked_flow_count == 1).await;
    assert_eq!((ask(&one).await, ask(&two).await), (0, 0));
    assert!(three.try_recv(&mut [0; 16]).is_err());
}

/// [NLB-08] for UDP: flows of a target that turns unhealthy move with their next datagram; without any
/// target a datagram is dropped.
#[tokio::test]
async fn nlb_08_flows_leave_an_unhealthy_target() {
    let targets = UdpTarget::some(2).await;
    let (handle, address) = start(udp_config(&targets, Protocol::Udp)).await;
    until(&handle, all(State::Healthy)).await;
    let client = client(address).await;
    let first = ask(&client).await;
    targets[usize::from(first)].tcp.fail_checks();
    counted(&handle, |totals| totals.by_protocol.udp.active_flow_count == 0).await;
    assert_eq!(ask(&client).await, 1 - first);
    handle.apply(udp_config(&[], Protocol::Udp)).unwrap();
    let other = self::client(address).await;
    other.send(b"ping").await.unwrap();
    counted(&handle, |totals| totals.dropped_datagram_count > 0).await;
}

/// A.1: TCP and UDP on one port number, each with its counts; a change of configuration ends no flow,
/// and one to another protocol closes what is not carried any more.
#[tokio::test]
async fn tcp_and_udp_share_a_port() {
    let targets = UdpTarget::some(2).await;
    let config = udp_config(&targets, Protocol::TcpUdp);
    let (handle, address) = start(config.clone()).await;
    until(&handle, all(State::Healthy)).await;
    let client = client(address).await;
    let (mut stream, _) = open(address).await;
    let name = ask(&client).await;
    let mut fewer = config;
    fewer.groups[0].targets.swap(0, 1);
    fewer.listeners[0].max_flows = 7;
    handle.apply(fewer.clone()).unwrap();
    echoes(&mut stream).await;
    assert_eq!(ask(&client).await, name);
    let totals = &handle.listeners()[0];
    let ByProtocol { tcp, tls, udp } = totals.by_protocol;
    assert_eq!((tcp.new_flow_count, udp.new_flow_count), (1, 1));
    assert_eq!((tcp.active_flow_count, udp.active_flow_count), (1, 1));
    assert_eq!((tcp.processed_bytes, udp.processed_bytes), (9, 18));
    assert_eq!(tls, ProtocolTotals::default());
    fewer.listeners[0].protocol = Protocol::Tcp;
    fewer.listeners[0].address = address;
    handle.apply(fewer).unwrap();
    let refused = async {
        while UdpSocket::bind(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("the port is free for UDP");
    let (mut again, _) = open(address).await;
    echoes(&mut again).await;
}

/// Behind "all addresses" each address is a destination of its own, and answers come from it.
#[tokio::test]
async fn answers_come_from_the_address_that_was_asked() {
    let targets = UdpTarget::some(1).await;
    let mut config = udp_config(&targets, Protocol::Udp);
    config.listeners[0].address = ([0, 0, 0, 0], 0).into();
    let (handle, address) = start(config).await;
    until(&handle, all(State::Healthy)).await;
    for last in [1, 9, 77] {
        let address = SocketAddr::from(([127, 0, 0, last], address.port()));
        assert_eq!(ask(&client(address).await).await, 0);
    }
}

/// A drain ends with the flows' last answers, not with their idle limit.
#[tokio::test]
async fn a_drain_does_not_wait_for_silence() {
    let targets = UdpTarget::some(1).await;
    let (handle, address) = start(udp_config(&targets, Protocol::Udp)).await;
    until(&handle, all(State::Healthy)).await;
    let client = client(address).await;
    assert_eq!(ask(&client).await, 0);
    assert_eq!(handle.drain(LIMIT).await, Drained::Clean);
}
