//! What only HAProxy's formats and unique ids ask to be recorded of a request.
//!
//! Called by `response`, which begins and ends requests, by `forward` and by `serve`. Where no format
//! asks for anything there is no [`Detail`], and all of this is a look at an empty pointer.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{CONTENT_LENGTH, COOKIE, SET_COOKIE, TRANSFER_ENCODING},
};
use http_body::Body as _;
use hyper::ext::ReasonPhrase;
use tokio::time::Instant;

use super::{
    record::{AccessRecord, Frontend},
    response::{Exchange, ResponseBody, between},
    serve::Connection,
    worker::Worker,
};
use crate::{
    model::logformat::Needs,
    net::clock,
    settings::log::{Capture, CookieCapture},
    tls::hello::server_name,
};

#[cfg(test)]
mod tests;

/// A captured value, cut to its length.
pub type Captured = Option<Box<[u8]>>;

/// One request, in the words of HAProxy.
#[derive(Debug)]
pub struct Detail {
    /// Its connection.
    pub facts: Arc<Facts>,
    /// When the wait for it began: when its connection was accepted, or when the request before ended.
    pub since: SystemTime,
    /// Microseconds from there to the end of the handshakes, 0 but for the first request.
    pub handshake: u32,
    /// Microseconds from the handshakes to the first byte of the head.
    pub idle: u32,
    /// Microseconds from the head to the last choice of a server.
    pub assigned: Option<u32>,
    /// A later server was tried than the first.
    pub redispatched: bool,
    /// The head was refused before anything in it counted.
    pub unparsed: bool,
    /// Requests that waited for the same endpoint before this one.
    pub queued: u64,
    /// Number of the request in this process.
    pub number: u64,
    /// For `uuid`.
    pub random: [u64; 2],
    /// Bytes of the head of the request, as HAProxy counts them.
    pub request_head: u64,
    /// The same for the response.
    pub response_head: u64,
    /// How many there were when it ended, beside itself.
    pub counts: Counts,
    /// Captured fields of the request, one for each that is configured.
    pub request: Vec<Captured>,
    /// The same for the response.
    pub response: Vec<Captured>,
    /// The captured cookie as the client sent it.
    pub request_cookie: Captured,
    /// The captured cookie as the pod set it.
    pub response_cookie: Captured,
    /// The unique id, as text.
    pub unique_id: Option<Box<[u8]>>,
}

impl Default for Detail {
    fn default() -> Self {
        Self {
            facts: Arc::default(),
            since: SystemTime::UNIX_EPOCH,
            handshake: 0,
            idle: 0,
            assigned: None,
            redispatched: false,
            unparsed: false,
            queued: 0,
            number: 0,
            random: [0; 2],
            request_head: 0,
            response_head: 0,
            counts: Counts::default(),
            request: Vec::new(),
            response: Vec::new(),
            request_cookie: None,
            response_cookie: None,
            unique_id: None,
        }
    }
}

/// What holds for all requests of a connection.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where the client connected to.
    pub destination: SocketAddr,
    /// TLS of the client's side.
    pub tls: Option<Tls>,
    /// On the line of a connection whose TLS ended here: where it went.
    pub terminated: Option<Frontend>,
}

impl Default for Facts {
    fn default() -> Self {
        let destination = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self { destination, tls: None, terminated: None }
    }
}

/// A client's TLS.
#[derive(Clone, Debug)]
pub struct Tls {
    /// In OpenSSL's words.
    pub version: &'static str,
    /// In OpenSSL's words.
    pub cipher: &'static str,
    /// The server name that the client sent.
    pub name: Option<Box<str>>,
}

/// Connections and requests at the same time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Connections of the process.
    pub active: u64,
    /// Connections of the frontend.
    pub frontend: u64,
    /// Requests in the backend.
    pub backend: u64,
    /// Requests at the server.
    pub server: u64,
}

/// The time of a connection so far.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When it was accepted.
    pub at: Instant,
    /// The same by the wall clock.
    pub wall: SystemTime,
    /// When its handshakes were over.
    pub ready: Instant,
}

impl Arrival {
    /// A connection that has just been accepted, or whose next request is waited for from now on.
    pub(super) fn now() -> Self {
        let at = clock::now();
        Self { at, wall: clock::wall(), ready: at }
    }
}

/// What a connection keeps for its lines and those of its requests.
#[derive(Debug)]
pub struct Told {
    worker: Rc<Worker>,
    client: SocketAddr,
    facts: Arc<Facts>,
    opened: Arrival,
    /// Since when the next request is waited for.
    arrival: Cell<Arrival>,
    /// Bytes of its requests and of their responses, with their heads.
    received: Cell<u64>,
    sent: Cell<u64>,
}

impl Told {
    /// A connection whose addresses are known; `None` where nothing is asked for.
    pub(super) fn begin(
        worker: &Rc<Worker>,
        client: SocketAddr,
        destination: SocketAddr,
        opened: Option<Arrival>,
    ) -> Option<Box<Self>> {
        let opened = opened?;
        Some(Box::new(Self {
            worker: Rc::clone(worker),
            client,
            facts: Arc::new(Facts { destination, ..Facts::default() }),
            opened,
            arrival: Cell::new(Arrival { ready: clock::now(), ..opened }),
            received: Cell::new(0),
            sent: Cell::new(0),
        }))
    }

    /// The connection's TLS is to end here; it has `said` its hello. It has a line of its own from now
    /// on [LOG-4].
    pub(super) fn terminated(&mut self, said: &[u8]) {
        let name = server_name(said).and_then(|name| String::from_utf8(name.into_owned()).ok());
        let frontend = if name.is_some() { Frontend::FeSni } else { Frontend::FeNoSni };
        let tls = Some(Tls { version: "", cipher: "", name: name.map(Into::into) });
        let destination = self.facts.destination;
        self.facts = Arc::new(Facts { destination, tls, terminated: Some(frontend) });
    }

    /// Its handshake is over.
    pub(super) fn secured(&mut self, version: &'static str, cipher: &'static str) {
        let facts = Arc::make_mut(&mut self.facts);
        if let Some(tls) = &mut facts.tls {
            (tls.version, tls.cipher) = (version, cipher);
        }
        self.arrival.set(Arrival { ready: clock::now(), ..self.opened });
    }

    /// A line for a connection that ended before it had a request, in HAProxy's words. `is_null` says
    /// that nothing came at all [LOG-6].
    pub(super) fn ended(&self, frontend: Frontend, status: u16, state: [u8; 2], is_null: bool) {
        let settings = &self.worker.settings.log;
        let is_unwanted = is_null && (settings.skip_null || settings.ignore_probes);
        if is_unwanted || !self.worker.needs.has(Needs::CONNECTIONS) {
            return;
        }
        let passthrough = frontend == Frontend::PublicSsl;
        let record =
            AccessRecord { passthrough, status, termination: state, ..self.record(frontend) };
        self.worker.log(record);
    }

    /// A record of the connection itself.
    fn record(&self, frontend: Frontend) -> AccessRecord {
        let now = clock::now();
        let mut counts = counts(&self.worker, frontend);
        counts.active = counts.active.max(1);
        let detail = Detail {
            facts: Arc::clone(&self.facts),
            since: self.opened.wall,
            unparsed: true,
            number: self.worker.number(),
            counts,
            ..Detail::default()
        };
        let mut record = AccessRecord {
            at: clock::wall(),
            client: self.client,
            frontend,
            detail: Some(Box::new(detail)),
            ..AccessRecord::default()
        };
        record.times.total = between(self.opened.at, now);
        record
    }
}

impl Drop for Told {
    /// The line of a connection whose TLS ended here [LOG-4].
    fn drop(&mut self) {
        if self.facts.terminated.is_none() {
            return;
        }
        if !self.worker.logs() || !self.worker.needs.has(Needs::CONNECTIONS) {
            return;
        }
        let host = self.facts.tls.as_ref().and_then(|tls| tls.name.as_deref());
        let mut record = AccessRecord {
            passthrough: true,
            host: host.and_then(|name| HeaderValue::from_str(name).ok()),
            bytes_in: self.received.get(),
            bytes_out: self.sent.get(),
            ..self.record(Frontend::PublicSsl)
        };
        let ready = between(self.opened.at, self.arrival.get().ready);
        record.times.queue = Some(0);
        record.times.connect = Some(0);
        if let Some(detail) = &mut record.detail {
            detail.assigned = Some(ready.min(record.times.total));
        }
        self.worker.log(record);
    }
}

impl Detail {
    /// What is known of `request` when its head is complete; `None` where nothing is asked for.
    pub(super) fn begin<B>(connection: &Connection, request: &Request<B>) -> Option<Box<Self>> {
        let told = connection.told.as_ref()?;
        let worker = &connection.worker;
        let arrival = told.arrival.get();
        let first = connection.phase.head_since().unwrap_or_else(clock::now);
        let mut detail = Box::new(Self {
            facts: Arc::clone(&told.facts),
            since: arrival.wall,
            handshake: between(arrival.at, arrival.ready),
            idle: between(arrival.ready, first),
            number: worker.number(),
            ..Self::default()
        });
        let needs = worker.needs;
        let log = &worker.settings.log;
        if needs.has(Needs::SIZES) {
            let target = request.uri();
            let len = target.path_and_query().map_or(0, |it| it.as_str().len())
                + target.authority().map_or(0, |it| it.as_str().len() + "https://".len());
            let line = request.method().as_str().len() + len + VERSION;
            detail.request_head = size(line, request.headers());
        }
        if needs.has(Needs::REQUEST) {
            detail.request = captured(&log.request_headers, request.headers());
            detail.response = vec![None; log.response_headers.len()];
        }
        if let Some(cookie) = log.cookie.as_ref().filter(|_| needs.has(Needs::COOKIE)) {
            let lines = request.headers().get_all(COOKIE).iter();
            let mut cookies = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
            detail.request_cookie = cookies.find_map(|text| matching(cookie, text));
        }
        if needs.has(Needs::RANDOM) {
            detail.random = [worker.draw(), worker.draw()];
        }
        Some(detail)
    }
}

/// Length of `HTTP/1.1`.
const VERSION: usize = 8;

/// What HAProxy counts for a head whose start line has three parts of `line` bytes: its own
/// representation, with 20 bytes for the start line and one for the end (`struct htx_sl`).
fn size(line: usize, headers: &HeaderMap) -> u64 {
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    // A chunked body has an end of its own.
    let end = 1 + usize::from(headers.contains_key(TRANSFER_ENCODING));
    (20 + line + fields.sum::<usize>() + end) as u64
}

/// Where a field comes more than once, its last value counts, as in HAProxy.
fn captured(wanted: &[Capture], headers: &HeaderMap) -> Vec<Captured> {
    let value = |capture: &Capture| {
        let value = headers.get_all(&capture.name).iter().next_back()?.as_bytes();
        Some(value[..value.len().min(capture.len)].into())
    };
    wanted.iter().map(value).collect()
}

/// `text`, if it is the cookie that is wanted.
fn matching(wanted: &CookieCapture, text: &[u8]) -> Captured {
    let text = text.trim_ascii();
    let is_wanted = text.starts_with(wanted.begin.as_bytes()) && text.contains(&b'=');
    is_wanted.then(|| text[..text.len().min(wanted.len)].into())
}

impl Exchange {
    /// A pod's response has come.
    pub(super) fn heard<B>(&mut self, response: &Response<B>) {
        if self.record.detail.is_none() {
            return;
        }
        self.sized(response);
        let worker = &self.connection.worker;
        let (needs, log) = (worker.needs, &worker.settings.log);
        let Some(detail) = &mut self.record.detail else { return };
        if needs.has(Needs::RESPONSE) {
            detail.response = captured(&log.response_headers, response.headers());
        }
        if let Some(cookie) = log.cookie.as_ref().filter(|_| needs.has(Needs::COOKIE)) {
            let lines = response.headers().get_all(SET_COOKIE).iter();
            let mut pairs =
                lines.filter_map(|line| line.as_bytes().split(|byte| *byte == b';').next());
            detail.response_cookie = pairs.find_map(|text| matching(cookie, text));
        }
    }

    /// This is the head of the answer, a pod's or the router's own.
    fn sized<B>(&mut self, response: &Response<B>) {
        let Some(detail) = &mut self.record.detail else { return };
        if self.connection.worker.needs.has(Needs::SIZES) {
            let phrase = response.extensions().get::<ReasonPhrase>().map(|it| it.as_bytes().len());
            let canonical = || response.status().canonical_reason().map_or(0, str::len);
            let line = VERSION + 3 + phrase.unwrap_or_else(canonical);
            detail.response_head = size(line, response.headers());
        }
    }

    /// The router answers itself; the length of what it says is a field like any other.
    pub(super) fn said(&mut self, response: &Response<ResponseBody>) {
        self.sized(response);
        let len = response.body().size_hint().exact();
        let len = len.filter(|_| !response.headers().contains_key(CONTENT_LENGTH));
        if let (Some(detail), Some(len)) = (&mut self.record.detail, len)
            && detail.response_head > 0
        {
            let digits = len.checked_ilog10().unwrap_or(0) as usize + 1;
            detail.response_head += (CONTENT_LENGTH.as_str().len() + digits) as u64;
        }
    }

    /// The head was refused: HAProxy would not know what was asked for.
    pub(super) const fn unparsed(&mut self) {
        if let Some(detail) = &mut self.record.detail {
            detail.unparsed = true;
        }
    }

    /// The request goes to another server than before, if `elsewhere`.
    pub(super) fn assigned(&mut self, elsewhere: bool) {
        if self.record.detail.is_some() {
            let elapsed = self.elapsed();
            if let Some(detail) = &mut self.record.detail {
                detail.assigned = Some(elapsed);
                detail.redispatched |= elsewhere;
            }
        }
    }

    /// The request waits behind `before` others.
    pub(super) fn queued(&mut self, before: i64) {
        if let Some(detail) = &mut self.record.detail {
            detail.queued += u64::try_from(before).unwrap_or(0);
        }
    }

    /// The request is over; its server has been let go.
    pub(super) fn told(&mut self) {
        let Some(mut detail) = self.record.detail.take() else { return };
        let connection = &self.connection;
        if connection.worker.needs.has(Needs::COUNTS) {
            detail.counts = counts(&connection.worker, connection.frontend);
            if let Some(route) = &self.record.route {
                detail.counts.backend = route.backend.stats.in_flight();
            }
            if let Some(server) = self.server() {
                detail.counts.server = server.stats.in_flight();
            }
        }
        if let Some(told) = &connection.told {
            told.arrival.set(Arrival::now());
            let record = &self.record;
            told.received.set(told.received.get() + detail.request_head + record.bytes_in);
            told.sent.set(told.sent.get() + detail.response_head + record.bytes_out);
        }
        self.record.detail = Some(detail);
    }
}

fn counts(worker: &Worker, frontend: Frontend) -> Counts {
    // Both frontends of decrypted traffic are one port, which counts its connections.
    let port = if frontend.is_tls() { Frontend::PublicSsl } else { Frontend::Public };
    let cells = &worker.stats.frontends[port as usize];
    let open = cells.sum(|cell| &cell.connections).wrapping_sub(cells.sum(|cell| &cell.closed));
    let active = u64::try_from(worker.stats.connections.load()).unwrap_or(0);
    Counts { active, frontend: open, ..Counts::default() }
}
