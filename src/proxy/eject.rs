//! Step 3: connections that fail, held against the endpoint (reliability.md 2.4).
//!
//! Called by `forward` where a pod was not reached. Only what is wrong with the pod counts: never an
//! answer of it, never what the router itself is short of. Always holds: of the servers that a route
//! balances over one is left, and of each of its Services as many as the settings say.

use std::io::ErrorKind;

use super::response::Exchange;
use crate::{
    health::outlier::{Share, may_eject},
    net::clock,
    snapshot::{Backend, Server},
    upstream::dial::{Cause, DialError},
};

/// Notes that the server that has the request was not reached, and ejects it if that was too often.
pub(super) fn note(exchange: &Exchange, error: &DialError) {
    let worker = &exchange.connection.worker;
    let rules = &worker.settings.health.ejection;
    let (Some(route), Some(server)) = (&exchange.record.route, exchange.server()) else { return };
    // What has no weight is not balanced over, so it has no part in shares. Behind a cluster IP the
    // next connection may meet another pod.
    if !rules.on || server.weight == 0 || server.cluster_ip || !counts(error) {
        return;
    }
    let (now, peer) = (clock::millis(), &server.peer);
    if !peer.outlier.fail(now, rules) || !has_room(&route.backend, server, 0, rules.max_percent) {
        return;
    }
    let Some(length) = peer.outlier.eject(now, rules, worker.draw()) else { return };
    // Another worker may have ejected another server at the same time: then both step back.
    if !has_room(&route.backend, server, 1, rules.max_percent) {
        return peer.outlier.take_back();
    }
    worker.stats.workers.cell(worker.index).ejections.add(1);
    let endpoint = peer.key.address;
    tracing::warn!(%endpoint, route = %route.key, ?length, "endpoint is ejected");
}

/// Counts a try that goes to an ejected server for want of another.
#[cold]
pub(super) fn ignored(exchange: &Exchange) {
    let worker = &exchange.connection.worker;
    worker.stats.workers.cell(worker.index).ejections_ignored.add(1);
}

/// Whether `server` may be ejected, `own` of the ejected ones being itself.
fn has_room(backend: &Backend, server: &Server, own: usize, percent: u32) -> bool {
    let balanced = || backend.servers.iter().filter(|one| one.weight > 0);
    let share = |servers: &mut dyn Iterator<Item = &Server>| {
        let mut share = Share::default();
        for one in servers {
            share.all += 1;
            share.ejected += usize::from(one.peer.is_ejected());
        }
        Share { ejected: share.ejected.saturating_sub(own), ..share }
    };
    let of_route = share(&mut balanced());
    let of_service = share(&mut balanced().filter(|one| one.service == server.service));
    may_eject(of_route, of_service, percent)
}

/// Whether the pod is to blame. A failure that is shared was counted by the request that had it.
fn counts(error: &DialError) -> bool {
    match error {
        DialError::Shared(_) => false,
        error => match error.cause() {
            Cause::Timeout | Cause::Preface | Cause::Handshake | Cause::Certificate => true,
            Cause::Connect(kind) => matches!(
                kind,
                ErrorKind::ConnectionRefused
                    | ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkUnreachable
                    | ErrorKind::UnexpectedEof
                    | ErrorKind::BrokenPipe
            ),
        },
    }
}
