//! What is done zone by zone over real sockets: which groups count, who checks, which targets cannot be
//! used, shifts, and sums that never go back.

use super::*;
use crate::nlb::stats::Override;

/// A zone without a node address.
fn zones(names: &[&str]) -> Vec<ZoneConfig> {
    names.iter().map(|name| (*name).into()).collect()
}

fn healthy(handle: &NlbHandle) -> Vec<bool> {
    handle.zones().iter().map(|zone| zone.healthy).collect()
}

/// A.2: a group of weight 0 fails no zone, since no flow can meet it; with a weight it does.
#[tokio::test]
async fn a_group_of_weight_0_fails_no_zone() {
    let targets = [Target::start(0).await, Target::start(1).await];
    targets[1].fail_checks();
    let mut config = forwarding(&targets, &[1, 0]);
    config.zones = zones(&["a"]);
    let (handle, _) = start(config.clone()).await;
    until(&handle, |states| {
        state_of(&targets[0], State::Healthy)(states)
            && state_of(&targets[1], State::Unhealthy)(states)
    })
    .await;
    assert_eq!(healthy(&handle), [true]);
    config.listeners[0].forward[1].weight = 1;
    handle.apply(config).unwrap();
    assert_eq!(healthy(&handle), [false]);
}

/// A.5: each checker checks once in an interval; the first round is the only one here.
#[tokio::test]
async fn each_checker_checks() {
    for checkers in [1, 3] {
        let asked = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&asked);
        let (check, _checking) = serve(move |mut stream| {
            counted.fetch_add(1, Relaxed);
            async move {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        })
        .await;
        let mut config = config([]);
        let group = &mut config.groups[0];
        group.targets.push(TargetConfig { address: check, zone: None, check_port: None });
        (group.check.interval, group.check.checkers) = (LIMIT * 10, checkers);
        let (handle, _) = start(config).await;
        until(&handle, all(State::Healthy)).await;
        assert_eq!(asked.load(Relaxed), u32::try_from(checkers).unwrap());
    }
}

/// A.6: a target without checks is `unavailable` and gets flows whatever it would say; with checks again
/// it is judged.
#[tokio::test]
async fn a_target_that_nobody_checks_is_unavailable_and_used() {
    let target = Target::start(7).await;
    target.fail_checks();
    let mut config = config([&target]);
    config.zones = zones(&["a"]);
    config.groups[0].check.enabled = false;
    let (handle, address) = start(config.clone()).await;
    let state = &handle.targets()[0];
    assert_eq!((state.state, state.reason), (State::Unavailable, Some(Code::HealthCheckDisabled)));
    assert_eq!(open(address).await.1, 7);
    assert_eq!(healthy(&handle), [true]);
    assert_eq!(handle.listeners()[0].unhealthy_routing_flow_count, 0);
    config.groups[0].check.enabled = true;
    handle.apply(config).unwrap();
    until(&handle, all(State::Unhealthy)).await;
    assert_eq!(healthy(&handle), [false]);
}

/// A.6: the load balancer's own listener, and addresses of no machine, are `Target.IpUnusable` and get
/// nothing, not even by fail-open; another port of the same machine is a target.
#[tokio::test]
async fn an_address_that_cannot_be_reached_is_unusable() {
    let target = Target::start(7).await;
    let own: SocketAddr = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    let mut config = config([]);
    config.listeners[0].address = own;
    for address in [own, "0.0.0.0:80".parse().unwrap(), "224.0.0.1:80".parse().unwrap()] {
        config.groups[0].targets.push(TargetConfig { address, zone: None, check_port: None });
    }
    let (handle, address) = start(config.clone()).await;
    let told: Vec<_> =
        handle.targets().iter().map(|target| (target.state, target.reason)).collect();
    assert_eq!(told, [(State::Unused, Some(Code::IpUnusable)); 3]);
    assert!(TcpStream::connect(address).await.unwrap().read_u8().await.is_err());
    config.groups[0].targets.push(target.config());
    handle.apply(config).unwrap();
    until(&handle, state_of(&target, State::Healthy)).await;
    assert_eq!(open(address).await.1, 7);
}

/// A.2, A.6: a zone that is shifted away from leaves DNS. With cross-zone off that is all; with it on,
/// its targets get no new flow from any node, and keep those that they have. Both end with the shift.
#[tokio::test]
async fn a_zonal_shift_takes_a_zone_out() {
    let targets = [Target::start(0).await, Target::start(1).await];
    for (cross_zone, told) in
        [(false, Override::ZonalShiftDelegatedToDns), (true, Override::ZonalShiftActive)]
    {
        let mut config = config(&targets);
        config.zones = zones(&["a", "b"]);
        config.groups[0].cross_zone = cross_zone;
        for (target, zone) in config.groups[0].targets.iter_mut().zip(["a", "b"]) {
            target.zone = Some(zone.into());
        }
        let (handle, address) = start(config.clone()).await;
        until(&handle, all(State::Healthy)).await;
        let (mut old, _) = loop {
            let flow = open(address).await;
            if flow.1 == 0 {
                break flow;
            }
        };
        let shift = |zone: Option<&str>| {
            let mut config = config.clone();
            config.shifted = zone.map(Into::into);
            config.groups[0].shifted.clone_from(&config.shifted);
            handle.apply(config).unwrap();
        };
        let in_dns = || handle.zones().iter().map(|zone| zone.in_dns).collect::<Vec<_>>();
        let overrides = || {
            let of = |target: &Target| {
                let states = handle.targets();
                let own = states.iter().find(|state| state.port == target.address.port());
                own.unwrap().administrative_override
            };
            [of(&targets[0]), of(&targets[1])]
        };
        assert_eq!(in_dns(), [true, true]);
        shift(Some("a"));
        assert_eq!(in_dns(), [false, true]);
        assert_eq!(healthy(&handle), [true, true], "its health is another matter");
        assert_eq!(overrides(), [told, Override::NoOverride]);
        let mut used = [0; 2];
        for _ in 0..60 {
            used[usize::from(open(address).await.1)] += 1;
        }
        assert_eq!(used[0] == 0, cross_zone, "{used:?}");
        echoes(&mut old).await;
        shift(None);
        assert_eq!((in_dns(), overrides()), (vec![true, true], [Override::NoOverride; 2]));
    }
}

/// A.12: the counts of a listener that is taken out stay in the sum of its zone, and those of the flows
/// that outlive it come to it.
#[tokio::test]
async fn sums_keep_the_counts_of_a_listener_that_is_gone() {
    let target = Target::start(7).await;
    let mut config = config([&target]);
    config.zones = zones(&["a"]);
    config.listeners[0].zone = Some("a".into());
    let spare = ListenerConfig { name: "spare".into(), ..config.listeners[0].clone() };
    config.listeners.push(spare);
    let handle = NlbHandle::start(config.clone(), CancellationToken::new()).await.unwrap();
    until(&handle, all(State::Healthy)).await;
    let spare = handle.local_addrs().into_iter().find(|(name, _)| &**name == "spare").unwrap().1;
    let (mut flow, _) = open(spare).await;
    config.listeners.truncate(1);
    handle.apply(config).unwrap();
    assert_eq!(handle.listeners().len(), 1);
    let sum = || {
        let zones = handle.zone_totals();
        assert_eq!(zones.len(), 1);
        zones.into_iter().next().unwrap()
    };
    assert_eq!((sum().new_flow_count, sum().active_flow_count), (1, 1));
    let before = sum().processed_bytes;
    echoes(&mut flow).await;
    drop(flow);
    let ended = async {
        while sum().active_flow_count > 0 {
            tokio::time::sleep(FAST).await;
        }
    };
    tokio::time::timeout(LIMIT, ended).await.unwrap();
    assert_eq!(sum().processed_bytes, before + 8);
    assert_eq!(sum().new_flow_count, 1);
}

/// [NLB-08] A target that turns unhealthy keeps its flows if the nodes that send them fail open with it:
/// where it was the last healthy one of its zone with cross-zone off, or of all with it on.
#[tokio::test]
async fn nlb_08_flows_outlive_the_last_healthy_target() {
    for (cross_zone, first_lives) in [(false, true), (true, false)] {
        let targets = [Target::start(0).await, Target::start(1).await];
        let mut config = config(&targets);
        config.zones = zones(&["a", "b"]);
        config.groups[0].cross_zone = cross_zone;
        for (target, zone) in config.groups[0].targets.iter_mut().zip(["a", "b"]) {
            target.zone = Some(zone.into());
        }
        let node = |zone: &str| ListenerConfig {
            name: zone.into(),
            zone: Some(zone.into()),
            ..config.listeners[0].clone()
        };
        config.listeners = vec![node("a"), node("b")];
        let (handle, address) = start(config).await;
        until(&handle, all(State::Healthy)).await;
        let mut first = open(address).await;
        while first.1 != 0 {
            first = open(address).await;
        }
        targets[0].fail_checks();
        until(&handle, state_of(&targets[0], State::Unhealthy)).await;
        if first_lives {
            echoes(&mut first.0).await;
        } else {
            assert!(is_reset(&ending(&mut first.0).await));
        }
        let (_, second) = handle.local_addrs()[1].clone();
        let mut second = open(second).await;
        assert_eq!(second.1, 1);
        targets[1].fail_checks();
        until(&handle, all(State::Unhealthy)).await;
        echoes(&mut second.0).await;
    }
}
