//! What OpenShift's router needs for HAProxy, its template and its debugging, and what has no meaning
//! in a process that applies changes without a reload (spec/route.md 17.1, 17.2).

use std::time::Duration;

use super::{
    super::{Kind, Outcome, RouterSettings, Row, row::nothing},
    row,
};
use crate::settings::parse;

const SIDECAR: &str = "there is no HAProxy beside this process";
const NO_RELOAD: &str = "every change applies without a reload, so there is no dynamic manager";
const NO_MANAGER: &str = "every change applies without a reload, so there is no dynamic manager, and \
                          stickiness cookies keep the values that a router without one sets";
const NO_API: &str = "objects come from manifests; nothing is watched over the API yet";

/// None of these sets anything.
pub const HAPROXY: &[Row] = &[
    nothing("TEMPLATE_FILE", "there is no template").flags(&["--template"]),
    nothing("RELOAD_SCRIPT", "there is no reload").flags(&["--reload"]),
    nothing("", "there are no files of HAProxy").flags(&["--working-dir"]),
    row("COMMIT_INTERVAL", NO_RELOAD, Kind::Text(commit_interval))
        .flags(&["--commit-interval"])
        .nothing(),
    nothing(
        "ROUTER_BIND_PORTS_BEFORE_SYNC",
        "it only chooses health checks of HAProxy; ROUTER_BIND_PORTS_AFTER_SYNC is honoured",
    ),
    nothing("ROUTER_HAPROXY_CONFIG_MANAGER", NO_MANAGER)
        .flags(&["--haproxy-config-manager"])
        .yes_or_no(),
    nothing("ROUTER_MAX_DYNAMIC_SERVERS", NO_RELOAD).flags(&["--max-dynamic-servers"]),
    nothing("ROUTER_BLUEPRINT_ROUTE_NAMESPACE", NO_RELOAD).flags(&["--blueprint-route-namespace"]),
    nothing("ROUTER_BLUEPRINT_ROUTE_LABELS", NO_RELOAD).flags(&["--blueprint-route-labels"]),
    nothing("ROUTER_BLUEPRINT_ROUTE_POOL_SIZE", NO_RELOAD).flags(&["--blueprint-route-pool-size"]),
    nothing("HAPROXY_MAX_SHUTDOWN_TIMEOUT", SIDECAR),
    nothing("ROUTER_HAPROXY_ADMIN_UNIX_SOCKET", SIDECAR),
    nothing("ROUTER_SHUTDOWN", "OpenShift's router sets it for its own reload script"),
    nothing(
        "ROUTER_WATCH_ENDPOINTS",
        "an Endpoints object is read wherever a service has no EndpointSlice",
    )
    .flags(&["--watch-endpoints"])
    .yes_or_no(),
    nothing("", "a UDP port is no place for requests")
        .flags(&["--include-udp-endpoints"])
        .yes_or_no(),
    nothing("ROUTER_HAPROXY_CONTSTATS", "bytes are counted when a response or a tunnel has ended"),
    nothing("OPENSHIFT_ON_PANIC", "a panic costs the one request it happens in"),
    nothing("OPENSHIFT_PROFILE", "profiles are taken from outside, by perf"),
    nothing("", "the level of the process log is that of --log").flags(&["--v"]),
    nothing("", "manifests are followed as they change, so there is nothing to list again")
        .flags(&["--resync-interval"]),
    nothing("", "Ingress objects are always read").flags(&["--enable-ingress"]).yes_or_no(),
    refused("KUBERNETES_MASTER").flags(&["--master"]),
    refused("").flags(&["--kubeconfig"]),
];

/// Silently serving manifests to somebody who asked for a cluster would be worse.
const fn refused(name: &'static str) -> Row {
    row(name, NO_API, Kind::Text(|_, _| Outcome::Refused(NO_API))).refused()
}

/// Checked as OpenShift's router does.
fn commit_interval(_: &mut RouterSettings, value: &str) -> Outcome {
    match parse::go_duration(value) {
        Some(interval) if interval < Duration::from_secs(1) => {
            Outcome::Refused("expected at least 1s")
        },
        Some(_) => Outcome::Used,
        None => Outcome::Noted("is not a duration; it means nothing here"),
    }
}
