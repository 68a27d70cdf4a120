//! What the API server and the router check on one object (spec/route.md 1.1, 5.1, 14), and what
//! can only be seen across objects.
//!
//! Called by `source::document` after defaulting. Content of PEM fields and claims of hosts are
//! judged by compile. Which findings make an object invalid is `finding::codes::invalidates`.

mod annotations;
mod cross;
mod ingress;

use std::sync::Arc;

use k8s_openapi::{api::core::v1::Service, apimachinery::pkg::util::intstr::IntOrString};
use serde_json::Value as Json;

pub use self::{
    cross::cross_check,
    ingress::{CLASS_ANNOTATION, validate_ingress},
};
use super::object::Kind;
use crate::model::{
    finding::{Code, Finding, codes},
    grammar,
    objects::Stored,
    route::{Route, RouteSpec, RouteTarget, RouteTls},
};

/// Header names that no action may change [HDR-2].
const FIXED_HEADERS: [&str; 4] = ["strict-transport-security", "proxy", "cookie", "set-cookie"];

/// Everything that is wrong with one route by itself.
#[must_use]
pub fn validate_route(route: &Stored<Route>) -> Vec<Finding> {
    let mut report = Report::new(route, Kind::Route);
    let spec = &route.object.spec;
    report.name();
    host(&mut report, spec);
    targets(&mut report, spec);
    if let Some(tls) = &spec.tls {
        tls_section(&mut report, spec, tls);
    }
    header_actions(&mut report, spec);
    annotations::check(&mut report, &route.object);
    report.findings
}

/// Everything that is wrong with one Service by itself.
#[must_use]
pub fn validate_service(service: &Arc<Stored<Service>>) -> Vec<Finding> {
    let mut report = Report::new(service, Kind::Service);
    report.name();
    let ports = service.object.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    for (index, port) in ports.enumerate() {
        if !(1..=65_535).contains(&port.port) {
            let field = format!("spec.ports[{index}].port");
            report.add(codes::BAD_PORT, &field, format!("{} is not a port number", port.port));
        }
    }
    report.findings
}

/// Checks name and namespace of an object.
#[must_use]
pub fn validate_name<T>(object: &Stored<T>, kind: Kind) -> Vec<Finding> {
    let mut report = Report::new(object, kind);
    report.name();
    report.findings
}

/// Collects the findings of one object.
struct Report<'a, T> {
    stored: &'a Stored<T>,
    object: String,
    kind: Kind,
    findings: Vec<Finding>,
}

impl<'a, T> Report<'a, T> {
    fn new(stored: &'a Stored<T>, kind: Kind) -> Self {
        let object = match kind {
            _ if !kind.is_namespaced() => format!("{} {}", kind.word(), stored.key.name),
            _ => format!("{} {}", kind.word(), stored.key),
        };
        Self { stored, object, kind, findings: Vec::new() }
    }

    /// Adds a finding; the returned reference can be given a fix.
    fn add(&mut self, code: Code, field: &str, text: impl Into<String>) {
        let place = self.stored.field_place(field);
        let finding = Finding::new(code, place, text).with_field(field).with_object(&self.object);
        self.findings.push(finding);
    }

    fn add_with_fix(&mut self, code: Code, field: &str, text: String, fix: String) {
        self.add(code, field, text);
        if let Some(finding) = self.findings.last_mut() {
            finding.fix = fix;
        }
    }

    fn name(&mut self) {
        let key = &self.stored.key;
        // Service names are labels, and become one in DNS; the rest are subdomains.
        let valid = match self.kind {
            Kind::Namespace | Kind::Service => grammar::is_dns_label(&key.name),
            _ => grammar::is_dns_subdomain(&key.name),
        };
        if !valid {
            let text = format!("the name \"{}\" is not valid", key.name);
            self.add(codes::BAD_NAME, "metadata.name", text);
        }
        if self.kind.is_namespaced() && !grammar::is_dns_label(&key.namespace) {
            let text = format!("the namespace \"{}\" is not valid", key.namespace);
            self.add(codes::BAD_NAME, "metadata.namespace", text);
        }
    }
}

fn host(report: &mut Report<'_, Route>, spec: &RouteSpec) {
    if !spec.host.is_empty()
        && let Some(problem) = grammar::host_problem(&spec.host)
    {
        let fix = match &spec.host {
            host if host.contains('*') => "set wildcardPolicy: Subdomain instead".to_owned(),
            host if grammar::host_problem(&host.to_lowercase()).is_none() => {
                format!("write {}", host.to_lowercase())
            },
            _ => String::new(),
        };
        let text = format!("the host \"{}\" {problem}", spec.host);
        report.add_with_fix(codes::BAD_HOST, "spec.host", text, fix);
    }
    if !spec.subdomain.is_empty() {
        if let Some(problem) = grammar::host_problem(&spec.subdomain) {
            let text = format!("the subdomain \"{}\" {problem}", spec.subdomain);
            report.add(codes::BAD_SUBDOMAIN, "spec.subdomain", text);
        }
        if !spec.host.is_empty() {
            let text = "subdomain has no effect because host is set";
            report.add(codes::SUBDOMAIN_IGNORED, "spec.subdomain", text);
        }
    }
    if let Some(problem) = grammar::path_problem(&spec.path) {
        let text = format!("the path \"{}\" {problem}", spec.path);
        report.add(codes::BAD_PATH, "spec.path", text);
    }
    match spec.wildcard_policy.as_str() {
        "Subdomain" if spec.host.is_empty() => {
            let text = "wildcardPolicy Subdomain needs a host";
            report.add(codes::BAD_WILDCARD_POLICY, "spec.wildcardPolicy", text);
        },
        "None" | "Subdomain" => {},
        other => {
            let text = format!("the wildcard policy \"{other}\" is not None or Subdomain");
            report.add(codes::BAD_WILDCARD_POLICY, "spec.wildcardPolicy", text);
        },
    }
}

fn targets(report: &mut Report<'_, Route>, spec: &RouteSpec) {
    target(report, &spec.to, "spec.to");
    if spec.alternate_backends.len() > 3 {
        let text =
            format!("{} alternate backends, three are allowed", spec.alternate_backends.len());
        report.add(codes::TOO_MANY_BACKENDS, "spec.alternateBackends[3]", text);
    }
    let mut names = vec![spec.to.name.as_str()];
    for (index, alternate) in spec.alternate_backends.iter().enumerate() {
        let field = format!("spec.alternateBackends[{index}]");
        target(report, alternate, &field);
        if names.contains(&alternate.name.as_str()) {
            let text = format!("the service {} is listed twice", alternate.name);
            report.add(codes::SERVICE_TWICE, &format!("{field}.name"), text);
        }
        names.push(&alternate.name);
    }
    match spec.port.as_ref().map(|port| &port.target_port) {
        Some(IntOrString::Int(0)) => {
            report.add(codes::BAD_PORT, "spec.port.targetPort", "0 is not a port");
        },
        Some(IntOrString::String(name)) if name.is_empty() => {
            report.add(codes::BAD_PORT, "spec.port.targetPort", "the port's name is empty");
        },
        _ => {},
    }
}

fn target(report: &mut Report<'_, Route>, target: &RouteTarget, field: &str) {
    if target.kind != "Service" {
        let text = format!("the kind \"{}\" is not Service", target.kind);
        report.add(codes::BAD_TARGET, &format!("{field}.kind"), text);
    }
    if target.name.is_empty() {
        report.add(codes::BAD_TARGET, &format!("{field}.name"), "the service's name is empty");
    }
    if let Some(weight) = target.weight
        && !(0..=256).contains(&weight)
    {
        let text = format!("the weight {weight} is outside 0 to 256");
        report.add(codes::BAD_WEIGHT, &format!("{field}.weight"), text);
    }
}

/// Table [API-2].
fn tls_section(report: &mut Report<'_, Route>, spec: &RouteSpec, tls: &RouteTls) {
    let (passthrough, reencrypt) = match tls.termination.as_str() {
        "edge" => (false, false),
        "reencrypt" => (false, true),
        "passthrough" => (true, false),
        other => {
            let text = match other {
                "" => "the termination is missing".to_owned(),
                _ => format!("the termination \"{other}\" is unknown"),
            };
            let fix = "use edge, reencrypt or passthrough".to_owned();
            report.add_with_fix(codes::BAD_TERMINATION, "spec.tls.termination", text, fix);
            return;
        },
    };
    let only_terminating = [
        (!spec.path.is_empty(), "spec.path"),
        (!tls.certificate.is_empty(), "spec.tls.certificate"),
        (!tls.key.is_empty(), "spec.tls.key"),
        (!tls.ca_certificate.is_empty(), "spec.tls.caCertificate"),
        (tls.external_certificate.is_some(), "spec.tls.externalCertificate"),
        (has_actions(spec), "spec.httpHeaders"),
    ];
    for (_, field) in only_terminating.iter().filter(|(set, _)| *set && passthrough) {
        let text = format!("{field} cannot be used with passthrough");
        report.add(codes::NOT_FOR_TERMINATION, field, text);
    }
    if !tls.destination_ca_certificate.is_empty() && !reencrypt {
        let text = format!("a destination CA cannot be used with {}", tls.termination);
        report.add(codes::NOT_FOR_TERMINATION, "spec.tls.destinationCACertificate", text);
    }
    if let Some(secret) = &tls.external_certificate {
        if !(tls.certificate.is_empty() && tls.key.is_empty()) {
            let text = "certificate and externalCertificate exclude each other";
            report.add(codes::NOT_FOR_TERMINATION, "spec.tls.externalCertificate", text);
        }
        if secret.name.is_empty() {
            let text = "the Secret's name is empty";
            report.add(codes::MISSING_FIELD, "spec.tls.externalCertificate.name", text);
        }
    }
    let policy = tls.insecure_edge_termination_policy.as_str();
    let allowed = match policy {
        "" | "None" | "Redirect" => true,
        "Allow" => !passthrough,
        _ => false,
    };
    if !allowed {
        let text =
            format!("the insecure policy \"{policy}\" cannot be used with {}", tls.termination);
        let field = "spec.tls.insecureEdgeTerminationPolicy";
        report.add(codes::BAD_INSECURE_POLICY, field, text);
    }
}

fn actions<'s>(spec: &'s RouteSpec, list: &str) -> Option<&'s Json> {
    spec.http_headers.as_ref()?.get("actions")?.get(list)
}

fn has_actions(spec: &RouteSpec) -> bool {
    ["request", "response"]
        .iter()
        .any(|list| actions(spec, list).and_then(Json::as_array).is_some_and(|a| !a.is_empty()))
}

/// [HDR-1..3]; the grammar of values [HDR-4] is compile's, which turns them into programs.
fn header_actions(report: &mut Report<'_, Route>, spec: &RouteSpec) {
    if has_actions(spec) {
        let text = "header actions do nothing in this version of wharf";
        report.add(codes::NOT_BUILT, "spec.httpHeaders", text);
    }
    for list in ["request", "response"] {
        let field = format!("spec.httpHeaders.actions.{list}");
        let Some(value) = actions(spec, list) else { continue };
        let Some(items) = value.as_array() else {
            report.add(codes::BAD_HEADER_ACTION, &field, "the actions are not a list");
            continue;
        };
        if items.len() > 20 {
            let text = format!("{} header actions, 20 are allowed", items.len());
            report.add(codes::BAD_HEADER_ACTION, &field, text);
        }
        let mut names = Vec::new();
        for (index, item) in items.iter().take(20).enumerate() {
            let at = format!("{field}[{index}]");
            let name = item.get("name").and_then(Json::as_str).unwrap_or_default();
            if let Some(problem) = header_problem(item, name, &names) {
                report.add(codes::BAD_HEADER_ACTION, &at, problem);
            }
            names.push(name);
        }
    }
}

fn header_problem(item: &Json, name: &str, before: &[&str]) -> Option<String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-!#$%&'*+.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > 255 || !name.bytes().all(token) {
        return Some(format!("\"{name}\" is not a header name"));
    }
    if FIXED_HEADERS.iter().any(|fixed| fixed.eq_ignore_ascii_case(name)) {
        return Some(format!("the header {name} cannot be changed"));
    }
    if before.contains(&name) {
        return Some(format!("the header {name} is listed twice"));
    }
    let action = item.get("action");
    let set = action.and_then(|action| action.get("set"));
    let value = set.and_then(|set| set.get("value")).and_then(Json::as_str);
    match action.and_then(|action| action.get("type")).and_then(Json::as_str) {
        Some("Set") => match value.map(|value| value.chars().count()) {
            Some(1..=16_384) => None,
            Some(_) => Some("set.value must have 1 to 16384 characters".to_owned()),
            None => Some("an action of type Set needs set.value".to_owned()),
        },
        Some("Delete") if set.is_some() => Some("an action of type Delete has no set".to_owned()),
        Some("Delete") => None,
        Some(other) => Some(format!("the action type \"{other}\" is not Set or Delete")),
        None => Some("the action has no type".to_owned()),
    }
}

#[cfg(test)]
mod tests;
