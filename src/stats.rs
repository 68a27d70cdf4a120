//! L0: counters that cost the request path no contention.
//!
//! Each worker owns one cell of a [`PerWorker`] and is its only writer, so a count is a load and a
//! store on a cache line that nobody else writes; a scrape sums the cells. Nothing is ever reset.

pub mod histogram;
pub mod rate;
pub mod window;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use self::{rate::Rate, window::Window};

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

    /// Puts another number in its place. Only the owning worker calls this.
    fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
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
    /// Requests and connections that a rule refused.
    pub denied: Counter,
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
    /// Microseconds that requests waited for a place.
    pub queue_time: Window,
    /// Microseconds of connecting; 0 on a pooled connection.
    pub connect_time: Window,
    /// Microseconds from a request sent to its response's head.
    pub response_time: Window,
    /// Microseconds of whole requests.
    pub total_time: Window,
    /// Requests that were given to it, and those of them that it has no more.
    pub given: Counter,
    /// See [`Self::given`].
    pub taken_back: Counter,
    /// Most that this worker had in flight at once.
    most: Counter,
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
    /// Most that were ever seen in flight at once; see [`Self::give`].
    pub most_in_flight: Peak,
    /// Requests in a second.
    pub rate: Rate,
}

impl UpstreamStats {
    /// Zeroed counters for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            workers: PerWorker::new(workers),
            queued: Gauge::default(),
            most_queued: Peak::default(),
            most_in_flight: Peak::default(),
            rate: Rate::default(),
        }
    }

    /// A request is given to it by `worker`. The level over all workers is looked at when this worker has
    /// more than it ever had, and besides once a second (`app::router::sampler`): a request costs no
    /// line of memory that other workers write to, and a peak of less than a second may be missed when
    /// no worker had a peak of its own in it.
    pub fn give(&self, worker: usize) {
        let cell = self.workers.cell(worker);
        cell.given.add(1);
        let level = cell.given.load().wrapping_sub(cell.taken_back.load());
        if level > cell.most.load() {
            cell.most.set(level);
            self.most_in_flight.note(self.in_flight());
        }
    }

    /// A request that `worker` gave is there no more.
    pub fn take_back(&self, worker: usize) {
        self.workers.cell(worker).taken_back.add(1);
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

    /// [MET-5]: since the start, over all workers.
    #[test]
    fn most_in_flight_is_over_all_workers() {
        let stats = UpstreamStats::new(2);
        for worker in [0, 1, 1] {
            stats.give(worker);
        }
        assert_eq!((stats.in_flight(), stats.most_in_flight.load()), (3, 3));
        for worker in [0, 1, 1] {
            stats.take_back(worker);
        }
        stats.give(0);
        assert_eq!((stats.in_flight(), stats.most_in_flight.load()), (1, 3));
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
