//! The variables of the admin port and its metrics (spec/route.md 17.5).

use super::{Kind, Outcome, RouterSettings, Row, rows::row};
use crate::{
    model::grammar,
    settings::{admin::Given, parse, tls::TlsVersion},
};

const NOT_A_DURATION: Outcome = Outcome::Refused("expected a duration with its unit, such as 5s");

/// Every variable of the admin port but its address. What is not understood stops the start, as with
/// OpenShift.
pub const ADMIN: &[Row] = &[
    row("ROUTER_METRICS_TYPE", "haproxy: health checks as OpenShift has them", Kind::Text(kind))
        .flags(&["--metrics-type"])
        .shows_text(),
    row(
        "STATS_USERNAME",
        "name of who may read the admin port from everywhere",
        Kind::Text(|settings, value| {
            settings.admin_port.username = Some(Given::Text(value.to_owned()));
            Outcome::Used
        }),
    )
    .flags(&["--stats-user"])
    .secret(),
    row(
        "STATS_USERNAME_FILE",
        "file with that name",
        Kind::Text(|settings, value| {
            settings.admin_port.username = Some(Given::File(value.into()));
            Outcome::Used
        }),
    )
    .flags(&["--stats-user-file"])
    .shows_text(),
    row(
        "STATS_PASSWORD",
        "password of who may read the admin port from everywhere",
        Kind::Text(|settings, value| {
            settings.admin_port.password = Some(Given::Text(value.to_owned()));
            Outcome::Used
        }),
    )
    .flags(&["--stats-password"])
    .secret(),
    row(
        "STATS_PASSWORD_FILE",
        "file with that password",
        Kind::Text(|settings, value| {
            settings.admin_port.password = Some(Given::File(value.into()));
            Outcome::Used
        }),
    )
    .flags(&["--stats-password-file"])
    .shows_text(),
    row(
        "ROUTER_METRICS_TLS_CERT_FILE",
        "PEM file, the certificate of the admin port, which then speaks TLS, too",
        Kind::Text(|settings, value| {
            settings.admin_port.certificate = Some(value.into());
            Outcome::Used
        }),
    )
    .shows_text(),
    row(
        "ROUTER_METRICS_TLS_KEY_FILE",
        "PEM file, its key",
        Kind::Text(|settings, value| {
            settings.admin_port.key = Some(value.into());
            Outcome::Used
        }),
    )
    .shows_text(),
    row(
        "ROUTER_METRICS_TLS_CIPHERS",
        "as ROUTER_CIPHERS, for the admin port",
        Kind::Text(|settings, value| {
            settings.admin_port.tls.ciphers = value.replace(',', ":");
            Outcome::Used
        }),
    )
    .shows_text(),
    row(
        "ROUTER_METRICS_TLS_MIN_VERSION",
        "as SSL_MIN_VERSION, for the admin port",
        Kind::Text(min_version),
    )
    .shows_text(),
    row(
        "ROUTER_METRICS_TLS_CURVES",
        "as ROUTER_CURVES, for the admin port",
        Kind::Text(|settings, value| {
            // Go's names for two of them.
            let curves = value.replace("CurveP256", "P-256").replace("CurveP384", "P-384");
            settings.admin_port.tls.curves = curves;
            Outcome::Used
        }),
    )
    .shows_text(),
    row(
        "ROUTER_METRICS_READY_HTTP_URL",
        "http URL that the ready check asks for instead of the router's own page",
        Kind::Text(ready_url),
    )
    .shows_text(),
    row(
        "WHARF_INTERNAL_HEALTH_ANYWHERE",
        "everybody may ask for /_______internal_router_healthz, not this machine alone",
        Kind::Bool(|settings, flag| settings.admin_port.health_anywhere = flag),
    )
    .shows(|settings| settings.admin_port.health_anywhere.to_string()),
    row(
        "ROUTER_METRICS_HAPROXY_SCRAPE_URI",
        "checked; there is no HAProxy to scrape here",
        Kind::Text(scrape_uri),
    )
    .nothing(),
    row(
        "ROUTER_METRICS_HAPROXY_PID_FILE",
        "accepted; haproxy_process_* are of this process",
        Kind::Text(|_, _| Outcome::Used),
    )
    .nothing(),
    row(
        "ROUTER_METRICS_HAPROXY_TIMEOUT",
        "checked; there is no HAProxy to wait for here",
        Kind::Text(|_, value| match parse::go_duration(value) {
            Some(_) => Outcome::Used,
            None => NOT_A_DURATION,
        }),
    )
    .nothing(),
    row(
        "ROUTER_METRICS_HAPROXY_BASE_SCRAPE_INTERVAL",
        "how long metrics are kept for the next scrape, and as much for every 1000 servers",
        Kind::Text(scrape_interval),
    )
    .shows_text(),
    row(
        "ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD",
        "with more servers there are no metrics of servers; without it there are always",
        Kind::Text(server_threshold),
    )
    .shows_text(),
    row(
        "ROUTER_METRICS_HAPROXY_EXPORTED",
        "columns of HAProxy's CSV that become metrics, separated by commas",
        Kind::Text(exported),
    )
    .shows_text(),
];

fn kind(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.admin_port.haproxy = value == "haproxy";
    if settings.admin_port.haproxy { Outcome::Used } else { Outcome::Refused("expected haproxy") }
}

/// Also in Go's words, as OpenShift's operator has them.
fn min_version(settings: &mut RouterSettings, value: &str) -> Outcome {
    let version = match value {
        "VersionTLS10" => Some(TlsVersion::V10),
        "VersionTLS11" => Some(TlsVersion::V11),
        "VersionTLS12" => Some(TlsVersion::V12),
        "VersionTLS13" => Some(TlsVersion::V13),
        _ => TlsVersion::parse(value),
    };
    match version {
        Some(version) => {
            settings.admin_port.tls.min_version = version;
            Outcome::Used
        },
        None => Outcome::Refused("expected TLSv1.2 or TLSv1.3"),
    }
}

fn ready_url(settings: &mut RouterSettings, value: &str) -> Outcome {
    let url = value.parse::<http::Uri>().ok();
    let fits = |url: &http::Uri| {
        let plain = url.scheme() == Some(&http::uri::Scheme::HTTP);
        plain && url.host().is_some_and(|host| !host.is_empty())
    };
    match url.filter(fits) {
        Some(url) => {
            settings.admin_port.ready_url = Some(url);
            Outcome::Used
        },
        None => Outcome::Refused("expected a URL such as http://localhost:80/healthz"),
    }
}

fn scrape_uri(_: &mut RouterSettings, value: &str) -> Outcome {
    let known = ["http://", "https://", "file://", "unix://"];
    if known.iter().any(|scheme| value.starts_with(scheme)) {
        return Outcome::Used;
    }
    Outcome::Refused("expected a URL of http, https, file or unix")
}

fn scrape_interval(settings: &mut RouterSettings, value: &str) -> Outcome {
    match parse::go_duration(value) {
        Some(interval) => {
            settings.admin_port.scrape_interval = Some(interval);
            Outcome::Used
        },
        None => NOT_A_DURATION,
    }
}

/// Zero is no threshold, as if nothing was set.
fn server_threshold(settings: &mut RouterSettings, value: &str) -> Outcome {
    match grammar::parse_integer(value).map(usize::try_from) {
        Some(Ok(threshold)) => {
            settings.admin_port.server_threshold = Some(threshold).filter(|count| *count > 0);
            Outcome::Used
        },
        _ => Outcome::Refused("expected a number of servers"),
    }
}

fn exported(settings: &mut RouterSettings, value: &str) -> Outcome {
    let columns = value.split(',').map(|column| column.trim().parse::<u16>().ok());
    match columns.collect() {
        Some(columns) => {
            settings.admin_port.exported = Some(columns);
            Outcome::Used
        },
        None => Outcome::Refused("expected column numbers separated by commas, such as 4,7,17"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{quiet, read};
    use super::*;

    #[test]
    fn a_file_wins_over_a_word() {
        let settings = quiet(&[
            ("STATS_USERNAME_FILE", "/run/user"),
            ("STATS_USERNAME", "admin"),
            ("STATS_PASSWORD", "secret"),
        ]);
        assert_eq!(settings.admin_port.username, Some(Given::File("/run/user".into())));
        assert_eq!(settings.admin_port.password, Some(Given::Text("secret".to_owned())));
    }

    /// [MET-1, MET-3, MET-4]
    #[test]
    fn met_1_what_is_shown_and_how_often_is_read() {
        let settings = quiet(&[
            ("ROUTER_METRICS_TYPE", "haproxy"),
            ("ROUTER_METRICS_HAPROXY_EXPORTED", "4, 7,17"),
            ("ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD", "9"),
            ("ROUTER_METRICS_HAPROXY_BASE_SCRAPE_INTERVAL", "1m"),
            ("ROUTER_METRICS_HAPROXY_SCRAPE_URI", "unix:///run/haproxy.sock"),
            ("ROUTER_METRICS_HAPROXY_PID_FILE", "/run/haproxy.pid"),
            ("ROUTER_METRICS_HAPROXY_TIMEOUT", "5s"),
            ("ROUTER_METRICS_READY_HTTP_URL", "http://localhost:8080/ready"),
        ])
        .admin_port;
        assert!(settings.haproxy);
        assert_eq!(settings.exported.as_deref(), Some(&[4, 7, 17][..]));
        assert_eq!(settings.server_threshold, Some(9));
        assert_eq!(settings.scrape_interval, Some(Duration::from_secs(60)));
        assert_eq!(settings.ready_url.unwrap().path(), "/ready");
        let zero = quiet(&[("ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD", "0")]);
        assert_eq!(zero.admin_port.server_threshold, None);
    }

    /// [ADMIN-1]
    #[test]
    fn admin_1_the_tls_of_the_port_has_settings_of_its_own() {
        let settings = quiet(&[
            ("ROUTER_METRICS_TLS_CERT_FILE", "/tls.crt"),
            ("ROUTER_METRICS_TLS_KEY_FILE", "/tls.key"),
            ("ROUTER_METRICS_TLS_MIN_VERSION", "VersionTLS13"),
            ("ROUTER_METRICS_TLS_CURVES", "X25519:CurveP256"),
            ("ROUTER_METRICS_TLS_CIPHERS", "modern"),
        ]);
        let port = settings.admin_port;
        assert_eq!(port.certificate.as_deref(), Some(std::path::Path::new("/tls.crt")));
        assert_eq!(port.key.as_deref(), Some(std::path::Path::new("/tls.key")));
        assert_eq!(port.tls.min_version, TlsVersion::V13);
        assert_eq!((&*port.tls.curves, &*port.tls.ciphers), ("X25519:P-256", "modern"));
        assert_eq!(settings.tls.min_version, TlsVersion::V12);
    }

    /// Section 17.5: what is malformed stops the start.
    #[test]
    fn what_is_malformed_stops_the_start() {
        for (name, value) in [
            ("ROUTER_METRICS_TYPE", "nginx"),
            ("ROUTER_METRICS_HAPROXY_EXPORTED", "4,x"),
            ("ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD", "many"),
            ("ROUTER_METRICS_HAPROXY_SERVER_THRESHOLD", "-1"),
            ("ROUTER_METRICS_HAPROXY_BASE_SCRAPE_INTERVAL", "5"),
            ("ROUTER_METRICS_HAPROXY_TIMEOUT", "soon"),
            ("ROUTER_METRICS_HAPROXY_SCRAPE_URI", "ftp://a"),
            ("ROUTER_METRICS_READY_HTTP_URL", "https://a/"),
            ("ROUTER_METRICS_READY_HTTP_URL", "/ready"),
            ("ROUTER_METRICS_TLS_MIN_VERSION", "1.2"),
        ] {
            assert!(read(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
