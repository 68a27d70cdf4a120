//! `haproxy_*`: the rows of `telemetry::rows` as OpenShift's exporter names them [MET-1].

use std::fmt;

use prometheus_client::{
    encoding::{
        CounterValueEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelSet,
        GaugeValueEncoder,
    },
    metrics::MetricType,
};

use super::{CLASSES, Out, Scrape};
use crate::{
    snapshot::{CompiledRoute, Server},
    telemetry::rows::{self, Figure, Row, column as at},
};

/// A family of one group: its column, the end of its name, what it means. Those that end in `_total` are
/// counters; nothing here ever counts down, since there is no reload [MET-2].
pub(super) type Family = (u16, &'static str, &'static str);

/// Responses by class have six columns and one name.
const RESPONSES: &str = "http_responses_total";

pub(super) const FRONTEND: &[Family] = &[
    (at::SCUR, "current_sessions", "Current number of active sessions."),
    (at::SMAX, "max_sessions", "Maximum observed number of active sessions."),
    (at::SLIM, "limit_sessions", "Configured session limit."),
    (at::BIN, "bytes_in_total", "Current total of incoming bytes."),
    (at::BOUT, "bytes_out_total", "Current total of outgoing bytes."),
    (at::DREQ, "requests_denied_total", "Total of requests denied for security."),
    (at::EREQ, "request_errors_total", "Total of request errors."),
    (at::RATE, "current_session_rate", "Sessions over the last elapsed second."),
    (at::RATE_LIM, "limit_session_rate", "Configured limit on new sessions per second."),
    (at::RATE_MAX, "max_session_rate", "Maximum observed number of sessions per second."),
    (at::HRSP_1XX, RESPONSES, "Total of HTTP responses."),
    (at::REQ_TOT, "http_requests_total", "Total HTTP requests."),
    (at::CONN_TOT, "connections_total", "Total number of connections."),
];

pub(super) const BACKEND: &[Family] = &[
    (at::QCUR, "current_queue", "Current number of queued requests."),
    (at::QMAX, "max_queue", "Maximum observed number of queued requests."),
    (at::SCUR, "current_sessions", "Current number of active sessions."),
    (at::SMAX, "max_sessions", "Maximum observed number of active sessions."),
    (at::SLIM, "limit_sessions", "Configured session limit."),
    (at::STOT, "connections_total", "Total number of sessions, counted when they end."),
    (at::BIN, "bytes_in_total", "Current total of incoming bytes."),
    (at::BOUT, "bytes_out_total", "Current total of outgoing bytes."),
    (at::ECON, "connection_errors_total", "Total of connection errors."),
    (at::ERESP, "response_errors_total", "Total of response errors."),
    (at::WRETR, "retry_warnings_total", "Total of retry warnings."),
    (at::WREDIS, "redispatch_warnings_total", "Total of redispatch warnings."),
    (at::STATUS, "up", "Current health status (1 = UP, 0 = DOWN)."),
    (at::WEIGHT, "weight", "Weight, of a backend the sum of its servers that are up."),
    (at::RATE, "current_session_rate", "Sessions over the last elapsed second."),
    (at::RATE_MAX, "max_session_rate", "Maximum observed number of sessions per second."),
    (at::HRSP_1XX, RESPONSES, "Total of HTTP responses."),
    (at::QTIME, "http_average_queue_latency_milliseconds", QUEUE_HELP),
    (at::CTIME, "http_average_connect_latency_milliseconds", CONNECT_HELP),
    (at::RTIME, "http_average_response_latency_milliseconds", RESPONSE_HELP),
    (at::REUSE, "connections_reused_total", "Total number of connections reused."),
];

const QUEUE_HELP: &str =
    "Average latency to be dequeued of the last 1024 requests of each worker in milliseconds.";
const CONNECT_HELP: &str =
    "Average connect latency of the last 1024 requests of each worker in milliseconds.";
const RESPONSE_HELP: &str =
    "Average response latency of the last 1024 requests of each worker in milliseconds.";

/// What servers have and backends have not.
pub(super) const CHECKS: &[Family] = &[
    (at::CHKFAIL, "check_failures_total", "Total number of failed health checks."),
    (at::DOWNTIME, "downtime_seconds_total", "Total downtime in seconds."),
    (at::CHECK_DURATION, "check_duration_milliseconds", "Duration of the last health check."),
];

impl EncodeGaugeValue for Figure {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match *self {
            Self::Count(count) => EncodeGaugeValue::encode(&count, encoder),
            #[expect(clippy::cast_precision_loss, reason = "a latency")]
            Self::Micros(micros) => EncodeGaugeValue::encode(&(micros as f64 / 1000.0), encoder),
        }
    }
}

impl EncodeCounterValue for Figure {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        EncodeCounterValue::encode(&self.whole(), encoder)
    }
}

/// Writes all groups; servers only up to the threshold [MET-3].
pub(super) fn encode(scrape: &Scrape, out: &mut Out<'_>) -> fmt::Result {
    let limit = scrape.extra.max_connections;
    let all: Vec<Row<'_>> = rows::all(&scrape.snapshot, &scrape.stats, limit).collect();
    group(scrape, out, "haproxy_frontend_", FRONTEND, &all, |row| match row {
        Row::Frontend(frontend, ..) => Some([("frontend", frontend.name())]),
        _ => None,
    })?;
    group(scrape, out, "haproxy_backend_", BACKEND, &all, |row| match row {
        Row::Backend(route, _) => Some(backend_labels(route)),
        _ => None,
    })?;
    if scrape.settings.server_threshold.is_some_and(|most| scrape.servers() > most) {
        return Ok(());
    }
    for families in [BACKEND, CHECKS] {
        group(scrape, out, "haproxy_server_", families, &all, |row| match *row {
            Row::Server(route, server) => Some(server_labels(route, server)),
            _ => None,
        })?;
    }
    Ok(())
}

/// The families of the rows that have `labels`, as far as their columns are chosen. One without a row is
/// left out.
fn group<'a, const N: usize>(
    scrape: &Scrape,
    out: &mut Out<'_>,
    prefix: &str,
    families: &[Family],
    rows: &[Row<'a>],
    labels: impl Fn(&Row<'a>) -> Option<[(&'a str, &'a str); N]>,
) -> fmt::Result {
    let rows: Vec<_> =
        rows.iter().filter_map(|row| labels(row).map(|labels| (labels, row))).collect();
    for (column, name, help) in families {
        let name = format!("{prefix}{name}");
        if *column == at::HRSP_1XX {
            responses(scrape, out, &name, help, &rows)?;
            continue;
        }
        if !scrape.settings.exports(*column) {
            continue;
        }
        let figures = rows.iter().filter_map(|(labels, row)| Some((*labels, row.figure(*column)?)));
        family(out, &name, help, figures)?;
    }
    Ok(())
}

fn responses<'a, const N: usize>(
    scrape: &Scrape,
    out: &mut Out<'_>,
    name: &str,
    help: &str,
    rows: &[([(&'a str, &'a str); N], &Row<'a>)],
) -> fmt::Result {
    let columns = || (at::HRSP_1XX..=at::HRSP_OTHER).filter(|it| scrape.settings.exports(*it));
    let figures = rows.iter().flat_map(|(labels, row)| {
        columns().filter_map(move |column| {
            let code = CLASSES[usize::from(column - at::HRSP_1XX)];
            Some((Coded(*labels, ("code", code)), row.figure(column)?))
        })
    });
    family(out, name, help, figures)
}

/// Labels, and one more behind them.
struct Coded<'a, const N: usize>([(&'a str, &'a str); N], (&'static str, &'static str));

impl<const N: usize> EncodeLabelSet for Coded<'_, N> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> fmt::Result {
        self.0.encode(encoder)?;
        [self.1].encode(encoder)
    }
}

fn family<L: EncodeLabelSet>(
    out: &mut Out<'_>,
    name: &str,
    help: &str,
    rows: impl Iterator<Item = (L, Figure)>,
) -> fmt::Result {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    match name.strip_suffix("_total") {
        Some(counter) => out.counters(counter, help, rows),
        None => {
            let mut metric = out.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
            rows.try_for_each(|(labels, figure)| {
                metric.encode_family(&labels)?.encode_gauge(&figure)
            })
        },
    }
}

fn backend_labels(route: &CompiledRoute) -> [(&str, &str); 3] {
    [
        ("backend", route.termination.metric_label()),
        ("namespace", &route.key.namespace),
        ("route", &route.key.name),
    ]
}

fn server_labels<'a>(route: &'a CompiledRoute, server: &'a Server) -> [(&'a str, &'a str); 5] {
    [
        ("server", &server.label),
        ("namespace", &route.key.namespace),
        ("route", &route.key.name),
        ("pod", &server.pod),
        ("service", &server.service),
    ]
}
