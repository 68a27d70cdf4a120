//! The variables of where the router listens (spec/route.md 17.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    super::{Kind, Outcome, RouterSettings, Row, show},
    row,
};
use crate::{
    model::{grammar, objects::ObjectKey},
    settings::parse,
};

const NOT_A_PORT: Outcome = Outcome::Noted("is not a port number; the default is used");
const NOT_AN_ADDRESS: Outcome = Outcome::Refused("expected ADDRESS:PORT, such as 127.0.0.1:1936");

/// Where two rows set the same thing, the later one wins.
pub const LISTENERS: &[Row] = &[
    row(
        "ROUTER_IP_V4_V6_MODE",
        "wildcard address of both ports: v4, v4v6, v6",
        Kind::Text(ip_mode),
    )
    .like("WHARF_HTTP"),
    row("ROUTER_SERVICE_HTTP_PORT", "port of plain HTTP", Kind::Text(http_port)).like("WHARF_HTTP"),
    row("ROUTER_SERVICE_HTTPS_PORT", "port of HTTPS", Kind::Text(https_port)).like("WHARF_HTTPS"),
    row("STATS_PORT", "port of the admin listener on every address", Kind::Text(stats_port))
        .flags(&["--stats-port"])
        .like("WHARF_ADMIN"),
    row("ROUTER_LISTEN_ADDR", "address of the admin listener", Kind::Text(admin))
        .flags(&["--listen-addr"])
        .like("WHARF_ADMIN"),
    row("WHARF_HTTP", "addresses of plain HTTP, separated by commas", Kind::List(',', http))
        .flags(&["--http"])
        .shows(|settings| show::list(&settings.http)),
    row("WHARF_HTTPS", "addresses of HTTPS, separated by commas", Kind::List(',', https))
        .flags(&["--https"])
        .shows(|settings| show::list(&settings.https)),
    row("WHARF_ADMIN", "address of the admin listener", Kind::Text(admin))
        .flags(&["--admin"])
        .shows(|settings| settings.admin.to_string()),
    row(
        "WHARF_ADMIN_ALLOW",
        "networks that may read all of the admin port when it is not on loopback",
        Kind::List(',', admin_allow),
    )
    .flags(&["--admin-allow"])
    .shows(|settings| show::list(&settings.admin_allow)),
    row("WHARF_DNS", "address of the DNS listener", Kind::Text(dns))
        .flags(&["--dns"])
        .shows(|settings| show::option(settings.dns.as_ref())),
    row(
        "WHARF_NODE_HEALTH",
        "address that answers a load balancer's checks like healthCheckNodePort of a node",
        Kind::Text(node_health),
    )
    .flags(&["--node-health"])
    .shows(|settings| show::option(settings.node_health.as_ref())),
    row(
        "WHARF_NODE_HEALTH_SERVICE",
        "NAMESPACE/NAME of the Service that --node-health answers for",
        Kind::Text(node_health_service),
    )
    .flags(&["--node-health-service"])
    .shows(|settings| settings.node_health_service.to_string()),
    row(
        "ROUTER_BIND_PORTS_AFTER_SYNC",
        "`true`: the traffic ports refuse connections until the first objects are served",
        Kind::Word(|settings, flag| settings.bind_after_sync = flag),
    )
    .flags(&["--bind-ports-after-sync"])
    .shows(|settings| settings.bind_after_sync.to_string()),
    row(
        "ROUTER_USE_PROXY_PROTOCOL",
        "both ports require a PROXY header",
        Kind::Bool(|settings, flag| settings.proxy_protocol = flag),
    )
    .flags(&["--proxy-protocol"])
    .shows(|settings| settings.proxy_protocol.to_string()),
    row(
        "ROUTER_DISABLE_HTTP2",
        "offers no HTTP/2, neither to clients nor to pods of reencrypt routes",
        Kind::Bool(|settings, flag| settings.disable_http2 = flag),
    )
    .shows(|settings| settings.disable_http2.to_string()),
    row(
        "WHARF_REDIRECT_HTTPS_PORT",
        "port that redirects to https name, when it is not 443",
        Kind::Text(redirect_https_port),
    )
    .flags(&["--redirect-https-port"])
    .shows(|settings| show::option(settings.redirect_https_port.as_ref())),
];

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

fn http(settings: &mut RouterSettings, value: &[&str]) -> Outcome {
    addresses(value, &mut settings.http)
}

fn https(settings: &mut RouterSettings, value: &[&str]) -> Outcome {
    addresses(value, &mut settings.https)
}

fn admin(settings: &mut RouterSettings, value: &str) -> Outcome {
    address(value, |address| settings.admin = address)
}

fn dns(settings: &mut RouterSettings, value: &str) -> Outcome {
    address(value, |address| settings.dns = Some(address))
}

fn node_health(settings: &mut RouterSettings, value: &str) -> Outcome {
    address(value, |address| settings.node_health = Some(address))
}

fn node_health_service(settings: &mut RouterSettings, value: &str) -> Outcome {
    let is_name = |name: &str| grammar::is_dns_label(name);
    match value.split_once('/') {
        Some((namespace, name)) if is_name(namespace) && is_name(name) => {
            settings.node_health_service = ObjectKey::new(namespace, name);
            Outcome::Used
        },
        _ => Outcome::Refused("expected NAMESPACE/NAME, such as openshift-ingress/router-default"),
    }
}

fn address(value: &str, set: impl FnOnce(SocketAddr)) -> Outcome {
    parse::listen_address(value).map_or(NOT_AN_ADDRESS, |address| {
        set(address);
        Outcome::Used
    })
}

fn admin_allow(settings: &mut RouterSettings, values: &[&str]) -> Outcome {
    let networks: Result<Vec<_>, _> =
        values.iter().filter(|value| !value.is_empty()).map(|value| value.parse()).collect();
    match networks {
        Ok(networks) => {
            settings.admin_allow = networks;
            Outcome::Used
        },
        Err(_) => Outcome::Refused("expected networks such as 10.0.0.0/8, separated by commas"),
    }
}

fn redirect_https_port(settings: &mut RouterSettings, value: &str) -> Outcome {
    port(value).map_or(Outcome::Refused("expected a port number"), |port| {
        settings.redirect_https_port = Some(port);
        Outcome::Used
    })
}

/// One address or several.
fn addresses(values: &[&str], listeners: &mut Vec<SocketAddr>) -> Outcome {
    let all: Option<Vec<_>> = values.iter().map(|value| parse::listen_address(value)).collect();
    match all {
        Some(all) => {
            *listeners = all;
            Outcome::Used
        },
        None => Outcome::Refused("expected ADDRESS:PORT, or several separated by commas"),
    }
}
