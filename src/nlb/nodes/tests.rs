//! Which zones are in DNS, by example and by counting.

use super::*;

const HALF: Minimum = Minimum { count: Some(1), percent: Some(50) };

fn zones(names: &[&str]) -> Vec<ZoneConfig> {
    names.iter().map(|name| (*name).into()).collect()
}

/// A group from (zone, healthy targets, all targets).
fn group(cross_zone: bool, minimum: Minimum, zones: &[(&str, usize, usize)]) -> GroupHealth {
    let targets = zones.iter().flat_map(|(zone, healthy, all)| {
        (0..*all).map(|index| (Some(Arc::from(*zone)), index < *healthy))
    });
    GroupHealth { cross_zone, minimum, targets: targets.collect() }
}

fn in_dns(names: &[&str], groups: &[GroupHealth]) -> Vec<bool> {
    states(&zones(names), groups, None).iter().map(|state| state.in_dns).collect()
}

/// [NLB-12] The example of A.6b: two zones of ten targets, both percentages 50, six of b fail.
#[test]
fn nlb_12_percentages_are_of_the_zone_or_of_the_whole_group() {
    let counts = [("a", 10, 10), ("b", 4, 10)];
    assert_eq!(in_dns(&["a", "b"], &[group(false, HALF, &counts)]), [true, false]);
    assert_eq!(in_dns(&["a", "b"], &[group(true, HALF, &counts)]), [true, true]);
}

/// [NLB-09] When every target fails, all zones are named, and none of them is healthy.
#[test]
fn nlb_09_all_zones_are_named_when_all_fail() {
    for cross_zone in [false, true] {
        let groups = [group(cross_zone, Minimum::default(), &[("a", 0, 2), ("b", 0, 2)])];
        let states = states(&zones(&["a", "b"]), &groups, None);
        assert!(states.iter().all(|state| state.in_dns && !state.healthy), "{states:?}");
    }
}

/// [NLB-10], [NLB-11]: A failed zone leaves DNS with cross-zone off, and stays with it on; so does a
/// zone without targets.
#[test]
fn nlb_10_and_11_cross_zone_decides() {
    for counts in [&[("a", 2, 2), ("b", 0, 2)][..], &[("a", 2, 2)]] {
        let health = |cross_zone| [group(cross_zone, Minimum::default(), counts)];
        assert_eq!(in_dns(&["a", "b"], &health(false)), [true, false]);
        assert_eq!(in_dns(&["a", "b"], &health(true)), [true, true]);
    }
}

/// A.2: one unhealthy group of the load balancer fails the zone.
#[test]
fn one_group_is_enough_to_fail_a_zone() {
    let good = group(false, Minimum::default(), &[("a", 1, 1), ("b", 1, 1)]);
    let bad = group(false, Minimum::default(), &[("a", 1, 1), ("b", 0, 1)]);
    assert_eq!(in_dns(&["a", "b"], &[good.clone(), good.clone()]), [true, true]);
    assert_eq!(in_dns(&["a", "b"], &[good, bad]), [true, false]);
}

/// Against the rules of A.2 and A.6b written down another way, over every small state of two zones.
#[test]
fn every_small_state_agrees_with_the_rules_by_counting() {
    let limits = [None, Some(1), Some(2)].into_iter().flat_map(|count| {
        [None, Some(34), Some(50), Some(100)].map(|percent| Minimum { count, percent })
    });
    let mut cases = 0;
    for minimum in limits {
        for code in 0..3_usize.pow(6) {
            // Each of three targets per zone is absent, failed or healthy.
            let digit = |place: u32| code / 3_usize.pow(place) % 3;
            let tally = |places: std::ops::Range<u32>| {
                let (all, good): (Vec<_>, Vec<_>) = (
                    places.clone().filter(|p| digit(*p) > 0).collect(),
                    places.filter(|p| digit(*p) == 2).collect(),
                );
                (good.len(), all.len())
            };
            let (a, b) = (tally(0..3), tally(3..6));
            for cross_zone in [false, true] {
                let fails = |(good, all): (usize, usize)| {
                    let few = minimum.count.is_some_and(|least| good < least as usize);
                    let number = |count: usize| f64::from(u8::try_from(count).unwrap());
                    let share = if all == 0 { 1.0 } else { number(good) / number(all) };
                    let low = minimum.percent.is_some_and(|least| share * 100.0 < f64::from(least));
                    few || low
                };
                let expected = if cross_zone {
                    // Either all zones pass or all fail, and then all are named.
                    [true, true]
                } else {
                    let (bad_a, bad_b) = (a.1 == 0 || fails(a), b.1 == 0 || fails(b));
                    [!bad_a || bad_b, !bad_b || bad_a]
                };
                let health = group(cross_zone, minimum, &[("a", a.0, a.1), ("b", b.0, b.1)]);
                assert_eq!(in_dns(&["a", "b"], &[health]), expected, "{minimum:?} {a:?} {b:?}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 12 * 729 * 2);
}

/// A.2: a zone that traffic is shifted away from is not named however healthy it is; when no other is
/// healthy, all are named.
#[test]
fn a_zone_that_is_shifted_away_from_leaves_dns() {
    let states = |counts: &[(&str, usize, usize)]| {
        let group = group(false, Minimum::default(), counts);
        states(&zones(&["a", "b"]), &[group], Some("a"))
    };
    let summary = |states: Vec<ZoneState>| -> Vec<_> {
        states.iter().map(|state| (state.healthy, state.in_dns)).collect()
    };
    assert_eq!(summary(states(&[("a", 1, 1), ("b", 1, 1)])), [(true, false), (true, true)]);
    assert_eq!(summary(states(&[("a", 1, 1), ("b", 0, 1)])), [(true, true), (false, true)]);
}
