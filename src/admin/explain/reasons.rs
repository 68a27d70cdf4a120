//! Why a route wins a URL, why the others lose, and why nobody does: the table of spec/route.md 10.4
//! in words.
//!
//! Called by [`super::explain`], which has asked the tables of the data path who wins.

use super::{Outcome, Target};
use crate::{
    admin::model::rejection,
    model::route::{InsecurePolicy, Termination},
    routing::table::covers,
    snapshot::{CompiledRoute, RouteState, Snapshot},
};

/// What was decided for a target.
pub(super) struct Decision<'a> {
    pub(super) target: &'a Target,
    pub(super) outcome: Outcome,
    pub(super) winner: Option<&'a CompiledRoute>,
    /// Who others are compared with: the winner, or the route that would have won on another port.
    rival: Option<&'a CompiledRoute>,
    /// Routes that have the host, refused ones included.
    pub(super) of_host: Vec<&'a RouteState>,
}

impl<'a> Decision<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        target: &'a Target,
        outcome: Outcome,
        winner: Option<&'a CompiledRoute>,
    ) -> Self {
        let of_host: Vec<&RouteState> =
            snapshot.routes.iter().filter(|route| has_host(route, &target.host)).collect();
        let compiled = of_host.iter().filter_map(|route| route.compiled.as_deref());
        let rival = winner.or_else(|| {
            compiled
                .filter(|route| covers(&route.path, &target.path))
                .max_by_key(|route| (!route.wildcard, route.path.len()))
        });
        Self { target, outcome, winner, rival, of_host }
    }

    const fn port(&self) -> &'static str {
        if self.target.tls { "HTTPS" } else { "HTTP" }
    }

    /// One sentence about the outcome.
    pub(super) fn why(&self, answer: u16) -> String {
        let Some(winner) = self.winner else {
            return format!("{}; answer: {answer}", self.why_nobody());
        };
        let host = if winner.wildcard { "wildcard covers the host" } else { "host is exact" };
        let all = covers(&winner.path, "");
        let path = if all { "it takes every path" } else { "longest path prefix" };
        match self.outcome {
            Outcome::Serve if self.target.tls && winner.termination == Termination::Passthrough => {
                format!(
                    "{host}; termination is passthrough, so the pod gets the TLS stream as it is"
                )
            },
            Outcome::Redirect => format!(
                "{host}; {path}; insecureEdgeTerminationPolicy is Redirect, so clients go to https"
            ),
            _ => format!("{host}; {path}"),
        }
    }

    fn why_nobody(&self) -> String {
        let port = self.port();
        let mut admitted = self.of_host.iter().filter_map(|route| route.compiled.as_deref());
        if let Some(rival) = self.rival
            && let Some(reason) = not_on_port(rival, self.target.tls)
        {
            return format!(
                "{} would serve it, but is not on the {port} port: {reason}",
                rival.key
            );
        }
        if self.of_host.is_empty() {
            return "no route has this host".to_owned();
        }
        if admitted.clone().next().is_none() {
            return "every route with this host was rejected".to_owned();
        }
        if admitted.all(|route| not_on_port(route, self.target.tls).is_some()) {
            return format!("no route with this host is on the {port} port");
        }
        format!("a route has this host on the {port} port, none has this path")
    }

    /// Why a route of this host is not the winner.
    pub(super) fn lost_because(&self, route: &RouteState) -> String {
        if let Some((reason, message)) = rejection(&route.admission) {
            return format!("rejected: {reason} ({message})");
        }
        let Some(compiled) = &route.compiled else {
            return "admitted, but not compiled".to_owned();
        };
        if let Some(reason) = not_on_port(compiled, self.target.tls) {
            return format!("not on the {} port: {reason}", self.port());
        }
        let passthrough = |route: &CompiledRoute| route.termination == Termination::Passthrough;
        let by_name = self.target.tls && passthrough(compiled);
        if !by_name && !covers(&compiled.path, &self.target.path) {
            return "its path is no prefix of this path".to_owned();
        }
        match self.rival {
            Some(rival) if compiled.wildcard && !rival.wildcard => {
                "wildcard loses to an exact host".to_owned()
            },
            Some(rival) if passthrough(rival) && self.target.tls => {
                "a passthrough route takes the host's whole TLS stream".to_owned()
            },
            Some(rival) if compiled.path.len() < rival.path.len() => "shorter prefix".to_owned(),
            Some(rival) => format!("{} has the same host and path", rival.key),
            None => "not in the table".to_owned(),
        }
    }
}

/// True when a route's host is `host`, or covers it as a wildcard over one label.
fn has_host(route: &RouteState, host: &str) -> bool {
    let wildcard = match &route.compiled {
        Some(compiled) => compiled.wildcard,
        None => route.source.object.spec.wildcard_policy == "Subdomain",
    };
    if !wildcard {
        return route.host.eq_ignore_ascii_case(host);
    }
    let below = |name: &str| name.split_once('.').map(|(_, rest)| rest.to_ascii_lowercase());
    below(&route.host) == below(host)
}

/// Why the plain or the TLS port does not know a route; `None` when it does [MATCH-14].
const fn not_on_port(route: &CompiledRoute, tls: bool) -> Option<&'static str> {
    match (tls, route.termination, route.insecure) {
        (true, Termination::None, _) => Some("it has no TLS section"),
        (true, ..)
        | (false, Termination::None, _)
        | (false, _, InsecurePolicy::Redirect)
        | (false, Termination::Edge | Termination::Reencrypt, InsecurePolicy::Allow) => None,
        (false, _, InsecurePolicy::None) => Some("its insecureEdgeTerminationPolicy is None"),
        (false, Termination::Passthrough, InsecurePolicy::Allow) => {
            Some("passthrough is never served in clear")
        },
    }
}
