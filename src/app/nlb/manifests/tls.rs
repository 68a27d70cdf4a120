//! The TLS listeners of a Service: which ports are some, and with what (A.9, A.14).
//!
//! Called by `service`. Certificates are named by ARN; the files behind them are those of the command
//! line, as for the API. Always holds: a port that shall end TLS and cannot is left out, and is never
//! a listener of plain TCP.

use serde_json::{Map, Value, json};

use super::{
    Controller, Report,
    annotations::{field, list},
    service::Source,
};
use crate::{
    model::{finding::codes, service::ServicePort},
    nlb::config::Protocol,
};

/// What a TLS listener has that others have not, in the words of the document; none for a Service
/// without certificates, or with one that nobody has a file for.
pub(super) fn listener(source: &Source<'_>, report: &mut Report<'_>) -> Option<Map<String, Value>> {
    let text = report.annotation("ssl-cert").unwrap_or_default();
    let arns: Vec<&str> = match source.controller {
        // One name, as it stands.
        Controller::InTree => Some(text.trim()).filter(|arn| !arn.is_empty()).into_iter().collect(),
        Controller::Lbc => list(text).collect(),
    };
    if arns.is_empty() {
        return None;
    }
    let mut certificates = Vec::with_capacity(arns.len());
    for arn in arns {
        let Some(path) = source.options.certificates.get(arn) else {
            let text = format!("no file is known for {arn}; the ports that end TLS are left out");
            let fix = "start `wharf nlb` with --certificate ARN=FILE";
            report.add(codes::BALANCER_PORT_SKIPPED, &field("ssl-cert"), text, fix);
            return None;
        };
        certificates.push(json!({ "certificate": path, "arn": arn }));
    }
    let mut document = Map::new();
    document.insert("certificates".into(), certificates.into());
    if let Some(policy) = report.annotation("ssl-negotiation-policy") {
        document.insert("sslPolicy".into(), json!(policy));
    }
    if source.controller == Controller::Lbc
        && let Some(policy) = report.annotation("alpn-policy")
    {
        document.insert("alpnPolicy".into(), json!(policy));
    }
    Some(document)
}

/// True for a port that ends TLS: there is a certificate, and the port is listed, or none is.
pub(super) fn is_of(report: &Report<'_>, port: &ServicePort) -> bool {
    let certificate = report.annotation("ssl-cert").is_some_and(|text| !text.trim().is_empty());
    let listed = list(report.annotation("ssl-ports").unwrap_or_default());
    let listed: Vec<_> = listed.filter(|entry| *entry != "*").collect();
    let own = |entry: &&str| *port.name == **entry || entry.parse() == Ok(port.port);
    certificate && (listed.is_empty() || listed.iter().any(own))
}

/// What the targets of these ports speak.
pub(super) fn group_protocol(report: &Report<'_>) -> Protocol {
    match report.annotation("backend-protocol") {
        Some("ssl") => Protocol::Tls,
        _ => Protocol::Tcp,
    }
}
