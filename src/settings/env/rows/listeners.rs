//! The variables of where the router listens (spec/route.md 17.3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{
    super::{Kind, Outcome, RouterSettings, Row},
    row,
};
use crate::{model::grammar, settings::parse};

const NOT_A_PORT: Outcome = Outcome::Noted("is not a port number; the default is used");
const NOT_AN_ADDRESS: Outcome = Outcome::Refused("expected ADDRESS:PORT, such as 127.0.0.1:1936");

/// Where two rows set the same thing, the later one wins.
pub const LISTENERS: &[Row] = &[
    row(
        "ROUTER_IP_V4_V6_MODE",
        "wildcard address of both ports: v4, v4v6, v6",
        Kind::Text(ip_mode),
    ),
    row("ROUTER_SERVICE_HTTP_PORT", "port of plain HTTP", Kind::Text(http_port)),
    row("ROUTER_SERVICE_HTTPS_PORT", "port of HTTPS", Kind::Text(https_port)),
    row("STATS_PORT", "port of the admin listener on every address", Kind::Text(stats_port)),
    row("ROUTER_LISTEN_ADDR", "address of the admin listener", Kind::Text(admin)),
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
        "ROUTER_USE_PROXY_PROTOCOL",
        "both ports require a PROXY header",
        Kind::Bool(|settings, flag| settings.proxy_protocol = flag),
    ),
    row(
        "ROUTER_DISABLE_HTTP2",
        "offers no HTTP/2, neither to clients nor to pods of reencrypt routes",
        Kind::Bool(|settings, flag| settings.disable_http2 = flag),
    ),
];

/// This one word, and no other spelling of it [PIPE-2].
fn bind_after_sync(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.bind_after_sync = value == "true";
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
