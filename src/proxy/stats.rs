//! The counters of one router process that belong to no route.
//!
//! Written by the workers, read by `telemetry::metrics`.

use std::{sync::Arc, time::Instant};

use crate::{
    frames::BUDGETS,
    model::reason::{REASONS, Reason},
    proxy::record::Frontend,
    sources::Sources,
    stats::{Counter, FrontendCounters, Gauge, PerWorker},
};

/// Counters of the router.
#[derive(Debug)]
pub struct RouterStats {
    /// When the process started.
    pub started: Instant,
    /// By [`Frontend`] discriminant, then by worker.
    pub frontends: [PerWorker<FrontendCounters>; 4],
    /// Connections open now, over both ports.
    pub connections: Gauge,
    /// Pod connections without a request, over all workers, as of the last second.
    pub pool_idle: Gauge,
    /// By worker.
    pub workers: PerWorker<WorkerCounters>,
    /// Connections open now, by source; only where those are limited.
    pub sources: Arc<Sources>,
}

/// What a worker counts beside frontends.
#[derive(Debug)]
pub struct WorkerCounters {
    /// Answers made by the router, by [`Reason`] discriminant.
    pub reasons: [Counter; REASONS.len()],
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
            connections: Gauge::default(),
            pool_idle: Gauge::default(),
            workers: PerWorker::new(workers),
            sources: Arc::default(),
        }
    }

    /// The counters of `frontend` on `worker`.
    #[must_use]
    pub fn frontend(&self, frontend: Frontend, worker: usize) -> &FrontendCounters {
        self.frontends[frontend as usize].cell(worker)
    }

    /// Counts an answer of the router's own.
    pub fn count_reason(&self, worker: usize, reason: Reason) {
        self.workers.cell(worker).reasons[reason as usize].add(1);
    }
}
