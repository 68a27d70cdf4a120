//! Each scheduler does what its formula says.

use std::{net::Ipv4Addr, time::Duration};

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;

fn server(last: u8, weight: u32, active: u32, inactive: u32) -> Server {
    Server { address: SocketAddr::from(([10, 0, 0, last], 8080)), weight, active, inactive }
}

/// Servers of these weights without connections.
fn servers(weights: &[u32]) -> Vec<Server> {
    (1..).zip(weights).map(|(last, weight)| server(last, *weight, 0, 0)).collect()
}

fn flow(client: u32) -> Flow {
    let source = SocketAddr::from((Ipv4Addr::from(0x0a80_0000 + client), 40_000));
    Flow { source, destination: IpAddr::from([172, 30, 0, 1]) }
}

fn to(last: u8) -> Flow {
    Flow { destination: IpAddr::from([172, 30, 0, last]), ..flow(1) }
}

fn scheduler(kind: Kind, servers: &[Server]) -> Scheduler {
    let mut scheduler = Scheduler::new(kind);
    scheduler.changed(servers);
    scheduler
}

/// Letters of `count` choices in a row, none of which lasts.
fn sequence(scheduler: &mut Scheduler, servers: &[Server], count: usize) -> String {
    let now = Instant::now();
    let pick = |_| match scheduler.pick(servers, &flow(1), now) {
        Some(index) => char::from(b'A' + u8::try_from(index).unwrap()),
        None => '-',
    };
    (0..count).map(pick).collect()
}

/// Connections of each server after `count` that all last, each from another client.
fn shares(kind: Kind, weights: &[u32], count: u32) -> Vec<u32> {
    let mut servers = servers(weights);
    let mut scheduler = scheduler(kind, &servers);
    let now = Instant::now();
    for client in 0..count {
        let index = scheduler.pick(&servers, &flow(client), now).unwrap();
        servers[index].active += 1;
    }
    servers.iter().map(|server| server.active).collect()
}

#[test]
fn names_are_those_of_ipvsadm() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    assert_eq!(Kind::default(), Kind::Rr, "kube-proxy's default");
    assert!("RR".parse::<Kind>().unwrap_err().to_string().contains("\"RR\""));
}

#[test]
fn rr_takes_turns_and_skips_weight_0() {
    let three = servers(&[1, 1, 1]);
    assert_eq!(sequence(&mut scheduler(Kind::Rr, &three), &three, 7), "ABCABCA");
    let one_leaves = servers(&[1, 0, 1]);
    assert_eq!(sequence(&mut scheduler(Kind::Rr, &one_leaves), &one_leaves, 4), "ACAC");
    for nobody in [servers(&[0, 0]), Vec::new()] {
        assert_eq!(sequence(&mut scheduler(Kind::Rr, &nobody), &nobody, 2), "--");
    }
}

#[test]
fn rr_goes_on_where_it_was_when_a_server_leaves() {
    let mut three = servers(&[1, 1, 1]);
    for (gone, next) in [(0, "BAB"), (1, "BAB"), (2, "BAB")] {
        // After B it is the turn of C; of those that stay, or else of A.
        let mut scheduler = scheduler(Kind::Rr, &three);
        assert_eq!(sequence(&mut scheduler, &three, 2), "AB");
        let left = three.remove(gone);
        scheduler.changed(&three);
        let expected = if gone == 2 { "ABA" } else { next };
        assert_eq!(sequence(&mut scheduler, &three, 3), expected, "without {gone}");
        three.insert(gone, left);
    }
}

/// ip_vs_rr.c by hand: letters before a change, the change, and letters after it. A place that is
/// taken out moves back to the one before it, whoever else goes or comes.
#[test]
fn rr_goes_on_where_it_was_when_several_change_at_once() {
    for (before, count, after, expected) in [
        // After C it is the turn of D, without A or not.
        ("ABCD", 3, "BCD", "DBCD"),
        // C goes with A: back to B, then D.
        ("ABCD", 3, "BD", "DBD"),
        // All up to C go: back to the head of the list.
        ("ABCD", 3, "D", "DD"),
        ("ABCD", 3, "XD", "XDX"),
        // The last one goes: back to C, then round.
        ("ABCD", 4, "ABC", "ABC"),
        ("ABCD", 4, "BC", "BCB"),
        // Who comes has its turn where it stands in the list.
        ("ABCD", 2, "XABYCD", "YCDXAB"),
        ("ABCD", 2, "XAYCD", "YCDXA"),
        // Nobody is left, and somebody comes.
        ("ABCD", 2, "", "--"),
        ("", 1, "AB", "ABA"),
    ] {
        let named = |names: &str| -> Vec<Server> {
            names.bytes().map(|letter| server(letter, 1, 0, 0)).collect()
        };
        let (old, new) = (named(before), named(after));
        let mut scheduler = scheduler(Kind::Rr, &old);
        sequence(&mut scheduler, &old, count);
        scheduler.changed(&new);
        let now = Instant::now();
        let chosen = (0..expected.len()).map(|_| {
            let index = scheduler.pick(&new, &flow(1), now);
            index.map_or('-', |index| char::from(after.as_bytes()[index]))
        });
        let chosen: String = chosen.collect();
        assert_eq!(chosen, expected, "{before} after {count}, then {after}");
    }
}

/// ip_vs_rr.c by hand: weights may change between turns; who has 0 is passed over and keeps its place.
#[test]
fn rr_passes_over_weight_0_and_comes_back() {
    let mut servers = servers(&[1, 1, 1, 1]);
    let mut scheduler = scheduler(Kind::Rr, &servers);
    let mut said = String::new();
    for weights in
        [[1, 1, 1, 1], [1, 1, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0], [5, 1, 1, 9]]
    {
        for (server, weight) in servers.iter_mut().zip(weights) {
            server.weight = weight;
        }
        scheduler.changed(&servers);
        said.push_str(&sequence(&mut scheduler, &servers, 3));
        said.push(' ');
    }
    assert_eq!(said, "ABC DAB DDD --- AAA BCD ");
}

/// ip_vs_lc.c by hand: each step is one new connection; what is ended afterwards stands in `ends`, and is
/// inactive from then on. Loads are 256 for an active one and 1 for another.
#[test]
fn lc_goes_by_active_times_256_and_others() {
    let mut servers = servers(&[1, 7, 1, 0]);
    let mut scheduler = scheduler(Kind::Lc, &servers);
    let now = Instant::now();
    let mut said = String::new();
    for ends in [
        // Loads before each: 0 0 0, then 256 0 0, then 256 256 0.
        "", "", "",   // 256 256 256: of equals the first. Then B's ends.
        "B",  // 512 1 256: B, whatever its weight; and its end again.
        "B",  // 512 2 256; then A's two end as well.
        "AA", // 2 258 256: A.
        "",   // 258 258 256: C, by two.
        "B",  // 258 3 512.
        "",
    ] {
        let index = scheduler.pick(&servers, &flow(1), now).unwrap();
        servers[index].active += 1;
        said.push(char::from(b'A' + u8::try_from(index).unwrap()));
        for letter in ends.bytes() {
            let server = &mut servers[usize::from(letter - b'A')];
            (server.active, server.inactive) = (server.active - 1, server.inactive + 1);
        }
    }
    assert_eq!(said, "ABCABBACB");
    let loads: Vec<_> = servers.iter().map(|one| (one.active, one.inactive)).collect();
    assert_eq!(loads, [(1, 2), (1, 3), (2, 0), (0, 0)]);
}

/// The example of the kernel's own page on weighted round robin.
#[test]
fn wrr_interleaves_by_weight() {
    for (weights, expected) in [
        (&[4, 3, 2][..], "AABABCABCAABABCABC"),
        (&[4, 2], "AABAAB"),
        (&[1, 1, 1], "ABCABC"),
        (&[0, 2, 0, 1], "BBDBBD"),
        (&[5], "AAA"),
        (&[0, 0], "--"),
        (&[], "-"),
    ] {
        let servers = servers(weights);
        let mut scheduler = scheduler(Kind::Wrr, &servers);
        assert_eq!(sequence(&mut scheduler, &servers, expected.len()), expected, "{weights:?}");
    }
}

#[test]
fn wrr_follows_changed_weights() {
    let mut servers = servers(&[3, 1]);
    let mut scheduler = scheduler(Kind::Wrr, &servers);
    assert_eq!(sequence(&mut scheduler, &servers, 5), "AAABA");
    servers[0].weight = 0;
    scheduler.changed(&servers);
    assert_eq!(sequence(&mut scheduler, &servers, 3), "BBB");
    servers[0].weight = 2;
    servers[1].weight = 2;
    scheduler.changed(&servers);
    assert_eq!(sequence(&mut scheduler, &servers, 4), "ABAB");
}

#[test]
fn least_ones_follow_their_formulas() {
    let now = Instant::now();
    let pick = |kind, servers: &[Server]| scheduler(kind, servers).pick(servers, &flow(1), now);
    // An established connection is 256 others.
    let lc = [server(1, 9, 1, 0), server(2, 1, 0, 257), server(3, 1, 0, 256)];
    assert_eq!(pick(Kind::Lc, &lc), Some(0), "of equals the first");
    assert_eq!(pick(Kind::Lc, &lc[1..]), Some(1));
    // 3/4 is less than 1/1, and than 4/5 only by cross-multiplication of whole numbers.
    let wlc = [server(1, 1, 1, 0), server(2, 5, 4, 0), server(3, 4, 3, 0)];
    assert_eq!(pick(Kind::Wlc, &wlc), Some(2));
    assert_eq!(pick(Kind::Lc, &wlc), Some(0));
    // (0 + 1) / 1 is more than (2 + 1) / 4, so sed queues and nq does not.
    let sed = [server(1, 4, 2, 0), server(2, 1, 0, 0)];
    assert_eq!(pick(Kind::Sed, &sed), Some(0));
    assert_eq!(pick(Kind::Nq, &sed), Some(1));
    let none_idle = [server(1, 4, 2, 0), server(2, 1, 1, 0)];
    assert_eq!(pick(Kind::Nq, &none_idle), Some(0));
    // Full counters do not overflow.
    let full = [server(1, 1, u32::MAX, u32::MAX), server(2, u32::MAX, u32::MAX, u32::MAX)];
    assert_eq!((pick(Kind::Wlc, &full), pick(Kind::Sed, &full)), (Some(1), Some(1)));
}

/// [SVC-01]: 400 connections.
#[test]
fn svc_1_four_hundred_connections_are_shared_as_the_formula_says() {
    for kind in [Kind::Rr, Kind::Wrr, Kind::Lc, Kind::Wlc, Kind::Sed, Kind::Nq] {
        assert_eq!(shares(kind, &[1; 4], 400), [100; 4], "{kind}");
    }
    for kind in [Kind::Wrr, Kind::Wlc, Kind::Sed] {
        assert_eq!(shares(kind, &[1, 3, 4], 400), [50, 150, 200], "{kind}");
    }
    // Each first gets one, then it is as sed.
    assert_eq!(shares(Kind::Nq, &[1, 3, 4], 400), [50, 150, 200]);
    for kind in [Kind::Rr, Kind::Lc] {
        assert_eq!(shares(kind, &[1, 3, 4, 0], 399), [133, 133, 133, 0], "{kind} knows no weights");
    }
    for kind in [Kind::Sh, Kind::Mh] {
        assert!(
            shares(kind, &[1; 4], 400).iter().all(|share| (70..=130).contains(share)),
            "{kind}"
        );
    }
    // One destination has one server, until it is overloaded; from then on all are alike.
    assert_eq!(shares(Kind::Dh, &[1; 4], 400).iter().max(), Some(&400));
    assert_eq!(shares(Kind::Lblc, &[500, 500], 400), [400, 0]);
    assert_eq!(shares(Kind::Lblc, &[100, 100], 400)[1], 299, "from 101 on the other");
}

#[test]
fn sh_gives_buckets_by_weight_and_a_client_keeps_its_server() {
    // Every bucket has the same number of these clients.
    let counts = shares(Kind::Sh, &[1, 3], 1 << 16);
    assert!(counts[0].abs_diff(1 << 14) < 200, "{counts:?}");
    let mut servers = servers(&[1, 1, 1]);
    let mut scheduler = scheduler(Kind::Sh, &servers);
    let now = Instant::now();
    let first: Vec<_> = (0..100).map(|n| scheduler.pick(&servers, &flow(n), now)).collect();
    servers[0].active = 1000;
    let again: Vec<_> = (0..100).map(|n| scheduler.pick(&servers, &flow(n), now)).collect();
    assert_eq!(first, again);
    // Another port of the client is the same client.
    let mut other = flow(7);
    other.source.set_port(1);
    assert_eq!(scheduler.pick(&servers, &other, now), first[7]);
    // Without the fallback flag, those of a server of weight 0 are served by nobody.
    servers[0].weight = 0;
    scheduler.changed(&servers);
    let left: Vec<_> = (0..100).map(|n| scheduler.pick(&servers, &flow(n), now)).collect();
    assert!(left.contains(&None) && left.contains(&Some(1)) && !left.contains(&Some(0)));
}

#[test]
fn dh_goes_by_the_destination_and_not_by_weight() {
    let servers = servers(&[1, 3]);
    let mut scheduler = scheduler(Kind::Dh, &servers);
    let now = Instant::now();
    let (mut counts, client) = ([0; 2], flow(9));
    for low in 0..=u8::MAX {
        let flow = to(low);
        let index = scheduler.pick(&servers, &flow, now).unwrap();
        let other_client = Flow { source: client.source, ..flow };
        assert_eq!(scheduler.pick(&servers, &other_client, now), Some(index));
        counts[index] += 1;
    }
    assert!(counts[0] > 100 && counts[1] > 100, "{counts:?}");
}

#[test]
fn lblc_keeps_a_destination_until_it_is_overloaded() {
    let mut servers = servers(&[2, 2, 2]);
    let mut scheduler = scheduler(Kind::Lblc, &servers);
    let now = Instant::now();
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(0));
    servers[0].active = 2;
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(0), "not more than its weight");
    assert_eq!(scheduler.pick(&servers, &to(2), now), Some(1), "a new one goes by wlc");
    servers[0].active = 3;
    (servers[1].active, servers[2].active) = (1, 1);
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(0), "none has less than half");
    servers[2].active = 0;
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(2));
    servers[0].active = 0;
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(2), "and stays there");
    servers[2].weight = 0;
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(0));
    // Forgotten after a day.
    servers[0].active = 2;
    let later = now + Duration::from_secs(24 * 60 * 60);
    assert_eq!(scheduler.pick(&servers, &to(1), later), Some(0));
    let much_later = later + Duration::from_secs(24 * 60 * 60 + 1);
    assert_eq!(scheduler.pick(&servers, &to(1), much_later), Some(1));
}

#[test]
fn lblcr_grows_a_set_and_shrinks_it_after_a_day() {
    let mut servers = servers(&[2, 2, 2]);
    let mut scheduler = scheduler(Kind::Lblcr, &servers);
    let now = Instant::now();
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(0));
    servers[0].active = 3;
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(1), "A is overloaded, B joins");
    servers[1].active = 2;
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(1), "C is not in the set");
    servers[0].active = 0;
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(0), "A still is");
    // After a day without growth the most loaded one, B, leaves.
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(scheduler.pick(&servers, &to(1), now + day), Some(0));
    assert_eq!(scheduler.pick(&servers, &to(1), now + day + day / 2), Some(0));
    (servers[0].active, servers[1].active, servers[2].active) = (2, 0, 0);
    assert_eq!(scheduler.pick(&servers, &to(1), now + day + day / 2), Some(0), "B is not back");
    // A server that is gone is no member.
    servers.remove(0);
    scheduler.changed(&servers);
    assert_eq!(scheduler.pick(&servers, &to(1), now + day + day / 2), Some(0));
}

/// ip_vs_lblcr.c: the set's list begins with its newest server.
#[test]
fn lblcr_gives_what_equals_share_to_the_newest_of_the_set() {
    let mut servers = servers(&[2, 2, 2]);
    let mut scheduler = scheduler(Kind::Lblcr, &servers);
    let now = Instant::now();
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(0));
    servers[0].active = 3;
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(1), "B joins");
    (servers[0].active, servers[1].active) = (1, 1);
    assert_eq!(scheduler.pick(&servers, &to(1), now), Some(1));
}

#[test]
fn lblc_remembers_a_bounded_number_of_destinations() {
    let servers = servers(&[1]);
    let mut scheduler = scheduler(Kind::Lblc, &servers);
    let now = Instant::now();
    for number in 0..16 * 1024 + 10 {
        let destination = IpAddr::from(Ipv4Addr::from(number));
        scheduler.pick(&servers, &Flow { destination, ..flow(1) }, now).unwrap();
    }
    let State::Locality(known) = &scheduler.0 else { panic!("lblc") };
    assert_eq!(known.remembered(), 16 * 1024);
}

/// Servers of clients `0..10000`.
fn maglev(servers: &[Server]) -> Vec<Option<SocketAddr>> {
    let mut scheduler = scheduler(Kind::Mh, servers);
    let now = Instant::now();
    let pick = |client| scheduler.pick(servers, &flow(client), now);
    (0..10_000).map(pick).map(|index| index.map(|index| servers[index].address)).collect()
}

/// At most 2 % of all; with 50 servers the kernel's table of 4093 entries has few for each, and moves
/// more: 2.7 % of the entries on average, 3.1 % at most, as another program after ip_vs_mh.c has it.
#[test]
fn mh_moves_few_clients_but_those_of_the_server_that_leaves() {
    for (count, limit) in [(3, 200), (5, 200), (10, 200), (20, 200), (50, 300)] {
        let mut servers = servers(&vec![1; count]);
        let before = maglev(&servers);
        let gone = servers.remove(count / 2).address;
        let after = maglev(&servers);
        let stayed = before.iter().zip(&after).filter(|(before, _)| **before != Some(gone));
        let moved = stayed.filter(|(before, after)| before != after).count();
        assert!(moved <= limit, "{moved} of 10000 moved without need, {count} servers");
        assert!(!after.contains(&Some(gone)) && !after.contains(&None));
    }
}

#[test]
fn mh_shares_by_weight_whatever_the_order() {
    let mut servers = servers(&[1, 1, 2]);
    let counted = |found: &[Option<SocketAddr>], last| {
        let address = SocketAddr::from(([10, 0, 0, last], 8080));
        found.iter().filter(|found| **found == Some(address)).count()
    };
    let found = maglev(&servers);
    for (last, expected) in [(1, 2500), (2, 2500), (3, 5000_usize)] {
        assert!(counted(&found, last).abs_diff(expected) < 200, "{}", counted(&found, last));
    }
    servers[0].weight = 0;
    let without = maglev(&servers);
    assert_eq!(counted(&without, 1), 0);
    assert!(!without.contains(&None), "who comes with weight 0 has no entries");
}

/// ip_vs_mh.c, `last_weight`: the clients of a server that is to be left have nobody, and nobody else
/// moves.
#[test]
fn mh_keeps_the_entries_of_a_server_whose_weight_becomes_0() {
    let mut servers = servers(&[1, 1, 2]);
    let mut scheduler = scheduler(Kind::Mh, &servers);
    let now = Instant::now();
    let clients = |scheduler: &mut Scheduler, servers: &[Server]| {
        (0..1000).map(|client| scheduler.pick(servers, &flow(client), now)).collect::<Vec<_>>()
    };
    let before = clients(&mut scheduler, &servers);
    for _ in 0..2 {
        servers[2].weight = 0;
        scheduler.changed(&servers);
        let expected: Vec<_> = before.iter().map(|index| index.filter(|it| *it != 2)).collect();
        assert_eq!(clients(&mut scheduler, &servers), expected);
    }
    servers[2].weight = 2;
    scheduler.changed(&servers);
    assert_eq!(clients(&mut scheduler, &servers), before);
}

fn any_servers() -> impl Strategy<Value = Vec<Server>> {
    let one = (0..5_u32, 0..50_u32, 0..600_u32);
    prop::collection::vec(one, 0..7).prop_map(|all| {
        (1..)
            .zip(all)
            .map(|(last, (weight, active, rest))| server(last, weight, active, rest))
            .collect()
    })
}

proptest! {
    #[test]
    fn weight_0_gets_nothing_and_others_something(all in any_servers(), clients in any::<[u32; 8]>()) {
        let now = Instant::now();
        for kind in Kind::ALL {
            let (mut one, mut two) = (scheduler(kind, &all), scheduler(kind, &all));
            for client in clients {
                let flow = flow(client & 0xffff);
                let index = one.pick(&all, &flow, now);
                prop_assert_eq!(index, two.pick(&all, &flow, now), "{} is not deterministic", kind);
                prop_assert!(index.is_none_or(|index| all[index].weight > 0), "{}", kind);
                if !matches!(kind, Kind::Sh | Kind::Dh) {
                    prop_assert_eq!(index.is_some(), all.iter().any(|one| one.weight > 0), "{}", kind);
                }
            }
        }
    }

    #[test]
    fn wrr_is_exact_over_a_whole_turn(weights in prop::collection::vec(0..9_u32, 1..6)) {
        let servers = servers(&weights);
        let total: u32 = weights.iter().sum();
        let mut scheduler = scheduler(Kind::Wrr, &servers);
        let turn = sequence(&mut scheduler, &servers, total as usize);
        for (letter, weight) in ('A'..).zip(&weights) {
            prop_assert_eq!(turn.matches(letter).count(), *weight as usize, "{}", turn);
        }
    }

    /// None is less than the chosen one, and none before it is as little.
    #[test]
    fn the_least_is_the_least(all in any_servers()) {
        let now = Instant::now();
        type Load = fn(&Server) -> (u64, u64);
        let loads: [(Kind, Load); 3] = [
            (Kind::Lc, |one| (u64::from(one.active * 256 + one.inactive), 1)),
            (Kind::Wlc, |one| (u64::from(one.active * 256 + one.inactive), one.weight.into())),
            (Kind::Sed, |one| (u64::from(one.active + 1), one.weight.into())),
        ];
        for (kind, load) in loads {
            let Some(chosen) = scheduler(kind, &all).pick(&all, &flow(1), now) else { continue };
            let (a, b) = load(&all[chosen]);
            for (index, other) in all.iter().enumerate().filter(|(_, other)| other.weight > 0) {
                let (c, d) = load(other);
                prop_assert!(if index < chosen { a * d < c * b } else { a * d <= c * b }, "{}", kind);
            }
        }
    }
}
