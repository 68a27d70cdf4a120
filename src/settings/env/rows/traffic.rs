//! The variables of what becomes of requests (spec/route.md 17.4).

use std::path::PathBuf;

use super::{
    super::{Kind, Outcome, RouterSettings, Row},
    row,
};
use crate::settings::HeaderCase;

/// Where two rows set the same thing, the later one wins.
pub const TRAFFIC: &[Row] = &[
    row(
        "WHARF_PRESERVE_HEADER_CASE",
        "header names of HTTP/1 keep the case they were sent in",
        Kind::Bool(header_case),
    ),
    row(
        "ROUTER_ERRORFILE_503",
        "file with a whole HTTP response, sent where nothing can serve",
        Kind::Text(page_unavailable),
    ),
    row(
        "ROUTER_ERRORFILE_404",
        "the same for requests that match no route, which get the 503 page without it",
        Kind::Text(page_not_found),
    ),
    row(
        "ROUTER_LOAD_BALANCE_ALGORITHM",
        "balancing of routes that choose none: roundrobin, leastconn, source, random",
        Kind::Text(balance),
    ),
    row("ROUTER_TCP_BALANCE_SCHEME", "the same for passthrough routes", Kind::Text(tcp_balance)),
];

const fn header_case(settings: &mut RouterSettings, kept: bool) {
    settings.header_case = if kept { HeaderCase::Kept } else { HeaderCase::Lower };
}

fn balance(settings: &mut RouterSettings, value: &str) -> Outcome {
    algorithm(value, &mut settings.balance)
}

fn tcp_balance(settings: &mut RouterSettings, value: &str) -> Outcome {
    algorithm(value, &mut settings.tcp_balance)
}

fn algorithm(value: &str, place: &mut String) -> Outcome {
    match value {
        "roundrobin" | "leastconn" | "source" | "random" => {
            value.clone_into(place);
            Outcome::Used
        },
        _ => {
            Outcome::Noted("is none of roundrobin, leastconn, source, random; the default is used")
        },
    }
}

fn page_unavailable(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.page_unavailable = Some(PathBuf::from(value));
    Outcome::Used
}

fn page_not_found(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.page_not_found = Some(PathBuf::from(value));
    Outcome::Used
}
