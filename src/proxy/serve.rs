//! The order of the steps for one request.
//!
//! Called by the HTTP engines, `http1` and `http2`. A request loads the snapshot once, looks
//! its route up, clones the route's Arc and lets the snapshot go before the first await.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header::CONNECTION,
};
use hyper::body::Incoming;

use super::{
    HEALTH_PATH, arrive,
    detail::Told,
    entry::Open,
    forward,
    gated::{GateCell, Refusal},
    isolate::{Panicked, isolate},
    rates,
    record::Frontend,
    reply,
    request::{self, Checked},
    response::{Exchange, ResponseBody},
    secure::{Found, Secured},
    upgrade::Wanted,
    worker::Worker,
};
use crate::{
    gate::Fault,
    headers::{Said, actions::Actions},
    model::{page::Pages, reason::Reason},
    net::{alarm::Alarm, timed::PhaseCell},
    rates::Refused,
    routing::table::Lookup,
    settings::limits::RateAnswer,
    snapshot::{CompiledRoute, Snapshot},
    upstream::body::Progress,
};

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
    /// It is near enough to ask for the health page, where there is one [ADMIN-5].
    pub health: bool,
    /// What its TLS handshake says about its requests, where a setting asks.
    pub(super) secured: Option<Box<Secured>>,
    /// Phase of its I/O.
    pub phase: Arc<PhaseCell>,
    /// What the gate in its I/O says of its requests; silent on HTTP/2.
    pub gate: Arc<GateCell>,
    /// Requests so far.
    pub requests: Cell<u64>,
    /// What pods were told about it.
    pub said: RefCell<Said>,
    /// Timer of a request's waits for its pod; those of HTTP/2 have timers of their own.
    pub alarm: RefCell<Alarm>,
    /// What its lines in the access log say of it, where a format asks.
    pub told: Option<Box<Told>>,
    /// Counts it as open; a tunnel keeps it.
    pub open: Open,
}

impl Connection {
    /// Runs header actions on `fields`, those of a request or of a response.
    ///
    /// # Errors
    /// [`Reason::RewriteOverflow`] [HDR-9].
    pub(super) fn act(&self, actions: &Actions, fields: &mut HeaderMap) -> Result<(), Reason> {
        let client = self.secured.as_deref().and_then(Secured::client);
        let client = client.map(|client| &client.fields);
        let limits = &self.worker.settings.limits;
        actions.apply(fields, client, limits).map_err(|_overflow| Reason::RewriteOverflow)
    }

    /// Lets go of what the next request can make again.
    pub(super) fn forget(&self) {
        self.said.take();
        self.alarm.take();
    }
}

/// What a lookup decided, with what has to outlive the snapshot.
enum Decision {
    Forward(Arc<CompiledRoute>, Checked, Option<Box<Wanted>>),
    Redirect(Arc<CompiledRoute>, Checked),
    Nowhere(Reason),
    Refuse(Fault),
}

/// Answers one request, whatever happens to it.
pub(super) async fn answer(
    connection: Rc<Connection>,
    progress: Rc<Progress>,
    request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Denied> {
    let version = request.version();
    let head = request.method() == Method::HEAD;
    let mut outcome = match isolate(handle(Rc::clone(&connection), progress, request)).await {
        Ok(outcome) => outcome,
        Err(Panicked) => {
            let worker = &connection.worker;
            worker.stats.workers.cell(worker.index).panics.add(1);
            Ok(reply::error(Reason::Internal, version, &worker.live.load().pages))
        },
    };
    if let Some(spelling) = &connection.worker.spelling
        && let Ok(response) = &mut outcome
        && version != Version::HTTP_2
    {
        let mut extensions = std::mem::take(response.extensions_mut());
        spelling.put(response.headers(), &mut extensions);
        *response.extensions_mut() = extensions;
    }
    if !matches!(&outcome, Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        connection.gate.answered(connection.requests.get());
    }
    if head && version == Version::HTTP_2 {
        // hyper leaves it out on HTTP/1 only.
        return outcome.map(|response| response.map(ResponseBody::without_own));
    }
    outcome
}

/// The steps of one request, in their order.
async fn handle(
    connection: Rc<Connection>,
    progress: Rc<Progress>,
    mut request: Request<Incoming>,
) -> Result<Response<ResponseBody>, Denied> {
    let number = connection.requests.get() + 1;
    connection.requests.set(number);
    connection.phase.begin(!hyper::body::Body::is_end_stream(request.body()));
    if let Some(refusal) = connection.gate.refusal(number) {
        return Ok(turn_away(&connection, progress, &request, *refusal));
    }
    if connection.health && request.uri().path() == HEALTH_PATH {
        return Ok(healthy(&connection, &request));
    }
    let version = request.version();
    let head = request.method() == Method::HEAD;
    let worker = &connection.worker;
    let (mut exchange, decision) = {
        let snapshot = worker.live.load();
        let exchange = Exchange::begin(&connection, progress, &request, snapshot.generation);
        let decision = match request::check(&request, worker.settings.limits.head()) {
            Err(fault) => Decision::Refuse(fault),
            Ok(checked) => decide(&connection, &snapshot, checked, &mut request),
        };
        (exchange, decision)
    };
    let mut response = match decision {
        Decision::Forward(route, checked, wanted) => {
            if !may_use(&route, &connection) {
                return Err(deny(exchange, route, Reason::DeniedAllowlist));
            }
            match rates::enter(&mut exchange, &route) {
                Ok(()) => forward::forward(exchange, route, checked, request, wanted).await,
                Err(refused) => over_limit(exchange, route, &refused)?,
            }
        },
        Decision::Redirect(route, checked) => redirect(exchange, route, &checked),
        Decision::Nowhere(reason) => own(exchange, reason),
        Decision::Refuse(fault) => refuse(exchange, fault, version),
    };
    // The 503 page of HTTP/1 ends with the connection; to HEAD it has no body that could end it.
    let page_to_head = head && response.version() == Version::HTTP_10;
    if (worker.drain.is_draining() || page_to_head) && version != Version::HTTP_2 {
        let close = HeaderValue::from_static("close");
        response.headers_mut().entry(CONNECTION).or_insert(close);
    }
    Ok(response)
}

/// The plain port answers, whoever is asked for and whatever is to be done; not counted and not logged
/// [ADMIN-5].
fn healthy(connection: &Connection, request: &Request<Incoming>) -> Response<ResponseBody> {
    let mut response = reply::healthy();
    let has_body = !hyper::body::Body::is_end_stream(request.body());
    let closes = has_body || connection.worker.drain.is_draining();
    if closes && request.version() != Version::HTTP_2 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    connection.phase.end();
    response
}

/// What becomes of a sound request [ORD-1]: the client's certificate first, then the route that its host
/// names, whether the connection may be used for it, and last the router's own actions, which may
/// choose another route. The redirect comes in front of them [REDIR-2].
fn decide(
    connection: &Connection,
    snapshot: &Snapshot,
    mut checked: Checked,
    request: &mut Request<Incoming>,
) -> Decision {
    let secured = connection.secured.as_deref();
    if let Some(reason) = secured.and_then(Secured::refuses) {
        return Decision::Nowhere(reason);
    }
    let wanted = arrive::arrive(connection, request);
    let host = checked.host_bytes();
    let found = snapshot.table.lookup(connection.frontend.is_tls(), host, checked.path());
    let about = match found {
        Lookup::Serve(_) | Lookup::Redirect(_) => Found::Route,
        Lookup::NoPath => Found::OnlyHost,
        Lookup::NoHost => Found::Nothing,
    };
    if secured.is_some_and(|secured| secured.misdirects(host, about, snapshot)) {
        return Decision::Nowhere(Reason::Misdirected);
    }
    let found = match found {
        Lookup::Redirect(route) => return Decision::Redirect(Arc::clone(route), checked),
        found => found,
    };
    let found = match arrive::act(connection, request, &mut checked) {
        Err(reason) => return Decision::Nowhere(reason),
        Ok(false) => found,
        Ok(true) => {
            let tls = connection.frontend.is_tls();
            snapshot.table.lookup(tls, checked.host_bytes(), checked.path())
        },
    };
    match found {
        Lookup::Serve(route) => Decision::Forward(Arc::clone(route), checked, wanted),
        Lookup::NoPath => Decision::Nowhere(Reason::NoPath),
        // A redirect that an action led to comes too late, and in clear it is not served.
        Lookup::NoHost | Lookup::Redirect(_) => Decision::Nowhere(Reason::NoRoute),
    }
}

/// The client may not use the route: it is not on the allow list [IPL-7], or over a rate limit
/// [RATE-5]. The connection is closed without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the client may not use the route")]
pub struct Denied;

/// [IPL-6]: the socket's peer or the PROXY header's source, never a request header.
pub(super) fn may_use(route: &CompiledRoute, connection: &Connection) -> bool {
    let Some(allow) = &route.policy.allow else { return true };
    allow.allows(connection.client.ip())
}

fn deny(mut exchange: Box<Exchange>, route: Arc<CompiledRoute>, reason: Reason) -> Denied {
    exchange.record.route = Some(route);
    exchange.answered(reason);
    Denied
}

/// What becomes of a request over a rate limit of its route [RATE-5].
fn over_limit(
    mut exchange: Box<Exchange>,
    route: Arc<CompiledRoute>,
    refused: &Refused,
) -> Result<Response<ResponseBody>, Denied> {
    match exchange.connection.worker.settings.limits.rate_answer {
        RateAnswer::Close => Err(deny(exchange, route, Reason::RateLimited)),
        RateAnswer::TooManyRequests => {
            exchange.record.route = Some(route);
            Ok(rates::too_many(exchange, refused))
        },
    }
}

/// An answer of the router's own in place of a pod's.
pub(super) fn own(mut exchange: Box<Exchange>, reason: Reason) -> Response<ResponseBody> {
    exchange.answered(reason);
    let asked = &exchange.record;
    let pages = Arc::clone(&exchange.connection.worker.live.load().pages);
    let mut response = reply::error(reason, asked.version, &pages);
    if asked.method == Method::CONNECT && response.status().is_success() {
        // A page out of a file may say so; to CONNECT it would say that there is a tunnel.
        response = reply::error(reason, asked.version, &Pages::default());
    }
    exchange.record.status = response.status().as_u16();
    exchange.said(&response);
    response.map(|body| body.with(exchange))
}

/// The answer to a request that breaks the rules.
fn refuse(mut exchange: Box<Exchange>, fault: Fault, version: Version) -> Response<ResponseBody> {
    let (reason, status) = reply::fault(fault);
    exchange.answered(reason);
    exchange.record.status = status.as_u16();
    exchange.unparsed();
    let response = reply::page(status, version);
    exchange.said(&response);
    response.map(|body| body.with(exchange))
}

/// The answer to a head that the gate refused; `stand_in` is what hyper read in its place.
fn turn_away(
    connection: &Rc<Connection>,
    progress: Rc<Progress>,
    stand_in: &Request<Incoming>,
    refusal: Refusal,
) -> Response<ResponseBody> {
    let worker = &connection.worker;
    worker.stats.frontend(connection.frontend, worker.index).request_errors.add(1);
    let generation = worker.live.load().generation;
    let mut exchange = Exchange::begin(connection, progress, stand_in, generation);
    let record = &mut exchange.record;
    (record.method, record.target) = (refusal.method, refusal.target);
    (record.host, record.version) = (refusal.host, refusal.version);
    refuse(exchange, refusal.fault, Version::HTTP_11)
}

fn redirect(
    mut exchange: Box<Exchange>,
    route: Arc<CompiledRoute>,
    checked: &Checked,
) -> Response<ResponseBody> {
    let port = exchange.connection.worker.settings.redirect_https_port;
    exchange.record.route = Some(route);
    match reply::redirect(checked.host.as_ref(), &checked.target, port) {
        Some(response) => {
            exchange.answered(Reason::Redirect);
            exchange.record.status = response.status().as_u16();
            exchange.said(&response);
            response.map(|body| body.with(exchange))
        },
        None => own(exchange, Reason::BadRequest),
    }
}
