//! The rows of the table of environment variables.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{Kind, Outcome, RouterSettings, Row};
use crate::{
    model::grammar,
    settings::{DefaultCert, HeaderCase, NO_LIMIT, parse},
};

const NOT_A_PORT: Outcome = Outcome::Noted("is not a port number; the default is used");
const NOT_A_COUNT: Outcome = Outcome::Noted("is not a positive number; the default is used");
const NOT_SECONDS: Outcome = Outcome::Noted("is not a number of seconds; the default is used");
const NOT_AN_ADDRESS: Outcome = Outcome::Refused("expected ADDRESS:PORT, such as 127.0.0.1:1936");

pub(super) const fn row(name: &'static str, meaning: &'static str, kind: Kind) -> Row {
    Row { name, meaning, kind }
}

/// Every variable that is honoured, but for those of HTTP/2 and of admission. Where two set the same thing, the later row wins.
pub const ENV: &[Row] = &[
    row(
        "ROUTER_IP_V4_V6_MODE",
        "wildcard address of both ports: v4, v4v6, v6",
        Kind::Text(ip_mode),
    ),
    row("ROUTER_SERVICE_HTTP_PORT", "port of plain HTTP", Kind::Text(http_port)),
    row("ROUTER_SERVICE_HTTPS_PORT", "port of HTTPS", Kind::Text(https_port)),
    row("STATS_PORT", "port of the admin listener on every address", Kind::Text(stats_port)),
    row("ROUTER_LISTEN_ADDR", "address of the admin listener", Kind::Text(admin)),
    row(
        "WHARF_MANIFESTS",
        "manifest files and folders, separated by colons",
        Kind::Text(manifests),
    ),
    row("WHARF_HTTP", "addresses of plain HTTP, separated by commas", Kind::Text(http)),
    row("WHARF_HTTPS", "addresses of HTTPS, separated by commas", Kind::Text(https)),
    row("WHARF_ADMIN", "address of the admin listener", Kind::Text(admin)),
    row("WHARF_DNS", "address of the DNS listener", Kind::Text(dns)),
    row(
        "ROUTER_BIND_PORTS_AFTER_SYNC",
        "`true`: the traffic ports refuse connections until the first objects are served",
        Kind::Text(bind_after_sync),
    ),
    row(
        "WHARF_PRESERVE_HEADER_CASE",
        "header names of HTTP/1 keep the case they were sent in",
        Kind::Bool(header_case),
    ),
    row("ROUTER_THREADS", "worker threads", Kind::Text(workers)),
    row("WHARF_WORKERS", "worker threads", Kind::Text(workers)),
    row(
        "ROUTER_USE_PROXY_PROTOCOL",
        "both ports require a PROXY header",
        Kind::Bool(|settings, flag| settings.proxy_protocol = flag),
    ),
    row(
        "DEFAULT_CERTIFICATE_DIR",
        "folder with tls.crt and tls.key, the default certificate",
        Kind::Text(default_cert),
    ),
    row(
        "DEFAULT_CERTIFICATE_PATH",
        "PEM file, the default certificate with its key",
        Kind::Text(default_cert),
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
        "DEFAULT_DESTINATION_CA_PATH",
        "PEM file, the CA of pods of reencrypt routes that name none",
        Kind::Text(destination_ca),
    ),
    row(
        "WHARF_REENCRYPT_SNI",
        "tells pods of reencrypt routes the name SERVICE.NAMESPACE.svc",
        Kind::Bool(|settings, flag| settings.reencrypt_sni = flag),
    ),
    row(
        "DEFAULT_CERTIFICATE",
        "PEM text, the default certificate with its key",
        Kind::Text(default_cert_text),
    ),
    row(
        "EXTENDED_VALIDATION",
        "refuses routes with certificates or keys that are not valid",
        Kind::Bool(|settings, flag| settings.extended_validation = flag),
    ),
    row(
        "ROUTER_ENABLE_EXTERNAL_CERTIFICATE",
        "honours externalCertificate of routes",
        Kind::Bool(|settings, flag| settings.external_certificates = flag),
    ),
    row(
        "ROUTER_STRICT_SNI",
        "refuses TLS handshakes for names without a certificate",
        Kind::Bool(|settings, flag| settings.strict_sni = flag),
    ),
    row("ROUTER_SERVICE_NAME", "name in route status", Kind::Text(router_name)),
    row("ROUTER_SERVICE_NAMESPACE", "required with ROUTER_SERVICE_NAME", Kind::Text(accept)),
    row(
        "ROUTER_UPDATE_STATUS",
        "this router's entry is in route status",
        Kind::Bool(|settings, flag| settings.update_status = flag),
    ),
    row(
        "UPGRADE_VALIDATION",
        "takes the condition UnservableInFutureVersions away where nothing is found",
        Kind::Bool(|settings, flag| settings.upgrade.validation = flag),
    ),
    row(
        "DEBUG_UPGRADE_VALIDATION_FORCE_ADD_CONDITION",
        "gives every admitted route the condition UnservableInFutureVersions",
        Kind::Bool(|settings, flag| settings.upgrade.force_add = flag),
    ),
    row(
        "DEBUG_UPGRADE_VALIDATION_FORCE_REMOVE_CONDITION",
        "accepted; validation finds nothing and takes the condition away as it is",
        Kind::Text(accept),
    ),
    row(
        "ROUTER_DOMAIN",
        "suffix of generated hosts, and what a spec.subdomain stands before",
        Kind::Text(domain),
    ),
    row(
        "ROUTER_ALLOW_WILDCARD_ROUTES",
        "admits wildcardPolicy: Subdomain",
        Kind::Bool(|settings, flag| settings.allow_wildcard_routes = flag),
    ),
    row(
        "ROUTER_DISABLE_NAMESPACE_OWNERSHIP_CHECK",
        "namespaces may share a host",
        Kind::Bool(|settings, flag| settings.disable_namespace_ownership_check = flag),
    ),
    row(
        "ROUTER_DISABLE_HTTP2",
        "offers no HTTP/2, neither to clients nor to pods of reencrypt routes",
        Kind::Bool(|settings, flag| settings.disable_http2 = flag),
    ),
    row(
        "ROUTER_LOAD_BALANCE_ALGORITHM",
        "balancing of routes that choose none: roundrobin, leastconn, source, random",
        Kind::Text(balance),
    ),
    row("ROUTER_TCP_BALANCE_SCHEME", "the same for passthrough routes", Kind::Text(tcp_balance)),
    row("ROUTER_MAX_CONNECTIONS", "connections at once", Kind::Text(max_connections)),
    row(
        "WHARF_MAX_CONNECTIONS_PER_SOURCE",
        "connections at once from an IPv4 address or an IPv6 /64; 0 for any number",
        Kind::Text(max_connections_per_source),
    ),
    row(
        "WHARF_MAX_HANDSHAKES",
        "TLS handshakes that a worker answers before it looks after requests again",
        Kind::Text(max_handshakes),
    ),
    row(
        "WHARF_MAX_REQUESTS",
        "requests at once in one worker; more get 503",
        Kind::Text(max_requests),
    ),
    row(
        "WHARF_MAX_QUEUE",
        "requests that wait for one endpoint of a route with pod-concurrent-connections",
        Kind::Text(max_queue),
    ),
    row(
        "ROUTER_DEFAULT_CONNECT_TIMEOUT",
        "connecting to a pod",
        Kind::Duration(|settings, value| settings.timeouts.connect = value),
    ),
    row(
        "ROUTER_DEFAULT_CLIENT_TIMEOUT",
        "client inactivity",
        Kind::Duration(|settings, value| settings.timeouts.client = value),
    ),
    row(
        "ROUTER_DEFAULT_SERVER_TIMEOUT",
        "pod inactivity",
        Kind::Duration(|settings, value| settings.timeouts.server = value),
    ),
    row(
        "ROUTER_DEFAULT_TUNNEL_TIMEOUT",
        "inactivity of a WebSocket or passthrough connection",
        Kind::Duration(|settings, value| settings.timeouts.tunnel = value),
    ),
    row(
        "ROUTER_CLIENT_FIN_TIMEOUT",
        "silence of a tunnel whose client has closed",
        Kind::Duration(|settings, value| settings.timeouts.client_fin = value),
    ),
    row(
        "ROUTER_DEFAULT_SERVER_FIN_TIMEOUT",
        "silence of a tunnel whose pod has closed",
        Kind::Duration(|settings, value| settings.timeouts.server_fin = value),
    ),
    row(
        "WHARF_EXPECT_TIMEOUT",
        "how long a pod may keep Expect: 100-continue waiting",
        Kind::Duration(|settings, value| settings.timeouts.expect = value),
    ),
    row(
        "WHARF_PARK_TIMEOUT",
        "idle time after which a client connection gives its buffers back",
        Kind::Duration(|settings, value| settings.timeouts.park = value),
    ),
    row(
        "WHARF_POOL_IDLE_TIMEOUT",
        "pod connection without a request",
        Kind::Duration(|settings, value| settings.timeouts.pool_idle = value),
    ),
    row(
        "WHARF_POOL_MAX_AGE",
        "age at which a pod connection takes no further request",
        Kind::Duration(|settings, value| settings.timeouts.pool_age = value),
    ),
    row(
        "WHARF_POOL_CONNECTIONS",
        "pod connections without a request that a worker keeps",
        Kind::Text(pool_connections),
    ),
    row(
        "ROUTER_SLOWLORIS_TIMEOUT",
        "receiving a request head; the TLS handshake",
        Kind::Duration(|settings, value| {
            settings.timeouts.head = value;
            settings.timeouts.handshake = value;
        }),
    ),
    row(
        "ROUTER_SLOWLORIS_HTTP_KEEPALIVE",
        "between two requests of a connection",
        Kind::Duration(|settings, value| settings.timeouts.keep_alive = value),
    ),
    row(
        "ROUTER_BACKEND_CHECK_INTERVAL",
        "between two health checks of an endpoint",
        Kind::Duration(|settings, value| settings.timeouts.check_interval = value),
    ),
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

/// Variables of OpenShift's router that do nothing here yet (spec/route.md 17).
pub const NOT_YET: &[&str] = &[
    // 17.1
    "ROUTER_WATCH_ENDPOINTS",
    "KUBERNETES_MASTER",
    "OPENSHIFT_ON_PANIC",
    "OPENSHIFT_PROFILE",
    // 17.2
    "COMMIT_INTERVAL",
    "ROUTER_BIND_PORTS_BEFORE_SYNC",
    "ROUTER_HAPROXY_CONFIG_MANAGER",
    "ROUTER_MAX_DYNAMIC_SERVERS",
    "ROUTER_BLUEPRINT_ROUTE_NAMESPACE",
    "ROUTER_BLUEPRINT_ROUTE_LABELS",
    "ROUTER_BLUEPRINT_ROUTE_POOL_SIZE",
    "HAPROXY_MAX_SHUTDOWN_TIMEOUT",
    "ROUTER_SHUTDOWN",
    "ROUTER_HARD_STOP_AFTER",
    "ROUTER_HAPROXY_ADMIN_UNIX_SOCKET",
    "ROUTER_BUF_SIZE",
    "ROUTER_MAX_REWRITE_SIZE",
    "ROUTER_HAPROXY_CONTSTATS",
    "ROUTER_ABORT_ON_CLOSE",
    "ROUTER_IDLE_CLOSE_ON_RESPONSE",
    // 17.3
    "ROUTER_INSPECT_DELAY",
    // 17.4
    "ROUTER_BACKEND_PROCESS_ENDPOINTS",
    "ROUTER_COOKIE_NAME",
    "ROUTER_SET_FORWARDED_HEADERS",
    "ROUTER_H1_CASE_ADJUST",
    "ROUTER_HTTP_REQUEST_HEADERS",
    "ROUTER_HTTP_RESPONSE_HEADERS",
    "ROUTER_UNIQUE_ID_FORMAT",
    "ROUTER_UNIQUE_ID_HEADER_NAME",
    "ROUTER_ENABLE_COMPRESSION",
    "ROUTER_COMPRESSION_MIME",
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

const fn header_case(settings: &mut RouterSettings, kept: bool) {
    settings.header_case = if kept { HeaderCase::Kept } else { HeaderCase::Lower };
}

/// This one word, and no other spelling of it [PIPE-2].
fn bind_after_sync(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.bind_after_sync = value == "true";
    Outcome::Used
}

fn accept(_: &mut RouterSettings, _: &str) -> Outcome {
    Outcome::Used
}

/// [LSN-2]: an unknown value means `v4`. IPv6 sockets never accept IPv4 (`net::listen`).
fn ip_mode(settings: &mut RouterSettings, value: &str) -> Outcome {
    let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let (families, outcome): (&[IpAddr], _) = match value {
        "v4" => (&[v4], Outcome::Used),
        "v6" => (&[v6], Outcome::Used),
        "v4v6" => (&[v4, v6], Outcome::Used),
        _ => (&[v4], Outcome::Noted("is none of v4, v4v6 and v6; v4 is used")),
    };
    for listeners in [&mut settings.http, &mut settings.https] {
        let port = listeners.first().map_or(0, SocketAddr::port);
        *listeners = families.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
    }
    outcome
}

fn port(value: &str) -> Option<u16> {
    grammar::parse_integer(value)
        .and_then(|number| u16::try_from(number).ok())
        .filter(|port| *port != 0)
}

fn http_port(settings: &mut RouterSettings, value: &str) -> Outcome {
    port(value).map_or(NOT_A_PORT, |port| {
        settings.http.iter_mut().for_each(|address| address.set_port(port));
        Outcome::Used
    })
}

fn https_port(settings: &mut RouterSettings, value: &str) -> Outcome {
    port(value).map_or(NOT_A_PORT, |port| {
        settings.https.iter_mut().for_each(|address| address.set_port(port));
        Outcome::Used
    })
}

/// Zero leaves the admin listener where it is; anything that is no port stops the start.
fn stats_port(settings: &mut RouterSettings, value: &str) -> Outcome {
    match grammar::parse_integer(value).map(u16::try_from) {
        Some(Ok(0)) => Outcome::Used,
        Some(Ok(port)) => {
            settings.admin = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port);
            Outcome::Used
        },
        _ => Outcome::Refused("expected a port number"),
    }
}

fn manifests(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.manifests = std::env::split_paths(value).collect();
    Outcome::Used
}

fn http(settings: &mut RouterSettings, value: &str) -> Outcome {
    addresses(value, &mut settings.http)
}

fn https(settings: &mut RouterSettings, value: &str) -> Outcome {
    addresses(value, &mut settings.https)
}

fn admin(settings: &mut RouterSettings, value: &str) -> Outcome {
    address(value, |address| settings.admin = address)
}

fn dns(settings: &mut RouterSettings, value: &str) -> Outcome {
    address(value, |address| settings.dns = Some(address))
}

fn address(value: &str, set: impl FnOnce(SocketAddr)) -> Outcome {
    parse::listen_address(value).map_or(NOT_AN_ADDRESS, |address| {
        set(address);
        Outcome::Used
    })
}

/// One address or several, separated by commas.
fn addresses(value: &str, listeners: &mut Vec<SocketAddr>) -> Outcome {
    let all: Option<Vec<_>> = value.split(',').map(str::trim).map(parse::listen_address).collect();
    match all {
        Some(all) => {
            *listeners = all;
            Outcome::Used
        },
        None => Outcome::Refused("expected ADDRESS:PORT, or several separated by commas"),
    }
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

fn workers(settings: &mut RouterSettings, value: &str) -> Outcome {
    match grammar::parse_integer(value).and_then(|number| usize::try_from(number).ok()) {
        Some(number @ 1..=1024) => {
            settings.workers = number;
            Outcome::Used
        },
        _ => NOT_A_COUNT,
    }
}

fn default_cert(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.default_cert = Some(DefaultCert::Path(PathBuf::from(value)));
    Outcome::Used
}

fn default_cert_text(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.default_cert = Some(DefaultCert::Text(value.to_owned()));
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

fn destination_ca(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.destination_ca = Some(PathBuf::from(value));
    Outcome::Used
}

fn router_name(settings: &mut RouterSettings, value: &str) -> Outcome {
    value.clone_into(&mut settings.router_name);
    Outcome::Used
}

fn domain(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.domain = value.to_ascii_lowercase();
    Outcome::Used
}

/// `auto` and any other text means no limit but what descriptors and memory set.
fn max_connections(settings: &mut RouterSettings, value: &str) -> Outcome {
    let number = grammar::parse_integer(value).and_then(|number| usize::try_from(number).ok());
    let number = number.filter(|number| *number > 0);
    settings.max_connections = number.unwrap_or(NO_LIMIT);
    settings.fit_memory = number.is_none();
    Outcome::Used
}

fn count(value: &str) -> Option<usize> {
    grammar::parse_integer(value).and_then(|number| usize::try_from(number).ok())
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
