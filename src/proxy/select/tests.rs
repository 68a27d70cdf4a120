//! Who is chosen where checks, ejections and slow starts have a say.

use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    balance::{Algorithm, Balancer},
    net::clock,
    settings::health::EjectionSettings,
    snapshot::Server,
    stats::UpstreamStats,
    upstream::{
        gate::Gate,
        peer::{Peer, PeerKey, Protocol},
    },
};

const ALL: [Algorithm; 4] =
    [Algorithm::Leastconn, Algorithm::Random, Algorithm::RoundRobin, Algorithm::Source];

const SLOW_START: Duration = Duration::from_secs(10);

/// A backend of `count` checked servers of weight 1; with gates if that is asked for.
fn backend(algorithm: Algorithm, count: u8, gated: bool) -> Backend {
    let server = |nth: u8| {
        let key = PeerKey {
            address: ([10, 0, 0, nth], 80).into(),
            protocol: Protocol::Http1,
            tls: None,
            pod: "".into(),
        };
        Server {
            peer: Arc::new(Peer::new(key).slow_start(SLOW_START)),
            weight: 1,
            service: "web".into(),
            pod: "".into(),
            label: format!("10.0.0.{nth}:80").into(),
            stats: Arc::new(UpstreamStats::new(1)),
            checked: true,
            gate: gated.then(|| Gate::new(1, 1)),
            cluster_ip: false,
        }
    };
    let weights = vec![1; count.into()];
    Backend {
        name: "be_http:app:web".into(),
        servers: (1..=count).map(server).collect(),
        balancer: Balancer::new(algorithm, &weights, Arc::default()),
        sticky: None,
        stats: Arc::new(UpstreamStats::new(1)),
    }
}

fn eject(backend: &Backend, index: usize) {
    let rules = EjectionSettings { time: Duration::from_secs(1 << 20), ..Default::default() };
    assert!(backend.servers[index].peer.outlier.eject(clock::millis(), &rules, 0).is_some());
}

/// Everybody who is chosen over many requests.
fn chosen(backend: &Backend, tried: &Tried) -> Vec<usize> {
    let draws = (0..200_u64).map(|nth| nth.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut all: Vec<_> = draws.filter_map(|draw| choose(backend, tried, draw)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// [HC-3]: where checks do not count, a server is always tried.
#[test]
fn hc_3_only_where_checks_count_a_server_can_be_down() {
    let mut backend = backend(Algorithm::Random, 1, false);
    backend.servers[0].peer.set_up(false);
    assert_eq!(choose(&backend, &Tried::default(), 7), None);
    backend.servers[0].checked = false;
    assert_eq!(choose(&backend, &Tried::default(), 7), Some(0));
}

/// decisions 12: an ejected server gets nothing while there is another; where there is
/// none it is tried all the same, but what checks have found down is not.
#[test]
fn r_45_ejected_servers_are_the_last_resort_and_those_that_are_down_none() {
    for (algorithm, gated) in ALL.into_iter().flat_map(|one| [(one, false), (one, true)]) {
        let backend = backend(algorithm, 4, gated);
        let mut tried = Tried::default();
        assert_eq!(chosen(&backend, &tried), [0, 1, 2, 3], "{algorithm:?}");
        eject(&backend, 1);
        assert_eq!(chosen(&backend, &tried), [0, 2, 3], "{algorithm:?}");
        assert!(!backend.is_usable(1) && backend.is_usable(0) && backend.is_up(1));
        backend.servers[0].peer.set_up(false);
        assert_eq!(chosen(&backend, &tried), [2, 3], "{algorithm:?}");
        // A retry tries an ejected one rather than wait.
        tried.push(2);
        assert_eq!(chosen(&backend, &tried), [3], "{algorithm:?}");
        tried.push(3);
        assert_eq!(chosen(&backend, &tried), [1], "{algorithm:?}");
        tried.clear();
        eject(&backend, 2);
        eject(&backend, 3);
        assert_eq!(chosen(&backend, &tried), [1, 2, 3], "{algorithm:?}: panic mode");
        backend.servers.iter().for_each(|server| server.peer.set_up(false));
        assert_eq!(chosen(&backend, &tried), [0; 0], "{algorithm:?}");
    }
}

/// What of 40,000 requests goes to the last of `backend`'s servers, in percent.
fn share_of_last(backend: &Backend) -> f64 {
    let last = backend.servers.len() - 1;
    let draws = (1..=40_000_u64).map(|nth| {
        let mixed = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    });
    let hits = draws.filter(|draw| choose(backend, &Tried::default(), *draw) == Some(last)).count();
    f64::from(u32::try_from(hits).unwrap()) / 400.0
}

/// the share of a newcomer among four grows evenly to a quarter in ten seconds, with every
/// algorithm; where all have just come, none has less than another.
#[tokio::test(start_paused = true)]
async fn r_67_the_share_of_a_newcomer_grows_evenly() {
    for algorithm in ALL {
        let backend = backend(algorithm, 4, false);
        backend.servers[3].peer.begin_slow_start();
        for tenths in [0, 2, 5, 8, 10, 20_u32] {
            let part = f64::from(tenths.min(10)) / 10.0;
            // Round robin has no turns left over: a newcomer counts as a part of a server.
            let of = if algorithm == Algorithm::RoundRobin { 3.0 + part } else { 4.0 };
            let (expected, share) = (100.0 * part / of, share_of_last(&backend));
            assert!((share - expected).abs() < 1.0, "{algorithm:?} {tenths}: {share}");
            let step = if tenths == 0 || tenths == 8 {
                2
            } else if tenths == 10 {
                10
            } else {
                3
            };
            tokio::time::advance(SLOW_START * step / 10).await;
        }
        backend.servers.iter().for_each(|server| server.peer.begin_slow_start());
        tokio::time::advance(Duration::from_millis(1)).await;
        let share = share_of_last(&backend);
        assert!((share - 25.0).abs() < 1.0, "{algorithm:?}: {share}");
    }
}

/// reliability.md 2.6: a server that comes back, from an ejection or by checks, starts slowly as well.
#[tokio::test(start_paused = true)]
async fn r_67_what_comes_back_starts_slowly() {
    let backend = backend(Algorithm::RoundRobin, 2, false);
    let peer = &backend.servers[1].peer;
    let rules = EjectionSettings::default();
    assert!(peer.outlier.eject(clock::millis(), &rules, 0).is_some());
    assert_eq!(share_of_last(&backend), 0.0);
    tokio::time::advance(rules.time).await;
    assert!(!peer.is_ejected());
    assert!(share_of_last(&backend) < 1.0, "its time begins now");
    tokio::time::advance(SLOW_START).await;
    assert_eq!(share_of_last(&backend), 50.0);
    peer.recover();
    assert!(share_of_last(&backend) < 1.0);
    tokio::time::advance(SLOW_START).await;
    assert_eq!(share_of_last(&backend), 50.0);
}
