//! The variables of how much there may be at once (spec/route.md 17.2).

use super::{
    super::{Kind, Outcome, RouterSettings, Row},
    NOT_A_COUNT, count, row,
};
use crate::{model::grammar, settings::NO_LIMIT};

/// Where two rows set the same thing, the later one wins.
pub const CAPACITY: &[Row] = &[
    row("ROUTER_MAX_CONNECTIONS", "connections at once", Kind::Text(max_connections))
        .flags(&["--max-connections"])
        .shows(shown_max_connections),
    row(
        "WHARF_MAX_CONNECTIONS_PER_SOURCE",
        "connections at once from an IPv4 address or an IPv6 /64; 0 for any number",
        Kind::Text(max_connections_per_source),
    )
    .flags(&["--max-connections-per-source"])
    .shows(|settings| settings.max_connections_per_source.to_string()),
    row(
        "WHARF_MAX_HANDSHAKES",
        "TLS handshakes that a worker answers before it looks after requests again",
        Kind::Text(max_handshakes),
    )
    .shows(|settings| settings.max_handshakes.to_string()),
    row(
        "WHARF_MAX_REQUESTS",
        "requests at once in one worker; more get 503",
        Kind::Text(max_requests),
    )
    .shows(|settings| settings.max_requests.to_string()),
    row(
        "WHARF_MAX_QUEUE",
        "requests that wait for one endpoint of a route with pod-concurrent-connections",
        Kind::Text(max_queue),
    )
    .shows(|settings| settings.max_queue.to_string()),
    row(
        "WHARF_POOL_CONNECTIONS",
        "pod connections without a request that a worker keeps",
        Kind::Text(pool_connections),
    )
    .shows(|settings| settings.pool_connections.to_string()),
];

/// `auto` and any other text means no limit but what descriptors and memory set.
fn max_connections(settings: &mut RouterSettings, value: &str) -> Outcome {
    let number = grammar::parse_integer(value).and_then(|number| usize::try_from(number).ok());
    let number = number.filter(|number| *number > 0);
    settings.max_connections = number.unwrap_or(NO_LIMIT);
    settings.fit_memory = number.is_none();
    Outcome::Used
}

fn shown_max_connections(settings: &RouterSettings) -> String {
    match settings.max_connections {
        NO_LIMIT => "auto".to_owned(),
        number => number.to_string(),
    }
}

fn max_connections_per_source(settings: &mut RouterSettings, value: &str) -> Outcome {
    count(value).map_or(Outcome::Noted("is not a number; there is no limit"), |number| {
        settings.max_connections_per_source = number;
        Outcome::Used
    })
}

fn max_handshakes(settings: &mut RouterSettings, value: &str) -> Outcome {
    count(value).filter(|number| *number > 0).map_or(NOT_A_COUNT, |number| {
        settings.max_handshakes = number;
        Outcome::Used
    })
}

fn max_requests(settings: &mut RouterSettings, value: &str) -> Outcome {
    count(value).filter(|number| *number > 0).map_or(NOT_A_COUNT, |number| {
        settings.max_requests = number;
        Outcome::Used
    })
}

fn max_queue(settings: &mut RouterSettings, value: &str) -> Outcome {
    count(value).map_or(NOT_A_COUNT, |number| {
        settings.max_queue = number;
        Outcome::Used
    })
}

fn pool_connections(settings: &mut RouterSettings, value: &str) -> Outcome {
    count(value).map_or(NOT_A_COUNT, |number| {
        settings.pool_connections = number;
        Outcome::Used
    })
}
