//! The variables of certificates and what of them is checked (spec/route.md 17.1, 17.3).

use std::path::PathBuf;

use super::{
    super::{Kind, Outcome, RouterSettings, Row},
    row,
};
use crate::settings::DefaultCert;

/// Where two rows set the same thing, the later one wins.
pub const CERTIFICATES: &[Row] = &[
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
];

fn default_cert(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.default_cert = Some(DefaultCert::Path(PathBuf::from(value)));
    Outcome::Used
}

fn default_cert_text(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.default_cert = Some(DefaultCert::Text(value.to_owned()));
    Outcome::Used
}

fn destination_ca(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.destination_ca = Some(PathBuf::from(value));
    Outcome::Used
}
