//! Tunnels: after the pod's 101, bytes go both ways until a side closes (decisions 8, 15).
//!
//! Called by `forward`: [`Wanted`] is what the client asks for, [`tunnel`] what it gets. A WebSocket on a
//! stream of HTTP/2 (RFC 8441) becomes an upgrade towards the pod, whose 101 becomes a 200. No tunnel
//! byte goes out before the pod's 101: hyper gives the client's stream away only after the answer was
//! written.

mod raw;
mod stream;

use std::{cell::Cell, future::poll_fn, pin::pin, task::Poll, time::Duration};

use http::{
    HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY},
};
use hyper::{body::Incoming, ext::Protocol, upgrade::OnUpgrade};

pub(super) use self::raw::Raw;
use self::stream::{Stream, Writer};
use super::{
    relayed::relayed,
    response::{Exchange, ResponseBody},
    serve,
    worker::Worker,
};
use crate::{
    headers,
    net::{
        relay::{self, End, Idle, Keepalives, Side},
        reset,
        timed::Phase,
    },
    snapshot::CompiledRoute,
    task,
    upstream::body::PodBody,
};

/// Longest wait for both sides to be handed over after the 101.
const HANDOVER: Duration = Duration::from_secs(10);

const WEBSOCKET: &str = "websocket";

/// The `:protocol` of an extended CONNECT.
#[must_use]
pub fn protocol_of<B>(request: &Request<B>) -> Option<&str> {
    request.extensions().get().map(Protocol::as_str)
}

/// True for the one `:protocol` that is served.
#[must_use]
pub fn is_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case(WEBSOCKET)
}

/// What a client asks to switch to.
#[derive(Debug)]
pub struct Wanted {
    /// Value of the pod's `Upgrade`.
    pub protocol: HeaderValue,
    client: OnUpgrade,
    /// Over HTTP/2: the pod's answer to a key that the client does not know of.
    accept: Option<HeaderValue>,
}

impl Wanted {
    /// What `request` asks for, if it asks for a tunnel. A request of RFC 8441 becomes the one that a pod of
    /// HTTP/1.1 knows: a GET, with a key of `worker`'s.
    #[must_use]
    pub fn of(request: &mut Request<Incoming>, worker: &Worker) -> Option<Box<Self>> {
        if request.version() != Version::HTTP_2 {
            let protocol = headers::upgrade_of(request.headers(), request.version())?;
            let client = hyper::upgrade::on(request);
            return Some(Box::new(Self { protocol, client, accept: None }));
        }
        if request.method() != Method::CONNECT {
            return None;
        }
        // What is no WebSocket was refused before a route was looked for.
        let client = hyper::upgrade::on(&mut *request);
        let mut nonce = [0; 16];
        for half in nonce.chunks_exact_mut(8) {
            half.copy_from_slice(&worker.draw().to_be_bytes());
        }
        let key = headers::websocket::key(nonce);
        let accept = Some(headers::websocket::accept(key.as_bytes()));
        *request.method_mut() = Method::GET;
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key);
        let protocol = HeaderValue::from_static(WEBSOCKET);
        Some(Box::new(Self { protocol, client, accept }))
    }

    /// True when `response`, a 101, switches to something of what was asked for (S-15).
    #[must_use]
    pub fn is_met_by<B>(&self, response: &Response<B>) -> bool {
        let fields = response.headers();
        let protocol = headers::upgrade_of(fields, Version::HTTP_11);
        protocol.is_some_and(|got| {
            headers::is_offered(&got, &self.protocol)
                && (self.accept.is_none()
                    || fields.get(SEC_WEBSOCKET_ACCEPT) == self.accept.as_ref())
        })
    }

    /// True when the client would take another answer than the 101 for a tunnel: over HTTP/2 every
    /// success says that there is one (RFC 9113 8.5).
    #[must_use]
    pub fn is_faked_by(&self, status: StatusCode) -> bool {
        self.accept.is_some() && status.is_success()
    }
}

/// The answer for the client, and the task that relays behind it.
#[must_use]
pub fn tunnel(
    mut exchange: Box<Exchange>,
    route: &CompiledRoute,
    wanted: Wanted,
    mut response: Response<PodBody>,
) -> Response<ResponseBody> {
    let pod = hyper::upgrade::on(&mut response);
    let (mut parts, _body) = response.into_parts();
    let protocol = parts.headers.get(http::header::UPGRADE).cloned();
    if let Err(reason) = relayed(&mut exchange, route, parts.status, &mut parts.headers) {
        return serve::own(exchange, reason);
    }
    let Wanted { client, accept, .. } = wanted;
    if accept.is_some() {
        parts.status = StatusCode::OK;
        parts.headers.remove(SEC_WEBSOCKET_ACCEPT);
        parts.headers.remove(CONTENT_LENGTH);
        exchange.record.status = parts.status.as_u16();
    } else {
        parts.headers.insert(http::header::CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(http::header::UPGRADE, protocol);
        }
        // On HTTP/2 the connection has other streams.
        exchange.connection.phase.enter(Phase::Tunnel);
    }
    let idle = limits(&exchange, route);
    // Owned by the worker's runtime; ends by its own limits or with the process (`killed`).
    task::spawn_local::<{ task::TUNNEL }, _>(hand_over(exchange, client, pod, idle));
    Response::from_parts(parts, ResponseBody::fixed(bytes::Bytes::new()))
}

/// How long a tunnel of `route` may go on in silence.
pub(super) fn limits(exchange: &Exchange, route: &CompiledRoute) -> Idle {
    let timeouts = &exchange.connection.worker.settings.timeouts;
    Idle {
        open: route.policy.tunnel_timeout,
        a_closed: timeouts.client_fin,
        b_closed: timeouts.server_fin,
        keepalives: Keepalives::Ignored,
    }
}

async fn hand_over(mut exchange: Box<Exchange>, client: OnUpgrade, pod: OnUpgrade, idle: Idle) {
    let _busy = exchange.connection.worker.begin();
    let both = async { tokio::try_join!(client, pod) };
    let Ok(Ok((client, pod))) = tokio::time::timeout(HANDOVER, both).await else {
        exchange.record.termination = *b"CD";
        return;
    };
    let writer = exchange.progress.writer.take().map(Writer::new);
    let client = match &writer {
        Some(writer) => Raw::Stream(Stream::new(client, writer)),
        None => Raw::from(client),
    };
    relay_stream(exchange, client, Raw::from(pod), writer, idle).await;
}

/// Relays between both sides to the end, and notes in `exchange` how it was.
pub(super) async fn relay(exchange: Box<Exchange>, client: Raw, pod: Raw, idle: Idle) {
    relay_stream(exchange, client, pod, None, idle).await;
}

/// The same, where the client's side may be a stream of HTTP/2 with its `writer`.
async fn relay_stream(
    mut exchange: Box<Exchange>,
    mut client: Raw,
    mut pod: Raw,
    mut writer: Option<Writer>,
    idle: Idle,
) {
    let lost = Cell::new(false);
    let cancelled = async {
        let mut killed = pin!(exchange.connection.worker.drain.killed.cancelled());
        poll_fn(|cx| {
            if let Some(writer) = &mut writer
                && writer.poll_lost(cx).is_ready()
            {
                lost.set(true);
                return Poll::Ready(());
            }
            killed.as_mut().poll(cx)
        })
        .await;
    };
    let relayed = relay::relay_until(&mut client, &mut pod, idle, None, cancelled).await;
    exchange.progress.bytes.set(relayed.a_to_b);
    exchange.record.bytes_out = relayed.b_to_a;
    exchange.record.termination = match relayed.end {
        End::Closed => *b"--",
        End::Cancelled if lost.get() => *b"CD",
        End::Cancelled => *b"KD",
        End::Idle => *b"cD",
        End::Failed { side: Side::A, .. } => *b"CD",
        End::Failed { side: Side::B, .. } => *b"SD",
    };
    if let Some(writer) = writer
        && !matches!(relayed.end, End::Closed)
    {
        // A reset for a reset (RFC 8441 5): dropped as they are, both sides would end in good order.
        writer.reset();
        if let Raw::Tcp { stream, .. } = &pod {
            reset::on_close(stream);
        }
    }
}
