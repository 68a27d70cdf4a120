//! What compile knows of a route before claims are judged: its host here, whether its fields go
//! together, its claim and its age.

use std::sync::Arc;

use super::{Candidate, finding, termination};
use crate::{
    model::{
        finding::Finding,
        objects::Stored,
        route::Route,
        status::{Admission, RejectReason},
        termination::{Problem, problems},
    },
    routing::{
        admit::{self, Claim},
        host::rewrite::{Named, Rewriter},
    },
};

/// The host of a route at this router [PIPE-3].
pub(super) fn host(rewriter: &Rewriter, route: &Stored<Route>) -> Arc<str> {
    let spec = &route.object.spec;
    let named = Named {
        namespace: &route.key.namespace,
        name: &route.key.name,
        host: &spec.host,
        subdomain: &spec.subdomain,
    };
    rewriter.host(named).into()
}

/// Refuses a route with fields that do not go with its termination [XV-1]: what a source that checks
/// its routes lets through is never refused here.
pub(super) fn out_of_table(
    route: &Stored<Route>,
    findings: &mut Vec<Finding>,
) -> Option<Admission> {
    let problems = problems(&route.object.spec);
    if problems.is_empty() {
        return None;
    }
    let texts: Vec<&str> = problems.iter().map(|problem| problem.text.as_str()).collect();
    let message = texts.join(", ");
    for Problem { code, field, text, fix } in &problems {
        findings.push(finding(route, *code, field, text, fix));
    }
    Some(Admission::Rejected { reason: RejectReason::ExtendedValidationFailed, message })
}

/// What admission is told about a candidate.
pub(super) fn claim(candidate: &Candidate) -> Claim<'_> {
    let route = &candidate.source;
    let metadata = &route.object.metadata;
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    Claim {
        namespace: &route.key.namespace,
        name: &route.key.name,
        uid: metadata.uid.as_deref().unwrap_or(""),
        created,
        order: route.order,
        host: &candidate.host,
        path: &route.object.spec.path,
        wildcard_policy: &route.object.spec.wildcard_policy,
        termination: termination(route.object.spec.tls.as_ref()),
    }
}

/// Position of each claim by age, 0 for the oldest.
pub(super) fn ranks(claims: &[Claim<'_>]) -> Vec<u64> {
    let mut ranks = vec![0; claims.len()];
    for (rank, index) in (0..).zip(admit::by_age(claims)) {
        ranks[index] = rank;
    }
    ranks
}
