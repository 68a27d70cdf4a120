//! Metrics as OpenMetrics text: OpenShift's names and labels (spec/route.md 18.3), and `wharf_*`.
//!
//! Called by the admin port at each scrape. The counters live in the workers and behind the
//! snapshot; nothing is registered ahead, so a series vanishes with its route [MET-5]. `haproxy_*`
//! are gauges, as OpenShift has them, even where the name ends in `_total`.

mod process;
mod upstream;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet, NoLabelSet, text,
    },
    metrics::MetricType,
    registry::Registry,
};

use crate::{
    frames::BUDGETS,
    model::{
        finding::{ANNOTATION, Severity},
        reason::REASONS,
    },
    proxy::{
        record::Frontend,
        stats::{RouterStats, WorkerCounters},
    },
    snapshot::Snapshot,
    stats::{Counter, FrontendCounters, PerWorker},
};

#[cfg(test)]
mod tests;

/// The `Content-Type` of [`encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Names of [`crate::stats::ResponseClasses`].
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// What neither the snapshot nor the counters know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extra {
    /// ROUTER_MAX_CONNECTIONS.
    pub max_connections: u64,
    /// Configurations applied, good or bad.
    pub applies: u64,
    /// Seconds that these took, in sum.
    pub apply_seconds: f64,
    /// Seconds that the last one took.
    pub last_apply_seconds: f64,
    /// The last one failed.
    pub apply_failed: bool,
}

/// The latest [`Extra`], written by the control loop after each compile.
#[derive(Debug, Default)]
pub struct ExtraCell(Mutex<Extra>);

impl ExtraCell {
    /// A cell that holds `extra`.
    #[must_use]
    pub const fn new(extra: Extra) -> Self {
        Self(Mutex::new(extra))
    }

    /// The latest figures.
    #[must_use]
    pub fn load(&self) -> Extra {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a configuration that was applied, or with `failed` one that could not be.
    pub fn applied(&self, took: Duration, failed: bool) {
        let mut extra = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        extra.applies += 1;
        extra.apply_seconds += took.as_secs_f64();
        extra.last_apply_seconds = took.as_secs_f64();
        extra.apply_failed = failed;
    }
}

/// All metrics of this moment.
#[must_use]
pub fn encode(snapshot: &Arc<Snapshot>, stats: &Arc<RouterStats>, extra: Extra) -> String {
    let mut registry = Registry::default();
    let scrape = Scrape { snapshot: Arc::clone(snapshot), stats: Arc::clone(stats), extra };
    registry.register_collector(Box::new(scrape));
    let mut out = String::new();
    // Writing into a String does not fail.
    let _ = text::encode(&mut out, &registry);
    out
}

/// One scrape: what the encoder walks over.
#[derive(Debug)]
struct Scrape {
    snapshot: Arc<Snapshot>,
    stats: Arc<RouterStats>,
    extra: Extra,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.general(&mut out)?;
        self.frontends(&mut out)?;
        upstream::encode(&self.snapshot, &mut out)?;
        self.native(&mut out)?;
        process::encode(&mut out)
    }
}

/// A counter of workers: name, help, where it is.
type WorkerCounter = (&'static str, &'static str, fn(&WorkerCounters) -> &Counter);

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
    fn general(&self, out: &mut Out<'_>) -> fmt::Result {
        out.level("haproxy_up", "The router serves.", 1_u64)?;
        let limit = self.extra.max_connections;
        out.level("haproxy_max_connections", "Limit of connections at once.", limit)?;
        let (sum, count) = (self.extra.apply_seconds, self.extra.applies);
        out.level("template_router_reload_seconds_sum", "Time spent on new configurations.", sum)?;
        out.level("template_router_reload_seconds_count", "New configurations.", count)?;
        let failed = u64::from(self.extra.apply_failed);
        out.level("template_router_reload_failure", "The last configuration failed.", failed)
    }

    fn frontends(&self, out: &mut Out<'_>) -> fmt::Result {
        type Read = fn(&PerWorker<FrontendCounters>) -> u64;
        let families: [(&str, &str, Read); 6] = [
            ("haproxy_frontend_current_sessions", "Connections open.", |cells| {
                // Read apart from each other, so the second may be ahead of the first.
                cells.sum(|cell| &cell.connections).saturating_sub(cells.sum(|cell| &cell.closed))
            }),
            ("haproxy_frontend_connections_total", "Connections accepted.", |cells| {
                cells.sum(|cell| &cell.connections)
            }),
            ("haproxy_frontend_bytes_in_total", "Bytes from clients.", |cells| {
                cells.sum(|cell| &cell.bytes_in)
            }),
            ("haproxy_frontend_bytes_out_total", "Bytes to clients.", |cells| {
                cells.sum(|cell| &cell.bytes_out)
            }),
            ("haproxy_frontend_http_requests_total", "Requests.", |cells| {
                cells.sum(|cell| &cell.requests)
            }),
            ("haproxy_frontend_request_errors_total", "Malformed or late requests.", |cells| {
                cells.sum(|cell| &cell.request_errors)
            }),
        ];
        let all = || Frontend::ALL.iter().zip(&self.stats.frontends);
        for (name, help, read) in families {
            out.gauges(
                name,
                help,
                all().map(|(frontend, cells)| ([("frontend", frontend.name())], read(cells))),
            )?;
        }
        let rows = all().flat_map(|(frontend, cells)| {
            CLASSES.iter().enumerate().map(move |(class, code)| {
                let labels = [("frontend", frontend.name()), ("code", code)];
                (labels, cells.sum(|cell| &cell.responses[class]))
            })
        });
        out.gauges("haproxy_frontend_http_responses_total", "Responses by class.", rows)
    }

    fn native(&self, out: &mut Out<'_>) -> fmt::Result {
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
            out.counters(name, help, [(NO_LABELS, workers.sum(counter))].into_iter())?;
        }
        let open = u64::try_from(self.stats.connections.load()).unwrap_or(0);
        out.level("wharf_connections", "Connections open over both ports.", open)?;
        let spliced = crate::net::splice::counts();
        for (name, help, count) in [
            ("wharf_relay_spliced_bytes", "Tunnel bytes moved inside the kernel.", spliced.bytes),
            ("wharf_relay_pipes_exhausted", "Times that no pipe was left.", spliced.exhausted),
        ] {
            out.counters(name, help, [(NO_LABELS, count)].into_iter())?;
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
        let mut ignored = BTreeMap::<(&str, &str), u64>::new();
        for finding in snapshot.findings.iter().filter(|it| it.field.starts_with(ANNOTATION)) {
            let key = finding.object.strip_prefix("Route ").and_then(|key| key.split_once('/'));
            if let Some(key) = key {
                *ignored.entry(key).or_default() += 1;
            }
        }
        let ignored = ignored.into_iter().map(|((namespace, route), count)| {
            ([("namespace", namespace), ("route", route)], count)
        });
        let help = "Findings about a route's annotations.";
        out.gauges("wharf_route_annotations_ignored", help, ignored)?;
        let routes = [("admitted", true), ("rejected", false)].map(|(name, admitted)| {
            let same =
                |route: &&crate::snapshot::RouteState| route.admission.is_admitted() == admitted;
            ([("state", name)], count(snapshot.routes.iter().filter(same)))
        });
        out.gauges("wharf_routes", "Route objects.", routes.into_iter())?;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        out.gauges("wharf_build_info", "This build.", [(version, 1_u64)].into_iter())
    }
}

const fn severity_of(finding: &crate::model::finding::Finding) -> Severity {
    finding.code.severity()
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    u64::try_from(items.count()).unwrap_or(u64::MAX)
}

const NO_LABELS: [(&str, &str); 0] = [];

/// Writes families.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    /// A gauge without labels.
    fn level(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&value)
    }

    /// A gauge for each row.
    fn gauges<L: EncodeLabelSet, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// A counter for each row. The encoder adds `_total` to `name`.
    fn counters<L: EncodeLabelSet, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl Iterator<Item = (L, V)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, V, u64>(&value, None)?;
        }
        Ok(())
    }
}
