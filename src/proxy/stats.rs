//! The counters of one router process that belong to no route.
//!
//! Written by the workers, read by `telemetry::metrics`.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Instant,
};

use crate::{
    dns::{resolver::Resolver, stats::DnsStats},
    frames::BUDGETS,
    health::budget::RetryBudget,
    model::reason::{REASONS, Reason},
    proxy::{record::Frontend, trace::Watches},
    sources::Sources,
    stats::{
        Counter, FrontendCounters, Gauge, Peak, PerWorker,
        histogram::{Histogram, Times},
        rate::Rate,
    },
};

/// Counters of the router.
#[derive(Debug)]
pub struct RouterStats {
    /// When the process started.
    pub started: Instant,
    /// By [`Frontend`] discriminant, then by worker.
    pub frontends: [PerWorker<FrontendCounters>; 4],
    /// Levels and rates, by [`Frontend`] discriminant.
    pub levels: [Levels; 4],
    /// Connections open now, over both ports.
    pub connections: Gauge,
    /// Pod connections without a request, over all workers, as of the last second.
    pub pool_idle: Gauge,
    /// Lines of the access log that could not be handed on; counted by the log's writer alone.
    pub log_unsent: Counter,
    /// By worker.
    pub workers: PerWorker<WorkerCounters>,
    /// Connections open now, by source; only where those are limited.
    pub sources: Arc<Sources>,
    /// How many requests may be tried again.
    pub retries: RetryBudget,
    /// Whose requests the admin port waits for.
    pub watches: Arc<Watches>,
    /// The DNS server that this router runs.
    pub dns: OnceLock<DnsCounts>,
}

/// The DNS server of a router, for its metrics.
#[derive(Debug)]
pub struct DnsCounts {
    /// What it counts.
    pub stats: Arc<DnsStats>,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it asks for names outside, if it does.
    pub resolver: Option<Arc<Resolver>>,
}

/// Connections of a frontend.
#[derive(Debug, Default)]
pub struct Levels {
    /// Open now.
    pub open: Gauge,
    /// Most that were ever open at once.
    pub most_open: Peak,
    /// Accepted in a second.
    pub rate: Rate,
    /// Requests in a second.
    pub requests: Rate,
}

/// Times of the requests of one kind of backend, in one worker.
#[derive(Debug, Default)]
pub struct Timings {
    /// Whole requests that a pod had.
    pub request: Histogram,
    /// Connections made to pods.
    pub connect: Histogram,
    /// From a request sent to its response's head.
    pub first_byte: Histogram,
}

/// What a worker counts beside frontends.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Answers made by the router, by [`Reason`] discriminant.
    pub reasons: [Counter; REASONS.len()],
    /// Tries after the first, by what ended the one before.
    pub retries: [Counter; REASONS.len()],
    /// By [`crate::model::route::Termination`] discriminant.
    pub timings: [Timings; 4],
    /// Access log records dropped because the writer was behind.
    pub log_dropped: Counter,
    /// Errors of accept(2), such as EMFILE.
    pub accept_errors: Counter,
    /// Times that a connection had to wait because as many as allowed were open.
    pub limit_reached: Counter,
    /// Connections closed because their source had as many as allowed.
    pub source_limited: Counter,
    /// Clients of routes with rate limits that were forgotten before their time, for lack of room.
    pub rate_clients_purged: Counter,
    /// Requests that rate limits did not count: no room, and everybody in the table was busy.
    pub rate_clients_untracked: Counter,
    /// TLS handshakes completed.
    pub handshakes: Counter,
    /// TLS handshakes that had to wait for their turn.
    pub handshakes_waited: Counter,
    /// TLS handshakes with pods that failed for the pod's certificate [REENC-4].
    pub pod_certificates_refused: Counter,
    /// TLS handshakes with pods that failed otherwise.
    pub pod_handshakes_failed: Counter,
    /// Idle client connections that were parked.
    pub parked: Counter,
    /// Idle upstream connections in the pool were full and one was closed.
    pub pool_evicted: Counter,
    /// HTTP/2 connections ended for exceeding a budget, by [`crate::frames::Budget`] discriminant.
    pub http2_exceeded: [Counter; BUDGETS.len()],
    /// HTTP/2 streams reset because the client took nothing for its timeout.
    pub http2_stalled: Counter,
    /// Connections that were passed through.
    pub passed: Counter,
    /// Endpoints that were ejected.
    pub ejections: Counter,
    /// Tries that went to an ejected endpoint for want of another.
    pub ejections_ignored: Counter,
    /// Tries that were not made because the retry budget was used up.
    pub retries_denied: Counter,
    /// Responses that were compressed [COMP-1].
    pub compressed: Counter,
    /// Responses sent as they were because as many as allowed were being compressed.
    pub compression_skipped: Counter,
    /// Panics caught.
    pub panics: Counter,
}

impl Default for WorkerCounters {
    fn default() -> Self {
        Self {
            reasons: std::array::from_fn(|_| Counter::default()),
            retries: std::array::from_fn(|_| Counter::default()),
            timings: Default::default(),
            log_dropped: Counter::default(),
            accept_errors: Counter::default(),
            limit_reached: Counter::default(),
            source_limited: Counter::default(),
            rate_clients_purged: Counter::default(),
            rate_clients_untracked: Counter::default(),
            handshakes: Counter::default(),
            handshakes_waited: Counter::default(),
            pod_certificates_refused: Counter::default(),
            pod_handshakes_failed: Counter::default(),
            parked: Counter::default(),
            pool_evicted: Counter::default(),
            http2_exceeded: std::array::from_fn(|_| Counter::default()),
            http2_stalled: Counter::default(),
            passed: Counter::default(),
            ejections: Counter::default(),
            ejections_ignored: Counter::default(),
            retries_denied: Counter::default(),
            compressed: Counter::default(),
            compression_skipped: Counter::default(),
            panics: Counter::default(),
        }
    }
}

impl RouterStats {
    /// Zeroed counters for `workers` workers.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        Self {
            started: Instant::now(),
            frontends: std::array::from_fn(|_| PerWorker::new(workers)),
            levels: Default::default(),
            connections: Gauge::default(),
            pool_idle: Gauge::default(),
            log_unsent: Counter::default(),
            workers: PerWorker::new(workers),
            sources: Arc::default(),
            retries: RetryBudget::default(),
            watches: Arc::default(),
            dns: OnceLock::new(),
        }
    }

    /// The counters of `frontend` on `worker`.
    #[must_use]
    pub fn frontend(&self, frontend: Frontend, worker: usize) -> &FrontendCounters {
        self.frontends[frontend as usize].cell(worker)
    }

    /// What retries are measured by: requests, and connections that were passed through.
    #[must_use]
    pub fn requests(&self) -> u64 {
        let requests = |cells: &PerWorker<FrontendCounters>| cells.sum(|cell| &cell.requests);
        self.frontends.iter().map(requests).sum::<u64>() + self.workers.sum(|cell| &cell.passed)
    }

    /// Times over all workers.
    #[must_use]
    pub fn times(&self, histogram: impl Fn(&WorkerCounters) -> &Histogram) -> Times {
        let mut sum = Times::default();
        self.workers.cells().for_each(|cell| histogram(cell).read(&mut sum));
        sum
    }

    /// Counts an answer of the router's own.
    pub fn count_reason(&self, worker: usize, reason: Reason) {
        self.workers.cell(worker).reasons[reason as usize].add(1);
    }
}
