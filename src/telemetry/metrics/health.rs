//! Endpoints that fail: ejections and retries (reliability.md 2.3, 2.4).

use std::{collections::HashSet, fmt};

use super::{Out, native::WorkerCounter};
use crate::{proxy::stats::RouterStats, snapshot::Snapshot};

const COUNTERS: [WorkerCounter; 3] = [
    ("wharf_ejections", "Endpoints ejected because connections to them failed.", |cell| {
        &cell.ejections
    }),
    (
        "wharf_ejections_ignored",
        "Tries that went to an ejected endpoint for want of another.",
        |cell| &cell.ejections_ignored,
    ),
    (
        "wharf_retries_denied",
        "Tries that were not made because the retry budget was used up.",
        |cell| &cell.retries_denied,
    ),
];

/// Writes them.
pub(super) fn encode(snapshot: &Snapshot, stats: &RouterStats, out: &mut Out<'_>) -> fmt::Result {
    for (name, help, counter) in COUNTERS {
        out.total(name, help, stats.workers.sum(counter))?;
    }
    out.level("wharf_endpoints_ejected", "Endpoints that are ejected now.", ejected(snapshot))
}

/// An endpoint that several routes share counts once.
fn ejected(snapshot: &Snapshot) -> u64 {
    let routes = snapshot.routes.iter().filter_map(|route| route.compiled.as_ref());
    let peers = routes.flat_map(|route| route.backend.servers.iter().map(|server| &server.peer));
    let ids: HashSet<u64> = peers.filter(|peer| peer.is_ejected()).map(|peer| peer.id).collect();
    super::count(ids.iter())
}
