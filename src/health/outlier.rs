//! L2: passive ejection of one endpoint, and how much of its share it takes while it starts
//! (reliability.md 2.4, 2.6).
//!
//! Sits behind `upstream::peer::Peer`, written by any worker whose connection failed, read by all of
//! them for each request. Plain atomics, no lock (decisions 11); time comes from the caller, as
//! milliseconds that are never 0. Always holds: an ejection ends by itself, and failures that come in
//! while it lasts do not make it longer. A connection that was begun before it and fails behind it counts
//! as any other: nobody keeps when it was begun.

use std::{
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Relaxed, SeqCst},
    },
    time::Duration,
};

use crate::settings::health::{EjectionSettings, MAX_EJECT_FAILURES};

const SLOTS: usize = MAX_EJECT_FAILURES as usize;

/// Ejections in a row after which they get no longer.
const MAX_TIMES: u32 = 12;

/// What the failed connections to one endpoint amount to.
#[derive(Debug, Default)]
pub struct Outlier {
    /// End of the present ejection; 0 when there is none.
    until: AtomicU64,
    /// End of the last one, the present one included.
    last: AtomicU64,
    /// Number of the last one in its row.
    times: AtomicU32,
    /// When the latest failures were, in a ring.
    failures: [AtomicU64; SLOTS],
    /// Failures so far; the next one's place in the ring.
    next: AtomicU32,
}

impl Outlier {
    /// True when there is no ejection, not even one that is over and was not noticed: one load.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.until.load(Relaxed) == 0
    }

    /// True while the endpoint is to get nothing.
    #[must_use]
    pub fn is_ejected(&self, now: u64) -> bool {
        now < self.until.load(SeqCst)
    }

    /// Ends an ejection whose time is over; true for the one caller that has ended it.
    pub fn settle(&self, now: u64) -> bool {
        let until = self.until.load(SeqCst);
        until != 0 && now >= until && self.until.compare_exchange(until, 0, SeqCst, SeqCst).is_ok()
    }

    /// Notes a connection that failed; true when there were enough of them for an ejection.
    pub fn fail(&self, now: u64, rules: &EjectionSettings) -> bool {
        if self.is_ejected(now) {
            return false;
        }
        let ring = &self.failures[..(rules.failures as usize).clamp(1, SLOTS)];
        let nth = self.next.fetch_add(1, SeqCst) as usize;
        ring[nth % ring.len()].store(now, SeqCst);
        // The place that the next failure takes holds the oldest one.
        let oldest = ring[nth.wrapping_add(1) % ring.len()].load(SeqCst);
        oldest != 0 && now.saturating_sub(oldest) <= millis(rules.window)
    }

    /// Ejects the endpoint, for how long is said; `None` when it is ejected already. `draw` is a
    /// random number.
    pub fn eject(&self, now: u64, rules: &EjectionSettings, draw: u64) -> Option<Duration> {
        self.settle(now);
        // Each window without an ejection takes one back.
        let quiet = now.saturating_sub(self.last.load(SeqCst)) / millis(rules.window).max(1);
        let quiet = u32::try_from(quiet).unwrap_or(u32::MAX);
        let times = (self.times.load(SeqCst).saturating_sub(quiet) + 1).min(MAX_TIMES);
        let length = millis(rules.time).saturating_mul(times.into());
        let length = (length.saturating_mul(800 + draw % 401) / 1000).max(1);
        let until = now.saturating_add(length);
        self.until.compare_exchange(0, until, SeqCst, SeqCst).ok()?;
        self.last.store(until, SeqCst);
        self.times.store(times, SeqCst);
        self.forget_failures();
        Some(Duration::from_millis(length))
    }

    /// Takes an ejection back that should not have been.
    pub fn take_back(&self) {
        self.until.store(0, SeqCst);
        self.last.store(0, SeqCst);
        self.times.store(0, SeqCst);
    }

    /// The endpoint is known to be well: nothing is held against it any more.
    pub fn forgive(&self) {
        self.take_back();
        self.forget_failures();
    }

    fn forget_failures(&self) {
        self.failures.iter().for_each(|slot| slot.store(0, SeqCst));
    }
}

/// How far a slow start is.
#[derive(Debug, Default)]
pub struct Ramp {
    /// When it began; 0 when there is none.
    since: AtomicU64,
}

impl Ramp {
    /// The endpoint has just come.
    pub fn begin(&self, now: u64) {
        self.since.store(now, SeqCst);
    }

    /// True when there is no slow start: one load.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        self.since.load(Relaxed) == 0
    }

    /// Whether the endpoint takes the request with the random number `draw`: of all requests a part
    /// that grows evenly from nothing to all of them over `length`.
    #[must_use]
    pub fn admits(&self, now: u64, length: Duration, draw: u64) -> bool {
        let since = self.since.load(SeqCst);
        let (gone, length) = (now.saturating_sub(since), millis(length));
        if since == 0 || draw % length.max(1) < gone {
            return true;
        }
        gone >= length
    }

    /// Ends it once its time is over, so that [`Self::is_clear`] holds again.
    pub fn settle(&self, now: u64, length: Duration) {
        let since = self.since.load(SeqCst);
        if since != 0 && now.saturating_sub(since) >= millis(length) {
            let _another_has_begun = self.since.compare_exchange(since, 0, SeqCst, SeqCst);
        }
    }
}

/// Endpoints of a route, or of one of its Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// All that are balanced over.
    pub all: usize,
    /// Those of them that are ejected.
    pub ejected: usize,
}

/// Whether one more endpoint of both may be ejected: at most `percent` of the route and of the
/// Service, and never the last of the route. The only endpoint of one Service among several may
/// go, since requests then go where a retry would take them anyway.
#[must_use]
pub fn may_eject(route: Share, service: Share, percent: u32) -> bool {
    let part = |all: usize| all.saturating_mul(percent as usize) / 100;
    let of_route = part(route.all).min(route.all.saturating_sub(1));
    route.ejected < of_route && service.ejected < part(service.all).max(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
