//! Ejections against a naive reading of the whole history, shares, and slow starts.

use proptest::prelude::*;

use super::*;

const RULES: EjectionSettings = EjectionSettings {
    on: true,
    failures: 3,
    window: Duration::from_secs(10),
    time: Duration::from_secs(5),
    max_percent: 50,
};

/// A random number that makes an ejection exactly as long as it should be.
const EVEN: u64 = 200;

fn ejected(outlier: &Outlier, now: u64) -> bool {
    outlier.fail(now, &RULES) && outlier.eject(now, &RULES, EVEN).is_some()
}

/// reliability.md 2.4: three failures in ten seconds, five seconds times n.
#[test]
fn three_failures_in_ten_seconds_eject_and_each_time_for_longer() {
    let outlier = Outlier::default();
    assert!(!ejected(&outlier, 1) && !ejected(&outlier, 5000));
    assert!(!ejected(&outlier, 10_002), "the first one lies behind");
    assert!(ejected(&outlier, 15_000));
    assert!(outlier.is_ejected(19_999) && !outlier.is_ejected(20_000));
    assert!(!ejected(&outlier, 16_000), "what was under way does not count");
    assert!(outlier.settle(20_000) && !outlier.settle(20_000) && outlier.is_clear());
    for now in [20_000, 20_001] {
        assert!(!ejected(&outlier, now), "it takes three again");
    }
    assert!(ejected(&outlier, 20_002));
    assert!(outlier.is_ejected(30_001) && !outlier.is_ejected(30_002), "twice as long");
    for now in [49_000, 49_001, 49_002] {
        outlier.settle(now);
        ejected(&outlier, now);
    }
    assert!(
        outlier.is_ejected(59_001) && !outlier.is_ejected(59_002),
        "10 s of quiet take one back"
    );
    outlier.forgive();
    assert!(outlier.is_clear());
    for now in [59_003, 59_004, 59_005] {
        ejected(&outlier, now);
    }
    assert!(!outlier.is_ejected(64_005), "as if for the first time");
}

#[test]
fn lengths_differ_by_a_fifth_and_end_at_a_minute() {
    let lengths: Vec<u128> = (0..1000)
        .map(|draw| Outlier::default().eject(1, &RULES, draw).unwrap().as_millis())
        .collect();
    assert_eq!((lengths.iter().min(), lengths.iter().max()), (Some(&4000), Some(&6000)));
    let outlier = Outlier::default();
    let mut now = 1;
    let mut last = Duration::ZERO;
    for _ in 0..20 {
        last = outlier.eject(now, &RULES, EVEN).unwrap();
        assert_eq!(outlier.eject(now, &RULES, EVEN), None, "it is already");
        now += u64::try_from(last.as_millis()).unwrap();
    }
    assert_eq!(last, Duration::from_secs(60));
}

#[test]
fn at_most_a_share_and_never_the_last() {
    let share = |all, ejected| Share { all, ejected };
    let rows = [
        // One Service: half, rounded down.
        (share(1, 0), share(1, 0), 50, false),
        (share(2, 0), share(2, 0), 50, true),
        (share(2, 1), share(2, 1), 50, false),
        (share(3, 0), share(3, 0), 50, true),
        (share(3, 1), share(3, 1), 50, false),
        (share(4, 1), share(4, 1), 50, true),
        (share(4, 2), share(4, 2), 50, false),
        (share(4, 0), share(4, 0), 0, false),
        (share(4, 2), share(4, 2), 100, true),
        (share(4, 3), share(4, 3), 100, false),
        // Several: each Service keeps half, and the only endpoint of one may go.
        (share(6, 0), share(1, 0), 50, true),
        (share(6, 1), share(1, 1), 50, false),
        (share(6, 1), share(3, 1), 50, false),
        (share(6, 3), share(3, 0), 50, false),
    ];
    for (route, service, percent, may) in rows {
        assert_eq!(may_eject(route, service, percent), may, "{route:?} {service:?} {percent}");
    }
}

/// the part of requests that is taken grows evenly, and is all of them at the end.
#[test]
fn r_67_a_slow_start_takes_a_part_that_grows_evenly() {
    let length = Duration::from_secs(10);
    let ramp = Ramp::default();
    assert!(ramp.is_clear() && ramp.admits(5, length, 7), "without one all are taken");
    ramp.begin(1000);
    for (now, percent) in [(1000, 0), (2000, 10), (3500, 25), (6000, 50), (10_900, 99)] {
        let taken = (0..10_000_u64).filter(|draw| ramp.admits(now, length, *draw)).count();
        assert_eq!(taken, percent * 100, "{now}");
        ramp.settle(now, length);
        assert!(!ramp.is_clear());
    }
    assert!((0..10_000).all(|draw| ramp.admits(11_000, length, draw)));
    ramp.settle(11_000, length);
    assert!(ramp.is_clear());
}

/// Many workers at once: one of them ejects, and says so.
#[test]
fn one_worker_ejects() {
    let outlier = Outlier::default();
    for _ in 0..100 {
        let winners = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let won = outlier.eject(1, &RULES, EVEN).is_some();
                    winners.fetch_add(won.into(), SeqCst);
                });
            }
        });
        assert_eq!(winners.load(SeqCst), 1);
        outlier.forgive();
    }
}

/// What an endpoint is after `history`, read from its beginning with nothing but lists.
#[derive(Default)]
struct Naive {
    /// Failures that count since the last ejection.
    failures: Vec<u64>,
    /// Ends of ejections, with the number of each.
    ejections: Vec<(u64, u64)>,
}

impl Naive {
    fn is_ejected(&self, now: u64) -> bool {
        self.ejections.last().is_some_and(|(end, _)| now < *end)
    }

    fn fail(&mut self, now: u64, rules: &EjectionSettings) {
        if self.is_ejected(now) {
            return;
        }
        self.failures.push(now);
        let (window, time) = (millis(rules.window), millis(rules.time));
        let recent = self.failures.iter().filter(|at| now - **at <= window).count();
        if recent < rules.failures as usize {
            return;
        }
        let times = match self.ejections.last() {
            None => 1,
            Some((end, times)) => times.saturating_sub((now - end) / window) + 1,
        };
        let times = times.min(12);
        self.ejections.push((now + times * time, times));
        self.failures.clear();
    }
}

proptest! {
    #[test]
    fn ejections_agree_with_the_whole_history(
        steps in prop::collection::vec((0..4000_u64, any::<bool>()), 0..120),
        failures in 1..=16_u32,
        window in 1..20_u64,
        time in 1..8_u64,
    ) {
        let rules = EjectionSettings {
            failures,
            window: Duration::from_secs(window),
            time: Duration::from_secs(time),
            ..RULES
        };
        let (outlier, mut naive) = (Outlier::default(), Naive::default());
        let mut now = 1;
        for (pause, fails) in steps {
            now += pause;
            prop_assert_eq!(outlier.is_ejected(now), naive.is_ejected(now));
            if fails {
                if outlier.fail(now, &rules) {
                    prop_assert!(outlier.eject(now, &rules, EVEN).is_some());
                }
                naive.fail(now, &rules);
            } else {
                outlier.settle(now);
            }
            prop_assert_eq!(outlier.is_ejected(now), naive.is_ejected(now));
        }
    }
}
