//! I/O with inactivity and total limits by phase, on one reusable timer per connection.
//!
//! Wrapped around every downstream stream by `proxy::entry`. hyper has a single timer for idle and
//! head and none for bodies and stalled writes (reliability.md 4), so the limits live here. The
//! request path moves the phase with a store; the timer is only touched when a read or a write would
//! block, and an armed timer that is early is left to fire and re-armed then.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{alarm::Alarm, clock, flat, readable::Readable};

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// The next request; the limit counts from the end of the last one.
    Idle = 0,
    /// The rest of a request head; the limit counts from its first byte.
    Head = 1,
    /// The rest of a request body; the limit restarts with every byte.
    Body = 2,
    /// A response; reads have no limit.
    Response = 3,
    /// Both sides of a tunnel; the relay has its own limit.
    Tunnel = 4,
}

impl Phase {
    const fn from_u8(value: u8) -> Self {
        match value {
            0 => Self::Idle,
            1 => Self::Head,
            2 => Self::Body,
            3 => Self::Response,
            _ => Self::Tunnel,
        }
    }
}

/// Limits of the phases.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For [`Phase::Idle`].
    pub idle: Duration,
    /// For [`Phase::Head`].
    pub head: Duration,
    /// For [`Phase::Body`], and for a write that makes no progress in any phase but a tunnel.
    pub body: Duration,
}

/// The phase of one connection, shared by its I/O and its requests.
#[derive(Debug)]
pub struct PhaseCell {
    phase: AtomicU8,
    /// Counts changes, so that the I/O sees a phase that was left and entered again.
    changes: AtomicU32,
    /// Requests in flight: more than one only with HTTP/2.
    active: AtomicU32,
    /// A request body is being passed on; it may outlive its request, when the answer comes early.
    uploading: AtomicBool,
    /// The client does not take what there is for it.
    write_blocked: AtomicBool,
    /// The end was said to the client; what it still sends may be read, but is not served.
    closing: AtomicBool,
    expired: AtomicU8,
    multiplexed: bool,
    /// When the connection was made.
    opened: Instant,
    /// When the last request ended, in milliseconds after `opened`.
    idle_since: AtomicU64,
    /// When the first byte of the last head came, in microseconds after `opened`.
    head_since: AtomicU64,
}

const NOT_EXPIRED: u8 = u8::MAX;
const EXPIRED_WRITE: u8 = u8::MAX - 1;

impl PhaseCell {
    /// A connection that waits for its first request head.
    #[must_use]
    pub fn new(multiplexed: bool) -> Arc<Self> {
        Arc::new(Self {
            phase: AtomicU8::new(Phase::Head as u8),
            changes: AtomicU32::new(0),
            active: AtomicU32::new(0),
            uploading: AtomicBool::new(false),
            write_blocked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            expired: AtomicU8::new(NOT_EXPIRED),
            multiplexed,
            opened: clock::now(),
            idle_since: AtomicU64::new(0),
            head_since: AtomicU64::new(0),
        })
    }

    /// Enters `phase`. On a multiplexed connection only idle and response exist.
    pub fn enter(&self, phase: Phase) {
        let phase = match phase {
            Phase::Body | Phase::Head if self.multiplexed => Phase::Response,
            other => other,
        };
        self.phase.store(phase as u8, Relaxed);
        self.asked();
    }

    /// The present wait starts anew: only now are the client's bytes asked for.
    pub fn asked(&self) {
        self.changes.store(self.changes.load(Relaxed).wrapping_add(1), Relaxed);
    }

    /// A request begins; `has_body` says whether its body is still to come.
    pub fn begin(&self, has_body: bool) {
        self.active.store(self.active.load(Relaxed) + 1, Relaxed);
        self.enter(if has_body { Phase::Body } else { Phase::Response });
    }

    /// A request has ended; the last one leaves the connection idle.
    pub fn end(&self) {
        let left = self.active.load(Relaxed).saturating_sub(1);
        self.active.store(left, Relaxed);
        if left == 0 && self.phase() != Phase::Tunnel && !self.uploading.load(Relaxed) {
            self.idle();
        }
    }

    fn idle(&self) {
        let since =
            u64::try_from(clock::now().duration_since(self.opened).as_millis()).unwrap_or(u64::MAX);
        self.idle_since.store(since, Relaxed);
        self.enter(Phase::Idle);
    }

    /// The body of the request that has begun is passed on from here, until [`Self::uploaded`].
    pub fn uploading(&self) {
        self.uploading.store(!self.multiplexed, Relaxed);
    }

    /// The body has ended or was given up, before or after its request.
    pub fn uploaded(&self) {
        if !self.uploading.swap(false, Relaxed) || self.phase() != Phase::Body {
            return;
        }
        if self.active.load(Relaxed) == 0 {
            self.idle();
        } else {
            self.enter(Phase::Response);
        }
    }

    /// Since when the connection has been idle, with nothing left to write; `None` while it is not, and
    /// when it is being closed.
    #[must_use]
    pub fn quiet_since(&self) -> Option<Instant> {
        let busy = self.write_blocked.load(Relaxed) || self.closing.load(Relaxed);
        let quiet = self.phase() == Phase::Idle && !busy;
        quiet.then(|| self.idle_since())
    }

    /// When the first byte of the last request head came, or when its turn came if that was later;
    /// `None` where heads overlap.
    #[must_use]
    pub fn head_since(&self) -> Option<Instant> {
        let since = Duration::from_micros(self.head_since.load(Relaxed));
        (!self.multiplexed).then(|| self.idle_since().max(self.opened + since))
    }

    /// The first byte of a head has come, or is looked at only now.
    pub fn head(&self) {
        let since = clock::now().duration_since(self.opened).as_micros();
        self.head_since.store(u64::try_from(since).unwrap_or(u64::MAX), Relaxed);
        self.enter(Phase::Head);
    }

    /// When the last request ended; the opening before that.
    fn idle_since(&self) -> Instant {
        self.opened + Duration::from_millis(self.idle_since.load(Relaxed))
    }

    /// The present phase.
    #[must_use]
    pub fn phase(&self) -> Phase {
        Phase::from_u8(self.phase.load(Relaxed))
    }

    /// What the connection waited for when a limit ended it.
    #[must_use]
    pub fn expired(&self) -> Option<Expired> {
        match self.expired.load(Relaxed) {
            NOT_EXPIRED => None,
            EXPIRED_WRITE => Some(Expired::Write),
            phase => Some(Expired::Read(Phase::from_u8(phase))),
        }
    }
}

/// Which limit ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// Waiting for the client's bytes.
    Read(Phase),
    /// Waiting for the client to take bytes.
    Write,
}

/// A stream with limits.
#[derive(Debug)]
pub struct TimedIo<S> {
    stream: S,
    /// Bytes read before the protocol was known, given out first.
    prefix: Bytes,
    cell: Arc<PhaseCell>,
    limits: Limits,
    /// The change that `since` belongs to.
    seen: u32,
    /// Start of the present wait.
    since: Instant,
    writing_since: Option<Instant>,
    alarm: Alarm,
    /// What is done with a stream whose peer takes nothing.
    give_up: fn(&S),
}

impl<S> TimedIo<S> {
    /// Wraps `stream`, whose first bytes are `prefix`.
    #[must_use]
    pub fn new(stream: S, prefix: Bytes, cell: Arc<PhaseCell>, limits: Limits) -> Self {
        Self {
            stream,
            prefix,
            cell,
            limits,
            seen: 0,
            since: clock::now(),
            writing_since: None,
            alarm: Alarm::default(),
            give_up: |_| {},
        }
    }

    /// The stream, and what was read of it before and not given out.
    #[must_use]
    pub fn into_parts(self) -> (S, Bytes) {
        (self.stream, self.prefix)
    }

    /// Has `give_up` called when a write has reached its limit, before the stream is dropped. A close
    /// alone leaves unsent bytes with the kernel for as long as the peer acknowledges probes.
    #[must_use]
    pub fn giving_up(mut self, give_up: fn(&S)) -> Self {
        self.give_up = give_up;
        self
    }

    /// Ready when a blocked read has reached the limit of its phase.
    fn poll_read_limit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let phase = self.cell.phase();
        let changes = self.cell.changes.load(Relaxed);
        if changes != self.seen {
            self.seen = changes;
            self.since = clock::now();
        }
        let far = clock::now() + self.limits.idle;
        let deadline = match phase {
            Phase::Idle => self.cell.idle_since() + self.limits.idle,
            Phase::Head => self.since + self.limits.head,
            Phase::Body => self.since + self.limits.body,
            Phase::Response => far,
            Phase::Tunnel => return Poll::Pending,
        };
        if deadline >= far {
            // hyper, whose read is blocked already, does not read again when the response is over,
            // so the idle limit, which begins then, would go unseen without a timer.
            self.alarm.wake_by(cx, far);
            return Poll::Pending;
        }
        ready!(self.alarm.poll(cx, deadline));
        self.cell.expired.store(phase as u8, Relaxed);
        Poll::Ready(())
    }

    /// Bytes have come: the wait starts anew, and the first byte after idling starts a head.
    fn read_progress(&mut self) {
        match self.cell.phase() {
            Phase::Idle if !self.cell.multiplexed => self.cell.head(),
            Phase::Body => self.since = clock::now(),
            Phase::Head | Phase::Idle | Phase::Response | Phase::Tunnel => {},
        }
    }

    /// Ready with an error when a blocked write has made no progress for too long.
    fn poll_write_limit(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.cell.phase() == Phase::Tunnel {
            return Poll::Pending;
        }
        let since = *self.writing_since.get_or_insert_with(clock::now);
        self.cell.write_blocked.store(true, Relaxed);
        ready!(self.alarm.poll(cx, since + self.limits.body));
        self.cell.expired.store(EXPIRED_WRITE, Relaxed);
        (self.give_up)(&self.stream);
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TimedIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.prefix.has_remaining() {
            let len = this.prefix.len().min(buf.remaining());
            buf.put_slice(&this.prefix[..len]);
            this.prefix.advance(len);
            if this.prefix.is_empty() {
                // What is left would keep the buffer.
                this.prefix = Bytes::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buf) {
            Poll::Ready(result) => {
                if buf.filled().len() > before {
                    this.read_progress();
                }
                Poll::Ready(result)
            },
            Poll::Pending => {
                ready!(this.poll_read_limit(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            },
        }
    }
}

impl<S: Readable> TimedIo<S> {
    /// Ready when there is something to read, or when the limit of the phase is reached.
    ///
    /// # Errors
    /// `TimedOut` at the limit; what the stream says.
    pub fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.prefix.has_remaining() {
            return Poll::Ready(Ok(()));
        }
        if let Poll::Ready(outcome) = self.stream.poll_readable(cx) {
            return Poll::Ready(outcome);
        }
        ready!(self.poll_read_limit(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> TimedIo<S> {
    /// A client that takes a response while it sends a body is not silent.
    fn write_progress(&mut self, outcome: &Poll<io::Result<usize>>) {
        if matches!(outcome, Poll::Ready(Ok(1..))) && self.cell.phase() == Phase::Body {
            self.since = clock::now();
        }
    }

    /// Judges the outcome of a write or flush of the inner stream.
    fn limited<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            if self.writing_since.take().is_some() {
                self.cell.write_blocked.store(false, Relaxed);
            }
            return outcome;
        }
        Poll::Ready(Err(ready!(self.poll_write_limit(cx))))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.write_progress(&outcome);
        self.limited(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = flat::poll_write(Pin::new(&mut self.stream), cx, bufs);
        self.write_progress(&outcome);
        self.limited(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.limited(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cell.closing.store(true, Relaxed);
        let outcome = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limited(cx, outcome)
    }
}

#[cfg(test)]
mod tests;
