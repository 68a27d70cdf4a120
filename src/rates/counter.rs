//! HAProxy's rate counter: two buckets of one period, the older one fading [RATE-7].
//!
//! Used by `table`, under the lock of its shard. The arithmetic is that of HAProxy's `freq_ctr`, with
//! its two oddities: a period begins at an even millisecond, and a lone event of the last period does
//! not fade, so that rates near one do not flap. Times are milliseconds, modulo 2^32; a caller never
//! goes back in time.

/// Events of one kind in the present period and in the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counter {
    /// When the present period began.
    tick: u32,
    current: u32,
    previous: u32,
}

impl Counter {
    /// No events so far; a period begins now.
    pub(super) const fn new(now: u32) -> Self {
        Self { tick: now & !1, current: 0, previous: 0 }
    }

    /// Counts one event.
    pub(super) const fn count(&mut self, period: u32, now: u32) {
        if now.wrapping_sub(self.tick) < period {
            self.current = self.current.saturating_add(1);
            return;
        }
        self.previous = self.current;
        self.current = 1;
        let mut tick = self.tick.wrapping_add(period);
        if now.wrapping_sub(tick) >= period {
            // At least one whole period had no event.
            self.previous = 0;
            tick = now;
        }
        self.tick = tick & !1;
    }

    /// Events per period, as of now: those of the present period, and of the last one the share that a
    /// window of one period still covers, rounded down.
    pub(super) fn rate(&self, period: u32, now: u32) -> u32 {
        let age = now.wrapping_sub(self.tick);
        let (past, current, covered) = if age <= period {
            (self.previous, self.current, period - age)
        } else if age <= period.saturating_mul(2) {
            (self.current, 0, period.saturating_mul(2) - age)
        } else {
            return 0;
        };
        if current == 0 && past <= 1 {
            return past;
        }
        let fading = u64::from(past) * u64::from(covered) / u64::from(period);
        current.saturating_add(u32::try_from(fading).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PERIOD: u32 = 3_000;

    /// [RATE-7]: written by hand from the definition.
    #[test]
    fn rate_7_the_last_period_fades_and_a_lone_event_does_not() {
        let mut counter = Counter::new(1_000);
        for _ in 0..9 {
            counter.count(PERIOD, 1_500);
        }
        let rate = |counter: &Counter, now| counter.rate(PERIOD, now);
        assert_eq!(rate(&counter, 1_500), 9);
        assert_eq!(rate(&counter, 4_000), 9, "the period's last moment");
        // Nothing is counted any more: what there is fades over the next period.
        assert_eq!(
            [5_000, 5_001, 5_500, 6_999, 7_000].map(|now| rate(&counter, now)),
            [6, 5, 4, 0, 0]
        );
        counter.count(PERIOD, 5_500);
        // 9 * 1500 / 3000 = 4.5, and the new one.
        assert_eq!(rate(&counter, 5_500), 5);
        // Two periods later nothing is left of the nine.
        counter.count(PERIOD, 7_000);
        assert_eq!(counter, Counter { tick: 7_000, current: 1, previous: 1 });
        assert_eq!(
            [7_000, 10_000, 12_999, 13_000, 13_001].map(|now| rate(&counter, now)),
            [2, 1, 1, 1, 0]
        );
        // After a pause of more than a period nothing is remembered; ticks are even.
        counter.count(PERIOD, 20_001);
        assert_eq!(counter, Counter { tick: 20_000, current: 1, previous: 0 });
    }

    /// Time in milliseconds wraps after 50 days.
    #[test]
    fn rate_7_the_clock_may_wrap() {
        let start = u32::MAX - 999;
        let (mut one, mut two) = (Counter::new(start), Counter::new(1_000));
        for pause in [0, 10, 1_500, 2_000, 2_999, 3_000, 5_500, 9_001] {
            one.count(PERIOD, start.wrapping_add(pause));
            two.count(PERIOD, 1_000 + pause);
            assert_eq!(
                one.rate(PERIOD, start.wrapping_add(pause + 700)),
                two.rate(PERIOD, 1_000 + pause + 700)
            );
        }
    }

    /// The definition, from all events, without wrapping and without state: periods follow each other
    /// as long as each has an event.
    fn oracle(events: &[u64], period: u64, now: u64) -> u64 {
        let mut start: Option<u64> = None;
        let (mut current, mut previous) = (0_u64, 0_u64);
        for &event in events {
            match start {
                Some(begun) if event < begun + period => current += 1,
                Some(begun) if event < begun + 2 * period => {
                    (start, previous, current) = (Some((begun + period) / 2 * 2), current, 1);
                },
                _ => (start, previous, current) = (Some(event / 2 * 2), 0, 1),
            }
        }
        let begun = start.unwrap_or(now);
        // The window of one period that ends now, as a share of the last full bucket.
        let (older, newer, end) = if now <= begun + period {
            (previous, current, begun + period)
        } else {
            (current, 0, begun + 2 * period)
        };
        match (older, newer) {
            _ if now > end => 0,
            (0 | 1, 0) => older,
            _ => newer + older * (end - now) / period,
        }
    }

    proptest! {
        /// [RATE-7]
        #[test]
        fn rate_7_the_counter_is_its_definition(
            begin in 0..100_000_u64,
            period in prop::sample::select(&[3_000_u32, 10_000, 3_001][..]),
            pauses in prop::collection::vec(
                prop_oneof![6 => 0..400_u64, 2 => 0..5_000_u64, 1 => 2_900..3_100_u64, 1 => 9_900..21_000_u64],
                1..80,
            ),
            later in 0..25_000_u64,
        ) {
            let short = |time: u64| u32::try_from(time).unwrap();
            let mut now = begin;
            let mut counter = Counter::new(short(now));
            let mut events = Vec::new();
            for pause in pauses {
                now += pause;
                prop_assert_eq!(
                    u64::from(counter.rate(period, short(now))),
                    oracle(&events, period.into(), now)
                );
                if events.is_empty() {
                    // As a table does: an entry begins with its first event.
                    counter = Counter::new(short(now));
                }
                counter.count(period, short(now));
                events.push(now);
                let rate = u64::from(counter.rate(period, short(now)));
                prop_assert_eq!(rate, oracle(&events, period.into(), now));
                // Never more than what two periods had, never less than what the last one had.
                let within = |span: u64| events.iter().filter(|at| **at + span >= now).count() as u64;
                prop_assert!(rate <= within(2 * u64::from(period) + 1));
                prop_assert!(rate >= 1);
            }
            let now = now + later;
            prop_assert_eq!(
                u64::from(counter.rate(period, short(now))),
                oracle(&events, period.into(), now)
            );
        }
    }
}
