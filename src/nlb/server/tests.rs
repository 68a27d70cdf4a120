//! The emulator over real sockets: spread, PROXY headers, edits under load, health, fail-open.

mod expiry;
mod tuple;
mod udp;
mod view;
mod zones;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::{
    health::{Code, OnUnhealthy, Rules, State},
    net::proxy_protocol,
    nlb::{
        config::{CheckConfig, CheckProtocol, Protocol, SendProxyHeader, TargetConfig, TargetType},
        flow::Minimum,
        names::NamesConfig,
    },
    probe::Matcher,
};

const LIMIT: Duration = Duration::from_secs(30);
const FAST: Duration = Duration::from_millis(20);

/// A target that says its name, then sends back what it gets. Its check port answers 200 or 503.
struct Target {
    address: SocketAddr,
    check: SocketAddr,
    healthy: Arc<AtomicBool>,
    hits: Arc<AtomicU32>,
    serving: JoinSet<()>,
    _checking: JoinSet<()>,
}

impl Target {
    async fn start(name: u8) -> Self {
        let hits = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&hits);
        let (address, serving) = serve(move |mut stream| {
            counted.fetch_add(1, Relaxed);
            async move {
                let _ = stream.write_u8(name).await;
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        })
        .await;
        let healthy = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&healthy);
        let (check, checking) = serve(move |mut stream| {
            let status = if asked.load(Relaxed) { "200 OK" } else { "503 Service Unavailable" };
            async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        })
        .await;
        Self { address, check, healthy, hits, serving, _checking: checking }
    }

    fn pass_checks(&self) {
        self.healthy.store(true, Relaxed);
    }

    fn fail_checks(&self) {
        self.healthy.store(false, Relaxed);
    }

    fn config(&self) -> TargetConfig {
        TargetConfig { address: self.address, zone: None, check_port: Some(self.check.port()) }
    }
}

/// Runs `talk` for every connection until the set is dropped.
async fn serve<F>(talk: impl Fn(TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = socket.accept().await.unwrap();
            connections.spawn(talk(stream));
        }
    });
    (address, serving)
}

fn config<'a>(targets: impl IntoIterator<Item = &'a Target>) -> NlbConfig {
    NlbConfig {
        name: "test".into(),
        zones: Vec::new(),
        names: NamesConfig::default(),
        listeners: vec![ListenerConfig {
            name: "front".into(),
            address: ([127, 0, 0, 1], 0).into(),
            zone: None,
            forward: vec![Weighted { group: "pods".into(), weight: 1 }],
            protocol: Protocol::Tcp,
            idle_timeout: LIMIT,
            udp_idle_timeout: LIMIT,
            connect_timeout: LIMIT,
            max_flows: 1000,
            max_expired_flows: 100,
            source_ranges: Vec::new(),
            tls: None,
        }],
        groups: vec![GroupConfig {
            protocol: Protocol::Tcp,
            target_type: TargetType::Ip,
            name: "pods".into(),
            check: CheckConfig {
                protocol: CheckProtocol::Http { path: "/".into(), matcher: Matcher::default() },
                port: None,
                interval: FAST,
                timeout: LIMIT,
                enabled: true,
                checkers: 1,
                rules: Rules {
                    healthy_threshold: 2,
                    unhealthy_threshold: 2,
                    on_unhealthy: OnUnhealthy::Reset,
                },
                send_proxy_header: SendProxyHeader::TrafficPortOnly,
            },
            proxy_protocol: false,
            preserve_client: false,
            sticky: false,
            cross_zone: false,
            deregistration_delay: LIMIT * 10,
            deregistration_termination: false,
            unhealthy_draining: Duration::ZERO,
            minimum: Minimum::default(),
            dns_minimum: Minimum::default(),
            propagation_delay: Duration::ZERO,
            shifted: None,
            targets: targets.into_iter().map(Target::config).collect(),
        }],
        shifted: None,
        access_log: None,
    }
}

async fn start(config: NlbConfig) -> (NlbHandle, SocketAddr) {
    let handle = NlbHandle::start(config, CancellationToken::new()).await.unwrap();
    let address = handle.local_addrs()[0].1;
    (handle, address)
}

/// Waits until the states of all targets satisfy `condition`.
async fn until(handle: &NlbHandle, condition: impl Fn(&[TargetState]) -> bool) {
    let mut changes = handle.changes();
    let wait = async {
        while !condition(&handle.targets()) {
            changes.changed().await.unwrap();
        }
    };
    if tokio::time::timeout(LIMIT, wait).await.is_err() {
        panic!("still {:?}", handle.targets());
    }
}

fn all(state: State) -> impl Fn(&[TargetState]) -> bool {
    move |targets| targets.iter().all(|target| target.state == state)
}

fn state_of(target: &Target, state: State) -> impl Fn(&[TargetState]) -> bool {
    let port = target.address.port();
    move |targets| targets.iter().any(|one| one.port == port && one.state == state)
}

/// Opens a flow and reads the name of its target.
async fn open(address: SocketAddr) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let name = stream.read_u8().await.unwrap();
    (stream, name)
}

async fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"ping").await.unwrap();
    let mut back = [0; 4];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"ping");
}

/// Reads until the flow ends and says how.
async fn ending(stream: &mut TcpStream) -> io::Result<usize> {
    tokio::time::timeout(LIMIT, stream.read(&mut [0; 16])).await.expect("the flow ends")
}

fn is_reset(ending: &io::Result<usize>) -> bool {
    matches!(ending, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
}

/// NLB-01.
#[tokio::test]
async fn nlb_01_400_connections_over_4_targets() {
    let mut targets = Vec::new();
    for name in 0..4 {
        targets.push(Target::start(name).await);
    }
    let (handle, address) = start(config(&targets)).await;
    until(&handle, all(State::Healthy)).await;
    let mut counts = [0; 4];
    for _ in 0..400 {
        let (_, name) = open(address).await;
        counts[usize::from(name)] += 1;
    }
    assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
    assert_eq!(handle.listeners()[0].new_flow_count, 400);
}

/// NLB-15: the header is the first thing that a target reads, byte for byte.
#[tokio::test]
async fn nlb_15_the_target_reads_the_client_from_the_header() {
    let target = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = target.local_addr().unwrap();
    let mut config = config([]);
    config.groups[0].proxy_protocol = true;
    config.groups[0].check.protocol = CheckProtocol::Tcp;
    config.groups[0].check.interval = LIMIT;
    // The check goes to the same port and carries the header of a check.
    config.groups[0].targets = vec![TargetConfig { address, zone: None, check_port: None }];
    let (handle, front) = start(config).await;
    let (mut checked, _) = target.accept().await.unwrap();
    let mut local = Vec::new();
    proxy_protocol::write_v2_local(&mut local);
    let mut got = Vec::new();
    checked.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, local);
    until(&handle, all(State::Healthy)).await;

    let mut client = TcpStream::connect(front).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    client.shutdown().await.unwrap();
    let (mut accepted, _) = target.accept().await.unwrap();
    let mut expected = Vec::new();
    proxy_protocol::write_v2(&mut expected, client.local_addr().unwrap(), front);
    expected.extend(b"hello");
    let mut got = Vec::new();
    accepted.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, expected);
}

/// NLB-08 and R-57: a flow of a target that turns unhealthy is reset; with the attribute off it
/// lives. The target comes back after its checks pass.
#[tokio::test]
async fn nlb_08_unhealthy_targets_lose_their_flows() {
    for (on_unhealthy, survives) in [(OnUnhealthy::Reset, false), (OnUnhealthy::Keep, true)] {
        let targets = [Target::start(1).await, Target::start(2).await];
        let mut config = config(&targets);
        config.groups[0].check.rules.on_unhealthy = on_unhealthy;
        let (handle, address) = start(config).await;
        until(&handle, all(State::Healthy)).await;
        let mut flows = [open(address).await, open(address).await];
        while flows[0].1 != 1 {
            flows[0] = open(address).await;
        }
        while flows[1].1 != 2 {
            flows[1] = open(address).await;
        }
        targets[0].fail_checks();
        until(&handle, state_of(&targets[0], State::Unhealthy)).await;
        let [(first, _), (second, _)] = &mut flows;
        if survives {
            echoes(first).await;
        } else {
            let end = ending(first).await;
            assert!(is_reset(&end), "{end:?}");
        }
        echoes(second).await;
        for _ in 0..20 {
            assert_eq!(open(address).await.1, 2, "new flows avoid the unhealthy target");
        }
        targets[0].pass_checks();
        until(&handle, all(State::Healthy)).await;
    }
}

/// NLB-09 and R-58.
#[tokio::test]
async fn nlb_09_without_a_healthy_target_all_are_used() {
    let targets = [Target::start(1).await, Target::start(2).await];
    let (handle, address) = start(config(&targets)).await;
    for target in &targets {
        target.fail_checks();
    }
    until(&handle, all(State::Unhealthy)).await;
    assert_eq!(handle.targets()[0].reason, Some(Code::ResponseCodeMismatch));
    let mut seen = [0; 3];
    for _ in 0..100 {
        let (mut stream, name) = open(address).await;
        echoes(&mut stream).await;
        seen[usize::from(name)] += 1;
    }
    assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}");
    assert!(handle.listeners()[0].unhealthy_routing_flow_count >= 100);
}

/// NLB-13: the flow lives on while the target drains and after it is gone, or is reset then.
#[tokio::test]
async fn nlb_13_a_target_that_leaves_keeps_its_flows() {
    for terminate in [false, true] {
        let targets = [Target::start(1).await, Target::start(2).await];
        let mut with = config(&targets);
        with.groups[0].deregistration_termination = terminate;
        with.groups[0].deregistration_delay = FAST;
        let (handle, address) = start(with.clone()).await;
        until(&handle, all(State::Healthy)).await;
        let (mut flow, name) = open(address).await;
        let mut without = with;
        let (leaves, stays) = if name == 1 { (0, 2) } else { (1, 1) };
        without.groups[0].targets.remove(leaves);
        handle.apply(without).unwrap();
        for _ in 0..20 {
            assert_eq!(open(address).await.1, stays, "no new flow goes to the draining target");
        }
        until(&handle, |targets| targets.len() == 1).await;
        if terminate {
            let end = ending(&mut flow).await;
            assert!(is_reset(&end), "{end:?}");
        } else {
            echoes(&mut flow).await;
        }
    }
}

/// NLB-14.
#[tokio::test]
async fn nlb_14_a_draining_target_can_be_registered_again() {
    let targets = [Target::start(1).await];
    let with = config(&targets);
    let mut without = with.clone();
    without.groups[0].targets.clear();
    let (handle, address) = start(with.clone()).await;
    until(&handle, all(State::Healthy)).await;
    let (mut flow, _) = open(address).await;
    handle.apply(without).unwrap();
    let draining = &handle.targets()[0];
    assert_eq!(
        (draining.state, draining.reason, draining.active_flows),
        (State::Draining, Some(Code::DeregistrationInProgress), 1)
    );
    let end = ending(&mut TcpStream::connect(address).await.unwrap()).await;
    assert!(is_reset(&end), "no target is left for a new flow: {end:?}");
    handle.apply(with).unwrap();
    until(&handle, all(State::Healthy)).await;
    open(address).await;
    echoes(&mut flow).await;
}

/// Targets come and go under load without one failed flow.
#[tokio::test]
async fn changes_under_load_fail_no_flow() {
    let targets = [Target::start(1).await, Target::start(2).await];
    let one = config(&targets[..1]);
    let both = config(&targets);
    let (handle, address) = start(one.clone()).await;
    until(&handle, all(State::Healthy)).await;
    let stop = CancellationToken::new();
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let stop = stop.clone();
        load.spawn(async move {
            while !stop.is_cancelled() {
                let (mut stream, _) = open(address).await;
                echoes(&mut stream).await;
            }
        });
    }
    for _ in 0..5 {
        handle.apply(both.clone()).unwrap();
        until(&handle, all(State::Healthy)).await;
        let before = targets[1].hits.load(Relaxed);
        while targets[1].hits.load(Relaxed) == before {
            tokio::task::yield_now().await;
        }
        handle.apply(one.clone()).unwrap();
    }
    stop.cancel();
    while let Some(finished) = load.join_next().await {
        finished.expect("no flow failed");
    }
    let totals = &handle.listeners()[0];
    assert_eq!((totals.rejected_flow_count, totals.tcp_elb_reset_count), (0, 0));
}

/// A failed connection sends nothing, so another target is tried; the failure counts as a failed
/// check (A.5, passive).
#[tokio::test]
async fn a_target_that_refuses_is_replaced_and_marked() {
    let good = Target::start(1).await;
    let mut bad = Target::start(2).await;
    let mut config = config([&good, &bad]);
    config.groups[0].check.interval = LIMIT * 10;
    let (handle, address) = start(config).await;
    until(&handle, all(State::Healthy)).await;
    bad.serving.shutdown().await;
    let mut opened = 0;
    while handle.targets().iter().all(|target| target.state == State::Healthy) {
        assert_eq!(open(address).await.1, 1);
        opened += 1;
        assert!(opened < 10_000, "{:?}", handle.listeners());
    }
    let totals = &handle.listeners()[0];
    assert!(totals.redispatches >= 2, "{totals:?}");
    assert_eq!(totals.rejected_flow_count, 0);
}

#[tokio::test]
async fn flows_above_the_limit_are_reset() {
    let targets = [Target::start(1).await];
    let mut config = config(&targets);
    config.listeners[0].max_flows = 1;
    let (handle, address) = start(config).await;
    let (mut flow, _) = open(address).await;
    let end = ending(&mut TcpStream::connect(address).await.unwrap()).await;
    assert!(is_reset(&end), "{end:?}");
    echoes(&mut flow).await;
    assert_eq!(handle.listeners()[0].rejected_flow_count, 1);
}

/// A.3: with cross-zone off a node sees the targets of its zone, with cross-zone on all of them.
#[tokio::test]
async fn cross_zone_decides_which_targets_a_node_uses() {
    let targets = [Target::start(1).await, Target::start(2).await];
    let mut config = config(&targets);
    config.zones = vec!["a".into(), "b".into()];
    config.groups[0].targets[0].zone = Some("a".into());
    config.groups[0].targets[1].zone = Some("b".into());
    config.listeners[0].zone = Some("a".into());
    let (handle, address) = start(config.clone()).await;
    until(&handle, all(State::Healthy)).await;
    for _ in 0..20 {
        assert_eq!(open(address).await.1, 1);
    }
    config.groups[0].cross_zone = true;
    handle.apply(config.clone()).unwrap();
    let mut seen = [0; 3];
    for _ in 0..100 {
        seen[usize::from(open(address).await.1)] += 1;
    }
    assert!(seen[1] > 0 && seen[2] > 0, "{seen:?}");
    config.zones = vec!["a".into()];
    handle.apply(config).unwrap();
    let other = &targets[1];
    assert!(state_of(other, State::Unused)(&handle.targets()), "{:?}", handle.targets());
}

/// A configuration with a group for each target, named after its index; they get these weights.
fn forwarding(targets: &[Target], weights: &[u32]) -> NlbConfig {
    let mut config = config([]);
    let group = config.groups.remove(0);
    config.listeners[0].forward.clear();
    for (index, target) in targets.iter().enumerate() {
        let name: Arc<str> = index.to_string().into();
        let targets = vec![target.config()];
        config.groups.push(GroupConfig { name: Arc::clone(&name), targets, ..group.clone() });
        if let Some(&weight) = weights.get(index) {
            config.listeners[0].forward.push(Weighted { group: name, weight });
        }
    }
    config
}

/// A.2: a group that no listener forwards to fails no zone; once one does, it does.
#[tokio::test]
async fn a_group_without_a_listener_fails_no_zone() {
    let targets = [Target::start(0).await];
    let mut config = forwarding(&targets, &[1]);
    config.zones = vec!["a".into()];
    config.groups[0].targets[0].zone = Some("a".into());
    let spare =
        GroupConfig { name: "spare".into(), targets: Vec::new(), ..config.groups[0].clone() };
    config.groups.push(spare);
    let (handle, _) = start(config.clone()).await;
    until(&handle, all(State::Healthy)).await;
    assert!(handle.zones()[0].healthy);
    assert_eq!(handle.dns_view().zones, handle.zones());
    config.listeners[0].forward.push(Weighted { group: "spare".into(), weight: 1 });
    handle.apply(config).unwrap();
    assert!(!handle.zones()[0].healthy);
    assert_eq!(handle.dns_view().zones, handle.zones());
}

/// [NLB-23] Connections are shared by the weights of groups; with no weight at all they are refused.
#[tokio::test]
async fn nlb_23_connections_are_shared_by_weight() {
    let targets = [Target::start(0).await, Target::start(1).await, Target::start(2).await];
    let (handle, address) = start(forwarding(&targets, &[1, 3, 0])).await;
    until(&handle, all(State::Healthy)).await;
    let mut counts = [0; 3];
    for _ in 0..400 {
        counts[usize::from(open(address).await.1)] += 1;
    }
    assert!((60..=140).contains(&counts[0]), "{counts:?}");
    assert_eq!((counts[0] + counts[1], counts[2]), (400, 0));
    handle.apply(forwarding(&targets, &[0, 0, 0])).unwrap();
    let mut refused = TcpStream::connect(address).await.unwrap();
    let end = ending(&mut refused).await;
    assert!(is_reset(&end), "{end:?}");
    assert_eq!(handle.listeners()[0].rejected_flow_count, 1);
}

/// [NLB-22] Another group for a listener: old connections stay, new ones go to the new group.
#[tokio::test]
async fn nlb_22_a_new_group_gets_new_connections_only() {
    let targets = [Target::start(0).await, Target::start(1).await];
    let (handle, address) = start(forwarding(&targets, &[1])).await;
    until(&handle, state_of(&targets[0], State::Healthy)).await;
    let (mut old, name) = open(address).await;
    assert_eq!(name, 0);
    let mut other = forwarding(&targets, &[0, 1]);
    other.listeners[0].forward.remove(0);
    handle.apply(other).unwrap();
    until(&handle, state_of(&targets[1], State::Healthy)).await;
    for _ in 0..20 {
        assert_eq!(open(address).await.1, 1);
    }
    echoes(&mut old).await;
}

#[tokio::test]
async fn a_listener_that_cannot_be_bound_leaves_the_rest() {
    let targets = [Target::start(1).await];
    let mut config = config(&targets);
    let (handle, address) = start(config.clone()).await;
    let taken = ListenerConfig {
        name: "second".into(),
        address: targets[0].address,
        ..config.listeners[0].clone()
    };
    config.listeners.push(taken);
    config.listeners.push(ListenerConfig { name: "third".into(), ..config.listeners[0].clone() });
    let error = handle.apply(config).unwrap_err();
    assert_eq!(error.0.len(), 1);
    assert_eq!(&*error.0[0].name, "second");
    let names: Vec<_> = handle.local_addrs().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["front".into(), "third".into()]);
    open(address).await;
    open(handle.local_addrs()[1].1).await;
}

#[tokio::test]
async fn draining_lets_flows_end_and_resets_the_rest() {
    let targets = [Target::start(1).await];
    let (handle, address) = start(config(&targets)).await;
    let (mut flow, _) = open(address).await;
    let draining = tokio::spawn({
        let handle = handle.clone();
        async move { handle.drain(LIMIT * 10).await }
    });
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("accepting ends");
    echoes(&mut flow).await;
    drop(flow);
    assert_eq!(draining.await.unwrap(), Drained::Clean);

    let (handle, address) = start(config(&targets)).await;
    let (mut flow, _) = open(address).await;
    assert_eq!(handle.drain(Duration::ZERO).await, Drained::Reset);
    let end = ending(&mut flow).await;
    assert!(is_reset(&end), "{end:?}");
}

/// A client outside of the source ranges is reset and counted; a change counts for the next one.
#[tokio::test]
async fn clients_outside_of_the_source_ranges_are_reset() {
    let targets = [Target::start(7).await];
    let mut config = config(&targets);
    config.listeners[0].source_ranges = vec!["192.0.2.0/24".parse().unwrap()];
    let (handle, address) = start(config.clone()).await;
    let mut refused = TcpStream::connect(address).await.unwrap();
    let end = ending(&mut refused).await;
    assert!(is_reset(&end), "{end:?}");
    let totals = handle.listeners()[0].clone();
    assert_eq!((totals.source_blocked_flow_count, totals.new_flow_count), (1, 0));
    config.listeners[0].source_ranges.push("127.0.0.0/8".parse().unwrap());
    handle.apply(config).unwrap();
    assert_eq!(open(address).await.1, 7);
    assert_eq!(handle.listeners()[0].source_blocked_flow_count, 1);
}
