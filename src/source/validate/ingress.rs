//! What the API server checks on one Ingress (networking.k8s.io/v1).
//!
//! What becomes of a sound one is decided by `source::ingress`.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressServiceBackend, IngressSpec,
};

use super::{Kind, Report};
use crate::model::{
    finding::{Finding, codes},
    grammar,
    objects::Stored,
};

/// The annotation that named the class before there was a field for it.
pub const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// Everything that is wrong with one Ingress by itself.
#[must_use]
pub fn validate_ingress(ingress: &Stored<Ingress>) -> Vec<Finding> {
    let mut report = Report::new(ingress, Kind::Ingress);
    report.name();
    let Some(spec) = &ingress.object.spec else {
        bad(&mut report, "spec", "neither rules nor a default backend are there");
        return report.findings;
    };
    if spec.rules.iter().flatten().next().is_none() && spec.default_backend.is_none() {
        bad(&mut report, "spec", "neither rules nor a default backend are there");
    }
    class(&mut report, &ingress.object, spec);
    if let Some(default) = &spec.default_backend {
        backend(&mut report, default, "spec.defaultBackend");
    }
    for (index, rule) in spec.rules.iter().flatten().enumerate() {
        let at = format!("spec.rules[{index}]");
        host(&mut report, rule.host.as_deref().unwrap_or_default(), &format!("{at}.host"));
        let paths = rule.http.iter().flat_map(|http| &http.paths);
        for (index, one) in paths.enumerate() {
            let at = format!("{at}.http.paths[{index}]");
            path(&mut report, one, &at);
            backend(&mut report, &one.backend, &format!("{at}.backend"));
        }
        if rule.http.as_ref().is_some_and(|http| http.paths.is_empty()) {
            bad(&mut report, &format!("{at}.http.paths"), "the rule has no path");
        }
    }
    for (index, tls) in spec.tls.iter().flatten().enumerate() {
        for (place, name) in tls.hosts.iter().flatten().enumerate() {
            host(&mut report, name, &format!("spec.tls[{index}].hosts[{place}]"));
        }
    }
    report.findings
}

fn bad(report: &mut Report<'_, Ingress>, field: &str, text: impl Into<String>) {
    report.add(codes::BAD_INGRESS, field, text);
}

fn class(report: &mut Report<'_, Ingress>, ingress: &Ingress, spec: &IngressSpec) {
    let annotated = ingress.metadata.annotations.iter().flatten();
    if spec.ingress_class_name.is_some()
        && annotated.into_iter().any(|(name, _)| name == CLASS_ANNOTATION)
    {
        let text = format!("the class is set here and by the annotation {CLASS_ANNOTATION}");
        bad(report, "spec.ingressClassName", text);
    }
}

/// A DNS name, or one with `*` as its first label; addresses are none.
fn host(report: &mut Report<'_, Ingress>, host: &str, field: &str) {
    if host.is_empty() {
        return;
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    let problem = if host.parse::<std::net::IpAddr>().is_ok() {
        Some("is an address".to_owned())
    } else {
        grammar::host_problem(name)
    };
    if let Some(problem) = problem {
        bad(report, field, format!("the host \"{host}\" {problem}"));
    }
}

fn path(report: &mut Report<'_, Ingress>, path: &HTTPIngressPath, at: &str) {
    let text = path.path.as_deref().unwrap_or_default();
    let field = format!("{at}.path");
    match path.path_type.as_str() {
        "Exact" | "Prefix" => {
            let parts = ["//", "/./", "/../", "%2f", "%2F"];
            let ends = ["/..", "/."];
            if !text.starts_with('/') {
                bad(report, &field, format!("the path \"{text}\" does not start with \"/\""));
            } else if let Some(part) = parts.iter().find(|part| text.contains(**part)) {
                bad(report, &field, format!("the path \"{text}\" holds \"{part}\""));
            } else if let Some(end) = ends.iter().find(|end| text.ends_with(**end)) {
                bad(report, &field, format!("the path \"{text}\" ends with \"{end}\""));
            }
        },
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                bad(report, &field, format!("the path \"{text}\" does not start with \"/\""));
            }
        },
        other => {
            let text = format!("the path type \"{other}\" is unknown");
            let fix = "use Prefix or ImplementationSpecific".to_owned();
            report.add_with_fix(codes::BAD_INGRESS, &format!("{at}.pathType"), text, fix);
        },
    }
}

fn backend(report: &mut Report<'_, Ingress>, backend: &IngressBackend, at: &str) {
    match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => bad(report, at, "a backend is a service or a resource, not both"),
        (None, None) => bad(report, at, "the backend has neither a service nor a resource"),
        (None, Some(_)) => {},
        (Some(service), None) => service_backend(report, service, &format!("{at}.service")),
    }
}

fn service_backend(report: &mut Report<'_, Ingress>, service: &IngressServiceBackend, at: &str) {
    if !grammar::is_dns_label(&service.name) {
        let text = format!("\"{}\" is not the name of a Service", service.name);
        bad(report, &format!("{at}.name"), text);
    }
    let port = service.port.clone().unwrap_or_default();
    let name = port.name.as_deref().unwrap_or_default();
    let field = format!("{at}.port");
    match port.number {
        None | Some(0) if name.is_empty() => bad(report, &field, "the port is missing"),
        None | Some(0) => {},
        Some(_) if !name.is_empty() => {
            bad(report, &field, "a port has a name or a number, not both");
        },
        Some(1..=65_535) => {},
        Some(number) => {
            bad(report, &format!("{field}.number"), format!("{number} is not a port number"));
        },
    }
}
