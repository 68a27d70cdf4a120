//! Step 6a: the rate limits of the route, behind its allow list and before anything is sent
//! [ORD-2, RATE-6].
//!
//! Called by `serve` for each request and by `passthrough` for each connection. A route without limits
//! costs a branch. Whom a limit refuses gets its connection closed, as on OpenShift, or 429 where that is
//! set and there is HTTP [RATE-5].

use http::{HeaderValue, Response, header::RETRY_AFTER};

use super::{
    response::{Exchange, ResponseBody},
    serve,
};
use crate::{
    model::reason::Reason,
    net::clock,
    rates::{Refused, Verdict},
    snapshot::{CompiledRoute, Rated},
};

/// Counts what begins for its client; it is let go with `exchange`.
///
/// # Errors
/// When the client is over a limit of `route`.
pub(super) fn enter(exchange: &mut Exchange, route: &CompiledRoute) -> Result<(), Refused> {
    match &route.rated {
        None => Ok(()),
        Some(rated) => ask(exchange, rated),
    }
}

fn ask(exchange: &mut Exchange, rated: &Rated) -> Result<(), Refused> {
    let connection = &exchange.connection;
    let worker = &connection.worker;
    let counters = worker.stats.workers.cell(worker.index);
    let now = clock::now().into_std().saturating_duration_since(worker.stats.started);
    match rated.table.enter(connection.client.ip(), &rated.limits, now) {
        Verdict::Passed { tracked, purged } => {
            counters.rate_clients_purged.add(u64::from(purged));
            exchange.track(tracked);
            Ok(())
        },
        Verdict::Untracked => {
            counters.rate_clients_untracked.add(1);
            Ok(())
        },
        Verdict::Refused(refused) => {
            counters.rate_clients_purged.add(u64::from(refused.purged));
            Err(refused)
        },
    }
}

/// 429, with the seconds after which the client may come again, if it ever may.
pub(super) fn too_many(exchange: Box<Exchange>, refused: &Refused) -> Response<ResponseBody> {
    let mut response = serve::own(exchange, Reason::RateLimited);
    if let Some(seconds) = refused.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
