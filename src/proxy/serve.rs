//! The order of the steps for one request, and the HTTP engines in front of them.
//!
//! Called by `entry` with a stream whose protocol is known. A request loads the snapshot once, looks
//! its route up, clones the route's Arc and lets the snapshot go before the first await.

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, Response, Version, header::CONNECTION};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    entry::Open,
    forward,
    isolate::{Panicked, isolate},
    record::Frontend,
    reply, request,
    response::{Exchange, ResponseBody},
    worker::Worker,
};
use crate::{
    model::reason::Reason,
    net::timed::{PhaseCell, TimedIo},
    routing::table::Lookup,
    snapshot::CompiledRoute,
};

/// Most bytes buffered in one direction of a client connection.
const MAX_BUFFER: usize = 64 * 1024;

/// Limit of a request head [LIM-1].
const MAX_HEAD: usize = 24_576;

/// Most header fields of a request [LIM-1].
const MAX_HEADERS: usize = 101;

/// Most streams at once on an HTTP/2 connection.
const MAX_STREAMS: u32 = 100;

/// Flow-control windows of HTTP/2: a stream's and the connection's.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// HTTP/2 PING, and how long its answer may take (reliability.md 3).
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a stopping worker waits for the first request of a connection.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// One client connection.
#[derive(Debug)]
pub struct Connection {
    /// The thread that serves it.
    pub worker: Rc<Worker>,
    /// The client, from the PROXY header if there was one.
    pub client: SocketAddr,
    /// Destination port, for X-Forwarded-Port.
    pub port: u16,
    /// The frontend.
    pub frontend: Frontend,
    /// Phase of its I/O.
    pub phase: Arc<PhaseCell>,
    /// Requests so far.
    pub requests: Cell<u64>,
    /// Counts it as open; a tunnel keeps it.
    pub open: Open,
}

/// What a lookup decided, with what has to outlive the snapshot.
enum Decision {
    Forward(Arc<CompiledRoute>),
    Redirect(Arc<CompiledRoute>),
    Refuse(Reason),
}

/// Answers one request, whatever happens to it.
async fn answer(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Denied> {
    let version = request.version();
    match isolate(handle(Rc::clone(&connection), request)).await {
        Ok(outcome) => outcome,
        Err(Panicked) => {
            let worker = &connection.worker;
            worker.stats.workers.cell(worker.index).panics.add(1);
            Ok(reply::error(Reason::Internal, version))
        },
    }
}

/// The steps of one request, in their order.
async fn handle(
    connection: Rc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Denied> {
    connection.requests.set(connection.requests.get() + 1);
    connection.phase.begin(!hyper::body::Body::is_end_stream(request.body()));
    let version = request.version();
    let head = request.method() == Method::HEAD;
    let worker = &connection.worker;
    let checked = request::check(&request);
    let (generation, decision) = {
        let snapshot = worker.live.load();
        let decision = match &checked {
            Err(reason) => Decision::Refuse(*reason),
            Ok(checked) => {
                let tls = connection.frontend.is_tls();
                match snapshot.table.lookup(tls, checked.host_bytes(), checked.path()) {
                    Lookup::Serve(route) => Decision::Forward(Arc::clone(route)),
                    Lookup::Redirect(route) => Decision::Redirect(Arc::clone(route)),
                    Lookup::NoPath => Decision::Refuse(Reason::NoPath),
                    Lookup::NoHost => Decision::Refuse(Reason::NoRoute),
                }
            },
        };
        (snapshot.generation, decision)
    };
    let exchange = Exchange::begin(&connection, &request, generation);
    let mut response = match (decision, checked) {
        (Decision::Forward(route), Ok(checked)) => {
            if !may_use(&route, &connection) {
                return Err(deny(exchange, route));
            }
            forward::forward(exchange, route, checked, request).await
        },
        (Decision::Redirect(route), Ok(checked)) => redirect(exchange, route, &checked, version),
        (Decision::Refuse(reason), _) | (_, Err(reason)) => own(exchange, reason, version),
    };
    // The 503 page of HTTP/1 ends with the connection; to HEAD it has no body that could end it.
    let page_to_head = head && response.version() == Version::HTTP_10;
    if (worker.drain.is_draining() || page_to_head) && version != Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().entry(CONNECTION).or_insert(close);
    }
    Ok(response)
}

/// The client is not on the route's allow list: the connection is closed without an answer [IPL-7].
#[derive(Debug, thiserror::Error)]
#[error("the client is not on the route's allow list")]
struct Denied;

/// [IPL-6]: the socket's peer or the PROXY header's source, never a request header.
fn may_use(route: &CompiledRoute, connection: &Connection) -> bool {
    let Some(allow) = &route.policy.allow else { return true };
    let client = connection.client.ip().to_canonical();
    allow.iter().any(|network| network.contains(&client))
}

fn deny(mut exchange: Box<Exchange>, route: Arc<CompiledRoute>) -> Denied {
    exchange.record.route = Some(route);
    exchange.answered(Reason::DeniedAllowlist);
    Denied
}

/// An answer of the router's own, without a route.
fn own(mut exchange: Box<Exchange>, reason: Reason, version: Version) -> Response<ResponseBody> {
    exchange.answered(reason);
    let response = reply::error(reason, version);
    exchange.record.status = response.status().as_u16();
    response.map(|body| body.with(exchange))
}

fn redirect(
    mut exchange: Box<Exchange>,
    route: Arc<CompiledRoute>,
    checked: &request::Checked,
    version: Version,
) -> Response<ResponseBody> {
    let port = exchange.connection.worker.settings.redirect_https_port;
    exchange.record.route = Some(route);
    match reply::redirect(checked.host.as_ref(), &checked.target, port) {
        Some(response) => {
            exchange.answered(Reason::Redirect);
            exchange.record.status = response.status().as_u16();
            response.map(|body| body.with(exchange))
        },
        None => own(exchange, Reason::BadRequest, version),
    }
}

/// Serves a connection until it ends, or until the process drains. `http2` tells the protocol.
///
/// # Errors
/// What ended the connection, if it was not an orderly close.
pub async fn run<S>(connection: Rc<Connection>, io: TimedIo<S>, http2: bool) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = {
        let connection = Rc::clone(&connection);
        service_fn(move |request| answer(Rc::clone(&connection), request))
    };
    let drain = connection.worker.drain.clone();
    if http2 {
        let mut engine = std::pin::pin!(
            hyper::server::conn::http2::Builder::new(LocalExecutor)
                .timer(TokioTimer::new())
                .auto_date_header(false)
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .keep_alive_interval(PING_INTERVAL)
                .keep_alive_timeout(PING_TIMEOUT)
                .serve_connection(TokioIo::new(io), service)
        );
        tokio::select! {
            biased; // what has been received already is served
            result = engine.as_mut() => return result,
            () = drain.begun.cancelled() => engine.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            result = engine.as_mut() => result,
            () = drain.killed.cancelled() => Ok(()),
        }
    } else {
        let mut engine = std::pin::pin!(
            hyper::server::conn::http1::Builder::new()
                .auto_date_header(false)
                .header_read_timeout(None)
                .half_close(false)
                .max_headers(MAX_HEADERS)
                .max_header_size(MAX_HEAD)
                .max_buf_size(MAX_BUFFER)
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades()
        );
        tokio::select! {
            biased; // what has been received already is served
            result = engine.as_mut() => return result,
            () = wound_up(&connection) => engine.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            result = engine.as_mut() => result,
            () = drain.killed.cancelled() => Ok(()),
        }
    }
}

/// Done when an idle HTTP/1 connection is to be closed. One that has just been opened may still say
/// what it came for.
async fn wound_up(connection: &Connection) {
    let drain = &connection.worker.drain;
    drain.stopped.cancelled().await;
    if connection.requests.get() == 0 {
        tokio::time::sleep(FIRST_REQUEST).await;
    }
}

/// Runs HTTP/2 streams on the worker's own thread.
#[derive(Clone, Copy, Debug)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        // Owned by the connection: hyper drops its streams with it.
        tokio::task::spawn_local(future);
    }
}
