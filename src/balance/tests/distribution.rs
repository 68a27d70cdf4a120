//! Shares of each algorithm over many picks, with fixed seeds: the vectors of W-4, and 90 to 10.

use std::net::Ipv4Addr;

use super::*;

/// Services as weight and number of endpoints; the vectors of W-4 and 90 to 10.
const VECTORS: [&[(u16, usize)]; 8] = [
    &[(50, 1), (50, 1)],
    &[(25, 1), (75, 1)],
    &[(50, 2), (50, 1)],
    &[(20, 2), (60, 1)],
    &[(3, 5), (256, 1)],
    &[(50, 1)],
    &[(20, 2), (10, 4)],
    &[(90, 1), (10, 1)],
];

/// Chi-square that is exceeded with a probability of 0.01, for one degree of freedom and more.
const CRITICAL: [f64; 5] = [6.635, 9.210, 11.345, 13.277, 15.086];

/// The five ways that there are: `source` has two.
const WAYS: [(Algorithm, bool); 5] = [
    (Algorithm::Leastconn, false),
    (Algorithm::Random, false),
    (Algorithm::RoundRobin, false),
    (Algorithm::Source, false),
    (Algorithm::Source, true),
];

/// The weight of each endpoint.
fn weights(services: &[(u16, usize)]) -> Vec<u16> {
    let weights = endpoint_weights(services);
    services.iter().zip(weights).flat_map(|((_, n), weight)| vec![weight; *n]).collect()
}

fn made(algorithm: Algorithm, consistent: bool, weights: &[u16]) -> Balancer {
    let balancer = balancer(algorithm, weights);
    if !consistent {
        return balancer;
    }
    let nth = |nth: usize| SocketAddr::from(([10, 1, 0, u8::try_from(nth).unwrap()], 8443));
    balancer.consistent((0..weights.len()).map(|it| identity(nth(it))).collect())
}

/// What a pick is made by: another client for each, or another random number.
fn draw(algorithm: Algorithm, nth: u32) -> u64 {
    match algorithm {
        Algorithm::Source => source_hash(Ipv4Addr::from_bits(0x0a40_0000 + nth).into()),
        _ => mix(u64::from(nth) ^ 0x5eed),
    }
}

/// Picks for each server, of `n`. Those of leastconn end one by one, at random, while as many run as
/// make its shares even: twenty for each weight.
fn picks(algorithm: Algorithm, consistent: bool, weights: &[u16], n: u32) -> Vec<u64> {
    let balancer = made(algorithm, consistent, weights);
    let mut counts = vec![0; weights.len()];
    if algorithm != Algorithm::Leastconn {
        for nth in 0..n {
            counts[balancer.pick(draw(algorithm, nth), |_| true, |_| 0).unwrap()] += 1;
        }
        return counts;
    }
    let mut loads = vec![0_i64; weights.len()];
    let mut running = Vec::new();
    let full = 20 * weights.iter().copied().map(usize::from).sum::<usize>();
    for nth in 0..n + u32::try_from(full).unwrap() {
        let counted = running.len() == full;
        if counted {
            let ends = usize::try_from(mix(u64::from(nth)) % full as u64).unwrap();
            loads[running.swap_remove(ends)] -= 1;
        }
        let picked: usize = balancer.pick(0, |_| true, |it| loads[it]).unwrap();
        running.push(picked);
        loads[picked] += 1;
        counts[picked] += u64::from(counted);
    }
    counts
}

/// [LB-2, W-4], R-46: chi-square with p > 0.01 for every algorithm and every vector.
#[test]
fn lb_2_shares_follow_weights_for_every_algorithm() {
    const N: u32 = 20_000;
    for services in VECTORS {
        let weights = weights(services);
        let total: f64 = weights.iter().copied().map(f64::from).sum();
        for (algorithm, consistent) in WAYS {
            let counts = picks(algorithm, consistent, &weights, N);
            let chi: f64 = weights
                .iter()
                .zip(&counts)
                .map(|(weight, count)| {
                    let expected = f64::from(N) * f64::from(*weight) / total;
                    let count = f64::from(u32::try_from(*count).unwrap());
                    (count - expected).powi(2) / expected
                })
                .sum();
            let limit = CRITICAL.get(weights.len().wrapping_sub(2)).copied().unwrap_or(0.0);
            assert!(chi <= limit, "{algorithm:?} {consistent} {weights:?} {counts:?}: {chi}");
        }
    }
}

/// 100,000 picks at 90 to 10, each within one percent; nothing goes to weight 0 [W-5].
#[test]
fn r_11_ninety_to_ten_within_one_percent() {
    const N: u32 = 100_000;
    let weights = weights(&[(90, 1), (10, 1), (0, 1)]);
    for (algorithm, consistent) in WAYS {
        let counts = picks(algorithm, consistent, &weights, N);
        assert!(counts[0].abs_diff(90_000) <= 1000, "{algorithm:?} {consistent} {counts:?}");
        assert!(counts[1].abs_diff(10_000) <= 1000, "{algorithm:?} {consistent} {counts:?}");
        assert_eq!(counts[2], 0, "{algorithm:?} {consistent}");
    }
}

proptest! {
    /// [LB-2]: `roundrobin` is smooth. After any number of picks each server is as near to its share as
    /// whole numbers allow.
    #[test]
    fn lb_2_round_robin_is_smooth(weights in prop::collection::vec(0..=256_u16, 1..8)) {
        let total: u32 = weights.iter().copied().map(u32::from).sum();
        prop_assume!(total > 0);
        let balancer = balancer(Algorithm::RoundRobin, &weights);
        let mut counts = vec![0_u32; weights.len()];
        let servers = f64::from(u32::try_from(weights.len()).unwrap());
        for nth in 1..=total {
            counts[balancer.pick(0, |_| true, |_| 0).unwrap()] += 1;
            for (weight, count) in weights.iter().zip(&counts) {
                let share = f64::from(*weight) / f64::from(total);
                let off = (f64::from(*count) - f64::from(nth) * share).abs();
                prop_assert!(off <= 0.5 + share * servers / 2.0 + 1e-6, "{} {:?}", nth, counts);
            }
        }
    }

    /// [LB-2]: `source` on http is a map as long as the sum of the weights of what is usable, and the
    /// client's number modulo its length is the place in it.
    #[test]
    fn lb_2_source_is_a_map_of_weights(
        servers in prop::collection::vec((0..20_u16, any::<bool>()), 1..8),
        client in any::<u32>(),
    ) {
        let weights: Vec<u16> = servers.iter().map(|it| it.0).collect();
        let map: Vec<usize> = (0..servers.len())
            .filter(|it| servers[*it].1)
            .flat_map(|it| vec![it; weights[it].into()])
            .collect();
        let hash = source_hash(Ipv4Addr::from_bits(client).into());
        let expected = hash.checked_rem(map.len() as u64).map(|at| map[usize::try_from(at).unwrap()]);
        let picked = balancer(Algorithm::Source, &weights).pick(hash, |it| servers[it].1, |_| 0);
        prop_assert_eq!(picked, expected);
    }

    /// [LB-2]: `leastconn` never passes a server by that has less load for its weight, and equals get
    /// one request each before one of them gets a second.
    #[test]
    fn lb_2_leastconn_takes_the_least_and_turns_between_equals(
        servers in prop::collection::vec((1..5_u16, 0..4_i64), 1..8),
    ) {
        let weights: Vec<u16> = servers.iter().map(|it| it.0).collect();
        let balancer = balancer(Algorithm::Leastconn, &weights);
        let least = |it: usize| {
            let (weight, load) = servers[it];
            servers.iter().all(|other| load * i64::from(other.0) <= other.1 * i64::from(weight))
        };
        let mut equals: Vec<usize> = (0..servers.len()).filter(|it| least(*it)).collect();
        let load = |it: usize| servers[it].1;
        let mut picked: Vec<_> =
            equals.iter().map(|_| balancer.pick(0, |_| true, load).unwrap()).collect();
        picked.sort_unstable();
        equals.sort_unstable();
        prop_assert_eq!(picked, equals);
    }
}
