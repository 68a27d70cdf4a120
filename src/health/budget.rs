//! L2: how many requests may be tried again, over the whole process (reliability.md 2.3).
//!
//! Asked by `proxy::forward` before a retry, never for a first try: requests are counted by the
//! workers as it is, and told by [`RetryBudget::observe`]. Plain atomics, no lock (decisions 11); time
//! comes from the caller. Always holds: over any ten whole seconds no more retries are allowed than
//! the settings say, whatever the workers do at once.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::settings::health::RetrySettings;

/// Seconds that count, and their cells.
const WINDOW: u64 = 10;
const CELLS: usize = 10;

/// Requests and retries of the last seconds.
#[derive(Debug, Default)]
pub struct RetryBudget {
    requests: Seconds,
    retries: Seconds,
    /// Requests of the process that are in `requests`, or are past.
    known: AtomicU64,
}

impl RetryBudget {
    /// Takes note of `total` requests since the start of the process, at `now` in milliseconds. To be
    /// called every second or so, and before [`Self::take`].
    pub fn observe(&self, now: u64, total: u64) {
        let before = self.known.fetch_max(total, SeqCst);
        if total > before {
            self.requests.add(now / 1000, total - before);
        }
    }

    /// Takes one retry out of the budget; false when it is used up.
    pub fn take(&self, now: u64, rules: &RetrySettings) -> bool {
        let second = now / 1000;
        let part = self.requests.sum(second).saturating_mul(rules.percent.into()) / 100;
        let allowed = part.saturating_add(WINDOW * u64::from(rules.floor));
        // Taken first and given back: two workers may both find it used up, never both get the last.
        self.retries.add(second, 1);
        if self.retries.sum(second) <= allowed {
            return true;
        }
        self.retries.give_back(second);
        false
    }
}

/// Counts by second. A cell holds its second in the upper half and the count in the lower one.
#[derive(Debug, Default)]
struct Seconds([AtomicU64; CELLS]);

const COUNT: u64 = u32::MAX as u64;

impl Seconds {
    fn cell(&self, second: u64) -> &AtomicU64 {
        &self.0[usize::try_from(second % WINDOW).unwrap_or(0)]
    }

    fn add(&self, second: u64, n: u64) {
        let change = |old: u64| {
            let count = if old >> 32 == second & COUNT { old & COUNT } else { 0 };
            Some((second & COUNT) << 32 | count.saturating_add(n).min(COUNT))
        };
        let _always_some = self.cell(second).fetch_update(SeqCst, SeqCst, change);
    }

    fn give_back(&self, second: u64) {
        let change = |old: u64| (old >> 32 == second & COUNT && old & COUNT > 0).then(|| old - 1);
        let _past_already = self.cell(second).fetch_update(SeqCst, SeqCst, change);
    }

    /// The counts of this second and the nine before.
    fn sum(&self, second: u64) -> u64 {
        let counts = |cell: &AtomicU64| {
            let cell = cell.load(SeqCst);
            let age = (second & COUNT).checked_sub(cell >> 32)?;
            (age < WINDOW).then_some(cell & COUNT)
        };
        self.0.iter().filter_map(counts).sum()
    }
}

#[cfg(test)]
mod tests;
