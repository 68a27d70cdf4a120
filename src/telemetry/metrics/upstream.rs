//! `haproxy_backend_*` and `haproxy_server_*`.

use std::fmt;

use super::{CLASSES, Out};
use crate::{
    snapshot::{CompiledRoute, Server, Snapshot},
    stats::{Counter, UpstreamCounters, UpstreamStats},
};

/// With more servers than this, none is shown [MET-3].
const SERVER_THRESHOLD: usize = 500;

/// Families that backends and servers share: the end of the name, the meaning, and the value.
type Family = (&'static str, &'static str, fn(&UpstreamStats) -> u64);

const FAMILIES: [Family; 13] = [
    ("current_sessions", "Requests in flight.", |stats| stats.in_flight()),
    ("current_queue", "Requests that wait for a place.", |stats| {
        u64::try_from(stats.queued.load()).unwrap_or(0)
    }),
    ("max_queue", "Most requests that ever waited at once.", |stats| stats.most_queued.load()),
    ("connections_total", "Requests.", |stats| sum(stats, |cell| &cell.requests)),
    ("bytes_in_total", "Request bytes.", |stats| sum(stats, |cell| &cell.bytes_in)),
    ("bytes_out_total", "Response bytes.", |stats| sum(stats, |cell| &cell.bytes_out)),
    ("connection_errors_total", "Connections that failed.", |stats| {
        sum(stats, |cell| &cell.connection_errors)
    }),
    ("response_errors_total", "Responses that failed.", |stats| {
        sum(stats, |cell| &cell.response_errors)
    }),
    ("retry_warnings_total", "Requests tried again.", |stats| sum(stats, |cell| &cell.retries)),
    ("redispatch_warnings_total", "Requests tried again elsewhere.", |stats| {
        sum(stats, |cell| &cell.redispatches)
    }),
    ("connections_reused_total", "Requests on a pooled connection.", |stats| {
        sum(stats, |cell| &cell.reused)
    }),
    ("http_average_connect_latency_milliseconds", "Mean time to connect.", |stats| {
        mean_millis(sum(stats, |cell| &cell.connect_micros), sum(stats, |cell| &cell.connects))
    }),
    ("http_average_response_latency_milliseconds", "Mean time to a response head.", |stats| {
        mean_millis(sum(stats, |cell| &cell.response_micros), sum(stats, |cell| &cell.requests))
    }),
];

fn sum(stats: &UpstreamStats, counter: fn(&UpstreamCounters) -> &Counter) -> u64 {
    stats.workers.sum(counter)
}

fn mean_millis(micros: u64, count: u64) -> u64 {
    micros.checked_div(count).unwrap_or(0) / 1000
}

/// Writes both groups.
pub(super) fn encode(snapshot: &Snapshot, out: &mut Out<'_>) -> fmt::Result {
    let routes: Vec<&CompiledRoute> =
        snapshot.routes.iter().filter_map(|route| route.compiled.as_deref()).collect();
    backends(&routes, out)?;
    let servers: Vec<(&CompiledRoute, &Server)> = routes
        .iter()
        .flat_map(|route| route.backend.servers.iter().map(|server| (*route, server)))
        .collect();
    if servers.len() > SERVER_THRESHOLD {
        return Ok(());
    }
    self::servers(&servers, out)
}

fn backends(routes: &[&CompiledRoute], out: &mut Out<'_>) -> fmt::Result {
    for (name, help, read) in FAMILIES {
        let rows = routes.iter().map(|route| (backend_labels(route), read(&route.backend.stats)));
        out.gauges(&format!("haproxy_backend_{name}"), help, rows)?;
    }
    // HAProxy calls a backend without any server up [MET-4].
    let up = routes.iter().map(|route| {
        let servers = &route.backend.servers;
        let up = servers.is_empty() || servers.iter().any(|server| server.peer.is_up());
        (backend_labels(route), u64::from(up))
    });
    out.gauges("haproxy_backend_up", "Some endpoint is up.", up)?;
    let classes = routes.iter().flat_map(|route| {
        CLASSES.iter().enumerate().map(move |(class, code)| {
            let [backend, namespace, name] = backend_labels(route);
            let count = route.backend.stats.workers.sum(|cell| &cell.responses[class]);
            ([backend, namespace, name, ("code", code)], count)
        })
    });
    out.gauges("haproxy_backend_http_responses_total", "Responses by class.", classes)
}

fn servers(servers: &[(&CompiledRoute, &Server)], out: &mut Out<'_>) -> fmt::Result {
    for (name, help, read) in FAMILIES {
        let rows = servers
            .iter()
            .map(|(route, server)| (server_labels(route, server), read(&server.stats)));
        out.gauges(&format!("haproxy_server_{name}"), help, rows)?;
    }
    let up = servers
        .iter()
        .map(|(route, server)| (server_labels(route, server), u64::from(server.peer.is_up())));
    out.gauges("haproxy_server_up", "The endpoint is up.", up)?;
    let failures = servers
        .iter()
        .map(|(route, server)| (server_labels(route, server), server.peer.check_failures.load()));
    out.gauges("haproxy_server_check_failures_total", "Failed health checks.", failures)?;
    let classes = servers.iter().flat_map(|(route, server)| {
        CLASSES.iter().enumerate().map(move |(class, code)| {
            let [label, namespace, name, pod, service] = server_labels(route, server);
            let count = server.stats.workers.sum(|cell| &cell.responses[class]);
            ([label, namespace, name, pod, service, ("code", code)], count)
        })
    });
    out.gauges("haproxy_server_http_responses_total", "Responses by class.", classes)
}

fn backend_labels(route: &CompiledRoute) -> [(&'static str, &str); 3] {
    [
        ("backend", route.termination.metric_label()),
        ("namespace", &route.key.namespace),
        ("route", &route.key.name),
    ]
}

fn server_labels<'a>(route: &'a CompiledRoute, server: &'a Server) -> [(&'static str, &'a str); 5] {
    [
        ("server", &server.label),
        ("namespace", &route.key.namespace),
        ("route", &route.key.name),
        ("pod", &server.pod),
        ("service", &server.service),
    ]
}
