//! One try: a connection to one server, the request over it, and the response's head.
//!
//! Called by `forward` for each try. What comes back says whether and how there may be another one.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Poll, ready},
    time::Duration,
};

use http::Response;

use super::prepare::Outgoing;
use crate::{
    model::reason::Reason,
    net::{alarm::Alarm, clock},
    proxy::{eject, response::Exchange},
    snapshot::CompiledRoute,
    upstream::{
        body::{PodBody, Progress},
        dial::{Cause, DialError},
        h1::{self, Sender},
        h2::{
            Lease,
            stream::{self, StreamError},
        },
        peer::{Peer, Protocol},
        pool::Reached,
        secure::{Offer, Secure},
    },
};

/// A response's head, and the connection to put back into the pool when its body has ended.
pub(super) struct Answer {
    pub(super) response: Response<PodBody>,
    pub(super) sender: Option<Sender>,
}

/// Why a try failed. The request is whole again, unless this is final.
pub(super) enum Failure {
    /// The server took nothing of it: another one may be tried.
    Elsewhere(Reason),
    /// The connection turned out dead: the request may go over a new one.
    Anew,
    /// The same, and no byte of the request was sent.
    Unsent,
    /// It must not be sent again.
    Final(Reason),
}

/// Tries server `index` of `route`; with `fresh_only` over a new connection.
pub(super) async fn attempt(
    exchange: &mut Exchange,
    route: &Arc<CompiledRoute>,
    index: usize,
    outgoing: &mut Outgoing,
    fresh_only: bool,
) -> Result<Answer, Failure> {
    let peer = &route.backend.servers[index].peer;
    let limit = route.policy.server_timeout;
    // Boxed but for the first, so that a request over plain HTTP/1 does not carry what these need.
    match (&peer.tls, peer.key.protocol) {
        (None, Protocol::Http1) => over_http1(exchange, peer, limit, outgoing, fresh_only).await,
        (None, Protocol::Http2) => Box::pin(over_http2(exchange, peer, limit, outgoing)).await,
        (Some(secure), _) => {
            Box::pin(over_tls(exchange, peer, secure, limit, outgoing, fresh_only)).await
        },
    }
}

/// An idle connection is for requests that may be repeated, or that are not the first of their
/// client connection (decisions 12); after a reused connection has failed this request, only a new
/// one will do.
fn may_reuse(exchange: &Exchange, outgoing: &Outgoing, fresh_only: bool) -> bool {
    !fresh_only && (outgoing.replayable || exchange.connection.requests.get() > 1)
}

async fn over_http1(
    exchange: &mut Exchange,
    peer: &Arc<Peer>,
    limit: Duration,
    outgoing: &mut Outgoing,
    fresh_only: bool,
) -> Result<Answer, Failure> {
    let may_reuse = may_reuse(exchange, outgoing, fresh_only);
    let worker = &exchange.connection.worker;
    let idle = may_reuse.then(|| worker.pool.take(peer.id, clock::now().into_std())).flatten();
    let reused = idle.is_some();
    let sender = match idle {
        Some(sender) => {
            count_reuse(exchange);
            sender
        },
        None => {
            let start = exchange.elapsed();
            let (wire, connect) = (worker.pool.wire(), worker.settings.timeouts.connect);
            // Boxed: most requests find a connection, and need not carry what making one takes.
            match Box::pin(h1::dial(peer.key.address, wire, connect)).await {
                Ok(sender) => {
                    count_connect(exchange, start);
                    sender
                },
                Err(error) => return Err(Failure::Elsewhere(not_reached(exchange, &error))),
            }
        },
    };
    exchange_http1(exchange, sender, reused, limit, outgoing).await
}

/// The request over a connection of HTTP/1.
async fn exchange_http1(
    exchange: &mut Exchange,
    mut sender: Sender,
    reused: bool,
    limit: Duration,
    outgoing: &mut Outgoing,
) -> Result<Answer, Failure> {
    let kept = reused && outgoing.replayable;
    let sent = exchange.elapsed();
    let outcome =
        within(limit, &exchange.progress, &mut exchange.alarm, sender.send(outgoing.lend(kept)))
            .await;
    match outcome {
        None => Err(Failure::Final(Reason::UpstreamTimeout)),
        Some(Ok(response)) => {
            count_response(exchange, sent);
            Ok(Answer { response: response.map(PodBody::Http1), sender: Some(sender) })
        },
        Some(Err(mut error)) => {
            if let Some(request) = error.take_message() {
                outgoing.take_back(request);
                return Err(Failure::Unsent);
            }
            let error = error.into_error();
            tracing::debug!(%error, "pod request failed");
            let malformed = error.is_parse() || error.is_parse_too_large();
            let reason = judge(exchange, malformed);
            let again = kept && reason == Reason::UpstreamReset;
            Err(if again { Failure::Anew } else { Failure::Final(reason) })
        },
    }
}

/// Over TLS the pod says which of the two it is. HTTP/2 carries no upgrade of HTTP/1, so a request
/// for one asks for a connection that does (spec/route.md 26.2).
async fn over_tls(
    exchange: &mut Exchange,
    peer: &Arc<Peer>,
    secure: &Secure,
    limit: Duration,
    outgoing: &mut Outgoing,
    fresh_only: bool,
) -> Result<Answer, Failure> {
    let start = exchange.elapsed();
    let may_reuse = may_reuse(exchange, outgoing, fresh_only);
    let offer = if outgoing.upgrades { Offer::Http1 } else { Offer::All };
    let worker = &exchange.connection.worker;
    let connect = worker.settings.timeouts.connect;
    match worker.pool.reach(peer, secure, offer, may_reuse, connect).await {
        Ok(Reached::Http1 { sender, reused }) => {
            if reused {
                count_reuse(exchange);
            } else {
                count_connect(exchange, start);
            }
            exchange_http1(exchange, sender, reused, limit, outgoing).await
        },
        Ok(Reached::Http2(lease)) => exchange_http2(exchange, lease, start, limit, outgoing).await,
        Err(error) => Err(Failure::Elsewhere(not_reached(exchange, &error))),
    }
}

/// A shared connection is for every request: a pod that closes one says which requests it has not
/// looked at.
async fn over_http2(
    exchange: &mut Exchange,
    peer: &Arc<Peer>,
    limit: Duration,
    outgoing: &mut Outgoing,
) -> Result<Answer, Failure> {
    let start = exchange.elapsed();
    let worker = &exchange.connection.worker;
    match worker.pool.lease(peer, worker.settings.timeouts.connect).await {
        Ok(lease) => exchange_http2(exchange, lease, start, limit, outgoing).await,
        Err(error) => Err(Failure::Elsewhere(not_reached(exchange, &error))),
    }
}

/// The request over a stream of HTTP/2, for which it has waited since `start`.
async fn exchange_http2(
    exchange: &mut Exchange,
    lease: Lease,
    start: u32,
    limit: Duration,
    outgoing: &mut Outgoing,
) -> Result<Answer, Failure> {
    if lease.reused {
        count_reuse(exchange);
    } else {
        count_connect(exchange, start);
    }
    let has_body = !http_body::Body::is_end_stream(&outgoing.body);
    let sent = exchange.elapsed();
    let sending = stream::send(&lease, outgoing.lend(true));
    match within(limit, &exchange.progress, &mut exchange.alarm, sending).await {
        None => Err(Failure::Final(Reason::UpstreamTimeout)),
        Some(Ok(response)) => {
            exchange.progress.answered.set(true);
            count_response(exchange, sent);
            let (parts, mut body) = response.into_parts();
            body.expect(&parts.headers);
            let response = Response::from_parts(parts, PodBody::Http2(body));
            Ok(Answer { response, sender: None })
        },
        Some(Err(error)) => {
            tracing::debug!(%error, source = std::error::Error::source(&error), "pod request failed");
            let reason = judge(exchange, matches!(error, StreamError::Invalid(_)));
            Err(match error {
                _ if reason != Reason::UpstreamReset => Failure::Final(reason),
                StreamError::Refused(_) if has_body => match exchange.progress.reclaim() {
                    Some(body) => {
                        outgoing.body = body;
                        Failure::Elsewhere(reason)
                    },
                    None => Failure::Final(reason),
                },
                StreamError::Refused(_) => Failure::Elsewhere(reason),
                StreamError::Lost(_) if lease.reused && outgoing.replayable => Failure::Anew,
                _ => Failure::Final(reason),
            })
        },
    }
}

fn count_reuse(exchange: &mut Exchange) {
    exchange.count(|counters| counters.reused.add(1));
    exchange.record.times.connect = Some(0);
}

pub(in crate::proxy) fn count_connect(exchange: &mut Exchange, start: u32) {
    let took = exchange.elapsed().saturating_sub(start);
    exchange.record.times.connect = Some(took);
    exchange.count(|counters| counters.connects.add(1));
    if let Some(timings) = exchange.timings() {
        timings.connect.add(u64::from(took));
    }
}

fn count_response(exchange: &mut Exchange, sent: u32) {
    let took = exchange.elapsed().saturating_sub(sent);
    exchange.record.times.response = Some(took);
}

/// No connection came about, so nothing was sent.
pub(in crate::proxy) fn not_reached(exchange: &Exchange, error: &DialError) -> Reason {
    tracing::debug!(%error, source = std::error::Error::source(error), "pod not reached");
    exchange.count(|counters| counters.connection_errors.add(1));
    eject::note(exchange, error);
    let worker = &exchange.connection.worker;
    let counters = worker.stats.workers.cell(worker.index);
    match error {
        DialError::Certificate(_) => counters.pod_certificates_refused.add(1),
        DialError::Handshake(_) => counters.pod_handshakes_failed.add(1),
        _ => {},
    }
    match error.cause() {
        Cause::Preface => Reason::UpstreamInvalid,
        Cause::Timeout => Reason::ConnectTimeout,
        Cause::Certificate => Reason::TlsVerifyFailed,
        Cause::Connect(io::ErrorKind::AddrNotAvailable) => Reason::LocalPorts,
        Cause::Connect(_) | Cause::Handshake => Reason::ConnectFailed,
    }
}

/// Why a request that was sent has no response.
fn judge(exchange: &Exchange, malformed: bool) -> Reason {
    let progress = &exchange.progress;
    if progress.failed.get() {
        if exchange.connection.gate.is_broken() {
            return Reason::BadRequest;
        }
        let late = progress.timed_out.get() || exchange.connection.phase.expired().is_some();
        return if late { Reason::ClientTimeout } else { Reason::ClientClosed };
    }
    if malformed { Reason::UpstreamInvalid } else { Reason::UpstreamReset }
}

/// Waits for `future`; `None` when for `limit` nothing moved and it was the pod's turn: it had the
/// whole body, or took no more of it. While it waits for the client, the client's own limit holds.
async fn within<F: Future>(
    limit: Duration,
    progress: &Progress,
    alarm: &mut Alarm,
    future: F,
) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut since = clock::now();
    poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        loop {
            ready!(alarm.poll(cx, since + limit));
            let last =
                if progress.waiting.get() { Some(clock::now()) } else { progress.moved.get() };
            match last.filter(|last| *last > since) {
                Some(last) => since = last,
                None => return Poll::Ready(None),
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Seconds until a pod that never answers has used its limit up, while `client` goes on.
    async fn seconds(progress: &Progress, client: impl Future<Output = ()>) -> u64 {
        let start = tokio::time::Instant::now();
        let mut alarm = Alarm::default();
        let (outcome, ()) =
            tokio::join!(within(LIMIT, progress, &mut alarm, std::future::pending::<()>()), client);
        assert!(outcome.is_none());
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_pod_has_its_limit_from_the_last_byte_of_the_body() {
        let progress = Progress::default();
        let client = async {
            progress.waiting.set(true);
            tokio::time::sleep(Duration::from_secs(70)).await;
            progress.waiting.set(false);
            progress.note();
            progress.ended.set(true);
        };
        assert_eq!(seconds(&progress, client).await, 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_takes_no_more_of_the_body_is_not_waited_for() {
        let progress = Progress::default();
        let client = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            progress.note();
        };
        assert_eq!(seconds(&progress, client).await, 35);
    }
}
