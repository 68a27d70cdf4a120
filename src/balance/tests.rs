//! Four algorithms: exact shares, seeded draws, exclusions; the vectors of W-4.

use proptest::prelude::*;

use super::*;

mod distribution;

const ALL: [Algorithm; 4] =
    [Algorithm::Leastconn, Algorithm::Random, Algorithm::RoundRobin, Algorithm::Source];

fn balancer(algorithm: Algorithm, weights: &[u16]) -> Balancer {
    Balancer::new(algorithm, weights, Arc::default())
}

/// Picks per server over `n` picks with seeded draws.
fn count(balancer: &Balancer, servers: usize, n: u64, usable: impl Fn(usize) -> bool) -> Vec<u64> {
    let mut counts = vec![0; servers];
    for i in 0..n {
        counts[balancer.pick(mix(i), &usable, |_| 0).unwrap()] += 1;
    }
    counts
}

/// [W-1, W-2, W-3, W-4]
#[test]
fn endpoint_weights_follow_the_vectors() {
    for (services, want) in [
        (&[(50, 1), (50, 1)][..], &[256, 256][..]),
        (&[(25, 1), (75, 1)], &[85, 256]),
        (&[(50, 2), (50, 1)], &[128, 256]),
        (&[(20, 2), (60, 1)], &[42, 256]),
        (&[(3, 5), (256, 1)], &[1, 256]),
        (&[(50, 1)], &[1]),
        (&[(0, 1)], &[0]),
        (&[(20, 2), (10, 4)], &[256, 64]),
        (&[(100, 3), (0, 2)], &[1, 0]),
        (&[(100, 0), (7, 2)], &[0, 1]),
        (&[], &[]),
    ] {
        assert_eq!(endpoint_weights(services), want, "{services:?}");
    }
}

/// [LB-1]
#[test]
fn algorithm_comes_from_annotation_then_services_then_settings() {
    let (none, some) = (Defaults::default(), Some(Algorithm::Leastconn));
    assert_eq!(none.for_http(some, 2), Algorithm::Leastconn);
    assert_eq!(none.for_http(None, 2), Algorithm::RoundRobin);
    assert_eq!(none.for_http(None, 1), Algorithm::Random);
    assert_eq!(none.for_passthrough(None, 1), Algorithm::Source);
    let set = Defaults { algorithm: some, tcp: None };
    assert_eq!(set.for_http(None, 1), Algorithm::Leastconn);
    assert_eq!(set.for_passthrough(None, 1), Algorithm::Leastconn);
    let tcp = Defaults { tcp: Some(Algorithm::Random), ..set };
    assert_eq!(tcp.for_passthrough(None, 1), Algorithm::Random);
    for algorithm in ALL {
        assert_eq!(Algorithm::parse(algorithm.as_str()), Some(algorithm));
    }
    assert_eq!(Algorithm::parse("static-rr"), None);
}

/// [LB-2]
#[test]
fn round_robin_counts_are_exact_in_each_cycle() {
    let balancer = balancer(Algorithm::RoundRobin, &[85, 256, 0]);
    for _ in 0..3 {
        assert_eq!(count(&balancer, 3, 341, |_| true), [85, 256, 0]);
    }
}

/// [LB-2]: the share of a server that is out falls to all the others, and asking in vain costs nobody
/// a turn.
#[test]
fn lb_2_round_robin_shares_what_a_missing_server_leaves() {
    let balancer = balancer(Algorithm::RoundRobin, &[1, 1, 1, 1]);
    for _ in 0..3 {
        assert_eq!(count(&balancer, 4, 300, |it| it != 1), [100, 0, 100, 100]);
        assert_eq!(balancer.pick(0, |_| false, |_| 0), None);
    }
    for _ in 0..8 {
        assert_eq!(balancer.pick(0, |_| false, |_| 0), None);
        assert_eq!(count(&balancer, 4, 4, |_| true), [1; 4]);
    }
    assert_eq!(count(&balancer, 4, 400, |it| it % 2 == 0), [200, 0, 200, 0]);
}

#[test]
fn long_cycles_are_scaled_and_keep_everybody() {
    let weights: Vec<u16> = (0..300).map(|i| if i == 0 { 1 } else { 255 }).collect();
    let schedule = weights::schedule(&weights);
    assert!(schedule.len() <= 4096 && schedule.contains(&0));
    assert_eq!(weights::schedule(&[256; 5000]).len(), 5000);
    assert!(weights::schedule(&[0, 0]).is_empty());
}

/// Chi-square with one degree of freedom per server but one; 30 is far beyond p = 0.0001 for 5.
#[test]
fn shares_converge_to_weights() {
    let weights = [1_u16, 7, 0, 64, 256, 128];
    for algorithm in [Algorithm::Random, Algorithm::Source] {
        for down in [None, Some(4)] {
            let up = |i| Some(i) != down;
            let shares = weights.iter().enumerate().map(|(i, &w)| if up(i) { w } else { 0 });
            let shares: Vec<f64> = shares.map(f64::from).collect();
            let (n, total) = (60_000_u32, shares.iter().sum::<f64>());
            let counts = count(&balancer(algorithm, &weights), 6, u64::from(n), up);
            let mut chi = 0.0;
            for (share, &got) in shares.iter().zip(&counts) {
                let want = f64::from(n) * share / total;
                let got = f64::from(u32::try_from(got).unwrap());
                if want == 0.0 { assert_eq!(got, 0.0) } else { chi += (got - want).powi(2) / want }
            }
            assert!(chi < 30.0, "{algorithm:?} {down:?} {chi} {counts:?}");
        }
    }
}

#[test]
fn leastconn_takes_the_least_load_per_weight_and_turns_between_equals() {
    let balancer = balancer(Algorithm::Leastconn, &[1, 2, 2, 1]);
    let loads = [3, 4, 4, 9];
    let picks: Vec<_> = (0..4).map(|_| balancer.pick(0, |_| true, |i| loads[i]).unwrap()).collect();
    assert_eq!(picks, [1, 2, 1, 2]);
}

#[test]
fn random_takes_the_less_loaded_of_two() {
    let balancer = balancer(Algorithm::Random, &[1, 1]);
    let busy = |i| if i == 0 { 10 } else { 0 };
    let first = (0..1000).filter(|&i| balancer.pick(mix(i), |_| true, busy) == Some(0)).count();
    assert!((150..350).contains(&first), "both draws fall on 0 in a quarter of all cases: {first}");
}

/// [LB-2]: for passthrough, a server that goes moves its own clients, one that comes takes its share
/// from all, and the rest stay where they are; shares follow weights.
#[test]
fn lb_2_consistent_source_moves_no_more_clients_than_it_must() {
    let address = |nth: usize| SocketAddr::from(([10, 0, 0, u8::try_from(nth).unwrap()], 8443));
    let balancer = |servers: &[(usize, u16)]| {
        let weights: Vec<u16> = servers.iter().map(|(_, weight)| *weight).collect();
        let identities = servers.iter().map(|(nth, _)| identity(address(*nth))).collect();
        Balancer::new(Algorithm::Source, &weights, Arc::default()).consistent(identities)
    };
    let clients: Vec<u64> =
        (0..20_000_u32).map(|nth| source_hash(nth.to_be_bytes().into())).collect();
    let of = |servers: &[(usize, u16)], down: Option<usize>| -> Vec<usize> {
        let balancer = balancer(servers);
        let up = |i: usize| Some(servers[i].0) != down;
        clients.iter().map(|&it| servers[balancer.pick(it, up, |_| 0).unwrap()].0).collect()
    };
    let four = [(1, 100), (2, 100), (3, 200), (4, 0)];
    let before = of(&four, None);
    let share = |nth| before.iter().filter(|&&it| it == nth).count();
    for (nth, expected) in [(1, 5000_usize), (2, 5000), (3, 10_000)] {
        assert!(share(nth).abs_diff(expected) < 300, "{nth}: {}", share(nth));
    }
    assert_eq!(share(4), 0, "weight 0");
    let without = [(3, 200), (1, 100)];
    for after in [of(&without, None), of(&four, Some(2))] {
        for (was, is) in before.iter().zip(after) {
            assert!(*was == is || *was == 2, "{was} {is}");
        }
    }
    let with = of(&[(5, 100), (1, 100), (2, 100), (3, 200)], None);
    let moved = before.iter().zip(&with).filter(|(was, is)| was != is);
    assert!(moved.clone().all(|(_, is)| *is == 5));
    assert!(moved.count().abs_diff(4000) < 300);
}

#[test]
fn source_sticks_and_mapped_addresses_count_as_v4() {
    let balancer = balancer(Algorithm::Source, &[1; 9]);
    let v4 = source_hash("10.0.0.1".parse().unwrap());
    assert_eq!(v4, source_hash("::ffff:10.0.0.1".parse().unwrap()));
    assert_ne!(v4, source_hash("10.0.0.2".parse().unwrap()));
    let first = balancer.pick(v4, |_| true, |_| 0);
    assert!((0..9).all(|_| balancer.pick(v4, |_| true, |_| 0) == first));
}

proptest! {
    #[test]
    fn pick_is_usable_and_exists_whenever_it_can(
        servers in prop::collection::vec((0..4_u16, any::<bool>(), any::<bool>(), 0..5_i64), 0..12),
        draws in prop::collection::vec(any::<u64>(), 1..8),
        algorithm in prop::sample::select(ALL.to_vec()),
    ) {
        let weights: Vec<_> = servers.iter().map(|s| s.0).collect();
        let tried: Vec<_> = (0..servers.len()).filter(|&i| servers[i].2).collect();
        let fit = |i: usize| servers[i].0 > 0 && servers[i].1 && !servers[i].2;
        let balancer = balancer(algorithm, &weights);
        for draw in draws {
            match balancer.pick_excluding(draw, &tried, |i| servers[i].1, |i| servers[i].3) {
                Some(i) => prop_assert!(fit(i)),
                None => prop_assert!(!(0..servers.len()).any(fit)),
            }
        }
    }
}
