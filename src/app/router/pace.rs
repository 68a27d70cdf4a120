//! The least time between two changes that are applied [RELOAD-1].
//!
//! Used by `control`: a change is applied at once if the last one began long enough ago, and else when
//! that time has passed, together with whatever else has changed by then.

use std::time::Duration;

use tokio::time::Instant;

/// When the next change may be applied.
#[derive(Debug)]
pub(super) struct Pace {
    interval: Duration,
    /// Before this, nothing is applied.
    next: Option<Instant>,
    /// A change waits for that.
    waiting: bool,
}

impl Pace {
    /// The first change may be applied at once.
    pub(super) const fn new(interval: Duration) -> Self {
        Self { interval, next: None, waiting: false }
    }

    /// There is a change: true if it is to be applied now. Otherwise [`Pace::due`] comes.
    pub(super) fn change(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|next| now < next) {
            self.waiting = true;
            return false;
        }
        self.waiting = false;
        self.next = Some(now + self.interval);
        true
    }

    /// Returns when a change that waits may be applied; never without one.
    pub(super) async fn due(&self) {
        match self.next.filter(|_| self.waiting) {
            Some(next) => tokio::time::sleep_until(next).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(5);

    /// [RELOAD-1]: at once, or else exactly when the interval has passed since the last start.
    #[tokio::test(start_paused = true)]
    async fn reload_1_changes_within_the_interval_are_one() {
        let start = Instant::now();
        let mut pace = Pace::new(INTERVAL);
        assert!(pace.change(start), "the first at once");
        tokio::time::advance(INTERVAL / 5).await;
        assert!(!pace.change(Instant::now()));
        assert!(!pace.change(Instant::now()), "and another, which is the same");
        pace.due().await;
        assert!(start.elapsed() >= INTERVAL && start.elapsed() < INTERVAL * 2);
        assert!(pace.change(Instant::now()));
        let again = tokio::time::timeout(INTERVAL * 10, pace.due()).await;
        assert!(again.is_err(), "nothing waits any more");
        assert!(pace.change(Instant::now()), "long after the last one");
    }

    /// Without an interval nothing ever waits.
    #[tokio::test(start_paused = true)]
    async fn reload_1_by_default_every_change_is_applied_at_once() {
        let mut pace = Pace::new(Duration::ZERO);
        let now = Instant::now();
        assert!(pace.change(now) && pace.change(now));
    }
}
