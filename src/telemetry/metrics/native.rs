//! `wharf_*`: what OpenShift's names do not say.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use super::{Out, Scrape, count};
use crate::{
    frames::BUDGETS,
    model::{
        finding::{ANNOTATION, Severity},
        reason::REASONS,
        route::Termination,
    },
    proxy::stats::{Timings, WorkerCounters},
    stats::{Counter, histogram::Histogram},
};

/// Writes all of them.
pub(super) fn encode(scrape: &Scrape, out: &mut Out<'_>) -> fmt::Result {
    scrape.native(out)
}

/// Every kind of backend, in the order of the discriminants.
const TERMINATIONS: [Termination; 4] =
    [Termination::None, Termination::Edge, Termination::Reencrypt, Termination::Passthrough];

/// A histogram by kind of backend: name, help, where it is.
type TimingOf = (&'static str, &'static str, fn(&Timings) -> &Histogram);

const HISTOGRAMS: [TimingOf; 3] = [
    (
        "wharf_http_request_duration_seconds",
        "From a request's head to the end of its response; of tcp, a whole connection.",
        |timings| &timings.request,
    ),
    ("wharf_upstream_connect_seconds", "Connections made to pods, TLS included.", |timings| {
        &timings.connect
    }),
    (
        "wharf_upstream_first_byte_seconds",
        "From a request sent to a pod to the head of its response.",
        |timings| &timings.first_byte,
    ),
];

/// A counter of workers: name, help, where it is.
pub(super) type WorkerCounter = (&'static str, &'static str, fn(&WorkerCounters) -> &Counter);

/// Counters of workers that have no labels.
const COUNTERS: [WorkerCounter; 16] = [
    (
        "wharf_http2_streams_stalled",
        "HTTP/2 streams reset because the client took nothing.",
        |cell| &cell.http2_stalled,
    ),
    ("wharf_log_dropped", "Access log records dropped.", |cell| &cell.log_dropped),
    ("wharf_accept_errors", "Errors of accept(2).", |cell| &cell.accept_errors),
    (
        "wharf_connection_limit_reached",
        "Connections that waited because as many as allowed were open.",
        |cell| &cell.limit_reached,
    ),
    (
        "wharf_source_limit_reached",
        "Connections closed because their source had as many as allowed.",
        |cell| &cell.source_limited,
    ),
    (
        "wharf_rate_limit_clients_purged",
        "Clients of rate limits forgotten before their time, for lack of room.",
        |cell| &cell.rate_clients_purged,
    ),
    (
        "wharf_rate_limit_untracked",
        "Requests that rate limits did not count: no room, and all clients were busy.",
        |cell| &cell.rate_clients_untracked,
    ),
    ("wharf_connections_parked", "Idle client connections that gave their buffers back.", |cell| {
        &cell.parked
    }),
    ("wharf_tls_handshakes_waited", "TLS handshakes that had to wait for their turn.", |cell| {
        &cell.handshakes_waited
    }),
    ("wharf_tls_handshakes", "TLS handshakes completed.", |cell| &cell.handshakes),
    (
        "wharf_pod_certificates_refused",
        "TLS handshakes with pods that failed for the pod's certificate.",
        |cell| &cell.pod_certificates_refused,
    ),
    ("wharf_pod_handshakes_failed", "TLS handshakes with pods that failed otherwise.", |cell| {
        &cell.pod_handshakes_failed
    }),
    ("wharf_pool_evicted", "Idle pod connections closed for room.", |cell| &cell.pool_evicted),
    ("wharf_responses_compressed", "Responses compressed.", |cell| &cell.compressed),
    (
        "wharf_compression_skipped",
        "Responses not compressed because as many as allowed were.",
        |cell| &cell.compression_skipped,
    ),
    ("wharf_panics", "Panics caught.", |cell| &cell.panics),
];

impl Scrape {
    fn native(&self, out: &mut Out<'_>) -> fmt::Result {
        self.requests(out)?;
        let workers = &self.stats.workers;
        let reasons = REASONS.iter().map(|(reason, word, _)| {
            let count = workers.sum(|cell| &cell.reasons[*reason as usize]);
            ([("reason", *word)], count)
        });
        out.counters("wharf_responses_by_router", "Answers that no pod gave.", reasons)?;
        let budgets = BUDGETS.iter().map(|(budget, word)| {
            let count = workers.sum(|cell| &cell.http2_exceeded[*budget as usize]);
            ([("budget", *word)], count)
        });
        let help = "HTTP/2 connections ended with ENHANCE_YOUR_CALM.";
        out.counters("wharf_http2_budget_exceeded", help, budgets)?;
        for (name, help, counter) in COUNTERS {
            out.total(name, help, workers.sum(counter))?;
        }
        let unsent = self.stats.log_unsent.load();
        out.total("wharf_log_unsent", "Access log lines that syslog did not take.", unsent)?;
        let open = u64::try_from(self.stats.connections.load()).unwrap_or(0);
        out.level("wharf_connections", "Connections open over both ports.", open)?;
        let spliced = crate::net::splice::counts();
        for (name, help, count) in [
            ("wharf_relay_spliced_bytes", "Tunnel bytes moved inside the kernel.", spliced.bytes),
            ("wharf_relay_pipes_exhausted", "Times that no pipe was left.", spliced.exhausted),
        ] {
            out.total(name, help, count)?;
        }
        out.level("wharf_relay_pipes", "Pipes of tunnels.", spliced.pipes)?;
        let clients = self.snapshot.rated.iter().map(|rates| rates.len() as u64).sum::<u64>();
        out.level("wharf_rate_limit_clients", "Clients that rate limits know.", clients)?;
        let idle = u64::try_from(self.stats.pool_idle.load()).unwrap_or(0);
        out.level("wharf_pool_idle", "Pod connections without a request.", idle)?;
        self.config(out)
    }

    fn config(&self, out: &mut Out<'_>) -> fmt::Result {
        let snapshot = &self.snapshot;
        out.level("wharf_config_generation", "Snapshots published.", snapshot.generation)?;
        let last = self.extra.last_apply_seconds;
        out.level("wharf_config_apply_seconds", "Time of the last compile.", last)?;
        let findings =
            [("error", Severity::Error), ("warning", Severity::Warning)].map(|(name, severity)| {
                let same = |finding: &&_| severity_of(finding) == severity;
                ([("severity", name)], count(snapshot.findings.iter().filter(same)))
            });
        out.gauges("wharf_config_findings", "Findings in the input.", findings.into_iter())?;
        self.annotations(out)?;
        let routes = [("admitted", true), ("rejected", false)].map(|(name, admitted)| {
            let same =
                |route: &&crate::snapshot::RouteState| route.admission.is_admitted() == admitted;
            ([("state", name)], count(snapshot.routes.iter().filter(same)))
        });
        out.gauges("wharf_routes", "Route objects.", routes.into_iter())?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        out.gauges("wharf_build_info", "This build.", [(version, 1_u64)].into_iter())?;
        let since_1970 = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).ok();
        if let Some(last) = self.extra.last_success.and_then(since_1970) {
            let help = "When a configuration was last applied well.";
            let name = "wharf_config_last_success_timestamp_seconds";
            out.level(name, help, last.as_secs_f64())?;
        }
        let certificates = self.certificates.iter().map(|it| {
            let (namespace, route) = (("namespace", &*it.namespace), ("route", &*it.route));
            ([namespace, route, ("key", &*it.key)], it.not_after)
        });
        let help = "End of the certificate of a route; without names, of the default one.";
        out.gauges("wharf_certificate_not_after_timestamp_seconds", help, certificates)
    }

    /// Routes whose annotations are not all in effect.
    fn annotations(&self, out: &mut Out<'_>) -> fmt::Result {
        let mut ignored = BTreeMap::<(&str, &str), u64>::new();
        let findings = self.snapshot.findings.iter();
        for finding in findings.filter(|finding| finding.field.starts_with(ANNOTATION)) {
            let key = finding.object.strip_prefix("Route ").and_then(|key| key.split_once('/'));
            if let Some(key) = key {
                *ignored.entry(key).or_default() += 1;
            }
        }
        let ignored = ignored.into_iter().map(|((namespace, route), count)| {
            ([("namespace", namespace), ("route", route)], count)
        });
        let help = "Findings about a route's annotations.";
        out.gauges("wharf_route_annotations_ignored", help, ignored)
    }

    /// How long requests took, by the kind of their backend. Routes would be too many labels for
    /// histograms; their means are `haproxy_backend_http_average_*`.
    fn requests(&self, out: &mut Out<'_>) -> fmt::Result {
        for (name, help, pick) in HISTOGRAMS {
            let rows = TERMINATIONS.iter().map(|termination| {
                let times = self.stats.times(|cell| pick(&cell.timings[*termination as usize]));
                ([("backend", termination.metric_label())], times)
            });
            out.histograms(name, help, rows)?;
        }
        let retries = REASONS.iter().filter_map(|(reason, word, _)| {
            let index = *reason as usize;
            let count = self.stats.workers.sum(|cell| &cell.retries[index]);
            (count > 0).then_some(([("cause", *word)], count))
        });
        out.counters("wharf_retries", "Tries after the first, by what ended the last.", retries)
    }
}

const fn severity_of(finding: &crate::model::finding::Finding) -> Severity {
    finding.code.severity()
}
