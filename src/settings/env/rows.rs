//! The rows of the table of environment variables: one file for each idea, what they share here, and
//! the names that do nothing yet.

mod capacity;
mod certificates;
mod haproxy;
mod identity;
mod listeners;
mod process;
mod timeouts;
mod traffic;

use super::Outcome;
pub(super) use super::row::row;
use crate::model::grammar;
pub use capacity::CAPACITY;
pub use certificates::CERTIFICATES;
pub use haproxy::HAPROXY;
pub use identity::IDENTITY;
pub use listeners::LISTENERS;
pub use process::PROCESS;
pub use timeouts::TIMEOUTS;
pub use traffic::TRAFFIC;

const NOT_A_COUNT: Outcome = Outcome::Noted("is not a positive number; the default is used");

/// Variables of OpenShift's router that do nothing here yet (spec/route.md 17).
pub const NOT_YET: &[&str] = &[
    // 17.2
    // 17.4
    "ROUTER_BACKEND_PROCESS_ENDPOINTS",
    "ROUTER_COOKIE_NAME",
    "ROUTER_UNIQUE_ID_FORMAT",
    "ROUTER_UNIQUE_ID_HEADER_NAME",
    // 17.5
    "ROUTER_SYSLOG_ADDRESS",
    "ROUTER_SYSLOG_FORMAT",
    "ROUTER_LOG_LEVEL",
    "ROUTER_LOG_FACILITY",
    "ROUTER_LOG_MAX_LENGTH",
    "ROUTER_CAPTURE_HTTP_REQUEST_HEADERS",
    "ROUTER_CAPTURE_HTTP_RESPONSE_HEADERS",
    "ROUTER_CAPTURE_HTTP_COOKIE",
    "ROUTER_DONT_LOG_NULL",
    "ROUTER_HTTP_IGNORE_PROBES",
    "STATS_USERNAME",
    "STATS_USERNAME_FILE",
    "STATS_PASSWORD",
    "STATS_PASSWORD_FILE",
    "ROUTER_METRICS_TLS_CERT_FILE",
    "ROUTER_METRICS_TLS_KEY_FILE",
    "ROUTER_METRICS_TLS_CIPHERS",
    "ROUTER_METRICS_TLS_MIN_VERSION",
    "ROUTER_METRICS_TLS_CURVES",
    "ROUTER_METRICS_READY_HTTP_URL",
    "ROUTER_METRICS_HAPROXY_SCRAPE_URI",
    "ROUTER_METRICS_HAPROXY_PID_FILE",
    "ROUTER_METRICS_HAPROXY_TIMEOUT",
    "ROUTER_METRICS_HAPROXY_BASE_SCRAPE_INTERVAL",
    "ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD",
    "ROUTER_METRICS_HAPROXY_EXPORTED",
];

fn count(value: &str) -> Option<usize> {
    grammar::parse_integer(value).and_then(|number| usize::try_from(number).ok())
}
