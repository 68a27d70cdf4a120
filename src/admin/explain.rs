//! Which route serves a URL, and why the others do not.
//!
//! Called by the admin API and `wharf explain`. The winner is what the data path's own
//! [`RouteTable::lookup`](crate::routing::table::RouteTable::lookup) gives; only the reasons of the
//! losers are worked out here, in `reasons`.

mod reasons;

use http::Uri;
use serde::{Deserialize, Serialize};

use self::reasons::Decision;
use super::{
    model::CertView,
    routes::{self, EndpointLine, PolicyView},
};
use crate::{
    model::route::Termination,
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
    let decision = Decision::new(snapshot, &target, outcome, winner);
    let lost = |route: &&RouteState| winner.is_none_or(|winner| route.source.key != winner.key);
    let losers = decision.of_host.iter().copied().filter(lost);
    let losers = losers.map(|route| loser(route, &decision)).collect();
    Ok(Explanation {
        url: url.to_owned(),
        why: decision.why(answer(snapshot)),
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

/// Status of the page for requests that match no route [NOMATCH-1].
fn answer(snapshot: &Snapshot) -> u16 {
    let pages = &snapshot.pages;
    pages.not_found.as_ref().unwrap_or(&pages.unavailable).status.as_u16()
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

fn loser(route: &RouteState, decision: &Decision<'_>) -> Loser {
    Loser {
        namespace: route.source.key.namespace.to_string(),
        name: route.source.key.name.to_string(),
        path: route.source.object.spec.path.clone(),
        why: decision.lost_because(route),
    }
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
