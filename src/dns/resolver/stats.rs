//! What the resolver counts, for a metrics page (the names follow CoreDNS's plugins `cache` and
//! `forward`). Nothing is ever reset.

use crate::dns::stats::Total;

/// Counters of a resolver.
#[derive(Debug, Default)]
pub struct ForwardStats {
    /// Questions that the cache was asked (`coredns_cache_requests_total`).
    pub requests: Total,
    /// Of these, answered with records (`coredns_cache_hits_total{type="success"}`).
    pub hits: Total,
    /// Answered with a denial or a failure (`type="denial"`).
    pub denial_hits: Total,
    /// Not answered (`coredns_cache_misses_total`).
    pub misses: Total,
    /// Answers that made room for others (`coredns_cache_evictions_total`).
    pub evictions: Total,
    /// Answers asked for again before their end (`coredns_cache_prefetch_total`).
    pub prefetches: Total,
    /// Answers given after their end (`coredns_cache_served_stale_total`).
    pub served_stale: Total,
    /// Refreshes that were left out because too many were under way.
    pub refreshes_refused: Total,
    /// Questions that waited for the answer to an equal one.
    pub shared: Total,
    /// Tries at name servers.
    pub tries: Total,
    /// Of these, without any answer: a time-out or an error of the network.
    pub failed_tries: Total,
    /// Answers cut by UDP and asked again by TCP.
    pub tcp_retries: Total,
}
