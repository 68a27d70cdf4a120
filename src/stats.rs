//! L0: counters that cost the request path no contention.
//!
//! Each worker owns one cell of a [`PerWorker`] and is its only writer, so a count is a load and a
//! store on a cache line that nobody else writes; a scrape sums the cells. Nothing is ever reset.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A count with one writer and any number of readers.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker calls this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level with any number of writers.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Adds one; the level with it, for a [`Peak`].
    pub fn rise(&self) -> u64 {
        u64::try_from(self.0.fetch_add(1, Relaxed) + 1).unwrap_or(0)
    }

    /// The present level.
    #[must_use]
    pub fn load(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// The highest level that was ever noted, with any number of writers.
#[derive(Debug, Default)]
pub struct Peak(AtomicU64);

impl Peak {
    /// Notes a level.
    pub fn note(&self, level: u64) {
        self.0.fetch_max(level, Relaxed);
    }

    /// The highest so far.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One `T` for each worker, on cache lines of its own.
#[derive(Debug)]
pub struct PerWorker<T>(Box<[Padded<T>]>);

#[derive(Debug, Default)]
#[repr(align(64))]
struct Padded<T>(T);

impl<T: Default> PerWorker<T> {
    /// Cells for `workers` workers, at least one.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self((0..workers.max(1)).map(|_| Padded::default()).collect())
    }
}

impl<T> PerWorker<T> {
    /// The cell of worker `index`. Indexes wrap, so this cannot fail.
    #[must_use]
    pub fn cell(&self, index: usize) -> &T {
        &self.0[index % self.0.len()].0
    }

    /// All cells, for a reader.
    pub fn cells(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|padded| &padded.0)
    }

    /// Sum of one counter over all workers.
    pub fn sum(&self, counter: impl Fn(&T) -> &Counter) -> u64 {
        self.cells().map(|cell| counter(cell).load()).sum()
    }
}

/// Responses by class: `[1xx, 2xx, 3xx, 4xx, 5xx, other]`.
pub type ResponseClasses = [Counter; 6];

/// Index into [`ResponseClasses`].
#[must_use]
pub const fn response_class(status: u16) -> usize {
    match status {
        100..=599 => (status / 100) as usize - 1,
        _ => 5,
    }
}

/// What one worker counts for a frontend (`public`, `fe_sni` and so on).
#[derive(Debug, Default)]
pub struct FrontendCounters {
    /// Connections accepted.
    pub connections: Counter,
    /// Connections closed.
    pub closed: Counter,
    /// Requests received.
    pub requests: Counter,
    /// Requests that were malformed or timed out in their head.
    pub request_errors: Counter,
    /// Body and head bytes from clients.
    pub bytes_in: Counter,
    /// Body and head bytes to clients.
    pub bytes_out: Counter,
    /// Responses by class.
    pub responses: ResponseClasses,
}

/// What one worker counts for a backend or for one server of it.
#[derive(Debug, Default)]
pub struct UpstreamCounters {
    /// Requests sent there.
    pub requests: Counter,
    /// Request bytes.
    pub bytes_in: Counter,
    /// Response bytes.
    pub bytes_out: Counter,
    /// Responses by class.
    pub responses: ResponseClasses,
    /// Connections that could not be made.
    pub connection_errors: Counter,
    /// Responses that were cut, invalid or too late.
    pub response_errors: Counter,
    /// Requests tried again.
    pub retries: Counter,
    /// Requests tried again on another endpoint.
    pub redispatches: Counter,
    /// Requests that used a pooled connection.
    pub reused: Counter,
    /// Connections made.
    pub connects: Counter,
    /// Sum of connect times, microseconds.
    pub connect_micros: Counter,
    /// Sum of times from request sent to response head, microseconds.
    pub response_micros: Counter,
    /// Requests that were given to it, and those of them that it has no more.
    pub given: Counter,
    /// See [`Self::given`].
    pub taken_back: Counter,
}

/// The counters of a backend or server, and its level of requests in flight.
#[derive(Debug)]
pub struct UpstreamStats {
    /// Counters by worker.
    pub workers: PerWorker<UpstreamCounters>,
    /// Requests that wait for a place (`pod-concurrent-connections`).
    pub queued: Gauge,
    /// Most that ever waited at once.
    pub most_queued: Peak,
}

impl UpstreamStats {
    /// Zeroed counters for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: PerWorker::new(workers),
            queued: Gauge::default(),
            most_queued: Peak::default(),
        }
    }

    /// Requests in flight now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        // In this order: a request that comes meanwhile is not taken for one that has gone.
        let taken_back = self.workers.sum(|cell| &cell.taken_back);
        self.workers.sum(|cell| &cell.given).saturating_sub(taken_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_the_first_digit() {
        assert_eq!([100, 204, 302, 404, 503, 999, 99].map(response_class), [0, 1, 2, 3, 4, 5, 5]);
    }

    #[test]
    fn a_sum_reads_every_cell() {
        let cells: PerWorker<UpstreamCounters> = PerWorker::new(3);
        for worker in 0..4 {
            cells.cell(worker).requests.add(1);
        }
        assert_eq!(cells.sum(|cell| &cell.requests), 4);
    }
}
