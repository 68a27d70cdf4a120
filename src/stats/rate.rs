//! Events in a second, from a count that is looked at about once a second.
//!
//! One task looks (`app::router::sampler`); a scrape reads. The request path has no part in it.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use super::Peak;

/// How often a count grows.
#[derive(Debug, Default)]
pub struct Rate {
    seen: AtomicU64,
    now: AtomicU64,
    most: Peak,
}

impl Rate {
    /// The count stands at `total`, `since` after the last look.
    pub fn look(&self, total: u64, since: Duration) {
        let grown = total.saturating_sub(self.seen.swap(total, Relaxed));
        let micros = since.as_micros().max(1);
        let rate = (u128::from(grown) * 1_000_000 + micros / 2) / micros;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX);
        self.now.store(rate, Relaxed);
        self.most.note(rate);
    }

    /// In the last second that was looked at.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    /// In the busiest second so far.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// [MET-1]
    #[test]
    fn a_rate_is_of_one_second_however_long_the_look_took() {
        let rate = Rate::default();
        for (total, millis, now, most) in [
            (10, 1000, 10, 10),
            (10, 1000, 0, 10),
            (40, 1500, 20, 20),
            (45, 1001, 5, 20),
            (46, 500, 2, 20),
            (46, 0, 0, 20),
        ] {
            rate.look(total, Duration::from_millis(millis));
            assert_eq!((rate.now(), rate.most()), (now, most), "{total}");
        }
    }
}
