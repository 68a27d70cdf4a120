//! Flow choice: spread, stability and fail-open (spec/l4-dns.md A.3).

use proptest::prelude::*;

use super::*;

const ONE: Minimum = Minimum { count: Some(1), percent: None };

fn members(standings: &[Standing]) -> impl Iterator<Item = Member> + Clone {
    (1000..).zip(standings).map(|(id, &standing)| Member { id, standing })
}

fn flow(port: u16, sequence: u64) -> Flow {
    Flow {
        transport: Transport::Tcp,
        source: SocketAddr::from(([10, 0, 0, 1], port)),
        destination: SocketAddr::from(([10, 0, 0, 2], 443)),
        sequence,
    }
}

/// Counts of `flows` over `count` healthy targets.
fn spread(flows: impl Iterator<Item = Flow>, count: usize) -> Vec<u32> {
    let mut counts = vec![0; count];
    for flow in flows {
        let choice = choose(flow.hash(7), members(&vec![Standing::Healthy; count]), ONE).unwrap();
        counts[choice.index] += 1;
    }
    counts
}

/// NLB-01 on the function alone: 4000 flows, 4 targets.
#[test]
fn nlb_01_many_flows_spread_evenly() {
    let counts = spread((0..4000).map(|port| flow(port, 0)), 4);
    assert!(counts.iter().all(|count| (850..=1150).contains(count)), "{counts:?}");
}

/// NLB-02.
#[test]
fn nlb_02_the_sequence_number_is_part_of_the_hash() {
    let counts = spread((0..4000).map(|sequence| flow(40_000, sequence)), 4);
    assert!(counts.iter().all(|count| (850..=1150).contains(count)), "{counts:?}");
}

/// NLB-03.
#[test]
fn nlb_03_a_sticky_hash_sees_the_address_alone() {
    let plain: IpAddr = "10.0.0.1".parse().unwrap();
    let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
    assert_eq!(sticky_hash(plain, 7), sticky_hash(mapped, 7));
    assert_ne!(sticky_hash(plain, 7), sticky_hash("10.0.0.3".parse().unwrap(), 7));
    assert_ne!(sticky_hash(plain, 7), sticky_hash(plain, 8));
}

#[test]
fn an_empty_set_and_a_set_without_candidates_give_nothing() {
    assert_eq!(choose(1, members(&[]), ONE), None);
    assert_eq!(choose(1, members(&[Standing::Out, Standing::Out]), ONE), None);
}

/// NLB-12: zone b has 4 of 10 healthy. By itself it fails open at 50 %, in the whole group it
/// does not.
#[test]
fn nlb_12_the_percentage_counts_over_the_candidates() {
    let half = Minimum { count: Some(1), percent: Some(50) };
    let mut zone_b = vec![Standing::Healthy; 4];
    zone_b.extend([Standing::Candidate; 6]);
    assert_eq!(choose(1, members(&zone_b), half).unwrap().routing, Routing::FailOpen);
    let mut both = zone_b;
    both.extend([Standing::Healthy; 10]);
    assert_eq!(choose(1, members(&both), half).unwrap().routing, Routing::Healthy);
}

fn any_standing() -> impl Strategy<Value = Standing> {
    prop_oneof![Just(Standing::Candidate), Just(Standing::Healthy), Just(Standing::Out)]
}

proptest! {
    /// NLB-09 and R-58: the rules of A.3, written down a second time.
    #[test]
    fn nlb_09_only_eligible_targets_are_chosen(
        hash: u64,
        standings in proptest::collection::vec(any_standing(), 0..12),
        count in 1..4_u32,
    ) {
        let healthy = standings.iter().filter(|&&one| one == Standing::Healthy).count();
        let choice = choose(hash, members(&standings), Minimum { count: Some(count), percent: None });
        let usable = standings.iter().any(|&one| one != Standing::Out);
        prop_assert_eq!(choice.is_some(), usable);
        if let Some(Choice { index, routing }) = choice {
            prop_assert_ne!(standings[index], Standing::Out);
            if healthy >= count as usize {
                prop_assert_eq!((standings[index], routing), (Standing::Healthy, Routing::Healthy));
            } else {
                prop_assert_eq!(routing, Routing::FailOpen);
            }
        }
    }

    /// A target that leaves moves no flow of the others.
    #[test]
    fn the_others_keep_their_share(hash: u64, size in 2..12_usize, leaving in 0..12_usize) {
        let mut standings = vec![Standing::Healthy; size];
        let before = choose(hash, members(&standings), ONE).unwrap();
        prop_assume!(before.index != leaving % size);
        standings[leaving % size] = Standing::Out;
        prop_assert_eq!(choose(hash, members(&standings), ONE), Some(before));
    }
}

/// [NLB-23] Weights 1 to 3 share flows 25 to 75; weight 0 gets none; all 0 is nobody.
#[test]
fn nlb_23_groups_share_flows_by_weight() {
    let mut counts = [0; 3];
    for hash in (0..4000).map(|port| flow(port, 0).hash(7)) {
        counts[weighted(hash, [1, 0, 3].into_iter()).unwrap()] += 1;
    }
    assert!((850..=1150).contains(&counts[0]), "{counts:?}");
    assert_eq!(counts[1], 0);
    assert_eq!(weighted(1, [0, 0].into_iter()), None);
}
