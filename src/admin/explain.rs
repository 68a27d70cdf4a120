//! Which route serves a URL, and why the others do not.
//!
//! Called by the admin API and `wharf explain`. The winner is what the data path's own
//! [`RouteTable::lookup`](crate::routing::table::RouteTable::lookup) gives; only the reasons of the
//! losers are worked out here.

use http::Uri;
use serde::{Deserialize, Serialize};

use super::{
    model::{CertView, rejection},
    routes::{self, EndpointLine, PolicyView},
};
use crate::{
    model::route::{InsecurePolicy, Termination},
    routing::table::Lookup,
    snapshot::{CompiledRoute, RouteState, Snapshot},
};

#[cfg(test)]
mod tests;

/// Why a URL cannot be explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// It has no host, or is no URL at all.
    #[error("expected a URL such as https://shop.example.com/cart")]
    NotUrl,
    /// Neither http nor https.
    #[error("expected the scheme http or https")]
    Scheme,
}

/// Who serves a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The URL.
    pub url: String,
    /// The HTTPS port takes it.
    pub tls: bool,
    /// Host, lower case, without port.
    pub host: String,
    /// Path.
    pub path: String,
    /// What happens.
    pub outcome: Outcome,
    /// One sentence about it.
    pub why: String,
    /// The route that serves or redirects.
    pub winner: Option<Candidate>,
    /// Certificate of the handshake, when it ends here.
    pub certificate: Option<CertView>,
    /// Other routes of this host, and why each lost.
    pub losers: Vec<Loser>,
    /// Endpoints of the winner.
    pub endpoints: Vec<EndpointLine>,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A pod answers.
    Serve,
    /// The client is sent to https.
    Redirect,
    /// The host has routes, none with this path: the 503 page.
    NoPath,
    /// No route has the host: the 503 page.
    NoHost,
}

/// The winner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Host.
    pub host: String,
    /// Path.
    pub path: String,
    /// Termination.
    pub termination: String,
    /// Settings in force.
    #[serde(flatten)]
    pub policy: PolicyView,
}

/// A loser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loser {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Path.
    pub path: String,
    /// Why it lost.
    pub why: String,
}

/// What a request is matched by.
struct Target {
    tls: bool,
    host: String,
    path: String,
}

/// Explains `url`, whose scheme is http when it has none.
pub fn explain(snapshot: &Snapshot, url: &str) -> Result<Explanation, ExplainError> {
    let target = parse(url)?;
    let passed = snapshot
        .passthrough
        .lookup(target.host.as_bytes())
        .filter(|_| target.tls)
        .map(Lookup::Serve);
    let found = passed
        .unwrap_or_else(|| snapshot.table.lookup(target.tls, target.host.as_bytes(), &target.path));
    let (outcome, winner) = match found {
        Lookup::Serve(route) => (Outcome::Serve, Some(route.as_ref())),
        Lookup::Redirect(route) => (Outcome::Redirect, Some(route.as_ref())),
        Lookup::NoPath => (Outcome::NoPath, None),
        Lookup::NoHost => (Outcome::NoHost, None),
    };
    let losers = snapshot
        .routes
        .iter()
        .filter(|route| winner.is_none_or(|winner| route.source.key != winner.key))
        .filter(|route| host_rank(route, &target.host).is_some())
        .map(|route| loser(route, winner, &target))
        .collect::<Vec<_>>();
    Ok(Explanation {
        url: url.to_owned(),
        why: why(outcome, winner, &target),
        certificate: certificate(snapshot, winner, &target),
        winner: winner.map(candidate),
        endpoints: winner.map(routes::endpoints).unwrap_or_default(),
        outcome,
        losers,
        tls: target.tls,
        host: target.host,
        path: target.path,
    })
}

fn parse(url: &str) -> Result<Target, ExplainError> {
    let full = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let uri: Uri = full.parse().ok().ok_or(ExplainError::NotUrl)?;
    let tls = match uri.scheme_str() {
        Some("http" | "ws") => false,
        Some("https" | "wss") => true,
        _ => return Err(ExplainError::Scheme),
    };
    let host = uri.host().filter(|host| !host.is_empty()).ok_or(ExplainError::NotUrl)?;
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    Ok(Target { tls, host, path: uri.path().to_owned() })
}

/// Whether a route's host covers `host`: exactly, or as a wildcard over one label.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HostRank {
    Exact,
    Wildcard,
}

fn host_rank(route: &RouteState, host: &str) -> Option<HostRank> {
    let spec = &route.source.object.spec;
    if route.host.eq_ignore_ascii_case(host) && spec.wildcard_policy != "Subdomain" {
        return Some(HostRank::Exact);
    }
    let below = |name: &str| name.split_once('.').map(|(_, rest)| rest.to_ascii_lowercase());
    (spec.wildcard_policy == "Subdomain" && below(&route.host) == below(host))
        .then_some(HostRank::Wildcard)
}

fn why(outcome: Outcome, winner: Option<&CompiledRoute>, target: &Target) -> String {
    let Some(winner) = winner else {
        let port = if target.tls { "HTTPS" } else { "HTTP" };
        return match outcome {
            Outcome::NoPath => {
                format!("a route has this host on the {port} port, none has this path; answer: 503")
            },
            _ => format!("no route has this host on the {port} port; answer: 503"),
        };
    };
    let host = if winner.wildcard { "wildcard covers the host" } else { "host is exact" };
    let path = if winner.path.is_empty() { "it takes every path" } else { "longest path prefix" };
    match outcome {
        Outcome::Serve if target.tls && winner.termination == Termination::Passthrough => {
            format!("{host}; termination is passthrough, so the pod gets the TLS stream as it is")
        },
        Outcome::Redirect => {
            format!(
                "{host}; {path}; insecureEdgeTerminationPolicy is Redirect, so clients go to https"
            )
        },
        _ => format!("{host}; {path}"),
    }
}

fn loser(route: &RouteState, winner: Option<&CompiledRoute>, target: &Target) -> Loser {
    let path = route.source.object.spec.path.clone();
    Loser {
        namespace: route.source.key.namespace.to_string(),
        name: route.source.key.name.to_string(),
        why: lost_because(route, winner, target),
        path,
    }
}

fn lost_because(route: &RouteState, winner: Option<&CompiledRoute>, target: &Target) -> String {
    if let Some((reason, message)) = rejection(&route.admission) {
        return format!("rejected: {reason} ({message})");
    }
    let Some(compiled) = &route.compiled else { return "admitted, but not compiled".to_owned() };
    if target.tls && compiled.termination == Termination::None {
        return "not on the HTTPS port: it has no TLS section".to_owned();
    }
    let cleartext =
        compiled.termination == Termination::None || compiled.insecure != InsecurePolicy::None;
    if !target.tls && !cleartext {
        return "not on the HTTP port: its insecureEdgeTerminationPolicy is None".to_owned();
    }
    let passthrough = target.tls && compiled.termination == Termination::Passthrough;
    if !passthrough && !covers(&compiled.path, &target.path) {
        return "its path is no prefix of this path".to_owned();
    }
    match winner {
        Some(winner) if winner.termination == Termination::Passthrough && target.tls => {
            "a passthrough route takes the host's whole TLS stream".to_owned()
        },
        Some(winner) if compiled.wildcard && !winner.wildcard => {
            "wildcard loses to an exact host".to_owned()
        },
        Some(winner) if compiled.path.len() < winner.path.len() => "shorter prefix".to_owned(),
        Some(winner) => format!("{} has the same host and path", winner.key),
        None => "not in the table".to_owned(),
    }
}

/// Prefix by whole segments.
fn covers(prefix: &str, path: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn candidate(route: &CompiledRoute) -> Candidate {
    let termination = match route.termination {
        Termination::None => "http",
        Termination::Edge => "edge",
        Termination::Reencrypt => "reencrypt",
        Termination::Passthrough => "passthrough",
    };
    Candidate {
        namespace: route.key.namespace.to_string(),
        name: route.key.name.to_string(),
        host: route.host.to_string(),
        path: route.path.to_string(),
        termination: termination.to_owned(),
        policy: routes::policy(route),
    }
}

/// The certificate by the host alone [CERT-2], else the default.
fn certificate(
    snapshot: &Snapshot,
    winner: Option<&CompiledRoute>,
    target: &Target,
) -> Option<CertView> {
    let ends_here = winner.is_none_or(|winner| winner.termination != Termination::Passthrough);
    if !target.tls || !ends_here {
        return None;
    }
    routes::certificate(snapshot, &target.host)
}
