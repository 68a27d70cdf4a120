//! Zones of the NLB emulator with their nodes and names, as clients see them (spec/l4-dns.md A.2).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a step that fails fails the test"
)]

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, OpCode, Query},
    rr::{Name, RData, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use wharf::{
    dns::{resolver::Resolver, server::Settings},
    health::State,
    nlb::{
        NlbHandle,
        config::{NlbConfig, parse},
        names::ClientRouting,
    },
};

/// No step takes as long as this.
const LIMIT: Duration = Duration::from_secs(20);

/// A router: answers each connection with its letter, and checks with 200 or 503.
struct Router {
    traffic: SocketAddr,
    checks: SocketAddr,
    ready: Arc<AtomicBool>,
    _serving: JoinSet<()>,
}

impl Router {
    async fn start(letter: u8) -> Self {
        let ready = Arc::new(AtomicBool::new(true));
        let mut serving = JoinSet::new();
        let traffic = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let checks = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (traffic_at, checks_at) = (traffic.local_addr().unwrap(), checks.local_addr().unwrap());
        serving.spawn(async move {
            loop {
                let (mut stream, _) = traffic.accept().await.unwrap();
                let _ = stream.write_all(&[letter]).await;
            }
        });
        let is_ready = Arc::clone(&ready);
        serving.spawn(async move {
            loop {
                let (mut stream, _) = checks.accept().await.unwrap();
                let _ = stream.read(&mut [0; 1024]).await;
                let code = if is_ready.load(Relaxed) { "200 OK" } else { "503 No" };
                let head =
                    format!("HTTP/1.1 {code}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).await;
            }
        });
        Self { traffic: traffic_at, checks: checks_at, ready, _serving: serving }
    }

    fn target(&self, zone: char) -> String {
        format!(
            "{{ id: 127.0.0.1, port: {}, healthCheckPort: {}, availabilityZone: {zone} }}",
            self.traffic.port(),
            self.checks.port()
        )
    }
}

fn question(name: &str) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

fn addresses(answer: &[u8]) -> Vec<IpAddr> {
    let message = Message::from_vec(answer).unwrap();
    let address = |record: &hickory_proto::rr::Record| match &record.data {
        RData::A(address) => IpAddr::V4(address.0),
        other => panic!("{other}"),
    };
    assert!(message.answers.iter().all(|record| record.ttl == 60));
    let mut addresses: Vec<_> = message.answers.iter().map(address).collect();
    addresses.sort_unstable();
    addresses
}

/// The addresses of a name, sorted: the server gives them in turns.
pub(crate) async fn resolve(server: SocketAddr, name: &str) -> Vec<IpAddr> {
    resolve_from("127.0.0.1", server, name).await
}

/// What a resolver at `source` is told.
async fn resolve_from(source: &str, server: SocketAddr, name: &str) -> Vec<IpAddr> {
    let socket = UdpSocket::bind((source, 0)).await.unwrap();
    socket.send_to(&question(name), server).await.unwrap();
    let mut answer = [0; 1500];
    let length = timeout(LIMIT, socket.recv(&mut answer)).await.unwrap().unwrap();
    addresses(&answer[..length])
}

async fn resolve_by_tcp(server: SocketAddr, name: &str) -> Vec<IpAddr> {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let question = question(name);
    stream.write_u16(question.len().try_into().unwrap()).await.unwrap();
    stream.write_all(&question).await.unwrap();
    let mut answer = vec![0; stream.read_u16().await.unwrap().into()];
    timeout(LIMIT, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    addresses(&answer)
}

/// A load balancer of three zones with a DNS server, and what asks it.
struct Balancer {
    handle: NlbHandle,
    dns: SocketAddr,
    _serving: JoinSet<()>,
}

impl Balancer {
    /// One of zones a to c, cross-zone off.
    async fn start(targets: &[String]) -> Self {
        Self::of("abc", &[], targets).await
    }

    /// One of these zones, whose group has these attributes.
    async fn of(zones: &str, attributes: &[(&str, &str)], targets: &[String]) -> Self {
        let zones = zones.chars().zip(1..);
        let zones: String = zones
            .map(|(zone, last)| format!("- {{ name: {zone}, address: 127.0.1.{last} }}\n"))
            .collect();
        let attributes: String =
            attributes.iter().map(|(key, value)| format!("    {key}: \"{value}\"\n")).collect();
        let text = format!(
            "name: router
zones:
{zones}aliases: ['*.apps.example.com']
allowFastChecks: true
listeners: [{{ name: https, port: 443, targetGroup: routers }}]
targetGroups:
- name: routers
  port: 443
  healthCheck: {{ protocol: HTTP, path: /healthz/ready, intervalSeconds: 0.05, healthyThresholdCount: 2 }}
  attributes:
    target_health_state.unhealthy.connection_termination.enabled: \"false\"
{attributes}  targets: [{}]
",
            targets.join(", ")
        );
        let mut config = parse(&text).unwrap();
        config.listeners[0].address.set_port(0);
        let handle = NlbHandle::start(config, CancellationToken::new()).await.unwrap();
        let sockets = wharf::app::dns::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let dns = sockets.udp.local_addr().unwrap();
        let mut serving = JoinSet::new();
        let cancel = CancellationToken::new();
        let outside = (None, Settings::default());
        serving.spawn(wharf::app::nlb::serve_names(sockets, handle.clone(), outside, cancel));
        Self { handle, dns, _serving: serving }
    }

    /// Waits until exactly these zones are in DNS and healthy as told.
    async fn until(&self, in_dns: &str, healthy: &str) {
        let mut changes = self.handle.changes();
        let reached = async {
            loop {
                changes.borrow_and_update();
                let zones = self.handle.zones();
                let named = |wanted: &str, is: fn(&wharf::nlb::nodes::ZoneState) -> bool| {
                    zones.iter().all(|zone| wanted.contains(&*zone.zone) == is(zone))
                };
                if named(in_dns, |zone| zone.in_dns) && named(healthy, |zone| zone.healthy) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        timeout(LIMIT, reached).await.expect(in_dns);
    }

    /// Waits until so many targets are healthy and so many unhealthy.
    async fn until_targets(&self, healthy: usize, unhealthy: usize) {
        let mut changes = self.handle.changes();
        let reached = async {
            loop {
                changes.borrow_and_update();
                let targets = self.handle.targets();
                let in_state =
                    |state| targets.iter().filter(|target| target.state == state).count();
                if (in_state(State::Healthy), in_state(State::Unhealthy)) == (healthy, unhealthy) {
                    return;
                }
                changes.changed().await.unwrap();
            }
        };
        timeout(LIMIT, reached).await.expect("targets");
    }

    /// The zones that the regional name answers with, and those that are healthy.
    async fn zones(&self) -> (Vec<IpAddr>, String) {
        let regional = resolve(self.dns, &self.handle.names().regional).await;
        let healthy = self.handle.zones();
        let healthy = healthy.iter().filter(|zone| zone.healthy);
        (regional, healthy.map(|zone| &*zone.zone).collect())
    }

    /// Who answers `count` connections to the node of zone `a` or `b`, each once, in order.
    async fn used(&self, zone: char, count: usize) -> String {
        let node = IpAddr::from([127, 0, 1, if zone == 'a' { 1 } else { 2 }]);
        let mut letters = BTreeSet::new();
        for _ in 0..count {
            letters.insert(self.connect(node).await);
        }
        letters.into_iter().collect()
    }

    /// Flows that the node of a zone has routed by fail-open.
    fn fail_open(&self, zone: char) -> u64 {
        let listeners = self.handle.listeners();
        let own = listeners.iter().find(|totals| totals.listener.ends_with(zone)).unwrap();
        own.unhealthy_routing_flow_count
    }

    /// Asks DNS and connects to every address of the answer; returns the letters of who answered.
    async fn request(&self) -> String {
        let mut letters = String::new();
        for ip in resolve(self.dns, "www.apps.example.com.").await {
            letters.push(self.connect(ip).await);
        }
        letters
    }

    async fn connect(&self, node: IpAddr) -> char {
        let sockets = self.handle.local_addrs();
        let (_, address) = sockets.iter().find(|(_, address)| address.ip() == node).unwrap();
        let talk = async { TcpStream::connect(address).await?.read_u8().await };
        timeout(LIMIT, talk).await.unwrap().expect("no client error").into()
    }
}

/// [NLB-24], [NLB-10], [DNS-G] Three zones, two routers, cross-zone off: the zone without a router is not in
/// DNS; a router that goes takes its zone with it, and no client that asks DNS sees an error.
#[tokio::test]
async fn nlb_24_a_zone_without_a_ready_router_leaves_dns_and_no_client_notices() {
    let routers = [Router::start(b'A').await, Router::start(b'B').await];
    let balancer = Balancer::start(&[routers[0].target('a'), routers[1].target('b')]).await;
    let names: Vec<_> = balancer.handle.local_addrs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["https@a".into(), "https@b".into(), "https@c".into()]);
    balancer.until("ab", "ab").await;
    let mut requests = 0;
    for _ in 0..20 {
        assert_eq!(balancer.request().await, "AB");
        requests += 2;
    }

    routers[0].ready.store(false, Relaxed);
    let leaves = balancer.until("b", "b");
    tokio::pin!(leaves);
    loop {
        tokio::select! {
            () = &mut leaves => break,
            letters = balancer.request() => requests += letters.len(),
        }
    }
    for _ in 0..20 {
        assert_eq!(balancer.request().await, "B");
        requests += 1;
    }
    let regional = balancer.handle.names().regional.clone();
    assert_eq!(resolve_by_tcp(balancer.dns, &regional).await, [IpAddr::from([127, 0, 1, 2])]);
    let zonal = resolve(balancer.dns, &format!("a.{regional}")).await;
    assert_eq!(zonal, [IpAddr::from([127, 0, 1, 1])], "the zonal name stays");
    assert_eq!(balancer.connect(zonal[0]).await, 'A', "the node of a fails open");
    assert!(balancer.fail_open('a') > 0);
    assert_eq!(balancer.fail_open('b'), 0);

    routers[0].ready.store(true, Relaxed);
    balancer.until("ab", "ab").await;
    assert_eq!(balancer.request().await, "AB");
    let accepted: u64 =
        balancer.handle.listeners().iter().map(|totals| totals.new_flow_count).sum();
    assert!(accepted >= requests as u64 + 3, "{accepted} {requests}");
}

/// [NLB-09] When no router is ready, DNS names every zone again.
#[tokio::test]
async fn nlb_09_dns_names_all_zones_when_none_is_healthy() {
    let routers = [Router::start(b'A').await, Router::start(b'B').await];
    let balancer = Balancer::start(&[routers[0].target('a'), routers[1].target('b')]).await;
    balancer.until("ab", "ab").await;
    routers.iter().for_each(|router| router.ready.store(false, Relaxed));
    balancer.until("abc", "").await;
    let all = [1, 2, 3].map(|last| IpAddr::from([127, 0, 1, last]));
    assert_eq!(resolve(balancer.dns, "www.apps.example.com.").await, all);
}

/// Routers with the letters from `first`, one for each entry: whether it is ready.
async fn routers(first: u8, ready: &[bool]) -> Vec<Router> {
    let mut routers = Vec::new();
    for (letter, ready) in (first..).zip(ready) {
        let router = Router::start(letter).await;
        router.ready.store(*ready, Relaxed);
        routers.push(router);
    }
    routers
}

fn targets(a: &[Router], b: &[Router]) -> Vec<String> {
    let in_zone = |routers: &[Router], zone| {
        routers.iter().map(|router| router.target(zone)).collect::<Vec<_>>()
    };
    [in_zone(a, 'a'), in_zone(b, 'b')].concat()
}

const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
/// Addresses of the nodes of zones a and b.
const A: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 1));
const B: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 2));

/// [NLB-10] Two zones, cross-zone off, all targets of b fail: the regional name loses b, whose zonal name
/// stays and whose node uses its targets all the same.
#[tokio::test]
async fn nlb_10_a_failed_zone_leaves_the_regional_name_and_its_node_fails_open() {
    let (a, b) = (routers(b'A', &[true; 2]).await, routers(b'K', &[false; 2]).await);
    let balancer = Balancer::of("ab", &[], &targets(&a, &b)).await;
    balancer.until_targets(2, 2).await;
    assert_eq!(balancer.zones().await, (vec![A], "a".to_owned()));
    let zonal = format!("b.{}", balancer.handle.names().regional);
    assert_eq!(resolve(balancer.dns, &zonal).await, [B]);
    assert_eq!(balancer.used('a', 60).await, "AB");
    assert_eq!(balancer.used('b', 60).await, "KL");
    assert_eq!([balancer.fail_open('a'), balancer.fail_open('b')], [0, 60]);
}

/// [NLB-11] The same with cross-zone on: both addresses stay, and both nodes use the healthy targets
/// alone.
#[tokio::test]
async fn nlb_11_across_zones_both_nodes_stay_and_use_what_is_healthy() {
    let (a, b) = (routers(b'A', &[true; 2]).await, routers(b'K', &[false; 2]).await);
    let balancer = Balancer::of("ab", &[(CROSS_ZONE, "true")], &targets(&a, &b)).await;
    balancer.until_targets(2, 2).await;
    assert_eq!(balancer.zones().await, (vec![A, B], "ab".to_owned()));
    assert_eq!(balancer.used('a', 60).await, "AB");
    assert_eq!(balancer.used('b', 60).await, "AB");
    assert_eq!([balancer.fail_open('a'), balancer.fail_open('b')], [0, 0]);
}

/// [NLB-12] The example of AWS: two zones of 10 targets, both percentages 50, 6 targets of b fail. Off:
/// b leaves DNS and its node uses all 10. On: 14 of 20 are healthy, so nothing leaves, and they alone
/// are used.
#[tokio::test]
async fn nlb_12_the_example_of_two_half_healthy_zones() {
    let ready: Vec<_> = (0..10).map(|number| number < 4).collect();
    let (a, b) = (routers(b'A', &[true; 10]).await, routers(b'K', &ready).await);
    let minimum = "minimum_healthy_targets.percentage";
    let [dns, routing] = ["dns_failover", "unhealthy_state_routing"]
        .map(|rule| format!("target_group_health.{rule}.{minimum}"));
    for (cross_zone, in_dns, healthy, from_a, from_b, fail_open) in [
        ("false", vec![A], "a", "ABCDEFGHIJ", "KLMNOPQRST", 400),
        ("true", vec![A, B], "ab", "ABCDEFGHIJKLMN", "ABCDEFGHIJKLMN", 0),
    ] {
        let attributes = [(CROSS_ZONE, cross_zone), (&*dns, "50"), (&*routing, "50")];
        let balancer = Balancer::of("ab", &attributes, &targets(&a, &b)).await;
        balancer.until_targets(14, 6).await;
        assert_eq!(balancer.zones().await, (in_dns, healthy.to_owned()), "{cross_zone}");
        assert_eq!(balancer.used('a', 400).await, from_a, "{cross_zone}");
        assert_eq!(balancer.used('b', 400).await, from_b, "{cross_zone}");
        assert_eq!([balancer.fail_open('a'), balancer.fail_open('b')], [0, fail_open]);
    }
}

/// A.2: with `availability_zone_affinity` a resolver in the network of a zone gets that zone's node alone,
/// until the zone leaves DNS; with a zonal shift it leaves however healthy it is.
#[tokio::test]
async fn resolvers_of_a_zone_get_its_node_until_it_leaves_dns() {
    let (a, b) = (routers(b'A', &[true]).await, routers(b'K', &[true]).await);
    let balancer = Balancer::of("ab", &[], &targets(&a, &b)).await;
    balancer.until_targets(2, 0).await;
    let regional = balancer.handle.names().regional.clone();
    let told = async |source: &str| resolve_from(source, balancer.dns, &regional).await;
    assert_eq!(told("127.0.27.9").await, [A, B]);
    let mut config = NlbConfig::clone(&balancer.handle.config().unwrap());
    config.names.routing = ClientRouting::Own;
    config.names.clients = vec![("127.0.27.0/24".parse().unwrap(), "b".into())];
    balancer.handle.apply(config.clone()).unwrap();
    assert_eq!(told("127.0.27.9").await, [B]);
    assert_eq!(told("127.0.0.1").await, [A, B], "of no zone");
    config.shifted = Some("b".into());
    balancer.handle.apply(config.clone()).unwrap();
    assert_eq!(told("127.0.27.9").await, [A]);
    let zonal = resolve(balancer.dns, &format!("b.{regional}")).await;
    assert_eq!(zonal, [B], "the zonal name stays");
    config.shifted = None;
    balancer.handle.apply(config).unwrap();
    assert_eq!(told("127.0.27.9").await, [B]);
}

/// Names that are no load balancer's are refused, or asked for outside where that is set up.
#[tokio::test]
async fn other_names_are_refused_or_forwarded() {
    let routers = routers(b'A', &[true]).await;
    let balancer = Balancer::of("a", &[], &[routers[0].target('a')]).await;
    let refused = crate::dns::udp(balancer.dns, "ext.interwebs.test.", "A").await;
    assert_eq!((&*refused.code, refused.answers.len()), ("REFUSED", 0));

    let outside = Resolver::to(&[crate::dns::outside().await]).unwrap();
    let sockets = wharf::app::dns::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dns = sockets.udp.local_addr().unwrap();
    let outside = (Some(Arc::new(outside)), Settings::default());
    let (handle, cancel) = (balancer.handle.clone(), CancellationToken::new());
    let mut serving = JoinSet::new();
    serving.spawn(wharf::app::nlb::serve_names(sockets, handle, outside, cancel));
    let found = crate::dns::udp(dns, "ext.interwebs.test.", "A").await;
    assert_eq!((&*found.code, &found.answers[..]), ("NOERROR", &["1.2.3.4".to_owned()][..]));
    let own = balancer.handle.names().regional.clone();
    assert_eq!(resolve(dns, &own).await, [IpAddr::from([127, 0, 1, 1])]);
    let every = crate::dns::udp(dns, "ext.interwebs.test.", "ANY").await;
    assert_eq!(every.code, "REFUSED");
}
