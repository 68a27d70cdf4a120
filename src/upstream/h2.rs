//! HTTP/2 connections to pods: dialling, the task that drives one, and its free streams.
//!
//! Called by `upstream::pool`, which shares one connection between many requests of a worker; one
//! stream is `stream`. Built on the h2 crate itself: hyper's client takes every failure with the code
//! NO_ERROR for the end of a response, also where bytes are missing, does not give back the
//! request of a refused stream, and needs two more tasks. Generic over the stream, so that TLS plugs
//! in.
//!
//! Always holds: a connection is handed out only after the pod's SETTINGS have come, never with more
//! streams than they allow, and its task ends with the last handle on it.

pub mod stream;

use std::{
    cell::{Cell, RefCell},
    future::{Future as _, poll_fn},
    io,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use h2::{Ping, PingPong, client};
use http::uri::Scheme;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};

use super::dial::DialError;
use crate::task;

/// Bytes that a pod may send ahead on a stream, and on all streams of a connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Most request bytes that one stream buffers.
const MAX_SEND_BUFFER: usize = 64 * 1024;

/// Between two PINGs while streams are open. gRPC servers count one within five minutes as abuse
/// and close the connection; what a stalled request waits for has limits of its own.
const PING_INTERVAL: Duration = Duration::from_secs(310);

/// Longest wait for the answer to a PING.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// The stream limit before the pod's SETTINGS; no SETTINGS can name it.
const UNKNOWN: usize = usize::MAX - 1;

/// A connection to a pod.
#[derive(Debug)]
pub struct Connection {
    scheme: Scheme,
    sender: RefCell<client::SendRequest<Bytes>>,
    state: Rc<State>,
    active: Cell<usize>,
    born: Instant,
    idle_since: Cell<Instant>,
    used: Cell<bool>,
}

/// What a connection shares with its task.
#[derive(Debug)]
struct State {
    max_streams: Cell<usize>,
    ended: Cell<bool>,
    changed: Notify,
    error: RefCell<Option<h2::Error>>,
}

impl State {
    fn is_settled(&self) -> bool {
        self.ended.get() || self.max_streams.get() != UNKNOWN
    }
}

/// Starts HTTP/2 over `stream` and waits for the pod's SETTINGS, at most for `limit`. `scheme` is that
/// of every request on it: https over TLS (RFC 9113 8.3.1). A response's header list has at most `max_head`
/// bytes, as its head has on HTTP/1 [LIM-1].
///
/// # Errors
/// [`DialError::Preface`] when the pod does not speak HTTP/2, `Timeout` when it says nothing.
pub async fn start<S>(
    stream: S,
    scheme: Scheme,
    max_head: usize,
    limit: Duration,
) -> Result<Rc<Connection>, DialError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let begin = tokio::time::Instant::now();
    let mut builder = client::Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
        .max_send_buffer_size(MAX_SEND_BUFFER)
        .initial_max_send_streams(UNKNOWN);
    let (sender, connection) = tokio::time::timeout(limit, builder.handshake(stream))
        .await
        .map_err(|_elapsed| DialError::Timeout)?
        .map_err(DialError::Preface)?;
    let state = Rc::new(State {
        max_streams: Cell::new(UNKNOWN),
        ended: Cell::new(false),
        changed: Notify::new(),
        error: RefCell::default(),
    });
    // Ends with the connection, which ends when its last handle is dropped.
    task::spawn_local::<{ task::UPSTREAM_HTTP2 }, _>(drive(connection, Rc::clone(&state)));
    let settled = async {
        while !state.is_settled() {
            state.changed.notified().await;
        }
    };
    tokio::time::timeout_at(begin + limit, settled).await.map_err(|_elapsed| DialError::Timeout)?;
    if state.ended.get() {
        let error = state.error.take();
        return Err(error.map_or_else(
            || DialError::Connect(io::ErrorKind::ConnectionReset.into()),
            DialError::Preface,
        ));
    }
    let now = Instant::now();
    Ok(Rc::new(Connection {
        scheme,
        sender: RefCell::new(sender),
        state,
        active: Cell::new(0),
        born: now,
        idle_since: Cell::new(now),
        used: Cell::new(false),
    }))
}

/// Moves frames until the connection ends, and keeps `state` true.
async fn drive<S>(mut connection: client::Connection<S, Bytes>, state: Rc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut beat = connection.ping_pong().map(Heartbeat::new);
    let ended = poll_fn(|cx| {
        let ended = pin!(&mut connection).poll(cx);
        let max_streams = connection.max_concurrent_send_streams();
        if state.max_streams.replace(max_streams) != max_streams {
            state.changed.notify_one();
        }
        if ended.is_pending() && beat.as_mut().is_some_and(|beat| beat.poll_dead(cx).is_ready()) {
            return Poll::Ready(Ok(()));
        }
        ended
    })
    .await;
    if let Err(error) = ended {
        tracing::debug!(%error, "pod connection ended");
        state.error.replace(Some(error));
    }
    state.ended.set(true);
    state.changed.notify_one();
}

/// Asks the pod now and then whether it is still there.
#[derive(Debug)]
struct Heartbeat {
    pings: PingPong,
    timer: std::pin::Pin<Box<tokio::time::Sleep>>,
    asked: bool,
}

impl Heartbeat {
    fn new(pings: PingPong) -> Self {
        Self { pings, timer: Box::pin(tokio::time::sleep(PING_INTERVAL)), asked: false }
    }

    /// Ready when a PING stayed without an answer.
    fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.asked && self.pings.poll_pong(cx).is_ready() {
                self.asked = false;
                self.rearm(PING_INTERVAL);
            }
            std::task::ready!(self.timer.as_mut().poll(cx));
            if self.asked {
                return Poll::Ready(());
            }
            self.asked = self.pings.send_ping(Ping::opaque()).is_ok();
            self.rearm(if self.asked { PING_TIMEOUT } else { PING_INTERVAL });
        }
    }

    fn rearm(&mut self, pause: Duration) {
        self.timer.as_mut().reset(tokio::time::Instant::now() + pause);
    }
}

impl Connection {
    /// False once the pod has said GOAWAY or the connection has ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        !self.state.ended.get()
            && matches!(self.sender.borrow_mut().poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// When it was made.
    #[must_use]
    pub const fn born(&self) -> Instant {
        self.born
    }

    /// Since when it has no stream; `None` while it has one.
    #[must_use]
    pub fn idle_since(&self) -> Option<Instant> {
        (self.active.get() == 0).then(|| self.idle_since.get())
    }

    /// A free stream, if the pod's limit allows another one.
    #[must_use]
    pub fn lease(self: &Rc<Self>) -> Option<Lease> {
        let active = self.active.get();
        if active >= self.state.max_streams.get() {
            return None;
        }
        self.active.set(active + 1);
        let reused = self.used.replace(true);
        Some(Lease { slot: Rc::new(Slot(Rc::clone(self))), reused })
    }
}

/// The right to one stream.
#[derive(Debug)]
pub struct Lease {
    slot: Rc<Slot>,
    /// The connection has served before.
    pub reused: bool,
}

/// Counts one stream until the request and the response are over.
#[derive(Debug)]
struct Slot(Rc<Connection>);

impl Drop for Slot {
    fn drop(&mut self) {
        let left = self.0.active.get().saturating_sub(1);
        self.0.active.set(left);
        if left == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests;
