//! The variables of the process: its threads, its objects, its stop (spec/route.md 17.2).

use std::{path::PathBuf, time::Duration};

use super::{
    super::{Kind, Outcome, RouterSettings, Row, show},
    NOT_A_COUNT, row,
};
use crate::{model::grammar, settings::parse};

const NOT_SECONDS: Outcome = Outcome::Noted("is not a number of seconds; the default is used");

/// Where two rows set the same thing, the later one wins.
pub const PROCESS: &[Row] = &[
    row(
        "WHARF_MANIFESTS",
        "manifest files and folders, separated by colons",
        Kind::List(':', manifests),
    )
    .flags(&["--manifests"])
    .shows(shown_manifests),
    row("ROUTER_THREADS", "worker threads", Kind::Text(workers)).like("WHARF_WORKERS"),
    row("WHARF_WORKERS", "worker threads", Kind::Text(workers))
        .flags(&["--workers"])
        .shows(|settings| settings.workers.to_string()),
    row(
        "ROUTER_GRACEFUL_SHUTDOWN_DELAY",
        "from SIGTERM to the end of accepting",
        Kind::GoDuration(|settings, value| settings.timeouts.drain_delay = value),
    )
    .shows(|settings| show::duration(settings.timeouts.drain_delay)),
    row(
        "MAX_RELOAD_WAIT_TIME",
        "default of ROUTER_MAX_SHUTDOWN_TIMEOUT, seconds",
        Kind::Text(drain_grace),
    )
    .like("ROUTER_MAX_SHUTDOWN_TIMEOUT"),
    row(
        "ROUTER_MAX_SHUTDOWN_TIMEOUT",
        "from the end of accepting to the end of the process, seconds",
        Kind::Text(drain_grace),
    )
    .shows(|settings| settings.timeouts.drain_grace.as_secs().to_string()),
    row(
        "RELOAD_INTERVAL",
        "least time between two changes that are applied; none by default",
        Kind::Text(reload_interval),
    )
    .flags(&["--interval"])
    .shows(shown_reload_interval),
    row(
        "ROUTER_HARD_STOP_AFTER",
        "longest time from the end of accepting to the end of the process, where it is shorter",
        Kind::Duration(|settings, value| settings.timeouts.hard_stop = Some(value)),
    )
    .shows(|settings| settings.timeouts.hard_stop.map_or_else(String::new, show::duration)),
    row(
        "ROUTER_IDLE_CLOSE_ON_RESPONSE",
        "a stop leaves idle HTTP/1 connections open until they have had one more response",
        Kind::Bool(|settings, flag| settings.idle_close_on_response = flag),
    )
    .shows(|settings| settings.idle_close_on_response.to_string()),
];

fn manifests(settings: &mut RouterSettings, values: &[&str]) -> Outcome {
    settings.manifests = values.iter().map(PathBuf::from).collect();
    Outcome::Used
}

fn shown_manifests(settings: &RouterSettings) -> String {
    let paths: Vec<_> = settings.manifests.iter().map(|path| path.to_string_lossy()).collect();
    paths.join(":")
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

fn reload_interval(settings: &mut RouterSettings, value: &str) -> Outcome {
    match parse::go_duration(value) {
        Some(interval) if interval < Duration::from_secs(1) => {
            Outcome::Refused("expected at least 1s")
        },
        Some(interval) => {
            settings.reload_interval = interval;
            Outcome::Used
        },
        None => Outcome::Noted("is not a duration; the default is used"),
    }
}

/// It has no word for its default, which is none.
fn shown_reload_interval(settings: &RouterSettings) -> String {
    match settings.reload_interval {
        Duration::ZERO => String::new(),
        interval => show::duration(interval),
    }
}
