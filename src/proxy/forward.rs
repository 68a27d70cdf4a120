//! Step 3: the request to the pod: headers, connection, send, and the decision to try again.
//!
//! Called by `serve` once a route is found. Retries follow reliability.md 2.3 and quirk 29: what was
//! never sent may go anywhere again; what was sent on a reused connection may go once more if it is
//! idempotent and has no body; nothing else is sent twice.

use std::{
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body, Incoming};

use super::{
    framing, queue, reply,
    request::Checked,
    response::{Exchange, ResponseBody},
    select::{self, MAX_TRIES, Tried},
    upgrade,
};
use crate::{
    balance::{Algorithm, source_hash},
    headers,
    model::reason::Reason,
    snapshot::{Backend, CompiledRoute},
    upstream::{
        body::{Progress, RequestBody},
        h1::{self, DialError, Sender},
    },
};

/// Fields that are added to a request at most: five of forwarding, Host, Connection, Upgrade.
const FORWARDED_FIELDS: usize = 8;

/// Longest pause before the same endpoint is tried again [RETRY-1].
const PAUSE: Duration = Duration::from_secs(1);

/// A request on its way out.
struct Outgoing {
    request: Request<RequestBody>,
    /// May be sent a second time after it was lost (idempotent, no body, no upgrade).
    replayable: bool,
}

/// Why a try failed.
enum Failure {
    /// Nothing was sent: the request is still here.
    Unsent(Outgoing),
    /// It was sent over a reused connection that turned out dead, and may be sent again.
    Lost(Outgoing),
    /// It must not be sent again.
    Final(Reason),
}

/// Sends the request to a pod of `route` and returns what the client gets.
pub async fn forward(
    mut exchange: Box<Exchange>,
    route: Arc<CompiledRoute>,
    checked: Checked,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    exchange.record.route = Some(Arc::clone(&route));
    let version = request.version();
    let wanted = headers::upgrade_of(request.headers(), version);
    let client = wanted.as_ref().map(|_| hyper::upgrade::on(&mut request));
    let mut outgoing = prepare(&exchange, &route, checked, request, wanted.as_ref());
    match send_somewhere(&mut exchange, &route, &mut outgoing).await {
        Ok((response, peer, sender)) => {
            exchange.record.status = response.status().as_u16();
            let switching = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            let agreed = switching && is_agreed(&response, wanted.as_ref());
            match client.filter(|_| agreed) {
                Some(client) => upgrade::tunnel(exchange, &route, client, response),
                None if switching || !framing::is_sound(response.headers()) => {
                    exchange.count(|counters| counters.response_errors.add(1));
                    refuse(exchange, Reason::UpstreamInvalid, version)
                },
                None => answer(exchange, &route, response, peer, sender),
            }
        },
        Err(reason) => refuse(exchange, reason, version),
    }
}

/// True when a 101 switches to the protocol that was asked for (S-15).
fn is_agreed(response: &Response<Incoming>, wanted: Option<&HeaderValue>) -> bool {
    let got = headers::upgrade_of(response.headers(), Version::HTTP_11);
    got.zip(wanted)
        .is_some_and(|(got, wanted)| got.as_bytes().eq_ignore_ascii_case(wanted.as_bytes()))
}

/// An answer of the router's own, for a request that had a route.
fn refuse(mut exchange: Box<Exchange>, reason: Reason, version: Version) -> Response<ResponseBody> {
    exchange.answered(reason);
    let response = reply::error(reason, version);
    exchange.record.status = response.status().as_u16();
    response.map(|body| body.with(exchange))
}

/// The pod's answer, without what belongs to its connection.
fn answer(
    exchange: Box<Exchange>,
    route: &CompiledRoute,
    response: Response<Incoming>,
    peer: u64,
    sender: Sender,
) -> Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    parts.version = Version::HTTP_11;
    headers::strip_response_hop_by_hop(&mut parts.headers);
    let limit = route.policy.server_timeout;
    Response::from_parts(parts, ResponseBody::pod(body, peer, sender, limit, exchange))
}

/// The request as the pod will see it.
fn prepare(
    exchange: &Exchange,
    route: &CompiledRoute,
    checked: Checked,
    request: Request<Incoming>,
    upgrade: Option<&HeaderValue>,
) -> Outgoing {
    let (mut parts, body) = request.into_parts();
    let connection = &exchange.connection;
    let host = checked.host.unwrap_or_else(|| HeaderValue::from_static(""));
    headers::strip_request_hop_by_hop(&mut parts.headers);
    if parts.version == Version::HTTP_2 {
        headers::merge_cookies(&mut parts.headers);
    }
    let about = headers::Forwarding {
        client: connection.client.ip(),
        host: &host,
        port: connection.port,
        tls: connection.frontend.is_tls(),
        h2: parts.version == Version::HTTP_2 && connection.frontend.is_tls(),
    };
    // Room for all of them at once: the map grows by doubling otherwise.
    parts.headers.reserve(FORWARDED_FIELDS);
    headers::forward(&mut parts.headers, &about, route.policy.forwarded);
    parts.headers.insert(http::header::HOST, host);
    if let Some(protocol) = upgrade {
        parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(http::header::UPGRADE, protocol.clone());
    }
    let empty = body.is_end_stream();
    let progress = Rc::clone(&exchange.progress);
    let body = if empty {
        RequestBody::empty(progress)
    } else {
        framing::announce(&mut parts.headers);
        // Several streams share one connection, so each watches its own body.
        let http2 = parts.version == Version::HTTP_2;
        let limit = http2.then_some(connection.worker.settings.timeouts.client);
        RequestBody::new(body, progress, Arc::clone(&connection.phase), limit)
    };
    let replayable = empty && upgrade.is_none() && is_idempotent(&parts.method);
    let request = assemble(parts.method, checked.target, parts.headers, body);
    Outgoing { request, replayable }
}

fn assemble(
    method: Method,
    target: Uri,
    headers: HeaderMap,
    body: RequestBody,
) -> Request<RequestBody> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.headers_mut() = headers;
    request
}

/// RFC 9110 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    )
}

/// Tries servers until one answers, nothing is left to try, or the request must not be repeated.
async fn send_somewhere(
    exchange: &mut Exchange,
    route: &Arc<CompiledRoute>,
    outgoing: &mut Outgoing,
) -> Result<(Response<Incoming>, u64, Sender), Reason> {
    let mut tried = Tried::default();
    let mut failed = None;
    let mut fresh_only = false;
    let mut tries = 0;
    let mut last = None;
    loop {
        let Some(index) = select::choose(&route.backend, &tried, draw(exchange, &route.backend))
        else {
            let reason = failed.unwrap_or_else(|| select::nothing(&route.backend));
            if tried.is_empty() || tries >= MAX_TRIES {
                return Err(reason);
            }
            let connect = exchange.connection.worker.settings.timeouts.connect;
            tokio::time::sleep(PAUSE.min(connect)).await;
            tried.clear();
            continue;
        };
        let elsewhere = last.replace(index).is_some_and(|last| last != index);
        let place = queue::place(exchange, route, index).await?;
        exchange.dispatch(route, index);
        exchange.hold(place);
        exchange.count(|counters| counters.redispatches.add(u64::from(elsewhere)));
        let peer = &route.backend.servers[index].peer;
        let (mut sender, reused) =
            match obtain(exchange, peer, outgoing.replayable, fresh_only).await {
                Ok(found) => found,
                Err(error) => {
                    let reason = count_dial_error(exchange, &error);
                    failed = Some(reason);
                    tried.push(index);
                    tries += 1;
                    if tries >= MAX_TRIES {
                        return Err(reason);
                    }
                    retried(exchange);
                    continue;
                },
            };
        let request = take(outgoing);
        match send(exchange, route, &mut sender, request, reused && !fresh_only).await {
            Ok(response) => return Ok((response, peer.id, sender)),
            Err(Failure::Unsent(request) | Failure::Lost(request)) => {
                *outgoing = request;
                fresh_only = true;
            },
            Err(Failure::Final(reason)) => {
                exchange.count(|counters| counters.response_errors.add(1));
                return Err(reason);
            },
        }
        retried(exchange);
        tries += 1;
        if tries >= MAX_TRIES {
            return Err(Reason::UpstreamReset);
        }
    }
}

/// Moves the request out, leaving an empty one that is never sent.
fn take(outgoing: &mut Outgoing) -> Outgoing {
    let spent = Request::new(RequestBody::empty(Rc::default()));
    Outgoing {
        request: std::mem::replace(&mut outgoing.request, spent),
        replayable: outgoing.replayable,
    }
}

fn retried(exchange: &mut Exchange) {
    exchange.record.retries = exchange.record.retries.saturating_add(1);
    exchange.count(|counters| counters.retries.add(1));
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

fn count_dial_error(exchange: &Exchange, error: &DialError) -> Reason {
    exchange.count(|counters| counters.connection_errors.add(1));
    match error {
        DialError::Connect(source) if source.kind() == std::io::ErrorKind::AddrNotAvailable => {
            Reason::LocalPorts
        },
        DialError::Connect(_) => Reason::ConnectFailed,
        DialError::Timeout => Reason::ConnectTimeout,
    }
}

/// A connection to `peer`, and whether it was used before. An idle one is for requests that may be
/// repeated, or that are not the first of their client connection (decisions 12); after a reused
/// connection has failed this request, only a new one will do.
async fn obtain(
    exchange: &mut Exchange,
    peer: &crate::upstream::peer::Peer,
    replayable: bool,
    fresh_only: bool,
) -> Result<(Sender, bool), DialError> {
    let connection = Rc::clone(&exchange.connection);
    let worker = &connection.worker;
    let may_reuse = !fresh_only && (replayable || connection.requests.get() > 1);
    if may_reuse && let Some(sender) = worker.pool.take(peer.id, Instant::now()) {
        exchange.count(|counters| counters.reused.add(1));
        exchange.record.times.connect = Some(0);
        return Ok((sender, true));
    }
    let start = exchange.elapsed();
    let sender = h1::dial(peer.key.address, worker.settings.timeouts.connect).await?;
    let took = exchange.elapsed().saturating_sub(start);
    exchange.record.times.connect = Some(took);
    exchange.count(|counters| {
        counters.connects.add(1);
        counters.connect_micros.add(u64::from(took));
    });
    Ok((sender, false))
}

/// Sends the request over `sender` and waits for the response head. `keep` keeps a copy of the head
/// so that a lost request can be repeated.
async fn send(
    exchange: &mut Exchange,
    route: &CompiledRoute,
    sender: &mut Sender,
    outgoing: Outgoing,
    keep: bool,
) -> Result<Response<Incoming>, Failure> {
    let replayable = outgoing.replayable;
    let copy = (keep && replayable).then(|| copy_head(&outgoing.request));
    let sent = exchange.elapsed();
    let limit = route.policy.server_timeout;
    let outcome =
        within(limit, &exchange.progress, sender.try_send_request(outgoing.request)).await;
    let took = exchange.elapsed().saturating_sub(sent);
    match outcome {
        None => Err(Failure::Final(Reason::UpstreamTimeout)),
        Some(Ok(response)) => {
            exchange.record.times.response = Some(took);
            exchange.count(|counters| counters.response_micros.add(u64::from(took)));
            Ok(response)
        },
        Some(Err(mut error)) => {
            if let Some(request) = error.take_message() {
                return Err(Failure::Unsent(Outgoing { request, replayable }));
            }
            let error = error.into_error();
            tracing::debug!(%error, "pod request failed");
            let reason = judge(&error, &exchange.progress, exchange);
            match copy.filter(|_| reason == Reason::UpstreamReset) {
                Some(request) => Err(Failure::Lost(Outgoing { request, replayable })),
                None => Err(Failure::Final(reason)),
            }
        },
    }
}

fn copy_head(request: &Request<RequestBody>) -> Request<RequestBody> {
    assemble(
        request.method().clone(),
        request.uri().clone(),
        request.headers().clone(),
        RequestBody::empty(Rc::default()),
    )
}

/// Why a request that was sent has no response.
fn judge(error: &hyper::Error, progress: &Progress, exchange: &Exchange) -> Reason {
    if progress.failed.get() {
        if exchange.connection.gate.is_broken() {
            return Reason::BadRequest;
        }
        let late = progress.timed_out.get() || exchange.connection.phase.expired().is_some();
        return if late { Reason::ClientTimeout } else { Reason::ClientClosed };
    }
    if error.is_parse() || error.is_parse_too_large() {
        return Reason::UpstreamInvalid;
    }
    Reason::UpstreamReset
}

/// Waits for `future`; `None` when for `limit` nothing moved and it was the pod's turn: it had the
/// whole body, or took no more of it. While it waits for the client, the client's own limit holds.
async fn within<F: Future>(limit: Duration, progress: &Progress, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut since = tokio::time::Instant::now();
    loop {
        if let Ok(output) = tokio::time::timeout_at(since + limit, &mut future).await {
            return Some(output);
        }
        let last = if progress.waiting.get() {
            Some(tokio::time::Instant::now())
        } else {
            progress.moved.get()
        };
        since = last.filter(|last| *last > since)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// Seconds until a pod that never answers has used its limit up, while `client` goes on.
    async fn seconds(progress: &Progress, client: impl Future<Output = ()>) -> u64 {
        let start = tokio::time::Instant::now();
        let (outcome, ()) =
            tokio::join!(within(LIMIT, progress, std::future::pending::<()>()), client);
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
