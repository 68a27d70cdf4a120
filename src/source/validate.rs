//! What the API server and the router check on one object (spec/route.md 1.1, 5.1, 14), and what
//! can only be seen across objects.
//!
//! Called by `source::document` after defaulting. Content of PEM fields and claims of hosts are
//! judged by compile. Which findings make an object invalid is `finding::codes::invalidates`.

mod annotations;
mod cross;
mod headers;
mod ingress;

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub use self::{
    cross::cross_check,
    ingress::{CLASS_ANNOTATION, validate_ingress},
};
use super::object::Kind;
use crate::model::{
    finding::{Code, Finding, codes},
    grammar,
    objects::Stored,
    route::{Route, RouteSpec, RouteTarget},
    service::Service,
    termination,
};

/// Lets the labels of a host be longer than DNS allows (spec/route.md 1.1).
const ALLOW_LONG_LABELS: &str = "route.openshift.io/allow-non-dns-compliant-host";

/// Everything that is wrong with one route by itself.
#[must_use]
pub fn validate_route(route: &Stored<Route>) -> Vec<Finding> {
    let mut report = Report::new(route, Kind::Route);
    let spec = &route.object.spec;
    report.name();
    host(&mut report, &route.object);
    targets(&mut report, spec);
    tls_section(&mut report, spec);
    if let Some(headers) = &spec.http_headers {
        headers::check(&mut report, &headers.actions);
    }
    annotations::check(&mut report, &route.object);
    report.findings
}

/// Everything that is wrong with one Service by itself.
#[must_use]
pub fn validate_service(service: &Arc<Stored<Service>>) -> Vec<Finding> {
    let mut report = Report::new(service, Kind::Service);
    report.name();
    for (index, port) in service.object.ports.iter().enumerate() {
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

fn host(report: &mut Report<'_, Route>, route: &Route) {
    let spec = &route.spec;
    if !spec.host.is_empty()
        && let Some(problem) = host_problem(route)
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

/// Why the host of `route` is none. Where the annotation allows it, a label may have more than 63
/// characters; the router refuses such a host all the same (InvalidHost), as OpenShift's does.
fn host_problem(route: &Route) -> Option<String> {
    let annotations = route.metadata.annotations.as_ref();
    let lenient = annotations.and_then(|all| all.get(ALLOW_LONG_LABELS));
    if lenient.is_some_and(|value| value == "true") && grammar::is_dns_subdomain(&route.spec.host) {
        return None;
    }
    grammar::host_problem(&route.spec.host)
}

fn targets(report: &mut Report<'_, Route>, spec: &RouteSpec) {
    target(report, &spec.to, "spec.to");
    if spec.alternate_backends.len() > 3 {
        let text =
            format!("{} alternate backends, three are allowed", spec.alternate_backends.len());
        report.add(codes::TOO_MANY_BACKENDS, "spec.alternateBackends[3]", text);
    }
    for (index, alternate) in spec.alternate_backends.iter().enumerate() {
        let field = format!("spec.alternateBackends[{index}]");
        target(report, alternate, &field);
        // The API's list has name and kind for its key; `to` stands beside the list.
        let same =
            |other: &RouteTarget| (&other.name, &other.kind) == (&alternate.name, &alternate.kind);
        let text = format!("the service {} is listed twice", alternate.name);
        if spec.alternate_backends[..index].iter().any(same) {
            report.add(codes::ALTERNATE_TWICE, &format!("{field}.name"), text);
        } else if same(&spec.to) {
            report.add(codes::SERVICE_TWICE, &format!("{field}.name"), text);
        }
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

/// Table [API-2], and what else the section must have.
fn tls_section(report: &mut Report<'_, Route>, spec: &RouteSpec) {
    for problem in termination::problems(spec) {
        report.add_with_fix(problem.code, problem.field, problem.text, problem.fix.to_owned());
    }
    let external = spec.tls.as_ref().and_then(|tls| tls.external_certificate.as_ref());
    if external.is_some_and(|secret| secret.name.is_empty()) {
        let text = "the Secret's name is empty";
        report.add(codes::MISSING_FIELD, "spec.tls.externalCertificate.name", text);
    }
}

#[cfg(test)]
mod tests;
