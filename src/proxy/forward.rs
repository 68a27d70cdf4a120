//! Step 3: the request to a pod, and the decision to try again.
//!
//! Called by `serve` once a route is found. Retries follow reliability.md 2.3 and quirk 29: what was
//! never sent, or what the pod says it has not looked at, may go anywhere again; what was sent on a
//! reused connection may go once more if it is idempotent and has no body; nothing else is sent twice.

mod attempt;
mod prepare;

use std::{rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Request, Response, StatusCode, Version, header::CONNECTION};
use hyper::body::Incoming;

pub(super) use self::attempt::{count_connect, not_reached};
use self::{
    attempt::{Answer, Failure, attempt},
    prepare::{Outgoing, prepare},
};
use super::{
    compress, eject, framing, queue,
    relayed::relayed,
    request::Checked,
    response::{Exchange, ResponseBody},
    select::{self, Tries},
    serve, sticky, unique_id,
    upgrade::{self, Wanted},
};
use crate::{
    balance::{Algorithm, source_hash},
    model::reason::Reason,
    net::clock,
    snapshot::{Backend, CompiledRoute},
};

/// Longest pause before the same endpoint is tried again [RETRY-1].
const PAUSE: Duration = Duration::from_secs(1);

/// Sends the request to a pod of `route` and returns what the client gets.
pub async fn forward(
    mut exchange: Box<Exchange>,
    route: Arc<CompiledRoute>,
    checked: Checked,
    request: Request<Incoming>,
    wanted: Option<Box<Wanted>>,
) -> Response<ResponseBody> {
    exchange.record.route = Some(Arc::clone(&route));
    let version = request.version();
    let protocol = wanted.as_ref().map(|wanted| &wanted.protocol);
    unique_id::make(&mut exchange);
    let mut outgoing = match prepare(&mut exchange, &route, checked, request, protocol) {
        Ok(outgoing) => outgoing,
        Err(reason) => return serve::own(exchange, reason),
    };
    let compression = &exchange.connection.worker.settings.compression;
    let gzip = compression.enabled && outgoing.takes_gzip(version);
    let outcome = send_somewhere(&mut exchange, &route, &mut outgoing).await;
    exchange.connection.worker.return_space(outgoing.into_space());
    match outcome {
        Ok(Answer { response, sender }) => {
            exchange.heard(&response);
            let status = response.status();
            exchange.record.status = status.as_u16();
            let switching = status == StatusCode::SWITCHING_PROTOCOLS;
            let faked = switching || wanted.as_ref().is_some_and(|it| it.is_faked_by(status));
            match wanted.filter(|wanted| switching && wanted.is_met_by(&response)) {
                Some(wanted) => upgrade::tunnel(exchange, &route, *wanted, response),
                None if faked || !framing::is_sound(response.headers()) => {
                    exchange.count(|counters| counters.response_errors.add(1));
                    serve::own(exchange, Reason::UpstreamInvalid)
                },
                None => {
                    let (mut parts, body) = response.into_parts();
                    let spoken = std::mem::replace(&mut parts.version, Version::HTTP_11);
                    if let Err(reason) = relayed(&mut exchange, &route, status, &mut parts.headers)
                    {
                        return serve::own(exchange, reason);
                    }
                    let early = exchange.progress.answered_early(status);
                    if early && version != Version::HTTP_2 {
                        // What follows on the connection could be the body after all.
                        parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
                    }
                    // The same holds for the pod's.
                    let sender = sender.filter(|_| !early);
                    let limit = route.policy.server_timeout;
                    let worker = gzip.then(|| Rc::clone(&exchange.connection.worker));
                    let body = ResponseBody::pod(body, sender, limit, exchange);
                    let body = match worker {
                        Some(worker) => compress::pack(body, worker, spoken, &mut parts),
                        None => body,
                    };
                    Response::from_parts(parts, body)
                },
            }
        },
        Err(reason) => serve::own(exchange, reason),
    }
}

/// Tries servers until one answers, nothing is left to try, or the request must not be repeated.
async fn send_somewhere(
    exchange: &mut Exchange,
    route: &Arc<CompiledRoute>,
    outgoing: &mut Outgoing,
) -> Result<Answer, Reason> {
    let mut tries = Tries::default();
    let mut fresh_only = false;
    loop {
        let index = dispatch(exchange, route, &mut tries).await?;
        let reason = match attempt(exchange, route, index, outgoing, fresh_only).await {
            Ok(answer) => return Ok(answer),
            Err(Failure::Elsewhere(reason)) => {
                tries.exclude(index, reason);
                reason
            },
            Err(Failure::Anew) => {
                fresh_only = true;
                Reason::UpstreamReset
            },
            Err(Failure::Unsent) => {
                // No pod has seen it, so it is none of the tries that the budget is about.
                fresh_only = true;
                again(exchange, &mut tries, Reason::UpstreamReset)?;
                continue;
            },
            Err(Failure::Final(reason)) => {
                exchange.count(|counters| counters.response_errors.add(1));
                return Err(reason);
            },
        };
        within_budget(exchange, &tries, reason)?;
        again(exchange, &mut tries, reason)?;
    }
}

/// Gives what is to be sent to the next server: another one at once if there is one, else the same ones
/// again after a pause (quirk 29).
///
/// # Errors
/// When no server can be had.
pub(super) async fn dispatch(
    exchange: &mut Exchange,
    route: &Arc<CompiledRoute>,
    tries: &mut Tries,
) -> Result<usize, Reason> {
    loop {
        let backend = &route.backend;
        let chosen = sticky::server(exchange, backend, tries)
            .or_else(|| select::choose(backend, &tries.tried, draw(exchange, backend)));
        if let Some(index) = chosen {
            let elsewhere = tries.last.replace(index).is_some_and(|last| last != index);
            let place = queue::place(exchange, route, index).await?;
            exchange.dispatch(route, index);
            exchange.assigned(elsewhere);
            exchange.hold(place);
            if route.backend.servers[index].peer.is_ejected() {
                eject::ignored(exchange);
            }
            exchange.count(|counters| counters.redispatches.add(u64::from(elsewhere)));
            return Ok(index);
        }
        if tries.tried.is_empty() {
            return Err(tries.failed.unwrap_or_else(|| select::nothing(&route.backend)));
        }
        // The server that failed is free for others meanwhile.
        exchange.release();
        let connect = exchange.connection.worker.settings.timeouts.connect;
        Box::pin(tokio::time::sleep(PAUSE.min(connect))).await;
        tries.tried.clear();
    }
}

/// Takes one more try out of the budget of the process (reliability.md 2.3).
///
/// # Errors
/// When it is used up: with `reason`, as if there had been as many tries as there may be.
pub(super) fn within_budget(
    exchange: &Exchange,
    tries: &Tries,
    reason: Reason,
) -> Result<(), Reason> {
    let worker = &exchange.connection.worker;
    let (stats, now) = (&worker.stats, clock::millis());
    stats.retries.observe(now, stats.requests());
    if tries.is_last() || stats.retries.take(now, &worker.settings.health.retries) {
        return Ok(());
    }
    stats.workers.cell(worker.index).retries_denied.add(1);
    Err(reason)
}

/// Counts one more try after one that ended with `reason`.
///
/// # Errors
/// When there were as many as there may be.
pub(super) fn again(
    exchange: &mut Exchange,
    tries: &mut Tries,
    reason: Reason,
) -> Result<(), Reason> {
    if !tries.another() {
        return Err(reason);
    }
    exchange.record.retries = exchange.record.retries.saturating_add(1);
    exchange.count(|counters| counters.retries.add(1));
    let worker = &exchange.connection.worker;
    worker.stats.workers.cell(worker.index).retries[reason as usize].add(1);
    Ok(())
}

/// What the balancer chooses by: the client's address for `source`, else a fresh random number.
fn draw(exchange: &Exchange, backend: &Backend) -> u64 {
    match backend.balancer.algorithm() {
        Algorithm::Source => source_hash(exchange.connection.client.ip()),
        Algorithm::Leastconn | Algorithm::Random | Algorithm::RoundRobin => {
            exchange.connection.worker.draw()
        },
    }
}
