//! The rows of TLS in the table of environment variables (spec/route.md 17.3).

use super::{Kind, Outcome, RouterSettings, Row, rows::row, show};
use crate::settings::tls::{ClientCertificates, TlsVersion};

/// TLS with clients. What is not understood stops the start: a policy that is silently weaker than
/// the one asked for is worse than none.
pub const TLS: &[Row] = &[
    row("SSL_MIN_VERSION", "oldest TLS version", Kind::Text(min_version))
        .shows(|settings| settings.tls.min_version.name().to_owned()),
    row("SSL_MAX_VERSION", "newest TLS version", Kind::Text(max_version))
        .shows(|settings| settings.tls.max_version.map_or("", TlsVersion::name).to_owned()),
    row(
        "ROUTER_CIPHERS",
        "modern, intermediate, old, or an OpenSSL cipher list for TLS 1.2",
        Kind::Text(|settings, value| text(&mut settings.tls.ciphers, value)),
    )
    .flags(&["--ciphers"])
    .shows(|settings| settings.tls.ciphers.clone()),
    row(
        "ROUTER_CIPHERSUITES",
        "suites of TLS 1.3, separated by colons",
        Kind::Text(|settings, value| text(&mut settings.tls.ciphersuites, value)),
    )
    .shows(|settings| settings.tls.ciphersuites.clone()),
    row(
        "ROUTER_CURVES",
        "groups of the key exchange, separated by colons",
        Kind::Text(|settings, value| text(&mut settings.tls.curves, value)),
    )
    .shows(|settings| settings.tls.curves.clone()),
    row(
        "ROUTER_MUTUAL_TLS_AUTH",
        "client certificates: none, optional, required",
        Kind::Text(client_certificates),
    )
    .shows(|settings| settings.tls.client_certificates.name().to_owned()),
    row(
        "ROUTER_MUTUAL_TLS_AUTH_CA",
        "PEM file with the authorities of client certificates",
        Kind::Text(|settings, value| {
            settings.tls.client_ca = Some(value.into());
            Outcome::Used
        }),
    )
    .shows(|settings| show::path(settings.tls.client_ca.as_ref())),
    row(
        "ROUTER_MUTUAL_TLS_AUTH_CRL",
        "file with the revocation lists of client certificates",
        Kind::Text(|settings, value| {
            settings.tls.client_crl = Some(value.into());
            Outcome::Used
        }),
    )
    .shows(|settings| show::path(settings.tls.client_crl.as_ref())),
    row(
        "ROUTER_MUTUAL_TLS_AUTH_FILTER",
        "pattern that the subject of a client certificate must contain",
        Kind::Text(|settings, value| text(&mut settings.tls.client_filter, value)),
    )
    .shows(|settings| settings.tls.client_filter.clone()),
    row(
        "ROUTER_MUTUAL_TLS_HEADER_FILTER",
        "deletes the X-SSL fields that clients send",
        Kind::Text(header_filter),
    )
    .shows(|settings| settings.tls.client_header_filter.to_string()),
    row(
        "WHARF_HTTP2_EVERYWHERE",
        "offers HTTP/2 with every certificate; 421 for hosts of another one",
        Kind::Bool(|settings, flag| settings.tls.http2_everywhere = flag),
    )
    .flags(&["--http2-everywhere"])
    .shows(|settings| settings.tls.http2_everywhere.to_string()),
];

fn text(place: &mut String, value: &str) -> Outcome {
    value.clone_into(place);
    Outcome::Used
}

fn min_version(settings: &mut RouterSettings, value: &str) -> Outcome {
    match TlsVersion::parse(value) {
        Some(version) => {
            settings.tls.min_version = version;
            if version < TlsVersion::V12 {
                return Outcome::Noted("is older than TLSv1.2, which is the oldest there is");
            }
            Outcome::Used
        },
        None => Outcome::Refused("expected TLSv1.2 or TLSv1.3"),
    }
}

fn max_version(settings: &mut RouterSettings, value: &str) -> Outcome {
    match TlsVersion::parse(value) {
        Some(version) => {
            settings.tls.max_version = Some(version);
            Outcome::Used
        },
        None => Outcome::Refused("expected TLSv1.2 or TLSv1.3"),
    }
}

fn client_certificates(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.tls.client_certificates = match value {
        "none" => ClientCertificates::None,
        "optional" => ClientCertificates::Optional,
        "required" => ClientCertificates::Required,
        _ => return Outcome::Refused("expected none, optional or required"),
    };
    Outcome::Used
}

/// Fails closed: only a clear no lets the fields of clients pass.
fn header_filter(settings: &mut RouterSettings, value: &str) -> Outcome {
    match crate::model::grammar::parse_bool(value) {
        Some(flag) => {
            settings.tls.client_header_filter = flag;
            Outcome::Used
        },
        None => Outcome::Noted("is not a boolean; the fields are deleted"),
    }
}
