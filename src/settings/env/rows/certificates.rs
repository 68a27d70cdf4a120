//! The variables of certificates and what of them is checked (spec/route.md 17.1, 17.3).

use std::path::PathBuf;

use super::{
    super::{Kind, Outcome, RouterSettings, Row, show},
    row,
};
use crate::settings::DefaultCert;

/// Where two rows set the same thing, the later one wins.
pub const CERTIFICATES: &[Row] = &[
    row(
        "DEFAULT_CERTIFICATE_DIR",
        "folder with tls.crt and tls.key, the default certificate",
        Kind::Text(default_cert),
    )
    .flags(&["--default-certificate-dir"])
    .like("DEFAULT_CERTIFICATE_PATH"),
    row(
        "DEFAULT_CERTIFICATE_PATH",
        "PEM file, the default certificate with its key",
        Kind::Text(default_cert),
    )
    .flags(&["--default-cert", "--default-certificate-path"])
    .shows(default_cert_path),
    row(
        "DEFAULT_DESTINATION_CA_PATH",
        "PEM file, the CA of pods of reencrypt routes that name none",
        Kind::Text(destination_ca),
    )
    .flags(&["--default-destination-ca", "--default-destination-ca-path"])
    .shows(|settings| show::path(settings.destination_ca.as_ref())),
    row(
        "WHARF_REENCRYPT_SNI",
        "tells pods of reencrypt routes the name SERVICE.NAMESPACE.svc",
        Kind::Bool(|settings, flag| settings.reencrypt_sni = flag),
    )
    .flags(&["--reencrypt-sni"])
    .shows(|settings| settings.reencrypt_sni.to_string()),
    row(
        "DEFAULT_CERTIFICATE",
        "PEM text, the default certificate with its key",
        Kind::Text(default_cert_text),
    )
    .flags(&["--default-certificate"])
    .secret(),
    row(
        "EXTENDED_VALIDATION",
        "refuses routes with certificates or keys that are not valid",
        Kind::Bool(|settings, flag| settings.extended_validation = flag),
    )
    .flags(&["--extended-validation"])
    .shows(|settings| settings.extended_validation.to_string()),
    row(
        "ROUTER_ENABLE_EXTERNAL_CERTIFICATE",
        "honours externalCertificate of routes",
        Kind::Bool(|settings, flag| settings.external_certificates = flag),
    )
    .flags(&["--allow-external-certificates"])
    .shows(|settings| settings.external_certificates.to_string()),
    row(
        "ROUTER_STRICT_SNI",
        "refuses TLS handshakes for names without a certificate",
        Kind::Bool(|settings, flag| settings.strict_sni = flag),
    )
    .flags(&["--strict-sni"])
    .shows(|settings| settings.strict_sni.to_string()),
];

fn default_cert(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.default_cert = Some(DefaultCert::Path(PathBuf::from(value)));
    Outcome::Used
}

fn default_cert_path(settings: &RouterSettings) -> String {
    match &settings.default_cert {
        Some(DefaultCert::Path(path)) => path.display().to_string(),
        Some(DefaultCert::Text(_)) | None => String::new(),
    }
}

fn default_cert_text(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.default_cert = Some(DefaultCert::Text(value.to_owned()));
    Outcome::Used
}

fn destination_ca(settings: &mut RouterSettings, value: &str) -> Outcome {
    settings.destination_ca = Some(PathBuf::from(value));
    Outcome::Used
}
