//! Which fields of a Route go with which termination: table [API-2].
//!
//! Read twice, as in OpenShift: by validation, which stands for the API server and makes findings of
//! the problems, and by compile, which refuses what reaches it all the same [XV-1]. Expects a route
//! with its defaults.

use super::{
    finding::{Code, codes},
    route::{RouteSpec, RouteTls},
};

/// One field that does not go with the termination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The code of its finding.
    pub code: Code,
    /// Path of the field.
    pub field: &'static str,
    /// What and why.
    pub text: String,
    /// What to do; empty when the text says it.
    pub fix: &'static str,
}

/// A termination that the API has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Edge,
    Reencrypt,
    Passthrough,
}

/// Everything in `spec` that the table forbids; empty for a route without TLS.
#[must_use]
pub fn problems(spec: &RouteSpec) -> Vec<Problem> {
    let Some(tls) = &spec.tls else { return Vec::new() };
    let kind = match tls.termination.as_str() {
        "edge" => Kind::Edge,
        "reencrypt" => Kind::Reencrypt,
        "passthrough" => Kind::Passthrough,
        other => return vec![unknown(other)],
    };
    let mut problems = Vec::new();
    if kind == Kind::Passthrough {
        problems.extend(forbidden(spec, tls).map(|field| Problem {
            code: codes::NOT_FOR_TERMINATION,
            field,
            text: format!("{field} cannot be used with passthrough"),
            fix: "",
        }));
    }
    if !tls.destination_ca_certificate.is_empty() && kind != Kind::Reencrypt {
        problems.push(Problem {
            code: codes::NOT_FOR_TERMINATION,
            field: "spec.tls.destinationCACertificate",
            text: format!("a destination CA cannot be used with {}", tls.termination),
            fix: "",
        });
    }
    if tls.external_certificate.is_some()
        && kind != Kind::Passthrough
        && !(tls.certificate.is_empty() && tls.key.is_empty())
    {
        problems.push(Problem {
            code: codes::NOT_FOR_TERMINATION,
            field: "spec.tls.externalCertificate",
            text: "certificate and externalCertificate exclude each other".to_owned(),
            fix: "",
        });
    }
    problems.extend(insecure(tls, kind));
    problems
}

fn unknown(termination: &str) -> Problem {
    let text = match termination {
        "" => "the termination is missing".to_owned(),
        _ => format!("the termination \"{termination}\" is unknown"),
    };
    let fix = "use edge, reencrypt or passthrough";
    Problem { code: codes::BAD_TERMINATION, field: "spec.tls.termination", text, fix }
}

/// The fields that are set and need a router that sees the request.
fn forbidden(spec: &RouteSpec, tls: &RouteTls) -> impl Iterator<Item = &'static str> {
    let has_actions = spec.http_headers.as_ref().is_some_and(|headers| !headers.actions.is_empty());
    [
        (!spec.path.is_empty(), "spec.path"),
        (!tls.certificate.is_empty(), "spec.tls.certificate"),
        (!tls.key.is_empty(), "spec.tls.key"),
        (!tls.ca_certificate.is_empty(), "spec.tls.caCertificate"),
        (tls.external_certificate.is_some(), "spec.tls.externalCertificate"),
        (has_actions, "spec.httpHeaders"),
    ]
    .into_iter()
    .filter_map(|(set, field)| set.then_some(field))
}

fn insecure(tls: &RouteTls, kind: Kind) -> Option<Problem> {
    let policy = tls.insecure_edge_termination_policy.as_str();
    let allowed = match policy {
        "" | "None" | "Redirect" => true,
        "Allow" => kind != Kind::Passthrough,
        _ => false,
    };
    (!allowed).then(|| Problem {
        code: codes::BAD_INSECURE_POLICY,
        field: "spec.tls.insecureEdgeTerminationPolicy",
        text: format!("the insecure policy \"{policy}\" cannot be used with {}", tls.termination),
        fix: "",
    })
}
