//! The variables of what becomes of requests (spec/route.md 17.4).

use std::path::PathBuf;

use super::{
    super::{Kind, Outcome, RouterSettings, Row, show},
    row,
};
use crate::{
    model::grammar,
    net::address_map::MapError,
    settings::{HeaderCase, compression::mime_types, upstream::UpstreamMode},
};

/// Where two rows set the same thing, the later one wins.
pub const TRAFFIC: &[Row] = &[
    row(
        "WHARF_PRESERVE_HEADER_CASE",
        "header names of HTTP/1 keep the case they were sent in",
        Kind::Bool(header_case),
    )
    .flags(&["--preserve-header-case"])
    .shows(|settings| (settings.header_case == HeaderCase::Kept).to_string()),
    row(
        "WHARF_ALLOW_LOOPBACK_ENDPOINTS",
        "keeps endpoints on loopback addresses, for test beds",
        Kind::Bool(|settings, flag| settings.allow_loopback_endpoints = flag),
    )
    .flags(&["--allow-loopback-endpoints"])
    .shows(|settings| settings.allow_loopback_endpoints.to_string()),
    row(
        "WHARF_UPSTREAM",
        "what is dialled for a Service: its `endpoints`, or its `cluster-ip`, behind which kube-proxy \
         chooses the pod",
        Kind::Text(upstream),
    )
    .flags(&["--upstream"])
    .shows(|settings| settings.upstream.mode.to_string()),
    row(
        "WHARF_VIP_MAP",
        "where cluster IPs are on this machine, such as 10.96.0.0/16=127.96.0.0/16, separated by commas",
        Kind::List(',', vip_map),
    )
    .flags(&["--vip-map"])
    .shows(|settings| show::list(&settings.upstream.vip_map)),
    row(
        "WHARF_RESOLVE_EXTERNAL_NAMES",
        "resolves ExternalName Services",
        Kind::Bool(|settings, flag| settings.resolve_external_names = flag),
    )
    .flags(&["--resolve-external-names"])
    .shows(|settings| settings.resolve_external_names.to_string()),
    row(
        "WHARF_NO_ACCESS_LOG",
        "writes no access log",
        Kind::Bool(|settings, flag| settings.access_log = !flag),
    )
    .flags(&["--no-access-log"])
    .shows(|settings| (!settings.access_log).to_string()),
    row(
        "ROUTER_ERRORFILE_503",
        "file with a whole HTTP response, sent where nothing can serve",
        Kind::Text(page_unavailable),
    )
    .shows(|settings| show::path(settings.page_unavailable.as_ref())),
    row(
        "ROUTER_ERRORFILE_404",
        "the same for requests that match no route, which get the 503 page without it",
        Kind::Text(page_not_found),
    )
    .shows(|settings| show::path(settings.page_not_found.as_ref())),
    row(
        "ROUTER_LOAD_BALANCE_ALGORITHM",
        "balancing of routes that choose none: roundrobin, leastconn, source, random",
        Kind::Text(balance),
    )
    .shows(|settings| settings.balance.clone()),
    row("ROUTER_TCP_BALANCE_SCHEME", "the same for passthrough routes", Kind::Text(tcp_balance))
        .shows(|settings| settings.tcp_balance.clone()),
    row(
        "ROUTER_COOKIE_NAME",
        "name of the stickiness cookie of routes that choose none",
        Kind::Text(cookie_name),
    )
    .shows(|settings| settings.cookie_name.clone()),
    row(
        "ROUTER_BACKEND_PROCESS_ENDPOINTS",
        "`shuffle`: the endpoints of a Service are in another order in each snapshot",
        Kind::Text(process_endpoints),
    )
    .shows(|settings| if settings.shuffle_endpoints { "shuffle" } else { "" }.to_owned()),
    row(
        "ROUTER_ENABLE_COMPRESSION",
        "compresses responses with gzip",
        Kind::Bool(|settings, flag| settings.compression.enabled = flag),
    )
    .shows(|settings| settings.compression.enabled.to_string()),
    row(
        "ROUTER_COMPRESSION_MIME",
        "what the Content-Type of a compressed response begins with, separated by blanks",
        Kind::Text(compression_mime),
    )
    .shows(|settings| settings.compression.words()),
    row(
        "WHARF_COMPRESSION_STREAMS",
        "responses that a worker compresses at once; more are sent as they are",
        Kind::Number(0, 65_536, |settings, value| settings.compression.streams = value as usize),
    )
    .flags(&["--compression-streams"])
    .shows(|settings| settings.compression.streams.to_string()),
    row(
        "WHARF_COMPAT_ALLOWLIST_FAIL_OPEN",
        "lets everybody in where an allow list is not understood, as OpenShift does",
        Kind::Bool(|settings, flag| settings.allow_list_fails_open = flag),
    )
    .flags(&["--compat-allowlist-fail-open"])
    .shows(|settings| settings.allow_list_fails_open.to_string()),
    row(
        "WHARF_REWRITE_KEEP_SLASH",
        "lets rewrite-target keep the slash that ends spec.path",
        Kind::Bool(|settings, flag| settings.rewrite_keeps_slash = flag),
    )
    .flags(&["--rewrite-keep-slash"])
    .shows(|settings| settings.rewrite_keeps_slash.to_string()),
];

const fn header_case(settings: &mut RouterSettings, kept: bool) {
    settings.header_case = if kept { HeaderCase::Kept } else { HeaderCase::Lower };
}

fn upstream(settings: &mut RouterSettings, value: &str) -> Outcome {
    match UpstreamMode::parse(value) {
        Some(mode) => {
            settings.upstream.mode = mode;
            Outcome::Used
        },
        None => Outcome::Refused("is neither endpoints nor cluster-ip"),
    }
}

fn vip_map(settings: &mut RouterSettings, values: &[&str]) -> Outcome {
    let maps = values.iter().filter(|value| !value.is_empty());
    match maps.map(|value| value.parse()).collect::<Result<_, MapError>>() {
        Ok(maps) => {
            settings.upstream.vip_map = maps;
            Outcome::Used
        },
        Err(error) => Outcome::Wrong(error.to_string()),
    }
}

fn compression_mime(settings: &mut RouterSettings, value: &str) -> Outcome {
    match mime_types(value) {
        Some(types) => {
            settings.compression.types = types;
            Outcome::Used
        },
        None => Outcome::Noted("has a quote that is not closed; the default is used"),
    }
}

fn balance(settings: &mut RouterSettings, value: &str) -> Outcome {
    algorithm(value, &mut settings.balance)
}

fn tcp_balance(settings: &mut RouterSettings, value: &str) -> Outcome {
    algorithm(value, &mut settings.tcp_balance)
}

/// [EP-4]: the one word that there is, in any case.
fn process_endpoints(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.shuffle_endpoints = value.eq_ignore_ascii_case("shuffle");
    match settings.shuffle_endpoints {
        true => Outcome::Used,
        false => Outcome::Noted("is not the word shuffle; endpoints keep their order"),
    }
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

fn cookie_name(settings: &mut RouterSettings, value: &str) -> Outcome {
    if !grammar::is_cookie_name(value) {
        return Outcome::Noted("is not made of letters, digits, - and _; the default is used");
    }
    value.clone_into(&mut settings.cookie_name);
    Outcome::Used
}

fn page_unavailable(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.page_unavailable = Some(PathBuf::from(value));
    Outcome::Used
}

fn page_not_found(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.page_not_found = Some(PathBuf::from(value));
    Outcome::Used
}
