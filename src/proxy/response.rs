//! Step 4: the response on its way back, and the end of the request.
//!
//! [`ResponseBody`] passes the pod's body through, counts it, holds the pod to its inactivity limit,
//! and gives the connection back to the pool at the end. [`Exchange`] is what one request holds while
//! it runs; dropping it counts and logs the request, so that nothing can be counted twice or
//! forgotten, however the request ends.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Uri, Version,
    header::{REFERER, USER_AGENT},
};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::{
    compress::Packer, detail::Detail, record::AccessRecord, serve::Connection, stats::Timings,
};
use crate::{
    headers,
    model::reason::Reason,
    net::{alarm::Alarm, clock, timed::Expired},
    rates::Tracked,
    snapshot::{CompiledRoute, Server},
    stats::{UpstreamCounters, response_class},
    upstream::{
        body::{PodBody, PodError, Progress},
        gate::Place,
        h1::Sender,
        pool::Put,
    },
};

/// One request while it runs. Boxed at once: it is large, and passes through many hands.
#[derive(Debug)]
pub struct Exchange {
    /// The client's connection.
    pub connection: Rc<Connection>,
    /// What the access log will say.
    pub record: AccessRecord,
    /// Upload of the request body.
    pub progress: Rc<Progress>,
    /// Timer of its waits for the pod.
    pub alarm: Alarm,
    /// The server that the request's cookie asks for [STICK-5].
    pub sticky: Option<usize>,
    started: Instant,
    /// Set while a server of the route's backend has this request.
    dispatched: bool,
    /// The place that it takes there, when places are limited.
    place: Option<Place>,
    /// It counts for its client, where clients of the route are limited.
    tracked: Option<Tracked>,
}

impl Exchange {
    /// The request has a complete head.
    #[must_use]
    pub fn begin<B>(
        connection: &Rc<Connection>,
        progress: Rc<Progress>,
        request: &Request<B>,
        generation: u64,
    ) -> Box<Self> {
        let logs = connection.worker.records();
        let header = |name| request.headers().get(name).filter(|_| logs).cloned();
        let mut record = AccessRecord {
            at: if logs { clock::wall() } else { SystemTime::UNIX_EPOCH },
            client: connection.client,
            frontend: connection.frontend,
            version: request.version(),
            method: request.method().clone(),
            host: header(http::header::HOST).or_else(|| {
                let authority = request.uri().authority().filter(|_| logs)?;
                HeaderValue::from_str(authority.as_str()).ok()
            }),
            target: if logs { request.uri().clone() } else { Uri::default() },
            user_agent: header(USER_AGENT),
            referer: header(REFERER),
            generation,
            detail: Detail::begin(connection, request),
            ..AccessRecord::default()
        };
        let started = clock::now();
        record.times.head = connection.phase.head_since().map(|since| between(since, started));
        connection.worker.begin_request();
        Box::new(Self {
            connection: Rc::clone(connection),
            record,
            progress,
            alarm: match request.version() {
                Version::HTTP_2 => connection.worker.alarms.take(),
                _ => connection.alarm.take(),
            },
            sticky: None,
            started,
            dispatched: false,
            place: None,
            tracked: None,
        })
    }

    /// Microseconds since the head was complete.
    #[must_use]
    pub fn elapsed(&self) -> u32 {
        micros(self.started)
    }

    /// The request goes to server `index` of `route`; an earlier server is let go.
    pub fn dispatch(&mut self, route: &Arc<CompiledRoute>, index: usize) {
        self.release();
        let server = &route.backend.servers[index];
        server.peer.in_flight.add(1);
        let worker = self.connection.worker.index;
        server.stats.give(worker);
        route.backend.stats.give(worker);
        self.record.server = u32::try_from(index).ok();
        self.dispatched = true;
    }

    /// The request takes `place` until another server has it or it ends.
    pub(super) fn hold(&mut self, place: Option<Place>) {
        self.place = place;
    }

    /// The request counts for its client until it ends [RATE-2].
    pub(super) fn track(&mut self, tracked: Option<Tracked>) {
        self.tracked = tracked;
    }

    /// Counts on the present server and on the backend.
    pub fn count(&self, count: impl Fn(&UpstreamCounters)) {
        let Some(route) = &self.record.route else { return };
        let worker = self.connection.worker.index;
        count(route.backend.stats.workers.cell(worker));
        if let Some(index) = self.record.server {
            count(route.backend.servers[index as usize].stats.workers.cell(worker));
        }
    }

    /// Times of requests such as this one; none before a route is known.
    pub(super) fn timings(&self) -> Option<&Timings> {
        let route = self.record.route.as_ref()?;
        let worker = &self.connection.worker;
        Some(&worker.stats.workers.cell(worker.index).timings[route.termination as usize])
    }

    /// The router answers itself.
    pub fn answered(&mut self, reason: Reason) {
        self.record.reason = Some(reason);
        self.record.termination = super::reply::termination(reason);
    }

    /// The server that has the request.
    #[must_use]
    pub fn server(&self) -> Option<&Server> {
        let (route, index) = (self.record.route.as_ref()?, self.record.server?);
        route.backend.servers.get(index as usize)
    }

    /// The server that has the request is let go.
    pub(super) fn release(&mut self) {
        self.place = None;
        if !std::mem::take(&mut self.dispatched) {
            return;
        }
        if let (Some(route), Some(server)) = (&self.record.route, self.server()) {
            server.peer.in_flight.add(-1);
            let worker = self.connection.worker.index;
            server.stats.take_back(worker);
            route.backend.stats.take_back(worker);
        }
    }

    fn finish(&mut self) {
        self.release();
        self.progress.finish();
        let alarm = std::mem::take(&mut self.alarm);
        match self.record.version {
            Version::HTTP_2 => self.connection.worker.alarms.give_back(alarm),
            _ => _ = self.connection.alarm.replace(alarm),
        }
        self.record.times.total = micros(self.started);
        self.record.bytes_in = self.progress.bytes.get();
        if std::thread::panicking() {
            self.answered(Reason::Internal);
            if self.record.status == 0 {
                self.record.status = super::reply::status(Reason::Internal).as_u16();
            }
        } else if self.record.status == 0
            && self.record.reason.is_none()
            && !self.record.passthrough
        {
            self.answered(Reason::ClientClosed);
        }
        self.told();
        let worker = &self.connection.worker;
        worker.end_request();
        let (bytes_in, bytes_out) = (self.record.bytes_in, self.record.bytes_out);
        // What was passed through had no requests and responses that could be seen.
        let seen = u64::from(!self.record.passthrough);
        let class = response_class(self.record.status);
        let frontend = worker.stats.frontend(self.record.frontend, worker.index);
        frontend.requests.add(seen);
        frontend.bytes_in.add(bytes_in);
        frontend.bytes_out.add(bytes_out);
        frontend.responses[class].add(seen);
        if let Some(reason) = self.record.reason {
            worker.stats.count_reason(worker.index, reason);
            frontend.denied.add(u64::from(reason.is_denial()));
        }
        self.count(|counters| {
            counters.requests.add(1);
            counters.bytes_in.add(bytes_in);
            counters.bytes_out.add(bytes_out);
            counters.responses[class].add(seen);
        });
        self.count_times();
        self.connection.phase.end();
    }
}

impl Exchange {
    /// How long the parts of a request took that some server had.
    fn count_times(&self) {
        if self.record.server.is_none() {
            return;
        }
        let super::record::Times { queue, connect, response, total, .. } = self.record.times;
        self.count(|counters| {
            counters.queue_time.add(u64::from(queue.unwrap_or(0)));
            if let Some(connect) = connect {
                counters.connect_time.add(u64::from(connect));
            }
            if let Some(response) = response {
                counters.response_time.add(u64::from(response));
            }
            counters.total_time.add(u64::from(total));
        });
        if let Some(timings) = self.timings() {
            timings.request.add(u64::from(total));
            if let Some(response) = response {
                timings.first_byte.add(u64::from(response));
            }
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.finish();
        let watches = &self.connection.worker.stats.watches;
        if watches.is_armed() {
            watches.offer(&self.record);
        }
        if self.connection.worker.logs() {
            let record = std::mem::take(&mut self.record);
            self.connection.worker.log(record);
        }
    }
}

fn micros(since: Instant) -> u32 {
    between(since, clock::now())
}

pub(super) fn between(since: Instant, until: Instant) -> u32 {
    u32::try_from(until.saturating_duration_since(since).as_micros()).unwrap_or(u32::MAX)
}

/// The body that hyper sends to a client.
#[derive(Debug)]
pub struct ResponseBody {
    kind: Kind,
    /// Compresses it, if it is to be.
    packer: Option<Box<Packer>>,
    exchange: Option<Box<Exchange>>,
}

#[derive(Debug)]
enum Kind {
    /// Bytes of the router's own, with or without a known length.
    Own { bytes: Bytes, sized: bool },
    /// A pod's body.
    Pod {
        body: PodBody,
        /// Its connection, which goes back to the pool at the end.
        sender: Option<Sender>,
        limit: Duration,
        /// Since when the pod has been silent.
        silent: Option<Instant>,
    },
}

/// Why a pod's body ended early. The client sees an incomplete message.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The pod's connection failed or its framing is broken.
    #[error("the pod's response was cut")]
    Cut(#[source] PodError),
    /// No byte within the server timeout.
    #[error("the pod sent nothing within the server timeout")]
    Timeout(#[source] io::Error),
    /// The compressor failed.
    #[error("the response cannot be compressed")]
    Packing(#[source] flate2::CompressError),
}

impl ResponseBody {
    /// Bytes with their length.
    #[must_use]
    pub const fn fixed(bytes: Bytes) -> Self {
        Self { kind: Kind::Own { bytes, sized: true }, packer: None, exchange: None }
    }

    /// Bytes that end with the connection.
    #[must_use]
    pub const fn until_close(bytes: Bytes) -> Self {
        Self { kind: Kind::Own { bytes, sized: false }, packer: None, exchange: None }
    }

    /// The body of a pod's response, which came over `sender` if that serves one request at a time;
    /// `limit` is the server timeout.
    #[must_use]
    pub fn pod(
        body: PodBody,
        sender: Option<Sender>,
        limit: Duration,
        exchange: Box<Exchange>,
    ) -> Self {
        let ended = body.is_end_stream();
        let kind = Kind::Pod { body, sender, limit, silent: None };
        let mut this = Self { kind, packer: None, exchange: Some(exchange) };
        if ended {
            this.end();
        }
        this
    }

    /// The same body, compressed on its way [COMP-1].
    #[must_use]
    pub(super) fn packed(mut self, packer: Box<Packer>) -> Self {
        self.packer = Some(packer);
        self
    }

    /// Without bytes of the router's own, for an answer to HEAD (RFC 9110 9.3.2). A pod has sent none.
    #[must_use]
    pub fn without_own(mut self) -> Self {
        if let Kind::Own { bytes, .. } = &mut self.kind {
            *bytes = Bytes::new();
        }
        self
    }

    /// The same body, counted and logged with `exchange`.
    #[must_use]
    pub fn with(mut self, exchange: Box<Exchange>) -> Self {
        self.exchange = Some(exchange);
        self
    }

    /// The pod's body is complete: its connection may serve again, unless the request's own body is
    /// still on its way (S-13).
    fn end(&mut self) {
        let Kind::Pod { sender, .. } = &mut self.kind else { return };
        if self.packer.as_ref().is_some_and(|packer| !packer.is_done()) {
            // What is packed is not over yet.
            return;
        }
        let Some(exchange) = self.exchange.take() else { return };
        if let Some(sender) = sender.take()
            && exchange.progress.ended.get()
            && let Some(server) = exchange.server()
        {
            let worker = &exchange.connection.worker;
            if worker.pool.put(&server.peer, sender, clock::now().into_std()) == Put::Full {
                worker.stats.workers.cell(worker.index).pool_evicted.add(1);
            }
        }
    }

    /// The pod's body failed.
    fn fail(&mut self, state: [u8; 2], reason: Option<Reason>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.record.termination = state;
            exchange.record.reason = reason;
            exchange.count(|counters| counters.response_errors.add(1));
        }
        self.exchange = None;
    }

    fn count(&mut self, bytes: usize) {
        if let Some(exchange) = &mut self.exchange {
            exchange.record.bytes_out += bytes as u64;
            exchange.progress.hand_out();
            if !exchange.progress.ended.get() {
                exchange.progress.note();
            }
        }
    }

    fn poll_own(&mut self) -> Option<Frame<Bytes>> {
        let Kind::Own { bytes, .. } = &mut self.kind else { return None };
        let bytes = std::mem::take(bytes);
        if bytes.is_empty() {
            self.exchange = None;
            return None;
        }
        self.count(bytes.len());
        Some(Frame::data(bytes))
    }

    /// Ready when the pod has been silent for the whole server timeout.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Kind::Pod { limit, silent, .. } = &mut self.kind else { return Poll::Pending };
        let Some(exchange) = &mut self.exchange else { return Poll::Pending };
        let since = *silent.get_or_insert_with(clock::now);
        exchange.alarm.poll(cx, since + *limit)
    }
}

/// What comes next of a body.
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl ResponseBody {
    /// The body as the pod sends it.
    fn poll_plain(&mut self, cx: &mut Context<'_>) -> Polled {
        let this = self;
        let Kind::Pod { body, silent, .. } = &mut this.kind else {
            return Poll::Ready(this.poll_own().map(Ok));
        };
        match Pin::new(&mut *body).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                *silent = None;
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_trailers(trailers);
                }
                // Nothing follows trailers, and nobody asks again.
                let ended = body.is_end_stream() || frame.is_trailers();
                if this.packer.is_none() {
                    this.count(frame.data_ref().map_or(0, Bytes::len));
                }
                if ended {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            },
            Poll::Ready(Some(Err(error))) => {
                // An upload that fails takes the pod's connection with it.
                let upload = this.exchange.as_ref().filter(|it| it.progress.failed.get());
                let (state, reason) = match upload {
                    Some(it) if it.connection.gate.is_broken() => (*b"PD", Reason::BadRequest),
                    Some(_) => (*b"CD", Reason::ClientClosed),
                    None => (*b"SD", Reason::UpstreamReset),
                };
                this.fail(state, Some(reason));
                Poll::Ready(Some(Err(BodyError::Cut(error))))
            },
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            },
            Poll::Pending => {
                if let Some(exchange) = &this.exchange {
                    exchange.progress.held.set(false);
                }
                ready!(this.poll_silence(cx));
                this.fail(*b"sD", Some(Reason::UpstreamTimeout));
                Poll::Ready(Some(Err(BodyError::Timeout(io::ErrorKind::TimedOut.into()))))
            },
        }
    }

    /// The body as it is packed.
    fn poll_packed(&mut self, cx: &mut Context<'_>) -> Polled {
        let Some(mut packer) = self.packer.take() else { return self.poll_plain(cx) };
        packer.begin_turn();
        let polled = loop {
            if let Some(frame) = packer.ready() {
                break Poll::Ready(frame);
            }
            // In its place, so that the pod's end is not taken for the body's.
            self.packer = Some(packer);
            let polled = match &self.kind {
                Kind::Pod { body, .. } if body.is_end_stream() => Poll::Ready(None),
                _ => self.poll_plain(cx),
            };
            let Some(back) = self.packer.take() else { return polled };
            packer = back;
            if packer.take(polled).is_pending() {
                break Poll::Pending;
            }
        };
        let done = packer.is_done();
        self.packer = Some(packer);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.count(frame.data_ref().map_or(0, Bytes::len));
        }
        match &polled {
            Poll::Ready(Some(Err(BodyError::Packing(_)))) => {
                self.fail(*b"ID", Some(Reason::Internal));
            },
            _ if done => self.end(),
            _ => {},
        }
        polled
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        if self.packer.is_some() { self.poll_packed(cx) } else { self.poll_plain(cx) }
    }

    fn is_end_stream(&self) -> bool {
        if let Some(packer) = &self.packer {
            return packer.is_done();
        }
        match &self.kind {
            Kind::Own { bytes, .. } => bytes.is_empty(),
            Kind::Pod { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.packer.is_some() {
            return SizeHint::default();
        }
        match &self.kind {
            Kind::Own { bytes, sized: true } => SizeHint::with_exact(bytes.len() as u64),
            Kind::Own { sized: false, .. } => SizeHint::default(),
            Kind::Pod { body, .. } => body.size_hint(),
        }
    }
}

impl Drop for ResponseBody {
    /// A body that is dropped before its end was not taken by the client.
    fn drop(&mut self) {
        let Some(exchange) = &mut self.exchange else { return };
        if std::thread::panicking() && exchange.record.version == Version::HTTP_2 {
            // The task of its stream dies of it; on HTTP/1 the connection does, which counts itself.
            let worker = &exchange.connection.worker;
            worker.stats.workers.cell(worker.index).panics.add(1);
        }
        if exchange.progress.stalled.get() {
            exchange.record.termination = *b"cD";
            exchange.record.reason = Some(Reason::ClientTimeout);
            return;
        }
        let aborted = match &self.kind {
            // Nobody asks for the body of an answer to HEAD.
            Kind::Own { bytes, .. } => !bytes.is_empty() && exchange.record.method != Method::HEAD,
            Kind::Pod { .. } => true,
        };
        if !aborted {
            return;
        }
        if exchange.connection.phase.expired() == Some(Expired::Write) {
            exchange.record.reason = Some(Reason::ClientTimeout);
            exchange.record.termination = *b"cD";
        } else {
            exchange.record.termination = *b"CD";
        }
    }
}
