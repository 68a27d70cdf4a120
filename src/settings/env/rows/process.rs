//! The variables of the process: its threads, its objects, its stop (spec/route.md 17.2).

use std::time::Duration;

use super::{
    super::{Kind, Outcome, RouterSettings, Row},
    NOT_A_COUNT, accept, row,
};
use crate::{model::grammar, settings::parse};

const NOT_SECONDS: Outcome = Outcome::Noted("is not a number of seconds; the default is used");

/// Where two rows set the same thing, the later one wins.
pub const PROCESS: &[Row] = &[
    row(
        "WHARF_MANIFESTS",
        "manifest files and folders, separated by colons",
        Kind::Text(manifests),
    ),
    row("ROUTER_THREADS", "worker threads", Kind::Text(workers)),
    row("WHARF_WORKERS", "worker threads", Kind::Text(workers)),
    row(
        "ROUTER_GRACEFUL_SHUTDOWN_DELAY",
        "from SIGTERM to the end of accepting",
        Kind::GoDuration(|settings, value| settings.timeouts.drain_delay = value),
    ),
    row(
        "MAX_RELOAD_WAIT_TIME",
        "default of ROUTER_MAX_SHUTDOWN_TIMEOUT, seconds",
        Kind::Text(drain_grace),
    ),
    row(
        "ROUTER_MAX_SHUTDOWN_TIMEOUT",
        "from the end of accepting to the end of the process, seconds",
        Kind::Text(drain_grace),
    ),
    row(
        "RELOAD_INTERVAL",
        "checked; every change applies at once here",
        Kind::Text(reload_interval),
    ),
    row("TEMPLATE_FILE", "accepted; there is no template here", Kind::Text(accept)),
    row("RELOAD_SCRIPT", "accepted; there is no script here", Kind::Text(accept)),
    row("ROUTER_METRICS_TYPE", "haproxy, the only type there is", Kind::Text(metrics_type)),
];

fn manifests(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.manifests = std::env::split_paths(value).collect();
    Outcome::Used
}

fn workers(settings: &mut RouterSettings, value: &str) -> Outcome {
    match grammar::parse_integer(value).and_then(|number| usize::try_from(number).ok()) {
        Some(number @ 1..=1024) => {
            settings.workers = number;
            Outcome::Used
        },
        _ => NOT_A_COUNT,
    }
}

fn drain_grace(settings: &mut RouterSettings, value: &str) -> Outcome {
    match grammar::parse_integer(value).and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) => {
            settings.timeouts.drain_grace = Duration::from_secs(seconds).min(grammar::MAX_DURATION);
            Outcome::Used
        },
        None => NOT_SECONDS,
    }
}

fn reload_interval(_: &mut RouterSettings, value: &str) -> Outcome {
    match parse::go_duration(value) {
        Some(interval) if interval < Duration::from_secs(1) => {
            Outcome::Refused("expected at least 1s")
        },
        Some(_) => Outcome::Noted("is not honoured yet: every change applies at once"),
        None => Outcome::Noted("is not a duration; the default is used"),
    }
}

fn metrics_type(_: &mut RouterSettings, value: &str) -> Outcome {
    match value {
        "haproxy" => Outcome::Used,
        _ => Outcome::Refused("expected haproxy"),
    }
}
