//! Tables as routes use them, and beside a model without bounds, parts or lists.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn host(number: u32) -> IpAddr {
    IpAddr::V4((0x0a00_0000 | number).into())
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const NO_LIMITS: Limits = Limits { concurrent: None, connections: None, requests: None };
const CONCURRENT: fn(u32) -> Limits = |limit| Limits { concurrent: Some(limit), ..NO_LIMITS };
const CONNECTIONS: fn(u32) -> Limits = |limit| Limits { connections: Some(limit), ..NO_LIMITS };
const REQUESTS: fn(u32) -> Limits = |limit| Limits { requests: Some(limit), ..NO_LIMITS };

/// What is let in, to be kept open; `None` when it was refused.
fn enter(rates: &Arc<Rates>, client: IpAddr, limits: Limits, now: u64) -> Option<Option<Tracked>> {
    match rates.enter(client, &limits, ms(now)) {
        Verdict::Passed { tracked, .. } => Some(tracked),
        Verdict::Untracked => Some(None),
        Verdict::Refused(_) => None,
    }
}

fn passes(rates: &Arc<Rates>, client: IpAddr, limits: Limits, now: u64) -> bool {
    enter(rates, client, limits, now).is_some()
}

/// [RATE-2]: the newcomer counts, so one less than the number runs; refused ones hold nothing.
#[test]
fn rate_2_one_less_than_the_number_runs_at_once() {
    let rates = Rates::new(10, 128);
    let limits = CONCURRENT(4);
    let mut running: Vec<_> = (0..9).filter_map(|_| enter(&rates, host(1), limits, 5)).collect();
    assert_eq!(running.len(), 3);
    assert!(passes(&rates, host(2), limits, 5), "every client has its own");
    running.pop();
    running.extend(enter(&rates, host(1), limits, 5));
    assert_eq!(running.len(), 3);
    assert!(!passes(&rates, host(1), limits, 60_000), "nothing open is forgotten");
    drop(running);
    assert!(passes(&rates, host(1), limits, 60_000));
}

/// [RATE-3]: N-1 in three seconds, and who goes on asking stays refused.
#[test]
fn rate_3_refused_connections_count() {
    let rates = Rates::new(10, 128);
    let limits = CONNECTIONS(5);
    let let_in = |times: std::ops::Range<u64>, step: usize| {
        times.step_by(step).filter(|now| passes(&rates, host(1), limits, *now)).count()
    };
    assert_eq!(let_in(100..120, 1), 4);
    // Five each second, of which four would pass if only what was let in counted.
    assert_eq!(let_in(1_000..12_000, 200), 0);
    assert_eq!(let_in(30_000..30_020, 1), 4, "a pause mends it");
}

/// [RATE-4]: N in ten seconds, and refused ones do not count.
#[test]
fn rate_4_refused_requests_do_not_count() {
    let rates = Rates::new(10, 128);
    let limits = REQUESTS(5);
    let let_in = |times: std::ops::Range<u64>| {
        times.filter(|now| passes(&rates, host(1), limits, *now)).collect::<Vec<_>>()
    };
    assert_eq!(let_in(100..9_000), [100, 101, 102, 103, 104]);
    // The bucket that began at 100 fades from 10100 on, and gives way to one after each fifth of it.
    assert_eq!(let_in(9_000..20_000), [10_101, 12_101, 14_101, 16_101, 18_101]);
}

/// [RATE-6]: zero, which stands for negative numbers, refuses everybody; so does one where the newcomer
/// counts.
#[test]
fn rate_6_no_number_is_no_limit_and_zero_is_the_strictest() {
    assert!(NO_LIMITS.is_empty() && !NO_LIMITS.refuse_everybody());
    for (limits, refuses) in [
        (CONCURRENT(0), true),
        (CONCURRENT(1), true),
        (CONCURRENT(2), false),
        (CONNECTIONS(0), true),
        (CONNECTIONS(1), true),
        (CONNECTIONS(2), false),
        (REQUESTS(0), true),
        (REQUESTS(1), false),
    ] {
        assert!(!limits.is_empty());
        assert_eq!(limits.refuse_everybody(), refuses, "{limits:?}");
        let rates = Rates::new(10, 128);
        assert_eq!(passes(&rates, host(7), limits, 100_000), !refuses, "{limits:?}");
    }
}

/// One limit that refuses does not spend another: in OpenShift's order, and what is counted before.
#[test]
fn rate_4_what_another_limit_refuses_is_no_accepted_request() {
    let rates = Rates::new(10, 128);
    let both = Limits { concurrent: Some(2), ..REQUESTS(3) };
    let first = enter(&rates, host(1), both, 10).unwrap();
    for _ in 0..20 {
        assert!(!passes(&rates, host(1), both, 11), "one runs already");
    }
    drop(first);
    assert_eq!((0..9).filter(|_| passes(&rates, host(1), both, 12)).count(), 2, "and the first");
}

/// [RATE-1], F-45: by address and family; a mapped address is the IPv4 client.
#[test]
fn rate_1_a_client_is_an_address_and_of_ipv6_as_much_as_is_set() {
    let limits = CONNECTIONS(2);
    let same = |prefix, one, two| {
        let rates = Rates::new(10, prefix);
        assert!(passes(&rates, ip(one), limits, 10));
        !passes(&rates, ip(two), limits, 10)
    };
    assert!(same(128, "192.0.2.1", "::ffff:192.0.2.1"));
    assert!(!same(1, "192.0.2.1", "192.0.2.2"));
    assert!(!same(128, "2001:db8::1", "2001:db8::2"));
    assert!(same(64, "2001:db8::1", "2001:db8::ffff:2"));
    assert!(!same(64, "2001:db8:0:1::1", "2001:db8:0:2::1"));
    assert!(!same(64, "0.0.0.1", "::1"));
}

/// [RATE-1]: idle for 30 s, forgotten; and the memory with the last one.
#[test]
fn rate_1_who_is_idle_is_forgotten() {
    let rates = Rates::new(100_000, 128);
    let limits = Limits { concurrent: Some(9), ..CONNECTIONS(9) };
    for number in 0..5_000 {
        drop(enter(&rates, host(number), limits, 1_000));
    }
    let busy = enter(&rates, host(5_000), limits, 1_000);
    assert_eq!(rates.len(), 5_001);
    rates.sweep(ms(30_999), usize::MAX);
    assert_eq!(rates.len(), 5_001);
    rates.sweep(ms(31_000), 1);
    assert_eq!(rates.len(), 5_001 - rates.shards.len(), "a sweep may be a short one");
    rates.sweep(ms(31_000), usize::MAX);
    assert_eq!(rates.len(), 1, "whoever has something open stays");
    drop(busy);
    rates.sweep(ms(60_999), usize::MAX);
    assert_eq!(rates.len(), 1, "its end was seen at 31000");
    rates.sweep(ms(61_000), usize::MAX);
    assert!(rates.is_empty());
    for index in 0..rates.shards.len() {
        assert_eq!(rates.lock(index).capacity(), 0);
    }
}

/// [RATE-1], S-53: a full table forgets whoever was seen longest ago, and never who has something open;
/// when all have, the newcomer goes on uncounted, unless nobody may.
#[test]
fn rate_1_a_full_table_makes_room_and_stays_as_large_as_it_is() {
    let rates = Rates::new(3, 128);
    let limits = Limits { concurrent: Some(2), ..CONNECTIONS(4) };
    let purges = |number, now| match rates.enter(host(number), &limits, ms(now)) {
        Verdict::Passed { purged, .. } => purged,
        other => panic!("{other:?}"),
    };
    assert!(![1, 2, 3].into_iter().any(|number| purges(number, 10)));
    assert!(!purges(1, 11), "it is known");
    assert!(purges(4, 12), "for 2, which was seen longest ago");
    assert!(!purges(1, 13));
    assert!(!passes(&rates, host(1), limits, 13), "and was not forgotten");
    assert!(purges(2, 14), "for 3");
    assert_eq!(rates.len(), 3);
    let held: Vec<_> = (11..=13).map(|number| enter(&rates, host(number), limits, 15)).collect();
    assert!(held.iter().all(|held| matches!(held, Some(Some(_)))));
    assert!(matches!(rates.enter(host(14), &limits, ms(16)), Verdict::Untracked));
    assert!(!passes(&rates, host(14), CONCURRENT(1), 16));
    assert!(!passes(&rates, host(12), limits, 16));
    assert_eq!(rates.len(), 3);
    drop(held);
    assert!(purges(14, 17));
}

/// [RATE-5]: the seconds to wait are enough, and one less is not.
#[test]
fn rate_5_the_wait_that_is_told_is_enough_and_no_more() {
    let refused = |rates: &Arc<Rates>, limits, now| match rates.enter(host(1), &limits, ms(now)) {
        Verdict::Refused(refused) => refused.retry_after(),
        other => panic!("{other:?}"),
    };
    for limits in [CONNECTIONS(0), CONNECTIONS(1), REQUESTS(0), CONCURRENT(1)] {
        assert_eq!(refused(&Rates::new(9, 128), limits, 5), None, "{limits:?}");
    }
    let rates = Rates::new(9, 128);
    let held = enter(&rates, host(1), CONCURRENT(2), 5);
    assert_eq!(refused(&rates, CONCURRENT(2), 5), Some(1));
    drop(held);
    for limits in [CONNECTIONS(2), CONNECTIONS(7), REQUESTS(1), REQUESTS(3), REQUESTS(400)] {
        for later in [100, 2_000, 9_900] {
            let prepare = || {
                let rates = Rates::new(9, 128);
                (0..1_000).for_each(|_| _ = enter(&rates, host(1), limits, 1_000 + later));
                rates
            };
            let now = 1_000 + later;
            let told = u64::from(refused(&prepare(), limits, now).expect("it ends"));
            let after = |seconds: u64| {
                let rates = prepare();
                refused(&rates, limits, now);
                passes(&rates, host(1), limits, now + seconds * 1000)
            };
            assert!(after(told), "{limits:?}: {told}");
            assert!(!after(told - 1), "{limits:?}: {told}");
        }
    }
}

/// Worker clocks differ by a wake-up: time never goes back for a counter.
#[test]
fn rate_7_a_worker_that_is_behind_changes_nothing() {
    let rates = Rates::new(10, 128);
    let limits = CONNECTIONS(4);
    assert!(passes(&rates, host(1), limits, 5_000));
    assert!(passes(&rates, host(1), limits, 4_999));
    assert!(passes(&rates, host(1), limits, 4_000));
    assert!(!passes(&rates, host(1), limits, 5_000), "all of them were counted");
    rates.sweep(ms(1), usize::MAX);
    assert_eq!(rates.len(), 1);
}

/// Every limit holds over threads as well, whichever part of the table a client is in.
#[test]
fn rate_2_threads_share_a_table() {
    let rates = Rates::new(100_000, 128);
    let limits = Limits { requests: Some(50), ..CONCURRENT(11) };
    let run = || {
        let mut held = Vec::new();
        for number in 0..4_000_u32 {
            held.extend(enter(&rates, host(number % 64), limits, 1_000));
        }
        held
    };
    let held: Vec<_> = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(run));
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(held.len(), 64 * 10);
    drop(held);
    assert_eq!((0..99).filter(|_| passes(&rates, host(3), limits, 1_001)).count(), 40);
}

/// One client of the model: all that it ever did.
#[derive(Default)]
struct Past {
    open: u32,
    asked: Vec<u64>,
    accepted: Vec<u64>,
    seen: u64,
    /// Who has the lowest was seen longest ago.
    order: usize,
}

/// The rate of HAProxy's definition, from all events ([`counter`] has its own tests for it).
fn rate(events: &[u64], period: u32, now: u64) -> u32 {
    let short = |time: u64| u32::try_from(time).unwrap();
    let mut counter = counter::Counter::new(short(events.first().copied().unwrap_or(now)));
    events.iter().for_each(|at| counter.count(period, short(*at)));
    counter.rate(period, short(now))
}

#[derive(Debug, PartialEq)]
enum Said {
    Passed,
    PassedFor(u32),
    Refused,
    RefusedFor(u32),
    Untracked,
}

#[derive(Default)]
struct Model {
    size: usize,
    steps: usize,
    clients: HashMap<u32, Past>,
}

impl Model {
    fn oldest(&self) -> Option<u32> {
        let idle = self.clients.iter().filter(|(_, past)| past.open == 0);
        idle.min_by_key(|(_, past)| past.order).map(|(client, _)| *client)
    }

    fn enter(&mut self, client: u32, limits: &Limits, now: u64) -> Said {
        self.steps += 1;
        for _ in 0..2 {
            if let Some(oldest) = self.oldest()
                && now - self.clients[&oldest].seen >= u64::from(IDLE)
            {
                self.clients.remove(&oldest);
            }
        }
        let mut purged = None;
        if !self.clients.contains_key(&client) && self.clients.len() == self.size {
            purged = self.oldest();
            match purged {
                Some(oldest) => _ = self.clients.remove(&oldest),
                None if limits.refuse_everybody() => return Said::Refused,
                None => return Said::Untracked,
            }
        }
        let past = self.clients.entry(client).or_default();
        (past.seen, past.order) = (now, self.steps);
        past.asked.push(now);
        let reaches = |count: u32, limit: Option<u32>| limit.is_some_and(|limit| count >= limit);
        let refused = reaches(past.open + 1, limits.concurrent)
            || reaches(rate(&past.asked, CONNECTION_PERIOD, now), limits.connections)
            || reaches(rate(&past.accepted, REQUEST_PERIOD, now), limits.requests);
        if refused {
            return purged.map_or(Said::Refused, Said::RefusedFor);
        }
        past.accepted.push(now);
        past.open += u32::from(limits.concurrent.is_some());
        purged.map_or(Said::Passed, Said::PassedFor)
    }

    fn close(&mut self, client: u32, now: u64) {
        self.steps += 1;
        let past = self.clients.get_mut(&client).unwrap();
        past.open -= 1;
        (past.seen, past.order) = (now, self.steps);
    }
}

proptest! {
    /// S-53, [RATE-2..4]: verdicts are those of the model, in which nothing is kept but what was done,
    /// and a table never has more entries than it may.
    #[test]
    fn s_53_a_table_is_its_model(
        size in 1..6_usize,
        limits in (prop::option::of(0..4_u32), prop::option::of(0..6_u32), prop::option::of(0..6_u32)),
        steps in prop::collection::vec(
            (
                0..4_u32,
                0..7_u32,
                prop_oneof![0..50_u64, 0..4_000_u64, 9_000..40_000_u64],
                any::<prop::sample::Index>(),
            ),
            1..120,
        ),
    ) {
        let (concurrent, connections, requests) = limits;
        let limits = Limits { concurrent, connections, requests };
        let rates = Rates::new(size, 128);
        let mut model = Model { size, ..Model::default() };
        let mut held: Vec<(u32, Tracked)> = Vec::new();
        let mut now = 1_000;
        for (step, client, pause, index) in steps {
            if step == 0 && !held.is_empty() {
                let (client, tracked) = held.swap_remove(index.index(held.len()));
                drop(tracked);
                model.close(client, now);
                continue;
            }
            now += pause;
            let expected = model.enter(client, &limits, now);
            let verdict = rates.enter(host(client), &limits, ms(now));
            let agrees = match (&verdict, &expected) {
                (Verdict::Passed { purged, .. }, Said::Passed) => !purged,
                (Verdict::Passed { purged, .. }, Said::PassedFor(_)) => *purged,
                (Verdict::Refused(refused), Said::Refused) => !refused.purged,
                (Verdict::Refused(refused), Said::RefusedFor(_)) => refused.purged,
                (Verdict::Untracked, Said::Untracked) => true,
                _ => false,
            };
            prop_assert!(agrees, "{verdict:?}, expected {expected:?}");
            if let Verdict::Passed { tracked, .. } = verdict {
                prop_assert_eq!(tracked.is_some(), limits.concurrent.is_some());
                held.extend(tracked.map(|tracked| (client, tracked)));
            }
            prop_assert_eq!(rates.len(), model.clients.len());
            prop_assert!(rates.len() <= size);
        }
    }
}
