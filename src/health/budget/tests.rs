//! The budget against a naive list of everything that ever happened.

use proptest::prelude::*;

use super::*;

const RULES: RetrySettings = RetrySettings { percent: 20, floor: 10 };

/// reliability.md 2.3: a fifth of the requests of ten seconds, and ten for each second.
#[test]
fn a_fifth_of_the_requests_and_a_floor() {
    let budget = RetryBudget::default();
    let taken = |now| (0..1000).filter(|_| budget.take(now, &RULES)).count();
    assert_eq!(taken(5000), 100, "the floor alone");
    assert_eq!(taken(14_999), 0);
    assert_eq!(taken(15_000), 100, "ten seconds later");
    budget.observe(15_000, 1000);
    assert_eq!(taken(15_500), 200);
    budget.observe(24_000, 1500);
    assert_eq!(taken(24_999), 100);
    assert_eq!(taken(25_000), 100, "1000 requests and 300 retries are past, 500 and 100 are not");
    let none = RetrySettings { percent: 0, floor: 0 };
    assert!(!budget.take(90_000, &none));
}

/// Whatever workers do at once, no more is given out than there is.
#[test]
fn workers_share_one_budget() {
    let budget = RetryBudget::default();
    let taken = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    taken.fetch_add(budget.take(5000, &RULES).into(), SeqCst);
                }
            });
        }
    });
    // Two that ask for the last one at the same time may both be refused.
    while budget.take(5000, &RULES) {
        taken.fetch_add(1, SeqCst);
    }
    assert_eq!(taken.load(SeqCst), 100);
}

proptest! {
    #[test]
    fn the_budget_agrees_with_the_whole_history(
        steps in prop::collection::vec((0..3000_u64, 0..40_u64, 0..30_usize), 0..80),
        percent in 0..=300_u32,
        floor in 0..4_u32,
    ) {
        let rules = RetrySettings { percent, floor };
        let budget = RetryBudget::default();
        let (mut requests, mut retries) = (Vec::new(), Vec::new());
        let (mut now, mut total) = (0, 0);
        for (pause, more, tries) in steps {
            now += pause;
            total += more;
            budget.observe(now, total);
            requests.extend((0..more).map(|_| now / 1000));
            for _ in 0..tries {
                let recent = |seconds: &Vec<u64>| {
                    seconds.iter().filter(|second| now / 1000 - **second < 10).count() as u64
                };
                let allowed = recent(&requests) * u64::from(percent) / 100 + 10 * u64::from(floor);
                let fits = recent(&retries) < allowed;
                prop_assert_eq!(budget.take(now, &rules), fits);
                if fits {
                    retries.push(now / 1000);
                }
            }
        }
    }
}
